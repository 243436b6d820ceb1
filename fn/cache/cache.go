// Package cache turns the spec of an AIMCache into the manifests that fill and
// clean it, and live manifests into a status. It knows nothing of Crossplane.
package cache

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/crossplane/function-sdk-go/errors"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/agent"
	"github.com/aim-engine/function-aim/fn/endpoint"
	"github.com/aim-engine/function-aim/fn/inventory"
	"github.com/aim-engine/function-aim/fn/model"
	"github.com/aim-engine/function-aim/fn/prune"
	"github.com/aim-engine/function-aim/fn/volume"
)

// A Role of an object among those of a cache.
type Role string

// Roles. Those of preloads are RolePreload and a hash.
const (
	RoleVolume    Role = "volume"
	RoleInventory Role = "inventory"
	RoleAccount   Role = "account"
	RoleRole      Role = "role"
	RoleBinding   Role = "rolebinding"
	RoleCleanup   Role = "cleanup"
	RolePreload        = Role(endpoint.RolePreload)
)

// Kinds that a render can contain: what the provider must be allowed to manage.
func Kinds() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{
		corev1.SchemeGroupVersion.WithKind("ConfigMap"),
		corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"),
		corev1.SchemeGroupVersion.WithKind("ServiceAccount"),
		rbacv1.SchemeGroupVersion.WithKind("Role"),
		rbacv1.SchemeGroupVersion.WithKind("RoleBinding"),
		batchv1.SchemeGroupVersion.WithKind("Job"),
		batchv1.SchemeGroupVersion.WithKind("CronJob"),
	}
}

// A Manifest to apply.
type Manifest struct {
	Role   Role
	Object runtime.Object
	// Retain the object when the cache is deleted.
	Retain bool
	// Keep the object as it was applied: it has done its work.
	Keep bool
}

// Platform holds what the platform team decided for all caches.
type Platform struct {
	// Agent that fills and cleans caches.
	Agent agent.Platform
	// StorageClass of caches that name none.
	StorageClass string
	// GPUResourceName is the extended resource of a GPU, whose nodes may have a
	// taint.
	GPUResourceName string
	// Tolerations of every pod.
	Tolerations []corev1.Toleration
}

// A Cache to render.
type Cache struct {
	// Name and Namespace of the cache, as the user knows it.
	Name      string
	Namespace string
	// Composite that owns it.
	Composite string
	// Spec with all defaults set.
	Spec     v1alpha1.AIMCacheSpec
	Platform Platform
	// Used are the models of endpoints that mount the cache, sorted.
	Used []string
	// Holds is what the live volume was asked to hold; zero if there is none.
	Holds resource.Quantity
	// Mode of access of the live volume; empty if there is none.
	Mode corev1.PersistentVolumeAccessMode
}

// Live objects of a cache, as they were last seen; nil where there is none.
type Live struct {
	Volume *corev1.PersistentVolumeClaim
	// Class of the volume, if it matters.
	Class volume.Class
	// Inventory that an agent has written; nil if none has.
	Inventory *inventory.Document
	// Jobs that download models, by the IDs in their roles.
	Jobs map[string]*batchv1.Job
	// Pods of the agent; only known while there is a download that is not done.
	Pods []corev1.Pod
	// Role and Binding say that the agent's Role and RoleBinding are there, or the
	// Role at least was.
	Role, Binding bool
	// Unreadable says why the inventory that is there cannot be read.
	Unreadable string
	// Cleanup is the CronJob.
	Cleanup *batchv1.CronJob
	// ApplyErrors by role: why a manifest could not be applied.
	ApplyErrors map[Role]string
}

// Names of a cache's objects, for those who mount it.
const (
	suffixVolume    = "-storage"
	suffixInventory = "-inventory"
	suffixAgent     = "-cache-agent"
	suffixCleanup   = "-cleanup"
)

