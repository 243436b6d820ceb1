package hub

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/aim-engine/function-aim/fn/hub/hubtest"
)

const (
	tiny   = "acme/tiny"
	commit = "1111111111111111111111111111111111111111"
	newer  = "2222222222222222222222222222222222222222"
)

// noise of that many bytes, the same each time.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	return b
}

// files of a model that is small.
func tinyFiles() map[string][]byte {
	return map[string][]byte{
		"config.json":       []byte(`{"a":1}`),
		"model.safetensors": []byte("weights"),
		"tokenizer.json":    []byte(`{"tokenizer":true}`),
		"code/modeling.py":  []byte("print(1)\n"),
		"README.md":         []byte("# tiny"),
		"pytorch_model.bin": []byte("pickled"),
	}
}

func tinyHub(t *testing.T) *hubtest.Hub {
	t.Helper()
	return hubtest.New(t, map[string]hubtest.Model{tiny: {
		Revisions: map[string]string{"main": commit, "refs/pr/1": commit},
		Commits:   map[string]map[string][]byte{commit: tinyFiles()},
	}})
}

// bigHub has a model with two large files.
func bigHub(t *testing.T) (*hubtest.Hub, map[string][]byte) {
	t.Helper()
	files := map[string][]byte{
		"config.json":                      []byte(`{}`),
		"model-00001-of-00002.safetensors": noise(1<<20, 1),
		"model-00002-of-00002.safetensors": noise(1<<20+17, 2),
	}
	return hubtest.New(t, map[string]hubtest.Model{tiny: {
		Revisions: map[string]string{"main": commit},
		Commits:   map[string]map[string][]byte{commit: files},
	}}), files
}

const big = "model-00001-of-00002.safetensors"

// client that doesn't wait long.
func client(t *testing.T, h *hubtest.Hub, change ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{Endpoint: h.URL, Attempts: 3, MinWait: time.Millisecond, MaxWait: 3 * time.Second, Stall: 10 * time.Second}
	for _, c := range change {
		c(&cfg)
	}
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatalf("NewClient(...): %v", err)
	}
	return c
}

var then = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func request() Request {
	return Request{Model: tiny, Revision: "main", Verify: true, Now: func() time.Time { return then }}
}

// downloaded without an error.
func downloaded(t *testing.T, c *Client, cache Cache, r Request) Record {
	t.Helper()
	rec, err := Download(t.Context(), c, cache, r)
	if err != nil {
		t.Fatalf("Download(...): %v", err)
	}
	return rec
}

// tree of what is below a directory: the content of files, and where links lead.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) && name == root {
				return nil
			}
			return err
		}
		rel, _ := filepath.Rel(root, name)
		switch {
		case d.IsDir():
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(name)
			out[rel] = "-> " + to
			return err
		default:
			b, err := os.ReadFile(name)
			out[rel] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatalf("cannot walk %s: %v", root, err)
	}
	return out
}

// TestLayout compares a cache, file by file, with one that was written down by
// hand after "Hub local cache" of the Hub's documentation. The hashes were
// computed by git hash-object and sha256sum.
func TestLayout(t *testing.T) {
	cache := Cache{Home: t.TempDir()}
	r := request()
	downloaded(t, client(t, tinyHub(t)), cache, r)
	r.Revision = "refs/pr/1"
	downloaded(t, client(t, tinyHub(t)), cache, r)

	const (
		config    = "daa5053ecf5f9a37b2de733d0751cc1ab53ac010"
		modeling  = "b917a726c93f902e43291d9009d6488385133b67"
		weights   = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
		tokenizer = "08c43efd4fb5ab24f7603c8140a1d251180d88d533d8d99d78038beb086df51d"

		locks     = ".locks/models--acme--tiny/"
		model     = "models--acme--tiny/"
		snapshots = model + "snapshots/1111111111111111111111111111111111111111/"
	)
	want := map[string]string{
		locks + config + ".lock":        "",
		locks + modeling + ".lock":      "",
		locks + weights + ".lock":       "",
		locks + tokenizer + ".lock":     "",
		model + "blobs/" + config:       `{"a":1}`,
		model + "blobs/" + modeling:     "print(1)\n",
		model + "blobs/" + weights:      "weights",
		model + "blobs/" + tokenizer:    `{"tokenizer":true}`,
		model + "refs/main":             "1111111111111111111111111111111111111111",
		model + "refs/refs/pr/1":        "1111111111111111111111111111111111111111",
		snapshots + "config.json":       "-> ../../blobs/" + config,
		snapshots + "model.safetensors": "-> ../../blobs/" + weights,
		snapshots + "tokenizer.json":    "-> ../../blobs/" + tokenizer,
		snapshots + "code/modeling.py":  "-> ../../../blobs/" + modeling,
	}
	if diff := cmp.Diff(want, tree(t, filepath.Join(cache.Home, "hub"))); diff != "" {
		t.Errorf("the layout is not as documented: -want, +got:\n%s", diff)
	}
	for name := range tree(t, cache.State()) {
		if strings.HasPrefix(name, "tmp/") || strings.HasPrefix(name, "trash/") {
			t.Errorf("%s was left behind", name)
		}
	}
}

