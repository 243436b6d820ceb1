package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/fn/hub/hubtest"
	"github.com/aim-engine/function-aim/test/controlplane"
)

var (
	xcaches = schema.GroupVersionResource{Group: "aim.engine.amd.com", Version: "v1alpha1", Resource: "xaimcaches"}
	caches  = schema.GroupVersionResource{Group: "aim.engine.amd.com", Version: "v1alpha1", Resource: "aimcaches"}
	jobs    = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}
)

// aimCache is the manifest of a claim. The spec is YAML in flow style.
func aimCache(name, spec string) string {
	return fmt.Sprintf("apiVersion: aim.engine.amd.com/v1alpha1\nkind: AIMCache\nmetadata: {name: %q}\nspec: %s\n", name, spec)
}

// agents run the pods of a cache's Jobs as processes of this machine: the
// nodes are pretended. It does so as the Jobs' own ServiceAccount.
type agents struct {
	c      *cluster
	name   string
	binary string
	home   string
	hub    *hubtest.Hub
}

func newAgents(c *cluster, name string, hub *hubtest.Hub) *agents {
	c.t.Helper()
	a := &agents{c: c, name: name, hub: hub, home: c.t.TempDir()}
	// The agent is the function's own program.
	found, err := filepath.Glob(filepath.Join(c.Dir, "function", "function-v*"))
	if err != nil || len(found) == 0 {
		c.t.Fatalf("cannot find the function's program: %v", err)
	}
	a.binary = found[len(found)-1]
	return a
}

// config of a client with the rights of the Jobs' ServiceAccount.
func (a *agents) config() *rest.Config {
	a.c.t.Helper()
	token, err := a.c.Kube().CoreV1().ServiceAccounts(a.c.namespace).CreateToken(context.Background(), a.name+"-cache-agent", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		a.c.t.Fatal(err)
	}
	cfg := rest.AnonymousClientConfig(a.c.Config())
	cfg.BearerToken = token.Status.Token
	return cfg
}

// run the pod of a template, with what the kubelet would make of it.
func (a *agents) run(t corev1.PodTemplateSpec) (string, error) {
	a.c.t.Helper()
	if !ptr.Deref(t.Spec.AutomountServiceAccountToken, true) {
		return a.exec(t.Spec)
	}
	cfg := a.config()
	kc := clientcmdapi.NewConfig()
	kc.Clusters["c"] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData, CertificateAuthority: cfg.CAFile}
	kc.AuthInfos["a"] = &clientcmdapi.AuthInfo{Token: cfg.BearerToken}
	kc.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "a"}
	kc.CurrentContext = "x"
	file := filepath.Join(a.c.t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*kc, file); err != nil {
		a.c.t.Fatal(err)
	}
	return a.exec(t.Spec, "--kubeconfig="+file)
}

// exec the agent with the arguments and the environment of its pod.
func (a *agents) exec(pod corev1.PodSpec, more ...string) (string, error) {
	a.c.t.Helper()
	args := []string{}
	for _, arg := range pod.Containers[0].Args {
		args = append(args, strings.Replace(arg, "--home=/cache", "--home="+a.home, 1))
	}
	cmd := exec.CommandContext(context.Background(), a.binary, append(args, more...)...)
	cmd.Env = append(os.Environ(), "HF_ENDPOINT="+a.hub.URL)
	for _, v := range pod.Containers[0].Env {
		if ref := v.ValueFrom; ref != nil {
			s, err := a.c.Kube().CoreV1().Secrets(a.c.namespace).Get(context.Background(), ref.SecretKeyRef.Name, metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			v.Value = string(s.Data[ref.SecretKeyRef.Key])
		}
		cmd.Env = append(cmd.Env, v.Name+"="+v.Value)
	}
	b := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = b, b
	err := cmd.Run()
	return b.String(), err
}

// play the kubelet of the one pod that a Job of a name has: the agent runs, and
// how that ends is the pod's status.
func (a *agents) play(job string) (corev1.Pod, error) {
	a.c.t.Helper()
	var pod corev1.Pod
	a.c.eventually("pod of Job "+job, soon, func() error {
		l, err := a.c.Kube().CoreV1().Pods(a.c.namespace).List(context.Background(), metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=" + job})
		if err != nil {
			return err
		}
		for _, p := range l.Items {
			if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
				pod = p
				return nil
			}
		}
		return errNotYet
	})
	out, err := a.run(corev1.PodTemplateSpec{Spec: pod.Spec})
	end, phase := corev1.ContainerStateTerminated{Reason: "Completed", FinishedAt: metav1.Now()}, corev1.PodSucceeded
	if err != nil {
		end.ExitCode, end.Reason, end.Message, phase = 1, "Error", out[max(0, len(out)-2048):], corev1.PodFailed
		if exit := (&exec.ExitError{}); errors.As(err, &exit) {
			end.ExitCode = int32(exit.ExitCode())
		}
		err = fmt.Errorf("%w: %s", err, out)
	}
	all := a.c.Kube().CoreV1().Pods(a.c.namespace)
	if err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		p, err := all.Get(context.Background(), pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		p.Status.Phase = phase
		for i, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady || c.Type == corev1.ContainersReady {
				p.Status.Conditions[i].Status = corev1.ConditionFalse
			}
		}
		s := &p.Status.ContainerStatuses[0]
		s.State, s.Ready, s.Started = corev1.ContainerState{Terminated: &end}, false, ptr.To(false)
		_, err = all.UpdateStatus(context.Background(), p, metav1.UpdateOptions{})
		return err
	}); err != nil {
		a.c.t.Fatal(err)
	}
	return pod, err
}

