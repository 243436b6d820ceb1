package hub

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/crossplane/function-sdk-go/errors"
	"github.com/gofrs/flock"
	"golang.org/x/sync/errgroup"
)

// A Request to have a model in the cache.
type Request struct {
	Model string
	// Revision is a branch, a tag or a commit.
	Revision string
	// Selection of its files; what the engines need unless set.
	Selection Selection
	// Parallel files; 4 unless set.
	Parallel int
	// MaxSize of the model; 0 is no limit.
	MaxSize int64
	// Reserve is what must remain available on the volume.
	Reserve int64
	// Capacity of the volume, if that is less than its file system says.
	Capacity int64
	// Verify the contents that are there already, rather than their sizes only.
	Verify bool
	// Now is the time.
	Now func() time.Time
	// Started is called as soon as it is known how much there is to do.
	Started func(*Progress)
	// Notify is told what a person may want to know.
	Notify func(message string)
}

// A Progress of a download. It may be read at any time.
type Progress struct {
	// Commit that is downloaded, its files and their size in bytes.
	Commit string
	Files  int
	Total  int64

	done        atomic.Int64
	transferred atomic.Int64
}

func (p *Progress) add(n int64) { p.done.Add(n) }

// Done bytes, those that were there already included.
func (p *Progress) Done() int64 { return p.done.Load() }

// A download in progress.
type download struct {
	client   *Client
	cache    Cache
	model    string
	commit   string
	verify   bool
	limit    int64
	progress *Progress
	notify   func(string)
}

// Download a model into a cache. It returns the record of it, which is also in
// the cache, whether it succeeds or not.
func Download(ctx context.Context, client *Client, cache Cache, r Request) (Record, error) {
	if r.Notify == nil {
		r.Notify = func(string) {}
	}
	if err := errors.Join(Valid(r.Model, r.Revision), r.Selection.Valid()); err != nil {
		return Record{Model: r.Model, Revision: r.Revision, State: StateFailed, Reason: ReasonOf(err), Message: err.Error()}, err
	}
	// Nobody deletes of it meanwhile.
	unlock, err := lock(ctx, cache.modelLock(r.Model), (*flock.Flock).TryRLockContext)
	if err != nil {
		return Record{}, err
	}
	defer unlock()

	before := cache.record(r.Model, r.Revision)
	if !before.Selection.Equal(r.Selection) {
		before = Record{}
	}
	rec := Record{
		Model: r.Model, Revision: r.Revision, Selection: r.Selection,
		State: StateDownloading, StartedAt: r.Now().UTC().Truncate(time.Second),
	}
	transferred, err := run(ctx, client, cache, r, before, &rec)
	if err != nil {
		rec.State, rec.Reason, rec.Message = StateFailed, ReasonOf(err), err.Error()
		// What there was before is still there.
		if rec.Commit == "" {
			rec.Commit, rec.Files = before.Commit, before.Files
		}
	}
	switch {
	case rec.Commit == before.Commit && transferred == 0:
		rec.CachedAt = before.CachedAt
	case err == nil:
		rec.CachedAt = r.Now().UTC().Truncate(time.Second)
	}
	if rec.State == StateCached && rec.CachedAt.IsZero() {
		// A server downloaded it. From now on it is known.
		rec.CachedAt = r.Now().UTC().Truncate(time.Second)
	}
	if werr := cache.writeRecord(&rec); err == nil {
		err = werr
	}
	return rec, err
}

// run a download, and fill in its record. It returns how many bytes came from
// the Hub.
func run(ctx context.Context, client *Client, cache Cache, r Request, before Record, rec *Record) (transferred int64, err error) {
	if err := plan(ctx, client, cache, r, before, rec); err != nil {
		return 0, err
	}
	size := rec.Size()
	if r.MaxSize > 0 && size > r.MaxSize {
		return 0, final(ReasonModelTooLarge, "%s needs %s (%d bytes), but may have %s (%d bytes) at most: raise its maxSize, or exclude files", r.Model, Bytes(size), size, Bytes(r.MaxSize), r.MaxSize)
	}
	missing, err := cache.missing(rec.Model, rec.Files)
	if err != nil {
		return 0, err
	}
	if err := enough(cache, r, missing); err != nil {
		return 0, err
	}
	if err := makeDirs(cache, r.Model); err != nil {
		return 0, err
	}
	if missing > 0 {
		if err := cache.writeRecord(rec); err != nil {
			return 0, err
		}
	}

	d := &download{
		client: client, cache: cache, model: r.Model, commit: rec.Commit, verify: r.Verify, limit: r.Capacity,
		progress: &Progress{Commit: rec.Commit, Files: len(rec.Files), Total: size},
		notify:   r.Notify,
	}
	if r.Started != nil {
		r.Started(d.progress)
	}
	defer func() { transferred = d.progress.transferred.Load() }()
	if err := d.blobs(ctx, rec.Files, orElse(r.Parallel, 4)); err != nil {
		return 0, err
	}
	if err := d.snapshot(rec.Files); err != nil {
		return 0, err
	}
	// A ref leads readers to the snapshot, so it is last.
	if err := d.ref(r.Revision); err != nil {
		return 0, err
	}
	rec.State = StateCached
	return 0, nil
}

