package turns

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// inLine tells how many are in line, those that gave up included.
func (l *Line) inLine() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting.all) - l.waiting.head
}

func (l *Line) awaitInLine(n int) {
	for l.inLine() != n {
		runtime.Gosched()
	}
}

func take(t *testing.T, turn *Turn) {
	t.Helper()
	if err := turn.Take(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestOneAfterTheOther(t *testing.T) {
	l := timeless(1)
	first := l.Join()
	take(t, first)
	const others = 20
	var order []int
	var wg sync.WaitGroup
	for n := range others {
		wg.Go(func() {
			turn := l.Join()
			take(t, turn)
			order = append(order, n) // the turn guards it
			turn.Done()
		})
		l.awaitInLine(n + 1)
	}
	first.Done()
	wg.Wait()
	for n, got := range order {
		if got != n {
			t.Fatalf("turns were given in the order %v", order)
		}
	}
	if len(order) != others {
		t.Errorf("%d of %d had a turn", len(order), others)
	}
	if l.places[0].by != nil {
		t.Error("the place is not free at the end")
	}
}

// timeless is a line whose clock never starts, so that a slow machine is no slow client.
func timeless(places int) *Line {
	l := NewLine(places)
	l.running = true
	return l
}

func TestNeverMoreThanPlaces(t *testing.T) {
	const places, turns, times = 3, 40, 200
	l := timeless(places)
	var now, most atomic.Int64
	var wg sync.WaitGroup
	for range turns {
		wg.Go(func() {
			turn := l.Join()
			for range times {
				take(t, turn)
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				now.Add(-1)
				turn.Done()
			}
		})
	}
	wg.Wait()
	if n := most.Load(); n > places {
		t.Errorf("%d wrote at the same time, want at most %d", n, places)
	}
}

func TestSlowHoldsUpNobody(t *testing.T) {
	l := NewLine(1)
	stuck := l.Join()
	take(t, stuck)
	for range 3 {
		other := l.Join()
		take(t, other) // would wait for ever if stuck kept its turn
		other.Done()
	}
	stuck.Done()
	if !stuck.slow {
		t.Fatal("a turn that was taken away does not count as slow")
	}
	holder := l.Join()
	take(t, holder)
	take(t, stuck) // a slow one does not wait for its turn
	stuck.began = stuck.began.Add(-2 * long)
	stuck.Done()
	if !stuck.slow {
		t.Error("slow again, but not taken for it")
	}
	take(t, stuck)
	stuck.began = stuck.began.Add(long)
	stuck.Done()
	if stuck.slow {
		t.Error("quick, but still taken for slow")
	}
	holder.Done()
}

func TestWhoGivesUpIsPassedOver(t *testing.T) {
	l := timeless(1)
	first, last := l.Join(), l.Join()
	take(t, first)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.Join().Take(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("waiting ended with %v, want that it was canceled", err)
		}
	})
	l.awaitInLine(1)
	cancel()
	wg.Wait()
	wg.Go(func() { take(t, last); last.Done() })
	l.awaitInLine(2)
	first.Done()
	wg.Wait()
}

// A turn given at the moment its watch gave up goes on to the next.
func TestGivenTooLate(t *testing.T) {
	l := timeless(1)
	first, second, third := l.Join(), l.Join(), l.Join()
	take(t, first)
	l.enter(second)
	l.enter(third)
	first.Done()
	l.leave(second)
	if l.places[0].by != third {
		t.Error("the turn of one that gave up went to nobody")
	}
	<-third.given
	third.Done()
}

func BenchmarkTurnOfOne(b *testing.B) {
	turn := New().Join()
	for b.Loop() {
		if err := turn.Take(b.Context()); err != nil {
			b.Fatal(err)
		}
		turn.Done()
	}
}

func TestRestGrowsWithThoseBeside(t *testing.T) {
	l := timeless(1)
	turn := l.Join()
	rested := func(together int) time.Duration {
		t.Helper()
		take(t, turn)
		turn.Done()
		if err := turn.Rest(t.Context(), together); err != nil {
			t.Fatal(err)
		}
		return time.Since(turn.began)
	}
	if err := turn.Rest(t.Context(), few); err != nil {
		t.Errorf("a rest that is over long since: %v", err)
	}
	for _, together := range []int{few, 3 * few, 100 * few} {
		want := min(time.Duration(together)*restEach, restMost)
		if got := rested(together); got < want {
			t.Errorf("with %d beside each other the next turn may begin after %s, want %s", together, got, want)
		}
	}
	if turn.rest == nil {
		t.Fatal("nobody rested")
	}
	alone := l.Join()
	take(t, alone)
	alone.Done()
	if err := alone.Rest(t.Context(), few-1); err != nil || alone.rest != nil {
		t.Errorf("one of few rested (%v)", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	take(t, turn)
	turn.Done()
	turn.began = turn.began.Add(time.Hour)
	if err := turn.Rest(ctx, 100*few); !errors.Is(err, context.Canceled) {
		t.Errorf("a rest ended with %v, want that it was canceled", err)
	}
}
