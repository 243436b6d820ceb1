package cache

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/agent"
	"github.com/aim-engine/function-aim/fn/object"
	"github.com/aim-engine/function-aim/fn/prune"
	"github.com/aim-engine/function-aim/fn/volume"
)

var update = flag.Bool("update", false, "write golden files instead of comparing with them")

const (
	minimal = `storage: {size: 100Gi}`

	// everything that a spec of a cache can ask for.
	everything = `
storage: {storageClass: fast, size: 2Ti, accessMode: ReadWriteMany, mountPath: /models}
models:
- {id: Qwen/Qwen3-8B, preload: true}
- {id: meta-llama/Llama-3.1-70B-Instruct, revision: v2, priority: high, retention: 4w, maxSize: 200Gi, preload: true}
- {id: openai/gpt-oss-20b, priority: low, retention: 12h}
cleanup: {enabled: true, schedule: "30 2 * * 6", maxAge: 30d, minFreeSpace: 100Gi, strategy: lfu}
hfTokenSecretRef: {name: hugging-face, key: token}
retain: false
`

	// three models to preload, one of each priority.
	three = `
storage: {size: 100Gi}
models:
- {id: a/low, priority: low, preload: true}
- {id: b/medium, preload: true}
- {id: c/high, priority: high, preload: true}
- {id: d/not, priority: high}
`
)

// models is a cache of that name with a spec.
func models(tb testing.TB, spec string, changes ...func(c *Cache)) Cache {
	tb.Helper()
	c := Cache{
		Name: "models", Namespace: "team-a", Composite: "models-x7f2q",
		Platform: Platform{Agent: agent.Platform{Image: "localhost:5000/function-aim:v1"}, GPUResourceName: "amd.com/gpu"},
	}
	if err := yaml.UnmarshalStrict([]byte(spec), &c.Spec); err != nil {
		tb.Fatal(err)
	}
	Default(&c.Spec)
	for _, change := range changes {
		change(&c)
	}
	return c
}

func rendered(tb testing.TB, c Cache, live Live) []Manifest {
	tb.Helper()
	ms, err := c.Render(live)
	if err != nil {
		tb.Fatal(err)
	}
	return ms
}

// manifests of a render, one YAML document each.
func manifests(tb testing.TB, ms []Manifest) string {
	tb.Helper()
	var b bytes.Buffer
	for _, m := range ms {
		o, err := object.Manifest(m.Object)
		if err != nil {
			tb.Fatal(err)
		}
		y, err := yaml.Marshal(o)
		if err != nil {
			tb.Fatal(err)
		}
		fmt.Fprintf(&b, "---\n# role: %s", m.Role)
		if m.Retain {
			b.WriteString(", retained")
		}
		fmt.Fprintf(&b, "\n%s", y)
	}
	return b.String()
}

// find the manifest of a role, as its type.
func find[T any](tb testing.TB, ms []Manifest, r Role) T {
	tb.Helper()
	for _, m := range ms {
		if o, ok := m.Object.(T); ok && m.Role == r {
			return o
		}
	}
	var none T
	tb.Fatalf("there is no %T of role %s", none, r)
	return none
}

// volumeOf a size that is live, and bound.
func volumeOf(size string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "models-storage", Namespace: "team-a", UID: "0d9a3c1e"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: ptr.To("standard"),
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}},
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
}

// there is all that comes first: the agent's Role, and a volume of a size, or
// the one that a cache asks for.
func there(size string) Live { return Live{Volume: volumeOf(size), Role: true, Binding: true} }

func asAsked(tb testing.TB, spec string) Live {
	tb.Helper()
	v := models(tb, spec).Volume().Claim(nil, volume.Class{})
	v.UID, v.Status.Phase = "0d9a3c1e", corev1.ClaimBound
	return Live{Volume: v, Role: true, Binding: true}
}

func holding(size string) func(c *Cache) {
	return func(c *Cache) { c.Holds = resource.MustParse(size) }
}

