package model

import (
	"bufio"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/gpu"
)

// A minimum is a row of testdata/min-tp.tsv.
type minimum struct {
	model           string
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
			model:           cols[0],
			kvBytesPerToken: number(cols[2]),
			weightsGiB:      map[v1alpha1.Precision]float64{},
			context:         int64(number(cols[4])),
			tp:              map[v1alpha1.Hardware]map[v1alpha1.Precision]int32{},
		}
		if id, _, ok := strings.Cut(m.model, " (=3.1-70B)"); ok {
			m.model = strings.Replace(id, "3.3", "3.1", 1)
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
		ids = append(ids, m.model)
		t.Run(m.model, func(t *testing.T) {
			facts, ok, err := Lookup(m.model)
			if err != nil || !ok {
				t.Fatalf("Lookup(%q): want facts, got %t, %v", m.model, ok, err)
			}
			if got := facts.KVBytesPerToken(); got != m.kvBytesPerToken {
				t.Errorf("\nA token should take as much KV cache as computed independently.\nKVBytesPerToken(): want %v, got %v", m.kvBytesPerToken, got)
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
				t.Errorf("\nThe smallest tensor parallel size of 1, 2, 4 and 8 that fits should be the one computed independently; 0 is none.\nFit(...): -want, +got:\n%s", diff)
			}
		})
	}

	known, err := IDs()
	if err != nil {
		t.Fatalf("IDs(): %v", err)
	}
	slices.Sort(ids)
	if diff := cmp.Diff(ids, known); diff != "" {
		t.Errorf("\nEvery model with facts should have a row in testdata/min-tp.tsv, and the ids should be sorted.\nIDs(): -want, +got:\n%s", diff)
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
			out[hw][p] = 0
			for _, n := range []int32{8, 4, 2, 1} {
				fit, ok := f.Fit(Placement{Precision: p, TensorParallelSize: n, MaxModelLen: m.context, Utilization: 0.90, MemoryGiB: a.MemoryGiB})
				if ok && fit.Fits() {
					out[hw][p] = n
				}
			}
		}
	}
	return out
}

func TestFactsFiles(t *testing.T) {
	ids, err := IDs()
	if err != nil {
		t.Fatalf("IDs(): %v", err)
	}
	for _, id := range ids {
		f, _, _ := Lookup(id)
		if f.ID != id || f.Source == "" || f.ParametersBillion <= 0 || f.Layers <= 0 || f.HiddenSize <= 0 || f.VocabSize <= 0 ||
			f.AttentionHeads <= 0 || f.KVHeads <= 0 || f.HeadDim <= 0 || f.MaxContextLength <= 0 {
			t.Errorf("\nFacts should be complete, and say where they come from.\nLookup(%q): got %+v", id, f)
		}
		if f.ActiveParametersBillion > f.ParametersBillion {
			t.Errorf("\nNo more parameters can be active than there are.\nLookup(%q): got %+v", id, f)
		}
	}
}

func TestLookup(t *testing.T) {
	cases := map[string]struct {
		reason string
		id     string
		want   bool
	}{
		"Known": {
			reason: "A model of the catalog should have facts.",
			id:     "Qwen/Qwen3-32B",
			want:   true,
		},
		"Unknown": {
			reason: "A model that nobody knows should have none, and that is no error.",
			id:     "example/unknown",
		},
		"OtherCase": {
			reason: "Ids of the Hub should be taken as they are written.",
			id:     "qwen/qwen3-32b",
		},
		"Empty": {
			reason: "No id should find nothing.",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f, ok, err := Lookup(tc.id)
			if err != nil || ok != tc.want || (ok && f.ID != tc.id) {
				t.Errorf("\n%s\nLookup(%q): want %t, got %+v, %t, %v", tc.reason, tc.id, tc.want, f, ok, err)
			}
		})
	}
}

