package recipe

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/gpu"
	"github.com/aim-engine/function-aim/fn/model"
)

// keys of selections that tests speak of. They are in the status of endpoints:
// if one changes, every endpoint chooses again when the function is upgraded.
const (
	keyAny    = "3f39366319747f8e"
	keyMI355X = "0604b6fed061c839"
)

// stored is a recipe as it comes back from a composite's status.
func stored(t *testing.T, r *v1alpha1.SelectedRecipe) *v1alpha1.SelectedRecipe {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	s := &structpb.Struct{}
	if err := s.UnmarshalJSON(b); err != nil {
		t.Fatal(err)
	}
	if b, err = s.MarshalJSON(); err != nil {
		t.Fatal(err)
	}
	out := &v1alpha1.SelectedRecipe{}
	if err := json.Unmarshal(b, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// A world in which a recipe is settled.
type world struct {
	recipes []Recipe
	want    Constraints
	rev     string
	policy  v1alpha1.UpgradePolicy
	running bool
	image   func(c Candidate, image string) string
}

func (w world) settle(t *testing.T, pinned *v1alpha1.SelectedRecipe) Outcome {
	t.Helper()
	w.want.Model = testModel
	o, err := Settle(Select(w.recipes, w.want, testFacts()), Request{
		Constraints: w.want, Revision: w.rev, Policy: w.policy, Pinned: pinned, Running: w.running, Image: w.image,
	})
	if err != nil {
		t.Fatalf("Settle(...): %v", err)
	}
	return o
}

// full recipe, with all that a snapshot can hold.
func full(name string, hw v1alpha1.Hardware) Recipe {
	r := recipeOn(name, hw, "bfloat16", 1)
	r.Configurations[0].Args = []string{"--max-model-len", "8192"}
	r.Configurations[0].Env = []corev1.EnvVar{
		{Name: "FROM_SECRET", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}, Key: "k"}}},
		{Name: "A", Value: "1"},
	}
	r.Configurations[0].Resources = corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("0.5"), corev1.ResourceMemory: resource.MustParse("34359738368")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1.5Ti")},
	}
	return r
}

func TestSettleFirst(t *testing.T) {
	got := world{recipes: []Recipe{full("a", "MI300X")}, rev: "main"}.settle(t, nil)
	const why = "chose a on 1 GPU of MI300X (bfloat16, vllm), the only candidate"
	want := Outcome{
		OK: true, Changed: true, Reason: v1alpha1.ReasonSelected, Message: why,
		Recipe: &v1alpha1.SelectedRecipe{
			Name: "a", Source: "Builtin", Hardware: "MI300X", GPUCount: 1, Precision: "bfloat16", Backend: "vllm",
			Image: "vllm/vllm-openai-rocm:v0.22.1", Reason: why,
			Memory: &v1alpha1.GPUMemory{RequiredGiBPerGPU: "68.6", AvailableGiBPerGPU: "172.8", MaxConcurrentSequences: 53},
			Snapshot: &v1alpha1.Snapshot{
				Selection: "b4ac78d405f57964", Model: testModel, Revision: "main",
				Image:   "vllm/vllm-openai-rocm:v0.22.1",
				Command: []string{"vllm", "serve"},
				Args:    []string{testModel, "--served-model-name", testModel, "--revision", "main", "--tensor-parallel-size", "1", "--max-model-len", "8192"},
				Env: []corev1.EnvVar{
					{Name: "A", Value: "1"},
					{Name: "FROM_SECRET", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}, Key: "k"}}},
					{Name: "VLLM_ENGINE_READY_TIMEOUT_S", Value: "10800"},
					{Name: "VLLM_NO_USAGE_STATS", Value: "1"},
					{Name: "VLLM_ROCM_USE_AITER", Value: "1"},
				},
				Port: 8000,
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("32Gi")},
					Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1536Gi")},
				},
				WeightsGiB: 60,
			},
		},
		Candidates: []v1alpha1.Candidate{{
			Recipe: "a", GPUCount: 1, Hardware: "MI300X", Precision: "bfloat16", Backend: "vllm",
			Verdict: "Selected", Reason: "Best", Message: "best for throughput",
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\nThe first choice should be pinned with all that is needed to render it again.\nSettle(...): -want, +got:\n%s", diff)
	}
}