// TestModes of what a server that runs as another user has to read.
func TestModes(t *testing.T) {
	cache := Cache{Home: t.TempDir()}
	downloaded(t, client(t, tinyHub(t)), cache, request())
	err := filepath.WalkDir(cache.Hub(), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o004)
		if d.IsDir() {
			want = 0o005
		}
		if i.Mode().Perm()&want != want {
			t.Errorf("%s has mode %s, so that others can't read it", name, i.Mode())
		}
		return nil
	})
	if err != nil {
		t.Errorf("cannot walk: %v", err)
	}
}

func TestRecord(t *testing.T) {
	cache := Cache{Home: t.TempDir()}
	got := downloaded(t, client(t, tinyHub(t)), cache, request())
	want := Record{
		Model: tiny, Revision: "main", Commit: commit, State: StateCached, StartedAt: then, CachedAt: then,
		Files: []File{
			{Path: "code/modeling.py", Blob: "b917a726c93f902e43291d9009d6488385133b67", Size: 9},
			{Path: "config.json", Blob: "daa5053ecf5f9a37b2de733d0751cc1ab53ac010", Size: 7},
			{Path: "model.safetensors", Blob: "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c", Size: 7},
			{Path: "tokenizer.json", Blob: "08c43efd4fb5ab24f7603c8140a1d251180d88d533d8d99d78038beb086df51d", Size: 18},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Download(...): -want, +got:\n%s", diff)
	}
	kept, err := cache.Records()
	if diff := cmp.Diff([]Record{want}, kept); err != nil || diff != "" {
		t.Errorf("cache.Records(): %v, -want, +got:\n%s", err, diff)
	}
}

func TestAgain(t *testing.T) {
	cases := map[string]struct {
		reason   string
		revision string
		fault    hubtest.Fault
		change   func(*Request)
		want     map[hubtest.Kind]int
		err      Reason
	}{
		"Branch": {
			reason:   "Where a branch is has to be asked, but nothing is downloaded again.",
			revision: "main",
			want:     map[hubtest.Kind]int{hubtest.KindInfo: 1, hubtest.KindTree: 3},
		},
		"Commit": {
			reason:   "A commit never changes, so that nobody has to be asked.",
			revision: commit,
			want:     map[hubtest.Kind]int{},
		},
		"HubDown": {
			reason:   "A model that is complete is of use without the Hub.",
			revision: "main",
			fault: func(w http.ResponseWriter, _ hubtest.Request, _ int) bool {
				w.WriteHeader(http.StatusBadGateway)
				return true
			},
			want: map[hubtest.Kind]int{hubtest.KindInfo: 3},
		},
		"MoreFiles": {
			reason:   "Another selection needs only what is missing.",
			revision: "main",
			change:   func(r *Request) { r.Selection = Selection{Include: []string{"*.json", "README.md"}} },
			want:     map[hubtest.Kind]int{hubtest.KindInfo: 1, hubtest.KindTree: 3, hubtest.KindResolve: 1},
		},
		"OtherSelectionHubDown": {
			reason:   "What another selection needs is not known to be complete.",
			revision: "main",
			fault: func(w http.ResponseWriter, _ hubtest.Request, _ int) bool {
				w.WriteHeader(http.StatusBadGateway)
				return true
			},
			change: func(r *Request) { r.Selection = Selection{Include: []string{"*.json", "README.md"}} },
			want:   map[hubtest.Kind]int{hubtest.KindInfo: 3},
			err:    ReasonUnavailable,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h, cache, r := tinyHub(t), Cache{Home: t.TempDir()}, request()
			r.Revision = tc.revision
			downloaded(t, client(t, h), cache, r)
			h.Reset()
			h.Fail(tc.fault)
			if tc.change != nil {
				tc.change(&r)
			}
			r.Now = func() time.Time { return then.Add(time.Hour) }
			rec, err := Download(t.Context(), client(t, h), cache, r)
			if (err != nil) != (tc.err != "") || (err != nil && ReasonOf(err) != tc.err) {
				t.Fatalf("%s\nDownload(...): want %q, got %v", tc.reason, tc.err, err)
			}
			got := map[hubtest.Kind]int{}
			for _, q := range h.Requests() {
				got[q.Kind]++
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nrequests: -want, +got:\n%s", tc.reason, diff)
			}
			if got[hubtest.KindResolve] == 0 && err == nil && !rec.CachedAt.Equal(then) {
				t.Errorf("%s\nIt was cached at %s, but says %s.", tc.reason, then, rec.CachedAt)
			}
		})
	}
}

