package store

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"hyperkube/internal/object"
)

// bigPod is a pod of about 2 KB.
func bigPod(name string) *corev1.Pod {
	p := pod(name, "node-1")
	p.Annotations = map[string]string{"filler": fmt.Sprintf("%01500d", 7)}
	p.Labels = map[string]string{"app": "x", "n": name[len(name)-2:]}
	p.UID = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
	p.CreationTimestamp = metav1.Now()
	return p
}

func fill(b *testing.B, c *Collection, n int) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				p := bigPod(fmt.Sprintf("pod-%06d", i))
				if _, err := c.Create(context.Background(), object.KeyOf(p), p, 0); err != nil {
					b.Errorf("create: %v", err)
					return
				}
			}
		}()
	}
	wg.Wait()
}

func BenchmarkCreate(b *testing.B) {
	c := pods(b, newStore(b))
	if err := c.waitReady(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	fill(b, c, b.N)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
}

func BenchmarkGetFresh(b *testing.B) {
	c := pods(b, newStore(b))
	fill(b, c, 100)
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Get(context.Background(), object.Key{Namespace: "default", Name: "pod-000007"}, ""); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkList5000JSON(b *testing.B) {
	c := pods(b, newStore(b))
	fill(b, c, 5000)
	b.ResetTimer()
	for range b.N {
		p, err := c.List(context.Background(), ListOptions{})
		if err != nil || len(p.Entries) != 5000 {
			b.Fatal(err, len(p.Entries))
		}
		for _, e := range p.Entries {
			if _, err := e.JSON(c.kind.Hub()); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkListByNode5000(b *testing.B) {
	c := pods(b, newStore(b))
	fill(b, c, 5000)
	create(b, c, pod("alone", "node-2"))
	b.ResetTimer()
	for range b.N {
		p, err := c.List(context.Background(), ListOptions{Field: fields.OneTermEqualSelector("spec.nodeName", "node-2")})
		if err != nil || len(p.Entries) != 1 {
			b.Fatal(err, len(p.Entries))
		}
	}
}

// BenchmarkFanOut writes b.N pods while 500 watchers read the JSON frames of each.
func BenchmarkFanOut(b *testing.B) {
	c := pods(b, newStore(b))
	if err := c.waitReady(context.Background()); err != nil {
		b.Fatal(err)
	}
	var bytes atomic.Int64
	var wg sync.WaitGroup
	for range 500 {
		w, err := c.Watch(context.Background(), WatchOptions{})
		if err != nil {
			b.Fatal(err)
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer w.Stop()
			for seen := 0; seen < b.N; {
				evs, err := w.Next(context.Background())
				if err != nil {
					b.Error(err)
					return
				}
				for _, e := range evs {
					frame, err := e.JSON(c.kind.Hub())
					if err != nil {
						b.Error(err)
						return
					}
					bytes.Add(int64(len(frame)))
				}
				seen += len(evs)
			}
		}()
	}
	b.ResetTimer()
	fill(b, c, b.N)
	wg.Wait()
	b.ReportMetric(float64(b.N)*500/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkNodeWatchers writes b.N pods with 5,000 watchers of other nodes there.
func BenchmarkNodeWatchers(b *testing.B) {
	c := pods(b, newStore(b))
	for i := range 5000 {
		startWatch(b, c, WatchOptions{Field: fields.OneTermEqualSelector("spec.nodeName", fmt.Sprint("n", i))})
	}
	b.ResetTimer()
	fill(b, c, b.N)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
}

func BenchmarkMemory10000Pods(b *testing.B) {
	for range b.N {
		c := pods(b, newStore(b))
		if err := c.waitReady(context.Background()); err != nil {
			b.Fatal(err)
		}
		before := heap()
		fill(b, c, 10000)
		c.trim(time.Now().Add(time.Hour))
		b.ReportMetric(float64(heap()-before)/10000, "bytes/pod")
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
