package main

import (
	"fmt"
	"strings"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/resource"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
)

// xrMine is the composite of a claim for an AIMRecipe named mine in the
// namespace team-a.
const xrMine = `{
	"apiVersion": "aim.engine.amd.com/v1alpha1",
	"kind": "XAIMRecipe",
	"metadata": {
		"name": "mine-k4p2x",
		"generation": 2,
		"labels": {"crossplane.io/claim-name": "mine", "crossplane.io/claim-namespace": "team-a"}
	},
	"spec": {
		"claimRef": {"apiVersion": "aim.engine.amd.com/v1alpha1", "kind": "AIMRecipe", "namespace": "team-a", "name": "mine"},
		"modelId": "Qwen/Qwen3-8B", "hardware": "MI300X", "precision": "bfloat16", "backend": "vllm",
		"configurations": [{"gpuCount": 1, "args": ["--max-model-len", "8192"]}]
	}
}`

const (
	nameEntry      = "entry-object"
	nameProtection = "protection-object"
)

// recipeWorld in which there is only a composite: xrMine, with merge patches.
func recipeWorld(patches ...string) *world {
	w := newWorld()
	w.xr = merged(resource.MustStructJSON(xrMine), patches...)
	return w
}

// entryOfMine is what a recipe composes, as a cluster has it.
func entryOfMine(tb testing.TB, patches ...string) []*structpb.Struct {
	tb.Helper()
	var out []*structpb.Struct
	for _, r := range recipeWorld(patches...).reconcile(tb).GetDesired().GetResources() {
		out = append(out, r.GetResource())
	}
	if len(out) != 1 {
		tb.Fatalf("a recipe should compose its entry and nothing else, but composes %d objects", len(out))
	}
	return out
}

// user is the Object by which an endpoint tells that it runs the recipe.
func user(tb testing.TB, namespace, name string) *structpb.Struct {
	tb.Helper()
	w := newWorld(fmt.Sprintf(`{"metadata": {"name": "%[2]s-x", "labels": {"crossplane.io/claim-name": %[2]q, "crossplane.io/claim-namespace": %[1]q}}, "spec": {"claimRef": {"name": %[2]q, "namespace": %[1]q}}}`, namespace, name))
	w.cluster = entryOfMine(tb)
	w.xr = merged(w.xr, `{"spec": {"recipe": {"customRecipe": {"name": "mine", "namespace": "team-a"}}}}`)
	w.input = resource.MustStructJSON(`{"recipeNamespaces": ["*"]}`)
	rsp := w.reconcile(tb)
	o := rsp.GetDesired().GetResources()[nameConfig].GetResource()
	if o == nil {
		tb.Fatalf("the endpoint does not run: %v", digestOf(rsp).Conditions)
	}
	return o
}

