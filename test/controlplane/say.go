package controlplane

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// A sayer prints what is being done, and how long it took.
type sayer struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
}

func newSayer(w io.Writer) *sayer {
	if w == nil {
		w = io.Discard
	}
	return &sayer{w: w, start: time.Now()}
}

// Write lets a sayer be used where an io.Writer is wanted. It must be a
// *sayer, since several things may be said at once.
func (s *sayer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}

// printf prints a line, with the time since the start.
func (s *sayer) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = fmt.Fprintf(s.w, "%6.1fs  %s\n", time.Since(s.start).Seconds(), fmt.Sprintf(format, args...))
}

// step does something, and says so when it's done. If that takes long, it says
// that it's still at it.
func (s *sayer) step(what string, do func() error) error {
	start := time.Now()
	stop := make(chan struct{})
	go func() {
		t := time.NewTicker(10 * time.Second)
		defer t.Stop()
		for {
			select {
			case <-stop:
				return
			case <-t.C:
				s.printf("%s: still waiting after %.0fs", what, time.Since(start).Seconds())
			}
		}
	}()
	err := do()
	close(stop)
	if err != nil {
		s.printf("%s: failed after %.1fs", what, time.Since(start).Seconds())
		return err
	}
	s.printf("%s: ready in %.1fs", what, time.Since(start).Seconds())
	return nil
}
