package e2e

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/aim-engine/function-aim/fn/hub/hubtest"
	"github.com/aim-engine/function-aim/test/controlplane"
)

// jobOf an endpoint's download, once there is one that is not any of some.
func (c *cluster) jobOf(endpoint string, not ...string) string {
	c.t.Helper()
	name := ""
	c.eventually("Job that downloads for "+endpoint, soon, func() error {
		for _, j := range c.list(jobs, c.namespace, "aim.engine.amd.com/endpoint="+endpoint) {
			if n := j.GetName(); !strings.Contains(strings.Join(not, " "), n) {
				name = n
				return nil
			}
		}
		return errNotYet
	})
	return name
}

// An endpoint's own volume: the model is there before its server takes GPUs, and
// before another model replaces it. Downloads are real, as in testCache.
func testPreload(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	hub := hubtest.New(t, map[string]hubtest.Model{"Qwen/Qwen3-8B": hubModel(3 << 20), "Qwen/Qwen3-32B": func() hubtest.Model {
		m := hubModel(2 << 20)
		m.Gated, m.Allowed = true, []string{secretValue}
		return m
	}()})
	a := newAgents(c, "llm", hub)
	c.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: hf}\nstringData: {token: " + secretValue + "}\n")
	spec := func(model, more string) string {
		return endpoint("llm", "{model: {id: "+model+"}, recipe: {hardware: MI300X}, cache: {enabled: true, size: 50Gi}, "+
			"deployment: {env: [{name: HF_ENDPOINT, value: '"+hub.URL+"'}]}"+more+"}")
	}

	c.apply(spec("Qwen/Qwen3-8B", ""))
	first := c.jobOf("llm")
	c.expect("llm", "CacheReady", "False", "Preloading", first)
	c.expect("llm", "WorkloadReady", "False", "Preloading", "the server starts once Qwen/Qwen3-8B is downloaded")
	c.always("no GPU waits for the download", 3*time.Second, func() error {
		if c.get(deployments, "llm") != nil {
			return errors.New("there is a Deployment")
		}
		return nil
	})
	pod, err := a.play(first)
	if err != nil {
		t.Fatal(err)
	}
	if pod.Spec.NodeName == "" || !strings.HasPrefix(pod.Spec.NodeName, "mi300x-") {
		t.Errorf("the volume's first pod is on node %q, where the server cannot be", pod.Spec.NodeName)
	}
	c.ready("llm")
	c.expect("llm", "CacheReady", "True", "Bound", "and has Qwen/Qwen3-8B")
	server := c.get(deployments, "llm")

	// What cannot be downloaded stops nothing, and says why.
	c.apply(spec("Qwen/Qwen3-32B", ""))
	second := c.jobOf("llm", first)
	if _, err := a.play(second); err == nil {
		t.Fatal("a gated model was downloaded without a token")
	}
	t.Log(c.expect("llm", "CacheReady", "False", "PreloadFailed", "Qwen/Qwen3-32B", "HF_TOKEN", "cache.preload"))
	c.expect("llm", "WorkloadReady", "False", "ModelDownloadFailed", "the workload keeps running as it was")
	c.expect("llm", "Ready", "False", "Waiting")
	c.always("what served goes on", 3*time.Second, c.untouched(server))
	// The message says how to try again.
	failed := str(c.get(jobs, second), "metadata", "uid")
	if out, err := c.kubectl("", "delete", "job", second, "--timeout=60s"); err != nil {
		t.Fatal(out, err)
	}
	if _, err := a.play(second); err == nil || str(c.get(jobs, second), "metadata", "uid") == failed {
		t.Fatalf("the download is not tried again: %v", err)
	}
	c.expect("llm", "CacheReady", "False", "PreloadFailed", "Qwen/Qwen3-32B", "HF_TOKEN")

	c.apply(spec("Qwen/Qwen3-32B", ", hfTokenSecretRef: {name: hf, key: token}"))
	third := c.jobOf("llm", first, second)
	c.always("what served goes on", 3*time.Second, c.untouched(server))
	if _, err := a.play(third); err != nil {
		t.Fatal(err)
	}
	c.ready("llm")
	c.expect("llm", "CacheReady", "True", "Bound", "and has Qwen/Qwen3-32B")
	if got := str(c.get(deployments, "llm"), "spec", "template", "spec", "containers"); !strings.Contains(got, "Qwen/Qwen3-32B") {
		t.Errorf("the server's container is %s", got)
	}
	for _, m := range []string{"Qwen--Qwen3-8B", "Qwen--Qwen3-32B"} {
		if files, _ := filepath.Glob(filepath.Join(a.home, "hub", "models--"+m, "snapshots", "*", "model.safetensors")); len(files) != 1 {
			t.Errorf("%s is not in the volume: %v", m, files)
		}
	}
	c.eventually("Jobs that are not needed are gone", soon, func() error {
		if l := c.list(jobs, c.namespace, ""); len(l) != 1 || l[0].GetName() != third {
			return fmt.Errorf("there are %d", len(l))
		}
		return nil
	})

	// A volume that waits for its first pod is where the server finds GPUs. The
	// download goes on beside it, on the same node.
	c.apply(endpoint("waits", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: {enabled: true, size: 50Gi, storageClass: standard-wait}, "+
		"deployment: {env: [{name: HF_ENDPOINT, value: '"+hub.URL+"'}]}}"))
	c.ready("waits")
	c.expect("waits", "CacheReady", "False", "Preloading")
	a.home = t.TempDir()
	pod, err = a.play(c.jobOf("waits"))
	if err != nil {
		t.Fatal(err)
	}
	c.expect("waits", "CacheReady", "True", "Bound", "and has Qwen/Qwen3-8B")
	for _, p := range c.list(pods, c.namespace, "aim.engine.amd.com/endpoint=waits") {
		if got := str(&p, "spec", "nodeName"); got != pod.Spec.NodeName {
			t.Errorf("the server is on node %s, and the download on %s: they cannot both mount the volume", got, pod.Spec.NodeName)
		}
	}

	if out, err := c.kubectl("", "delete", "aimendpoint", "--all", "--timeout=90s"); err != nil {
		t.Fatal(out, err)
	}
	c.eventually("all but the volumes is gone", soon, func() error {
		if l := c.list(jobs, c.namespace, ""); len(l) > 0 {
			return fmt.Errorf("there is still a Job %s", l[0].GetName())
		}
		if l := c.list(pods, c.namespace, ""); len(l) > 0 {
			return fmt.Errorf("there is still a pod %s", l[0].GetName())
		}
		if l := c.list(volumes, c.namespace, ""); len(l) != 2 {
			return fmt.Errorf("there are %d volumes", len(l))
		}
		return nil
	})
}

