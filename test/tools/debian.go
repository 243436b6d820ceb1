package tools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// ErrNoPrometheus is returned where there's no Prometheus, and none to be had.
var ErrNoPrometheus = errors.New("cannot find prometheus: install it, for example by apt-get install prometheus, and put it on the PATH")

// Prometheus returns the path of a Prometheus server: the one on the PATH, else
// that of the distribution's package, if that's Debian or made of Debian. It is
// only unpacked, into .cache. Installing it would take root, and start a
// service.
func Prometheus(ctx context.Context, progress io.Writer) (string, error) {
	if p, err := exec.LookPath("prometheus"); err == nil {
		return filepath.Abs(p) //nolint:wrapcheck // It says what it couldn't do.
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".cache", "debian", "prometheus")
	binary := filepath.Join(dir, "usr", "bin", "prometheus")
	if there, err := exists(binary); err != nil || there {
		return binary, err
	}
	for _, c := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(c); err != nil {
			return "", ErrNoPrometheus
		}
	}

	unlock, err := lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	if there, err := exists(binary); err != nil || there {
		return binary, err
	}
	done := saying(progress, "tools: prometheus: the package of this distribution", "downloading", "downloaded")
	err = unpack(ctx, "prometheus", dir, filepath.Join("usr", "bin", "prometheus"))
	done(err)
	if err != nil {
		return "", err
	}
	return binary, nil
}

// unpack a package of this distribution into a folder, once the program in it
// is known to run.
func unpack(ctx context.Context, name, dir, program string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
		return fmt.Errorf("cannot create folder: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".downloading-")
	if err != nil {
		return fmt.Errorf("cannot create a folder to download to: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()

	// Lists of our own, for the machine's may be old or not there at all, and
	// are root's to update.
	for _, d := range []string{"lists/partial", "cache/archives/partial", "root"} {
		if err := os.MkdirAll(filepath.Join(tmp, d), 0o750); err != nil {
			return fmt.Errorf("cannot create folder: %w", err)
		}
	}
	apt := []string{
		"apt-get", "-qq", "-o", "Dir::State::Lists=" + filepath.Join(tmp, "lists"), "-o", "Dir::Cache=" + filepath.Join(tmp, "cache"),
		// Root would be somebody else for this, who may not write here.
		"-o", "APT::Sandbox::User=",
	}
	if err := runIn(ctx, tmp, append(apt, "update")...); err != nil {
		return err
	}
	if err := runIn(ctx, tmp, append(apt, "download", name)...); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(tmp, name+"_*.deb"))
	if err != nil {
		return fmt.Errorf("cannot look for package %s: %w", name, err)
	}
	if len(debs) != 1 {
		return fmt.Errorf("cannot find package %s: apt-get left %d of them", name, len(debs))
	}
	if err := runIn(ctx, tmp, "dpkg-deb", "-x", debs[0], filepath.Join(tmp, "root")); err != nil {
		return err
	}
	// It came without what it depends on, such as libraries.
	if err := runIn(ctx, tmp, filepath.Join(tmp, "root", program), "--version"); err != nil {
		return fmt.Errorf("cannot use the package of %s without what it depends on; install it by apt-get install %s: %w", name, name, err)
	}
	if err := os.Rename(filepath.Join(tmp, "root"), dir); err != nil {
		return fmt.Errorf("cannot put the package in its place: %w", err)
	}
	return nil
}

// runIn runs a command in a folder. The error has what it printed last.
func runIn(ctx context.Context, dir string, command ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // The commands are ours.
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot run %s: %w: %s", filepath.Base(command[0]), err, tail(out))
	}
	return nil
}

func exists(path string) (bool, error) {
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, fmt.Errorf("cannot look for %s: %w", path, err)
	}
	return true, nil
}
