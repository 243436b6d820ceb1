package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An AIMRecipe says how a model runs on one kind of hardware with one engine.
// Endpoints of its namespace choose from it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=aimrecipes,singular=aimrecipe,shortName=aimrecipe,categories={aim}
// +kubebuilder:printcolumn:name="MODEL",type=string,JSONPath=`.spec.modelId`
// +kubebuilder:printcolumn:name="HARDWARE",type=string,JSONPath=`.spec.hardware`
// +kubebuilder:printcolumn:name="PRECISION",type=string,JSONPath=`.spec.precision`
// +kubebuilder:printcolumn:name="BACKEND",type=string,JSONPath=`.spec.backend`
// +kubebuilder:printcolumn:name="PHASE",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="ENDPOINTS",type=integer,JSONPath=`.status.usage.endpointCount`
type AIMRecipe struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   AIMRecipeSpec   `json:"spec"`
	Status AIMRecipeStatus `json:"status,omitempty"`
}

// AIMRecipeSpec says how a model runs.
type AIMRecipeSpec struct {
	// ModelID of the model on the Hugging Face Hub: org/name.
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?/[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?$')",message="must be a Hugging Face model id of the form org/name, such as Qwen/Qwen3-32B"
	ModelID string `json:"modelId"`

	// Hardware that the recipe is for.
	Hardware Hardware `json:"hardware"`

	// Precision of the weights.
	Precision Precision `json:"precision"`

	// Backend is the inference engine.
	Backend Backend `json:"backend"`

	// Description for people.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Description string `json:"description,omitempty"`

	// Priority goes before all else when the best of several recipes is
	// chosen: more wins.
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=-1000
	// +kubebuilder:validation:Maximum=1000
	Priority int32 `json:"priority,omitempty"`

	// Image of the engine; the platform's for that hardware if unset.
	// +optional
	Image *RecipeImage `json:"image,omitempty"`

	// Configurations, one for each number of GPUs.
	// +listType=map
	// +listMapKey=gpuCount
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:XValidation:rule="self.exists(c, !has(c.enabled) || c.enabled)",message="must hold at least one configuration that is enabled: add one, or set enabled to true"
	Configurations []RecipeConfiguration `json:"configurations"`

	// Performance that is expected of every configuration which says nothing
	// else. It decides between recipes.
	// +optional
	Performance *RecipePerformance `json:"performance,omitempty"`

	// ModelFacts are what is needed to check whether the model fits into GPU
	// memory, for models that are not known. They go before what is known.
	// +optional
	ModelFacts *ModelFacts `json:"modelFacts,omitempty"`
}

// A RecipeImage replaces the image of an engine.
//
// +kubebuilder:validation:XValidation:rule="has(self.repository) || has(self.tag)",message="must have a repository, a tag, or both"
type RecipeImage struct {
	// Repository of the image; the engine's own if unset.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^([A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?/)?[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$')",message="must be an image without its tag, such as rocm/vllm or localhost:5000/vllm; the tag goes into image.tag"
	Repository string `json:"repository,omitempty"`

	// Tag of the image; that of the engine's own image if unset.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[A-Za-z0-9_][A-Za-z0-9._-]*$')",message="must be an image's tag: letters, digits, '-', '_' and '.', not starting with '-' or '.'"
	Tag string `json:"tag,omitempty"`
}

// A RecipeConfiguration runs the model on one number of GPUs.
type RecipeConfiguration struct {
	// GPUCount is the number of GPUs of one replica, 1 to 8. The model is split
	// over all of them.
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 8",message="must be 1 to 8: a replica runs on the GPUs of one node"
	GPUCount int32 `json:"gpuCount"`

	// Enabled configurations can be chosen.
	// +optional
	// +kubebuilder:default=true
	Enabled *bool `json:"enabled,omitempty"`

	// Args of the engine, as on its command line. What the platform sets
	// itself need not be there: the model, its revision, the port, and the
	// tensor parallel size.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=16384
	Args []string `json:"args,omitempty"`

	// Env of the engine. Secrets and ConfigMaps are those of the endpoint's
	// namespace.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	Env []corev1.EnvVar `json:"env,omitempty"`

	// Resources of one replica. GPUs need not be among them.
	// +optional
	Resources *RecipeResources `json:"resources,omitempty"`

	// Performance that is expected of this configuration.
	// +optional
	Performance *RecipePerformance `json:"performance,omitempty"`
}

// RecipeResources of one replica.
type RecipeResources struct {
	// Requests of the container.
	// +optional
	Requests corev1.ResourceList `json:"requests,omitempty"`

	// Limits of the container.
	// +optional
	Limits corev1.ResourceList `json:"limits,omitempty"`
}

// RecipePerformance that is expected of one replica.
type RecipePerformance struct {
	// ExpectedTokensPerSecond of all requests together.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ExpectedTokensPerSecond *int32 `json:"expectedTokensPerSecond,omitempty"`

	// ExpectedLatencyMs of one request, in milliseconds.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ExpectedLatencyMs *int32 `json:"expectedLatencyMs,omitempty"`

	// MaxBatchSize is how many requests are expected at once.
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxBatchSize *int32 `json:"maxBatchSize,omitempty"`
}

// ModelFacts of a model, as its config.json has them.
type ModelFacts struct {
	// ParametersBillion is all parameters, in 10^9; of a mixture of experts all
	// experts count.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self > 0.0",message="must be above 0"
	ParametersBillion *float64 `json:"parametersBillion,omitempty"`

	// Layers of the transformer (num_hidden_layers).
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Layers *int64 `json:"layers,omitempty"`

	// KVHeads of a layer (num_key_value_heads).
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	KVHeads *int64 `json:"kvHeads,omitempty"`

	// AttentionHeads of a layer (num_attention_heads). The GPU count must
	// divide it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	AttentionHeads *int64 `json:"attentionHeads,omitempty"`

	// HeadDim is the size of one head (head_dim).
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	HeadDim *int64 `json:"headDim,omitempty"`

	// KVBytesPerToken of the KV cache at 16 bit over all layers, for models
	// whose cache is not made of key and value heads.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000
	KVBytesPerToken *int64 `json:"kvBytesPerToken,omitempty"`

	// MaxContextLength that the model was made for, in tokens
	// (max_position_embeddings).
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000
	MaxContextLength *int64 `json:"maxContextLength,omitempty"`

	// WeightsGiB is the size of the weights at the recipe's precision, in GiB.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self > 0.0",message="must be above 0"
	WeightsGiB *float64 `json:"weightsGiB,omitempty"`
}

// A RecipePhase summarises an AIMRecipe in one word.
// +kubebuilder:validation:Enum=Ready;Invalid
type RecipePhase string

// Phases of an AIMRecipe.
const (
	// RecipeReady means that endpoints can use it.
	RecipeReady RecipePhase = "Ready"
	// RecipeInvalid means that it cannot run, and is not in the catalog.
	RecipeInvalid RecipePhase = "Invalid"
)

// AIMRecipeStatus is what was found. Its conditions are not here: Crossplane's
// own schema brings them.
type AIMRecipeStatus struct {
	// Phase summarises the recipe in one word.
	// +optional
	Phase RecipePhase `json:"phase,omitempty"`

	// ObservedGeneration of the composite that this status is of; absent where
	// there is a claim, whose generations are others.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Usage of the recipe.
	// +optional
	Usage *RecipeUsage `json:"usage,omitempty"`

	// Configurations, and what would run.
	// +optional
	// +listType=map
	// +listMapKey=gpuCount
	Configurations []RecipeConfigurationStatus `json:"configurations,omitempty"`

	// Findings that are not of a single configuration.
	// +optional
	// +listType=atomic
	Findings []RecipeFinding `json:"findings,omitempty"`
}

// RecipeUsage counts who uses a recipe.
type RecipeUsage struct {
	// EndpointCount is how many endpoints run it.
	EndpointCount int32 `json:"endpointCount"`
}

// A RecipeConfigurationStatus says what a configuration would run.
type RecipeConfigurationStatus struct {
	// GPUCount of the configuration.
	GPUCount int32 `json:"gpuCount"`

	// Enabled says whether it can be chosen.
	Enabled bool `json:"enabled"`

	// Fits says whether the model fits into the memory of the GPUs; absent when
	// the model's facts are not known.
	// +optional
	Fits *bool `json:"fits,omitempty"`

	// RequiredGiBPerGPU for weights, runtime and the KV cache of one sequence of
	// the maximum length, in GiB with one decimal.
	// +optional
	RequiredGiBPerGPU string `json:"requiredGiBPerGPU,omitempty"`

	// AvailableGiBPerGPU that the engine may use, in GiB with one decimal.
	// +optional
	AvailableGiBPerGPU string `json:"availableGiBPerGPU,omitempty"`

	// Command that would run, word by word, on the engine's own port.
	// +optional
	// +listType=atomic
	Command []string `json:"command,omitempty"`

	// Findings on this configuration.
	// +optional
	// +listType=atomic
	Findings []RecipeFinding `json:"findings,omitempty"`
}

// A RecipeFinding is something that whoever wrote a recipe should know.
type RecipeFinding struct {
	// Severity of the finding: a recipe with an Error is invalid, a Warning was
	// dealt with as the message says.
	// +kubebuilder:validation:Enum=Error;Warning
	Severity string `json:"severity"`

	// Path of the field, from spec on.
	Path string `json:"path"`

	// Message says what was found and what to do.
	Message string `json:"message"`
}
