package main

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/gpu"
	"github.com/aim-engine/function-aim/fn/model"
	"github.com/aim-engine/function-aim/fn/recipe"
)

// builtin recipes of all models, in their order.
func builtin(t *testing.T) (ids []string, all []recipe.Recipe) {
	t.Helper()
	ids, err := recipe.BuiltinModels()
	if err != nil || len(ids) == 0 {
		t.Fatalf("recipe.BuiltinModels(): %q, %v", ids, err)
	}
	for _, id := range ids {
		rs, err := recipe.Builtin(id)
		if err != nil {
			t.Fatalf("recipe.Builtin(%q): %v", id, err)
		}
		all = append(all, rs...)
	}
	return ids, all
}

// printed by a catalogCmd.
func printed(t *testing.T, output string, models ...string) string {
	t.Helper()
	out := &bytes.Buffer{}
	if err := (&catalogCmd{Models: models, Output: output}).run(out); err != nil {
		t.Fatalf("c.run(...): -o %s: %v", output, err)
	}
	return out.String()
}

// columns of a table's rows. More than one space separates them.
func columns(s string) [][]string {
	var rows [][]string
	for l := range strings.Lines(s) {
		var row []string
		for c := range strings.SplitSeq(strings.TrimSpace(l), "  ") {
			if c != "" {
				row = append(row, strings.TrimSpace(c))
			}
		}
		if len(row) > 0 {
			rows = append(rows, row)
		}
	}
	return rows
}

func TestCatalogTable(t *testing.T) {
	_, all := builtin(t)
	want := make([][]string, 0, 1+len(all))
	want = append(want, []string{"MODEL", "RECIPE", "HARDWARE", "PRECISION", "BACKEND", "GPUS"})
	for _, r := range all {
		n := make([]string, 0, len(r.Configurations))
		for _, c := range r.Configurations {
			s := strconv.Itoa(int(c.GPUCount))
			if c.Recommended {
				s += "*"
			}
			n = append(n, s)
		}
		want = append(want, []string{r.Model, r.Name, string(r.Hardware), string(r.Precision), string(r.Backend), strings.Join(n, ",")})
	}
	if diff := cmp.Diff(want, columns(printed(t, "table"))); diff != "" {
		t.Errorf("The table should have every built-in recipe.\nc.run(...): -want, +got:\n%s", diff)
	}
}

func TestCatalogOfModels(t *testing.T) {
	want := [][]string{
		{"MODEL", "RECIPE", "HARDWARE", "PRECISION", "BACKEND", "GPUS"},
		{"Qwen/Qwen3-8B", "qwen3-8b-mi210-bfloat16-vllm", "MI210", "bfloat16", "vllm", "1*,2,4"},
		{"Qwen/Qwen3-8B", "qwen3-8b-mi250-bfloat16-vllm", "MI250", "bfloat16", "vllm", "1*,2,4"},
		{"Qwen/Qwen3-8B", "qwen3-8b-mi300x-bfloat16-sglang", "MI300X", "bfloat16", "sglang", "1*,2,4"},
		{"Qwen/Qwen3-8B", "qwen3-8b-mi300x-bfloat16-vllm", "MI300X", "bfloat16", "vllm", "1*,2,4"},
		{"Qwen/Qwen3-8B", "qwen3-8b-mi325x-bfloat16-sglang", "MI325X", "bfloat16", "sglang", "1*,2,4"},
		{"Qwen/Qwen3-8B", "qwen3-8b-mi325x-bfloat16-vllm", "MI325X", "bfloat16", "vllm", "1*,2,4"},
		{"Qwen/Qwen3-8B", "qwen3-8b-mi350x-bfloat16-sglang", "MI350X", "bfloat16", "sglang", "1*,2,4"},
		{"Qwen/Qwen3-8B", "qwen3-8b-mi350x-bfloat16-vllm", "MI350X", "bfloat16", "vllm", "1*,2,4"},
		{"Qwen/Qwen3-8B", "qwen3-8b-mi355x-bfloat16-sglang", "MI355X", "bfloat16", "sglang", "1*,2,4"},
		{"Qwen/Qwen3-8B", "qwen3-8b-mi355x-bfloat16-vllm", "MI355X", "bfloat16", "vllm", "1*,2,4"},
	}
	if diff := cmp.Diff(want, columns(printed(t, "table", "Qwen/Qwen3-8B"))); diff != "" {
		t.Errorf("Only the models that are named should be listed.\nc.run(...): -want, +got:\n%s", diff)
	}

	for _, output := range []string{"table", "yaml", "choices"} {
		out := &bytes.Buffer{}
		err := (&catalogCmd{Models: []string{"acme/unheard-of"}, Output: output}).run(out)
		msg := ""
		if err != nil {
			msg = err.Error()
		}
		ids, _ := builtin(t)
		if diff := cmp.Diff(`there is no built-in recipe for model "acme/unheard-of"; there are some for `+strings.Join(ids, ", "), msg); diff != "" {
			t.Errorf("Whoever names a model that is not there should hear which ones are.\nc.run(...): -o %s: -want error, +got error:\n%s", output, diff)
		}
		if out.Len() > 0 {
			t.Errorf("Nothing should be printed of a model that is not there.\nc.run(...): -o %s printed %q", output, out)
		}
	}
}

