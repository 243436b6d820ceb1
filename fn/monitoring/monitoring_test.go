package monitoring

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/engine"
	"github.com/aim-engine/function-aim/fn/object"
)

var update = flag.Bool("update", false, "write golden files instead of comparing with them")

// chat is a target as an endpoint would make it.
func chat(tb testing.TB, backend v1alpha1.Backend, changes ...func(t *Target)) Target {
	tb.Helper()
	e, ok := engine.Lookup(backend)
	if !ok {
		tb.Fatalf("there is no engine %s", backend)
	}
	t := Target{
		Name: "chat", Namespace: "team-a", Endpoint: "chat", Model: "Qwen/Qwen3-8B",
		Labels:    map[string]string{"app.kubernetes.io/managed-by": "function-aim", "release": "kube-prometheus-stack"},
		Selector:  map[string]string{"aim.engine.amd.com/composite": "chat-x7k2p"},
		PodPrefix: "chat", Port: "http", Path: "/metrics", Interval: "30s",
		Engine: e, StartupSeconds: 2700, MinReplicas: 1,
	}
	for _, c := range changes {
		c(&t)
	}
	return t
}

func compareGolden(t *testing.T, reason, file string, got []byte) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("\n%s\n%s: -want, +got:\n%s\nIf the change is wanted: go test ./fn/monitoring -update", reason, file, diff)
	}
}

// rendered objects of a target, and its dashboard indented for people.
func rendered(t *testing.T, target Target) (objects, dashboard []byte) {
	t.Helper()
	cm, err := target.Dashboard()
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	for k, v := range cm.Data {
		if err := json.Indent(&indented, []byte(v), "", "  "); err != nil {
			t.Fatal(err)
		}
		indented.WriteByte('\n')
		cm.Data[k] = "as in the file of the dashboard"
	}
	var b bytes.Buffer
	sm, err := object.Manifest(target.ServiceMonitor())
	if err != nil {
		t.Fatal(err)
	}
	pr, err := object.Manifest(target.PrometheusRule())
	if err != nil {
		t.Fatal(err)
	}
	configMap, err := object.Manifest(cm)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []map[string]any{sm, pr, configMap} {
		y, err := yaml.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("---\n")
		b.Write(y)
	}
	return b.Bytes(), indented.Bytes()
}

func TestGolden(t *testing.T) {
	cases := map[string]struct {
		reason string
		target Target
	}{
		"vllm": {
			reason: "An endpoint with vLLM should be watched by vLLM's metrics.",
			target: chat(t, "vllm"),
		},
		"sglang": {
			reason: "An endpoint with SGLang should be watched by SGLang's metrics.",
			target: chat(t, "sglang"),
		},
		"others": {
			reason: "What is optional should be used where it is there.",
			target: chat(t, "vllm", func(t *Target) {
				t.Name, t.PodPrefix, t.Endpoint = "aim-3.chat", "aim-3.chat", "3.chat"
				t.Canary, t.Title, t.Interval, t.StartupSeconds, t.MinReplicas = "aim-3.chat-canary", "Chat", "5m", 10800, 0
			}),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			objects, dashboard := rendered(t, tc.target)
			compareGolden(t, tc.reason, name+".yaml", objects)
			compareGolden(t, tc.reason, name+"-dashboard.json", dashboard)
		})
	}
}

func TestSameBytes(t *testing.T) {
	labels := map[string]string{}
	for _, k := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		labels[k] = k + k
	}
	keys := slices.Sorted(maps.Keys(labels))
	with := func(order []string) Target {
		return chat(t, "vllm", func(t *Target) {
			t.Labels, t.Selector = map[string]string{}, map[string]string{}
			for _, k := range order {
				t.Labels[k], t.Selector[k] = labels[k], labels[k]
			}
		})
	}
	wantObjects, wantDashboard := rendered(t, with(keys))
	for range 20 {
		slices.Reverse(keys)
		keys = append(keys[3:], keys[:3]...)
		objects, dashboard := rendered(t, with(keys))
		if !bytes.Equal(objects, wantObjects) || !bytes.Equal(dashboard, wantDashboard) {
			t.Fatalf("\nThe order of labels should not matter.\norder %v:\n%s", keys, cmp.Diff(string(wantObjects), string(objects)))
		}
	}
}

