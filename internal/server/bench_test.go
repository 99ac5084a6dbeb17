package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"hyperkube/internal/client"
	"hyperkube/internal/server/servertest"
)

func benchPod(name string) *corev1.Pod {
	p := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"app": "bench", "tier": "x"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "registry.example.com/app:v1", Env: []corev1.EnvVar{{Name: "A", Value: "B"}}}}},
	}
	return p
}

// httpClient speaks to the server as a generic client does.
func httpClient(b *testing.B, cfg *rest.Config) func(method, path, contentType, body string) {
	h, err := rest.HTTPClientFor(cfg)
	if err != nil {
		b.Fatal(err)
	}
	return func(method, path, contentType, body string) {
		req, err := http.NewRequest(method, cfg.Host+path, strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		res, err := h.Do(req)
		if err != nil {
			b.Error(err)
			return
		}
		defer res.Body.Close()
		n, _ := io.Copy(io.Discard, res.Body)
		if res.StatusCode >= 300 || n == 0 {
			b.Errorf("%s %s: %s", method, path, res.Status)
		}
	}
}

func BenchmarkHTTP(b *testing.B) {
	api := servertest.Start(b, nil)
	do := httpClient(b, api.REST)
	var n atomic.Int64
	b.Run("create", func(b *testing.B) {
		b.SetParallelism(32)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				body, _ := json.Marshal(benchPod(fmt.Sprint("p", n.Add(1))))
				do("POST", "/api/v1/namespaces/default/pods", "application/json", string(body))
			}
		})
	})
	b.Run("get", func(b *testing.B) {
		b.SetParallelism(32)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				do("GET", "/api/v1/namespaces/default/pods/p1", "", "")
			}
		})
	})
	b.Run("patch", func(b *testing.B) {
		b.SetParallelism(32)
		b.ReportAllocs()
		var i atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				k := i.Add(1)
				do("PATCH", fmt.Sprint("/api/v1/namespaces/default/pods/p", 1+k%n.Load()), "application/merge-patch+json",
					fmt.Sprintf(`{"metadata":{"labels":{"x":"%d"}}}`, k))
			}
		})
	})
	b.Run("list", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			do("GET", "/api/v1/pods", "", "")
		}
		b.ReportMetric(float64(n.Load()), "pods")
	})
}

func BenchmarkDirect(b *testing.B) {
	api := servertest.Start(b, nil)
	c := api.Admin()
	var n atomic.Int64
	ctx := context.Background()
	b.Run("create", func(b *testing.B) {
		b.SetParallelism(32)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := client.Pods.Create(ctx, c, benchPod(fmt.Sprint("p", n.Add(1)))); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("get", func(b *testing.B) {
		b.SetParallelism(32)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := client.Pods.Get(ctx, c, "default", "p1"); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
