package recipe

import (
	"fmt"
	"strconv"
	"strings"

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
	reasonShadowed            = "Shadowed"
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
	// Facts of the model; nil if they are not known.
	Facts *model.Facts
	// Fit into GPU memory; nil if the model's facts are not known.
	Fit *model.Fit

	Verdict Verdict
	// Reason of the verdict in one word, and a message for people.
	Reason  string
	Message string
}

// judge a configuration against what holds for each candidate by itself.
func judge(r Recipe, c Configuration, want Constraints, known *model.Facts) Candidate {
	cand := assess(r, c, known)
	cand.Verdict = VerdictRejected
	if cand.Reason, cand.Message = reject(cand, want); cand.Reason == "" {
		cand.Verdict = VerdictEligible
	}
	return cand
}

// assess what a configuration is, whoever asks.
func assess(r Recipe, c Configuration, known *model.Facts) Candidate {
	cand := Candidate{Recipe: r, Configuration: c, Facts: known}
	if r.Facts != nil {
		cand.Facts = r.Facts
	}
	cand.Accelerator, _ = gpu.Lookup(r.Hardware)
	cand.Engine, _ = engine.Lookup(r.Backend)
	if p, ok := cand.placement(); ok {
		if f, ok := cand.Facts.Fit(p); ok {
			cand.Fit = &f
		}
	}
	return cand
}

// server that the candidate runs.
func (c Candidate) server(revision string) engine.Server {
	s := engine.Server{
		Model:              c.Recipe.Model,
		Revision:           revision,
		TensorParallelSize: c.Configuration.GPUCount,
		Accelerator:        c.Accelerator,
		Precision:          c.Recipe.Precision,
		CustomImage:        c.Recipe.Image != Image{},
		Args:               c.Configuration.Args,
	}
	if c.Facts != nil {
		s.Checkpoint = c.Facts.Checkpoint
	}
	return s
}

// reject returns why a candidate cannot be used, or an empty reason. What the
// user asked for comes first: a person wants to hear of hardware limits only
// for candidates that they would take.
func reject(c Candidate, want Constraints) (string, string) {
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
	if reason, msg := c.impossible(); reason != "" {
		return reason, msg
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
		return reasonInsufficientMemory, c.tooSmall()
	}
	return "", ""
}

// impossible returns why a candidate can run nowhere, or an empty reason.
func (c Candidate) impossible() (string, string) {
	r, n := c.Recipe, c.Configuration.GPUCount
	if c.Accelerator.Name == "" {
		return reasonUnknownHardware, fmt.Sprintf("hardware %s is not known", r.Hardware)
	}
	if !c.Accelerator.Runs(r.Precision) {
		return reasonPrecision, fmt.Sprintf("%s (%s) does not run precision %s", r.Hardware, c.Accelerator.Architecture, r.Precision)
	}
	if c.Engine.Name == "" {
		return reasonEngine, fmt.Sprintf("backend %s is not available", r.Backend)
	}
	if _, ok := c.Engine.Image(c.Accelerator); !ok && (r.Image.Repository == "" || r.Image.Tag == "") {
		return reasonEngine, fmt.Sprintf("there is no image of %s for %s (%s)", r.Backend, r.Hardware, c.Accelerator.Architecture)
	}
	if _, why := c.Engine.Quantization(c.server("")); why != "" {
		return reasonPrecision, why
	}
	if c.Facts != nil && !c.Facts.DividesInto(n) {
		return reasonTensorParallel, fmt.Sprintf("%d attention heads and %d key-value heads cannot be split over %s", c.Facts.AttentionHeads, c.Facts.KVHeads, gpus(n))
	}
	return "", ""
}

// tooSmall says why a candidate does not fit, and what would.
func (c Candidate) tooSmall() string {
	n := c.Configuration.GPUCount
	msg := fmt.Sprintf("%s %s not enough: %s on %s", gpus(n), are(n), c.Fit, c.Recipe.Hardware)
	p, ok := c.placement()
	if !ok {
		return msg
	}
	least, ok := c.Facts.SmallestFit(p, []int32{1, 2, 4, 8})
	if !ok || least > c.Accelerator.MaxPerNode {
		return msg + "; no count that a node has fits"
	}
	return fmt.Sprintf("%s; the smallest count that fits is %d", msg, least)
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

// placement of the candidate, as far as its arguments say; false if the
// model's facts or the hardware are not known.
func (c Candidate) placement() (model.Placement, bool) {
	if c.Facts == nil || c.Accelerator.Name == "" || c.Engine.Name == "" {
		return model.Placement{}, false
	}
	p := model.Placement{
		Precision:          c.Recipe.Precision,
		TensorParallelSize: c.Configuration.GPUCount,
		MaxModelLen:        c.Facts.MaxContextLength,
		Utilization:        c.Engine.DefaultMemoryUtilization,
		MemoryGiB:          c.Accelerator.MemoryGiB,
	}
	args := c.Configuration.Args
	if v, ok := engine.FlagValue(args, c.Engine.MaxModelLenFlags...); ok {
		if n, ok := tokens(v); ok {
			p.MaxModelLen = n
		}
	}
	if v, ok := engine.FlagValue(args, c.Engine.MemoryUtilizationFlags...); ok {
		if u, err := strconv.ParseFloat(v, 64); err == nil && u > 0 && u <= 1 {
			p.Utilization = u
		}
	}
	if v, ok := engine.FlagValue(args, c.Engine.KVCacheDTypeFlags...); ok && strings.HasPrefix(v, "fp8") {
		p.KVBytes = 1
	}
	return p, true
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
