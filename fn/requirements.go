package main

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/crossplane/function-sdk-go/errors"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/request"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// require a resource, and return what matches. It returns false if Crossplane
// has not been asked yet, which is not the same as nothing matching: it will
// call again with the answer.
//
// The name of a requirement is a hash of its selector. Crossplane answers the
// first call of a reconcile with what the last one required, by name: with a
// constant name a changed selector would get the old answer.
func require(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, what string, s *fnv1.ResourceSelector) ([]*structpb.Struct, bool, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(s)
	if err != nil {
		return nil, false, errors.Wrapf(err, "cannot marshal the selector of %s", what)
	}
	sum := sha256.Sum256(b)
	key := what + "-" + hex.EncodeToString(sum[:6])

	// Exactly one of the two fields is set: Crossplane 1.20 never settles if it
	// is sent both.
	if rsp.GetRequirements() == nil {
		rsp.Requirements = &fnv1.Requirements{}
	}
	if modern(req) {
		if rsp.GetRequirements().GetResources() == nil {
			rsp.Requirements.Resources = map[string]*fnv1.ResourceSelector{}
		}
		rsp.Requirements.Resources[key] = s
	} else {
		if rsp.GetRequirements().GetExtraResources() == nil { //nolint:staticcheck // What Crossplane before 2.2 knows.
			rsp.Requirements.ExtraResources = map[string]*fnv1.ResourceSelector{} //nolint:staticcheck // As above.
		}
		rsp.Requirements.ExtraResources[key] = s //nolint:staticcheck // As above.
	}

	got, ok := req.GetRequiredResources()[key]
	if !ok {
		got, ok = req.GetExtraResources()[key] //nolint:staticcheck // As above.
	}
	if !ok {
		return nil, false, nil
	}
	out := make([]*structpb.Struct, 0, len(got.GetItems()))
	for _, i := range got.GetItems() {
		out = append(out, i.GetResource())
	}
	return out, true, nil
}

// modern says whether Crossplane knows required resources: by name and
// namespace, and watched.
func modern(req *fnv1.RunFunctionRequest) bool {
	return request.HasCapability(req, fnv1.Capability_CAPABILITY_REQUIRED_RESOURCES)
}

// byName selects one object. An empty namespace selects a cluster scoped one.
func byName(apiVersion, kind, namespace, name string) *fnv1.ResourceSelector {
	s := &fnv1.ResourceSelector{ApiVersion: apiVersion, Kind: kind, Match: &fnv1.ResourceSelector_MatchName{MatchName: name}}
	if namespace != "" {
		s.Namespace = &namespace
	}
	return s
}

// byLabels selects the objects of a namespace that have some labels. Crossplane
// before 2.0 ignores the namespace: the caller checks it.
func byLabels(apiVersion, kind, namespace string, labels map[string]string) *fnv1.ResourceSelector {
	return &fnv1.ResourceSelector{
		ApiVersion: apiVersion, Kind: kind, Namespace: &namespace,
		Match: &fnv1.ResourceSelector_MatchLabels{MatchLabels: &fnv1.MatchLabels{Labels: labels}},
	}
}

// byLabelsAnywhere selects objects that have some labels, cluster scoped ones
// or those of all namespaces.
func byLabelsAnywhere(apiVersion, kind string, labels map[string]string) *fnv1.ResourceSelector {
	return &fnv1.ResourceSelector{
		ApiVersion: apiVersion, Kind: kind,
		Match: &fnv1.ResourceSelector_MatchLabels{MatchLabels: &fnv1.MatchLabels{Labels: labels}},
	}
}
