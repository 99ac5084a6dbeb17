package access

import (
	"context"

	certv1 "k8s.io/api/certificates/v1"

	"hyperkube/internal/server/admission"
)

// requester writes into a certificate signing request who made it: signers decide by that, so nobody can say it himself.
type requester struct{}

// Name of the step in logs. It is no plugin that could be switched off.
func (requester) Name() string { return "CertificateRequester" }

// Mutate implements admission.Mutator.
func (requester) Mutate(_ context.Context, a *admission.Attributes) error {
	csr, ok := a.Object.(*certv1.CertificateSigningRequest)
	if !ok || a.Operation != admission.Create || a.Subresource != "" || a.User == nil {
		return nil
	}
	csr.Spec.Username, csr.Spec.UID, csr.Spec.Groups = a.User.GetName(), a.User.GetUID(), a.User.GetGroups()
	csr.Spec.Extra = nil
	if extra := a.User.GetExtra(); len(extra) > 0 {
		csr.Spec.Extra = make(map[string]certv1.ExtraValue, len(extra))
		for k, v := range extra {
			csr.Spec.Extra[k] = v
		}
	}
	return nil
}
