package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/aim-engine/function-aim/test/tools"
)

// errNotRunning is returned when there is no plane to attach to.
var errNotRunning = errors.New("the control plane isn't running")

// upDir is the folder of the plane that Up starts.
func upDir(dir string) (string, error) {
	if dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return "", fmt.Errorf("cannot find folder: %w", err)
		}
		return abs, nil
	}
	root, err := tools.Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, ".cache", "up"), nil
}

// UpOptions configure Up.
type UpOptions struct {
	// Dir of the plane. The default is .cache/up below the root.
	Dir string

	// Claim is a file with what to apply and wait for. Empty applies nothing.
	Claim string

	// Within is how long the claim may take to become ready.
	Within time.Duration

	// Out is where progress is printed, and what to do next.
	Out io.Writer
}

// Up starts a full control plane that outlives this process, and applies a
// claim. If there is one already, it only installs our packages
// again, if they have changed. If what's there is broken, it starts afresh.
func Up(ctx context.Context, o UpOptions) error {
	dir, err := upDir(o.Dir)
	if err != nil {
		return err
	}
	unlock, err := lockFile(dir + ".lock")
	if err != nil {
		return err
	}
	defer unlock()

	c, err := upOrAttach(ctx, dir, o.Out)
	if err != nil {
		return err
	}
	if o.Claim != "" {
		if err := c.applyClaim(ctx, o); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprint(o.Out, c.next())
	return nil
}

// upOrAttach returns the plane in a folder, with our packages as they are now.
func upOrAttach(ctx context.Context, dir string, out io.Writer) (*ControlPlane, error) {
	c, err := Attach(ctx, dir, out)
	if err == nil {
		c.say.printf("found a control plane that's running")
		return c, c.say.step("packages are up to date", func() error {
			_, err := c.updatePackages(ctx)
			return err
		})
	}
	if !errors.Is(err, errNotRunning) {
		_, _ = fmt.Fprintf(out, "starting afresh: %v\n", err)
	}
	if _, err := down(dir); err != nil {
		return nil, err
	}

	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find this command: %w", err)
	}
	// Go's run command removes it when we're done.
	exe := filepath.Join(dir, "controlplane")
	if err := copyExecutable(self, exe); err != nil {
		return nil, err
	}
	c, err = Start(ctx, Options{Layer: Full, Dir: dir, Progress: out, Detached: true, Executable: exe})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Ready = true
	return c, c.state.save(dir)
}

// Attach to a detached control plane that was started before. It's an error if
// any of its processes isn't running.
func Attach(ctx context.Context, dir string, progress io.Writer) (*ControlPlane, error) {
	s, err := loadState(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNotRunning
	}
	if err != nil {
		return nil, err
	}
	root, err := tools.Root()
	if err != nil {
		return nil, err
	}
	c := &ControlPlane{
		Dir:        dir,
		Kubeconfig: filepath.Join(dir, "kubeconfig"),
		opts:       Options{Layer: s.Layer, Dir: dir, Detached: true},
		root:       root,
		say:        newSayer(progress),
		ports:      &portPool{},
		state:      s,
		children:   map[string]*child{},
	}
	if !s.Ready {
		return nil, errors.New("the control plane was never ready")
	}
	for _, p := range s.Processes {
		if !p.alive() {
			return nil, fmt.Errorf("%s isn't running any more; the end of %s is:\n%s", p.Name, p.Log, tailOf(p.Log))
		}
	}
	if err := c.connect(); err != nil {
		return nil, err
	}
	return c, until(ctx, 10*time.Second, "kube-apiserver", func(ctx context.Context) error {
		_, err := c.kube.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	})
}

// applyClaim applies a claim, and waits until it's ready.
func (c *ControlPlane) applyClaim(ctx context.Context, o UpOptions) error {
	objs, err := ReadFile(o.Claim)
	if err != nil {
		return err
	}
	if err := c.Apply(ctx, objs...); err != nil {
		return err
	}
	for _, claim := range objs {
		if err := c.waitClaim(ctx, claim, o.Within); err != nil {
			return err
		}
	}
	return nil
}

// waitClaim waits until a claim is ready, and says what keeps it from that.
func (c *ControlPlane) waitClaim(ctx context.Context, claim *unstructured.Unstructured, within time.Duration) error {
	what := claim.GetKind() + " " + claim.GetName()
	start, said := time.Now(), ""
	var last *unstructured.Unstructured
	err := until(ctx, within, what, func(ctx context.Context) error {
		u, err := c.apply.get(ctx, claim.GroupVersionKind(), claim.GetNamespace(), claim.GetName())
		if err != nil {
			return err
		}
		last = u
		ready, _ := condition(u, "Ready")
		synced, _ := condition(u, "Synced")
		if ready == string(metav1.ConditionTrue) && synced == ready {
			return nil
		}
		why := strings.Join(unmet(u), "; ")
		if why != said {
			said = why
			c.say.printf("%s: not ready yet: %s", what, why)
		}
		return errors.New("it's not ready")
	})
	if err != nil {
		return errors.Join(err, errors.New(conditions(last)))
	}
	c.say.printf("%s: ready in %.1fs", what, time.Since(start).Seconds())
	return nil
}