// TestRefused shows that failures are told apart, and which are tried again.
func TestRefused(t *testing.T) {
	files := map[string]map[string][]byte{commit: tinyFiles()}
	main := map[string]string{"main": commit}
	models := map[string]hubtest.Model{
		tiny:           {Revisions: main, Commits: files},
		"acme/gated":   {Revisions: main, Commits: files, Gated: true, Allowed: []string{"good"}},
		"acme/private": {Revisions: main, Commits: files, Private: true, Allowed: []string{"good"}},
		"acme/text":    {Revisions: main, Commits: map[string]map[string][]byte{commit: {"README.md": []byte("text")}}},
		"acme/escape":  {Revisions: main, Commits: map[string]map[string][]byte{commit: {"../../../config.json": []byte("text")}}},
	}
	status := func(kind hubtest.Kind, status int, header ...string) hubtest.Fault {
		return func(w http.ResponseWriter, r hubtest.Request, _ int) bool {
			if r.Kind != kind {
				return false
			}
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			return true
		}
	}
	cases := map[string]struct {
		reason   string
		model    string
		revision string
		token    string
		fault    hubtest.Fault
		change   func(*Request)
		want     Reason
		final    bool
		says     []string
		// attempts at the request that failed.
		attempts int
	}{
		"NoToken": {
			reason: "Without a token the Hub does not say whether a model exists.",
			model:  "acme/private", want: ReasonUnauthorized, final: true, attempts: 1,
			says: []string{"does not exist, or is private", "HF_TOKEN"},
		},
		"WrongToken": {
			reason: "With a token that may not see it, the model does not exist.",
			model:  "acme/private", token: "bad", want: ReasonModelNotFound, final: true, attempts: 1,
			says: []string{"check the id"},
		},
		"InvalidToken": {
			reason: "A token that has expired is not the same as none.",
			model:  tiny, token: "old", fault: status(hubtest.KindInfo, http.StatusUnauthorized), want: ReasonUnauthorized, final: true, attempts: 1,
			says: []string{"the token is not valid", "HF_TOKEN"},
		},
		"GatedWithoutToken": {
			reason: "A gated model needs a license and a token.",
			model:  "acme/gated", want: ReasonGated, final: true, attempts: 1,
			says: []string{"accept the license", "/acme/gated", "HF_TOKEN"},
		},
		"Gated": {
			reason: "A gated model needs the license accepted by the token's account.",
			model:  "acme/gated", token: "bad", want: ReasonGated, final: true, attempts: 1,
			says: []string{"accept the license of this gated model", "/acme/gated", "not in the authorized list"},
		},
		"GatedFiles": {
			reason: "Of some gated models anybody may see the list of files, but not the files.",
			model:  tiny, token: "bad", fault: status(hubtest.KindResolve, http.StatusForbidden, "X-Error-Code", "GatedRepo"), want: ReasonGated, final: true, attempts: 1,
			says: []string{"accept the license of this gated model"},
		},
		"Forbidden": {
			reason: "A token may lack a permission.",
			model:  tiny, token: "good", fault: status(hubtest.KindInfo, http.StatusForbidden), want: ReasonForbidden, final: true, attempts: 1,
			says: []string{"permission"},
		},
		"NoModel": {
			reason: "A model that does not exist is not tried again.",
			model:  "acme/none", token: "good", want: ReasonModelNotFound, final: true, attempts: 1,
			says: []string{"acme/none is not at http://127.0.0.1"},
		},
		"NoRevision": {
			reason: "A revision that does not exist is told apart from a model that doesn't.",
			model:  tiny, revision: "v9", want: ReasonRevisionNotFound, final: true, attempts: 1,
			says: []string{"revision v9", "full commit hash"},
		},
		"NoFile": {
			reason: "A file that was listed may be gone.",
			model:  tiny, fault: status(hubtest.KindResolve, http.StatusNotFound, "X-Error-Code", "EntryNotFound"), want: ReasonFileNotFound, final: true, attempts: 1,
		},
		"RateLimited": {
			reason: "429 is tried again, but not for ever.",
			model:  tiny, fault: status(hubtest.KindInfo, http.StatusTooManyRequests), want: ReasonRateLimited, attempts: 3,
			says: []string{"429", "after 3 attempts"},
		},
		"ServerError": {
			reason: "5xx is tried again, but not for ever.",
			model:  tiny, fault: status(hubtest.KindTree, http.StatusInternalServerError), want: ReasonUnavailable, attempts: 3,
			says: []string{"500", "list of files", "after 3 attempts"},
		},
		"CDNError": {
			reason: "The content delivery network may fail as well.",
			model:  tiny, fault: status(hubtest.KindBlob, http.StatusServiceUnavailable), want: ReasonUnavailable, attempts: 3,
			says: []string{"503"},
		},
		"Proxy": {
			reason: "Something else than the Hub may answer.",
			model:  tiny, want: ReasonUnavailable, attempts: 1,
			fault: func(w http.ResponseWriter, _ hubtest.Request, _ int) bool {
				fmt.Fprint(w, "<html>Please log in to the proxy</html>")
				return true
			},
			says: []string{"does a proxy answer for it?"},
		},
		"Teapot": {
			reason: "What nobody thought of is passed on.",
			model:  tiny, fault: status(hubtest.KindInfo, http.StatusTeapot, "X-Error-Message", "short and stout"), want: ReasonRejected, final: true, attempts: 1,
			says: []string{"418", "short and stout"},
		},
		"NothingToServe": {
			reason: "A model without weights, configuration and tokenizer is not one that an engine can serve.",
			model:  "acme/text", want: ReasonNoFiles, final: true, attempts: 1,
			says: []string{"none of the 1 files"},
		},
		"Escape": {
			reason: "The Hub doesn't decide where on the volume a file is put.",
			model:  "acme/escape", want: ReasonRejected, final: true, attempts: 1,
			says: []string{`"../../../config.json"`},
		},
		"TooLarge": {
			reason: "A model above its maxSize is refused before anything is downloaded.",
			model:  tiny, change: func(r *Request) { r.MaxSize = 40 }, want: ReasonModelTooLarge, final: true,
			says: []string{"41 bytes", "40 bytes"},
		},
		"NoSpace": {
			reason: "A model that doesn't fit is refused before anything is downloaded, with both numbers.",
			model:  tiny, change: func(r *Request) { r.Capacity = 30 }, want: ReasonVolumeTooSmall, final: true,
			says: []string{"needs 41 B (41 bytes) more", "only 30 B (30 bytes) of its 30 B are available"},
		},
		"NoSpaceReserved": {
			reason: "What must stay free is not available.",
			model:  tiny, change: func(r *Request) { r.Capacity, r.Reserve = 100, 60 }, want: ReasonVolumeTooSmall, final: true,
			says: []string{"needs 41 B (41 bytes)", "only 40 B (40 bytes)", "60 B that must stay free"},
		},
		"InvalidModel": {
			reason: "What can't be an id is refused without asking.",
			model:  "../etc", want: ReasonInvalid, final: true,
		},
		"InvalidRevision": {
			reason: "What can't be a revision is refused without asking.",
			model:  tiny, revision: "../main", want: ReasonInvalid, final: true,
		},
		"InvalidPattern": {
			reason: "What can't be a pattern is refused without asking.",
			model:  tiny, change: func(r *Request) { r.Selection.Exclude = []string{"[a"} }, want: ReasonInvalid, final: true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h, cache, r := hubtest.New(t, models), Cache{Home: t.TempDir()}, request()
			h.Fail(tc.fault)
			r.Model, r.Parallel = tc.model, 1
			if tc.revision != "" {
				r.Revision = tc.revision
			}
			if tc.change != nil {
				tc.change(&r)
			}
			rec, err := Download(t.Context(), client(t, h, func(c *Config) { c.Token = tc.token }), cache, r)
			if err == nil {
				t.Fatalf("%s\nDownload(...): want an error, got none", tc.reason)
			}
			if got := ReasonOf(err); got != tc.want || IsFinal(err) != tc.final {
				t.Errorf("%s\nDownload(...): want %s (final: %t), got %s (final: %t): %v", tc.reason, tc.want, tc.final, got, IsFinal(err), err)
			}
			for _, s := range tc.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%s\nDownload(...): want %q to say %q", tc.reason, err, s)
				}
			}
			if tc.token != "" && strings.Contains(err.Error(), tc.token+" ") || strings.Contains(err.Error(), hubtest.Secret) {
				t.Errorf("%s\nDownload(...): %q has a secret", tc.reason, err)
			}
			if rec.State != StateFailed || rec.Reason != tc.want || rec.Message != err.Error() {
				t.Errorf("%s\nThe record does not say so: %+v", tc.reason, rec)
			}
			if qs := h.Requests(); tc.attempts > 0 {
				last := qs[len(qs)-1]
				n := 0
				for _, q := range qs {
					if q.Kind == last.Kind && q.Path == last.Path {
						n++
					}
				}
				if n != tc.attempts {
					t.Errorf("%s\nwant %d attempts, got %d: %v", tc.reason, tc.attempts, n, qs)
				}
			}
			if n := len(h.Requests(hubtest.KindResolve)); tc.attempts == 0 && n > 0 {
				t.Errorf("%s\n%d files were asked for nevertheless", tc.reason, n)
			}
			if got := tree(t, filepath.Join(cache.Home, "hub")); len(got) > 0 && (tc.model != tiny || tc.attempts == 0) {
				t.Errorf("%s\nthere is something in the cache: %v", tc.reason, got)
			}
			if _, err := os.Stat(cache.Snapshot(tc.model, commit)); err == nil {
				t.Errorf("%s\nthere is a snapshot", tc.reason)
			}
		})
	}
}

