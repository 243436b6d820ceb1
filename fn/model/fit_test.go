package model

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/gpu"
)

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
				MemoryGiB: 40, MaxModelLen: 1024, TensorParallelSize: 1,
			}},
		},
		"TwoGPUs": {
			reason: "Two GPUs should hold half each, but a runtime of their own.",
			facts:  facts,
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 2, MaxModelLen: 1024, Utilization: 0.5, MemoryGiB: 40},
			want: want{ok: true, fits: true, fit: Fit{
				WeightsGiB: 10, KVGiB: 1, RequiredGiB: 10.71/2 + 2.3 + 0.5, AvailableGiB: 20, MaxConcurrentSequences: 24,
				MemoryGiB: 40, MaxModelLen: 1024, TensorParallelSize: 2,
			}},
		},
		"ReplicatedHeads": {
			reason: "Two key-value heads on eight GPUs should leave half of the KV cache on each.",
			facts:  facts,
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 8, MaxModelLen: 1024, Utilization: 0.5, MemoryGiB: 40},
			want: want{ok: true, fits: true, fit: Fit{
				WeightsGiB: 10, KVGiB: 1, RequiredGiB: 10.71/8 + 2.3 + 0.5, AvailableGiB: 20, MaxConcurrentSequences: 32,
				MemoryGiB: 40, MaxModelLen: 1024, TensorParallelSize: 8,
			}},
		},
		"TooLong": {
			reason: "A sequence that does not fit should be said not to, and no number of them to fit.",
			facts:  facts,
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 1, MaxModelLen: 8192, Utilization: 0.5, MemoryGiB: 40},
			want: want{ok: true, fit: Fit{
				WeightsGiB: 10, KVGiB: 8, RequiredGiB: 10.71 + 2.3 + 8, AvailableGiB: 20,
				MemoryGiB: 40, MaxModelLen: 8192, TensorParallelSize: 1,
			}},
		},
		"NoKVCache": {
			reason: "Without facts of the KV cache there should be no number of sequences, and it should be said.",
			facts:  Facts{WeightsGiB: map[v1alpha1.Precision]float64{"bfloat16": 10}},
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 1, MaxModelLen: 1024, Utilization: 0.5, MemoryGiB: 40},
			want: want{ok: true, fits: true, fit: Fit{
				WeightsGiB: 10, KVUnknown: true, RequiredGiB: 10.71 + 2.3, AvailableGiB: 20,
				MemoryGiB: 40, MaxModelLen: 1024, TensorParallelSize: 1,
			}},
		},
		"Float8KVCache": {
			reason: "A KV cache of one byte an element should take half.",
			facts:  facts,
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 1, MaxModelLen: 1024, Utilization: 0.5, MemoryGiB: 40, KVBytes: 1},
			want: want{ok: true, fits: true, fit: Fit{
				WeightsGiB: 10, KVGiB: 0.5, RequiredGiB: 10.71 + 2.3 + 0.5, AvailableGiB: 20, MaxConcurrentSequences: 13,
				MemoryGiB: 40, MaxModelLen: 1024, TensorParallelSize: 1,
			}},
		},
		"KVBytesThatCannotBe": {
			reason: "Elements of a size that cannot be should count as 16 bit.",
			facts:  facts,
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 1, MaxModelLen: 1024, Utilization: 0.5, MemoryGiB: 40, KVBytes: math.NaN()},
			want: want{ok: true, fits: true, fit: Fit{
				WeightsGiB: 10, KVGiB: 1, RequiredGiB: 10.71 + 2.3 + 1, AvailableGiB: 20, MaxConcurrentSequences: 6,
				MemoryGiB: 40, MaxModelLen: 1024, TensorParallelSize: 1,
			}},
		},
		"LatentAttention": {
			reason: "A latent vector has no heads to share: each GPU should hold all of the KV cache.",
			facts:  Facts{WeightsGiB: facts.WeightsGiB, AttentionHeads: 128, KVBytesPerToken: 1 << 20},
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 8, MaxModelLen: 1024, Utilization: 0.5, MemoryGiB: 40},
			want: want{ok: true, fits: true, fit: Fit{
				WeightsGiB: 10, KVGiB: 1, RequiredGiB: 10.71/8 + 2.3 + 1, AvailableGiB: 20, MaxConcurrentSequences: 16,
				MemoryGiB: 40, MaxModelLen: 1024, TensorParallelSize: 8,
			}},
		},
		"NoLength": {
			reason: "Without a length of the sequences the size of their KV cache should not be known.",
			facts:  facts,
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 1, Utilization: 0.5, MemoryGiB: 40},
			want: want{ok: true, fits: true, fit: Fit{
				WeightsGiB: 10, KVUnknown: true, RequiredGiB: 10.71 + 2.3, AvailableGiB: 20, MemoryGiB: 40, TensorParallelSize: 1,
			}},
		},
		"NegativeLength": {
			reason: "A length that cannot be should not make room.",
			facts:  facts,
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 1, MaxModelLen: -8192, Utilization: 0.5, MemoryGiB: 40},
			want: want{ok: true, fits: true, fit: Fit{
				WeightsGiB: 10, KVUnknown: true, RequiredGiB: 10.71 + 2.3, AvailableGiB: 20,
				MemoryGiB: 40, MaxModelLen: -8192, TensorParallelSize: 1,
			}},
		},
		"OnlyParameters": {
			reason: "The number of parameters should be enough to tell whether the weights fit.",
			facts:  Facts{ParametersBillion: 10 * gib / 1e9 / 2},
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 1, MaxModelLen: 1024, Utilization: 0.5, MemoryGiB: 20},
			want: want{ok: true, fit: Fit{
				WeightsGiB: 10, KVUnknown: true, RequiredGiB: 10.71 + 2.3, AvailableGiB: 10,
				MemoryGiB: 20, MaxModelLen: 1024, TensorParallelSize: 1,
			}},
		},
		"NoFacts": {
			reason: "Without facts there should be no answer.",
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 1, MaxModelLen: 1024, Utilization: 0.5, MemoryGiB: 40},
			want:   want{fits: true},
		},
		"NoMemory": {
			reason: "Nothing should fit into memory that is no number.",
			facts:  facts,
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 1, MaxModelLen: 1024, Utilization: 0.5, MemoryGiB: math.NaN()},
			want: want{ok: true, fit: Fit{
				WeightsGiB: 10, KVGiB: 1, RequiredGiB: 10.71 + 2.3 + 1, AvailableGiB: math.NaN(),
				MemoryGiB: math.NaN(), MaxModelLen: 1024, TensorParallelSize: 1,
			}},
		},
		"Endless": {
			reason: "Memory without end should hold a number of sequences that can be written.",
			facts:  facts,
			p:      Placement{Precision: "bfloat16", TensorParallelSize: 1, MaxModelLen: 1024, Utilization: 1, MemoryGiB: math.Inf(1)},
			want: want{ok: true, fits: true, fit: Fit{
				WeightsGiB: 10, KVGiB: 1, RequiredGiB: 10.71 + 2.3 + 1, AvailableGiB: math.Inf(1), MaxConcurrentSequences: 1 << 31,
				MemoryGiB: math.Inf(1), MaxModelLen: 1024, TensorParallelSize: 1,
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
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			fit, ok := tc.facts.Fit(tc.p)
			got := want{fit: fit, ok: ok, fits: fit.Fits()}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{}), cmpopts.EquateApprox(0, 1e-6), cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("\n%s\nFit(%+v): -want, +got:\n%s", tc.reason, tc.p, diff)
			}
		})
	}
}

