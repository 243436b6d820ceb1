package main

import (
	"math"
	"slices"
	"strings"

	"github.com/crossplane/function-sdk-go/errors"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	kjson "sigs.k8s.io/json"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/engine"
	"github.com/aim-engine/function-aim/fn/gpu"
	"github.com/aim-engine/function-aim/input/v1beta1"
)

// Values of Input.PodDiagnosis.
const (
	diagnosisEnabled  = "Enabled"
	diagnosisDisabled = "Disabled"
)

// allNamespaces in Input.RecipeNamespaces.
const allNamespaces = "*"

// maxID of a user or group, as Kubernetes takes it.
const maxID = math.MaxInt32

// inputOf a request, with its defaults. Crossplane checks an input against no
// schema: a misspelt field would be ignored, so we do.
func inputOf(req *fnv1.RunFunctionRequest) (*v1beta1.Input, error) {
	in := &v1beta1.Input{}
	if req.GetInput() != nil {
		b, err := req.GetInput().MarshalJSON()
		if err != nil {
			return nil, errors.Wrap(err, "cannot marshal to JSON")
		}
		strict, err := kjson.UnmarshalStrict(b, in)
		if err != nil {
			return nil, errors.Wrap(err, "cannot unmarshal from JSON")
		}
		if len(strict) > 0 {
			msgs := make([]string, 0, len(strict))
			for _, e := range strict {
				msgs = append(msgs, e.Error())
			}
			return nil, errors.New(strings.Join(msgs, "; "))
		}
	}
	if in.ProviderConfigName == "" {
		in.ProviderConfigName = "default"
	}
	if in.GPUResourceName == "" {
		in.GPUResourceName = "amd.com/gpu"
	}
	if in.PodDiagnosis == "" {
		in.PodDiagnosis = diagnosisEnabled
	}
	return in, errors.Wrap(validate(in).ToAggregate(), "invalid")
}

// validate what would otherwise make manifests that the API server refuses, or
// be without any effect.
func validate(in *v1beta1.Input) field.ErrorList {
	var errs field.ErrorList
	if msgs := validation.IsQualifiedName(in.GPUResourceName); len(msgs) > 0 || !strings.Contains(in.GPUResourceName, "/") {
		errs = append(errs, field.Invalid(field.NewPath("gpuResourceName"), in.GPUResourceName, "must be the name of an extended resource, such as amd.com/gpu"))
	}
	if msgs := validation.IsDNS1123Subdomain(in.ProviderConfigName); len(msgs) > 0 {
		errs = append(errs, field.Invalid(field.NewPath("providerConfigName"), in.ProviderConfigName, msgs[0]))
	}
	if in.StorageClass != "" {
		if msgs := validation.IsDNS1123Subdomain(in.StorageClass); len(msgs) > 0 {
			errs = append(errs, field.Invalid(field.NewPath("storageClass"), in.StorageClass, msgs[0]))
		}
	}
	if in.Namespace != "" {
		if msgs := validation.IsDNS1123Label(in.Namespace); len(msgs) > 0 {
			errs = append(errs, field.Invalid(field.NewPath("namespace"), in.Namespace, msgs[0]))
		}
	}
	if in.PodDiagnosis != diagnosisEnabled && in.PodDiagnosis != diagnosisDisabled {
		errs = append(errs, field.NotSupported(field.NewPath("podDiagnosis"), in.PodDiagnosis, []string{diagnosisEnabled, diagnosisDisabled}))
	}

	if f := in.InventoryFrom; f != nil {
		if msgs := validation.IsDNS1123Subdomain(f.EnvironmentConfig); len(msgs) > 0 {
			errs = append(errs, field.Invalid(field.NewPath("inventoryFrom", "environmentConfig"), f.EnvironmentConfig, msgs[0]))
		}
	}
	for i, ns := range in.RecipeNamespaces {
		if msgs := validation.IsDNS1123Label(ns); ns != allNamespaces && len(msgs) > 0 {
			errs = append(errs, field.Invalid(field.NewPath("recipeNamespaces").Index(i), ns, msgs[0]))
		}
	}
	errs = append(errs, validateInventory(field.NewPath("inventory"), in.Inventory)...)
	errs = append(errs, validateImages(field.NewPath("images"), in.Images)...)
	errs = append(errs, validateTolerations(field.NewPath("tolerations"), in.Tolerations)...)
	return append(errs, validateSecurity(field.NewPath("security"), in.Security)...)
}

