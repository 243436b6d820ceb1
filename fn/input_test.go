package main

import (
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/fieldpath"
	"github.com/crossplane/function-sdk-go/resource"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
)

// Paths in what is composed.
const (
	pathPod       = nameDeployment + " spec.forProvider.manifest.spec.template.spec."
	pathContainer = pathPod + "containers[0]."
	pathVolume    = nameCache + " spec.forProvider.manifest.spec."
)

// TestInput is about what a platform team decides once for all endpoints.
func TestInput(t *testing.T) {
	cached := `{"spec": {"cache": {"enabled": true}}}`
	anywhere := `{"spec": {"recipe": {"hardware": null}}}`

	cases := map[string]struct {
		reason string
		spec   string
		input  string
		// want values by composed resource and path in it; nil where there
		// should be nothing. The composite's name is "xr".
		want map[string]any
	}{
		"Empty": {
			reason: "Every field is optional.",
			spec:   cached,
			input:  `{"apiVersion": "aim.fn.crossplane.io/v1beta1", "kind": "Input"}`,
			want: map[string]any{
				nameDeployment + " spec.providerConfigRef": map[string]any{"name": "default"},
				pathContainer + "image":                    "vllm/vllm-openai-rocm:v0.22.1",
				pathContainer + "resources.limits":         map[string]any{"amd.com/gpu": "1"},
				pathPod + "tolerations":                    []any{map[string]any{"key": "amd.com/gpu", "operator": "Exists"}},
				pathPod + "securityContext":                map[string]any{"seccompProfile": map[string]any{"type": "RuntimeDefault"}},
				pathVolume + "storageClassName":            nil,
			},
		},
		"ProviderConfigName": {
			reason: "Another provider config reaches another cluster.",
			input:  `{"providerConfigName": "gpu-cluster"}`,
			want: map[string]any{
				nameDeployment + " spec.providerConfigRef": map[string]any{"name": "gpu-cluster"},
				nameService + " spec.providerConfigRef":    map[string]any{"name": "gpu-cluster"},
				nameConfig + " spec.providerConfigRef":     map[string]any{"name": "gpu-cluster"},
			},
		},
		"ProviderConfigNameNamespaced": {
			reason: "Endpoints of all namespaces use the platform's provider config.",
			spec:   xrNamespaced,
			input:  `{"providerConfigName": "gpu-cluster"}`,
			want: map[string]any{
				"deployment-object-m spec.providerConfigRef": map[string]any{"kind": "ClusterProviderConfig", "name": "gpu-cluster"},
			},
		},
		"GPUResourceName": {
			reason: "A device plugin may offer GPUs, or parts of them, under another name.",
			input:  `{"gpuResourceName": "amd.com/cpx_nps4"}`,
			want: map[string]any{
				pathContainer + "resources.limits":   map[string]any{"amd.com/cpx_nps4": "1"},
				pathContainer + "resources.requests": map[string]any{"amd.com/cpx_nps4": "1", "cpu": "4", "memory": "32Gi"},
				pathPod + "tolerations":              []any{map[string]any{"key": "amd.com/cpx_nps4", "operator": "Exists"}},
			},
		},
		"Tolerations": {
			reason: "The platform's come beside ours.",
			input:  `{"tolerations": [{"key": "dedicated", "operator": "Equal", "value": "ai", "effect": "NoSchedule"}]}`,
			want: map[string]any{
				pathPod + "tolerations": []any{
					map[string]any{"key": "amd.com/gpu", "operator": "Exists"},
					map[string]any{"key": "dedicated", "operator": "Equal", "value": "ai", "effect": "NoSchedule"},
				},
			},
		},
		"StorageClass": {
			reason: "It is for caches that name none.",
			spec:   cached,
			input:  `{"storageClass": "fast"}`,
			want:   map[string]any{pathVolume + "storageClassName": "fast"},
		},
		"StorageClassOfEndpoint": {
			reason: "The endpoint knows better.",
			spec:   `{"spec": {"cache": {"enabled": true, "storageClass": "slow"}}}`,
			input:  `{"storageClass": "fast"}`,
			want:   map[string]any{pathVolume + "storageClassName": "slow"},
		},
		"Image": {
			reason: "A mirror of the engine's image, digest and all.",
			input:  `{"images": [{"backend": "vllm", "image": "localhost:5000/vllm@sha256:0123"}]}`,
			want: map[string]any{
				pathContainer + "image":            "localhost:5000/vllm@sha256:0123",
				"xr status.selectedRecipe.image":   "localhost:5000/vllm@sha256:0123",
				"xr status.candidates[0].hardware": "MI300X",
			},
		},
		"ImageForHardware": {
			reason: "One for the hardware at hand goes before one for all, wherever it is in the list.",
			input: `{"images": [
				{"backend": "vllm", "image": "localhost/vllm:any"},
				{"backend": "vllm", "hardware": "MI355X", "image": "localhost/vllm:mi355x"},
				{"backend": "vllm", "hardware": "MI300X", "image": "localhost/vllm:mi300x"}
			]}`,
			want: map[string]any{pathContainer + "image": "localhost/vllm:mi300x"},
		},
		"ImageForOtherHardware": {
			reason: "One for other hardware is not ours.",
			input:  `{"images": [{"backend": "vllm", "hardware": "MI355X", "image": "localhost/vllm:mi355x"}]}`,
			want:   map[string]any{pathContainer + "image": "vllm/vllm-openai-rocm:v0.22.1"},
		},
		"ImageOfEndpoint": {
			reason: "The endpoint's own tag goes on the platform's repository. The status should say what runs.",
			spec:   `{"spec": {"image": {"tag": "nightly"}}}`,
			input:  `{"images": [{"backend": "vllm", "image": "localhost:5000/vllm:1"}]}`,
			want: map[string]any{
				pathContainer + "image":          "localhost:5000/vllm:nightly",
				"xr status.selectedRecipe.image": "localhost:5000/vllm:nightly",
			},
		},
		"Inventory": {
			reason: "Hardware that the cluster does not have is not chosen.",
			spec:   anywhere,
			input:  `{"inventory": [{"hardware": "MI300X", "gpusPerNode": 8}]}`,
			want:   map[string]any{"xr status.selectedRecipe.hardware": "MI300X"},
		},
		"NoInventory": {
			reason: "Where nothing is known of the hardware, none is ruled out.",
			spec:   anywhere,
			input:  `{"inventory": []}`,
			want:   map[string]any{"xr status.selectedRecipe.hardware": "MI355X"},
		},
		"InventoryOfSmallNodes": {
			reason: "A replica runs on the GPUs of one node.",
			spec:   `{"spec": {"recipe": {"hardware": null, "gpuCount": 4}}}`,
			input:  `{"inventory": [{"hardware": "MI355X", "gpusPerNode": 2}, {"hardware": "MI300X", "gpusPerNode": 4}]}`,
			want: map[string]any{
				"xr status.selectedRecipe.hardware": "MI300X",
				"xr status.selectedRecipe.gpuCount": float64(4),
			},
		},
		"InventoryWithout": {
			reason: "The user should hear of what the cluster does not have.",
			spec:   `{"spec": {"model": {"id": "deepseek-ai/DeepSeek-V3.1"}, "recipe": {"hardware": null}}}`,
			input:  `{"inventory": [{"hardware": "MI210", "gpusPerNode": 4}]}`,
			want: map[string]any{
				"xr status.reason":                 "NoRecipeMatches",
				"xr status.candidates[0].verdict":  "Rejected",
				"xr status.candidates[0].reason":   "HardwareNotInInventory",
				nameDeployment + " spec.readiness": nil,
			},
		},
		"Security": {
			reason: "It is for endpoints that say nothing else.",
			input:  `{"security": {"podSecurityContext": {"runAsUser": 1000, "fsGroup": 2000}, "supplementalGroups": [109, 44]}}`,
			want: map[string]any{
				pathPod + "securityContext": map[string]any{
					"runAsNonRoot": true, "runAsUser": float64(1000), "fsGroup": float64(2000),
					"supplementalGroups": []any{float64(44), float64(109)},
					"seccompProfile":     map[string]any{"type": "RuntimeDefault"},
				},
			},
		},
		"Autoscaling": {
			reason: "KEDA takes the place of Kubernetes' own autoscaler, and asks the platform's Prometheus.",
			spec:   `{"spec": {"scaling": {"minReplicas": 0, "maxReplicas": 3}}}`,
			input:  `{"autoscaling": {"autoscaler": "KEDA", "prometheusAddress": "http://prometheus.monitoring:9090", "activationQuery": "sum(waiting{n=\"$namespace/$name\",m=\"$model\"})"}}`,
			want: map[string]any{
				nameAutoscaler + " spec": nil,
				nameScaledObject + " spec.forProvider.manifest.spec.minReplicaCount": float64(0),
				nameScaledObject + " spec.forProvider.manifest.spec.triggers": []any{
					map[string]any{"type": "prometheus", "metricType": "AverageValue", "metadata": map[string]any{
						"serverAddress": "http://prometheus.monitoring:9090", "threshold": "5",
						"query": `sum(vllm:num_requests_waiting{namespace="team-a",pod=~"chat-[a-z0-9]+-?[a-z0-9]{5}",priority=""})`,
					}},
					map[string]any{"type": "prometheus", "metricType": "AverageValue", "metadata": map[string]any{
						"serverAddress": "http://prometheus.monitoring:9090", "threshold": "5", "query": `sum(waiting{n="team-a/chat",m="Qwen/Qwen3-8B"})`,
					}},
				},
			},
		},
		"AutoscalingHPA": {
			reason: "Kubernetes' own autoscaler is there by its name, too.",
			spec:   `{"spec": {"scaling": {"maxReplicas": 3}}}`,
			input:  `{"autoscaling": {"autoscaler": "HorizontalPodAutoscaler"}}`,
			want: map[string]any{
				nameScaledObject + " spec":                                     nil,
				nameAutoscaler + " spec.forProvider.manifest.spec.maxReplicas": float64(3),
			},
		},
		"Monitoring": {
			reason: "By these labels Prometheus and Grafana find what an endpoint brings.",
			spec:   `{"spec": {"monitoring": {"enabled": true}, "security": {"networkPolicy": {"enabled": true}}}}`,
			input:  `{"monitoring": {"labels": {"release": "prom"}, "dashboardLabels": {"dash": "yes"}, "scrapeFrom": [{"namespaceSelector": {}}]}}`,
			want: map[string]any{
				nameServiceMonitor + " spec.forProvider.manifest.metadata.labels.release":                      "prom",
				"alerts-object spec.forProvider.manifest.metadata.labels.release":                              "prom",
				"dashboard-object spec.forProvider.manifest.metadata.labels.dash":                              "yes",
				"dashboard-object spec.forProvider.manifest.metadata.labels.grafana_dashboard":                 nil,
				"networkpolicy-object spec.forProvider.manifest.spec.ingress[0].from":                          []any{map[string]any{"namespaceSelector": map[string]any{}}},
				nameDeployment + " spec.forProvider.manifest.spec.template.metadata.labels.release":            nil,
				nameServiceMonitor + " spec.forProvider.manifest.metadata.labels[aim.engine.amd.com/endpoint]": "chat",
			},
		},
		"RouteGateway": {
			reason: "A hostname is all that a user needs to know.",
			spec:   `{"spec": {"service": {"route": {"hostname": "llm.example.org"}}}}`,
			input:  `{"route": {"gateway": {"name": "public", "namespace": "gateways", "sectionName": "https"}}}`,
			want: map[string]any{
				nameHTTPRoute + " spec.forProvider.manifest.spec.hostnames": []any{"llm.example.org"},
				nameHTTPRoute + " spec.forProvider.manifest.spec.parentRefs": []any{map[string]any{
					"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public", "namespace": "gateways", "sectionName": "https",
				}},
				"ingress-object spec": nil,
			},
		},
		"RouteIngress": {
			reason: "A hostname is all that a user needs to know.",
			spec:   `{"spec": {"service": {"route": {"hostname": "llm.example.org"}}}}`,
			input:  `{"route": {"ingressClass": "nginx"}}`,
			want: map[string]any{
				"ingress-object spec.forProvider.manifest.spec.ingressClassName": "nginx",
				nameHTTPRoute + " spec": nil,
			},
		},
		"RouteOfNobody": {
			reason: "How endpoints are reached is no reason to have them reached.",
			input:  `{"route": {"gateway": {"name": "public"}}}`,
			want:   map[string]any{nameHTTPRoute + " spec": nil, "ingress-object spec": nil},
		},
		"SecurityOfAll": {
			reason: "A platform may isolate all endpoints, run them as an account of its own, and ask for a key.",
			input: `{"security": {
				"serviceAccount": {"create": true}, "apiKeySecretRef": {"name": "keys", "key": "all"},
				"networkPolicy": {"enabled": true, "allowFrom": [{"namespaceSelector": {"matchLabels": {"team": "web"}}}]}
			}}`,
			want: map[string]any{
				pathPod + "serviceAccountName":                                  "chat",
				"serviceaccount-object spec.forProvider.manifest.metadata.name": "chat",
				"networkpolicy-object spec.forProvider.manifest.spec.ingress[0].from": []any{
					map[string]any{"namespaceSelector": map[string]any{"matchLabels": map[string]any{"team": "web"}}},
				},
				pathContainer + "env[6]": map[string]any{"name": "VLLM_API_KEY", "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": "keys", "key": "all"}}},
			},
		},
		"SecurityOfEndpoint": {
			reason: "Who the server runs as is the endpoint's to say, if it says so. Which groups own the devices is a fact of the nodes.",
			spec:   `{"spec": {"security": {"podSecurityContext": {"runAsUser": 0}}}}`,
			input:  `{"security": {"podSecurityContext": {"runAsUser": 1000}, "supplementalGroups": [109]}}`,
			want: map[string]any{
				pathPod + "securityContext": map[string]any{
					"runAsUser": float64(0), "supplementalGroups": []any{float64(109)},
					"seccompProfile": map[string]any{"type": "RuntimeDefault"},
				},
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(patches(tc.spec)...)
			w.cluster = definitions()
			w.input = resource.MustStructJSON(tc.input)
			rsp := w.reconcile(t)

			paved := map[string]*fieldpath.Paved{"xr": fieldpath.Pave(rsp.GetDesired().GetComposite().GetResource().AsMap())}
			for n, r := range rsp.GetDesired().GetResources() {
				paved[n] = fieldpath.Pave(r.GetResource().AsMap())
			}
			got := map[string]any{}
			for k := range tc.want {
				n, path := cut(k)
				got[k] = nil
				if p, ok := paved[n]; ok {
					got[k], _ = p.GetValue(path)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestInvalidInput makes sure that a mistake of the platform team's is told of,
// with the field that it is in. Crossplane checks an input against no schema.
func TestInvalidInput(t *testing.T) {
	// What Kubernetes says of names and of labels.
	const (
		subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character " +
			"(e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
		labelValue = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character " +
			"(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
	)
	cases := map[string]struct {
		reason string
		input  string
		want   string
	}{
		"WrongType": {
			reason: "It cannot even be read.",
			input:  `{"inventory": "lots"}`,
			want:   `cannot unmarshal from JSON: json: cannot unmarshal string into Go struct field Input.inventory of type []v1beta1.InventoryItem`,
		},
		"UnknownField": {
			reason: "A misspelt field would be without any effect.",
			input:  `{"inventroy": []}`,
			want:   `unknown field "inventroy"`,
		},
		"UnknownHardware": {
			reason: "No recipe would ever match it.",
			input:  `{"inventory": [{"hardware": "MI300X", "gpusPerNode": 8}, {"hardware": "H100", "gpusPerNode": 8}]}`,
			want:   `invalid: inventory[1].hardware: Unsupported value: "H100": supported values: "MI210", "MI250", "MI300X", "MI325X", "MI350X", "MI355X"`,
		},
		"NoGPUs": {
			reason: "A node without GPUs is not worth listing.",
			input:  `{"inventory": [{"hardware": "MI300X", "gpusPerNode": 0}]}`,
			want:   `invalid: inventory[0].gpusPerNode: Invalid value: 0: must be at least 1`,
		},
		"AgentImage": {
			reason: "No pod could have such an image.",
			input:  `{"agentImage": "localhost:5000/function-aim :v1"}`,
			want:   `invalid: agentImage: Invalid value: "localhost:5000/function-aim :v1": must be an image with its tag or digest`,
		},
		"AgentEnv": {
			reason: "No pod could have such a variable.",
			input:  `{"agentEnv": [{"name": "HTTPS_PROXY", "value": "a"}, {"name": "A=B", "value": "c"}]}`,
			want: `invalid: agentEnv[1].name: Invalid value: "A=B" is no name of an environment variable: a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', ` +
				`and must not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')`,
		},
		"AgentPullSecrets": {
			reason: "No Secret could have such a name.",
			input:  `{"agentPullSecrets": ["registry", "Registry"]}`,
			want:   `invalid: agentPullSecrets[1]: Invalid value: "Registry": ` + subdomain,
		},
		"UnknownBackend": {
			reason: "The image would never be used.",
			input:  `{"images": [{"backend": "tgi", "image": "localhost/tgi:1"}]}`,
			want:   `invalid: images[0].backend: Invalid value: "tgi": there is no such backend`,
		},
		"SeveralMistakes": {
			reason: "All of them should be told at once.",
			input:  `{"gpuResourceName": "gpu", "podDiagnosis": "Never"}`,
			want:   `invalid: [gpuResourceName: Invalid value: "gpu": must be the name of an extended resource, such as amd.com/gpu, podDiagnosis: Unsupported value: "Never": supported values: "Enabled", "Disabled"]`,
		},
		"ClusterName": {
			reason: "A ProviderConfig has a name that can be one.",
			input:  `{"clusters": [{"providerConfigName": "Paris"}]}`,
			want:   `invalid: clusters[0].providerConfigName: Invalid value: "Paris": ` + subdomain,
		},
		"ClusterTwice": {
			reason: "Of two descriptions one would be without any effect.",
			input:  `{"clusters": [{"providerConfigName": "paris"}, {"providerConfigName": "oslo"}, {"providerConfigName": "paris"}]}`,
			want:   `invalid: clusters[2].providerConfigName: Duplicate value: "paris"`,
		},
		"ClusterInventory": {
			reason: "A cluster's inventory is checked like the platform's own.",
			input:  `{"clusters": [{"providerConfigName": "paris", "inventory": [{"hardware": "MI300X", "gpusPerNode": 0}]}]}`,
			want:   `invalid: clusters[0].inventory[0].gpusPerNode: Invalid value: 0: must be at least 1`,
		},
		"ClusterAPIs": {
			reason: "A misspelt kind would never be used.",
			input:  `{"clusters": [{"providerConfigName": "paris", "apis": ["HTTPRoute", "PodMonitor"]}]}`,
			want:   `invalid: clusters[0].apis[1]: Unsupported value: "PodMonitor": supported values: "HTTPRoute", "PrometheusRule", "ScaledObject", "ServiceMonitor"`,
		},
		"Autoscaler": {
			reason: "There are two of them.",
			input:  `{"autoscaling": {"autoscaler": "Keda"}}`,
			want:   `invalid: autoscaling.autoscaler: Unsupported value: "Keda": supported values: "HorizontalPodAutoscaler", "KEDA"`,
		},
		"KEDAWithoutPrometheus": {
			reason: "KEDA would have nobody to ask.",
			input:  `{"autoscaling": {"autoscaler": "KEDA"}}`,
			want:   `invalid: autoscaling.prometheusAddress: Required value: KEDA asks it for what engines measure: set it to the URL of Prometheus`,
		},
		"PrometheusAddress": {
			reason: "An address without a scheme is none.",
			input:  `{"autoscaling": {"autoscaler": "KEDA", "prometheusAddress": "prometheus.monitoring"}}`,
			want:   `invalid: autoscaling.prometheusAddress: Invalid value: "prometheus.monitoring": must be a URL such as http://prometheus.monitoring:9090`,
		},
		"MonitoringLabels": {
			reason: "The API server would refuse the ServiceMonitor.",
			input:  `{"monitoring": {"labels": {"release": "my prom"}}}`,
			want:   `invalid: monitoring.labels: Invalid value: "my prom": ` + labelValue,
		},
		"DashboardLabels": {
			reason: "The API server would refuse the dashboard.",
			input:  `{"monitoring": {"dashboardLabels": {"grafana_dashboard": "a b"}}}`,
			want:   `invalid: monitoring.dashboardLabels: Invalid value: "a b": ` + labelValue,
		},
		"ScrapeFrom": {
			reason: "The API server would refuse the NetworkPolicy.",
			input:  `{"monitoring": {"scrapeFrom": [{}]}}`,
			want:   `invalid: monitoring.scrapeFrom[0]: Required value: must hold a podSelector, a namespaceSelector or an ipBlock`,
		},
		"RouteBoth": {
			reason: "A route leads through one of them.",
			input:  `{"route": {"gateway": {"name": "public"}, "ingressClass": "nginx"}}`,
			want:   `invalid: route.ingressClass: Forbidden: must not be set together with gateway`,
		},
		"RouteGateway": {
			reason: "All names should be told of at once, in one order.",
			input:  `{"route": {"gateway": {"name": "", "namespace": "Gate ways", "sectionName": "HTTPS"}}}`,
			want: `invalid: [route.gateway.name: Invalid value: "": ` + subdomain + `, route.gateway.namespace: Invalid value: "Gate ways": ` + subdomain +
				`, route.gateway.sectionName: Invalid value: "HTTPS": ` + subdomain + `]`,
		},
		"RouteIngressClass": {
			reason: "An IngressClass has a name that can be one.",
			input:  `{"route": {"ingressClass": "Nginx"}}`,
			want:   `invalid: route.ingressClass: Invalid value: "Nginx": ` + subdomain,
		},
		"SecurityIDs": {
			reason: "Kubernetes takes no others.",
			input:  `{"security": {"podSecurityContext": {"runAsUser": -1, "fsGroup": 2147483648}, "supplementalGroups": [44, -2]}}`,
			want: `invalid: [security.supplementalGroups[1]: Invalid value: -2: must be 0 to 2147483647, security.podSecurityContext.runAsUser: Invalid value: -1: must be 0 to 2147483647, ` +
				`security.podSecurityContext.fsGroup: Invalid value: 2147483648: must be 0 to 2147483647]`,
		},
		"SecurityServiceAccount": {
			reason: "A ServiceAccount has a name that can be one.",
			input:  `{"security": {"serviceAccount": {"name": "My_Account"}}}`,
			want:   `invalid: security.serviceAccount.name: Invalid value: "My_Account": ` + subdomain,
		},
		"SecurityAPIKey": {
			reason: "A key is in a Secret, under a name.",
			input:  `{"security": {"apiKeySecretRef": {"name": "keys", "key": ""}}}`,
			want:   `invalid: security.apiKeySecretRef: Required value: must name a Secret and a key of it`,
		},
		"SecurityNetworkPolicy": {
			reason: "The API server would refuse the NetworkPolicy.",
			input:  `{"security": {"networkPolicy": {"enabled": true, "allowFrom": [{"ipBlock": {"cidr": "all"}}]}}}`,
			want:   `invalid: security.networkPolicy.allowFrom[0].ipBlock.cidr: Invalid value: "all": must be a range of addresses such as 10.0.0.0/8`,
		},
		"Toleration": {
			reason: "The API server would refuse the Deployment.",
			input:  `{"tolerations": [{"operator": "Equal", "value": "x"}]}`,
			want:   `invalid: tolerations[0].key: Required value: operator must be Exists when there is no key`,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.input = resource.MustStructJSON(tc.input)
			rsp := run(t, w.request())
			want := []string{"FATAL : cannot use the input of this pipeline step: " + tc.want + " (not on the claim)"}
			if diff := cmp.Diff(want, digestOf(rsp).Results); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want results, +got results:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestContext is about what later steps of the pipeline can know.
func TestContext(t *testing.T) {
	want := map[string]any{
		"name": "qwen3-8b-mi300x-bfloat16-vllm", "model": "Qwen/Qwen3-8B",
		"hardware": "MI300X", "gpuCount": float64(1), "precision": "bfloat16", "backend": "vllm",
		"image": "vllm/vllm-openai-rocm:v0.22.1",
	}
	got := runningWorld(t).reconcile(t).GetContext().GetFields()[contextSelectedRecipe].GetStructValue().AsMap()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("f.RunFunction(...): -want selected recipe, +got selected recipe:\n%s", diff)
	}
}

// TestContextImage makes sure that later steps know of the image that runs.
func TestContextImage(t *testing.T) {
	w := newWorld(`{"spec": {"image": {"repository": "localhost/vllm", "tag": "2"}}}`)
	got := w.reconcile(t).GetContext().GetFields()[contextSelectedRecipe].GetStructValue().AsMap()["image"]
	if diff := cmp.Diff("localhost/vllm:2", got); diff != "" {
		t.Errorf("f.RunFunction(...): -want image, +got image:\n%s", diff)
	}
}

// TestSecrets makes sure that Secrets stay references: what is secret is
// neither ours to read nor to write down.
func TestSecrets(t *testing.T) {
	w := newWorld(`{"spec": {"hfTokenSecretRef": {"name": "hf", "key": "token"}, "image": {"pullSecrets": ["pull"]}}}`)
	p := fieldpath.Pave(w.reconcile(t).GetDesired().GetResources()[nameDeployment].GetResource().AsMap())
	pod := "spec.forProvider.manifest.spec.template.spec."

	env, err := p.GetValue(pod + "containers[0].env")
	if err != nil {
		t.Fatal(err)
	}
	token := map[string]any{"name": "HF_TOKEN", "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": "hf", "key": "token"}}}
	vars := env.([]any)
	if diff := cmp.Diff(token, vars[len(vars)-1]); diff != "" {
		t.Errorf("-want variable, +got variable:\n%s", diff)
	}
	pull, err := p.GetValue(pod + "imagePullSecrets")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{map[string]any{"name": "pull"}}, pull); diff != "" {
		t.Errorf("-want pull secrets, +got pull secrets:\n%s", diff)
	}
}

// TestSecretsOfSGLang makes sure that a key which an engine takes as an argument
// is one of Kubernetes' references there, and nowhere anything else.
func TestSecretsOfSGLang(t *testing.T) {
	w := newWorld(`{"spec": {"recipe": {"backend": "sglang"}, "security": {"apiKeySecretRef": {"name": "keys", "key": "chat"}}}}`)
	p := fieldpath.Pave(composed(w.reconcile(t), nameDeployment).AsMap())
	container := "spec.forProvider.manifest.spec.template.spec.containers[0]."
	args, err := p.GetStringArray(container + "args")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"--api-key", "$(SGLANG_API_KEY)"}, args[len(args)-2:]); diff != "" {
		t.Errorf("-want arguments, +got arguments:\n%s", diff)
	}
	env, err := p.GetValue(container + "env")
	if err != nil {
		t.Fatal(err)
	}
	vars := env.([]any)
	key := map[string]any{"name": "SGLANG_API_KEY", "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": "keys", "key": "chat"}}}
	if diff := cmp.Diff(key, vars[len(vars)-1]); diff != "" {
		t.Errorf("-want variable, +got variable:\n%s", diff)
	}
}

