package node_test

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"
)

func insecure() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
}

// testStreams runs a command that copies its input, over SPDY and over WebSockets.
func testStreams(t *testing.T, base string) {
	u, err := url.Parse(base + "/exec/default/web/c?command=/own&command=echo&input=1&output=1&error=1")
	if err != nil {
		t.Fatal(err)
	}
	cfg := &rest.Config{Host: base, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	spdy, err := remotecommand.NewSPDYExecutor(cfg, http.MethodPost, u)
	if err != nil {
		t.Fatal(err)
	}
	ws, err := remotecommand.NewWebSocketExecutor(cfg, http.MethodGet, u.String())
	if err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]remotecommand.Executor{"SPDY": spdy, "WebSocket": ws} {
		var out, errOut bytes.Buffer
		err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader("some text"), Stdout: &out, Stderr: &errOut})
		exit, ok := err.(utilexec.CodeExitError)
		if !ok || exit.Code != 7 || out.String() != "some text" || errOut.String() != "done\n" {
			t.Errorf("%s: %q %q %v", name, out.String(), errOut.String(), err)
		}
	}
}
