package endpoint

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/engine"
)

// everything that a spec of an endpoint can ask for, but for a dashboard, which
// is as long as all the rest.
const everything = `
model: {id: Qwen/Qwen3-32B, version: v1.2}
cache: {enabled: true, size: 200Gi}
scaling: {minReplicas: 2, maxReplicas: 4, targetQueueDepth: 3}
service:
  port: 80
  route: {hostname: llm.example.org, gateway: {name: public, namespace: gateways, sectionName: https}}
monitoring: {enabled: true, prometheus: {interval: 15s, path: /metrics}, grafana: {enabled: false}}
security:
  serviceAccount: {create: true, name: llm}
  apiKeySecretRef: {name: keys, key: chat}
  networkPolicy:
    enabled: true
    allowFrom:
    - podSelector: {}
    - namespaceSelector: {matchLabels: {team: b}}
      podSelector: {matchLabels: {app: web}}
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
deployment:
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 0}}
  env:
  - {name: VLLM_LOGGING_LEVEL, value: DEBUG}
  - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
  extraArgs: [--enable-prefix-caching, "true", --max-num-seqs, "64"]
  podLabels: {team: a}
  podAnnotations: {sidecar.istio.io/inject: "false"}
  nodeSelector: {topology.kubernetes.io/zone: a}
  tolerations: [{key: dedicated, operator: Equal, value: ai, effect: NoExecute, tolerationSeconds: 60}]
  affinity:
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
      - {weight: 1, podAffinityTerm: {topologyKey: kubernetes.io/hostname, labelSelector: {}}}
  priorityClassName: high
  runtimeClassName: kata
  schedulerName: kueue
  terminationGracePeriodSeconds: 600
  disruptionBudget: {minAvailable: 50%}
`

// allAPIs says that a cluster has all that an endpoint can use.
func allAPIs() map[API]bool {
	out := map[API]bool{}
	for _, a := range APIs() {
		out[a] = true
	}
	return out
}

// onSGLang runs an endpoint with the other engine.
func onSGLang(e *Endpoint) {
	e.Engine, _ = engine.Lookup("sglang")
	e.Recipe.Name, e.Recipe.Backend, e.Recipe.Image = "qwen3-32b-mi300x-bfloat16-sglang", "sglang", "lmsysorg/sglang:v0.5.4-rocm700-mi30x"
	e.Recipe.Snapshot.Image, e.Recipe.Snapshot.Port = e.Recipe.Image, 30000
	e.Recipe.Snapshot.Command = []string{"python3", "-m", "sglang.launch_server"}
	e.Recipe.Snapshot.Args = []string{"--model-path", testModel, "--served-model-name", testModel, "--tp-size", "1", "--enable-metrics"}
	e.Recipe.Snapshot.Env = nil
}

// withKEDA has a platform that scales with KEDA.
func withKEDA(activation string) func(e *Endpoint) {
	return func(e *Endpoint) {
		e.Platform.KEDA = &KEDA{PrometheusAddress: "http://prometheus.monitoring:9090", ActivationQuery: activation}
	}
}

// withCanary has a canary of another image.
func withCanary(tb testing.TB) func(e *Endpoint) {
	tb.Helper()
	return func(e *Endpoint) {
		next := e.Recipe
		next.Snapshot = next.Snapshot.DeepCopy()
		next.Snapshot.Image, next.Image = "vllm/vllm-openai-rocm:v0.23.0", "vllm/vllm-openai-rocm:v0.23.0"
		out, err := e.Apply(Plan{Recipe: e.Recipe, Canary: &next}, Live{})
		if err != nil {
			tb.Fatal(err)
		}
		*e = out
	}
}

type renderCase struct {
	reason   string
	endpoint func(tb testing.TB) Endpoint
	live     Live
}

