// Package gpu knows AMD Instinct accelerators: their memory, architecture and
// device ids, which precisions they run, and how to find a node that has them.
// An accelerator is one file in this package.
package gpu

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

// Label prefixes of AMD's node labeller (k8s-device-plugin,
// cmd/k8s-node-labeller). Older releases use the beta prefix only.
const (
	labelDeviceID     = "amd.com/gpu.device-id"
	labelDeviceIDBeta = "beta.amd.com/gpu.device-id"
)

// An Accelerator is what Kubernetes counts as one GPU: on an MI250 one of the
// card's two dies.
type Accelerator struct {
	// Name in the API.
	Name v1alpha1.Hardware
	// MemoryGiB of high-bandwidth memory, in GiB.
	MemoryGiB float64
	// BandwidthTBs of that memory, in 10^12 bytes per second.
	BandwidthTBs float64
	// Architecture as the compiler names it, such as gfx942.
	Architecture string
	// Generation orders accelerators from older to newer.
	Generation int
	// DeviceIDs are PCI device ids, as the labeller writes them, of physical
	// and of virtual functions.
	DeviceIDs []string
	// Precisions of weights that it runs, on its own data path or dequantized.
	Precisions []v1alpha1.Precision
	// Native precisions are those of Precisions that it computes in on its own
	// data path. Weights of the others save memory, and its bandwidth, only.
	Native []v1alpha1.Precision
	// MaxPerNode is how many one node has at most. Dies of an MI250 count.
	MaxPerNode int32
}

// Precisions by what the hardware can do (AMD's data sheets and CDNA white
// papers). gfx90a has no float8 data path, and nothing that emulates one. int4
// weights are dequantized everywhere; only the MXFP4 format of them, which is
// what is published as 4 bit for AMD, runs natively on gfx950.
//
//nolint:gochecknoglobals // Constants that Go cannot express as such.
var (
	precisionsCDNA2 = []v1alpha1.Precision{"bfloat16", "float16", "int8", "int4"}
	precisionsCDNA3 = []v1alpha1.Precision{"bfloat16", "float16", "float8", "int8", "int4"}

	nativeCDNA2 = []v1alpha1.Precision{"bfloat16", "float16", "int8"}
	nativeCDNA3 = []v1alpha1.Precision{"bfloat16", "float16", "float8", "int8"}
	nativeCDNA4 = []v1alpha1.Precision{"bfloat16", "float16", "float8", "int8", "int4"}
)

//nolint:gochecknoglobals // A registry that is complete before main runs and never changes after.
var registry []Accelerator

// register an accelerator. It returns it, so that a file of this package can
// be a single declaration.
func register(a Accelerator) Accelerator { //nolint:unparam // A declaration needs a value.
	slices.Sort(a.DeviceIDs)
	registry = append(registry, a)
	slices.SortFunc(registry, func(a, b Accelerator) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return a
}

// All accelerators, by name.
func All() []Accelerator {
	return slices.Clone(registry)
}

// Lookup an accelerator by its name in the API.
func Lookup(name v1alpha1.Hardware) (Accelerator, bool) {
	for _, a := range registry {
		if a.Name == name {
			return a, true
		}
	}
	return Accelerator{}, false
}

// Runs says whether the accelerator runs weights of the supplied precision.
func (a Accelerator) Runs(p v1alpha1.Precision) bool {
	return slices.Contains(a.Precisions, p)
}

// RunsNatively says whether the accelerator computes in the supplied precision
// on its own data path. Of int4 that is so for MXFP4 only.
func (a Accelerator) RunsNatively(p v1alpha1.Precision) bool {
	return slices.Contains(a.Native, p)
}

// NodeAffinity that admits only nodes with this accelerator. AMD's labeller
// writes the device id as a value on nodes with one kind of GPU, and into the
// key, with a count as the value, on mixed nodes; either under one of two
// prefixes. The terms are ORed and in a fixed order.
func (a Accelerator) NodeAffinity() *corev1.NodeAffinity {
	keys := []string{labelDeviceID, labelDeviceIDBeta}
	terms := make([]corev1.NodeSelectorTerm, 0, len(keys)*(1+len(a.DeviceIDs)))
	for _, k := range keys {
		terms = append(terms, term(corev1.NodeSelectorRequirement{Key: k, Operator: corev1.NodeSelectorOpIn, Values: slices.Clone(a.DeviceIDs)}))
	}
	for _, k := range keys {
		for _, id := range a.DeviceIDs {
			terms = append(terms, term(corev1.NodeSelectorRequirement{Key: k + "." + id, Operator: corev1.NodeSelectorOpExists}))
		}
	}
	return &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms}}
}

func term(r corev1.NodeSelectorRequirement) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{r}}
}
