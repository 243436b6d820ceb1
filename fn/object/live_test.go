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
