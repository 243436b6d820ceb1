package engine

import (
	"math"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/aim-engine/function-aim/fn/gpu"
)

// sglangImages by architecture. There is none for gfx90a. The tags follow the
// pattern of SGLang's release workflow; we have not pulled them.
//
//nolint:gochecknoglobals // A constant that Go cannot express as such.
var sglangImages = map[string]string{
	"gfx942": "lmsysorg/sglang:v0.5.18-rocm720-mi30x",
	"gfx950": "lmsysorg/sglang:v0.5.18-rocm720-mi35x",
}

// SGLang: https://docs.sglang.io. Flags are those of v0.5.18.
var _ = register(Engine{
	Name: "sglang",
	Port: 30000,
	// It answers 503 until the model is loaded.
	HealthPath: "/health",
	// With the environment below it costs nothing but the event loop's time.
	HealthTimeoutSeconds: 10,
	// Those of v0.5.18. It does not say why a request finished.
	Metrics: Metrics{
		QueueDepth:        "sglang:num_queue_reqs",
		RunningRequests:   "sglang:num_running_reqs",
		KVCacheUsage:      "sglang:token_usage",
		TimeToFirstToken:  "sglang:time_to_first_token_seconds",
		InterTokenLatency: "sglang:inter_token_latency_seconds",
		RequestLatency:    "sglang:e2e_request_latency_seconds",
		FinishedRequests:  "sglang:num_requests_total",
		AbortedRequests:   "sglang:num_aborted_requests_total",
		PromptTokens:      "sglang:prompt_tokens_total",
		GenerationTokens:  "sglang:generation_tokens_total",
	},
	// Weights and KV cache share what SGLang does not reserve. On GPUs of 160 GiB
	// and more it reserves 1.5 MiB for each of the 16384 tokens of a prefill
	// chunk, 2 MiB for each of up to 512 sequences in its graphs, and 1 GiB to
	// talk to seven other GPUs: 24 + 1 + 1 = 26 GiB. Of 192 GiB that leaves
	// 166/192 = 0.86. On larger GPUs the share is larger (0.91 of 288 GiB), so
	// this is the least.
	DefaultMemoryUtilization: 0.86,
	Image: func(a gpu.Accelerator) (string, bool) {
		image, ok := sglangImages[a.Architecture]
		return image, ok
	},
	// The image has no entrypoint.
	Command: []string{"python3", "-m", "sglang.launch_server"},
	Args: func(s Server) []string {
		args := []string{"--model-path", s.Model, "--served-model-name", s.Model}
		if s.Revision != "" {
			args = append(args, "--revision", s.Revision)
		}
		// Without the flag there are no metrics to watch or to scale by.
		args = append(args, "--tp-size", strconv.Itoa(int(s.TensorParallelSize)), "--enable-metrics")
		return append(args, withPrecision(s)...)
	},
	Quantization: quantization,
	// The default is to listen on 127.0.0.1, where no probe gets an answer.
	PortArgs: func(port int32) []string {
		return []string{"--host", anyHost, "--port", strconv.Itoa(int(port))}
	},
	// What AMD GPUs need, AITER among it, is set in the image.
	Env: func(Server) []corev1.EnvVar {
		return sorted(map[string]string{
			// Else every probe generates a token, for which it waits behind all
			// requests, for up to 20 s: a busy server would be killed. A scheduler
			// that hangs is found by SGLang's own watchdog.
			"SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "false",
		})
	},
	// SGLang knows the key only as an argument. The kubelet replaces the
	// reference when it starts the container, so that the key itself is in no
	// object.
	APIKeyEnv:              "SGLANG_API_KEY",
	APIKeyArgs:             []string{"--api-key", "$(SGLANG_API_KEY)"},
	MaxModelLenFlags:       []string{"--context-length"},
	MemoryUtilizationFlags: []string{"--mem-fraction-static"},
	KVCacheDTypeFlags:      []string{"--kv-cache-dtype"},
	dialect:                sglangDialect,
})

// most of a GPU's memory that weights and KV cache may have of what was meant
// to be all of vLLM's memory: activations and graphs come on top.
const sglangMostStatic = 0.88

