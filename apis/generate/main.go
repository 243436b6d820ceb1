// Command generate writes what is derived from this module's API types: the
// CompositeResourceDefinitions under apis/, the CustomResourceDefinition of the
// function's input under package/input/, and the types' deep copies.
//
// Run it as `go run ./apis/generate` in the module's root, or by
// `make generate`.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// run generates into the module whose root directory is given.
func run(root string) error {
	files, err := Generate(root)
	if err != nil {
		return err
	}

	for path, content := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return errors.Wrap(err, "cannot make the directory of a generated file")
		}
		if err := os.WriteFile(path, content, 0o644); err != nil { //nolint:gosec // Sources are for everybody to read.
			return errors.Wrap(err, "cannot write a generated file")
		}
	}

	return nil
}
