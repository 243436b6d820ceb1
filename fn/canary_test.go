package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/resource"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/aim-engine/function-aim/fn/endpoint"
)

const (
	withCanary = `{"spec": {"deployment": {"canary": {"enabled": true, "trafficSplit": 25, "duration": 60}}}}`
	toTag2     = `{"spec": {"image": {"tag": "v2"}}}`
	toTag3     = `{"spec": {"image": {"tag": "v3"}}}`
	toNoTag    = `{"spec": {"image": null}}`
	to32B      = `{"spec": {"model": {"id": "Qwen/Qwen3-32B"}}}`

	imageOf = "vllm/vllm-openai-rocm"
	trying2 = "NORMAL Canary: trying image " + imageOf + ":v2 on a canary"
	trying3 = "NORMAL Canary: trying image " + imageOf + ":v3 on a canary"
)

// A canaryStep is one run of the function, and what is seen of it.
type canaryStep struct {
	// why the step is there, and what must happen before it.
	why    string
	change string
	// crash of the canary's pod, of the template that is being tried.
	crash string
	// events, the phase of the canary, and the images that the workload and its
	// canary should have.
	events []string
	phase  string
	stable string
	canary string
	// seen in the Objects afterwards.
	seen map[string]string
}

// canaryRun follows an endpoint from step to step. Each step is a new process
// that knows nothing but its request.
func canaryRun(t *testing.T, w *world, steps []canaryStep) {
	t.Helper()
	w.provide(t, w.reconcile(t), nil)
	last := composed(w.reconcile(t), nameDeployment)
	image := imageIn(last)
	cluster := slices.Clip(w.cluster)
	for _, s := range steps {
		if s.change != "" {
			w.xr = merged(w.xr, s.change)
		}
		w.cluster = cluster
		if s.crash != "" {
			w.cluster = append(w.cluster, canaryPod(w, s.crash))
		}
		rsp := w.reconcile(t)
		deployment := composed(rsp, nameDeployment)
		got := canaryStep{why: s.why, change: s.change, crash: s.crash, seen: s.seen}
		got.events = digestOf(rsp).Results
		got.phase = at(statusOf(rsp), "canary", "phase").GetStringValue()
		got.stable, got.canary = imageIn(deployment), imageIn(composed(rsp, nameCanary))
		if diff := cmp.Diff(s, got, cmp.AllowUnexported(canaryStep{})); diff != "" {
			t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", s.why, diff)
		}
		// What serves is untouched until it is told to change.
		if now := imageIn(deployment); now == image {
			if a, b := specBytes(t, last), specBytes(t, deployment); a != b {
				t.Errorf("%s\nThe Deployment's Object must stay what it is, byte for byte:\n%s", s.why, cmp.Diff(a, b))
			}
		} else {
			image, last = now, deployment
		}
		// Nothing that Crossplane does between two runs changes the answer.
		if again := w.reconcile(t); !proto.Equal(rsp, again) {
			t.Errorf("%s\nf.RunFunction(...): the same request had another response", s.why)
		}
		w.provide(t, rsp, s.seen)
	}
}

// composed resource that a response desires; nil if there is none.
func composed(rsp *fnv1.RunFunctionResponse, name string) *structpb.Struct {
	return rsp.GetDesired().GetResources()[name].GetResource()
}

// imageIn the Deployment that an Object wants; empty if there is none.
func imageIn(o *structpb.Struct) string {
	cs := at(o, "spec", "forProvider", "manifest", "spec", "template", "spec", "containers").GetListValue().GetValues()
	if len(cs) == 0 {
		return ""
	}
	return strings.TrimPrefix(cs[0].GetStructValue().GetFields()["image"].GetStringValue(), imageOf+":")
}

func specBytes(t *testing.T, o *structpb.Struct) string {
	t.Helper()
	b, err := at(o, "spec").GetStructValue().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	// protojson puts blanks where it likes.
	return strings.ReplaceAll(string(b), " ", "")
}

// canaryPod with a container's status, of the template that is being tried.
func canaryPod(w *world, status string) *structpb.Struct {
	return resource.MustStructJSON(fmt.Sprintf(`{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": {
			"name": "chat-canary-5d9f-abcde", "namespace": "team-a", "creationTimestamp": "2026-01-01T00:00:00Z",
			"labels": {"aim.engine.amd.com/canary-of": "chat-x7k2p"}, "annotations": {"aim.engine.amd.com/canary-template": %q}
		},
		"status": {"phase": "Running", "conditions": [{"type": "PodScheduled", "status": "True"}], "containerStatuses": [%s]}
	}`, at(w.xr, "status", "canary", "template").GetStringValue(), status))
}

