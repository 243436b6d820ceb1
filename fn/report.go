package main

import (
	"encoding/json"
	"maps"

	"github.com/crossplane/function-sdk-go/errors"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/endpoint"
	"github.com/aim-engine/function-aim/fn/recipe"
)

// Keys of a connection secret.
const (
	connectionURL    = "url"
	connectionModel  = "model"
	connectionAPIKey = "apiKey"
)

// A report of an endpoint: its status, conditions, readiness and connection
// details.
type report struct {
	// before is the status that the composite has.
	before  v1alpha1.AIMEndpointStatus
	outcome recipe.Outcome
	live    endpoint.Live
	// generation of the composite.
	generation int64
	// endpoint that was composed; nil if none could be.
	endpoint *endpoint.Endpoint
	// obstacle says why nothing new was composed; it is empty if nothing stood
	// in the way.
	obstacle obstacle
	// canary of the last change, and what has just become of it.
	canary      *v1alpha1.CanaryStatus
	canaryEvent string
	// apiKey that clients must send, as it is published; nil if it is not.
	apiKey []byte
}

// An obstacle to composing anything new.
type obstacle struct {
	reason  v1alpha1.ConditionReason
	message string
}

// conditions of the endpoint, in the order in which they matter.
func (r report) conditions() []endpoint.Condition {
	cs := []endpoint.Condition{{Type: v1alpha1.ConditionRecipeSelected, OK: r.outcome.OK, Reason: r.outcome.Reason, Message: r.outcome.Message}}
	switch {
	case r.obstacle.reason != "":
		return append(cs, endpoint.Condition{Type: v1alpha1.ConditionWorkloadReady, Reason: r.obstacle.reason, Message: r.obstacle.message})
	case r.endpoint != nil:
		return append(cs, r.endpoint.Conditions(r.live, r.canary)...)
	case r.live.Deployment != nil:
		return append(cs, endpoint.Condition{
			Type: v1alpha1.ConditionWorkloadReady, OK: r.live.Available(), Reason: v1alpha1.ReasonKeptPinned,
			Message: "what was composed before is kept as it is until a recipe can be selected",
		})
	}
	return append(cs, endpoint.Condition{Type: v1alpha1.ConditionWorkloadReady, Reason: v1alpha1.ReasonStarting, Message: "nothing runs until a recipe is selected"})
}

func (r report) status(cs []endpoint.Condition) v1alpha1.AIMEndpointStatus {
	s := v1alpha1.AIMEndpointStatus{}
	if r.endpoint != nil {
		s = r.endpoint.Status(r.live)
		rec := r.endpoint.Recipe
		rec.Image = r.endpoint.Image()
		s.SelectedRecipe = &rec
		if r.obstacle.reason != "" && r.live.Deployment == nil {
			// Whatever is at that name, it is not ours to speak of.
			s.URL, s.ServedModelName, s.Endpoints = "", "", nil
		}
	}
	s.ObservedGeneration = r.generation
	s.Canary = r.canary
	s.Candidates = r.outcome.Candidates
	s.UpgradeAvailable = r.outcome.UpgradeAvailable
	s.Phase = endpoint.Phase(cs, r.live, r.endpoint != nil && r.obstacle.reason == "")
	for _, c := range cs {
		if !c.OK {
			s.Reason = string(c.Reason)
			break
		}
	}
	return s
}

// write the report to the response.
func (r report) write(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, xr composite) error {
	cs := r.conditions()
	ready := true
	for _, c := range cs {
		switch c.Type {
		case v1alpha1.ConditionRecipeSelected, v1alpha1.ConditionWorkloadReady, v1alpha1.ConditionServiceReady:
			ready = ready && c.OK
		case v1alpha1.ConditionCacheReady, v1alpha1.ConditionScalingReady, v1alpha1.ConditionRouteReady,
			v1alpha1.ConditionMonitoringReady, v1alpha1.ConditionCanaryHealthy, v1alpha1.ConditionValid,
			v1alpha1.ConditionModelsReady, v1alpha1.ConditionCleanupReady:
		}
		set := response.ConditionFalse
		if c.OK {
			set = response.ConditionTrue
		}
		set(rsp, string(c.Type), string(c.Reason)).WithMessage(c.Message).TargetCompositeAndClaim()
	}
	// An object that cannot be applied is not what the user wants, whichever
	// condition tells of it.
	for role := range r.live.ApplyErrors {
		ready = ready && role.Optional()
	}

	s := r.status(cs)
	st, err := structOf(s)
	if err != nil {
		return errors.Wrap(err, "cannot convert status to protobuf")
	}
	dxr := rsp.GetDesired().GetComposite()
	overlay(dxr, xr, st)
	dxr.Ready = compositeReady(rsp, ready)

	if r.endpoint != nil && s.URL != "" {
		if dxr.GetConnectionDetails() == nil {
			dxr.ConnectionDetails = map[string][]byte{}
		}
		dxr.ConnectionDetails[connectionURL] = []byte(s.URL)
		dxr.ConnectionDetails[connectionModel] = []byte(s.ServedModelName)
		if len(r.apiKey) > 0 {
			dxr.ConnectionDetails[connectionAPIKey] = r.apiKey
		}
	}

	if r.canaryEvent != "" && r.obstacle.reason == "" {
		eventf(rsp, "Canary", "%s", r.canaryEvent)
	}
	if r.outcome.Changed && r.obstacle.reason == "" {
		eventf(rsp, "RecipeSelected", "%s", r.outcome.Message)
	}
	if p := r.before.Phase; p != "" && p != s.Phase && s.Phase == v1alpha1.PhaseReady {
		eventf(rsp, "Ready", "%s serves at %s", s.ServedModelName, s.URL)
	}
	if ready && modern(req) {
		rsp.Meta.Ttl = durationpb.New(ttlSettled)
	}
	return nil
}

// overlay a status on what earlier steps of the pipeline want of the composite.
func overlay(dxr *fnv1.Resource, xr composite, status *structpb.Struct) {
	if dxr.GetResource() == nil {
		dxr.Resource = &structpb.Struct{}
	}
	f := dxr.GetResource().GetFields()
	if f == nil {
		f = map[string]*structpb.Value{}
		dxr.Resource.Fields = f
	}
	f["apiVersion"] = structpb.NewStringValue(xr.apiVersion())
	f["kind"] = structpb.NewStringValue(xr.kind())
	old := f["status"].GetStructValue().GetFields()
	if old == nil {
		f["status"] = structpb.NewStructValue(status)
		return
	}
	maps.Copy(old, status.GetFields())
}

// compositeReady is always explicit where we are not ready, since a composite
// without composed resources would count as ready. Where we are, it is up to
// the other steps: Crossplane asks all composed resources, ours among them.
func compositeReady(rsp *fnv1.RunFunctionResponse, ready bool) fnv1.Ready {
	if !ready || rsp.GetDesired().GetComposite().GetReady() == fnv1.Ready_READY_FALSE {
		return fnv1.Ready_READY_FALSE
	}
	for _, r := range rsp.GetDesired().GetResources() {
		if r.GetReady() != fnv1.Ready_READY_TRUE {
			return fnv1.Ready_READY_UNSPECIFIED
		}
	}
	return fnv1.Ready_READY_TRUE
}

// structOf a value that marshals to a JSON object.
func structOf(v any) (*structpb.Struct, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot marshal %T to JSON", v)
	}
	s := &structpb.Struct{}
	return s, errors.Wrapf(s.UnmarshalJSON(b), "cannot unmarshal %T from JSON", v)
}
