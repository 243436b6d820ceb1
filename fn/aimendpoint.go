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
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/endpoint"
	"github.com/aim-engine/function-aim/fn/model"
	"github.com/aim-engine/function-aim/fn/object"
	"github.com/aim-engine/function-aim/fn/recipe"
	"github.com/aim-engine/function-aim/fn/volume"
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
	e, before, err := endpointOf(log, xr, in)
	if err != nil {
		return err
	}
	live, objects, err := observe(req, xr.objects())
	if err != nil {
		return err
	}
	place := placeOf(in, e.Spec, objects[endpoint.RoleDeployment])
	live.Remote = place.remote

	outcome, err := choose(log, req, rsp, e, xr, place.in, before, live)
	if err != nil {
		return err
	}
	r := report{before: before, outcome: outcome, live: live, generation: xr.observedGeneration()}
	if outcome.Recipe == nil {
		log.Debug("No recipe", "reason", outcome.Reason)
		keepObserved(req, rsp, xr.objects(), objects)
		return r.write(req, rsp, xr)
	}

	if e.Shared, err = sharedOf(req, rsp, e, place); err != nil {
		return err
	}
	if err := lookAround(req, rsp, e, before, objects, xr.objects(), place, &live); err != nil {
		return err
	}
	next := *outcome.Recipe
	next.Image = e.ImageOf(*next.Snapshot)
	plan, err := e.Plan(next, before, live)
	if err != nil {
		return err
	}
	if e, err = e.Apply(plan, live); err != nil {
		return err
	}
	if !live.Remote {
		if live.CacheClass, err = classFor(req, rsp, e.ClassOf(live)); err != nil {
			return err
		}
	}
	if err := lookAtPreload(req, rsp, e, place.in.PodDiagnosis, &live); err != nil {
		return err
	}
	r.endpoint, r.live, r.canary, r.canaryEvent = &e, live, plan.Status, plan.Event
	r.outcome.Changed = r.outcome.Changed && plan.Runs(next)

	if r.obstacle, err = obstacleOf(req, rsp, e, live, objects, place); err != nil {
		return err
	}
	var wanted map[endpoint.Role]*structpb.Struct
	if r.obstacle.reason == "" {
		if wanted, err = wrap(req, e, live, xr, place); err != nil {
			return err
		}
		if o := observedObject(req, xr.objects(), endpoint.RoleDeployment); plan.Frozen && o != nil {
			wanted[endpoint.RoleDeployment] = object.Keep(o)
		}
		r.obstacle = probe(e, wanted, objects, place)
	}
	if r.obstacle.reason != "" {
		keepObserved(req, rsp, xr.objects(), objects)
		return r.write(req, rsp, xr)
	}
	release(req, wanted, objects, live, xr.objects())
	r.live.Applying = !objects[endpoint.RoleDeployment].Applied(wanted[endpoint.RoleDeployment])
	maps.DeleteFunc(r.live.ApplyErrors, func(role endpoint.Role, _ string) bool { return wanted[role] == nil })
	if err := compose(rsp, e, r, xr, wanted, objects); err != nil {
		return err
	}
	r.apiKey = observedConnection(req, xr.objects(), endpoint.RoleAPIKey, connectionAPIKey)
	return r.write(req, rsp, xr)
}

// endpointOf a composite, and the status that it has.
func endpointOf(log logging.Logger, xr composite, in *v1beta1.Input) (endpoint.Endpoint, v1alpha1.AIMEndpointStatus, error) {
	e := endpoint.Endpoint{Composite: xr.name(), Platform: platform(in)}
	before := v1alpha1.AIMEndpointStatus{}
	e.Namespace, e.Name = xr.target()
	if e.Namespace == "" {
		e.Namespace = in.Namespace
	}
	if e.Namespace == "" {
		return e, before, errors.Errorf("cannot tell which namespace to compose into: %s %q has no claim; create an AIMEndpoint instead, or set namespace in this step's input", xr.kind(), xr.name())
	}
	if s := xr.field("spec").GetStructValue(); s != nil {
		if err := object.Convert(s, &e.Spec); err != nil {
			return e, before, errors.Wrap(err, "cannot read spec")
		}
	}
	endpoint.Default(&e.Spec)
	if s := xr.field("status").GetStructValue(); s != nil {
		if err := object.Convert(s, &before); err != nil {
			// A status is ours to write. One that we cannot read is as good as none.
			log.Info("Cannot read the composite's status, starting without", "error", err)
			before = v1alpha1.AIMEndpointStatus{}
		}
	}
	return e, before, nil
}

