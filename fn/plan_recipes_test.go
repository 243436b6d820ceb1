package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Documents to plan with, beside the claim chat of namespace team-a.
const (
	// mine is a recipe of the claim's namespace, for the hardware that it asks
	// for.
	mine = `
apiVersion: aim.engine.amd.com/v1alpha1
kind: AIMRecipe
metadata: {name: mine, namespace: team-a}
spec:
  modelId: Qwen/Qwen3-8B
  hardware: MI300X
  precision: bfloat16
  backend: vllm
  configurations:
  - gpuCount: 1
    args: [--max-model-len, "8192"]
`
	invalidRecipe = `
apiVersion: aim.engine.amd.com/v1alpha1
kind: AIMRecipe
metadata: {name: invalid, namespace: team-a}
spec:
  modelId: Qwen/Qwen3-8B
  hardware: MI300X
  precision: bfloat16
  backend: vllm
  configurations:
  - gpuCount: 1
    args: [--frobnicate]
`
	anyChat = `
apiVersion: aim.engine.amd.com/v1alpha1
kind: AIMEndpoint
metadata: {name: chat, namespace: team-a}
spec:
  model: {id: Qwen/Qwen3-8B}
`
	fleet = `
apiVersion: apiextensions.crossplane.io/v1beta1
kind: EnvironmentConfig
metadata: {name: gpus}
data:
  inventory:
  - {hardware: MI210, gpusPerNode: 4}
`
	inventoryInput = `
apiVersion: aim.fn.crossplane.io/v1beta1
kind: Input
inventoryFrom: {environmentConfig: gpus}
`
)

// choosing a recipe by its name.
func choosing(name string) string {
	return strings.Replace(anyChat, "spec:", "spec:\n  recipe: {customRecipe: {name: "+name+"}}", 1)
}

