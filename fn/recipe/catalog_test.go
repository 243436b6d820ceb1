package recipe

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/engine"
	"github.com/aim-engine/function-aim/fn/gpu"
	"github.com/aim-engine/function-aim/fn/model"
)

func TestBuiltinModels(t *testing.T) {
	want := []string{
		"Qwen/Qwen3-32B",
		"Qwen/Qwen3-8B",
		"meta-llama/Llama-3.1-70B-Instruct",
		"meta-llama/Llama-3.1-8B-Instruct",
		"openai/gpt-oss-120b",
	}
	got, err := BuiltinModels()
	if err != nil {
		t.Fatalf("BuiltinModels(): %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\nThe catalog should have these models, sorted.\nBuiltinModels(): -want, +got:\n%s", diff)
	}
}

func TestBuiltin(t *testing.T) {
	config := func(n int32, cpu, memory string) Configuration {
		return Configuration{
			GPUCount: n, Recommended: n == 1, Args: []string{"--max-model-len", "40960"},
			Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}},
		}
	}
	recipe := func(name string, hw v1alpha1.Hardware) Recipe {
		return Recipe{
			Name: name, Source: SourceBuiltin, Model: "Qwen/Qwen3-8B", Hardware: hw, Precision: "bfloat16", Backend: "vllm",
			Configurations: []Configuration{config(1, "4", "32Gi"), config(2, "8", "64Gi"), config(4, "16", "128Gi")},
		}
	}
	cases := map[string]struct {
		reason string
		model  string
		want   []Recipe
	}{
		"Known": {
			reason: "A model of the catalog should have a recipe for each of its hardware, by name.",
			model:  "Qwen/Qwen3-8B",
			want:   []Recipe{recipe("qwen3-8b-mi300x-bfloat16-vllm", "MI300X"), recipe("qwen3-8b-mi355x-bfloat16-vllm", "MI355X")},
		},
		"Unknown": {
			reason: "A model that is not in the catalog should have none, and that is no error.",
			model:  "example/unknown",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Builtin(tc.model)
			if err != nil {
				t.Fatalf("Builtin(%q): %v", tc.model, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nBuiltin(%q): -want, +got:\n%s", tc.reason, tc.model, diff)
			}
		})
	}
}

// TestCatalog holds for every recipe that will ever be in the catalog.
func TestCatalog(t *testing.T) {
	ids, err := BuiltinModels()
	if err != nil {
		t.Fatalf("BuiltinModels(): %v", err)
	}
	names := map[string]bool{}
	for _, id := range ids {
		recipes, err := Builtin(id)
		if err != nil {
			t.Fatalf("Builtin(%q): %v", id, err)
		}
		for _, r := range recipes {
			if names[r.Name] {
				t.Errorf("\nNames should be unique.\nBuiltin(%q): %s is there twice", id, r.Name)
			}
			names[r.Name] = true
			if errs := validation.IsDNS1123Label(r.Name); len(errs) > 0 {
				t.Errorf("\nA name should be one that a Kubernetes object could have.\nBuiltin(%q): %s: %v", id, r.Name, errs)
			}
			if r.Model != id || r.Source != SourceBuiltin || r.Precision != Canonical(r.Precision) {
				t.Errorf("\nA recipe should say what it is for, and be spelled out.\nBuiltin(%q): %+v", id, r)
			}
			a, known := gpu.Lookup(r.Hardware)
			if !known || !a.Runs(r.Precision) {
				t.Errorf("\nA recipe should be for hardware that runs it.\nBuiltin(%q): %s on %s", id, r.Name, r.Hardware)
			}
			if _, ok := engine.Lookup(r.Backend); !ok {
				t.Errorf("\nA recipe should be for an engine that is there.\nBuiltin(%q): %s with %s", id, r.Name, r.Backend)
			}
			counts := make([]int32, 0, len(r.Configurations))
			recommended := 0
			for _, c := range r.Configurations {
				counts = append(counts, c.GPUCount)
				if c.Recommended {
					recommended++
				}
				if c.GPUCount < 1 || c.GPUCount > a.MaxPerNode {
					t.Errorf("\nA replica should fit on a node.\nBuiltin(%q): %s has %d GPUs", id, r.Name, c.GPUCount)
				}
			}
			if recommended != 1 {
				t.Errorf("\nExactly one GPU count, of those that there are, should be recommended.\nBuiltin(%q): %s has %d of %v", id, r.Name, recommended, counts)
			}
			slices.Sort(counts)
			if len(slices.Compact(counts)) != len(r.Configurations) {
				t.Errorf("\nA GPU count should be there once.\nBuiltin(%q): %s has %v", id, r.Name, counts)
			}
		}
	}
}

// TestCatalogRuns selects from the catalog as an endpoint does.
func TestCatalogRuns(t *testing.T) {
	ids, err := BuiltinModels()
	if err != nil {
		t.Fatalf("BuiltinModels(): %v", err)
	}
	for _, id := range ids {
		t.Run(id, func(t *testing.T) {
			facts, ok, err := model.Lookup(id)
			if err != nil || !ok {
				t.Fatalf("\nEvery model of the catalog should have facts.\nmodel.Lookup(%q): %t, %v", id, ok, err)
			}
			recipes, err := Builtin(id)
			if err != nil {
				t.Fatalf("Builtin(%q): %v", id, err)
			}
			for _, hw := range []v1alpha1.Hardware{"MI300X", "MI355X"} {
				d := Select(recipes, Constraints{Model: id, Hardware: hw}, &facts)
				if d.Selected == nil || !d.Selected.Configuration.Recommended {
					t.Errorf("\nEvery model should run as recommended on this hardware.\nSelect(%s): %s", hw, d.Message)
				}
			}
			for _, c := range Select(recipes, Constraints{Model: id}, &facts).Candidates {
				if c.Fit == nil || c.Reason == "" || c.Message == "" {
					t.Errorf("\nWhether a configuration fits should be known, and every verdict have a reason.\nSelect(...): %s on %d GPUs: %s %q", c.Recipe.Name, c.Configuration.GPUCount, c.Reason, c.Message)
				}
				if c.Verdict == VerdictRejected {
					t.Errorf("\nThe catalog should hold nothing that cannot run.\nSelect(...): %s: %s", c.Recipe.Name, c.Message)
				}
				if c.Fit != nil && c.Fit.MaxConcurrentSequences < 1 {
					t.Errorf("\nWhat runs should have room for a sequence.\nSelect(...): %s on %d GPUs: %s", c.Recipe.Name, c.Configuration.GPUCount, c.Fit)
				}
				if n, ok := engine.FlagValue(c.Configuration.Args, c.Engine.MaxModelLenFlags...); ok {
					if l, ok := tokens(n); !ok || l > facts.MaxContextLength {
						t.Errorf("\nNo sequence should be longer than what the model was made for.\nSelect(...): %s has %s, the model %d", c.Recipe.Name, n, facts.MaxContextLength)
					}
				}
			}
		})
	}
}
