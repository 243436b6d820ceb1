// Package schema tries the generated schemas: those of claims and composites
// as Crossplane derives them, and that of the function's input. Most of it
// needs a real API server, since only that one knows which schemas it accepts
// and what it tells a person who made a mistake.
package schema

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/xcrd"
	xpv1 "github.com/crossplane/crossplane/apis/v2/apiextensions/v1"
	"github.com/google/go-cmp/cmp"
	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// root of the module.
const root = "../.."

// decode a YAML file strictly: a field that the type doesn't have is an error.
func decode(t *testing.T, path string, into any) {
	t.Helper()

	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("cannot read a definition: %v", err)
	}
	if err := yaml.UnmarshalStrict(b, into); err != nil {
		t.Fatalf("cannot decode %s: %v", path, err)
	}
}

// glob returns the files that match a pattern, of which there must be some.
func glob(t *testing.T, pattern string) []string {
	t.Helper()

	files, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("cannot find any %s: %v", pattern, err)
	}

	return files
}

// xrds returns all of our CompositeResourceDefinitions.
func xrds(t *testing.T) []*xpv1.CompositeResourceDefinition {
	t.Helper()

	files := glob(t, "apis/*.yaml")
	out := make([]*xpv1.CompositeResourceDefinition, 0, len(files))
	for _, f := range files {
		xrd := &xpv1.CompositeResourceDefinition{}
		decode(t, f, xrd)
		out = append(out, xrd)
	}

	return out
}

// crds returns what Crossplane derives from a CompositeResourceDefinition: the
// CustomResourceDefinitions of the composite and of the claim.
func crds(t *testing.T, xrd *xpv1.CompositeResourceDefinition) (composite, claim *extv1.CustomResourceDefinition) {
	t.Helper()

	composite, err := xcrd.ForCompositeResource(xrd)
	if err != nil {
		t.Fatalf("xcrd.ForCompositeResource(%s): %v", xrd.GetName(), err)
	}
	claim, err = xcrd.ForCompositeResourceClaim(xrd)
	if err != nil {
		t.Fatalf("xcrd.ForCompositeResourceClaim(%s): %v", xrd.GetName(), err)
	}

	// An API server refuses an owner without a UID, and ours is only a file.
	composite.SetOwnerReferences(nil)
	claim.SetOwnerReferences(nil)

	return composite, claim
}

// crdOf returns the CustomResourceDefinition of one of our kinds, of claims or
// composites.
func crdOf(t *testing.T, kind string) *extv1.CustomResourceDefinition {
	t.Helper()

	for _, xrd := range xrds(t) {
		composite, claim := crds(t, xrd)
		switch kind {
		case composite.Spec.Names.Kind:
			return composite
		case claim.Spec.Names.Kind:
			return claim
		}
	}
	t.Fatalf("cannot find a definition of %s", kind)

	return nil
}

// field of a schema, by its path. "[]" is the item of a list.
func field(s extv1.JSONSchemaProps, path string) (extv1.JSONSchemaProps, bool) {
	for name := range strings.SplitSeq(path, ".") {
		name, list := strings.CutSuffix(name, "[]")
		p, ok := s.Properties[name]
		if !ok {
			return s, false
		}
		if list {
			if p.Items == nil || p.Items.Schema == nil {
				return s, false
			}
			p = *p.Items.Schema
		}
		s = p
	}

	return s, true
}

func TestColumns(t *testing.T) {
	cases := map[string]struct {
		reason string
		kind   string
		want   []string
	}{
		"Claim": {
			reason: "A claim shows what its user wants to know, before what Crossplane adds.",
			kind:   "AIMEndpoint",
			want:   []string{"MODEL", "RECIPE", "REASON", "REPLICAS", "URL", "SYNCED", "READY", "CONNECTION-SECRET", "AGE"},
		},
		"Composite": {
			reason: "A composite shows the same, and its Composition.",
			kind:   "XAIMEndpoint",
			want:   []string{"MODEL", "RECIPE", "REASON", "REPLICAS", "URL", "SYNCED", "READY", "COMPOSITION", "COMPOSITIONREVISION", "AGE"},
		},
		"Recipe": {
			reason: "A recipe shows what it is for, and how many use it.",
			kind:   "AIMRecipe",
			want:   []string{"MODEL", "HARDWARE", "PRECISION", "BACKEND", "PHASE", "ENDPOINTS", "SYNCED", "READY", "CONNECTION-SECRET", "AGE"},
		},
		"Cache": {
			reason: "A cache shows how it is, and how full.",
			kind:   "AIMCache",
			want:   []string{"PHASE", "REASON", "MODELS", "USED", "SIZE", "SYNCED", "READY", "CONNECTION-SECRET", "AGE"},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v := crdOf(t, tc.kind).Spec.Versions[0]
			got := make([]string, 0, len(v.AdditionalPrinterColumns))
			for _, c := range v.AdditionalPrinterColumns {
				got = append(got, c.Name)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nColumns of %s: -want, +got:\n%s", tc.reason, tc.kind, diff)
			}
		})
	}
}

