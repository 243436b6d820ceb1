package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/resource"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/aim-engine/function-aim/fn/endpoint"
)

// twoClusters is a platform with another cluster than Crossplane's.
const twoClusters = `{"clusters": [
	{"providerConfigName": "paris", "inventory": [{"hardware": "MI355X", "gpusPerNode": 8}], "apis": ["ServiceMonitor", "HTTPRoute"]},
	{"providerConfigName": "oslo"}
]}`

const inParis = `{"spec": {"providerConfigName": "paris", "recipe": {"hardware": null}}}`

// remoteWorld is one in which an endpoint runs on another cluster.
func remoteWorld(tb testing.TB, p ...string) *world {
	tb.Helper()
	w := newWorld(append([]string{inParis}, p...)...)
	w.input = resource.MustStructJSON(twoClusters)
	// They look first.
	w.provide(tb, w.reconcile(tb), notThereAt(w.reconcile(tb)))
	for range 3 {
		w.provide(tb, w.reconcile(tb), nil)
	}
	return w
}

// notThere is a merge patch of an Object that found nothing to look at.
const notThere = `{"status": {"atProvider": null, "conditions": [
	{"type": "Synced", "status": "False", "reason": "ReconcileError", "message": "observe failed: external resource does not exist"}
]}}`

// notThereAt all of the Objects that a response desires.
func notThereAt(rsp *fnv1.RunFunctionResponse) map[string]string {
	out := map[string]string{}
	for n := range rsp.GetDesired().GetResources() {
		out[n] = notThere
	}
	return out
}

// policies of the Objects that a response desires: what they may do.
func policies(rsp *fnv1.RunFunctionResponse) map[string]string {
	out := map[string]string{}
	for n, r := range rsp.GetDesired().GetResources() {
		ps := []string{}
		for _, p := range at(r.GetResource(), "spec", "managementPolicies").GetListValue().GetValues() {
			ps = append(ps, p.GetStringValue())
		}
		out[n] = strings.Join(ps, ",")
	}
	return out
}

// clusters that the Objects of a response are for.
func clusters(rsp *fnv1.RunFunctionResponse) []string {
	out := map[string]bool{}
	for _, r := range rsp.GetDesired().GetResources() {
		out[at(r.GetResource(), "spec", "providerConfigRef", "name").GetStringValue()] = true
	}
	return slices.Sorted(maps.Keys(out))
}

func condition(rsp *fnv1.RunFunctionResponse, typ string) string {
	for _, c := range digestOf(rsp).Conditions {
		if strings.HasPrefix(c, typ+"=") {
			return c
		}
	}
	return ""
}

// asksForRecipesOnly makes sure that Crossplane is asked for recipes only: it cannot
// look into another cluster.
func asksForRecipesOnly(t *testing.T, rsp *fnv1.RunFunctionResponse) {
	t.Helper()
	for k, s := range rsp.GetRequirements().GetResources() {
		if !strings.HasPrefix(k, "recipes-") {
			t.Errorf("Crossplane cannot look into another cluster: %s asks for %v", k, s)
		}
	}
}

