package e2e

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/test/controlplane"
)

// tinyFacts of a model that fits anywhere.
const tinyFacts = "modelFacts: {parametersBillion: 1, layers: 16, kvHeads: 8, attentionHeads: 32, headDim: 64, maxContextLength: 8192}"

// recipe is the manifest of an AIMRecipe. The spec is YAML in flow style.
func recipe(name, spec string) string {
	return fmt.Sprintf("apiVersion: aim.engine.amd.com/v1alpha1\nkind: AIMRecipe\nmetadata: {name: %q}\nspec: %s\n", name, spec)
}

// tiny is a recipe for a tiny model of the test's own.
func (c *cluster) tiny(name, hardware string, tokensPerSecond int, args ...string) string {
	quoted := make([]string, 0, len(args))
	for _, a := range args {
		quoted = append(quoted, strconv.Quote(a))
	}
	return recipe(name, fmt.Sprintf(
		"{modelId: %s, hardware: %s, precision: bfloat16, backend: vllm, %s, configurations: [{gpuCount: 1, args: [%s], performance: {expectedTokensPerSecond: %d}}]}",
		c.model(), hardware, tinyFacts, strings.Join(quoted, ", "), tokensPerSecond))
}

// model of the test's own, which no other test has recipes for.
func (c *cluster) model() string { return "example/" + c.namespace }

func (c *cluster) recipeReady(names ...string) {
	c.t.Helper()
	for _, n := range names {
		c.expectOf(recipes, n, "Ready", "True", "Available")
		c.expectOf(recipes, n, "Valid", "True", "ValidationSucceeded")
	}
}

// runs waits until an endpoint is Ready with a recipe.
func (c *cluster) runs(name, recipe string) {
	c.t.Helper()
	c.eventually(name+" runs "+recipe, soon, func() error {
		e := c.get(endpoints, name)
		if got := str(e, "status", "selectedRecipe", "name"); got != recipe {
			return fmt.Errorf("it runs recipe %q: %+v", got, conditionOf(e, "RecipeSelected"))
		}
		if got := conditionOf(e, "Ready"); got.status != "True" {
			return fmt.Errorf("it is not Ready: %+v", got)
		}
		return nil
	})
}

// argsOf the server of an endpoint.
func (c *cluster) argsOf(name string) []string {
	c.t.Helper()
	d := c.get(deployments, name)
	if d == nil {
		return nil
	}
	cs, _, _ := unstructured.NestedSlice(d.Object, "spec", "template", "spec", "containers")
	if len(cs) == 0 {
		return nil
	}
	args, _, _ := unstructured.NestedStringSlice(cs[0].(map[string]any), "args")
	return args
}

// An AIMRecipe as users of the earlier operator have them applies as it is, and
// becomes a command that vLLM accepts.
func testOperatorsRecipe(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	b, err := os.ReadFile(root(t) + "/examples/recipe-operator/recipe.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c.apply(strings.ReplaceAll(string(b), "namespace: default", "namespace: "+c.namespace))
	c.recipeReady("qwen3-8b-mi300x-bf16-vllm")
	c.apply(endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X, gpuCount: 1}}"))
	c.runs("llm", "qwen3-8b-mi300x-bf16-vllm")

	want := []string{
		"Qwen/Qwen3-8B", "--served-model-name", "Qwen/Qwen3-8B", "--tensor-parallel-size", "1",
		"--dtype", "bfloat16", "--trust-remote-code", "--max-model-len", "32768", "--gpu-memory-utilization", "0.9",
		"--host", "0.0.0.0", "--port", "8000",
	}
	if diff := cmp.Diff(want, c.argsOf("llm")); diff != "" {
		t.Errorf("arguments of the server: -want, +got:\n%s", diff)
	}
	d := c.get(deployments, "llm")
	cs, _, _ := unstructured.NestedSlice(d.Object, "spec", "template", "spec", "containers")
	container := &unstructured.Unstructured{Object: cs[0].(map[string]any)}
	wantResources := `{"limits":{"amd.com/gpu":"1","cpu":"16","memory":"128Gi"},"requests":{"amd.com/gpu":"1","cpu":"8","memory":"64Gi"}}`
	if got := str(container, "resources"); got != wantResources {
		t.Errorf("resources: want %s, got %s", wantResources, got)
	}
	wantEnv := `{"name":"HF_TOKEN","valueFrom":{"secretKeyRef":{"key":"token","name":"hf-token"}}}`
	if got := str(container, "env"); !strings.Contains(got, wantEnv) {
		t.Errorf("env: want %s in it, got %s", wantEnv, got)
	}
	// What was mended is told.
	msg := conditionOf(c.get(recipes, "qwen3-8b-mi300x-bf16-vllm"), "Valid").message
	for _, w := range []string{"--trust-remote-code", "--disable-log-requests", "--swap-space"} {
		if !strings.Contains(msg, w) {
			t.Errorf("condition Valid does not tell of %s: %s", w, msg)
		}
	}
	if got := str(c.get(endpoints, "llm"), "status", "selectedRecipe", "source"); got != "Cluster" {
		t.Errorf("source of the recipe: %s", got)
	}
}

