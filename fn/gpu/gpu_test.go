package gpu

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

// facts of all accelerators, written down a second time from AMD's data sheets
// and the source of AMD's k8s-device-plugin.
var facts = map[v1alpha1.Hardware]Accelerator{
	"MI210": {
		Name: "MI210", MemoryGiB: 64, BandwidthTBs: 1.6, Architecture: "gfx90a", Generation: 210, MaxPerNode: 8,
		DeviceIDs:  []string{"740f", "7410"},
		Precisions: []v1alpha1.Precision{"bfloat16", "float16", "int8", "int4"},
		Native:     []v1alpha1.Precision{"bfloat16", "float16", "int8"},
	},
	// One of the two dies of a card with 128 GiB and 3.2 TB/s.
	"MI250": {
		Name: "MI250", MemoryGiB: 128 / 2, BandwidthTBs: 3.2 / 2, Architecture: "gfx90a", Generation: 250, MaxPerNode: 8,
		DeviceIDs:  []string{"7408", "740c"},
		Precisions: []v1alpha1.Precision{"bfloat16", "float16", "int8", "int4"},
		Native:     []v1alpha1.Precision{"bfloat16", "float16", "int8"},
	},
	"MI300X": {
		Name: "MI300X", MemoryGiB: 192, BandwidthTBs: 5.3, Architecture: "gfx942", Generation: 300, MaxPerNode: 8,
		DeviceIDs:  []string{"74a1", "74a9", "74b5", "74bd"},
		Precisions: []v1alpha1.Precision{"bfloat16", "float16", "float8", "int8", "int4"},
		Native:     []v1alpha1.Precision{"bfloat16", "float16", "float8", "int8"},
	},
	"MI325X": {
		Name: "MI325X", MemoryGiB: 256, BandwidthTBs: 6, Architecture: "gfx942", Generation: 325, MaxPerNode: 8,
		DeviceIDs:  []string{"74a5", "74b9"},
		Precisions: []v1alpha1.Precision{"bfloat16", "float16", "float8", "int8", "int4"},
		Native:     []v1alpha1.Precision{"bfloat16", "float16", "float8", "int8"},
	},
	"MI350X": {
		Name: "MI350X", MemoryGiB: 288, BandwidthTBs: 8, Architecture: "gfx950", Generation: 350, MaxPerNode: 8,
		DeviceIDs:  []string{"75a0", "75b0"},
		Precisions: []v1alpha1.Precision{"bfloat16", "float16", "float8", "int8", "int4"},
		Native:     []v1alpha1.Precision{"bfloat16", "float16", "float8", "int8", "int4"},
	},
	"MI355X": {
		Name: "MI355X", MemoryGiB: 288, BandwidthTBs: 8, Architecture: "gfx950", Generation: 355, MaxPerNode: 8,
		DeviceIDs:  []string{"75a3", "75b3"},
		Precisions: []v1alpha1.Precision{"bfloat16", "float16", "float8", "int8", "int4"},
		Native:     []v1alpha1.Precision{"bfloat16", "float16", "float8", "int8", "int4"},
	},
}

func TestLookup(t *testing.T) {
	type want struct {
		a  Accelerator
		ok bool
	}
	cases := map[string]struct {
		reason string
		name   v1alpha1.Hardware
		want   want
	}{
		"Unknown": {
			reason: "Hardware that we have no facts of should not be found.",
			name:   "MI308X",
		},
		"Spelling": {
			reason: "A name should be found in the API's spelling only.",
			name:   "mi300x",
		},
		"Empty": {
			reason: "No name should find nothing.",
		},
	}
	for name, a := range facts {
		cases[string(name)] = struct {
			reason string
			name   v1alpha1.Hardware
			want   want
		}{
			reason: "The facts should be those of the data sheet and of AMD's device plugin.",
			name:   name,
			want:   want{a: a, ok: true},
		}
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a, ok := Lookup(tc.name)
			if diff := cmp.Diff(tc.want, want{a: a, ok: ok}, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nLookup(%q): -want, +got:\n%s", tc.reason, tc.name, diff)
			}
		})
	}
}

