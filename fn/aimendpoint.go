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
	"google.golang.org/protobuf/types/known/structpb"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/endpoint"
	"github.com/aim-engine/function-aim/fn/engine"
	"github.com/aim-engine/function-aim/fn/gpu"
	"github.com/aim-engine/function-aim/fn/model"
	"github.com/aim-engine/function-aim/fn/object"
	"github.com/aim-engine/function-aim/fn/recipe"
	"github.com/aim-engine/function-aim/input/v1beta1"
)

const (
	annotationSkipMemoryCheck = "aim.engine.amd.com/skip-memory-check"

	// contextSelectedRecipe is where later steps of a pipeline find the recipe.
	contextSelectedRecipe = "aim.engine.amd.com/selected-recipe"
)

// composeEndpoint reads what there is, decides which recipe runs, composes what
// runs it, and reports what became of it.
func composeEndpoint(log logging.Logger, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, xr composite, in *v1beta1.Input) error {
	e := endpoint.Endpoint{Composite: xr.name(), Platform: platform(in)}
	e.Namespace, e.Name = xr.target()
	if e.Namespace == "" {
		e.Namespace = in.Namespace
	}
	if e.Namespace == "" {
		return errors.Errorf("cannot tell which namespace to compose into: %s %q has no claim; create an AIMEndpoint instead, or set namespace in this step's input", xr.kind(), xr.name())
	}
	if s := xr.field("spec").GetStructValue(); s != nil {
		if err := object.Convert(s, &e.Spec); err != nil {
			return errors.Wrap(err, "cannot read spec")
		}
	}
	endpoint.Default(&e.Spec)
	before := v1alpha1.AIMEndpointStatus{}
	if s := xr.field("status").GetStructValue(); s != nil {
		if err := object.Convert(s, &before); err != nil {
			// A status is ours to write. One that we cannot read is as good as none.
			log.Info("Cannot read the composite's status, starting without", "error", err)
			before = v1alpha1.AIMEndpointStatus{}
		}
	}
	live, objects, err := observe(req, xr.objects())
	if err != nil {
		return err
	}

	outcome, err := choose(log, req, rsp, e, xr, in, before, live)
	if err != nil {
		return err
	}
	r := report{before: before, outcome: outcome, live: live, generation: xr.observedGeneration()}
	if outcome.Recipe == nil {
		log.Debug("No recipe", "reason", outcome.Reason)
		keepObserved(req, rsp, xr.objects())
		return r.write(req, rsp, xr)
	}
	e.Recipe = *outcome.Recipe
	e.Accelerator, _ = gpu.Lookup(e.Recipe.Hardware)
	e.Engine, _ = engine.Lookup(e.Recipe.Backend)
	if e.Accelerator.Name == "" || e.Engine.Name == "" {
		return errors.Errorf("cannot render pinned recipe %s: this version of the function knows no hardware %q or no backend %q", e.Recipe.Name, e.Recipe.Hardware, e.Recipe.Backend)
	}
	r.endpoint = &e

	conflict, err := claimed(req, rsp, e, objects)
	if err != nil {
		return err
	}
	if conflict != "" {
		r.conflict = conflict
		keepObserved(req, rsp, xr.objects())
		return r.write(req, rsp, xr)
	}

	if err := diagnose(req, rsp, e, in, &r.live); err != nil {
		return err
	}
	wanted, err := wrap(e, r.live, xr.objects(), in)
	if err != nil {
		return err
	}
	r.live.Applying = !objects[endpoint.RoleDeployment].Applied(wanted[endpoint.RoleDeployment])
	maps.DeleteFunc(r.live.ApplyErrors, func(role endpoint.Role, _ string) bool { return wanted[role] == nil })
	if err := compose(rsp, e, r, xr, wanted, objects); err != nil {
		return err
	}
	return r.write(req, rsp, xr)
}

func platform(in *v1beta1.Input) endpoint.Platform {
	return endpoint.Platform{
		GPUResourceName: in.GPUResourceName,
		StorageClass:    in.StorageClass,
		Tolerations:     in.Tolerations,
		Security:        in.Security,
	}
}