func TestSettle(t *testing.T) {
	// what a case says of an outcome. Whole recipes are compared by TestSettleFirst.
	type want struct {
		Recipe     string
		Image      string
		Changed    bool
		OK         bool
		Reason     v1alpha1.ConditionReason
		Message    string
		Upgrade    string
		Candidates []string
	}
	a, b := full("a", "MI300X"), full("b", "MI355X")
	changed := full("a", "MI300X")
	changed.Configurations[0].Args = []string{"--max-model-len", "4096"}
	const (
		whyA = "chose a on 1 GPU of MI300X (bfloat16, vllm), the only candidate"
		whyB = "chose b on 1 GPU of MI355X (bfloat16, vllm), the only candidate"
		both = "chose b on 1 GPU of MI355X (bfloat16, vllm), the best of 2 candidates for throughput; next best is a on 1 GPU of MI300X, " +
			"which lost because its GPUs together have less memory bandwidth (an estimate of throughput), in TB/s: 5.3 against 8.0"
		chooseB   = "b 1 Selected Best: best for throughput"
		chooseA   = "a 1 Selected Best: best for throughput"
		pinnedA   = "a 1 Selected Pinned: keeps running though another is better now"
		betterB   = "b 1 Eligible BetterThanPinned: is better than what runs; set recipe.upgradePolicy to Automatic to use it"
		lostA     = "a 1 Eligible Outranked: its GPUs together have less memory bandwidth (an estimate of throughput), in TB/s: 5.3 against 8.0"
		image     = "vllm/vllm-openai-rocm:v0.22.1"
		platforms = "registry.example.org/vllm:v1"
	)
	platform := func(Candidate, string) string { return platforms }

	cases := map[string]struct {
		reason string
		// before is the world in which a recipe was pinned; nothing is if it has
		// no recipes.
		before world
		// forget the snapshot of what was pinned.
		forget bool
		now    world
		want   want
	}{
		"NothingFirst": {
			reason: "Without a recipe, and without one before, nothing should run.",
			want:   want{Reason: v1alpha1.ReasonNoRecipeForModel, Message: `there is no recipe for model "example/model"`},
		},
		"NothingMatchesFirst": {
			reason: "The candidates should be there although none is chosen.",
			now:    world{recipes: []Recipe{a}, want: Constraints{Hardware: "MI355X"}},
			want: want{
				Reason:     v1alpha1.ReasonNoRecipeMatches,
				Message:    `no recipe for model "example/model" has hardware MI355X; there is MI300X (bfloat16, vllm) on 1 GPU; change or remove the constraints in spec.recipe`,
				Candidates: []string{"a 1 Rejected ConstraintNotMet: runs on MI300X, but hardware MI355X is asked for"},
			},
		},
		"First": {
			reason: "The first choice should be the best.",
			now:    world{recipes: []Recipe{a, b}},
			want:   want{Recipe: "b", Image: image, Changed: true, OK: true, Reason: v1alpha1.ReasonSelected, Message: both, Candidates: []string{chooseB, lostA}},
		},
		"Image": {
			reason: "The platform's image should go before the engine's.",
			now:    world{recipes: []Recipe{a}, image: platform},
			want:   want{Recipe: "a", Image: platforms, Changed: true, OK: true, Reason: v1alpha1.ReasonSelected, Message: whyA, Candidates: []string{chooseA}},
		},
		"NoSnapshot": {
			reason: "What cannot be rendered again was not pinned.",
			before: world{recipes: []Recipe{a}}, forget: true,
			now:  world{recipes: []Recipe{a}, running: true},
			want: want{Recipe: "a", Image: image, Changed: true, OK: true, Reason: v1alpha1.ReasonSelected, Message: whyA, Candidates: []string{chooseA}},
		},
		"Same": {
			reason: "If nothing changes, nothing should change: what went through a status is the same.",
			before: world{recipes: []Recipe{a}, rev: "main", image: platform},
			now:    world{recipes: []Recipe{a}, rev: "main", image: platform, running: true},
			want:   want{Recipe: "a", Image: platforms, OK: true, Reason: v1alpha1.ReasonSelected, Message: whyA, Candidates: []string{chooseA}},
		},
		"SameAutomatic": {
			reason: "If nothing changes, nothing should change, whatever the policy.",
			before: world{recipes: []Recipe{a}},
			now:    world{recipes: []Recipe{a}, policy: v1alpha1.UpgradeAutomatic},
			want:   want{Recipe: "a", Image: image, OK: true, Reason: v1alpha1.ReasonSelected, Message: whyA, Candidates: []string{chooseA}},
		},
		"SameSpelledOtherwise": {
			reason: "What means the same should not be taken for a change.",
			before: world{recipes: []Recipe{a}, want: Constraints{Precision: "bf16"}},
			now:    world{recipes: []Recipe{a}, want: Constraints{Precision: "bfloat16", Objective: v1alpha1.ObjectiveThroughput}},
			want:   want{Recipe: "a", Image: image, OK: true, Reason: v1alpha1.ReasonSelected, Message: whyA, Candidates: []string{chooseA}},
		},
		"SameThoughOthersCame": {
			reason: "The sentence that explained the choice should stay, or the status would move with the catalog.",
			before: world{recipes: []Recipe{b}},
			now:    world{recipes: []Recipe{a, b}, running: true},
			want:   want{Recipe: "b", Image: image, OK: true, Reason: v1alpha1.ReasonSelected, Message: whyB, Candidates: []string{chooseB, lostA}},
		},
		"SameInOtherInventory": {
			reason: "The inventory is not the user's wish: a change of it should not choose again.",
			before: world{recipes: []Recipe{a}},
			now:    world{recipes: []Recipe{a}, want: Constraints{Inventory: []Node{{Hardware: "MI300X", GPUs: 8}}}, running: true},
			want:   want{Recipe: "a", Image: image, OK: true, Reason: v1alpha1.ReasonSelected, Message: whyA, Candidates: []string{chooseA}},
		},
		"Impossible": {
			reason: "If the user asks for something impossible, what runs should run on, and that not be right.",
			before: world{recipes: []Recipe{a}},
			now:    world{recipes: []Recipe{a}, want: Constraints{GPUCount: 8}, running: true},
			want: want{
				Recipe: "a", Image: image, Reason: v1alpha1.ReasonNoRecipeMatches,
				Message: `no recipe for model "example/model" has 8 GPUs; there is MI300X (bfloat16, vllm) on 1 GPU; ` +
					`change or remove the constraints in spec.recipe or spec.resources.gpuCount; example/model keeps running with recipe a until then`,
				Candidates: []string{"a 1 Rejected ConstraintNotMet: runs on 1 GPU, but 8 GPUs are asked for"},
			},
		},
		"ConstraintsChanged": {
			reason: "If the user asks for something else, it should be chosen, though the policy is to keep.",
			before: world{recipes: []Recipe{a}},
			now:    world{recipes: []Recipe{a, b}, want: Constraints{Hardware: "MI355X"}, policy: v1alpha1.UpgradePinned, running: true},
			want: want{
				Recipe: "b", Image: image, Changed: true, OK: true, Reason: v1alpha1.ReasonSelected,
				Message:    "chose b on 1 GPU of MI355X (bfloat16, vllm), the best of 2 candidates for throughput; 1 cannot run here or does not meet the constraints",
				Candidates: []string{chooseB, "a 1 Rejected ConstraintNotMet: runs on MI300X, but hardware MI355X is asked for"},
			},
		},
		"RevisionChanged": {
			reason: "Another revision should be served, though the recipe is the same.",
			before: world{recipes: []Recipe{a}, rev: "v1"},
			now:    world{recipes: []Recipe{a}, rev: "v2", running: true},
			want:   want{Recipe: "a", Image: image, Changed: true, OK: true, Reason: v1alpha1.ReasonSelected, Message: whyA, Candidates: []string{chooseA}},
		},
		"BetterPinned": {
			reason: "A better recipe should be told of, and left, if the policy is to keep.",
			before: world{recipes: []Recipe{a}},
			now:    world{recipes: []Recipe{a, b}, policy: v1alpha1.UpgradePinned, running: true},
			want:   want{Recipe: "a", Image: image, OK: true, Reason: v1alpha1.ReasonSelected, Message: whyA, Upgrade: "b", Candidates: []string{betterB, pinnedA}},
		},
		"BetterPinnedNotRunning": {
			reason: "What can run should be kept also while it is still starting.",
			before: world{recipes: []Recipe{a}},
			now:    world{recipes: []Recipe{a, b}},
			want:   want{Recipe: "a", Image: image, OK: true, Reason: v1alpha1.ReasonSelected, Message: whyA, Upgrade: "b", Candidates: []string{betterB, pinnedA}},
		},
		"BetterAutomatic": {
			reason: "A better recipe should be chosen if the policy is to follow.",
			before: world{recipes: []Recipe{a}},
			now:    world{recipes: []Recipe{a, b}, policy: v1alpha1.UpgradeAutomatic, running: true},
			want:   want{Recipe: "b", Image: image, Changed: true, OK: true, Reason: v1alpha1.ReasonSelected, Message: both, Candidates: []string{chooseB, lostA}},
		},
		"ContentChanged": {
			reason: "A recipe that changed should not restart what runs.",
			before: world{recipes: []Recipe{a}},
			now:    world{recipes: []Recipe{changed}, running: true},
			want: want{
				Recipe: "a", Image: image, OK: true, Reason: v1alpha1.ReasonKeptPinned, Upgrade: "a", Candidates: []string{chooseA},
				Message: "recipe a has changed since it was chosen, and keeps running as it was; set recipe.upgradePolicy to Automatic to follow changes",
			},
		},
		"ContentChangedAutomatic": {
			reason: "A recipe that changed should be followed if the policy is to follow.",
			before: world{recipes: []Recipe{a}},
			now:    world{recipes: []Recipe{changed}, policy: v1alpha1.UpgradeAutomatic, running: true},
			want:   want{Recipe: "a", Image: image, Changed: true, OK: true, Reason: v1alpha1.ReasonSelected, Message: whyA, Candidates: []string{chooseA}},
		},
		"ImageChanged": {
			reason: "The platform's new image should not restart what runs.",
			before: world{recipes: []Recipe{a}},
			now:    world{recipes: []Recipe{a}, image: platform, running: true},
			want: want{
				Recipe: "a", Image: image, OK: true, Reason: v1alpha1.ReasonKeptPinned, Upgrade: "a", Candidates: []string{chooseA},
				Message: "recipe a has changed since it was chosen, and keeps running as it was; set recipe.upgradePolicy to Automatic to follow changes",
			},
		},
		"Vanished": {
			reason: "A recipe that is gone should not take what runs with it.",
			before: world{recipes: []Recipe{a}},
			now:    world{running: true},
			want: want{
				Recipe: "a", Image: image, OK: true, Reason: v1alpha1.ReasonKeptPinned,
				Message: `recipe a could not be chosen again, and keeps running as it is: there is no recipe for model "example/model"`,
			},
		},
		"VanishedNotRunning": {
			reason: "Without anything else to run, what was chosen should be kept even if it does not run.",
			before: world{recipes: []Recipe{a}},
			want: want{
				Recipe: "a", Image: image, OK: true, Reason: v1alpha1.ReasonKeptPinned,
				Message: `recipe a could not be chosen again, and keeps running as it is: there is no recipe for model "example/model"`,
			},
		},
		"VanishedAutomatic": {
			reason: "To follow is not to follow into nothing.",
			before: world{recipes: []Recipe{a}},
			now:    world{policy: v1alpha1.UpgradeAutomatic, running: true},
			want: want{
				Recipe: "a", Image: image, OK: true, Reason: v1alpha1.ReasonKeptPinned,
				Message: `recipe a could not be chosen again, and keeps running as it is: there is no recipe for model "example/model"`,
			},
		},
		"Replaced": {
			reason: "A recipe that is gone should be told of together with the one that could take its place.",
			before: world{recipes: []Recipe{a}},
			now:    world{recipes: []Recipe{b}, running: true},
			want: want{
				Recipe: "a", Image: image, OK: true, Reason: v1alpha1.ReasonKeptPinned, Upgrade: "b", Candidates: []string{betterB},
				Message: "recipe a cannot be chosen any more, and keeps running as it is: there is no such recipe any more; set recipe.upgradePolicy to Automatic to change to b",
			},
		},
		"ReplacedNotRunning": {
			reason: "If nothing runs, what can run should be chosen.",
			before: world{recipes: []Recipe{a}},
			now:    world{recipes: []Recipe{b}},
			want:   want{Recipe: "b", Image: image, Changed: true, OK: true, Reason: v1alpha1.ReasonSelected, Message: whyB, Candidates: []string{chooseB}},
		},
		"Rejected": {
			reason: "A recipe that could not be chosen any more should run on, and the reason be told.",
			before: world{recipes: []Recipe{a}},
			now:    world{recipes: []Recipe{a, b}, want: Constraints{Inventory: []Node{{Hardware: "MI355X", GPUs: 8}}}, running: true},
			want: want{
				Recipe: "a", Image: image, OK: true, Reason: v1alpha1.ReasonKeptPinned, Upgrade: "b",
				Candidates: []string{betterB, "a 1 Rejected HardwareNotInInventory: the cluster has no MI300X"},
				Message:    "recipe a cannot be chosen any more, and keeps running as it is: the cluster has no MI300X; set recipe.upgradePolicy to Automatic to change to b",
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var pinned *v1alpha1.SelectedRecipe
			if len(tc.before.recipes) > 0 {
				pinned = stored(t, tc.before.settle(t, nil).Recipe)
			}
			if tc.forget {
				pinned.Snapshot = nil
			}
			o := tc.now.settle(t, pinned)
			got := want{Changed: o.Changed, OK: o.OK, Reason: o.Reason, Message: o.Message, Upgrade: o.UpgradeAvailable}
			if o.Recipe != nil {
				got.Recipe, got.Image = o.Recipe.Name, o.Recipe.Snapshot.Image
				if o.Recipe.Image != o.Recipe.Snapshot.Image {
					t.Errorf("\nThe image of a recipe should be its snapshot's.\nSettle(...): %q and %q", o.Recipe.Image, o.Recipe.Snapshot.Image)
				}
			}
			for _, c := range o.Candidates {
				got.Candidates = append(got.Candidates, fmt.Sprintf("%s %d %s %s: %s", c.Recipe, c.GPUCount, c.Verdict, c.Reason, c.Message))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nSettle(...): -want, +got:\n%s", tc.reason, diff)
			}
			if !o.Changed && pinned != nil && pinned.Snapshot != nil {
				if diff := cmp.Diff(pinned, o.Recipe); diff != "" {
					t.Errorf("\nWhat is kept should be kept as it is, to the last byte.\nSettle(...): -pinned, +got:\n%s", diff)
				}
			}
		})
	}
}

