package main

import (
	"fmt"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/endpoint"
)

// requirementReference is what the names of requirements for what pods name
// begin with.
const requirementReference = "reference"

// dangling references of an endpoint's pods: what they name, and is not there.
// Without it no pod could be created, and those that run would have been
// stopped for nothing. Secrets are not among them: to look for one is to read
// it.
func dangling(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, e endpoint.Endpoint, p place) ([]string, error) {
	if p.remote {
		if e.Spec.Cache.Name != "" {
			return []string{"spec.cache.name: AIMCaches are on Crossplane's own cluster, and this endpoint runs on another; set cache.enabled instead"}, nil
		}
		return nil, nil
	}
	d := e.Spec.Deployment
	type reference struct{ field, apiVersion, kind, namespace, name string }
	refs := []reference{
		{"spec.deployment.priorityClassName", "scheduling.k8s.io/v1", "PriorityClass", "", d.PriorityClassName},
		{"spec.deployment.runtimeClassName", "node.k8s.io/v1", "RuntimeClass", "", d.RuntimeClassName},
	}
	if n := string(e.Spec.Cache.Name); n != "" && modern(req) {
		refs = append(refs, reference{"spec.cache.name", v1alpha1.GroupVersion.String(), v1alpha1.KindAIMCache, e.Namespace, n})
	}
	if sa := e.ServiceAccount(); !ptr.Deref(sa.Create, false) && modern(req) {
		field := "spec.security.serviceAccount.name"
		if s := e.Spec.Security; s == nil || s.ServiceAccount == nil {
			field = "security.serviceAccount.name in the input of the Composition, unless spec.security.serviceAccount is set"
		}
		refs = append(refs, reference{field, "v1", "ServiceAccount", e.Namespace, sa.Name})
	}
	var out []string
	for _, r := range refs {
		if r.name == "" {
			continue
		}
		found, ok, err := require(req, rsp, requirementReference, byName(r.apiVersion, r.kind, r.namespace, r.name))
		if err != nil {
			return nil, err
		}
		if ok && len(found) == 0 {
			out = append(out, fmt.Sprintf("%s: there is no %s %s; create it, or name another", r.field, r.kind, r.name))
		}
	}
	return out, nil
}
