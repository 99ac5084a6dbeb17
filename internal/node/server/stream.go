package server

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gorilla/websocket"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/node/spec"
)

// streamOptions of exec and attach. The kubelet's names of the parameters differ from the API server's; both are taken.
type streamOptions struct{ stdin, stdout, stderr, tty bool }

func streams(q url.Values) (streamOptions, error) {
	on := func(names ...string) bool {
		for _, n := range names {
			if v := q.Get(n); v == "1" || v == "true" {
				return true
			}
		}
		return false
	}
	o := streamOptions{stdin: on("input", "stdin"), stdout: on("output", "stdout"), stderr: on("error", "stderr"), tty: on("tty")}
	if o.tty {
		o.stderr = false // a terminal has one stream
	}
	if !o.stdin && !o.stdout && !o.stderr {
		return o, errors.New("you must specify at least 1 of stdin, stdout, stderr")
	}
	return o, nil
}

func (s *server) exec(w http.ResponseWriter, r *http.Request) {
	o, err := streams(r.URL.Query())
	cmd := r.URL.Query()["command"]
	if err == nil && len(cmd) == 0 {
		err = errors.New("you must specify a command")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, c, ok := s.running(w, r)
	if !ok {
		return
	}
	resp, err := s.CRI.Runtime.Exec(r.Context(), &rt.ExecRequest{ContainerId: c.Id, Cmd: cmd, Tty: o.tty, Stdin: o.stdin, Stdout: o.stdout, Stderr: o.stderr})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.relay(w, r, resp.Url, o)
}

func (s *server) attach(w http.ResponseWriter, r *http.Request) {
	o, err := streams(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	pod, c, ok := s.running(w, r)
	if !ok {
		return
	}
	// Whether a process has a terminal was settled when it was started, whatever a client says that joins it: a runtime that
	// was told otherwise would wait for the end of a stream that there is not.
	if k := spec.Find(&pod.Spec, c.Name); k != nil {
		o.tty = k.TTY
		o.stderr = o.stderr && !o.tty
	}
	resp, err := s.CRI.Runtime.Attach(r.Context(), &rt.AttachRequest{ContainerId: c.Id, Tty: o.tty, Stdin: o.stdin, Stdout: o.stdout, Stderr: o.stderr})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.relay(w, r, resp.Url, o)
}

// relay takes a stream of commands to the runtime. Clients that speak version 5 of the WebSocket protocol (KEP-4006), which
// runtimes do not, are translated to SPDY; all others are passed through.
func (s *server) relay(w http.ResponseWriter, r *http.Request, to string, o streamOptions) {
	if websocket.IsWebSocketUpgrade(r) && slices.Contains(websocket.Subprotocols(r), protocolV5) {
		s.translate(w, r, to, o)
		return
	}
	s.passThrough(w, r, to)
}

// passThrough relays an upgraded connection byte by byte.
func (s *server) passThrough(w http.ResponseWriter, r *http.Request, to string) {
	target, err := url.Parse(to)
	if err != nil {
		http.Error(w, "the runtime's streaming address: "+err.Error(), http.StatusInternalServerError)
		return
	}
	proxy := httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL, p.Out.Host = target, target.Host
			p.Out.Header.Del("Authorization")
			p.Out.Header.Del("Origin")
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, fmt.Sprintf("stream to the runtime: %v", err), http.StatusBadGateway)
		},
		ErrorLog: nil,
	}
	proxy.ServeHTTP(w, r)
}

func (s *server) portForward(w http.ResponseWriter, r *http.Request) {
	ports, err := forwardPorts(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	tunnel := websocket.IsWebSocketUpgrade(r) && slices.Contains(websocket.Subprotocols(r), protocolTunnel)
	if websocket.IsWebSocketUpgrade(r) && !tunnel && len(ports) == 0 {
		http.Error(w, `query parameter "port" is required`, http.StatusBadRequest)
		return
	}
	_, seen, ok := s.find(w, r)
	if !ok {
		return
	}
	sandbox := seen.ReadySandbox()
	if sandbox == nil {
		http.Error(w, "the pod has no sandbox that runs", http.StatusInternalServerError)
		return
	}
	resp, err := s.CRI.Runtime.PortForward(r.Context(), &rt.PortForwardRequest{PodSandboxId: sandbox.Id, Port: ports})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if tunnel {
		s.tunnel(w, r, resp.Url)
		return
	}
	s.passThrough(w, r, resp.Url)
}

func forwardPorts(q url.Values) ([]int32, error) {
	var out []int32
	for _, v := range append(q["port"], q["ports"]...) {
		for _, p := range strings.Split(v, ",") {
			n, err := strconv.ParseUint(p, 10, 16)
			if err != nil || n == 0 {
				return nil, fmt.Errorf("unable to parse %q as a port", p)
			}
			out = append(out, int32(n))
		}
	}
	return out, nil
}
