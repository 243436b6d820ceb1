// Package xpkg builds our Crossplane packages, and pushes them to a registry.
//
// There are two: a Function with its runtime image embedded, and a
// Configuration that depends on it. No Docker is needed. What is built is a
// pure function of the source, the Go toolchain and the Options: the same
// inputs give packages of the same digests.
package xpkg

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/mod/semver"
)

// Names of the packages. They're also the names of their repositories.
const (
	FunctionName      = "function-aim"
	ConfigurationName = "configuration-aim"
)

// Options configure what is built.
type Options struct {
	// Root of the repository.
	Root string

	// Out is the folder to put the packages into. It's created if needed.
	Out string

	// CLI is the crossplane CLI's binary: a path, or a name to find in PATH.
	CLI string

	// Registry that the packages will be pushed to, including any path that
	// their repositories are under: for example 127.0.0.1:5055/aim-engine. The
	// Configuration says that the Function it depends on is there.
	Registry string

	// Version of the packages: a full semantic version, for example v0.1.0 or
	// v0.2.0-rc.1.
	Version string

	// Arches to build the Function for, named as Go names them: amd64, arm64.
	Arches []string

	// Progress is where Build says what it's doing. Optional.
	Progress io.Writer
}

// Packages that were built.
type Packages struct {
	// Function package files, one for each architecture, in the order in which
	// the architectures were asked for.
	Function []string

	// Configuration package file.
	Configuration string

	// FunctionRef and ConfigurationRef are what the packages are to be pushed
	// as: <registry>/<name>:<version>.
	FunctionRef      string
	ConfigurationRef string
}

// Build builds the Function and Configuration packages.
func Build(ctx context.Context, o Options) (*Packages, error) {
	cli, err := exec.LookPath(o.CLI)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot find the crossplane CLI %q", o.CLI)
	}
	// Programs are run in other folders than the one this path is relative to.
	if cli, err = filepath.Abs(cli); err != nil {
		return nil, errors.Wrap(err, "cannot make the path of the crossplane CLI absolute")
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Out, 0o750); err != nil {
		return nil, errors.Wrap(err, "cannot create the output folder")
	}

	// We work in a folder of our own, beside the results so that these can be
	// moved to where they belong: several builds may share an output folder.
	tmp, err := os.MkdirTemp(o.Out, ".building-")
	if err != nil {
		return nil, errors.Wrap(err, "cannot create a folder to build in")
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if tmp, err = filepath.Abs(tmp); err != nil {
		return nil, errors.Wrap(err, "cannot make the path of the build folder absolute")
	}

	p := &Packages{
		FunctionRef:      fmt.Sprintf("%s/%s:%s", o.Registry, FunctionName, o.Version),
		ConfigurationRef: fmt.Sprintf("%s/%s:%s", o.Registry, ConfigurationName, o.Version),
	}

	root := filepath.Join(tmp, FunctionName)
	if err := stageFunction(root, o); err != nil {
		return nil, errors.Wrap(err, "cannot put together the function package")
	}
	for _, arch := range o.Arches {
		started := time.Now()
		tarball := filepath.Join(tmp, "runtime-"+arch+".tar")
		if err := buildRuntime(ctx, tarball, arch, o); err != nil {
			return nil, errors.Wrapf(err, "cannot build the function's runtime image for %s", arch)
		}
		file := filepath.Join(o.Out, fmt.Sprintf("%s-%s-%s.xpkg", FunctionName, o.Version, arch))
		if err := build(ctx, cli, root, file, "--embed-runtime-image-tarball="+tarball); err != nil {
			return nil, errors.Wrapf(err, "cannot build the function package for %s", arch)
		}
		p.Function = append(p.Function, file)
		o.say(file, started)
	}

	started := time.Now()
	root = filepath.Join(tmp, ConfigurationName)
	if err := stageConfiguration(root, o); err != nil {
		return nil, errors.Wrap(err, "cannot put together the configuration package")
	}
	p.Configuration = filepath.Join(o.Out, fmt.Sprintf("%s-%s.xpkg", ConfigurationName, o.Version))
	if err := build(ctx, cli, root, p.Configuration); err != nil {
		return nil, errors.Wrap(err, "cannot build the configuration package")
	}
	o.say(p.Configuration, started)

	return p, nil
}

// Push package files to a registry, as the supplied reference. Several files,
// one for each architecture, are pushed as one index. A registry on loopback is
// spoken to without TLS. Any credentials come from Docker's configuration.
func Push(ctx context.Context, cli, ref string, files ...string) error {
	if len(files) == 0 {
		return errors.Errorf("cannot push %s: no package files were given", ref)
	}
	err := run(ctx, "", nil, cli, "xpkg", "push", "--package-files="+strings.Join(files, ","), ref)
	return errors.Wrapf(err, "cannot push %s", ref)
}

// Push both packages.
func (p *Packages) Push(ctx context.Context, cli string) error {
	// The function goes first, so that nobody finds a configuration whose
	// function isn't there yet.
	if err := Push(ctx, cli, p.FunctionRef, p.Function...); err != nil {
		return err
	}
	return Push(ctx, cli, p.ConfigurationRef, p.Configuration)
}

// validate makes sure that what we build could be installed. The crossplane CLI
// accepts more than the package manager then does.
func (o Options) validate() error {
	// A tag can't contain build metadata, and the package manager ignores tags
	// like v1.2 when it looks for a dependency.
	if semver.Canonical(o.Version) != o.Version || o.Version == "" {
		return errors.Errorf("cannot use version %q: want vMAJOR.MINOR.PATCH, or vMAJOR.MINOR.PATCH-PRERELEASE", o.Version)
	}
	// Crossplane has no default registry: a dependency must name one.
	if _, err := name.NewTag(fmt.Sprintf("%s/%s:%s", o.Registry, FunctionName, o.Version), name.StrictValidation); err != nil {
		return errors.Wrapf(err, "cannot use registry %q", o.Registry)
	}
	if len(o.Arches) == 0 {
		return errors.New("cannot build a function for no architecture")
	}
	return nil
}

// say that a package was built.
func (o Options) say(file string, started time.Time) {
	if o.Progress == nil {
		return
	}
	_, _ = fmt.Fprintf(o.Progress, "xpkg: %s (%s)\n", file, time.Since(started).Round(100*time.Millisecond))
}

// build the package whose content is in the supplied folder.
func build(ctx context.Context, cli, root, file string, args ...string) error {
	// The folder of examples doesn't exist: without this flag the CLI packages
	// the one of the working directory.
	tmp := root + ".xpkg"
	args = append([]string{"xpkg", "build", "--package-root=" + root, "--examples-root=" + root + ".examples", "--package-file=" + tmp}, args...)
	if err := run(ctx, "", nil, cli, args...); err != nil {
		return err
	}
	// Nobody ever sees half a package.
	return errors.Wrap(os.Rename(tmp, file), "cannot put the package in its place")
}

// run a program in the supplied folder, with additional environment variables.
func run(ctx context.Context, dir string, env []string, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		what := filepath.Base(program) + " " + strings.Join(args[:min(2, len(args))], " ")
		return errors.Wrapf(err, "cannot run %s: %s", what, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}
