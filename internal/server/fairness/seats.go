package fairness

import (
	"math"
	"time"

	"hyperkube/internal/server/request"
)

// What requests are worth; upstream's figures.
const (
	objectsPerSeat = 100
	watchesPerSeat = 10
	mostSeats      = 10
	// mostOfLevel bounds what one request may take of its level's seats.
	mostOfLevel = 0.15
	// eventTime is how long a seat is taken to tell as many watchers of a change as a seat is for.
	eventTime = 5 * time.Millisecond
)

// work is what a request is thought to be worth: seats while it is served, and seats of what it sets off for a while after that.
type work struct {
	first, last int
	linger      time.Duration
}

// estimate judges a request for a level: a list by how many objects it reads, a write by how many watchers are told of it.
func (f *Fairness) estimate(req *request.Request, r *rule) work {
	w := work{first: 1}
	if !req.IsResourceRequest {
		return w
	}
	most := r.level.widest()
	switch req.Verb {
	case "list":
		if f.cfg.Objects != nil {
			w.first = min(max(seats(f.objects(req), objectsPerSeat), 1), most)
		}
	case "create", "update", "patch", "delete":
		if f.cfg.Watchers == nil {
			break
		}
		n := f.cfg.Watchers(req)
		f.metrics.watchers.WithLabelValues(r.level.name, r.name).Observe(float64(n))
		if n < watchesPerSeat {
			break
		}
		// Fewer seats than it should be are kept for longer, so that the work remains the same.
		want := seats(n, watchesPerSeat)
		w.last = min(want, most)
		w.linger = time.Duration(float64(eventTime) * float64(want) / float64(w.last))
	}
	return w
}

// objects that a list reads: no more than a page of it, unless a selector has it look further.
func (f *Fairness) objects(req *request.Request) int {
	if req.Name != "" {
		return 1
	}
	n := f.cfg.Objects(req)
	if req.Limit > 0 && req.FieldSelector == "" && req.LabelSelector == "" {
		n = int(min(int64(n), req.Limit))
	}
	return n
}

func seats(n, perSeat int) int { return (n + perSeat - 1) / perSeat }

// widest is how many seats of the level one request may take. What it is made of is set with the level and does not change otherwise.
func (l *level) widest() int {
	return int(l.wide.Load())
}

func (l *level) setWidest() {
	l.wide.Store(int64(min(max(int(math.Ceil(float64(l.nominal)*mostOfLevel)), 1), mostSeats)))
}
