package object

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

type podCert = certificatesv1.PodCertificateRequest

func podCertificateRequestKind() *Kind {
	spec := doc(certificatesv1.PodCertificateRequestSpec{}.SwaggerDoc())
	return &Kind{
		Versions: []Version{version[podCert, certificatesv1.PodCertificateRequestList](
			certificatesv1.SchemeGroupVersion, "PodCertificateRequest")},
		Resource:      "podcertificaterequests",
		Singular:      "podcertificaterequest",
		Scope:         Namespaced,
		StoragePrefix: "podcertificaterequests",
		Older:         map[string]func([]byte) (Object, error){"v1beta1": nil},
		Strategy: rules[*podCert]{
			Default:       func(p *podCert) { setDefaultPtr(&p.Spec.MaxExpirationSeconds, 86400) },
			PrepareCreate: func(p *podCert) { p.Status = certificatesv1.PodCertificateRequestStatus{} },
			PrepareUpdate: func(p, old *podCert) { p.Status = *old.Status.DeepCopy() },
			Validate:      validatePodCertificateRequest,
			ValidateUpdate: func(p, old *podCert) field.ErrorList {
				return immutable(p.Spec, old.Spec, specPath)
			},
		}.full(Namespaced, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*podCert]{
			PrepareUpdate: func(p, old *podCert) {
				metav1.ResetObjectMetaForStatus(p, old)
				p.Spec = *old.Spec.DeepCopy()
			},
			ValidateUpdate: validatePodCertificateStatus,
		})},
		FieldNames: []string{"spec.signerName", "spec.podName", "spec.nodeName"},
		Fields: selectableFields(func(p *podCert) fields.Set {
			return fields.Set{"spec.signerName": p.Spec.SignerName, "spec.podName": p.Spec.PodName, "spec.nodeName": string(p.Spec.NodeName)}
		}),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("PodName", "string", spec["podName"]),
			column("ServiceAccountName", "string", spec["serviceAccountName"]),
			column("NodeName", "string", spec["nodeName"]),
			column("SignerName", "string", spec["signerName"]),
			column("State", "string", "Is the request Pending, Issued, Denied, or Failed?"),
			column("UnverifiedUserAnnotations", "string", spec["unverifiedUserAnnotations"]),
		},
		Cells: cells(func(p *podCert, _ time.Time) []any {
			state := "Pending"
			for _, c := range p.Status.Conditions {
				switch c.Type {
				case certificatesv1.PodCertificateRequestConditionTypeIssued, certificatesv1.PodCertificateRequestConditionTypeDenied,
					certificatesv1.PodCertificateRequestConditionTypeFailed:
					state = c.Type
				}
			}
			return []any{p.Name, p.Spec.PodName, p.Spec.ServiceAccountName, string(p.Spec.NodeName), p.Spec.SignerName, state, labelsText(p.Spec.UnverifiedUserAnnotations)}
		}),
	}
}

func validatePodCertificateRequest(p *podCert) field.ErrorList {
	s := &p.Spec
	errs := validateSignerName(s.SignerName, specPath.Child("signerName"))
	for _, f := range []struct{ path, name, uid, uidPath string }{
		{"podName", s.PodName, string(s.PodUID), "podUID"},
		{"serviceAccountName", s.ServiceAccountName, string(s.ServiceAccountUID), "serviceAccountUID"},
		{"nodeName", string(s.NodeName), string(s.NodeUID), "nodeUID"},
	} {
		errs = append(errs, check(specPath.Child(f.path), f.name, nameIsSubdomain(f.name, false))...)
		if f.uid == "" {
			errs = append(errs, field.Required(specPath.Child(f.uidPath), ""))
		} else if len(f.uid) > 128 {
			errs = append(errs, field.TooLong(specPath.Child(f.uidPath), "", 128))
		}
	}
	at := specPath.Child("maxExpirationSeconds")
	const hour, longest, day = 3600, 91 * 24 * 3600, 24 * 3600
	switch m := deref(s.MaxExpirationSeconds, 0); {
	case s.MaxExpirationSeconds == nil:
		errs = append(errs, field.Required(at, "must be set"))
	case strings.HasPrefix(s.SignerName, "kubernetes.io/") && (m < hour || m > day):
		errs = append(errs, field.Invalid(at, m, "must be in the range [3600, 86400]"))
	case m < hour || m > longest:
		errs = append(errs, field.Invalid(at, m, "must be in the range [3600, 7862400]"))
	}
	at = specPath.Child("unverifiedUserAnnotations")
	errs = append(errs, apivalidation.ValidateAnnotations(s.UnverifiedUserAnnotations, at)...)
	for key := range s.UnverifiedUserAnnotations {
		if !strings.Contains(key, "/") {
			errs = append(errs, field.Invalid(at.Key(key), key, "must be a domain-prefixed key"))
		}
	}
	if err := validateStub(s.StubPKCS10Request); err != nil {
		errs = append(errs, field.Invalid(specPath.Child("stubPKCS10Request"), "<request bytes>", err.Error()))
	}
	return errs
}

