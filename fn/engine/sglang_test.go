package engine

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/gpu"
)

func sglang(t *testing.T) Engine {
	t.Helper()
	e, ok := Lookup("sglang")
	if !ok {
		t.Fatal("Lookup(\"sglang\"): not known")
	}
	return e
}

func TestSGLangArgs(t *testing.T) {
	cases := map[string]struct {
		reason string
		server Server
		want   []string
	}{
		"Minimal": {
			reason: "The model should be served under its own name, with metrics.",
			server: Server{Model: "Qwen/Qwen3-8B", TensorParallelSize: 1},
			want:   []string{"--model-path", "Qwen/Qwen3-8B", "--served-model-name", "Qwen/Qwen3-8B", "--tp-size", "1", "--enable-metrics"},
		},
		"Everything": {
			reason: "A revision should be pinned, and a recipe's arguments come last.",
			server: Server{
				Model: "m", Revision: "main", TensorParallelSize: 8, Precision: "float8", Checkpoint: "bfloat16",
				Accelerator: accelerator(t, "MI300X"), Args: []string{"--context-length", "8192"},
			},
			want: []string{
				"--model-path", "m", "--served-model-name", "m", "--revision", "main", "--tp-size", "8", "--enable-metrics",
				"--quantization", "fp8", "--context-length", "8192",
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, sglang(t).Args(tc.server)); diff != "" {
				t.Errorf("\n%s\nArgs(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSGLang(t *testing.T) {
	type constant struct {
		Name                     v1alpha1.Backend
		Port                     int32
		PortArgs                 []string
		HealthPath               string
		Command                  []string
		Metrics                  Metrics
		DefaultMemoryUtilization float64
		MaxModelLenFlags         []string
		MemoryUtilizationFlags   []string
		KVCacheDTypeFlags        []string
		Env                      []corev1.EnvVar
		Images                   map[v1alpha1.Hardware]string
	}
	const mi30x, mi35x = "lmsysorg/sglang:v0.5.18-rocm720-mi30x", "lmsysorg/sglang:v0.5.18-rocm720-mi35x"
	want := constant{
		Name: "sglang", Port: 30000, PortArgs: []string{"--host", "0.0.0.0", "--port", "30000"}, HealthPath: "/health",
		Command: []string{"python3", "-m", "sglang.launch_server"},
		Metrics: Metrics{
			QueueDepth: "sglang:num_queue_reqs", RunningRequests: "sglang:num_running_reqs", KVCacheUsage: "sglang:token_usage",
			TimeToFirstToken: "sglang:time_to_first_token_seconds", InterTokenLatency: "sglang:inter_token_latency_seconds",
			RequestLatency:   "sglang:e2e_request_latency_seconds",
			FinishedRequests: "sglang:num_requests_total", AbortedRequests: "sglang:num_aborted_requests_total",
			PromptTokens: "sglang:prompt_tokens_total", GenerationTokens: "sglang:generation_tokens_total",
		},
		DefaultMemoryUtilization: 0.86,
		MaxModelLenFlags:         []string{"--context-length"},
		MemoryUtilizationFlags:   []string{"--mem-fraction-static"},
		KVCacheDTypeFlags:        []string{"--kv-cache-dtype"},
		Env:                      []corev1.EnvVar{{Name: "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION", Value: "false"}},
		Images:                   map[v1alpha1.Hardware]string{"MI300X": mi30x, "MI325X": mi30x, "MI350X": mi35x, "MI355X": mi35x},
	}
	e := sglang(t)
	got := constant{
		Name: e.Name, Port: e.Port, PortArgs: e.PortArgs(e.Port), HealthPath: e.HealthPath, Command: e.Command, Metrics: e.Metrics,
		DefaultMemoryUtilization: e.DefaultMemoryUtilization,
		MaxModelLenFlags:         e.MaxModelLenFlags, MemoryUtilizationFlags: e.MemoryUtilizationFlags, KVCacheDTypeFlags: e.KVCacheDTypeFlags,
		Env: e.Env(Server{}), Images: map[v1alpha1.Hardware]string{},
	}
	for _, a := range gpu.All() {
		if image, ok := e.Image(a); ok {
			got.Images[a.Name] = image
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\nWhat is known of SGLang should be what its sources say.\nLookup(\"sglang\"): -want, +got:\n%s", diff)
	}
}
