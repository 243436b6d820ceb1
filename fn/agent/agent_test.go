package agent

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func pod(changes ...func(p *Pod)) Pod {
	p := Pod{Platform: Platform{Image: "localhost:5000/function-aim:v1"}, Claim: "chat-cache", Capacity: resource.MustParse("50Gi")}
	for _, change := range changes {
		change(&p)
	}
	return p
}

// TestEnv is about who decides on a variable of the agent.
func TestEnv(t *testing.T) {
	home := corev1.EnvVar{Name: "HOME", Value: "/tmp"}
	proxy := func(v string) corev1.EnvVar { return corev1.EnvVar{Name: "HTTPS_PROXY", Value: v} }
	key := &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "hf"}, Key: "token"}
	token := corev1.EnvVar{Name: "HF_TOKEN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: key}}
	cases := map[string]struct {
		reason string
		pod    Pod
		want   []corev1.EnvVar
	}{
		"None":     {"All that an agent needs is a home that it can write to.", pod(), []corev1.EnvVar{home}},
		"Platform": {"The platform knows how to reach the Hub.", pod(func(p *Pod) { p.Platform.Env = []corev1.EnvVar{proxy("a")} }), []corev1.EnvVar{home, proxy("a")}},
		"Own": {
			"Who knows better is the endpoint.",
			pod(func(p *Pod) { p.Platform.Env, p.Env = []corev1.EnvVar{proxy("a")}, []corev1.EnvVar{proxy("b")} }),
			[]corev1.EnvVar{home, proxy("b")},
		},
		"Token": {
			"A token is never more than a reference, and one that was asked for goes before the platform's.",
			pod(func(p *Pod) { p.Platform.Env, p.Token = []corev1.EnvVar{{Name: "HF_TOKEN", Value: "hf_platform"}}, key }),
			[]corev1.EnvVar{home, token},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.pod.Template().Spec.Containers[0].Env); diff != "" {
				t.Errorf("\n%s\nTemplate(): -want env, +got env:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestNetwork(t *testing.T) {
	got := Network([]corev1.EnvVar{{Name: "HF_ENDPOINT", Value: "a"}, {Name: "VLLM_LOGGING_LEVEL", Value: "b"}, {Name: "no_proxy", Value: "c"}, {Name: "HF_HOME", Value: "d"}})
	if diff := cmp.Diff([]corev1.EnvVar{{Name: "HF_ENDPOINT", Value: "a"}, {Name: "no_proxy", Value: "c"}}, got); diff != "" {
		t.Errorf("\nAn agent reaches the Hub as the server does, and is no server otherwise.\nNetwork(...): -want, +got:\n%s", diff)
	}
}

// TestAccount is about what an agent may ask the API server, and what user it
// is.
func TestAccount(t *testing.T) {
	type want struct {
		Account              string
		Token                bool
		User, Group, FSGroup int64
	}
	cases := map[string]struct {
		reason string
		pod    Pod
		want   want
	}{
		"None":    {"Who has nothing to write gets no token.", pod(), want{"", false, User, User, User}},
		"Account": {"Who has gets that of its account.", pod(func(p *Pod) { p.ServiceAccount = "models-cache-agent" }), want{"models-cache-agent", true, User, User, User}},
		"User":    {"A volume may be some user's.", pod(func(p *Pod) { p.User, p.FSGroup = 1000, 2000 }), want{"", false, 1000, User, 2000}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := tc.pod.Template().Spec
			c := s.SecurityContext
			got := want{s.ServiceAccountName, *s.AutomountServiceAccountToken, *c.RunAsUser, *c.RunAsGroup, *c.FSGroup}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nTemplate(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestID is about when a download is another one, with a Job of its own.
func TestID(t *testing.T) {
	d := Download{Model: "a/b", Volume: "1"}
	id := d.ID(d.JobSpec(pod()), nil)
	job := func(c batchv1.JobConditionType, d Download) *batchv1.Job {
		return &batchv1.Job{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{LabelDownload: d.Key()}},
			Status:     batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: c, Status: corev1.ConditionTrue}}},
		}
	}
	complete, failed := map[string]*batchv1.Job{id: job(batchv1.JobComplete, d)}, map[string]*batchv1.Job{id: job(batchv1.JobFailed, d)}
	other := pod(func(p *Pod) { p.Platform.Image = "localhost:5000/function-aim:v2" })
	cases := map[string]struct {
		reason   string
		download Download
		pod      Pod
		live     map[string]*batchv1.Job
		same     bool
	}{
		"Same":                 {"The same is the same.", d, pod(), nil, true},
		"Failed":               {"What failed stays visible.", d, pod(), failed, true},
		"OtherPod":             {"Other pods are another Job, since those of a Job cannot change.", d, other, nil, false},
		"OtherPodAfterFailure": {"They may do what failed before.", d, other, failed, false},
		"OtherPodWhenDone":     {"What is done is not done again for a new version of the agent.", d, other, complete, true},
		"LimitWhenDone":        {"Nor for another limit of what is downloaded.", Download{Model: "a/b", Volume: "1", MaxSize: "1Gi"}, pod(), complete, true},
		"DefaultRevision":      {"The default revision is the same under its name.", Download{Model: "a/b", Revision: "main", Volume: "1"}, pod(), complete, true},
		"Revision":             {"Another revision is another download.", Download{Model: "a/b", Revision: "v2", Volume: "1"}, pod(), complete, false},
		"Model":                {"So is another model.", Download{Model: "a/c", Volume: "1"}, pod(), complete, false},
		"Volume":               {"On a new volume there is nothing of what was on the last.", Download{Model: "a/b", Volume: "2"}, pod(), complete, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := tc.download.ID(tc.download.JobSpec(tc.pod), maps.Clone(tc.live))
			if (got == id) != tc.same {
				t.Errorf("\n%s\nID(...): want the same %t, got %s after %s", tc.reason, tc.same, got, id)
			}
		})
	}
}

// TestIDOfSeveral makes sure that of several Jobs that did the same always the
// same one is taken.
func TestIDOfSeveral(t *testing.T) {
	d := Download{Model: "a/b", Volume: "1"}
	done := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{LabelDownload: d.Key()}},
		Status:     batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}},
	}
	for range 20 {
		if got := d.ID(d.JobSpec(pod()), map[string]*batchv1.Job{"c": done, "b": done, "d": done}); got != "b" {
			t.Fatalf("ID(...): want b, got %s", got)
		}
	}
}

// TestJob makes sure that a Job ends with its pods, and shares no labels.
func TestJob(t *testing.T) {
	d := Download{Model: "a/b", Volume: "1"}
	meta := metav1.ObjectMeta{Name: "j", Labels: map[string]string{"a": "b"}}
	j := d.Job(meta, d.JobSpec(pod()))
	want := []any{[]string{"foregroundDeletion"}, map[string]string{"a": "b", LabelDownload: d.Key()}, map[string]string{"a": "b"}}
	if diff := cmp.Diff(want, []any{j.Finalizers, j.Labels, meta.Labels}); diff != "" {
		t.Errorf("Job(...): -want finalizers and labels, +got:\n%s", diff)
	}
	if got := d.Job(metav1.ObjectMeta{}, d.JobSpec(pod())).Labels[LabelDownload]; got != d.Key() {
		t.Errorf("Job(...): got label %q", got)
	}
}