// ClaimName of the volume of a cache.
func ClaimName(name string) string { return endpoint.BaseName(name) + suffixVolume }

const (
	labelManagedBy = "app.kubernetes.io/managed-by"
	managedBy      = "function-aim"
	// LabelCache is the name of the cache.
	LabelCache = "aim.engine.amd.com/cache"
)

// Default sets what the API server sets where the schema has a default, and the
// objects that hold them where they are missing.
func Default(s *v1alpha1.AIMCacheSpec) {
	s.Storage.AccessMode = cmp.Or(s.Storage.AccessMode, string(corev1.ReadWriteOnce))
	s.Storage.MountPath = cmp.Or(s.Storage.MountPath, "/workspace/model-cache")
	if s.Retain == nil {
		s.Retain = ptr.To(true)
	}
	if s.Cleanup == nil {
		s.Cleanup = &v1alpha1.CacheCleanup{}
	}
	if s.Cleanup.Enabled == nil {
		s.Cleanup.Enabled = ptr.To(false)
	}
	s.Cleanup.Schedule = cmp.Or(s.Cleanup.Schedule, "0 3 * * *")
	s.Cleanup.Strategy = cmp.Or(s.Cleanup.Strategy, "lru")
	for i := range s.Models {
		s.Models[i].Priority = cmp.Or(s.Models[i].Priority, "medium")
		if s.Models[i].Preload == nil {
			s.Models[i].Preload = ptr.To(false)
		}
	}
}

// TargetName of an object.
func (c Cache) TargetName(r Role) string {
	base := endpoint.BaseName(c.Name)
	switch r {
	case RoleVolume:
		return base + suffixVolume
	case RoleInventory:
		return base + suffixInventory
	case RoleCleanup:
		return endpoint.JobName(c.Name, suffixCleanup)
	case RoleAccount, RoleRole, RoleBinding:
		return base + suffixAgent
	case RolePreload:
	}
	return endpoint.PreloadName(c.Name, endpoint.Role(r))
}

func (c Cache) meta(r Role) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: c.TargetName(r), Namespace: c.Namespace, Labels: c.labels()}
}

func (c Cache) labels() map[string]string {
	return map[string]string{
		endpoint.LabelComposite: endpoint.LabelValue(c.Composite),
		LabelCache:              endpoint.LabelValue(c.Name),
		labelManagedBy:          managedBy,
	}
}

// AgentPods of the cache, by their labels.
func (c Cache) AgentPods() map[string]string {
	return map[string]string{LabelCache: endpoint.LabelValue(c.Name), labelManagedBy: managedBy}
}

// Owns says whether an object with the supplied labels is this cache's. A
// volume may have been retained for it by a cache of the same name.
func (c Cache) Owns(r Role, labels map[string]string) bool {
	if labels[labelManagedBy] != managedBy || labels[LabelCache] != endpoint.LabelValue(c.Name) {
		return false
	}
	return r == RoleVolume || labels[endpoint.LabelComposite] == endpoint.LabelValue(c.Composite)
}

// Volume that the user wants.
func (c Cache) Volume() volume.Wish {
	s := c.Spec.Storage
	size, err := resource.ParseQuantity(string(s.Size))
	if err != nil {
		// The schema lets none pass that cannot be parsed.
		size = *resource.NewQuantity(0, resource.BinarySI)
	}
	return volume.Wish{
		Meta: c.meta(RoleVolume), Kind: v1alpha1.KindAIMCache, Field: "storage", Retain: *c.Spec.Retain,
		Class: cmp.Or(s.StorageClass, c.Platform.StorageClass), AskedClass: s.StorageClass,
		Mode: corev1.PersistentVolumeAccessMode(s.AccessMode), Size: size, AskedSize: true,
	}
}

