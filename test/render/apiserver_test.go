package render

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/fn/cache"
	"github.com/aim-engine/function-aim/fn/endpoint"
	"github.com/aim-engine/function-aim/fn/recipe"
	"github.com/aim-engine/function-aim/test/controlplane"
	"github.com/aim-engine/function-aim/test/tools"
)

// TestManifests makes sure that a real API server takes all that we render: the
// golden files' manifests, those of the examples, and those of each model of
// the catalog on each hardware and number of GPUs. A manifest that it does not
// take could neither be applied nor, once it was, deleted.
func TestManifests(t *testing.T) {
	if testing.Short() {
		t.Skip("This test starts a real API server.")
	}
	cp := controlplane.StartT(t, controlplane.Options{Layer: controlplane.APIServer})
	if err := cp.InstallDefinitions(t.Context(), tools.PrometheusOperator, tools.GatewayAPI, tools.KEDA); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, cp)

	t.Run("Golden", func(t *testing.T) {
		files, err := filepath.Glob("testdata/*/want-*.yaml")
		if err != nil || len(files) == 0 {
			t.Fatalf("cannot find golden files: %v", err)
		}
		for _, f := range files {
			t.Run(filepath.Base(filepath.Dir(f))+"/"+filepath.Base(f), func(t *testing.T) {
				s.takes(t, manifests(t, read(t, f)))
			})
		}
	})
	t.Run("Examples", func(t *testing.T) {
		files, err := filepath.Glob(root + "/examples/*/claim*.yaml")
		if err != nil || len(files) == 0 {
			t.Fatalf("cannot find examples: %v", err)
		}
		for _, f := range files {
			t.Run(filepath.Base(filepath.Dir(f)), func(t *testing.T) {
				s.takes(t, manifests(t, plan(t, f, "")))
			})
		}
	})
	t.Run("Optional", func(t *testing.T) {
		s.takes(t, manifests(t, plan(t, "-", optional)))
	})
	t.Run("Catalog", func(t *testing.T) {
		models, err := recipe.BuiltinModels()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range models {
			t.Run(strings.ReplaceAll(m, "/", "_"), func(t *testing.T) {
				s.takes(t, manifests(t, plan(t, "-", claims(t, m))))
			})
		}
	})

	t.Run("Caches", func(t *testing.T) {
		for name, c := range caches() {
			t.Run(name, func(t *testing.T) {
				s.restricts(t, c.Namespace)
				s.takes(t, manifestsOf(t, c))
			})
		}
	})

	// What no test renders, no test has tried.
	want := map[schema.GroupVersionKind]bool{}
	for _, k := range slices.Concat(endpoint.Kinds(), cache.Kinds()) {
		want[k] = true
	}
	if diff := cmp.Diff(want, s.seen, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-want kinds, +rendered kinds:\n%s", diff)
	}
}

// optional kinds that neither examples nor golden files have, with both
// engines.
const optional = `
apiVersion: aim.fn.crossplane.io/v1beta1
kind: Input
autoscaling: {autoscaler: KEDA, prometheusAddress: "http://prometheus.monitoring:9090", activationQuery: 'sum(pending{name="$name",model="$model"})'}
monitoring: {labels: {release: prometheus}, dashboardLabels: {dashboards: "yes"}, scrapeFrom: [{podSelector: {}}]}
route: {ingressClass: nginx}
---
apiVersion: aim.engine.amd.com/v1alpha1
kind: AIMEndpoint
metadata: {name: zero}
spec:
  model: {id: Qwen/Qwen3-8B}
  scaling: {minReplicas: 0, maxReplicas: 3, targetCPUUtilization: 70, targetMemoryUtilization: 80, targetGPUUtilization: 90, targetKVCacheUtilization: 70, targetQueueDepth: 3, scaleUpDelay: 0, scaleDownDelay: 60}
  service: {route: {hostname: zero.example.com, tlsSecretName: cert}}
  monitoring: {enabled: true}
  security: {networkPolicy: {enabled: true}}
---
apiVersion: aim.engine.amd.com/v1alpha1
kind: AIMEndpoint
metadata: {name: sglang.v2}
spec:
  model: {id: Qwen/Qwen3-8B}
  recipe: {backend: sglang}
  scaling: {maxReplicas: 2}
  service: {route: {hostname: sglang.example.com, gateway: {name: public}}}
  monitoring: {enabled: true}
  security: {serviceAccount: {create: true}, apiKeySecretRef: {name: keys, key: sglang}}
`

// claims of a model, one for each configuration of each of its recipes.
func claims(t *testing.T, model string) string {
	t.Helper()
	recipes, err := recipe.Builtin(model)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range recipes {
		for _, c := range r.Configurations {
			fmt.Fprintf(&b, `---
apiVersion: aim.engine.amd.com/v1alpha1
kind: AIMEndpoint
metadata: {name: %s-%d}
spec:
  model: {id: %s}
  recipe: {hardware: %s, precision: %s, backend: %s, gpuCount: %d}
  cache: {enabled: true}
  scaling: {minReplicas: 1, maxReplicas: 2}
`, r.Name, c.GPUCount, model, r.Hardware, r.Precision, r.Backend, c.GPUCount)
		}
	}
	return b.String()
}

