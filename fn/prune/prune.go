// Package prune decides what a model cache lets go of. It is a pure function of
// what is in the cache, a policy and the time, and it explains each decision. It
// knows nothing of files.
package prune

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aim-engine/function-aim/fn/hub"
)

// A Strategy says which of the models that may go goes first.
type Strategy string

// Strategies.
const (
	// StrategyLRU lets go first of what was not used for the longest time.
	StrategyLRU Strategy = "lru"
	// StrategyLFU lets go first of what was used the fewest times.
	StrategyLFU Strategy = "lfu"
	// StrategyFIFO lets go first of what has been there for the longest time.
	StrategyFIFO Strategy = "fifo"
	// StrategySize lets go first of what is largest.
	StrategySize Strategy = "size"
)

// A Priority of a model. Within what must go, the strategy decides among those
// of one priority, and a higher one goes later.
type Priority string

// Priorities.
const (
	PriorityLow    Priority = "low"
	PriorityMedium Priority = "medium"
	PriorityHigh   Priority = "high"
)

// rank of a priority; a lower one goes first. Unset is medium, as in the API.
func (p Priority) rank() int {
	switch p {
	case PriorityLow:
		return 0
	case PriorityHigh:
		return 2
	case PriorityMedium:
	}
	return 1
}

// A Model that has settings of its own.
type Model struct {
	ID string
	// Priority; unset is medium. A model without settings has the priority low.
	Priority Priority
	// Retention after the last use, instead of the policy's MaxAge; 0 is the
	// policy's.
	Retention time.Duration
	// MaxSize of all its commits together, in bytes; 0 is no limit.
	MaxSize int64
}

// A Policy of a cache.
type Policy struct {
	// Strategy; unset is LRU.
	Strategy Strategy
	// MaxAge after the last use; 0 keeps models however old they are.
	MaxAge time.Duration
	// MinFree bytes on the volume; 0 doesn't care.
	MinFree int64
	// Models that have settings of their own.
	Models []Model
	// InUse are the models that running endpoints use: model, or model@commit, or
	// model@ref. These stay, whatever else the policy says.
	InUse []string
}

// An Item is a commit of a model in the cache, or what is left of one.
type Item struct {
	Model  string
	Commit string
	// Refs that lead to the commit.
	Refs []string
	// Blobs that it uses, and their sizes in bytes. Items of one model may share
	// them; such a blob is only freed with the last of them.
	Blobs map[string]int64
	// Busy is a model that is being downloaded.
	Busy bool
	// CachedAt is when it was complete, or else when it last grew.
	CachedAt time.Time
	// LastUsed is zero if no use of it is known.
	LastUsed time.Time
	// Uses that are known.
	Uses int64
}

// size of what it uses.
func (i Item) size() int64 {
	var n int64
	for _, s := range i.Blobs {
		n += s
	}
	return n
}

// since when it is of no use to anybody, as far as is known.
func (i Item) since() time.Time {
	if i.LastUsed.After(i.CachedAt) {
		return i.LastUsed
	}
	return i.CachedAt
}

// name of an item for people.
func (i Item) name() string {
	if i.Commit == "" {
		return i.Model
	}
	return i.Model + "@" + i.Commit
}

// A Decision about an item.
type Decision struct {
	Model  string `json:"model"`
	Commit string `json:"commit,omitempty"`
	// Evict it, or keep it.
	Evict bool `json:"evict"`
	// Reason for that, for people.
	Reason string `json:"reason"`
	// Frees that many bytes, after the evictions before it.
	Frees int64 `json:"freesBytes,omitempty"`
}

// A Plan of what to do.
type Plan struct {
	// Decisions about all items. Those that go are first, in the order in which
	// they go.
	Decisions []Decision `json:"decisions"`
	// Available bytes on the volume when all of that is done.
	Available int64 `json:"availableBytes"`
	// Missing bytes to what the policy wants to be free, which nothing that may
	// go can make up for.
	Missing int64 `json:"missingBytes,omitempty"`
}

// Evictions of a plan, in their order.
func (p Plan) Evictions() []Decision {
	i := slices.IndexFunc(p.Decisions, func(d Decision) bool { return !d.Evict })
	if i < 0 {
		return p.Decisions
	}
	return p.Decisions[:i]
}

