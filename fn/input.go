package main

import (
	"math"
	"net/url"
	"slices"
	"strings"

	"github.com/crossplane/function-sdk-go/errors"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	kjson "sigs.k8s.io/json"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/endpoint"
	"github.com/aim-engine/function-aim/fn/engine"
	"github.com/aim-engine/function-aim/fn/gpu"
	"github.com/aim-engine/function-aim/fn/recipe"
	"github.com/aim-engine/function-aim/input/v1beta1"
)

// Values of Input.PodDiagnosis.
const (
	diagnosisEnabled  = "Enabled"
	diagnosisDisabled = "Disabled"
)

// Values of Input.Autoscaling.Autoscaler.
const (
	autoscalerHPA  = "HorizontalPodAutoscaler"
	autoscalerKEDA = "KEDA"
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
	if strings.ContainsAny(in.AgentImage, " \t\n") {
		errs = append(errs, field.Invalid(field.NewPath("agentImage"), in.AgentImage, "must be an image with its tag or digest"))
	}
	for i, n := range in.AgentPullSecrets {
		if msgs := validation.IsDNS1123Subdomain(n); len(msgs) > 0 {
			errs = append(errs, field.Invalid(field.NewPath("agentPullSecrets").Index(i), n, msgs[0]))
		}
	}
	for _, f := range recipe.CheckEnv(field.NewPath("agentEnv"), in.AgentEnv) {
		if f.Severity == string(engine.SeverityError) {
			errs = append(errs, &field.Error{Type: field.ErrorTypeInvalid, Field: f.Path, BadValue: field.OmitValueType{}, Detail: f.Message})
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
	errs = append(errs, endpoint.ValidateTolerations(field.NewPath("tolerations"), in.Tolerations)...)
	errs = append(errs, validateClusters(field.NewPath("clusters"), in.Clusters)...)
	errs = append(errs, validateAutoscaling(field.NewPath("autoscaling"), in.Autoscaling)...)
	errs = append(errs, validateMonitoring(field.NewPath("monitoring"), in.Monitoring)...)
	errs = append(errs, validateRoute(field.NewPath("route"), in.Route)...)
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

// validateClusters, and what endpoints on them need.
func validateClusters(p *field.Path, clusters []v1beta1.Cluster) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	known := endpoint.APIs()
	for i, c := range clusters {
		p := p.Index(i)
		if msgs := validation.IsDNS1123Subdomain(c.ProviderConfigName); len(msgs) > 0 {
			errs = append(errs, field.Invalid(p.Child("providerConfigName"), c.ProviderConfigName, msgs[0]))
		}
		if seen[c.ProviderConfigName] {
			errs = append(errs, field.Duplicate(p.Child("providerConfigName"), c.ProviderConfigName))
		}
		seen[c.ProviderConfigName] = true
		errs = append(errs, validateInventory(p.Child("inventory"), c.Inventory)...)
		for j, a := range c.APIs {
			if !slices.Contains(known, endpoint.API(a)) {
				errs = append(errs, field.NotSupported(p.Child("apis").Index(j), a, known))
			}
		}
	}
	return errs
}

func validateAutoscaling(p *field.Path, a *v1beta1.Autoscaling) field.ErrorList {
	if a == nil {
		return nil
	}
	switch {
	case a.Autoscaler != "" && a.Autoscaler != autoscalerHPA && a.Autoscaler != autoscalerKEDA:
		return field.ErrorList{field.NotSupported(p.Child("autoscaler"), a.Autoscaler, []string{autoscalerHPA, autoscalerKEDA})}
	case a.Autoscaler == autoscalerKEDA && a.PrometheusAddress == "":
		return field.ErrorList{field.Required(p.Child("prometheusAddress"), "KEDA asks it for what engines measure: set it to the URL of Prometheus")}
	}
	if u, err := url.Parse(a.PrometheusAddress); a.PrometheusAddress != "" && (err != nil || u.Host == "") {
		return field.ErrorList{field.Invalid(p.Child("prometheusAddress"), a.PrometheusAddress, "must be a URL such as http://prometheus.monitoring:9090")}
	}
	return nil
}

func validateMonitoring(p *field.Path, m *v1beta1.Monitoring) field.ErrorList {
	if m == nil {
		return nil
	}
	errs := metav1validation.ValidateLabels(m.Labels, p.Child("labels"))
	errs = append(errs, metav1validation.ValidateLabels(m.DashboardLabels, p.Child("dashboardLabels"))...)
	return append(errs, endpoint.ValidatePeers(p.Child("scrapeFrom"), m.ScrapeFrom)...)
}

func validateRoute(p *field.Path, r *v1beta1.Route) field.ErrorList {
	if r == nil {
		return nil
	}
	var errs field.ErrorList
	if r.Gateway != nil && r.IngressClass != "" {
		errs = append(errs, field.Forbidden(p.Child("ingressClass"), "must not be set together with gateway"))
	}
	if g := r.Gateway; g != nil {
		for name, v := range map[string]v1alpha1.ObjectName{"name": g.Name, "namespace": g.Namespace, "sectionName": g.SectionName} {
			if msgs := validation.IsDNS1123Subdomain(string(v)); len(msgs) > 0 && (v != "" || name == "name") {
				errs = append(errs, field.Invalid(p.Child("gateway", name), v, msgs[0]))
			}
		}
	}
	if msgs := validation.IsDNS1123Subdomain(r.IngressClass); r.IngressClass != "" && len(msgs) > 0 {
		errs = append(errs, field.Invalid(p.Child("ingressClass"), r.IngressClass, msgs[0]))
	}
	// Names come from a map.
	slices.SortFunc(errs, func(a, b *field.Error) int { return strings.Compare(a.Error(), b.Error()) })
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
	if sa := s.ServiceAccount; sa != nil {
		if msgs := validation.IsDNS1123Subdomain(sa.Name); sa.Name != "" && len(msgs) > 0 {
			errs = append(errs, field.Invalid(p.Child("serviceAccount", "name"), sa.Name, msgs[0]))
		}
	}
	if r := s.APIKeySecretRef; r != nil && (r.Name == "" || r.Key == "") {
		errs = append(errs, field.Required(p.Child("apiKeySecretRef"), "must name a Secret and a key of it"))
	}
	if np := s.NetworkPolicy; np != nil {
		errs = append(errs, endpoint.ValidatePeers(p.Child("networkPolicy", "allowFrom"), np.AllowFrom)...)
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
