package schema

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

// An acceptedSample is a spec that must be accepted.
type acceptedSample struct {
	reason string
	// spec as its user writes it.
	spec string
	// want is the spec with all defaults.
	want string
}

func accepted() map[string]acceptedSample {
	return map[string]acceptedSample{
		"Minimal": {
			reason: "A model is all that must be said, and nothing is made up.",
			spec:   `model: {id: Qwen/Qwen3-32B}`,
			want:   `model: {id: Qwen/Qwen3-32B}`,
		},
		"Defaults": {
			reason: "What a section leaves out has the documented defaults.",
			spec: `
model: {id: Qwen/Qwen3-32B}
recipe: {}
scaling: {}
service: {}
cache: {}
`,
			want: `
model: {id: Qwen/Qwen3-32B}
recipe: {autoSelect: true, objective: Throughput, upgradePolicy: Pinned}
scaling: {minReplicas: 1}
service: {type: ClusterIP, port: 8000}
cache: {enabled: false, accessMode: ReadWriteOnce, retain: true, preload: true}
`,
		},
		"EmptyStrings": {
			reason: "Templates leave strings empty where there is nothing to say.",
			spec: `
model: {id: Qwen/Qwen3-32B, version: "", revision: ""}
resources: {cpu: "", memory: ""}
service: {loadBalancerIP: ""}
cache: {storageClass: "", size: ""}
image: {repository: "", tag: ""}
`,
			want: `
model: {id: Qwen/Qwen3-32B, version: "", revision: ""}
resources: {cpu: "", memory: ""}
service: {type: ClusterIP, port: 8000, loadBalancerIP: ""}
cache: {enabled: false, storageClass: "", size: "", accessMode: ReadWriteOnce, retain: true, preload: true}
image: {repository: "", tag: ""}
`,
		},
		"EarlierOperator": {
			reason: "A manifest that was written for the earlier operator applies unchanged.",
			spec: `
model: {id: Qwen/Qwen2.5-7B-Instruct, version: latest}
recipe: {autoSelect: true, gpuCount: 1}
resources: {gpuCount: 1, cpu: "4", memory: 16Gi, memoryLimit: 32Gi, cpuLimit: "8"}
scaling: {minReplicas: 1, maxReplicas: 3, targetCPUUtilization: 70, targetMemoryUtilization: 80}
service: {type: NodePort, port: 8000, targetPort: 8000}
cache: {enabled: true, storageClass: local-path, size: 50Gi}
image: {repository: "localhost:5000/aim-vllm", tag: latest, pullPolicy: IfNotPresent}
`,
			want: `
model: {id: Qwen/Qwen2.5-7B-Instruct, version: latest}
recipe: {autoSelect: true, gpuCount: 1, objective: Throughput, upgradePolicy: Pinned}
resources: {gpuCount: 1, cpu: "4", memory: 16Gi, memoryLimit: 32Gi, cpuLimit: "8"}
scaling: {minReplicas: 1, maxReplicas: 3, targetCPUUtilization: 70, targetMemoryUtilization: 80}
service: {type: NodePort, port: 8000, targetPort: 8000}
cache: {enabled: true, storageClass: local-path, size: 50Gi, accessMode: ReadWriteOnce, retain: true, preload: true}
image: {repository: "localhost:5000/aim-vllm", tag: latest, pullPolicy: IfNotPresent}
`,
		},
		"SharedCache": {
			reason: "An endpoint may use an AIMCache instead of a volume of its own.",
			spec: `
model: {id: Qwen/Qwen3-32B}
cache: {name: models}
`,
			want: `
model: {id: Qwen/Qwen3-32B}
cache: {name: models, enabled: false, accessMode: ReadWriteOnce, retain: true, preload: true}
`,
		},
		"Full": {
			reason: "Every field may be set at once.",
			spec:   full,
			want:   full,
		},
		"Exact": {
			reason: "Without selection all of GPU count, precision and backend are given; the count may be with the resources.",
			spec: `
model: {id: openai/gpt-oss-120b}
recipe: {autoSelect: false, precision: bf16, backend: sglang, objective: Cost, upgradePolicy: Automatic}
resources: {gpuCount: 8, cpu: 500m, cpuLimit: "0.5", memory: "17179869184", memoryLimit: 16Gi}
`,
			want: `
model: {id: openai/gpt-oss-120b}
recipe: {autoSelect: false, precision: bf16, backend: sglang, objective: Cost, upgradePolicy: Automatic}
resources: {gpuCount: 8, cpu: 500m, cpuLimit: "0.5", memory: "17179869184", memoryLimit: 16Gi}
`,
		},
	}
}

