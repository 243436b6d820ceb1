package object

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestFromStruct(t *testing.T) {
	condition := func(typ, status, message string) any {
		return map[string]any{"type": typ, "status": status, "message": message}
	}
	object := func(manifest map[string]any, conditions ...any) *structpb.Struct {
		status := map[string]any{"conditions": conditions}
		if manifest != nil {
			status["atProvider"] = map[string]any{"manifest": manifest}
		}
		return mustStruct(t, map[string]any{"kind": "Object", "status": status})
	}
	stored := map[string]any{"kind": "ConfigMap", "metadata": map[string]any{"name": "n", "uid": "u"}, "data": map[string]any{"k": "v"}}

	type want struct {
		Live   Live
		Target *corev1.ConfigMap
	}
	cases := map[string]struct {
		reason string
		object *structpb.Struct
		want   want
	}{
		"Missing": {
			reason: "An Object that does not exist is not out of sync.",
			want:   want{Live: Live{Synced: true}},
		},
		"New": {
			reason: "An Object that the provider has not seen is neither ready nor out of sync.",
			object: mustStruct(t, map[string]any{"kind": "Object"}),
			want:   want{Live: Live{Exists: true, Synced: true}},
		},
		"Ready": {
			reason: "An Object that is ready should have its target.",
			object: object(stored, condition("Ready", "True", ""), condition("Synced", "True", "")),
			want: want{
				Live:   Live{Exists: true, Synced: true, Ready: true},
				Target: &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "u"}, Data: map[string]string{"k": "v"}},
			},
		},
		"NotReady": {
			reason: "An Object that is not ready should say so, and have its target all the same.",
			object: object(stored, condition("Synced", "True", ""), condition("Ready", "False", "starting")),
			want: want{
				Live:   Live{Exists: true, Synced: true},
				Target: &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "u"}, Data: map[string]string{"k": "v"}},
			},
		},
		"NotSynced": {
			reason: "What could not be applied should be told, also if what was there before is ready.",
			object: object(stored, condition("Ready", "True", ""), condition("Synced", "False", "spec: Forbidden")),
			want: want{
				Live:   Live{Exists: true, Ready: true, SyncedMessage: "spec: Forbidden"},
				Target: &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "u"}, Data: map[string]string{"k": "v"}},
			},
		},
		"NotCreated": {
			reason: "A manifest without a uid is what the provider wants, not what is there.",
			object: object(map[string]any{"kind": "ConfigMap", "metadata": map[string]any{"name": "n"}}, condition("Synced", "False", "denied")),
			want:   want{Live: Live{Exists: true, SyncedMessage: "denied"}},
		},
		"OddStatus": {
			reason: "A status that is not what it should be should be as good as none.",
			object: mustStruct(t, map[string]any{"status": map[string]any{"conditions": "none", "atProvider": []any{}}}),
			want:   want{Live: Live{Exists: true, Synced: true}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l := FromStruct(tc.object)
			got := want{Live: Live{Exists: l.Exists, Synced: l.Synced, SyncedMessage: l.SyncedMessage, Ready: l.Ready}}
			cm := &corev1.ConfigMap{}
			ok, err := l.Into(cm)
			if err != nil {
				t.Fatalf("\n%s\nInto(...): %v", tc.reason, err)
			}
			if ok {
				got.Target = cm
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(Live{})); diff != "" {
				t.Errorf("\n%s\nFromStruct(...): -want, +got:\n%s", tc.reason, diff)
			}
			if l.HasTarget() != ok {
				t.Errorf("\n%s\nHasTarget(): want %t, got %t", tc.reason, ok, l.HasTarget())
			}
		})
	}
}

func TestInto(t *testing.T) {
	l := FromStruct(mustStruct(t, map[string]any{"status": map[string]any{"atProvider": map[string]any{"manifest": map[string]any{
		"metadata": map[string]any{"uid": "u"}, "data": "not a map",
	}}}}))
	if _, err := l.Into(&corev1.ConfigMap{}); err == nil {
		t.Errorf("\nA target of another type should be an error.\nInto(...): want an error, got none")
	}
}

// TestAnswer is about Objects that only look: what they say of what is there.
func TestAnswer(t *testing.T) {
	object := func(generation int, policies []any, manifest map[string]any, conditions ...any) *structpb.Struct {
		status := map[string]any{"conditions": conditions}
		if manifest != nil {
			status["atProvider"] = map[string]any{"manifest": manifest}
		}
		spec := map[string]any{"providerConfigRef": map[string]any{"name": "remote"}}
		if policies != nil {
			spec["managementPolicies"] = policies
		}
		return mustStruct(t, map[string]any{"metadata": map[string]any{"generation": generation}, "spec": spec, "status": status})
	}
	missing := func(generation int) any {
		return map[string]any{
			"type": "Synced", "status": "False", "observedGeneration": generation,
			"message": "observe failed: external resource does not exist",
		}
	}
	synced := map[string]any{"type": "Synced", "status": "True", "observedGeneration": 1}
	observe := []any{"Observe"}
	labelled := map[string]any{"metadata": map[string]any{"uid": "u", "labels": map[string]any{"app": "theirs"}}}

	type want struct {
		Observing, Current bool
		ProviderConfig     string
		Exists, Known      bool
		Labels             map[string]string
	}
	none := map[string]string{}
	cases := map[string]struct {
		reason string
		object *structpb.Struct
		want   want
	}{
		"NoObject":   {"Before anybody looked nothing is known.", nil, want{Labels: none}},
		"New":        {"Before the provider looked nothing is known.", object(1, observe, nil), want{Observing: true, Current: true, ProviderConfig: "remote", Labels: none}},
		"NotThere":   {"That there is nothing should be an answer.", object(1, observe, nil, missing(1)), want{Observing: true, Current: true, ProviderConfig: "remote", Known: true, Labels: none}},
		"NotAsked":   {"What was said of something else is no answer.", object(2, observe, nil, missing(1)), want{Observing: true, ProviderConfig: "remote", Labels: none}},
		"OtherError": {"That the cluster cannot be reached is no answer.", object(1, observe, nil, map[string]any{"type": "Synced", "status": "False", "message": "connection refused"}), want{Observing: true, Current: true, ProviderConfig: "remote", Labels: none}},
		"There": {
			"What is there should be told, and whose it is.", object(1, observe, labelled, synced),
			want{Observing: true, Current: true, ProviderConfig: "remote", Exists: true, Known: true, Labels: map[string]string{"app": "theirs"}},
		},
		"NotObserving": {
			"An Object that may do more than look is no question.", object(1, []any{"Observe", "Update"}, labelled, synced),
			want{Current: true, ProviderConfig: "remote", Exists: true, Known: true, Labels: map[string]string{"app": "theirs"}},
		},
		"All": {
			"An Object that may do all is no question.", object(1, nil, labelled, synced),
			want{Current: true, ProviderConfig: "remote", Exists: true, Known: true, Labels: map[string]string{"app": "theirs"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l := FromStruct(tc.object)
			got := want{Observing: l.Observing, Current: l.Current(), ProviderConfig: l.ProviderConfig, Labels: l.Labels()}
			got.Exists, got.Known = l.Answer()
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nAnswer(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