func TestAll(t *testing.T) {
	want := []v1alpha1.Hardware{"MI210", "MI250", "MI300X", "MI325X", "MI350X", "MI355X"}
	got := []v1alpha1.Hardware{}
	ids := map[string]v1alpha1.Hardware{}
	for _, a := range All() {
		got = append(got, a.Name)
		if !slices.IsSorted(a.DeviceIDs) {
			t.Errorf("\nDevice ids should be sorted, or manifests would differ from run to run.\nAll(): %s has %v", a.Name, a.DeviceIDs)
		}
		for _, id := range a.DeviceIDs {
			if other, ok := ids[id]; ok {
				t.Errorf("\nA device id should be of one accelerator only.\nAll(): %s is of %s and of %s", id, other, a.Name)
			}
			ids[id] = a.Name
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\nEvery accelerator of the API should be there, by name.\nAll(): -want, +got:\n%s", diff)
	}

	All()[0].Name = "changed"
	if got := All()[0].Name; got != "MI210" {
		t.Errorf("\nA caller should not be able to change the registry.\nAll(): the first is now %s", got)
	}
}

func TestRuns(t *testing.T) {
	cases := map[string]struct {
		reason    string
		hardware  []v1alpha1.Hardware
		precision v1alpha1.Precision
		want      bool
	}{
		"BFloat16": {
			reason:    "Every accelerator should run bfloat16.",
			hardware:  []v1alpha1.Hardware{"MI210", "MI250", "MI300X", "MI325X", "MI350X", "MI355X"},
			precision: "bfloat16",
			want:      true,
		},
		"Float8OnCDNA2": {
			reason:    "gfx90a has no data path for float8.",
			hardware:  []v1alpha1.Hardware{"MI210", "MI250"},
			precision: "float8",
		},
		"Float8": {
			reason:    "gfx942 and gfx950 have a data path for float8.",
			hardware:  []v1alpha1.Hardware{"MI300X", "MI325X", "MI350X", "MI355X"},
			precision: "float8",
			want:      true,
		},
		"Int4": {
			reason:    "Weights of int4 should run everywhere, dequantized.",
			hardware:  []v1alpha1.Hardware{"MI210", "MI250", "MI300X", "MI325X", "MI350X", "MI355X"},
			precision: "int4",
			want:      true,
		},
		"ShortForm": {
			reason:    "Short forms are spelled out before they get here.",
			hardware:  []v1alpha1.Hardware{"MI300X"},
			precision: "fp8",
		},
		"Unknown": {
			reason:    "A precision that nobody knows should not run.",
			hardware:  []v1alpha1.Hardware{"MI300X", "MI355X"},
			precision: "float4",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, hw := range tc.hardware {
				a, _ := Lookup(hw)
				if got := a.Runs(tc.precision); got != tc.want {
					t.Errorf("\n%s\n%s.Runs(%q): want %t, got %t", tc.reason, hw, tc.precision, tc.want, got)
				}
			}
		})
	}
}

func TestRunsNatively(t *testing.T) {
	cases := map[string]struct {
		reason    string
		precision v1alpha1.Precision
		want      []v1alpha1.Hardware
	}{
		"BFloat16": {
			reason:    "Every accelerator should compute in bfloat16.",
			precision: "bfloat16",
			want:      []v1alpha1.Hardware{"MI210", "MI250", "MI300X", "MI325X", "MI350X", "MI355X"},
		},
		"Float8": {
			reason:    "gfx90a has no data path for float8.",
			precision: "float8",
			want:      []v1alpha1.Hardware{"MI300X", "MI325X", "MI350X", "MI355X"},
		},
		"MXFP4": {
			reason:    "Only gfx950 has a data path for MXFP4.",
			precision: "int4",
			want:      []v1alpha1.Hardware{"MI350X", "MI355X"},
		},
		"Unknown": {
			reason:    "No accelerator should compute in what nobody knows.",
			precision: "float4",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []v1alpha1.Hardware
			for _, a := range All() {
				if a.RunsNatively(tc.precision) {
					got = append(got, a.Name)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nRunsNatively(%q): -want, +got:\n%s", tc.reason, tc.precision, diff)
			}
		})
	}
	for _, a := range All() {
		for _, p := range a.Native {
			if !a.Runs(p) {
				t.Errorf("\nWhat hardware computes in it should run.\n%s.Runs(%q): false", a.Name, p)
			}
		}
	}
}

