package counts

import (
	"math"
	"sync"
	"testing"
)

func TestHistogram(t *testing.T) {
	h := New([]float64{1, 2, 5})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for _, v := range []float64{0.5, 1, 1.5, 5, 6} {
				h.Add(v)
			}
		})
	}
	wg.Wait()
	var sum Total
	sum.Add(h)
	sum.Add(h)
	if h.Count() != 50 || sum.Count != 100 || math.Abs(sum.Sum-280) > 1e-9 {
		t.Errorf("%d, %+v", h.Count(), sum)
	}
	for bound, want := range map[float64]uint64{1: 40, 2: 60, 5: 80} {
		if sum.Buckets[bound] != want {
			t.Errorf("up to %v: %d, want %d", bound, sum.Buckets[bound], want)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	h := New([]float64{0.005, 0.025, 0.1, 0.5, 1, 2.5})
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			h.Add(0.01)
		}
	})
}
