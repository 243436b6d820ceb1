package endpoint

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/agent"
	"github.com/aim-engine/function-aim/fn/engine"
)

const (
	containerName = "server"
	portName      = "http"

	// cachePath is where the model cache is mounted. Hugging Face's libraries
	// and the engines keep everything below it.
	cachePath = "/workspace/model-cache"
	homePath  = "/home/aim"

	volumeCache = "model-cache"
	volumeSHM   = "shm"
	volumeHome  = "home"

	envHFToken = "HF_TOKEN"
)

// Time that a server may take, in seconds.
const (
	startupPeriod = 10
	minStartup    = 30 * 60
	maxStartup    = 180 * 60
	baseStartup   = 15 * 60
	// startupPerGiB of weights: 57 MiB/s, a slow download.
	startupPerGiB = 18
	// pullBudget on top of the startup, for an image of some 20 GB.
	pullBudget = 15 * 60

	// preStopSleep lets load balancers notice that the pod is going.
	preStopSleep = 15
	// terminationGrace lets requests that are under way finish.
	terminationGrace = 120

	// unknownWeightsGiB is assumed where the size of a model is not known.
	unknownWeightsGiB = 200
)

// startupSeconds that the server may take to load its model (KAITO's formula).
func (e Endpoint) startupSeconds() int32 {
	w := e.Recipe.Snapshot.WeightsGiB
	if w == 0 {
		w = unknownWeightsGiB
	}
	s := min(maxStartup, max(minStartup, baseStartup+startupPerGiB*w))
	if e.offline {
		// Nothing is downloaded.
		s /= 2
	}
	return int32(s) //nolint:gosec // Bounded by maxStartup.
}

// deployment of the server, given the one that is live, if there is one.
func (e Endpoint) deployment(live *appsv1.Deployment) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: e.meta(e.deploymentRole()), Spec: appsv1.DeploymentSpec{
		Selector:                &metav1.LabelSelector{MatchLabels: e.selector()},
		Strategy:                e.strategy(),
		ProgressDeadlineSeconds: ptr.To(e.startupSeconds() + pullBudget),
		RevisionHistoryLimit:    ptr.To[int32](5),
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: e.podLabels(), Annotations: e.podAnnotations()},
			Spec:       e.pod(),
		},
	}}
	if live != nil && live.Spec.Selector != nil {
		// It cannot change, whatever a later version of this program selects on.
		d.Spec.Selector = live.Spec.Selector
		maps.Copy(d.Spec.Template.Labels, d.Spec.Selector.MatchLabels)
	}
	if e.canary {
		d.Spec.Replicas = ptr.To(e.canaryReplicas())
		// Kubernetes keeps the time for us: a replica counts as available once it
		// has been ready for this long.
		d.Spec.MinReadySeconds = *e.Spec.Deployment.Canary.Duration
		// To become ready and to stay so each count as progress.
		*d.Spec.ProgressDeadlineSeconds = max(*d.Spec.ProgressDeadlineSeconds, d.Spec.MinReadySeconds+pullBudget)
		d.Spec.Template.Annotations = merged(d.Spec.Template.Annotations, map[string]string{annotationTemplate: templateHash(d.Spec.Template)})
	}
	d.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind("Deployment"))
	return d
}

func (e Endpoint) deploymentRole() Role {
	if e.canary {
		return RoleCanary
	}
	return RoleDeployment
}

// replicas of the Deployment, and nothing else of it.
func (e Endpoint) replicas() *appsv1.Deployment {
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: e.TargetName(RoleDeployment), Namespace: e.Namespace},
		Spec:       appsv1.DeploymentSpec{Replicas: ptr.To(e.minReplicas())},
	}
	d.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind("Deployment"))
	return d
}

// podLabels leave out what may change without a reason to restart the server.
// By ours pods are found, so that the user's cannot replace them.
func (e Endpoint) podLabels() map[string]string {
	l := make(map[string]string, len(e.Spec.Deployment.PodLabels))
	for k, v := range e.Spec.Deployment.PodLabels {
		l[k] = string(v)
	}
	maps.Copy(l, e.labels())
	delete(l, labelModelVersion)
	if claim := e.sameNode(); claim != "" {
		l[LabelVolume] = LabelValue(claim)
	}
	if e.canary {
		delete(l, LabelComposite)
		maps.Copy(l, e.selector())
	}
	return l
}

