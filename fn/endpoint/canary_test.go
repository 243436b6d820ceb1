package endpoint

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

const canaryOn = `deployment: {canary: {enabled: true, trafficSplit: 10, duration: 60}}`

// changed recipe: what runs, but for something.
func changed(e Endpoint, change func(r *v1alpha1.SelectedRecipe)) v1alpha1.SelectedRecipe {
	r := e.Recipe
	r.Snapshot = r.Snapshot.DeepCopy()
	change(&r)
	return r
}

func toImage(image string) func(r *v1alpha1.SelectedRecipe) {
	return func(r *v1alpha1.SelectedRecipe) { r.Image = image }
}

// canaryDeployment of an endpoint that tries a recipe.
func canaryDeployment(tb testing.TB, e Endpoint, next v1alpha1.SelectedRecipe, changes ...func(d *appsv1.Deployment)) *appsv1.Deployment {
	tb.Helper()
	e, err := e.Apply(Plan{Recipe: e.Recipe, Canary: &next}, Live{})
	if err != nil {
		tb.Fatal(err)
	}
	d := e.Canary.deployment(nil)
	d.Generation = 1
	d.Status.ObservedGeneration = 1
	for _, c := range changes {
		c(d)
	}
	return d
}

// template that identifies the pods of a canary that tries a recipe.
func canaryTemplate(tb testing.TB, e Endpoint, next v1alpha1.SelectedRecipe) string {
	tb.Helper()
	return canaryDeployment(tb, e, next).Spec.Template.Annotations[annotationTemplate]
}