const full = `
model: {id: meta-llama/Llama-3.1-70B-Instruct, version: v1.2_rc.1, revision: refs/pr/12}
recipe:
  autoSelect: false
  gpuCount: 4
  precision: float8
  backend: vllm
  hardware: MI300X
  objective: Latency
  upgradePolicy: Automatic
resources: {gpuCount: 4, cpu: "16", memory: 128Gi, cpuLimit: "32", memoryLimit: 256Gi}
scaling:
  minReplicas: 2
  maxReplicas: 6
  targetCPUUtilization: 70
  targetMemoryUtilization: 80
  targetGPUUtilization: 90
  targetQueueDepth: 5
  targetKVCacheUtilization: 85
  scaleDownDelay: 600
  scaleUpDelay: 0
service:
  type: LoadBalancer
  port: 80
  targetPort: 9000
  annotations:
    example.org/pool: public
    plain: "yes"
  loadBalancerIP: 2001:db8::1
  route:
    hostname: llm.example.com
    gateway: {name: public, namespace: gateways, sectionName: https}
cache:
  enabled: true
  storageClass: fast.nvme
  size: 1.5Ti
  accessMode: ReadWriteMany
  retain: false
  preload: false
security:
  podSecurityContext: {runAsUser: 1000, runAsGroup: 0, fsGroup: 2000}
  supplementalGroups: [44, 109]
  serviceAccount: {create: true, name: llm.server}
  apiKeySecretRef: {name: keys, key: api.key}
  networkPolicy:
    enabled: true
    allowFrom:
    - namespaceSelector: {}
      podSelector: {matchLabels: {app: gateway}}
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
monitoring:
  enabled: true
  prometheus: {enabled: false, interval: 1m, path: /metrics}
  grafana: {enabled: false, dashboard: "LLM: production"}
deployment:
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0%}}
  canary: {enabled: true, trafficSplit: 25, duration: 600}
  env:
  - {name: LOG, value: debug}
  - name: TOKEN
    valueFrom: {secretKeyRef: {name: keys, key: token}}
  extraArgs: [--max-num-seqs, "64"]
  podLabels: {example.org/team: search}
  podAnnotations: {example.org/note: "hello, world"}
  nodeSelector: {topology.kubernetes.io/zone: a}
  tolerations: [{key: maintenance, operator: Exists, effect: NoExecute, tolerationSeconds: 60}]
  affinity:
    nodeAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
      - {weight: 10, preference: {matchExpressions: [{key: disk, operator: In, values: [nvme]}]}}
    podAntiAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: other}}}
  priorityClassName: important
  runtimeClassName: kata
  schedulerName: my-scheduler
  terminationGracePeriodSeconds: 600
  disruptionBudget: {minAvailable: 50%}
image:
  repository: registry.example.org:5000/team/vllm
  tag: v0.11.0_rocm
  pullPolicy: Always
  pullSecrets: [pull-1, pull.2]
hfTokenSecretRef: {name: hugging-face, key: HF_TOKEN}
providerConfigName: gpu-east
compositionUpdatePolicy: Manual
compositionSelector:
  matchLabels: {aim.engine.amd.com/composition: default}
`

// A rejectedSample is a mistake that must be refused, with an answer from which
// a person learns what to do.
type rejectedSample struct {
	reason string
	// name of the object, if that is what is wrong with it.
	name string
	spec string
	want []string
}

