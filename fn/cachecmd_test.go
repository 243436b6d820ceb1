package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aim-engine/function-aim/fn/hub"
	"github.com/aim-engine/function-aim/fn/hub/hubtest"
	cacheinventory "github.com/aim-engine/function-aim/fn/inventory"
	"github.com/aim-engine/function-aim/fn/prune"
)

// asProgram makes the test binary be the program, rather than its tests.
const asProgram = "AIM_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

const (
	cacheCommit = "1111111111111111111111111111111111111111"
	cacheModel  = "acme/big"
	// cacheToken is a secret that must be nowhere.
	cacheToken = "hf_7f3a9secret"
)

// weights that don't compress and aren't the same anywhere.
func weights(n int) []byte {
	b := make([]byte, n)
	seed := [32]byte{1}
	_, _ = rand.NewChaCha8(seed).Read(b)
	return b
}

func cacheHub(t *testing.T) (*hubtest.Hub, map[string][]byte) {
	t.Helper()
	files := map[string][]byte{"config.json": []byte("{}"), "model.safetensors": weights(8 << 20)}
	return hubtest.New(t, map[string]hubtest.Model{
		cacheModel:   {Revisions: map[string]string{"main": cacheCommit}, Commits: map[string]map[string][]byte{cacheCommit: files}},
		"acme/small": {Revisions: map[string]string{"main": cacheCommit}, Commits: map[string]map[string][]byte{cacheCommit: {"config.json": []byte("{}")}}},
		"acme/gated": {Gated: true},
	}), files
}

// process of an agent. Its output is in the buffers.
type process struct {
	*exec.Cmd

	stdout, stderr bytes.Buffer
}

func newAgent(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatalf("os.Executable(): %v", err)
	}
	a := &process{Cmd: exec.CommandContext(t.Context(), exe, append([]string{"cache"}, args...)...)}
	a.Env = append([]string{asProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	a.Stdout, a.Stderr = &a.stdout, &a.stderr
	return a
}

// downloads a model from a hub.
func downloads(t *testing.T, h *hubtest.Hub, home, model string, more ...string) *process {
	t.Helper()
	return newAgent(t, []string{"HF_HOME=" + home, "HF_ENDPOINT=" + h.URL, "HF_TOKEN=" + cacheToken}, append([]string{"download", model}, more...)...)
}

// exit code of a process.
func exit(t *testing.T, err error) int {
	t.Helper()
	var e *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.ExitCode()
	}
	t.Fatalf("cannot run: %v", err)
	return -1
}

