package hub

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crossplane/function-sdk-go/errors"
	"github.com/hashicorp/go-retryablehttp"
)

// DefaultEndpoint is where the Hub is, unless HF_ENDPOINT says otherwise.
const DefaultEndpoint = "https://huggingface.co"

// maxAnswer bounds what is read of an answer of the API. A page of the tree has
// at most 1,000 files, in well below 1 MiB.
const maxAnswer = 32 << 20

// A Config of a Client. Only the endpoint has to be set.
type Config struct {
	// Endpoint of the Hub, or of a mirror.
	Endpoint string
	// Token to read private and gated models with, if there is one.
	Token string
	// UserAgent to send.
	UserAgent string
	// Attempts at a request that fails for a reason that may go away; 7 unless
	// set.
	Attempts int
	// MinWait before the second attempt, which doubles with each further one up
	// to MaxWait; 1 s and 5 min unless set. MaxWait also bounds what the Hub asks
	// for by Retry-After.
	MinWait, MaxWait time.Duration
	// Stall is how long a transfer may stand still before it is started anew;
	// 1 min unless set.
	Stall time.Duration
	// Notify is told of each attempt that failed, if it is set.
	Notify func(message string)
}

// A Client of the Hub.
type Client struct {
	endpoint *url.URL
	token    string
	agent    string
	attempts int
	stall    time.Duration
	minWait  time.Duration
	maxWait  time.Duration
	notify   func(string)
	http     *retryablehttp.Client
}

// NewClient returns a client. It honors the proxies of the environment.
func NewClient(cfg Config) (*Client, error) {
	u, err := url.Parse(strings.TrimSuffix(cfg.Endpoint, "/"))
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, final(ReasonInvalid, "%q is not the URL of a Hub", cfg.Endpoint)
	}
	c := &Client{
		endpoint: u,
		token:    cfg.Token,
		agent:    cfg.UserAgent,
		attempts: orElse(cfg.Attempts, 7),
		stall:    orElse(cfg.Stall, time.Minute),
		minWait:  orElse(cfg.MinWait, time.Second),
		maxWait:  orElse(cfg.MaxWait, 5*time.Minute),
		notify:   cfg.Notify,
	}
	if c.notify == nil {
		c.notify = func(string) {}
	}

	// The default transport takes proxies from the environment.
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // It is one.
	t.ResponseHeaderTimeout = c.stall
	// A file must arrive as it is, since its size and its hash are known.
	t.DisableCompression = true
	t.MaxIdleConnsPerHost = 16

	c.http = retryablehttp.NewClient()
	c.http.HTTPClient = &http.Client{Transport: t}
	c.http.Logger = nil
	c.http.RetryMax = c.attempts - 1
	c.http.Backoff = c.backoff
	c.http.ErrorHandler = func(rsp *http.Response, err error, _ int) (*http.Response, error) {
		if rsp != nil {
			return rsp, nil
		}
		return nil, err
	}
	return c, nil
}

func orElse[T comparable](v, otherwise T) T {
	var none T
	if v == none {
		return otherwise
	}
	return v
}

// rateLimit is how the Hub says when a limit ends, where it doesn't use
// Retry-After: RateLimit: "api";r=0;t=55.
var rateLimit = regexp.MustCompile(`;\s*t=(\d{1,6})`)

// backoff until the next attempt.
func (c *Client) backoff(_, _ time.Duration, attempt int, rsp *http.Response) time.Duration {
	if rsp != nil && rsp.StatusCode == http.StatusTooManyRequests && rsp.Header.Get("Retry-After") == "" {
		if m := rateLimit.FindStringSubmatch(rsp.Header.Get("Ratelimit")); m != nil {
			rsp.Header.Set("Retry-After", m[1])
		}
	}
	wait := c.wait(attempt, rsp)
	why := "there was no answer"
	if rsp != nil {
		why = rsp.Status
	}
	c.notify("trying again in " + wait.String() + ": " + why)
	return wait
}

// wait that the Hub asks for, or else one that doubles with each attempt.
func (c *Client) wait(attempt int, rsp *http.Response) time.Duration {
	return min(retryablehttp.DefaultBackoff(c.minWait, c.maxWait, attempt, rsp), c.maxWait)
}

// get a path of the Hub. The answer is a success, or there is an error.
func (c *Client) get(ctx context.Context, u *url.URL, model, what string, from int64) (*http.Response, error) {
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, final(ReasonInvalid, "cannot ask for %s of %s", what, model)
	}
	if c.token != "" {
		// It is not sent on to another host that we are redirected to.
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.agent != "" {
		req.Header.Set("User-Agent", c.agent)
	}
	if from > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(from, 10)+"-")
	}
	rsp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, temporary(ReasonInterrupted, ctx.Err(), "stopped while asking for %s of %s", what, model)
		}
		// The URL in it may be one that is signed, which is as good as a token.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, temporary(ReasonUnavailable, err, "cannot get %s of %s from %s: %v", what, model, c.endpoint, err)
	}
	if rsp.StatusCode == http.StatusRequestedRangeNotSatisfiable && from > 0 {
		return rsp, nil
	}
	if rsp.StatusCode != http.StatusOK && rsp.StatusCode != http.StatusPartialContent {
		defer rsp.Body.Close() //nolint:errcheck // It was only read.
		return nil, c.refused(rsp, model, what)
	}
	return rsp, nil
}