// sglangDialect is how SGLang takes arguments. The table of its flags is of
// v0.5.18.
//
//nolint:gochecknoglobals // A table that never changes.
var sglangDialect = dialect{
	name:        "SGLang",
	flags:       sglangFlags,
	gone:        vllmGone,
	other:       "vLLM",
	otherFlags:  vllmFlags,
	shorthands:  map[string]string{"--tp": "--tp-size", "--pp": "--pp-size", "--dp": flagDPSize},
	secretEnv:   map[string]string{"--hf-token": "HF_TOKEN"},
	utilization: "--mem-fraction-static",
	parallel:    []string{flagDPSize, "--nnodes", "--pp-size"},
	owned: map[string]owned{
		"--model-path":        ownedModel,
		"--served-model-name": ownedServedName,
		"--revision":          ownedRevision,
		"--tp-size":           ownedTensorParallel,
		"--host":              ownedHost,
		"--port":              ownedPort(30000),
		"--enable-metrics":    ownedQuietly,
	},
	// Documentation of SGLang on AMD GPUs.
	notOnROCm: []string{
		"awq_marlin", "gguf", "gptq_marlin", "modelopt", "modelopt_fp4", "modelopt_fp8", "modelopt_mixed", "mxfp8",
	},
	synonyms: map[string]map[string]string{
		flagDType: dtypeSynonyms,
		flagKVCacheDType: {
			"fp8": "fp8_e4m3", "float8": "fp8_e4m3", "fp8_e4m3fn": "fp8_e4m3", "fp8_e4m3fnuz": "fp8_e4m3", "e4m3": "fp8_e4m3",
			"float8_e4m3": "fp8_e4m3", "float8_e4m3fn": "fp8_e4m3", "float8_e4m3fnuz": "fp8_e4m3",
			"float8_e5m2": "fp8_e5m2", "e5m2": "fp8_e5m2",
		},
		"--tool-call-parser": {"llama3_json": "llama3", "openai": "gpt-oss", "openai_gptoss": "gpt-oss", "hermes": "qwen25"},
		"--reasoning-parser": {"openai": "gpt-oss", "openai_gptoss": "gpt-oss"},
	},
	// vLLM's names for what SGLang has, too.
	translations: map[string]translation{
		"--max-model-len": {to: func(values []string, _ Server) []string {
			if len(values) == 1 && (values[0] == "auto" || values[0] == "-1") {
				// The model's own is the default.
				return nil
			}
			return withValues("--context-length", values)
		}},
		"--gpu-memory-utilization": {
			to:  sglangMemFraction,
			why: "where the share is of all memory, and SGLang's is of weights and KV cache only",
		},
		"--max-num-seqs": as("--max-running-requests"),
		"--max-num-batched-tokens": {to: func(values []string, _ Server) []string {
			out := slices.Clone(values)
			for i := range out {
				out[i] = tokens(out[i])
			}
			return withValues("--chunked-prefill-size", out)
		}},
		"--seed":                      as("--random-seed"),
		"--tokenizer":                 as("--tokenizer-path"),
		"--hf-overrides":              as("--json-model-override-args"),
		"--enable-log-requests":       as("--log-requests"),
		"--enforce-eager":             as("--disable-cuda-graph"),
		"--no-enable-prefix-caching":  as("--disable-radix-cache"),
		"--enable-prefix-caching":     without("which SGLang does by default"),
		"--no-enable-chunked-prefill": {to: func([]string, Server) []string { return []string{"--chunked-prefill-size=-1"} }},
		"--enable-chunked-prefill":    without("which SGLang does by default"),
		"--enable-auto-tool-choice":   without("and --tool-call-parser alone is enough"),
		"--enable-expert-parallel": {to: func(_ []string, s Server) []string {
			return []string{"--ep-size=" + strconv.Itoa(int(s.TensorParallelSize))}
		}},
	},
}

// sglangMemFraction for a share of all memory that vLLM would use.
func sglangMemFraction(values []string, _ Server) []string {
	if len(values) == 1 {
		v := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(values[0]), "%"))
		u, err := strconv.ParseFloat(v, 64)
		if err == nil && u > 1 && u <= 100 {
			u /= 100
		}
		if err == nil && u > 0 && u <= 1 {
			values = []string{strconv.FormatFloat(math.Min(u, sglangMostStatic), 'f', -1, 64)}
		}
	}
	return withValues("--mem-fraction-static", values)
}