// TestPlan is the canary as a state machine: what comes next, for each phase and
// what is live.
func TestPlan(t *testing.T) {
	const (
		tag1, tag2 = "vllm/vllm-openai-rocm:v0.23.0", "vllm/vllm-openai-rocm:v0.24.0"
		trying     = "trying image " + tag1 + " on a canary"
	)
	e := chat(t, canaryOn)
	next, other := changed(e, toImage(tag1)), changed(e, toImage(tag2))
	model := changed(e, func(r *v1alpha1.SelectedRecipe) { r.Snapshot.Model = "Qwen/Qwen3-8B" })
	template, otherTemplate := canaryTemplate(t, e, next), canaryTemplate(t, e, other)

	serving := Live{Deployment: deployed(e, counts(1, 1, 1))}
	with := func(changes ...func(l *Live)) Live {
		l := serving
		for _, c := range changes {
			c(&l)
		}
		return l
	}
	canary := func(changes ...func(d *appsv1.Deployment)) func(l *Live) {
		return func(l *Live) { l.Canary = canaryDeployment(t, e, next, changes...) }
	}
	pods := func(template string, changes ...func(p *corev1.Pod)) func(l *Live) {
		return func(l *Live) {
			p := pod("chat-canary-a", 1, changes...)
			p.Annotations = map[string]string{annotationTemplate: template}
			l.CanaryPods = append(slices.Clone(l.CanaryPods), p)
		}
	}
	going := func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: p.CreationTimestamp.Time} }
	loading := canary(counts(1, 1, 0))
	proven := canary(counts(1, 1, 1))

	status := func(p v1alpha1.CanaryPhase, r v1alpha1.SelectedRecipe, template, message string) *v1alpha1.CanaryStatus {
		return &v1alpha1.CanaryStatus{Phase: p, Recipe: r, Template: template, Message: message}
	}
	inProgress := status(v1alpha1.CanaryInProgress, next, template, "")
	promoting := status(v1alpha1.CanaryPromoting, next, template, "")
	promoted := status(v1alpha1.CanaryPromoted, next, template, "")
	rolledBack := status(v1alpha1.CanaryRolledBack, next, template, "why")

	stays := Plan{Recipe: e.Recipe, Frozen: true, Canary: &next, Status: inProgress}
	starts := stays
	starts.Event = trying
	ended := func(why string) Plan {
		return Plan{
			Recipe: e.Recipe, Frozen: true, Status: status(v1alpha1.CanaryRolledBack, next, template, why),
			Event: "rolled back the canary of image " + tag1 + ": " + why,
		}
	}

	cases := map[string]struct {
		reason string
		off    bool
		// stable is what ran before; what runs now if it is nil, nothing if it
		// has no name.
		stable *v1alpha1.SelectedRecipe
		before *v1alpha1.CanaryStatus
		next   v1alpha1.SelectedRecipe
		live   Live
		want   Plan
	}{
		"First": {
			reason: "Before anything runs there is nothing to protect.",
			stable: &v1alpha1.SelectedRecipe{}, next: next,
			want: Plan{Recipe: next},
		},
		"NotThere": {
			reason: "What was chosen and is not there yet needs no protection.",
			next:   next,
			want:   Plan{Recipe: next},
		},
		"NothingChanged": {
			reason: "Without a change there is nothing to try.",
			next:   e.Recipe, live: serving,
			want: Plan{Recipe: e.Recipe},
		},
		"NothingThatMatters": {
			reason: "Another reason for the same choice is no change of what runs.",
			next: changed(e, func(r *v1alpha1.SelectedRecipe) {
				r.Reason, r.Snapshot.Selection, r.Snapshot.WeightsGiB = "another", "other", 1
			}),
			live: serving,
			want: Plan{Recipe: changed(e, func(r *v1alpha1.SelectedRecipe) {
				r.Reason, r.Snapshot.Selection, r.Snapshot.WeightsGiB = "another", "other", 1
			})},
		},
		"Off": {
			reason: "Without a canary a change is rolled out at once.",
			off:    true, next: next, live: serving,
			want: Plan{Recipe: next},
		},
		"NotServing": {
			reason: "What does not serve has nobody to protect, and the change may be what mends it.",
			next:   next, live: with(func(l *Live) { l.Deployment = deployed(e, counts(1, 1, 0)) }),
			want: Plan{Recipe: next},
		},
		"Start": {
			reason: "A change should be tried first, and told of once.",
			next:   next, live: serving,
			want: starts,
		},
		"StartModel": {
			reason: "Another model should be told of by its name.",
			next:   model, live: serving,
			want: Plan{
				Recipe: e.Recipe, Frozen: true, Canary: &model, Status: status(v1alpha1.CanaryInProgress, model, canaryTemplate(t, e, model), ""),
				Event: "trying model Qwen/Qwen3-8B on a canary",
			},
		},
		"StartAfterPromotion": {
			reason: "The next change should be tried like the first.",
			before: status(v1alpha1.CanaryPromoted, other, otherTemplate, ""), next: next, live: serving,
			want: starts,
		},
		"NotThereYet": {
			reason: "A canary that is being made should have time.",
			before: inProgress, next: next, live: serving,
			want: stays,
		},
		"Loading": {
			reason: "A canary that loads its model should have time.",
			before: inProgress, next: next, live: with(loading, pods(template)),
			want: stays,
		},
		"WaitingForGPU": {
			reason: "A canary that waits for a GPU may get one.",
			before: inProgress, next: next, live: with(loading, pods(template, unschedulable("0/1 nodes are available: 1 Insufficient amd.com/gpu."))),
			want: stays,
		},
		"ReadyNotLongEnough": {
			reason: "A canary that is ready counts once it has been for long enough, which Kubernetes calls available.",
			before: inProgress, next: next, live: with(canary(counts(1, 1, 0), func(d *appsv1.Deployment) { d.Status.ReadyReplicas = 1 })),
			want: stays,
		},
		"OfAnEarlierTemplate": {
			reason: "A canary of an earlier change proves nothing of this one.",
			before: inProgress, next: next, live: with(func(l *Live) { l.Canary = canaryDeployment(t, e, other, counts(1, 1, 1)) }),
			want: stays,
		},
		"WithAnEarlierDuration": {
			reason: "A canary that has been ready for as long as was asked for earlier may not have been for as long as is asked for now.",
			before: inProgress, next: next, live: with(canary(counts(1, 1, 1), func(d *appsv1.Deployment) { d.Spec.MinReadySeconds = 1 })),
			want: stays,
		},
		"NotObserved": {
			reason: "What the controller says of an earlier spec should not count.",
			before: inProgress, next: next, live: with(canary(counts(1, 1, 1), func(d *appsv1.Deployment) { d.Generation = 2 })),
			want: stays,
		},
		"StableFails": {
			reason: "That what serves fails meanwhile is no reason to roll out what is not proven.",
			before: inProgress, next: next, live: with(loading, func(l *Live) { l.Deployment = deployed(e, counts(1, 1, 0)) }),
			want: stays,
		},
		"StableNotSeen": {
			reason: "That what serves cannot be seen is no reason to roll out what is not proven.",
			before: inProgress, next: next, live: with(loading, func(l *Live) { l.Deployment = nil }),
			want: stays,
		},
		"SecondChange": {
			reason: "A second change should take the place of the first on the canary.",
			before: inProgress, next: other, live: with(proven),
			want: Plan{
				Recipe: e.Recipe, Frozen: true, Canary: &other, Status: status(v1alpha1.CanaryInProgress, other, otherTemplate, ""),
				Event: "trying image " + tag2 + " on a canary",
			},
		},
		"Undone": {
			reason: "A change that was taken back needs no canary any more.",
			before: inProgress, next: e.Recipe, live: with(proven),
			want: Plan{Recipe: e.Recipe},
		},
		"SwitchedOff": {
			reason: "Who switches the canary off wants the change at once.",
			off:    true, before: inProgress, next: next, live: with(loading),
			want: Plan{Recipe: next},
		},
		"Proven": {
			reason: "A canary that proved itself should be rolled out, and serve meanwhile.",
			before: inProgress, next: next, live: with(proven),
			want: Plan{Recipe: next, Canary: &next, Status: promoting, Event: "promoting the canary of image " + tag1},
		},

		"Refused": {
			reason: "What the API server refuses it will always refuse.",
			before: inProgress, next: next, live: with(func(l *Live) {
				l.ApplyErrors = map[Role]string{RoleCanary: `Deployment "chat-canary" is invalid: spec`}
			}),
			want: ended(`the cluster refuses it: Deployment "chat-canary" is invalid: spec`),
		},
		"NotReached": {
			reason: "An API server that does not answer will.",
			before: inProgress, next: next, live: with(func(l *Live) { l.ApplyErrors = map[Role]string{RoleCanary: "connection refused"} }),
			want: stays,
		},
		"Crashes": {
			reason: "A canary that crashes should end with its last words.",
			before: inProgress, next: next, live: with(loading, pods(template, container(crashed("Error", "ValueError: no such model", 1, 3)))),
			want: ended("pod chat-canary-a crashed with exit code 1 after several restarts: ValueError: no such model"),
		},
		"CrashedOnce": {
			reason: "A canary that crashed once, and runs again, has failed: what serves does not.",
			before: inProgress, next: next, live: with(proven, pods(template, ready, container(corev1.ContainerStatus{
				RestartCount: 1, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
				LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "boom"}},
			}))),
			want: ended("pod chat-canary-a crashed with exit code 1 after 1 restart: boom"),
		},
		"EndedWell": {
			reason: "A server that was asked to end, and starts again, has not crashed.",
			before: inProgress, next: next, live: with(loading, pods(template, container(corev1.ContainerStatus{
				RestartCount: 1, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
				LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed"}},
			}))),
			want: stays,
		},
		"OutOfMemory": {
			reason: "A canary that runs out of memory should end.",
			before: inProgress, next: next, live: with(loading, pods(template, container(crashed("OOMKilled", "", 137, 1)))),
			want: ended("pod chat-canary-a ran out of host memory after 1 restart; raise resources.memory, and resources.memoryLimit if it is set"),
		},
		"CannotPull": {
			reason: "An image that cannot be pulled will not be.",
			before: inProgress, next: next, live: with(loading, pods(template, container(waiting("ImagePullBackOff", "Back-off pulling image: not found")))),
			want: ended("pod chat-canary-a cannot pull image " + testImage + ": Back-off pulling image: not found; there is no such image: check image.repository and image.tag"),
		},
		"PodsOfAnEarlierChange": {
			reason: "What was wrong with an earlier change is no fault of this one.",
			before: inProgress, next: next, live: with(loading, pods(otherTemplate, container(crashed("Error", "boom", 1, 3)))),
			want: stays,
		},
		"PodsThatGo": {
			reason: "A pod that is being deleted may end as it likes.",
			before: inProgress, next: next, live: with(loading, pods(template, going, container(crashed("Error", "boom", 1, 3)))),
			want: stays,
		},
		"Deadline": {
			reason: "A canary that does not come to serve in time should end.",
			before: inProgress, next: next,
			live: with(canary(counts(1, 1, 0), condition(appsv1.DeploymentProgressing, corev1.ConditionFalse, "ProgressDeadlineExceeded"))),
			want: ended("it was not available after 2898 s without progress"),
		},
		"DeadlineWithCause": {
			reason: "Why it does not come to serve should be told.",
			before: inProgress, next: next,
			live: with(canary(counts(1, 1, 0), condition(appsv1.DeploymentProgressing, corev1.ConditionFalse, "ProgressDeadlineExceeded")),
				pods(template, unschedulable("0/1 nodes are available: 1 Insufficient amd.com/gpu."))),
			want: ended("it was not available after 2898 s without progress: pod chat-canary-a cannot be scheduled: 0/1 nodes are available: 1 Insufficient amd.com/gpu; " +
				"free GPUs, add nodes, or set recipe.gpuCount or recipe.hardware to what is free"),
		},
		"DeadlineOfAnEarlierChange": {
			reason: "An earlier change took its own time.",
			before: inProgress, next: next, live: with(func(l *Live) {
				l.Canary = canaryDeployment(t, e, other, counts(1, 1, 0), condition(appsv1.DeploymentProgressing, corev1.ConditionFalse, "ProgressDeadlineExceeded"))
			}),
			want: stays,
		},

		"RolledBack": {
			reason: "A change that was rolled back should not be tried again and again.",
			before: rolledBack, next: next, live: serving,
			want: Plan{Recipe: e.Recipe, Frozen: true, Status: rolledBack},
		},
		"RolledBackNotSeen": {
			reason: "That what serves cannot be seen is no reason to roll out what has failed.",
			before: rolledBack, next: next,
			want: Plan{Recipe: e.Recipe, Frozen: true, Status: rolledBack},
		},
		"RolledBackOtherChange": {
			reason: "Another change should be tried.",
			before: rolledBack, next: other, live: serving,
			want: Plan{
				Recipe: e.Recipe, Frozen: true, Canary: &other, Status: status(v1alpha1.CanaryInProgress, other, otherTemplate, ""),
				Event: "trying image " + tag2 + " on a canary",
			},
		},
		"RolledBackUndone": {
			reason: "A change that was taken back has not failed any more.",
			before: rolledBack, next: e.Recipe, live: serving,
			want: Plan{Recipe: e.Recipe},
		},
		"RolledBackSwitchedOff": {
			reason: "Who switches the canary off wants the change, come what may.",
			off:    true, before: rolledBack, next: next, live: serving,
			want: Plan{Recipe: next},
		},

		"Applying": {
			reason: "What is live may be what was wanted before.",
			stable: &next, before: promoting, next: next, live: with(proven, func(l *Live) { l.Applying = true }),
			want: Plan{Recipe: next, Canary: &next, Status: promoting},
		},
		"RollingOut": {
			reason: "The canary should serve until all of the workload does.",
			stable: &next, before: promoting, next: next, live: with(proven, func(l *Live) { l.Deployment = deployed(e, counts(2, 1, 1)) }),
			want: Plan{Recipe: next, Canary: &next, Status: promoting},
		},
		"WorkloadWaitsForGPU": {
			reason: "The canary has the GPUs that the workload waits for.",
			stable: &next, before: promoting, next: next,
			live: with(proven, func(l *Live) {
				l.Deployment = deployed(e, counts(1, 1, 0))
				l.Pods = []corev1.Pod{pod("chat-a", 1, unschedulable("0/1 nodes are available: 1 Insufficient amd.com/gpu."))}
			}),
			want: Plan{Recipe: next, Status: promoting},
		},
		"CanaryGone": {
			reason: "A canary that made way should not come back.",
			stable: &next, before: promoting, next: next, live: with(func(l *Live) { l.Deployment = deployed(e, counts(1, 1, 0)) }),
			want: Plan{Recipe: next, Status: promoting},
		},
		"ChangeWhilePromoting": {
			reason: "One change should be done before the next begins.",
			stable: &next, before: promoting, next: other, live: with(proven, func(l *Live) { l.Applying = true }),
			want: Plan{Recipe: next, Canary: &next, Status: promoting},
		},
		"Promoted": {
			reason: "A change that is rolled out needs no canary any more, and should be told of once.",
			stable: &next, before: promoting, next: next, live: with(proven),
			want: Plan{Recipe: next, Status: promoted, Event: "promoted the canary: chat runs qwen3-32b-mi300x-bfloat16-vllm"},
		},
		"PromotedLongAgo": {
			reason: "What became of the last canary should stay in the status.",
			stable: &next, before: promoted, next: next, live: serving,
			want: Plan{Recipe: next, Status: promoted},
		},
		"SwitchedOffWhilePromoting": {
			reason: "What is being rolled out goes on without its canary.",
			off:    true, stable: &next, before: promoting, next: next, live: with(proven),
			want: Plan{Recipe: next},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, canaryOn)
			e.Spec.Deployment.Canary.Enabled = ptr.To(!tc.off)
			before := v1alpha1.AIMEndpointStatus{SelectedRecipe: &e.Recipe, Canary: tc.before.DeepCopy()}
			switch {
			case tc.stable != nil && tc.stable.Name == "":
				before.SelectedRecipe = nil
			case tc.stable != nil:
				before.SelectedRecipe = tc.stable
			}
			kept := before.DeepCopy()
			got, err := e.Plan(tc.next, before, tc.live)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nPlan(...): -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(kept, &before); diff != "" {
				t.Errorf("\nThe status of before should be left as it is.\nPlan(...): -before, +after:\n%s", diff)
			}
			if got.Event == "" {
				return
			}
			// A step that tells of itself is not taken twice.
			after := v1alpha1.AIMEndpointStatus{SelectedRecipe: &got.Recipe, Canary: got.Status}
			tc.live.Applying = true
			if again, err := e.Plan(tc.next, after, tc.live); err != nil || again.Event == got.Event {
				t.Errorf("\nWhat happened should be told once.\nPlan(...): %q again: %v", again.Event, err)
			}
		})
	}
}

