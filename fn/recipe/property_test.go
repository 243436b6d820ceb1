package recipe

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/engine"
	"github.com/aim-engine/function-aim/fn/gpu"
	"github.com/aim-engine/function-aim/fn/model"
)

// eligible candidate of a recipe's first configuration.
func eligible(r Recipe) Candidate {
	c := Candidate{Recipe: r, Configuration: r.Configurations[0], Verdict: VerdictEligible}
	c.Accelerator, _ = gpu.Lookup(r.Hardware)
	c.Engine, _ = engine.Lookup(r.Backend)
	return c
}

func arithmetic(c Candidate) string {
	if c.Fit == nil {
		return "not checked"
	}
	return fmt.Sprintf("%.3f of %.3f", c.Fit.RequiredGiB, c.Fit.AvailableGiB)
}

// A generator of cases. Its seed is in the message of a failure.
type generator struct{ *rand.Rand }

func generators(n int) func(yield func(seed uint64, g generator) bool) {
	return func(yield func(uint64, generator) bool) {
		for seed := range uint64(n) {
			if !yield(seed, generator{rand.New(rand.NewPCG(seed, 1))}) {
				return
			}
		}
	}
}

func pick[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

// maybe picks nothing half of the time.
func maybe[T any](g generator, from ...T) T {
	if g.IntN(2) == 0 {
		var none T
		return none
	}
	return pick(g, from...)
}

var (
	anyHardware  = []v1alpha1.Hardware{"MI210", "MI250", "MI300X", "MI325X", "MI350X", "MI355X"}
	anyPrecision = []v1alpha1.Precision{"bfloat16", "float16", "float8", "int8", "int4", "bf16", "fp8"}
	anyBackend   = []v1alpha1.Backend{"vllm", "vllm", "sglang"}
	anyObjective = []v1alpha1.Objective{"", v1alpha1.ObjectiveThroughput, v1alpha1.ObjectiveLatency, v1alpha1.ObjectiveCost}
)

// recipe with a name that no other has.
func (g generator) recipe(i int) Recipe {
	r := Recipe{
		Name: fmt.Sprintf("r%02d", i), Source: Source(1 + g.IntN(3)), Model: testModel,
		Hardware: pick(g, append(anyHardware, "MI100")...), Precision: pick(g, anyPrecision...), Backend: pick(g, anyBackend...),
		Priority: pick(g, 0, 0, 0, 1, -1),
	}
	if g.IntN(8) == 0 {
		r.Model = "example/other"
	}
	for _, n := range g.Perm(8)[:1+g.IntN(3)] {
		c := Configuration{GPUCount: int32(n + 1), Recommended: g.IntN(2) == 0}
		if g.IntN(2) == 0 {
			c.Args = []string{"--max-model-len", pick(g, "1024", "32768", "1048576")}
		}
		r.Configurations = append(r.Configurations, c)
	}
	return r
}

func (g generator) recipes() []Recipe {
	n := g.IntN(12)
	out := make([]Recipe, 0, n)
	for i := range n {
		out = append(out, g.recipe(i))
	}
	return out
}

func (g generator) constraints() Constraints {
	c := Constraints{
		Model:     testModel,
		Hardware:  maybe(g, maybe(g, anyHardware...)),
		Precision: maybe(g, maybe(g, anyPrecision...)),
		Backend:   maybe(g, maybe(g, anyBackend...)),
		GPUCount:  maybe(g, maybe[int32](g, 1, 2, 4, 8)),
		Objective: pick(g, anyObjective...),
	}
	c.SkipMemoryCheck = g.IntN(4) == 0
	for range maybe(g, 1, 2, 3) {
		c.Inventory = append(c.Inventory, Node{Hardware: pick(g, anyHardware...), GPUs: pick[int32](g, 1, 4, 8)})
	}
	return c
}

func (g generator) facts() *model.Facts {
	if g.IntN(4) == 0 {
		return nil
	}
	return &model.Facts{
		ID: testModel, ParametersBillion: pick(g, 8.0, 70, 400), Layers: 80, HiddenSize: 8192, VocabSize: 128256,
		AttentionHeads: pick[int64](g, 64, 40), KVHeads: pick[int64](g, 8, 10), HeadDim: 128, MaxContextLength: 131072,
	}
}

const runs = 3000

// TestSelectInAnyOrder permutes recipes and configurations.
func TestSelectInAnyOrder(t *testing.T) {
	selected := 0
	for seed, g := range generators(runs) {
		recipes, want, facts := g.recipes(), g.constraints(), g.facts()
		before := seen(Select(recipes, want, facts))
		if before.Selected != nil {
			selected++
		}
		shuffled := slices.Clone(recipes)
		g.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for i := range shuffled {
			cs := slices.Clone(shuffled[i].Configurations)
			g.Shuffle(len(cs), func(i, j int) { cs[i], cs[j] = cs[j], cs[i] })
			shuffled[i].Configurations = cs
		}
		if diff := cmp.Diff(before, seen(Select(shuffled, want, facts))); diff != "" {
			t.Fatalf("\nThe order of recipes and of their configurations should never matter.\nseed %d: Select(...): -before, +after:\n%s", seed, diff)
		}
	}
	if selected < runs/10 || selected > runs*9/10 {
		t.Errorf("The generator should make cases of both outcomes, but something is selected in %d of %d.", selected, runs)
	}
}

// TestSelectIgnoresIneligible adds candidates that cannot run.
func TestSelectIgnoresIneligible(t *testing.T) {
	for seed, g := range generators(runs) {
		recipes, want, facts := g.recipes(), g.constraints(), g.facts()
		before := Select(recipes, want, facts)

		bad := g.recipe(99)
		bad.Model, bad.Source, bad.Priority = testModel, 9, 1000
		switch g.IntN(3) {
		case 0:
			bad.Hardware = "MI100"
		case 1:
			bad.Backend = "tgi"
		case 2:
			bad.Hardware, bad.Precision = "MI210", "float8"
		}
		after := Select(append(slices.Clone(recipes), bad), want, facts)
		if diff := cmp.Diff(seen(before).Selected, seen(after).Selected); diff != "" {
			t.Fatalf("\nA candidate that cannot run should never change what is selected.\nseed %d: Select(...): -before, +after:\n%s", seed, diff)
		}
	}
}

// TestSelectedSatisfies judges what is selected a second time.
func TestSelectedSatisfies(t *testing.T) {
	for seed, g := range generators(runs) {
		recipes, want, facts := g.recipes(), g.constraints(), g.facts()
		d := Select(recipes, want, facts)
		if (d.Selected != nil) != slices.ContainsFunc(d.Candidates, func(c Candidate) bool { return c.Verdict != VerdictRejected }) {
			t.Fatalf("\nIf something can run, something should be selected.\nseed %d: Select(...): got %+v", seed, seen(d))
		}
		for i, c := range d.Candidates {
			if c.Reason == "" || c.Message == "" {
				t.Fatalf("\nEvery verdict should have a reason and a message.\nseed %d: Select(...): got %+v", seed, seen(d))
			}
			if (c.Verdict == VerdictSelected) != (d.Selected != nil && i == 0) {
				t.Fatalf("\nThe first candidate, and no other, should be the selected one.\nseed %d: Select(...): got %+v", seed, seen(d))
			}
			if c.Verdict == VerdictRejected {
				continue
			}
			if c.Recipe.Model != want.Model ||
				(want.Hardware != "" && c.Recipe.Hardware != want.Hardware) ||
				(want.Precision != "" && c.Recipe.Precision != Canonical(want.Precision)) ||
				(want.Backend != "" && c.Recipe.Backend != want.Backend) ||
				(want.GPUCount != 0 && c.Configuration.GPUCount != want.GPUCount) {
				t.Fatalf("\nWhat is not rejected should meet all constraints.\nseed %d: Select(..., %+v, ...): got %+v", seed, want, c)
			}
			a, ok := gpu.Lookup(c.Recipe.Hardware)
			if !ok || !a.Runs(c.Recipe.Precision) || (c.Recipe.Backend == "sglang" && a.Architecture == "gfx90a") {
				t.Fatalf("\nWhat is not rejected should run on its hardware.\nseed %d: Select(...): got %+v", seed, c)
			}
			if len(want.Inventory) > 0 && !slices.ContainsFunc(want.Inventory, func(n Node) bool {
				return n.Hardware == c.Recipe.Hardware && n.GPUs >= c.Configuration.GPUCount
			}) {
				t.Fatalf("\nWhat is not rejected should have a node that it runs on.\nseed %d: Select(..., %+v, ...): got %+v", seed, want, c)
			}
			if facts == nil {
				continue
			}
			if !facts.DividesInto(c.Configuration.GPUCount) {
				t.Fatalf("\nWhat is not rejected should divide into its GPUs.\nseed %d: Select(...): got %+v", seed, c)
			}
			if !want.SkipMemoryCheck && (c.Fit == nil || !c.Fit.Fits()) {
				t.Fatalf("\nWhat is not rejected should fit, unless nobody wants to know.\nseed %d: Select(...): got %s for %+v", seed, arithmetic(c), c)
			}
		}
	}
}

// TestOrderIsTotal compares candidates pair by pair, and in threes.
func TestOrderIsTotal(t *testing.T) {
	for seed, g := range generators(200) {
		cs := make([]Candidate, 0, 36)
		for i := range 12 {
			r := g.recipe(i / 2)
			// Two sources may have recipes of the same name.
			r.Source = Source(1 + i%2)
			for _, c := range r.Configurations {
				cand := eligible(Recipe{
					Name: r.Name, Source: r.Source, Hardware: r.Hardware, Precision: Canonical(r.Precision), Backend: r.Backend, Priority: r.Priority,
					Configurations: []Configuration{c},
				})
				cand.Verdict = pick(g, VerdictEligible, VerdictRejected)
				cs = append(cs, cand)
			}
		}
		for _, o := range anyObjective {
			compare := order(criteria(o))
			for i, a := range cs {
				if compare(a, a) != 0 {
					t.Fatalf("\nA candidate should be equal to itself.\nseed %d: order(criteria(%q)): %+v", seed, o, a)
				}
				for j, b := range cs {
					if i == j {
						continue
					}
					ab, ba := compare(a, b), compare(b, a)
					if ab == 0 || (ab < 0) == (ba < 0) {
						t.Fatalf("\nOf two different candidates one should be better, from both sides.\nseed %d: order(criteria(%q)): %d and %d for\n%+v\n%+v", seed, o, ab, ba, a, b)
					}
					for _, c := range cs {
						if ab < 0 && compare(b, c) < 0 && compare(a, c) >= 0 {
							t.Fatalf("\nWhat is better than something better should be better.\nseed %d: order(criteria(%q)):\n%+v\n%+v\n%+v", seed, o, a, b, c)
						}
					}
				}
			}
		}
	}
}
