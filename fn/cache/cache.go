// Package cache turns the spec of an AIMCache into the manifests that fill and
// clean it, and live manifests into a status. It knows nothing of Crossplane.
package cache

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
	RolePreload   Role = "preload-"
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
}

// Platform holds what the platform team decided for all caches.
type Platform struct {
	// AgentImage is the image of this program, which fills caches.
	AgentImage string
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
}

// Live objects of a cache, as they were last seen; nil where there is none.
type Live struct {
	Volume *corev1.PersistentVolumeClaim
	// Expandable says whether the class of the volume allows it to grow.
	Expandable bool
	// Inventory that an agent has written; nil if none has.
	Inventory *inventory.Document
	// Jobs by their roles.
	Jobs map[Role]*batchv1.Job
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
	suffixPreload   = "-preload-"
	suffixCleanup   = "-cleanup"
)

// ClaimName of the volume of a cache.
func ClaimName(name string) string { return endpoint.BaseName(name) + suffixVolume }

// maxCronJob is how long the name of a CronJob may be. Those of its Jobs are
// longer.
const maxCronJob = 52

// jobName of a Job or CronJob, whose names become values of labels: a cache's
// name, or a form of it that is unique by a hash.
func jobName(name, suffix string) string {
	const most, hashed = maxCronJob - len(suffixCleanup), 4
	base := endpoint.BaseName(name)
	if len(base) > most {
		sum := sha256.Sum256([]byte(name))
		base = strings.TrimRight(base[:most-1-2*hashed], "-") + "-" + hex.EncodeToString(sum[:hashed])
	}
	return base + suffix
}

const (
	containerName = "agent"
	volumeCache   = "cache"
	volumeTmp     = "tmp"
	cachePath     = "/cache"
	envHFToken    = "HF_TOKEN"

	// agentUser is the one of the function's image, which is the agent's.
	agentUser = endpoint.CacheGroup

	labelManagedBy = "app.kubernetes.io/managed-by"
	managedBy      = "function-aim"
	// LabelCache is the name of the cache.
	LabelCache = "aim.engine.amd.com/cache"
)

// ExitFinal is the agent's exit code for what a further try cannot mend.
const ExitFinal = 3

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
		return jobName(c.Name, suffixCleanup)
	case RoleAccount, RoleRole, RoleBinding:
		return base + suffixAgent
	case RolePreload:
	}
	return jobName(c.Name, suffixPreload+strings.TrimPrefix(string(r), string(RolePreload)))
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
		Meta: c.meta(RoleVolume), Field: "storage",
		Class: cmp.Or(s.StorageClass, c.Platform.StorageClass), AskedClass: s.StorageClass,
		Mode: corev1.PersistentVolumeAccessMode(s.AccessMode), Size: size, AskedSize: true,
	}
}

// Render the manifests of a cache, given what is live.
func (c Cache) Render(live Live) ([]Manifest, error) {
	ms := []Manifest{
		{Role: RoleVolume, Object: c.Volume().Claim(live.Volume, live.Expandable), Retain: *c.Spec.Retain},
		{Role: RoleInventory, Object: c.inventory()},
		{Role: RoleAccount, Object: c.account()},
		{Role: RoleRole, Object: c.role()},
		{Role: RoleBinding, Object: c.binding()},
	}
	// One download at a time: a volume may be on one node only.
	busy := false
	for _, p := range c.Preloads() {
		job := live.Jobs[p.Role]
		j := c.job(p, busy && !finished(job))
		busy = busy || !finished(job)
		ms = append(ms, Manifest{Role: p.Role, Object: j})
	}
	if *c.Spec.Cleanup.Enabled {
		cj, err := c.cleanup()
		if err != nil {
			return nil, err
		}
		ms = append(ms, Manifest{Role: RoleCleanup, Object: cj})
	}
	return ms, nil
}

// A Preload of a model. Its role has a hash of all that the download is made
// of: a changed one is another Job, since a Job's pods cannot change.
type Preload struct {
	Role  Role
	Model v1alpha1.CacheModel
}

// Preloads of a cache, those of high priority first.
func (c Cache) Preloads() []Preload {
	rank := map[string]int{"high": 0, "medium": 1, "low": 2}
	models := slices.DeleteFunc(slices.Clone(c.Spec.Models), func(m v1alpha1.CacheModel) bool { return !*m.Preload })
	slices.SortStableFunc(models, func(a, b v1alpha1.CacheModel) int {
		return cmp.Or(rank[a.Priority]-rank[b.Priority], strings.Compare(a.ID, b.ID))
	})
	out := make([]Preload, 0, len(models))
	for _, m := range models {
		p := Preload{Model: m}
		p.Role = RolePreload + Role(hash(c.jobSpec(m)))
		out = append(out, p)
	}
	return out
}

