package endpoint

import (
	"cmp"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

// service in front of the pods. During a canary that no route leads to, it is
// in front of the canary's, too: each pod gets its share of the connections.
func (e Endpoint) service(live Live) *corev1.Service {
	s := e.Spec.Service
	role, selector := RoleService, e.Selector(live)
	switch {
	case e.canary:
		role, selector = RoleCanaryService, e.selector()
	case e.Canary != nil && !e.weighted(live):
		selector = e.allPods()
	}
	svc := &corev1.Service{ObjectMeta: e.meta(role), Spec: corev1.ServiceSpec{
		Type:     corev1.ServiceTypeClusterIP,
		Selector: selector,
		Ports: []corev1.ServicePort{{
			Name:     portName,
			Protocol: corev1.ProtocolTCP,
			Port:     *s.Port,
			// By name, since a canary's engine may listen on another port.
			TargetPort: intstr.FromString(portName),
		}},
	}}
	if !e.canary {
		svc.Spec.Type = corev1.ServiceType(s.Type)
		if svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
			svc.Spec.LoadBalancerIP = s.LoadBalancerIP
		}
		for k, v := range s.Annotations {
			if svc.Annotations == nil {
				svc.Annotations = map[string]string{}
			}
			svc.Annotations[k] = string(v)
		}
	}
	svc.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Service"))
	return svc
}

// gateway that a route is attached to; nil if there is none.
func (e Endpoint) gateway() *v1alpha1.GatewayReference {
	r := e.Spec.Service.Route
	switch {
	case r == nil:
		return nil
	case r.Gateway != nil:
		return r.Gateway
	case r.IngressClass != "":
		return nil
	}
	return e.Platform.Gateway
}

// ingressClass of a route; empty if there is none.
func (e Endpoint) ingressClass() string {
	r := e.Spec.Service.Route
	if r == nil || e.gateway() != nil {
		return ""
	}
	return cmp.Or(r.IngressClass, e.Platform.IngressClass)
}

// Gateway that a route is attached to, by namespace and name; empty if there is
// none.
func (e Endpoint) Gateway() (string, string) {
	g := e.gateway()
	if g == nil {
		return "", ""
	}
	return cmp.Or(string(g.Namespace), e.Namespace), string(g.Name)
}

// weighted says whether a route shares the traffic out between an endpoint and
// its canary.
func (e Endpoint) weighted(live Live) bool {
	return e.gateway() != nil && live.has(RoleHTTPRoute)
}

func (e Endpoint) httpRoute(live Live) *gatewayv1.HTTPRoute {
	g := e.gateway()
	parent := gatewayv1.ParentReference{
		// The defaults are written out, or else the API server would add them
		// behind our back.
		Group: ptr.To(gatewayv1.Group(gatewayv1.GroupName)),
		Kind:  ptr.To(gatewayv1.Kind("Gateway")),
		Name:  gatewayv1.ObjectName(g.Name),
	}
	if g.Namespace != "" {
		parent.Namespace = ptr.To(gatewayv1.Namespace(g.Namespace))
	}
	if g.SectionName != "" {
		parent.SectionName = ptr.To(gatewayv1.SectionName(g.SectionName))
	}
	backend := func(r Role, weight int32) gatewayv1.HTTPBackendRef {
		return gatewayv1.HTTPBackendRef{BackendRef: gatewayv1.BackendRef{
			BackendObjectReference: gatewayv1.BackendObjectReference{
				Group: ptr.To(gatewayv1.Group("")),
				Kind:  ptr.To(gatewayv1.Kind("Service")),
				Name:  gatewayv1.ObjectName(e.TargetName(r)),
				Port:  ptr.To(*e.Spec.Service.Port),
			},
			Weight: &weight,
		}}
	}
	backends := []gatewayv1.HTTPBackendRef{backend(RoleService, 100)}
	if e.Canary != nil && live.CanaryReady() {
		// One that does not serve yet gets nothing.
		split := *e.Spec.Deployment.Canary.TrafficSplit
		backends = []gatewayv1.HTTPBackendRef{backend(RoleService, 100-split), backend(RoleCanaryService, split)}
	}
	r := &gatewayv1.HTTPRoute{ObjectMeta: e.meta(RoleHTTPRoute), Spec: gatewayv1.HTTPRouteSpec{
		CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{parent}},
		Hostnames:       []gatewayv1.Hostname{gatewayv1.Hostname(e.Spec.Service.Route.Hostname)},
		Rules: []gatewayv1.HTTPRouteRule{{
			Matches:     []gatewayv1.HTTPRouteMatch{{Path: &gatewayv1.HTTPPathMatch{Type: ptr.To(gatewayv1.PathMatchPathPrefix), Value: ptr.To("/")}}},
			BackendRefs: backends,
		}},
	}}
	r.SetGroupVersionKind(APIHTTPRoute.GroupVersionKind())
	return r
}

