package cache

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crossplane/function-sdk-go/errors"
	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/agent"
	"github.com/aim-engine/function-aim/fn/endpoint"
	"github.com/aim-engine/function-aim/fn/inventory"
)

// A Condition of a cache.
type Condition struct {
	Type    v1alpha1.ConditionType
	OK      bool
	Reason  v1alpha1.ConditionReason
	Message string
}

// Conditions of a cache, in the order in which they matter.
func (c Cache) Conditions(live Live) []Condition {
	return []Condition{c.storageReady(live), c.modelsReady(live), c.cleanupReady(live)}
}

// refusedBy says whether an object of one of some roles could not be applied,
// and puts that into a condition.
func (l Live) refusedBy(c *Condition, roles ...Role) bool {
	for _, r := range roles {
		if msg, ok := l.ApplyErrors[r]; ok {
			c.Reason, c.Message = v1alpha1.ReasonApplyFailed, fmt.Sprintf("cannot apply the %s: %s", r, msg)
			return true
		}
	}
	return false
}

func (c Cache) storageReady(live Live) Condition {
	out := Condition{Type: v1alpha1.ConditionCacheReady}
	roles := []Role{RoleInventory, RoleAccount, RoleRole, RoleBinding}
	if !c.Volume().GivesWay(live.Volume) {
		roles = append(roles, RoleVolume)
	}
	if live.refusedBy(&out, roles...) {
		return out
	}
	s := c.Volume().State(live.Volume, live.Class)
	out.OK, out.Reason, out.Message = s.OK, s.Reason, s.Message
	if live.Unreadable != "" {
		out.Message = endpoint.Bound(out.Message + "; what is on it is not known until the agent measures it again: " + live.Unreadable)
	}
	return out
}

// modelsReady says whether all models that should be preloaded are.
func (c Cache) modelsReady(live Live) Condition {
	out := Condition{Type: v1alpha1.ConditionModelsReady}
	ps := c.Preloads(live)
	roles := make([]Role, 0, len(ps))
	for _, p := range ps {
		roles = append(roles, p.Role)
	}
	if live.refusedBy(&out, roles...) {
		return out
	}
	if !c.preloads() {
		out.OK, out.Reason, out.Message = true, v1alpha1.ReasonDisabled, "no model has preload: each is downloaded by the first endpoint that needs it"
		return out
	}
	models := c.models(live)
	var failed, ended, downloading, waiting, missing []string
	for _, p := range ps {
		switch m := c.preloaded(p, models); m.Status {
		case string(inventory.StatusCached):
		case string(inventory.StatusFailed):
			failed = append(failed, m.ID+": "+m.Message)
			if _, ok := agent.Failed(p.Live); ok {
				ended = append(ended, c.TargetName(p.Role))
			}
		case statusPending:
			waiting = append(waiting, m.ID)
		case string(inventory.StatusDownloading):
			s := m.ID
			if m.Progress != nil {
				s += fmt.Sprintf(" (%d%%)", *m.Progress)
			}
			downloading = append(downloading, s)
		default:
			missing = append(missing, p.Model.ID)
		}
	}
	switch {
	case len(failed) > 0:
		msg := strings.Join(failed, "; ")
		if len(ended) > 0 {
			msg += ". To try again, delete the Job " + strings.Join(ended, ", ")
		}
		out.Reason, out.Message = v1alpha1.ReasonPreloadFailed, endpoint.Bound(msg)
	case len(downloading) > 0 || len(waiting) > 0:
		var parts []string
		if len(downloading) > 0 {
			parts = append(parts, "downloading "+strings.Join(downloading, ", "))
		}
		if len(waiting) > 0 {
			parts = append(parts, "still to come: "+strings.Join(waiting, ", "))
		}
		if why := c.stuck(ps, live); why != "" {
			parts = append(parts, why)
		}
		out.Reason, out.Message = v1alpha1.ReasonPreloading, endpoint.Bound(strings.Join(parts, "; "))
	default:
		out.OK, out.Reason, out.Message = true, v1alpha1.ReasonPreloaded, fmt.Sprintf("%d of %d models are there", len(ps)-len(missing), len(ps))
		if len(missing) > 0 {
			out.Message = endpoint.Bound(out.Message + "; downloaded, and since then evicted or not measured: " + strings.Join(missing, ", "))
		}
	}
	return out
}

