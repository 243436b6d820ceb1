// Package agent makes the Jobs and pods of the agent: this program, as it fills
// and cleans volumes of models. It knows nothing of what they belong to.
package agent

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

const (
	// ContainerName of the agent in its pods.
	ContainerName = "agent"

	// User and group of the agent: those of the function's image. What it writes
	// can be written by its group: servers have no capability to write what
	// belongs to others, even if they run as root.
	User int64 = 65532

	// ExitFinal is the agent's exit code for what a further try cannot mend.
	ExitFinal = 3

	// DefaultRevision of a model, where none is asked for.
	DefaultRevision = "main"

	// LabelDownload of a Job identifies what it downloads, and where to.
	LabelDownload = "aim.engine.amd.com/download"

	volumeCache = "cache"
	volumeTmp   = "tmp"
	cachePath   = "/cache"
	envHFToken  = "HF_TOKEN"
)

// A Platform says what agents are where they run.
type Platform struct {
	// Image of the agent. There is no agent if it is empty.
	Image string
	// Env of the agent beside its own: proxies, and which Hub it asks.
	Env []corev1.EnvVar
	// PullSecrets are names of Secrets with which its image is pulled.
	PullSecrets []string
}

// A Pod of the agent.
type Pod struct {
	Platform Platform
	// Labels and Annotations of the pod.
	Labels, Annotations map[string]string
	// PullSecrets beside the platform's.
	PullSecrets []string
	// Args are the command of the agent.
	Args []string
	// Env of this agent, on top of the platform's.
	Env []corev1.EnvVar
	// Token is a Secret's key with a token for the Hub; nil if there is none.
	Token *corev1.SecretKeySelector
	// Claim of the volume, and how much it is to hold: not every kind of volume
	// enforces its size.
	Claim    string
	Capacity resource.Quantity
	// ServiceAccount whose token the agent gets; it gets none if it is empty.
	ServiceAccount string
	// User and FSGroup that the agent runs as; its own if 0.
	User, FSGroup int64
	// Where it can run.
	Affinity     *corev1.Affinity
	NodeSelector map[string]string
	Tolerations  []corev1.Toleration
}

// Template of the pod. It meets the restricted Pod Security Standard.
func (p Pod) Template() corev1.PodTemplateSpec {
	env := Overlaid([]corev1.EnvVar{{Name: "HOME", Value: "/tmp"}}, p.Platform.Env)
	env = Overlaid(env, p.Env)
	if p.Token != nil {
		env = Overlaid(env, []corev1.EnvVar{{Name: envHFToken, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: p.Token}}})
	}
	user, fsGroup := cmp.Or(p.User, User), cmp.Or(p.FSGroup, User)
	container := corev1.Container{
		Name:  ContainerName,
		Image: p.Platform.Image,
		Args:  append(slices.Clone(p.Args), "--home="+cachePath, "--capacity="+p.Capacity.String()),
		Env:   env,
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
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: p.Labels, Annotations: p.Annotations},
		Spec: corev1.PodSpec{
			Containers:         []corev1.Container{container},
			ImagePullSecrets:   p.pullSecrets(),
			RestartPolicy:      corev1.RestartPolicyNever,
			ServiceAccountName: p.ServiceAccount,
			// It writes its inventory, or else has nothing to ask of the API server.
			AutomountServiceAccountToken: ptr.To(p.ServiceAccount != ""),
			EnableServiceLinks:           ptr.To(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr.To(true), RunAsUser: &user, RunAsGroup: ptr.To(User), FSGroup: &fsGroup,
				// Each time, and not only the first: servers write to the volume, too, as
				// users of their own, and the agent must be able to let go of that.
				FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeAlways),
				SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Affinity:     p.Affinity,
			NodeSelector: p.NodeSelector,
			Tolerations:  p.Tolerations,
			Volumes: []corev1.Volume{
				{Name: volumeCache, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: p.Claim}}},
				{Name: volumeTmp, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
		},
	}
}

// pullSecrets, each once: the API server refuses one that is named twice.
func (p Pod) pullSecrets() []corev1.LocalObjectReference {
	var out []corev1.LocalObjectReference
	for _, s := range slices.Concat(p.Platform.PullSecrets, p.PullSecrets) {
		if ref := (corev1.LocalObjectReference{Name: s}); !slices.Contains(out, ref) {
			out = append(out, ref)
		}
	}
	return out
}

