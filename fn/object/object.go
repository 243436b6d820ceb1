// Package object wraps Kubernetes manifests as Objects of provider-kubernetes,
// and unwraps what is live. It knows nothing of what is inside.
package object

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/crossplane/function-sdk-go/errors"
	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/runtime"
)

// A Generation of provider-kubernetes' API.
type Generation string

// Generations. A legacy composite, which is cluster scoped and may have a
// claim, composes cluster scoped Objects. A namespaced one composes namespaced
// Objects.
const (
	GenerationCluster    Generation = "kubernetes.crossplane.io/v1alpha2"
	GenerationNamespaced Generation = "kubernetes.m.crossplane.io/v1alpha1"
)

// ResourceName of a composed resource. It carries the generation, because
// Crossplane would leak the old object if its kind changed under one name.
func (g Generation) ResourceName(role string) string {
	if g == GenerationNamespaced {
		return role + "-object-m"
	}
	return role + "-object"
}

// Kind of an Object, whatever its generation.
const Kind = "Object"

// annotationExternalName is what an object is called outside of Crossplane.
const annotationExternalName = "crossplane.io/external-name"

// annotationPollInterval is how often a provider looks at a target that is
// ready. provider-kubernetes knows it from version 1.3 on.
const annotationPollInterval = "crossplane.io/poll-interval"

// A Policy says what an Object may do to its target.
type Policy int

// Policies.
const (
	// PolicyOwn creates, updates and deletes the target.
	PolicyOwn Policy = iota
	// PolicyRetain creates and updates the target, and leaves it when the
	// Object is deleted.
	PolicyRetain
	// PolicyPartial updates some fields of a target that another Object owns.
	PolicyPartial
	// PolicyObserve only looks at the target.
	PolicyObserve
)

// managementPolicies of a policy; nil means all.
func (p Policy) managementPolicies() []any {
	switch p {
	case PolicyOwn:
	case PolicyRetain:
		return []any{"Observe", "Create", "Update"}
	case PolicyPartial:
		return []any{"Observe", "Update"}
	case PolicyObserve:
		return []any{"Observe"}
	}
	return nil
}

// An Object to make.
type Object struct {
	// Generation of the Object's API.
	Generation Generation
	// Name of the Object; Crossplane names it if this is empty.
	Name string
	// Labels of the Object, by which it is found.
	Labels map[string]string
	// Annotations of the Object.
	Annotations map[string]string
	// ProviderConfig through which the target is reached.
	ProviderConfig string
	// PollInterval is how often the provider should look at a target that is
	// ready; as often as at others if it is empty.
	PollInterval string
	// Watch says that changes of the target should reach the Object at once,
	// though its kind is not one of those that always do.
	Watch bool
	// Policy for the target.
	Policy Policy
	// Manifest of the target.
	Manifest runtime.Object
	// Connection is what the Object publishes as connection details; nil if it
	// publishes none.
	Connection *Connection
}

// Connection is a key of a Secret that an Object publishes.
type Connection struct {
	// Namespace and Secret that hold the value, and its key there.
	Namespace, Secret, Key string
	// As is the key of the connection detail.
	As string
	// ToNamespace and ToSecret are where it is published: the Secret of the
	// Object's connection details.
	ToNamespace, ToSecret string
}

// Struct of the Object, as a RunFunctionResponse has it.
func (o Object) Struct() (*structpb.Struct, error) {
	m, err := Manifest(o.Manifest)
	if err != nil {
		return nil, err
	}
	gvk := o.Manifest.GetObjectKind().GroupVersionKind()

	ref := map[string]any{"name": o.ProviderConfig}
	if o.Generation == GenerationNamespaced {
		ref["kind"] = "ClusterProviderConfig"
	}
	spec := map[string]any{
		"providerConfigRef": ref,
		"forProvider":       map[string]any{"manifest": m},
		"readiness":         readiness(gvk, o.Policy),
	}
	if (o.Watch || watched(gvk)) && (o.Policy == PolicyOwn || o.Policy == PolicyRetain) {
		spec["watch"] = true
	}
	if p := o.Policy.managementPolicies(); p != nil {
		spec["managementPolicies"] = p
	}
	if c := o.Connection; c != nil {
		spec["connectionDetails"] = []any{map[string]any{
			"apiVersion": "v1", "kind": "Secret", "namespace": c.Namespace, "name": c.Secret,
			"fieldPath": "data[" + c.Key + "]", "toConnectionSecretKey": c.As,
		}}
		spec["writeConnectionSecretToRef"] = map[string]any{"namespace": c.ToNamespace, "name": c.ToSecret}
	}
	// The provider would add it, which is one more change of the Object that
	// Crossplane runs the function for.
	annotations := map[string]any{annotationExternalName: targetName(m)}
	if o.PollInterval != "" {
		annotations[annotationPollInterval] = o.PollInterval
	}
	for k, v := range o.Annotations {
		annotations[k] = v
	}
	meta := map[string]any{"annotations": annotations}
	if o.Name != "" {
		meta["name"] = o.Name
	}
	if len(o.Labels) > 0 {
		l := make(map[string]any, len(o.Labels))
		for k, v := range o.Labels {
			l[k] = v
		}
		meta["labels"] = l
	}
	out := map[string]any{"apiVersion": string(o.Generation), "kind": Kind, "metadata": meta, "spec": spec}
	s, err := structpb.NewStruct(out)
	return s, errors.Wrapf(err, "cannot convert the Object of a %s to protobuf", gvk.Kind)
}