// refused is a merge patch of an Object whose manifest the API server will
// never take.
var refused = notSynced(`cannot apply object: Deployment.apps "chat-canary" is invalid: spec.template: Invalid value`)

// refusedBefore is a merge patch of an Object that has been changed since its
// manifest was refused.
const refusedBefore = `{"metadata": {"generation": 2}, "status": {"atProvider": null, "conditions": [
	{"type": "Synced", "status": "False", "reason": "ReconcileError", "observedGeneration": 1, "message": "Deployment.apps \"chat-canary\" is invalid"}
]}}`

const (
	crashLoop = `{"name": "server", "ready": false, "restartCount": 2, "image": "i", "imageID": "", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "ValueError: bad flag"}}}`
	oomKilled = `{"name": "server", "ready": false, "restartCount": 1, "image": "i", "imageID": "", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}`
)

// late is a merge patch of a Deployment's Object that made no progress.
const late = `{"status": {"atProvider": {"manifest": {"status": {
	"readyReplicas": null, "availableReplicas": null, "unavailableReplicas": 1,
	"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
}}}}}`

// TestCanary follows changes from the first try to their end, whatever that is.
func TestCanary(t *testing.T) {
	loading := map[string]string{nameCanary: starting}
	stableLoading := map[string]string{nameDeployment: starting}
	ready := "NORMAL Ready: Qwen/Qwen3-8B serves at http://chat.team-a.svc.cluster.local:8000"
	tried := canaryStep{why: "A change is tried.", change: toTag2, events: []string{trying2}, phase: "InProgress", stable: "v0.22.1", canary: "v2", seen: loading}
	loads := canaryStep{why: "The canary loads its model.", phase: "InProgress", stable: "v0.22.1", canary: "v2", seen: loading}
	over := canaryStep{why: "Nothing happens any more.", phase: "RolledBack", stable: "v0.22.1"}
	rolledBack := func(why string) []string {
		return []string{"NORMAL Canary: rolled back the canary of image " + imageOf + ":v2: " + why}
	}

	cases := map[string]struct {
		reason string
		spec   string
		steps  []canaryStep
	}{
		"Promoted": {
			reason: "A canary that proves itself is rolled out, and serves until that is done.",
			steps: []canaryStep{
				tried, loads,
				{why: "It is ready, which Kubernetes will call available in a minute.", phase: "InProgress", stable: "v0.22.1", canary: "v2", seen: nil},
				{
					why: "It has been ready for long enough.", events: []string{"NORMAL Canary: promoting the canary of image " + imageOf + ":v2"},
					phase: "Promoting", stable: "v2", canary: "v2", seen: stableLoading,
				},
				{why: "The workload follows.", phase: "Promoting", stable: "v2", canary: "v2", seen: stableLoading},
				{why: "It still loads.", phase: "Promoting", stable: "v2", canary: "v2"},
				{
					why: "It is there.", events: []string{"NORMAL Canary: promoted the canary: chat runs qwen3-8b-mi300x-bfloat16-vllm", ready},
					phase: "Promoted", stable: "v2",
				},
				{why: "That's all.", phase: "Promoted", stable: "v2"},
				{why: "The next change is tried, too.", change: toTag3, events: []string{trying3}, phase: "InProgress", stable: "v2", canary: "v3", seen: loading},
				{why: "And is taken back.", change: toTag2, stable: "v2"},
				{why: "Which is all.", stable: "v2"},
			},
		},
		"Model": {
			reason: "Another model is chosen once, and tried.",
			steps: []canaryStep{
				{
					why: "It is chosen, and tried.", change: to32B,
					events: []string{"NORMAL Canary: trying model Qwen/Qwen3-32B on a canary", "NORMAL RecipeSelected: (why)"},
					phase:  "InProgress", stable: "v0.22.1", canary: "v0.22.1", seen: loading,
				},
				{why: "The canary loads its model.", phase: "InProgress", stable: "v0.22.1", canary: "v0.22.1", seen: loading},
			},
		},
		"CrashLooping": {
			reason: "A canary that crashes is removed, and not tried again.",
			steps: []canaryStep{
				tried, loads,
				{
					why: "It crashes.", crash: crashLoop, events: rolledBack("pod chat-canary-5d9f-abcde crashed with exit code 1 after 2 restarts: ValueError: bad flag"),
					phase: "RolledBack", stable: "v0.22.1",
				},
				over, over,
				{why: "Another change is tried.", change: toTag3, events: []string{trying3}, phase: "InProgress", stable: "v0.22.1", canary: "v3", seen: loading},
				{why: "It loads its model.", phase: "InProgress", stable: "v0.22.1", canary: "v3", seen: loading},
				{why: "And is taken back.", change: toNoTag, stable: "v0.22.1"},
			},
		},
		"OutOfMemory": {
			reason: "A canary that runs out of memory is removed.",
			steps: []canaryStep{
				tried,
				{
					why: "The kernel ends it.", crash: oomKilled,
					events: rolledBack("pod chat-canary-5d9f-abcde ran out of host memory after 1 restart; raise resources.memory, and resources.memoryLimit if it is set"),
					phase:  "RolledBack", stable: "v0.22.1",
				},
				over,
			},
		},
		"Deadline": {
			reason: "A canary that does not come to serve is removed.",
			steps: []canaryStep{
				tried,
				{why: "Time is up.", phase: "InProgress", stable: "v0.22.1", canary: "v2", seen: map[string]string{nameCanary: late}},
				{why: "Time is up, as anybody can see.", events: rolledBack("it was not available after 2700 s without progress"), phase: "RolledBack", stable: "v0.22.1"},
				over,
			},
		},
		"Refused": {
			reason: "What the API server refuses is removed. The next change is not to blame for it.",
			steps: []canaryStep{
				{why: "A change is tried.", change: toTag2, events: []string{trying2}, phase: "InProgress", stable: "v0.22.1", canary: "v2", seen: map[string]string{nameCanary: refused}},
				{
					why:    "It is refused.",
					events: rolledBack(`the cluster refuses it: cannot apply object: Deployment.apps "chat-canary" is invalid: spec.template: Invalid value`),
					phase:  "RolledBack", stable: "v0.22.1",
				},
				over,
			},
		},
		"RefusedAndCorrected": {
			reason: "What was refused says nothing of what takes its place.",
			steps: []canaryStep{
				{why: "A change is tried.", change: toTag2, events: []string{trying2}, phase: "InProgress", stable: "v0.22.1", canary: "v2", seen: map[string]string{nameCanary: refused}},
				{
					why: "It is refused, and the user corrects it.", change: toTag3, events: []string{trying3},
					phase: "InProgress", stable: "v0.22.1", canary: "v3", seen: map[string]string{nameCanary: refusedBefore},
				},
				{why: "The provider has yet to look at the new one.", phase: "InProgress", stable: "v0.22.1", canary: "v3", seen: loading},
				{why: "It loads its model.", phase: "InProgress", stable: "v0.22.1", canary: "v3", seen: loading},
			},
		},
		"SecondChange": {
			reason: "A second change takes the canary's place.",
			steps: []canaryStep{
				tried, loads,
				{why: "The user changes their mind.", change: toTag3, events: []string{trying3}, phase: "InProgress", stable: "v0.22.1", canary: "v3", seen: loading},
				{why: "It loads its model.", phase: "InProgress", stable: "v0.22.1", canary: "v3"},
				{
					why: "It has been ready for long enough.", events: []string{"NORMAL Canary: promoting the canary of image " + imageOf + ":v3"},
					phase: "Promoting", stable: "v3", canary: "v3",
				},
			},
		},
		"ChangeWhilePromoting": {
			reason: "What is wanted while another change is promoted waits for its turn, in silence.",
			steps: []canaryStep{
				{why: "A change is tried.", change: toTag2, events: []string{trying2}, phase: "InProgress", stable: "v0.22.1", canary: "v2"},
				{
					why: "It has been ready for long enough.", events: []string{"NORMAL Canary: promoting the canary of image " + imageOf + ":v2"},
					phase: "Promoting", stable: "v2", canary: "v2", seen: stableLoading,
				},
				{why: "The user wants another model.", change: to32B, phase: "Promoting", stable: "v2", canary: "v2", seen: stableLoading},
				{why: "The first change is still on its way.", phase: "Promoting", stable: "v2", canary: "v2"},
				{
					why: "The first change is done.", events: []string{"NORMAL Canary: promoted the canary: chat runs qwen3-8b-mi300x-bfloat16-vllm", ready},
					phase: "Promoted", stable: "v2",
				},
				{
					why: "The second is tried.", events: []string{"NORMAL Canary: trying model Qwen/Qwen3-32B on a canary", "NORMAL RecipeSelected: (why)"},
					phase: "InProgress", stable: "v2", canary: "v2", seen: loading,
				},
			},
		},
		"SwitchedOff": {
			reason: "Who switches the canary off has the change rolled out at once.",
			steps: []canaryStep{
				tried,
				{why: "The user is in a hurry.", change: `{"spec": {"deployment": {"canary": {"enabled": false}}}}`, stable: "v2", seen: stableLoading},
				{why: "It loads its model.", stable: "v2"},
				{why: "It is there.", events: []string{ready}, stable: "v2"},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			canaryRun(t, runningWorld(t, patches(withCanary, tc.spec)...), tc.steps)
		})
	}
	for name, cache := range map[string]*structpb.Struct{"OfACachedModel": claimOfCache(hasModel), "OfAnotherModelInTheCache": claimOfCache()} {
		t.Run("Promoted"+name, func(t *testing.T) {
			w := newWorld(withCanary, usingCache)
			w.cluster = []*structpb.Struct{cache}
			for range 3 {
				w.provide(t, w.reconcile(t), nil)
			}
			canaryRun(t, w, cases["Promoted"].steps)
		})
	}
}

