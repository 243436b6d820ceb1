package controlplane

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestFull(t *testing.T) {
	if testing.Short() {
		t.Skip("This test starts a real control plane.")
	}
	c := StartT(t, Options{})

	t.Run("Packages", func(t *testing.T) { testPackages(t, c) })
	t.Run("Usage", func(t *testing.T) { testUsage(t, c) })
	t.Run("Objects", func(t *testing.T) { testObjects(t, c) })
	t.Run("Upgrade", func(t *testing.T) { testUpgrade(t, c) })
	t.Run("Restart", func(t *testing.T) { testRestartAll(t, c) })
}

// testPackages checks that everything shows as healthy to those who look.
func testPackages(t *testing.T, c *ControlPlane) {
	t.Helper()

	for kind, name := range map[string]string{
		kindProvider:      "crossplane-contrib-provider-kubernetes",
		kindFunction:      "aim-engine-function-aim",
		kindConfiguration: "configuration-aim",
	} {
		if err := c.WaitFor(t.Context(), patience, pkgGVK(kind), "", name, "Installed", "Healthy"); err != nil {
			t.Errorf("\nAll packages should be healthy once a plane has started.\n%v", err)
		}
	}
}

// testUsage checks that Crossplane's webhooks are called.
func testUsage(t *testing.T, c *ControlPlane) {
	t.Helper()

	ctx := t.Context()
	maps := c.Kube().CoreV1().ConfigMaps(testNamespace)
	if _, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "used"}}, metav1.CreateOptions{}); err != nil {
		t.Fatalf("cannot create ConfigMap: %v", err)
	}
	usage := object("protection.crossplane.io/v1beta1", "Usage", testNamespace, "used", map[string]any{
		"of":     map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "resourceRef": map[string]any{"name": "used"}},
		"reason": "somebody needs it",
	})
	if err := c.Apply(ctx, usage); err != nil {
		t.Fatalf("cannot apply Usage: %v", err)
	}
	if err := c.WaitFor(ctx, patience, usage.GroupVersionKind(), testNamespace, "used", "Ready"); err != nil {
		t.Fatalf("\nA Usage should become ready.\n%v", err)
	}
	err := maps.Delete(ctx, "used", metav1.DeleteOptions{})
	if err == nil || !strings.Contains(err.Error(), "somebody needs it") {
		t.Errorf("\nA webhook should refuse to delete what's in use, with the reason.\ngot error: %v", err)
	}

	r, err := c.Resource(usage.GroupVersionKind(), testNamespace)
	if err != nil {
		t.Fatalf("cannot get client: %v", err)
	}
	if err := r.Delete(ctx, "used", metav1.DeleteOptions{}); err != nil {
		t.Fatalf("cannot delete Usage: %v", err)
	}
	err = until(ctx, patience, "the ConfigMap to go", func(ctx context.Context) error {
		return maps.Delete(ctx, "used", metav1.DeleteOptions{})
	})
	if err != nil {
		t.Errorf("\nWhat's not in use any more should be deleted.\n%v", err)
	}
}

// kubernetesObject returns a provider-kubernetes Object of either generation.
func kubernetesObject(apiVersion, namespace, name string, manifest map[string]any) (schema.GroupVersionKind, func(context.Context, *ControlPlane) error) {
	ref := map[string]any{"name": "default"}
	if namespace != "" {
		ref["kind"] = "ClusterProviderConfig"
	}
	o := object(apiVersion, "Object", namespace, name, map[string]any{
		"forProvider":       map[string]any{"manifest": manifest},
		"providerConfigRef": ref,
	})
	return o.GroupVersionKind(), func(ctx context.Context, c *ControlPlane) error { return c.Apply(ctx, o) }
}

