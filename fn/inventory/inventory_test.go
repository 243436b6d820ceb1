package inventory

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/aim-engine/function-aim/fn/hub"
	"github.com/aim-engine/function-aim/fn/hub/hubtest"
	"github.com/aim-engine/function-aim/fn/prune"
)

const (
	commitA = "1111111111111111111111111111111111111111"
	commitB = "2222222222222222222222222222222222222222"
)

var (
	cached  = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	used    = time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)
	cleaned = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
)

func files(config string) map[string][]byte {
	return map[string][]byte{"config.json": []byte(config), "model.safetensors": []byte("weights")}
}

func newHub(t *testing.T) *hubtest.Hub {
	t.Helper()
	return hubtest.New(t, map[string]hubtest.Model{
		"acme/a":     {Revisions: map[string]string{"main": commitA}, Commits: map[string]map[string][]byte{commitA: files(`{"a":1}`)}},
		"acme/b":     {Revisions: map[string]string{"main": commitB, "old": commitA}, Commits: map[string]map[string][]byte{commitB: files(`{}`), commitA: files(`{"old":1}`)}},
		"acme/gated": {Gated: true},
	})
}

// download a model, whether that succeeds or not.
func download(t *testing.T, h *hubtest.Hub, c hub.Cache, model, revision string) error {
	t.Helper()
	client, err := hub.NewClient(hub.Config{Endpoint: h.URL, Attempts: 2, MinWait: time.Millisecond, MaxWait: time.Millisecond})
	if err != nil {
		t.Fatalf("hub.NewClient(...): %v", err)
	}
	_, err = hub.Download(t.Context(), client, c, hub.Request{Model: model, Revision: revision, Now: func() time.Time { return cached }})
	return err
}

func scan(t *testing.T, c hub.Cache) Inventory {
	t.Helper()
	inv, err := Scan(c, 1000)
	if err != nil {
		t.Fatalf("Scan(...): %v", err)
	}
	return inv
}

