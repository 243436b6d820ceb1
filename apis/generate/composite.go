package main

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/xcrd"
	xpv1 "github.com/crossplane/crossplane/apis/v2/apiextensions/v1"
	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// compositeDefinition wraps the definition of a claim's kind, as generated
// from its Go type, into a CompositeResourceDefinition. That is version v1 of
// it, the one that has claims, and that Crossplane 1.20 and 2 both serve.
func compositeDefinition(c composite, def *extv1.CustomResourceDefinition) (*xpv1.CompositeResourceDefinition, error) {
	// The list kinds are left to the API server's defaults.
	claim := def.Spec.Names
	claim.ListKind = ""

	xr := extv1.CustomResourceDefinitionNames{
		Kind:       "X" + claim.Kind,
		Plural:     "x" + claim.Plural,
		Singular:   "x" + claim.Singular,
		Categories: claim.Categories,
	}
	for _, n := range claim.ShortNames {
		xr.ShortNames = append(xr.ShortNames, "x"+n)
	}

	versions := make([]xpv1.CompositeResourceDefinitionVersion, 0, len(def.Spec.Versions))
	for _, v := range def.Spec.Versions {
		s, err := compositeSchema(v.Schema.OpenAPIV3Schema)
		if err != nil {
			return nil, errors.Wrapf(err, "cannot use the schema of version %s", v.Name)
		}
		versions = append(versions, xpv1.CompositeResourceDefinitionVersion{
			Name:                     v.Name,
			Referenceable:            v.Storage,
			Served:                   v.Served,
			AdditionalPrinterColumns: v.AdditionalPrinterColumns,
			Schema:                   &xpv1.CompositeResourceValidation{OpenAPIV3Schema: runtime.RawExtension{Raw: s}},
		})
	}

	return &xpv1.CompositeResourceDefinition{
		TypeMeta: metav1.TypeMeta{
			APIVersion: xpv1.SchemeGroupVersion.String(),
			Kind:       xpv1.CompositeResourceDefinitionKind,
		},
		ObjectMeta: metav1.ObjectMeta{Name: xr.Plural + "." + def.Spec.Group},
		Spec: xpv1.CompositeResourceDefinitionSpec{
			Group:                def.Spec.Group,
			Names:                xr,
			ClaimNames:           &claim,
			ConnectionSecretKeys: c.connectionSecretKeys,
			// Without it Crossplane picks any Composition of several.
			DefaultCompositionRef: &xpv1.CompositionReference{Name: c.defaultComposition},
			Versions:              versions,
		},
	}, nil
}

// compositeSchema returns the part of an object's schema that belongs into a
// CompositeResourceDefinition: all but what Crossplane adds itself.
func compositeSchema(s *extv1.JSONSchemaProps) ([]byte, error) {
	out := s.DeepCopy()
	for _, p := range []string{"apiVersion", "kind", "metadata"} {
		delete(out.Properties, p)
	}

	if err := kept(out); err != nil {
		return nil, err
	}

	j, err := json.Marshal(out)

	return j, errors.Wrap(err, "cannot marshal the schema")
}

// kept returns an error if Crossplane would silently drop a part of the schema
// when it derives the CustomResourceDefinitions of claim and composite from it.
// Below spec and status all is kept; of these two themselves, and of the root,
// only what is listed here. Compare genCrdVersion in crossplane-runtime's xcrd.
// Crossplane 1.20 drops the root's validation rules, too: those may only tell
// earlier what would fail anyway.
func kept(root *extv1.JSONSchemaProps) error {
	scope := xpv1.CompositeResourceScopeLegacyCluster
	reserved := map[string][]map[string]extv1.JSONSchemaProps{
		"spec":   {xcrd.CompositeResourceSpecProps(scope, nil), xcrd.CompositeResourceClaimSpecProps(nil)},
		"status": {xcrd.CompositeResourceStatusProps(scope)},
	}

	for name, s := range root.Properties {
		taken, ok := reserved[name]
		if !ok {
			return errors.Errorf("Crossplane has no place for the field %q beside spec and status", name)
		}
		for _, props := range taken {
			for p := range s.Properties {
				if _, ok := props[p]; ok {
					return errors.Errorf("the field %s.%s is Crossplane's own", name, p)
				}
			}
		}

		rest := s.DeepCopy()
		rest.Type, rest.Description, rest.Properties, rest.Required = "", "", nil, nil
		rest.XValidations, rest.OneOf, rest.XPreserveUnknownFields = nil, nil, nil
		if err := nothingIn(rest); err != nil {
			return errors.Wrapf(err, "cannot use the schema of %s", name)
		}
	}

	// Crossplane requires a spec, so it is no matter that it drops required.
	rest := root.DeepCopy()
	rest.Type, rest.Description, rest.Properties, rest.Required = "", "", nil, nil
	rest.XValidations = nil

	return errors.Wrap(nothingIn(rest), "cannot use the schema of the object")
}

// nothingIn returns an error that names the keywords which a schema has.
func nothingIn(s *extv1.JSONSchemaProps) error {
	if reflect.DeepEqual(s, &extv1.JSONSchemaProps{}) {
		return nil
	}

	j, err := json.Marshal(s)
	if err != nil {
		return errors.Wrap(err, "cannot marshal the schema")
	}

	return errors.Errorf("Crossplane does not keep %s; say it below, or as a validation rule", strings.TrimSpace(string(j)))
}
