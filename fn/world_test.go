package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/resource"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/aim-engine/function-aim/fn/endpoint"
)

// xrChat is the composite of a claim named chat in the namespace team-a.
const xrChat = `{
	"apiVersion": "aim.engine.amd.com/v1alpha1",
	"kind": "XAIMEndpoint",
	"metadata": {
		"name": "chat-x7k2p",
		"generation": 3,
		"labels": {"crossplane.io/claim-name": "chat", "crossplane.io/claim-namespace": "team-a"}
	},
	"spec": {
		"claimRef": {"apiVersion": "aim.engine.amd.com/v1alpha1", "kind": "AIMEndpoint", "namespace": "team-a", "name": "chat"},
		"compositionRef": {"name": "aimendpoints"},
		"model": {"id": "Qwen/Qwen3-8B"},
		"recipe": {"hardware": "MI300X"}
	}
}`

// Names of composed resources.
const (
	nameConfig         = "config-object"
	nameCache          = "cache-object"
	nameDeployment     = "deployment-object"
	nameReplicas       = "replicas-object"
	nameService        = "service-object"
	nameCanary         = "canary-object"
	nameAutoscaler     = "autoscaler-object"
	nameScaledObject   = "scaledobject-object"
	nameHTTPRoute      = "httproute-object"
	nameServiceMonitor = "servicemonitor-object"
	nameAPIKey         = "apikey-object"
)

// A world is what Crossplane and provider-kubernetes show to the function. It
// does what they do, as far as the function can tell.
type world struct {
	// xr is the composite.
	xr *structpb.Struct
	// input of the pipeline's step; there is none if it is nil.
	input *structpb.Struct
	// before is what earlier steps of the pipeline desire.
	before *fnv1.State
	// context of earlier steps.
	context *structpb.Struct
	// cluster is what required resources are found among.
	cluster []*structpb.Struct
	// observed composed resources.
	observed map[string]*fnv1.Resource
	// targets of the Objects by kind and name.
	targets map[string]*structpb.Struct
	// old is a Crossplane that knows neither capabilities nor required
	// resources.
	old bool
}

// newWorld in which there is only a composite: xrChat, with merge patches.
func newWorld(patches ...string) *world {
	return &world{
		xr:       merged(resource.MustStructJSON(xrChat), patches...),
		observed: map[string]*fnv1.Resource{},
		targets:  map[string]*structpb.Struct{},
	}
}

// runningWorld is one in which all that the function composes is there, works,
// and has been reported.
func runningWorld(tb testing.TB, patches ...string) *world {
	tb.Helper()
	w := newWorld(patches...)
	// Deployment and Service come first; what depends on a live Deployment
	// comes next; and then the status tells of both.
	for range 3 {
		w.provide(tb, w.reconcile(tb), nil)
	}
	return w
}

// definitions of all that a cluster can have beyond Kubernetes' own kinds.
func definitions() []*structpb.Struct {
	var out []*structpb.Struct
	for _, a := range endpoint.APIs() {
		out = append(out, definition(a))
	}
	return out
}

// merged with JSON merge patches (RFC 7386).
func merged(s *structpb.Struct, patches ...string) *structpb.Struct {
	out := proto.Clone(s).(*structpb.Struct)
	for _, p := range patches {
		mergeInto(out, resource.MustStructJSON(p))
	}
	return out
}

func mergeInto(s, patch *structpb.Struct) {
	if s.Fields == nil {
		s.Fields = map[string]*structpb.Value{}
	}
	for k, v := range patch.GetFields() {
		switch v.GetKind().(type) {
		case *structpb.Value_NullValue:
			delete(s.GetFields(), k)
		case *structpb.Value_StructValue:
			if s.GetFields()[k].GetStructValue() == nil {
				s.Fields[k] = structpb.NewStructValue(&structpb.Struct{})
			}
			mergeInto(s.GetFields()[k].GetStructValue(), v.GetStructValue())
		default:
			s.Fields[k] = proto.Clone(v).(*structpb.Value)
		}
	}
}

// at a path of a struct.
func at(s *structpb.Struct, path ...string) *structpb.Value {
	return composite{raw: s}.field(path...)
}

