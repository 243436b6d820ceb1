package object

import (
	"encoding/json"
	"strings"

	"github.com/crossplane/function-sdk-go/errors"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	corev1 "k8s.io/api/core/v1"
)

// notThere is what crossplane-runtime says of the target of an Object that only
// looks, if there is none.
const notThere = "external resource does not exist"

// A Live Object, as it was observed.
type Live struct {
	// Exists is true if the Object exists.
	Exists bool
	// Synced is false if the provider could not apply the manifest, for the
	// reason in SyncedMessage. It is true until the provider has said otherwise.
	Synced        bool
	SyncedMessage string
	// Ready is what the Object's Ready condition says.
	Ready bool
	// ProviderConfig through which the target is reached.
	ProviderConfig string
	// Observing says that the Object only looks at its target.
	Observing bool
	// manifest of the target as it is live; nil if it does not exist.
	manifest *structpb.Struct
	// wanted manifest of the target, as the Object has it.
	wanted *structpb.Struct
	// current says whether the provider has seen the Object as it is now.
	current bool
}

// FromStruct reads an observed Object. A nil struct is an Object that does not
// exist.
func FromStruct(s *structpb.Struct) Live {
	if s == nil {
		return Live{Synced: true}
	}
	l := Live{Exists: true, Synced: true, wanted: ManifestOf(s), current: true}
	spec := s.GetFields()["spec"].GetStructValue().GetFields()
	l.ProviderConfig = spec["providerConfigRef"].GetStructValue().GetFields()["name"].GetStringValue()
	policies := spec["managementPolicies"].GetListValue().GetValues()
	l.Observing = len(policies) == 1 && policies[0].GetStringValue() == "Observe"
	generation := s.GetFields()["metadata"].GetStructValue().GetFields()["generation"].GetNumberValue()
	status := s.GetFields()["status"].GetStructValue()
	for _, c := range status.GetFields()["conditions"].GetListValue().GetValues() {
		f := c.GetStructValue().GetFields()
		yes := f["status"].GetStringValue() == string(corev1.ConditionTrue)
		switch f["type"].GetStringValue() {
		case "Synced":
			l.Synced = yes
			// Older providers do not say which generation they mean.
			if g, ok := f["observedGeneration"]; ok {
				l.current = g.GetNumberValue() >= generation
			}
			if !yes {
				l.SyncedMessage = f["message"].GetStringValue()
			}
		case "Ready":
			l.Ready = yes
		}
	}
	m := status.GetFields()["atProvider"].GetStructValue().GetFields()["manifest"].GetStructValue()
	// The provider writes what it wants to the target's metadata before the
	// target exists; what the API server has stored has a uid.
	if m.GetFields()["metadata"].GetStructValue().GetFields()["uid"].GetStringValue() != "" {
		l.manifest = m
	}
	return l
}

// Answer to an Object that only looks: whether its target exists, and whether
// that is known already.
func (l Live) Answer() (exists, known bool) {
	switch {
	case l.manifest != nil:
		return true, true
	case !l.Synced && l.current && strings.Contains(l.SyncedMessage, notThere):
		return false, true
	}
	return false, false
}

// Refused says whether the provider could not apply the manifest. That there is
// no target is no such failure: an Object that only looks, or did until now, has
// made none.
func (l Live) Refused() bool {
	return !l.Synced && !strings.Contains(l.SyncedMessage, notThere)
}

// Labels of the live target.
func (l Live) Labels() map[string]string {
	out := map[string]string{}
	for k, v := range l.manifest.GetFields()["metadata"].GetStructValue().GetFields()["labels"].GetStructValue().GetFields() {
		out[k] = v.GetStringValue()
	}
	return out
}

// Current says whether what the Object reports is of what it wants now, as far
// as the provider has said.
func (l Live) Current() bool {
	return l.current
}

// HasTarget says whether the target exists, as far as the provider has seen.
func (l Live) HasTarget() bool {
	return l.manifest != nil
}

// Applied says whether what is live is what an Object wants, as far as the
// provider has said.
func (l Live) Applied(o *structpb.Struct) bool {
	return l.Exists && l.Synced && l.current && proto.Equal(l.wanted, ManifestOf(o))
}

// Into unmarshals the live target into a typed object. It returns false if
// there is none.
func (l Live) Into(o any) (bool, error) {
	if l.manifest == nil {
		return false, nil
	}
	return true, Convert(l.manifest, o)
}

// Convert a protobuf struct to a typed object.
func Convert(s *structpb.Struct, o any) error {
	b, err := s.MarshalJSON()
	if err != nil {
		return errors.Wrap(err, "cannot marshal protobuf struct to JSON")
	}
	return errors.Wrapf(json.Unmarshal(b, o), "cannot unmarshal %T", o)
}

// ManifestOf an Object: what it wants its target to be.
func ManifestOf(o *structpb.Struct) *structpb.Struct {
	return o.GetFields()["spec"].GetStructValue().GetFields()["forProvider"].GetStructValue().GetFields()["manifest"].GetStructValue()
}