func TestNames(t *testing.T) {
	cases := map[string]struct {
		reason string
		kind   string
		want   extv1.CustomResourceDefinitionNames
	}{
		"Claim": {
			reason: "Claims keep the names of the earlier operator's kind.",
			kind:   "AIMEndpoint",
			want: extv1.CustomResourceDefinitionNames{
				Kind: "AIMEndpoint", Plural: "aimendpoints", Singular: "aimendpoint",
				ShortNames: []string{"aimep"}, Categories: []string{"aim", "claim"},
			},
		},
		"Composite": {
			reason: "A composite's names have an X in front.",
			kind:   "XAIMEndpoint",
			want: extv1.CustomResourceDefinitionNames{
				Kind: "XAIMEndpoint", Plural: "xaimendpoints", Singular: "xaimendpoint",
				ShortNames: []string{"xaimep"}, Categories: []string{"aim", "composite"},
			},
		},
		"Recipe": {
			reason: "So do those of recipes.",
			kind:   "AIMRecipe",
			want: extv1.CustomResourceDefinitionNames{
				Kind: "AIMRecipe", Plural: "aimrecipes", Singular: "aimrecipe",
				ShortNames: []string{"aimrecipe"}, Categories: []string{"aim", "claim"},
			},
		},
		"Cache": {
			reason: "And those of caches.",
			kind:   "AIMCache",
			want: extv1.CustomResourceDefinitionNames{
				Kind: "AIMCache", Plural: "aimcaches", Singular: "aimcache",
				ShortNames: []string{"aimcache"}, Categories: []string{"aim", "claim"},
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, crdOf(t, tc.kind).Spec.Names); diff != "" {
				t.Errorf("%s\nNames of %s: -want, +got:\n%s", tc.reason, tc.kind, diff)
			}
		})
	}
}

