package engine

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/aim-engine/function-aim/fn/gpu"
)

// vLLM's official image for ROCm, for gfx90a, gfx942 and gfx950.
const vllmImage = "vllm/vllm-openai-rocm:v0.22.1"

// vLLM: https://docs.vllm.ai. Flags are those that its parser accepts from
// v0.8.5 to v0.24.0.
var _ = register(Engine{
	Name:       "vllm",
	Port:       8000,
	HealthPath: "/health",
	// vLLM answers /health from its event loop, which a burst of requests can
	// keep busy for seconds.
	HealthTimeoutSeconds: 10,
	Metrics: Metrics{
		QueueDepth:   "vllm:num_requests_waiting",
		KVCacheUsage: "vllm:kv_cache_usage_perc",
	},
	DefaultMemoryUtilization: 0.92,
	Image: func(gpu.Accelerator) (string, bool) {
		return vllmImage, true
	},
	// The image's entrypoint is the same, but AMD's own images have none.
	Command: []string{"vllm", "serve"},
	Args: func(s Server) []string {
		// The model comes first: a flag before it that takes several values
		// would swallow it.
		args := []string{s.Model, "--served-model-name", s.Model}
		if s.Revision != "" {
			args = append(args, "--revision", s.Revision)
		}
		args = append(args, "--tensor-parallel-size", strconv.Itoa(int(s.TensorParallelSize)))
		return append(args, s.Args...)
	},
	PortArgs: func(port int32) []string {
		return []string{"--host", "0.0.0.0", "--port", strconv.Itoa(int(port))}
	},
	Env: func(s Server) []corev1.EnvVar {
		env := map[string]string{
			// A server in a customer's cluster does not report home.
			"VLLM_NO_USAGE_STATS": "1",
			// Loading hundreds of GiB takes longer than the default of 600 s.
			// The startup probe is what bounds it.
			"VLLM_ENGINE_READY_TIMEOUT_S": "10800",
		}
		switch s.Accelerator.Architecture {
		case "gfx942", "gfx950":
			// AMD's AITER kernels exist for these two only, and are off by default.
			env["VLLM_ROCM_USE_AITER"] = "1"
		}
		if s.Accelerator.Architecture == "gfx942" && s.TensorParallelSize > 1 {
			// RCCL uses too few channels by default (ROCm's vLLM guide).
			env["NCCL_MIN_NCHANNELS"] = "112"
		}
		return sorted(env)
	},
	MaxModelLenFlags:       []string{"--max-model-len"},
	MemoryUtilizationFlags: []string{"--gpu-memory-utilization"},
})