// TestPlace is about where an endpoint runs.
func TestPlace(t *testing.T) {
	type want struct {
		Clusters []string
		Hardware string
		Workload string
	}
	starting := "WorkloadReady=FALSE Starting: 0 of 1 replicas are available"
	cases := map[string]struct {
		reason string
		spec   string
		input  string
		want   want
	}{
		"Default": {
			reason: "Without a wish it is the platform's cluster.",
			input:  `{"providerConfigName": "home"}`,
			want:   want{[]string{"home"}, "MI300X", starting},
		},
		"DefaultByName": {
			reason: "The platform's own cluster has a name, too.",
			spec:   `{"spec": {"providerConfigName": "home"}}`,
			input:  `{"providerConfigName": "home"}`,
			want:   want{[]string{"home"}, "MI300X", starting},
		},
		"Chosen": {
			reason: "A cluster has its own hardware, and none of the platform's other clusters.",
			spec:   inParis,
			input:  strings.Replace(twoClusters, `{"clusters"`, `{"inventory": [{"hardware": "MI300X", "gpusPerNode": 8}], "clusters"`, 1),
			want:   want{[]string{"paris"}, "MI355X", starting},
		},
		"ChosenWithoutInventory": {
			reason: "Of a cluster without an inventory the platform's holds.",
			spec:   `{"spec": {"providerConfigName": "oslo", "recipe": {"hardware": null}}}`,
			input:  strings.Replace(twoClusters, `{"clusters"`, `{"inventory": [{"hardware": "MI300X", "gpusPerNode": 8}], "clusters"`, 1),
			want:   want{[]string{"oslo"}, "MI300X", starting},
		},
		"NotOffered": {
			reason: "A cluster that is not offered should be told of, with those that are.",
			spec:   `{"spec": {"providerConfigName": "lima"}}`,
			input:  twoClusters,
			want: want{
				nil, "MI300X",
				`WorkloadReady=FALSE ApplyFailed: spec.providerConfigName: there is no cluster "lima" for endpoints; set it to one of default, oslo, paris`,
			},
		},
		"DefaultIsRemote": {
			reason: "An entry with the name of the default describes it.",
			input:  `{"providerConfigName": "far", "clusters": [{"providerConfigName": "far"}]}`,
			want:   want{[]string{"far"}, "MI300X", starting},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(patches(tc.spec)...)
			w.input = resource.MustStructJSON(tc.input)
			rsp := w.reconcile(t)
			got := want{clusters(rsp), at(statusOf(rsp), "selectedRecipe", "hardware").GetStringValue(), condition(rsp, "WorkloadReady")}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestPlaceStays makes sure that what runs is not moved: what was made on
// another cluster would stay behind.
func TestPlaceStays(t *testing.T) {
	cases := map[string]struct {
		reason string
		world  func(t *testing.T) *world
		input  string
		want   string
	}{
		"NewDefault": {
			reason: "A new default is for new endpoints.",
			world:  func(t *testing.T) *world { t.Helper(); return runningWorld(t) },
			input:  `{"providerConfigName": "new"}`,
			want:   "default",
		},
		"NotOfferedAnyMore": {
			reason: "A cluster that is not offered any more still has what runs there.",
			world:  func(t *testing.T) *world { t.Helper(); return remoteWorld(t) },
			input:  `{"clusters": [{"providerConfigName": "oslo"}]}`,
			want:   "paris",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := tc.world(t)
			before := w.reconcile(t)
			w.input = resource.MustStructJSON(tc.input)
			after := w.reconcile(t)
			if diff := cmp.Diff([]string{tc.want}, clusters(after)); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want clusters, +got clusters:\n%s", tc.reason, diff)
			}
			for n, r := range before.GetDesired().GetResources() {
				if diff := cmp.Diff(at(r.GetResource(), "spec"), at(composed(after, n), "spec"), protocmp.Transform()); diff != "" {
					t.Errorf("%s\n%s must stay as it is: -before, +after:\n%s", tc.reason, n, diff)
				}
			}
			if got := condition(after, "WorkloadReady"); !strings.HasPrefix(got, "WorkloadReady=TRUE") {
				t.Errorf("%s\nf.RunFunction(...): got %s", tc.reason, got)
			}
		})
	}
}

// TestProbe is about a cluster that only its Objects can look into.
func TestProbe(t *testing.T) {
	cached := `{"spec": {"cache": {"enabled": true}, "scaling": {"minReplicas": 2}}}`
	w := newWorld(inParis, cached)
	w.input = resource.MustStructJSON(twoClusters)
	expect := func(why string, rsp *fnv1.RunFunctionResponse, want map[string]string) {
		t.Helper()
		if diff := cmp.Diff(want, policies(rsp)); diff != "" {
			t.Errorf("%s\nf.RunFunction(...): -want policies, +got policies:\n%s", why, diff)
		}
	}
	all := map[string]string{nameConfig: "", nameCache: "Observe,Create,Update", nameDeployment: "", nameService: "", "disruptionbudget-object": ""}
	looking := map[string]string{}
	for n := range all {
		looking[n] = "Observe"
	}

	rsp := w.reconcile(t)
	expect("Nobody knows whether the names are free: all may only look.", rsp, looking)
	asksForRecipesOnly(t, rsp)
	if diff := cmp.Diff("WorkloadReady=FALSE Starting: 0 of 2 replicas are available", condition(rsp, "WorkloadReady")); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	name := at(composed(rsp, nameCache), "metadata", "name").GetStringValue()
	if !strings.HasPrefix(name, "aim-cache-team-a-chat-") {
		t.Errorf("A volume that may be retained needs an Object of the same name from its first day: got %q", name)
	}

	w.provide(t, rsp, map[string]string{
		nameConfig: gone, nameCache: gone, nameDeployment: gone, nameService: gone, "disruptionbudget-object": gone,
	})
	expect("They have not looked yet.", w.reconcile(t), looking)

	w.provide(t, w.reconcile(t), map[string]string{
		nameConfig: notThere, nameCache: notThere, nameDeployment: gone, nameService: notSynced("cannot connect to cluster"), "disruptionbudget-object": notThere,
	})
	rsp = w.reconcile(t)
	expect("Half an endpoint is of no use. That a cluster cannot be reached is no answer.", rsp, looking)
	if diff := cmp.Diff("ServiceReady=FALSE ApplyFailed: cannot apply the Service: cannot connect to cluster", condition(rsp, "ServiceReady")); diff != "" {
		t.Errorf("Why it is not known should be told: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(name, at(composed(rsp, nameCache), "metadata", "name").GetStringValue()); diff != "" {
		t.Errorf("The cache's Object should keep its name: -want, +got:\n%s", diff)
	}

	w.provide(t, rsp, notThereAt(rsp))
	expect("All names are free.", w.reconcile(t), all)
	// The Deployment is there, with one replica, and then they are two.
	for range 2 {
		w.provide(t, w.reconcile(t), nil)
	}
	scaled := maps.Clone(all)
	scaled[nameReplicas] = "Observe,Update"
	rsp = w.reconcile(t)
	expect("What is made is ours, and nobody looks again.", rsp, scaled)
	if diff := cmp.Diff("TRUE", digestOf(rsp).Ready); diff != "" {
		t.Errorf("It serves: -want ready, +got ready:\n%s\n%v", diff, digestOf(rsp).Conditions)
	}
}

// TestProbeConflict makes sure that nothing of anybody else is taken over on
// another cluster either.
func TestProbeConflict(t *testing.T) {
	theirs := live(`{"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm", "aim.engine.amd.com/endpoint": null, "aim.engine.amd.com/composite": null}}}`)
	earlier := live(`{"metadata": {"labels": {"aim.engine.amd.com/composite": "chat-earlier"}}}`)
	cases := map[string]struct {
		reason string
		seen   string
		name   string
		want   string
		policy string
	}{
		"Deployment": {
			reason: "A Deployment of that name is not ours.",
			name:   nameDeployment, seen: theirs, policy: "Observe",
			want: "WorkloadReady=FALSE NameConflict: cluster paris already has a Deployment chat in namespace team-a that is not of this endpoint; delete it, or give the endpoint another name",
		},
		"Service": {
			reason: "A Service of that name is not ours.",
			name:   nameService, seen: theirs, policy: "Observe",
			want: "WorkloadReady=FALSE NameConflict: cluster paris already has a Service chat in namespace team-a that is not of this endpoint; delete it, or give the endpoint another name",
		},
		"AnotherEndpoints": {
			reason: "A Deployment of an endpoint that is no more is not ours.",
			name:   nameDeployment, seen: earlier, policy: "Observe",
			want: "WorkloadReady=FALSE NameConflict: cluster paris already has a Deployment chat in namespace team-a that is not of this endpoint; delete it, or give the endpoint another name",
		},
		"StrangersVolume": {
			reason: "A volume of that name is not ours to write to.",
			name:   nameCache, seen: theirs, policy: "Observe",
			want: "WorkloadReady=FALSE NameConflict: cluster paris already has a PersistentVolumeClaim chat-cache in namespace team-a that is not of this endpoint; delete it, or give the endpoint another name",
		},
		"RetainedVolume": {
			reason: "A volume that was retained for an endpoint of this name is what a new one should use.",
			name:   nameCache, seen: earlier, policy: "Observe,Create,Update",
			want: "WorkloadReady=FALSE Starting: 0 of 1 replicas are available",
		},
		"OurOwn": {
			reason: "What has our labels is ours: Crossplane may have lost the Object.",
			name:   nameDeployment, seen: live(`{}`), policy: "",
			want: "WorkloadReady=FALSE Starting: 0 of 1 replicas are available",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(inParis, `{"spec": {"cache": {"enabled": true}}}`)
			w.input = resource.MustStructJSON(twoClusters)
			rsp := w.reconcile(t)
			seen := notThereAt(rsp)
			seen[tc.name] = tc.seen
			w.provide(t, rsp, seen)
			rsp = w.reconcile(t)
			if diff := cmp.Diff(tc.want, condition(rsp, "WorkloadReady")); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.policy, policies(rsp)[tc.name]); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want policy, +got policy:\n%s", tc.reason, diff)
			}
			if tc.policy != "Observe" {
				return
			}
			if v := at(statusOf(rsp), "url"); v != nil {
				t.Errorf("%s\nThe status speaks of somebody else's: %v", tc.reason, v)
			}
			// Its owner deletes it.
			w.provide(t, rsp, notThereAt(rsp))
			if got := policies(w.reconcile(t))[tc.name]; got == "Observe" {
				t.Errorf("%s\nA name that has become free should be used: got %q", tc.reason, got)
			}
		})
	}
}

