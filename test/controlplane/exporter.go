package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// A Sample is one number that an exporter reports.
type Sample struct {
	Name   string
	Labels map[string]string
	Value  float64
}

// String returns the sample in Prometheus' text format.
func (s Sample) String() string {
	labels := make([]string, 0, len(s.Labels))
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		labels = append(labels, fmt.Sprintf("%s=%q", k, s.Labels[k]))
	}
	return s.Name + "{" + strings.Join(labels, ",") + "} " + strconv.FormatFloat(s.Value, 'g', -1, 64)
}

// A servicePod is a ready pod of a Service.
type servicePod struct {
	namespace, service, pod string
	port, address           string
}

// An exporter stands for all the exporters of a cluster: the metrics endpoints
// of engines, and AMD's device metrics exporter.
type exporter struct {
	address string
	list    func(context.Context) ([]servicePod, error)

	mu      sync.Mutex
	engines map[string][]Sample
	gpus    map[bool][]Sample
}

func newExporter(address string, list func(context.Context) ([]servicePod, error)) *exporter {
	return &exporter{address: address, list: list, engines: map[string][]Sample{}, gpus: map[bool][]Sample{}}
}

func (e *exporter) setEngine(namespace, service string, samples []Sample) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.engines[namespace+"/"+service] = samples
}

func (e *exporter) setGPUs(honorLabels bool, samples []Sample) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gpus[honorLabels] = samples
}

// serve until the context ends.
func (e *exporter) serve(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", e.address)
	if err != nil {
		return fmt.Errorf("cannot serve metrics: %w", err)
	}
	s := &http.Server{Handler: e.handler(), ReadHeaderTimeout: time.Minute}
	go func() {
		<-ctx.Done()
		_ = s.Close()
	}()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot serve metrics: %w", err)
	}
	return nil
}

func (e *exporter) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /targets", e.serveTargets)
	mux.HandleFunc("GET /engines/{namespace}/{service}/{pod}/metrics", func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		samples := e.engines[r.PathValue("namespace")+"/"+r.PathValue("service")]
		e.mu.Unlock()
		if len(samples) == 0 {
			http.Error(w, "this engine doesn't answer", http.StatusServiceUnavailable)
			return
		}
		write(w, samples)
	})
	for path, honored := range map[string]bool{"GET /gpus/honored": true, "GET /gpus/renamed": false} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			e.mu.Lock()
			samples := e.gpus[honored]
			e.mu.Unlock()
			write(w, samples)
		})
	}
	return mux
}

func write(w http.ResponseWriter, samples []Sample) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	for _, s := range samples {
		_, _ = io.WriteString(w, s.String()+"\n")
	}
}

// serveTargets tells Prometheus what to scrape.
func (e *exporter) serveTargets(w http.ResponseWriter, r *http.Request) {
	type target struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	pods, err := e.list(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	targets := make([]target, 0, len(pods))
	for _, p := range pods {
		targets = append(targets, target{Targets: []string{e.address}, Labels: map[string]string{
			"__metrics_path__": "/engines/" + p.namespace + "/" + p.service + "/" + p.pod + "/metrics",
			"namespace":        p.namespace,
			"service":          p.service,
			"pod":              p.pod,
			"endpoint":         p.port,
			"instance":         p.address,
		}})
	}
	b, err := json.Marshal(targets)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}

// enginePods returns the ready pods of all Services with a port named http,
// which is what an engine's is called.
func (c *ControlPlane) enginePods(ctx context.Context) ([]servicePod, error) {
	slicesOf, err := c.kube.DiscoveryV1().EndpointSlices(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("cannot list EndpointSlices: %w", err)
	}
	out := make([]servicePod, 0)
	for _, s := range slicesOf.Items {
		for _, p := range s.Ports {
			if ptr.Deref(p.Name, "") != "http" {
				continue
			}
			for _, e := range s.Endpoints {
				if e.TargetRef == nil || !ptr.Deref(e.Conditions.Ready, true) {
					continue
				}
				out = append(out, servicePod{
					namespace: s.GetNamespace(),
					service:   s.GetLabels()[discoveryv1.LabelServiceName],
					pod:       e.TargetRef.Name,
					port:      *p.Name,
					address:   net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(ptr.Deref(p.Port, 0)))),
				})
			}
		}
	}
	return out, nil
}
