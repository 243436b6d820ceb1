// Package volume turns what a user wants of a volume into a claim for it: what
// cannot change once a claim exists is rendered as it is live, since a manifest
// that the API server refuses could not even be deleted. The one exception is a
// claim that gives way.
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
	// Retain the claim when whoever wants it is deleted.
	Retain bool
	// Kind of whoever wants it, such as AIMCache, and the field of its spec that
	// the wish is from, such as storage.
	Kind, Field string
}

// Claim for the volume, given the one that is live, and its class.
func (w Wish) Claim(live *corev1.PersistentVolumeClaim, c Class) *corev1.PersistentVolumeClaim {
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: w.Meta, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{w.Mode},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: w.Size}},
	}}
	if w.Class != "" {
		pvc.Spec.StorageClassName = &w.Class
	}
	if live != nil && !w.GivesWay(live) {
		pvc.Spec.AccessModes = live.Spec.AccessModes
		pvc.Spec.StorageClassName = live.Spec.StorageClassName
		have := live.Spec.Resources.Requests[corev1.ResourceStorage]
		grows := w.Size.Cmp(have) > 0 && c.Expandable && Bound(live)
		if !grows {
			pvc.Spec.Resources.Requests[corev1.ResourceStorage] = have
		}
	}
	pvc.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"))
	return pvc
}

// GivesWay says whether a claim is to make way for what is wanted now: nothing
// of it can change, but nothing was ever stored in it either. The API server
// refuses what is rendered then, until somebody deletes the claim; the provider
// would otherwise make it again as it was. Only what is retained can be wanted
// in vain without getting in the way of its own deletion.
func (w Wish) GivesWay(live *corev1.PersistentVolumeClaim) bool {
	return w.Retain && live != nil && empty(live) && (w.otherClass(live) || w.otherMode(live) || w.otherSize(live))
}

// empty says whether a claim has never had a volume. One that is not bound, and
// names its volume, may be restored from a backup: there may be something on it.
func empty(live *corev1.PersistentVolumeClaim) bool {
	return live.Status.Phase == corev1.ClaimPending && live.Spec.VolumeName == ""
}

// The platform's default class may have changed since; nobody asked for that.
func (w Wish) otherClass(live *corev1.PersistentVolumeClaim) bool {
	return w.AskedClass != "" && ptr.Deref(live.Spec.StorageClassName, "") != w.AskedClass
}

func (w Wish) otherMode(live *corev1.PersistentVolumeClaim) bool {
	return len(live.Spec.AccessModes) > 0 && live.Spec.AccessModes[0] != w.Mode
}

// A size that nobody asked for need not be told of.
func (w Wish) otherSize(live *corev1.PersistentVolumeClaim) bool {
	have := live.Spec.Resources.Requests[corev1.ResourceStorage]
	return w.AskedSize && w.Size.Cmp(have) != 0
}

// renew says what to do for a new claim instead of the live one.
func (w Wish) renew(live *corev1.PersistentVolumeClaim) string {
	switch {
	case !w.Retain:
		return fmt.Sprintf("delete the %s, and its volume with it, and apply it again", w.Kind)
	case empty(live):
		return fmt.Sprintf("delete the PersistentVolumeClaim %s, which holds nothing yet", live.Name)
	}
	return fmt.Sprintf("to start with an empty volume, delete the %s, then the PersistentVolumeClaim %s with all that it holds, and apply the %[1]s again", w.Kind, live.Name)
}

// A Class of storage, as far as it is known.
type Class struct {
	// Known says that it was looked up, and Exists that there is such a class.
	Known, Exists bool
	// Expandable says that it allows its volumes to grow.
	Expandable bool
	// Immediate says that it binds volumes without waiting for a pod.
	Immediate bool
}

