package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/crossplane/function-sdk-go/errors"

	"github.com/aim-engine/function-aim/fn/agent"
	"github.com/aim-engine/function-aim/fn/hub"
	cacheinventory "github.com/aim-engine/function-aim/fn/inventory"
	"github.com/aim-engine/function-aim/fn/prune"
)

// cacheCmd is the agent of a model cache. It works on a directory that HF_HOME
// of a server can name.
type cacheCmd struct {
	Download cacheDownloadCmd `cmd:"" help:"Download a model into a cache. Exits with 3 if it is of no use to try again before somebody changes something."`
	Prune    cachePruneCmd    `cmd:"" help:"Record which models are in use, and let go of others by a policy."`
	Report   cacheReportCmd   `cmd:"" help:"Measure what is in a cache."`
}

// A finalError makes this program exit with agent.ExitFinal.
type finalError struct{ error }

// ExitCode of this program.
func (e finalError) ExitCode() int { return agent.ExitFinal }

// Unwrap returns the error.
func (e finalError) Unwrap() error { return e.error }

// cacheFlags are those that all commands of the agent have.
type cacheFlags struct {
	Home     string `env:"HF_HOME"                                                                                         help:"Directory of the cache." required:""`
	Capacity string `help:"Size of the volume, such as 500Gi, if it doesn't enforce it. Less than that is taken for full."`
	// Where the inventory goes.
	Inventory  string `help:"File to write the inventory to; - is standard output."                    placeholder:"FILE"`
	ConfigMap  string `help:"ConfigMap to write the inventory to, by the service account of this pod." name:"configmap"                   placeholder:"NAME"`
	Namespace  string `env:"POD_NAMESPACE"                                                             help:"Namespace of the ConfigMap."`
	Kubeconfig string `help:"Kubeconfig to use instead of the service account of this pod."            placeholder:"FILE"                 type:"path"`
	// Interval of reports while there is something in progress.
	Interval time.Duration `default:"15s" help:"How often to report the inventory while it changes."`
}

func (f cacheFlags) cache() (hub.Cache, int64, error) {
	capacity, err := prune.Amount(f.Capacity, 0)
	if err != nil {
		return hub.Cache{}, 0, errors.Wrap(err, "--capacity")
	}
	return hub.Cache{Home: f.Home}, capacity, nil
}

// cacheDownloadCmd downloads a model.
type cacheDownloadCmd struct {
	cacheFlags `embed:""`

	Model    string   `arg:""                                                                                                                     help:"Id of the model, such as meta-llama/Llama-3.1-8B-Instruct."`
	Revision string   `default:"main"                                                                                                             help:"Branch, tag or commit."`
	Endpoint string   `default:"https://huggingface.co"                                                                                           env:"HF_ENDPOINT"                                                               help:"The Hub, or a mirror of it. A token is taken from HF_TOKEN."`
	Include  []string `help:"Patterns of files to download instead of those that the engines need. * stands for any characters, slashes as well." placeholder:"PATTERN"`
	Exclude  []string `help:"Patterns of files not to download."                                                                                  placeholder:"PATTERN"`
	MaxSize  string   `help:"Refuse a model that is larger, such as 200Gi."                                                                       placeholder:"SIZE"`
	MinFree  string   `help:"What must remain free on the volume, such as 50Gi or 10%."                                                           placeholder:"SIZE"`
	Parallel int      `default:"4"                                                                                                                help:"Files to download at the same time."`
	Verify   bool     `default:"true"                                                                                                             help:"Check the contents of what is there already, rather than the sizes only." negatable:""`
}

// Run downloads a model.
func (c *cacheDownloadCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return c.run(ctx, os.Stdout, os.Stderr)
}

