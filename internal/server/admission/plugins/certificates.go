package plugins

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	certv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/authz"
)

// maySign asks whether the user has a verb on a signer, by its name or for its whole domain ("example.com/*").
func maySign(ctx context.Context, az authz.Decider, a *admission.Attributes, verb, signer string) bool {
	domain, _, _ := strings.Cut(signer, "/")
	for _, name := range []string{signer, domain + "/*"} {
		d, _, err := az.Authorize(ctx, authorizer.AttributesRecord{User: a.User, Verb: verb, APIGroup: certv1.GroupName,
			APIVersion: "*", Resource: "signers", Name: name, ResourceRequest: true})
		if err == nil && d == authorizer.DecisionAllow {
			return true
		}
	}
	return false
}

// certificateApproval lets only those approve requests who may do so for their signer.
type certificateApproval struct{ az authz.Decider }

func (*certificateApproval) Name() string { return "CertificateApproval" }

func (p *certificateApproval) Validate(ctx context.Context, a *admission.Attributes) error {
	csr, ok := a.OldObject.(*certv1.CertificateSigningRequest)
	if !ok || a.Subresource != "approval" || a.Operation != admission.Update {
		return nil
	}
	if !maySign(ctx, p.az, a, "approve", csr.Spec.SignerName) {
		return admission.Forbidden(a, fmt.Sprintf("user not permitted to approve requests with signerName %q", csr.Spec.SignerName))
	}
	return nil
}

// certificateSigning lets only those sign who may do so for the signer.
type certificateSigning struct{ az authz.Decider }

func (*certificateSigning) Name() string { return "CertificateSigning" }

func (p *certificateSigning) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.Subresource != "status" || a.Operation != admission.Update {
		return nil
	}
	var signer string
	switch old := a.OldObject.(type) {
	case *certv1.CertificateSigningRequest:
		now, ok := a.Object.(*certv1.CertificateSigningRequest)
		if !ok || equality.Semantic.DeepEqual(old.Status, now.Status) {
			return nil
		}
		signer = old.Spec.SignerName
	case *certv1.PodCertificateRequest:
		now, ok := a.Object.(*certv1.PodCertificateRequest)
		if !ok || equality.Semantic.DeepEqual(old.Status, now.Status) {
			return nil
		}
		signer = old.Spec.SignerName
	default:
		return nil
	}
	if !maySign(ctx, p.az, a, "sign", signer) {
		return admission.Forbidden(a, fmt.Sprintf("user not permitted to sign requests with signerName %q", signer))
	}
	return nil
}

// bundleAttest lets only those publish the trust anchors of a signer who may attest for it.
type bundleAttest struct{ az authz.Decider }

func (*bundleAttest) Name() string { return "ClusterTrustBundleAttest" }

func (p *bundleAttest) Validate(ctx context.Context, a *admission.Attributes) error {
	now, ok := a.Object.(*certv1.ClusterTrustBundle)
	if !ok || a.Subresource != "" {
		return nil
	}
	if old, ok := a.OldObject.(*certv1.ClusterTrustBundle); ok && equality.Semantic.DeepEqual(old.Spec, now.Spec) {
		return nil
	}
	if s := now.Spec.SignerName; s != "" && !maySign(ctx, p.az, a, "attest", s) {
		return admission.Forbidden(a, fmt.Sprintf("user not permitted to attest for signerName %q", s))
	}
	return nil
}

// certificateSubject keeps anybody from asking for a certificate of system:masters.
type certificateSubject struct{}

func (certificateSubject) Name() string { return "CertificateSubjectRestriction" }

func (certificateSubject) Validate(_ context.Context, a *admission.Attributes) error {
	csr, ok := a.Object.(*certv1.CertificateSigningRequest)
	if !ok || a.Operation != admission.Create || a.Subresource != "" || csr.Spec.SignerName != certv1.KubeAPIServerClientSignerName {
		return nil
	}
	block, _ := pem.Decode(csr.Spec.Request)
	if block == nil {
		return admission.Forbidden(a, "failed to parse CSR: PEM block type must be CERTIFICATE REQUEST")
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return admission.Forbidden(a, fmt.Sprintf("failed to parse CSR: %v", err))
	}
	if slices.Contains(r.Subject.Organization, user.SystemPrivilegedGroup) {
		return admission.Forbidden(a, fmt.Sprintf("use of %s signer with %s group is not allowed", certv1.KubeAPIServerClientSignerName, user.SystemPrivilegedGroup))
	}
	return nil
}
