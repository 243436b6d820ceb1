package endpoint

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/volume"
)

// Live objects of an endpoint, as they were last seen; nil where there is none.
type Live struct {
	Deployment *appsv1.Deployment
	Service    *corev1.Service
	Cache      *corev1.PersistentVolumeClaim
	Autoscaler *autoscalingv2.HorizontalPodAutoscaler
	// ScaledObject is KEDA's form of an autoscaler.
	ScaledObject *unstructured.Unstructured
	// Canary is the Deployment of a canary.
	Canary *appsv1.Deployment
	// HTTPRoute or Ingress that leads to the Service, and the Gateway that an
	// HTTPRoute is attached to.
	HTTPRoute *gatewayv1.HTTPRoute
	Ingress   *networkingv1.Ingress
	Gateway   *gatewayv1.Gateway
	// GatewayKnown says that somebody looked for the Gateway: without it, one
	// that is not here may well be there.
	GatewayKnown bool
	// APIs that the cluster has beyond Kubernetes' own.
	APIs map[API]bool
	// Remote says that the cluster is another one than Crossplane's: nothing is
	// known of it but what is live.
	Remote bool
	// Applying says that the live Deployment is not yet what is wanted now.
	Applying bool
	// ReplicasManaged says whether the number of replicas has a manifest.
	ReplicasManaged bool
	// Pods of the Deployment; only known while it is not available.
	Pods []corev1.Pod
	// CanaryPods are those of a canary.
	CanaryPods []corev1.Pod
	// CacheClass is the class of the cache's volume, if it matters.
	CacheClass volume.Class
	// Jobs that download models into it, by the IDs in their roles.
	Jobs map[string]*batchv1.Job
	// PreloadPods are those of a download that is not done.
	PreloadPods []corev1.Pod
	// ApplyErrors by role: why a manifest could not be applied.
	ApplyErrors map[Role]string
}

// A Condition of an endpoint.
type Condition struct {
	Type    v1alpha1.ConditionType
	OK      bool
	Reason  v1alpha1.ConditionReason
	Message string
}

// accessMode of the endpoint's own volume; empty if it is not there.
func (l Live) accessMode() corev1.PersistentVolumeAccessMode {
	if l.Cache == nil || len(l.Cache.Spec.AccessModes) == 0 {
		return ""
	}
	return l.Cache.Spec.AccessModes[0]
}

// has says whether the cluster can have an object of a role.
func (l Live) has(r Role) bool {
	a := r.API()
	return a == "" || l.APIs[a]
}

// CanaryReady says whether at least one replica of a canary can take requests.
func (l Live) CanaryReady() bool {
	return l.Canary != nil && l.Canary.Status.ReadyReplicas > 0
}

// Serving says whether at least one replica can take requests.
func (l Live) Serving() bool {
	return l.Deployment != nil && l.Deployment.Status.AvailableReplicas > 0
}

// asleep says whether there are no replicas, and nobody wants any now.
func (l Live) asleep() bool {
	return l.Deployment != nil && ptr.Deref(l.Deployment.Spec.Replicas, 1) == 0
}

// Available says whether the workload is all that it should be, so that there
// is nothing to be learnt from its pods.
func (l Live) Available() bool {
	d := l.Deployment
	return (l.Serving() || l.asleep()) && !rollingOut(d) && d.Status.AvailableReplicas >= ptr.Deref(d.Spec.Replicas, 1)
}

// rollingOut says whether pods of an older template are still to be replaced.
func rollingOut(d *appsv1.Deployment) bool {
	return d.Status.ObservedGeneration < d.Generation || d.Status.UpdatedReplicas < d.Status.Replicas
}

// refusedBy says whether an object of one of some roles could not be applied,
// and puts that into a condition.
func (l Live) refusedBy(c *Condition, roles ...Role) bool {
	for _, r := range roles {
		if msg, ok := l.ApplyErrors[r]; ok {
			c.Reason, c.Message = v1alpha1.ReasonApplyFailed, Bound(fmt.Sprintf("cannot apply %s: %s", describe(r), msg))
			return true
		}
	}
	return false
}

