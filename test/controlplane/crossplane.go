package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/test/tools"
)

// Namespace that Crossplane and its packages live in.
const Namespace = "crossplane-system"

// Names of Crossplane's TLS Secrets, as in its chart.
const (
	secretRootCA    = "crossplane-root-ca"
	secretTLSServer = "crossplane-tls-server"
	secretTLSClient = "crossplane-tls-client"
)

// serviceWebhooks leads the API server to Crossplane's webhooks.
const serviceWebhooks = "crossplane-webhooks"

//nolint:gochecknoglobals // This is a constant.
var gvkCRD = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}

// startCrossplane starts Crossplane and its RBAC manager, each as its own
// ServiceAccount with what the Helm chart allows it.
func (c *ControlPlane) startCrossplane(ctx context.Context) error {
	src, err := tools.ModuleDir(ctx, tools.CrossplaneCore, "github.com/crossplane/crossplane/v2")
	if err != nil {
		return err
	}
	core, err := tools.Path(tools.CrossplaneCore)
	if err != nil {
		return err
	}
	ports, err := c.reservePorts("crossplane-webhooks", "crossplane-metrics", "crossplane-health")
	if err != nil {
		return err
	}
	webhooks, metrics, health := strconv.Itoa(ports[0]), strconv.Itoa(ports[1]), strconv.Itoa(ports[2])

	if err := c.prepareCrossplane(ctx, src); err != nil {
		return err
	}
	dir := filepath.Join(c.Dir, "crossplane")
	env := []string{
		"POD_NAMESPACE=" + Namespace,
		"POD_SERVICE_ACCOUNT=crossplane",
		"KUBECONFIG=" + filepath.Join(dir, "kubeconfig"),
		"TLS_CA_SECRET_NAME=" + secretRootCA,
		"TLS_SERVER_SECRET_NAME=" + secretTLSServer,
		"TLS_CLIENT_SECRET_NAME=" + secretTLSClient,
		"ENABLE_WEBHOOKS=true",
	}
	if err := c.serviceAccountKubeconfig(ctx, "crossplane", filepath.Join(dir, "kubeconfig")); err != nil {
		return err
	}
	if err := c.serviceAccountKubeconfig(ctx, "rbac-manager", filepath.Join(dir, "rbac-kubeconfig")); err != nil {
		return err
	}

	if err := c.run(ctx, spec{
		name: "crossplane-init",
		path: core,
		args: []string{"core", "init", "--activation=*"},
		env: append(env,
			"CRDS_PATH="+filepath.Join(src, "cluster", "crds"),
			"WEBHOOK_CONFIGS_PATH="+filepath.Join(src, "cluster", "webhookconfigurations"),
			"WEBHOOK_SERVICE_NAME="+serviceWebhooks,
			"WEBHOOK_SERVICE_NAMESPACE="+Namespace,
			"WEBHOOK_SERVICE_PORT="+webhooks,
		),
	}); err != nil {
		return err
	}
	for _, s := range []string{secretTLSServer, secretTLSClient} {
		if err := c.dumpSecret(ctx, s, filepath.Join(dir, s)); err != nil {
			return err
		}
	}

	// It doesn't make this one itself.
	if err := writeFiles(filepath.Join(dir, "xpkg"), nil); err != nil {
		return err
	}
	if err := c.startProcess(spec{
		name: ProcessCrossplane,
		path: core,
		args: []string{
			"core", "start", "--debug",
			// Functions and providers run as processes beside it.
			"--package-runtime=External",
			"--xpkg-cache-dir=" + filepath.Join(dir, "xpkg"),
			"--webhook-port=" + webhooks,
			"--metrics-port=" + metrics,
			"--health-probe-port=" + health,
			"--tls-server-certs-dir=" + filepath.Join(dir, secretTLSServer),
			"--tls-client-certs-dir=" + filepath.Join(dir, secretTLSClient),
		},
		env:   env,
		ports: ports,
	}); err != nil {
		return err
	}
	if err := c.startProcess(spec{
		name: ProcessRBACManager,
		path: core,
		args: []string{"rbac", "start", "--debug", "--provider-clusterrole=crossplane:allowed-provider-permissions"},
		env:  []string{"KUBECONFIG=" + filepath.Join(dir, "rbac-kubeconfig")},
	}); err != nil {
		return err
	}
	return c.waitCrossplane(ctx, ports[0], ports[2])
}

