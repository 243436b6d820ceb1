package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/crossplane/function-sdk-go/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/aim-engine/function-aim/fn/hub"
	cacheinventory "github.com/aim-engine/function-aim/fn/inventory"
)

// cacheManager is the field manager of what the agent writes.
const cacheManager = "aim-cache-agent"

// reportTimeout bounds the last report. It is less than the 30 s that a pod has
// after SIGTERM.
const reportTimeout = 20 * time.Second

// reportBackoff is how often the last report is tried: at once, and after 1, 3
// and 7 s.
//
//nolint:gochecknoglobals // A constant that Go cannot express as such.
var reportBackoff = wait.Backoff{Duration: time.Second, Factor: 2, Steps: 4}

// A reporter writes the inventory of a cache where its flags say.
type reporter struct {
	cache    hub.Cache
	capacity int64
	file     string
	stdout   io.Writer

	// configMaps of the namespace; nil if there is none to write.
	configMaps dynamic.ResourceInterface
	name       string
}

func (f cacheFlags) reporter(cache hub.Cache, capacity int64, stdout io.Writer) (*reporter, error) {
	r := &reporter{cache: cache, capacity: capacity, file: f.Inventory, stdout: stdout, name: f.ConfigMap}
	if f.ConfigMap == "" {
		return r, nil
	}
	if f.Namespace == "" {
		return nil, errors.New("--configmap needs a --namespace")
	}
	cfg, err := restConfig(f.Kubeconfig)
	if err != nil {
		return nil, errors.Wrap(err, "cannot find out how to reach the API server")
	}
	cfg.Timeout = reportTimeout
	cfg.UserAgent = "function-aim/" + version
	c, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, errors.Wrap(err, "cannot make a client of the API server")
	}
	r.configMaps = c.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(f.Namespace)
	return r, nil
}

func restConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", kubeconfig)
}

// last report, which is made even if the context has ended. Nobody makes up for
// it, and without it all was done for nothing: so it is tried again for a while.
func (r *reporter) last(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportTimeout)
	defer cancel()
	var err error
	// The error of the backoff is that there was one.
	_ = wait.ExponentialBackoffWithContext(ctx, reportBackoff, func(ctx context.Context) (bool, error) {
		err = r.report(ctx)
		return err == nil, nil
	})
	return err
}

// report what is in the cache now.
func (r *reporter) report(ctx context.Context) error {
	if r.file == "" && r.configMaps == nil {
		return nil
	}
	// One agent at a time measures and writes, so that what was measured last is
	// what stays.
	unlock, err := r.cache.Lock(ctx, "report")
	if err != nil {
		return err
	}
	defer unlock()
	inv, err := cacheinventory.Scan(r.cache, r.capacity)
	if err != nil {
		return err
	}
	b, err := inv.Document(time.Now()).Marshal()
	if err != nil {
		return err
	}
	return errors.Join(r.write(b), r.apply(ctx, b))
}

func (r *reporter) write(b []byte) error {
	switch r.file {
	case "":
		return nil
	case "-":
		_, err := r.stdout.Write(append(b, '\n'))
		return errors.Wrap(err, "cannot write the inventory")
	}
	return errors.Wrap(os.WriteFile(r.file, b, 0o644), "cannot write the inventory") //nolint:gosec // There is no secret in it.
}

// apply the inventory to the ConfigMap. This creates it if it isn't there, so
// the agent needs to be allowed to create and patch it, and nothing else.
func (r *reporter) apply(ctx context.Context, b []byte) error {
	if r.configMaps == nil {
		return nil
	}
	cm := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "ConfigMap",
		"metadata":   map[string]any{"name": r.name},
		"data":       map[string]any{cacheinventory.Key: string(b)},
	}}
	_, err := r.configMaps.Apply(ctx, r.name, cm, metav1.ApplyOptions{FieldManager: cacheManager, Force: true})
	return errors.Wrapf(err, "cannot write the inventory to ConfigMap %s", r.name)
}
