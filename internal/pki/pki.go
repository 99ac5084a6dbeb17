// Package pki makes and keeps the keys and certificates of a cluster: three certificate
// authorities (cluster, front proxy, etcd), the key pair that signs service-account
// tokens, and one certificate for each role that serves or calls.
//
// [Ensure] brings a directory into order: what is missing is made, what is near its end, does not match
// its authority or carries other names than wanted is issued anew, and what is good stays
// untouched. It is safe to call at every start and from several processes at once (a lock
// file orders them). [Files.Run] does the same while the process lives. Authorities are
// never replaced: a broken one is an error that names the file, since replacing it would cut off
// every node and every kubeconfig. An authority without its key (kept elsewhere) is
// fine as long as no certificate has to be issued.
//
// Files appear whole or not at all (written aside, then renamed), with mode 0600 in
// directories of mode 0700. Keys are ECDSA P-256. Authorities live ten years, certificates
// one; they are renewed when less than a third of their life remains.
//
// [Reloader] serves a certificate from its files and takes up new ones without a restart.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"time"
)

const (
	// CALife is how long a certificate authority made here is valid.
	CALife = 10 * 365 * 24 * time.Hour
	// LeafLife is how long a certificate made here is valid.
	LeafLife = 365 * 24 * time.Hour
	// backdate allows for clocks of other machines that are behind.
	backdate = 5 * time.Minute
)

// CA is a certificate authority. Key is nil when the key is kept elsewhere: then it can
// verify, not issue.
type CA struct {
	Cert *x509.Certificate
	Key  crypto.Signer
	// PEM is the certificate as it goes into kubeconfigs and trust bundles.
	PEM []byte
	// CertFile and KeyFile are where it lives; empty for one that was only made in memory.
	CertFile, KeyFile string
}

// ErrNoKey tells that an authority cannot issue, because its private key is not here.
var ErrNoKey = errors.New("the private key of the certificate authority is not available")

// Pool is a pool of this authority alone.
func (c *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c.Cert)
	return p
}

// Hash is the pin that join tokens carry: "sha256:" and the hex digest of the
// authority's subject public key info (RFC 7469, as kubeadm's --discovery-token-ca-cert-hash).
func (c *CA) Hash() string { return CertHash(c.Cert) }

// CertHash is the pin of a certificate's public key; see [CA.Hash].
func CertHash(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// NewCA makes an authority in memory, valid from now for [CALife].
func NewCA(commonName string, now time.Time) (*CA, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	return newCA(commonName, key, now)
}

// newCA is an authority over a key that there is.
func newCA(commonName string, key crypto.Signer, now time.Time) (*CA, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: commonName},
		DNSNames:              []string{commonName},
		NotBefore:             now.Add(-backdate).UTC(),
		NotAfter:              now.Add(CALife).UTC(),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making the certificate authority %s: %w", commonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &CA{Cert: cert, Key: key, PEM: encodeCert(der)}, nil
}

// Request says what certificate is wanted.
type Request struct {
	CommonName    string
	Organizations []string
	DNSNames      []string
	IPs           []net.IP
	URIs          []*url.URL
	Usages        []x509.ExtKeyUsage
	// Life is how long it is valid; zero means [LeafLife]. It never outlives its authority.
	Life time.Duration
}

// Issue makes a key and a certificate for it; both as PEM. Nothing is written to disk.
func (c *CA) Issue(r Request, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	life := r.Life
	if life == 0 {
		life = LeafLife
	}
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: r.CommonName, Organization: r.Organizations},
		DNSNames:    r.DNSNames,
		IPAddresses: r.IPs,
		URIs:        r.URIs,
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(life),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: r.Usages,
	}
	der, err := c.sign(t, key.Public())
	if err != nil {
		return nil, nil, fmt.Errorf("issuing a certificate for %q: %w", r.CommonName, err)
	}
	keyPEM, err = encodeKey(key)
	if err != nil {
		return nil, nil, err
	}
	return encodeCert(der), keyPEM, nil
}

// IssueTLS is [CA.Issue] with the result ready for a tls.Config.
func (c *CA) IssueTLS(r Request, now time.Time) (tls.Certificate, error) {
	cert, key, err := c.Issue(r, now)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// SelfSigned makes a serving certificate that vouches for itself, kept in memory, for
// listeners that were given none.
func SelfSigned(commonName string, dnsNames []string, ips []net.IP, now time.Time) (tls.Certificate, error) {
	ca, err := NewCA(commonName+"-ca", now)
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := ca.IssueTLS(Request{CommonName: commonName, DNSNames: dnsNames, IPs: ips,
		Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, now)
	if err != nil {
		return tls.Certificate{}, err
	}
	cert.Certificate = append(cert.Certificate, ca.Cert.Raw)
	return cert, nil
}

// sign completes a template and signs it.
func (c *CA) sign(t *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
	if c.Key == nil {
		if c.KeyFile != "" {
			return nil, fmt.Errorf("%w: put it at %s", ErrNoKey, c.KeyFile)
		}
		return nil, ErrNoKey
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t.SerialNumber = serial
	t.BasicConstraintsValid = true
	if t.NotAfter.After(c.Cert.NotAfter) {
		t.NotAfter = c.Cert.NotAfter
	}
	t.NotBefore, t.NotAfter = t.NotBefore.UTC(), t.NotAfter.UTC()
	return x509.CreateCertificate(rand.Reader, t, c.Cert, pub, c.Key)
}

func newKey() (*ecdsa.PrivateKey, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return k, nil
}

// newSerial is 127 random bits: positive and never zero in practice (RFC 5280 §4.1.2.2).
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(k *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