// testObjects checks that the provider works, and is held to its rights.
func testObjects(t *testing.T, c *ControlPlane) {
	t.Helper()

	manifest := func(apiVersion, kind, name string) map[string]any {
		m := map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name}}
		if kind == "ConfigMap" {
			m["metadata"] = map[string]any{"name": name, "namespace": testNamespace}
			m["data"] = map[string]any{"key": "value"}
		}
		return m
	}
	cases := map[string]struct {
		reason     string
		apiVersion string
		namespace  string
		manifest   map[string]any
		refused    string
	}{
		"cluster": {
			reason:     "The provider should reconcile the Objects that claims compose.",
			apiVersion: "kubernetes.crossplane.io/v1alpha2",
			manifest:   manifest("v1", "ConfigMap", "object-cluster"),
		},
		"namespaced": {
			reason:     "The provider should reconcile the Objects that namespaced composites compose.",
			apiVersion: "kubernetes.m.crossplane.io/v1alpha1",
			namespace:  testNamespace,
			manifest:   manifest("v1", "ConfigMap", "object-namespaced"),
		},
		"refused": {
			reason:     "The provider should not be able to do what we don't need.",
			apiVersion: "kubernetes.crossplane.io/v1alpha2",
			manifest:   manifest("v1", "Namespace", "object-refused"),
			refused:    "is forbidden",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			gvk, apply := kubernetesObject(tc.apiVersion, tc.namespace, name, tc.manifest)
			if err := apply(ctx, c); err != nil {
				t.Fatalf("cannot apply Object: %v", err)
			}
			if tc.refused == "" {
				if err := c.WaitFor(ctx, patience, gvk, tc.namespace, name, "Ready", "Synced"); err != nil {
					t.Errorf("\n%s\n%v", tc.reason, err)
				}
				return
			}
			err := until(ctx, patience, "the Object", func(ctx context.Context) error {
				u, err := c.apply.get(ctx, gvk, tc.namespace, name)
				if err != nil {
					return err
				}
				if s, msg := condition(u, "Synced"); s != string(metav1.ConditionFalse) || !strings.Contains(msg, tc.refused) {
					return fmt.Errorf("Synced is %q: %s", s, msg)
				}
				return nil
			})
			if err != nil {
				t.Errorf("\n%s\n%v", tc.reason, err)
			}
			if _, err := c.Kube().CoreV1().Namespaces().Get(ctx, "object-refused", metav1.GetOptions{}); !kerrors.IsNotFound(err) {
				t.Errorf("\n%s\nwant not found, got error: %v", tc.reason, err)
			}
		})
	}
}

// testUpgrade checks that new packages take the place of old ones.
func testUpgrade(t *testing.T, c *ControlPlane) {
	t.Helper()

	before, changed := c.state.Version, false
	if err := c.installPackages(t.Context(), c.buildPackages(t.Context(), "hchanged")); err != nil {
		t.Fatalf("\nNew packages should be installed.\n%v", err)
	}
	if c.state.Version == before {
		t.Errorf("\nNew packages should have a new version.\nwant other than %s", before)
	}
	revs, err := c.revisions(t.Context(), kindFunction, "aim-engine-function-aim")
	if err != nil {
		t.Fatalf("cannot list revisions: %v", err)
	}
	for _, r := range revs {
		image, state := "", ""
		if s, ok := r.Object["spec"].(map[string]any); ok {
			image, _ = s["image"].(string)
			state, _ = s["desiredState"].(string)
		}
		changed = changed || state == "Active" && strings.HasSuffix(image, c.state.Version)
	}
	if !changed {
		t.Errorf("\nThe new revision of the function should be the active one.\ngot %v", revs)
	}
	testPackages(t, c)
}

// testRestartAll kills what e2e tests kill, and checks that all is well again.
func testRestartAll(t *testing.T, c *ControlPlane) {
	t.Helper()

	for _, name := range []string{ProcessFunction, ProcessProvider, ProcessCrossplane, ProcessRBACManager} {
		if err := c.KillProcess(name); err != nil {
			t.Fatalf("c.KillProcess(%q): %v", name, err)
		}
		if err := c.KillProcess(name); err != nil {
			t.Errorf("\nIt should not matter if a process is gone already.\nc.KillProcess(%q): %v", name, err)
		}
		var f *fatalError
		if err := c.exited(name); !errors.As(err, &f) {
			t.Errorf("\nA process that was killed should be known to be.\nc.exited(%q): got error %v", name, err)
		}
		if err := c.StartProcess(name); err != nil {
			t.Fatalf("c.StartProcess(%q): %v", name, err)
		}
	}
	gvk, apply := kubernetesObject("kubernetes.crossplane.io/v1alpha2", "", "restarted", map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "restarted", "namespace": testNamespace},
		"data":     map[string]any{"key": "value"},
	})
	if err := apply(t.Context(), c); err != nil {
		t.Fatalf("cannot apply Object: %v", err)
	}
	if err := c.WaitFor(t.Context(), patience, gvk, "", "restarted", "Ready", "Synced"); err != nil {
		t.Errorf("\nThe provider should work again once it's started.\n%v", err)
	}
	t.Run("Usage", func(t *testing.T) {
		if err := until(t.Context(), patience, "Crossplane's webhooks", func(ctx context.Context) error {
			return c.waitCrossplane(ctx, c.state.Ports["crossplane-webhooks"], c.state.Ports["crossplane-health"])
		}); err != nil {
			t.Fatal(err)
		}
		testUsage(t, c)
	})
}
