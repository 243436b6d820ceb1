package endpoint

import (
	"strings"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

// A cause that can be told from what Kubernetes or an engine says.
type cause struct {
	// any of these texts tells it, together with all of those. The line with
	// the first of them that is there is the one to show.
	any []string
	all []string

	reason v1alpha1.ConditionReason
	// what happened to the pod, for a cause from a log. Without it, the pod
	// merely crashed.
	what string
	// advice says what to do.
	advice string
	// transient causes may go away by themselves.
	transient bool
}

// A table of causes is in the order in which they count: what says more comes
// first. One without a text matches always.

// logErrors are what engines print last when they fail. The kubelet keeps 2 KiB
// of the log. The texts are those of vLLM 0.22, SGLang 0.5, transformers 4 and
// 5, huggingface_hub 0.30 to 1.x, PyTorch 2 and ROCm 6 and 7.
//
//nolint:gochecknoglobals // Constants that Go cannot express as such.
var logErrors = []cause{
	{
		any:    []string{"fine-grained token settings"},
		reason: v1alpha1.ReasonModelDownloadFailed, what: "may not download its model",
		advice: "allow the token of hfTokenSecretRef to read public gated repositories, in its settings at Hugging Face",
	},
	{
		any:    []string{"Your request to access model"},
		reason: v1alpha1.ReasonModelDownloadFailed, what: "may not download its model",
		advice: "see on the model's page at Hugging Face what became of the request",
	},
	{
		any:    []string{"you are not in the authorized list", "Cannot access gated repo", "You are trying to access a gated repo"},
		all:    []string{"403 Client Error"},
		reason: v1alpha1.ReasonModelDownloadFailed, what: "may not download its model",
		advice: "accept the license on the model's page at Hugging Face, with the account whose token hfTokenSecretRef names",
	},
	{
		any:    []string{"Access to model", "Cannot access gated repo", "You are trying to access a gated repo", "GatedRepoError"},
		reason: v1alpha1.ReasonModelDownloadFailed, what: "may not download its model",
		advice: "accept the license on the model's page at Hugging Face, and set hfTokenSecretRef to a valid token of that account",
	},
	{
		any:    []string{"Invalid credentials in Authorization header", "Invalid user token"},
		reason: v1alpha1.ReasonModelDownloadFailed, what: "has a token that Hugging Face does not accept",
		advice: "put a valid token into the Secret that hfTokenSecretRef names",
	},
	{
		any:    []string{"is not a valid git identifier", "Revision Not Found for url", "RevisionNotFoundError"},
		reason: v1alpha1.ReasonModelDownloadFailed, what: "does not find the revision of its model",
		advice: "set model.revision to a branch, tag or commit of the model",
	},
	{
		any:    []string{"429 Client Error", "Too Many Requests"},
		reason: v1alpha1.ReasonModelDownloadFailed, what: "is slowed down by Hugging Face", transient: true,
		advice: "set hfTokenSecretRef, which raises the limit, and cache.enabled, which downloads once; it is tried again",
	},
	{
		any:    []string{"is not a valid model identifier", "Repository Not Found for url", "RepositoryNotFoundError", "Invalid repository ID or local directory specified"},
		reason: v1alpha1.ReasonModelDownloadFailed, what: "does not find its model",
		advice: "check model.id; if the model is private, set hfTokenSecretRef to a token that may read it",
	},
	{
		any:    []string{"does not appear to have a file named", "Entry Not Found for url", "Cannot find any model weights with"},
		reason: v1alpha1.ReasonModelDownloadFailed, what: "does not find a file of its model",
		advice: "check model.id and model.revision: the engine needs a config.json and weights in a format that it knows",
	},
	{
		any:    []string{"/dev/shm", "shared memory"},
		all:    []string{"No space left on device"},
		reason: v1alpha1.ReasonOutOfMemory, what: "ran out of shared memory",
		advice: "its size in /dev/shm follows from the number of GPUs: set recipe.gpuCount to more",
	},
	{
		any:    []string{"No space left on device", "os error 28", "Errno 28", "Disk quota exceeded"},
		reason: v1alpha1.ReasonModelDownloadFailed, what: "has no disk space left",
		advice: "raise cache.size, or set cache.enabled so that the model has a volume of its own",
	},
	{
		any:    []string{"outgoing traffic has been disabled", "OfflineModeIsEnabled"},
		reason: v1alpha1.ReasonModelDownloadFailed, what: "does not have its model, and may not download it",
		advice: "remove HF_HUB_OFFLINE from the environment, or fill the cache first",
	},
	{
		any:    []string{"CERTIFICATE_VERIFY_FAILED"},
		reason: v1alpha1.ReasonModelDownloadFailed, what: "does not trust who answers for Hugging Face",
		advice: "a proxy seems to be in between: use an image with its certificate, or set HF_ENDPOINT in deployment.env to a mirror",
	},
	{
		any:    []string{"We couldn't connect to '", "LocalEntryNotFoundError", "Failed to resolve '", "Temporary failure in name resolution", "Name or service not known", "Max retries exceeded with url", "httpx.ConnectError", "httpx.ConnectTimeout", "httpx.ReadTimeout"},
		reason: v1alpha1.ReasonModelDownloadFailed, what: "does not reach Hugging Face", transient: true,
		advice: "check DNS and network policies for outgoing traffic, or set HTTPS_PROXY or HF_ENDPOINT in deployment.env",
	},
	{
		any:    []string{"500 Server Error", "502 Server Error", "503 Server Error", "504 Server Error"},
		reason: v1alpha1.ReasonModelDownloadFailed, what: "got an error from Hugging Face", transient: true,
		advice: "see the status page of Hugging Face; it is tried again",
	},
	{
		any:    []string{"MetadataIncompleteBuffer", "Error while deserializing header"},
		reason: v1alpha1.ReasonModelDownloadFailed, what: "has an incomplete file of its model",
		advice: "delete the file from the cache, or the cache's PersistentVolumeClaim, so that it is downloaded again",
	},
	{
		any:    []string{"larger than the available KV cache memory", "larger than the maximum number of tokens that can be stored in KV cache"},
		reason: v1alpha1.ReasonOutOfMemory, what: "ran out of GPU memory",
		advice: "set a shorter --max-model-len in deployment.extraArgs, or recipe.gpuCount to more",
	},
	{
		any:    []string{"less than desired GPU memory utilization"},
		reason: v1alpha1.ReasonOutOfMemory, what: "finds GPU memory that somebody else uses",
		advice: "see what else runs on the node's GPUs without having asked for them, or set a lower --gpu-memory-utilization in deployment.extraArgs",
	},
	{
		any:    []string{"out of memory. Tried to allocate", "CUDA out of memory", "HIP out of memory", "No available memory for the cache blocks", "Please try to increase --mem-fraction-static", "torch.OutOfMemoryError", "hipErrorOutOfMemory"},
		reason: v1alpha1.ReasonOutOfMemory, what: "ran out of GPU memory",
		advice: "set recipe.gpuCount to more, recipe.hardware to GPUs with more memory, or a shorter context (--max-model-len, --context-length) in deployment.extraArgs",
	},
	{
		any:    []string{"can't allocate memory: you tried to allocate", "Cannot allocate memory", "std::bad_alloc", "MemoryError"},
		reason: v1alpha1.ReasonOutOfMemory, what: "ran out of host memory",
		advice: "raise resources.memory, and resources.memoryLimit if it is set",
	},
	{
		any:    []string{"/dev/kfd", "/dev/dri"},
		all:    []string{"ermission denied"},
		reason: v1alpha1.ReasonCrashLooping, what: "may not use the node's GPUs",
		advice: "set security.supplementalGroups to the groups that own /dev/kfd and /dev/dri/renderD* on the nodes (render and video)",
	},
	{
		any:    []string{"[Errno 13] Permission denied", "Permission denied (os error 13)", "PermissionError at "},
		reason: v1alpha1.ReasonCrashLooping, what: "may not write a file",
		advice: "set security.podSecurityContext.fsGroup, so that the volumes are the user's",
	},
	{
		any:    []string{"No HIP GPUs are available", "no ROCm-capable device is detected", "Failed to infer device type", "hipErrorNoDevice"},
		reason: v1alpha1.ReasonCrashLooping, what: "sees no GPU",
		advice: "check that image.repository is built for ROCm, the node's driver, and, if it does not run as root, security.supplementalGroups",
	},
	{
		any:    []string{"invalid device function", "hipErrorNoBinaryForGpu", "no kernel image is available"},
		reason: v1alpha1.ReasonCrashLooping, what: "has an image that is not built for these GPUs",
		advice: "check image.repository and image.tag, or set recipe.hardware to what the image is built for",
	},
	{
		any:    []string{"error: unrecognized arguments", "error: argument -", "error: ambiguous option"},
		reason: v1alpha1.ReasonCrashLooping, what: "has an argument that its engine does not take",
		advice: "correct deployment.extraArgs or the recipe, or set image.tag to a version that takes it",
	},
	{
		any:    []string{"is greater than the derived max_model_len"},
		reason: v1alpha1.ReasonCrashLooping, what: "is asked for a longer context than its model has",
		advice: "set a shorter --max-model-len in deployment.extraArgs or the recipe",
	},
	{
		any:    []string{"are not supported for now", "does not recognize this architecture", "are not supported anymore"},
		reason: v1alpha1.ReasonCrashLooping, what: "does not know the architecture of its model",
		advice: "set image.tag to a newer version of the engine, or recipe.backend to another engine",
	},
	{
		any:    []string{"trust_remote_code=True", "contains custom code which must be executed"},
		reason: v1alpha1.ReasonCrashLooping, what: "may not run the code that comes with its model",
		advice: "if you trust it, add --trust-remote-code to deployment.extraArgs",
	},
	{
		any:    []string{"address already in use", "Address already in use"},
		reason: v1alpha1.ReasonCrashLooping, what: "finds its port in use",
		advice: "set service.targetPort to another port",
	},
	{
		// What failed is a process of the engine, and its error is too far up.
		any:    []string{"See root cause above", "See stack trace for root cause", "Received sigquit from a child process", "EngineDeadError"},
		reason: v1alpha1.ReasonCrashLooping,
		advice: "the cause is further up in the log",
	},
}

// pullErrors of kubelets with containerd and CRI-O, after the reason of the
// container's state.
//
//nolint:gochecknoglobals // Constants that Go cannot express as such.
var pullErrors = []cause{
	{
		any:    []string{"InvalidImageName: "},
		reason: v1alpha1.ReasonImagePullFailed, advice: "correct image.repository and image.tag",
	},
	{
		any:    []string{"ErrImageNeverPull: "},
		reason: v1alpha1.ReasonImagePullFailed, advice: "set image.pullPolicy to IfNotPresent",
	},
	{
		any:    []string{"SignatureValidationFailed"},
		reason: v1alpha1.ReasonImagePullFailed, advice: "set image.repository and image.tag to an image with a signature that the cluster accepts",
	},
	{
		any:    []string{"toomanyrequests", "Too Many Requests", "rate limit"},
		reason: v1alpha1.ReasonImagePullFailed, advice: "name a Secret of an account at the registry in image.pullSecrets, or set image.repository to a mirror; it is tried again",
	},
	{
		any:    []string{"pull access denied", "401 Unauthorized", "403 Forbidden", "unauthorized", "UNAUTHORIZED", "authentication required", "authorization failed", "no basic auth credentials", "access denied", "requested access to the resource is denied", "DENIED", "insufficient_scope"},
		reason: v1alpha1.ReasonImagePullFailed, advice: "name a Secret that gives access to the registry in image.pullSecrets, and check image.repository",
	},
	{
		any:    []string{": not found", "manifest unknown", "MANIFEST_UNKNOWN", "name unknown", "NAME_UNKNOWN", "404 Not Found"},
		reason: v1alpha1.ReasonImagePullFailed, advice: "there is no such image: check image.repository and image.tag",
	},
	{
		any:    []string{"no match for platform", "no image found in manifest list for architecture"},
		reason: v1alpha1.ReasonImagePullFailed, advice: "check image.repository and image.tag: the image is for nodes of another architecture",
	},
	{
		any:    []string{"no space left on device"},
		reason: v1alpha1.ReasonImagePullFailed, advice: "free disk space on the node",
	},
	{
		any:    []string{"RegistryUnavailable", "no such host", "i/o timeout", "connection refused", "connection reset", "name resolution", "server misbehaving", ": Try again", "TLS handshake timeout", "deadline exceeded", "x509: ", "network is unreachable", "no route to host", "Client.Timeout exceeded"},
		reason: v1alpha1.ReasonImagePullFailed, advice: "the node does not reach the registry: check its DNS, proxy and firewall, or set image.repository to a mirror",
	},
	{reason: v1alpha1.ReasonImagePullFailed, advice: "check spec.image and its pull secrets"},
}

// runErrors of a container runtime.
//
//nolint:gochecknoglobals // Constants that Go cannot express as such.
var runErrors = []cause{
	{
		any:    []string{"executable file not found", "no such file or directory", "no command specified"},
		reason: v1alpha1.ReasonCrashLooping, advice: "check that image.repository and image.tag are an image of the engine",
	},
	{
		any:    []string{"exec format error"},
		reason: v1alpha1.ReasonCrashLooping, advice: "check image.repository and image.tag: the image is for nodes of another architecture",
	},
	{
		any:    []string{"/dev/kfd", "/dev/dri", "CDI device"},
		reason: v1alpha1.ReasonCrashLooping, advice: "check the GPU driver and device plugin of the node",
	},
	{reason: v1alpha1.ReasonCrashLooping, advice: "kubectl describe pod tells more"},
}

// failedPods are those that ended for good, by the reason and the message of
// their status.
//
//nolint:gochecknoglobals // Constants that Go cannot express as such.
var failedPods = []cause{
	{
		any:    []string{"ephemeral-storage", "ephemeral storage", "EmptyDir volume", "inodes"},
		reason: v1alpha1.ReasonModelDownloadFailed,
		advice: "the model does not fit on the node's disk: set cache.enabled, so that it has a volume of its own",
	},
	{
		any:    []string{"low on resource: memory"},
		reason: v1alpha1.ReasonOutOfMemory,
		advice: "raise resources.memory to what the server really needs, so that it is not the first one to go",
	},
	{
		any:    []string{"Allocate failed", "OutOf", "TopologyAffinityError", "UnexpectedAdmissionError"},
		reason: v1alpha1.ReasonWaitingForGPU,
		advice: "the node does not have what the scheduler counts on: check its GPU device plugin, and whether its GPUs are healthy",
	},
	{
		any:    []string{"Preempt"},
		reason: v1alpha1.ReasonWaitingForGPU,
		advice: "give the endpoint a higher priority with deployment.priorityClassName",
	},
	{
		any:    []string{"NodeAffinity", "NodeShutdown", "node shutdown", "node is shutting down"},
		reason: v1alpha1.ReasonWaitingForGPU,
		advice: "see why the node was shut down or changed",
	},
	{
		any:    []string{"DeadlineExceeded"},
		reason: v1alpha1.ReasonCrashLooping,
		advice: "something sets activeDeadlineSeconds of pods in this namespace: see which webhook does",
	},
	{reason: v1alpha1.ReasonCrashLooping, advice: "kubectl describe pod tells more"},
}

// nearlyScheduled are what the scheduler says of nodes with the right hardware.
// A volume has no reason here: it is no GPU.
//
//nolint:gochecknoglobals // Constants that Go cannot express as such.
var nearlyScheduled = []cause{
	{
		any:    []string{"Insufficient cpu"},
		reason: v1alpha1.ReasonWaitingForGPU, advice: "lower resources.cpu to what nodes with such GPUs have free",
	},
	{
		any:    []string{"Insufficient memory"},
		reason: v1alpha1.ReasonWaitingForGPU, advice: "lower resources.memory to what nodes with such GPUs have free",
	},
	{
		any:    []string{"Insufficient ephemeral-storage"},
		reason: v1alpha1.ReasonWaitingForGPU, advice: "free disk space on nodes with such GPUs",
	},
	{
		any:    []string{"Too many pods"},
		reason: v1alpha1.ReasonWaitingForGPU, advice: "remove pods from nodes with such GPUs",
	},
	{
		any:    []string{"PersistentVolumeClaim", "persistentvolumeclaim", "PersistentVolume's node affinity", "volume node affinity conflict", "available persistent volumes", "max volume count", "enough free storage", "available volume zone", "pvc(s) bound"},
		advice: "check the PersistentVolumeClaim, cache.storageClass and cache.accessMode",
	},
	{
		any:    []string{"didn't match pod affinity rules"},
		reason: v1alpha1.ReasonWaitingForGPU, advice: "where others mount its ReadWriteOnce volume, it has to be on their node: free GPUs there, or use a volume that is ReadWriteMany",
	},
}

// notScheduled are what the scheduler says of nodes that are out of question.
//
//nolint:gochecknoglobals // Constants that Go cannot express as such.
var notScheduled = []cause{
	{
		any:    []string{"untolerated taint", "had taints that the pod didn't tolerate"},
		advice: "if nodes with such GPUs are tainted, add to deployment.tolerations",
	},
	{
		any:    []string{"were unschedulable"},
		advice: "uncordon nodes with such GPUs",
	},
	{
		any:    []string{"didn't match Pod's node affinity/selector"},
		advice: "check that the cluster has nodes with the recipe's hardware, or set recipe.hardware to what it has",
	},
}

// find the first cause of a table that a text tells.
func find(table []cause, text string) cause {
	for _, c := range table {
		if len(c.any) == 0 || c.in(text) {
			return c
		}
	}
	return cause{}
}

// findAll causes of a table that a text tells.
func findAll(table []cause, text string) []cause {
	var out []cause
	for _, c := range table {
		if c.in(text) {
			out = append(out, c)
		}
	}
	return out
}

func (c cause) in(text string) bool {
	for _, s := range c.all {
		if !strings.Contains(text, s) {
			return false
		}
	}
	for _, s := range c.any {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// line of a text that tells the cause: the last one with the first of the
// cause's texts that is there.
func (c cause) line(text string) string {
	for _, s := range c.any {
		at := strings.LastIndex(text, s)
		if at < 0 {
			continue
		}
		start := strings.LastIndex(text[:at], "\n") + 1
		if at-start > maxQuote/2 {
			start = at
		}
		line, _, _ := strings.Cut(text[start:], "\n")
		return line
	}
	return ""
}
