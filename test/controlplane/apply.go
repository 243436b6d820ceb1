package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// fieldManager of what the plane itself applies.
const fieldManager = "controlplane"

// An applier applies objects of any kind.
type applier struct {
	dynamic dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
}

func newApplier(cfg *rest.Config) (*applier, error) {
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot make a dynamic client: %w", err)
	}
	dc, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot make a discovery client: %w", err)
	}
	return &applier{dynamic: dyn, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(dc))}, nil
}

// resource returns a client for an object's kind and namespace.
func (a *applier) resource(gvk schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	m, err := a.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		a.mapper.Reset()
		m, err = a.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot find resource for %s: %w", gvk, err)
	}
	if m.Scope.Name() != meta.RESTScopeNameNamespace {
		return a.dynamic.Resource(m.Resource), nil
	}
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return a.dynamic.Resource(m.Resource).Namespace(namespace), nil
}

// apply objects in their order.
func (a *applier) apply(ctx context.Context, objs ...*unstructured.Unstructured) error {
	for _, o := range objs {
		r, err := a.resource(o.GroupVersionKind(), o.GetNamespace())
		if err != nil {
			return err
		}
		if _, err := r.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true}); err != nil {
			return fmt.Errorf("cannot apply %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// applyStatus applies the status of an object.
func (a *applier) applyStatus(ctx context.Context, o *unstructured.Unstructured) error {
	r, err := a.resource(o.GroupVersionKind(), o.GetNamespace())
	if err != nil {
		return err
	}
	if _, err := r.ApplyStatus(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true}); err != nil {
		return fmt.Errorf("cannot apply the status of %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	return nil
}

// get an object.
func (a *applier) get(ctx context.Context, gvk schema.GroupVersionKind, namespace, name string) (*unstructured.Unstructured, error) {
	r, err := a.resource(gvk, namespace)
	if err != nil {
		return nil, err
	}
	u, err := r.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("cannot get %s %s: %w", gvk.Kind, name, err)
	}
	return u, nil
}

// Resource returns a client for a kind, with all rights. Without a namespace
// it's the default one, if the kind has any.
func (c *ControlPlane) Resource(gvk schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	return c.apply.resource(gvk, namespace)
}

// Apply applies objects of any kind, in their order, by force.
func (c *ControlPlane) Apply(ctx context.Context, objs ...*unstructured.Unstructured) error {
	return c.apply.apply(ctx, objs...)
}

// ApplyFiles applies all objects in YAML files.
func (c *ControlPlane) ApplyFiles(ctx context.Context, paths ...string) error {
	for _, p := range paths {
		objs, err := ReadFile(p)
		if err != nil {
			return err
		}
		if err := c.Apply(ctx, objs...); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// ReadFile reads all objects in a YAML file.
func ReadFile(path string) ([]*unstructured.Unstructured, error) {
	b, err := os.ReadFile(path) //nolint:gosec // That's what it's for.
	if err != nil {
		return nil, fmt.Errorf("cannot read manifests: %w", err)
	}
	objs, err := decode(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return objs, nil
}

// ReadDir reads all objects in a folder's YAML files, in order of file names.
func ReadDir(dir string) ([]*unstructured.Unstructured, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("cannot list manifests: %w", err)
	}
	sort.Strings(paths)
	out := make([]*unstructured.Unstructured, 0)
	for _, p := range paths {
		objs, err := ReadFile(p)
		if err != nil {
			return nil, err
		}
		out = append(out, objs...)
	}
	return out, nil
}

// decode reads all objects in a YAML stream.
func decode(b []byte) ([]*unstructured.Unstructured, error) {
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(b), 4096)
	out := make([]*unstructured.Unstructured, 0)
	for {
		u := &unstructured.Unstructured{}
		err := d.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("cannot parse manifest: %w", err)
		}
		if len(u.Object) > 0 {
			out = append(out, u)
		}
	}
}

// convert a typed object. Its kind must be set.
func convert(o runtime.Object) (*unstructured.Unstructured, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("cannot convert %T: %w", o, err)
	}
	// These have no omitempty, and aren't ours to set.
	unstructured.RemoveNestedField(m, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(m, "status")
	return &unstructured.Unstructured{Object: m}, nil
}

// conditionsOf returns the conditions of an object, in order of their types.
func conditionsOf(u *unstructured.Unstructured) []metav1.Condition {
	o := struct {
		Status struct {
			Conditions []metav1.Condition `json:"conditions"`
		} `json:"status"`
	}{}
	// What isn't a condition is as good as none.
	_ = runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &o)
	sort.Slice(o.Status.Conditions, func(i, j int) bool { return o.Status.Conditions[i].Type < o.Status.Conditions[j].Type })
	return o.Status.Conditions
}

// condition returns the status and the message of a condition.
func condition(u *unstructured.Unstructured, kind string) (status, message string) {
	for _, c := range conditionsOf(u) {
		if c.Type != kind {
			continue
		}
		if c.Message == "" {
			return string(c.Status), c.Reason
		}
		return string(c.Status), c.Message
	}
	return "not there", "nobody has set it yet"
}

// WaitFor waits until all the named conditions of an object are True. The
// error says how they were last.
func (c *ControlPlane) WaitFor(ctx context.Context, within time.Duration, gvk schema.GroupVersionKind, namespace, name string, conditions ...string) error {
	return until(ctx, within, gvk.Kind+" "+name, func(ctx context.Context) error {
		u, err := c.apply.get(ctx, gvk, namespace, name)
		if err != nil {
			return err
		}
		for _, t := range conditions {
			if s, msg := condition(u, t); s != string(metav1.ConditionTrue) {
				return fmt.Errorf("%s is %s: %s", t, s, msg)
			}
		}
		return nil
	})
}
