// Package endpoint turns a decision and a spec into the manifests that serve a
// model, and live manifests into a status. It knows nothing of Crossplane.
package endpoint

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/crossplane/function-sdk-go/errors"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/agent"
	"github.com/aim-engine/function-aim/fn/engine"
	"github.com/aim-engine/function-aim/fn/gpu"
	"github.com/aim-engine/function-aim/fn/model"
)

// Labels of everything that serves an endpoint.
const (
	// LabelComposite is the composite that owns an object. It is the whole
	// selector of the Deployment and the Service, so that neither ever changes.
	LabelComposite = "aim.engine.amd.com/composite"
	// LabelEndpoint is the name of the endpoint.
	LabelEndpoint = "aim.engine.amd.com/endpoint"

	// labelCanaryOf is the composite that owns a canary's pods. They do not have
	// the other label: the Deployment and what scales it count by that.
	labelCanaryOf     = "aim.engine.amd.com/canary-of"
	labelModel        = "aim.engine.amd.com/model"
	labelModelVersion = "aim.engine.amd.com/model-version"
	labelManagedBy    = "app.kubernetes.io/managed-by"
	labelName         = "app.kubernetes.io/name"
	labelInstance     = "app.kubernetes.io/instance"

	managedBy = "function-aim"
)

// A Role of a manifest among those of an endpoint.
type Role string

// Roles, in the order in which they are rendered.
const (
	RoleConfig           Role = "config"
	RoleServiceAccount   Role = "serviceaccount"
	RoleCache            Role = "cache"
	RoleDeployment       Role = "deployment"
	RoleReplicas         Role = "replicas"
	RoleService          Role = "service"
	RoleCanary           Role = "canary"
	RoleCanaryService    Role = "canary-service"
	RoleAutoscaler       Role = "autoscaler"
	RoleScaledObject     Role = "scaledobject"
	RoleDisruptionBudget Role = "disruptionbudget"
	RoleNetworkPolicy    Role = "networkpolicy"
	RoleHTTPRoute        Role = "httproute"
	RoleIngress          Role = "ingress"
	RoleServiceMonitor   Role = "servicemonitor"
	RoleAlerts           Role = "alerts"
	RoleDashboard        Role = "dashboard"
	// RoleAPIKey has no object of its own: it brings the key of the API to the
	// endpoint's connection details.
	RoleAPIKey Role = "apikey"
)

// Roles of all objects that an endpoint may have, in the order in which they
// are rendered, but for those of downloads.
func Roles() []Role {
	return []Role{
		RoleConfig, RoleServiceAccount, RoleCache, RoleDeployment, RoleReplicas, RoleService, RoleCanary, RoleCanaryService,
		RoleAutoscaler, RoleScaledObject, RoleDisruptionBudget, RoleNetworkPolicy, RoleHTTPRoute, RoleIngress,
		RoleServiceMonitor, RoleAlerts, RoleDashboard, RoleAPIKey,
	}
}

// An API is a kind beyond Kubernetes' own, which a cluster may have or not.
type API string

// APIs that endpoints can use.
const (
	APIHTTPRoute      API = "HTTPRoute"
	APIScaledObject   API = "ScaledObject"
	APIServiceMonitor API = "ServiceMonitor"
	APIPrometheusRule API = "PrometheusRule"
)

// APIs in order of their names.
func APIs() []API {
	return []API{APIHTTPRoute, APIPrometheusRule, APIScaledObject, APIServiceMonitor}
}

// GroupVersionKind of an API.
func (a API) GroupVersionKind() schema.GroupVersionKind {
	switch a {
	case APIHTTPRoute:
		return schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1", Kind: string(a)}
	case APIScaledObject:
		return schema.GroupVersionKind{Group: "keda.sh", Version: "v1alpha1", Kind: string(a)}
	case APIServiceMonitor, APIPrometheusRule:
	}
	return schema.GroupVersionKind{Group: "monitoring.coreos.com", Version: "v1", Kind: string(a)}
}

// Definition is the name of the API's CustomResourceDefinition.
func (a API) Definition() string {
	return strings.ToLower(string(a)) + "s." + a.GroupVersionKind().Group
}

