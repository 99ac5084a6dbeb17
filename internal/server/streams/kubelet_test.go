package streams

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/server/apitest"
	"hyperkube/internal/server/request"
)

// behind serves the streams of a pod whose kubelet is the handler.
func behind(t *testing.T, kubelet http.HandlerFunc) *httptest.Server {
	t.Helper()
	k := httptest.NewTLSServer(kubelet)
	t.Cleanup(k.Close)
	host, port, err := net.SplitHostPort(k.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: host}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(n)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default"}}
	pod.Spec.NodeName, pod.Spec.Containers = "n", []corev1.Container{{Name: "c"}}
	s, err := New(Config{
		Client:     apitest.New(map[client.GVR][]client.Object{client.Nodes.GVR: {node}, client.Pods.GVR: {pod}}),
		KubeletTLS: k.Client().Transport.(*http.Transport).TLSClientConfig,
		Fail: func(w http.ResponseWriter, _ *http.Request, err error) {
			var status apierrors.APIStatus
			if !errors.As(err, &status) {
				t.Errorf("no error of the API: %v", err)
				return
			}
			st := status.Status()
			w.WriteHeader(int(st.Code))
			if err := json.NewEncoder(w).Encode(&st); err != nil {
				t.Error(err)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for path, h := range map[string]func(http.ResponseWriter, *http.Request, *request.Request){
		"/log": s.Log, "/exec": s.Exec, "/attach": s.Attach, "/portforward": s.PortForward,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			h(w, r, &request.Request{Info: request.Info{Resource: "pods", Namespace: "default", Name: "p"}})
		})
	}
	api := httptest.NewServer(mux)
	t.Cleanup(api.Close)
	return api
}

func TestErrorsOfKubelets(t *testing.T) {
	for _, tc := range []struct {
		code, want int
		reason     metav1.StatusReason
		message    string
	}{
		{400, 400, metav1.StatusReasonBadRequest, "no such thing here"},
		{404, 404, metav1.StatusReasonNotFound, `the server could not find the requested resource ( pods/log p)`},
		{500, 500, metav1.StatusReasonInternalError, "Internal error occurred: no such thing here"},
	} {
		api := behind(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such thing here", tc.code) })
		resp, err := http.Get(api.URL + "/log")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var st metav1.Status
		if err := json.NewDecoder(resp.Body).Decode(&st); err != nil || resp.StatusCode != tc.want || st.Reason != tc.reason {
			t.Errorf("%d: %d %q %v", tc.code, resp.StatusCode, st.Reason, err)
		}
		if !strings.Contains(st.Message, tc.message) {
			t.Errorf("%d: %q", tc.code, st.Message)
		}
	}
}

// TestLogIsFollowed: each line is with the client before the next is written, and the kubelet never sees the user's credentials.
func TestLogIsFollowed(t *testing.T) {
	next := make(chan string)
	api := behind(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/containerLogs/default/p/c" || r.URL.Query().Get("follow") != "true" {
			t.Errorf("asked for %s", r.URL)
		}
		for _, h := range []string{"Authorization", "Cookie", "Impersonate-User"} {
			if r.Header.Get(h) != "" {
				t.Errorf("the kubelet sees %s", h)
			}
		}
		for line := range next {
			if _, err := io.WriteString(w, line+"\n"); err != nil {
				t.Error(err)
			}
			w.(http.Flusher).Flush()
		}
	})
	req, err := http.NewRequest(http.MethodGet, api.URL+"/log?follow=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{"Authorization", "Cookie", "Impersonate-User"} {
		req.Header.Set(h, "secret")
	}
	lines := []string{"one", "two", "three"}
	go func() { next <- lines[0] }()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := bufio.NewScanner(resp.Body)
	for i, want := range lines {
		if i > 0 {
			next <- want
		}
		if !body.Scan() || body.Text() != want {
			t.Fatalf("got %q, want %q: %v", body.Text(), want, body.Err())
		}
	}
	close(next)
	if body.Scan() {
		t.Errorf("after the end: %q", body.Text())
	}
}

// TestUpgradesPass: what client and kubelet agree upon is theirs, and the end of one side is the end of the other.
func TestUpgradesPass(t *testing.T) {
	ended := make(chan struct{}, 1)
	api := behind(t, func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- struct{}{} }()
		up := websocket.Upgrader{Subprotocols: []string{"v5.channel.k8s.io"}}
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for {
			kind, data, err := conn.ReadMessage()
			if err != nil {
				return
			}
			if err := conn.WriteMessage(kind, append([]byte(r.URL.RequestURI()+" "), data...)); err != nil {
				return
			}
		}
	})
	for path, want := range map[string]string{
		"/exec?command=a&command=b&stdin=true&stdout=true": "/exec/default/p/c?command=a&command=b&input=1&output=1 hello",
		"/attach?stdout=true&stderr=true&container=c":      "/attach/default/p/c?error=1&output=1 hello",
		"/portforward?ports=80&ports=81":                   "/portForward/default/p?port=80&port=81 hello",
	} {
		d := websocket.Dialer{Subprotocols: []string{"v5.channel.k8s.io", "v4.channel.k8s.io"}}
		conn, resp, err := d.Dial("ws"+strings.TrimPrefix(api.URL, "http")+path, nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != "v5.channel.k8s.io" {
			t.Errorf("%s: protocol %q", path, got)
		}
		if err := conn.WriteMessage(websocket.BinaryMessage, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.ReadMessage(); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
		conn.Close()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the kubelet's end stays open", path)
		}
	}
}

func TestStreamsNeedAnUpgrade(t *testing.T) {
	api := behind(t, func(http.ResponseWriter, *http.Request) { t.Error("the kubelet was asked") })
	for path, want := range map[string]string{
		"/exec?command=a&stdout=true":  "Upgrade request required",
		"/exec?container=d&stdout=1":   "container d is not valid for pod p",
		"/exec?stdin=perhaps":          "Upgrade request required", // whatever is not false is true
		"/portforward?ports=70000":     `cannot convert to []int32: strconv.ParseUint: parsing "70000": value out of range`,
		"/log?tailLines=-1":            "must be greater than or equal to 0",
		"/log?tailLines=x":             `strconv.ParseInt: parsing "x": invalid syntax`,
		"/log?stream=Stdout":           "stream: Forbidden: may not be specified",
		"/log?sinceTime=yesterday":     `parsing time "yesterday"`,
		"/attach?container=d&stdout=1": "container d is not valid for pod p",
	} {
		resp, err := http.Get(api.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode < 400 || resp.StatusCode >= 500 || !strings.Contains(string(data), strings.ReplaceAll(want, `"`, `\"`)) {
			t.Errorf("%s: %d %s %v", path, resp.StatusCode, data, err)
		}
	}
}