// TestSettleAgain settles what was settled: nothing moves any more.
func TestSettleAgain(t *testing.T) {
	for seed, g := range generators(500) {
		w := world{recipes: g.recipes(), want: g.constraints(), rev: maybe(g, "main"), policy: pick(g, v1alpha1.UpgradePinned, v1alpha1.UpgradeAutomatic), running: g.IntN(2) == 0}
		first := w.settle(t, nil)
		if (first.Recipe != nil) != first.OK || first.Changed != first.OK {
			t.Fatalf("\nThe first choice should be right exactly if there is a recipe.\nseed %d: Settle(...): got %+v", seed, first)
		}
		if len(first.Candidates) > 10 {
			t.Fatalf("\nA status should hold ten candidates at most.\nseed %d: Settle(...): got %d", seed, len(first.Candidates))
		}
		if first.Recipe == nil {
			continue
		}
		want := first
		want.Changed = false
		want.Recipe = stored(t, first.Recipe)
		if diff := cmp.Diff(want, w.settle(t, stored(t, first.Recipe))); diff != "" {
			t.Fatalf("\nA second look at the same should change nothing.\nseed %d: Settle(...): -want, +got:\n%s", seed, diff)
		}

		// Whatever happens to recipes and constraints, something runs on.
		w.recipes, w.want, w.running = g.recipes(), g.constraints(), g.IntN(2) == 0
		if o := w.settle(t, stored(t, first.Recipe)); o.Recipe == nil || o.Recipe.Snapshot == nil || o.Message == "" {
			t.Fatalf("\nOnce there was a recipe there should always be one.\nseed %d: Settle(...): got %+v", seed, o)
		}
	}
}