// plan what would be composed.
func plan(t *testing.T, file, stdin string) []*unstructured.Unstructured {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), build(t), "plan", "--output=objects", file)
	stdout, stderr := &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), stdout, stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("cannot plan %s: %v: %s", file, err, stderr)
	}
	f := filepath.Join(t.TempDir(), "plan.yaml")
	if err := os.WriteFile(f, stdout.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return read(t, f)
}

func read(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	docs, err := controlplane.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

// A manifest of an Object.
type manifest struct {
	*unstructured.Unstructured

	// partial manifests are some fields of an object that another one creates.
	partial bool
}

// manifests in Objects, partial ones last.
func manifests(t *testing.T, docs []*unstructured.Unstructured) []manifest {
	t.Helper()
	out := []manifest{}
	for _, d := range docs {
		if d.GetKind() != "Object" {
			continue
		}
		m, ok, err := unstructured.NestedMap(d.Object, "spec", "forProvider", "manifest")
		if err != nil || !ok {
			t.Fatalf("cannot find the manifest of %s: %v", d.GetName(), err)
		}
		policies, _, err := unstructured.NestedStringSlice(d.Object, "spec", "managementPolicies")
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, manifest{Unstructured: &unstructured.Unstructured{Object: m}, partial: slices.Contains(policies, "Update") && !slices.Contains(policies, "Create")})
	}
	slices.SortStableFunc(out, func(a, b manifest) int {
		switch {
		case a.partial == b.partial:
			return 0
		case a.partial:
			return 1
		}
		return -1
	})
	return out
}

// A server that manifests are tried on.
type server struct {
	cp       *controlplane.ControlPlane
	client   dynamic.Interface
	warnings *warnings
	// seen kinds of manifests.
	seen map[schema.GroupVersionKind]bool
}

// warnings that the server gave.
type warnings struct{ texts []string }

func (w *warnings) HandleWarningHeader(_ int, _, text string) { w.texts = append(w.texts, text) }

func newServer(t *testing.T, cp *controlplane.ControlPlane) *server {
	t.Helper()
	s := &server{cp: cp, warnings: &warnings{}, seen: map[schema.GroupVersionKind]bool{}}
	cfg := cp.Config()
	cfg.WarningHandler = s.warnings
	var err error
	if s.client, err = dynamic.NewForConfig(cfg); err != nil {
		t.Fatal(err)
	}
	return s
}

// takes makes sure that the server takes manifests, without a warning, the way
// in which provider-kubernetes applies them.
func (s *server) takes(t *testing.T, ms []manifest) {
	t.Helper()
	for _, m := range ms {
		gvk := m.GroupVersionKind()
		s.seen[gvk] = true
		if m.GetNamespace() == "" {
			// The provider does not set it.
			t.Errorf("%s %s has no namespace", gvk.Kind, m.GetName())
			continue
		}
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: m.GetNamespace()}}
		if _, err := s.cp.Kube().CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil && !kerrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
		gvr, _ := meta.UnsafeGuessKindToResource(gvk)
		client := s.client.Resource(gvr).Namespace(m.GetNamespace())
		if m.partial {
			// It is applied to an object that exists, which is that of another
			// manifest of the same name.
			i := slices.IndexFunc(ms, func(o manifest) bool {
				return !o.partial && o.GroupVersionKind() == gvk && o.GetName() == m.GetName()
			})
			if i < 0 {
				t.Errorf("Nothing creates the %s %s that a partial manifest is of", gvk.Kind, m.GetName())
				continue
			}
			s.apply(t, client, ms[i], false)
		}
		s.apply(t, client, m, true)
		if m.partial {
			if err := client.Delete(t.Context(), m.GetName(), metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (s *server) apply(t *testing.T, client dynamic.ResourceInterface, m manifest, dry bool) {
	t.Helper()
	b, err := m.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	// The provider's field manager has the Object's name. Two Objects of one
	// target own what each of them has applied.
	manager := "provider-kubernetes/" + m.GetName()
	if m.partial {
		manager += "-partial"
	}
	o := metav1.PatchOptions{
		FieldManager:    manager,
		Force:           ptr.To(true),
		FieldValidation: metav1.FieldValidationStrict,
	}
	if dry {
		o.DryRun = []string{metav1.DryRunAll}
	}
	s.warnings.texts = nil
	if _, err := client.Patch(t.Context(), m.GetName(), types.ApplyPatchType, b, o); err != nil {
		t.Errorf("The API server does not take %s %s: %v", m.GetKind(), m.GetName(), err)
	}
	for _, w := range s.warnings.texts {
		t.Errorf("The API server warns of %s %s: %s", m.GetKind(), m.GetName(), w)
	}
}
