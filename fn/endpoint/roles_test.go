package endpoint

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

func TestRenderRoles(t *testing.T) {
	deployed := func(replicas int32) *appsv1.Deployment {
		return &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: &replicas}}
	}
	routed := `service: {route: {hostname: llm.example.org}}`
	watched := `monitoring: {enabled: true}`
	cases := map[string]struct {
		reason  string
		spec    string
		changes []func(e *Endpoint)
		live    Live
		want    []Role
	}{
		"New": {
			reason: "Before there is a Deployment there is nothing to scale.",
			spec:   `scaling: {minReplicas: 3}`,
			want:   []Role{RoleConfig, RoleDeployment, RoleService, RoleDisruptionBudget},
		},
		"One": {
			reason: "Kubernetes starts with one replica by itself.",
			live:   Live{Deployment: deployed(1)},
			want:   []Role{RoleConfig, RoleDeployment, RoleService},
		},
		"Scaled": {
			reason: "A number that is not the live one should be set.",
			spec:   `scaling: {minReplicas: 3}`,
			live:   Live{Deployment: deployed(1)},
			want:   []Role{RoleConfig, RoleDeployment, RoleReplicas, RoleService, RoleDisruptionBudget},
		},
		"Managed": {
			reason: "A number that was set should stay so, or whoever changes it would have it changed for good.",
			spec:   `scaling: {minReplicas: 3}`,
			live:   Live{Deployment: deployed(3), ReplicasManaged: true},
			want:   []Role{RoleConfig, RoleDeployment, RoleReplicas, RoleService, RoleDisruptionBudget},
		},
		"ScaledBack": {
			reason: "What an autoscaler left should be scaled back.",
			live:   Live{Deployment: deployed(4)},
			want:   []Role{RoleConfig, RoleDeployment, RoleReplicas, RoleService},
		},
		"SameMinAndMax": {
			reason: "Without room to scale there should be no autoscaler.",
			spec:   `scaling: {minReplicas: 2, maxReplicas: 2}`,
			live:   Live{Deployment: deployed(1)},
			want:   []Role{RoleConfig, RoleDeployment, RoleReplicas, RoleService, RoleDisruptionBudget},
		},
		"Autoscaled": {
			reason: "An autoscaler and a fixed number would fight.",
			spec:   `scaling: {minReplicas: 1, maxReplicas: 2}`,
			live:   Live{Deployment: deployed(2), ReplicasManaged: true},
			want:   []Role{RoleConfig, RoleDeployment, RoleService, RoleAutoscaler, RoleDisruptionBudget},
		},
		"Cache": {
			reason: "A volume should be there before what mounts it.",
			spec:   `cache: {enabled: true}`,
			want:   []Role{RoleConfig, RoleCache, RoleDeployment, RoleService},
		},
		"KEDA": {
			reason:  "KEDA should scale where the platform says so.",
			spec:    `scaling: {minReplicas: 1, maxReplicas: 2}`,
			changes: []func(e *Endpoint){withKEDA("")},
			live:    Live{APIs: allAPIs()},
			want:    []Role{RoleConfig, RoleDeployment, RoleService, RoleScaledObject, RoleDisruptionBudget},
		},
		"KEDANotInstalled": {
			reason:  "An object of a kind that the cluster does not have could not even be deleted.",
			spec:    `scaling: {minReplicas: 1, maxReplicas: 2}`,
			changes: []func(e *Endpoint){withKEDA("")},
			want:    []Role{RoleConfig, RoleDeployment, RoleService, RoleDisruptionBudget},
		},
		"KEDAOfOneReplica": {
			reason:  "Without room to scale there should be no autoscaler of any kind.",
			changes: []func(e *Endpoint){withKEDA("up")},
			live:    Live{APIs: allAPIs()},
			want:    []Role{RoleConfig, RoleDeployment, RoleService},
		},
		"ToZeroOfOne": {
			reason:  "One replica or none is room to scale.",
			spec:    `scaling: {minReplicas: 0, maxReplicas: 1}`,
			changes: []func(e *Endpoint){withKEDA("up")},
			live:    Live{APIs: allAPIs(), Deployment: deployed(1)},
			want:    []Role{RoleConfig, RoleDeployment, RoleService, RoleScaledObject},
		},
		"ToZeroWithoutQuery": {
			reason:  "What nobody would ever wake should not be put to sleep.",
			spec:    `scaling: {minReplicas: 0, maxReplicas: 1}`,
			changes: []func(e *Endpoint){withKEDA("")},
			live:    Live{APIs: allAPIs(), Deployment: deployed(1)},
			want:    []Role{RoleConfig, RoleDeployment, RoleService},
		},
		"RouteOfThePlatformsGateway": {
			reason:  "A hostname should be enough where the platform has a gateway.",
			spec:    routed,
			changes: []func(e *Endpoint){func(e *Endpoint) { e.Platform.Gateway = &v1alpha1.GatewayReference{Name: "public"} }},
			live:    Live{APIs: allAPIs()},
			want:    []Role{RoleConfig, RoleDeployment, RoleService, RoleHTTPRoute},
		},
		"RouteOfThePlatformsIngress": {
			reason:  "A hostname should be enough where the platform has an ingress controller.",
			spec:    routed,
			changes: []func(e *Endpoint){func(e *Endpoint) { e.Platform.IngressClass = "nginx" }},
			want:    []Role{RoleConfig, RoleDeployment, RoleService, RoleIngress},
		},
		"RouteToNowhere": {
			reason: "A hostname alone leads nowhere.",
			spec:   routed,
			live:   Live{APIs: allAPIs()},
			want:   []Role{RoleConfig, RoleDeployment, RoleService},
		},
		"IngressDespiteTheGateway": {
			reason:  "An ingress controller that the user names should go before the platform's gateway.",
			spec:    `service: {route: {hostname: llm.example.org, ingressClass: nginx}}`,
			changes: []func(e *Endpoint){func(e *Endpoint) { e.Platform.Gateway = &v1alpha1.GatewayReference{Name: "public"} }},
			live:    Live{APIs: allAPIs()},
			want:    []Role{RoleConfig, RoleDeployment, RoleService, RoleIngress},
		},
		"GatewayDespiteTheIngress": {
			reason:  "A gateway that the user names should go before the platform's ingress controller.",
			spec:    `service: {route: {hostname: llm.example.org, gateway: {name: public}}}`,
			changes: []func(e *Endpoint){func(e *Endpoint) { e.Platform.IngressClass = "nginx" }},
			live:    Live{APIs: allAPIs()},
			want:    []Role{RoleConfig, RoleDeployment, RoleService, RoleHTTPRoute},
		},
		"GatewayAPINotInstalled": {
			reason: "An object of a kind that the cluster does not have could not even be deleted.",
			spec:   `service: {route: {hostname: llm.example.org, gateway: {name: public}}}`,
			want:   []Role{RoleConfig, RoleDeployment, RoleService},
		},
		"Monitoring": {
			reason: "Monitoring should be all three unless the user says otherwise.",
			spec:   watched,
			live:   Live{APIs: allAPIs()},
			want:   []Role{RoleConfig, RoleDeployment, RoleService, RoleServiceMonitor, RoleAlerts, RoleDashboard},
		},
		"MonitoringWithoutOperator": {
			reason: "A dashboard is a ConfigMap, which every cluster has.",
			spec:   watched,
			want:   []Role{RoleConfig, RoleDeployment, RoleService, RoleDashboard},
		},
		"MonitoringWithoutRules": {
			reason: "Each kind should be there by itself.",
			spec:   watched,
			live:   Live{APIs: map[API]bool{APIServiceMonitor: true}},
			want:   []Role{RoleConfig, RoleDeployment, RoleService, RoleServiceMonitor, RoleDashboard},
		},
		"PrometheusOnly": {
			reason: "A user may have no Grafana.",
			spec:   `monitoring: {enabled: true, grafana: {enabled: false}}`,
			live:   Live{APIs: allAPIs()},
			want:   []Role{RoleConfig, RoleDeployment, RoleService, RoleServiceMonitor, RoleAlerts},
		},
		"GrafanaOnly": {
			reason: "A user may have another way to get the metrics.",
			spec:   `monitoring: {enabled: true, prometheus: {enabled: false}}`,
			live:   Live{APIs: allAPIs()},
			want:   []Role{RoleConfig, RoleDeployment, RoleService, RoleDashboard},
		},
		"MonitoringDisabled": {
			reason: "What is off as a whole is off, whatever its parts say.",
			spec:   `monitoring: {enabled: false, prometheus: {enabled: true}, grafana: {enabled: true}}`,
			live:   Live{APIs: allAPIs()},
			want:   []Role{RoleConfig, RoleDeployment, RoleService},
		},
		"BudgetOfOne": {
			reason: "A budget of the user's should be there for a single replica, too.",
			spec:   `deployment: {disruptionBudget: {minAvailable: 1}}`,
			want:   []Role{RoleConfig, RoleDeployment, RoleService, RoleDisruptionBudget},
		},
		"ServiceAccountThatExists": {
			reason: "What exists should not be made.",
			spec:   `security: {serviceAccount: {name: llm}}`,
			want:   []Role{RoleConfig, RoleDeployment, RoleService},
		},
		"NetworkPolicyDisabled": {
			reason: "Whom a policy would let in says nothing of whether there is one.",
			spec:   `security: {networkPolicy: {allowFrom: [{podSelector: {}}]}}`,
			want:   []Role{RoleConfig, RoleDeployment, RoleService},
		},
		"Canary": {
			reason:  "A canary that no route leads to shares the Service.",
			spec:    `deployment: {canary: {enabled: true}}`,
			changes: []func(e *Endpoint){withCanary(t)},
			want:    []Role{RoleConfig, RoleDeployment, RoleService, RoleCanary},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, tc.spec, tc.changes...)
			ms := rendered(t, e, tc.live)
			got := make([]Role, 0, len(ms))
			for _, m := range ms {
				got = append(got, m.Role)
				if d, ok := m.Object.(*appsv1.Deployment); ok && m.Role != RoleCanary && (d.Spec.Replicas != nil) != (m.Role == RoleReplicas) {
					t.Errorf("\nReplicas should be in the manifest for them and in no other.\nRender(...): %s has %v", m.Role, d.Spec.Replicas)
				}
				if m.Partial != (m.Role == RoleReplicas) {
					t.Errorf("\nThe replicas, and nothing else, should be a partial manifest.\nRender(...): %s: %t", m.Role, m.Partial)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nRender(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