func (e Endpoint) podAnnotations() map[string]string {
	a := make(map[string]string, len(e.Spec.Deployment.PodAnnotations))
	for k, v := range e.Spec.Deployment.PodAnnotations {
		a[k] = string(v)
	}
	return a
}

// strategy of the user's, or one that never needs a spare set of GPUs: with all
// GPUs in use, a rollout that does would never end.
func (e Endpoint) strategy() appsv1.DeploymentStrategy {
	own := e.Spec.Deployment.Strategy
	if e.canary {
		// Its own GPUs are the spare ones.
		return appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	}
	if own != nil && own.Type != "" {
		s := appsv1.DeploymentStrategy{Type: appsv1.DeploymentStrategyType(own.Type)}
		if s.Type == appsv1.RollingUpdateDeploymentStrategyType {
			u := ptr.Deref(own.RollingUpdate, v1alpha1.RollingUpdate{})
			s.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: u.MaxSurge, MaxUnavailable: u.MaxUnavailable}
			// What is left out must not be Kubernetes' default, which is a quarter
			// of the replicas on top, nor may both be 0.
			if u.MaxSurge == nil {
				s.RollingUpdate.MaxSurge = ptr.To(intstr.FromInt32(0))
				if u.MaxUnavailable != nil && isZero(*u.MaxUnavailable) {
					s.RollingUpdate.MaxSurge = ptr.To(intstr.FromInt32(1))
				}
			}
			if u.MaxUnavailable == nil {
				s.RollingUpdate.MaxUnavailable = ptr.To(intstr.FromInt32(1))
			}
		}
		return s
	}
	if e.maxReplicas() <= 1 {
		return appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	}
	return appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{
		MaxSurge:       ptr.To(intstr.FromInt32(0)),
		MaxUnavailable: ptr.To(intstr.FromInt32(1)),
	}}
}

func isZero(v intstr.IntOrString) bool {
	return v.String() == "0" || v.String() == "0%"
}

func (e Endpoint) pod() corev1.PodSpec {
	d := e.Spec.Deployment
	p := corev1.PodSpec{
		Containers:                   []corev1.Container{e.container()},
		Volumes:                      e.volumes(),
		Affinity:                     e.affinity(),
		Tolerations:                  e.tolerations(),
		NodeSelector:                 e.nodeSelector(),
		TopologySpreadConstraints:    e.spread(),
		PriorityClassName:            d.PriorityClassName,
		SchedulerName:                d.SchedulerName,
		SecurityContext:              e.podSecurityContext(),
		AutomountServiceAccountToken: ptr.To(false),
		// A Service named vllm would set VLLM_PORT to a URL, which ends the server.
		EnableServiceLinks:            ptr.To(false),
		TerminationGracePeriodSeconds: ptr.To(ptr.Deref(d.TerminationGracePeriodSeconds, terminationGrace)),
	}
	if d.RuntimeClassName != "" {
		p.RuntimeClassName = &d.RuntimeClassName
	}
	if sa := e.ServiceAccount(); ptr.Deref(sa.Create, false) {
		p.ServiceAccountName = e.TargetName(RoleServiceAccount)
	} else {
		p.ServiceAccountName = sa.Name
	}
	for _, s := range e.Spec.Image.PullSecrets {
		// The API server refuses one that is named twice.
		ref := corev1.LocalObjectReference{Name: string(s)}
		if !slices.Contains(p.ImagePullSecrets, ref) {
			p.ImagePullSecrets = append(p.ImagePullSecrets, ref)
		}
	}
	return p
}

func (e Endpoint) container() corev1.Container {
	return corev1.Container{
		Name:            containerName,
		Image:           e.Image(),
		ImagePullPolicy: corev1.PullPolicy(e.Spec.Image.PullPolicy),
		Command:         e.Recipe.Snapshot.Command,
		Args:            e.args(),
		Env:             e.env(),
		Ports:           []corev1.ContainerPort{{Name: portName, ContainerPort: e.port(), Protocol: corev1.ProtocolTCP}},
		Resources:       e.resources(),
		VolumeMounts:    e.mounts(),
		StartupProbe:    e.probe(startupPeriod, e.startupSeconds()/startupPeriod),
		// A server under load may miss a few probes; killing it costs minutes.
		LivenessProbe:  e.probe(10, 6),
		ReadinessProbe: e.probe(5, 3),
		Lifecycle:      &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: preStopSleep}}},
		// A crash then explains itself in the pod's status.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
}