func TestSmallestFit(t *testing.T) {
	type want struct {
		n  int32
		ok bool
	}
	// 10 GiB of weights, and nothing else that depends on the number of GPUs.
	weights := map[v1alpha1.Precision]float64{"bfloat16": 10}
	cases := map[string]struct {
		reason string
		facts  Facts
		// memory of one GPU in GiB, all of which is usable.
		memory float64
		counts []int32
		want   want
	}{
		"Smallest": {
			reason: "The smallest count that fits should be found in whatever order they come.",
			facts:  Facts{WeightsGiB: weights}, memory: 8, counts: []int32{8, 2, 1, 4},
			want: want{2, true},
		},
		"Divides": {
			reason: "A count into which the model does not divide should be left out.",
			facts:  Facts{WeightsGiB: weights, AttentionHeads: 4, KVHeads: 4}, memory: 6, counts: []int32{1, 2, 3, 4},
			want: want{4, true},
		},
		"None": {
			reason: "There should be none if not even the largest count fits.",
			facts:  Facts{WeightsGiB: weights}, memory: 3, counts: []int32{1, 2, 4, 8},
		},
		"NoFacts": {
			reason: "There should be none if nothing is known.",
			memory: 100, counts: []int32{1, 2, 4, 8},
		},
		"CountsThatCannotBe": {
			reason: "No GPU, or fewer, should hold nothing.",
			facts:  Facts{WeightsGiB: weights}, memory: 100, counts: []int32{-1, 0},
		},
		"NoCounts": {
			reason: "There should be none of no counts.",
			facts:  Facts{WeightsGiB: weights}, memory: 100,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			counts := slices.Clone(tc.counts)
			// The placement's own count does not matter.
			n, ok := tc.facts.SmallestFit(Placement{Precision: "bfloat16", TensorParallelSize: 7, Utilization: 1, MemoryGiB: tc.memory}, tc.counts)
			if diff := cmp.Diff(tc.want, want{n, ok}, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nSmallestFit(..., %v): -want, +got:\n%s", tc.reason, tc.counts, diff)
			}
			if diff := cmp.Diff(counts, tc.counts); diff != "" {
				t.Errorf("\nThe caller's counts should stay as they are.\nSmallestFit(...): -want, +got:\n%s", diff)
			}
		})
	}
}

