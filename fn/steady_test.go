package main

import (
	"maps"
	"slices"
	"testing"

	"github.com/crossplane/function-sdk-go/resource"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
)

// TestSteadyState makes sure that with nothing changing nothing is written:
// the status that a response has is the one that the next response has, the
// composed resources are, too, and nobody is told anything.
func TestSteadyState(t *testing.T) {
	cases := map[string]struct {
		reason  string
		spec    string
		seen    map[string]string
		cluster []string
		input   string
		old     bool
		// change of what runs, and all that the cluster can have.
		change string
		apis   bool
	}{
		"Ready":      {reason: "All is as it should be."},
		"ReadyOnOld": {reason: "Crossplane 1.20 runs us each minute.", old: true},
		"ReadyOfEverything": {
			reason: "All is as it should be.",
			spec:   `{"spec": {"cache": {"enabled": true}, "scaling": {"minReplicas": 1, "maxReplicas": 3}, "service": {"type": "NodePort"}}}`,
		},
		"ReadyOfTwo": {reason: "All is as it should be.", spec: `{"spec": {"scaling": {"minReplicas": 2}}}`},
		"Namespaced": {reason: "All is as it should be.", spec: xrNamespaced},
		"Starting":   {reason: "A model may load for an hour.", seen: map[string]string{nameDeployment: starting}},
		"WaitingForGPU": {
			reason: "There may be no GPU for days.",
			seen:   map[string]string{nameDeployment: starting}, cluster: []string{podPending},
		},
		"ApplyFailed": {
			reason: "A quota may not be raised for days.",
			seen:   map[string]string{nameDeployment: notSynced("exceeded quota")},
		},
		"Everything": {
			reason: "All is as it should be, however much it is.",
			spec:   everything, apis: true, cluster: []string{gatewayPublic},
			seen: map[string]string{nameHTTPRoute: routeAccepted},
		},
		"EverythingThatIsNotThere": {
			reason: "What a cluster does not have it may never have.",
			spec:   everything,
		},
		"KEDA": {
			reason: "KEDA may find nothing to do for days.",
			spec:   `{"spec": {"scaling": {"minReplicas": 0, "maxReplicas": 3}}}`, apis: true,
			input: `{"autoscaling": {"autoscaler": "KEDA", "prometheusAddress": "http://prometheus:9090", "activationQuery": "sum(waiting)"}}`,
		},
		"Asleep": {
			reason: "An endpoint may sleep for days.",
			spec:   `{"spec": {"scaling": {"minReplicas": 0, "maxReplicas": 3}}}`, apis: true,
			input: `{"autoscaling": {"autoscaler": "KEDA", "prometheusAddress": "http://prometheus:9090", "activationQuery": "sum(waiting)"}}`,
			seen: map[string]string{nameDeployment: live(`{"spec": {"replicas": 0}, "status": {
				"replicas": null, "updatedReplicas": null, "readyReplicas": null, "availableReplicas": null
			}}`)},
		},
		"Ingress": {
			reason: "An Ingress keeps its address.",
			spec:   `{"spec": {"service": {"route": {"hostname": "llm.example.org"}}}}`,
			input:  `{"route": {"ingressClass": "nginx"}}`,
		},
		"CanaryInProgress": {
			reason: "A canary may take an hour to load its model.",
			spec:   withCanary, change: toTag2,
			seen: map[string]string{nameCanary: starting},
		},
		"CanaryPromoting": {
			reason: "So may the workload that follows it.",
			spec:   withCanary, change: toTag2,
			seen: map[string]string{nameDeployment: live(`{"status": {"replicas": 2}}`)},
		},
		"CanaryPromoted": {
			reason: "What became of the last canary is told until the next.",
			spec:   withCanary, change: toTag2,
		},
		"CanaryRolledBack": {
			reason: "What failed is not tried again, though the user may not notice for days.",
			spec:   withCanary, change: toTag2,
			seen: map[string]string{nameCanary: refused},
		},
		"Remote": {
			reason: "Another cluster is as silent as ours.",
			spec:   inParis, input: twoClusters,
		},
		"RemoteConflict": {
			reason: "Whoever has our name may keep it for days.",
			spec:   inParis, input: twoClusters,
			seen: map[string]string{nameService: live(`{"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}}`)},
		},
		"RemoteOutOfReach": {
			reason: "A cluster may be out of reach for days.",
			spec:   inParis, input: twoClusters,
			seen: map[string]string{nameConfig: notSynced("no route to host"), nameDeployment: notSynced("no route to host"), nameService: notSynced("no route to host")},
		},
		"Problem": {
			reason: "A mistake may stay for days.",
			change: `{"spec": {"deployment": {"extraArgs": ["--max-modal-len", "8192"]}}}`,
		},
		"Input": {
			reason: "What a platform decided does not change from run to run.",
			input:  `{"inventory": [{"hardware": "MI300X", "gpusPerNode": 4}], "images": [{"backend": "vllm", "image": "localhost/vllm@sha256:0123"}]}`,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(patches(tc.spec)...)
			w.old = tc.old
			if tc.input != "" {
				w.input = resource.MustStructJSON(tc.input)
			}
			for _, o := range tc.cluster {
				w.cluster = append(w.cluster, resource.MustStructJSON(o))
			}
			if tc.apis {
				w.cluster = append(w.cluster, definitions()...)
			}
			for range 4 {
				seen := tc.seen
				if tc.change != "" {
					seen = nil
				}
				w.provide(t, w.reconcile(t), seen)
			}
			if tc.change != "" {
				w.xr = merged(w.xr, tc.change)
				for range 5 {
					w.provide(t, w.reconcile(t), tc.seen)
				}
			}

			wantSteady(t, w, tc.reason)
		})
	}
}