// plan which files of which commit are needed.
func plan(ctx context.Context, client *Client, cache Cache, r Request, before Record, rec *Record) error {
	known := before.Commit != "" && len(before.Files) > 0
	if known {
		missing, err := cache.missing(r.Model, before.Files)
		known = err == nil && missing == 0
	}
	// What a commit is doesn't change, and so nobody has to be asked.
	if known && before.Commit == r.Revision {
		rec.Commit, rec.Files = before.Commit, before.Files
		return nil
	}
	err := ask(ctx, client, r, rec)
	if err != nil && known && !IsFinal(err) && ctx.Err() == nil {
		r.Notify(fmt.Sprintf("using %s as it was on %s, which is complete: %v", r.Model, before.CachedAt.Format(time.DateOnly), err))
		rec.Commit, rec.Files = before.Commit, before.Files
		return nil
	}
	return err
}

// ask the Hub.
func ask(ctx context.Context, client *Client, r Request, rec *Record) error {
	commit, err := client.Resolve(ctx, r.Model, r.Revision)
	if err != nil {
		return err
	}
	rec.Commit = commit
	all, err := client.Files(ctx, r.Model, commit)
	if err != nil {
		return err
	}
	rec.Files = r.Selection.Of(all)
	if len(rec.Files) == 0 {
		return final(ReasonNoFiles, "none of the %d files of %s at %s is selected: is it a model that vLLM or SGLang can serve?", len(all), r.Model, commit)
	}
	return nil
}

// missing bytes of files.
func (c Cache) missing(model string, files []File) (int64, error) {
	var n int64
	for blob, size := range Blobs(files) {
		have, err := c.have(model, blob, size)
		if err != nil {
			return 0, err
		}
		n += size - have
	}
	return n, nil
}

// have that many bytes of a blob, complete or not.
func (c Cache) have(model, blob string, size int64) (int64, error) {
	for _, name := range []string{c.Blob(model, blob), c.Incomplete(model, blob)} {
		i, err := os.Stat(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, errors.Wrap(err, "cannot see what is on the volume")
		}
		return min(i.Size(), size), nil
	}
	return 0, nil
}

// enough space, or an error with both numbers.
func enough(cache Cache, r Request, missing int64) error {
	if missing == 0 {
		return nil
	}
	s, err := cache.Space(r.Capacity)
	if err != nil {
		return err
	}
	available := max(s.Available-r.Reserve, 0)
	if missing <= available {
		return nil
	}
	reserved := ""
	if r.Reserve > 0 {
		reserved = fmt.Sprintf(" beside the %s that must stay free", Bytes(r.Reserve))
	}
	return final(ReasonVolumeTooSmall, "%s needs %s (%d bytes) more on the volume, but only %s (%d bytes) of its %s are available%s: make the volume larger, or let go of other models", r.Model, Bytes(missing), missing, Bytes(available), available, Bytes(s.Capacity), reserved)
}

func makeDirs(cache Cache, model string) error {
	for _, d := range []string{"blobs", "refs", "snapshots"} {
		if err := os.MkdirAll(filepath.Join(cache.Model(model), d), modeDir); err != nil {
			return errors.Wrapf(err, "cannot make directory of %s", model)
		}
	}
	return nil
}

// blobs of files, several at a time. Those that are done stay, whatever happens
// to the others.
func (d *download) blobs(ctx context.Context, files []File, parallel int) error {
	// A content that two files have is needed once.
	seen := map[string]bool{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, f := range files {
		if seen[f.Blob] {
			continue
		}
		seen[f.Blob] = true
		g.Go(func() error { return d.blob(ctx, f) })
	}
	return g.Wait()
}

// snapshot of files. It appears with all of them at once, unless there is one
// already, by a server that downloaded for itself.
func (d *download) snapshot(files []File) error {
	to := d.cache.Snapshot(d.model, d.commit)
	if err := os.MkdirAll(d.cache.State(dirTemporary), modeDir); err != nil {
		return errors.Wrap(err, "cannot make a temporary directory")
	}
	tmp, err := os.MkdirTemp(d.cache.State(dirTemporary), "snapshot-")
	if err != nil {
		return errors.Wrap(err, "cannot make a temporary directory")
	}
	defer func() { _ = os.RemoveAll(tmp) }()

	from := filepath.Join(tmp, d.commit)
	for _, f := range files {
		name := filepath.Join(from, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(name), modeDir); err != nil {
			return errors.Wrap(err, "cannot make directory of a snapshot")
		}
		if err := os.Symlink(link(f), name); err != nil {
			return errors.Wrap(err, "cannot link a snapshot")
		}
	}
	if _, err := os.Lstat(to); errors.Is(err, os.ErrNotExist) {
		if os.Rename(from, to) == nil {
			return nil
		}
		// Another agent was faster.
	}
	for _, f := range files {
		name := filepath.FromSlash(f.Path)
		if now, err := os.Readlink(filepath.Join(to, name)); err == nil && now == link(f) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), modeDir); err != nil {
			return errors.Wrap(err, "cannot make directory of a snapshot")
		}
		if err := os.Rename(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return errors.Wrap(err, "cannot link a snapshot")
		}
	}
	return nil
}

// ref of a branch or a tag to the commit. A commit needs none.
func (d *download) ref(revision string) error {
	if revision == d.commit {
		return nil
	}
	name := d.cache.ref(d.model, revision)
	//nolint:gosec // It is one of the cache.
	if now, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(now)) == d.commit {
		return nil
	}
	// huggingface_hub reads all of the file, a newline included.
	return d.cache.write(name, []byte(d.commit))
}
