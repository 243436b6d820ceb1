package endpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

// annotationTemplate of a canary's pods identifies what they were made from.
const annotationTemplate = "aim.engine.amd.com/canary-template"

// A Plan says what runs as the endpoint's workload, and what as its canary.
type Plan struct {
	// Recipe of the workload.
	Recipe v1alpha1.SelectedRecipe
	// Frozen workloads stay exactly as they are.
	Frozen bool
	// Canary's recipe; nil if there is no canary.
	Canary *v1alpha1.SelectedRecipe
	// Status of the canary; nil if there has been none.
	Status *v1alpha1.CanaryStatus
	// Event to tell of: what has just become of a canary; empty if nothing has.
	Event string
}

// Plan how to get from what runs to the next recipe. All that it knows is what
// the status says and what is live, so that whoever is asked next goes on from
// there. Kubernetes keeps the time: a canary's replicas are available once they
// have been ready for long enough.
func (e Endpoint) Plan(next v1alpha1.SelectedRecipe, before v1alpha1.AIMEndpointStatus, live Live) (Plan, error) {
	stable, prev := before.SelectedRecipe, before.Canary
	phase := v1alpha1.CanaryPhase("")
	if prev != nil {
		phase = prev.Phase
	}
	direct := Plan{Recipe: next}
	if phase == v1alpha1.CanaryPromoted {
		direct.Status = prev
	}
	if !*e.Spec.Deployment.Canary.Enabled || stable == nil || stable.Snapshot == nil {
		return direct, nil
	}
	// That the Deployment cannot be seen for a moment ends no canary.
	if ongoing := phase != "" && phase != v1alpha1.CanaryPromoted; live.Deployment == nil && !ongoing {
		return direct, nil
	}

	if phase == v1alpha1.CanaryPromoting {
		// First one change, then the next.
		return e.promote(*stable, *prev, live), nil
	}
	if identity(*stable) == identity(next) {
		return direct, nil
	}
	if phase != v1alpha1.CanaryInProgress && phase != v1alpha1.CanaryRolledBack && !live.Serving() {
		// There is nothing that a canary could protect.
		return Plan{Recipe: next}, nil
	}

	c, err := e.asCanary(next, live)
	if err != nil {
		return Plan{}, err
	}
	template := c.deployment(nil).Spec.Template.Annotations[annotationTemplate]
	status := v1alpha1.CanaryStatus{Phase: v1alpha1.CanaryInProgress, Recipe: next, Template: template}
	out := Plan{Recipe: *stable, Frozen: true, Canary: &next, Status: &status}
	switch {
	case phase == v1alpha1.CanaryRolledBack && prev.Template == template:
		return Plan{Recipe: *stable, Frozen: true, Status: prev}, nil
	case phase != v1alpha1.CanaryInProgress || prev.Template != template:
		out.Event = fmt.Sprintf("trying %s on a canary", describeChange(*stable, next))
		return out, nil
	}
	if why := c.failed(live, template); why != "" {
		status.Phase, status.Message = v1alpha1.CanaryRolledBack, why
		return Plan{
			Recipe: *stable, Frozen: true, Status: &status,
			Event: fmt.Sprintf("rolled back the canary of %s: %s", describeChange(*stable, next), why),
		}, nil
	}
	if c.proven(live, template) {
		status.Phase = v1alpha1.CanaryPromoting
		return Plan{Recipe: next, Canary: &next, Status: &status, Event: fmt.Sprintf("promoting the canary of %s", describeChange(*stable, next))}, nil
	}
	return out, nil
}

// Runs says whether a plan runs a recipe, or tries it: one that is wanted while
// another is promoted has to wait.
func (p Plan) Runs(r v1alpha1.SelectedRecipe) bool {
	return identity(p.Recipe) == identity(r) || (p.Canary != nil && identity(*p.Canary) == identity(r))
}

// promote a canary that has proved itself: what it runs is being rolled out,
// and it serves until that is done.
func (e Endpoint) promote(stable v1alpha1.SelectedRecipe, prev v1alpha1.CanaryStatus, live Live) Plan {
	if live.Available() && !live.Applying {
		prev.Phase = v1alpha1.CanaryPromoted
		return Plan{Recipe: stable, Status: &prev, Event: fmt.Sprintf("promoted the canary: %s runs %s", e.Name, prev.Recipe.Name)}
	}
	out := Plan{Recipe: stable, Status: &prev}
	reason, _ := diagnose(live.Pods, e.Platform.GPUResourceName)
	if live.Canary != nil && reason != v1alpha1.ReasonWaitingForGPU {
		// Else the canary has the GPUs that the workload waits for.
		out.Canary = &prev.Recipe
	}
	return out
}