func (c Cache) cleanupReady(live Live) Condition {
	out := Condition{Type: v1alpha1.ConditionCleanupReady}
	if live.refusedBy(&out, RoleCleanup) {
		return out
	}
	if !*c.Spec.Cleanup.Enabled {
		out.OK, out.Reason, out.Message = true, v1alpha1.ReasonDisabled, "cleanup.enabled is false: nothing is ever evicted"
		return out
	}
	out.OK, out.Reason, out.Message = true, v1alpha1.ReasonScheduled, "no clean-up has been yet; they are scheduled at "+c.Spec.Cleanup.Schedule+" (UTC)"
	if d := live.Inventory; d != nil && d.LastCleanup != nil {
		l := d.LastCleanup
		out.Message = fmt.Sprintf("the last clean-up evicted %d models, which freed %s", l.Evicted, quantity(l.FreedBytes))
		if l.MissingBytes > 0 {
			out.OK, out.Reason = false, v1alpha1.ReasonShortOfSpace
			out.Message += fmt.Sprintf("; %s less is free than cleanup.minFreeSpace says, and what is left is in use or of high priority: raise storage.size", quantity(l.MissingBytes))
		}
	}
	return out
}

// preloads says whether any model is to be downloaded.
func (c Cache) preloads() bool {
	return slices.ContainsFunc(c.Spec.Models, func(m v1alpha1.CacheModel) bool { return *m.Preload })
}

// Downloads says whether there are downloads that are not done.
func (c Cache) Downloads(live Live) bool {
	return slices.ContainsFunc(c.Preloads(live), func(p Preload) bool { return !agent.Complete(p.Live) })
}

// stuck says why a download does not go on; empty if it does.
func (c Cache) stuck(ps []Preload, live Live) string {
	for _, p := range ps {
		if agent.Finished(p.Live) {
			continue
		}
		if why := c.diagnose(p, live); why != "" {
			return why
		}
	}
	return ""
}

// diagnose the pods of a download.
func (c Cache) diagnose(p Preload, live Live) string {
	name := c.TargetName(p.Role)
	pods := slices.DeleteFunc(slices.Clone(live.Pods), func(pod corev1.Pod) bool { return pod.Labels[batchv1.JobNameLabel] != name })
	return endpoint.DiagnoseAgent(p.Live, pods, c.Platform.GPUResourceName)
}

// Problems of the spec that its schema cannot find.
func (c Cache) Problems() []string {
	var out []string
	if _, err := schedule(c.Spec.Cleanup.Schedule); err != nil {
		out = append(out, fmt.Sprintf("spec.cleanup.schedule: %q is no schedule of cron: %v; an example is 0 3 * * *", c.Spec.Cleanup.Schedule, err))
	}
	// The agent would refuse it, each time.
	if _, err := c.policy().Policy(0); err != nil {
		out = append(out, fmt.Sprintf("spec.cleanup and spec.models: %v", err))
	}
	if c.Platform.Agent.Image == "" && (*c.Spec.Cleanup.Enabled || c.preloads()) {
		out = append(out, "spec.models[].preload and spec.cleanup.enabled need the agent: the platform has to set agentImage in the input of the cache's Composition")
	}
	return out
}

// schedule of cron, as the API server takes it for a CronJob with a time zone.
func schedule(s string) (cron.Schedule, error) {
	if strings.Contains(s, "TZ") {
		// The parser panics on some of these, too.
		return nil, errors.New("it is in UTC, and cannot name a time zone")
	}
	return cron.ParseStandard(s)
}

const statusPending = "Pending"

// models that are on the volume, and those that should be.
func (c Cache) models(live Live) []v1alpha1.CachedModel {
	var out []v1alpha1.CachedModel
	if d := live.Inventory; d != nil {
		for _, m := range d.Models {
			cm := v1alpha1.CachedModel{
				ID: m.ID, Revision: m.Revision, Commit: m.Commit, Size: quantity(m.SizeBytes), Status: string(m.Status), Message: m.Message,
				CachedAt: timeOf(m.CachedAt), LastAccessed: timeOf(m.LastAccessed),
			}
			if m.AccessCount > 0 {
				cm.AccessCount = ptr.To(m.AccessCount)
			}
			if p, ok := m.Percentage(); ok && m.Status == inventory.StatusDownloading {
				cm.Progress = &p
			}
			out = append(out, cm)
		}
	}
	for _, p := range c.Preloads(live) {
		why, failed := agent.Failed(p.Live)
		i := slices.IndexFunc(out, p.is)
		switch {
		case i >= 0 && failed && out[i].Status == string(inventory.StatusDownloading):
			// Nobody is at it any more, whatever was written last.
			out[i].Status, out[i].Progress = string(inventory.StatusFailed), nil
			out[i].Message = cmp.Or(out[i].Message, c.diagnose(p, live), why)
		case i >= 0:
		case failed:
			out = append(out, v1alpha1.CachedModel{
				ID: p.Model.ID, Revision: p.revision(), Status: string(inventory.StatusFailed),
				Message: fmt.Sprintf("the Job %s failed: %s", c.TargetName(p.Role), cmp.Or(c.diagnose(p, live), why)),
			})
		case !agent.Finished(p.Live):
			out = append(out, v1alpha1.CachedModel{ID: p.Model.ID, Revision: p.revision(), Status: statusPending})
		}
	}
	slices.SortFunc(out, func(a, b v1alpha1.CachedModel) int {
		return cmp.Or(strings.Compare(a.ID, b.ID), strings.Compare(a.Commit, b.Commit), strings.Compare(a.Revision, b.Revision))
	})
	return out
}

