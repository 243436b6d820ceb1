//go:build tools

// Package tools pins Crossplane's command line, for xpkg build, push and render.
package tools

import (
	_ "github.com/crossplane/cli/v2/cmd/crossplane"
)
