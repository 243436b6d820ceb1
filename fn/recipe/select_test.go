package recipe

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/model"
)

const testModel = "example/model"

// testFacts are of a model that takes 60 GiB at 16 bit and 8 GiB of KV cache.
func testFacts() *model.Facts {
	return &model.Facts{
		ID: testModel, WeightsGiB: map[v1alpha1.Precision]float64{"bfloat16": 60, "float16": 60, "float8": 30, "int8": 30, "int4": 16},
		Layers: 64, AttentionHeads: 64, KVHeads: 8, HeadDim: 128, MaxContextLength: 32768,
	}
}

// recipeOn hardware, with a configuration for each GPU count.
func recipeOn(name string, hw v1alpha1.Hardware, p v1alpha1.Precision, counts ...int32) Recipe {
	r := Recipe{Name: name, Source: SourceBuiltin, Model: testModel, Hardware: hw, Precision: p, Backend: "vllm"}
	for _, n := range counts {
		r.Configurations = append(r.Configurations, Configuration{GPUCount: n})
	}
	return r
}

// with changes a recipe.
func with(r Recipe, change func(r *Recipe)) Recipe {
	change(&r)
	return r
}

// recommend a GPU count of a recipe.
func recommend(r Recipe, n int32) Recipe {
	for i := range r.Configurations {
		r.Configurations[i].Recommended = r.Configurations[i].GPUCount == n
	}
	return r
}

// A judged candidate is what a person would see of it.
type judged struct {
	Recipe  string
	GPUs    int32
	Verdict Verdict
	Reason  string
	Message string
}

// A choice is what a person would see of a decision.
type choice struct {
	Selected   *judged
	Candidates []judged
	Reason     v1alpha1.ConditionReason
	Message    string
}

func seen(d Decision) choice {
	see := func(c Candidate) judged {
		return judged{Recipe: c.Recipe.Name, GPUs: c.Configuration.GPUCount, Verdict: c.Verdict, Reason: c.Reason, Message: c.Message}
	}
	out := choice{Reason: d.Reason, Message: d.Message}
	if d.Selected != nil {
		s := see(*d.Selected)
		out.Selected = &s
	}
	for _, c := range d.Candidates {
		out.Candidates = append(out.Candidates, see(c))
	}
	return out
}

