package streams

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"hyperkube/internal/client"
	"hyperkube/internal/server/endpoint"
	"hyperkube/internal/server/request"
)

// ProxyPod passes a request on to a port of a pod. The name may be "name", "name:port" or "scheme:name:port".
func (s *Streams) ProxyPod(w http.ResponseWriter, r *http.Request, req *request.Request) {
	s.proxy(w, r, req, &corev1.PodProxyOptions{Path: req.Tail}, func(ctx context.Context, scheme, name, port string) (string, http.RoundTripper, error) {
		pod, err := client.Pods.Get(ctx, s.Client, req.Namespace, name)
		if err != nil {
			return "", nil, err
		}
		if pod.Status.PodIP == "" {
			return "", nil, apierrors.NewBadRequest(notAllowed)
		}
		if port == "" {
			port = firstPort(pod)
		}
		return join(pod.Status.PodIP, port), s.backends, nil
	})
}

// firstPort is the first port that a pod's containers declare; empty means the scheme's own.
func firstPort(pod *corev1.Pod) string {
	for _, c := range pod.Spec.Containers {
		if len(c.Ports) > 0 {
			return strconv.Itoa(int(c.Ports[0].ContainerPort))
		}
	}
	return ""
}

// ProxyNode passes a request on to a kubelet, or to another port of a node.
func (s *Streams) ProxyNode(w http.ResponseWriter, r *http.Request, req *request.Request) {
	s.proxy(w, r, req, &corev1.NodeProxyOptions{Path: req.Tail}, func(ctx context.Context, scheme, name, port string) (string, http.RoundTripper, error) {
		host, err := s.nodeConnection(ctx, name)
		if err != nil {
			return "", nil, err
		}
		address, kubelet, err := net.SplitHostPort(host)
		if err != nil {
			return "", nil, err
		}
		if port == "" || port == kubelet {
			return "https://" + host, s.kubelets, nil
		}
		return join(address, port), s.backends, nil
	})
}

// ProxyService passes a request on to one of a service's ready endpoints. The port is a name or number of a port of
// the service.
func (s *Streams) ProxyService(w http.ResponseWriter, r *http.Request, req *request.Request) {
	s.proxy(w, r, req, &corev1.ServiceProxyOptions{Path: req.Tail}, func(ctx context.Context, scheme, name, port string) (string, http.RoundTripper, error) {
		host, err := endpoint.Choose(ctx, s.Client, req.Namespace, name, port)
		return host, s.backends, err
	})
}

func join(host, port string) string {
	if port == "" {
		if strings.Contains(host, ":") {
			return "[" + host + "]"
		}
		return host
	}
	return net.JoinHostPort(host, port)
}

// locate finds the host and port of a backend, or a whole base URL, and the way to it.
type locate func(ctx context.Context, scheme, name, port string) (host string, t http.RoundTripper, err error)

func (s *Streams) proxy(w http.ResponseWriter, r *http.Request, req *request.Request, options any, find locate) {
	scheme, name, port, ok := utilnet.SplitSchemeNamePort(req.Name)
	if !ok {
		s.Fail(w, r, apierrors.NewBadRequest(fmt.Sprintf("invalid %s request %q", strings.TrimSuffix(req.Resource, "s"), req.Name)))
		return
	}
	if err := s.admit(r.Context(), req, options); err != nil {
		s.Fail(w, r, err)
		return
	}
	host, t, err := find(r.Context(), scheme, name, port)
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	if bare, https := strings.CutPrefix(host, "https://"); https {
		host, scheme = bare, "https"
	}
	if scheme == "" {
		scheme = "http"
	}
	to := &url.URL{Scheme: scheme, Host: host, Path: "/" + req.Tail, RawQuery: r.URL.RawQuery}
	if err := allowed(r.Context(), to); err != nil {
		s.Fail(w, r, err)
		return
	}
	// A proxied root without its slash would break the relative links of what it answers.
	if req.Tail == "" && !strings.HasSuffix(r.URL.Path, "/") && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		u := *r.URL
		u.Path += "/"
		w.Header().Set("Location", u.String())
		w.WriteHeader(http.StatusMovedPermanently)
		return
	}
	// Links in what comes back are rewritten to lead through the server again.
	s.pass(w, r, to, s.rewriter(r, req, t), false, false)
}

// rewriter prefixes the links of proxied pages with the path of the proxy.
func (s *Streams) rewriter(r *http.Request, req *request.Request, t http.RoundTripper) http.RoundTripper {
	prefix := strings.TrimSuffix(r.URL.Path, req.Tail)
	return linkRewriter(r, prefix, t)
}
