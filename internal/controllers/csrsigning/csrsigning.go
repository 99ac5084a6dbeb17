// Package csrsigning issues the certificates of approved certificate signing requests for the signers that the API
// documents (https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers):
// kube-apiserver-client, kube-apiserver-client-kubelet, kubelet-serving and legacy-unknown.
//
// Watches: CertificateSigningRequests. Writes: their status (the certificate, or the condition Failed for a
// request that its signer does not permit).
package csrsigning

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	certv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/csr"
	"hyperkube/internal/pki"
)

// Name is upstream's name of the controller.
const Name = "certificatesigningrequest-signing-controller"

// Options name the authority of each signer; a signer without one is not served.
type Options struct {
	Authorities map[string]*pki.CA // by signer name
	// Duration of certificates that ask for none (--cluster-signing-duration); 0 is a year. None lasts longer.
	Duration time.Duration
}

type controller struct {
	client  client.Interface
	csrs    *client.Informer[*certv1.CertificateSigningRequest]
	queue   *client.Queue[string]
	options Options
	workers int
}

// New registers the controller.
func New(d controllers.Deps, workers int, o Options) controllers.Controller {
	if o.Duration <= 0 {
		o.Duration = 365 * 24 * time.Hour
	}
	c := &controller{
		client:  d.Client("certificate-controller"),
		csrs:    client.InformerFor(d.Informers, client.CertificateSigningRequests),
		queue:   client.NewQueue[string](Name),
		options: o,
		workers: workers,
	}
	c.csrs.OnChange(func(_, new *certv1.CertificateSigningRequest) {
		if new != nil && c.wants(new) {
			c.queue.Add(new.Name)
		}
	})
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func (c *controller) wants(r *certv1.CertificateSigningRequest) bool {
	return c.options.Authorities[r.Spec.SignerName] != nil && len(r.Status.Certificate) == 0 &&
		csr.Has(r, certv1.CertificateApproved) && !csr.Has(r, certv1.CertificateDenied) && !csr.Has(r, certv1.CertificateFailed)
}

func (c *controller) reconcile(ctx context.Context, name string) error {
	r, ok := c.csrs.Get("", name)
	if !ok || !c.wants(r) {
		return nil
	}
	next := r.DeepCopy()
	request, err := pki.ParseCSR(r.Spec.Request)
	if err != nil {
		return fmt.Errorf("unable to parse csr %q: %w", name, err)
	}
	if err := permitted(r, request); err != nil {
		return c.fail(ctx, next, err)
	}
	cert, err := pki.SignCSR(c.options.Authorities[r.Spec.SignerName], request, r.Spec.Usages, c.duration(r), time.Now())
	if err != nil {
		return err
	}
	next.Status.Certificate = cert
	return c.write(ctx, next)
}

func (c *controller) duration(r *certv1.CertificateSigningRequest) time.Duration {
	if r.Spec.ExpirationSeconds == nil {
		return c.options.Duration
	}
	asked := time.Duration(*r.Spec.ExpirationSeconds) * time.Second
	return min(max(asked, 10*time.Minute), c.options.Duration)
}

func (c *controller) fail(ctx context.Context, next *certv1.CertificateSigningRequest, why error) error {
	now := metav1.Now()
	next.Status.Conditions = append(next.Status.Conditions, certv1.CertificateSigningRequestCondition{
		Type: certv1.CertificateFailed, Status: corev1.ConditionTrue, Reason: "SignerValidationFailure",
		Message: why.Error(), LastUpdateTime: now, LastTransitionTime: now,
	})
	return c.write(ctx, next)
}

func (c *controller) write(ctx context.Context, next *certv1.CertificateSigningRequest) error {
	_, err := client.CertificateSigningRequests.UpdateStatus(ctx, c.client, next)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// permitted says whether the signer signs such a request.
func permitted(r *certv1.CertificateSigningRequest, request *x509.CertificateRequest) error {
	switch r.Spec.SignerName {
	case certv1.KubeletServingSignerName:
		return csr.KubeletServing(request, r.Spec.Usages, r.Spec.Username)
	case certv1.KubeAPIServerClientKubeletSignerName:
		return csr.KubeletClient(request, r.Spec.Usages)
	case certv1.KubeAPIServerClientSignerName:
		return csr.Client(r.Spec.Usages)
	}
	return nil
}