func TestRecipe(t *testing.T) {
	const valid = "Valid=TRUE ValidationSucceeded: 1 configuration can be chosen"
	type want struct {
		digest    digest
		phase     string
		endpoints float64
	}
	cases := map[string]struct {
		reason string
		world  func(t *testing.T) *world
		want   want
	}{
		"Valid": {
			reason: "A valid recipe should be put into the catalog.",
			world:  func(*testing.T) *world { return recipeWorld() },
			want:   want{digest{Ready: "TRUE", Resources: []string{nameEntry + " TRUE"}, Conditions: []string{valid}}, "Ready", 0},
		},
		"Invalid": {
			reason: "An invalid recipe should never be in the catalog.",
			world: func(*testing.T) *world {
				return recipeWorld(`{"spec": {"precision": "float8", "hardware": "MI210"}}`)
			},
			want: want{digest{Ready: "FALSE", Conditions: []string{
				"Valid=FALSE ValidationFailed: endpoints cannot use it; error: spec.precision: MI210 (gfx90a) does not run precision float8",
			}}, "Invalid", 0},
		},
		"Mended": {
			reason: "What was mended should be told, and be no obstacle.",
			world: func(*testing.T) *world {
				return recipeWorld(`{"spec": {"configurations": [{"gpuCount": 1, "args": ["--trust-remote-code", "true"]}]}}`)
			},
			want: want{digest{Ready: "TRUE", Resources: []string{nameEntry + " TRUE"}, Conditions: []string{
				valid + `; warning: spec.configurations[0].args: "--trust-remote-code true": takes no value: written --trust-remote-code`,
			}}, "Ready", 0},
		},
		"UnknownModel": {
			reason: "That nothing is known of a model should be said.",
			world:  func(*testing.T) *world { return recipeWorld(`{"spec": {"modelId": "acme/own"}}`) },
			want: want{digest{Ready: "TRUE", Resources: []string{nameEntry + " TRUE"}, Conditions: []string{
				valid + "; whether they fit into GPU memory is not checked, as the model's facts are not known: spec.modelFacts can bring them",
			}}, "Ready", 0},
		},
		"Conflict": {
			reason: "Nothing of anybody else should be taken over.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := recipeWorld()
				m := proto.Clone(at(entryOfMine(t)[0], "spec", "forProvider", "manifest").GetStructValue()).(*structpb.Struct)
				mergeInto(m, resource.MustStructJSON(`{"metadata": {"labels": {"aim.engine.amd.com/composite": "another"}}}`))
				w.cluster = []*structpb.Struct{m}
				return w
			},
			want: want{digest{Ready: "FALSE", Conditions: []string{
				"Valid=FALSE NameConflict: there is already a ConfigMap aim-recipe-team-a-mine-aa84e1efa73471dc in namespace team-a that is not of this recipe; delete it, or give the recipe another name",
			}}, "Invalid", 0},
		},
		"InUse": {
			reason: "A recipe in use should be protected, and count its users.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := recipeWorld()
				w.cluster = []*structpb.Struct{user(t, "team-b", "two"), user(t, "team-a", "one")}
				return w
			},
			want: want{digest{Ready: "TRUE", Resources: []string{nameEntry + " TRUE", nameProtection + " TRUE"}, Conditions: []string{valid}}, "Ready", 2},
		},
		"InUseOnOldCrossplane": {
			reason: "Crossplane before 2 has no such Usage: composing one would wedge the recipe.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := recipeWorld()
				w.cluster = []*structpb.Struct{user(t, "team-a", "one")}
				w.old = true
				return w
			},
			want: want{digest{Ready: "TRUE", Resources: []string{nameEntry + " TRUE"}, Conditions: []string{valid}}, "Ready", 1},
		},
		"InvalidInUse": {
			reason: "A recipe that became invalid should still be protected.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := recipeWorld(`{"spec": {"hardware": "MI210", "precision": "fp8"}}`)
				w.cluster = []*structpb.Struct{user(t, "team-a", "one")}
				return w
			},
			want: want{digest{Ready: "FALSE", Resources: []string{nameProtection + " TRUE"}, Conditions: []string{
				"Valid=FALSE ValidationFailed: endpoints cannot use it; error: spec.precision: MI210 (gfx90a) does not run precision float8",
			}}, "Invalid", 1},
		},
		"WithoutClaim": {
			reason: "A recipe without a claim is of the platform, and kept where the platform says.",
			world: func(*testing.T) *world {
				w := recipeWorld(`{"metadata": {"labels": null}, "spec": {"claimRef": null}}`)
				w.input = resource.MustStructJSON(`{"namespace": "crossplane-system"}`)
				return w
			},
			want: want{digest{Ready: "TRUE", Resources: []string{nameEntry + " TRUE"}, Conditions: []string{valid}}, "Ready", 0},
		},
		"NoNamespace": {
			reason: "Without a claim and a namespace there is nowhere to keep it.",
			world: func(*testing.T) *world {
				return recipeWorld(`{"metadata": {"labels": null}, "spec": {"claimRef": null}}`)
			},
			want: want{digest: digest{
				Ready: "UNSPECIFIED",
				Conditions: []string{
					`Valid=FALSE ApplyFailed: cannot tell which namespace to compose into: XAIMRecipe "mine-k4p2x" has no claim; create an AIMRecipe instead, or set namespace in this step's input; its entry in the catalog stays as it is`,
				},
				Results: []string{`FATAL : cannot tell which namespace to compose into: XAIMRecipe "mine-k4p2x" has no claim; create an AIMRecipe instead, or set namespace in this step's input (not on the claim)`},
			}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rsp := tc.world(t).reconcile(t)
			got := want{digest: digestOf(rsp)}
			if s := statusOf(rsp); s != nil {
				got.phase = at(s, "phase").GetStringValue()
				got.endpoints = at(s, "usage", "endpointCount").GetNumberValue()
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestRecipeObjects compares what is composed of a recipe in use, as a whole.
func TestRecipeObjects(t *testing.T) {
	w := recipeWorld()
	w.cluster = []*structpb.Struct{user(t, "team-a", "one")}
	got := w.reconcile(t).GetDesired().GetResources()
	const target = "aim-recipe-team-a-mine-aa84e1efa73471dc"
	labels := `"labels": {"aim.engine.amd.com/composite": "mine-k4p2x", "app.kubernetes.io/managed-by": "function-aim"}`
	data := at(got[nameEntry].GetResource(), "spec", "forProvider", "manifest", "data", entryKey).GetStringValue()
	for _, part := range []string{`"version":1`, `"name":"mine","namespace":"team-a"`, `"args":["--max-model-len","8192"]`} {
		if !strings.Contains(data, part) {
			t.Errorf("The entry should hold the compiled recipe: want %s in %s", part, data)
		}
	}
	want := map[string]*fnv1.Resource{
		nameEntry: {Ready: fnv1.Ready_READY_TRUE, Resource: resource.MustStructJSON(fmt.Sprintf(`{
			"apiVersion": "kubernetes.crossplane.io/v1alpha2", "kind": "Object",
			"metadata": {
				"annotations": {"crossplane.io/external-name": %[1]q},
				"labels": {
					"aim.engine.amd.com/recipe": "aa84e1efa73471dc20c8e4f2542605ae",
					"aim.engine.amd.com/recipe-model": "qwen3-8b-a82fd547628efc95",
					"aim.engine.amd.com/recipe-namespace": "team-a",
					"aim.engine.amd.com/recipe-scope": "Namespaced"
				}
			},
			"spec": {
				"providerConfigRef": {"name": "default"}, "readiness": {"policy": "SuccessfulCreate"},
				"forProvider": {"manifest": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": %[1]q, "namespace": "team-a", %[2]s}, "data": {"recipe.json": %[3]q}}}
			}
		}`, target, labels, data))},
		nameProtection: {Ready: fnv1.Ready_READY_TRUE, Resource: resource.MustStructJSON(fmt.Sprintf(`{
			"apiVersion": "kubernetes.crossplane.io/v1alpha2", "kind": "Object",
			"metadata": {"annotations": {"crossplane.io/external-name": %[1]q}},
			"spec": {
				"providerConfigRef": {"name": "default"}, "readiness": {"policy": "SuccessfulCreate"},
				"forProvider": {"manifest": {
					"apiVersion": "protection.crossplane.io/v1beta1", "kind": "Usage", "metadata": {"name": %[1]q, "namespace": "team-a", %[2]s},
					"spec": {"of": {"apiVersion": "aim.engine.amd.com/v1alpha1", "kind": "AIMRecipe", "resourceRef": {"name": "mine"}}, "reason": "1 endpoint uses it: team-a/one"}
				}}
			}
		}`, target, labels))},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("f.RunFunction(...): -want composed resources, +got composed resources:\n%s", diff)
	}
}

func TestUsedBy(t *testing.T) {
	cases := map[string]struct {
		reason string
		users  []string
		want   string
	}{
		"One":  {"A single user should be named.", []string{"a/b"}, "1 endpoint uses it: a/b"},
		"Two":  {"So should two.", []string{"a/b", "a/c"}, "2 endpoints use it: a/b, a/c"},
		"Many": {"Of many the first should be named, and all counted.", []string{"1", "2", "3", "4", "5", "6", "7"}, "7 endpoints use it: 1, 2, 3, 4, 5 and 2 more"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, usedBy(tc.users)); diff != "" {
				t.Errorf("%s\nusedBy(%q): -want, +got:\n%s", tc.reason, tc.users, diff)
			}
		})
	}
}

// TestCatalog is about which recipe an endpoint runs.
func TestCatalog(t *testing.T) {
	const builtin = "qwen3-8b-mi300x-bfloat16-vllm"
	type want struct {
		recipe, source string
		condition      string
	}
	chosen := func(name, source string) want {
		return want{name, source, "RecipeSelected=TRUE Selected: (why)"}
	}
	none := func(condition string) want { return want{condition: "RecipeSelected=FALSE " + condition} }
	custom := func(ref string) string { return `{"spec": {"recipe": {"customRecipe": ` + ref + `}}}` }
	cases := map[string]struct {
		reason  string
		cluster func(t *testing.T) []*structpb.Struct
		patch   string
		input   string
		want    want
	}{
		"Builtin": {
			reason: "Without any AIMRecipe a built-in one should be chosen.",
			want:   chosen(builtin, "Builtin"),
		},
		"OfNamespace": {
			reason:  "A recipe of the endpoint's namespace should go before a built-in one.",
			cluster: func(t *testing.T) []*structpb.Struct { t.Helper(); return entryOfMine(t) },
			want:    chosen("mine", "Cluster"),
		},
		"OfAnotherNamespace": {
			reason: "One of another namespace should not be used.",
			cluster: func(t *testing.T) []*structpb.Struct {
				t.Helper()
				return entryOfMine(t, `{"spec": {"claimRef": {"namespace": "team-b"}}}`)
			},
			want: chosen(builtin, "Builtin"),
		},
		"OfAllowedNamespace": {
			reason: "Unless the platform allows it.",
			cluster: func(t *testing.T) []*structpb.Struct {
				t.Helper()
				return entryOfMine(t, `{"spec": {"claimRef": {"namespace": "team-b"}}}`)
			},
			input: `{"recipeNamespaces": ["team-b"]}`,
			want:  chosen("mine", "Cluster"),
		},
		"OfAnyNamespace": {
			reason: "Or allows all.",
			cluster: func(t *testing.T) []*structpb.Struct {
				t.Helper()
				return entryOfMine(t, `{"spec": {"claimRef": {"namespace": "team-b"}}}`)
			},
			input: `{"recipeNamespaces": ["*"]}`,
			want:  chosen("mine", "Cluster"),
		},
		"Custom": {
			reason:  "A recipe that the endpoint names should be used.",
			cluster: func(t *testing.T) []*structpb.Struct { t.Helper(); return entryOfMine(t) },
			patch:   custom(`{"name": "mine"}`),
			want:    chosen("mine", "Custom"),
		},
		"CustomOfOtherModel": {
			reason: "It should be told that the recipe is for another model.",
			cluster: func(t *testing.T) []*structpb.Struct {
				t.Helper()
				return entryOfMine(t, `{"spec": {"modelId": "acme/own"}}`)
			},
			patch: custom(`{"name": "mine"}`),
			want:  none(`NoRecipeForModel: recipe team-a/mine is for model "acme/own", not for "Qwen/Qwen3-8B"; change spec.model.id or spec.recipe.customRecipe`),
		},
		"CustomMissing": {
			reason: "It should be told that there is no such recipe.",
			patch:  custom(`{"name": "mine"}`),
			want:   none("RecipeNotFound: (why)"),
		},
		"CustomForbidden": {
			reason: "It should be told that the platform does not allow the recipe.",
			cluster: func(t *testing.T) []*structpb.Struct {
				t.Helper()
				return entryOfMine(t, `{"spec": {"claimRef": {"namespace": "team-b"}}}`)
			},
			patch: custom(`{"name": "mine", "namespace": "team-b"}`),
			want:  none("RecipeNotFound: (why)"),
		},
		"Deleted": {
			reason: "A recipe that is being deleted should not be chosen any more.",
			cluster: func(t *testing.T) []*structpb.Struct {
				t.Helper()
				e := entryOfMine(t)
				mergeInto(e[0], resource.MustStructJSON(`{"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}`))
				return e
			},
			want: chosen(builtin, "Builtin"),
		},
		"Unreadable": {
			reason: "An entry that cannot be read should not take the others with it.",
			cluster: func(t *testing.T) []*structpb.Struct {
				t.Helper()
				e := entryOfMine(t)
				mergeInto(e[0], resource.MustStructJSON(`{"spec": {"forProvider": {"manifest": {"data": {"recipe.json": "{"}}}}}`))
				return e
			},
			want: chosen(builtin, "Builtin"),
		},
		"InventoryElsewhere": {
			reason: "Hardware that the platform's EnvironmentConfig lacks should not be chosen.",
			cluster: func(*testing.T) []*structpb.Struct {
				return []*structpb.Struct{resource.MustStructJSON(`{"apiVersion": "apiextensions.crossplane.io/v1beta1", "kind": "EnvironmentConfig", "metadata": {"name": "gpus"}, "data": {"inventory": [{"hardware": "MI325X", "gpusPerNode": 8}]}}`)}
			},
			patch: `{"spec": {"recipe": {"hardware": null}}}`,
			input: `{"inventoryFrom": {"environmentConfig": "gpus"}}`,
			want:  chosen("qwen3-8b-mi325x-bfloat16-vllm", "Builtin"),
		},
		"InventoryMissing": {
			reason: "A platform team should be told that its inventory is not there.",
			input:  `{"inventoryFrom": {"environmentConfig": "gpus"}}`,
			want:   none("NoRecipeMatches: (why)"),
		},
		"InventoryWrong": {
			reason: "Or that it cannot be used.",
			cluster: func(*testing.T) []*structpb.Struct {
				return []*structpb.Struct{resource.MustStructJSON(`{"apiVersion": "apiextensions.crossplane.io/v1beta1", "kind": "EnvironmentConfig", "metadata": {"name": "gpus"}, "data": {"inventory": [{"hardware": "H100", "gpusPerNode": 8}]}}`)}
			},
			input: `{"inventoryFrom": {"environmentConfig": "gpus"}}`,
			want:  none("NoRecipeMatches: (why)"),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			if tc.patch != "" {
				w = newWorld(tc.patch)
			}
			if tc.input != "" {
				w.input = resource.MustStructJSON(tc.input)
			}
			if tc.cluster != nil {
				w.cluster = tc.cluster(t)
			}
			rsp := w.reconcile(t)
			got := want{
				recipe: at(statusOf(rsp), "selectedRecipe", "name").GetStringValue(), source: at(statusOf(rsp), "selectedRecipe", "source").GetStringValue(),
				condition: digestOf(rsp).Conditions[0],
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s\n%s", tc.reason, diff, rsp.GetConditions()[0].GetMessage())
			}
		})
	}
}

