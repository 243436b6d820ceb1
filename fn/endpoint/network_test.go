package endpoint

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/object"
)

// platformGateway is what a platform has for routes that name nothing.
func platformGateway(e *Endpoint) {
	e.Platform.Gateway = &v1alpha1.GatewayReference{Name: "public", Namespace: "gateways", SectionName: "https"}
}

// parent of an HTTPRoute, as a Gateway's controller reports on it.
func parent(name string, conditions ...metav1.Condition) gatewayv1.RouteParentStatus {
	return gatewayv1.RouteParentStatus{ParentRef: gatewayv1.ParentReference{Name: gatewayv1.ObjectName(name)}, Conditions: conditions}
}

func routeOf(parents ...gatewayv1.RouteParentStatus) *gatewayv1.HTTPRoute {
	return &gatewayv1.HTTPRoute{Status: gatewayv1.HTTPRouteStatus{RouteStatus: gatewayv1.RouteStatus{Parents: parents}}}
}

func accepted(status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: "Accepted", Status: status, Reason: reason, Message: message}
}

func resolved(status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: "ResolvedRefs", Status: status, Reason: reason, Message: message}
}

// gatewayWith listeners.
func gatewayWith(listeners ...gatewayv1.Listener) *gatewayv1.Gateway {
	return &gatewayv1.Gateway{Spec: gatewayv1.GatewaySpec{Listeners: listeners}}
}

func listener(name string, protocol gatewayv1.ProtocolType, port int32) gatewayv1.Listener {
	return gatewayv1.Listener{Name: gatewayv1.SectionName(name), Protocol: protocol, Port: port}
}

func taken(address string) *networkingv1.Ingress {
	return &networkingv1.Ingress{Status: networkingv1.IngressStatus{LoadBalancer: networkingv1.IngressLoadBalancerStatus{
		Ingress: []networkingv1.IngressLoadBalancerIngress{{IP: address}},
	}}}
}