func TestLabelsStayTheCallers(t *testing.T) {
	target := chat(t, "vllm")
	sm, pr := target.ServiceMonitor(), target.PrometheusRule()
	cm, err := target.Dashboard()
	if err != nil {
		t.Fatal(err)
	}
	sm.Labels["a"], pr.Labels["b"], cm.Labels["c"], sm.Spec.Selector.MatchLabels["d"] = "a", "b", "c", "d"
	if diff := cmp.Diff(chat(t, "vllm").Labels, target.Labels); diff != "" {
		t.Errorf("\nA label that is added to one object should not appear on another.\nLabels: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(chat(t, "vllm").Selector, target.Selector); diff != "" {
		t.Errorf("\nA change of one object should not change another.\nSelector: -want, +got:\n%s", diff)
	}
}

func TestIntervals(t *testing.T) {
	type want struct {
		ScrapeTimeout string
		Rate          string
	}
	cases := map[string]struct {
		reason   string
		interval string
		want     want
	}{
		"Usual":      {"Prometheus' own timeout should do.", "30s", want{"10s", "5m"}},
		"Short":      {"A scrape should end before the next begins.", "5s", want{"4s", "5m"}},
		"Shortest":   {"A timeout may be less than a second.", "1s", want{"800ms", "5m"}},
		"Long":       {"A rate should have enough samples.", "2m", want{"10s", "8m"}},
		"Unreadable": {"What cannot be read is for Prometheus to refuse.", "soon", want{"", "5m"}},
		"Unset":      {"Prometheus has an interval of its own.", "", want{"", "5m"}},
		"Too long":   {"A number that no duration holds should not matter.", "99999999999999h", want{"", "5m"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			target := chat(t, "vllm", func(t *Target) { t.Interval = tc.interval })
			rate := regexp.MustCompile(`seconds_bucket\{.*\}\[(.*?)\]`)
			got := want{ScrapeTimeout: string(target.ServiceMonitor().Spec.Endpoints[0].ScrapeTimeout)}
			for _, r := range target.PrometheusRule().Spec.Groups[0].Rules {
				if m := rate.FindStringSubmatch(r.Expr.StrVal); m != nil {
					got.Rate = m[1]
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\ninterval %q: -want, +got:\n%s", tc.reason, tc.interval, diff)
			}
		})
	}
}

func TestPods(t *testing.T) {
	const long = "aim-3-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-5842dd40"
	cases := map[string]struct {
		reason string
		prefix string
		canary string
		pod    string
		want   bool
	}{
		"Pod":            {"A pod of the Deployment is the endpoint's.", "chat", "", "chat-7d9f8b6c5d-x7k2p", true},
		"Short hash":     {"A hash can be shorter.", "chat", "", "chat-7d9f8-x7k2p", true},
		"Other endpoint": {"The pods of chat-2 are not chat's.", "chat", "", "chat-2-7d9f8b6c5d-x7k2p", false},
		"Longer name":    {"The pods of chatty are not chat's.", "chat", "", "chatty-7d9f8b6c5d-x7k2p", false},
		"Job":            {"The pod of a Job of the endpoint does not serve.", "chat", "", "chat-preload-1a2b3c4d-x7k2p", false},
		"Job's own name": {"Nor does that of a Job of the same name.", "chat", "", "chat-x7k2p", false},
		"StatefulSet":    {"Nor does one of a StatefulSet.", "chat", "", "chat-0", false},
		"Dot":            {"A dot in a name is just a dot.", "3.chat", "", "3xchat-7d9f8b6c5d-x7k2p", false},
		"Canary":         {"A canary's pods serve the endpoint.", "chat", "chat-canary", "chat-canary-7d9f8b6c5d-x7k2p", true},
		"With canary":    {"So do the others meanwhile.", "chat", "chat-canary", "chat-7d9f8b6c5d-x7k2p", true},
		"No canary":      {"A pod of something that is called like a canary is not the endpoint's.", "chat", "", "chat-canary-7d9f8b6c5d-x7k2p", false},
		// The API server cuts the ReplicaSet's name and the dash after it.
		"Cut name": {"A long name's hash is cut, and the dash after it.", long, "", (long + "-7d9f8b6c5d-")[:maxPodPrefix] + "x7k2p", true},
		"Cut dash": {"A dash can be all that is cut.", long[:47], "", long[:47] + "-7d9f8b6c5dx7k2p", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			target := Target{PodPrefix: tc.prefix, Canary: tc.canary}
			// This is how Prometheus anchors.
			if got := regexp.MustCompile("^(?:" + target.pods() + ")$").MatchString(tc.pod); got != tc.want {
				t.Errorf("\n%s\npods() = %s matches %s: want %t, got %t", tc.reason, target.pods(), tc.pod, tc.want, got)
			}
		})
	}
}
