package object

import "k8s.io/apimachinery/pkg/runtime/schema"

// CEL queries of provider-kubernetes, by kind of the target. They are safe with
// version 1.2, which lacks optional syntax: a field that may be absent is
// guarded by has().
const (
	// A Deployment serves when it is available, its controller has seen the
	// last change, and there is a replica: with one replica of which one may be
	// unavailable, the Available condition alone is true with none.
	celDeployment = `has(object.status.observedGeneration) && object.status.observedGeneration >= object.metadata.generation && has(object.status.availableReplicas) && object.status.availableReplicas > 0 && has(object.status.conditions) && object.status.conditions.exists(c, c.type == "Available" && c.status == "True")`
	celPVC        = `has(object.status.phase) && object.status.phase == "Bound"`
	celService    = `object.spec.type != "LoadBalancer" || (has(object.status.loadBalancer.ingress) && size(object.status.loadBalancer.ingress) > 0)`
	celJob        = `has(object.status.conditions) && object.status.conditions.exists(c, c.type == "Complete" && c.status == "True")`
	celIngress    = `has(object.status) && has(object.status.loadBalancer) && has(object.status.loadBalancer.ingress) && size(object.status.loadBalancer.ingress) > 0`
	celRoute      = `has(object.status) && has(object.status.parents) && object.status.parents.exists(p, has(p.conditions) && p.conditions.exists(c, c.type == "Accepted" && c.status == "True"))`
	celReady      = `has(object.status) && has(object.status.conditions) && object.status.conditions.exists(c, c.type == "Ready" && c.status == "True")`
	celHPA        = `has(object.status.conditions) && object.status.conditions.exists(c, c.type == "ScalingActive" && c.status == "True")`
)

// readiness of an Object. Without a query it is ready once applied; with one it
// is ready when the target is, and provider-kubernetes looks again every 30
// seconds until then.
func readiness(gvk schema.GroupVersionKind, p Policy) map[string]any {
	if q := query(gvk.GroupKind()); q != "" && (p == PolicyOwn || p == PolicyRetain) {
		return map[string]any{"policy": "DeriveFromCelQuery", "celQuery": q}
	}
	return map[string]any{"policy": "SuccessfulCreate"}
}

// query of a kind; empty if one that is applied is ready.
func query(gk schema.GroupKind) string {
	switch gk {
	case schema.GroupKind{Group: "apps", Kind: "Deployment"}:
		return celDeployment
	case schema.GroupKind{Kind: "PersistentVolumeClaim"}:
		return celPVC
	case schema.GroupKind{Kind: "Service"}:
		return celService
	case schema.GroupKind{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}:
		return celHPA
	case schema.GroupKind{Group: "batch", Kind: "Job"}:
		return celJob
	case schema.GroupKind{Group: "networking.k8s.io", Kind: "Ingress"}:
		return celIngress
	case schema.GroupKind{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute"}:
		return celRoute
	case schema.GroupKind{Group: "keda.sh", Kind: "ScaledObject"}:
		return celReady
	}
	return ""
}

// watched says whether changes of the target should reach the Object at once.
// The status of other kinds changes too often for that, or never.
func watched(gvk schema.GroupVersionKind) bool {
	switch gvk.GroupKind() {
	case schema.GroupKind{Group: "apps", Kind: "Deployment"}, schema.GroupKind{Group: "batch", Kind: "Job"}, schema.GroupKind{Kind: "PersistentVolumeClaim"}:
		return true
	}
	return false
}