func TestGateway(t *testing.T) {
	type want struct {
		Namespace, Name, IngressClass string
	}
	cases := map[string]struct {
		reason  string
		spec    string
		changes []func(e *Endpoint)
		want    want
	}{
		"None":            {"Without a route nobody needs one.", "", []func(e *Endpoint){platformGateway}, want{}},
		"Platform":        {"The platform's should be used where the user names none.", `service: {route: {hostname: a.b}}`, []func(e *Endpoint){platformGateway}, want{"gateways", "public", ""}},
		"Own":             {"The user's should go before the platform's.", `service: {route: {hostname: a.b, gateway: {name: g, namespace: other}}}`, []func(e *Endpoint){platformGateway}, want{"other", "g", ""}},
		"OwnNamespace":    {"Without a namespace it should be the endpoint's.", `service: {route: {hostname: a.b, gateway: {name: g}}}`, nil, want{"team-a", "g", ""}},
		"Ingress":         {"An ingress controller of the user's needs no gateway.", `service: {route: {hostname: a.b, ingressClass: nginx}}`, []func(e *Endpoint){platformGateway}, want{"", "", "nginx"}},
		"PlatformIngress": {"The platform may have an ingress controller.", `service: {route: {hostname: a.b}}`, []func(e *Endpoint){func(e *Endpoint) { e.Platform.IngressClass = "haproxy" }}, want{"", "", "haproxy"}},
		"Neither":         {"There may be nothing at all.", `service: {route: {hostname: a.b}}`, nil, want{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, tc.spec, tc.changes...)
			ns, n := e.Gateway()
			if diff := cmp.Diff(tc.want, want{ns, n, e.ingressClass()}); diff != "" {
				t.Errorf("\n%s\nGateway(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestHTTPRoute is about who gets what share of the traffic.
func TestHTTPRoute(t *testing.T) {
	const spec = `{service: {port: 80, route: {hostname: llm.example.org}}, deployment: {canary: {enabled: true, trafficSplit: 25}}}`
	ready := &appsv1.Deployment{Status: appsv1.DeploymentStatus{ReadyReplicas: 1}}
	cases := map[string]struct {
		reason string
		change []func(e *Endpoint)
		live   Live
		want   map[string]int32
	}{
		"Stable": {
			reason: "Without a canary the endpoint should get all.",
			want:   map[string]int32{"chat": 100},
		},
		"CanaryThatWas": {
			reason: "A canary that is on its way out should get nothing.",
			live:   Live{Canary: ready},
			want:   map[string]int32{"chat": 100},
		},
		"CanaryNew": {
			reason: "A canary that is not there yet should get nothing: requests to it would fail.",
			change: []func(e *Endpoint){withCanary(t)},
			want:   map[string]int32{"chat": 100},
		},
		"CanaryLoading": {
			reason: "A canary that loads its model should get nothing: requests to it would fail.",
			change: []func(e *Endpoint){withCanary(t)},
			live:   Live{Canary: &appsv1.Deployment{Status: appsv1.DeploymentStatus{Replicas: 1}}},
			want:   map[string]int32{"chat": 100},
		},
		"CanaryReady": {
			reason: "A canary that serves should get its share.",
			change: []func(e *Endpoint){withCanary(t)},
			live:   Live{Canary: ready},
			want:   map[string]int32{"chat": 75, "chat-canary": 25},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.live.APIs = allAPIs()
			r := chat(t, spec, append([]func(e *Endpoint){platformGateway}, tc.change...)...).httpRoute(tc.live)
			got := map[string]int32{}
			for _, b := range r.Spec.Rules[0].BackendRefs {
				got[string(b.Name)] = *b.Weight
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nhttpRoute(...): -want weights, +got weights:\n%s", tc.reason, diff)
			}
			ref := gatewayv1.ParentReference{
				Group: ptr.To[gatewayv1.Group]("gateway.networking.k8s.io"), Kind: ptr.To[gatewayv1.Kind]("Gateway"),
				Namespace: ptr.To[gatewayv1.Namespace]("gateways"), Name: "public", SectionName: ptr.To[gatewayv1.SectionName]("https"),
			}
			if diff := cmp.Diff([]gatewayv1.ParentReference{ref}, r.Spec.ParentRefs); diff != "" {
				t.Errorf("\nThe platform's gateway should be attached to in full.\nhttpRoute(...): -want, +got:\n%s", diff)
			}
		})
	}
}

// TestServiceSelector makes sure that clients of the Service get to whom they
// should.
func TestServiceSelector(t *testing.T) {
	stable, both := map[string]string{LabelComposite: "chat-x7f2q"}, map[string]string{LabelEndpoint: "chat"}
	earlier := Live{Deployment: &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "earlier"}}}}}
	routed := `{service: {route: {hostname: llm.example.org}}, deployment: {canary: {enabled: true}}}`
	cases := map[string]struct {
		reason  string
		spec    string
		changes []func(e *Endpoint)
		live    Live
		want    map[string]string
	}{
		"Stable":              {"Without a canary it should be the Deployment's pods.", "", nil, Live{}, stable},
		"Live":                {"What a live Deployment selects cannot change.", "", nil, earlier, map[string]string{"app": "earlier"}},
		"Canary":              {"Without a route the Service should be in front of both.", "", []func(e *Endpoint){withCanary(t)}, Live{}, both},
		"CanaryWithIngress":   {"An Ingress leads to the Service, and shares nothing out.", routed, []func(e *Endpoint){withCanary(t), func(e *Endpoint) { e.Platform.IngressClass = "nginx" }}, Live{APIs: allAPIs()}, both},
		"CanaryWithRoute":     {"A route shares the traffic out between two Services.", routed, []func(e *Endpoint){withCanary(t), platformGateway}, Live{APIs: allAPIs()}, stable},
		"CanaryWithoutRoutes": {"A route that cannot be shares nothing out.", routed, []func(e *Endpoint){withCanary(t), platformGateway}, Live{}, both},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, tc.spec, tc.changes...)
			if diff := cmp.Diff(tc.want, e.service(tc.live).Spec.Selector); diff != "" {
				t.Errorf("\n%s\nservice(...): -want selector, +got selector:\n%s", tc.reason, diff)
			}
			if e.Canary == nil {
				return
			}
			if diff := cmp.Diff(map[string]string{labelCanaryOf: "chat-x7f2q"}, e.Canary.service(tc.live).Spec.Selector); diff != "" {
				t.Errorf("\nA canary's own Service should be in front of its pods alone.\nservice(...): -want selector, +got selector:\n%s", diff)
			}
		})
	}
}