// TestProblems makes sure that a mistake that the schema lets through is told
// of, and touches nothing that runs.
func TestProblems(t *testing.T) {
	const mistake = `{"spec": {"deployment": {"extraArgs": ["--max-modal-len", "8192"], "tolerations": [{"operator": "Equal"}]}}}`
	const told = "WorkloadReady=FALSE ApplyFailed: spec.deployment.extraArgs: --max-modal-len is no flag of vLLM: remove it, or did you mean --max-model-len?; " +
		"spec.deployment.tolerations[0].key: Required value: operator must be Exists when there is no key; until then all stays as it is"

	fresh := newWorld(mistake).reconcile(t)
	if diff := cmp.Diff(digest{Ready: "FALSE", Conditions: []string{condSelected, told}, Results: nil, Connection: nil}, digestOf(fresh)); diff != "" {
		t.Errorf("Nothing is made of a mistake: -want, +got:\n%s", diff)
	}

	w := runningWorld(t)
	before := w.reconcile(t)
	w.xr = merged(w.xr, mistake)
	after := w.reconcile(t)
	for n, r := range before.GetDesired().GetResources() {
		if diff := cmp.Diff(at(r.GetResource(), "spec"), at(composed(after, n), "spec"), protocmp.Transform()); diff != "" {
			t.Errorf("%s must stay as it is: -before, +after:\n%s", n, diff)
		}
	}
	if diff := cmp.Diff(told, condition(after, "WorkloadReady")); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if diff := cmp.Diff("Degraded", at(statusOf(after), "phase").GetStringValue()); diff != "" {
		t.Errorf("It serves on: -want phase, +got phase:\n%s", diff)
	}
}
