package endpoint

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/engine"
	"github.com/aim-engine/function-aim/fn/gpu"
)

const (
	testImage = "vllm/vllm-openai-rocm:v0.22.1"
	testModel = "Qwen/Qwen3-32B"
)

// specOf YAML, as it is after the API server and Default.
func specOf(tb testing.TB, s string) v1alpha1.AIMEndpointSpec {
	tb.Helper()
	spec := v1alpha1.AIMEndpointSpec{Model: v1alpha1.Model{ID: testModel}}
	if err := yaml.UnmarshalStrict([]byte(s), &spec); err != nil {
		tb.Fatal(err)
	}
	Default(&spec)
	return spec
}

// chat is an endpoint on one GPU, with a spec beside its model.
func chat(tb testing.TB, spec string, changes ...func(e *Endpoint)) Endpoint {
	tb.Helper()
	e := Endpoint{
		Name:      "chat",
		Namespace: "team-a",
		Composite: "chat-x7f2q",
		Spec:      specOf(tb, spec),
		Recipe: v1alpha1.SelectedRecipe{
			Name: "qwen3-32b-mi300x-bfloat16-vllm", Source: "Builtin", Hardware: "MI300X", GPUCount: 1, Precision: "bfloat16", Backend: "vllm",
			Image: testImage, Reason: "chose it for a reason",
			Memory: &v1alpha1.GPUMemory{RequiredGiBPerGPU: "77.7", AvailableGiBPerGPU: "176.6", MaxConcurrentSequences: 10},
			Snapshot: &v1alpha1.Snapshot{
				Selection: "0123456789abcdef", Model: testModel, Image: testImage,
				Command: []string{"vllm", "serve"},
				Args:    []string{testModel, "--served-model-name", testModel, "--tensor-parallel-size", "1", "--max-model-len", "40960"},
				Env:     []corev1.EnvVar{{Name: "VLLM_NO_USAGE_STATS", Value: "1"}, {Name: "VLLM_ROCM_USE_AITER", Value: "1"}},
				Port:    8000,
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
					corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("32Gi"),
				}},
				WeightsGiB: 61,
			},
		},
		Platform: Platform{GPUResourceName: "amd.com/gpu"},
	}
	e.Accelerator, _ = gpu.Lookup("MI300X")
	e.Engine, _ = engine.Lookup("vllm")
	for _, change := range changes {
		change(&e)
	}
	e.Recipe.Image = e.ImageOf(*e.Recipe.Snapshot)
	return e
}

// rendered manifests of an endpoint.
func rendered(tb testing.TB, e Endpoint, live Live) []Manifest {
	tb.Helper()
	ms, err := e.Render(live)
	if err != nil {
		tb.Fatal(err)
	}
	return ms
}

// onGPUs changes the number of GPUs of an endpoint.
func onGPUs(n int32) func(e *Endpoint) {
	return func(e *Endpoint) { e.Recipe.GPUCount = n }
}

var (
	dns1035 = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	long    = strings.Repeat("a", 56)
)

func TestBaseName(t *testing.T) {
	cases := map[string]struct {
		reason string
		name   string
		want   string
	}{
		"Plain": {
			reason: "A name that all kinds of object can have should be kept.",
			name:   "chat", want: "chat",
		},
		"Longest": {
			reason: "A name that leaves room for a suffix should be kept.",
			name:   long, want: long,
		},
		"TooLong": {
			reason: "A name without room for a suffix should be cut.",
			name:   long + "b", want: strings.Repeat("a", 43) + "-2e2ee2af",
		},
		"Dots": {
			reason: "A Service's name has no dots.",
			name:   "chat.v2", want: "chat-v2-f5101bcf",
		},
		"LeadingDigit": {
			reason: "A Service's name does not start with a digit.",
			name:   "3chat", want: "aim-3chat-472b71b0",
		},
		"OnlyDigits": {
			reason: "A name of digits should become one with letters.",
			name:   "42", want: "aim-42-73475cb4",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, BaseName(tc.name)); diff != "" {
				t.Errorf("\n%s\nBaseName(%q): -want, +got:\n%s", tc.reason, tc.name, diff)
			}
		})
	}
	for _, pair := range [][2]string{{"a.b", "a-b"}, {"a.b", "a..b"}, {long + "b", long + "c"}, {"3chat", "aim-3chat"}, {"42", "4.2"}, {"a.b.c", "a.b-c"}} {
		if BaseName(pair[0]) == BaseName(pair[1]) {
			t.Errorf("\nDifferent names should stay different.\nBaseName(...): %q for both of %q", BaseName(pair[0]), pair)
		}
	}
}

