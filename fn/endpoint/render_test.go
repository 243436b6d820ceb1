package endpoint

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/fn/gpu"
	"github.com/aim-engine/function-aim/fn/object"
	"github.com/aim-engine/function-aim/fn/volume"
)

var update = flag.Bool("update", false, "write golden files instead of comparing with them")

func boundClaim(size, class string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "chat-cache", Namespace: "team-a"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: &class,
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}},
			VolumeName:       "pv-1",
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
}

// manifests of a render, one YAML document each.
func manifests(t *testing.T, ms []Manifest) string {
	t.Helper()
	var b bytes.Buffer
	for _, m := range ms {
		o, err := object.Manifest(m.Object)
		if err != nil {
			t.Fatal(err)
		}
		y, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "---\n# role: %s", m.Role)
		if m.Retain {
			b.WriteString(", retained")
		}
		if m.Partial {
			b.WriteString(", partial")
		}
		if m.Hold {
			b.WriteString(", held back")
		}
		if m.Keep {
			b.WriteString(", kept")
		}
		if m.Connection != nil {
			fmt.Fprintf(&b, ", with %s of Secret %s", m.Connection.Key, m.Connection.Name)
		}
		fmt.Fprintf(&b, "\n%s", y)
	}
	return b.String()
}

func TestRender(t *testing.T) {
	for name, tc := range renderCases(t) {
		t.Run(name, func(t *testing.T) {
			got := manifests(t, rendered(t, tc.endpoint(t), tc.live))
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
				t.Errorf("\n%s\nRender(...): -want, +got (go test ./fn/endpoint -update):\n%s", tc.reason, diff)
			}
			if again := manifests(t, rendered(t, tc.endpoint(t), tc.live)); again != got {
				t.Errorf("\nThe same endpoint should be rendered to the same bytes.\nRender(...): -first, +second:\n%s", cmp.Diff(got, again))
			}
		})
	}
	if files, _ := filepath.Glob("testdata/*.yaml"); len(files) != len(renderCases(t)) {
		t.Errorf("Every golden file should be of a case: want %d, got %v", len(renderCases(t)), files)
	}
}

// TestRenderStrict decodes what is rendered as the API server would.
func TestRenderStrict(t *testing.T) {
	kinds := map[string]func() runtime.Object{
		"Job":                 func() runtime.Object { return &batchv1.Job{} },
		"ServiceAccount":      func() runtime.Object { return &corev1.ServiceAccount{} },
		"PodDisruptionBudget": func() runtime.Object { return &policyv1.PodDisruptionBudget{} },
		"NetworkPolicy":       func() runtime.Object { return &networkingv1.NetworkPolicy{} },
		"Ingress":             func() runtime.Object { return &networkingv1.Ingress{} },
		"HTTPRoute":           func() runtime.Object { return &gatewayv1.HTTPRoute{} },
		"ServiceMonitor":      func() runtime.Object { return &monitoringv1.ServiceMonitor{} },
		"PrometheusRule":      func() runtime.Object { return &monitoringv1.PrometheusRule{} },
		// Its own types are not among the modules of this program; the end-to-end
		// tests ask the API server.
		"ScaledObject":            func() runtime.Object { return &unstructured.Unstructured{} },
		"ConfigMap":               func() runtime.Object { return &corev1.ConfigMap{} },
		"PersistentVolumeClaim":   func() runtime.Object { return &corev1.PersistentVolumeClaim{} },
		"Service":                 func() runtime.Object { return &corev1.Service{} },
		"Deployment":              func() runtime.Object { return &appsv1.Deployment{} },
		"HorizontalPodAutoscaler": func() runtime.Object { return &autoscalingv2.HorizontalPodAutoscaler{} },
	}
	for name, tc := range renderCases(t) {
		t.Run(name, func(t *testing.T) {
			for _, m := range rendered(t, tc.endpoint(t), tc.live) {
				gvk := m.Object.GetObjectKind().GroupVersionKind()
				if !slices.Contains(Kinds(), gvk) {
					t.Errorf("\nThe provider should be allowed to manage every kind that is rendered.\nKinds(): %s is missing", gvk)
				}
				raw, err := object.Manifest(m.Object)
				if err != nil {
					t.Fatal(err)
				}
				y, err := yaml.Marshal(raw)
				if err != nil {
					t.Fatal(err)
				}
				into := kinds[gvk.Kind]()
				if err := yaml.UnmarshalStrict(y, into); err != nil {
					t.Errorf("\nEvery manifest should decode without an unknown field.\nRender(...): %s: %v", m.Role, err)
				}
				back, err := object.Manifest(into)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(raw, back); diff != "" {
					t.Errorf("\nNothing of a manifest should be lost when it is decoded.\nRender(...): %s: -rendered, +decoded:\n%s", m.Role, diff)
				}
				meta := raw["metadata"].(map[string]any)
				if meta["namespace"] != "team-a" || meta["name"] == "" {
					t.Errorf("\nEvery manifest should have a name and a namespace: the provider sets none.\nRender(...): %s: got %v", m.Role, meta)
				}
			}
		})
	}
}

