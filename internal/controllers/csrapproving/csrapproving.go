// Package csrapproving approves the certificate signing requests of kubelets.
//
// Requests for client certificates (kubernetes.io/kube-apiserver-client-kubelet) are approved where the requesting user
// may create certificatesigningrequests/nodeclient, or, for a node's own name, …/selfnodeclient; a
// SubjectAccessReview asks. Requests for serving certificates are left to people, as upstream does, unless the option
// ServingByAddress is on: then one is approved when its user is the node that it names, may create
// …/selfnodeserver, and every name and address in it is one that the Node object reports.
//
// Watches: CertificateSigningRequests, Nodes. Writes: approval of CertificateSigningRequests, SubjectAccessReviews.
package csrapproving

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"

	authzv1 "k8s.io/api/authorization/v1"
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
const Name = "certificatesigningrequest-approving-controller"

// Options say what is approved beyond what upstream approves.
type Options struct {
	// ServingByAddress approves serving certificates that hold only what their Node reports as its own.
	ServingByAddress bool
}

type controller struct {
	client  client.Interface
	csrs    *client.Informer[*certv1.CertificateSigningRequest]
	nodes   *client.Informer[*corev1.Node]
	queue   *client.Queue[string]
	options Options
	workers int
}

// New registers the controller.
func New(d controllers.Deps, workers int, o Options) controllers.Controller {
	c := &controller{
		client:  d.Client("certificate-controller"),
		csrs:    client.InformerFor(d.Informers, client.CertificateSigningRequests),
		queue:   client.NewQueue[string](Name),
		options: o,
		workers: workers,
	}
	c.csrs.OnChange(func(_, new *certv1.CertificateSigningRequest) {
		if new != nil && c.pending(new) {
			c.queue.Add(new.Name)
		}
	})
	if o.ServingByAddress {
		c.nodes = client.InformerFor(d.Informers, client.Nodes)
		c.nodes.OnChange(c.nodeChanged)
	}
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func (c *controller) pending(r *certv1.CertificateSigningRequest) bool {
	if len(r.Status.Certificate) > 0 || csr.Has(r, certv1.CertificateApproved) || csr.Has(r, certv1.CertificateDenied) {
		return false
	}
	return r.Spec.SignerName == certv1.KubeAPIServerClientKubeletSignerName ||
		(c.options.ServingByAddress && r.Spec.SignerName == certv1.KubeletServingSignerName)
}

// nodeChanged looks again at a node's open requests when its addresses have changed: a kubelet may ask before it has
// reported them.
func (c *controller) nodeChanged(old, new *corev1.Node) {
	if new == nil || (old != nil && slices.Equal(old.Status.Addresses, new.Status.Addresses)) {
		return
	}
	for _, r := range c.csrs.List() {
		if c.pending(r) && csr.NodeOf(r.Spec.Username) == new.Name {
			c.queue.Add(r.Name)
		}
	}
}

// recognizer tells one kind of request from others, and names the subresource that a user must be allowed to create.
type recognizer struct {
	subresource string
	message     string
	matches     func(r *certv1.CertificateSigningRequest, x *x509.CertificateRequest) bool
}

func (c *controller) recognizers() []recognizer {
	client := func(r *certv1.CertificateSigningRequest, x *x509.CertificateRequest) bool {
		return r.Spec.SignerName == certv1.KubeAPIServerClientKubeletSignerName && csr.KubeletClient(x, r.Spec.Usages) == nil
	}
	return []recognizer{
		{"selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.",
			func(r *certv1.CertificateSigningRequest, x *x509.CertificateRequest) bool {
				return client(r, x) && r.Spec.Username == x.Subject.CommonName
			}},
		{"nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.", client},
		{"selfnodeserver", "Auto approving self kubelet server certificate after SubjectAccessReview.", c.servesItself},
	}
}

func (c *controller) servesItself(r *certv1.CertificateSigningRequest, x *x509.CertificateRequest) bool {
	if !c.options.ServingByAddress || r.Spec.SignerName != certv1.KubeletServingSignerName ||
		csr.KubeletServing(x, r.Spec.Usages, r.Spec.Username) != nil {
		return false
	}
	node, ok := c.nodes.Get("", csr.NodeOf(r.Spec.Username))
	return ok && owns(node, x)
}

// owns says whether every name and address in a request is one of the node's.
func owns(node *corev1.Node, x *x509.CertificateRequest) bool {
	names := map[string]bool{node.Name: true}
	addresses := map[netip.Addr]bool{}
	for _, a := range node.Status.Addresses {
		names[a.Address] = true
		if ip, err := netip.ParseAddr(a.Address); err == nil {
			addresses[ip.Unmap()] = true
		}
	}
	for _, n := range x.DNSNames {
		if !names[n] {
			return false
		}
	}
	for _, raw := range x.IPAddresses {
		ip, ok := netip.AddrFromSlice(raw)
		if !ok || !addresses[ip.Unmap()] {
			return false
		}
	}
	return true
}

func (c *controller) reconcile(ctx context.Context, name string) error {
	r, ok := c.csrs.Get("", name)
	if !ok || !c.pending(r) {
		return nil
	}
	x, err := pki.ParseCSR(r.Spec.Request)
	if err != nil {
		return fmt.Errorf("unable to parse csr %q: %w", name, err)
	}
	tried := false
	for _, k := range c.recognizers() {
		if !k.matches(r, x) {
			continue
		}
		tried = true
		allowed, err := c.authorized(ctx, r, k.subresource)
		if err != nil {
			return err
		}
		if allowed {
			return c.approve(ctx, r, k.message)
		}
	}
	if tried {
		// Rights may come later; the error makes the queue try again, less and less often.
		return fmt.Errorf("recognized csr %q but subject access review was not approved", name)
	}
	return nil
}

var reviews = client.Resource[*authzv1.SubjectAccessReview]{GVR: authzv1.SchemeGroupVersion.WithResource("subjectaccessreviews")}

func (c *controller) authorized(ctx context.Context, r *certv1.CertificateSigningRequest, sub string) (bool, error) {
	extra := make(map[string]authzv1.ExtraValue, len(r.Spec.Extra))
	for k, v := range r.Spec.Extra {
		extra[k] = authzv1.ExtraValue(v)
	}
	got, err := reviews.Create(ctx, c.client, &authzv1.SubjectAccessReview{Spec: authzv1.SubjectAccessReviewSpec{
		User: r.Spec.Username, UID: r.Spec.UID, Groups: r.Spec.Groups, Extra: extra,
		ResourceAttributes: &authzv1.ResourceAttributes{
			Group: certv1.GroupName, Version: "*", Resource: "certificatesigningrequests", Subresource: sub, Verb: "create",
		},
	}})
	if err != nil {
		return false, fmt.Errorf("asking whether %s may create certificatesigningrequests/%s: %w", r.Spec.Username, sub, err)
	}
	return got.Status.Allowed, nil
}

func (c *controller) approve(ctx context.Context, r *certv1.CertificateSigningRequest, message string) error {
	next := r.DeepCopy()
	now := metav1.Now()
	next.Status.Conditions = append(next.Status.Conditions, certv1.CertificateSigningRequestCondition{
		Type: certv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "AutoApproved", Message: message,
		LastUpdateTime: now, LastTransitionTime: now,
	})
	_, err := c.client.Update(ctx, client.CertificateSigningRequests.GVR, next, metav1.UpdateOptions{}, "approval")
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("approving csr %q: %w", r.Name, err)
	}
	return nil
}