// preload runs the Job of a model, once it may run.
func (a *agents) preload(model string) (string, error) {
	a.c.t.Helper()
	var job *batchv1.Job
	a.c.eventually("Job of "+model, soon, func() error {
		l, err := a.c.Kube().BatchV1().Jobs(a.c.namespace).List(context.Background(), metav1.ListOptions{LabelSelector: "aim.engine.amd.com/cache=" + a.name})
		if err != nil {
			return err
		}
		for i, j := range l.Items {
			if args := j.Spec.Template.Spec.Containers[0].Args; args[2] == model && j.Spec.Suspend != nil && !*j.Spec.Suspend {
				job = &l.Items[i]
				return nil
			}
		}
		return errNotYet
	})
	return a.run(job.Spec.Template)
}

// model of the hub, of one file of a size.
func hubModel(size int) hubtest.Model {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	return hubtest.Model{
		Revisions: map[string]string{"main": commit},
		Commits: map[string]map[string][]byte{commit: {
			"config.json":       []byte(`{"model_type": "test"}`),
			"tokenizer.json":    bytes.Repeat([]byte("t"), 1000),
			"model.safetensors": bytes.Repeat([]byte("w"), size),
		}},
	}
}

// evictsFirst makes sure that each strategy lets go of another model first. The
// models are downloaded by a server, as far as the cache can tell.
func (a *agents) evictsFirst(spec func(strategy, more string) string) {
	a.c.t.Helper()
	for strategy, want := range map[string]string{"fifo": "acme/first", "size": "acme/large", "lfu": "acme/unused"} {
		for _, m := range []string{"acme/first", "acme/large", "acme/unused"} {
			if out, err := a.exec(corev1.PodSpec{Containers: []corev1.Container{{Args: []string{"cache", "download", m, "--home=/cache"}}}}); err != nil {
				a.c.t.Fatal(out, err)
			}
			// Files have their time in seconds.
			time.Sleep(time.Second)
		}
		if out, err := a.exec(corev1.PodSpec{Containers: []corev1.Container{{Args: []string{"cache", "report", "--used=acme/first", "--used=acme/large", "--home=/cache"}}}}); err != nil {
			a.c.t.Fatal(out, err)
		}
		a.c.apply(spec(strategy, ""))
		out := ""
		a.c.eventually("the clean-up follows the strategy "+strategy, soon, func() error {
			cj, err := a.c.Kube().BatchV1().CronJobs(a.c.namespace).Get(context.Background(), a.name+"-cleanup", metav1.GetOptions{})
			if err != nil {
				return err
			}
			pod := cj.Spec.JobTemplate.Spec.Template
			if args := strings.Join(pod.Spec.Containers[0].Args, " "); !strings.Contains(args, `"strategy":"`+strategy+`"`) {
				return fmt.Errorf("its arguments are %s", args)
			}
			out, err = a.run(pod)
			return err
		})
		if !strings.HasPrefix(out, "evict "+want+"@") {
			a.c.t.Errorf("strategy %s does not let go of %s first: %s", strategy, want, out)
		}
	}
}