// TestPinnedRecipeVanishes makes sure that what runs goes on, with the very
// Deployment that it has.
func TestPinnedRecipeVanishes(t *testing.T) {
	cases := map[string]struct {
		reason  string
		cluster func(t *testing.T) []*structpb.Struct
	}{
		"Gone": {"A recipe may vanish.", func(*testing.T) []*structpb.Struct { return nil }},
		"Changed": {"A recipe may change.", func(t *testing.T) []*structpb.Struct {
			t.Helper()
			return entryOfMine(t, `{"spec": {"configurations": [{"gpuCount": 1, "args": ["--max-model-len", "4096"]}]}}`)
		}},
		"OtherModel": {"A recipe may become one for another model.", func(t *testing.T) []*structpb.Struct {
			t.Helper()
			return entryOfMine(t, `{"spec": {"modelId": "acme/own"}}`)
		}},
		"Unreadable": {"The catalog may be broken.", func(t *testing.T) []*structpb.Struct {
			t.Helper()
			e := entryOfMine(t)
			mergeInto(e[0], resource.MustStructJSON(`{"spec": {"forProvider": {"manifest": {"data": {"recipe.json": "{"}}}}}`))
			return e
		}},
	}
	for _, ref := range []string{"", `{"spec": {"recipe": {"customRecipe": {"name": "mine"}}}}`} {
		for name, tc := range cases {
			t.Run(name+"/"+ref, func(t *testing.T) {
				w := newWorld()
				if ref != "" {
					w = newWorld(ref)
				}
				w.cluster = entryOfMine(t)
				var rsp *fnv1.RunFunctionResponse
				for range 3 {
					rsp = w.reconcile(t)
					w.provide(t, rsp, nil)
				}
				w.cluster = tc.cluster(t)
				after := w.reconcile(t)
				if diff := cmp.Diff(rsp.GetDesired().GetResources(), after.GetDesired().GetResources(), protocmp.Transform()); diff != "" {
					t.Errorf("%s\nf.RunFunction(...): -resources before, +resources after:\n%s", tc.reason, diff)
				}
				if got := digestOf(after); got.Ready != "TRUE" || got.Conditions[0] != "RecipeSelected=TRUE KeptPinned: (why)" {
					t.Errorf("%s\nf.RunFunction(...): got %+v: %s", tc.reason, got, after.GetConditions()[0].GetMessage())
				}
			})
		}
	}
}
