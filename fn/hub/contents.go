package hub

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/crossplane/function-sdk-go/errors"
	"github.com/gofrs/flock"
)

// Contents of a model's directory: what is there, whoever put it there.
type Contents struct {
	Model string
	// Revisions, sorted by commit. One that is being downloaded is among them.
	Revisions []Revision
	// Loose blobs, which belong to none of them, and their sizes by file name.
	Loose map[string]int64
	// Modified is when the newest of the loose blobs was.
	Modified time.Time
}

// A Revision of a model on the volume.
type Revision struct {
	Commit string
	// Refs that lead to it, sorted.
	Refs []string
	// Blobs on the volume that it uses, complete or not, and their sizes by file
	// name. Other revisions may use them as well.
	Blobs map[string]int64
	// Total size of the revision's files in bytes, once it is complete; 0 if it
	// isn't and nobody knows.
	Total int64
	// Complete is whether all of its files are there with their sizes.
	Complete bool
	// Modified is when the newest of its blobs was.
	Modified time.Time
	// Record of its download, if it was by our agent. If it was downloaded by
	// several names, it is the one of the first of them.
	Record *Record
}

// Size on the volume, in bytes.
func (r Revision) Size() int64 {
	var n int64
	for _, s := range r.Blobs {
		n += s
	}
	return n
}

