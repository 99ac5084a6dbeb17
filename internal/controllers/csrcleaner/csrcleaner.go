// Package csrcleaner deletes certificate signing requests that nobody needs any more: an hour after they
// were approved or denied, a day while pending, and as soon as their certificate has expired.
//
// Watches: CertificateSigningRequests. Writes: deletes them.
package csrcleaner

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"time"

	certv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
)

// Name is upstream's name of the controller.
const Name = "certificatesigningrequest-cleaner-controller"

// How long requests are kept, from when they came into their state.
const (
	keepApproved = time.Hour
	keepDenied   = time.Hour
	keepFailed   = time.Hour
	keepPending  = 24 * time.Hour
)

type controller struct {
	client client.Interface
	csrs   *client.Informer[*certv1.CertificateSigningRequest]
	queue  *client.Queue[string]
}

// New registers the controller.
func New(d controllers.Deps) controllers.Controller {
	c := &controller{
		client: d.Client("certificate-controller"),
		csrs:   client.InformerFor(d.Informers, client.CertificateSigningRequests),
		queue:  client.NewQueue[string](Name),
	}
	c.csrs.OnChange(func(_, new *certv1.CertificateSigningRequest) {
		if new != nil {
			c.queue.Add(new.Name)
		}
	})
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, 1, c.reconcile)
	return nil
}

func (c *controller) reconcile(ctx context.Context, name string) error {
	csr, ok := c.csrs.Get("", name)
	if !ok {
		return nil
	}
	if left := time.Until(end(csr)); left > 0 {
		c.queue.AddAfter(name, left)
		return nil
	}
	err := c.client.Delete(ctx, client.CertificateSigningRequests.GVR, "", name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(csr.UID))})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// end is when a request is to go.
func end(csr *certv1.CertificateSigningRequest) time.Time {
	at := csr.CreationTimestamp.Add(keepPending)
	earlier := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	for _, c := range csr.Status.Conditions {
		since := c.LastUpdateTime.Time
		if since.IsZero() {
			since = csr.CreationTimestamp.Time
		}
		switch c.Type {
		case certv1.CertificateApproved:
			if len(csr.Status.Certificate) > 0 {
				at = since.Add(keepApproved)
			}
		case certv1.CertificateDenied:
			earlier(since.Add(keepDenied))
		case certv1.CertificateFailed:
			earlier(since.Add(keepFailed))
		}
	}
	if block, _ := pem.Decode(csr.Status.Certificate); block != nil && block.Type == "CERTIFICATE" {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			earlier(cert.NotAfter)
		}
	}
	return at
}
