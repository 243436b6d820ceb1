package xpkg

import (
	"bytes"
	"os"
	"path/filepath"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	pkgmetav1 "github.com/crossplane/crossplane/apis/v2/pkg/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"
)

// The file that says what a package is. Everything else in a package's folder
// is what the package contains.
const metaFile = "crossplane.yaml"

// stageFunction puts together what's in the function package.
func stageFunction(dir string, o Options) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return errors.Wrap(err, "cannot create folder")
	}
	if err := copyFile(dir, filepath.Join(o.Root, "package", metaFile)); err != nil {
		return err
	}
	// A function without an input is fine.
	_, err := copyYAML(dir, filepath.Join(o.Root, "package", "input"))
	return err
}

// stageConfiguration puts together what's in the configuration package.
func stageConfiguration(dir string, o Options) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return errors.Wrap(err, "cannot create folder")
	}
	if err := writeConfigurationMeta(filepath.Join(dir, metaFile), o); err != nil {
		return err
	}
	for _, from := range []string{"apis", "compositions"} {
		n, err := copyYAML(dir, filepath.Join(o.Root, from))
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.Errorf("cannot find any YAML file in %s", filepath.Join(o.Root, from))
		}
	}
	for _, c := range []string{"aimcache.yaml", "aimendpoint.yaml"} {
		if err := nameAgent(filepath.Join(dir, "compositions", c), o); err != nil {
			return err
		}
	}
	return nil
}

// agentImage is what the agent is called in our Compositions.
const agentImage = "registry.example.com/aim-engine/" + FunctionName + ":v0.1.0"

// nameAgent replaces the image of the agent in a Composition by the function
// package that we build beside it: a package is an image, and the agent is the
// function's own program. It doesn't matter if there is no such Composition.
func nameAgent(file string, o Options) error {
	b, err := os.ReadFile(file) //nolint:gosec // It's our own file.
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errors.Wrap(err, "cannot read a Composition")
	}
	if !bytes.Contains(b, []byte(agentImage)) {
		return errors.Errorf("cannot find image %s in %s", agentImage, file)
	}
	b = bytes.ReplaceAll(b, []byte(agentImage), []byte(o.Registry+"/"+FunctionName+":"+o.Version))
	return errors.Wrap(os.WriteFile(file, b, 0o600), "cannot write a Composition")
}

// writeConfigurationMeta writes what the configuration package is, depending on
// the function package that we build beside it.
func writeConfigurationMeta(file string, o Options) error {
	from := filepath.Join(o.Root, "package", "configuration", metaFile)
	b, err := os.ReadFile(from) //nolint:gosec // It's our own file.
	if err != nil {
		return errors.Wrap(err, "cannot read what the configuration is")
	}
	c := &pkgmetav1.Configuration{}
	if err := yaml.UnmarshalStrict(b, c); err != nil {
		return errors.Wrapf(err, "cannot parse %s", from)
	}

	found := false
	for i, d := range c.Spec.DependsOn {
		if ptr.Deref(d.Package, "") != FunctionName {
			continue
		}
		found = true
		c.Spec.DependsOn[i].Package = ptr.To(o.Registry + "/" + FunctionName)
		// This matches a pre-release only if our version is one. Then it
		// matches that one, later ones, and all releases that follow: which is
		// what somebody who tries a development build wants, and nobody else.
		c.Spec.DependsOn[i].Version = ">=" + o.Version
	}
	if !found {
		return errors.Errorf("cannot find a dependency on package %q in %s", FunctionName, from)
	}

	if b, err = yaml.Marshal(c); err != nil {
		return errors.Wrap(err, "cannot write what the configuration is")
	}
	return errors.Wrap(os.WriteFile(file, b, 0o600), "cannot write what the configuration is")
}

// copyYAML copies the YAML files of a folder, and returns how many there were.
// It doesn't matter if there is no such folder.
func copyYAML(to, from string) (int, error) {
	files, err := filepath.Glob(filepath.Join(from, "*.yaml"))
	if err != nil {
		return 0, errors.Wrapf(err, "cannot find YAML files in %s", from)
	}
	for _, f := range files {
		// Two folders may each have a file of the same name.
		dir := filepath.Join(to, filepath.Base(from))
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return 0, errors.Wrap(err, "cannot create folder")
		}
		if err := copyFile(dir, f); err != nil {
			return 0, err
		}
	}
	return len(files), nil
}

// copyFile copies a file into a folder.
func copyFile(to, from string) error {
	b, err := os.ReadFile(from) //nolint:gosec // It's our own file.
	if err != nil {
		return errors.Wrap(err, "cannot read what to package")
	}
	return errors.Wrap(os.WriteFile(filepath.Join(to, filepath.Base(from)), b, 0o600), "cannot copy what to package")
}
