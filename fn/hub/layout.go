package hub

import (
	"context"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/crossplane/function-sdk-go/errors"
	"github.com/gofrs/flock"
)

// Modes of what is made. The server that reads a cache often runs as another
// user than the agent that fills it; the umask takes away what it should not.
const (
	modeDir  fs.FileMode = 0o775
	modeFile fs.FileMode = 0o664
	// modeShared is of files that only the agent writes.
	modeShared fs.FileMode = 0o644
)

const (
	dirHub       = "hub"
	dirState     = ".aim"
	dirDownloads = "downloads"
	dirTemporary = "tmp"
	dirTrash     = "trash"
	prefixModel  = "models--"
	// suffixIncomplete is what huggingface_hub calls a blob that isn't complete.
	suffixIncomplete = ".incomplete"
)

var (
	modelID    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)?$`)
	commitHash = regexp.MustCompile(`^[0-9a-f]{40}$`)
	blobName   = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
)

// IsCommit returns whether a revision is a commit, rather than the name of a
// branch or a tag.
func IsCommit(revision string) bool { return commitHash.MatchString(revision) }

// Valid returns an error unless there could be such a model and revision.
func Valid(model, revision string) error {
	// The Hub refuses -- in names, and so it can stand for a slash in a folder's.
	if len(model) > 193 || !modelID.MatchString(model) || strings.Contains(model, "--") || strings.Contains(model, "..") {
		return final(ReasonInvalid, "%q is not the id of a model: write organization/name, as the Hub does", model)
	}
	if !safePath(revision) {
		return final(ReasonInvalid, "%q is not a revision: write a branch, a tag or a commit", revision)
	}
	return nil
}

// safePath returns whether a path of the Hub stays where it is put.
func safePath(p string) bool {
	return p != "" && len(p) < 1024 && path.Clean(p) == p && filepath.IsLocal(p) && !strings.ContainsAny(p, "\\\x00") && p != "."
}

// A Cache is a directory that HF_HOME can name. In its hub directory it has the
// layout that huggingface_hub documents, and nothing else; what only our agent
// knows is in .aim.
type Cache struct {
	Home string
}

// Hub is the directory of the models.
func (c Cache) Hub() string { return filepath.Join(c.Home, dirHub) }

// State is the directory of what only our agent knows.
func (c Cache) State(elem ...string) string {
	return filepath.Join(append([]string{c.Home, dirState}, elem...)...)
}

// Folder that a model is in.
func Folder(model string) string {
	return prefixModel + strings.ReplaceAll(model, "/", "--")
}

// ModelOf a folder, if it is one of a model.
func ModelOf(folder string) (string, bool) {
	name, ok := strings.CutPrefix(folder, prefixModel)
	id := strings.ReplaceAll(name, "--", "/")
	return id, ok && Valid(id, "main") == nil
}

// Model is the directory of a model.
func (c Cache) Model(model string) string { return filepath.Join(c.Hub(), Folder(model)) }

// Blob is the file that holds a content.
func (c Cache) Blob(model, blob string) string {
	return filepath.Join(c.Model(model), "blobs", blob)
}

// Incomplete is where a blob is until it is complete and checked.
func (c Cache) Incomplete(model, blob string) string { return c.Blob(model, blob) + suffixIncomplete }

// Snapshot is the directory of a commit.
func (c Cache) Snapshot(model, commit string) string {
	return filepath.Join(c.Model(model), "snapshots", commit)
}

// ref is the file that names the commit of a branch or a tag.
func (c Cache) ref(model, revision string) string {
	return filepath.Join(c.Model(model), "refs", filepath.FromSlash(revision))
}

// link of a file of a snapshot to its blob. It is relative, so that the volume
// can be mounted anywhere.
func link(f File) string {
	return strings.Repeat("../", strings.Count(f.Path, "/")+2) + "blobs/" + f.Blob
}

// lockBlob as huggingface_hub does, so that a server that downloads for itself
// and our agents wait for each other.
func (c Cache) lockBlob(ctx context.Context, model, blob string) (func(), error) {
	return lock(ctx, filepath.Join(c.Hub(), ".locks", Folder(model), blob+".lock"), (*flock.Flock).TryLockContext)
}

// modelLock is held, shared, as long as a model is being downloaded. Whoever
// deletes has to have it alone.
func (c Cache) modelLock(model string) string {
	return c.State("locks", Folder(model)+".lock")
}

// Lock the cache's state of a kind: whoever reads, changes and writes it has to.
func (c Cache) Lock(ctx context.Context, kind string) (unlock func(), err error) {
	return lock(ctx, c.State("locks", kind+".lock"), (*flock.Flock).TryLockContext)
}

// Downloading returns whether some agent is downloading a model at this moment.
// It works on a volume that is mounted read-only, too.
func (c Cache) Downloading(model string) bool {
	l := flock.New(c.modelLock(model), flock.SetFlag(os.O_RDONLY))
	ok, err := l.TryLock()
	if err != nil {
		// Nobody ever locked it.
		return false
	}
	_ = l.Close()
	return !ok
}

// lockPoll is how often one looks whether a lock is free.
const lockPoll = 100 * time.Millisecond

// lock a file. The system frees it when its process ends, however it does.
func lock(ctx context.Context, path string, how func(*flock.Flock, context.Context, time.Duration) (bool, error)) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(path), modeDir); err != nil {
		return nil, errors.Wrap(err, "cannot make directory of locks")
	}
	for {
		l := flock.New(path, flock.SetPermissions(modeFile))
		if _, err := how(l, ctx, lockPoll); err != nil {
			_ = l.Close()
			if ctx.Err() != nil {
				return nil, temporary(ReasonInterrupted, ctx.Err(), "stopped while waiting for another download")
			}
			return nil, errors.Wrapf(err, "cannot lock %s", path)
		}
		// Some delete the file when they unlock. Then we have locked one that
		// nobody else will see.
		mine, err := l.Stat()
		if err == nil {
			if now, err := os.Stat(path); err == nil && os.SameFile(mine, now) {
				return func() { _ = l.Close() }, nil
			}
		}
		_ = l.Close()
	}
}

// write a file so that whoever reads it sees the old one or the new one.
func (c Cache) write(name string, content []byte) error {
	for _, d := range []string{filepath.Dir(name), c.State(dirTemporary)} {
		if err := os.MkdirAll(d, modeDir); err != nil {
			return errors.Wrapf(err, "cannot make directory of %s", name)
		}
	}
	// Not next to it: everything in refs is taken for a ref.
	f, err := os.CreateTemp(c.State(dirTemporary), "file-*")
	if err != nil {
		return errors.Wrapf(err, "cannot write %s", name)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(modeShared)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return errors.Wrapf(err, "cannot write %s", name)
	}
	return nil
}

// WriteState writes a file of the cache's own state, so that whoever reads it
// sees the old one or the new one.
func (c Cache) WriteState(content []byte, elem ...string) error {
	return c.write(c.State(elem...), content)
}

// recordName of a model at a revision.
func recordName(model, revision string) string {
	return Folder(model) + "@" + url.PathEscape(revision) + ".json"
}
