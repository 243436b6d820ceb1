package controlplane

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kinds of packages.
const (
	kindProvider      = "Provider"
	kindFunction      = "Function"
	kindConfiguration = "Configuration"
)

// labelParentPackage is on revisions, with the name of their package.
const labelParentPackage = "pkg.crossplane.io/package"

func pkgGVK(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "pkg.crossplane.io", Version: "v1", Kind: kind}
}

// activeRevision waits until the revision of a package that was made from a
// package image is the active one, and returns it.
func (c *ControlPlane) activeRevision(ctx context.Context, kind, name, image string) (*unstructured.Unstructured, error) {
	var out *unstructured.Unstructured
	err := until(ctx, patience, "a revision of "+kind+" "+name, func(ctx context.Context) error {
		if err := c.exited(ProcessCrossplane); err != nil {
			return err
		}
		revs, err := c.revisions(ctx, kind, name)
		if err != nil {
			return err
		}
		for i := range revs {
			img, _, _ := unstructured.NestedString(revs[i].Object, "spec", "image")
			state, _, _ := unstructured.NestedString(revs[i].Object, "spec", "desiredState")
			if img == image && state == "Active" {
				out = &revs[i]
				return nil
			}
		}
		return c.whyNotInstalled(ctx, kind, name, image)
	})
	return out, err
}

// whyNotInstalled returns an error with what the package manager has to say.
func (c *ControlPlane) whyNotInstalled(ctx context.Context, kind, name, image string) error {
	p, err := c.apply.get(ctx, pkgGVK(kind), "", name)
	if err != nil {
		return err
	}
	if s, msg := condition(p, "Installed"); s != string(metav1.ConditionTrue) {
		return errors.New("the package isn't installed: " + msg)
	}
	return errors.New("there is none of " + image)
}

func (c *ControlPlane) revisions(ctx context.Context, kind, name string) ([]unstructured.Unstructured, error) {
	r, err := c.apply.resource(pkgGVK(kind+"Revision"), "")
	if err != nil {
		return nil, err
	}
	l, err := r.List(ctx, metav1.ListOptions{LabelSelector: labelParentPackage + "=" + name})
	if err != nil {
		return nil, fmt.Errorf("cannot list revisions: %w", err)
	}
	return l.Items, nil
}

// runtimeStatus is what Crossplane is told about what runs a revision. With an
// external runtime nobody else tells it.
type runtimeStatus struct {
	// tlsSecret is a Secret with a server certificate. Crossplane doesn't
	// install a provider without one.
	tlsSecret string

	// endpoint of a function.
	endpoint string

	// healthy once it runs.
	healthy bool
}

// setRuntime tells Crossplane about what runs a revision.
func (c *ControlPlane) setRuntime(ctx context.Context, rev *unstructured.Unstructured, rs runtimeStatus) error {
	status := map[string]any{"tlsServerSecretName": rs.tlsSecret}
	if rs.endpoint != "" {
		status["endpoint"] = rs.endpoint
	}
	if rs.healthy {
		status["conditions"] = []any{map[string]any{
			"type":               "RuntimeHealthy",
			"status":             "True",
			"reason":             "HealthyPackageRevisionRuntime",
			"lastTransitionTime": metav1.Now().UTC().Format(time.RFC3339),
		}}
	}
	u := &unstructured.Unstructured{Object: map[string]any{"status": status}}
	u.SetGroupVersionKind(rev.GroupVersionKind())
	u.SetName(rev.GetName())
	return c.apply.applyStatus(ctx, u)
}

// tlsSecret makes a server certificate that Crossplane trusts, in a folder and
// in a Secret.
func (c *ControlPlane) tlsSecret(ctx context.Context, name, dir string) error {
	ca, err := c.crossplaneCA(ctx)
	if err != nil {
		return err
	}
	cert, key, err := ca.serverCert(name + "." + Namespace)
	if err != nil {
		return err
	}
	files := map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": ca.certPEM}
	if err := writeFiles(dir, files); err != nil {
		return err
	}
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace}, Data: files}
	if _, err := c.kube.CoreV1().Secrets(Namespace).Create(ctx, s, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("cannot create Secret: %w", err)
	}
	return nil
}

// installed returns the objects of some kinds among those that a person who
// installs our packages applies.
func (c *ControlPlane) installed(kinds ...string) ([]*unstructured.Unstructured, error) {
	dir := filepath.Join(c.root, "package", "install")
	objs, err := ReadDir(dir)
	if err != nil {
		return nil, err
	}
	out := make([]*unstructured.Unstructured, 0)
	for _, o := range objs {
		if slices.Contains(kinds, o.GetKind()) {
			out = append(out, o)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("cannot find anything of kind %s in %s", strings.Join(kinds, ", "), dir)
	}
	return out, nil
}

// install applies a package of package/install, as another package image if one
// is given, and returns its name and package image.
func (c *ControlPlane) install(ctx context.Context, kind, image string) (name, as string, err error) {
	objs, err := c.installed(kind)
	if err != nil {
		return "", "", err
	}
	o := objs[0]
	if image == "" {
		image, _, _ = unstructured.NestedString(o.Object, "spec", "package")
	}
	if err := unstructured.SetNestedField(o.Object, image, "spec", "package"); err != nil {
		return "", "", fmt.Errorf("cannot set package image: %w", err)
	}
	return o.GetName(), image, c.apply.apply(ctx, o)
}
