package up

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"hyperkube/internal/client"
	"hyperkube/internal/join"
	"hyperkube/internal/node/bootstrap"
	"hyperkube/internal/pki"
)

// member is a node of a cluster that runs elsewhere.
type member struct {
	id   *bootstrap.Client
	rest *rest.Config
	api  client.Interface
}

// issueTime bounds the waiting for the node's first certificate. It is issued within moments where requests are approved by
// themselves, and never where nobody approves them.
const issueTime = time.Minute

// admit gives this machine its place in the cluster: a certificate as the node system:node:NAME, and the cluster's CA. A machine that
// has them from before needs no token and asks nobody.
func (c *Config) admit(ctx context.Context) (*member, error) {
	m := &member{id: &bootstrap.Client{Kubeconfig: c.Layout.NodeKubeconfig(), CertDir: c.Layout.PKI(), NodeName: c.NodeName}}
	var err error
	if m.rest, err = m.id.Ensure(ctx); err != nil {
		if _, missing := os.Stat(c.Layout.NodeKubeconfig()); !errors.Is(missing, fs.ErrNotExist) && !errors.Is(err, bootstrap.ErrExpired) {
			return nil, err
		}
		if c.Join.Token == nil {
			return nil, fmt.Errorf("a token is needed: make one with `hyperkube token create` on the master (%w)", err)
		}
		if m.rest, err = c.bootstrap(ctx, m.id); err != nil {
			return nil, err
		}
	}
	m.rest.UserAgent = "kubelet"
	c.Join.Server = m.rest.Host
	m.api, err = client.NewREST(m.rest)
	m.id.Renewed = func() { client.Reconnect(m.api) }
	return m, err
}

// bootstrap exchanges a token for a certificate.
func (c *Config) bootstrap(ctx context.Context, id *bootstrap.Client) (*rest.Config, error) {
	found, err := join.Discover(ctx, c.Join.Server, *c.Join.Token, c.Join.Pins)
	if err != nil {
		return nil, err
	}
	id.Bootstrap = &rest.Config{
		Host: found.Server, BearerToken: c.Join.Token.String(), UserAgent: "hyperkube-join",
		TLSClientConfig: rest.TLSClientConfig{CAData: found.CA},
	}
	if err := c.checkName(ctx, id.Bootstrap); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, issueTime, errors.New("nobody approved the node's certificate signing request; `kubectl get csr` shows it"))
	defer cancel()
	cfg, err := id.Ensure(ctx)
	if err != nil && errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if err != nil {
		return nil, err
	}
	return cfg, pki.WriteFile(c.clusterCA(), found.CA, 0o644, false)
}

// clusterCA is the file of the cluster's CA on a node that joined.
func (c *Config) clusterCA() string { return filepath.Join(c.Layout.PKI(), "ca.crt") }

// checkName refuses the name of another machine's node: two under one name would drive each other's pods away. A node with this
// machine's address is this machine in an earlier life.
func (c *Config) checkName(ctx context.Context, as *rest.Config) error {
	api, err := client.NewREST(as)
	if err != nil {
		return err
	}
	n, err := client.Nodes.Get(ctx, api, "", c.NodeName)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking whether the name %q is free: %w", c.NodeName, err)
	}
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP && a.Address == c.NodeIP.String() {
			return nil
		}
	}
	return fmt.Errorf("the cluster has a node %q already, at another address: give this one another name with --node-name, or remove that one with `kubectl delete node %s`", c.NodeName, c.NodeName)
}