// TestCanaryMakesWay has a workload that waits for the GPUs of its own canary.
func TestCanaryMakesWay(t *testing.T) {
	w := runningWorld(t, withCanary)
	w.xr = merged(w.xr, toTag2)
	w.provide(t, w.reconcile(t), nil)
	w.provide(t, w.reconcile(t), map[string]string{nameDeployment: starting})
	if got := imageIn(composed(w.reconcile(t), nameCanary)); got != "v2" {
		t.Fatalf("The canary should serve while the workload starts: got %q", got)
	}
	w.cluster = append(w.cluster, resource.MustStructJSON(podPending))
	rsp := w.reconcile(t)
	if o := composed(rsp, nameCanary); o != nil {
		t.Errorf("The canary should make way: got %v", o)
	}
	if diff := cmp.Diff("Promoting", at(statusOf(rsp), "canary", "phase").GetStringValue()); diff != "" {
		t.Errorf("The change should go on: -want phase, +got phase:\n%s", diff)
	}
	// The pod gets its GPU, and the canary must not take it back.
	w.provide(t, rsp, map[string]string{nameDeployment: starting})
	w.cluster = nil
	if o := composed(w.reconcile(t), nameCanary); o != nil {
		t.Errorf("A canary that made way should not come back: got %v", o)
	}
}

