package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/aim-engine/function-aim/test/controlplane"
)

func TestEndpoint(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a control plane")
	}
	t.Cleanup(func() {
		for _, m := range missed.of {
			t.Log(m)
		}
	})
	cp := controlplane.StartT(t, controlplane.Options{})

	t.Run("Parallel", func(t *testing.T) {
		// All of them together take more GPUs than the plane has.
		moreNodes(t, cp, "mi300x-0", 4)
		// Those that take longest come first.
		for _, tc := range []struct {
			name string
			test func(*testing.T, *controlplane.ControlPlane)
		}{
			{"Silence", testSilence},
			{"OptionalKinds", testOptionalKinds},
			{"CanaryRolledBack", testCanaryRolledBack},
			{"CanaryPromoted", testCanaryPromoted},
			{"Diagnosis", testDiagnosis},
			{"Scaling", testScaling},
			{"SecondCluster", testSecondCluster},
			{"BadEdits", testBadEdits},
			{"CacheChanges", testCacheChanges},
			{"SameName", testSameName},
			{"BetterRecipe", testBetterRecipe},
			{"InvalidRecipe", testInvalidRecipe},
			{"RecipeInUse", testRecipeInUse},
			{"PlatformRecipe", testPlatformRecipe},
			{"Example", testExample},
			{"Change", testChange},
			{"UnknownModel", testUnknownModel},
			{"Refused", testRefused},
			{"NameConflict", testNameConflict},
			{"PodSecurity", testPodSecurity},
			{"LoadBalancer", testLoadBalancer},
			{"RetainedCache", testRetainedCache},
			{"NamesOfAllKinds", testNames},
			{"ImpossibleEdits", testImpossibleEdits},
			{"CompositeNoClaim", testCompositeWithoutClaim},
			{"DeleteWhileInvalid", testDeleteWhileInvalid},
			{"OperatorsRecipe", testOperatorsRecipe},
			{"SameChoice", testSameChoice},
			{"NewerHardware", testNewerHardware},
			{"TooFewGPUs", testTooFewGPUs},
			{"SGLang", testSGLang},
			{"Secured", testSecured},
			{"Cache", testCache},
			{"CacheLife", testCacheLife},
			{"Preload", testPreload},
		} {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				tc.test(t, cp)
			})
		}
	})
	// They take all GPUs of a node, or change the plane for everybody.
	t.Run("KindsGo", func(t *testing.T) { testKindsGo(t, cp) })
	t.Run("OperatorsEndpoints", func(t *testing.T) { testOperatorsEndpoints(t, cp) })
	t.Run("NoGPUFree", func(t *testing.T) { testNoGPUFree(t, cp) })
	t.Run("Metrics", func(t *testing.T) { testMetrics(t, cp) })
	t.Run("Restarts", func(t *testing.T) { testRestarts(t, cp) })
	t.Run("ManyRecipes", func(t *testing.T) { testManyRecipes(t, cp) })
}