func FuzzBaseName(f *testing.F) {
	for _, s := range []string{"chat", "chat.v2", "3chat", "42", long + "b", "-", "", "a.", "aim-", strings.Repeat("0.", 100)} {
		f.Add(s, "chat")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, n := range []string{a, b} {
			got := BaseName(n)
			if !dns1035.MatchString(got) || len(got) > 56 {
				t.Errorf("\nA base name should be a DNS label of at most 56 characters, for any name.\nBaseName(%q): got %q", n, got)
			}
			for _, r := range Roles() {
				name := Endpoint{Name: n}.TargetName(r)
				check := validation.IsDNS1035Label
				if r == RoleDashboard {
					// A ConfigMap's name may be longer.
					check = validation.IsDNS1123Subdomain
				}
				if errs := check(name); len(errs) > 0 {
					t.Errorf("\nThe name of every object should be valid.\nTargetName(%s) of %q: got %q: %v", r, n, name, errs)
				}
			}
			if errs := validation.IsValidLabelValue(LabelValue(n)); len(errs) > 0 && len(validation.IsDNS1123Subdomain(n)) == 0 {
				t.Errorf("\nA name should become a label's value.\nLabelValue(%q): got %q: %v", n, LabelValue(n), errs)
			}
		}
		if a != b && len(a) < 254 && len(b) < 254 && BaseName(a) == BaseName(b) {
			t.Errorf("\nDifferent names should stay different.\nBaseName(...): %q for %q and %q", BaseName(a), a, b)
		}
	})
}

func TestTargetName(t *testing.T) {
	want := map[Role]string{
		RoleConfig: "chat-config", RoleServiceAccount: "chat", RoleCache: "chat-cache", RoleDeployment: "chat", RoleReplicas: "chat", RoleService: "chat",
		RoleCanary: "chat-canary", RoleCanaryService: "chat-canary", RoleAutoscaler: "chat", RoleScaledObject: "chat", RoleDisruptionBudget: "chat",
		RoleNetworkPolicy: "chat", RoleHTTPRoute: "chat", RoleIngress: "chat", RoleServiceMonitor: "chat", RoleAlerts: "chat", RoleDashboard: "chat-dashboard",
		RoleAPIKey: "chat-config",
	}
	got := map[Role]string{}
	for _, r := range Roles() {
		got[r] = Endpoint{Name: "chat"}.TargetName(r)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\nObjects should be called what the documentation says.\nTargetName(...): -want, +got:\n%s", diff)
	}
}

// TestAPIs makes sure that a cluster is asked for the definitions that there
// are.
func TestAPIs(t *testing.T) {
	want := map[API]string{
		APIHTTPRoute:      "httproutes.gateway.networking.k8s.io gateway.networking.k8s.io/v1, Kind=HTTPRoute",
		APIScaledObject:   "scaledobjects.keda.sh keda.sh/v1alpha1, Kind=ScaledObject",
		APIServiceMonitor: "servicemonitors.monitoring.coreos.com monitoring.coreos.com/v1, Kind=ServiceMonitor",
		APIPrometheusRule: "prometheusrules.monitoring.coreos.com monitoring.coreos.com/v1, Kind=PrometheusRule",
	}
	got := map[API]string{}
	for _, a := range APIs() {
		got[a] = a.Definition() + " " + a.GroupVersionKind().String()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\nA definition should be called what its project calls it.\nAPIs(): -want, +got:\n%s", diff)
	}
	roles := map[API]Role{}
	for _, r := range Roles() {
		if a := r.API(); a != "" {
			roles[a] = r
		}
	}
	if diff := cmp.Diff(map[API]Role{APIHTTPRoute: RoleHTTPRoute, APIScaledObject: RoleScaledObject, APIServiceMonitor: RoleServiceMonitor, APIPrometheusRule: RoleAlerts}, roles); diff != "" {
		t.Errorf("\nEach API should be somebody's.\nAPI(): -want, +got:\n%s", diff)
	}
}

// TestOptional makes sure that what serves is never taken for something that an
// endpoint can do without.
func TestOptional(t *testing.T) {
	var got []Role
	for _, r := range Roles() {
		if r.Optional() {
			got = append(got, r)
		}
	}
	want := []Role{RoleCanary, RoleCanaryService, RoleHTTPRoute, RoleIngress, RoleServiceMonitor, RoleAlerts, RoleDashboard}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\nWhat brings clients from outside, what watches, and what is tried, should be optional.\nOptional(): -want, +got:\n%s", diff)
	}
}