// holdsModel fails unless the model is all there, and nothing else.
func holdsModel(t *testing.T, home string, files map[string][]byte) {
	t.Helper()
	c := hub.Cache{Home: home}
	for path, want := range files {
		got, err := os.ReadFile(filepath.Join(c.Snapshot(cacheModel, cacheCommit), path))
		if err != nil || !bytes.Equal(want, got) {
			t.Errorf("%s is not what it should be: %d bytes, %v", path, len(got), err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(c.Model(cacheModel), "blobs", "*.incomplete")); len(left) > 0 {
		t.Errorf("something is left: %v", left)
	}
}

// TestAgentStopped stops an agent in the middle, in two ways, and lets another
// one go on.
func TestAgentStopped(t *testing.T) {
	cases := map[string]struct {
		reason string
		signal syscall.Signal
		exit   int
		// status that the inventory has then.
		why string
	}{
		"Killed":     {reason: "Nobody can prepare for this.", signal: syscall.SIGKILL, exit: -1, why: "the download ended without saying why"},
		"Terminated": {reason: "The kubelet does this when a node is drained. The Job has to try again.", signal: syscall.SIGTERM, exit: 1, why: "which are kept"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h, files := cacheHub(t)
			h.Slow(10 * time.Millisecond)
			home := t.TempDir()
			c := hub.Cache{Home: home}
			a := downloads(t, h, home, cacheModel)
			if err := a.Start(); err != nil {
				t.Fatalf("cannot start: %v", err)
			}
			partial := c.Incomplete(cacheModel, hubtest.SHA256(files["model.safetensors"]))
			var had int64
			for range 1000 {
				if i, err := os.Stat(partial); err == nil && i.Size() > 2<<20 {
					had = i.Size()
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			_ = a.Process.Signal(tc.signal)
			if got := exit(t, a.Wait()); got != tc.exit || had == 0 {
				t.Fatalf("%s\nwant exit code %d in the middle, got %d after %d bytes:\n%s", tc.reason, tc.exit, got, had, a.stderr.String())
			}
			if _, err := os.Stat(c.Snapshot(cacheModel, cacheCommit)); err == nil {
				t.Errorf("%s\nthere is a snapshot", tc.reason)
			}
			inv := reported(t, home)
			if m := inv.Models[0]; m.Status != cacheinventory.StatusFailed || m.Reason != "Interrupted" || !strings.Contains(m.Message, tc.why) || m.SizeBytes < had {
				t.Errorf("%s\ninventory: %+v", tc.reason, m)
			}

			h.Slow(0)
			h.Reset()
			b := downloads(t, h, home, cacheModel)
			if err := b.Run(); err != nil {
				t.Fatalf("%s\nthe next one: %v\n%s", tc.reason, err, b.stderr.String())
			}
			holdsModel(t, home, files)
			if q := h.Requests(hubtest.KindBlob); len(q) != 1 || q[0].Range == "" {
				t.Errorf("%s\nwant it to go on where it was, got %v", tc.reason, q)
			}
			if sent := h.Sent(); sent > int64(len(files["model.safetensors"]))-had+2 {
				t.Errorf("%s\n%d bytes were there, but %d of %d were sent", tc.reason, had, sent, len(files["model.safetensors"]))
			}
			if !strings.Contains(b.stderr.String(), "goes on at byte") {
				t.Errorf("%s\nit doesn't say so:\n%s", tc.reason, b.stderr.String())
			}
		})
	}
}

// reported by an agent to its standard output.
func reported(t *testing.T, home string, more ...string) cacheinventory.Document {
	t.Helper()
	a := newAgent(t, []string{"HF_HOME=" + home}, append([]string{"report", "--inventory", "-"}, more...)...)
	if err := a.Run(); err != nil {
		t.Fatalf("report: %v\n%s", err, a.stderr.String())
	}
	d, err := cacheinventory.Unmarshal(a.stdout.Bytes())
	if err != nil {
		t.Fatalf("cacheinventory.Unmarshal(...): %v", err)
	}
	return d
}

// TestAgentsTogether starts ten processes at once.
func TestAgentsTogether(t *testing.T) {
	h, files := cacheHub(t)
	h.Slow(2 * time.Millisecond)
	home := t.TempDir()
	wg := sync.WaitGroup{}
	for range 10 {
		a := downloads(t, h, home, cacheModel)
		wg.Go(func() {
			if err := a.Run(); err != nil {
				t.Errorf("download: %v\n%s", err, a.stderr.String())
			}
		})
	}
	wg.Wait()
	holdsModel(t, home, files)
	if got := len(h.Requests(hubtest.KindResolve)); got != len(files) {
		t.Errorf("want %d files to be downloaded, got %d", len(files), got)
	}
}

func TestAgentExit(t *testing.T) {
	cases := map[string]struct {
		reason string
		model  string
		args   []string
		fault  hubtest.Fault
		exit   int
		says   string
	}{
		"Done":      {reason: "All is well.", model: "acme/small", says: "is complete: commit " + cacheCommit + ", 1 files, 2 B"},
		"Gated":     {reason: "A Job must not try again.", model: "acme/gated", exit: 3, says: "accept the license of this gated model"},
		"TooLarge":  {reason: "A Job must not try again.", model: cacheModel, args: []string{"--max-size=1Mi"}, exit: 3, says: "may have 1.0 MiB"},
		"NoSpace":   {reason: "A Job must not try again.", model: cacheModel, args: []string{"--capacity=5Mi"}, exit: 3, says: "needs 8.0 MiB (8388610 bytes) more on the volume, but only 5.0 MiB (5242880 bytes)"},
		"Reserve":   {reason: "A percentage is of the volume.", model: cacheModel, args: []string{"--capacity=10Mi", "--min-free=50%"}, exit: 3, says: "beside the 5.0 MiB that must stay free"},
		"Quantity":  {reason: "A flag may be wrong.", model: cacheModel, args: []string{"--max-size=much"}, exit: 3, says: `--max-size: "much" is not a quantity`},
		"Endpoint":  {reason: "A flag may be wrong.", model: cacheModel, args: []string{"--endpoint=hub"}, exit: 3, says: `"hub" is not the URL of a Hub`},
		"Namespace": {reason: "A ConfigMap is somewhere.", model: cacheModel, args: []string{"--configmap=x"}, exit: 1, says: "--configmap needs a --namespace"},
		"Damaged": {
			reason: "A Job may try again, since it may go away.", model: cacheModel, exit: 1, says: "arrived with the hash",
			fault: func(w http.ResponseWriter, r hubtest.Request, _ int) bool {
				if r.Kind != hubtest.KindBlob {
					return false
				}
				_, _ = w.Write(make([]byte, 8<<20))
				return true
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h, _ := cacheHub(t)
			h.Fail(tc.fault)
			a := downloads(t, h, filepath.Join(t.TempDir(), "home"), tc.model, tc.args...)
			if got := exit(t, a.Run()); got != tc.exit {
				t.Errorf("%s\nwant exit code %d, got %d", tc.reason, tc.exit, got)
			}
			if !strings.Contains(a.stderr.String(), tc.says) {
				t.Errorf("%s\nwant it to say %q, got:\n%s", tc.reason, tc.says, a.stderr.String())
			}
			if out := a.stdout.String() + a.stderr.String(); strings.Contains(out, cacheToken) || strings.Contains(out, hubtest.Secret) {
				t.Errorf("%s\nthere is a secret in:\n%s", tc.reason, out)
			}
		})
	}
}

// TestAgentProxy reaches a Hub that only a proxy can reach.
func TestAgentProxy(t *testing.T) {
	h, _ := cacheHub(t)
	var mu sync.Mutex
	hosts := map[string]int{}
	to, err := url.Parse(h.URL)
	if err != nil {
		t.Fatalf("url.Parse(...): %v", err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		mu.Lock()
		hosts[r.In.URL.Host]++
		mu.Unlock()
		r.SetURL(to)
	}})
	defer proxy.Close()
	home := t.TempDir()
	a := newAgent(t, []string{"HF_HOME=" + home, "HF_ENDPOINT=http://hub.invalid", "HTTP_PROXY=" + proxy.URL}, "download", "acme/small")
	if err := a.Run(); err != nil {
		t.Fatalf("download: %v\n%s", err, a.stderr.String())
	}
	if diff := cmp.Diff(map[string]int{"hub.invalid": 3}, hosts); diff != "" {
		t.Errorf("requests by the proxy: -want, +got:\n%s", diff)
	}
}

// apiServer that has room for one ConfigMap.
type apiServer struct {
	mu sync.Mutex
	// status that it refuses with, this often if that is not 0.
	status   int
	refusals int
	calls    []string
	last     map[string]any
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, _ := io.ReadAll(r.Body)
	s.calls = append(s.calls, r.Method+" "+r.URL.String()+" "+r.Header.Get("Content-Type")+" "+r.Header.Get("Authorization"))
	w.Header().Set("Content-Type", "application/json")
	if s.status != 0 {
		w.WriteHeader(s.status)
		if s.refusals--; s.refusals == 0 {
			s.status = 0
		}
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","message":"configmaps \"x\" is forbidden","code":403}`)
		return
	}
	s.last = nil
	_ = json.Unmarshal(b, &s.last)
	_, _ = w.Write(b)
}

// kubeconfig for it.
func kubeconfig(t *testing.T, s *apiServer) string {
	t.Helper()
	// A client doesn't send its token to a server that isn't secure.
	srv := httptest.NewTLSServer(s)
	t.Cleanup(srv.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	name := filepath.Join(t.TempDir(), "kubeconfig")
	content := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority-data":%q}}],"users":[{"name":"u","user":{"token":"sa-token"}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}]}`, srv.URL, base64.StdEncoding.EncodeToString(ca))
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatalf("cannot write: %v", err)
	}
	return name
}