func TestNetworkPolicy(t *testing.T) {
	rule := func(from ...networkingv1.NetworkPolicyPeer) networkingv1.NetworkPolicyIngressRule {
		e := chat(t, `security: {networkPolicy: {enabled: true}}`)
		return networkingv1.NetworkPolicyIngressRule{From: from, Ports: e.networkPolicy().Spec.Ingress[0].Ports}
	}
	prometheus := networkingv1.NetworkPolicyPeer{
		NamespaceSelector: &metav1.LabelSelector{},
		PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": "prometheus"}},
	}
	monitoring := networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": "monitoring"}}}
	cases := map[string]struct {
		reason   string
		spec     string
		platform *v1alpha1.Security
		scrape   []networkingv1.NetworkPolicyPeer
		want     []networkingv1.NetworkPolicyIngressRule
	}{
		"Nobody": {
			reason: "A rule without peers would let everybody in.",
			spec:   `security: {networkPolicy: {enabled: true, allowFrom: []}}`,
			want:   []networkingv1.NetworkPolicyIngressRule{rule(prometheus)},
		},
		"Somebody": {
			reason: "Each kind of peer should be let in, and Prometheus.",
			spec:   `security: {networkPolicy: {enabled: true, allowFrom: [{podSelector: {}}, {namespaceSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8}}]}}`,
			want: []networkingv1.NetworkPolicyIngressRule{
				rule(networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{}}, networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{}},
					networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8"}}),
				rule(prometheus),
			},
		},
		"PlatformsPrometheus": {
			reason: "Prometheus should be let in from where the platform runs it.",
			spec:   `security: {networkPolicy: {enabled: true}}`,
			scrape: []networkingv1.NetworkPolicyPeer{monitoring},
			want:   []networkingv1.NetworkPolicyIngressRule{rule(monitoring)},
		},
		"PlatformsPolicy": {
			reason:   "A platform's policy should hold for who has none.",
			platform: &v1alpha1.Security{NetworkPolicy: &v1alpha1.NetworkPolicy{Enabled: ptr.To(true), AllowFrom: []networkingv1.NetworkPolicyPeer{monitoring}}},
			want:     []networkingv1.NetworkPolicyIngressRule{rule(monitoring), rule(prometheus)},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			np := chat(t, tc.spec, func(e *Endpoint) { e.Platform.Security, e.Platform.ScrapeFrom = tc.platform, tc.scrape }).networkPolicy()
			if diff := cmp.Diff(tc.want, np.Spec.Ingress); diff != "" {
				t.Errorf("\n%s\nnetworkPolicy(): -want, +got:\n%s", tc.reason, diff)
			}
			m, err := object.Manifest(np)
			if err != nil {
				t.Fatal(err)
			}
			rules, _ := m["spec"].(map[string]any)["ingress"].([]any)
			for i, r := range tc.want {
				peers, _ := rules[i].(map[string]any)["from"].([]any)
				for j, p := range r.From {
					got, _ := peers[j].(map[string]any)
					_, pods := got["podSelector"]
					_, namespaces := got["namespaceSelector"]
					if pods != (p.PodSelector != nil) || namespaces != (p.NamespaceSelector != nil) {
						t.Errorf("\nAn empty selector selects everything, and none selects nothing: each should stay what it is.\nManifest(...): %v of %+v", got, p)
					}
				}
			}
		})
	}
}

