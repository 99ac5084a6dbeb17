package lifecycle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestStopsInReverse(t *testing.T) {
	var g Group
	var mu sync.Mutex
	var order []string
	for _, name := range []string{"a", "b", "c"} {
		g.Start(Part{name, func(ctx context.Context) error {
			<-ctx.Done()
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
			return nil
		}})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(order, []string{"c", "b", "a"}) {
		t.Fatalf("stopped in the order %v", order)
	}
}

func TestRestartsAfterErrorAndPanic(t *testing.T) {
	var g Group
	third := make(chan struct{})
	calls := 0
	g.Start(Part{"p", func(ctx context.Context) error {
		switch calls++; calls {
		case 1:
			return errors.New("once")
		case 2:
			panic("twice")
		}
		close(third)
		<-ctx.Done()
		return nil
	}})
	<-third
	g.Stop()
	if g.Err() != nil {
		t.Fatal(g.Err())
	}
}

func TestFatalEndsTheGroup(t *testing.T) {
	var g Group
	stopped := make(chan struct{})
	g.Start(Part{"first", func(ctx context.Context) error { <-ctx.Done(); close(stopped); return nil }})
	g.Start(Part{"second", func(context.Context) error { return Fatal(errors.New("port in use")) }})
	err := g.Wait(context.Background())
	if err == nil || !strings.Contains(err.Error(), "second: port in use") {
		t.Fatalf("got %v", err)
	}
	<-stopped
}

func TestPersistRunsOnAfterPanicsOnly(t *testing.T) {
	for name, c := range map[string]struct {
		results []error // nil panics
		want    string
	}{
		"an error is the end":   {[]error{errors.New("done")}, "done"},
		"a panic is not":        {[]error{nil, errors.New("then")}, "then"},
		"a panic in every term": {[]error{nil, nil, errors.New("last")}, "last"},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			err := Persist(t.Context(), "p", func(context.Context) error {
				calls++
				if r := c.results[calls-1]; r != nil {
					return r
				}
				panic("again")
			})
			if err == nil || err.Error() != c.want || calls != len(c.results) {
				t.Errorf("%v after %d calls", err, calls)
			}
		})
	}
}

type once struct{ ran bool }

func (o *once) Run(context.Context) error {
	if o.ran {
		return errors.New("it ran before")
	}
	o.ran = true
	return nil
}

func TestRenewedRunsEachOnce(t *testing.T) {
	made := 0
	run, err := Renewed(func() (*once, error) { made++; return &once{}, nil })
	if err != nil || made != 1 {
		t.Fatal(made, err)
	}
	for range 3 {
		if err := run(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if made != 3 {
		t.Errorf("%d were made for 3 runs", made)
	}
}

func TestAgainIsFatal(t *testing.T) {
	var g Group
	g.Start(Part{"p", func(context.Context) error { return Again(errors.New("full")) }})
	if err := g.Wait(t.Context()); !errors.Is(err, ErrAgain) || !strings.Contains(err.Error(), "full") {
		t.Errorf("%v", err)
	}
}
