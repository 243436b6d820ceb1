package v1beta1

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

// Input says what a platform decides once for all endpoints of a Composition.
// Every field is optional.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:resource:categories=crossplane
type Input struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// ProviderConfigName is the provider-kubernetes ProviderConfig (for a
	// namespaced composite: ClusterProviderConfig) through which objects are
	// made.
	// +optional
	// +kubebuilder:default=default
	ProviderConfigName string `json:"providerConfigName,omitempty"`

	// Namespace that a composite without a claim composes into.
	// +optional
	Namespace string `json:"namespace,omitempty"`

	// Inventory is the hardware that the cluster has. When it is empty nothing
	// is known of the hardware, and none is ruled out.
	// +optional
	Inventory []InventoryItem `json:"inventory,omitempty"`

	// InventoryFrom is an EnvironmentConfig whose data has more of the inventory,
	// under the key inventory and in the same form. It can be kept up to date
	// without a change of the Composition.
	// +optional
	InventoryFrom *InventorySource `json:"inventoryFrom,omitempty"`

	// RecipeNamespaces whose AIMRecipes endpoints of all namespaces may use. "*"
	// is all of them. Recipes of an endpoint's own namespace, and composites
	// without a claim, can always be used.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	RecipeNamespaces []string `json:"recipeNamespaces,omitempty"`

	// GPUResourceName is the extended resource that the device plugin offers.
	// +optional
	// +kubebuilder:default="amd.com/gpu"
	GPUResourceName string `json:"gpuResourceName,omitempty"`

	// Images replace the engines' images.
	// +optional
	Images []EngineImage `json:"images,omitempty"`

	// AgentImage is the image of function-aim, whose agent fills and cleans the
	// caches of models. The package of the function is one.
	// +optional
	AgentImage string `json:"agentImage,omitempty"`

	// AgentEnv are environment variables of the agent: HTTPS_PROXY and NO_PROXY
	// of a network without direct access, or HF_ENDPOINT of a mirror of the
	// Hugging Face Hub.
	// +optional
	AgentEnv []corev1.EnvVar `json:"agentEnv,omitempty"`

	// AgentPullSecrets are Secrets with which the agent's image is pulled, by their
	// names. They have to be in each namespace with caches, or with endpoints that
	// preload.
	// +optional
	// +kubebuilder:validation:MaxItems=8
	AgentPullSecrets []string `json:"agentPullSecrets,omitempty"`

	// StorageClass of caches that name none.
	// +optional
	StorageClass string `json:"storageClass,omitempty"`

	// Tolerations of every pod, beside the one for GPU nodes.
	// +optional
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// Security of every pod whose endpoint says nothing else.
	// +optional
	Security *v1alpha1.Security `json:"security,omitempty"`

	// Clusters that endpoints may choose by spec.providerConfigName, beside the
	// default one. An entry with the name of the default describes that one.
	// Crossplane does not run in them: nothing is known of them but what is said
	// here, and what Objects report.
	// +optional
	// +listType=map
	// +listMapKey=providerConfigName
	// +kubebuilder:validation:MaxItems=64
	Clusters []Cluster `json:"clusters,omitempty"`

	// Autoscaling says what scales endpoints.
	// +optional
	Autoscaling *Autoscaling `json:"autoscaling,omitempty"`

	// Monitoring says by what Prometheus and Grafana find what endpoints bring.
	// +optional
	Monitoring *Monitoring `json:"monitoring,omitempty"`

	// Route is how clients from outside reach endpoints whose service.route
	// names neither a Gateway nor an IngressClass.
	// +optional
	Route *Route `json:"route,omitempty"`

	// PodDiagnosis reads the pods of a workload that is not available, to say
	// why. Disabled needs no permission to read pods, and says less.
	// +optional
	// +kubebuilder:default=Enabled
	// +kubebuilder:validation:Enum=Enabled;Disabled
	PodDiagnosis string `json:"podDiagnosis,omitempty"`
}

// An InventorySource is where an inventory is kept.
type InventorySource struct {
	// EnvironmentConfig is the name of a Crossplane EnvironmentConfig.
	EnvironmentConfig string `json:"environmentConfig"`
}

// An InventoryItem is one kind of node of the cluster.
type InventoryItem struct {
	// Hardware of the nodes.
	Hardware v1alpha1.Hardware `json:"hardware"`

	// GPUsPerNode that one node offers.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	GPUsPerNode int32 `json:"gpusPerNode"`
}

// An EngineImage replaces the image of an engine.
type EngineImage struct {
	// Backend that the image runs.
	Backend v1alpha1.Backend `json:"backend"`

	// Hardware that the image is for; all of it if unset.
	// +optional
	Hardware v1alpha1.Hardware `json:"hardware,omitempty"`

	// Image with its tag or digest.
	// +kubebuilder:validation:MinLength=1
	Image string `json:"image"`
}

// A Cluster that endpoints can run on, other than Crossplane's own.
type Cluster struct {
	// ProviderConfigName is the ProviderConfig through which it is reached.
	// +kubebuilder:validation:MinLength=1
	ProviderConfigName string `json:"providerConfigName"`

	// Inventory of that cluster.
	// +optional
	Inventory []InventoryItem `json:"inventory,omitempty"`

	// APIs beyond Kubernetes' own that the cluster has, by kind: it cannot be
	// asked.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:Enum=ServiceMonitor;PrometheusRule;HTTPRoute;ScaledObject
	APIs []string `json:"apis,omitempty"`
}

// Autoscaling says what scales endpoints.
type Autoscaling struct {
	// Autoscaler is Kubernetes' own HorizontalPodAutoscaler, or KEDA, which can
	// scale to zero.
	// +optional
	// +kubebuilder:default=HorizontalPodAutoscaler
	// +kubebuilder:validation:Enum=HorizontalPodAutoscaler;KEDA
	Autoscaler string `json:"autoscaler,omitempty"`

	// PrometheusAddress is the URL of the Prometheus that KEDA asks.
	// +optional
	PrometheusAddress string `json:"prometheusAddress,omitempty"`

	// ActivationQuery is a PromQL query of requests that wait in front of an
	// endpoint, such as a gateway's: a server that does not run counts none
	// itself. $namespace, $name and $model are replaced by the endpoint's. Without
	// it no endpoint is scaled to zero.
	// +optional
	ActivationQuery string `json:"activationQuery,omitempty"`
}

// Monitoring says by what Prometheus and Grafana find what endpoints bring.
type Monitoring struct {
	// Labels of ServiceMonitors and PrometheusRules, such as the one by which
	// the Prometheus operator selects: release.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`

	// DashboardLabels of ConfigMaps with a dashboard; grafana_dashboard: "1" if
	// unset, which is what Grafana's sidecar looks for.
	// +optional
	DashboardLabels map[string]string `json:"dashboardLabels,omitempty"`

	// ScrapeFrom are the pods of Prometheus, to which NetworkPolicies of
	// endpoints are open. Pods with the label app.kubernetes.io/name: prometheus
	// of any namespace if unset.
	// +optional
	// +listType=atomic
	ScrapeFrom []networkingv1.NetworkPolicyPeer `json:"scrapeFrom,omitempty"`
}

// A Route is how clients from outside reach endpoints: through a Gateway, or
// through an ingress controller.
type Route struct {
	// Gateway to attach HTTPRoutes to.
	// +optional
	Gateway *v1alpha1.GatewayReference `json:"gateway,omitempty"`

	// IngressClass of Ingresses.
	// +optional
	IngressClass string `json:"ingressClass,omitempty"`
}