func TestRouteReady(t *testing.T) {
	const (
		url      = "clients reach it at http://llm.example.org"
		pending  = "the controller of Gateway public in namespace gateways has not reported yet"
		route    = `service: {route: {hostname: llm.example.org}}`
		ingress  = `service: {route: {hostname: llm.example.org, ingressClass: nginx}}`
		tls      = `service: {route: {hostname: llm.example.org, ingressClass: nginx, tlsSecretName: llm-tls}}`
		conflict = "Gateway public does not take the route: NotAllowedByListeners: no listener allows routes of namespace team-a"
	)
	gateway := gatewayWith(listener("http", gatewayv1.HTTPProtocolType, 80))
	of := func(l Live) Live {
		l.APIs, l.GatewayKnown = allAPIs(), true
		return l
	}
	platform := []func(e *Endpoint){func(e *Endpoint) {
		e.Platform.Gateway = &v1alpha1.GatewayReference{Name: "public", Namespace: "gateways"}
	}}

	cases := map[string]struct {
		reason  string
		spec    string
		changes []func(e *Endpoint)
		live    Live
		want    Condition
		wantURL string
	}{
		"Disabled": {
			reason: "Without a route nothing is wrong.",
			want:   Condition{OK: true, Reason: "Disabled", Message: "service.route is not set: there is no hostname"},
		},
		"NowhereToGo": {
			reason: "A hostname alone leads nowhere, and what to add should be told.",
			spec:   route,
			want:   Condition{Reason: "NoGateway", Message: "service.route names neither a gateway nor an ingressClass, and the platform has no default: set one"},
		},
		"GatewayAPINotInstalled": {
			reason:  "A cluster without the Gateway API may have another way in.",
			spec:    route,
			changes: platform,
			want: Condition{Reason: "GatewayAPINotInstalled", Message: "service.route needs the Gateway API, which this cluster does not have; " +
				"set service.route.ingressClass, if it has an ingress controller"},
		},
		"NoGateway": {
			reason: "A misspelt Gateway should be told of.",
			spec:   `service: {route: {hostname: llm.example.org, gateway: {name: pubic}}}`,
			live:   of(Live{}),
			want:   Condition{Reason: "NoGateway", Message: "there is no Gateway pubic in namespace team-a; check service.route.gateway"},
		},
		"GatewayNotKnown": {
			reason:  "Where nobody can look for a Gateway, it may well be there.",
			spec:    route,
			changes: platform,
			live:    Live{APIs: allAPIs()},
			want:    Condition{Reason: "Pending", Message: pending},
		},
		"AcceptedByGatewayNotKnown": {
			reason:  "Where nobody can look for a Gateway, its controller can still say that it takes the route.",
			spec:    route,
			changes: platform,
			live:    Live{APIs: allAPIs(), HTTPRoute: routeOf(parent("public", accepted("True", "Accepted", "")))},
			want:    Condition{OK: true, Reason: "Accepted", Message: url},
			wantURL: "http://llm.example.org",
		},
		"New": {
			reason:  "Before a controller has reported nothing is known.",
			spec:    route,
			changes: platform,
			live:    of(Live{Gateway: gateway}),
			want:    Condition{Reason: "Pending", Message: pending},
		},
		"NotReported": {
			reason:  "What another Gateway makes of the route is no matter.",
			spec:    route,
			changes: platform,
			live:    of(Live{Gateway: gateway, HTTPRoute: routeOf(parent("other", accepted("True", "Accepted", "")))}),
			want:    Condition{Reason: "Pending", Message: pending},
		},
		"Accepted": {
			reason:  "A route that is taken should say where it leads from.",
			spec:    route,
			changes: platform,
			live:    of(Live{Gateway: gateway, HTTPRoute: routeOf(parent("public", accepted("True", "Accepted", ""), resolved("True", "ResolvedRefs", "")))}),
			want:    Condition{OK: true, Reason: "Accepted", Message: url},
			wantURL: "http://llm.example.org",
		},
		"NotAccepted": {
			reason:  "The controller's own words say best why it does not take a route.",
			spec:    route,
			changes: platform,
			live: of(Live{Gateway: gateway, HTTPRoute: routeOf(parent("public",
				accepted("False", "NotAllowedByListeners", "no listener allows routes of namespace team-a"), resolved("True", "ResolvedRefs", "")))}),
			want: Condition{Reason: "NotAccepted", Message: conflict},
		},
		"RefsNotResolved": {
			reason:  "A route that is taken and leads nowhere does not lead to the endpoint.",
			spec:    route,
			changes: platform,
			live: of(Live{Gateway: gateway, HTTPRoute: routeOf(parent("public",
				accepted("True", "Accepted", ""), resolved("False", "BackendNotFound", "no Service chat")))}),
			want: Condition{Reason: "NotAccepted", Message: "Gateway public does not take the route: BackendNotFound: no Service chat"},
		},
		"ApplyFailed": {
			reason:  "Why a route cannot be applied should be told.",
			spec:    route,
			changes: platform,
			live:    of(Live{Gateway: gateway, ApplyErrors: map[Role]string{RoleHTTPRoute: "denied"}}),
			want:    Condition{Reason: "ApplyFailed", Message: "cannot apply the HTTPRoute: denied"},
		},
		"CanaryServiceApplyFailed": {
			reason:  "A route needs each of its Services.",
			spec:    route,
			changes: platform,
			live:    of(Live{Gateway: gateway, ApplyErrors: map[Role]string{RoleCanaryService: "quota"}}),
			want:    Condition{Reason: "ApplyFailed", Message: "cannot apply the canary's Service: quota"},
		},
		"IngressNew": {
			reason: "Whether a controller takes an Ingress shows in its address.",
			spec:   ingress,
			live:   Live{Ingress: &networkingv1.Ingress{}},
			want:   Condition{Reason: "Pending", Message: "no ingress controller of class nginx has taken the Ingress yet; check service.route.ingressClass"},
		},
		"IngressTaken": {
			reason:  "An Ingress with an address is taken.",
			spec:    ingress,
			live:    Live{Ingress: taken("192.0.2.1")},
			want:    Condition{OK: true, Reason: "Accepted", Message: url},
			wantURL: "http://llm.example.org",
		},
		"IngressTLS": {
			reason:  "An Ingress with a certificate is reached by https.",
			spec:    tls,
			live:    Live{Ingress: taken("192.0.2.1")},
			want:    Condition{OK: true, Reason: "Accepted", Message: "clients reach it at https://llm.example.org"},
			wantURL: "https://llm.example.org",
		},
		"IngressApplyFailed": {
			reason: "Why an Ingress cannot be applied should be told.",
			spec:   ingress,
			live:   Live{ApplyErrors: map[Role]string{RoleIngress: "host is already defined"}},
			want:   Condition{Reason: "ApplyFailed", Message: "cannot apply the Ingress: host is already defined"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.want.Type = v1alpha1.ConditionRouteReady
			e := chat(t, tc.spec, tc.changes...)
			if diff := cmp.Diff(tc.want, e.Conditions(tc.live, nil)[4]); diff != "" {
				t.Errorf("\n%s\nConditions(...): -want, +got:\n%s", tc.reason, diff)
			}
			internal := "http://chat.team-a.svc.cluster.local:8000"
			want := v1alpha1.AIMEndpointStatus{URL: internal, ServedModelName: testModel, Endpoints: &v1alpha1.Endpoints{Internal: internal, External: tc.wantURL}}
			if tc.wantURL != "" {
				want.URL = tc.wantURL
			}
			if diff := cmp.Diff(want, e.Status(tc.live)); diff != "" {
				t.Errorf("\nThe status should have the hostname once, and only if, it leads to the endpoint.\nStatus(...): -want, +got:\n%s", diff)
			}
		})
	}
}

