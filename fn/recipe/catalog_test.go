package recipe

import (
	"fmt"
	"slices"
	"strings"
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
	want, err := model.IDs()
	if err != nil {
		t.Fatalf("model.IDs(): %v", err)
	}
	got, err := BuiltinModels()
	if err != nil {
		t.Fatalf("BuiltinModels(): %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\nThe catalog should have all models with facts and no others, sorted.\nBuiltinModels(): -want, +got:\n%s", diff)
	}
}

func TestBuiltin(t *testing.T) {
	resources := func(cpu, memory string) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}}
	}
	recipe := func(name string, hw v1alpha1.Hardware, b v1alpha1.Backend, args ...string) Recipe {
		return Recipe{
			Name: name, Source: SourceBuiltin, Model: "Qwen/Qwen3-8B", Hardware: hw, Precision: "bfloat16", Backend: b,
			Configurations: []Configuration{
				{GPUCount: 1, Recommended: true, Args: args, Resources: resources("4", "32Gi")},
				{GPUCount: 2, Args: args, Resources: resources("8", "64Gi")},
				{GPUCount: 4, Args: args, Resources: resources("16", "128Gi")},
			},
		}
	}
	vllm := func(name string, hw v1alpha1.Hardware) Recipe {
		return recipe(name, hw, "vllm", "--max-model-len", "40960")
	}
	sglang := func(name string, hw v1alpha1.Hardware) Recipe {
		return recipe(name, hw, "sglang", "--context-length", "40960")
	}
	cases := map[string]struct {
		reason string
		model  string
		want   []Recipe
	}{
		"Known": {
			reason: "A model of the catalog should have a recipe for each of its hardware, by name.",
			model:  "Qwen/Qwen3-8B",
			want: []Recipe{
				vllm("qwen3-8b-mi210-bfloat16-vllm", "MI210"),
				vllm("qwen3-8b-mi250-bfloat16-vllm", "MI250"),
				sglang("qwen3-8b-mi300x-bfloat16-sglang", "MI300X"),
				vllm("qwen3-8b-mi300x-bfloat16-vllm", "MI300X"),
				sglang("qwen3-8b-mi325x-bfloat16-sglang", "MI325X"),
				vllm("qwen3-8b-mi325x-bfloat16-vllm", "MI325X"),
				sglang("qwen3-8b-mi350x-bfloat16-sglang", "MI350X"),
				vllm("qwen3-8b-mi350x-bfloat16-vllm", "MI350X"),
				sglang("qwen3-8b-mi355x-bfloat16-sglang", "MI355X"),
				vllm("qwen3-8b-mi355x-bfloat16-vllm", "MI355X"),
			},
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

func TestCatalogFile(t *testing.T) {
	one := func(n int32, c Configuration) Configuration {
		c.GPUCount, c.Resources = n, DefaultResources(n)
		return c
	}
	type want struct {
		recipes []Recipe
		err     string
	}
	cases := map[string]struct {
		reason string
		file   catalogFile
		want   want
	}{
		"Common": {
			reason: "What all recipes have should come before their own, and published numbers go with their GPU count.",
			file: catalogFile{
				Model: "org/Model", Args: []string{"--a"}, Env: []corev1.EnvVar{{Name: "A"}},
				Recipes: []catalogEntry{{
					Hardware: []v1alpha1.Hardware{"MI355X", "MI300X"}, Precision: "float8", Backend: "vllm", GPUCounts: []int32{1, 8}, Recommended: 8,
					Args: []string{"--b"}, Env: []corev1.EnvVar{{Name: "B"}},
					Performance: []catalogPerformance{{GPUCount: 8, Performance: Performance{TokensPerSecond: 3, Source: "somewhere"}}},
				}},
			},
			want: want{recipes: func() []Recipe {
				args, env := []string{"--a", "--b"}, []corev1.EnvVar{{Name: "A"}, {Name: "B"}}
				cs := []Configuration{
					one(1, Configuration{Args: args, Env: env}),
					one(8, Configuration{Args: args, Env: env, Recommended: true, Performance: Performance{TokensPerSecond: 3, Source: "somewhere"}}),
				}
				return []Recipe{
					{Name: "model-mi300x-float8-vllm", Source: SourceBuiltin, Model: "org/Model", Hardware: "MI300X", Precision: "float8", Backend: "vllm", Configurations: cs},
					{Name: "model-mi355x-float8-vllm", Source: SourceBuiltin, Model: "org/Model", Hardware: "MI355X", Precision: "float8", Backend: "vllm", Configurations: cs},
				}
			}()},
		},
		"PerformanceOfNothing": {
			reason: "Numbers that belong to no configuration should not get lost.",
			file: catalogFile{Model: "org/Model", Recipes: []catalogEntry{{
				Hardware: []v1alpha1.Hardware{"MI300X"}, Precision: "float8", Backend: "vllm", GPUCounts: []int32{1},
				Performance: []catalogPerformance{{GPUCount: 8}},
			}}},
			want: want{err: "there is a performance for 8 GPUs, but no such configuration"},
		},
		"Nothing": {
			reason: "A file without recipes has none.",
			want:   want{recipes: []Recipe{}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rs, err := tc.file.recipes()
			got := want{recipes: rs}
			if err != nil {
				got.err = err.Error()
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nrecipes(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestPublished has the numbers of the catalog, all of them from ROCm's
// documentation. What nobody published has none.
func TestPublished(t *testing.T) {
	want := map[string]int32{
		"amd/Llama-3.1-405B-Instruct-FP8-KV on 8 GPUs of MI300X (float8, vllm)": 3816,
		"amd/Llama-3.1-70B-Instruct-FP8-KV on 8 GPUs of MI300X (float8, vllm)":  13279,
	}
	got := map[string]int32{}
	eachBuiltin(t, func(r Recipe) {
		for _, c := range r.Configurations {
			p := c.Performance
			if p == (Performance{}) {
				continue
			}
			got[fmt.Sprintf("%s on %s of %s (%s, %s)", r.Model, gpus(c.GPUCount), r.Hardware, r.Precision, r.Backend)] = p.TokensPerSecond
			if p.Source == "" || p.LatencyMs != 0 {
				t.Errorf("\nA number should have a source, and be one that was published.\nBuiltin(%q): %+v", r.Model, p)
			}
		}
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\nThe catalog should have what was published, and nothing else.\nBuiltin(...): -want, +got:\n%s", diff)
	}
}

// eachBuiltin calls f with every recipe of the catalog.
func eachBuiltin(t *testing.T, f func(r Recipe)) {
	t.Helper()
	ids, err := BuiltinModels()
	if err != nil {
		t.Fatalf("BuiltinModels(): %v", err)
	}
	for _, id := range ids {
		recipes, err := Builtin(id)
		if err != nil {
			t.Fatalf("Builtin(%q): %v", id, err)
		}
		for _, r := range recipes {
			f(r)
		}
	}
}

// TestCatalog holds for every recipe that will ever be in the catalog.
func TestCatalog(t *testing.T) {
	names := map[string]bool{}
	eachBuiltin(t, func(r Recipe) {
		if names[r.Name] {
			t.Errorf("\nNames should be unique.\nBuiltin(%q): %s is there twice", r.Model, r.Name)
		}
		names[r.Name] = true
		if errs := validation.IsDNS1123Label(r.Name); len(errs) > 0 {
			t.Errorf("\nA name should be one that a Kubernetes object could have.\nBuiltin(%q): %s: %v", r.Model, r.Name, errs)
		}
		if r.Source != SourceBuiltin || r.Precision != Canonical(r.Precision) {
			t.Errorf("\nA recipe should say what it is, and be spelled out.\nBuiltin(%q): %+v", r.Model, r)
		}
		a, known := gpu.Lookup(r.Hardware)
		if !known || !a.Runs(r.Precision) {
			t.Errorf("\nA recipe should be for hardware that runs it.\nBuiltin(%q): %s on %s", r.Model, r.Name, r.Hardware)
		}
		if _, ok := engine.Lookup(r.Backend); !ok {
			t.Errorf("\nA recipe should be for an engine that is there.\nBuiltin(%q): %s with %s", r.Model, r.Name, r.Backend)
		}
		if a.Architecture == "gfx90a" && (r.Backend == "sglang" || r.Precision == "float8") {
			t.Errorf("\nNeither SGLang nor float8 exists for gfx90a.\nBuiltin(%q): %s", r.Model, r.Name)
		}
		checkCounts(t, r, a)
		for _, c := range r.Configurations {
			checkArgs(t, r, a, c)
		}
	})
}

// checkCounts of GPUs of a recipe.
func checkCounts(t *testing.T, r Recipe, a gpu.Accelerator) {
	t.Helper()
	counts := make([]int32, 0, len(r.Configurations))
	recommended := 0
	for _, c := range r.Configurations {
		counts = append(counts, c.GPUCount)
		if c.Recommended {
			recommended++
		}
		if c.GPUCount < 1 || c.GPUCount > a.MaxPerNode {
			t.Errorf("\nA replica should fit on a node.\nBuiltin(%q): %s has %d GPUs", r.Model, r.Name, c.GPUCount)
		}
	}
	if recommended != 1 {
		t.Errorf("\nExactly one GPU count, of those that there are, should be recommended.\nBuiltin(%q): %s has %d of %v", r.Model, r.Name, recommended, counts)
	}
	slices.Sort(counts)
	if len(slices.Compact(counts)) != len(r.Configurations) {
		t.Errorf("\nA GPU count should be there once.\nBuiltin(%q): %s has %v", r.Model, r.Name, counts)
	}
}

// checkArgs and environment of a configuration. Whether an engine takes them is
// what the engine package tests.
func checkArgs(t *testing.T, r Recipe, a gpu.Accelerator, c Configuration) {
	t.Helper()
	seen := map[string]bool{}
	for _, arg := range c.Args {
		if strings.HasPrefix(arg, "--") && seen[arg] {
			t.Errorf("\nA flag should be there once, be it of all recipes of the file or of this one.\nBuiltin(%q): %s has %v", r.Model, r.Name, c.Args)
		}
		seen[arg] = true
		if a.Architecture == "gfx90a" && strings.Contains(arg, "AITER") {
			t.Errorf("\nThere are no AITER kernels for gfx90a.\nBuiltin(%q): %s has %s", r.Model, r.Name, arg)
		}
	}
	for _, e := range c.Env {
		if seen[e.Name] || e.Value == "" {
			t.Errorf("\nA variable should be there once, with a value.\nBuiltin(%q): %s has %v", r.Model, r.Name, c.Env)
		}
		seen[e.Name] = true
		if a.Architecture == "gfx90a" && strings.Contains(e.Name, "AITER") {
			t.Errorf("\nThere are no AITER kernels for gfx90a.\nBuiltin(%q): %s has %s", r.Model, r.Name, e.Name)
		}
	}
	e, _ := engine.Lookup(r.Backend)
	if _, ok := engine.FlagValue(c.Args, e.MaxModelLenFlags...); !ok {
		t.Errorf("\nThe length of a sequence should be said, as memory depends on it.\nBuiltin(%q): %s has %v", r.Model, r.Name, c.Args)
	}
}

// TestCatalogCovers all hardware that a published checkpoint fits on.
func TestCatalogCovers(t *testing.T) {
	type pair struct {
		model    string
		hardware v1alpha1.Hardware
	}
	got := map[pair]bool{}
	eachBuiltin(t, func(r Recipe) { got[pair{r.Model, r.Hardware}] = true })

	ids, err := model.IDs()
	if err != nil {
		t.Fatalf("model.IDs(): %v", err)
	}
	want := map[pair]bool{}
	for _, id := range ids {
		f, _, _ := model.Lookup(id)
		for _, a := range gpu.All() {
			_, fits := f.SmallestFit(model.Placement{
				Precision: f.Checkpoint, MaxModelLen: min(8192, f.MaxContextLength), Utilization: 0.92, MemoryGiB: a.MemoryGiB,
			}, []int32{1, 2, 4, 8})
			if fits && a.Runs(f.Checkpoint) {
				want[pair{id, a.Name}] = true
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\nThere should be a recipe wherever the published weights and a sequence of 8192 tokens fit, and nowhere else.\nBuiltin(...): -want, +got:\n%s", diff)
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
			for _, hw := range []v1alpha1.Hardware{"MI300X", "MI325X", "MI350X", "MI355X"} {
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
				if !c.Facts.DividesInto(c.Configuration.GPUCount) {
					t.Errorf("\nThe model should divide into its GPUs.\nSelect(...): %s on %d GPUs", c.Recipe.Name, c.Configuration.GPUCount)
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