// TestRecovered shows what a download gets over by itself.
func TestRecovered(t *testing.T) {
	t.Parallel()
	first := func(kind hubtest.Kind, n int, do func(http.ResponseWriter)) hubtest.Fault {
		return func(w http.ResponseWriter, r hubtest.Request, before int) bool {
			if r.Kind != kind || (kind != hubtest.KindInfo && r.Path != big) || before >= n {
				return false
			}
			do(w)
			return true
		}
	}
	_, files := bigHub(t)
	content := files[big]
	// part of the content, and then no more, though there should be.
	part := func(status, header string, from, to int) []byte {
		return append(fmt.Appendf(nil, "HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n", status, len(content)-from, header), content[from:to]...)
	}
	cases := map[string]struct {
		reason string
		fault  hubtest.Fault
		change func(*Config)
		// atLeast this long it takes.
		atLeast time.Duration
		// atMost this long it takes; not checked if there is no value.
		atMost time.Duration
		// ranges that were asked for of the large file.
		ranges []string
	}{
		"RetryAfter": {
			reason: "The Hub is given the time that it asks for.",
			fault: first(hubtest.KindInfo, 1, func(w http.ResponseWriter) {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusTooManyRequests)
			}),
			atLeast: time.Second, ranges: []string{""},
		},
		"RateLimit": {
			reason: "The Hub may say by another header when its limit ends.",
			fault: first(hubtest.KindInfo, 1, func(w http.ResponseWriter) {
				w.Header().Set("Ratelimit", `"api";r=0;t=1`)
				w.WriteHeader(http.StatusTooManyRequests)
			}),
			atLeast: time.Second, ranges: []string{""},
		},
		"RetryAfterTooLong": {
			reason: "What the Hub asks for has a bound.",
			fault: first(hubtest.KindInfo, 1, func(w http.ResponseWriter) {
				w.Header().Set("Retry-After", "86400")
				w.WriteHeader(http.StatusServiceUnavailable)
			}),
			change: func(c *Config) { c.MaxWait = 10 * time.Millisecond }, ranges: []string{""},
		},
		"ServerErrors": {
			reason: "Two bad answers are not three.",
			fault:  first(hubtest.KindResolve, 2, func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }),
			ranges: []string{""},
		},
		"Refused": {
			reason: "A connection may be cut before there is an answer.",
			fault:  first(hubtest.KindBlob, 2, func(w http.ResponseWriter) { hubtest.Hijack(w, nil) }),
			ranges: []string{"", "", ""},
		},
		"Cut": {
			reason: "A download goes on at the byte where the connection was cut, as often as that brings something.",
			fault: func(w http.ResponseWriter, r hubtest.Request, before int) bool {
				if r.Kind != hubtest.KindBlob || r.Path != big || before > 4 {
					return false
				}
				from := before * 100000
				if before == 0 {
					hubtest.Hijack(w, part("200 OK", "", 0, 100000))
				} else {
					hubtest.Hijack(w, part("206 Partial Content", fmt.Sprintf("Content-Range: bytes %d-%d/%d\r\n", from, len(content)-1, len(content)), from, from+100000))
				}
				return true
			},
			ranges: []string{"", "bytes=100000-", "bytes=200000-", "bytes=300000-", "bytes=400000-", "bytes=500000-"},
		},
		"NoRanges": {
			reason: "A server that can't do ranges sends it from the start.",
			fault: func(w http.ResponseWriter, r hubtest.Request, before int) bool {
				if r.Kind != hubtest.KindBlob || r.Path != big {
					return false
				}
				if before == 0 {
					hubtest.Hijack(w, part("200 OK", "", 0, 100000))
				} else {
					_, _ = w.Write(content)
				}
				return true
			},
			ranges: []string{"", "bytes=100000-"},
		},
		"OtherRange": {
			reason: "A server that sends another range than was asked for isn't believed.",
			fault: func(w http.ResponseWriter, r hubtest.Request, before int) bool {
				if r.Kind != hubtest.KindBlob || r.Path != big || before > 1 {
					return false
				}
				if before == 0 {
					hubtest.Hijack(w, part("200 OK", "", 0, 100000))
				} else {
					hubtest.Hijack(w, part("206 Partial Content", fmt.Sprintf("Content-Range: bytes 0-%d/%d\r\n", len(content)-1, len(content)), 0, 5000))
				}
				return true
			},
			ranges: []string{"", "bytes=100000-", ""},
		},
		"RangeRefused": {
			reason: "A server that refuses a range sends it from the start.",
			fault: func(w http.ResponseWriter, r hubtest.Request, before int) bool {
				if r.Kind != hubtest.KindBlob || r.Path != big || before > 1 {
					return false
				}
				if before == 0 {
					hubtest.Hijack(w, part("200 OK", "", 0, 100000))
				} else {
					w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				}
				return true
			},
			ranges: []string{"", "bytes=100000-", ""},
		},
		"Stalled": {
			reason: "A connection on which nothing comes any more is given up.",
			fault: func(w http.ResponseWriter, r hubtest.Request, before int) bool {
				if r.Kind != hubtest.KindBlob || r.Path != big || before > 0 {
					return false
				}
				hubtest.Stall(w, part("200 OK", "", 0, 100000))
				return true
			},
			change: func(c *Config) { c.Stall = 300 * time.Millisecond },
			atMost: 15 * time.Second,
			ranges: []string{"", "bytes=100000-"},
		},
		"WrongOnce": {
			reason: "A content that arrives damaged is downloaded again.",
			fault:  first(hubtest.KindBlob, 1, func(w http.ResponseWriter) { _, _ = w.Write(noise(len(content), 99)) }),
			ranges: []string{"", ""},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, files := bigHub(t)
			h.Fail(tc.fault)
			cache := Cache{Home: t.TempDir()}
			c := client(t, h, func(c *Config) {
				if tc.change != nil {
					tc.change(c)
				}
			})
			began := time.Now()
			downloaded(t, c, cache, request())
			if took := time.Since(began); took < tc.atLeast || (tc.atMost > 0 && took > tc.atMost) {
				t.Errorf("%s\nwant it to take %s to %s, got %s", tc.reason, tc.atLeast, tc.atMost, took)
			}
			var ranges []string
			for _, q := range h.Requests(hubtest.KindBlob) {
				if q.Path == big {
					ranges = append(ranges, q.Range)
				}
			}
			if diff := cmp.Diff(tc.ranges, ranges); diff != "" {
				t.Errorf("%s\nranges: -want, +got:\n%s", tc.reason, diff)
			}
			holds(t, cache, files)
		})
	}
}

