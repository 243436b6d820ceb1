// Package e2e tries the product as its users do: it applies manifests with
// kubectl to a real control plane, and reads what they would read.
//
// All tests share one control plane, each in namespaces of its own. Tests that
// kill parts of it run after the others.
package e2e