// podOf an endpoint.
func podOf(tb testing.TB, e Endpoint, live Live) corev1.PodTemplateSpec {
	tb.Helper()
	for _, m := range rendered(tb, e, live) {
		if d, ok := m.Object.(*appsv1.Deployment); ok && m.Role == RoleDeployment {
			return d.Spec.Template
		}
	}
	return corev1.PodTemplateSpec{}
}

func TestRenderResources(t *testing.T) {
	type want struct {
		Requests, Limits map[string]string
	}
	cases := map[string]struct {
		reason string
		spec   string
		gpu    string
		recipe corev1.ResourceRequirements
		want   want
	}{
		"Recipe": {
			reason: "Without an override the recipe's resources should be there, and the GPUs.",
			want:   want{Requests: map[string]string{"amd.com/gpu": "2", "cpu": "4", "memory": "32Gi"}, Limits: map[string]string{"amd.com/gpu": "2"}},
		},
		"Requests": {
			reason: "A request should replace the recipe's, and leave the other and the GPUs.",
			spec:   `resources: {cpu: 500m}`,
			want:   want{Requests: map[string]string{"amd.com/gpu": "2", "cpu": "500m", "memory": "32Gi"}, Limits: map[string]string{"amd.com/gpu": "2"}},
		},
		"All": {
			reason: "All can be replaced but the GPUs.",
			spec:   `resources: {cpu: "8", memory: 64Gi, cpuLimit: "16", memoryLimit: 128Gi}`,
			want: want{
				Requests: map[string]string{"amd.com/gpu": "2", "cpu": "8", "memory": "64Gi"},
				Limits:   map[string]string{"amd.com/gpu": "2", "cpu": "16", "memory": "128Gi"},
			},
		},
		"LimitBelowRecipe": {
			reason: "A limit below the recipe's request should lower the request: a pod that requests more than its limit is refused.",
			spec:   `resources: {memoryLimit: 16Gi, cpuLimit: "2"}`,
			want: want{
				Requests: map[string]string{"amd.com/gpu": "2", "cpu": "2", "memory": "16Gi"},
				Limits:   map[string]string{"amd.com/gpu": "2", "cpu": "2", "memory": "16Gi"},
			},
		},
		"LimitAboveRecipe": {
			reason: "A limit above the recipe's request should leave that, whatever other limit does not.",
			spec:   `resources: {memoryLimit: 16Gi, cpuLimit: "16"}`,
			want: want{
				Requests: map[string]string{"amd.com/gpu": "2", "cpu": "4", "memory": "16Gi"},
				Limits:   map[string]string{"amd.com/gpu": "2", "cpu": "16", "memory": "16Gi"},
			},
		},
		"LimitAndOtherRequest": {
			reason: "A request of one resource says nothing of the limit of another.",
			spec:   `resources: {memoryLimit: 16Gi, cpu: "8"}`,
			want: want{
				Requests: map[string]string{"amd.com/gpu": "2", "cpu": "8", "memory": "16Gi"},
				Limits:   map[string]string{"amd.com/gpu": "2", "memory": "16Gi"},
			},
		},
		"RequestsAboveRecipe": {
			reason: "Each request above the recipe's limit should raise that.",
			spec:   `resources: {memory: 64Gi, cpu: "8"}`,
			recipe: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("16Gi"), corev1.ResourceCPU: resource.MustParse("2")},
				Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Gi"), corev1.ResourceCPU: resource.MustParse("4")},
			},
			want: want{
				Requests: map[string]string{"amd.com/gpu": "2", "cpu": "8", "memory": "64Gi"},
				Limits:   map[string]string{"amd.com/gpu": "2", "cpu": "8", "memory": "64Gi"},
			},
		},
		"RequestAboveRecipe": {
			reason: "A request above the recipe's limit should raise the limit: what the user set wins.",
			spec:   `resources: {memory: 64Gi}`,
			recipe: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("16Gi")},
				Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Gi")},
			},
			want: want{
				Requests: map[string]string{"amd.com/gpu": "2", "memory": "64Gi"},
				Limits:   map[string]string{"amd.com/gpu": "2", "memory": "64Gi"},
			},
		},
		"RecipeWithGPUs": {
			reason: "The number of GPUs is the selection's, whatever a recipe's resources say.",
			recipe: corev1.ResourceRequirements{Requests: corev1.ResourceList{"amd.com/gpu": resource.MustParse("7")}, Limits: corev1.ResourceList{"amd.com/gpu": resource.MustParse("9")}},
			want:   want{Requests: map[string]string{"amd.com/gpu": "2"}, Limits: map[string]string{"amd.com/gpu": "2"}},
		},
		"OtherResourceName": {
			reason: "GPUs should be asked for by the name that the platform's device plugin gives them.",
			gpu:    "amd.com/cpx_nps1",
			want:   want{Requests: map[string]string{"amd.com/cpx_nps1": "2", "cpu": "4", "memory": "32Gi"}, Limits: map[string]string{"amd.com/cpx_nps1": "2"}},
		},
		"NothingOfTheRecipe": {
			reason: "A recipe without resources should get its GPUs all the same.",
			recipe: corev1.ResourceRequirements{Claims: []corev1.ResourceClaim{{Name: "c"}}},
			want:   want{Requests: map[string]string{"amd.com/gpu": "2"}, Limits: map[string]string{"amd.com/gpu": "2"}},
		},
	}
	text := func(l corev1.ResourceList) map[string]string {
		out := map[string]string{}
		for k, v := range l {
			out[string(k)] = v.String()
		}
		return out
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, tc.spec, onGPUs(2))
			if tc.gpu != "" {
				e.Platform.GPUResourceName = tc.gpu
			}
			if tc.recipe.Requests != nil || tc.recipe.Claims != nil {
				e.Recipe.Snapshot.Resources = tc.recipe
			}
			before := e.Recipe.Snapshot.Resources.DeepCopy()
			r := podOf(t, e, Live{}).Spec.Containers[0].Resources
			for range 20 {
				// Resources are maps, which come in any order.
				if diff := cmp.Diff(r, podOf(t, e, Live{}).Spec.Containers[0].Resources); diff != "" {
					t.Fatalf("\nThe same endpoint should be rendered the same.\nRender(...): -first, +later:\n%s", diff)
				}
			}
			if diff := cmp.Diff(tc.want, want{Requests: text(r.Requests), Limits: text(r.Limits)}); diff != "" {
				t.Errorf("\n%s\nRender(...): -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(*before, e.Recipe.Snapshot.Resources); diff != "" {
				t.Errorf("\nThe snapshot should be left as it is: it goes into the status.\nRender(...): -before, +after:\n%s", diff)
			}
		})
	}
}

