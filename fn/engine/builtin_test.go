package engine_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/aim-engine/function-aim/fn/engine"
	"github.com/aim-engine/function-aim/fn/gpu"
	"github.com/aim-engine/function-aim/fn/model"
	"github.com/aim-engine/function-aim/fn/recipe"
)

// TestBuiltinCommands parses the whole command of every built-in recipe, for
// every GPU count, and makes sure that there is nothing to repair in it.
func TestBuiltinCommands(t *testing.T) {
	all := parsers(t)
	tensorParallel := map[string]string{"vllm": "--tensor-parallel-size", "sglang": "--tp-size"}
	ids, err := recipe.BuiltinModels()
	if err != nil {
		t.Fatalf("recipe.BuiltinModels(): %v", err)
	}
	commands, online := 0, 0
	for _, id := range ids {
		recipes, err := recipe.Builtin(id)
		if err != nil {
			t.Fatalf("recipe.Builtin(%q): %v", id, err)
		}
		facts, ok, err := model.Lookup(id)
		if err != nil || !ok {
			t.Fatalf("model.Lookup(%q): %t, %v", id, ok, err)
		}
		for _, r := range recipes {
			for _, c := range r.Configurations {
				commands++
				e, ok := engine.Lookup(r.Backend)
				if !ok {
					t.Fatalf("\nA built-in recipe should be of an engine that there is.\n%s: %s", r.Name, r.Backend)
				}
				a, _ := gpu.Lookup(r.Hardware)
				s := engine.Server{Model: r.Model, Revision: "main", TensorParallelSize: c.GPUCount, Accelerator: a, Precision: r.Precision, Checkpoint: facts.Checkpoint, Args: c.Args}
				if quantize, why := e.Quantization(s); why != "" {
					t.Errorf("\nA built-in recipe should be able to load the weights that are published.\n%s on %d GPUs: Quantization(...): %s", r.Name, c.GPUCount, why)
				} else if slices.Contains(quantize, "fp8") {
					online++
				}
				args := append(e.Args(s), e.PortArgs(e.Port)...)
				set, err := all[string(r.Backend)].parse(args)
				if err != nil {
					t.Errorf("\nAn engine should take the command of every built-in recipe.\n%s on %d GPUs: %s: %v", r.Name, c.GPUCount, strings.Join(args, " "), err)
					continue
				}
				if tp := set[tensorParallel[string(r.Backend)]]; !slices.Equal(tp, []string{strconv.Itoa(int(c.GPUCount))}) {
					t.Errorf("\nAll GPUs should be used.\n%s on %d GPUs: tensor parallel size %q", r.Name, c.GPUCount, tp)
				}
				got, findings := e.Repair(s)
				if diff := cmp.Diff(c.Args, got, cmpopts.EquateEmpty()); diff != "" || len(findings) > 0 {
					t.Errorf("\nThere should be nothing to repair in a built-in recipe.\n%s on %d GPUs: Repair(...): findings %v, -want, +got:\n%s", r.Name, c.GPUCount, findings, diff)
				}
			}
		}
	}
	if commands == 0 || online == 0 {
		t.Errorf("There should be built-in recipes, some of which quantize the weights as they load them: %d and %d", commands, online)
	}
}
