// Package webhook calls webhooks: HTTPS endpoints, named by a URL or by a service, that judge or convert objects for the API server.
//
// A service is reached at one of its ready endpoints, under the name that its certificate has to have
// (name.namespace.svc). Certificates are checked with the bundle of the configuration, or with the system's authorities without
// one. Connections are kept for further calls. Errors are those of net/http, whose words clients know. Safe for concurrent use.
package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"hyperkube/internal/client"
	"hyperkube/internal/server/endpoint"
	"hyperkube/internal/server/tracing"
)

// maxAnswer bounds an answer, in bytes: three times the largest object.
const maxAnswer = 9 << 20

// Target says where a webhook is: by URL, or by a service.
type Target struct {
	URL string
	// Namespace, Name, Port and Path of the service, where URL is empty.
	Namespace, Name, Path string
	Port                  int32
	CABundle              []byte
}

// Caller calls webhooks.
type Caller struct {
	api client.Interface

	mu      sync.Mutex
	clients map[[32]byte]*http.Client
}

// New makes a caller that finds services through the API.
func New(api client.Interface) *Caller {
	return &Caller{api: api, clients: map[[32]byte]*http.Client{}}
}

// Post sends JSON and gives the answer's body. Answers other than 2xx are errors. timeout, when not zero, bounds the call and is
// told to the webhook.
func (c *Caller) Post(ctx context.Context, t Target, timeout time.Duration, body []byte) ([]byte, error) {
	h, err := c.client(t)
	if err != nil {
		return nil, err
	}
	u, err := t.url()
	if err != nil {
		return nil, err
	}
	if timeout > 0 {
		q := u.Query()
		q.Set("timeout", timeout.String())
		u.RawQuery = q.Encode()
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, */*")
	req.Header.Set("User-Agent", "kube-apiserver-admission")
	done := tracing.Call(ctx, req)
	res, err := h.Do(req)
	done(err)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxAnswer:
		return nil, fmt.Errorf("the answer of %s is larger than %d bytes", u, maxAnswer)
	case res.StatusCode < 200 || res.StatusCode > 299:
		return nil, fmt.Errorf("the server responded with status %d: %s", res.StatusCode, data[:min(len(data), 512)])
	}
	return data, nil
}

func (t Target) url() (*url.URL, error) {
	if t.URL != "" {
		return url.Parse(t.URL)
	}
	return &url.URL{Scheme: "https", Host: net.JoinHostPort(t.host(), strconv.Itoa(int(t.Port))), Path: t.Path}, nil
}

func (t Target) host() string { return t.Name + "." + t.Namespace + ".svc" }

// client of a target: those with the same authorities and host share connections.
func (c *Caller) client(t Target) (*http.Client, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%d\x00%s", t.URL, t.Namespace, t.Name, t.Port, t.CABundle)
	id := [32]byte(h.Sum(nil))
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.clients[id]; have != nil {
		return have, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(t.CABundle) > 0 {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(t.CABundle) {
			return nil, errors.New("unable to load root certificates: the bundle holds none")
		}
	}
	if t.URL == "" {
		conf.ServerName = t.host()
	}
	// Webhooks change seldom; what has piled up since is thrown away together.
	if len(c.clients) >= 256 {
		for _, old := range c.clients {
			old.CloseIdleConnections()
		}
		clear(c.clients)
	}
	made := &http.Client{
		Transport: &http.Transport{TLSClientConfig: conf, DialContext: c.dialer(t), ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16,
			IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second},
		// Redirects would lead to servers that the configuration does not name.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.clients[id] = made
	return made, nil
}

// dialer connects to the URL's host, or to an endpoint of the service.
func (c *Caller) dialer(t Target) func(context.Context, string, string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	if t.URL != "" {
		return d.DialContext
	}
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		address, err := endpoint.Choose(ctx, c.api, t.Namespace, t.Name, strconv.Itoa(int(t.Port)))
		if err != nil {
			return nil, err
		}
		return d.DialContext(ctx, network, address)
	}
}
