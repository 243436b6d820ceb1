package endpoint

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

func TestMonitoringReady(t *testing.T) {
	const (
		off  = `monitoring: {enabled: false}`
		on   = `monitoring: {enabled: true}`
		prom = `monitoring: {enabled: true, grafana: {enabled: false}}`
		graf = `monitoring: {enabled: true, prometheus: {enabled: false}}`
		none = `monitoring: {enabled: true, prometheus: {enabled: false}, grafana: {enabled: false}}`
	)
	cases := map[string]struct {
		reason string
		spec   string
		live   Live
		want   Condition
	}{
		"Disabled": {"Without monitoring nothing is wrong.", off, Live{APIs: allAPIs()}, Condition{OK: true, Reason: "Disabled", Message: "monitoring.enabled is false"}},
		"Installed": {
			"What there is should be told.", on,
			Live{APIs: allAPIs()},
			Condition{OK: true, Reason: "Installed", Message: "it has a ServiceMonitor and a PrometheusRule and a dashboard"},
		},
		"WithoutGrafana": {
			"What there is should be told.", prom,
			Live{APIs: allAPIs()},
			Condition{OK: true, Reason: "Installed", Message: "it has a ServiceMonitor and a PrometheusRule"},
		},
		"WithoutPrometheus": {"A dashboard needs no operator.", graf, Live{}, Condition{OK: true, Reason: "Installed", Message: "it has a dashboard"}},
		"Neither": {
			"Monitoring of which both parts are off is off.", none,
			Live{},
			Condition{OK: true, Reason: "Disabled", Message: "monitoring.prometheus.enabled and monitoring.grafana.enabled are false"},
		},
		"NoOperator": {
			"What is missing should be told, and what to do.", on,
			Live{},
			Condition{
				Reason:  "PrometheusOperatorNotInstalled",
				Message: "this cluster has no ServiceMonitor and no PrometheusRule, which the Prometheus operator brings: install it, or set monitoring.prometheus.enabled to false",
			},
		},
		"NoRules": {
			"Half an operator is half of what is wanted.", on,
			Live{APIs: map[API]bool{APIServiceMonitor: true}},
			Condition{
				Reason:  "PrometheusOperatorNotInstalled",
				Message: "this cluster has no PrometheusRule, which the Prometheus operator brings: install it, or set monitoring.prometheus.enabled to false",
			},
		},
		"MonitorRefused": {
			"Why a ServiceMonitor cannot be applied should be told.", on,
			Live{APIs: allAPIs(), ApplyErrors: map[Role]string{RoleServiceMonitor: "denied"}},
			Condition{Reason: "ApplyFailed", Message: "cannot apply the ServiceMonitor: denied"},
		},
		"RulesRefused": {
			"Why a PrometheusRule cannot be applied should be told.", on,
			Live{APIs: allAPIs(), ApplyErrors: map[Role]string{RoleAlerts: "bad expression"}},
			Condition{Reason: "ApplyFailed", Message: "cannot apply the PrometheusRule: bad expression"},
		},
		"DashboardRefused": {
			"Why a dashboard cannot be applied should be told.", on,
			Live{APIs: allAPIs(), ApplyErrors: map[Role]string{RoleDashboard: "quota"}},
			Condition{Reason: "ApplyFailed", Message: "cannot apply the dashboard's ConfigMap: quota"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.want.Type = v1alpha1.ConditionMonitoringReady
			if diff := cmp.Diff(tc.want, chat(t, tc.spec).Conditions(tc.live, nil)[5]); diff != "" {
				t.Errorf("\n%s\nConditions(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestDashboard is about what the endpoint makes of a dashboard; what is on it
// is for its own package to test.
func TestDashboard(t *testing.T) {
	type want struct {
		Name, Title string
		Labels      map[string]string
	}
	labels := func(more ...string) map[string]string {
		l := chat(t, "").labels()
		l[more[0]] = more[1]
		return l
	}
	cases := map[string]struct {
		reason   string
		spec     string
		platform map[string]string
		want     want
	}{
		"Default": {
			reason: "A dashboard should be called after its endpoint, and be found by Grafana's sidecar as it is out of the box.",
			spec:   `monitoring: {enabled: true}`,
			want:   want{"chat-dashboard", "AIMEndpoint team-a/chat", labels("grafana_dashboard", "1")},
		},
		"Title": {
			reason: "A user may want another title.",
			spec:   `monitoring: {enabled: true, grafana: {dashboard: Our chat}}`,
			want:   want{"chat-dashboard", "Our chat", labels("grafana_dashboard", "1")},
		},
		"Platform": {
			reason:   "A platform's Grafana may look for something else.",
			spec:     `monitoring: {enabled: true}`,
			platform: map[string]string{"dashboards": "yes"},
			want:     want{"chat-dashboard", "AIMEndpoint team-a/chat", labels("dashboards", "yes")},
		},
		"OurLabelsStay": {
			reason:   "By our own labels an object is told from somebody else's.",
			spec:     `monitoring: {enabled: true}`,
			platform: map[string]string{"app.kubernetes.io/managed-by": "Helm", LabelComposite: "other", "a": "b"},
			want:     want{"chat-dashboard", "AIMEndpoint team-a/chat", labels("a", "b")},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ms := rendered(t, chat(t, tc.spec, func(e *Endpoint) { e.Platform.DashboardLabels = tc.platform }), Live{})
			cm, _ := ms[len(ms)-1].Object.(*corev1.ConfigMap)
			got := want{Name: cm.Name, Labels: cm.Labels}
			for _, j := range cm.Data {
				d := struct {
					Title string `json:"title"`
				}{}
				if err := json.Unmarshal([]byte(j), &d); err != nil {
					t.Fatal(err)
				}
				got.Title = d.Title
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nRender(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestWatchedEngine makes sure that each engine is watched by its own metrics,
// and its canary along with it.
func TestWatchedEngine(t *testing.T) {
	const spec = `monitoring: {enabled: true, prometheus: {interval: 1m, path: /stats}, grafana: {enabled: false}}`
	cases := map[string]struct {
		reason  string
		changes []func(e *Endpoint)
		has     []string
		not     []string
	}{
		"vLLM":   {"The engine's own names should be there.", nil, []string{"vllm:num_requests_waiting"}, []string{"sglang:", "chat-canary"}},
		"SGLang": {"The engine's own names should be there.", []func(e *Endpoint){onSGLang}, []string{"sglang:num_queue_reqs"}, []string{"vllm:", "chat-canary"}},
		"Canary": {"A canary's pods serve the endpoint's clients, too.", []func(e *Endpoint){func(e *Endpoint) { e.Spec.Deployment.Canary.Enabled = ptr.To(true) }}, []string{`|chat-canary-`}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var rules string
			for _, m := range rendered(t, chat(t, spec, tc.changes...), Live{APIs: allAPIs()}) {
				switch o := m.Object.(type) {
				case *monitoringv1.PrometheusRule:
					for _, g := range o.Spec.Groups {
						for _, r := range g.Rules {
							rules += r.Expr.String() + "\n"
						}
					}
				case *monitoringv1.ServiceMonitor:
					want := []monitoringv1.Endpoint{{Port: "http", Path: "/stats", Interval: "1m", ScrapeTimeout: "10s"}}
					if diff := cmp.Diff(want, o.Spec.Endpoints); diff != "" {
						t.Errorf("\nMetrics should be scraped from where, and as often as, the user says.\nRender(...): -want, +got:\n%s", diff)
					}
				}
			}
			for _, s := range tc.has {
				if !strings.Contains(rules, s) {
					t.Errorf("\n%s\nRender(...): no alert looks at %s:\n%s", tc.reason, s, rules)
				}
			}
			for _, s := range tc.not {
				if strings.Contains(rules, s) {
					t.Errorf("\n%s\nRender(...): an alert looks at %s:\n%s", tc.reason, s, rules)
				}
			}
		})
	}
}
