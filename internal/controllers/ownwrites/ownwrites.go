// Package ownwrites lets a controller work with the newest version of an object that it knows: what its cache shows, or what it wrote
// itself and the cache does not show yet. A decision on an older status would repeat what is done already.
package ownwrites

import (
	"sync"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
)

// Set remembers the last version written of each object, until the cache has it. The zero value is empty. It is safe for concurrent
// use.
type Set[T client.Object] struct {
	mu  sync.Mutex
	all map[object.Key]T
}

// Wrote is told what the server answered to a write.
func (s *Set[T]) Wrote(obj T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[object.Key]T{}
	}
	s.all[object.KeyOf(obj)] = obj
}

// Newest gives the newer one of what the cache has and what was written.
func (s *Set[T]) Newest(cached T) T {
	key := object.KeyOf(cached)
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.all[key]
	if !ok {
		return cached
	}
	if w.GetUID() == cached.GetUID() {
		if order, err := resourceversion.CompareResourceVersion(w.GetResourceVersion(), cached.GetResourceVersion()); err == nil && order > 0 {
			return w
		}
	}
	delete(s.all, key)
	return cached
}

// Forget drops an object that is gone.
func (s *Set[T]) Forget(key object.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, key)
}
