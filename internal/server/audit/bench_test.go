package audit

import (
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/server/request"
)

// BenchmarkRequest is what one request costs: without a log, not told, and written to a file while the request waits.
func BenchmarkRequest(b *testing.B) {
	open := func(level string) *Log {
		l, err := New(Config{PolicyFile: write(b, "omitStages: [RequestReceived]\nrules: [{level: "+level+"}]"),
			File: &FileConfig{Path: filepath.Join(b.TempDir(), "log"), Format: "json", MaxSize: 100, Delivery: Delivery{Mode: Blocking}}})
		if err != nil {
			b.Fatal(err)
		}
		return l
	}
	for name, l := range map[string]*Log{"off": nil, "none": open("None"), "metadata": open("Metadata")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			req := &request.Request{Info: request.Info{IsResourceRequest: true, Verb: "get", Resource: "pods", APIVersion: "v1", Namespace: "a", Name: "b"},
				User: &user.DefaultInfo{Name: "ann", Groups: []string{"a", "b"}}, AuditID: "x", Unaudited: l == nil}
			for b.Loop() {
				req.Annotate("authorization.k8s.io/decision", "allow")
				t, err := l.Begin(req, Origin{URI: "/api/v1/namespaces/a/pods/b", Received: time.Now()})
				if err != nil {
					b.Fatal(err)
				}
				t.End(200)
			}
		})
	}
}
