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
func StartT(tb testing.TB, o Options) *ControlPlane {
	tb.Helper()
	if o.Progress == nil {
		o.Progress = &logWriter{tb: tb}
	}
	if o.Dir == "" {
		// Not tb.TempDir, since it wouldn't outlive a failed test.
		dir, err := os.MkdirTemp("", "controlplane-") //nolint:usetesting // See above.
		if err != nil {
			tb.Fatalf("cannot create a folder for the control plane: %v", err)
		}
		o.Dir = dir
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Minute)
	defer cancel()

	c, err := Start(ctx, o)
	if err != nil {
		tb.Fatalf("cannot start a control plane (its logs are in %s/logs): %v", o.Dir, err)
	}
	tb.Cleanup(func() {
		if err := c.Stop(); err != nil {
			tb.Errorf("cannot stop the control plane: %v", err)
		}
		if !tb.Failed() {
			_ = os.RemoveAll(c.Dir)
			return
		}
		tb.Logf("The control plane's folder is %s", c.Dir)
		for _, p := range c.Processes() {
			tb.Logf("The end of %s:\n%s", p.Log, tailOf(p.Log))
		}
	})
	return c
}

// A logWriter shows progress as it's made, even without -v: it takes minutes
// when tools have to be built.
type logWriter struct{ tb testing.TB }

func (w *logWriter) Write(b []byte) (int, error) {
	return fmt.Fprintf(os.Stderr, "%s: %s", w.tb.Name(), b)
}
