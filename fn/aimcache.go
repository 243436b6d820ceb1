package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/crossplane/function-sdk-go/errors"
	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/protobuf/types/known/durationpb"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/cache"
	"github.com/aim-engine/function-aim/fn/endpoint"
	"github.com/aim-engine/function-aim/fn/inventory"
	"github.com/aim-engine/function-aim/fn/object"
	"github.com/aim-engine/function-aim/fn/volume"
	"github.com/aim-engine/function-aim/input/v1beta1"
)

// Labels and annotations of the Object of an endpoint's ConfigMap, by which a
// cache finds those who use it, and which model they need of it.
const (
	labelUsesCache  = "aim.engine.amd.com/uses-cache"
	annotationModel = "aim.engine.amd.com/uses-model"
)

// composeCache composes a volume, what fills and cleans it, and what keeps it
// from being deleted while endpoints use it.
func composeCache(log logging.Logger, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, xr composite, in *v1beta1.Input) error {
	c, before, err := cacheOf(log, xr, in)
	if err != nil {
		return err
	}
	users, models, err := cacheUsers(req, rsp, xr, c)
	if err != nil {
		return err
	}
	c.Used = models
	if err := holds(req, xr.objects(), &c); err != nil {
		return err
	}
	live, objects, err := observeCache(req, xr.objects())
	if err != nil {
		return err
	}
	r := cacheReport{before: before, cache: c, users: users}
	// What is used is protected, whatever else is wrong with it.
	if err := protectCache(req, rsp, xr, c, users, in); err != nil {
		return err
	}
	if problems := c.Problems(); len(problems) > 0 {
		r.obstacle = obstacle{v1alpha1.ReasonInvalid, strings.Join(problems, "; ") + "; until then all stays as it is"}
		keepCache(req, rsp, xr.objects(), objects)
		r.live = live
		return r.write(req, rsp, xr)
	}
	if in.PodDiagnosis == diagnosisEnabled && c.Downloads(live) {
		if live.Pods, err = podsOf(req, rsp, "pods", c.Namespace, c.AgentPods()); err != nil {
			return err
		}
	}
	if live.Class, err = classFor(req, rsp, c.Volume().ClassOf(live.Volume)); err != nil {
		return err
	}
	r.live = live

	ms, err := c.Render(live)
	if err != nil {
		return err
	}
	taken, err := cacheConflict(req, rsp, c, ms, objects)
	if err != nil {
		return err
	}
	if taken != "" {
		r.obstacle = obstacle{v1alpha1.ReasonNameConflict, taken + " that is not of this cache; delete it, or give the cache another name"}
		keepCache(req, rsp, xr.objects(), objects)
		return r.write(req, rsp, xr)
	}
	for _, m := range ms {
		if name := xr.objects().ResourceName(string(m.Role)); m.Keep {
			rsp.Desired.Resources[name] = keep(req, name)
			continue
		}
		o := object.Object{Generation: xr.objects(), ProviderConfig: in.ProviderConfigName, Manifest: m.Object, Watch: m.Role == cache.RoleInventory}
		if m.Retain {
			o.Policy = object.PolicyRetain
		}
		if m.Role == cache.RoleVolume {
			o.Name = object.StableName("aim-storage", c.Namespace, c.Name)
		}
		s, err := o.Struct()
		if err != nil {
			return errors.Wrapf(err, "cannot compose role %s", m.Role)
		}
		// What the cache is ready by is in its conditions.
		rsp.Desired.Resources[xr.objects().ResourceName(string(m.Role))] = &fnv1.Resource{Resource: s, Ready: readiness(objects[m.Role].Synced)}
	}
	return r.write(req, rsp, xr)
}