// unmet returns what an object says about why it's not ready. If it says more
// than that it's not, that is left out.
func unmet(u *unstructured.Unstructured) []string {
	out, ready := make([]string, 0), "nothing is known yet"
	for _, c := range conditionsOf(u) {
		switch {
		case c.Status == metav1.ConditionTrue:
		case c.Type == "Ready":
			ready = c.Message
		default:
			out = append(out, c.Type+": "+c.Message)
		}
	}
	if len(out) == 0 {
		return []string{ready}
	}
	return out
}

// conditions lists all conditions of an object, one on a line.
func conditions(u *unstructured.Unstructured) string {
	if u == nil {
		return "it was never seen"
	}
	lines := make([]string, 0)
	for _, c := range conditionsOf(u) {
		lines = append(lines, fmt.Sprintf("  %s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	return "its conditions are:\n" + strings.Join(lines, "\n")
}

// next tells what can be done with a plane.
func (c *ControlPlane) next() string {
	return fmt.Sprintf(`
The control plane is up. Nodes and GPUs are pretended; everything else is real.

  export KUBECONFIG=%s

  kubectl get aimendpoint -A              what is served, and where
  kubectl describe aimendpoint qwen3-32b  why it's served that way
  kubectl get objects                     what was composed
  kubectl get deploy,svc,pvc,hpa,pods     what became of it
  kubectl delete aimendpoint qwen3-32b    stop it
  make down                               stop everything
`, c.Kubeconfig)
}

// Down ends the plane that Up started in a folder, .cache/up by default, and
// removes the folder.
func Down(dir string, out io.Writer) error {
	dir, err := upDir(dir)
	if err != nil {
		return err
	}
	unlock, err := lockFile(dir + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	n, err := down(dir)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "stopped %d processes\n", n)
	return nil
}

// down ends those of a plane's processes that still run, and removes its
// folder. Other processes that got their numbers since are left alone.
func down(dir string) (int, error) {
	s, err := loadState(dir)
	if errors.Is(err, fs.ErrNotExist) {
		// Nothing was started, so there's no more than some files.
		return 0, removeAll(dir)
	}
	if err != nil {
		return 0, err
	}
	n, errs := 0, make([]error, 0)
	for i := len(s.Processes) - 1; i >= 0; i-- {
		if s.Processes[i].alive() {
			n++
		}
		errs = append(errs, s.Processes[i].kill(nil))
	}
	if err := errors.Join(errs...); err != nil {
		return n, err
	}
	return n, removeAll(dir)
}

func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("cannot remove %s: %w", dir, err)
	}
	return nil
}

// Status prints the processes of the plane that Up started in a folder,
// .cache/up by default.
func Status(dir string, out io.Writer) error {
	dir, err := upDir(dir)
	if err != nil {
		return err
	}
	s, err := loadState(dir)
	if errors.Is(err, fs.ErrNotExist) {
		_, _ = fmt.Fprintln(out, "The control plane isn't running.")
		return nil
	}
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "NAME\tPID\tRUNNING\tPORTS\tLOG")
	for _, p := range s.Processes {
		ports := make([]string, 0, len(p.Ports))
		for _, port := range p.Ports {
			ports = append(ports, fmt.Sprint(port))
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\t%t\t%s\t%s\n", p.Name, p.PID, p.alive(), strings.Join(ports, ","), p.Log)
	}
	return w.Flush()
}

// copyExecutable copies a program to where it stays.
func copyExecutable(from, to string) error {
	b, err := os.ReadFile(from) //nolint:gosec // That's us.
	if err != nil {
		return fmt.Errorf("cannot read this command: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		return fmt.Errorf("cannot create folder: %w", err)
	}
	if err := os.WriteFile(to, b, 0o700); err != nil { //nolint:gosec // It has to be executable.
		return fmt.Errorf("cannot copy this command: %w", err)
	}
	return nil
}

// lockFile keeps others from doing what we're about to do at the same time.
func lockFile(path string) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("cannot create folder: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // The path is ours.
	if err != nil {
		return nil, fmt.Errorf("cannot open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot start: another one is at it: %w", err)
	}
	return func() { _ = f.Close() }, nil
}
