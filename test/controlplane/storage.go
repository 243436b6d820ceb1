package controlplane

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
)

// Names of StorageClasses. All delete a volume once it's released.
const (
	// StorageClassStandard is the default. It binds at once.
	StorageClassStandard = "standard"

	// StorageClassWait binds once a pod that uses the claim was given a node.
	StorageClassWait = "standard-wait"

	// StorageClassExpandable binds at once, and lets claims grow.
	StorageClassExpandable = "expandable"
)

// provisioner of volumes that nothing can be written to.
const provisioner = "aim.test/fake"

// Annotations by which the scheduler and the controller manager talk to a
// provisioner.
const (
	annSelectedNode       = "volume.kubernetes.io/selected-node"
	annStorageProvisioner = "volume.kubernetes.io/storage-provisioner"
	annProvisionedBy      = "pv.kubernetes.io/provisioned-by"
)

func storageClasses() []*storagev1.StorageClass {
	class := func(name string, mode storagev1.VolumeBindingMode) *storagev1.StorageClass {
		return &storagev1.StorageClass{
			ObjectMeta:        metav1.ObjectMeta{Name: name},
			Provisioner:       provisioner,
			ReclaimPolicy:     ptr.To(corev1.PersistentVolumeReclaimDelete),
			VolumeBindingMode: ptr.To(mode),
		}
	}
	standard := class(StorageClassStandard, storagev1.VolumeBindingImmediate)
	standard.Annotations = map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}
	expandable := class(StorageClassExpandable, storagev1.VolumeBindingImmediate)
	expandable.AllowVolumeExpansion = ptr.To(true)
	return []*storagev1.StorageClass{standard, class(StorageClassWait, storagev1.VolumeBindingWaitForFirstConsumer), expandable}
}

// startStorage makes StorageClasses, and starts what provisions for them.
func (c *ControlPlane) startStorage(ctx context.Context) error {
	for _, sc := range storageClasses() {
		if _, err := c.kube.StorageV1().StorageClasses().Create(ctx, sc, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("cannot create StorageClass: %w", err)
		}
	}
	//nolint:contextcheck // It outlives the start.
	return c.startHelper(processProvisioner, []string{"provision", "--kubeconfig=" + c.Kubeconfig}, nil, func(ctx context.Context) error {
		return Provision(ctx, c.kube)
	})
}

// Provision makes a PersistentVolume for each claim of our StorageClasses, as
// an external provisioner does: when the controller manager, and the scheduler
// if the class waits for it, say it's time. It also grows volumes, and deletes
// those that were released. It returns when the context ends.
//
// The volumes bind, and that's all they do.
func Provision(ctx context.Context, kube kubernetes.Interface) error {
	p := &volumes{
		kube:  kube,
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](50*time.Millisecond, 5*time.Second)),
	}
	enqueue := func(o any) {
		if key, err := cache.MetaNamespaceKeyFunc(o); err == nil {
			p.queue.Add(key)
		}
	}
	handler := cache.ResourceEventHandlerFuncs{AddFunc: enqueue, UpdateFunc: func(_, o any) { enqueue(o) }}
	f := informers.NewSharedInformerFactory(kube, 0)
	if _, err := f.Core().V1().PersistentVolumeClaims().Informer().AddEventHandler(handler); err != nil {
		return fmt.Errorf("cannot watch claims: %w", err)
	}
	if _, err := f.Core().V1().PersistentVolumes().Informer().AddEventHandler(handler); err != nil {
		return fmt.Errorf("cannot watch volumes: %w", err)
	}
	f.Start(ctx.Done())
	defer f.Shutdown()
	go func() {
		<-ctx.Done()
		p.queue.ShutDown()
	}()
	for {
		key, down := p.queue.Get()
		if down {
			return nil
		}
		if err := p.sync(ctx, key); err != nil {
			p.queue.AddRateLimited(key)
		} else {
			p.queue.Forget(key)
		}
		p.queue.Done(key)
	}
}

// volumes are provisioned, one after the other.
type volumes struct {
	kube  kubernetes.Interface
	queue workqueue.TypedRateLimitingInterface[string]
}

