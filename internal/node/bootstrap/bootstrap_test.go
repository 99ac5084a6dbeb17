package bootstrap

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	certv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/pki"
	"hyperkube/internal/server/servertest"
)

// signer approves and signs, or denies, every request.
func signer(t *testing.T, api client.Interface, ca *pki.CA, life time.Duration, deny bool) {
	f := client.NewInformers(api)
	requests := client.InformerFor(f, client.CertificateSigningRequests)
	todo := make(chan *certv1.CertificateSigningRequest, 16)
	requests.OnChange(func(old, now *certv1.CertificateSigningRequest) {
		if old == nil && now != nil {
			todo <- now
		}
	})
	f.Start(t.Context())
	go func() {
		for {
			select {
			case <-t.Context().Done():
				return
			case r := <-todo:
				if err := decide(t.Context(), api, ca, r.DeepCopy(), life, deny); err != nil && t.Context().Err() == nil {
					t.Error(err)
				}
			}
		}
	}()
}

func decide(ctx context.Context, api client.Interface, ca *pki.CA, r *certv1.CertificateSigningRequest, life time.Duration, deny bool) error {
	cond := certv1.CertificateSigningRequestCondition{Type: certv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Test", Message: "test"}
	if deny {
		cond.Type = certv1.CertificateDenied
	}
	r.Status.Conditions = append(r.Status.Conditions, cond)
	obj, err := api.Update(ctx, client.CertificateSigningRequests.GVR, r, metav1.UpdateOptions{}, "approval")
	if err != nil || deny {
		return err
	}
	csr, err := pki.ParseCSR(r.Spec.Request)
	if err != nil {
		return err
	}
	next := obj.(*certv1.CertificateSigningRequest).DeepCopy()
	if next.Status.Certificate, err = pki.SignCSR(ca, csr, r.Spec.Usages, life, time.Now()); err != nil {
		return err
	}
	_, err = client.CertificateSigningRequests.UpdateStatus(ctx, api, next)
	return err
}

func TestClientCertificate(t *testing.T) {
	api := servertest.Start(t, nil)
	ca, err := pki.NewCA("ca", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	boot := filepath.Join(dir, "bootstrap")
	if err := pki.WriteKubeconfig(boot, api.REST.Host, api.REST.CAData, pki.Credentials{User: "boot", Token: "t"}); err != nil {
		t.Fatal(err)
	}
	c := &Client{Kubeconfig: filepath.Join(dir, "kubeconfig"), BootstrapKubeconfig: boot, CertDir: filepath.Join(dir, "pki"), NodeName: "n1"}
	signer(t, api.Admin(), ca, time.Hour, false)
	cfg, err := c.Ensure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := c.store().load()
	if err != nil || cert.Leaf.Subject.CommonName != "system:node:n1" || cert.Leaf.Subject.Organization[0] != "system:nodes" || cfg.CertFile != c.store().current() {
		t.Fatalf("%v, %v, %s", cert.Leaf.Subject, err, cfg.CertFile)
	}
	if info, err := os.Stat(c.store().current()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	again, err := c.Ensure(t.Context())
	if err != nil || again.CertFile != cfg.CertFile {
		t.Fatal(err)
	}
	if now, _ := c.store().load(); !now.Leaf.Equal(cert.Leaf) {
		t.Error("a good certificate was replaced")
	}
	c.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if _, err := c.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now, _ := c.store().load(); now.Leaf.Equal(cert.Leaf) {
		t.Error("an expired certificate was kept")
	}
}

// TestRotation has certificates that live for seconds be renewed, by a signer of the product.
func TestRotation(t *testing.T) {
	api := servertest.Start(t, nil)
	ca, err := pki.NewCA("ca", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	renewed := make(chan struct{}, 16)
	c := &Client{
		Kubeconfig: filepath.Join(dir, "kubeconfig"), CertDir: filepath.Join(dir, "pki"), NodeName: "n1",
		Bootstrap: api.REST, Renewed: func() { renewed <- struct{}{} },
	}
	signer(t, api.Admin(), ca, 3*time.Second, false)
	cfg, err := c.Ensure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Rotate(ctx, cfg) }()
	for range 2 {
		before, err := c.store().load()
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-renewed:
		case <-time.After(20 * time.Second):
			t.Fatal("no new certificate")
		}
		after, err := c.store().load()
		if err != nil || after.Leaf.Equal(before.Leaf) {
			t.Errorf("%v; the certificate is still the same", err)
		}
		life := before.Leaf.NotAfter.Sub(before.Leaf.NotBefore)
		if at := renewAt(before.Leaf); at.Before(before.Leaf.NotBefore.Add(life*7/10)) || at.After(before.Leaf.NotBefore.Add(life*9/10)) {
			t.Errorf("to be renewed at %v of a life from %v to %v", at, before.Leaf.NotBefore, before.Leaf.NotAfter)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestExpiredWithoutToken(t *testing.T) {
	api := servertest.Start(t, nil)
	ca, err := pki.NewCA("ca", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := &Client{Kubeconfig: filepath.Join(dir, "kubeconfig"), CertDir: filepath.Join(dir, "pki"), NodeName: "n1", Bootstrap: api.REST}
	signer(t, api.Admin(), ca, time.Hour, false)
	if _, err := c.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Bootstrap, c.Now = nil, func() time.Time { return time.Now().Add(2 * time.Hour) }
	if _, err := c.Ensure(t.Context()); !errors.Is(err, ErrExpired) {
		t.Errorf("%v, want %v", err, ErrExpired)
	}
}

func TestDenied(t *testing.T) {
	api := servertest.Start(t, nil)
	signer(t, api.Admin(), nil, 0, true)
	if _, err := obtain(t.Context(), api.Admin(), Wish{Signer: certv1.KubeAPIServerClientKubeletSignerName, NodeName: "n1"}); !errors.Is(err, errDenied) {
		t.Errorf("%v", err)
	}
}

func TestServing(t *testing.T) {
	api := servertest.Start(t, nil)
	ca, err := pki.NewCA("ca", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := &Serving{API: api.Admin(), CertDir: t.TempDir(), NodeName: "n1", DNSNames: []string{"n1"}, IPs: []net.IP{net.ParseIP("192.0.2.1")}}
	if _, err := s.Certificate(nil); err == nil {
		t.Error("a certificate before there is one")
	}
	signer(t, api.Admin(), ca, time.Hour, false)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	for ctx.Err() == nil {
		c, err := s.Certificate(nil)
		if err != nil {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: "n1"}); err != nil || c.Leaf.VerifyHostname("192.0.2.1") != nil {
			t.Error(err)
		}
		break
	}
	if ctx.Err() != nil {
		t.Error("no certificate came")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSelfSignedIsKept(t *testing.T) {
	dir := t.TempDir()
	ips := []net.IP{net.ParseIP("127.0.0.1")}
	a, err := SelfSigned(dir, "n1", ips)
	if err != nil {
		t.Fatal(err)
	}
	b, err := SelfSigned(dir, "n1", ips)
	if err != nil || string(a.Certificate[0]) != string(b.Certificate[0]) {
		t.Errorf("not kept: %v", err)
	}
	if c, err := SelfSigned(dir, "other", ips); err != nil || string(a.Certificate[0]) == string(c.Certificate[0]) {
		t.Errorf("kept for another name: %v", err)
	}
}
