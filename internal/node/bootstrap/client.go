package bootstrap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	certv1 "k8s.io/api/certificates/v1"
	"k8s.io/client-go/rest"

	"hyperkube/internal/client"
	"hyperkube/internal/pki"
)

// Client is the kubelet's identity towards the API server.
type Client struct {
	Kubeconfig          string // read, and written after a bootstrap
	BootstrapKubeconfig string // empty: Kubeconfig must be good
	// Bootstrap are the credentials of a bootstrap in place of a file.
	Bootstrap *rest.Config
	// Renewed is called when there is a new certificate on disk. Connections made with the old one should end.
	Renewed  func()
	CertDir  string
	NodeName string
	Now      func() time.Time
}

// ErrExpired says that a node's certificate has ended, so that it needs a token to be let in again.
var ErrExpired = errors.New("its client certificate has expired")

func (c *Client) store() store { return store{c.CertDir, "kubelet-client"} }

func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// Ensure gives the configuration to reach the API server with. Where there is no kubeconfig, or its certificate
// from an earlier bootstrap has expired, it asks for a certificate with the bootstrap credentials and waits for it.
func (c *Client) Ensure(ctx context.Context) (*rest.Config, error) {
	cfg, err := client.FromKubeconfig(c.Kubeconfig)
	switch {
	case err == nil && !c.expired(cfg):
		return cfg, nil
	case c.BootstrapKubeconfig == "" && c.Bootstrap == nil:
		if err == nil {
			err = fmt.Errorf("kubeconfig %s: %w", c.Kubeconfig, ErrExpired)
		}
		return nil, err
	case err != nil && !errors.Is(err, fs.ErrNotExist) && exists(c.Kubeconfig):
		return nil, err
	}
	boot := c.Bootstrap
	if boot == nil {
		if boot, err = client.FromKubeconfig(c.BootstrapKubeconfig); err != nil {
			return nil, err
		}
	}
	slog.Default().Info("asking for a client certificate", "component", "kubelet", "node", c.NodeName)
	api, err := client.NewREST(boot)
	if err != nil {
		return nil, err
	}
	if err := c.request(ctx, api); err != nil {
		return nil, fmt.Errorf("TLS bootstrap: %w", err)
	}
	if err := c.writeKubeconfig(boot); err != nil {
		return nil, err
	}
	return client.FromKubeconfig(c.Kubeconfig)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// expired says whether the configuration uses our certificate and that has expired.
func (c *Client) expired(cfg *rest.Config) bool {
	if cfg.CertFile != c.store().current() {
		return false
	}
	cert, err := c.store().load()
	return err != nil || cert == nil || c.now().After(cert.Leaf.NotAfter)
}

func (c *Client) request(ctx context.Context, api client.Interface) error {
	data, err := obtain(ctx, api, Wish{Signer: certv1.KubeAPIServerClientKubeletSignerName, NodeName: c.NodeName})
	if err != nil {
		return err
	}
	_, err = c.store().save(data, c.now())
	return err
}

func (c *Client) writeKubeconfig(boot *rest.Config) error {
	ca := boot.CAData
	if len(ca) == 0 && boot.CAFile != "" {
		var err error
		if ca, err = os.ReadFile(boot.CAFile); err != nil {
			return err
		}
	}
	return pki.WriteKubeconfig(c.Kubeconfig, boot.Host, ca, pki.Credentials{User: "default-auth", CertFile: c.store().current(), KeyFile: c.store().current()})
}

// Rotate replaces the certificate in time until ctx ends. Kubeconfigs whose certificate is not ours are left alone.
func (c *Client) Rotate(ctx context.Context, cfg *rest.Config) error {
	if cfg.CertFile != c.store().current() {
		<-ctx.Done()
		return nil
	}
	api, err := client.NewREST(cfg)
	if err != nil {
		return err
	}
	return rotate(ctx, api, c.now, c.store().load, func(ctx context.Context) error {
		err := c.request(ctx, api)
		if err == nil {
			client.Reconnect(api)
			if c.Renewed != nil {
				c.Renewed()
			}
		}
		return err
	})
}

// rotate calls request, which uses api, when the certificate is due.
func rotate(ctx context.Context, api client.Interface, now func() time.Time, load func() (*tls.Certificate, error), request func(context.Context) error) error {
	const retry = time.Minute
	for ctx.Err() == nil {
		wait := time.Duration(0)
		cert, err := load()
		if err == nil && cert != nil {
			wait = renewAt(cert.Leaf).Sub(now())
		}
		if wait <= 0 {
			if err := request(ctx); err != nil && ctx.Err() == nil {
				slog.Default().Warn("certificate not renewed", "component", "kubelet", "error", err, "retryIn", retry)
				wait = retry
			}
		}
		client.Wait(ctx, api, max(wait, time.Second))
	}
	return nil
}
