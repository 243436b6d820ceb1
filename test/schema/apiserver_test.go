package schema

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/google/go-cmp/cmp"
	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/test/controlplane"
)

// TestAPIServer tries the definitions on a real API server. It is one test so
// that there is one server.
func TestAPIServer(t *testing.T) {
	if testing.Short() {
		t.Skip("This test starts a real API server.")
	}

	cp := controlplane.StartT(t, controlplane.Options{Layer: controlplane.APIServer})
	defs, err := clientset.NewForConfig(cp.Config())
	if err != nil {
		t.Fatalf("cannot make a client for definitions: %v", err)
	}

	for _, xrd := range xrds(t) {
		composite, claim := crds(t, xrd)
		establish(t, defs, composite)
		establish(t, defs, claim)
	}
	for _, f := range glob(t, "package/input/*.yaml") {
		crd := &extv1.CustomResourceDefinition{}
		decode(t, f, crd)
		establish(t, defs, crd)
	}
	if t.Failed() {
		t.FailNow()
	}

	s := server{client: cp.Dynamic()}
	t.Run("Accepted", s.testAccepted)
	t.Run("Rejected", s.testRejected)
	t.Run("Status", s.testStatus)
	t.Run("Input", s.testInput)
}

// establish a definition, and fail unless it is served without reservations.
func establish(t *testing.T, c clientset.Interface, crd *extv1.CustomResourceDefinition) {
	t.Helper()

	api := c.ApiextensionsV1().CustomResourceDefinitions()
	// This refuses rules that do not compile, or that may cost too much.
	if _, err := api.Create(t.Context(), crd, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}); err != nil {
		t.Errorf("cannot create the definition of %s: %v", crd.Spec.Names.Kind, err)
		return
	}

	want := map[extv1.CustomResourceDefinitionConditionType]extv1.ConditionStatus{
		extv1.NamesAccepted: extv1.ConditionTrue,
		extv1.Established:   extv1.ConditionTrue,
	}
	var diff string
	for range 100 {
		got, err := api.Get(t.Context(), crd.GetName(), metav1.GetOptions{})
		if err != nil {
			t.Errorf("cannot get the definition of %s: %v", crd.Spec.Names.Kind, err)
			return
		}
		// A schema that isn't structural would be told by a third condition.
		conditions := map[extv1.CustomResourceDefinitionConditionType]extv1.ConditionStatus{}
		for _, c := range got.Status.Conditions {
			conditions[c.Type] = c.Status
		}
		if diff = cmp.Diff(want, conditions); diff == "" {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("Conditions of the definition of %s: -want, +got:\n%s", crd.Spec.Names.Kind, diff)
}

// A server that serves our kinds.
type server struct {
	client dynamic.Interface
}

// resource of a kind. Composites are cluster scoped, all else is namespaced.
func (s server) resource(t *testing.T, u *unstructured.Unstructured) dynamic.ResourceInterface {
	t.Helper()

	gvr := u.GroupVersionKind().GroupVersion().WithResource(map[string]string{
		"AIMCache":     "aimcaches",
		"XAIMCache":    "xaimcaches",
		"AIMEndpoint":  "aimendpoints",
		"XAIMEndpoint": "xaimendpoints",
		"AIMRecipe":    "aimrecipes",
		"XAIMRecipe":   "xaimrecipes",
		"Input":        "inputs",
	}[u.GetKind()])
	if gvr.Resource == "" {
		t.Fatalf("cannot tell the resource of kind %s", u.GetKind())
	}
	if u.GetKind()[0] == 'X' {
		return s.client.Resource(gvr)
	}

	return s.client.Resource(gvr).Namespace(metav1.NamespaceDefault)
}

// try to create an object as kubectl does, but do not keep it.
func (s server) try(ctx context.Context, t *testing.T, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	t.Helper()

	return s.resource(t, u).Create(ctx, u, metav1.CreateOptions{
		DryRun:          []string{metav1.DryRunAll},
		FieldValidation: metav1.FieldValidationStrict,
	})
}

// object of a kind whose spec is given as YAML.
func object(t *testing.T, gvk schema.GroupVersionKind, name, spec string) *unstructured.Unstructured {
	t.Helper()

	s := map[string]any{}
	if err := yaml.Unmarshal([]byte(spec), &s); err != nil {
		t.Fatalf("cannot parse the sample: %v", err)
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": s}}
	u.SetGroupVersionKind(gvk)
	u.SetName(name)

	return u
}

// kinds that share a schema, and samples of it.
var kinds = map[string]struct {
	kinds    []string
	accepted map[string]acceptedSample
	rejected map[string]rejectedSample
	minimal  string
	status   any
	typed    func() any
}{
	"AIMEndpoint": {
		kinds:    []string{v1alpha1.KindAIMEndpoint, v1alpha1.KindXAIMEndpoint},
		accepted: accepted(), rejected: rejected(), minimal: "model: {id: Qwen/Qwen3-32B}", status: new(fullStatus()),
		typed: func() any { return &v1alpha1.AIMEndpoint{} },
	},
	"AIMCache": {
		kinds:    []string{v1alpha1.KindAIMCache, v1alpha1.KindXAIMCache},
		accepted: acceptedCaches(), rejected: rejectedCaches(), minimal: minimalCache, status: new(fullCacheStatus()),
		typed: func() any { return &v1alpha1.AIMCache{} },
	},
	"AIMRecipe": {
		kinds:    []string{v1alpha1.KindAIMRecipe, v1alpha1.KindXAIMRecipe},
		accepted: acceptedRecipes(), rejected: rejectedRecipes(), minimal: minimalRecipe, status: new(fullRecipeStatus()),
		typed: func() any { return &v1alpha1.AIMRecipe{} },
	},
}

func (s server) testAccepted(t *testing.T) {
	for _, k := range kinds {
		s.testAcceptedOf(t, k.kinds, k.accepted, k.typed)
	}
}

func (s server) testAcceptedOf(t *testing.T, kinds []string, samples map[string]acceptedSample, typed func() any) {
	t.Helper()
	for name, tc := range samples {
		for _, kind := range kinds {
			t.Run(name+"/"+kind, func(t *testing.T) {
				got, err := s.try(t.Context(), t, object(t, v1alpha1.GroupVersion.WithKind(kind), "qwen3", tc.spec))
				if err != nil {
					t.Fatalf("%s\nCreate(...): %v", tc.reason, err)
				}

				want := map[string]any{}
				if err := yaml.Unmarshal([]byte(tc.want), &want); err != nil {
					t.Fatalf("cannot parse the expectation: %v", err)
				}
				// Both sides as YAML: what differs otherwise is the Go type of
				// numbers, which is of no interest.
				if diff := cmp.Diff(asYAML(t, want), asYAML(t, got.Object["spec"])); diff != "" {
					t.Errorf("%s\nspec with its defaults: -want, +got:\n%s", tc.reason, diff)
				}

				// What was accepted must also be what the function reads,
				// except for Crossplane's own fields.
				for _, f := range []string{"compositionSelector", "compositionUpdatePolicy"} {
					unstructured.RemoveNestedField(got.Object, "spec", f)
				}
				if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(got.Object, typed(), true); err != nil {
					t.Errorf("%s\ncannot read as an object of its type: %v", tc.reason, err)
				}
			})
		}
	}
}

func (s server) testRejected(t *testing.T) {
	for _, k := range kinds {
		s.testRejectedOf(t, k.kinds, k.rejected)
	}
}

func (s server) testRejectedOf(t *testing.T, kinds []string, samples map[string]rejectedSample) {
	t.Helper()
	for name, tc := range samples {
		for _, kind := range kinds {
			t.Run(name+"/"+kind, func(t *testing.T) {
				obj := "qwen3"
				if tc.name != "" {
					obj = tc.name
				}
				_, err := s.try(t.Context(), t, object(t, v1alpha1.GroupVersion.WithKind(kind), obj, tc.spec))
				if diff := cmp.Diff(tc.want, complaints(err)); diff != "" {
					t.Errorf("%s\nCreate(...): -want, +got:\n%s\nAll of it: %v", tc.reason, diff, err)
				}
			})
		}
	}
}

// complaints in an API server's answer, in an order of their own: an API server
// walks through maps.
func complaints(err error) []string {
	out := make([]string, 0)
	if err == nil {
		return out
	}

	var status kerrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil || len(status.Status().Details.Causes) == 0 {
		_, m, found := strings.Cut(err.Error(), "strict decoding error: ")
		if !found {
			m = err.Error()
		}
		return append(out, m)
	}
	for _, c := range status.Status().Details.Causes {
		// An API server that complains about a value's type, length or
		// spelling adds that it did not look at our rules. No rule of ours
		// could prevent that.
		if !strings.HasPrefix(c.Message, "Invalid value: null: some validation rules were not checked") {
			out = append(out, c.Field+": "+c.Message)
		}
	}
	slices.Sort(out)

	return out
}

func asYAML(t *testing.T, v any) string {
	t.Helper()

	y, err := yaml.Marshal(v)
	if err != nil {
		t.Fatalf("cannot marshal: %v", err)
	}

	return string(y)
}

// testStatus checks that nothing that the function may report is refused, or
// silently dropped because the schema doesn't know it.
func (s server) testStatus(t *testing.T) {
	for _, k := range kinds {
		s.testStatusOf(t, k.kinds, k.minimal, k.status)
	}
}

func (s server) testStatusOf(t *testing.T, kinds []string, minimal string, status any) {
	t.Helper()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			u := object(t, v1alpha1.GroupVersion.WithKind(kind), "status", minimal)
			u, err := s.resource(t, u).Create(t.Context(), u, metav1.CreateOptions{})
			if err != nil {
				t.Fatalf("Create(...): %v", err)
			}

			want, err := runtime.DefaultUnstructuredConverter.ToUnstructured(status)
			if err != nil {
				t.Fatalf("cannot convert the status: %v", err)
			}
			u.Object["status"] = want

			got, err := s.resource(t, u).UpdateStatus(t.Context(), u, metav1.UpdateOptions{
				FieldValidation: metav1.FieldValidationStrict,
			})
			if err != nil {
				t.Fatalf("UpdateStatus(...): %v", err)
			}
			if diff := cmp.Diff(asYAML(t, want), asYAML(t, got.Object["status"])); diff != "" {
				t.Errorf("What was reported: -want, +got:\n%s", diff)
			}
		})
	}
}
