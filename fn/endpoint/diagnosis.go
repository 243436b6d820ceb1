package endpoint

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/agent"
)

const (
	labelTemplateHash = "pod-template-hash"

	// replacedWithin is how soon at most a failed pod has a successor. It takes
	// a ReplicaSet seconds; a controller that was away gets a bit more.
	replacedWithin = 5 * time.Minute

	// manyRestarts are not counted any more: a message that counts on changes
	// the status with every crash, for as long as the server crashes.
	manyRestarts = 3
)

// diagnose why pods do not serve. The reason is empty if they are merely
// starting; there may be a message then.
//
// The oldest pod with a cause tells it, so that the message stays what it is
// while others come and go. Pods that run come before those that failed for
// good and were replaced: what was wrong with an evicted pod matters only if
// nothing is wrong with its successor.
func diagnose(pods []corev1.Pod, gpuResource string) (v1alpha1.ConditionReason, string) {
	live, dead, going := sorted(pods)
	hint := ""
	for _, p := range live {
		reason, msg := diagnosePod(p, gpuResource)
		if reason != "" {
			return reason, msg
		}
		hint = cmp.Or(hint, msg)
	}
	// One may be an accident. Several in a row are what will happen next, too.
	lost := recent(dead, live)
	for _, p := range lost {
		reason, msg := diagnoseFailed(p)
		if len(lost) > 1 {
			return reason, msg
		}
		hint = msg
	}
	for _, p := range going {
		if p.Status.Reason == "NodeLost" {
			hint = cmp.Or(hint, fmt.Sprintf("pod %s cannot end, because its node %s is lost; delete the node if it does not come back", p.Name, p.Spec.NodeName))
		}
	}
	return "", hint
}

// DiagnoseAgent says why a Job of an agent does not do its work, given its pods;
// empty if it does.
func DiagnoseAgent(j *batchv1.Job, pods []corev1.Pod, gpuResource string) string {
	live, dead, _ := sorted(pods)
	for _, p := range live {
		for _, s := range p.Status.ContainerStatuses {
			if w := s.State.Waiting; w != nil && slices.Contains(cannotPull, w.Reason) {
				return fmt.Sprintf("pod %s cannot pull image %s: %s; the platform names it in agentImage", p.Name, s.Image, quote(pullMessage(firstOf(w.Message, w.Reason))))
			}
		}
		if _, msg := diagnosePod(p, gpuResource); msg != "" {
			return msg
		}
	}
	if len(live) == 0 && len(dead) == 0 && j != nil && j.Status.StartTime != nil && j.Status.Active == 0 && j.Status.Failed == 0 && !agent.Finished(j) {
		// Its controller counts the pods that it makes in the same breath: none was
		// let in. Why is in events only, which are not to be had.
		return fmt.Sprintf("it has no pod, as when a quota or an admission policy refuses one: kubectl describe job %s says why", j.Name)
	}
	if len(live) > 0 || len(dead) == 0 {
		return ""
	}
	p := dead[len(dead)-1]
	for _, s := range p.Status.ContainerStatuses {
		t := s.State.Terminated
		switch {
		case t == nil || t.ExitCode == 0:
		case t.Reason == "OOMKilled":
			return fmt.Sprintf("pod %s ran out of memory", p.Name)
		default:
			// Its last line says it, and what to do.
			lines := strings.Split(lastLines(clean(t.Message)), "\n")
			return quote(strings.TrimPrefix(firstOf(lines[len(lines)-1], t.Reason), agentError))
		}
	}
	return fmt.Sprintf("pod %s failed: %s", p.Name, quote(firstOf(p.Status.Message, p.Status.Reason)))
}

// agentError is what the agent puts before what went wrong.
const agentError = "function-aim: error: "

