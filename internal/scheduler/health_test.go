package scheduler

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// TestHealthFollowsTheWork: a scheduler that listens but does not get on with its pods is not healthy.
func TestHealthFollowsTheWork(t *testing.T) {
	defer func(d time.Duration) { stuckAfter = d }(stuckAfter)
	stuckAfter = 0
	s := &Scheduler{ready: make(chan struct{}), slots: make(chan struct{}), queue: newQueue(time.Second, time.Second, func(place, string) {})}
	if s.Health(t.Context()) == nil {
		t.Error("it is healthy before its caches are filled")
	}
	close(s.ready)
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("with nothing to do: %v", err)
	}
	ended := make(chan struct{})
	s.mu.Lock() // which the attempt will need
	go func() {
		s.schedule(t.Context(), &item{pod: &corev1.Pod{}})
		close(ended)
	}()
	<-s.slots // the attempt has begun
	if s.Health(t.Context()) == nil {
		t.Error("it is healthy while its loop is stuck")
	}
	go func() { s.slots <- struct{}{} }() // for the attempt to give back
	s.mu.Unlock()
	<-ended
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("when the loop turns again: %v", err)
	}
}
