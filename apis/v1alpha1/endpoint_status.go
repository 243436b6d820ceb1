package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
)

// AIMEndpointStatus is what was found. Every number in it was measured, or is
// called an estimate; what is not known is absent. Its conditions are not here:
// Crossplane's own schema brings them, and keeps them.
type AIMEndpointStatus struct {
	// Phase summarises the endpoint in one word.
	// +optional
	Phase Phase `json:"phase,omitempty"`

	// Reason of the first thing that is not right; empty when all is.
	// +optional
	Reason string `json:"reason,omitempty"`

	// ObservedGeneration of the composite that this status is of; absent where
	// there is a claim, whose generations are others.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// URL of the OpenAI-compatible API, as clients should use it.
	// +optional
	URL string `json:"url,omitempty"`

	// ServedModelName is what clients put into a request's model field.
	// +optional
	ServedModelName string `json:"servedModelName,omitempty"`

	// SelectedRecipe is what runs.
	// +optional
	SelectedRecipe *SelectedRecipe `json:"selectedRecipe,omitempty"`

	// Candidates that the recipe was chosen from, best first, ten at most.
	// +optional
	// +listType=atomic
	Candidates []Candidate `json:"candidates,omitempty"`

	// UpgradeAvailable is the name of a better recipe than the pinned one.
	// +optional
	UpgradeAvailable string `json:"upgradeAvailable,omitempty"`

	// Canary of the last change; absent before the first one.
	// +optional
	Canary *CanaryStatus `json:"canary,omitempty"`

	// Endpoints where the server can be reached.
	// +optional
	Endpoints *Endpoints `json:"endpoints,omitempty"`

	// Replicas of the live Deployment.
	// +optional
	Replicas *Replicas `json:"replicas,omitempty"`

	// Metrics that the live HorizontalPodAutoscaler reports; each is absent
	// when nothing measured it.
	// +optional
	Metrics *Metrics `json:"metrics,omitempty"`
}

// A SelectedRecipe is the recipe that runs.
type SelectedRecipe struct {
	// Name of the recipe.
	Name string `json:"name"`

	// Namespace of the recipe, for an AIMRecipe that has one.
	// +optional
	Namespace string `json:"namespace,omitempty"`

	// Source of the recipe.
	// +optional
	// +kubebuilder:validation:Enum=Builtin;Cluster;Custom
	Source string `json:"source,omitempty"`

	// Hardware that it runs on.
	// +optional
	Hardware Hardware `json:"hardware,omitempty"`

	// GPUCount is the number of GPUs of one replica.
	// +optional
	GPUCount int32 `json:"gpuCount,omitempty"`

	// Precision of the weights.
	// +optional
	Precision Precision `json:"precision,omitempty"`

	// Backend is the inference engine.
	// +optional
	Backend Backend `json:"backend,omitempty"`

	// Image that runs.
	// +optional
	Image string `json:"image,omitempty"`

	// Reason why this recipe was chosen, in one sentence.
	// +optional
	Reason string `json:"reason,omitempty"`

	// Memory is the arithmetic of GPU memory; absent when the model's facts
	// are not known.
	// +optional
	Memory *GPUMemory `json:"memory,omitempty"`

	// Snapshot is all that is needed to render the workload again if the
	// recipe disappears.
	// +optional
	Snapshot *Snapshot `json:"snapshot,omitempty"`
}

// GPUMemory is computed from published facts of model and hardware.
type GPUMemory struct {
	// RequiredGiBPerGPU for weights, runtime and the KV cache of one sequence
	// of the maximum length, in GiB with one decimal.
	RequiredGiBPerGPU string `json:"requiredGiBPerGPU"`

	// AvailableGiBPerGPU that the engine may use, in GiB with one decimal.
	AvailableGiBPerGPU string `json:"availableGiBPerGPU"`

	// MaxConcurrentSequences of the maximum length that fit into the KV
	// cache: an estimate.
	// +optional
	MaxConcurrentSequences int64 `json:"maxConcurrentSequences,omitempty"`
}