func TestRenderPort(t *testing.T) {
	type want struct {
		Container int32
		Args      []string
		Probes    []string
		Service   int32
		Target    intstr.IntOrString
	}
	cases := map[string]struct {
		reason string
		spec   string
		want   want
	}{
		"Default": {
			reason: "The server should listen on the engine's port.",
			want:   want{8000, []string{"--host", "0.0.0.0", "--port", "8000"}, []string{"http", "http", "http"}, 8000, intstr.FromString("http")},
		},
		"TargetPort": {
			reason: "A target port should reach the server, its probes and the Service.",
			spec:   `service: {targetPort: 9000}`,
			want:   want{9000, []string{"--host", "0.0.0.0", "--port", "9000"}, []string{"http", "http", "http"}, 8000, intstr.FromString("http")},
		},
		"Port": {
			reason: "The Service's port is the clients', and nothing to the server.",
			spec:   `service: {port: 80}`,
			want:   want{8000, []string{"--host", "0.0.0.0", "--port", "8000"}, []string{"http", "http", "http"}, 80, intstr.FromString("http")},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, tc.spec)
			c := podOf(t, e, Live{}).Spec.Containers[0]
			svc := e.service(Live{})
			got := want{Container: c.Ports[0].ContainerPort, Args: c.Args[len(c.Args)-4:], Service: svc.Spec.Ports[0].Port, Target: svc.Spec.Ports[0].TargetPort}
			for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
				got.Probes = append(got.Probes, p.HTTPGet.Port.StrVal)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nRender(...): -want, +got:\n%s", tc.reason, diff)
			}
			if c.Ports[0].Name != "http" {
				t.Errorf("\nProbes should find the port by its name.\nRender(...): got %q", c.Ports[0].Name)
			}
		})
	}
}