// request is what Crossplane sends first.
func (w *world) request() *fnv1.RunFunctionRequest {
	req := &fnv1.RunFunctionRequest{
		Meta:     &fnv1.RequestMeta{Tag: "t"},
		Observed: &fnv1.State{Composite: &fnv1.Resource{Resource: w.xr}, Resources: w.observed},
		Desired:  w.before,
		Input:    w.input,
		Context:  w.context,
	}
	if !w.old {
		req.Meta.Capabilities = []fnv1.Capability{
			fnv1.Capability_CAPABILITY_CAPABILITIES,
			fnv1.Capability_CAPABILITY_REQUIRED_RESOURCES,
			fnv1.Capability_CAPABILITY_CONDITIONS,
		}
	}
	// Nothing that the function does to a request may come back here.
	return proto.Clone(req).(*fnv1.RunFunctionRequest)
}

// settle calls the function until its requirements are met, as Crossplane
// does, and returns the request that met them.
func (w *world) settle(tb testing.TB) *fnv1.RunFunctionRequest {
	tb.Helper()
	req := w.request()
	last := &fnv1.Requirements{}
	// Crossplane gives up after five calls that change the requirements.
	for range 6 {
		rsp := run(tb, req)
		if rsp.GetRequirements() == nil || proto.Equal(last, rsp.GetRequirements()) {
			return req
		}
		last = rsp.GetRequirements()
		req = w.request()
		if w.old {
			req.ExtraResources = w.find(last.GetExtraResources()) //nolint:staticcheck // What Crossplane before 2.2 knows.
		} else {
			req.RequiredResources = w.find(last.GetResources())
		}
	}
	tb.Fatalf("the requirements did not settle: %v", last)
	return nil
}

// reconcile returns the response that Crossplane acts upon.
func (w *world) reconcile(tb testing.TB) *fnv1.RunFunctionResponse {
	tb.Helper()
	return run(tb, w.settle(tb))
}

// run the function on a copy of a request.
func run(tb testing.TB, req *fnv1.RunFunctionRequest) *fnv1.RunFunctionResponse {
	tb.Helper()
	f := &Function{log: logging.NewNopLogger()}
	rsp, err := f.RunFunction(context.Background(), proto.Clone(req).(*fnv1.RunFunctionRequest))
	if err != nil {
		tb.Fatalf("f.RunFunction(...): the function must never return an error: %v", err)
	}
	for _, r := range rsp.GetResults() {
		if strings.Contains(r.GetMessage(), "internal error") {
			tb.Fatalf("f.RunFunction(...): the function panicked: %s", r.GetMessage())
		}
	}
	return rsp
}

// find what selectors select. What they select nothing for has an empty
// answer, which is not the same as none.
func (w *world) find(selectors map[string]*fnv1.ResourceSelector) map[string]*fnv1.Resources {
	out := map[string]*fnv1.Resources{}
	for k, s := range selectors {
		out[k] = &fnv1.Resources{}
		for _, o := range w.cluster {
			if at(o, "apiVersion").GetStringValue() != s.GetApiVersion() || at(o, "kind").GetStringValue() != s.GetKind() {
				continue
			}
			if n := s.GetMatchName(); n != "" && at(o, "metadata", "name").GetStringValue() != n {
				continue
			}
			// Crossplane before 2.0 does not know the namespace. Without one,
			// labels select from all of them.
			if anywhere := s.GetNamespace() == "" && s.GetMatchLabels() != nil; !anywhere && !w.old && at(o, "metadata", "namespace").GetStringValue() != s.GetNamespace() {
				continue
			}
			has := labels(o)
			if slices.ContainsFunc(slices.Collect(maps.Keys(s.GetMatchLabels().GetLabels())), func(l string) bool { return has[l] != s.GetMatchLabels().GetLabels()[l] }) {
				continue
			}
			out[k].Items = append(out[k].Items, &fnv1.Resource{Resource: o})
		}
	}
	return out
}

