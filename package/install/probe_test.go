package install

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	xpkgv1 "github.com/crossplane/crossplane/apis/v2/pkg/v1"
	xpkgv1beta1 "github.com/crossplane/crossplane/apis/v2/pkg/v1beta1"
	"github.com/crossplane/function-sdk-go"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestProbes makes sure that the function's probes work the way a kubelet would
// use them, on a function that is served as Crossplane has it served, and that
// there's a reason not to use a gRPC probe.
func TestProbes(t *testing.T) {
	rc := &xpkgv1beta1.DeploymentRuntimeConfig{}
	decode(t, "function.yaml", &xpkgv1.Function{}, rc, &policyv1.PodDisruptionBudget{})
	c := rc.Spec.DeploymentTemplate.Spec.Template.Spec.Containers[0]
	if diff := cmp.Diff(&corev1.TCPSocketAction{Port: intstr.FromString("grpc")}, c.ReadinessProbe.TCPSocket); diff != "" {
		t.Fatalf("readiness probe: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(&corev1.HTTPGetAction{Path: "/metrics", Port: intstr.FromString("metrics")}, c.LivenessProbe.HTTPGet); diff != "" {
		t.Fatalf("liveness probe: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff([]corev1.ContainerPort{{Name: "grpc", ContainerPort: 9443}, {Name: "metrics", ContainerPort: 8080}}, c.Ports); diff != "" {
		t.Fatalf("ports: -want, +got:\n%s", diff)
	}

	ports := map[string]string{"grpc": freeAddress(t), "metrics": freeAddress(t)}
	certs := certificates(t)
	go func() {
		// This returns when the process ends.
		_ = function.Serve(&fnv1.UnimplementedFunctionRunnerServiceServer{},
			function.Listen("tcp", ports["grpc"]),
			function.MTLSCertificates(certs),
			function.WithMetricsServer(ports["metrics"]),
			function.WithHealthServer(health.NewServer()))
	}()

	eventually(t, "readiness probe", func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", ports[c.ReadinessProbe.TCPSocket.Port.StrVal])
		if err != nil {
			return err
		}
		return conn.Close()
	})

	eventually(t, "liveness probe", func(ctx context.Context) error {
		url := "http://" + ports[c.LivenessProbe.HTTPGet.Port.StrVal] + c.LivenessProbe.HTTPGet.Path
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		rsp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = rsp.Body.Close() }()
		if rsp.StatusCode != http.StatusOK {
			return fmt.Errorf("got status %s", rsp.Status)
		}
		return nil
	})

	// A kubelet has no certificate, and its gRPC probe knows no TLS at all.
	conn, err := grpc.NewClient(ports["grpc"], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if rsp, err := healthgrpc.NewHealthClient(conn).Check(t.Context(), &healthgrpc.HealthCheckRequest{}); err == nil {
		t.Errorf("gRPC probe: got %s: want an error, else it would be the better probe", rsp.GetStatus())
	}
}

// eventually fails the test if something doesn't succeed in time.
func eventually(t *testing.T, what string, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// certificates returns a folder of what Crossplane mounts into a function's pod.
func certificates(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotAfter:              time.Now().Add(time.Hour),
		DNSNames:              []string{"localhost"},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	crt, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	for f, b := range map[string]*pem.Block{
		"ca.crt":  {Type: "CERTIFICATE", Bytes: crt},
		"tls.crt": {Type: "CERTIFICATE", Bytes: crt},
		"tls.key": {Type: "PRIVATE KEY", Bytes: k},
	} {
		if err := os.WriteFile(filepath.Join(dir, f), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
