// Package whole makes an API server for tests that has all that judges or changes what is written, as the role has it: authentication
// by certificates, fairness, RBAC, the default admission plugins, allocation for services, and other API servers. [servertest] makes one of
// the pipeline alone.
package whole

import (
	"crypto"
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"hyperkube/internal/client"
	"hyperkube/internal/pki"
	"hyperkube/internal/server"
	"hyperkube/internal/server/access"
	"hyperkube/internal/server/aggregate"
	"hyperkube/internal/server/authn"
	"hyperkube/internal/server/bootstrap"
	"hyperkube/internal/server/fairness"
	"hyperkube/internal/server/openapi"
	"hyperkube/internal/server/servertest"
	"hyperkube/internal/server/services"
	"hyperkube/internal/version"
)

// Server is one at work until the test ends.
type Server struct {
	*servertest.API
	Files *pki.Files
}

// Config says what is different from the default. Each field may be left out.
type Config struct {
	// Look sees the server's configuration first, and may change it.
	Look func(*server.Config)
	// Anonymous lets requests in that say nothing of who asks.
	Anonymous bool
}

// seats are as many as the role gives by default.
const seats = 600

// Start makes a server.
func Start(t *testing.T, cfg Config) *Server {
	t.Helper()
	files, err := pki.Ensure(t.TempDir(), pki.Options{NodeName: "n1", ServiceIP: net.IPv4(10, 96, 0, 1)})
	require.NoError(t, err)
	serving, err := pki.NewReloader(files.APIServer, files.CA.CertFile)
	require.NoError(t, err)
	api := servertest.Start(t, func(c *server.Config) {
		if cfg.Look != nil {
			cfg.Look(c)
		}
		c.TLS = serving.ServerConfig(tls.RequestClientCert)
		cidrs, ports := c.ServiceCIDRs, c.NodePortRange
		wire := access.Wire(access.Config{
			Authn: authn.Config{ClientCA: serving.Pool, Anonymous: cfg.Anonymous, ServiceAccounts: &authn.ServiceAccounts{
				Issuers: []string{"https://kubernetes.default.svc"}, Signer: files.ServiceAccount, Keys: []crypto.PublicKey{files.ServiceAccount.Public()},
			}},
			Bootstrap: bootstrap.Config{Authentication: &bootstrap.Authentication{ClientCA: files.CA.PEM, FrontProxyCA: files.FrontProxyCA.PEM}},
		})
		c.Wire = func(api client.Interface, p *server.Parts) error {
			if err := wire(api, p); err != nil {
				return err
			}
			a, err := services.New(api, cidrs, ports)
			if err != nil {
				return err
			}
			p.Hooks = map[schema.GroupResource]server.WriteHook{client.Services.GVR.GroupResource(): a.Hook}
			others := aggregate.New(aggregate.Config{API: api, Table: p.Table})
			p.Delegate, p.Groups = others.Delegate, others.Groups
			p.Background = append(p.Background, a.Run, others.Run)
			if p.Handlers == nil {
				p.Handlers = map[string]http.Handler{}
			}
			f := fairness.New(fairness.Config{API: api, Seats: seats, QueueWait: time.Minute})
			p.FlowControl = f.Admit
			p.Background = append(p.Background, f.Run)
			maps.Copy(p.Handlers, openapi.New(p.Table, others, version.Kubernetes).Handlers())
			return nil
		}
	})
	return &Server{api, files}
}

// As is how a client with one of the certificates in Files reaches the server.
func (s *Server) As(t *testing.T, p pki.Pair) *rest.Config {
	t.Helper()
	cert, key, err := p.Read()
	require.NoError(t, err)
	return &rest.Config{Host: s.REST.Host, QPS: -1, TLSClientConfig: rest.TLSClientConfig{CAData: s.Files.CA.PEM, CertData: cert, KeyData: key}}
}
