package controllermanager_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	certv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/client"
	"hyperkube/internal/testenv"
	"hyperkube/roles/controllermanager"
)

// TestAcrossTheNetwork runs the manager over HTTPS, elected, with a service account for each controller.
func TestAcrossTheNetwork(t *testing.T) {
	port := testenv.FreePort(t)
	c := start(t, func(c *cluster, cfg *controllermanager.Config) {
		cfg.As = nil
		cfg.REST = c.As(t, c.Files.ControllerManager)
		cfg.UseServiceAccountCredentials = true
		cfg.LeaderElection.Enabled = true
		cfg.Serving = controllermanager.Serving{BindAddress: "127.0.0.1", Port: port}
		cfg.KubeletServingAutoApprove = true
	})
	ns := c.namespace(t, "remote")
	_, err := client.Deployments.Create(c.ctx, c.admin, deployment(ns, "d", 2))
	require.NoError(t, err)
	await(t, c, client.Pods, ns, func(all []*corev1.Pod) error {
		if len(all) != 2 {
			return fmt.Errorf("%d pods", len(all))
		}
		return nil
	})
	awaitOne(t, c, client.ServiceAccounts, metav1.NamespaceSystem, "replicaset-controller", func(*corev1.ServiceAccount) error { return nil })
	awaitOne(t, c, client.Deployments, ns, "d", func(d *appsv1.Deployment) error {
		if d.Status.ObservedGeneration == 0 {
			return fmt.Errorf("no status")
		}
		return nil
	})
	require.NoError(t, client.Namespaces.Delete(c.ctx, c.admin, "", ns))
	awaitOne(t, c, client.Namespaces, "", ns, func(n *corev1.Namespace) error {
		if len(n.Status.Conditions) != 5 {
			return fmt.Errorf("%+v", n.Status)
		}
		return nil
	})
	t.Run("serving", func(t *testing.T) { serves(t, c, port) })
	t.Run("certificates", func(t *testing.T) { certificates(t, c) })
}

func serves(t *testing.T, c *cluster, port int) {
	get := func(path string, certs ...*tls.Certificate) (int, string) {
		h := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: plain(certs)}}}
		defer h.CloseIdleConnections()
		resp, err := h.Get(fmt.Sprintf("https://127.0.0.1:%d%s", port, path))
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	for _, path := range []string{"/healthz", "/healthz/deployment-controller", "/livez", "/readyz"} {
		code, body := get(path)
		require.Equal(t, 200, code, "%s: %s", path, body)
	}
	code, _ := get("/metrics")
	require.Equal(t, 401, code)
	scheduler, err := c.Files.Scheduler.TLS()
	require.NoError(t, err)
	code, _ = get("/metrics", scheduler)
	require.Equal(t, 403, code)
	admin, err := c.Files.Admin.TLS()
	require.NoError(t, err)
	code, body := get("/metrics", admin)
	require.Equal(t, 200, code)
	require.Contains(t, body, `leader_election_master_status{name="kube-controller-manager"} 1`)
	require.Contains(t, body, `running_managed_controllers{manager="kube-controller-manager",name="deployment-controller"} 1`)
}

func request(t *testing.T, subject pkix.Name, ips ...net.IP) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject, IPAddresses: ips}, key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func certificates(t *testing.T, c *cluster) {
	c.node(t, "n1", nil)
	_, err := client.Nodes.Modify(c.ctx, c.admin, "", "n1", func(n *corev1.Node) bool {
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.7"}, {Type: corev1.NodeHostName, Address: "n1"}}
		return true
	}, "status")
	require.NoError(t, err)
	kubelet := c.Direct(&user.DefaultInfo{Name: "system:node:n1", Groups: []string{user.NodesGroup, user.AllAuthenticated}})
	ask := func(name, signer string, pemRequest []byte, usages ...certv1.KeyUsage) {
		_, err := client.CertificateSigningRequests.Create(c.ctx, kubelet, &certv1.CertificateSigningRequest{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       certv1.CertificateSigningRequestSpec{Request: pemRequest, SignerName: signer, Usages: usages},
		})
		require.NoError(t, err)
	}
	self := pkix.Name{CommonName: "system:node:n1", Organization: []string{"system:nodes"}}
	ask("client", certv1.KubeAPIServerClientKubeletSignerName, request(t, self), certv1.UsageDigitalSignature, certv1.UsageClientAuth)
	ask("serving", certv1.KubeletServingSignerName, request(t, self, net.IPv4(192, 0, 2, 7)), certv1.UsageDigitalSignature, certv1.UsageServerAuth)
	ask("foreign", certv1.KubeletServingSignerName, request(t, self, net.IPv4(192, 0, 2, 8)), certv1.UsageDigitalSignature, certv1.UsageServerAuth)
	for _, name := range []string{"client", "serving"} {
		r := awaitOne(t, c, client.CertificateSigningRequests, "", name, func(r *certv1.CertificateSigningRequest) error {
			if len(r.Status.Certificate) == 0 {
				return fmt.Errorf("%+v", r.Status.Conditions)
			}
			return nil
		})
		block, _ := pem.Decode(r.Status.Certificate)
		cert, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		require.Equal(t, "system:node:n1", cert.Subject.CommonName)
		require.WithinDuration(t, time.Now().Add(365*24*time.Hour), cert.NotAfter, time.Hour)
		_, err = cert.Verify(x509.VerifyOptions{Roots: c.Files.CA.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		require.NoError(t, err)
	}
	foreign, err := client.CertificateSigningRequests.Get(c.ctx, c.admin, "", "foreign")
	require.NoError(t, err)
	require.Empty(t, foreign.Status.Conditions, "an address of somebody else")
}

func plain(in []*tls.Certificate) (out []tls.Certificate) {
	for _, c := range in {
		out = append(out, *c)
	}
	return out
}
