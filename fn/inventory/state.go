package inventory

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"time"

	"github.com/crossplane/function-sdk-go/errors"

	"github.com/aim-engine/function-aim/fn/hub"
	"github.com/aim-engine/function-aim/fn/prune"
)

// Used records that a model is used, at a revision or, if that is empty, at
// whichever.
func Used(ctx context.Context, c hub.Cache, model, revision string, now time.Time) error {
	if err := hub.Valid(model, orMain(revision)); err != nil {
		return err
	}
	unlock, err := c.Lock(ctx, lockState)
	if err != nil {
		return err
	}
	defer unlock()

	name := hub.Folder(model) + ".json"
	var uses []Use
	b, err := os.ReadFile(c.State(dirUsage, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Wrapf(err, "cannot read uses of %s", model)
	}
	if err == nil && json.Unmarshal(b, &uses) != nil {
		uses = nil
	}
	i := slices.IndexFunc(uses, func(u Use) bool { return u.Revision == revision })
	if i < 0 {
		uses = append(uses, Use{Model: model, Revision: revision})
		i = len(uses) - 1
	}
	uses[i].Last = now.UTC().Truncate(time.Second)
	uses[i].Count++
	if b, err = json.Marshal(uses); err != nil {
		return errors.Wrap(err, "cannot marshal uses")
	}
	return c.WriteState(b, dirUsage, name)
}

func orMain(revision string) string {
	if revision == "" {
		return "main"
	}
	return revision
}

func readHistory(c hub.Cache) (History, error) {
	h := History{}
	b, err := os.ReadFile(c.State(fileHistory))
	if errors.Is(err, os.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return h, errors.Wrap(err, "cannot read history of cleanups")
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return History{}, nil //nolint:nilerr // It was not written by us, and it is no reason not to clean up.
	}
	return h, nil
}

// Clean up as planned for an inventory, and remember it. What could not be
// evicted stays, with that as its reason. It returns the plan as it was carried
// out.
func Clean(ctx context.Context, c hub.Cache, inv Inventory, plan prune.Plan, now time.Time) (prune.Plan, error) {
	unlock, err := c.Lock(ctx, lockState)
	if err != nil {
		return prune.Plan{}, err
	}
	defer unlock()
	h, err := readHistory(c)
	if err != nil {
		return prune.Plan{}, err
	}

	last := Cleanup{At: now.UTC().Truncate(time.Second)}
	done := prune.Plan{Decisions: slices.Clone(plan.Decisions), Available: plan.Available, Missing: plan.Missing}
	var failed []error
	for i, d := range plan.Evictions() {
		freed, err := c.Evict(d.Model, d.Commit)
		done.Decisions[i].Frees = freed
		done.Available += freed - d.Frees
		if err != nil {
			done.Decisions[i].Evict = false
			done.Decisions[i].Reason = "it could not be evicted: " + err.Error()
			if !errors.Is(err, hub.ErrBusy) {
				failed = append(failed, err)
			}
			continue
		}
		last.Evicted++
		last.FreedBytes += freed
		h.Evictions = append(h.Evictions, Eviction{
			Model: d.Model, Commit: d.Commit, Refs: inv.refs(d.Model, d.Commit), SizeBytes: inv.size(d.Model, d.Commit),
			At: last.At, Reason: d.Reason,
		})
	}
	last.MissingBytes = done.Missing
	if err := errors.Join(failed...); err != nil {
		last.Message = err.Error()
	}
	h.Last = &last
	h.Evictions = h.Evictions[max(len(h.Evictions)-maxEvictions, 0):]
	b, err := json.Marshal(h)
	if err != nil {
		return done, errors.Wrap(err, "cannot marshal history of cleanups")
	}
	failed = append(failed, c.WriteState(b, fileHistory))
	return done, errors.Join(failed...)
}

func (inv Inventory) revision(model, commit string) hub.Revision {
	for _, c := range inv.Contents {
		for _, r := range c.Revisions {
			if c.Model == model && r.Commit == commit {
				return r
			}
		}
	}
	return hub.Revision{}
}

func (inv Inventory) refs(model, commit string) []string { return names(inv.revision(model, commit)) }

func (inv Inventory) size(model, commit string) int64 { return inv.revision(model, commit).Size() }
