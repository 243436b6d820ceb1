package engine

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/gpu"
)

func accelerator(t *testing.T, name v1alpha1.Hardware) gpu.Accelerator {
	t.Helper()
	a, ok := gpu.Lookup(name)
	if !ok {
		t.Fatalf("gpu.Lookup(%q): not known", name)
	}
	return a
}

func vllm(t *testing.T) Engine {
	t.Helper()
	e, ok := Lookup("vllm")
	if !ok {
		t.Fatal("Lookup(\"vllm\"): not known")
	}
	return e
}

func TestLookup(t *testing.T) {
	cases := map[string]struct {
		reason  string
		backend v1alpha1.Backend
		want    bool
	}{
		"VLLM": {
			reason:  "vLLM should be there.",
			backend: "vllm",
			want:    true,
		},
		"SGLang": {
			reason:  "SGLang should be there.",
			backend: "sglang",
			want:    true,
		},
		"Unknown": {
			reason:  "An engine that is not there should not be found.",
			backend: "tgi",
		},
		"Empty": {
			reason: "No name should find nothing.",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e, ok := Lookup(tc.backend)
			if ok != tc.want || (ok && e.Name != tc.backend) {
				t.Errorf("\n%s\nLookup(%q): want %t, got %q, %t", tc.reason, tc.backend, tc.want, e.Name, ok)
			}
		})
	}
}

func TestFlagValue(t *testing.T) {
	type want struct {
		value string
		ok    bool
	}
	cases := map[string]struct {
		reason string
		args   []string
		flags  []string
		want   want
	}{
		"Separate": {
			reason: "The value should be the next argument.",
			args:   []string{"--x", "1", "--max-model-len", "8192"},
			flags:  []string{"--max-model-len"},
			want:   want{value: "8192", ok: true},
		},
		"Equals": {
			reason: "The value may be in the same argument.",
			args:   []string{"--max-model-len=8192", "--x"},
			flags:  []string{"--max-model-len"},
			want:   want{value: "8192", ok: true},
		},
		"EqualsTwice": {
			reason: "Only the first equals sign separates a flag from its value.",
			args:   []string{"--override=a=b"},
			flags:  []string{"--override"},
			want:   want{value: "a=b", ok: true},
		},
		"Last": {
			reason: "Of a flag that is given twice the last value counts, as it does for the engine.",
			args:   []string{"--max-model-len", "1", "--max-model-len=2", "--max-model-len", "3"},
			flags:  []string{"--max-model-len"},
			want:   want{value: "3", ok: true},
		},
		"Spellings": {
			reason: "A flag may have several spellings.",
			args:   []string{"--context-length", "1", "--context-len=2"},
			flags:  []string{"--context-length", "--context-len"},
			want:   want{value: "2", ok: true},
		},
		"Underscores": {
			reason: "An engine takes an underscore for a dash in a flag's name, but not in its value.",
			args:   []string{"--max_model_len", "8_192", "--gpu_memory-utilization=0.9"},
			flags:  []string{"--max-model-len"},
			want:   want{value: "8_192", ok: true},
		},
		"NoValue": {
			reason: "A flag at the end has no value.",
			args:   []string{"--x", "--max-model-len"},
			flags:  []string{"--max-model-len"},
		},
		"EmptyValue": {
			reason: "A value may be empty.",
			args:   []string{"--max-model-len="},
			flags:  []string{"--max-model-len"},
			want:   want{ok: true},
		},
		"Prefix": {
			reason: "A longer flag is another flag.",
			args:   []string{"--max-model-length", "1"},
			flags:  []string{"--max-model-len"},
		},
		"NoArgs": {
			reason: "Without arguments there is no value.",
			flags:  []string{"--max-model-len"},
		},
		"NoFlags": {
			reason: "An engine without such a flag has no value of it.",
			args:   []string{"--max-model-len", "1"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v, ok := FlagValue(tc.args, tc.flags...)
			if diff := cmp.Diff(tc.want, want{value: v, ok: ok}, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nFlagValue(%q, %q): -want, +got:\n%s", tc.reason, tc.args, tc.flags, diff)
			}
		})
	}
}

