// Package volume turns what a user wants of a volume into a claim for it that
// can always be applied: what cannot change once a claim exists is rendered as
// it is live. A manifest that the API server refuses could not even be deleted.
package volume

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

// A Wish for a volume.
type Wish struct {
	// Meta of the claim.
	Meta metav1.ObjectMeta
	// Class of the volume; the cluster's default if empty.
	Class string
	// AskedClass is the class that the user named, and not the platform; empty
	// if the user named none.
	AskedClass string
	// Mode of access.
	Mode corev1.PersistentVolumeAccessMode
	// Size of the volume, and whether the user asked for it.
	Size      resource.Quantity
	AskedSize bool
	// Field of the spec that the wish is from, such as cache or storage.
	Field string
}

// Claim for the volume, given the one that is live, and whether its class
// allows it to grow.
func (w Wish) Claim(live *corev1.PersistentVolumeClaim, expandable bool) *corev1.PersistentVolumeClaim {
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: w.Meta, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{w.Mode},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: w.Size}},
	}}
	if w.Class != "" {
		pvc.Spec.StorageClassName = &w.Class
	}
	if live != nil {
		pvc.Spec.AccessModes = live.Spec.AccessModes
		pvc.Spec.StorageClassName = live.Spec.StorageClassName
		have := live.Spec.Resources.Requests[corev1.ResourceStorage]
		grows := w.Size.Cmp(have) > 0 && expandable && live.Status.Phase == corev1.ClaimBound
		if !grows {
			pvc.Spec.Resources.Requests[corev1.ResourceStorage] = have
		}
	}
	pvc.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"))
	return pvc
}

// GrowingClass is the storage class of a volume that should grow; empty if it
// should not.
func (w Wish) GrowingClass(live *corev1.PersistentVolumeClaim) string {
	if live == nil || live.Status.Phase != corev1.ClaimBound {
		// One that is not bound cannot change at all.
		return ""
	}
	if have := live.Spec.Resources.Requests[corev1.ResourceStorage]; w.Size.Cmp(have) <= 0 {
		return ""
	}
	return ptr.Deref(live.Spec.StorageClassName, "")
}

// A State of a volume.
type State struct {
	OK      bool
	Reason  v1alpha1.ConditionReason
	Message string
}

// State of the volume that is live. Known says whether it is known if the class
// allows volumes to grow.
func (w Wish) State(live *corev1.PersistentVolumeClaim, expandable, known bool) State {
	unbound := State{Reason: v1alpha1.ReasonWaitingForConsumer, Message: fmt.Sprintf("the PersistentVolumeClaim %s is not bound yet; with some storage classes that waits for a pod", w.Meta.Name)}
	if live == nil {
		return unbound
	}
	// The platform's default may have changed since; nobody asked for that.
	if class := ptr.Deref(live.Spec.StorageClassName, ""); w.AskedClass != "" && class != w.AskedClass {
		return State{Reason: v1alpha1.ReasonStorageClassImmutable, Message: fmt.Sprintf("%s.storageClass cannot change from %q to %q; delete the PersistentVolumeClaim %s to start an empty cache of that class", w.Field, class, w.AskedClass, live.Name)}
	}
	if len(live.Spec.AccessModes) > 0 && live.Spec.AccessModes[0] != w.Mode {
		return State{Reason: v1alpha1.ReasonStorageClassImmutable, Message: fmt.Sprintf("%s.accessMode cannot change from %s to %s; delete the PersistentVolumeClaim %s to start an empty cache with that mode", w.Field, live.Spec.AccessModes[0], w.Mode, live.Name)}
	}
	have := live.Spec.Resources.Requests[corev1.ResourceStorage]
	// A size that nobody asked for need not be told of.
	switch cmp := w.Size.Cmp(have); {
	case !w.AskedSize:
	case cmp < 0:
		return State{Reason: v1alpha1.ReasonShrinkIgnored, Message: fmt.Sprintf("a volume cannot shrink: it stays at %s, %s.size says %s", have.String(), w.Field, w.Size.String())}
	case cmp > 0 && !known:
		return State{Reason: v1alpha1.ReasonExpansionNotSupported, Message: fmt.Sprintf("it is not known whether the storage class %q allows volumes to grow: it stays at %s, %s.size says %s", ptr.Deref(live.Spec.StorageClassName, ""), have.String(), w.Field, w.Size.String())}
	case cmp > 0 && !expandable:
		return State{Reason: v1alpha1.ReasonExpansionNotSupported, Message: fmt.Sprintf("the storage class %q does not allow volumes to grow: it stays at %s, %s.size says %s", ptr.Deref(live.Spec.StorageClassName, ""), have.String(), w.Field, w.Size.String())}
	}
	if live.Status.Phase == corev1.ClaimBound {
		return State{OK: true, Reason: v1alpha1.ReasonBound, Message: fmt.Sprintf("the volume %s of %s is bound", live.Name, have.String())}
	}
	return unbound
}