// sync what has a key: a claim if there's a namespace, else a volume.
func (v *volumes) sync(ctx context.Context, key string) error {
	ns, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return fmt.Errorf("cannot parse key: %w", err)
	}
	if ns == "" {
		return v.syncVolume(ctx, name)
	}
	return v.syncClaim(ctx, ns, name)
}

// syncVolume deletes a volume that was released, if its policy is to.
func (v *volumes) syncVolume(ctx context.Context, name string) error {
	pvs := v.kube.CoreV1().PersistentVolumes()
	pv, err := pvs.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return ignoreNotFound(err)
	}
	switch {
	case pv.Annotations[annProvisionedBy] != provisioner:
	case pv.DeletionTimestamp != nil:
	case pv.Status.Phase != corev1.VolumeReleased:
	case pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete:
	default:
		return ignoreNotFound(pvs.Delete(ctx, name, metav1.DeleteOptions{}))
	}
	return nil
}

// syncClaim makes the volume of a claim, or grows it.
func (v *volumes) syncClaim(ctx context.Context, ns, name string) error {
	pvc, err := v.kube.CoreV1().PersistentVolumeClaims(ns).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return ignoreNotFound(err)
	}
	if pvc.DeletionTimestamp != nil || pvc.Annotations[annStorageProvisioner] != provisioner {
		return nil
	}
	sc, err := v.kube.StorageV1().StorageClasses().Get(ctx, ptr.Deref(pvc.Spec.StorageClassName, ""), metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("cannot get StorageClass: %w", err)
	}
	if pvc.Spec.VolumeName != "" {
		return v.grow(ctx, pvc)
	}
	if ptr.Deref(sc.VolumeBindingMode, "") == storagev1.VolumeBindingWaitForFirstConsumer && pvc.Annotations[annSelectedNode] == "" {
		return nil
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			// What external provisioners call it.
			Name:        "pvc-" + string(pvc.GetUID()),
			Annotations: map[string]string{annProvisionedBy: provisioner},
		},
		Spec: corev1.PersistentVolumeSpec{
			AccessModes:                   pvc.Spec.AccessModes,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: pvc.Spec.Resources.Requests[corev1.ResourceStorage]},
			StorageClassName:              sc.GetName(),
			VolumeMode:                    pvc.Spec.VolumeMode,
			PersistentVolumeReclaimPolicy: ptr.Deref(sc.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete),
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: pvc.GetNamespace(), Name: pvc.GetName(), UID: pvc.GetUID(),
			},
			// A driver would want to attach it; a path is never looked at.
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: "/nonexistent/pvc-" + string(pvc.GetUID())},
			},
		},
	}
	if _, err := v.kube.CoreV1().PersistentVolumes().Create(ctx, pv, metav1.CreateOptions{}); err != nil && !kerrors.IsAlreadyExists(err) {
		return fmt.Errorf("cannot create volume: %w", err)
	}
	return nil
}

// grow the volume of a claim that asks for more than it has. The API server
// only lets claims of an expandable class ask for that.
func (v *volumes) grow(ctx context.Context, pvc *corev1.PersistentVolumeClaim) error {
	want := pvc.Spec.Resources.Requests[corev1.ResourceStorage]
	if have, ok := pvc.Status.Capacity[corev1.ResourceStorage]; !ok || want.Cmp(have) <= 0 {
		return nil
	}
	pv, err := v.kube.CoreV1().PersistentVolumes().Get(ctx, pvc.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("cannot get volume: %w", err)
	}
	pv.Spec.Capacity[corev1.ResourceStorage] = want
	if _, err := v.kube.CoreV1().PersistentVolumes().Update(ctx, pv, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("cannot grow volume: %w", err)
	}
	pvc.Status.Capacity[corev1.ResourceStorage] = want
	if _, err := v.kube.CoreV1().PersistentVolumeClaims(pvc.GetNamespace()).UpdateStatus(ctx, pvc, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("cannot grow claim: %w", err)
	}
	return nil
}

func ignoreNotFound(err error) error {
	if kerrors.IsNotFound(err) {
		return nil
	}
	return err
}
