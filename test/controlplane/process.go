package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process of a control plane, as it's recorded in the plane's state.
type process struct {
	Name string   `json:"name"`
	Path string   `json:"path"`
	Args []string `json:"args,omitempty"`
	Env  []string `json:"env,omitempty"`
	Log  string   `json:"log"`

	// Ports that it listens to.
	Ports []int `json:"ports,omitempty"`

	// PID and what tells it from a later process of the same number.
	PID      int    `json:"pid,omitempty"`
	Identity string `json:"identity,omitempty"`
}

// A child is a process that was started by this very process.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// A spec says how to run a process.
type spec struct {
	name  string
	path  string
	args  []string
	env   []string
	ports []int
}

// spawn runs functions on one thread that never ends. Linux sends a process
// its parent's death signal when the *thread* that started it ends, which
// could be any time for threads that Go makes and drops as it likes.
//
//nolint:gochecknoglobals // There is one such thread for all planes.
var spawn = sync.OnceValue(func() chan<- func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
})

// startProcess starts a process, with its output going to a log file.
func (c *ControlPlane) startProcess(s spec) error {
	p := &process{
		Name: s.name, Path: s.path, Args: s.args, Env: s.env, Ports: s.ports,
		Log: filepath.Join(c.Dir, "logs", s.name+".log"),
	}
	ch, err := c.exec(p)
	if err != nil {
		return err
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	c.children[p.Name] = ch
	kept := make([]*process, 0, len(c.state.Processes)+1)
	for _, other := range c.state.Processes {
		if other.Name != p.Name {
			kept = append(kept, other)
		}
	}
	kept = append(kept, p)
	c.state.Processes = kept
	return c.state.save(c.Dir)
}

// exec starts a process and notes who it is.
func (c *ControlPlane) exec(p *process) (*child, error) {
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the log of %s: %w", p.Name, err)
	}
	defer func() { _ = log.Close() }()

	cmd := exec.Command(p.Path, p.Args...) //nolint:gosec,noctx // It must outlive the context that it's started in.
	cmd.Dir = c.Dir
	cmd.Env = append(inherited(), p.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes(c.opts.Detached)

	for _, port := range p.Ports {
		c.ports.release(port)
	}
	started := make(chan error)
	spawn() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", p.Name, err)
	}
	p.PID = cmd.Process.Pid
	p.Identity = identity(p.PID)

	ch := &child{cmd: cmd, done: make(chan struct{})}
	go func() {
		ch.err = cmd.Wait()
		close(ch.done)
	}()
	return ch, nil
}

// inherited returns the environment that processes share with us. They should
// not be led to another cluster, or through a proxy to a port on loopback.
func inherited() []string {
	out := make([]string, 0)
	for _, e := range os.Environ() {
		k, _, _ := strings.Cut(e, "=")
		switch {
		case k == "KUBECONFIG", strings.HasPrefix(k, "KUBERNETES_"):
		case strings.HasSuffix(strings.ToLower(k), "_proxy"):
		default:
			out = append(out, e)
		}
	}
	return append(out, "NO_PROXY=127.0.0.1,localhost")
}

// run a program to its end, with its output going to a log file.
func (c *ControlPlane) run(ctx context.Context, s spec) error {
	path := filepath.Join(c.Dir, "logs", s.name+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // The path is ours.
	if err != nil {
		return fmt.Errorf("cannot open the log of %s: %w", s.name, err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(ctx, s.path, s.args...) //nolint:gosec // We're running our own tools.
	cmd.Dir = c.Dir
	cmd.Env = append(inherited(), s.env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cannot run %s: %w\n%s", s.name, err, tailOf(path))
	}
	return nil
}

// alive tells whether this very process is running.
func (p *process) alive() bool {
	return p.PID > 0 && p.Identity != "" && identity(p.PID) == p.Identity
}

// kill a process for good, and wait until it's gone. Nothing in a plane is
// worth a graceful end.
func (p *process) kill(ch *child) error {
	if p.alive() {
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("cannot kill %s (process %d): %w", p.Name, p.PID, err)
		}
	}
	if ch != nil {
		<-ch.done
		return nil
	}
	for range 500 {
		if !p.alive() {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("cannot kill %s: process %d doesn't end", p.Name, p.PID)
}

// KillProcess kills the named process the hard way. See Processes for names.
func (c *ControlPlane) KillProcess(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.state.process(name)
	if err != nil {
		return err
	}
	return p.kill(c.children[name])
}

// StartProcess starts the named process again, the same way as before. It
// doesn't wait until it's ready.
func (c *ControlPlane) StartProcess(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.state.process(name)
	if err != nil {
		return err
	}
	if p.alive() {
		return fmt.Errorf("cannot start %s: it's running as process %d", name, p.PID)
	}
	ch, err := c.exec(p)
	if err != nil {
		return err
	}
	c.children[name] = ch
	return c.state.save(c.Dir)
}

// A ProcessStatus describes a process of the plane.
type ProcessStatus struct {
	Name    string
	PID     int
	Running bool
	Ports   []int
	Log     string
}

// Processes returns the plane's processes in the order they were started.
func (c *ControlPlane) Processes() []ProcessStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]ProcessStatus, 0, len(c.state.Processes))
	for _, p := range c.state.Processes {
		out = append(out, ProcessStatus{Name: p.Name, PID: p.PID, Running: p.alive(), Ports: p.Ports, Log: p.Log})
	}
	return out
}

// Logs returns everything that the named process printed so far.
func (c *ControlPlane) Logs(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(c.Dir, "logs", name+".log")) //nolint:gosec // The path is ours.
	if err != nil {
		return "", fmt.Errorf("cannot read the log of %s: %w", name, err)
	}
	return string(b), nil
}

// exited returns an error with the end of its log if a process isn't running.
func (c *ControlPlane) exited(names ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range names {
		p, err := c.state.process(n)
		if err != nil {
			return err
		}
		ended := !p.alive()
		if ch := c.children[n]; ch != nil {
			select {
			case <-ch.done:
				ended = true
			default:
			}
		}
		if ended {
			return &fatalError{fmt.Errorf("%s ended unexpectedly; the end of %s is:\n%s", n, p.Log, tailOf(p.Log))}
		}
	}
	return nil
}

// tailOf returns the end of a log file.
func tailOf(path string) string {
	const most = 8000
	f, err := os.Open(path) //nolint:gosec // The path is ours.
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	if len(lines) > 20 {
		lines = lines[len(lines)-20:]
	}
	for i := range lines {
		// Some print whole objects.
		lines[i] = lines[i][:min(len(lines[i]), 400)]
	}
	return string(bytes.Join(lines, []byte("\n")))
}