// A cache from its first download to its last clean-up, with an endpoint that
// uses it. Downloads and clean-ups are real: the agent runs, with its Job's own
// arguments and rights, against a hub that speaks the protocol.
func testCache(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	hub := hubtest.New(t, map[string]hubtest.Model{
		"Qwen/Qwen3-8B": hubModel(3 << 20), "acme/old": hubModel(2 << 20),
		"acme/first": hubModel(2 << 20), "acme/large": hubModel(4 << 20), "acme/unused": hubModel(1 << 20),
		"acme/gated": {Gated: true, Revisions: map[string]string{"main": "x"}},
	})
	a := newAgents(c, "models", hub)
	c.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: hf}\nstringData: {token: " + secretValue + "}\n")
	spec := func(strategy, more string) string {
		return aimCache("models", `{storage: {size: 50Gi, accessMode: ReadWriteMany}, hfTokenSecretRef: {name: hf, key: token},
			models: [{id: acme/old, preload: true, priority: low}, {id: Qwen/Qwen3-8B, preload: true, priority: high}`+more+`],
			cleanup: {enabled: true, schedule: "0 3 * * *", minFreeSpace: 1Ei, strategy: `+strategy+`}}`)
	}
	c.apply(spec("lru", ""))
	c.expectOf(caches, "models", "CacheReady", "True", "Bound")
	// Nothing was measured, and nothing is told.
	if got := str(c.get(caches, "models"), "status", "storage", "usedSize"); got != "" {
		t.Errorf("status.storage.usedSize is %q before anybody measured it", got)
	}

	for _, m := range []string{"Qwen/Qwen3-8B", "acme/old"} {
		out, err := a.preload(m)
		if err != nil {
			t.Fatalf("agent of %s: %v: %s", m, err, out)
		}
	}
	c.expectOf(caches, "models", "ModelsReady", "True", "Preloaded", "2 of 2")
	c.expectOf(caches, "models", "Ready", "True", "Available")
	cm := c.get(caches, "models")
	for _, path := range [][]string{{"status", "storage", "totalSize"}, {"status", "storage", "usedSize"}, {"status", "storage", "availableSize"}, {"status", "storage", "usagePercentage"}} {
		if str(cm, path...) == "" {
			t.Errorf("%s is not there", strings.Join(path, "."))
		}
	}
	status := func(id string) string {
		models, _ := cm.Object["status"].(map[string]any)["cachedModels"].([]any)
		for _, m := range models {
			if m := m.(map[string]any); m["id"] == id {
				return fmt.Sprint(m["status"], " ", m["size"])
			}
		}
		return ""
	}
	if got := status("Qwen/Qwen3-8B"); !strings.HasPrefix(got, "Cached ") || strings.HasSuffix(got, " 0") {
		t.Errorf("the model is %q", got)
	}

	// The Role is for one ConfigMap.
	k, err := kubernetes.NewForConfig(a.config())
	if err != nil {
		t.Fatal(err)
	}
	other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "other"}}
	if _, err := k.CoreV1().ConfigMaps(c.namespace).Create(t.Context(), other, metav1.CreateOptions{}); !kerrors.IsForbidden(err) {
		t.Errorf("an agent may create another ConfigMap: %v", err)
	}
	if _, err := k.CoreV1().Secrets(c.namespace).Get(t.Context(), "hf", metav1.GetOptions{}); !kerrors.IsForbidden(err) {
		t.Errorf("an agent may read a Secret: %v", err)
	}
	if err := k.CoreV1().ConfigMaps(c.namespace).Delete(t.Context(), "models-inventory", metav1.DeleteOptions{}); !kerrors.IsForbidden(err) {
		t.Errorf("an agent may delete its inventory: %v", err)
	}

	// An endpoint reads the model from there.
	llm := func(tag string) string {
		return endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: {name: models}, image: {tag: "+tag+"}, deployment: {canary: {enabled: true, duration: 2}}}")
	}
	c.apply(llm("v1"))
	c.ready("llm")
	c.expect("llm", "CacheReady", "True", "Bound", "AIMCache models has Qwen/Qwen3-8B, which is read from there")
	d := c.get(deployments, "llm")
	pod, _ := d.Object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
	if diff := cmp.Diff(map[string]any{"claimName": "models-storage", "readOnly": true}, pod["volumes"].([]any)[0].(map[string]any)["persistentVolumeClaim"]); diff != "" {
		t.Errorf("the volume: -want, +got:\n%s", diff)
	}
	c.eventually("the cache knows who uses it", soon, func() error {
		if got := str(c.get(caches, "models"), "status", "usedBy"); got != `["`+c.namespace+`/llm"]` {
			return fmt.Errorf("status.usedBy is %s", got)
		}
		return nil
	})
	c.eventually("a cache in use cannot be deleted", soon, func() error {
		out, err := c.kubectl("", "delete", "aimcache", "models", "--wait=false", "--dry-run=server")
		if err == nil || !strings.Contains(out, "1 endpoint uses it: "+c.namespace+"/llm") {
			return fmt.Errorf("kubectl delete fails: %t, and says: %s", err != nil, out)
		}
		return nil
	})

	// The clean-up lets go of what nobody uses, and the status follows.
	c.eventually("the clean-up knows what is in use", soon, func() error {
		cj, err := cp.Kube().BatchV1().CronJobs(c.namespace).Get(t.Context(), "models-cleanup", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if args := strings.Join(cj.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Args, " "); !strings.Contains(args, `"inUse":["Qwen/Qwen3-8B"]`) {
			return fmt.Errorf("its arguments are %s", args)
		}
		out, err := a.run(cj.Spec.JobTemplate.Spec.Template)
		t.Log(out)
		return err
	})
	c.eventually("the model is evicted", soon, func() error {
		cm = c.get(caches, "models")
		if got := status("acme/old"); !strings.HasPrefix(got, "Evicted") {
			return fmt.Errorf("it is %q", got)
		}
		if got := status("Qwen/Qwen3-8B"); !strings.HasPrefix(got, "Cached") {
			return fmt.Errorf("the model that is in use is %q", got)
		}
		if str(cm, "status", "usage", "lastCleanup") == "" {
			return errNotYet
		}
		return nil
	})
	c.always("the endpoint is not restarted by any of this", 3*time.Second, c.untouched(d))
	// That it was in use is recorded.
	models, _ := cm.Object["status"].(map[string]any)["cachedModels"].([]any)
	for _, m := range models {
		m := m.(map[string]any)
		if used := m["lastAccessed"] != nil && fmt.Sprint(m["accessCount"]) == "1"; used != (m["id"] == "Qwen/Qwen3-8B") {
			t.Errorf("what is told of uses of a model is %v", m)
		}
	}

	// A canary reads it from there, too, and is promoted.
	c.apply(llm("v2"))
	c.expect("llm", "CanaryHealthy", "True", "Promoted", ":v2")
	c.ready("llm")
	c.expect("llm", "CacheReady", "True", "Bound", "AIMCache models has Qwen/Qwen3-8B, which is read from there")

	a.evictsFirst(spec)

	// What cannot be downloaded says why.
	c.apply(spec("lru", ", {id: acme/gated, preload: true}"))
	if out, err := a.preload("acme/gated"); err == nil {
		t.Fatalf("the agent downloaded a gated model: %s", out)
	}
	c.expectOf(caches, "models", "ModelsReady", "False", "PreloadFailed", "acme/gated")
	t.Log(conditionOf(c.get(caches, "models"), "ModelsReady").message)

	// A model that the cache does not have is downloaded into it by the server.
	c.apply(endpoint("other", "{model: {id: Qwen/Qwen3-32B}, recipe: {hardware: MI300X}, cache: {name: models}}"))
	c.ready("other")
	c.expect("other", "CacheReady", "True", "Bound", "does not list Qwen/Qwen3-32B")
	// One that is not there is said.
	c.apply(endpoint("lost", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: {name: nowhere}}"))
	c.expect("lost", "WorkloadReady", "False", "ApplyFailed", "spec.cache.name: there is no AIMCache nowhere")

	// Nothing that cannot change wedges it, and what was there is there again.
	uid := str(c.get(volumes, "models-storage"), "metadata", "uid")
	c.apply(aimCache("models", "{storage: {size: 10Gi, accessMode: ReadWriteMany}}"))
	c.expectOf(caches, "models", "CacheReady", "False", "ShrinkIgnored", "50Gi", "10Gi")
	c.apply(aimCache("models", "{storage: {size: 50Gi, accessMode: ReadWriteMany, storageClass: expandable}}"))
	c.expectOf(caches, "models", "CacheReady", "False", "StorageClassImmutable", "storage.storageClass")
	if out, err := c.kubectl("", "delete", "aimendpoint", "--all", "--timeout=90s"); err != nil {
		t.Fatal(out, err)
	}
	c.eventually("it can be deleted", soon, func() error {
		if out, err := c.kubectl("", "delete", "aimcache", "models", "--timeout=60s"); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	c.eventually("all but the volume is gone", soon, func() error {
		if l := c.list(jobs, c.namespace, ""); len(l) > 0 {
			return fmt.Errorf("there is still a Job %s", l[0].GetName())
		}
		if l := c.list(pods, c.namespace, "aim.engine.amd.com/cache=models"); len(l) > 0 {
			return fmt.Errorf("there is still a pod %s", l[0].GetName())
		}
		if c.get(configmaps, "models-inventory") != nil {
			return fmt.Errorf("there is still an inventory")
		}
		if got := str(c.get(volumes, "models-storage"), "metadata", "uid"); got != uid {
			return fmt.Errorf("the volume's uid is %q, was %q", got, uid)
		}
		return nil
	})
	c.apply(aimCache("models", "{storage: {size: 50Gi, accessMode: ReadWriteMany}, retain: false}"))
	c.expectOf(caches, "models", "Ready", "True", "Available")
	if got := str(c.get(volumes, "models-storage"), "metadata", "uid"); got != uid {
		t.Errorf("the retained volume is not used again: its uid is %q, was %q", got, uid)
	}
}
