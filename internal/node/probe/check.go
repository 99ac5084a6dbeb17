package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"hyperkube/internal/node/spec"
)

// userAgent of HTTP probes and hooks, as servers' logs know it.
const userAgent = "kube-probe/1.37"

// maxBody is how much of an answer is read, in bytes.
const maxBody = 10 << 10

// Exec runs a command in a container and waits for it. err is for commands that could not be run;
// context.DeadlineExceeded for one that took longer than the timeout.
type Exec func(ctx context.Context, containerID string, cmd []string, timeout time.Duration) (output []byte, code int32, err error)

// Check runs one probe. ok is its result and text says why not; an err is a probe that could not be made, which counts neither way.
func check(ctx context.Context, p *corev1.Probe, c *corev1.Container, id, podIP string, exec Exec) (ok bool, text string, err error) {
	timeout := time.Duration(max(p.TimeoutSeconds, 1)) * time.Second
	switch {
	case p.Exec != nil:
		return checkExec(ctx, p.Exec, id, timeout, exec)
	case p.HTTPGet != nil:
		req, err := HTTPRequest(p.HTTPGet, c.Ports, podIP)
		if err != nil {
			return false, "", err
		}
		return checkHTTP(ctx, req, timeout)
	case p.TCPSocket != nil:
		port, err := Port(p.TCPSocket.Port, c.Ports)
		if err != nil {
			return false, "", err
		}
		host := p.TCPSocket.Host
		if host == "" {
			host = podIP
		}
		return checkTCP(ctx, net.JoinHostPort(host, strconv.Itoa(port)), timeout)
	case p.GRPC != nil:
		service := ""
		if p.GRPC.Service != nil {
			service = *p.GRPC.Service
		}
		return checkGRPC(ctx, net.JoinHostPort(podIP, strconv.Itoa(int(p.GRPC.Port))), service, timeout)
	}
	return false, "", fmt.Errorf("missing probe handler for container %s", c.Name)
}

func checkExec(ctx context.Context, a *corev1.ExecAction, id string, timeout time.Duration, exec Exec) (bool, string, error) {
	out, code, err := exec(ctx, id, a.Command, timeout)
	if errors.Is(err, context.DeadlineExceeded) {
		return false, fmt.Sprintf("command timed out: %q timed out after %v", a.Command, timeout), nil
	}
	if err != nil {
		return false, "", err
	}
	return code == 0, string(out[:min(len(out), maxBody)]), nil
}

// Port is a port number, or the container's port of that name.
func Port(p intstr.IntOrString, ports []corev1.ContainerPort) (int, error) {
	n := p.IntValue()
	if p.Type == intstr.String {
		if named, ok := spec.HasPort(ports, p.StrVal); ok {
			n = int(named)
		} else if n == 0 {
			return 0, fmt.Errorf("couldn't find port: %s", p.StrVal)
		}
	}
	if n < 1 || n > 65535 {
		return 0, fmt.Errorf("invalid port number: %v", n)
	}
	return n, nil
}

// HTTPRequest makes the request of an httpGet handler.
func HTTPRequest(h *corev1.HTTPGetAction, ports []corev1.ContainerPort, podIP string) (*http.Request, error) {
	port, err := Port(h.Port, ports)
	if err != nil {
		return nil, err
	}
	host, scheme := h.Host, "http"
	if host == "" {
		host = podIP
	}
	if h.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	u, err := url.Parse(h.Path)
	if err != nil {
		u = &url.URL{Path: h.Path}
	}
	u.Scheme, u.Host = scheme, net.JoinHostPort(host, strconv.Itoa(port))
	req, err := http.NewRequest(http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for _, kv := range h.HTTPHeaders {
		req.Header.Add(kv.Name, kv.Value)
	}
	if _, set := req.Header["User-Agent"]; !set {
		req.Header.Set("User-Agent", userAgent)
	}
	if _, set := req.Header["Accept"]; !set {
		req.Header.Set("Accept", "*/*")
	}
	if v := req.Header.Get("Host"); v != "" {
		req.Host = v
	}
	return req, nil
}

// HTTPDo sends a handler's request on a connection of its own, without proxies and without verifying certificates, as the API
// promises. Redirects to another host are not followed.
func HTTPDo(ctx context.Context, req *http.Request, timeout time.Duration) (code int, body []byte, err error) {
	client := &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DisableKeepAlives: true, DisableCompression: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if next.URL.Hostname() != via[0].URL.Hostname() || len(via) >= 10 {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	resp, err := client.Do(req.WithContext(ctx))
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody))
	return resp.StatusCode, body, err
}

func checkHTTP(ctx context.Context, req *http.Request, timeout time.Duration) (bool, string, error) {
	code, body, err := HTTPDo(ctx, req, timeout)
	if err != nil {
		return false, err.Error(), nil
	}
	if code >= 200 && code < 400 {
		return true, string(body), nil
	}
	return false, fmt.Sprintf("HTTP probe failed with statuscode: %d", code), nil
}

func checkTCP(ctx context.Context, addr string, timeout time.Duration) (bool, string, error) {
	d := net.Dialer{Timeout: timeout}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false, err.Error(), nil
	}
	_ = conn.Close() // only that it opened counts
	return true, "", nil
}

func checkGRPC(ctx context.Context, addr, service string, timeout time.Duration) (bool, string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUserAgent(userAgent), grpc.WithNoProxy())
	if err != nil {
		return false, "", err
	}
	defer conn.Close()
	resp, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
	switch status.Code(err) {
	case codes.OK:
	case codes.Unimplemented:
		return false, "this server does not implement the grpc health protocol (grpc.health.v1.Health): " + err.Error(), nil
	case codes.DeadlineExceeded:
		return false, fmt.Sprintf("timeout: failed to connect service %q within %v: %v", addr, timeout, err), nil
	default:
		return false, "error: health rpc probe failed: " + err.Error(), nil
	}
	if s := resp.GetStatus(); s != healthpb.HealthCheckResponse_SERVING {
		return false, fmt.Sprintf("service unhealthy (responded with %q)", s.String()), nil
	}
	return true, "service healthy", nil
}
