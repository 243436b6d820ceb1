// Package hubtest is a Hugging Face Hub for tests. It speaks as much of the
// Hub's protocol as a download needs, on loopback, and can be told to fail in
// the ways in which the Hub, its content delivery network and what is between
// do.
package hubtest

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// pageSize of the list of files. It is small, so that there are pages.
const pageSize = 3

// A Kind of request.
type Kind string

// Kinds of requests.
const (
	// KindInfo asks for a revision.
	KindInfo Kind = "info"
	// KindTree asks for a page of the list of files.
	KindTree Kind = "tree"
	// KindResolve asks the Hub for a file.
	KindResolve Kind = "resolve"
	// KindBlob asks the content delivery network for a file.
	KindBlob Kind = "blob"
)

// A Request that was made.
type Request struct {
	Kind Kind
	// Path of the file, or the revision.
	Path string
	// Range that was asked for, and the Token that was sent.
	Range, Token string
}

// A Fault answers a request instead of the hub, if it returns true. It is called
// with how often the like was asked before.
type Fault func(w http.ResponseWriter, r Request, before int) bool

// A Model on the hub.
type Model struct {
	// Revisions by name, and the commits that they are.
	Revisions map[string]string
	// Commits and their files by path.
	Commits map[string]map[string][]byte
	// Gated models need a token in Allowed. Private ones do, too, but don't exist
	// for others.
	Gated, Private bool
	Allowed        []string
}

// A Hub for tests.
type Hub struct {
	// URL to set HF_ENDPOINT to.
	URL string

	cdn string

	mu       sync.Mutex
	models   map[string]Model
	requests []Request
	sent     int64
	fault    Fault
	slow     time.Duration
	quit     chan struct{}
}

// Secret is in the URLs that the hub redirects to, as a signature.
const Secret = "s3cret-signature"

// New hub with these models, until the test ends.
func New(t *testing.T, models map[string]Model) *Hub {
	t.Helper()
	h := &Hub{models: models, quit: make(chan struct{})}
	api := httptest.NewServer(http.HandlerFunc(h.serve))
	cdn := httptest.NewServer(http.HandlerFunc(h.serveBlob))
	h.URL = api.URL
	// By another name, as the real one is: the token must not be sent there.
	_, port, err := net.SplitHostPort(strings.TrimPrefix(cdn.URL, "http://"))
	if err != nil {
		t.Fatalf("cannot tell port of %s: %v", cdn.URL, err)
	}
	h.cdn = "http://localhost:" + port
	t.Cleanup(func() {
		close(h.quit)
		api.CloseClientConnections()
		cdn.CloseClientConnections()
		api.Close()
		cdn.Close()
	})
	return h
}

// Fail from now on as told; nil is not at all.
func (h *Hub) Fail(f Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = f
}

// Slow makes the content delivery network wait that long after each 64 KiB.
func (h *Hub) Slow(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slow = d
}

// Set a model.
func (h *Hub) Set(id string, m Model) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.models[id] = m
}

// Requests since the last time.
func (h *Hub) Requests(kinds ...Kind) []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Request
	for _, r := range h.requests {
		if len(kinds) == 0 || slices.Contains(kinds, r.Kind) {
			out = append(out, r)
		}
	}
	return out
}

// Reset forgets the requests and the bytes.
func (h *Hub) Reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests, h.sent = nil, 0
}

// Sent bytes of files.
func (h *Hub) Sent() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sent
}

// failed handles a request by the fault, if there is one for it.
func (h *Hub) failed(w http.ResponseWriter, r *http.Request, kind Kind, path string) bool {
	req := Request{Kind: kind, Path: path, Range: r.Header.Get("Range"), Token: strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")}
	h.mu.Lock()
	before := 0
	for _, o := range h.requests {
		if o.Kind == kind && o.Path == path {
			before++
		}
	}
	h.requests = append(h.requests, req)
	fault := h.fault
	h.mu.Unlock()
	return fault != nil && fault(w, req, before)
}

func (h *Hub) model(id string) (Model, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, ok := h.models[id]
	return m, ok
}

// refuse a request as the Hub does.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("X-Error-Code", code)
	w.Header().Set("X-Error-Message", message)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":%q}`, message)
}

// allowed returns whether a model may be read with the token of a request, and
// answers if not.
func allowed(w http.ResponseWriter, r *http.Request, id string, m Model, exists bool) bool {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	known := exists && token != "" && slices.Contains(m.Allowed, token)
	switch {
	case exists && (known || (!m.Gated && !m.Private)):
		return true
	case exists && m.Gated && token == "":
		refuse(w, http.StatusUnauthorized, "GatedRepo", "Access to model "+id+" is restricted. You must have access to it and be authenticated to access it. Please log in.")
	case exists && m.Gated:
		refuse(w, http.StatusForbidden, "GatedRepo", "Access to model "+id+" is restricted and you are not in the authorized list.")
	case token == "":
		// Without a token nobody is told whether it exists.
		refuse(w, http.StatusUnauthorized, "RepoNotFound", "Repository not found")
	default:
		refuse(w, http.StatusNotFound, "RepoNotFound", "Repository not found")
	}
	return false
}

// serve the API and small files, and redirect to large ones.
func (h *Hub) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	for i := range path {
		path[i] = strings.NewReplacer("%2F", "/", "%20", " ", "%23", "#").Replace(path[i])
	}
	switch {
	case len(path) == 6 && path[0] == "api" && path[4] == "revision":
		h.serveInfo(w, r, path[2]+"/"+path[3], path[5])
	case len(path) == 6 && path[0] == "api" && path[4] == "tree":
		h.serveTree(w, r, path[2]+"/"+path[3], path[5])
	case len(path) >= 5 && path[2] == "resolve":
		h.serveFile(w, r, path[0]+"/"+path[1], path[3], strings.Join(path[4:], "/"))
	default:
		refuse(w, http.StatusBadRequest, "", "there is no "+r.URL.Path)
	}
}

