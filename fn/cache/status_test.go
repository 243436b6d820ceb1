package cache

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/endpoint"
	"github.com/aim-engine/function-aim/fn/inventory"
)

const (
	gib    = int64(1) << 30
	commit = "0123456789abcdef0123456789abcdef01234567"
)

// noon is when all that tests measure happened.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// measured volume of 100 GiB, of which 60 are free, with models.
func measured(ms ...inventory.Model) *inventory.Document {
	return &inventory.Document{
		Version: inventory.Version, MeasuredAt: noon, Models: ms,
		Volume: inventory.Volume{CapacityBytes: 100 * gib, AvailableBytes: 60 * gib, UsedBytes: 39 * gib},
	}
}

// cached, downloading, failed and evicted models at a revision.
func cachedModel(id, revision string) inventory.Model {
	return inventory.Model{ID: id, Revision: revision, Commit: commit, Status: inventory.StatusCached, SizeBytes: 16 * gib, TotalBytes: 16 * gib, CachedAt: &noon}
}

func downloading(id, revision string) inventory.Model {
	return inventory.Model{ID: id, Revision: revision, Commit: commit, Status: inventory.StatusDownloading, SizeBytes: 4 * gib, TotalBytes: 16 * gib}
}

func failedModel(id, revision string) inventory.Model {
	return inventory.Model{ID: id, Revision: revision, Status: inventory.StatusFailed, Reason: "Gated", Message: "accept the licence"}
}

func evicted(id, revision string) inventory.Model {
	return inventory.Model{ID: id, Revision: revision, Commit: commit, Status: inventory.StatusEvicted, Message: "not used for 30d", EvictedAt: &noon}
}

const preloadsOne = `{storage: {size: 100Gi}, models: [{id: a/b, preload: true}, {id: c/d}]}`