// protectCache from being deleted while it is used.
func protectCache(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, xr composite, c cache.Cache, users []string, in *v1beta1.Input) error {
	// Crossplane before 2 has no such kind.
	if len(users) == 0 || !modern(req) {
		return nil
	}
	o := protectionOf(v1alpha1.KindAIMCache, c.Namespace, c.Name, object.StableName("aim-cache", c.Namespace, c.Name), users, xr, in)
	s, err := o.Struct()
	if err != nil {
		return errors.Wrap(err, "cannot compose the protection")
	}
	rsp.Desired.Resources[xr.objects().ResourceName(roleProtection)] = &fnv1.Resource{Resource: s, Ready: fnv1.Ready_READY_TRUE}
	return nil
}

// cacheConflict is an object of somebody else that has the name of one of a
// cache's; empty if there is none. All are asked for at once: Crossplane gives
// up on a function that keeps asking for more.
func cacheConflict(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, c cache.Cache, ms []cache.Manifest, objects map[cache.Role]object.Live) (string, error) {
	conflict := ""
	for _, m := range ms {
		if objects[m.Role].Exists || !modern(req) {
			continue
		}
		taken, err := takenBy(req, rsp, "target-"+string(m.Role), m.Object, c.Namespace, c.TargetName(m.Role), func(l map[string]string) bool { return c.Owns(m.Role, l) })
		if err != nil {
			return "", err
		}
		conflict = cmp.Or(conflict, taken)
	}
	return conflict, nil
}

// cacheOf a composite, and the status that it has.
func cacheOf(log logging.Logger, xr composite, in *v1beta1.Input) (cache.Cache, v1alpha1.AIMCacheStatus, error) {
	c := cache.Cache{Composite: xr.name(), Platform: cache.Platform{
		Agent: agentOf(in), StorageClass: in.StorageClass, GPUResourceName: in.GPUResourceName, Tolerations: in.Tolerations,
	}}
	before := v1alpha1.AIMCacheStatus{}
	c.Namespace, c.Name = xr.target()
	if c.Namespace == "" {
		c.Namespace = in.Namespace
	}
	if c.Namespace == "" {
		return c, before, errors.Errorf("cannot tell which namespace to compose into: %s %q has no claim; create an AIMCache instead, or set namespace in this step's input", xr.kind(), xr.name())
	}
	if s := xr.field("spec").GetStructValue(); s != nil {
		if err := object.Convert(s, &c.Spec); err != nil {
			return c, before, errors.Wrap(err, "cannot read spec")
		}
	}
	cache.Default(&c.Spec)
	if s := xr.field("status").GetStructValue(); s != nil {
		if err := object.Convert(s, &before); err != nil {
			log.Info("Cannot read the composite's status, starting without", "error", err)
			before = v1alpha1.AIMCacheStatus{}
		}
	}
	return c, before, nil
}

// holds tells a cache what its live volume was asked to hold, and who can mount
// it.
func holds(req *fnv1.RunFunctionRequest, g object.Generation, c *cache.Cache) error {
	v := corev1.PersistentVolumeClaim{}
	if _, err := object.FromStruct(req.GetObserved().GetResources()[g.ResourceName(string(cache.RoleVolume))].GetResource()).Into(&v); err != nil {
		return errors.Wrap(err, "cannot read the live PersistentVolumeClaim")
	}
	c.Holds = v.Spec.Resources.Requests[corev1.ResourceStorage]
	if len(v.Spec.AccessModes) > 0 {
		c.Mode = v.Spec.AccessModes[0]
	}
	return nil
}

