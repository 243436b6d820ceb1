package engine_test

import (
	"testing"

	"github.com/aim-engine/function-aim/fn/engine"
)

func TestRepairSGLang(t *testing.T) {
	testRepair(t, "sglang", map[string]repairCase{
		"VLLMMaxModelLen": {
			reason: "vLLM's name should become SGLang's.",
			server: engine.Server{Args: []string{"--max-model-len", "32k"}},
			want:   []string{"--context-length", "32k"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--max-model-len 32k", "is a flag of vLLM: written --context-length 32k"},
			},
		},
		"VLLMUtilization": {
			reason: "vLLM's share is of all memory.",
			server: engine.Server{Args: []string{"--gpu-memory-utilization", "0.95"}},
			want:   []string{"--mem-fraction-static", "0.88"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--gpu-memory-utilization 0.95", "is a flag of vLLM, where the share is of all memory, and SGLang's is of weights and KV cache only: written --mem-fraction-static 0.88"},
			},
		},
		"VLLMBatchedTokens": {
			reason: "SGLang takes no suffix here.",
			server: engine.Server{Args: []string{"--max-num-batched-tokens", "8k"}},
			want:   []string{"--chunked-prefill-size", "8000"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--max-num-batched-tokens 8k", "is a flag of vLLM: written --chunked-prefill-size 8000"},
			},
		},
		"VLLM": {
			reason: "vLLM's names should become SGLang's.",
			server: engine.Server{Args: []string{"--max-num-seqs", "64", "--enforce-eager", "--enable-prefix-caching", "--enable-auto-tool-choice", "--disable-log-requests", "--tool-call-parser", "llama3_json", "--reasoning-parser", "deepseek_r1"}},
			want:   []string{"--max-running-requests", "64", "--disable-cuda-graph", "--tool-call-parser", "llama3", "--reasoning-parser", "deepseek-r1"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--max-num-seqs 64", "is a flag of vLLM: written --max-running-requests 64"},
				{engine.SeverityWarning, "--enforce-eager", "is a flag of vLLM: written --disable-cuda-graph"},
				{engine.SeverityWarning, "--enable-prefix-caching", "is a flag of vLLM, which SGLang does by default: removed"},
				{engine.SeverityWarning, "--enable-auto-tool-choice", "is a flag of vLLM, and --tool-call-parser alone is enough: removed"},
				{engine.SeverityWarning, "--disable-log-requests", "was a flag of vLLM, which has it no more: removed"},
				{engine.SeverityWarning, "--tool-call-parser llama3_json", "is llama3 to SGLang: written so"},
				{engine.SeverityWarning, "--reasoning-parser deepseek_r1", "is written deepseek-r1"},
			},
		},
		"VLLMOff": {
			reason: "What is off in vLLM should be off in SGLang.",
			server: engine.Server{Args: []string{"--no-enable-prefix-caching", "--no-enforce-eager", "--enable-chunked-prefill", "false"}},
			want:   []string{"--disable-radix-cache", "--chunked-prefill-size", "-1"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--no-enable-prefix-caching", "is a flag of vLLM: written --disable-radix-cache"},
				{engine.SeverityWarning, "--no-enforce-eager", "is a flag of vLLM that is off, as it is here without it: removed"},
				{engine.SeverityWarning, "--enable-chunked-prefill false", "is a flag of vLLM: written --chunked-prefill-size -1"},
			},
		},
		"VLLMDefault": {
			reason: "The default needs no flag.",
			server: engine.Server{Args: []string{"--max-model-len", "auto"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--max-model-len auto", "is a flag of vLLM: removed"},
			},
		},
		"VLLMShort": {
			reason: "vLLM's short forms should be known.",
			server: engine.Server{TensorParallelSize: 2, Args: []string{"-tp", "2", "-q", "fp8", "-pp", "1"}},
			want:   []string{"--quantization", "fp8"},
		},
		"VLLMOnly": {
			reason: "What SGLang has nothing like cannot be translated.",
			server: engine.Server{Args: []string{"--limit-mm-per-prompt", `{"image": 1}`}},
			findings: []engine.Finding{
				{engine.SeverityError, `--limit-mm-per-prompt {"image": 1}`, "is a flag of vLLM, and SGLang has nothing like it: remove it"},
			},
		},
		"VLLMSecret": {
			reason: "A secret is one in any engine.",
			server: engine.Server{Args: []string{"--hf-token", "hf_1234"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--hf-token", "is a secret, and must never be in arguments: use env with secretKeyRef (HF_TOKEN)"},
			},
		},
		"Owned": {
			reason: "What the platform sets should not be set again.",
			server: engine.Server{TensorParallelSize: 2, Args: []string{"--enable-metrics", "true", "--model", "Qwen/Qwen3-8B", "--tp", "4", "--port", "30001", "--tp-size=2"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--tp 4", "gpuCount of the configuration decides on the tensor parallel size: removed"},
				{engine.SeverityWarning, "--port 30001", "service.port of the endpoint decides: removed"},
			},
		},
		"Command": {
			reason: "The command should not be repeated.",
			server: engine.Server{Args: []string{"python3", "-m", "sglang.launch_server", "--model-path", "Qwen/Qwen3-8B"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "python3 -m sglang.launch_server", "repeats the command, which the platform sets: removed"},
			},
		},
		"Underscores": {
			reason: "SGLang takes no underscores.",
			server: engine.Server{Args: []string{"--context_length", "8192"}},
			want:   []string{"--context-length", "8192"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--context_length 8192", "is written with dashes"},
			},
		},
		"BooleanFalse": {
			reason: "A switch that has no off should be left out to be off.",
			server: engine.Server{Args: []string{"--trust-remote-code", "false", "--no-enable-torch-compile"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--trust-remote-code false", "is off unless it is there: removed"},
				{engine.SeverityWarning, "--no-enable-torch-compile", "is off unless it is there: removed"},
			},
		},
		"KVCache": {
			reason: "SGLang says which fp8.",
			server: engine.Server{Args: []string{"--kv-cache-dtype", "fp8"}},
			want:   []string{"--kv-cache-dtype", "fp8_e4m3"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--kv-cache-dtype fp8", "is fp8_e4m3 to SGLang: written so"},
			},
		},
		"QuantizationNotOnROCm": {
			reason: "What does not run on AMD hardware should be found.",
			server: engine.Server{Args: []string{"--quantization", "gptq_marlin"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--quantization gptq_marlin", "is not available on AMD hardware: remove it, SGLang detects how a checkpoint is quantized"},
			},
		},
		"DTypeFloat8": {
			reason: "Weights of which we know nothing should be quantized as they are loaded.",
			server: engine.Server{Precision: "float8", Args: []string{"--dtype", "float8"}},
			want:   []string{"--quantization", "fp8"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--dtype float8", "is replaced by --quantization fp8, which quantizes 16-bit weights as they are loaded: remove that if the model is published in another float8 format"},
			},
		},
		"DataParallel": {
			reason: "More GPUs than there are cannot be had.",
			server: engine.Server{TensorParallelSize: 8, Args: []string{"--dp", "2"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--dp 2", "multiplies the GPUs that are needed, and tensor parallelism uses all 8 of the configuration: remove it, or add --enable-dp-attention"},
			},
		},
		"DataParallelAttention": {
			reason: "Attention that is data parallel needs no more GPUs.",
			server: engine.Server{TensorParallelSize: 8, Args: []string{"--dp", "8", "--enable-dp-attention"}},
			want:   []string{"--dp-size", "8", "--enable-dp-attention"},
		},
		"ParserKnown": {
			reason: "A value that SGLang has needs no translation.",
			server: engine.Server{Args: []string{"--tool-call-parser", "hermes"}},
			want:   []string{"--tool-call-parser", "hermes"},
		},
		"Removed": {
			reason: "A flag that is there to be refused should be left out.",
			server: engine.Server{Args: []string{"--collect-tokens-histogram"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--collect-tokens-histogram", "is taken by SGLang only to be refused: removed"},
			},
		},
		"Dotted": {
			reason: "SGLang takes no keys of JSON after a name.",
			server: engine.Server{Args: []string{"--preferred-sampling-params.temperature", "1"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--preferred-sampling-params.temperature", "is no flag of SGLang: remove it, or did you mean --preferred-sampling-params?"},
			},
		},
	})
}
