package recipe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/engine"
	"github.com/aim-engine/function-aim/fn/gpu"
	"github.com/aim-engine/function-aim/fn/model"
)

// A Verdict on a candidate.
type Verdict string

// Verdicts.
const (
	VerdictSelected Verdict = "Selected"
	VerdictEligible Verdict = "Eligible"
	VerdictRejected Verdict = "Rejected"
)

// Reasons of a verdict.
const (
	reasonBest                = "Best"
	reasonOutranked           = "Outranked"
	reasonConstraint          = "ConstraintNotMet"
	reasonUnknownHardware     = "UnknownHardware"
	reasonPrecision           = "PrecisionNotSupported"
	reasonEngine              = "EngineNotAvailable"
	reasonTensorParallel      = "TensorParallelImpossible"
	reasonInsufficientMemory  = "InsufficientGPUMemory"
	reasonNotInInventory      = "HardwareNotInInventory"
	reasonMoreGPUsThanAnyNode = "MoreGPUsThanAnyNode"
)

// A Candidate is one configuration of one recipe, judged.
type Candidate struct {
	Recipe        Recipe
	Configuration Configuration
	// Accelerator and Engine that the recipe names; zero if they are unknown.
	Accelerator gpu.Accelerator
	Engine      engine.Engine
	// Fit into GPU memory; nil if the model's facts are not known.
	Fit *model.Fit

	Verdict Verdict
	// Reason of the verdict in one word, and a message for people.
	Reason  string
	Message string
}

// judge a configuration against what holds for each candidate by itself.
func judge(r Recipe, c Configuration, want Constraints, facts *model.Facts) Candidate {
	cand := Candidate{Recipe: r, Configuration: c, Verdict: VerdictRejected}
	cand.Accelerator, _ = gpu.Lookup(r.Hardware)
	cand.Engine, _ = engine.Lookup(r.Backend)
	cand.Fit = fit(r, c, cand, facts)

	if cand.Reason, cand.Message = reject(cand, want, facts); cand.Reason == "" {
		cand.Verdict = VerdictEligible
	}
	return cand
}

// reject returns why a candidate cannot be used, or an empty reason. What the
// user asked for comes first: a person wants to hear of hardware limits only
// for candidates that they would take.
func reject(c Candidate, want Constraints, facts *model.Facts) (string, string) {
	r, n := c.Recipe, c.Configuration.GPUCount
	if want.Hardware != "" && r.Hardware != want.Hardware {
		return reasonConstraint, fmt.Sprintf("runs on %s, but hardware %s is asked for", r.Hardware, want.Hardware)
	}
	if want.Precision != "" && r.Precision != want.Precision {
		return reasonConstraint, fmt.Sprintf("runs at precision %s, but %s is asked for", r.Precision, want.Precision)
	}
	if want.Backend != "" && r.Backend != want.Backend {
		return reasonConstraint, fmt.Sprintf("runs with %s, but backend %s is asked for", r.Backend, want.Backend)
	}
	if want.GPUCount != 0 && n != want.GPUCount {
		return reasonConstraint, fmt.Sprintf("runs on %s, but %s %s asked for", gpus(n), gpus(want.GPUCount), are(want.GPUCount))
	}
	if c.Accelerator.Name == "" {
		return reasonUnknownHardware, fmt.Sprintf("hardware %s is not known", r.Hardware)
	}
	if !c.Accelerator.Runs(r.Precision) {
		return reasonPrecision, fmt.Sprintf("%s (%s) does not run precision %s", r.Hardware, c.Accelerator.Architecture, r.Precision)
	}
	if c.Engine.Name == "" {
		return reasonEngine, fmt.Sprintf("backend %s is not available", r.Backend)
	}
	if _, ok := c.Engine.Image(c.Accelerator); !ok {
		return reasonEngine, fmt.Sprintf("there is no image of %s for %s (%s)", r.Backend, r.Hardware, c.Accelerator.Architecture)
	}
	if facts != nil && !facts.DividesInto(n) {
		return reasonTensorParallel, fmt.Sprintf("%d attention heads and %d key-value heads cannot be split over %s", facts.AttentionHeads, facts.KVHeads, gpus(n))
	}
	most := mostPerNode(c.Accelerator, want.Inventory)
	if most == 0 {
		return reasonNotInInventory, fmt.Sprintf("the cluster has no %s", r.Hardware)
	}
	if n > most {
		return reasonMoreGPUsThanAnyNode, fmt.Sprintf("it needs %s, and no node has more than %d of %s", gpus(n), most, r.Hardware)
	}
	// Last, so that whoever hears of memory hears of hardware that there is.
	if c.Fit != nil && !c.Fit.Fits() && !want.SkipMemoryCheck {
		return reasonInsufficientMemory, fmt.Sprintf("%s of %s %s not enough: %s", gpus(n), r.Hardware, are(n), c.Fit)
	}
	return "", ""
}

// mostPerNode is how many of an accelerator one node has at most.
func mostPerNode(a gpu.Accelerator, inventory []Node) int32 {
	if len(inventory) == 0 {
		return a.MaxPerNode
	}
	most := int32(0)
	for _, node := range inventory {
		if node.Hardware == a.Name {
			most = max(most, node.GPUs)
		}
	}
	return most
}

