package endpoint

import (
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

func TestRenderBehavior(t *testing.T) {
	window := func(s int32) *autoscalingv2.HPAScalingRules {
		return &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: &s}
	}
	cases := map[string]struct {
		reason string
		delays string
		want   *autoscalingv2.HorizontalPodAutoscalerBehavior
	}{
		"None": {"Without delays Kubernetes' own should hold.", "", nil},
		"Up":   {"One delay should leave the other to Kubernetes.", ", scaleUpDelay: 0", &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: window(0)}},
		"Down": {"One delay should leave the other to Kubernetes.", ", scaleDownDelay: 600", &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: window(600)}},
		"Both": {"Both delays should be there.", ", scaleUpDelay: 30, scaleDownDelay: 600", &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: window(30), ScaleDown: window(600)}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hpa := chat(t, "scaling: {minReplicas: 1, maxReplicas: 2"+tc.delays+"}").autoscaler()
			if diff := cmp.Diff(tc.want, hpa.Spec.Behavior); diff != "" {
				t.Errorf("\n%s\nRender(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// scaling is an autoscaler that is active, or not.
func scaling(active corev1.ConditionStatus, message string, current ...autoscalingv2.MetricStatus) *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{Status: autoscalingv2.HorizontalPodAutoscalerStatus{
		CurrentMetrics: current,
		Conditions: []autoscalingv2.HorizontalPodAutoscalerCondition{
			{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue, Message: "is able to scale"},
			{Type: autoscalingv2.ScalingActive, Status: active, Message: message},
		},
	}}
}

// keda is a ScaledObject that is ready, or not.
func keda(conditions ...any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": conditions}}}
}

func kedaCondition(typ, status, message string) any {
	return map[string]any{"type": typ, "status": status, "message": message}
}

// measured value of a resource.
func measured(name corev1.ResourceName) autoscalingv2.MetricStatus {
	return autoscalingv2.MetricStatus{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricStatus{
		Name: name, Current: autoscalingv2.MetricValueStatus{AverageUtilization: ptr.To[int32](1)},
	}}
}

func TestScalingReady(t *testing.T) {
	const auto = `scaling: {minReplicas: 1, maxReplicas: 3}`
	const adapter = "for vllm_num_requests_waiting the cluster needs Prometheus, which monitoring.enabled makes scrape this endpoint, and prometheus-adapter with the rules in package/metrics"
	const sleepless = "one replica keeps running though scaling.minReplicas is 0: a server that does not run counts no requests, so the platform must scale with KEDA, " +
		"and name a query of those that wait, in its Composition's autoscaling.autoscaler and autoscaling.activationQuery; or set scaling.minReplicas to 1"
	cases := map[string]struct {
		reason  string
		spec    string
		changes []func(e *Endpoint)
		live    Live
		want    Condition
	}{
		"Disabled": {
			reason: "Without an autoscaler nothing is wrong.",
			want:   Condition{OK: true, Reason: "Disabled", Message: "autoscaling is off: scaling.maxReplicas is not above scaling.minReplicas"},
		},
		"DisabledThoughLive": {
			reason: "An autoscaler that is on its way out has no say.",
			live:   Live{Autoscaler: scaling(corev1.ConditionFalse, "no metrics")},
			want:   Condition{OK: true, Reason: "Disabled", Message: "autoscaling is off: scaling.maxReplicas is not above scaling.minReplicas"},
		},
		"New": {
			reason: "Before an autoscaler has reported nothing is known.",
			spec:   auto,
			want:   Condition{Reason: "MetricsUnavailable", Message: "the HorizontalPodAutoscaler has not reported yet"},
		},
		"NotReported": {
			reason: "Before an autoscaler has reported nothing is known.",
			spec:   auto,
			live:   Live{Autoscaler: &autoscalingv2.HorizontalPodAutoscaler{}},
			want:   Condition{Reason: "MetricsUnavailable", Message: "the HorizontalPodAutoscaler has not reported yet"},
		},
		"Active": {
			reason: "An autoscaler that gets metrics should say its bounds.",
			spec:   auto,
			live:   Live{Autoscaler: scaling(corev1.ConditionTrue, "the HPA was able to compute")},
			want:   Condition{OK: true, Reason: "Active", Message: "between 1 and 3 replicas"},
		},
		"SomeMeasured": {
			reason: "An autoscaler that gets some of its metrics scales by those; what it does not get should be told all the same.",
			spec:   `scaling: {minReplicas: 1, maxReplicas: 3, targetCPUUtilization: 70, targetMemoryUtilization: 70, targetQueueDepth: 2}`,
			live:   Live{Autoscaler: scaling(corev1.ConditionTrue, "", measured(corev1.ResourceMemory))},
			want: Condition{OK: true, Reason: "Active", Message: "between 1 and 3 replicas; there are no values of cpu and vllm_num_requests_waiting: " +
				adapter + "; for CPU and memory it needs metrics-server"},
		},
		"AllMeasured": {
			reason: "With all of its metrics there is nothing to tell.",
			spec:   `scaling: {minReplicas: 1, maxReplicas: 3, targetCPUUtilization: 70, targetQueueDepth: 2}`,
			live: Live{Autoscaler: scaling(corev1.ConditionTrue, "", measured(corev1.ResourceCPU), autoscalingv2.MetricStatus{
				Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricStatus{Metric: autoscalingv2.MetricIdentifier{Name: "vllm_num_requests_waiting"}},
			})},
			want: Condition{OK: true, Reason: "Active", Message: "between 1 and 3 replicas"},
		},
		"MetricsUnavailable": {
			reason: "An autoscaler without metrics should say what it means, why, and what it takes.",
			spec:   auto,
			live:   Live{Autoscaler: scaling(corev1.ConditionFalse, "unable to get metric vllm_num_requests_waiting: no custom metrics API (custom.metrics.k8s.io) registered")},
			want: Condition{Reason: "MetricsUnavailable", Message: "the replicas stay as they are, because the autoscaler gets no metrics: " +
				"unable to get metric vllm_num_requests_waiting: no custom metrics API (custom.metrics.k8s.io) registered; " + adapter},
		},
		"ResourceMetricsUnavailable": {
			reason: "What CPU takes is something else than what an engine's metrics take.",
			spec:   `scaling: {minReplicas: 1, maxReplicas: 3, targetCPUUtilization: 70, targetMemoryUtilization: 70}`,
			live:   Live{Autoscaler: scaling(corev1.ConditionFalse, "no resource metrics")},
			want: Condition{Reason: "MetricsUnavailable", Message: "the replicas stay as they are, because the autoscaler gets no metrics: " +
				"no resource metrics; for CPU and memory it needs metrics-server"},
		},
		"AllMetricsUnavailable": {
			reason:  "Each metric should be told of by the name that the adapter must give it, for the engine at hand.",
			spec:    `scaling: {minReplicas: 1, maxReplicas: 3, targetCPUUtilization: 70, targetGPUUtilization: 70, targetKVCacheUtilization: 70, targetQueueDepth: 2}`,
			changes: []func(e *Endpoint){onSGLang},
			live:    Live{Autoscaler: scaling(corev1.ConditionFalse, "none")},
			want: Condition{Reason: "MetricsUnavailable", Message: "the replicas stay as they are, because the autoscaler gets no metrics: none; " +
				"for gpu_gfx_activity, sglang_token_usage, sglang_num_queue_reqs the cluster needs Prometheus, which monitoring.enabled makes scrape this endpoint, " +
				"and prometheus-adapter with the rules in package/metrics; for CPU and memory it needs metrics-server"},
		},
		"ApplyFailed": {
			reason: "Why an autoscaler cannot be applied should be told.",
			spec:   auto,
			live:   Live{ApplyErrors: map[Role]string{RoleAutoscaler: "denied"}},
			want:   Condition{Reason: "ApplyFailed", Message: "cannot apply the HorizontalPodAutoscaler: denied"},
		},
		"CannotScaleToZero": {
			reason: "That one replica runs on, why, and who can change that, should be told.",
			spec:   `scaling: {minReplicas: 0, maxReplicas: 3}`,
			live:   Live{Autoscaler: scaling(corev1.ConditionTrue, "")},
			want:   Condition{Reason: "CannotScaleToZero", Message: sleepless},
		},
		"CannotScaleToZeroWithoutQuery": {
			reason:  "KEDA alone does not know what waits for a server that does not run.",
			spec:    `scaling: {minReplicas: 0, maxReplicas: 1}`,
			changes: []func(e *Endpoint){withKEDA("")},
			live:    Live{APIs: allAPIs(), ScaledObject: keda(kedaCondition("Ready", "True", ""))},
			want:    Condition{Reason: "CannotScaleToZero", Message: sleepless},
		},
		"KEDANotInstalled": {
			reason:  "A platform may promise what a cluster does not have.",
			spec:    auto,
			changes: []func(e *Endpoint){withKEDA("")},
			live:    Live{Autoscaler: scaling(corev1.ConditionTrue, "")},
			want:    Condition{Reason: "KEDANotInstalled", Message: "the platform scales with KEDA, which this cluster does not have: the replicas stay as they are"},
		},
		"KEDANew": {
			reason:  "Before KEDA has reported nothing is known.",
			spec:    auto,
			changes: []func(e *Endpoint){withKEDA("")},
			live:    Live{APIs: allAPIs()},
			want:    Condition{Reason: "MetricsUnavailable", Message: "KEDA has not reported yet"},
		},
		"KEDANotReported": {
			reason:  "Before KEDA has reported nothing is known.",
			spec:    auto,
			changes: []func(e *Endpoint){withKEDA("")},
			live:    Live{APIs: allAPIs(), ScaledObject: keda(kedaCondition("Active", "True", ""), "odd")},
			want:    Condition{Reason: "MetricsUnavailable", Message: "KEDA has not reported yet"},
		},
		"KEDAActive": {
			reason:  "KEDA that is ready should say its bounds, though nothing is there to scale for.",
			spec:    `scaling: {minReplicas: 0, maxReplicas: 3}`,
			changes: []func(e *Endpoint){withKEDA("up")},
			live:    Live{APIs: allAPIs(), ScaledObject: keda(kedaCondition("Active", "False", "idle"), kedaCondition("Ready", "True", "ok"))},
			want:    Condition{OK: true, Reason: "Active", Message: "between 0 and 3 replicas"},
		},
		"KEDAFails": {
			reason:  "Why KEDA cannot scale should be told.",
			spec:    auto,
			changes: []func(e *Endpoint){withKEDA("")},
			live:    Live{APIs: allAPIs(), ScaledObject: keda(kedaCondition("Ready", "False", "Triggers defined in ScaledObject are not working correctly"))},
			want: Condition{Reason: "MetricsUnavailable", Message: "the replicas stay as they are, because KEDA cannot scale: " +
				"Triggers defined in ScaledObject are not working correctly"},
		},
		"KEDAApplyFailed": {
			reason:  "Why a ScaledObject cannot be applied should be told.",
			spec:    auto,
			changes: []func(e *Endpoint){withKEDA("")},
			live:    Live{APIs: allAPIs(), ApplyErrors: map[Role]string{RoleScaledObject: "the workload is already managed by another HPA"}},
			want:    Condition{Reason: "ApplyFailed", Message: "cannot apply the ScaledObject: the workload is already managed by another HPA"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.want.Type = v1alpha1.ConditionScalingReady
			if diff := cmp.Diff(tc.want, chat(t, tc.spec, tc.changes...).Conditions(tc.live, nil)[3]); diff != "" {
				t.Errorf("\n%s\nConditions(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestScaledToZero is about an endpoint that nobody uses for a while.
func TestScaledToZero(t *testing.T) {
	const idle = `scaling: {minReplicas: 0, maxReplicas: 2}`
	none := func(d *appsv1.Deployment) { d.Spec.Replicas = ptr.To[int32](0) }
	type want struct {
		Workload Condition
		Phase    v1alpha1.Phase
	}
	cases := map[string]struct {
		reason  string
		spec    string
		changes []func(e *Endpoint)
		live    func(e Endpoint) Live
		want    want
	}{
		"New": {
			reason:  "A Deployment starts with one replica, whatever is to become of it.",
			spec:    idle,
			changes: []func(e *Endpoint){withKEDA("up")},
			live:    func(Endpoint) Live { return Live{APIs: allAPIs()} },
			want:    want{Condition{Reason: "Starting", Message: "0 of 1 replicas are available"}, v1alpha1.PhaseStarting},
		},
		"Starting": {
			reason:  "The first replica should come to serve before it may go.",
			spec:    idle,
			changes: []func(e *Endpoint){withKEDA("up")},
			live: func(e Endpoint) Live {
				return Live{APIs: allAPIs(), Deployment: deployed(e, counts(1, 1, 0), func(d *appsv1.Deployment) { d.Spec.Replicas = ptr.To[int32](1) })}
			},
			want: want{Condition{Reason: "Starting", Message: "0 of 1 replicas are available"}, v1alpha1.PhaseStarting},
		},
		"Asleep": {
			reason:  "What sleeps because nobody needs it is as ready as what serves.",
			spec:    idle,
			changes: []func(e *Endpoint){withKEDA("up")},
			live:    func(e Endpoint) Live { return Live{APIs: allAPIs(), Deployment: deployed(e, counts(0, 0, 0), none)} },
			want:    want{Condition{OK: true, Reason: "Available", Message: "scaled to zero: the next request starts a replica"}, v1alpha1.PhaseReady},
		},
		"ChangedAsleep": {
			reason:  "A change that the controller has not seen is not done, asleep or not.",
			spec:    idle,
			changes: []func(e *Endpoint){withKEDA("up")},
			live: func(e Endpoint) Live {
				return Live{APIs: allAPIs(), Deployment: deployed(e, counts(0, 0, 0), none, func(d *appsv1.Deployment) { d.Generation = 2 })}
			},
			want: want{Condition{Reason: "Starting", Message: "0 of 0 replicas are available"}, v1alpha1.PhaseStarting},
		},
		"ScaledByHand": {
			reason: "Where one replica should run at least, none is not what the user wants.",
			live:   func(e Endpoint) Live { return Live{Deployment: deployed(e, counts(0, 0, 0), none)} },
			want:   want{Condition{Reason: "Starting", Message: "0 of 1 replicas are available"}, v1alpha1.PhaseStarting},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.want.Workload.Type = v1alpha1.ConditionWorkloadReady
			e := chat(t, tc.spec, tc.changes...)
			l := tc.live(e)
			c := e.Conditions(l, nil)[0]
			if diff := cmp.Diff(tc.want, want{c, Phase([]Condition{c}, l, true)}); diff != "" {
				t.Errorf("\n%s\nConditions(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestScaledPods makes sure that an endpoint is scaled by its own requests.
func TestScaledPods(t *testing.T) {
	e := chat(t, `scaling: {maxReplicas: 2}`, withKEDA(""))
	triggers, _, err := unstructured.NestedSlice(e.scaledObject().Object, "spec", "triggers")
	if err != nil {
		t.Fatal(err)
	}
	query, _, err := unstructured.NestedString(triggers[0].(map[string]any), "metadata", "query")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`pod=~"([^"]*)"`).FindStringSubmatch(query)
	if m == nil {
		t.Fatalf("%s names no pods", query)
	}
	// Prometheus anchors it.
	pods := regexp.MustCompile("^(?:" + m[1] + ")$")
	for pod, want := range map[string]bool{
		"chat-5d9f8b7c6d-x7k2p":        true,
		"chat-2-5d9f8b7c6d-x7k2p":      false,
		"chat-canary-5d9f8b7c6d-x7k2p": false,
		"my-chat-5d9f8b7c6d-x7k2p":     false,
		"chat":                         false,
	} {
		if got := pods.MatchString(pod); got != want {
			t.Errorf("\nAn endpoint should be scaled by its own pods' requests.\ntriggers(): %s matches %s: want %t, got %t", m[1], pod, want, got)
		}
	}
}
