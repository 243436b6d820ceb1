package endpoint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/agent"
)

// A Shared cache is the volume of an AIMCache.
type Shared struct {
	// Name of the AIMCache.
	Name string
	// Claim for its volume, and where to mount it.
	Claim     string
	MountPath string
	// Mode of access.
	Mode corev1.PersistentVolumeAccessMode
	// Failed is the reason for which the cache cannot be used at all; empty if it
	// can, or will.
	Failed string
	// Bound says whether there is a volume already.
	Bound bool
	// Lists are the models that the cache lists.
	Lists []string
	// Has are those that it has all of.
	Has []Cached
	// Others are the endpoints that mount it beside this one, sorted.
	Others []string
}

// A Cached model is in a cache: a commit, and the revision that it was asked
// for by.
type Cached struct {
	Model, Revision, Commit string
}

// cached says whether the shared cache has the endpoint's model, at its revision.
func (e Endpoint) cached() bool {
	s := e.Recipe.Snapshot
	return e.Shared != nil && slices.ContainsFunc(e.Shared.Has, func(c Cached) bool {
		return c.Model == s.Model && (c.Revision == cmp.Or(s.Revision, agent.DefaultRevision) || c.Commit == s.Revision)
	})
}

const envOffline = "HF_HUB_OFFLINE"

// settleOffline decides whether the server asks nobody for its model. One that
// runs goes on as it was started: that the model has come to be in the cache
// meanwhile is no reason to start it again. One of another cache, or that is
// started again for its arguments, which name model and revision, starts anew.
func (e Endpoint) settleOffline(live *appsv1.Deployment) bool {
	if e.Shared == nil || live == nil {
		return e.cached()
	}
	same := func(c corev1.Container) bool { return slices.Equal(c.Args, e.args()) }
	if !slices.ContainsFunc(live.Spec.Template.Spec.Containers, same) {
		return e.cached()
	}
	for _, v := range live.Spec.Template.Spec.Volumes {
		if v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == e.Shared.Claim {
			// Who may only read is offline. The variable may be the user's.
			return v.PersistentVolumeClaim.ReadOnly
		}
	}
	return e.cached()
}

// cacheMount is where the cache is mounted.
func (e Endpoint) cacheMount() string {
	if e.Shared != nil {
		return e.Shared.MountPath
	}
	return cachePath
}

func (e Endpoint) sharedReady() Condition {
	c := Condition{Type: v1alpha1.ConditionCacheReady}
	s, m := e.Shared, e.Recipe.Snapshot.Model
	if !s.Bound {
		c.Reason, c.Message = v1alpha1.ReasonWaitingForConsumer, fmt.Sprintf("the volume of AIMCache %s is not bound yet; with some storage classes that waits for a pod", s.Name)
		if s.Failed != "" {
			c.Message = fmt.Sprintf("the volume of AIMCache %s is not bound: %s; kubectl describe aimcache %[1]s says what to do", s.Name, s.Failed)
		}
		return c
	}
	c.OK, c.Reason = true, v1alpha1.ReasonBound
	switch {
	case e.offline && !e.cached():
		c.Message = fmt.Sprintf("AIMCache %s does not have all of %s any more, but the server was started to read it from there and could not start again: change the endpoint, or have the cache preload the model", s.Name, m)
	case e.offline:
		c.Message = fmt.Sprintf("AIMCache %s has %s, which is read from there", s.Name, m)
	case e.cached():
		c.Message = fmt.Sprintf("AIMCache %s has %s", s.Name, m)
	case slices.Contains(s.Lists, m):
		c.Message = fmt.Sprintf("AIMCache %s does not have all of %s yet: the server downloads what is missing", s.Name, m)
	default:
		c.Message = fmt.Sprintf("AIMCache %s does not list %s: the server downloads it into the cache, where it stays until it is cleaned up", s.Name, m)
	}
	c.Message = Bound(c.Message + e.together("it", s.Mode, s.Others))
	return c
}

// together says what a volume's mode of access means for all who mount what it
// is called.
func (e Endpoint) together(it string, mode corev1.PersistentVolumeAccessMode, others []string) string {
	several := e.maxReplicas() > 1
	switch {
	case mode == corev1.ReadWriteOncePod && (several || len(others) > 0):
		return "; " + it + " is ReadWriteOncePod: only one pod can mount it, and others wait for that; use one that is ReadWriteMany"
	case mode == corev1.ReadWriteOnce && len(others) > 0:
		return fmt.Sprintf("; %s is ReadWriteOnce: all pods that mount it, those of %s too, have to be on one node", it, strings.Join(others, ", "))
	case mode == corev1.ReadWriteOnce && several:
		return "; " + it + " is ReadWriteOnce: all replicas have to be on one node"
	}
	return ""
}
