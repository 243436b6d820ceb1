// Package tools builds the programs that the local control plane and the
// checks need, from source, at versions pinned in this tree.
//
// Every tool belongs to one module folder below this one. That folder's go.mod
// is the only place that says which version is used, and its go.sum says what
// exactly that version is. Binaries go to .cache/bin, named after what they
// were built from, so a second run builds nothing and an old binary is never
// taken for a new one.
package tools

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Names of the tools.
const (
	Etcd                  = "etcd"
	KubeAPIServer         = "kube-apiserver"
	KubeControllerManager = "kube-controller-manager"
	KubeScheduler         = "kube-scheduler"
	Kwok                  = "kwok"
	CrossplaneCore        = "crossplane-core"
	CrossplaneCLI         = "crossplane"
	ProviderKubernetes    = "provider-kubernetes"
	PrometheusAdapter     = "prometheus-adapter"
	Crank                 = "crank"
	ControllerGen         = "controller-gen"
	GolangciLint          = "golangci-lint"
)

// rootModule is the module whose folder is the root of the repository.
const rootModule = "github.com/aim-engine/function-aim"

// A Tool is a program that is built from a pinned module.
type Tool struct {
	// Name of the binary.
	Name string

	// Folder below test/tools that holds the go.mod that pins this tool.
	Folder string

	// Module that is required by that go.mod. Its version is the tool's.
	Module string

	// Import path of the main package.
	Import string

	// versionVars are Go string variables that are set to the tool's version
	// when it is linked. Without them the program doesn't know its version.
	versionVars []string

	// vars are other Go string variables to set at link time.
	vars map[string]string

	// patches are edits of the tool's own source, made on a copy.
	patches []patch

	// versionArgs make the program print its version. Empty if it can't; then
	// the version that the Go linker recorded is checked instead.
	versionArgs []string
}

// A patch replaces exactly one occurrence of a text in a file of the tool's
// module.
type patch struct {
	file string
	old  string
	new  string
}

// metricsOff is a variable of controller-runtime. Programs that have no flag
// for it serve metrics on port 8080 of every interface, so two of them could
// not run side by side. "0" means no metrics.
const metricsOff = "sigs.k8s.io/controller-runtime/pkg/metrics/server.DefaultBindAddress"

// All returns every tool, in the order in which they are built.
func All() []Tool {
	return []Tool{
		{
			Name: ControllerGen, Folder: "controller-gen", Module: "sigs.k8s.io/controller-tools",
			Import:      "sigs.k8s.io/controller-tools/cmd/controller-gen",
			versionArgs: []string{"--version"},
		},
		{
			Name: Etcd, Folder: "kubernetes", Module: "go.etcd.io/etcd/server/v3",
			Import:      "go.etcd.io/etcd/server/v3",
			versionArgs: []string{"--version"},
		},
		kubernetes(KubeAPIServer),
		kubernetes(KubeControllerManager),
		kubernetes(KubeScheduler),
		{
			Name: CrossplaneCore, Folder: "crossplane", Module: "github.com/crossplane/crossplane/v2",
			Import: "github.com/crossplane/crossplane/v2/cmd/crossplane",
			// Which of these it reads depends on the release. A variable that
			// doesn't exist is ignored by the linker.
			versionVars: []string{
				"github.com/crossplane/crossplane/v2/internal/version.version",
				"github.com/crossplane/crossplane-runtime/v2/pkg/version.version",
			},
			// This is for the RBAC manager: core has a flag.
			vars:        map[string]string{metricsOff: "0"},
			versionArgs: []string{"--version"},
		},
		{
			Name: Kwok, Folder: "kwok", Module: "sigs.k8s.io/kwok",
			Import:      "sigs.k8s.io/kwok/cmd/kwok",
			versionArgs: []string{"--version"},
		},
		{
			Name: CrossplaneCLI, Folder: "cli", Module: "github.com/crossplane/cli/v2",
			Import:      "github.com/crossplane/cli/v2/cmd/crossplane",
			versionVars: []string{"github.com/crossplane/crossplane-runtime/v2/pkg/version.version"},
			versionArgs: []string{"version", "--client"},
		},
		{
			Name: ProviderKubernetes, Folder: "provider-kubernetes", Module: "github.com/crossplane-contrib/provider-kubernetes",
			Import:      "github.com/crossplane-contrib/provider-kubernetes/cmd/provider",
			versionVars: []string{"github.com/crossplane-contrib/provider-kubernetes/internal/version.Version"},
			vars:        map[string]string{metricsOff: "0"},
			// 1.2.1 always serves its conversion webhook on port 9443 of every
			// interface. 1.3.0 has a flag for that, but can't be built here.
			// Nothing calls this webhook, so only its address is changed.
			patches: []patch{{
				file: "cmd/provider/main.go",
				old:  "CertDir: certDir,\n",
				new: "CertDir: certDir,\n" +
					"\t\t\tHost: os.Getenv(\"WEBHOOK_HOST\"),\n" +
					"\t\t\tPort: func() int { var p int; _, _ = fmt.Sscan(os.Getenv(\"WEBHOOK_PORT\"), &p); return p }(),\n",
			}},
		},
		{
			Name: PrometheusAdapter, Folder: "prometheus-adapter", Module: "sigs.k8s.io/prometheus-adapter",
			Import: "sigs.k8s.io/prometheus-adapter/cmd/adapter",
		},
		{
			Name: GolangciLint, Folder: "golangci-lint", Module: "github.com/golangci/golangci-lint/v2",
			Import:      "github.com/golangci/golangci-lint/v2/cmd/golangci-lint",
			versionArgs: []string{"--version"},
		},
		{
			Name: Crank, Folder: "crossplane-v1", Module: "github.com/crossplane/crossplane",
			Import:      "github.com/crossplane/crossplane/cmd/crank",
			versionVars: []string{"github.com/crossplane/crossplane/internal/version.version"},
			versionArgs: []string{"version", "--client"},
		},
	}
}