// roles of an endpoint's objects.
func roles() []endpoint.Role {
	return []endpoint.Role{
		endpoint.RoleConfig, endpoint.RoleCache, endpoint.RoleDeployment,
		endpoint.RoleReplicas, endpoint.RoleService, endpoint.RoleAutoscaler,
	}
}

// observe what is live.
func observe(req *fnv1.RunFunctionRequest, g object.Generation) (endpoint.Live, map[endpoint.Role]object.Live, error) {
	objects := map[endpoint.Role]object.Live{}
	live := endpoint.Live{ApplyErrors: map[endpoint.Role]string{}}
	for _, r := range roles() {
		o := object.FromStruct(req.GetObserved().GetResources()[g.ResourceName(string(r))].GetResource())
		objects[r] = o
		if !o.Synced {
			live.ApplyErrors[r] = o.SyncedMessage
		}
		if r == endpoint.RoleReplicas {
			live.ReplicasManaged = o.Exists
		}
	}
	var err error
	if live.Deployment, err = into[appsv1.Deployment](objects[endpoint.RoleDeployment]); err != nil {
		return live, nil, errors.Wrap(err, "cannot read the live Deployment")
	}
	if live.Service, err = into[corev1.Service](objects[endpoint.RoleService]); err != nil {
		return live, nil, errors.Wrap(err, "cannot read the live Service")
	}
	if live.Cache, err = into[corev1.PersistentVolumeClaim](objects[endpoint.RoleCache]); err != nil {
		return live, nil, errors.Wrap(err, "cannot read the live PersistentVolumeClaim")
	}
	if live.Autoscaler, err = into[autoscalingv2.HorizontalPodAutoscaler](objects[endpoint.RoleAutoscaler]); err != nil {
		return live, nil, errors.Wrap(err, "cannot read the live HorizontalPodAutoscaler")
	}
	return live, objects, nil
}

func into[T any](o object.Live) (*T, error) {
	out := new(T)
	ok, err := o.Into(out)
	if err != nil || !ok {
		return nil, err
	}
	return out, nil
}

// choose which recipe runs.
func choose(log logging.Logger, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, e endpoint.Endpoint, xr composite, in *v1beta1.Input, before v1alpha1.AIMEndpointStatus, live endpoint.Live) (recipe.Outcome, error) {
	s := e.Spec
	want := recipe.Constraints{
		Model:           s.Model.ID,
		Hardware:        s.Recipe.Hardware,
		Precision:       s.Recipe.Precision,
		Backend:         s.Recipe.Backend,
		GPUCount:        ptr.Deref(s.Recipe.GPUCount, ptr.Deref(s.Resources.GPUCount, 0)),
		Objective:       s.Recipe.Objective,
		SkipMemoryCheck: xr.annotation(annotationSkipMemoryCheck) == "true",
	}
	nodes, unusable, err := inventoryOf(req, rsp, in)
	if err != nil {
		return recipe.Outcome{}, err
	}
	want.Inventory = nodes
	cat, err := catalogOf(log, req, rsp, xr, in, e.Namespace, s.Recipe.CustomRecipe, &want)
	if err != nil {
		return recipe.Outcome{}, err
	}
	f, err := model.Find(want.Model)
	if err != nil {
		return recipe.Outcome{}, err
	}
	d := recipe.Select(cat.recipes, want, f)
	switch {
	case cat.unusable != "":
		d = recipe.Decision{Reason: cat.reason, Message: cat.unusable}
	case unusable != "":
		d = recipe.Decision{Reason: v1alpha1.ReasonNoRecipeMatches, Message: unusable}
	case d.Reason == v1alpha1.ReasonNoRecipeForModel:
		advice, err := suggest(want.Model)
		if err != nil {
			return recipe.Outcome{}, err
		}
		d.Message += advice
	}
	return recipe.Settle(d, recipe.Request{
		Constraints: want,
		Revision:    s.Model.Revision,
		Policy:      s.Recipe.UpgradePolicy,
		Pinned:      before.SelectedRecipe,
		Running:     live.Serving() || onItsWay(before, live),
		Image:       func(c recipe.Candidate, image string) string { return engineImage(in, c, image) },
	})
}

