// Package controlplane runs a Kubernetes and Crossplane control plane as plain
// processes on this machine: no container runtime, no cloud, no GPU.
//
// Every part is the real program: etcd, the API server, the controller manager
// and the scheduler, kwok for nodes whose pods and GPUs are pretended,
// Crossplane and its RBAC manager, provider-kubernetes, and our function. Our
// packages are really built, pushed to a registry on loopback, and installed
// from there by Crossplane's package manager.
//
// Tests use StartT. The controlplane command uses Up, Down and Status for a
// plane that outlives it. Any number of planes can run side by side.
package controlplane
