package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/aim-engine/function-aim/test/controlplane"
)

// soon is how long things take that should take a second or two. It is a
// bound for a busy machine, not a measure of anything.
const soon = 150 * time.Second

// slow is what is worth a line in the log.
const slow = 30 * time.Second

var (
	endpoints      = schema.GroupVersionResource{Group: "aim.engine.amd.com", Version: "v1alpha1", Resource: "aimendpoints"}
	xendpoints     = schema.GroupVersionResource{Group: "aim.engine.amd.com", Version: "v1alpha1", Resource: "xaimendpoints"}
	recipes        = schema.GroupVersionResource{Group: "aim.engine.amd.com", Version: "v1alpha1", Resource: "aimrecipes"}
	xrecipes       = schema.GroupVersionResource{Group: "aim.engine.amd.com", Version: "v1alpha1", Resource: "xaimrecipes"}
	objects        = schema.GroupVersionResource{Group: "kubernetes.crossplane.io", Version: "v1alpha2", Resource: "objects"}
	deployments    = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	services       = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	configmaps     = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	volumes        = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	pods           = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	eventsResource = schema.GroupVersionResource{Version: "v1", Resource: "events"}
	secrets        = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	autoscalers    = schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}
)

// A cluster under test, seen from one namespace.
type cluster struct {
	*controlplane.ControlPlane

	t         *testing.T
	namespace string
}

// in returns the cluster as seen from a namespace of the test's own.
func in(t *testing.T, cp *controlplane.ControlPlane, labels ...string) *cluster {
	t.Helper()
	name := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(strings.TrimPrefix(t.Name(), "TestEndpoint/")), "-")
	c := &cluster{ControlPlane: cp, t: t, namespace: strings.Trim(name, "-")}
	c.create(c.namespace, labels...)
	t.Cleanup(func() {
		if t.Failed() {
			c.dump()
		}
		// Others need the GPUs.
		if out, err := c.kubectl("", "delete", "aimendpoint", "--all", "--wait=false"); err != nil {
			t.Errorf("cannot delete endpoints: %v: %s", err, out)
		}
	})
	return c
}

