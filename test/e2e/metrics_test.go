package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/aim-engine/function-aim/test/controlplane"
	"github.com/aim-engine/function-aim/test/tools"
)

// Autoscaling from end to end: what engines and GPUs report goes through
// Prometheus and prometheus-adapter, with the rules that we publish, to the
// autoscalers of endpoints. Other tests rely on there being no metrics, so this
// one can't run beside them, and takes them away at its end.
func testMetrics(t *testing.T, cp *controlplane.ControlPlane) {
	m, err := cp.StartMetrics(t.Context())
	if errors.Is(err, tools.ErrNoPrometheus) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Stop(); err != nil {
			t.Errorf("cannot stop metrics: %v", err)
		}
	})
	t.Run("QueueDepth", func(t *testing.T) { testQueueDepth(t, cp, m) })
	t.Run("AllMetrics", func(t *testing.T) { testAllMetrics(t, cp, m) })
}

// The replicas follow the queue, and nothing fights it.
func testQueueDepth(t *testing.T, cp *controlplane.ControlPlane, m *controlplane.Metrics) {
	c := in(t, cp)
	// A pod with two engines, which share its queue.
	queue := func(depth float64) {
		label := func(engine string) map[string]string {
			return map[string]string{"model_name": "Qwen/Qwen3-8B", "engine": engine}
		}
		m.Engine(c.namespace, "llm",
			controlplane.Sample{Name: "vllm:num_requests_waiting", Labels: label("0"), Value: depth / 4},
			controlplane.Sample{Name: "vllm:num_requests_waiting", Labels: label("1"), Value: depth * 3 / 4})
	}
	replicas := func(want string) func() error {
		all := fmt.Sprintf(`{"available":%[1]s,"current":%[1]s,"desired":%[1]s,"ready":%[1]s}`, want)
		return func() error {
			if got := str(c.get(deployments, "llm"), "spec", "replicas"); got != want {
				return fmt.Errorf("spec.replicas is %s", got)
			}
			if got := str(c.get(endpoints, "llm"), "status", "replicas"); got != all {
				return fmt.Errorf("status.replicas of the endpoint is %s", got)
			}
			return nil
		}
	}
	available := func(want string) func() error {
		return func() error {
			d := c.get(deployments, "llm")
			if got, got2 := str(d, "status", "availableReplicas"), str(d, "status", "replicas"); got != want || got2 != want {
				return fmt.Errorf("%q of %q replicas are available", got, got2)
			}
			return nil
		}
	}
	follow := func(depth float64, want string) {
		t.Helper()
		queue(depth)
		began := time.Now()
		c.eventually(want+" replicas", soon, available(want))
		t.Logf("%s replicas are available %s after the queue of each became %g", want, time.Since(began).Round(100*time.Millisecond), depth)
		// Crossplane's circuit breaker may be what this waits for: it lets a
		// composite react to a hundred events, then to one each second.
		c.eventually("the endpoint tells", soon, replicas(want))
	}

	queue(0)
	c.apply(endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, scaling: {minReplicas: 1, maxReplicas: 3, scaleUpDelay: 0, scaleDownDelay: 0}}"))
	c.ready("llm")
	lookAgain(c, "llm", "True")
	c.expect("llm", "ScalingReady", "True", "Active", "between 1 and 3 replicas")
	c.eventually("the endpoint tells", soon, replicas("1"))

	// The default target is 5 for each.
	follow(12, "3")
	generation := c.get(deployments, "llm").GetGeneration()
	c.always("nothing but the autoscaler decides replicas", 20*time.Second, replicas("3"))
	if got := c.get(deployments, "llm").GetGeneration(); got != generation {
		t.Errorf("somebody changed the Deployment while its replicas stayed: generation %d, was %d", got, generation)
	}
	// Not even the autoscaler: who scales what nobody owns doesn't come to own it.
	if diff := cmp.Diff([]string{}, replicasManagers(c.get(deployments, "llm"))); diff != "" {
		t.Errorf("nobody should own spec.replicas of the Deployment: -want managers, +got:\n%s", diff)
	}
	c.expect("llm", "ScalingReady", "True", "Active")

	// Without metrics, what runs stays, and the endpoint is as ready as before.
	m.Engine(c.namespace, "llm")
	lookAgain(c, "llm", "False")
	c.expect("llm", "ScalingReady", "False", "MetricsUnavailable", "the replicas stay as they are", "vllm_num_requests_waiting")
	c.always("replicas stay without metrics", 10*time.Second, replicas("3"))
	c.ready("llm")
	queue(12)
	lookAgain(c, "llm", "True")
	c.expect("llm", "ScalingReady", "True", "Active")

	follow(0, "1")
	c.always("the autoscaler has come to rest", 5*time.Second, replicas("1"))
	c.expect("llm", "ScalingReady", "True", "Active")
	c.ready("llm")
}

// lookAgain makes the provider look at an autoscaler, once that's active or not.
// While it's active the provider looks every ten minutes at most: its status
// changes too often to be watched.
func lookAgain(c *cluster, name, active string) {
	c.t.Helper()
	c.eventually("ScalingActive="+active+" of the autoscaler of "+name, soon, func() error {
		if got := conditionOf(c.get(autoscalers, name), "ScalingActive"); got.status != active {
			return fmt.Errorf("it is %+v", got)
		}
		return nil
	})
	for _, o := range c.objectsOf(name) {
		if o.GetAnnotations()["crossplane.io/composition-resource-name"] != "autoscaler-object" {
			continue
		}
		if out, err := c.kubectl("", "annotate", "--overwrite", objects.Resource+"."+objects.Group, o.GetName(), "crossplane.io/reconcile-requested-at="+time.Now().Format(time.RFC3339Nano)); err != nil {
			c.t.Fatal(out, err)
		}
		return
	}
	c.t.Fatalf("there is no Object of the autoscaler of %s", name)
}

