package controlplane

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

const testNamespace = metav1.NamespaceDefault

func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("This test starts a real cluster.")
	}
	c := StartT(t, Options{Layer: Cluster})

	t.Run("Scheduling", func(t *testing.T) { testScheduling(t, c) })
	t.Run("Failures", func(t *testing.T) { testFailures(t, c) })
	t.Run("Job", func(t *testing.T) { testJob(t, c) })
	t.Run("Volumes", func(t *testing.T) { testVolumes(t, c) })
	t.Run("Restart", func(t *testing.T) { testRestart(t, c) })
}

// deployment of one container that wants GPUs of a kind.
func deployment(name, image, deviceID string, gpus int64, claims ...string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: testNamespace},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](1),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "serve", Image: image}}},
			},
		},
	}
	pod := &d.Spec.Template.Spec
	if gpus > 0 {
		pod.Containers[0].Resources.Limits = corev1.ResourceList{GPUResource: *resource.NewQuantity(gpus, resource.DecimalSI)}
	}
	if deviceID != "" {
		pod.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "amd.com/gpu.device-id", Operator: corev1.NodeSelectorOpIn, Values: []string{deviceID}}},
			}}},
		}}
	}
	for _, claim := range claims {
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: claim, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
		}})
	}
	return d
}

func create(ctx context.Context, t *testing.T, c *ControlPlane, d *appsv1.Deployment) {
	t.Helper()
	if _, err := c.Kube().AppsV1().Deployments(testNamespace).Create(ctx, d, metav1.CreateOptions{}); err != nil {
		t.Fatalf("cannot create Deployment: %v", err)
	}
}

// onlyPod returns the only pod of a Deployment.
func onlyPod(ctx context.Context, c *ControlPlane, name string) (*corev1.Pod, error) {
	l, err := c.Kube().CoreV1().Pods(testNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		return nil, err
	}
	if len(l.Items) != 1 {
		return nil, fmt.Errorf("want one pod of %s, got %d", name, len(l.Items))
	}
	return &l.Items[0], nil
}

func available(ctx context.Context, c *ControlPlane, name string) error {
	d, err := c.Kube().AppsV1().Deployments(testNamespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if d.Status.AvailableReplicas != ptr.Deref(d.Spec.Replicas, 1) {
		return fmt.Errorf("%d of %d replicas of %s are available", d.Status.AvailableReplicas, ptr.Deref(d.Spec.Replicas, 1), name)
	}
	return nil
}

func testScheduling(t *testing.T, c *ControlPlane) {
	t.Helper()

	cases := map[string]struct {
		reason   string
		deviceID string
		gpus     int64
		node     string
		message  string
	}{
		"mi355x": {
			reason:   "A pod should run on the node with the GPUs that it asks for.",
			deviceID: "75a3", gpus: 8,
			node: "mi355x-0",
		},
		"mi210": {
			reason:   "A pod should get some of a node's GPUs.",
			deviceID: "740f", gpus: 2,
			node: "mi210-0",
		},
		"toomany": {
			reason:   "A pod that asks for more GPUs than any node has should be told so by the scheduler.",
			deviceID: "74a1", gpus: 9,
			message: "0/5 nodes are available: 2 Insufficient amd.com/gpu, 3 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling.",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			name := "schedule-" + name
			create(ctx, t, c, deployment(name, "example.org/serve:v1", tc.deviceID, tc.gpus))
			start := time.Now()
			err := until(ctx, 20*time.Second, "the pod", func(ctx context.Context) error {
				p, err := onlyPod(ctx, c, name)
				if err != nil {
					return err
				}
				if tc.message == "" {
					if p.Spec.NodeName != tc.node {
						return fmt.Errorf("it's on node %q, not on %q", p.Spec.NodeName, tc.node)
					}
					return available(ctx, c, name)
				}
				for _, cond := range p.Status.Conditions {
					if cond.Type == corev1.PodScheduled && cond.Message == tc.message {
						return nil
					}
				}
				return fmt.Errorf("it wasn't refused in the words we want: %+v", p.Status.Conditions)
			})
			if err != nil {
				t.Errorf("\n%s\n%v", tc.reason, err)
			}
			t.Logf("This took %s", time.Since(start).Round(10*time.Millisecond))
		})
	}
}

