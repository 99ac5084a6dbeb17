package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	certv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func block(content string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: map[string]string{"A": "b"}, Bytes: []byte(content)}))
}

func bundle(name, signer string, labels map[string]string, text string) *certv1.ClusterTrustBundle {
	return &certv1.ClusterTrustBundle{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Spec: certv1.ClusterTrustBundleSpec{SignerName: signer, TrustBundle: text}}
}

func TestBundlesAreChosenAndMerged(t *testing.T) {
	signer, other, name := "a.test/s", "b.test/s", "two"
	all := []*certv1.ClusterTrustBundle{
		bundle("one", signer, map[string]string{"live": "yes"}, block("1")+"a remark\n"+block("2")),
		bundle("two", signer, nil, block("2")+block("3")),
		bundle("three", other, map[string]string{"live": "yes"}, block("4")),
	}
	for what, c := range map[string]struct {
		p    corev1.ClusterTrustBundleProjection
		want int
	}{
		"by name":              {corev1.ClusterTrustBundleProjection{Name: &name}, 2},
		"all of a signer":      {corev1.ClusterTrustBundleProjection{SignerName: &signer, LabelSelector: &metav1.LabelSelector{}}, 3},
		"some of a signer":     {corev1.ClusterTrustBundleProjection{SignerName: &signer, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"live": "yes"}}}, 2},
		"no selector, nothing": {corev1.ClusterTrustBundleProjection{SignerName: &signer}, 0},
	} {
		chosen, err := choose(all, &c.p)
		if err != nil {
			t.Fatal(err)
		}
		got := merge(chosen)
		if n := bytes.Count(got, []byte("BEGIN CERTIFICATE")); n != c.want || bytes.Contains(got, []byte("A: b")) || bytes.Contains(got, []byte("remark")) {
			t.Errorf("%s: %d certificates, want %d:\n%s", what, n, c.want, got)
		}
		for i, j := 0, len(chosen)-1; i < j; i, j = i+1, j-1 {
			chosen[i], chosen[j] = chosen[j], chosen[i]
		}
		if !bytes.Equal(got, merge(chosen)) {
			t.Errorf("%s: the order of the bundles makes a difference", what)
		}
	}
}

func TestKeysSignTheirRequests(t *testing.T) {
	for _, kind := range []string{"RSA3072", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"} {
		key, stub, err := newKey(kind)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		r, err := x509.ParseCertificateRequest(stub)
		if err != nil || r.CheckSignature() != nil {
			t.Errorf("%s: the request is not signed: %v", kind, err)
		}
		b, _ := pem.Decode(key)
		if b == nil || b.Type != "PRIVATE KEY" {
			t.Fatalf("%s: the key is %q", kind, key)
		}
		if _, err := x509.ParsePKCS8PrivateKey(b.Bytes); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if _, _, err := newKey("DES"); err == nil {
		t.Error("no error for an unknown type")
	}
}

func TestAnswersOfSigners(t *testing.T) {
	now := time.Unix(1e9, 0)
	later := metav1.NewTime(now.Add(time.Hour))
	half := metav1.NewTime(now.Add(time.Hour / 2))
	request := func(condition string, status certv1.PodCertificateRequestStatus) *certv1.PodCertificateRequest {
		status.Conditions = []metav1.Condition{{Type: condition, Status: metav1.ConditionTrue, Reason: "R", Message: "M"}}
		return &certv1.PodCertificateRequest{ObjectMeta: metav1.ObjectMeta{Name: "r"}, Status: status}
	}
	fresh := func() *certificate {
		return &certificate{asked: &asked{name: "r", key: []byte("key"), done: make(chan struct{})}}
	}
	c := fresh()
	if c.take(&certv1.PodCertificateRequest{}, false, now) {
		t.Fatal("no answer was taken for one")
	}
	if _, _, err := c.give(now); err == nil || !strings.Contains(err.Error(), "PodCertificateRequest r asks for is not issued yet") {
		t.Errorf("while it waits: %v", err)
	}
	if !c.take(request("Issued", certv1.PodCertificateRequestStatus{CertificateChain: block("1"), NotAfter: &later, BeginRefreshAt: &half}), false, now) {
		t.Fatal("the answer was not taken")
	}
	key, chain, err := c.give(now)
	if err != nil || string(key) != "key" || bytes.Contains(chain, []byte("A: b")) || !c.refresh.Equal(half.Time) {
		t.Errorf("issued: %q, %q, %v, refresh at %v", key, chain, err, c.refresh)
	}
	if _, _, err := c.give(later.Time); err == nil {
		t.Error("a certificate is given after its end")
	}
	for _, kind := range []string{"Denied", "Failed"} {
		c := fresh()
		if !c.take(request(kind, certv1.PodCertificateRequestStatus{}), false, now) || c.asked != nil || !c.retry.After(now) {
			t.Errorf("%s: %+v", kind, c)
		}
		if _, _, err := c.give(now); err == nil || !strings.Contains(err.Error(), kind+": R: M") {
			t.Errorf("%s: %v", kind, err)
		}
	}
	c = fresh()
	if !c.take(&certv1.PodCertificateRequest{}, true, now) || c.failure == nil {
		t.Error("a request that was removed is waited for for ever")
	}
}
