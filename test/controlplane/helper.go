package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// startHelper starts a part of the plane that is our own code. It runs in a
// goroutine, or, if the plane is to outlive us, as a process that runs the
// controlplane command with the supplied arguments.
func (c *ControlPlane) startHelper(name string, args []string, ports []int, run func(context.Context) error) error {
	if c.opts.Detached {
		if c.opts.Executable == "" {
			return errors.New("cannot start a detached control plane: it needs the controlplane command")
		}
		return c.startProcess(spec{name: name, path: c.opts.Executable, args: args, ports: ports})
	}

	log, err := os.OpenFile(filepath.Join(c.Dir, "logs", name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // The path is ours.
	if err != nil {
		return fmt.Errorf("cannot open the log of %s: %w", name, err)
	}
	for _, p := range ports {
		c.ports.release(p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.mu.Lock()
	c.cancels = append(c.cancels, cancel)
	c.mu.Unlock()
	c.helpers.Go(func() {
		defer func() { _ = log.Close() }()
		if err := run(ctx); err != nil {
			_, _ = fmt.Fprintln(log, err)
		}
	})
	return nil
}