func (e Endpoint) ingress() *networkingv1.Ingress {
	route := e.Spec.Service.Route
	i := &networkingv1.Ingress{ObjectMeta: e.meta(RoleIngress), Spec: networkingv1.IngressSpec{
		IngressClassName: ptr.To(e.ingressClass()),
		Rules: []networkingv1.IngressRule{{
			Host: route.Hostname,
			IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{
				Path:     "/",
				PathType: ptr.To(networkingv1.PathTypePrefix),
				Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
					Name: e.TargetName(RoleService), Port: networkingv1.ServiceBackendPort{Name: portName},
				}},
			}}}},
		}},
	}}
	if route.TLSSecretName != "" {
		i.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{route.Hostname}, SecretName: route.TLSSecretName}}
	}
	i.SetGroupVersionKind(networkingv1.SchemeGroupVersion.WithKind("Ingress"))
	return i
}

// isolated says whether only some may connect.
func (e Endpoint) isolated() bool {
	p := e.security().NetworkPolicy
	return p != nil && ptr.Deref(p.Enabled, false)
}

// networkPolicy lets those in who are allowed to, and Prometheus. Its engine's
// port is the only one that is open.
func (e Endpoint) networkPolicy() *networkingv1.NetworkPolicy {
	ports := []networkingv1.NetworkPolicyPort{{Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To(intstr.FromString(portName))}}
	scrape := e.Platform.ScrapeFrom
	if len(scrape) == 0 {
		// What the Prometheus operator and the usual charts label its pods with.
		scrape = []networkingv1.NetworkPolicyPeer{{
			NamespaceSelector: &metav1.LabelSelector{},
			PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{labelName: "prometheus"}},
		}}
	}
	np := &networkingv1.NetworkPolicy{ObjectMeta: e.meta(RoleNetworkPolicy), Spec: networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: e.allPods()},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
	}}
	// A rule without peers would let everybody in.
	for _, from := range [][]networkingv1.NetworkPolicyPeer{e.security().NetworkPolicy.AllowFrom, scrape} {
		if len(from) > 0 {
			np.Spec.Ingress = append(np.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: from, Ports: ports})
		}
	}
	np.SetGroupVersionKind(networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy"))
	return np
}

// routeReady says whether clients from outside reach the endpoint by its
// hostname. It does not gate the endpoint, which serves without.
func (e Endpoint) routeReady(live Live) Condition {
	c := Condition{Type: v1alpha1.ConditionRouteReady}
	r := e.Spec.Service.Route
	if r == nil {
		c.OK, c.Reason, c.Message = true, v1alpha1.ReasonDisabled, "service.route is not set: there is no hostname"
		return c
	}
	if live.refusedBy(&c, RoleHTTPRoute, RoleIngress, RoleCanaryService) {
		return c
	}
	if class := e.ingressClass(); class != "" {
		c.Reason, c.Message = v1alpha1.ReasonPending, fmt.Sprintf("no ingress controller of class %s has taken the Ingress yet; check service.route.ingressClass", class)
		if i := live.Ingress; i != nil && len(i.Status.LoadBalancer.Ingress) > 0 {
			c.OK, c.Reason, c.Message = true, v1alpha1.ReasonAccepted, "clients reach it at "+e.routeURL(live)
		}
		return c
	}
	ns, name := e.Gateway()
	switch {
	case name == "":
		c.Reason, c.Message = v1alpha1.ReasonNoGateway, "service.route names neither a gateway nor an ingressClass, and the platform has no default: set one"
	case !live.has(RoleHTTPRoute):
		c.Reason, c.Message = v1alpha1.ReasonGatewayAPINotInstalled, "service.route needs the Gateway API, which this cluster does not have; set service.route.ingressClass, if it has an ingress controller"
	case live.Gateway == nil && live.GatewayKnown:
		c.Reason, c.Message = v1alpha1.ReasonNoGateway, fmt.Sprintf("there is no Gateway %s in namespace %s; check service.route.gateway", name, ns)
	default:
		e.attached(&c, live)
	}
	return c
}