// FuzzFit has facts and placements as users may write them.
func FuzzFit(f *testing.F) {
	f.Add(70.55, int64(80), int64(8192), int64(128256), int64(64), int64(8), int64(128), int64(0), int32(8), int64(32768), 0.92, 192.0, 1.0)
	f.Add(math.NaN(), int64(-1), int64(math.MinInt64), int64(math.MaxInt64), int64(0), int64(-1), int64(1), int64(-1), int32(math.MinInt32), int64(math.MinInt64), math.Inf(1), math.NaN(), -1.0)
	f.Add(math.MaxFloat64, int64(math.MaxInt64), int64(0), int64(0), int64(1), int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64), int32(1), int64(math.MaxInt64), 1.0, math.Inf(1), math.MaxFloat64)
	f.Fuzz(func(t *testing.T, parameters float64, layers, hidden, vocab, heads, kvHeads, headDim, kvBytesPerToken int64, tp int32, length int64, utilization, memory, kvBytes float64) {
		facts := Facts{
			ParametersBillion: parameters, Layers: layers, HiddenSize: hidden, VocabSize: vocab,
			AttentionHeads: heads, KVHeads: kvHeads, HeadDim: headDim, KVBytesPerToken: kvBytesPerToken,
		}
		p := Placement{Precision: "float8", TensorParallelSize: tp, MaxModelLen: length, Utilization: utilization, MemoryGiB: memory, KVBytes: kvBytes}
		fit, ok := facts.Fit(p)
		if fit.String() == "" || fit.MaxConcurrentSequences < 0 || (ok && !fit.Fits() && fit.MaxConcurrentSequences > 0) {
			t.Errorf("\nWhat does not fit should have no sequences, and nothing fewer.\nFit(%+v): got %+v", p, fit)
		}
		if ok && (fit.WeightsGiB <= 0 || fit.RequiredGiB < runtimeGiB) {
			t.Errorf("\nNothing should take less than nothing.\nFit(%+v): got %+v", p, fit)
		}
		if n, ok := facts.SmallestFit(p, []int32{8, tp, 1}); ok && !facts.DividesInto(n) {
			t.Errorf("\nThe model should divide into what is found.\nSmallestFit(%+v): got %d", p, n)
		}
	})
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
					p := Placement{Precision: f.Checkpoint, TensorParallelSize: n, MaxModelLen: l, Utilization: 0.9, MemoryGiB: a.MemoryGiB}
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
			fit:    Fit{WeightsGiB: 381.9, KVGiB: 1.97, RequiredGiB: 411.1, AvailableGiB: 172.8, MemoryGiB: 192, MaxModelLen: 8192, TensorParallelSize: 1},
			want:   "382 GiB of weights + 2.0 GiB of KV cache for one sequence of 8192 tokens need 411.1 GiB per GPU > 172.8 GiB usable of 192 GiB",
		},
		"Fits": {
			reason: "It should read the same for what fits.",
			fit:    Fit{WeightsGiB: 15.3, KVGiB: 5, RequiredGiB: 23.7, AvailableGiB: 172.8, MemoryGiB: 192, MaxModelLen: 32768, TensorParallelSize: 1},
			want:   "15.3 GiB of weights + 5.0 GiB of KV cache for one sequence of 32768 tokens need 23.7 GiB per GPU <= 172.8 GiB usable of 192 GiB",
		},
		"JustFits": {
			reason: "What needs just as much as there is should fit.",
			fit:    Fit{WeightsGiB: 10, KVGiB: 1, RequiredGiB: 14, AvailableGiB: 14, MemoryGiB: 17.5, MaxModelLen: 1024, TensorParallelSize: 1},
			want:   "10.0 GiB of weights + 1.0 GiB of KV cache for one sequence of 1024 tokens need 14.0 GiB per GPU <= 14.0 GiB usable of 17.5 GiB",
		},
		"Hundred": {
			reason: "A size should have no decimals from where it is written with three digits on.",
			fit:    Fit{WeightsGiB: 99.96, KVGiB: 100, RequiredGiB: 209.4, AvailableGiB: 235.52, MemoryGiB: 256, MaxModelLen: 4096, TensorParallelSize: 1},
			want:   "100 GiB of weights + 100.0 GiB of KV cache for one sequence of 4096 tokens need 209.4 GiB per GPU <= 235.5 GiB usable of 256 GiB",
		},
		"BelowHundred": {
			reason: "A size below should have one.",
			fit:    Fit{WeightsGiB: 99.94, KVGiB: 1, RequiredGiB: 110.3, AvailableGiB: 57.6, MemoryGiB: 64, MaxModelLen: 4096, TensorParallelSize: 1},
			want:   "99.9 GiB of weights + 1.0 GiB of KV cache for one sequence of 4096 tokens need 110.3 GiB per GPU > 57.6 GiB usable of 64 GiB",
		},
		"KVUnknown": {
			reason: "What was left out should be said.",
			fit:    Fit{WeightsGiB: 61, KVUnknown: true, RequiredGiB: 67.6, AvailableGiB: 57.6, MemoryGiB: 64, MaxModelLen: 8192, TensorParallelSize: 1},
			want:   "61.0 GiB of weights, without the KV cache, whose size is not known, need 67.6 GiB per GPU > 57.6 GiB usable of 64 GiB",
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