func TestRender(t *testing.T) {
	cases := map[string]struct {
		reason string
		cache  Cache
		live   Live
	}{
		"minimal":    {"A size should be all that it takes: a volume, and an agent that may write what it measured.", models(t, minimal), Live{}},
		"everything": {"All that a user can ask for should be there.", models(t, everything, func(c *Cache) { c.Used = []string{"Qwen/Qwen3-8B"} }), asAsked(t, everything)},
		"platform": {
			"What the platform team set should be in every cache.",
			models(t, `{storage: {size: 100Gi}, cleanup: {enabled: true}}`, func(c *Cache) {
				c.Platform = Platform{
					Agent: agent.Platform{Image: "localhost:5000/mirror/function-aim@sha256:0123"}, StorageClass: "platform", GPUResourceName: "amd.com/cpx_nps1",
					Tolerations: []corev1.Toleration{{Key: "team", Operator: corev1.TolerationOpEqual, Value: "ai", Effect: corev1.TaintEffectNoSchedule}},
				}
			}),
			Live{Role: true},
		},
		"live": {
			"What cannot change should stay as it is live: a volume's class, mode and size, and with it what the agent is told of it.",
			models(t, `{storage: {size: 10Gi, storageClass: other, accessMode: ReadWriteMany}, models: [{id: a/b, preload: true}]}`, holding("50Gi")),
			Live{Volume: volumeOf("50Gi"), Class: volume.Class{Known: true, Exists: true, Expandable: true}, Role: true, Binding: true},
		},
		"long-name": {
			"A name that no object could have should become one that all can have.",
			models(t, `{storage: {size: 100Gi}, models: [{id: a/b, preload: true}], cleanup: {enabled: true}}`, func(c *Cache) {
				c.Name, c.Composite = "3."+strings.Repeat("long-", 12)+"x", strings.Repeat("c", 70)
			}),
			there("100Gi"),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := manifests(t, rendered(t, tc.cache, tc.live))
			golden := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("\n%s\nRender(...): -want, +got (go test ./fn/cache -update):\n%s", tc.reason, diff)
			}

			permuted := tc.cache
			permuted.Spec.Models = slices.Clone(tc.cache.Spec.Models)
			slices.Reverse(permuted.Spec.Models)
			if again := manifests(t, rendered(t, permuted, tc.live)); again != got {
				t.Errorf("\nThe order of models should be of no importance.\nRender(...): -first, +second:\n%s", cmp.Diff(got, again))
			}
		})
	}
	if files, _ := filepath.Glob("testdata/*.yaml"); len(files) != len(cases) {
		t.Errorf("Every golden file should be of a case: want %d, got %v", len(cases), files)
	}
}

// TestKinds makes sure that the provider may manage all that is rendered.
func TestKinds(t *testing.T) {
	got := map[schema.GroupVersionKind]bool{}
	for _, m := range rendered(t, models(t, everything), there("2Ti")) {
		got[m.Object.GetObjectKind().GroupVersionKind()] = true
	}
	want := map[schema.GroupVersionKind]bool{}
	for _, k := range Kinds() {
		want[k] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\nKinds(): -listed, +rendered:\n%s", diff)
	}
}