func TestAgentConfigMap(t *testing.T) {
	h, _ := cacheHub(t)
	h.Slow(5 * time.Millisecond)
	s := &apiServer{}
	flags := []string{"--configmap=big-inventory", "--namespace=ml", "--interval=100ms", "--kubeconfig=" + kubeconfig(t, s)}
	home := t.TempDir()
	a := downloads(t, h, home, cacheModel, flags...)
	if err := a.Run(); err != nil {
		t.Fatalf("download: %v\n%s", err, a.stderr.String())
	}
	for _, c := range s.calls {
		want := "PATCH /api/v1/namespaces/ml/configmaps/big-inventory?fieldManager=aim-cache-agent&force=true&timeout=20s application/apply-patch+yaml Bearer sa-token"
		if c != want {
			t.Errorf("want nothing but %s, got %s", want, c)
		}
	}
	if len(s.calls) < 3 {
		t.Errorf("want the progress to be reported, got %d reports", len(s.calls))
	}
	data, _ := s.last["data"].(map[string]any)
	content, _ := data["inventory.json"].(string)
	d, err := cacheinventory.Unmarshal([]byte(content))
	if err != nil || len(d.Models) != 1 || d.Models[0].Status != cacheinventory.StatusCached || d.Models[0].SizeBytes != 8<<20+2 {
		t.Errorf("the last report is %+v, %v", s.last, err)
	}
	if strings.Contains(content, cacheToken) {
		t.Error("there is a secret in the report")
	}
	if !strings.Contains(a.stderr.String(), "of 8.0 MiB (") {
		t.Errorf("want progress on stderr, got:\n%s", a.stderr.String())
	}

	// A failure is reported, too, before it exits.
	s.calls = nil
	a = downloads(t, h, home, "acme/gated", flags...)
	if got := exit(t, a.Run()); got != 3 || len(s.calls) != 1 {
		t.Errorf("want exit code 3 after one report, got %d after %v", got, s.calls)
	}

	// A binding may be younger than the agent.
	s.status, s.refusals = http.StatusForbidden, 2
	a = downloads(t, h, home, "acme/small", flags...)
	if err := a.Run(); err != nil || s.status != 0 {
		t.Errorf("want the last report to be tried again, got %v after status %d:\n%s", err, s.status, a.stderr.String())
	}

	// A report that is refused means that the Job has to try again.
	s.status = http.StatusForbidden
	a = downloads(t, h, home, cacheModel, flags...)
	if got := exit(t, a.Run()); got != 1 || !strings.Contains(a.stderr.String(), "cannot write the inventory to ConfigMap big-inventory") {
		t.Errorf("want exit code 1, got %d:\n%s", got, a.stderr.String())
	}
}