// The example of the README, as a new user applies it.
func testExample(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	b, err := os.ReadFile(root(t) + "/examples/qwen3-32b/claim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c.apply(strings.ReplaceAll(string(b), "namespace: default", "namespace: "+c.namespace))
	c.ready("qwen3-32b")
	c.expect("qwen3-32b", "CacheReady", "True", "Bound", "and has Qwen/Qwen3-32B")
	// There are no metrics in this cluster, and that is no reason not to serve.
	c.expect("qwen3-32b", "ScalingReady", "False", "MetricsUnavailable")

	out, err := c.kubectl("", "get", "aimendpoint")
	if err != nil {
		t.Fatal(out, err)
	}
	url := fmt.Sprintf("http://qwen3-32b.%s.svc.cluster.local:8000", c.namespace)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	// AGE is left out.
	want := []string{"qwen3-32b", "Qwen/Qwen3-32B", "qwen3-32b-mi355x-bfloat16-vllm", "MetricsUnavailable", "1", url, "True", "True", "qwen3-32b"}
	if diff := cmp.Diff(want, strings.Fields(lines[len(lines)-1])[:len(want)]); diff != "" {
		t.Errorf("kubectl get aimendpoint: -want columns, +got:\n%s\n%s", diff, out)
	}
	if h := strings.Fields(lines[0]); !slices.Contains(h, "MODEL") || !slices.Contains(h, "RECIPE") || !slices.Contains(h, "REPLICAS") || !slices.Contains(h, "URL") || !slices.Contains(h, "READY") || !slices.Contains(h, "REASON") {
		t.Errorf("kubectl get aimendpoint lacks a column: %v", h)
	}

	for _, o := range []struct {
		gvr  schema.GroupVersionResource
		name string
	}{{deployments, "qwen3-32b"}, {services, "qwen3-32b"}, {configmaps, "qwen3-32b-config"}, {volumes, "qwen3-32b-cache"}, {autoscalers, "qwen3-32b"}} {
		if c.get(o.gvr, o.name) == nil {
			t.Errorf("there is no %s %s", o.gvr.Resource, o.name)
		}
	}
	if got := str(c.get(volumes, "qwen3-32b-cache"), "status", "phase"); got != "Bound" {
		t.Errorf("the cache's volume is %s", got)
	}
	p := c.list(pods, c.namespace, "aim.engine.amd.com/endpoint=qwen3-32b")
	if len(p) != 1 || !strings.HasPrefix(str(&p[0], "spec", "nodeName"), "mi355x") {
		t.Errorf("the pod does not run on the chosen hardware: %v", p)
	}

	c.eventually("connection secret", soon, func() error {
		s := c.get(secrets, "qwen3-32b")
		if s == nil {
			return errNotYet
		}
		got := map[string]string{}
		for _, k := range []string{"url", "model"} {
			v, err := base64.StdEncoding.DecodeString(str(s, "data", k))
			if err != nil {
				return err
			}
			got[k] = string(v)
		}
		if diff := cmp.Diff(map[string]string{"url": url, "model": "Qwen/Qwen3-32B"}, got); diff != "" {
			return fmt.Errorf("-want, +got:\n%s", diff)
		}
		return nil
	})
}

// Another model: another recipe, a rollout, Ready again.
func testChange(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	c.apply(endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}}"))
	c.ready("llm")
	xr := c.composite("llm")

	c.apply(endpoint("llm", "{model: {id: openai/gpt-oss-120b}, recipe: {hardware: MI300X, gpuCount: 2}}"))
	c.eventually("new recipe", soon, func() error {
		e := c.get(endpoints, "llm")
		if got := str(e, "status", "selectedRecipe", "name"); got != "gpt-oss-120b-mi300x-int4-vllm" {
			return fmt.Errorf("recipe is %q", got)
		}
		if got := conditionOf(e, "Ready"); got.status != "True" {
			return fmt.Errorf("Ready is %+v", got)
		}
		return nil
	})
	d := c.get(deployments, "llm")
	cs, _, _ := unstructured.NestedSlice(d.Object, "spec", "template", "spec", "containers")
	args, _, _ := unstructured.NestedStringSlice(cs[0].(map[string]any), "args")
	want := []string{
		"openai/gpt-oss-120b", "--served-model-name", "openai/gpt-oss-120b", "--tensor-parallel-size", "2",
		"--max-model-len", "131072", "--block-size", "64", "--attention-backend", "ROCM_AITER_UNIFIED_ATTN", "--host", "0.0.0.0", "--port", "8000",
	}
	if diff := cmp.Diff(want, args); diff != "" {
		t.Errorf("args: -want, +got:\n%s", diff)
	}
	if got := c.composite("llm"); got != xr {
		t.Errorf("the composite was replaced: %s, was %s", got, xr)
	}
	c.eventually("pod of the new recipe", soon, func() error {
		p := c.list(pods, c.namespace, "")
		if len(p) != 1 || !strings.HasPrefix(str(&p[0], "spec", "nodeName"), "mi300x") {
			return fmt.Errorf("there are %d pods", len(p))
		}
		return nil
	})
}