func hash(s batchv1.JobSpec) string {
	b, err := json.Marshal(s)
	if err != nil {
		// Such values have no form in JSON that fails.
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:4])
}

func finished(j *batchv1.Job) bool {
	return jobCondition(j, batchv1.JobComplete) != nil || jobCondition(j, batchv1.JobFailed) != nil
}

func jobCondition(j *batchv1.Job, t batchv1.JobConditionType) *batchv1.JobCondition {
	if j == nil {
		return nil
	}
	for i, c := range j.Status.Conditions {
		if c.Type == t && c.Status == corev1.ConditionTrue {
			return &j.Status.Conditions[i]
		}
	}
	return nil
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
	j := &batchv1.Job{ObjectMeta: c.meta(p.Role), Spec: c.jobSpec(p.Model)}
	if s := model.Slug(p.Model.ID, 63); s != "" {
		j.Labels["aim.engine.amd.com/model"] = s
	}
	j.Spec.Suspend = &suspended
	j.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("Job"))
	return j
}

func (c Cache) jobSpec(m v1alpha1.CacheModel) batchv1.JobSpec {
	args := []string{"cache", "download", m.ID}
	if m.Revision != "" {
		args = append(args, "--revision="+m.Revision)
	}
	if m.MaxSize != "" {
		args = append(args, "--max-size="+string(m.MaxSize))
	}
	return batchv1.JobSpec{
		// The agent tries again by itself while it runs. What is left for
		// Kubernetes is a node that fails, or a pod that is evicted.
		BackoffLimit: ptr.To[int32](5),
		PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
			Action: batchv1.PodFailurePolicyActionFailJob,
			OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
				ContainerName: ptr.To(containerName), Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{ExitFinal},
			},
		}}},
		Template: c.pod(args, c.token()...),
	}
}

// token of a download, as the Secret's key that it is in.
func (c Cache) token() []corev1.EnvVar {
	r := c.Spec.HFTokenSecretRef
	if r == nil {
		return nil
	}
	return []corev1.EnvVar{{Name: envHFToken, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: string(r.Name)}, Key: r.Key,
	}}}}
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
			Template:     c.pod(args),
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

// pod of an agent. It meets the restricted Pod Security Standard.
func (c Cache) pod(args []string, env ...corev1.EnvVar) corev1.PodTemplateSpec {
	args = append(args, "--home="+cachePath, "--configmap="+c.TargetName(RoleInventory), "--namespace="+c.Namespace)
	// Not every kind of volume enforces its size. None shrinks.
	capacity := c.Volume().Size
	if c.Holds.Cmp(capacity) > 0 {
		capacity = c.Holds
	}
	args = append(args, "--capacity="+capacity.String())
	container := corev1.Container{
		Name:  containerName,
		Image: c.Platform.AgentImage,
		Args:  args,
		Env:   append([]corev1.EnvVar{{Name: "HOME", Value: "/tmp"}}, env...),
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("256Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
		},
		VolumeMounts: []corev1.VolumeMount{{Name: volumeCache, MountPath: cachePath}, {Name: volumeTmp, MountPath: "/tmp"}},
		// A failure then explains itself in the pod's status.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false),
			ReadOnlyRootFilesystem:   ptr.To(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
	labels := c.labels()
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec: corev1.PodSpec{
			Containers:         []corev1.Container{container},
			RestartPolicy:      corev1.RestartPolicyNever,
			ServiceAccountName: c.TargetName(RoleAccount),
			// It writes its inventory.
			AutomountServiceAccountToken: ptr.To(true),
			EnableServiceLinks:           ptr.To(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To(agentUser), RunAsGroup: ptr.To(agentUser), FSGroup: ptr.To(agentUser),
				// Each time, and not only the first: servers write to the cache, too, as
				// users of their own, and the agent must be able to let go of that.
				FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeAlways),
				SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			// Some volumes stay where the first pod that uses them runs: let that be
			// where servers can run, too.
			Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{
				Weight: 100, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: "amd.com/gpu.device-id", Operator: corev1.NodeSelectorOpExists,
				}}},
			}}}},
			Tolerations: append([]corev1.Toleration{{Key: c.Platform.GPUResourceName, Operator: corev1.TolerationOpExists}}, c.Platform.Tolerations...),
			Volumes: []corev1.Volume{
				{Name: volumeCache, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: c.TargetName(RoleVolume)}}},
				{Name: volumeTmp, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
		},
	}
}
