package endpoint

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/engine"
	"github.com/aim-engine/function-aim/fn/volume"
)

// Render the manifests of an endpoint, given what is live.
func (e Endpoint) Render(live Live) ([]Manifest, error) {
	ms := []Manifest{{Role: RoleConfig, Object: e.config()}}
	add := func(when bool, r Role, o func() runtime.Object) {
		if when && live.has(r) {
			ms = append(ms, Manifest{Role: r, Object: o()})
		}
	}
	add(ptr.Deref(e.ServiceAccount().Create, false), RoleServiceAccount, func() runtime.Object { return e.account() })
	if *e.Spec.Cache.Enabled {
		ms = append(ms, Manifest{Role: RoleCache, Object: e.volume().Claim(live.Cache, live.CacheClass), Retain: *e.Spec.Cache.Retain})
	}
	p := e.preload(live)
	switch {
	case p.job != nil:
		ms = append(ms, Manifest{Role: p.role, Object: p.job, Keep: p.done})
	case e.preloads() && live.Cache == nil:
		// If the volume cannot be seen for a moment, what was downloaded to it is not
		// to be downloaded again.
		for _, id := range slices.Sorted(maps.Keys(live.Jobs)) {
			ms = append(ms, Manifest{Role: RolePreload + Role(id), Object: live.Jobs[id], Keep: true})
		}
	}
	w := e.Workload(live)
	w.Hold = p.holds
	ms = append(ms, w)
	// The Deployment's own manifest never has replicas: provider-kubernetes
	// would reset what an autoscaler decided, and taking them out of it later
	// would set them to 1. So they are a manifest of their own, which leaves
	// them as they are when it goes, and which there is only once the number is
	// not what Kubernetes starts with.
	if d := live.Deployment; !e.autoscaled() && d != nil && (live.ReplicasManaged || ptr.Deref(d.Spec.Replicas, 1) != e.minReplicas()) {
		ms = append(ms, Manifest{Role: RoleReplicas, Object: e.replicas(), Partial: true})
	}
	ms = append(ms, Manifest{Role: RoleService, Object: e.service(live)})
	if c := e.Canary; c != nil {
		ms = append(ms, Manifest{Role: RoleCanary, Object: c.deployment(live.Canary)})
		add(e.weighted(live), RoleCanaryService, func() runtime.Object { return c.service(live) })
	}
	add(e.autoscaled() && e.Platform.KEDA == nil, RoleAutoscaler, func() runtime.Object { return e.autoscaler() })
	add(e.autoscaled() && e.Platform.KEDA != nil, RoleScaledObject, func() runtime.Object { return e.scaledObject() })
	add(e.disruptionBudget() != nil, RoleDisruptionBudget, func() runtime.Object { return e.disruptionBudget() })
	add(e.isolated(), RoleNetworkPolicy, func() runtime.Object { return e.networkPolicy() })
	add(e.gateway() != nil, RoleHTTPRoute, func() runtime.Object { return e.httpRoute(live) })
	add(e.ingressClass() != "", RoleIngress, func() runtime.Object { return e.ingress() })
	watched, err := e.monitoring(live)
	if err != nil {
		return nil, err
	}
	ms = append(ms, watched...)
	for i, m := range ms {
		// There is nothing to scale before there is a Deployment.
		ms[i].Hold = m.Hold || p.holds && live.Deployment == nil && (m.Role == RoleAutoscaler || m.Role == RoleScaledObject)
	}
	if ref := e.security().APIKeySecretRef; ref != nil {
		ms = append(ms, Manifest{Role: RoleAPIKey, Object: e.configReference(), Connection: ref})
	}
	return ms, nil
}

// Workload is the manifest of the endpoint's Deployment.
func (e Endpoint) Workload(live Live) Manifest {
	return Manifest{Role: RoleDeployment, Object: e.deployment(live.Deployment)}
}