// lookAround for what is of interest of an endpoint beyond its own objects.
func lookAround(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, e endpoint.Endpoint, before v1alpha1.AIMEndpointStatus, objects map[endpoint.Role]object.Live, g object.Generation, p place, live *endpoint.Live) error {
	if err := diagnose(req, rsp, e, p.in, live); err != nil {
		return err
	}
	var err error
	if live.APIs, err = apisOf(req, rsp, e, p, objects); err != nil {
		return err
	}
	if err := gatewayOf(req, rsp, e, live); err != nil {
		return err
	}
	live.Applying, err = applying(e, before, *live, objects, g, p)
	return err
}

// obstacleOf an endpoint: a mistake in its spec, or a name that is taken.
func obstacleOf(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, e endpoint.Endpoint, live endpoint.Live, objects map[endpoint.Role]object.Live, p place) (obstacle, error) {
	if p.problem != "" {
		return obstacle{v1alpha1.ReasonApplyFailed, p.problem}, nil
	}
	missing, err := dangling(req, rsp, e, p)
	if err != nil {
		return obstacle{}, err
	}
	if problems := append(e.Problems(), missing...); len(problems) > 0 {
		return obstacle{v1alpha1.ReasonApplyFailed, strings.Join(problems, "; ") + "; until then all stays as it is"}, nil
	}
	if p.remote {
		return obstacle{}, nil
	}
	conflict, err := claimed(req, rsp, e, live, objects)
	if err != nil || conflict == "" {
		return obstacle{}, err
	}
	return obstacle{v1alpha1.ReasonNameConflict, conflict}, nil
}

func platform(in *v1beta1.Input) endpoint.Platform {
	p := endpoint.Platform{
		GPUResourceName: in.GPUResourceName,
		Agent:           agentOf(in),
		StorageClass:    in.StorageClass,
		Tolerations:     in.Tolerations,
		Security:        in.Security,
	}
	if a := in.Autoscaling; a != nil && a.Autoscaler == autoscalerKEDA {
		p.KEDA = &endpoint.KEDA{PrometheusAddress: a.PrometheusAddress, ActivationQuery: a.ActivationQuery}
	}
	if m := in.Monitoring; m != nil {
		p.MonitoringLabels, p.DashboardLabels, p.ScrapeFrom = m.Labels, m.DashboardLabels, m.ScrapeFrom
	}
	if r := in.Route; r != nil {
		p.Gateway, p.IngressClass = r.Gateway, r.IngressClass
	}
	return p
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
		Tried:       tried(before),
		Running:     live.Serving() || onItsWay(before, live),
		Image:       func(c recipe.Candidate, image string) string { return engineImage(in, c, image) },
	})
}

