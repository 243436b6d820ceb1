package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aim-engine/function-aim/test/controlplane"
)

// good is an endpoint that serves.
const good = "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, image: {tag: v1}}"

// Why an endpoint does not serve, as its user reads it on the claim: every
// reason of WorkloadReady, and the causes behind each. NameConflict has a test
// of its own.
func testDiagnosis(t *testing.T, cp *controlplane.ControlPlane) {
	// fails has the image's tag by which kwok knows how.
	fails := func(mode, more string) string {
		return "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, image: {tag: v1-fail-" + mode + "}" + more + "}"
	}
	for name, tc := range map[string]struct {
		spec   string
		phase  string
		reason string
		words  []string
		// recovers says to repair it, and see that it serves.
		recovers bool
	}{
		"NeverReady": {fails("never-ready", ""), "Starting", "Starting", []string{"0 of 1 replicas are available"}, true},
		"Mount":      {fails("mount", ", cache: {enabled: true, size: 1Gi}"), "Starting", "Starting", []string{"waits on node mi300x-", "volumes (of PersistentVolumeClaim llm-cache)", "kubectl describe pod llm-"}, false},

		// What the scheduler says is its own.
		"NoSuchNodes": {
			"{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI325X}}", "Starting", "WaitingForGPU",
			[]string{"nodes are available", "didn't match Pod's node affinity/selector", "set recipe.hardware"},
			true,
		},
		// The only such node has 4.
		"NoGPUs": {
			"{model: {id: meta-llama/Llama-3.1-70B-Instruct}, recipe: {hardware: MI210, gpuCount: 8}}", "Starting", "WaitingForGPU",
			[]string{"Insufficient amd.com/gpu", "recipe.gpuCount"},
			false,
		},
		"NoCPUs": {
			"{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, resources: {cpu: '5000'}}", "Starting", "WaitingForGPU",
			[]string{"Insufficient cpu", "lower resources.cpu"},
			true,
		},

		"ImageNotFound": {fails("image-pull", ""), "Failed", "ImagePullFailed", []string{"cannot pull image", "v1-fail-image-pull: not found; there is no such image", "image.tag"}, true},
		"ImagePrivate":  {fails("image-pull-auth", ""), "Failed", "ImagePullFailed", []string{"pull access denied", "image.pullSecrets"}, false},

		"ModelGated":      {fails("download-gated", ""), "Failed", "ModelDownloadFailed", []string{"Access to model acme/chat is restricted", "accept the license", "hfTokenSecretRef"}, true},
		"LicenseMissing":  {fails("download-license", ""), "Failed", "ModelDownloadFailed", []string{"not in the authorized list", "accept the license"}, false},
		"ModelNotFound":   {fails("download-missing", ""), "Failed", "ModelDownloadFailed", []string{"Repository Not Found", "check model.id"}, false},
		"DiskFull":        {fails("disk-full", ""), "Failed", "ModelDownloadFailed", []string{"No space left on device", "cache.size"}, false},
		"Evicted":         {fails("evicted", ""), "Failed", "ModelDownloadFailed", []string{"Evicted: The node was low on resource: ephemeral-storage", "cache.enabled"}, true},
		"OutOfHostMemory": {fails("oom", ""), "Failed", "OutOfMemory", []string{"ran out of host memory", "resources.memory"}, false},
		"OutOfGPUMemory":  {fails("gpu-oom", ""), "Failed", "OutOfMemory", []string{"ran out of GPU memory", "HIP out of memory", "recipe.gpuCount", "--max-model-len"}, false},

		"Crash":        {fails("unknown", ""), "Failed", "CrashLooping", []string{"crashed with exit code 1 after 2 restarts: KeyError: 'rope_scaling'"}, false},
		"EngineCrash":  {fails("crash", ""), "Failed", "CrashLooping", []string{"Engine core initialization failed", "kubectl logs llm-"}, false},
		"ProbeFails":   {fails("probe", ""), "Failed", "CrashLooping", []string{"crashed with exit code 137", "health probe", "Loading weights"}, false},
		"UnknownFlag":  {fails("bad-flag", ""), "Failed", "CrashLooping", []string{"unrecognized arguments: --fast", "deployment.extraArgs"}, false},
		"SecretAbsent": {fails("config-error", ", hfTokenSecretRef: {name: hugging-face, key: token}"), "Failed", "ApplyFailed", []string{`secret "hugging-face" not found`, "correct hfTokenSecretRef"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := in(t, cp)
			c.apply(endpoint("llm", tc.spec))
			t.Log(c.expect("llm", "WorkloadReady", "False", tc.reason, tc.words...))
			c.expect("llm", "Ready", "False", "Waiting")
			c.eventually("phase", soon, func() error {
				if e := c.get(endpoints, "llm"); str(e, "status", "phase") != tc.phase || str(e, "status", "reason") != tc.reason {
					return fmt.Errorf("phase is %q, reason is %q", str(e, "status", "phase"), str(e, "status", "reason"))
				}
				return nil
			})
			for _, verb := range []string{"get", "describe"} {
				if out, err := c.kubectl("", verb, "aimendpoint", "llm"); err != nil || !strings.Contains(out, tc.reason) {
					t.Errorf("kubectl %s does not say why (%v):\n%s", verb, err, out)
				}
			}
			if tc.recovers {
				c.apply(endpoint("llm", good))
				c.ready("llm")
				c.expect("llm", "WorkloadReady", "True", "Available", "1 of 1 replicas are available")
			}
		})
	}
	t.Run("Deadline", func(t *testing.T) {
		t.Parallel()
		testDeadline(t, cp)
	})
	t.Run("Rollout", func(t *testing.T) {
		t.Parallel()
		testFailingRollout(t, cp)
	})
}