// API that an object of a role needs; empty if every cluster has it.
func (r Role) API() API {
	switch r { //nolint:exhaustive // The others are Kubernetes' own.
	case RoleHTTPRoute:
		return APIHTTPRoute
	case RoleScaledObject:
		return APIScaledObject
	case RoleServiceMonitor:
		return APIServiceMonitor
	case RoleAlerts:
		return APIPrometheusRule
	}
	return ""
}

// Optional roles are those without which an endpoint serves all the same.
func (r Role) Optional() bool {
	switch r { //nolint:exhaustive // The others are what serves.
	case RoleCanary, RoleCanaryService, RoleHTTPRoute, RoleIngress, RoleServiceMonitor, RoleAlerts, RoleDashboard:
		return true
	}
	return false
}

// Kinds that a render can contain: what the provider must be allowed to manage.
func Kinds() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{
		{Version: "v1", Kind: "ConfigMap"},
		{Version: "v1", Kind: "PersistentVolumeClaim"},
		{Version: "v1", Kind: "Service"},
		{Version: "v1", Kind: "ServiceAccount"},
		{Group: "apps", Version: "v1", Kind: "Deployment"},
		{Group: "autoscaling", Version: "v2", Kind: "HorizontalPodAutoscaler"},
		{Group: "batch", Version: "v1", Kind: "Job"},
		{Group: "networking.k8s.io", Version: "v1", Kind: "Ingress"},
		{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"},
		{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"},
		APIHTTPRoute.GroupVersionKind(),
		APIScaledObject.GroupVersionKind(),
		APIServiceMonitor.GroupVersionKind(),
		APIPrometheusRule.GroupVersionKind(),
	}
}

// A Manifest to apply.
type Manifest struct {
	Role   Role
	Object runtime.Object
	// Retain the object when the endpoint is deleted.
	Retain bool
	// Partial manifests hold some fields of an object that another has.
	Partial bool
	// Hold the object back: it is not to be made yet, and if it is there, not to
	// be changed.
	Hold bool
	// Keep the object as it was applied, if it is there: it has done its work.
	Keep bool
	// Connection is a key of a Secret that belongs into the endpoint's
	// connection details. The object is only looked at then.
	Connection *v1alpha1.SecretKeyRef
}

// Platform holds what the platform team decided for all endpoints.
type Platform struct {
	// GPUResourceName is the extended resource of a GPU.
	GPUResourceName string
	// Agent that downloads models.
	Agent agent.Platform
	// StorageClass of caches that name none.
	StorageClass string
	// Tolerations of every pod.
	Tolerations []corev1.Toleration
	// Security of pods whose endpoint says nothing else.
	Security *v1alpha1.Security
	// KEDA scales endpoints; nil if Kubernetes' own autoscaler does.
	KEDA *KEDA
	// MonitoringLabels and DashboardLabels by which Prometheus and Grafana find
	// what an endpoint brings.
	MonitoringLabels map[string]string
	DashboardLabels  map[string]string
	// ScrapeFrom are the pods of Prometheus.
	ScrapeFrom []networkingv1.NetworkPolicyPeer
	// Gateway or IngressClass of routes that name neither.
	Gateway      *v1alpha1.GatewayReference
	IngressClass string
}

// KEDA as a platform runs it.
type KEDA struct {
	// PrometheusAddress is the URL of the Prometheus that KEDA asks.
	PrometheusAddress string
	// ActivationQuery counts requests that wait in front of an endpoint; empty
	// if nothing does.
	ActivationQuery string
}

// An Endpoint to render.
type Endpoint struct {
	// Name and Namespace of the endpoint, as the user knows it.
	Name      string
	Namespace string
	// Composite that owns it.
	Composite string
	// Spec with all defaults set.
	Spec v1alpha1.AIMEndpointSpec
	// Recipe that runs, with its snapshot.
	Recipe v1alpha1.SelectedRecipe
	// Accelerator and Engine of the recipe.
	Accelerator gpu.Accelerator
	Engine      engine.Engine
	Platform    Platform
	// Shared cache that the endpoint uses; nil if it uses none.
	Shared *Shared
	// Canary of a change; nil if there is none.
	Canary *Endpoint

	// canary says that this is one.
	canary bool
	// mode of access of the endpoint's own volume, as it is live; empty if it is
	// not, or has yet to be looked at.
	mode corev1.PersistentVolumeAccessMode
	// offline servers ask nobody for a model that is in a shared cache. They only
	// read there.
	offline bool
}

// Longest base name: with the longest suffix of a Service it is still a DNS
// label.
const maxBaseName = 63 - len("-canary")

var dnsLabel = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)

