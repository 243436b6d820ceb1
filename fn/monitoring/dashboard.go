package monitoring

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// Metrics of AMD's device metrics exporter. MI2xx GPUs have the edge temperature
// and the average power, MI3xx GPUs the others.
const (
	metricGPUHealth      = "gpu_health" // 1 or 0.
	metricGPUActivity    = "gpu_gfx_activity"
	metricGPUUsedVRAM    = "gpu_used_vram"
	metricGPUTotalVRAM   = "gpu_total_vram"
	metricGPUTemperature = "gpu_junction_temperature|gpu_edge_temperature"
	metricGPUPower       = "gpu_package_power|gpu_average_package_power"
)

const (
	// rateInterval is what Grafana makes of a panel's resolution and the scrape
	// interval.
	rateInterval = "$__rate_interval"

	// gridWidth of Grafana, which the panels of a row share.
	gridWidth   = 24
	panelHeight = 8

	// uidBytes of a hash. Grafana takes 40 characters.
	uidBytes = 16
)

// A query of a panel.
type query struct {
	legend string
	expr   string
}

// A panel of the dashboard.
type panel struct {
	title       string
	description string
	unit        string
	// max of the axis; 0 if it grows with what it shows.
	max     float64
	queries []query
}

// A row of panels.
type row struct {
	title  string
	panels []panel
}

// Dashboard of the endpoint in a ConfigMap, as Grafana's sidecar reads it.
//
//nolint:staticcheck // The schema that is to replace this one takes Grafana 12; this one every Grafana reads.
func (t Target) Dashboard() (*corev1.ConfigMap, error) {
	title := t.Title
	if title == "" {
		title = "AIMEndpoint " + t.Namespace + "/" + t.Endpoint
	}
	b := dashboard.NewDashboardBuilder(title).
		Uid(t.uid()).
		Description("How the AIMEndpoint "+t.Endpoint+" in namespace "+t.Namespace+" serves "+t.Model+" with "+string(t.Engine.Name)+".").
		Tags([]string{"aim-engine"}).
		Time("now-1h", "now").
		Refresh("30s").
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus"))
	id := uint32(0)
	for _, r := range t.rows() {
		id++
		b.WithRow(dashboard.NewRowBuilder(r.title).Id(id))
		for _, p := range r.panels {
			id++
			b.WithPanel(t.panel(id, p).Span(gridWidth / uint32(len(r.panels)))) //nolint:gosec // A handful.
		}
	}
	built, err := b.Build()
	if err != nil {
		return nil, errors.Wrap(err, "cannot build dashboard")
	}
	j, err := json.Marshal(built)
	if err != nil {
		return nil, errors.Wrap(err, "cannot marshal dashboard")
	}
	c := &corev1.ConfigMap{
		ObjectMeta: t.metadata(t.Name + "-dashboard"),
		Data:       map[string]string{t.Namespace + "-" + t.Name + ".json": string(j)},
	}
	c.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	return c, nil
}

// uid by which Grafana knows the dashboard, whatever it is called.
func (t Target) uid() string {
	sum := sha256.Sum256([]byte(t.Namespace + "/" + t.Name))
	return "aim-" + hex.EncodeToString(sum[:uidBytes])
}