// ClassOf the live volume, if something depends on what it is: whether the
// volume can grow, or when it binds. Empty if nothing does.
func (w Wish) ClassOf(live *corev1.PersistentVolumeClaim) string {
	if live == nil {
		return ""
	}
	if have := live.Spec.Resources.Requests[corev1.ResourceStorage]; Bound(live) && w.Size.Cmp(have) <= 0 {
		return ""
	}
	return ptr.Deref(live.Spec.StorageClassName, "")
}

// Bound says whether a claim has a volume; one that is nil has none.
func Bound(c *corev1.PersistentVolumeClaim) bool {
	return c != nil && c.Status.Phase == corev1.ClaimBound
}

// A State of a volume.
type State struct {
	OK      bool
	Reason  v1alpha1.ConditionReason
	Message string
}

// State of the volume that is live, and of a class.
func (w Wish) State(live *corev1.PersistentVolumeClaim, c Class) State {
	unbound := State{Reason: v1alpha1.ReasonWaitingForConsumer, Message: fmt.Sprintf("the PersistentVolumeClaim %s is not bound yet; with some storage classes that waits for a pod", w.Meta.Name)}
	if live == nil {
		return unbound
	}
	if live.Status.Phase == corev1.ClaimLost {
		return State{Reason: v1alpha1.ReasonVolumeLost, Message: fmt.Sprintf("the PersistentVolume %s of the PersistentVolumeClaim %s is gone, and what was on it; delete the PersistentVolumeClaim to start an empty cache", live.Spec.VolumeName, live.Name)}
	}
	class := ptr.Deref(live.Spec.StorageClassName, "")
	// Nobody makes a volume for such a claim. It can only be bound to one that
	// somebody made for it.
	if empty(live) && class != "" && c.Known && !c.Exists {
		advice := w.renew(live)
		if !w.otherClass(live) {
			advice = fmt.Sprintf("set %s.storageClass to one of those that kubectl get storageclass shows, and %s", w.Field, advice)
		}
		return State{Reason: v1alpha1.ReasonStorageClassNotFound, Message: fmt.Sprintf("there is no StorageClass %q, so that no volume is made for the PersistentVolumeClaim %s; %s", class, live.Name, advice)}
	}
	if w.otherClass(live) {
		return State{Reason: v1alpha1.ReasonStorageClassImmutable, Message: fmt.Sprintf("%s.storageClass cannot change from %q to %q; %s", w.Field, class, w.AskedClass, w.renew(live))}
	}
	if w.otherMode(live) {
		return State{Reason: v1alpha1.ReasonStorageClassImmutable, Message: fmt.Sprintf("%s.accessMode cannot change from %s to %s; %s", w.Field, live.Spec.AccessModes[0], w.Mode, w.renew(live))}
	}
	have := live.Spec.Resources.Requests[corev1.ResourceStorage]
	if !Bound(live) {
		if w.otherSize(live) {
			unbound.Message += fmt.Sprintf(", and its size cannot change from %s to %s before; if it waits in vain, %s", have.String(), w.Size.String(), w.renew(live))
		}
		return unbound
	}
	switch cmp := w.Size.Cmp(have); {
	case !w.otherSize(live):
	case cmp < 0:
		return State{Reason: v1alpha1.ReasonShrinkIgnored, Message: fmt.Sprintf("a volume cannot shrink: it stays at %s, %s.size says %s", have.String(), w.Field, w.Size.String())}
	case class != "" && !c.Known:
		return State{Reason: v1alpha1.ReasonExpansionNotSupported, Message: fmt.Sprintf("it is not known whether the storage class %q allows volumes to grow: it stays at %s, %s.size says %s", class, have.String(), w.Field, w.Size.String())}
	case !c.Expandable:
		return State{Reason: v1alpha1.ReasonExpansionNotSupported, Message: fmt.Sprintf("the storage class %q does not allow volumes to grow: it stays at %s, %s.size says %s", class, have.String(), w.Field, w.Size.String())}
	}
	return State{OK: true, Reason: v1alpha1.ReasonBound, Message: fmt.Sprintf("the volume %s of %s is bound", live.Name, have.String())}
}