// Network returns those of some variables that say how to reach the Hub.
func Network(env []corev1.EnvVar) []corev1.EnvVar {
	var out []corev1.EnvVar
	for _, v := range env {
		switch strings.ToUpper(v.Name) {
		case "HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY":
			out = append(out, v)
		}
	}
	return out
}

// Overlaid returns base without what overlay has, too, and overlay behind it: a
// variable may refer to those before it.
func Overlaid(base, overlay []corev1.EnvVar) []corev1.EnvVar {
	out := slices.DeleteFunc(slices.Clone(base), func(v corev1.EnvVar) bool {
		return slices.ContainsFunc(overlay, func(o corev1.EnvVar) bool { return o.Name == v.Name })
	})
	return append(out, overlay...)
}

// A Download of a model onto a volume.
type Download struct {
	// Model on the Hub, and its revision; the default one if it is empty.
	Model, Revision string
	// MaxSize of a model that is not refused; empty is no limit.
	MaxSize string
	// Volume that it is for, by the UID of its claim.
	Volume types.UID
}

// Args of the agent.
func (d Download) Args() []string {
	args := []string{"cache", "download", d.Model}
	if d.Revision != "" {
		args = append(args, "--revision="+d.Revision)
	}
	if d.MaxSize != "" {
		args = append(args, "--max-size="+d.MaxSize)
	}
	return args
}

// Key of all downloads that have the same outcome.
func (d Download) Key() string {
	return hash([]string{string(d.Volume), d.Model, cmp.Or(d.Revision, DefaultRevision)})
}

// JobSpec of the download.
func (d Download) JobSpec(p Pod) batchv1.JobSpec {
	p.Args = append(d.Args(), p.Args...)
	return batchv1.JobSpec{
		// The agent tries again by itself while it runs. What is left for
		// Kubernetes is a node that fails, or a pod that is evicted.
		BackoffLimit: ptr.To[int32](5),
		PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
			Action: batchv1.PodFailurePolicyActionFailJob,
			OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
				ContainerName: ptr.To(ContainerName), Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{ExitFinal},
			},
		}}},
		Template: p.Template(),
	}
}

// Job of a download. What is deleted by whoever sets no policy, as the provider
// does, would leave its pods running: so it is for Jobs of batch/v1, unless the
// Job itself has this finalizer.
func (d Download) Job(meta metav1.ObjectMeta, spec batchv1.JobSpec) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: meta, Spec: spec}
	j.Finalizers = []string{metav1.FinalizerDeleteDependents}
	j.Labels = maps.Clone(meta.Labels)
	if j.Labels == nil {
		j.Labels = map[string]string{}
	}
	j.Labels[LabelDownload] = d.Key()
	j.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("Job"))
	return j
}

// ID of the Job of a download, among those that are live by their IDs. The pods
// of a Job cannot change, so that other pods are another Job. But what is done
// is not done again because the pods would be other ones today.
func (d Download) ID(spec batchv1.JobSpec, live map[string]*batchv1.Job) string {
	done := ""
	for id, j := range live {
		if Complete(j) && j.Labels[LabelDownload] == d.Key() && (done == "" || id < done) {
			done = id
		}
	}
	return cmp.Or(done, hash([]any{d.Volume, spec}))
}

func hash(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		// Such values have no form in JSON that fails.
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:4])
}

// Complete says whether a Job has done what it is for.
func Complete(j *batchv1.Job) bool { return condition(j, batchv1.JobComplete) != nil }

// Finished says whether a Job does nothing any more.
func Finished(j *batchv1.Job) bool {
	_, failed := Failed(j)
	return Complete(j) || failed
}

// Failed says whether a Job failed for good, and why.
func Failed(j *batchv1.Job) (string, bool) {
	c := condition(j, batchv1.JobFailed)
	if c == nil {
		return "", false
	}
	return strings.TrimSpace(c.Message), true
}

func condition(j *batchv1.Job, t batchv1.JobConditionType) *batchv1.JobCondition {
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
