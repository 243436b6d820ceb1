package monitoring

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/test/tools"
)

// Labels of the series that a cluster has of the endpoint chat.
const (
	podLabels     = `namespace="team-a",pod="chat-7d9f8b6c5d-x7k2p"`
	newPodLabels  = `namespace="team-a",pod="chat-5c6b7d8f9b-k2p9z"`
	scraped       = `,service="chat",endpoint="http",job="chat"`
	deployed      = `{namespace="team-a",deployment="chat",job="kube-state-metrics"}`
	upSeries      = `up{` + podLabels + scraped + `}`
	newUpSeries   = `up{` + newPodLabels + scraped + `}`
	available     = `kube_deployment_status_replicas_available` + deployed
	desired       = `kube_deployment_spec_replicas` + deployed
	generation    = `kube_deployment_metadata_generation` + deployed
	crashed       = `kube_pod_container_status_restarts_total{` + podLabels + `,container="vllm"}`
	waiting       = `kube_pod_container_status_waiting_reason{` + podLabels + `,container="vllm",reason="CrashLoopBackOff"}`
	queued        = `vllm:num_requests_waiting{` + podLabels + scraped + `,engine="0",model_name="Qwen/Qwen3-8B"}`
	kvCache       = `vllm:kv_cache_usage_perc{` + podLabels + scraped + `,engine="0",model_name="Qwen/Qwen3-8B"}`
	firstToken    = `vllm:time_to_first_token_seconds_bucket{` + podLabels + scraped + `,engine="0",model_name="Qwen/Qwen3-8B",le="%s"}`
	honored       = `gpu_health{` + podLabels + `,gpu_id="3",hostname="gpu-1"}`
	notHonored    = `gpu_health{namespace="exporter",pod="exporter-abcde",exported_namespace="team-a",exported_pod="chat-7d9f8b6c5d-x7k2p",gpu_id="3",hostname="gpu-1"}`
	otherEndpoint = `gpu_health{namespace="team-a",pod="chat-2-7d9f8b6c5d-x7k2p",gpu_id="3",hostname="gpu-1"}`
)

// series by what they are, with their values of every minute in promtool's
// notation.
type series map[string]string

// A check at a time, as Prometheus writes durations, of which alerts fire.
type check struct {
	at   string
	want []string
}