// wantSteady makes sure that nothing is written that is not written already.
func wantSteady(t *testing.T, w *world, reason string) {
	t.Helper()
	rsp := w.reconcile(t)
	if diff := cmp.Diff(at(w.xr, "status").GetStructValue(), statusOf(rsp), protocmp.Transform()); diff != "" {
		t.Errorf("%s\nf.RunFunction(...): -status before, +status after:\n%s", reason, diff)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(w.observed)), slices.Sorted(maps.Keys(rsp.GetDesired().GetResources()))); diff != "" {
		t.Errorf("%s\nf.RunFunction(...): -resources before, +resources after:\n%s", reason, diff)
	}
	for n, o := range w.observed {
		if diff := cmp.Diff(at(o.GetResource(), "spec"), at(rsp.GetDesired().GetResources()[n].GetResource(), "spec"), protocmp.Transform()); diff != "" {
			t.Errorf("%s\n%s: -spec before, +spec after:\n%s", reason, n, diff)
		}
	}
	if diff := cmp.Diff([]string(nil), digestOf(rsp).Results); diff != "" {
		t.Errorf("%s\nf.RunFunction(...): -want results, +got results:\n%s", reason, diff)
	}

	// The generation of a composite changes with all that is written to its spec,
	// by Crossplane too.
	if at(w.xr, "metadata", "namespace").GetStringValue() == "" {
		w.xr = merged(w.xr, `{"metadata": {"generation": 9, "resourceVersion": "123"}}`)
		if diff := cmp.Diff(statusOf(rsp), statusOf(w.reconcile(t)), protocmp.Transform()); diff != "" {
			t.Errorf("%s\nThe status moves with the composite's generation: -before, +after:\n%s", reason, diff)
		}
	}
}

// TestTransitions makes sure that people are told of what changed when it
// changed, and never again.
func TestTransitions(t *testing.T) {
	w := newWorld()
	step := func(reason string, want []string, seen map[string]string) {
		t.Helper()
		rsp := w.reconcile(t)
		if diff := cmp.Diff(want, digestOf(rsp).Results); diff != "" {
			t.Errorf("%s\nf.RunFunction(...): -want results, +got results:\n%s", reason, diff)
		}
		w.provide(t, rsp, seen)
	}

	step("A recipe was chosen.", []string{"NORMAL RecipeSelected: (why)"}, map[string]string{nameDeployment: gone, nameService: gone})
	step("It starts.", nil, map[string]string{nameDeployment: starting})
	step("It still starts.", nil, map[string]string{nameDeployment: starting})
	step("It goes on starting.", nil, nil)
	step("It is available.", []string{"NORMAL Ready: Qwen/Qwen3-8B serves at http://chat.team-a.svc.cluster.local:8000"}, nil)
	step("It is still available.", nil, map[string]string{nameDeployment: starting})
	step("It crashed.", nil, nil)
	step("It is available again.", []string{"NORMAL Ready: Qwen/Qwen3-8B serves at http://chat.team-a.svc.cluster.local:8000"}, nil)

	w.xr = merged(w.xr, `{"spec": {"model": {"id": "acme/unheard-of"}}}`)
	step("The user made a mistake, which the condition tells.", nil, nil)
	step("The user still has not noticed.", nil, nil)
	w.xr = merged(w.xr, `{"spec": {"model": {"id": "Qwen/Qwen3-8B"}}}`)
	step("The user took it back: what runs is what is wanted.", []string{"NORMAL Ready: Qwen/Qwen3-8B serves at http://chat.team-a.svc.cluster.local:8000"}, nil)

	w.xr = merged(w.xr, `{"spec": {"model": {"id": "Qwen/Qwen3-32B"}}}`)
	step("The user wants another model.", []string{"NORMAL RecipeSelected: (why)"}, map[string]string{nameDeployment: starting})
	step("It starts.", nil, nil)
	step("It is available.", []string{"NORMAL Ready: Qwen/Qwen3-32B serves at http://chat.team-a.svc.cluster.local:8000"}, nil)
	step("That's all.", nil, nil)
}

