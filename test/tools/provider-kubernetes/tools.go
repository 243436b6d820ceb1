//go:build tools

// Package tools pins provider-kubernetes.
package tools

import (
	_ "github.com/crossplane-contrib/provider-kubernetes/cmd/provider"
)
