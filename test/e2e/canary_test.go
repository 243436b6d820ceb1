package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/aim-engine/function-aim/test/controlplane"
)

// canarySpec of an endpoint whose changes are tried first.
func canarySpec(model, more string, seconds int) string {
	return endpoint("llm", fmt.Sprintf("{model: {id: %s}, recipe: {hardware: MI300X}, deployment: {canary: {enabled: true, duration: %d}}%s}", model, seconds, more))
}

// untouched checks that a workload is exactly what it was.
func (c *cluster) untouched(before *unstructured.Unstructured) func() error {
	return func() error {
		d := c.get(deployments, before.GetName())
		if d == nil || d.GetUID() != before.GetUID() || d.GetGeneration() != before.GetGeneration() {
			return fmt.Errorf("the Deployment was changed: it is %v", d)
		}
		if got := str(d, "status", "availableReplicas"); got != "1" {
			return fmt.Errorf("%q replicas of the Deployment are available", got)
		}
		return nil
	}
}

func modelOf(u *unstructured.Unstructured) string {
	if u == nil {
		return ""
	}
	cs, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
	args, _, _ := unstructured.NestedStringSlice(cs[0].(map[string]any), "args")
	return args[0]
}

// A change that proves itself is rolled out; until then what serves is not
// touched. The function dies in the middle, and a second change comes before
// the first one has proved itself.
func testCanaryPromoted(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	c.apply(canarySpec("Qwen/Qwen3-8B", "", 15))
	c.ready("llm")
	c.expect("llm", "CanaryHealthy", "True", "NoCanary")
	stable := c.get(deployments, "llm")

	c.apply(canarySpec("Qwen/Qwen3-32B", "", 15))
	c.expect("llm", "CanaryHealthy", "True", "InProgress", "with about 50% of the traffic: 1 of 2 replicas")
	c.eventually("the canary serves", soon, func() error {
		if got := str(c.get(deployments, "llm-canary"), "status", "readyReplicas"); got != "1" {
			return fmt.Errorf("%q of its replicas are ready", got)
		}
		return nil
	})
	if got := modelOf(c.get(deployments, "llm-canary")); got != "Qwen/Qwen3-32B" {
		t.Errorf("the canary runs %q", got)
	}
	// Both are behind the one Service.
	want := map[string]any{"aim.engine.amd.com/endpoint": "llm"}
	if diff := cmp.Diff(want, c.get(services, "llm").Object["spec"].(map[string]any)["selector"]); diff != "" {
		t.Errorf("the Service's selector: -want, +got:\n%s", diff)
	}
	c.always("what serves is not touched", 3*time.Second, c.untouched(stable))
	c.ready("llm")

	// A second change starts anew.
	c.apply(canarySpec("microsoft/phi-4", "", 15))
	c.eventually("the canary runs the second change", soon, func() error {
		if got := modelOf(c.get(deployments, "llm-canary")); got != "microsoft/phi-4" {
			return fmt.Errorf("it runs %q", got)
		}
		return nil
	})
	if got := modelOf(c.get(deployments, "llm")); got != "Qwen/Qwen3-8B" {
		t.Errorf("the workload runs %q while the canary is still tried", got)
	}

	c.expect("llm", "CanaryHealthy", "True", "Promoted", "phi-4")
	c.eventually("the canary is gone, and the change is rolled out", soon, func() error {
		if c.get(deployments, "llm-canary") != nil {
			return fmt.Errorf("the canary is still there")
		}
		if got := modelOf(c.get(deployments, "llm")); got != "microsoft/phi-4" {
			return fmt.Errorf("the workload runs %q", got)
		}
		return nil
	})
	c.ready("llm")
	if got := str(c.get(endpoints, "llm"), "status", "servedModelName"); got != "microsoft/phi-4" {
		t.Errorf("status.servedModelName is %q", got)
	}
	want = map[string]any{"aim.engine.amd.com/composite": c.composite("llm")}
	c.eventually("the Service is the workload's alone", soon, func() error {
		if diff := cmp.Diff(want, c.get(services, "llm").Object["spec"].(map[string]any)["selector"]); diff != "" {
			return fmt.Errorf("its selector: -want, +got:\n%s", diff)
		}
		return nil
	})
}

// A change that crashes is rolled back, and what served before stays. It is
// not tried again as it is; undone, all is well; and switched off in the middle
// the change is rolled out at once.
func testCanaryRolledBack(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	c.apply(canarySpec("Qwen/Qwen3-8B", "", 5))
	c.ready("llm")
	stable := c.get(deployments, "llm")

	c.apply(canarySpec("Qwen/Qwen3-8B", ", image: {tag: v1-fail-crash}", 5))
	msg := c.expect("llm", "CanaryHealthy", "False", "RolledBack", "v1-fail-crash", "exit code 1", "Engine core initialization failed")
	t.Log(msg)
	c.eventually("the canary is gone", soon, func() error {
		if c.get(deployments, "llm-canary") != nil {
			return errNotYet
		}
		return nil
	})
	c.always("it is not tried again, and what serves is not touched", 8*time.Second, func() error {
		if c.get(deployments, "llm-canary") != nil {
			return fmt.Errorf("the canary is back")
		}
		return c.untouched(stable)()
	})
	c.ready("llm")

	// Undone.
	c.apply(canarySpec("Qwen/Qwen3-8B", "", 5))
	c.expect("llm", "CanaryHealthy", "True", "NoCanary")
	c.always("what serves is not touched", 3*time.Second, c.untouched(stable))

	// Switched off in the middle.
	c.apply(canarySpec("Qwen/Qwen3-32B", "", 3600))
	c.expect("llm", "CanaryHealthy", "True", "InProgress")
	c.eventually("the canary is there", soon, func() error {
		if c.get(deployments, "llm-canary") == nil {
			return errNotYet
		}
		return nil
	})
	c.apply(endpoint("llm", "{model: {id: Qwen/Qwen3-32B}, recipe: {hardware: MI300X}, deployment: {canary: {enabled: false}}}"))
	c.expect("llm", "CanaryHealthy", "True", "NoCanary")
	c.eventually("the change is rolled out at once", soon, func() error {
		if c.get(deployments, "llm-canary") != nil {
			return fmt.Errorf("the canary is still there")
		}
		if got := modelOf(c.get(deployments, "llm")); got != "Qwen/Qwen3-32B" {
			return fmt.Errorf("the workload runs %q", got)
		}
		return nil
	})
	c.ready("llm")

	// It can be deleted in the middle of a canary, too.
	c.apply(canarySpec("Qwen/Qwen3-8B", "", 3600))
	c.expect("llm", "CanaryHealthy", "True", "InProgress")
	if out, err := c.kubectl("", "delete", "aimendpoint", "llm", "--timeout=60s"); err != nil {
		t.Fatal(out, err)
	}
	c.eventually("all is gone", soon, func() error {
		if l := c.list(deployments, c.namespace, ""); len(l) > 0 {
			return fmt.Errorf("there is still a Deployment %s", l[0].GetName())
		}
		return nil
	})
}
