package client

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// progress is how far an informer has come in the history of its resource. The zero value has seen nothing.
type progress struct {
	mu    sync.Mutex
	at    string        // all up to this resource version has been told
	moved chan struct{} // closed when at moves; nil while nobody waits
}

func (p *progress) reach(version string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = version
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}

// passed says whether version was reached, and if not, what is closed at the next move.
func (p *progress) passed(version string) (yes bool, moved <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at != "" {
		order, err := resourceversion.CompareResourceVersion(p.at, version)
		if err != nil || order >= 0 {
			return err == nil, nil, err
		}
	}
	if p.moved == nil {
		p.moved = make(chan struct{})
	}
	return false, p.moved, nil
}

// Reached waits until all handlers have been told everything up to a resource version of the informer's resource: what was
// written at that version is then known to whoever follows the informer. It fails when ctx ends first, when the informer is stopped, and
// for versions that cannot be compared (KEP-5504).
func (n *Informer[T]) Reached(ctx context.Context, version string) error {
	for {
		yes, moved, err := n.i.progress.passed(version)
		if yes || err != nil {
			return err
		}
		select {
		case <-moved:
		case <-n.i.done:
			return context.Canceled
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
