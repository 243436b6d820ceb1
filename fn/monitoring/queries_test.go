package monitoring

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

// known metrics, as their sources name them.
func known(backend v1alpha1.Backend) []string {
	out := []string{
		"up", // Prometheus.
		// kube-state-metrics v2.
		"kube_deployment_metadata_generation", "kube_deployment_spec_replicas", "kube_deployment_status_replicas_available",
		"kube_pod_container_status_restarts_total", "kube_pod_container_status_waiting_reason",
		// AMD's device metrics exporter v1.5.
		"gpu_health", "gpu_gfx_activity", "gpu_used_vram", "gpu_total_vram",
		"gpu_junction_temperature", "gpu_edge_temperature", "gpu_package_power", "gpu_average_package_power",
	}
	switch backend {
	case "vllm": // v0.24.
		out = append(out,
			"vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc",
			"vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:request_success_total",
			"vllm:time_to_first_token_seconds_bucket", "vllm:inter_token_latency_seconds_bucket", "vllm:e2e_request_latency_seconds_bucket")
	case "sglang": // v0.5.18.
		out = append(out,
			"sglang:num_running_reqs", "sglang:num_queue_reqs", "sglang:token_usage",
			"sglang:prompt_tokens_total", "sglang:generation_tokens_total", "sglang:num_requests_total", "sglang:num_aborted_requests_total",
			"sglang:time_to_first_token_seconds_bucket", "sglang:inter_token_latency_seconds_bucket", "sglang:e2e_request_latency_seconds_bucket")
	}
	slices.Sort(out)
	return out
}

// strictDashboard reads the JSON of a dashboard as Grafana's schema has it.
//
//nolint:staticcheck // As in dashboard.go.
func strictDashboard(t *testing.T, target Target) dashboard.Dashboard {
	t.Helper()
	plugins.RegisterDefaultPlugins()
	cm, err := target.Dashboard()
	if err != nil {
		t.Fatal(err)
	}
	j := []byte(cm.Data[target.Namespace+"-"+target.Name+".json"])
	strict := dashboard.Dashboard{}
	err = strict.UnmarshalJSONStrict(j)
	// It returns an empty list of errors if there are none, but takes that for an
	// error of a panel, and leaves the panel out: that is why we read again below.
	if found := (cog.BuildErrors{}); !errors.As(err, &found) || len(found) > 0 {
		t.Fatalf("\nThe dashboard should be of Grafana's schema.\nUnmarshalJSONStrict(...): %v", err)
	}
	d := dashboard.Dashboard{}
	if err := json.Unmarshal(j, &d); err != nil {
		t.Fatal(err)
	}
	if err := d.Validate(); err != nil {
		t.Fatalf("\nThe dashboard should be valid.\nValidate(): %v", err)
	}
	return d
}

// expressions of a target's alerts and panels, by the name of either.
func expressions(t *testing.T, target Target) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, r := range target.PrometheusRule().Spec.Groups[0].Rules {
		out[r.Alert] = r.Expr.StrVal
	}
	for _, p := range strictDashboard(t, target).Panels {
		if p.Panel == nil {
			continue
		}
		for _, q := range p.Panel.Targets {
			// Grafana puts a duration there before Prometheus sees it.
			pq, ok := q.(*prometheus.Dataquery)
			if !ok {
				t.Fatalf("\nA panel should query Prometheus.\n%s: got %T", *p.Panel.Title, q)
			}
			out[*p.Panel.Title+" "+*pq.RefId] = strings.ReplaceAll(pq.Expr, rateInterval, "5m")
		}
	}
	return out
}

// metrics that a selector may select.
func metrics(s *parser.VectorSelector) []string {
	for _, m := range s.LabelMatchers {
		if m.Name == labels.MetricName {
			return strings.Split(m.Value, "|")
		}
	}
	return nil
}

