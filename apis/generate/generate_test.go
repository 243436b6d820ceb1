package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// root of the module.
const root = "../.."

func TestGeneratedFilesAreCurrent(t *testing.T) {
	files, err := Generate(root)
	if err != nil {
		t.Fatalf("Generate(...): %v", err)
	}

	for path, want := range files {
		t.Run(path, func(t *testing.T) {
			got, err := os.ReadFile(filepath.Join(root, path))
			if err != nil {
				t.Fatalf("cannot read a generated file: %v", err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s is stale, run \"make generate\": -want, +got:\n%s", path, diff)
			}
		})
	}

	// A definition that is no longer in the table must not be left behind.
	for _, pattern := range []string{"apis/*.yaml", "package/input/*.yaml"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			rel, err := filepath.Rel(root, f)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := files[rel]; !ok {
				t.Errorf("%s is not generated: delete it, or add it to the table", rel)
			}
		}
	}
}

func TestGenerateIsDeterministic(t *testing.T) {
	first, err := Generate(root)
	if err != nil {
		t.Fatalf("Generate(...): %v", err)
	}
	second, err := Generate(root)
	if err != nil {
		t.Fatalf("Generate(...): %v", err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("Generate(...): two runs differ: -first, +second:\n%s", diff)
	}
}

func TestKept(t *testing.T) {
	object := func(props map[string]extv1.JSONSchemaProps) extv1.JSONSchemaProps {
		return extv1.JSONSchemaProps{Type: "object", Properties: props}
	}
	str := extv1.JSONSchemaProps{Type: "string"}
	one := int64(1)

	cases := map[string]struct {
		reason string
		schema extv1.JSONSchemaProps
		want   string
	}{
		"Kept": {
			reason: "Descriptions, properties, requirements and rules of spec survive.",
			schema: object(map[string]extv1.JSONSchemaProps{"spec": {
				Type:         "object",
				Description:  "What is wanted.",
				Required:     []string{"model"},
				Properties:   map[string]extv1.JSONSchemaProps{"model": str},
				XValidations: extv1.ValidationRules{{Rule: "true"}},
			}}),
		},
		"KeywordOfSpec": {
			reason: "Crossplane drops other keywords of spec itself.",
			schema: object(map[string]extv1.JSONSchemaProps{"spec": {
				Type:          "object",
				MinProperties: &one,
			}}),
			want: `cannot use the schema of spec: Crossplane does not keep {"minProperties":1}; say it below, or as a validation rule`,
		},
		"FieldOfCrossplane": {
			reason: "Crossplane overwrites a field of its own.",
			schema: object(map[string]extv1.JSONSchemaProps{
				"status": object(map[string]extv1.JSONSchemaProps{"conditions": str}),
			}),
			want: `the field status.conditions is Crossplane's own`,
		},
		"FieldBesideSpec": {
			reason: "Crossplane takes only spec and status from the root.",
			schema: object(map[string]extv1.JSONSchemaProps{"data": str}),
			want:   `Crossplane has no place for the field "data" beside spec and status`,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := kept(&tc.schema); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nkept(...): -want error, +got error:\n%s", tc.reason, diff)
			}
		})
	}
}
