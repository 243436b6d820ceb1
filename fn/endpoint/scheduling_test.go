package endpoint

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/utils/ptr"
)

func TestAffinity(t *testing.T) {
	hardware := chat(t, "").Accelerator.NodeAffinity().RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	zone := func(v string) corev1.NodeSelectorRequirement {
		return corev1.NodeSelectorRequirement{Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: []string{v}}
	}
	name := corev1.NodeSelectorRequirement{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"n"}}
	// crossed with each term of the hardware.
	crossed := func(terms ...corev1.NodeSelectorTerm) *corev1.NodeSelector {
		out := &corev1.NodeSelector{}
		for _, u := range terms {
			for _, h := range hardware {
				out.NodeSelectorTerms = append(out.NodeSelectorTerms, corev1.NodeSelectorTerm{
					MatchExpressions: append(slices.Clone(u.MatchExpressions), h.MatchExpressions...), MatchFields: u.MatchFields,
				})
			}
		}
		return out
	}
	only := &corev1.NodeSelector{NodeSelectorTerms: hardware}
	spread := &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: "kubernetes.io/hostname"}}}
	preferred := []corev1.PreferredSchedulingTerm{{Weight: 1, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{zone("a")}}}}

	cases := map[string]struct {
		reason string
		own    *corev1.Affinity
		want   *corev1.Affinity
	}{
		"None": {
			reason: "Without the user's it should be the hardware.",
			want:   &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: only}},
		},
		"Pods": {
			reason: "What is said of other pods should be there beside the hardware.",
			own:    &corev1.Affinity{PodAntiAffinity: spread},
			want:   &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: only}, PodAntiAffinity: spread},
		},
		"Preferred": {
			reason: "What nodes are preferred is asked for among those with the hardware.",
			own:    &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: preferred}},
			want: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: only, PreferredDuringSchedulingIgnoredDuringExecution: preferred,
			}},
		},
		"Required": {
			reason: "A node should have what the user wants and the hardware: any one of the terms is enough for the scheduler.",
			own: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{
					{MatchExpressions: []corev1.NodeSelectorRequirement{zone("a")}},
					{MatchExpressions: []corev1.NodeSelectorRequirement{zone("b")}, MatchFields: []corev1.NodeSelectorRequirement{name}},
				},
			}}},
			want: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: crossed(
				corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{zone("a")}},
				corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{zone("b")}, MatchFields: []corev1.NodeSelectorRequirement{name}},
			)}},
		},
	}
	for n, tc := range cases {
		t.Run(n, func(t *testing.T) {
			e := chat(t, "")
			e.Spec.Deployment.Affinity = tc.own.DeepCopy()
			if diff := cmp.Diff(tc.want, podOf(t, e, Live{}).Spec.Affinity); diff != "" {
				t.Errorf("\n%s\nRender(...): -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.own, e.Spec.Deployment.Affinity); diff != "" {
				t.Errorf("\nThe spec should be left as it is.\nRender(...): -before, +after:\n%s", diff)
			}
		})
	}
}

// TestAffinityOnNodes asks the scheduler's own code about nodes.
func TestAffinityOnNodes(t *testing.T) {
	e := chat(t, `
deployment:
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
        - matchExpressions: [{key: zone, operator: In, values: [a]}]
        - matchExpressions: [{key: pool, operator: Exists}]
`)
	s, err := nodeaffinity.NewNodeSelector(podOf(t, e, Live{}).Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
	if err != nil {
		t.Fatal(err)
	}
	gpu := "amd.com/gpu.device-id"
	for name, tc := range map[string]struct {
		labels map[string]string
		want   bool
	}{
		"Both":          {map[string]string{"zone": "a", gpu: "74a1"}, true},
		"OtherTerm":     {map[string]string{"pool": "p", gpu: "74a1"}, true},
		"Mixed":         {map[string]string{"pool": "p", gpu + ".74a1": "8"}, true},
		"NoHardware":    {map[string]string{"zone": "a", "pool": "p"}, false},
		"OtherHardware": {map[string]string{"zone": "a", gpu: "75a0"}, false},
		"OtherZone":     {map[string]string{"zone": "b", gpu: "74a1"}, false},
	} {
		if got := s.Match(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: tc.labels}}); got != tc.want {
			t.Errorf("\nA pod should run where the user wants, and on its hardware.\nRender(...): %s: %v: want %t, got %t", name, tc.labels, tc.want, got)
		}
	}
}

