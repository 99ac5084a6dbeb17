package object

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/podspec"
)

type csr = certificatesv1.CertificateSigningRequest

func certificateSigningRequestKind() *Kind {
	spec, old := doc(certificatesv1.CertificateSigningRequestSpec{}.SwaggerDoc()), doc(certificatesv1beta1.CertificateSigningRequestSpec{}.SwaggerDoc())
	return &Kind{
		Versions: []Version{version[csr, certificatesv1.CertificateSigningRequestList](
			certificatesv1.SchemeGroupVersion, "CertificateSigningRequest")},
		Resource:      "certificatesigningrequests",
		Singular:      "certificatesigningrequest",
		ShortNames:    []string{"csr"},
		Scope:         Cluster,
		StoragePrefix: "certificatesigningrequests",
		Strategy: rules[*csr]{
			PrepareCreate: func(c *csr) { c.Status = certificatesv1.CertificateSigningRequestStatus{} },
			PrepareUpdate: func(c, old *csr) {
				// Neither the request nor who made it changes, and status and approval have their own paths.
				c.Spec, c.Status = *old.Spec.DeepCopy(), *old.Status.DeepCopy()
			},
			Validate: validateCSR,
		}.full(Cluster, nameIsSegment),
		Subresources: []Subresource{
			writes("approval", rules[*csr]{
				PrepareUpdate: func(c, old *csr) {
					conditions := c.Status.Conditions
					c.Spec, c.Status = *old.Spec.DeepCopy(), *old.Status.DeepCopy()
					c.Status.Conditions = conditions
					stampConditions(c, old)
				},
				ValidateUpdate: func(c, old *csr) field.ErrorList {
					return validateCSRConditions(c, old, certificatesv1.CertificateFailed)
				},
			}),
			writes("status", rules[*csr]{
				// Labels and annotations may come with the status, as they may with an approval.
				PrepareUpdate: func(c, old *csr) {
					c.Spec = *old.Spec.DeepCopy()
					stampConditions(c, old)
				},
				ValidateUpdate: validateCSRStatus,
			}),
		},
		FieldNames: []string{"spec.signerName"},
		Fields:     selectableFields(func(c *csr) fields.Set { return fields.Set{"spec.signerName": c.Spec.SignerName} }),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			ageColumn(),
			column("SignerName", "string", old["signerName"]),
			column("Requestor", "string", old["request"]),
			column("RequestedDuration", "string", spec["expirationSeconds"]),
			column("Condition", "string", doc(certificatesv1beta1.CertificateSigningRequestStatus{}.SwaggerDoc())["conditions"]),
		},
		Cells: cells(func(c *csr, now time.Time) []any {
			requested := none
			if e := c.Spec.ExpirationSeconds; e != nil {
				requested = duration.HumanDuration(time.Duration(*e) * time.Second)
			}
			return []any{c.Name, age(c, now), orNone(c.Spec.SignerName), c.Spec.Username, requested, csrText(c)}
		}),
	}
}

// stampConditions gives conditions the times that the API leaves to the server: of the last update, and of the
// last change of status.
func stampConditions(c, old *csr) {
	now := metav1.Now()
	for i := range c.Status.Conditions {
		cond := &c.Status.Conditions[i]
		if cond.LastUpdateTime.IsZero() {
			cond.LastUpdateTime = now
		}
		if !cond.LastTransitionTime.IsZero() {
			continue
		}
		cond.LastTransitionTime = now
		for _, o := range old.Status.Conditions {
			if o.Type == cond.Type && o.Status == cond.Status && !o.LastTransitionTime.IsZero() {
				cond.LastTransitionTime = o.LastTransitionTime
			}
		}
	}
}

func csrText(c *csr) string {
	var approved, denied, failed bool
	for _, cond := range c.Status.Conditions {
		switch cond.Type {
		case certificatesv1.CertificateApproved:
			approved = true
		case certificatesv1.CertificateDenied:
			denied = true
		case certificatesv1.CertificateFailed:
			failed = true
		}
	}
	text := "Pending"
	switch {
	case denied:
		text = "Denied"
	case approved:
		text = "Approved"
	}
	if failed {
		text += ",Failed"
	}
	if len(c.Status.Certificate) > 0 {
		text += ",Issued"
	}
	return text
}

var keyUsages = []certificatesv1.KeyUsage{
	certificatesv1.UsageSigning, certificatesv1.UsageDigitalSignature, certificatesv1.UsageContentCommitment,
	certificatesv1.UsageKeyEncipherment, certificatesv1.UsageKeyAgreement, certificatesv1.UsageDataEncipherment,
	certificatesv1.UsageCertSign, certificatesv1.UsageCRLSign, certificatesv1.UsageEncipherOnly, certificatesv1.UsageDecipherOnly,
	certificatesv1.UsageAny, certificatesv1.UsageServerAuth, certificatesv1.UsageClientAuth, certificatesv1.UsageCodeSigning,
	certificatesv1.UsageEmailProtection, certificatesv1.UsageSMIME, certificatesv1.UsageIPsecEndSystem, certificatesv1.UsageIPsecTunnel,
	certificatesv1.UsageIPsecUser, certificatesv1.UsageTimestamping, certificatesv1.UsageOCSPSigning,
	certificatesv1.UsageMicrosoftSGC, certificatesv1.UsageNetscapeSGC,
}

