package endpoint

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

const testCommit = "0123456789abcdef0123456789abcdef01234567"

// usingShared has an endpoint use an AIMCache that is empty, with changes.
func usingShared(changes ...func(s *Shared)) func(e *Endpoint) {
	return func(e *Endpoint) {
		e.Spec.Cache.Name = "models"
		e.Shared = &Shared{
			Name: "models", Claim: "models-storage", MountPath: "/models", Mode: corev1.ReadWriteOnce, Bound: true, Lists: []string{testModel},
		}
		for _, change := range changes {
			change(e.Shared)
		}
	}
}

func has(models ...Cached) func(s *Shared) {
	return func(s *Shared) { s.Has = models }
}

// hasIt says that the cache has the endpoint's model.
func hasIt(s *Shared) { has(Cached{testModel, "main", testCommit})(s) }

func atRevision(r string) func(e *Endpoint) {
	return func(e *Endpoint) {
		e.Recipe.Snapshot = e.Recipe.Snapshot.DeepCopy()
		e.Recipe.Snapshot.Revision = r
		e.Recipe.Snapshot.Args = append(e.Recipe.Snapshot.Args, "--revision", r)
	}
}

// applied is an endpoint as it runs, given what is live.
func applied(tb testing.TB, e Endpoint, live Live) Endpoint {
	tb.Helper()
	e, err := e.Apply(Plan{Recipe: e.Recipe}, live)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// storage is how a server gets at its models.
type storage struct {
	// Claim that is mounted, and whether for reading only.
	Claim    string
	ReadOnly bool
	// Path of the mount, and the variables that depend on it.
	Path                               string
	HFHome, Triton, XDG, Home, Offline string
}

func storageOf(tb testing.TB, d *appsv1.Deployment) storage {
	tb.Helper()
	s := storage{}
	p := d.Spec.Template.Spec
	for _, v := range p.Volumes {
		if c := v.PersistentVolumeClaim; c != nil {
			s.Claim, s.ReadOnly = c.ClaimName, c.ReadOnly
		}
	}
	for _, m := range p.Containers[0].VolumeMounts {
		if m.Name == volumeCache {
			s.Path = m.MountPath
			if m.ReadOnly != s.ReadOnly {
				tb.Errorf("volume and mount should agree on whether they are for reading only: got %t and %t", s.ReadOnly, m.ReadOnly)
			}
		}
	}
	for _, v := range p.Containers[0].Env {
		switch v.Name {
		case "HF_HOME":
			s.HFHome = v.Value
		case "TRITON_CACHE_DIR":
			s.Triton = v.Value
		case "XDG_CACHE_HOME":
			s.XDG = v.Value
		case "HOME":
			s.Home = v.Value
		case envOffline:
			s.Offline = v.Value
		}
	}
	return s
}

var (
	// online servers download what is missing, and keep what they compile with
	// it. Offline ones only read.
	online  = storage{Claim: "models-storage", Path: "/models", HFHome: "/models", Triton: "/models/triton", XDG: "/models/cache"}
	offline = storage{Claim: "models-storage", ReadOnly: true, Path: "/models", HFHome: "/models", Triton: homePath + "/triton", XDG: homePath + "/cache", Home: homePath, Offline: "1"}
)

func TestShared(t *testing.T) {
	user := func(value string) func(e *Endpoint) {
		return func(e *Endpoint) {
			e.Spec.Deployment.Env = append(e.Spec.Deployment.Env, corev1.EnvVar{Name: envOffline, Value: value})
		}
	}
	// runs is what an endpoint was started as.
	runs := func(changes ...func(e *Endpoint)) *appsv1.Deployment {
		return applied(t, chat(t, "", changes...), Live{}).deployment(nil)
	}
	all := func(changes ...func(e *Endpoint)) []func(e *Endpoint) { return changes }
	cases := map[string]struct {
		reason string
		now    []func(e *Endpoint)
		live   *appsv1.Deployment
		want   storage
	}{
		"Empty": {
			reason: "A server should fill a cache that does not have its model.",
			now:    all(usingShared()), want: online,
		},
		"Cached": {
			reason: "A server whose model is there should only read it.",
			now:    all(usingShared(hasIt)), want: offline,
		},
		"OtherModel": {
			reason: "Another model is of no use.",
			now:    all(usingShared(has(Cached{"acme/own", "main", testCommit}))), want: online,
		},
		"OtherRevision": {
			reason: "Nor is another revision: offline the server would not find its own.",
			now:    all(usingShared(hasIt), atRevision("v2")), want: online,
		},
		"Revision": {
			reason: "Its own is.",
			now:    all(usingShared(has(Cached{testModel, "v2", testCommit})), atRevision("v2")), want: offline,
		},
		"RevisionOnly": {
			reason: "Who asks for none asks for the default branch.",
			now:    all(usingShared(has(Cached{testModel, "v2", testCommit}))), want: online,
		},
		"Commit": {
			reason: "A commit is the same by whatever name it was downloaded.",
			now:    all(usingShared(hasIt), atRevision(testCommit)), want: offline,
		},
		"CachedWhileRunning": {
			reason: "That the model came to be in the cache is no reason to start a server again.",
			now:    all(usingShared(hasIt)), live: runs(usingShared()), want: online,
		},
		"EvictedWhileRunning": {
			reason: "Nor is that it is no longer there.",
			now:    all(usingShared()), live: runs(usingShared(hasIt)), want: offline,
		},
		"ModelChanged": {
			reason: "A server that starts again for another model should look anew.",
			now:    all(usingShared(hasIt)), live: runs(usingShared(), func(e *Endpoint) { e.Recipe.Snapshot.Args[0] = "acme/own" }), want: offline,
		},
		"RevisionChanged": {
			reason: "And for another revision, which may not be there.",
			now:    all(usingShared(hasIt), atRevision("v2")), live: runs(usingShared(hasIt)), want: online,
		},
		"CacheChanged": {
			reason: "Another cache may not have what this one has.",
			now:    all(usingShared()), live: runs(usingShared(hasIt, func(s *Shared) { s.Claim = "others-storage" })), want: online,
		},
		"CacheAdded": {
			reason: "A server that gets a cache starts again anyway.",
			now:    all(usingShared(hasIt)), live: runs(func(e *Endpoint) { *e.Spec.Cache.Enabled = true }), want: offline,
		},
		"VariableOfUser": {
			reason: "A variable that the user has set says nothing of how the server was started.",
			now:    all(usingShared(), user("1")), live: runs(usingShared(), user("1")),
			want: func() storage { s := online; s.Offline = "1"; return s }(),
		},
		"VariableOfPlatform": {
			reason: "And does not go before what was decided.",
			now:    all(usingShared(hasIt), user("0")), want: offline,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := applied(t, chat(t, "", tc.now...), Live{Deployment: tc.live})
			got := e.deployment(tc.live)
			if diff := cmp.Diff(tc.want, storageOf(t, got)); diff != "" {
				t.Errorf("\n%s\n-want storage, +got storage:\n%s", tc.reason, diff)
			}
			// What runs goes on: the next reconcile must not undo it.
			again := applied(t, chat(t, "", tc.now...), Live{Deployment: got}).deployment(got)
			if diff := cmp.Diff(got.Spec.Template, again.Spec.Template); diff != "" {
				t.Errorf("\nWhat was decided should stay decided: -first, +second:\n%s", diff)
			}
		})
	}
}