// Uses are the APIs beyond Kubernetes' own that the endpoint has a use for.
func (e Endpoint) Uses() []API {
	var out []API
	if e.autoscaled() && e.Platform.KEDA != nil {
		out = append(out, APIScaledObject)
	}
	if e.gateway() != nil {
		out = append(out, APIHTTPRoute)
	}
	if e.alerted() {
		out = append(out, APIServiceMonitor, APIPrometheusRule)
	}
	return out
}

func (e Endpoint) meta(r Role) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: e.TargetName(r), Namespace: e.Namespace, Labels: e.labels()}
}

// config is the decision for people to read. Nothing reads it back.
func (e Endpoint) config() *corev1.ConfigMap {
	s := e.Recipe.Snapshot
	lines := []string{
		"model: " + s.Model,
		"recipe: " + e.Recipe.Name,
		"source: " + e.Recipe.Source,
		"hardware: " + string(e.Recipe.Hardware),
		fmt.Sprintf("gpuCount: %d", e.Recipe.GPUCount),
		"precision: " + string(e.Recipe.Precision),
		"backend: " + string(e.Recipe.Backend),
		"image: " + e.Image(),
	}
	if s.Revision != "" {
		lines = append(lines, "revision: "+s.Revision)
	}
	if m := e.Recipe.Memory; m != nil {
		lines = append(lines, "requiredGiBPerGPU: "+m.RequiredGiBPerGPU, "availableGiBPerGPU: "+m.AvailableGiBPerGPU)
	}
	cm := &corev1.ConfigMap{ObjectMeta: e.meta(RoleConfig), Data: map[string]string{
		"decision": strings.Join(lines, "\n") + "\n",
		"command":  strings.Join(append(append([]string{}, s.Command...), e.args()...), " ") + "\n",
		"reason":   e.Recipe.Reason + "\n",
	}}
	if _, findings := e.extraArgs(); len(findings) > 0 {
		cm.Data["findings"] = describeFindings(findings) + "\n"
	}
	cm.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	return cm
}

// volume of the endpoint's own cache.
func (e Endpoint) volume() volume.Wish {
	return volume.Wish{
		Meta: e.meta(RoleCache), Kind: v1alpha1.KindAIMEndpoint, Field: "cache", Retain: *e.Spec.Cache.Retain,
		Class: e.storageClass(), AskedClass: e.Spec.Cache.StorageClass,
		Mode: corev1.PersistentVolumeAccessMode(e.Spec.Cache.AccessMode),
		Size: e.CacheSize(), AskedSize: e.Spec.Cache.Size != "",
	}
}

func (e Endpoint) storageClass() string {
	if e.Spec.Cache.StorageClass != "" {
		return e.Spec.Cache.StorageClass
	}
	return e.Platform.StorageClass
}

// CacheSize that the user wants. A download needs room for files that are not
// weights, for a second revision, and for compiled kernels: two and a half
// times the weights (KAITO's rule) and 10 GiB.
func (e Endpoint) CacheSize() resource.Quantity {
	if q, err := resource.ParseQuantity(string(e.Spec.Cache.Size)); err == nil {
		return q
	}
	weights := e.Recipe.Snapshot.WeightsGiB
	if weights == 0 {
		weights = unknownWeightsGiB
	}
	return *resource.NewQuantity((weights*5/2+10)<<30, resource.BinarySI)
}

// configReference names the ConfigMap, and no more of it.
func (e Endpoint) configReference() *corev1.ConfigMap {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: e.TargetName(RoleConfig), Namespace: e.Namespace}}
	cm.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	return cm
}

// account that the pods run as.
func (e Endpoint) account() *corev1.ServiceAccount {
	sa := &corev1.ServiceAccount{ObjectMeta: e.meta(RoleServiceAccount), AutomountServiceAccountToken: ptr.To(false)}
	sa.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ServiceAccount"))
	return sa
}

// Image that runs: the recipe's, with what the user replaced of it when the
// recipe was settled.
func (e Endpoint) Image() string { return e.Recipe.Image }

// ImageOf a recipe, as far as the user does not replace it.
func (e Endpoint) ImageOf(s v1alpha1.Snapshot) string {
	return engine.ReplaceImage(s.Image, e.Spec.Image.Repository, e.Spec.Image.Tag)
}
