package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/aim-engine/function-aim/test/tools"
)

// A Layer is how much of a control plane is started. Each one includes those
// before it.
type Layer int

const (
	// APIServer is etcd and the API server. It is enough to try schemas and
	// server-side dry runs, and there in about four seconds. There are no
	// controllers, so no ServiceAccounts are made, and none are demanded.
	APIServer Layer = iota + 1

	// Cluster adds the controller manager, the scheduler, fake nodes with and
	// without GPUs, and volumes that bind.
	Cluster

	// Crossplane adds Crossplane, its RBAC manager, a registry for packages,
	// and provider-kubernetes.
	Crossplane

	// Full adds our function and our packages.
	Full
)

// String returns the name of the layer.
func (l Layer) String() string {
	switch l {
	case APIServer:
		return "APIServer"
	case Cluster:
		return "Cluster"
	case Crossplane:
		return "Crossplane"
	case Full:
		return "Full"
	}
	return fmt.Sprintf("Layer(%d)", int(l))
}

// Options of a control plane.
type Options struct {
	// Layer to start. The default is Full.
	Layer Layer

	// Dir is where the plane keeps its data and logs. It must be empty or not
	// exist. By default it is a new folder below the system's folder for
	// temporary files.
	Dir string

	// Progress is told about each step. By default nobody is.
	Progress io.Writer

	// Detached processes outlive the one that started them. They end by Down,
	// or Stop.
	Detached bool

	// Executable is the controlplane command. Detached planes need it to run
	// the registry and the volume provisioner as processes of their own.
	Executable string

	// ProviderClusterAdmin gives provider-kubernetes all rights rather than
	// those of package/install. It is meant for finding out whether a right is
	// what's missing.
	ProviderClusterAdmin bool
}

// tools returns the tools that a layer is made of.
func (l Layer) tools() []string {
	names := []string{tools.Etcd, tools.KubeAPIServer}
	if l >= Cluster {
		names = append(names, tools.KubeControllerManager, tools.KubeScheduler, tools.Kwok)
	}
	if l >= Crossplane {
		names = append(names, tools.CrossplaneCore, tools.CrossplaneCLI, tools.ProviderKubernetes)
	}
	return names
}

// A ControlPlane is running on this machine.
type ControlPlane struct {
	// Dir holds the plane's data and, below logs, the logs of its processes.
	Dir string

	// Kubeconfig is the file of a cluster administrator.
	Kubeconfig string

	opts   Options
	root   string
	config *rest.Config
	kube   kubernetes.Interface
	apply  *applier
	say    *sayer
	ports  *portPool

	mu       sync.Mutex
	state    *state
	children map[string]*child
	cancels  []context.CancelFunc
	helpers  sync.WaitGroup

	// packages that are being built meanwhile.
	packages <-chan build
}

// patience is how long anything that takes seconds may take. Several planes may
// be coming up on a busy machine.
const patience = 2 * time.Minute

// Start a control plane. It returns once everything works. If it can't, what
// was started is stopped again; the error has the end of the log that tells
// why, and the folder with the logs stays.
func Start(ctx context.Context, o Options) (*ControlPlane, error) {
	if o.Layer == 0 {
		o.Layer = Full
	}
	root, err := tools.Root()
	if err != nil {
		return nil, err
	}
	if err := tools.Build(ctx, o.Progress, o.Layer.tools()...); err != nil {
		return nil, err
	}

	if o.Dir == "" {
		o.Dir, err = os.MkdirTemp("", "controlplane-")
		if err != nil {
			return nil, fmt.Errorf("cannot create a folder for the control plane: %w", err)
		}
	}
	o.Dir, err = filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("cannot find folder: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(o.Dir, "logs"), 0o750); err != nil {
		return nil, fmt.Errorf("cannot create a folder for the control plane: %w", err)
	}

	c := &ControlPlane{
		Dir:        o.Dir,
		Kubeconfig: filepath.Join(o.Dir, "kubeconfig"),
		opts:       o,
		root:       root,
		say:        newSayer(o.Progress),
		ports:      &portPool{},
		state:      &state{Layer: o.Layer, Ports: map[string]int{}},
		children:   map[string]*child{},
	}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *ControlPlane) start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.opts.Layer >= Full {
		var err error
		if c.packages, err = c.beginPackages(ctx); err != nil {
			return err
		}
	}

	steps := []struct {
		layer Layer
		what  string
		do    func(context.Context) error
	}{
		{APIServer, "etcd and kube-apiserver", c.startAPIServer},
		{Cluster, "controller manager, scheduler, nodes and volumes", c.startCluster},
		{Crossplane, "package registry", c.startRegistry},
		{Crossplane, "Crossplane", c.startCrossplane},
		{Crossplane, "provider-kubernetes", c.startProvider},
		{Full, "function and packages", c.startPackages},
	}
	for _, s := range steps {
		if s.layer > c.opts.Layer {
			continue
		}
		if err := c.say.step(s.what, func() error { return s.do(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// Config returns a configuration for clients with all rights.
func (c *ControlPlane) Config() *rest.Config {
	return rest.CopyConfig(c.config)
}

// Kube returns a client for built-in kinds, with all rights.
func (c *ControlPlane) Kube() kubernetes.Interface {
	return c.kube
}

// Dynamic returns a client for any kind, with all rights.
func (c *ControlPlane) Dynamic() dynamic.Interface {
	return c.apply.dynamic
}

// Stop ends all processes of the plane. It leaves its folder alone.
func (c *ControlPlane) Stop() error {
	c.mu.Lock()
	cancels := c.cancels
	c.cancels = nil
	c.mu.Unlock()
	for _, cancel := range cancels {
		cancel()
	}
	c.helpers.Wait()
	c.ports.releaseAll()

	c.mu.Lock()
	defer c.mu.Unlock()
	errs := make([]error, 0)
	// Last come, first gone, so that the logs aren't full of complaints about
	// an API server that went away.
	for i := len(c.state.Processes) - 1; i >= 0; i-- {
		errs = append(errs, c.state.Processes[i].kill(c.children[c.state.Processes[i].Name]))
	}
	return errors.Join(errs...)
}

// connect makes clients from the kubeconfig.
func (c *ControlPlane) connect() error {
	cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return fmt.Errorf("cannot load kubeconfig: %w", err)
	}
	// The default of five requests a second is what makes tests slow.
	cfg.QPS, cfg.Burst = 500, 1000
	cfg.WarningHandler = rest.NoWarnings{}
	c.config = cfg
	if c.kube, err = kubernetes.NewForConfig(cfg); err != nil {
		return fmt.Errorf("cannot make a client: %w", err)
	}
	c.apply, err = newApplier(cfg)
	return err
}

// until polls a condition that is met in time, or else explains why it isn't.
// The error of the last try is what the caller gets to see.
func until(ctx context.Context, within time.Duration, what string, try func(context.Context) error) error {
	deadline := time.After(within)
	for {
		// A try has its own time, or else the last one would always fail for
		// the lack of it, and not for what it's waiting for.
		tctx, cancel := context.WithTimeout(ctx, patience)
		err := try(tctx)
		cancel()
		if err == nil {
			return nil
		}
		var f *fatalError
		if errors.As(err, &f) {
			return fmt.Errorf("cannot wait for %s: %w", what, f.err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for %s: %w", what, ctx.Err())
		case <-deadline:
			return fmt.Errorf("cannot wait for %s any longer than %s: %w", what, within, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// A fatalError ends waiting early.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }
