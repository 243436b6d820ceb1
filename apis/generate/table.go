package main

import (
	"path"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

// module is the path of this module.
const module = "github.com/aim-engine/function-aim"

// packages that hold API types. Each gets its deep copies.
var packages = []string{
	path.Join(module, "apis/v1alpha1"),
	path.Join(module, "input/v1beta1"),
}

// A composite is a kind of composite resource. All else that its definition
// says - names, columns, schema - comes from the Go type and its markers.
type composite struct {
	// claimKind is the kind of the claim, and the name of the Go type. The
	// composite's own names are the claim's with an X in front.
	claimKind string

	// connectionSecretKeys that composites of the kind publish.
	connectionSecretKeys []string

	// defaultComposition of those that choose none.
	defaultComposition string
}

// composites to define, by the file of the CompositeResourceDefinition.
var composites = map[string]composite{
	"apis/xaimendpoints.yaml": {
		claimKind:            v1alpha1.KindAIMEndpoint,
		connectionSecretKeys: []string{"url", "model", "apiKey"},
		defaultComposition:   "aimendpoints",
	},
	"apis/xaimcaches.yaml": {
		claimKind:          v1alpha1.KindAIMCache,
		defaultComposition: "aimcaches",
	},
	"apis/xaimrecipes.yaml": {
		claimKind:          v1alpha1.KindAIMRecipe,
		defaultComposition: "aimrecipes",
	},
}

// inputs of the function, by the file of the CustomResourceDefinition.
var inputs = map[string]string{
	"package/input/aim.fn.crossplane.io_inputs.yaml": "Input",
}