// provide does what follows a response: Crossplane keeps the status, makes the
// desired Objects and deletes all others; the provider applies their manifests;
// and the cluster makes everything work at once. Merge patches by name then say
// what is different in an observed Object.
func (w *world) provide(tb testing.TB, rsp *fnv1.RunFunctionResponse, patches map[string]string) {
	tb.Helper()
	w.xr = merged(w.xr, `{"status": null}`)
	if s := at(rsp.GetDesired().GetComposite().GetResource(), "status"); s.GetStructValue() != nil {
		w.xr.Fields["status"] = s
	}

	desired := rsp.GetDesired().GetResources()
	names := slices.Sorted(maps.Keys(desired))
	for _, n := range names {
		m := at(desired[n].GetResource(), "spec", "forProvider", "manifest").GetStructValue()
		if m == nil {
			continue // Another step's.
		}
		key := targetKey(m)
		// What only looks makes nothing. It sees what a patch is of.
		if _, ok := patches[n]; observesOnly(desired[n].GetResource()) && !ok {
			continue
		}
		if w.targets[key] == nil {
			w.targets[key] = &structpb.Struct{}
		}
		mergeInto(w.targets[key], m)
	}
	w.observed = map[string]*fnv1.Resource{}
	for _, n := range names {
		m := at(desired[n].GetResource(), "spec", "forProvider", "manifest").GetStructValue()
		if m == nil {
			continue
		}
		o := proto.Clone(desired[n].GetResource()).(*structpb.Struct)
		mergeInto(o, resource.MustStructJSON(fmt.Sprintf(`{
			"metadata": {"annotations": {"crossplane.io/composition-resource-name": %q}},
			"status": {"conditions": [
				{"type": "Synced", "status": "True", "reason": "ReconcileSuccess"},
				{"type": "Ready", "status": "True", "reason": "Available"}
			]}
		}`, n)))
		if at(o, "metadata", "name").GetStringValue() == "" {
			mergeInto(o, resource.MustStructJSON(fmt.Sprintf(`{"metadata": {"name": "chat-x7k2p-%s"}}`, n)))
		}
		if target := w.targets[targetKey(m)]; target != nil {
			work(target)
			mergeInto(o, mustStruct(tb, map[string]any{"status": map[string]any{"atProvider": map[string]any{"manifest": target.AsMap()}}}))
		} else {
			// What provider-kubernetes 1.2 says.
			mergeInto(o, resource.MustStructJSON(notSynced("observe failed: external resource does not exist")))
		}
		if p, ok := patches[n]; ok {
			mergeInto(o, resource.MustStructJSON(p))
		}
		w.observed[n] = &fnv1.Resource{Resource: o}
	}
}

// observesOnly says whether an Object only looks at its target.
func observesOnly(o *structpb.Struct) bool {
	l := at(o, "spec", "managementPolicies").GetListValue().GetValues()
	return len(l) == 1 && l[0].GetStringValue() == "Observe"
}

func targetKey(m *structpb.Struct) string {
	return at(m, "kind").GetStringValue() + "/" + at(m, "metadata", "namespace").GetStringValue() + "/" + at(m, "metadata", "name").GetStringValue()
}

// work is what a cluster makes of an object that is applied to it.
func work(target *structpb.Struct) {
	mergeInto(target, resource.MustStructJSON(`{"metadata": {"uid": "0d9a3c1e", "generation": 1}}`))
	switch at(target, "kind").GetStringValue() {
	case "Deployment":
		if at(target, "spec", "replicas") == nil {
			mergeInto(target, resource.MustStructJSON(`{"spec": {"replicas": 1}}`))
		}
		n := at(target, "spec", "replicas").GetNumberValue()
		mergeInto(target, resource.MustStructJSON(fmt.Sprintf(`{"status": {
			"observedGeneration": 1, "replicas": %[1]v, "updatedReplicas": %[1]v, "readyReplicas": %[1]v, "availableReplicas": %[1]v,
			"conditions": [
				{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
				{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
			]
		}}`, n)))
	case "Service":
		mergeInto(target, resource.MustStructJSON(`{"spec": {"clusterIP": "10.96.0.10"}, "status": {"loadBalancer": {}}}`))
	case "PersistentVolumeClaim":
		if at(target, "spec", "storageClassName") == nil {
			mergeInto(target, resource.MustStructJSON(`{"spec": {"storageClassName": "standard"}}`))
		}
		mergeInto(target, resource.MustStructJSON(`{"status": {"phase": "Bound"}}`))
	case "ScaledObject":
		mergeInto(target, resource.MustStructJSON(`{"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "ScaledObjectReady"}]}}`))
	case "Ingress":
		mergeInto(target, resource.MustStructJSON(`{"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.3"}]}}}`))
	case "HorizontalPodAutoscaler":
		mergeInto(target, resource.MustStructJSON(`{"status": {"conditions": [{"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound"}]}}`))
	}
}

