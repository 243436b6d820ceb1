// Command tools builds the pinned tools and tells where they are.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/aim-engine/function-aim/test/tools"
)

type cli struct {
	Build buildCmd `cmd:"" help:"Build tools that aren't there yet."`
	Path  pathCmd  `cmd:"" help:"Print where a tool's binary is, building it if it isn't there."`
}

type buildCmd struct {
	Names []string `arg:"" help:"Tools to build. All, by default." optional:""`
}

// Run builds tools.
func (c *buildCmd) Run(ctx context.Context) error {
	return tools.Build(ctx, os.Stderr, c.Names...)
}

type pathCmd struct {
	Name string `arg:"" help:"The tool."`
}

// Run prints a path.
func (c *pathCmd) Run(ctx context.Context) error {
	if err := tools.Build(ctx, os.Stderr, c.Name); err != nil {
		return err
	}
	p, err := tools.Path(c.Name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(os.Stdout, p)
	return err
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	k := kong.Parse(&cli{}, kong.Name("tools"), kong.Description("Builds pinned tools into .cache/bin."), kong.UsageOnError())
	k.BindTo(ctx, (*context.Context)(nil))
	k.FatalIfErrorf(k.Run())
}