func validateCSR(c *csr) field.ErrorList {
	var errs field.ErrorList
	if err := parseRequest(c.Spec.Request); err != nil {
		errs = append(errs, field.Invalid(specPath.Child("request"), c.Spec.Request, err.Error()))
	}
	at := specPath.Child("usages")
	if len(c.Spec.Usages) == 0 {
		errs = append(errs, field.Required(at, ""))
	}
	for i, u := range c.Spec.Usages {
		errs = append(errs, oneOf(at.Index(i), u, slices.Sorted(slices.Values(keyUsages))...)...)
		if slices.Contains(c.Spec.Usages[:i], u) {
			errs = append(errs, field.Duplicate(at.Index(i), u))
		}
	}
	errs = append(errs, validateSignerName(c.Spec.SignerName, specPath.Child("signerName"))...)
	if c.Spec.SignerName == "kubernetes.io/legacy-unknown" {
		errs = append(errs, field.Invalid(specPath.Child("signerName"), c.Spec.SignerName, "the legacy signerName is not allowed via this API version"))
	}
	if e := c.Spec.ExpirationSeconds; e != nil && *e < 600 {
		errs = append(errs, field.Invalid(specPath.Child("expirationSeconds"), *e, "may not specify a duration less than 600 seconds (10 minutes)"))
	}
	return errs
}

func parseRequest(data []byte) error {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	_, err := x509.ParseCertificateRequest(block.Bytes)
	return err
}

// validateSignerName wants domain/path: "kubernetes.io/kubelet-serving".
func validateSignerName(name string, at *field.Path) field.ErrorList {
	return podspec.ValidateSignerName(name, at)
}

func validateCSRConditions(c, old *csr, kept certificatesv1.RequestConditionType) field.ErrorList {
	var errs field.ErrorList
	at := statusPath.Child("conditions")
	seen := map[certificatesv1.RequestConditionType]bool{}
	for i, cond := range c.Status.Conditions {
		p := at.Index(i)
		switch {
		case cond.Type == "":
			errs = append(errs, field.Required(p.Child("type"), ""))
		case seen[cond.Type]:
			errs = append(errs, field.Duplicate(p.Child("type"), cond.Type))
		}
		seen[cond.Type] = true
		errs = append(errs, requiredOneOf(p.Child("status"), cond.Status, corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown)...)
		decision := cond.Type == certificatesv1.CertificateApproved || cond.Type == certificatesv1.CertificateDenied || cond.Type == certificatesv1.CertificateFailed
		if decision && cond.Status != "" && cond.Status != corev1.ConditionTrue {
			errs = append(errs, field.NotSupported(p.Child("status"), cond.Status, []corev1.ConditionStatus{corev1.ConditionTrue}))
		}
	}
	if seen[certificatesv1.CertificateApproved] && seen[certificatesv1.CertificateDenied] {
		errs = append(errs, field.Invalid(at, "{conditions[{\"type\": \"Approved\"}], conditions[{\"type\": \"Denied\"}]}",
			"must specify at most one of: `conditions[{\"type\": \"Approved\"}]`, `conditions[{\"type\": \"Denied\"}]`"))
	}
	for _, cond := range old.Status.Conditions {
		decision := cond.Type == certificatesv1.CertificateApproved || cond.Type == certificatesv1.CertificateDenied
		if (decision || cond.Type == kept) && !seen[cond.Type] {
			errs = append(errs, field.Forbidden(at, "updates may not remove a condition of type \""+string(cond.Type)+"\""))
		}
	}
	return errs
}

func validateCSRStatus(c, old *csr) field.ErrorList {
	errs := validateCSRConditions(c, old, certificatesv1.CertificateFailed)
	had := func(o *csr, t certificatesv1.RequestConditionType) bool {
		return slices.ContainsFunc(o.Status.Conditions, func(x certificatesv1.CertificateSigningRequestCondition) bool { return x.Type == t })
	}
	for _, t := range []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied} {
		if had(c, t) && !had(old, t) {
			errs = append(errs, field.Forbidden(statusPath.Child("conditions"), "updates may not add a condition of type \""+string(t)+"\""))
		}
	}
	at := statusPath.Child("certificate")
	if len(old.Status.Certificate) > 0 && string(c.Status.Certificate) != string(old.Status.Certificate) {
		errs = append(errs, field.Forbidden(at, "updates may not modify existing certificate data"))
	} else if len(c.Status.Certificate) > 0 && len(old.Status.Certificate) == 0 {
		if err := certificates(c.Status.Certificate); err != nil {
			errs = append(errs, field.Invalid(at, "<certificate data>", err.Error()))
		}
	}
	return errs
}

// certificates wants at least one certificate in PEM, and nothing else.
func certificates(data []byte) error {
	found := false
	for len(data) > 0 {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return errors.New("only CERTIFICATE PEM blocks are allowed, found \"" + block.Type + "\"")
		}
		if len(block.Headers) != 0 {
			return errors.New("no PEM block headers are permitted")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return err
		}
		found = true
	}
	if !found {
		return errors.New("must contain at least one CERTIFICATE PEM block")
	}
	return nil
}