// observeCache reads what is live of a cache.
func observeCache(req *fnv1.RunFunctionRequest, g object.Generation) (cache.Live, map[cache.Role]object.Live, error) {
	live := cache.Live{ApplyErrors: map[cache.Role]string{}}
	objects := map[cache.Role]object.Live{}
	ids := preloadsIn(req, g)
	roles := slices.Grow([]cache.Role{cache.RoleVolume, cache.RoleInventory, cache.RoleAccount, cache.RoleRole, cache.RoleBinding, cache.RoleCleanup}, len(ids))
	for _, id := range ids {
		roles = append(roles, cache.RolePreload+cache.Role(id))
	}
	for _, r := range roles {
		o := object.FromStruct(req.GetObserved().GetResources()[g.ResourceName(string(r))].GetResource())
		objects[r] = o
		if !o.Synced {
			live.ApplyErrors[r] = o.SyncedMessage
		}
	}
	live.Binding = objects[cache.RoleBinding].HasTarget()
	// What is bound stays so, though its Role may be out of sight for a moment.
	live.Role = objects[cache.RoleRole].HasTarget() || objects[cache.RoleBinding].Exists
	var err error
	if live.Jobs, err = preloadJobs(req, g); err != nil {
		return live, nil, err
	}
	v, cj, cm := &corev1.PersistentVolumeClaim{}, &batchv1.CronJob{}, &corev1.ConfigMap{}
	if ok, err := objects[cache.RoleVolume].Into(v); err != nil {
		return live, nil, errors.Wrap(err, "cannot read the live PersistentVolumeClaim")
	} else if ok {
		live.Volume = v
	}
	if ok, err := objects[cache.RoleCleanup].Into(cj); err != nil {
		return live, nil, errors.Wrap(err, "cannot read the live CronJob")
	} else if ok {
		live.Cleanup = cj
	}
	if ok, err := objects[cache.RoleInventory].Into(cm); err != nil {
		return live, nil, errors.Wrap(err, "cannot read the live inventory")
	} else if data := cm.Data[inventory.Key]; ok && data != "" {
		if d, err := inventory.Unmarshal([]byte(data)); err != nil {
			live.Unreadable = err.Error()
		} else {
			live.Inventory = &d
		}
	}
	return live, objects, nil
}

// keepCache composes again what is composed already, as it is, but for the
// protection, which depends on nothing else.
func keepCache(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, g object.Generation, objects map[cache.Role]object.Live) {
	for r, o := range objects {
		if name := g.ResourceName(string(r)); o.Exists {
			rsp.Desired.Resources[name] = keep(req, name)
		}
	}
}

// cacheUsers are the endpoints that mount a cache, as namespace/name, and the
// models that they serve. Both are sorted.
func cacheUsers(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, xr composite, c cache.Cache) ([]string, []string, error) {
	found, _, err := require(req, rsp, "users", byLabelsAnywhere(string(xr.objects()), object.Kind, map[string]string{labelUsesCache: cacheLabel(c.Namespace, c.Name)}))
	if err != nil {
		return nil, nil, err
	}
	var users, models []string
	for _, s := range found {
		o := composite{raw: s}
		if o.field("metadata", "deletionTimestamp") != nil {
			continue
		}
		m := composite{raw: object.ManifestOf(s)}
		users = append(users, m.str("metadata", "namespace")+"/"+m.str("metadata", "labels", endpoint.LabelEndpoint))
		if id := o.annotation(annotationModel); id != "" {
			models = append(models, id)
		}
	}
	slices.Sort(users)
	slices.Sort(models)
	return slices.Compact(users), slices.Compact(models), nil
}