// holds returns unless a snapshot has exactly these files, found as the
// documentation says that readers find them.
func holds(t *testing.T, cache Cache, files map[string][]byte) {
	t.Helper()
	root := filepath.Join(cache.Home, "hub", "models--acme--tiny")
	ref, err := os.ReadFile(filepath.Join(root, "refs", "main"))
	if err != nil {
		t.Fatalf("there is no ref: %v", err)
	}
	for path, want := range files {
		got, err := os.ReadFile(filepath.Join(root, "snapshots", string(ref), path))
		if err != nil || !bytes.Equal(want, got) {
			t.Errorf("%s is not what it should be: %d bytes, %v", path, len(got), err)
		}
	}
	left, _ := filepath.Glob(filepath.Join(root, "blobs", "*.incomplete"))
	if len(left) > 0 {
		t.Errorf("there is an incomplete file left: %v", left)
	}
}

func TestAlwaysWrong(t *testing.T) {
	h, files := bigHub(t)
	h.Fail(func(w http.ResponseWriter, r hubtest.Request, _ int) bool {
		if r.Kind != hubtest.KindBlob || r.Path != big {
			return false
		}
		_, _ = w.Write(noise(len(files[big]), 99))
		return true
	})
	cache := Cache{Home: t.TempDir()}
	_, err := Download(t.Context(), client(t, h), cache, request())
	if ReasonOf(err) != ReasonChecksum || !strings.Contains(err.Error(), hubtest.SHA256(files[big])) {
		t.Errorf("Download(...): want %s with the hash, got %v", ReasonChecksum, err)
	}
	for name, content := range tree(t, cache.Model(tiny)) {
		if strings.HasPrefix(name, "snapshots") || strings.HasPrefix(name, "refs") || (strings.Contains(name, hubtest.SHA256(files[big])) && content != "") {
			t.Errorf("%s should not be there", name)
		}
	}
}

