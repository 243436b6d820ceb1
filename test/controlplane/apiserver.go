package controlplane

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/aim-engine/function-aim/test/tools"
)

// Names of processes, for KillProcess, StartProcess and Logs.
const (
	ProcessEtcd              = "etcd"
	ProcessAPIServer         = "kube-apiserver"
	ProcessControllerManager = "kube-controller-manager"
	ProcessScheduler         = "kube-scheduler"
	ProcessKwok              = "kwok"
	ProcessCrossplane        = "crossplane"
	ProcessRBACManager       = "crossplane-rbac-manager"
	ProcessProvider          = "provider-kubernetes"
	ProcessFunction          = "function-aim"
	ProcessPrometheus        = "prometheus"
	ProcessPrometheusAdapter = "prometheus-adapter"
)

// These run within this process, unless the plane is detached.
const (
	processProvisioner = "volume-provisioner"
	processRegistry    = "registry"
	processExporter    = "exporter"
)

// frontProxyClient is who the API server is to those behind it.
const frontProxyClient = "front-proxy-client"

// startAPIServer starts etcd and the API server, and writes the kubeconfig.
func (c *ControlPlane) startAPIServer(ctx context.Context) error {
	ports, err := c.reservePorts("etcd-client", "etcd-peer", ProcessAPIServer)
	if err != nil {
		return err
	}
	client, peer, api := ports[0], ports[1], ports[2]

	token, err := c.writeAPIServerFiles()
	if err != nil {
		return err
	}
	if err := c.writeKubeconfig(c.Kubeconfig, token); err != nil {
		return err
	}

	etcd, err := tools.Path(tools.Etcd)
	if err != nil {
		return err
	}
	clientURL, peerURL := "http://"+loopback(client), "http://"+loopback(peer)
	if err := c.startProcess(spec{
		name: ProcessEtcd,
		path: etcd,
		args: []string{
			"--data-dir=" + filepath.Join(c.Dir, "etcd"),
			"--name=default",
			"--listen-client-urls=" + clientURL,
			"--advertise-client-urls=" + clientURL,
			"--listen-peer-urls=" + peerURL,
			"--initial-advertise-peer-urls=" + peerURL,
			"--initial-cluster=default=" + peerURL,
			// What it holds may go with the power.
			"--unsafe-no-fsync",
			"--log-level=warn",
		},
		ports: []int{client, peer},
	}); err != nil {
		return err
	}

	apiserver, err := tools.Path(tools.KubeAPIServer)
	if err != nil {
		return err
	}
	pki := filepath.Join(c.Dir, "pki")
	args := []string{
		"--etcd-servers=" + clientURL,
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(api),
		// An endpoint may not be on loopback.
		"--endpoint-reconciler-type=none",
		"--tls-cert-file=" + filepath.Join(pki, "tls.crt"),
		"--tls-private-key-file=" + filepath.Join(pki, "tls.key"),
		"--client-ca-file=" + filepath.Join(pki, "ca.crt"),
		"--token-auth-file=" + filepath.Join(pki, "tokens.csv"),
		"--service-account-key-file=" + filepath.Join(pki, "sa.key"),
		"--service-account-signing-key-file=" + filepath.Join(pki, "sa.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--authorization-mode=RBAC",
		"--service-cluster-ip-range=10.96.0.0/16",
		"--allow-privileged=true",
		// This is how an API server behind this one, such as that of custom
		// metrics, knows who asks.
		"--requestheader-client-ca-file=" + filepath.Join(pki, "front-proxy-ca.crt"),
		"--requestheader-allowed-names=" + frontProxyClient,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + filepath.Join(pki, "front-proxy-client.crt"),
		"--proxy-client-key-file=" + filepath.Join(pki, "front-proxy-client.key"),
	}
	if c.opts.Layer < Cluster {
		// Nobody makes the ServiceAccounts that this would demand of pods.
		args = append(args, "--disable-admission-plugins=ServiceAccount")
	}
	if err := c.startProcess(spec{name: ProcessAPIServer, path: apiserver, args: args, ports: []int{api}}); err != nil {
		return err
	}

	if err := c.connect(); err != nil {
		return err
	}
	return until(ctx, patience, "kube-apiserver", func(ctx context.Context) error {
		if err := c.exited(ProcessEtcd, ProcessAPIServer); err != nil {
			return err
		}
		if _, err := c.kube.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
			return fmt.Errorf("it's not ready: %w", err)
		}
		_, err := c.kube.CoreV1().Namespaces().Get(ctx, metav1.NamespaceDefault, metav1.GetOptions{})
		return err
	})
}

// writeAPIServerFiles writes the API server's certificates, keys and tokens,
// and returns the administrator's token.
func (c *ControlPlane) writeAPIServerFiles() (string, error) {
	ca, err := newAuthority("controlplane")
	if err != nil {
		return "", err
	}
	pki := filepath.Join(c.Dir, "pki")
	if err := ca.writeServerCert(pki, "kube-apiserver"); err != nil {
		return "", err
	}
	// Not the same authority: whom this one signs may say to be anybody.
	front, err := newAuthority("front-proxy")
	if err != nil {
		return "", err
	}
	proxyCert, proxyKey, err := front.clientCert(frontProxyClient)
	if err != nil {
		return "", err
	}
	sa, err := newServiceAccountKey()
	if err != nil {
		return "", err
	}
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return "", fmt.Errorf("cannot make a token: %w", err)
	}
	token := hex.EncodeToString(secret)
	return token, writeFiles(pki, map[string][]byte{
		"sa.key":                 sa,
		"tokens.csv":             []byte(token + ",admin,admin,system:masters\n"),
		"front-proxy-ca.crt":     front.certPEM,
		"front-proxy-client.crt": proxyCert,
		"front-proxy-client.key": proxyKey,
	})
}

// writeKubeconfig writes a file for who has a token.
func (c *ControlPlane) writeKubeconfig(path, token string) error {
	b, err := c.kubeconfig(token)
	if err != nil {
		return err
	}
	return writeFiles(filepath.Dir(path), map[string][]byte{filepath.Base(path): b})
}

// kubeconfig returns a kubeconfig for who has a token. It refers to no files.
func (c *ControlPlane) kubeconfig(token string) ([]byte, error) {
	port, err := c.port(ProcessAPIServer)
	if err != nil {
		return nil, err
	}
	ca, err := c.apiServerCA()
	if err != nil {
		return nil, err
	}
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["controlplane"] = &clientcmdapi.Cluster{Server: "https://" + loopback(port), CertificateAuthorityData: ca}
	cfg.AuthInfos["controlplane"] = &clientcmdapi.AuthInfo{Token: token}
	cfg.Contexts["controlplane"] = &clientcmdapi.Context{Cluster: "controlplane", AuthInfo: "controlplane"}
	cfg.CurrentContext = "controlplane"
	b, err := clientcmd.Write(*cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot write kubeconfig: %w", err)
	}
	return b, nil
}

// ok tells whether a URL on loopback answers 200.
func ok(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("cannot make a request: %w", err)
	}
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("cannot get %s: %w", url, err)
	}
	_ = rsp.Body.Close()
	if rsp.StatusCode != http.StatusOK {
		return errors.New("got " + rsp.Status + " from " + url)
	}
	return nil
}
