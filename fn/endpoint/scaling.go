package endpoint

import (
	"fmt"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

// Metrics that a metrics adapter offers to an autoscaler.
const (
	// metricGPUActivity is a gauge of AMD's device metrics exporter, 0 to 100.
	metricGPUActivity = "gpu_gfx_activity"
	// defaultQueueDepth per replica, when the user names no target.
	defaultQueueDepth = 5
)

func (e Endpoint) autoscaler() *autoscalingv2.HorizontalPodAutoscaler {
	sc := e.Spec.Scaling
	hpa := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: e.meta(RoleAutoscaler), Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: e.TargetName(RoleDeployment)},
		MinReplicas:    ptr.To(e.minReplicas()),
		MaxReplicas:    e.maxReplicas(),
		Metrics:        e.scalingMetrics(),
	}}
	if sc.ScaleUpDelay != nil || sc.ScaleDownDelay != nil {
		hpa.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{}
	}
	if d := sc.ScaleUpDelay; d != nil {
		hpa.Spec.Behavior.ScaleUp = &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: d}
	}
	if d := sc.ScaleDownDelay; d != nil {
		hpa.Spec.Behavior.ScaleDown = &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: d}
	}
	hpa.SetGroupVersionKind(autoscalingv2.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler"))
	return hpa
}

func (e Endpoint) scalingMetrics() []autoscalingv2.MetricSpec {
	sc := e.Spec.Scaling
	var ms []autoscalingv2.MetricSpec
	if t := sc.TargetCPUUtilization; t != nil {
		ms = append(ms, resourceMetric(corev1.ResourceCPU, *t))
	}
	if t := sc.TargetMemoryUtilization; t != nil {
		ms = append(ms, resourceMetric(corev1.ResourceMemory, *t))
	}
	if t := sc.TargetGPUUtilization; t != nil {
		ms = append(ms, podsMetric(metricGPUActivity, *resource.NewQuantity(int64(*t), resource.DecimalSI)))
	}
	if t := sc.TargetKVCacheUtilization; t != nil {
		// The engine's gauge goes from 0 to 1.
		ms = append(ms, podsMetric(adapterName(e.Engine.Metrics.KVCacheUsage), *resource.NewMilliQuantity(int64(*t)*10, resource.DecimalSI)))
	}
	if t := sc.TargetQueueDepth; t != nil || len(ms) == 0 {
		ms = append(ms, podsMetric(adapterName(e.Engine.Metrics.QueueDepth), *resource.NewQuantity(int64(ptr.Deref(t, defaultQueueDepth)), resource.DecimalSI)))
	}
	return ms
}

// adapterName of an engine's metric: the metrics API allows no colons.
func adapterName(metric string) string {
	return strings.ReplaceAll(metric, ":", "_")
}

func resourceMetric(name corev1.ResourceName, percent int32) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
		Name:   name,
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent},
	}}
}

func podsMetric(name string, average resource.Quantity) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: name},
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &average},
	}}
}

// canScaleToZero says whether somebody counts the requests that wait for an
// endpoint that does not run: its server does not.
func (e Endpoint) canScaleToZero() bool {
	return e.Platform.KEDA != nil && e.Platform.KEDA.ActivationQuery != ""
}

// scaledToZero says whether no replica runs, and none should.
func (e Endpoint) scaledToZero(live Live) bool {
	return e.minReplicas() == 0 && live.Deployment != nil && ptr.Deref(live.Deployment.Spec.Replicas, 1) == 0
}

