package authn

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

// certificates takes the user from a client certificate: the common name is the user, the organizations are the groups
// (https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates).
type certificates struct {
	roots func() *x509.CertPool
	now   func() time.Time
	cache *cache[*certificateUser]
	left  prometheus.Observer // seconds until a certificate that is used expires
}

type certificateUser struct {
	roots *x509.CertPool // for which it was verified
	until time.Time
	resp  *authenticator.Response
}

// verifiedFor bounds how long the verification of a certificate is remembered.
const verifiedFor = 5 * time.Minute

func newCertificates(roots func() *x509.CertPool, now func() time.Time, left prometheus.Observer) *certificates {
	return &certificates{roots: roots, now: now, cache: newCache[*certificateUser](1024), left: left}
}

func (c *certificates) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	roots := c.roots()
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || roots == nil {
		return nil, false, nil
	}
	leaf, now := r.TLS.PeerCertificates[0], c.now()
	key := sha256.Sum256(leaf.Raw)
	if u, ok := c.cache.get(key); ok && u.roots == roots && now.Before(u.until) {
		c.left.Observe(leaf.NotAfter.Sub(now).Seconds())
		return u.resp, true, nil
	}
	if err := verify(r.TLS.PeerCertificates, roots, now); err != nil {
		return nil, false, fmt.Errorf("verifying certificate SN=%s failed: %w", leaf.SerialNumber, err)
	}
	c.left.Observe(leaf.NotAfter.Sub(now).Seconds())
	u, err := userOf(leaf, key)
	if err != nil || u == nil {
		return nil, false, err
	}
	until := now.Add(verifiedFor)
	if leaf.NotAfter.Before(until) {
		until = leaf.NotAfter
	}
	resp := &authenticator.Response{User: u}
	c.cache.add(key, &certificateUser{roots: roots, until: until, resp: resp})
	return resp, true, nil
}

// verify checks a chain as the other side sent it.
func verify(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	o := x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if len(chain) > 1 {
		o.Intermediates = x509.NewCertPool()
		for _, c := range chain[1:] {
			o.Intermediates.AddCert(c)
		}
	}
	_, err := chain[0].Verify(o)
	return err
}

// userOf reads the subject; nil when it has no common name. The UID has an object identifier of the Kubernetes project.
func userOf(leaf *x509.Certificate, sum [sha256.Size]byte) (user.Info, error) {
	if leaf.Subject.CommonName == "" {
		return nil, nil
	}
	u := &user.DefaultInfo{
		Name: leaf.Subject.CommonName, Groups: leaf.Subject.Organization,
		Extra: map[string][]string{user.CredentialIDKey: {"X509SHA256=" + hex.EncodeToString(sum[:])}},
	}
	uidOID := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 2}
	for _, n := range leaf.Subject.Names {
		if !n.Type.Equal(uidOID) {
			continue
		}
		uid, ok := n.Value.(string)
		if !ok || uid == "" || u.UID != "" {
			return nil, fmt.Errorf("the subject of certificate SN=%s must hold one UID that is a string", leaf.SerialNumber)
		}
		u.UID = uid
	}
	return u, nil
}
