// Command xpkg builds our Crossplane packages, and pushes them.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/aim-engine/function-aim/package/xpkg"
)

type cli struct {
	Build buildCmd `cmd:"" help:"Build the function and the configuration package."`
	Push  pushCmd  `cmd:"" help:"Build the packages, and push them to the registry."`
}

type options struct {
	CLI      string   `default:"crossplane"                                                            help:"The crossplane CLI's binary."             name:"cli"`
	Root     string   `default:"."                                                                     help:"Root of the repository."                  type:"existingdir"`
	Out      string   `default:"_output/packages"                                                      help:"Folder to put the packages into."         type:"path"`
	Registry string   `help:"Where the packages are pushed to, for example 127.0.0.1:5055/aim-engine." required:""`
	Version  string   `help:"Version of the packages, for example v0.1.0."                             required:""`
	Arches   []string `default:"amd64,arm64"                                                           help:"Architectures to build the function for."`
}

// build the packages.
func (o *options) build(ctx context.Context) (*xpkg.Packages, error) {
	return xpkg.Build(ctx, xpkg.Options{
		Root:     o.Root,
		Out:      o.Out,
		CLI:      o.CLI,
		Registry: o.Registry,
		Version:  o.Version,
		Arches:   o.Arches,
		Progress: os.Stderr,
	})
}

type buildCmd struct {
	options `embed:""`
}

// Run builds the packages.
func (c *buildCmd) Run(ctx context.Context) error {
	_, err := c.build(ctx)
	return err
}

// pushCmd always builds what it pushes. A configuration says which registry its
// function is in, so packages that were built for another would not do.
type pushCmd struct {
	options `embed:""`
}

// Run builds and pushes the packages.
func (c *pushCmd) Run(ctx context.Context) error {
	p, err := c.build(ctx)
	if err != nil {
		return err
	}
	if err := p.Push(ctx, c.CLI); err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, "%s\n%s\n", p.FunctionRef, p.ConfigurationRef)
	return err
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	k := kong.Parse(&cli{}, kong.Name("xpkg"), kong.Description("Builds and pushes our Crossplane packages."), kong.UsageOnError())
	k.BindTo(ctx, (*context.Context)(nil))
	k.FatalIfErrorf(k.Run())
}
