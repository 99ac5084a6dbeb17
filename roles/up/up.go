package up

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/cluster"
	"hyperkube/internal/lifecycle"
	"hyperkube/internal/node/server"
)

// Run runs a master with a node until ctx ends. ready is called once, when the node is Ready or the start has failed.
func Run(ctx context.Context, cfg Config, ready func(error)) error {
	began := time.Now()
	err := cfg.complete()
	if err == nil {
		err = cfg.Layout.Create()
	}
	if err != nil {
		ready(err)
		return err
	}
	release, err := cfg.Layout.Lock()
	if err != nil {
		ready(err)
		return err
	}
	defer release()
	var g lifecycle.Group
	if err := start(ctx, cfg, &g); err != nil {
		g.Stop()
		ready(err)
		return err
	}
	slog.Default().Info("the node is ready", "component", "up", "node", cfg.NodeName, "took", time.Since(began).Round(time.Millisecond))
	ready(nil)
	return g.Wait(ctx)
}

func start(ctx context.Context, cfg Config, g *lifecycle.Group) error {
	err := cfg.Layout.SaveNode(cluster.Node{
		Name: cfg.NodeName, Master: true, Server: cfg.url(cfg.NodeIP.String()),
		PodCIDR: cfg.PodCIDR.String(), ServiceCIDR: cfg.ServiceCIDR.String(),
		Bridge: cfg.Bridge, Overlay: cfg.OverlayBackend, RuntimeEndpoint: cfg.RuntimeEndpoint,
	})
	if err != nil {
		return err
	}
	var engines chan engine
	if !cfg.Disabled["kubelet"] {
		engines = startEngine(ctx, cfg)
	}
	m, err := newMaster(ctx, cfg)
	if err != nil {
		return err
	}
	if err := m.start(ctx, g); err != nil {
		return err
	}
	if engines == nil {
		return nil
	}
	w := &worker{cfg: cfg, engine: engines, api: access{
		kubelet: m.api.Direct(as("system:node:"+cfg.NodeName, "system:nodes")),
		flannel: m.api.Direct(as("system:flannel")),
		proxy:   m.api.Direct(as(user.KubeProxy)),
		dns:     m.api.Direct(as("system:dns")),
	}}
	w.serving = w.kubeletServer(m)
	return w.start(ctx, g)
}

// kubeletServer is the kubelet's HTTPS API with a certificate of the cluster's own authority.
func (w *worker) kubeletServer(m *master) *server.Config {
	pool := m.pki.CA.Pool()
	pair := m.pki.KubeletServer
	return &server.Config{
		Port: 10250, Address: w.cfg.NodeIP.String(),
		TLS: server.TLS{Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.TLS() }},
		Auth: &server.Auth{
			NodeName: w.cfg.NodeName, Client: w.api.kubelet, Tokens: true,
			ClientCAs: func() (*x509.CertPool, error) { return pool, nil },
		},
		SystemLogs: true,
	}
}

// summary is what `up` prints when the node is Ready.
func summary(cfg Config) string {
	return fmt.Sprintf(`The cluster runs; node %s is Ready.
  hyperkube kubectl get cs,nodes
  kubeconfig: %s
`, cfg.NodeName, cfg.Layout.AdminKubeconfig())
}
