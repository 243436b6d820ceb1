package controlplane

import (
	"context"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	authenticationv1 "k8s.io/api/authentication/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/test/tools"
)

// Where prometheus-adapter seems to run.
const (
	metricsNamespace      = "monitoring"
	metricsServiceAccount = "prometheus-adapter"
)

// customMetrics is the APIService that prometheus-adapter is behind.
const customMetrics = "v1beta1.custom.metrics.k8s.io"

//nolint:gochecknoglobals // This is a constant.
var gvkAPIService = schema.GroupVersionKind{Group: "apiregistration.k8s.io", Version: "v1", Kind: "APIService"}

//go:embed metrics.yaml
var metricsManifests []byte

// Metrics are a chain from what engines report to what autoscalers read: a
// Prometheus that scrapes, prometheus-adapter with the rules of
// package/metrics, and the custom metrics API of the plane's API server. Only
// the exporters, which say whatever they're told to, are not real.
type Metrics struct {
	c        *ControlPlane
	exporter *exporter
	stopping chan struct{}
	once     sync.Once
}

// StartMetrics starts a chain of metrics. It ends with the plane, or by Stop.
// The error is tools.ErrNoPrometheus where there's no Prometheus to be had.
func (c *ControlPlane) StartMetrics(ctx context.Context) (*Metrics, error) {
	if c.opts.Detached {
		return nil, errors.New("cannot start metrics of a detached control plane: the exporters would end with this process")
	}
	prometheus, err := tools.Prometheus(ctx, c.opts.Progress)
	if err != nil {
		return nil, err
	}
	if err := tools.Build(ctx, c.opts.Progress, tools.PrometheusAdapter); err != nil {
		return nil, err
	}
	ports, err := c.reservePorts(processExporter, ProcessPrometheus, ProcessPrometheusAdapter)
	if err != nil {
		return nil, err
	}

	m := &Metrics{c: c, exporter: newExporter(loopback(ports[0]), c.enginePods), stopping: make(chan struct{})}
	for _, s := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"exporters", func(context.Context) error { return m.startExporter(ports[0]) }}, //nolint:contextcheck // They outlive the start.
		{"Prometheus", func(ctx context.Context) error { return m.startPrometheus(ctx, prometheus, ports[0], ports[1]) }},
		{"prometheus-adapter", func(ctx context.Context) error { return m.startAdapter(ctx, ports[1], ports[2]) }},
	} {
		if err := c.say.step(s.what, func() error { return s.do(ctx) }); err != nil {
			return nil, errors.Join(err, m.Stop()) //nolint:contextcheck // It must work when this context has ended.
		}
	}
	return m, nil
}

// Stop all parts of the chain. The cluster then is one without metrics again.
func (m *Metrics) Stop() error {
	m.once.Do(func() { close(m.stopping) })
	errs := make([]error, 0)
	// First, for an API that doesn't answer keeps namespaces from ending.
	apiServices, err := m.c.Resource(gvkAPIService, "")
	if err == nil {
		err = apiServices.Delete(context.Background(), customMetrics, metav1.DeleteOptions{})
	}
	if err != nil && !kerrors.IsNotFound(err) {
		errs = append(errs, fmt.Errorf("cannot delete APIService: %w", err))
	}
	running := map[string]bool{}
	for _, p := range m.c.Processes() {
		running[p.Name] = p.Running
	}
	for _, p := range []string{ProcessPrometheusAdapter, ProcessPrometheus} {
		if running[p] {
			errs = append(errs, m.c.KillProcess(p))
		}
	}
	return errors.Join(errs...)
}

// Engine sets what each pod of a Service reports from now on. Without samples
// they don't answer.
func (m *Metrics) Engine(namespace, service string, samples ...Sample) {
	m.exporter.setEngine(namespace, service, samples)
}

// GPUs sets what AMD's device metrics exporter reports from now on. There are
// two of them: one that's scraped with honorLabels, and one without.
func (m *Metrics) GPUs(honorLabels bool, samples ...Sample) {
	m.exporter.setGPUs(honorLabels, samples)
}

func (m *Metrics) startExporter(port int) error {
	return m.c.startHelper(processExporter, nil, []int{port}, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			// The other way to end is that the plane does.
			select {
			case <-m.stopping:
				cancel()
			case <-ctx.Done():
			}
		}()
		return m.exporter.serve(ctx)
	})
}

// prometheusConfig scrapes engines as a ServiceMonitor makes Prometheus do it:
// each pod of a Service, with the labels namespace, pod and service. The pods'
// addresses lead nowhere here, and Debian's Prometheus can't discover them in a
// cluster, so the exporter says where they are.
const prometheusConfig = `
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- job_name: engines
  http_sd_configs:
  - {url: "http://%[1]s/targets", refresh_interval: 1s}
- job_name: gpus
  honor_labels: true
  metrics_path: /gpus/honored
  static_configs:
  - targets: ["%[1]s"]
    labels: {namespace: kube-amd-gpu, pod: device-metrics-exporter-0}
- job_name: gpus-renamed
  honor_labels: false
  metrics_path: /gpus/renamed
  static_configs:
  - targets: ["%[1]s"]
    labels: {namespace: kube-amd-gpu, pod: device-metrics-exporter-1}
`

