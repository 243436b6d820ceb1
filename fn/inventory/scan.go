package inventory

import (
	"encoding/json"
	"os"
	"slices"
	"time"

	"github.com/crossplane/function-sdk-go/errors"

	"github.com/aim-engine/function-aim/fn/hub"
	"github.com/aim-engine/function-aim/fn/prune"
)

// An Inventory is what is on a volume, in more detail than a document has.
type Inventory struct {
	Space    hub.Space
	Contents []hub.Contents
	Records  []hub.Record
	// Busy models are being downloaded.
	Busy map[string]bool
	// Uses by model, and by model@commit.
	Uses map[string]Use
	// History of evictions.
	History History
}

// A Use of a model that was recorded.
type Use struct {
	Model string `json:"model"`
	// Revision that was used; empty if that is unknown.
	Revision string    `json:"revision,omitempty"`
	Last     time.Time `json:"last"`
	Count    int64     `json:"count"`
}

// A History of what cleanups did.
type History struct {
	Last *Cleanup `json:"last,omitempty"`
	// Evictions, oldest first.
	Evictions []Eviction `json:"evictions,omitempty"`
}

// An Eviction of a model.
type Eviction struct {
	Model     string    `json:"model"`
	Commit    string    `json:"commit,omitempty"`
	Refs      []string  `json:"refs,omitempty"`
	SizeBytes int64     `json:"sizeBytes"`
	At        time.Time `json:"at"`
	Reason    string    `json:"reason"`
}

// maxEvictions that are remembered.
const maxEvictions = 100

const (
	fileHistory = "history.json"
	dirUsage    = "usage"
	lockState   = "state"
)

// Scan a cache. A capacity of the volume that is less than its file system says
// may be given; 0 is none.
func Scan(c hub.Cache, capacity int64) (Inventory, error) {
	inv := Inventory{Busy: map[string]bool{}}
	var err error
	if inv.Space, err = c.Space(capacity); err != nil {
		return Inventory{}, err
	}
	if inv.Records, err = c.Records(); err != nil {
		return Inventory{}, err
	}
	models, err := c.Models()
	if err != nil {
		return Inventory{}, err
	}
	for _, m := range models {
		// In this order: one that ends in between is complete.
		inv.Busy[m] = c.Downloading(m)
		contents, err := c.Contents(m, inv.Records)
		if err != nil {
			return Inventory{}, err
		}
		inv.Contents = append(inv.Contents, contents)
	}
	for _, r := range inv.Records {
		inv.Busy[r.Model] = inv.Busy[r.Model] || c.Downloading(r.Model)
	}
	if inv.Uses, err = readUses(c); err != nil {
		return Inventory{}, err
	}
	inv.History, err = readHistory(c)
	return inv, err
}

func readUses(c hub.Cache) (map[string]Use, error) {
	dir, err := os.ReadDir(c.State(dirUsage))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Wrap(err, "cannot list uses")
	}
	out := map[string]Use{}
	for _, e := range dir {
		b, err := os.ReadFile(c.State(dirUsage, e.Name()))
		if err != nil {
			continue
		}
		var uses []Use
		// One that can't be read was not written by us.
		if json.Unmarshal(b, &uses) != nil {
			continue
		}
		for _, u := range uses {
			out[key(u.Model, u.Revision)] = u
		}
	}
	return out, nil
}

func key(model, revision string) string {
	if revision == "" {
		return model
	}
	return model + "@" + revision
}

// use of a revision, by any of its names. One of the model as a whole counts for
// each of its revisions.
func (inv Inventory) use(model string, r hub.Revision) Use {
	names := append([]string{"", r.Commit}, r.Refs...)
	if r.Record != nil && !slices.Contains(names, r.Record.Revision) {
		names = append(names, r.Record.Revision)
	}
	out := Use{}
	for _, n := range names {
		u, ok := inv.Uses[key(model, n)]
		if !ok {
			continue
		}
		out.Count += u.Count
		if u.Last.After(out.Last) {
			out.Last = u.Last
		}
	}
	return out
}

// cachedAt is when a revision was complete, or else when it last grew.
func cachedAt(r hub.Revision) time.Time {
	if r.Record != nil && !r.Record.CachedAt.IsZero() {
		return r.Record.CachedAt
	}
	return r.Modified
}

// recently is how long ago loose blobs must have grown for nobody to be at them:
// a server that downloads for itself links a file only when it is complete, and
// tells nobody.
const recently = time.Hour