// BaseName of an endpoint's objects: its own name if all kinds of object can
// have that, else a form of it that is unique by a hash.
func BaseName(name string) string {
	if len(name) <= maxBaseName && dnsLabel.MatchString(name) {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	hash := hex.EncodeToString(sum[:4])
	s := model.Slug(name, maxBaseName-len("aim-")-1-len(hash))
	if !dnsLabel.MatchString(s) {
		s = strings.Trim("aim-"+s, "-")
	}
	return s + "-" + hash
}

// TargetName of an endpoint's object.
func (e Endpoint) TargetName(r Role) string {
	if strings.HasPrefix(string(r), string(RolePreload)) {
		return PreloadName(e.Name, r)
	}
	base := BaseName(e.Name)
	switch r { //nolint:exhaustive // The others have the endpoint's name.
	case RoleConfig, RoleAPIKey:
		return base + "-config"
	case RoleCache:
		return base + "-cache"
	case RoleCanary, RoleCanaryService:
		return base + "-canary"
	case RoleDashboard:
		return base + "-dashboard"
	case RoleServiceAccount:
		return cmp.Or(e.ServiceAccount().Name, base)
	}
	return base
}

// LabelValue returns s if it can be a label's value, else a form of it that is
// unique by a hash.
func LabelValue(s string) string {
	if len(s) <= 63 {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return strings.TrimRight(s[:54], "-_.") + "-" + hex.EncodeToString(sum[:4])
}

// selector of the pods of the endpoint's Deployment, or of its canary's.
func (e Endpoint) selector() map[string]string {
	if e.canary {
		return map[string]string{labelCanaryOf: LabelValue(e.Composite)}
	}
	return map[string]string{LabelComposite: LabelValue(e.Composite)}
}

// allPods of the endpoint, its canary's among them: there is no other endpoint
// of that name in the namespace.
func (e Endpoint) allPods() map[string]string {
	return map[string]string{LabelEndpoint: LabelValue(e.Name)}
}

func (e Endpoint) labels() map[string]string {
	l := map[string]string{
		LabelComposite: LabelValue(e.Composite),
		LabelEndpoint:  LabelValue(e.Name),
		labelManagedBy: managedBy,
		labelName:      string(e.Engine.Name),
		labelInstance:  LabelValue(e.Name),
	}
	if s := model.Slug(e.Recipe.Snapshot.Model, 63); s != "" {
		l[labelModel] = s
	}
	if v := e.Spec.Model.Version; v != "" {
		l[labelModelVersion] = v
	}
	return l
}

// port that the server listens on.
func (e Endpoint) port() int32 {
	return ptr.Deref(e.Spec.Service.TargetPort, e.Recipe.Snapshot.Port)
}

// minReplicas and maxReplicas that the user wants.
func (e Endpoint) minReplicas() int32 {
	n := ptr.Deref(e.Spec.Scaling.MinReplicas, 1)
	if n == 0 && !e.canScaleToZero() {
		return 1
	}
	return n
}

func (e Endpoint) maxReplicas() int32 {
	return max(e.minReplicas(), ptr.Deref(e.Spec.Scaling.MaxReplicas, e.minReplicas()))
}

// autoscaled says whether the number of replicas is not the user's but an
// autoscaler's to decide.
func (e Endpoint) autoscaled() bool { return e.maxReplicas() > e.minReplicas() }

// security of the pods: field by field the endpoint's, else the platform's.
func (e Endpoint) security() v1alpha1.Security {
	own, platform := ptr.Deref(e.Spec.Security, v1alpha1.Security{}), ptr.Deref(e.Platform.Security, v1alpha1.Security{})
	c, d := ptr.Deref(own.PodSecurityContext, v1alpha1.PodSecurityContext{}), ptr.Deref(platform.PodSecurityContext, v1alpha1.PodSecurityContext{})
	out := v1alpha1.Security{
		ServiceAccount: cmp.Or(own.ServiceAccount, platform.ServiceAccount),
		PodSecurityContext: &v1alpha1.PodSecurityContext{
			RunAsUser:  cmp.Or(c.RunAsUser, d.RunAsUser),
			RunAsGroup: cmp.Or(c.RunAsGroup, d.RunAsGroup),
			FSGroup:    cmp.Or(c.FSGroup, d.FSGroup),
		},
		SupplementalGroups: own.SupplementalGroups,
		APIKeySecretRef:    cmp.Or(own.APIKeySecretRef, platform.APIKeySecretRef),
		NetworkPolicy:      cmp.Or(own.NetworkPolicy, platform.NetworkPolicy),
	}
	if len(out.SupplementalGroups) == 0 {
		out.SupplementalGroups = platform.SupplementalGroups
	}
	return out
}

// ServiceAccount that the pods run as.
func (e Endpoint) ServiceAccount() v1alpha1.ServiceAccount {
	return ptr.Deref(e.security().ServiceAccount, v1alpha1.ServiceAccount{})
}

// Default sets what the API server sets where the schema has a default, and
// the objects that hold them where they are missing. The API server does not
// set a default in an object that is absent.
func Default(s *v1alpha1.AIMEndpointSpec) {
	def(&s.Recipe)
	def(&s.Resources)
	def(&s.Scaling)
	def(&s.Service)
	def(&s.Cache)
	def(&s.Image)
	def(&s.Monitoring)
	def(&s.Monitoring.Prometheus)
	def(&s.Monitoring.Grafana)
	def(&s.Deployment)
	def(&s.Deployment.Canary)
	def(&s.Recipe.AutoSelect, true)
	def(&s.Scaling.MinReplicas, 1)
	def(&s.Service.Port, 8000)
	def(&s.Cache.Enabled, false)
	def(&s.Cache.Retain, true)
	def(&s.Cache.Preload, true)
	def(&s.Monitoring.Enabled, false)
	def(&s.Monitoring.Prometheus.Enabled, true)
	def(&s.Monitoring.Grafana.Enabled, true)
	def(&s.Deployment.Canary.Enabled, false)
	def(&s.Deployment.Canary.TrafficSplit, 10)
	def(&s.Deployment.Canary.Duration, 300)
	zero(&s.Monitoring.Prometheus.Interval, "30s")
	zero(&s.Monitoring.Prometheus.Path, "/metrics")
	zero(&s.Recipe.Objective, v1alpha1.ObjectiveThroughput)
	zero(&s.Recipe.UpgradePolicy, v1alpha1.UpgradePinned)
	zero(&s.Service.Type, string(corev1.ServiceTypeClusterIP))
	zero(&s.Cache.AccessMode, string(corev1.ReadWriteOnce))
}

// def sets a pointer that is nil.
func def[T any](p **T, v ...T) {
	if *p == nil {
		*p = new(T)
		for _, v := range v {
			**p = v
		}
	}
}

// zero sets a value that is empty.
func zero[T ~string](p *T, v T) {
	if *p == "" {
		*p = v
	}
}

// Owns says whether an object with the supplied labels is this endpoint's. A
// volume may have been retained for it by an endpoint of the same name.
func (e Endpoint) Owns(r Role, labels map[string]string) bool {
	if labels[labelManagedBy] != managedBy || labels[LabelEndpoint] != LabelValue(e.Name) {
		return false
	}
	return r == RoleCache || labels[LabelComposite] == LabelValue(e.Composite)
}

// With returns the endpoint with another recipe. It is an error if this version
// knows its hardware or backend no more.
func (e Endpoint) With(r v1alpha1.SelectedRecipe) (Endpoint, error) {
	e.Recipe = r
	var ok bool
	if e.Accelerator, ok = gpu.Lookup(r.Hardware); !ok {
		return e, errors.Errorf("cannot render recipe %s: this version of the function knows no hardware %q", r.Name, r.Hardware)
	}
	if e.Engine, ok = engine.Lookup(r.Backend); !ok {
		return e, errors.Errorf("cannot render recipe %s: this version of the function knows no backend %q", r.Name, r.Backend)
	}
	return e, nil
}

// Selector of the endpoint's pods.
func (e Endpoint) Selector(live Live) map[string]string {
	if d := live.Deployment; d != nil && d.Spec.Selector != nil && len(d.Spec.Selector.MatchLabels) > 0 {
		return d.Spec.Selector.MatchLabels
	}
	return e.selector()
}

// ClassOf the cache's live volume, if something depends on what it is; empty if
// nothing does.
func (e Endpoint) ClassOf(live Live) string {
	if !*e.Spec.Cache.Enabled {
		return ""
	}
	return e.volume().ClassOf(live.Cache)
}