func deploymentCondition(d *appsv1.Deployment, t appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range d.Status.Conditions {
		if d.Status.Conditions[i].Type == t {
			return &d.Status.Conditions[i]
		}
	}
	return nil
}

// Conditions of the workload and what is around it.
func (e Endpoint) Conditions(live Live, canary *v1alpha1.CanaryStatus) []Condition {
	return []Condition{
		e.workloadReady(live), e.serviceReady(live), e.cacheReady(live), e.scalingReady(live),
		e.routeReady(live), e.monitoringReady(live), e.canaryHealthy(canary, live),
	}
}

func (e Endpoint) workloadReady(live Live) Condition {
	c := Condition{Type: v1alpha1.ConditionWorkloadReady}
	if live.refusedBy(&c, RoleDeployment, RoleReplicas, RoleConfig, RoleServiceAccount, RoleDisruptionBudget, RoleNetworkPolicy, RoleAPIKey) {
		if live.Serving() {
			c.Message = Bound("the workload keeps running as it was; " + c.Message)
		}
		return c
	}
	if e.held(&c, live) {
		return c
	}
	d := live.Deployment
	if d == nil {
		// The same words as for one without pods: a step that tells a person
		// nothing is a change of the status all the same.
		c.Reason, c.Message = v1alpha1.ReasonStarting, fmt.Sprintf("0 of %d replicas are available", max(1, e.minReplicas()))
		return c
	}
	if live.Applying {
		// What is live is what was wanted before. It may well be available, but
		// it is not what the user is waiting for.
		c.Reason, c.Message = v1alpha1.ReasonRolloutInProgress, "the change is being applied"
		return c
	}
	if e.scaledToZero(live) && !rollingOut(d) {
		c.OK, c.Reason, c.Message = true, v1alpha1.ReasonAvailable, "scaled to zero: the next request starts a replica"
		return c
	}
	// The Deployment starts with one replica, and is scaled from there.
	want := max(ptr.Deref(d.Spec.Replicas, 1), e.minReplicas())
	count := fmt.Sprintf("%d of %d replicas are available", d.Status.AvailableReplicas, want)
	reason, cause := diagnose(live.Pods, e.Platform.GPUResourceName)
	if !rollingOut(d) && d.Status.AvailableReplicas >= max(1, e.minReplicas()) {
		// What an autoscaler wants beyond the user's minimum may be on its way:
		// that is what scaling up looks like.
		c.OK, c.Reason, c.Message = true, v1alpha1.ReasonAvailable, count
		if cause != "" {
			c.Message = Bound(count + "; " + cause)
		}
		return c
	}
	if reason != "" {
		if reason == v1alpha1.ReasonWaitingForGPU {
			cause += e.onOneNode(cause)
		}
		c.Reason, c.Message = reason, Bound(count+"; "+cause)
		return c
	}
	if f := deploymentCondition(d, appsv1.DeploymentReplicaFailure); f != nil && f.Status == corev1.ConditionTrue {
		// Such as by Pod Security, or a quota.
		c.Reason, c.Message = v1alpha1.ReasonApplyFailed, Bound(fmt.Sprintf("%s, and the cluster refuses to create more: %s", count, f.Message))
		return c
	}
	if p := deploymentCondition(d, appsv1.DeploymentProgressing); p != nil && p.Status == corev1.ConditionFalse && p.Reason == "ProgressDeadlineExceeded" {
		c.Reason = v1alpha1.ReasonProgressDeadlineExceeded
		c.Message = fmt.Sprintf("%s, and there was no progress for %d s", count, ptr.Deref(d.Spec.ProgressDeadlineSeconds, 0))
		if cause != "" {
			c.Message += "; " + cause
		}
		c.Message = Bound(c.Message)
		return c
	}
	if live.Serving() && rollingOut(d) {
		c.Reason, c.Message = v1alpha1.ReasonRolloutInProgress, fmt.Sprintf("%d of %d replicas are updated, %d are available", d.Status.UpdatedReplicas, want, d.Status.AvailableReplicas)
		return c
	}
	c.Reason, c.Message = v1alpha1.ReasonStarting, count
	if cause != "" {
		c.Message = Bound(count + "; " + cause)
	}
	return c
}