func testFailures(t *testing.T, c *ControlPlane) {
	t.Helper()

	const trace = "Traceback (most recent call last):\n  File \"/usr/local/bin/serve\", line 8, in <module>\n    sys.exit(main())\nRuntimeError: Engine core initialization failed. See root cause above.\n"

	type status struct {
		Phase      corev1.PodPhase
		Ready      bool
		Restarts   int32
		Waiting    *corev1.ContainerStateWaiting
		Terminated *corev1.ContainerStateTerminated
		Running    bool
	}
	cases := map[string]struct {
		reason string
		image  string
		want   status
	}{
		"image-pull": {
			reason: "An image that can't be pulled should be backed off from.",
			image:  "example.org/serve:v1-fail-image-pull",
			want: status{
				Phase: corev1.PodPending,
				Waiting: &corev1.ContainerStateWaiting{
					Reason:  "ImagePullBackOff",
					Message: "Back-off pulling image \"example.org/serve:v1-fail-image-pull\": ErrImagePull: failed to pull and unpack image \"example.org/serve:v1-fail-image-pull\": failed to resolve reference \"example.org/serve:v1-fail-image-pull\": example.org/serve:v1-fail-image-pull: not found",
				},
			},
		},
		"crash": {
			reason: "A container that ends with an error should be backed off from, with what it said last.",
			image:  "example.org/serve:v1-fail-crash",
			want: status{
				Phase: corev1.PodRunning, Restarts: 2,
				Waiting:    &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"},
				Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: trace},
			},
		},
		"oom": {
			reason: "A container that used too much memory should be backed off from.",
			image:  "example.org/serve:v1-fail-oom",
			want: status{
				Phase: corev1.PodRunning, Restarts: 2,
				Waiting:    &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"},
				Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"},
			},
		},
		"never-ready": {
			reason: "A container that never gets ready should run.",
			image:  "example.org/serve:v1-fail-never-ready",
			want:   status{Phase: corev1.PodRunning, Running: true},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			name := "fail-" + name
			create(ctx, t, c, deployment(name, tc.image, "74a1", 1))
			err := until(ctx, 20*time.Second, "the pod", func(ctx context.Context) error {
				p, err := onlyPod(ctx, c, name)
				if err != nil {
					return err
				}
				if len(p.Status.ContainerStatuses) != 1 {
					return fmt.Errorf("want one container, got %d", len(p.Status.ContainerStatuses))
				}
				cs := p.Status.ContainerStatuses[0]
				got := status{
					Phase: p.Status.Phase, Ready: cs.Ready, Restarts: cs.RestartCount, Running: cs.State.Running != nil,
					Waiting: cs.State.Waiting, Terminated: cs.LastTerminationState.Terminated,
				}
				if got.Waiting != nil && got.Waiting.Reason == "CrashLoopBackOff" {
					// This has names of a pod in it that we don't know.
					got.Waiting.Message = ""
				}
				if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreFields(corev1.ContainerStateTerminated{}, "StartedAt", "FinishedAt", "ContainerID")); diff != "" {
					return fmt.Errorf("-want, +got:\n%s", diff)
				}
				return nil
			})
			if err != nil {
				t.Errorf("\n%s\n%v", tc.reason, err)
			}
		})
	}

	t.Run("Recovery", func(t *testing.T) {
		ctx := context.Background()
		d := deployment("fail-crash", "example.org/serve:v2", "74a1", 1)
		if _, err := c.Kube().AppsV1().Deployments(testNamespace).Update(ctx, d, metav1.UpdateOptions{}); err != nil {
			t.Fatalf("cannot update Deployment: %v", err)
		}
		if err := until(ctx, 20*time.Second, "the Deployment", func(ctx context.Context) error { return available(ctx, c, "fail-crash") }); err != nil {
			t.Errorf("\nAn image with another tag should run.\n%v", err)
		}
	})
}

func testJob(t *testing.T, c *ControlPlane) {
	t.Helper()

	cases := map[string]struct {
		reason string
		image  string
		want   batchv1.JobConditionType
	}{
		"Complete": {
			reason: "A Job should complete.",
			image:  "example.org/download:v1",
			want:   batchv1.JobComplete,
		},
		"Failed": {
			reason: "A Job whose pod fails should fail.",
			image:  "example.org/download:v1-fail-crash",
			want:   batchv1.JobFailed,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			j, err := c.Kube().BatchV1().Jobs(testNamespace).Create(ctx, &batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{GenerateName: "job-"},
				Spec: batchv1.JobSpec{
					BackoffLimit: ptr.To[int32](0),
					Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
						RestartPolicy: corev1.RestartPolicyNever,
						Containers:    []corev1.Container{{Name: "download", Image: tc.image}},
					}},
				},
			}, metav1.CreateOptions{})
			if err != nil {
				t.Fatalf("cannot create Job: %v", err)
			}
			err = until(ctx, 20*time.Second, "the Job", func(ctx context.Context) error {
				j, err := c.Kube().BatchV1().Jobs(testNamespace).Get(ctx, j.GetName(), metav1.GetOptions{})
				if err != nil {
					return err
				}
				for _, cond := range j.Status.Conditions {
					if cond.Type == tc.want && cond.Status == corev1.ConditionTrue {
						return nil
					}
				}
				return fmt.Errorf("it's not %s: %+v", tc.want, j.Status)
			})
			if err != nil {
				t.Errorf("\n%s\n%v", tc.reason, err)
			}
		})
	}
}