func TestPlanRuns(t *testing.T) {
	e := chat(t, canaryOn)
	next, other := changed(e, toImage("a:1")), changed(e, toImage("a:2"))
	p := Plan{Recipe: e.Recipe, Canary: &next}
	got := []bool{p.Runs(e.Recipe), p.Runs(next), p.Runs(other), Plan{Recipe: e.Recipe}.Runs(next)}
	if diff := cmp.Diff([]bool{true, true, false, false}, got); diff != "" {
		t.Errorf("\nA plan should know what runs, and what is tried.\nRuns(...): -want, +got:\n%s", diff)
	}
}

// TestPlanUnknown has a recipe that this version knows no more.
func TestPlanUnknown(t *testing.T) {
	e := chat(t, canaryOn)
	next := changed(e, func(r *v1alpha1.SelectedRecipe) { r.Hardware = "MI9000" })
	_, err := e.Plan(next, v1alpha1.AIMEndpointStatus{SelectedRecipe: &e.Recipe}, Live{Deployment: deployed(e, counts(1, 1, 1))})
	if err == nil || !strings.Contains(err.Error(), `knows no hardware "MI9000"`) {
		t.Errorf("\nWhat cannot be tried should be an error.\nPlan(...): got %v", err)
	}
	if _, err := e.Apply(Plan{Recipe: e.Recipe, Canary: &next}, Live{}); err == nil {
		t.Errorf("\nWhat cannot be tried should be an error.\nApply(...): got none")
	}
	if _, err := e.Apply(Plan{Recipe: next}, Live{}); err == nil {
		t.Errorf("\nWhat cannot be run should be an error.\nApply(...): got none")
	}
}