func TestSelectionKey(t *testing.T) {
	base := Request{Constraints: Constraints{Model: testModel}}
	change := func(f func(r *Request)) Request {
		r := base
		f(&r)
		return r
	}
	same := map[string]Request{
		"Policy":    change(func(r *Request) { r.Policy = v1alpha1.UpgradeAutomatic }),
		"Inventory": change(func(r *Request) { r.Constraints.Inventory = []Node{{Hardware: "MI300X", GPUs: 8}} }),
		"Objective": change(func(r *Request) { r.Constraints.Objective = v1alpha1.ObjectiveThroughput }),
		"Running":   change(func(r *Request) { r.Running = true }),
	}
	other := map[string]Request{
		"Model":           change(func(r *Request) { r.Constraints.Model = "example/other" }),
		"Revision":        change(func(r *Request) { r.Revision = "main" }),
		"Hardware":        change(func(r *Request) { r.Constraints.Hardware = "MI355X" }),
		"Precision":       change(func(r *Request) { r.Constraints.Precision = "float8" }),
		"Backend":         change(func(r *Request) { r.Constraints.Backend = "vllm" }),
		"GPUCount":        change(func(r *Request) { r.Constraints.GPUCount = 8 }),
		"Objective":       change(func(r *Request) { r.Constraints.Objective = v1alpha1.ObjectiveCost }),
		"SkipMemoryCheck": change(func(r *Request) { r.Constraints.SkipMemoryCheck = true }),
	}
	key := func(r Request) string {
		k, err := selectionKey(r)
		if err != nil {
			t.Fatalf("selectionKey(...): %v", err)
		}
		return k
	}
	if diff := cmp.Diff(keyAny, key(base)); diff != "" {
		t.Errorf("\nA key should be the same in every version: it is in the status of endpoints that run.\nselectionKey(...): -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(keyMI355X, key(other["Hardware"])); diff != "" {
		t.Errorf("\nA key should be the same in every version: it is in the status of endpoints that run.\nselectionKey(...): -want, +got:\n%s", diff)
	}
	for name, r := range same {
		if key(r) != key(base) {
			t.Errorf("\nWhat does not change what the user asks for should not choose again.\nselectionKey(...): %s changes it", name)
		}
	}
	keys := map[string]string{key(base): "base"}
	for name, r := range other {
		if was, ok := keys[key(r)]; ok {
			t.Errorf("\nAnother wish should have another key.\nselectionKey(...): %s has that of %s", name, was)
		}
		keys[key(r)] = name
	}
}

func TestSettleErrors(t *testing.T) {
	d := Select([]Recipe{recipeOn("a", "MI300X", "bfloat16", 1)}, Constraints{Model: testModel}, nil)
	if d.Selected == nil {
		t.Fatal("Select(...): want a candidate")
	}
	o, err := Settle(d, Request{Constraints: Constraints{Model: testModel}})
	if err != nil || o.Recipe.Memory != nil || o.Recipe.Snapshot.WeightsGiB != 0 {
		t.Errorf("\nWhat was not computed should be absent.\nSettle(...): got %+v, %v", o.Recipe, err)
	}

	d.Selected.Engine.Image = func(gpu.Accelerator) (string, bool) { return "", false }
	want := "recipe a was selected though there is no image of vllm for MI300X"
	if _, err := Settle(d, Request{Constraints: Constraints{Model: testModel}}); err == nil || err.Error() != want {
		t.Errorf("\nA candidate without an image should be an error, not a pod without one.\nSettle(...): want %q, got %v", want, err)
	}
}

func BenchmarkSelect(b *testing.B) {
	for _, n := range []int{2, 20, 200} {
		g := generator{rand.New(rand.NewPCG(1, 1))}
		recipes := make([]Recipe, 0, n)
		for i := range n {
			r := g.recipe(i)
			r.Model = testModel
			recipes = append(recipes, r)
		}
		facts := testFacts()
		b.Run(fmt.Sprintf("%dRecipes", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Select(recipes, Constraints{Model: testModel}, facts)
			}
		})
	}
}

func BenchmarkSettle(b *testing.B) {
	recipes, err := Builtin("Qwen/Qwen3-32B")
	if err != nil {
		b.Fatal(err)
	}
	facts, _, err := model.Lookup("Qwen/Qwen3-32B")
	if err != nil {
		b.Fatal(err)
	}
	want := Constraints{Model: "Qwen/Qwen3-32B"}
	d := Select(recipes, want, &facts)
	o, err := Settle(d, Request{Constraints: want})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Settle(d, Request{Constraints: want, Pinned: o.Recipe}); err != nil {
			b.Fatal(err)
		}
	}
}