func testVolumes(t *testing.T, c *ControlPlane) {
	t.Helper()

	ctx := context.Background()
	claim := func(name, class string) {
		t.Helper()
		pvc := &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
				Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("100Gi")}},
			},
		}
		if class != "" {
			pvc.Spec.StorageClassName = ptr.To(class)
		}
		if _, err := c.Kube().CoreV1().PersistentVolumeClaims(testNamespace).Create(ctx, pvc, metav1.CreateOptions{}); err != nil {
			t.Fatalf("cannot create claim: %v", err)
		}
	}
	is := func(name string, phase corev1.PersistentVolumeClaimPhase, size string) func(context.Context) error {
		return func(ctx context.Context) error {
			pvc, err := c.Kube().CoreV1().PersistentVolumeClaims(testNamespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if got := pvc.Status.Capacity.Storage().String(); pvc.Status.Phase != phase || got != size {
				return fmt.Errorf("%s is %s with %s", name, pvc.Status.Phase, got)
			}
			return nil
		}
	}

	claim("default-class", "")
	claim("waits", StorageClassWait)
	claim("grows", StorageClassExpandable)
	if err := until(ctx, 20*time.Second, "the claim", is("default-class", corev1.ClaimBound, "100Gi")); err != nil {
		t.Errorf("\nA claim without a class should be bound by the default one.\n%v", err)
	}
	if err := is("waits", corev1.ClaimPending, "0")(ctx); err != nil {
		t.Errorf("\nA claim of a class that waits for its first consumer should wait for it.\n%v", err)
	}
	create(ctx, t, c, deployment("volumes", "example.org/serve:v1", "", 0, "default-class", "waits"))
	if err := until(ctx, 20*time.Second, "the claim", is("waits", corev1.ClaimBound, "100Gi")); err != nil {
		t.Errorf("\nA claim of a class that waits for its first consumer should be bound once there is one.\n%v", err)
	}
	if err := until(ctx, 20*time.Second, "the Deployment", func(ctx context.Context) error { return available(ctx, c, "volumes") }); err != nil {
		t.Errorf("\nA pod with volumes should run.\n%v", err)
	}

	if err := until(ctx, 20*time.Second, "the claim", is("grows", corev1.ClaimBound, "100Gi")); err != nil {
		t.Errorf("\nA claim of an expandable class should be bound.\n%v", err)
	}
	pvc, err := c.Kube().CoreV1().PersistentVolumeClaims(testNamespace).Get(ctx, "grows", metav1.GetOptions{})
	if err != nil {
		t.Fatalf("cannot get claim: %v", err)
	}
	pvc.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("200Gi")
	if _, err := c.Kube().CoreV1().PersistentVolumeClaims(testNamespace).Update(ctx, pvc, metav1.UpdateOptions{}); err != nil {
		t.Fatalf("cannot update claim: %v", err)
	}
	if err := until(ctx, 20*time.Second, "the claim", is("grows", corev1.ClaimBound, "200Gi")); err != nil {
		t.Errorf("\nA claim of an expandable class should grow.\n%v", err)
	}

	volume := pvc.Spec.VolumeName
	if err := c.Kube().CoreV1().PersistentVolumeClaims(testNamespace).Delete(ctx, "grows", metav1.DeleteOptions{}); err != nil {
		t.Fatalf("cannot delete claim: %v", err)
	}
	err = until(ctx, 20*time.Second, "the volume", func(ctx context.Context) error {
		pv, err := c.Kube().CoreV1().PersistentVolumes().Get(ctx, volume, metav1.GetOptions{})
		if err == nil {
			return fmt.Errorf("it's %s", pv.Status.Phase)
		}
		return ignoreNotFound(err)
	})
	if err != nil {
		t.Errorf("\nA volume should be deleted with its claim.\n%v", err)
	}
}

func testRestart(t *testing.T, c *ControlPlane) {
	t.Helper()

	ctx := context.Background()
	if err := c.KillProcess(ProcessScheduler); err != nil {
		t.Fatalf("c.KillProcess(...): %v", err)
	}
	create(ctx, t, c, deployment("restart", "example.org/serve:v1", "", 0))
	for _, p := range c.Processes() {
		if got, want := p.Running, p.Name != ProcessScheduler; got != want {
			t.Errorf("\nOnly the process that was killed should not run.\n%s: want running %t, got %t", p.Name, want, got)
		}
	}
	if err := c.StartProcess(ProcessScheduler); err != nil {
		t.Fatalf("c.StartProcess(...): %v", err)
	}
	if err := until(ctx, 20*time.Second, "the Deployment", func(ctx context.Context) error { return available(ctx, c, "restart") }); err != nil {
		t.Errorf("\nA process that was killed should do its work again once it's started.\n%v", err)
	}
}