// args of the container. Of an option that is there twice, engines take the
// last one.
func (e Endpoint) args() []string {
	extra, _ := e.extraArgs()
	args := slices.Concat(e.Recipe.Snapshot.Args, extra, e.Engine.PortArgs(e.port()))
	if e.security().APIKeySecretRef != nil {
		args = append(args, e.Engine.APIKeyArgs...)
	}
	return args
}

// extraArgs of the user's, as the engine takes them, and what is to be said of
// them.
func (e Endpoint) extraArgs() ([]string, []engine.Finding) {
	if len(e.Spec.Deployment.ExtraArgs) == 0 {
		return nil, nil
	}
	return e.Engine.Repair(engine.Server{
		Model:              e.Recipe.Snapshot.Model,
		Revision:           e.Recipe.Snapshot.Revision,
		TensorParallelSize: e.Recipe.GPUCount,
		Accelerator:        e.Accelerator,
		Precision:          e.Recipe.Precision,
		CustomImage:        e.Spec.Image.Repository != "",
		Args:               e.Spec.Deployment.ExtraArgs,
	})
}

func (e Endpoint) probe(period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: e.Engine.HealthPath, Port: intstr.FromString(portName)}},
		PeriodSeconds:    period,
		TimeoutSeconds:   e.Engine.HealthTimeoutSeconds,
		FailureThreshold: failures,
	}
}

// env of the container: the recipe's, on top of it the user's, and on top of
// both what the platform sets.
func (e Endpoint) env() []corev1.EnvVar {
	own := []corev1.EnvVar{
		// Models, and what the engines compile for them, outlive the container.
		{Name: "HF_HOME", Value: e.cacheMount()},
		{Name: "TRITON_CACHE_DIR", Value: e.scratch() + "/triton"},
		{Name: "XDG_CACHE_HOME", Value: e.scratch() + "/cache"},
	}
	if e.offline {
		own = append(own, corev1.EnvVar{Name: envOffline, Value: "1"})
	}
	if e.hasHome() {
		own = append(own, corev1.EnvVar{Name: "HOME", Value: homePath})
	}
	if r := e.Spec.HFTokenSecretRef; r != nil {
		own = append(own, secretEnv(envHFToken, *r))
	}
	if r := e.security().APIKeySecretRef; r != nil {
		own = append(own, secretEnv(e.Engine.APIKeyEnv, *r))
	}
	env := agent.Overlaid(e.Recipe.Snapshot.Env, e.Spec.Deployment.Env)
	return agent.Overlaid(env, own)
}

func secretEnv(name string, r v1alpha1.SecretKeyRef) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: SecretKey(&r)}}
}

// SecretKey that a reference names; nil if there is no reference.
func SecretKey(r *v1alpha1.SecretKeyRef) *corev1.SecretKeySelector {
	if r == nil {
		return nil
	}
	return &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: string(r.Name)}, Key: r.Key}
}

// resources of the container: the recipe's, overridden key by key, so that the
// GPUs can never get lost.
func (e Endpoint) resources() corev1.ResourceRequirements {
	r := e.Recipe.Snapshot.Resources.DeepCopy()
	if r.Requests == nil {
		r.Requests = corev1.ResourceList{}
	}
	if r.Limits == nil {
		r.Limits = corev1.ResourceList{}
	}
	o := e.Spec.Resources
	set(r.Requests, corev1.ResourceCPU, o.CPU)
	set(r.Requests, corev1.ResourceMemory, o.Memory)
	set(r.Limits, corev1.ResourceCPU, o.CPULimit)
	set(r.Limits, corev1.ResourceMemory, o.MemoryLimit)
	for k, limit := range r.Limits {
		// A limit of the user's may be below a request of the recipe's, and the
		// other way around. What the user set wins.
		request, ok := r.Requests[k]
		if !ok || request.Cmp(limit) <= 0 {
			continue
		}
		userSetsRequest := (k == corev1.ResourceCPU && o.CPU != "") || (k == corev1.ResourceMemory && o.Memory != "")
		if userSetsRequest {
			r.Limits[k] = request
			continue
		}
		r.Requests[k] = limit
	}
	gpus := *resource.NewQuantity(int64(e.Recipe.GPUCount), resource.DecimalSI)
	r.Requests[corev1.ResourceName(e.Platform.GPUResourceName)] = gpus
	r.Limits[corev1.ResourceName(e.Platform.GPUResourceName)] = gpus
	return *r
}