// TestDocument shows what is said of each state that a model can be in.
func TestDocument(t *testing.T) {
	a := Model{ID: "acme/a", Revision: "main", Commit: commitA, Status: StatusCached, SizeBytes: 14, TotalBytes: 14, CachedAt: &cached}
	cases := map[string]struct {
		reason string
		do     func(t *testing.T, h *hubtest.Hub, c hub.Cache)
		want   []Model
	}{
		"Empty": {
			reason: "Nothing is said of nothing.",
			do:     func(*testing.T, *hubtest.Hub, hub.Cache) {},
		},
		"Cached": {
			reason: "It says since when. Without a recorded use it doesn't say when it was used.",
			do: func(t *testing.T, h *hubtest.Hub, c hub.Cache) {
				t.Helper()
				if err := download(t, h, c, "acme/a", "main"); err != nil {
					t.Fatalf("download(...): %v", err)
				}
			},
			want: []Model{a},
		},
		"Used": {
			reason: "Uses of a model as a whole, of what leads to a commit and of the commit all count.",
			do: func(t *testing.T, h *hubtest.Hub, c hub.Cache) {
				t.Helper()
				if err := download(t, h, c, "acme/a", "main"); err != nil {
					t.Fatalf("download(...): %v", err)
				}
				for i, rev := range []string{"", "main", "main", commitA, "other"} {
					if err := Used(t.Context(), c, "acme/a", rev, used.AddDate(0, 0, -i)); err != nil {
						t.Fatalf("Used(...): %v", err)
					}
				}
			},
			want: []Model{func() Model { m := a; m.LastAccessed, m.AccessCount = &used, 4; return m }()},
		},
		"Foreign": {
			reason: "What a server downloaded for itself is as old as its newest file.",
			do: func(t *testing.T, h *hubtest.Hub, c hub.Cache) {
				t.Helper()
				if err := download(t, h, c, "acme/a", "main"); err != nil {
					t.Fatalf("download(...): %v", err)
				}
				if err := os.RemoveAll(c.State()); err != nil {
					t.Fatalf("cannot remove: %v", err)
				}
				for _, f := range files(`{"a":1}`) {
					for _, name := range []string{c.Blob("acme/a", hubtest.SHA256(f)), c.Blob("acme/a", hubtest.GitHash(f))} {
						_ = os.Chtimes(name, used, used)
					}
				}
			},
			want: []Model{func() Model { m := a; m.CachedAt = &used; return m }()},
		},
		"Gated": {
			reason: "A failure says why, even if nothing came of it.",
			do: func(t *testing.T, h *hubtest.Hub, c hub.Cache) {
				t.Helper()
				if err := download(t, h, c, "acme/gated", "main"); err == nil {
					t.Fatal("download(...): want an error")
				}
			},
			want: []Model{{ID: "acme/gated", Revision: "main", Status: StatusFailed, Reason: "GatedModel", Message: "accept the license"}},
		},
		"Part": {
			reason: "A failure says how much is there.",
			do: func(t *testing.T, h *hubtest.Hub, c hub.Cache) {
				t.Helper()
				h.Fail(func(w http.ResponseWriter, r hubtest.Request, _ int) bool {
					if r.Kind != hubtest.KindBlob {
						return false
					}
					// The other one first.
					time.Sleep(300 * time.Millisecond)
					w.WriteHeader(http.StatusBadGateway)
					return true
				})
				if err := download(t, h, c, "acme/a", "main"); err == nil {
					t.Fatal("download(...): want an error")
				}
			},
			want: []Model{{ID: "acme/a", Revision: "main", Commit: commitA, Status: StatusFailed, SizeBytes: 7, TotalBytes: 14, Reason: "HubUnavailable", Message: "502"}},
		},
		"Killed": {
			reason: "An agent that was killed couldn't say so.",
			do: func(t *testing.T, _ *hubtest.Hub, c hub.Cache) {
				t.Helper()
				started(t, c)
			},
			want: []Model{{ID: "acme/a", Revision: "main", Commit: commitA, Status: StatusFailed, SizeBytes: 5, TotalBytes: 20, Reason: "Interrupted", Message: "goes on where it was"}},
		},
		"FailedAgain": {
			reason: "A failure to look for news leaves what there is, and is said.",
			do: func(t *testing.T, h *hubtest.Hub, c hub.Cache) {
				t.Helper()
				if err := download(t, h, c, "acme/a", "main"); err != nil {
					t.Fatalf("download(...): %v", err)
				}
				h.Set("acme/a", hubtest.Model{Gated: true})
				if err := download(t, h, c, "acme/a", "main"); err == nil {
					t.Fatal("download(...): want an error")
				}
			},
			want: []Model{func() Model { m := a; m.Reason, m.Message = "GatedModel", "accept the license"; return m }()},
		},
		"Lost": {
			reason: "What somebody else deleted isn't cached.",
			do: func(t *testing.T, h *hubtest.Hub, c hub.Cache) {
				t.Helper()
				if err := download(t, h, c, "acme/a", "main"); err != nil {
					t.Fatalf("download(...): %v", err)
				}
				if err := os.RemoveAll(c.Model("acme/a")); err != nil {
					t.Fatalf("cannot remove: %v", err)
				}
			},
			want: []Model{{ID: "acme/a", Revision: "main", Commit: commitA, Status: StatusFailed, TotalBytes: 14, Reason: "Lost", Message: "somebody else deleted it"}},
		},
		"Evicted": {
			reason: "What was evicted is said, unless it is back.",
			do: func(t *testing.T, h *hubtest.Hub, c hub.Cache) {
				t.Helper()
				for _, m := range []string{"acme/a", "acme/b"} {
					if err := download(t, h, c, m, "main"); err != nil {
						t.Fatalf("download(...): %v", err)
					}
				}
				clean(t, c, prune.Policy{MaxAge: time.Hour})
				if err := download(t, h, c, "acme/a", "main"); err != nil {
					t.Fatalf("download(...): %v", err)
				}
			},
			want: []Model{a, {ID: "acme/b", Revision: "main", Commit: commitB, Status: StatusEvicted, TotalBytes: 9, Reason: "Evicted", Message: "longer than the maxAge", EvictedAt: &cleaned}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h, c := newHub(t), hub.Cache{Home: t.TempDir()}
			tc.do(t, h, c)
			got := scan(t, c).Document(cleaned)
			saying := cmp.Comparer(func(a, b Model) bool {
				x, y := a.Message, b.Message
				a.Message, b.Message = "", ""
				return cmp.Equal(a, b) && (strings.Contains(x, y) || strings.Contains(y, x)) && (x == "") == (y == "")
			})
			if diff := cmp.Diff(tc.want, got.Models, saying, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s\ninv.Document(...): -want, +got:\n%s", tc.reason, diff)
			}
			if !got.MeasuredAt.Equal(cleaned) || got.Volume.CapacityBytes != 1000 || got.Volume.UsedBytes+got.Volume.AvailableBytes != max(1000, got.Volume.UsedBytes) {
				t.Errorf("%s\ninv.Document(...): volume %+v at %s", tc.reason, got.Volume, got.MeasuredAt)
			}
		})
	}
}

