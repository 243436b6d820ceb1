package endpoint

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

func TestRenderStrategy(t *testing.T) {
	rolling := func(surge, unavailable string) appsv1.DeploymentStrategy {
		return appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{
			MaxSurge: ptr.To(intstr.Parse(surge)), MaxUnavailable: ptr.To(intstr.Parse(unavailable)),
		}}
	}
	recreate := appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	cases := map[string]struct {
		reason  string
		spec    string
		changes []func(e *Endpoint)
		want    appsv1.DeploymentStrategy
	}{
		"One":        {"A single replica should free its GPUs first.", "", nil, recreate},
		"Many":       {"Several should be replaced one by one, without spare GPUs.", `scaling: {minReplicas: 2}`, nil, rolling("0", "1")},
		"Autoscaled": {"What may become several should be replaced one by one.", `scaling: {minReplicas: 1, maxReplicas: 2}`, nil, rolling("0", "1")},
		"ToZero":     {"What is one replica or none is no more than one.", `scaling: {minReplicas: 0, maxReplicas: 1}`, []func(e *Endpoint){withKEDA("up")}, recreate},
		"Empty":      {"A strategy without a type is none.", `{deployment: {strategy: {}}, scaling: {minReplicas: 2}}`, nil, rolling("0", "1")},
		"Recreate":   {"The user's strategy should be used as it is.", `{deployment: {strategy: {type: Recreate}}, scaling: {minReplicas: 2}}`, nil, recreate},
		"AsGiven": {
			"The user's strategy should be used as it is.",
			`deployment: {strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 50%, maxUnavailable: 2}}}`, nil, rolling("50%", "2"),
		},
		"NoNumbers":       {"What is left out should need no spare GPUs: Kubernetes' own default does.", `deployment: {strategy: {type: RollingUpdate}}`, nil, rolling("0", "1")},
		"SurgeOnly":       {"What is left out should not be Kubernetes' own default.", `deployment: {strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1}}}`, nil, rolling("1", "1")},
		"UnavailableOnly": {"What is left out should need no spare GPUs.", `deployment: {strategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 50%}}}`, nil, rolling("0", "50%")},
		"NoneUnavailable": {
			"Who wants none to be missing wants spare GPUs: with neither nothing could ever change.",
			`deployment: {strategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 0}}}`, nil, rolling("1", "0"),
		},
		"NoShareUnavailable": {"No share is none.", `deployment: {strategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 0%}}}`, nil, rolling("1", "0%")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, chat(t, tc.spec, tc.changes...).deployment(nil).Spec.Strategy); diff != "" {
				t.Errorf("\n%s\nRender(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestRenderEnv is about who wins where several set the same variable.
func TestRenderEnv(t *testing.T) {
	platform := func(more ...corev1.EnvVar) []corev1.EnvVar {
		return append([]corev1.EnvVar{
			{Name: "HF_HOME", Value: "/workspace/model-cache"},
			{Name: "TRITON_CACHE_DIR", Value: "/workspace/model-cache/triton"},
			{Name: "XDG_CACHE_HOME", Value: "/workspace/model-cache/cache"},
		}, more...)
	}
	secret := func(name, secret, key string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: key}}}
	}
	usage, aiter := corev1.EnvVar{Name: "VLLM_NO_USAGE_STATS", Value: "1"}, corev1.EnvVar{Name: "VLLM_ROCM_USE_AITER", Value: "1"}
	cases := map[string]struct {
		reason  string
		spec    string
		changes []func(e *Endpoint)
		want    []corev1.EnvVar
	}{
		"Recipe": {
			reason: "The recipe's should be there, and the platform's.",
			want:   append([]corev1.EnvVar{usage, aiter}, platform()...),
		},
		"Users": {
			reason: "The user's should replace the recipe's, and be there beside it.",
			spec:   `deployment: {env: [{name: VLLM_ROCM_USE_AITER, value: "0"}, {name: MINE, value: a}]}`,
			want:   append([]corev1.EnvVar{usage, {Name: "VLLM_ROCM_USE_AITER", Value: "0"}, {Name: "MINE", Value: "a"}}, platform()...),
		},
		"NotThePlatforms": {
			reason: "The user's should not replace what the platform sets: models would be downloaded into the container.",
			spec:   `{deployment: {env: [{name: HF_HOME, value: /tmp}, {name: HF_TOKEN, value: open}, {name: VLLM_API_KEY, value: open}]}, hfTokenSecretRef: {name: hf, key: token}, security: {apiKeySecretRef: {name: keys, key: chat}}}`,
			want:   append([]corev1.EnvVar{usage, aiter}, platform(secret("HF_TOKEN", "hf", "token"), secret("VLLM_API_KEY", "keys", "chat"))...),
		},
		"OfASecret": {
			reason: "The user's may come from a Secret, and should stay a reference.",
			spec:   `deployment: {env: [{name: MINE, valueFrom: {secretKeyRef: {name: s, key: k}}}]}`,
			want:   append([]corev1.EnvVar{usage, aiter, secret("MINE", "s", "k")}, platform()...),
		},
		"Referring": {
			reason: "A variable may refer to those before it, so that the user's order should stay.",
			spec:   `deployment: {env: [{name: B, value: "1"}, {name: A, value: "$(B)"}]}`,
			want:   append([]corev1.EnvVar{usage, aiter, {Name: "B", Value: "1"}, {Name: "A", Value: "$(B)"}}, platform()...),
		},
		"APIKeyOfSGLang": {
			reason:  "Each engine has its key by another name.",
			spec:    `security: {apiKeySecretRef: {name: keys, key: chat}}`,
			changes: []func(e *Endpoint){onSGLang},
			want:    platform(secret("SGLANG_API_KEY", "keys", "chat")),
		},
		"PlatformsAPIKey": {
			reason: "A platform's key should hold for who has none.",
			changes: []func(e *Endpoint){func(e *Endpoint) {
				e.Platform.Security = &v1alpha1.Security{APIKeySecretRef: &v1alpha1.SecretKeyRef{Name: "all", Key: "k"}}
			}},
			want: append([]corev1.EnvVar{usage, aiter}, platform(secret("VLLM_API_KEY", "all", "k"))...),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, tc.spec, tc.changes...)
			before := e.Recipe.Snapshot.DeepCopy()
			if diff := cmp.Diff(tc.want, podOf(t, e, Live{}).Spec.Containers[0].Env); diff != "" {
				t.Errorf("\n%s\nRender(...): -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(before, e.Recipe.Snapshot); diff != "" {
				t.Errorf("\nThe snapshot should be left as it is: it goes into the status.\nRender(...): -before, +after:\n%s", diff)
			}
		})
	}
}