func TestTolerations(t *testing.T) {
	gpus := corev1.Toleration{Key: "amd.com/gpu", Operator: corev1.TolerationOpExists}
	team := corev1.Toleration{Key: "team", Operator: corev1.TolerationOpEqual, Value: "ai", Effect: corev1.TaintEffectNoSchedule}
	own := corev1.Toleration{Key: "mine", Operator: corev1.TolerationOpExists}
	cases := map[string]struct {
		reason   string
		spec     string
		platform []corev1.Toleration
		want     []corev1.Toleration
	}{
		"None":     {"GPU nodes should be tolerated.", "", nil, []corev1.Toleration{gpus}},
		"Platform": {"The platform's should be there beside.", "", []corev1.Toleration{team}, []corev1.Toleration{gpus, team}},
		"Own":      {"The user's should be there beside.", `deployment: {tolerations: [{key: mine, operator: Exists}]}`, nil, []corev1.Toleration{gpus, own}},
		"All":      {"All should be there.", `deployment: {tolerations: [{key: mine, operator: Exists}]}`, []corev1.Toleration{team}, []corev1.Toleration{gpus, team, own}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, tc.spec, func(e *Endpoint) { e.Platform.Tolerations = tc.platform })
			if diff := cmp.Diff(tc.want, podOf(t, e, Live{}).Spec.Tolerations); diff != "" {
				t.Errorf("\n%s\nRender(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestNodeSelector(t *testing.T) {
	got := podOf(t, chat(t, `deployment: {nodeSelector: {topology.kubernetes.io/zone: a, empty: ""}}`), Live{}).Spec.NodeSelector
	if diff := cmp.Diff(map[string]string{"topology.kubernetes.io/zone": "a", "empty": ""}, got); diff != "" {
		t.Errorf("\nThe user's nodes should be selected, those with an empty label, too.\nRender(...): -want, +got:\n%s", diff)
	}
}

// TestSpread makes sure that replicas are spread, and that a second one does not
// restart the first.
func TestSpread(t *testing.T) {
	want := []corev1.TopologySpreadConstraint{{
		TopologyKey: "kubernetes.io/hostname", MaxSkew: 1, WhenUnsatisfiable: corev1.ScheduleAnyway,
		LabelSelector:  &metav1.LabelSelector{MatchLabels: map[string]string{LabelComposite: "chat-x7f2q"}},
		MatchLabelKeys: []string{"pod-template-hash"},
	}}
	for _, spec := range []string{"", `scaling: {minReplicas: 2}`, `scaling: {minReplicas: 1, maxReplicas: 9}`} {
		if diff := cmp.Diff(want, podOf(t, chat(t, spec), Live{}).Spec.TopologySpreadConstraints); diff != "" {
			t.Errorf("\nReplicas should be spread over nodes, and their number should not change a pod.\nRender(...): %q: -want, +got:\n%s", spec, diff)
		}
	}
	e := chat(t, `deployment: {canary: {enabled: true}}`, withCanary(t))
	if got := e.Canary.deployment(nil).Spec.Template.Spec.TopologySpreadConstraints; got != nil {
		t.Errorf("\nA canary should run wherever it can.\nRender(...): got %v", got)
	}
}

func TestDisruptionBudget(t *testing.T) {
	budget := func(available, unavailable *intstr.IntOrString) *policyv1.PodDisruptionBudgetSpec {
		return &policyv1.PodDisruptionBudgetSpec{
			MinAvailable: available, MaxUnavailable: unavailable,
			Selector:                   &metav1.LabelSelector{MatchLabels: map[string]string{LabelComposite: "chat-x7f2q"}},
			UnhealthyPodEvictionPolicy: ptr.To(policyv1.AlwaysAllow),
		}
	}
	one, half, none := intstr.FromInt32(1), intstr.FromString("50%"), intstr.FromInt32(0)
	cases := map[string]struct {
		reason string
		spec   string
		want   *policyv1.PodDisruptionBudgetSpec
	}{
		"One":         {"A budget for one replica would keep its node from being drained.", "", nil},
		"Several":     {"Of several one at a time should go.", `scaling: {minReplicas: 2}`, budget(nil, &one)},
		"Autoscaled":  {"Of what may become several one at a time should go.", `scaling: {minReplicas: 1, maxReplicas: 2}`, budget(nil, &one)},
		"Available":   {"The user's should be used as it is.", `{scaling: {minReplicas: 2}, deployment: {disruptionBudget: {minAvailable: 50%}}}`, budget(&half, nil)},
		"Unavailable": {"The user's should be used as it is, for one replica, too.", `deployment: {disruptionBudget: {maxUnavailable: 0}}`, budget(nil, &none)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got *policyv1.PodDisruptionBudgetSpec
			if pdb := chat(t, tc.spec).disruptionBudget(); pdb != nil {
				got = &pdb.Spec
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\ndisruptionBudget(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
