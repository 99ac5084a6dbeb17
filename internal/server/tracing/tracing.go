// Package tracing sends spans of requests to an OpenTelemetry collector: one for each request that the sampler picks, with those of the
// datastore and of webhooks below it.
//
// The configuration is upstream's TracingConfiguration. A server that has none holds no [Tracer], and nothing of this runs; one that has
// pays for the requests that are not picked by a random number. What a client says of its own trace is noted as a link and not
// believed: anybody may ask the server something, and must not decide what it records.
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	tracingapi "k8s.io/component-base/tracing/api/v1"

	"hyperkube/internal/config"
	"hyperkube/internal/server/request"
)

// scope is the name under which spans say who made them.
const scope = "hyperkube/internal/server/tracing"

// w3c is how traces are told from process to process.
var w3c = propagation.TraceContext{}

// Load reads a file with a TracingConfiguration (apiserver.config.k8s.io).
func Load(file string) (*tracingapi.TracingConfiguration, error) {
	var c apiserverv1.TracingConfiguration
	if err := config.LoadKind(file, apiserverv1.SchemeGroupVersion.WithKind("TracingConfiguration"), &c, "v1beta1", "v1alpha1"); err != nil {
		return nil, err
	}
	if errs := tracingapi.ValidateTracingConfiguration(&c.TracingConfiguration, nil, nil); len(errs) > 0 {
		return nil, fmt.Errorf("configuration file %s: %w", file, errs.ToAggregate())
	}
	return &c.TracingConfiguration, nil
}

// Tracer makes spans of requests. Make it with [New]; Run sends what is left at the end.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// New makes a tracer. The collector need not be there: spans that it does not take are lost, with a line in the log.
func New(c *tracingapi.TracingConfiguration) (*Tracer, error) {
	options := []otlptracegrpc.Option{otlptracegrpc.WithInsecure()}
	if c.Endpoint != nil {
		options = append(options, otlptracegrpc.WithEndpoint(*c.Endpoint))
	}
	// The connection is made with the first spans.
	exporter, err := otlptracegrpc.New(context.Background(), options...)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	sampler := sdktrace.NeverSample()
	if c.SamplingRatePerMillion != nil {
		sampler = sdktrace.TraceIDRatioBased(float64(*c.SamplingRatePerMillion) / 1e6)
	}
	log := slog.Default().With("component", "apiserver")
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("spans could not be sent", "err", err) }))
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithSampler(sdktrace.ParentBased(sampler)),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "apiserver"), attribute.String("service.instance.id", host))))
	return &Tracer{provider: p, tracer: p.Tracer(scope)}, nil
}

// farewell is how long the last spans may take to be sent.
const farewell = 2 * time.Second

// Run waits for ctx to end, and sends what is left.
func (t *Tracer) Run(ctx context.Context) error {
	<-ctx.Done()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	return t.provider.Shutdown(last)
}

// Begin opens the span of a request. The function it gives is told the status code at the request's end.
func (t *Tracer) Begin(r *http.Request, req *request.Request) (*http.Request, func(code int)) {
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithNewRoot()}
	if theirs := trace.SpanContextFromContext(w3c.Extract(r.Context(), propagation.HeaderCarrier(r.Header))); theirs.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: theirs}))
	}
	ctx, span := t.tracer.Start(r.Context(), "HTTP "+r.Method, options...)
	if !span.IsRecording() {
		return r, func(int) {}
	}
	route := Route(&req.Info)
	span.SetName(r.Method + " " + route)
	span.SetAttributes(attribute.String("audit-id", req.AuditID), attribute.String("http.request.method", r.Method), attribute.String("url.path", r.URL.Path),
		attribute.String("http.route", route), attribute.String("user_agent.original", req.UserAgent), attribute.String("client.address", req.SourceIP),
		attribute.String("network.protocol.version", strings.TrimPrefix(r.Proto, "HTTP/")))
	return r.WithContext(ctx), func(code int) {
		if code == 0 {
			code = http.StatusOK
		}
		span.SetAttributes(attribute.Int("http.response.status_code", code))
		if code >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// Route is the path with placeholders for what differs from object to object.
func Route(i *request.Info) string {
	if !i.IsResourceRequest {
		return i.Path
	}
	var b strings.Builder
	if i.APIGroup == "" {
		b.WriteString("/api/" + i.APIVersion)
	} else {
		b.WriteString("/apis/" + i.APIGroup + "/" + i.APIVersion)
	}
	if i.Namespace != "" && i.Resource != "namespaces" {
		b.WriteString("/namespaces/{:namespace}")
	}
	b.WriteString("/" + i.Resource)
	if i.Name != "" {
		b.WriteString("/{:name}")
	}
	if i.Subresource != "" {
		b.WriteString("/" + i.Subresource)
	}
	return b.String()
}