// Items that a cleanup can decide about.
func (inv Inventory) Items(now time.Time) []prune.Item {
	var out []prune.Item
	for _, c := range inv.Contents {
		for _, r := range c.Revisions {
			u := inv.use(c.Model, r)
			out = append(out, prune.Item{
				Model: c.Model, Commit: r.Commit, Refs: names(r), Blobs: r.Blobs,
				Busy:     inv.Busy[c.Model] || (!r.Complete && now.Sub(r.Modified) < recently && r.Record == nil),
				CachedAt: cachedAt(r), LastUsed: u.Last, Uses: u.Count,
			})
		}
		if len(c.Loose) > 0 {
			out = append(out, prune.Item{
				Model: c.Model, Blobs: c.Loose,
				Busy:     inv.Busy[c.Model] || now.Sub(c.Modified) < recently,
				CachedAt: c.Modified,
			})
		}
	}
	return out
}

// names of a revision: its refs, and what it was asked for by.
func names(r hub.Revision) []string {
	out := slices.Clone(r.Refs)
	if r.Record != nil && !slices.Contains(out, r.Record.Revision) {
		out = append(out, r.Record.Revision)
	}
	return out
}

// Document of an inventory, as of now.
func (inv Inventory) Document(now time.Time) Document {
	d := Document{
		Version:    Version,
		MeasuredAt: now.UTC().Truncate(time.Second),
		Volume: Volume{
			CapacityBytes:  inv.Space.Capacity,
			AvailableBytes: inv.Space.Available,
			UsedBytes:      inv.Space.Used,
		},
		Models:      []Model{},
		LastCleanup: inv.History.Last,
	}
	listed := map[string]bool{}
	for _, c := range inv.Contents {
		for _, r := range c.Revisions {
			m := inv.model(c.Model, r)
			listed[key(m.ID, m.Commit)] = true
			d.Models = append(d.Models, m)
		}
	}
	// Downloads that have nothing on the volume.
	for _, r := range inv.Records {
		if k := key(r.Model, r.Commit); r.Commit == "" || !listed[k] {
			d.Models = append(d.Models, inv.nothing(r))
			listed[k] = true
		}
	}
	// The last eviction of what isn't back.
	for _, e := range slices.Backward(inv.History.Evictions) {
		if k := key(e.Model, e.Commit); !listed[k] && e.Commit != "" {
			listed[k] = true
			m := Model{ID: e.Model, Commit: e.Commit, Status: StatusEvicted, Reason: "Evicted", Message: e.Reason, TotalBytes: e.SizeBytes, EvictedAt: &e.At}
			if len(e.Refs) > 0 {
				m.Revision = e.Refs[0]
			}
			d.Models = append(d.Models, m)
		}
	}
	slices.SortFunc(d.Models, Model.compare)
	return d
}

// model of a revision that has something on the volume.
func (inv Inventory) model(id string, r hub.Revision) Model {
	m := Model{ID: id, Commit: r.Commit, SizeBytes: r.Size(), TotalBytes: r.Total}
	switch {
	case r.Record != nil:
		m.Revision = r.Record.Revision
		if r.Record.State == hub.StateFailed {
			m.Reason, m.Message = string(r.Record.Reason), r.Record.Message
		}
	case len(r.Refs) > 0:
		m.Revision = r.Refs[0]
	}
	if u := inv.use(id, r); u.Count > 0 {
		m.LastAccessed, m.AccessCount = &u.Last, u.Count
	}
	switch {
	case r.Complete:
		m.Status = StatusCached
		t := cachedAt(r)
		m.CachedAt = &t
	case inv.Busy[id]:
		m.Status, m.Reason, m.Message = StatusDownloading, "", ""
	default:
		m.Status = StatusFailed
		if r.Record == nil {
			m.TotalBytes = 0
		}
		if m.Reason == "" {
			m.Reason = string(hub.ReasonInterrupted)
			m.Message = "the download ended without saying why; the next one goes on where it was"
		}
	}
	return m
}

// nothing of a download is on the volume.
func (inv Inventory) nothing(r hub.Record) Model {
	m := Model{ID: r.Model, Revision: r.Revision, Commit: r.Commit, Status: StatusFailed, TotalBytes: r.Size()}
	switch {
	case r.State == hub.StateFailed:
		m.Reason, m.Message = string(r.Reason), r.Message
	case inv.Busy[r.Model]:
		m.Status = StatusDownloading
	case r.State == hub.StateCached:
		m.Reason, m.Message = "Lost", "it was cached, but somebody else deleted it from the volume"
	default:
		m.Reason = string(hub.ReasonInterrupted)
		m.Message = "the download ended without saying why; the next one goes on where it was"
	}
	return m
}
