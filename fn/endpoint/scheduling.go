package endpoint

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// affinity of the pods: the user's, on nodes with the recipe's hardware, and
// where the volume is.
func (e Endpoint) affinity() *corev1.Affinity {
	out := &corev1.Affinity{}
	if a := e.Spec.Deployment.Affinity; a != nil {
		out = a.DeepCopy()
	}
	if claim := e.sameNode(); claim != "" {
		if out.PodAffinity == nil {
			out.PodAffinity = &corev1.PodAffinity{}
		}
		out.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution = append(out.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, SameNode(claim))
	}
	hardware := e.Accelerator.NodeAffinity()
	if out.NodeAffinity == nil {
		out.NodeAffinity = hardware
		return out
	}
	own := out.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	need := hardware.RequiredDuringSchedulingIgnoredDuringExecution
	if own == nil || len(own.NodeSelectorTerms) == 0 {
		out.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = need
		return out
	}
	// A node must match any one of the terms: so each of ours is needed with
	// each of the user's.
	both := &corev1.NodeSelector{}
	for _, u := range own.NodeSelectorTerms {
		for _, h := range need.NodeSelectorTerms {
			both.NodeSelectorTerms = append(both.NodeSelectorTerms, corev1.NodeSelectorTerm{
				MatchExpressions: slices.Concat(u.MatchExpressions, h.MatchExpressions),
				MatchFields:      slices.Concat(u.MatchFields, h.MatchFields),
			})
		}
	}
	out.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = both
	return out
}

func (e Endpoint) tolerations() []corev1.Toleration {
	gpus := corev1.Toleration{Key: e.Platform.GPUResourceName, Operator: corev1.TolerationOpExists}
	return slices.Concat([]corev1.Toleration{gpus}, e.Platform.Tolerations, e.Spec.Deployment.Tolerations)
}

// nodeSelector of the user's.
func (e Endpoint) nodeSelector() map[string]string {
	out := make(map[string]string, len(e.Spec.Deployment.NodeSelector))
	for k, v := range e.Spec.Deployment.NodeSelector {
		out[k] = string(v)
	}
	return out
}

// spread replicas over nodes, so that one that fails does not take all of them
// with it. Where that cannot be, they run all the same. A single replica has
// the constraint, too: to add it with the second would restart the first.
func (e Endpoint) spread() []corev1.TopologySpreadConstraint {
	if e.canary {
		return nil
	}
	return []corev1.TopologySpreadConstraint{{
		TopologyKey:       corev1.LabelHostname,
		MaxSkew:           1,
		WhenUnsatisfiable: corev1.ScheduleAnyway,
		LabelSelector:     &metav1.LabelSelector{MatchLabels: e.selector()},
		// Those of the last rollout are about to go.
		MatchLabelKeys: []string{"pod-template-hash"},
	}}
}

// disruptionBudget while nodes are drained; nil if there is only one replica,
// and the user asks for none: it would keep its node from being drained.
func (e Endpoint) disruptionBudget() *policyv1.PodDisruptionBudget {
	own := e.Spec.Deployment.DisruptionBudget
	if own == nil && e.maxReplicas() <= 1 {
		return nil
	}
	pdb := &policyv1.PodDisruptionBudget{ObjectMeta: e.meta(RoleDisruptionBudget), Spec: policyv1.PodDisruptionBudgetSpec{
		Selector:       &metav1.LabelSelector{MatchLabels: e.selector()},
		MaxUnavailable: ptr.To(intstr.FromInt32(1)),
		// A pod that does not serve has nobody to disrupt.
		UnhealthyPodEvictionPolicy: ptr.To(policyv1.AlwaysAllow),
	}}
	if own != nil {
		pdb.Spec.MinAvailable, pdb.Spec.MaxUnavailable = own.MinAvailable, own.MaxUnavailable
	}
	pdb.SetGroupVersionKind(policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"))
	return pdb
}
