package tracing_test

import (
	"context"
	"encoding/hex"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"k8s.io/client-go/rest"
	tracingapi "k8s.io/component-base/tracing/api/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/server"
	"hyperkube/internal/server/request"
	"hyperkube/internal/server/servertest"
	"hyperkube/internal/server/tracing"
)

// collector takes spans by OTLP.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []*tracev1.Span
}

func (c *collector) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range r.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			c.spans = append(c.spans, ss.Spans...)
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

func (c *collector) named(name string) []*tracev1.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*tracev1.Span
	for _, s := range c.spans {
		if s.Name == name {
			out = append(out, s)
		}
	}
	return out
}

// traced asks a server with the given rate of samples to create a config map, stops it, and gives what the collector got.
func traced(t *testing.T, rate *int32) *collector {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g, c := grpc.NewServer(), &collector{}
	collectorv1.RegisterTraceServiceServer(g, c)
	go func() { _ = g.Serve(l) }() // it ends with Stop
	t.Cleanup(g.Stop)

	api, stop := servertest.StartStoppable(t, func(cfg *server.Config) {
		tr, err := tracing.New(&tracingapi.TracingConfiguration{Endpoint: ptr.To(l.Addr().String()), SamplingRatePerMillion: rate})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Etcd.KV = tracing.Store(cfg.Etcd.KV)
		cfg.Tracer = tr
	})
	h, err := rest.HTTPClientFor(api.REST)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, api.REST.Host+"/api/v1/namespaces/default/configmaps?fieldManager=x", strings.NewReader(`{"metadata":{"name":"a"}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Traceparent", "00-"+theirs+"-00f067aa0ba902b7-01")
	res, err := h.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		t.Fatal(res.Status)
	}
	stop()
	return c
}

const theirs = "4bf92f3577b34da6a3ce929d0e0e4736"

func TestSpansOfARequest(t *testing.T) {
	c := traced(t, ptr.To[int32](1_000_000))
	spans := c.named("POST /api/v1/namespaces/{:namespace}/configmaps")
	if len(spans) != 1 {
		t.Fatalf("%d spans of the request", len(spans))
	}
	s := spans[0]
	if len(s.ParentSpanId) != 0 || hex.EncodeToString(s.TraceId) == theirs {
		t.Error("the client decides on the trace")
	}
	if len(s.Links) != 1 || hex.EncodeToString(s.Links[0].TraceId) != theirs {
		t.Errorf("links: %v", s.Links)
	}
	about := map[string]string{}
	for _, a := range s.Attributes {
		about[a.Key] = a.Value.String()
	}
	if !strings.Contains(about["http.response.status_code"], "201") || about["audit-id"] == "" || strings.Contains(about["url.path"], "fieldManager") {
		t.Errorf("attributes: %v", about)
	}
	below := 0
	for _, w := range c.named("etcdserverpb.KV/Txn") {
		if string(w.TraceId) == string(s.TraceId) && string(w.ParentSpanId) == string(s.SpanId) {
			below++
		}
	}
	if below == 0 {
		t.Error("no span of the datastore below that of the request")
	}
}

func TestNoSpansWithoutARate(t *testing.T) {
	if c := traced(t, nil); len(c.spans) != 0 {
		t.Errorf("%d spans", len(c.spans))
	}
}

func TestLoad(t *testing.T) {
	head := "apiVersion: apiserver.config.k8s.io/v1beta1\nkind: TracingConfiguration\n"
	for text, want := range map[string]string{
		head + "samplingRatePerMillion: 5":           "",
		head + "samplingRatePerMillion: 1000001":     "less than or equal to one million",
		head + "samplingRatePerMillion: -1":          "must be positive",
		head + "endpoint: 'https://x:4317'":          "unsupported scheme",
		head + "rate: 5":                             "unknown field",
		"apiVersion: v1\nkind: TracingConfiguration": "wanted apiVersion",
	} {
		file := filepath.Join(t.TempDir(), "tracing.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		switch _, err := tracing.Load(file); {
		case want == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestRoute(t *testing.T) {
	for path, want := range map[string]string{
		"/healthz":         "/healthz",
		"/api/v1/nodes/n1": "/api/v1/nodes/{:name}",
		"/apis/apps/v1/namespaces/d/deployments/x/scale": "/apis/apps/v1/namespaces/{:namespace}/deployments/{:name}/scale",
		"/api/v1/namespaces/d":                           "/api/v1/namespaces/{:name}",
	} {
		r, err := http.NewRequest(http.MethodGet, "https://x"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		i := request.Parse(r)
		if got := tracing.Route(&i); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
