package main

import (
	"github.com/crossplane/function-sdk-go/errors"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/aim-engine/function-aim/fn/endpoint"
	"github.com/aim-engine/function-aim/fn/object"
)

// observe what is live.
func observe(req *fnv1.RunFunctionRequest, g object.Generation) (endpoint.Live, map[endpoint.Role]object.Live, error) {
	objects := map[endpoint.Role]object.Live{}
	live := endpoint.Live{ApplyErrors: map[endpoint.Role]string{}}
	for _, r := range rolesIn(req, g) {
		o := object.FromStruct(observedObject(req, g, r))
		objects[r] = o
		if o.Refused() {
			live.ApplyErrors[r] = o.SyncedMessage
		}
		// That an earlier canary was refused says nothing of this one.
		if r == endpoint.RoleCanary && !o.Current() {
			delete(live.ApplyErrors, r)
		}
		if r == endpoint.RoleReplicas {
			live.ReplicasManaged = o.Exists
		}
	}
	var err error
	live.Jobs, err = preloadJobs(req, g)
	err = errors.Join(err,
		into(&live.Deployment, objects[endpoint.RoleDeployment]),
		into(&live.Canary, objects[endpoint.RoleCanary]),
		into(&live.Service, objects[endpoint.RoleService]),
		into(&live.Cache, objects[endpoint.RoleCache]),
		into(&live.Autoscaler, objects[endpoint.RoleAutoscaler]),
		into(&live.HTTPRoute, objects[endpoint.RoleHTTPRoute]),
		into(&live.Ingress, objects[endpoint.RoleIngress]),
		into(&live.ScaledObject, objects[endpoint.RoleScaledObject]),
	)
	return live, objects, err
}

// rolesIn what is observed, and all that there may be.
func rolesIn(req *fnv1.RunFunctionRequest, g object.Generation) []endpoint.Role {
	out := endpoint.Roles()
	for _, id := range preloadsIn(req, g) {
		out = append(out, endpoint.RolePreload+endpoint.Role(id))
	}
	return out
}

// A target of an Object, of which something is of interest.
type target interface {
	appsv1.Deployment | corev1.Service | corev1.PersistentVolumeClaim | autoscalingv2.HorizontalPodAutoscaler |
		gatewayv1.HTTPRoute | networkingv1.Ingress | unstructured.Unstructured
}

// into reads the live target of an Object; it leaves nil if there is none, or
// none of ours.
func into[T target](out **T, o object.Live) error {
	if o.Observing {
		return nil
	}
	t := new(T)
	ok, err := o.Into(t)
	if err != nil {
		return errors.Wrapf(err, "cannot read the live %T", t)
	}
	if ok {
		*out = t
	}
	return nil
}

// observedObject of a role; nil if there is none.
func observedObject(req *fnv1.RunFunctionRequest, g object.Generation, r endpoint.Role) *structpb.Struct {
	return req.GetObserved().GetResources()[g.ResourceName(string(r))].GetResource()
}

// observedConnection is a connection detail of the Object of a role.
func observedConnection(req *fnv1.RunFunctionRequest, g object.Generation, r endpoint.Role, key string) []byte {
	return req.GetObserved().GetResources()[g.ResourceName(string(r))].GetConnectionDetails()[key]
}