// Render the manifests of a cache, given what is live.
func (c Cache) Render(live Live) ([]Manifest, error) {
	ms := []Manifest{
		{Role: RoleVolume, Object: c.Volume().Claim(live.Volume, live.Class), Retain: *c.Spec.Retain},
		{Role: RoleInventory, Object: c.inventory()},
		{Role: RoleAccount, Object: c.account()},
		{Role: RoleRole, Object: c.role()},
	}
	if live.Role {
		// Who may not grant a Role may bind it, but not before it is there.
		ms = append(ms, Manifest{Role: RoleBinding, Object: c.binding()})
	}
	ms = append(ms, c.jobs(live)...)
	if *c.Spec.Cleanup.Enabled {
		cj, err := c.cleanup()
		if err != nil {
			return nil, err
		}
		ms = append(ms, Manifest{Role: RoleCleanup, Object: cj})
	}
	return ms, nil
}

// jobs that download models.
func (c Cache) jobs(live Live) []Manifest {
	var ms []Manifest
	if live.Volume == nil || !live.Binding {
		// There is nothing to download to, or the agent could not write its
		// inventory yet. If that cannot be seen for a moment, the Jobs that there are
		// stay.
		for _, id := range slices.Sorted(maps.Keys(live.Jobs)) {
			ms = append(ms, Manifest{Role: RolePreload + Role(id), Object: live.Jobs[id], Keep: true})
		}
		return ms
	}
	// One download at a time: a volume may be on one node only.
	busy := false
	for _, p := range c.Preloads(live) {
		j := c.job(p, busy && !agent.Finished(p.Live))
		busy = busy || !agent.Finished(p.Live)
		ms = append(ms, Manifest{Role: p.Role, Object: j, Keep: agent.Complete(p.Live)})
	}
	return ms
}

// A Preload of a model.
type Preload struct {
	Role  Role
	Model v1alpha1.CacheModel
	// Live Job; nil if there is none.
	Live *batchv1.Job

	download agent.Download
	spec     batchv1.JobSpec
}

// Preloads of a cache, those of high priority first.
func (c Cache) Preloads(live Live) []Preload {
	rank := map[string]int{"high": 0, "medium": 1, "low": 2}
	models := slices.DeleteFunc(slices.Clone(c.Spec.Models), func(m v1alpha1.CacheModel) bool { return !*m.Preload })
	slices.SortStableFunc(models, func(a, b v1alpha1.CacheModel) int {
		return cmp.Or(rank[a.Priority]-rank[b.Priority], strings.Compare(a.ID, b.ID))
	})
	out := make([]Preload, 0, len(models))
	for _, m := range models {
		p := Preload{Model: m, download: agent.Download{Model: m.ID, Revision: m.Revision, MaxSize: string(m.MaxSize)}}
		if live.Volume != nil {
			p.download.Volume = live.Volume.UID
		}
		p.spec = p.download.JobSpec(c.pod(nil, endpoint.SecretKey(c.Spec.HFTokenSecretRef)))
		id := p.download.ID(p.spec, live.Jobs)
		p.Role, p.Live = RolePreload+Role(id), live.Jobs[id]
		out = append(out, p)
	}
	return out
}

// inventory is where agents write what they measured. We never write its data.
func (c Cache) inventory() *corev1.ConfigMap {
	cm := &corev1.ConfigMap{ObjectMeta: c.meta(RoleInventory)}
	cm.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	return cm
}

func (c Cache) account() *corev1.ServiceAccount {
	sa := &corev1.ServiceAccount{ObjectMeta: c.meta(RoleAccount), AutomountServiceAccountToken: ptr.To(false)}
	sa.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ServiceAccount"))
	return sa
}

// role of agents: to write one ConfigMap, and nothing else.
func (c Cache) role() *rbacv1.Role {
	r := &rbacv1.Role{ObjectMeta: c.meta(RoleRole), Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{c.TargetName(RoleInventory)},
		Verbs: []string{"patch"},
	}}}
	r.SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind("Role"))
	return r
}

