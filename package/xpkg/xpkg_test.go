package xpkg

import (
	"archive/tar"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pkgmetav1 "github.com/crossplane/crossplane/apis/v2/pkg/meta/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/test/tools"
)

const (
	testMain = `package main

var version = "unknown"

func main() { println(version) }
`
	testXRD = `apiVersion: apiextensions.crossplane.io/v1
kind: CompositeResourceDefinition
metadata:
  name: xthings.example.org
`
	testComposition = `apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata:
  name: xthings.example.org
`
	testInput = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: inputs.example.org
`
)

// A root is a small repository whose packages are described as ours are. Tests
// of how packages are built shouldn't fail because what's in them doesn't
// compile.
func root(t *testing.T, without ...string) string {
	t.Helper()
	files := map[string]string{
		"go.mod":                            "module example.org/root\n\ngo 1.26\n",
		"fn/main.go":                        testMain,
		"package/input/inputs.yaml":         testInput,
		"apis/xthings.yaml":                 testXRD,
		"apis/generate/main.go":             "package main\n",
		"compositions/xthings.yaml":         testComposition,
		"examples/not-a-package.yaml":       "kind: [\n",
		"package/crossplane.yaml":           read(t, "../crossplane.yaml"),
		"package/configuration/" + metaFile: read(t, "../configuration/"+metaFile),
	}
	for _, w := range without {
		delete(files, w)
	}
	dir := t.TempDir()
	for f, content := range files {
		path := filepath.Join(dir, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// crossplane returns the CLI, building it if need be.
func crossplane(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the crossplane CLI, which may have to be built")
	}
	if err := tools.Build(t.Context(), os.Stderr, tools.CrossplaneCLI); err != nil {
		t.Fatal(err)
	}
	cli, err := tools.Path(tools.CrossplaneCLI)
	if err != nil {
		t.Fatal(err)
	}
	return cli
}

func TestBuildRefuses(t *testing.T) {
	// Any program will do: none of these get as far as running it.
	ok := func(o Options) Options {
		o.CLI, o.Registry, o.Version, o.Arches = "go", "127.0.0.1:5055/aim-engine", "v0.1.0", []string{"amd64"}
		return o
	}

	cases := map[string]struct {
		reason string
		o      Options
		want   string
	}{
		"NoCLI": {
			reason: "Without the CLI we should say what's missing.",
			o:      Options{CLI: "/does/not/exist/crossplane"},
			want:   `cannot find the crossplane CLI "/does/not/exist/crossplane"`,
		},
		"NoSuchCLIInPath": {
			reason: "A bare name is looked up in PATH.",
			o:      Options{CLI: "no-such-crossplane"},
			want:   `cannot find the crossplane CLI "no-such-crossplane"`,
		},
		"NoVersion": {
			reason: "A version is required.",
			o:      func() Options { o := ok(Options{}); o.Version = ""; return o }(),
			want:   `cannot use version ""`,
		},
		"NotAVersion": {
			reason: "The package manager can't compare other tags to a constraint.",
			o:      func() Options { o := ok(Options{}); o.Version = "latest"; return o }(),
			want:   `cannot use version "latest"`,
		},
		"PartOfAVersion": {
			reason: "The package manager ignores incomplete versions.",
			o:      func() Options { o := ok(Options{}); o.Version = "v0.1"; return o }(),
			want:   `cannot use version "v0.1"`,
		},
		"BuildMetadata": {
			reason: "An OCI tag can't contain a plus sign.",
			o:      func() Options { o := ok(Options{}); o.Version = "v0.1.0+abc"; return o }(),
			want:   `cannot use version "v0.1.0+abc"`,
		},
		"NoRegistry": {
			reason: "A dependency must be fully qualified.",
			o:      func() Options { o := ok(Options{}); o.Registry = "aim-engine"; return o }(),
			want:   `cannot use registry "aim-engine"`,
		},
		"NoArch": {
			reason: "A function without a runtime can't run.",
			o:      func() Options { o := ok(Options{}); o.Arches = nil; return o }(),
			want:   "cannot build a function for no architecture",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.o.Root, tc.o.Out = t.TempDir(), t.TempDir()
			_, err := Build(t.Context(), tc.o)
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("\n%s\nBuild(...): want error %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

func TestBuildFails(t *testing.T) {
	cases := map[string]struct {
		reason  string
		without []string
		want    string
	}{
		"NoFunction": {
			reason:  "We should say why the function doesn't compile.",
			without: []string{"fn/main.go"},
			want:    "cannot build the function's runtime image for amd64: cannot run go build -buildvcs=false: stat ",
		},
		"NoComposition": {
			reason:  "A configuration without any Composition does nothing.",
			without: []string{"compositions/xthings.yaml"},
			want:    "cannot put together the configuration package: cannot find any YAML file in ",
		},
		"NoMeta": {
			reason:  "A package must say what it is.",
			without: []string{"package/crossplane.yaml"},
			want:    "cannot put together the function package: cannot read what to package",
		},
	}
	cli := crossplane(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out := t.TempDir()
			_, err := Build(t.Context(), Options{
				Root: root(t, tc.without...), Out: out, CLI: cli,
				Registry: "127.0.0.1:5055/aim-engine", Version: "v0.1.0", Arches: []string{"amd64"},
			})
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("\n%s\nBuild(...): want error %q, got %v", tc.reason, tc.want, err)
			}
			left, err := filepath.Glob(filepath.Join(out, ".*"))
			if err != nil {
				t.Fatal(err)
			}
			if len(left) > 0 {
				t.Errorf("\n%s\nBuild(...): left %v behind", tc.reason, left)
			}
		})
	}
}

func TestBuild(t *testing.T) {
	cli := crossplane(t)
	out := filepath.Join(t.TempDir(), "not", "there", "yet")
	o := Options{
		Root: root(t), Out: out, CLI: cli,
		Registry: "127.0.0.1:5055/aim-engine", Version: "v0.1.0-dev.1", Arches: []string{"amd64", "arm64"},
		Progress: t.Output(),
	}
	got, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := &Packages{
		Function: []string{
			filepath.Join(out, "function-aim-v0.1.0-dev.1-amd64.xpkg"),
			filepath.Join(out, "function-aim-v0.1.0-dev.1-arm64.xpkg"),
		},
		Configuration:    filepath.Join(out, "configuration-aim-v0.1.0-dev.1.xpkg"),
		FunctionRef:      "127.0.0.1:5055/aim-engine/function-aim:v0.1.0-dev.1",
		ConfigurationRef: "127.0.0.1:5055/aim-engine/configuration-aim:v0.1.0-dev.1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("Build(...): -want, +got:\n%s", diff)
	}

	for i, arch := range o.Arches {
		t.Run("Function/"+arch, func(t *testing.T) {
			img := load(t, got.Function[i])
			cfg, err := img.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			wantConfig := &v1.ConfigFile{
				OS:           "linux",
				Architecture: arch,
				Config: v1.Config{
					Entrypoint:   []string{"/function-aim"},
					User:         "65532:65532",
					ExposedPorts: map[string]struct{}{"9443/tcp": {}, "8080/tcp": {}},
				},
			}
			// Labels say which layer is which, by digest.
			if diff := cmp.Diff(wantConfig, cfg, cmpopts.IgnoreFields(v1.ConfigFile{}, "RootFS", "History"), cmpopts.IgnoreFields(v1.Config{}, "Labels")); diff != "" {
				t.Errorf("ConfigFile(): -want, +got:\n%s", diff)
			}
			for _, h := range cfg.History {
				if !h.Created.IsZero() {
					t.Errorf("History: got a layer that was created at %s, want zero", h.Created)
				}
			}

			pkg := parse(t, img)
			if diff := cmp.Diff([]string{"Function.meta.pkg.crossplane.io", "CustomResourceDefinition.apiextensions.k8s.io"}, kinds(pkg)); diff != "" {
				t.Errorf("parse(...): -want, +got:\n%s", diff)
			}
			f := &pkgmetav1.Function{}
			if err := convert(pkg[0], f); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"composition"}, f.Spec.Capabilities); diff != "" {
				t.Errorf("Capabilities: -want, +got:\n%s", diff)
			}
		})
	}

	t.Run("Configuration", func(t *testing.T) {
		pkg := parse(t, load(t, got.Configuration))
		if diff := cmp.Diff([]string{"Configuration.meta.pkg.crossplane.io", "CompositeResourceDefinition.apiextensions.crossplane.io", "Composition.apiextensions.crossplane.io"}, kinds(pkg)); diff != "" {
			t.Errorf("parse(...): -want, +got:\n%s", diff)
		}
		c := &pkgmetav1.Configuration{}
		if err := convert(pkg[0], c); err != nil {
			t.Fatal(err)
		}
		wantDeps := []pkgmetav1.Dependency{
			{
				APIVersion: ptr.To("pkg.crossplane.io/v1"), Kind: ptr.To("Function"),
				Package: ptr.To("127.0.0.1:5055/aim-engine/function-aim"), Version: ">=v0.1.0-dev.1",
			},
			{
				APIVersion: ptr.To("pkg.crossplane.io/v1"), Kind: ptr.To("Provider"),
				Package: ptr.To("xpkg.crossplane.io/crossplane-contrib/provider-kubernetes"), Version: ">=v1.2.0",
			},
		}
		if diff := cmp.Diff(wantDeps, c.Spec.DependsOn); diff != "" {
			t.Errorf("DependsOn: -want, +got:\n%s", diff)
		}
	})

	t.Run("Reproducible", func(t *testing.T) {
		// The same content in another folder.
		again := o
		again.Root, again.Out = root(t), t.TempDir()
		p, err := Build(t.Context(), again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(digests(t, got), digests(t, p)); diff != "" {
			t.Errorf("Build(...): digests of the same inputs: -first, +second:\n%s", diff)
		}
	})
}

func TestPush(t *testing.T) {
	cli := crossplane(t)
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	reg := strings.TrimPrefix(srv.URL, "http://") + "/aim-engine"

	p, err := Build(t.Context(), Options{
		Root: root(t), Out: t.TempDir(), CLI: cli,
		Registry: reg, Version: "v0.1.0", Arches: []string{"amd64", "arm64"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Push(t.Context(), cli); err != nil {
		t.Fatal(err)
	}

	// Both architectures' packages are behind one reference.
	ref, err := name.ParseReference(p.FunctionRef)
	if err != nil {
		t.Fatal(err)
	}
	idx, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	m, err := idx.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]string, 0, len(m.Manifests))
	for _, d := range m.Manifests {
		got = append(got, d.Platform.String())
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, got); diff != "" {
		t.Errorf("Push(...): platforms of %s: -want, +got:\n%s", p.FunctionRef, diff)
	}

	img, err := crane.Pull(p.ConfigurationRef)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(kinds(parse(t, img))); n != 3 {
		t.Errorf("Push(...): got a configuration of %d objects, want 3", n)
	}

	t.Run("NoFiles", func(t *testing.T) {
		if err := Push(t.Context(), cli, p.FunctionRef); err == nil {
			t.Error("Push(...): want an error when there's nothing to push")
		}
	})
	t.Run("NoRegistry", func(t *testing.T) {
		srv.Close()
		err := Push(t.Context(), cli, p.ConfigurationRef, p.Configuration)
		if want := "cannot push " + p.ConfigurationRef; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Push(...): want error %q, got %v", want, err)
		}
	})
}

// TestDockerfile makes sure that those who build with Docker get what we build.
func TestDockerfile(t *testing.T) {
	dockerfile := read(t, "../../Dockerfile")
	for _, want := range []string{
		`CGO_ENABLED=0`,
		`go build -buildvcs=false -trimpath -ldflags "-s -w -X main.version=${VERSION}"`,
		`ENTRYPOINT ["` + entrypoint + `"]`,
		"USER " + user,
		"EXPOSE 9443 8080",
	} {
		if !strings.Contains(dockerfile, want) {
			t.Errorf("Dockerfile: cannot find %q", want)
		}
	}
}

func load(t *testing.T, file string) v1.Image {
	t.Helper()
	img, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// digests of what's in package files.
func digests(t *testing.T, p *Packages) []string {
	t.Helper()
	files := append(slices.Clone(p.Function), p.Configuration)
	ds := make([]string, 0, len(files))
	for _, f := range files {
		d, err := load(t, f).Digest()
		if err != nil {
			t.Fatal(err)
		}
		ds = append(ds, filepath.Base(f)+" "+d.String())
	}
	return ds
}

// parse the objects that a package consists of. The crossplane CLI, which wrote
// them, refuses what doesn't belong into a package.
func parse(t *testing.T, img v1.Image) []*unstructured.Unstructured {
	t.Helper()
	fs := mutate.Extract(img)
	t.Cleanup(func() { _ = fs.Close() })
	tr := tar.NewReader(fs)
	for {
		h, err := tr.Next()
		if err != nil {
			t.Fatalf("cannot find package.yaml: %v", err)
		}
		if h.Name == "package.yaml" {
			break
		}
	}
	objs := make([]*unstructured.Unstructured, 0)
	d := utilyaml.NewYAMLOrJSONDecoder(tr, 4096)
	for {
		u := &unstructured.Unstructured{}
		if err := d.Decode(u); err != nil {
			if errors.Is(err, io.EOF) {
				return objs
			}
			t.Fatal(err)
		}
		if len(u.Object) > 0 {
			objs = append(objs, u)
		}
	}
}

// convert an object to what it should be, without ignoring anything.
func convert(from *unstructured.Unstructured, to any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(from.Object, to, true)
}

func kinds(objs []*unstructured.Unstructured) []string {
	ks := make([]string, 0, len(objs))
	for _, o := range objs {
		ks = append(ks, o.GroupVersionKind().GroupKind().String())
	}
	return ks
}