// TestRemoteAPIs makes sure that of another cluster that is rendered which the
// platform says it has, and that Crossplane is asked nothing about it.
func TestRemoteAPIs(t *testing.T) {
	w := remoteWorld(t, `{"spec": {"monitoring": {"enabled": true, "grafana": {"enabled": false}}, "service": {"route": {"hostname": "llm.example.org", "gateway": {"name": "public"}}}}}`)
	rsp := w.reconcile(t)
	want := []string{nameConfig, nameDeployment, nameHTTPRoute, nameService, nameServiceMonitor}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(rsp.GetDesired().GetResources()))); diff != "" {
		t.Errorf("-want resources, +got resources:\n%s", diff)
	}
	asksForRecipesOnly(t, rsp)
	wantConditions := []string{
		"MonitoringReady=FALSE PrometheusOperatorNotInstalled: this cluster has no PrometheusRule, which the Prometheus operator brings: install it, or set monitoring.prometheus.enabled to false",
		"RouteReady=FALSE Pending: the controller of Gateway public in namespace team-a has not reported yet",
	}
	if diff := cmp.Diff(wantConditions, []string{condition(rsp, "MonitoringReady"), condition(rsp, "RouteReady")}); diff != "" {
		t.Errorf("-want conditions, +got conditions:\n%s", diff)
	}
	if diff := cmp.Diff("TRUE", digestOf(rsp).Ready); diff != "" {
		t.Errorf("What is optional is optional: -want ready, +got ready:\n%s", diff)
	}
}