func (c *cacheDownloadCmd) run(ctx context.Context, stdout, stderr io.Writer) error {
	log := &lines{w: stderr}
	req, cache, err := c.request(log)
	if err != nil {
		return finalError{err}
	}
	out, err := c.reporter(cache, req.Capacity, stdout)
	if err != nil {
		return err
	}
	client, err := hub.NewClient(hub.Config{
		// The token comes by the environment only: a flag would be in the list of
		// processes and in the manifest.
		Endpoint: c.Endpoint, Token: strings.TrimSpace(os.Getenv("HF_TOKEN")),
		UserAgent: "function-aim/" + version, Notify: log.print,
	})
	if err != nil {
		return finalError{err}
	}

	started := make(chan *hub.Progress, 1)
	req.Started = func(p *hub.Progress) { started <- p }
	watching, done := context.WithCancel(ctx)
	wg := sync.WaitGroup{}
	wg.Go(func() { c.watch(watching, started, out, log) })
	rec, err := hub.Download(ctx, client, cache, req)
	done()
	wg.Wait()

	// What happened is reported even if we have to stop.
	if rerr := out.last(ctx); err == nil {
		err = rerr
	} else if rerr != nil {
		log.print(rerr.Error())
	}
	if err != nil {
		err = errors.Wrapf(err, "cannot download %s at %s", c.Model, c.Revision)
		if hub.IsFinal(err) {
			return finalError{err}
		}
		return err
	}
	log.print(fmt.Sprintf("%s at %s is complete: commit %s, %d files, %s", rec.Model, rec.Revision, rec.Commit, len(rec.Files), hub.Bytes(rec.Size())))
	return nil
}

// request of the flags.
func (c *cacheDownloadCmd) request(log *lines) (hub.Request, hub.Cache, error) {
	cache, capacity, err := c.cache()
	if err != nil {
		return hub.Request{}, cache, err
	}
	if err := os.MkdirAll(c.Home, 0o775); err != nil { //nolint:gosec // Servers that run as other users read it.
		return hub.Request{}, cache, errors.Wrap(err, "cannot make directory of the cache")
	}
	maxSize, err := prune.Amount(c.MaxSize, 0)
	if err != nil {
		return hub.Request{}, cache, errors.Wrap(err, "--max-size")
	}
	space, err := cache.Space(capacity)
	if err != nil {
		return hub.Request{}, cache, err
	}
	reserve, err := prune.Amount(c.MinFree, space.Capacity)
	if err != nil {
		return hub.Request{}, cache, errors.Wrap(err, "--min-free")
	}
	return hub.Request{
		Model: c.Model, Revision: c.Revision,
		Selection: hub.Selection{Include: c.Include, Exclude: c.Exclude},
		Parallel:  c.Parallel, MaxSize: maxSize, Reserve: reserve, Capacity: capacity,
		Verify: c.Verify, Now: time.Now, Notify: log.print,
	}, cache, nil
}

