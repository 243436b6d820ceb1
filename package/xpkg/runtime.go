package xpkg

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// The function's binary in its image, and the user and group it runs as. The
// Dockerfile makes the same image. The user is the one that distroless images
// call nonroot. It's a number because this image has no /etc/passwd, and because
// a kubelet can't tell whether a name is root.
const (
	entrypoint = "/" + FunctionName
	user       = "65532:65532"
)

// buildRuntime builds the function's runtime image, and writes it to a tarball.
func buildRuntime(ctx context.Context, file, arch string, o Options) error {
	binary := file + ".bin"
	env := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch}
	// Stamping the state of the checkout would make two builds of one source
	// differ.
	args := []string{"build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w -X main.version=" + o.Version, "-o", binary, "./fn"}
	if err := run(ctx, o.Root, env, "go", args...); err != nil {
		return err
	}
	b, err := os.ReadFile(binary) //nolint:gosec // We've just written it.
	if err != nil {
		return errors.Wrap(err, "cannot read binary")
	}
	img, err := runtimeImage(b, arch)
	if err != nil {
		return err
	}
	tag, err := name.NewTag(FunctionName + ":" + filepath.Base(arch))
	if err != nil {
		return errors.Wrap(err, "cannot name image")
	}
	return errors.Wrap(tarball.WriteToFile(file, tag, img), "cannot write image")
}

// runtimeImage returns an image that consists of nothing but a static binary.
// The function calls nobody, so it needs no certificate authorities. Nothing in
// the image has a time, so that its digest depends on the binary alone.
func runtimeImage(binary []byte, arch string) (v1.Image, error) {
	layer := &bytes.Buffer{}
	tw := tar.NewWriter(layer)
	if err := tw.WriteHeader(&tar.Header{Name: FunctionName, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(binary))}); err != nil {
		return nil, errors.Wrap(err, "cannot write layer")
	}
	if _, err := tw.Write(binary); err != nil {
		return nil, errors.Wrap(err, "cannot write layer")
	}
	if err := tw.Close(); err != nil {
		return nil, errors.Wrap(err, "cannot write layer")
	}

	// A layer is asked for its digest, its size and its content, and would be
	// compressed anew each time.
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	}, tarball.WithCompressedCaching)
	if err != nil {
		return nil, errors.Wrap(err, "cannot make layer")
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return nil, errors.Wrap(err, "cannot add layer to image")
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, errors.Wrap(err, "cannot get image configuration")
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture = "linux", arch
	cfg.Config = v1.Config{
		Entrypoint: []string{entrypoint},
		User:       user,
		// gRPC, and metrics.
		ExposedPorts: map[string]struct{}{"9443/tcp": {}, "8080/tcp": {}},
	}
	img, err = mutate.ConfigFile(img, cfg)
	return img, errors.Wrap(err, "cannot set image configuration")
}