func TestStatus(t *testing.T) {
	at := metav1.NewTime(noon)
	noModels, noUse := []v1alpha1.CachedModel(nil), &v1alpha1.CacheUsage{ActiveModels: ptr.To[int32](0)}
	cases := map[string]struct {
		reason string
		spec   string
		change func(c *Cache)
		live   Live
		want   v1alpha1.AIMCacheStatus
	}{
		"Nothing": {
			reason: "Of what nobody has measured nothing should be told.",
			spec:   minimal,
			want: v1alpha1.AIMCacheStatus{
				Storage: &v1alpha1.CacheStorageStatus{PVCName: "models-storage"}, CachedModels: noModels, Usage: noUse,
			},
		},
		"Volume": {
			reason: "That a volume is bound says nothing of what is on it.",
			spec:   minimal,
			live:   Live{Volume: volumeOf("100Gi")},
			want: v1alpha1.AIMCacheStatus{
				Storage: &v1alpha1.CacheStorageStatus{PVCName: "models-storage", PVCPhase: "Bound"}, CachedModels: noModels, Usage: noUse,
			},
		},
		"Measured": {
			reason: "What the agent measured should be told, all of it and nothing else: what is used of a volume is all that is not free.",
			spec:   everything,
			change: func(c *Cache) { c.Used = []string{"Qwen/Qwen3-8B", "acme/own"} },
			live: func() Live {
				d := measured(
					func() inventory.Model {
						m := cachedModel("Qwen/Qwen3-8B", "main")
						m.LastAccessed, m.AccessCount = ptr.To(noon.Add(90*time.Minute+time.Millisecond)), 3
						return m
					}(),
					downloading("meta-llama/Llama-3.1-70B-Instruct", "v2"), evicted("openai/gpt-oss-20b", "main"), failedModel("acme/own", "main"),
				)
				d.LastCleanup = &inventory.Cleanup{At: noon.Add(-time.Hour), Evicted: 1, FreedBytes: 12 * gib}
				// Saturday.
				cj := &batchv1.CronJob{Status: batchv1.CronJobStatus{LastScheduleTime: ptr.To(metav1.NewTime(time.Date(2026, 2, 28, 2, 30, 0, 0, time.UTC)))}}
				return Live{Volume: volumeOf("2Ti"), Inventory: d, Cleanup: cj}
			}(),
			want: v1alpha1.AIMCacheStatus{
				Storage: &v1alpha1.CacheStorageStatus{
					PVCName: "models-storage", PVCPhase: "Bound", TotalSize: "100Gi", UsedSize: "40Gi", AvailableSize: "60Gi", UsagePercentage: ptr.To[int32](40),
				},
				CachedModels: []v1alpha1.CachedModel{
					{ID: "Qwen/Qwen3-8B", Revision: "main", Commit: commit, Size: "16Gi", CachedAt: &at, LastAccessed: ptr.To(metav1.NewTime(noon.Add(90 * time.Minute))), AccessCount: ptr.To[int64](3), Status: "Cached"},
					{ID: "acme/own", Revision: "main", Size: "0", Status: "Failed", Message: "accept the licence"},
					{ID: "meta-llama/Llama-3.1-70B-Instruct", Revision: "v2", Commit: commit, Size: "4Gi", Status: "Downloading", Progress: ptr.To[int32](25)},
					{ID: "openai/gpt-oss-20b", Revision: "main", Commit: commit, Size: "0", Status: "Evicted", Message: "not used for 30d"},
				},
				Usage: &v1alpha1.CacheUsage{
					TotalModels: ptr.To[int32](1), ActiveModels: ptr.To[int32](2),
					LastCleanup: ptr.To(metav1.NewTime(noon.Add(-time.Hour))), NextCleanup: ptr.To(metav1.NewTime(time.Date(2026, 3, 7, 2, 30, 0, 0, time.UTC))),
				},
			},
		},
		"NeverAgain": {
			reason: "A schedule that never comes has no next time.",
			spec:   `{storage: {size: 100Gi}, cleanup: {enabled: true, schedule: 0 0 31 2 *}}`,
			live:   Live{Cleanup: &batchv1.CronJob{Status: batchv1.CronJobStatus{LastScheduleTime: &at}}},
			want: v1alpha1.AIMCacheStatus{
				Storage: &v1alpha1.CacheStorageStatus{PVCName: "models-storage"}, CachedModels: noModels, Usage: noUse,
			},
		},
		"NoSchedule": {
			reason: "A schedule that somebody broke has no next time, either, though it once ran.",
			spec:   `{storage: {size: 100Gi}, cleanup: {enabled: true, schedule: TZ=0}}`,
			live:   Live{Cleanup: &batchv1.CronJob{Status: batchv1.CronJobStatus{LastScheduleTime: &at}}},
			want: v1alpha1.AIMCacheStatus{
				Storage: &v1alpha1.CacheStorageStatus{PVCName: "models-storage"}, CachedModels: noModels, Usage: noUse,
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.change == nil {
				tc.change = func(*Cache) {}
			}
			got := models(t, tc.spec, tc.change).Status(tc.live)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nStatus(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestQuantity is about sizes that people read in a table.
func TestQuantity(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 1023: "1023", 5246007: "5Mi", 100 << 30: "100Gi", 53681845193: "51195Mi"} {
		if got := quantity(n); got != want {
			t.Errorf("quantity(%d): -want %s, +got %s", n, want, got)
		}
	}
}

// TestPreload is about what is told of a model that should be preloaded, from
// what its Job says and what an agent measured.
func TestPreload(t *testing.T) {
	type want struct {
		Models    []string
		Condition Condition
	}
	ready := func(ok bool, reason v1alpha1.ConditionReason, message string) Condition {
		return Condition{Type: v1alpha1.ConditionModelsReady, OK: ok, Reason: reason, Message: message}
	}
	waits := want{[]string{"a/b@main Pending"}, ready(false, v1alpha1.ReasonPreloading, "still to come: a/b")}
	complete, failed, running := done(batchv1.JobComplete, ""), done(batchv1.JobFailed, "Job has reached the specified backoff limit"), &batchv1.Job{Status: batchv1.JobStatus{Active: 1}}
	const v2 = `{storage: {size: 100Gi}, models: [{id: a/b, revision: v2, preload: true}]}`
	cases := map[string]struct {
		reason    string
		spec      string
		job       *batchv1.Job
		inventory *inventory.Document
		want      want
	}{
		"Fresh":    {"What is to come should be told.", preloadsOne, nil, nil, waits},
		"Waiting":  {"A Job that has not begun has done nothing.", preloadsOne, &batchv1.Job{}, measured(), waits},
		"Progress": {"How far it is should be told.", preloadsOne, running, measured(downloading("a/b", "main")), want{[]string{"a/b@main Downloading 25%"}, ready(false, v1alpha1.ReasonPreloading, "downloading a/b (25%)")}},
		"ProgressOfOne": {
			"What waits for its turn should not be said to be downloaded.", `{storage: {size: 100Gi}, models: [{id: a/b, preload: true}, {id: c/d, preload: true}]}`, running, measured(downloading("a/b", "main")),
			want{[]string{"a/b@main Downloading 25%", "c/d@main Pending"}, ready(false, v1alpha1.ReasonPreloading, "downloading a/b (25%); still to come: c/d")},
		},
		"Cached": {"It is there.", preloadsOne, complete, measured(cachedModel("a/b", "main")), want{[]string{"a/b@main Cached"}, ready(true, v1alpha1.ReasonPreloaded, "1 of 1 models are there")}},
		"CachedBefore": {
			"What is there already is there, though its Job has yet to say so.", preloadsOne, running, measured(cachedModel("a/b", "main")),
			want{[]string{"a/b@main Cached"}, ready(true, v1alpha1.ReasonPreloaded, "1 of 1 models are there")},
		},
		"Failed": {
			"What the agent says of a failure is what the user should hear.", preloadsOne, failed, measured(failedModel("a/b", "main")),
			want{[]string{"a/b@main Failed"}, ready(false, v1alpha1.ReasonPreloadFailed, "a/b: accept the licence. To try again, delete the Job models-preload-(hash)")},
		},
		"FailedSilently": {
			"An agent that could not even report fails all the same.", preloadsOne, failed, nil,
			want{[]string{"a/b@main Failed"}, ready(false, v1alpha1.ReasonPreloadFailed, "a/b: the Job models-preload-(hash) failed: Job has reached the specified backoff limit. To try again, delete the Job models-preload-(hash)")},
		},
		"FailedInTheMiddle": {
			"Nobody downloads any more once the Job has failed.", preloadsOne, failed, measured(downloading("a/b", "main")),
			want{[]string{"a/b@main Failed"}, ready(false, v1alpha1.ReasonPreloadFailed, "a/b: Job has reached the specified backoff limit. To try again, delete the Job models-preload-(hash)")},
		},
		"OtherRevision": {
			"That another revision is there should not count: servers ask for theirs.", v2, &batchv1.Job{}, measured(cachedModel("a/b", "main")),
			want{[]string{"a/b@v2 Pending", "a/b@main Cached"}, ready(false, v1alpha1.ReasonPreloading, "still to come: a/b")},
		},
		"OtherRevisionFailed": {
			"Nor hide that the one that is wanted failed.", v2, failed, measured(cachedModel("a/b", "main")),
			want{[]string{"a/b@v2 Failed", "a/b@main Cached"}, ready(false, v1alpha1.ReasonPreloadFailed, "a/b: the Job models-preload-(hash) failed: Job has reached the specified backoff limit. To try again, delete the Job models-preload-(hash)")},
		},
		"OtherName": {
			"A commit may be listed by another of its names.", v2, complete, measured(cachedModel("a/b", "main")),
			want{[]string{"a/b@main Cached"}, ready(true, v1alpha1.ReasonPreloaded, "1 of 1 models are there")},
		},
		"Commit": {
			"A commit is as good as a name.", `{storage: {size: 100Gi}, models: [{id: a/b, revision: ` + commit + `, preload: true}]}`, running, measured(cachedModel("a/b", "main")),
			want{[]string{"a/b@main Cached"}, ready(true, v1alpha1.ReasonPreloaded, "1 of 1 models are there")},
		},
		"Evicted": {
			"What was evicted is not there, and that is what the user asked for.", preloadsOne, complete, measured(evicted("a/b", "main")),
			want{[]string{"a/b@main Evicted"}, ready(true, v1alpha1.ReasonPreloaded, "0 of 1 models are there; downloaded, and since then evicted or not measured: a/b")},
		},
		"NotMeasured": {
			"Without an inventory nobody knows what is there, and nobody downloads, either.", preloadsOne, complete, nil,
			want{nil, ready(true, v1alpha1.ReasonPreloaded, "0 of 1 models are there; downloaded, and since then evicted or not measured: a/b")},
		},
		"Others": {
			"What a server failed to download by itself is no preload that failed.", preloadsOne, complete, measured(cachedModel("a/b", "main"), failedModel("c/d", "main")),
			want{[]string{"a/b@main Cached", "c/d@main Failed"}, ready(true, v1alpha1.ReasonPreloaded, "1 of 1 models are there")},
		},
		"None": {
			"Without a preload there is nothing to wait for.", minimal, nil, measured(downloading("c/d", "main")),
			want{[]string{"c/d@main Downloading 25%"}, ready(true, v1alpha1.ReasonDisabled, "no model has preload: each is downloaded by the first endpoint that needs it")},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := models(t, tc.spec)
			live := Live{Inventory: tc.inventory, Volume: volumeOf("100Gi"), Jobs: map[string]*batchv1.Job{}}
			hash := ""
			for _, p := range c.Preloads(live) {
				hash = strings.TrimPrefix(string(p.Role), string(RolePreload))
				if tc.job != nil {
					live.Jobs[hash] = tc.job
				}
			}
			got := want{Condition: c.modelsReady(live)}
			if hash != "" {
				got.Condition.Message = strings.ReplaceAll(got.Condition.Message, hash, "(hash)")
			}
			for _, m := range c.Status(live).CachedModels {
				s := m.ID + "@" + m.Revision + " " + m.Status
				if m.Progress != nil {
					s += " 25%"
					if *m.Progress != 25 {
						t.Errorf("-want progress 25, +got %d", *m.Progress)
					}
				}
				got.Models = append(got.Models, s)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	bound := Condition{v1alpha1.ConditionCacheReady, true, v1alpha1.ReasonBound, "the volume models-storage of 100Gi is bound"}
	noPreload := Condition{v1alpha1.ConditionModelsReady, true, v1alpha1.ReasonDisabled, "no model has preload: each is downloaded by the first endpoint that needs it"}
	noCleanup := Condition{v1alpha1.ConditionCleanupReady, true, v1alpha1.ReasonDisabled, "cleanup.enabled is false: nothing is ever evicted"}
	const cleaned = minimal + "\ncleanup: {enabled: true}"
	after := func(c inventory.Cleanup) *inventory.Document {
		d := measured()
		d.LastCleanup = &c
		return d
	}
	cases := map[string]struct {
		reason string
		spec   string
		live   Live
		want   []Condition
		phase  v1alpha1.CachePhase
	}{
		"Ready": {
			"A volume without anything else is ready once it is bound.", minimal,
			Live{Volume: volumeOf("100Gi")},
			[]Condition{bound, noPreload, noCleanup},
			v1alpha1.CacheReady,
		},
		"Pending": {
			"A volume may wait for a pod.", minimal,
			Live{},
			[]Condition{{v1alpha1.ConditionCacheReady, false, v1alpha1.ReasonWaitingForConsumer, "the PersistentVolumeClaim models-storage is not bound yet; with some storage classes that waits for a pod"}, noPreload, noCleanup},
			v1alpha1.CachePending,
		},
		"PendingPreload": {
			"That a volume is not there yet goes before what is to be put on it.", preloadsOne,
			Live{},
			[]Condition{
				{v1alpha1.ConditionCacheReady, false, v1alpha1.ReasonWaitingForConsumer, "the PersistentVolumeClaim models-storage is not bound yet; with some storage classes that waits for a pod"},
				{v1alpha1.ConditionModelsReady, false, v1alpha1.ReasonPreloading, "still to come: a/b"},
				noCleanup,
			},
			v1alpha1.CachePending,
		},
		"Preloading": {
			"A cache that downloads says so.", preloadsOne,
			Live{Volume: volumeOf("100Gi")},
			[]Condition{bound, {v1alpha1.ConditionModelsReady, false, v1alpha1.ReasonPreloading, "still to come: a/b"}, noCleanup},
			v1alpha1.CachePreloading,
		},
		"Failed preload": {
			"A cache without a model that it should have can be used for others.", preloadsOne,
			Live{Volume: volumeOf("100Gi"), Inventory: measured(failedModel("a/b", "main"))},
			[]Condition{bound, {v1alpha1.ConditionModelsReady, false, v1alpha1.ReasonPreloadFailed, "a/b: accept the licence"}, noCleanup},
			v1alpha1.CacheDegraded,
		},
		"Shrunk": {
			"A wish that cannot be met is told of.", minimal,
			Live{Volume: volumeOf("200Gi")},
			[]Condition{{v1alpha1.ConditionCacheReady, false, v1alpha1.ReasonShrinkIgnored, "a volume cannot shrink: it stays at 200Gi, storage.size says 100Gi"}, noPreload, noCleanup},
			v1alpha1.CacheDegraded,
		},
		"Refused": {
			"What the API server refuses is told, in its own words.", minimal,
			Live{Volume: volumeOf("100Gi"), ApplyErrors: map[Role]string{RoleBinding: "forbidden"}},
			[]Condition{{v1alpha1.ConditionCacheReady, false, v1alpha1.ReasonApplyFailed, "cannot apply the rolebinding: forbidden"}, noPreload, noCleanup},
			v1alpha1.CacheFailed,
		},
		"RefusedJob": {
			"So is a Job that it refuses.", preloadsOne,
			Live{Volume: volumeOf("100Gi"), ApplyErrors: map[Role]string{roles(models(t, preloadsOne))["a/b"]: "exceeded quota"}},
			[]Condition{bound, {v1alpha1.ConditionModelsReady, false, v1alpha1.ReasonApplyFailed, "cannot apply the " + string(roles(models(t, preloadsOne))["a/b"]) + ": exceeded quota"}, noCleanup},
			v1alpha1.CacheFailed,
		},
		"RefusedCleanup": {
			"And a CronJob.", cleaned,
			Live{Volume: volumeOf("100Gi"), ApplyErrors: map[Role]string{RoleCleanup: "exceeded quota"}},
			[]Condition{bound, noPreload, {v1alpha1.ConditionCleanupReady, false, v1alpha1.ReasonApplyFailed, "cannot apply the cleanup: exceeded quota"}},
			v1alpha1.CacheFailed,
		},
		"Scheduled": {
			"Before the first clean-up it is told when that is.", cleaned,
			Live{Volume: volumeOf("100Gi"), Inventory: measured()},
			[]Condition{bound, noPreload, {v1alpha1.ConditionCleanupReady, true, v1alpha1.ReasonScheduled, "no clean-up has been yet; they are scheduled at 0 3 * * * (UTC)"}},
			v1alpha1.CacheReady,
		},
		"Cleaned": {
			"After one it is told what it did.", cleaned,
			Live{Volume: volumeOf("100Gi"), Inventory: after(inventory.Cleanup{At: noon, Evicted: 2, FreedBytes: 30 * gib})},
			[]Condition{bound, noPreload, {v1alpha1.ConditionCleanupReady, true, v1alpha1.ReasonScheduled, "the last clean-up evicted 2 models, which freed 30Gi"}},
			v1alpha1.CacheReady,
		},
		"ShortOfSpace": {
			"A clean-up that could not free as much as it should tells what can be done.", cleaned,
			Live{Volume: volumeOf("100Gi"), Inventory: after(inventory.Cleanup{At: noon, MissingBytes: 5 * gib})},
			[]Condition{bound, noPreload, {v1alpha1.ConditionCleanupReady, false, v1alpha1.ReasonShortOfSpace, "the last clean-up evicted 0 models, which freed 0; 5Gi less is free than cleanup.minFreeSpace says, and what is left is in use or of high priority: raise storage.size"}},
			v1alpha1.CacheDegraded,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := models(t, tc.spec).Conditions(tc.live)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nConditions(...): -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.phase, Phase(got)); diff != "" {
				t.Errorf("\n%s\nPhase(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestBoundMessage makes sure that what many models have to say stays short
// enough for a condition.
func TestBoundMessage(t *testing.T) {
	var c Cache
	var d inventory.Document
	c = models(t, minimal)
	for i := range 60 {
		id := "acme/" + strings.Repeat("m", 40) + string(rune('a'+i%26)) + string(rune('a'+i/26))
		c.Spec.Models = append(c.Spec.Models, v1alpha1.CacheModel{ID: id, Preload: ptr.To(true)})
		d.Models = append(d.Models, failedModel(id, "main"))
	}
	got := c.modelsReady(Live{Inventory: &d, Volume: &corev1.PersistentVolumeClaim{}})
	if len(got.Message) > endpoint.MaxMessage+len("...") || !strings.HasSuffix(got.Message, "...") {
		t.Errorf("want at most %d bytes, got %d: %s", endpoint.MaxMessage, len(got.Message), got.Message)
	}
}
