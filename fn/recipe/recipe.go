// Package recipe chooses how to run a model: on which hardware, on how many
// GPUs, at which precision, with which engine and which arguments. Choosing is
// a pure function of the recipes and the constraints; the order of the recipes
// never matters.
package recipe

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

// A Source of recipes. A source with a higher value takes precedence.
type Source int

// Sources, from the lowest precedence to the highest.
const (
	// SourceBuiltin is the catalog inside of this program.
	SourceBuiltin Source = iota + 1
)

// String of the source, as a status has it.
func (s Source) String() string {
	if s == SourceBuiltin {
		return "Builtin"
	}
	return "Unknown"
}

// A Recipe runs a model on one kind of hardware with one engine.
type Recipe struct {
	// Name of the recipe, unique among those of its source.
	Name string
	// Source of the recipe.
	Source Source
	// Model that it runs: an id on the Hugging Face Hub.
	Model string
	// Hardware, precision and backend that it runs with.
	Hardware  v1alpha1.Hardware
	Precision v1alpha1.Precision
	Backend   v1alpha1.Backend
	// Priority is the first criterion among recipes that can run; more wins.
	Priority int
	// Configurations by GPU count.
	Configurations []Configuration
}

// A Configuration of a recipe for one GPU count.
type Configuration struct {
	// GPUCount of one replica.
	GPUCount int32
	// Recommended counts win when nobody asks for another one and the
	// objective is throughput: more GPUs always raise the throughput of one
	// replica, but beyond this count more replicas raise it further.
	Recommended bool
	// Args of the engine, without those that the platform sets itself.
	Args []string
	// Env of the engine, beside what the engine package sets.
	Env []corev1.EnvVar
	// Resources of one replica, GPUs not among them.
	Resources corev1.ResourceRequirements
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
	// Objective that the best candidate is best at.
	Objective v1alpha1.Objective
	// SkipMemoryCheck admits candidates that do not fit into GPU memory.
	SkipMemoryCheck bool
	// Inventory of the cluster; nothing is known of it if empty.
	Inventory []Node
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