func TestWeights(t *testing.T) {
	type want struct {
		gib float64
		ok  bool
	}
	// 2^30 parameters, a quarter of which are embeddings.
	even := Facts{ParametersBillion: gib / 1e9, VocabSize: 1 << 17, HiddenSize: 1 << 10}
	cases := map[string]struct {
		reason    string
		facts     Facts
		precision v1alpha1.Precision
		want      want
	}{
		"BFloat16": {
			reason: "At 16 bit a parameter should take two bytes.",
			facts:  even, precision: "bfloat16",
			want: want{gib: 2, ok: true},
		},
		"Float16": {
			reason: "The two formats of 16 bit should take the same.",
			facts:  even, precision: "float16",
			want: want{gib: 2, ok: true},
		},
		"Float8": {
			reason: "At 8 bit a parameter should take one byte, and embeddings two.",
			facts:  even, precision: "float8",
			want: want{gib: 0.75 + 0.5, ok: true},
		},
		"Int8": {
			reason: "The two formats of 8 bit should take the same.",
			facts:  even, precision: "int8",
			want: want{gib: 0.75 + 0.5, ok: true},
		},
		"Int4": {
			reason: "At 4 bit a parameter should take half a byte and its share of a scale, and embeddings two bytes.",
			facts:  even, precision: "int4",
			want: want{gib: 0.75*0.53 + 0.5, ok: true},
		},
		"Published": {
			reason:    "A published size should go before the formula.",
			facts:     Facts{ParametersBillion: 100, WeightsGiB: map[v1alpha1.Precision]float64{"int4": 42}},
			precision: "int4",
			want:      want{gib: 42, ok: true},
		},
		"OtherPublished": {
			reason:    "The published size of one precision should not be taken for another.",
			facts:     Facts{ParametersBillion: gib / 1e9, WeightsGiB: map[v1alpha1.Precision]float64{"int4": 42}},
			precision: "int8",
			want:      want{gib: 1, ok: true},
		},
		"Unknown": {
			reason: "A precision without a known size should have none, rather than zero.",
			facts:  even, precision: "float4",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			g, ok := tc.facts.Weights(tc.precision)
			got := want{gib: math.Round(g*1e6) / 1e6, ok: ok}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nWeights(%q): -want, +got:\n%s", tc.reason, tc.precision, diff)
			}
		})
	}
}