func rejected() map[string]rejectedSample {
	const (
		modelID  = "must be a Hugging Face model id of the form org/name, such as Qwen/Qwen3-32B"
		gpuCount = "must be 1 to 8: a replica runs on the GPUs of one node. For more throughput, raise scaling.minReplicas"
		quantity = "must be a quantity such as 500m, 4 or 16Gi. Units are Ki, Mi, Gi, Ti or k, M, G, T; not KB, GB or GiB"
		unit     = "must be at least 1Mi: give a unit, such as 16Gi"
		object   = "must be the name of a Kubernetes object: lowercase letters, digits, '-' and '.', starting and ending with a letter or digit"
		tag      = "must be an image's tag: letters, digits, '-', '_' and '.', not starting with '-' or '.'"
		image    = "must be an image without its tag, such as rocm/vllm or localhost:5000/vllm; the tag goes into image.tag"
		exact    = "is false: set recipe.customRecipe, or recipe.gpuCount, recipe.precision and recipe.backend, to say exactly what to run, or set autoSelect to true"
	)

	// with is a spec whose model is all right, and something else is not.
	with := func(spec string) string { return "model: {id: Qwen/Qwen3-32B}\n" + spec }

	return map[string]rejectedSample{
		"NoModel": {
			reason: "An endpoint needs a model.",
			spec:   `recipe: {gpuCount: 1}`,
			want:   []string{"spec.model: Required value"},
		},
		"ModelWithoutOrganization": {
			reason: "Hugging Face ids have two parts.",
			spec:   `model: {id: qwen3}`,
			want:   []string{`spec.model.id: Invalid value: "qwen3": ` + modelID},
		},
		"ModelOfThreeParts": {
			reason: "Hugging Face ids have no more than two parts.",
			spec:   `model: {id: a/b/c}`,
			want:   []string{`spec.model.id: Invalid value: "a/b/c": ` + modelID},
		},
		"EmptyModel": {
			reason: "An empty id is no id.",
			spec:   `model: {id: ""}`,
			want:   []string{`spec.model.id: Invalid value: "": ` + modelID},
		},
		"ModelURL": {
			reason: "An id is not the page's address.",
			spec:   `model: {id: "https://huggingface.example/Qwen/Qwen3-32B"}`,
			want:   []string{`spec.model.id: Invalid value: "https://huggingface.example/Qwen/Qwen3-32B": ` + modelID},
		},
		"ModelVersion": {
			reason: "A version becomes a label's value.",
			spec:   `model: {id: Qwen/Qwen3-32B, version: a b}`,
			want:   []string{`spec.model.version: Invalid value: "a b": must hold only letters, digits, '-', '_' and '.', and start and end with a letter or digit: it becomes a label`},
		},
		"ModelRevision": {
			reason: "A revision is an argument of the server, and must not look like an option.",
			spec:   `model: {id: Qwen/Qwen3-32B, revision: --trust-remote-code}`,
			want:   []string{`spec.model.revision: Invalid value: "--trust-remote-code": must be a commit, tag or branch of the model's repository, such as main`},
		},
		"NineGPUs": {
			reason: "No node has more than eight GPUs.",
			spec:   with(`recipe: {gpuCount: 9}`),
			want:   []string{`spec.recipe.gpuCount: Invalid value: 9: ` + gpuCount},
		},
		"NoGPUs": {
			reason: "A model server needs a GPU.",
			spec:   with(`resources: {gpuCount: 0}`),
			want:   []string{`spec.resources.gpuCount: Invalid value: 0: ` + gpuCount},
		},
		"GPUCountsDisagree": {
			reason: "Two fields that say the same must agree.",
			spec:   with("recipe: {gpuCount: 1}\nresources: {gpuCount: 2}"),
			want:   []string{`spec.recipe.gpuCount: Invalid value: must be equal to resources.gpuCount when both are set: remove one of them`},
		},
		"ExactWithoutPrecision": {
			reason: "Without selection all that would be selected must be given.",
			spec:   with(`recipe: {autoSelect: false, gpuCount: 1, backend: vllm}`),
			want:   []string{`spec.recipe.autoSelect: Invalid value: ` + exact},
		},
		"ExactWithoutGPUCount": {
			reason: "Without selection all that would be selected must be given.",
			spec:   with(`recipe: {autoSelect: false, precision: float8, backend: vllm}`),
			want:   []string{`spec.recipe.autoSelect: Invalid value: ` + exact},
		},
		"UnknownPrecision": {
			reason: "A precision that no recipe can have is a typing error.",
			spec:   with(`recipe: {precision: fp4}`),
			want:   []string{`spec.recipe.precision: Unsupported value: "fp4": supported values: "bfloat16", "float16", "float8", "int8", "int4", "bf16", "fp16", "fp8"`},
		},
		"UnknownHardware": {
			reason: "Hardware that is not AMD Instinct is a mistake.",
			spec:   with(`recipe: {hardware: H100}`),
			want:   []string{`spec.recipe.hardware: Unsupported value: "H100": supported values: "MI300X", "MI325X", "MI355X", "MI350X", "MI250", "MI210"`},
		},
		"UnknownBackend": {
			reason: "Only the engines that are supported can be asked for.",
			spec:   with(`recipe: {backend: tgi}`),
			want:   []string{`spec.recipe.backend: Unsupported value: "tgi": supported values: "vllm", "sglang"`},
		},
		"QuantityInGB": {
			reason: "GB is not a unit of Kubernetes.",
			spec:   with(`resources: {memory: 16GB}`),
			want:   []string{`spec.resources.memory: Invalid value: "16GB": ` + quantity},
		},
		"NegativeQuantity": {
			reason: "Nothing can be requested a negative number of times.",
			spec:   with(`resources: {memory: "-1"}`),
			want:   []string{`spec.resources.memory: Invalid value: "-1": ` + quantity},
		},
		"QuantityIsNumber": {
			reason: "YAML takes a bare number for a number.",
			spec:   with(`resources: {cpu: 4}`),
			want:   []string{`spec.resources.cpu: Invalid value: "integer": spec.resources.cpu in body must be of type string: "integer"`},
		},
		"BadQuantityWithLimit": {
			reason: "A bad quantity is told once, and its comparison with the limit not at all.",
			spec:   with(`resources: {cpu: four, cpuLimit: "8"}`),
			want:   []string{`spec.resources.cpu: Invalid value: "four": ` + quantity},
		},
		"MemoryWithoutUnit": {
			reason: "Sixteen bytes of memory are a forgotten unit.",
			spec:   with(`resources: {memoryLimit: "16"}`),
			want:   []string{`spec.resources.memoryLimit: Invalid value: "16": ` + unit},
		},
		"CPUAboveLimit": {
			reason: "A pod that requests more CPU than its limit is never admitted.",
			spec:   with(`resources: {cpu: "8", cpuLimit: 4000m}`),
			want:   []string{`spec.resources.cpu: Invalid value: must not be above cpuLimit: lower cpu or raise cpuLimit`},
		},
		"MemoryAboveLimit": {
			reason: "A pod that requests more memory than its limit is never admitted.",
			spec:   with(`resources: {memory: 16Gi, memoryLimit: 16G}`),
			want:   []string{`spec.resources.memory: Invalid value: must not be above memoryLimit: lower memory or raise memoryLimit`},
		},
		"MinAboveMax": {
			reason: "There is no number of replicas from three to two.",
			spec:   with(`scaling: {minReplicas: 3, maxReplicas: 2}`),
			want:   []string{`spec.scaling.maxReplicas: Invalid value: must not be below minReplicas, which is 1 if unset: raise maxReplicas or lower minReplicas`},
		},
		"NoReplicas": {
			reason: "An endpoint that never runs is a mistake.",
			spec:   with(`scaling: {minReplicas: 0}`),
			want:   []string{`spec.scaling.minReplicas: Invalid value: is 0, which needs maxReplicas: an endpoint that never runs is of no use`},
		},
		"RouteOfTwo": {
			reason: "A route is one thing or the other.",
			spec:   with(`service: {route: {hostname: a.example.com, gateway: {name: public}, ingressClass: nginx}}`),
			want:   []string{`spec.service.route.ingressClass: Invalid value: must not be set together with gateway: remove one of them`},
		},
		"RouteTLSOfGateway": {
			reason: "A certificate that nobody serves is a surprise.",
			spec:   with(`service: {route: {hostname: a.example.com, gateway: {name: public}, tlsSecretName: cert}}`),
			want:   []string{`spec.service.route.tlsSecretName: Invalid value: is for an Ingress: the certificate of a Gateway belongs to its listener. Remove tlsSecretName`},
		},
		"RouteHostname": {
			reason: "A URL is no hostname.",
			spec:   with(`service: {route: {hostname: "https://a.example.com"}}`),
			want:   []string{`spec.service.route.hostname: Invalid value: "https://a.example.com": must be a hostname in lowercase, such as llm.example.com`},
		},
		"ScrapeInterval": {
			reason: "Prometheus forgets what is older than five minutes.",
			spec:   with(`monitoring: {enabled: true, prometheus: {interval: 6m}}`),
			want:   []string{`spec.monitoring.prometheus.interval: Invalid value: "6m": must be a duration such as 30s or 1m, 5m at most: Prometheus forgets what is older`},
		},
		"ScrapeIntervalWithoutUnit": {
			reason: "A rule must not fail on what another one refuses.",
			spec:   with(`monitoring: {enabled: true, prometheus: {interval: "30"}}`),
			want:   []string{`spec.monitoring.prometheus.interval: Invalid value: "30": must be a duration such as 30s or 1m, 5m at most: Prometheus forgets what is older`},
		},
		"ScrapePath": {
			reason: "A path begins with a slash.",
			spec:   with(`monitoring: {enabled: true, prometheus: {path: metrics}}`),
			want:   []string{`spec.monitoring.prometheus.path: Invalid value: "metrics": must be a path such as /metrics`},
		},
		"RolloutOfNothing": {
			reason: "With neither more nor fewer replicas nothing could ever change.",
			spec:   with(`deployment: {strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 0%, maxUnavailable: 0}}}`),
			want:   []string{`spec.deployment.strategy.rollingUpdate.maxUnavailable: Invalid value: must not be 0 when maxSurge is 0: nothing could ever change`},
		},
		"RolloutOfRecreate": {
			reason: "The API server refuses the two together, but much later.",
			spec:   with(`deployment: {strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}}`),
			want:   []string{`spec.deployment.strategy.rollingUpdate: Invalid value: needs strategy.type RollingUpdate`},
		},
		"Surge": {
			reason: "A share is in percent.",
			spec:   with(`deployment: {strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: half}}}`),
			want:   []string{`spec.deployment.strategy.rollingUpdate.maxSurge: Invalid value: "half": must be a number such as 1, or a share such as 25%`},
		},
		"Budget": {
			reason: "A budget has one bound.",
			spec:   with(`deployment: {disruptionBudget: {minAvailable: 1, maxUnavailable: 1}}`),
			want:   []string{`spec.deployment.disruptionBudget: Invalid value: needs exactly one of minAvailable and maxUnavailable`},
		},
		"OurLabels": {
			reason: "Pods are found by these labels.",
			spec:   with(`deployment: {podLabels: {aim.engine.amd.com/endpoint: other}}`),
			want:   []string{`spec.deployment.podLabels: Invalid value: must not hold aim.engine.amd.com/*, app.kubernetes.io/managed-by, app.kubernetes.io/name, app.kubernetes.io/instance or pod-template-hash: pods are found by those`},
		},
		"LabelValue": {
			reason: "A pod with a bad label is refused much later, where nobody looks.",
			spec:   with(`deployment: {nodeSelector: {zone: "not a label"}}`),
			want:   []string{`spec.deployment.nodeSelector[zone]: Invalid value: "not a label": must hold only letters, digits, '-', '_' and '.', and start and end with a letter or digit`},
		},
		"ShortGrace": {
			reason: "A pod waits for load balancers to notice.",
			spec:   with(`deployment: {terminationGracePeriodSeconds: 5}`),
			want:   []string{`spec.deployment.terminationGracePeriodSeconds: Invalid value: 5: must be at least 20: load balancers need 15 seconds to notice that a pod goes`},
		},
		"CanaryOfAll": {
			reason: "All of the traffic is no canary's.",
			spec:   with(`deployment: {canary: {enabled: true, trafficSplit: 100}}`),
			want:   []string{`spec.deployment.canary.trafficSplit: Invalid value: 100: spec.deployment.canary.trafficSplit in body should be less than or equal to 99`},
		},
		"ServiceAccountName": {
			reason: "No ServiceAccount can have such a name.",
			spec:   with(`security: {serviceAccount: {create: true, name: A}}`),
			want:   []string{`spec.security.serviceAccount.name: Invalid value: "A": must be the name of a ServiceAccount: lowercase letters, digits, '-' and '.', starting and ending with a letter or digit`},
		},
		"UtilizationAboveAll": {
			reason: "Utilization is in percent.",
			spec:   with(`scaling: {maxReplicas: 2, targetGPUUtilization: 101}`),
			want:   []string{`spec.scaling.targetGPUUtilization: Invalid value: 101: spec.scaling.targetGPUUtilization in body should be less than or equal to 100`},
		},
		"LoadBalancerIPOfNodePort": {
			reason: "Only a load balancer can be asked for an address.",
			spec:   with(`service: {type: NodePort, loadBalancerIP: 192.0.2.1}`),
			want:   []string{`spec.service.loadBalancerIP: Invalid value: needs service.type LoadBalancer`},
		},
		"LoadBalancerIPIsName": {
			reason: "A name is not an address.",
			spec:   with(`service: {type: LoadBalancer, loadBalancerIP: 192.0.2.256}`),
			want:   []string{`spec.service.loadBalancerIP: Invalid value: "192.0.2.256": must be an IP address`},
		},
		"PrivilegedTargetPort": {
			reason: "The server has no capability to open a privileged port.",
			spec:   with(`service: {targetPort: 80}`),
			want:   []string{`spec.service.targetPort: Invalid value: 80: must be 1024 to 65535: the server may not open a privileged port. service.port may be any`},
		},
		"AnnotationKey": {
			reason: "A Service with a bad annotation is refused much later, where nobody looks.",
			spec:   with(`service: {annotations: {"bad key": x}}`),
			want:   []string{`spec.service.annotations: Invalid value: keys must be an optional DNS prefix and a slash, then at most 63 letters, digits, '-', '_' or '.', such as example.org/name`},
		},
		"CacheOfNothing": {
			reason: "A volume has a size.",
			spec:   with(`cache: {enabled: true, size: "0"}`),
			want:   []string{`spec.cache.size: Invalid value: "0": must be at least 1Mi: give a unit, such as 100Gi`},
		},
		"CacheOfTwo": {
			reason: "An endpoint has one cache.",
			spec:   with(`cache: {name: models, enabled: true}`),
			want:   []string{`spec.cache.enabled: Invalid value: must not be true when cache.name is set: the endpoint uses that AIMCache, and needs no volume of its own`},
		},
		"CacheName": {
			reason: "No AIMCache can have such a name.",
			spec:   with(`cache: {name: My_Models}`),
			want:   []string{`spec.cache.name: Invalid value: "My_Models": ` + object},
		},
		"StorageClassName": {
			reason: "No StorageClass can have such a name.",
			spec:   with(`cache: {enabled: true, storageClass: Fast_NVMe}`),
			want:   []string{`spec.cache.storageClass: Invalid value: "Fast_NVMe": ` + strings.Replace(object, "Kubernetes object", "StorageClass", 1)},
		},
		"SecretName": {
			reason: "No Secret can have such a name.",
			spec:   with(`hfTokenSecretRef: {name: HF_TOKEN, key: token}`),
			want:   []string{`spec.hfTokenSecretRef.name: Invalid value: "HF_TOKEN": ` + object},
		},
		"SecretKey": {
			reason: "A Secret must be asked for one of its keys.",
			spec:   with(`hfTokenSecretRef: {name: hf, key: ""}`),
			want:   []string{`spec.hfTokenSecretRef.key: Invalid value: "": must be a key of a Secret: letters, digits, '-', '_' and '.'`},
		},
		"PullSecretName": {
			reason: "Each pull secret is the name of a Secret.",
			spec:   with(`image: {pullSecrets: [good, bad/secret]}`),
			want:   []string{`spec.image.pullSecrets[1]: Invalid value: "bad/secret": ` + object},
		},
		"ImageTag": {
			reason: "A tag has neither colon nor slash.",
			spec:   with(`image: {tag: ":latest"}`),
			want:   []string{`spec.image.tag: Invalid value: ":latest": ` + tag},
		},
		"ImageWithTag": {
			reason: "A tag in the repository would be there twice.",
			spec:   with(`image: {repository: "localhost:5000/vllm:v1"}`),
			want:   []string{`spec.image.repository: Invalid value: "localhost:5000/vllm:v1": ` + image},
		},
		"RunAsNegativeUser": {
			reason: "Users have numbers from zero.",
			spec:   with(`security: {podSecurityContext: {runAsUser: -1}}`),
			want:   []string{`spec.security.podSecurityContext.runAsUser: Invalid value: -1: spec.security.podSecurityContext.runAsUser in body should be greater than or equal to 0`},
		},
		"NameTooLong": {
			reason: "Names become values of labels.",
			name:   strings.Repeat("a", 64),
			spec:   with(""),
			want:   []string{`metadata.name: Too long: may not be more than 63 bytes`},
		},
		"UnknownField": {
			reason: "A misspelt field must not be ignored.",
			spec:   with(`scaling: {maxreplicas: 2}`),
			want:   []string{`unknown field "spec.scaling.maxreplicas"`},
		},
		"TwoMistakes": {
			reason: "All mistakes are told at once.",
			spec:   "model: {id: qwen3}\nrecipe: {gpuCount: 16}",
			want: []string{
				`spec.model.id: Invalid value: "qwen3": ` + modelID,
				`spec.recipe.gpuCount: Invalid value: 16: ` + gpuCount,
			},
		},
	}
}

