package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/crossplane/function-sdk-go/errors"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/engine"
	"github.com/aim-engine/function-aim/fn/model"
	"github.com/aim-engine/function-aim/fn/object"
	"github.com/aim-engine/function-aim/fn/recipe"
	"github.com/aim-engine/function-aim/fn/schema"
)

// lintCmd checks manifests without a cluster.
type lintCmd struct {
	Files  []string `arg:""         help:"Files of AIMRecipes; of other kinds of this API the schema is checked. - reads standard input."`
	Output string   `default:"text" enum:"text,json"                                                                                      help:"What to print: text for people, json for programs." short:"o"`
}

// A lintFinding is something that was found in a file.
type lintFinding struct {
	File string `json:"file"`
	// Document of the file, from 1.
	Document int    `json:"document"`
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Severity string `json:"severity"`
	// Path of the field; empty where the message has it.
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
}

// Run prints what is found in the files. It fails if there is an error among
// it.
func (c *lintCmd) Run() error {
	return c.run(context.Background(), os.Stdin, os.Stdout)
}

func (c *lintCmd) run(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	docs, err := readAll(c.Files, stdin)
	if err != nil {
		return err
	}
	schemas, err := schema.Load()
	if err != nil {
		return err
	}
	found := []lintFinding{}
	checked, failed := 0, 0
	for _, d := range docs {
		if d.GroupVersionKind().Group != v1alpha1.GroupVersion.Group {
			continue
		}
		checked++
		fs, err := lint(ctx, schemas, d)
		if err != nil {
			return err
		}
		for _, f := range fs {
			if f.Severity == string(engine.SeverityError) {
				failed++
			}
			found = append(found, lintFinding{
				File: d.file, Document: d.index, Kind: d.GetKind(), Name: d.GetName(),
				Severity: f.Severity, Path: f.Path, Message: f.Message,
			})
		}
	}
	if checked == 0 {
		return errors.Errorf("there is nothing to check: no document is of %s", v1alpha1.GroupVersion.Group)
	}
	if err := c.print(stdout, found, checked); err != nil {
		return err
	}
	switch failed {
	case 0:
		return nil
	case 1:
		return errors.New("1 of the findings is an error")
	}
	return errors.Errorf("%d of the findings are errors", failed)
}

func (c *lintCmd) print(w io.Writer, found []lintFinding, checked int) error {
	if c.Output == "json" {
		b, err := json.MarshalIndent(found, "", "  ")
		if err != nil {
			return errors.Wrap(err, "cannot marshal findings")
		}
		_, err = fmt.Fprintf(w, "%s\n", b)
		return errors.Wrap(err, "cannot write")
	}
	for _, f := range found {
		at := ""
		if f.Path != "" {
			at = f.Path + ": "
		}
		if _, err := fmt.Fprintf(w, "%s: %s %s: %s: %s%s\n", f.File, f.Kind, f.Name, strings.ToLower(f.Severity), at, f.Message); err != nil {
			return errors.Wrap(err, "cannot write")
		}
	}
	_, err := fmt.Fprintf(w, "checked %d, found %d\n", checked, len(found))
	return errors.Wrap(err, "cannot write")
}

// lint a document. What its schema refuses hides the rest.
func lint(ctx context.Context, schemas *schema.Schemas, d document) ([]v1alpha1.RecipeFinding, error) {
	if err := schemas.Admit(ctx, d.Unstructured); err != nil {
		return []v1alpha1.RecipeFinding{{Severity: string(engine.SeverityError), Message: err.Error()}}, nil //nolint:nilerr // It is what was found, and the other documents are to be checked, too.
	}
	if k := d.GetKind(); k != v1alpha1.KindAIMRecipe && k != v1alpha1.KindXAIMRecipe {
		return nil, nil
	}
	s, err := structOf(d.Object)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot convert %s to protobuf", d.GetKind())
	}
	r := v1alpha1.AIMRecipe{}
	if err := object.Convert(s, &r); err != nil {
		return nil, errors.Wrapf(err, "cannot read %s %q", d.GetKind(), d.GetName())
	}
	f, err := model.Find(r.Spec.ModelID)
	if err != nil {
		return nil, err
	}
	return recipe.Compile(recipe.Reference{Namespace: d.GetNamespace(), Name: d.GetName()}, r.Spec, f).AllFindings(), nil
}
