package controlplane

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/package/xpkg"
	"github.com/aim-engine/function-aim/test/tools"
)

// The provider, as a person who follows our instructions gets it.
const (
	// providerPackage is where the package is in the world. A plane gets it
	// from its own registry.
	providerPackage = "xpkg.crossplane.io/crossplane-contrib/provider-kubernetes"

	// providerServiceAccount is who package/install gives rights to.
	providerServiceAccount = "provider-kubernetes"

	// providerKubeconfig is a Secret that ProviderConfigs refer to.
	providerKubeconfig = "provider-kubernetes-kubeconfig"

	// providerTLS is a Secret with the provider's server certificate.
	providerTLS = "provider-kubernetes-tls-server"
)

// startProvider installs the provider's package, and starts it as its own
// ServiceAccount. Crossplane's RBAC manager gives it what it gives any
// provider; the rest comes from package/install.
func (c *ControlPlane) startProvider(ctx context.Context) error {
	version, err := toolVersion(tools.ProviderKubernetes)
	if err != nil {
		return err
	}
	if err := c.pushProvider(ctx, version); err != nil {
		return err
	}
	if err := c.grantProvider(ctx); err != nil {
		return err
	}
	if err := c.apply.apply(ctx,
		object("pkg.crossplane.io/v1beta1", "ImageConfig", "", "local-provider-kubernetes", map[string]any{
			"matchImages":  []any{map[string]any{"type": "Prefix", "prefix": providerPackage}},
			"rewriteImage": map[string]any{"prefix": c.registryAddress() + "/crossplane-contrib/provider-kubernetes"},
		}),
	); err != nil {
		return err
	}
	name, image, err := c.install(ctx, kindProvider, providerPackage+":"+version)
	if err != nil {
		return err
	}
	rev, err := c.activeRevision(ctx, kindProvider, name, image)
	if err != nil {
		return err
	}
	if err := c.adoptProvider(ctx, rev); err != nil {
		return err
	}
	if err := c.tlsSecret(ctx, providerTLS, filepath.Join(c.Dir, "provider", "tls")); err != nil {
		return err
	}
	if err := c.setRuntime(ctx, rev, runtimeStatus{tlsSecret: providerTLS}); err != nil {
		return err
	}
	if err := c.runProvider(ctx); err != nil {
		return err
	}
	if err := c.setRuntime(ctx, rev, runtimeStatus{tlsSecret: providerTLS, healthy: true}); err != nil {
		return err
	}
	if err := c.WaitFor(ctx, patience, pkgGVK(kindProvider), "", name, "Installed", "Healthy"); err != nil {
		return err
	}
	return c.configureProvider(ctx)
}

// pushProvider builds a package of the provider's source, and pushes it to the
// plane's registry.
func (c *ControlPlane) pushProvider(ctx context.Context, version string) error {
	src, err := tools.ModuleDir(ctx, tools.ProviderKubernetes, "github.com/crossplane-contrib/provider-kubernetes")
	if err != nil {
		return err
	}
	cli, err := tools.Path(tools.CrossplaneCLI)
	if err != nil {
		return err
	}

	root := filepath.Join(c.Dir, "provider", "package")
	meta, err := os.ReadFile(filepath.Join(src, "package", "crossplane.yaml")) //nolint:gosec // The path is that of a pinned module.
	if err != nil {
		return fmt.Errorf("cannot read provider package: %w", err)
	}
	if err := writeFiles(root, map[string][]byte{"crossplane.yaml": meta}); err != nil {
		return err
	}
	crds, err := ReadDir(filepath.Join(src, "package", "crds"))
	if err != nil {
		return err
	}
	for _, crd := range crds {
		// There is no Service that leads to the provider's webhook. It would
		// convert between versions, of which we only use one.
		unstructured.RemoveNestedField(crd.Object, "spec", "conversion")
		b, err := yaml.Marshal(crd.Object)
		if err != nil {
			return fmt.Errorf("cannot marshal CRD: %w", err)
		}
		if err := writeFiles(filepath.Join(root, "crds"), map[string][]byte{crd.GetName() + ".yaml": b}); err != nil {
			return err
		}
	}
	file := filepath.Join(c.Dir, "provider", "provider-kubernetes.xpkg")
	if err := c.run(ctx, spec{name: "provider-package", path: cli, args: []string{
		"xpkg", "build", "--package-root=" + root, "--examples-root=" + filepath.Join(root, "none"), "--package-file=" + file,
	}}); err != nil {
		return err
	}
	if err := xpkg.Push(ctx, cli, c.registryAddress()+"/crossplane-contrib/provider-kubernetes:"+version, file); err != nil {
		return fmt.Errorf("cannot push provider package: %w", err)
	}
	return nil
}

// grantProvider makes the provider's ServiceAccount, with the rights that a
// person who installs it for our packages gives it.
func (c *ControlPlane) grantProvider(ctx context.Context) error {
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: providerServiceAccount, Namespace: Namespace}}
	if _, err := c.kube.CoreV1().ServiceAccounts(Namespace).Create(ctx, sa, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("cannot create ServiceAccount: %w", err)
	}
	objs, err := c.installed("ClusterRole", "ClusterRoleBinding", "DeploymentRuntimeConfig")
	if err != nil {
		return err
	}
	if err := c.apply.apply(ctx, objs...); err != nil {
		return err
	}
	if !c.opts.ProviderClusterAdmin {
		return nil
	}
	_, err = c.kube.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "provider-kubernetes-admin"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: Namespace, Name: providerServiceAccount}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("cannot create ClusterRoleBinding: %w", err)
	}
	return nil
}