func (h *Hub) serveInfo(w http.ResponseWriter, r *http.Request, id, revision string) {
	if h.failed(w, r, KindInfo, revision) {
		return
	}
	m, ok := h.model(id)
	if !allowed(w, r, id, m, ok) {
		return
	}
	commit := m.Revisions[revision]
	if _, ok := m.Commits[revision]; ok {
		commit = revision
	}
	if commit == "" {
		refuse(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+revision)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"id": id, "sha": commit, "gated": m.Gated, "private": m.Private}) //nolint:errchkjson // These can be encoded.
}

func (h *Hub) serveTree(w http.ResponseWriter, r *http.Request, id, commit string) {
	if h.failed(w, r, KindTree, r.URL.Query().Get("cursor")) {
		return
	}
	m, ok := h.model(id)
	if !allowed(w, r, id, m, ok) {
		return
	}
	var list []map[string]any
	dirs := map[string]bool{}
	for path, b := range m.Commits[commit] {
		e := map[string]any{"type": "file", "path": path, "size": len(b), "oid": GitHash(b)}
		if Large(path) {
			e["lfs"] = map[string]any{"oid": SHA256(b), "size": len(b), "pointerSize": 134}
			// Of the pointer that git has instead of the file.
			e["oid"] = GitHash([]byte(SHA256(b)))
		}
		list = append(list, e)
		if i := strings.LastIndex(path, "/"); i > 0 && !dirs[path[:i]] {
			dirs[path[:i]] = true
			list = append(list, map[string]any{"type": "directory", "path": path[:i], "size": 0, "oid": GitHash([]byte(path[:i]))})
		}
	}
	slices.SortFunc(list, func(a, b map[string]any) int { return strings.Compare(a["path"].(string), b["path"].(string)) })
	from, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	to := min(from+pageSize, len(list))
	if to < len(list) {
		// As a mirror does that passes on what the Hub says.
		w.Header().Set("Link", fmt.Sprintf(`<https://hub.invalid%s?recursive=true&expand=false&cursor=%d>; rel="next"`, r.URL.Path, to))
	}
	_ = json.NewEncoder(w).Encode(list[from:to]) //nolint:errchkjson // These can be encoded.
}

func (h *Hub) serveFile(w http.ResponseWriter, r *http.Request, id, commit, path string) {
	if h.failed(w, r, KindResolve, path) {
		return
	}
	m, ok := h.model(id)
	if !allowed(w, r, id, m, ok) {
		return
	}
	b, ok := m.Commits[commit][path]
	if !ok {
		refuse(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	if !Large(path) {
		w.Header().Set("ETag", strconv.Quote(GitHash(b)))
		h.content(w, r, b)
		return
	}
	w.Header().Set("X-Linked-Etag", strconv.Quote(SHA256(b)))
	w.Header().Set("X-Linked-Size", strconv.Itoa(len(b)))
	http.Redirect(w, r, h.cdn+"/"+id+"/"+commit+"/"+path+"?X-Signature="+Secret, http.StatusFound)
}

// serveBlob is the content delivery network. It knows no tokens, only
// signatures.
func (h *Hub) serveBlob(w http.ResponseWriter, r *http.Request) {
	path := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 4)
	if len(path) != 4 || r.URL.Query().Get("X-Signature") != Secret {
		http.Error(w, "not signed", http.StatusForbidden)
		return
	}
	if h.failed(w, r, KindBlob, path[3]) {
		return
	}
	m, _ := h.model(path[0] + "/" + path[1])
	h.content(w, r, m.Commits[path[2]][path[3]])
}

// content of a file, or the range of it that is asked for.
func (h *Hub) content(w http.ResponseWriter, r *http.Request, b []byte) {
	h.mu.Lock()
	slow := h.slow
	h.mu.Unlock()
	http.ServeContent(&counting{ResponseWriter: w, h: h, slow: slow}, r, "", time.Time{}, bytes.NewReader(b))
}

// counting what is sent.
type counting struct {
	http.ResponseWriter

	h    *Hub
	slow time.Duration
}

func (c *counting) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := c.ResponseWriter.Write(p[n:min(n+64<<10, len(p))])
		n += m
		c.h.mu.Lock()
		c.h.sent += int64(m)
		c.h.mu.Unlock()
		if err != nil {
			return n, err
		}
		if c.slow > 0 {
			if f, ok := c.ResponseWriter.(http.Flusher); ok {
				f.Flush()
			}
			select {
			case <-time.After(c.slow):
			case <-c.h.quit:
				return n, http.ErrAbortHandler
			}
		}
	}
	return n, nil
}

// Large files are kept by git LFS.
func Large(path string) bool {
	return strings.HasSuffix(path, ".safetensors") || strings.HasSuffix(path, ".bin") || path == "tokenizer.json"
}

// GitHash is what git calls a content.
func GitHash(b []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", len(b))
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil))
}

// SHA256 of a content.
func SHA256(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// Stall a connection after writing what is given, until the client gives up.
func Stall(w http.ResponseWriter, raw []byte) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write(raw)
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, _ = c.Read(make([]byte, 1))
}

// Hijack a connection, to cut it after writing what is given.
func Hijack(w http.ResponseWriter, raw []byte) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = c.Write(raw)
	_ = c.Close()
}
