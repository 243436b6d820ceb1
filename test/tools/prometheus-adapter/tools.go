//go:build tools

// Package tools pins prometheus-adapter, which offers Prometheus' metrics to autoscalers.
package tools

import (
	_ "sigs.k8s.io/prometheus-adapter/cmd/adapter"
)
