package object

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func clusterTrustBundleKind() *Kind {
	type bundle = certificatesv1.ClusterTrustBundle
	return &Kind{
		Versions: []Version{version[bundle, certificatesv1.ClusterTrustBundleList](
			certificatesv1.SchemeGroupVersion, "ClusterTrustBundle")},
		Resource:      "clustertrustbundles",
		Singular:      "clustertrustbundle",
		Scope:         Cluster,
		StoragePrefix: "clustertrustbundles",
		Older:         map[string]func([]byte) (Object, error){"v1beta1": nil},
		Strategy: rules[*bundle]{
			Name:     trustBundleName,
			Validate: validateTrustBundle,
			ValidateUpdate: func(b, old *bundle) field.ErrorList {
				return immutable(b.Spec.SignerName, old.Spec.SignerName, specPath.Child("signerName"))
			},
		}.full(Cluster, nil),
		FieldNames: []string{"spec.signerName"},
		Fields:     selectableFields(func(b *bundle) fields.Set { return fields.Set{"spec.signerName": b.Spec.SignerName} }),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("SignerName", "string", doc(certificatesv1.ClusterTrustBundleSpec{}.SwaggerDoc())["signerName"]),
		},
		Cells: cells(func(b *bundle, _ time.Time) []any {
			return []any{b.Name, orNone(b.Spec.SignerName)}
		}),
	}
}

// trustBundleName: a bundle of a signer has the signer before its name, with colons for slashes; another has no colons.
func trustBundleName(b *certificatesv1.ClusterTrustBundle) NameRule {
	signer := b.Spec.SignerName
	return func(name string, prefix bool) []string {
		if signer == "" {
			if strings.Contains(name, ":") {
				return []string{"ClusterTrustBundle without signer name must not have \":\" in its name"}
			}
			return nameIsSubdomain(name, prefix)
		}
		want := strings.ReplaceAll(signer, "/", ":") + ":"
		rest, ok := strings.CutPrefix(name, want)
		if !ok {
			return []string{fmt.Sprintf("ClusterTrustBundle for signerName %s must be named with prefix %s", signer, want)}
		}
		if prefix && rest == "" {
			return nil // the rest is still to be generated
		}
		return nameIsSubdomain(rest, prefix)
	}
}

func validateTrustBundle(b *certificatesv1.ClusterTrustBundle) field.ErrorList {
	var errs field.ErrorList
	if signer := b.Spec.SignerName; signer != "" {
		errs = append(errs, validateSignerName(signer, specPath.Child("signerName"))...)
	}
	return append(errs, validateTrustAnchors(b.Spec.TrustBundle, specPath.Child("trustBundle"))...)
}

// validateTrustAnchors wants PEM blocks of distinct certificates of authorities, without headers.
func validateTrustAnchors(bundle string, at *field.Path) field.ErrorList {
	const longest = 1024 * 1024
	if len(bundle) > longest {
		return field.ErrorList{field.TooLong(at, "", longest)}
	}
	var errs field.ErrorList
	var seen [][]byte
	rest := []byte(bundle)
	for i := 0; ; i++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		bad := func(format string, args ...any) {
			errs = append(errs, field.Invalid(at, "<value omitted>", fmt.Sprintf("entry %d ", i)+fmt.Sprintf(format, args...)))
		}
		if block.Type != "CERTIFICATE" {
			bad("has bad block type: %v", block.Type)
			continue
		}
		if len(block.Headers) != 0 {
			bad("has PEM block headers")
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			bad("does not parse as X.509")
			continue
		case !cert.IsCA || !cert.BasicConstraintsValid:
			bad("does not have the CA bit set")
			continue
		}
		for _, s := range seen {
			if bytes.Equal(s, block.Bytes) {
				bad("duplicates an entry before it")
			}
		}
		seen = append(seen, block.Bytes)
	}
	if len(seen) == 0 && len(errs) == 0 {
		errs = append(errs, field.Invalid(at, "<value omitted>", "at least one trust anchor must be provided"))
	}
	return errs
}
