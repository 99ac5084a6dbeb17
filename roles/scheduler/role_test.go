package scheduler_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/client"
	"hyperkube/internal/pki"
	"hyperkube/internal/server/servertest"
	"hyperkube/internal/testenv"
	"hyperkube/roles/scheduler"
)

// TestRole runs the role over HTTPS with leader election and asks its port.
func TestRole(t *testing.T) {
	api := servertest.Start(t, nil)
	ca, err := pki.NewCA("clients", time.Now())
	require.NoError(t, err)
	caFile := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(caFile, ca.PEM, 0o600))
	port := testenv.FreePort(t)
	r, err := scheduler.New(scheduler.Config{
		REST:           api.REST,
		LeaderElection: scheduler.LeaderElection{Enabled: true},
		Serving:        scheduler.Serving{BindAddress: "127.0.0.1", Port: port, ClientCAFile: caFile},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	<-r.Ready()

	admin := api.Admin()
	bound := make(chan string, 1)
	f := client.NewInformers(admin)
	client.InformerFor(f, client.Pods).OnChange(func(_, p *corev1.Pod) {
		if p != nil && p.Spec.NodeName != "" {
			select {
			case bound <- p.Spec.NodeName:
			default:
			}
		}
	})
	f.Start(ctx)
	_, err = client.Nodes.Create(ctx, admin, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n1"},
		Status:     corev1.NodeStatus{Allocatable: corev1.ResourceList{corev1.ResourcePods: *quantity(10)}},
	})
	require.NoError(t, err)
	_, err = client.Pods.Create(ctx, admin, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	})
	require.NoError(t, err)
	select {
	case n := <-bound:
		require.Equal(t, "n1", n)
	case <-time.After(20 * time.Second):
		t.Fatal("the pod got no node")
	}
	lease, err := client.Leases.Get(ctx, admin, "kube-system", "kube-scheduler")
	require.NoError(t, err)
	require.NotEmpty(t, *lease.Spec.HolderIdentity)

	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/livez": 200, "/metrics": 401, "/debug/pprof/": 401} {
		require.Equal(t, want, get(t, port, path, nil), path)
	}
	require.Equal(t, 200, get(t, port, "/metrics", clientCert(t, ca)))
}

func get(t *testing.T, port int, path string, cert *tls.Certificate) int {
	t.Helper()
	conf := &tls.Config{InsecureSkipVerify: true}
	if cert != nil {
		conf.Certificates = []tls.Certificate{*cert}
	}
	tr := &http.Transport{TLSClientConfig: conf}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Get(fmt.Sprintf("https://127.0.0.1:%d%s", port, path))
	require.NoError(t, err)
	defer resp.Body.Close()
	return resp.StatusCode
}

func TestCommandLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	for text, want := range map[string]string{
		"apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofile: []":  `"profile"`,
		"apiVersion: kubescheduler.config.k8s.io/v2\nkind: KubeSchedulerConfiguration":               "kubescheduler.config.k8s.io/v1",
		"apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles: []": "--kubeconfig is missing",
	} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		app := &cli.App{Commands: []*cli.Command{scheduler.Command()}, ExitErrHandler: func(*cli.Context, error) {}}
		require.ErrorContains(t, app.Run([]string{"x", "scheduler", "--config", file, "--secure-port", "0"}), want)
	}
}

func quantity(n int64) *resource.Quantity { return resource.NewQuantity(n, resource.DecimalSI) }

func clientCert(t *testing.T, ca *pki.CA) *tls.Certificate {
	t.Helper()
	c, err := ca.IssueTLS(pki.Request{CommonName: "root", Organizations: []string{user.SystemPrivilegedGroup}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, time.Now())
	require.NoError(t, err)
	return &c
}