// onItsWay says whether a workload is on its way: loading a model can take an
// hour, which is not to be thrown away.
func onItsWay(before v1alpha1.AIMEndpointStatus, live endpoint.Live) bool {
	return live.Deployment != nil && before.Phase == v1alpha1.PhaseStarting &&
		(before.Reason == string(v1alpha1.ReasonStarting) || before.Reason == string(v1alpha1.ReasonRolloutInProgress))
}

// suggest models that the user may have meant.
func suggest(id string) (string, error) {
	all, err := recipe.BuiltinModels()
	if err != nil {
		return "", err
	}
	near := slices.DeleteFunc(slices.Clone(all), func(m string) bool {
		_, a, _ := strings.Cut(strings.ToLower(m), "/")
		_, b, _ := strings.Cut(strings.ToLower(id), "/")
		return !strings.Contains(a, b) && !strings.Contains(b, a)
	})
	if len(near) > 0 {
		return fmt.Sprintf("; did you mean %s? Set spec.model.id to it", strings.Join(near, " or ")), nil
	}
	return fmt.Sprintf("; set spec.model.id to one of %s, or create an AIMRecipe for it", strings.Join(all, ", ")), nil
}

// engineImage is the platform's image of an engine, if it has one. One for the
// hardware at hand goes before one for all.
func engineImage(in *v1beta1.Input, c recipe.Candidate, image string) string {
	for _, hw := range []v1alpha1.Hardware{c.Recipe.Hardware, ""} {
		for _, i := range in.Images {
			if i.Backend == c.Recipe.Backend && i.Hardware == hw {
				return i.Image
			}
		}
	}
	return image
}

// claimed says whether somebody else has an object of a name that we would
// use: provider-kubernetes would take it over without a word. Objects that
// exist already are past that question.
func claimed(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, e endpoint.Endpoint, objects map[endpoint.Role]object.Live) (string, error) {
	if !modern(req) {
		// Crossplane before 2.2 can only get cluster scoped objects by name.
		return "", nil
	}
	conflict, unanswered := "", ""
	for _, m := range e.Render(endpoint.Live{}) {
		if objects[m.Role].Exists {
			continue
		}
		apiVersion, kind := m.Object.GetObjectKind().GroupVersionKind().ToAPIVersionAndKind()
		name := endpoint.TargetName(e.Name, m.Role)
		found, ok, err := require(req, rsp, "target-"+string(m.Role), byName(apiVersion, kind, e.Namespace, name))
		if err != nil {
			return "", err
		}
		if !ok {
			// Crossplane has yet to look. Until then the name counts as taken.
			unanswered = fmt.Sprintf("it is not known yet whether there is a %s %s", kind, name)
		}
		for _, f := range found {
			if conflict == "" && !e.Owns(m.Role, labels(f)) {
				conflict = fmt.Sprintf("there is already a %s %s in namespace %s that is not of this endpoint%s; delete it, or give the endpoint another name", kind, name, e.Namespace, owner(f))
			}
		}
	}
	if conflict != "" {
		return conflict, nil
	}
	return unanswered, nil
}

func labels(s *structpb.Struct) map[string]string {
	out := map[string]string{}
	for k, v := range s.GetFields()["metadata"].GetStructValue().GetFields()["labels"].GetStructValue().GetFields() {
		out[k] = v.GetStringValue()
	}
	return out
}

// owner of an object that another endpoint left.
func owner(s *structpb.Struct) string {
	if c := labels(s)[endpoint.LabelComposite]; c != "" {
		return fmt.Sprintf(" but of %s", c)
	}
	return ""
}

// diagnose a workload that is not available: ask for its pods. And for the
// class of a volume that should grow.
func diagnose(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, e endpoint.Endpoint, in *v1beta1.Input, live *endpoint.Live) error {
	if live.Deployment != nil && !live.Available() && in.PodDiagnosis == diagnosisEnabled {
		pods, _, err := require(req, rsp, "pods", byLabels("v1", "Pod", e.Namespace, e.Selector(*live)))
		if err != nil {
			return err
		}
		for _, s := range pods {
			p := corev1.Pod{}
			if err := object.Convert(s, &p); err != nil {
				return errors.Wrap(err, "cannot read a pod")
			}
			if p.Namespace == e.Namespace {
				live.Pods = append(live.Pods, p)
			}
		}
	}
	if class := e.GrowingClass(*live); class != "" {
		found, _, err := require(req, rsp, "class", byName("storage.k8s.io/v1", "StorageClass", "", class))
		if err != nil {
			return err
		}
		for _, s := range found {
			sc := storagev1.StorageClass{}
			if err := object.Convert(s, &sc); err != nil {
				return errors.Wrap(err, "cannot read a StorageClass")
			}
			live.CacheExpandable = ptr.Deref(sc.AllowVolumeExpansion, false)
		}
	}
	return nil
}