func TestGatewayURL(t *testing.T) {
	http, https := listener("http", gatewayv1.HTTPProtocolType, 80), listener("https", gatewayv1.HTTPSProtocolType, 443)
	odd, oddTLS := listener("odd", gatewayv1.HTTPProtocolType, 8080), listener("odd-tls", gatewayv1.HTTPSProtocolType, 8443)
	cases := map[string]struct {
		reason  string
		section string
		gateway *gatewayv1.Gateway
		want    string
	}{
		"NotKnown":    {"Of a Gateway that cannot be looked at nothing should be made up.", "", nil, "http://llm.example.org"},
		"HTTP":        {"The usual port need not be there.", "", gatewayWith(http), "http://llm.example.org"},
		"HTTPS":       {"The usual port need not be there.", "", gatewayWith(https), "https://llm.example.org"},
		"Both":        {"TLS should go first, wherever it is.", "", gatewayWith(http, https), "https://llm.example.org"},
		"BothSwapped": {"TLS should go first, wherever it is.", "", gatewayWith(https, http), "https://llm.example.org"},
		"Several":     {"Of several of a kind the first should do.", "", gatewayWith(odd, http), "http://llm.example.org:8080"},
		"OddPort":     {"Any other port has to be there.", "", gatewayWith(odd), "http://llm.example.org:8080"},
		"OddTLSPort":  {"Any other port has to be there.", "", gatewayWith(http, oddTLS), "https://llm.example.org:8443"},
		"Section":     {"The listener that the route is attached to should count alone.", "odd", gatewayWith(https, http, odd), "http://llm.example.org:8080"},
		"OtherKinds":  {"A listener of another protocol is not for us.", "", gatewayWith(listener("tcp", gatewayv1.TCPProtocolType, 9000), http), "http://llm.example.org"},
		"NoListeners": {"A Gateway may have no listeners yet.", "", gatewayWith(), "http://llm.example.org"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := chat(t, `service: {route: {hostname: llm.example.org, gateway: {name: public}}}`)
			e.Spec.Service.Route.Gateway.SectionName = v1alpha1.ObjectName(tc.section)
			if diff := cmp.Diff(tc.want, e.gatewayURL(tc.gateway)); diff != "" {
				t.Errorf("\n%s\ngatewayURL(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestRouteBeforeLoadBalancer makes sure that of two ways in clients are told of
// the one with a name.
func TestRouteBeforeLoadBalancer(t *testing.T) {
	e := chat(t, `service: {type: LoadBalancer, port: 80, route: {hostname: llm.example.org, ingressClass: nginx}}`)
	got := e.Status(Live{Ingress: taken("192.0.2.1"), Service: &corev1.Service{
		Spec:   corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
		Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "192.0.2.7"}}}},
	}})
	want := v1alpha1.AIMEndpointStatus{URL: "http://llm.example.org", ServedModelName: testModel, Endpoints: &v1alpha1.Endpoints{
		Internal: "http://chat.team-a.svc.cluster.local:80", External: "http://llm.example.org", LoadBalancer: "http://192.0.2.7:80",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("\nClients should be told of the hostname.\nStatus(...): -want, +got:\n%s", diff)
	}
}
