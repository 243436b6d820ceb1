package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Recipes without findings, with a warning, with errors, and that the schema
// refuses.
const (
	goodRecipe = `
apiVersion: aim.engine.amd.com/v1alpha1
kind: AIMRecipe
metadata: {name: good, namespace: team-a}
spec:
  modelId: Qwen/Qwen3-8B
  hardware: MI300X
  precision: bfloat16
  backend: vllm
  configurations:
  - gpuCount: 1
    args: [--max-model-len, "32768"]
`
	warnedRecipe = `
apiVersion: aim.engine.amd.com/v1alpha1
kind: AIMRecipe
metadata: {name: warned, namespace: team-a}
spec:
  modelId: Qwen/Qwen3-8B
  hardware: MI300X
  precision: bfloat16
  backend: vllm
  configurations:
  - gpuCount: 1
    args: [--swap-space, "16"]
`
	wrongRecipe = `
apiVersion: aim.engine.amd.com/v1alpha1
kind: XAIMRecipe
metadata: {name: wrong}
spec:
  modelId: acme/unheard-of
  hardware: MI210
  precision: float8
  backend: vllm
  configurations:
  - gpuCount: 1
    args: [--frobnicate]
    env: [{name: HF_TOKEN, value: hf_ThisMustNotBeSeen}]
`
	refusedRecipe = `
apiVersion: aim.engine.amd.com/v1alpha1
kind: AIMRecipe
metadata: {name: refused, namespace: team-a}
spec:
  modelId: Qwen/Qwen3-8B
  hardware: MI300X
  precision: bfloat16
  backend: vllm
  configurations:
  - gpuCounts: 1
    gpuCount: 9
`
	someDeployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: other}\n"
)

