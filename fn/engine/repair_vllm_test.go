package engine_test

import (
	"testing"

	"github.com/aim-engine/function-aim/fn/engine"
)

func TestRepairVLLM(t *testing.T) {
	testRepair(t, "vllm", map[string]repairCase{
		"BooleanTrue": {
			reason: "A switch followed by true should stand alone.",
			server: engine.Server{Args: []string{"--trust-remote-code", "true"}},
			want:   []string{"--trust-remote-code"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--trust-remote-code true", "takes no value: written --trust-remote-code"},
			},
		},
		"BooleanFalse": {
			reason: "A switch that is followed by false should be switched off in vLLM's way.",
			server: engine.Server{Args: []string{"--enable-prefix-caching", "False", "--enforce-eager=no"}},
			want:   []string{"--no-enable-prefix-caching", "--no-enforce-eager"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--enable-prefix-caching False", "takes no value: written --no-enable-prefix-caching"},
				{engine.SeverityWarning, "--enforce-eager=no", "takes no value: written --no-enforce-eager"},
			},
		},
		"BooleanNegatedTwice": {
			reason: "Not not should be on.",
			server: engine.Server{Args: []string{"--no-enforce-eager", "false"}},
			want:   []string{"--enforce-eager"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--no-enforce-eager false", "takes no value: written --enforce-eager"},
			},
		},
		"StoreTrueFalse": {
			reason: "A switch that has no off should be left out to be off.",
			server: engine.Server{Args: []string{"--disable-log-stats", "false"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--disable-log-stats false", "is off unless it is there: removed"},
			},
		},
		"BooleanOther": {
			reason: "A switch with any other value cannot be right.",
			server: engine.Server{Args: []string{"--enforce-eager=2"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--enforce-eager=2", "takes no value: remove it"},
			},
		},
		"WordTrueOfAValue": {
			reason: "A value that happens to be true is a value.",
			server: engine.Server{Args: []string{"--response-role", "true"}},
			want:   []string{"--response-role", "true"},
		},
		"DTypeFloat8": {
			reason: "precision float8 should be what makes weights float8.",
			server: engine.Server{Precision: "float8", Checkpoint: "bfloat16", Args: []string{"--dtype", "float8_e4m3"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--dtype float8_e4m3", "is no dtype of vLLM, and is not needed, for spec.precision says it: removed"},
			},
		},
		"DTypeFloat8UnknownCheckpoint": {
			reason: "Weights of which we know nothing should be quantized as they are loaded.",
			server: engine.Server{Precision: "float8", Args: []string{"--dtype", "float8_e4m3", "--max-model-len", "8192"}},
			want:   []string{"--quantization", "fp8", "--max-model-len", "8192"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--dtype float8_e4m3", "is replaced by --quantization fp8, which quantizes 16-bit weights as they are loaded: remove that if the model is published in another float8 format"},
			},
		},
		"DTypeFloat8NextToQuantization": {
			reason: "A quantization that is there should not be there twice.",
			server: engine.Server{Precision: "float8", Args: []string{"--dtype", "fp8", "--quantization", "fp8"}},
			want:   []string{"--quantization", "fp8"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--dtype fp8", "is no dtype of vLLM, and is not needed next to --quantization: removed"},
			},
		},
		"DTypeFloat8OnFloat8": {
			reason: "A checkpoint that is float8 needs no flag.",
			server: engine.Server{Precision: "float8", Checkpoint: "float8", Args: []string{"--dtype", "float8"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--dtype float8", "is no dtype of vLLM, and is not needed, for spec.precision says it: removed"},
			},
		},
		"DTypeContradictsPrecision": {
			reason: "The precision should decide, not the type.",
			server: engine.Server{Precision: "bfloat16", Args: []string{"--dtype", "float8_e4m3"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--dtype float8_e4m3", "contradicts spec.precision bfloat16, which decides: removed"},
			},
		},
		"DTypeInt4": {
			reason: "A checkpoint of int4 is detected.",
			server: engine.Server{Precision: "int4", Args: []string{"--dtype", "int4"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--dtype int4", "is no dtype of vLLM, and is not needed, for spec.precision says it: removed"},
			},
		},
		"DType16Bit": {
			reason: "A type of 16 bits should be as the precision is.",
			server: engine.Server{Precision: "float16", Args: []string{"--dtype", "bfloat16"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--dtype bfloat16", "contradicts spec.precision float16, which decides: removed"},
			},
		},
		"DTypeShort": {
			reason: "Short names should be spelled out.",
			server: engine.Server{Precision: "bfloat16", Args: []string{"--dtype", "bf16"}},
			want:   []string{"--dtype", "bfloat16"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--dtype bf16", "is bfloat16 to vLLM: written so"},
			},
		},
		"DTypeCase": {
			reason: "Case should not matter.",
			server: engine.Server{Precision: "bfloat16", Args: []string{"--dtype", "BFloat16"}},
			want:   []string{"--dtype", "bfloat16"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--dtype BFloat16", "is written bfloat16"},
			},
		},
		"DTypeAutoOfFloat16": {
			reason: "auto is what the checkpoint is, which may be bfloat16.",
			server: engine.Server{Precision: "float16", Args: []string{"--dtype", "auto"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--dtype auto", "contradicts spec.precision float16, which decides: removed"},
			},
		},
		"DTypeOfQuantized": {
			reason: "What quantized weights are computed in is the recipe's matter.",
			server: engine.Server{Precision: "int4", Args: []string{"--dtype", "float16"}},
			want:   []string{"--dtype", "float16"},
		},
		"ModelFlag": {
			reason: "The model is a positional of the platform's.",
			server: engine.Server{Args: []string{"--model", "Qwen/Qwen3-8B", "--max-model-len", "8192"}},
			want:   []string{"--max-model-len", "8192"},
		},
		"OtherModel": {
			reason: "Another model should be found.",
			server: engine.Server{Args: []string{"--model", "Qwen/Qwen3-32B"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--model Qwen/Qwen3-32B", "spec.modelId decides which model is served: removed"},
			},
		},
		"Positional": {
			reason: "The model in its place should not be there twice.",
			server: engine.Server{Args: []string{"Qwen/Qwen3-8B", "--seed", "1"}},
			want:   []string{"--seed", "1"},
		},
		"OtherPositional": {
			reason: "Another model in its place should be found.",
			server: engine.Server{Args: []string{"Qwen/Qwen3-32B", "--seed", "1"}},
			want:   []string{"--seed", "1"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "Qwen/Qwen3-32B", "is not the model that is served, which spec.modelId decides: removed"},
			},
		},
		"Command": {
			reason: "The command should not be repeated.",
			server: engine.Server{Args: []string{"vllm", "serve", "Qwen/Qwen3-8B", "--seed", "1"}},
			want:   []string{"--seed", "1"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "vllm serve", "repeats the command, which the platform sets: removed"},
			},
		},
		"PythonCommand": {
			reason: "Nor should another way to write it.",
			server: engine.Server{Args: []string{"python3 -m vllm.entrypoints.openai.api_server", "--model=Qwen/Qwen3-8B", "--seed", "1"}},
			want:   []string{"--seed", "1"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "python3 -m vllm.entrypoints.openai.api_server", "repeats the command, which the platform sets: removed"},
			},
		},
		"TensorParallelSize": {
			reason: "All GPUs of a configuration should be used.",
			server: engine.Server{TensorParallelSize: 2, Args: []string{"--tensor-parallel-size", "4"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--tensor-parallel-size 4", "gpuCount of the configuration decides on the tensor parallel size: removed"},
			},
		},
		"TensorParallelShort": {
			reason: "A short form of what is set should go unsaid.",
			server: engine.Server{TensorParallelSize: 2, Args: []string{"-tp", "2"}},
		},
		"Owned": {
			reason: "What the platform sets should not be set again.",
			server: engine.Server{Args: []string{"--port", "9000", "--host", "0.0.0.0", "--revision", "main", "--served-model-name", "chat", "other"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--port 9000", "service.port of the endpoint decides: removed"},
				{engine.SeverityWarning, "--revision main", "spec.model.revision of the endpoint decides: removed"},
				{engine.SeverityWarning, "--served-model-name chat other", "the model is served under its id, spec.modelId: removed"},
			},
		},
		"OwnedAsSet": {
			reason: "What the platform sets should go unsaid if it is the same.",
			server: engine.Server{Args: []string{"--port", "8000", "--host=0.0.0.0", "--served_model_name", "Qwen/Qwen3-8B"}},
		},
		"PipelineParallel": {
			reason: "More GPUs than there are cannot be had.",
			server: engine.Server{TensorParallelSize: 8, Args: []string{"--pipeline-parallel-size", "2", "--data-parallel-size", "1"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--pipeline-parallel-size 2", "multiplies the GPUs that are needed, and tensor parallelism uses all 8 of the configuration: remove it"},
			},
		},
		"Unknown": {
			reason: "A flag that is misspelled should be named.",
			server: engine.Server{Args: []string{"--max-moddel-len", "8192", "--seed", "1"}},
			want:   []string{"--seed", "1"},
			findings: []engine.Finding{
				{engine.SeverityError, "--max-moddel-len", "is no flag of vLLM: remove it, or did you mean --max-model-len?"},
			},
		},
		"UnknownOrder": {
			reason: "Words in another order should be recognized.",
			server: engine.Server{Args: []string{"--model-max-len", "8192"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--model-max-len", "is no flag of vLLM: remove it, or did you mean --max-model-len?"},
			},
		},
		"UnknownLonger": {
			reason: "A flag that is written out should be recognized.",
			server: engine.Server{Args: []string{"--max-model-length", "8192"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--max-model-length", "is no flag of vLLM: remove it, or did you mean --max-model-len?"},
			},
		},
		"UnknownFar": {
			reason: "A flag like no other should be found.",
			server: engine.Server{Args: []string{"--make-it-fast"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--make-it-fast", "is no flag of vLLM: remove it"},
			},
		},
		"UnknownCustomImage": {
			reason: "An image of one's own may know more.",
			server: engine.Server{CustomImage: true, Args: []string{"--make-it-fast", "very", "--seed", "1"}},
			want:   []string{"--make-it-fast", "very", "--seed", "1"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--make-it-fast", "is not known to this version's table, and is passed on as it is"},
			},
		},
		"Removed": {
			reason: "A flag that vLLM no longer has should be left out.",
			server: engine.Server{Args: []string{"--disable-log-requests", "--swap-space", "16", "--enable-reasoning", "--seed", "1"}},
			want:   []string{"--seed", "1"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--disable-log-requests", "is gone from vLLM: removed, requests are not logged unless --enable-log-requests is set"},
				{engine.SeverityWarning, "--swap-space 16", "is gone from vLLM: removed"},
				{engine.SeverityWarning, "--enable-reasoning", "is gone from vLLM: removed, --reasoning-parser alone is enough"},
			},
		},
		"RemovedCustomImage": {
			reason: "An image of one's own may be older.",
			server: engine.Server{CustomImage: true, Args: []string{"--swap-space", "16"}},
			want:   []string{"--swap-space", "16"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--swap-space 16", "is gone from vLLM, and is passed on as it is, for the image may be older"},
			},
		},
		"Choice": {
			reason: "A value outside of the choices cannot be known.",
			server: engine.Server{Args: []string{"--scheduling-policy", "random"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--scheduling-policy random", `takes one of fcfs, priority, not "random"`},
			},
		},
		"ManyChoices": {
			reason: "Only some of many choices should be listed.",
			server: engine.Server{Args: []string{"--attention-backend", "FAST"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--attention-backend FAST", `takes one of FLASH_ATTN, FLASH_ATTN_DIFFKV, TRITON_ATTN, TRITON_ATTN_DIFFKV, ROCM_ATTN, ROCM_AITER_MLA, ROCM_AITER_TRITON_MLA, ROCM_AITER_FA, ROCM_AITER_MLA_SPARSE, XPU_MLA_SPARSE, TORCH_SDPA, FLASHINFER and 19 more, not "FAST"`},
			},
		},
		"ChoiceCustomImage": {
			reason: "An image of one's own may know more values.",
			server: engine.Server{CustomImage: true, Args: []string{"--attention-backend", "FAST"}},
			want:   []string{"--attention-backend", "FAST"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--attention-backend FAST", "is no value that this version's table knows, and is passed on as it is"},
			},
		},
		"Underscores": {
			reason: "vLLM takes underscores.",
			server: engine.Server{Args: []string{"--max_model_len", "8192", "--gpu_memory_utilization=0.9"}},
			want:   []string{"--max-model-len", "8192", "--gpu-memory-utilization", "0.9"},
		},
		"Equals": {
			reason: "A flag and its value should be two items.",
			server: engine.Server{Args: []string{"--max-model-len=8192", `--override-generation-config={"a":"b=c"}`}},
			want:   []string{"--max-model-len", "8192", "--override-generation-config", `{"a":"b=c"}`},
		},
		"OneItem": {
			reason: "A flag and its value in one item should be two.",
			server: engine.Server{Args: []string{"--max-model-len 8192", `--hf-overrides {"a": {"b": 1}} --enforce-eager`}},
			want:   []string{"--max-model-len", "8192", "--hf-overrides", `{"a": {"b": 1}}`, "--enforce-eager"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--max-model-len 8192", "holds several arguments in one: split"},
				{engine.SeverityWarning, "--hf-overrides", "holds several arguments in one: split"},
			},
		},
		"OneItemQuoted": {
			reason: "Quotes are a shell's.",
			server: engine.Server{Args: []string{`--hf-overrides '{"a": 1}'`}},
			want:   []string{"--hf-overrides", `{"a": 1}`},
			findings: []engine.Finding{
				{engine.SeverityWarning, `--hf-overrides '{"a": 1}'`, "holds several arguments in one: split"},
			},
		},
		"Empty": {
			reason: "What is empty should be left out.",
			server: engine.Server{Args: []string{"", " ", "--seed", "1"}},
			want:   []string{"--seed", "1"},
		},
		"JSON": {
			reason: "JSON should be JSON.",
			server: engine.Server{Args: []string{"--compilation-config", `{"level": 3}`, "--hf-overrides", "{level: 3}"}},
			want:   []string{"--compilation-config", `{"level": 3}`},
			findings: []engine.Finding{
				{engine.SeverityError, "--hf-overrides {level: 3}", "takes JSON, and this is none: correct it"},
			},
		},
		"Dotted": {
			reason: "Keys of JSON may follow a name.",
			server: engine.Server{Args: []string{"-cc.cudagraph_mode", "FULL", "--compilation_config.pass_config.fuse_rope_kvcache=True"}},
			want:   []string{"--compilation-config.cudagraph_mode", "FULL", "--compilation-config.pass_config.fuse_rope_kvcache", "True"},
		},
		"Optimization": {
			reason: "A level may be written in vLLM's way.",
			server: engine.Server{Args: []string{"-O3"}},
			want:   []string{"--optimization-level", "3"},
		},
		"Repeated": {
			reason: "The last should count, as it does for vLLM.",
			server: engine.Server{Args: []string{"--max-model-len", "1024", "--seed", "1", "--max-model-len", "2048"}},
			want:   []string{"--seed", "1", "--max-model-len", "2048"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--max-model-len 1024", "is there again, and the last one counts: removed"},
			},
		},
		"RepeatedSwitch": {
			reason: "On and off are one flag.",
			server: engine.Server{Args: []string{"--enable-prefix-caching", "--no-enable-prefix-caching"}},
			want:   []string{"--no-enable-prefix-caching"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--enable-prefix-caching", "is there again, and the last one counts: removed"},
			},
		},
		"Repeatable": {
			reason: "A flag that adds up may be there twice.",
			server: engine.Server{Args: []string{"--middleware", "a", "--middleware", "b"}},
			want:   []string{"--middleware", "a", "--middleware", "b"},
		},
		"Prefix": {
			reason: "A name may be cut short.",
			server: engine.Server{Args: []string{"--max-num-se", "16"}},
			want:   []string{"--max-num-seqs", "16"},
		},
		"Ambiguous": {
			reason: "A name that is cut too short should be found.",
			server: engine.Server{Args: []string{"--max-num", "16"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--max-num", "is short for several flags: write one of --max-num-batched-tokens, --max-num-partial-prefills, --max-num-seqs"},
			},
		},
		"Human": {
			reason: "Numbers may have a suffix.",
			server: engine.Server{Args: []string{"--max-model-len", "32k", "--max-num-batched-tokens", "8_192"}},
			want:   []string{"--max-model-len", "32k", "--max-num-batched-tokens", "8192"},
		},
		"Automatic": {
			reason: "A number may be negative where it means something.",
			server: engine.Server{Args: []string{"--max-model-len", "-1"}},
			want:   []string{"--max-model-len", "-1"},
		},
		"NoInteger": {
			reason: "A number should be a number.",
			server: engine.Server{Args: []string{"--block-size", "large", "--max-num-seqs", "2.5"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--block-size large", `takes an integer, not "large"`},
				{engine.SeverityError, "--max-num-seqs 2.5", `takes an integer, not "2.5"`},
			},
		},
		"NoValue": {
			reason: "A value should be there.",
			server: engine.Server{Args: []string{"--max-model-len", "--enforce-eager"}},
			want:   []string{"--enforce-eager"},
			findings: []engine.Finding{
				{engine.SeverityError, "--max-model-len", "needs a value: give it an integer such as 32768, 32k or 32K"},
			},
		},
		"SeveralValues": {
			reason: "Some flags take several values.",
			server: engine.Server{Args: []string{"--cudagraph-capture-sizes", "1", "2", "4", "--seed", "1"}},
			want:   []string{"--cudagraph-capture-sizes", "1", "2", "4", "--seed", "1"},
		},
		"Percentage": {
			reason: "A share should not be a percentage.",
			server: engine.Server{Args: []string{"--gpu-memory-utilization", "95"}},
			want:   []string{"--gpu-memory-utilization", "0.95"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--gpu-memory-utilization 95", "is a share, not a percentage: written 0.95"},
			},
		},
		"PercentSign": {
			reason: "A share should not be a percentage.",
			server: engine.Server{Args: []string{"--gpu-memory-utilization", "90%"}},
			want:   []string{"--gpu-memory-utilization", "0.9"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--gpu-memory-utilization 90%", "is a share, not a percentage: written 0.9"},
			},
		},
		"TooMuch": {
			reason: "A share should be one.",
			server: engine.Server{Args: []string{"--gpu-memory-utilization", "0", "--seed", "1"}},
			want:   []string{"--seed", "1"},
			findings: []engine.Finding{
				{engine.SeverityError, "--gpu-memory-utilization 0", "takes a share of the GPU's memory above 0 and up to 1, such as 0.9"},
			},
		},
		"Secret": {
			reason: "A secret's value should not be repeated.",
			server: engine.Server{Args: []string{"--api-key", "sk-1234", "--hf-token=hf_1234", "--api-k sk-1234"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--api-k", "holds several arguments in one: split"},
				{engine.SeverityError, "--api-key", "is a secret, and must never be in arguments: use env with secretKeyRef (VLLM_API_KEY)"},
				{engine.SeverityError, "--hf-token", "is a secret, and must never be in arguments: use env with secretKeyRef (HF_TOKEN)"},
				{engine.SeverityError, "--api-k", "is a secret, and must never be in arguments: use env with secretKeyRef (VLLM_API_KEY)"},
			},
		},
		"SecretInOneItem": {
			reason: "A secret in one item with others should not be repeated either.",
			server: engine.Server{Args: []string{"--seed 1 --api-key sk-1234", "--hf-overrides={token: 1}"}},
			want:   []string{"--seed", "1"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--seed", "holds several arguments in one: split"},
				{engine.SeverityError, "--api-key", "is a secret, and must never be in arguments: use env with secretKeyRef (VLLM_API_KEY)"},
				{engine.SeverityError, "--hf-overrides", "takes JSON, and this is none: correct it"},
			},
		},
		"SecretReference": {
			reason: "A reference gives nothing away.",
			server: engine.Server{Args: []string{"--api-key", "$(VLLM_API_KEY)"}},
			want:   []string{"--api-key", "$(VLLM_API_KEY)"},
		},
		"SecretPositional": {
			reason: "What looks like a secret should not be repeated.",
			server: engine.Server{Args: []string{"--enforce-eager", "hf_1234", "TOKEN=1234"}},
			want:   []string{"--enforce-eager"},
			findings: []engine.Finding{
				{engine.SeverityError, "hf_…", "is no flag, and nothing before it takes a value: remove it"},
				{engine.SeverityError, "TOKEN=…", "is no flag, and nothing before it takes a value: remove it"},
			},
		},
		"UnknownSecret": {
			reason: "A secret should not be passed on, whatever the image.",
			server: engine.Server{CustomImage: true, Args: []string{"--my-api-key", "1234"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--my-api-key", "is a secret, and must never be in arguments: use env with secretKeyRef, and write $(NAME) here"},
			},
		},
		"Stray": {
			reason: "A word that nothing takes cannot be right.",
			server: engine.Server{Args: []string{"--max-model-len", "8192", "16384"}},
			want:   []string{"--max-model-len", "8192"},
			findings: []engine.Finding{
				{engine.SeverityError, "16384", "is no flag, and nothing before it takes a value: remove it"},
			},
		},
		"KVCacheFloat8": {
			reason: "vLLM calls it fp8.",
			server: engine.Server{Args: []string{"--kv-cache-dtype", "float8"}},
			want:   []string{"--kv-cache-dtype", "fp8"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--kv-cache-dtype float8", "is fp8 to vLLM: written so"},
			},
		},
		"QuantizationFloat8": {
			reason: "vLLM calls it fp8.",
			server: engine.Server{Precision: "float8", Args: []string{"--quantization", "float8"}},
			want:   []string{"--quantization", "fp8"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--quantization float8", "is written --quantization fp8"},
			},
		},
		"QuantizationInt8": {
			reason: "What a checkpoint is quantized with is detected.",
			server: engine.Server{Precision: "int8", Args: []string{"--quantization", "int8"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--quantization int8", "is no method of vLLM, which detects how a checkpoint is quantized: removed"},
			},
		},
		"QuantizationOfFloat8": {
			reason: "A checkpoint of float8 is detected, and may be another float8.",
			server: engine.Server{Checkpoint: "float8", Precision: "float8", Args: []string{"--quantization", "fp8"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--quantization fp8", "is not needed, for the published weights are float8, which vLLM detects: removed"},
			},
		},
		"QuantizationContradicts": {
			reason: "The precision should decide.",
			server: engine.Server{Checkpoint: "bfloat16", Precision: "bfloat16", Args: []string{"-q", "fp8"}},
			findings: []engine.Finding{
				{engine.SeverityWarning, "-q fp8", "contradicts spec.precision bfloat16, which decides: removed"},
			},
		},
		"QuantizationNotOnROCm": {
			reason: "What does not run on AMD hardware should be found.",
			server: engine.Server{Args: []string{"--quantization", "moe_wna16"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--quantization moe_wna16", "is not available on AMD hardware: remove it, vLLM detects how a checkpoint is quantized"},
			},
		},
		"QuantizationOfAWQ": {
			reason: "Weights of 16 bits are no AWQ.",
			server: engine.Server{Checkpoint: "bfloat16", Args: []string{"--quantization", "awq"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--quantization awq", "needs a checkpoint that is quantized so, and the published weights are bfloat16: remove it, or choose another model"},
			},
		},
		"QuantizationOnCDNA2": {
			reason:   "gfx90a has no float8.",
			hardware: "MI210",
			server:   engine.Server{Args: []string{"--quantization", "fp8"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--quantization fp8", "needs float8, which MI210 (gfx90a) does not run: remove it"},
			},
		},
		"SGLang": {
			reason: "SGLang's names should become vLLM's.",
			server: engine.Server{TensorParallelSize: 2, Args: []string{"--context-length", "8192", "--mem-fraction-static", "0.85", "--max-running-requests", "64", "--chunked-prefill-size", "4096", "--disable-radix-cache", "--disable-cuda-graph", "--enable-metrics", "--tp", "2", "--model-path", "Qwen/Qwen3-8B"}},
			want:   []string{"--max-model-len", "8192", "--gpu-memory-utilization", "0.85", "--max-num-seqs", "64", "--max-num-batched-tokens", "4096", "--no-enable-prefix-caching", "--enforce-eager"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--context-length 8192", "is a flag of SGLang: written --max-model-len 8192"},
				{engine.SeverityWarning, "--mem-fraction-static 0.85", "is a flag of SGLang: written --gpu-memory-utilization 0.85"},
				{engine.SeverityWarning, "--max-running-requests 64", "is a flag of SGLang: written --max-num-seqs 64"},
				{engine.SeverityWarning, "--chunked-prefill-size 4096", "is a flag of SGLang: written --max-num-batched-tokens 4096"},
				{engine.SeverityWarning, "--disable-radix-cache", "is a flag of SGLang: written --no-enable-prefix-caching"},
				{engine.SeverityWarning, "--disable-cuda-graph", "is a flag of SGLang: written --enforce-eager"},
				{engine.SeverityWarning, "--enable-metrics", "is a flag of SGLang, and vLLM always has metrics: removed"},
			},
		},
		"SGLangParser": {
			reason: "So should its values.",
			server: engine.Server{Args: []string{"--tool-call-parser", "qwen25", "--reasoning-parser", "deepseek-r1"}},
			want:   []string{"--tool-call-parser", "hermes", "--reasoning-parser", "deepseek_r1"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--tool-call-parser qwen25", "is hermes to vLLM: written so"},
				{engine.SeverityWarning, "--reasoning-parser deepseek-r1", "is written deepseek_r1"},
			},
		},
		"SGLangExpertParallel": {
			reason: "vLLM has no size of it.",
			server: engine.Server{TensorParallelSize: 8, Args: []string{"--ep", "8"}},
			want:   []string{"--enable-expert-parallel"},
			findings: []engine.Finding{
				{engine.SeverityWarning, "--ep 8", "is a flag of SGLang, whose size is the number of GPUs in vLLM: written --enable-expert-parallel"},
			},
		},
		"SGLangOnly": {
			reason: "What vLLM has nothing like cannot be translated.",
			server: engine.Server{Args: []string{"--schedule-conservativeness", "0.3"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--schedule-conservativeness 0.3", "is a flag of SGLang, and vLLM has nothing like it: remove it"},
			},
		},
		"Help": {
			reason: "A server should not print its help.",
			server: engine.Server{Args: []string{"--help"}},
			findings: []engine.Finding{
				{engine.SeverityError, "--help", "makes vLLM print its help and stop: remove it"},
			},
		},
	})
}