// Replicas are never reset, whoever decides them.
func testScaling(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	spec := func(scaling string) string {
		return endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, scaling: "+scaling+"}")
	}
	replicas := func(want string) func() error {
		return func() error {
			d := c.get(deployments, "llm")
			if got := str(d, "spec", "replicas"); got != want {
				return fmt.Errorf("spec.replicas is %s", got)
			}
			if got := str(d, "status", "availableReplicas"); got != want {
				return fmt.Errorf("status.availableReplicas is %q", got)
			}
			return nil
		}
	}

	c.apply(spec("{minReplicas: 3, maxReplicas: 3}"))
	c.eventually("3 replicas", soon, replicas("3"))
	c.ready("llm")
	c.apply(spec("{minReplicas: 2, maxReplicas: 2}"))
	c.eventually("2 replicas", soon, replicas("2"))

	c.apply(spec("{minReplicas: 2, maxReplicas: 4}"))
	c.eventually("an autoscaler, and nothing else that sets replicas", soon, func() error {
		if c.get(autoscalers, "llm") == nil {
			return fmt.Errorf("there is no HPA")
		}
		for _, o := range c.objectsOf("llm") {
			if o.GetAnnotations()["crossplane.io/composition-resource-name"] == "replicas-object" {
				return fmt.Errorf("the replicas' Object is still there")
			}
		}
		return nil
	})
	c.always("switching autoscaling on must not change replicas", 10*time.Second, replicas("2"))

	// What an autoscaler does.
	if out, err := c.kubectl("", "scale", "deployment", "llm", "--replicas=4"); err != nil {
		t.Fatal(out, err)
	}
	c.eventually("4 replicas", soon, replicas("4"))
	c.always("nothing but the autoscaler decides replicas", 40*time.Second, replicas("4"))

	// A new limit is no reason to touch them either.
	c.apply(spec("{minReplicas: 2, maxReplicas: 5}"))
	c.eventually("new limit", soon, func() error {
		if got := str(c.get(autoscalers, "llm"), "spec", "maxReplicas"); got != "5" {
			return fmt.Errorf("maxReplicas is %s", got)
		}
		return nil
	})
	c.always("a new limit must not change replicas", 5*time.Second, replicas("4"))

	c.apply(spec("{minReplicas: 4, maxReplicas: 4}"))
	c.eventually("no autoscaler", soon, func() error {
		if c.get(autoscalers, "llm") != nil {
			return fmt.Errorf("the HPA is still there")
		}
		return nil
	})
	c.always("switching autoscaling off must not change replicas that are as wanted", 10*time.Second, replicas("4"))
	c.apply(spec("{minReplicas: 1, maxReplicas: 1}"))
	c.eventually("1 replica", soon, replicas("1"))
	c.ready("llm")
}

// A model that nobody knows: the claim says so, and what to do.
func testUnknownModel(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	c.apply(endpoint("llm", "{model: {id: Qwen/Qwen3-32}}"))
	applied := time.Now()
	c.expect("llm", "RecipeSelected", "False", "NoRecipeForModel", "did you mean Qwen/Qwen3-32B?", "spec.model.id")
	t.Logf("the claim said why %s after it was applied", time.Since(applied).Round(time.Millisecond))
	c.expect("llm", "WorkloadReady", "False", "Starting")
	c.expect("llm", "Ready", "False", "Waiting")
	if got := str(c.get(endpoints, "llm"), "status", "reason"); got != "NoRecipeForModel" {
		t.Errorf("status.reason is %q", got)
	}
	if got := c.objectsOf("llm"); len(got) != 0 {
		t.Errorf("%d objects were composed", len(got))
	}
	c.apply(endpoint("llm", "{model: {id: Qwen/Qwen3-32B}}"))
	c.ready("llm")

	c.apply(endpoint("none", "{model: {id: Qwen/Qwen3-32B}, recipe: {precision: int8}}"))
	c.expect("none", "RecipeSelected", "False", "NoRecipeMatches", "precision int8", "MI300X")
}

// kubectl apply refuses mistakes with a message that helps.
func testRefused(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	for name, tc := range map[string]struct{ spec, want string }{
		"NineGPUs":    {"{model: {id: Qwen/Qwen3-32B}, recipe: {gpuCount: 9}}", "spec.recipe.gpuCount: Invalid value: 9: must be 1 to 8"},
		"BadQuantity": {"{model: {id: Qwen/Qwen3-32B}, resources: {memory: 16GB}}", "spec.resources.memory: Invalid value: \"16GB\": must be a quantity such as 500m, 4 or 16Gi"},
		"BadModel":    {"{model: {id: qwen3}}", "spec.model.id: Invalid value: \"qwen3\": must be a Hugging Face model id of the form org/name"},
		"MinAboveMax": {"{model: {id: Qwen/Qwen3-32B}, scaling: {minReplicas: 3, maxReplicas: 2}}", "must not be below minReplicas"},
		"UnknownKey":  {"{model: {id: Qwen/Qwen3-32B}, recipes: {gpuCount: 1}}", "unknown field \"spec.recipes\""},
	} {
		out, err := c.kubectl(endpoint(strings.ToLower(name), tc.spec), "apply", "-f", "-")
		if err == nil || !strings.Contains(out, tc.want) {
			t.Errorf("%s: kubectl apply must say %q, but says (%v): %s", name, tc.want, err, out)
		}
	}
}

// Not enough free GPUs: the scheduler's words are on the claim.
func testNoGPUFree(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	// There is no node with more than 8, and the inventory is not known.
	c.apply(endpoint("llm", "{model: {id: meta-llama/Llama-3.1-70B-Instruct}, recipe: {hardware: MI355X, gpuCount: 8}, scaling: {minReplicas: 2, maxReplicas: 2}}"))
	c.expect("llm", "WorkloadReady", "False", "WaitingForGPU", "Insufficient amd.com/gpu", "nodes are available", "recipe.gpuCount")
	if got := str(c.get(endpoints, "llm"), "status", "reason"); got != "WaitingForGPU" {
		t.Errorf("status.reason is %q", got)
	}
}

