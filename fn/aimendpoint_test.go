package main

import (
	"fmt"
	"testing"

	"github.com/crossplane/function-sdk-go/resource"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
)

// Conditions of xrChat's endpoint that many cases share.
const (
	condSelected  = "RecipeSelected=TRUE Selected: (why)"
	condCacheOff  = "CacheReady=TRUE Disabled: cache.enabled is false: each pod downloads the model"
	condFixed     = "ScalingReady=TRUE Disabled: autoscaling is off: scaling.maxReplicas is not above scaling.minReplicas"
	condService   = "ServiceReady=TRUE Available: clients reach it at http://chat.team-a.svc.cluster.local:8000"
	condNoService = "ServiceReady=FALSE Starting: the Service is being created"
	condNoRecipe  = "WorkloadReady=FALSE Starting: nothing runs until a recipe is selected"

	models = "Qwen/Qwen2.5-72B-Instruct, Qwen/Qwen2.5-7B-Instruct, Qwen/Qwen3-235B-A22B, Qwen/Qwen3-30B-A3B, Qwen/Qwen3-32B, Qwen/Qwen3-8B, " +
		"amd/Llama-3.1-405B-Instruct-FP8-KV, amd/Llama-3.1-70B-Instruct-FP8-KV, deepseek-ai/DeepSeek-R1-0528, deepseek-ai/DeepSeek-V3.1, google/gemma-3-27b-it, " +
		"meta-llama/Llama-3.1-405B-Instruct, meta-llama/Llama-3.1-70B-Instruct, meta-llama/Llama-3.1-8B-Instruct, meta-llama/Llama-3.3-70B-Instruct, " +
		"meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8, meta-llama/Llama-4-Scout-17B-16E-Instruct, microsoft/phi-4, mistralai/Mistral-Small-24B-Instruct-2501, " +
		"mistralai/Mistral-Small-3.1-24B-Instruct-2503, mistralai/Mistral-Small-3.2-24B-Instruct-2506, mistralai/Mixtral-8x7B-Instruct-v0.1, " +
		"openai/gpt-oss-120b, openai/gpt-oss-20b, or create an AIMRecipe for it"
)

// Connection details of xrChat's endpoint.
func connection() map[string]string {
	return map[string]string{"url": "http://chat.team-a.svc.cluster.local:8000", "model": "Qwen/Qwen3-8B"}
}