// wrap the endpoint's manifests as Objects.
func wrap(e endpoint.Endpoint, live endpoint.Live, g object.Generation, in *v1beta1.Input) (map[endpoint.Role]*structpb.Struct, error) {
	out := map[endpoint.Role]*structpb.Struct{}
	for _, m := range e.Render(live) {
		o := object.Object{Generation: g, ProviderConfig: in.ProviderConfigName, Manifest: m.Object}
		switch {
		case m.Partial:
			o.Policy = object.PolicyPartial
		case m.Retain:
			o.Policy = object.PolicyRetain
		}
		if rec := e.Recipe; m.Role == endpoint.RoleConfig && rec.Source != recipe.SourceBuiltin.String() {
			// Recipes count and protect by this label.
			o.Labels = map[string]string{labelUsesRecipe: recipeLabel(recipe.Reference{Namespace: rec.Namespace, Name: rec.Name})}
		}
		if m.Role == endpoint.RoleCache {
			// A volume that outlives its endpoint is found again by an Object of
			// the same name: its field manager is the Object's name.
			o.Name = object.StableName("aim-cache", e.Namespace, e.Name)
		}
		s, err := o.Struct()
		if err != nil {
			return nil, errors.Wrapf(err, "cannot compose role %s", m.Role)
		}
		out[m.Role] = s
	}
	return out, nil
}

// compose the endpoint's Objects.
func compose(rsp *fnv1.RunFunctionResponse, e endpoint.Endpoint, r report, xr composite, wanted map[endpoint.Role]*structpb.Struct, objects map[endpoint.Role]object.Live) error {
	ok := map[v1alpha1.ConditionType]bool{}
	for _, c := range r.conditions() {
		ok[c.Type] = c.OK
	}
	for role, s := range wanted {
		// What does not gate the endpoint is ready unless it is known to fail:
		// each step to readiness is a change that Crossplane tells of.
		ready := objects[role].Synced
		switch role {
		case endpoint.RoleDeployment:
			ready = ready && ok[v1alpha1.ConditionWorkloadReady]
		case endpoint.RoleService:
			ready = ready && ok[v1alpha1.ConditionServiceReady]
		case endpoint.RoleConfig, endpoint.RoleCache, endpoint.RoleReplicas, endpoint.RoleAutoscaler:
		}
		rsp.Desired.Resources[xr.objects().ResourceName(string(role))] = &fnv1.Resource{Resource: s, Ready: readiness(ready)}
	}

	rec, err := structOf(map[string]any{
		"name": e.Recipe.Name, "model": e.Recipe.Snapshot.Model, "hardware": string(e.Recipe.Hardware), "gpuCount": e.Recipe.GPUCount,
		"precision": string(e.Recipe.Precision), "backend": string(e.Recipe.Backend), "image": e.Image(),
	})
	if err != nil {
		return errors.Wrap(err, "cannot put the recipe into the pipeline's context")
	}
	response.SetContextKey(rsp, contextSelectedRecipe, structpb.NewStructValue(rec))
	return nil
}

// keepObserved composes again what is composed already, as it is. Not to return
// it would delete it.
func keepObserved(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, g object.Generation) {
	for _, role := range roles() {
		name := g.ResourceName(string(role))
		o := req.GetObserved().GetResources()[name].GetResource()
		if o == nil {
			continue
		}
		l := object.FromStruct(o)
		rsp.Desired.Resources[name] = &fnv1.Resource{Resource: object.Keep(o), Ready: readiness(l.Synced && l.Ready)}
	}
}

func readiness(ok bool) fnv1.Ready {
	if ok {
		return fnv1.Ready_READY_TRUE
	}
	return fnv1.Ready_READY_FALSE
}
