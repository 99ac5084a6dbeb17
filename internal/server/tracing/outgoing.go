package tracing

import (
	"context"
	"net/http"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// child opens a span below the one of ctx, when that is recorded.
func child(ctx context.Context, name string, about ...attribute.KeyValue) (context.Context, func(error)) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, func(error) {}
	}
	ctx, span := parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(about...))
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// Call is the span of a request that the server itself sends, whose header tells the other side of the trace.
func Call(ctx context.Context, out *http.Request) (done func(error)) {
	ctx, done = child(ctx, "HTTP "+out.Method, attribute.String("http.request.method", out.Method), attribute.String("server.address", out.URL.Host), attribute.String("url.path", out.URL.Path))
	Tell(ctx, out.Header)
	return done
}

// Tell writes the trace of ctx, where there is one, into the header of a request that goes on to another server.
func Tell(ctx context.Context, h http.Header) {
	w3c.Inject(ctx, propagation.HeaderCarrier(h))
}

// Store makes spans of the reads and writes of a datastore that a traced request leads to.
func Store(under clientv3.KV) clientv3.KV { return store{under} }

type store struct{ clientv3.KV }

var etcd = attribute.String("db.system.name", "etcd")

// Get implements clientv3.KV.
func (s store) Get(ctx context.Context, key string, o ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, done := child(ctx, "etcdserverpb.KV/Range", etcd)
	resp, err := s.KV.Get(ctx, key, o...)
	done(err)
	return resp, err
}

// Txn implements clientv3.KV.
func (s store) Txn(ctx context.Context) clientv3.Txn {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return s.KV.Txn(ctx)
	}
	return &txn{s.KV.Txn(ctx), ctx}
}

// txn lasts, as a span, from Commit to its answer.
type txn struct {
	clientv3.Txn
	ctx context.Context
}

func (t *txn) If(cs ...clientv3.Cmp) clientv3.Txn {
	t.Txn = t.Txn.If(cs...)
	return t
}

func (t *txn) Then(ops ...clientv3.Op) clientv3.Txn {
	t.Txn = t.Txn.Then(ops...)
	return t
}

func (t *txn) Else(ops ...clientv3.Op) clientv3.Txn {
	t.Txn = t.Txn.Else(ops...)
	return t
}

func (t *txn) Commit() (*clientv3.TxnResponse, error) {
	_, done := child(t.ctx, "etcdserverpb.KV/Txn", etcd)
	resp, err := t.Txn.Commit()
	done(err)
	return resp, err
}
