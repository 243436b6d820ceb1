package recipe

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/model"
)

const (
	severityError   = "Error"
	severityWarning = "Warning"
)

// mi210 has little memory, no float8 and no image of SGLang.
const mi210 v1alpha1.Hardware = "MI210"

// secret that must not be in any finding.
const secret = "hf_ThisMustNotBeSeen"

// TestCompileOperatorRecipe compiles the example as it is.
func TestCompileOperatorRecipe(t *testing.T) {
	b, err := os.ReadFile("../../examples/recipe-operator/recipe.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := v1alpha1.AIMRecipe{}
	if err := yaml.UnmarshalStrict(b, &r); err != nil {
		t.Fatal(err)
	}
	facts, ok, err := model.Lookup(r.Spec.ModelID)
	if !ok || err != nil {
		t.Fatalf("model.Lookup(%q): %t, %v", r.Spec.ModelID, ok, err)
	}
	got := Compile(Reference{Namespace: r.GetNamespace(), Name: r.GetName()}, r.Spec, &facts)

	const args = "spec.configurations[0].args"
	want := Compiled{
		Recipe: Recipe{
			Name: "qwen3-8b-mi300x-bf16-vllm", Namespace: "default",
			Model: "Qwen/Qwen3-8B", Hardware: "MI300X", Precision: "bfloat16", Backend: "vllm",
			Configurations: []Configuration{{
				GPUCount: 1,
				Args:     []string{"--dtype", "bfloat16", "--trust-remote-code", "--max-model-len", "32768", "--gpu-memory-utilization", "0.9"},
				Env:      []corev1.EnvVar{fromSecret("HF_TOKEN", "hf-token", "token")},
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{"cpu": resource.MustParse("8"), "memory": resource.MustParse("64Gi")},
					Limits:   corev1.ResourceList{"cpu": resource.MustParse("16"), "memory": resource.MustParse("128Gi")},
				},
				Performance: Performance{TokensPerSecond: 2000, LatencyMs: 100, MaxBatchSize: 256},
			}},
		},
		Configurations: []v1alpha1.RecipeConfigurationStatus{
			{
				GPUCount: 1, Enabled: true, Fits: ptr.To(true), RequiredGiBPerGPU: "23.1", AvailableGiBPerGPU: "172.8",
				Command: []string{
					"vllm", "serve", "Qwen/Qwen3-8B", "--served-model-name", "Qwen/Qwen3-8B", "--tensor-parallel-size", "1",
					"--dtype", "bfloat16", "--trust-remote-code", "--max-model-len", "32768", "--gpu-memory-utilization", "0.9", "--host", "0.0.0.0", "--port", "8000",
				},
				Findings: []v1alpha1.RecipeFinding{
					{Severity: severityWarning, Path: args, Message: `"--trust-remote-code true": takes no value: written --trust-remote-code`},
					{Severity: severityWarning, Path: args, Message: `"--swap-space 16": is gone from vLLM: removed`},
					{Severity: severityWarning, Path: args, Message: `"--disable-log-requests": is gone from vLLM: removed, requests are not logged unless --enable-log-requests is set`},
				},
			},
			{
				GPUCount: 8, Fits: ptr.To(true), RequiredGiBPerGPU: "5.0", AvailableGiBPerGPU: "172.8",
				Command: []string{"vllm", "serve", "Qwen/Qwen3-8B", "--served-model-name", "Qwen/Qwen3-8B", "--tensor-parallel-size", "8", "--host", "0.0.0.0", "--port", "8000"},
			},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\nA recipe of the earlier operator should be usable as it is, and say what was mended.\nCompile(...): -want, +got:\n%s", diff)
	}
}

func fromSecret(name, secret, key string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: key,
	}}}
}

