package controlplane

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTwoAPIServers(t *testing.T) {
	if testing.Short() {
		t.Skip("This test starts real API servers.")
	}

	all := make([]ProcessStatus, 0)
	t.Run("SideBySide", func(t *testing.T) {
		for _, name := range []string{"A", "B"} {
			c := StartT(t, Options{Layer: APIServer})
			if _, err := c.Kube().CoreV1().Namespaces().Get(context.Background(), metav1.NamespaceDefault, metav1.GetOptions{}); err != nil {
				t.Errorf("\nBoth API servers should serve.\n%s: %v", name, err)
			}
			all = append(all, c.Processes()...)
		}
		if want := 4; len(all) != want {
			t.Fatalf("\nEach plane should have etcd and an API server.\nProcesses(): want %d, got %d", want, len(all))
		}
		ports := map[int]string{}
		for _, p := range all {
			if !p.Running {
				t.Errorf("\nAll processes should run while both planes are up.\n%s (%d) doesn't", p.Name, p.PID)
			}
			for _, port := range p.Ports {
				if other, ok := ports[port]; ok {
					t.Errorf("\nNo port should be used twice.\n%d is, by %s and %s", port, other, p.Name)
				}
				ports[port] = p.Name
			}
		}
	})

	for _, p := range all {
		if id := identity(p.PID); id != "" {
			t.Errorf("\nAll processes should be gone after the test.\n%s still runs as process %d", p.Name, p.PID)
		}
	}
}
