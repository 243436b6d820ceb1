package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/resource"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/utils/ptr"
)

// TestRunFunctionFatal is about what the function cannot understand at all.
func TestRunFunctionFatal(t *testing.T) {
	type args struct {
		req *fnv1.RunFunctionRequest
	}
	type want struct {
		rsp *fnv1.RunFunctionResponse
	}

	// What earlier steps desire must be returned even then.
	earlier := func() *fnv1.State {
		return &fnv1.State{
			Composite: &fnv1.Resource{Resource: resource.MustStructJSON(`{"status": {"team": "a"}}`)},
			Resources: map[string]*fnv1.Resource{
				"bucket": {Resource: resource.MustStructJSON(`{"apiVersion": "example.org/v1", "kind": "Bucket"}`), Ready: fnv1.Ready_READY_TRUE},
			},
		}
	}
	fatal := func(message string, desired *fnv1.State) *fnv1.RunFunctionResponse {
		return &fnv1.RunFunctionResponse{
			Meta:    &fnv1.ResponseMeta{Tag: "t", Ttl: durationpb.New(time.Minute)},
			Desired: desired,
			Results: []*fnv1.Result{{
				Severity: fnv1.Severity_SEVERITY_FATAL,
				Message:  message,
				Target:   fnv1.Target_TARGET_COMPOSITE.Enum(),
			}},
		}
	}
	nothing := &fnv1.State{Composite: &fnv1.Resource{}}

	// What we compose may have a claim, which a Fatal result does not reach.
	told := func(message string, desired *fnv1.State) *fnv1.RunFunctionResponse {
		rsp := fatal(message, desired)
		rsp.Conditions = []*fnv1.Condition{{
			Type: "WorkloadReady", Status: fnv1.Status_STATUS_CONDITION_FALSE, Reason: "ApplyFailed",
			Message: ptr.To(message + "; what runs stays as it is"), Target: fnv1.Target_TARGET_COMPOSITE_AND_CLAIM.Enum(),
		}}
		return rsp
	}
	cases := map[string]struct {
		reason string
		args   args
		want   want
	}{
		"EmptyRequest": {
			reason: "A request without a composite should say what we compose, not panic.",
			args:   args{req: &fnv1.RunFunctionRequest{Meta: &fnv1.RequestMeta{Tag: "t"}}},
			want: want{rsp: fatal(`cannot compose a "" of "": this function composes AIMCache, AIMEndpoint, AIMRecipe, XAIMCache, XAIMEndpoint and XAIMRecipe of "aim.engine.amd.com/v1alpha1"`,
				nothing)},
		},
		"UnknownKind": {
			reason: "A composite of another kind should say what we compose, and keep what earlier steps desire.",
			args: args{req: &fnv1.RunFunctionRequest{
				Meta: &fnv1.RequestMeta{Tag: "t"},
				Observed: &fnv1.State{Composite: &fnv1.Resource{Resource: resource.MustStructJSON(`{
					"apiVersion": "aim.engine.amd.com/v1alpha1",
					"kind": "XTeapot",
					"metadata": {"name": "short-and-stout"}
				}`)}},
				Desired: earlier(),
			}},
			want: want{rsp: fatal(`cannot compose a "XTeapot" of "aim.engine.amd.com/v1alpha1": this function composes AIMCache, AIMEndpoint, AIMRecipe, XAIMCache, XAIMEndpoint and XAIMRecipe of "aim.engine.amd.com/v1alpha1"`,
				earlier())},
		},
		"UnknownVersion": {
			reason: "We cannot know what fields another version of our API has.",
			args: args{req: &fnv1.RunFunctionRequest{
				Meta: &fnv1.RequestMeta{Tag: "t"},
				Observed: &fnv1.State{Composite: &fnv1.Resource{Resource: resource.MustStructJSON(`{
					"apiVersion": "aim.engine.amd.com/v2",
					"kind": "XAIMEndpoint"
				}`)}},
			}},
			want: want{rsp: fatal(`cannot compose a "XAIMEndpoint" of "aim.engine.amd.com/v2": this function composes AIMCache, AIMEndpoint, AIMRecipe, XAIMCache, XAIMEndpoint and XAIMRecipe of "aim.engine.amd.com/v1alpha1"`,
				nothing)},
		},
		"InvalidSpec": {
			reason: "A spec that our schema would not have admitted should be told of.",
			args: args{req: &fnv1.RunFunctionRequest{
				Meta:     &fnv1.RequestMeta{Tag: "t"},
				Observed: &fnv1.State{Composite: &fnv1.Resource{Resource: merged(resource.MustStructJSON(xrChat), `{"spec": {"scaling": {"minReplicas": "two"}}}`)}},
			}},
			want: want{rsp: told(`cannot read spec: cannot unmarshal *v1alpha1.AIMEndpointSpec: json: cannot unmarshal string into Go struct field Scaling.scaling.minReplicas of type int32`,
				nothing)},
		},
		"NoNamespace": {
			reason: "Without a claim we cannot know where to compose, and should say what to do about it.",
			args: args{req: &fnv1.RunFunctionRequest{
				Meta:     &fnv1.RequestMeta{Tag: "t"},
				Observed: &fnv1.State{Composite: &fnv1.Resource{Resource: merged(resource.MustStructJSON(xrChat), `{"metadata": {"labels": null}, "spec": {"claimRef": null}}`)}},
			}},
			want: want{rsp: told(`cannot tell which namespace to compose into: XAIMEndpoint "chat-x7k2p" has no claim; create an AIMEndpoint instead, or set namespace in this step's input`,
				nothing)},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rsp := run(t, tc.args.req)
			if diff := cmp.Diff(tc.want.rsp, rsp, protocmp.Transform()); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want rsp, +got rsp:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestRequirements is about what the function asks Crossplane for. The hash at
// the end of each name is that of the selector, which must not change from one
// release to the next without a reason: it would not break anything, but cost
// each endpoint an additional call.
func TestRequirements(t *testing.T) {
	named := func(apiVersion, kind, name string) *fnv1.ResourceSelector {
		return &fnv1.ResourceSelector{ApiVersion: apiVersion, Kind: kind, Namespace: ptr.To("team-a"), Match: &fnv1.ResourceSelector_MatchName{MatchName: name}}
	}
	targets := map[string]*fnv1.ResourceSelector{
		"target-config-2f6197331e90":     named("v1", "ConfigMap", "chat-config"),
		"target-deployment-2ceaf4effbdd": named("apps/v1", "Deployment", "chat"),
		"target-service-58a760677ef1":    named("v1", "Service", "chat"),
	}
	pods := map[string]*fnv1.ResourceSelector{
		"pods-50eed3afd823": {ApiVersion: "v1", Kind: "Pod", Namespace: ptr.To("team-a"), Match: &fnv1.ResourceSelector_MatchLabels{
			MatchLabels: &fnv1.MatchLabels{Labels: map[string]string{"aim.engine.amd.com/composite": "chat-x7k2p"}},
		}},
	}
	cached := `{"spec": {"cache": {"enabled": true, "size": "50Gi"}}}`

	cases := map[string]struct {
		reason string
		world  func(t *testing.T) *world
		want   *fnv1.Requirements
	}{
		"FirstCall": {
			reason: "Before we compose anything we must know whether the names are free.",
			world:  func(*testing.T) *world { return newWorld() },
			want:   &fnv1.Requirements{Resources: targets},
		},
		"FirstCallOfEverything": {
			reason: "A name that several objects share is asked for by each kind.",
			world: func(*testing.T) *world {
				return newWorld(cached, `{"spec": {"scaling": {"maxReplicas": 3}}}`)
			},
			want: &fnv1.Requirements{Resources: map[string]*fnv1.ResourceSelector{
				"target-config-2f6197331e90":     named("v1", "ConfigMap", "chat-config"),
				"target-deployment-2ceaf4effbdd": named("apps/v1", "Deployment", "chat"),
				"target-service-58a760677ef1":    named("v1", "Service", "chat"),
				"target-cache-427fe0552981":      named("v1", "PersistentVolumeClaim", "chat-cache"),
				"target-autoscaler-be9d5a0b7661": named("autoscaling/v2", "HorizontalPodAutoscaler", "chat"),

				"target-disruptionbudget-cd55669f45f6": named("policy/v1", "PodDisruptionBudget", "chat"),
			}},
		},
		"FirstCallOfOldCrossplane": {
			reason: "Crossplane 1.20 gets objects by name only if they are cluster scoped, and never settles if it is sent both fields.",
			world: func(*testing.T) *world {
				w := newWorld()
				w.old = true
				return w
			},
		},
		"NoRecipe": {
			reason: "What is not composed needs no names.",
			world:  func(*testing.T) *world { return newWorld(`{"spec": {"model": {"id": "acme/unheard-of"}}}`) },
		},
		"SomeExist": {
			reason: "An Object that exists was asked about before it was made. One that is new was not.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := runningWorld(t)
				w.xr = merged(w.xr, cached)
				return w
			},
			want: &fnv1.Requirements{Resources: map[string]*fnv1.ResourceSelector{
				"target-cache-427fe0552981": named("v1", "PersistentVolumeClaim", "chat-cache"),
			}},
		},
		"Running": {
			reason: "With everything as it should be there is nothing to ask.",
			world:  func(t *testing.T) *world { t.Helper(); return runningWorld(t) },
		},
		"NotAvailable": {
			reason: "Pods say why a workload is not available.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := runningWorld(t)
				w.provide(t, w.reconcile(t), map[string]string{nameDeployment: starting})
				return w
			},
			want: &fnv1.Requirements{Resources: pods},
		},
		"NotAvailableOldCrossplane": {
			reason: "Labels select namespaced objects on any Crossplane.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := runningWorld(t)
				w.provide(t, w.reconcile(t), map[string]string{nameDeployment: starting})
				w.old = true
				return w
			},
			want: &fnv1.Requirements{ExtraResources: pods},
		},
		"NotAvailableAndDisabled": {
			reason: "A platform may not want Crossplane to read pods.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := runningWorld(t)
				w.provide(t, w.reconcile(t), map[string]string{nameDeployment: starting})
				w.input = resource.MustStructJSON(`{"podDiagnosis": "Disabled"}`)
				return w
			},
		},
		"CacheShouldGrow": {
			reason: "Only the storage class says whether a volume can grow.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := runningWorld(t, cached)
				w.xr = merged(w.xr, `{"spec": {"cache": {"size": "80Gi"}}}`)
				return w
			},
			want: &fnv1.Requirements{Resources: map[string]*fnv1.ResourceSelector{
				"class-aaabdc1ae49b": {ApiVersion: "storage.k8s.io/v1", Kind: "StorageClass", Match: &fnv1.ResourceSelector_MatchName{MatchName: "standard"}},
			}},
		},
		"CacheShouldShrink": {
			reason: "No volume can shrink, whatever its class.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := runningWorld(t, cached)
				w.xr = merged(w.xr, `{"spec": {"cache": {"size": "20Gi"}}}`)
				return w
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			// That an answer does not change the question in the end, or
			// Crossplane would never get there, is seen by reconcile.
			rsp := tc.world(t).reconcile(t)
			got := rsp.GetRequirements()
			catalog := map[string]*fnv1.ResourceSelector{}
			all := []map[string]*fnv1.ResourceSelector{got.GetResources(), got.GetExtraResources()} //nolint:staticcheck // What Crossplane before 2.2 knows.
			for _, selectors := range all {
				for k, s := range selectors {
					if strings.HasPrefix(k, "recipes-") {
						catalog[k] = s
						delete(selectors, k)
					}
				}
			}
			if len(catalog) != 2 {
				t.Errorf("%s\nf.RunFunction(...): an endpoint asks for the recipes of its namespace, and for those of the platform: %v", tc.reason, catalog)
			}
			if tc.want == nil {
				tc.want = &fnv1.Requirements{}
			}
			if diff := cmp.Diff(tc.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want requirements, +got requirements:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestEarlierSteps makes sure that what earlier steps of a pipeline desire is
// returned, whatever becomes of ours.
func TestEarlierSteps(t *testing.T) {
	bucket := &fnv1.Resource{Resource: resource.MustStructJSON(`{"apiVersion": "example.org/v1", "kind": "Bucket", "spec": {"region": "eu"}}`), Ready: fnv1.Ready_READY_TRUE}

	cases := map[string]struct {
		reason string
		world  func(t *testing.T) *world
	}{
		"Fresh":    {reason: "We add to what there is.", world: func(*testing.T) *world { return newWorld() }},
		"Running":  {reason: "We add to what there is.", world: func(t *testing.T) *world { t.Helper(); return runningWorld(t) }},
		"NoRecipe": {reason: "Our failure is not theirs.", world: func(*testing.T) *world { return newWorld(`{"spec": {"model": {"id": "acme/unheard-of"}}}`) }},
		"Conflict": {reason: "Our failure is not theirs.", world: func(*testing.T) *world {
			w := newWorld()
			w.cluster = append(w.cluster, resource.MustStructJSON(`{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "chat", "namespace": "team-a"}}`))
			return w
		}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := tc.world(t)
			w.before = &fnv1.State{
				Composite: &fnv1.Resource{
					Resource:          resource.MustStructJSON(`{"status": {"bucket": "b-1", "phase": "Unheard"}}`),
					ConnectionDetails: map[string][]byte{"bucket": []byte("b-1")},
				},
				Resources: map[string]*fnv1.Resource{"bucket": bucket},
			}
			w.context = resource.MustStructJSON(`{"example.org/region": "eu"}`)
			rsp := w.reconcile(t)

			if diff := cmp.Diff(bucket, rsp.GetDesired().GetResources()["bucket"], protocmp.Transform()); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want desired resource, +got desired resource:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff("b-1", at(statusOf(rsp), "bucket").GetStringValue()); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want status.bucket, +got status.bucket:\n%s", tc.reason, diff)
			}
			if at(statusOf(rsp), "phase").GetStringValue() == "Unheard" {
				t.Errorf("%s\nf.RunFunction(...): the phase is ours to say", tc.reason)
			}
			if diff := cmp.Diff("b-1", string(rsp.GetDesired().GetComposite().GetConnectionDetails()["bucket"])); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want connection detail, +got connection detail:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff("eu", rsp.GetContext().GetFields()["example.org/region"].GetStringValue()); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want context, +got context:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestEarlierReadiness makes sure that we never call a composite ready that an
// earlier step called not ready, or that has an unready resource of another
// step.
func TestEarlierReadiness(t *testing.T) {
	cases := map[string]struct {
		reason string
		before *fnv1.State
		want   fnv1.Ready
	}{
		"NoEarlierSteps": {
			reason: "All is ready, and it is up to us to say so.",
			want:   fnv1.Ready_READY_TRUE,
		},
		"CompositeNotReady": {
			reason: "An earlier step knows something that we do not.",
			before: &fnv1.State{Composite: &fnv1.Resource{Ready: fnv1.Ready_READY_FALSE}},
			want:   fnv1.Ready_READY_FALSE,
		},
		"ResourceNotReady": {
			reason: "Crossplane finds out by itself that a resource is not ready, and names it.",
			before: &fnv1.State{Resources: map[string]*fnv1.Resource{"bucket": {Resource: &structpb.Struct{}, Ready: fnv1.Ready_READY_FALSE}}},
			want:   fnv1.Ready_READY_UNSPECIFIED,
		},
		"ResourceUnspecified": {
			reason: "A later step, such as function-auto-ready, may still say whether it is ready.",
			before: &fnv1.State{Resources: map[string]*fnv1.Resource{"bucket": {Resource: &structpb.Struct{}}}},
			want:   fnv1.Ready_READY_UNSPECIFIED,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := runningWorld(t)
			w.before = tc.before
			got := w.reconcile(t).GetDesired().GetComposite().GetReady()
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want composite ready, +got composite ready:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestTTL is about when Crossplane should run the function again although
// nothing that it watches has changed.
func TestTTL(t *testing.T) {
	cases := map[string]struct {
		reason string
		world  func(t *testing.T) *world
		want   time.Duration
	}{
		"NotReady": {
			reason: "Something is on its way.",
			world:  func(*testing.T) *world { return newWorld() },
			want:   time.Minute,
		},
		"Ready": {
			reason: "Crossplane watches all that matters. The next run is a safety net.",
			world:  func(t *testing.T) *world { t.Helper(); return runningWorld(t) },
			want:   10 * time.Minute,
		},
		"ReadyOnOldCrossplane": {
			reason: "Crossplane 1.20 does not watch what we require.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := runningWorld(t)
				w.old = true
				return w
			},
			want: time.Minute,
		},
		"NoRecipe": {
			reason: "A platform team may change its input, which nobody watches.",
			world:  func(*testing.T) *world { return newWorld(`{"spec": {"model": {"id": "acme/unheard-of"}}}`) },
			want:   time.Minute,
		},
		"Unresponsive": {
			reason: "Crossplane drops changes, so we have to look for them.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := runningWorld(t)
				w.xr = merged(w.xr, `{"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Responsive", "status": "False", "reason": "WatchCircuitOpen"}]}}`)
				return w
			},
			want: 15 * time.Second,
		},
		"Responsive": {
			reason: "It has recovered.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := runningWorld(t)
				w.xr = merged(w.xr, `{"status": {"conditions": [{"type": "Responsive", "status": "True", "reason": "WatchCircuitClosed"}]}}`)
				return w
			},
			want: 10 * time.Minute,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := tc.world(t).reconcile(t).GetMeta().GetTtl().AsDuration()
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want ttl, +got ttl:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestDeterminism makes sure that the same request always has the same
// response, to the last byte: Crossplane writes what differs, and is told of
// what was written.
func TestDeterminism(t *testing.T) {
	for name, req := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			var first []byte
			for i := range 50 {
				b, err := proto.MarshalOptions{Deterministic: true}.Marshal(run(t, req))
				if err != nil {
					t.Fatalf("cannot marshal the response: %v", err)
				}
				if i == 0 {
					first = b
					continue
				}
				if !bytes.Equal(first, b) {
					want, got := &fnv1.RunFunctionResponse{}, &fnv1.RunFunctionResponse{}
					if err := proto.Unmarshal(first, want); err != nil {
						t.Fatal(err)
					}
					if err := proto.Unmarshal(b, got); err != nil {
						t.Fatal(err)
					}
					t.Fatalf("The same request had another response in run %d: -first, +this:\n%s", i, cmp.Diff(want, got, protocmp.Transform()))
				}
			}
		})
	}
}

// everything that a spec can ask for.
const everything = `{"spec": {
	"cache": {"enabled": true, "size": "80Gi"},
	"scaling": {"minReplicas": 2, "maxReplicas": 4, "targetCPUUtilization": 70, "targetGPUUtilization": 80, "targetQueueDepth": 3, "scaleDownDelay": 60},
	"service": {"port": 80, "route": {"hostname": "llm.example.org", "gateway": {"name": "public", "sectionName": "https"}}},
	"monitoring": {"enabled": true, "prometheus": {"interval": "15s"}, "grafana": {"dashboard": "Chat"}},
	"security": {
		"serviceAccount": {"create": true, "name": "llm"}, "podSecurityContext": {"runAsUser": 1000}, "supplementalGroups": [109, 44],
		"apiKeySecretRef": {"name": "keys", "key": "chat"},
		"networkPolicy": {"enabled": true, "allowFrom": [{"podSelector": {}}, {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}
	},
	"deployment": {
		"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}, "canary": {"enabled": true, "trafficSplit": 50},
		"env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
		"extraArgs": ["--enforce-eager", "true", "--max-num-seqs", "64"],
		"podLabels": {"team": "a"}, "podAnnotations": {"example.org/a": "b"}, "nodeSelector": {"zone": "a"},
		"tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
		"affinity": {
			"nodeAffinity": {
				"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "pool", "operator": "In", "values": ["a"]}]}]},
				"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}}]
			},
			"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {}}}]}
		},
		"schedulerName": "kueue", "terminationGracePeriodSeconds": 600, "disruptionBudget": {"minAvailable": "50%"}
	},
	"hfTokenSecretRef": {"name": "hf", "key": "token"},
	"writeConnectionSecretToRef": {"namespace": "crossplane-system", "name": "chat-conn"}
}}`

// gatewayPublic is what its route is attached to.
const gatewayPublic = `{
	"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "public", "namespace": "team-a"},
	"spec": {"gatewayClassName": "c", "listeners": [{"name": "https", "port": 443, "protocol": "HTTPS"}]}
}`

// routeAccepted is a merge patch of the Object of a route that it takes.
const routeAccepted = `{"status": {"atProvider": {"manifest": {"status": {"parents": [{
	"parentRef": {"name": "public"}, "controllerName": "c",
	"conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
}]}}}}}`

// corpus of requests that differ from each other in what the function does.
func corpus(tb testing.TB) map[string]*fnv1.RunFunctionRequest {
	tb.Helper()
	all := `{"spec": {
		"cache": {"enabled": true, "size": "80Gi"},
		"scaling": {"minReplicas": 2, "maxReplicas": 4, "targetGPUUtilization": 80, "targetQueueDepth": 3},
		"service": {"type": "LoadBalancer", "annotations": {"b": "2", "a": "1", "c": "3"}},
		"security": {"podSecurityContext": {"runAsUser": 1000}, "supplementalGroups": [109, 44]},
		"image": {"repository": "localhost:5000/vllm", "pullSecrets": ["one", "two"]},
		"hfTokenSecretRef": {"name": "hf", "key": "token"}
	}}`
	with := func(w *world, change func(w *world)) *world {
		change(w)
		return w
	}
	worlds := map[string]*world{
		"Recipe":        recipeWorld(),
		"RecipeInvalid": recipeWorld(`{"spec": {"hardware": "MI210", "precision": "fp8", "backend": "sglang"}}`),
		"RecipeOfAll": recipeWorld(`{"spec": {
			"priority": 3, "image": {"tag": "v1"}, "modelFacts": {"parametersBillion": 7.5, "layers": 32, "weightsGiB": 15},
			"performance": {"expectedTokensPerSecond": 100, "expectedLatencyMs": 5},
			"configurations": [{
				"gpuCount": 2, "args": ["--dtype", "float8_e4m3", "--max-num-seqs=64", "--trust_remote_code", "true", "--compilation-config", "{}"],
				"env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
				"resources": {"requests": {"cpu": "4", "memory": "64Gi", "amd.com/gpu": "2"}, "limits": {"memory": "128Gi"}}
			}]
		}}`),
		"RecipeInUse":  with(recipeWorld(), func(w *world) { w.cluster = []*structpb.Struct{user(tb, "team-a", "one")} }),
		"FromRecipe":   with(newWorld(), func(w *world) { w.cluster = entryOfMine(tb) }),
		"CustomRecipe": with(newWorld(`{"spec": {"recipe": {"customRecipe": {"name": "mine"}}}}`), func(w *world) { w.cluster = entryOfMine(tb) }),
		"Inventory": with(newWorld(), func(w *world) {
			w.input = resource.MustStructJSON(`{"inventoryFrom": {"environmentConfig": "gpus"}, "recipeNamespaces": ["*"]}`)
			w.cluster = []*structpb.Struct{resource.MustStructJSON(`{"apiVersion": "apiextensions.crossplane.io/v1beta1", "kind": "EnvironmentConfig", "metadata": {"name": "gpus"}, "data": {"inventory": [{"hardware": "MI300X", "gpusPerNode": 8}]}}`)}
		}),
		"Fresh":    newWorld(),
		"FreshAll": newWorld(all),
		"FreshOld": with(newWorld(all), func(w *world) { w.old = true }),
		"Running":  runningWorld(tb),
		"RunningAll": with(runningWorld(tb, all), func(w *world) {
			w.input = resource.MustStructJSON(`{"inventory": [{"hardware": "MI300X", "gpusPerNode": 8}], "images": [{"backend": "vllm", "image": "localhost/vllm:1"}]}`)
		}),
		"Degraded": with(runningWorld(tb), func(w *world) {
			w.provide(tb, w.reconcile(tb), map[string]string{nameDeployment: starting})
			w.cluster = append(w.cluster, resource.MustStructJSON(podPending))
		}),
		"ApplyFailed": with(runningWorld(tb), func(w *world) {
			w.provide(tb, w.reconcile(tb), map[string]string{
				nameDeployment: notSynced("one"), nameConfig: notSynced("two"), nameReplicas: notSynced("three"), nameService: notSynced("four"),
			})
		}),
		"Preloading": with(preloadWorld(), func(w *world) { w.provide(tb, w.reconcile(tb), nil) }),
		"Preloaded": with(preloadWorld(), func(w *world) {
			for range 3 {
				rsp := w.reconcile(tb)
				seen := map[string]string{}
				for _, n := range preloadNames(rsp) {
					seen[n] = jobIs("Complete", "")
				}
				w.provide(tb, rsp, seen)
			}
			w.xr = merged(w.xr, `{"spec": {"model": {"id": "Qwen/Qwen3-32B"}}}`)
		}),
		"ModelChanged": with(runningWorld(tb), func(w *world) {
			w.xr = merged(w.xr, `{"spec": {"model": {"id": "Qwen/Qwen3-32B"}}}`)
		}),
		"ModelUnknown": with(runningWorld(tb), func(w *world) {
			w.xr = merged(w.xr, `{"spec": {"model": {"id": "acme/unheard-of"}}}`)
		}),
		"StatusLost": with(runningWorld(tb), func(w *world) {
			w.xr = merged(w.xr, `{"status": null, "spec": {"model": {"id": "acme/unheard-of"}}}`)
		}),
		"CacheGrows": with(runningWorld(tb, all), func(w *world) {
			w.xr = merged(w.xr, `{"spec": {"cache": {"size": "90Gi"}}}`)
			w.cluster = append(w.cluster, resource.MustStructJSON(classExpandable))
		}),
		"Namespaced": newWorld(xrNamespaced),
		"Everything": with(newWorld(everything), func(w *world) {
			w.cluster = append(definitions(), resource.MustStructJSON(gatewayPublic))
			for range 3 {
				w.provide(tb, w.reconcile(tb), map[string]string{nameHTTPRoute: routeAccepted})
			}
		}),
		"KEDA": with(newWorld(`{"spec": {"scaling": {"minReplicas": 0, "maxReplicas": 3, "targetGPUUtilization": 80, "targetKVCacheUtilization": 80}}}`), func(w *world) {
			w.cluster = definitions()
			w.input = resource.MustStructJSON(`{
				"autoscaling": {"autoscaler": "KEDA", "prometheusAddress": "http://prometheus:9090", "activationQuery": "sum(waiting{name=\"$name\"})"},
				"monitoring": {"labels": {"release": "prom"}, "scrapeFrom": [{"namespaceSelector": {}}]}, "route": {"ingressClass": "nginx"},
				"security": {"serviceAccount": {"name": "all"}, "networkPolicy": {"enabled": true}}
			}`)
			for range 3 {
				w.provide(tb, w.reconcile(tb), nil)
			}
		}),
		"Canary": with(runningWorld(tb, everything), func(w *world) {
			w.xr = merged(w.xr, toTag2)
			w.provide(tb, w.reconcile(tb), map[string]string{nameCanary: starting})
			w.cluster = append(w.cluster, canaryPod(w, crashLoop))
		}),
		"Remote":     remoteWorld(tb, everything),
		"CacheFresh": cacheWorld(preloading, cleaning),
		"CacheInUse": with(runningCache(tb, cleaning, `{"spec": {"models": [
			{"id": "Qwen/Qwen3-8B", "priority": "high", "preload": true}, {"id": "Qwen/Qwen3-32B", "revision": "v2", "maxSize": "90Gi", "preload": true}, {"id": "a/b", "retention": "4w"}
		], "hfTokenSecretRef": {"name": "hf", "key": "token"}}}`), func(w *world) {
			w.cluster = []*structpb.Struct{cacheUser(tb, "talk"), cacheUser(tb, "chat")}
			w.provide(tb, w.reconcile(tb), map[string]string{
				nameInventory: measuredBy(tb, inInventory("Qwen/Qwen3-8B", "main", "Cached")+","+inInventory("Qwen/Qwen3-32B", "v2", "Downloading")),
				nameCleanup:   live(`{"status": {"lastScheduleTime": "2026-03-01T03:00:00Z"}}`),
			})
		}),
		"UsesCache": with(newWorld(usingCache), func(w *world) {
			w.cluster = []*structpb.Struct{claimOfCache(hasModel)}
			w.provide(tb, w.reconcile(tb), nil)
		}),
	}
	reqs := map[string]*fnv1.RunFunctionRequest{
		"Empty":      {},
		"Unanswered": newWorld().request(),
	}
	for n, w := range worlds {
		reqs[n] = w.settle(tb)
	}
	return reqs
}