// TestFirstRun is about an endpoint of which nothing is there yet.
func TestFirstRun(t *testing.T) {
	cases := map[string]struct {
		reason string
		world  func() *world
		want   digest
	}{
		"AllNamesFree": {
			reason: "Everything is composed, what gates the endpoint is not ready, and the user is told once what was chosen.",
			world:  func() *world { return newWorld() },
			want: digest{
				Ready:     "FALSE",
				Resources: []string{"config-object TRUE", "deployment-object FALSE", "service-object FALSE"},
				Conditions: []string{
					condSelected,
					"WorkloadReady=FALSE Starting: 0 of 1 replicas are available",
					condNoService, condCacheOff, condFixed,
				},
				Results:    []string{"NORMAL RecipeSelected: (why)"},
				Connection: connection(),
			},
		},
		"EverythingAsked": {
			reason: "Only what was asked for is composed. Replicas are not, until there is a Deployment to have them.",
			world: func() *world {
				return newWorld(`{"spec": {"cache": {"enabled": true}, "scaling": {"minReplicas": 1, "maxReplicas": 4}}}`)
			},
			want: digest{
				Ready:     "FALSE",
				Resources: []string{"autoscaler-object TRUE", "cache-object TRUE", "config-object TRUE", "deployment-object FALSE", "disruptionbudget-object TRUE", "service-object FALSE"},
				Conditions: []string{
					condSelected,
					"WorkloadReady=FALSE Starting: 0 of 1 replicas are available",
					condNoService,
					"CacheReady=FALSE WaitingForConsumer: the PersistentVolumeClaim chat-cache is not bound yet; with some storage classes that waits for a pod",
					"ScalingReady=FALSE MetricsUnavailable: the HorizontalPodAutoscaler has not reported yet",
				},
				Results:    []string{"NORMAL RecipeSelected: (why)"},
				Connection: connection(),
			},
		},
		"OldCrossplane": {
			reason: "Crossplane 1.20 cannot tell whether a name is free, which is no reason to compose nothing.",
			world: func() *world {
				w := newWorld()
				w.old = true
				return w
			},
			want: digest{
				Ready:     "FALSE",
				Resources: []string{"config-object TRUE", "deployment-object FALSE", "service-object FALSE"},
				Conditions: []string{
					condSelected,
					"WorkloadReady=FALSE Starting: 0 of 1 replicas are available",
					condNoService, condCacheOff, condFixed,
				},
				Results:    []string{"NORMAL RecipeSelected: (why)"},
				Connection: connection(),
			},
		},
		"UnheardOfModel": {
			reason: "The user should be told which models there are.",
			world:  func() *world { return newWorld(`{"spec": {"model": {"id": "acme/unheard-of"}}}`) },
			want: digest{
				Ready: "FALSE",
				Conditions: []string{
					`RecipeSelected=FALSE NoRecipeForModel: there is no recipe for model "acme/unheard-of"; set spec.model.id to one of ` + models,
					condNoRecipe,
				},
			},
		},
		"MisspeltModel": {
			reason: "The user should be told which model they may have meant.",
			world:  func() *world { return newWorld(`{"spec": {"model": {"id": "qwen/qwen3-8b"}}}`) },
			want: digest{
				Ready: "FALSE",
				Conditions: []string{
					`RecipeSelected=FALSE NoRecipeForModel: there is no recipe for model "qwen/qwen3-8b"; did you mean Qwen/Qwen3-8B? Set spec.model.id to it`,
					condNoRecipe,
				},
			},
		},
		"ImpossibleConstraints": {
			reason: "The user should be told what they asked for, and what there is.",
			world:  func() *world { return newWorld(`{"spec": {"recipe": {"gpuCount": 8, "precision": "fp8"}}}`) },
			want: digest{
				Ready: "FALSE",
				Conditions: []string{
					"RecipeSelected=FALSE NoRecipeMatches: (why)",
					condNoRecipe,
				},
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, digestOf(tc.world().reconcile(t))); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestUnanswered makes sure that nothing is composed before Crossplane has
// looked, and that everything is once it has, whatever it found.
func TestUnanswered(t *testing.T) {
	w := newWorld()
	asked := run(t, w.request())
	if n := len(asked.GetDesired().GetResources()); n != 0 {
		t.Errorf("f.RunFunction(...): %d resources are desired before Crossplane has looked whether the names are free", n)
	}
	if diff := cmp.Diff("FALSE", digestOf(asked).Ready); diff != "" {
		t.Errorf("A composite without resources would count as ready: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string(nil), digestOf(asked).Results); diff != "" {
		t.Errorf("There may be another first call: -want results, +got results:\n%s", diff)
	}

	req := w.settle(t)
	for k, v := range req.GetRequiredResources() {
		if len(v.GetItems()) > 0 {
			t.Fatalf("%s should be answered with nothing", k)
		}
	}
	if diff := cmp.Diff([]string{"config-object TRUE", "deployment-object FALSE", "service-object FALSE"}, digestOf(run(t, req)).Resources); diff != "" {
		t.Errorf("The names are free: -want resources, +got resources:\n%s", diff)
	}

	// An answer to some of the questions is not one to all of them.
	for k := range req.GetRequiredResources() {
		some := w.settle(t)
		delete(some.GetRequiredResources(), k)
		if got := digestOf(run(t, some)).Resources; len(got) != 0 {
			t.Errorf("f.RunFunction(...): %v are desired before Crossplane has looked for %s", got, k)
		}
	}
}

// TestNameConflict makes sure that nothing of anybody else is taken over.
func TestNameConflict(t *testing.T) {
	object := func(apiVersion, kind, name, labels string) string {
		return fmt.Sprintf(`{"apiVersion": %q, "kind": %q, "metadata": {"name": %q, "namespace": "team-a", "uid": "1", "labels": %s}}`, apiVersion, kind, name, labels)
	}
	cached := `{"spec": {"cache": {"enabled": true}, "scaling": {"maxReplicas": 2}}}`
	conflict := func(what string) digest {
		return digest{
			Ready: "FALSE",
			Conditions: []string{
				condSelected,
				"WorkloadReady=FALSE NameConflict: there is already a " + what + "; delete it, or give the endpoint another name",
			},
		}
	}
	all := []string{"autoscaler-object TRUE", "cache-object TRUE", "config-object TRUE", "deployment-object FALSE", "disruptionbudget-object TRUE", "service-object FALSE"}

	cases := map[string]struct {
		reason  string
		cluster []string
		// want the whole digest of a conflict, or only these resources where
		// there is none.
		want      digest
		resources []string
	}{
		"StrangersDeployment": {
			reason:  "A Deployment of the same name is not ours, whoever made it.",
			cluster: []string{object("apps/v1", "Deployment", "chat", `{"app": "chat"}`)},
			want:    conflict("Deployment chat in namespace team-a that is not of this endpoint"),
		},
		"StrangersService": {
			reason:  "We would send its clients to our pods.",
			cluster: []string{object("v1", "Service", "chat", `{}`)},
			want:    conflict("Service chat in namespace team-a that is not of this endpoint"),
		},
		"StrangersConfigMap": {
			reason:  "We would add to its data.",
			cluster: []string{object("v1", "ConfigMap", "chat-config", `{}`)},
			want:    conflict("ConfigMap chat-config in namespace team-a that is not of this endpoint"),
		},
		"StrangersCache": {
			reason:  "Its data is not ours to write to.",
			cluster: []string{object("v1", "PersistentVolumeClaim", "chat-cache", `{}`)},
			want:    conflict("PersistentVolumeClaim chat-cache in namespace team-a that is not of this endpoint"),
		},
		"StrangersAutoscaler": {
			reason:  "It scales something else.",
			cluster: []string{object("autoscaling/v2", "HorizontalPodAutoscaler", "chat", `{}`)},
			want:    conflict("HorizontalPodAutoscaler chat in namespace team-a that is not of this endpoint"),
		},
		"AnotherComposites": {
			reason: "Another endpoint's Deployment is no more ours than a stranger's. Its owner should be named.",
			cluster: []string{object("apps/v1", "Deployment", "chat",
				`{"app.kubernetes.io/managed-by": "function-aim", "aim.engine.amd.com/endpoint": "chat", "aim.engine.amd.com/composite": "chat-q9zzz"}`)},
			want: conflict("Deployment chat in namespace team-a that is not of this endpoint but of chat-q9zzz"),
		},
		"AnotherEndpointsCache": {
			reason: "A volume that was retained for an endpoint of another name is not ours.",
			cluster: []string{object("v1", "PersistentVolumeClaim", "chat-cache",
				`{"app.kubernetes.io/managed-by": "function-aim", "aim.engine.amd.com/endpoint": "talk", "aim.engine.amd.com/composite": "talk-q9zzz"}`)},
			want: conflict("PersistentVolumeClaim chat-cache in namespace team-a that is not of this endpoint but of talk-q9zzz"),
		},
		"RetainedCache": {
			reason: "A volume that was retained for an endpoint of this name is what a new one should use.",
			cluster: []string{object("v1", "PersistentVolumeClaim", "chat-cache",
				`{"app.kubernetes.io/managed-by": "function-aim", "aim.engine.amd.com/endpoint": "chat", "aim.engine.amd.com/composite": "chat-q9zzz"}`)},
			resources: all,
		},
		"OurOwn": {
			reason: "What is there without an Object is ours if it has our labels: Crossplane may have lost the Object.",
			cluster: []string{object("apps/v1", "Deployment", "chat",
				`{"app.kubernetes.io/managed-by": "function-aim", "aim.engine.amd.com/endpoint": "chat", "aim.engine.amd.com/composite": "chat-x7k2p"}`)},
			resources: all,
		},
		"ElsewhereOrElse": {
			reason: "Another namespace, and another kind, are another matter.",
			cluster: []string{
				`{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "chat", "namespace": "team-b"}}`,
				object("apps/v1", "StatefulSet", "chat", `{}`),
			},
			resources: all,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(cached)
			for _, o := range tc.cluster {
				w.cluster = append(w.cluster, resource.MustStructJSON(o))
			}
			rsp := w.reconcile(t)
			got := digestOf(rsp)
			if len(tc.resources) > 0 {
				if diff := cmp.Diff(tc.resources, got.Resources); diff != "" {
					t.Errorf("%s\nf.RunFunction(...): -want resources, +got resources:\n%s", tc.reason, diff)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
			for _, f := range []string{"url", "servedModelName", "endpoints"} {
				if v := at(statusOf(rsp), f); v != nil {
					t.Errorf("%s\nf.RunFunction(...): status.%s speaks of somebody else's Service: %v", tc.reason, f, v)
				}
			}
		})
	}
}

// TestNameConflictLater makes sure that a running endpoint is not touched when
// something new that it wants has a name that is taken.
func TestNameConflictLater(t *testing.T) {
	w := runningWorld(t)
	before := w.reconcile(t)

	w.xr = merged(w.xr, `{"spec": {"cache": {"enabled": true}}}`)
	w.cluster = append(w.cluster, resource.MustStructJSON(`{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "chat-cache", "namespace": "team-a"}}`))
	after := w.reconcile(t)

	for n, r := range before.GetDesired().GetResources() {
		if diff := cmp.Diff(r.GetResource(), after.GetDesired().GetResources()[n].GetResource(), protocmp.Transform(), ignoreName()); diff != "" {
			t.Errorf("%s must stay as it is: -before the conflict, +after:\n%s", n, diff)
		}
	}
	want := digest{
		Ready:     "FALSE",
		Resources: []string{"config-object TRUE", "deployment-object TRUE", "service-object TRUE"},
		Conditions: []string{
			condSelected,
			"WorkloadReady=FALSE NameConflict: there is already a PersistentVolumeClaim chat-cache in namespace team-a that is not of this endpoint; delete it, or give the endpoint another name",
		},
		Connection: connection(),
	}
	if diff := cmp.Diff(want, digestOf(after)); diff != "" {
		t.Errorf("f.RunFunction(...): -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff("Degraded", at(statusOf(after), "phase").GetStringValue()); diff != "" {
		t.Errorf("It serves on: -want phase, +got phase:\n%s", diff)
	}
}

// ignoreName of an Object: Crossplane keeps the name of one that exists,
// whatever we say.
func ignoreName() cmp.Option {
	return cmp.FilterPath(func(p cmp.Path) bool {
		for _, s := range p {
			if m, ok := s.(cmp.MapIndex); ok && m.Key().String() == "metadata" && len(p) < 8 {
				return true
			}
		}
		return false
	}, cmp.Ignore())
}