func TestMergeEnv(t *testing.T) {
	secret := func(name string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: "k"}}
	}
	cases := map[string]struct {
		reason  string
		base    []corev1.EnvVar
		overlay []corev1.EnvVar
		want    []corev1.EnvVar
	}{
		"Sorted": {
			reason:  "Variables should be by name, wherever they come from.",
			base:    []corev1.EnvVar{{Name: "C", Value: "1"}, {Name: "A", Value: "2"}},
			overlay: []corev1.EnvVar{{Name: "B", Value: "3"}},
			want:    []corev1.EnvVar{{Name: "A", Value: "2"}, {Name: "B", Value: "3"}, {Name: "C", Value: "1"}},
		},
		"OverlayWins": {
			reason:  "A variable that both have should be the overlay's, and all of it.",
			base:    []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", ValueFrom: secret("base")}},
			overlay: []corev1.EnvVar{{Name: "B", Value: "2"}, {Name: "A", ValueFrom: secret("overlay")}},
			want:    []corev1.EnvVar{{Name: "A", ValueFrom: secret("overlay")}, {Name: "B", Value: "2"}},
		},
		"EmptyWins": {
			reason:  "An empty variable should win too: that is how one is switched off.",
			base:    []corev1.EnvVar{{Name: "A", Value: "1"}},
			overlay: []corev1.EnvVar{{Name: "A"}},
			want:    []corev1.EnvVar{{Name: "A"}},
		},
		"LastWins": {
			reason: "Of a name that is there twice the last should win, as it does in a container.",
			base:   []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "A", Value: "2"}},
			want:   []corev1.EnvVar{{Name: "A", Value: "2"}},
		},
		"Nothing": {
			reason: "Nothing and nothing is nothing.",
			want:   []corev1.EnvVar{},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			base, overlay := slices.Clone(tc.base), slices.Clone(tc.overlay)
			if diff := cmp.Diff(tc.want, MergeEnv(tc.base, tc.overlay)); diff != "" {
				t.Errorf("\n%s\nMergeEnv(...): -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff([][]corev1.EnvVar{base, overlay}, [][]corev1.EnvVar{tc.base, tc.overlay}); diff != "" {
				t.Errorf("\nWhat is merged should be left as it is.\nMergeEnv(...): -before, +after:\n%s", diff)
			}
		})
	}
}