// TestCanaryTraffic follows the traffic of an endpoint with a Gateway.
func TestCanaryTraffic(t *testing.T) {
	w := newWorld(withCanary, `{"spec": {"service": {"route": {"hostname": "llm.example.org", "gateway": {"name": "public"}}}}}`)
	w.cluster = append(w.cluster, definition(endpoint.APIHTTPRoute), resource.MustStructJSON(`{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "public", "namespace": "team-a"},
		"spec": {"gatewayClassName": "c", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}
	}`))
	for range 3 {
		w.provide(t, w.reconcile(t), nil)
	}
	weights := func(rsp *fnv1.RunFunctionResponse) string {
		out := []string{}
		rules := at(composed(rsp, nameHTTPRoute), "spec", "forProvider", "manifest", "spec", "rules").GetListValue().GetValues()
		for _, b := range rules[0].GetStructValue().GetFields()["backendRefs"].GetListValue().GetValues() {
			f := b.GetStructValue().GetFields()
			out = append(out, fmt.Sprintf("%s %v", f["name"].GetStringValue(), f["weight"].GetNumberValue()))
		}
		return strings.Join(out, ", ")
	}
	step := func(why, want string, seen map[string]string) {
		t.Helper()
		rsp := w.reconcile(t)
		if diff := cmp.Diff(want, weights(rsp)); diff != "" {
			t.Errorf("%s\nf.RunFunction(...): -want weights, +got weights:\n%s", why, diff)
		}
		selector := at(composed(rsp, nameService), "spec", "forProvider", "manifest", "spec", "selector").GetStructValue().AsMap()
		if diff := cmp.Diff(map[string]any{"aim.engine.amd.com/composite": "chat-x7k2p"}, selector); diff != "" {
			t.Errorf("%s\nThe Service is for the workload alone: -want selector, +got selector:\n%s", why, diff)
		}
		w.provide(t, rsp, seen)
	}
	step("Nothing is tried.", "chat 100", nil)
	w.xr = merged(w.xr, toTag2)
	step("The canary is being made.", "chat 100", map[string]string{nameCanary: starting})
	step("The canary loads its model.", "chat 100", map[string]string{nameCanary: live(`{"status": {"availableReplicas": null}}`)})
	step("The canary is ready, and has yet to prove itself.", "chat 75, chat-canary 25", nil)
	step("The canary has proved itself, and serves on while the workload follows.", "chat 75, chat-canary 25", map[string]string{nameDeployment: starting})
	step("The workload follows.", "chat 75, chat-canary 25", nil)
	step("The workload is there.", "chat 100", nil)
}
