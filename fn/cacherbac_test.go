package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	cacheinventory "github.com/aim-engine/function-aim/fn/inventory"
	"github.com/aim-engine/function-aim/test/controlplane"
)

// TestAgentRole shows, on a real API server, that a Role for one ConfigMap by
// its name is enough for the agent, even if the ConfigMap is not there yet, and
// that it allows nothing else.
func TestAgentRole(t *testing.T) {
	if testing.Short() {
		t.Skip("This test starts a real API server.")
	}
	cp := controlplane.StartT(t, controlplane.Options{Layer: controlplane.APIServer})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	const ns, name, inventoryName = "ml", "big-cache", "big-inventory"
	kube := cp.Kube()
	_, err := kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{})
	must(t, err)
	_, err = kube.CoreV1().ServiceAccounts(ns).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	must(t, err)
	_, err = kube.RbacV1().Roles(ns).Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{inventoryName}, Verbs: []string{"create", "patch"}},
	}}, metav1.CreateOptions{})
	must(t, err)
	_, err = kube.RbacV1().RoleBindings(ns).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: name, Namespace: ns}},
	}, metav1.CreateOptions{})
	must(t, err)
	token, err := kube.CoreV1().ServiceAccounts(ns).CreateToken(ctx, name, &authnv1.TokenRequest{}, metav1.CreateOptions{})
	must(t, err)
	as := rest.AnonymousClientConfig(cp.Config())
	as.BearerToken = token.Status.Token

	h, _ := cacheHub(t)
	home := t.TempDir()
	flags := []string{"--namespace=" + ns, "--kubeconfig=" + kubeconfigOf(t, as)}
	// Once it is created, and once changed. Authorization may lag behind.
	for range 2 {
		var a *process
		for range 50 {
			a = downloads(t, h, home, "acme/small", append(flags, "--configmap="+inventoryName)...)
			if err = a.Run(); err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if err != nil {
			t.Fatalf("download: %v\n%s", err, a.stderr.String())
		}
	}
	cm, err := kube.CoreV1().ConfigMaps(ns).Get(ctx, inventoryName, metav1.GetOptions{})
	must(t, err)
	d, err := cacheinventory.Unmarshal([]byte(cm.Data[cacheinventory.Key]))
	if err != nil || len(d.Models) != 1 || d.Models[0].Status != cacheinventory.StatusCached {
		t.Errorf("the ConfigMap has %+v, %v", cm.Data, err)
	}

	a := downloads(t, h, home, "acme/small", append(flags, "--configmap=other")...)
	if got := exit(t, a.Run()); got != 1 || !strings.Contains(a.stderr.String(), "forbidden") {
		t.Errorf("another ConfigMap: want exit code 1, got %d:\n%s", got, a.stderr.String())
	}

	c, err := kubernetes.NewForConfig(as)
	must(t, err)
	forbidden := map[string]func() error{
		"create another ConfigMap": func() error {
			_, err := c.CoreV1().ConfigMaps(ns).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "other"}}, metav1.CreateOptions{})
			return err
		},
		"patch it in another namespace": func() error {
			_, err := c.CoreV1().ConfigMaps("default").Patch(ctx, inventoryName, types.ApplyPatchType, []byte(`{"apiVersion":"v1","kind":"ConfigMap"}`), metav1.PatchOptions{FieldManager: "x"})
			return err
		},
		"delete it": func() error {
			return c.CoreV1().ConfigMaps(ns).Delete(ctx, inventoryName, metav1.DeleteOptions{})
		},
		"read it": func() error {
			_, err := c.CoreV1().ConfigMaps(ns).Get(ctx, inventoryName, metav1.GetOptions{})
			return err
		},
		"list ConfigMaps": func() error {
			_, err := c.CoreV1().ConfigMaps(ns).List(ctx, metav1.ListOptions{})
			return err
		},
		"read Secrets": func() error {
			_, err := c.CoreV1().Secrets(ns).List(ctx, metav1.ListOptions{})
			return err
		},
		"create a Pod": func() error {
			_, err := c.CoreV1().Pods(ns).Create(ctx, &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "x"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "x", Image: "x"}}},
			}, metav1.CreateOptions{})
			return err
		},
	}
	for what, do := range forbidden {
		if err := do(); !kerrors.IsForbidden(err) {
			t.Errorf("%s: want 403, got %v", what, err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// kubeconfigOf a client's configuration, in a file.
func kubeconfigOf(t *testing.T, cfg *rest.Config) string {
	t.Helper()
	if err := rest.LoadTLSFiles(cfg); err != nil {
		t.Fatalf("rest.LoadTLSFiles(...): %v", err)
	}
	k := clientcmdapi.NewConfig()
	k.Clusters["c"] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	k.AuthInfos["c"] = &clientcmdapi.AuthInfo{Token: cfg.BearerToken}
	k.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "c"}
	k.CurrentContext = "c"
	name := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*k, name); err != nil {
		t.Fatal(fmt.Errorf("cannot write kubeconfig: %w", err))
	}
	return name
}
