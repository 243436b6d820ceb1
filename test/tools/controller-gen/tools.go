//go:build tools

// Package tools pins controller-gen, which makes schemas of the API types.
package tools

import (
	_ "sigs.k8s.io/controller-tools/cmd/controller-gen"
)
