package endpoint

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/agent"
	"github.com/aim-engine/function-aim/fn/volume"
)

// RolePreload is what the role of a Job that downloads a model begins with. An
// ID of the download follows.
const RolePreload Role = "preload-"

const suffixPreload = "-preload-"

// labelPreloadOf is the name of the endpoint whose model a pod downloads. Such
// a pod must not have the labels by which servers are found.
const labelPreloadOf = "aim.engine.amd.com/preload-of"

// LabelVolume of a pod is the claim that it mounts, if all pods that do must be
// on one node.
const LabelVolume = "aim.engine.amd.com/volume"

// SameNode as all others that mount a claim, which can be mounted on one node
// only: a pod on another one would wait for the volume for as long as they run.
// The first of them can be anywhere.
func SameNode(claim string) corev1.PodAffinityTerm {
	return corev1.PodAffinityTerm{
		LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{LabelVolume: LabelValue(claim)}},
		TopologyKey:   corev1.LabelHostname,
	}
}

// sameNode as others is where the pods have to be: the claim that is the
// reason; empty if there is none.
func (e Endpoint) sameNode() string {
	switch {
	case e.canary && !e.shareable():
	case e.Shared != nil && e.Shared.Mode == corev1.ReadWriteOnce:
		return e.Shared.Claim
	case e.Shared == nil && *e.Spec.Cache.Enabled && e.accessMode() == corev1.ReadWriteOnce:
		return e.TargetName(RoleCache)
	}
	return ""
}

// maxCronJob is how long the name of a CronJob may be. Those of its Jobs are
// longer.
const maxCronJob = 52

// JobName of a Job or CronJob, whose names become values of labels: a name, or
// a form of it that is unique by a hash, and a suffix of 19 characters at most.
func JobName(name, suffix string) string {
	const most, hashed = maxCronJob - len("-cleanup"), 4
	base := BaseName(name)
	if len(base) > most {
		sum := sha256.Sum256([]byte(name))
		base = strings.TrimRight(base[:most-1-2*hashed], "-") + "-" + hex.EncodeToString(sum[:hashed])
	}
	return base + suffix
}

// PreloadName of a Job with a role.
func PreloadName(name string, r Role) string {
	return JobName(name, suffixPreload+strings.TrimPrefix(string(r), string(RolePreload)))
}

// preloads says whether a Job downloads the model into the endpoint's own
// volume.
func (e Endpoint) preloads() bool {
	return *e.Spec.Cache.Enabled && *e.Spec.Cache.Preload && e.Platform.Agent.Image != ""
}

// A preload of the endpoint's model, and where it stands.
type preload struct {
	role Role
	// job as it is to be; nil if there is none yet.
	job *batchv1.Job
	// live Job; nil if there is none.
	live *batchv1.Job
	// done says that the model is there.
	done bool
	// holds back the server until then.
	holds bool
}

// preload of the endpoint's model, given what is live. It comes before the
// server, so that GPUs don't wait for a download, and so that what served
// before goes on meanwhile. There are two exceptions. A volume that waits for
// its first pod has to be where there are GPUs, which only the server's pod
// makes sure of. And a server that runs is not held back.
func (e Endpoint) preload(live Live) preload {
	if !e.preloads() {
		return preload{}
	}
	runs := e.runs(live.Deployment)
	if live.Cache == nil {
		// It will be there in a moment.
		return preload{holds: !runs}
	}
	d := agent.Download{Model: e.Recipe.Snapshot.Model, Revision: e.Recipe.Snapshot.Revision, Volume: live.Cache.UID}
	spec := d.JobSpec(e.agentPod(live))
	id := d.ID(spec, live.Jobs)
	p := preload{role: RolePreload + Role(id), live: live.Jobs[id]}
	p.done = agent.Complete(p.live)
	bound := volume.Bound(live.Cache)
	exclusive := e.accessMode() == corev1.ReadWriteOncePod && live.Deployment != nil
	if p.live == nil && (!bound || exclusive) {
		// Nobody else can mount it while the server does.
		p.holds = !bound && !exclusive && live.CacheClass.Immediate && !runs
		return p
	}
	p.job = d.Job(e.meta(p.role), spec)
	p.holds = !p.done && !runs && !exclusive
	return p
}

