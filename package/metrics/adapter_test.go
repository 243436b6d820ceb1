// Package metrics tests the configuration of prometheus-adapter in this folder.
package metrics

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/apis"
	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/engine"
)

// values of the chart that we set.
type values struct {
	Prometheus struct {
		URL  string `json:"url"`
		Port int    `json:"port"`
	} `json:"prometheus"`
	Rules struct {
		Default bool   `json:"default"`
		Custom  []rule `json:"custom"`
	} `json:"rules"`
}

// A rule of prometheus-adapter, with the fields that its documentation has.
type rule struct {
	SeriesQuery string `json:"seriesQuery"`
	Resources   struct {
		Overrides map[string]struct {
			Resource string `json:"resource"`
		} `json:"overrides"`
	} `json:"resources"`
	Name struct {
		Matches string `json:"matches"`
		As      string `json:"as"`
	} `json:"name"`
	MetricsQuery string `json:"metricsQuery"`
}

// TestRules makes sure that there is a rule for whatever autoscalers ask for, by
// the name that they have for it, and none for anything else. That the rules
// work is what the end to end tests are for.
func TestRules(t *testing.T) {
	got := map[string]string{}
	series := regexp.MustCompile(`^\{__name__="([a-z_:]+)",namespace!="",pod!=""\}$`)
	for _, r := range rules(t) {
		m := series.FindStringSubmatch(r.SeriesQuery)
		if m == nil {
			t.Errorf("seriesQuery %s: want one series, of a pod", r.SeriesQuery)
			continue
		}
		name := regexp.MustCompile(r.Name.Matches)
		if !name.MatchString(m[1]) {
			t.Errorf("%s: its name doesn't match %s", m[1], r.Name.Matches)
		}
		got[name.ReplaceAllString(m[1], r.Name.As)] = m[1]
	}

	want := map[string]string{}
	for _, b := range backends(t) {
		e, ok := engine.Lookup(b)
		if !ok {
			t.Fatalf("there is no engine for backend %s", b)
		}
		for _, m := range []string{e.Metrics.QueueDepth, e.Metrics.KVCacheUsage} {
			want[strings.ReplaceAll(m, ":", "_")] = m
		}
	}
	for _, m := range asked(t) {
		if _, ok := want[m]; !ok {
			// What isn't an engine's has no colon.
			want[m] = m
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\nThere should be a rule for each metric that an autoscaler asks for.\nrules.custom: -want, +got:\n%s", diff)
	}
}

// TestResources makes sure that all rules are about pods.
func TestResources(t *testing.T) {
	for _, r := range rules(t) {
		got := map[string]string{}
		for label, o := range r.Resources.Overrides {
			got[label] = o.Resource
		}
		if diff := cmp.Diff(map[string]string{"namespace": "namespace", "pod": "pod"}, got); diff != "" {
			t.Errorf("\nAutoscalers ask for metrics of pods.\n%s: resources.overrides: -want, +got:\n%s", r.SeriesQuery, diff)
		}
	}
}

func rules(t *testing.T) []rule {
	t.Helper()
	b, err := os.ReadFile("prometheus-adapter.yaml")
	if err != nil {
		t.Fatal(err)
	}
	v := values{}
	if err := yaml.UnmarshalStrict(b, &v); err != nil {
		t.Fatal(err)
	}
	if v.Rules.Default {
		t.Error("rules.default: want false: the chart's own rules offer our metrics, too, by other names")
	}
	return v.Rules.Custom
}

// backends that the API has.
func backends(t *testing.T) []v1alpha1.Backend {
	t.Helper()
	b, err := apis.Definitions.ReadFile("xaimendpoints.yaml")
	if err != nil {
		t.Fatal(err)
	}
	xrd := struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema extv1.JSONSchemaProps `json:"openAPIV3Schema"` //nolint:tagliatelle // That is its name.
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}{}
	if err := yaml.Unmarshal(b, &xrd); err != nil {
		t.Fatal(err)
	}
	spec := xrd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	recipe := spec.Properties["recipe"]
	out := make([]v1alpha1.Backend, 0)
	for _, v := range recipe.Properties["backend"].Enum {
		backend := v1alpha1.Backend("")
		if err := json.Unmarshal(v.Raw, &backend); err != nil {
			t.Fatal(err)
		}
		out = append(out, backend)
	}
	if len(out) == 0 {
		t.Fatal("the API has no backends")
	}
	return out
}

// asked returns the metrics of pods that rendered autoscalers ask for.
func asked(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../fn/endpoint/testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out := make([]string, 0)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for doc := range strings.SplitSeq(string(b), "\n---\n") {
			hpa := autoscalingv2.HorizontalPodAutoscaler{}
			if !strings.Contains(doc, "kind: HorizontalPodAutoscaler") {
				continue
			}
			if err := yaml.UnmarshalStrict([]byte(doc), &hpa); err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			for _, m := range hpa.Spec.Metrics {
				if m.Pods != nil {
					out = append(out, m.Pods.Metric.Name)
				}
			}
		}
	}
	if len(out) == 0 {
		t.Fatal("no autoscaler was rendered")
	}
	return out
}