func TestRenderCache(t *testing.T) {
	type want struct {
		Class string
		Mode  corev1.PersistentVolumeAccessMode
		Size  string
	}
	pending := boundClaim("50Gi", "standard")
	pending.Spec.VolumeName, pending.Status.Phase = "", corev1.ClaimPending
	cases := map[string]struct {
		reason string
		spec   string
		live   Live
		want   want
	}{
		"New": {
			reason: "A new volume should be what the user wants.",
			spec:   `cache: {enabled: true, storageClass: fast, size: 50Gi, accessMode: ReadWriteMany}`,
			want:   want{"fast", corev1.ReadWriteMany, "50Gi"},
		},
		"Estimated": {
			reason: "Without a size it should be two and a half times the weights and 10 GiB.",
			spec:   `cache: {enabled: true}`,
			want:   want{"", corev1.ReadWriteOnce, "162Gi"},
		},
		"Class": {
			reason: "The class of a volume cannot change.",
			spec:   `cache: {enabled: true, storageClass: fast, size: 50Gi}`,
			live:   Live{Cache: boundClaim("50Gi", "standard")},
			want:   want{"standard", corev1.ReadWriteOnce, "50Gi"},
		},
		"Mode": {
			reason: "The access mode of a volume cannot change.",
			spec:   `cache: {enabled: true, storageClass: standard, size: 50Gi, accessMode: ReadWriteMany}`,
			live:   Live{Cache: boundClaim("50Gi", "standard")},
			want:   want{"standard", corev1.ReadWriteOnce, "50Gi"},
		},
		"Shrinks": {
			reason: "A volume cannot shrink.",
			spec:   `cache: {enabled: true, size: 10Gi}`,
			live:   Live{Cache: boundClaim("50Gi", "standard"), CacheClass: volume.Class{Known: true, Exists: true, Expandable: true}},
			want:   want{"standard", corev1.ReadWriteOnce, "50Gi"},
		},
		"Grows": {
			reason: "A volume should grow where its class allows that.",
			spec:   `cache: {enabled: true, size: 100Gi}`,
			live:   Live{Cache: boundClaim("50Gi", "standard"), CacheClass: volume.Class{Known: true, Exists: true, Expandable: true}},
			want:   want{"standard", corev1.ReadWriteOnce, "100Gi"},
		},
		"CannotGrow": {
			reason: "A volume should stay as it is where its class does not allow it to grow.",
			spec:   `cache: {enabled: true, size: 100Gi}`,
			live:   Live{Cache: boundClaim("50Gi", "standard")},
			want:   want{"standard", corev1.ReadWriteOnce, "50Gi"},
		},
		"GrowsUnbound": {
			reason: "A claim that is not bound cannot change at all, and is made as it is wanted now once it is deleted.",
			spec:   `cache: {enabled: true, size: 100Gi}`,
			live:   Live{Cache: pending, CacheClass: volume.Class{Known: true, Exists: true, Expandable: true}},
			want:   want{"", corev1.ReadWriteOnce, "100Gi"},
		},
		"GrowsUnboundNotRetained": {
			reason: "What is not retained has to stay something that can be deleted.",
			spec:   `cache: {enabled: true, size: 100Gi, retain: false}`,
			live:   Live{Cache: pending, CacheClass: volume.Class{Known: true, Exists: true, Expandable: true}},
			want:   want{"standard", corev1.ReadWriteOnce, "50Gi"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := manifests(t, []Manifest{{Object: live(tc.live.Cache)}})
			pvc := chat(t, tc.spec).volume().Claim(tc.live.Cache, tc.live.CacheClass)
			size := pvc.Spec.Resources.Requests[corev1.ResourceStorage]
			got := want{Class: ptr.Deref(pvc.Spec.StorageClassName, ""), Mode: pvc.Spec.AccessModes[0], Size: size.String()}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\ncache(...): -want, +got:\n%s", tc.reason, diff)
			}
			if after := manifests(t, []Manifest{{Object: live(tc.live.Cache)}}); before != after {
				t.Errorf("\nWhat is live should be left as it is.\ncache(...): -before, +after:\n%s", cmp.Diff(before, after))
			}
		})
	}
}

