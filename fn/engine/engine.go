// Package engine knows inference engines: their images, commands and flags,
// ports, probes and metrics. An engine is one file in this package. It knows
// nothing of Kubernetes beyond a container.
package engine

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/gpu"
)

// A Server to run with an engine.
type Server struct {
	// Model id and revision to serve.
	Model    string
	Revision string
	// TensorParallelSize is the number of GPUs that share the model.
	TensorParallelSize int32
	// Accelerator to run on.
	Accelerator gpu.Accelerator
	// Precision of the weights as they should run; empty if it does not matter.
	Precision v1alpha1.Precision
	// Checkpoint is the precision of the published weights; empty if it is not
	// known.
	Checkpoint v1alpha1.Precision
	// CustomImage says whether the recipe brings an image of its own, whose
	// engine may know other flags.
	CustomImage bool
	// Args of the recipe. Once they are repaired they do not name what the
	// platform sets itself: model, revision, port, host, tensor parallel size,
	// served model name.
	Args []string
}

// Metrics of an engine, by the names that Prometheus knows them by. Those of a
// histogram are without _bucket, _sum and _count.
type Metrics struct {
	// QueueDepth is a gauge of waiting requests.
	QueueDepth string
	// RunningRequests is a gauge of the requests that are worked on.
	RunningRequests string
	// KVCacheUsage is a gauge of the used share of the KV cache, 0 to 1.
	KVCacheUsage string

	// TimeToFirstToken is a histogram of the seconds from a request's arrival to
	// its first token.
	TimeToFirstToken string
	// InterTokenLatency is a histogram of the seconds from one token to the next.
	InterTokenLatency string
	// RequestLatency is a histogram of the seconds from a request's arrival to
	// its last token.
	RequestLatency string

	// FinishedRequests is a counter of requests that came to an end.
	FinishedRequests string
	// FinishReason is the label of FinishedRequests that says why; empty if it
	// has none.
	FinishReason string
	// AbortedRequests is a counter of requests that were given up; empty if they
	// are a FinishReason.
	AbortedRequests string
	// PromptTokens and GenerationTokens are counters of tokens that were read
	// and written.
	PromptTokens     string
	GenerationTokens string
}

// An Engine serves a model behind an OpenAI-compatible API.
type Engine struct {
	// Name in the API.
	Name v1alpha1.Backend
	// Port that the engine listens on by default.
	Port int32
	// HealthPath answers 200 once the model is loaded.
	HealthPath string
	// HealthTimeoutSeconds that a probe of HealthPath may take under load.
	HealthTimeoutSeconds int32
	// Metrics that the engine exposes on Port.
	Metrics Metrics
	// DefaultMemoryUtilization is the share of GPU memory that the engine uses
	// unless it is told otherwise.
	DefaultMemoryUtilization float64

	// Image for an accelerator; false if the engine has none for it.
	Image func(a gpu.Accelerator) (string, bool)
	// Command of the container.
	Command []string
	// Quantization returns the arguments that the engine needs to run the
	// published weights at the server's precision. If it cannot, it returns why,
	// and what to change.
	Quantization func(s Server) (args []string, why string)
	// Args of the container for a server, the port excepted: PortArgs has it.
	// They hold those of Quantization, unless the server's own do.
	Args func(s Server) []string
	// PortArgs tell the engine which port to listen on.
	PortArgs func(port int32) []string
	// Env of the container for a server, sorted by name.
	Env func(s Server) []corev1.EnvVar

	// APIKeyEnv is the variable in which the engine's container has the key that
	// clients must send, and APIKeyArgs the arguments that make it ask for it.
	APIKeyEnv  string
	APIKeyArgs []string

	// MaxModelLenFlags, MemoryUtilizationFlags and KVCacheDTypeFlags are
	// spellings of the flags that bound a sequence's length and the engine's
	// share of memory, and of the type of what the KV cache holds.
	MaxModelLenFlags       []string
	MemoryUtilizationFlags []string
	KVCacheDTypeFlags      []string

	// dialect of the engine's arguments, which Repair reads.
	dialect dialect
}

//nolint:gochecknoglobals // A registry that is complete before main runs and never changes after.
var registry []Engine

func register(e Engine) Engine { //nolint:unparam // A declaration needs a value.
	registry = append(registry, e)
	slices.SortFunc(registry, func(a, b Engine) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return e
}

// Lookup an engine by its name in the API.
func Lookup(name v1alpha1.Backend) (Engine, bool) {
	for _, e := range registry {
		if e.Name == name {
			return e, true
		}
	}
	return Engine{}, false
}

// FlagValue returns the value of the last of the supplied flags among args, be
// it written "--flag value" or "--flag=value", with dashes or underscores.
func FlagValue(args []string, flags ...string) (string, bool) {
	value, found := "", false
	for i, a := range args {
		name, v, eq := strings.Cut(a, "=")
		if !slices.Contains(flags, strings.ReplaceAll(name, "_", "-")) {
			continue
		}
		switch {
		case eq:
			value, found = v, true
		case i+1 < len(args):
			value, found = args[i+1], true
		}
	}
	return value, found
}

// sorted returns environment variables by name.
func sorted(env map[string]string) []corev1.EnvVar {
	out := make([]corev1.EnvVar, 0, len(env))
	for k, v := range env {
		out = append(out, corev1.EnvVar{Name: k, Value: v})
	}
	return MergeEnv(out, nil)
}

// MergeEnv returns the variables of base and of overlay, sorted by name. Where
// both have one, overlay's wins.
func MergeEnv(base, overlay []corev1.EnvVar) []corev1.EnvVar {
	byName := map[string]corev1.EnvVar{}
	for _, v := range slices.Concat(base, overlay) {
		byName[v.Name] = v
	}
	out := make([]corev1.EnvVar, 0, len(byName))
	for _, v := range byName {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b corev1.EnvVar) int { return strings.Compare(a.Name, b.Name) })
	return out
}
