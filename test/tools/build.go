package tools

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// sayEvery is how often a long build says that it's still at it.
const sayEvery = 10 * time.Second

// Build builds the named tools unless they're there already, one after the
// other, and says on progress what it is doing. Without names it builds all.
// It is safe to call from several processes at once.
func Build(ctx context.Context, progress io.Writer, names ...string) error {
	if len(names) == 0 {
		for _, t := range All() {
			names = append(names, t.Name)
		}
	}

	missing := make([]Tool, 0)
	for _, n := range names {
		there, err := Built(n)
		if err != nil {
			return err
		}
		if there {
			continue
		}
		t, err := Get(n)
		if err != nil {
			return err
		}
		missing = append(missing, t)
	}
	if len(missing) == 0 {
		return nil
	}

	// Test packages run in parallel, and would all build the same things.
	unlock, err := lock()
	if err != nil {
		return err
	}
	defer unlock()

	for i, t := range missing {
		if there, err := Built(t.Name); err != nil || there {
			if err != nil {
				return err
			}
			continue
		}
		version, err := t.Version()
		if err != nil {
			return err
		}
		what := fmt.Sprintf("tools: %d/%d %s %s", i+1, len(missing), t.Name, version)
		if err := build(ctx, t, saying(progress, what, "building", "built")); err != nil {
			return fmt.Errorf("cannot build %s %s: %w", t.Name, version, err)
		}
	}
	return nil
}

// Built tells whether the named tool is there already.
func Built(name string) (bool, error) {
	p, err := Path(name)
	if err != nil {
		return false, err
	}
	return exists(p)
}

// ModuleDir returns the folder that holds the source of a module, as pinned by
// the named tool's go.mod. It downloads the module if it has to.
func ModuleDir(ctx context.Context, tool, module string) (string, error) {
	t, err := Get(tool)
	if err != nil {
		return "", err
	}
	return t.moduleDir(ctx, module)
}

func (t Tool) moduleDir(ctx context.Context, module string) (string, error) {
	list := func() (string, error) {
		return t.goCommand(ctx, "list", "-m", "-f", "{{.Dir}}", module)
	}
	if dir, err := list(); err != nil || dir != "" {
		return dir, err
	}
	if _, err := t.goCommand(ctx, "mod", "download", module); err != nil {
		return "", err
	}
	dir, err := list()
	if err != nil {
		return "", err
	}
	if dir == "" {
		return "", fmt.Errorf("cannot find the source of module %s", module)
	}
	return dir, nil
}

// goCommand runs the go command in the tool's module, and returns what it
// prints.
func (t Tool) goCommand(ctx context.Context, args ...string) (string, error) {
	dir, err := t.Dir()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	// A go.work of the person who runs this must not change what's pinned.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	stderr := &bytes.Buffer{}
	cmd.Stderr = stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("cannot run go %s in %s: %w: %s", args[0], dir, err, tail(stderr.Bytes()))
	}
	return strings.TrimSpace(string(out)), nil
}