func TestDividesInto(t *testing.T) {
	cases := map[string]struct {
		reason string
		facts  Facts
		want   []int32
	}{
		"PowersOfTwo": {
			reason: "32 and 8 heads divide into powers of two.",
			facts:  Facts{AttentionHeads: 32, KVHeads: 8},
			want:   []int32{1, 2, 4, 8},
		},
		"Phi4": {
			reason: "40 and 10 heads divide into 5, but 4 and 8 do not divide 10.",
			facts:  Facts{AttentionHeads: 40, KVHeads: 10},
			want:   []int32{1, 2, 5},
		},
		"Qwen25": {
			reason: "28 heads do not divide into 8.",
			facts:  Facts{AttentionHeads: 28, KVHeads: 4},
			want:   []int32{1, 2, 4},
		},
		"Scout": {
			reason: "40 heads divide into 5, but 8 key-value heads do not.",
			facts:  Facts{AttentionHeads: 40, KVHeads: 8},
			want:   []int32{1, 2, 4, 8},
		},
		"Replicated": {
			reason: "Key-value heads may be replicated: two heads on eight GPUs.",
			facts:  Facts{AttentionHeads: 64, KVHeads: 2},
			want:   []int32{1, 2, 4, 8},
		},
		"Latent": {
			reason: "Latent attention has no key-value heads to divide.",
			facts:  Facts{AttentionHeads: 128},
			want:   []int32{1, 2, 4, 8},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []int32
			for n := int32(-1); n <= 8; n++ {
				if tc.facts.DividesInto(n) {
					got = append(got, n)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nDividesInto(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFit(t *testing.T) {
	type want struct {
		fit  Fit
		ok   bool
		fits bool
	}
	// 10 GiB of weights, and 1 GiB of KV cache for 1024 tokens.
	facts := Facts{
		WeightsGiB: map[v1alpha1.Precision]float64{"bfloat16": 10},
		Layers:     64, KVHeads: 2, HeadDim: 2048, AttentionHeads: 64,
	}
	cases := map[string]struct {
		reason string
		facts  Facts
		p      Placement
		want   want
	}{
		"OneGPU": {
			reason: "One GPU should hold all of the weights and the KV cache, and the runtime.",
			facts:  facts,
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 1, MaxModelLen: 1024, Utilization: 0.5, MemoryGiB: 40},
			want: want{ok: true, fits: true, fit: Fit{
				WeightsGiB: 10, KVGiB: 1, RequiredGiB: 10.71 + 2.3 + 1, AvailableGiB: 20, MaxConcurrentSequences: 6,
			}},
		},
		"TwoGPUs": {
			reason: "Two GPUs should hold half each, but a runtime of their own.",
			facts:  facts,
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 2, MaxModelLen: 1024, Utilization: 0.5, MemoryGiB: 40},
			want: want{ok: true, fits: true, fit: Fit{
				WeightsGiB: 10, KVGiB: 1, RequiredGiB: 10.71/2 + 2.3 + 0.5, AvailableGiB: 20, MaxConcurrentSequences: 24,
			}},
		},
		"ReplicatedHeads": {
			reason: "Two key-value heads on eight GPUs should leave half of the KV cache on each.",
			facts:  facts,
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 8, MaxModelLen: 1024, Utilization: 0.5, MemoryGiB: 40},
			want: want{ok: true, fits: true, fit: Fit{
				WeightsGiB: 10, KVGiB: 1, RequiredGiB: 10.71/8 + 2.3 + 0.5, AvailableGiB: 20, MaxConcurrentSequences: 32,
			}},
		},
		"TooLong": {
			reason: "A sequence that does not fit should be said not to, and no number of them to fit.",
			facts:  facts,
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 1, MaxModelLen: 8192, Utilization: 0.5, MemoryGiB: 40},
			want: want{ok: true, fit: Fit{
				WeightsGiB: 10, KVGiB: 8, RequiredGiB: 10.71 + 2.3 + 8, AvailableGiB: 20,
			}},
		},
		"NoKVCache": {
			reason: "Without a KV cache there should be no number of sequences.",
			facts:  Facts{WeightsGiB: map[v1alpha1.Precision]float64{"bfloat16": 10}},
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 1, MaxModelLen: 1024, Utilization: 0.5, MemoryGiB: 40},
			want: want{ok: true, fits: true, fit: Fit{
				WeightsGiB: 10, RequiredGiB: 10.71 + 2.3, AvailableGiB: 20,
			}},
		},
		"UnknownPrecision": {
			reason: "Without a size of the weights there should be no answer.",
			facts:  facts,
			p:      Placement{Precision: "float4", TensorParallelSize: 1, MaxModelLen: 1024, Utilization: 0.5, MemoryGiB: 40},
			want:   want{fits: true},
		},
		"NoGPU": {
			reason: "No GPU holds nothing.",
			facts:  facts,
			p:      Placement{Precision: "bfloat16", MaxModelLen: 1024, Utilization: 0.5, MemoryGiB: 40},
			want:   want{fits: true},
		},
	}
	round := func(v float64) float64 { return math.Round(v*1e6) / 1e6 }
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			fit, ok := tc.facts.Fit(tc.p)
			got := want{fit: fit, ok: ok, fits: fit.Fits()}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{}), cmp.Transformer("Round", round)); diff != "" {
				t.Errorf("\n%s\nFit(%+v): -want, +got:\n%s", tc.reason, tc.p, diff)
			}
		})
	}
}

// TestFitMonotonic has no numbers: whatever the model, more GPUs or more memory
// never make something not fit, and a longer context never makes it fit.
func TestFitMonotonic(t *testing.T) {
	ids, err := IDs()
	if err != nil {
		t.Fatalf("IDs(): %v", err)
	}
	fits := func(f Facts, p Placement) bool {
		fit, ok := f.Fit(p)
		return ok && fit.Fits()
	}
	for _, id := range ids {
		f, _, _ := Lookup(id)
		for _, a := range gpu.All() {
			for _, n := range []int32{1, 2, 4, 8} {
				for _, l := range []int64{1024, 8192, f.MaxContextLength} {
					p := Placement{Precision: "bfloat16", TensorParallelSize: n, MaxModelLen: l, Utilization: 0.9, MemoryGiB: a.MemoryGiB}
					more, larger, longer := p, p, p
					more.TensorParallelSize *= 2
					larger.MemoryGiB *= 2
					longer.MaxModelLen *= 2
					if fits(f, p) && (!fits(f, more) || !fits(f, larger)) {
						t.Errorf("\nMore of something should never be too little.\nFit(%+v): fits, but not with twice the GPUs or memory", p)
					}
					if !fits(f, p) && fits(f, longer) {
						t.Errorf("\nA longer sequence should never take less.\nFit(%+v): does not fit, but does with twice the length", p)
					}
				}
			}
		}
	}
}

