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