func TestRetain(t *testing.T) {
	cases := map[string]struct {
		reason string
		spec   string
		want   []Role
	}{
		"Default": {"A volume should outlive its cache, and nothing else should.", minimal, []Role{RoleVolume}},
		"Not":     {"Unless the user does not want that.", minimal + "\nretain: false", nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []Role
			for _, m := range rendered(t, models(t, tc.spec), Live{}) {
				if m.Retain {
					got = append(got, m.Role)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nRender(...): -want retained, +got retained:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestAgentRights makes sure that an agent can write its ConfigMap, and nothing
// else.
func TestAgentRights(t *testing.T) {
	ms := rendered(t, models(t, everything), there("2Ti"))
	want := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"models-inventory"}, Verbs: []string{"patch"}}}
	if diff := cmp.Diff(want, find[*rbacv1.Role](t, ms, RoleRole).Rules); diff != "" {
		t.Errorf("\nAn agent should be allowed to write exactly one ConfigMap: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff("models-inventory", find[*corev1.ConfigMap](t, ms, RoleInventory).Name); diff != "" {
		t.Errorf("\nIt should be the one that we look at: -want, +got:\n%s", diff)
	}
	b := find[*rbacv1.RoleBinding](t, ms, RoleBinding)
	account := find[*corev1.ServiceAccount](t, ms, RoleAccount)
	got := []any{b.RoleRef.Kind, b.RoleRef.Name, b.Subjects, account.AutomountServiceAccountToken}
	if diff := cmp.Diff([]any{"Role", "models-cache-agent", []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "team-a", Name: "models-cache-agent"}}, ptr.To(false)}, got); diff != "" {
		t.Errorf("\nNobody but the agent should be bound, and no other pod should get a token by chance: -want, +got:\n%s", diff)
	}
	for _, p := range pods(ms) {
		if diff := cmp.Diff([]any{account.Name, ptr.To(true)}, []any{p.Spec.ServiceAccountName, p.Spec.AutomountServiceAccountToken}); diff != "" {
			t.Errorf("\nEach agent should be that account: -want, +got:\n%s", diff)
		}
	}
}

// pods that a render makes.
func pods(ms []Manifest) []corev1.PodTemplateSpec {
	var out []corev1.PodTemplateSpec
	for _, m := range ms {
		switch o := m.Object.(type) {
		case *batchv1.Job:
			out = append(out, o.Spec.Template)
		case *batchv1.CronJob:
			out = append(out, o.Spec.JobTemplate.Spec.Template)
		}
	}
	return out
}

// TestToken makes sure that a token is never more than a reference, of those
// who need it.
func TestToken(t *testing.T) {
	home := corev1.EnvVar{Name: "HOME", Value: "/tmp"}
	token := corev1.EnvVar{Name: "HF_TOKEN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: "hugging-face"}, Key: "token",
	}}}
	cases := map[string]struct {
		reason string
		spec   string
		want   map[string][]corev1.EnvVar
	}{
		"None": {
			"Without a Secret there is no token.", `{storage: {size: 1Gi}, models: [{id: a/b, preload: true}], cleanup: {enabled: true}}`,
			map[string][]corev1.EnvVar{"download": {home}, "prune": {home}},
		},
		"Some": {
			"A token should stay in its Secret, and be there for downloads only.", everything,
			map[string][]corev1.EnvVar{"download": {home, token}, "prune": {home}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := map[string][]corev1.EnvVar{}
			for _, p := range pods(rendered(t, models(t, tc.spec), there("2Ti"))) {
				got[p.Spec.Containers[0].Args[1]] = p.Spec.Containers[0].Env
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\n-want env by command, +got env by command:\n%s", tc.reason, diff)
			}
		})
	}
}

// roles of preloads by model.
func roles(c Cache) map[string]Role {
	out := map[string]Role{}
	for _, p := range c.Preloads(there("100Gi")) {
		out[p.Model.ID] = p.Role
	}
	return out
}

// TestPreloadRoles is about what makes a download another one, with a Job of
// its own: a Job's pods cannot change.
func TestPreloadRoles(t *testing.T) {
	const spec = `{storage: {size: 100Gi}, models: [{id: a/b, preload: true}, {id: c/d, preload: true}]}`
	model := func(change func(m *v1alpha1.CacheModel)) func(c *Cache) {
		return func(c *Cache) { change(&c.Spec.Models[0]) }
	}
	cases := map[string]struct {
		reason string
		change func(c *Cache)
		// want says of which models the downloads are others.
		want []string
	}{
		"Same":     {"The same spec should make the same Job.", func(*Cache) {}, nil},
		"Revision": {"Another revision is another download.", model(func(m *v1alpha1.CacheModel) { m.Revision = "v2" }), []string{"a/b"}},
		"MaxSize":  {"A download that was refused as too large should be tried again when it may be larger.", model(func(m *v1alpha1.CacheModel) { m.MaxSize = "10Gi" }), []string{"a/b"}},
		"Priority": {"When a model is evicted is nothing to download it again for.", model(func(m *v1alpha1.CacheModel) { m.Priority, m.Retention = "high", "1d" }), nil},
		"Cleanup":  {"Nor is how the cache is cleaned up.", func(c *Cache) { c.Spec.Cleanup.Enabled, c.Spec.Cleanup.MaxAge = ptr.To(true), "1d" }, nil},
		"Users":    {"Nor is who uses it.", func(c *Cache) { c.Used = []string{"a/b"} }, nil},
		"Token":    {"What was refused without a token should be tried again with one.", func(c *Cache) { c.Spec.HFTokenSecretRef = &v1alpha1.SecretKeyRef{Name: "hf", Key: "token"} }, []string{"a/b", "c/d"}},
		"Image":    {"Another agent may do what this one cannot.", func(c *Cache) { c.Platform.Agent.Image = "localhost:5000/function-aim:v2" }, []string{"a/b", "c/d"}},
		"Growth":   {"What did not fit should be tried again in a larger volume.", func(c *Cache) { c.Spec.Storage.Size = "200Gi" }, []string{"a/b", "c/d"}},
		"Live":     {"That the volume is there now is nothing new.", holding("100Gi"), nil},
		"Shrink": {"A volume does not shrink, whatever the spec says.", func(c *Cache) {
			c.Spec.Storage.Size, c.Holds = "10Gi", resource.MustParse("100Gi")
		}, nil},
		"Unit": {"The same size in another unit is the same.", func(c *Cache) { c.Spec.Storage.Size = "102400Mi" }, nil},
		"Other": {"What is added should leave others alone.", func(c *Cache) {
			c.Spec.Models = append(c.Spec.Models, v1alpha1.CacheModel{ID: "e/f", Preload: ptr.To(false)})
		}, nil},
	}
	before := roles(models(t, spec))
	if len(before) != 2 || before["a/b"] == before["c/d"] {
		t.Fatalf("each model should have a role of its own: got %v", before)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			after := roles(models(t, spec, tc.change))
			for _, id := range []string{"a/b", "c/d"} {
				if after[id] != before[id] {
					got = append(got, id)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nPreloads(): -want others, +got others:\n%s", tc.reason, diff)
			}
		})
	}
}

