package endpoint

import (
	"fmt"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/fn/engine"
)

// Metrics that a metrics adapter offers to an autoscaler.
const (
	// metricGPUActivity is a gauge of AMD's device metrics exporter, 0 to 100.
	metricGPUActivity = "gpu_gfx_activity"
	// defaultQueueDepth per replica, when the user names no target.
	defaultQueueDepth = 5
)

// Render the manifests of an endpoint, given what is live.
func (e Endpoint) Render(live Live) []Manifest {
	ms := []Manifest{{Role: RoleConfig, Object: e.config()}}
	if *e.Spec.Cache.Enabled {
		ms = append(ms, Manifest{Role: RoleCache, Object: e.cache(live), Retain: *e.Spec.Cache.Retain})
	}
	ms = append(ms, Manifest{Role: RoleDeployment, Object: e.deployment(live)})
	// The Deployment's own manifest never has replicas: provider-kubernetes
	// would reset what an autoscaler decided, and taking them out of it later
	// would set them to 1. So they are a manifest of their own, which leaves
	// them as they are when it goes, and which there is only once the number is
	// not what Kubernetes starts with.
	if d := live.Deployment; !e.autoscaled() && d != nil && (live.ReplicasManaged || ptr.Deref(d.Spec.Replicas, 1) != e.minReplicas()) {
		ms = append(ms, Manifest{Role: RoleReplicas, Object: e.replicas(), Partial: true})
	}
	ms = append(ms, Manifest{Role: RoleService, Object: e.service(live)})
	if e.autoscaled() {
		ms = append(ms, Manifest{Role: RoleAutoscaler, Object: e.autoscaler()})
	}
	return ms
}

func (e Endpoint) meta(r Role) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: TargetName(e.Name, r), Namespace: e.Namespace, Labels: e.labels()}
}

// config is the decision for people to read. Nothing reads it back.
func (e Endpoint) config() *corev1.ConfigMap {
	s := e.Recipe.Snapshot
	lines := []string{
		"model: " + s.Model,
		"recipe: " + e.Recipe.Name,
		"source: " + e.Recipe.Source,
		"hardware: " + string(e.Recipe.Hardware),
		fmt.Sprintf("gpuCount: %d", e.Recipe.GPUCount),
		"precision: " + string(e.Recipe.Precision),
		"backend: " + string(e.Recipe.Backend),
		"image: " + e.Image(),
	}
	if s.Revision != "" {
		lines = append(lines, "revision: "+s.Revision)
	}
	if m := e.Recipe.Memory; m != nil {
		lines = append(lines, "requiredGiBPerGPU: "+m.RequiredGiBPerGPU, "availableGiBPerGPU: "+m.AvailableGiBPerGPU)
	}
	cm := &corev1.ConfigMap{ObjectMeta: e.meta(RoleConfig), Data: map[string]string{
		"decision": strings.Join(lines, "\n") + "\n",
		"command":  strings.Join(append(append([]string{}, s.Command...), e.args()...), " ") + "\n",
		"reason":   e.Recipe.Reason + "\n",
	}}
	cm.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	return cm
}

func (e Endpoint) service(live Live) *corev1.Service {
	svc := &corev1.Service{ObjectMeta: e.meta(RoleService), Spec: corev1.ServiceSpec{
		Type:     corev1.ServiceType(e.Spec.Service.Type),
		Selector: e.Selector(live),
		Ports: []corev1.ServicePort{{
			Name:       portName,
			Protocol:   corev1.ProtocolTCP,
			Port:       *e.Spec.Service.Port,
			TargetPort: intstr.FromInt32(e.port()),
		}},
	}}
	if svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
		svc.Spec.LoadBalancerIP = e.Spec.Service.LoadBalancerIP
	}
	for k, v := range e.Spec.Service.Annotations {
		if svc.Annotations == nil {
			svc.Annotations = map[string]string{}
		}
		svc.Annotations[k] = string(v)
	}
	svc.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Service"))
	return svc
}