// validateStub wants a request signed by its own key, which is of a kind that the API knows.
func validateStub(der []byte) error {
	r, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return errors.New("must be a valid PKCS#10 certificate signing request in DER form")
	}
	if err := r.CheckSignature(); err != nil {
		return errors.New("the signature does not match the public key")
	}
	switch k := r.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n == 3072 || n == 4096 {
			return nil
		}
		return errors.New("RSA keys must have modulus size 3072 or 4096")
	case *ecdsa.PublicKey:
		if n := k.Curve.Params().BitSize; n == 256 || n == 384 || n == 521 {
			return nil
		}
		return errors.New("elliptic public keys must use curve P256, P384 or P521")
	case ed25519.PublicKey:
		return nil
	}
	return errors.New("unknown public key type; supported types are Ed25519, ECDSA, and RSA")
}

func validatePodCertificateStatus(p, old *podCert) field.ErrorList {
	at := statusPath
	errs := metavalidation.ValidateConditions(p.Status.Conditions, at.Child("conditions"))
	ended := func(r *podCert) (types []string) {
		for _, c := range r.Status.Conditions {
			switch c.Type {
			case certificatesv1.PodCertificateRequestConditionTypeIssued, certificatesv1.PodCertificateRequestConditionTypeDenied,
				certificatesv1.PodCertificateRequestConditionTypeFailed:
				types = append(types, c.Type)
			}
		}
		return types
	}
	for i, c := range p.Status.Conditions {
		for _, t := range ended(p) {
			if c.Type == t && c.Status != metav1.ConditionTrue {
				errs = append(errs, field.NotSupported(at.Child("conditions").Index(i).Child("status"), c.Status, []metav1.ConditionStatus{metav1.ConditionTrue}))
			}
		}
	}
	now, before := ended(p), ended(old)
	if len(now) > 1 {
		errs = append(errs, field.Invalid(at.Child("conditions"), now, `There may be at most one condition with type "Issued", "Denied", or "Failed"`))
	}
	if len(before) > 0 {
		return append(errs, immutable(p.Status, old.Status, at)...)
	}
	issued := len(now) == 1 && now[0] == certificatesv1.PodCertificateRequestConditionTypeIssued
	if !issued {
		for name, set := range inOrder(named("certificateChain", p.Status.CertificateChain != ""), named("notBefore", p.Status.NotBefore != nil),
			named("beginRefreshAt", p.Status.BeginRefreshAt != nil), named("notAfter", p.Status.NotAfter != nil)) {
			if set {
				errs = append(errs, field.Forbidden(at.Child(name), "may only be set when the request is issued"))
			}
		}
		return errs
	}
	return append(errs, validateIssued(p)...)
}

// validateIssued holds what a signer gave to what was asked for.
func validateIssued(p *podCert) field.ErrorList {
	s, at := &p.Status, statusPath
	var errs field.ErrorList
	chain := at.Child("certificateChain")
	if err := certificates([]byte(s.CertificateChain)); err != nil {
		return field.ErrorList{field.Invalid(chain, "<certificate chain>", err.Error())}
	}
	block, _ := pem.Decode([]byte(s.CertificateChain))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return field.ErrorList{field.Invalid(chain, "<certificate chain>", err.Error())}
	}
	request, err := x509.ParseCertificateRequest(p.Spec.StubPKCS10Request)
	if key, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); err == nil && ok && !key.Equal(request.PublicKey) {
		errs = append(errs, field.Invalid(chain, "<certificate chain>", "leaf certificate was not issued to the requested public key"))
	}
	for name, pair := range inOrder(named("notBefore", [2]*metav1.Time{s.NotBefore, {Time: leaf.NotBefore}}), named("notAfter", [2]*metav1.Time{s.NotAfter, {Time: leaf.NotAfter}})) {
		if pair[0] == nil {
			errs = append(errs, field.Required(at.Child(name), "must be present and consistent with the issued certificate"))
		} else if !pair[0].Time.Equal(pair[1].Time) {
			errs = append(errs, field.Invalid(at.Child(name), pair[0], "must be consistent with the issued certificate"))
		}
	}
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	if most := time.Duration(deref(p.Spec.MaxExpirationSeconds, 0)) * time.Second; life > most {
		errs = append(errs, field.Invalid(chain, "<certificate chain>", "leaf certificate lifetime must be at most spec.maxExpirationSeconds"))
	}
	if life < time.Hour {
		errs = append(errs, field.Invalid(chain, "<certificate chain>", "leaf certificate lifetime must be at least 1 hour"))
	}
	switch r := s.BeginRefreshAt; {
	case r == nil:
		errs = append(errs, field.Required(at.Child("beginRefreshAt"), "must be present and consistent with the issued certificate"))
	case r.Time.Before(leaf.NotBefore.Add(10*time.Minute)) || r.Time.After(leaf.NotAfter.Add(-10*time.Minute)):
		errs = append(errs, field.Invalid(at.Child("beginRefreshAt"), r, "must be at least 10 minutes after status.notBefore and at least 10 minutes before status.notAfter"))
	}
	return errs
}