// TestDescribeChange is about what people are told is tried.
func TestDescribeChange(t *testing.T) {
	e := chat(t, "")
	cases := map[string]struct {
		reason string
		change func(r *v1alpha1.SelectedRecipe)
		want   string
	}{
		"Model":         {"A model has a name.", func(r *v1alpha1.SelectedRecipe) { r.Snapshot.Model, r.Image = "a/b", "c:d" }, "model a/b"},
		"Revision":      {"A revision has a name.", func(r *v1alpha1.SelectedRecipe) { r.Snapshot.Revision = "refs/pr/1" }, "revision refs/pr/1"},
		"Recipe":        {"A recipe has a name, and a size.", func(r *v1alpha1.SelectedRecipe) { r.Name, r.GPUCount = "mine", 2 }, "recipe mine on 2 GPUs"},
		"GPUs":          {"The same recipe comes in several sizes.", func(r *v1alpha1.SelectedRecipe) { r.GPUCount = 4 }, "recipe qwen3-32b-mi300x-bfloat16-vllm on 4 GPUs"},
		"Image":         {"An image has a name.", toImage("a:1"), "image a:1"},
		"ChangedRecipe": {"A recipe may change under its name.", func(r *v1alpha1.SelectedRecipe) { r.Snapshot.Args = []string{"--x"} }, "a changed recipe qwen3-32b-mi300x-bfloat16-vllm"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			next := changed(e, tc.change)
			if diff := cmp.Diff(tc.want, describeChange(e.Recipe, next)); diff != "" {
				t.Errorf("\n%s\ndescribeChange(...): -want, +got:\n%s", tc.reason, diff)
			}
			if identity(e.Recipe) == identity(next) {
				t.Errorf("\n%s\nidentity(...): the same for both", tc.reason)
			}
		})
	}
	from := changed(e, func(r *v1alpha1.SelectedRecipe) { r.Snapshot.Revision = "v1" })
	if diff := cmp.Diff("revision of the default branch", describeChange(from, e.Recipe)); diff != "" {
		t.Errorf("\nNo revision is one, too.\ndescribeChange(...): -want, +got:\n%s", diff)
	}
}

