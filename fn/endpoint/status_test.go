package endpoint

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/volume"
)

// deployed is the live Deployment of an endpoint, with a status.
func deployed(e Endpoint, change ...func(d *appsv1.Deployment)) *appsv1.Deployment {
	d := e.deployment(nil)
	d.Generation = 1
	d.Spec.Replicas = ptr.To(e.minReplicas())
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: 1}
	for _, c := range change {
		c(d)
	}
	return d
}

// counts of replicas in a Deployment's status.
func counts(replicas, updated, available int32) func(d *appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		d.Status.Replicas, d.Status.UpdatedReplicas, d.Status.ReadyReplicas, d.Status.AvailableReplicas = replicas, updated, available, available
	}
}

func condition(typ appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason string) func(d *appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		d.Status.Conditions = append(d.Status.Conditions, appsv1.DeploymentCondition{Type: typ, Status: status, Reason: reason})
	}
}

// pod of an endpoint, older by its age in minutes.
func pod(name string, age int, change ...func(p *corev1.Pod)) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: name, Namespace: "team-a",
		CreationTimestamp: metav1.NewTime(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).Add(-time.Duration(age) * time.Minute)),
	}}
	for _, c := range change {
		c(&p)
	}
	return p
}

func unschedulable(message string) func(p *corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: message})
	}
}

func ready(p *corev1.Pod) {
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
}

func container(s corev1.ContainerStatus) func(p *corev1.Pod) {
	return func(p *corev1.Pod) {
		s.Name, s.Image = "server", testImage
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, s)
	}
}

func waiting(reason, message string) corev1.ContainerStatus {
	return corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}
}

// crashed containers wait for their next start.
func crashed(reason, message string, code, restarts int32) corev1.ContainerStatus {
	s := waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container")
	s.RestartCount = restarts
	s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: reason, Message: message, ExitCode: code}
	return s
}

