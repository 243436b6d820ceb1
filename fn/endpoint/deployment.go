package endpoint

import (
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
	return int32(min(maxStartup, max(minStartup, baseStartup+startupPerGiB*w))) //nolint:gosec // Bounded by maxStartup.
}

func (e Endpoint) deployment(live Live) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: e.meta(RoleDeployment), Spec: appsv1.DeploymentSpec{
		Selector:                &metav1.LabelSelector{MatchLabels: e.selector()},
		Strategy:                e.strategy(),
		ProgressDeadlineSeconds: ptr.To(e.startupSeconds() + pullBudget),
		RevisionHistoryLimit:    ptr.To[int32](5),
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: e.podLabels()},
			Spec:       e.pod(),
		},
	}}
	if live.Deployment != nil && live.Deployment.Spec.Selector != nil {
		// It cannot change, whatever a later version of this program selects on.
		d.Spec.Selector = live.Deployment.Spec.Selector
		maps.Copy(d.Spec.Template.Labels, d.Spec.Selector.MatchLabels)
	}
	d.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind("Deployment"))
	return d
}

// replicas of the Deployment, and nothing else of it.
func (e Endpoint) replicas() *appsv1.Deployment {
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: TargetName(e.Name, RoleDeployment), Namespace: e.Namespace},
		Spec:       appsv1.DeploymentSpec{Replicas: ptr.To(e.minReplicas())},
	}
	d.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind("Deployment"))
	return d
}

// podLabels leave out what may change without a reason to restart the server.
func (e Endpoint) podLabels() map[string]string {
	l := e.labels()
	delete(l, labelModelVersion)
	return l
}

// strategy never needs a spare set of GPUs: with all GPUs in use, a rollout
// that does would never end.
func (e Endpoint) strategy() appsv1.DeploymentStrategy {
	if e.maxReplicas() <= 1 {
		return appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	}
	return appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{
		MaxSurge:       ptr.To(intstr.FromInt32(0)),
		MaxUnavailable: ptr.To(intstr.FromInt32(1)),
	}}
}

func (e Endpoint) pod() corev1.PodSpec {
	p := corev1.PodSpec{
		Containers: []corev1.Container{e.container()},
		Volumes:    e.volumes(),
		Affinity:   &corev1.Affinity{NodeAffinity: e.Accelerator.NodeAffinity()},
		Tolerations: append([]corev1.Toleration{{
			Key: e.Platform.GPUResourceName, Operator: corev1.TolerationOpExists,
		}}, e.Platform.Tolerations...),
		SecurityContext:              e.podSecurityContext(),
		AutomountServiceAccountToken: ptr.To(false),
		// A Service named vllm would set VLLM_PORT to a URL, which ends the server.
		EnableServiceLinks:            ptr.To(false),
		TerminationGracePeriodSeconds: ptr.To[int64](terminationGrace),
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

func (e Endpoint) args() []string {
	return append(slices.Clone(e.Recipe.Snapshot.Args), e.Engine.PortArgs(e.port())...)
}

func (e Endpoint) probe(period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: e.Engine.HealthPath, Port: intstr.FromString(portName)}},
		PeriodSeconds:    period,
		TimeoutSeconds:   e.Engine.HealthTimeoutSeconds,
		FailureThreshold: failures,
	}
}

// env of the container: the recipe's, and on top of it what the platform sets.
func (e Endpoint) env() []corev1.EnvVar {
	own := []corev1.EnvVar{
		// Models, and what the engines compile for them, outlive the container.
		{Name: "HF_HOME", Value: cachePath},
		{Name: "TRITON_CACHE_DIR", Value: cachePath + "/triton"},
		{Name: "XDG_CACHE_HOME", Value: cachePath + "/cache"},
	}
	if e.nonRoot() {
		own = append(own, corev1.EnvVar{Name: "HOME", Value: homePath})
	}
	if r := e.Spec.HFTokenSecretRef; r != nil {
		own = append(own, corev1.EnvVar{Name: envHFToken, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: string(r.Name)},
			Key:                  r.Key,
		}}})
	}
	env := slices.Clone(e.Recipe.Snapshot.Env)
	env = slices.DeleteFunc(env, func(v corev1.EnvVar) bool {
		return slices.ContainsFunc(own, func(o corev1.EnvVar) bool { return o.Name == v.Name })
	})
	return append(env, own...)
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
	if *e.Spec.Cache.Enabled {
		cache.VolumeSource = corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: TargetName(e.Name, RoleCache)}}
	}
	vs := []corev1.Volume{cache, {Name: volumeSHM, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
		Medium:    corev1.StorageMediumMemory,
		SizeLimit: ptr.To(e.sharedMemory()),
	}}}}
	if e.nonRoot() {
		vs = append(vs, corev1.Volume{Name: volumeHome, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	}
	return vs
}

func (e Endpoint) mounts() []corev1.VolumeMount {
	ms := []corev1.VolumeMount{{Name: volumeCache, MountPath: cachePath}, {Name: volumeSHM, MountPath: "/dev/shm"}}
	if e.nonRoot() {
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
	return fmt.Sprintf("http://%s.%s.svc.cluster.local:%d", TargetName(e.Name, RoleService), e.Namespace, *e.Spec.Service.Port)
}

// ServedModelName that clients put into their requests.
func (e Endpoint) ServedModelName() string {
	return strings.TrimSpace(e.Recipe.Snapshot.Model)
}
