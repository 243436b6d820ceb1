package main

import (
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/aim-engine/function-aim/fn/object"
)

// Labels that Crossplane gives to a composite with a claim.
const (
	labelClaimName      = "crossplane.io/claim-name"
	labelClaimNamespace = "crossplane.io/claim-namespace"
)

// A composite resource, as it was observed. The SDK's own accessor reads only
// the legacy form of a composite's fields.
type composite struct {
	raw *structpb.Struct
}

func (c composite) field(path ...string) *structpb.Value {
	v := structpb.NewStructValue(c.raw)
	for _, p := range path {
		v = v.GetStructValue().GetFields()[p]
	}
	return v
}

func (c composite) str(path ...string) string { return c.field(path...).GetStringValue() }

func (c composite) apiVersion() string { return c.str("apiVersion") }
func (c composite) kind() string       { return c.str("kind") }
func (c composite) name() string       { return c.str("metadata", "name") }

func (c composite) annotation(name string) string { return c.str("metadata", "annotations", name) }

// observedGeneration for the status; 0 if there is a claim. Crossplane copies a
// composite's status to its claim, whose generation is another one: tools that
// compare the two would wait for ever.
func (c composite) observedGeneration() int64 {
	if c.field("spec", "claimRef") != nil {
		return 0
	}
	return int64(c.field("metadata", "generation").GetNumberValue())
}

// unresponsive says whether Crossplane drops changes of what it watches.
func (c composite) unresponsive() bool {
	for _, v := range c.field("status", "conditions").GetListValue().GetValues() {
		f := v.GetStructValue().GetFields()
		if f["type"].GetStringValue() == "Responsive" {
			return f["status"].GetStringValue() == "False"
		}
	}
	return false
}

// objects is the generation of provider-kubernetes' API to compose. A modern
// namespaced composite can only own namespaced objects, and a cluster scoped
// one is not allowed to name an object without its namespace.
func (c composite) objects() object.Generation {
	if c.str("metadata", "namespace") != "" {
		return object.GenerationNamespaced
	}
	return object.GenerationCluster
}

// target is the namespace to compose into, and the name by which the user
// knows the composite. The namespace is empty if there is neither a claim nor
// a namespace.
func (c composite) target() (string, string) {
	if ns := c.str("metadata", "namespace"); ns != "" {
		return ns, c.name()
	}
	if ns := c.str("spec", "claimRef", "namespace"); ns != "" {
		return ns, c.str("spec", "claimRef", "name")
	}
	if ns := c.str("metadata", "labels", labelClaimNamespace); ns != "" {
		return ns, c.str("metadata", "labels", labelClaimName)
	}
	return "", c.name()
}

// condition of a type: its message.
func (c composite) condition(typ string) string {
	for _, v := range c.field("status", "conditions").GetListValue().GetValues() {
		f := v.GetStructValue().GetFields()
		if f["type"].GetStringValue() == typ {
			return f["message"].GetStringValue()
		}
	}
	return ""
}
