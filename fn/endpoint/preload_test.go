package endpoint

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/agent"
	"github.com/aim-engine/function-aim/fn/volume"
)

// withAgent has a platform that can download models.
func withAgent(e *Endpoint) {
	e.Platform.Agent = agent.Platform{Image: "localhost:5000/function-aim:v1", Env: []corev1.EnvVar{{Name: "HTTPS_PROXY", Value: "http://proxy:3128"}}}
}

// unboundClaim waits for a volume.
func unboundClaim() *corev1.PersistentVolumeClaim {
	c := boundClaim("50Gi", "fast")
	c.Status.Phase = corev1.ClaimPending
	return c
}

// ofMode is a claim of another mode.
func ofMode(mode corev1.PersistentVolumeAccessMode, c *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{mode}
	return c
}

// preloadOf an endpoint is live: its Job has a condition, or none.
func preloadOf(e Endpoint, live Live, condition batchv1.JobConditionType, message string) map[string]*batchv1.Job {
	p := e.preload(Live{Cache: live.Cache})
	j := p.job.DeepCopy()
	if condition != "" {
		j.Status.Conditions = []batchv1.JobCondition{{Type: condition, Status: corev1.ConditionTrue, Message: message}}
	}
	return map[string]*batchv1.Job{strings.TrimPrefix(string(p.role), string(RolePreload)): j}
}