// failed says why a canary is to be rolled back; empty if it is not.
func (e Endpoint) failed(live Live, template string) string {
	if msg := live.ApplyErrors[RoleCanary]; refused(msg) {
		return Bound("the cluster refuses it: " + msg)
	}
	pods := slices.DeleteFunc(slices.Clone(live.CanaryPods), func(p corev1.Pod) bool {
		return p.Annotations[annotationTemplate] != template
	})
	// Pods that are gone have been replaced for a reason that is not theirs.
	pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	reason, cause := diagnose(pods, e.Platform.GPUResourceName)
	switch reason { //nolint:exhaustive // The others may pass.
	case v1alpha1.ReasonImagePullFailed, v1alpha1.ReasonModelDownloadFailed, v1alpha1.ReasonOutOfMemory, v1alpha1.ReasonCrashLooping:
		return cause
	}
	for _, p := range pods {
		for _, s := range p.Status.ContainerStatuses {
			// It has crashed, though it may run again.
			if t := s.LastTerminationState.Terminated; t != nil && t.ExitCode != 0 {
				_, why := diagnoseContainer(p.Name, s, false)
				return firstOf(why, cause, fmt.Sprintf("pod %s crashed with exit code %d", p.Name, t.ExitCode))
			}
		}
	}
	d := live.Canary
	if d == nil || d.Spec.Template.Annotations[annotationTemplate] != template || d.Status.ObservedGeneration < d.Generation {
		return ""
	}
	if c := deploymentCondition(d, "Progressing"); c != nil && c.Status == corev1.ConditionFalse && c.Reason == "ProgressDeadlineExceeded" {
		why := fmt.Sprintf("it was not available after %d s without progress", ptr.Deref(d.Spec.ProgressDeadlineSeconds, 0))
		if cause != "" {
			why += ": " + cause
		}
		return Bound(why)
	}
	return ""
}

// refused says whether an error is one that does not pass by itself.
func refused(msg string) bool {
	return strings.Contains(msg, "is invalid") || strings.Contains(msg, "forbidden") || strings.Contains(msg, "Forbidden")
}

// proven says whether all of a canary's replicas have been ready for long
// enough.
func (e Endpoint) proven(live Live, template string) bool {
	d := live.Canary
	if d == nil || d.Spec.Template.Annotations[annotationTemplate] != template || rollingOut(d) {
		return false
	}
	want := e.canaryReplicas()
	return d.Spec.MinReadySeconds == *e.Spec.Deployment.Canary.Duration && d.Status.UpdatedReplicas >= want && d.Status.AvailableReplicas >= want
}

// canaryReplicas get the canary's share of the traffic, or as much of it as
// does not exceed it, but one at least.
func (e Endpoint) canaryReplicas() int32 {
	split := *e.Spec.Deployment.Canary.TrafficSplit
	return max(1, max(1, e.minReplicas())*split/(100-split))
}

// identity of what a canary tries: another model, recipe or image.
func identity(r v1alpha1.SelectedRecipe) string {
	s := ptr.Deref(r.Snapshot, v1alpha1.Snapshot{})
	b, err := json.Marshal(struct {
		Model    string            `json:"model"`
		Revision string            `json:"revision"`
		Image    string            `json:"image"`
		Hardware v1alpha1.Hardware `json:"hardware"`
		GPUCount int32             `json:"gpuCount"`
		Command  []string          `json:"command"`
		Args     []string          `json:"args"`
		Env      []corev1.EnvVar   `json:"env"`
	}{s.Model, s.Revision, r.Image, r.Hardware, r.GPUCount, s.Command, s.Args, s.Env})
	if err != nil {
		// Such values have no form in JSON that fails.
		return err.Error()
	}
	return string(b)
}

