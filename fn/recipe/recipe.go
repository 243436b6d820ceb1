// Package recipe chooses how to run a model: on which hardware, on how many
// GPUs, at which precision, with which engine and which arguments. Choosing is
// a pure function of the recipes and the constraints; the order of the recipes
// never matters.
package recipe

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/model"
)

// A Source of recipes. A source with a higher value takes precedence.
type Source int

// Sources, from the lowest precedence to the highest.
const (
	// SourceBuiltin is the catalog inside of this program.
	SourceBuiltin Source = iota + 1
	// SourceCluster is an AIMRecipe that the platform lets all endpoints use.
	SourceCluster
	// SourceNamespace is an AIMRecipe of the endpoint's namespace.
	SourceNamespace
	// SourceCustom is the AIMRecipe that the endpoint names.
	SourceCustom
)

// String of the source, as a status has it.
func (s Source) String() string {
	switch s {
	case SourceBuiltin:
		return "Builtin"
	case SourceCluster, SourceNamespace:
		return "Cluster"
	case SourceCustom:
		return "Custom"
	}
	return "Unknown"
}

// words for the source, for people.
func (s Source) words() string {
	switch s {
	case SourceBuiltin:
		return "built in"
	case SourceCluster:
		return "of the platform"
	case SourceNamespace:
		return "of the namespace"
	case SourceCustom:
		return "named by the endpoint"
	}
	return "unknown"
}

// A Recipe runs a model on one kind of hardware with one engine.
type Recipe struct {
	// Name of the recipe, unique in its namespace, or among those that have none.
	Name string `json:"name"`
	// Namespace of the AIMRecipe; empty for those that have none.
	Namespace string `json:"namespace,omitempty"`
	// Source of the recipe: what it is to whoever chooses.
	Source Source `json:"-"`
	// Model that it runs: an id on the Hugging Face Hub.
	Model string `json:"model"`
	// Hardware, precision and backend that it runs with.
	Hardware  v1alpha1.Hardware  `json:"hardware"`
	Precision v1alpha1.Precision `json:"precision"`
	Backend   v1alpha1.Backend   `json:"backend"`
	// Priority is the first criterion among recipes that can run; more wins.
	Priority int `json:"priority,omitempty"`
	// Image of the recipe's own, in place of the platform's or the engine's.
	Image Image `json:"image,omitzero"`
	// Facts of the model that the recipe brings; what is known if nil.
	Facts *model.Facts `json:"facts,omitempty"`
	// Configurations by GPU count.
	Configurations []Configuration `json:"configurations"`
}

// An Image of a recipe's own. What is empty is as in the image that it stands
// in for.
type Image struct {
	Repository string `json:"repository,omitempty"`
	Tag        string `json:"tag,omitempty"`
}

// A Configuration of a recipe for one GPU count.
type Configuration struct {
	// GPUCount of one replica.
	GPUCount int32 `json:"gpuCount"`
	// Recommended counts win when nobody asks for another one and the
	// objective is throughput: more GPUs always raise the throughput of one
	// replica, but beyond this count more replicas raise it further.
	Recommended bool `json:"-"`
	// Args of the engine, without those that the platform sets itself.
	Args []string `json:"args,omitempty"`
	// Env of the engine, beside what the engine package sets.
	Env []corev1.EnvVar `json:"env,omitempty"`
	// Resources of one replica, GPUs not among them.
	Resources corev1.ResourceRequirements `json:"resources,omitempty"`
	// Performance that was published for it, or that whoever wrote the recipe
	// expects. Zero where nothing is known.
	Performance Performance `json:"performance,omitempty"`
}

// Performance of one replica.
type Performance struct {
	// TokensPerSecond of all sequences together.
	TokensPerSecond int32 `json:"tokensPerSecond,omitempty"`
	// LatencyMs until a request is answered, in milliseconds.
	LatencyMs int32 `json:"latencyMs,omitempty"`
	// MaxBatchSize is how many sequences it was measured with.
	MaxBatchSize int32 `json:"maxBatchSize,omitempty"`
	// Source of the numbers, where they were published.
	Source string `json:"source,omitempty"`
}

// Constraints on a choice.
type Constraints struct {
	// Model to run.
	Model string
	// Hardware, precision, backend and GPU count to use; any where empty.
	Hardware  v1alpha1.Hardware
	Precision v1alpha1.Precision
	Backend   v1alpha1.Backend
	GPUCount  int32
	// Custom recipe to use, as the endpoint names it; nil if it names none. The
	// catalog to choose from is narrowed to it already.
	Custom *Reference
	// Objective that the best candidate is best at.
	Objective v1alpha1.Objective
	// SkipMemoryCheck admits candidates that do not fit into GPU memory.
	SkipMemoryCheck bool
	// Inventory of the cluster; nothing is known of it if empty.
	Inventory []Node
}

// A Reference to an AIMRecipe.
type Reference struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String of the reference, for people.
func (r Reference) String() string {
	if r.Namespace == "" {
		return r.Name
	}
	return r.Namespace + "/" + r.Name
}

// A Node of the cluster, as far as a choice needs to know it.
type Node struct {
	Hardware v1alpha1.Hardware
	GPUs     int32
}

// Canonical spelling of a precision: bf16, fp16 and fp8 are short forms.
func Canonical(p v1alpha1.Precision) v1alpha1.Precision {
	switch p {
	case "bf16":
		return "bfloat16"
	case "fp16":
		return "float16"
	case "fp8":
		return "float8"
	}
	return p
}