func TestRepaired(t *testing.T) {
	flip := func(t *testing.T, name string) {
		t.Helper()
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatalf("cannot read: %v", err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatalf("cannot write: %v", err)
		}
	}
	cases := map[string]struct {
		reason string
		damage func(t *testing.T, cache Cache, blob string)
		noLook bool
		want   int
	}{
		"FlippedByte": {
			reason: "A blob with a flipped byte is replaced.",
			damage: func(t *testing.T, cache Cache, blob string) { t.Helper(); flip(t, cache.Blob(tiny, blob)) },
			want:   1,
		},
		"FlippedByteUnseen": {
			reason: "If told not to look, it isn't seen.",
			damage: func(t *testing.T, cache Cache, blob string) { t.Helper(); flip(t, cache.Blob(tiny, blob)) },
			noLook: true,
		},
		"Truncated": {
			reason: "A blob of another size is seen without looking.",
			damage: func(t *testing.T, cache Cache, blob string) {
				t.Helper()
				if err := os.Truncate(cache.Blob(tiny, blob), 17); err != nil {
					t.Fatalf("cannot truncate: %v", err)
				}
			},
			noLook: true, want: 1,
		},
		"Gone": {
			reason: "A blob that somebody deleted is missed.",
			damage: func(t *testing.T, cache Cache, blob string) {
				t.Helper()
				if err := os.Remove(cache.Blob(tiny, blob)); err != nil {
					t.Fatalf("cannot remove: %v", err)
				}
			},
			noLook: true, want: 1,
		},
		"IncompleteFlipped": {
			reason: "What an earlier download left may be damaged, so that all is downloaded again.",
			damage: func(t *testing.T, cache Cache, blob string) {
				t.Helper()
				if err := os.Rename(cache.Blob(tiny, blob), cache.Incomplete(tiny, blob)); err != nil {
					t.Fatalf("cannot rename: %v", err)
				}
				flip(t, cache.Incomplete(tiny, blob))
			},
			want: 1,
		},
		"IncompleteComplete": {
			reason: "What an earlier download left may be complete but for its name.",
			damage: func(t *testing.T, cache Cache, blob string) {
				t.Helper()
				if err := os.Rename(cache.Blob(tiny, blob), cache.Incomplete(tiny, blob)); err != nil {
					t.Fatalf("cannot rename: %v", err)
				}
			},
		},
		"IncompleteTooLong": {
			reason: "What is longer than it should be is cut.",
			damage: func(t *testing.T, cache Cache, blob string) {
				t.Helper()
				if err := os.Rename(cache.Blob(tiny, blob), cache.Incomplete(tiny, blob)); err != nil {
					t.Fatalf("cannot rename: %v", err)
				}
				f, err := os.OpenFile(cache.Incomplete(tiny, blob), os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					t.Fatalf("cannot open: %v", err)
				}
				fmt.Fprint(f, "more")
				f.Close()
			},
		},
		"SnapshotLinkGone": {
			reason: "A link that somebody deleted is made again.",
			damage: func(t *testing.T, cache Cache, _ string) {
				t.Helper()
				if err := os.Remove(filepath.Join(cache.Snapshot(tiny, commit), big)); err != nil {
					t.Fatalf("cannot remove: %v", err)
				}
			},
		},
		"CopyInstead": {
			reason: "A file in the place of a link, as on a file system without links, gives way to one.",
			damage: func(t *testing.T, cache Cache, _ string) {
				t.Helper()
				name := filepath.Join(cache.Snapshot(tiny, commit), big)
				if err := os.Remove(name); err != nil {
					t.Fatalf("cannot remove: %v", err)
				}
				if err := os.WriteFile(name, []byte("old"), 0o600); err != nil {
					t.Fatalf("cannot write: %v", err)
				}
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h, files := bigHub(t)
			cache, r := Cache{Home: t.TempDir()}, request()
			downloaded(t, client(t, h), cache, r)
			tc.damage(t, cache, hubtest.SHA256(files[big]))
			h.Reset()
			r.Verify = !tc.noLook
			downloaded(t, client(t, h), cache, r)
			if got := h.Requests(hubtest.KindBlob); len(got) != tc.want {
				t.Errorf("%s\nwant %d downloads, got %v", tc.reason, tc.want, got)
			}
			if name != "FlippedByteUnseen" {
				holds(t, cache, files)
			}
		})
	}
}