func (c Cache) binding() *rbacv1.RoleBinding {
	b := &rbacv1.RoleBinding{
		ObjectMeta: c.meta(RoleBinding),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: c.TargetName(RoleRole)},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: c.Namespace, Name: c.TargetName(RoleAccount)}},
	}
	b.SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind("RoleBinding"))
	return b
}

// job that downloads a model.
func (c Cache) job(p Preload, suspended bool) *batchv1.Job {
	j := p.download.Job(c.meta(p.Role), p.spec)
	if s := model.Slug(p.Model.ID, 63); s != "" {
		j.Labels["aim.engine.amd.com/model"] = s
	}
	j.Spec.Suspend = &suspended
	return j
}

// cleanup prunes the cache, and measures it, on a schedule.
func (c Cache) cleanup() (*batchv1.CronJob, error) {
	b, err := json.Marshal(c.policy())
	if err != nil {
		return nil, errors.Wrap(err, "cannot marshal the policy of the clean-up")
	}
	args := []string{"cache", "prune", "--policy=" + string(b)}
	cj := &batchv1.CronJob{ObjectMeta: c.meta(RoleCleanup), Spec: batchv1.CronJobSpec{
		Schedule:                   c.Spec.Cleanup.Schedule,
		TimeZone:                   ptr.To("Etc/UTC"),
		ConcurrencyPolicy:          batchv1.ForbidConcurrent,
		StartingDeadlineSeconds:    ptr.To[int64](3600),
		SuccessfulJobsHistoryLimit: ptr.To[int32](1),
		FailedJobsHistoryLimit:     ptr.To[int32](1),
		JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{
			BackoffLimit: ptr.To[int32](1),
			Template:     c.pod(args, nil).Template(),
		}},
	}}
	cj.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("CronJob"))
	return cj, nil
}

// policy of the clean-up. The order of models is not of it.
func (c Cache) policy() prune.Document {
	s := c.Spec.Cleanup
	out := prune.Document{Strategy: prune.Strategy(s.Strategy), MaxAge: string(s.MaxAge), MinFree: string(s.MinFreeSpace), InUse: c.Used}
	for _, m := range c.Spec.Models {
		out.Models = append(out.Models, prune.ModelDocument{ID: m.ID, Priority: prune.Priority(m.Priority), Retention: string(m.Retention), MaxSize: string(m.MaxSize)})
	}
	slices.SortFunc(out.Models, func(a, b prune.ModelDocument) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// pod of an agent.
func (c Cache) pod(args []string, token *corev1.SecretKeySelector) agent.Pod {
	p := agent.Pod{
		Platform: c.Platform.Agent,
		Labels:   c.labels(),
		Args:     append(args, "--configmap="+c.TargetName(RoleInventory), "--namespace="+c.Namespace),
		Token:    token,
		Claim:    c.TargetName(RoleVolume), Capacity: c.Volume().Size,
		ServiceAccount: c.TargetName(RoleAccount),
		// Some volumes stay where the first pod that uses them runs: let that be
		// where servers can run, too.
		Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{
			Weight: 100, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{
				Key: "amd.com/gpu.device-id", Operator: corev1.NodeSelectorOpExists,
			}}},
		}}}},
		Tolerations: append([]corev1.Toleration{{Key: c.Platform.GPUResourceName, Operator: corev1.TolerationOpExists}}, c.Platform.Tolerations...),
	}
	// None shrinks.
	if c.Holds.Cmp(p.Capacity) > 0 {
		p.Capacity = c.Holds
	}
	if cmp.Or(c.Mode, corev1.PersistentVolumeAccessMode(c.Spec.Storage.AccessMode)) == corev1.ReadWriteOnce {
		p.Labels[endpoint.LabelVolume] = endpoint.LabelValue(p.Claim)
		p.Affinity.PodAffinity = &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{endpoint.SameNode(p.Claim)}}
	}
	return p
}
