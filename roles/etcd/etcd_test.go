package etcd

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"hyperkube/internal/etcd"
	"hyperkube/internal/pki"
	"hyperkube/internal/testenv"
)

// serve runs the command line in the background until the test ends.
func serve(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		app := &cli.App{Commands: []*cli.Command{Command()}, Writer: io.Discard, ErrWriter: io.Discard}
		done <- app.RunContext(ctx, append([]string{"hyperkube", "etcd"}, args...))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the role ended: %v", err)
		}
	})
}

func run(args ...string) error {
	app := &cli.App{Commands: []*cli.Command{Command()}, Writer: io.Discard, ErrWriter: io.Discard, ExitErrHandler: func(*cli.Context, error) {}}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return app.RunContext(ctx, append([]string{"hyperkube", "etcd"}, args...))
}

func TestTLSClientsHealthAndMetrics(t *testing.T) {
	dir := t.TempDir()
	ca, err := pki.NewCA("etcd-ca", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	caFile := filepath.Join(dir, "ca.crt")
	put(t, caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw}))
	cert, key, err := ca.Issue(pki.Request{CommonName: "etcd", IPs: []net.IP{net.IPv4(127, 0, 0, 1)},
		Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(dir, "e.crt"), filepath.Join(dir, "e.key")
	put(t, certFile, cert)
	put(t, keyFile, key)
	client := fmt.Sprintf("https://127.0.0.1:%d", testenv.FreePort(t))
	metrics := fmt.Sprintf("http://127.0.0.1:%d", testenv.FreePort(t))
	peer := fmt.Sprintf("http://127.0.0.1:%d", testenv.FreePort(t))
	serve(t, "--data-dir", filepath.Join(dir, "data"), "--name=m", "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "m="+peer,
		"--cert-file", certFile, "--key-file", keyFile, "--trusted-ca-file", caFile, "--client-cert-auth", "--listen-metrics-urls", metrics)

	c, err := etcd.Dial(etcd.Remote{Endpoints: []string{client}, CertFile: certFile, KeyFile: keyFile, CAFile: caFile})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := c.Put(ctx, "a", "1"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/health": `"health":"true"`, "/metrics": "etcd_server_has_leader 1"} {
		r, err := http.Get(metrics + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || !bytes.Contains(body, []byte(want)) {
			t.Errorf("%s lacks %q: %.200s, %v", path, want, body, err)
		}
	}
	stranger, err := etcd.Dial(etcd.Remote{Endpoints: []string{client}, CAFile: caFile})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	short, cancelShort := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancelShort()
	if _, err := stranger.Get(short, "a"); err == nil {
		t.Error("a client without a certificate was served")
	}
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		path := filepath.Join(dir, fmt.Sprintf("%x.yaml", text))
		put(t, path, []byte(text))
		return path
	}
	for want, args := range map[string][]string{
		"listen-client-urls":      {"--listen-client-urls", "127.0.0.1:1"},
		"advertise-client-urls":   {"--listen-client-urls", "http://127.0.0.1:1"},
		`"nme"`:                   {"--config-file", file("nme: a\n")},
		"snapshot-count":          {"--snapshot-count", "many"},
		"no such file":            {"--config-file", filepath.Join(dir, "missing")},
		"listen-peer-urls:":       {"--config-file", file("listen-peer-urls: \"::\"\n")},
		"unexpected clusterState": {"--config-file", file("initial-cluster-state: odd\n")},
	} {
		if err := run(append(args, "--data-dir", filepath.Join(dir, "d"))...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want one with %q", args, err, want)
		}
	}
}
