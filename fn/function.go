package main

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/crossplane/function-sdk-go/errors"
	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/input/v1beta1"
)

// How long Crossplane may wait until it runs the function again although
// nothing that it watches has changed.
const (
	// ttl while something is on its way, or nothing that is required is watched.
	ttl = time.Minute
	// ttlSettled once all is as it should be: a safety net.
	ttlSettled = 10 * time.Minute
	// ttlUnresponsive while Crossplane drops changes, because there were many
	// in a short time (its circuit breaker opens at about 50, for 5 minutes).
	// Without a run soon after, one that was dropped would go unnoticed.
	ttlUnresponsive = 15 * time.Second
)

// Function serves AI models on AMD GPUs: it turns a composite of this API into
// the objects that serve it.
type Function struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	log logging.Logger
}

// A handler composes one kind of composite. The error it returns is Fatal: it
// is for what cannot be understood at all. What a user can mend is a condition.
type handler func(log logging.Logger, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, xr composite, in *v1beta1.Input) error

// handlers by the composite's kind. A claim's kind is a composite's, too: that
// of a namespaced one.
func handlers() map[string]handler {
	return map[string]handler{
		v1alpha1.KindXAIMEndpoint: composeEndpoint,
		v1alpha1.KindAIMEndpoint:  composeEndpoint,
		v1alpha1.KindXAIMCache:    composeCache,
		v1alpha1.KindAIMCache:     composeCache,
		v1alpha1.KindXAIMRecipe:   composeRecipe,
		v1alpha1.KindAIMRecipe:    composeRecipe,
	}
}

// RunFunction is a pure function of its request: it asks nobody, reads no
// clock, and returns the same response for the same request.
func (f *Function) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (rsp *fnv1.RunFunctionResponse, err error) {
	xr := composite{raw: req.GetObserved().GetComposite().GetResource()}
	log := f.log.WithValues("tag", req.GetMeta().GetTag(), "xr-kind", xr.kind(), "xr-name", xr.name())
	log.Debug("Running function", "request-bytes", proto.Size(req))

	// A composite that trips over a mistake of ours must not take those of
	// everybody else with it.
	defer func() {
		if p := recover(); p != nil {
			log.Info("Function panicked", "panic", p, "stack", string(debug.Stack()))
			rsp = response.To(req, ttl)
			response.Fatal(rsp, errors.Errorf("internal error, please report it: %v", p))
			err = nil
		}
	}()

	rsp = response.To(req, ttl)
	if rsp.GetDesired() == nil {
		rsp.Desired = &fnv1.State{}
	}
	if rsp.GetDesired().GetComposite() == nil {
		rsp.Desired.Composite = &fnv1.Resource{}
	}
	if rsp.GetDesired().GetResources() == nil {
		rsp.Desired.Resources = map[string]*fnv1.Resource{}
	}

	handle, ok := handlers()[xr.kind()]
	if !ok || xr.apiVersion() != v1alpha1.GroupVersion.String() {
		response.Fatal(rsp, errors.Errorf("cannot compose a %q of %q: this function composes %s of %q", xr.kind(), xr.apiVersion(), kinds(), v1alpha1.GroupVersion))
		return rsp, nil
	}

	in, err := inputOf(req)
	if err != nil {
		fatal(rsp, xr, errors.Wrap(err, "cannot use the input of this pipeline step"))
		return rsp, nil
	}

	if err := handle(log, req, rsp, xr, in); err != nil {
		fatal(rsp, xr, err)
	}
	if xr.unresponsive() {
		rsp.Meta.Ttl = durationpb.New(ttlUnresponsive)
	}
	return rsp, nil
}

// fatal ends the run, and tells the claim, which a Fatal result does not reach.
func fatal(rsp *fnv1.RunFunctionResponse, xr composite, err error) {
	condition, stays := v1alpha1.ConditionWorkloadReady, "what runs stays as it is"
	switch xr.kind() {
	case v1alpha1.KindAIMRecipe, v1alpha1.KindXAIMRecipe:
		condition, stays = v1alpha1.ConditionValid, "its entry in the catalog stays as it is"
	case v1alpha1.KindAIMCache, v1alpha1.KindXAIMCache:
		condition = v1alpha1.ConditionCacheReady
	}
	response.ConditionFalse(rsp, string(condition), string(v1alpha1.ReasonApplyFailed)).
		WithMessage(fmt.Sprintf("%v; %s", err, stays)).TargetCompositeAndClaim()
	response.Fatal(rsp, err)
}

func kinds() string {
	ks := slices.Sorted(maps.Keys(handlers()))
	return strings.Join(ks[:len(ks)-1], ", ") + " and " + ks[len(ks)-1]
}

// eventf tells of an event of the composite and its claim. Callers send one on a transition only:
// Crossplane would repeat it on every run.
func eventf(rsp *fnv1.RunFunctionResponse, reason, format string, a ...any) {
	response.Normal(rsp, fmt.Sprintf(format, a...)).WithReason(reason).TargetCompositeAndClaim()
}