// Manifest of a typed object: without its status, and without the nulls and
// empty maps that typed structs marshal to. Server-side apply would own those,
// and an empty map can make a manifest that cannot be applied.
func Manifest(o runtime.Object) (map[string]any, error) {
	gvk := o.GetObjectKind().GroupVersionKind()
	b, err := json.Marshal(o)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot marshal %s", gvk.Kind)
	}
	m := map[string]any{}
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, errors.Wrapf(err, "cannot unmarshal %s", gvk.Kind)
	}
	delete(m, "status")
	prune(m)
	return m, nil
}

func targetName(manifest map[string]any) string {
	m, _ := manifest["metadata"].(map[string]any)
	n, _ := m["name"].(string)
	return n
}

// meaningful are maps that say something when they are empty: an emptyDir
// without options, and selectors of everything.
//
//nolint:gochecknoglobals // A constant that Go cannot express as such.
var meaningful = []string{"emptyDir", "labelSelector", "namespaceSelector", "podSelector"}

// prune nulls and empty maps, except for those that mean something.
func prune(m map[string]any) {
	for k, v := range m {
		switch v := v.(type) {
		case nil:
			delete(m, k)
		case map[string]any:
			prune(v)
			if len(v) == 0 && !slices.Contains(meaningful, k) {
				delete(m, k)
			}
		case []any:
			for _, e := range v {
				if e, ok := e.(map[string]any); ok {
					prune(e)
				}
			}
		}
	}
}

// StableName of an Object that must be found again: prefix, and whatever
// identifies it, which may be of any length.
func StableName(prefix string, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "/")))
	// provider-kubernetes' field manager is its name and this one, and the API
	// server takes 128 characters for both.
	const most = 100 - 17
	s := prefix + "-" + strings.Join(parts, "-")
	if len(s) > most {
		s = strings.TrimRight(s[:most], "-.")
	}
	return s + "-" + hex.EncodeToString(sum[:8])
}

// labelPrefix of the labels that are ours.
const labelPrefix = "aim.engine.amd.com/"

// Observing returns an Object that only looks at its target.
func Observing(o *structpb.Struct) *structpb.Struct {
	out := &structpb.Struct{Fields: maps.Clone(o.GetFields())}
	spec := &structpb.Struct{Fields: maps.Clone(o.GetFields()["spec"].GetStructValue().GetFields())}
	if spec.GetFields() == nil {
		return out
	}
	spec.Fields["managementPolicies"] = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewStringValue("Observe")}})
	out.Fields["spec"] = structpb.NewStructValue(spec)
	return out
}

// Keep an observed Object as it is.
func Keep(o *structpb.Struct) *structpb.Struct {
	f := o.GetFields()
	out := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for _, k := range []string{"apiVersion", "kind", "spec"} {
		if v, ok := f[k]; ok {
			out.Fields[k] = v
		}
	}
	meta := f["metadata"].GetStructValue().GetFields()
	kept := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	annotations := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for k, v := range meta["annotations"].GetStructValue().GetFields() {
		if k == annotationExternalName || k == annotationPollInterval || strings.HasPrefix(k, labelPrefix) {
			annotations.Fields[k] = v
		}
	}
	if len(annotations.GetFields()) > 0 {
		kept.Fields["annotations"] = structpb.NewStructValue(annotations)
	}
	labels := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for k, v := range meta["labels"].GetStructValue().GetFields() {
		if strings.HasPrefix(k, labelPrefix) {
			labels.Fields[k] = v
		}
	}
	if len(labels.GetFields()) > 0 {
		kept.Fields["labels"] = structpb.NewStructValue(labels)
	}
	if len(kept.GetFields()) > 0 {
		out.Fields["metadata"] = structpb.NewStructValue(kept)
	}
	return out
}