// TestKeepsRunning makes sure that what runs is neither deleted nor restarted
// because something else cannot be resolved.
func TestKeepsRunning(t *testing.T) {
	kept := "; Qwen/Qwen3-8B keeps running with recipe qwen3-8b-mi300x-bfloat16-vllm until then"
	resources := []string{"cache-object TRUE", "config-object TRUE", "deployment-object TRUE", "service-object TRUE"}
	available := "WorkloadReady=TRUE Available: 1 of 1 replicas are available"
	cacheBound := "CacheReady=TRUE Bound: the volume chat-cache of 50Gi is bound; the server downloads the model: the platform has set no agentImage"

	cases := map[string]struct {
		reason string
		change string
		input  string
		want   digest
	}{
		"ModelUnknown": {
			reason: "A typo in the model's id must not stop what runs.",
			change: `{"spec": {"model": {"id": "acme/unheard-of"}}}`,
			want: digest{
				Ready: "FALSE", Resources: resources, Connection: connection(),
				Conditions: []string{
					`RecipeSelected=FALSE NoRecipeForModel: there is no recipe for model "acme/unheard-of"; set spec.model.id to one of ` + models + kept,
					available, condService, cacheBound, condFixed,
				},
			},
		},
		"ConstraintsImpossible": {
			reason: "Nor must a constraint that nothing meets.",
			change: `{"spec": {"recipe": {"precision": "int8"}}}`,
			want: digest{
				Ready: "FALSE", Resources: resources, Connection: connection(),
				Conditions: []string{
					"RecipeSelected=FALSE NoRecipeMatches: (why)",
					available, condService, cacheBound, condFixed,
				},
			},
		},
		"HardwareGoneFromInventory": {
			reason: "Nor must a platform team that corrects its inventory. The user did not change anything, so the endpoint is still ready.",
			change: `{}`,
			input:  `{"inventory": [{"hardware": "MI210", "gpusPerNode": 4}]}`,
			want: digest{
				Ready: "TRUE", Resources: resources, Connection: connection(),
				Conditions: []string{
					"RecipeSelected=TRUE KeptPinned: (why)",
					available, condService, cacheBound, condFixed,
				},
			},
		},
		"ImageChanged": {
			reason: "Nor must a platform team that changes its image: endpoints follow when they are told to.",
			change: `{}`,
			input:  `{"images": [{"backend": "vllm", "image": "localhost/vllm:2"}]}`,
			want: digest{
				Ready: "TRUE", Resources: resources, Connection: connection(),
				Conditions: []string{
					"RecipeSelected=TRUE KeptPinned: (why)",
					available, condService, cacheBound, condFixed,
				},
			},
		},
		"StatusLost": {
			reason: "Without the status nothing says what runs, but the Objects do.",
			change: `{"status": null, "spec": {"model": {"id": "acme/unheard-of"}}}`,
			want: digest{
				Ready: "FALSE", Resources: resources,
				Conditions: []string{
					`RecipeSelected=FALSE NoRecipeForModel: there is no recipe for model "acme/unheard-of"; set spec.model.id to one of ` + models,
					"WorkloadReady=TRUE KeptPinned: what was composed before is kept as it is until a recipe can be selected",
				},
			},
		},
		"StatusUnreadable": {
			reason: "A status that somebody wrote over is as good as none.",
			change: `{"status": {"replicas": "many"}}`,
			want: digest{
				Ready: "TRUE", Resources: resources, Connection: connection(),
				Conditions: []string{condSelected, available, condService, cacheBound, condFixed},
				// It was chosen again, as far as anybody can tell.
				Results: []string{"NORMAL RecipeSelected: (why)"},
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := runningWorld(t, `{"spec": {"cache": {"enabled": true, "size": "50Gi"}}}`)
			before := w.reconcile(t)
			w.xr = merged(w.xr, tc.change)
			if tc.input != "" {
				w.input = resource.MustStructJSON(tc.input)
			}
			after := w.reconcile(t)

			if diff := cmp.Diff(tc.want, digestOf(after)); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
			for n, r := range before.GetDesired().GetResources() {
				got := after.GetDesired().GetResources()[n].GetResource()
				if diff := cmp.Diff(at(r.GetResource(), "spec"), at(got, "spec"), protocmp.Transform()); diff != "" {
					t.Errorf("%s\n%s must stay as it is: -before, +after:\n%s", tc.reason, n, diff)
				}
				if diff := cmp.Diff(at(r.GetResource(), "apiVersion"), at(got, "apiVersion"), protocmp.Transform()); diff != "" {
					t.Errorf("%s\n%s must stay as it is: -before, +after:\n%s", tc.reason, n, diff)
				}
			}
		})
	}
}