// moreNodes like another one, until the end of the test.
func moreNodes(t *testing.T, cp *controlplane.ControlPlane, like string, n int) {
	t.Helper()
	for i := range n {
		node, err := cp.Kube().CoreV1().Nodes().Get(t.Context(), like, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		node.ObjectMeta = metav1.ObjectMeta{Name: fmt.Sprintf("%s-more-%d", like, i), Labels: node.Labels, Annotations: node.Annotations}
		node.Labels[corev1.LabelHostname] = node.Name
		if _, err := cp.Kube().CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := cp.Kube().CoreV1().Nodes().Delete(context.Background(), node.Name, metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func (c *cluster) create(namespace string, labels ...string) {
	c.t.Helper()
	if out, err := c.kubectl("", "create", "namespace", namespace); err != nil {
		c.t.Fatalf("cannot create namespace %s: %v: %s", namespace, err, out)
	}
	for _, l := range labels {
		if out, err := c.kubectl("", "label", "namespace", namespace, l); err != nil {
			c.t.Fatalf("cannot label namespace %s: %v: %s", namespace, err, out)
		}
	}
}

// kubectl as a user runs it, in the test's namespace.
func (c *cluster) kubectl(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "kubectl", append([]string{"--kubeconfig", c.Kubeconfig, "--namespace", c.namespace}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	b := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = b, b
	err := cmd.Run()
	return b.String(), err
}

// apply a manifest that must be accepted.
func (c *cluster) apply(manifest string) {
	c.t.Helper()
	if out, err := c.kubectl(manifest, "apply", "-f", "-"); err != nil {
		c.t.Fatalf("kubectl apply: %v: %s\n%s", err, out, manifest)
	}
}

// endpoint is the manifest of a claim. The spec is YAML in flow style.
func endpoint(name, spec string) string {
	return fmt.Sprintf("apiVersion: aim.engine.amd.com/v1alpha1\nkind: AIMEndpoint\nmetadata: {name: %q}\nspec: %s\n", name, spec)
}

// get an object of the test's namespace; nil if there is none.
func (c *cluster) get(gvr schema.GroupVersionResource, name string) *unstructured.Unstructured {
	c.t.Helper()
	u, err := c.Dynamic().Resource(gvr).Namespace(c.namespace).Get(context.Background(), name, metav1.GetOptions{})
	if kerrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		c.t.Fatalf("cannot get %s %s: %v", gvr.Resource, name, err)
	}
	return u
}

// list objects of the test's namespace, or of the cluster.
func (c *cluster) list(gvr schema.GroupVersionResource, namespace string, selector string) []unstructured.Unstructured {
	c.t.Helper()
	l, err := c.Dynamic().Resource(gvr).Namespace(namespace).List(context.Background(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		c.t.Fatalf("cannot list %s: %v", gvr.Resource, err)
	}
	return l.Items
}

// eventually waits until a check has nothing to complain of.
func (c *cluster) eventually(what string, within time.Duration, check func() error) {
	c.t.Helper()
	var err error
	started := time.Now()
	for end := started.Add(within); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if err = check(); err == nil {
			if d := time.Since(started); d > slow {
				c.t.Logf("%s: only after %s", what, d.Round(time.Second))
			}
			return
		}
	}
	c.fatalf("%s: still not after %s: %v", what, within, err)
}

// missed is what was waited for in vain. Tests side by side fill it.
var missed struct {
	sync.Mutex

	of []string
}

// fatalf ends the test, and says so at the end of all of them, too: what a test
// logs is far above that.
func (c *cluster) fatalf(format string, args ...any) {
	c.t.Helper()
	msg := fmt.Sprintf(format, args...)
	missed.Lock()
	missed.of = append(missed.of, c.t.Name()+": "+msg)
	missed.Unlock()
	c.t.Fatal(msg)
}

// always checks for a while that a check has nothing to complain of.
func (c *cluster) always(what string, during time.Duration, check func() error) {
	c.t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err := check(); err != nil {
			c.fatalf("%s: %v", what, err)
		}
	}
}

// A condition of an object.
type condition struct{ status, reason, message string }

func conditionOf(u *unstructured.Unstructured, typ string) condition {
	if u == nil {
		return condition{}
	}
	cs, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, v := range cs {
		m, ok := v.(map[string]any)
		if !ok || m["type"] != typ {
			continue
		}
		str := func(k string) string { s, _ := m[k].(string); return s }
		return condition{status: str("status"), reason: str("reason"), message: str("message")}
	}
	return condition{}
}

// expect waits until a claim has a condition with a reason and a message that
// contains all of some words. It returns the message.
func (c *cluster) expect(name, typ, status, reason string, words ...string) string {
	c.t.Helper()
	return c.expectOf(endpoints, name, typ, status, reason, words...)
}

// expectOf is expect for claims of any kind.
func (c *cluster) expectOf(gvr schema.GroupVersionResource, name, typ, status, reason string, words ...string) string {
	c.t.Helper()
	msg := ""
	c.eventually(fmt.Sprintf("condition %s=%s %s of %s", typ, status, reason, name), soon, func() error {
		got := conditionOf(c.get(gvr, name), typ)
		if got.status != status || got.reason != reason {
			return fmt.Errorf("it is %+v", got)
		}
		for _, w := range words {
			if !strings.Contains(got.message, w) {
				return fmt.Errorf("its message does not say %q: %s", w, got.message)
			}
		}
		msg = got.message
		return nil
	})
	return msg
}

// ready waits until a claim is Ready.
func (c *cluster) ready(names ...string) {
	c.t.Helper()
	for _, n := range names {
		c.expect(n, "Ready", "True", "Available")
	}
}

// str is a string in an object; empty if it is not there.
func str(u *unstructured.Unstructured, path ...string) string {
	if u == nil {
		return ""
	}
	v, _, _ := unstructured.NestedFieldNoCopy(u.Object, path...)
	if v == nil {
		return ""
	}
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// composite of a claim.
func (c *cluster) composite(name string) string {
	c.t.Helper()
	return str(c.get(endpoints, name), "spec", "resourceRef", "name")
}

// objectsOf a claim.
func (c *cluster) objectsOf(name string) []unstructured.Unstructured {
	c.t.Helper()
	return c.list(objects, "", "crossplane.io/claim-name="+name+",crossplane.io/claim-namespace="+c.namespace)
}

// dump what a person would look at after a failure.
func (c *cluster) dump() {
	for _, args := range [][]string{
		{"get", "aimendpoint,aimcache,deployments,replicasets,jobs,pods,services,pvc,hpa,configmaps", "-o", "wide"},
		{"get", "namespace", c.namespace, "-o", "yaml"},
		{"describe", "aimendpoint"},
		{"describe", "aimcache"},
		{"describe", "aimrecipe"},
		{"get", "objects", "-o", "custom-columns=NAME:.metadata.name,KIND:.spec.forProvider.manifest.kind,SYNCED:.status.conditions[?(@.type=='Synced')].message,READY:.status.conditions[?(@.type=='Ready')].message"},
		{"get", "events", "--sort-by=.lastTimestamp"},
	} {
		out, err := c.kubectl("", args...)
		c.t.Logf("kubectl %s (%v)\n%s", strings.Join(args, " "), err, out)
	}
}

var errNotYet = errors.New("not yet")

// root of the repository.
func root(t *testing.T) string {
	t.Helper()
	d, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return d + "/../.."
}

// events waits until a claim was told, with a reason, messages that contain all
// of some words, and each of them once. Beside many other tests it may wait for
// ever: Crossplane drops events when there are too many.
func (c *cluster) events(name, reason string, words ...string) {
	c.t.Helper()
	c.eventually("events of "+name, soon, func() error {
		told := map[string]int64{}
		for _, e := range c.list(eventsResource, c.namespace, "") {
			if str(&e, "involvedObject", "name") != name || str(&e, "involvedObject", "kind") != "AIMEndpoint" || str(&e, "reason") != reason {
				continue
			}
			n, _, _ := unstructured.NestedInt64(e.Object, "count")
			told[str(&e, "message")] += max(1, n)
		}
		for _, w := range words {
			times := int64(0)
			for m, n := range told {
				if strings.Contains(m, w) {
					times += n
				}
			}
			if times != 1 {
				return fmt.Errorf("it was told %d times of %q: %v", times, w, told)
			}
		}
		return nil
	})
}
