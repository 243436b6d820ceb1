package render

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// built is the folder of the binary; empty until it was built.
var built string

// binary of the function, built once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	var err error
	if built, err = os.MkdirTemp("", "function-aim-"); err != nil {
		return "", err
	}
	bin := filepath.Join(built, "function-aim")
	out, err := exec.Command("go", "build", "-o", bin, root+"/fn").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cannot build the function: %w: %s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// build the function.
func build(t *testing.T) string {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// serve the function until the test is done. It returns a file that tells the
// command line tools where it is.
func serve(t *testing.T) string {
	t.Helper()
	bin := build(t)
	// Another program may take the port between our finding it and the function
	// listening to it.
	for range 3 {
		addr := free(t)
		log := &bytes.Buffer{}
		cmd := exec.Command(bin, "--insecure", "--address="+addr, "--metrics-address=")
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatalf("cannot start the function: %v", err)
		}
		exited := make(chan struct{})
		go func() {
			_ = cmd.Wait()
			close(exited)
		}()
		if !listens(addr, exited) {
			_ = cmd.Process.Kill()
			<-exited
			t.Logf("The function does not listen at %s: %s", addr, log)
			continue
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			<-exited
			if t.Failed() {
				t.Logf("What the function logged: %s", log)
			}
		})
		return functionsFile(t, addr)
	}
	t.Fatal("cannot start the function")
	return ""
}

// listens tells whether somebody answers at an address, before they exit.
func listens(addr string, exited <-chan struct{}) bool {
	for range 300 {
		select {
		case <-exited:
			return false
		case <-time.After(100 * time.Millisecond):
		}
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return true
		}
	}
	return false
}

// free address on loopback.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("cannot find a free port: %v", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// functionsFile for the command line tools. The name is the one that the
// Composition refers to.
func functionsFile(t *testing.T, addr string) string {
	t.Helper()
	f := filepath.Join(t.TempDir(), "functions.yaml")
	if err := os.WriteFile(f, []byte(`apiVersion: pkg.crossplane.io/v1
kind: Function
metadata:
  name: aim-engine-function-aim
  annotations:
    render.crossplane.io/runtime: Development
    render.crossplane.io/runtime-development-target: dns:///`+addr+`
spec:
  package: registry.example.com/aim-engine/function-aim:v0.0.0
`), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}