// TestRenderArgs is about the engine's arguments, and what is told of them.
func TestRenderArgs(t *testing.T) {
	type want struct {
		Args     []string
		Findings string
	}
	vllm := []string{testModel, "--served-model-name", testModel, "--tensor-parallel-size", "1", "--max-model-len", "40960"}
	sglang := []string{"--model-path", testModel, "--served-model-name", testModel, "--tp-size", "1", "--enable-metrics"}
	cases := map[string]struct {
		reason  string
		spec    string
		changes []func(e *Endpoint)
		want    want
	}{
		"None": {
			reason: "Without any there is nothing to tell.",
			want:   want{Args: slices.Concat(vllm, []string{"--host", "0.0.0.0", "--port", "8000"})},
		},
		"Right": {
			reason: "What is right should be there as it is, behind the recipe's, so that it wins.",
			spec:   `deployment: {extraArgs: [--max-model-len, "8192", --enforce-eager]}`,
			want:   want{Args: slices.Concat(vllm, []string{"--max-model-len", "8192", "--enforce-eager", "--host", "0.0.0.0", "--port", "8000"})},
		},
		"Repaired": {
			reason: "What is clearly meant should become what the engine takes, and be told.",
			spec:   `deployment: {extraArgs: [--enforce-eager, "true", --context-length, "8192"]}`,
			want: want{
				Args: slices.Concat(vllm, []string{"--enforce-eager", "--max-model-len", "8192", "--host", "0.0.0.0", "--port", "8000"}),
				Findings: "deployment.extraArgs: --enforce-eager true takes no value: written --enforce-eager\n" +
					"deployment.extraArgs: --context-length 8192 is a flag of SGLang: written --max-model-len 8192\n",
			},
		},
		"PlatformsOwn": {
			reason: "What the platform sets should not be set twice.",
			spec:   `deployment: {extraArgs: [--tensor-parallel-size, "1", --host, 0.0.0.0]}`,
			want:   want{Args: slices.Concat(vllm, []string{"--host", "0.0.0.0", "--port", "8000"})},
		},
		"APIKeyOfVLLM": {
			reason: "vLLM reads its key itself.",
			spec:   `security: {apiKeySecretRef: {name: keys, key: chat}}`,
			want:   want{Args: slices.Concat(vllm, []string{"--host", "0.0.0.0", "--port", "8000"})},
		},
		"APIKeyOfSGLang": {
			reason:  "SGLang takes its key as an argument, which Kubernetes fills in: the key itself should be nowhere.",
			spec:    `{security: {apiKeySecretRef: {name: keys, key: chat}}, deployment: {extraArgs: [--max-running-requests, "8"]}}`,
			changes: []func(e *Endpoint){onSGLang},
			want:    want{Args: slices.Concat(sglang, []string{"--max-running-requests", "8", "--host", "0.0.0.0", "--port", "30000", "--api-key", "$(SGLANG_API_KEY)"})},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, tc.spec, tc.changes...)
			got := want{Args: podOf(t, e, Live{}).Spec.Containers[0].Args, Findings: e.config().Data["findings"]}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nRender(...): -want, +got:\n%s", tc.reason, diff)
			}
			command := strings.Join(append(slices.Clone(e.Recipe.Snapshot.Command), tc.want.Args...), " ") + "\n"
			if diff := cmp.Diff(command, e.config().Data["command"]); diff != "" {
				t.Errorf("\nThe decision should tell the command that runs.\nRender(...): -want, +got:\n%s", diff)
			}
		})
	}
}

