package up

import (
	"context"
	"fmt"
	"net"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"

	"hyperkube/internal/client"
	"hyperkube/internal/join"
	"hyperkube/internal/lifecycle"
	"hyperkube/internal/pki"
	"hyperkube/roles/apiserver"
	"hyperkube/roles/controllermanager"
	"hyperkube/roles/scheduler"
)

// master is the control plane of a cluster.
type master struct {
	cfg Config
	pki *pki.Files
	api *apiserver.APIServer
}

// as is an identity for the direct door.
func as(name string, groups ...string) user.Info {
	return &user.DefaultInfo{Name: name, Groups: append(groups, user.AllAuthenticated)}
}

// url of the API server: host is an address of this machine.
func (c *Config) url(host string) string {
	return "https://" + net.JoinHostPort(host, fmt.Sprint(c.APIPort))
}

func newMaster(ctx context.Context, cfg Config) (*master, error) {
	m := &master{cfg: cfg}
	serviceIP, err := nth(cfg.ServiceCIDR, 1)
	if err != nil {
		return nil, err
	}
	o := pki.Options{ServiceIP: serviceIP, ClusterDomain: cfg.ClusterDomain, NodeName: cfg.NodeName, NodeIPs: []net.IP{cfg.NodeIP}}
	for _, n := range cfg.APINames {
		if ip := net.ParseIP(n); ip != nil {
			o.IPs = append(o.IPs, ip)
		} else {
			o.Hosts = append(o.Hosts, n)
		}
	}
	if m.pki, err = pki.Ensure(cfg.Layout.PKI(), o); err != nil {
		return nil, err
	}
	if err := m.kubeconfigs(); err != nil {
		return nil, err
	}
	config, err := m.apiConfig()
	if err != nil {
		return nil, err
	}
	if m.api, err = apiserver.New(ctx, config); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *master) kubeconfigs() error {
	cert, key, err := m.pki.Admin.Read()
	if err != nil {
		return err
	}
	files := []string{m.cfg.Layout.AdminKubeconfig()}
	if m.cfg.Kubeconfig != "" {
		files = append(files, m.cfg.Kubeconfig)
	}
	for _, f := range files {
		if err := pki.Kubeconfig(f, m.cfg.url("127.0.0.1"), m.pki.CA.PEM, cert, key, "admin"); err != nil {
			return err
		}
	}
	return nil
}

