package render

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/agent"
	"github.com/aim-engine/function-aim/fn/cache"
	"github.com/aim-engine/function-aim/fn/object"
	"github.com/aim-engine/function-aim/fn/volume"
)

// caches that an API server must take.
func caches() map[string]cache.Cache {
	platform := cache.Platform{
		Agent: agent.Platform{Image: "localhost:5000/function-aim:v1"}, GPUResourceName: "amd.com/gpu",
		Tolerations: []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpExists}},
	}
	of := func(name string, spec v1alpha1.AIMCacheSpec) cache.Cache {
		cache.Default(&spec)
		return cache.Cache{Name: name, Namespace: "caches", Composite: name + "-x7f2q", Spec: spec, Platform: platform, Used: []string{"Qwen/Qwen3-8B"}}
	}
	all := v1alpha1.AIMCacheSpec{
		Storage: v1alpha1.CacheStorage{StorageClass: "fast", Size: "2Ti", AccessMode: "ReadWriteMany"},
		Models: []v1alpha1.CacheModel{
			{ID: "Qwen/Qwen3-8B", Preload: ptr.To(true)},
			{ID: "meta-llama/Llama-3.1-70B-Instruct", Revision: "refs/pr/12", Priority: "high", Retention: "4w", MaxSize: "200Gi", Preload: ptr.To(true)},
		},
		Cleanup:          &v1alpha1.CacheCleanup{Enabled: ptr.To(true), Schedule: "@weekly", MaxAge: "30d", MinFreeSpace: "100Gi", Strategy: "size"},
		HFTokenSecretRef: &v1alpha1.SecretKeyRef{Name: "hf", Key: "token"},
	}
	return map[string]cache.Cache{
		"Minimal":    of("minimal", v1alpha1.AIMCacheSpec{Storage: v1alpha1.CacheStorage{Size: "1.5Ti"}}),
		"Everything": of("all", all),
		// As long as a name can be, and as long as one that is not shortened can.
		"LongName":   of(strings.Repeat("n", 63), all),
		"LongerName": of("4."+strings.Repeat("n", 54), all),
		"NameOf56":   of(strings.Repeat("m", 56), all),
	}
}

// manifestsOf a cache that has its volume, and nothing else yet.
func manifestsOf(t *testing.T, c cache.Cache) []manifest {
	t.Helper()
	rendered, err := c.Render(cache.Live{Volume: c.Volume().Claim(nil, volume.Class{}), Role: true, Binding: true})
	if err != nil {
		t.Fatal(err)
	}
	out := make([]manifest, 0, len(rendered))
	for _, r := range rendered {
		m, err := object.Manifest(r.Object)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, manifest{Unstructured: &unstructured.Unstructured{Object: m}})
	}
	return out
}

// restricts a namespace to pods that meet the restricted Pod Security Standard:
// the server warns of Jobs and CronJobs that would make others.
func (s *server) restricts(t *testing.T, namespace string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
	}}}
	if _, err := s.cp.Kube().CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil && !kerrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}