// TestCompatibleFields checks that what manifests for the earlier operator say
// is understood, and that what its users read is still there.
func TestCompatibleFields(t *testing.T) {
	// Fields by kind, path and type. Those of features that come later are
	// added with them: monitoring, deployment, and security.serviceAccount.
	cases := map[string]map[string]string{
		"AIMCache": {
			"spec.storage.storageClass":          "string",
			"spec.storage.size":                  "string",
			"spec.storage.accessMode":            "string",
			"spec.storage.mountPath":             "string",
			"spec.models[].id":                   "string",
			"spec.models[].priority":             "string",
			"spec.models[].retention":            "string",
			"spec.models[].maxSize":              "string",
			"spec.models[].preload":              "boolean",
			"spec.cleanup.enabled":               "boolean",
			"spec.cleanup.schedule":              "string",
			"spec.cleanup.maxAge":                "string",
			"spec.cleanup.minFreeSpace":          "string",
			"spec.cleanup.strategy":              "string",
			"status.phase":                       "string",
			"status.storage.totalSize":           "string",
			"status.storage.usedSize":            "string",
			"status.storage.availableSize":       "string",
			"status.storage.usagePercentage":     "integer",
			"status.storage.pvcName":             "string",
			"status.storage.pvcPhase":            "string",
			"status.cachedModels[].id":           "string",
			"status.cachedModels[].size":         "string",
			"status.cachedModels[].cachedAt":     "string",
			"status.cachedModels[].lastAccessed": "string",
			"status.cachedModels[].accessCount":  "integer",
			"status.cachedModels[].status":       "string",
			"status.usage.totalModels":           "integer",
			"status.usage.activeModels":          "integer",
			"status.usage.lastCleanup":           "string",
			"status.usage.nextCleanup":           "string",
		},
		"AIMRecipe": {
			"spec.modelId":        "string",
			"spec.hardware":       "string",
			"spec.precision":      "string",
			"spec.backend":        "string",
			"spec.description":    "string",
			"spec.configurations": "array",
			"spec.performance.expectedTokensPerSecond": "integer",
			"spec.performance.expectedLatencyMs":       "integer",
			"spec.performance.maxBatchSize":            "integer",
			"status.phase":                             "string",
			"status.usage.endpointCount":               "integer",
		},
		"AIMEndpoint": {
			"spec.recipe.customRecipe.name":               "string",
			"spec.recipe.customRecipe.namespace":          "string",
			"spec.model.id":                               "string",
			"spec.model.version":                          "string",
			"spec.model.revision":                         "string",
			"spec.recipe.autoSelect":                      "boolean",
			"spec.recipe.gpuCount":                        "integer",
			"spec.recipe.precision":                       "string",
			"spec.recipe.backend":                         "string",
			"spec.resources.gpuCount":                     "integer",
			"spec.resources.cpu":                          "string",
			"spec.resources.memory":                       "string",
			"spec.resources.cpuLimit":                     "string",
			"spec.resources.memoryLimit":                  "string",
			"spec.scaling.minReplicas":                    "integer",
			"spec.scaling.maxReplicas":                    "integer",
			"spec.scaling.targetCPUUtilization":           "integer",
			"spec.scaling.targetMemoryUtilization":        "integer",
			"spec.scaling.targetGPUUtilization":           "integer",
			"spec.scaling.scaleDownDelay":                 "integer",
			"spec.scaling.scaleUpDelay":                   "integer",
			"spec.service.type":                           "string",
			"spec.service.port":                           "integer",
			"spec.service.targetPort":                     "integer",
			"spec.service.annotations":                    "object",
			"spec.service.loadBalancerIP":                 "string",
			"spec.cache.enabled":                          "boolean",
			"spec.cache.storageClass":                     "string",
			"spec.cache.size":                             "string",
			"spec.cache.accessMode":                       "string",
			"spec.security.podSecurityContext.runAsUser":  "integer",
			"spec.security.podSecurityContext.runAsGroup": "integer",
			"spec.security.podSecurityContext.fsGroup":    "integer",
			"spec.image.repository":                       "string",
			"spec.image.tag":                              "string",
			"spec.image.pullPolicy":                       "string",
			"spec.image.pullSecrets[]":                    "string",
			"status.phase":                                "string",
			"status.conditions[].type":                    "string",
			"status.observedGeneration":                   "integer",
			"status.selectedRecipe.name":                  "string",
			"status.selectedRecipe.gpuCount":              "integer",
			"status.selectedRecipe.precision":             "string",
			"status.selectedRecipe.backend":               "string",
			"status.endpoints.internal":                   "string",
			"status.endpoints.external":                   "string",
			"status.endpoints.loadBalancer":               "string",
			"status.replicas.current":                     "integer",
			"status.replicas.desired":                     "integer",
			"status.replicas.ready":                       "integer",
			"status.replicas.available":                   "integer",
			"status.metrics.cpuUtilization":               "integer",
			"status.metrics.memoryUtilization":            "integer",
			"status.metrics.gpuUtilization":               "integer",
		},
	}

	for kind, want := range cases {
		t.Run(kind, func(t *testing.T) {
			s := *crdOf(t, kind).Spec.Versions[0].Schema.OpenAPIV3Schema
			got := map[string]string{}
			for path := range want {
				if f, ok := field(s, path); ok {
					got[path] = f.Type
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Fields that the earlier operator had: -want, +got:\n%s", diff)
			}
		})
	}
}

// TestCompatibleValues checks the spellings that manifests in the field use.
func TestCompatibleValues(t *testing.T) {
	cases := map[string]struct {
		kind string
		path string
		want []string
	}{
		"Precision":  {kind: "AIMEndpoint", path: "spec.recipe.precision", want: []string{"bfloat16", "float16", "float8", "int8", "int4", "bf16", "fp16", "fp8"}},
		"Backend":    {kind: "AIMEndpoint", path: "spec.recipe.backend", want: []string{"vllm", "sglang"}},
		"Service":    {kind: "AIMEndpoint", path: "spec.service.type", want: []string{"ClusterIP", "NodePort", "LoadBalancer"}},
		"PullPolicy": {kind: "AIMEndpoint", path: "spec.image.pullPolicy", want: []string{"Always", "IfNotPresent", "Never"}},
		"Hardware":   {kind: "AIMRecipe", path: "spec.hardware", want: []string{"MI300X", "MI325X", "MI355X", "MI350X", "MI250", "MI210"}},
		"Priority":   {kind: "AIMCache", path: "spec.models[].priority", want: []string{"high", "medium", "low"}},
		"Strategy":   {kind: "AIMCache", path: "spec.cleanup.strategy", want: []string{"lru", "lfu", "fifo", "size"}},
		"CachePhase": {kind: "AIMCache", path: "status.phase", want: []string{"Pending", "Preloading", "Ready", "Degraded", "Failed"}},
		"Phase":      {kind: "AIMEndpoint", path: "status.phase", want: []string{"Pending", "Starting", "Ready", "Degraded", "Failed"}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f, ok := field(*crdOf(t, tc.kind).Spec.Versions[0].Schema.OpenAPIV3Schema, tc.path)
			if !ok {
				t.Fatalf("%s has no field %s", tc.kind, tc.path)
			}
			got := make([]string, 0, len(f.Enum))
			for _, e := range f.Enum {
				v := ""
				if err := json.Unmarshal(e.Raw, &v); err != nil {
					t.Fatalf("cannot read a value of %s: %v", tc.path, err)
				}
				got = append(got, v)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Values of %s: -want, +got:\n%s", tc.path, diff)
			}
		})
	}
}