// Models that have a directory in the cache, sorted.
func (c Cache) Models() ([]string, error) {
	dir, err := os.ReadDir(c.Hub())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Wrap(err, "cannot list models on the volume")
	}
	var out []string
	for _, e := range dir {
		if id, ok := ModelOf(e.Name()); ok && e.IsDir() {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Contents of a model's directory. Records are those of the cache.
func (c Cache) Contents(model string, records []Record) (Contents, error) {
	onVolume, err := c.blobs(model)
	if err != nil {
		return Contents{}, err
	}
	revisions := map[string]*Revision{}
	dir, err := os.ReadDir(filepath.Join(c.Model(model), "snapshots"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Contents{}, errors.Wrapf(err, "cannot list snapshots of %s", model)
	}
	for _, e := range dir {
		if !IsCommit(e.Name()) {
			continue
		}
		r := &Revision{Commit: e.Name(), Blobs: map[string]int64{}}
		if err := c.snapshot(model, r, onVolume); err != nil {
			return Contents{}, err
		}
		revisions[r.Commit] = r
	}
	for _, rec := range records {
		if rec.Model == model && rec.Commit != "" {
			recorded(revisions, rec, onVolume)
		}
	}

	out := Contents{Model: model, Loose: map[string]int64{}}
	used := map[string]bool{}
	for _, commit := range slices.Sorted(maps.Keys(revisions)) {
		r := revisions[commit]
		for b := range r.Blobs {
			used[b] = true
			r.Modified = later(r.Modified, onVolume[b])
		}
		if len(r.Blobs) == 0 {
			continue
		}
		r.Refs = c.refs(model, commit)
		out.Revisions = append(out.Revisions, *r)
	}
	for b, i := range onVolume {
		if !used[b] {
			out.Loose[b] = i.Size()
			out.Modified = later(out.Modified, i)
		}
	}
	return out, nil
}

func later(t time.Time, i fs.FileInfo) time.Time {
	if i != nil && i.ModTime().After(t) {
		return i.ModTime().UTC().Truncate(time.Second)
	}
	return t
}

// blobs of a model by their file names.
func (c Cache) blobs(model string) (map[string]fs.FileInfo, error) {
	dir, err := os.ReadDir(filepath.Join(c.Model(model), "blobs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Wrapf(err, "cannot list what there is of %s", model)
	}
	out := map[string]fs.FileInfo{}
	for _, e := range dir {
		i, err := e.Info()
		if err != nil || !i.Mode().IsRegular() {
			// It went away since, or is nothing of the layout.
			continue
		}
		out[e.Name()] = i
	}
	return out, nil
}

// snapshot reads which blobs a revision links to.
func (c Cache) snapshot(model string, r *Revision, onVolume map[string]fs.FileInfo) error {
	r.Complete = true
	err := filepath.WalkDir(c.Snapshot(model, r.Commit), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink == 0 {
			return err
		}
		to, err := os.Readlink(name)
		if err != nil {
			return err
		}
		b := filepath.Base(to)
		i := onVolume[b]
		if i == nil {
			r.Complete = false
			return nil
		}
		r.Blobs[b] = i.Size()
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Wrapf(err, "cannot read snapshot %s of %s", r.Commit, model)
	}
	r.Total = r.Size()
	return nil
}

// recorded adds what a record knows of a revision.
func recorded(revisions map[string]*Revision, rec Record, onVolume map[string]fs.FileInfo) {
	r := revisions[rec.Commit]
	linked := r != nil
	if r == nil {
		r = &Revision{Commit: rec.Commit, Blobs: map[string]int64{}}
		revisions[rec.Commit] = r
	}
	if r.Record == nil {
		r.Record = &rec
	}
	complete := linked
	for b, size := range Blobs(rec.Files) {
		if i := onVolume[b]; i != nil {
			r.Blobs[b] = i.Size()
		}
		if i := onVolume[b+suffixIncomplete]; i != nil {
			r.Blobs[b+suffixIncomplete] = i.Size()
		}
		if i := onVolume[b]; i == nil || i.Size() != size {
			complete = false
		}
	}
	r.Complete = complete && (r.Complete || !linked)
	r.Total = rec.Size()
}

// refs that lead to a commit.
func (c Cache) refs(model, commit string) []string {
	root := filepath.Join(c.Model(model), "refs")
	var out []string
	_ = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // One that can't be read leads nowhere.
		}
		b, err := os.ReadFile(name) //nolint:gosec // It is one of the cache.
		if err != nil || strings.TrimSpace(string(b)) != commit {
			return nil //nolint:nilerr // One that can't be read leads nowhere.
		}
		if rel, err := filepath.Rel(root, name); err == nil {
			out = append(out, filepath.ToSlash(rel))
		}
		return nil
	})
	slices.Sort(out)
	return out
}

// ErrBusy is returned if a model cannot be deleted, because an agent is
// downloading it.
var ErrBusy = errors.New("is being downloaded")

// Evict a commit of a model, and what no other commit of it uses; if the commit
// is empty, the loose blobs. A reader finds all of it or nothing. It returns how
// many bytes that freed.
func (c Cache) Evict(model, commit string) (int64, error) {
	name := c.modelLock(model)
	if err := os.MkdirAll(filepath.Dir(name), modeDir); err != nil {
		return 0, errors.Wrap(err, "cannot make directory of locks")
	}
	l := flock.New(name, flock.SetPermissions(modeFile))
	ok, err := l.TryLock()
	defer l.Close() //nolint:errcheck // There is nothing to do about it.
	if err != nil {
		return 0, errors.Wrapf(err, "cannot lock %s", model)
	}
	if !ok {
		return 0, ErrBusy
	}

	records, err := c.Records()
	if err != nil {
		return 0, err
	}
	has, err := c.Contents(model, records)
	if err != nil {
		return 0, err
	}
	trash := c.State(dirTrash)
	if err := os.MkdirAll(trash, modeDir); err != nil {
		return 0, errors.Wrap(err, "cannot make directory of trash")
	}
	defer func() { _ = os.RemoveAll(trash) }()

	gone, refs := has.without(commit)
	// First nothing leads to it any more, then it disappears at once, then its
	// contents go.
	for _, ref := range refs {
		if err := os.Remove(c.ref(model, ref)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, errors.Wrapf(err, "cannot remove ref %s of %s", ref, model)
		}
	}
	if commit != "" {
		if err := discard(c.Snapshot(model, commit), trash); err != nil {
			return 0, err
		}
		if err := discard(filepath.Join(c.Model(model), ".no_exist", commit), trash); err != nil {
			return 0, err
		}
	}
	var freed int64
	for _, b := range slices.Sorted(maps.Keys(gone)) {
		if err := os.Remove(c.Blob(model, b)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return freed, errors.Wrapf(err, "cannot remove %s of %s", b, model)
		}
		freed += gone[b]
	}
	return freed, c.cleared(model, commit, records, has, trash)
}

// cleared removes what is left of a model after one of its commits is gone.
func (c Cache) cleared(model, commit string, records []Record, has Contents, trash string) error {
	for _, r := range records {
		if r.Model == model && r.Commit == commit && commit != "" {
			if err := c.Forget(r.Model, r.Revision); err != nil {
				return err
			}
		}
	}
	others := slices.ContainsFunc(has.Revisions, func(r Revision) bool { return r.Commit != commit })
	if others || (commit != "" && len(has.Loose) > 0) {
		return nil
	}
	return discard(c.Model(model), trash)
}

// without a commit, these blobs and refs are of no use.
func (c Contents) without(commit string) (blobs map[string]int64, refs []string) {
	if commit == "" {
		return c.Loose, nil
	}
	blobs = map[string]int64{}
	kept := map[string]bool{}
	for _, r := range c.Revisions {
		if r.Commit == commit {
			maps.Copy(blobs, r.Blobs)
			refs = r.Refs
			continue
		}
		for b := range r.Blobs {
			kept[b] = true
		}
	}
	maps.DeleteFunc(blobs, func(b string, _ int64) bool { return kept[b] })
	return blobs, refs
}

// discard a directory at once, whatever is in it. It is then in the trash, where
// it may take its time to go.
func discard(name, trash string) error {
	to, err := os.MkdirTemp(trash, "gone-")
	if err != nil {
		return errors.Wrap(err, "cannot make directory of trash")
	}
	if err := os.Rename(name, filepath.Join(to, filepath.Base(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Wrapf(err, "cannot remove %s", name)
	}
	return nil
}
