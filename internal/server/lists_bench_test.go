package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"

	"hyperkube/internal/client"
	"hyperkube/internal/server/servertest"
)

// BenchmarkLists has four clients at a time list 5,000 pods over TLS and HTTP/2, without compression. cpu-µs/op is what a list costs, both ends together.
func BenchmarkLists(b *testing.B) {
	api := servertest.Start(b, nil)
	admin := api.Admin()
	var next atomic.Int64
	var makers sync.WaitGroup
	for range 32 {
		makers.Go(func() {
			for n := next.Add(1); n <= 5000; n = next.Add(1) {
				p := benchPod(fmt.Sprint("p", n))
				p.Annotations = map[string]string{"note": fmt.Sprintf("%01500d", n)}
				if _, err := client.Pods.Create(context.Background(), admin, p); err != nil {
					b.Error(err)
				}
			}
		})
	}
	makers.Wait()
	for _, format := range []string{"protobuf", "json"} {
		accept := map[string]string{"protobuf": "application/vnd.kubernetes.protobuf", "json": "application/json"}[format]
		b.Run(format, func(b *testing.B) {
			var left atomic.Int64
			left.Store(int64(b.N))
			var clients sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			before := cpuTime(b)
			for range 4 {
				clients.Go(func() { listAll(b, api.REST, accept, &left) })
			}
			clients.Wait()
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// listAll lists until nothing is left to do, over a connection of its own.
func listAll(b *testing.B, cfg *rest.Config, accept string, left *atomic.Int64) {
	own := rest.CopyConfig(cfg)
	own.DisableCompression = true
	own.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return readsAhead{conn, bufio.NewReaderSize(conn, 64<<10)}, err
	}
	h, err := rest.HTTPClientFor(own)
	if err != nil {
		b.Error(err)
		return
	}
	defer h.CloseIdleConnections()
	buf := make([]byte, 256<<10)
	for left.Add(-1) >= 0 {
		req, err := http.NewRequest(http.MethodGet, cfg.Host+"/api/v1/pods", nil)
		if err != nil {
			b.Error(err)
			return
		}
		req.Header.Set("Accept", accept)
		res, err := h.Do(req)
		if err != nil {
			b.Error(err)
			return
		}
		for err == nil {
			_, err = res.Body.Read(buf)
		}
		res.Body.Close()
		if err != io.EOF || res.StatusCode != http.StatusOK {
			b.Errorf("%s, %v", res.Status, err)
		}
	}
}

// readsAhead reads as much at a time as there is, where TLS would ask for one record.
type readsAhead struct {
	net.Conn
	in *bufio.Reader
}

func (r readsAhead) Read(p []byte) (int, error) { return r.in.Read(p) }

// cpuTime is what the process has used until now.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