// Recipes that differ only in their names: the order in which they come does
// not matter.
func testSameChoice(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	c.create(c.namespace + "-2")
	other := *c
	other.namespace += "-2"
	for i, ns := range []*cluster{c, &other} {
		names := []string{"beta", "alpha"}
		if i == 1 {
			slices.Reverse(names)
		}
		for _, n := range names {
			ns.apply(strings.ReplaceAll(ns.tiny(n, "MI300X", 100), ns.model(), c.model()))
			ns.recipeReady(n)
		}
		ns.apply(endpoint("llm", "{model: {id: "+c.model()+"}}"))
		ns.runs("llm", "alpha")
	}
	if _, err := other.kubectl("", "delete", "aimendpoint", "--all", "--wait=false"); err != nil {
		t.Error(err)
	}

	// A person can read which recipe was chosen, from how many, and why the
	// other one lost.
	out, err := c.kubectl("", "describe", "aimendpoint", "llm")
	if err != nil {
		t.Fatal(out, err)
	}
	text := strings.Join(strings.Fields(out), " ")
	for _, w := range []string{"chose alpha on 1 GPU of MI300X (bfloat16, vllm), the best of 2 candidates for throughput", "Message: its name comes later in the alphabet", "Verdict: Selected", "Verdict: Eligible"} {
		if !strings.Contains(text, w) {
			t.Errorf("kubectl describe aimendpoint does not say %q:\n%s", w, out)
		}
	}
}

// The platform's inventory has both MI355X and MI210.
func testNewerHardware(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	b, err := os.ReadFile(root(t) + "/compositions/aimendpoint.yaml")
	if err != nil {
		t.Fatal(err)
	}
	comp := strings.Replace(string(b), "name: aimendpoints", "name: "+c.namespace, 1)
	comp = strings.Replace(comp, "aim.engine.amd.com/composition: default", "aim.engine.amd.com/composition: "+c.namespace, 1)
	comp = strings.TrimRight(comp, "\n") + "\n      inventoryFrom: {environmentConfig: " + c.namespace + "}\n"
	c.apply(comp)
	inventory := func(nodes string) string {
		return fmt.Sprintf("apiVersion: apiextensions.crossplane.io/v1beta1\nkind: EnvironmentConfig\nmetadata: {name: %s}\ndata: {inventory: %s}\n", c.namespace, nodes)
	}
	t.Cleanup(func() {
		if out, err := c.kubectl("", "delete", "environmentconfig", c.namespace); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})

	c.apply(c.tiny("old", "MI210", 100))
	c.apply(c.tiny("new", "MI355X", 100))
	c.recipeReady("old", "new")
	spec := func(rest string) string {
		return "{compositionRef: {name: " + c.namespace + "}, model: {id: " + c.model() + "}" + rest + "}"
	}
	c.apply(endpoint("llm", spec("")))
	c.expect("llm", "RecipeSelected", "False", "NoRecipeMatches", "create EnvironmentConfig "+c.namespace)
	c.apply(inventory("[{hardware: MI355X, gpusPerNode: 8}, {hardware: MI210, gpusPerNode: 4}]"))
	c.runs("llm", "new")

	// What the cluster no longer has is not chosen, but what runs goes on.
	c.apply(inventory("[{hardware: MI210, gpusPerNode: 4}]"))
	c.apply(endpoint("second", spec("")))
	c.runs("second", "old")
	c.runs("llm", "new")
	c.expect("llm", "RecipeSelected", "True", "KeptPinned", "the cluster has no MI355X")
}