// TestSharedVolume makes sure that an endpoint with an AIMCache has no volume of
// its own.
func TestSharedVolume(t *testing.T) {
	for _, m := range rendered(t, applied(t, chat(t, "", usingShared(hasIt)), Live{}), Live{}) {
		if m.Role == RoleCache {
			t.Errorf("want no volume, got %v", m.Object)
		}
	}
}

// TestSharedStartup makes sure that a server that downloads nothing has half the
// time to start.
func TestSharedStartup(t *testing.T) {
	with := applied(t, chat(t, "", usingShared()), Live{})
	without := applied(t, chat(t, "", usingShared(hasIt)), Live{})
	own := chat(t, `cache: {enabled: true}`)
	if diff := cmp.Diff([]int32{own.startupSeconds(), own.startupSeconds() / 2}, []int32{with.startupSeconds(), without.startupSeconds()}); diff != "" {
		t.Errorf("-want seconds with and without a download, +got:\n%s", diff)
	}
	budget := func(e Endpoint) int32 {
		p := e.deployment(nil).Spec.Template.Spec.Containers[0].StartupProbe
		return p.PeriodSeconds * p.FailureThreshold
	}
	if got := []int32{budget(with), budget(without)}; got[1] >= got[0] {
		t.Errorf("The probe should know: got seconds with and without a download %v", got)
	}
}