// TestPreload is about when the model is downloaded, whether the server waits
// for it, and what is told of both.
func TestPreload(t *testing.T) {
	const own = "cache: {enabled: true, size: 50Gi}"
	const (
		bound      = "the volume chat-cache of 50Gi is bound"
		downloads  = "the Job chat-preload-(id) downloads Qwen/Qwen3-32B"
		waits      = "the server starts once Qwen/Qwen3-32B is downloaded into its volume"
		keeps      = "the workload keeps running as it was until Qwen/Qwen3-32B is downloaded into its volume"
		unboundMsg = "the PersistentVolumeClaim chat-cache is not bound yet; with some storage classes that waits for a pod"
	)
	type want struct {
		// Whether a Job is there, is kept as it is, and whether the server may start or change.
		Job, Keep, Server bool
		Cache, Workload   Condition
	}
	cond := func(ct v1alpha1.ConditionType, ok bool, r v1alpha1.ConditionReason, msg string) Condition {
		return Condition{Type: ct, OK: ok, Reason: r, Message: msg}
	}
	cache := func(ok bool, r v1alpha1.ConditionReason, msg string) Condition {
		return cond(v1alpha1.ConditionCacheReady, ok, r, msg)
	}
	workload := func(r v1alpha1.ConditionReason, msg string) Condition {
		return cond(v1alpha1.ConditionWorkloadReady, r == v1alpha1.ReasonAvailable, r, msg)
	}
	none := workload(v1alpha1.ReasonStarting, "0 of 1 replicas are available")
	available := workload(v1alpha1.ReasonAvailable, "1 of 1 replicas are available")
	// serving a model, with the endpoint's own arguments, or others.
	serving := func(tb testing.TB, change func(d *appsv1.Deployment)) *appsv1.Deployment {
		tb.Helper()
		d := chat(tb, own, withAgent).deployment(nil)
		d.Status = appsv1.DeploymentStatus{Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1}
		change(d)
		return d
	}
	same := func(*appsv1.Deployment) {}
	other := func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Args[1] = "acme/other" }

	cases := map[string]struct {
		reason   string
		spec     string
		noAgent  bool
		claim    *corev1.PersistentVolumeClaim
		binds    bool
		server   func(d *appsv1.Deployment)
		job      bool
		jobIs    batchv1.JobConditionType
		jobSays  string
		pods     []corev1.Pod
		applyErr string
		want     want
	}{
		"Off": {
			reason: "Without a cache there is nothing to download to.", spec: "cache: {enabled: false}",
			want: want{Server: true, Cache: cache(true, v1alpha1.ReasonDisabled, "cache.enabled is false: each pod downloads the model"), Workload: none},
		},
		"NotAsked": {
			reason: "A server can download by itself.", spec: "cache: {enabled: true, size: 50Gi, preload: false}", claim: boundClaim("50Gi", "fast"),
			want: want{Server: true, Cache: cache(true, v1alpha1.ReasonBound, bound), Workload: none},
		},
		"NoAgent": {
			reason: "It has to where the platform has no agent, and that should be told.", spec: own, noAgent: true, claim: boundClaim("50Gi", "fast"),
			want: want{Server: true, Cache: cache(true, v1alpha1.ReasonBound, bound+"; the server downloads the model: the platform has set no agentImage"), Workload: none},
		},
		"NoVolume": {
			reason: "First there has to be a volume.", spec: own,
			want: want{Cache: cache(false, v1alpha1.ReasonWaitingForConsumer, unboundMsg), Workload: workload(v1alpha1.ReasonPreloading, waits)},
		},
		"Binding": {
			reason: "One that binds without a pod will be there in a moment.", spec: own, claim: unboundClaim(), binds: true,
			want: want{Cache: cache(false, v1alpha1.ReasonWaitingForConsumer, unboundMsg), Workload: workload(v1alpha1.ReasonPreloading, waits)},
		},
		"WaitingForConsumer": {
			reason: "One that waits for a pod should be where the server's pod finds GPUs.", spec: own, claim: unboundClaim(),
			want: want{Server: true, Cache: cache(false, v1alpha1.ReasonWaitingForConsumer, unboundMsg), Workload: none},
		},
		"Bound": {
			reason: "No GPU should wait for a download.", spec: own, claim: boundClaim("50Gi", "fast"),
			want: want{Job: true, Cache: cache(false, v1alpha1.ReasonPreloading, downloads), Workload: workload(v1alpha1.ReasonPreloading, waits)},
		},
		"Stuck": {
			reason: "Why nothing goes on should be told.", spec: own, claim: boundClaim("50Gi", "fast"), job: true,
			pods: []corev1.Pod{agentPod("chat-preload-x", corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such host"}})},
			want: want{
				Job: true, Workload: workload(v1alpha1.ReasonPreloading, waits),
				Cache: cache(false, v1alpha1.ReasonPreloading, downloads+"; pod chat-preload-x cannot pull image localhost:5000/function-aim:v1: no such host; the platform names it in agentImage"),
			},
		},
		"Refused": {
			reason: "So should what the cluster says to the Job.", spec: own, claim: boundClaim("50Gi", "fast"), job: true, applyErr: "exceeded quota",
			want: want{Job: true, Cache: cache(false, v1alpha1.ReasonApplyFailed, "cannot apply the Job that downloads the model: exceeded quota"), Workload: workload(v1alpha1.ReasonPreloading, waits)},
		},
		"Done": {
			reason: "Then the server starts, and the Job stays as it is.", spec: own, claim: boundClaim("50Gi", "fast"), job: true, jobIs: batchv1.JobComplete,
			want: want{Job: true, Keep: true, Server: true, Cache: cache(true, v1alpha1.ReasonBound, bound+", and has Qwen/Qwen3-32B"), Workload: none},
		},
		"Failed": {
			reason: "What failed for good should be told in the agent's words, with what can be done.", spec: own, claim: boundClaim("50Gi", "fast"), job: true, jobIs: batchv1.JobFailed, jobSays: "Container agent failed",
			pods: []corev1.Pod{agentPod("chat-preload-x", corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, Reason: "Error", Message: "asking\nfunction-aim: error: cannot download Qwen/Qwen3-32B at main: accept the licence\n"}})},
			want: want{
				Job: true, Workload: workload(v1alpha1.ReasonModelDownloadFailed, waits+", and that failed: see CacheReady"),
				Cache: cache(false, v1alpha1.ReasonPreloadFailed, "cannot download Qwen/Qwen3-32B: accept the licence. Delete the Job chat-preload-(id) to try again, or set cache.preload to false to have the server download it"),
			},
		},
		"FailedSilently": {
			reason: "Where the pod is gone, what the Job says is all there is.", spec: own, claim: boundClaim("50Gi", "fast"), job: true, jobIs: batchv1.JobFailed, jobSays: "Job has reached the specified backoff limit",
			want: want{
				Job: true, Workload: workload(v1alpha1.ReasonModelDownloadFailed, waits+", and that failed: see CacheReady"),
				Cache: cache(false, v1alpha1.ReasonPreloadFailed, "cannot download Qwen/Qwen3-32B: Job has reached the specified backoff limit. Delete the Job chat-preload-(id) to try again, or set cache.preload to false to have the server download it"),
			},
		},
		"Beside": {
			reason: "A server that runs the model is not held back.", spec: own, claim: boundClaim("50Gi", "fast"), server: same,
			want: want{Job: true, Server: true, Cache: cache(false, v1alpha1.ReasonPreloading, downloads), Workload: available},
		},
		"BesideAndFailed": {
			reason: "Nor is it stopped when the download fails.", spec: own, claim: boundClaim("50Gi", "fast"), server: same, job: true, jobIs: batchv1.JobFailed, jobSays: "why",
			want: want{
				Job: true, Server: true, Workload: available,
				Cache: cache(false, v1alpha1.ReasonPreloadFailed, "cannot download Qwen/Qwen3-32B: why. Delete the Job chat-preload-(id) to try again, or set cache.preload to false to have the server download it"),
			},
		},
		"Changed": {
			reason: "What serves should go on until the next model is there.", spec: own, claim: boundClaim("50Gi", "fast"), server: other,
			want: want{Job: true, Cache: cache(false, v1alpha1.ReasonPreloading, downloads), Workload: workload(v1alpha1.ReasonRolloutInProgress, keeps)},
		},
		"ChangedAndFailed": {
			reason: "Also if that fails.", spec: own, claim: boundClaim("50Gi", "fast"), server: other, job: true, jobIs: batchv1.JobFailed, jobSays: "why",
			want: want{
				Job: true, Workload: workload(v1alpha1.ReasonModelDownloadFailed, keeps+", and that failed: see CacheReady"),
				Cache: cache(false, v1alpha1.ReasonPreloadFailed, "cannot download Qwen/Qwen3-32B: why. Delete the Job chat-preload-(id) to try again, or set cache.preload to false to have the server download it"),
			},
		},
		"VolumeOutOfSight": {
			reason: "That the volume cannot be seen for a moment stops nothing.", spec: own, server: same,
			want: want{Server: true, Cache: cache(false, v1alpha1.ReasonWaitingForConsumer, unboundMsg), Workload: available},
		},
		"Exclusive": {
			reason: "A volume for one pod is for the download first.", spec: own + "\n", claim: ofMode(corev1.ReadWriteOncePod, boundClaim("50Gi", "fast")),
			want: want{Job: true, Cache: cache(false, v1alpha1.ReasonPreloading, downloads), Workload: workload(v1alpha1.ReasonPreloading, waits)},
		},
		"ExclusiveAndChanged": {
			reason: "While a server has it, nobody else can: it downloads by itself.", spec: own + "\n", claim: ofMode(corev1.ReadWriteOncePod, boundClaim("50Gi", "fast")), server: other,
			want: want{Server: true, Cache: cache(true, v1alpha1.ReasonBound, bound), Workload: available},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, tc.spec, withAgent)
			if tc.noAgent {
				e.Platform.Agent = agent.Platform{}
			}
			live := Live{Cache: tc.claim, CacheClass: volume.Class{Immediate: tc.binds}, PreloadPods: tc.pods, ApplyErrors: map[Role]string{}}
			if tc.claim != nil {
				e.Spec.Cache.AccessMode = string(tc.claim.Spec.AccessModes[0])
			}
			if tc.server != nil {
				live.Deployment = serving(t, tc.server)
			}
			if tc.job {
				live.Jobs = preloadOf(e, live, tc.jobIs, tc.jobSays)
			}
			id := ""
			for i := range live.Jobs {
				id = i
				if tc.applyErr != "" {
					live.ApplyErrors[RolePreload+Role(i)] = tc.applyErr
				}
			}
			if p := e.preload(live); p.job != nil {
				id = strings.TrimPrefix(string(p.role), string(RolePreload))
			}
			got := want{Cache: e.cacheReady(live), Workload: e.workloadReady(live)}
			for _, m := range rendered(t, e, live) {
				switch {
				case strings.HasPrefix(string(m.Role), string(RolePreload)):
					got.Job, got.Keep = true, m.Keep
					if name := e.TargetName(m.Role); name != "chat-preload-"+id || m.Object.(*batchv1.Job).Name != name {
						t.Errorf("\nA Job should have the name of its role: got %s", name)
					}
				case m.Role == RoleDeployment:
					got.Server = !m.Hold
				}
			}
			if id != "" {
				got.Cache.Message = strings.ReplaceAll(got.Cache.Message, id, "(id)")
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// agentPod with the state of its container.
func agentPod(name string, s corev1.ContainerState) corev1.Pod {
	p := corev1.Pod{}
	p.Name = name
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: agent.ContainerName, Image: "localhost:5000/function-aim:v1", State: s}}
	if s.Terminated != nil {
		p.Status.Phase = corev1.PodFailed
	}
	return p
}