func TestUses(t *testing.T) {
	cases := map[string]struct {
		reason  string
		spec    string
		changes []func(e *Endpoint)
		want    []API
	}{
		"Nothing":     {"A plain endpoint needs nothing beyond Kubernetes.", "", nil, nil},
		"HPA":         {"Kubernetes' own autoscaler is everywhere.", `scaling: {maxReplicas: 2}`, nil, nil},
		"KEDA":        {"KEDA is not everywhere.", `scaling: {maxReplicas: 2}`, []func(e *Endpoint){withKEDA("")}, []API{APIScaledObject}},
		"KEDAUnused":  {"What is not scaled needs no KEDA.", "", []func(e *Endpoint){withKEDA("")}, nil},
		"Ingress":     {"An Ingress is Kubernetes' own.", `service: {route: {hostname: a.example.org, ingressClass: nginx}}`, nil, nil},
		"Gateway":     {"A Gateway is not everywhere.", `service: {route: {hostname: a.example.org, gateway: {name: g}}}`, nil, []API{APIHTTPRoute}},
		"Monitoring":  {"The Prometheus operator is not everywhere.", `monitoring: {enabled: true}`, nil, []API{APIServiceMonitor, APIPrometheusRule}},
		"GrafanaOnly": {"A dashboard needs no operator.", `monitoring: {enabled: true, prometheus: {enabled: false}}`, nil, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, chat(t, tc.spec, tc.changes...).Uses()); diff != "" {
				t.Errorf("\n%s\nUses(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestLabelValue(t *testing.T) {
	cases := map[string]struct {
		reason string
		s      string
		want   string
	}{
		"Short":   {"A value that fits should be kept.", "chat", "chat"},
		"Longest": {"A value that just fits should be kept.", strings.Repeat("a", 63), strings.Repeat("a", 63)},
		"Long":    {"A value that does not fit should be cut, and be unique by a hash.", strings.Repeat("a", 64), strings.Repeat("a", 54) + "-ffe054fe"},
		"Dots":    {"A cut should leave no dot before the hash.", strings.Repeat("a", 53) + "." + strings.Repeat("b", 63), strings.Repeat("a", 53) + "-373cc830"},
		"Empty":   {"No value is a value.", "", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, LabelValue(tc.s)); diff != "" {
				t.Errorf("\n%s\nLabelValue(%q): -want, +got:\n%s", tc.reason, tc.s, diff)
			}
		})
	}
}

func TestDefault(t *testing.T) {
	got := v1alpha1.AIMEndpointSpec{}
	Default(&got)
	want := v1alpha1.AIMEndpointSpec{
		Recipe:    &v1alpha1.RecipeSelection{AutoSelect: ptr.To(true), Objective: "Throughput", UpgradePolicy: "Pinned"},
		Resources: &v1alpha1.Resources{},
		Scaling:   &v1alpha1.Scaling{MinReplicas: ptr.To[int32](1)},
		Service:   &v1alpha1.Service{Type: "ClusterIP", Port: ptr.To[int32](8000)},
		Cache:     &v1alpha1.Cache{Enabled: ptr.To(false), Retain: ptr.To(true), Preload: ptr.To(true), AccessMode: "ReadWriteOnce"},
		Image:     &v1alpha1.Image{},
		Monitoring: &v1alpha1.Monitoring{
			Enabled:    ptr.To(false),
			Prometheus: &v1alpha1.Prometheus{Enabled: ptr.To(true), Interval: "30s", Path: "/metrics"},
			Grafana:    &v1alpha1.Grafana{Enabled: ptr.To(true)},
		},
		Deployment: &v1alpha1.Deployment{Canary: &v1alpha1.Canary{Enabled: ptr.To(false), TrafficSplit: ptr.To[int32](10), Duration: ptr.To[int32](300)}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\nAn empty spec should get every default of the schema.\nDefault(...): -want, +got:\n%s", diff)
	}

	set := v1alpha1.AIMEndpointSpec{
		Recipe:  &v1alpha1.RecipeSelection{AutoSelect: ptr.To(false), Objective: "Cost", UpgradePolicy: "Automatic"},
		Scaling: &v1alpha1.Scaling{MinReplicas: ptr.To[int32](3)},
		Service: &v1alpha1.Service{Type: "NodePort", Port: ptr.To[int32](80)},
		Cache:   &v1alpha1.Cache{Enabled: ptr.To(true), Retain: ptr.To(false), Preload: ptr.To(false), AccessMode: "ReadWriteMany"},
		Image:   &v1alpha1.Image{Tag: "v1"}, Resources: &v1alpha1.Resources{CPU: "1"},
		Monitoring: &v1alpha1.Monitoring{
			Enabled:    ptr.To(true),
			Prometheus: &v1alpha1.Prometheus{Enabled: ptr.To(false), Interval: "1m", Path: "/m"},
			Grafana:    &v1alpha1.Grafana{Enabled: ptr.To(false), Dashboard: "Chat"},
		},
		Deployment: &v1alpha1.Deployment{Canary: &v1alpha1.Canary{Enabled: ptr.To(true), TrafficSplit: ptr.To[int32](50), Duration: ptr.To[int32](1)}},
	}
	want2 := *set.DeepCopy()
	Default(&set)
	if diff := cmp.Diff(want2, set); diff != "" {
		t.Errorf("\nWhat is set should be left, false and all.\nDefault(...): -want, +got:\n%s", diff)
	}
}

func TestOwns(t *testing.T) {
	ours := map[string]string{LabelComposite: "chat-x7f2q", LabelEndpoint: "chat", "app.kubernetes.io/managed-by": "function-aim"}
	with := func(k, v string) map[string]string {
		out := map[string]string{k: v}
		for ok, ov := range ours {
			if ok != k {
				out[ok] = ov
			}
		}
		return out
	}
	cases := map[string]struct {
		reason string
		role   Role
		labels map[string]string
		want   bool
	}{
		"Ours":            {"What this endpoint made is its own.", RoleDeployment, ours, true},
		"Strangers":       {"What has no labels of ours is somebody else's.", RoleDeployment, map[string]string{"app": "chat"}, false},
		"NoLabels":        {"What has no labels is somebody else's.", RoleService, nil, false},
		"OtherManager":    {"What another program manages is its.", RoleDeployment, with("app.kubernetes.io/managed-by", "Helm"), false},
		"OtherComposite":  {"What another composite of the same endpoint name made is not ours.", RoleDeployment, with(LabelComposite, "chat-other"), false},
		"OtherEndpoint":   {"What another endpoint made is not ours.", RoleDeployment, with(LabelEndpoint, "other"), false},
		"RetainedVolume":  {"A volume that was retained for this endpoint should be used again by the next one of that name.", RoleCache, with(LabelComposite, "chat-earlier"), true},
		"OtherVolume":     {"A volume of another endpoint is not ours.", RoleCache, with(LabelEndpoint, "other"), false},
		"StrangersVolume": {"A volume that nobody labelled is somebody else's.", RoleCache, map[string]string{LabelEndpoint: "chat"}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := chat(t, "").Owns(tc.role, tc.labels); got != tc.want {
				t.Errorf("\n%s\nOwns(%s, %v): want %t, got %t", tc.reason, tc.role, tc.labels, tc.want, got)
			}
		})
	}
}

func TestSelector(t *testing.T) {
	selecting := func(s *metav1.LabelSelector) Live {
		return Live{Deployment: &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Selector: s}}}
	}
	ours := map[string]string{LabelComposite: "chat-x7f2q"}
	cases := map[string]struct {
		reason string
		live   Live
		want   map[string]string
	}{
		"None":  {"Without a Deployment the selector should be ours.", Live{}, ours},
		"Live":  {"The selector of a live Deployment cannot change.", selecting(&metav1.LabelSelector{MatchLabels: map[string]string{"app": "old"}}), map[string]string{"app": "old"}},
		"Empty": {"An empty selector would select every pod.", selecting(&metav1.LabelSelector{}), ours},
		"Unset": {"A Deployment without a selector has none to keep.", selecting(nil), ours},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, chat(t, "").Selector(tc.live)); diff != "" {
				t.Errorf("\n%s\nSelector(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestClassOf(t *testing.T) {
	claim := func(size, class string, phase corev1.PersistentVolumeClaimPhase) Live {
		pvc := boundClaim(size, class)
		pvc.Status.Phase = phase
		if class == "" {
			pvc.Spec.StorageClassName = nil
		}
		return Live{Cache: pvc}
	}
	cases := map[string]struct {
		reason string
		spec   string
		live   Live
		want   string
	}{
		"Grows":    {"A volume that should grow needs its class to say so.", `cache: {enabled: true, size: 20Gi}`, claim("10Gi", "fast", corev1.ClaimBound), "fast"},
		"Same":     {"A volume of the right size need not grow.", `cache: {enabled: true, size: 10Gi}`, claim("10Gi", "fast", corev1.ClaimBound), ""},
		"Shrinks":  {"A volume that should shrink does not grow.", `cache: {enabled: true, size: 5Gi}`, claim("10Gi", "fast", corev1.ClaimBound), ""},
		"Disabled": {"Without a cache nothing grows.", `cache: {size: 20Gi}`, claim("10Gi", "fast", corev1.ClaimBound), ""},
		"New":      {"A volume that is not there does not grow.", `cache: {enabled: true, size: 20Gi}`, Live{}, ""},
		"Pending":  {"One that is not bound may wait for a pod, or for ever, which its class tells.", `cache: {enabled: true, size: 10Gi}`, claim("10Gi", "fast", corev1.ClaimPending), "fast"},
		"NoClass":  {"A volume without a class cannot grow.", `cache: {enabled: true, size: 20Gi}`, claim("10Gi", "", corev1.ClaimBound), ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, chat(t, tc.spec).ClassOf(tc.live)); diff != "" {
				t.Errorf("\n%s\nClassOf(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
