package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// dial opens a connection from the machine's network namespace.
func (h *host) dial(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and the namespace with it
		ns, err := os.Open("/run/netns/" + h.ns)
		if err != nil {
			done <- result{err: err}
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{err: err}
			return
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// api is a client of the machine's API server that sees each answer as it came.
type api struct {
	base   string
	client *http.Client
}

// api gives the administrator's client; change may alter its credentials.
func (h *host) api(change func(*rest.Config)) *api {
	h.t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", h.path("admin.kubeconfig"))
	if err != nil {
		h.t.Fatal(err)
	}
	cfg.Dial, cfg.Timeout = h.dial, 20*time.Second
	if change != nil {
		change(cfg)
	}
	c, err := rest.HTTPClientFor(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	return &api{cfg.Host, c}
}

// do sends a request and gives the code and the body of the answer.
func (a *api) do(ctx context.Context, method, path string, body io.Reader) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, body)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := a.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, text, err
}

// configMap is as much of one as the tests need.
type configMap struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metadata          `json:"metadata"`
	Data       map[string]string `json:"data"`
}

type metadata struct {
	Name            string `json:"name"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

const configMaps = "/api/v1/namespaces/default/configmaps"

// write creates or updates a configMap and gives it as the server acknowledged it.
func (a *api) write(ctx context.Context, method, path string, m configMap) (configMap, error) {
	m.APIVersion, m.Kind = "v1", "ConfigMap"
	data, err := json.Marshal(m)
	if err != nil {
		return m, err
	}
	code, text, err := a.do(ctx, method, path, bytes.NewReader(data))
	if err != nil {
		return m, err
	}
	if code != http.StatusOK && code != http.StatusCreated {
		return m, fmt.Errorf("%d: %s", code, strings.TrimSpace(string(text)))
	}
	var out configMap
	return out, json.Unmarshal(text, &out)
}