// TestCatalogYAML makes sure that what is printed to be copied is right, and
// compiles into what it was printed from.
func TestCatalogYAML(t *testing.T) {
	out := printed(t, "yaml")
	found := &bytes.Buffer{}
	if err := (&lintCmd{Files: []string{"-"}, Output: "text"}).run(context.Background(), strings.NewReader(out), found); err != nil {
		t.Errorf("There should be nothing to find in built-in recipes.\nc.run(...): %v\n%s", err, found)
	}
	_, all := builtin(t)
	if diff := cmp.Diff("checked "+strconv.Itoa(len(all))+", found 0\n", found.String()); diff != "" {
		t.Errorf("There should be nothing to find in built-in recipes.\nc.run(...): -want, +got:\n%s", diff)
	}

	docs := slices.DeleteFunc(strings.Split(out, "---\n"), func(s string) bool { return s == "" })
	if len(docs) != len(all) {
		t.Fatalf("Every built-in recipe should be printed.\nc.run(...): %d documents, want %d", len(docs), len(all))
	}
	for i, want := range all {
		r := v1alpha1.AIMRecipe{}
		if err := yaml.UnmarshalStrict([]byte(docs[i]), &r); err != nil {
			t.Fatalf("%s: cannot parse what was printed: %v\n%s", want.Name, err, docs[i])
		}
		facts, known, err := model.Lookup(r.Spec.ModelID)
		if err != nil || !known {
			t.Fatalf("%s: model.Lookup(%q): %t, %v", want.Name, r.Spec.ModelID, known, err)
		}
		got := recipe.Compile(recipe.Reference{Name: r.GetName()}, r.Spec, &facts)
		if diff := cmp.Diff(want, got.Recipe, cmpopts.EquateEmpty(),
			cmpopts.IgnoreFields(recipe.Recipe{}, "Source"),
			// It is not of the API.
			cmpopts.IgnoreFields(recipe.Configuration{}, "Recommended"),
			cmpopts.IgnoreFields(recipe.Performance{}, "LatencyMs", "MaxBatchSize", "Source")); diff != "" {
			t.Errorf("A copy of a built-in recipe should run the same.\nrecipe.Compile(...): -want, +got:\n%s", diff)
		}
	}
}

func TestCatalogChoices(t *testing.T) {
	ids, _ := builtin(t)
	type key struct{ Model, Hardware string }
	want := make([]key, 0, len(ids)*len(gpu.All()))
	for _, id := range ids {
		for _, a := range gpu.All() {
			want = append(want, key{id, string(a.Name)})
		}
	}
	rows := columns(printed(t, "choices"))
	if diff := cmp.Diff([]string{"MODEL", "HARDWARE", "THROUGHPUT", "LATENCY", "COST"}, rows[0]); diff != "" {
		t.Errorf("c.run(...): -want, +got:\n%s", diff)
	}
	got := make([]key, 0, len(rows)-1)
	for _, r := range rows[1:] {
		if len(r) != 5 {
			t.Errorf("Each objective should have a choice, or a dash.\nc.run(...): %q", r)
		}
		got = append(got, key{r[0], r[1]})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("There should be a row for each model and hardware.\nc.run(...): -want, +got:\n%s", diff)
	}

	wantRow := []string{"Qwen/Qwen3-8B", "MI210", "1, bfloat16, vllm", "4, bfloat16, vllm", "1, bfloat16, vllm"}
	if diff := cmp.Diff(wantRow, columns(printed(t, "choices", "Qwen/Qwen3-8B"))[1]); diff != "" {
		t.Errorf("Throughput takes the recommended count, latency the most GPUs, cost the fewest.\nc.run(...): -want, +got:\n%s", diff)
	}
	rejected := columns(printed(t, "choices", "meta-llama/Llama-3.1-405B-Instruct"))[1]
	if diff := cmp.Diff([]string{"meta-llama/Llama-3.1-405B-Instruct", "MI210", "-", "-", "-"}, rejected); diff != "" {
		t.Errorf("Where nothing runs is a dash.\nc.run(...): -want, +got:\n%s", diff)
	}
}