// scaledObject makes KEDA scale the Deployment.
func (e Endpoint) scaledObject() *unstructured.Unstructured {
	sc := e.Spec.Scaling
	spec := map[string]any{
		"scaleTargetRef":  map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": e.TargetName(RoleDeployment)},
		"minReplicaCount": int64(e.minReplicas()),
		"maxReplicaCount": int64(e.maxReplicas()),
		"triggers":        e.triggers(),
	}
	behavior := map[string]any{}
	if d := sc.ScaleUpDelay; d != nil {
		behavior["scaleUp"] = map[string]any{"stabilizationWindowSeconds": int64(*d)}
	}
	if d := sc.ScaleDownDelay; d != nil {
		behavior["scaleDown"] = map[string]any{"stabilizationWindowSeconds": int64(*d)}
		// The window is the autoscaler's, which does not scale to zero; KEDA does.
		spec["cooldownPeriod"] = int64(*d)
	}
	if len(behavior) > 0 {
		spec["advanced"] = map[string]any{"horizontalPodAutoscalerConfig": map[string]any{"behavior": behavior}}
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetGroupVersionKind(APIScaledObject.GroupVersionKind())
	u.SetName(e.TargetName(RoleScaledObject))
	u.SetNamespace(e.Namespace)
	u.SetLabels(e.labels())
	return u
}

// triggers of KEDA: the same targets as those of an autoscaler. Each query is a
// sum over all replicas, of which a threshold is one replica's share.
func (e Endpoint) triggers() []any {
	sc := e.Spec.Scaling
	// Not those of its canary, nor those of chat-2 when this is chat. Of a long
	// name Kubernetes leaves out the last dash.
	pods := fmt.Sprintf("namespace=%q,pod=~%q", e.Namespace, e.TargetName(RoleDeployment)+"-[a-z0-9]+-?[a-z0-9]{5}")
	prometheus := func(query, threshold string) any {
		return map[string]any{"type": "prometheus", "metricType": "AverageValue", "metadata": map[string]any{
			"serverAddress": e.Platform.KEDA.PrometheusAddress, "query": query, "threshold": threshold,
		}}
	}
	utilization := func(what string, percent int32) any {
		return map[string]any{"type": what, "metricType": "Utilization", "metadata": map[string]any{"value": fmt.Sprint(percent)}}
	}
	var ts []any
	if t := sc.TargetCPUUtilization; t != nil {
		ts = append(ts, utilization("cpu", *t))
	}
	if t := sc.TargetMemoryUtilization; t != nil {
		ts = append(ts, utilization("memory", *t))
	}
	if t := sc.TargetGPUUtilization; t != nil {
		// A replica may have several GPUs.
		ts = append(ts, prometheus(fmt.Sprintf("sum(avg by (namespace, pod) (%s{%s}))", metricGPUActivity, pods), fmt.Sprint(*t)))
	}
	if t := sc.TargetKVCacheUtilization; t != nil {
		// And several engines, each with a cache of its own.
		ts = append(ts, prometheus(fmt.Sprintf("sum(avg by (namespace, pod) (%s{%s}))", e.Engine.Metrics.KVCacheUsage, pods), fmt.Sprintf("%d.%02d", *t/100, *t%100)))
	}
	depth := fmt.Sprint(ptr.Deref(sc.TargetQueueDepth, defaultQueueDepth))
	if sc.TargetQueueDepth != nil || len(ts) == 0 {
		// SGLang may count requests with a priority once more.
		ts = append(ts, prometheus(fmt.Sprintf("sum(%s{%s,priority=\"\"})", e.Engine.Metrics.QueueDepth, pods), depth))
	}
	if e.minReplicas() == 0 {
		// An operating server may be idle; one that does not run has no metrics.
		query := strings.NewReplacer("$namespace", e.Namespace, "$name", e.Name, "$model", e.ServedModelName()).Replace(e.Platform.KEDA.ActivationQuery)
		ts = append(ts, prometheus(query, depth))
	}
	return ts
}

func (e Endpoint) scalingReady(live Live) Condition {
	c := Condition{Type: v1alpha1.ConditionScalingReady}
	if live.refusedBy(&c, RoleAutoscaler, RoleScaledObject) {
		return c
	}
	if ptr.Deref(e.Spec.Scaling.MinReplicas, 1) == 0 && !e.canScaleToZero() {
		c.Reason = v1alpha1.ReasonCannotScaleToZero
		c.Message = "one replica keeps running though scaling.minReplicas is 0: a server that does not run counts no requests, so the platform must scale with KEDA, and name a query of those that wait, in its Composition's autoscaling.autoscaler and autoscaling.activationQuery; or set scaling.minReplicas to 1"
		return c
	}
	if !e.autoscaled() {
		c.OK, c.Reason, c.Message = true, v1alpha1.ReasonDisabled, "autoscaling is off: scaling.maxReplicas is not above scaling.minReplicas"
		return c
	}
	active := fmt.Sprintf("between %d and %d replicas", e.minReplicas(), e.maxReplicas())
	if e.Platform.KEDA != nil {
		return e.kedaReady(c, live, active)
	}
	c.Reason, c.Message = v1alpha1.ReasonMetricsUnavailable, "the HorizontalPodAutoscaler has not reported yet"
	if live.Autoscaler == nil {
		return c
	}
	for _, hc := range live.Autoscaler.Status.Conditions {
		if hc.Type != autoscalingv2.ScalingActive {
			continue
		}
		if hc.Status == corev1.ConditionTrue {
			c.OK, c.Reason, c.Message = true, v1alpha1.ReasonActive, active
			if missing := e.unmeasured(live.Autoscaler); len(missing) > 0 {
				c.Message = Bound(fmt.Sprintf("%s; there are no values of %s: %s", active, strings.Join(missing, " and "), e.metricsAdvice()))
			}
			return c
		}
		c.Message = Bound(fmt.Sprintf("the replicas stay as they are, because the autoscaler gets no metrics: %s; %s", hc.Message, e.metricsAdvice()))
	}
	return c
}

// unmeasured targets of an autoscaler that measures others.
func (e Endpoint) unmeasured(hpa *autoscalingv2.HorizontalPodAutoscaler) []string {
	measured := map[string]bool{}
	for _, m := range hpa.Status.CurrentMetrics {
		switch {
		case m.Resource != nil:
			measured[string(m.Resource.Name)] = true
		case m.Pods != nil:
			measured[m.Pods.Metric.Name] = true
		}
	}
	if len(measured) == 0 {
		// It is about to tell.
		return nil
	}
	var out []string
	for _, m := range e.scalingMetrics() {
		name := ""
		switch {
		case m.Resource != nil:
			name = string(m.Resource.Name)
		case m.Pods != nil:
			name = m.Pods.Metric.Name
		}
		if !measured[name] {
			out = append(out, name)
		}
	}
	return out
}

// metricsAdvice says what it takes for an autoscaler to get metrics.
func (e Endpoint) metricsAdvice() string {
	pods, resources := []string{}, false
	for _, m := range e.scalingMetrics() {
		if m.Pods != nil {
			pods = append(pods, m.Pods.Metric.Name)
			continue
		}
		resources = true
	}
	var advice []string
	if len(pods) > 0 {
		advice = append(advice, fmt.Sprintf("for %s the cluster needs Prometheus, which monitoring.enabled makes scrape this endpoint, and prometheus-adapter with the rules in package/metrics", strings.Join(pods, ", ")))
	}
	if resources {
		advice = append(advice, "for CPU and memory it needs metrics-server")
	}
	return strings.Join(advice, "; ")
}

func (e Endpoint) kedaReady(c Condition, live Live, active string) Condition {
	if !live.has(RoleScaledObject) {
		c.Reason, c.Message = v1alpha1.ReasonKEDANotInstalled, "the platform scales with KEDA, which this cluster does not have: the replicas stay as they are"
		return c
	}
	c.Reason, c.Message = v1alpha1.ReasonMetricsUnavailable, "KEDA has not reported yet"
	if live.ScaledObject == nil {
		return c
	}
	conditions, _, _ := unstructured.NestedSlice(live.ScaledObject.Object, "status", "conditions")
	for _, v := range conditions {
		m, _ := v.(map[string]any)
		if m["type"] != "Ready" {
			continue
		}
		if m["status"] == string(corev1.ConditionTrue) {
			c.OK, c.Reason, c.Message = true, v1alpha1.ReasonActive, active
			return c
		}
		msg, _ := m["message"].(string)
		c.Message = Bound("the replicas stay as they are, because KEDA cannot scale: " + firstOf(msg))
	}
	return c
}

// metrics that the autoscaler measured.
func (e Endpoint) metrics(hpa *autoscalingv2.HorizontalPodAutoscaler) *v1alpha1.Metrics {
	if hpa == nil || !e.autoscaled() {
		return nil
	}
	out := v1alpha1.Metrics{}
	for _, m := range hpa.Status.CurrentMetrics {
		switch {
		case m.Resource != nil && m.Resource.Name == corev1.ResourceCPU:
			out.CPUUtilization = m.Resource.Current.AverageUtilization
		case m.Resource != nil && m.Resource.Name == corev1.ResourceMemory:
			out.MemoryUtilization = m.Resource.Current.AverageUtilization
		case m.Pods == nil || m.Pods.Current.AverageValue == nil:
		case m.Pods.Metric.Name == metricGPUActivity:
			out.GPUUtilization = percentOf((m.Pods.Current.AverageValue.MilliValue() + 500) / 1000)
		case m.Pods.Metric.Name == adapterName(e.Engine.Metrics.KVCacheUsage):
			// The engine's gauge goes from 0 to 1.
			out.KVCacheUtilization = percentOf((m.Pods.Current.AverageValue.MilliValue() + 5) / 10)
		case m.Pods.Metric.Name == adapterName(e.Engine.Metrics.QueueDepth):
			out.QueueDepth = m.Pods.Current.AverageValue.String()
		}
	}
	if out == (v1alpha1.Metrics{}) {
		return nil
	}
	return &out
}

func percentOf(v int64) *int32 {
	return ptr.To(int32(max(0, min(100, v)))) //nolint:gosec // At most 100.
}
