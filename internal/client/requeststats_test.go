package client

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// TestRequestStats counts an answer, a refusal and a request that nobody answers.
func TestRequestStats(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`))
	}))
	defer srv.Close()
	var stats RequestStats
	cfg := &rest.Config{Host: srv.URL}
	stats.Count(cfg)
	c, err := NewREST(cfg)
	if err != nil {
		t.Fatal(err)
	}
	maps := GVR{Version: "v1", Resource: "configmaps"}
	if _, err := c.Get(t.Context(), maps, "n", "a", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	if c.Delete(t.Context(), maps, "n", "a", metav1.DeleteOptions{}) == nil {
		t.Fatal("a refusal is no error")
	}
	srv.Close()
	if _, err := c.Get(t.Context(), maps, "n", "a", metav1.GetOptions{}); err == nil {
		t.Fatal("an answer of nobody")
	}

	r := prometheus.NewPedanticRegistry()
	r.MustRegister(&stats)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	host := strings.TrimPrefix(srv.URL, "http://")
	for _, want := range []string{
		`rest_client_requests_total{code="200",host="HOST",method="GET"} 1`,
		`rest_client_requests_total{code="403",host="HOST",method="DELETE"} 1`,
		`rest_client_requests_total{code="<error>",host="HOST",method="GET"} `,
		`rest_client_request_duration_seconds_count{host="HOST",verb="DELETE"} 1`,
		`rest_client_response_size_bytes_sum{host="HOST",verb="GET"} 62`,
		`rest_client_request_size_bytes_count{host="HOST",verb="DELETE"} 1`,
	} {
		if want = strings.ReplaceAll(want, "HOST", host); !strings.Contains(text.String(), want) {
			t.Errorf("there is no %s in\n%s", want, text.String())
		}
	}
}