func (m *Metrics) startPrometheus(ctx context.Context, binary string, exporter, port int) error {
	dir := filepath.Join(m.c.Dir, "prometheus")
	if err := writeFiles(dir, map[string][]byte{"prometheus.yaml": fmt.Appendf(nil, prometheusConfig, loopback(exporter))}); err != nil {
		return err
	}
	if err := m.c.startProcess(spec{
		name: ProcessPrometheus,
		path: binary,
		args: []string{
			"--config.file=" + filepath.Join(dir, "prometheus.yaml"),
			"--storage.tsdb.path=" + filepath.Join(dir, "data"),
			"--web.listen-address=" + loopback(port),
		},
		ports: []int{port},
	}); err != nil {
		return err
	}
	return until(ctx, patience, "Prometheus", func(ctx context.Context) error {
		if err := m.c.exited(ProcessPrometheus); err != nil {
			return err
		}
		return ok(ctx, "http://"+loopback(port)+"/-/ready")
	})
}

// startAdapter starts prometheus-adapter as its own ServiceAccount, and leads
// the API server to it.
func (m *Metrics) startAdapter(ctx context.Context, prometheus, port int) error {
	c := m.c
	objs, err := decode(metricsManifests)
	if err != nil {
		return err
	}
	if err := c.Apply(ctx, objs...); err != nil {
		return err
	}
	ca, err := newAuthority("prometheus-adapter")
	if err != nil {
		return err
	}
	dir := filepath.Join(c.Dir, "prometheus-adapter")
	if err := ca.writeServerCert(dir, metricsServiceAccount+"."+metricsNamespace+".svc"); err != nil {
		return err
	}
	if err := m.writeAdapterConfig(ctx, dir); err != nil {
		return err
	}
	binary, err := tools.Path(tools.PrometheusAdapter)
	if err != nil {
		return err
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := c.startProcess(spec{
		name: ProcessPrometheusAdapter,
		path: binary,
		args: []string{
			"--config=" + filepath.Join(dir, "config.yaml"),
			"--prometheus-url=http://" + loopback(prometheus),
			"--bind-address=127.0.0.1",
			"--secure-port=" + strconv.Itoa(port),
			"--tls-cert-file=" + filepath.Join(dir, "tls.crt"),
			"--tls-private-key-file=" + filepath.Join(dir, "tls.key"),
			"--lister-kubeconfig=" + kubeconfig,
			"--authentication-kubeconfig=" + kubeconfig,
			"--authorization-kubeconfig=" + kubeconfig,
			// Nobody wants to wait for a new metric in a test.
			"--metrics-relist-interval=1s",
			"--metrics-max-age=1m",
		},
		ports: []int{port},
	}); err != nil {
		return err
	}
	if err := c.Apply(ctx, object(gvkAPIService.GroupVersion().String(), gvkAPIService.Kind, "", customMetrics, map[string]any{
		"group":                "custom.metrics.k8s.io",
		"version":              "v1beta1",
		"groupPriorityMinimum": int64(100),
		"versionPriority":      int64(100),
		"caBundle":             base64.StdEncoding.EncodeToString(ca.certPEM),
		"service":              map[string]any{"namespace": metricsNamespace, "name": metricsServiceAccount, "port": int64(port)},
	})); err != nil {
		return err
	}
	return until(ctx, patience, "the custom metrics API", func(ctx context.Context) error {
		if err := c.exited(ProcessPrometheusAdapter); err != nil {
			return err
		}
		u, err := c.apply.get(ctx, gvkAPIService, "", customMetrics)
		if err != nil {
			return err
		}
		if s, msg := condition(u, "Available"); s != string(metav1.ConditionTrue) {
			return fmt.Errorf("its APIService is not available: %s", msg)
		}
		return nil
	})
}

// writeAdapterConfig writes the adapter's rules, which are those of
// package/metrics, and its kubeconfig.
func (m *Metrics) writeAdapterConfig(ctx context.Context, dir string) error {
	b, err := os.ReadFile(filepath.Join(m.c.root, "package", "metrics", "prometheus-adapter.yaml"))
	if err != nil {
		return fmt.Errorf("cannot read values of prometheus-adapter: %w", err)
	}
	values := struct {
		Rules struct {
			Custom []any `json:"custom"`
		} `json:"rules"`
	}{}
	if err := yaml.Unmarshal(b, &values); err != nil {
		return fmt.Errorf("cannot parse values of prometheus-adapter: %w", err)
	}
	config, err := yaml.Marshal(map[string]any{"rules": values.Rules.Custom})
	if err != nil {
		return fmt.Errorf("cannot write rules: %w", err)
	}

	tr := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(validity.Seconds()))}}
	tr, err = m.c.kube.CoreV1().ServiceAccounts(metricsNamespace).CreateToken(ctx, metricsServiceAccount, tr, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("cannot get a token for ServiceAccount %s: %w", metricsServiceAccount, err)
	}
	kubeconfig, err := m.c.kubeconfig(tr.Status.Token)
	if err != nil {
		return err
	}
	return writeFiles(dir, map[string][]byte{"config.yaml": config, "kubeconfig": kubeconfig})
}