// sharedOf an endpoint: the cache that it names; nil if it names none. Where it
// is not there, what it would be like is assumed: nothing new is composed then.
func sharedOf(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, e endpoint.Endpoint, p place) (*endpoint.Shared, error) {
	name := string(e.Spec.Cache.Name)
	if name == "" {
		return nil, nil //nolint:nilnil // It uses none, and that is no error.
	}
	spec, status := v1alpha1.AIMCacheSpec{}, v1alpha1.AIMCacheStatus{}
	if !p.remote && modern(req) {
		found, _, err := require(req, rsp, requirementReference, byName(v1alpha1.GroupVersion.String(), v1alpha1.KindAIMCache, e.Namespace, name))
		if err != nil {
			return nil, err
		}
		for _, s := range found {
			whole := v1alpha1.AIMCache{}
			if err := object.Convert(s, &whole); err != nil {
				return nil, errors.Wrapf(err, "cannot read AIMCache %s", name)
			}
			spec, status = whole.Spec, whole.Status
		}
	}
	cache.Default(&spec)
	out := &endpoint.Shared{
		Name: name, Claim: cache.ClaimName(name), MountPath: spec.Storage.MountPath,
		Mode:  corev1.PersistentVolumeAccessMode(spec.Storage.AccessMode),
		Bound: status.Storage != nil && status.Storage.PVCPhase == string(corev1.ClaimBound),
	}
	if status.Phase == v1alpha1.CacheFailed {
		out.Failed = status.Reason
	}
	for _, u := range status.UsedBy {
		if u != e.Namespace+"/"+e.Name {
			out.Others = append(out.Others, strings.TrimPrefix(u, e.Namespace+"/"))
		}
	}
	for _, m := range spec.Models {
		out.Lists = append(out.Lists, m.ID)
	}
	for _, m := range status.CachedModels {
		if m.Status == string(inventory.StatusCached) {
			out.Has = append(out.Has, endpoint.Cached{Model: m.ID, Revision: m.Revision, Commit: m.Commit})
		}
	}
	return out, nil
}

// cacheLabel identifies a cache in a label's value.
func cacheLabel(namespace, name string) string {
	return endpoint.LabelValue(namespace + "." + name)
}

// A cacheReport is what a cache's status and conditions say.
type cacheReport struct {
	before   v1alpha1.AIMCacheStatus
	cache    cache.Cache
	live     cache.Live
	users    []string
	obstacle obstacle
}

func (r cacheReport) conditions() []cache.Condition {
	if r.obstacle.reason != "" {
		return []cache.Condition{{Type: v1alpha1.ConditionCacheReady, Reason: r.obstacle.reason, Message: r.obstacle.message}}
	}
	return r.cache.Conditions(r.live)
}

// kept are reasons for which a volume stays as it is, though something else is
// wanted.
//
//nolint:gochecknoglobals // A constant.
var kept = []v1alpha1.ConditionReason{v1alpha1.ReasonShrinkIgnored, v1alpha1.ReasonExpansionNotSupported, v1alpha1.ReasonStorageClassImmutable}

func (r cacheReport) write(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, xr composite) error {
	cs := r.conditions()
	s := r.cache.Status(r.live)
	s.Phase = cache.Phase(cs)
	s.ObservedGeneration = xr.observedGeneration()
	s.UsedBy = r.users
	ready := true
	for _, c := range cs {
		set := response.ConditionFalse
		if c.OK {
			set = response.ConditionTrue
		}
		set(rsp, string(c.Type), string(c.Reason)).WithMessage(c.Message).TargetCompositeAndClaim()
		if !c.OK && s.Reason == "" {
			s.Reason = string(c.Reason)
		}
		// A volume that waits for its first pod is as ready as it gets.
		waits := c.Reason == v1alpha1.ReasonWaitingForConsumer && len(r.cache.Preloads(r.live)) == 0
		// What is kept as it is, or has not been cleaned up, can be used.
		usable := c.Type == v1alpha1.ConditionCleanupReady || volume.Bound(r.live.Volume) && slices.Contains(kept, c.Reason)
		ready = ready && (c.OK || waits || usable)
	}
	st, err := structOf(s)
	if err != nil {
		return errors.Wrap(err, "cannot convert status to protobuf")
	}
	dxr := rsp.GetDesired().GetComposite()
	overlay(dxr, xr, st)
	dxr.Ready = compositeReady(rsp, ready)
	if p := r.before.Phase; p != "" && p != s.Phase {
		msg := fmt.Sprintf("the cache is %s", s.Phase)
		if i := slices.IndexFunc(cs, func(c cache.Condition) bool { return !c.OK }); i >= 0 {
			msg += ": " + cs[i].Message
		}
		eventf(rsp, "Cache"+string(s.Phase), "%s", msg)
	}
	if ready && modern(req) {
		rsp.Meta.Ttl = durationpb.New(ttlSettled)
	}
	return nil
}