// TestSecrets are sent only where they belong.
func TestSecrets(t *testing.T) {
	h, _ := bigHub(t)
	files := map[string]map[string][]byte{commit: tinyFiles()}
	h.Set("acme/gated", hubtest.Model{Revisions: map[string]string{"main": commit}, Commits: files, Gated: true, Allowed: []string{"good"}})
	cache, r := Cache{Home: t.TempDir()}, request()
	r.Model = "acme/gated"
	downloaded(t, client(t, h, func(c *Config) { c.Token = "good" }), cache, r)
	for _, q := range h.Requests() {
		want := "good"
		if q.Kind == hubtest.KindBlob {
			want = ""
		}
		if q.Token != want {
			t.Errorf("want token %q with a request of %s, got %q", want, q.Kind, q.Token)
		}
	}
	for name, content := range tree(t, cache.Home) {
		if strings.Contains(content, "good") || strings.Contains(content, hubtest.Secret) {
			t.Errorf("%s has a secret", name)
		}
	}
}

// TestTogether has ten agents download the same model at once, while a server
// looks whether it is there.
func TestTogether(t *testing.T) {
	h, files := bigHub(t)
	h.Slow(5 * time.Millisecond)
	cache := Cache{Home: t.TempDir()}

	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan int, 1)
	go func() {
		n := 0
		for ctx.Err() == nil {
			ref, err := os.ReadFile(filepath.Join(cache.Model(tiny), "refs", "main"))
			dir, derr := os.ReadDir(cache.Snapshot(tiny, commit))
			if err == nil && string(ref) != commit {
				t.Errorf("the ref is %q", ref)
			}
			if err == nil && derr != nil {
				t.Errorf("there is a ref without a snapshot: %v", derr)
			}
			if derr != nil {
				continue
			}
			n++
			if len(dir) != len(files) {
				t.Errorf("a reader sees %d of %d files", len(dir), len(files))
			}
			for path, want := range files {
				got, err := os.ReadFile(filepath.Join(cache.Snapshot(tiny, commit), path))
				if err != nil || !bytes.Equal(want, got) {
					t.Errorf("a reader sees %d bytes of %s: %v", len(got), path, err)
				}
			}
			time.Sleep(time.Millisecond)
		}
		seen <- n
	}()

	wg := sync.WaitGroup{}
	for range 10 {
		wg.Go(func() {
			if _, err := Download(ctx, client(t, h), cache, request()); err != nil {
				t.Errorf("Download(...): %v", err)
			}
		})
	}
	wg.Wait()
	time.Sleep(10 * time.Millisecond)
	cancel()
	if n := <-seen; n == 0 {
		t.Error("the reader never saw the model, so that it shows nothing")
	}
	if got := len(h.Requests(hubtest.KindResolve)); got != len(files) {
		t.Errorf("want %d downloads, got %d", len(files), got)
	}
	holds(t, cache, files)
}

