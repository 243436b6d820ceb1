package hub

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/aim-engine/function-aim/fn/hub/hubtest"
)

// twice downloads two commits of a model, which differ in one file.
func twice(t *testing.T) Cache {
	t.Helper()
	changed := tinyFiles()
	changed["config.json"] = []byte(`{"a":2}`)
	h := hubtest.New(t, map[string]hubtest.Model{tiny: {
		Revisions: map[string]string{"old": commit, "main": newer},
		Commits:   map[string]map[string][]byte{commit: tinyFiles(), newer: changed},
	}})
	cache, r := Cache{Home: t.TempDir()}, request()
	downloaded(t, client(t, h), cache, r)
	r.Revision = "old"
	downloaded(t, client(t, h), cache, r)
	return cache
}

func contents(t *testing.T, cache Cache) Contents {
	t.Helper()
	records, err := cache.Records()
	if err != nil {
		t.Fatalf("cache.Records(): %v", err)
	}
	c, err := cache.Contents(tiny, records)
	if err != nil {
		t.Fatalf("cache.Contents(...): %v", err)
	}
	return c
}

const (
	blobConfig    = "daa5053ecf5f9a37b2de733d0751cc1ab53ac010"
	blobModeling  = "b917a726c93f902e43291d9009d6488385133b67"
	blobWeights   = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
	blobTokenizer = "08c43efd4fb5ab24f7603c8140a1d251180d88d533d8d99d78038beb086df51d"
)

