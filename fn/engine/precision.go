package engine

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

// Precisions in the API.
const (
	bfloat16 v1alpha1.Precision = "bfloat16"
	float16  v1alpha1.Precision = "float16"
	float8   v1alpha1.Precision = "float8"
	int8bit  v1alpha1.Precision = "int8"
	int4bit  v1alpha1.Precision = "int4"
)

// Flags and values that both engines have.
const (
	flagDType        = "--dtype"
	flagQuantization = "--quantization"
	flagKVCacheDType = "--kv-cache-dtype"

	quantizationFP8 = "fp8"
	dtypeAuto       = "auto"
)

func is16Bit(p v1alpha1.Precision) bool { return p == bfloat16 || p == float16 }

// quantization returns the arguments that either engine needs to run the
// published weights at the precision of a server, or why it cannot. Both
// detect a quantized checkpoint by themselves, from its config.json, and
// quantize 16-bit weights to float8 as they load them. Neither quantizes to
// anything smaller at load, nor back.
func quantization(s Server) (args []string, why string) {
	p, c := s.Precision, s.Checkpoint
	quantized := c != "" && !is16Bit(c)
	switch {
	case p == "" || (quantized && p == c):
		return nil, ""
	case quantized:
		return nil, fmt.Sprintf("the published weights are %s, and are not converted to %s: set precision to %s, or choose a model that is published in %s", c, p, c, p)
	case p == float16, p == bfloat16 && c == float16:
		return []string{flagDType, string(p)}, ""
	case is16Bit(p) || c == "":
		return nil, ""
	case p == float8 && s.Accelerator.Runs(float8):
		return []string{flagQuantization, quantizationFP8}, ""
	case p == float8:
		return nil, fmt.Sprintf("%s (%s) cannot quantize the published %s weights to float8: set precision to %s", s.Accelerator.Name, s.Accelerator.Architecture, c, c)
	}
	return nil, fmt.Sprintf("the published weights are %s, and the engine does not quantize to %s as it loads them: set precision to %s or float8, or choose a model that is published in %s (AWQ, GPTQ, ...)", c, p, c, p)
}

// withPrecision adds the arguments of quantization that are not there.
func withPrecision(s Server) []string {
	args, _ := quantization(s)
	if len(args) == 0 {
		return s.Args
	}
	spellings := []string{args[0]}
	if args[0] == flagQuantization {
		spellings = append(spellings, "-q")
	}
	if _, ok := FlagValue(s.Args, spellings...); ok {
		return s.Args
	}
	return slices.Concat(args, s.Args)
}

var (
	// float8Words are names that people have for float8.
	float8Words = regexp.MustCompile(`^(float8|fp8|f8|e4m3|e5m2)`)
	// quantizedWords are what is no dtype of an engine, but of a checkpoint.
	quantizedWords = regexp.MustCompile(`^(float8|fp8|f8|e4m3|e5m2|u?int[48]|int4|w[48]a|[mn]?x?fp?4|float4|nf4|awq|gptq|[48]-?bits?$)`)
	int8Words      = regexp.MustCompile(`^(u?int8|w8a|8-?bits?$)`)
)

// precisionOf a word for a quantized format.
func precisionOf(word string) v1alpha1.Precision {
	switch {
	case float8Words.MatchString(word):
		return float8
	case int8Words.MatchString(word):
		return int8bit
	}
	return int4bit
}