// The deadline of a Deployment takes 45 minutes at least to pass. Somebody
// shortens it, and the provider puts that right in a second. By then the
// Deployment's controller has found that it has passed, and it does not take
// that back before there is progress.
func testDeadline(t *testing.T, cp *controlplane.ControlPlane) {
	t.Helper()
	c := in(t, cp)
	c.apply(endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, image: {tag: v1-fail-never-ready}}"))
	c.expect("llm", "WorkloadReady", "False", "Starting")
	c.eventually("the deadline passes", soon, func() error {
		if got := conditionOf(c.get(deployments, "llm"), "Progressing"); got.reason == "ProgressDeadlineExceeded" {
			return nil
		}
		out, err := c.kubectl("", "patch", "deployment", "llm", "--field-manager", "somebody", "--type", "merge", "--patch", `{"spec": {"progressDeadlineSeconds": 1}}`)
		if err != nil {
			return fmt.Errorf("cannot patch the Deployment: %w: %s", err, out)
		}
		return errNotYet
	})
	t.Log(c.expect("llm", "WorkloadReady", "False", "ProgressDeadlineExceeded", "0 of 1 replicas are available", "there was no progress"))
	if got := str(c.get(endpoints, "llm"), "status", "phase"); got != "Failed" {
		t.Errorf("status.phase is %q", got)
	}
	c.apply(endpoint("llm", good))
	c.ready("llm")
}

// A change that does not work out: what is wrong with the new pods is told, and
// what was wrong with those before is not, once that has been repaired.
func testFailingRollout(t *testing.T, cp *controlplane.ControlPlane) {
	t.Helper()
	c := in(t, cp)
	with := func(tag string) string {
		return endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, scaling: {minReplicas: 2, maxReplicas: 2}, image: {tag: "+tag+"}}")
	}
	c.apply(with("v1"))
	c.ready("llm")
	c.apply(with("v2-fail-download-gated"))
	c.expect("llm", "WorkloadReady", "False", "ModelDownloadFailed", "1 of 2 replicas are available", "hfTokenSecretRef")
	c.apply(with("v3-fail-never-ready"))
	c.expect("llm", "WorkloadReady", "False", "RolloutInProgress", "1 of 2 replicas are updated, 1 are available")
	c.always("the mistake of before", 2*time.Second, func() error {
		if got := conditionOf(c.get(endpoints, "llm"), "WorkloadReady"); got.reason != "RolloutInProgress" {
			return fmt.Errorf("WorkloadReady is %+v", got)
		}
		return nil
	})
	c.apply(with("v4"))
	c.ready("llm")
}