// A model that does not fit on as many GPUs as are asked for.
func testTooFewGPUs(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	const model = "amd/Llama-3.1-405B-Instruct-FP8-KV"
	c.apply(endpoint("llm", "{model: {id: "+model+"}, recipe: {hardware: MI300X, gpuCount: 1}}"))
	msg := c.expect("llm", "RecipeSelected", "False", "InsufficientGPUMemory", "1 GPU is not enough: 382 GiB of weights + ", "usable of 192 GiB on MI300X", "the smallest count that fits is 4")
	t.Log(msg)
	c.apply(endpoint("llm", "{model: {id: "+model+"}, recipe: {hardware: MI300X}}"))
	c.expect("llm", "RecipeSelected", "True", "Selected")
	if n := str(c.get(endpoints, "llm"), "status", "selectedRecipe", "gpuCount"); n != "4" && n != "8" {
		t.Errorf("it runs on %s GPUs", n)
	}
}

// An endpoint with SGLang, which listens on a port of its own.
func testSGLang(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	c.apply(endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X, backend: sglang}}"))
	c.runs("llm", "qwen3-8b-mi300x-bfloat16-sglang")
	want := []string{
		"--model-path", "Qwen/Qwen3-8B", "--served-model-name", "Qwen/Qwen3-8B", "--tp-size", "1", "--enable-metrics",
		"--context-length", "40960", "--host", "0.0.0.0", "--port", "30000",
	}
	if diff := cmp.Diff(want, c.argsOf("llm")); diff != "" {
		t.Errorf("arguments of the server: -want, +got:\n%s", diff)
	}
	if got, want := str(c.get(services, "llm"), "spec", "ports"), `[{"name":"http","port":8000,"protocol":"TCP","targetPort":"http"}]`; got != want {
		t.Errorf("ports of the Service: want %s, got %s", want, got)
	}
}