// TestModelChanged follows an endpoint from one model to another.
func TestModelChanged(t *testing.T) {
	w := runningWorld(t)
	w.xr = merged(w.xr, `{"spec": {"model": {"id": "Qwen/Qwen3-32B"}}}`)

	rsp := w.reconcile(t)
	if diff := cmp.Diff("WorkloadReady=FALSE RolloutInProgress: the change is being applied", digestOf(rsp).Conditions[1]); diff != "" {
		t.Errorf("The old model is available, which is not what the user waits for: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff("FALSE", digestOf(rsp).Ready); diff != "" {
		t.Errorf("-want ready, +got ready:\n%s", diff)
	}
	args := at(rsp.GetDesired().GetResources()[nameDeployment].GetResource(), "spec", "forProvider", "manifest", "spec", "template", "spec", "containers").
		GetListValue().GetValues()[0].GetStructValue().GetFields()["args"].GetListValue().GetValues()
	if diff := cmp.Diff("Qwen/Qwen3-32B", args[0].GetStringValue()); diff != "" {
		t.Errorf("-want model, +got model:\n%s", diff)
	}

	w.provide(t, rsp, nil)
	rsp = w.reconcile(t)
	if diff := cmp.Diff("TRUE", digestOf(rsp).Ready); diff != "" {
		t.Errorf("The new model is available: -want ready, +got ready:\n%s", diff)
	}
	if diff := cmp.Diff("Qwen/Qwen3-32B", string(rsp.GetDesired().GetComposite().GetConnectionDetails()["model"])); diff != "" {
		t.Errorf("Clients must ask for the new model: -want, +got:\n%s", diff)
	}
}

// TestReplicas makes sure that the number of replicas is either the user's or
// an autoscaler's, and that nobody resets it on the way from one to the other.
func TestReplicas(t *testing.T) {
	w := runningWorld(t, `{"spec": {"scaling": {"minReplicas": 2}}}`)
	has := func(reason string, rsp map[string]string) {
		t.Helper()
		got := map[string]string{}
		r := w.reconcile(t)
		for n, res := range r.GetDesired().GetResources() {
			m := at(res.GetResource(), "spec", "forProvider", "manifest").GetStructValue()
			for _, f := range []string{"replicas", "minReplicas", "maxReplicas"} {
				if v := at(m, "spec", f); v != nil {
					got[n+" "+f] = v.String()
				}
			}
		}
		if diff := cmp.Diff(rsp, got); diff != "" {
			t.Errorf("%s\n-want replicas, +got replicas:\n%s", reason, diff)
		}
		w.provide(t, r, nil)
	}

	has("The user's two.", map[string]string{"replicas-object replicas": "number_value:2"})
	w.xr = merged(w.xr, `{"spec": {"scaling": {"maxReplicas": 5}}}`)
	has("The Deployment's own manifest never has any, so taking the replicas away leaves them as they are.",
		map[string]string{"autoscaler-object minReplicas": "number_value:2", "autoscaler-object maxReplicas": "number_value:5"})
	w.xr = merged(w.xr, `{"spec": {"scaling": {"minReplicas": 3, "maxReplicas": 3}}}`)
	has("The user's three.", map[string]string{"replicas-object replicas": "number_value:3"})
}
