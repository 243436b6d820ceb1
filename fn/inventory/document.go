package inventory

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/crossplane/function-sdk-go/errors"
)

// Version of the document that this program writes and reads.
const Version = "v1"

// Key of the document in its ConfigMap.
const Key = "inventory.json"

// Bounds of a document. A ConfigMap may have 1 MiB, and every reconcile of the
// cache reads it. These keep it below 256 KiB, whatever is on the volume.
const (
	// MaxModels that a document lists.
	MaxModels = 200
	// MaxMessage is how long a message may be, in bytes.
	MaxMessage = 400
	// MaxBytes of a document.
	MaxBytes = 256 << 10
)

// A Status of a model in the cache.
type Status string

// Statuses.
const (
	// StatusDownloading is a model that an agent is downloading at this moment.
	StatusDownloading Status = "Downloading"
	// StatusCached is a model all files of which are there.
	StatusCached Status = "Cached"
	// StatusFailed is a model that isn't all there, and nobody is at it.
	StatusFailed Status = "Failed"
	// StatusEvicted is a model that a cleanup let go of, and that did not come
	// back.
	StatusEvicted Status = "Evicted"
)

// A Document is what was measured on a volume. Nothing in it is an estimate:
// what is not known is absent.
type Document struct {
	Version string `json:"version"`
	// MeasuredAt is when.
	MeasuredAt time.Time `json:"measuredAt"`
	Volume     Volume    `json:"volume"`
	// Models, sorted by id and commit.
	Models []Model `json:"models"`
	// Omitted is how many models are not listed, since there are too many. Those
	// are evicted ones, oldest first, and after them the smallest.
	Omitted int `json:"omitted,omitempty"`
	// LastCleanup is what the last cleanup was; absent before the first one.
	LastCleanup *Cleanup `json:"lastCleanup,omitempty"`
}

// A Volume that the cache is on.
type Volume struct {
	CapacityBytes  int64 `json:"capacityBytes"`
	AvailableBytes int64 `json:"availableBytes"`
	// UsedBytes by files of the cache, whether or not they belong to a model.
	UsedBytes int64 `json:"usedBytes"`
}

// UsagePercentage of the volume, by the cache and anything else on it.
func (v Volume) UsagePercentage() int32 {
	if v.CapacityBytes <= 0 {
		return 0
	}
	return int32(min(max(float64(v.CapacityBytes-v.AvailableBytes)/float64(v.CapacityBytes), 0), 1)*100 + 0.5)
}

// A Model at a commit.
type Model struct {
	ID string `json:"id"`
	// Revision that was asked for, or else that leads to the commit; absent if
	// that is unknown.
	Revision string `json:"revision,omitempty"`
	// Commit; absent if it never became known.
	Commit string `json:"commit,omitempty"`
	Status Status `json:"status"`
	// Reason and Message of a failure or an eviction. A model that is cached may
	// have them, too, if a later download failed and left it as it was.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// SizeBytes on the volume, so far.
	SizeBytes int64 `json:"sizeBytes"`
	// TotalBytes that it has when it is complete; absent if unknown.
	TotalBytes int64 `json:"totalBytes,omitempty"`
	// CachedAt is when it was complete.
	CachedAt *time.Time `json:"cachedAt,omitempty"`
	// LastAccessed is the last use that was recorded; absent if none was. A
	// clean-up records the models that endpoints use at that time, and no single
	// request.
	LastAccessed *time.Time `json:"lastAccessed,omitempty"`
	// AccessCount of the recorded uses; absent if there are none.
	AccessCount int64 `json:"accessCount,omitempty"`
	// EvictedAt is when a cleanup let go of it.
	EvictedAt *time.Time `json:"evictedAt,omitempty"`
}

// Percentage that is there of a model being downloaded. It is 100 only when all
// is.
func (m Model) Percentage() (int32, bool) {
	if m.TotalBytes <= 0 {
		return 0, false
	}
	return int32(min(m.SizeBytes*100/m.TotalBytes, 100)), true //nolint:gosec // At most 100.
}

// A Cleanup of the cache.
type Cleanup struct {
	At time.Time `json:"at"`
	// Evicted models, and how many bytes that freed.
	Evicted    int   `json:"evicted"`
	FreedBytes int64 `json:"freedBytes"`
	// MissingBytes to what should be free, which nothing that could go made up
	// for.
	MissingBytes int64 `json:"missingBytes,omitempty"`
	// Message for people.
	Message string `json:"message,omitempty"`
}

// Marshal a document within its bounds.
func (d Document) Marshal() ([]byte, error) {
	d.Version = Version
	d.Models = slices.Clone(d.Models)
	for i := range d.Models {
		d.Models[i].Message = short(d.Models[i].Message)
	}
	if d.LastCleanup != nil {
		c := *d.LastCleanup
		c.Message = short(c.Message)
		d.LastCleanup = &c
	}
	slices.SortFunc(d.Models, importance)
	if len(d.Models) > MaxModels {
		d.Omitted += len(d.Models) - MaxModels
		d.Models = d.Models[:MaxModels]
	}
	for {
		kept := slices.Clone(d.Models)
		slices.SortFunc(kept, Model.compare)
		out := d
		out.Models = kept
		b, err := json.Marshal(out)
		if err != nil {
			return nil, errors.Wrap(err, "cannot marshal inventory")
		}
		if len(b) <= MaxBytes || len(d.Models) == 0 {
			return b, nil
		}
		d.Models = d.Models[:len(d.Models)-1]
		d.Omitted++
	}
}

// Unmarshal a document. One of another version is an error: it means that the
// agent is of another version than the function, and will be replaced.
func Unmarshal(b []byte) (Document, error) {
	d := Document{}
	if err := json.Unmarshal(b, &d); err != nil {
		return Document{}, errors.Wrap(err, "cannot unmarshal inventory")
	}
	if d.Version != Version {
		return Document{}, errors.Errorf("the inventory is of version %q, not %q: the agent that wrote it is older or newer than this function", d.Version, Version)
	}
	return d, nil
}

// short enough for a document.
func short(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "")), " ")
	if len(s) <= MaxMessage {
		return s
	}
	return strings.ToValidUTF8(s[:MaxMessage-3], "") + "..."
}

func (m Model) compare(o Model) int {
	if n := strings.Compare(m.ID, o.ID); n != 0 {
		return n
	}
	if n := strings.Compare(m.Commit, o.Commit); n != 0 {
		return n
	}
	return strings.Compare(m.Revision, o.Revision)
}

// importance of models, most important first.
func importance(a, b Model) int {
	evicted := func(m Model) bool { return m.Status == StatusEvicted }
	switch {
	case evicted(a) && !evicted(b):
		return 1
	case evicted(b) && !evicted(a):
		return -1
	case evicted(a) && a.EvictedAt != nil && b.EvictedAt != nil && !a.EvictedAt.Equal(*b.EvictedAt):
		return b.EvictedAt.Compare(*a.EvictedAt)
	case a.SizeBytes != b.SizeBytes:
		if a.SizeBytes > b.SizeBytes {
			return -1
		}
		return 1
	}
	return a.compare(b)
}
