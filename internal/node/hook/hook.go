// Package hook runs the lifecycle hooks of containers: postStart and preStop, by command, HTTP request or sleep.
// A call returns when the hook has ended or ctx has.
package hook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/node/probe"
)

// httpTimeout bounds an HTTP hook whose caller sets no limit.
const httpTimeout = 30 * time.Second

// Run a handler for a container. ports resolve port names.
func Run(ctx context.Context, h *corev1.LifecycleHandler, containerID string, ports []corev1.ContainerPort, podIP string, exec probe.Exec) error {
	switch {
	case h == nil:
		return nil
	case h.Exec != nil:
		return command(ctx, h.Exec.Command, containerID, exec)
	case h.HTTPGet != nil:
		req, err := probe.HTTPRequest(h.HTTPGet, ports, podIP)
		if err != nil {
			return err
		}
		req.Header.Set("User-Agent", "kube-lifecycle/1.37")
		code, _, err := do(ctx, req)
		if err != nil {
			return err
		}
		if code < 200 || code >= 400 {
			return fmt.Errorf("HTTP hook failed with statuscode: %d", code)
		}
		return nil
	case h.Sleep != nil:
		t := time.NewTimer(time.Duration(h.Sleep.Seconds) * time.Second)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errors.New("invalid handler: only exec, httpGet and sleep are hooks")
}

func command(ctx context.Context, cmd []string, id string, exec probe.Exec) error {
	timeout := time.Duration(0)
	if at, ok := ctx.Deadline(); ok {
		timeout = max(time.Until(at), time.Second)
	}
	out, code, err := exec(ctx, id, cmd, timeout)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("command '%s' exited with %d: %s", fmt.Sprint(cmd), code, out)
	}
	return nil
}

// do asks again over HTTP when an HTTPS hook meets a server that does not speak it: before Kubernetes 1.26 the scheme of hooks
// was ignored, and manifests of that time rely on it.
func do(ctx context.Context, req *http.Request) (int, []byte, error) {
	code, body, err := probe.HTTPDo(ctx, req, httpTimeout)
	if err != nil && req.URL.Scheme == "https" && plainHTTP(err) {
		plain := req.Clone(ctx)
		plain.URL.Scheme = "http"
		plain.Header.Del("Authorization")
		return probe.HTTPDo(ctx, plain, httpTimeout)
	}
	return code, body, err
}

func plainHTTP(err error) bool {
	return errors.Is(err, http.ErrSchemeMismatch)
}
