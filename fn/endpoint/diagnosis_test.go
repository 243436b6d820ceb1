package endpoint

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

const testGPU = "amd.com/gpu"

// A diagnosis as a whole.
type diagnosis struct {
	Reason  v1alpha1.ConditionReason
	Message string
}

func diagnosisOf(pods ...corev1.Pod) diagnosis {
	reason, msg := diagnose(pods, testGPU)
	return diagnosis{reason, msg}
}

// failed for good, some minutes ago.
func failed(reason, message string, ago int) func(p *corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, reason, message
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: corev1.PodReasonTerminationByKubelet,
			LastTransitionTime: pod("", ago).CreationTimestamp,
		})
	}
}

func template(hash string) func(p *corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels = map[string]string{labelTemplateHash: hash} }
}

func going(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: p.CreationTimestamp.Time} }

// mounting is what a kubelet reports of a pod while it has no sandbox.
func mounting(p *corev1.Pod) {
	p.Spec.NodeName = "mi300x-0"
	p.Status.Conditions = append(p.Status.Conditions,
		corev1.PodCondition{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionFalse},
		corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue})
	container(waiting("ContainerCreating", ""))(p)
}

func env(name string, from corev1.EnvVarSource) func(p *corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers = []corev1.Container{{Name: "server", Env: []corev1.EnvVar{
			{Name: "HF_HOME", Value: "/cache"},
			{Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
			{Name: name, ValueFrom: &from},
		}}}
	}
}

func fromSecret(name, key string) corev1.EnvVarSource {
	return corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key}}
}

func running(restarts int32, last *corev1.ContainerStateTerminated) corev1.ContainerStatus {
	return corev1.ContainerStatus{
		RestartCount: restarts, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		LastTerminationState: corev1.ContainerState{Terminated: last},
	}
}