// waitCrossplane waits until Crossplane is up, and its webhooks answer.
func (c *ControlPlane) waitCrossplane(ctx context.Context, webhooks, health int) error {
	return until(ctx, patience, "Crossplane", func(ctx context.Context) error {
		if err := c.exited(ProcessCrossplane, ProcessRBACManager); err != nil {
			return err
		}
		if err := ok(ctx, "http://"+loopback(health)+"/readyz"); err != nil {
			return err
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", loopback(webhooks))
		if err != nil {
			return fmt.Errorf("its webhooks don't answer: %w", err)
		}
		return conn.Close()
	})
}

// prepareCrossplane makes what the Helm chart would, apart from what runs
// Crossplane.
func (c *ControlPlane) prepareCrossplane(ctx context.Context, src string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}}
	if _, err := c.kube.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("cannot create namespace: %w", err)
	}
	objs, err := renderChart(filepath.Join(src, "cluster", "charts", "crossplane"), Namespace, chartTemplates()...)
	if err != nil {
		return err
	}
	if err := c.apply.apply(ctx, objs...); err != nil {
		return err
	}
	// The API server takes the name for the address when a Service is of this
	// type. There is no Service network, so no other type would lead anywhere.
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: serviceWebhooks, Namespace: Namespace},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
	}
	if _, err := c.kube.CoreV1().Services(Namespace).Create(ctx, svc, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("cannot create Service: %w", err)
	}
	// The initializer would make them, too, but doesn't wait for them.
	crds, err := ReadDir(filepath.Join(src, "cluster", "crds"))
	if err != nil {
		return err
	}
	if err := c.apply.apply(ctx, crds...); err != nil {
		return err
	}
	for _, crd := range crds {
		if err := c.WaitFor(ctx, patience, gvkCRD, "", crd.GetName(), "Established"); err != nil {
			return err
		}
	}
	return nil
}

// serviceAccountKubeconfig writes a kubeconfig of a ServiceAccount in
// Crossplane's namespace.
func (c *ControlPlane) serviceAccountKubeconfig(ctx context.Context, name, path string) error {
	token, err := c.serviceAccountToken(ctx, name)
	if err != nil {
		return err
	}
	return c.writeKubeconfig(path, token)
}

// serviceAccountToken returns a token of a ServiceAccount in Crossplane's
// namespace.
func (c *ControlPlane) serviceAccountToken(ctx context.Context, name string) (string, error) {
	tr := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(validity.Seconds()))}}
	tr, err := c.kube.CoreV1().ServiceAccounts(Namespace).CreateToken(ctx, name, tr, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("cannot get a token for ServiceAccount %s: %w", name, err)
	}
	return tr.Status.Token, nil
}

// dumpSecret writes the data of a Secret in Crossplane's namespace to a folder,
// as if it was mounted.
func (c *ControlPlane) dumpSecret(ctx context.Context, name, dir string) error {
	s, err := c.kube.CoreV1().Secrets(Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("cannot get Secret: %w", err)
	}
	if len(s.Data) == 0 {
		return errors.New("cannot use Secret " + name + ": it's empty")
	}
	return writeFiles(dir, s.Data)
}

// crossplaneCA returns the authority that Crossplane trusts.
func (c *ControlPlane) crossplaneCA(ctx context.Context) (*authority, error) {
	s, err := c.kube.CoreV1().Secrets(Namespace).Get(ctx, secretRootCA, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("cannot get Crossplane's certificate authority: %w", err)
	}
	return parseAuthority(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
}
