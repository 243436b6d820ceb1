//go:build tools

// Package tools pins the command line of Crossplane 1.20, whose render speaks the older protocol.
package tools

import (
	_ "github.com/crossplane/crossplane/cmd/crank"
)