// sorted pods, oldest first: those that should come to serve, those that failed
// for good, and those that are being deleted.
func sorted(pods []corev1.Pod) (live, dead, going []corev1.Pod) {
	pods = slices.Clone(pods)
	slices.SortFunc(pods, func(a, b corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	template := latestTemplate(pods)
	for _, p := range pods {
		switch {
		case p.DeletionTimestamp != nil:
			going = append(going, p)
		case p.Labels[labelTemplateHash] != template || p.Status.Phase == corev1.PodSucceeded || podReady(p):
		case p.Status.Phase == corev1.PodFailed:
			dead = append(dead, p)
		default:
			live = append(live, p)
		}
	}
	return live, dead, going
}

// latestTemplate is the hash of the template that a Deployment is rolling out:
// the one whose first pod is the latest. What is wrong with pods of an earlier
// one may be what the rollout is about to repair. Pods are sorted.
func latestTemplate(pods []corev1.Pod) string {
	latest := ""
	seen := map[string]bool{}
	for _, p := range pods {
		if hash := p.Labels[labelTemplateHash]; p.DeletionTimestamp == nil && !seen[hash] {
			seen[hash], latest = true, hash
		}
	}
	return latest
}

// recent leaves only those failed pods that were replaced at once, one after
// the other, up to those that live. Kubernetes keeps failed pods for weeks, and
// an eviction of long ago says nothing about today. Both are sorted.
func recent(dead, live []corev1.Pod) []corev1.Pod {
	if len(dead) == 0 {
		return nil
	}
	next := ended(dead[len(dead)-1])
	if len(live) > 0 {
		next = live[0].CreationTimestamp.Time
	}
	for i := len(dead) - 1; i >= 0; i-- {
		if next.Sub(ended(dead[i])) > replacedWithin {
			return dead[i+1:]
		}
		if created := dead[i].CreationTimestamp.Time; created.Before(next) {
			next = created
		}
	}
	return dead
}

// ended is when a pod failed, as well as its status tells.
func ended(p corev1.Pod) time.Time {
	end := p.CreationTimestamp.Time
	for _, c := range p.Status.Conditions {
		if c.LastTransitionTime.After(end) {
			end = c.LastTransitionTime.Time
		}
	}
	for _, s := range p.Status.ContainerStatuses {
		if t := s.State.Terminated; t != nil && t.FinishedAt.After(end) {
			end = t.FinishedAt.Time
		}
	}
	return end
}

// diagnoseFailed says why a pod failed for good.
func diagnoseFailed(p corev1.Pod) (v1alpha1.ConditionReason, string) {
	msg := strings.TrimPrefix(strings.TrimSpace(p.Status.Message), "Pod was rejected: ")
	what := firstOf(p.Status.Reason, "no reason")
	if msg != "" {
		what += ": " + quote(strings.TrimSuffix(msg, "."))
	}
	c := find(failedPods, p.Status.Reason+": "+msg)
	return c.reason, fmt.Sprintf("pod %s failed, and was replaced: %s; %s", p.Name, what, c.advice)
}

func diagnosePod(p corev1.Pod, gpuResource string) (v1alpha1.ConditionReason, string) {
	scheduled := false
	for _, c := range p.Status.Conditions {
		switch {
		case c.Type != corev1.PodScheduled:
		case c.Status == corev1.ConditionTrue:
			scheduled = true
		case c.Reason == corev1.PodReasonUnschedulable:
			return diagnoseScheduling(p.Name, c.Message, gpuResource)
		case c.Reason == corev1.PodReasonSchedulingGated:
			return "", fmt.Sprintf("pod %s is not scheduled before its scheduling gates are removed: %s", p.Name, gates(p))
		}
	}
	hint := ""
	for i, s := range containers(p) {
		reason, msg := diagnoseConfig(p, s)
		if reason == "" {
			reason, msg = diagnoseContainer(p.Name, s, i < len(p.Status.InitContainerStatuses))
		}
		if reason != "" {
			return reason, msg
		}
		hint = cmp.Or(hint, msg)
	}
	if scheduled && hint == "" {
		hint = diagnoseSandbox(p)
	}
	return "", hint
}

// diagnoseScheduling from what the scheduler says. The nodes that come closest
// tell what is missing: those without the GPUs' hardware, or with a taint, are
// in every cluster.
func diagnoseScheduling(pod, msg, gpuResource string) (v1alpha1.ConditionReason, string) {
	// What the scheduler could not do about it is never what a person can.
	for _, plugin := range []string{" preemption: ", " no new claims to deallocate"} {
		msg, _, _ = strings.Cut(msg, plugin)
	}
	msg = strings.TrimRight(msg, " .,")
	found := findAll(nearlyScheduled, msg)
	reason := v1alpha1.ReasonWaitingForGPU
	if strings.Contains(msg, "Insufficient "+gpuResource) {
		found = append([]cause{{advice: "free GPUs, add nodes, or set recipe.gpuCount or recipe.hardware to what is free"}}, found...)
	} else if slices.ContainsFunc(found, func(c cause) bool { return c.reason == "" }) {
		// It waits for its volume, where there are GPUs for it.
		reason = ""
	}
	if len(found) == 0 {
		found = findAll(notScheduled, msg)
	}
	advice := make([]string, len(found))
	for i, c := range found {
		advice[i] = c.advice
	}
	if len(advice) == 0 {
		advice = []string{"check the nodes, and what deployment.affinity asks for"}
	}
	return reason, fmt.Sprintf("pod %s cannot be scheduled: %s; %s", pod, quote(msg), strings.Join(advice, "; "))
}

func gates(p corev1.Pod) string {
	names := make([]string, len(p.Spec.SchedulingGates))
	for i, g := range p.Spec.SchedulingGates {
		names[i] = g.Name
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// diagnoseSandbox of a pod that has a node, and no container yet. Why volumes
// cannot be mounted is in events only, which are not to be had; that the pod
// has not got that far is in its status.
func diagnoseSandbox(p corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type != corev1.PodReadyToStartContainers || c.Status != corev1.ConditionFalse {
			continue
		}
		for _, s := range p.Status.ContainerStatuses {
			if w := s.State.Waiting; w != nil && (w.Reason == "ContainerCreating" || w.Reason == "PodInitializing") {
				return fmt.Sprintf("pod %s waits on node %s for its network and volumes%s; if that lasts, kubectl describe pod %s says why",
					p.Name, p.Spec.NodeName, claims(p), p.Name)
			}
		}
	}
	return ""
}

// claims of volumes of a pod.
func claims(p corev1.Pod) string {
	var names []string
	for _, v := range p.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			names = append(names, v.PersistentVolumeClaim.ClaimName)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf(" (of PersistentVolumeClaim %s)", strings.Join(names, ", "))
}

// containers of a pod as they matter: those that run first, the server, and
// what others have added, by name.
func containers(p corev1.Pod) []corev1.ContainerStatus {
	others := slices.Clone(p.Status.ContainerStatuses)
	slices.SortFunc(others, func(a, b corev1.ContainerStatus) int {
		switch containerName {
		case a.Name:
			return -1
		case b.Name:
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return slices.Concat(p.Status.InitContainerStatuses, others)
}

// diagnoseConfig of a container that refers to what is not there. The cluster
// has taken it, and cannot do it: like a manifest that it does not take, that
// needs a change by somebody.
func diagnoseConfig(p corev1.Pod, s corev1.ContainerStatus) (v1alpha1.ConditionReason, string) {
	w := s.State.Waiting
	if w == nil || w.Reason != "CreateContainerConfigError" {
		return "", ""
	}
	return v1alpha1.ReasonApplyFailed, fmt.Sprintf("%s cannot start: %s; %s", subject(p.Name, s), quote(firstOf(w.Message, w.Reason)), configAdvice(p, w.Message))
}

// subject of a message: the pod, and the container if it is not the server.
func subject(pod string, s corev1.ContainerStatus) string {
	if s.Name == containerName {
		return "pod " + pod
	}
	return fmt.Sprintf("pod %s (container %s)", pod, s.Name)
}

func diagnoseContainer(pod string, s corev1.ContainerStatus, init bool) (v1alpha1.ConditionReason, string) {
	last := s.State.Terminated
	if last == nil {
		last = s.LastTerminationState.Terminated
	}
	if last != nil && (last.Reason == "StartError" || last.Reason == "ContainerCannotRun") {
		return cannotRun(pod, s, firstOf(last.Message, last.Reason))
	}
	if w := s.State.Waiting; w != nil {
		if slices.Contains(cannotPull, w.Reason) {
			c := find(pullErrors, w.Reason+": "+w.Message)
			return c.reason, fmt.Sprintf("%s cannot pull image %s: %s; %s", subject(pod, s), s.Image, quote(pullMessage(firstOf(w.Message, w.Reason))), c.advice)
		}
		switch w.Reason {
		case "CreateContainerError", "RunContainerError", "PreCreateHookError", "PreStartHookError", "PostStartHookError":
			return cannotRun(pod, s, firstOf(w.Message, w.Reason))
		}
	}
	if last == nil {
		return "", ""
	}
	return diagnoseEnd(pod, s, last, init)
}

// cannotPull are the kubelet's reasons for a container that waits for its image.
//
//nolint:gochecknoglobals // A constant that Go cannot express as such.
var cannotPull = []string{
	"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed",
}

// cannotRun says that there is an image, and that it cannot be run.
func cannotRun(pod string, s corev1.ContainerStatus, msg string) (v1alpha1.ConditionReason, string) {
	c := find(runErrors, msg)
	return c.reason, fmt.Sprintf("%s cannot run its image: %s; %s", subject(pod, s), quote(msg), c.advice)
}

// diagnoseEnd of a container that ended, and may have been started again.
func diagnoseEnd(pod string, s corev1.ContainerStatus, last *corev1.ContainerStateTerminated, init bool) (v1alpha1.ConditionReason, string) {
	who, when := subject(pod, s), after(s.RestartCount)
	logs := fmt.Sprintf("kubectl logs %s -c %s --previous", pod, s.Name)
	// It runs again, and may come to serve: once is no loop.
	once := s.State.Running != nil && s.RestartCount <= 1
	if last.ExitCode == 0 {
		if init || once || s.RestartCount == 0 {
			return "", ""
		}
		// SGLang ends like that when a process of it fails, and any server does
		// whose health probe fails.
		return v1alpha1.ReasonCrashLooping, fmt.Sprintf("%s ended%s, as if all were well; see %s, and whether kubectl describe pod %s tells of failed probes", who, when, logs, pod)
	}
	if last.Reason == "OOMKilled" {
		return v1alpha1.ReasonOutOfMemory, fmt.Sprintf("%s ran out of host memory%s; raise resources.memory, and resources.memoryLimit if it is set", who, when)
	}
	log := clean(last.Message)
	reason, transient := v1alpha1.ReasonCrashLooping, true
	crash := fmt.Sprintf("%s crashed with exit code %d%s%s: %s", who, last.ExitCode, signal(last.ExitCode), when, firstOf(lastLines(log), last.Reason))
	switch c := find(logErrors, log); {
	case c.what != "":
		reason, transient = c.reason, c.transient
		crash = fmt.Sprintf("%s %s%s: %s; %s", who, c.what, when, quote(c.line(log)), c.advice)
	case c.advice != "":
		crash += fmt.Sprintf("; %s: %s", c.advice, logs)
	}
	if once && transient {
		return "", crash
	}
	return reason, crash
}

// signal that ended a container, where its exit code tells.
func signal(code int32) string {
	switch code {
	case 132:
		return " (illegal instruction: the image is not for this CPU)"
	case 134:
		return " (aborted)"
	case 135:
		return " (bus error: /dev/shm may be full)"
	case 137:
		return " (killed, as when its health probe fails: kubectl describe pod tells)"
	case 139:
		return " (segmentation fault)"
	case 143:
		return " (ended from outside, as when its health probe fails: kubectl describe pod tells)"
	}
	return ""
}

func after(restarts int32) string {
	switch {
	case restarts <= 0:
		return ""
	case restarts == 1:
		return " after 1 restart"
	case restarts < manyRestarts:
		return fmt.Sprintf(" after %d restarts", restarts)
	}
	return " after several restarts"
}

// configAdvice where a container refers to what is not there.
func configAdvice(p corev1.Pod, msg string) string {
	m := missing.FindStringSubmatch(msg)
	if m == nil {
		if strings.Contains(msg, "runAsNonRoot") {
			return "set security.podSecurityContext.runAsUser to a user who is not root"
		}
		return "correct the reference"
	}
	// One alternative of the two has matched.
	if name := m[1]; name != "" {
		return "create it, or correct " + reference(p, name, "")
	}
	return "add the key, or correct " + reference(p, m[3], m[2])
}

var missing = regexp.MustCompile(`(?:secret|configmap) "([^"]+)" not found|couldn't find key (\S+) in (?:Secret|ConfigMap) [^/\s]+/(\S+)`)

// reference to a Secret or a ConfigMap, as the user knows it.
func reference(p corev1.Pod, name, key string) string {
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		for _, v := range c.Env {
			if !refersTo(v.ValueFrom, name, key) {
				continue
			}
			switch {
			case v.Name == envHFToken:
				return "hfTokenSecretRef"
			case strings.HasSuffix(v.Name, "_API_KEY"):
				return "security.apiKeySecretRef"
			}
			return fmt.Sprintf("the environment variable %s of deployment.env or of the recipe", v.Name)
		}
	}
	return "the reference to it"
}

func refersTo(v *corev1.EnvVarSource, name, key string) bool {
	switch {
	case v == nil:
		return false
	case v.SecretKeyRef != nil:
		return v.SecretKeyRef.Name == name && (key == "" || v.SecretKeyRef.Key == key)
	case v.ConfigMapKeyRef != nil:
		return v.ConfigMapKeyRef.Name == name && (key == "" || v.ConfigMapKeyRef.Key == key)
	}
	return false
}

func podReady(p corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
