// Package csr judges certificate signing requests: what the signers of the API permit. It is pure.
//
// The rules are those that the documentation of each signer gives:
// https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers.
package csr

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	certv1 "k8s.io/api/certificates/v1"
)

const (
	nodesGroup = "system:nodes"
	nodePrefix = "system:node:"
)

// Has says whether a request has a condition of a type; a condition of a request is never taken back.
func Has(r *certv1.CertificateSigningRequest, t certv1.RequestConditionType) bool {
	return slices.ContainsFunc(r.Status.Conditions, func(c certv1.CertificateSigningRequestCondition) bool { return c.Type == t })
}

// KubeletClient says why a request is none for the certificate by which a kubelet calls the API.
func KubeletClient(r *x509.CertificateRequest, usages []certv1.KeyUsage) error {
	if !slices.Equal(r.Subject.Organization, []string{nodesGroup}) {
		return errors.New("subject organization is not system:nodes")
	}
	if len(r.DNSNames) > 0 || len(r.EmailAddresses) > 0 || len(r.IPAddresses) > 0 || len(r.URIs) > 0 {
		return errors.New("DNS, email, IP or URI subjectAltNames are not allowed")
	}
	if !strings.HasPrefix(r.Subject.CommonName, nodePrefix) {
		return errors.New("subject common name does not begin with system:node:")
	}
	return keys(usages, certv1.UsageClientAuth)
}

// KubeletServing says why a request is none for the certificate of a kubelet's own server. username is who asked.
func KubeletServing(r *x509.CertificateRequest, usages []certv1.KeyUsage, username string) error {
	if !slices.Equal(r.Subject.Organization, []string{nodesGroup}) {
		return errors.New("subject organization is not system:nodes")
	}
	if len(r.DNSNames) == 0 && len(r.IPAddresses) == 0 {
		return errors.New("at least one DNS or IP subjectAltName is required")
	}
	if len(r.EmailAddresses) > 0 || len(r.URIs) > 0 {
		return errors.New("email and URI subjectAltNames are not allowed")
	}
	if !strings.HasPrefix(r.Subject.CommonName, nodePrefix) {
		return errors.New("subject common name does not begin with system:node:")
	}
	if r.Subject.CommonName != username {
		return fmt.Errorf("subject common name %q is not the requesting user %q", r.Subject.CommonName, username)
	}
	return keys(usages, certv1.UsageServerAuth)
}

// Client says why usages are none of a client's certificate.
func Client(usages []certv1.KeyUsage) error {
	if !slices.Contains(usages, certv1.UsageClientAuth) {
		return errors.New("usages did not contain client auth")
	}
	for _, u := range usages {
		switch u {
		case certv1.UsageDigitalSignature, certv1.UsageKeyEncipherment, certv1.UsageClientAuth:
		default:
			return fmt.Errorf("usage %q is not allowed", u)
		}
	}
	return nil
}

// keys wants digital signature and auth, and lets key encipherment (for RSA keys) be there or not.
func keys(usages []certv1.KeyUsage, auth certv1.KeyUsage) error {
	for _, needed := range []certv1.KeyUsage{certv1.UsageDigitalSignature, auth} {
		if !slices.Contains(usages, needed) {
			return fmt.Errorf("usages did not contain %s", needed)
		}
	}
	for _, u := range usages {
		if u != certv1.UsageDigitalSignature && u != certv1.UsageKeyEncipherment && u != auth {
			return fmt.Errorf("usage %q is not allowed", u)
		}
	}
	return nil
}

// NodeOf is the node whose kubelet has a user name; "" for other users.
func NodeOf(username string) string {
	name, ok := strings.CutPrefix(username, nodePrefix)
	if !ok {
		return ""
	}
	return name
}
