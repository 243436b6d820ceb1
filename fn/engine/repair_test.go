package engine_test

import (
	stdcmp "cmp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/engine"
	"github.com/aim-engine/function-aim/fn/gpu"
)

// A repairCase has arguments, and what Repair makes of them.
type repairCase struct {
	reason string
	// hardware to run on; MI300X if empty.
	hardware v1alpha1.Hardware
	// server of Qwen/Qwen3-8B, on one GPU unless it says otherwise.
	server   engine.Server
	want     []string
	findings []engine.Finding
}

func testRepair(t *testing.T, backend v1alpha1.Backend, cases map[string]repairCase) {
	t.Helper()
	p := parsers(t)[string(backend)]
	e, ok := engine.Lookup(backend)
	if !ok {
		t.Fatalf("engine.Lookup(%q): not known", backend)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := tc.server
			s.Model = "Qwen/Qwen3-8B"
			s.TensorParallelSize = max(1, s.TensorParallelSize)
			s.Accelerator, _ = gpu.Lookup(stdcmp.Or(tc.hardware, "MI300X"))
			before := slices.Clone(s.Args)
			got, findings := e.Repair(s)
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("\n%s\nRepair(%q): -want, +got:\n%s", tc.reason, s.Args, diff)
			}
			if diff := cmp.Diff(tc.findings, findings, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("\n%s\nRepair(%q): -want findings, +got findings:\n%s", tc.reason, s.Args, diff)
			}
			if diff := cmp.Diff(before, s.Args); diff != "" {
				t.Errorf("\nWhat is repaired should be left as it is.\nRepair(...): -before, +after:\n%s", diff)
			}
			judge(t, e, p, s)
		})
	}
}

// judge what Repair returns by what must hold for any arguments.
func judge(t *testing.T, e engine.Engine, p parser, s engine.Server) {
	t.Helper()
	once, findings := e.Repair(s)
	for _, f := range findings {
		if n := utf8.RuneCountInString(f.Arg); n > 60 || !utf8.ValidString(f.Arg) || !utf8.ValidString(f.Message) || f.Message == "" {
			t.Errorf("\nA finding should be short, and text.\nRepair(%q): %+v", s.Args, f)
		}
	}
	again := s
	again.Args = once
	twice, findings := e.Repair(again)
	if diff := cmp.Diff(once, twice, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("\nWhat is repaired should need no repair.\nRepair(Repair(%q)): -once, +twice:\n%s", s.Args, diff)
	}
	if s.CustomImage {
		// What is passed on is said again, and no table has it.
		return
	}
	if len(findings) > 0 {
		t.Errorf("\nIn what is repaired there should be nothing to find.\nRepair(Repair(%q)): findings of %q: %v", s.Args, once, findings)
	}
	args := append(e.Args(again), e.PortArgs(e.Port)...)
	if _, err := p.parse(args); err != nil {
		t.Errorf("\nThe engine should take what is repaired, next to what the platform sets.\n%q from %q: %v", args, s.Args, err)
	}
}

