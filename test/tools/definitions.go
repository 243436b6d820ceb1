package tools

import (
	"context"
	"fmt"
	"path/filepath"
)

// Optional kinds, which a cluster may have or not.
const (
	// PrometheusOperator brings ServiceMonitor and PrometheusRule.
	PrometheusOperator = "prometheus-operator"
	// GatewayAPI brings Gateway and HTTPRoute.
	GatewayAPI = "gateway-api"
	// KEDA brings ScaledObject.
	KEDA = "keda"
)

// Definitions returns the files with the CustomResourceDefinitions of optional
// kinds, from the module that publishes them. It is downloaded if it has to be.
func Definitions(ctx context.Context, of string) ([]string, error) {
	var module string
	var files []string
	switch of {
	case PrometheusOperator:
		module = "github.com/prometheus-operator/prometheus-operator"
		for _, k := range []string{"servicemonitors", "prometheusrules"} {
			files = append(files, "example/prometheus-operator-crd/monitoring.coreos.com_"+k+".yaml")
		}
	case GatewayAPI:
		module = "sigs.k8s.io/gateway-api"
		for _, k := range []string{"gatewayclasses", "gateways", "httproutes"} {
			files = append(files, "config/crd/standard/gateway.networking.k8s.io_"+k+".yaml")
		}
	case KEDA:
		module = "github.com/kedacore/keda/v2"
		files = []string{"config/crd/bases/keda.sh_scaledobjects.yaml"}
	default:
		return nil, fmt.Errorf("there are no definitions of %q", of)
	}
	dir, err := Tool{Name: of, Folder: "definitions"}.moduleDir(ctx, module)
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		files[i] = filepath.Join(dir, f)
	}
	return files, nil
}
