package main

import (
	"bufio"
	"bytes"
	"io"
	"os"

	"github.com/crossplane/function-sdk-go/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// A document of a file.
type document struct {
	*unstructured.Unstructured

	file string
	// index in the file, from 1.
	index int
}

// readAll documents of files.
func readAll(files []string, stdin io.Reader) ([]document, error) {
	var docs []document
	for _, f := range files {
		var b []byte
		var err error
		if f == "-" {
			b, err = io.ReadAll(stdin)
		} else {
			b, err = os.ReadFile(f) //nolint:gosec // Reading the file that the user named is the point.
		}
		if err != nil {
			return nil, errors.Wrapf(err, "cannot read %s", f)
		}
		r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(b)))
		for i := 1; ; i++ {
			doc, err := r.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, errors.Wrapf(err, "cannot read document %d of %s", i, f)
			}
			u := &unstructured.Unstructured{}
			j, err := yaml.YAMLToJSONStrict(doc)
			if err == nil {
				// The schema tells integers from other numbers.
				err = kjson.UnmarshalCaseSensitivePreserveInts(j, &u.Object)
			}
			if err != nil {
				return nil, errors.Wrapf(err, "cannot parse document %d of %s", i, f)
			}
			if len(u.Object) == 0 {
				continue
			}
			docs = append(docs, document{Unstructured: u, file: f, index: i})
		}
	}
	return docs, nil
}
