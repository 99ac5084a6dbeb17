package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"hyperkube/internal/server/tracing"
)

// Remote is a webhook that a kubeconfig file names: its cluster is the webhook, its user the API server's identity there.
type Remote struct {
	url     string
	client  *http.Client
	backoff Backoff
}

// Backoff is how a call that failed is made again: when the connection broke, or the webhook answers that it cannot answer now.
type Backoff struct {
	// Initial wait, half as long again each time. Zero: 500 ms.
	Initial time.Duration
	// Attempts in all. Zero: 5.
	Attempts int
	// Timeout of one attempt. Zero: 30 s.
	Timeout time.Duration
	// Stubborn callers, for whom nobody waits, also try again where nobody listens or the time of an attempt was over.
	Stubborn bool
}

// StatusError is an answer that says no.
type StatusError struct {
	Code int
	Body string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the server responded with status %d: %s", e.Code, e.Body)
}

// FromKubeconfig reads the file, and the files that it names. They are read once; certificates that client-go reloads are reloaded.
func FromKubeconfig(path string, b Backoff) (*Remote, error) {
	if b.Initial == 0 {
		b.Initial = 500 * time.Millisecond
	}
	if b.Attempts == 0 {
		b.Attempts = 5
	}
	if b.Timeout == 0 {
		b.Timeout = 30 * time.Second
	}
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(&clientcmd.ClientConfigLoadingRules{ExplicitPath: path}, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if cfg.Host == "" {
		return nil, fmt.Errorf("%s: clusters[].cluster.server is missing", path)
	}
	cfg.QPS, cfg.Timeout = -1, 0
	base, _, err := rest.DefaultServerURL(cfg.Host, "", schema.GroupVersion{}, true)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Remote{url: base.String(), client: client, backoff: b}, nil
}

// Post sends JSON and gives the body of an answer of 2xx. It tries again as the backoff says.
func (r *Remote) Post(ctx context.Context, body []byte) ([]byte, error) {
	wait := r.backoff.Initial
	for attempt := 1; ; attempt++ {
		data, retry, err := r.once(ctx, body)
		if err == nil || !retry || attempt >= r.backoff.Attempts {
			return data, err
		}
		// Up to a fifth longer, so that servers do not all come back at once.
		t := time.NewTimer(wait + time.Duration(rand.Float64()*0.2*float64(wait)))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, err
		}
		wait += wait / 2
	}
}

func (r *Remote) once(ctx context.Context, body []byte) (data []byte, retry bool, err error) {
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, r.backoff.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return nil, false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, */*")
	done := tracing.Call(ctx, req)
	res, err := r.client.Do(req)
	done(err)
	if err != nil {
		again := r.backoff.Stubborn || utilnet.IsConnectionReset(err) || utilnet.IsHTTP2ConnectionLost(err)
		return nil, again && outer.Err() == nil, err
	}
	defer res.Body.Close()
	data, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, true, err
	case len(data) > maxAnswer:
		return nil, false, errors.New("the answer is too large")
	case res.StatusCode < 200 || res.StatusCode > 299:
		retry = res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests
		return nil, retry, &StatusError{res.StatusCode, string(data[:min(len(data), 512)])}
	}
	return data, false, nil
}