func TestAgentPrune(t *testing.T) {
	h, _ := cacheHub(t)
	home := t.TempDir()
	for _, m := range []string{cacheModel, "acme/small"} {
		if a := downloads(t, h, home, m); a.Run() != nil {
			t.Fatalf("download: %s", a.stderr.String())
		}
	}
	prunes := func(args ...string) string {
		t.Helper()
		a := newAgent(t, []string{"HF_HOME=" + home}, append([]string{"prune", "--capacity=9Mi"}, args...)...)
		if err := a.Run(); err != nil {
			t.Fatalf("prune: %v\n%s", err, a.stderr.String())
		}
		return a.stdout.String()
	}
	const policy = `--policy={"strategy":"size","minFreeSpace":"50%","models":[{"id":"acme/small","priority":"high"}]}`

	if got := prunes(policy, "--dry-run"); !strings.HasPrefix(got, "evict acme/big@"+cacheCommit+", which frees 8.0 MiB: only ") {
		t.Errorf("dry run: %s", got)
	}
	if d := reported(t, home); len(d.Models) != 2 || d.LastCleanup != nil || d.Models[0].AccessCount != 0 {
		t.Errorf("a dry run changed something: %+v", d)
	}
	if got := prunes(policy, "--in-use=acme/big@main", "--in-use=acme/small"); !strings.Contains(got, "keep acme/big@"+cacheCommit+": a running endpoint uses it\n") || !strings.Contains(got, "less than there should be: nothing else may go") {
		t.Errorf("in use: %s", got)
	}
	for _, m := range reported(t, home).Models {
		if m.AccessCount != 1 || m.LastAccessed == nil {
			t.Errorf("that it was in use is not recorded: %+v", m)
		}
	}
	p := prune.Plan{}
	if err := json.Unmarshal([]byte(prunes(policy, "-o", "json", "--inventory", filepath.Join(home, "..", "out.json"))), &p); err != nil || len(p.Evictions()) != 1 || p.Evictions()[0].Frees != 8<<20+2 {
		t.Errorf("prune -o json: %+v, %v", p, err)
	}
	b, err := os.ReadFile(filepath.Join(home, "..", "out.json"))
	if err != nil {
		t.Fatalf("there is no inventory: %v", err)
	}
	d, err := cacheinventory.Unmarshal(b)
	if err != nil || len(d.Models) != 2 || d.Models[0].Status != cacheinventory.StatusEvicted || d.Models[1].Status != cacheinventory.StatusCached || d.LastCleanup.Evicted != 1 {
		t.Errorf("inventory: %+v, %v", d, err)
	}

	for name, args := range map[string][]string{"NoJSON": {"--policy={"}, "NoStrategy": {`--policy={"strategy":"x"}`}} {
		a := newAgent(t, []string{"HF_HOME=" + home}, append([]string{"prune"}, args...)...)
		if exit(t, a.Run()) == 0 {
			t.Errorf("%s: want an error", name)
		}
	}
}

func TestAgentReport(t *testing.T) {
	h, _ := cacheHub(t)
	home := t.TempDir()
	if a := downloads(t, h, home, "acme/small"); a.Run() != nil {
		t.Fatalf("download: %s", a.stderr.String())
	}
	before := time.Now().Add(-time.Second)
	d := reported(t, home, "--used=acme/small@main")
	m := d.Models[0]
	if m.AccessCount != 1 || m.LastAccessed == nil || m.LastAccessed.Before(before.Truncate(time.Second)) || d.Volume.UsedBytes == 0 {
		t.Errorf("inventory: %+v", d)
	}
	// What an endpoint's pod may do, which has nowhere to report to.
	a := newAgent(t, []string{"HF_HOME=" + home}, "report", "--used=acme/small@main")
	if err := a.Run(); err != nil || a.stdout.Len() > 0 {
		t.Errorf("report --used: %v, %s", err, a.stdout.String())
	}
	if got := reported(t, home).Models[0].AccessCount; got != 2 {
		t.Errorf("want 2 uses, got %d", got)
	}
}