// causes of every kind, alone in their pod.
func causes() map[string]struct {
	reason string
	pod    []func(p *corev1.Pod)
	want   diagnosis
} {
	type change = func(p *corev1.Pod)
	type tc = struct {
		reason string
		pod    []change
		want   diagnosis
	}
	pull := func(why, message, want string) tc {
		return tc{why, []change{container(waiting("ErrImagePull", message))}, diagnosis{"ImagePullFailed", "pod chat-a cannot pull image " + testImage + ": " + want}}
	}
	schedule := func(why, message string, reason v1alpha1.ConditionReason, want string) tc {
		return tc{why, []change{unschedulable(message)}, diagnosis{reason, "pod chat-a cannot be scheduled: " + want}}
	}
	log := func(why, log string, reason v1alpha1.ConditionReason, want string) tc {
		return tc{why, []change{container(crashed("Error", log, 1, 5))}, diagnosis{reason, "pod chat-a " + want}}
	}
	evicted := func(why, reason, message string, want diagnosis) tc {
		want.Message = "pod chat-a failed, and was replaced: " + want.Message
		// A second one, as for one alone there is no reason.
		return tc{why, []change{failed(reason, message, 9)}, want}
	}
	const unpack = `failed to pull and unpack image "` + testImage + `": failed to resolve reference "` + testImage + `": `
	const access = "; name a Secret that gives access to the registry in image.pullSecrets, and check image.repository"
	const again = " after several restarts"

	return map[string]tc{
		"PullDenied": pull("A registry that wants an account should lead to the pull secrets.",
			unpack+"pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
			"pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed"+access),
		"PullUnauthorized": pull("CRI-O says it in other words.",
			"rpc error: code = Unknown desc = reading manifest v1 in quay.example.org/vllm: unauthorized: access to the requested resource is not authorized",
			"reading manifest v1 in quay.example.org/vllm: unauthorized: access to the requested resource is not authorized"+access),
		"PullNotFound": pull("A tag that is not there should lead to the tag.",
			"rpc error: code = NotFound desc = "+unpack+testImage+": not found",
			testImage+": not found; there is no such image: check image.repository and image.tag"),
		"PullManifestUnknown": pull("CRI-O says it in other words.",
			"reading manifest v9 in quay.example.org/vllm: manifest unknown",
			"reading manifest v9 in quay.example.org/vllm: manifest unknown; there is no such image: check image.repository and image.tag"),
		"PullTooMany": pull("A limit of a registry is neither of both, though it speaks of authentication.",
			"failed to copy: httpReadSeeker: failed open: unexpected status code 429 Too Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull rate limit",
			"failed to copy: httpReadSeeker: failed open: unexpected status code 429 Too Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull rate limit"+
				"; name a Secret of an account at the registry in image.pullSecrets, or set image.repository to a mirror; it is tried again"),
		"PullNoHost": pull("A registry out of reach has nothing to do with the image.",
			unpack+`failed to do request: Head "https://registry.example.org/v2/": dial tcp: lookup registry.example.org: no such host`,
			`failed to do request: Head "https://registry.example.org/v2/": dial tcp: lookup registry.example.org: no such host`+
				"; the node does not reach the registry: check its DNS, proxy and firewall, or set image.repository to a mirror"),
		"PullInvalidName": {
			"A name that is none is never tried.",
			[]change{container(waiting("InvalidImageName", `Failed to apply default image tag "Vllm:v1": couldn't parse image name "Vllm:v1": invalid reference format: repository name must be lowercase`))},
			diagnosis{"ImagePullFailed", "pod chat-a cannot pull image " + testImage + `: Failed to apply default image tag "Vllm:v1": couldn't parse image name "Vllm:v1": invalid reference format: repository name must be lowercase` +
				"; correct image.repository and image.tag"},
		},

		"ScheduleTaint": schedule("A taint wants a toleration.", "0/5 nodes are available: 5 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling.", "WaitingForGPU",
			"0/5 nodes are available: 5 node(s) had untolerated taint(s); if nodes with such GPUs are tainted, add to deployment.tolerations"),
		"ScheduleTaintOfOlderKubernetes": schedule("Before 1.35 the taint is named.", "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 node(s) didn't match Pod's node affinity/selector.", "WaitingForGPU",
			"0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 node(s) didn't match Pod's node affinity/selector; "+
				"if nodes with such GPUs are tainted, add to deployment.tolerations; check that the cluster has nodes with the recipe's hardware, or set recipe.hardware to what it has"),
		"ScheduleCPU": schedule("GPUs are free, and CPUs are not.", "0/5 nodes are available: 1 Insufficient cpu, 4 node(s) didn't match Pod's node affinity/selector.", "WaitingForGPU",
			"0/5 nodes are available: 1 Insufficient cpu, 4 node(s) didn't match Pod's node affinity/selector; lower resources.cpu to what nodes with such GPUs have free"),
		"ScheduleGPUAndMemory": schedule("Both are needed.", "0/2 nodes are available: 1 Insufficient memory, 2 Insufficient amd.com/gpu. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.", "WaitingForGPU",
			"0/2 nodes are available: 1 Insufficient memory, 2 Insufficient amd.com/gpu; free GPUs, add nodes, or set recipe.gpuCount or recipe.hardware to what is free; "+
				"lower resources.memory to what nodes with such GPUs have free"),
		"ScheduleVolumeElsewhere": schedule("Nodes with free GPUs cannot have the volume.", "0/3 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity, 2 node(s) didn't match Pod's node affinity/selector.", "",
			"0/3 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity, 2 node(s) didn't match Pod's node affinity/selector; check the PersistentVolumeClaim, cache.storageClass and cache.accessMode"),
		"ScheduleVolumeWithoutGPU": schedule("The node that has the volume has no GPU free.", "0/3 nodes are available: 1 Insufficient amd.com/gpu, 2 node(s) didn't match PersistentVolume's node affinity.", "WaitingForGPU",
			"0/3 nodes are available: 1 Insufficient amd.com/gpu, 2 node(s) didn't match PersistentVolume's node affinity; free GPUs, add nodes, or set recipe.gpuCount or recipe.hardware to what is free; "+
				"check the PersistentVolumeClaim, cache.storageClass and cache.accessMode"),
		"ScheduleOneNode": schedule("The node that has a volume of one node has no GPU free.", "0/3 nodes are available: 1 Insufficient amd.com/gpu, 2 node(s) didn't match pod affinity rules.", "WaitingForGPU",
			"0/3 nodes are available: 1 Insufficient amd.com/gpu, 2 node(s) didn't match pod affinity rules; free GPUs, add nodes, or set recipe.gpuCount or recipe.hardware to what is free; "+
				"where others mount its ReadWriteOnce volume, it has to be on their node: free GPUs there, or use a volume that is ReadWriteMany"),
		"ScheduleCordoned": schedule("Somebody has cordoned the nodes.", "0/1 nodes are available: 1 node(s) were unschedulable.", "WaitingForGPU",
			"0/1 nodes are available: 1 node(s) were unschedulable; uncordon nodes with such GPUs"),
		"ScheduleUnknown": schedule("A plugin may say anything.", "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.", "WaitingForGPU",
			"0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules; check the nodes, and what deployment.affinity asks for"),
		"ScheduleGated": {
			"A queue that holds pods back is not the cluster being full.",
			[]change{func(p *corev1.Pod) {
				p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "kueue.x-k8s.io/admission"}, {Name: "example.org/budget"}}
				p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonSchedulingGated}}
			}},
			diagnosis{"", "pod chat-a is not scheduled before its scheduling gates are removed: example.org/budget, kueue.x-k8s.io/admission"},
		},

		"NoToken": {
			"The field that names the Secret should be told.",
			[]change{env("HF_TOKEN", fromSecret("hugging-face", "token")), container(waiting("CreateContainerConfigError", `secret "hugging-face" not found`))},
			diagnosis{"ApplyFailed", `pod chat-a cannot start: secret "hugging-face" not found; create it, or correct hfTokenSecretRef`},
		},
		"NoKey": {
			"The Secret is there, and lacks the key.",
			[]change{env("VLLM_API_KEY", fromSecret("clients", "api")), container(waiting("CreateContainerConfigError", "couldn't find key api in Secret team-a/clients"))},
			diagnosis{"ApplyFailed", "pod chat-a cannot start: couldn't find key api in Secret team-a/clients; add the key, or correct security.apiKeySecretRef"},
		},
		"NoConfigMap": {
			"What the user or a recipe refers to is told by the variable.",
			[]change{
				env("TUNING", corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "tuning"}, Key: "a"}}),
				container(waiting("CreateContainerConfigError", `configmap "tuning" not found`)),
			},
			diagnosis{"ApplyFailed", `pod chat-a cannot start: configmap "tuning" not found; create it, or correct the environment variable TUNING of deployment.env or of the recipe`},
		},
		"RunsAsRoot": {
			"A platform that wants no root is not a missing reference.",
			[]change{container(waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"))},
			diagnosis{"ApplyFailed", "pod chat-a cannot start: container has runAsNonRoot and image will run as root; set security.podSecurityContext.runAsUser to a user who is not root"},
		},
		"Mount": {
			"Why a volume is not mounted is only in events, but that the pod has not got further is known.",
			[]change{mounting, func(p *corev1.Pod) {
				p.Spec.Volumes = []corev1.Volume{{Name: "home"}, {Name: "model-cache", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "chat-cache"}}}}
			}},
			diagnosis{"", "pod chat-a waits on node mi300x-0 for its network and volumes (of PersistentVolumeClaim chat-cache); if that lasts, kubectl describe pod chat-a says why"},
		},
		"NoSandbox": {
			"Without a volume it is the network.",
			[]change{mounting},
			diagnosis{"", "pod chat-a waits on node mi300x-0 for its network and volumes; if that lasts, kubectl describe pod chat-a says why"},
		},
		"CannotRun": {
			"An image without the engine cannot be run, and the next attempt waits.",
			[]change{container(crashed("StartError", `failed to create containerd task: failed to create shim task: OCI runtime create failed: exec: "vllm": executable file not found in $PATH: unknown`, 128, 4))},
			diagnosis{"CrashLooping", `pod chat-a cannot run its image: failed to create containerd task: failed to create shim task: OCI runtime create failed: exec: "vllm": executable file not found in $PATH: unknown; ` +
				"check that image.repository and image.tag are an image of the engine"},
		},
		"CannotCreate": {
			"So it says before it waits.",
			[]change{container(waiting("CreateContainerError", "context deadline exceeded"))},
			diagnosis{"CrashLooping", "pod chat-a cannot run its image: context deadline exceeded; kubectl describe pod tells more"},
		},

		"EndsWithoutError": {
			"SGLang ends with exit code 0 when one of its processes fails.",
			[]change{container(crashed("Completed", "", 0, 2))},
			diagnosis{"CrashLooping", "pod chat-a ended after 2 restarts, as if all were well; see kubectl logs chat-a -c server --previous, and whether kubectl describe pod chat-a tells of failed probes"},
		},
		"KilledByProbe": {
			"A server that a probe kills is not out of memory.",
			[]change{container(crashed("Error", "INFO 06-05 08:11:47 [loader.py:447] Loading weights", 137, 7))},
			diagnosis{"CrashLooping", "pod chat-a crashed with exit code 137 (killed, as when its health probe fails: kubectl describe pod tells)" + again + ": Loading weights"},
		},
		"CrashWithoutWords": {
			"A runtime may say nothing at all.",
			[]change{container(crashed("", "", 1, 5))},
			diagnosis{"CrashLooping", "pod chat-a crashed with exit code 1" + again + ": no message"},
		},
		"Sidecar": {
			"Which container it is should be told if it is not the server.",
			[]change{container(running(0, nil)), func(p *corev1.Pod) {
				s := crashed("Error", "no route to the mesh", 1, 5)
				s.Name = "proxy"
				p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, s)
			}},
			diagnosis{"CrashLooping", "pod chat-a (container proxy) crashed with exit code 1" + again + ": no route to the mesh"},
		},
		"ServerBesideOthers": {
			"Of several containers that fail the server matters most, and then it is the first by name.",
			[]change{func(p *corev1.Pod) {
				for _, n := range []string{"proxy", "agent", "server", "audit"} {
					s := crashed("Error", "why "+n+" fails", 1, 5)
					s.Name = n
					p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, s)
				}
			}},
			diagnosis{"CrashLooping", "pod chat-a crashed with exit code 1" + again + ": why server fails"},
		},
		"Init": {
			"An init container that fails is why the server never starts.",
			[]change{func(p *corev1.Pod) {
				s := crashed("Error", "cannot reach the vault", 3, 1)
				s.Name = "vault"
				p.Status.InitContainerStatuses = append(p.Status.InitContainerStatuses, s)
			}, container(waiting("PodInitializing", ""))},
			diagnosis{"CrashLooping", "pod chat-a (container vault) crashed with exit code 3 after 1 restart: cannot reach the vault"},
		},

		"GatedNoToken": log("A gated model needs a token, and a license that was accepted.",
			"(APIServer pid=1) OSError: You are trying to access a gated repo.\n(APIServer pid=1) Make sure to have access to it at https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct.\n"+
				"(APIServer pid=1) 401 Client Error. (Request ID: Root=1-695139c1-20c2;379c2def)\n(APIServer pid=1) \n(APIServer pid=1) Cannot access gated repo for url https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct/resolve/main/config.json.\n"+
				"(APIServer pid=1) Access to model meta-llama/Llama-3.1-8B-Instruct is restricted. You must have access to it and be authenticated to access it. Please log in.\n", "ModelDownloadFailed",
			"may not download its model"+again+": Access to model meta-llama/Llama-3.1-8B-Instruct is restricted. You must have access to it and be authenticated to access it. Please log in.; "+
				"accept the license on the model's page at Hugging Face, and set hfTokenSecretRef to a valid token of that account"),
		"GatedNotAccepted": log("With a token it is the license.",
			"huggingface_hub.errors.GatedRepoError: 403 Client Error. (Request ID: Root=1-6824e511-0a1d;85e8458c)\n\nCannot access gated repo for url https://huggingface.co/google/gemma-3-27b-it/resolve/main/config.json.\n"+
				"Access to model google/gemma-3-27b-it is restricted and you are not in the authorized list. Visit https://huggingface.co/google/gemma-3-27b-it to ask for access.", "ModelDownloadFailed",
			"may not download its model"+again+": Access to model google/gemma-3-27b-it is restricted and you are not in the authorized list. Visit https://huggingface.co/google/gemma-3-27b-it to ask for access.; "+
				"accept the license on the model's page at Hugging Face, with the account whose token hfTokenSecretRef names"),
		"GatedPending": log("A request that nobody has answered yet.",
			"huggingface_hub.errors.GatedRepoError: 403 Client Error.\nYour request to access model meta-llama/Llama-3.1-8B is awaiting a review from the repo authors.", "ModelDownloadFailed",
			"may not download its model"+again+": Your request to access model meta-llama/Llama-3.1-8B is awaiting a review from the repo authors.; see on the model's page at Hugging Face what became of the request"),
		"GatedTokenSettings": log("A token of the wrong kind looks like a bad connection in the last line.",
			"403 Forbidden: Please enable access to public gated repositories in your fine-grained token settings to view this repository.\nThe above exception was the direct cause\n"+
				"OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files.", "ModelDownloadFailed",
			"may not download its model"+again+": 403 Forbidden: Please enable access to public gated repositories in your fine-grained token settings to view this repository.; "+
				"allow the token of hfTokenSecretRef to read public gated repositories, in its settings at Hugging Face"),
		"NoModel": log("A model that is not there may be private, too.",
			"huggingface_hub.errors.RepositoryNotFoundError: 401 Client Error. (Request ID: Root=1-69aa2f29)\n\nRepository Not Found for url: https://huggingface.co/acme/chat/resolve/main/config.json.\nPlease make sure you specified the correct `repo_id` and `repo_type`.\n"+
				"Invalid username or password.", "ModelDownloadFailed",
			"does not find its model"+again+": Repository Not Found for url: https://huggingface.co/acme/chat/resolve/main/config.json.; check model.id; if the model is private, set hfTokenSecretRef to a token that may read it"),
		"NoModelForVLLM": log("vLLM says it in its own words.",
			"(APIServer pid=1) ValueError: Invalid repository ID or local directory specified: 'acme/chat'.\n(APIServer pid=1) Please verify the following requirements:\n(APIServer pid=1) 1. Provide a valid Hugging Face repository ID.", "ModelDownloadFailed",
			"does not find its model"+again+": ValueError: Invalid repository ID or local directory specified: 'acme/chat'.; check model.id; if the model is private, set hfTokenSecretRef to a token that may read it"),
		"NoRevision": log("A revision that is not there.",
			"OSError: v2 is not a valid git identifier (branch name, tag name or commit id) that exists for this model name. Check the model page at 'https://huggingface.co/acme/chat' for available revisions.", "ModelDownloadFailed",
			"does not find the revision of its model"+again+": OSError: v2 is not a valid git identifier (branch name, tag name or commit id) that exists for this model name. Check the model page at 'https://huggingface.co/acme/chat' for available revisions.; "+
				"set model.revision to a branch, tag or commit of the model"),
		"TooManyRequests": log("A limit that passes.",
			"huggingface_hub.errors.HfHubHTTPError: 429 Client Error: Too Many Requests for url: https://huggingface.co/api/models/acme/chat", "ModelDownloadFailed",
			"is slowed down by Hugging Face"+again+": huggingface_hub.errors.HfHubHTTPError: 429 Client Error: Too Many Requests for url: https://huggingface.co/api/models/acme/chat; "+
				"set hfTokenSecretRef, which raises the limit, and cache.enabled, which downloads once; it is tried again"),
		"DiskFull": log("A volume that is too small.",
			"RuntimeError: Data processing error: CAS service error : IO Error: No space left on device (os error 28)", "ModelDownloadFailed",
			"has no disk space left"+again+": RuntimeError: Data processing error: CAS service error : IO Error: No space left on device (os error 28); raise cache.size, or set cache.enabled so that the model has a volume of its own"),
		"SharedMemoryFull": log("Shared memory is no disk.",
			"Error while creating shared memory segment /dev/shm/nccl-x1Hb5L (size 9637888), error: No space left on device (28)", "OutOfMemory",
			"ran out of shared memory"+again+": Error while creating shared memory segment /dev/shm/nccl-x1Hb5L (size 9637888), error: No space left on device (28); its size in /dev/shm follows from the number of GPUs: set recipe.gpuCount to more"),
		"NoConnection": log("A cluster without a way out.",
			"urllib3.exceptions.NameResolutionError: <urllib3.connection.HTTPSConnection object at 0x7fb25dc9dff0>: Failed to resolve 'huggingface.co' ([Errno -3] Temporary failure in name resolution)\n"+
				"OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files.", "ModelDownloadFailed",
			"does not reach Hugging Face"+again+": OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files.; "+
				"check DNS and network policies for outgoing traffic, or set HTTPS_PROXY or HF_ENDPOINT in deployment.env"),
		"Incomplete": log("A download that was cut off stays in the cache.",
			"safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer", "ModelDownloadFailed",
			"has an incomplete file of its model"+again+": safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer; "+
				"delete the file from the cache, or the cache's PersistentVolumeClaim, so that it is downloaded again"),

		"GPUMemory": log("The GPU's memory is not the host's.",
			"[2026-06-05 10:10:06 TP0] Scheduler hit an exception: Traceback (most recent call last):\ntorch.OutOfMemoryError: HIP out of memory. Tried to allocate 12.95 GiB. GPU 0 has a total capacity of 191.98 GiB of which 8.55 GiB is free.\n\n"+
				"[2026-06-05 10:10:07] Received sigquit from a child process. It usually means the child failed.\n", "OutOfMemory",
			"ran out of GPU memory"+again+": torch.OutOfMemoryError: HIP out of memory. Tried to allocate 12.95 GiB. GPU 0 has a total capacity of 191.98 GiB of which 8.55 GiB is free.; "+
				"set recipe.gpuCount to more, recipe.hardware to GPUs with more memory, or a shorter context (--max-model-len, --context-length) in deployment.extraArgs"),
		"KVCache": log("The context is too long, whatever the server does.",
			"(EngineCore pid=94) ERROR 06-03 12:30:47 [core.py:1165] ValueError: To serve at least one request with the models's max seq len (262144), (24.0 GiB KV cache is needed, which is larger than the available KV cache memory (3.18 GiB). Based on the available memory, the estimated maximum model length is 34736.\n"+
				"(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n", "OutOfMemory",
			"ran out of GPU memory"+again+": ValueError: To serve at least one request with the models's max seq len (262144), (24.0 GiB KV cache is needed, which is larger than the available KV cache memory (3.18 GiB). Based on the available memory, the estimated maximum model length is 34736.; "+
				"set a shorter --max-model-len in deployment.extraArgs, or recipe.gpuCount to more"),
		"SGLangMemory": log("SGLang says it in other words.",
			"RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.", "OutOfMemory",
			"ran out of GPU memory"+again+": RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.; "+
				"set recipe.gpuCount to more, recipe.hardware to GPUs with more memory, or a shorter context (--max-model-len, --context-length) in deployment.extraArgs"),
		"GPUShared": log("Somebody else is on the GPU.",
			"ValueError: Free memory on device cuda:0 (12.18/191.98 GiB) on startup is less than desired GPU memory utilization (0.9, 172.78 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.", "OutOfMemory",
			"finds GPU memory that somebody else uses"+again+": ValueError: Free memory on device cuda:0 (12.18/191.98 GiB) on startup is less than desired GPU memory utilization (0.9, 172.78 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.; "+
				"see what else runs on the node's GPUs without having asked for them, or set a lower --gpu-memory-utilization in deployment.extraArgs"),
		"NoAccessToGPU": log("A user who is not root needs the groups of the devices.",
			"ROCk module is loaded\nUnable to open /dev/kfd read-write: Permission denied\nFailed to get user name to check for video group membership", "CrashLooping",
			"may not use the node's GPUs"+again+": Unable to open /dev/kfd read-write: Permission denied; set security.supplementalGroups to the groups that own /dev/kfd and /dev/dri/renderD* on the nodes (render and video)"),
		"WrongImage": log("An image that is built for other hardware.",
			"RuntimeError: HIP error: invalid device function\nHIP kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.", "CrashLooping",
			"has an image that is not built for these GPUs"+again+": RuntimeError: HIP error: invalid device function; check image.repository and image.tag, or set recipe.hardware to what the image is built for"),
		"UnknownFlag": log("A flag that the engine does not take.",
			"usage: launch_server.py [-h] --model-path MODEL_PATH\nlaunch_server.py: error: unrecognized arguments: --enable-reasoning", "CrashLooping",
			"has an argument that its engine does not take"+again+": launch_server.py: error: unrecognized arguments: --enable-reasoning; correct deployment.extraArgs or the recipe, or set image.tag to a version that takes it"),
		"EngineCore": log("vLLM's last lines say only that the cause is further up.",
			"(APIServer pid=1)   File \"/usr/local/lib/python3.12/dist-packages/vllm/v1/engine/utils.py\", line 964, in wait_for_engine_startup\n(APIServer pid=1)     raise RuntimeError(\n"+
				"(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n", "CrashLooping",
			"crashed with exit code 1"+again+": File \"/usr/local/lib/python3.12/dist-packages/vllm/v1/engine/utils.py\", line 964, in wait_for_engine_startup\n    raise RuntimeError(\n"+
				"RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}; the cause is further up in the log: kubectl logs chat-a -c server --previous"),

		"DiskOfNodeFull": evicted("A model that is downloaded to the node's disk evicts its own pod.", "Evicted",
			"The node was low on resource: ephemeral-storage. Threshold quantity: 2146223340, available: 1883424Ki. Container server was using 180Gi, request is 0, has larger consumption of ephemeral-storage. ",
			diagnosis{"ModelDownloadFailed", "Evicted: The node was low on resource: ephemeral-storage. Threshold quantity: 2146223340, available: 1883424Ki. Container server was using 180Gi, request is 0, has larger consumption of ephemeral-storage; " +
				"the model does not fit on the node's disk: set cache.enabled, so that it has a volume of its own"}),
		"MemoryOfNodeFull": evicted("A node that is out of memory evicts who asked for less than it uses.", "Evicted", "The node was low on resource: memory. Threshold quantity: 100Mi, available: 80Mi. ",
			diagnosis{"OutOfMemory", "Evicted: The node was low on resource: memory. Threshold quantity: 100Mi, available: 80Mi; raise resources.memory to what the server really needs, so that it is not the first one to go"}),
		"NotAdmitted": evicted("A node whose GPUs are not what the scheduler believes.", "UnexpectedAdmissionError",
			"Pod was rejected: Allocate failed due to no healthy devices present; cannot allocate unhealthy devices amd.com/gpu, which is unexpected",
			diagnosis{"WaitingForGPU", "UnexpectedAdmissionError: Allocate failed due to no healthy devices present; cannot allocate unhealthy devices amd.com/gpu, which is unexpected; " +
				"the node does not have what the scheduler counts on: check its GPU device plugin, and whether its GPUs are healthy"}),
		"OutOfGPUs": evicted("A kubelet that finds its GPUs taken.", "OutOfamd.com/gpu", "Pod was rejected: Node didn't have enough resource: amd.com/gpu, requested: 1, used: 8, capacity: 8",
			diagnosis{"WaitingForGPU", "OutOfamd.com/gpu: Node didn't have enough resource: amd.com/gpu, requested: 1, used: 8, capacity: 8; " +
				"the node does not have what the scheduler counts on: check its GPU device plugin, and whether its GPUs are healthy"}),
		"Preempted": evicted("A critical pod that needs the room.", "Preempting", "Preempted in order to admit critical pod",
			diagnosis{"WaitingForGPU", "Preempting: Preempted in order to admit critical pod; give the endpoint a higher priority with deployment.priorityClassName"}),
		"NodeGone": {
			"When a pod failed may be known of its containers only.",
			[]func(p *corev1.Pod){failed("Terminated", "Pod was terminated in response to imminent node shutdown.", 9000), container(corev1.ContainerStatus{
				State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "ContainerStatusUnknown", FinishedAt: pod("", 9).CreationTimestamp}},
			})},
			diagnosis{"WaitingForGPU", "pod chat-a failed, and was replaced: Terminated: Pod was terminated in response to imminent node shutdown; see why the node was shut down or changed"},
		},
		"Shutdown": evicted("A node that is shut down.", "Terminated", "Pod was terminated in response to imminent node shutdown.",
			diagnosis{"WaitingForGPU", "Terminated: Pod was terminated in response to imminent node shutdown; see why the node was shut down or changed"}),
		"Deadline": evicted("A webhook that limits how long pods live.", "DeadlineExceeded", "Pod was active on the node longer than the specified deadline",
			diagnosis{"CrashLooping", "DeadlineExceeded: Pod was active on the node longer than the specified deadline; something sets activeDeadlineSeconds of pods in this namespace: see which webhook does"}),
		"FailedWithoutReason": evicted("Who knows.", "", "",
			diagnosis{"CrashLooping", "no reason; kubectl describe pod tells more"}),
	}
}