// TestSharedCanary makes sure that a canary never waits for a volume that is on
// another node.
func TestSharedCanary(t *testing.T) {
	many := func(s *Shared) { s.Mode = corev1.ReadWriteMany }
	pod := func(s *Shared) { s.Mode = corev1.ReadWriteOncePod }
	own := storage{Path: cachePath, HFHome: cachePath, Triton: cachePath + "/triton", XDG: cachePath + "/cache"}
	cases := map[string]struct {
		reason string
		spec   string
		shared func(e *Endpoint)
		want   storage
	}{
		"One":          {"A volume of one node may not be the canary's.", "", usingShared(hasIt), own},
		"Pod":          {"One of one pod is not.", "", usingShared(hasIt, pod), own},
		"OneOfMany":    {"The mode of a volume that the endpoint does not have is of no importance.", `cache: {accessMode: ReadWriteMany}`, usingShared(hasIt), own},
		"Many":         {"One of many nodes should be used.", "", usingShared(hasIt, many), offline},
		"ManyAndEmpty": {"And be filled.", "", usingShared(many), online},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, tc.spec+"\ndeployment: {canary: {enabled: true}}", tc.shared)
			next := e.Recipe
			next.Snapshot = next.Snapshot.DeepCopy()
			next.Snapshot.Image, next.Image = "vllm/vllm-openai-rocm:v0.23.0", "vllm/vllm-openai-rocm:v0.23.0"
			out, err := e.Apply(Plan{Recipe: e.Recipe, Canary: &next}, Live{})
			if err != nil {
				t.Fatal(err)
			}
			canary := out.Canary.deployment(nil)
			if diff := cmp.Diff(tc.want, storageOf(t, canary)); diff != "" {
				t.Errorf("\n%s\n-want storage of the canary, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff("models-storage", storageOf(t, out.deployment(nil)).Claim); diff != "" {
				t.Errorf("\nThe workload keeps its cache: -want, +got:\n%s", diff)
			}
			// A canary is what it was as long as it runs, whatever becomes of the cache.
			flipped := chat(t, tc.spec+"\ndeployment: {canary: {enabled: true}}", tc.shared)
			if len(flipped.Shared.Has) > 0 {
				flipped.Shared.Has = nil
			} else {
				hasIt(flipped.Shared)
			}
			again, err := flipped.Apply(Plan{Recipe: e.Recipe, Canary: &next}, Live{Canary: canary})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(canary.Spec.Template, again.Canary.deployment(canary).Spec.Template); diff != "" {
				t.Errorf("\nA canary should not be started again for its cache: -before, +after:\n%s", diff)
			}
		})
	}
}