// preloaded is what became of a preload, among the models that there are; its
// status is empty where that is not known.
func (c Cache) preloaded(p Preload, models []v1alpha1.CachedModel) v1alpha1.CachedModel {
	if i := slices.IndexFunc(models, p.is); i >= 0 {
		return models[i]
	}
	// A commit may have more names than the one that it is listed by.
	i := slices.IndexFunc(models, func(m v1alpha1.CachedModel) bool {
		return m.ID == p.Model.ID && m.Status == string(inventory.StatusCached)
	})
	if i >= 0 && agent.Finished(p.Live) {
		return models[i]
	}
	return v1alpha1.CachedModel{}
}

// revision that is preloaded.
func (p Preload) revision() string { return cmp.Or(p.Model.Revision, agent.DefaultRevision) }

// is says whether a model is the one that is preloaded.
func (p Preload) is(m v1alpha1.CachedModel) bool {
	return m.ID == p.Model.ID && (m.Revision == p.revision() || m.Commit == p.revision())
}

func timeOf(t *time.Time) *metav1.Time {
	if t == nil {
		return nil
	}
	return &metav1.Time{Time: t.UTC().Truncate(time.Second)}
}

// quantity of bytes, as people write them: to the nearest Mi from there on.
func quantity(n int64) string {
	const mi = 1 << 20
	if n >= mi {
		n = (n + mi/2) / mi * mi
	}
	return resource.NewQuantity(n, resource.BinarySI).String()
}

// Status of a cache that comes from live objects. The phase and reason are not
// among it: they depend on all conditions.
func (c Cache) Status(live Live) v1alpha1.AIMCacheStatus {
	s := v1alpha1.AIMCacheStatus{
		Storage:      &v1alpha1.CacheStorageStatus{PVCName: c.TargetName(RoleVolume)},
		CachedModels: c.models(live),
		Usage:        &v1alpha1.CacheUsage{ActiveModels: ptr.To(int32(min(len(c.Used), 1<<20)))}, //nolint:gosec // Bounded.
	}
	if live.Volume != nil {
		s.Storage.PVCPhase = string(live.Volume.Status.Phase)
	}
	if cj := live.Cleanup; cj != nil && cj.Status.LastScheduleTime != nil {
		// From what Kubernetes did last, and not from a clock.
		if sched, err := schedule(c.Spec.Cleanup.Schedule); err == nil {
			if next := sched.Next(cj.Status.LastScheduleTime.UTC()); !next.IsZero() {
				s.Usage.NextCleanup = &metav1.Time{Time: next}
			}
		}
	}
	d := live.Inventory
	if d == nil {
		return s
	}
	s.Storage.TotalSize = quantity(d.Volume.CapacityBytes)
	s.Storage.AvailableSize = quantity(d.Volume.AvailableBytes)
	s.Storage.UsedSize = quantity(d.Volume.CapacityBytes - d.Volume.AvailableBytes)
	s.Storage.UsagePercentage = ptr.To(d.Volume.UsagePercentage())
	n := int32(0)
	for _, m := range d.Models {
		if m.Status == inventory.StatusCached {
			n++
		}
	}
	s.Usage.TotalModels = &n
	if d.LastCleanup != nil {
		s.Usage.LastCleanup = timeOf(&d.LastCleanup.At)
	}
	return s
}

// failures are reasons for which a cache cannot be used at all, until somebody
// does something about it.
//
//nolint:gochecknoglobals // A constant.
var failures = []v1alpha1.ConditionReason{
	v1alpha1.ReasonApplyFailed, v1alpha1.ReasonInvalid, v1alpha1.ReasonNameConflict, v1alpha1.ReasonStorageClassNotFound, v1alpha1.ReasonVolumeLost,
}

// Phase of a cache.
func Phase(cs []Condition) v1alpha1.CachePhase {
	phase := v1alpha1.CacheReady
	for _, c := range cs {
		switch {
		case c.OK:
		case slices.Contains(failures, c.Reason):
			return v1alpha1.CacheFailed
		case c.Reason == v1alpha1.ReasonWaitingForConsumer:
			phase = v1alpha1.CachePending
		case c.Reason == v1alpha1.ReasonPreloading && phase == v1alpha1.CacheReady:
			phase = v1alpha1.CachePreloading
		case phase == v1alpha1.CacheReady:
			phase = v1alpha1.CacheDegraded
		}
	}
	return phase
}
