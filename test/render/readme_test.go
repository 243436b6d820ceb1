package render

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	xpv1 "github.com/crossplane/crossplane/apis/v2/apiextensions/v1"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/test/tools"
)

// console blocks of a README: a command, which may go on over lines of a here
// document, and what it prints.
var console = regexp.MustCompile("(?s)```console\n\\$ (.*?)\n```\n")

// TestReadme runs the commands in the examples' README, and compares what they
// print with what it says that they print. Nobody should have to wonder whether
// documentation is of this version.
func TestReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("This test runs Crossplane's command line tools.")
	}
	if err := tools.Build(t.Context(), os.Stderr, tools.CrossplaneCLI, tools.CrossplaneCore, tools.Crank); err != nil {
		t.Fatal(err)
	}
	functions := serve(t)

	// The tools are called what they are called where they were installed.
	bin := t.TempDir()
	for name, target := range map[string]string{
		"function-aim":    build(t),
		"crossplane":      path(t, tools.CrossplaneCLI),
		"crossplane-core": path(t, tools.CrossplaneCore),
		"crossplane-1.20": path(t, tools.Crank),
	} {
		if err := os.Symlink(target, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}

	readme := filepath.Join(root, "examples", "README.md")
	want, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	got := console.ReplaceAllFunc(want, func(block []byte) []byte {
		command := commandOf(string(console.FindSubmatch(block)[1]))
		cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(command, "examples/functions.yaml", functions))
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		// Some of them are meant to fail, and what they say is what is shown.
		out, _ := cmd.CombinedOutput()
		return []byte("```console\n$ " + command + "\n" + strings.TrimRight(string(out), "\n") + "\n```\n")
	})
	if *update {
		if err := os.WriteFile(readme, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: -want, +got (go test ./test/render -update writes it, if it is right):\n%s", readme, diff)
	}
}

// commandOf a block: its first line, and the here document that it begins.
func commandOf(block string) string {
	lines := strings.Split(block, "\n")
	if !strings.Contains(lines[0], "<<EOF") {
		return lines[0]
	}
	for i, l := range lines {
		if l == "EOF" {
			return strings.Join(lines[:i+1], "\n")
		}
	}
	return block
}

// TestExampleComposition renders with the platform's Composition, as the
// examples' functions.yaml and Crossplane understand it.
func TestExampleComposition(t *testing.T) {
	if testing.Short() {
		t.Skip("This test runs Crossplane's command line tools.")
	}
	if err := tools.Build(t.Context(), os.Stderr, tools.CrossplaneCLI, tools.CrossplaneCore); err != nil {
		t.Fatal(err)
	}

	platform := root + "/examples/platform/composition.yaml"
	b, err := os.ReadFile(platform)
	if err != nil {
		t.Fatal(err)
	}
	c := &xpv1.Composition{}
	if err := yaml.UnmarshalStrict(b, c); err != nil {
		t.Fatalf("cannot parse %s: %v", platform, err)
	}
	functions := read(t, root+"/examples/functions.yaml")
	if diff := cmp.Diff(c.Spec.Pipeline[0].FunctionRef.Name, functions[0].GetName()); diff != "" {
		t.Errorf("examples/functions.yaml: -want function, +got function:\n%s", diff)
	}

	out := output(t, path(t, tools.CrossplaneCLI), "composition", "render", root+"/examples/qwen3-32b/xr.yaml", platform, serve(t),
		"--xrd="+definition, "--crossplane-binary="+path(t, tools.CrossplaneCore))
	f := filepath.Join(t.TempDir(), "out.yaml")
	if err := os.WriteFile(f, out, 0o600); err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	for _, m := range manifests(t, read(t, f)) {
		switch m.GetKind() {
		case "Deployment":
			containers, _, _ := unstructured.NestedSlice(m.Object, "spec", "template", "spec", "containers")
			got["image"] = containers[0].(map[string]any)["image"]
			tolerations, _, _ := unstructured.NestedSlice(m.Object, "spec", "template", "spec", "tolerations")
			got["tolerations"] = len(tolerations)
		case "PersistentVolumeClaim":
			got["class"], _, _ = unstructured.NestedString(m.Object, "spec", "storageClassName")
		}
	}
	want := map[string]any{
		"image":       "registry.example.com/mirror/vllm-openai-rocm:v0.22.1-gfx942",
		"tolerations": 2,
		"class":       "fast-local",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("What %s decides: -want, +got:\n%s", platform, diff)
	}
}