func TestSharedCondition(t *testing.T) {
	bound := func(message string) Condition {
		return Condition{Type: v1alpha1.ConditionCacheReady, OK: true, Reason: v1alpha1.ReasonBound, Message: message}
	}
	many := func(s *Shared) { s.Mode = corev1.ReadWriteMany }
	cases := map[string]struct {
		reason string
		spec   string
		shared func(e *Endpoint)
		live   func(e *Endpoint)
		want   Condition
	}{
		"Unbound": {
			"A volume may wait for this pod.", "", usingShared(func(s *Shared) { s.Bound = false }), nil,
			Condition{Type: v1alpha1.ConditionCacheReady, Reason: v1alpha1.ReasonWaitingForConsumer, Message: "the volume of AIMCache models is not bound yet; with some storage classes that waits for a pod"},
		},
		"Failed": {
			"One for which no volume is made should not seem to wait for this pod.", "", usingShared(func(s *Shared) { s.Bound, s.Failed = false, "StorageClassNotFound" }), nil,
			Condition{Type: v1alpha1.ConditionCacheReady, Reason: v1alpha1.ReasonWaitingForConsumer, Message: "the volume of AIMCache models is not bound: StorageClassNotFound; kubectl describe aimcache models says what to do"},
		},
		"Cached":  {"Where a model is read from should be told.", "", usingShared(hasIt), nil, bound("AIMCache models has Qwen/Qwen3-32B, which is read from there")},
		"Listed":  {"That it has yet to come should be.", "", usingShared(), nil, bound("AIMCache models does not have all of Qwen/Qwen3-32B yet: the server downloads what is missing")},
		"Foreign": {"That nobody has thought of it should be.", "", usingShared(func(s *Shared) { s.Lists = []string{"acme/own"} }), nil, bound("AIMCache models does not list Qwen/Qwen3-32B: the server downloads it into the cache, where it stays until it is cleaned up")},
		"CachedSince": {
			"A server that was started before may read it the next time.", "", usingShared(hasIt), usingShared(), bound("AIMCache models has Qwen/Qwen3-32B"),
		},
		"EvictedSince": {
			"That what a server was started with is gone should be told, not that it is there.", "", usingShared(), usingShared(hasIt),
			bound("AIMCache models does not have all of Qwen/Qwen3-32B any more, but the server was started to read it from there and could not start again: change the endpoint, or have the cache preload the model"),
		},
		"Several": {
			"Several replicas and a volume of one node should be told of.", "scaling: {minReplicas: 1, maxReplicas: 3}", usingShared(hasIt), nil,
			bound("AIMCache models has Qwen/Qwen3-32B, which is read from there; it is ReadWriteOnce: all replicas have to be on one node"),
		},
		"SeveralOfPod": {
			"And one of one pod.", "scaling: {minReplicas: 2}", usingShared(hasIt, func(s *Shared) { s.Mode = corev1.ReadWriteOncePod }), nil,
			bound("AIMCache models has Qwen/Qwen3-32B, which is read from there; it is ReadWriteOncePod: only one pod can mount it, and others wait for that; use one that is ReadWriteMany"),
		},
		"Others": {
			"So should who else has to be on that node.", "", usingShared(hasIt, func(s *Shared) { s.Others = []string{"a", "b"} }), nil,
			bound("AIMCache models has Qwen/Qwen3-32B, which is read from there; it is ReadWriteOnce: all pods that mount it, those of a, b too, have to be on one node"),
		},
		"OthersOfMany":  {"Most share one of many nodes.", "", usingShared(hasIt, many, func(s *Shared) { s.Others = []string{"a", "b"} }), nil, bound("AIMCache models has Qwen/Qwen3-32B, which is read from there")},
		"SeveralOfMany": {"With one of many nodes there is nothing to tell.", "scaling: {minReplicas: 3}", usingShared(hasIt, many), nil, bound("AIMCache models has Qwen/Qwen3-32B, which is read from there")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			live := Live{}
			if tc.live != nil {
				live.Deployment = applied(t, chat(t, tc.spec, tc.live), Live{}).deployment(nil)
			}
			if diff := cmp.Diff(tc.want, applied(t, chat(t, tc.spec, tc.shared), live).cacheReady(live)); diff != "" {
				t.Errorf("\n%s\n-want condition, +got condition:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestOnOneNode is about servers that wait for GPUs, where only those of one node
// are of use: the scheduler does not say so if no node has enough.
func TestOnOneNode(t *testing.T) {
	const full = "0/3 nodes are available: 3 Insufficient amd.com/gpu."
	const wants = "0 of 1 replicas are available; pod chat-a cannot be scheduled: 0/3 nodes are available: 3 Insufficient amd.com/gpu; free GPUs, add nodes, or set recipe.gpuCount or recipe.hardware to what is free"
	others := func(s *Shared) { s.Others = []string{"one", "two"} }
	cases := map[string]struct {
		reason    string
		spec      string
		change    []func(e *Endpoint)
		scheduler string
		want      string
	}{
		"NoVolume": {reason: "GPUs are of use wherever they are.", scheduler: full, want: wants},
		"Alone":    {reason: "So they are for the only pod that mounts a volume.", change: []func(e *Endpoint){usingShared()}, scheduler: full, want: wants},
		"Shared": {
			reason: "Whoever mounts what others mount needs them on their node.", change: []func(e *Endpoint){usingShared(others)}, scheduler: full,
			want: wants + "; AIMCache models is ReadWriteOnce: all pods that mount it, those of one, two too, have to be on one node",
		},
		"SharedByNodes": {
			reason: "A volume that many nodes can mount is no obstacle.", scheduler: full, want: wants,
			change: []func(e *Endpoint){usingShared(others, func(s *Shared) { s.Mode = corev1.ReadWriteMany })},
		},
		"Replicas": {
			reason: "So do all replicas of one endpoint.", spec: `{cache: {enabled: true}, scaling: {minReplicas: 1, maxReplicas: 2}}`, scheduler: full,
			want: wants + "; the cache's volume is ReadWriteOnce: all replicas have to be on one node",
		},
		"Said": {
			reason: "What is said already is not said again.", change: []func(e *Endpoint){usingShared(others)},
			scheduler: "0/3 nodes are available: 1 Insufficient amd.com/gpu, 2 node(s) didn't match pod affinity rules.",
			want: "0 of 1 replicas are available; pod chat-a cannot be scheduled: 0/3 nodes are available: 1 Insufficient amd.com/gpu, 2 node(s) didn't match pod affinity rules; free GPUs, add nodes, or set recipe.gpuCount or recipe.hardware to what is free; " +
				"where others mount its ReadWriteOnce volume, it has to be on their node: free GPUs there, or use a volume that is ReadWriteMany",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, tc.spec, tc.change...)
			live := Live{Deployment: deployed(e, counts(1, 1, 0)), Pods: []corev1.Pod{pod("chat-a", 0, unschedulable(tc.scheduler))}}
			want := Condition{Type: v1alpha1.ConditionWorkloadReady, Reason: v1alpha1.ReasonWaitingForGPU, Message: tc.want}
			if diff := cmp.Diff(want, e.workloadReady(live)); diff != "" {
				t.Errorf("\n%s\nworkloadReady(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