func TestContents(t *testing.T) {
	shared := map[string]int64{blobModeling: 9, blobWeights: 7, blobTokenizer: 18}
	with := func(blob string) map[string]int64 {
		m := maps.Clone(shared)
		m[blob] = 7
		return m
	}
	changed := hubtest.GitHash([]byte(`{"a":2}`))
	loose := strings.Repeat("c", 40)
	cases := map[string]struct {
		reason string
		change func(t *testing.T, cache Cache)
		want   Contents
	}{
		"Complete": {
			reason: "Two commits share what both have.",
			want: Contents{Revisions: []Revision{
				{Commit: commit, Refs: []string{"old"}, Blobs: with(blobConfig), Total: 41, Complete: true},
				{Commit: newer, Refs: []string{"main"}, Blobs: with(changed), Total: 41, Complete: true},
			}},
		},
		"Partial": {
			reason: "A commit that is being downloaded has a record, but no snapshot.",
			change: func(t *testing.T, cache Cache) {
				t.Helper()
				if err := os.RemoveAll(cache.Snapshot(tiny, newer)); err != nil {
					t.Fatalf("cannot remove: %v", err)
				}
				if err := os.Rename(cache.Blob(tiny, changed), cache.Incomplete(tiny, changed)); err != nil {
					t.Fatalf("cannot rename: %v", err)
				}
			},
			want: Contents{Revisions: []Revision{
				{Commit: commit, Refs: []string{"old"}, Blobs: with(blobConfig), Total: 41, Complete: true},
				{Commit: newer, Refs: []string{"main"}, Blobs: with(changed + ".incomplete"), Total: 41},
			}},
		},
		"Foreign": {
			reason: "What a server downloaded for itself has no record. Its blobs that nothing links to are loose.",
			change: func(t *testing.T, cache Cache) {
				t.Helper()
				if err := os.RemoveAll(cache.State()); err != nil {
					t.Fatalf("cannot remove: %v", err)
				}
				if err := os.RemoveAll(cache.Snapshot(tiny, newer)); err != nil {
					t.Fatalf("cannot remove: %v", err)
				}
				if err := os.WriteFile(cache.Incomplete(tiny, loose), []byte("abc"), 0o600); err != nil {
					t.Fatalf("cannot write: %v", err)
				}
			},
			want: Contents{
				Revisions: []Revision{{Commit: commit, Refs: []string{"old"}, Blobs: with(blobConfig), Total: 41, Complete: true}},
				Loose:     map[string]int64{loose + ".incomplete": 3, changed: 7},
			},
		},
		"Broken": {
			reason: "A snapshot with a link to nothing isn't complete.",
			change: func(t *testing.T, cache Cache) {
				t.Helper()
				if err := os.Remove(cache.Blob(tiny, changed)); err != nil {
					t.Fatalf("cannot remove: %v", err)
				}
			},
			want: Contents{Revisions: []Revision{
				{Commit: commit, Refs: []string{"old"}, Blobs: with(blobConfig), Total: 41, Complete: true},
				{Commit: newer, Refs: []string{"main"}, Blobs: shared, Total: 41},
			}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cache := twice(t)
			if tc.change != nil {
				tc.change(t, cache)
			}
			tc.want.Model = tiny
			diff := cmp.Diff(tc.want, contents(t, cache),
				cmpopts.IgnoreFields(Revision{}, "Modified", "Record"), cmpopts.IgnoreFields(Contents{}, "Modified"), cmpopts.EquateEmpty())
			if diff != "" {
				t.Errorf("%s\ncache.Contents(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestEvict(t *testing.T) {
	changed := hubtest.GitHash([]byte(`{"a":2}`))
	loose := strings.Repeat("c", 40)
	all := []string{blobConfig, blobModeling, blobWeights, blobTokenizer, changed}
	cases := map[string]struct {
		reason    string
		loose     bool
		commits   []string
		freed     int64
		blobs     []string
		snapshots []string
		refs      []string
		records   []string
	}{
		"One": {
			reason:  "What the other commit uses stays.",
			commits: []string{commit}, freed: 7,
			blobs: slices.DeleteFunc(slices.Clone(all), func(b string) bool { return b == blobConfig }), snapshots: []string{newer}, refs: []string{"main"}, records: []string{"main"},
		},
		"Other": {
			reason:  "What the other commit uses stays.",
			commits: []string{newer}, freed: 7,
			blobs: slices.DeleteFunc(slices.Clone(all), func(b string) bool { return b == changed }), snapshots: []string{commit}, refs: []string{"old"}, records: []string{"old"},
		},
		"Both":  {reason: "With the last one nothing is left.", commits: []string{commit, newer}, freed: 48},
		"Loose": {reason: "What no commit uses can go.", loose: true, commits: []string{""}, freed: 3, blobs: all, snapshots: []string{commit, newer}, refs: []string{"main", "old"}, records: []string{"main", "old"}},
		"LooseStays": {
			reason: "What no commit uses is not the last one's.", loose: true, commits: []string{commit, newer}, freed: 48,
			blobs: []string{loose + ".incomplete"},
		},
		"Unknown": {reason: "What isn't there frees nothing.", commits: []string{strings.Repeat("9", 40)}, blobs: all, snapshots: []string{commit, newer}, refs: []string{"main", "old"}, records: []string{"main", "old"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cache := twice(t)
			if tc.loose {
				if err := os.WriteFile(cache.Incomplete(tiny, loose), []byte("abc"), 0o600); err != nil {
					t.Fatalf("cannot write: %v", err)
				}
			}
			var freed int64
			for _, c := range tc.commits {
				n, err := cache.Evict(tiny, c)
				if err != nil {
					t.Fatalf("%s\ncache.Evict(%q): %v", tc.reason, c, err)
				}
				freed += n
			}
			list := func(dir string) []string {
				var out []string
				entries, _ := os.ReadDir(filepath.Join(cache.Model(tiny), dir))
				for _, e := range entries {
					out = append(out, e.Name())
				}
				slices.Sort(out)
				return out
			}
			var records []string
			rs, _ := cache.Records()
			for _, r := range rs {
				records = append(records, r.Revision)
			}
			slices.Sort(tc.blobs)
			type result struct {
				Freed                           int64
				Blobs, Snapshots, Refs, Records []string
			}
			want := result{tc.freed, tc.blobs, tc.snapshots, tc.refs, tc.records}
			got := result{freed, list("blobs"), list("snapshots"), list("refs"), records}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s\ncache.Evict(...): -want, +got:\n%s", tc.reason, diff)
			}
			if left := tree(t, cache.State(dirTrash)); len(left) > 0 {
				t.Errorf("%s\nthere is trash left: %v", tc.reason, left)
			}
			for _, c := range []string{commit, newer} {
				for path := range tree(t, cache.Snapshot(tiny, c)) {
					if _, err := os.Stat(filepath.Join(cache.Snapshot(tiny, c), path)); err != nil {
						t.Errorf("%s\n%s of %s leads to nothing", tc.reason, path, c)
					}
				}
			}
		})
	}
}

// TestBusy shows that nothing is deleted of a model that is being downloaded,
// and that the download waits for a deletion.
func TestBusy(t *testing.T) {
	h, files := bigHub(t)
	h.Slow(10 * time.Millisecond)
	cache, r := Cache{Home: t.TempDir()}, request()
	started := make(chan struct{})
	r.Started = func(*Progress) { close(started) }
	done := make(chan error)
	go func() {
		_, err := Download(t.Context(), client(t, h), cache, r)
		done <- err
	}()
	<-started
	if !cache.Downloading(tiny) {
		t.Error("cache.Downloading(...): want true while there is a download")
	}
	if _, err := cache.Evict(tiny, commit); err != ErrBusy { //nolint:errorlint // It is not wrapped.
		t.Errorf("cache.Evict(...): want %v, got %v", ErrBusy, err)
	}
	if err := <-done; err != nil {
		t.Errorf("Download(...): %v", err)
	}
	if cache.Downloading(tiny) {
		t.Error("cache.Downloading(...): want false after the download")
	}
	holds(t, cache, files)

	// As if a deletion were going on.
	l := flock.New(cache.modelLock(tiny))
	if ok, err := l.TryLock(); !ok || err != nil {
		t.Fatalf("cannot lock: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	r.Started = nil
	if _, err := Download(ctx, client(t, h), cache, r); ReasonOf(err) != ReasonInterrupted {
		t.Errorf("Download(...): want it to wait, got %v", err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatalf("cannot unlock: %v", err)
	}
	downloaded(t, client(t, h), cache, r)
}

// TestLockFileDeleted is about a lock file that somebody deletes while others
// wait for it.
func TestLockFileDeleted(t *testing.T) {
	cache := Cache{Home: t.TempDir()}
	unlock, err := cache.Lock(t.Context(), "test")
	if err != nil {
		t.Fatalf("cache.Lock(...): %v", err)
	}
	second := make(chan func())
	go func() {
		unlock, err := cache.Lock(t.Context(), "test")
		if err != nil {
			t.Errorf("cache.Lock(...): %v", err)
		}
		second <- unlock
	}()
	time.Sleep(3 * lockPoll)
	if err := os.Remove(cache.State("locks", "test.lock")); err != nil {
		t.Fatalf("cannot remove: %v", err)
	}
	unlock()
	unlock = <-second
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
	defer cancel()
	if _, err := cache.Lock(ctx, "test"); err == nil {
		t.Error("cache.Lock(...): two have the lock")
	}
}

// TestVolume uses a file system of its own, which is really too small.
func TestVolume(t *testing.T) {
	home := t.TempDir()
	if err := unix.Mount("tmpfs", home, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("This test may not mount a file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(home, 0); err != nil {
			t.Errorf("cannot unmount: %v", err)
		}
	})
	h, files := bigHub(t)
	cache := Cache{Home: home}
	_, err := Download(t.Context(), client(t, h), cache, request())
	if ReasonOf(err) != ReasonVolumeTooSmall || !strings.Contains(err.Error(), "needs 2.0 MiB (2097171 bytes) more") || !strings.Contains(err.Error(), "of its 2.0 MiB are available") {
		t.Errorf("Download(...): want it refused with both numbers, got %v", err)
	}
	if n := h.Sent(); n != 0 {
		t.Errorf("%d bytes were sent nevertheless", n)
	}

	// Others fill it, after the download has begun.
	r := request()
	r.Selection = Selection{Include: []string{"*.json", big}}
	r.Started = func(*Progress) {
		if err := os.WriteFile(filepath.Join(home, "other"), noise(1<<20, 7), 0o600); err != nil {
			t.Errorf("cannot write: %v", err)
		}
	}
	_, err = Download(t.Context(), client(t, h), cache, r)
	if ReasonOf(err) != ReasonVolumeTooSmall || !IsFinal(err) || !strings.Contains(err.Error(), "the volume is full after") {
		t.Errorf("Download(...): want it to say that the volume is full, got %v", err)
	}
	if _, err := os.Stat(cache.Snapshot(tiny, commit)); err == nil {
		t.Error("there is a snapshot")
	}

	// And make room again.
	if err := os.Remove(filepath.Join(home, "other")); err != nil {
		t.Fatalf("cannot remove: %v", err)
	}
	r.Started = nil
	downloaded(t, client(t, h), cache, r)
	delete(files, "model-00002-of-00002.safetensors")
	holds(t, cache, files)
	s, err := cache.Space(0)
	if err != nil || s.Capacity != 2<<20 || s.Available > 1<<20 || s.Used < 1<<20 {
		t.Errorf("cache.Space(0): got %+v, %v", s, err)
	}
}

func TestModelOf(t *testing.T) {
	cases := map[string]struct {
		reason string
		want   string
		ok     bool
	}{
		"models--acme--tiny":    {reason: "A model of an organization.", want: "acme/tiny", ok: true},
		"models--gpt2":          {reason: "A model of nobody.", want: "gpt2", ok: true},
		"models--a-b--c-d.e_f":  {reason: "A hyphen is part of a name.", want: "a-b/c-d.e_f", ok: true},
		"datasets--acme--tiny":  {reason: "A dataset isn't a model.", want: "datasets/acme/tiny"},
		"models--a--b--c":       {reason: "There are no models below models.", want: "a/b/c"},
		"version.txt":           {reason: "A file of somebody else isn't a model.", want: "version.txt"},
		"models----":            {reason: "Nothing isn't a model.", want: "/"},
		"models--..--..":        {reason: "A path isn't a model.", want: "../.."},
		"models--acme--.hidden": {reason: "No name begins with a dot.", want: "acme/.hidden"},
	}
	for folder, tc := range cases {
		t.Run(folder, func(t *testing.T) {
			if got, ok := ModelOf(folder); got != tc.want || ok != tc.ok {
				t.Errorf("%s\nModelOf(%q): want %q, %t, got %q, %t", tc.reason, folder, tc.want, tc.ok, got, ok)
			}
			if tc.ok && Folder(tc.want) != folder {
				t.Errorf("%s\nFolder(%q): want %q, got %q", tc.reason, tc.want, folder, Folder(tc.want))
			}
		})
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 3 << 29: "1.5 GiB", 1 << 62: "4.0 EiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d): want %q, got %q", n, want, got)
		}
	}
}
