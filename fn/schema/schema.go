// Package schema does to a manifest what the API server would: it refuses what
// the CompositeResourceDefinitions do not allow, and sets their defaults.
package schema

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/crossplane/crossplane-runtime/v2/pkg/xcrd"
	xpv1 "github.com/crossplane/crossplane/apis/v2/apiextensions/v1"
	"github.com/crossplane/function-sdk-go/errors"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/apis"
)

// A Schemas validates manifests of the kinds that it knows.
type Schemas struct {
	// A validator is made once it is needed.
	byGVK map[schema.GroupVersionKind]func() (*validator, error)
}

// A validator of one kind.
type validator struct {
	structural *structural.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
}

// newValidator compiles a schema and its rules, which takes a while.
func newValidator(v *extv1.CustomResourceValidation) (*validator, error) {
	internal := &apiextensions.CustomResourceValidation{}
	if err := extv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(v, internal, nil); err != nil {
		return nil, errors.Wrap(err, "cannot convert schema")
	}
	ss, err := structural.NewStructural(internal.OpenAPIV3Schema)
	if err != nil {
		return nil, errors.Wrap(err, "cannot read schema")
	}
	sv, _, err := validation.NewSchemaValidator(internal.OpenAPIV3Schema)
	if err != nil {
		return nil, errors.Wrap(err, "cannot make a validator of the schema")
	}
	return &validator{structural: ss, schema: sv, rules: cel.NewValidator(ss, true, celconfig.PerCallLimit)}, nil
}

// Load the schemas of this API: of claims and of composites.
func Load() (*Schemas, error) {
	s := &Schemas{byGVK: map[schema.GroupVersionKind]func() (*validator, error){}}
	names, err := fs.Glob(apis.Definitions, "*.yaml")
	if err != nil {
		return nil, errors.Wrap(err, "cannot list CompositeResourceDefinitions")
	}
	for _, n := range names {
		b, err := apis.Definitions.ReadFile(n)
		if err != nil {
			return nil, errors.Wrapf(err, "cannot read %s", n)
		}
		xrd := &xpv1.CompositeResourceDefinition{}
		if err := yaml.UnmarshalStrict(b, xrd); err != nil {
			return nil, errors.Wrapf(err, "cannot parse %s", n)
		}
		for _, derive := range []func(*xpv1.CompositeResourceDefinition) (*extv1.CustomResourceDefinition, error){
			xcrd.ForCompositeResource, xcrd.ForCompositeResourceClaim,
		} {
			crd, err := derive(xrd)
			if err != nil {
				return nil, errors.Wrapf(err, "cannot derive a CustomResourceDefinition from %s", n)
			}
			for _, v := range crd.Spec.Versions {
				gvk := schema.GroupVersionKind{Group: crd.Spec.Group, Version: v.Name, Kind: crd.Spec.Names.Kind}
				s.byGVK[gvk] = sync.OnceValues(func() (*validator, error) { return newValidator(v.Schema) })
			}
		}
	}
	return s, nil
}

// Knows says whether there is a schema for a kind.
func (s *Schemas) Knows(gvk schema.GroupVersionKind) bool {
	_, ok := s.byGVK[gvk]
	return ok
}

// Admit a manifest as kubectl apply would have it admitted: its defaults are
// set, and the error says all that is wrong with it.
func (s *Schemas) Admit(ctx context.Context, u *unstructured.Unstructured) error {
	load, ok := s.byGVK[u.GroupVersionKind()]
	if !ok {
		return errors.Errorf("there is no kind %s in %s", u.GetKind(), u.GetAPIVersion())
	}
	v, err := load()
	if err != nil {
		return errors.Wrapf(err, "cannot use the schema of %s", u.GetKind())
	}

	var msgs []string
	unknown := pruning.PruneWithOptions(u.Object, v.structural, true, structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	for _, p := range unknown {
		msgs = append(msgs, "unknown field "+p)
	}
	defaulting.Default(u.Object, v.structural)
	errs := validation.ValidateCustomResource(nil, u.Object, v.schema)
	if len(errs) == 0 {
		// Sets and rules are only meaningful for what has the right types.
		errs = listtype.ValidateListSetsAndMaps(nil, v.structural, u.Object)
		broken, _ := v.rules.Validate(ctx, nil, v.structural, u.Object, nil, celconfig.RuntimeCELCostBudget)
		errs = append(errs, broken...)
	}
	if n := u.GetName(); n != "" || u.GetGenerateName() == "" {
		for _, reason := range apivalidation.NameIsDNSSubdomain(n, false) {
			errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), n, reason))
		}
	}
	for _, e := range errs {
		msgs = append(msgs, e.Error())
	}
	// The validator goes through maps, in no particular order.
	slices.Sort(msgs)
	if len(msgs) > 0 {
		return errors.New(strings.Join(msgs, "; "))
	}
	return nil
}