func set(l corev1.ResourceList, name corev1.ResourceName, q v1alpha1.Quantity) {
	if q == "" {
		return
	}
	if v, err := resource.ParseQuantity(string(q)); err == nil {
		l[name] = v
	}
}

func (e Endpoint) volumes() []corev1.Volume {
	cache := corev1.Volume{Name: volumeCache, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
	switch {
	case e.canary && !e.shareable():
	case e.Shared != nil:
		cache.VolumeSource = corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: e.Shared.Claim, ReadOnly: e.offline}}
	case *e.Spec.Cache.Enabled:
		cache.VolumeSource = corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: e.TargetName(RoleCache)}}
	}
	vs := []corev1.Volume{cache, {Name: volumeSHM, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
		Medium:    corev1.StorageMediumMemory,
		SizeLimit: ptr.To(e.sharedMemory()),
	}}}}
	if e.hasHome() {
		vs = append(vs, corev1.Volume{Name: volumeHome, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	}
	return vs
}

// shareable says whether pods on other nodes can mount the cache, too.
func (e Endpoint) shareable() bool {
	if e.Shared != nil {
		return e.Shared.Mode == corev1.ReadWriteMany
	}
	return e.accessMode() == corev1.ReadWriteMany
}

// accessMode of the endpoint's own volume: that of the spec, until there is one,
// which cannot change.
func (e Endpoint) accessMode() corev1.PersistentVolumeAccessMode {
	return cmp.Or(e.mode, corev1.PersistentVolumeAccessMode(e.Spec.Cache.AccessMode))
}

// hasHome says whether the server has a folder of its own to write to: it must
// if it cannot write to root's, or not to the cache.
func (e Endpoint) hasHome() bool { return e.nonRoot() || e.offline }

// scratch is where engines keep what they compile.
func (e Endpoint) scratch() string {
	if e.offline {
		return homePath
	}
	return e.cacheMount()
}

func (e Endpoint) mounts() []corev1.VolumeMount {
	ms := []corev1.VolumeMount{{Name: volumeCache, MountPath: e.cacheMount(), ReadOnly: e.offline}, {Name: volumeSHM, MountPath: "/dev/shm"}}
	if e.hasHome() {
		ms = append(ms, corev1.VolumeMount{Name: volumeHome, MountPath: homePath})
	}
	return ms
}

// sharedMemory through which the workers of a server talk. It counts against
// the memory limit.
func (e Endpoint) sharedMemory() resource.Quantity {
	switch n := e.Recipe.GPUCount; {
	case n <= 1:
		return resource.MustParse("1Gi")
	case n <= 4:
		return resource.MustParse("8Gi")
	}
	return resource.MustParse("16Gi")
}

// nonRoot says whether somebody asked for a user who is not root. The engines'
// images run as root, and the group that owns a GPU's device is different on
// each distribution, so nobody else can decide that.
func (e Endpoint) nonRoot() bool {
	c := e.security().PodSecurityContext
	return c != nil && ptr.Deref(c.RunAsUser, 0) != 0
}

func (e Endpoint) podSecurityContext() *corev1.PodSecurityContext {
	s := e.security()
	out := &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
	for _, g := range s.SupplementalGroups {
		out.SupplementalGroups = append(out.SupplementalGroups, int64(g))
	}
	own := e.Shared == nil && e.preloads() && (s.PodSecurityContext == nil || s.PodSecurityContext.FSGroup == nil)
	if (own || e.Shared != nil && !e.offline) && !slices.Contains(out.SupplementalGroups, agent.User) {
		// The agent's files are its group's.
		out.SupplementalGroups = append(out.SupplementalGroups, agent.User)
	}
	slices.Sort(out.SupplementalGroups)
	if c := s.PodSecurityContext; c != nil {
		out.RunAsUser = (*int64)(c.RunAsUser)
		out.RunAsGroup = (*int64)(c.RunAsGroup)
		out.FSGroup = (*int64)(c.FSGroup)
	}
	if e.nonRoot() {
		out.RunAsNonRoot = ptr.To(true)
	}
	return out
}

// URL that clients in the cluster use.
func (e Endpoint) URL() string {
	return fmt.Sprintf("http://%s.%s.svc.cluster.local:%d", e.TargetName(RoleService), e.Namespace, *e.Spec.Service.Port)
}

// ServedModelName that clients put into their requests.
func (e Endpoint) ServedModelName() string {
	return strings.TrimSpace(e.Recipe.Snapshot.Model)
}
