package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crossplane/function-sdk-go/errors"
	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/protobuf/types/known/durationpb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/endpoint"
	"github.com/aim-engine/function-aim/fn/model"
	"github.com/aim-engine/function-aim/fn/object"
	"github.com/aim-engine/function-aim/fn/recipe"
	"github.com/aim-engine/function-aim/input/v1beta1"
)

// Roles of a recipe's objects.
const (
	// roleEntry is the ConfigMap that is the recipe's entry in the catalog.
	roleEntry = "entry"
	// roleProtection is the Usage that keeps a recipe in use from deletion.
	roleProtection = "protection"
)

// protectionGroupVersion of Crossplane's Usages, since Crossplane 2.0.
var protectionGroupVersion = schema.GroupVersion{Group: "protection.crossplane.io", Version: "v1beta1"} //nolint:gochecknoglobals // A constant that Go cannot express as one.

// Most findings and users that a message names.
const (
	maxFindings = 10
	maxUsers    = 5
)

// composeRecipe checks a recipe, puts it into the catalog, and protects it
// while endpoints use it.
func composeRecipe(log logging.Logger, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, xr composite, in *v1beta1.Input) error {
	ref := recipe.Reference{}
	ref.Namespace, ref.Name = xr.target()
	namespace := ref.Namespace
	if namespace == "" {
		namespace = in.Namespace
	}
	if namespace == "" {
		return errors.Errorf("cannot tell which namespace to compose into: %s %q has no claim; create an AIMRecipe instead, or set namespace in this step's input", xr.kind(), xr.name())
	}
	spec, before := v1alpha1.AIMRecipeSpec{}, v1alpha1.AIMRecipeStatus{}
	if s := xr.field("spec").GetStructValue(); s != nil {
		if err := object.Convert(s, &spec); err != nil {
			return errors.Wrap(err, "cannot read spec")
		}
	}
	if s := xr.field("status").GetStructValue(); s != nil {
		if err := object.Convert(s, &before); err != nil {
			log.Info("Cannot read the composite's status, starting without", "error", err)
			before = v1alpha1.AIMRecipeStatus{}
		}
	}
	f, err := model.Find(spec.ModelID)
	if err != nil {
		return err
	}
	compiled := recipe.Compile(ref, spec, f)
	users, err := usersOf(req, rsp, xr, ref)
	if err != nil {
		return err
	}

	wanted := map[string]object.Object{}
	if compiled.Valid() {
		if wanted[roleEntry], err = entryObject(compiled.Recipe, ref, xr, in, namespace); err != nil {
			return err
		}
	}
	// Crossplane before 2 has no such kind.
	if len(users) > 0 && modern(req) {
		wanted[roleProtection] = protection(ref, users, xr, in)
	}
	conflict, failed, err := composeObjects(req, rsp, xr, wanted)
	if err != nil {
		return err
	}
	r := recipeReport{before: before, compiled: compiled, users: users, conflict: conflict, failed: failed, factsKnown: f != nil || spec.ModelFacts != nil}
	return r.write(req, rsp, xr)
}

// composeObjects of a recipe. It returns why an object was not composed, and
// why one could not be applied.
func composeObjects(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, xr composite, wanted map[string]object.Object) (string, string, error) {
	conflict, failed := "", ""
	for _, role := range slices.Sorted(maps.Keys(wanted)) {
		o := wanted[role]
		name := xr.objects().ResourceName(role)
		live := object.FromStruct(req.GetObserved().GetResources()[name].GetResource())
		if !live.Exists && modern(req) {
			c, err := taken(req, rsp, role, o.Manifest, xr)
			if err != nil {
				return "", "", err
			}
			if c != "" {
				conflict = c
				continue
			}
		}
		if !live.Synced {
			failed = live.SyncedMessage
		}
		s, err := o.Struct()
		if err != nil {
			return "", "", errors.Wrapf(err, "cannot compose role %s", role)
		}
		rsp.Desired.Resources[name] = &fnv1.Resource{Resource: s, Ready: readiness(live.Synced)}
	}
	return conflict, failed, nil
}

// recipeMeta of an object of a recipe.
func recipeMeta(ref recipe.Reference, xr composite, namespace string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name:      object.StableName("aim-recipe", ref.Namespace, ref.Name),
		Namespace: namespace,
		Labels: map[string]string{
			endpoint.LabelComposite:        endpoint.LabelValue(xr.name()),
			"app.kubernetes.io/managed-by": "function-aim",
		},
	}
}