// scope of a selector: what its matchers say of whose series it selects.
func scope(s *parser.VectorSelector) string {
	var out []string
	for _, m := range s.LabelMatchers {
		switch m.Name {
		case "namespace", "exported_namespace", "pod", "exported_pod", "deployment":
			out = append(out, m.String())
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestQueries(t *testing.T) {
	for _, backend := range []v1alpha1.Backend{"vllm", "sglang"} {
		t.Run(string(backend), func(t *testing.T) {
			target := chat(t, backend, func(t *Target) { t.PodPrefix, t.Namespace = "3.chat", "team-a" })
			used := map[string]bool{}
			const pods = `"3\\.chat-[a-z0-9]+-[a-z0-9]{5}"`
			scopes := []string{
				`namespace="team-a" pod=~` + pods,
				`exported_namespace="team-a" exported_pod=~` + pods,
				`deployment="3.chat" namespace="team-a"`,
			}
			for name, expr := range expressions(t, target) {
				e, err := parser.ParseExpr(expr)
				if err != nil {
					t.Errorf("\n%s should be PromQL.\nParseExpr(%s): %v", name, expr, err)
					continue
				}
				parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
					s, ok := n.(*parser.VectorSelector)
					if !ok {
						return nil
					}
					if !slices.Contains(scopes, scope(s)) {
						t.Errorf("\n%s should be about the endpoint's own pods.\n%s: got scope %s", name, s, scope(s))
					}
					for _, m := range metrics(s) {
						used[m] = true
					}
					return nil
				})
			}
			got := make([]string, 0, len(used))
			for m := range used {
				got = append(got, m)
			}
			slices.Sort(got)
			if diff := cmp.Diff(known(backend), got); diff != "" {
				t.Errorf("\nThe metrics that are used should be those that there are.\n-want, +got:\n%s", diff)
			}
		})
	}
}

func TestQuoting(t *testing.T) {
	target := Target{Namespace: `a"b\c`, PodPrefix: `d.e"f\g`, Port: `h"i`}
	e, err := parser.ParseExpr(target.up())
	if err != nil {
		t.Fatal(err)
	}
	s, ok := e.(*parser.VectorSelector)
	if !ok {
		t.Fatalf("want a selector, got %T", e)
	}
	got := map[string]bool{}
	for _, m := range s.LabelMatchers {
		switch m.Name {
		case "namespace":
			got[m.Name] = m.Matches(target.Namespace)
		case "pod":
			got[m.Name] = m.Matches(target.PodPrefix + "-7d9f8b6c5d-x7k2p")
		case "endpoint":
			got[m.Name] = m.Matches(target.Port)
		}
	}
	if diff := cmp.Diff(map[string]bool{"namespace": true, "pod": true, "endpoint": true}, got); diff != "" {
		t.Errorf("\nWhatever a name holds should be matched as it is.\n%s matches: -want, +got:\n%s", target.up(), diff)
	}
}

func TestDashboardIdentity(t *testing.T) {
	targets := map[string]Target{}
	for _, name := range [][2]string{{"a", "b-c"}, {"a-b", "c"}, {"a", "b"}, {"b", "a"}, {strings.Repeat("n", 63), strings.Repeat("m", 63)}} {
		targets[name[0]+"/"+name[1]] = chat(t, "vllm", func(t *Target) { t.Namespace, t.Name = name[0], name[1] })
	}
	owners := map[string]string{}
	for name, target := range targets {
		d := strictDashboard(t, target)
		if n := len(*d.Uid); n > 40 {
			t.Errorf("\nGrafana takes at most 40 characters.\n%s: uid %s has %d", name, *d.Uid, n)
		}
		if o, ok := owners[*d.Uid]; ok {
			t.Errorf("\nEvery endpoint's dashboard should have a uid of its own.\nuid %s is that of %s and %s", *d.Uid, o, name)
		}
		owners[*d.Uid] = name
		if d.Id != nil || d.Version != nil {
			t.Errorf("\nA dashboard's id and version are Grafana's to set.\n%s: got id %v, version %v", name, d.Id, d.Version)
		}
	}
}

func TestPanelsShareTheGrid(t *testing.T) {
	d := strictDashboard(t, chat(t, "sglang"))
	ids, width := map[uint32]bool{}, map[uint32]uint32{}
	for _, p := range d.Panels {
		var id uint32
		var pos dashboard.GridPos
		if p.Panel != nil {
			id, pos = *p.Panel.Id, *p.Panel.GridPos
		} else {
			id, pos = p.RowPanel.Id, *p.RowPanel.GridPos
		}
		if ids[id] {
			t.Errorf("\nA panel's id should be its own.\n%d is there twice", id)
		}
		ids[id] = true
		if pos.X != width[pos.Y] {
			t.Errorf("\nPanels should not overlap.\npanel %d begins at %d of line %d, where others take %d", id, pos.X, pos.Y, width[pos.Y])
		}
		width[pos.Y] += pos.W
	}
	for y, w := range width {
		if w != gridWidth {
			t.Errorf("\nA row should be filled.\nline %d: want width %d, got %d", y, gridWidth, w)
		}
	}
}

func TestDashboardIsSmall(t *testing.T) {
	cm, err := chat(t, "sglang").Dashboard()
	if err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(cm)
	if err != nil {
		t.Fatal(err)
	}
	// A composite's desired state holds it, and so does what is observed.
	if n := len(j); n > 32<<10 {
		t.Errorf("\nA dashboard should not weigh on the control plane.\nwant at most 32 KiB, got %d bytes", n)
	}
}