// A stranger's Deployment is not touched.
func testNameConflict(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	c.apply(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: llm, labels: {app: stranger}}
spec:
  replicas: 0
  selector: {matchLabels: {app: stranger}}
  template:
    metadata: {labels: {app: stranger}}
    spec: {containers: [{name: stranger, image: stranger}]}
`)
	c.eventually("the stranger is settled", soon, func() error {
		if d := c.get(deployments, "llm"); str(d, "status", "observedGeneration") != "1" {
			return errNotYet
		}
		return nil
	})
	before := c.get(deployments, "llm")
	c.apply(endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}}"))
	c.expect("llm", "WorkloadReady", "False", "NameConflict", "there is already a Deployment llm", "delete it, or give the endpoint another name")
	c.always("nothing is composed, and the stranger is as it was", 5*time.Second, func() error {
		if got := c.objectsOf("llm"); len(got) != 0 {
			return fmt.Errorf("%d objects were composed", len(got))
		}
		if diff := cmp.Diff(before, c.get(deployments, "llm")); diff != "" {
			return fmt.Errorf("-before, +after:\n%s", diff)
		}
		return nil
	})
	if out, err := c.kubectl("", "delete", "deployment", "llm"); err != nil {
		t.Fatal(out, err)
	}
	c.ready("llm")
}

// Two claims of one name in two namespaces live side by side, and leave nothing
// behind but the volumes that are retained, which are used again.
func testSameName(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	other := *c
	other.namespace = c.namespace + "-2"
	other.create(other.namespace)
	both := []*cluster{c, &other}
	manifest := endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: {enabled: true}, scaling: {maxReplicas: 2}}")
	uids := map[string]string{}
	for _, c := range both {
		c.apply(manifest)
	}
	for _, c := range both {
		c.ready("llm")
		uids[c.namespace] = str(c.get(volumes, "llm-cache"), "metadata", "uid")
		if got, want := str(c.get(endpoints, "llm"), "status", "url"), "http://llm."+c.namespace+".svc.cluster.local:8000"; got != want {
			t.Errorf("status.url is %s, want %s", got, want)
		}
	}

	for _, c := range both {
		if out, err := c.kubectl("", "delete", "aimendpoint", "llm", "--timeout=60s"); err != nil {
			t.Fatal(out, err)
		}
	}
	for _, c := range both {
		c.eventually("all but the volume is gone", soon, func() error {
			for _, gvr := range []schema.GroupVersionResource{deployments, services, pods, autoscalers} {
				if l := c.list(gvr, c.namespace, ""); len(l) > 0 {
					return fmt.Errorf("there is still %s %s", gvr.Resource, l[0].GetName())
				}
			}
			if c.get(configmaps, "llm-config") != nil {
				return fmt.Errorf("the ConfigMap is still there")
			}
			if l := c.objectsOf("llm"); len(l) > 0 {
				return fmt.Errorf("there is still an Object %s", l[0].GetName())
			}
			return nil
		})
		c.always("the volume stays", 3*time.Second, func() error {
			if got := str(c.get(volumes, "llm-cache"), "metadata", "uid"); got != uids[c.namespace] {
				return fmt.Errorf("its uid is %q, was %q", got, uids[c.namespace])
			}
			return nil
		})
	}

	c.apply(manifest)
	c.ready("llm")
	c.expect("llm", "CacheReady", "True", "Bound")
	if got := str(c.get(volumes, "llm-cache"), "metadata", "uid"); got != uids[c.namespace] {
		t.Errorf("the retained volume is not used again: its uid is %q, was %q", got, uids[c.namespace])
	}

	// One that is not to be retained goes.
	c.apply(endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: {enabled: true, retain: false}}"))
	c.eventually("the volume's Object may delete it", soon, func() error {
		for _, o := range c.objectsOf("llm") {
			if str(&o, "spec", "forProvider", "manifest", "kind") == "PersistentVolumeClaim" && !strings.Contains(str(&o, "spec", "managementPolicies"), "Create") {
				return nil
			}
		}
		return errNotYet
	})
	c.ready("llm")
	if out, err := c.kubectl("", "delete", "aimendpoint", "llm", "--timeout=60s"); err != nil {
		t.Fatal(out, err)
	}
	c.eventually("the volume is gone", soon, func() error {
		if c.get(volumes, "llm-cache") != nil {
			return errNotYet
		}
		return nil
	})
}

// Pods are admitted where Pod Security is enforced.
func testPodSecurity(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp, "pod-security.kubernetes.io/enforce=baseline")
	c.apply(endpoint("root", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}}"))
	c.ready("root")

	restricted := *c
	restricted.namespace = c.namespace + "-restricted"
	restricted.create(restricted.namespace, "pod-security.kubernetes.io/enforce=restricted")
	restricted.apply(endpoint("root", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}}"))
	restricted.expect("root", "WorkloadReady", "False", "ApplyFailed", "violates PodSecurity", "runAsNonRoot")
	restricted.apply(endpoint("user", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, security: {podSecurityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 1000}, supplementalGroups: [44, 109]}}"))
	restricted.ready("user")
	if out, err := restricted.kubectl("", "delete", "aimendpoint", "--all"); err != nil {
		t.Fatal(out, err)
	}
}

// A volume's size and class follow as far as Kubernetes allows, and nothing
// wedges where it does not.
func testCacheChanges(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	spec := func(cache string) string {
		return endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: "+cache+"}")
	}
	c.apply(spec("{enabled: true, size: 50Gi, retain: false}"))
	c.ready("llm")
	c.apply(spec("{enabled: true, size: 20Gi, retain: false}"))
	c.expect("llm", "CacheReady", "False", "ShrinkIgnored", "50Gi", "20Gi")
	c.ready("llm")
	c.apply(spec("{enabled: true, size: 80Gi, retain: false}"))
	c.expect("llm", "CacheReady", "False", "ExpansionNotSupported", "50Gi", "80Gi", "standard")
	c.ready("llm")
	c.apply(spec("{enabled: true, size: 50Gi, storageClass: expandable, retain: false}"))
	c.expect("llm", "CacheReady", "False", "StorageClassImmutable", "standard", "expandable", "delete")
	c.ready("llm")
	c.apply(spec("{enabled: true, size: 50Gi, accessMode: ReadWriteMany, retain: false}"))
	c.expect("llm", "CacheReady", "False", "StorageClassImmutable", "ReadWriteMany")
	c.ready("llm")

	c.apply(endpoint("grows", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: {enabled: true, size: 50Gi, storageClass: expandable}}"))
	c.ready("grows")
	c.apply(endpoint("grows", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: {enabled: true, size: 80Gi, storageClass: expandable}}"))
	c.eventually("the volume's request grows", soon, func() error {
		if got := str(c.get(volumes, "grows-cache"), "spec", "resources", "requests", "storage"); got != "80Gi" {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})

	// A typo is told of, and what to do about it.
	typo := "{enabled: true, size: 50Gi, storageClass: expandible}"
	c.apply(endpoint("typo", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: "+typo+"}"))
	c.apply(aimCache("typo", "{storage: {size: 50Gi, storageClass: expandible}}"))
	c.expect("typo", "CacheReady", "False", "StorageClassNotFound", `"expandible"`, "kubectl get storageclass", "delete the PersistentVolumeClaim typo-cache")
	c.expectOf(caches, "typo", "CacheReady", "False", "StorageClassNotFound", `"expandible"`, "kubectl get storageclass", "delete the PersistentVolumeClaim typo-storage")
	typo = strings.ReplaceAll(typo, "expandible", "expandable")
	c.apply(endpoint("typo", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: "+typo+"}"))
	c.apply(aimCache("typo", "{storage: {size: 50Gi, storageClass: expandable}}"))
	for _, n := range []string{"typo-cache", "typo-storage"} {
		c.eventually("what is wanted has reached the Object of "+n, soon, func() error {
			for _, o := range c.list(objects, "", "crossplane.io/claim-namespace="+c.namespace) {
				if str(&o, "spec", "forProvider", "manifest", "metadata", "name") == n && str(&o, "spec", "forProvider", "manifest", "spec", "storageClassName") == "expandable" {
					return nil
				}
			}
			return errNotYet
		})
		if out, err := c.kubectl("", "delete", "pvc", n, "--timeout=60s"); err != nil {
			t.Fatal(out, err)
		}
	}
	c.ready("typo")
	c.expect("typo", "CacheReady", "True", "Bound")
	c.expectOf(caches, "typo", "CacheReady", "True", "Bound")

	// Deletion works from here.
	if out, err := c.kubectl("", "delete", "aimendpoint", "llm", "--timeout=60s"); err != nil {
		t.Fatal(out, err)
	}
	c.eventually("all is gone", soon, func() error {
		if l := c.objectsOf("llm"); len(l) > 0 {
			return fmt.Errorf("there is still an Object %s", l[0].GetName())
		}
		if c.get(volumes, "llm-cache") != nil {
			return fmt.Errorf("the volume is still there")
		}
		return nil
	})
}

// A volume that was retained is used as it is, also by an endpoint that would
// have made another.
func testRetainedCache(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	c.apply(endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: {enabled: true, size: 50Gi}}"))
	c.ready("llm")
	c.expect("llm", "CacheReady", "True", "Bound")
	if out, err := c.kubectl("", "delete", "aimendpoint", "llm", "--timeout=60s"); err != nil {
		t.Fatal(out, err)
	}
	c.eventually("its objects are gone", soon, func() error {
		if l := c.objectsOf("llm"); len(l) > 0 {
			return fmt.Errorf("there is still an Object %s", l[0].GetName())
		}
		if c.get(deployments, "llm") != nil {
			return fmt.Errorf("the Deployment is still there")
		}
		return nil
	})
	c.apply(endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: {enabled: true, size: 80Gi, retain: false}}"))
	c.ready("llm")
	c.expect("llm", "CacheReady", "False", "ExpansionNotSupported", "50Gi", "80Gi")
	if out, err := c.kubectl("", "delete", "aimendpoint", "llm", "--timeout=60s"); err != nil {
		t.Fatal(out, err)
	}
	c.eventually("nothing is wedged", soon, func() error {
		if l := c.objectsOf("llm"); len(l) > 0 {
			return fmt.Errorf("there is still an Object %s", l[0].GetName())
		}
		return nil
	})
}

// A load balancer without an address is waited for.
func testLoadBalancer(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	c.apply(endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, service: {type: LoadBalancer, port: 80, targetPort: 9000, annotations: {example.com/pool: gpu}}}"))
	c.expect("llm", "ServiceReady", "False", "WaitingForLoadBalancer")
	c.expect("llm", "WorkloadReady", "True", "Available")
	c.expect("llm", "Ready", "False", "Waiting")

	s := c.get(services, "llm")
	if err := unstructured.SetNestedSlice(s.Object, []any{map[string]any{"ip": "192.0.2.7", "ipMode": "VIP"}}, "status", "loadBalancer", "ingress"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Dynamic().Resource(services).Namespace(c.namespace).UpdateStatus(context.Background(), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.ready("llm")
	if got, want := str(c.get(endpoints, "llm"), "status", "endpoints", "loadBalancer"), "http://192.0.2.7:80"; got != want {
		t.Errorf("status.endpoints.loadBalancer is %q, want %q", got, want)
	}

	c.apply(endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, service: {type: ClusterIP}}"))
	c.eventually("back to a cluster IP", soon, func() error {
		if got := str(c.get(services, "llm"), "spec", "type"); got != "ClusterIP" {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
	c.ready("llm")
}

// Names that a claim may have and a Service may not.
func testNames(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	long := strings.Repeat("a", 63)
	for _, n := range []string{"llama-3.1-8b", "1st", long} {
		c.apply(endpoint(n, "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: {enabled: true}, scaling: {maxReplicas: 2}}"))
	}
	c.ready("llama-3.1-8b", "1st", long)
}

// Edits that cannot be: what runs goes on, the claim says why, and undoing the
// edit recovers.
func testImpossibleEdits(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	good := endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}}")
	c.apply(good)
	c.ready("llm")
	before := str(c.get(deployments, "llm"), "spec", "template")
	pod := c.list(pods, c.namespace, "")[0].GetUID()

	for reason, spec := range map[string]string{
		"NoRecipeForModel": "{model: {id: no/such-model}}",
		"NoRecipeMatches":  "{model: {id: Qwen/Qwen3-8B}, recipe: {precision: int8}}",
	} {
		c.apply(endpoint("llm", spec))
		c.expect("llm", "RecipeSelected", "False", reason, "keeps running with recipe qwen3-8b-")
		c.expect("llm", "WorkloadReady", "True", "Available")
		c.always("the workload goes on", 3*time.Second, func() error {
			if diff := cmp.Diff(before, str(c.get(deployments, "llm"), "spec", "template")); diff != "" {
				return fmt.Errorf("pod template: -before, +after:\n%s", diff)
			}
			if p := c.list(pods, c.namespace, ""); len(p) != 1 || p[0].GetUID() != pod {
				return fmt.Errorf("the pod was replaced")
			}
			return nil
		})
		c.apply(good)
		c.expect("llm", "RecipeSelected", "True", "Selected")
		c.ready("llm")
	}
}

// A composite that was made without a claim cannot tell where to go, and says
// so.
func testCompositeWithoutClaim(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	name := "xr-" + c.namespace
	c.apply("apiVersion: aim.engine.amd.com/v1alpha1\nkind: XAIMEndpoint\nmetadata: {name: " + name + "}\nspec: {model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}}\n")
	c.eventually("the composite says why", soon, func() error {
		x, err := c.Dynamic().Resource(xendpoints).Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if got := conditionOf(x, "Synced"); got.status != "False" || !strings.Contains(got.message, "has no claim") {
			return fmt.Errorf("Synced is %+v", got)
		}
		return nil
	})
	if out, err := c.kubectl("", "delete", "xaimendpoint", name, "--timeout=60s"); err != nil {
		t.Fatal(out, err)
	}
}

// A claim can be deleted whatever state it is in.
func testDeleteWhileInvalid(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	c.apply(endpoint("unknown", "{model: {id: no/such-model}}"))
	c.apply(endpoint("waiting", "{model: {id: Qwen/Qwen3-8B}, recipe: {precision: int8}}"))
	c.apply(endpoint("pulling", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, image: {tag: v1-fail-image-pull}}"))
	c.apply(endpoint("kept", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}}"))
	c.ready("kept")
	c.apply(endpoint("kept", "{model: {id: no/such-model}}"))
	c.expect("unknown", "RecipeSelected", "False", "NoRecipeForModel")
	c.expect("waiting", "RecipeSelected", "False", "NoRecipeMatches")
	c.expect("pulling", "WorkloadReady", "False", "ImagePullFailed")
	c.expect("kept", "RecipeSelected", "False", "NoRecipeForModel")
	if out, err := c.kubectl("", "delete", "aimendpoint", "--all", "--timeout=90s"); err != nil {
		t.Fatal(out, err)
	}
	c.eventually("all is gone", soon, func() error {
		for _, n := range []string{"unknown", "waiting", "pulling", "kept"} {
			if l := c.objectsOf(n); len(l) > 0 {
				return fmt.Errorf("there is still an Object %s", l[0].GetName())
			}
		}
		if l := c.list(deployments, c.namespace, ""); len(l) > 0 {
			return fmt.Errorf("there is still a Deployment %s", l[0].GetName())
		}
		return nil
	})
}

// With nothing changing, nothing is written.
func testSilence(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	c.apply(endpoint("one", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: {enabled: true}}"))
	c.apply(endpoint("two", "{model: {id: Qwen/Qwen3-32B}, scaling: {maxReplicas: 3}, service: {type: NodePort}}"))
	c.apply(endpoint("unknown", "{model: {id: no/such-model}}"))
	c.apply(recipe("mine", "{modelId: acme/own, hardware: MI300X, precision: fp8, backend: vllm, "+
		"modelFacts: {parametersBillion: 7.5, layers: 32, kvHeads: 8, attentionHeads: 32, headDim: 128, maxContextLength: 8192, weightsGiB: 8}, "+
		"configurations: [{gpuCount: 1, args: [--trust-remote-code, 'true'], env: [{name: A, value: b}], resources: {requests: {cpu: 4, memory: 64.0Gi}, limits: {cpu: '8', amd.com/gpu: 1}}}]}"))
	c.apply(recipe("wrong", "{modelId: acme/own, hardware: MI210, precision: fp8, backend: vllm, configurations: [{gpuCount: 1}]}"))
	c.apply(endpoint("own", "{model: {id: acme/own}}"))
	c.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {key: abc}\n")
	c.apply(endpoint("all", `{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, scaling: {minReplicas: 2}, monitoring: {enabled: true, prometheus: {enabled: false}},
		security: {serviceAccount: {create: true}, apiKeySecretRef: {name: keys, key: key}, networkPolicy: {enabled: true}},
		service: {route: {hostname: all.example.com, ingressClass: nginx}}, deployment: {canary: {enabled: true, duration: 5}},
		writeConnectionSecretToRef: {name: all-connection}}`))
	c.ready("one", "two", "own", "all")
	// One that was rolled back is silent, too.
	c.apply(endpoint("all", `{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, scaling: {minReplicas: 2}, monitoring: {enabled: true, prometheus: {enabled: false}},
		security: {serviceAccount: {create: true}, apiKeySecretRef: {name: keys, key: key}, networkPolicy: {enabled: true}},
		service: {route: {hostname: all.example.com, ingressClass: nginx}}, deployment: {canary: {enabled: true, duration: 5}}, image: {tag: v1-fail-crash},
		writeConnectionSecretToRef: {name: all-connection}}`))
	c.expect("all", "CanaryHealthy", "False", "RolledBack")
	c.recipeReady("mine")
	c.expectOf(recipes, "wrong", "Valid", "False", "ValidationFailed")
	c.expect("two", "ScalingReady", "False", "MetricsUnavailable")
	c.expect("unknown", "RecipeSelected", "False", "NoRecipeForModel")

	versions := func() map[string]string {
		out := map[string]string{}
		add := func(gvr schema.GroupVersionResource, items []unstructured.Unstructured) {
			for _, u := range items {
				out[gvr.Resource+"/"+u.GetName()] = u.GetResourceVersion()
			}
		}
		for _, gvr := range []schema.GroupVersionResource{endpoints, deployments, services, configmaps, volumes, pods, autoscalers, accounts, budgets, policies, ingresses, secrets} {
			add(gvr, c.list(gvr, c.namespace, ""))
		}
		claims := "crossplane.io/claim-namespace=" + c.namespace
		add(objects, c.list(objects, "", claims))
		add(xendpoints, c.list(xendpoints, "", claims))
		add(recipes, c.list(recipes, c.namespace, ""))
		add(xrecipes, c.list(xrecipes, "", claims))
		return out
	}
	// Let everything come to rest first: the autoscaler's Object is looked at
	// again every 30 s while there are no metrics.
	before := versions()
	for rested, began := time.Now(), time.Now(); time.Since(rested) < 45*time.Second; time.Sleep(time.Second) {
		if now := versions(); !cmp.Equal(before, now) {
			before, rested = now, time.Now()
		}
		if time.Since(began) > 5*time.Minute {
			t.Fatal("it does not come to rest")
		}
	}
	if len(before) < 30 {
		t.Fatalf("there are only %d objects: %v", len(before), before)
	}
	const minutes = 3
	for i := range minutes * 6 {
		time.Sleep(10 * time.Second)
		if i%3 == 2 {
			t.Logf("silent for %d s", (i+1)*10)
		}
		if diff := cmp.Diff(before, versions()); diff != "" {
			t.Fatalf("somebody wrote after %d s: -before, +after:\n%s", (i+1)*10, diff)
		}
	}
}

// Every part of the control plane may die at any time.
func testRestarts(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	manifest := func(name string) string {
		return endpoint(name, "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: {enabled: true}}")
	}
	c.apply(manifest("llm"))
	changes := func(model string) string {
		return endpoint("changes", "{model: {id: "+model+"}, recipe: {hardware: MI300X}, deployment: {canary: {enabled: true, duration: 20}}}")
	}
	c.apply(changes("Qwen/Qwen3-8B"))
	c.ready("llm", "changes")
	d, stable := c.get(deployments, "llm"), c.get(deployments, "changes")
	// The function dies in the middle of a canary: whoever is asked next goes on
	// from what the status says and what is live.
	c.apply(changes("Qwen/Qwen3-32B"))
	c.eventually("the canary serves", soon, func() error {
		if got := str(c.get(deployments, "changes-canary"), "status", "readyReplicas"); got != "1" {
			return fmt.Errorf("%q of its replicas are ready", got)
		}
		return nil
	})
	canary := c.get(deployments, "changes-canary")
	for _, p := range []string{controlplane.ProcessFunction, controlplane.ProcessProvider, controlplane.ProcessCrossplane} {
		if err := cp.KillProcess(p); err != nil {
			t.Fatal(err)
		}
		// What runs does not need it. What is new waits.
		c.apply(manifest("during-" + p))
		c.always(p+" is gone, and the workload stays", 5*time.Second, func() error {
			if got := c.get(deployments, "llm"); got == nil || got.GetUID() != d.GetUID() || str(got, "status", "availableReplicas") != "1" {
				return fmt.Errorf("the Deployment is %v", got)
			}
			if p == controlplane.ProcessFunction {
				return c.untouched(stable)()
			}
			return nil
		})
		if err := cp.StartProcess(p); err != nil {
			t.Fatal(err)
		}
		c.ready("llm", "during-"+p)
		if p == controlplane.ProcessFunction {
			if got := c.get(deployments, "changes-canary"); got != nil && got.GetUID() != canary.GetUID() {
				t.Error("the canary was started again")
			}
			c.expect("changes", "CanaryHealthy", "True", "Promoted")
			if got := modelOf(c.get(deployments, "changes")); got != "Qwen/Qwen3-32B" {
				t.Errorf("the workload runs %q", got)
			}
			c.events("changes", "Canary", "trying model Qwen/Qwen3-32B on a canary", "promoting the canary", "promoted the canary")
		}
		if got := c.get(deployments, "llm"); got.GetGeneration() != d.GetGeneration() {
			t.Errorf("%s: the Deployment was changed: generation %d, was %d", p, got.GetGeneration(), d.GetGeneration())
		}
		// And it works: a change goes through.
		c.apply(endpoint("during-"+p, "{model: {id: Qwen/Qwen3-32B}, recipe: {hardware: MI300X}}"))
		c.eventually("a change goes through", soon, func() error {
			if got := str(c.get(endpoints, "during-"+p), "status", "servedModelName"); got != "Qwen/Qwen3-32B" {
				return fmt.Errorf("the model is %q", got)
			}
			return nil
		})
		c.ready("during-" + p)
		if out, err := c.kubectl("", "delete", "aimendpoint", "during-"+p, "--timeout=60s"); err != nil {
			t.Fatal(out, err)
		}
	}
}
