package recipe

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/model"
)

// minimaIDs of the rows of min-tp.tsv whose name is not a model's id.
var minimaIDs = map[string]string{
	"meta-llama/Llama-3.3-70B-Instruct (=3.1-70B)": "meta-llama/Llama-3.3-70B-Instruct",
	"meta-llama/Llama-4-Scout":                     "meta-llama/Llama-4-Scout-17B-16E-Instruct",
	"meta-llama/Llama-4-Maverick":                  "meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8",
	"deepseek-ai/DeepSeek-R1-0528 / V3.1":          "deepseek-ai/DeepSeek-R1-0528",
	"mistralai/Mistral-Small-3.x-24B":              "mistralai/Mistral-Small-24B-Instruct-2501",
}

// TestVerdictsOfMinima selects for every model, hardware, precision and count of
// the table of minima that was computed independently.
func TestVerdictsOfMinima(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "model", "testdata", "min-tp.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	verdicts := 0
	for line := range strings.Lines(string(b)) {
		cols := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") || cols[0] == "model" {
			continue
		}
		id := cols[0]
		if as, ok := minimaIDs[id]; ok {
			id = as
		}
		facts, ok, err := model.Lookup(id)
		if err != nil || !ok {
			t.Fatalf("model.Lookup(%q): %t, %v", id, ok, err)
		}
		// The table does not ask which precision is published.
		facts.Checkpoint = ""
		precisions := []v1alpha1.Precision{"bfloat16", "float8", "int4"}
		if strings.Count(cols[3], "/") == 1 {
			precisions = []v1alpha1.Precision{"bfloat16", "int4"}
		}
		for i, hw := range []v1alpha1.Hardware{"MI210", "MI250", "MI300X", "MI325X", "MI355X"} {
			for j, least := range strings.Split(cols[5+i], "|") {
				for _, n := range []int32{1, 2, 4, 8} {
					verdicts++
					r := Recipe{Name: "r", Source: SourceBuiltin, Model: id, Hardware: hw, Precision: precisions[j], Backend: "vllm", Configurations: []Configuration{{
						GPUCount: n, Args: []string{"--max-model-len", cols[4], "--gpu-memory-utilization", "0.9"},
					}}}
					var want string
					switch minimum, _ := strconv.Atoi(least); {
					case least == "n/a":
						want = reasonPrecision
					case !slices.Contains(strings.Split(cols[1], ","), strconv.Itoa(int(n))):
						want = reasonTensorParallel
					case least == ">8", int(n) < minimum:
						want = reasonInsufficientMemory
					default:
						want = reasonBest
					}
					// More nodes than there are: MI210 has 4 at most in a catalog.
					d := Select([]Recipe{r}, Constraints{Model: id, Inventory: []Node{{Hardware: hw, GPUs: 8}}}, &facts)
					if got := d.Candidates[0].Reason; got != want {
						t.Errorf("\nThe verdict should be that of the table of minima.\n%s on %d %s at %s: want %s, got %s: %s", id, n, hw, precisions[j], want, got, d.Candidates[0].Message)
					}
				}
			}
		}
	}
	if verdicts < 1000 {
		t.Errorf("there are only %d verdicts", verdicts)
	}
}
