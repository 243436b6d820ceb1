package engine

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

func TestQuantization(t *testing.T) {
	type want struct {
		args []string
		why  string
	}
	fp8 := want{args: []string{"--quantization", "fp8"}}
	dtype := func(d string) want { return want{args: []string{"--dtype", d}} }
	cases := map[string]struct {
		reason     string
		precision  v1alpha1.Precision
		checkpoint v1alpha1.Precision
		hardware   v1alpha1.Hardware
		want       want
	}{
		"Nothing":             {reason: "Without a precision nothing is asked for.", checkpoint: "float8"},
		"BFloat16":            {reason: "Weights should run as they are published.", precision: "bfloat16", checkpoint: "bfloat16"},
		"BFloat16Unknown":     {reason: "What we do not know is detected.", precision: "bfloat16"},
		"BFloat16OfFloat16":   {reason: "16 bits should be converted to others.", precision: "bfloat16", checkpoint: "float16", want: dtype("bfloat16")},
		"Float16":             {reason: "float16 should be asked for, whatever the checkpoint.", precision: "float16", checkpoint: "float16", want: dtype("float16")},
		"Float16OfBFloat16":   {reason: "16 bits should be converted to others.", precision: "float16", checkpoint: "bfloat16", want: dtype("float16")},
		"Float16Unknown":      {reason: "float16 should be asked for, whatever the checkpoint.", precision: "float16", want: dtype("float16")},
		"Float8":              {reason: "A quantized checkpoint is detected.", precision: "float8", checkpoint: "float8"},
		"Float8Unknown":       {reason: "What we do not know is detected.", precision: "float8"},
		"Float8Online":        {reason: "16 bits should be quantized at load.", precision: "float8", checkpoint: "bfloat16", want: fp8},
		"Float8OnlineFloat16": {reason: "16 bits should be quantized at load.", precision: "float8", checkpoint: "float16", hardware: "MI355X", want: fp8},
		"Float8OnCDNA2": {
			reason: "gfx90a has no float8.", precision: "float8", checkpoint: "bfloat16", hardware: "MI210",
			want: want{why: "MI210 (gfx90a) cannot quantize the published bfloat16 weights to float8: set precision to bfloat16"},
		},
		"Int4": {reason: "A quantized checkpoint is detected.", precision: "int4", checkpoint: "int4"},
		"Int4Online": {
			reason: "No engine quantizes to int4 at load.", precision: "int4", checkpoint: "bfloat16",
			want: want{why: "the published weights are bfloat16, and the engine does not quantize to int4 as it loads them: set precision to bfloat16 or float8, or choose a model that is published in int4 (AWQ, GPTQ, ...)"},
		},
		"BFloat16OfFloat8": {
			reason: "What was quantized is not converted back.", precision: "bfloat16", checkpoint: "float8",
			want: want{why: "the published weights are float8, and are not converted to bfloat16: set precision to float8, or choose a model that is published in bfloat16"},
		},
		"Int8OfInt4": {
			reason: "What was quantized is not converted.", precision: "int8", checkpoint: "int4",
			want: want{why: "the published weights are int4, and are not converted to int8: set precision to int4, or choose a model that is published in int8"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.hardware == "" {
				tc.hardware = "MI300X"
			}
			s := Server{Precision: tc.precision, Checkpoint: tc.checkpoint, Accelerator: accelerator(t, tc.hardware)}
			for _, e := range []Engine{vllm(t), sglang(t)} {
				args, why := e.Quantization(s)
				if diff := cmp.Diff(tc.want, want{args: args, why: why}, cmp.AllowUnexported(want{})); diff != "" {
					t.Errorf("\n%s\n%s: Quantization(...): -want, +got:\n%s", tc.reason, e.Name, diff)
				}
			}
		})
	}
}

// TestSecrets makes sure that no flag of an engine that is named after a secret
// is taken for something harmless.
func TestSecrets(t *testing.T) {
	for _, e := range []Engine{vllm(t), sglang(t)} {
		table, err := e.dialect.flags()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range table.names {
			if !secretName.MatchString(name) {
				continue
			}
			args, findings := e.Repair(Server{Args: []string{name, "hunter2"}})
			if len(args) > 0 || len(findings) != 1 || findings[0].Severity != SeverityError {
				t.Errorf("\nA secret should be refused.\n%s: Repair(%q): got %q, %v", e.Name, name, args, findings)
			}
		}
	}
}

// TestDialects makes sure that what the engines' files say of flags is true of
// the flags that there are.
func TestDialects(t *testing.T) {
	for _, e := range []Engine{vllm(t), sglang(t)} {
		own, err := e.dialect.flags()
		if err != nil {
			t.Fatalf("\nThe table should be readable.\n%s: %v", e.Name, err)
		}
		other, err := e.dialect.otherFlags()
		if err != nil {
			t.Fatalf("\nThe other table should be readable.\n%s: %v", e.Name, err)
		}
		if _, err := e.dialect.gone(); err != nil {
			t.Fatalf("\nThe removed flags should be readable.\n%s: %v", e.Name, err)
		}
		names := append([]string{e.dialect.utilization, flagDType, flagQuantization, flagKVCacheDType}, e.dialect.parallel...)
		for name := range e.dialect.owned {
			names = append(names, name)
		}
		for _, name := range e.dialect.shorthands {
			names = append(names, name)
		}
		for _, name := range names {
			if f, ok := own.flags[name]; !ok || f.name != name {
				t.Errorf("\nA flag should be there, under its canonical name.\n%s: %s", e.Name, name)
			}
		}
		for name, values := range e.dialect.synonyms {
			f := own.flags[name]
			for from, to := range values {
				if _, ok := choose(append(f.choices, f.known...), to); !ok {
					t.Errorf("\nA synonym should be of a value that there is.\n%s: %s %s for %s", e.Name, name, to, from)
				}
			}
		}
		for name, tr := range e.dialect.translations {
			if _, negated, ok := other.lookup(name); !ok || negated != (name[:5] == "--no-") {
				t.Errorf("\nA translation should be of a flag of the other engine.\n%s: %s", e.Name, name)
			}
			if _, _, ok := own.lookup(name); ok {
				t.Errorf("\nA flag that the engine has itself should not be translated.\n%s: %s", e.Name, name)
			}
			if tr.to == nil {
				continue
			}
			if to := tr.to([]string{"2"}, Server{TensorParallelSize: 2}); len(to) > 0 {
				if _, _, ok := own.lookup(cut(to[0])); !ok {
					t.Errorf("\nA translation should be to a flag of the engine.\n%s: %s to %s", e.Name, name, to)
				}
			}
		}
	}
}

func cut(arg string) string {
	for i := range arg {
		if arg[i] == '=' {
			return arg[:i]
		}
	}
	return arg
}
