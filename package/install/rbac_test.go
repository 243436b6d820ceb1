package install

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/aim-engine/function-aim/fn/cache"
	"github.com/aim-engine/function-aim/fn/endpoint"
)

// TestProviderRole makes sure that the provider may do what it takes to apply
// the kinds that a render can contain, and no more.
func TestProviderRole(t *testing.T) {
	role := &rbacv1.ClusterRole{}
	decode(t, "provider-rbac.yaml", role, &rbacv1.ClusterRoleBinding{})
	composed := append(slices.Concat(endpoint.Kinds(), cache.Kinds()),
		schema.GroupVersionKind{Group: "protection.crossplane.io", Version: "v1beta1", Kind: "Usage"},
		schema.GroupVersionKind{Group: "protection.crossplane.io", Version: "v1beta1", Kind: "ClusterUsage"})
	want := grants(composed, "create", "delete", "get", "list", "patch", "update", "watch")
	if diff := cmp.Diff(want, granted(role)); diff != "" {
		t.Errorf("provider-rbac.yaml: -what we compose, +what's granted:\n%s", diff)
	}
}

// TestCrossplaneRole makes sure that Crossplane may read what the function
// requires, and no more.
func TestCrossplaneRole(t *testing.T) {
	role := &rbacv1.ClusterRole{}
	decode(t, "crossplane-rbac.yaml", role)
	required := append(slices.Concat(endpoint.Kinds(), cache.Kinds()),
		corev1.SchemeGroupVersion.WithKind("Pod"),
		storagev1.SchemeGroupVersion.WithKind("StorageClass"),
		schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"},
		schema.GroupVersionKind{Group: "scheduling.k8s.io", Version: "v1", Kind: "PriorityClass"},
		schema.GroupVersionKind{Group: "node.k8s.io", Version: "v1", Kind: "RuntimeClass"},
		schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "Gateway"},
		schema.GroupVersionKind{Group: "kubernetes.crossplane.io", Version: "v1alpha2", Kind: "Object"})
	want := grants(required, "get", "list", "watch")
	if diff := cmp.Diff(want, granted(role)); diff != "" {
		t.Errorf("crossplane-rbac.yaml: -what the function requires, +what's granted:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"rbac.crossplane.io/aggregate-to-crossplane": "true"}, role.GetLabels(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("crossplane-rbac.yaml: labels: -want, +got:\n%s", diff)
	}
}

// grants of the supplied verbs on the resources of the supplied kinds: verbs by
// resource.group.
func grants(kinds []schema.GroupVersionKind, verbs ...string) map[string][]string {
	g := map[string][]string{}
	for _, k := range kinds {
		r, _ := meta.UnsafeGuessKindToResource(k)
		gr := r.GroupResource()
		// The only one without a regular plural.
		gr.Resource = strings.Replace(gr.Resource, "gatewaies", "gateways", 1)
		g[gr.String()] = verbs
	}
	return g
}

// granted by a ClusterRole: verbs by resource.group.
func granted(role *rbacv1.ClusterRole) map[string][]string {
	g := map[string][]string{}
	for _, rule := range role.Rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				gr := schema.GroupResource{Group: group, Resource: resource}.String()
				g[gr] = append(g[gr], rule.Verbs...)
				slices.Sort(g[gr])
			}
		}
	}
	return g
}
