package model

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

// A Placement is one way to run a model.
type Placement struct {
	// Precision of the weights.
	Precision v1alpha1.Precision
	// TensorParallelSize is the number of GPUs that share the model.
	TensorParallelSize int32
	// MaxModelLen is the length of the longest sequence, in tokens.
	MaxModelLen int64
	// Utilization is the share of GPU memory that the engine may use, (0, 1].
	Utilization float64
	// MemoryGiB of one GPU.
	MemoryGiB float64
	// KVBytes of one element of the key-value cache: 1 if it is float8. 16 bit
	// if 0.
	KVBytes float64
}

// A Fit is the arithmetic of GPU memory of one placement. All sizes are in
// GiB, and of one GPU unless they say otherwise.
type Fit struct {
	// WeightsGiB of the whole model.
	WeightsGiB float64
	// KVGiB of one sequence of the maximum length, over all GPUs.
	KVGiB float64
	// KVUnknown says that the size of the KV cache is not known, and none of it
	// in what is required.
	KVUnknown bool
	// RequiredGiB of one GPU.
	RequiredGiB float64
	// AvailableGiB of one GPU: what of its memory the engine may use.
	AvailableGiB float64
	// MaxConcurrentSequences of the maximum length that fit: an estimate.
	MaxConcurrentSequences int64
	// MemoryGiB of one GPU, MaxModelLen in tokens and TensorParallelSize of the
	// placement.
	MemoryGiB          float64
	MaxModelLen        int64
	TensorParallelSize int32
}

// Constants of the fit: weights need 2 % of extra room as they are stored and
// 5 % for fragmentation, and the runtime 2.3 GiB (0.6 outside of PyTorch, 1.7
// of activations). KAITO's estimator found them by measuring.
const (
	weightsOverhead = 1.02 * 1.05
	runtimeGiB      = 2.3
)

// mostSequences that a fit counts, far beyond what any engine runs at once.
const mostSequences = 1 << 31

// Fits says whether it fits.
func (f Fit) Fits() bool {
	return f.RequiredGiB <= f.AvailableGiB
}

// String of the arithmetic, for people.
func (f Fit) String() string {
	needs := fmt.Sprintf("%s GiB of weights + %.1f GiB of KV cache for one sequence of %d tokens need", short(f.WeightsGiB), f.KVGiB, f.MaxModelLen)
	if f.KVUnknown {
		needs = fmt.Sprintf("%s GiB of weights, without the KV cache, whose size is not known, need", short(f.WeightsGiB))
	}
	compared := ">"
	if f.Fits() {
		compared = "<="
	}
	return fmt.Sprintf("%s %.1f GiB per GPU %s %.1f GiB usable of %s GiB",
		needs, f.RequiredGiB, compared, f.AvailableGiB, strconv.FormatFloat(math.Round(f.MemoryGiB*10)/10, 'f', -1, 64))
}

// short form of a size: from 100 on nobody needs decimals.
func short(gib float64) string {
	if math.Round(gib*10) >= 1000 {
		return fmt.Sprintf("%.0f", gib)
	}
	return fmt.Sprintf("%.1f", gib)
}

// Fit a placement. It returns false if the size of the weights is not known.
func (f Facts) Fit(p Placement) (Fit, bool) {
	w, ok := f.Weights(p.Precision)
	if !ok || p.TensorParallelSize < 1 {
		return Fit{}, false
	}
	kvBytes := 2.0
	if positive(p.KVBytes) {
		kvBytes = p.KVBytes
	}
	tp := float64(p.TensorParallelSize)
	kv := f.CacheBytesPerToken() * kvBytes / 2 * float64(max(0, p.MaxModelLen)) / gib
	// A KV head is on one GPU at least: more GPUs than heads replicate them.
	kvPerGPU := kv / min(tp, float64(max(1, f.KVHeads)))
	fixed := w*weightsOverhead/tp + runtimeGiB
	fit := Fit{
		WeightsGiB:         w,
		KVGiB:              kv,
		KVUnknown:          kv == 0,
		RequiredGiB:        fixed + kvPerGPU,
		AvailableGiB:       p.Utilization * p.MemoryGiB,
		MemoryGiB:          p.MemoryGiB,
		MaxModelLen:        p.MaxModelLen,
		TensorParallelSize: p.TensorParallelSize,
	}
	// n is no number if sizes are infinite, and then not greater than anything.
	if n := (fit.AvailableGiB - fixed) / kvPerGPU; fit.Fits() && kvPerGPU > 0 && n >= 1 {
		fit.MaxConcurrentSequences = int64(min(mostSequences, n))
	}
	return fit, true
}

// SmallestFit is the smallest of some GPU counts into which the model divides
// and fits, whatever the placement's own. It returns false if there is none.
func (f Facts) SmallestFit(p Placement, counts []int32) (int32, bool) {
	for _, n := range slices.Sorted(slices.Values(counts)) {
		p.TensorParallelSize = n
		if fit, ok := f.Fit(p); ok && fit.Fits() && f.DividesInto(n) {
			return n, true
		}
	}
	return 0, false
}
