package model

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

func TestFactsFiles(t *testing.T) {
	ids, err := IDs()
	if err != nil {
		t.Fatalf("IDs(): %v", err)
	}
	for _, id := range ids {
		f, _, _ := Lookup(id)
		if f.ID != id || f.Source == "" || f.ParametersBillion <= 0 || f.Layers <= 0 || f.HiddenSize <= 0 || f.VocabSize <= 0 ||
			f.AttentionHeads <= 0 || f.MaxContextLength <= 0 {
			t.Errorf("\nFacts should be complete, and say where they come from.\nLookup(%q): got %+v", id, f)
		}
		if general := f.KVHeads > 0 && f.HeadDim > 0; general == (f.KVBytesPerToken > 0) {
			t.Errorf("\nThe KV cache should follow from heads, or be given where there are none, but not both.\nLookup(%q): got %+v", id, f)
		}
		if !slices.Contains([]v1alpha1.Precision{"bfloat16", "float8", "int4"}, f.Checkpoint) {
			t.Errorf("\nThe precision of the published weights should be known, and spelled out.\nLookup(%q): got %q", id, f.Checkpoint)
		}
		if named := strings.Contains(id, "FP8"); named && f.Checkpoint != "float8" {
			t.Errorf("\nA checkpoint should have the precision that its name says.\nLookup(%q): got %q", id, f.Checkpoint)
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
		"OnlyParameters": {
			reason:    "The number of parameters should be enough.",
			facts:     Facts{ParametersBillion: gib / 1e9},
			precision: "float8",
			want:      want{gib: 1, ok: true},
		},
		"NoParameters": {
			reason:    "Without a number of parameters there should be no size, whatever the embeddings.",
			facts:     Facts{VocabSize: 1 << 17, HiddenSize: 1 << 10},
			precision: "float8",
		},
		"NegativeParameters": {
			reason:    "A number of parameters that cannot be should count as none.",
			facts:     Facts{ParametersBillion: -1},
			precision: "float8",
		},
		"NotANumber": {
			reason:    "A number of parameters that is none should count as none.",
			facts:     Facts{ParametersBillion: math.NaN(), WeightsGiB: map[v1alpha1.Precision]float64{"float8": math.Inf(1)}},
			precision: "float8",
		},
		"NegativePublished": {
			reason:    "A size that cannot be should not go before the formula.",
			facts:     Facts{ParametersBillion: gib / 1e9, WeightsGiB: map[v1alpha1.Precision]float64{"float8": -1}},
			precision: "float8",
			want:      want{gib: 1, ok: true},
		},
		"NegativeEmbeddings": {
			reason:    "Embeddings that cannot be should count as none.",
			facts:     Facts{ParametersBillion: gib / 1e9, VocabSize: -1 << 17, HiddenSize: 1 << 10},
			precision: "float8",
			want:      want{gib: 1, ok: true},
		},
		"OnlyEmbeddings": {
			reason:    "There should be no more embeddings than parameters.",
			facts:     Facts{ParametersBillion: gib / 1e9, VocabSize: 1 << 20, HiddenSize: 1 << 20},
			precision: "float8",
			want:      want{gib: 2, ok: true},
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

func TestCacheBytesPerToken(t *testing.T) {
	cases := map[string]struct {
		reason string
		facts  Facts
		want   float64
	}{
		"Heads": {
			reason: "Keys and values of all heads and layers should take two bytes an element.",
			facts:  Facts{Layers: 3, KVHeads: 5, HeadDim: 7},
			want:   2 * 3 * 5 * 7 * 2,
		},
		"Given": {
			reason: "What is given should go before the formula.",
			facts:  Facts{Layers: 3, KVHeads: 5, HeadDim: 7, KVBytesPerToken: 11},
			want:   11,
		},
		"Negative": {
			reason: "What cannot be should not go before the formula.",
			facts:  Facts{Layers: 3, KVHeads: 5, HeadDim: 7, KVBytesPerToken: -11},
			want:   2 * 3 * 5 * 7 * 2,
		},
		"Partial": {
			reason: "Without one of the factors nothing should be known.",
			facts:  Facts{Layers: 3, HeadDim: 7},
		},
		"NegativeFactors": {
			reason: "Two factors that cannot be should not make one that can.",
			facts:  Facts{Layers: -3, KVHeads: -5, HeadDim: 7},
		},
		"Nothing": {
			reason: "Without facts nothing should be known.",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.facts.CacheBytesPerToken()); diff != "" {
				t.Errorf("\n%s\nCacheBytesPerToken(): -want, +got:\n%s", tc.reason, diff)
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
		"Unknown": {
			reason: "Heads that nobody knows should forbid nothing.",
			facts:  Facts{KVHeads: 8},
			want:   []int32{1, 2, 3, 4, 5, 6, 7, 8},
		},
		"Negative": {
			reason: "Heads that cannot be should forbid nothing.",
			facts:  Facts{AttentionHeads: -32, KVHeads: -8},
			want:   []int32{1, 2, 3, 4, 5, 6, 7, 8},
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