// tried recipe of the last canary, unless it was promoted.
func tried(before v1alpha1.AIMEndpointStatus) *v1alpha1.SelectedRecipe {
	if c := before.Canary; c != nil && c.Phase != v1alpha1.CanaryPromoted {
		return &c.Recipe
	}
	return nil
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
func claimed(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, e endpoint.Endpoint, live endpoint.Live, objects map[endpoint.Role]object.Live) (string, error) {
	if !modern(req) {
		// Crossplane before 2.2 can only get cluster scoped objects by name.
		return "", nil
	}
	ms, err := e.Render(live)
	if err != nil {
		return "", err
	}
	conflict, unanswered := "", ""
	for _, m := range ms {
		if l := objects[m.Role]; (l.Exists && !l.Observing) || m.Partial || m.Connection != nil {
			continue
		}
		apiVersion, kind := m.Object.GetObjectKind().GroupVersionKind().ToAPIVersionAndKind()
		name := e.TargetName(m.Role)
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

// diagnose a workload that is not available, and a canary: ask for their pods.
func diagnose(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, e endpoint.Endpoint, in *v1beta1.Input, live *endpoint.Live) error {
	if in.PodDiagnosis != diagnosisEnabled || live.Remote {
		return nil
	}
	var err error
	if live.Deployment != nil && !live.Available() {
		if live.Pods, err = podsOf(req, rsp, "pods", e.Namespace, e.Selector(*live)); err != nil {
			return err
		}
	}
	if live.Canary != nil {
		live.CanaryPods, err = podsOf(req, rsp, "canary-pods", e.Namespace, e.CanarySelector())
	}
	return err
}

func podsOf(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, what, namespace string, selector map[string]string) ([]corev1.Pod, error) {
	found, _, err := require(req, rsp, what, byLabels("v1", "Pod", namespace, selector))
	if err != nil {
		return nil, err
	}
	var out []corev1.Pod
	for _, s := range found {
		p := corev1.Pod{}
		if err := object.Convert(s, &p); err != nil {
			return nil, errors.Wrap(err, "cannot read a pod")
		}
		if p.Namespace == namespace {
			out = append(out, p)
		}
	}
	return out, nil
}

// classFor looks up a storage class. Nothing is known of none.
func classFor(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, name string) (volume.Class, error) {
	if name == "" {
		return volume.Class{}, nil
	}
	found, known, err := require(req, rsp, "class", byName("storage.k8s.io/v1", "StorageClass", "", name))
	if err != nil || len(found) == 0 {
		return volume.Class{Known: known}, err
	}
	sc := &storagev1.StorageClass{}
	if err := object.Convert(found[0], sc); err != nil {
		return volume.Class{}, errors.Wrap(err, "cannot read a StorageClass")
	}
	return volume.Class{
		Known: true, Exists: true,
		Expandable: ptr.Deref(sc.AllowVolumeExpansion, false),
		Immediate:  ptr.Deref(sc.VolumeBindingMode, "") == storagev1.VolumeBindingImmediate,
	}, nil
}

// applying says whether the recipe that a canary proved is still to be applied:
// what is live may be what was wanted before.
func applying(e endpoint.Endpoint, before v1alpha1.AIMEndpointStatus, live endpoint.Live, objects map[endpoint.Role]object.Live, g object.Generation, p place) (bool, error) {
	if c := before.Canary; c == nil || c.Phase != v1alpha1.CanaryPromoting || before.SelectedRecipe == nil || before.SelectedRecipe.Snapshot == nil {
		return false, nil
	}
	e, err := e.Apply(endpoint.Plan{Recipe: *before.SelectedRecipe}, live)
	if err != nil {
		return false, err
	}
	s, err := wrapped(e, e.Workload(live), g, p).Struct()
	if err != nil {
		return false, errors.Wrap(err, "cannot compose the Deployment")
	}
	return !objects[endpoint.RoleDeployment].Applied(s), nil
}

// wrap the endpoint's manifests as Objects.
func wrap(req *fnv1.RunFunctionRequest, e endpoint.Endpoint, live endpoint.Live, xr composite, p place) (map[endpoint.Role]*structpb.Struct, error) {
	ms, err := e.Render(live)
	if err != nil {
		return nil, err
	}
	out := map[endpoint.Role]*structpb.Struct{}
	for _, m := range ms {
		before := observedObject(req, xr.objects(), m.Role)
		made := before != nil && !object.FromStruct(before).Observing
		if made && (m.Keep || m.Hold) {
			out[m.Role] = object.Keep(before)
			continue
		}
		o := wrapped(e, m, xr.objects(), p)
		if m.Connection != nil {
			if o.Connection = apiKeyOf(e, *m.Connection, xr); o.Connection == nil {
				continue
			}
		}
		s, err := o.Struct()
		if err != nil {
			return nil, errors.Wrapf(err, "cannot compose role %s", m.Role)
		}
		if m.Hold {
			// So that whoever renders or looks sees what will be.
			s = object.Observing(s)
		}
		out[m.Role] = s
	}
	return out, nil
}

// wrapped manifest of an endpoint.
func wrapped(e endpoint.Endpoint, m endpoint.Manifest, g object.Generation, p place) object.Object {
	o := object.Object{Generation: g, ProviderConfig: p.providerConfig, Manifest: m.Object}
	switch {
	case m.Connection != nil:
		o.Policy = object.PolicyObserve
	case m.Partial:
		o.Policy = object.PolicyPartial
	case m.Retain:
		o.Policy = object.PolicyRetain
	}
	if m.Role == endpoint.RoleAutoscaler || (p.remote && m.Role == endpoint.RoleDeployment) {
		// Nothing tells us of what an autoscaler measures, nor of a cluster that is
		// out of reach.
		o.PollInterval = "1m"
	}
	// Recipes count and protect by this label.
	switch c := e.Canary; {
	case m.Role == endpoint.RoleConfig:
		o.Labels = usesRecipe(e.Recipe)
		if name := string(e.Spec.Cache.Name); name != "" {
			// Caches count and protect by this one, and keep the model.
			usesCache(&o, e, name)
		}
	case m.Role == endpoint.RoleCanary && c != nil:
		o.Labels = usesRecipe(c.Recipe)
		if c.Shared != nil {
			usesCache(&o, *c, c.Shared.Name)
		}
	case m.Role == endpoint.RoleCache:
		// A volume that outlives its endpoint is found again by an Object of
		// the same name: its field manager is the Object's name.
		o.Name = object.StableName("aim-cache", e.Namespace, e.Name)
	}
	return o
}

// usesCache says on an Object which cache an endpoint uses, and for what.
func usesCache(o *object.Object, e endpoint.Endpoint, name string) {
	o.Labels = joined(o.Labels, map[string]string{labelUsesCache: cacheLabel(e.Namespace, name)})
	o.Annotations = map[string]string{annotationModel: e.Recipe.Snapshot.Model}
}

// joined labels: those of the first, and on top those of the second.
func joined(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, b)
	return out
}

func usesRecipe(r v1alpha1.SelectedRecipe) map[string]string {
	if r.Source == recipe.SourceBuiltin.String() {
		return nil
	}
	return map[string]string{labelUsesRecipe: recipeLabel(recipe.Reference{Namespace: r.Namespace, Name: r.Name})}
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
		ready := objects[role].Synced || role.Optional()
		switch role { //nolint:exhaustive // The others gate nothing.
		case endpoint.RoleDeployment:
			ready = ready && ok[v1alpha1.ConditionWorkloadReady]
		case endpoint.RoleService:
			ready = ready && ok[v1alpha1.ConditionServiceReady]
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
func keepObserved(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, g object.Generation, objects map[endpoint.Role]object.Live) {
	for role, o := range objects {
		if name := g.ResourceName(string(role)); o.Exists {
			rsp.Desired.Resources[name] = keep(req, name)
		}
	}
}

// keep a composed resource as it is.
func keep(req *fnv1.RunFunctionRequest, name string) *fnv1.Resource {
	o := req.GetObserved().GetResources()[name].GetResource()
	l := object.FromStruct(o)
	return &fnv1.Resource{Resource: object.Keep(o), Ready: readiness(l.Synced && l.Ready)}
}

func readiness(ok bool) fnv1.Ready {
	if ok {
		return fnv1.Ready_READY_TRUE
	}
	return fnv1.Ready_READY_FALSE
}
