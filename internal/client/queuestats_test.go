package client

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestQueueStats works on three keys, one of which fails once.
func TestQueueStats(t *testing.T) {
	set := NewQueueStats()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(set)
	value := func(name string) float64 {
		t.Helper()
		all, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.GetName() != "workqueue_"+name || f.Metric[0].Label[0].GetValue() != "q" {
				continue
			}
			m := f.Metric[0]
			switch {
			case m.Histogram != nil:
				return float64(m.Histogram.GetSampleCount())
			case m.Counter != nil:
				return m.Counter.GetValue()
			}
			return m.Gauge.GetValue()
		}
		t.Fatalf("no %s", name)
		return 0
	}
	q := NewQueue[string]("q")
	for _, k := range []string{"a", "b", "a", "c"} {
		q.Add(k)
	}
	ctx, cancel := context.WithCancel(WithQueueStats(t.Context(), set))
	done, failed := make(chan string), false
	go RunWorkers(ctx, q, 1, func(_ context.Context, key string) error {
		done <- key
		if key == "c" && !failed {
			failed = true
			return errors.New("once")
		}
		return nil
	})
	if got := <-done; got != "a" {
		t.Errorf("first %s", got)
	}
	<-done // the worker is on the third now, or about to be
	for end := time.Now().Add(30 * time.Second); value("depth") > 0 || value("unfinished_work_seconds") == 0; {
		if time.Now().After(end) {
			t.Fatal("the third key is not begun")
		}
	}
	if value("longest_running_processor_seconds") <= 0 {
		t.Error("nothing runs")
	}
	<-done
	<-done
	for end := time.Now().Add(30 * time.Second); value("work_duration_seconds") < 4; {
		if time.Now().After(end) {
			t.Fatal("the last key is not done")
		}
	}
	for name, want := range map[string]float64{"adds_total": 4, "retries_total": 1, "queue_duration_seconds": 4, "work_duration_seconds": 4, "depth": 0, "unfinished_work_seconds": 0} {
		if got := value(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	cancel()
}