// TestSnapshotAtOnce watches a snapshot of many files appear.
func TestSnapshotAtOnce(t *testing.T) {
	files := map[string][]byte{}
	for i := range 500 {
		files[fmt.Sprintf("part-%d/config.json", i)] = []byte("{}")
	}
	h := hubtest.New(t, map[string]hubtest.Model{tiny: {
		Revisions: map[string]string{"main": commit},
		Commits:   map[string]map[string][]byte{commit: files},
	}})
	cache := Cache{Home: t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	counts := make(chan []int, 1)
	go func() {
		var seen []int
		for last := false; !last; {
			last = ctx.Err() != nil
			dir, err := os.ReadDir(cache.Snapshot(tiny, commit))
			if err == nil && !slices.Contains(seen, len(dir)) {
				seen = append(seen, len(dir))
			}
		}
		counts <- seen
	}()
	downloaded(t, client(t, h), cache, request())
	cancel()
	if diff := cmp.Diff([]int{len(files)}, <-counts); diff != "" {
		t.Errorf("numbers of files that a reader saw: -want, +got:\n%s", diff)
	}
	if n := len(h.Requests(hubtest.KindResolve)); n != 1 {
		t.Errorf("want what all files have in common to be downloaded once, got %d times", n)
	}
}

// TestInterrupted goes on at the byte where it was.
func TestInterrupted(t *testing.T) {
	h, files := bigHub(t)
	h.Slow(20 * time.Millisecond)
	cache, r := Cache{Home: t.TempDir()}, request()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r.Started = func(p *Progress) {
		go func() {
			for p.Done() < p.Total/3 {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
	}
	rec, err := Download(ctx, client(t, h), cache, r)
	if ReasonOf(err) != ReasonInterrupted || IsFinal(err) || rec.State != StateFailed {
		t.Fatalf("Download(...): want %s, got %v, %+v", ReasonInterrupted, err, rec)
	}
	if _, err := os.Stat(cache.Snapshot(tiny, commit)); err == nil {
		t.Error("there is a snapshot")
	}
	h.Slow(0)
	h.Reset()
	r.Started = nil
	downloaded(t, client(t, h), cache, r)
	holds(t, cache, files)
	if q := h.Requests(hubtest.KindBlob); len(q) != 2 || q[0].Range == "" || q[1].Range == "" {
		t.Errorf("want both files to go on, got %v", q)
	}
	if got := h.Sent(); got > 3<<19 {
		t.Errorf("want less than 1.5 MiB to be missing, got %d bytes", got)
	}
}

// TestMoved downloads a branch again after it has moved: what both commits have
// is not downloaded again, and the older one stays for those who read it.
func TestMoved(t *testing.T) {
	h, cache, r := tinyHub(t), Cache{Home: t.TempDir()}, request()
	downloaded(t, client(t, h), cache, r)
	changed := tinyFiles()
	changed["config.json"] = []byte(`{"a":2}`)
	h.Set(tiny, hubtest.Model{
		Revisions: map[string]string{"main": newer},
		Commits:   map[string]map[string][]byte{commit: tinyFiles(), newer: changed},
	})
	h.Reset()
	r.Now = func() time.Time { return then.Add(time.Hour) }
	rec := downloaded(t, client(t, h), cache, r)
	if rec.Commit != newer || !rec.CachedAt.Equal(then.Add(time.Hour)) {
		t.Errorf("Download(...): got %+v", rec)
	}
	if q := h.Requests(hubtest.KindResolve); len(q) != 1 || q[0].Path != "config.json" {
		t.Errorf("want one file to be downloaded, got %v", q)
	}
	for c, want := range map[string]string{commit: `{"a":1}`, newer: `{"a":2}`} {
		if got, err := os.ReadFile(filepath.Join(cache.Snapshot(tiny, c), "config.json")); err != nil || string(got) != want {
			t.Errorf("%s: want %s, got %s, %v", c, want, got, err)
		}
	}
}

func TestSelection(t *testing.T) {
	paths := []string{
		".gitattributes", "LICENSE", "README.md", "assets/logo.png", "chat_template.jinja", "config.json", "consolidated.00.pth",
		"flax_model.msgpack", "generation_config.json", "merges.txt", "model-00001-of-00001.safetensors", "model.gguf",
		"model.safetensors.index.json", "modeling_x.py", "onnx/model.safetensors", "optimizer.bin", "original/params.json", "original/tokenizer.model",
		"pytorch_model.bin", "special_tokens_map.json", "tekken.json", "tf_model.h5", "tokenizer.json", "tokenizer.model",
		"tokenizer_config.json", "training_args.bin", "vocab.json", "vocab.txt",
	}
	without := slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return strings.HasSuffix(p, ".safetensors") && !strings.Contains(p, "/") })
	needed := []string{
		"chat_template.jinja", "config.json", "generation_config.json", "merges.txt", "model-00001-of-00001.safetensors",
		"model.safetensors.index.json", "modeling_x.py", "special_tokens_map.json", "tekken.json", "tokenizer.json", "tokenizer.model",
		"tokenizer_config.json", "vocab.json", "vocab.txt",
	}
	cases := map[string]struct {
		reason    string
		selection Selection
		paths     []string
		want      []string
	}{
		"Needed": {reason: "Weights, configuration, tokenizer, templates and code.", paths: paths, want: needed},
		"Excluded": {reason: "Some of it can be excluded.", paths: paths, selection: Selection{Exclude: []string{"*.py", "vocab.*"}}, want: slices.DeleteFunc(slices.Clone(needed), func(p string) bool {
			return p == "modeling_x.py" || strings.HasPrefix(p, "vocab.")
		})},
		"Included": {reason: "Something else can be wanted, in directories as well.", paths: paths, selection: Selection{Include: []string{"*.gguf", "*params.json"}}, want: []string{"model.gguf", "original/params.json"}},
		"All":      {reason: "Or everything.", paths: paths, selection: Selection{Include: []string{"*"}}, want: paths},
		"Pickled": {reason: "Without safetensors the pickled weights are needed, but not what a trainer left.", paths: without, want: func() []string {
			w := slices.DeleteFunc(slices.Clone(needed), func(p string) bool { return strings.HasSuffix(p, ".safetensors") })
			i := slices.Index(w, "special_tokens_map.json")
			return slices.Insert(w, i, "pytorch_model.bin")
		}()},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			files := make([]File, len(tc.paths))
			for i, p := range tc.paths {
				files[i] = File{Path: p}
			}
			var got []string
			for _, f := range tc.selection.Of(files) {
				got = append(got, f.Path)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s\nselection.Of(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