func renderCases(tb testing.TB) map[string]renderCase {
	tb.Helper()
	of := func(spec string, changes ...func(e *Endpoint)) func(tb testing.TB) Endpoint {
		return func(tb testing.TB) Endpoint {
			tb.Helper()
			return chat(tb, spec, changes...)
		}
	}
	return map[string]renderCase{
		"minimal": {
			reason:   "A model should be all that it takes.",
			endpoint: of(""),
		},
		"preload": {
			reason:   "A model should be downloaded before its server takes GPUs, as somebody whose files it can read and write.",
			endpoint: of("cache: {enabled: true}\nscaling: {maxReplicas: 2}\nhfTokenSecretRef: {name: hf, key: token}", withAgent),
			live:     Live{Cache: boundClaim("180Gi", "fast")},
		},
		"preloaded": {
			reason:   "Then it starts.",
			endpoint: of("cache: {enabled: true}\nscaling: {maxReplicas: 2}\nhfTokenSecretRef: {name: hf, key: token}", withAgent),
			live: func() Live {
				l := Live{Cache: boundClaim("180Gi", "fast")}
				l.Jobs = preloadOf(chat(tb, "cache: {enabled: true}\nscaling: {maxReplicas: 2}\nhfTokenSecretRef: {name: hf, key: token}", withAgent), l, batchv1.JobComplete, "")
				return l
			}(),
		},
		"cache-autoscaling-nodeport": {
			reason: "A cache, an autoscaler and a NodePort should be there when they are asked for.",
			endpoint: of(`
cache: {enabled: true, storageClass: fast, size: 200Gi, accessMode: ReadWriteMany, retain: false}
scaling: {minReplicas: 2, maxReplicas: 4, targetCPUUtilization: 70, targetMemoryUtilization: 80, targetGPUUtilization: 90, targetKVCacheUtilization: 85, targetQueueDepth: 3, scaleUpDelay: 30, scaleDownDelay: 600}
service: {type: NodePort, port: 80, annotations: {example.org/a: b}}
`, onGPUs(8)),
			live: Live{Deployment: &appsv1.Deployment{}},
		},
		"non-root": {
			reason: "A server that is not root should have a home, and the groups that own the devices.",
			endpoint: of(`
security: {podSecurityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000}, supplementalGroups: [109, 44]}
`, onGPUs(2)),
		},
		"secrets-and-image": {
			reason: "Secrets should stay references, and the user's image should go before the recipe's.",
			endpoint: of(`
model: {id: Qwen/Qwen3-32B, version: v1.2}
hfTokenSecretRef: {name: hugging-face, key: token}
image: {repository: "localhost:5000/vllm", tag: v2, pullPolicy: Always, pullSecrets: [pull-1, pull-2]}
`, func(e *Endpoint) {
				e.Recipe.Snapshot.Env = append(e.Recipe.Snapshot.Env, corev1.EnvVar{Name: "HF_TOKEN", Value: "from-recipe"}, corev1.EnvVar{Name: "HF_HOME", Value: "/elsewhere"})
			}),
		},
		"platform": {
			reason: "What the platform team set should be in every endpoint.",
			endpoint: of(`cache: {enabled: true}`, func(e *Endpoint) {
				e.Platform = Platform{
					GPUResourceName: "amd.com/cpx_nps1", StorageClass: "platform",
					Tolerations: []corev1.Toleration{{Key: "team", Operator: corev1.TolerationOpEqual, Value: "ai", Effect: corev1.TaintEffectNoSchedule}},
					Security: &v1alpha1.Security{
						PodSecurityContext: &v1alpha1.PodSecurityContext{RunAsUser: ptr.To[v1alpha1.ID](1000)},
						SupplementalGroups: []v1alpha1.ID{44, 109},
					},
				}
			}),
		},
		"port": {
			reason:   "The port that the server listens on should be the same everywhere, and the Service's may be another.",
			endpoint: of(`service: {type: LoadBalancer, port: 80, targetPort: 9000, loadBalancerIP: 192.0.2.1}`),
		},
		"long-name": {
			reason: "A name that no object could have should become one that all can have, everywhere the same.",
			endpoint: of(`{cache: {enabled: true}, scaling: {minReplicas: 1, maxReplicas: 2}}`, func(e *Endpoint) {
				e.Name = "3." + long
				e.Composite = strings.Repeat("c", 70)
			}),
		},
		"live": {
			reason: "What cannot change should stay as it is live: the selector, and a volume's class, mode and size.",
			endpoint: of(`
cache: {enabled: true, storageClass: other, size: 10Gi, accessMode: ReadWriteMany}
scaling: {minReplicas: 3}
`),
			live: Live{
				Deployment: &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: ptr.To[int32](1), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "earlier"}}}},
				Cache:      boundClaim("50Gi", "standard"),
			},
		},
		"everything": {
			reason:   "All that a user can ask for should be there, where the cluster has it.",
			endpoint: of(everything),
			live:     Live{APIs: allAPIs()},
		},
		"keda-sglang": {
			reason: "KEDA should scale on the engine's own metrics, down to nothing where the platform counts what waits; an ingress controller should be as good as a gateway.",
			endpoint: of(`
scaling: {minReplicas: 0, maxReplicas: 4, targetCPUUtilization: 70, targetMemoryUtilization: 80, targetGPUUtilization: 90, targetKVCacheUtilization: 5, targetQueueDepth: 3, scaleUpDelay: 30, scaleDownDelay: 600}
service: {route: {hostname: llm.example.org, ingressClass: nginx, tlsSecretName: llm-tls}}
security: {apiKeySecretRef: {name: keys, key: chat}}
`, onSGLang, withKEDA(`sum(gateway_waiting{ns="$namespace",name="$name",model="$model"})`)),
			live: Live{APIs: allAPIs()},
		},
		"canary": {
			reason: "A canary should get its share of the traffic through a gateway, and pods of its own that nothing else counts.",
			endpoint: of(`
cache: {enabled: true, accessMode: ReadWriteMany}
service: {type: LoadBalancer, route: {hostname: llm.example.org}}
deployment: {canary: {enabled: true, trafficSplit: 20, duration: 600}}
`, func(e *Endpoint) { e.Platform.Gateway = &v1alpha1.GatewayReference{Name: "platform"} }, withCanary(tb)),
			live: Live{APIs: allAPIs(), Canary: &appsv1.Deployment{Status: appsv1.DeploymentStatus{ReadyReplicas: 1}}},
		},
		"isolated": {
			reason: "Nobody but Prometheus should be let in when nobody else is named.",
			endpoint: of(`{security: {networkPolicy: {enabled: true}}, monitoring: {enabled: true, grafana: {enabled: false}}}`, func(e *Endpoint) {
				e.Platform.MonitoringLabels = map[string]string{"release": "prom", "app.kubernetes.io/managed-by": "Helm"}
				e.Platform.ScrapeFrom = []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": "monitoring"}}}}
			}),
			live: Live{APIs: map[API]bool{APIServiceMonitor: true}},
		},
	}
}
