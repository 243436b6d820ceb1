package controlplane

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/aim-engine/function-aim/package/xpkg"
	"github.com/aim-engine/function-aim/test/tools"
)

// functionTLS is a Secret with the function's server certificate.
const functionTLS = "function-aim-tls-server"

//nolint:gochecknoglobals // This is a constant.
var gvkXRD = schema.GroupVersionKind{Group: "apiextensions.crossplane.io", Version: "v1", Kind: "CompositeResourceDefinition"}

// A build of our packages.
type build struct {
	packages *xpkg.Packages
	version  string
	err      error
}

// buildPackages builds our packages from what has a hash.
func (c *ControlPlane) buildPackages(ctx context.Context, hash string) build {
	cli, err := tools.Path(tools.CrossplaneCLI)
	if err != nil {
		return build{err: err}
	}
	// Later builds are later versions, or else the package manager would
	// rather keep what's there as a dependency.
	version := fmt.Sprintf("v0.0.0-dev.%s.%s", time.Now().UTC().Format("20060102150405"), hash)
	p, err := xpkg.Build(ctx, xpkg.Options{
		Root:     c.root,
		Out:      filepath.Join(c.Dir, "packages"),
		CLI:      cli,
		Registry: c.registryAddress() + "/aim-engine",
		Version:  version,
		Arches:   []string{runtime.GOARCH},
		Progress: c.say,
	})
	if err != nil {
		return build{err: fmt.Errorf("cannot build packages: %w", err)}
	}
	return build{packages: p, version: version}
}

// beginPackages starts to build our packages while the rest of the plane comes
// up. The result is sent once.
func (c *ControlPlane) beginPackages(ctx context.Context) (<-chan build, error) {
	// They say where they'll be.
	if _, err := c.port(processRegistry); err != nil {
		return nil, err
	}
	hash, err := sourceHash(c.root)
	if err != nil {
		return nil, err
	}
	out := make(chan build, 1)
	c.helpers.Go(func() { out <- c.buildPackages(ctx, hash) })
	return out, nil
}

// startPackages installs our packages for the first time.
func (c *ControlPlane) startPackages(ctx context.Context) error {
	if err := c.tlsSecret(ctx, functionTLS, filepath.Join(c.Dir, "function", "tls")); err != nil {
		return err
	}
	return c.installPackages(ctx, <-c.packages)
}

// updatePackages installs our packages anew if what they're built from isn't
// what it was. It returns whether it had to.
func (c *ControlPlane) updatePackages(ctx context.Context) (bool, error) {
	hash, err := sourceHash(c.root)
	if err != nil || strings.HasSuffix(c.state.Version, hash) {
		return false, err
	}
	return true, c.installPackages(ctx, c.buildPackages(ctx, hash))
}

// installPackages installs our packages through Crossplane's package manager,
// and runs the function that's in them.
func (c *ControlPlane) installPackages(ctx context.Context, b build) error {
	if b.err != nil {
		return b.err
	}
	cli, err := tools.Path(tools.CrossplaneCLI)
	if err != nil {
		return err
	}
	p := b.packages
	if err := p.Push(ctx, cli); err != nil {
		return fmt.Errorf("cannot push packages: %w", err)
	}

	// What the package manager would run in a pod, we run as a process.
	binary := filepath.Join(c.Dir, "function", "function-"+b.version)
	if err := extract(p.Function[0], xpkg.FunctionName, binary); err != nil {
		return err
	}
	address, err := c.runFunction(ctx, binary)
	if err != nil {
		return err
	}

	name, image, err := c.install(ctx, kindFunction, p.FunctionRef)
	if err != nil {
		return err
	}
	rev, err := c.activeRevision(ctx, kindFunction, name, image)
	if err != nil {
		return err
	}
	if err := c.setRuntime(ctx, rev, runtimeStatus{tlsSecret: functionTLS, endpoint: "dns:///" + address, healthy: true}); err != nil {
		return err
	}
	if err := c.WaitFor(ctx, patience, pkgGVK(kindFunction), "", name, "Installed", "Healthy"); err != nil {
		return err
	}

	name, image, err = c.install(ctx, kindConfiguration, p.ConfigurationRef)
	if err != nil {
		return err
	}
	if _, err := c.activeRevision(ctx, kindConfiguration, name, image); err != nil {
		return err
	}
	if err := c.WaitFor(ctx, patience, pkgGVK(kindConfiguration), "", name, "Installed", "Healthy"); err != nil {
		return err
	}
	if err := c.waitXRDs(ctx); err != nil {
		return err
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Version = b.version
	return c.state.save(c.Dir)
}

// waitXRDs waits until all XRDs are served, and their claims are.
func (c *ControlPlane) waitXRDs(ctx context.Context) error {
	r, err := c.apply.resource(gvkXRD, "")
	if err != nil {
		return err
	}
	l, err := r.List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("cannot list XRDs: %w", err)
	}
	if len(l.Items) == 0 {
		return errors.New("cannot find any XRD: the configuration has none")
	}
	for _, xrd := range l.Items {
		conditions := []string{"Established"}
		if spec, ok := xrd.Object["spec"].(map[string]any); ok && spec["claimNames"] != nil {
			conditions = append(conditions, "Offered")
		}
		if err := c.WaitFor(ctx, patience, gvkXRD, "", xrd.GetName(), conditions...); err != nil {
			return err
		}
	}
	return nil
}

