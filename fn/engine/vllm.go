package engine

import (
	"slices"
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
	// Those of v0.22 and later. Guides still name some that are gone, such as
	// gpu_cache_usage_perc and time_per_output_token_seconds.
	Metrics: Metrics{
		QueueDepth:        "vllm:num_requests_waiting",
		RunningRequests:   "vllm:num_requests_running",
		KVCacheUsage:      "vllm:kv_cache_usage_perc",
		TimeToFirstToken:  "vllm:time_to_first_token_seconds",
		InterTokenLatency: "vllm:inter_token_latency_seconds",
		RequestLatency:    "vllm:e2e_request_latency_seconds",
		FinishedRequests:  "vllm:request_success_total",
		FinishReason:      "finished_reason",
		PromptTokens:      "vllm:prompt_tokens_total",
		GenerationTokens:  "vllm:generation_tokens_total",
	},
	// Of the image's version; it is 0.92 from v0.23 on.
	DefaultMemoryUtilization: 0.9,
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
		return append(args, withPrecision(s)...)
	},
	Quantization: quantization,
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
	APIKeyEnv:              "VLLM_API_KEY",
	MaxModelLenFlags:       []string{"--max-model-len"},
	MemoryUtilizationFlags: []string{"--gpu-memory-utilization"},
	KVCacheDTypeFlags:      []string{"--kv-cache-dtype"},
	dialect:                vllmDialect,
})

// vllmDialect is how vLLM takes arguments. The table of its flags is of v0.24.0.
//
//nolint:gochecknoglobals // A table that never changes.
var vllmDialect = dialect{
	name:         "vLLM",
	flags:        vllmFlags,
	gone:         vllmGone,
	underscores:  true,
	optimization: true,
	other:        "SGLang",
	otherFlags:   sglangFlags,
	shorthands:   map[string]string{"--tp": "--tensor-parallel-size", "--pp": "--pipeline-parallel-size", "--dp": "--data-parallel-size"},
	secretEnv:    map[string]string{"--api-key": "VLLM_API_KEY", "--hf-token": "HF_TOKEN"},
	utilization:  "--gpu-memory-utilization",
	parallel:     []string{"--data-parallel-size", "--nnodes", "--pipeline-parallel-size", "--prefill-context-parallel-size"},
	owned: map[string]owned{
		"--model":                ownedModel,
		"--served-model-name":    ownedServedName,
		"--revision":             ownedRevision,
		"--tensor-parallel-size": ownedTensorParallel,
		"--host":                 ownedHost,
		"--port":                 ownedPort(8000),
	},
	synonyms: map[string]map[string]string{
		flagDType: dtypeSynonyms,
		flagKVCacheDType: {
			"float8": "fp8", "fp8_e4m3fn": "fp8", "fp8_e4m3fnuz": "fp8", "float8_e4m3": "fp8", "float8_e4m3fn": "fp8",
			"float8_e4m3fnuz": "fp8", "e4m3": "fp8", "float8_e5m2": "fp8_e5m2", "e5m2": "fp8_e5m2",
			"bf16": "bfloat16", "fp16": "float16", "half": "float16",
		},
		"--tool-call-parser": {
			"llama3": "llama3_json", "llama4": "llama4_pythonic", "qwen": "hermes", "qwen25": "hermes", "gpt-oss": "openai",
			"deepseekv3": "deepseek_v3", "deepseekv31": "deepseek_v31", "deepseekv32": "deepseek_v32",
		},
		"--reasoning-parser": {"gpt-oss": "openai_gptoss", "openai": "openai_gptoss"},
	},
	// SGLang's names for what vLLM has, too.
	translations: map[string]translation{
		"--model-path":               as("--model"),
		"--tp-size":                  as("--tensor-parallel-size"),
		"--pp-size":                  as("--pipeline-parallel-size"),
		"--dp-size":                  as("--data-parallel-size"),
		"--context-length":           as("--max-model-len"),
		"--mem-fraction-static":      as("--gpu-memory-utilization"),
		"--max-running-requests":     as("--max-num-seqs"),
		"--random-seed":              as("--seed"),
		"--tokenizer-path":           as("--tokenizer"),
		"--json-model-override-args": as("--hf-overrides"),
		"--log-requests":             as("--enable-log-requests"),
		"--disable-radix-cache":      as("--no-enable-prefix-caching"),
		"--disable-cuda-graph":       as("--enforce-eager"),
		"--enable-metrics":           without("and vLLM always has metrics"),
		"--ep-size": {to: func(values []string, _ Server) []string {
			if slices.Equal(values, []string{"1"}) {
				return nil
			}
			return []string{"--enable-expert-parallel"}
		}, why: "whose size is the number of GPUs in vLLM"},
		"--chunked-prefill-size": {to: func(values []string, _ Server) []string {
			if slices.Equal(values, []string{"-1"}) {
				return []string{"--no-enable-chunked-prefill"}
			}
			return withValues("--max-num-batched-tokens", values)
		}},
	},
}