func mustStruct(tb testing.TB, v any) *structpb.Struct {
	tb.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return resource.MustStructJSON(string(b))
}

// live is a merge patch of an observed Object's target.
func live(patch string) string {
	return fmt.Sprintf(`{"status": {"atProvider": {"manifest": %s}}}`, patch)
}

// gone is a merge patch of an Object that was made a moment ago: the provider
// has yet to look at it.
const gone = `{"status": null}`

// notSynced is a merge patch of an Object whose manifest was refused.
func notSynced(message string) string {
	return fmt.Sprintf(`{"status": {"conditions": [
		{"type": "Synced", "status": "False", "reason": "ReconcileError", "message": %q},
		{"type": "Ready", "status": "True", "reason": "Available"}
	]}}`, message)
}

// starting is a merge patch of a Deployment's Object whose pods are not
// available.
const starting = `{"status": {
	"conditions": [
		{"type": "Synced", "status": "True", "reason": "ReconcileSuccess"},
		{"type": "Ready", "status": "False", "reason": "Unavailable"}
	],
	"atProvider": {"manifest": {"status": {
		"readyReplicas": null, "availableReplicas": null, "unavailableReplicas": 1,
		"conditions": [
			{"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"},
			{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}
		]
	}}}
}}`

// A digest is what a response says, in a form that people can read. The status
// and the composed resources themselves are not in it.
type digest struct {
	Ready      string
	Resources  []string
	Conditions []string
	Results    []string
	Connection map[string]string
}

func digestOf(rsp *fnv1.RunFunctionResponse) digest {
	d := digest{
		Ready: strings.TrimPrefix(rsp.GetDesired().GetComposite().GetReady().String(), "READY_"),
	}
	for _, n := range slices.Sorted(maps.Keys(rsp.GetDesired().GetResources())) {
		d.Resources = append(d.Resources, n+" "+strings.TrimPrefix(rsp.GetDesired().GetResources()[n].GetReady().String(), "READY_"))
	}
	why := ""
	for _, c := range rsp.GetConditions() {
		if c.GetReason() == "NoCanary" || (c.GetReason() == "Disabled" && (c.GetType() == "RouteReady" || c.GetType() == "MonitoringReady")) {
			// What nobody asked for is of no interest to most tests.
			continue
		}
		s := fmt.Sprintf("%s=%s %s", c.GetType(), strings.TrimPrefix(c.GetStatus().String(), "STATUS_CONDITION_"), c.GetReason())
		switch m := c.GetMessage(); {
		case c.GetType() == "RecipeSelected" && c.GetReason() != "NoRecipeForModel":
			// How a choice is explained is for the recipe package to test.
			why = m
			s += ": (why)"
		case m != "":
			s += ": " + m
		}
		d.Conditions = append(d.Conditions, s+onlyComposite(c.GetTarget()))
	}
	for _, r := range rsp.GetResults() {
		m := r.GetMessage()
		if m == why {
			m = "(why)"
		}
		d.Results = append(d.Results, fmt.Sprintf("%s %s: %s", strings.TrimPrefix(r.GetSeverity().String(), "SEVERITY_"), r.GetReason(), m)+onlyComposite(r.GetTarget()))
	}
	for k, v := range rsp.GetDesired().GetComposite().GetConnectionDetails() {
		if d.Connection == nil {
			d.Connection = map[string]string{}
		}
		d.Connection[k] = string(v)
	}
	return d
}

// onlyComposite marks what a claim's owner does not get to see.
func onlyComposite(t fnv1.Target) string {
	if t == fnv1.Target_TARGET_COMPOSITE_AND_CLAIM {
		return ""
	}
	return " (not on the claim)"
}

// statusOf the composite that a response desires.
func statusOf(rsp *fnv1.RunFunctionResponse) *structpb.Struct {
	return at(rsp.GetDesired().GetComposite().GetResource(), "status").GetStructValue()
}

// cut the name of a composed resource from a path in it.
func cut(path string) (name, rest string) {
	name, rest, _ = strings.Cut(path, " ")
	return name, rest
}