// started leaves what a killed agent leaves.
func started(t *testing.T, c hub.Cache) {
	t.Helper()
	blob := strings.Repeat("e", 64)
	if err := os.MkdirAll(c.Model("acme/a")+"/blobs", 0o700); err != nil {
		t.Fatalf("cannot make directory: %v", err)
	}
	if err := os.WriteFile(c.Incomplete("acme/a", blob), []byte("weigh"), 0o600); err != nil {
		t.Fatalf("cannot write: %v", err)
	}
	record := fmt.Sprintf(`{"model":"acme/a","revision":"main","commit":%q,"state":"Downloading","files":[{"path":"model.safetensors","blob":%q,"size":20}]}`, commitA, blob)
	if err := c.WriteState([]byte(record), "downloads", "models--acme--a@main.json"); err != nil {
		t.Fatalf("cannot write: %v", err)
	}
}

func clean(t *testing.T, c hub.Cache, policy prune.Policy) prune.Plan {
	t.Helper()
	inv := scan(t, c)
	plan, err := Clean(t.Context(), c, inv, prune.Decide(inv.Items(cleaned), inv.Space.Available, policy, cleaned), cleaned)
	if err != nil {
		t.Fatalf("Clean(...): %v", err)
	}
	return plan
}

// TestDownloading looks at a download while it is going on.
func TestDownloading(t *testing.T) {
	h, c := newHub(t), hub.Cache{Home: t.TempDir()}
	blocked, release := make(chan struct{}), make(chan struct{})
	h.Fail(func(_ http.ResponseWriter, r hubtest.Request, _ int) bool {
		if r.Kind == hubtest.KindBlob {
			close(blocked)
			<-release
		}
		return false
	})
	done := make(chan error)
	go func() { done <- download(t, h, c, "acme/a", "main") }()
	<-blocked
	var m Model
	for range 100 {
		if m = scan(t, c).Document(cleaned).Models[0]; m.SizeBytes == 7 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if p, ok := m.Percentage(); m.Status != StatusDownloading || p != 50 || !ok {
		t.Errorf("want it to be downloading, 50%%, got %+v", m)
	}
	// And a cleanup leaves it alone.
	if plan := clean(t, c, prune.Policy{MinFree: 1 << 40}); len(plan.Evictions()) > 0 {
		t.Errorf("Clean(...): %+v", plan)
	}
	close(release)
	if err := <-done; err != nil {
		t.Errorf("download(...): %v", err)
	}
	if m := scan(t, c).Document(cleaned).Models[0]; m.Status != StatusCached {
		t.Errorf("want it to be cached, got %+v", m)
	}
}

func TestClean(t *testing.T) {
	h, c := newHub(t), hub.Cache{Home: t.TempDir()}
	for _, m := range []string{"acme/a@main", "acme/b@main", "acme/b@old"} {
		id, rev, _ := strings.Cut(m, "@")
		if err := download(t, h, c, id, rev); err != nil {
			t.Fatalf("download(...): %v", err)
		}
	}
	if err := Used(t.Context(), c, "acme/a", "", cleaned); err != nil {
		t.Fatalf("Used(...): %v", err)
	}
	plan := clean(t, c, prune.Policy{MaxAge: 24 * time.Hour, InUse: []string{"acme/b@main"}})
	var got []string
	for _, d := range plan.Decisions {
		got = append(got, fmt.Sprintf("%s@%s %t %d", d.Model, d.Commit[:1], d.Evict, d.Frees))
	}
	// The weights are those of the other commit as well.
	want := []string{"acme/b@1 true 9", "acme/b@2 false 0", "acme/a@1 false 0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Clean(...): -want, +got:\n%s", diff)
	}
	d := scan(t, c).Document(cleaned)
	if diff := cmp.Diff(&Cleanup{At: cleaned, Evicted: 1, FreedBytes: 9}, d.LastCleanup); diff != "" {
		t.Errorf("LastCleanup: -want, +got:\n%s", diff)
	}
	statuses := map[string]Status{}
	for _, m := range d.Models {
		statuses[m.ID+"@"+m.Commit[:1]] = m.Status
	}
	if diff := cmp.Diff(map[string]Status{"acme/a@1": StatusCached, "acme/b@1": StatusEvicted, "acme/b@2": StatusCached}, statuses); diff != "" {
		t.Errorf("statuses: -want, +got:\n%s", diff)
	}
}