// TestAPIs is about kinds that a cluster may have or not.
func TestAPIs(t *testing.T) {
	monitored := `{"spec": {"monitoring": {"enabled": true, "prometheus": {"enabled": true}, "grafana": {"enabled": false}}}}`
	defined := func(a endpoint.API, patches ...string) *structpb.Struct { return merged(definition(a), patches...) }
	missing := "MonitoringReady=FALSE PrometheusOperatorNotInstalled: this cluster has no ServiceMonitor and no PrometheusRule, which the Prometheus operator brings: " +
		"install it, or set monitoring.prometheus.enabled to false"
	noMonitor := "MonitoringReady=FALSE PrometheusOperatorNotInstalled: this cluster has no ServiceMonitor, which the Prometheus operator brings: " +
		"install it, or set monitoring.prometheus.enabled to false"
	cases := map[string]struct {
		reason  string
		cluster []*structpb.Struct
		old     bool
		want    []string
		wantWhy string
	}{
		"None": {reason: "What is not there is not rendered: an Object of an unknown kind could not be deleted.", wantWhy: missing},
		"Both": {
			reason:  "What is there is rendered.",
			cluster: []*structpb.Struct{defined(endpoint.APIServiceMonitor), defined(endpoint.APIPrometheusRule)},
			want:    []string{"alerts-object", "servicemonitor-object"},
			wantWhy: "MonitoringReady=TRUE Installed: it has a ServiceMonitor and a PrometheusRule",
		},
		"BothOnOldCrossplane": {
			reason:  "Definitions are cluster scoped, so that Crossplane 1.20 can get them by name, too.",
			cluster: []*structpb.Struct{defined(endpoint.APIServiceMonitor), defined(endpoint.APIPrometheusRule)}, old: true,
			want:    []string{"alerts-object", "servicemonitor-object"},
			wantWhy: "MonitoringReady=TRUE Installed: it has a ServiceMonitor and a PrometheusRule",
		},
		"OtherVersion": {
			reason: "A definition without the version that we use is none.",
			cluster: []*structpb.Struct{
				defined(endpoint.APIServiceMonitor, `{"spec": {"versions": [{"name": "v1alpha1", "served": true}]}}`), defined(endpoint.APIPrometheusRule),
			},
			want: []string{"alerts-object"}, wantWhy: noMonitor,
		},
		"NotServed": {
			reason: "A version that is not served is none.",
			cluster: []*structpb.Struct{
				defined(endpoint.APIServiceMonitor, `{"spec": {"versions": [{"name": "v1", "served": false}]}}`), defined(endpoint.APIPrometheusRule),
			},
			want: []string{"alerts-object"}, wantWhy: noMonitor,
		},
		"Terminating": {
			reason: "A definition that is being deleted will be none.",
			cluster: []*structpb.Struct{
				defined(endpoint.APIServiceMonitor, `{"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}`), defined(endpoint.APIPrometheusRule),
			},
			want: []string{"alerts-object"}, wantWhy: noMonitor,
		},
	}
	optional := func(rsp *fnv1.RunFunctionResponse) []string {
		var out []string
		for _, n := range slices.Sorted(maps.Keys(rsp.GetDesired().GetResources())) {
			if n == "alerts-object" || n == "servicemonitor-object" {
				out = append(out, n)
			}
		}
		return out
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(monitored)
			w.cluster, w.old = tc.cluster, tc.old
			rsp := w.reconcile(t)
			if diff := cmp.Diff(tc.want, optional(rsp)); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want resources, +got resources:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.wantWhy, condition(rsp, "MonitoringReady")); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
			// Absent or not, the endpoint becomes ready.
			for range 3 {
				w.provide(t, w.reconcile(t), nil)
			}
			if diff := cmp.Diff("TRUE", digestOf(w.reconcile(t)).Ready); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want ready, +got ready:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestAPIVanishes makes sure that an Object of a kind that is no more can be
// deleted: it lets go of its target first.
func TestAPIVanishes(t *testing.T) {
	w := newWorld(`{"spec": {"monitoring": {"enabled": true, "grafana": {"enabled": false}}}}`)
	w.cluster = []*structpb.Struct{definition(endpoint.APIServiceMonitor), definition(endpoint.APIPrometheusRule)}
	for range 3 {
		w.provide(t, w.reconcile(t), nil)
	}
	defined := w.cluster
	w.cluster = defined[1:]
	step := func(why, want string, there bool, seen map[string]string) {
		t.Helper()
		rsp := w.reconcile(t)
		got, ok := policies(rsp)[nameServiceMonitor]
		if got != want || ok != there {
			t.Errorf("%s\nf.RunFunction(...): want %q, %t, got %q, %t", why, want, there, got, ok)
		}
		if p, ok := policies(rsp)["alerts-object"]; !ok || p != "" {
			t.Errorf("%s\nf.RunFunction(...): the PrometheusRule is affected, too: %q", why, p)
		}
		w.provide(t, rsp, seen)
	}
	step("It may only look from now on: whoever only looks deletes nothing.", "Observe", true,
		map[string]string{nameServiceMonitor: notSynced(`cannot get object: no matches for kind "ServiceMonitor" in version "monitoring.coreos.com/v1"`)})
	step("An Object that only looks can go.", "", false, nil)
	step("It is gone.", "", false, nil)
	w.cluster = defined
	step("The kind is back.", "", true, nil)
}

// TestGatewayOf makes sure that a Gateway is looked at where that can be.
func TestGatewayOf(t *testing.T) {
	const url = "https://llm.example.org:8443"
	routed := `{"spec": {"service": {"route": {"hostname": "llm.example.org", "gateway": {"name": "public", "namespace": "gateways"}}}}}`
	gateway := resource.MustStructJSON(`{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "public", "namespace": "gateways"},
		"spec": {"gatewayClassName": "c", "listeners": [{"name": "https", "port": 8443, "protocol": "HTTPS"}]}
	}`)
	accepted := map[string]string{nameHTTPRoute: live(`{"status": {"parents": [{
		"parentRef": {"name": "public", "namespace": "gateways"}, "controllerName": "c",
		"conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
	}]}}`)}
	type want struct {
		Route, URL, Connection string
	}
	internal := "http://chat.team-a.svc.cluster.local:8000"
	cases := map[string]struct {
		reason  string
		cluster []*structpb.Struct
		old     bool
		seen    map[string]string
		want    want
	}{
		"Accepted": {
			reason:  "Clients should be told of the hostname, with the scheme and the port of the Gateway's listener.",
			cluster: []*structpb.Struct{definition(endpoint.APIHTTPRoute), gateway}, seen: accepted,
			want: want{"RouteReady=TRUE Accepted: clients reach it at " + url, url, url},
		},
		"Pending": {
			reason:  "Before the Gateway takes the route the hostname leads nowhere.",
			cluster: []*structpb.Struct{definition(endpoint.APIHTTPRoute), gateway},
			want:    want{"RouteReady=FALSE Pending: the controller of Gateway public in namespace gateways has not reported yet", internal, internal},
		},
		"NoGateway": {
			reason:  "A Gateway that is not there should be told of.",
			cluster: []*structpb.Struct{definition(endpoint.APIHTTPRoute)},
			want:    want{"RouteReady=FALSE NoGateway: there is no Gateway public in namespace gateways; check service.route.gateway", internal, internal},
		},
		"NoGatewayAPI": {
			reason:  "A cluster may have no Gateway API.",
			cluster: []*structpb.Struct{gateway},
			want: want{
				"RouteReady=FALSE GatewayAPINotInstalled: service.route needs the Gateway API, which this cluster does not have; " +
					"set service.route.ingressClass, if it has an ingress controller", internal, internal,
			},
		},
		"OldCrossplane": {
			reason:  "Crossplane 1.20 cannot look for a Gateway, which is no reason to say that there is none.",
			cluster: []*structpb.Struct{definition(endpoint.APIHTTPRoute), gateway}, old: true,
			want: want{"RouteReady=FALSE Pending: the controller of Gateway public in namespace gateways has not reported yet", internal, internal},
		},
		"AcceptedOnOldCrossplane": {
			reason:  "The route's own status tells that it is taken.",
			cluster: []*structpb.Struct{definition(endpoint.APIHTTPRoute), gateway}, old: true, seen: accepted,
			want: want{"RouteReady=TRUE Accepted: clients reach it at http://llm.example.org", "http://llm.example.org", "http://llm.example.org"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(routed)
			w.cluster, w.old = tc.cluster, tc.old
			for range 3 {
				w.provide(t, w.reconcile(t), tc.seen)
			}
			rsp := w.reconcile(t)
			got := want{condition(rsp, "RouteReady"), at(statusOf(rsp), "url").GetStringValue(), digestOf(rsp).Connection["url"]}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff("TRUE", digestOf(rsp).Ready); diff != "" {
				t.Errorf("%s\nA route gates nothing: -want ready, +got ready:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestAPIKey follows the key of an API from its Secret to the endpoint's
// connection details.
func TestAPIKey(t *testing.T) {
	const (
		keyed    = `{"spec": {"security": {"apiKeySecretRef": {"name": "keys", "key": "chat"}}}}`
		written  = `{"spec": {"writeConnectionSecretToRef": {"namespace": "crossplane-system", "name": "chat-conn"}}}`
		thesecrt = "s3cr3t"
	)
	cases := map[string]struct {
		reason string
		spec   []string
		want   map[string]any
	}{
		"Published": {
			reason: "The provider should read the key, and publish it where the composite's connection details are.",
			spec:   []string{keyed, written},
			want: map[string]any{
				"managementPolicies": []any{"Observe"},
				"providerConfigRef":  map[string]any{"name": "default"},
				"readiness":          map[string]any{"policy": "SuccessfulCreate"},
				"connectionDetails": []any{map[string]any{
					"apiVersion": "v1", "kind": "Secret", "namespace": "team-a", "name": "keys", "fieldPath": "data[chat]", "toConnectionSecretKey": "apiKey",
				}},
				"writeConnectionSecretToRef": map[string]any{"namespace": "crossplane-system", "name": "aim-apikey-team-a-chat-a106d85fcb35ce7b"},
				"forProvider": map[string]any{"manifest": map[string]any{
					"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "chat-config", "namespace": "team-a"},
				}},
			},
		},
		"NobodyAsked": {
			reason: "Who gets no connection details needs no copy of the key.",
			spec:   []string{keyed},
		},
		"NoKey": {
			reason: "Without a key there is none to publish.",
			spec:   []string{written},
		},
		"Namespaced": {
			reason: "A namespaced composite has no connection details of its own.",
			spec:   []string{xrNamespaced, keyed},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := runningWorld(t, tc.spec...)
			rsp := w.reconcile(t)
			var got map[string]any
			if o := composed(rsp, nameAPIKey); o != nil {
				got = at(o, "spec").GetStructValue().AsMap()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff("TRUE", digestOf(rsp).Ready); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want ready, +got ready:\n%s", tc.reason, diff)
			}
			if tc.want == nil {
				return
			}
			w.observed[nameAPIKey].ConnectionDetails = map[string][]byte{"apiKey": []byte(thesecrt)}
			rsp = w.reconcile(t)
			want := connection()
			want["apiKey"] = thesecrt
			if diff := cmp.Diff(want, digestOf(rsp).Connection); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want connection details, +got connection details:\n%s", tc.reason, diff)
			}
			rsp.Desired.Composite.ConnectionDetails = nil
			if s := fmt.Sprint(rsp); strings.Contains(s, thesecrt) {
				t.Errorf("%s\nThe key is in more than the connection details:\n%s", tc.reason, s)
			}
		})
	}
}

// TestReferences is about what an endpoint's pods refer to, and must be there.
func TestReferences(t *testing.T) {
	object := func(apiVersion, kind, namespace, name string) *structpb.Struct {
		return mustStruct(t, map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"namespace": namespace, "name": name}})
	}
	class := object("scheduling.k8s.io/v1", "PriorityClass", "", "high")
	sandbox := object("node.k8s.io/v1", "RuntimeClass", "", "kata")
	account := object("v1", "ServiceAccount", "team-a", "llm")
	refers := `{"spec": {"deployment": {"priorityClassName": "high", "runtimeClassName": "kata"}, "security": {"serviceAccount": {"name": "llm"}}}}`
	const (
		starting = "WorkloadReady=FALSE Starting: 0 of 1 replicas are available"
		until    = "; until then all stays as it is"
		failed   = "WorkloadReady=FALSE ApplyFailed: "
		noClass  = "spec.deployment.priorityClassName: there is no PriorityClass high; create it, or name another"
		noRun    = "spec.deployment.runtimeClassName: there is no RuntimeClass kata; create it, or name another"
		noUser   = "spec.security.serviceAccount.name: there is no ServiceAccount llm; create it, or name another"
	)
	cases := map[string]struct {
		reason  string
		spec    []string
		cluster []*structpb.Struct
		input   string
		old     bool
		want    string
	}{
		"AllThere": {
			reason: "What is there can be referred to.",
			spec:   []string{refers}, cluster: []*structpb.Struct{class, sandbox, account},
			want: starting,
		},
		"NoneThere": {
			reason: "Without them no pod could be made, and those that run would have been stopped for nothing.",
			spec:   []string{refers},
			want:   failed + noClass + "; " + noRun + "; " + noUser + until,
		},
		"AccountOfAnotherNamespace": {
			reason: "An account of another namespace is another.",
			spec:   []string{refers}, cluster: []*structpb.Struct{class, sandbox, object("v1", "ServiceAccount", "team-b", "llm")},
			want: failed + noUser + until,
		},
		"AccountOfThePlatform": {
			reason: "What the platform names has to be there, too; it is told who named it.",
			input:  `{"security": {"serviceAccount": {"name": "llm"}}}`,
			want:   failed + "security.serviceAccount.name in the input of the Composition, unless spec.security.serviceAccount is set: there is no ServiceAccount llm; create it, or name another" + until,
		},
		"AccountInsteadOfThePlatforms": {
			reason: "The endpoint's own goes first.",
			input:  `{"security": {"serviceAccount": {"name": "other"}}}`, spec: []string{refers}, cluster: []*structpb.Struct{class, sandbox, account},
			want: starting,
		},
		"AccountThatIsMade": {
			reason: "What is made need not be there.",
			spec:   []string{`{"spec": {"security": {"serviceAccount": {"create": true, "name": "llm"}}}}`},
			want:   starting,
		},
		"OldCrossplane": {
			reason: "Crossplane 1.20 can only look for what is cluster scoped.",
			spec:   []string{refers}, old: true,
			want: failed + noClass + "; " + noRun + until,
		},
		"Remote": {
			reason: "Nobody can look into another cluster.",
			spec:   []string{refers, inParis}, input: twoClusters,
			want: starting,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(tc.spec...)
			w.cluster, w.old = tc.cluster, tc.old
			if tc.input != "" {
				w.input = resource.MustStructJSON(tc.input)
			}
			if diff := cmp.Diff(tc.want, condition(w.reconcile(t), "WorkloadReady")); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
