package apiserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hyperkube/internal/pki"
	"hyperkube/internal/server/transcript"
)

var (
	recordFrom = flag.String("record-from", "", "`URL` of a fresh API server of upstream's, whose answers to the requests in testdata/transcripts are written there")
	recordCA   = flag.String("record-ca", "", "`FILE` of the authority of its certificate")
	recordOnly = flag.String("transcripts", "*", "`PATTERN` of the files to say")
)

const probeToken = "transcripts"

// TestTranscripts has this server answer as upstream's did (see internal/server/transcript). To record anew, start upstream's over an empty
// datastore with --token-auth-file=testdata/transcripts/tokens.csv and the networks and modes of [started], and run the test with -record-from and -record-ca.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/" + *recordOnly + ".http")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	var s *transcript.Server
	if *recordFrom == "" {
		s = started(t)
	} else {
		s = conversation(t, *recordFrom, *recordCA)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".http"), func(t *testing.T) {
			f, err := transcript.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			answers, err := s.Play(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			if *recordFrom == "" {
				compare(t, f, answers)
				return
			}
			for i, x := range f {
				x.Answer = answers[i]
			}
			if err := f.Save(path); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func compare(t *testing.T, f transcript.File, answers [][]string) {
	for i, x := range f {
		want, got := strings.Join(x.Answer, "\n"), strings.Join(answers[i], "\n")
		switch {
		case x.Method != "" && len(x.Answer) == 0:
			t.Errorf("line %d: %s %s was never recorded", x.Line, x.Method, x.Target)
		case x.Accepted != "" && want == got:
			t.Errorf("line %d: %s %s is answered as upstream does: nothing is left to accept", x.Line, x.Method, x.Target)
		case x.Accepted == "" && want != got:
			t.Errorf("line %d: %s %s %s\n%s", x.Line, x.Method, x.Target, x.Body, difference(x.Answer, answers[i]))
		}
	}
}

// difference shows the lines that only one of the answers has.
func difference(want, got []string) string {
	var out []string
	only := func(mark string, these, those []string) {
		left := map[string]int{}
		for _, l := range those {
			left[l]++
		}
		for _, l := range these {
			if left[l]--; left[l] < 0 {
				out = append(out, mark+l)
			}
		}
	}
	only("  upstream: ", want, got)
	only("  ours:     ", got, want)
	if len(out) == 0 {
		return "  the same lines in another order:\n" + strings.Join(got, "\n")
	}
	return strings.Join(out, "\n")
}

// started runs the whole role until the test ends.
func started(t *testing.T) *transcript.Server {
	dir := t.TempDir()
	files, err := pki.Ensure(filepath.Join(dir, "pki"), pki.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := FromArgs([]string{
		"--data-dir=" + dir, "--tls-cert-file=" + files.APIServer.CertFile, "--tls-private-key-file=" + files.APIServer.KeyFile, "--bind-address=127.0.0.1", "--advertise-address=10.77.0.1", "--client-ca-file=" + filepath.Join(files.Dir, "ca.crt"),
		"--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=Node,RBAC", "--token-auth-file=testdata/transcripts/tokens.csv",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-signing-key-file=" + files.ServiceAccountKey,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Port = -1
	ctx, cancel := context.WithCancel(context.Background())
	a, err := New(ctx, cfg)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with: %v", err)
		}
	})
	select {
	case <-a.Ready():
	case err := <-done:
		done <- err
		t.Fatalf("the server did not start: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("the server did not become ready")
	}
	return conversation(t, "https://"+a.srv.Addr().String(), filepath.Join(files.Dir, "ca.crt"))
}

func conversation(t *testing.T, url, ca string) *transcript.Server {
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(tr.CloseIdleConnections)
	return &transcript.Server{URL: strings.TrimSuffix(url, "/"), Token: probeToken, Client: transcript.Client(tr)}
}