// TestItems is about loose blobs, which may be those of a server that is
// downloading for itself.
func TestItems(t *testing.T) {
	c := hub.Cache{Home: t.TempDir()}
	if err := os.MkdirAll(c.Model("acme/a")+"/blobs", 0o700); err != nil {
		t.Fatalf("cannot make directory: %v", err)
	}
	name := c.Incomplete("acme/a", strings.Repeat("e", 64))
	if err := os.WriteFile(name, []byte("weigh"), 0o600); err != nil {
		t.Fatalf("cannot write: %v", err)
	}
	for age, busy := range map[time.Duration]bool{time.Minute: true, 2 * time.Hour: false} {
		at := cleaned.Add(-age)
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatalf("cannot set times: %v", err)
		}
		want := []prune.Item{{Model: "acme/a", Blobs: map[string]int64{strings.Repeat("e", 64) + ".incomplete": 5}, Busy: busy, CachedAt: at}}
		if diff := cmp.Diff(want, scan(t, c).Items(cleaned)); diff != "" {
			t.Errorf("inv.Items(...): %s old: -want, +got:\n%s", age, diff)
		}
	}
}

func TestUsedInvalid(t *testing.T) {
	c := hub.Cache{Home: t.TempDir()}
	if err := Used(t.Context(), c, "../etc", "", used); hub.ReasonOf(err) != hub.ReasonInvalid {
		t.Errorf("Used(...): want %s, got %v", hub.ReasonInvalid, err)
	}
}

// TestUsedTogether counts each of many uses at once.
func TestUsedTogether(t *testing.T) {
	c := hub.Cache{Home: t.TempDir()}
	errs := make(chan error)
	for range 10 {
		go func() { errs <- Used(context.WithoutCancel(t.Context()), c, "acme/a", "main", used) }()
	}
	for range 10 {
		if err := <-errs; err != nil {
			t.Errorf("Used(...): %v", err)
		}
	}
	if got := scan(t, c).Uses["acme/a@main"]; got.Count != 10 || !got.Last.Equal(used) {
		t.Errorf("want 10 uses, got %+v", got)
	}
}