func TestVLLMArgs(t *testing.T) {
	cases := map[string]struct {
		reason string
		server Server
		want   []string
	}{
		"Minimal": {
			reason: "The model should come first, and be served under its own name.",
			server: Server{Model: "Qwen/Qwen3-8B", TensorParallelSize: 1},
			want:   []string{"Qwen/Qwen3-8B", "--served-model-name", "Qwen/Qwen3-8B", "--tensor-parallel-size", "1"},
		},
		"Revision": {
			reason: "A revision should be pinned.",
			server: Server{Model: "Qwen/Qwen3-8B", Revision: "refs/pr/1", TensorParallelSize: 1},
			want:   []string{"Qwen/Qwen3-8B", "--served-model-name", "Qwen/Qwen3-8B", "--revision", "refs/pr/1", "--tensor-parallel-size", "1"},
		},
		"Recipe": {
			reason: "A recipe's arguments should come last, in their order, after the number of GPUs.",
			server: Server{Model: "openai/gpt-oss-120b", TensorParallelSize: 8, Args: []string{"--max-model-len", "131072", "--block-size", "64"}},
			want: []string{
				"openai/gpt-oss-120b", "--served-model-name", "openai/gpt-oss-120b", "--tensor-parallel-size", "8",
				"--max-model-len", "131072", "--block-size", "64",
			},
		},
		"Precision": {
			reason: "What the precision needs should go before what the recipe adds.",
			server: Server{Model: "m", TensorParallelSize: 1, Precision: "float8", Checkpoint: "bfloat16", Accelerator: accelerator(t, "MI300X"), Args: []string{"--seed", "1"}},
			want:   []string{"m", "--served-model-name", "m", "--tensor-parallel-size", "1", "--quantization", "fp8", "--seed", "1"},
		},
		"PrecisionThere": {
			reason: "What the recipe has should not be there twice.",
			server: Server{Model: "m", TensorParallelSize: 1, Precision: "float8", Checkpoint: "bfloat16", Accelerator: accelerator(t, "MI300X"), Args: []string{"-q", "fp8_per_block"}},
			want:   []string{"m", "--served-model-name", "m", "--tensor-parallel-size", "1", "-q", "fp8_per_block"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, vllm(t).Args(tc.server)); diff != "" {
				t.Errorf("\n%s\nArgs(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestVLLMPortArgs(t *testing.T) {
	want := []string{"--host", "0.0.0.0", "--port", "9000"}
	if diff := cmp.Diff(want, vllm(t).PortArgs(9000)); diff != "" {
		t.Errorf("\nThe server should listen on the port on all of the pod's addresses.\nPortArgs(9000): -want, +got:\n%s", diff)
	}
}

func TestVLLMEnv(t *testing.T) {
	cases := map[string]struct {
		reason   string
		hardware v1alpha1.Hardware
		gpus     int32
		want     []corev1.EnvVar
	}{
		"CDNA2": {
			reason:   "gfx90a has no AITER kernels.",
			hardware: "MI210", gpus: 4,
			want: []corev1.EnvVar{
				{Name: "VLLM_ENGINE_READY_TIMEOUT_S", Value: "10800"},
				{Name: "VLLM_NO_USAGE_STATS", Value: "1"},
			},
		},
		"CDNA3": {
			reason:   "gfx942 should use AITER kernels; one GPU has nobody to talk to.",
			hardware: "MI300X", gpus: 1,
			want: []corev1.EnvVar{
				{Name: "VLLM_ENGINE_READY_TIMEOUT_S", Value: "10800"},
				{Name: "VLLM_NO_USAGE_STATS", Value: "1"},
				{Name: "VLLM_ROCM_USE_AITER", Value: "1"},
			},
		},
		"CDNA3ManyGPUs": {
			reason:   "Several gfx942 should use more channels between them.",
			hardware: "MI325X", gpus: 2,
			want: []corev1.EnvVar{
				{Name: "NCCL_MIN_NCHANNELS", Value: "112"},
				{Name: "VLLM_ENGINE_READY_TIMEOUT_S", Value: "10800"},
				{Name: "VLLM_NO_USAGE_STATS", Value: "1"},
				{Name: "VLLM_ROCM_USE_AITER", Value: "1"},
			},
		},
		"CDNA4": {
			reason:   "gfx950 should use AITER kernels, and its own number of channels.",
			hardware: "MI355X", gpus: 8,
			want: []corev1.EnvVar{
				{Name: "VLLM_ENGINE_READY_TIMEOUT_S", Value: "10800"},
				{Name: "VLLM_NO_USAGE_STATS", Value: "1"},
				{Name: "VLLM_ROCM_USE_AITER", Value: "1"},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := vllm(t).Env(Server{Model: "Qwen/Qwen3-8B", TensorParallelSize: tc.gpus, Accelerator: accelerator(t, tc.hardware)})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nEnv(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestVLLM(t *testing.T) {
	type constant struct {
		Name                     v1alpha1.Backend
		Port                     int32
		HealthPath               string
		Command                  []string
		Metrics                  Metrics
		DefaultMemoryUtilization float64
		MaxModelLenFlags         []string
		MemoryUtilizationFlags   []string
		KVCacheDTypeFlags        []string
	}
	want := constant{
		Name: "vllm", Port: 8000, HealthPath: "/health", Command: []string{"vllm", "serve"},
		Metrics: Metrics{
			QueueDepth: "vllm:num_requests_waiting", RunningRequests: "vllm:num_requests_running", KVCacheUsage: "vllm:kv_cache_usage_perc",
			TimeToFirstToken: "vllm:time_to_first_token_seconds", InterTokenLatency: "vllm:inter_token_latency_seconds",
			RequestLatency:   "vllm:e2e_request_latency_seconds",
			FinishedRequests: "vllm:request_success_total", FinishReason: "finished_reason",
			PromptTokens: "vllm:prompt_tokens_total", GenerationTokens: "vllm:generation_tokens_total",
		},
		DefaultMemoryUtilization: 0.9,
		MaxModelLenFlags:         []string{"--max-model-len"},
		MemoryUtilizationFlags:   []string{"--gpu-memory-utilization"},
		KVCacheDTypeFlags:        []string{"--kv-cache-dtype"},
	}
	e := vllm(t)
	got := constant{
		Name: e.Name, Port: e.Port, HealthPath: e.HealthPath, Command: e.Command, Metrics: e.Metrics,
		DefaultMemoryUtilization: e.DefaultMemoryUtilization,
		MaxModelLenFlags:         e.MaxModelLenFlags, MemoryUtilizationFlags: e.MemoryUtilizationFlags, KVCacheDTypeFlags: e.KVCacheDTypeFlags,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\nWhat is known of vLLM should be what its sources say.\nLookup(\"vllm\"): -want, +got:\n%s", diff)
	}
	for _, a := range gpu.All() {
		if image, ok := e.Image(a); !ok || image == "" {
			t.Errorf("\nvLLM's image is built for all of gfx90a, gfx942 and gfx950.\nImage(%s): got %q, %t", a.Name, image, ok)
		}
	}
	if e.HealthTimeoutSeconds < 5 {
		t.Errorf("\nA busy server should not be killed.\nHealthTimeoutSeconds: want at least 5, got %d", e.HealthTimeoutSeconds)
	}
}