func live(p *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	if p == nil {
		return &corev1.PersistentVolumeClaim{}
	}
	return p
}

func TestRenderStartup(t *testing.T) {
	cases := map[string]struct {
		reason  string
		weights int64
		want    int32
	}{
		"Small":   {"A small model should get half an hour.", 15, 1800},
		"Large":   {"A larger one should get 18 seconds for each GiB.", 130, 900 + 18*130},
		"Huge":    {"The largest should get three hours.", 756, 10800},
		"Unknown": {"One of unknown size should get what 200 GiB would.", 0, 900 + 18*200},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, "")
			e.Recipe.Snapshot.WeightsGiB = tc.weights
			d := e.deployment(nil)
			p := d.Spec.Template.Spec.Containers[0].StartupProbe
			if got := p.PeriodSeconds * p.FailureThreshold; got != tc.want {
				t.Errorf("\n%s\nRender(...): startup probe: want %d s, got %d s", tc.reason, tc.want, got)
			}
			if *d.Spec.ProgressDeadlineSeconds < tc.want {
				t.Errorf("\nA Deployment should not be called stuck while its server may still start.\nRender(...): progress deadline: want at least %d s, got %d s", tc.want, *d.Spec.ProgressDeadlineSeconds)
			}
		})
	}
}

func TestRenderSharedMemory(t *testing.T) {
	for gpus, want := range map[int32]string{1: "1Gi", 2: "8Gi", 4: "8Gi", 5: "16Gi", 8: "16Gi"} {
		for _, v := range podOf(t, chat(t, "", onGPUs(gpus)), Live{}).Spec.Volumes {
			if v.Name != "shm" {
				continue
			}
			if diff := cmp.Diff(want, v.EmptyDir.SizeLimit.String()); diff != "" {
				t.Errorf("\nMore workers should share more memory.\nRender(...): %d GPUs: -want, +got:\n%s", gpus, diff)
			}
		}
	}
}

// TestRenderNoRestart has changes that are no reason to load a model again.
func TestRenderNoRestart(t *testing.T) {
	before := chat(t, `cache: {enabled: true}`)
	for name, after := range map[string]Endpoint{
		"Version":     chat(t, `{model: {id: Qwen/Qwen3-32B, version: v2}, cache: {enabled: true}}`),
		"Service":     chat(t, `{service: {type: LoadBalancer, port: 80, annotations: {a: b}}, cache: {enabled: true}}`),
		"Scaling":     chat(t, `{scaling: {minReplicas: 2, maxReplicas: 3}, cache: {enabled: true}}`),
		"CacheSize":   chat(t, `cache: {enabled: true, size: 1Ti}`),
		"Reason":      chat(t, `cache: {enabled: true}`, func(e *Endpoint) { e.Recipe.Reason = "another" }),
		"Constraints": chat(t, `{recipe: {gpuCount: 1}, cache: {enabled: true}}`, func(e *Endpoint) { e.Recipe.Snapshot.Selection = "other" }),
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(podOf(t, before, Live{}), podOf(t, after, Live{})); diff != "" {
				t.Errorf("\nWhat does not change the server should not restart it.\nRender(...): -before, +after:\n%s", diff)
			}
		})
	}
}

func TestRenderHardware(t *testing.T) {
	for _, a := range gpu.All() {
		e := chat(t, "", func(e *Endpoint) { e.Accelerator = a })
		if diff := cmp.Diff(a.NodeAffinity(), podOf(t, e, Live{}).Spec.Affinity.NodeAffinity); diff != "" {
			t.Errorf("\nA pod should run on nodes with its hardware only.\nRender(...): %s: -want, +got:\n%s", a.Name, diff)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	for name, tc := range renderCases(b) {
		if name != "minimal" && name != "everything" {
			continue
		}
		b.Run(name, func(b *testing.B) {
			e := tc.endpoint(b)
			b.ReportAllocs()
			for b.Loop() {
				rendered(b, e, tc.live)
			}
		})
	}
}
