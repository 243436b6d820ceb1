// Kinds that a cluster may have or not: their definitions are taken from these
// modules. Nothing of them is built.
module github.com/aim-engine/function-aim/test/tools/definitions

go 1.26.0

require (
	github.com/kedacore/keda/v2 v2.18.1
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/gateway-api v1.4.1
)
