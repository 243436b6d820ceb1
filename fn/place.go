package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crossplane/function-sdk-go/errors"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/endpoint"
	"github.com/aim-engine/function-aim/fn/object"
	"github.com/aim-engine/function-aim/input/v1beta1"
)

// definitionAPIVersion and definitionKind of what makes a kind known to a
// cluster.
const (
	definitionAPIVersion = "apiextensions.k8s.io/v1"
	definitionKind       = "CustomResourceDefinition"
)

// A place is the cluster that an endpoint runs on.
type place struct {
	// providerConfig through which it is reached.
	providerConfig string
	// remote says that it is not the one that Crossplane runs in.
	remote bool
	// apis that a remote cluster has, by kind.
	apis []string
	// in is the input, with the cluster's own inventory.
	in *v1beta1.Input
	// problem with the place that the user asks for; empty if there is none.
	problem string
}

// placeOf an endpoint. One that runs stays where it is, whatever the platform's
// default has become: its objects would be left behind.
func placeOf(in *v1beta1.Input, spec v1alpha1.AIMEndpointSpec, deployment object.Live) place {
	name := in.ProviderConfigName
	if n := string(spec.ProviderConfigName); n != "" {
		name = n
	}
	if deployment.ProviderConfig != "" {
		name = deployment.ProviderConfig
	}
	p := place{providerConfig: name, in: in}
	offered := []string{in.ProviderConfigName}
	for _, c := range in.Clusters {
		if c.ProviderConfigName != in.ProviderConfigName {
			offered = append(offered, c.ProviderConfigName)
		}
		if c.ProviderConfigName != name {
			continue
		}
		p.remote, p.apis = true, c.APIs
		if len(c.Inventory) > 0 {
			own := *in
			own.Inventory, own.InventoryFrom = c.Inventory, nil
			p.in = &own
		}
	}
	if !slices.Contains(offered, name) && !deployment.Exists {
		slices.Sort(offered)
		p.problem = fmt.Sprintf("spec.providerConfigName: there is no cluster %q for endpoints; set it to one of %s", name, strings.Join(offered, ", "))
	}
	return p
}

// apisOf the cluster that matter to an endpoint. One that is not there is not
// rendered: an Object of an unknown kind could not be deleted.
func apisOf(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, e endpoint.Endpoint, p place, objects map[endpoint.Role]object.Live) (map[endpoint.API]bool, error) {
	out := map[endpoint.API]bool{}
	uses := e.Uses()
	for _, r := range endpoint.Roles() {
		a := r.API()
		if a == "" {
			continue
		}
		if p.remote {
			out[a] = slices.Contains(p.apis, string(a))
			continue
		}
		if !slices.Contains(uses, a) && !objects[r].Exists {
			continue
		}
		found, ok, err := require(req, rsp, "definition-"+strings.ToLower(string(a)), byName(definitionAPIVersion, definitionKind, "", a.Definition()))
		if err != nil {
			return nil, err
		}
		// Crossplane has yet to look: what is there stays.
		out[a] = !ok && objects[r].Exists
		for _, s := range found {
			out[a] = serves(s, a.GroupVersionKind().Version)
		}
	}
	return out, nil
}

// serves says whether a CustomResourceDefinition serves a version.
func serves(s *structpb.Struct, version string) bool {
	c := composite{raw: s}
	for _, v := range c.field("spec", "versions").GetListValue().GetValues() {
		f := v.GetStructValue().GetFields()
		if f["name"].GetStringValue() == version && f["served"].GetBoolValue() {
			return c.field("metadata", "deletionTimestamp") == nil
		}
	}
	return false
}

// gatewayOf an endpoint's route.
func gatewayOf(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, e endpoint.Endpoint, live *endpoint.Live) error {
	ns, name := e.Gateway()
	if name == "" || live.Remote || !live.APIs[endpoint.APIHTTPRoute] || !modern(req) {
		return nil
	}
	found, ok, err := require(req, rsp, "gateway", byName(gatewayv1.GroupVersion.String(), "Gateway", ns, name))
	if err != nil {
		return err
	}
	live.GatewayKnown = ok
	for _, s := range found {
		live.Gateway = &gatewayv1.Gateway{}
		if err := object.Convert(s, live.Gateway); err != nil {
			return errors.Wrap(err, "cannot read the Gateway")
		}
	}
	return nil
}

// probe a remote cluster for what we would take over: nobody else can tell us
// what is there. An Object only looks at first; it says whose name it is.
func probe(e endpoint.Endpoint, wanted map[endpoint.Role]*structpb.Struct, objects map[endpoint.Role]object.Live, p place) obstacle {
	if !p.remote {
		return obstacle{}
	}
	conflict, pending := "", false
	var looking []endpoint.Role
	for _, r := range slices.Sorted(maps.Keys(wanted)) {
		o, l := wanted[r], objects[r]
		if o == nil || r == endpoint.RoleAPIKey || r == endpoint.RoleReplicas || (l.Exists && !l.Observing) {
			continue
		}
		looking = append(looking, r)
		exists, known := l.Answer()
		pending = pending || !known
		if exists && !e.Owns(r, l.Labels()) && conflict == "" {
			conflict = fmt.Sprintf("cluster %s already has a %s %s in namespace %s that is not of this endpoint; delete it, or give the endpoint another name", p.providerConfig, composite{raw: object.ManifestOf(o)}.kind(), e.TargetName(r), e.Namespace)
		}
	}
	// All or nothing: half an endpoint is of no use.
	if pending || conflict != "" {
		for _, r := range looking {
			wanted[r] = object.Observing(wanted[r])
		}
	}
	if conflict == "" {
		return obstacle{}
	}
	return obstacle{v1alpha1.ReasonNameConflict, conflict}
}

// release Objects whose kind the cluster does not have any more: the provider
// could not delete them otherwise.
func release(req *fnv1.RunFunctionRequest, wanted map[endpoint.Role]*structpb.Struct, objects map[endpoint.Role]object.Live, live endpoint.Live, g object.Generation) {
	if live.Remote {
		return
	}
	for _, r := range endpoint.Roles() {
		if l := objects[r]; r.API() != "" && !live.APIs[r.API()] && l.Exists && !l.Observing {
			wanted[r] = object.Observing(object.Keep(observedObject(req, g, r)))
		}
	}
}

// apiKeyOf an endpoint: the key that clients must send, for whoever is given the
// endpoint's own connection details. Nil if the composite has none.
func apiKeyOf(e endpoint.Endpoint, ref v1alpha1.SecretKeyRef, xr composite) *object.Connection {
	ns := xr.str("spec", "writeConnectionSecretToRef", "namespace")
	if ns == "" || xr.objects() == object.GenerationNamespaced {
		return nil
	}
	return &object.Connection{
		Namespace: e.Namespace, Secret: string(ref.Name), Key: ref.Key, As: connectionAPIKey,
		ToNamespace: ns, ToSecret: object.StableName("aim-apikey", e.Namespace, e.Name),
	}
}
