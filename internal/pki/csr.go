package pki

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	certv1 "k8s.io/api/certificates/v1"
)

// ParseCSR reads a PEM certificate request, as CertificateSigningRequest.spec.request holds
// it, and checks its own signature.
func ParseCSR(pemBytes []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(pemBytes)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate request is not signed by its own key: %w", err)
	}
	return csr, nil
}

// short is the life below which a certificate does not begin before it was issued, as upstream's signer has it.
const short = 8 * time.Hour

// SignCSR issues the certificate that a request asks for: its subject and its alternative names, with
// the given usages, valid from shortly before now for the given duration, but not beyond the
// life of the authority. A short life begins now: its holder reckons by its beginning when to ask for the next. The caller has
// decided that the request is allowed. The result is PEM.
func SignCSR(ca *CA, csr *x509.CertificateRequest, usages []certv1.KeyUsage, duration time.Duration, now time.Time) ([]byte, error) {
	if duration <= 0 {
		return nil, fmt.Errorf("a certificate cannot be valid for %s", duration)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate request is not signed by its own key: %w", err)
	}
	key, ext, err := KeyUsages(usages)
	if err != nil {
		return nil, err
	}
	begin := now
	if duration >= short {
		begin = now.Add(-backdate)
	}
	t := &x509.Certificate{
		Subject:        csr.Subject,
		DNSNames:       csr.DNSNames,
		IPAddresses:    csr.IPAddresses,
		EmailAddresses: csr.EmailAddresses,
		URIs:           csr.URIs,
		NotBefore:      begin,
		NotAfter:       now.Add(duration),
		KeyUsage:       key,
		ExtKeyUsage:    ext,
	}
	der, err := ca.sign(t, csr.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate of %q: %w", csr.Subject.CommonName, err)
	}
	return encodeCert(der), nil
}

// KeyUsages turns the usages of the certificates API into those of X.509. The two usages
// that make an authority of a certificate ("cert sign", "crl sign") are passed through: whoever signs for
// a signer that does not allow them has to refuse them first.
func KeyUsages(usages []certv1.KeyUsage) (x509.KeyUsage, []x509.ExtKeyUsage, error) {
	var key x509.KeyUsage
	var ext []x509.ExtKeyUsage
	seen := map[x509.ExtKeyUsage]bool{}
	for _, u := range usages {
		if k, ok := keyUsage(u); ok {
			key |= k
			continue
		}
		e, ok := extKeyUsage(u)
		if !ok {
			return 0, nil, fmt.Errorf("unrecognized usage %q", u)
		}
		if !seen[e] {
			seen[e] = true
			ext = append(ext, e)
		}
	}
	return key, ext, nil
}

func keyUsage(u certv1.KeyUsage) (x509.KeyUsage, bool) {
	switch u {
	case certv1.UsageSigning, certv1.UsageDigitalSignature:
		return x509.KeyUsageDigitalSignature, true
	case certv1.UsageContentCommitment:
		return x509.KeyUsageContentCommitment, true
	case certv1.UsageKeyEncipherment:
		return x509.KeyUsageKeyEncipherment, true
	case certv1.UsageKeyAgreement:
		return x509.KeyUsageKeyAgreement, true
	case certv1.UsageDataEncipherment:
		return x509.KeyUsageDataEncipherment, true
	case certv1.UsageCertSign:
		return x509.KeyUsageCertSign, true
	case certv1.UsageCRLSign:
		return x509.KeyUsageCRLSign, true
	case certv1.UsageEncipherOnly:
		return x509.KeyUsageEncipherOnly, true
	case certv1.UsageDecipherOnly:
		return x509.KeyUsageDecipherOnly, true
	}
	return 0, false
}

func extKeyUsage(u certv1.KeyUsage) (x509.ExtKeyUsage, bool) {
	switch u {
	case certv1.UsageAny:
		return x509.ExtKeyUsageAny, true
	case certv1.UsageServerAuth:
		return x509.ExtKeyUsageServerAuth, true
	case certv1.UsageClientAuth:
		return x509.ExtKeyUsageClientAuth, true
	case certv1.UsageCodeSigning:
		return x509.ExtKeyUsageCodeSigning, true
	case certv1.UsageEmailProtection, certv1.UsageSMIME:
		return x509.ExtKeyUsageEmailProtection, true
	case certv1.UsageIPsecEndSystem:
		return x509.ExtKeyUsageIPSECEndSystem, true
	case certv1.UsageIPsecTunnel:
		return x509.ExtKeyUsageIPSECTunnel, true
	case certv1.UsageIPsecUser:
		return x509.ExtKeyUsageIPSECUser, true
	case certv1.UsageTimestamping:
		return x509.ExtKeyUsageTimeStamping, true
	case certv1.UsageOCSPSigning:
		return x509.ExtKeyUsageOCSPSigning, true
	case certv1.UsageMicrosoftSGC:
		return x509.ExtKeyUsageMicrosoftServerGatedCrypto, true
	case certv1.UsageNetscapeSGC:
		return x509.ExtKeyUsageNetscapeServerGatedCrypto, true
	}
	return 0, false
}
