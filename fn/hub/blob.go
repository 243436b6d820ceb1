package hub

import (
	"context"
	"crypto/sha1" //nolint:gosec // It is what git names contents by.
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/crossplane/function-sdk-go/errors"
)

// hashOf files like this one, which becomes their name.
func hashOf(f File) hash.Hash {
	if len(f.Blob) == sha256.Size*2 {
		return sha256.New()
	}
	h := sha1.New() //nolint:gosec // It is what git names contents by.
	_, _ = fmt.Fprintf(h, "blob %d\x00", f.Size)
	return h
}

// intact returns whether a blob is there and, if asked to look, whether its
// content is what its name says.
func (d *download) intact(ctx context.Context, f File, look bool) (bool, error) {
	file, err := os.Open(d.cache.Blob(d.model, f.Blob))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, errors.Wrapf(err, "cannot read %s", f.Path)
	}
	defer file.Close() //nolint:errcheck // It was only read.
	i, err := file.Stat()
	if err != nil {
		return false, errors.Wrapf(err, "cannot read %s", f.Path)
	}
	if i.Size() != f.Size || !look {
		return i.Size() == f.Size, nil
	}
	h := hashOf(f)
	if _, err := io.Copy(h, &reader{ctx: ctx, r: file}); err != nil {
		if ctx.Err() != nil {
			return false, temporary(ReasonInterrupted, err, "stopped while checking %s", f.Path)
		}
		return false, errors.Wrapf(err, "cannot read %s", f.Path)
	}
	return hex.EncodeToString(h.Sum(nil)) == f.Blob, nil
}

// A reader that ends with its context.
type reader struct {
	ctx context.Context //nolint:containedctx // It lives as long as one call.
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// blob makes sure that a content is there and intact.
func (d *download) blob(ctx context.Context, f File) error {
	unlock, err := d.cache.lockBlob(ctx, d.model, f.Blob)
	if err != nil {
		return err
	}
	defer unlock()

	ok, err := d.intact(ctx, f, d.verify)
	if err != nil {
		return err
	}
	if ok {
		d.progress.add(f.Size)
		return nil
	}
	// A content that isn't intact stays until the new one takes its place, since
	// there may be readers, and a part of it may be better than nothing.
	return d.fetch(ctx, f)
}

// maxMismatches that are allowed: a download that goes on where another one
// stopped may find wrong what that one left. One from the start may not.
const maxMismatches = 2

// fetch a file into its blob. The blob must be locked.
func (d *download) fetch(ctx context.Context, f File) error {
	name := d.cache.Incomplete(d.model, f.Blob)
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, modeFile) //nolint:gosec // Servers read it.
	if err != nil {
		return errors.Wrapf(err, "cannot write %s", f.Path)
	}
	defer file.Close() //nolint:errcheck // It was synced, or is not complete.

	p := &partial{d: d, f: f, file: file}
	if err := p.resume(ctx); err != nil {
		return err
	}
	for mismatches := 0; ; {
		if err := p.complete(ctx); err != nil {
			return err
		}
		got := hex.EncodeToString(p.hash.Sum(nil))
		if got == f.Blob {
			break
		}
		mismatches++
		if err := p.restart(); err != nil {
			return err
		}
		if mismatches == maxMismatches {
			return temporary(ReasonChecksum, nil, "%s of %s arrived with the hash %s %d times, but the Hub lists %s: something between here and the Hub changes it, or it is damaged there", f.Path, d.model, got, mismatches, f.Blob)
		}
		d.notify(fmt.Sprintf("%s has the hash %s instead of %s: getting it from its start", f.Path, got, f.Blob))
	}

	// Its bytes first, then its name: whoever sees the name finds all bytes,
	// after a crash of the node as well.
	if err := file.Sync(); err != nil {
		return p.failed(err)
	}
	if err := os.Rename(name, d.cache.Blob(d.model, f.Blob)); err != nil {
		return p.failed(err)
	}
	return syncDir(filepath.Dir(name))
}

func syncDir(name string) error {
	dir, err := os.Open(name) //nolint:gosec // It is one of the cache.
	if err != nil {
		return errors.Wrapf(err, "cannot open %s", name)
	}
	defer dir.Close() //nolint:errcheck // It was only read.
	// Some network file systems can't, and don't have to.
	if err := dir.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return errors.Wrapf(err, "cannot sync %s", name)
	}
	return nil
}

// A partial content.
type partial struct {
	d    *download
	f    File
	file *os.File
	// hash of the bytes up to at, which are on the volume.
	hash hash.Hash
	at   int64
}

