// Package apis holds the CompositeResourceDefinitions of this API.
package apis

import "embed"

// Definitions are the CompositeResourceDefinitions, one YAML file each.
//
//go:embed *.yaml
var Definitions embed.FS