// watch a download until it is done.
func (c *cacheDownloadCmd) watch(ctx context.Context, started <-chan *hub.Progress, out *reporter, log *lines) {
	var p *hub.Progress
	select {
	case <-ctx.Done():
		return
	case p = <-started:
	}
	log.print(fmt.Sprintf("downloading commit %s of %s: %d files, %s", p.Commit, c.Model, p.Files, hub.Bytes(p.Total)))
	for tick := time.NewTicker(c.Interval); ; {
		// A report that fails is made up for by the next one.
		if err := out.report(ctx); err != nil && ctx.Err() == nil {
			log.print(err.Error())
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		log.print(fmt.Sprintf("%s of %s (%d%%)", hub.Bytes(p.Done()), hub.Bytes(p.Total), p.Done()*100/max(p.Total, 1)))
	}
}

// cachePruneCmd lets go of models.
type cachePruneCmd struct {
	cacheFlags `embed:""`

	Policy string   `env:"AIM_CACHE_POLICY"                                                                           help:"Policy as JSON: strategy (lru, lfu, fifo, size), maxAge, minFreeSpace, models [{id, priority, retention, maxSize}], inUse [model, or model@revision]." required:""`
	InUse  []string `help:"Models that stay, beside those that the policy says are in use: model, or model@revision."`
	DryRun bool     `help:"Only say what would go."`
	Output string   `default:"text"                                                                                   enum:"text,json"                                                                                                                                             help:"What to print: text for people, json for programs." short:"o"`
}

// Run lets go of models.
func (c *cachePruneCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return c.run(ctx, os.Stdout)
}

func (c *cachePruneCmd) run(ctx context.Context, stdout io.Writer) error {
	cache, capacity, err := c.cache()
	if err != nil {
		return err
	}
	doc := prune.Document{}
	if err := json.Unmarshal([]byte(c.Policy), &doc); err != nil {
		return errors.Wrap(err, "cannot unmarshal policy")
	}
	doc.InUse = append(doc.InUse, c.InUse...)
	out, err := c.reporter(cache, capacity, stdout)
	if err != nil {
		return err
	}

	unlock, err := cache.Lock(ctx, "prune")
	if err != nil {
		return err
	}
	defer unlock()
	now := time.Now()
	for _, u := range doc.InUse {
		// What endpoints use need not be in the cache, nor on the Hub.
		if id, _, _ := strings.Cut(u, "@"); c.DryRun || hub.Valid(id, agent.DefaultRevision) != nil {
			continue
		}
		if err := record(ctx, cache, u, now); err != nil {
			return err
		}
	}
	inv, err := cacheinventory.Scan(cache, capacity)
	if err != nil {
		return err
	}
	policy, err := doc.Policy(inv.Space.Capacity)
	if err != nil {
		return errors.Wrap(err, "policy")
	}
	plan := prune.Decide(inv.Items(now), inv.Space.Available, policy, now)
	if c.DryRun {
		return c.print(stdout, plan)
	}
	plan, err = cacheinventory.Clean(ctx, cache, inv, plan, now)
	return errors.Join(err, c.print(stdout, plan), out.last(ctx))
}

// record a use of a model: model, or model@revision.
func record(ctx context.Context, c hub.Cache, used string, now time.Time) error {
	id, revision, _ := strings.Cut(used, "@")
	return cacheinventory.Used(ctx, c, id, revision, now)
}

// print a plan.
func (c *cachePruneCmd) print(w io.Writer, p prune.Plan) error {
	if c.Output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return errors.Wrap(e.Encode(p), "cannot write")
	}
	b := &strings.Builder{}
	for _, d := range p.Decisions {
		name := d.Model
		if d.Commit != "" {
			name += "@" + d.Commit
		}
		if d.Evict {
			fmt.Fprintf(b, "evict %s, which frees %s: %s\n", name, hub.Bytes(d.Frees), d.Reason)
			continue
		}
		fmt.Fprintf(b, "keep %s: %s\n", name, d.Reason)
	}
	fmt.Fprintf(b, "%s are free", hub.Bytes(p.Available))
	if p.Missing > 0 {
		fmt.Fprintf(b, ", %s less than there should be: nothing else may go", hub.Bytes(p.Missing))
	}
	fmt.Fprintln(b)
	_, err := io.WriteString(w, b.String())
	return errors.Wrap(err, "cannot write")
}

// cacheReportCmd measures a cache.
type cacheReportCmd struct {
	cacheFlags `embed:""`

	Used []string `help:"Models to record a use of: model, or model@revision."`
}

// Run measures a cache.
func (c *cacheReportCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return c.run(ctx, os.Stdout)
}

func (c *cacheReportCmd) run(ctx context.Context, stdout io.Writer) error {
	cache, capacity, err := c.cache()
	if err != nil {
		return err
	}
	if c.Inventory == "" && c.ConfigMap == "" && len(c.Used) == 0 {
		c.Inventory = "-"
	}
	out, err := c.reporter(cache, capacity, stdout)
	if err != nil {
		return err
	}
	for _, u := range c.Used {
		if err := record(ctx, cache, u, time.Now()); err != nil {
			return err
		}
	}
	return out.report(ctx)
}

// lines for people, from several goroutines.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) print(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintln(l.w, s)
}