func build(ctx context.Context, t Tool, done func(error)) (err error) {
	defer func() { done(err) }()

	target, err := Path(t.Name)
	if err != nil {
		return err
	}
	version, err := t.Version()
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(target), ".building-")
	if err != nil {
		return fmt.Errorf("cannot create a folder to build in: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()

	out := filepath.Join(tmp, t.Name)
	args := []string{"build", "-buildvcs=false", "-trimpath", "-ldflags", t.ldflags(version), "-o", out}
	if len(t.patches) > 0 {
		modfile, err := t.patched(ctx, tmp, version)
		if err != nil {
			return err
		}
		args = append(args, "-modfile", modfile)
	}
	if _, err := t.goCommand(ctx, append(args, t.Import)...); err != nil {
		return err
	}
	if err := t.checkVersion(ctx, out, version); err != nil {
		return err
	}
	// Nobody ever sees half a binary.
	if err := os.Rename(out, target); err != nil {
		return fmt.Errorf("cannot put the binary in its place: %w", err)
	}
	return nil
}

// patched makes a patched copy of the tool's source below a folder, and returns
// a go.mod that uses it in place of the released one. (The go command's
// -overlay would be simpler, but refuses files of the module cache.)
func (t Tool) patched(ctx context.Context, dir, version string) (string, error) {
	src, err := ModuleDir(ctx, t.Name, t.Module)
	if err != nil {
		return "", err
	}
	to := filepath.Join(dir, "src")
	if err := os.CopyFS(to, os.DirFS(src)); err != nil {
		return "", fmt.Errorf("cannot copy source to patch: %w", err)
	}
	for _, p := range t.patches {
		path := filepath.Join(to, p.file)
		b, err := os.ReadFile(path) //nolint:gosec // The path is that of a pinned module.
		if err != nil {
			return "", fmt.Errorf("cannot read what to patch: %w", err)
		}
		if n := strings.Count(string(b), p.old); n != 1 {
			return "", fmt.Errorf("cannot patch %s of %s: the text to replace is there %d times, not once", p.file, t.Name, n)
		}
		// The copy is read-only, as the module cache is.
		if err := os.Remove(path); err != nil {
			return "", fmt.Errorf("cannot replace what to patch: %w", err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(b), p.old, p.new, 1)), 0o600); err != nil {
			return "", fmt.Errorf("cannot write patched source: %w", err)
		}
	}

	pins, err := t.Dir()
	if err != nil {
		return "", err
	}
	for _, f := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(pins, f)) //nolint:gosec // We're reading our own files.
		if err != nil {
			return "", fmt.Errorf("cannot read what pins %s: %w", t.Name, err)
		}
		if f == "go.mod" {
			b = fmt.Appendf(b, "\nreplace %s %s => %s\n", t.Module, version, to)
		}
		if err := os.WriteFile(filepath.Join(dir, f), b, 0o600); err != nil {
			return "", fmt.Errorf("cannot write %s: %w", f, err)
		}
	}
	return filepath.Join(dir, "go.mod"), nil
}

// checkVersion makes sure that a binary is of the version we asked for. A
// linker variable that was renamed upstream would otherwise go unnoticed until
// a package with a version constraint can't be installed.
func (t Tool) checkVersion(ctx context.Context, binary, version string) error {
	if len(t.versionArgs) == 0 {
		info, err := buildinfo.ReadFile(binary)
		if err != nil {
			return fmt.Errorf("cannot read build information: %w", err)
		}
		for _, d := range append([]*debug.Module{&info.Main}, info.Deps...) {
			if d.Path == t.Module && d.Version == version {
				return nil
			}
		}
		return fmt.Errorf("cannot verify version: the binary was not built from %s %s", t.Module, version)
	}
	out, err := exec.CommandContext(ctx, binary, t.versionArgs...).CombinedOutput() //nolint:gosec // We've just built it.
	if err != nil {
		return fmt.Errorf("cannot ask for its version: %w: %s", err, tail(out))
	}
	if !strings.Contains(string(out), strings.TrimPrefix(version, "v")) {
		return fmt.Errorf("cannot verify version: want %s, it says %q", version, tail(out))
	}
	return nil
}

// saying writes to w that something is being done, and again every while until
// the returned function is called, which writes that it's done.
func saying(w io.Writer, what, doing, done string) func(error) {
	if w == nil {
		w = io.Discard
	}
	start := time.Now()
	_, _ = fmt.Fprintf(w, "%s: %s\n", what, doing)
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		t := time.NewTicker(sayEvery)
		defer t.Stop()
		for {
			select {
			case <-stop:
				return
			case <-t.C:
				_, _ = fmt.Fprintf(w, "%s: still %s after %s\n", what, doing, time.Since(start).Round(time.Second))
			}
		}
	}()
	return func(err error) {
		close(stop)
		<-stopped
		if err == nil {
			_, _ = fmt.Fprintf(w, "%s: %s in %s\n", what, done, time.Since(start).Round(100*time.Millisecond))
		}
	}
}

// lock keeps other processes from building.
func lock() (func(), error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, ".cache", "bin")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("cannot create %s: %w", dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // The path is ours.
	if err != nil {
		return nil, fmt.Errorf("cannot open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot lock: %w", err)
	}
	// The kernel drops the lock with the file, however we end.
	return func() { _ = f.Close() }, nil
}

// tail returns the end of what a program printed.
func tail(b []byte) string {
	const most = 2000
	b = bytes.TrimSpace(b)
	if len(b) > most {
		b = b[len(b)-most:]
	}
	return string(b)
}