// json decodes an answer of the API, and returns its headers.
func (c *Client) json(ctx context.Context, u *url.URL, model, what string, into any) (http.Header, error) {
	rsp, err := c.get(ctx, u, model, what, 0)
	if err != nil {
		return nil, err
	}
	defer rsp.Body.Close() //nolint:errcheck // It was only read.
	if err := json.NewDecoder(io.LimitReader(rsp.Body, maxAnswer)).Decode(into); err != nil {
		return nil, temporary(ReasonUnavailable, err, "cannot understand what %s answers for %s of %s: is it a Hub, or does a proxy answer for it?", c.endpoint, what, model)
	}
	return rsp.Header, nil
}

// Resolve a branch, a tag or a commit of a model to the commit it is now.
func (c *Client) Resolve(ctx context.Context, model, revision string) (string, error) {
	info := struct {
		SHA string `json:"sha"`
	}{}
	u := c.endpoint.JoinPath("api", "models", model, "revision", url.PathEscape(revision))
	if _, err := c.json(ctx, u, model, "revision "+revision, &info); err != nil {
		return "", err
	}
	if !IsCommit(info.SHA) {
		return "", temporary(ReasonUnavailable, nil, "%s does not say which commit revision %s of %s is", c.endpoint, revision, model)
	}
	return info.SHA, nil
}

// A File of a model.
type File struct {
	// Path in the repository, with slashes.
	Path string `json:"path"`
	// Blob is what the file is called by its content: the SHA-256 of a large
	// file, or what git calls a small one, which is a SHA-1.
	Blob string `json:"blob"`
	// Size in bytes.
	Size int64 `json:"size"`
}

// An entry of the tree, as the Hub lists it.
type entry struct {
	Type string `json:"type"`
	Path string `json:"path"`
	OID  string `json:"oid"`
	Size int64  `json:"size"`
	LFS  *struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	} `json:"lfs"`
}

// nextPage of a list, in a header of the page before.
var nextPage = regexp.MustCompile(`<([^>]*)>\s*;\s*rel="next"`)

// maxPages is far more than any model has, and ends a list that doesn't end.
const maxPages = 1000

// Files of a model at a commit, sorted by their paths.
func (c *Client) Files(ctx context.Context, model, commit string) ([]File, error) {
	u := c.endpoint.JoinPath("api", "models", model, "tree", commit)
	u.RawQuery = url.Values{"recursive": {"true"}, "expand": {"false"}}.Encode()
	var files []File
	for range maxPages {
		var page []entry
		h, err := c.json(ctx, u, model, "list of files", &page)
		if err != nil {
			return nil, err
		}
		for _, e := range page {
			f, ok, err := e.file(model)
			if err != nil {
				return nil, err
			}
			if ok {
				files = append(files, f)
			}
		}
		m := nextPage.FindStringSubmatch(h.Get("Link"))
		if m == nil {
			slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
			return files, nil
		}
		next, err := url.Parse(m[1])
		if err != nil {
			return nil, temporary(ReasonUnavailable, err, "cannot understand where the list of files of %s goes on", model)
		}
		// Only its query counts: a mirror may link to where it has it from, and
		// the token is not meant for there.
		u.RawQuery = next.RawQuery
	}
	return nil, temporary(ReasonUnavailable, nil, "the list of files of %s does not end", model)
}

// file of an entry, unless it is a directory.
func (e entry) file(model string) (File, bool, error) {
	if e.Type != "file" {
		return File{}, false, nil
	}
	f := File{Path: e.Path, Blob: e.OID, Size: e.Size}
	if e.LFS != nil {
		f.Blob, f.Size = e.LFS.OID, e.LFS.Size
	}
	// It becomes a path on the volume.
	if !safePath(f.Path) {
		return File{}, false, final(ReasonRejected, "%s lists a file with the path %q, which cannot be stored", model, f.Path)
	}
	if !blobName.MatchString(f.Blob) || f.Size < 0 {
		return File{}, false, final(ReasonRejected, "%s lists %s without a hash and a size to check it by", model, f.Path)
	}
	return f, true, nil
}

// open a file at an offset. The answer may start at 0 nevertheless, and says so
// by its status.
func (c *Client) open(ctx context.Context, model, commit string, f File, from int64) (*http.Response, error) {
	u := c.endpoint.JoinPath(append([]string{model, "resolve", commit}, escaped(f.Path)...)...)
	return c.get(ctx, u, model, f.Path, from)
}

func escaped(path string) []string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return segments
}