// What a cache goes through between its first download and its end: a change of
// its Jobs in the middle of a download, a volume that grows, endpoints that have
// to share a node, and a namespace that goes away with all of it.
func testCacheLife(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	c.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: hf}\nstringData: {token: " + secretValue + "}\n")
	a := newAgents(c, "models", hubtest.New(t, map[string]hubtest.Model{"by-hand/a": hubModel(1 << 20), "by-hand/b": hubModel(1 << 20), "by-hand/c": hubModel(1 << 20)}))
	models := "{id: by-hand/a, preload: true}, {id: by-hand/b, preload: true}"
	spec := func(size, more string) string {
		return aimCache("models", "{storage: {size: "+size+", storageClass: expandable}, models: ["+models+"], cleanup: {enabled: true}"+more+"}")
	}
	// names of Jobs, and whether they wait for their turn.
	names := func() map[string]bool {
		out := map[string]bool{}
		for _, j := range c.list(jobs, c.namespace, "aim.engine.amd.com/cache=models") {
			out[j.GetName()] = str(&j, "spec", "suspend") == "true"
		}
		return out
	}
	// turn of a Job: the one that does not wait, nor is any of some.
	turn := func(not ...string) string {
		t.Helper()
		name := ""
		c.eventually("a Job's turn", soon, func() error {
			for n, waits := range names() {
				if !waits && !slices.Contains(not, n) {
					name = n
					return nil
				}
			}
			return errNotYet
		})
		return name
	}
	c.apply(spec("50Gi", ""))
	c.expectOf(caches, "models", "ModelsReady", "False", "Preloading", "by-hand/a", "by-hand/b")
	var before map[string]bool
	c.eventually("one download at a time", soon, func() error {
		before = names()
		waiting := 0
		for _, suspended := range before {
			if suspended {
				waiting++
			}
		}
		if len(before) != 2 || waiting != 1 {
			return fmt.Errorf("there are %v", before)
		}
		return nil
	})

	// Another template is another Job, and the old one ends.
	c.apply(spec("50Gi", ", hfTokenSecretRef: {name: hf, key: token}"))
	c.eventually("the Jobs are others", soon, func() error {
		after := names()
		for n := range after {
			if _, ok := before[n]; ok {
				return fmt.Errorf("%s is still there", n)
			}
		}
		if len(after) != 2 {
			return fmt.Errorf("there are %v", after)
		}
		return nil
	})
	c.eventually("the pod of the old one ends", soon, func() error {
		l := c.list(pods, c.namespace, "aim.engine.amd.com/cache=models")
		if len(l) != 1 || str(&l[0], "status", "phase") != "Running" {
			return fmt.Errorf("there are %d", len(l))
		}
		return nil
	})
	uid := str(c.get(volumes, "models-storage"), "metadata", "uid")

	// Growth.
	old := slices.Collect(maps.Keys(names()))
	c.apply(spec("80Gi", ", hfTokenSecretRef: {name: hf, key: token}"))
	c.eventually("the volume grows", soon, func() error {
		if got := str(c.get(volumes, "models-storage"), "status", "capacity", "storage"); got != "80Gi" {
			return fmt.Errorf("it has %s", got)
		}
		return nil
	})
	c.expectOf(caches, "models", "CacheReady", "True", "Bound", "80Gi")

	// Where it grew in the middle of a download, that is done again: it goes on
	// from where it was.
	first := turn(old...)
	if _, err := a.play(first); err != nil {
		t.Fatal(err)
	}
	second := turn(append(old, first)...)
	if _, err := a.play(second); err != nil {
		t.Fatal(err)
	}
	c.expectOf(caches, "models", "ModelsReady", "True", "Preloaded", "2 of 2")

	// All that mount it are on one node, and one that does not fit there waits, and
	// says so.
	for _, n := range []string{"one", "two"} {
		c.apply(endpoint(n, "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: {name: models}}"))
	}
	c.ready("one", "two")
	c.apply(endpoint("big", "{model: {id: meta-llama/Llama-3.1-70B-Instruct}, recipe: {hardware: MI300X, gpuCount: 8}, cache: {name: models}}"))
	t.Log(c.expect("big", "WorkloadReady", "False", "WaitingForGPU", "ReadWriteOnce", "node"))
	models += ", {id: by-hand/c, preload: true}"
	c.apply(spec("80Gi", ", hfTokenSecretRef: {name: hf, key: token}"))
	c.eventually("the next download has a node", soon, func() error {
		if l := c.list(pods, c.namespace, "batch.kubernetes.io/job-name="+turn(append(old, first, second)...)); len(l) == 1 && str(&l[0], "status", "phase") == "Running" {
			return nil
		}
		return errNotYet
	})
	nodes := map[string]bool{}
	for _, p := range c.list(pods, c.namespace, "") {
		if n := str(&p, "spec", "nodeName"); n != "" && str(&p, "status", "phase") == "Running" {
			nodes[n] = true
		}
	}
	if len(nodes) != 1 || strings.Contains(fmt.Sprint(nodes), "mi210") {
		t.Errorf("a volume that one node can mount is wanted on %v", nodes)
	}
	c.expect("two", "CacheReady", "True", "Bound", "ReadWriteOnce", "one")
	if got := str(c.get(volumes, "models-storage"), "metadata", "uid"); got != uid {
		t.Errorf("the volume was replaced: its uid is %q, was %q", got, uid)
	}

	// The namespace goes, in the middle of all that, though the cache is in use.
	composites := func() []string {
		var out []string
		for _, gvr := range []schema.GroupVersionResource{xendpoints, xcaches, objects} {
			for _, o := range c.list(gvr, "", "crossplane.io/claim-namespace="+c.namespace) {
				out = append(out, gvr.Resource+"/"+o.GetName())
			}
		}
		return out
	}
	if len(composites()) < 10 {
		t.Fatalf("there are only %v", composites())
	}
	if out, err := c.kubectl("", "delete", "namespace", c.namespace, "--wait=false"); err != nil {
		t.Fatal(out, err)
	}
	// Whatever deletes a cache that is in use is refused, and tries again ever more
	// rarely, up to once a minute.
	c.eventually("nothing is left of it", 2*soon, func() error {
		if l := composites(); len(l) > 0 {
			return fmt.Errorf("there are still %v", l)
		}
		if _, err := cp.Kube().CoreV1().Namespaces().Get(t.Context(), c.namespace, metav1.GetOptions{}); !kerrors.IsNotFound(err) {
			return fmt.Errorf("the namespace is still there: %w", err)
		}
		return nil
	})
}
