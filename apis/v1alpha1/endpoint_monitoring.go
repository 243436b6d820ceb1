package v1alpha1

// Monitoring of an endpoint. It takes the Prometheus operator to be of use; an
// endpoint serves without.
type Monitoring struct {
	// Enabled makes what Prometheus and Grafana need to watch the endpoint.
	// +optional
	// +kubebuilder:default=false
	Enabled *bool `json:"enabled,omitempty"`

	// Prometheus scrapes the endpoint, and alerts.
	// +optional
	Prometheus *Prometheus `json:"prometheus,omitempty"`

	// Grafana shows the endpoint.
	// +optional
	Grafana *Grafana `json:"grafana,omitempty"`
}

// Prometheus scrapes an endpoint, and alerts.
type Prometheus struct {
	// Enabled makes a ServiceMonitor and a PrometheusRule, where the cluster has
	// the Prometheus operator.
	// +optional
	// +kubebuilder:default=true
	Enabled *bool `json:"enabled,omitempty"`

	// Interval between scrapes, 5m at most: Prometheus forgets what is older.
	// +optional
	// +kubebuilder:default="30s"
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^[1-9][0-9]{0,3}(s|m)$') && duration(self) <= duration('5m')",message="must be a duration such as 30s or 1m, 5m at most: Prometheus forgets what is older"
	Interval string `json:"interval,omitempty"`

	// Path of the engine's metrics.
	// +optional
	// +kubebuilder:default="/metrics"
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^/[A-Za-z0-9/._~-]*$')",message="must be a path such as /metrics"
	Path string `json:"path,omitempty"`
}

// Grafana shows an endpoint.
type Grafana struct {
	// Enabled makes a ConfigMap with a dashboard, with the label by which
	// Grafana's sidecar finds it.
	// +optional
	// +kubebuilder:default=true
	Enabled *bool `json:"enabled,omitempty"`

	// Dashboard is the title of the dashboard; the endpoint's namespace and name
	// if unset.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Dashboard string `json:"dashboard,omitempty"`
}