// fit a configuration into its hardware's memory; nil if the model's facts or
// the hardware are not known.
func fit(r Recipe, c Configuration, cand Candidate, facts *model.Facts) *model.Fit {
	if facts == nil || cand.Accelerator.Name == "" || cand.Engine.Name == "" {
		return nil
	}
	p := model.Placement{
		Precision:          r.Precision,
		TensorParallelSize: c.GPUCount,
		MaxModelLen:        facts.MaxContextLength,
		Utilization:        cand.Engine.DefaultMemoryUtilization,
		MemoryGiB:          cand.Accelerator.MemoryGiB,
	}
	if v, ok := engine.FlagValue(c.Args, cand.Engine.MaxModelLenFlags...); ok {
		if n, ok := tokens(v); ok {
			p.MaxModelLen = n
		}
	}
	if v, ok := engine.FlagValue(c.Args, cand.Engine.MemoryUtilizationFlags...); ok {
		if u, err := strconv.ParseFloat(v, 64); err == nil && u > 0 && u <= 1 {
			p.Utilization = u
		}
	}
	f, ok := facts.Fit(p)
	if !ok {
		return nil
	}
	return &f
}

// tokens parses a number of tokens the way vLLM does: 32k is 32000, 32K is
// 32768.
func tokens(s string) (int64, bool) {
	unit := int64(1)
	switch {
	case strings.HasSuffix(s, "k"):
		unit, s = 1000, strings.TrimSuffix(s, "k")
	case strings.HasSuffix(s, "K"):
		unit, s = 1024, strings.TrimSuffix(s, "K")
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n <= 0 {
		return 0, false
	}
	return n * unit, true
}

func gpus(n int32) string {
	if n == 1 {
		return "1 GPU"
	}
	return fmt.Sprintf("%d GPUs", n)
}

func are(n int32) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// A criterion orders candidates; negative means that a is better.
type criterion struct {
	// lost says why a candidate that is worse by this criterion lost.
	lost    string
	compare func(a, b Candidate) int
}

// order of candidates by criteria, best first. Different candidates are never
// equal, so that the order in which they come never matters.
func order(cs []criterion) func(a, b Candidate) int {
	return func(a, b Candidate) int {
		if a.Verdict != b.Verdict {
			return strings.Compare(string(a.Verdict), string(b.Verdict)) // Eligible before Rejected.
		}
		// What was not asked for tells least: only the first ten are shown.
		if x, y := a.Reason == reasonConstraint, b.Reason == reasonConstraint; x != y {
			return rank(x) - rank(y)
		}
		for _, c := range cs {
			if v := c.compare(a, b); v != 0 {
				return v
			}
		}
		return 0
	}
}

// criteria of an objective, the most important one first.
func criteria(o v1alpha1.Objective) []criterion {
	cs := []criterion{
		{"its priority is lower", func(a, b Candidate) int { return b.Recipe.Priority - a.Recipe.Priority }},
		{"its source has lower precedence", func(a, b Candidate) int { return int(b.Recipe.Source) - int(a.Recipe.Source) }},
	}
	switch o {
	case v1alpha1.ObjectiveLatency:
		cs = append(cs, criterion{"its GPUs together have less memory bandwidth (an estimate of latency)", byBandwidth})
	case v1alpha1.ObjectiveCost:
		cs = append(cs, criterion{"it takes more GPUs", byGPUs})
	case v1alpha1.ObjectiveThroughput:
		fallthrough
	default:
		cs = append(cs,
			criterion{"its GPU count is not the recommended one, beyond which more replicas serve more than more GPUs do", func(a, b Candidate) int {
				return rank(b.Configuration.Recommended) - rank(a.Configuration.Recommended)
			}},
			criterion{"its GPUs together have less memory bandwidth (an estimate of throughput)", byBandwidth})
	}
	return append(cs,
		criterion{"it takes more GPUs", byGPUs},
		criterion{"its hardware is older", func(a, b Candidate) int { return b.Accelerator.Generation - a.Accelerator.Generation }},
		// vLLM first: it runs on all hardware.
		criterion{"its backend is less preferred", func(a, b Candidate) int {
			return strings.Compare(string(b.Recipe.Backend), string(a.Recipe.Backend))
		}},
		criterion{"its precision is lower", func(a, b Candidate) int {
			return slices.Index(precisions, a.Recipe.Precision) - slices.Index(precisions, b.Recipe.Precision)
		}},
		criterion{"its name comes later in the alphabet", func(a, b Candidate) int { return strings.Compare(a.Recipe.Name, b.Recipe.Name) }},
	)
}

//nolint:gochecknoglobals // A constant that Go cannot express as one.
var precisions = []v1alpha1.Precision{"bfloat16", "float16", "float8", "int8", "int4"}

func rank(b bool) int {
	if b {
		return 1
	}
	return 0
}

func byGPUs(a, b Candidate) int {
	return int(a.Configuration.GPUCount) - int(b.Configuration.GPUCount)
}

// byBandwidth prefers more memory bandwidth of all GPUs together: what bounds
// token generation.
func byBandwidth(a, b Candidate) int {
	x := a.Accelerator.BandwidthTBs * float64(a.Configuration.GPUCount)
	y := b.Accelerator.BandwidthTBs * float64(b.Configuration.GPUCount)
	switch {
	case x > y:
		return -1
	case x < y:
		return 1
	}
	return 0
}
