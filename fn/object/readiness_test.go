package object

import (
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// evaluate a query as provider-kubernetes 1.2 does: one variable, and no
// library beyond the standard one.
func evaluate(t *testing.T, query string, object map[string]any) (bool, error) {
	t.Helper()
	env, err := cel.NewEnv(cel.Variable("object", cel.AnyType))
	if err != nil {
		t.Fatal(err)
	}
	ast, iss := env.Compile(query)
	if iss.Err() != nil {
		t.Fatalf("cannot compile %s: %v", query, iss.Err())
	}
	// The provider says nothing at all if this is anything else.
	if ast.OutputType() != cel.BoolType {
		t.Fatalf("%s is of type %s", query, ast.OutputType())
	}
	prg, err := env.Program(ast)
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := prg.Eval(map[string]any{"object": object})
	if err != nil {
		return false, err
	}
	return v.Value().(bool), nil
}

func TestReadinessQueries(t *testing.T) {
	type want struct {
		Ready bool
		// Error of the query. The provider takes it for not ready.
		Error bool
	}
	cases := map[string]struct {
		reason string
		query  string
		object string
		want   want
	}{
		"DeploymentAvailable": {
			reason: "A Deployment that is available should be ready.",
			query:  celDeployment,
			object: `{metadata: {generation: 2}, spec: {replicas: 1}, status: {observedGeneration: 2, replicas: 1, availableReplicas: 1, conditions: [{type: Progressing, status: "True"}, {type: Available, status: "True"}]}}`,
			want:   want{Ready: true},
		},
		"DeploymentSomeAvailable": {
			reason: "A Deployment of which some replicas are available should be ready if Kubernetes calls it available.",
			query:  celDeployment,
			object: `{metadata: {generation: 1}, spec: {replicas: 3}, status: {observedGeneration: 1, replicas: 3, availableReplicas: 2, unavailableReplicas: 1, conditions: [{type: Available, status: "True"}]}}`,
			want:   want{Ready: true},
		},
		"DeploymentNoneAvailable": {
			reason: "With one replica of which one may be unavailable Kubernetes calls a Deployment available that has none.",
			query:  celDeployment,
			object: `{metadata: {generation: 1}, spec: {replicas: 1, strategy: {rollingUpdate: {maxUnavailable: 1}}}, status: {observedGeneration: 1, replicas: 1, unavailableReplicas: 1, conditions: [{type: Available, status: "True"}]}}`,
		},
		"DeploymentNotAvailable": {
			reason: "A Deployment that is not available should not be ready.",
			query:  celDeployment,
			object: `{metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, replicas: 2, availableReplicas: 1, conditions: [{type: Available, status: "False"}]}}`,
		},
		"DeploymentNotObserved": {
			reason: "What the controller says of an older spec should not count.",
			query:  celDeployment,
			object: `{metadata: {generation: 3}, spec: {replicas: 1}, status: {observedGeneration: 2, replicas: 1, availableReplicas: 1, conditions: [{type: Available, status: "True"}]}}`,
		},
		"DeploymentNew": {
			reason: "A Deployment that its controller has not seen should not be ready.",
			query:  celDeployment,
			object: `{metadata: {generation: 1}, spec: {replicas: 1}, status: {}}`,
		},
		"DeploymentWithoutStatus": {
			reason: "A Deployment without a status should not be ready. The API server always stores one.",
			query:  celDeployment,
			object: `{metadata: {generation: 1}, spec: {replicas: 1}}`,
			want:   want{Error: true},
		},
		"PVCBound": {
			reason: "A claim that is bound should be ready.",
			query:  celPVC,
			object: `{status: {phase: Bound}}`,
			want:   want{Ready: true},
		},
		"PVCPending": {
			reason: "A claim that is not bound should not be ready.",
			query:  celPVC,
			object: `{status: {phase: Pending}}`,
		},
		"PVCLost": {
			reason: "A claim that lost its volume should not be ready.",
			query:  celPVC,
			object: `{status: {phase: Lost}}`,
		},
		"PVCNew": {
			reason: "A claim without a phase should not be ready.",
			query:  celPVC,
			object: `{status: {}}`,
		},
		"JobComplete": {
			reason: "A Job that is through should be ready.",
			query:  celJob,
			object: `{status: {conditions: [{type: SuccessCriteriaMet, status: "True"}, {type: Complete, status: "True"}]}}`,
			want:   want{Ready: true},
		},
		"JobFailed": {
			reason: "A Job that failed should not be ready.",
			query:  celJob,
			object: `{status: {conditions: [{type: FailureTarget, status: "True"}, {type: Failed, status: "True"}]}}`,
		},
		"JobSuspended": {
			reason: "Nor one that waits.",
			query:  celJob,
			object: `{status: {conditions: [{type: Suspended, status: "True"}]}}`,
		},
		"JobRunning": {
			reason: "Nor one that runs.",
			query:  celJob,
			object: `{status: {active: 1}}`,
		},
		"ServiceClusterIP": {
			reason: "A Service without a load balancer should be ready.",
			query:  celService,
			object: `{spec: {type: ClusterIP}, status: {loadBalancer: {}}}`,
			want:   want{Ready: true},
		},
		"ServiceWithoutStatus": {
			reason: "A Service without a load balancer needs no status.",
			query:  celService,
			object: `{spec: {type: NodePort}}`,
			want:   want{Ready: true},
		},
		"LoadBalancerIP": {
			reason: "A load balancer with an address should be ready.",
			query:  celService,
			object: `{spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}}`,
			want:   want{Ready: true},
		},
		"LoadBalancerPending": {
			reason: "A load balancer without an address should not be ready.",
			query:  celService,
			object: `{spec: {type: LoadBalancer}, status: {loadBalancer: {}}}`,
		},
		"LoadBalancerEmpty": {
			reason: "An empty list of addresses should be none.",
			query:  celService,
			object: `{spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: []}}}`,
		},
		"LoadBalancerNew": {
			reason: "A load balancer without a status should not be ready. The API server always stores one.",
			query:  celService,
			object: `{spec: {type: LoadBalancer}, status: {}}`,
			want:   want{Error: true},
		},
		"IngressTaken": {
			reason: "An Ingress with an address should be ready.",
			query:  celIngress,
			object: `{status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}}`,
			want:   want{Ready: true},
		},
		"IngressPending": {
			reason: "An Ingress that no controller has taken should not be ready.",
			query:  celIngress,
			object: `{status: {loadBalancer: {}}}`,
		},
		"IngressWithoutStatus": {
			reason: "An Ingress without a status should not be ready.",
			query:  celIngress,
			object: `{spec: {}}`,
		},
		"RouteAccepted": {
			reason: "A route that one of its gateways takes should be ready.",
			query:  celRoute,
			object: `{status: {parents: [{controllerName: a}, {conditions: [{type: ResolvedRefs, status: "True"}, {type: Accepted, status: "True"}]}]}}`,
			want:   want{Ready: true},
		},
		"RouteNotAccepted": {
			reason: "A route that no gateway takes should not be ready.",
			query:  celRoute,
			object: `{status: {parents: [{conditions: [{type: Accepted, status: "False"}]}]}}`,
		},
		"RouteNew": {
			reason: "A route that no controller has seen should not be ready.",
			query:  celRoute,
			object: `{status: {parents: []}}`,
		},
		"RouteWithoutStatus": {
			reason: "A route without a status should not be ready.",
			query:  celRoute,
			object: `{spec: {}}`,
		},
		"ScaledObjectReady": {
			reason: "A ScaledObject that KEDA can scale by should be ready, whether or not there is a need.",
			query:  celReady,
			object: `{status: {conditions: [{type: Active, status: "False"}, {type: Ready, status: "True"}]}}`,
			want:   want{Ready: true},
		},
		"ScaledObjectNotReady": {
			reason: "A ScaledObject that KEDA cannot scale by should not be ready.",
			query:  celReady,
			object: `{status: {conditions: [{type: Ready, status: "False"}, {type: Active, status: "True"}]}}`,
		},
		"ScaledObjectNew": {
			reason: "A ScaledObject that KEDA has not seen should not be ready.",
			query:  celReady,
			object: `{spec: {}}`,
		},
		"HPAActive": {
			reason: "An autoscaler that gets metrics should be ready, also if it may not scale further.",
			query:  celHPA,
			object: `{status: {conditions: [{type: AbleToScale, status: "True"}, {type: ScalingActive, status: "True"}, {type: ScalingLimited, status: "True"}]}}`,
			want:   want{Ready: true},
		},
		"HPANoMetrics": {
			reason: "An autoscaler without metrics should not be ready.",
			query:  celHPA,
			object: `{status: {conditions: [{type: AbleToScale, status: "True"}, {type: ScalingActive, status: "False"}]}}`,
		},
		"HPANew": {
			reason: "An autoscaler that has not reported should not be ready.",
			query:  celHPA,
			object: `{status: {currentMetrics: null, desiredReplicas: 0}}`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			object := map[string]any{}
			if err := yaml.Unmarshal([]byte(tc.object), &object); err != nil {
				t.Fatal(err)
			}
			ready, err := evaluate(t, tc.query, object)
			if diff := cmp.Diff(tc.want, want{Ready: ready, Error: err != nil}); diff != "" {
				t.Errorf("\n%s\nevaluate(...): -want, +got:\n%s\nerror: %v", tc.reason, diff, err)
			}
		})
	}
}
