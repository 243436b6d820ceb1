package main

import (
	"context"
	"strings"

	"github.com/crossplane/function-sdk-go/errors"
	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/aim-engine/function-aim/fn/endpoint"
)

// maxIterations of a function until its requirements must be met: as many as
// Crossplane allows.
const maxIterations = 5

// offline stands in for a cluster that has nothing but what it was given.
type offline struct {
	input *structpb.Struct
	has   []*structpb.Struct
}

// add an object.
func (w *offline) add(o map[string]any) error {
	s, err := structOf(o)
	if err != nil {
		return errors.Wrap(err, "cannot convert an object to protobuf")
	}
	w.has = append(w.has, s)
	return nil
}

// catalog a recipe: what the function composes of it is there from now on, and
// so is the recipe, with what the function has to say of it.
func (w *offline) catalog(ctx context.Context, xr *unstructured.Unstructured) error {
	rsp, err := w.run(ctx, xr)
	if err != nil {
		return err
	}
	for _, r := range rsp.GetResults() {
		if r.GetSeverity() == fnv1.Severity_SEVERITY_FATAL {
			return errors.Errorf("recipe %s: %s", xr.GetName(), r.GetMessage())
		}
	}
	for _, r := range rsp.GetDesired().GetResources() {
		w.has = append(w.has, r.GetResource())
	}
	out := xr.DeepCopy()
	status := composite{raw: rsp.GetDesired().GetComposite().GetResource()}.field("status").GetStructValue().AsMap()
	conditions := []any{}
	for _, c := range rsp.GetConditions() {
		conditions = append(conditions, map[string]any{"type": c.GetType(), "reason": c.GetReason(), "message": c.GetMessage()})
	}
	status["conditions"] = conditions
	out.Object["status"] = status
	return w.add(out.Object)
}

// run the function on a composite until its requirements are met, as Crossplane
// would.
func (w *offline) run(ctx context.Context, xr *unstructured.Unstructured) (*fnv1.RunFunctionResponse, error) {
	s, err := structOf(xr.Object)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot convert %s to protobuf", xr.GetKind())
	}
	f := &Function{log: logging.NewNopLogger()}
	req := &fnv1.RunFunctionRequest{
		Meta: &fnv1.RequestMeta{Capabilities: []fnv1.Capability{
			fnv1.Capability_CAPABILITY_CAPABILITIES, fnv1.Capability_CAPABILITY_REQUIRED_RESOURCES,
		}},
		Observed:          &fnv1.State{Composite: &fnv1.Resource{Resource: s}},
		Input:             w.input,
		RequiredResources: map[string]*fnv1.Resources{},
	}
	for range maxIterations + 1 {
		rsp, err := f.RunFunction(ctx, req)
		if err != nil {
			return nil, err
		}
		missing := false
		for k, sel := range rsp.GetRequirements().GetResources() {
			if _, ok := req.GetRequiredResources()[k]; !ok {
				req.RequiredResources[k] = w.find(sel)
				if strings.HasPrefix(k, requirementReference) && len(req.GetRequiredResources()[k].GetItems()) == 0 {
					// What pods name is there.
					req.RequiredResources[k] = &fnv1.Resources{Items: []*fnv1.Resource{{Resource: named(sel)}}}
				}
				missing = true
			}
		}
		if !missing {
			return rsp, nil
		}
	}
	return nil, errors.Errorf("the requirements of %s %q did not settle in %d calls", xr.GetKind(), xr.GetName(), maxIterations+1)
}

// find what a selector selects. Kinds that an endpoint can make use of are all
// there: a plan shows what it would.
func (w *offline) find(sel *fnv1.ResourceSelector) *fnv1.Resources {
	out := &fnv1.Resources{}
	if sel.GetKind() == definitionKind {
		for _, a := range endpoint.APIs() {
			if a.Definition() == sel.GetMatchName() {
				out.Items = append(out.Items, &fnv1.Resource{Resource: definition(a)})
			}
		}
	}
	for _, s := range w.has {
		c := composite{raw: s}
		if c.apiVersion() != sel.GetApiVersion() || c.kind() != sel.GetKind() {
			continue
		}
		// Without a namespace, labels select from all of them.
		if ns := sel.GetNamespace(); c.str("metadata", "namespace") != ns && (ns != "" || sel.GetMatchLabels() == nil) {
			continue
		}
		if n := sel.GetMatchName(); n != "" && c.name() != n {
			continue
		}
		matches := true
		for k, v := range sel.GetMatchLabels().GetLabels() {
			matches = matches && labels(s)[k] == v
		}
		if matches {
			out.Items = append(out.Items, &fnv1.Resource{Resource: s})
		}
	}
	return out
}

// named object that a selector asks for.
func named(sel *fnv1.ResourceSelector) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"apiVersion": structpb.NewStringValue(sel.GetApiVersion()),
		"kind":       structpb.NewStringValue(sel.GetKind()),
		"metadata":   structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"name": structpb.NewStringValue(sel.GetMatchName())}}),
	}}
}

// definition of an API, as far as the function reads it.
func definition(a endpoint.API) *structpb.Struct {
	version := structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
		"name": structpb.NewStringValue(a.GroupVersionKind().Version), "served": structpb.NewBoolValue(true),
	}})
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"apiVersion": structpb.NewStringValue(definitionAPIVersion),
		"kind":       structpb.NewStringValue(definitionKind),
		"metadata":   structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"name": structpb.NewStringValue(a.Definition())}}),
		"spec": structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
			"versions": structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{version}}),
		}}),
	}}
}
