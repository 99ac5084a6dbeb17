package controllers

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

type fake struct {
	name string
	run  func(context.Context, int) error
	n    int
}

func (f *fake) Name() string { return f.name }

func (f *fake) Run(ctx context.Context) error {
	f.n++
	return f.run(ctx, f.n)
}

func TestManagerRestarts(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	recovered := make(chan struct{})
	wait := func(ctx context.Context, _ int) error { <-ctx.Done(); return nil }
	bad := &fake{name: "bad", run: func(ctx context.Context, n int) error {
		switch n {
		case 1:
			panic("the first time")
		case 2:
			return errors.New("the second time")
		}
		close(recovered)
		<-ctx.Done()
		return nil
	}}
	m := NewManager(&fake{name: "good", run: wait}, bad)
	require.ErrorContains(t, m.Health("good"), "not started")
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	<-recovered
	require.NoError(t, m.Health("bad"))
	require.NoError(t, m.Health("good"))
	require.Error(t, m.Health("other"))
	require.Equal(t, []string{"bad", "good"}, m.Names())
	cancel()
	require.NoError(t, <-done)
}