func TestNodeAffinity(t *testing.T) {
	in := func(key string, values ...string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}}}
	}
	exists := func(key string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpExists}}}
	}
	want := &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
		in("amd.com/gpu.device-id", "74a1", "74a9", "74b5", "74bd"),
		in("beta.amd.com/gpu.device-id", "74a1", "74a9", "74b5", "74bd"),
		exists("amd.com/gpu.device-id.74a1"),
		exists("amd.com/gpu.device-id.74a9"),
		exists("amd.com/gpu.device-id.74b5"),
		exists("amd.com/gpu.device-id.74bd"),
		exists("beta.amd.com/gpu.device-id.74a1"),
		exists("beta.amd.com/gpu.device-id.74a9"),
		exists("beta.amd.com/gpu.device-id.74b5"),
		exists("beta.amd.com/gpu.device-id.74bd"),
	}}}
	a, _ := Lookup("MI300X")
	if diff := cmp.Diff(want, a.NodeAffinity()); diff != "" {
		t.Errorf("\nA node should be found by any of the ways in which AMD's labeller writes a device id.\nNodeAffinity(): -want, +got:\n%s", diff)
	}

	// What a caller does to an affinity must not reach the next one.
	a.NodeAffinity().RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchExpressions[0].Values[0] = "changed"
	if diff := cmp.Diff(want, a.NodeAffinity()); diff != "" {
		t.Errorf("\nTwo affinities should share nothing.\nNodeAffinity(): -want, +got:\n%s", diff)
	}
}

// TestNodeAffinityNodes has nodes as AMD's labeller labels them.
func TestNodeAffinityNodes(t *testing.T) {
	cases := map[string]struct {
		reason string
		labels map[string]string
		want   []v1alpha1.Hardware
	}{
		"Homogeneous": {
			reason: "A node with one kind of GPU has the device id in a value.",
			labels: map[string]string{"amd.com/gpu.device-id": "74a1", "amd.com/gpu.family": "AI", "amd.com/gpu.vram": "192G"},
			want:   []v1alpha1.Hardware{"MI300X"},
		},
		"Virtual": {
			reason: "A virtual function has a device id of its own.",
			labels: map[string]string{"amd.com/gpu.device-id": "75b3"},
			want:   []v1alpha1.Hardware{"MI355X"},
		},
		"Beta": {
			reason: "Older labellers use the beta prefix only.",
			labels: map[string]string{"beta.amd.com/gpu.device-id": "740f"},
			want:   []v1alpha1.Hardware{"MI210"},
		},
		"Mixed": {
			reason: "A node with two kinds of GPU has counts, and the device ids in the keys.",
			labels: map[string]string{"amd.com/gpu.device-id.74a1": "4", "amd.com/gpu.device-id.74a5": "4"},
			want:   []v1alpha1.Hardware{"MI300X", "MI325X"},
		},
		"MixedBeta": {
			reason: "Older labellers write counts under the beta prefix only.",
			labels: map[string]string{"beta.amd.com/gpu.device-id.740c": "8"},
			want:   []v1alpha1.Hardware{"MI250"},
		},
		"OtherGPU": {
			reason: "A GPU that we have no facts of should not be taken for one that we have.",
			labels: map[string]string{"amd.com/gpu.device-id": "74a2", "amd.com/gpu.vram": "192G"},
		},
		"NoGPU": {
			reason: "A node without a GPU should not be taken.",
			labels: map[string]string{"kubernetes.io/os": "linux"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []v1alpha1.Hardware
			for _, a := range All() {
				if admits(t, a.NodeAffinity(), tc.labels) {
					got = append(got, a.Name)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nNodeAffinity(): accelerators that take a node with %v: -want, +got:\n%s", tc.reason, tc.labels, diff)
			}
		})
	}
}

// admits does what the scheduler does with the operators that we use.
func admits(t *testing.T, a *corev1.NodeAffinity, labels map[string]string) bool {
	t.Helper()
	return slices.ContainsFunc(a.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms, func(term corev1.NodeSelectorTerm) bool {
		return !slices.ContainsFunc(term.MatchExpressions, func(r corev1.NodeSelectorRequirement) bool {
			v, ok := labels[r.Key]
			switch r.Operator { //nolint:exhaustive // The others are refused.
			case corev1.NodeSelectorOpIn:
				return !ok || !slices.Contains(r.Values, v)
			case corev1.NodeSelectorOpExists:
				return !ok
			}
			t.Fatalf("unexpected operator %s of %s", r.Operator, strings.Join(r.Values, ", "))
			return true
		})
	})
}