// TestPlanRecipes plans with recipes and an inventory, in any order of the
// documents.
func TestPlanRecipes(t *testing.T) {
	type want struct {
		// endpoint is what the plan says of the endpoint.
		endpoint map[string]string
		// candidates, as recipe, GPUs, verdict and why.
		candidates [][]string
		err        string
	}
	const shadowed = "a recipe of your own for the same hardware, precision and backend takes its place"

	cases := map[string]struct {
		reason string
		docs   []string
		// mentions are candidates that must be in the table, others may be.
		mentions bool
		want     want
	}{
		"OwnNamespace": {
			reason:   "A recipe of the claim's namespace takes the place of the built-in one, and both are shown.",
			docs:     []string{chat, mine},
			mentions: true,
			want: want{
				endpoint: map[string]string{"ENDPOINT": "team-a/chat", "RECIPE": "mine (Cluster)", "RUNS ON": "1 x MI300X, bfloat16, vllm"},
				candidates: [][]string{
					{"mine", "1", "Selected", "best for throughput"},
					{"qwen3-8b-mi300x-bfloat16-vllm", "1", "Rejected", shadowed},
				},
			},
		},
		"OtherNamespace": {
			reason:   "Recipes of another namespace are not for this one's endpoints.",
			docs:     []string{chat, strings.Replace(mine, "team-a", "team-b", 1)},
			mentions: true,
			want: want{
				endpoint:   map[string]string{"ENDPOINT": "team-a/chat", "RECIPE": "qwen3-8b-mi300x-bfloat16-vllm (Builtin)", "RUNS ON": "1 x MI300X, bfloat16, vllm"},
				candidates: [][]string{{"qwen3-8b-mi300x-bfloat16-vllm", "1", "Selected", "best for throughput"}},
			},
		},
		"OtherNamespaceOfThePlatform": {
			reason:   "Unless the platform lets all endpoints use them.",
			docs:     []string{chat, strings.Replace(mine, "team-a", "team-b", 1), "apiVersion: aim.fn.crossplane.io/v1beta1\nkind: Input\nrecipeNamespaces: [team-b]\n"},
			mentions: true,
			want: want{
				endpoint: map[string]string{"ENDPOINT": "team-a/chat", "RECIPE": "mine (Cluster)", "RUNS ON": "1 x MI300X, bfloat16, vllm"},
				candidates: [][]string{
					{"mine", "1", "Selected", "best for throughput"},
					{"qwen3-8b-mi300x-bfloat16-vllm", "1", "Rejected", "a recipe of the platform for the same hardware, precision and backend takes its place"},
				},
			},
		},
		"Invalid": {
			reason:   "A recipe that cannot run is not chosen, and keeps nothing else from running.",
			docs:     []string{chat, invalidRecipe},
			mentions: true,
			want: want{
				endpoint:   map[string]string{"ENDPOINT": "team-a/chat", "RECIPE": "qwen3-8b-mi300x-bfloat16-vllm (Builtin)", "RUNS ON": "1 x MI300X, bfloat16, vllm"},
				candidates: [][]string{{"qwen3-8b-mi300x-bfloat16-vllm", "1", "Selected", "best for throughput"}},
			},
		},
		"Custom": {
			reason: "A recipe that is named is the only candidate.",
			docs:   []string{choosing("mine"), mine},
			want: want{
				endpoint:   map[string]string{"ENDPOINT": "team-a/chat", "RECIPE": "mine (Custom)", "RUNS ON": "1 x MI300X, bfloat16, vllm"},
				candidates: [][]string{{"mine", "1", "Selected", "best for throughput"}},
			},
		},
		"CustomInvalid": {
			reason: "Whoever names it should hear why it is invalid.",
			docs:   []string{choosing("invalid"), invalidRecipe},
			want: want{
				endpoint: map[string]string{"ENDPOINT": "team-a/chat"},
				err:      `chat: RecipeInvalid: recipe team-a/invalid is invalid: endpoints cannot use it; error: spec.configurations[0].args: "--frobnicate": is no flag of vLLM: remove it`,
			},
		},
		"CustomMissing": {
			reason: "Whoever names it should hear that it is not there.",
			docs:   []string{choosing("missing"), mine},
			want: want{
				endpoint: map[string]string{"ENDPOINT": "team-a/chat"},
				err:      `chat: RecipeNotFound: there is no AIMRecipe team-a/missing; create it, or change spec.recipe.customRecipe`,
			},
		},
		"Inventory": {
			reason:   "What the cluster has narrows the choice.",
			docs:     []string{anyChat, fleet, inventoryInput},
			mentions: true,
			want: want{
				endpoint:   map[string]string{"ENDPOINT": "team-a/chat", "RECIPE": "qwen3-8b-mi210-bfloat16-vllm (Builtin)", "RUNS ON": "1 x MI210, bfloat16, vllm"},
				candidates: [][]string{{"qwen3-8b-mi210-bfloat16-vllm", "1", "Selected", "best for throughput"}},
			},
		},
		"InventoryOverRecipe": {
			reason:   "A recipe of one's own for hardware that the cluster does not have is not chosen.",
			docs:     []string{anyChat, mine, fleet, inventoryInput},
			mentions: true,
			want: want{
				endpoint: map[string]string{"ENDPOINT": "team-a/chat", "RECIPE": "qwen3-8b-mi210-bfloat16-vllm (Builtin)", "RUNS ON": "1 x MI210, bfloat16, vllm"},
				candidates: [][]string{
					{"qwen3-8b-mi210-bfloat16-vllm", "1", "Selected", "best for throughput"},
					{"mine", "1", "Rejected", "the cluster has no MI300X"},
				},
			},
		},
		"InventoryOfNothing": {
			reason: "An EnvironmentConfig that is not there is not an empty cluster: nothing is chosen.",
			docs:   []string{anyChat, inventoryInput},
			want: want{
				endpoint: map[string]string{"ENDPOINT": "team-a/chat"},
				err:      "chat: NoRecipeMatches: the platform's inventory is not there: create EnvironmentConfig gpus, or correct inventoryFrom in the Composition's input",
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			first := ""
			for i, docs := range orders(tc.docs) {
				out := &bytes.Buffer{}
				c := &planCmd{Files: []string{"-"}, Output: "text"}
				err := c.run(context.Background(), strings.NewReader(strings.Join(docs, "---\n")), out)
				if i == 0 {
					first = out.String()
				}
				if diff := cmp.Diff(first, out.String()); diff != "" {
					t.Errorf("The order of documents should not matter.\nc.run(...): -first, +got:\n%s", diff)
				}

				got := want{endpoint: map[string]string{}}
				if err != nil {
					got.err = err.Error()
				}
				for _, r := range columns(out.String()) {
					switch {
					case len(r) == 2 && slices.Contains([]string{"ENDPOINT", "RECIPE", "RUNS ON"}, r[0]):
						got.endpoint[r[0]] = r[1]
					case len(r) != 7 || r[0] == "CANDIDATE":
					default:
						cand := []string{r[0], r[1], r[5], r[6]}
						if tc.mentions && !slices.ContainsFunc(tc.want.candidates, func(w []string) bool { return w[0] == cand[0] && w[1] == cand[1] }) && r[0] != "mine" && r[0] != "invalid" {
							continue
						}
						got.candidates = append(got.candidates, cand)
					}
				}
				if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
					t.Fatalf("%s\nc.run(...): -want, +got:\n%s\n%s", tc.reason, diff, out)
				}
			}
		})
	}
}

// orders of documents: each of them comes first once, and all of them backwards.
func orders(docs []string) [][]string {
	out := make([][]string, 0, len(docs)+1)
	for i := range docs {
		out = append(out, slices.Concat(docs[i:], docs[:i]))
	}
	backwards := slices.Clone(docs)
	slices.Reverse(backwards)
	return append(out, backwards)
}

// TestPlanRecipeAlone makes sure that a recipe by itself is no plan.
func TestPlanRecipeAlone(t *testing.T) {
	err := (&planCmd{Files: []string{"-"}, Output: "text"}).run(context.Background(), strings.NewReader(mine), &bytes.Buffer{})
	if want := "there is nothing to plan: name a file with an AIMEndpoint; lint checks an AIMRecipe by itself"; err == nil || err.Error() != want {
		t.Errorf("Whoever has only a recipe should hear what to do.\nc.run(...): want error %q, got %v", want, err)
	}
}
