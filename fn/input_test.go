package main

import (
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/fieldpath"
	"github.com/crossplane/function-sdk-go/resource"
	"github.com/google/go-cmp/cmp"
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
