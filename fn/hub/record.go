package hub

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/crossplane/function-sdk-go/errors"
)

// A State of a download.
type State string

// States of a download.
const (
	StateDownloading State = "Downloading"
	StateCached      State = "Cached"
	StateFailed      State = "Failed"
)

// A Record of the last download of a model at a revision.
type Record struct {
	Model string `json:"model"`
	// Revision that was asked for.
	Revision string `json:"revision"`
	// Commit that the revision was; empty if that never became known.
	Commit string `json:"commit,omitempty"`
	// Selection and the Files that it selected.
	Selection Selection `json:"selection,omitzero"`
	Files     []File    `json:"files,omitempty"`

	State State `json:"state"`
	// Reason and Message of a failure.
	Reason  Reason `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`

	StartedAt time.Time `json:"startedAt"`
	// CachedAt is when the last byte was there and checked.
	CachedAt time.Time `json:"cachedAt,omitzero"`
}

// Size of the record's files; a content that two files have counts once.
func (r Record) Size() int64 {
	var n int64
	for _, s := range Blobs(r.Files) {
		n += s
	}
	return n
}

// Blobs of files, with their sizes.
func Blobs(files []File) map[string]int64 {
	blobs := make(map[string]int64, len(files))
	for _, f := range files {
		blobs[f.Blob] = f.Size
	}
	return blobs
}

// Records of all downloads, sorted by model and revision.
func (c Cache) Records() ([]Record, error) {
	dir, err := os.ReadDir(c.State(dirDownloads))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Wrap(err, "cannot list downloads")
	}
	var out []Record
	for _, e := range dir {
		b, err := os.ReadFile(c.State(dirDownloads, e.Name()))
		if err != nil {
			// It went away since.
			continue
		}
		r := Record{}
		// One that cannot be read is of another version or of nobody.
		if err := json.Unmarshal(b, &r); err != nil || recordName(r.Model, r.Revision) != e.Name() {
			continue
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Record) int {
		if n := strings.Compare(a.Model, b.Model); n != 0 {
			return n
		}
		return strings.Compare(a.Revision, b.Revision)
	})
	return out, nil
}

// record of a model at a revision, if there is one.
func (c Cache) record(model, revision string) Record {
	r := Record{}
	b, err := os.ReadFile(c.State(dirDownloads, recordName(model, revision)))
	if err != nil || json.Unmarshal(b, &r) != nil {
		return Record{}
	}
	return r
}

func (c Cache) writeRecord(r *Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return errors.Wrap(err, "cannot marshal record of a download")
	}
	return c.WriteState(b, dirDownloads, recordName(r.Model, r.Revision))
}

// Forget the download of a model at a revision.
func (c Cache) Forget(model, revision string) error {
	if err := os.Remove(c.State(dirDownloads, recordName(model, revision))); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Wrap(err, "cannot forget a download")
	}
	return nil
}