// TestRenderMetadata is about labels and annotations of the pods.
func TestRenderMetadata(t *testing.T) {
	own := map[string]string{
		LabelComposite: "chat-x7f2q", LabelEndpoint: "chat", "aim.engine.amd.com/model": "qwen3-32b",
		"app.kubernetes.io/instance": "chat", "app.kubernetes.io/managed-by": "function-aim", "app.kubernetes.io/name": "vllm",
	}
	with := func(more map[string]string) map[string]string {
		out := maps.Clone(own)
		maps.Copy(out, more)
		return out
	}
	type want struct {
		Labels, Annotations map[string]string
	}
	cases := map[string]struct {
		reason string
		spec   string
		want   want
	}{
		"None": {"Without any there are ours.", "", want{own, map[string]string{}}},
		"Some": {
			"The user's should be there beside ours.",
			`deployment: {podLabels: {team: a}, podAnnotations: {example.org/a: "b"}}`,
			want{with(map[string]string{"team": "a"}), map[string]string{"example.org/a": "b"}},
		},
		"NotOurs": {
			"By ours pods are found, so that the user's should not replace them, whatever got past the schema.",
			`deployment: {podLabels: {aim.engine.amd.com/composite: other, app.kubernetes.io/name: other}}`,
			want{own, map[string]string{}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := podOf(t, chat(t, tc.spec), Live{})
			if diff := cmp.Diff(tc.want, want{p.Labels, p.Annotations}); diff != "" {
				t.Errorf("\n%s\nRender(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestRenderServiceAccount is about whom the pods run as.
func TestRenderServiceAccount(t *testing.T) {
	type want struct {
		Pod, Made string
	}
	platform := func(sa v1alpha1.ServiceAccount) []func(e *Endpoint) {
		return []func(e *Endpoint){func(e *Endpoint) { e.Platform.Security = &v1alpha1.Security{ServiceAccount: &sa} }}
	}
	cases := map[string]struct {
		reason  string
		spec    string
		changes []func(e *Endpoint)
		want    want
	}{
		"None":      {"Without one it is the namespace's default.", "", nil, want{}},
		"Named":     {"One that exists should be used as it is.", `security: {serviceAccount: {name: llm}}`, nil, want{Pod: "llm"}},
		"NotMade":   {"One that exists should be used as it is.", `security: {serviceAccount: {create: false, name: llm}}`, nil, want{Pod: "llm"}},
		"Made":      {"One that is made should be called after the endpoint.", `security: {serviceAccount: {create: true}}`, nil, want{Pod: "chat", Made: "chat"}},
		"MadeNamed": {"One that is made should be called what the user calls it.", `security: {serviceAccount: {create: true, name: llm}}`, nil, want{Pod: "llm", Made: "llm"}},
		"Platforms": {"A platform's should hold for who has none.", "", platform(v1alpha1.ServiceAccount{Name: "all"}), want{Pod: "all"}},
		"NotPlatforms": {
			"The user's should go before the platform's.",
			`security: {serviceAccount: {create: true}}`, platform(v1alpha1.ServiceAccount{Name: "all"}),
			want{Pod: "chat", Made: "chat"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, tc.spec, tc.changes...)
			p := podOf(t, e, Live{})
			got := want{Pod: p.Spec.ServiceAccountName}
			for _, m := range rendered(t, e, Live{}) {
				if sa, ok := m.Object.(*corev1.ServiceAccount); ok {
					got.Made = sa.Name
					if ptr.Deref(sa.AutomountServiceAccountToken, true) {
						t.Errorf("\nNobody who uses the account should get its token unasked.\nRender(...): got %v", sa.AutomountServiceAccountToken)
					}
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nRender(...): -want, +got:\n%s", tc.reason, diff)
			}
			if ptr.Deref(p.Spec.AutomountServiceAccountToken, true) {
				t.Errorf("\nA server should never get a token.\nRender(...): got %v", p.Spec.AutomountServiceAccountToken)
			}
		})
	}
}

// TestRenderPodOptions is about what a pod can have and need not.
func TestRenderPodOptions(t *testing.T) {
	type want struct {
		Priority, Scheduler string
		Runtime             *string
		Grace               int64
	}
	cases := map[string]struct {
		reason string
		spec   string
		want   want
	}{
		"None":      {"Without any it is the cluster's own, and time for requests to finish.", "", want{Grace: 120}},
		"Priority":  {"A pod may matter more than others.", `deployment: {priorityClassName: high}`, want{Priority: "high", Grace: 120}},
		"Runtime":   {"A pod may run in a sandbox.", `deployment: {runtimeClassName: kata}`, want{Runtime: ptr.To("kata"), Grace: 120}},
		"Scheduler": {"A pod may be queued.", `deployment: {schedulerName: volcano}`, want{Scheduler: "volcano", Grace: 120}},
		"Grace":     {"Requests may take longer.", `deployment: {terminationGracePeriodSeconds: 900}`, want{Grace: 900}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := podOf(t, chat(t, tc.spec), Live{}).Spec
			if diff := cmp.Diff(tc.want, want{s.PriorityClassName, s.SchedulerName, s.RuntimeClassName, *s.TerminationGracePeriodSeconds}); diff != "" {
				t.Errorf("\n%s\nRender(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestSecurity makes sure that each field of the platform's holds by itself.
func TestSecurity(t *testing.T) {
	id := func(n v1alpha1.ID) *v1alpha1.ID { return &n }
	platform := v1alpha1.Security{
		ServiceAccount:     &v1alpha1.ServiceAccount{Name: "all"},
		PodSecurityContext: &v1alpha1.PodSecurityContext{RunAsUser: id(1), RunAsGroup: id(2), FSGroup: id(3)},
		SupplementalGroups: []v1alpha1.ID{4},
		APIKeySecretRef:    &v1alpha1.SecretKeyRef{Name: "keys", Key: "all"},
		NetworkPolicy:      &v1alpha1.NetworkPolicy{Enabled: ptr.To(true)},
	}
	with := func(change func(s *v1alpha1.Security)) v1alpha1.Security {
		s := *platform.DeepCopy()
		change(&s)
		return s
	}
	cases := map[string]struct {
		reason string
		spec   string
		want   v1alpha1.Security
	}{
		"Nothing": {"Who says nothing should get all of the platform's.", "", platform},
		"Empty":   {"An empty section says nothing.", `security: {}`, platform},
		"Account": {"One field should leave the others.", `security: {serviceAccount: {name: own}}`, with(func(s *v1alpha1.Security) { s.ServiceAccount.Name = "own" })},
		"User":    {"One field should leave the others.", `security: {podSecurityContext: {runAsUser: 0}}`, with(func(s *v1alpha1.Security) { s.PodSecurityContext.RunAsUser = id(0) })},
		"Group":   {"One field should leave the others.", `security: {podSecurityContext: {runAsGroup: 9}}`, with(func(s *v1alpha1.Security) { s.PodSecurityContext.RunAsGroup = id(9) })},
		"FSGroup": {"One field should leave the others.", `security: {podSecurityContext: {fsGroup: 9}}`, with(func(s *v1alpha1.Security) { s.PodSecurityContext.FSGroup = id(9) })},
		"Groups":  {"One field should leave the others.", `security: {supplementalGroups: [9]}`, with(func(s *v1alpha1.Security) { s.SupplementalGroups = []v1alpha1.ID{9} })},
		"Key": {
			"One field should leave the others.", `security: {apiKeySecretRef: {name: own, key: k}}`,
			with(func(s *v1alpha1.Security) { s.APIKeySecretRef = &v1alpha1.SecretKeyRef{Name: "own", Key: "k"} }),
		},
		"Policy": {
			"One field should leave the others: off is what the user says, too.", `security: {networkPolicy: {enabled: false}}`,
			with(func(s *v1alpha1.Security) { s.NetworkPolicy.Enabled = ptr.To(false) }),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, chat(t, tc.spec, func(e *Endpoint) { e.Platform.Security = platform.DeepCopy() }).security()); diff != "" {
				t.Errorf("\n%s\nsecurity(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRenderPlatformSecurity(t *testing.T) {
	platform := &v1alpha1.Security{PodSecurityContext: &v1alpha1.PodSecurityContext{RunAsUser: ptr.To[v1alpha1.ID](1000)}, SupplementalGroups: []v1alpha1.ID{109}}
	seccomp := &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
	cases := map[string]struct {
		reason string
		spec   string
		want   *corev1.PodSecurityContext
	}{
		"Platform": {
			reason: "The platform's settings should hold for an endpoint that has none.",
			want:   &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](1000), RunAsNonRoot: ptr.To(true), SupplementalGroups: []int64{109}, SeccompProfile: seccomp},
		},
		"Empty": {
			reason: "An empty section says nothing.",
			spec:   `security: {}`,
			want:   &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](1000), RunAsNonRoot: ptr.To(true), SupplementalGroups: []int64{109}, SeccompProfile: seccomp},
		},
		"User": {
			reason: "An endpoint's user should need the platform's groups all the same.",
			spec:   `security: {podSecurityContext: {runAsUser: 2000}}`,
			want:   &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](2000), RunAsNonRoot: ptr.To(true), SupplementalGroups: []int64{109}, SeccompProfile: seccomp},
		},
		"Groups": {
			reason: "An endpoint that only names groups should still not run as root where the platform does not want that.",
			spec:   `security: {supplementalGroups: [44]}`,
			want:   &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](1000), RunAsNonRoot: ptr.To(true), SupplementalGroups: []int64{44}, SeccompProfile: seccomp},
		},
		"FSGroup": {
			reason: "An endpoint that only names the volumes' group should still not run as root where the platform does not want that.",
			spec:   `security: {podSecurityContext: {fsGroup: 3000}}`,
			want:   &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](1000), RunAsNonRoot: ptr.To(true), FSGroup: ptr.To[int64](3000), SupplementalGroups: []int64{109}, SeccompProfile: seccomp},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, tc.spec, func(e *Endpoint) { e.Platform.Security = platform })
			if diff := cmp.Diff(tc.want, podOf(t, e, Live{}).Spec.SecurityContext); diff != "" {
				t.Errorf("\n%s\nRender(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
