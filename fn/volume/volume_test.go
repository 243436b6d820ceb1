package volume

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

// wish for a volume of 50Gi of the class fast.
func wish(changes ...func(w *Wish)) Wish {
	w := Wish{
		Meta:  metav1.ObjectMeta{Name: "models-storage", Namespace: "team-a", Labels: map[string]string{"a": "b"}},
		Class: "fast", AskedClass: "fast", Mode: corev1.ReadWriteOnce, Size: resource.MustParse("50Gi"), AskedSize: true, Retain: true, Kind: "AIMCache", Field: "storage",
	}
	for _, change := range changes {
		change(&w)
	}
	return w
}

func sized(s string) func(w *Wish) { return func(w *Wish) { w.Size = resource.MustParse(s) } }
func ofClass(class, asked string) func(w *Wish) {
	return func(w *Wish) { w.Class, w.AskedClass = class, asked }
}
func thrownAway(w *Wish)  { w.Retain = false }
func shared(w *Wish)      { w.Mode = corev1.ReadWriteMany }
func unaskedSize(w *Wish) { w.AskedSize = false }

// live volume of 50Gi of the class fast, which is bound.
func live(changes ...func(c *corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	class := "fast"
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "models-storage", Namespace: "team-a", UID: "0d9a3c1e"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: &class, VolumeName: "pv-1",
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("50Gi")}},
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
	for _, change := range changes {
		change(c)
	}
	return c
}

func pending(c *corev1.PersistentVolumeClaim) {
	c.Spec.VolumeName, c.Status.Phase = "", corev1.ClaimPending
}
func restored(c *corev1.PersistentVolumeClaim)  { c.Spec.VolumeName = "pv-1" }
func lost(c *corev1.PersistentVolumeClaim)      { c.Status.Phase = corev1.ClaimLost }
func classless(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = nil }

