package streams

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestLogsOverWebSocket(t *testing.T) {
	kubelet := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			t.Error("the kubelet was asked for an upgrade")
		}
		if r.URL.Path == "/gone" {
			http.Error(w, "no such container", http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte("alive\n"))
	}))
	defer kubelet.Close()
	s := &Streams{kubelets: http.DefaultTransport.(*http.Transport).Clone(), Config: Config{
		Fail: func(w http.ResponseWriter, _ *http.Request, err error) {
			var status apierrors.APIStatus
			if !errors.As(err, &status) {
				t.Fatal(err)
			}
			http.Error(w, status.Status().Message, int(status.Status().Code))
		},
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, err := url.Parse(kubelet.URL + r.URL.Path)
		if err != nil {
			t.Fatal(err)
		}
		s.logMessages(w, r, "p", to)
	}))
	defer front.Close()
	at := "ws" + strings.TrimPrefix(front.URL, "http")
	for protocol, want := range map[string]string{"binary.k8s.io": "alive\n", "base64.binary.k8s.io": "YWxpdmUK"} {
		d := websocket.Dialer{Subprotocols: []string{protocol}}
		conn, _, err := d.DialContext(t.Context(), at+"/log", nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for {
			_, data, err := conn.ReadMessage()
			if err != nil {
				break // the end of the log is the end of the connection
			}
			got += string(data)
		}
		conn.Close()
		if got != want || conn.Subprotocol() != protocol {
			t.Errorf("%s: %q by %q, want %q", protocol, got, conn.Subprotocol(), want)
		}
	}
	_, resp, err := (&websocket.Dialer{Subprotocols: []string{"binary.k8s.io"}}).DialContext(t.Context(), at+"/gone", nil)
	if err == nil || resp == nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("a log that is not there: %v, %v", resp, err)
	}
}
