package endpoint

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

func TestPhase(t *testing.T) {
	right := func(changes ...Condition) []Condition {
		cs := []Condition{
			{Type: v1alpha1.ConditionRecipeSelected, OK: true, Reason: "Selected"},
			{Type: v1alpha1.ConditionWorkloadReady, OK: true, Reason: "Available"},
			{Type: v1alpha1.ConditionServiceReady, OK: true, Reason: "Available"},
			{Type: v1alpha1.ConditionCacheReady, OK: true, Reason: "Bound"},
			{Type: v1alpha1.ConditionScalingReady, OK: true, Reason: "Active"},
		}
		for _, c := range changes {
			for i := range cs {
				if cs[i].Type == c.Type {
					cs[i] = c
				}
			}
		}
		return cs
	}
	serving := Live{Deployment: deployed(chat(t, ""), counts(1, 1, 1))}
	loading := Live{Deployment: deployed(chat(t, ""), counts(1, 1, 0))}

	cases := map[string]struct {
		reason     string
		conditions []Condition
		live       Live
		composed   bool
		want       v1alpha1.Phase
	}{
		"NoRecipe": {
			reason:     "Without a recipe nothing will come by itself.",
			conditions: []Condition{{Type: v1alpha1.ConditionRecipeSelected, Reason: "NoRecipeForModel"}, {Type: v1alpha1.ConditionWorkloadReady, Reason: "Starting"}},
			want:       v1alpha1.PhasePending,
		},
		"Composed": {
			reason:     "What is on its way is starting.",
			conditions: right(Condition{Type: v1alpha1.ConditionWorkloadReady, Reason: "Starting"}),
			composed:   true,
			want:       v1alpha1.PhaseStarting,
		},
		"Loading": {
			reason:     "A server that loads its model is starting.",
			conditions: right(Condition{Type: v1alpha1.ConditionWorkloadReady, Reason: "Starting"}),
			live:       loading, composed: true,
			want: v1alpha1.PhaseStarting,
		},
		"WaitingForGPU": {
			reason:     "A pod that waits for a GPU may get one.",
			conditions: right(Condition{Type: v1alpha1.ConditionWorkloadReady, Reason: "WaitingForGPU"}),
			live:       loading, composed: true,
			want: v1alpha1.PhaseStarting,
		},
		"Ready": {
			reason:     "If all is right it is ready.",
			conditions: right(), live: serving, composed: true,
			want: v1alpha1.PhaseReady,
		},
		"KeptPinned": {
			reason:     "What runs with a recipe that is gone is as ready as ever.",
			conditions: right(Condition{Type: v1alpha1.ConditionRecipeSelected, OK: true, Reason: "KeptPinned"}), live: serving, composed: true,
			want: v1alpha1.PhaseReady,
		},
		"ScalingWithoutMetrics": {
			reason:     "An autoscaler without metrics does not keep a server from serving.",
			conditions: right(Condition{Type: v1alpha1.ConditionScalingReady, Reason: "MetricsUnavailable"}, Condition{Type: v1alpha1.ConditionCacheReady, Reason: "ShrinkIgnored"}),
			live:       serving, composed: true,
			want: v1alpha1.PhaseReady,
		},
		"Impossible": {
			reason:     "What serves though the user wants something else is degraded.",
			conditions: right(Condition{Type: v1alpha1.ConditionRecipeSelected, Reason: "NoRecipeMatches"}), live: serving, composed: true,
			want: v1alpha1.PhaseDegraded,
		},
		"LoadBalancerPending": {
			reason:     "What serves inside only is degraded.",
			conditions: right(Condition{Type: v1alpha1.ConditionServiceReady, Reason: "WaitingForLoadBalancer"}), live: serving, composed: true,
			want: v1alpha1.PhaseDegraded,
		},
		"Rollout": {
			reason:     "What serves while it is replaced is degraded.",
			conditions: right(Condition{Type: v1alpha1.ConditionWorkloadReady, Reason: "RolloutInProgress"}), live: serving, composed: true,
			want: v1alpha1.PhaseDegraded,
		},
		"CrashLoopingServing": {
			reason:     "What serves with another replica crashing is degraded, not failed.",
			conditions: right(Condition{Type: v1alpha1.ConditionWorkloadReady, Reason: "CrashLooping"}), live: serving, composed: true,
			want: v1alpha1.PhaseDegraded,
		},
		"NobodyWatches": {
			reason: "What is optional does not keep a server from serving.",
			conditions: append(right(), Condition{Type: v1alpha1.ConditionRouteReady, Reason: "NoGateway"},
				Condition{Type: v1alpha1.ConditionMonitoringReady, Reason: "PrometheusOperatorNotInstalled"},
				Condition{Type: v1alpha1.ConditionCanaryHealthy, Reason: "RolledBack"}),
			live: serving, composed: true,
			want: v1alpha1.PhaseReady,
		},
		"RouteRefused": {
			reason:     "An endpoint serves without a route.",
			conditions: append(right(), Condition{Type: v1alpha1.ConditionRouteReady, Reason: "ApplyFailed"}),
			live:       serving, composed: true,
			want: v1alpha1.PhaseReady,
		},
		"NameConflict": {
			reason:     "A name that somebody else has needs a person.",
			conditions: []Condition{{Type: v1alpha1.ConditionRecipeSelected, OK: true, Reason: "Selected"}, {Type: v1alpha1.ConditionWorkloadReady, Reason: "NameConflict"}},
			want:       v1alpha1.PhaseFailed,
		},
		"ApplyFailedServing": {
			reason:     "What serves though an object of it cannot be applied is degraded, as its composite is not ready.",
			conditions: right(Condition{Type: v1alpha1.ConditionScalingReady, Reason: "ApplyFailed"}), live: serving, composed: true,
			want: v1alpha1.PhaseDegraded,
		},
	}
	for _, r := range []v1alpha1.ConditionReason{"ImagePullFailed", "OutOfMemory", "CrashLooping", "ProgressDeadlineExceeded", "ApplyFailed"} {
		c := cases["Loading"]
		c.reason = "What will not serve without a change has failed."
		c.conditions = right(Condition{Type: v1alpha1.ConditionWorkloadReady, Reason: r})
		c.want = v1alpha1.PhaseFailed
		cases[string(r)] = c
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Phase(tc.conditions, tc.live, tc.composed)); diff != "" {
				t.Errorf("\n%s\nPhase(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestAvailable(t *testing.T) {
	e := chat(t, `scaling: {minReplicas: 2}`)
	cases := map[string]struct {
		reason    string
		live      Live
		serving   bool
		available bool
	}{
		"None":        {"Without a Deployment nothing serves.", Live{}, false, false},
		"Loading":     {"A server that loads serves nobody.", Live{Deployment: deployed(e, counts(2, 2, 0))}, false, false},
		"Some":        {"One of two serves, but is not all.", Live{Deployment: deployed(e, counts(2, 2, 1))}, true, false},
		"All":         {"Two of two are all.", Live{Deployment: deployed(e, counts(2, 2, 2))}, true, true},
		"RollingOut":  {"What is to be replaced is not all.", Live{Deployment: deployed(e, counts(2, 1, 2))}, true, false},
		"NotObserved": {"What the controller has not seen is not all.", Live{Deployment: deployed(e, counts(2, 2, 2), func(d *appsv1.Deployment) { d.Generation = 2 })}, true, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.live.Serving() != tc.serving || tc.live.Available() != tc.available {
				t.Errorf("\n%s\nServing(), Available(): want %t, %t, got %t, %t", tc.reason, tc.serving, tc.available, tc.live.Serving(), tc.live.Available())
			}
		})
	}
}
