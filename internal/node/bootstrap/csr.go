// Package bootstrap gets the kubelet its certificates: the client certificate with which it speaks to the API server, from a
// bootstrap token when it has none yet, and its serving certificate. Both are asked for by
// CertificateSigningRequests and asked for again when most of their life is over.
//
// Files in the certificate directory, as upstream's: kubelet-client-current.pem and kubelet-server-current.pem are links to the
// newest certificate with its key; kubelet.crt and kubelet.key are a self-signed serving certificate.
package bootstrap

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"time"

	certv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"hyperkube/internal/client"
)

// Wish is what a certificate is asked for.
type Wish struct {
	Signer   string
	NodeName string
	Server   bool // a serving certificate for the names and addresses
	DNSNames []string
	IPs      []net.IP
}

// errDenied ends the waiting for a certificate that will not come.
var errDenied = errors.New("the certificate signing request was denied")

// obtain asks for a certificate with a new key, waits until it is approved and issued, and gives both in PEM. It waits
// for as long as ctx lasts.
func obtain(ctx context.Context, c client.Interface, w Wish) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "system:node:" + w.NodeName, Organization: []string{"system:nodes"}},
		DNSNames: w.DNSNames, IPAddresses: w.IPs,
	}, key)
	if err != nil {
		return nil, err
	}
	usage := certv1.UsageClientAuth
	if w.Server {
		usage = certv1.UsageServerAuth
	}
	csr, err := client.CertificateSigningRequests.Create(ctx, c, &certv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "csr-"},
		Spec: certv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}),
			SignerName: w.Signer, Usages: []certv1.KeyUsage{certv1.UsageDigitalSignature, usage},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("certificate signing request: %w", err)
	}
	issued, err := await(ctx, c, csr)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(issued, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})...), nil
}

// await the certificate of a request.
func await(ctx context.Context, c client.Interface, csr *certv1.CertificateSigningRequest) ([]byte, error) {
	for {
		cert, err := outcome(csr)
		if cert != nil || err != nil {
			return cert, err
		}
		next, err := follow(ctx, c, csr)
		if err != nil {
			return nil, err
		}
		csr = next
	}
}

// outcome of a request: a certificate, an error, or neither yet.
func outcome(csr *certv1.CertificateSigningRequest) ([]byte, error) {
	for _, cond := range csr.Status.Conditions {
		if cond.Status != corev1.ConditionTrue && cond.Status != "" {
			continue
		}
		switch cond.Type {
		case certv1.CertificateDenied:
			return nil, fmt.Errorf("%w: %s: %s", errDenied, cond.Reason, cond.Message)
		case certv1.CertificateFailed:
			return nil, fmt.Errorf("the certificate was not issued: %s: %s", cond.Reason, cond.Message)
		}
	}
	return csr.Status.Certificate, nil
}

// follow waits for the next version of a request.
func follow(ctx context.Context, c client.Interface, csr *certv1.CertificateSigningRequest) (*certv1.CertificateSigningRequest, error) {
	w, err := c.Watch(ctx, client.CertificateSigningRequests.GVR, "", metav1.ListOptions{
		FieldSelector: "metadata.name=" + csr.Name, ResourceVersion: csr.ResourceVersion})
	if err == nil {
		defer w.Stop()
		for e := range w.ResultChan() {
			if got, ok := e.Object.(*certv1.CertificateSigningRequest); ok && e.Type != watch.Deleted && e.Type != watch.Bookmark {
				return got, nil
			}
			if e.Type == watch.Deleted {
				return nil, fmt.Errorf("the certificate signing request %s was deleted", csr.Name)
			}
			if e.Type == watch.Error {
				break
			}
		}
	}
	// The watch ended or was refused: read it, after a moment.
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Second):
	}
	return client.CertificateSigningRequests.Get(ctx, c, "", csr.Name)
}