func done(t batchv1.JobConditionType, message string) *batchv1.Job {
	return &batchv1.Job{Status: batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: t, Status: corev1.ConditionTrue, Message: message}}}}
}

// jobs of models.
func jobs(c Cache, by map[string]*batchv1.Job) map[string]*batchv1.Job {
	out := map[string]*batchv1.Job{}
	for id, role := range roles(c) {
		if j, ok := by[id]; ok {
			out[strings.TrimPrefix(string(role), string(RolePreload))] = j
		}
	}
	return out
}

// TestOneAtATime makes sure that one download runs at a time, those of high
// priority first: a volume may be on one node only.
func TestOneAtATime(t *testing.T) {
	running := &batchv1.Job{Status: batchv1.JobStatus{Active: 1}}
	complete, failed := done(batchv1.JobComplete, ""), done(batchv1.JobFailed, "why")
	cases := map[string]struct {
		reason string
		jobs   map[string]*batchv1.Job
		want   []string
	}{
		"Fresh":    {"The one of high priority goes first.", nil, []string{"c/high", "b/medium (suspended)", "a/low (suspended)"}},
		"Running":  {"It goes on alone.", map[string]*batchv1.Job{"c/high": running, "b/medium": {}, "a/low": {}}, []string{"c/high", "b/medium (suspended)", "a/low (suspended)"}},
		"Complete": {"The next one follows it.", map[string]*batchv1.Job{"c/high": complete, "b/medium": {}, "a/low": {}}, []string{"c/high", "b/medium", "a/low (suspended)"}},
		"Failed":   {"One that failed does not keep the others from going on, and stays.", map[string]*batchv1.Job{"c/high": failed, "b/medium": {}, "a/low": {}}, []string{"c/high", "b/medium", "a/low (suspended)"}},
		"Early":    {"One that was through before it was its turn is left alone.", map[string]*batchv1.Job{"c/high": running, "b/medium": complete, "a/low": {}}, []string{"c/high", "b/medium", "a/low (suspended)"}},
		"All":      {"What is finished stays as it is.", map[string]*batchv1.Job{"c/high": complete, "b/medium": complete, "a/low": failed}, []string{"c/high", "b/medium", "a/low"}},
		"NotYet": {"A Job that is about to fail has not failed.", map[string]*batchv1.Job{"c/high": {Status: batchv1.JobStatus{Conditions: []batchv1.JobCondition{
			{Type: batchv1.JobFailureTarget, Status: corev1.ConditionTrue}, {Type: batchv1.JobFailed, Status: corev1.ConditionFalse},
		}}}}, []string{"c/high", "b/medium (suspended)", "a/low (suspended)"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := models(t, three)
			var got []string
			for _, m := range rendered(t, c, Live{Volume: volumeOf("100Gi"), Binding: true, Jobs: jobs(c, tc.jobs)}) {
				j, ok := m.Object.(*batchv1.Job)
				if !ok {
					continue
				}
				s := j.Spec.Template.Spec.Containers[0].Args[2]
				if *j.Spec.Suspend {
					s += " (suspended)"
				}
				got = append(got, s)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nRender(...): -want Jobs, +got Jobs:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestPolicy makes sure that the agent's clean-up is told what the user wants,
// in a form that it understands.
func TestPolicy(t *testing.T) {
	c := models(t, everything, func(c *Cache) { c.Used = []string{"Qwen/Qwen3-8B"} })
	args := find[*batchv1.CronJob](t, rendered(t, c, Live{}), RoleCleanup).Spec.JobTemplate.Spec.Template.Spec.Containers[0].Args
	text, ok := strings.CutPrefix(args[2], "--policy=")
	if !ok {
		t.Fatalf("want a policy, got %q", args)
	}
	got := prune.Document{}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	want := prune.Document{
		Strategy: prune.StrategyLFU, MaxAge: "30d", MinFree: "100Gi", InUse: []string{"Qwen/Qwen3-8B"},
		Models: []prune.ModelDocument{
			{ID: "Qwen/Qwen3-8B", Priority: prune.PriorityMedium},
			{ID: "meta-llama/Llama-3.1-70B-Instruct", Priority: prune.PriorityHigh, Retention: "4w", MaxSize: "200Gi"},
			{ID: "openai/gpt-oss-20b", Priority: prune.PriorityLow, Retention: "12h"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\n-want policy, +got policy:\n%s", diff)
	}
	if _, err := got.Policy(1 << 40); err != nil {
		t.Errorf("\nThe agent should understand it: got %v", err)
	}
}

func TestProblems(t *testing.T) {
	scheduled := func(s string) func(c *Cache) {
		return func(c *Cache) { c.Spec.Cleanup.Schedule = s }
	}
	noAgent := func(c *Cache) { c.Platform.Agent.Image = "" }
	const agent = "spec.models[].preload and spec.cleanup.enabled need the agent: the platform has to set agentImage in the input of the cache's Composition"
	cases := map[string]struct {
		reason string
		spec   string
		change func(c *Cache)
		want   []string
	}{
		"None":       {"All that the schema takes can be applied.", everything, func(*Cache) {}, nil},
		"Macro":      {"Kubernetes knows the names of schedules, too.", minimal, scheduled("@daily"), nil},
		"NoSchedule": {"The API server would refuse what is no schedule.", minimal, scheduled("at night"), []string{`spec.cleanup.schedule: "at night" is no schedule of cron: expected exactly 5 fields, found 2: [at night]; an example is 0 3 * * *`}},
		"Hour":       {"Or one that cannot be.", minimal, scheduled("0 25 * * *"), []string{`spec.cleanup.schedule: "0 25 * * *" is no schedule of cron: end of range (25) above maximum (23): 25; an example is 0 3 * * *`}},
		"TimeZone":   {"The API server refuses a time zone in a schedule, though the parser takes it.", minimal, scheduled("CRON_TZ=Asia/Tokyo 0 3 * * *"), []string{`spec.cleanup.schedule: "CRON_TZ=Asia/Tokyo 0 3 * * *" is no schedule of cron: it is in UTC, and cannot name a time zone; an example is 0 3 * * *`}},
		"Panic":      {"The parser panics on this one.", minimal, scheduled("TZ=0"), []string{`spec.cleanup.schedule: "TZ=0" is no schedule of cron: it is in UTC, and cannot name a time zone; an example is 0 3 * * *`}},
		"Age":        {"An age of more than the agent can count would fail each clean-up.", minimal, func(c *Cache) { c.Spec.Cleanup.MaxAge = "99999999w" }, []string{`spec.cleanup and spec.models: maxAge: "99999999w" is not a duration such as 30d, 2w or 12h`}},
		"Retention":  {"So would a model's.", everything, func(c *Cache) { c.Spec.Models[2].Retention = "99999999w" }, []string{`spec.cleanup and spec.models: models[2]: retention: "99999999w" is not a duration such as 30d, 2w or 12h`}},
		"NoAgent":    {"Without an agent a cache is a volume.", minimal, noAgent, nil},
		"NoAgentToPreload": {
			"A preload needs an agent.", `{storage: {size: 1Gi}, models: [{id: a/b, preload: true}]}`, noAgent, []string{agent},
		},
		"NoAgentToClean": {"So does a clean-up.", `{storage: {size: 1Gi}, cleanup: {enabled: true}}`, noAgent, []string{agent}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, models(t, tc.spec, tc.change).Problems()); diff != "" {
				t.Errorf("\n%s\nProblems(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestOwns(t *testing.T) {
	c := models(t, minimal)
	ours := func(changes map[string]string) map[string]string {
		l := c.labels()
		maps.Copy(l, changes)
		return l
	}
	cases := map[string]struct {
		reason string
		role   Role
		labels map[string]string
		want   bool
	}{
		"Ours":             {"What we made is ours.", RoleRole, ours(nil), true},
		"Retained":         {"A volume that a cache of the same name left is for this one.", RoleVolume, ours(map[string]string{"aim.engine.amd.com/composite": "models-old"}), true},
		"OfAnother":        {"All else of another composite is not.", RoleRole, ours(map[string]string{"aim.engine.amd.com/composite": "models-old"}), false},
		"OfAnotherName":    {"Nor is a volume of a cache of another name.", RoleVolume, ours(map[string]string{LabelCache: "others"}), false},
		"OfAnotherManager": {"Nor what somebody else manages.", RoleVolume, ours(map[string]string{"app.kubernetes.io/managed-by": "Helm"}), false},
		"Unlabelled":       {"Nor what has no labels.", RoleVolume, nil, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := c.Owns(tc.role, tc.labels); got != tc.want {
				t.Errorf("\n%s\nOwns(%s, %v): want %t, got %t", tc.reason, tc.role, tc.labels, tc.want, got)
			}
		})
	}
}

// TestTargetName makes sure that whatever a cache is called, all its objects
// can be called something.
func TestTargetName(t *testing.T) {
	seen := map[string]string{}
	for n := 1; n <= 63; n++ {
		for _, name := range []string{strings.Repeat("a", n), strings.Repeat("a", n-1) + "b", strings.Repeat("1", n)} {
			c := models(t, `{storage: {size: 1Gi}, models: [{id: a/b, preload: true}], cleanup: {enabled: true}}`, func(c *Cache) { c.Name = name })
			for _, m := range rendered(t, c, Live{}) {
				target := c.TargetName(m.Role)
				kind := m.Object.GetObjectKind().GroupVersionKind().Kind
				most, ok := map[string]int{"CronJob": 52, "Job": 63}[kind]
				if !ok {
					most = validation.DNS1123SubdomainMaxLength
				}
				if errs := validation.IsDNS1123Subdomain(target); len(target) > most || len(errs) > 0 {
					t.Errorf("the %s of cache %s cannot be called %s: it has %d characters of %d: %v", m.Role, name, target, len(target), most, errs)
				}
				key := kind + "/" + target
				if other, ok := seen[key]; ok && other != name {
					t.Errorf("%s is of both %s and %s", key, other, name)
				}
				seen[key] = name
			}
			if diff := cmp.Diff(c.TargetName(RoleVolume), ClaimName(name)); diff != "" {
				t.Errorf("Endpoints should mount the volume that there is: -want, +got:\n%s", diff)
			}
		}
	}
}

// TestDefault makes sure that what reads a spec never meets what is not there.
func TestDefault(t *testing.T) {
	got := v1alpha1.AIMCacheSpec{Models: []v1alpha1.CacheModel{{ID: "a/b"}}}
	Default(&got)
	want := v1alpha1.AIMCacheSpec{
		Storage: v1alpha1.CacheStorage{AccessMode: "ReadWriteOnce", MountPath: "/workspace/model-cache"},
		Models:  []v1alpha1.CacheModel{{ID: "a/b", Priority: "medium", Preload: ptr.To(false)}},
		Cleanup: &v1alpha1.CacheCleanup{Enabled: ptr.To(false), Schedule: "0 3 * * *", Strategy: "lru"},
		Retain:  ptr.To(true),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Default(...): -want, +got:\n%s", diff)
	}
}
