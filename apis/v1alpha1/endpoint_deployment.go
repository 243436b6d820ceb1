package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A Deployment says how a server is deployed, and how changes reach it.
type Deployment struct {
	// Strategy of a rollout. Unset never needs more GPUs than there are
	// replicas: Recreate for one replica; for more, one at a time.
	// +optional
	Strategy *Strategy `json:"strategy,omitempty"`

	// Canary tries a change of model, recipe or image on some of the traffic
	// first.
	// +optional
	Canary *Canary `json:"canary,omitempty"`

	// Env is more of the server's environment. It replaces variables of the
	// recipe, not those that the platform sets itself.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=128
	Env []corev1.EnvVar `json:"env,omitempty"`

	// ExtraArgs of the engine, behind those of the recipe. They are checked
	// like those of an AIMRecipe.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=16384
	ExtraArgs []string `json:"extraArgs,omitempty"`

	// PodLabels are more labels of the pods.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 317 && k.matches('^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$'))",message="keys must be an optional DNS prefix and a slash, then at most 63 letters, digits, '-', '_' or '.', such as example.org/team"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('aim.engine.amd.com/') && !(k in ['app.kubernetes.io/managed-by', 'app.kubernetes.io/name', 'app.kubernetes.io/instance', 'pod-template-hash']))",message="must not hold aim.engine.amd.com/*, app.kubernetes.io/managed-by, app.kubernetes.io/name, app.kubernetes.io/instance or pod-template-hash: pods are found by those"
	PodLabels map[string]LabelValue `json:"podLabels,omitempty"`

	// PodAnnotations of the pods.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 317 && k.matches('^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$'))",message="keys must be an optional DNS prefix and a slash, then at most 63 letters, digits, '-', '_' or '.', such as example.org/name"
	PodAnnotations map[string]AnnotationValue `json:"podAnnotations,omitempty"`

	// NodeSelector of the pods, beside the nodes' hardware.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 317 && k.matches('^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$'))",message="keys must be labels of nodes: an optional DNS prefix and a slash, then at most 63 letters, digits, '-', '_' or '.', such as topology.kubernetes.io/zone"
	NodeSelector map[string]LabelValue `json:"nodeSelector,omitempty"`

	// Tolerations of the pods, beside those for GPU nodes and those of the
	// platform.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// Affinity of the pods. What it says of nodes is asked for beside the
	// hardware.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`

	// PriorityClassName of the pods.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="must be the name of a PriorityClass: lowercase letters, digits, '-' and '.', starting and ending with a letter or digit"
	PriorityClassName string `json:"priorityClassName,omitempty"`

	// RuntimeClassName of the pods.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="must be the name of a RuntimeClass: lowercase letters, digits, '-' and '.', starting and ending with a letter or digit"
	RuntimeClassName string `json:"runtimeClassName,omitempty"`

	// SchedulerName of the pods; the cluster's own if unset.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="must be the name of a scheduler: lowercase letters, digits, '-' and '.', starting and ending with a letter or digit"
	SchedulerName string `json:"schedulerName,omitempty"`

	// TerminationGracePeriodSeconds that requests which are under way may take
	// when a pod is to go, 15 of them for load balancers to notice; 120 if
	// unset.
	// +optional
	// +kubebuilder:validation:Maximum=3600
	// +kubebuilder:validation:XValidation:rule="self >= 20",message="must be at least 20: load balancers need 15 seconds to notice that a pod goes"
	TerminationGracePeriodSeconds *int64 `json:"terminationGracePeriodSeconds,omitempty"`

	// DisruptionBudget while nodes are drained. Unset means that one replica at
	// a time may go, if there may be more than one.
	// +optional
	DisruptionBudget *DisruptionBudget `json:"disruptionBudget,omitempty"`
}

// A LabelValue is the value of a label.
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="self.matches('^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$')",message="must hold only letters, digits, '-', '_' and '.', and start and end with a letter or digit"
type LabelValue string

// A Strategy of a rollout.
//
// +kubebuilder:validation:XValidation:rule="!has(self.rollingUpdate) || (has(self.type) && self.type == 'RollingUpdate')",message="needs strategy.type RollingUpdate",fieldPath=".rollingUpdate"
type Strategy struct {
	// Type of the strategy.
	// +optional
	// +kubebuilder:validation:Enum=Recreate;RollingUpdate
	Type string `json:"type,omitempty"`

	// RollingUpdate says how many replicas change at a time.
	// +optional
	RollingUpdate *RollingUpdate `json:"rollingUpdate,omitempty"`
}

// A RollingUpdate says how many replicas change at a time.
//
// +kubebuilder:validation:XValidation:rule="!has(self.maxSurge) || !has(self.maxUnavailable) || !(string(self.maxSurge) in ['0', '0%']) || !(string(self.maxUnavailable) in ['0', '0%'])",message="must not be 0 when maxSurge is 0: nothing could ever change",fieldPath=".maxUnavailable"
type RollingUpdate struct {
	// MaxSurge is how many replicas there may be beyond those wanted, or what
	// share of them. Each needs GPUs of its own.
	// +optional
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 : string(self).matches('^(100|[0-9]{1,2})%$')",message="must be a number such as 1, or a share such as 25%"
	MaxSurge *intstr.IntOrString `json:"maxSurge,omitempty"`

	// MaxUnavailable is how many replicas may be missing, or what share of them.
	// +optional
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 : string(self).matches('^(100|[0-9]{1,2})%$')",message="must be a number such as 1, or a share such as 25%"
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
}

// A Canary tries a change of model, recipe or image on some of the traffic
// first. What serves is not touched until the canary has been available for a
// while; then the change is rolled out. A canary that crashes, or does not
// become available in time, is removed, and what serves stays. A canary needs
// GPUs of its own.
type Canary struct {
	// Enabled tries changes on a canary first.
	// +optional
	// +kubebuilder:default=false
	Enabled *bool `json:"enabled,omitempty"`

	// TrafficSplit is the share of the traffic that the canary gets, in percent:
	// exactly through a Gateway; otherwise as near as numbers of replicas come
	// to it.
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=99
	TrafficSplit *int32 `json:"trafficSplit,omitempty"`

	// Duration for which the canary must have been ready before the change is
	// rolled out, in seconds.
	// +optional
	// +kubebuilder:default=300
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	Duration *int32 `json:"duration,omitempty"`
}

// A DisruptionBudget says how many replicas may go while nodes are drained.
//
// +kubebuilder:validation:XValidation:rule="has(self.minAvailable) != has(self.maxUnavailable)",message="needs exactly one of minAvailable and maxUnavailable"
type DisruptionBudget struct {
	// MinAvailable is how many replicas must stay, or what share of them.
	// +optional
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 : string(self).matches('^(100|[0-9]{1,2})%$')",message="must be a number such as 1, or a share such as 50%"
	MinAvailable *intstr.IntOrString `json:"minAvailable,omitempty"`

	// MaxUnavailable is how many replicas may go, or what share of them.
	// +optional
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 : string(self).matches('^(100|[0-9]{1,2})%$')",message="must be a number such as 1, or a share such as 50%"
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
}
