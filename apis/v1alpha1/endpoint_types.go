package v1alpha1

import (
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An AIMEndpoint serves a model on AMD GPUs behind an OpenAI-compatible API.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=aimendpoints,singular=aimendpoint,shortName=aimep,categories={aim}
// +kubebuilder:printcolumn:name="MODEL",type=string,JSONPath=`.spec.model.id`
// +kubebuilder:printcolumn:name="RECIPE",type=string,JSONPath=`.status.selectedRecipe.name`
// +kubebuilder:printcolumn:name="REASON",type=string,JSONPath=`.status.reason`
// +kubebuilder:printcolumn:name="REPLICAS",type=integer,JSONPath=`.status.replicas.ready`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.status.url`
type AIMEndpoint struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   AIMEndpointSpec   `json:"spec"`
	Status AIMEndpointStatus `json:"status,omitempty"`
}

// AIMEndpointSpec is what the user wants.
//
// +kubebuilder:validation:XValidation:rule="!has(self.recipe) || !has(self.recipe.gpuCount) || !has(self.resources) || !has(self.resources.gpuCount) || self.recipe.gpuCount == self.resources.gpuCount",message="must be equal to resources.gpuCount when both are set: remove one of them",fieldPath=".recipe.gpuCount"
// +kubebuilder:validation:XValidation:rule="has(self.providerConfigName) == has(oldSelf.providerConfigName) && (!has(self.providerConfigName) || self.providerConfigName == oldSelf.providerConfigName)",message="cannot change, since what runs would stay behind: delete the endpoint, and create it again",fieldPath=".providerConfigName"
// +kubebuilder:validation:XValidation:rule="!has(self.recipe) || !has(self.recipe.autoSelect) || self.recipe.autoSelect || has(self.recipe.customRecipe) || ((has(self.recipe.gpuCount) || (has(self.resources) && has(self.resources.gpuCount))) && has(self.recipe.precision) && has(self.recipe.backend))",message="is false: set recipe.customRecipe, or recipe.gpuCount, recipe.precision and recipe.backend, to say exactly what to run, or set autoSelect to true",fieldPath=".recipe.autoSelect"
type AIMEndpointSpec struct {
	// Model to serve.
	Model Model `json:"model"`

	// Recipe constrains which recipe is chosen for the model. Whatever is not
	// set here is chosen for you.
	// +optional
	Recipe *RecipeSelection `json:"recipe,omitempty"`

	// Resources override those of the recipe, key by key.
	// +optional
	Resources *Resources `json:"resources,omitempty"`

	// Scaling says how many replicas run.
	// +optional
	Scaling *Scaling `json:"scaling,omitempty"`

	// Service through which clients reach the endpoint.
	// +optional
	Service *Service `json:"service,omitempty"`

	// Cache keeps the model's weights on a volume, so that a restart does not
	// download them again.
	// +optional
	Cache *Cache `json:"cache,omitempty"`

	// Monitoring of the endpoint by Prometheus and Grafana.
	// +optional
	Monitoring *Monitoring `json:"monitoring,omitempty"`

	// Security of the pods, and of the API.
	// +optional
	Security *Security `json:"security,omitempty"`

	// Deployment says how the server is deployed, and how changes reach it.
	// +optional
	Deployment *Deployment `json:"deployment,omitempty"`

	// Image replaces the engine's image for the chosen hardware.
	// +optional
	Image *Image `json:"image,omitempty"`

	// HFTokenSecretRef is a Secret in the endpoint's namespace with a Hugging
	// Face token, for gated models. Its value is passed to the server as the
	// environment variable HF_TOKEN.
	// +optional
	HFTokenSecretRef *SecretKeyRef `json:"hfTokenSecretRef,omitempty"`

	// ProviderConfigName is the cluster to run on, as the platform team calls
	// it; the platform's default if unset. Cannot change.
	// +optional
	ProviderConfigName ObjectName `json:"providerConfigName,omitempty"`
}

