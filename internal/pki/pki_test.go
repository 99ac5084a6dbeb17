package pki

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	certv1 "k8s.io/api/certificates/v1"
	"k8s.io/client-go/tools/clientcmd"
)

func options(now *time.Time) Options {
	return Options{
		Hosts: []string{"api.example.org"}, IPs: []net.IP{net.IPv4(192, 0, 2, 7)},
		ServiceIP: net.IPv4(10, 96, 0, 1), NodeName: "node-a", NodeIPs: []net.IP{net.IPv4(192, 0, 2, 8)},
		Now: func() time.Time { return *now },
	}
}

func verify(t *testing.T, ca *CA, p Pair, now time.Time, usage x509.ExtKeyUsage, host string) *x509.Certificate {
	t.Helper()
	c, err := p.TLS()
	require.NoError(t, err)
	_, err = c.Leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), CurrentTime: now, DNSName: host, KeyUsages: []x509.ExtKeyUsage{usage}})
	require.NoError(t, err)
	return c.Leaf
}

func TestEnsureMakesEverythingOnce(t *testing.T) {
	now := time.Now()
	dir := filepath.Join(t.TempDir(), "pki")
	start := time.Now()
	f, err := Ensure(dir, options(&now))
	require.NoError(t, err)
	t.Logf("made in %s", time.Since(start))
	for _, host := range []string{"kubernetes.default.svc.cluster.local", "10.96.0.1", "127.0.0.1", "::1", "api.example.org", "192.0.2.7", "192.0.2.8", "node-a", "localhost"} {
		verify(t, f.CA, f.APIServer, now, x509.ExtKeyUsageServerAuth, host)
	}
	admin := verify(t, f.CA, f.Admin, now, x509.ExtKeyUsageClientAuth, "")
	require.Equal(t, []string{"system:masters"}, admin.Subject.Organization)
	kubelet := verify(t, f.CA, f.KubeletClient, now, x509.ExtKeyUsageClientAuth, "")
	require.Equal(t, "system:node:node-a", kubelet.Subject.CommonName)
	verify(t, f.FrontProxyCA, f.FrontProxyClient, now, x509.ExtKeyUsageClientAuth, "")
	verify(t, f.EtcdCA, f.EtcdPeer, now, x509.ExtKeyUsageServerAuth, "localhost")
	require.NoError(t, filepath.Walk(dir, func(path string, st os.FileInfo, err error) error {
		require.NoError(t, err)
		want := os.FileMode(0o600)
		if st.IsDir() {
			want = 0o700
		}
		require.Equal(t, want, st.Mode().Perm(), path)
		return nil
	}))

	before, err := os.ReadFile(f.APIServer.CertFile)
	require.NoError(t, err)
	again, err := Ensure(dir, options(&now))
	require.NoError(t, err)
	after, err := os.ReadFile(f.APIServer.CertFile)
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.Equal(t, f.CA.Hash(), again.CA.Hash())
	require.Equal(t, f.ServiceAccount.Public(), again.ServiceAccount.Public())
}

