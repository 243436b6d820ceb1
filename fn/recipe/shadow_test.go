package recipe

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/model"
)

// of a source, and of its namespace.
func of(s Source, r Recipe) Recipe {
	r.Source = s
	if s == SourceNamespace {
		r.Namespace = "team-a"
	}
	return r
}

// expecting a performance of all configurations of a recipe.
func expecting(p Performance, r Recipe) Recipe {
	for i := range r.Configurations {
		r.Configurations[i].Performance = p
	}
	return r
}

const (
	yourOwn   = "a recipe of your own for the same hardware, precision and backend takes its place"
	platforms = "a recipe of the platform for the same hardware, precision and backend takes its place"
)

// TestSelectShadows compares what a person sees of a choice between sources.
func TestSelectShadows(t *testing.T) {
	cases := map[string]struct {
		reason  string
		recipes []Recipe
		want    Constraints
		choice  choice
	}{
		"NamespaceOverAll": {
			reason: "A recipe of one's own takes the place of the others of its kind, even if theirs would be expected to be faster, or of higher priority.",
			recipes: []Recipe{
				recommend(recipeOn("builtin", "MI300X", "bfloat16", 1, 2), 2),
				with(expecting(Performance{TokensPerSecond: 9000}, of(SourceCluster, recipeOn("cluster", "MI300X", "bfloat16", 1))), func(r *Recipe) { r.Priority = 5 }),
				expecting(Performance{TokensPerSecond: 10}, of(SourceNamespace, recipeOn("mine", "MI300X", "bfloat16", 1))),
			},
			choice: choice{
				Selected: &judged{"mine", 1, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{
					{"mine", 1, VerdictSelected, "Best", "best for throughput"},
					{"cluster", 1, VerdictRejected, "Shadowed", yourOwn},
					{"builtin", 2, VerdictRejected, "Shadowed", yourOwn},
					{"builtin", 1, VerdictRejected, "Shadowed", yourOwn},
				},
				Reason:  v1alpha1.ReasonSelected,
				Message: "chose mine on 1 GPU of MI300X (bfloat16, vllm), the best of 4 candidates for throughput; 3 cannot run here or do not meet the constraints",
			},
		},
		"PlatformOverBuiltin": {
			reason:  "It must not be called one's own.",
			recipes: []Recipe{recipeOn("builtin", "MI300X", "bfloat16", 1), of(SourceCluster, recipeOn("cluster", "MI300X", "bf16", 1))},
			choice: choice{
				Selected: &judged{"cluster", 1, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{
					{"cluster", 1, VerdictSelected, "Best", "best for throughput"},
					{"builtin", 1, VerdictRejected, "Shadowed", platforms},
				},
				Reason:  v1alpha1.ReasonSelected,
				Message: "chose cluster on 1 GPU of MI300X (bfloat16, vllm), the best of 2 candidates for throughput; 1 cannot run here or does not meet the constraints",
			},
		},
		"NotOfAnotherKind": {
			reason: "Another hardware, precision or backend is another kind. One's own still goes before the platform's, and that before what is built in.",
			recipes: []Recipe{
				recipeOn("hardware", "MI355X", "bfloat16", 1), recipeOn("precision", "MI300X", "float8", 1),
				of(SourceCluster, with(recipeOn("backend", "MI300X", "bfloat16", 1), func(r *Recipe) { r.Backend = "sglang" })),
				of(SourceNamespace, recipeOn("mine", "MI300X", "bfloat16", 1)),
			},
			choice: choice{
				Selected: &judged{"mine", 1, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{
					{"mine", 1, VerdictSelected, "Best", "best for throughput"},
					{"backend", 1, VerdictEligible, "Outranked", "recipes of its source come later: of the platform against of the namespace"},
					{"hardware", 1, VerdictEligible, "Outranked", "recipes of its source come later: built in against of the namespace"},
					{"precision", 1, VerdictEligible, "Outranked", "recipes of its source come later: built in against of the namespace"},
				},
				Reason: v1alpha1.ReasonSelected,
				Message: "chose mine on 1 GPU of MI300X (bfloat16, vllm), the best of 4 candidates for throughput; " +
					"next best is backend on 1 GPU of MI300X, which lost because recipes of its source come later: of the platform against of the namespace",
			},
		},
		"NotOfAnotherModel": {
			reason:  "A recipe of another model is none of our business.",
			recipes: []Recipe{recipeOn("builtin", "MI300X", "bfloat16", 1), with(of(SourceNamespace, recipeOn("mine", "MI300X", "bfloat16", 1)), func(r *Recipe) { r.Model = "example/other" })},
			choice: choice{
				Selected:   &judged{"builtin", 1, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{{"builtin", 1, VerdictSelected, "Best", "best for throughput"}},
				Reason:     v1alpha1.ReasonSelected,
				Message:    "chose builtin on 1 GPU of MI300X (bfloat16, vllm), the only candidate",
			},
		},
		"IneligibleShadowsNothing": {
			reason:  "What cannot run must not keep others from running.",
			recipes: []Recipe{recipeOn("builtin", "MI210", "bfloat16", 2), of(SourceNamespace, recipeOn("mine", "MI210", "bfloat16", 1))},
			choice: choice{
				Selected: &judged{"builtin", 2, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{
					{"builtin", 2, VerdictSelected, "Best", "best for throughput"},
					{"mine", 1, VerdictRejected, "InsufficientGPUMemory", "1 GPU is not enough: 60.0 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 74.6 GiB per GPU > 57.6 GiB usable of 64 GiB on MI210; the smallest count that fits is 2"},
				},
				Reason:  v1alpha1.ReasonSelected,
				Message: "chose builtin on 2 GPUs of MI210 (bfloat16, vllm), the best of 2 candidates for throughput; 1 cannot run here or does not meet the constraints",
			},
		},
		"ConstraintShadowsNothing": {
			reason:  "A configuration that is not asked for must not keep those from running that are.",
			recipes: []Recipe{recipeOn("builtin", "MI300X", "bfloat16", 2), of(SourceNamespace, recipeOn("mine", "MI300X", "bfloat16", 1))},
			want:    Constraints{GPUCount: 2},
			choice: choice{
				Selected: &judged{"builtin", 2, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{
					{"builtin", 2, VerdictSelected, "Best", "best for throughput"},
					{"mine", 1, VerdictRejected, "ConstraintNotMet", "runs on 1 GPU, but 2 GPUs are asked for"},
				},
				Reason:  v1alpha1.ReasonSelected,
				Message: "chose builtin on 2 GPUs of MI300X (bfloat16, vllm), the best of 2 candidates for throughput; 1 cannot run here or does not meet the constraints",
			},
		},
		"PriorityBeforePrecedence": {
			reason: "A platform can put a recipe first, and a user last, whoever has recipes of another kind.",
			recipes: []Recipe{
				with(of(SourceNamespace, recipeOn("mine", "MI355X", "bfloat16", 1)), func(r *Recipe) { r.Priority = -1 }),
				recipeOn("builtin", "MI325X", "bfloat16", 1),
				with(of(SourceCluster, recipeOn("cluster", "MI300X", "bfloat16", 1)), func(r *Recipe) { r.Priority = 1 }),
			},
			choice: choice{
				Selected: &judged{"cluster", 1, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{
					{"cluster", 1, VerdictSelected, "Best", "best for throughput"},
					{"builtin", 1, VerdictEligible, "Outranked", "its priority is lower: 0 against 1"},
					{"mine", 1, VerdictEligible, "Outranked", "its priority is lower: -1 against 1"},
				},
				Reason: v1alpha1.ReasonSelected,
				Message: "chose cluster on 1 GPU of MI300X (bfloat16, vllm), the best of 3 candidates for throughput; " +
					"next best is builtin on 1 GPU of MI325X, which lost because its priority is lower: 0 against 1",
			},
		},
		"TwoOfTheSameSource": {
			reason:  "Neither takes the other's place: the better one wins.",
			recipes: []Recipe{of(SourceNamespace, recipeOn("b", "MI300X", "bfloat16", 1)), of(SourceNamespace, recipeOn("a", "MI300X", "bfloat16", 1))},
			choice: choice{
				Selected: &judged{"a", 1, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{
					{"a", 1, VerdictSelected, "Best", "best for throughput"},
					{"b", 1, VerdictEligible, "Outranked", "its name comes later in the alphabet"},
				},
				Reason: v1alpha1.ReasonSelected,
				Message: "chose a on 1 GPU of MI300X (bfloat16, vllm), the best of 2 candidates for throughput; " +
					"next best is b on 1 GPU of MI300X, which lost because its name comes later in the alphabet",
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.want.Model = testModel
			if diff := cmp.Diff(tc.choice, seen(Select(tc.recipes, tc.want, testFacts()))); diff != "" {
				t.Errorf("\n%s\nSelect(...): -want, +got:\n%s", tc.reason, diff)
			}
			slices.Reverse(tc.recipes)
			if diff := cmp.Diff(tc.choice, seen(Select(tc.recipes, tc.want, testFacts()))); diff != "" {
				t.Errorf("\nThe order of recipes should not matter.\nSelect(...): -want, +got:\n%s", diff)
			}
		})
	}
}

// TestSelectMemory compares what a person hears of memory.
func TestSelectMemory(t *testing.T) {
	const tooSmall = "1 GPU is not enough: 60.0 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 74.6 GiB per GPU > 57.6 GiB usable of 64 GiB on MI210; the smallest count that fits is 2"
	cases := map[string]struct {
		reason  string
		recipes []Recipe
		want    Constraints
		facts   *model.Facts
		choice  choice
	}{
		"WishedCount": {
			reason:  "Whoever asks for fewer GPUs than a model needs should hear of the arithmetic, though no recipe has that count.",
			recipes: []Recipe{recipeOn("a", "MI210", "bfloat16", 4, 2)}, want: Constraints{GPUCount: 1}, facts: testFacts(),
			choice: choice{
				Candidates: []judged{
					{"a", 1, VerdictRejected, "InsufficientGPUMemory", tooSmall},
					{"a", 4, VerdictRejected, "ConstraintNotMet", "runs on 4 GPUs, but 1 GPU is asked for"},
					{"a", 2, VerdictRejected, "ConstraintNotMet", "runs on 2 GPUs, but 1 GPU is asked for"},
				},
				Reason: v1alpha1.ReasonInsufficientGPUMemory,
				Message: `no recipe for model "example/model" can run; nearest is a on 1 GPU of MI210, but ` + tooSmall +
					"; ask for more GPUs or hardware with more memory, or use a smaller model",
			},
		},
		"WishedCountThatFits": {
			reason:  "A count that nobody has a recipe for is not one that does not fit.",
			recipes: []Recipe{recipeOn("a", "MI210", "bfloat16", 2)}, want: Constraints{GPUCount: 4}, facts: testFacts(),
			choice: choice{
				Candidates: []judged{{"a", 2, VerdictRejected, "ConstraintNotMet", "runs on 2 GPUs, but 4 GPUs are asked for"}},
				Reason:     v1alpha1.ReasonNoRecipeMatches,
				Message:    `no recipe for model "example/model" has 4 GPUs; there is MI210 (bfloat16, vllm) on 2 GPUs; change or remove the constraints in spec.recipe or spec.resources.gpuCount`,
			},
		},
		"WishedCountUnchecked": {
			reason:  "Without facts there is no arithmetic, and nobody should be told that it does not fit.",
			recipes: []Recipe{recipeOn("a", "MI210", "bfloat16", 2)}, want: Constraints{GPUCount: 1},
			choice: choice{
				Candidates: []judged{{"a", 2, VerdictRejected, "ConstraintNotMet", "runs on 2 GPUs, but 1 GPU is asked for"}},
				Reason:     v1alpha1.ReasonNoRecipeMatches,
				Message:    `no recipe for model "example/model" has 1 GPU; there is MI210 (bfloat16, vllm) on 2 GPUs; change or remove the constraints in spec.recipe or spec.resources.gpuCount`,
			},
		},
		"WishedCountBesideOneThatFits": {
			reason:  "Another recipe may have the count, and fit.",
			recipes: []Recipe{recipeOn("small", "MI210", "bfloat16", 2), recipeOn("large", "MI300X", "bfloat16", 1)}, want: Constraints{GPUCount: 1}, facts: testFacts(),
			choice: choice{
				Selected: &judged{"large", 1, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{
					{"large", 1, VerdictSelected, "Best", "best for throughput"},
					{"small", 1, VerdictRejected, "InsufficientGPUMemory", tooSmall},
					{"small", 2, VerdictRejected, "ConstraintNotMet", "runs on 2 GPUs, but 1 GPU is asked for"},
				},
				Reason:  v1alpha1.ReasonSelected,
				Message: "chose large on 1 GPU of MI300X (bfloat16, vllm), the best of 3 candidates for throughput; 2 cannot run here or do not meet the constraints",
			},
		},
		"FactsUnknown": {
			reason:  "Memory is not checked, and the message should say so.",
			recipes: []Recipe{recipeOn("a", "MI210", "bfloat16", 1)},
			choice: choice{
				Selected:   &judged{"a", 1, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{{"a", 1, VerdictSelected, "Best", "best for throughput"}},
				Reason:     v1alpha1.ReasonSelected,
				Message:    "chose a on 1 GPU of MI210 (bfloat16, vllm), the only candidate; whether it fits into GPU memory was not checked, as the model's facts are not known",
			},
		},
		"FactsOfTheRecipe": {
			reason:  "What a recipe brings is checked, though nothing is known of the model otherwise.",
			recipes: []Recipe{with(recipeOn("a", "MI210", "bfloat16", 1), func(r *Recipe) { r.Facts = testFacts() })},
			choice: choice{
				Candidates: []judged{{"a", 1, VerdictRejected, "InsufficientGPUMemory", tooSmall}},
				Reason:     v1alpha1.ReasonInsufficientGPUMemory,
				Message:    `no recipe for model "example/model" can run; nearest is a on 1 GPU of MI210, but ` + tooSmall + "; use hardware with more memory, or a smaller model",
			},
		},
		"FactsOfTheRecipeGoBefore": {
			reason:  "They are of the recipe alone: another one is checked by what is known.",
			recipes: []Recipe{with(recipeOn("a", "MI210", "bfloat16", 1), func(r *Recipe) { r.Facts = &model.Facts{ParametersBillion: 8} }), recipeOn("b", "MI250", "bfloat16", 1)}, facts: testFacts(),
			choice: choice{
				Selected: &judged{"a", 1, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{
					{"a", 1, VerdictSelected, "Best", "best for throughput"},
					{"b", 1, VerdictRejected, "InsufficientGPUMemory", "1 GPU is not enough: 60.0 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 74.6 GiB per GPU > 57.6 GiB usable of 64 GiB on MI250; the smallest count that fits is 2"},
				},
				Reason:  v1alpha1.ReasonSelected,
				Message: "chose a on 1 GPU of MI210 (bfloat16, vllm), the best of 2 candidates for throughput; 1 cannot run here or does not meet the constraints",
			},
		},
		"SkipMemoryCheck": {
			reason:  "Whoever skips the check should be told what it would have said.",
			recipes: []Recipe{recipeOn("a", "MI210", "bfloat16", 1)}, want: Constraints{SkipMemoryCheck: true}, facts: testFacts(),
			choice: choice{
				Selected:   &judged{"a", 1, VerdictSelected, "Best", "best for throughput"},
				Candidates: []judged{{"a", 1, VerdictSelected, "Best", "best for throughput"}},
				Reason:     v1alpha1.ReasonSelected,
				Message: "chose a on 1 GPU of MI210 (bfloat16, vllm), the only candidate; the memory check was skipped, though " +
					"60.0 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 74.6 GiB per GPU > 57.6 GiB usable of 64 GiB",
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.want.Model = testModel
			if diff := cmp.Diff(tc.choice, seen(Select(tc.recipes, tc.want, tc.facts))); diff != "" {
				t.Errorf("\n%s\nSelect(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestSelectTellsEstimates compares why the second best lost.
func TestSelectTellsEstimates(t *testing.T) {
	facts := func() *model.Facts {
		f := testFacts()
		f.ParametersBillion = 32
		return f
	}
	published := Performance{TokensPerSecond: 4000, LatencyMs: 900}
	cases := map[string]struct {
		reason  string
		recipes []Recipe
		want    Constraints
		lost    string
	}{
		"ThroughputBothPublished": {
			reason:  "Published numbers are no estimates.",
			recipes: []Recipe{expecting(published, recipeOn("a", "MI300X", "bfloat16", 1)), expecting(Performance{TokensPerSecond: 3999}, recipeOn("b", "MI325X", "bfloat16", 1))},
			lost:    "it is expected to serve fewer tokens per second: 3999 against 4000",
		},
		"ThroughputOneEstimated": {
			reason:  "Each number says for itself what it is: 5.3e12 B/s through 64e9 B, 73 times, is 6045 tokens/s.",
			recipes: []Recipe{expecting(published, recipeOn("a", "MI355X", "bfloat16", 1)), recipeOn("b", "MI300X", "bfloat16", 1)},
			lost:    "it is expected to serve fewer tokens per second: 4000 against 6000 (estimate)",
		},
		"ThroughputBothEstimated": {
			reason:  "Estimates have no more digits than they are worth.",
			recipes: []Recipe{recipeOn("a", "MI300X", "bfloat16", 1), recipeOn("b", "MI355X", "bfloat16", 1)},
			lost:    "it is expected to serve fewer tokens per second: 6000 (estimate) against 9100 (estimate)",
		},
		"LatencyBothPublished": {
			reason:  "Published numbers are no estimates.",
			recipes: []Recipe{expecting(published, recipeOn("a", "MI300X", "bfloat16", 1)), expecting(Performance{LatencyMs: 901}, recipeOn("b", "MI325X", "bfloat16", 1))},
			want:    Constraints{Objective: v1alpha1.ObjectiveLatency},
			lost:    "it is expected to answer later, in ms: 901 against 900",
		},
		"LatencyOneEstimated": {
			reason:  "A published throughput is no published latency: 128 times 64e9 B through 8e12 B/s is 1024 ms.",
			recipes: []Recipe{expecting(published, recipeOn("a", "MI300X", "bfloat16", 1)), expecting(Performance{TokensPerSecond: 9000}, recipeOn("b", "MI355X", "bfloat16", 1))},
			want:    Constraints{Objective: v1alpha1.ObjectiveLatency},
			lost:    "it is expected to answer later, in ms: 1000 (estimate) against 900",
		},
		"CostBothPublished": {
			reason:  "What is published counts for each GPU.",
			recipes: []Recipe{expecting(published, recipeOn("a", "MI300X", "bfloat16", 2)), expecting(published, recipeOn("b", "MI300X", "float8", 4))},
			want:    Constraints{Objective: v1alpha1.ObjectiveCost},
			lost:    "it is expected to serve fewer tokens per second and GPU: 1000 against 2000",
		},
		"CostOneEstimated": {
			reason:  "Each number says for itself what it is.",
			recipes: []Recipe{expecting(published, recipeOn("a", "MI300X", "bfloat16", 2)), recipeOn("b", "MI355X", "bfloat16", 1)},
			want:    Constraints{Objective: v1alpha1.ObjectiveCost},
			lost:    "it is expected to serve fewer tokens per second and GPU: 2000 against 9100 (estimate)",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.want.Model = testModel
			d := Select(tc.recipes, tc.want, facts())
			if len(d.Candidates) != 2 {
				t.Fatalf("\n%s\nSelect(...): got %+v", tc.reason, seen(d))
			}
			if diff := cmp.Diff(tc.lost, d.Candidates[1].Message); diff != "" {
				t.Errorf("\n%s\nSelect(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSelectTellsUnknownPerformance(t *testing.T) {
	d := Select([]Recipe{expecting(Performance{TokensPerSecond: 10}, recipeOn("a", "MI300X", "bfloat16", 1)), recipeOn("b", "MI355X", "bfloat16", 1)}, Constraints{Model: testModel}, nil)
	if diff := cmp.Diff("it is expected to serve fewer tokens per second: unknown against 10", d.Candidates[1].Message); diff != "" {
		t.Errorf("\nWhat is not known is no estimate, and loses against what is.\nSelect(...): -want, +got:\n%s", diff)
	}
}