// fullStatus has every field set.
func fullStatus() v1alpha1.AIMEndpointStatus {
	return v1alpha1.AIMEndpointStatus{
		Phase:              v1alpha1.PhaseDegraded,
		Reason:             string(v1alpha1.ReasonWaitingForGPU),
		ObservedGeneration: 3,
		URL:                "http://qwen3.models.svc.cluster.local:8000",
		ServedModelName:    "Qwen/Qwen3-32B",
		SelectedRecipe: &v1alpha1.SelectedRecipe{
			Name:      "qwen3-32b-mi300x-bfloat16-vllm",
			Source:    "Builtin",
			Hardware:  "MI300X",
			GPUCount:  1,
			Precision: "bfloat16",
			Backend:   "vllm",
			Image:     "localhost:5000/vllm:v1",
			Reason:    "The only one that fits.",
			Memory: &v1alpha1.GPUMemory{
				RequiredGiBPerGPU:      "75.1",
				AvailableGiBPerGPU:     "172.8",
				MaxConcurrentSequences: 12,
			},
			Snapshot: &v1alpha1.Snapshot{
				Selection: "0123456789",
				Model:     "Qwen/Qwen3-32B",
				Revision:  "main",
				Image:     "localhost:5000/vllm:v1",
				Command:   []string{"vllm", "serve"},
				Args:      []string{"Qwen/Qwen3-32B", "--port=8000"},
				Env: []corev1.EnvVar{
					{Name: "VLLM_ROCM_USE_AITER", Value: "1"},
					{Name: "HF_TOKEN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
						LocalObjectReference: corev1.LocalObjectReference{Name: "hugging-face"},
						Key:                  "token",
						Optional:             new(true),
					}}},
					{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{
						APIVersion: "v1",
						FieldPath:  "status.podIP",
					}}},
				},
				Port: 8000,
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("8")},
					Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Gi")},
				},
				WeightsGiB: 61,
			},
		},
		Candidates: []v1alpha1.Candidate{{
			Recipe:    "qwen3-32b-mi300x-bfloat16-vllm",
			GPUCount:  1,
			Hardware:  "MI300X",
			Precision: "bfloat16",
			Backend:   "vllm",
			Verdict:   "Selected",
			Reason:    "Best",
			Message:   "It has the most tokens per second.",
		}},
		UpgradeAvailable: "qwen3-32b-mi300x-float8-vllm",
		Endpoints: &v1alpha1.Endpoints{
			Internal:     "http://qwen3.models.svc.cluster.local:8000",
			External:     "http://192.0.2.1:30080",
			LoadBalancer: "http://192.0.2.2:8000",
			NodePort:     30080,
		},
		Replicas: &v1alpha1.Replicas{Current: 1, Desired: 2, Ready: 1, Available: 1},
		Metrics: &v1alpha1.Metrics{
			CPUUtilization:     new(int32(50)),
			MemoryUtilization:  new(int32(60)),
			GPUUtilization:     new(int32(70)),
			QueueDepth:         "1500m",
			KVCacheUtilization: new(int32(80)),
		},
		Canary: &v1alpha1.CanaryStatus{
			Phase: v1alpha1.CanaryRolledBack,
			Recipe: v1alpha1.SelectedRecipe{
				Name: "qwen3-32b-mi300x-float8-vllm", Source: "Builtin", Hardware: "MI300X", GPUCount: 1, Precision: "float8", Backend: "vllm", Image: "localhost:5000/vllm:v2",
				Snapshot: &v1alpha1.Snapshot{Selection: "9876543210", Model: "Qwen/Qwen3-32B", Image: "localhost:5000/vllm:v2", Port: 8000},
			},
			Template: "0011223344556677",
			Message:  "pod qwen3-canary-x crashed with exit code 1",
		},
	}
}