func TestEnsureReissues(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, f *Files, o *Options, now *time.Time){
		"near its end": func(_ *testing.T, _ *Files, _ *Options, now *time.Time) { *now = now.Add(LeafLife * 7 / 10) },
		"other names":  func(_ *testing.T, _ *Files, o *Options, _ *time.Time) { o.Hosts = []string{"other.example.org"} },
		"broken file":  func(t *testing.T, f *Files, _ *Options, _ *time.Time) { write(t, f.APIServer.CertFile, "no PEM") },
		"empty key":    func(t *testing.T, f *Files, _ *Options, _ *time.Time) { write(t, f.APIServer.KeyFile, "") },
		"key not there": func(t *testing.T, f *Files, _ *Options, _ *time.Time) {
			require.NoError(t, os.Remove(f.APIServer.KeyFile))
		},
		"foreign authority": func(t *testing.T, f *Files, _ *Options, now *time.Time) {
			other, err := NewCA("kubernetes", *now)
			require.NoError(t, err)
			cert, key, err := other.Issue(Request{CommonName: "kube-apiserver"}, *now)
			require.NoError(t, err)
			require.NoError(t, writePair(f.APIServer, cert, key, false))
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			dir, o := t.TempDir(), options(&now)
			f, err := Ensure(dir, o)
			require.NoError(t, err)
			before, err := os.ReadFile(f.APIServer.CertFile)
			require.NoError(t, err)
			change(t, f, &o, &now)
			f, err = Ensure(dir, o)
			require.NoError(t, err)
			after, err := os.ReadFile(f.APIServer.CertFile)
			require.NoError(t, err)
			require.NotEqual(t, before, after)
			verify(t, f.CA, f.APIServer, now, x509.ExtKeyUsageServerAuth, "localhost")
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestEnsureNeverReplacesAnAuthority(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		spoil func(t *testing.T, f *Files)
		says  string
	}{
		"corrupt certificate": {func(t *testing.T, f *Files) { write(t, f.CA.CertFile, "junk") }, "ca.crt"},
		"corrupt key":         {func(t *testing.T, f *Files) { write(t, f.CA.KeyFile, "junk") }, "ca.key"},
		"key of another":      {func(t *testing.T, f *Files) { write(t, f.CA.KeyFile, read(t, f.EtcdCA.KeyFile)) }, "does not belong"},
		"certificate gone":    {func(t *testing.T, f *Files) { require.NoError(t, os.Remove(f.CA.CertFile)) }, "restore the certificate"},
		"token key corrupt":   {func(t *testing.T, f *Files) { write(t, f.ServiceAccountKey, "junk") }, "sa.key"},
		"leaf in its place":   {func(t *testing.T, f *Files) { write(t, f.CA.CertFile, read(t, f.Admin.CertFile)) }, "not one of an authority"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			f, err := Ensure(dir, options(&now))
			require.NoError(t, err)
			c.spoil(t, f)
			_, err = Ensure(dir, options(&now))
			require.ErrorContains(t, err, c.says)
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func TestAuthorityKeptElsewhere(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	f, err := Ensure(dir, options(&now))
	require.NoError(t, err)
	require.NoError(t, os.Remove(f.CA.KeyFile))
	_, err = Ensure(dir, options(&now))
	require.NoError(t, err)
	now = now.Add(LeafLife * 8 / 10)
	_, err = Ensure(dir, options(&now))
	require.NoError(t, err, "a certificate that is still good must not stop a start")
	require.NoError(t, os.Remove(f.Admin.CertFile))
	_, err = Ensure(dir, options(&now))
	require.True(t, errors.Is(err, ErrNoKey), err)
}

func TestSignCSR(t *testing.T) {
	now := time.Now()
	ca, err := NewCA("kubernetes", now)
	require.NoError(t, err)
	key, err := newKey()
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "system:node:a", Organization: []string{"system:nodes"}}, DNSNames: []string{"a"}}, key)
	require.NoError(t, err)
	csr, err := ParseCSR(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	require.NoError(t, err)
	out, err := SignCSR(ca, csr, []certv1.KeyUsage{certv1.UsageDigitalSignature, certv1.UsageClientAuth}, time.Hour, now)
	require.NoError(t, err)
	certs, err := ParseCerts(out)
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, certs[0].DNSNames)
	require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, certs[0].ExtKeyUsage)
	require.False(t, certs[0].IsCA)
	_, err = SignCSR(ca, csr, []certv1.KeyUsage{"nonsense"}, time.Hour, now)
	require.ErrorContains(t, err, "nonsense")
	long, err := SignCSR(ca, csr, nil, 10*CALife, now)
	require.NoError(t, err)
	certs, err = ParseCerts(long)
	require.NoError(t, err)
	require.False(t, certs[0].NotAfter.After(ca.Cert.NotAfter))
	csr.Signature[len(csr.Signature)-1] ^= 1
	_, err = SignCSR(ca, csr, nil, time.Hour, now)
	require.ErrorContains(t, err, "not signed by its own key")
}

func TestReloaderTakesUpNewFiles(t *testing.T) {
	now := time.Now()
	dir, o := t.TempDir(), options(&now)
	f, err := Ensure(dir, o)
	require.NoError(t, err)
	r, err := NewReloader(f.APIServer, f.CA.CertFile)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	o.Hosts = []string{"new.example.org"}
	_, err = Ensure(dir, o)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		c, err := r.GetCertificate(nil)
		return err == nil && c.Leaf.VerifyHostname("new.example.org") == nil
	}, 10*time.Second, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
}

func TestKubeconfig(t *testing.T) {
	now := time.Now()
	f, err := Ensure(t.TempDir(), options(&now))
	require.NoError(t, err)
	cert, key, err := f.Admin.Read()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "sub", "admin.conf")
	require.NoError(t, Kubeconfig(path, "https://127.0.0.1:6443", f.CA.PEM, cert, key, "kubernetes-admin"))
	cfg, err := clientcmd.BuildConfigFromFlags("", path)
	require.NoError(t, err)
	require.Equal(t, "https://127.0.0.1:6443", cfg.Host)
	require.Equal(t, cert, cfg.CertData)
	st, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm())
}

// TestAFirstStartCutOffIsGoneOnWith: whoever is killed between writing a key and its certificate has lost nothing yet.
func TestAFirstStartCutOffIsGoneOnWith(t *testing.T) {
	f, err := Ensure(t.TempDir(), Options{})
	require.NoError(t, err)
	key, err := os.ReadFile(f.CA.KeyFile)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.key"), key, 0o600))
	again, err := Ensure(dir, Options{})
	require.NoError(t, err)
	kept, err := os.ReadFile(again.CA.KeyFile)
	require.NoError(t, err)
	require.Equal(t, string(key), string(kept))
}
