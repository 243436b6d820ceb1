package schema

import (
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

const minimalRecipe = `{modelId: Qwen/Qwen3-32B, hardware: MI300X, precision: bfloat16, backend: vllm, configurations: [{gpuCount: 1}]}`

func acceptedRecipes() map[string]acceptedSample {
	return map[string]acceptedSample{
		"Minimal": {
			reason: "Little must be said.",
			spec:   minimalRecipe,
			want:   `{modelId: Qwen/Qwen3-32B, hardware: MI300X, precision: bfloat16, backend: vllm, priority: 0, configurations: [{gpuCount: 1, enabled: true}]}`,
		},
		"OfTheEarlierOperator": {
			reason: "Recipes of the earlier operator should apply as they are.",
			spec: `
modelId: Qwen/Qwen3-32B
hardware: MI300X
precision: float8
backend: sglang
description: As it was.
configurations:
- gpuCount: 2
  enabled: false
  args: [--trust-remote-code, "true"]
  env:
  - {name: A, value: "1"}
  - {name: B, valueFrom: {secretKeyRef: {name: s, key: k}}}
  - {name: C, valueFrom: {configMapKeyRef: {name: c, key: k, optional: true}}}
  - {name: D, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
  - {name: E, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
  resources:
    requests: {cpu: "8", memory: 64Gi, amd.com/gpu: "2"}
    limits: {cpu: 16, memory: 128Gi, amd.com/gpu: 2}
- gpuCount: 4
performance: {expectedTokensPerSecond: 100, expectedLatencyMs: 20, maxBatchSize: 8}
`,
			want: `
modelId: Qwen/Qwen3-32B
hardware: MI300X
precision: float8
backend: sglang
description: As it was.
priority: 0
configurations:
- gpuCount: 2
  enabled: false
  args: [--trust-remote-code, "true"]
  env:
  - {name: A, value: "1"}
  - {name: B, valueFrom: {secretKeyRef: {name: s, key: k}}}
  - {name: C, valueFrom: {configMapKeyRef: {name: c, key: k, optional: true}}}
  - {name: D, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
  - {name: E, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
  resources:
    requests: {cpu: "8", memory: 64Gi, amd.com/gpu: "2"}
    limits: {cpu: 16, memory: 128Gi, amd.com/gpu: 2}
- {gpuCount: 4, enabled: true}
performance: {expectedTokensPerSecond: 100, expectedLatencyMs: 20, maxBatchSize: 8}
`,
		},
		"Everything": {
			reason: "So should all that came later.",
			spec: `
modelId: example/model
hardware: MI355X
precision: fp8
backend: vllm
priority: -5
image: {repository: "localhost:5000/vllm", tag: v1}
configurations:
- {gpuCount: 8, performance: {expectedTokensPerSecond: 5}}
modelFacts: {parametersBillion: 7.5, layers: 32, kvHeads: 8, attentionHeads: 32, headDim: 128, kvBytesPerToken: 131072, maxContextLength: 32768, weightsGiB: 8}
`,
			want: `
modelId: example/model
hardware: MI355X
precision: fp8
backend: vllm
priority: -5
image: {repository: "localhost:5000/vllm", tag: v1}
configurations:
- {gpuCount: 8, enabled: true, performance: {expectedTokensPerSecond: 5}}
modelFacts: {parametersBillion: 7.5, layers: 32, kvHeads: 8, attentionHeads: 32, headDim: 128, kvBytesPerToken: 131072, maxContextLength: 32768, weightsGiB: 8}
`,
		},
	}
}

func rejectedRecipes() map[string]rejectedSample {
	with := func(configurations string) string {
		return `{modelId: a/b, hardware: MI300X, precision: bfloat16, backend: vllm, configurations: ` + configurations + `}`
	}
	return map[string]rejectedSample{
		"NoConfiguration": {
			reason: "A recipe without a configuration could never be chosen.",
			spec:   with(`[]`),
			want:   []string{"spec.configurations: Invalid value: must hold at least one configuration that is enabled: add one, or set enabled to true"},
		},
		"NoneEnabled": {
			reason: "Nor could one without an enabled one.",
			spec:   with(`[{gpuCount: 1, enabled: false}]`),
			want:   []string{"spec.configurations: Invalid value: must hold at least one configuration that is enabled: add one, or set enabled to true"},
		},
		"TwiceTheCount": {
			reason: "Two configurations for one count would be ambiguous.",
			spec:   with(`[{gpuCount: 1}, {gpuCount: 1}]`),
			want:   []string{`spec.configurations[1]: Duplicate value: {"gpuCount":1}`},
		},
		"NineGPUs": {
			reason: "No node has nine GPUs.",
			spec:   with(`[{gpuCount: 9}]`),
			want:   []string{"spec.configurations[0].gpuCount: Invalid value: 9: must be 1 to 8: a replica runs on the GPUs of one node"},
		},
		"ModelWithoutOrg": {
			reason: "Ids have two parts.",
			spec:   `{modelId: qwen3, hardware: MI300X, precision: bfloat16, backend: vllm, configurations: [{gpuCount: 1}]}`,
			want:   []string{"spec.modelId: Invalid value: \"qwen3\": must be a Hugging Face model id of the form org/name, such as Qwen/Qwen3-32B"},
		},
		"OtherHardware": {
			reason: "Hardware that nobody knows is a mistake.",
			spec:   `{modelId: a/b, hardware: H100, precision: bfloat16, backend: vllm, configurations: [{gpuCount: 1}]}`,
			want:   []string{`spec.hardware: Unsupported value: "H100": supported values: "MI300X", "MI325X", "MI355X", "MI350X", "MI250", "MI210"`},
		},
		"EmptyImage": {
			reason: "An image must say something.",
			spec:   `{modelId: a/b, hardware: MI300X, precision: bfloat16, backend: vllm, image: {}, configurations: [{gpuCount: 1}]}`,
			want:   []string{"spec.image: Invalid value: must have a repository, a tag, or both"},
		},
		"NoParameters": {
			reason: "A model has parameters.",
			spec:   `{modelId: a/b, hardware: MI300X, precision: bfloat16, backend: vllm, modelFacts: {parametersBillion: 0}, configurations: [{gpuCount: 1}]}`,
			want:   []string{"spec.modelFacts.parametersBillion: Invalid value: 0: must be above 0"},
		},
	}
}

// fullRecipeStatus is a status with all that the function may report.
func fullRecipeStatus() v1alpha1.AIMRecipeStatus {
	finding := []v1alpha1.RecipeFinding{{Severity: "Warning", Path: "spec.configurations[0].args", Message: "m"}}
	return v1alpha1.AIMRecipeStatus{
		Phase:              v1alpha1.RecipeReady,
		ObservedGeneration: 2,
		Usage:              &v1alpha1.RecipeUsage{EndpointCount: 3},
		Configurations: []v1alpha1.RecipeConfigurationStatus{{
			GPUCount: 1, Enabled: true, Fits: ptr.To(true), RequiredGiBPerGPU: "10.0", AvailableGiBPerGPU: "170.0",
			Command: []string{"vllm", "serve", "a/b"}, Findings: finding,
		}},
		Findings: finding,
	}
}