func TestFitString(t *testing.T) {
	cases := map[string]struct {
		reason string
		fit    Fit
		want   string
	}{
		"TooLarge": {
			reason: "The arithmetic should be one that a person can follow.",
			fit:    Fit{WeightsGiB: 61, KVGiB: 8.04, RequiredGiB: 75.67, AvailableGiB: 57.6},
			want:   "61.0 GiB of weights and 8.0 GiB of KV cache for one sequence need 75.7 GiB on each GPU, and 57.6 GiB are usable",
		},
		"Fits": {
			reason: "It should read the same for what fits.",
			fit:    Fit{WeightsGiB: 15.3, KVGiB: 5, RequiredGiB: 23.7, AvailableGiB: 172.8},
			want:   "15.3 GiB of weights and 5.0 GiB of KV cache for one sequence need 23.7 GiB on each GPU, and 172.8 GiB are usable",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.fit.String()); diff != "" {
				t.Errorf("\n%s\nString(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSlug(t *testing.T) {
	cases := map[string]struct {
		reason string
		id     string
		max    int
		want   string
	}{
		"Model": {
			reason: "The organization should be left out, and dots and capitals replaced.",
			id:     "meta-llama/Llama-3.1-8B-Instruct", max: 63,
			want: "llama-3-1-8b-instruct",
		},
		"NoOrganization": {
			reason: "A name without an organization should be taken as it is.",
			id:     "qwen3-32b", max: 63,
			want: "qwen3-32b",
		},
		"Edges": {
			reason: "A label may not start or end with a dash.",
			id:     "org/_name_", max: 63,
			want: "name",
		},
		"Cut": {
			reason: "A long name should be cut.",
			id:     "org/abcdef", max: 4,
			want: "abcd",
		},
		"CutAtDash": {
			reason: "A cut should leave no dash at the end.",
			id:     "org/abc-def", max: 4,
			want: "abc",
		},
		"NothingLeft": {
			reason: "A name without a usable character should have no slug.",
			id:     "org/___", max: 63,
		},
		"Bounds": {
			reason: "The first and last of letters and digits should be kept, and their neighbours replaced.",
			id:     "org/AZaz09:x{y`z/", max: 63,
			want: "azaz09-x-y-z",
		},
		"Unicode": {
			reason: "Letters that a label cannot have should be replaced.",
			id:     "org/modèle-ß-3", max: 63,
			want: "mod-le---3",
		},
		"Empty": {
			reason: "Nothing should have no slug.",
			max:    63,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Slug(tc.id, tc.max)); diff != "" {
				t.Errorf("\n%s\nSlug(%q, %d): -want, +got:\n%s", tc.reason, tc.id, tc.max, diff)
			}
		})
	}
}

func FuzzSlug(f *testing.F) {
	for _, s := range []string{"", "/", "a/b", "meta-llama/Llama-3.1-8B-Instruct", "-", "İ/İ", "a\xff", strings.Repeat("x.", 100)} {
		f.Add(s, uint8(63))
		f.Add(s, uint8(7))
	}
	label := regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	f.Fuzz(func(t *testing.T, id string, n uint8) {
		limit := int(n) % 64
		got := Slug(id, limit)
		if got != "" && (!label.MatchString(got) || len(got) > limit) {
			t.Errorf("\nA slug should be empty or a DNS label of at most the asked length.\nSlug(%q, %d): got %q", id, limit, got)
		}
		if again := Slug(got, limit); again != got {
			t.Errorf("\nThe slug of a slug should be itself.\nSlug(%q, %d): got %q", got, limit, again)
		}
	})
}