func TestLint(t *testing.T) {
	type want struct {
		out      string
		findings []lintFinding
		err      string
	}
	const swap = `"--swap-space 16": is gone from vLLM: removed`
	const refused = "spec.configurations[0].gpuCount: Invalid value: 9: must be 1 to 8: a replica runs on the GPUs of one node; unknown field spec.configurations[0].gpuCounts"
	wrong := func(file string, doc int) []lintFinding {
		of := func(severity, path, message string) lintFinding {
			return lintFinding{File: file, Document: doc, Kind: "XAIMRecipe", Name: "wrong", Severity: severity, Path: path, Message: message}
		}
		return []lintFinding{
			of("Error", "spec.precision", "MI210 (gfx90a) does not run precision float8"),
			of("Error", "spec.configurations[0].args", `"--frobnicate": is no flag of vLLM: remove it`),
			of("Warning", "spec.configurations[0].env[0]", "HF_TOKEN looks like a secret that everybody can read here: put it into a Secret, and use valueFrom.secretKeyRef"),
		}
	}

	cases := map[string]struct {
		reason string
		output string
		files  map[string]string
		args   []string
		stdin  string
		want   want
	}{
		"Good": {
			reason: "A person wants to know that something was checked.",
			output: "text",
			files:  map[string]string{"good.yaml": goodRecipe},
			args:   []string{"good.yaml"},
			want:   want{out: "checked 1, found 0\n"},
		},
		"GoodJSON": {
			reason: "A program wants a list, even if it is empty.",
			output: "json",
			stdin:  goodRecipe,
			args:   []string{"-"},
			want:   want{out: "[]\n", findings: []lintFinding{}},
		},
		"Warnings": {
			reason: "What was dealt with is no reason to fail.",
			output: "text",
			files:  map[string]string{"warned.yaml": warnedRecipe},
			args:   []string{"warned.yaml"},
			want:   want{out: "warned.yaml: AIMRecipe warned: warning: spec.configurations[0].args: " + swap + "\nchecked 1, found 1\n"},
		},
		"Errors": {
			reason: "A script should see that something is wrong. A secret must not be seen.",
			output: "text",
			stdin:  wrongRecipe,
			args:   []string{"-"},
			want: want{
				out: "-: XAIMRecipe wrong: error: spec.precision: MI210 (gfx90a) does not run precision float8\n" +
					"-: XAIMRecipe wrong: error: spec.configurations[0].args: \"--frobnicate\": is no flag of vLLM: remove it\n" +
					"-: XAIMRecipe wrong: warning: spec.configurations[0].env[0]: HF_TOKEN looks like a secret that everybody can read here: put it into a Secret, and use valueFrom.secretKeyRef\n" +
					"checked 1, found 3\n",
				err: "2 of the findings are errors",
			},
		},
		"Schema": {
			reason: "What kubectl apply would refuse is refused here, with the same words.",
			output: "text",
			stdin:  refusedRecipe,
			args:   []string{"-"},
			want:   want{out: "-: AIMRecipe refused: error: " + refused + "\nchecked 1, found 1\n", err: "1 of the findings is an error"},
		},
		"UnknownVersion": {
			reason: "It is of this API, and cannot be applied.",
			output: "text",
			stdin:  strings.Replace(goodRecipe, "v1alpha1", "v9", 1),
			args:   []string{"-"},
			want:   want{out: "-: AIMRecipe good: error: there is no kind AIMRecipe in aim.engine.amd.com/v9\nchecked 1, found 1\n", err: "1 of the findings is an error"},
		},
		"OtherKinds": {
			reason: "Of endpoints the schema is checked. What is not of this API is not ours to check.",
			output: "json",
			stdin:  strings.Join([]string{someDeployment, chat, strings.Replace(chat, "hardware", "hardwear", 1)}, "---\n"),
			args:   []string{"-"},
			want: want{
				findings: []lintFinding{{File: "-", Document: 3, Kind: "AIMEndpoint", Name: "chat", Severity: "Error", Message: "unknown field spec.recipe.hardwear"}},
				err:      "1 of the findings is an error",
			},
		},
		"SeveralFilesAndDocuments": {
			reason: "Each finding says where it is, in the order in which files were named. Documents that are empty or not ours count.",
			output: "json",
			files:  map[string]string{"a.yaml": goodRecipe + "---\n" + wrongRecipe, "b.yaml": warnedRecipe + "---\n\n---\n" + someDeployment + "---\n" + refusedRecipe},
			args:   []string{"b.yaml", "a.yaml"},
			want: want{
				findings: append([]lintFinding{
					{File: "b.yaml", Document: 1, Kind: "AIMRecipe", Name: "warned", Severity: "Warning", Path: "spec.configurations[0].args", Message: swap},
					{File: "b.yaml", Document: 4, Kind: "AIMRecipe", Name: "refused", Severity: "Error", Message: refused},
				}, wrong("a.yaml", 2)...),
				err: "3 of the findings are errors",
			},
		},
		"Nothing": {
			reason: "A file that was named by mistake would otherwise seem to be good.",
			output: "text",
			stdin:  someDeployment,
			args:   []string{"-"},
			want:   want{err: "there is nothing to check: no document is of aim.engine.amd.com"},
		},
		"NoFile": {
			reason: "Which file.",
			output: "json",
			args:   []string{"missing.yaml"},
			want:   want{err: "cannot read missing.yaml: open missing.yaml: no such file or directory"},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for n, s := range tc.files {
				if err := os.WriteFile(n, []byte(s), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out := &bytes.Buffer{}
			c := &lintCmd{Files: tc.args, Output: tc.output}
			err := c.run(context.Background(), strings.NewReader(tc.stdin), out)

			got := want{out: out.String()}
			if err != nil {
				got.err = err.Error()
			}
			if tc.output == "json" && out.Len() > 0 {
				if err := json.Unmarshal(out.Bytes(), &got.findings); err != nil {
					t.Fatalf("%s\nc.run(...): printed %q: %v", tc.reason, out, err)
				}
				if tc.want.out == "" {
					got.out = ""
				}
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s\nc.run(...): -want, +got:\n%s", tc.reason, diff)
			}
			if strings.Contains(out.String(), "hf_ThisMustNotBeSeen") {
				t.Errorf("A secret should never be printed.\nc.run(...): printed\n%s", out)
			}
		})
	}
}

// TestLintExamples makes sure that nothing in the examples is wrong.
func TestLintExamples(t *testing.T) {
	out := &bytes.Buffer{}
	c := &lintCmd{Files: []string{"../examples/recipe-operator/recipe.yaml", "../examples/qwen3-32b/claim.yaml"}, Output: "text"}
	if err := c.run(context.Background(), nil, out); err != nil {
		t.Errorf("c.run(...): %v\n%s", err, out)
	}
}