// entryObject is the recipe's entry in the catalog.
func entryObject(r recipe.Recipe, ref recipe.Reference, xr composite, in *v1beta1.Input, namespace string) (object.Object, error) {
	data, err := recipe.Marshal(r)
	if err != nil {
		return object.Object{}, err
	}
	cm := &corev1.ConfigMap{ObjectMeta: recipeMeta(ref, xr, namespace), Data: map[string]string{entryKey: data}}
	cm.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	l := map[string]string{
		labelRecipe:      recipeLabel(ref),
		labelRecipeModel: modelLabel(r.Model),
		labelRecipeScope: scopeNamespaced,
	}
	if ref.Namespace == "" {
		l[labelRecipeScope] = scopeCluster
	} else {
		l[labelRecipeNamespace] = ref.Namespace
	}
	return object.Object{Generation: xr.objects(), ProviderConfig: in.ProviderConfigName, Labels: l, Manifest: cm}, nil
}

// protection is a Usage of whatever the user would delete: the claim, or the
// composite where there is none.
func protection(ref recipe.Reference, users []string, xr composite, in *v1beta1.Input) object.Object {
	kind := v1alpha1.KindAIMRecipe
	if ref.Namespace == "" {
		kind = v1alpha1.KindXAIMRecipe
	}
	return protectionOf(kind, ref.Namespace, ref.Name, object.StableName("aim-recipe", ref.Namespace, ref.Name), users, xr, in)
}

// protectionOf something that others use: a Usage of it, which keeps it from
// being deleted.
func protectionOf(kind, namespace, name, usage string, users []string, xr composite, in *v1beta1.Input) object.Object {
	of := map[string]any{"apiVersion": v1alpha1.GroupVersion.String(), "kind": kind, "resourceRef": map[string]any{"name": name}}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"of": of, "reason": usedBy(users)}}}
	u.SetGroupVersionKind(protectionGroupVersion.WithKind("ClusterUsage"))
	if namespace != "" {
		u.SetGroupVersionKind(protectionGroupVersion.WithKind("Usage"))
		u.SetNamespace(namespace)
	}
	u.SetName(usage)
	u.SetLabels(map[string]string{
		endpoint.LabelComposite:        endpoint.LabelValue(xr.name()),
		"app.kubernetes.io/managed-by": "function-aim",
	})
	return object.Object{Generation: xr.objects(), ProviderConfig: in.ProviderConfigName, Manifest: u}
}

// usedBy says who uses a recipe.
func usedBy(users []string) string {
	n := len(users)
	s := "1 endpoint uses it: "
	if n > 1 {
		s = fmt.Sprintf("%d endpoints use it: ", n)
	}
	s += strings.Join(users[:min(n, maxUsers)], ", ")
	if n > maxUsers {
		s += fmt.Sprintf(" and %d more", n-maxUsers)
	}
	return s
}

// usersOf a recipe: endpoints that run it, as namespace/name, sorted. Each has
// one Object that says so.
func usersOf(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, xr composite, ref recipe.Reference) ([]string, error) {
	found, _, err := require(req, rsp, "users", byLabelsAnywhere(string(xr.objects()), object.Kind, map[string]string{labelUsesRecipe: recipeLabel(ref)}))
	if err != nil {
		return nil, err
	}
	users := make([]string, 0, len(found))
	for _, s := range found {
		if (composite{raw: s}).field("metadata", "deletionTimestamp") != nil {
			continue
		}
		m := composite{raw: object.ManifestOf(s)}
		users = append(users, m.str("metadata", "namespace")+"/"+m.str("metadata", "labels", endpoint.LabelEndpoint))
	}
	slices.Sort(users)
	return slices.Compact(users), nil
}

// taken says whether somebody else has an object of the name of a manifest.
func taken(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, role string, manifest runtime.Object, xr composite) (string, error) {
	m, ok := manifest.(metav1.Object)
	if !ok {
		return "", errors.Errorf("cannot tell the name of a %T", manifest)
	}
	what, err := takenBy(req, rsp, "target-"+role, manifest, m.GetNamespace(), m.GetName(), func(l map[string]string) bool {
		return l[endpoint.LabelComposite] == endpoint.LabelValue(xr.name())
	})
	if what != "" {
		what += " that is not of this recipe; delete it, or give the recipe another name"
	}
	return what, err
}