// A Model names a model to serve.
type Model struct {
	// ID of the model on the Hugging Face Hub: org/name.
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?/[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?$')",message="must be a Hugging Face model id of the form org/name, such as Qwen/Qwen3-32B"
	ID string `json:"id"`

	// Version is a free label of yours, recorded in the workload's labels.
	// It does not choose what is downloaded: revision does.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$')",message="must hold only letters, digits, '-', '_' and '.', and start and end with a letter or digit: it becomes a label"
	Version string `json:"version,omitempty"`

	// Revision of the model's repository: a commit, tag or branch. Unset means
	// the repository's default branch.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[A-Za-z0-9][A-Za-z0-9._/-]*$')",message="must be a commit, tag or branch of the model's repository, such as main"
	Revision string `json:"revision,omitempty"`
}

// A Precision of a model's weights. bf16, fp16 and fp8 are short for bfloat16,
// float16 and float8.
// +kubebuilder:validation:Enum=bfloat16;float16;float8;int8;int4;bf16;fp16;fp8
type Precision string

// A Backend is an inference engine.
// +kubebuilder:validation:Enum=vllm;sglang
type Backend string

// A Hardware is a family of AMD Instinct accelerators.
// +kubebuilder:validation:Enum=MI300X;MI325X;MI355X;MI350X;MI250;MI210
type Hardware string

// An Objective says what the best recipe is best at.
// +kubebuilder:validation:Enum=Throughput;Latency;Cost
type Objective string

// Objectives of a selection.
const (
	// ObjectiveThroughput wants the most tokens per second.
	ObjectiveThroughput Objective = "Throughput"
	// ObjectiveLatency wants the shortest time per token.
	ObjectiveLatency Objective = "Latency"
	// ObjectiveCost wants the most tokens per second and GPU.
	ObjectiveCost Objective = "Cost"
)

// An UpgradePolicy says whether a better recipe replaces a running one.
// +kubebuilder:validation:Enum=Pinned;Automatic
type UpgradePolicy string

// Upgrade policies.
const (
	// UpgradePinned keeps the running recipe until the constraints change.
	UpgradePinned UpgradePolicy = "Pinned"
	// UpgradeAutomatic rolls to a better recipe as soon as there is one.
	UpgradeAutomatic UpgradePolicy = "Automatic"
)

// A RecipeSelection constrains which recipe is chosen.
type RecipeSelection struct {
	// AutoSelect picks the best recipe within the constraints below. When
	// false, customRecipe, or gpuCount, precision and backend, say exactly what
	// to run.
	// +optional
	// +kubebuilder:default=true
	AutoSelect *bool `json:"autoSelect,omitempty"`

	// GPUCount is the number of GPUs of one replica, 1 to 8.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 8",message="must be 1 to 8: a replica runs on the GPUs of one node. For more throughput, raise scaling.minReplicas"
	GPUCount *int32 `json:"gpuCount,omitempty"`

	// Precision of the weights.
	// +optional
	Precision Precision `json:"precision,omitempty"`

	// Backend is the inference engine.
	// +optional
	Backend Backend `json:"backend,omitempty"`

	// CustomRecipe is the AIMRecipe to use, and no other.
	// +optional
	CustomRecipe *RecipeReference `json:"customRecipe,omitempty"`

	// Hardware to run on.
	// +optional
	Hardware Hardware `json:"hardware,omitempty"`

	// Objective says what the best recipe is best at.
	// +optional
	// +kubebuilder:default=Throughput
	Objective Objective `json:"objective,omitempty"`

	// UpgradePolicy says whether a better recipe that appears later replaces
	// the running one.
	// +optional
	// +kubebuilder:default=Pinned
	UpgradePolicy UpgradePolicy `json:"upgradePolicy,omitempty"`
}

// A RecipeReference names an AIMRecipe.
type RecipeReference struct {
	// Name of the AIMRecipe.
	Name ObjectName `json:"name"`

	// Namespace of the AIMRecipe; the endpoint's if unset. The platform must
	// allow any other.
	// +optional
	Namespace ObjectName `json:"namespace,omitempty"`
}

// A Quantity is a Kubernetes resource quantity, such as 500m, 4 or 16Gi.
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="size(self) == 0 || isQuantity(self) && !quantity(self).isLessThan(quantity('0'))",message="must be a quantity such as 500m, 4 or 16Gi. Units are Ki, Mi, Gi, Ti or k, M, G, T; not KB, GB or GiB"
type Quantity string

// Resources of one replica.
//
// +kubebuilder:validation:XValidation:rule="!has(self.cpu) || !has(self.cpuLimit) || !isQuantity(self.cpu) || !isQuantity(self.cpuLimit) || quantity(self.cpu).compareTo(quantity(self.cpuLimit)) <= 0",message="must not be above cpuLimit: lower cpu or raise cpuLimit",fieldPath=".cpu"
// +kubebuilder:validation:XValidation:rule="!has(self.memory) || !has(self.memoryLimit) || !isQuantity(self.memory) || !isQuantity(self.memoryLimit) || quantity(self.memory).compareTo(quantity(self.memoryLimit)) <= 0",message="must not be above memoryLimit: lower memory or raise memoryLimit",fieldPath=".memory"
type Resources struct {
	// GPUCount is the number of GPUs of one replica, 1 to 8.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 8",message="must be 1 to 8: a replica runs on the GPUs of one node. For more throughput, raise scaling.minReplicas"
	GPUCount *int32 `json:"gpuCount,omitempty"`

	// CPU that one replica requests.
	// +optional
	CPU Quantity `json:"cpu,omitempty"`

	// Memory that one replica requests.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!isQuantity(self) || quantity(self).isLessThan(quantity('0')) || !quantity(self).isLessThan(quantity('1Mi'))",message="must be at least 1Mi: give a unit, such as 16Gi"
	Memory Quantity `json:"memory,omitempty"`

	// CPULimit of one replica.
	// +optional
	CPULimit Quantity `json:"cpuLimit,omitempty"`

	// MemoryLimit of one replica. Shared memory counts against it.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!isQuantity(self) || quantity(self).isLessThan(quantity('0')) || !quantity(self).isLessThan(quantity('1Mi'))",message="must be at least 1Mi: give a unit, such as 16Gi"
	MemoryLimit Quantity `json:"memoryLimit,omitempty"`
}

// Scaling of an endpoint. Autoscaling is on when maxReplicas is above
// minReplicas; without a target it follows the number of waiting requests.
//
// +kubebuilder:validation:XValidation:rule="!has(self.minReplicas) || self.minReplicas > 0 || has(self.maxReplicas)",message="is 0, which needs maxReplicas: an endpoint that never runs is of no use",fieldPath=".minReplicas"
// +kubebuilder:validation:XValidation:rule="!has(self.maxReplicas) || self.maxReplicas >= (has(self.minReplicas) ? self.minReplicas : 1)",message="must not be below minReplicas, which is 1 if unset: raise maxReplicas or lower minReplicas",fieldPath=".maxReplicas"
type Scaling struct {
	// MinReplicas is the number of replicas that always run. 0 needs a platform
	// that scales with KEDA, and maxReplicas.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	MinReplicas *int32 `json:"minReplicas,omitempty"`

	// MaxReplicas is the number of replicas at most. Unset means minReplicas.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxReplicas *int32 `json:"maxReplicas,omitempty"`

	// TargetCPUUtilization is the average CPU use to scale on, in percent of
	// the request.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	TargetCPUUtilization *int32 `json:"targetCPUUtilization,omitempty"`

	// TargetMemoryUtilization is the average memory use to scale on, in
	// percent of the request.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	TargetMemoryUtilization *int32 `json:"targetMemoryUtilization,omitempty"`

	// TargetGPUUtilization is the average GPU activity to scale on, in
	// percent. Needs AMD's device metrics exporter and a metrics adapter.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	TargetGPUUtilization *int32 `json:"targetGPUUtilization,omitempty"`

	// TargetQueueDepth is the average number of waiting requests per replica
	// to scale on; 5 if no target is set. Needs a metrics adapter.
	// +optional
	// +kubebuilder:validation:Minimum=1
	TargetQueueDepth *int32 `json:"targetQueueDepth,omitempty"`

	// TargetKVCacheUtilization is the average use of the KV cache to scale on,
	// in percent. Needs a metrics adapter.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	TargetKVCacheUtilization *int32 `json:"targetKVCacheUtilization,omitempty"`

	// ScaleDownDelay is how many seconds a lower need must last before
	// replicas are removed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3600
	ScaleDownDelay *int32 `json:"scaleDownDelay,omitempty"`

	// ScaleUpDelay is how many seconds a higher need must last before replicas
	// are added.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3600
	ScaleUpDelay *int32 `json:"scaleUpDelay,omitempty"`
}

// A Service through which clients reach the endpoint.
//
// +kubebuilder:validation:XValidation:rule="!has(self.loadBalancerIP) || size(self.loadBalancerIP) == 0 || (has(self.type) && self.type == 'LoadBalancer')",message="needs service.type LoadBalancer",fieldPath=".loadBalancerIP"
type Service struct {
	// Type of the Service.
	// +optional
	// +kubebuilder:default=ClusterIP
	// +kubebuilder:validation:Enum=ClusterIP;NodePort;LoadBalancer
	Type string `json:"type,omitempty"`

	// Port that the Service listens on.
	// +optional
	// +kubebuilder:default=8000
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port *int32 `json:"port,omitempty"`

	// TargetPort that the server listens on; the engine's own if unset.
	// +optional
	// +kubebuilder:validation:Maximum=65535
	// +kubebuilder:validation:XValidation:rule="self >= 1024",message="must be 1024 to 65535: the server may not open a privileged port. service.port may be any"
	TargetPort *int32 `json:"targetPort,omitempty"`

	// Annotations of the Service.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 317 && k.matches('^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$'))",message="keys must be an optional DNS prefix and a slash, then at most 63 letters, digits, '-', '_' or '.', such as example.org/name"
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`

	// LoadBalancerIP to ask the load balancer for.
	// +optional
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || isIP(self)",message="must be an IP address"
	LoadBalancerIP string `json:"loadBalancerIP,omitempty"`

	// Route leads clients from outside of the cluster to the endpoint, by a
	// hostname.
	// +optional
	Route *Route `json:"route,omitempty"`
}

// An AnnotationValue is the value of an annotation.
// +kubebuilder:validation:MaxLength=4096
type AnnotationValue string

// A Cache keeps the model's weights on a volume: the endpoint's own, or one that
// an AIMCache shares.
//
// +kubebuilder:validation:XValidation:rule="!has(self.name) || !has(self.enabled) || !self.enabled",message="must not be true when cache.name is set: the endpoint uses that AIMCache, and needs no volume of its own",fieldPath=".enabled"
type Cache struct {
	// Name of an AIMCache in the endpoint's namespace to use.
	// +optional
	Name ObjectName `json:"name,omitempty"`

	// Enabled creates a volume <name>-cache for the weights.
	// +optional
	// +kubebuilder:default=false
	Enabled *bool `json:"enabled,omitempty"`

	// StorageClass of the volume; the cluster's default if unset. Cannot
	// change once the volume exists.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="must be the name of a StorageClass: lowercase letters, digits, '-' and '.', starting and ending with a letter or digit"
	StorageClass string `json:"storageClass,omitempty"`

	// Size of the volume; two and a half times the model's weights and 10Gi if
	// unset. It can grow where the storage class allows that, never shrink.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!isQuantity(self) || quantity(self).isLessThan(quantity('0')) || !quantity(self).isLessThan(quantity('1Mi'))",message="must be at least 1Mi: give a unit, such as 100Gi"
	Size Quantity `json:"size,omitempty"`

	// AccessMode of the volume. Cannot change once the volume exists.
	// +optional
	// +kubebuilder:default=ReadWriteOnce
	// +kubebuilder:validation:Enum=ReadWriteOnce;ReadWriteMany;ReadWriteOncePod
	AccessMode string `json:"accessMode,omitempty"`

	// Retain keeps the volume when the endpoint is deleted, for a later
	// endpoint of the same name.
	// +optional
	// +kubebuilder:default=true
	Retain *bool `json:"retain,omitempty"`

	// Preload downloads the model into the volume by a Job, before the server
	// starts, and before a change of the model reaches one that runs. A volume
	// that waits for its first pod is the exception: there the Job downloads
	// beside the server. Without it, the server downloads the model.
	// +optional
	// +kubebuilder:default=true
	Preload *bool `json:"preload,omitempty"`
}

// Security of the pods, and of the API.
type Security struct {
	// ServiceAccount that the pods run as; the namespace's default if unset.
	// The server never gets its token.
	// +optional
	ServiceAccount *ServiceAccount `json:"serviceAccount,omitempty"`

	// PodSecurityContext says who the server runs as. The engines' images run
	// as root if it is unset.
	// +optional
	PodSecurityContext *PodSecurityContext `json:"podSecurityContext,omitempty"`

	// SupplementalGroups of the server: the groups that own /dev/kfd and
	// /dev/dri on the nodes (video and render), which a server that does not
	// run as root needs.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	SupplementalGroups []ID `json:"supplementalGroups,omitempty"`

	// APIKeySecretRef is a Secret in the endpoint's namespace with a key that
	// clients must send. Its value is passed to the server as an environment
	// variable.
	// +optional
	APIKeySecretRef *SecretKeyRef `json:"apiKeySecretRef,omitempty"`

	// NetworkPolicy says who may connect to the pods.
	// +optional
	NetworkPolicy *NetworkPolicy `json:"networkPolicy,omitempty"`
}

// A ServiceAccount that pods run as.
type ServiceAccount struct {
	// Create the ServiceAccount. When false, name must be one that exists.
	// +optional
	// +kubebuilder:default=false
	Create *bool `json:"create,omitempty"`

	// Name of the ServiceAccount. One that is created has the endpoint's name
	// if this is unset.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="must be the name of a ServiceAccount: lowercase letters, digits, '-' and '.', starting and ending with a letter or digit"
	Name string `json:"name,omitempty"`
}

// A NetworkPolicy says who may connect to the pods.
type NetworkPolicy struct {
	// Enabled lets nobody connect to the pods but those in allowFrom, and
	// Prometheus. It needs a network plugin that enforces NetworkPolicies.
	// +optional
	// +kubebuilder:default=false
	Enabled *bool `json:"enabled,omitempty"`

	// AllowFrom are the pods, namespaces and addresses that may connect. A
	// gateway or an ingress controller must be among them, if there is one.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	AllowFrom []networkingv1.NetworkPolicyPeer `json:"allowFrom,omitempty"`
}

// An ID of a user or group.
// +kubebuilder:validation:Minimum=0
// +kubebuilder:validation:Maximum=2147483647
type ID int64

// A PodSecurityContext says who the server runs as.
type PodSecurityContext struct {
	// RunAsUser is the server's user. Any other than 0 makes the pod refuse to
	// run as root.
	// +optional
	RunAsUser *ID `json:"runAsUser,omitempty"`

	// RunAsGroup is the server's primary group.
	// +optional
	RunAsGroup *ID `json:"runAsGroup,omitempty"`

	// FSGroup owns the pod's volumes.
	// +optional
	FSGroup *ID `json:"fsGroup,omitempty"`
}

// An Image of an engine.
type Image struct {
	// Repository of the image.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^([A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?/)?[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$')",message="must be an image without its tag, such as rocm/vllm or localhost:5000/vllm; the tag goes into image.tag"
	Repository string `json:"repository,omitempty"`

	// Tag of the image.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[A-Za-z0-9_][A-Za-z0-9._-]*$')",message="must be an image's tag: letters, digits, '-', '_' and '.', not starting with '-' or '.'"
	Tag string `json:"tag,omitempty"`

	// PullPolicy of the image.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	PullPolicy string `json:"pullPolicy,omitempty"`

	// PullSecrets are names of Secrets in the endpoint's namespace.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	PullSecrets []ObjectName `json:"pullSecrets,omitempty"`
}

// An ObjectName is the name of a Kubernetes object.
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="must be the name of a Kubernetes object: lowercase letters, digits, '-' and '.', starting and ending with a letter or digit"
type ObjectName string

// A SecretKeyRef names a key of a Secret in the endpoint's namespace.
type SecretKeyRef struct {
	// Name of the Secret.
	Name ObjectName `json:"name"`

	// Key in the Secret.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9._-]+$')",message="must be a key of a Secret: letters, digits, '-', '_' and '.'"
	Key string `json:"key"`
}