// templateHash identifies a pod's template.
func templateHash(t corev1.PodTemplateSpec) string {
	b, err := json.Marshal(t)
	if err != nil {
		// As above.
		return err.Error()
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// describeChange in the words of whoever asked for it.
func describeChange(from, to v1alpha1.SelectedRecipe) string {
	a, b := ptr.Deref(from.Snapshot, v1alpha1.Snapshot{}), ptr.Deref(to.Snapshot, v1alpha1.Snapshot{})
	switch {
	case a.Model != b.Model:
		return "model " + b.Model
	case a.Revision != b.Revision:
		return "revision " + firstOf(b.Revision, "of the default branch")
	case from.Name != to.Name || from.GPUCount != to.GPUCount:
		return fmt.Sprintf("recipe %s on %d GPUs", to.Name, to.GPUCount)
	case from.Image != to.Image:
		return "image " + to.Image
	}
	return "a changed recipe " + to.Name
}

// Apply a plan: the endpoint as it runs, with its canary.
func (e Endpoint) Apply(p Plan, live Live) (Endpoint, error) {
	out, err := e.With(p.Recipe)
	if err != nil {
		return out, err
	}
	out.offline = out.settleOffline(live.Deployment)
	out.mode = live.accessMode()
	if p.Canary == nil {
		return out, nil
	}
	c, err := e.asCanary(*p.Canary, live)
	out.Canary = &c
	return out, err
}

// asCanary is the endpoint as the canary of a recipe.
func (e Endpoint) asCanary(r v1alpha1.SelectedRecipe, live Live) (Endpoint, error) {
	c, err := e.With(r)
	c.canary, c.mode = true, live.accessMode()
	if !c.shareable() {
		// It may run on a node where the volume is not.
		c.Shared = nil
	}
	c.offline = c.settleOffline(live.Canary)
	return c, err
}

// CanarySelector of a canary's pods.
func (e Endpoint) CanarySelector() map[string]string {
	c := e
	c.canary = true
	return c.selector()
}

// canaryHealthy says what became of the last canary.
func (e Endpoint) canaryHealthy(s *v1alpha1.CanaryStatus, live Live) Condition {
	c := Condition{Type: v1alpha1.ConditionCanaryHealthy, OK: true, Reason: v1alpha1.ReasonNoCanary, Message: "deployment.canary.enabled is false: changes are rolled out at once"}
	if *e.Spec.Deployment.Canary.Enabled {
		c.Message = "the next change of model, recipe or image is tried on a canary first"
	}
	if s == nil {
		return c
	}
	switch s.Phase {
	case v1alpha1.CanaryInProgress:
		c.Reason, c.Message = v1alpha1.ReasonInProgress, Bound(e.progress(*s, live))
	case v1alpha1.CanaryPromoting:
		c.Reason, c.Message = v1alpha1.ReasonInProgress, fmt.Sprintf("the canary with recipe %s has been ready for long enough, and is being rolled out", s.Recipe.Name)
	case v1alpha1.CanaryPromoted:
		c.Reason, c.Message = v1alpha1.ReasonPromoted, fmt.Sprintf("the canary with recipe %s and image %s was promoted", s.Recipe.Name, s.Recipe.Image)
	case v1alpha1.CanaryRolledBack:
		c.OK, c.Reason = false, v1alpha1.ReasonRolledBack
		c.Message = Bound(fmt.Sprintf("the canary with recipe %s and image %s was rolled back, and what served before stays: %s; change the spec to try again, or undo the change", s.Recipe.Name, s.Recipe.Image, s.Message))
	}
	return c
}

// progress of a canary, in a sentence.
func (e Endpoint) progress(s v1alpha1.CanaryStatus, live Live) string {
	c := ptr.Deref(e.Canary, e)
	want, duration := c.canaryReplicas(), *e.Spec.Deployment.Canary.Duration
	ready := int32(0)
	if d := live.Canary; d != nil {
		ready = d.Status.ReadyReplicas
	}
	msg := fmt.Sprintf("%d of %d canary replicas with recipe %s are ready; they must have been for %d s", ready, want, s.Recipe.Name, duration)
	if e.weighted(live) {
		msg += fmt.Sprintf(", with %d%% of the traffic", *e.Spec.Deployment.Canary.TrafficSplit)
	} else {
		stable := max(1, e.minReplicas())
		msg += fmt.Sprintf(", with about %d%% of the traffic: %d of %d replicas behind one Service", 100*want/(want+stable), want, want+stable)
	}
	if err := live.ApplyErrors[RoleCanary]; err != "" {
		return msg + "; cannot apply it: " + err
	}
	if d := live.Canary; d != nil {
		if f := deploymentCondition(d, appsv1.DeploymentReplicaFailure); f != nil && f.Status == corev1.ConditionTrue {
			// Such as by a quota, which may have room later.
			return msg + "; the cluster refuses to create its pods: " + f.Message
		}
	}
	if _, cause := diagnose(live.CanaryPods, e.Platform.GPUResourceName); cause != "" {
		msg += "; " + cause
	}
	return msg
}