func kubernetes(name string) Tool {
	return Tool{
		Name: name, Folder: "kubernetes", Module: "k8s.io/kubernetes",
		Import:      "k8s.io/kubernetes/cmd/" + name,
		versionVars: []string{"k8s.io/component-base/version.gitVersion"},
		versionArgs: []string{"--version"},
	}
}

// Get returns the named tool.
func Get(name string) (Tool, error) {
	names := make([]string, 0)
	for _, t := range All() {
		if t.Name == name {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return Tool{}, fmt.Errorf("cannot find tool %q: there are %s", name, strings.Join(names, ", "))
}

// Root returns the folder of the repository, found by walking up from the
// working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("cannot get working directory: %w", err)
	}
	for {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod")) //nolint:gosec // We're looking for our own go.mod.
		if err == nil && firstModule(b) == rootModule {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("cannot find the folder of module %s above the working directory", rootModule)
		}
		dir = parent
	}
}

// Path returns where the named tool's binary is, or will be once it's built:
// <root>/.cache/bin/<name>-<version>-<hash of what it's built from>.
func Path(name string) (string, error) {
	t, err := Get(name)
	if err != nil {
		return "", err
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	version, err := t.Version()
	if err != nil {
		return "", err
	}
	dir, err := t.Dir()
	if err != nil {
		return "", err
	}

	h := sha256.New()
	for _, f := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(dir, f)) //nolint:gosec // We're reading our own files.
		if err != nil {
			return "", fmt.Errorf("cannot read what pins %s: %w", name, err)
		}
		_, _ = h.Write(b)
	}
	// What we link in or edit makes a different program, too.
	_, _ = fmt.Fprintf(h, "%q %q", t.ldflags(version), t.patches)

	return filepath.Join(root, ".cache", "bin", fmt.Sprintf("%s-%s-%s", name, version, hex.EncodeToString(h.Sum(nil))[:8])), nil
}

// Dir returns the folder of the module that pins this tool.
func (t Tool) Dir() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "test", "tools", t.Folder), nil
}

// Version returns the version that this tool's go.mod requires.
func (t Tool) Version() (string, error) {
	dir, err := t.Dir()
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(filepath.Join(dir, "go.mod")) //nolint:gosec // We're reading our own files.
	if err != nil {
		return "", fmt.Errorf("cannot read what pins %s: %w", t.Name, err)
	}
	v, err := requiredVersion(b, t.Module)
	if err != nil {
		return "", fmt.Errorf("cannot find the version of %s: %w", t.Name, err)
	}
	return v, nil
}

// ldflags returns the linker flags for a version of this tool.
func (t Tool) ldflags(version string) string {
	flags := []string{"-s", "-w"}
	for _, v := range t.versionVars {
		flags = append(flags, "-X", v+"="+version)
	}
	if t.Module == "k8s.io/kubernetes" {
		// Clients are told major and minor apart from the whole version.
		if parts := strings.Split(strings.TrimPrefix(version, "v"), "."); len(parts) > 1 {
			flags = append(flags,
				"-X", "k8s.io/component-base/version.gitMajor="+parts[0],
				"-X", "k8s.io/component-base/version.gitMinor="+parts[1])
		}
	}
	// There is at most one of these, so there is no order to keep.
	for k, v := range t.vars {
		flags = append(flags, "-X", k+"="+v)
	}
	return strings.Join(flags, " ")
}

// firstModule returns the module that a go.mod is of.
func firstModule(gomod []byte) string {
	for line := range strings.Lines(string(gomod)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// errNotRequired is returned for a module that a go.mod doesn't require.
var errNotRequired = errors.New("go.mod does not require it")

// requiredVersion returns the version of a module that a go.mod requires.
func requiredVersion(gomod []byte, module string) (string, error) {
	s := bufio.NewScanner(bytes.NewReader(gomod))
	for s.Scan() {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(s.Text()), "require "))
		if len(fields) >= 2 && fields[0] == module && strings.HasPrefix(fields[1], "v") {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("%s: %w", module, errNotRequired)
}