// resume where an earlier download stopped.
func (p *partial) resume(ctx context.Context) error {
	p.hash = hashOf(p.f)
	n, err := io.Copy(p.hash, &reader{ctx: ctx, r: io.LimitReader(p.file, p.f.Size)})
	if err != nil {
		if ctx.Err() != nil {
			return temporary(ReasonInterrupted, err, "stopped while reading what there is of %s", p.f.Path)
		}
		return errors.Wrapf(err, "cannot read what there is of %s", p.f.Path)
	}
	p.at = n
	p.d.progress.add(n)
	if err := p.file.Truncate(n); err != nil {
		return p.failed(err)
	}
	if n > 0 {
		p.d.notify(fmt.Sprintf("%s goes on at byte %d of %d", p.f.Path, n, p.f.Size))
	}
	return nil
}

// restart at the first byte.
func (p *partial) restart() error {
	p.d.progress.add(-p.at)
	p.hash, p.at = hashOf(p.f), 0
	if err := p.file.Truncate(0); err != nil {
		return p.failed(err)
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return p.failed(err)
	}
	return nil
}

// complete the content. A connection that breaks is made anew as long as each
// one brings something.
func (p *partial) complete(ctx context.Context) error {
	for failures := 0; p.at < p.f.Size; {
		from := p.at
		err := p.transfer(ctx)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return temporary(ReasonInterrupted, ctx.Err(), "stopped after %d of %d bytes of %s, which are kept", p.at, p.f.Size, p.f.Path)
		}
		var cut *cutError
		if !errors.As(err, &cut) {
			return err
		}
		if p.at > from {
			failures = 0
		}
		failures++
		if failures == p.d.client.attempts {
			return temporary(ReasonUnavailable, err, "the transfer of %s stops at byte %d of %d, %d times in a row: %v", p.f.Path, p.at, p.f.Size, failures, cut.cause)
		}
		wait := p.d.client.wait(failures-1, nil)
		p.d.notify(fmt.Sprintf("%s stopped at byte %d of %d, trying again in %s: %v", p.f.Path, p.at, p.f.Size, wait, cut.cause))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return nil
}

// A cutError ended a transfer that had begun.
type cutError struct{ cause error }

func (e *cutError) Error() string { return "the connection was cut: " + e.cause.Error() }

// transfer what is missing, by one request.
func (p *partial) transfer(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	rsp, err := p.d.client.open(ctx, p.d.model, p.d.commit, p.f, p.at)
	if err != nil {
		return err
	}
	defer rsp.Body.Close() //nolint:errcheck // It was only read.

	goesOn := rsp.StatusCode == http.StatusPartialContent && strings.HasPrefix(rsp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", p.at))
	if p.at > 0 && !goesOn {
		// It doesn't do ranges, or not this one.
		if err := p.restart(); err != nil {
			return err
		}
		if rsp.StatusCode != http.StatusOK {
			return &cutError{cause: errors.Errorf("it answers %s to a range", rsp.Status)}
		}
	}

	// A connection may stand still for ever without being cut.
	stalled := time.AfterFunc(p.d.client.stall, func() {
		cancel(errors.Errorf("nothing came for %s", p.d.client.stall))
	})
	defer stalled.Stop()
	buf := make([]byte, 256<<10)
	for p.at < p.f.Size {
		n, err := rsp.Body.Read(buf[:min(int64(len(buf)), p.f.Size-p.at)])
		if n > 0 {
			stalled.Reset(p.d.client.stall)
			if _, werr := p.file.Write(buf[:n]); werr != nil {
				return p.failed(werr)
			}
			p.hash.Write(buf[:n])
			p.at += int64(n)
			p.d.progress.add(int64(n))
			p.d.progress.transferred.Add(int64(n))
		}
		if err != nil && p.at < p.f.Size {
			if why := context.Cause(ctx); why != nil {
				err = why
			}
			return &cutError{cause: err}
		}
	}
	return nil
}

// failed to write.
func (p *partial) failed(err error) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return errors.Wrapf(err, "cannot write %s", p.f.Path)
	}
	s, serr := p.d.cache.Space(p.d.limit)
	if serr != nil {
		return errors.Wrapf(err, "cannot write %s", p.f.Path)
	}
	return &Error{
		Reason:  ReasonVolumeTooSmall,
		Message: fmt.Sprintf("the volume is full after %s of %s of %s: of its %s only %s are available; others may write to it as well", Bytes(p.at), Bytes(p.f.Size), p.f.Path, Bytes(s.Capacity), Bytes(s.Available)),
		Final:   true,
		cause:   err,
	}
}