// Decide what to let go of, given that many available bytes. The order of items
// and models doesn't matter.
func Decide(items []Item, available int64, policy Policy, now time.Time) Plan {
	d := newDecider(items, available, policy, now)
	for _, i := range d.order {
		d.age(i)
	}
	for _, m := range d.models() {
		d.limit(m)
	}
	for _, i := range d.order {
		d.space(i)
	}
	return d.plan()
}

// A decider in the middle of its work.
type decider struct {
	policy    Policy
	now       time.Time
	settings  map[string]Model
	available int64
	// order in which items go.
	order []Item
	// users of a blob that stay.
	users map[blob]int
	// held blobs are used by items that stay whatever happens.
	held map[blob]bool
	// gone items, by their names.
	gone    map[string]bool
	evicted []Decision
}

type blob struct{ model, name string }

func newDecider(items []Item, available int64, policy Policy, now time.Time) *decider {
	d := &decider{
		policy: policy, now: now, available: available,
		settings: map[string]Model{}, users: map[blob]int{}, held: map[blob]bool{}, gone: map[string]bool{},
		order: slices.Clone(items),
	}
	for _, m := range policy.Models {
		d.settings[m.ID] = m
	}
	for _, i := range items {
		_, protected := d.protected(i)
		for b := range i.Blobs {
			d.users[blob{i.Model, b}]++
			if protected {
				d.held[blob{i.Model, b}] = true
			}
		}
	}
	slices.SortFunc(d.order, d.compare)
	return d
}

// priority of an item's model.
func (d *decider) priority(i Item) Priority {
	m, ok := d.settings[i.Model]
	if !ok {
		// Nobody asked for it, but it may be of use.
		return PriorityLow
	}
	return m.Priority
}

// compare which of two items goes first. The order is total, so that the order
// of the input doesn't matter.
func (d *decider) compare(a, b Item) int {
	if n := cmp.Compare(d.priority(a).rank(), d.priority(b).rank()); n != 0 {
		return n
	}
	var n int
	switch d.policy.Strategy {
	case StrategyLFU:
		n = cmp.Compare(a.Uses, b.Uses)
	case StrategyFIFO:
		n = a.CachedAt.Compare(b.CachedAt)
	case StrategySize:
		n = cmp.Compare(b.size(), a.size())
	case StrategyLRU:
	}
	if n == 0 {
		n = a.since().Compare(b.since())
	}
	if n == 0 {
		n = a.CachedAt.Compare(b.CachedAt)
	}
	if n == 0 {
		n = strings.Compare(a.name(), b.name())
	}
	return n
}

// inUse returns whether a running endpoint uses an item.
func (d *decider) inUse(i Item) bool {
	return slices.ContainsFunc(d.policy.InUse, func(used string) bool {
		id, revision, pinned := strings.Cut(used, "@")
		// What is left of other downloads is of no use to an endpoint, but who
		// knows what it is doing right now.
		return id == i.Model && (!pinned || i.Commit == "" || revision == i.Commit || slices.Contains(i.Refs, revision))
	})
}

// protected items stay, for this reason.
func (d *decider) protected(i Item) (string, bool) {
	switch {
	case d.inUse(i):
		return "a running endpoint uses it", true
	case i.Busy:
		return "it is being downloaded", true
	}
	return "", false
}

// frees that many bytes, if it goes now.
func (d *decider) frees(i Item) int64 {
	var n int64
	for b, s := range i.Blobs {
		if d.users[blob{i.Model, b}] == 1 {
			n += s
		}
	}
	return n
}

// idle returns whether letting go of an item could free anything, now or together
// with others.
func (d *decider) idle(i Item) bool {
	for b, s := range i.Blobs {
		if s > 0 && !d.held[blob{i.Model, b}] {
			return false
		}
	}
	return true
}

func (d *decider) evict(i Item, reason string) {
	n := d.frees(i)
	for b := range i.Blobs {
		d.users[blob{i.Model, b}]--
	}
	d.available += n
	d.gone[i.name()] = true
	d.evicted = append(d.evicted, Decision{Model: i.Model, Commit: i.Commit, Evict: true, Reason: reason, Frees: n})
}

