package schema

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

func load(tb testing.TB) *Schemas {
	tb.Helper()
	s, err := Load()
	if err != nil {
		tb.Fatalf("Load(): %v", err)
	}
	return s
}

func parse(tb testing.TB, s string) *unstructured.Unstructured {
	tb.Helper()
	// As kubectl does: through JSON, so that integers are integers.
	b, err := yaml.YAMLToJSON([]byte(s))
	if err != nil {
		tb.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(b); err != nil {
		tb.Fatal(err)
	}
	return u
}

func TestKnows(t *testing.T) {
	cases := map[string]struct {
		reason string
		gvk    schema.GroupVersionKind
		want   bool
	}{
		"Claim": {
			reason: "Claims should be known.",
			gvk:    schema.GroupVersionKind{Group: "aim.engine.amd.com", Version: "v1alpha1", Kind: "AIMEndpoint"},
			want:   true,
		},
		"Composite": {
			reason: "Composites should be known.",
			gvk:    schema.GroupVersionKind{Group: "aim.engine.amd.com", Version: "v1alpha1", Kind: "XAIMEndpoint"},
			want:   true,
		},
		"OtherVersion": {
			reason: "A version that is not served should not be known.",
			gvk:    schema.GroupVersionKind{Group: "aim.engine.amd.com", Version: "v1", Kind: "AIMEndpoint"},
		},
		"OtherKind": {
			reason: "A kind of somebody else should not be known.",
			gvk:    schema.GroupVersionKind{Version: "v1", Kind: "Service"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := load(t).Knows(tc.gvk); got != tc.want {
				t.Errorf("\n%s\nKnows(%s): want %t, got %t", tc.reason, tc.gvk, tc.want, got)
			}
		})
	}
}

func TestAdmit(t *testing.T) {
	type want struct {
		// Spec with its defaults; not compared where there is an error.
		Spec map[string]any
		Err  string
	}
	const subdomain = `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', ` +
		`and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`
	object := func(kind, name, spec string) string {
		return "apiVersion: aim.engine.amd.com/v1alpha1\nkind: " + kind + "\nmetadata: {name: " + name + ", namespace: default}\nspec:\n  " + spec
	}
	cases := map[string]struct {
		reason string
		object string
		want   want
	}{
		"Minimal": {
			reason: "A model should be all that a claim needs.",
			object: object("AIMEndpoint", "chat", "model: {id: Qwen/Qwen3-32B}"),
			want:   want{Spec: map[string]any{"model": map[string]any{"id": "Qwen/Qwen3-32B"}}},
		},
		"Composite": {
			reason: "A composite should be admitted as its claim is.",
			object: object("XAIMEndpoint", "chat", "model: {id: Qwen/Qwen3-32B}"),
			want:   want{Spec: map[string]any{"model": map[string]any{"id": "Qwen/Qwen3-32B"}}},
		},
		"Defaults": {
			reason: "An object that is there should get its defaults.",
			object: object("AIMEndpoint", "chat", "{model: {id: Qwen/Qwen3-32B}, recipe: {}, scaling: {}, service: {}, cache: {enabled: true}}"),
			want: want{Spec: map[string]any{
				"model":   map[string]any{"id": "Qwen/Qwen3-32B"},
				"recipe":  map[string]any{"autoSelect": true, "objective": "Throughput", "upgradePolicy": "Pinned"},
				"scaling": map[string]any{"minReplicas": int64(1)},
				"service": map[string]any{"type": "ClusterIP", "port": int64(8000)},
				"cache":   map[string]any{"enabled": true, "retain": true, "preload": true, "accessMode": "ReadWriteOnce"},
			}},
		},
		"UnknownKind": {
			reason: "A kind that is not there should be told of with its group.",
			object: object("AIMEndpoints", "chat", "model: {id: Qwen/Qwen3-32B}"),
			want:   want{Err: "there is no kind AIMEndpoints in aim.engine.amd.com/v1alpha1"},
		},
		"UnknownField": {
			reason: "A field that is not there should be told of, not dropped in silence.",
			object: object("AIMEndpoint", "chat", "{model: {id: Qwen/Qwen3-32B}, scaling: {minReplica: 2}}"),
			want:   want{Err: "unknown field spec.scaling.minReplica"},
		},
		"Required": {
			reason: "What is required should be asked for.",
			object: object("AIMEndpoint", "chat", "recipe: {}"),
			want:   want{Err: "spec.model: Required value"},
		},
		"Type": {
			reason: "A value of another type should be told of.",
			object: object("AIMEndpoint", "chat", "{model: {id: Qwen/Qwen3-32B}, scaling: {minReplicas: two}}"),
			want:   want{Err: `spec.scaling.minReplicas: Invalid value: "string": spec.scaling.minReplicas in body must be of type integer: "string"`},
		},
		"Enum": {
			reason: "A value that is not among those that there are should be told of with all of them.",
			object: object("AIMEndpoint", "chat", "{model: {id: Qwen/Qwen3-32B}, recipe: {hardware: H100}}"),
			want:   want{Err: `spec.recipe.hardware: Unsupported value: "H100": supported values: "MI300X", "MI325X", "MI355X", "MI350X", "MI250", "MI210"`},
		},
		"Rule": {
			reason: "A rule should be told of with its own words.",
			object: object("AIMEndpoint", "chat", "{model: {id: Qwen/Qwen3-32B}, recipe: {gpuCount: 9}}"),
			want:   want{Err: "spec.recipe.gpuCount: Invalid value: 9: must be 1 to 8: a replica runs on the GPUs of one node. For more throughput, raise scaling.minReplicas"},
		},
		"RuleOverFields": {
			reason: "A rule over two fields should be told of at the one that can be mended.",
			object: object("AIMEndpoint", "chat", "{model: {id: Qwen/Qwen3-32B}, scaling: {minReplicas: 3, maxReplicas: 2}}"),
			want:   want{Err: "spec.scaling.maxReplicas: Invalid value: must not be below minReplicas, which is 1 if unset: raise maxReplicas or lower minReplicas"},
		},
		"Several": {
			reason: "All that is wrong should be told at once, in an order that is always the same.",
			object: object("AIMEndpoint", "chat", "{model: {id: Qwen/Qwen3-32B}, recipe: {backend: tgi, precision: float4}, typo: 1}"),
			want: want{Err: `spec.recipe.backend: Unsupported value: "tgi": supported values: "vllm", "sglang"; ` +
				`spec.recipe.precision: Unsupported value: "float4": supported values: "bfloat16", "float16", "float8", "int8", "int4", "bf16", "fp16", "fp8"; unknown field spec.typo`},
		},
		"Set": {
			reason: "What is twice in a set should be refused, as the API server does.",
			object: object("AIMEndpoint", "chat", "{model: {id: Qwen/Qwen3-32B}, security: {supplementalGroups: [44, 44]}}"),
			want:   want{Err: "spec.security.supplementalGroups[1]: Duplicate value: 44"},
		},
		"LongName": {
			reason: "A name that is too long for the label that Crossplane makes of it should be refused.",
			object: object("AIMEndpoint", "chat-chat-chat-chat-chat-chat-chat-chat-chat-chat-chat-chat-chat-chat", "model: {id: Qwen/Qwen3-32B}"),
			want:   want{Err: "metadata.name: Too long: may not be more than 63 bytes"},
		},
		"GeneratedName": {
			reason: "The API server may make the name.",
			object: "apiVersion: aim.engine.amd.com/v1alpha1\nkind: AIMEndpoint\nmetadata: {generateName: chat-}\nspec: {model: {id: Qwen/Qwen3-32B}}",
			want:   want{Spec: map[string]any{"model": map[string]any{"id": "Qwen/Qwen3-32B"}}},
		},
		"NoName": {
			reason: "An object without a name should be refused, as the API server does.",
			object: "apiVersion: aim.engine.amd.com/v1alpha1\nkind: AIMEndpoint\nmetadata: {}\nspec: {model: {id: Qwen/Qwen3-32B}}",
			want:   want{Err: `metadata.name: Invalid value: "": ` + subdomain},
		},
		"NameEndsWithDash": {
			reason: "A name that no object can have should be refused, as the API server does.",
			object: object("AIMEndpoint", "chat-", "model: {id: Qwen/Qwen3-32B}"),
			want:   want{Err: `metadata.name: Invalid value: "chat-": ` + subdomain},
		},
		"BadName": {
			reason: "A name that no object can have should be refused, as the API server does.",
			object: object("AIMEndpoint", "Chat", "model: {id: Qwen/Qwen3-32B}"),
			want:   want{Err: `metadata.name: Invalid value: "Chat": ` + subdomain},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			u := parse(t, tc.object)
			got := want{}
			if err := load(t).Admit(t.Context(), u); err != nil {
				got.Err = err.Error()
			} else {
				got.Spec, _, _ = unstructured.NestedMap(u.Object, "spec")
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nAdmit(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func BenchmarkAdmit(b *testing.B) {
	s := load(b)
	u := parse(b, "apiVersion: aim.engine.amd.com/v1alpha1\nkind: AIMEndpoint\nmetadata: {name: chat}\nspec: {model: {id: Qwen/Qwen3-32B}}")
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Admit(b.Context(), u.DeepCopy()); err != nil {
			b.Fatal(err)
		}
	}
}
