package schema

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/input/v1beta1"
)

// testInput checks the schema of the function's input. Crossplane never serves
// it: it is how editors and people know what the function takes.
func (s server) testInput(t *testing.T) {
	cases := map[string]struct {
		reason string
		input  string
		want   []string
	}{
		"Empty": {
			reason: "Every field is optional.",
			input:  "{}",
			want:   []string{},
		},
		"Full": {
			reason: "Every field may be set.",
			input: `
providerConfigName: gpu-cluster
namespace: models
inventory:
- {hardware: MI300X, gpusPerNode: 8}
- {hardware: MI355X, gpusPerNode: 8}
gpuResourceName: amd.com/gpu
images:
- {backend: vllm, image: "localhost:5000/vllm:v1"}
- {backend: sglang, hardware: MI355X, image: "localhost:5000/sglang:v1"}
storageClass: fast
tolerations:
- {key: team, operator: Equal, value: ml, effect: NoSchedule}
security:
  podSecurityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 1000}
  supplementalGroups: [44, 109]
podDiagnosis: Disabled
`,
			want: []string{},
		},
		"UnknownHardware": {
			reason: "A typing error in the inventory must not rule out all hardware.",
			input:  "inventory: [{hardware: MI300, gpusPerNode: 8}]",
			want: []string{
				`inventory[0].hardware: Unsupported value: "MI300": supported values: "MI300X", "MI325X", "MI355X", "MI350X", "MI250", "MI210"`,
			},
		},
		"UnknownField": {
			reason: "A misspelt field must not be ignored.",
			input:  "storageclass: fast",
			want:   []string{`unknown field "storageclass"`},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			u := &unstructured.Unstructured{Object: map[string]any{}}
			if err := yaml.Unmarshal([]byte(tc.input), &u.Object); err != nil {
				t.Fatalf("cannot parse the sample: %v", err)
			}
			u.SetGroupVersionKind(v1beta1.GroupVersion.WithKind("Input"))
			u.SetName("input")

			_, err := s.try(t.Context(), t, u)
			if diff := cmp.Diff(tc.want, complaints(err)); diff != "" {
				t.Errorf("%s\nCreate(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