func TestDiagnose(t *testing.T) {
	for name, tc := range causes() {
		t.Run(name, func(t *testing.T) {
			pods := []corev1.Pod{pod("chat-a", 10, tc.pod...)}
			if pods[0].Status.Phase == corev1.PodFailed {
				// One alone may be an accident.
				pods = append(pods, pod("chat-b", 9, tc.pod...))
				pods[1].Status.Conditions[0].LastTransitionTime = pod("", 8).CreationTimestamp
			}
			if diff := cmp.Diff(tc.want, diagnosisOf(pods...)); diff != "" {
				t.Errorf("\n%s\ndiagnose(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestDiagnoseMany has pods of which only some should speak.
func TestDiagnoseMany(t *testing.T) {
	crash := func(why string) func(p *corev1.Pod) { return container(crashed("Error", why, 1, 5)) }
	crashedPod := func(name, why string) diagnosis {
		return diagnosis{"CrashLooping", "pod " + name + " crashed with exit code 1 after several restarts: " + why}
	}
	loads := container(running(0, nil))
	const full = "The node was low on resource: ephemeral-storage. "
	evicted := func(name string) string {
		return "pod " + name + " failed, and was replaced: Evicted: The node was low on resource: ephemeral-storage; the model does not fit on the node's disk: set cache.enabled, so that it has a volume of its own"
	}
	cases := map[string]struct {
		reason string
		pods   []corev1.Pod
		want   diagnosis
	}{
		"None": {"Without pods there is nothing to tell.", nil, diagnosis{}},
		"Oldest": {
			"The oldest cause should tell, however many there are.",
			[]corev1.Pod{pod("chat-c", 1, crash("third")), pod("chat-b", 2, crash("second")), pod("chat-a", 3, crash("first")), pod("chat-0", 9, loads)},
			crashedPod("chat-a", "first"),
		},
		"CauseBeforeHint": {
			"What is certain should come before what may pass, though it is younger.",
			[]corev1.Pod{pod("chat-a", 9, mounting), pod("chat-b", 1, crash("why"))},
			crashedPod("chat-b", "why"),
		},
		"CauseOfSidecarBeforeHint": {
			"The same is true within a pod.",
			[]corev1.Pod{pod("chat-a", 9, container(running(1, &corev1.ContainerStateTerminated{ExitCode: 1, Message: "once"})), func(p *corev1.Pod) {
				s := waiting("ErrImagePull", "a: not found")
				s.Name, s.Image = "proxy", "proxy:v1"
				p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, s)
			})},
			diagnosis{"ImagePullFailed", "pod chat-a (container proxy) cannot pull image proxy:v1: a: not found; there is no such image: check image.repository and image.tag"},
		},
		"EvictedOnce": {
			"A pod that was evicted, and whose successor loads its model, is starting again.",
			[]corev1.Pod{pod("chat-a", 90, failed("Evicted", full, 2)), pod("chat-b", 2, loads)},
			diagnosis{"", evicted("chat-a")},
		},
		"EvictedAgain": {
			"Evicted twice in a row is what will happen a third time.",
			[]corev1.Pod{pod("chat-a", 90, failed("Evicted", full, 40)), pod("chat-b", 40, failed("Evicted", full, 2)), pod("chat-c", 2, loads)},
			diagnosis{"ModelDownloadFailed", evicted("chat-a")},
		},
		"EvictedBefore": {
			"Why the successor of an evicted pod fails matters more than the eviction.",
			[]corev1.Pod{pod("chat-a", 90, failed("Evicted", full, 40)), pod("chat-b", 40, failed("Evicted", full, 2)), pod("chat-c", 2, crash("why"))},
			crashedPod("chat-c", "why"),
		},
		"EvictedLongAgo": {
			"Evictions of another day should not be told of: the pods in between are gone.",
			[]corev1.Pod{pod("chat-a", 9000, failed("Evicted", full, 8000)), pod("chat-b", 8000, failed("Evicted", full, 7000)), pod("chat-d", 2, loads)},
			diagnosis{},
		},
		"EvictedLongAgoAndNow": {
			"The last one counts alone, then.",
			[]corev1.Pod{pod("chat-a", 9000, failed("Evicted", full, 8000)), pod("chat-c", 60, failed("Evicted", full, 2)), pod("chat-d", 2, loads)},
			diagnosis{"", evicted("chat-c")},
		},
		"EvictedAmongReplicas": {
			"Another replica that is still loading, and older, changes nothing.",
			[]corev1.Pod{pod("chat-0", 95, loads), pod("chat-a", 90, failed("Evicted", full, 40)), pod("chat-b", 40, failed("Evicted", full, 2)), pod("chat-c", 2, loads)},
			diagnosis{"ModelDownloadFailed", evicted("chat-a")},
		},
		"Rollout": {
			"What the rollout is about to repair should not be told of.",
			[]corev1.Pod{pod("chat-1-a", 90, template("1"), crash("old flag")), pod("chat-2-a", 1, template("2"), loads)},
			diagnosis{},
		},
		"RolloutInVain": {
			"What the rollout does not repair should be.",
			[]corev1.Pod{pod("chat-1-a", 90, template("1"), crash("old flag")), pod("chat-2-a", 1, template("2"), crash("new flag"))},
			crashedPod("chat-2-a", "new flag"),
		},
		"Rollback": {
			"A pod that is going is none of the latest template.",
			[]corev1.Pod{pod("chat-1-a", 90, template("1"), crash("old flag")), pod("chat-2-a", 9, template("2"), crash("new flag"), going)},
			crashedPod("chat-1-a", "old flag"),
		},
		"Ready": {
			"A pod that is ready has no problem any more, nor has one that is done.",
			[]corev1.Pod{pod("chat-a", 9, ready, crash("a problem of before")), pod("chat-b", 9, crash("the same"), func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })},
			diagnosis{},
		},
		"NodeLost": {
			"A pod that cannot go keeps a rollout from going on.",
			[]corev1.Pod{pod("chat-a", 90, going, func(p *corev1.Pod) { p.Status.Reason, p.Spec.NodeName = "NodeLost", "mi300x-0" })},
			diagnosis{"", "pod chat-a cannot end, because its node mi300x-0 is lost; delete the node if it does not come back"},
		},
		"TransientOnce": {
			"What may pass by itself is no failure before it has happened twice.",
			[]corev1.Pod{pod("chat-a", 9, container(running(1, &corev1.ContainerStateTerminated{ExitCode: 1, Message: "503 Server Error: Service Unavailable"})))},
			diagnosis{"", "pod chat-a got an error from Hugging Face after 1 restart: 503 Server Error: Service Unavailable; see the status page of Hugging Face; it is tried again"},
		},
		"PermanentOnce": {
			"What cannot pass by itself is one at once.",
			[]corev1.Pod{pod("chat-a", 9, container(running(1, &corev1.ContainerStateTerminated{ExitCode: 2, Message: "vllm: error: unrecognized arguments: --fast"})))},
			diagnosis{"CrashLooping", "pod chat-a has an argument that its engine does not take after 1 restart: vllm: error: unrecognized arguments: --fast; correct deployment.extraArgs or the recipe, or set image.tag to a version that takes it"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for pods := range permutations(tc.pods) {
				if diff := cmp.Diff(tc.want, diagnosisOf(pods...)); diff != "" {
					t.Fatalf("\n%s\ndiagnose(%s): -want, +got:\n%s", tc.reason, names(pods), diff)
				}
			}
		})
	}
}

// permutations of a few pods, in place.
func permutations(pods []corev1.Pod) func(yield func([]corev1.Pod) bool) {
	var visit func(n int, yield func([]corev1.Pod) bool) bool
	visit = func(n int, yield func([]corev1.Pod) bool) bool {
		if n <= 1 {
			return yield(pods)
		}
		for i := range n {
			pods[i], pods[n-1] = pods[n-1], pods[i]
			more := visit(n-1, yield)
			pods[i], pods[n-1] = pods[n-1], pods[i]
			if !more {
				return false
			}
		}
		return true
	}
	return func(yield func([]corev1.Pod) bool) { visit(len(pods), yield) }
}

func names(pods []corev1.Pod) string {
	out := make([]string, len(pods))
	for i, p := range pods {
		out[i] = p.Name
	}
	return strings.Join(out, ", ")
}

// TestDiagnosePairs has each cause beside each other one, in both orders of age
// and both of the list.
func TestDiagnosePairs(t *testing.T) {
	all := causes()
	for a, first := range all {
		for b, second := range all {
			old, young := pod("chat-a", 10, first.pod...), pod("chat-b", 4, second.pod...)
			got, turned := diagnosisOf(old, young), diagnosisOf(young, old)
			if diff := cmp.Diff(got, turned); diff != "" {
				t.Fatalf("\nThe order of pods in a list should not matter.\ndiagnose(%s, %s): -listed, +turned:\n%s", a, b, diff)
			}
			if first.want.Reason != "" && old.Status.Phase != corev1.PodFailed && got != first.want {
				t.Fatalf("\nThe oldest pod with a cause should tell it.\ndiagnose(%s, %s): -want, +got:\n%s", a, b, cmp.Diff(first.want, got))
			}
		}
	}
}

// TestSteadyDiagnosis has one crash after the other, with the same cause.
func TestSteadyDiagnosis(t *testing.T) {
	// What a kubelet reports in the course of a round.
	rounds := func(restarts int32, end corev1.ContainerStateTerminated) []corev1.ContainerStatus {
		terminated := corev1.ContainerStatus{RestartCount: restarts, State: corev1.ContainerState{Terminated: &end}}
		backedOff := waiting("CrashLoopBackOff", fmt.Sprintf("back-off %ds restarting failed container", 10<<restarts))
		backedOff.RestartCount, backedOff.LastTerminationState.Terminated = restarts, &end
		return []corev1.ContainerStatus{terminated, backedOff, running(restarts+1, &end)}
	}
	logs := map[string]string{
		"Unknown":  "(APIServer pid=%[1]d) ERROR 06-03 12:%[2]02d:47 [core.py:1165] <object at 0x7f%[1]x>\nValueError: no\n[rank0]:[W603 11:%[2]02d:03.157708266 ProcessGroupNCCL.cpp:1554] Warning: destroy_process_group() was not called\n",
		"Known":    "401 Client Error. (Request ID: Root=1-%[1]x;%[2]d)\n[2026-06-05 10:%[2]02d:06 TP0] Access to model a/b is restricted.\n",
		"Progress": "Loading:  %[1]d%%\rLoading: %[2]d%%\rLoading: done\nKeyError: 'x'\n",
		"Nothing":  "",
	}
	for name, log := range logs {
		t.Run(name, func(t *testing.T) {
			seen := map[diagnosis]int{}
			for n := int32(manyRestarts); n < 40; n++ {
				end := corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", FinishedAt: metav1.NewTime(time.Unix(int64(n)*300, 0))}
				if log != "" {
					end.Message = fmt.Sprintf(log, 1000+n, n)
				}
				for _, s := range rounds(n, end) {
					seen[diagnosisOf(pod("chat-a", 600, container(s)))]++
				}
			}
			if len(seen) != 1 {
				t.Errorf("\nA server that goes on crashing should not change what is said of it.\ndiagnose(...): got %d messages: %v", len(seen), seen)
			}
		})
	}

	t.Run("Pull", func(t *testing.T) {
		const why = `failed to pull and unpack image "a:b": failed to resolve reference "a:b": a:b: not found`
		want := diagnosisOf(pod("chat-a", 1, container(waiting("ErrImagePull", "rpc error: code = NotFound desc = "+why))))
		got := diagnosisOf(pod("chat-a", 1, container(waiting("ImagePullBackOff", `Back-off pulling image "a:b": ErrImagePull: rpc error: code = NotFound desc = `+why))))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("\nA kubelet that pulls, and waits, in turn should not change what is said.\ndiagnose(...): -pulls, +waits:\n%s", diff)
		}
	})
}

// TestCauses has each text of each table.
func TestCauses(t *testing.T) {
	tables := map[string][]cause{"logErrors": logErrors, "pullErrors": pullErrors, "runErrors": runErrors, "failedPods": failedPods, "nearlyScheduled": nearlyScheduled, "notScheduled": notScheduled}
	for name, table := range tables {
		t.Run(name, func(t *testing.T) {
			for i, c := range table {
				for _, text := range c.any {
					said := strings.Join(append(slices.Clone(c.all), text), " ")
					if got := find(table, said); got.advice != c.advice {
						t.Errorf("\nNo text should be hidden by a cause before it.\nfind(%q): want %q, got %q", said, c.advice, got.advice)
					}
				}
				if len(c.any) == 0 && i != len(table)-1 {
					t.Errorf("\nA cause that matches always should be the last.\n%s[%d]", name, i)
				}
				if len(c.any) > 0 && c.advice == "" {
					t.Errorf("\nEach cause should say what to do.\n%s[%d]: %q", name, i, c.any)
				}
			}
		})
	}
}

// TestAdviceIsKept has causes that come with far too much text.
func TestAdviceIsKept(t *testing.T) {
	name := strings.Repeat("a", 63)
	padding := map[string]string{"Words": strings.Repeat("word ", 20_000), "OneLine": strings.Repeat("x", 100_000), "Unicode": strings.Repeat("é✓", 20_000), "Invalid": strings.Repeat("a\xff\x1b[31m\x00", 20_000)}
	texts := map[string]func(s string) func(p *corev1.Pod){
		"log":      func(s string) func(p *corev1.Pod) { return container(crashed("Error", s, 1, 9)) },
		"pull":     func(s string) func(p *corev1.Pod) { return container(waiting("ErrImagePull", s)) },
		"schedule": unschedulable,
		"config":   func(s string) func(p *corev1.Pod) { return container(waiting("CreateContainerConfigError", s)) },
		"run":      func(s string) func(p *corev1.Pod) { return container(waiting("RunContainerError", s)) },
	}
	for kind, make := range texts {
		for how, pad := range padding {
			t.Run(kind+how, func(t *testing.T) {
				p := pod(name, 1, make(pad+"error: unrecognized arguments: --x"+strings.Repeat(" ", 500)))
				_, msg := diagnose([]corev1.Pod{p}, testGPU)
				msg = "999 of 1000 replicas are available; " + msg
				bounded := Bound(msg)
				if bounded != msg {
					t.Errorf("\nA message should not have to be cut: the advice is at its end.\nBound(...) of %d bytes, valid: %t", len(msg), utf8.ValidString(msg))
				}
				if strings.ContainsFunc(bounded, func(r rune) bool { return r < ' ' && r != '\n' }) {
					t.Errorf("\nA message should have no control characters.\ndiagnose(...): %q", bounded)
				}
			})
		}
	}
}

func TestClean(t *testing.T) {
	cases := map[string]struct{ reason, log, want string }{
		"Colors":    {"Colors should go.", "\x1b[31mERROR\x1b[0m: \x1b]0;title\x07no\x1b[1A", "ERROR: no"},
		"Control":   {"Other control characters should go.", "a\x00b\x07\tc\u0085d\x7f", "ab cd"},
		"Invalid":   {"Text that is none should be valid.", "a\xff\xfeb", "a?b"},
		"Progress":  {"Of a progress bar only the end should stay.", "10%\r50%\r100%\r\ndone\r\n", "100%\ndone\n"},
		"Prefixes":  {"Process and time should go.", "(EngineCore pid=94) ERROR 06-03 12:30:47 [core.py:1165] one\n[rank1]: two\n[2026-06-05 10:10:06 TP0] three", "one\ntwo\nthree"},
		"LookAlike": {"What only looks like a prefix should stay.", "[core.py] no\n(see the manual) no\nERROR: no", "[core.py] no\n(see the manual) no\nERROR: no"},
		"Request":   {"An id that is another one each time should go.", "403 Client Error. (Request ID: Root=1-68;85)", "403 Client Error."},
		"Token":     {"A token should never be shown.", "token hf_abcdefghijklmnopqrstuvwx is not valid", "token (secret) is not valid"},
		"Keys":      {"Nor should a key, however short.", `{'api_key': ['0123'], 'port': 8000} ServerArgs(api_key='a b', port=8000) Authorization: Bearer abc.def-0123456789`, `{'(secret)], 'port': 8000} ServerArgs((secret), port=8000) Authorization: (secret)`},
		"Argument":  {"Nor an argument.", "error: unrecognized arguments: --api-keys sk-0123456789abcdef --fast", "error: unrecognized arguments: (secret) --fast"},
		"NoKey":     {"What only speaks of keys should stay.", "set the api_key of the token: None", "set the api_key of the token: None"},
		"Long":      {"Of a long log the end should stay.", strings.Repeat("x", 2*maxLog) + "end", strings.Repeat("x", maxLog-3) + "end"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, clean(tc.log)); diff != "" {
				t.Errorf("\n%s\nclean(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestLastLines(t *testing.T) {
	cases := map[string]struct{ reason, log, want string }{
		"Empty": {"Nothing stays nothing.", " \n\n", ""},
		"Markers": {
			"What Python underlines should go: there is room for five lines.",
			"    return self._loop.run(main)\n           ^^^^^^^^^^^^^^^^^^^^\n    ~~~~~~~^^^^\nKeyError: 'x'\n",
			"return self._loop.run(main)\nKeyError: 'x'",
		},
		"Trailers": {
			"What PyTorch and Python say at the end of every crash should go.",
			"KeyError: 'x'\n[W603 11:47:03.1 ProcessGroupNCCL.cpp:1554] Warning: destroy_process_group() was not called\nresource_tracker: There appear to be 1 leaked semaphore objects\n",
			"KeyError: 'x'",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, lastLines(tc.log)); diff != "" {
				t.Errorf("\n%s\nlastLines(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSignal(t *testing.T) {
	want := map[int32]string{
		0: "", 1: "", 128: "",
		132: " (illegal instruction: the image is not for this CPU)",
		134: " (aborted)",
		135: " (bus error: /dev/shm may be full)",
		137: " (killed, as when its health probe fails: kubectl describe pod tells)",
		139: " (segmentation fault)",
		143: " (ended from outside, as when its health probe fails: kubectl describe pod tells)",
	}
	got := map[int32]string{}
	for code := range want {
		got[code] = signal(code)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\nAn exit code that stands for a signal should be told by the signal's name.\nsignal(...): -want, +got:\n%s", diff)
	}
}
