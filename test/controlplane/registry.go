package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// startRegistry starts the registry that Crossplane gets packages from.
func (c *ControlPlane) startRegistry(ctx context.Context) error {
	port, err := c.port(processRegistry)
	if err != nil {
		return err
	}
	address, dir := loopback(port), filepath.Join(c.Dir, "registry")
	//nolint:contextcheck // It outlives the start.
	if err := c.startHelper(processRegistry, []string{"registry", "--address=" + address, "--blobs=" + dir}, []int{port}, func(ctx context.Context) error {
		return ServeRegistry(ctx, address, dir)
	}); err != nil {
		return err
	}
	return until(ctx, 10*time.Second, "registry", func(ctx context.Context) error {
		return ok(ctx, "http://"+address+"/v2/")
	})
}

// ServeRegistry serves an OCI registry until the context ends. Blobs are kept
// in a folder; manifests are forgotten.
func ServeRegistry(ctx context.Context, address, dir string) error {
	if err := writeFiles(dir, nil); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("cannot serve a registry: %w", err)
	}
	s := &http.Server{
		Handler:           registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(dir)), registry.Logger(log.New(io.Discard, "", 0))),
		ReadHeaderTimeout: time.Minute,
	}
	go func() {
		<-ctx.Done()
		_ = s.Close()
	}()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot serve a registry: %w", err)
	}
	return nil
}

// registryAddress is where the plane's registry listens.
func (c *ControlPlane) registryAddress() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return loopback(c.state.Ports[processRegistry])
}