// FuzzRepair has any arguments, one in a line.
func FuzzRepair(f *testing.F) {
	for _, seed := range []string{
		"--trust-remote-code\ntrue", "--dtype\nfloat8_e4m3", "--model\nm\n--port=1", "--max_model_len 8192 --enforce-eager",
		"--hf-overrides '{\"a\": 1}'\n-cc.x\n1", "--api-key\nsk-1", "--middleware\na\n--middleware\nb", "-O3\n-tp\n2",
		"--chat-template=-x --y", "--chat-template ' -x'", "python3\n-m\nvllm.entrypoints.openai.api_server", "--\n-\n---\n-1",
		"--gpu-memory-utilization\n90%", "--max-num-batched-tokens\n8k", "--tp 2\n--dp\n8\n--enable-dp-attention=no", "\n \n-m\nx",
		"--quantization\nint8\n--dtype\nfp8\n--dtype\nfp8", "--cudagraph-capture-sizes\n1\n\n2", "--no-enable-prefix-caching=false",
		"--a\u00a0b\n\u00a0--seed\u0085\n1", "--lora-modules={\"a\": \"--b\"}\n--x= --y",
	} {
		for i := range 8 {
			f.Add(seed, uint8(i))
		}
	}
	all := parsers(f)
	precisions := []v1alpha1.Precision{"", "bfloat16", "float16", "float8", "int8", "int4"}
	f.Fuzz(func(t *testing.T, args string, choice uint8) {
		n := int(choice)
		name := []v1alpha1.Backend{"vllm", "sglang"}[n%2]
		e, _ := engine.Lookup(name)
		a, _ := gpu.Lookup([]v1alpha1.Hardware{"MI300X", "MI210"}[n/2%2])
		judge(t, e, all[string(name)], engine.Server{
			Model: "m", TensorParallelSize: 2, Accelerator: a, CustomImage: n/4%2 == 1,
			Precision: precisions[n/8%6], Checkpoint: precisions[n/48%4],
			Args: strings.Split(args, "\n"),
		})
	})
}

// TestRepairFlags has every flag of both engines, with what a person may give
// it, at either engine.
func TestRepairFlags(t *testing.T) {
	all := parsers(t)
	for _, name := range []v1alpha1.Backend{"vllm", "sglang"} {
		e, _ := engine.Lookup(name)
		a, _ := gpu.Lookup("MI300X")
		for _, p := range all {
			for flag := range p.flags {
				for _, value := range []string{"", "true", "false", "1", "0.5", "{}", "auto", "fp8", "-1", "x"} {
					args := []string{flag, value}
					if value == "" {
						args = args[:1]
					}
					judge(t, e, all[string(name)], engine.Server{Model: "m", TensorParallelSize: 1, Accelerator: a, Args: args})
				}
			}
		}
	}
}

// TestRepairKeeps makes sure that a flag that an engine takes is not lost.
func TestRepairKeeps(t *testing.T) {
	// What the platform sets itself, what needs another number of GPUs, what is
	// a secret, and what is no use.
	except := map[string][]string{
		"vllm":   {"--help", "--model", "--served-model-name", "--revision", "--tensor-parallel-size", "--host", "--port", "--data-parallel-size", "--nnodes", "--pipeline-parallel-size", "--prefill-context-parallel-size", "--api-key", "--hf-token", "model_tag"},
		"sglang": {"--help", "--model-path", "--served-model-name", "--revision", "--tp-size", "--host", "--port", "--dp-size", "--nnodes", "--pp-size", "--api-key", "--admin-api-key", "--ssl-keyfile-password", "--enable-metrics"},
	}
	for name, p := range parsers(t) {
		e, _ := engine.Lookup(v1alpha1.Backend(name))
		a, _ := gpu.Lookup("MI300X")
		for flag, f := range p.flags {
			if slices.Contains(except[name], flag) || f.kind == "removed" || f.alias {
				continue
			}
			args := []string{flag}
			if f.kind == "value" {
				args = append(args, example(f))
			}
			got, findings := e.Repair(engine.Server{Model: "m", TensorParallelSize: 1, Accelerator: a, Args: args})
			if diff := cmp.Diff(args, got); diff != "" || len(findings) > 0 {
				t.Errorf("\nWhat %s takes should be left as it is.\nRepair(%q): findings %v, -want, +got:\n%s", name, args, findings, diff)
			}
		}
	}
}

// example of a value that a flag takes.
func example(f flag) string {
	for _, d := range []string{"choices", "validated"} {
		if c, ok := f.details[d]; ok {
			return strings.Split(strings.TrimPrefix(c, "None|"), "|")[0]
		}
	}
	switch typ, _, _ := strings.Cut(f.details["type"], "|"); typ {
	case "int", "int_human", "number":
		return "2"
	case "float":
		return "0.5"
	case "json":
		return "{}"
	}
	return "x"
}