// replicasManagers returns who owns spec.replicas.
func replicasManagers(d *unstructured.Unstructured) []string {
	out := make([]string, 0)
	for _, f := range d.GetManagedFields() {
		fields := map[string]any{}
		if err := json.Unmarshal(f.FieldsV1.Raw, &fields); err != nil {
			return []string{err.Error()}
		}
		if _, ok, _ := unstructured.NestedFieldNoCopy(fields, "f:spec", "f:replicas"); ok {
			out = append(out, f.Manager)
		}
	}
	slices.Sort(out)
	return out
}

// Each metric that an endpoint can ask for reaches its autoscaler, whatever the
// engine, and however the GPUs' exporter is scraped.
func testAllMetrics(t *testing.T, cp *controlplane.ControlPlane, m *controlplane.Metrics) {
	c := in(t, cp)
	type labels = map[string]string
	sample := func(name string, value float64, l labels) controlplane.Sample {
		return controlplane.Sample{Name: name, Value: value, Labels: l}
	}
	c.apply(endpoint("vllm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X, backend: vllm}, "+
		"scaling: {maxReplicas: 2, targetKVCacheUtilization: 80, targetGPUUtilization: 90}}"))
	c.apply(endpoint("sglang", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X, backend: sglang}, "+
		"scaling: {maxReplicas: 2, targetQueueDepth: 4, targetKVCacheUtilization: 70, targetGPUUtilization: 60}}"))
	m.Engine(c.namespace, "vllm",
		sample("vllm:kv_cache_usage_perc", 0.4, labels{"engine": "0"}),
		sample("vllm:kv_cache_usage_perc", 0.6, labels{"engine": "1"}))
	// Two ranks with the same queue.
	m.Engine(c.namespace, "sglang",
		sample("sglang:num_queue_reqs", 3, labels{"tp_rank": "0"}),
		sample("sglang:num_queue_reqs", 3, labels{"tp_rank": "1"}),
		sample("sglang:token_usage", 0.25, labels{"tp_rank": "0"}),
		sample("sglang:token_usage", 0.25, labels{"tp_rank": "1"}))
	c.ready("vllm", "sglang")
	// The exporter knows the pods that use GPUs, and names none for those that
	// are idle.
	gpu := func(id string, activity float64, of string) controlplane.Sample {
		l := labels{"gpu_id": id, "pod": "", "namespace": "", "container": ""}
		if of != "" {
			p := c.list(pods, c.namespace, "aim.engine.amd.com/endpoint="+of)
			if len(p) != 1 {
				t.Fatalf("there are %d pods of %s", len(p), of)
			}
			l["pod"], l["namespace"], l["container"] = p[0].GetName(), c.namespace, "engine"
		}
		return sample("gpu_gfx_activity", activity, l)
	}
	m.GPUs(true, gpu("0", 40, "vllm"), gpu("1", 60, "vllm"), gpu("2", 1, ""))
	m.GPUs(false, gpu("0", 30, "sglang"), gpu("1", 2, ""))

	for name, tc := range map[string]struct {
		metrics map[string]string
		gpu     string
	}{
		"vllm":   {metrics: map[string]string{"vllm_kv_cache_usage_perc": "500m", "gpu_gfx_activity": "50"}, gpu: "50"},
		"sglang": {metrics: map[string]string{"sglang_num_queue_reqs": "3", "sglang_token_usage": "250m", "gpu_gfx_activity": "30"}, gpu: "30"},
	} {
		c.eventually("the autoscaler's metrics of "+name, soon, func() error {
			hpa := autoscalingv2.HorizontalPodAutoscaler{}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(c.get(autoscalers, name).Object, &hpa); err != nil {
				return err
			}
			got := map[string]string{}
			for _, s := range hpa.Status.CurrentMetrics {
				if s.Pods != nil && s.Pods.Current.AverageValue != nil {
					got[s.Pods.Metric.Name] = s.Pods.Current.AverageValue.String()
				}
			}
			if diff := cmp.Diff(tc.metrics, got); diff != "" {
				return fmt.Errorf("-want, +got:\n%s", diff)
			}
			return nil
		})
		lookAgain(c, name, "True")
		c.expect(name, "ScalingReady", "True", "Active")
		c.eventually("the GPU utilization of "+name, soon, func() error {
			if got := str(c.get(endpoints, name), "status", "metrics", "gpuUtilization"); got != tc.gpu {
				return fmt.Errorf("status.metrics.gpuUtilization of the endpoint is %q", got)
			}
			return nil
		})
		if got := str(c.get(deployments, name), "spec", "replicas"); got != "1" {
			t.Errorf("%s has %s replicas, and nothing is above its target", name, got)
		}
	}

	// As the README of package/metrics says to look at them.
	for path, want := range map[string]int{"pods/*/gpu_gfx_activity": 2, "pods/*/vllm_kv_cache_usage_perc": 1, "metrics/vllm_kv_cache_usage_perc": 1} {
		u := unstructured.UnstructuredList{}
		raw, err := cp.Kube().Discovery().RESTClient().Get().AbsPath("/apis/custom.metrics.k8s.io/v1beta1/namespaces/" + c.namespace + "/" + path).DoRaw(context.Background())
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if err := u.UnmarshalJSON(raw); err != nil {
			t.Fatalf("%s: %v: %s", path, err, raw)
		}
		if len(u.Items) != want {
			t.Errorf("%s: want %d values, got %s", path, want, raw)
		}
	}
}
