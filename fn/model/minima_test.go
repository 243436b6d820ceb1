package model

import (
	"bufio"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/gpu"
)

// idsOf the rows of testdata/min-tp.tsv that are not of one model, by the row's
// name. A checkpoint in another precision has the row of the model that it
// quantizes: a row has all precisions.
var idsOf = map[string][]string{
	"meta-llama/Llama-3.3-70B-Instruct (=3.1-70B)": {
		"meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Llama-3.1-70B-Instruct", "amd/Llama-3.1-70B-Instruct-FP8-KV",
	},
	"meta-llama/Llama-3.1-405B-Instruct":  {"meta-llama/Llama-3.1-405B-Instruct", "amd/Llama-3.1-405B-Instruct-FP8-KV"},
	"meta-llama/Llama-4-Scout":            {"meta-llama/Llama-4-Scout-17B-16E-Instruct"},
	"meta-llama/Llama-4-Maverick":         {"meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8"},
	"deepseek-ai/DeepSeek-R1-0528 / V3.1": {"deepseek-ai/DeepSeek-R1-0528", "deepseek-ai/DeepSeek-V3.1"},
	"mistralai/Mistral-Small-3.x-24B": {
		"mistralai/Mistral-Small-24B-Instruct-2501", "mistralai/Mistral-Small-3.1-24B-Instruct-2503", "mistralai/Mistral-Small-3.2-24B-Instruct-2506",
	},
}

// A minimum is a row of testdata/min-tp.tsv.
type minimum struct {
	// ids of the models that the row is of.
	ids             []string
	validTP         []int32
	kvBytesPerToken float64
	// weightsGiB by precision.
	weightsGiB map[v1alpha1.Precision]float64
	context    int64
	// tp by hardware and precision: the smallest that fits; 0 where none does.
	// A precision that the hardware does not run is absent.
	tp map[v1alpha1.Hardware]map[v1alpha1.Precision]int32
}

// minima reads testdata/min-tp.tsv.
func minima(t *testing.T) []minimum {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "min-tp.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	number := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	var out []minimum
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if strings.HasPrefix(sc.Text(), "#") || strings.HasPrefix(sc.Text(), "model\t") {
			continue
		}
		cols := strings.Split(sc.Text(), "\t")
		m := minimum{
			ids:             []string{cols[0]},
			kvBytesPerToken: number(cols[2]),
			weightsGiB:      map[v1alpha1.Precision]float64{},
			context:         int64(number(cols[4])),
			tp:              map[v1alpha1.Hardware]map[v1alpha1.Precision]int32{},
		}
		if ids, ok := idsOf[cols[0]]; ok {
			m.ids = ids
		}
		for n := range strings.SplitSeq(cols[1], ",") {
			m.validTP = append(m.validTP, int32(number(n)))
		}
		precisions := []v1alpha1.Precision{"bfloat16", "float8", "int4"}
		if strings.Count(cols[3], "/") == 1 {
			precisions = []v1alpha1.Precision{"bfloat16", "int4"}
		}
		for i, w := range strings.Split(cols[3], "/") {
			m.weightsGiB[precisions[i]] = number(w)
		}
		for i, hw := range []v1alpha1.Hardware{"MI210", "MI250", "MI300X", "MI325X", "MI355X"} {
			m.tp[hw] = map[v1alpha1.Precision]int32{}
			for j, tp := range strings.Split(cols[5+i], "|") {
				switch tp {
				case "n/a":
				case ">8":
					m.tp[hw][precisions[j]] = 0
				default:
					m.tp[hw][precisions[j]] = int32(number(tp))
				}
			}
		}
		out = append(out, m)
	}
	return out
}

func TestMinima(t *testing.T) {
	rows := minima(t)
	ids := make([]string, 0, len(rows))
	for _, m := range rows {
		ids = append(ids, m.ids...)
		for _, id := range m.ids {
			t.Run(id, func(t *testing.T) {
				checkMinimum(t, id, m)
			})
		}
	}
	known, err := IDs()
	if err != nil {
		t.Fatalf("IDs(): %v", err)
	}
	slices.Sort(ids)
	if diff := cmp.Diff(ids, known); diff != "" {
		t.Errorf("\nEvery model with facts should have a row in testdata/min-tp.tsv, every row a model, and the ids should be sorted.\nIDs(): -want, +got:\n%s", diff)
	}
}

func checkMinimum(t *testing.T, id string, m minimum) {
	t.Helper()
	facts, ok, err := Lookup(id)
	if err != nil || !ok {
		t.Fatalf("Lookup(%q): want facts, got %t, %v", id, ok, err)
	}
	if got := facts.CacheBytesPerToken(); got != m.kvBytesPerToken {
		t.Errorf("\nA token should take as much KV cache as computed independently.\nCacheBytesPerToken(): want %v, got %v", m.kvBytesPerToken, got)
	}
	for p, want := range m.weightsGiB {
		if got, ok := facts.Weights(p); !ok || math.Abs(got-want) > 0.1 {
			t.Errorf("\nWeights should agree to 0.1 GiB with what was computed independently.\nWeights(%q): want %.1f, got %.2f, %t", p, want, got, ok)
		}
	}
	var valid []int32
	for n := int32(1); n <= 8; n++ {
		if facts.DividesInto(n) {
			valid = append(valid, n)
		}
	}
	if diff := cmp.Diff(m.validTP, valid); diff != "" {
		t.Errorf("\nThe model should divide into the GPU counts that engines accept.\nDividesInto(...): -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(m.tp, smallest(t, facts, m)); diff != "" {
		t.Errorf("\nThe smallest tensor parallel size of 1, 2, 4 and 8 that fits should be the one computed independently; 0 is none.\nSmallestFit(...): -want, +got:\n%s", diff)
	}
}

// smallest tensor parallel size that fits, for the hardware and precisions of a
// row.
func smallest(t *testing.T, f Facts, m minimum) map[v1alpha1.Hardware]map[v1alpha1.Precision]int32 {
	t.Helper()
	out := map[v1alpha1.Hardware]map[v1alpha1.Precision]int32{}
	for hw := range m.tp {
		a, ok := gpu.Lookup(hw)
		if !ok {
			t.Fatalf("gpu.Lookup(%q): not known", hw)
		}
		out[hw] = map[v1alpha1.Precision]int32{}
		for p := range m.weightsGiB {
			if !a.Runs(p) {
				continue
			}
			out[hw][p], _ = f.SmallestFit(Placement{Precision: p, MaxModelLen: m.context, Utilization: 0.90, MemoryGiB: a.MemoryGiB}, []int32{8, 4, 2, 1})
		}
	}
	return out
}
