package node_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	testChannels(t, base)
}

// testChannels runs a command for a client that knows version 4 of the WebSocket protocol alone.
func testChannels(t *testing.T, base string) {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"v4.channel.k8s.io"}, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	conn, _, err := d.Dial("wss"+strings.TrimPrefix(base, "https")+"/exec/default/web/c?command=/own&command=exit&command=3&output=1&error=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := map[byte]string{}
	for {
		_, data, err := conn.ReadMessage()
		if err != nil {
			break // the server closes it after the last message
		}
		if len(data) > 0 {
			got[data[0]] += string(data[1:])
		}
	}
	var st metav1.Status
	if err := json.Unmarshal([]byte(got[3]), &st); err != nil || st.Reason != "NonZeroExitCode" || len(st.Details.Causes) != 1 || st.Details.Causes[0].Message != "3" {
		t.Errorf("the outcome: %q %v", got[3], err)
	}
	if got[1] != "exits with 3\n" {
		t.Errorf("the output: %q", got[1])
	}
}