// alertCases are what happens to an endpoint that may take 45 min to start.
func alertCases() map[string]struct {
	reason  string
	series  series
	changes []func(t *Target)
	checks  []check
} {
	return map[string]struct {
		reason  string
		series  series
		changes []func(t *Target)
		checks  []check
	}{
		"serves": {
			reason: "An endpoint that serves should not alert, with no exporter of GPU metrics and no kube-state-metrics either.",
			series: series{upSeries: "1x300", queued: "0x300", kvCache: "0.5x300"},
			checks: []check{{"5m", nil}, {"2h", nil}, {"5h", nil}},
		},
		"starts": {
			reason: "An endpoint that is being loaded for as long as it may take should not alert.",
			series: series{
				upSeries:  "_x2 0x42 1x200",
				available: "0x44 1x200", desired: "1x250", generation: "1x250", crashed: "0x250",
			},
			checks: []check{{"10m", nil}, {"44m", nil}, {"50m", nil}, {"3h", nil}},
		},
		"never starts": {
			reason: "An endpoint that does not start in time should be told of.",
			series: series{upSeries: "_x2 0x250", available: "0x250", desired: "1x250", generation: "1x250"},
			checks: []check{
				{"49m", nil},
				{"55m", []string{"AIMEndpointMetricsMissing", "AIMEndpointNoReadyReplicas"}},
				{"4h", []string{"AIMEndpointMetricsMissing", "AIMEndpointNoReadyReplicas"}},
			},
		},
		"waits for a GPU": {
			reason: "A pod that is nowhere has no address that Prometheus could ask.",
			series: series{available: "0x250", desired: "1x250", generation: "1x250"},
			checks: []check{{"49m", nil}, {"55m", []string{"AIMEndpointMetricsMissing", "AIMEndpointNoReadyReplicas"}}},
		},
		"not selected": {
			reason: "That Prometheus does not scrape an endpoint that serves is not an outage.",
			series: series{available: "1x250", desired: "1x250", generation: "1x250"},
			checks: []check{{"49m", nil}, {"55m", []string{"AIMEndpointMetricsMissing"}}},
		},
		"scaled to zero": {
			reason:  "An endpoint that may have no replica and has none should not alert.",
			series:  series{upSeries: "1x20 stale", available: "1x20 0x300", desired: "1x20 0x300", generation: "1x20 2x300"},
			changes: []func(t *Target){func(t *Target) { t.MinReplicas = 0 }},
			checks:  []check{{"26m", nil}, {"2h", nil}, {"5h", nil}},
		},
		"crashes": {
			reason: "An endpoint that served and crashed should wake somebody though it is being loaded again, and until it serves or its start has taken too long.",
			series: series{
				upSeries: "1x60 0x300", available: "1x60 0x300", desired: "1x360", generation: "1x360", crashed: "0x60 1x300",
			},
			checks: []check{
				{"1h", nil},
				{"1h5m", nil},
				{"1h7m", []string{"AIMEndpointDown"}},
				{"1h55m", []string{"AIMEndpointDown", "AIMEndpointMetricsMissing", "AIMEndpointNoReadyReplicas"}},
				{"3h", []string{"AIMEndpointMetricsMissing", "AIMEndpointNoReadyReplicas"}},
			},
		},
		"crashes unseen by kube-state-metrics": {
			reason: "It takes no kube-state-metrics to see an outage.",
			series: series{upSeries: "1x60 0x30 1x100"},
			checks: []check{{"1h5m", nil}, {"1h7m", []string{"AIMEndpointDown"}}, {"1h32m", nil}},
		},
		"loses its node": {
			reason: "A pod that replaces one that was lost should not hide the outage.",
			series: series{
				upSeries: "1x60 stale", newUpSeries: "_x62 0x40 1x100",
				available: "1x60 0x42 1x100", desired: "1x202", generation: "1x202",
			},
			checks: []check{{"1h5m", nil}, {"1h7m", []string{"AIMEndpointDown"}}, {"1h45m", nil}},
		},
		"is rolled out": {
			reason: "A rollout that has to stop the old pod first should not alert.",
			series: series{
				upSeries: "1x60 stale", newUpSeries: "_x62 0x40 1x100",
				available: "1x60 0x42 1x100", desired: "1x202", generation: "1x60 2x142",
			},
			checks: []check{{"1h5m", nil}, {"1h7m", nil}, {"1h40m", nil}, {"2h", nil}},
		},
		"one of two crashes": {
			reason: "An endpoint that serves with fewer replicas is not down.",
			series: series{
				upSeries: "1x60 0x30 1x100", newUpSeries: "1x190",
				available: "2x60 1x30 2x100", desired: "2x190", generation: "1x190",
			},
			checks: []check{{"1h20m", nil}},
		},
		"crash loop": {
			reason: "A container that crashes at once, time and again, should be told of.",
			series: series{upSeries: "0x60", crashed: "0 1 2 2 3 3 3 3 4 4 4 4 4 5x50", waiting: "_ 1 1 1x60"},
			checks: []check{{"5m", nil}, {"15m", []string{"AIMEndpointCrashLooping"}}},
		},
		"slow crash loop": {
			reason: "A container that crashes once it has loaded the model should be told of, too.",
			series: series{upSeries: "0x130", crashed: "0x30 1x30 2x30 3x30"},
			checks: []check{{"40m", nil}, {"1h50m", []string{"AIMEndpointCrashLooping", "AIMEndpointMetricsMissing"}}},
		},
		"one crash": {
			reason: "One crash is not a loop.",
			series: series{upSeries: "1x10 0x3 1x100", crashed: "0x10 1x100", waiting: "_x10 1 stale"},
			checks: []check{{"12m", nil}, {"15m", nil}, {"16m", nil}, {"1h", nil}},
		},
		"crash loop that was replaced": {
			reason: "A pod that is gone should not be told of.",
			series: series{upSeries: "0x20 stale", newUpSeries: "_x20 1x200", crashed: "0 1 2 3 4 4x15 stale", waiting: "_ 1x18 stale"},
			checks: []check{{"15m", []string{"AIMEndpointCrashLooping"}}, {"30m", nil}, {"1h", nil}},
		},
		"queue grows": {
			reason: "A queue that grows though more than enough wait should be told of.",
			series: series{upSeries: "1x200", queued: "0x60 0+1x140"},
			checks: []check{{"1h10m", nil}, {"1h40m", []string{"AIMEndpointQueueGrowing"}}},
		},
		"queue stands": {
			reason: "A queue that does not grow is served.",
			series: series{upSeries: "1x200", queued: "0x60 8x140"},
			checks: []check{{"2h", nil}, {"3h", nil}},
		},
		"queue is short": {
			reason: "A short queue may grow.",
			series: series{upSeries: "1x200", queued: "0x60 0+0.02x140"},
			checks: []check{{"3h", nil}},
		},
		"KV cache full": {
			reason: "A KV cache that stays full should be told of.",
			series: series{upSeries: "1x100", kvCache: "0.5x10 0.97x20 0.5x50"},
			checks: []check{{"15m", nil}, {"22m", []string{"AIMEndpointKVCacheFull"}}, {"35m", nil}},
		},
		"first token late": {
			reason: "First tokens that come after more than 10 s should be told of, and no requests should not.",
			series: series{
				upSeries:                        "1x200",
				fmt.Sprintf(firstToken, "10.0"): "0x10 0+9x40 360x100",
				fmt.Sprintf(firstToken, "20.0"): "0x10 0+10x40 400x100",
				fmt.Sprintf(firstToken, "+Inf"): "0x10 0+10x40 400x100",
			},
			checks: []check{{"15m", nil}, {"30m", []string{"AIMEndpointSlowFirstToken"}}, {"1h10m", nil}},
		},
		"first token in time": {
			reason: "One slow request in a hundred is nothing to tell of.",
			series: series{
				upSeries:                        "1x200",
				fmt.Sprintf(firstToken, "10.0"): "0+99x200",
				fmt.Sprintf(firstToken, "20.0"): "0+100x200",
				fmt.Sprintf(firstToken, "+Inf"): "0+100x200",
			},
			checks: []check{{"30m", nil}, {"1h", nil}},
		},
		"GPU unhealthy": {
			reason: "An unhealthy GPU of the endpoint should be told of.",
			series: series{upSeries: "1x100", honored: "1x10 0x50"},
			checks: []check{{"14m", nil}, {"20m", []string{"AIMEndpointGPUUnhealthy"}}},
		},
		"GPU unhealthy, labels not honored": {
			reason: "So it should where the exporter's own labels go first.",
			series: series{upSeries: "1x100", notHonored: "1x10 0x50"},
			checks: []check{{"14m", nil}, {"20m", []string{"AIMEndpointGPUUnhealthy"}}},
		},
		"GPU of another endpoint unhealthy": {
			reason: "Another endpoint's GPU is none of this one's business.",
			series: series{upSeries: "1x100", otherEndpoint: "0x60"},
			checks: []check{{"20m", nil}},
		},
	}
}

