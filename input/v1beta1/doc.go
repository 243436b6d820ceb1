// Package v1beta1 contains the input of function-aim: what a platform team
// decides once, in a Composition.
//
// +kubebuilder:object:generate=true
// +groupName=aim.fn.crossplane.io
package v1beta1

import "k8s.io/apimachinery/pkg/runtime/schema"

// GroupVersion of the input.
var GroupVersion = schema.GroupVersion{Group: "aim.fn.crossplane.io", Version: "v1beta1"}
