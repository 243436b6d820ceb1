package object

import (
	"encoding/json"

	"github.com/crossplane/function-sdk-go/errors"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	corev1 "k8s.io/api/core/v1"
)

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