// TestWish is about all that follows from one wish and one live claim: what is
// applied, what is asked for, and what is told.
func TestWish(t *testing.T) {
	type want struct {
		// Class, Mode and Size that are applied.
		Class, Mode, Size string
		// Looks at a class.
		Looks string
		State State
	}
	bound := State{OK: true, Reason: v1alpha1.ReasonBound, Message: "the volume models-storage of 50Gi is bound"}
	unbound := State{Reason: v1alpha1.ReasonWaitingForConsumer, Message: "the PersistentVolumeClaim models-storage is not bound yet; with some storage classes that waits for a pod"}
	fixed, grows := Class{Known: true, Exists: true}, Class{Known: true, Exists: true, Expandable: true}
	asLive := want{Class: "fast", Mode: "ReadWriteOnce", Size: "50Gi", State: bound}
	with := func(change func(w *want)) want {
		w := asLive
		change(&w)
		return w
	}
	cases := map[string]struct {
		reason string
		wish   Wish
		live   *corev1.PersistentVolumeClaim
		class  Class
		want   want
	}{
		"New": {
			reason: "What the user wants should be asked for.",
			wish:   wish(shared), class: fixed,
			want: want{Class: "fast", Mode: "ReadWriteMany", Size: "50Gi", State: unbound},
		},
		"NewWithoutClass": {
			reason: "The cluster's default class is asked for by naming none.",
			wish:   wish(ofClass("", "")), class: fixed,
			want: want{Mode: "ReadWriteOnce", Size: "50Gi", State: unbound},
		},
		"Bound": {
			reason: "What is as it should be stays so.",
			wish:   wish(), live: live(), class: fixed,
			want: asLive,
		},
		"Pending": {
			reason: "A claim that waits for a pod should be told of.",
			wish:   wish(), live: live(pending), class: fixed,
			want: with(func(w *want) { w.Looks, w.State = "fast", unbound }),
		},
		"PendingWithoutClass": {
			reason: "A typo in the name of a class should be told of, and what to do: the claim waits for ever.",
			wish:   wish(), live: live(pending), class: Class{Known: true},
			want: with(func(w *want) {
				w.Looks = "fast"
				w.State = State{Reason: v1alpha1.ReasonStorageClassNotFound, Message: `there is no StorageClass "fast", so that no volume is made for the PersistentVolumeClaim models-storage; set storage.storageClass to one of those that kubectl get storageclass shows, and delete the PersistentVolumeClaim models-storage, which holds nothing yet`}
			}),
		},
		"PendingWithoutClassStill": {
			reason: "With the typo corrected, what is wanted now should be made once the claim is deleted, which nobody else may do.",
			wish:   wish(ofClass("slow", "slow")), live: live(pending), class: Class{Known: true},
			want: with(func(w *want) {
				w.Class, w.Looks = "slow", "fast"
				w.State = State{Reason: v1alpha1.ReasonStorageClassNotFound, Message: `there is no StorageClass "fast", so that no volume is made for the PersistentVolumeClaim models-storage; delete the PersistentVolumeClaim models-storage, which holds nothing yet`}
			}),
		},
		"PendingThrownAway": {
			reason: "What is deleted with its cache must not be refused by the API server: it could not be deleted any more.",
			wish:   wish(ofClass("slow", "slow"), thrownAway), live: live(pending), class: Class{Known: true},
			want: with(func(w *want) {
				w.Looks = "fast"
				w.State = State{Reason: v1alpha1.ReasonStorageClassNotFound, Message: `there is no StorageClass "fast", so that no volume is made for the PersistentVolumeClaim models-storage; delete the AIMCache, and its volume with it, and apply it again`}
			}),
		},
		"PendingOfOtherMode": {
			reason: "Nor can the mode of a claim change that no volume was made for, such as one that its class does not have.",
			wish:   wish(shared), live: live(pending), class: fixed,
			want: with(func(w *want) {
				w.Mode, w.Looks = "ReadWriteMany", "fast"
				w.State = State{Reason: v1alpha1.ReasonStorageClassImmutable, Message: "storage.accessMode cannot change from ReadWriteOnce to ReadWriteMany; delete the PersistentVolumeClaim models-storage, which holds nothing yet"}
			}),
		},
		"PendingRestored": {
			reason: "A claim that names its volume may be about to get one with models on it, and should stay.",
			wish:   wish(ofClass("slow", "slow")), live: live(pending, restored), class: Class{Known: true},
			want: with(func(w *want) {
				w.Looks = "fast"
				w.State = State{Reason: v1alpha1.ReasonStorageClassImmutable, Message: `storage.storageClass cannot change from "fast" to "slow"; to start with an empty volume, delete the AIMCache, then the PersistentVolumeClaim models-storage with all that it holds, and apply the AIMCache again`}
			}),
		},
		"PendingUnknown": {
			reason: "Where nobody knows the classes, nothing should be claimed of one.",
			wish:   wish(), live: live(pending),
			want: with(func(w *want) { w.Looks, w.State = "fast", unbound }),
		},
		"PendingWithoutAny": {
			reason: "A claim that names no class may be bound to a volume that somebody made.",
			wish:   wish(ofClass("", "")), live: live(pending, classless),
			want: want{Mode: "ReadWriteOnce", Size: "50Gi", State: unbound},
		},
		"PendingShrinks": {
			reason: "Nor can its size, such as one that no disk has.",
			wish:   wish(sized("10Gi")), live: live(pending), class: fixed,
			want: with(func(w *want) {
				w.Size, w.Looks, w.State = "10Gi", "fast", unbound
				w.State.Message += ", and its size cannot change from 50Gi to 10Gi before; if it waits in vain, delete the PersistentVolumeClaim models-storage, which holds nothing yet"
			}),
		},
		"BoundWithoutClass": {
			reason: "A volume that is there needs no class, such as one that somebody made by hand.",
			wish:   wish(), live: live(), class: Class{Known: true},
			want: asLive,
		},
		"Lost": {
			reason: "A claim whose volume is gone should not seem to be waiting for one.",
			wish:   wish(), live: live(lost), class: fixed,
			want: with(func(w *want) {
				w.Looks = "fast"
				w.State = State{Reason: v1alpha1.ReasonVolumeLost, Message: "the PersistentVolume pv-1 of the PersistentVolumeClaim models-storage is gone, and what was on it; delete the PersistentVolumeClaim to start an empty cache"}
			}),
		},
		"Shrinks": {
			reason: "A volume cannot shrink, and the API server would refuse to try.",
			wish:   wish(sized("10Gi")), live: live(), class: grows,
			want: with(func(w *want) {
				w.State = State{Reason: v1alpha1.ReasonShrinkIgnored, Message: "a volume cannot shrink: it stays at 50Gi, storage.size says 10Gi"}
			}),
		},
		"ShrinksUnasked": {
			reason: "A size that nobody asked for should not be told of.",
			wish:   wish(sized("10Gi"), unaskedSize), live: live(), class: fixed,
			want: asLive,
		},
		"Grows": {
			reason: "A volume should grow where its class allows it.",
			wish:   wish(sized("80Gi")), live: live(), class: grows,
			want: with(func(w *want) { w.Size, w.Looks = "80Gi", "fast" }),
		},
		"GrowsNot": {
			reason: "A volume stays as it is where its class does not allow it to grow.",
			wish:   wish(sized("80Gi")), live: live(), class: fixed,
			want: with(func(w *want) {
				w.Looks = "fast"
				w.State = State{Reason: v1alpha1.ReasonExpansionNotSupported, Message: `the storage class "fast" does not allow volumes to grow: it stays at 50Gi, storage.size says 80Gi`}
			}),
		},
		"GrowsUnknown": {
			reason: "Where nobody knows the class, a volume should stay as it is, and nothing should be claimed of the class.",
			wish:   wish(sized("80Gi")), live: live(),
			want: with(func(w *want) {
				w.Looks = "fast"
				w.State = State{Reason: v1alpha1.ReasonExpansionNotSupported, Message: `it is not known whether the storage class "fast" allows volumes to grow: it stays at 50Gi, storage.size says 80Gi`}
			}),
		},
		"GrowsUnbound": {
			reason: "A claim that is not bound cannot grow, whatever its class says; too small a size may be why there is no volume.",
			wish:   wish(sized("80Gi")), live: live(pending), class: grows,
			want: with(func(w *want) {
				w.Size, w.Looks, w.State = "80Gi", "fast", unbound
				w.State.Message += ", and its size cannot change from 50Gi to 80Gi before; if it waits in vain, delete the PersistentVolumeClaim models-storage, which holds nothing yet"
			}),
		},
		"GrowsUnboundUnasked": {
			reason: "A size that nobody asked for changes with the model, and should not be fought for.",
			wish:   wish(sized("80Gi"), unaskedSize), live: live(pending), class: grows,
			want: with(func(w *want) { w.Looks, w.State = "fast", unbound }),
		},
		"GrowsWithoutClass": {
			reason: "A volume without a class cannot grow.",
			wish:   wish(ofClass("", ""), sized("80Gi")), live: live(classless), class: fixed,
			want: want{Mode: "ReadWriteOnce", Size: "50Gi", State: State{
				Reason: v1alpha1.ReasonExpansionNotSupported, Message: `the storage class "" does not allow volumes to grow: it stays at 50Gi, storage.size says 80Gi`,
			}},
		},
		"Class": {
			reason: "A class cannot change, and a manifest with another one could not even be deleted.",
			wish:   wish(ofClass("slow", "slow")), live: live(), class: fixed,
			want: with(func(w *want) {
				w.State = State{Reason: v1alpha1.ReasonStorageClassImmutable, Message: `storage.storageClass cannot change from "fast" to "slow"; to start with an empty volume, delete the AIMCache, then the PersistentVolumeClaim models-storage with all that it holds, and apply the AIMCache again`}
			}),
		},
		"ClassOfPlatform": {
			reason: "That the platform's default changed is nothing to tell a user of.",
			wish:   wish(ofClass("slow", "")), live: live(), class: fixed,
			want: asLive,
		},
		"Mode": {
			reason: "Nor can a mode change.",
			wish:   wish(shared), live: live(), class: fixed,
			want: with(func(w *want) {
				w.State = State{Reason: v1alpha1.ReasonStorageClassImmutable, Message: "storage.accessMode cannot change from ReadWriteOnce to ReadWriteMany; to start with an empty volume, delete the AIMCache, then the PersistentVolumeClaim models-storage with all that it holds, and apply the AIMCache again"}
			}),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := tc.live.DeepCopy()
			c := tc.wish.Claim(tc.live, tc.class)
			size := c.Spec.Resources.Requests[corev1.ResourceStorage]
			got := want{Mode: string(c.Spec.AccessModes[0]), Size: size.String(), Looks: tc.wish.ClassOf(tc.live), State: tc.wish.State(tc.live, tc.class)}
			if c.Spec.StorageClassName != nil {
				got.Class = *c.Spec.StorageClassName
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.wish.Meta, c.ObjectMeta); diff != "" {
				t.Errorf("\nWhat a claim is called should not depend on what is live: -want, +got:\n%s", diff)
			}
			if diff := cmp.Diff(before, tc.live); diff != "" {
				t.Errorf("\nWhat is live should not be changed: -before, +after:\n%s", diff)
			}
		})
	}
}