func (t Target) rows() []row {
	m := t.Engine.Metrics
	return []row{
		{title: "Traffic", panels: []panel{
			{
				title: "Requests", unit: units.RequestsPerSecond,
				description: "Requests that came to an end, by how they did where the engine tells.",
				queries:     t.finished(),
			},
			{
				title: "Tokens per second", unit: units.Short,
				description: "Tokens of prompts that were read, and tokens that were generated.",
				queries: []query{
					{legend: "prompt", expr: "sum(" + t.rate(m.PromptTokens) + ")"},
					{legend: "generation", expr: "sum(" + t.rate(m.GenerationTokens) + ")"},
				},
			},
			{
				title: "Running and waiting requests", unit: units.Short,
				description: "Requests wait when the KV cache or the batch is full. Autoscaling follows those that wait.",
				queries: []query{
					{legend: "running", expr: "sum(" + t.requests(m.RunningRequests) + ")"},
					{legend: "waiting", expr: "sum(" + t.requests(m.QueueDepth) + ")"},
				},
			},
		}},
		{title: "Latency", panels: []panel{
			t.latency("Time to first token", "From a request's arrival to its first token.", m.TimeToFirstToken),
			t.latency("Inter-token latency", "From one token to the next.", m.InterTokenLatency),
			t.latency("Request latency", "From a request's arrival to its last token.", m.RequestLatency),
		}},
		{title: "Capacity", panels: []panel{
			{
				title: "Replicas", unit: units.Short,
				description: "Replicas that the Deployment should have and those that are ready, by kube-state-metrics, and pods that Prometheus can scrape.",
				queries: []query{
					{legend: "desired", expr: "max(" + t.deployment("kube_deployment_spec_replicas") + ")"},
					{legend: "available", expr: "max(" + t.deployment("kube_deployment_status_replicas_available") + ")"},
					{legend: "scraped", expr: "sum(" + t.up() + ")"},
				},
			},
			{
				title: "KV cache in use", unit: units.PercentUnit, max: 1,
				description: "Once it is full, requests wait or are computed again.",
				queries:     []query{{legend: "{{pod}}", expr: "max by (pod) (" + t.series(m.KVCacheUsage) + ")"}},
			},
			{
				title: "Waiting requests by pod", unit: units.Short,
				description: "A pod that stands out gets more than its share.",
				queries:     []query{{legend: "{{pod}}", expr: "sum by (pod) (" + t.requests(m.QueueDepth) + ")"}},
			},
		}},
		{title: "GPUs (from AMD's device metrics exporter)", panels: []panel{
			{
				title: "GPU activity", unit: units.Percent, max: 100,
				description: "Share of time in which the graphics engine was busy. It is near 100 % whenever there is work, and says little about how much.",
				queries:     t.gpu(func(selector string) string { return metricGPUActivity + "{" + selector + "}" }),
			},
			{
				title: "GPU memory in use", unit: units.PercentUnit, max: 1,
				description: "The engine takes its share when it starts.",
				queries: t.gpu(func(selector string) string {
					return metricGPUUsedVRAM + "{" + selector + "} / " + metricGPUTotalVRAM + "{" + selector + "}"
				}),
			},
			{
				title: "GPU temperature", unit: units.Celsius,
				description: "Of the junction; of the edge on MI2xx.",
				queries:     t.gpu(func(selector string) string { return `{__name__=~"` + metricGPUTemperature + `",` + selector + "}" }),
			},
			{
				title: "GPU power", unit: units.Watt,
				description: "Of the package.",
				queries:     t.gpu(func(selector string) string { return `{__name__=~"` + metricGPUPower + `",` + selector + "}" }),
			},
		}},
	}
}

func (t Target) panel(id uint32, p panel) *timeseries.PanelBuilder {
	source := common.DataSourceRef{Type: ptr.To("prometheus"), Uid: ptr.To("${datasource}")}
	b := timeseries.NewPanelBuilder().
		Id(id).
		Title(p.title).
		Description(p.description).
		Datasource(source).
		Height(panelHeight).
		Unit(p.unit).
		Min(0).
		Interval(t.Interval).
		FillOpacity(10).
		ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().
			DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom).ShowLegend(true)).
		Tooltip(common.NewVizTooltipOptionsBuilder().
			Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	if p.max > 0 {
		b.Max(p.max)
	}
	for i, q := range p.queries {
		b.WithTarget(prometheus.NewDataqueryBuilder().
			RefId(string(rune('A' + i))).
			Datasource(source).
			Expr(q.expr).
			LegendFormat(q.legend).
			EditorMode(prometheus.QueryEditorModeCode).
			Range())
	}
	return b
}

func (t Target) rate(counter string) string {
	return "rate(" + t.series(counter) + "[" + rateInterval + "])"
}

// finished requests, by how they came to an end.
func (t Target) finished() []query {
	m := t.Engine.Metrics
	if m.FinishReason != "" {
		return []query{{legend: "{{" + m.FinishReason + "}}", expr: "sum by (" + m.FinishReason + ") (" + t.rate(m.FinishedRequests) + ")"}}
	}
	qs := []query{{legend: "finished", expr: "sum(" + t.rate(m.FinishedRequests) + ")"}}
	if m.AbortedRequests != "" {
		qs = append(qs, query{legend: "aborted", expr: "sum(" + t.rate(m.AbortedRequests) + ")"})
	}
	return qs
}

// latency as percentiles of a histogram of seconds.
func (t Target) latency(title, description, histogram string) panel {
	return panel{title: title, description: description, unit: units.Seconds, queries: []query{
		{legend: "p50", expr: t.quantile("0.5", histogram, rateInterval)},
		{legend: "p95", expr: t.quantile("0.95", histogram, rateInterval)},
		{legend: "p99", expr: t.quantile("0.99", histogram, rateInterval)},
	}}
}

func (t Target) gpu(what func(selector string) string) []query {
	return []query{{legend: "{{pod}} GPU {{gpu_id}}", expr: t.gpus(what)}}
}
