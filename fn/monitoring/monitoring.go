// Package monitoring knows what Prometheus and Grafana need to watch an
// endpoint: a ServiceMonitor that has it scraped, a PrometheusRule that alerts,
// and a dashboard.
//
// There are eight alerts. Two are critical: AIMEndpointDown, when an endpoint
// that was serving stopped though nobody changed it, and
// AIMEndpointNoReadyReplicas, when none of its replicas is ready for longer than
// a start may take. The others are warnings: AIMEndpointMetricsMissing,
// AIMEndpointQueueGrowing, AIMEndpointKVCacheFull, AIMEndpointSlowFirstToken (the
// 95th percentile above 10 s), AIMEndpointCrashLooping and
// AIMEndpointGPUUnhealthy. A model that is still being loaded trips none of
// them. Replicas and crashes come from kube-state-metrics and the health of GPUs
// from AMD's device metrics exporter; without these their alerts are silent.
package monitoring

import (
	"maps"
	"regexp"
	"strconv"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/aim-engine/function-aim/fn/engine"
)

// A Target to watch: one endpoint.
type Target struct {
	// Name and Namespace of the objects that watch it. The dashboard's has a
	// suffix.
	Name, Namespace string
	// Endpoint is the name of the AIMEndpoint.
	Endpoint string
	// Model is the served model's name.
	Model string
	// Title of the dashboard; the endpoint's namespace and name if empty.
	Title string
	// Labels of the objects that watch it.
	Labels map[string]string
	// Selector holds labels of the Service to scrape.
	Selector map[string]string
	// PodPrefix is the name of the endpoint's Deployment, which those of its pods
	// begin with.
	PodPrefix string
	// Canary is the name of the Deployment that has a share of the endpoint's
	// requests for a while; empty if there is none.
	Canary string
	// Port of the Service, by name, and Path of the metrics.
	Port, Path string
	// Interval between scrapes, as Prometheus writes durations.
	Interval string
	// Engine that serves the model.
	Engine engine.Engine
	// StartupSeconds that a pod may take to load the model.
	StartupSeconds int32
	// MinReplicas that should be there always. If there are none, it is no
	// matter of concern that no pod is there.
	MinReplicas int32
}

// maxScrapeTimeout is Prometheus' own default.
const maxScrapeTimeout = 10 * time.Second

// ServiceMonitor that has Prometheus scrape the endpoint's pods, those that are
// not ready included. The operator gives their series the labels namespace,
// service, endpoint (the port's name) and pod.
func (t Target) ServiceMonitor() *monitoringv1.ServiceMonitor {
	m := &monitoringv1.ServiceMonitor{
		ObjectMeta: t.metadata(t.Name),
		Spec: monitoringv1.ServiceMonitorSpec{
			Selector:          metav1.LabelSelector{MatchLabels: maps.Clone(t.Selector)},
			NamespaceSelector: monitoringv1.NamespaceSelector{MatchNames: []string{t.Namespace}},
			Endpoints: []monitoringv1.Endpoint{{
				Port:          t.Port,
				Path:          t.Path,
				Interval:      monitoringv1.Duration(t.Interval),
				ScrapeTimeout: monitoringv1.Duration(t.scrapeTimeout()),
			}},
		},
	}
	m.SetGroupVersionKind(monitoringv1.SchemeGroupVersion.WithKind(monitoringv1.ServiceMonitorsKind))
	return m
}

func (t Target) metadata(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: t.Namespace, Labels: maps.Clone(t.Labels)}
}

// scrapeTimeout below the interval: the operator rejects a longer one. Empty if
// the interval cannot be read, which leaves it to Prometheus.
func (t Target) scrapeTimeout() string {
	d := t.interval()
	if d == 0 {
		return ""
	}
	return duration(min(maxScrapeTimeout, d*4/5))
}

// interval between scrapes; 0 if it cannot be read.
func (t Target) interval() time.Duration {
	d, err := model.ParseDuration(t.Interval)
	if err != nil {
		return 0
	}
	return time.Duration(d)
}

// window of at least d to look back over. A rate takes two samples, and a scrape
// may fail.
func (t Target) window(d time.Duration) time.Duration {
	return max(d, 4*t.interval())
}

// startup is how long a pod may take to load the model.
func (t Target) startup() time.Duration {
	return time.Duration(t.StartupSeconds) * time.Second
}

// duration as Prometheus writes it.
func duration(d time.Duration) string {
	return model.Duration(d).String()
}

// Kubernetes names a pod after its ReplicaSet, that after the Deployment and a
// hash, and cuts what is longer than 58 bytes before it appends five random
// characters.
const (
	maxPodPrefix = 58
	maxPodHash   = 10
)

// pods is a regular expression of the names of the endpoint's pods. Prometheus
// anchors it. It does not match the pods of an endpoint whose name begins with
// this one's, as chat-2 does with chat.
func (t Target) pods() string {
	if t.Canary == "" {
		return podsOf(t.PodPrefix)
	}
	return podsOf(t.PodPrefix) + "|" + podsOf(t.Canary)
}

func podsOf(deployment string) string {
	p := regexp.QuoteMeta(deployment)
	if len(deployment)+len("-")+maxPodHash+len("-") > maxPodPrefix {
		return p + "-[a-z0-9]+-?[a-z0-9]{5}"
	}
	return p + "-[a-z0-9]+-[a-z0-9]{5}"
}

// selector of series of the endpoint's pods, without braces.
func (t Target) selector() string {
	return "namespace=" + strconv.Quote(t.Namespace) + ",pod=~" + strconv.Quote(t.pods())
}

// series of the endpoint's pods.
func (t Target) series(metric string) string {
	return metric + "{" + t.selector() + "}"
}

// requests is the series of a gauge of requests. SGLang can have one of all
// requests and, with a priority, one of those that have it.
func (t Target) requests(metric string) string {
	return metric + "{" + t.selector() + `,priority=""}`
}

// up is the series that says which of the endpoint's pods Prometheus could
// scrape through the ServiceMonitor, rather than in some other way.
func (t Target) up() string {
	return "up{" + t.selector() + ",endpoint=" + strconv.Quote(t.Port) + "}"
}

// deployment is a series of kube-state-metrics about the endpoint's Deployment.
func (t Target) deployment(metric string) string {
	return metric + "{namespace=" + strconv.Quote(t.Namespace) + ",deployment=" + strconv.Quote(t.PodPrefix) + "}"
}

// gpus returns an expression of the GPUs that the endpoint's pods have, with
// labels hostname, gpu_id and pod. What is called for the selector of a series
// of AMD's device metrics exporter.
//
// The exporter says itself which pod has a GPU. Prometheus keeps that as pod
// where the exporter is scraped with honorLabels, and as exported_pod where it
// is not; pod is the exporter's own then.
func (t Target) gpus(what func(selector string) string) string {
	exported := "exported_namespace=" + strconv.Quote(t.Namespace) + ",exported_pod=~" + strconv.Quote(t.pods())
	return "max by (hostname, gpu_id, pod) (" + what(t.selector()) +
		" or label_replace(" + what(exported) + `, "pod", "$1", "exported_pod", "(.*)"))`
}

// quantile of a histogram over all pods, over a range such as 5m.
func (t Target) quantile(q, histogram, over string) string {
	return "histogram_quantile(" + q + ", sum by (le) (rate(" + t.series(histogram+"_bucket") + "[" + over + "])))"
}
