// Package v1alpha1 contains the types of the aim.engine.amd.com/v1alpha1 API:
// what a user writes in a claim, and what its status says. They are the single
// source of the schemas in the CompositeResourceDefinitions under apis/.
//
// +kubebuilder:object:generate=true
// +groupName=aim.engine.amd.com
package v1alpha1

import "k8s.io/apimachinery/pkg/runtime/schema"

// GroupVersion of this API.
var GroupVersion = schema.GroupVersion{Group: "aim.engine.amd.com", Version: "v1alpha1"}

// Kinds served by this API: the claim's kind, and the composite's.
const (
	KindAIMEndpoint  = "AIMEndpoint"
	KindXAIMEndpoint = "XAIMEndpoint"
	KindAIMRecipe    = "AIMRecipe"
	KindXAIMRecipe   = "XAIMRecipe"
	KindAIMCache     = "AIMCache"
	KindXAIMCache    = "XAIMCache"
)
