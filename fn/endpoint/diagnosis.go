package endpoint

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

// maxMessage of a condition, in bytes: the API server takes 32 KiB, but a
// person reads a few lines, and the status travels with each request.
const maxMessage = 1000

// diagnose why pods do not serve. The oldest pod with a cause tells it. The
// reason is empty if they are merely starting; there may be a message then.
func diagnose(pods []corev1.Pod, gpuResource string) (v1alpha1.ConditionReason, string) {
	pods = slices.DeleteFunc(slices.Clone(pods), func(p corev1.Pod) bool { return p.DeletionTimestamp != nil || podReady(p) })
	slices.SortFunc(pods, func(a, b corev1.Pod) int {
		if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	hint := ""
	for _, p := range pods {
		reason, msg := diagnosePod(p, gpuResource)
		if reason != "" {
			return reason, msg
		}
		if hint == "" {
			hint = msg
		}
	}
	return "", hint
}

func diagnosePod(p corev1.Pod, gpuResource string) (v1alpha1.ConditionReason, string) {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			if strings.Contains(c.Message, "PersistentVolumeClaim") || strings.Contains(c.Message, "persistentvolumeclaim") {
				// It waits for its volume, and gets a GPU after that.
				return "", fmt.Sprintf("pod %s cannot be scheduled: %s", p.Name, strings.TrimSuffix(c.Message, "."))
			}
			advice := "check that the cluster has such nodes"
			if strings.Contains(c.Message, "Insufficient "+gpuResource) {
				advice = "free GPUs, add nodes, or set recipe.gpuCount or recipe.hardware to what is free"
			}
			return v1alpha1.ReasonWaitingForGPU, fmt.Sprintf("pod %s cannot be scheduled: %s; %s", p.Name, strings.TrimSuffix(c.Message, "."), advice)
		}
	}
	for i, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if reason, msg := diagnoseContainer(p.Name, s, i < len(p.Status.InitContainerStatuses)); reason != "" || msg != "" {
			return reason, msg
		}
	}
	return "", ""
}

func diagnoseContainer(pod string, s corev1.ContainerStatus, init bool) (v1alpha1.ConditionReason, string) {
	last := s.State.Terminated
	if last == nil {
		last = s.LastTerminationState.Terminated
	}
	if w := s.State.Waiting; w != nil {
		switch w.Reason {
		case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError":
			return v1alpha1.ReasonImagePullFailed, fmt.Sprintf("pod %s cannot pull image %s: %s; check spec.image and its pull secrets", pod, s.Image, firstOf(w.Message, w.Reason))
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
			return "", fmt.Sprintf("pod %s cannot start: %s", pod, firstOf(w.Message, w.Reason))
		}
	}
	if last == nil || (last.ExitCode == 0 && (init || s.State.Terminated == nil)) {
		return "", ""
	}
	if last.Reason == "OOMKilled" {
		return v1alpha1.ReasonOutOfMemory, fmt.Sprintf("pod %s ran out of host memory after %s; raise resources.memory, and resources.memoryLimit if it is set", pod, restarts(s.RestartCount))
	}
	crash := fmt.Sprintf("pod %s crashed with exit code %d after %s: %s", pod, last.ExitCode, restarts(s.RestartCount), lastLines(firstOf(last.Message, last.Reason)))
	if s.State.Running != nil && s.RestartCount <= 1 {
		// It runs again, and may come to serve: once is no loop.
		return "", crash
	}
	return v1alpha1.ReasonCrashLooping, crash
}

func restarts(n int32) string {
	if n == 1 {
		return "1 restart"
	}
	return fmt.Sprintf("%d restarts", n)
}

func firstOf(s ...string) string {
	for _, v := range s {
		if v = strings.TrimSpace(v); v != "" {
			return v
		}
	}
	return "no message"
}

// lastLines of a log: the error is at its end.
func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > 5 {
		lines = lines[len(lines)-5:]
	}
	s = strings.Join(lines, "\n")
	const most = maxMessage * 2 / 3
	if len(s) > most {
		s = "..." + strings.ToValidUTF8(s[len(s)-most:], "")
	}
	return s
}

// bound a message, and make it valid UTF-8: protobuf takes nothing else.
func bound(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "?")
	}
	if len(s) <= maxMessage {
		return s
	}
	return strings.ToValidUTF8(s[:maxMessage], "") + "..."
}

func podReady(p corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
