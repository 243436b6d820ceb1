package endpoint

import (
	"fmt"
	"maps"
	"strings"

	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/monitoring"
)

// monitoring of the endpoint, as far as the user wants it and the cluster can.
func (e Endpoint) monitoring(live Live) ([]Manifest, error) {
	if !*e.Spec.Monitoring.Enabled {
		return nil, nil
	}
	p, g := e.Spec.Monitoring.Prometheus, e.Spec.Monitoring.Grafana
	t := monitoring.Target{
		Name:           e.TargetName(RoleServiceMonitor),
		Namespace:      e.Namespace,
		Endpoint:       e.Name,
		Model:          e.ServedModelName(),
		Labels:         e.labels(),
		Selector:       map[string]string{LabelComposite: LabelValue(e.Composite)},
		PodPrefix:      e.TargetName(RoleDeployment),
		Port:           portName,
		Path:           p.Path,
		Interval:       p.Interval,
		Engine:         e.Engine,
		StartupSeconds: e.startupSeconds(),
		MinReplicas:    e.minReplicas(),
	}
	if *e.Spec.Deployment.Canary.Enabled {
		// It is there at times, and watched with the others.
		t.Canary = e.TargetName(RoleCanary)
	}
	var ms []Manifest
	if *p.Enabled && live.has(RoleServiceMonitor) {
		sm := t.ServiceMonitor()
		sm.Labels = merged(e.Platform.MonitoringLabels, sm.Labels)
		ms = append(ms, Manifest{Role: RoleServiceMonitor, Object: sm})
	}
	if *p.Enabled && live.has(RoleAlerts) {
		pr := t.PrometheusRule()
		pr.Labels = merged(e.Platform.MonitoringLabels, pr.Labels)
		ms = append(ms, Manifest{Role: RoleAlerts, Object: pr})
	}
	if *g.Enabled {
		t.Title = g.Dashboard
		cm, err := t.Dashboard()
		if err != nil {
			return nil, err
		}
		labels := e.Platform.DashboardLabels
		if len(labels) == 0 {
			// What Grafana's sidecar looks for unless it is told otherwise.
			labels = map[string]string{"grafana_dashboard": "1"}
		}
		cm.Labels = merged(labels, cm.Labels)
		ms = append(ms, Manifest{Role: RoleDashboard, Object: cm})
	}
	return ms, nil
}

// alerted says whether Prometheus should watch the endpoint.
func (e Endpoint) alerted() bool {
	return *e.Spec.Monitoring.Enabled && ptr.Deref(e.Spec.Monitoring.Prometheus.Enabled, true)
}

// merged labels: those of the first, and on top those of the second.
func merged(a, b map[string]string) map[string]string {
	out := make(map[string]string, len(a)+len(b))
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}

// monitoringReady says whether the endpoint is watched. It does not gate the
// endpoint, which serves without.
func (e Endpoint) monitoringReady(live Live) Condition {
	c := Condition{Type: v1alpha1.ConditionMonitoringReady}
	if !*e.Spec.Monitoring.Enabled {
		c.OK, c.Reason, c.Message = true, v1alpha1.ReasonDisabled, "monitoring.enabled is false"
		return c
	}
	if live.refusedBy(&c, RoleServiceMonitor, RoleAlerts, RoleDashboard) {
		return c
	}
	var missing []string
	var there []string
	for _, r := range []Role{RoleServiceMonitor, RoleAlerts} {
		switch {
		case !e.alerted():
		case live.has(r):
			there = append(there, string(r.API()))
		default:
			missing = append(missing, string(r.API()))
		}
	}
	if len(missing) > 0 {
		c.Reason = v1alpha1.ReasonPrometheusOperatorNotInstalled
		c.Message = fmt.Sprintf("this cluster has no %s, which the Prometheus operator brings: install it, or set monitoring.prometheus.enabled to false", strings.Join(missing, " and no "))
		return c
	}
	if *e.Spec.Monitoring.Grafana.Enabled {
		there = append(there, "dashboard")
	}
	c.OK, c.Reason, c.Message = true, v1alpha1.ReasonInstalled, "it has a "+strings.Join(there, " and a ")
	if len(there) == 0 {
		c.Reason, c.Message = v1alpha1.ReasonDisabled, "monitoring.prometheus.enabled and monitoring.grafana.enabled are false"
	}
	return c
}