// A Snapshot is all that is needed to render a workload.
type Snapshot struct {
	// Selection identifies the constraints that led to this recipe: a change
	// of theirs chooses again.
	Selection string `json:"selection"`

	// Model and revision that are served.
	Model    string `json:"model"`
	Revision string `json:"revision,omitempty"`

	// Image, command, arguments and environment of the server.
	Image   string   `json:"image"`
	Command []string `json:"command,omitempty"`
	// +listType=atomic
	Args []string `json:"args,omitempty"`
	// +listType=atomic
	Env []corev1.EnvVar `json:"env,omitempty"`

	// Port that the server listens on unless the user says otherwise.
	Port int32 `json:"port"`

	// Resources of one replica, GPUs not among them.
	Resources corev1.ResourceRequirements `json:"resources,omitempty"`

	// WeightsGiB is the size of the weights in whole GiB; 0 if not known.
	WeightsGiB int64 `json:"weightsGiB,omitempty"`
}

// A Candidate is one configuration of one recipe.
type Candidate struct {
	Recipe    string    `json:"recipe"`
	GPUCount  int32     `json:"gpuCount"`
	Hardware  Hardware  `json:"hardware"`
	Precision Precision `json:"precision"`
	Backend   Backend   `json:"backend"`

	// Verdict on the candidate.
	// +kubebuilder:validation:Enum=Selected;Eligible;Rejected
	Verdict string `json:"verdict"`

	// Reason of the verdict, in one word.
	// +optional
	Reason string `json:"reason,omitempty"`

	// Message says what a person would want to know of the verdict.
	// +optional
	Message string `json:"message,omitempty"`
}

// Endpoints where the server can be reached.
type Endpoints struct {
	// Internal URL, for clients in the cluster.
	// +optional
	Internal string `json:"internal,omitempty"`

	// External URL, once the cluster assigned one.
	// +optional
	External string `json:"external,omitempty"`

	// LoadBalancer URL, once the cluster assigned one.
	// +optional
	LoadBalancer string `json:"loadBalancer,omitempty"`

	// NodePort that every node listens on, for a Service that has one.
	// +optional
	NodePort int32 `json:"nodePort,omitempty"`
}

// Replicas of the live Deployment.
type Replicas struct {
	// Current number of pods.
	Current int32 `json:"current"`
	// Desired number of pods.
	Desired int32 `json:"desired"`
	// Ready number of pods.
	Ready int32 `json:"ready"`
	// Available number of pods.
	Available int32 `json:"available"`
}

// Metrics that the live HorizontalPodAutoscaler reports.
type Metrics struct {
	// CPUUtilization is the average CPU use, in percent of the request.
	// +optional
	CPUUtilization *int32 `json:"cpuUtilization,omitempty"`

	// MemoryUtilization is the average memory use, in percent of the request.
	// +optional
	MemoryUtilization *int32 `json:"memoryUtilization,omitempty"`

	// GPUUtilization is the average GPU activity, in percent.
	// +optional
	GPUUtilization *int32 `json:"gpuUtilization,omitempty"`

	// QueueDepth is the average number of waiting requests per replica, as a
	// quantity.
	// +optional
	QueueDepth string `json:"queueDepth,omitempty"`

	// KVCacheUtilization is the average use of the KV cache, in percent.
	// +optional
	KVCacheUtilization *int32 `json:"kvCacheUtilization,omitempty"`
}

// A CanaryPhase says how far a canary has come.
// +kubebuilder:validation:Enum=InProgress;Promoting;Promoted;RolledBack
type CanaryPhase string

// Phases of a canary.
const (
	// CanaryInProgress gets some of the traffic, or is on its way there.
	CanaryInProgress CanaryPhase = "InProgress"
	// CanaryPromoting has proved itself: the change is being rolled out.
	CanaryPromoting CanaryPhase = "Promoting"
	// CanaryPromoted has been rolled out.
	CanaryPromoted CanaryPhase = "Promoted"
	// CanaryRolledBack did not prove itself, and what served before stays.
	CanaryRolledBack CanaryPhase = "RolledBack"
)

// CanaryStatus is the state of a canary, from which a restarted function goes
// on.
type CanaryStatus struct {
	// Phase of the canary.
	Phase CanaryPhase `json:"phase"`

	// Recipe that the canary runs, with its snapshot.
	Recipe SelectedRecipe `json:"recipe"`

	// Template identifies all of the canary's pods: a change that was rolled
	// back is not tried again before it is another one.
	Template string `json:"template"`

	// Message says why it was rolled back.
	// +optional
	Message string `json:"message,omitempty"`
}