// runFunction starts the function, in place of one that runs already, and
// returns its address.
func (c *ControlPlane) runFunction(ctx context.Context, binary string) (string, error) {
	ports, err := c.reservePorts("function-grpc", "function-metrics")
	if err != nil {
		return "", err
	}
	if _, err := c.state.process(ProcessFunction); err == nil {
		if err := c.KillProcess(ProcessFunction); err != nil {
			return "", err
		}
	}
	if err := c.startProcess(spec{
		name: ProcessFunction,
		path: binary,
		args: []string{
			"--debug",
			"--address=" + loopback(ports[0]),
			"--metrics-address=" + loopback(ports[1]),
			"--tls-server-certs-dir=" + filepath.Join(c.Dir, "function", "tls"),
		},
		ports: ports,
	}); err != nil {
		return "", err
	}
	return loopback(ports[0]), until(ctx, 30*time.Second, "the function", func(ctx context.Context) error {
		if err := c.exited(ProcessFunction); err != nil {
			return err
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", loopback(ports[0]))
		if err != nil {
			return fmt.Errorf("it doesn't answer: %w", err)
		}
		return conn.Close()
	})
}

// extract the file of a name from the image that's embedded in a package.
func extract(pkg, name, to string) error {
	img, err := tarball.ImageFromPath(pkg, nil)
	if err != nil {
		return fmt.Errorf("cannot read package: %w", err)
	}
	layers, err := img.Layers()
	if err != nil {
		return fmt.Errorf("cannot read package: %w", err)
	}
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			return fmt.Errorf("cannot read package: %w", err)
		}
		found, err := extractFrom(tar.NewReader(r), name, to)
		_ = r.Close()
		if err != nil || found {
			return err
		}
	}
	return fmt.Errorf("cannot find %s in %s", name, pkg)
}

func extractFrom(r *tar.Reader, name, to string) (bool, error) {
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("cannot read layer of package: %w", err)
		}
		if strings.TrimPrefix(h.Name, "/") != name {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
			return false, fmt.Errorf("cannot create folder: %w", err)
		}
		f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o700) //nolint:gosec // It has to be executable.
		if err != nil {
			return false, fmt.Errorf("cannot create file: %w", err)
		}
		if _, err := io.Copy(f, r); err != nil {
			_ = f.Close()
			return false, fmt.Errorf("cannot extract file: %w", err)
		}
		if err := f.Close(); err != nil {
			return false, fmt.Errorf("cannot extract file: %w", err)
		}
		return true, nil
	}
}

// sourceHash returns a hash of everything that our packages are built from. It
// is also a valid part of a version.
func sourceHash(root string) (string, error) {
	h := sha256.New()
	add := func(path string) error {
		b, err := os.ReadFile(filepath.Join(root, path)) //nolint:gosec // These are our own files.
		if err != nil {
			return fmt.Errorf("cannot read source: %w", err)
		}
		_, _ = fmt.Fprintf(h, "%s %d\n", path, len(b))
		_, _ = h.Write(b)
		return nil
	}
	for _, f := range []string{"go.mod", "go.sum"} {
		if err := add(f); err != nil {
			return "", err
		}
	}
	for _, dir := range []string{"apis", "compositions", "fn", "input", "package"} {
		err := fs.WalkDir(os.DirFS(root), dir, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "testdata":
				return fs.SkipDir
			case d.IsDir() || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			return add(path)
		})
		if err != nil {
			return "", fmt.Errorf("cannot hash source: %w", err)
		}
	}
	return "h" + hex.EncodeToString(h.Sum(nil))[:12], nil
}