func TestMarshal(t *testing.T) {
	long := strings.Repeat("ä long story\n", 100)
	many := Document{MeasuredAt: used, LastCleanup: &Cleanup{At: cleaned, Message: long}}
	for i := range 1000 {
		at := cached.Add(time.Duration(i) * time.Hour)
		m := Model{ID: fmt.Sprintf("acme/%s%04d", strings.Repeat("x", 150), i), Commit: commitA, Revision: strings.Repeat("r", 900), Status: StatusCached, SizeBytes: int64(i), Message: long}
		if i%4 == 0 {
			m.Status, m.EvictedAt = StatusEvicted, &at
		}
		many.Models = append(many.Models, m)
	}
	b, err := many.Marshal()
	if err != nil || len(b) > MaxBytes {
		t.Fatalf("d.Marshal(): %d bytes, %v", len(b), err)
	}
	got, err := Unmarshal(b)
	if err != nil {
		t.Fatalf("Unmarshal(...): %v", err)
	}
	if len(got.Models)+got.Omitted != 1000 || len(got.Models) < 100 {
		t.Errorf("want 1000 models listed or omitted, got %d and %d", len(got.Models), got.Omitted)
	}
	for i, m := range got.Models {
		// The largest ones stay, and they are sorted.
		if m.Status != StatusCached || m.SizeBytes < int64(1000-2*len(got.Models)) || len(m.Message) > MaxMessage || (i > 0 && got.Models[i-1].ID >= m.ID) {
			t.Errorf("model %d is %.200v", i, m)
		}
	}
	if len(many.Models) != 1000 || many.LastCleanup.Message != long {
		t.Error("d.Marshal() changed the document")
	}

	few := Document{Version: Version, MeasuredAt: used, Volume: Volume{1000, 400, 500}, Models: []Model{{ID: "acme/a", Status: StatusCached, CachedAt: &cached}}}
	if b, err = few.Marshal(); err != nil {
		t.Fatalf("d.Marshal(): %v", err)
	}
	want := `{"version":"v1","measuredAt":"2026-05-20T12:00:00Z","volume":{"capacityBytes":1000,"availableBytes":400,"usedBytes":500},"models":[{"id":"acme/a","status":"Cached","sizeBytes":0,"cachedAt":"2026-05-01T12:00:00Z"}]}`
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("d.Marshal(): -want, +got:\n%s", diff)
	}
	back, err := Unmarshal(b)
	if diff := cmp.Diff(few, back); err != nil || diff != "" {
		t.Errorf("Unmarshal(...): %v, -want, +got:\n%s", err, diff)
	}
}

func TestUnmarshalRefused(t *testing.T) {
	for name, s := range map[string]string{"NoJSON": "{", "OtherVersion": `{"version":"v2"}`, "NoVersion": `{}`} {
		t.Run(name, func(t *testing.T) {
			if got, err := Unmarshal([]byte(s)); err == nil {
				t.Errorf("Unmarshal(%q): want an error, got %+v", s, got)
			}
		})
	}
}

func TestPercentages(t *testing.T) {
	for _, tc := range []struct {
		size, total int64
		want        int32
		ok          bool
	}{{0, 0, 0, false}, {5, 0, 0, false}, {0, 10, 0, true}, {999, 1000, 99, true}, {1000, 1000, 100, true}, {1001, 1000, 100, true}} {
		if got, ok := (Model{SizeBytes: tc.size, TotalBytes: tc.total}).Percentage(); got != tc.want || ok != tc.ok {
			t.Errorf("m.Percentage(): %+v, got %d, %t", tc, got, ok)
		}
	}
	for v, want := range map[Volume]int32{{}: 0, {CapacityBytes: 1000, AvailableBytes: 1000}: 0, {CapacityBytes: 1000, AvailableBytes: 254}: 75, {CapacityBytes: 1000}: 100} {
		if got := v.UsagePercentage(); got != want {
			t.Errorf("v.UsagePercentage(): %+v: want %d, got %d", v, want, got)
		}
	}
}
