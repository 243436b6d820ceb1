package schema

import (
	"path/filepath"
	"testing"

	xpv1 "github.com/crossplane/crossplane/apis/v2/apiextensions/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/input/v1beta1"
)

// functionName is what Crossplane's dependency manager calls the function whose
// package's repository is aim-engine/function-aim, in whatever registry: that
// is xpkg.ToDNSLabel of the repository. (The package xpkg isn't used here for
// all the modules that it needs.)
const functionName = "aim-engine-function-aim"

func TestCompositions(t *testing.T) {
	// Only what Crossplane 1.20 knows, too: it would silently drop the rest.
	want := func(name, kind string) *xpv1.Composition {
		return &xpv1.Composition{
			TypeMeta: metav1.TypeMeta{APIVersion: "apiextensions.crossplane.io/v1", Kind: "Composition"},
			ObjectMeta: metav1.ObjectMeta{
				Name: name,
				Labels: map[string]string{
					"aim.engine.amd.com/composition": "default",
					"aim.engine.amd.com/kind":        kind[1:],
				},
			},
			Spec: xpv1.CompositionSpec{
				CompositeTypeRef: xpv1.TypeReference{APIVersion: "aim.engine.amd.com/v1alpha1", Kind: kind},
				Mode:             xpv1.CompositionModePipeline,
				Pipeline: []xpv1.PipelineStep{{
					Step:        "aim",
					FunctionRef: xpv1.FunctionReference{Name: functionName},
				}},
				WriteConnectionSecretsToNamespace: new("crossplane-system"),
			},
		}
	}

	recipes := want("aimrecipes", "XAIMRecipe")
	// A recipe has nothing to connect to.
	recipes.Spec.WriteConnectionSecretsToNamespace = nil
	// Nor has a cache.
	caches := want("aimcaches", "XAIMCache")
	caches.Spec.WriteConnectionSecretsToNamespace = nil
	cases := map[string]*xpv1.Composition{
		"aimcache.yaml":    caches,
		"aimendpoint.yaml": want("aimendpoints", "XAIMEndpoint"),
		"aimrecipe.yaml":   recipes,
	}

	for _, f := range glob(t, "compositions/*.yaml") {
		if _, ok := cases[filepath.Base(f)]; !ok {
			t.Errorf("%s is not tested", f)
		}
	}

	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			got := &xpv1.Composition{}
			decode(t, filepath.Join(root, "compositions", name), got)
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(xpv1.PipelineStep{}, "Input")); diff != "" {
				t.Errorf("-want, +got:\n%s", diff)
			}

			// Crossplane refuses a Composition of a kind or version that no
			// definition makes referenceable.
			crd := crdOf(t, got.Spec.CompositeTypeRef.Kind)
			if v := crd.Spec.Group + "/" + crd.Spec.Versions[0].Name; v != got.Spec.CompositeTypeRef.APIVersion {
				t.Errorf("compositeTypeRef.apiVersion: want %s, got %s", v, got.Spec.CompositeTypeRef.APIVersion)
			}

			for _, s := range got.Spec.Pipeline {
				in := &v1beta1.Input{}
				if err := yaml.UnmarshalStrict(s.Input.Raw, in); err != nil {
					t.Errorf("cannot decode the input of step %s: %v", s.Step, err)
				}
				if diff := cmp.Diff(v1beta1.GroupVersion.WithKind("Input"), in.GroupVersionKind()); diff != "" {
					t.Errorf("Input of step %s: -want, +got:\n%s", s.Step, diff)
				}
			}
		})
	}
}
