package etcd

import "sync/atomic"

// askers run functions in goroutines that outlive them: what a request to etcd calls is deep, and growing the stack of a new
// goroutine for each costs more than some of the requests.
type askers struct {
	jobs chan func()
	idle *atomic.Int32
	done <-chan struct{} // ends those that are idle
}

// idleAskers is how many wait for further work.
const idleAskers = 64

func newAskers(done <-chan struct{}) askers {
	return askers{jobs: make(chan func()), idle: new(atomic.Int32), done: done}
}

// do runs f in another goroutine, at once.
func (a askers) do(f func()) {
	select {
	case a.jobs <- f:
	default:
		go a.run(f)
	}
}

func (a askers) run(f func()) {
	for f != nil {
		f()
		f = a.next()
	}
}

// next waits for work; nil: there is none, or enough others wait.
func (a askers) next() func() {
	defer a.idle.Add(-1)
	if a.idle.Add(1) > idleAskers {
		return nil
	}
	select {
	case f := <-a.jobs:
		return f
	case <-a.done:
		return nil
	}
}