// onOneNode says that GPUs which are free elsewhere are of no use, unless that
// is said already: the scheduler stops at the first thing that a node lacks.
func (e Endpoint) onOneNode(said string) string {
	switch {
	case strings.Contains(said, string(corev1.ReadWriteOnce)):
		return ""
	case e.Shared != nil:
		return e.together("AIMCache "+e.Shared.Name, e.Shared.Mode, e.Shared.Others)
	case *e.Spec.Cache.Enabled:
		return e.together("the cache's volume", e.accessMode(), nil)
	}
	return ""
}

func (e Endpoint) serviceReady(live Live) Condition {
	c := Condition{Type: v1alpha1.ConditionServiceReady}
	if live.refusedBy(&c, RoleService) {
		return c
	}
	switch {
	case live.Service == nil:
		c.Reason, c.Message = v1alpha1.ReasonStarting, "the Service is being created"
	case live.Service.Spec.Type == corev1.ServiceTypeLoadBalancer && loadBalancer(live.Service) == "":
		c.Reason, c.Message = v1alpha1.ReasonWaitingForLoadBalancer, "the cluster has assigned no address to the load balancer yet; clients in the cluster can use "+e.URL()
	default:
		c.OK, c.Reason, c.Message = true, v1alpha1.ReasonAvailable, "clients reach it at "+e.URL()
	}
	return c
}

func (e Endpoint) cacheReady(live Live) Condition {
	c := Condition{Type: v1alpha1.ConditionCacheReady}
	if e.Shared != nil {
		return e.sharedReady()
	}
	if !*e.Spec.Cache.Enabled {
		c.OK, c.Reason, c.Message = true, v1alpha1.ReasonDisabled, "cache.enabled is false: each pod downloads the model"
		return c
	}
	if !e.volume().GivesWay(live.Cache) && live.refusedBy(&c, RoleCache) || e.preloadReady(&c, live) {
		return c
	}
	st := e.volume().State(live.Cache, live.CacheClass)
	c.OK, c.Reason, c.Message = st.OK, st.Reason, st.Message
	if c.OK {
		c.Message += e.together("it", e.accessMode(), nil)
	}
	switch {
	case !c.OK:
	case e.preload(live).done:
		c.Message += ", and has " + e.Recipe.Snapshot.Model
	case *e.Spec.Cache.Preload && e.Platform.Agent.Image == "":
		c.Message += "; the server downloads the model: the platform has set no agentImage"
	}
	return c
}

// Status of the endpoint that comes from live objects. The phase and reason
// are not among it: they depend on all conditions.
func (e Endpoint) Status(live Live) v1alpha1.AIMEndpointStatus {
	s := v1alpha1.AIMEndpointStatus{
		URL:             e.URL(),
		ServedModelName: e.ServedModelName(),
		Endpoints:       &v1alpha1.Endpoints{Internal: e.URL()},
	}
	if svc := live.Service; svc != nil {
		switch svc.Spec.Type {
		case corev1.ServiceTypeLoadBalancer:
			if host := loadBalancer(svc); host != "" {
				url := "http://" + net.JoinHostPort(host, strconv.Itoa(int(*e.Spec.Service.Port)))
				s.Endpoints.LoadBalancer, s.Endpoints.External, s.URL = url, url, url
			}
		case corev1.ServiceTypeNodePort:
			if len(svc.Spec.Ports) > 0 {
				s.Endpoints.NodePort = svc.Spec.Ports[0].NodePort
			}
		case corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName:
		}
	}
	if d := live.Deployment; d != nil && d.Status.ObservedGeneration > 0 {
		s.Replicas = &v1alpha1.Replicas{
			Current:   d.Status.Replicas,
			Desired:   ptr.Deref(d.Spec.Replicas, 1),
			Ready:     d.Status.ReadyReplicas,
			Available: d.Status.AvailableReplicas,
		}
	}
	if url := e.routeURL(live); url != "" {
		s.Endpoints.External, s.URL = url, url
	}
	s.Metrics = e.metrics(live.Autoscaler)
	return s
}

