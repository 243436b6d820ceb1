package monitoring

import (
	"fmt"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

const (
	critical = "critical"
	warning  = "warning"
)

const (
	// outage that is long enough to wake somebody, and a margin on top of what a
	// start may take.
	outage = 5 * time.Minute

	// remembered is for how long after a start's time AIMEndpointDown remembers
	// that an endpoint was serving. By then AIMEndpointNoReadyReplicas has taken
	// over.
	remembered = 15 * time.Minute

	// queueDepth is the number of waiting requests at which an endpoint that may
	// scale gets another replica, unless its user decided otherwise.
	queueDepth = 5

	// firstTokenSeconds is how long a person looks at an empty answer before they
	// turn to something else (Nielsen, Usability Engineering, 1993). Both engines
	// count requests up to exactly 10 s, so that nothing is interpolated.
	firstTokenSeconds = 10

	// restarts that are no longer an accident, within as many starts.
	restarts = 3
)

// An alert of an endpoint.
type alert struct {
	name     string
	severity string
	expr     string
	// hold is for how long expr must have a result.
	hold    time.Duration
	summary string
	action  string
}

// PrometheusRule with alerts about the endpoint.
func (t Target) PrometheusRule() *monitoringv1.PrometheusRule {
	alerts := t.alerts()
	rules := make([]monitoringv1.Rule, 0, len(alerts))
	for _, a := range alerts {
		rules = append(rules, monitoringv1.Rule{
			Alert:  a.name,
			Expr:   intstr.FromString(a.expr),
			For:    ptr.To(monitoringv1.Duration(duration(a.hold))),
			Labels: map[string]string{"severity": a.severity, "namespace": t.Namespace, "aimendpoint": t.Endpoint},
			Annotations: map[string]string{
				"summary":     fmt.Sprintf("AIMEndpoint %s/%s %s", t.Namespace, t.Endpoint, a.summary),
				"description": a.action,
			},
		})
	}
	r := &monitoringv1.PrometheusRule{
		ObjectMeta: t.metadata(t.Name),
		Spec: monitoringv1.PrometheusRuleSpec{Groups: []monitoringv1.RuleGroup{{
			Name: "aimendpoint." + t.Namespace + "." + t.Endpoint, Rules: rules,
		}}},
	}
	r.SetGroupVersionKind(monitoringv1.SchemeGroupVersion.WithKind(monitoringv1.PrometheusRuleKind))
	return r
}

func (t Target) alerts() []alert {
	describe := fmt.Sprintf("kubectl describe aimendpoint %s -n %s", t.Endpoint, t.Namespace)
	return []alert{
		{
			name:     "AIMEndpointDown",
			severity: critical,
			expr:     t.down(),
			hold:     outage,
			summary:  "stopped serving.",
			action: fmt.Sprintf("It served %s, and no pod has answered for %s though nobody changed it. "+
				"See WorkloadReady in: %s. The message there holds the last lines of a pod that crashed.", t.Model, duration(outage), describe),
		},
		{
			name:     "AIMEndpointNoReadyReplicas",
			severity: critical,
			expr: fmt.Sprintf("max(%s) == 0 and max(%s) > 0",
				t.deployment("kube_deployment_status_replicas_available"), t.deployment("kube_deployment_spec_replicas")),
			hold:    t.startup() + outage,
			summary: "has no ready replica.",
			action: fmt.Sprintf("Nothing has served %s for longer than the %s that a start may take. "+
				"See WorkloadReady in: %s. It says whether pods wait for a GPU, cannot pull the image or the model, or crash.",
				t.Model, duration(t.startup()), describe),
		},
		{
			name:     "AIMEndpointMetricsMissing",
			severity: warning,
			expr:     t.metricsMissing(),
			hold:     t.startup() + outage,
			summary:  "has no metrics.",
			action: fmt.Sprintf("Prometheus could scrape no pod for longer than the %s that a start may take, so it cannot see how requests fare. "+
				"If the endpoint serves, see in Prometheus' list of targets whether the ServiceMonitor is selected, "+
				"and whether a NetworkPolicy keeps Prometheus out (security.networkPolicy.allowFrom). Else see: %s.",
				duration(t.startup()), describe),
		},
		{
			name:     "AIMEndpointQueueGrowing",
			severity: warning,
			expr:     t.queueGrowing(),
			hold:     10 * time.Minute,
			summary:  "gets more requests than it can serve.",
			action: fmt.Sprintf("More than %d requests wait in each replica ({{ $value | humanize }} on average), and ever more do. "+
				"Raise scaling.maxReplicas or scaling.minReplicas if there are GPUs to spare, or have clients send less. "+
				"If it may scale further but does not, see ScalingReady in: %s.", queueDepth, describe),
		},
		{
			name:     "AIMEndpointKVCacheFull",
			severity: warning,
			expr:     fmt.Sprintf("max by (pod) (%s) > 0.95", t.series(t.Engine.Metrics.KVCacheUsage)),
			hold:     10 * time.Minute,
			summary:  "has a full KV cache.",
			action: "{{ $value | humanizePercentage }} of the KV cache of pod {{ $labels.pod }} is in use: requests wait, or are interrupted and computed again. " +
				"Raise scaling.maxReplicas or recipe.gpuCount, or bound the length of requests with a smaller maximum model length.",
		},
		{
			name:     "AIMEndpointSlowFirstToken",
			severity: warning,
			expr: fmt.Sprintf("%s > %d",
				t.quantile("0.95", t.Engine.Metrics.TimeToFirstToken, duration(t.window(5*time.Minute))), firstTokenSeconds),
			hold:    10 * time.Minute,
			summary: "keeps its users waiting.",
			action: fmt.Sprintf("One request of %s in 20 waits more than %d s for its first token (95th percentile: {{ $value | humanizeDuration }}). "+
				"If requests queue, raise scaling.maxReplicas. If they do not, prompts are long: a recipe for more GPUs reads them faster (recipe.gpuCount).",
				t.Model, firstTokenSeconds),
		},
		{
			name:     "AIMEndpointCrashLooping",
			severity: warning,
			expr:     t.crashLooping(),
			// Longer than what it looks back over, so that one crash is not enough.
			hold:    t.window(outage) + outage,
			summary: "crashes again and again.",
			action: fmt.Sprintf("Container {{ $labels.container }} of pod {{ $labels.pod }} keeps restarting. See WorkloadReady in: %s, "+
				"and: kubectl logs {{ $labels.pod }} -c {{ $labels.container }} -n %s --previous.", describe, t.Namespace),
		},
		{
			name:     "AIMEndpointGPUUnhealthy",
			severity: warning,
			expr:     t.gpus(func(selector string) string { return metricGPUHealth + "{" + selector + "} == 0" }),
			hold:     outage,
			summary:  "runs on an unhealthy GPU.",
			action: "GPU {{ $labels.gpu_id }} of node {{ $labels.hostname }} reports errors, and pod {{ $labels.pod }} uses it. " +
				"Cordon the node, delete the pod so that it starts on another, and have the GPU looked at (amd-smi, dmesg).",
		},
	}
}

// down tells an endpoint that stopped serving from one that starts. No pod
// answers, and either one that does not did so before, or the Deployment had
// replicas and nobody has changed it since, which scaling it would be, too. A
// rollout has new pods and a changed Deployment; a node that is lost takes the
// old pods with it.
func (t Target) down() string {
	since := duration(t.window(t.startup() + remembered))
	return fmt.Sprintf("(max(%[1]s) == 0 and max(max_over_time(%[1]s[%[2]s]) and %[1]s == 0) == 1)", t.up(), since) +
		fmt.Sprintf(" or (max(%[1]s) == 0 and max(max_over_time(%[1]s[%[2]s])) > 0 and max(changes(%[3]s[%[2]s])) == 0)",
			t.deployment("kube_deployment_status_replicas_available"), since, t.deployment("kube_deployment_metadata_generation"))
}

// metricsMissing tells that no pod can be scraped. That there is none to scrape
// may be as it should be, if the endpoint may have no replica.
func (t Target) metricsMissing() string {
	expr := fmt.Sprintf("max(%s) == 0", t.up())
	if t.MinReplicas > 0 {
		// Of a sum, so that the alert's labels are the same in both cases.
		expr += fmt.Sprintf(" or absent(sum(%s))", t.up())
	}
	return expr
}

// queueGrowing tells that more requests wait than make the autoscaler act, and
// that they became more.
func (t Target) queueGrowing() string {
	queue, over := t.requests(t.Engine.Metrics.QueueDepth), t.window(10*time.Minute)
	return fmt.Sprintf("avg(avg_over_time(%[1]s[%[2]s])) > %[3]d and sum(avg_over_time(%[1]s[%[2]s])) > sum(avg_over_time(%[1]s[%[2]s] offset %[4]s))",
		queue, duration(over), queueDepth, duration(2*over))
}

// crashLooping tells that containers keep restarting, be it at once or only
// after they have loaded the model. What a pod did that is gone does not count.
func (t Target) crashLooping() string {
	count := t.series("kube_pod_container_status_restarts_total")
	return fmt.Sprintf("max by (pod, container) (increase(%[1]s[%[2]s]) and %[1]s) >= %[3]d", count, duration(t.window(restarts*(t.startup()+outage))), restarts) +
		fmt.Sprintf(` or max by (pod, container) (max_over_time(kube_pod_container_status_waiting_reason{%s,reason="CrashLoopBackOff"}[%s])) == 1`,
			t.selector(), duration(t.window(outage)))
}
