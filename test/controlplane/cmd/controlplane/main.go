// Command controlplane runs a whole control plane on this machine: Kubernetes
// with pretended nodes and GPUs, Crossplane, and our packages.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/aim-engine/function-aim/test/controlplane"
	"github.com/aim-engine/function-aim/test/tools"
)

type cli struct {
	Dir string `help:"The control plane's folder. By default it's .cache/up below the repository's root." type:"path"`

	Up     upCmd     `cmd:"" help:"Start a control plane, install our packages, and apply an example."`
	Down   downCmd   `cmd:"" help:"Stop the control plane."`
	Status statusCmd `cmd:"" help:"Show the control plane's processes."`

	// These are processes of a plane that's up.
	Provision provisionCmd `cmd:"" help:"Provision volumes." hidden:""`
	Registry  registryCmd  `cmd:"" help:"Serve a registry."  hidden:""`
}

type upCmd struct {
	Claim   string        `default:"examples/qwen3-32b/claim.yaml" help:"What to apply and wait for, below the repository's root. Empty applies nothing."`
	Timeout time.Duration `default:"3m"                            help:"How long it may take to become ready."`
}

// Run starts a control plane.
func (c *upCmd) Run(ctx context.Context, g *cli) error {
	claim := c.Claim
	if claim != "" && !filepath.IsAbs(claim) {
		root, err := tools.Root()
		if err != nil {
			return err
		}
		claim = filepath.Join(root, claim)
	}
	return controlplane.Up(ctx, controlplane.UpOptions{Dir: g.Dir, Claim: claim, Within: c.Timeout, Out: os.Stdout})
}

type downCmd struct{}

// Run stops the control plane.
func (c *downCmd) Run(g *cli) error {
	return controlplane.Down(g.Dir, os.Stdout)
}

type statusCmd struct{}

// Run shows the control plane's processes.
func (c *statusCmd) Run(g *cli) error {
	return controlplane.Status(g.Dir, os.Stdout)
}

type provisionCmd struct {
	Kubeconfig string `help:"Whom to provision for." required:""`
}

// Run provisions volumes.
func (c *provisionCmd) Run(ctx context.Context) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return fmt.Errorf("cannot load kubeconfig: %w", err)
	}
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("cannot make a client: %w", err)
	}
	return controlplane.Provision(ctx, kube)
}

type registryCmd struct {
	Address string `help:"Where to listen."    required:""`
	Blobs   string `help:"Where to put blobs." required:""`
}

// Run serves a registry.
func (c *registryCmd) Run(ctx context.Context) error {
	return controlplane.ServeRegistry(ctx, c.Address, c.Blobs)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	c := &cli{}
	k := kong.Parse(c, kong.Name("controlplane"), kong.Description("Runs a control plane on this machine."), kong.UsageOnError())
	k.BindTo(ctx, (*context.Context)(nil))
	k.FatalIfErrorf(k.Run(c))
}
