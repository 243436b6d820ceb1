// Package render shows what a pipeline with our function renders, as Crossplane
// itself does it: once by the command line tool of Crossplane 2, which runs the
// real reconciler and sends required resources, and once by that of Crossplane
// 1.20, which knows extra resources only. What they render is kept in testdata,
// for people to read; a real API server must take it.
package render

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aim-engine/function-aim/test/tools"
)

var update = flag.Bool("update", false, "Write what is rendered to testdata, rather than compare it.")

const (
	// root of the module.
	root = "../.."

	composition = root + "/compositions/aimendpoint.yaml"
	definition  = root + "/apis/xaimendpoints.yaml"
)

// TestRender renders each case of testdata. A case is a folder of a composite
// and, where there are any, composed resources that were observed and other
// objects of the cluster.
//
// Read what changes in a golden file as if you had to run it. Neither tool is
// all that Crossplane is: that of Crossplane 2 does not take away from a status
// what we stopped reporting (the candidates in keeps/want-2.yaml), and that of
// Crossplane 1.20 asks only the composed resources whether a composite is ready
// (keeps/want-1.yaml says that it is).
func TestRender(t *testing.T) {
	if testing.Short() {
		t.Skip("This test runs Crossplane's command line tools.")
	}
	if err := tools.Build(t.Context(), os.Stderr, tools.CrossplaneCLI, tools.CrossplaneCore, tools.Crank); err != nil {
		t.Fatal(err)
	}
	functions := serve(t)

	cases := map[string]struct {
		reason string
	}{
		"fresh":      {reason: "Nothing is there yet, and all names are free."},
		"running":    {reason: "All is as it should be: composites and claims are ready, and nobody is told anything."},
		"degraded":   {reason: "One of two replicas has no GPU. The scheduler's words reach the claim."},
		"everything": {reason: "All that can be asked for, at once: autoscaling, a cache, a load balancer, a user who is not root, a token."},
		"impossible": {reason: "No recipe meets the constraints. What there is, and what to change, is in the condition."},
		"conflict":   {reason: "A stranger has a Deployment of the same name. Crossplane 1.20 cannot tell us of it, and composes."},
		"keeps":      {reason: "The model was changed to one that nobody knows. What runs stays as it is."},
	}

	dirs, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if _, ok := cases[filepath.Base(d)]; !ok {
			t.Errorf("%s is not tested", d)
		}
	}
	if *update {
		golden(t, "", "testdata/fresh/want-2.yaml", crossplane2(t, "testdata/fresh", functions))
		observe(t)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("testdata", name)
			t.Run("Crossplane2", func(t *testing.T) {
				golden(t, tc.reason, filepath.Join(dir, "want-2.yaml"), crossplane2(t, dir, functions))
			})
			t.Run("Crossplane1", func(t *testing.T) {
				golden(t, tc.reason, filepath.Join(dir, "want-1.yaml"), crossplane1(t, dir, functions))
			})
		})
	}
}

// crossplane2 renders by the CLI of Crossplane 2, whose engine is Crossplane's
// own binary.
func crossplane2(t *testing.T, dir, functions string) []byte {
	t.Helper()
	args := []string{
		"composition", "render", filepath.Join(dir, "xr.yaml"), composition, functions,
		"--crossplane-binary=" + path(t, tools.CrossplaneCore),
		// Without its definition a composite would be rendered as a modern one.
		"--xrd=" + definition,
		"--include-full-xr", "--include-function-results", "--include-context",
	}
	if f := filepath.Join(dir, "observed.yaml"); exists(f) {
		args = append(args, "--observed-resources="+f)
	}
	if f := filepath.Join(dir, "required.yaml"); exists(f) {
		args = append(args, "--required-resources="+f)
	}
	return ordered(output(t, path(t, tools.CrossplaneCLI), args...))
}

// ordered results. Crossplane 2 says which resources are not ready in no
// particular order.
func ordered(docs []byte) []byte {
	const separator = "---\n"
	rest, results := []string{}, []string{}
	at := 0
	for d := range strings.SplitSeq(string(docs), separator) {
		if !strings.Contains(d, "\nkind: Result\n") {
			rest = append(rest, d)
			continue
		}
		at = len(rest)
		results = append(results, d)
	}
	// Ours come first.
	slices.SortStableFunc(results, func(a, b string) int {
		if ours := strings.Contains(b, "Pipeline step"); ours != strings.Contains(a, "Pipeline step") {
			if ours {
				return 1
			}
			return -1
		}
		return strings.Compare(a, b)
	})
	return []byte(strings.Join(slices.Insert(rest, at, results...), separator))
}

// crossplane1 renders by the CLI of Crossplane 1.20.
func crossplane1(t *testing.T, dir, functions string) []byte {
	t.Helper()
	args := []string{
		"render", filepath.Join(dir, "xr.yaml"), composition, functions,
		"--include-full-xr", "--include-function-results", "--include-context",
	}
	if f := filepath.Join(dir, "observed.yaml"); exists(f) {
		args = append(args, "--observed-resources="+f)
	}
	if f := filepath.Join(dir, "required.yaml"); exists(f) {
		args = append(args, "--extra-resources="+f)
	}
	return output(t, path(t, tools.Crank), args...)
}

// golden compares with a file, or writes it.
func golden(t *testing.T, reason, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("cannot read what is wanted (go test ./test/render -update writes it): %v", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s\n%s: -want, +got (go test ./test/render -update writes it, if it is right):\n%s", reason, file, diff)
	}
}

func path(t *testing.T, tool string) string {
	t.Helper()
	p, err := tools.Path(tool)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// output of a program. It is not supposed to complain.
func output(t *testing.T, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	stdout, stderr := &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("cannot run %s %v: %v\n%s", filepath.Base(program), args, err, stderr)
	}
	return stdout.Bytes()
}
