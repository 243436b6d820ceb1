package controlplane

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

// StartT starts a control plane for a test, and stops it when the test and its
// subtests are done. If the test fails, the plane's folder is kept, and the
// end of each log is printed.
func StartT(t testing.TB, o Options) *ControlPlane {
	t.Helper()
	if o.Progress == nil {
		o.Progress = &logWriter{t: t}
	}
	if o.Dir == "" {
		// Not t.TempDir, since it wouldn't outlive a failed test.
		dir, err := os.MkdirTemp("", "controlplane-")
		if err != nil {
			t.Fatalf("cannot create a folder for the control plane: %v", err)
		}
		o.Dir = dir
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()

	c, err := Start(ctx, o)
	if err != nil {
		t.Fatalf("cannot start a control plane (its logs are in %s/logs): %v", o.Dir, err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Errorf("cannot stop the control plane: %v", err)
		}
		if !t.Failed() {
			_ = os.RemoveAll(c.Dir)
			return
		}
		t.Logf("The control plane's folder is %s", c.Dir)
		for _, p := range c.Processes() {
			t.Logf("The end of %s:\n%s", p.Log, tailOf(p.Log))
		}
	})
	return c
}

// A logWriter shows progress as it's made, even without -v: it takes minutes
// when tools have to be built.
type logWriter struct{ t testing.TB }

func (w *logWriter) Write(b []byte) (int, error) {
	return fmt.Fprintf(os.Stderr, "%s: %s", w.t.Name(), b)
}