// reviseDType of weights, which is the recipe's precision in other words.
func reviseDType(r *repairer, o option) (option, bool) {
	v, s := o.value(), r.server
	word := strings.ToLower(strings.TrimSpace(v))
	if quantizedWords.MatchString(word) {
		switch p := precisionOf(word); {
		case p == float8 && s.Precision == float8 && s.Checkpoint == "" && s.Accelerator.Runs(float8):
			r.implied = append(r.implied, len(r.findings))
			r.warnf(o.arg, "is replaced by --quantization fp8, which quantizes 16-bit weights as they are loaded: remove that if the model is published in another float8 format")
			return option{flag: r.own.flags[flagQuantization], values: []string{quantizationFP8}, arg: o.arg, implied: true}, true
		case s.Precision == p:
			r.warnf(o.arg, "is no dtype of %s, and is not needed, for spec.precision says it: removed", r.dialect.name)
		case s.Precision == "":
			r.warnf(o.arg, "is no dtype of %s: removed, set spec.precision to %s instead", r.dialect.name, p)
		default:
			r.warnf(o.arg, "contradicts spec.precision %s, which decides: removed", s.Precision)
		}
		return option{}, false
	}
	o, ok := r.checked(o)
	if !ok || !is16Bit(s.Precision) {
		// What a quantized checkpoint computes in is the recipe's matter.
		return o, ok
	}
	want, _ := quantization(s)
	switch v := o.value(); {
	case v == dtypeAuto && (len(want) == 0 || want[0] != flagDType):
	case v == string(s.Precision), v == "half" && s.Precision == float16:
	default:
		r.warnf(o.arg, "contradicts spec.precision %s, which decides: removed", s.Precision)
		return option{}, false
	}
	return o, true
}

// prequantized are methods that need a checkpoint made for them.
//
//nolint:gochecknoglobals // A constant that Go cannot express as such.
var prequantized = []string{
	"auto_awq", "auto_gptq", "awq", "awq_marlin", "compressed-tensors", "fbgemm_fp8", "gptq", "gptq_marlin",
}

// onlineFloat8 are methods that quantize to float8 as weights are loaded.
var onlineFloat8 = regexp.MustCompile(`^fp8(_per_|$)`)

// reviseQuantization of weights.
func reviseQuantization(r *repairer, o option) (option, bool) {
	s := r.server
	word := strings.ToLower(strings.TrimSpace(o.value()))
	if _, is := choose(o.flag.choices, word); !is {
		switch {
		case word == "", word == "none", word == "null", word == "auto":
			r.warnf(o.arg, "is what %s does without it: removed", r.dialect.name)
			return option{}, false
		case float8Words.MatchString(word):
			r.warnf(o.arg, "is written %s fp8", o.flag.name)
			o.values = []string{quantizationFP8}
		case quantizedWords.MatchString(word):
			r.warnf(o.arg, "is no method of %s, which detects how a checkpoint is quantized: removed", r.dialect.name)
			return option{}, false
		}
	}
	o, ok := r.checked(o)
	if !ok {
		return o, false
	}
	v := o.value()
	switch {
	case slices.Contains(r.dialect.notOnROCm, v), o.flag.rocm != nil && !slices.Contains(o.flag.rocm, v):
		r.failf(o.arg, "is not available on AMD hardware: remove it, %s detects how a checkpoint is quantized", r.dialect.name)
	case slices.Contains(prequantized, v) && is16Bit(s.Checkpoint):
		r.failf(o.arg, "needs a checkpoint that is quantized so, and the published weights are %s: remove it, or choose another model", s.Checkpoint)
	case onlineFloat8.MatchString(v) && s.Accelerator.Name != "" && !s.Accelerator.Runs(float8):
		r.failf(o.arg, "needs float8, which %s (%s) does not run: remove it", s.Accelerator.Name, s.Accelerator.Architecture)
	case onlineFloat8.MatchString(v) && s.Checkpoint != "" && !is16Bit(s.Checkpoint):
		r.warnf(o.arg, "is not needed, for the published weights are %s, which %s detects: removed", s.Checkpoint, r.dialect.name)
	case onlineFloat8.MatchString(v) && s.Precision != "" && s.Precision != float8:
		r.warnf(o.arg, "contradicts spec.precision %s, which decides: removed", s.Precision)
	default:
		return o, true
	}
	return option{}, false
}
