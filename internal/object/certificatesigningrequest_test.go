package object

import (
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A signer may note something on the request with the certificate, but not change what was asked for.
func TestStatusOfSigningRequestTakesAnnotations(t *testing.T) {
	k, _ := Builtin().Kind(certificatesv1.SchemeGroupVersion.WithKind("CertificateSigningRequest"))
	old := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: "r"}, Spec: certificatesv1.CertificateSigningRequestSpec{SignerName: "example.com/a"}}
	now := old.DeepCopy()
	now.Annotations = map[string]string{"note": "signed"}
	now.Spec.SignerName = "example.com/other"
	now.Status.Certificate = []byte("certificate")
	for _, s := range k.Subresources {
		if s.Name == "status" {
			s.PrepareUpdate(now, old)
		}
	}
	if now.Annotations["note"] != "signed" || len(now.Status.Certificate) == 0 || now.Spec.SignerName != old.Spec.SignerName {
		t.Errorf("%+v", now)
	}
}