func TestCanaryReplicas(t *testing.T) {
	cases := map[string]struct {
		reason string
		spec   string
		want   int32
	}{
		"One":      {"One is the least.", canaryOn, 1},
		"Ten":      {"Ten percent is one beside nine.", `{scaling: {minReplicas: 9}, ` + canaryOn + `}`, 1},
		"TenOf20":  {"A share that does not come out even should not be exceeded.", `{scaling: {minReplicas: 20}, ` + canaryOn + `}`, 2},
		"Half":     {"Half is as many again.", `{scaling: {minReplicas: 3}, deployment: {canary: {enabled: true, trafficSplit: 50}}}`, 3},
		"Most":     {"Nearly all is many.", `{scaling: {minReplicas: 2}, deployment: {canary: {enabled: true, trafficSplit: 90}}}`, 18},
		"AtLeast1": {"What may sleep counts as one.", `{scaling: {minReplicas: 0, maxReplicas: 2}, deployment: {canary: {enabled: true, trafficSplit: 50}}}`, 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, tc.spec, withKEDA("up"))
			d := canaryDeployment(t, e, changed(e, toImage("a:1")))
			if diff := cmp.Diff(tc.want, *d.Spec.Replicas); diff != "" {
				t.Errorf("\n%s\ndeployment(...): -want replicas, +got replicas:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestCanaryPods makes sure that nobody takes a canary's pods for others.
func TestCanaryPods(t *testing.T) {
	e := chat(t, `{cache: {enabled: true}, scaling: {minReplicas: 2}, security: {networkPolicy: {enabled: true}}, `+canaryOn+`}`)
	next := changed(e, toImage("a:1"))
	d := canaryDeployment(t, e, next)
	pod := labels.Set(d.Spec.Template.Labels)

	matches := map[string]bool{
		"stable":   labels.SelectorFromSet(e.deployment(nil).Spec.Selector.MatchLabels).Matches(pod),
		"canary":   labels.SelectorFromSet(d.Spec.Selector.MatchLabels).Matches(pod),
		"asked":    labels.SelectorFromSet(e.CanarySelector()).Matches(pod),
		"pdb":      labels.SelectorFromSet(e.disruptionBudget().Spec.Selector.MatchLabels).Matches(pod),
		"policy":   labels.SelectorFromSet(e.networkPolicy().Spec.PodSelector.MatchLabels).Matches(pod),
		"reversed": labels.SelectorFromSet(d.Spec.Selector.MatchLabels).Matches(labels.Set(e.deployment(nil).Spec.Template.Labels)),
	}
	want := map[string]bool{"stable": false, "canary": true, "asked": true, "pdb": false, "policy": true, "reversed": false}
	if diff := cmp.Diff(want, matches); diff != "" {
		t.Errorf("\nA canary's pods should be its own, and be as isolated as the others.\ndeployment(...): -want, +got:\n%s", diff)
	}

	type fields struct {
		Strategy   appsv1.DeploymentStrategyType
		MinReady   int32
		Progress   int32
		Volume     string
		Template   bool
		SameHashes bool
	}
	volume := func(d *appsv1.Deployment) string {
		if c := d.Spec.Template.Spec.Volumes[0].PersistentVolumeClaim; c != nil {
			return c.ClaimName
		}
		return "emptyDir"
	}
	cases := map[string]struct {
		reason string
		spec   string
		want   fields
	}{
		"NoCache": {"Without a cache there is none to share.", canaryOn, fields{"Recreate", 60, 2898, "emptyDir", true, true}},
		"OfOneNode": {
			"A volume that only one node can mount may be mounted by another: the canary would wait for ever.",
			`{cache: {enabled: true}, ` + canaryOn + `}`,
			fields{"Recreate", 60, 2898, "emptyDir", true, true},
		},
		"OfOnePod": {
			"A volume that only one pod can mount is mounted by another.",
			`{cache: {enabled: true, accessMode: ReadWriteOncePod}, ` + canaryOn + `}`,
			fields{"Recreate", 60, 2898, "emptyDir", true, true},
		},
		"Shared": {
			"A volume that all can mount saves a download.",
			`{cache: {enabled: true, accessMode: ReadWriteMany}, ` + canaryOn + `}`,
			fields{"Recreate", 60, 2898, "chat-cache", true, true},
		},
		"LongDuration": {
			"To have been ready for a day should not take longer than may be waited for.",
			`deployment: {canary: {enabled: true, duration: 86400}}`,
			fields{"Recreate", 86400, 86400 + 900, "emptyDir", true, true},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, tc.spec)
			next := changed(e, toImage("a:1"))
			d := canaryDeployment(t, e, next)
			hash := d.Spec.Template.Annotations[annotationTemplate]
			got := fields{
				d.Spec.Strategy.Type, d.Spec.MinReadySeconds, *d.Spec.ProgressDeadlineSeconds, volume(d), hash != "",
				hash == canaryTemplate(t, e, next) && hash != canaryTemplate(t, e, changed(e, toImage("a:2"))),
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\ndeployment(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestCanaryHealthy(t *testing.T) {
	e := chat(t, canaryOn)
	next := changed(e, toImage("a:1"))
	status := func(p v1alpha1.CanaryPhase, message string) *v1alpha1.CanaryStatus {
		return &v1alpha1.CanaryStatus{Phase: p, Recipe: next, Template: "t", Message: message}
	}
	const recipe = "qwen3-32b-mi300x-bfloat16-vllm"
	cases := map[string]struct {
		reason  string
		spec    string
		changes []func(e *Endpoint)
		status  *v1alpha1.CanaryStatus
		live    Live
		want    Condition
	}{
		"Off": {
			reason: "Without a canary nothing is wrong, and it should be told what that means.",
			want:   Condition{OK: true, Reason: "NoCanary", Message: "deployment.canary.enabled is false: changes are rolled out at once"},
		},
		"None": {
			reason: "Before a change nothing is wrong.",
			spec:   canaryOn,
			want:   Condition{OK: true, Reason: "NoCanary", Message: "the next change of model, recipe or image is tried on a canary first"},
		},
		"Starting": {
			reason: "How far it is should be told.",
			spec:   canaryOn, changes: []func(e *Endpoint){withCanary(t)}, status: status(v1alpha1.CanaryInProgress, ""),
			want: Condition{OK: true, Reason: "InProgress", Message: "0 of 1 canary replicas with recipe " + recipe +
				" are ready; they must have been for 60 s, with about 50% of the traffic: 1 of 2 replicas behind one Service"},
		},
		"Weighted": {
			reason: "The share that a Gateway gives it is exact.",
			spec:   `{service: {route: {hostname: a.b, gateway: {name: g}}}, ` + canaryOn + `}`,
			live:   Live{APIs: allAPIs(), Canary: &appsv1.Deployment{Status: appsv1.DeploymentStatus{ReadyReplicas: 1}}},
			status: status(v1alpha1.CanaryInProgress, ""), changes: []func(e *Endpoint){withCanary(t)},
			want: Condition{OK: true, Reason: "InProgress", Message: "1 of 1 canary replicas with recipe " + recipe +
				" are ready; they must have been for 60 s, with 10% of the traffic"},
		},
		"Waiting": {
			reason: "What keeps it from being ready should be told.",
			spec:   canaryOn, changes: []func(e *Endpoint){withCanary(t)}, status: status(v1alpha1.CanaryInProgress, ""),
			live: Live{CanaryPods: []corev1.Pod{pod("chat-canary-a", 1, unschedulable("0/1 nodes are available: 1 Insufficient amd.com/gpu."))}},
			want: Condition{OK: true, Reason: "InProgress", Message: "0 of 1 canary replicas with recipe " + recipe +
				" are ready; they must have been for 60 s, with about 50% of the traffic: 1 of 2 replicas behind one Service; " +
				"pod chat-canary-a cannot be scheduled: 0/1 nodes are available: 1 Insufficient amd.com/gpu; free GPUs, add nodes, or set recipe.gpuCount or recipe.hardware to what is free"},
		},
		"NotApplied": {
			reason: "What keeps it from being there should be told.",
			spec:   `{scaling: {minReplicas: 9}, ` + canaryOn + `}`, changes: []func(e *Endpoint){withCanary(t)}, status: status(v1alpha1.CanaryInProgress, ""),
			live: Live{ApplyErrors: map[Role]string{RoleCanary: "connection refused"}},
			want: Condition{OK: true, Reason: "InProgress", Message: "0 of 1 canary replicas with recipe " + recipe +
				" are ready; they must have been for 60 s, with about 10% of the traffic: 1 of 10 replicas behind one Service; cannot apply it: connection refused"},
		},
		"Promoting": {
			reason: "That it has proved itself should be told.",
			spec:   canaryOn, status: status(v1alpha1.CanaryPromoting, ""),
			want: Condition{OK: true, Reason: "InProgress", Message: "the canary with recipe " + recipe + " has been ready for long enough, and is being rolled out"},
		},
		"Promoted": {
			reason: "What became of the last one should be told.",
			spec:   canaryOn, status: status(v1alpha1.CanaryPromoted, ""),
			want: Condition{OK: true, Reason: "Promoted", Message: "the canary with recipe " + recipe + " and image a:1 was promoted"},
		},
		"RolledBack": {
			reason: "Why it was rolled back, what serves, and what to do, should be told.",
			spec:   canaryOn, status: status(v1alpha1.CanaryRolledBack, "it crashed"),
			want: Condition{Reason: "RolledBack", Message: "the canary with recipe " + recipe +
				" and image a:1 was rolled back, and what served before stays: it crashed; change the spec to try again, or undo the change"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.want.Type = v1alpha1.ConditionCanaryHealthy
			cs := chat(t, tc.spec, tc.changes...).Conditions(tc.live, tc.status)
			if diff := cmp.Diff(tc.want, cs[len(cs)-1]); diff != "" {
				t.Errorf("\n%s\nConditions(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// A quota may have room later, so a canary that is over it is not rolled back,
// but whoever waits should learn why.
func TestCanaryOverQuota(t *testing.T) {
	e := chat(t, `deployment: {canary: {enabled: true}}`)
	c := e
	c.canary = true
	e.Canary = &c
	live := Live{Canary: deployed(c, func(d *appsv1.Deployment) {
		d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: "exceeded quota: gpus"}}
	})}
	want := Condition{
		Type: v1alpha1.ConditionCanaryHealthy, OK: true, Reason: v1alpha1.ReasonInProgress,
		Message: "0 of 1 canary replicas with recipe qwen3-32b-mi300x-bfloat16-vllm are ready; they must have been for 300 s, with about 50% of the traffic: 1 of 2 replicas behind one Service; the cluster refuses to create its pods: exceeded quota: gpus",
	}
	got := e.canaryHealthy(&v1alpha1.CanaryStatus{Phase: v1alpha1.CanaryInProgress, Recipe: e.Recipe}, live)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\ncanaryHealthy(...): -want, +got:\n%s", diff)
	}
}
