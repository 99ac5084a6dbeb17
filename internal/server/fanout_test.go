package server_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"

	"hyperkube/internal/client"
	"hyperkube/internal/server/servertest"
)

// BenchmarkFanOut counts the events that reach 500 raw watchers, ten connections for all.
func BenchmarkFanOut(b *testing.B) {
	const watchers, connections = 500, 10
	api := servertest.Start(b, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var seen atomic.Int64
	var ready, all sync.WaitGroup
	target := int64(b.N) * watchers
	done := make(chan struct{})
	for c := range connections {
		cfg := rest.CopyConfig(api.REST)
		cfg.UserAgent = fmt.Sprint("bench-", c)
		cfg.Proxy = http.ProxyFromEnvironment // a transport of its own for each configuration
		h, err := rest.HTTPClientFor(cfg)
		if err != nil {
			b.Fatal(err)
		}
		for range watchers / connections {
			ready.Add(1)
			all.Add(1)
			go func() {
				defer all.Done()
				req, err := http.NewRequestWithContext(ctx, "GET", cfg.Host+"/api/v1/pods?watch=1", nil)
				if err != nil {
					b.Error(err)
					ready.Done()
					return
				}
				res, err := h.Do(req)
				ready.Done()
				if err != nil {
					b.Error(err)
					return
				}
				defer res.Body.Close()
				r := bufio.NewReaderSize(res.Body, 64<<10)
				for {
					if _, err := r.ReadSlice('\n'); err != nil {
						return
					}
					if seen.Add(1) == target {
						close(done)
					}
				}
			}()
		}
	}
	ready.Wait()
	b.ResetTimer()
	admin := api.Admin()
	var next atomic.Int64
	var writers sync.WaitGroup
	for range 8 {
		writers.Add(1)
		go func() {
			defer writers.Done()
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				if _, err := client.Pods.Create(ctx, admin, benchPod(fmt.Sprint("p", i))); err != nil {
					b.Error(err)
				}
			}
		}()
	}
	writers.Wait()
	<-done
	b.ReportMetric(float64(target)/b.Elapsed().Seconds(), "events/s")
	cancel()
	all.Wait()
}
