package programs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
)

// testStreams reaches into a pod by both protocols.
func testStreams(t *testing.T, c cluster, ns string) {
	kubectl := c.upstream(t, "kubectl")
	c.run(t, kubectl, "-n", ns, "run", "streams", "--image="+webImage, "--", "serve", "v1")
	c.run(t, kubectl, "-n", ns, "wait", "--for=condition=Ready", "pod/streams", "--timeout=60s")
	config := c.config(t)
	client := c.client(t).CoreV1().RESTClient()
	request := func(subresource string) *rest.Request {
		return client.Post().Namespace(ns).Resource("pods").Name("streams").SubResource(subresource)
	}
	executors := map[string]func(*rest.Request) (remotecommand.Executor, error){
		"SPDY": func(r *rest.Request) (remotecommand.Executor, error) {
			return remotecommand.NewSPDYExecutor(config, http.MethodPost, r.URL())
		},
		"WebSocket": func(r *rest.Request) (remotecommand.Executor, error) {
			return remotecommand.NewWebSocketExecutor(config, http.MethodGet, r.URL().String())
		},
	}
	for name, executor := range executors {
		t.Run("exec by "+name, func(t *testing.T) {
			testExec(t, func(o *corev1.PodExecOptions) (remotecommand.Executor, error) {
				return executor(request("exec").VersionedParams(o, scheme.ParameterCodec))
			})
		})
	}
	url := request("portforward").URL()
	dialers := map[string]func() (httpstream.Dialer, error){
		"SPDY": func() (httpstream.Dialer, error) {
			transport, upgrader, err := spdy.RoundTripperFor(config)
			return spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url), err
		},
		"WebSocket": func() (httpstream.Dialer, error) { return portforward.NewSPDYOverWebsocketDialer(url, config) },
	}
	for name, dialer := range dialers {
		t.Run("port-forward by "+name, func(t *testing.T) {
			d, err := dialer()
			if err != nil {
				t.Fatal(err)
			}
			testForward(t, d)
		})
	}
}

// testExec gives a command an input and takes its output, its errors and its exit code.
func testExec(t *testing.T, executor func(*corev1.PodExecOptions) (remotecommand.Executor, error)) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	e, err := executor(&corev1.PodExecOptions{Command: []string{"/webapp", "terminal"}, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	err = e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: strings.NewReader("a line\nexit 7\n"), Stdout: &out, Stderr: &errs})
	var code utilexec.CodeExitError
	if !errors.As(err, &code) || code.Code != 7 || out.String() != "no terminal\ngot a line\n" || errs.Len() > 0 {
		t.Errorf("%v, %q, %q", err, out.String(), errs.String())
	}
	if e, err = executor(&corev1.PodExecOptions{Command: []string{"/webapp", "terminal"}, Stdin: true, Stdout: true, TTY: true}); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	in, give := io.Pipe()
	size := &sizes{give: give, all: []remotecommand.TerminalSize{{Width: 77, Height: 33}}}
	if err := e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: in, Stdout: io.MultiWriter(&out, size), Tty: true, TerminalSizeQueue: size}); err != nil {
		t.Error(err)
	}
	has(t, "a terminal", out.String(), "terminal of 33 rows and 77 columns")
}

// sizes gives a terminal its size, and ends the session when the program has told it back.
type sizes struct {
	all  []remotecommand.TerminalSize
	give io.WriteCloser
	said string
}

func (s *sizes) Next() *remotecommand.TerminalSize {
	if len(s.all) == 0 {
		return nil
	}
	next := s.all[0]
	s.all = s.all[1:]
	return &next
}

func (s *sizes) Write(b []byte) (int, error) {
	before := strings.Contains(s.said, "77 columns")
	s.said += string(b)
	if !before && strings.Contains(s.said, "77 columns") {
		go func() { _, _ = io.WriteString(s.give, "exit 0\n") }() // its failure would be a session that does not end
	}
	return len(b), nil
}

// testForward asks the pod over a forwarded port.
func testForward(t *testing.T, dialer httpstream.Dialer) {
	stop, ready, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	f, err := portforward.New(dialer, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	go func() { done <- f.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	ports, err := f.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil || !strings.HasPrefix(string(body), "v1 streams") {
			t.Errorf("%q, %v", body, err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