// Phase of the endpoint. Composed says whether its objects are there, or are on
// their way.
func Phase(conditions []Condition, live Live, composed bool) v1alpha1.Phase {
	gated := true
	failed := false
	for _, c := range conditions {
		if c.OK {
			continue
		}
		switch c.Type {
		case v1alpha1.ConditionRecipeSelected, v1alpha1.ConditionWorkloadReady, v1alpha1.ConditionServiceReady:
			gated = false
		case v1alpha1.ConditionRouteReady, v1alpha1.ConditionMonitoringReady, v1alpha1.ConditionCanaryHealthy:
			// An endpoint serves without.
			continue
		case v1alpha1.ConditionCacheReady, v1alpha1.ConditionScalingReady, v1alpha1.ConditionValid:
			// These gate nothing, but an object that cannot be applied does.
			gated = gated && c.Reason != v1alpha1.ReasonApplyFailed
		case v1alpha1.ConditionModelsReady, v1alpha1.ConditionCleanupReady:
			// Only caches have these.
		}
		switch c.Reason { //nolint:exhaustive // The others pass by themselves.
		case v1alpha1.ReasonImagePullFailed, v1alpha1.ReasonModelDownloadFailed, v1alpha1.ReasonOutOfMemory, v1alpha1.ReasonCrashLooping,
			v1alpha1.ReasonProgressDeadlineExceeded, v1alpha1.ReasonNameConflict, v1alpha1.ReasonApplyFailed:
			failed = true
		}
	}
	switch {
	case gated && (live.Serving() || live.asleep()) && live.Available():
		return v1alpha1.PhaseReady
	case live.Serving():
		return v1alpha1.PhaseDegraded
	case failed:
		return v1alpha1.PhaseFailed
	case composed:
		return v1alpha1.PhaseStarting
	}
	return v1alpha1.PhasePending
}

// loadBalancer address of a Service; empty if it has none yet.
func loadBalancer(s *corev1.Service) string {
	for _, i := range s.Status.LoadBalancer.Ingress {
		if i.Hostname != "" {
			return i.Hostname
		}
		if i.IP != "" {
			return i.IP
		}
	}
	return ""
}

func describe(r Role) string {
	if strings.HasPrefix(string(r), string(RolePreload)) {
		return "the Job that downloads the model"
	}
	switch r {
	case RolePreload:
	case RoleConfig:
		return "the ConfigMap"
	case RoleAPIKey:
		return "the Object that publishes the API key"
	case RoleServiceAccount:
		return "the ServiceAccount"
	case RoleCache:
		return "the cache's volume"
	case RoleReplicas:
		return "the number of replicas"
	case RoleService:
		return "the Service"
	case RoleCanary:
		return "the canary's Deployment"
	case RoleCanaryService:
		return "the canary's Service"
	case RoleAutoscaler:
		return "the HorizontalPodAutoscaler"
	case RoleScaledObject:
		return "the ScaledObject"
	case RoleDisruptionBudget:
		return "the PodDisruptionBudget"
	case RoleNetworkPolicy:
		return "the NetworkPolicy"
	case RoleHTTPRoute:
		return "the HTTPRoute"
	case RoleIngress:
		return "the Ingress"
	case RoleServiceMonitor:
		return "the ServiceMonitor"
	case RoleAlerts:
		return "the PrometheusRule"
	case RoleDashboard:
		return "the dashboard's ConfigMap"
	case RoleDeployment:
	}
	return "the Deployment"
}
