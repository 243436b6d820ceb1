package controlplane

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// envOrphan makes this test binary start a plane and wait to be killed.
const envOrphan = "CONTROLPLANE_TEST_ORPHAN"

func TestKilledParent(t *testing.T) {
	if dir := os.Getenv(envOrphan); dir != "" {
		c, err := Start(t.Context(), Options{Layer: APIServer, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(os.Stdout, "started %d\n", len(c.Processes()))
		time.Sleep(time.Minute)
		return
	}
	if testing.Short() {
		t.Skip("This test starts a real API server.")
	}

	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledParent$")
	cmd.Env = append(os.Environ(), envOrphan+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("cannot start a test: %v", err)
	}
	s := bufio.NewScanner(out)
	for s.Scan() && !strings.HasPrefix(s.Text(), "started") {
		t.Log(s.Text())
	}
	state, err := loadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := 2; len(state.Processes) != want {
		t.Fatalf("want %d processes, got %d", want, len(state.Processes))
	}
	for _, p := range state.Processes {
		if !p.alive() {
			t.Errorf("\nProcesses should run before their parent is killed.\n%s doesn't", p.Name)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()

	deadline := time.Now().Add(10 * time.Second)
	for _, p := range state.Processes {
		for p.alive() && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
		}
		if p.alive() {
			t.Errorf("\nProcesses should end with their parent, however it ends.\n%s still runs as process %d", p.Name, p.PID)
		}
	}
}

func TestUpAndDown(t *testing.T) {
	if testing.Short() {
		t.Skip("This test starts a real control plane.")
	}
	tmp := t.TempDir()
	command, dir := filepath.Join(tmp, "command"), filepath.Join(tmp, "up")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", command, "./cmd/controlplane").CombinedOutput(); err != nil {
		t.Fatalf("cannot build command: %v: %s", err, out)
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), command, append([]string{"--dir=" + dir}, args...)...).CombinedOutput()
		t.Logf("%s\n%s", strings.Join(args, " "), out)
		if err != nil {
			t.Fatalf("cannot run controlplane %s: %v", args[0], err)
		}
		return string(out)
	}
	pids := func() []int {
		t.Helper()
		s, err := loadState(dir)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]int, 0, len(s.Processes))
		for _, p := range s.Processes {
			if !p.alive() {
				t.Errorf("\nAll processes should outlive the command that started them.\n%s doesn't", p.Name)
			}
			out = append(out, p.PID)
		}
		return out
	}
	defer run("down")

	run("up", "--claim=")
	first := pids()

	// The first line starts with a time.
	if out := run("up", "--claim="); !strings.Contains(out, "found a control plane that's running") {
		t.Errorf("\nA plane that's running should be kept.\ngot: %s", out)
	}
	if diff := cmp.Diff(first, pids()); diff != "" {
		t.Errorf("\nA plane that's running should be kept.\n-want processes, +got:\n%s", diff)
	}

	if err := syscall.Kill(first[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// A busy machine takes its time to end it.
	for end := time.Now().Add(time.Minute); identity(first[0]) != ""; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %d does not end", first[0])
		}
	}
	if out := run("up", "--claim="); !strings.Contains(out, "starting afresh: etcd isn't running any more") {
		t.Errorf("\nA plane that's broken should be started afresh.\ngot: %s", out)
	}
	second := pids()
	for _, pid := range first {
		if identity(pid) != "" {
			t.Errorf("\nThe processes of a broken plane should be ended.\n%d still runs", pid)
		}
	}

	if out, want := run("down"), fmt.Sprintf("stopped %d processes\n", len(second)); out != want {
		t.Errorf("\nAll processes should be stopped.\nwant %q, got %q", want, out)
	}
	for _, pid := range second {
		if identity(pid) != "" {
			t.Errorf("\nAll processes should be stopped.\n%d still runs", pid)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("\nThe plane's folder should be removed.\ngot error: %v", err)
	}
	if out, want := run("status"), "The control plane isn't running.\n"; out != want {
		t.Errorf("\nThere should be nothing left.\nwant %q, got %q", want, out)
	}
}
