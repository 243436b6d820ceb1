package install

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/test/tools"
)

// TestSchemas makes sure that the manifests are what the versions of Crossplane
// and provider-kubernetes that we test with accept.
func TestSchemas(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the source of Crossplane and the provider, which may have to be downloaded")
	}
	crds := map[schema.GroupVersionKind]*extv1.JSONSchemaProps{}
	load(t, crds, tools.CrossplaneCore, "cluster", "crds")
	load(t, crds, tools.ProviderKubernetes, "package", "crds")
	// Strict decoding is enough for these.
	builtin := sets.New("policy", "rbac.authorization.k8s.io")

	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		for _, doc := range documents(t, file) {
			u := &unstructured.Unstructured{}
			if err := yaml.UnmarshalStrict(doc, &u.Object); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			gvk := u.GroupVersionKind()
			if builtin.Has(gvk.Group) {
				continue
			}
			s, ok := crds[gvk]
			if !ok {
				t.Errorf("%s: cannot find a schema of %s", file, gvk)
				continue
			}
			t.Run(file+"/"+gvk.Kind, func(t *testing.T) { validate(t, s, u) })
		}
	}
}

// validate an object against its schema, as an API server does.
func validate(t *testing.T, s *extv1.JSONSchemaProps, u *unstructured.Unstructured) {
	t.Helper()
	internal := &apiextensions.JSONSchemaProps{}
	if err := extv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(s, internal, nil); err != nil {
		t.Fatal(err)
	}
	structural, err := structuralschema.NewStructural(internal)
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := validation.NewSchemaValidator(internal)
	if err != nil {
		t.Fatal(err)
	}
	unknown := pruning.PruneWithOptions(u.Object, structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	for _, f := range unknown {
		t.Errorf("unknown field %s", f)
	}
	defaulting.Default(u.Object, structural)
	for _, e := range validation.ValidateCustomResource(nil, u.Object, v) {
		t.Error(e)
	}
}

// load the schemas of all versions of the CustomResourceDefinitions in a folder
// of a tool's source.
func load(t *testing.T, into map[schema.GroupVersionKind]*extv1.JSONSchemaProps, tool string, folder ...string) {
	t.Helper()
	pinned, err := tools.Get(tool)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := tools.ModuleDir(t.Context(), tool, pinned.Module)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, filepath.Join(folder...), "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		crd := &extv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(b, crd); err != nil {
			t.Fatal(err)
		}
		for _, v := range crd.Spec.Versions {
			into[schema.GroupVersionKind{Group: crd.Spec.Group, Version: v.Name, Kind: crd.Spec.Names.Kind}] = v.Schema.OpenAPIV3Schema
		}
	}
}