// cache is the endpoint's own volume. What cannot change once it exists is
// rendered as it is live: a manifest that the API server refuses could not even
// be deleted.
func (e Endpoint) cache(live Live) *corev1.PersistentVolumeClaim {
	c := e.Spec.Cache
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: e.meta(RoleCache), Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.PersistentVolumeAccessMode(c.AccessMode)},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: e.CacheSize()}},
	}}
	if class := e.storageClass(); class != "" {
		pvc.Spec.StorageClassName = &class
	}
	if l := live.Cache; l != nil {
		pvc.Spec.AccessModes = l.Spec.AccessModes
		pvc.Spec.StorageClassName = l.Spec.StorageClassName
		have, want := l.Spec.Resources.Requests[corev1.ResourceStorage], pvc.Spec.Resources.Requests[corev1.ResourceStorage]
		grows := want.Cmp(have) > 0 && live.CacheExpandable && l.Status.Phase == corev1.ClaimBound
		if !grows {
			pvc.Spec.Resources.Requests[corev1.ResourceStorage] = have
		}
	}
	pvc.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"))
	return pvc
}

func (e Endpoint) storageClass() string {
	if e.Spec.Cache.StorageClass != "" {
		return e.Spec.Cache.StorageClass
	}
	return e.Platform.StorageClass
}

// CacheSize that the user wants. A download needs room for files that are not
// weights, for a second revision, and for compiled kernels: two and a half
// times the weights (KAITO's rule) and 10 GiB.
func (e Endpoint) CacheSize() resource.Quantity {
	if q, err := resource.ParseQuantity(string(e.Spec.Cache.Size)); err == nil {
		return q
	}
	weights := e.Recipe.Snapshot.WeightsGiB
	if weights == 0 {
		weights = unknownWeightsGiB
	}
	return *resource.NewQuantity((weights*5/2+10)<<30, resource.BinarySI)
}

func (e Endpoint) autoscaler() *autoscalingv2.HorizontalPodAutoscaler {
	sc := e.Spec.Scaling
	hpa := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: e.meta(RoleAutoscaler), Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: TargetName(e.Name, RoleDeployment)},
		MinReplicas:    ptr.To(e.minReplicas()),
		MaxReplicas:    e.maxReplicas(),
		Metrics:        e.scalingMetrics(),
	}}
	if sc.ScaleUpDelay != nil || sc.ScaleDownDelay != nil {
		hpa.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{}
	}
	if d := sc.ScaleUpDelay; d != nil {
		hpa.Spec.Behavior.ScaleUp = &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: d}
	}
	if d := sc.ScaleDownDelay; d != nil {
		hpa.Spec.Behavior.ScaleDown = &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: d}
	}
	hpa.SetGroupVersionKind(autoscalingv2.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler"))
	return hpa
}

func (e Endpoint) scalingMetrics() []autoscalingv2.MetricSpec {
	sc := e.Spec.Scaling
	var ms []autoscalingv2.MetricSpec
	if t := sc.TargetCPUUtilization; t != nil {
		ms = append(ms, resourceMetric(corev1.ResourceCPU, *t))
	}
	if t := sc.TargetMemoryUtilization; t != nil {
		ms = append(ms, resourceMetric(corev1.ResourceMemory, *t))
	}
	if t := sc.TargetGPUUtilization; t != nil {
		ms = append(ms, podsMetric(metricGPUActivity, *resource.NewQuantity(int64(*t), resource.DecimalSI)))
	}
	if t := sc.TargetKVCacheUtilization; t != nil {
		// The engine's gauge goes from 0 to 1.
		ms = append(ms, podsMetric(adapterName(e.Engine.Metrics.KVCacheUsage), *resource.NewMilliQuantity(int64(*t)*10, resource.DecimalSI)))
	}
	if t := sc.TargetQueueDepth; t != nil || len(ms) == 0 {
		ms = append(ms, podsMetric(adapterName(e.Engine.Metrics.QueueDepth), *resource.NewQuantity(int64(ptr.Deref(t, defaultQueueDepth)), resource.DecimalSI)))
	}
	return ms
}

// adapterName of an engine's metric: the metrics API allows no colons.
func adapterName(metric string) string {
	return strings.ReplaceAll(metric, ":", "_")
}

func resourceMetric(name corev1.ResourceName, percent int32) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
		Name:   name,
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent},
	}}
}

func podsMetric(name string, average resource.Quantity) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: name},
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &average},
	}}
}

// Image that runs: the recipe's, as far as the user does not replace it.
func (e Endpoint) Image() string {
	return engine.ReplaceImage(e.Recipe.Snapshot.Image, e.Spec.Image.Repository, e.Spec.Image.Tag)
}
