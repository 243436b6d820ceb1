package main

import (
	"slices"
	"strings"

	"github.com/crossplane/function-sdk-go/errors"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	batchv1 "k8s.io/api/batch/v1"

	"github.com/aim-engine/function-aim/fn/agent"
	"github.com/aim-engine/function-aim/fn/endpoint"
	"github.com/aim-engine/function-aim/fn/object"
	"github.com/aim-engine/function-aim/input/v1beta1"
)

// agentOf a platform.
func agentOf(in *v1beta1.Input) agent.Platform {
	return agent.Platform{Image: in.AgentImage, Env: in.AgentEnv, PullSecrets: in.AgentPullSecrets}
}

// preloadsIn what is observed: the IDs of downloads that have an Object, sorted.
func preloadsIn(req *fnv1.RunFunctionRequest, g object.Generation) []string {
	prefix, suffix := string(endpoint.RolePreload), g.ResourceName("")
	var out []string
	for name := range req.GetObserved().GetResources() {
		id, ok := strings.CutPrefix(name, prefix)
		if id, cut := strings.CutSuffix(id, suffix); ok && cut {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// preloadJobs are the Jobs of downloads, by their IDs. One that has an Object is
// among them, though the provider may not have told of it yet: not to compose it
// again would delete it.
func preloadJobs(req *fnv1.RunFunctionRequest, g object.Generation) (map[string]*batchv1.Job, error) {
	out := map[string]*batchv1.Job{}
	for _, id := range preloadsIn(req, g) {
		j := &batchv1.Job{}
		o := object.FromStruct(observedObject(req, g, endpoint.RolePreload+endpoint.Role(id)))
		if o.Observing {
			continue
		}
		if _, err := o.Into(j); err != nil {
			return nil, errors.Wrap(err, "cannot read a live Job")
		}
		out[id] = j
	}
	return out, nil
}

// lookAtPreload asks why the pods of an endpoint's download do not do their
// work.
func lookAtPreload(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, e endpoint.Endpoint, podDiagnosis string, live *endpoint.Live) error {
	job := e.Downloads(*live)
	if live.Remote || job == "" || podDiagnosis != diagnosisEnabled {
		return nil
	}
	var err error
	live.PreloadPods, err = podsOf(req, rsp, "preload-pods", e.Namespace, map[string]string{batchv1.JobNameLabel: job})
	return err
}