func validateInventory(p *field.Path, items []v1beta1.InventoryItem) field.ErrorList {
	var errs field.ErrorList
	for i, item := range items {
		errs = append(errs, validateHardware(p.Index(i).Child("hardware"), item.Hardware)...)
		if item.GPUsPerNode < 1 {
			errs = append(errs, field.Invalid(p.Index(i).Child("gpusPerNode"), item.GPUsPerNode, "must be at least 1"))
		}
	}
	return errs
}

func validateHardware(p *field.Path, hw v1alpha1.Hardware) field.ErrorList {
	if _, ok := gpu.Lookup(hw); ok {
		return nil
	}
	known := gpu.All()
	names := make([]string, len(known))
	for i, a := range known {
		names[i] = string(a.Name)
	}
	return field.ErrorList{field.NotSupported(p, string(hw), names)}
}

func validateImages(p *field.Path, images []v1beta1.EngineImage) field.ErrorList {
	var errs field.ErrorList
	for i, image := range images {
		p := p.Index(i)
		if _, ok := engine.Lookup(image.Backend); !ok {
			errs = append(errs, field.Invalid(p.Child("backend"), image.Backend, "there is no such backend"))
		}
		if image.Hardware != "" {
			errs = append(errs, validateHardware(p.Child("hardware"), image.Hardware)...)
		}
		if strings.TrimSpace(image.Image) == "" || strings.ContainsAny(image.Image, " \t\n") {
			errs = append(errs, field.Invalid(p.Child("image"), image.Image, "must be an image with its tag or digest"))
		}
	}
	return errs
}

func validateTolerations(p *field.Path, ts []corev1.Toleration) field.ErrorList {
	var errs field.ErrorList
	for i, t := range ts {
		p := p.Index(i)
		switch {
		case t.Operator == corev1.TolerationOpExists && t.Value != "":
			errs = append(errs, field.Invalid(p.Child("value"), t.Value, "must be empty when operator is Exists"))
		case t.Operator != corev1.TolerationOpExists && t.Key == "":
			errs = append(errs, field.Required(p.Child("key"), "operator must be Exists when there is no key"))
		case !slices.Contains([]corev1.TolerationOperator{"", corev1.TolerationOpEqual, corev1.TolerationOpExists}, t.Operator):
			errs = append(errs, field.NotSupported(p.Child("operator"), t.Operator, []corev1.TolerationOperator{corev1.TolerationOpEqual, corev1.TolerationOpExists}))
		}
		effects := []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}
		if t.Effect != "" && !slices.Contains(effects, t.Effect) {
			errs = append(errs, field.NotSupported(p.Child("effect"), t.Effect, effects))
		}
	}
	return errs
}

func validateSecurity(p *field.Path, s *v1alpha1.Security) field.ErrorList {
	if s == nil {
		return nil
	}
	var errs field.ErrorList
	check := func(p *field.Path, id v1alpha1.ID) {
		if id < 0 || id > maxID {
			errs = append(errs, field.Invalid(p, int64(id), "must be 0 to 2147483647"))
		}
	}
	for i, g := range s.SupplementalGroups {
		check(p.Child("supplementalGroups").Index(i), g)
	}
	if c := s.PodSecurityContext; c != nil {
		p = p.Child("podSecurityContext")
		check(p.Child("runAsUser"), ptr.Deref(c.RunAsUser, 0))
		check(p.Child("runAsGroup"), ptr.Deref(c.RunAsGroup, 0))
		check(p.Child("fsGroup"), ptr.Deref(c.FSGroup, 0))
	}
	return errs
}