func TestWorkloadReady(t *testing.T) {
	three := `scaling: {minReplicas: 3}`
	with := func(spec string, pods []corev1.Pod, change ...func(d *appsv1.Deployment)) Live {
		return Live{Deployment: deployed(chat(t, spec), change...), Pods: pods}
	}
	starting := counts(1, 1, 0)

	cases := map[string]struct {
		reason string
		spec   string
		live   Live
		want   Condition
	}{
		"PolicyRefused": {
			reason: "Whom the user wants to keep out would be let in.",
			live:   Live{ApplyErrors: map[Role]string{RoleNetworkPolicy: "denied"}},
			want:   Condition{Reason: "ApplyFailed", Message: "cannot apply the NetworkPolicy: denied"},
		},
		"AccountRefused": {
			reason: "Without its account no pod can be made.",
			live:   Live{ApplyErrors: map[Role]string{RoleServiceAccount: "denied"}},
			want:   Condition{Reason: "ApplyFailed", Message: "cannot apply the ServiceAccount: denied"},
		},
		"BudgetRefused": {
			reason: "What the user wants of drains would not hold.",
			live:   Live{ApplyErrors: map[Role]string{RoleDisruptionBudget: "denied"}},
			want:   Condition{Reason: "ApplyFailed", Message: "cannot apply the PodDisruptionBudget: denied"},
		},
		"KeyNotFound": {
			reason: "Clients would wait for a key in vain.",
			live:   Live{ApplyErrors: map[Role]string{RoleAPIKey: `secrets "keys" not found`}},
			want:   Condition{Reason: "ApplyFailed", Message: `cannot apply the Object that publishes the API key: secrets "keys" not found`},
		},
		"New": {
			reason: "Before there is a Deployment nothing is available.",
			spec:   three,
			want:   Condition{Reason: "Starting", Message: "0 of 3 replicas are available"},
		},
		"Available": {
			reason: "All replicas available is what is wanted.",
			live:   with("", nil, counts(1, 1, 1)),
			want:   Condition{OK: true, Reason: "Available", Message: "1 of 1 replicas are available"},
		},
		"AllAvailable": {
			reason: "All replicas available is what is wanted.",
			spec:   three,
			live:   with(three, nil, counts(3, 3, 3)),
			want:   Condition{OK: true, Reason: "Available", Message: "3 of 3 replicas are available"},
		},
		"NoneAvailable": {
			reason: "Kubernetes calls a Deployment available of which all replicas may be unavailable; we do not.",
			live:   with("", nil, starting, condition(appsv1.DeploymentAvailable, corev1.ConditionTrue, "MinimumReplicasAvailable")),
			want:   Condition{Reason: "Starting", Message: "0 of 1 replicas are available"},
		},
		"ScalesUp": {
			reason: "What an autoscaler adds may be on its way.",
			spec:   `scaling: {minReplicas: 1, maxReplicas: 4}`,
			live: with(`scaling: {minReplicas: 1, maxReplicas: 4}`, nil, counts(4, 4, 2), func(d *appsv1.Deployment) {
				d.Spec.Replicas = ptr.To[int32](4)
			}),
			want: Condition{OK: true, Reason: "Available", Message: "2 of 4 replicas are available"},
		},
		"ScalesUpInVain": {
			reason: "Why what an autoscaler adds does not come should be told, though it does not matter yet.",
			spec:   `scaling: {minReplicas: 1, maxReplicas: 2}`,
			live: with(`scaling: {minReplicas: 1, maxReplicas: 2}`, []corev1.Pod{pod("chat-a", 9, ready), pod("chat-b", 1, unschedulable("0/2 nodes are available: 2 Insufficient amd.com/gpu."))},
				counts(2, 2, 1), func(d *appsv1.Deployment) { d.Spec.Replicas = ptr.To[int32](2) }),
			want: Condition{OK: true, Reason: "Available", Message: "1 of 2 replicas are available; pod chat-b cannot be scheduled: 0/2 nodes are available: 2 Insufficient amd.com/gpu; " +
				"free GPUs, add nodes, or set recipe.gpuCount or recipe.hardware to what is free"},
		},
		"NotScaledYet": {
			reason: "The one replica that a Deployment starts with is not all that the user wants.",
			spec:   three,
			live:   with(three, nil, counts(1, 1, 1), func(d *appsv1.Deployment) { d.Spec.Replicas = ptr.To[int32](1) }),
			want:   Condition{Reason: "Starting", Message: "1 of 3 replicas are available"},
		},
		"Starting": {
			reason: "A pod that loads its model has nothing to tell.",
			live:   with("", []corev1.Pod{pod("chat-a", 1, container(corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}))}, starting),
			want:   Condition{Reason: "Starting", Message: "0 of 1 replicas are available"},
		},
		"CreatingContainer": {
			reason: "A container that is being created has nothing to tell.",
			live:   with("", []corev1.Pod{pod("chat-a", 1, container(waiting("ContainerCreating", "")))}, starting),
			want:   Condition{Reason: "Starting", Message: "0 of 1 replicas are available"},
		},
		"MissingSecret": {
			reason: "A Secret that is not there keeps the server from starting until somebody creates it.",
			live:   with("", []corev1.Pod{pod("chat-a", 1, container(waiting("CreateContainerConfigError", `secret "hugging-face" not found`)))}, starting),
			want:   Condition{Reason: "ApplyFailed", Message: `0 of 1 replicas are available; pod chat-a cannot start: secret "hugging-face" not found; create it, or correct the reference to it`},
		},
		"WaitingForGPU": {
			reason: "The scheduler's words should be there, and what to do.",
			live:   with("", []corev1.Pod{pod("chat-a", 1, unschedulable("0/5 nodes are available: 1 Insufficient amd.com/gpu, 4 node(s) didn't match Pod's node affinity/selector."))}, starting),
			want: Condition{Reason: "WaitingForGPU", Message: "0 of 1 replicas are available; pod chat-a cannot be scheduled: 0/5 nodes are available: 1 Insufficient amd.com/gpu, " +
				"4 node(s) didn't match Pod's node affinity/selector; free GPUs, add nodes, or set recipe.gpuCount or recipe.hardware to what is free"},
		},
		"NoSuchNodes": {
			reason: "Without a single node of that hardware there is nothing to free.",
			live:   with("", []corev1.Pod{pod("chat-a", 1, unschedulable("0/5 nodes are available: 5 node(s) didn't match Pod's node affinity/selector."))}, starting),
			want: Condition{Reason: "WaitingForGPU", Message: "0 of 1 replicas are available; pod chat-a cannot be scheduled: 0/5 nodes are available: 5 node(s) didn't match Pod's node affinity/selector; " +
				"check that the cluster has nodes with the recipe's hardware, or set recipe.hardware to what it has"},
		},
		"WaitingForVolume": {
			reason: "A volume is no GPU.",
			live:   with("", []corev1.Pod{pod("chat-a", 1, unschedulable("0/5 nodes are available: pod has unbound immediate PersistentVolumeClaims."))}, starting),
			want: Condition{Reason: "Starting", Message: "0 of 1 replicas are available; pod chat-a cannot be scheduled: 0/5 nodes are available: pod has unbound immediate PersistentVolumeClaims; " +
				"check the PersistentVolumeClaim, cache.storageClass and cache.accessMode"},
		},
		"ImagePullBackOff": {
			reason: "An image that cannot be pulled should be told of by its name.",
			live:   with("", []corev1.Pod{pod("chat-a", 1, container(waiting("ImagePullBackOff", `Back-off pulling image: 401 Unauthorized`)))}, starting),
			want: Condition{Reason: "ImagePullFailed", Message: "0 of 1 replicas are available; pod chat-a cannot pull image vllm/vllm-openai-rocm:v0.22.1: " +
				"Back-off pulling image: 401 Unauthorized; name a Secret that gives access to the registry in image.pullSecrets, and check image.repository"},
		},
		"ErrImagePullWithoutMessage": {
			reason: "Without a message the reason is better than nothing.",
			live:   with("", []corev1.Pod{pod("chat-a", 1, container(waiting("ErrImagePull", "")))}, starting),
			want: Condition{Reason: "ImagePullFailed", Message: "0 of 1 replicas are available; pod chat-a cannot pull image vllm/vllm-openai-rocm:v0.22.1: " +
				"ErrImagePull; check spec.image and its pull secrets"},
		},
		"OutOfMemory": {
			reason: "A server that the kernel ended should be told from one that failed.",
			live:   with("", []corev1.Pod{pod("chat-a", 1, container(crashed("OOMKilled", "", 137, 2)))}, starting),
			want:   Condition{Reason: "OutOfMemory", Message: "0 of 1 replicas are available; pod chat-a ran out of host memory after 2 restarts; raise resources.memory, and resources.memoryLimit if it is set"},
		},
		"CrashLooping": {
			reason: "The last lines of a crashed server's log should tell why.",
			live:   with("", []corev1.Pod{pod("chat-a", 1, container(crashed("Error", "1\n2\n3\n4\nValueError: no such model\nTraceback\n", 1, 1)))}, starting),
			want: Condition{Reason: "CrashLooping", Message: "0 of 1 replicas are available; pod chat-a crashed with exit code 1 after 1 restart: " +
				"2\n3\n4\nValueError: no such model\nTraceback"},
		},
		"CrashWithoutMessage": {
			reason: "Without a log the reason is better than nothing.",
			live:   with("", []corev1.Pod{pod("chat-a", 1, container(crashed("Error", "", 139, 3)))}, starting),
			want:   Condition{Reason: "CrashLooping", Message: "0 of 1 replicas are available; pod chat-a crashed with exit code 139 (segmentation fault) after several restarts: Error"},
		},
		"FirstCrash": {
			reason: "A crash should be told of before Kubernetes starts the server again.",
			live: with("", []corev1.Pod{pod("chat-a", 1, container(corev1.ContainerStatus{
				State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 2, Reason: "Error", Message: "bad flag"}},
			}))}, starting),
			want: Condition{Reason: "CrashLooping", Message: "0 of 1 replicas are available; pod chat-a crashed with exit code 2: bad flag"},
		},
		"LoadsAgain": {
			reason: "A server that crashed once and loads its model again is starting; why it crashed should be told.",
			live: with("", []corev1.Pod{pod("chat-a", 60, container(corev1.ContainerStatus{
				RestartCount: 1,
				State:        corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
				LastTerminationState: corev1.ContainerState{
					Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "connection reset"},
				},
			}))}, starting),
			want: Condition{Reason: "Starting", Message: "0 of 1 replicas are available; pod chat-a crashed with exit code 1 after 1 restart: connection reset"},
		},
		"InitContainerEnded": {
			reason: "An init container ends before the server starts, and some platforms add one to every pod.",
			live: with("", []corev1.Pod{pod("chat-a", 1, func(p *corev1.Pod) {
				p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "init", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed"}}}}
			}, container(corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}))}, starting),
			want: Condition{Reason: "Starting", Message: "0 of 1 replicas are available"},
		},
		"Scheduled": {
			reason: "A pod that is scheduled and loads its model has nothing to tell.",
			live: with("", []corev1.Pod{pod("chat-a", 2, func(p *corev1.Pod) {
				p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}, {Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}
			})}, starting),
			want: Condition{Reason: "Starting", Message: "0 of 1 replicas are available"},
		},
		"CrashBesideSidecar": {
			reason: "A container that does well should not hide one that does not.",
			live: with("", []corev1.Pod{pod("chat-a", 1, container(corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}),
				container(crashed("Error", "why", 1, 1)))}, starting),
			want: Condition{Reason: "CrashLooping", Message: "0 of 1 replicas are available; pod chat-a crashed with exit code 1 after 1 restart: why"},
		},
		"EndedWell": {
			reason: "A server that ended well, and starts again, has not crashed.",
			live: with("", []corev1.Pod{pod("chat-a", 1, container(corev1.ContainerStatus{
				State:                corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
				LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed"}},
			}))}, starting),
			want: Condition{Reason: "Starting", Message: "0 of 1 replicas are available"},
		},
		"PodsRefused": {
			reason: "That the cluster refuses pods should be told: no pod is there to tell it.",
			live: with("", nil, counts(0, 0, 0), func(d *appsv1.Deployment) {
				d.Status.Conditions = []appsv1.DeploymentCondition{
					{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue},
					{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: `pods "chat-a" is forbidden: exceeded quota: gpus`},
				}
			}),
			want: Condition{Reason: "ApplyFailed", Message: `0 of 1 replicas are available, and the cluster refuses to create more: pods "chat-a" is forbidden: exceeded quota: gpus`},
		},
		"PodsRefusedNoMore": {
			reason: "A refusal of the past should not count.",
			live: with("", nil, counts(1, 1, 0), func(d *appsv1.Deployment) {
				d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionFalse, Message: "exceeded quota"}}
			}),
			want: Condition{Reason: "Starting", Message: "0 of 1 replicas are available"},
		},
		"OldestTells": {
			reason: "Of several pods the oldest with a cause should tell it, so that the message does not jump; those that are ready or going have none.",
			spec:   three,
			live: with(three, []corev1.Pod{
				pod("chat-0", 1, container(crashed("Error", "younger", 1, 1))),
				pod("chat-c", 5, container(crashed("Error", "as old, but later in the alphabet", 1, 1))),
				pod("chat-b", 5, container(crashed("Error", "older", 1, 1))),
				pod("chat-a", 5, container(corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}})),
				pod("chat-d", 9, ready, container(crashed("Error", "of a pod that is ready", 1, 1))),
				pod("chat-e", 9, container(crashed("Error", "of a pod that is going", 1, 1)), func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Now()} }),
			}, counts(3, 3, 1)),
			want: Condition{Reason: "CrashLooping", Message: "1 of 3 replicas are available; pod chat-b crashed with exit code 1 after 1 restart: older"},
		},
		"ProgressDeadlineExceeded": {
			reason: "A server that never gets ready should not start for ever.",
			live:   with("", nil, starting, condition(appsv1.DeploymentProgressing, corev1.ConditionFalse, "ProgressDeadlineExceeded")),
			want:   Condition{Reason: "ProgressDeadlineExceeded", Message: "0 of 1 replicas are available, and there was no progress for 2898 s"},
		},
		"CauseBeforeDeadline": {
			reason: "A cause tells more than that time is up.",
			live: with("", []corev1.Pod{pod("chat-a", 1, container(crashed("Error", "why", 1, 9)))}, starting,
				condition(appsv1.DeploymentProgressing, corev1.ConditionFalse, "ProgressDeadlineExceeded")),
			want: Condition{Reason: "CrashLooping", Message: "0 of 1 replicas are available; pod chat-a crashed with exit code 1 after several restarts: why"},
		},
		"OtherProgress": {
			reason: "A Deployment that is paused has not exceeded its deadline.",
			live:   with("", nil, starting, condition(appsv1.DeploymentProgressing, corev1.ConditionUnknown, "DeploymentPaused")),
			want:   Condition{Reason: "Starting", Message: "0 of 1 replicas are available"},
		},
		"RolloutInProgress": {
			reason: "A rollout should say how far it is.",
			spec:   three,
			live:   with(three, nil, counts(3, 1, 2)),
			want:   Condition{Reason: "RolloutInProgress", Message: "1 of 3 replicas are updated, 2 are available"},
		},
		"NotObserved": {
			reason: "What the controller says of an older spec should not count.",
			spec:   three,
			live:   with(three, nil, counts(3, 3, 3), func(d *appsv1.Deployment) { d.Generation = 2 }),
			want:   Condition{Reason: "RolloutInProgress", Message: "3 of 3 replicas are updated, 3 are available"},
		},
		"Applying": {
			reason: "What runs what was wanted before is not what is wanted now.",
			live: func() Live {
				l := with("", nil, counts(1, 1, 1))
				l.Applying = true
				return l
			}(),
			want: Condition{Reason: "RolloutInProgress", Message: "the change is being applied"},
		},
		"ChangedByWebhook": {
			reason: "What a webhook makes of the Deployment should not matter: the cluster wants it so.",
			live: with("", nil, counts(1, 1, 1), func(d *appsv1.Deployment) {
				d.Spec.Template.Spec.Containers = append([]corev1.Container{{Name: "proxy"}}, d.Spec.Template.Spec.Containers...)
				d.Spec.Template.Spec.Containers[1].Image = "mirror.example.org/vllm:v1"
			}),
			want: Condition{OK: true, Reason: "Available", Message: "1 of 1 replicas are available"},
		},
		"ApplyFailed": {
			reason: "Why a Deployment cannot be applied should be told.",
			live:   Live{ApplyErrors: map[Role]string{RoleDeployment: "admission webhook denied the request"}},
			want:   Condition{Reason: "ApplyFailed", Message: "cannot apply the Deployment: admission webhook denied the request"},
		},
		"ApplyFailedWhileServing": {
			reason: "That the earlier one serves on should be told too.",
			live: func() Live {
				l := with("", nil, counts(1, 1, 1))
				l.ApplyErrors = map[Role]string{RoleReplicas: "conflict"}
				return l
			}(),
			want: Condition{Reason: "ApplyFailed", Message: "the workload keeps running as it was; cannot apply the number of replicas: conflict"},
		},
		"ApplyFailedElsewhere": {
			reason: "What is wrong with other objects is told elsewhere.",
			live: func() Live {
				l := with("", nil, counts(1, 1, 1))
				l.ApplyErrors = map[Role]string{RoleService: "denied", RoleCache: "denied", RoleAutoscaler: "denied"}
				return l
			}(),
			want: Condition{OK: true, Reason: "Available", Message: "1 of 1 replicas are available"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.want.Type = v1alpha1.ConditionWorkloadReady
			if diff := cmp.Diff(tc.want, chat(t, tc.spec).Conditions(tc.live, nil)[0]); diff != "" {
				t.Errorf("\n%s\nConditions(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestMessages has what pods and the API server may say at any length.
func TestMessages(t *testing.T) {
	texts := map[string]string{
		"Long":    strings.Repeat("x", 100_000),
		"Unicode": strings.Repeat("é✓", 10_000),
		"Invalid": strings.Repeat("a\xff", 10_000),
		"Lines":   strings.Repeat("line\n", 10_000),
		"Spaces":  strings.Repeat(" \n", 10_000),
	}
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			e := chat(t, `{cache: {enabled: true}, scaling: {minReplicas: 1, maxReplicas: 2}}`)
			lives := map[string]Live{
				"crash":         {Deployment: deployed(e), Pods: []corev1.Pod{pod("chat-a", 1, container(crashed("Error", text+"the end", 1, 1)))}},
				"unschedulable": {Deployment: deployed(e), Pods: []corev1.Pod{pod("chat-a", 1, unschedulable(text))}},
				"pull":          {Deployment: deployed(e), Pods: []corev1.Pod{pod("chat-a", 1, container(waiting("ErrImagePull", text)))}},
				"apply":         {ApplyErrors: map[Role]string{RoleDeployment: text, RoleService: text, RoleCache: text, RoleAutoscaler: text}},
				"autoscaler":    {Autoscaler: scaling(corev1.ConditionFalse, text)},
			}
			for what, live := range lives {
				for _, c := range e.Conditions(live, nil) {
					if !utf8.ValidString(c.Message) || len(c.Message) > 1100 || c.Message == "" || c.Reason == "" {
						t.Errorf("\nA message should be valid, and short enough to be read.\nConditions(...): %s: %s has %d bytes, valid: %t", what, c.Type, len(c.Message), utf8.ValidString(c.Message))
					}
				}
			}
			if got := e.Conditions(lives["crash"], nil)[0].Message; !strings.HasSuffix(got, "the end") {
				t.Errorf("\nA log should be cut at its beginning: the error is at its end.\nConditions(...): got %q", got)
			}
		})
	}
}

func TestServiceReady(t *testing.T) {
	service := func(typ corev1.ServiceType, ingress ...corev1.LoadBalancerIngress) Live {
		return Live{Service: &corev1.Service{Spec: corev1.ServiceSpec{Type: typ}, Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: ingress}}}}
	}
	const url = "http://chat.team-a.svc.cluster.local:8000"
	cases := map[string]struct {
		reason string
		live   Live
		want   Condition
	}{
		"New":          {"Before there is a Service nobody reaches it.", Live{}, Condition{Reason: "Starting", Message: "the Service is being created"}},
		"ClusterIP":    {"A Service should say where clients reach it.", service(corev1.ServiceTypeClusterIP), Condition{OK: true, Reason: "Available", Message: "clients reach it at " + url}},
		"NodePort":     {"A Service should say where clients reach it.", service(corev1.ServiceTypeNodePort), Condition{OK: true, Reason: "Available", Message: "clients reach it at " + url}},
		"LoadBalancer": {"A load balancer with an address is available.", service(corev1.ServiceTypeLoadBalancer, corev1.LoadBalancerIngress{IP: "192.0.2.1"}), Condition{OK: true, Reason: "Available", Message: "clients reach it at " + url}},
		"Pending": {
			"A load balancer without an address is reached from inside only.", service(corev1.ServiceTypeLoadBalancer),
			Condition{Reason: "WaitingForLoadBalancer", Message: "the cluster has assigned no address to the load balancer yet; clients in the cluster can use " + url},
		},
		"ApplyFailed": {
			"Why a Service cannot be applied should be told.",
			Live{ApplyErrors: map[Role]string{RoleService: "denied"}},
			Condition{Reason: "ApplyFailed", Message: "cannot apply the Service: denied"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.want.Type = v1alpha1.ConditionServiceReady
			if diff := cmp.Diff(tc.want, chat(t, "").Conditions(tc.live, nil)[1]); diff != "" {
				t.Errorf("\n%s\nConditions(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestCacheReady(t *testing.T) {
	pending := boundClaim("50Gi", "standard")
	pending.Status.Phase = corev1.ClaimPending
	cases := map[string]struct {
		reason   string
		spec     string
		platform string
		live     Live
		want     Condition
	}{
		"Disabled": {
			reason: "Without a cache that is right, and has a price.",
			want:   Condition{OK: true, Reason: "Disabled", Message: "cache.enabled is false: each pod downloads the model"},
		},
		"New": {
			reason: "A volume that is not there yet is not bound.",
			spec:   `cache: {enabled: true}`,
			want:   Condition{Reason: "WaitingForConsumer", Message: "the PersistentVolumeClaim chat-cache is not bound yet; with some storage classes that waits for a pod"},
		},
		"Pending": {
			reason: "A claim may wait for its first pod.",
			spec:   `cache: {enabled: true, size: 50Gi}`,
			live:   Live{Cache: pending},
			want:   Condition{Reason: "WaitingForConsumer", Message: "the PersistentVolumeClaim chat-cache is not bound yet; with some storage classes that waits for a pod"},
		},
		"Bound": {
			reason: "A bound volume should be told of with its size.",
			spec:   `cache: {enabled: true, storageClass: standard, size: 50Gi}`,
			live:   Live{Cache: boundClaim("50Gi", "standard")},
			want:   Condition{OK: true, Reason: "Bound", Message: "the volume chat-cache of 50Gi is bound; the server downloads the model: the platform has set no agentImage"},
		},
		"SizeSpelledOtherwise": {
			reason: "The same size in other units is the same.",
			spec:   `cache: {enabled: true, size: 51200Mi}`,
			live:   Live{Cache: boundClaim("50Gi", "standard")},
			want:   Condition{OK: true, Reason: "Bound", Message: "the volume chat-cache of 50Gi is bound; the server downloads the model: the platform has set no agentImage"},
		},
		"ShrinkIgnored": {
			reason: "A volume cannot shrink.",
			spec:   `cache: {enabled: true, size: 10Gi}`,
			live:   Live{Cache: boundClaim("50Gi", "standard"), CacheClass: volume.Class{Known: true, Exists: true, Expandable: true}},
			want:   Condition{Reason: "ShrinkIgnored", Message: "a volume cannot shrink: it stays at 50Gi, cache.size says 10Gi"},
		},
		"ShrinkOfNobody": {
			reason: "A size that nobody asked for need not be told of.",
			spec:   `cache: {enabled: true}`,
			live:   Live{Cache: boundClaim("500Gi", "standard")},
			want:   Condition{OK: true, Reason: "Bound", Message: "the volume chat-cache of 500Gi is bound; the server downloads the model: the platform has set no agentImage"},
		},
		"ExpansionNotSupported": {
			reason: "A volume grows only where its class allows that.",
			spec:   `cache: {enabled: true, size: 100Gi}`,
			live:   Live{Cache: boundClaim("50Gi", "standard"), CacheClass: volume.Class{Known: true, Exists: true}},
			want:   Condition{Reason: "ExpansionNotSupported", Message: `the storage class "standard" does not allow volumes to grow: it stays at 50Gi, cache.size says 100Gi`},
		},
		"Expanding": {
			reason: "A volume that may grow is being applied.",
			spec:   `cache: {enabled: true, size: 100Gi}`,
			live:   Live{Cache: boundClaim("50Gi", "standard"), CacheClass: volume.Class{Known: true, Exists: true, Expandable: true}},
			want:   Condition{OK: true, Reason: "Bound", Message: "the volume chat-cache of 50Gi is bound; the server downloads the model: the platform has set no agentImage"},
		},
		"StorageClassImmutable": {
			reason: "A class cannot change, and how to get another should be told.",
			spec:   `cache: {enabled: true, storageClass: fast}`,
			live:   Live{Cache: boundClaim("50Gi", "standard")},
			want: Condition{Reason: "StorageClassImmutable", Message: `cache.storageClass cannot change from "standard" to "fast"; ` +
				`to start with an empty volume, delete the AIMEndpoint, then the PersistentVolumeClaim chat-cache with all that it holds, and apply the AIMEndpoint again`},
		},
		"PlatformClassChanged": {
			reason:   "A new default of the platform's is for new volumes.",
			spec:     `cache: {enabled: true}`,
			platform: "fast",
			live:     Live{Cache: boundClaim("500Gi", "standard")},
			want:     Condition{OK: true, Reason: "Bound", Message: "the volume chat-cache of 500Gi is bound; the server downloads the model: the platform has set no agentImage"},
		},
		"AccessModeImmutable": {
			reason: "A mode cannot change, and how to get another should be told.",
			spec:   `cache: {enabled: true, accessMode: ReadWriteMany}`,
			live:   Live{Cache: boundClaim("500Gi", "standard")},
			want: Condition{Reason: "StorageClassImmutable", Message: "cache.accessMode cannot change from ReadWriteOnce to ReadWriteMany; " +
				"to start with an empty volume, delete the AIMEndpoint, then the PersistentVolumeClaim chat-cache with all that it holds, and apply the AIMEndpoint again"},
		},
		"NoAccessModes": {
			reason: "A claim without access modes has none to compare with.",
			spec:   `cache: {enabled: true, size: 50Gi}`,
			live: func() Live {
				pvc := boundClaim("50Gi", "standard")
				pvc.Spec.AccessModes = nil
				return Live{Cache: pvc}
			}(),
			want: Condition{OK: true, Reason: "Bound", Message: "the volume chat-cache of 50Gi is bound; the server downloads the model: the platform has set no agentImage"},
		},
		"ApplyFailed": {
			reason: "Why a volume cannot be applied should be told.",
			spec:   `cache: {enabled: true}`,
			live:   Live{ApplyErrors: map[Role]string{RoleCache: "quota exceeded"}},
			want:   Condition{Reason: "ApplyFailed", Message: "cannot apply the cache's volume: quota exceeded"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.want.Type = v1alpha1.ConditionCacheReady
			e := chat(t, tc.spec)
			e.Platform.StorageClass = tc.platform
			if diff := cmp.Diff(tc.want, e.Conditions(tc.live, nil)[2]); diff != "" {
				t.Errorf("\n%s\nConditions(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	const url = "http://chat.team-a.svc.cluster.local:8000"
	percent := func(name corev1.ResourceName, p int32) autoscalingv2.MetricStatus {
		return autoscalingv2.MetricStatus{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricStatus{
			Name: name, Current: autoscalingv2.MetricValueStatus{AverageUtilization: &p},
		}}
	}
	average := func(name, v string) autoscalingv2.MetricStatus {
		return autoscalingv2.MetricStatus{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricStatus{
			Metric: autoscalingv2.MetricIdentifier{Name: name}, Current: autoscalingv2.MetricValueStatus{AverageValue: ptr.To(resource.MustParse(v))},
		}}
	}
	cases := map[string]struct {
		reason string
		spec   string
		live   Live
		want   v1alpha1.AIMEndpointStatus
	}{
		"Nothing": {
			reason: "Where clients will reach it is known before anything is there; what was not measured is absent.",
			want:   v1alpha1.AIMEndpointStatus{URL: url, ServedModelName: testModel, Endpoints: &v1alpha1.Endpoints{Internal: url}},
		},
		"Replicas": {
			reason: "Replicas should be those of the live Deployment.",
			spec:   `scaling: {minReplicas: 4}`,
			live: Live{Deployment: deployed(chat(t, `scaling: {minReplicas: 4}`), counts(3, 3, 1), func(d *appsv1.Deployment) {
				d.Status.ReadyReplicas = 2
			})},
			want: v1alpha1.AIMEndpointStatus{
				URL: url, ServedModelName: testModel, Endpoints: &v1alpha1.Endpoints{Internal: url},
				Replicas: &v1alpha1.Replicas{Current: 3, Desired: 4, Ready: 2, Available: 1},
			},
		},
		"NotObserved": {
			reason: "A Deployment that its controller has not seen has no replicas to tell of.",
			live:   Live{Deployment: deployed(chat(t, ""), func(d *appsv1.Deployment) { d.Status.ObservedGeneration = 0 })},
			want:   v1alpha1.AIMEndpointStatus{URL: url, ServedModelName: testModel, Endpoints: &v1alpha1.Endpoints{Internal: url}},
		},
		"NodePort": {
			reason: "A node's port should be there; its address is not ours to know.",
			spec:   `service: {type: NodePort, port: 80}`,
			live:   Live{Service: &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{NodePort: 30123}}}}},
			want: v1alpha1.AIMEndpointStatus{
				URL: "http://chat.team-a.svc.cluster.local:80", ServedModelName: testModel,
				Endpoints: &v1alpha1.Endpoints{Internal: "http://chat.team-a.svc.cluster.local:80", NodePort: 30123},
			},
		},
		"NodePortWithoutPorts": {
			reason: "A Service without a port has no node port to tell of.",
			spec:   `service: {type: NodePort}`,
			live:   Live{Service: &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort}}},
			want:   v1alpha1.AIMEndpointStatus{URL: url, ServedModelName: testModel, Endpoints: &v1alpha1.Endpoints{Internal: url}},
		},
		"LoadBalancerPending": {
			reason: "An address that is not assigned should not be made up.",
			spec:   `service: {type: LoadBalancer}`,
			live:   Live{Service: &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}}},
			want:   v1alpha1.AIMEndpointStatus{URL: url, ServedModelName: testModel, Endpoints: &v1alpha1.Endpoints{Internal: url}},
		},
		"LoadBalancerHost": {
			reason: "A load balancer's host should be what clients use.",
			spec:   `service: {type: LoadBalancer, port: 80}`,
			live: Live{Service: &corev1.Service{
				Spec:   corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
				Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{Hostname: "lb.example.org", IP: "192.0.2.1"}}}},
			}},
			want: v1alpha1.AIMEndpointStatus{URL: "http://lb.example.org:80", ServedModelName: testModel, Endpoints: &v1alpha1.Endpoints{
				Internal: "http://chat.team-a.svc.cluster.local:80", External: "http://lb.example.org:80", LoadBalancer: "http://lb.example.org:80",
			}},
		},
		"LoadBalancerIPv6": {
			reason: "An IPv6 address should be in brackets.",
			spec:   `service: {type: LoadBalancer}`,
			live: Live{Service: &corev1.Service{
				Spec:   corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
				Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "2001:db8::1"}}}},
			}},
			want: v1alpha1.AIMEndpointStatus{URL: "http://[2001:db8::1]:8000", ServedModelName: testModel, Endpoints: &v1alpha1.Endpoints{
				Internal: url, External: "http://[2001:db8::1]:8000", LoadBalancer: "http://[2001:db8::1]:8000",
			}},
		},
		"Metrics": {
			reason: "What the autoscaler measured should be there, and nothing else.",
			spec:   `scaling: {minReplicas: 1, maxReplicas: 2}`,
			live: Live{Autoscaler: scaling(corev1.ConditionTrue, "",
				percent(corev1.ResourceCPU, 71), percent(corev1.ResourceMemory, 82), average("gpu_gfx_activity", "93500m"), average("vllm_num_requests_waiting", "3"))},
			want: v1alpha1.AIMEndpointStatus{
				URL: url, ServedModelName: testModel, Endpoints: &v1alpha1.Endpoints{Internal: url},
				Metrics: &v1alpha1.Metrics{CPUUtilization: ptr.To[int32](71), MemoryUtilization: ptr.To[int32](82), GPUUtilization: ptr.To[int32](94), QueueDepth: "3"},
			},
		},
		"EngineMetrics": {
			reason: "The engine's share of its KV cache should be in percent, and a queue as it is. What was read of a metric that is none of ours should not be there.",
			spec:   `scaling: {minReplicas: 1, maxReplicas: 2}`,
			live: Live{Autoscaler: scaling(corev1.ConditionTrue, "",
				average("vllm_kv_cache_usage_perc", "857m"), average("vllm_num_requests_waiting", "2500m"), average("sglang_token_usage", "1"), average("other", "1"),
				autoscalingv2.MetricStatus{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricStatus{Metric: autoscalingv2.MetricIdentifier{Name: "gpu_gfx_activity"}}})},
			want: v1alpha1.AIMEndpointStatus{
				URL: url, ServedModelName: testModel, Endpoints: &v1alpha1.Endpoints{Internal: url},
				Metrics: &v1alpha1.Metrics{KVCacheUtilization: ptr.To[int32](86), QueueDepth: "2500m"},
			},
		},
		"OddMetrics": {
			reason: "A share of more than all should be all, and one below nothing should be nothing.",
			spec:   `scaling: {minReplicas: 1, maxReplicas: 2}`,
			live: Live{Autoscaler: scaling(corev1.ConditionTrue, "",
				average("vllm_kv_cache_usage_perc", "12"), average("gpu_gfx_activity", "-1"))},
			want: v1alpha1.AIMEndpointStatus{
				URL: url, ServedModelName: testModel, Endpoints: &v1alpha1.Endpoints{Internal: url},
				Metrics: &v1alpha1.Metrics{KVCacheUtilization: ptr.To[int32](100), GPUUtilization: ptr.To[int32](0)},
			},
		},
		"NoMetrics": {
			reason: "What nothing measured should be absent, not zero.",
			spec:   `scaling: {minReplicas: 1, maxReplicas: 2}`,
			live:   Live{Autoscaler: scaling(corev1.ConditionFalse, "no metrics")},
			want:   v1alpha1.AIMEndpointStatus{URL: url, ServedModelName: testModel, Endpoints: &v1alpha1.Endpoints{Internal: url}},
		},
		"MetricsWithoutAutoscaling": {
			reason: "An autoscaler on its way out measures nothing for us.",
			live:   Live{Autoscaler: scaling(corev1.ConditionTrue, "", percent(corev1.ResourceCPU, 71))},
			want:   v1alpha1.AIMEndpointStatus{URL: url, ServedModelName: testModel, Endpoints: &v1alpha1.Endpoints{Internal: url}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, chat(t, tc.spec).Status(tc.live)); diff != "" {
				t.Errorf("\n%s\nStatus(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