// promtool's files.
type (
	promtoolSeries struct {
		Series string `json:"series"`
		Values string `json:"values"`
	}
	promtoolSample struct {
		Labels string `json:"labels"`
		Value  int    `json:"value"`
	}
	promtoolExpr struct {
		Expr     string           `json:"expr"`
		EvalTime string           `json:"eval_time"`   //nolint:tagliatelle // Prometheus' own.
		Samples  []promtoolSample `json:"exp_samples"` //nolint:tagliatelle // As above.
	}
	promtoolTest struct {
		Interval string           `json:"interval"`
		Series   []promtoolSeries `json:"input_series"`     //nolint:tagliatelle // As above.
		Exprs    []promtoolExpr   `json:"promql_expr_test"` //nolint:tagliatelle // As above.
	}
	promtoolFile struct {
		RuleFiles []string       `json:"rule_files"` //nolint:tagliatelle // As above.
		Tests     []promtoolTest `json:"tests"`
	}
)

// promtool is the one beside the Prometheus that the end to end tests run.
func promtool(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("This test runs promtool.")
	}
	prometheus, err := tools.Prometheus(t.Context(), os.Stderr)
	if errors.Is(err, tools.ErrNoPrometheus) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(filepath.Dir(prometheus), "promtool")
}

func TestAlerts(t *testing.T) {
	t.Parallel()
	tool := promtool(t)
	for name, tc := range alertCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			writeYAML(t, filepath.Join(dir, "rules.yaml"), chat(t, "vllm", tc.changes...).PrometheusRule().Spec)
			writeYAML(t, filepath.Join(dir, "tests.yaml"), promtoolFile{
				RuleFiles: []string{"rules.yaml"}, Tests: []promtoolTest{testOf(tc.series, tc.checks)},
			})
			cmd := exec.CommandContext(t.Context(), tool, "test", "rules", "tests.yaml")
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("\n%s\npromtool test rules: %v\n%s", tc.reason, err, out)
			}
		})
	}
}

func testOf(in series, checks []check) promtoolTest {
	test := promtoolTest{Interval: "1m"}
	for s, values := range in {
		test.Series = append(test.Series, promtoolSeries{Series: s, Values: values})
	}
	slices.SortFunc(test.Series, func(a, b promtoolSeries) int { return strings.Compare(a.Series, b.Series) })
	for _, c := range checks {
		e := promtoolExpr{Expr: `count by (alertname) (ALERTS{alertstate="firing",namespace="team-a",aimendpoint="chat"})`, EvalTime: c.at}
		for _, a := range c.want {
			e.Samples = append(e.Samples, promtoolSample{Labels: fmt.Sprintf("{alertname=%q}", a), Value: 1})
		}
		test.Exprs = append(test.Exprs, e)
	}
	return test
}

func writeYAML(t *testing.T, file string, v any) {
	t.Helper()
	y, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, y, 0o600); err != nil {
		t.Fatal(err)
	}
}