func TestDiagnoseAgent(t *testing.T) {
	failed := func(name string, s *corev1.ContainerStateTerminated) corev1.Pod {
		return agentPod(name, corev1.ContainerState{Terminated: s})
	}
	evicted := corev1.Pod{}
	evicted.Name, evicted.Status.Phase, evicted.Status.Reason, evicted.Status.Message = "p", corev1.PodFailed, "Evicted", "The node was low on resource: memory."
	began := batchv1.JobStatus{StartTime: &metav1.Time{Time: time.Unix(1, 0)}}
	ended := *began.DeepCopy()
	ended.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue}}
	busy := *began.DeepCopy()
	busy.Active = 1
	between := *began.DeepCopy()
	between.Failed = 1
	for name, tc := range map[string]struct {
		reason string
		status batchv1.JobStatus
		want   string
	}{
		"Fresh":   {"A Job that its controller has yet to see has no pod.", batchv1.JobStatus{}, ""},
		"Refused": {"One that has begun should have.", began, "it has no pod, as when a quota or an admission policy refuses one: kubectl describe job j says why"},
		"Begun":   {"One that has may not have been looked at yet.", busy, ""},
		"Failed":  {"One that has failed needs none any more.", ended, ""},
		"Retried": {"One whose pod failed waits a while before the next.", between, ""},
	} {
		t.Run("Without"+name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, DiagnoseAgent(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "j"}, Status: tc.status}, nil, "amd.com/gpu")); diff != "" {
				t.Errorf("\n%s\nDiagnoseAgent(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
	cases := map[string]struct {
		reason string
		pods   []corev1.Pod
		want   string
	}{
		"None":    {"Without a pod there is nothing to tell.", nil, ""},
		"Running": {"Nor of one that runs.", []corev1.Pod{agentPod("p", corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})}, ""},
		"Final":   {"What an agent says last is why it ended.", []corev1.Pod{failed("p", &corev1.ContainerStateTerminated{ExitCode: 3, Message: "1 MiB of 2 MiB\nfunction-aim: error: no such model"})}, "no such model"},
		"Secret":  {"A token should never be told.", []corev1.Pod{failed("p", &corev1.ContainerStateTerminated{ExitCode: 3, Message: "function-aim: error: bad hf_abcdefghijklmnop"})}, "bad (secret)"},
		"Silent":  {"One that said nothing has a reason.", []corev1.Pod{failed("p", &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error"})}, "Error"},
		"Memory":  {"So has one that was killed.", []corev1.Pod{failed("p", &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"})}, "pod p ran out of memory"},
		"Evicted": {"A pod may fail without its container.", []corev1.Pod{evicted}, "pod p failed: The node was low on resource: memory."},
		"Successor": {
			"What was wrong with one says nothing of its successor.",
			[]corev1.Pod{failed("a", &corev1.ContainerStateTerminated{ExitCode: 1, Message: "no"}), agentPod("b", corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})},
			"",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, DiagnoseAgent(nil, tc.pods, "amd.com/gpu")); diff != "" {
				t.Errorf("\n%s\nDiagnoseAgent(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestPreloadJob makes sure that a download is where the server can be, reaches
// the Hub as the server does, and is never taken for one.
func TestPreloadJob(t *testing.T) {
	e := chat(t, `
cache: {enabled: true, size: 50Gi}
model: {id: Qwen/Qwen3-32B, revision: v2}
hfTokenSecretRef: {name: hf, key: token}
security: {podSecurityContext: {runAsUser: 1000, fsGroup: 2000}}
deployment:
  env: [{name: HF_ENDPOINT, value: "http://mirror"}, {name: VLLM_LOGGING_LEVEL, value: DEBUG}]
  nodeSelector: {disk: fast}
  tolerations: [{key: dedicated, operator: Exists}]
`, withAgent, func(e *Endpoint) { e.Recipe.Snapshot.Revision = "v2" })
	live := Live{Cache: boundClaim("70Gi", "fast")}
	ms := rendered(t, e, live)
	var got corev1.PodTemplateSpec
	for _, m := range ms {
		if j, ok := m.Object.(*batchv1.Job); ok {
			got = j.Spec.Template
		}
	}
	server := e.deployment(nil).Spec.Template

	type want struct {
		Args                 []string
		Env                  []corev1.EnvVar
		NodeSelector         map[string]string
		Tolerations          []corev1.Toleration
		Affinity             *corev1.Affinity
		User, FSGroup        int64
		Volume, Label, Owner string
	}
	w := want{
		Args: []string{"cache", "download", "Qwen/Qwen3-32B", "--revision=v2", "--home=/cache", "--capacity=70Gi"},
		Env: []corev1.EnvVar{
			{Name: "HOME", Value: "/tmp"},
			{Name: "HTTPS_PROXY", Value: "http://proxy:3128"},
			{Name: "HF_ENDPOINT", Value: "http://mirror"},
			{Name: "HF_TOKEN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "hf"}, Key: "token"}}},
		},
		NodeSelector: server.Spec.NodeSelector, Tolerations: server.Spec.Tolerations, Affinity: server.Spec.Affinity,
		User: 1000, FSGroup: 2000, Volume: "chat-cache", Label: server.Labels[LabelVolume], Owner: "chat",
	}
	c := got.Spec.Containers[0]
	g := want{
		c.Args, c.Env, got.Spec.NodeSelector, got.Spec.Tolerations, got.Spec.Affinity, *got.Spec.SecurityContext.RunAsUser, *got.Spec.SecurityContext.FSGroup,
		got.Spec.Volumes[0].PersistentVolumeClaim.ClaimName, got.Labels[LabelVolume], got.Labels[labelPreloadOf],
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("\nThe download's pod: -want, +got:\n%s", diff)
	}
	for k, v := range e.selector() {
		if got.Labels[k] == v {
			t.Errorf("\nThe Service and the Deployment would take the download for a server: it has the label %s", k)
		}
	}
	for k, v := range e.allPods() {
		if got.Labels[k] == v {
			t.Errorf("\nWhat is for all servers would be for the download, too: it has the label %s", k)
		}
	}
}

// TestJobName makes sure that names of Jobs fit where their controller puts
// them.
func TestJobName(t *testing.T) {
	seen := map[string]string{}
	for _, n := range []string{"chat", strings.Repeat("a", 44), strings.Repeat("a", 45), strings.Repeat("a", 63), "3." + strings.Repeat("a", 40), strings.Repeat("a", 44) + "-b"} {
		for _, s := range []string{"-cleanup", "-preload-01234567"} {
			got := JobName(n, s)
			if msgs := validation.IsValidLabelValue(got); len(msgs) > 0 || len(validation.IsDNS1123Label(got)) > 0 || (s == "-cleanup" && len(got) > 52) {
				t.Errorf("JobName(%q, %q): %q cannot be a label's value: %v", n, s, got, msgs)
			}
			if seen[got] != "" {
				t.Errorf("JobName(%q, %q): %q is that of %s, too", n, s, got, seen[got])
			}
			seen[got] = n
		}
	}
}

// TestSameNode makes sure that what has to share a volume is on one node.
func TestSameNode(t *testing.T) {
	shared := func(mode corev1.PersistentVolumeAccessMode) func(e *Endpoint) {
		return func(e *Endpoint) { e.Shared = &Shared{Name: "models", Claim: "models-storage", Mode: mode} }
	}
	nothing := func(*Endpoint) {}
	cases := map[string]struct {
		reason string
		spec   string
		change func(e *Endpoint)
		want   string
	}{
		"None":       {"A pod without a volume can be anywhere.", "", nothing, ""},
		"Once":       {"A volume for one node keeps all its pods there.", "cache: {enabled: true}", nothing, "chat-cache"},
		"Many":       {"One for many nodes does not.", "cache: {enabled: true, accessMode: ReadWriteMany}", nothing, ""},
		"Pod":        {"One for one pod has no others.", "cache: {enabled: true, accessMode: ReadWriteOncePod}", nothing, ""},
		"SharedOnce": {"Endpoints that share a volume for one node, too.", "cache: {name: models}", shared(corev1.ReadWriteOnce), "models-storage"},
		"SharedMany": {"Most share one for many.", "cache: {name: models}", shared(corev1.ReadWriteMany), ""},
		"Canary":     {"A canary has a volume of its own then.", "cache: {enabled: true}", func(e *Endpoint) { e.canary = true }, ""},
		"Live":       {"A mode cannot change once there is a volume.", "cache: {enabled: true, accessMode: ReadWriteMany}", func(e *Endpoint) { e.mode = corev1.ReadWriteOnce }, "chat-cache"},
		"Others":     {"What the user wants is there, too.", "cache: {enabled: true}\ndeployment: {affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone}]}}}", nothing, "chat-cache"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, tc.spec, tc.change)
			var want []corev1.PodAffinityTerm
			if a := e.Spec.Deployment.Affinity; a != nil {
				want = append(want, a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution...)
			}
			if tc.want != "" {
				want = append(want, SameNode(tc.want))
			}
			got := e.deployment(nil).Spec.Template
			var terms []corev1.PodAffinityTerm
			if a := got.Spec.Affinity.PodAffinity; a != nil {
				terms = a.RequiredDuringSchedulingIgnoredDuringExecution
			}
			if diff := cmp.Diff(want, terms); diff != "" {
				t.Errorf("\n%s\n-want terms, +got terms:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.want, got.Labels[LabelVolume]); diff != "" {
				t.Errorf("\nThe first pod has to match itself.\n-want label, +got label:\n%s", diff)
			}
		})
	}
}
