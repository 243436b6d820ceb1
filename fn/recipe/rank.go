package recipe

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

// Estimates, where nothing was published. Generating tokens is bound by reading
// the weights that a token uses from memory, so they follow from the memory
// bandwidth and the number of GPUs.
const (
	// sequencesAtOnce that share one reading of the weights at full load: what
	// makes the estimate agree with the 3816.8 tokens/s that ROCm's
	// documentation has for Llama-3.1-405B-Instruct-FP8-KV on eight MI300X.
	sequencesAtOnce = 73
	// tokensPerRequest of the latency estimate.
	tokensPerRequest = 128
	// bytesPerParameter of the estimates, whatever the precision: what a lower
	// one gains is not estimated, as it depends on the kernels.
	bytesPerParameter = 2
)

// stepSeconds is the estimated time to read the weights that a token uses
// once; 0 if the model's facts are not known.
func (c Candidate) stepSeconds() float64 {
	bandwidth := c.Accelerator.BandwidthTBs * 1e12 * float64(c.Configuration.GPUCount)
	if c.Facts == nil || bandwidth == 0 {
		return 0
	}
	active := cmp.Or(c.Facts.ActiveParametersBillion, c.Facts.ParametersBillion)
	return active * 1e9 * bytesPerParameter / bandwidth
}

// tokensPerSecond of a replica: as published or expected, else estimated, else
// 0.
func (c Candidate) tokensPerSecond() float64 {
	if n := c.Configuration.Performance.TokensPerSecond; n > 0 {
		return float64(n)
	}
	if s := c.stepSeconds(); s > 0 {
		return sequencesAtOnce / s
	}
	return 0
}

func (c Candidate) tokensPerSecondAndGPU() float64 {
	// Rounded: a share of eight GPUs is not exactly that of one.
	return math.Round(c.tokensPerSecond() / float64(max(1, c.Configuration.GPUCount)))
}

// latencyMs of a request: as published or expected, else estimated, else more
// than any.
func (c Candidate) latencyMs() float64 {
	if n := c.Configuration.Performance.LatencyMs; n > 0 {
		return float64(n)
	}
	if s := c.stepSeconds(); s > 0 {
		return tokensPerRequest * s * 1000
	}
	return math.Inf(1)
}

// A criterion orders candidates; negative means that a is better.
type criterion struct {
	// lost says why a candidate that is worse by this criterion lost.
	lost    string
	compare func(a, b Candidate) int
	// measure of a candidate, for people; nil if there is no number to tell.
	measure func(c Candidate) string
}

// why a candidate lost against the best one.
func (cr criterion) why(best, c Candidate) string {
	if cr.measure == nil {
		return cr.lost
	}
	return fmt.Sprintf("%s: %s against %s", cr.lost, cr.measure(c), cr.measure(best))
}