// What becomes of an endpoint when a better recipe appears, and when its own
// changes or vanishes.
func testBetterRecipe(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	spec := func(policy string) string {
		return "{model: {id: " + c.model() + "}, recipe: {upgradePolicy: " + policy + "}}"
	}
	generation := func() int64 { return c.get(deployments, "llm").GetGeneration() }
	c.apply(c.tiny("good", "MI300X", 100))
	c.recipeReady("good")
	c.apply(endpoint("llm", spec("Pinned")))
	c.runs("llm", "good")
	before := generation()

	started := time.Now()
	c.apply(c.tiny("better", "MI300X", 200))
	c.eventually("upgradeAvailable", soon, func() error {
		if got := str(c.get(endpoints, "llm"), "status", "upgradeAvailable"); got != "better" {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})
	t.Logf("a new recipe showed up on the endpoint after %s", time.Since(started).Round(100*time.Millisecond))
	c.runs("llm", "good")

	// The content of what runs changes.
	started = time.Now()
	c.apply(c.tiny("good", "MI300X", 300, "--max-model-len", "4096"))
	c.expect("llm", "RecipeSelected", "True", "KeptPinned", "recipe good has changed since it was chosen")
	t.Logf("a changed recipe showed up on the endpoint after %s", time.Since(started).Round(100*time.Millisecond))

	// It vanishes, past its protection.
	if out, err := c.kubectl("", "label", "aimrecipe", "good", "crossplane.io/in-use-"); err != nil {
		t.Fatal(out, err)
	}
	if out, err := c.kubectl("", "delete", "aimrecipe", "good"); err != nil {
		t.Fatal(out, err)
	}
	c.expect("llm", "RecipeSelected", "True", "KeptPinned", "there is no such recipe any more")
	if got := conditionOf(c.get(endpoints, "llm"), "Ready"); got.status != "True" {
		t.Errorf("the endpoint is not Ready: %+v", got)
	}
	if got := generation(); got != before {
		t.Errorf("the Deployment changed: generation %d, was %d", got, before)
	}

	c.apply(endpoint("llm", spec("Automatic")))
	c.runs("llm", "better")
	// From now on it follows.
	started = time.Now()
	c.apply(c.tiny("better", "MI300X", 200, "--max-model-len", "2048"))
	c.eventually("the change", soon, func() error {
		if args := c.argsOf("llm"); !slices.Contains(args, "2048") {
			return fmt.Errorf("arguments are %q", args)
		}
		return nil
	})
	t.Logf("a changed recipe was rolled out after %s", time.Since(started).Round(100*time.Millisecond))
}

// A recipe that an endpoint uses cannot be deleted.
func testRecipeInUse(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	c.apply(c.tiny("mine", "MI300X", 100))
	c.recipeReady("mine")
	c.apply(endpoint("llm", "{model: {id: "+c.model()+"}}"))
	c.runs("llm", "mine")
	refused := func(resource, name, because string) {
		t.Helper()
		c.eventually(name+" is protected", soon, func() error {
			out, err := c.kubectl("", "delete", resource, name, "--dry-run=server")
			if err == nil {
				return errNotYet
			}
			if !strings.Contains(out, because) {
				return fmt.Errorf("want the reason %q, got %s", because, out)
			}
			return nil
		})
		out, err := c.kubectl("", "delete", resource, name)
		if err == nil || !strings.Contains(out, because) {
			t.Errorf("kubectl delete %s %s should be refused, because %q: %v: %s", resource, name, because, err, out)
		}
	}
	refused("aimrecipe", "mine", "1 endpoint uses it: "+c.namespace+"/llm")
	c.eventually("usage", soon, func() error {
		if got := str(c.get(recipes, "mine"), "status", "usage", "endpointCount"); got != "1" {
			return fmt.Errorf("endpointCount is %q", got)
		}
		return nil
	})

	// After its last user it can be.
	if out, err := c.kubectl("", "delete", "aimendpoint", "llm"); err != nil {
		t.Fatal(out, err)
	}
	c.eventually("deletion of the recipe", soon, func() error {
		out, err := c.kubectl("", "delete", "aimrecipe", "mine")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})

	// Both at once, with their namespace: nothing is left.
	c.apply(c.tiny("again", "MI300X", 100))
	c.recipeReady("again")
	c.apply(endpoint("llm", "{model: {id: "+c.model()+"}}"))
	c.runs("llm", "again")
	refused("aimrecipe", "again", "1 endpoint uses it")
	if out, err := c.kubectl("", "delete", "aimendpoint,aimrecipe", "--all", "--wait=false"); err == nil || !strings.Contains(out, "1 endpoint uses it") {
		t.Errorf("the recipe should have been refused: %v: %s", err, out)
	}
	if out, err := c.kubectl("", "delete", "namespace", c.namespace); err != nil {
		t.Fatal(out, err)
	}
	c.eventually("a clean end", soon, func() error {
		for _, u := range append(c.list(xrecipes, "", "crossplane.io/claim-namespace="+c.namespace), c.list(objects, "", "crossplane.io/claim-namespace="+c.namespace)...) {
			return fmt.Errorf("%s %s is left", u.GetKind(), u.GetName())
		}
		return nil
	})
	// For the cleanup.
	c.create(c.namespace)
}

// An invalid recipe says what is wrong with it, and is not in the catalog.
func testInvalidRecipe(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	c.apply(c.tiny("mine", "MI300X", 100, "--max-model-length", "4096"))
	c.expectOf(recipes, "mine", "Valid", "False", "ValidationFailed", "error: spec.configurations[0].args:", "--max-model-length", "did you mean --max-model-len?")
	c.expectOf(recipes, "mine", "Ready", "False", "Waiting")
	spec := "{model: {id: " + c.model() + "}, recipe: {customRecipe: {name: mine}}}"
	c.apply(endpoint("llm", spec))
	c.expect("llm", "RecipeSelected", "False", "RecipeInvalid", "recipe "+c.namespace+"/mine is invalid", "--max-model-length")
	c.apply(endpoint("other", "{model: {id: "+c.model()+"}, recipe: {customRecipe: {name: nobodys}}}"))
	c.expect("other", "RecipeSelected", "False", "RecipeNotFound", "there is no AIMRecipe "+c.namespace+"/nobodys")
	c.apply(endpoint("stranger", "{model: {id: "+c.model()+"}, recipe: {customRecipe: {name: mine, namespace: default}}}"))
	c.expect("stranger", "RecipeSelected", "False", "RecipeNotFound", "may not use recipes of namespace default", "recipeNamespaces")

	c.apply(c.tiny("mine", "MI300X", 100, "--max-model-len", "4096"))
	c.recipeReady("mine")
	c.runs("llm", "mine")
	if got := str(c.get(endpoints, "llm"), "status", "selectedRecipe", "source"); got != "Custom" {
		t.Errorf("source of the recipe: %s", got)
	}
	// Broken again: what runs goes on.
	c.apply(c.tiny("mine", "MI300X", 100, "--no-such-flag"))
	c.expect("llm", "RecipeSelected", "True", "KeptPinned", "recipe "+c.namespace+"/mine is invalid")
	if got := conditionOf(c.get(endpoints, "llm"), "Ready"); got.status != "True" {
		t.Errorf("the endpoint is not Ready: %+v", got)
	}

	for _, r := range []struct{ reason, spec, want string }{
		{"No configuration", "{modelId: a/b, hardware: MI300X, precision: bfloat16, backend: vllm, configurations: []}", "must hold at least one configuration that is enabled"},
		{"Two for one count", "{modelId: a/b, hardware: MI300X, precision: bfloat16, backend: vllm, configurations: [{gpuCount: 1}, {gpuCount: 1}]}", "Duplicate value"},
		{"Unknown hardware", "{modelId: a/b, hardware: H100, precision: bfloat16, backend: vllm, configurations: [{gpuCount: 1}]}", "Unsupported value"},
	} {
		if out, err := c.kubectl(recipe("bad", r.spec), "apply", "-f", "-"); err == nil || !strings.Contains(out, r.want) {
			t.Errorf("%s: kubectl apply should say %q: %v: %s", r.reason, r.want, err, out)
		}
	}
}

// A recipe without a claim, which a platform team makes for everybody.
func testPlatformRecipe(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	name := c.namespace + "-everybodys"
	m := strings.ReplaceAll(c.tiny(name, "MI300X", 100), "kind: AIMRecipe", "kind: XAIMRecipe")
	c.apply(m)
	c.eventually("the recipe is Ready", soon, func() error {
		for _, u := range c.list(xrecipes, "", "") {
			if u.GetName() == name && conditionOf(&u, "Ready").status == "True" {
				return nil
			}
		}
		return errNotYet
	})
	c.apply(endpoint("llm", "{model: {id: "+c.model()+"}}"))
	c.runs("llm", name)
	c.eventually("protection", soon, func() error {
		out, err := c.kubectl("", "delete", "xaimrecipe", name, "--dry-run=server")
		if err == nil {
			return errNotYet
		}
		if !strings.Contains(out, "1 endpoint uses it: "+c.namespace+"/llm") {
			return fmt.Errorf("unexpected: %s", out)
		}
		return nil
	})

	// One of the namespace takes its place for those who come later.
	c.apply(c.tiny("ours", "MI300X", 50))
	c.recipeReady("ours")
	c.apply(endpoint("second", "{model: {id: "+c.model()+"}}"))
	c.runs("second", "ours")
	c.runs("llm", name)

	if out, err := c.kubectl("", "delete", "aimendpoint", "--all"); err != nil {
		t.Fatal(out, err)
	}
	c.eventually("deletion", soon, func() error {
		out, err := c.kubectl("", "delete", "xaimrecipe", name)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// Hundreds of recipes cost an endpoint nothing. 500 of them take eight minutes on
// two cores, so there are fewer unless AIM_E2E_RECIPES says how many.
func testManyRecipes(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	c.apply(c.tiny("mine", "MI300X", 100))
	c.recipeReady("mine")
	c.apply(endpoint("llm", "{model: {id: "+c.model()+"}}"))
	c.runs("llm", "mine")

	n := 60
	if v := os.Getenv("AIM_E2E_RECIPES"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil || n < 51 || n > 999 {
			t.Fatalf("AIM_E2E_RECIPES=%s: want 51 to 999", v)
		}
	}
	started := time.Now()
	for i := range n {
		u := &unstructured.Unstructured{}
		m := recipe(fmt.Sprintf("r%03d", i), fmt.Sprintf(
			"{modelId: example/many-%03d, hardware: MI300X, precision: bfloat16, backend: vllm, %s, configurations: [{gpuCount: 1}, {gpuCount: 2}]}", i, tinyFacts))
		if err := yaml.Unmarshal([]byte(m), &u.Object); err != nil {
			t.Fatal(err)
		}
		// kubectl takes a second for each.
		if _, err := c.Dynamic().Resource(recipes).Namespace(c.namespace).Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
			t.Fatalf("cannot create recipe %d: %v", i, err)
		}
	}
	t.Logf("applied %d recipes in %s", n, time.Since(started).Round(time.Second))
	said := time.Now()
	c.eventually("all recipes are Ready", 10*time.Minute, func() error {
		// A server that is that busy may not answer in time.
		l, err := c.Dynamic().Resource(recipes).Namespace(c.namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		ready := 0
		for _, u := range l.Items {
			if conditionOf(&u, "Ready").status == "True" {
				ready++
			}
		}
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			t.Logf("%d of %d are Ready after %s", ready, n+1, time.Since(started).Round(time.Second))
		}
		if ready < n+1 {
			time.Sleep(time.Second)
			return fmt.Errorf("%d are", ready)
		}
		return nil
	})
	t.Logf("all Ready after %s", time.Since(started).Round(time.Second))

	// The one that was there is as responsive as ever, and so is a new one.
	started = time.Now()
	c.apply(endpoint("llm", "{model: {id: "+c.model()+"}, service: {port: 9000}}"))
	c.eventually("the edit", soon, func() error {
		if got := str(c.get(services, "llm"), "spec", "ports"); !strings.Contains(got, "9000") {
			return fmt.Errorf("ports are %s", got)
		}
		return nil
	})
	t.Logf("an edit took %s", time.Since(started).Round(100*time.Millisecond))
	c.apply(endpoint("new", "{model: {id: example/many-050}}"))
	c.runs("new", "r050")
	for _, u := range c.list(xendpoints, "", "crossplane.io/claim-namespace="+c.namespace) {
		if got := conditionOf(&u, "Responsive"); got.status == "False" {
			t.Errorf("%s is not responsive: %+v", u.GetName(), got)
		}
	}

	log, err := cp.Logs(controlplane.ProcessFunction)
	if err != nil {
		t.Fatal(err)
	}
	// Endpoints of other tests have other things in their requests, such as pods,
	// and caches have nothing to do with recipes.
	mine := []string{c.composite("llm"), c.composite("new")}
	largest := map[string]int{}
	for _, m := range regexp.MustCompile(`"xr-kind": ?"(\w+)", ?"xr-name": ?"([^"]+)", ?"request-bytes": ?(\d+)`).FindAllStringSubmatch(log, -1) {
		if m[1] == v1alpha1.KindXAIMCache || (m[1] == v1alpha1.KindXAIMEndpoint && !slices.Contains(mine, m[2])) {
			continue
		}
		size, err := strconv.Atoi(m[3])
		if err != nil {
			t.Fatal(err)
		}
		largest[m[1]] = max(largest[m[1]], size)
	}
	if len(largest) < 2 {
		t.Fatalf("the function's log tells no sizes of requests: %v", largest)
	}
	for _, kind := range slices.Sorted(maps.Keys(largest)) {
		t.Logf("largest request of an %s: %d bytes", kind, largest[kind])
		if largest[kind] > 100_000 {
			t.Errorf("a request of an %s had %d bytes", kind, largest[kind])
		}
	}
}
