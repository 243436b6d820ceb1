package object

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"
)

func configMap() *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: "n", Namespace: "ns"},
		Data:       map[string]string{"k": "v"},
	}
}

func deployment() *appsv1.Deployment {
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: "n", Namespace: "ns"},
		Spec:       appsv1.DeploymentSpec{Replicas: ptr.To[int32](3)},
	}
}

func pvc() *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{Name: "n", Namespace: "ns"},
		Spec: corev1.PersistentVolumeClaimSpec{Resources: corev1.VolumeResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
		}},
	}
}

func mustStruct(t *testing.T, m map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStruct(t *testing.T) {
	meta := map[string]any{"name": "n", "namespace": "ns"}
	annotations := map[string]any{"crossplane.io/external-name": "n"}
	cases := map[string]struct {
		reason string
		object Object
		want   map[string]any
	}{
		"Own": {
			reason: "An object of ours should be ready once it is applied, and the provider may do all to it.",
			object: Object{Generation: GenerationCluster, ProviderConfig: "default", Manifest: configMap()},
			want: map[string]any{
				"apiVersion": "kubernetes.crossplane.io/v1alpha2",
				"kind":       "Object",
				"metadata":   map[string]any{"annotations": annotations},
				"spec": map[string]any{
					"providerConfigRef": map[string]any{"name": "default"},
					"readiness":         map[string]any{"policy": "SuccessfulCreate"},
					"forProvider": map[string]any{"manifest": map[string]any{
						"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": map[string]any{"k": "v"},
					}},
				},
			},
		},
		"Namespaced": {
			reason: "The reference of a namespaced Object should say of which kind the configuration is.",
			object: Object{Generation: GenerationNamespaced, ProviderConfig: "other", Manifest: configMap()},
			want: map[string]any{
				"apiVersion": "kubernetes.m.crossplane.io/v1alpha1",
				"kind":       "Object",
				"metadata":   map[string]any{"annotations": annotations},
				"spec": map[string]any{
					"providerConfigRef": map[string]any{"kind": "ClusterProviderConfig", "name": "other"},
					"readiness":         map[string]any{"policy": "SuccessfulCreate"},
					"forProvider": map[string]any{"manifest": map[string]any{
						"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": map[string]any{"k": "v"},
					}},
				},
			},
		},
		"Watched": {
			reason: "A Deployment should be watched, and be ready when it is available.",
			object: Object{Generation: GenerationCluster, ProviderConfig: "default", Manifest: deployment()},
			want: map[string]any{
				"apiVersion": "kubernetes.crossplane.io/v1alpha2",
				"kind":       "Object",
				"metadata":   map[string]any{"annotations": annotations},
				"spec": map[string]any{
					"providerConfigRef": map[string]any{"name": "default"},
					"readiness":         map[string]any{"policy": "DeriveFromCelQuery", "celQuery": celDeployment},
					"watch":             true,
					"forProvider": map[string]any{"manifest": map[string]any{
						"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": map[string]any{"replicas": 3.0},
					}},
				},
			},
		},
		"Retain": {
			reason: "An object that outlives its Object should never be deleted by it, and be found again by name.",
			object: Object{Generation: GenerationCluster, Name: "aim-cache-ns-n", ProviderConfig: "default", Policy: PolicyRetain, Manifest: pvc()},
			want: map[string]any{
				"apiVersion": "kubernetes.crossplane.io/v1alpha2",
				"kind":       "Object",
				"metadata":   map[string]any{"name": "aim-cache-ns-n", "annotations": annotations},
				"spec": map[string]any{
					"managementPolicies": []any{"Observe", "Create", "Update"},
					"providerConfigRef":  map[string]any{"name": "default"},
					"readiness":          map[string]any{"policy": "DeriveFromCelQuery", "celQuery": celPVC},
					"watch":              true,
					"forProvider": map[string]any{"manifest": map[string]any{
						"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta,
						"spec": map[string]any{"resources": map[string]any{"requests": map[string]any{"storage": "10Gi"}}},
					}},
				},
			},
		},
		"Partial": {
			reason: "Some fields of another's object should be updated only, neither created nor deleted, and be ready once applied.",
			object: Object{Generation: GenerationCluster, ProviderConfig: "default", Policy: PolicyPartial, Manifest: deployment()},
			want: map[string]any{
				"apiVersion": "kubernetes.crossplane.io/v1alpha2",
				"kind":       "Object",
				"metadata":   map[string]any{"annotations": annotations},
				"spec": map[string]any{
					"managementPolicies": []any{"Observe", "Update"},
					"providerConfigRef":  map[string]any{"name": "default"},
					"readiness":          map[string]any{"policy": "SuccessfulCreate"},
					"forProvider": map[string]any{"manifest": map[string]any{
						"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": map[string]any{"replicas": 3.0},
					}},
				},
			},
		},
		"Observe": {
			reason: "What is only looked at should neither be watched nor be waited for.",
			object: Object{Generation: GenerationCluster, ProviderConfig: "default", Policy: PolicyObserve, Manifest: deployment()},
			want: map[string]any{
				"apiVersion": "kubernetes.crossplane.io/v1alpha2",
				"kind":       "Object",
				"metadata":   map[string]any{"annotations": annotations},
				"spec": map[string]any{
					"managementPolicies": []any{"Observe"},
					"providerConfigRef":  map[string]any{"name": "default"},
					"readiness":          map[string]any{"policy": "SuccessfulCreate"},
					"forProvider": map[string]any{"manifest": map[string]any{
						"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": map[string]any{"replicas": 3.0},
					}},
				},
			},
		},
		"Connection": {
			reason: "A key of a Secret should be published by reference, and its value be nowhere.",
			object: Object{
				Generation: GenerationCluster, ProviderConfig: "default", Policy: PolicyObserve, Manifest: configMap(),
				Connection: &Connection{Namespace: "ns", Secret: "keys", Key: "a.b", As: "apiKey", ToNamespace: "crossplane-system", ToSecret: "out"},
			},
			want: map[string]any{
				"apiVersion": "kubernetes.crossplane.io/v1alpha2",
				"kind":       "Object",
				"metadata":   map[string]any{"annotations": annotations},
				"spec": map[string]any{
					"managementPolicies": []any{"Observe"},
					"providerConfigRef":  map[string]any{"name": "default"},
					"readiness":          map[string]any{"policy": "SuccessfulCreate"},
					"connectionDetails": []any{map[string]any{
						"apiVersion": "v1", "kind": "Secret", "namespace": "ns", "name": "keys", "fieldPath": "data[a.b]", "toConnectionSecretKey": "apiKey",
					}},
					"writeConnectionSecretToRef": map[string]any{"namespace": "crossplane-system", "name": "out"},
					"forProvider": map[string]any{"manifest": map[string]any{
						"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": map[string]any{"k": "v"},
					}},
				},
			},
		},
		"WatchedOnDemand": {
			reason: "What others write to a target should reach the Object at once where that is asked for.",
			object: Object{Generation: GenerationCluster, ProviderConfig: "default", Watch: true, Annotations: map[string]string{"aim.engine.amd.com/uses-model": "a/b"}, Manifest: configMap()},
			want: map[string]any{
				"apiVersion": "kubernetes.crossplane.io/v1alpha2",
				"kind":       "Object",
				"metadata":   map[string]any{"annotations": map[string]any{"crossplane.io/external-name": "n", "aim.engine.amd.com/uses-model": "a/b"}},
				"spec": map[string]any{
					"providerConfigRef": map[string]any{"name": "default"},
					"readiness":         map[string]any{"policy": "SuccessfulCreate"},
					"watch":             true,
					"forProvider": map[string]any{"manifest": map[string]any{
						"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": map[string]any{"k": "v"},
					}},
				},
			},
		},
		"PollInterval": {
			reason: "What nobody tells of should be looked at more often.",
			object: Object{Generation: GenerationCluster, ProviderConfig: "remote", PollInterval: "1m", Labels: map[string]string{"a": "b"}, Manifest: configMap()},
			want: map[string]any{
				"apiVersion": "kubernetes.crossplane.io/v1alpha2",
				"kind":       "Object",
				"metadata": map[string]any{
					"annotations": map[string]any{"crossplane.io/external-name": "n", "crossplane.io/poll-interval": "1m"},
					"labels":      map[string]any{"a": "b"},
				},
				"spec": map[string]any{
					"providerConfigRef": map[string]any{"name": "remote"},
					"readiness":         map[string]any{"policy": "SuccessfulCreate"},
					"forProvider": map[string]any{"manifest": map[string]any{
						"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": map[string]any{"k": "v"},
					}},
				},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := tc.object.Struct()
			if err != nil {
				t.Fatalf("\n%s\nStruct(): %v", tc.reason, err)
			}
			if diff := cmp.Diff(mustStruct(t, tc.want), got, protocmp.Transform()); diff != "" {
				t.Errorf("\n%s\nStruct(): -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.want["spec"].(map[string]any)["forProvider"].(map[string]any)["manifest"], any(ManifestOf(got).AsMap())); diff != "" {
				t.Errorf("\nThe manifest should be found in its Object.\nManifestOf(...): -want, +got:\n%s", diff)
			}
		})
	}
}

func TestReadinessByKind(t *testing.T) {
	kinds := func(apiVersion, kind string) runtime.Object {
		return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}, ObjectMeta: metav1.ObjectMeta{Name: "n"}}
	}
	type want struct {
		CEL   string
		Watch bool
	}
	cases := map[string]struct {
		reason     string
		apiVersion string
		kind       string
		want       want
	}{
		"Deployment":    {"A Deployment's status changes while it starts, and should be seen at once.", "apps/v1", "Deployment", want{celDeployment, true}},
		"PVC":           {"A claim's status changes once.", "v1", "PersistentVolumeClaim", want{celPVC, true}},
		"Service":       {"A Service's status changes once, if ever.", "v1", "Service", want{celService, false}},
		"HPA":           {"An autoscaler's status changes all the time.", "autoscaling/v2", "HorizontalPodAutoscaler", want{celHPA, false}},
		"Ingress":       {"An Ingress is taken once, if ever.", "networking.k8s.io/v1", "Ingress", want{celIngress, false}},
		"HTTPRoute":     {"A route is taken once, if ever.", "gateway.networking.k8s.io/v1", "HTTPRoute", want{celRoute, false}},
		"ScaledObject":  {"KEDA's status changes all the time.", "keda.sh/v1alpha1", "ScaledObject", want{celReady, false}},
		"NetworkPolicy": {"A NetworkPolicy has no status.", "networking.k8s.io/v1", "NetworkPolicy", want{}},
		"ConfigMap":     {"A ConfigMap has no status.", "v1", "ConfigMap", want{}},
		"OtherGroup":    {"A kind of the same name in another group is another kind.", "example.org/v1", "Deployment", want{}},
		"OtherService":  {"A kind of the same name in another group is another kind.", "serving.knative.dev/v1", "Service", want{}},
		"OldAutoscaler": {"Every version of an API has the same kind.", "autoscaling/v1", "HorizontalPodAutoscaler", want{celHPA, false}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := Object{Generation: GenerationCluster, ProviderConfig: "default", Manifest: kinds(tc.apiVersion, tc.kind)}.Struct()
			if err != nil {
				t.Fatalf("Struct(): %v", err)
			}
			spec := s.AsMap()["spec"].(map[string]any)
			got := want{}
			got.CEL, _ = spec["readiness"].(map[string]any)["celQuery"].(string)
			got.Watch, _ = spec["watch"].(bool)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nStruct(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestResourceName(t *testing.T) {
	if diff := cmp.Diff("cache-object", GenerationCluster.ResourceName("cache")); diff != "" {
		t.Errorf("\nA name should never change: Crossplane would make the object anew.\nResourceName(...): -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff("cache-object-m", GenerationNamespaced.ResourceName("cache")); diff != "" {
		t.Errorf("\nA name should carry its generation, or the old object would leak.\nResourceName(...): -want, +got:\n%s", diff)
	}
}

func TestManifest(t *testing.T) {
	cases := map[string]struct {
		reason string
		object runtime.Object
		want   map[string]any
	}{
		"EmptyDir": {
			reason: "An empty emptyDir means something, other empty maps and nulls do not.",
			object: &corev1.Pod{
				TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
				ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{}},
				Spec: corev1.PodSpec{
					SecurityContext: &corev1.PodSecurityContext{},
					Containers:      []corev1.Container{{Name: "c", Env: []corev1.EnvVar{{Name: "EMPTY"}}}},
					Volumes: []corev1.Volume{
						{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
						{Name: "m", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}},
					},
				},
				Status: corev1.PodStatus{Phase: corev1.PodRunning},
			},
			want: map[string]any{
				"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "n"},
				"spec": map[string]any{
					"containers": []any{map[string]any{"name": "c", "env": []any{map[string]any{"name": "EMPTY"}}}},
					"volumes": []any{
						map[string]any{"name": "v", "emptyDir": map[string]any{}},
						map[string]any{"name": "m", "emptyDir": map[string]any{"medium": "Memory"}},
					},
				},
			},
		},
		"NullsInsideOfLists": {
			reason: "Nulls should be gone wherever they are.",
			object: &autoscalingv2.HorizontalPodAutoscaler{
				TypeMeta:   metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"},
				ObjectMeta: metav1.ObjectMeta{Name: "n"},
				Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
					ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{Kind: "Deployment", Name: "n"},
					MaxReplicas:    3,
					Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
						Metric: autoscalingv2.MetricIdentifier{Name: "m"},
						Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: ptr.To(resource.MustParse("5"))},
					}}},
				},
			},
			want: map[string]any{
				"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": map[string]any{"name": "n"},
				"spec": map[string]any{
					"maxReplicas":    3.0,
					"scaleTargetRef": map[string]any{"kind": "Deployment", "name": "n"},
					"metrics": []any{map[string]any{"type": "Pods", "pods": map[string]any{
						"metric": map[string]any{"name": "m"}, "target": map[string]any{"type": "AverageValue", "averageValue": "5"},
					}}},
				},
			},
		},
		"Selectors": {
			reason: "An empty selector selects everything, and none selects nothing: it should be neither gone nor made.",
			object: &networkingv1.NetworkPolicy{
				TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
				ObjectMeta: metav1.ObjectMeta{Name: "n"},
				Spec: networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{
					{NamespaceSelector: &metav1.LabelSelector{}, PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}},
					{PodSelector: &metav1.LabelSelector{}},
				}}}},
			},
			want: map[string]any{
				"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": map[string]any{"name": "n"},
				"spec": map[string]any{
					"podSelector": map[string]any{},
					"ingress": []any{map[string]any{"from": []any{
						map[string]any{"namespaceSelector": map[string]any{}, "podSelector": map[string]any{"matchLabels": map[string]any{"a": "b"}}},
						map[string]any{"podSelector": map[string]any{}},
					}}},
				},
			},
		},
		"LabelSelector": {
			reason: "An empty selector of other pods selects all of them.",
			object: &corev1.Pod{
				TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
				ObjectMeta: metav1.ObjectMeta{Name: "n"},
				Spec: corev1.PodSpec{
					Containers: []corev1.Container{{Name: "c"}},
					Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}, PodAntiAffinity: &corev1.PodAntiAffinity{
						RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: "zone", LabelSelector: &metav1.LabelSelector{}}},
					}},
				},
			},
			want: map[string]any{
				"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "n"},
				"spec": map[string]any{
					"containers": []any{map[string]any{"name": "c"}},
					"affinity": map[string]any{"podAntiAffinity": map[string]any{"requiredDuringSchedulingIgnoredDuringExecution": []any{
						map[string]any{"topologyKey": "zone", "labelSelector": map[string]any{}},
					}}},
				},
			},
		},
		"Unstructured": {
			reason: "A kind without a type should be like one with.",
			object: &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": map[string]any{"name": "n", "labels": map[string]any{}},
				"spec": map[string]any{"maxReplicaCount": int64(3)}, "status": map[string]any{"a": "b"},
			}},
			want: map[string]any{
				"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": map[string]any{"name": "n"},
				"spec": map[string]any{"maxReplicaCount": 3.0},
			},
		},
		"NothingLeft": {
			reason: "A map that is empty once it is pruned should be gone too: empty data makes an Object that can never be deleted.",
			object: &corev1.ConfigMap{
				TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
				ObjectMeta: metav1.ObjectMeta{Name: "n"},
				Data:       map[string]string{},
			},
			want: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "n"}},
		},
		"EmptyStrings": {
			reason: "An empty string is a value.",
			object: &corev1.ConfigMap{
				TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
				ObjectMeta: metav1.ObjectMeta{Name: "n"},
				Data:       map[string]string{"k": ""},
			},
			want: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "n"}, "data": map[string]any{"k": ""}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Manifest(tc.object)
			if err != nil {
				t.Fatalf("\n%s\nManifest(...): %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nManifest(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestStableName(t *testing.T) {
	cases := map[string]struct {
		reason string
		prefix string
		parts  []string
		want   string
	}{
		"Short": {
			reason: "A name should be readable, and carry a hash.",
			prefix: "aim-cache", parts: []string{"default", "chat"},
			want: "aim-cache-default-chat-997b1f1dc09b5aef",
		},
		"Long": {
			reason: "A long name should be cut.",
			prefix: "aim-cache", parts: []string{strings.Repeat("n", 63), strings.Repeat("e", 63)},
			want: "aim-cache-" + strings.Repeat("n", 63) + "-" + strings.Repeat("e", 9) + "-3651cae994b82559",
		},
		"CutAtDot": {
			reason: "A cut should leave neither dash nor dot before the hash.",
			prefix: "aim-cache", parts: []string{strings.Repeat("n", 63), strings.Repeat("e", 7) + ".-" + strings.Repeat("e", 15)},
			want: "aim-cache-" + strings.Repeat("n", 63) + "-" + strings.Repeat("e", 7) + "-27cba4ed0ef07843",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, StableName(tc.prefix, tc.parts...)); diff != "" {
				t.Errorf("\n%s\nStableName(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}

	t.Run("Distinct", func(t *testing.T) {
		names := map[string][]string{}
		for _, parts := range [][]string{
			{"a-b", "c"},
			{"a", "b-c"},
			{"a-b-c"},
			{"a", "b", "c"},
			{"a-b", "c-"},
			{"a", "b.c"},
			{"a.b", "c"},
			{strings.Repeat("n", 63), strings.Repeat("e", 63)},
			{strings.Repeat("n", 63), strings.Repeat("e", 62) + "f"},
			{strings.Repeat("n", 63), strings.Repeat("e", 61)},
		} {
			n := StableName("aim-cache", parts...)
			if was, ok := names[n]; ok {
				t.Errorf("\nDifferent namespaces and names should never have the same name.\nStableName(...): %s for %v and %v", n, was, parts)
			}
			names[n] = parts
		}
	})
}

func FuzzStableName(f *testing.F) {
	f.Add("a-b", "c", "a", "b-c")
	f.Add("a", "b", "a", "b")
	f.Add(strings.Repeat("n", 63), strings.Repeat("e", 253), "a", "b")
	f.Fuzz(func(t *testing.T, ns1, n1, ns2, n2 string) {
		for _, p := range [][2]string{{ns1, n1}, {ns2, n2}} {
			if len(validation.IsDNS1123Label(p[0])) > 0 || len(validation.IsDNS1123Subdomain(p[1])) > 0 {
				t.Skip("the API server knows no such names")
			}
			name := StableName("aim-cache", p[0], p[1])
			if errs := validation.IsDNS1123Subdomain(name); len(errs) > 0 || len(name) > 100 {
				t.Errorf("\nA stable name should be an Object's name of at most 100 characters.\nStableName(%q): got %q: %v", p, name, errs)
			}
			if again := StableName("aim-cache", p[0], p[1]); again != name {
				t.Errorf("\nA stable name should be stable.\nStableName(%q): got %q, then %q", p, name, again)
			}
		}
		if (ns1 != ns2 || n1 != n2) && StableName("aim-cache", ns1, n1) == StableName("aim-cache", ns2, n2) {
			t.Errorf("\nDifferent namespaces and names should never have the same name.\nStableName(...): the same for %s/%s and %s/%s", ns1, n1, ns2, n2)
		}
	})
}

func TestKeep(t *testing.T) {
	spec := map[string]any{"forProvider": map[string]any{"manifest": map[string]any{"kind": "ConfigMap"}}}
	cases := map[string]struct {
		reason   string
		metadata map[string]any
		want     map[string]any
	}{
		"Named": {
			reason: "What is kept should want what it wants now, and nothing that the API server or the provider writes.",
			metadata: map[string]any{
				"name": "n", "uid": "u", "resourceVersion": "7", "managedFields": []any{map[string]any{"manager": "m"}},
				"annotations": map[string]any{"crossplane.io/external-name": "target", "crossplane.io/external-create-pending": "now"},
			},
			want: map[string]any{
				"apiVersion": "kubernetes.crossplane.io/v1alpha2", "kind": "Object", "spec": spec,
				"metadata": map[string]any{"annotations": map[string]any{"crossplane.io/external-name": "target"}},
			},
		},
		"Labelled": {
			reason: "Our labels and how often the provider looks should stay: recipes count by the one, and nobody tells of a cluster that is out of reach.",
			metadata: map[string]any{
				"name": "n", "labels": map[string]any{"crossplane.io/composite": "chat", "aim.engine.amd.com/uses-recipe": "r"},
				"annotations": map[string]any{"crossplane.io/external-name": "target", "crossplane.io/poll-interval": "1m"},
			},
			want: map[string]any{
				"apiVersion": "kubernetes.crossplane.io/v1alpha2", "kind": "Object", "spec": spec,
				"metadata": map[string]any{
					"labels":      map[string]any{"aim.engine.amd.com/uses-recipe": "r"},
					"annotations": map[string]any{"crossplane.io/external-name": "target", "crossplane.io/poll-interval": "1m"},
				},
			},
		},
		"Annotated": {
			reason:   "So should our annotations: caches keep the model that they name.",
			metadata: map[string]any{"annotations": map[string]any{"aim.engine.amd.com/uses-model": "a/b", "other": "a"}},
			want: map[string]any{
				"apiVersion": "kubernetes.crossplane.io/v1alpha2", "kind": "Object", "spec": spec,
				"metadata": map[string]any{"annotations": map[string]any{"aim.engine.amd.com/uses-model": "a/b"}},
			},
		},
		"NoExternalName": {
			reason:   "An annotation that is not there should not be made.",
			metadata: map[string]any{"name": "n", "annotations": map[string]any{"other": "a"}},
			want:     map[string]any{"apiVersion": "kubernetes.crossplane.io/v1alpha2", "kind": "Object", "spec": spec},
		},
		"NoMetadata": {
			reason: "An Object without metadata should be kept as it is.",
			want:   map[string]any{"apiVersion": "kubernetes.crossplane.io/v1alpha2", "kind": "Object", "spec": spec},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			observed := mustStruct(t, map[string]any{
				"apiVersion": "kubernetes.crossplane.io/v1alpha2", "kind": "Object", "spec": spec,
				"metadata": tc.metadata, "status": map[string]any{"conditions": []any{}},
			})
			if diff := cmp.Diff(mustStruct(t, tc.want), Keep(observed), protocmp.Transform()); diff != "" {
				t.Errorf("\n%s\nKeep(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestObserving(t *testing.T) {
	retained := func() map[string]any {
		return map[string]any{
			"apiVersion": "kubernetes.crossplane.io/v1alpha2", "kind": "Object",
			"metadata": map[string]any{"name": "aim-cache-ns-n"},
			"spec": map[string]any{
				"managementPolicies": []any{"Observe", "Create", "Update"},
				"forProvider":        map[string]any{"manifest": map[string]any{"kind": "PersistentVolumeClaim"}},
			},
		}
	}
	observing := retained()
	observing["spec"].(map[string]any)["managementPolicies"] = []any{"Observe"}
	owned := retained()
	delete(owned["spec"].(map[string]any), "managementPolicies")
	cases := map[string]struct {
		reason string
		object map[string]any
		want   map[string]any
	}{
		"Own":      {"An Object that may do all should only look.", owned, observing},
		"Retain":   {"An Object that may do much should only look, and keep its name.", retained(), observing},
		"Observe":  {"An Object that only looks should stay as it is.", observing, observing},
		"Specless": {"An Object without a spec can do nothing.", map[string]any{"kind": "Object"}, map[string]any{"kind": "Object"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := mustStruct(t, tc.object)
			if diff := cmp.Diff(mustStruct(t, tc.want), Observing(o), protocmp.Transform()); diff != "" {
				t.Errorf("\n%s\nObserving(...): -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(mustStruct(t, tc.object), o, protocmp.Transform()); diff != "" {
				t.Errorf("\nThe Object itself should be left as it is.\nObserving(...): -before, +after:\n%s", diff)
			}
		})
	}
}