// attached says what the Gateway's controller made of the route.
func (e Endpoint) attached(c *Condition, live Live) {
	ns, name := e.Gateway()
	c.Reason, c.Message = v1alpha1.ReasonPending, fmt.Sprintf("the controller of Gateway %s in namespace %s has not reported yet", name, ns)
	if live.HTTPRoute == nil {
		return
	}
	for _, p := range live.HTTPRoute.Status.Parents {
		if string(p.ParentRef.Name) != name {
			continue
		}
		for _, pc := range p.Conditions {
			if pc.Status == metav1.ConditionFalse && (pc.Type == string(gatewayv1.RouteConditionAccepted) || pc.Type == string(gatewayv1.RouteConditionResolvedRefs)) {
				c.OK, c.Reason = false, v1alpha1.ReasonNotAccepted
				c.Message = Bound(fmt.Sprintf("Gateway %s does not take the route: %s: %s", name, pc.Reason, pc.Message))
				return
			}
			if pc.Status == metav1.ConditionTrue && pc.Type == string(gatewayv1.RouteConditionAccepted) {
				c.OK, c.Reason, c.Message = true, v1alpha1.ReasonAccepted, "clients reach it at "+e.routeURL(live)
			}
		}
	}
}

// routeURL by which clients from outside reach the endpoint; empty unless they
// do.
func (e Endpoint) routeURL(live Live) string {
	r := e.Spec.Service.Route
	if r == nil {
		return ""
	}
	if e.ingressClass() != "" {
		if live.Ingress == nil || len(live.Ingress.Status.LoadBalancer.Ingress) == 0 {
			return ""
		}
		if r.TLSSecretName != "" {
			return "https://" + r.Hostname
		}
		return "http://" + r.Hostname
	}
	_, name := e.Gateway()
	if name == "" || live.HTTPRoute == nil {
		return ""
	}
	for _, p := range live.HTTPRoute.Status.Parents {
		if string(p.ParentRef.Name) == name && meta.IsStatusConditionTrue(p.Conditions, string(gatewayv1.RouteConditionAccepted)) &&
			!meta.IsStatusConditionFalse(p.Conditions, string(gatewayv1.RouteConditionResolvedRefs)) {
			return e.gatewayURL(live.Gateway)
		}
	}
	return ""
}

// gatewayURL of the endpoint's hostname at a Gateway. TLS goes before plain
// HTTP where there are both.
func (e Endpoint) gatewayURL(g *gatewayv1.Gateway) string {
	url := func(scheme string, port, standard gatewayv1.PortNumber) string {
		u := scheme + "://" + e.Spec.Service.Route.Hostname
		if port != standard {
			u += fmt.Sprintf(":%d", port)
		}
		return u
	}
	plain := url("http", 80, 80)
	if g == nil {
		return plain
	}
	found := false
	for _, l := range g.Spec.Listeners {
		if s := e.gateway().SectionName; s != "" && string(s) != string(l.Name) {
			continue
		}
		if l.Protocol == gatewayv1.HTTPSProtocolType {
			return url("https", l.Port, 443)
		}
		if l.Protocol == gatewayv1.HTTPProtocolType && !found {
			found, plain = true, url("http", l.Port, 80)
		}
	}
	return plain
}
