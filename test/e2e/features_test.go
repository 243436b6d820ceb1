package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/aim-engine/function-aim/test/controlplane"
	"github.com/aim-engine/function-aim/test/tools"
)

var (
	accounts        = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	budgets         = schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}
	policies        = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}
	ingresses       = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"}
	routes          = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}
	serviceMonitors = schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1", Resource: "servicemonitors"}
	prometheusRules = schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1", Resource: "prometheusrules"}
	scaledObjects   = schema.GroupVersionResource{Group: "keda.sh", Version: "v1alpha1", Resource: "scaledobjects"}
)

// setStatus of an object, as its controller would.
func (c *cluster) setStatus(gvr schema.GroupVersionResource, name string, status map[string]any) {
	c.t.Helper()
	u := c.get(gvr, name)
	if u == nil {
		c.t.Fatalf("there is no %s %s", gvr.Resource, name)
	}
	u.Object["status"] = status
	if _, err := c.Dynamic().Resource(gvr).Namespace(c.namespace).UpdateStatus(context.Background(), u, metav1.UpdateOptions{}); err != nil {
		c.t.Fatalf("cannot set the status of %s %s: %v", gvr.Resource, name, err)
	}
	c.look(name, u.GetKind())
}

// look makes the provider look at a claim's object of a kind at once, rather
// than within the 30 seconds, or 10 minutes, after which it looks again itself.
func (c *cluster) look(name, kind string) {
	c.t.Helper()
	for _, o := range c.objectsOf(name) {
		if str(&o, "spec", "forProvider", "manifest", "kind") != kind {
			continue
		}
		if out, err := c.kubectl("", "annotate", "--overwrite", "object", o.GetName(), fmt.Sprintf("example.com/look=%d", time.Now().UnixNano())); err != nil {
			c.t.Fatal(out, err)
		}
	}
}

// spec of an object, without what is not of interest.
func spec(u *unstructured.Unstructured, path ...string) any {
	if u == nil {
		return nil
	}
	v, _, _ := unstructured.NestedFieldNoCopy(u.Object, append([]string{"spec"}, path...)...)
	return v
}