// specOf a recipe in which there is nothing to find, with changes.
func specOf(change ...func(s *v1alpha1.AIMRecipeSpec)) v1alpha1.AIMRecipeSpec {
	s := v1alpha1.AIMRecipeSpec{
		ModelID: testModel, Hardware: "MI300X", Precision: "bfloat16", Backend: "vllm",
		Configurations: []v1alpha1.RecipeConfiguration{{GPUCount: 1}},
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

// first configuration of a recipe, changed.
func first(change func(c *v1alpha1.RecipeConfiguration)) func(s *v1alpha1.AIMRecipeSpec) {
	return func(s *v1alpha1.AIMRecipeSpec) { change(&s.Configurations[0]) }
}

func env(vars ...corev1.EnvVar) func(s *v1alpha1.AIMRecipeSpec) {
	return first(func(c *v1alpha1.RecipeConfiguration) { c.Env = vars })
}

func resources(requests, limits map[corev1.ResourceName]string) func(s *v1alpha1.AIMRecipeSpec) {
	list := func(m map[corev1.ResourceName]string) corev1.ResourceList {
		out := corev1.ResourceList{}
		for n, q := range m {
			out[n] = resource.MustParse(q)
		}
		return out
	}
	return first(func(c *v1alpha1.RecipeConfiguration) {
		c.Resources = &v1alpha1.RecipeResources{Requests: list(requests), Limits: list(limits)}
	})
}

func modelFacts(f v1alpha1.ModelFacts) func(s *v1alpha1.AIMRecipeSpec) {
	return func(s *v1alpha1.AIMRecipeSpec) { s.ModelFacts = &f }
}

func TestCompileFindings(t *testing.T) {
	type finding = v1alpha1.RecipeFinding
	type want struct {
		// findings of the recipe, and of its configurations.
		findings []finding
		// choosable are the GPU counts that endpoints can choose.
		choosable []int32
		// fits says whether each configuration does.
		fits []*bool
	}
	yes, no := ptr.To(true), ptr.To(false)
	const (
		cfg      = "spec.configurations[0]"
		requests = cfg + ".resources.requests"
		limits   = cfg + ".resources.limits"
		notAName = `"A=B" is no name of an environment variable: a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', ` +
			`and must not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')`
	)

	cases := map[string]struct {
		reason string
		spec   v1alpha1.AIMRecipeSpec
		facts  *model.Facts
		want   want
	}{
		"Good": {
			reason: "There is nothing to find in a good recipe.",
			spec:   specOf(), facts: testFacts(),
			want: want{choosable: []int32{1}, fits: []*bool{yes}},
		},
		"Float8OnMI210": {
			reason: "Hardware that does not run a precision never will, so the recipe is told once.",
			spec: specOf(func(s *v1alpha1.AIMRecipeSpec) {
				s.Hardware, s.Precision = mi210, "fp8"
				s.Configurations = []v1alpha1.RecipeConfiguration{{GPUCount: 1}, {GPUCount: 2}}
			}), facts: testFacts(),
			want: want{
				findings:  []finding{{Severity: severityError, Path: "spec.precision", Message: "MI210 (gfx90a) does not run precision float8"}},
				choosable: []int32{1, 2}, fits: []*bool{yes, yes},
			},
		},
		"UnknownHardware": {
			reason: "The schema does not let it in, but another version of it may.",
			spec:   specOf(func(s *v1alpha1.AIMRecipeSpec) { s.Hardware = "MI100" }), facts: testFacts(),
			want: want{
				findings:  []finding{{Severity: severityError, Path: "spec.hardware", Message: "hardware MI100 is not known"}},
				choosable: []int32{1}, fits: []*bool{nil},
			},
		},
		"SGLangOnMI210": {
			reason: "There is no image of SGLang for it, and its author should hear what to do.",
			spec: specOf(func(s *v1alpha1.AIMRecipeSpec) {
				s.Hardware, s.Backend = mi210, "sglang"
				s.Configurations[0].GPUCount = 2
			}), facts: testFacts(),
			want: want{
				findings:  []finding{{Severity: severityError, Path: "spec.backend", Message: "there is no image of sglang for MI210 (gfx90a); choose another backend or hardware, or bring your own image: its repository and its tag"}},
				choosable: []int32{2}, fits: []*bool{yes},
			},
		},
		"SGLangOnMI210WithTag": {
			reason: "A tag alone is of an image that there is not.",
			spec: specOf(func(s *v1alpha1.AIMRecipeSpec) {
				s.Hardware, s.Backend, s.Image = mi210, "sglang", &v1alpha1.RecipeImage{Tag: "gfx90a"}
				s.Configurations[0].GPUCount = 2
			}), facts: testFacts(),
			want: want{
				findings:  []finding{{Severity: severityError, Path: "spec.backend", Message: "there is no image of sglang for MI210 (gfx90a); choose another backend or hardware, or bring your own image: its repository and its tag"}},
				choosable: []int32{2}, fits: []*bool{yes},
			},
		},
		"SGLangOnMI210WithImage": {
			reason: "Whoever brings their own image knows what it runs on.",
			spec: specOf(func(s *v1alpha1.AIMRecipeSpec) {
				s.Hardware, s.Backend, s.Image = mi210, "sglang", &v1alpha1.RecipeImage{Repository: "localhost:5000/sglang", Tag: "gfx90a"}
				s.Configurations[0].GPUCount = 2
			}), facts: testFacts(),
			want: want{choosable: []int32{2}, fits: []*bool{yes}},
		},
		"UnknownFlag": {
			reason: "The engine would not start.",
			spec:   specOf(first(func(c *v1alpha1.RecipeConfiguration) { c.Args = []string{"--max-model-len", "1024", "--frobnicate"} })), facts: testFacts(),
			want: want{
				findings:  []finding{{Severity: severityError, Path: cfg + ".args", Message: `"--frobnicate": is no flag of vLLM: remove it`}},
				choosable: []int32{1}, fits: []*bool{yes},
			},
		},
		"UnknownFlagOfOwnImage": {
			reason: "Another version of the engine may know it. A tag alone makes it another version.",
			spec: specOf(first(func(c *v1alpha1.RecipeConfiguration) { c.Args = []string{"--frobnicate"} }),
				func(s *v1alpha1.AIMRecipeSpec) { s.Image = &v1alpha1.RecipeImage{Tag: "v9"} }), facts: testFacts(),
			want: want{
				findings:  []finding{{Severity: severityWarning, Path: cfg + ".args", Message: `"--frobnicate": is not known to this version's table, and is passed on as it is`}},
				choosable: []int32{1}, fits: []*bool{yes},
			},
		},
		"HeadsDoNotDivide": {
			reason: "The engine would not start, on whatever hardware.",
			spec:   specOf(first(func(c *v1alpha1.RecipeConfiguration) { c.GPUCount = 3 })), facts: testFacts(),
			want: want{
				findings:  []finding{{Severity: severityError, Path: cfg + ".gpuCount", Message: "64 attention heads and 8 key-value heads cannot be split over 3 GPUs"}},
				choosable: []int32{3}, fits: []*bool{yes},
			},
		},
		"DoesNotFit": {
			reason: "An endpoint can skip the check, so it can be chosen all the same.",
			spec:   specOf(func(s *v1alpha1.AIMRecipeSpec) { s.Hardware = mi210 }), facts: testFacts(),
			want: want{
				findings:  []finding{{Severity: severityWarning, Path: cfg + ".gpuCount", Message: "1 GPU is not enough: 60.0 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 74.6 GiB per GPU > 57.6 GiB usable of 64 GiB on MI210; the smallest count that fits is 2"}},
				choosable: []int32{1}, fits: []*bool{no},
			},
		},
		"FitsWithItsOwnArgs": {
			reason: "What the arguments say of length and memory counts, after they were mended.",
			spec: specOf(func(s *v1alpha1.AIMRecipeSpec) { s.Hardware, s.Precision = mi210, "int4" },
				first(func(c *v1alpha1.RecipeConfiguration) {
					c.Args = []string{"--max_model_len=32768", "--gpu_memory_utilization 0.4"}
				})), facts: changed(testFacts(), func(f *model.Facts) { f.Checkpoint = "int4" }),
			want: want{
				findings: []finding{
					{Severity: severityWarning, Path: cfg + ".args", Message: `"--gpu_memory_utilization 0.4": holds several arguments in one: split`},
					{Severity: severityWarning, Path: cfg + ".gpuCount", Message: "1 GPU is not enough: 16.0 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 27.4 GiB per GPU > 25.6 GiB usable of 64 GiB on MI210; the smallest count that fits is 2"},
				},
				choosable: []int32{1}, fits: []*bool{no},
			},
		},
		"FactsUnknown": {
			reason: "What is not known is not checked, rather than guessed.",
			spec:   specOf(),
			want:   want{choosable: []int32{1}, fits: []*bool{nil}},
		},
		"FactsOfTheRecipe": {
			reason: "The recipe can bring what is not known.",
			spec: specOf(modelFacts(v1alpha1.ModelFacts{
				ParametersBillion: ptr.To(32.0), Layers: ptr.To[int64](64), KVHeads: ptr.To[int64](8), AttentionHeads: ptr.To[int64](40),
				HeadDim: ptr.To[int64](128), MaxContextLength: ptr.To[int64](32768),
			}), first(func(c *v1alpha1.RecipeConfiguration) { c.GPUCount = 6 })),
			want: want{
				findings:  []finding{{Severity: severityError, Path: cfg + ".gpuCount", Message: "40 attention heads and 8 key-value heads cannot be split over 6 GPUs"}},
				choosable: []int32{6}, fits: []*bool{yes},
			},
		},
		"FactsOfTheRecipeGoBefore": {
			reason: "They go before what is known, one by one: the other facts stay.",
			spec:   specOf(modelFacts(v1alpha1.ModelFacts{MaxContextLength: ptr.To[int64](1048576)})), facts: testFacts(),
			want: want{
				findings:  []finding{{Severity: severityWarning, Path: cfg + ".gpuCount", Message: "1 GPU is not enough: 60.0 GiB of weights + 256.0 GiB of KV cache for one sequence of 1048576 tokens need 322.6 GiB per GPU > 172.8 GiB usable of 192 GiB on MI300X; the smallest count that fits is 2"}},
				choosable: []int32{1}, fits: []*bool{no},
			},
		},
		"OnlyParameters": {
			reason: "Weights alone can be too large. The message must not tell of a KV cache of no size.",
			spec:   specOf(modelFacts(v1alpha1.ModelFacts{ParametersBillion: ptr.To(128.0)})),
			want: want{
				findings:  []finding{{Severity: severityWarning, Path: cfg + ".gpuCount", Message: "1 GPU is not enough: 238 GiB of weights, without the KV cache, whose size is not known, need 257.6 GiB per GPU > 172.8 GiB usable of 192 GiB on MI300X; the smallest count that fits is 2"}},
				choosable: []int32{1}, fits: []*bool{no},
			},
		},
		"ParametersOverKnownWeights": {
			reason: "The size that is known is of another number of parameters. What is known of the KV cache stays.",
			spec:   specOf(modelFacts(v1alpha1.ModelFacts{ParametersBillion: ptr.To(400.0)})), facts: testFacts(),
			want: want{
				findings:  []finding{{Severity: severityWarning, Path: cfg + ".gpuCount", Message: "1 GPU is not enough: 745 GiB of weights + 8.0 GiB of KV cache for one sequence of 32768 tokens need 808.3 GiB per GPU > 172.8 GiB usable of 192 GiB on MI300X; the smallest count that fits is 8"}},
				choosable: []int32{1}, fits: []*bool{no},
			},
		},
		"OnlyWeights": {
			reason: "They are of the recipe's precision, however that is spelled.",
			spec:   specOf(modelFacts(v1alpha1.ModelFacts{WeightsGiB: ptr.To(200.0)}), func(s *v1alpha1.AIMRecipeSpec) { s.Precision = "bf16" }),
			want: want{
				findings:  []finding{{Severity: severityWarning, Path: cfg + ".gpuCount", Message: "1 GPU is not enough: 200 GiB of weights, without the KV cache, whose size is not known, need 216.5 GiB per GPU > 172.8 GiB usable of 192 GiB on MI300X; the smallest count that fits is 2"}},
				choosable: []int32{1}, fits: []*bool{no},
			},
		},
		"FactsWithoutSize": {
			reason: "Without the size of the weights nothing can be checked.",
			spec:   specOf(modelFacts(v1alpha1.ModelFacts{Layers: ptr.To[int64](64)})),
			want:   want{choosable: []int32{1}, fits: []*bool{nil}},
		},
		"NoneEnabled": {
			reason: "Endpoints could choose nothing.",
			spec:   specOf(first(func(c *v1alpha1.RecipeConfiguration) { c.Enabled = ptr.To(false) })), facts: testFacts(),
			want: want{
				findings: []finding{{Severity: severityError, Path: "spec.configurations", Message: "no configuration is enabled: add one, or set enabled to true"}},
				fits:     []*bool{yes},
			},
		},
		"NoConfigurations": {
			reason: "Endpoints could choose nothing.",
			spec:   specOf(func(s *v1alpha1.AIMRecipeSpec) { s.Configurations = nil }), facts: testFacts(),
			want: want{findings: []finding{{Severity: severityError, Path: "spec.configurations", Message: "no configuration is enabled: add one, or set enabled to true"}}},
		},
		"DisabledHasMistakes": {
			reason: "What cannot be chosen does no harm, but its author should hear of it. The path is of the configuration as it was written, whatever its place by GPU count.",
			spec: specOf(func(s *v1alpha1.AIMRecipeSpec) {
				s.Configurations = []v1alpha1.RecipeConfiguration{
					{GPUCount: 3, Enabled: ptr.To(false), Args: []string{"--frobnicate"}, Env: []corev1.EnvVar{{Name: "A=B"}}},
					{GPUCount: 1, Enabled: ptr.To(true)},
				}
			}), facts: testFacts(),
			want: want{
				findings: []finding{
					{Severity: severityWarning, Path: cfg + ".args", Message: `"--frobnicate": is no flag of vLLM: remove it`},
					{Severity: severityWarning, Path: cfg + ".gpuCount", Message: "64 attention heads and 8 key-value heads cannot be split over 3 GPUs"},
					{Severity: severityWarning, Path: cfg + ".env[0].name", Message: notAName},
				},
				choosable: []int32{1}, fits: []*bool{yes, yes},
			},
		},
		"TwoOfAGPUCount": {
			reason: "Nobody could tell which one would run.",
			spec: specOf(func(s *v1alpha1.AIMRecipeSpec) {
				s.Configurations = []v1alpha1.RecipeConfiguration{{GPUCount: 2}, {GPUCount: 1}, {GPUCount: 2}}
			}), facts: testFacts(),
			want: want{
				findings:  []finding{{Severity: severityError, Path: "spec.configurations", Message: "there are two for 2 GPUs: remove one"}},
				choosable: []int32{1, 2, 2}, fits: []*bool{yes, yes, yes},
			},
		},
		"EnvGood": {
			reason: "All of this is as Kubernetes takes it.",
			spec: specOf(env(
				corev1.EnvVar{Name: "VLLM_USE_V1", Value: "1"}, corev1.EnvVar{Name: "EMPTY_TOKEN"}, fromSecret("HF_TOKEN", "hf", "token"),
				corev1.EnvVar{Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
			)), facts: testFacts(),
			want: want{choosable: []int32{1}, fits: []*bool{yes}},
		},
		"EnvMistakes": {
			reason: "The API server would refuse the Deployment, and only later.",
			spec: specOf(env(
				corev1.EnvVar{Name: "A=B", Value: "1"},
				corev1.EnvVar{Name: "TWICE", Value: "1"}, corev1.EnvVar{Name: "TWICE", Value: "2"},
				corev1.EnvVar{Name: "BOTH", Value: "1", ValueFrom: fromSecret("", "hf", "token").ValueFrom},
				corev1.EnvVar{Name: "NEITHER", ValueFrom: &corev1.EnvVarSource{}},
				fromSecret("NO_KEY", "hf", ""), fromSecret("NO_NAME", "", "token"),
				corev1.EnvVar{Name: "NO_MAP_KEY", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}},
				corev1.EnvVar{Name: "NO_FIELD", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodename"}}},
				corev1.EnvVar{Name: "NO_RESOURCE", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.gpu"}}},
			)), facts: testFacts(),
			want: want{
				findings: []finding{
					{Severity: severityError, Path: cfg + ".env[0].name", Message: notAName},
					{Severity: severityWarning, Path: cfg + ".env[2]", Message: "TWICE is there twice, the last one counts: remove the others"},
					{Severity: severityError, Path: cfg + ".env[3]", Message: "BOTH has both a value and a valueFrom: remove one"},
					{Severity: severityError, Path: cfg + ".env[4].valueFrom", Message: "NEITHER must come from exactly one of fieldRef, resourceFieldRef, configMapKeyRef and secretKeyRef"},
					{Severity: severityError, Path: cfg + ".env[5].valueFrom.secretKeyRef", Message: "NO_KEY must name a Secret and a key of it"},
					{Severity: severityError, Path: cfg + ".env[6].valueFrom.secretKeyRef", Message: "NO_NAME must name a Secret and a key of it"},
					{Severity: severityError, Path: cfg + ".env[7].valueFrom.configMapKeyRef", Message: "NO_MAP_KEY must name a ConfigMap and a key of it"},
					{Severity: severityError, Path: cfg + ".env[8].valueFrom.fieldRef.fieldPath", Message: "NO_FIELD cannot come from \"spec.nodename\": a pod offers metadata.name, metadata.namespace, metadata.uid, metadata.labels['key'], metadata.annotations['key'], spec.nodeName, spec.serviceAccountName, status.hostIP, status.hostIPs, status.podIP and status.podIPs"},
					{Severity: severityError, Path: cfg + ".env[9].valueFrom.resourceFieldRef.resource", Message: "NO_RESOURCE cannot come from \"limits.gpu\": it must be limits. or requests. of cpu, memory or ephemeral-storage"},
				},
				choosable: []int32{1}, fits: []*bool{yes},
			},
		},
		"EnvSecretsInTheOpen": {
			reason: "Everybody who can read recipes can read them. The finding must not spread them further.",
			spec:   specOf(env(corev1.EnvVar{Name: "HF_TOKEN", Value: secret}, corev1.EnvVar{Name: "vllm_api_key", Value: secret}, corev1.EnvVar{Name: "DB_PASSWORD", Value: secret})), facts: testFacts(),
			want: want{
				findings: []finding{
					{Severity: severityWarning, Path: cfg + ".env[0]", Message: "HF_TOKEN looks like a secret that everybody can read here: put it into a Secret, and use valueFrom.secretKeyRef"},
					{Severity: severityWarning, Path: cfg + ".env[1]", Message: "vllm_api_key looks like a secret that everybody can read here: put it into a Secret, and use valueFrom.secretKeyRef"},
					{Severity: severityWarning, Path: cfg + ".env[2]", Message: "DB_PASSWORD looks like a secret that everybody can read here: put it into a Secret, and use valueFrom.secretKeyRef"},
				},
				choosable: []int32{1}, fits: []*bool{yes},
			},
		},
		"SecretInArgs": {
			reason: "Arguments are in the Deployment, in the process list, and in the status.",
			spec:   specOf(first(func(c *v1alpha1.RecipeConfiguration) { c.Args = []string{"--api-key", secret} })), facts: testFacts(),
			want: want{
				findings:  []finding{{Severity: severityError, Path: cfg + ".args", Message: `"--api-key": is a secret, and must never be in arguments: use env with secretKeyRef (VLLM_API_KEY)`}},
				choosable: []int32{1}, fits: []*bool{yes},
			},
		},
		"MemoryWithoutUnit": {
			reason: "64 bytes are never what was meant.",
			spec:   specOf(resources(map[corev1.ResourceName]string{"memory": "64"}, map[corev1.ResourceName]string{"memory": "128"})), facts: testFacts(),
			want: want{
				findings: []finding{
					{Severity: severityError, Path: requests + "[memory]", Message: "64 is less than 1Mi: give a unit, such as 64Gi"},
					{Severity: severityError, Path: limits + "[memory]", Message: "128 is less than 1Mi: give a unit, such as 64Gi"},
				},
				choosable: []int32{1}, fits: []*bool{yes},
			},
		},
		"RequestAboveLimit": {
			reason: "The API server would refuse the Deployment's Pods.",
			spec:   specOf(resources(map[corev1.ResourceName]string{"cpu": "8", "memory": "64Gi"}, map[corev1.ResourceName]string{"cpu": "4", "memory": "65536Mi"})), facts: testFacts(),
			want: want{
				findings:  []finding{{Severity: severityError, Path: requests + "[cpu]", Message: "8 is above the limit of 4: lower it, or raise the limit"}},
				choosable: []int32{1}, fits: []*bool{yes},
			},
		},
		"NegativeAndUnknownResources": {
			reason: "The API server would refuse them.",
			spec:   specOf(resources(map[corev1.ResourceName]string{"cpu": "-1"}, map[corev1.ResourceName]string{"cpus": "4"})), facts: testFacts(),
			want: want{
				findings: []finding{
					{Severity: severityError, Path: requests + "[cpu]", Message: "-1 is below 0"},
					{Severity: severityError, Path: limits, Message: `there is no resource "cpus": use cpu, memory, ephemeral-storage, or the full name of an extended resource`},
				},
				choosable: []int32{1}, fits: []*bool{yes},
			},
		},
		"GPUsAmongResources": {
			reason: "The configuration's count is used. Another one is a mistake.",
			spec:   specOf(resources(map[corev1.ResourceName]string{"amd.com/gpu": "2"}, map[corev1.ResourceName]string{"amd.com/gpu": "1"})), facts: testFacts(),
			want: want{
				findings:  []finding{{Severity: severityWarning, Path: requests + "[amd.com/gpu]", Message: "2 is not the gpuCount of the configuration, which is used: remove it, or set it to 1"}},
				choosable: []int32{1}, fits: []*bool{yes},
			},
		},
		"ExtendedResources": {
			reason: "Kubernetes does not overcommit them.",
			spec: specOf(resources(
				map[corev1.ResourceName]string{"rdma/hca": "1", "rdma/shared": "1", "rdma/one-sided": "1"},
				map[corev1.ResourceName]string{"rdma/hca": "1", "rdma/shared": "2", "rdma/limit": "1"})), facts: testFacts(),
			want: want{
				findings: []finding{
					{Severity: severityError, Path: requests + "[rdma/one-sided]", Message: "an extended resource must have the same request and limit"},
					{Severity: severityError, Path: requests + "[rdma/shared]", Message: "an extended resource must have the same request and limit"},
				},
				choosable: []int32{1}, fits: []*bool{yes},
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := Compile(Reference{Namespace: "default", Name: "test"}, tc.spec, tc.facts)
			got := want{findings: c.AllFindings()}
			for _, cfg := range c.Recipe.Configurations {
				got.choosable = append(got.choosable, cfg.GPUCount)
			}
			for _, st := range c.Configurations {
				got.fits = append(got.fits, st.Fits)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("\n%s\nCompile(...): -want, +got:\n%s", tc.reason, diff)
			}
			valid := !slices.ContainsFunc(tc.want.findings, func(f finding) bool { return f.Severity == severityError })
			if c.Valid() != valid {
				t.Errorf("\n%s\nc.Valid(): want %t, got %t", tc.reason, valid, c.Valid())
			}
			for _, f := range c.AllFindings() {
				if strings.Contains(f.Message+f.Path, secret) {
					t.Errorf("\nA secret should never be in a finding.\nCompile(...): %+v", f)
				}
			}
			for _, st := range c.Configurations {
				if strings.Contains(strings.Join(st.Command, " "), secret) {
					t.Errorf("\nA secret should never be in a status.\nCompile(...): %q", st.Command)
				}
			}
		})
	}
}

// changed facts.
func changed(f *model.Facts, change func(f *model.Facts)) *model.Facts {
	change(f)
	return f
}

func TestCompileRecipe(t *testing.T) {
	cases := map[string]struct {
		reason string
		ref    Reference
		spec   v1alpha1.AIMRecipeSpec
		want   Recipe
	}{
		"Platform": {
			reason: "A recipe of no namespace is the platform's. Short forms of precisions become canonical, and what nobody said gets defaults.",
			ref:    Reference{Name: "shared"},
			spec:   specOf(func(s *v1alpha1.AIMRecipeSpec) { s.Precision, s.Priority = "bf16", -7 }),
			want: Recipe{
				Name: "shared", Model: testModel, Hardware: "MI300X", Precision: "bfloat16", Backend: "vllm", Priority: -7,
				Configurations: []Configuration{{GPUCount: 1, Resources: DefaultResources(1)}},
			},
		},
		"OnlyTag": {
			reason: "What an image does not have is that of the engine's own.",
			ref:    Reference{Namespace: "a", Name: "b"},
			spec:   specOf(func(s *v1alpha1.AIMRecipeSpec) { s.Image = &v1alpha1.RecipeImage{Tag: "v9"} }),
			want: Recipe{
				Name: "b", Namespace: "a", Model: testModel, Hardware: "MI300X", Precision: "bfloat16", Backend: "vllm", Image: Image{Tag: "v9"},
				Configurations: []Configuration{{GPUCount: 1, Resources: DefaultResources(1)}},
			},
		},
		"Performance": {
			reason: "A configuration's own numbers go before those of all, one by one.",
			ref:    Reference{Namespace: "a", Name: "b"},
			spec: specOf(func(s *v1alpha1.AIMRecipeSpec) {
				s.Performance = &v1alpha1.RecipePerformance{ExpectedTokensPerSecond: ptr.To[int32](1000), ExpectedLatencyMs: ptr.To[int32](100), MaxBatchSize: ptr.To[int32](64)}
				s.Configurations = []v1alpha1.RecipeConfiguration{
					{GPUCount: 2, Performance: &v1alpha1.RecipePerformance{ExpectedTokensPerSecond: ptr.To[int32](1900), MaxBatchSize: ptr.To[int32](128)}},
					{GPUCount: 1},
				}
			}),
			want: Recipe{
				Name: "b", Namespace: "a", Model: testModel, Hardware: "MI300X", Precision: "bfloat16", Backend: "vllm",
				Configurations: []Configuration{
					{GPUCount: 1, Resources: DefaultResources(1), Performance: Performance{TokensPerSecond: 1000, LatencyMs: 100, MaxBatchSize: 64}},
					{GPUCount: 2, Resources: DefaultResources(2), Performance: Performance{TokensPerSecond: 1900, LatencyMs: 100, MaxBatchSize: 128}},
				},
			},
		},
		"Facts": {
			reason: "Facts of the recipe are stored with it, over what was known when it was compiled.",
			ref:    Reference{Namespace: "a", Name: "b"},
			spec:   specOf(modelFacts(v1alpha1.ModelFacts{WeightsGiB: ptr.To(50.0), KVBytesPerToken: ptr.To[int64](70000)})),
			want: Recipe{
				Name: "b", Namespace: "a", Model: testModel, Hardware: "MI300X", Precision: "bfloat16", Backend: "vllm",
				Facts: changed(testFacts(), func(f *model.Facts) {
					f.WeightsGiB, f.KVBytesPerToken = map[v1alpha1.Precision]float64{"bfloat16": 50}, 70000
				}),
				Configurations: []Configuration{{GPUCount: 1, Resources: DefaultResources(1)}},
			},
		},
		"Resources": {
			reason: "GPUs are not among the resources: the platform sets them. Other resources are as they were written.",
			ref:    Reference{Namespace: "a", Name: "b"},
			spec:   specOf(resources(map[corev1.ResourceName]string{"cpu": "500m", "amd.com/gpu": "1"}, map[corev1.ResourceName]string{"amd.com/gpu": "1"})),
			want: Recipe{
				Name: "b", Namespace: "a", Model: testModel, Hardware: "MI300X", Precision: "bfloat16", Backend: "vllm",
				Configurations: []Configuration{{GPUCount: 1, Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("500m"), "memory": *resource.NewQuantity(32<<30, resource.BinarySI)}}}},
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			known := testFacts()
			got := Compile(tc.ref, tc.spec, known)
			if diff := cmp.Diff(tc.want, got.Recipe); diff != "" {
				t.Errorf("\n%s\nCompile(...).Recipe: -want, +got:\n%s", tc.reason, diff)
			}
			if !got.Valid() {
				t.Errorf("\n%s\nCompile(...): %+v", tc.reason, got.AllFindings())
			}
			if diff := cmp.Diff(testFacts(), known); diff != "" {
				t.Errorf("\nWhat is known is not the recipe's to change.\nCompile(...): -before, +after:\n%s", diff)
			}
			s, err := Marshal(got.Recipe)
			if err != nil {
				t.Fatalf("\n%s\nMarshal(...): %v", tc.reason, err)
			}
			back, err := Unmarshal(s)
			if err != nil {
				t.Fatalf("\n%s\nUnmarshal(%s): %v", tc.reason, s, err)
			}
			if diff := cmp.Diff(got.Recipe, back); diff != "" {
				t.Errorf("\nA recipe should come out of the catalog as it went in.\nUnmarshal(Marshal(...)): -want, +got:\n%s", diff)
			}
		})
	}
}

func TestUnmarshal(t *testing.T) {
	type want struct {
		recipe Recipe
		err    string
	}
	cases := map[string]struct {
		reason string
		entry  string
		want   want
	}{
		"Entry":        {reason: "The format is stored in clusters, and must stay readable.", entry: `{"version":1,"recipe":{"name":"a","model":"b/c","hardware":"MI300X","precision":"bfloat16","backend":"vllm","configurations":[{"gpuCount":1,"resources":{},"performance":{}}]}}`, want: want{recipe: Recipe{Name: "a", Model: "b/c", Hardware: "MI300X", Precision: "bfloat16", Backend: "vllm", Configurations: []Configuration{{GPUCount: 1}}}}},
		"LaterVersion": {reason: "Another version may mean something else by the same fields.", entry: `{"version":2,"recipe":{"name":"a"}}`, want: want{err: "cannot use a catalog entry of version 2: this version of the function knows 1"}},
		"NoVersion":    {reason: "It is something else.", entry: `{}`, want: want{err: "cannot use a catalog entry of version 0: this version of the function knows 1"}},
		"Garbage":      {reason: "It is something else.", entry: `hello`, want: want{err: "cannot unmarshal a catalog entry: "}},
		"Nothing":      {reason: "It is something else.", entry: ``, want: want{err: "cannot unmarshal a catalog entry: "}},
		"WrongType":    {reason: "It is something else.", entry: `{"version":1,"recipe":{"configurations":7}}`, want: want{err: "cannot unmarshal a catalog entry: "}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Unmarshal(tc.entry)
			if diff := cmp.Diff(tc.want.recipe, got); diff != "" {
				t.Errorf("\n%s\nUnmarshal(...): -want, +got:\n%s", tc.reason, diff)
			}
			msg := ""
			if err != nil {
				msg = err.Error()
			}
			// How JSON is wrong is for its parser to say.
			if tc.want.err == "" && msg != "" || !strings.HasPrefix(msg, tc.want.err) {
				t.Errorf("\n%s\nUnmarshal(...): -want error, +got error:\n%s", tc.reason, cmp.Diff(tc.want.err, msg))
			}
		})
	}
}

func TestMarshalNoJSON(t *testing.T) {
	_, err := Marshal(Recipe{Name: "a", Facts: &model.Facts{ParametersBillion: math.NaN()}})
	if err == nil || !strings.HasPrefix(err.Error(), "cannot marshal recipe a: ") {
		t.Errorf("\nWhat JSON cannot express is an error.\nMarshal(...): %v", err)
	}
}

// spec of a recipe that may be wrong in any way.
func (g generator) spec() v1alpha1.AIMRecipeSpec {
	words := []string{
		"--model", testModel, "--max-model-len", "32K", "--max-model-len=0", "--context-length", "--dtype", "fp8", "--gpu-memory-utilization", "90%", "-1", "1e309",
		"--tp", "8", "--quantization=fp8", "--api-key=" + secret, "--api-key", secret, "--kv-cache-dtype=fp8", "--frobnicate", "", " ", "-", "--", "--=", "serve", "\x00", "ünï",
	}
	names := []corev1.ResourceName{"cpu", "memory", "ephemeral-storage", resourceGPU, "rdma/hca", "cpus", "", "/"}
	list := func() corev1.ResourceList {
		l := corev1.ResourceList{}
		for range g.IntN(4) {
			l[pick(g, names...)] = resource.MustParse(pick(g, "0", "-1", "64", "64Gi", "500m", "1e18", "9223372036854775807"))
		}
		return l
	}
	s := v1alpha1.AIMRecipeSpec{
		ModelID: testModel, Hardware: pick(g, append(anyHardware, "", "MI100")...), Precision: pick(g, append(anyPrecision, "", "float3")...),
		Backend: pick(g, append(anyBackend, "", "tgi")...), Priority: pick[int32](g, 0, math.MinInt32, math.MaxInt32),
		Image: maybe(g, &v1alpha1.RecipeImage{}, &v1alpha1.RecipeImage{Tag: "v9"}, &v1alpha1.RecipeImage{Repository: "a/b", Tag: "v9"}),
	}
	numbers := []*int64{nil, ptr.To[int64](0), ptr.To[int64](-1), ptr.To[int64](8), ptr.To[int64](math.MaxInt64)}
	sizes := []*float64{nil, ptr.To(0.0), ptr.To(-1.0), ptr.To(70.0), ptr.To(math.MaxFloat64)}
	if g.IntN(2) == 0 {
		s.ModelFacts = &v1alpha1.ModelFacts{
			ParametersBillion: pick(g, sizes...), WeightsGiB: pick(g, sizes...), Layers: pick(g, numbers...), KVHeads: pick(g, numbers...),
			AttentionHeads: pick(g, numbers...), HeadDim: pick(g, numbers...), KVBytesPerToken: pick(g, numbers...), MaxContextLength: pick(g, numbers...),
		}
	}
	if g.IntN(2) == 0 {
		// So that some are valid.
		s = specOf()
		s.Configurations = nil
	}
	for range g.IntN(4) {
		c := v1alpha1.RecipeConfiguration{GPUCount: pick[int32](g, 1, 2, 3, 8, 0, -1, math.MaxInt32, math.MinInt32), Enabled: maybe(g, ptr.To(true), ptr.To(false))}
		for range maybe(g, 1, 2, 5) {
			c.Args = append(c.Args, pick(g, words...))
		}
		for range maybe(g, 1, 3) {
			c.Env = append(c.Env, corev1.EnvVar{
				Name: pick(g, "A", "HF_TOKEN", "", "A=B"), Value: pick(g, "", secret),
				ValueFrom: maybe(g, &corev1.EnvVarSource{}, fromSecret("", "", "").ValueFrom, fromSecret("", "hf", "token").ValueFrom),
			})
		}
		if g.IntN(4) == 0 {
			c.Resources = &v1alpha1.RecipeResources{Requests: list(), Limits: list()}
		}
		s.Configurations = append(s.Configurations, c)
	}
	return s
}

// TestCompileAnything compiles what the schema would never let in, too.
func TestCompileAnything(t *testing.T) {
	valid := 0
	const runs = 1000
	for seed, g := range generators(runs) {
		spec, facts := g.spec(), g.facts()
		before := spec.DeepCopy()
		got := Compile(Reference{Name: "r"}, spec, facts)
		if diff := cmp.Diff(got, Compile(Reference{Name: "r"}, spec, facts)); diff != "" {
			t.Fatalf("\nThe same recipe should always be the same.\nseed %d: Compile(...): -first, +second:\n%s", seed, diff)
		}
		if diff := cmp.Diff(before, &spec); diff != "" {
			t.Fatalf("\nWhat is compiled should not be changed.\nseed %d: Compile(...): -before, +after:\n%s", seed, diff)
		}
		if got.Valid() {
			valid++
		}
		for _, f := range got.AllFindings() {
			if f.Path == "" || f.Message == "" || (f.Severity != severityError && f.Severity != severityWarning) || strings.Contains(f.Message, secret) {
				t.Fatalf("\nA finding should say where and what, and no secret.\nseed %d: Compile(...): %+v", seed, f)
			}
		}
		s, err := Marshal(got.Recipe)
		if err != nil {
			t.Fatalf("seed %d: Marshal(...): %v", seed, err)
		}
		back, err := Unmarshal(s)
		if err != nil {
			t.Fatalf("seed %d: Unmarshal(%s): %v", seed, s, err)
		}
		if diff := cmp.Diff(got.Recipe, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("\nA recipe should come out of the catalog as it went in.\nseed %d: Unmarshal(Marshal(...)): -want, +got:\n%s", seed, diff)
		}
		Select([]Recipe{back}, Constraints{Model: testModel}, facts)
	}
	if valid < runs/100 {
		t.Errorf("The generator should make some recipes that are valid, but makes %d of %d.", valid, runs)
	}
}
