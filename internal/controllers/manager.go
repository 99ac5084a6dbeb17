package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"hyperkube/internal/lifecycle"
)

// Manager runs controllers together. One that returns an error or panics is started again after a wait that
// grows, and the others go on.
type Manager struct {
	all []Controller

	mu    sync.Mutex
	state map[string]error // why a controller does not work; nil for one that does
}

var errNotStarted = errors.New("not started yet")

// NewManager takes the controllers to run. Their New has registered them with the informers already.
func NewManager(all ...Controller) *Manager {
	m := &Manager{all: all, state: map[string]error{}}
	for _, c := range all {
		m.state[c.Name()] = errNotStarted
	}
	return m
}

// Run runs all controllers until ctx ends, and returns when the last has returned. The informers must have synced.
func (m *Manager) Run(ctx context.Context) error {
	var g lifecycle.Group
	for _, c := range m.all {
		g.Start(lifecycle.Part{Name: c.Name(), Run: func(ctx context.Context) error { return m.run(ctx, c) }})
	}
	return g.Wait(ctx)
}

func (m *Manager) run(ctx context.Context, c Controller) error {
	m.set(c.Name(), nil)
	err := lifecycle.Guard(func() error { return c.Run(ctx) })
	if err == nil && ctx.Err() == nil {
		err = errors.New("returned before it was told to")
	}
	m.set(c.Name(), err)
	return err
}

func (m *Manager) set(name string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state[name] = err
}

// Health is nil while the named controller runs, and otherwise says why it does not.
func (m *Manager) Health(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err, ok := m.state[name]
	if !ok {
		return fmt.Errorf("no controller %q runs here", name)
	}
	return err
}

// Names are those of the controllers, sorted.
func (m *Manager) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.state))
}

// Has says whether the named controller is one of those that run here.
func (m *Manager) Has(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.state[name]
	return ok
}
