package controlplane

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/aim-engine/function-aim/test/tools"
)

// stages tell kwok what becomes of nodes and pods.
//
//go:embed stages/*.yaml
var stages embed.FS

// fakeNode marks the nodes that kwok pretends.
const fakeNode = "kwok.x-k8s.io/node"

// GPUResource is the extended resource that AMD's device plugin advertises.
const GPUResource = "amd.com/gpu"

// An accelerator, as AMD's node labeller describes it.
type accelerator struct {
	deviceID    string
	productName string
	vram        string
	computeUnit int
	simd        int
}

// Values of these labels, by the documentation of the labeller where it has
// them, else by nodes that were seen.
//
//nolint:gochecknoglobals // These are facts.
var (
	mi300x = accelerator{deviceID: "74a1", productName: "AMD_Instinct_MI300X_OAM", vram: "192G", computeUnit: 304, simd: 1216}
	mi355x = accelerator{deviceID: "75a3", productName: "AMD_Instinct_MI355_OAM", vram: "288G", computeUnit: 256, simd: 1024}
	mi210  = accelerator{deviceID: "740f", productName: "AMD_Instinct_MI210", vram: "64G", computeUnit: 104, simd: 416}
)

// nodes of every cluster.
func nodes() []*corev1.Node {
	return []*corev1.Node{
		node("mi300x-0", mi300x, 8),
		node("mi300x-1", mi300x, 8),
		node("mi355x-0", mi355x, 8),
		node("mi210-0", mi210, 4),
		node("cpu-0", accelerator{}, 0),
	}
}

// node makes a node with a number of accelerators of one kind.
func node(name string, a accelerator, count int) *corev1.Node {
	labels := map[string]string{
		corev1.LabelHostname:   name,
		corev1.LabelArchStable: "amd64",
		corev1.LabelOSStable:   "linux",
	}
	resources := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("256"),
		corev1.ResourceMemory:           resource.MustParse("3Ti"),
		corev1.ResourceEphemeralStorage: resource.MustParse("8Ti"),
		corev1.ResourcePods:             resource.MustParse("250"),
	}
	if count > 0 {
		resources[GPUResource] = *resource.NewQuantity(int64(count), resource.DecimalSI)
		for kind, value := range map[string]string{
			"device-id":    a.deviceID,
			"product-name": a.productName,
			"vram":         a.vram,
			"family":       "AI",
			"cu-count":     strconv.Itoa(a.computeUnit),
			"simd-count":   strconv.Itoa(a.simd),
		} {
			labels["amd.com/gpu."+kind] = value
			labels["beta.amd.com/gpu."+kind] = value
			labels["beta.amd.com/gpu."+kind+"."+value] = strconv.Itoa(count)
		}
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, Annotations: map[string]string{fakeNode: "fake"}},
		Status: corev1.NodeStatus{
			Capacity:    resources,
			Allocatable: resources,
			NodeInfo: corev1.NodeSystemInfo{
				Architecture:            "amd64",
				OperatingSystem:         "linux",
				OSImage:                 "Ubuntu 24.04 LTS",
				KernelVersion:           "6.8.0-generic",
				KubeletVersion:          "v1.35.4",
				ContainerRuntimeVersion: "kwok://0.8.0",
			},
		},
	}
}

// startCluster starts what makes a cluster of an API server.
func (c *ControlPlane) startCluster(ctx context.Context) error {
	ports, err := c.reservePorts(ProcessControllerManager, ProcessScheduler)
	if err != nil {
		return err
	}
	pki := filepath.Join(c.Dir, "pki")
	kubeconfig := "--kubeconfig=" + c.Kubeconfig
	config, err := c.writeStages()
	if err != nil {
		return err
	}

	specs := []struct {
		tool string
		spec spec
	}{
		{tools.KubeControllerManager, spec{
			name: ProcessControllerManager,
			args: []string{
				kubeconfig,
				"--bind-address=127.0.0.1",
				"--secure-port=" + strconv.Itoa(ports[0]),
				"--leader-elect=false",
				"--service-account-private-key-file=" + filepath.Join(pki, "sa.key"),
				"--root-ca-file=" + filepath.Join(pki, "ca.crt"),
				// Nobody wants to wait for an autoscaler in a test.
				"--horizontal-pod-autoscaler-sync-period=2s",
			},
			ports: ports[:1],
		}},
		{tools.KubeScheduler, spec{
			name: ProcessScheduler,
			args: []string{
				kubeconfig,
				"--bind-address=127.0.0.1",
				"--secure-port=" + strconv.Itoa(ports[1]),
				"--leader-elect=false",
			},
			ports: ports[1:],
		}},
		{tools.Kwok, spec{
			name: ProcessKwok,
			args: []string{
				kubeconfig,
				"--config=" + config,
				"--manage-all-nodes=false",
				"--manage-nodes-with-annotation-selector=" + fakeNode + "=fake",
				"--node-lease-duration-seconds=40",
				"--cidr=10.244.0.1/16",
				"--node-ip=10.0.0.1",
			},
		}},
	}
	for _, s := range specs {
		if s.spec.path, err = tools.Path(s.tool); err != nil {
			return err
		}
		if err := c.startProcess(s.spec); err != nil {
			return err
		}
	}

	for _, n := range nodes() {
		if _, err := c.kube.CoreV1().Nodes().Create(ctx, n, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("cannot create node %s: %w", n.GetName(), err)
		}
	}
	if err := c.startStorage(ctx); err != nil {
		return err
	}
	return until(ctx, patience, "nodes and ServiceAccounts", c.clusterReady)
}

// clusterReady tells whether pods can be made, and run.
func (c *ControlPlane) clusterReady(ctx context.Context) error {
	if err := c.exited(ProcessControllerManager, ProcessScheduler, ProcessKwok); err != nil {
		return err
	}
	if _, err := c.kube.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{}); err != nil {
		return fmt.Errorf("the controller manager didn't make a ServiceAccount yet: %w", err)
	}
	l, err := c.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("cannot list nodes: %w", err)
	}
	for _, n := range l.Items {
		ready := false
		for _, cond := range n.Status.Conditions {
			ready = ready || cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue
		}
		if !ready || len(n.Spec.Taints) > 0 {
			return fmt.Errorf("node %s isn't ready", n.GetName())
		}
	}
	if len(l.Items) == 0 {
		return errors.New("there are no nodes")
	}
	return nil
}

// writeStages writes all stages to one file, as kwok wants them.
func (c *ControlPlane) writeStages() (string, error) {
	docs := make([]string, 0)
	err := fs.WalkDir(stages, "stages", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := stages.ReadFile(path)
		docs = append(docs, string(b))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("cannot read stages: %w", err)
	}
	return filepath.Join(c.Dir, "kwok.yaml"), writeFiles(c.Dir, map[string][]byte{"kwok.yaml": []byte(strings.Join(docs, "\n---\n"))})
}