// What users of the earlier operator have applies unchanged, and does what it
// says.
func testOperatorsEndpoints(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	for _, class := range []string{"fast-ssd", "local-path"} {
		u, err := cp.Kube().StorageV1().StorageClasses().Get(t.Context(), controlplane.StorageClassStandard, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		u.ObjectMeta = metav1.ObjectMeta{Name: class}
		if _, err := cp.Kube().StorageV1().StorageClasses().Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	// Together they take more GPUs than there are of the hardware that is chosen
	// for them.
	moreNodes(t, cp, "mi355x-0", 1)
	b, err := os.ReadFile(root(t) + "/examples/endpoint-operator/claims.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c.apply(strings.ReplaceAll(string(b), "namespace: default", "namespace: "+c.namespace))
	const big, small = "llama-70b-production", "qwen-7b-minimal"

	c.expect(big, "ServiceReady", "False", "WaitingForLoadBalancer")
	c.expect(big, "WorkloadReady", "True", "Available", "2 of 2 replicas are available")
	c.expect(big, "MonitoringReady", "False", "PrometheusOperatorNotInstalled", "monitoring.prometheus.enabled")
	c.expect(big, "ScalingReady", "False", "MetricsUnavailable", "metrics-server", "gpu_gfx_activity")
	c.expect(big, "Ready", "False", "Waiting")
	c.setStatus(services, big, map[string]any{"loadBalancer": map[string]any{"ingress": []any{map[string]any{"hostname": "lb.example.com"}}}})
	c.ready(big, small)
	if got := str(c.get(endpoints, big), "status", "url"); got != "http://lb.example.com:80" {
		t.Errorf("status.url is %q", got)
	}

	d := c.get(deployments, big)
	want := map[string]any{"type": "RollingUpdate", "rollingUpdate": map[string]any{"maxSurge": int64(1), "maxUnavailable": int64(0)}}
	if diff := cmp.Diff(want, spec(d, "strategy")); diff != "" {
		t.Errorf("strategy: -want, +got:\n%s", diff)
	}
	pod, _ := spec(d, "template", "spec").(map[string]any)
	got := map[string]any{
		"serviceAccountName": pod["serviceAccountName"], "securityContext": pod["securityContext"], "imagePullSecrets": pod["imagePullSecrets"],
		"resources": pod["containers"].([]any)[0].(map[string]any)["resources"], "image": pod["containers"].([]any)[0].(map[string]any)["image"],
	}
	want = map[string]any{
		"serviceAccountName": "llama-70b-production-sa",
		"securityContext":    map[string]any{"runAsUser": int64(0), "runAsGroup": int64(0), "fsGroup": int64(0), "seccompProfile": map[string]any{"type": "RuntimeDefault"}},
		"imagePullSecrets":   []any{map[string]any{"name": "registry-credentials"}},
		"image":              "vllm/vllm-openai-rocm:v0.22.1",
		"resources": map[string]any{
			"requests": map[string]any{"cpu": "16", "memory": "128Gi", "amd.com/gpu": "4"},
			"limits":   map[string]any{"cpu": "32", "memory": "256Gi", "amd.com/gpu": "4"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pod: -want, +got:\n%s", diff)
	}
	for _, o := range []struct {
		gvr  schema.GroupVersionResource
		name string
	}{
		{accounts, "llama-70b-production-sa"},
		{budgets, big},
		{autoscalers, big},
		{volumes, big + "-cache"},
		{configmaps, big + "-dashboard"},
		{deployments, small},
		{volumes, small + "-cache"},
	} {
		if c.get(o.gvr, o.name) == nil {
			t.Errorf("there is no %s %s", o.gvr.Resource, o.name)
		}
	}
	if got := c.get(configmaps, big+"-dashboard").GetLabels()["grafana_dashboard"]; got != "1" {
		t.Errorf("the dashboard's label is %q", got)
	}
	if got := str(c.get(endpoints, small), "status", "endpoints", "nodePort"); got == "" {
		t.Error("the NodePort is not in the status")
	}
	if out, err := c.kubectl("", "delete", "aimendpoint", "--all", "--timeout=90s"); err != nil {
		t.Fatal(out, err)
	}
}

// secretValue must be in no object but the Secrets themselves.
const secretValue = "hf-c2VjcmV0LXZhbHVl"

// An endpoint that only some may reach, in a namespace that only lets in what
// is restricted, with a key, and whatever else can be said of its pods.
func testSecured(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp, "pod-security.kubernetes.io/enforce=restricted")
	c.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: tokens}\nstringData: {hf: " + secretValue + ", api.key: " + secretValue + "}\n")
	c.apply(endpoint("llm", `{
		model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X},
		hfTokenSecretRef: {name: tokens, key: hf},
		security: {
			podSecurityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 1000}, supplementalGroups: [44, 109],
			apiKeySecretRef: {name: tokens, key: api.key},
			serviceAccount: {create: true},
			networkPolicy: {enabled: true, allowFrom: [{namespaceSelector: {}, podSelector: {matchLabels: {app: gateway}}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]},
		},
		deployment: {
			env: [{name: LOG, value: debug}], extraArgs: [--max-num-seqs, '64', --trust-remote-code, 'true'],
			podLabels: {team: search}, podAnnotations: {example.org/note: hello}, nodeSelector: {kubernetes.io/os: linux},
			tolerations: [{key: maintenance, operator: Exists}],
			affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/arch, operator: In, values: [amd64]}]}]}}},
			priorityClassName: system-cluster-critical, terminationGracePeriodSeconds: 300, disruptionBudget: {minAvailable: 1},
		},
		writeConnectionSecretToRef: {name: llm-connection}}`))
	c.ready("llm")

	if diff := cmp.Diff(map[string]any{
		"podSelector": map[string]any{"matchLabels": map[string]any{"aim.engine.amd.com/endpoint": "llm"}},
		"policyTypes": []any{"Ingress"},
		"ingress": []any{
			map[string]any{
				"from": []any{
					map[string]any{"namespaceSelector": map[string]any{}, "podSelector": map[string]any{"matchLabels": map[string]any{"app": "gateway"}}},
					map[string]any{"ipBlock": map[string]any{"cidr": "10.0.0.0/8", "except": []any{"10.1.0.0/16"}}},
				},
				"ports": []any{map[string]any{"port": "http", "protocol": "TCP"}},
			},
			map[string]any{
				"from":  []any{map[string]any{"namespaceSelector": map[string]any{}, "podSelector": map[string]any{"matchLabels": map[string]any{"app.kubernetes.io/name": "prometheus"}}}},
				"ports": []any{map[string]any{"port": "http", "protocol": "TCP"}},
			},
		},
	}, c.get(policies, "llm").Object["spec"]); diff != "" {
		t.Errorf("NetworkPolicy: -want, +got:\n%s", diff)
	}
	p := c.list(pods, c.namespace, "team=search")
	if len(p) != 1 || p[0].GetAnnotations()["example.org/note"] != "hello" || str(&p[0], "spec", "priorityClassName") != "system-cluster-critical" || str(&p[0], "spec", "serviceAccountName") != "llm" {
		t.Fatalf("the pod is not as it should be: %v", p)
	}
	args, _, _ := unstructured.NestedStringSlice(p[0].Object["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any), "args")
	if s := strings.Join(args, " "); !strings.Contains(s, "--max-num-seqs 64 --trust-remote-code --host") {
		t.Errorf("the extra arguments are not there: %s", s)
	}

	c.eventually("the key is in the connection details", soon, func() error {
		s := c.get(secrets, "llm-connection")
		if got := str(s, "data", "apiKey"); got == "" || got != str(c.get(secrets, "tokens"), "data", "hf") {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})

	// Nobody tells the secret: no object of the endpoint, nor an event.
	out := ""
	for _, args := range [][]string{
		{"get", "aimendpoint,deployments,replicasets,pods,services,configmaps,serviceaccounts,networkpolicies,poddisruptionbudgets,hpa,pvc,events", "-o", "yaml"},
		{"get", "objects,xaimendpoints", "-o", "yaml"},
	} {
		o, err := c.kubectl("", args...)
		if err != nil {
			t.Fatal(o, err)
		}
		out += o
	}
	encoded := str(c.get(secrets, "tokens"), "data", "hf")
	if strings.Contains(out, secretValue) || strings.Contains(out, encoded) {
		for l := range strings.SplitSeq(out, "\n") {
			if strings.Contains(l, secretValue) || strings.Contains(l, encoded) {
				t.Errorf("a secret is told: %s", l)
			}
		}
	}
	if !strings.Contains(out, "VLLM_API_KEY") || !strings.Contains(out, "HF_TOKEN") {
		t.Error("the server does not get its secrets")
	}
	if out, err := c.kubectl("", "delete", "secret", "tokens"); err != nil {
		t.Fatal(out, err)
	}
	if out, err := c.kubectl("", "delete", "aimendpoint", "llm", "--timeout=60s"); err != nil {
		t.Fatal(out, err)
	}
}

// Mistakes of each kind in an endpoint that serves: it goes on as it is, the
// claim names the field, undoing them recovers, and it can be deleted.
func testBadEdits(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	const fine = "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}}"
	mistakes := map[string]struct {
		spec      string
		condition string
		reason    string
		words     []string
	}{
		"recipe":      {"{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X, customRecipe: {name: nowhere}}}", "RecipeSelected", "RecipeNotFound", []string{"recipe.customRecipe"}},
		"gpus":        {"{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X, precision: int8}}", "RecipeSelected", "NoRecipeMatches", []string{"precision int8"}},
		"arguments":   {"{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, deployment: {extraArgs: [--max-model-length, '8192']}}", "WorkloadReady", "ApplyFailed", []string{"spec.deployment.extraArgs", "--max-model-len"}},
		"affinity":    {"{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, deployment: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchExpressions: [{key: app, operator: In}]}, topologyKey: kubernetes.io/hostname}]}}}}", "WorkloadReady", "ApplyFailed", []string{"spec.deployment.affinity.podAntiAffinity", "values"}},
		"toleration":  {"{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, deployment: {tolerations: [{operator: Exist}]}}", "WorkloadReady", "ApplyFailed", []string{"spec.deployment.tolerations[0]"}},
		"environment": {"{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, deployment: {env: [{name: A=B, value: c}]}}", "WorkloadReady", "ApplyFailed", []string{"spec.deployment.env[0].name"}},
		"priority":    {"{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, deployment: {priorityClassName: nowhere}}", "WorkloadReady", "ApplyFailed", []string{"spec.deployment.priorityClassName", "there is no PriorityClass nowhere"}},
		"runtime":     {"{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, deployment: {runtimeClassName: nowhere}}", "WorkloadReady", "ApplyFailed", []string{"spec.deployment.runtimeClassName"}},
		"account":     {"{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, security: {serviceAccount: {name: nowhere}}}", "WorkloadReady", "ApplyFailed", []string{"spec.security.serviceAccount.name"}},
		"policy":      {"{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, security: {networkPolicy: {enabled: true, allowFrom: [{ipBlock: {cidr: 10.0.0.0}}]}}}", "WorkloadReady", "ApplyFailed", []string{"spec.security.networkPolicy.allowFrom[0].ipBlock.cidr"}},
		"cache":       {"{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: {enabled: true, storageClass: expandable}}", "CacheReady", "StorageClassImmutable", []string{"cache.storageClass"}},
	}
	for name := range mistakes {
		before := fine
		if name == "cache" {
			before = "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, cache: {enabled: true}}"
		}
		c.apply(endpoint(name, before))
	}
	served := map[string]*unstructured.Unstructured{}
	for name := range mistakes {
		c.ready(name)
		served[name] = c.get(deployments, name)
	}
	for name, m := range mistakes {
		c.apply(endpoint(name, m.spec))
	}
	for name, m := range mistakes {
		msg := c.expect(name, m.condition, "False", m.reason, m.words...)
		t.Logf("%s: %s", name, msg)
	}
	c.always("what serves goes on as it is", 3*time.Second, func() error {
		for name := range mistakes {
			if err := c.untouched(served[name])(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	})
	// Undone: half of them. The others are deleted as they are.
	undo := []string{"arguments", "affinity", "priority", "recipe"}
	for _, name := range undo {
		c.apply(endpoint(name, fine))
	}
	c.ready(undo...)
	for _, name := range undo {
		if err := c.untouched(served[name])(); err != nil {
			t.Errorf("%s: undone: %v", name, err)
		}
	}
	if out, err := c.kubectl("", "delete", "aimendpoint", "--all", "--timeout=120s"); err != nil {
		t.Fatal(out, err)
	}
	c.eventually("all is gone", soon, func() error {
		for _, gvr := range []schema.GroupVersionResource{deployments, services, policies} {
			if l := c.list(gvr, c.namespace, ""); len(l) > 0 {
				return fmt.Errorf("there is still a %s %s", l[0].GetKind(), l[0].GetName())
			}
		}
		return nil
	})
	// One that cannot change is refused at once.
	c.apply(endpoint("llm", fine))
	out, err := c.kubectl(endpoint("llm", "{model: {id: Qwen/Qwen3-8B}, providerConfigName: elsewhere}"), "apply", "-f", "-")
	if err == nil || !strings.Contains(out, "spec.providerConfigName") || !strings.Contains(out, "delete the endpoint, and create it again") {
		t.Errorf("kubectl apply must refuse another cluster, but says (%v): %s", err, out)
	}
}

// Kinds that a cluster may have or not: they are used as soon as they are
// there, given up when they are switched off, and in nobody's way when they are
// gone.
func testOptionalKinds(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	spec := func(monitoring bool) string {
		return endpoint("llm", fmt.Sprintf(`{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, monitoring: {enabled: %t},
			service: {route: {hostname: llm.example.com, gateway: {name: public}}}, deployment: {canary: {enabled: true, duration: 3600, trafficSplit: 20}}}`, monitoring))
	}
	c.apply(spec(true))
	c.ready("llm")
	c.expect("llm", "MonitoringReady", "False", "PrometheusOperatorNotInstalled", "no ServiceMonitor and no PrometheusRule")
	c.expect("llm", "RouteReady", "False", "GatewayAPINotInstalled", "service.route.ingressClass")
	c.apply(endpoint("by-ingress", "{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, service: {route: {hostname: two.example.com, ingressClass: nginx, tlsSecretName: cert}}}"))
	c.ready("by-ingress")
	c.expect("by-ingress", "RouteReady", "False", "Pending", "class nginx")
	c.setStatus(ingresses, "by-ingress", map[string]any{"loadBalancer": map[string]any{"ingress": []any{map[string]any{"ip": "192.0.2.9"}}}})
	c.expect("by-ingress", "RouteReady", "True", "Accepted", "https://two.example.com")

	// They come later.
	began := time.Now()
	if err := cp.InstallDefinitions(t.Context(), tools.PrometheusOperator, tools.GatewayAPI, tools.KEDA); err != nil {
		t.Fatal(err)
	}
	c.expect("llm", "MonitoringReady", "True", "Installed")
	t.Logf("a ServiceMonitor is there %s after its kind began to be", time.Since(began).Round(100*time.Millisecond))
	for _, gvr := range []schema.GroupVersionResource{serviceMonitors, prometheusRules} {
		c.eventually(gvr.Resource, soon, func() error {
			if c.get(gvr, "llm") == nil {
				return errNotYet
			}
			return nil
		})
	}
	selected, _ := c.get(serviceMonitors, "llm").Object["spec"].(map[string]any)["selector"].(map[string]any)["matchLabels"].(map[string]any)
	for k, v := range selected {
		if got := c.get(services, "llm").GetLabels()[k]; got != v {
			t.Errorf("the ServiceMonitor selects %s=%v, and the Service has %q", k, v, got)
		}
	}

	// A route through a Gateway, which is still to come.
	c.expect("llm", "RouteReady", "False", "NoGateway", "there is no Gateway public", "service.route.gateway")
	c.apply("apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: public}\nspec: {gatewayClassName: example, listeners: [{name: web, port: 8080, protocol: HTTP}]}\n")
	c.expect("llm", "RouteReady", "False", "Pending")
	c.eventually("the route", soon, func() error {
		if c.get(routes, "llm") == nil {
			return errNotYet
		}
		return nil
	})
	accepted := func(status, reason, message string) map[string]any {
		now := time.Now().UTC().Format(time.RFC3339)
		return map[string]any{"parents": []any{map[string]any{
			"parentRef": map[string]any{"name": "public"}, "controllerName": "example.com/gateway",
			"conditions": []any{map[string]any{"type": "Accepted", "status": status, "reason": reason, "message": message, "lastTransitionTime": now}},
		}}}
	}
	c.setStatus(routes, "llm", accepted("False", "NoMatchingListenerHostname", "no listener takes it"))
	c.expect("llm", "RouteReady", "False", "NotAccepted", "NoMatchingListenerHostname")
	c.setStatus(routes, "llm", accepted("True", "Accepted", ""))
	c.expect("llm", "RouteReady", "True", "Accepted", "http://llm.example.com:8080")
	if got := str(c.get(endpoints, "llm"), "status", "endpoints", "external"); got != "http://llm.example.com:8080" {
		t.Errorf("status.endpoints.external is %q", got)
	}

	// With a route, a canary gets exactly its share, once it serves.
	c.apply(strings.Replace(spec(true), "Qwen/Qwen3-8B", "Qwen/Qwen3-32B", 1))
	c.expect("llm", "CanaryHealthy", "True", "InProgress", "20% of the traffic")
	c.eventually("weights", soon, func() error {
		rules, _ := c.get(routes, "llm").Object["spec"].(map[string]any)["rules"].([]any)
		got := map[string]any{}
		for _, b := range rules[0].(map[string]any)["backendRefs"].([]any) {
			got[b.(map[string]any)["name"].(string)] = b.(map[string]any)["weight"]
		}
		if diff := cmp.Diff(map[string]any{"llm": int64(80), "llm-canary": int64(20)}, got); diff != "" {
			return fmt.Errorf("-want, +got:\n%s", diff)
		}
		return nil
	})
	c.apply(spec(true))
	c.expect("llm", "CanaryHealthy", "True", "NoCanary")

	// KEDA, where the platform says so.
	c.kedaComposition()
	c.apply(endpoint("zero", "{compositionSelector: {matchLabels: {autoscaler: "+c.namespace+"}}, model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, scaling: {minReplicas: 0, maxReplicas: 2}}"))
	c.ready("zero")
	c.eventually("a ScaledObject, and no other autoscaler", soon, func() error {
		if c.get(scaledObjects, "zero") == nil || c.get(autoscalers, "zero") != nil {
			return errNotYet
		}
		return nil
	})
	c.expect("zero", "ScalingReady", "False", "MetricsUnavailable", "KEDA has not reported yet")
	c.setStatus(scaledObjects, "zero", map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": "True"}}})
	c.expect("zero", "ScalingReady", "True", "Active", "between 0 and 2 replicas")
	if out, err := c.kubectl("", "scale", "deployment", "zero", "--replicas=0"); err != nil {
		t.Fatal(out, err)
	}
	c.expect("zero", "WorkloadReady", "True", "Available", "scaled to zero: the next request starts a replica")
	c.ready("zero")
	if got := str(c.get(endpoints, "zero"), "status", "phase"); got != "Ready" {
		t.Errorf("status.phase is %q", got)
	}

	// Switched off.
	c.apply(spec(false))
	c.expect("llm", "MonitoringReady", "True", "Disabled")
	c.eventually("nothing of it is left", soon, func() error {
		for _, gvr := range []schema.GroupVersionResource{serviceMonitors, prometheusRules} {
			if c.get(gvr, "llm") != nil {
				return fmt.Errorf("there is still a %s", gvr.Resource)
			}
		}
		if c.get(configmaps, "llm-dashboard") != nil {
			return fmt.Errorf("there is still a dashboard")
		}
		return nil
	})
}

// When optional kinds go, an endpoint that has used them can go, too.
//
// It runs alone: Crossplane holds up all composites of a kind for two minutes
// if another kind goes while it is asked for.
func testKindsGo(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	if err := cp.InstallDefinitions(t.Context(), tools.PrometheusOperator, tools.GatewayAPI); err != nil {
		t.Fatal(err)
	}
	c.apply(endpoint("llm", `{model: {id: Qwen/Qwen3-8B}, recipe: {hardware: MI300X}, monitoring: {enabled: true}, service: {route: {hostname: llm.example.com, gateway: {name: public}}}}`))
	c.expect("llm", "MonitoringReady", "True", "Installed")
	c.ready("llm")
	c.eventually("a route and monitors", soon, func() error {
		if c.get(serviceMonitors, "llm") == nil || c.get(prometheusRules, "llm") == nil || c.get(routes, "llm") == nil {
			return errNotYet
		}
		return nil
	})
	if out, err := c.kubectl("", "delete", "crd", "servicemonitors.monitoring.coreos.com", "prometheusrules.monitoring.coreos.com", "httproutes.gateway.networking.k8s.io"); err != nil {
		t.Fatal(out, err)
	}
	c.expect("llm", "MonitoringReady", "False", "PrometheusOperatorNotInstalled")
	c.ready("llm")
	if out, err := c.kubectl("", "delete", "aimendpoint", "llm", "--timeout=90s"); err != nil {
		t.Fatal(out, err)
	}
	c.eventually("all is gone", soon, func() error {
		if l := c.objectsOf("llm"); len(l) > 0 {
			return fmt.Errorf("there is still an Object %s", l[0].GetName())
		}
		return nil
	})
}

// kedaComposition is the one of the platform, with another autoscaler.
func (c *cluster) kedaComposition() {
	c.t.Helper()
	c.composition("autoscaler", map[string]any{"autoscaling": map[string]any{
		"autoscaler": "KEDA", "prometheusAddress": "http://prometheus.monitoring:9090", "activationQuery": `sum(gateway_pending_requests{namespace="$namespace",name="$name"})`,
	}})
}

// composition like the platform's, with some input, to be chosen by a label
// whose value is the test's namespace.
func (c *cluster) composition(label string, input map[string]any) {
	c.t.Helper()
	all, err := controlplane.ReadFile(root(c.t) + "/compositions/aimendpoint.yaml")
	if err != nil {
		c.t.Fatal(err)
	}
	u := all[0]
	u.SetName("aimendpoints-" + c.namespace)
	u.SetLabels(map[string]string{label: c.namespace})
	steps := u.Object["spec"].(map[string]any)["pipeline"].([]any)
	in := steps[0].(map[string]any)["input"].(map[string]any)
	maps.Copy(in, input)
	if err := c.Apply(context.Background(), u); err != nil {
		c.t.Fatal(err)
	}
}

// An endpoint on another cluster: its workload is over there, and this one only
// knows of it. When it is out of reach, the claim says so, and recovers.
func testSecondCluster(t *testing.T, cp *controlplane.ControlPlane) {
	c := in(t, cp)
	second := controlplane.StartT(t, controlplane.Options{Layer: controlplane.Cluster})
	kubeconfig, err := os.ReadFile(second.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "gpu-east"}, Data: map[string][]byte{"kubeconfig": kubeconfig}}
	if _, err := cp.Kube().CoreV1().Secrets(controlplane.Namespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.apply("apiVersion: kubernetes.crossplane.io/v1alpha1\nkind: ProviderConfig\nmetadata: {name: gpu-east}\nspec: {credentials: {source: Secret, secretRef: {namespace: crossplane-system, name: gpu-east, key: kubeconfig}}}\n")
	c.composition("clusters", map[string]any{"clusters": []any{map[string]any{"providerConfigName": "gpu-east", "inventory": []any{map[string]any{"hardware": "MI300X", "gpusPerNode": int64(8)}}}}})
	selector := "compositionSelector: {matchLabels: {clusters: " + c.namespace + "}}, "
	there := *c
	there.ControlPlane = second
	there.create(c.namespace)

	// Somebody is there already.
	there.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: taken-config}\ndata: {a: b}\n")
	c.apply(endpoint("taken", "{"+selector+"model: {id: Qwen/Qwen3-8B}, providerConfigName: gpu-east}"))
	c.expect("taken", "WorkloadReady", "False", "NameConflict", "cluster gpu-east already has a ConfigMap taken-config")
	if got := str(there.get(configmaps, "taken-config"), "data"); got != `{"a":"b"}` {
		t.Errorf("the stranger's ConfigMap was changed: %s", got)
	}
	if there.get(deployments, "taken") != nil {
		t.Error("there is a Deployment beside the stranger's ConfigMap")
	}

	c.apply(endpoint("llm", "{"+selector+"model: {id: Qwen/Qwen3-8B}, providerConfigName: gpu-east, cache: {enabled: true}, scaling: {minReplicas: 2}}"))
	c.apply(endpoint("lost", "{"+selector+"model: {id: Qwen/Qwen3-8B}, providerConfigName: nowhere}"))
	c.expect("lost", "WorkloadReady", "False", "ApplyFailed", "spec.providerConfigName", "default, gpu-east")
	c.ready("llm")
	if got := str(c.get(endpoints, "llm"), "status", "selectedRecipe", "hardware"); got != "MI300X" {
		t.Errorf("the recipe is for %s, which that cluster does not have", got)
	}
	if c.get(deployments, "llm") != nil {
		t.Error("there is a Deployment here")
	}
	d := there.get(deployments, "llm")
	if got := str(d, "status", "availableReplicas"); got != "2" {
		t.Errorf("%q replicas are available over there", got)
	}
	for _, gvr := range []schema.GroupVersionResource{services, budgets} {
		if there.get(gvr, "llm") == nil {
			t.Errorf("there is no %s over there", gvr.Resource)
		}
	}

	if err := second.KillProcess(controlplane.ProcessAPIServer); err != nil {
		t.Fatal(err)
	}
	// The provider looks again each minute, from version 1.3 on. This one is
	// asked to.
	c.look("llm", "Deployment")
	c.expect("llm", "WorkloadReady", "False", "ApplyFailed", "connection refused")
	c.expect("llm", "Ready", "False", "Waiting")
	if err := second.StartProcess(controlplane.ProcessAPIServer); err != nil {
		t.Fatal(err)
	}
	c.look("llm", "Deployment")
	c.expect("llm", "WorkloadReady", "True", "Available")
	c.ready("llm")
	after := there.get(deployments, "llm")
	if diff := cmp.Diff(d.GetUID(), after.GetUID(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the Deployment was replaced meanwhile: %s", diff)
	}
	if out, err := c.kubectl("", "delete", "aimendpoint", "--all", "--timeout=90s"); err != nil {
		t.Fatal(out, err)
	}
	c.eventually("all is gone over there", soon, func() error {
		if l := there.list(deployments, c.namespace, ""); len(l) > 0 {
			return fmt.Errorf("there is still a Deployment %s", l[0].GetName())
		}
		return nil
	})
}