// adoptProvider makes a Deployment that stands for the provider's process. The
// RBAC manager finds out from it which ServiceAccount a revision runs as.
func (c *ControlPlane) adoptProvider(ctx context.Context, rev *unstructured.Unstructured) error {
	labels := map[string]string{"pkg.crossplane.io/provider": "provider-kubernetes", "pkg.crossplane.io/revision": rev.GetName()}
	d := &appsv1.Deployment{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{
			Name:      rev.GetName(),
			Namespace: Namespace,
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: rev.GetAPIVersion(), Kind: rev.GetKind(), Name: rev.GetName(), UID: rev.GetUID(), Controller: ptr.To(true),
			}},
		},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](0),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					ServiceAccountName: providerServiceAccount,
					Containers:         []corev1.Container{{Name: "package-runtime", Image: "runs-as-a-process"}},
				},
			},
		},
	}
	u, err := convert(d)
	if err != nil {
		return err
	}
	return c.apply.apply(ctx, u)
}

// runProvider starts the provider once it may do what it does first.
func (c *ControlPlane) runProvider(ctx context.Context) error {
	binary, err := tools.Path(tools.ProviderKubernetes)
	if err != nil {
		return err
	}
	ports, err := c.reservePorts("provider-health", "provider-webhook")
	if err != nil {
		return err
	}
	dir := filepath.Join(c.Dir, "provider")
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := c.serviceAccountKubeconfig(ctx, providerServiceAccount, kubeconfig); err != nil {
		return err
	}
	if err := c.waitProviderRights(ctx, kubeconfig); err != nil {
		return err
	}
	if err := c.startProcess(spec{
		name: ProcessProvider,
		path: binary,
		args: []string{"--debug", "--enable-watches", "--health-probe-bind-addr=" + loopback(ports[0])},
		env: []string{
			"KUBECONFIG=" + kubeconfig,
			"TLS_SERVER_CERTS_DIR=" + filepath.Join(dir, "tls"),
			// These two are our addition, see test/tools.
			"WEBHOOK_HOST=127.0.0.1",
			"WEBHOOK_PORT=" + strconv.Itoa(ports[1]),
		},
		ports: ports,
	}); err != nil {
		return err
	}
	return until(ctx, patience, "provider-kubernetes", func(ctx context.Context) error {
		if err := c.exited(ProcessProvider); err != nil {
			return err
		}
		return ok(ctx, "http://"+loopback(ports[0])+"/readyz")
	})
}

// waitProviderRights waits until the RBAC manager has given the provider its
// rights. It looks at them just once, when it starts, to find out whether it
// can wait for its CRDs.
func (c *ControlPlane) waitProviderRights(ctx context.Context, kubeconfig string) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("cannot load kubeconfig: %w", err)
	}
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("cannot make a client: %w", err)
	}
	needs := []authorizationv1.ResourceAttributes{
		{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions", Verb: "watch"},
		{Group: "kubernetes.crossplane.io", Resource: "objects", Verb: "watch"},
		{Group: "kubernetes.m.crossplane.io", Resource: "objects", Verb: "watch"},
		{Group: "", Resource: "secrets", Verb: "get"},
	}
	return until(ctx, patience, "the RBAC manager to give rights to provider-kubernetes", func(ctx context.Context) error {
		if err := c.exited(ProcessCrossplane, ProcessRBACManager); err != nil {
			return err
		}
		for _, n := range needs {
			r, err := kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
				Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &n},
			}, metav1.CreateOptions{})
			if err != nil {
				return fmt.Errorf("cannot ask for rights: %w", err)
			}
			if !r.Status.Allowed {
				return fmt.Errorf("it may not %s %s.%s", n.Verb, n.Resource, n.Group)
			}
		}
		return nil
	})
}

// configureProvider lets the provider write to this very API server, as
// itself.
func (c *ControlPlane) configureProvider(ctx context.Context) error {
	for _, crd := range []string{
		"objects.kubernetes.crossplane.io", "providerconfigs.kubernetes.crossplane.io",
		"objects.kubernetes.m.crossplane.io", "clusterproviderconfigs.kubernetes.m.crossplane.io",
	} {
		if err := c.WaitFor(ctx, patience, gvkCRD, "", crd, "Established"); err != nil {
			return err
		}
	}
	token, err := c.serviceAccountToken(ctx, providerServiceAccount)
	if err != nil {
		return err
	}
	kubeconfig, err := c.kubeconfig(token)
	if err != nil {
		return err
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: providerKubeconfig, Namespace: Namespace},
		Data:       map[string][]byte{"kubeconfig": kubeconfig},
	}
	if _, err := c.kube.CoreV1().Secrets(Namespace).Create(ctx, s, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("cannot create Secret: %w", err)
	}
	config := map[string]any{"credentials": map[string]any{
		"source":    "Secret",
		"secretRef": map[string]any{"namespace": Namespace, "name": providerKubeconfig, "key": "kubeconfig"},
	}}
	return c.apply.apply(ctx,
		object("kubernetes.crossplane.io/v1alpha1", "ProviderConfig", "", "default", config),
		object("kubernetes.m.crossplane.io/v1alpha1", "ClusterProviderConfig", "", "default", config),
	)
}

// object makes an object of any kind.
func object(apiVersion, kind, namespace, name string, spec map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetGroupVersionKind(schema.FromAPIVersionAndKind(apiVersion, kind))
	u.SetNamespace(namespace)
	u.SetName(name)
	return u
}

// toolVersion returns the version that a tool is pinned to.
func toolVersion(name string) (string, error) {
	t, err := tools.Get(name)
	if err != nil {
		return "", err
	}
	return t.Version()
}