// stays returns whether an item must or can't go any more.
func (d *decider) stays(i Item) bool {
	_, protected := d.protected(i)
	return protected || d.gone[i.name()]
}

// maxAge of an item, and what it is called.
func (d *decider) maxAge(i Item) (time.Duration, string) {
	if r := d.settings[i.Model].Retention; r > 0 {
		return r, "retention of the model"
	}
	return d.policy.MaxAge, "maxAge of the cache"
}

// age lets go of an item that is too old.
func (d *decider) age(i Item) {
	limit, whose := d.maxAge(i)
	if age := d.now.Sub(i.since()); limit > 0 && age > limit && !d.stays(i) {
		d.evict(i, fmt.Sprintf("it was %s %s ago, longer than the %s of %s", i.event(), days(age), whose, days(limit)))
	}
}

// event that an item's age counts from.
func (i Item) event() string {
	if i.LastUsed.After(i.CachedAt) {
		return "last used"
	}
	return "cached"
}

// models with a limit to their size.
func (d *decider) models() []Model {
	var out []Model
	for _, id := range slices.Sorted(maps.Keys(d.settings)) {
		if m := d.settings[id]; m.MaxSize > 0 {
			out = append(out, m)
		}
	}
	return out
}

// limit lets go of commits of a model until it is within its limit.
func (d *decider) limit(m Model) {
	var size int64
	for b, s := range d.blobs(m.ID) {
		if d.users[b] > 0 {
			size += s
		}
	}
	for _, i := range d.order {
		if i.Model != m.ID || size <= m.MaxSize || d.stays(i) || d.idle(i) {
			continue
		}
		reason := fmt.Sprintf("its model has %s, more than its maxSize of %s", hub.Bytes(size), hub.Bytes(m.MaxSize))
		size -= d.frees(i)
		d.evict(i, reason)
	}
}

// blobs of a model.
func (d *decider) blobs(id string) map[blob]int64 {
	out := map[blob]int64{}
	for _, i := range d.order {
		if i.Model != id {
			continue
		}
		for b, s := range i.Blobs {
			out[blob{id, b}] = s
		}
	}
	return out
}

// space lets go of an item if more must be free.
func (d *decider) space(i Item) {
	if d.available >= d.policy.MinFree || d.stays(i) || d.idle(i) {
		return
	}
	d.evict(i, fmt.Sprintf("only %s is free, less than the minFreeSpace of %s, and %s", hub.Bytes(d.available), hub.Bytes(d.policy.MinFree), d.first(i)))
}

// first of all that may go, by this criterion.
func (d *decider) first(i Item) string {
	p := d.priority(i)
	if p == "" {
		p = PriorityMedium
	}
	var why string
	switch d.policy.Strategy {
	case StrategyLFU:
		why = fmt.Sprintf("was used least (%d times)", i.Uses)
	case StrategyFIFO:
		why = "has been here longest (since " + i.CachedAt.UTC().Format(time.RFC3339) + ")"
	case StrategySize:
		why = fmt.Sprintf("is the largest (%s)", hub.Bytes(i.size()))
	case StrategyLRU:
		fallthrough
	default:
		why = "is unused for longest (" + i.event() + " " + i.since().UTC().Format(time.RFC3339) + ")"
	}
	return fmt.Sprintf("of priority %s it %s", p, why)
}

// plan of all decisions.
func (d *decider) plan() Plan {
	p := Plan{Decisions: slices.Clone(d.evicted), Available: d.available, Missing: max(d.policy.MinFree-d.available, 0)}
	for _, i := range d.order {
		if d.gone[i.name()] {
			continue
		}
		reason, protected := d.protected(i)
		switch {
		case protected:
		case d.idle(i):
			reason = "nothing would be free without it, since what is in use needs all of it"
		default:
			reason = "it is within its limits, and there is enough space"
		}
		p.Decisions = append(p.Decisions, Decision{Model: i.Model, Commit: i.Commit, Reason: reason})
	}
	return p
}

// days for people, who don't count hours beyond some.
func days(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%.1f days", d.Hours()/24)
	}
	return d.Round(time.Second).String()
}
