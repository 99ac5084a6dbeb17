// Package streams carries requests through the API server to where they are answered: exec, attach,
// portforward and logs to a pod's kubelet, and the proxy subresources to pods, services and nodes.
//
// An exchange that is upgraded (SPDY or WebSocket) is passed on as it is: the server copies bytes between the two
// connections and does not look into them, so every protocol that kubectl and a kubelet agree upon works. The
// kubelet sees the API server's own client certificate, never the credentials of the user.
// Objects are read through a client.Interface, at the moment of the request.
package streams

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilproxy "k8s.io/apimachinery/pkg/util/proxy"

	"hyperkube/internal/client"
	"hyperkube/internal/server/request"
)

// Config says how kubelets and pods are reached.
type Config struct {
	Client client.Interface
	// KubeletTLS has the server's certificate for kubelets and the CA that their certificates are checked with.
	KubeletTLS *tls.Config
	// AddressTypes are the kinds of node addresses to try, the best first; default InternalIP, InternalDNS, Hostname,
	// ExternalDNS, ExternalIP.
	AddressTypes []corev1.NodeAddressType
	// Admit asks admission about a CONNECT; nil admits.
	Admit func(ctx context.Context, req *request.Request, options any) error
	// Fail writes an error as the API does.
	Fail func(w http.ResponseWriter, r *http.Request, err error)
}

// Streams answers the connecting subresources.
type Streams struct {
	Config
	kubelets *http.Transport
	backends *http.Transport // pods and services: their certificates are their own business
}

// New makes the handlers.
func New(c Config) (*Streams, error) {
	if c.Client == nil || c.Fail == nil {
		return nil, errors.New("streams need a client and a way to answer with errors")
	}
	if len(c.AddressTypes) == 0 {
		c.AddressTypes = []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeInternalDNS, corev1.NodeHostName, corev1.NodeExternalDNS, corev1.NodeExternalIP}
	}
	return &Streams{Config: c, kubelets: transport(c.KubeletTLS, nil), backends: transport(&tls.Config{
		// Upstream's proxy does not verify either: a pod's certificate has no name that the server could check.
		InsecureSkipVerify: true,
	}, dialDistant)}, nil
}

func transport(t *tls.Config, control func(network, address string, c syscall.RawConn) error) *http.Transport {
	d := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second, Control: control}
	return &http.Transport{
		TLSClientConfig:     t,
		DialContext:         d.DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     90 * time.Second,
		// HTTP/1.1 only: upgrades need it, and one connection a stream keeps streams apart.
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
}

// nodeConnection is where a node's kubelet listens.
func (s *Streams) nodeConnection(ctx context.Context, name string) (string, error) {
	node, err := client.Nodes.Get(ctx, s.Client, "", name)
	if err != nil {
		return "", err
	}
	port := int(node.Status.DaemonEndpoints.KubeletEndpoint.Port)
	if port == 0 {
		port = 10250
	}
	for _, t := range s.AddressTypes {
		for _, a := range node.Status.Addresses {
			if a.Type == t && a.Address != "" {
				return net.JoinHostPort(a.Address, strconv.Itoa(port)), nil
			}
		}
	}
	return "", fmt.Errorf("no preferred addresses found; known addresses: %v", node.Status.Addresses)
}

// pass hands the exchange to a backend and copies the answer, or the bytes of an upgraded connection, until
// one side ends.
func (s *Streams) pass(w http.ResponseWriter, r *http.Request, to *url.URL, t http.RoundTripper, upgradeRequired, rewrite bool) {
	out := r.Clone(r.Context())
	// The backend must not see who the user is by means that it could use itself.
	for h := range out.Header {
		if h == "Authorization" || h == "Cookie" || strings.HasPrefix(h, "Impersonate-") || strings.HasPrefix(h, "X-Remote-") {
			out.Header.Del(h)
		}
	}
	h := utilproxy.NewUpgradeAwareHandler(to, t, rewrite, upgradeRequired, responder{s})
	h.UseLocationHost = true
	h.UseRequestLocation = !upgradeRequired && rewrite
	h.AppendLocationPath = false
	h.ServeHTTP(w, out)
}

type responder struct{ s *Streams }

func (r responder) Error(w http.ResponseWriter, req *http.Request, err error) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		err = apierrors.NewServiceUnavailable("error trying to reach service: " + err.Error())
	}
	r.s.Fail(w, req, err)
}

func (s *Streams) admit(ctx context.Context, req *request.Request, options any) error {
	if s.Admit == nil {
		return nil
	}
	return s.Admit(ctx, req, options)
}