func (m *master) apiConfig() (apiserver.Config, error) {
	dir, kubelet := m.cfg.Layout.PKI(), m.pki.APIServerKubeletClient
	return apiserver.FromArgs(m.cfg.args("apiserver",
		"--data-dir="+m.cfg.Layout.Data, fmt.Sprintf("--secure-port=%d", m.cfg.APIPort), "--advertise-address="+m.cfg.NodeIP.String(),
		"--tls-cert-file="+m.pki.APIServer.CertFile, "--tls-private-key-file="+m.pki.APIServer.KeyFile, "--client-ca-file="+filepath.Join(dir, "ca.crt"),
		"--service-cluster-ip-range="+m.cfg.ServiceCIDR.String(), "--service-node-port-range="+m.cfg.NodePorts.String(),
		"--service-account-issuer=https://kubernetes.default.svc."+m.cfg.ClusterDomain,
		"--service-account-key-file="+m.pki.ServiceAccountPub, "--service-account-signing-key-file="+m.pki.ServiceAccountKey,
		"--enable-bootstrap-token-auth",
		"--kubelet-client-certificate="+kubelet.CertFile, "--kubelet-client-key="+kubelet.KeyFile, "--kubelet-certificate-authority="+filepath.Join(dir, "ca.crt"),
		"--requestheader-client-ca-file="+filepath.Join(dir, "front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client",
		"--proxy-client-cert-file="+m.pki.FrontProxyClient.CertFile, "--proxy-client-key-file="+m.pki.FrontProxyClient.KeyFile,
	))
}

// start runs the control plane in the group and returns when the API is ready.
func (m *master) start(ctx context.Context, g *lifecycle.Group) error {
	g.Start(lifecycle.Part{Name: "apiserver", Run: func(ctx context.Context) error {
		// The API server cannot be run twice: its datastore is closed when it ends.
		return lifecycle.Fatal(m.api.Run(ctx))
	}})
	g.Start(lifecycle.Part{Name: "pki", Run: m.pki.Run})
	select {
	case <-m.api.Ready():
	case <-g.Failed():
		return g.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := m.publish(ctx); err != nil {
		return fmt.Errorf("publishing how to join: %w", err)
	}
	if err := m.startControllers(g); err != nil {
		return err
	}
	return m.startScheduler(g)
}

func (m *master) startControllers(g *lifecycle.Group) error {
	if m.cfg.Disabled["controller-manager"] {
		return nil
	}
	dir := m.cfg.Layout.PKI()
	publishDNS := ""
	if !m.cfg.Disabled["dns"] {
		publishDNS = m.cfg.DNSIP.String()
	}
	cfg, err := controllermanager.FromArgs(m.cfg.args("controller-manager", "--cluster-dns="+publishDNS,
		"--controllers=*,bootstrap-signer-controller,token-cleaner-controller", "--leader-elect=false", "--bind-address=127.0.0.1",
		"--allocate-node-cidrs", "--cluster-cidr="+m.cfg.PodCIDR.String(), "--service-cluster-ip-range="+m.cfg.ServiceCIDR.String(),
		"--cluster-signing-cert-file="+filepath.Join(dir, "ca.crt"), "--cluster-signing-key-file="+filepath.Join(dir, "ca.key"),
		"--kubelet-serving-auto-approve", "--root-ca-file="+filepath.Join(dir, "ca.crt"), "--service-account-private-key-file="+m.pki.ServiceAccountKey,
	))
	if err != nil {
		return err
	}
	cfg.As = m.api.Direct
	r, err := controllermanager.New(cfg)
	if err != nil {
		return err
	}
	g.Start(lifecycle.Part{Name: "controller-manager", Run: r.Run})
	return nil
}

func (m *master) startScheduler(g *lifecycle.Group) error {
	if m.cfg.Disabled["scheduler"] {
		return nil
	}
	cfg, err := scheduler.FromArgs(m.cfg.args("scheduler", "--leader-elect=false", "--bind-address=127.0.0.1"))
	if err != nil {
		return err
	}
	cfg.Client = m.api.Direct(as(user.KubeScheduler))
	run, err := lifecycle.Renewed(func() (*scheduler.Role, error) { return scheduler.New(cfg) })
	if err != nil {
		return err
	}
	g.Start(lifecycle.Part{Name: "scheduler", Run: run})
	return nil
}

// publish tells machines with a bootstrap token where the cluster is and whom to trust, and nodes what they have in common.
func (m *master) publish(ctx context.Context) error {
	c := m.api.Direct(as("admin", user.SystemPrivilegedGroup))
	settings, err := m.cfg.settings()
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.Go(func() error { return settings.Publish(ctx, c) })
	g.Go(func() error { return m.publishInfo(ctx, c) })
	return g.Wait()
}

func (m *master) publishInfo(ctx context.Context, c client.Interface) error {
	text, err := join.Info(m.cfg.url(m.cfg.NodeIP.String()), m.pki.CA.Cert)
	if err != nil {
		return err
	}
	want := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespacePublic, Name: bootstrapapi.ConfigMapClusterInfo},
		Data:       map[string]string{bootstrapapi.KubeConfigKey: text},
	}
	_, err = client.ConfigMaps.Create(ctx, c, want)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	_, err = client.ConfigMaps.Modify(ctx, c, want.Namespace, want.Name, func(m *corev1.ConfigMap) bool {
		if m.Data[bootstrapapi.KubeConfigKey] == text {
			return false
		}
		if m.Data == nil {
			m.Data = map[string]string{}
		}
		m.Data[bootstrapapi.KubeConfigKey] = text
		return true
	})
	return err
}
