// Package join lets a machine that knows no more than a server's address and a bootstrap token find out whom to
// trust, the way kubeadm documents it (token-based discovery).
//
// The server publishes a kubeconfig with its CA in the ConfigMap kube-public/cluster-info, signed with the secret of
// each valid token. Whoever holds the token checks the signature, so an impostor on the network who does not hold it
// cannot pass off a CA of its own. With a pin, the hash of the CA's public key, not even somebody who holds a token
// can. The connection is then made again, verified by that CA, and must give the same.
package join

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/token/jws"

	"hyperkube/internal/pki"
	"hyperkube/internal/tokens"
)

// Cluster is what a joining machine learns.
type Cluster struct {
	Server string // URL of the API server
	CA     []byte // PEM
}

const (
	infoPath = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
	// infoLimit bounds the answer of a server that is not trusted yet, in bytes.
	infoLimit = 1 << 20
	timeout   = 15 * time.Second
)

// Discover asks the server for the cluster's CA and checks the answer with the token and, when there are any, the
// pins ("sha256:<hex>" of a CA's public key). The Server of the result is the URL given, not the one published: it is
// known to be reachable from here.
func Discover(ctx context.Context, server string, token tokens.Bootstrap, pins []string) (*Cluster, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("the server's address must have the form https://HOST:PORT, not %q", server)
	}
	// Nothing is known of the server yet: what it says is checked by the token's signature below.
	first, err := fetch(ctx, server, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	ca, err := verify(first, token, pins)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	second, err := fetch(ctx, server, &tls.Config{RootCAs: pool})
	if err != nil {
		return nil, fmt.Errorf("the server does not hold a certificate of its cluster's CA: %w", err)
	}
	if again, err := verify(second, token, pins); err != nil || !slices.Equal(again, ca) {
		return nil, errors.Join(errors.New("the server published another CA on a second look"), err)
	}
	return &Cluster{Server: server, CA: ca}, nil
}

func fetch(ctx context.Context, server string, t *tls.Config) (*corev1.ConfigMap, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server+infoPath, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	tr := &http.Transport{TLSClientConfig: t, DisableKeepAlives: true}
	res, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the server for its cluster: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, infoLimit))
	if err != nil {
		return nil, fmt.Errorf("asking the server for its cluster: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %s when asked for kube-public/cluster-info: is it the API server of a cluster that takes tokens?", res.Status)
	}
	var m corev1.ConfigMap
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, fmt.Errorf("kube-public/cluster-info: %w", err)
	}
	return &m, nil
}

// verify gives the CA that the ConfigMap publishes, if the token's signature and the pins say it is the right one.
func verify(m *corev1.ConfigMap, token tokens.Bootstrap, pins []string) ([]byte, error) {
	content := m.Data[bootstrapapi.KubeConfigKey]
	if content == "" {
		return nil, errors.New("kube-public/cluster-info holds no kubeconfig")
	}
	signature := m.Data[bootstrapapi.JWSSignatureKeyPrefix+token.ID]
	if signature == "" {
		return nil, fmt.Errorf("token ID %q is invalid for this cluster or it has expired: make another with `hyperkube token create`", token.ID)
	}
	if !jws.DetachedTokenIsValid(signature, content, token.ID, token.Secret) {
		return nil, errors.New("the cluster's answer is not signed with this token: the token is wrong, or somebody stands between")
	}
	config, err := clientcmd.Load([]byte(content))
	if err != nil {
		return nil, fmt.Errorf("kube-public/cluster-info: %w", err)
	}
	for _, c := range config.Clusters {
		if len(c.CertificateAuthorityData) > 0 {
			return c.CertificateAuthorityData, pinned(c.CertificateAuthorityData, pins)
		}
	}
	return nil, errors.New("kube-public/cluster-info names no CA")
}

// CheckPin says whether a pin has the form of one.
func CheckPin(pin string) error {
	sum, ok := strings.CutPrefix(pin, "sha256:")
	if _, err := hex.DecodeString(sum); !ok || err != nil || len(sum) != 2*sha256.Size {
		return fmt.Errorf("the hash of a CA has the form sha256:HEX with %d digits, as `hyperkube token create` prints it, not %q", 2*sha256.Size, pin)
	}
	return nil
}

func pinned(ca []byte, pins []string) error {
	certs, err := pki.ParseCerts(ca)
	if err != nil {
		return fmt.Errorf("the cluster's CA: %w", err)
	}
	if len(pins) == 0 {
		return nil
	}
	for _, c := range certs {
		if slices.Contains(pins, pki.CertHash(c)) {
			return nil
		}
	}
	return errors.New("the cluster's CA is none of those pinned by --ca-cert-hash")
}

// Info is the kubeconfig that a cluster publishes in kube-public/cluster-info for those who want to join: a server
// and its CA, and no user.
func Info(server string, ca *x509.Certificate) (string, error) {
	c := clientcmdapi.NewConfig()
	c.Clusters[""] = &clientcmdapi.Cluster{
		Server:                   server,
		CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}),
	}
	text, err := clientcmd.Write(*c)
	return string(text), err
}