// number of what is expected or estimated of a candidate. Estimates are not
// told to more digits than they are worth.
func number(expected int32, estimate float64) string {
	switch {
	case expected > 0:
		return strconv.Itoa(int(expected))
	case estimate <= 0 || math.IsInf(estimate, 0) || math.IsNaN(estimate):
		return "unknown"
	}
	unit := math.Pow(10, math.Floor(math.Log10(estimate))-1)
	return strconv.FormatFloat(math.Round(estimate/unit)*unit, 'f', -1, 64) + " (estimate)"
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
		{
			lost:    "its priority is lower",
			compare: func(a, b Candidate) int { return b.Recipe.Priority - a.Recipe.Priority },
			measure: func(c Candidate) string { return strconv.Itoa(c.Recipe.Priority) },
		},
		{
			lost:    "recipes of its source come later",
			compare: func(a, b Candidate) int { return int(b.Recipe.Source) - int(a.Recipe.Source) },
			measure: func(c Candidate) string { return c.Recipe.Source.words() },
		},
	}
	switch o {
	case v1alpha1.ObjectiveLatency:
		cs = append(cs,
			criterion{
				lost:    "it is expected to answer later, in ms",
				compare: func(a, b Candidate) int { return cmp.Compare(a.latencyMs(), b.latencyMs()) },
				measure: func(c Candidate) string { return number(c.Configuration.Performance.LatencyMs, c.latencyMs()) },
			},
			bandwidth("latency"))
	case v1alpha1.ObjectiveCost:
		cs = append(cs,
			criterion{
				lost:    "it is expected to serve fewer tokens per second and GPU",
				compare: func(a, b Candidate) int { return cmp.Compare(b.tokensPerSecondAndGPU(), a.tokensPerSecondAndGPU()) },
				measure: func(c Candidate) string {
					if c.Configuration.Performance.TokensPerSecond > 0 {
						return strconv.FormatFloat(c.tokensPerSecondAndGPU(), 'f', -1, 64)
					}
					return number(0, c.tokensPerSecondAndGPU())
				},
			},
			fewerGPUs())
	case v1alpha1.ObjectiveThroughput:
		fallthrough
	default:
		cs = append(cs,
			criterion{
				lost: "its GPU count is not the recommended one, beyond which more replicas serve more than more GPUs do",
				compare: func(a, b Candidate) int {
					return rank(b.Configuration.Recommended) - rank(a.Configuration.Recommended)
				},
			},
			criterion{
				lost:    "it is expected to serve fewer tokens per second",
				compare: func(a, b Candidate) int { return cmp.Compare(b.tokensPerSecond(), a.tokensPerSecond()) },
				measure: func(c Candidate) string {
					return number(c.Configuration.Performance.TokensPerSecond, c.tokensPerSecond())
				},
			},
			bandwidth("throughput"))
	}
	return append(cs,
		fewerGPUs(),
		criterion{
			lost:    "its hardware is older",
			compare: func(a, b Candidate) int { return b.Accelerator.Generation - a.Accelerator.Generation },
			measure: func(c Candidate) string { return string(c.Recipe.Hardware) },
		},
		criterion{
			lost: "its backend is less preferred",
			// vLLM first: it runs on all hardware.
			compare: func(a, b Candidate) int {
				return strings.Compare(string(b.Recipe.Backend), string(a.Recipe.Backend))
			},
			measure: func(c Candidate) string { return string(c.Recipe.Backend) },
		},
		criterion{
			lost: "its precision is lower",
			compare: func(a, b Candidate) int {
				return slices.Index(precisions, a.Recipe.Precision) - slices.Index(precisions, b.Recipe.Precision)
			},
			measure: func(c Candidate) string { return string(c.Recipe.Precision) },
		},
		criterion{
			lost: "its name comes later in the alphabet",
			compare: func(a, b Candidate) int {
				return cmp.Or(strings.Compare(a.Recipe.Name, b.Recipe.Name), strings.Compare(a.Recipe.Namespace, b.Recipe.Namespace))
			},
		},
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

func fewerGPUs() criterion {
	return criterion{
		lost:    "it takes more GPUs",
		compare: func(a, b Candidate) int { return int(a.Configuration.GPUCount) - int(b.Configuration.GPUCount) },
		measure: func(c Candidate) string { return strconv.Itoa(int(c.Configuration.GPUCount)) },
	}
}

// bandwidth prefers more memory bandwidth of all GPUs together: what bounds
// token generation.
func bandwidth(of string) criterion {
	sum := func(c Candidate) float64 { return c.Accelerator.BandwidthTBs * float64(c.Configuration.GPUCount) }
	return criterion{
		lost:    fmt.Sprintf("its GPUs together have less memory bandwidth (an estimate of %s), in TB/s", of),
		compare: func(a, b Candidate) int { return cmp.Compare(sum(b), sum(a)) },
		measure: func(c Candidate) string { return strconv.FormatFloat(sum(c), 'f', 1, 64) },
	}
}