func TestSelect(t *testing.T) {
	type args struct {
		recipes []Recipe
		want    Constraints
		facts   *model.Facts
	}
	cases := map[string]struct {
		reason string
		args   args
		want   choice
	}{
		"OnlyCandidate": {
			reason: "The only candidate that can run should be chosen.",
			args:   args{recipes: []Recipe{recipeOn("a", "MI300X", "bfloat16", 1)}, want: Constraints{Model: testModel}, facts: testFacts()},
			want: choice{
				Selected:   &judged{"a", 1, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{{"a", 1, VerdictSelected, "Best", "best for throughput"}},
				Reason:     v1alpha1.ReasonSelected,
				Message:    "chose a on 1 GPU of MI300X (bfloat16, vllm), the only candidate",
			},
		},
		"BestOfThree": {
			reason: "The message should say what was chosen, from how many, and why the others lost.",
			args: args{
				recipes: []Recipe{recipeOn("a", "MI300X", "bfloat16", 1), recipeOn("b", "MI355X", "bfloat16", 1), recipeOn("c", "MI210", "bfloat16", 1)},
				want:    Constraints{Model: testModel}, facts: testFacts(),
			},
			want: choice{
				Selected: &judged{"b", 1, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{
					{"b", 1, VerdictSelected, "Best", "best for throughput"},
					{"a", 1, VerdictEligible, "Outranked", "its GPUs together have less memory bandwidth (an estimate of throughput), in TB/s: 5.3 against 8.0"},
					{"c", 1, VerdictRejected, "InsufficientGPUMemory", "1 GPU is not enough: 60.0 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 74.6 GiB per GPU > 57.6 GiB usable of 64 GiB on MI210; the smallest count that fits is 2"},
				},
				Reason: v1alpha1.ReasonSelected,
				Message: "chose b on 1 GPU of MI355X (bfloat16, vllm), the best of 3 candidates for throughput; " +
					"next best is a on 1 GPU of MI300X, which lost because its GPUs together have less memory bandwidth (an estimate of throughput), in TB/s: 5.3 against 8.0; " +
					"1 cannot run here or does not meet the constraints",
			},
		},
		"AllConstraints": {
			reason: "A candidate that meets all constraints should be chosen, and each that does not should say which one it misses.",
			args: args{
				recipes: []Recipe{
					recipeOn("hw", "MI300X", "float8", 2), recipeOn("precision", "MI355X", "bfloat16", 2), recipeOn("count", "MI355X", "float8", 1),
					recipeOn("good", "MI355X", "float8", 2),
					with(recipeOn("backend", "MI355X", "float8", 2), func(r *Recipe) { r.Backend = "sglang" }),
				},
				want:  Constraints{Model: testModel, Hardware: "MI355X", Precision: "fp8", Backend: "vllm", GPUCount: 2, Objective: v1alpha1.ObjectiveLatency},
				facts: testFacts(),
			},
			want: choice{
				Selected: &judged{"good", 2, VerdictSelected, "Best", "best for latency"},
				Candidates: []judged{
					{"good", 2, VerdictSelected, "Best", "best for latency"},
					{"precision", 2, VerdictRejected, "ConstraintNotMet", "runs at precision bfloat16, but float8 is asked for"},
					{"backend", 2, VerdictRejected, "ConstraintNotMet", "runs with sglang, but backend vllm is asked for"},
					{"hw", 2, VerdictRejected, "ConstraintNotMet", "runs on MI300X, but hardware MI355X is asked for"},
					{"count", 1, VerdictRejected, "ConstraintNotMet", "runs on 1 GPU, but 2 GPUs are asked for"},
				},
				Reason:  v1alpha1.ReasonSelected,
				Message: "chose good on 2 GPUs of MI355X (float8, vllm), the best of 5 candidates for latency; 4 cannot run here or do not meet the constraints",
			},
		},
		"ShortFormInRecipe": {
			reason: "A short form of a precision means the same, in a recipe too.",
			args: args{
				recipes: []Recipe{recipeOn("a", "MI300X", "fp8", 1)},
				want:    Constraints{Model: testModel, Precision: "float8"}, facts: testFacts(),
			},
			want: choice{
				Selected:   &judged{"a", 1, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{{"a", 1, VerdictSelected, "Best", "best for throughput"}},
				Reason:     v1alpha1.ReasonSelected,
				Message:    "chose a on 1 GPU of MI300X (float8, vllm), the only candidate",
			},
		},
		"NoRecipe": {
			reason: "A model without recipes should be told of by its name.",
			args:   args{want: Constraints{Model: "example/unknown"}},
			want: choice{
				Reason:  v1alpha1.ReasonNoRecipeForModel,
				Message: `there is no recipe for model "example/unknown"`,
			},
		},
		"OtherModel": {
			reason: "A recipe of another model should not be a candidate at all.",
			args:   args{recipes: []Recipe{recipeOn("a", "MI300X", "bfloat16", 1)}, want: Constraints{Model: "example/Model"}},
			want: choice{
				Reason:  v1alpha1.ReasonNoRecipeForModel,
				Message: `there is no recipe for model "example/Model"`,
			},
		},
		"NothingMatches": {
			reason: "If nothing meets the constraints, the message should say what is there, in combinations that there really are.",
			args: args{
				recipes: []Recipe{recipeOn("a", "MI300X", "bfloat16", 8, 1, 2), recipeOn("b", "MI355X", "float8", 1)},
				want:    Constraints{Model: testModel, Hardware: "MI355X", GPUCount: 8, Precision: "float8", Backend: "vllm"}, facts: testFacts(),
			},
			want: choice{
				Candidates: []judged{
					{"a", 8, VerdictRejected, "ConstraintNotMet", "runs on MI300X, but hardware MI355X is asked for"},
					{"a", 2, VerdictRejected, "ConstraintNotMet", "runs on MI300X, but hardware MI355X is asked for"},
					{"b", 1, VerdictRejected, "ConstraintNotMet", "runs on 1 GPU, but 8 GPUs are asked for"},
					{"a", 1, VerdictRejected, "ConstraintNotMet", "runs on MI300X, but hardware MI355X is asked for"},
				},
				Reason: v1alpha1.ReasonNoRecipeMatches,
				Message: `no recipe for model "example/model" has hardware MI355X, 8 GPUs, precision float8 and backend vllm; ` +
					`there is MI300X (bfloat16, vllm) on 1, 2 or 8 GPUs and MI355X (float8, vllm) on 1 GPU; ` +
					`change or remove the constraints in spec.recipe or spec.resources.gpuCount`,
			},
		},
		"NothingMatchesOfMany": {
			reason: "What is there should not be told at any length.",
			args: args{
				recipes: []Recipe{
					recipeOn("a", "MI210", "bfloat16", 1), recipeOn("b", "MI250", "bfloat16", 1), recipeOn("c", "MI300X", "bfloat16", 1), recipeOn("d", "MI325X", "bfloat16", 1),
					recipeOn("e", "MI350X", "bfloat16", 1), recipeOn("f", "MI355X", "bfloat16", 1), recipeOn("g", "MI300X", "int8", 1), recipeOn("h", "MI355X", "int8", 1),
				},
				want: Constraints{Model: testModel, Precision: "int4"},
			},
			want: choice{
				Candidates: []judged{
					{"f", 1, VerdictRejected, "ConstraintNotMet", "runs at precision bfloat16, but int4 is asked for"},
					{"h", 1, VerdictRejected, "ConstraintNotMet", "runs at precision int8, but int4 is asked for"},
					{"e", 1, VerdictRejected, "ConstraintNotMet", "runs at precision bfloat16, but int4 is asked for"},
					{"d", 1, VerdictRejected, "ConstraintNotMet", "runs at precision bfloat16, but int4 is asked for"},
					{"c", 1, VerdictRejected, "ConstraintNotMet", "runs at precision bfloat16, but int4 is asked for"},
					{"g", 1, VerdictRejected, "ConstraintNotMet", "runs at precision int8, but int4 is asked for"},
					{"b", 1, VerdictRejected, "ConstraintNotMet", "runs at precision bfloat16, but int4 is asked for"},
					{"a", 1, VerdictRejected, "ConstraintNotMet", "runs at precision bfloat16, but int4 is asked for"},
				},
				Reason: v1alpha1.ReasonNoRecipeMatches,
				Message: `no recipe for model "example/model" has precision int4; there is MI210 (bfloat16, vllm) on 1 GPU, MI250 (bfloat16, vllm) on 1 GPU, ` +
					`MI300X (bfloat16, vllm) on 1 GPU, MI300X (int8, vllm) on 1 GPU, MI325X (bfloat16, vllm) on 1 GPU, MI350X (bfloat16, vllm) on 1 GPU and 2 more; ` +
					`change or remove the constraints in spec.recipe`,
			},
		},
		"Memory": {
			reason: "A model that does not fit should be told of with the arithmetic of the candidate that lacks the least.",
			args: args{
				recipes: []Recipe{recommend(recipeOn("a", "MI210", "bfloat16", 1), 1), recipeOn("b", "MI210", "float16", 1)},
				want:    Constraints{Model: testModel},
				facts: func() *model.Facts {
					f := testFacts()
					f.WeightsGiB["float16"] = 55
					return f
				}(),
			},
			want: choice{
				Candidates: []judged{
					{"a", 1, VerdictRejected, "InsufficientGPUMemory", "1 GPU is not enough: 60.0 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 74.6 GiB per GPU > 57.6 GiB usable of 64 GiB on MI210; the smallest count that fits is 2"},
					{"b", 1, VerdictRejected, "InsufficientGPUMemory", "1 GPU is not enough: 55.0 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 69.2 GiB per GPU > 57.6 GiB usable of 64 GiB on MI210; the smallest count that fits is 2"},
				},
				Reason: v1alpha1.ReasonInsufficientGPUMemory,
				Message: `no recipe for model "example/model" can run; nearest is b on 1 GPU of MI210, but 1 GPU is not enough: ` +
					`55.0 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 69.2 GiB per GPU > 57.6 GiB usable of 64 GiB on MI210; the smallest count that fits is 2; ` +
					`use hardware with more memory, or a smaller model`,
			},
		},
		"MemoryOfGPUCount": {
			reason: "Who asks for too few GPUs should be told that more would help.",
			args: args{
				recipes: []Recipe{recipeOn("a", "MI210", "bfloat16", 1, 2)},
				want:    Constraints{Model: testModel, GPUCount: 1}, facts: testFacts(),
			},
			want: choice{
				Candidates: []judged{
					{"a", 1, VerdictRejected, "InsufficientGPUMemory", "1 GPU is not enough: 60.0 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 74.6 GiB per GPU > 57.6 GiB usable of 64 GiB on MI210; the smallest count that fits is 2"},
					{"a", 2, VerdictRejected, "ConstraintNotMet", "runs on 2 GPUs, but 1 GPU is asked for"},
				},
				Reason: v1alpha1.ReasonInsufficientGPUMemory,
				Message: `no recipe for model "example/model" can run; nearest is a on 1 GPU of MI210, but 1 GPU is not enough: ` +
					`60.0 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 74.6 GiB per GPU > 57.6 GiB usable of 64 GiB on MI210; the smallest count that fits is 2; ` +
					`ask for more GPUs or hardware with more memory, or use a smaller model`,
			},
		},
		"MemoryAndOthers": {
			reason: "The message should be about what the reason is about, also if a better candidate is rejected for another reason.",
			args: args{
				recipes: []Recipe{recipeOn("a", "MI355X", "bfloat16", 1), recipeOn("b", "MI210", "bfloat16", 1)},
				want:    Constraints{Model: testModel, Inventory: []Node{{Hardware: "MI210", GPUs: 4}}}, facts: testFacts(),
			},
			want: choice{
				Candidates: []judged{
					{"a", 1, VerdictRejected, "HardwareNotInInventory", "the cluster has no MI355X"},
					{"b", 1, VerdictRejected, "InsufficientGPUMemory", "1 GPU is not enough: 60.0 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 74.6 GiB per GPU > 57.6 GiB usable of 64 GiB on MI210; the smallest count that fits is 2"},
				},
				Reason: v1alpha1.ReasonInsufficientGPUMemory,
				Message: `no recipe for model "example/model" can run; nearest is b on 1 GPU of MI210, but 1 GPU is not enough: ` +
					`60.0 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 74.6 GiB per GPU > 57.6 GiB usable of 64 GiB on MI210; the smallest count that fits is 2; ` +
					`use hardware with more memory, or a smaller model`,
			},
		},
		"MemoryOfAbsentHardware": {
			reason: "That a model does not fit into hardware that nobody has should not be held against it.",
			args: args{
				recipes: []Recipe{recipeOn("a", "MI210", "bfloat16", 1)},
				want:    Constraints{Model: testModel, Inventory: []Node{{Hardware: "MI355X", GPUs: 8}}}, facts: testFacts(),
			},
			want: choice{
				Candidates: []judged{{"a", 1, VerdictRejected, "HardwareNotInInventory", "the cluster has no MI210"}},
				Reason:     v1alpha1.ReasonNoRecipeMatches,
				Message: `no recipe for model "example/model" can run; nearest is a on 1 GPU of MI210, but the cluster has no MI210; ` +
					`add such nodes, or correct the inventory that the platform team has set for the Composition`,
			},
		},
		"SkipMemoryCheck": {
			reason: "Who skips the memory check should get the candidate, and be told what was skipped.",
			args: args{
				recipes: []Recipe{recipeOn("a", "MI210", "bfloat16", 1)},
				want:    Constraints{Model: testModel, SkipMemoryCheck: true}, facts: testFacts(),
			},
			want: choice{
				Selected:   &judged{"a", 1, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{{"a", 1, VerdictSelected, "Best", "best for throughput"}},
				Reason:     v1alpha1.ReasonSelected,
				Message: "chose a on 1 GPU of MI210 (bfloat16, vllm), the only candidate; the memory check was skipped, though " +
					"60.0 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 74.6 GiB per GPU > 57.6 GiB usable of 64 GiB",
			},
		},
		"SkipMemoryCheckInVain": {
			reason: "Who skips the memory check for what fits need not hear of it.",
			args: args{
				recipes: []Recipe{recipeOn("a", "MI300X", "bfloat16", 1)},
				want:    Constraints{Model: testModel, SkipMemoryCheck: true}, facts: testFacts(),
			},
			want: choice{
				Selected:   &judged{"a", 1, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{{"a", 1, VerdictSelected, "Best", "best for throughput"}},
				Reason:     v1alpha1.ReasonSelected,
				Message:    "chose a on 1 GPU of MI300X (bfloat16, vllm), the only candidate",
			},
		},
		"UnknownFacts": {
			reason: "Without facts nothing should be guessed, and that said.",
			args:   args{recipes: []Recipe{recipeOn("a", "MI210", "bfloat16", 3)}, want: Constraints{Model: testModel}},
			want: choice{
				Selected:   &judged{"a", 3, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{{"a", 3, VerdictSelected, "Best", "best for throughput"}},
				Reason:     v1alpha1.ReasonSelected,
				Message:    "chose a on 3 GPUs of MI210 (bfloat16, vllm), the only candidate; whether it fits into GPU memory was not checked, as the model's facts are not known",
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, seen(Select(tc.args.recipes, tc.args.want, tc.args.facts))); diff != "" {
				t.Errorf("\n%s\nSelect(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSelectRejections(t *testing.T) {
	cases := map[string]struct {
		reason      string
		recipe      Recipe
		constraints Constraints
		facts       *model.Facts
		want        judged
		message     string
	}{
		"UnknownHardware": {
			reason: "Hardware that we know nothing of should be called unknown.",
			recipe: recipeOn("a", "MI100", "bfloat16", 1),
			want:   judged{"a", 1, VerdictRejected, "UnknownHardware", "hardware MI100 is not known"},
			message: `no recipe for model "example/model" can run; nearest is a on 1 GPU of MI100, but hardware MI100 is not known; ` +
				`change the constraints in spec.recipe`,
		},
		"Precision": {
			reason: "gfx90a has no float8.",
			recipe: recipeOn("a", "MI210", "fp8", 1),
			want:   judged{"a", 1, VerdictRejected, "PrecisionNotSupported", "MI210 (gfx90a) does not run precision float8"},
			message: `no recipe for model "example/model" can run; nearest is a on 1 GPU of MI210, but MI210 (gfx90a) does not run precision float8; ` +
				`change the constraints in spec.recipe`,
		},
		"Engine": {
			reason: "An engine that is not there should be called unavailable.",
			recipe: with(recipeOn("a", "MI300X", "bfloat16", 1), func(r *Recipe) { r.Backend = "tgi" }),
			want:   judged{"a", 1, VerdictRejected, "EngineNotAvailable", "backend tgi is not available"},
			message: `no recipe for model "example/model" can run; nearest is a on 1 GPU of MI300X, but backend tgi is not available; ` +
				`change the constraints in spec.recipe`,
		},
		"TensorParallel": {
			reason: "64 heads do not divide by 3.",
			recipe: recipeOn("a", "MI300X", "bfloat16", 3),
			facts:  testFacts(),
			want:   judged{"a", 3, VerdictRejected, "TensorParallelImpossible", "64 attention heads and 8 key-value heads cannot be split over 3 GPUs"},
			message: `no recipe for model "example/model" can run; nearest is a on 3 GPUs of MI300X, but 64 attention heads and 8 key-value heads cannot be split over 3 GPUs; ` +
				`change the constraints in spec.recipe`,
		},
		"Memory": {
			reason: "Several GPUs can be too few, too.",
			recipe: recipeOn("a", "MI210", "bfloat16", 2),
			facts: func() *model.Facts {
				f := testFacts()
				f.WeightsGiB["bfloat16"] = 600
				return f
			}(),
			want: judged{"a", 2, VerdictRejected, "InsufficientGPUMemory", "2 GPUs are not enough: 600 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 327.6 GiB per GPU > 57.6 GiB usable of 64 GiB on MI210; no count that a node has fits"},
			message: `no recipe for model "example/model" can run; nearest is a on 2 GPUs of MI210, but 2 GPUs are not enough: ` +
				`600 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 327.6 GiB per GPU > 57.6 GiB usable of 64 GiB on MI210; no count that a node has fits; use hardware with more memory, or a smaller model`,
		},
		"NotInInventory": {
			reason:      "Hardware that the cluster does not have should not be chosen.",
			recipe:      recipeOn("a", "MI300X", "bfloat16", 1),
			constraints: Constraints{Inventory: []Node{{Hardware: "MI355X", GPUs: 8}}},
			want:        judged{"a", 1, VerdictRejected, "HardwareNotInInventory", "the cluster has no MI300X"},
			message: `no recipe for model "example/model" can run; nearest is a on 1 GPU of MI300X, but the cluster has no MI300X; ` +
				`add such nodes, or correct the inventory that the platform team has set for the Composition`,
		},
		"MoreThanAnyNode": {
			reason:      "A replica runs on one node, so that the largest of them is what counts.",
			recipe:      recipeOn("a", "MI300X", "bfloat16", 8),
			constraints: Constraints{Inventory: []Node{{Hardware: "MI300X", GPUs: 4}, {Hardware: "MI300X", GPUs: 2}, {Hardware: "MI355X", GPUs: 8}}},
			want:        judged{"a", 8, VerdictRejected, "MoreGPUsThanAnyNode", "it needs 8 GPUs, and no node has more than 4 of MI300X"},
			message: `no recipe for model "example/model" can run; nearest is a on 8 GPUs of MI300X, but it needs 8 GPUs, and no node has more than 4 of MI300X; ` +
				`add such nodes, or correct the inventory that the platform team has set for the Composition`,
		},
		"MoreThanThereCanBe": {
			reason: "Without an inventory a node has eight GPUs at most.",
			recipe: recipeOn("a", "MI300X", "bfloat16", 16),
			want:   judged{"a", 16, VerdictRejected, "MoreGPUsThanAnyNode", "it needs 16 GPUs, and no node has more than 8 of MI300X"},
			message: `no recipe for model "example/model" can run; nearest is a on 16 GPUs of MI300X, but it needs 16 GPUs, and no node has more than 8 of MI300X; ` +
				`add such nodes, or correct the inventory that the platform team has set for the Composition`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.constraints.Model = testModel
			reason := v1alpha1.ReasonNoRecipeMatches
			if tc.want.Reason == "InsufficientGPUMemory" {
				reason = v1alpha1.ReasonInsufficientGPUMemory
			}
			want := choice{Candidates: []judged{tc.want}, Reason: reason, Message: tc.message}
			if diff := cmp.Diff(want, seen(Select([]Recipe{tc.recipe}, tc.constraints, tc.facts))); diff != "" {
				t.Errorf("\n%s\nSelect(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestSelectFit has the arguments of a recipe that change what it needs.
func TestSelectFit(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   []string
		want   string
	}{
		"Defaults": {
			reason: "Without arguments the model's context and the engine's share should count.",
			want:   "74.560 of 57.600",
		},
		"MaxModelLen": {
			reason: "A shorter context should take less.",
			args:   []string{"--max-model-len", "8192"},
			want:   "68.560 of 57.600",
		},
		"Decimal": {
			reason: "32k is 32000, as it is for vLLM.",
			args:   []string{"--max-model-len=32k"},
			want:   "74.372 of 57.600",
		},
		"Binary": {
			reason: "16K is 16384, as it is for vLLM.",
			args:   []string{"--max_model_len", "16K"},
			want:   "70.560 of 57.600",
		},
		"NotANumber": {
			reason: "A length that cannot be read should count as none.",
			args:   []string{"--max-model-len", "long"},
			want:   "74.560 of 57.600",
		},
		"Negative": {
			reason: "A length below one should count as none.",
			args:   []string{"--max-model-len", "-1"},
			want:   "74.560 of 57.600",
		},
		"Zero": {
			reason: "No sequence has no tokens.",
			args:   []string{"--max-model-len", "0"},
			want:   "74.560 of 57.600",
		},
		"UtilizationOfAll": {
			reason: "A recipe may use all there is.",
			args:   []string{"--gpu-memory-utilization", "1.0"},
			want:   "74.560 of 64.000",
		},
		"UtilizationOfNothing": {
			reason: "A share that the engine refuses should not count.",
			args:   []string{"--gpu-memory-utilization", "0"},
			want:   "74.560 of 57.600",
		},
		"Utilization": {
			reason: "The recipe's own share should count.",
			args:   []string{"--gpu-memory-utilization", "0.5"},
			want:   "74.560 of 32.000",
		},
		"UtilizationInPercent": {
			reason: "A share that the engine refuses should not count.",
			args:   []string{"--gpu-memory-utilization=95"},
			want:   "74.560 of 57.600",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := recipeOn("a", "MI210", "bfloat16", 1)
			r.Configurations[0].Args = tc.args
			d := Select([]Recipe{r}, Constraints{Model: testModel}, testFacts())
			if diff := cmp.Diff(tc.want, arithmetic(d.Candidates[0])); diff != "" {
				t.Errorf("\n%s\nSelect(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSelectNoFit(t *testing.T) {
	cases := map[string]struct {
		reason string
		recipe Recipe
	}{
		"UnknownHardware": {
			reason: "What nobody knows the memory of should have no arithmetic.",
			recipe: recipeOn("a", "MI100", "bfloat16", 1),
		},
		"UnknownBackend": {
			reason: "What nobody knows the defaults of should have no arithmetic.",
			recipe: with(recipeOn("a", "MI300X", "bfloat16", 1), func(r *Recipe) { r.Backend = "tgi" }),
		},
		"UnknownPrecision": {
			reason: "What nobody knows the size of should have no arithmetic.",
			recipe: recipeOn("a", "MI300X", "float4", 1),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d := Select([]Recipe{tc.recipe}, Constraints{Model: testModel}, testFacts())
			if diff := cmp.Diff("not checked", arithmetic(d.Candidates[0])); diff != "" {
				t.Errorf("\n%s\nSelect(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestOrder(t *testing.T) {
	// two recipes that differ in nothing but what a case changes.
	cases := map[string]struct {
		reason    string
		objective v1alpha1.Objective
		better    Recipe
		worse     Recipe
		lost      string
	}{
		"Priority": {
			reason: "Priority should go before all else.",
			better: with(recipeOn("z", "MI210", "int4", 8), func(r *Recipe) { r.Priority = 1 }),
			worse:  with(recipeOn("a", "MI355X", "bfloat16", 1), func(r *Recipe) { r.Source = SourceBuiltin + 1 }),
			lost:   "its priority is lower",
		},
		"NegativePriority": {
			reason: "A priority may be below that of a recipe that has none.",
			better: recipeOn("z", "MI210", "int4", 8),
			worse:  with(recipeOn("a", "MI355X", "bfloat16", 1), func(r *Recipe) { r.Priority = -1 }),
			lost:   "its priority is lower",
		},
		"Precedence": {
			reason: "A user's recipe should go before a built-in one.",
			better: with(recipeOn("z", "MI210", "int4", 8), func(r *Recipe) { r.Source = SourceBuiltin + 1 }),
			worse:  recipeOn("a", "MI355X", "bfloat16", 1),
			lost:   "recipes of its source come later",
		},
		"Throughput": {
			reason: "A recommended GPU count should give the best throughput.",
			better: recommend(recipeOn("z", "MI300X", "bfloat16", 1), 1),
			worse:  recipeOn("a", "MI355X", "bfloat16", 8),
			lost:   "its GPU count is not the recommended one, beyond which more replicas serve more than more GPUs do",
		},
		"ThroughputBandwidth": {
			reason: "If none or both are recommended, bandwidth should be the estimate of throughput.",
			better: recipeOn("z", "MI300X", "bfloat16", 2),
			worse:  recipeOn("a", "MI355X", "bfloat16", 1),
			lost:   "its GPUs together have less memory bandwidth (an estimate of throughput), in TB/s",
		},
		"Latency": {
			reason: "For latency bandwidth should count, whatever is recommended.", objective: v1alpha1.ObjectiveLatency,
			better: recipeOn("z", "MI355X", "bfloat16", 8),
			worse:  recommend(recipeOn("a", "MI355X", "bfloat16", 1), 1),
			lost:   "its GPUs together have less memory bandwidth (an estimate of latency), in TB/s",
		},
		"Cost": {
			reason: "For cost the fewest GPUs should count, whatever is recommended.", objective: v1alpha1.ObjectiveCost,
			better: recipeOn("z", "MI300X", "bfloat16", 1),
			worse:  recommend(recipeOn("a", "MI355X", "bfloat16", 2), 2),
			lost:   "it takes more GPUs",
		},
		"FewerGPUs": {
			reason: "Of the same bandwidth fewer GPUs should be better: five of 1.6 TB/s are as fast as one of 8 TB/s.",
			better: recipeOn("z", "MI355X", "bfloat16", 1),
			worse:  recipeOn("a", "MI210", "bfloat16", 5),
			lost:   "it takes more GPUs",
		},
		"NewerHardware": {
			reason: "Of the same bandwidth and number the newer hardware should be better.",
			better: recipeOn("z", "MI355X", "bfloat16", 1),
			worse:  recipeOn("a", "MI350X", "bfloat16", 1),
			lost:   "its hardware is older",
		},
		"Backend": {
			reason: "vLLM should go before SGLang.",
			better: recipeOn("z", "MI300X", "int4", 1),
			worse:  with(recipeOn("a", "MI300X", "bfloat16", 1), func(r *Recipe) { r.Backend = "sglang" }),
			lost:   "its backend is less preferred",
		},
		"Precision": {
			reason: "Of the same speed the higher precision should be better.",
			better: recipeOn("z", "MI300X", "bfloat16", 1),
			worse:  recipeOn("a", "MI300X", "int4", 1),
			lost:   "its precision is lower",
		},
		"Name": {
			reason: "What differs in nothing else should be told apart by name.",
			better: recipeOn("a", "MI300X", "bfloat16", 1),
			worse:  recipeOn("b", "MI300X", "bfloat16", 1),
			lost:   "its name comes later in the alphabet",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cs := criteria(tc.objective)
			less := order(cs)
			b, w := eligible(tc.better), eligible(tc.worse)
			if less(b, w) >= 0 || less(w, b) <= 0 {
				t.Errorf("\n%s\norder(...): want %s before %s", tc.reason, tc.better.Name, tc.worse.Name)
			}
			for _, c := range cs {
				if c.compare(b, w) == 0 {
					continue
				}
				if diff := cmp.Diff(tc.lost, c.lost); diff != "" {
					t.Errorf("\n%s\norder(...): why the worse one lost: -want, +got:\n%s", tc.reason, diff)
				}
				break
			}
		})
	}

	t.Run("Rejected", func(t *testing.T) {
		good, bad := eligible(recipeOn("z", "MI210", "int4", 8)), eligible(recipeOn("a", "MI355X", "bfloat16", 1))
		bad.Verdict, bad.Recipe.Priority = VerdictRejected, 100
		if order(criteria(""))(good, bad) >= 0 {
			t.Errorf("\nA rejected candidate should come after all that are eligible.\norder(...): it comes first")
		}
	})
}

func TestCanonical(t *testing.T) {
	cases := map[v1alpha1.Precision]v1alpha1.Precision{
		"bf16": "bfloat16", "fp16": "float16", "fp8": "float8", "bfloat16": "bfloat16", "float16": "float16", "float8": "float8", "int8": "int8", "int4": "int4", "": "",
	}
	for p, want := range cases {
		if diff := cmp.Diff(want, Canonical(p)); diff != "" {
			t.Errorf("\nA short form should be spelled out, and all else left.\nCanonical(%q): -want, +got:\n%s", p, diff)
		}
	}
}

func TestSourceString(t *testing.T) {
	for s, want := range map[Source]string{SourceBuiltin: "Builtin", 0: "Unknown"} {
		if diff := cmp.Diff(want, s.String()); diff != "" {
			t.Errorf("\nA source should be called what a status calls it.\nString(): -want, +got:\n%s", diff)
		}
	}
}

// A count that the user asks for is recommended for none of the hardware, or
// for all of it: a GPU of two generations ago must not win by that.
func TestSelectAskedCount(t *testing.T) {
	all, err := Builtin("meta-llama/Llama-3.1-70B-Instruct")
	if err != nil {
		t.Fatal(err)
	}
	f, err := model.Find("meta-llama/Llama-3.1-70B-Instruct")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int32{1, 2, 4, 8} {
		d := Select(all, Constraints{Model: "meta-llama/Llama-3.1-70B-Instruct", GPUCount: n}, f)
		if d.Selected == nil || d.Selected.Recipe.Hardware != "MI355X" || d.Selected.Configuration.GPUCount != n {
			t.Errorf("\nThe newest and fastest hardware should win for %d GPUs.\nSelect(...): got %+v", n, d.Selected)
		}
	}
}