// Downloads is the name of the Job that downloads the model; empty if there is
// none, or if it has done that.
func (e Endpoint) Downloads(live Live) string {
	if p := e.preload(live); p.job != nil && !p.done {
		return PreloadName(e.Name, p.role)
	}
	return ""
}

// runs says whether a Deployment runs the endpoint's model already.
func (e Endpoint) runs(d *appsv1.Deployment) bool {
	return d != nil && slices.ContainsFunc(d.Spec.Template.Spec.Containers, func(c corev1.Container) bool {
		return slices.Equal(c.Args, e.args())
	})
}

// agentPod that downloads the model to where the server can run.
func (e Endpoint) agentPod(live Live) agent.Pod {
	p := agent.Pod{
		Platform: e.Platform.Agent,
		Labels:   map[string]string{labelPreloadOf: LabelValue(e.Name), labelManagedBy: managedBy},
		// What other controllers are told of a server's pod, such as to inject
		// nothing, is true of this one, too.
		Annotations: e.podAnnotations(),
		Env:         agent.Network(e.Spec.Deployment.Env),
		Claim:       e.TargetName(RoleCache),
		Capacity:    live.Cache.Spec.Resources.Requests[corev1.ResourceStorage],
		Affinity:    e.affinity(), NodeSelector: e.nodeSelector(), Tolerations: e.tolerations(),
	}
	if claim := e.sameNode(); claim != "" {
		p.Labels[LabelVolume] = LabelValue(claim)
	}
	for _, s := range e.Spec.Image.PullSecrets {
		p.PullSecrets = append(p.PullSecrets, string(s))
	}
	p.Token = SecretKey(e.Spec.HFTokenSecretRef)
	if c := e.security().PodSecurityContext; c != nil {
		p.User, p.FSGroup = int64(ptr.Deref(c.RunAsUser, 0)), int64(ptr.Deref(c.FSGroup, 0))
	}
	return p
}

// preloadReady says how the download goes; false if there is nothing to say.
func (e Endpoint) preloadReady(c *Condition, live Live) bool {
	p := e.preload(live)
	m := e.Recipe.Snapshot.Model
	if p.job == nil || p.done {
		return false
	}
	if live.refusedBy(c, p.role) {
		return true
	}
	name := PreloadName(e.Name, p.role)
	why := DiagnoseAgent(p.live, live.PreloadPods, e.Platform.GPUResourceName)
	if msg, failed := agent.Failed(p.live); failed {
		// The agent begins like this, too.
		why = strings.TrimPrefix(cmp.Or(why, msg), fmt.Sprintf("cannot download %s at %s: ", m, cmp.Or(e.Recipe.Snapshot.Revision, agent.DefaultRevision)))
		c.Reason = v1alpha1.ReasonPreloadFailed
		c.Message = Bound(fmt.Sprintf("cannot download %s: %s. Delete the Job %s to try again, or set cache.preload to false to have the server download it", m, why, name))
		return true
	}
	c.Reason, c.Message = v1alpha1.ReasonPreloading, fmt.Sprintf("the Job %s downloads %s", name, m)
	if why != "" {
		c.Message = Bound(c.Message + "; " + why)
	}
	return true
}

// held says what the server waits for.
func (e Endpoint) held(c *Condition, live Live) bool {
	p := e.preload(live)
	if !p.holds {
		return false
	}
	m := e.Recipe.Snapshot.Model
	c.Reason, c.Message = v1alpha1.ReasonPreloading, fmt.Sprintf("the server starts once %s is downloaded into its volume", m)
	if live.Deployment != nil {
		c.Reason, c.Message = v1alpha1.ReasonRolloutInProgress, fmt.Sprintf("the workload keeps running as it was until %s is downloaded into its volume", m)
	}
	if _, failed := agent.Failed(p.live); failed {
		c.Reason = v1alpha1.ReasonModelDownloadFailed
		c.Message += ", and that failed: see CacheReady"
	}
	return true
}
