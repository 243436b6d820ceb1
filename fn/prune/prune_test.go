package prune

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var now = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func ago(days int) time.Time { return now.AddDate(0, 0, -days) }

// item of a model that has one blob of its own.
func item(model string, size int64, cached, used int, uses int64) Item {
	i := Item{Model: model, Commit: "c1", Blobs: map[string]int64{"weights": size}, CachedAt: ago(cached), Uses: uses}
	if uses > 0 {
		i.LastUsed = ago(used)
	}
	return i
}

func TestDecide(t *testing.T) {
	const day = 24 * time.Hour
	keep := "it is within its limits, and there is enough space"
	// Four models, each of which another strategy lets go of first.
	four := []Item{
		item("a/unused", 10, 20, 0, 0),
		item("b/rarely", 20, 30, 1, 1),
		item("c/oldest", 30, 90, 2, 50),
		item("d/largest", 40, 10, 3, 9),
	}
	cases := map[string]struct {
		reason    string
		items     []Item
		available int64
		policy    Policy
		want      Plan
	}{
		"Nothing": {
			reason: "Without limits all stays.",
			items:  four, available: 5,
			want: Plan{Available: 5, Decisions: []Decision{
				{Model: "a/unused", Commit: "c1", Reason: keep},
				{Model: "d/largest", Commit: "c1", Reason: keep},
				{Model: "c/oldest", Commit: "c1", Reason: keep},
				{Model: "b/rarely", Commit: "c1", Reason: keep},
			}},
		},
		"MaxAge": {
			reason: "What was not used for too long goes, even if there is space.",
			items:  four, available: 1000,
			policy: Policy{MaxAge: 14 * day},
			want: Plan{Available: 1010, Decisions: []Decision{
				{Model: "a/unused", Commit: "c1", Evict: true, Frees: 10, Reason: "it was cached 20.0 days ago, longer than the maxAge of the cache of 14.0 days"},
				{Model: "d/largest", Commit: "c1", Reason: keep},
				{Model: "c/oldest", Commit: "c1", Reason: keep},
				{Model: "b/rarely", Commit: "c1", Reason: keep},
			}},
		},
		"Retention": {
			reason: "A model's retention counts instead of the cache's maxAge, be it longer or shorter.",
			items:  four, available: 1000,
			policy: Policy{MaxAge: 14 * day, Models: []Model{{ID: "a/unused", Retention: 60 * day}, {ID: "c/oldest", Retention: day}}},
			want: Plan{Available: 1030, Decisions: []Decision{
				{Model: "c/oldest", Commit: "c1", Evict: true, Frees: 30, Reason: "it was last used 2.0 days ago, longer than the retention of the model of 24h0m0s"},
				{Model: "d/largest", Commit: "c1", Reason: keep},
				{Model: "b/rarely", Commit: "c1", Reason: keep},
				{Model: "a/unused", Commit: "c1", Reason: keep},
			}},
		},
		"LRU": {
			reason: "What was not used for the longest time goes first.",
			items:  four, available: 5,
			policy: Policy{Strategy: StrategyLRU, MinFree: 15},
			want: Plan{Available: 15, Decisions: []Decision{
				{Model: "a/unused", Commit: "c1", Evict: true, Frees: 10, Reason: "only 5 B is free, less than the minFreeSpace of 15 B, and of priority low it is unused for longest (cached 2026-05-12T00:00:00Z)"},
				{Model: "d/largest", Commit: "c1", Reason: keep},
				{Model: "c/oldest", Commit: "c1", Reason: keep},
				{Model: "b/rarely", Commit: "c1", Reason: keep},
			}},
		},
		"LFU": {
			reason: "What was used least goes first.",
			items:  four[1:], available: 5,
			policy: Policy{Strategy: StrategyLFU, MinFree: 15},
			want: Plan{Available: 25, Decisions: []Decision{
				{Model: "b/rarely", Commit: "c1", Evict: true, Frees: 20, Reason: "only 5 B is free, less than the minFreeSpace of 15 B, and of priority low it was used least (1 times)"},
				{Model: "d/largest", Commit: "c1", Reason: keep},
				{Model: "c/oldest", Commit: "c1", Reason: keep},
			}},
		},
		"FIFO": {
			reason: "What has been there for the longest time goes first.",
			items:  four, available: 5,
			policy: Policy{Strategy: StrategyFIFO, MinFree: 15},
			want: Plan{Available: 35, Decisions: []Decision{
				{Model: "c/oldest", Commit: "c1", Evict: true, Frees: 30, Reason: "only 5 B is free, less than the minFreeSpace of 15 B, and of priority low it has been here longest (since 2026-03-03T00:00:00Z)"},
				{Model: "b/rarely", Commit: "c1", Reason: keep},
				{Model: "a/unused", Commit: "c1", Reason: keep},
				{Model: "d/largest", Commit: "c1", Reason: keep},
			}},
		},
		"Size": {
			reason: "What is largest goes first.",
			items:  four, available: 5,
			policy: Policy{Strategy: StrategySize, MinFree: 15},
			want: Plan{Available: 45, Decisions: []Decision{
				{Model: "d/largest", Commit: "c1", Evict: true, Frees: 40, Reason: "only 5 B is free, less than the minFreeSpace of 15 B, and of priority low it is the largest (40 B)"},
				{Model: "c/oldest", Commit: "c1", Reason: keep},
				{Model: "b/rarely", Commit: "c1", Reason: keep},
				{Model: "a/unused", Commit: "c1", Reason: keep},
			}},
		},
		"Priority": {
			reason: "Whatever the strategy, what is of low priority goes before medium, and that before high. A model without settings is of low priority.",
			items:  four, available: 0,
			policy: Policy{Strategy: StrategySize, MinFree: 35, Models: []Model{
				{ID: "d/largest", Priority: PriorityHigh}, {ID: "c/oldest"}, {ID: "b/rarely", Priority: PriorityLow},
			}},
			want: Plan{Available: 60, Decisions: []Decision{
				{Model: "b/rarely", Commit: "c1", Evict: true, Frees: 20, Reason: "only 0 B is free, less than the minFreeSpace of 35 B, and of priority low it is the largest (20 B)"},
				{Model: "a/unused", Commit: "c1", Evict: true, Frees: 10, Reason: "only 20 B is free, less than the minFreeSpace of 35 B, and of priority low it is the largest (10 B)"},
				{Model: "c/oldest", Commit: "c1", Evict: true, Frees: 30, Reason: "only 30 B is free, less than the minFreeSpace of 35 B, and of priority medium it is the largest (30 B)"},
				{Model: "d/largest", Commit: "c1", Reason: keep},
			}},
		},
		"InUse": {
			reason: "What an endpoint uses stays, even if that means that there is not enough space, and too old.",
			items:  four[:2], available: 0,
			policy: Policy{MinFree: 100, MaxAge: time.Second, InUse: []string{"a/unused"}},
			want: Plan{Available: 20, Missing: 80, Decisions: []Decision{
				{Model: "b/rarely", Commit: "c1", Evict: true, Frees: 20, Reason: "it was last used 24h0m0s ago, longer than the maxAge of the cache of 1s"},
				{Model: "a/unused", Commit: "c1", Reason: "a running endpoint uses it"},
			}},
		},
		"InUseByCommit": {
			reason: "An endpoint uses one commit of a model, by its hash or by what leads to it.",
			items: []Item{
				{Model: "a/a", Commit: "c1", Refs: []string{"main"}, Blobs: map[string]int64{"1": 1}, CachedAt: ago(3)},
				{Model: "a/a", Commit: "c2", Blobs: map[string]int64{"2": 2}, CachedAt: ago(2)},
				{Model: "a/a", Commit: "c3", Blobs: map[string]int64{"3": 4}, CachedAt: ago(1)},
			},
			policy: Policy{MinFree: 100, InUse: []string{"a/a@main", "a/a@c3"}},
			want: Plan{Available: 2, Missing: 98, Decisions: []Decision{
				{Model: "a/a", Commit: "c2", Evict: true, Frees: 2, Reason: "only 0 B is free, less than the minFreeSpace of 100 B, and of priority low it is unused for longest (cached 2026-05-30T00:00:00Z)"},
				{Model: "a/a", Commit: "c1", Reason: "a running endpoint uses it"},
				{Model: "a/a", Commit: "c3", Reason: "a running endpoint uses it"},
			}},
		},
		"Busy": {
			reason: "What is being downloaded stays.",
			items:  []Item{{Model: "a/a", Commit: "c1", Blobs: map[string]int64{"1": 1}, CachedAt: ago(99), Busy: true}},
			policy: Policy{MinFree: 1, MaxAge: day},
			want:   Plan{Missing: 1, Decisions: []Decision{{Model: "a/a", Commit: "c1", Reason: "it is being downloaded"}}},
		},
		"Shared": {
			reason: "A blob is free with the last commit that uses it.",
			items: []Item{
				{Model: "a/a", Commit: "c1", Blobs: map[string]int64{"shared": 10, "1": 1}, CachedAt: ago(2)},
				{Model: "a/a", Commit: "c2", Blobs: map[string]int64{"shared": 10, "2": 2}, CachedAt: ago(1)},
			},
			policy: Policy{MinFree: 5},
			want: Plan{Available: 13, Decisions: []Decision{
				{Model: "a/a", Commit: "c1", Evict: true, Frees: 1, Reason: "only 0 B is free, less than the minFreeSpace of 5 B, and of priority low it is unused for longest (cached 2026-05-30T00:00:00Z)"},
				{Model: "a/a", Commit: "c2", Evict: true, Frees: 12, Reason: "only 1 B is free, less than the minFreeSpace of 5 B, and of priority low it is unused for longest (cached 2026-05-31T00:00:00Z)"},
			}},
		},
		"OfNoUse": {
			reason: "A commit doesn't go if that frees nothing.",
			items: []Item{
				{Model: "a/a", Commit: "c1", Blobs: map[string]int64{"shared": 10}, CachedAt: ago(2)},
				{Model: "a/a", Commit: "c2", Blobs: map[string]int64{"shared": 10, "2": 2}, CachedAt: ago(1)},
			},
			policy: Policy{MinFree: 5, InUse: []string{"a/a@c2"}},
			want: Plan{Missing: 5, Decisions: []Decision{
				{Model: "a/a", Commit: "c1", Reason: "nothing would be free without it, since what is in use needs all of it"},
				{Model: "a/a", Commit: "c2", Reason: "a running endpoint uses it"},
			}},
		},
		"MaxSize": {
			reason: "A model that is larger than its limit loses commits until it isn't.",
			items: []Item{
				{Model: "a/a", Commit: "c1", Blobs: map[string]int64{"shared": 10, "1": 1}, CachedAt: ago(3)},
				{Model: "a/a", Commit: "c2", Blobs: map[string]int64{"shared": 10, "2": 2}, CachedAt: ago(2)},
				{Model: "a/a", Commit: "c3", Blobs: map[string]int64{"shared": 10, "3": 3}, CachedAt: ago(1)},
				{Model: "b/b", Commit: "c1", Blobs: map[string]int64{"1": 100}, CachedAt: ago(9)},
			},
			available: 1000,
			policy:    Policy{Models: []Model{{ID: "a/a", MaxSize: 13}, {ID: "b/b"}}},
			want: Plan{Available: 1003, Decisions: []Decision{
				{Model: "a/a", Commit: "c1", Evict: true, Frees: 1, Reason: "its model has 16 B, more than its maxSize of 13 B"},
				{Model: "a/a", Commit: "c2", Evict: true, Frees: 2, Reason: "its model has 15 B, more than its maxSize of 13 B"},
				{Model: "b/b", Commit: "c1", Reason: keep},
				{Model: "a/a", Commit: "c3", Reason: keep},
			}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Decide(tc.items, tc.available, tc.policy, now)
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s\nDecide(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// A generator of cases. Its seed is in the message of a failure.
type generator struct{ *rand.Rand }

func pick[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

func (g generator) items() []Item {
	var out []Item
	for m := range g.IntN(6) {
		for c := range 1 + g.IntN(3) {
			i := Item{
				Model: fmt.Sprintf("org/m%d", m), Commit: fmt.Sprintf("c%d", c), Blobs: map[string]int64{},
				Busy: g.IntN(8) == 0, CachedAt: ago(g.IntN(60)), Uses: int64(g.IntN(4)),
			}
			if c == 0 && g.IntN(4) == 0 {
				i.Commit = ""
			}
			if i.Uses > 0 {
				i.LastUsed = ago(g.IntN(60))
			}
			if g.IntN(2) == 0 {
				i.Refs = []string{"main"}
			}
			for b := range g.IntN(5) {
				// Some of them are shared, and a blob has one size.
				i.Blobs[fmt.Sprintf("b%d", b)] = int64(m * b * 7)
			}
			out = append(out, i)
		}
	}
	return out
}

func (g generator) policy() Policy {
	const day = 24 * time.Hour
	p := Policy{
		Strategy: pick(g, "", StrategyLRU, StrategyLFU, StrategyFIFO, StrategySize),
		MaxAge:   pick(g, 0, 0, 10*day, 50*day),
		MinFree:  pick(g, int64(0), 50, 200, 100000),
	}
	for m := range 6 {
		if g.IntN(2) == 0 {
			p.Models = append(p.Models, Model{
				ID: fmt.Sprintf("org/m%d", m), Priority: pick(g, "", PriorityLow, PriorityMedium, PriorityHigh),
				Retention: pick(g, 0, 0, 5*day, 70*day), MaxSize: pick(g, int64(0), 0, 30),
			})
		}
		if g.IntN(4) == 0 {
			p.InUse = append(p.InUse, fmt.Sprintf("org/m%d%s", m, pick(g, "", "@main", "@c1")))
		}
	}
	return p
}

// on returns how many bytes items have.
func on(items []Item) int64 {
	blobs := map[blob]int64{}
	for _, i := range items {
		for b, s := range i.Blobs {
			blobs[blob{i.Model, b}] = s
		}
	}
	var n int64
	for _, s := range blobs {
		n += s
	}
	return n
}

// TestProperties hold for whatever is in a cache and whatever its policy is.
func TestProperties(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(6000) {
		g := generator{rand.New(rand.NewPCG(seed, 1))}
		items, policy, available := g.items(), g.policy(), int64(g.IntN(150))
		plan := Decide(items, available, policy, now)
		fail := func(format string, args ...any) {
			t.Fatalf("seed %d: %s\nitems %+v\npolicy %+v\nplan %+v", seed, fmt.Sprintf(format, args...), items, policy, plan)
		}

		byName := map[string]Item{}
		for _, i := range items {
			byName[i.name()] = i
		}
		left := maps.Clone(byName)
		decided := map[string]bool{}
		free := available
		for n, d := range plan.Decisions {
			name := Item{Model: d.Model, Commit: d.Commit}.name()
			i, ok := byName[name]
			switch {
			case !ok || decided[name]:
				fail("%s was not there, or is decided twice", name)
			case d.Reason == "":
				fail("%s is decided without a reason", name)
			case d.Evict && n > 0 && !plan.Decisions[n-1].Evict:
				fail("evictions are not first")
			}
			decided[name] = true
			if !d.Evict {
				if d.Frees != 0 {
					fail("%s stays, and frees something", name)
				}
				continue
			}
			if i.Busy {
				fail("%s is being downloaded, and goes", name)
			}
			for _, u := range policy.InUse {
				id, rev, pinned := strings.Cut(u, "@")
				if id == i.Model && (!pinned || rev == i.Commit || slices.Contains(i.Refs, rev)) {
					fail("%s is in use, and goes", name)
				}
			}
			before := on(slices.Collect(maps.Values(left)))
			delete(left, name)
			if freed := before - on(slices.Collect(maps.Values(left))); freed != d.Frees {
				fail("%s frees %d, but says %d", name, freed, d.Frees)
			}
			switch {
			case strings.Contains(d.Reason, "longer than"):
				seen["age"]++
			case strings.Contains(d.Reason, "maxSize"):
				seen["size"]++
			case strings.Contains(d.Reason, "minFreeSpace"):
				seen["space"]++
				if free >= policy.MinFree {
					fail("%s goes for space, of which there is enough", name)
				}
				// Nothing that stays, may go, and is of a lower priority.
				for _, o := range plan.Decisions {
					oi := byName[Item{Model: o.Model, Commit: o.Commit}.name()]
					pr := newDecider(items, available, policy, now)
					if !o.Evict && !pr.stays(oi) && !pr.idle(oi) && pr.priority(oi).rank() < pr.priority(i).rank() {
						fail("%s goes before %s, which is of a lower priority", name, oi.name())
					}
				}
			default:
				fail("%s goes for no reason that there is: %s", name, d.Reason)
			}
			free += d.Frees
		}
		switch {
		case len(decided) != len(items):
			fail("%d of %d items are decided", len(decided), len(items))
		case plan.Available != free:
			fail("%d bytes are free in the end, but it says %d", free, plan.Available)
		case plan.Missing != max(policy.MinFree-free, 0):
			fail("it says that %d bytes are missing", plan.Missing)
		}
		if plan.Missing > 0 {
			seen["missing"]++
			for _, d := range plan.Decisions {
				if d.Reason == "it is within its limits, and there is enough space" {
					fail("%s stays, but there isn't enough space", d.Model)
				}
			}
		}

		shuffled := slices.Clone(items)
		g.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if diff := cmp.Diff(plan, Decide(shuffled, available, policy, now)); diff != "" {
			fail("the order of the items matters:\n%s", diff)
		}
		rest := slices.DeleteFunc(slices.Clone(items), func(i Item) bool { _, ok := left[i.name()]; return !ok })
		if again := Decide(rest, plan.Available, policy, now); len(again.Evictions()) > 0 {
			fail("a second time %+v goes", again.Evictions())
		}
	}
	for _, what := range []string{"age", "size", "space", "missing"} {
		if seen[what] < 100 {
			t.Errorf("there were only %d cases of %s, so that this shows little", seen[what], what)
		}
	}
}

func TestPolicy(t *testing.T) {
	cases := map[string]struct {
		reason string
		doc    Document
		want   Policy
		err    string
	}{
		"Empty": {reason: "The strategy has a default, and there are no limits.", want: Policy{Strategy: StrategyLRU}},
		"All": {
			reason: "Durations have days, and space may be a percentage.",
			doc: Document{Strategy: "size", MaxAge: "30d", MinFree: "10%", InUse: []string{"a/a"}, Models: []ModelDocument{
				{ID: "a/a", Priority: "high", Retention: "2w", MaxSize: "1Gi"}, {ID: "b/b"},
			}},
			want: Policy{Strategy: StrategySize, MaxAge: 720 * time.Hour, MinFree: 100, InUse: []string{"a/a"}, Models: []Model{
				{ID: "a/a", Priority: PriorityHigh, Retention: 336 * time.Hour, MaxSize: 1 << 30}, {ID: "b/b"},
			}},
		},
		"Hours":     {reason: "What Go calls a duration is one.", doc: Document{MaxAge: "720h"}, want: Policy{Strategy: StrategyLRU, MaxAge: 720 * time.Hour}},
		"Strategy":  {reason: "A strategy has to exist.", doc: Document{Strategy: "random"}, err: `strategy: there is no "random"`},
		"MaxAge":    {reason: "A number is no duration.", doc: Document{MaxAge: "30"}, err: `maxAge: "30" is not a duration`},
		"MinFree":   {reason: "A word is no quantity.", doc: Document{MinFree: "some"}, err: `minFreeSpace: "some" is not a quantity`},
		"Percent":   {reason: "There is not more than all.", doc: Document{MinFree: "101%"}, err: `"101%" is not a percentage`},
		"Negative":  {reason: "There is not less than nothing.", doc: Document{MinFree: "-1Gi"}, err: `"-1Gi" is not a quantity`},
		"Priority":  {reason: "A priority has to exist.", doc: Document{Models: []ModelDocument{{Priority: "urgent"}}}, err: `models[0]: priority: there is no "urgent"`},
		"Retention": {reason: "The message says where.", doc: Document{Models: []ModelDocument{{}, {Retention: "x"}}}, err: `models[1]: retention: "x"`},
		"MaxSize":   {reason: "A model's limit is no percentage.", doc: Document{Models: []ModelDocument{{MaxSize: "5%"}}}, err: `models[0]: maxSize: "5%" is not a quantity`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := tc.doc.Policy(1000)
			if (err == nil) != (tc.err == "") || (err != nil && !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("%s\ndoc.Policy(1000): want error %q, got %v", tc.reason, tc.err, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\ndoc.Policy(1000): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