// takenBy somebody else is the name of a manifest: it returns which object is
// there already, if it is not owned.
func takenBy(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, what string, manifest runtime.Object, namespace, name string, owned func(labels map[string]string) bool) (string, error) {
	apiVersion, kind := manifest.GetObjectKind().GroupVersionKind().ToAPIVersionAndKind()
	found, ok, err := require(req, rsp, what, byName(apiVersion, kind, namespace, name))
	if err != nil {
		return "", err
	}
	if !ok {
		// Crossplane has yet to look. Until then the name counts as taken.
		return fmt.Sprintf("it is not known yet whether there is a %s %s", kind, name), nil
	}
	for _, f := range found {
		if !owned(labels(f)) {
			return fmt.Sprintf("there is already a %s %s in namespace %s", kind, name, namespace), nil
		}
	}
	return "", nil
}

// A recipeReport is what a recipe's status and conditions say.
type recipeReport struct {
	before   v1alpha1.AIMRecipeStatus
	compiled recipe.Compiled
	users    []string
	// conflict says why the entry was not composed, and failed why it could
	// not be applied; empty if nothing stood in the way.
	conflict, failed string
	// factsKnown says whether the model's facts are known.
	factsKnown bool
}

func (r recipeReport) status(generation int64) v1alpha1.AIMRecipeStatus {
	s := v1alpha1.AIMRecipeStatus{
		Phase:              v1alpha1.RecipeReady,
		ObservedGeneration: generation,
		Usage:              &v1alpha1.RecipeUsage{EndpointCount: int32(min(len(r.users), 1<<30))}, //nolint:gosec // Bounded.
		Configurations:     r.compiled.Configurations,
		Findings:           r.compiled.Findings,
	}
	if !r.compiled.Valid() || r.conflict != "" || r.failed != "" {
		s.Phase = v1alpha1.RecipeInvalid
	}
	return s
}

// message of the condition Valid, with every finding.
func (r recipeReport) message() string {
	switch {
	case r.conflict != "" && r.compiled.Valid():
		return r.conflict
	case r.failed != "" && r.compiled.Valid():
		return "the catalog entry could not be applied: " + r.failed
	}
	enabled := 0
	for _, c := range r.compiled.Configurations {
		if c.Enabled {
			enabled++
		}
	}
	var b strings.Builder
	switch {
	case !r.compiled.Valid():
		b.WriteString("endpoints cannot use it")
	case enabled == 1:
		b.WriteString("1 configuration can be chosen")
	default:
		fmt.Fprintf(&b, "%d configurations can be chosen", enabled)
	}
	if !r.factsKnown {
		b.WriteString("; whether they fit into GPU memory is not checked, as the model's facts are not known: spec.modelFacts can bring them")
	}
	findings := r.compiled.AllFindings()
	// Errors first.
	slices.SortStableFunc(findings, func(a, b v1alpha1.RecipeFinding) int { return strings.Compare(a.Severity, b.Severity) })
	for i, f := range findings {
		if i == maxFindings {
			fmt.Fprintf(&b, "; %d more in status", len(findings)-maxFindings)
			break
		}
		fmt.Fprintf(&b, "; %s: %s: %s", strings.ToLower(f.Severity), f.Path, f.Message)
	}
	return b.String()
}

func (r recipeReport) write(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, xr composite) error {
	s := r.status(xr.observedGeneration())
	ready := s.Phase == v1alpha1.RecipeReady
	switch {
	case ready:
		response.ConditionTrue(rsp, string(v1alpha1.ConditionValid), string(v1alpha1.ReasonValidationSucceeded)).WithMessage(r.message()).TargetCompositeAndClaim()
	case r.compiled.Valid() && r.conflict != "":
		response.ConditionFalse(rsp, string(v1alpha1.ConditionValid), string(v1alpha1.ReasonNameConflict)).WithMessage(r.message()).TargetCompositeAndClaim()
	case r.compiled.Valid():
		response.ConditionFalse(rsp, string(v1alpha1.ConditionValid), string(v1alpha1.ReasonApplyFailed)).WithMessage(r.message()).TargetCompositeAndClaim()
	default:
		response.ConditionFalse(rsp, string(v1alpha1.ConditionValid), string(v1alpha1.ReasonValidationFailed)).WithMessage(r.message()).TargetCompositeAndClaim()
	}
	st, err := structOf(s)
	if err != nil {
		return errors.Wrap(err, "cannot convert status to protobuf")
	}
	dxr := rsp.GetDesired().GetComposite()
	overlay(dxr, xr, st)
	dxr.Ready = compositeReady(rsp, ready)
	if p := r.before.Phase; p != "" && p != s.Phase {
		eventf(rsp, "Recipe"+string(s.Phase), "%s", r.message())
	}
	if ready && modern(req) {
		rsp.Meta.Ttl = durationpb.New(ttlSettled)
	}
	return nil
}
