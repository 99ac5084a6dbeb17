package fairness

import (
	"math"
	"time"
)

// How seats are divided among the levels by what they need (KEP-1040).
const (
	// adjustPeriod is how often, while requests come and go.
	adjustPeriod = 10 * time.Second
	// smoothing is how much of what a level needed before is remembered after a period: half of it after five minutes.
	smoothing = 0.977
)

// demand follows how many seats a level could use, over a period.
type demand struct {
	began, at    time.Time
	now          float64
	sum, squares float64 // integrals over time, in seconds
	most         float64
}

func (s *demand) set(now time.Time, seats float64) {
	s.pass(now)
	s.now = seats
	s.most = max(s.most, seats)
}

func (s *demand) pass(now time.Time) {
	if t := now.Sub(s.at).Seconds(); t > 0 {
		s.sum += t * s.now
		s.squares += t * s.now * s.now
		s.at = now
	}
}

// end gives what the period was like, and begins the next.
func (s *demand) end(now time.Time) (average, deviation, most float64) {
	s.pass(now)
	average, most = s.now, s.most
	if t := now.Sub(s.began).Seconds(); t > 0 {
		average = s.sum / t
		deviation = math.Sqrt(max(s.squares/t-average*average, 0))
	}
	*s = demand{began: now, at: now, now: s.now, most: s.now}
	return average, deviation, most
}

// shareStats are what the last division of seats knew of a level.
type shareStats struct{ most, average, deviation, smoothed, target float64 }

// update takes over a period that was so many times as long as it should be.
func (s *shareStats) update(periods, average, deviation, most float64) {
	s.average, s.deviation, s.most = average, deviation, most
	envelope := min(most, average+deviation)
	keep := math.Pow(smoothing, periods)
	s.smoothed = max(envelope, keep*s.smoothed+(1-keep)*envelope)
}

// changed notes that requests of the level came or went.
func (l *level) changed(now time.Time) {
	l.demand.set(now, float64(l.used+l.waitingSeats))
	l.gauges.set(now, l)
}

// adjust divides the seats anew when it is time. Nothing does that by the clock: whoever comes or goes does, or the alarm of those that wait.
func (d *dispatcher) adjust(now time.Time) {
	span := now.Sub(d.since)
	if span < adjustPeriod {
		return
	}
	d.since = now
	for _, l := range d.order {
		average, deviation, most := l.demand.end(now)
		l.shares.update(span.Seconds()/adjustPeriod.Seconds(), average, deviation, most)
	}
	d.divide()
	for _, l := range d.order {
		d.tick(l)
		d.serve(l)
		l.changed(now)
	}
}

// divide gives each level its seats until the next time. Exempt ones take what they need besides; the others share all seats that levels have of
// their own by what they need, none less than what it keeps or needs of its own, and none more than it may borrow.
func (d *dispatcher) divide() {
	all := 0
	var levels []*level
	var claims []claim
	for _, l := range d.order {
		if l.leaving {
			continue
		}
		if l.exempt {
			l.shares.target = max(float64(l.reserved), l.shares.smoothed)
			l.current = int(max(float64(l.reserved), l.shares.most))
			continue
		}
		all += l.nominal
		least := max(float64(l.reserved), min(float64(l.nominal), l.shares.most))
		l.shares.target = max(least, l.shares.smoothed)
		levels = append(levels, l)
		claims = append(claims, claim{least: least, most: float64(l.most), target: l.shares.target})
	}
	var seats []float64
	d.fraction, seats = share(float64(all), claims)
	for i, l := range levels {
		l.current = int(math.Round(seats[i]))
	}
}

// claim is what one has to get, may get and would like to get.
type claim struct{ least, most, target float64 }

func (c claim) at(fraction float64) float64 { return max(c.least, min(c.most, fraction*c.target)) }

// share divides a total so that each gets the same fraction of its target, within its bounds. Where the least of all are too much, they shrink
// alike; where the most of all are not enough, something is left.
func share(total float64, claims []claim) (fraction float64, out []float64) {
	least, reach := 0.0, 0.0
	for _, c := range claims {
		least += c.least
		if c.target > 0 {
			reach = max(reach, c.most/c.target)
		}
	}
	out = make([]float64, len(claims))
	if least >= total {
		for i, c := range claims {
			out[i] = c.least
			if least > 0 {
				out[i] *= total / least
			}
		}
		return 0, out
	}
	low, high := 0.0, reach
	for range 64 { // what each gets grows with the fraction, so that halving the range finds it
		fraction = (low + high) / 2
		sum := 0.0
		for _, c := range claims {
			sum += c.at(fraction)
		}
		if sum < total {
			low = fraction
		} else {
			high = fraction
		}
	}
	fraction = high
	for i, c := range claims {
		out[i] = c.at(fraction)
	}
	return fraction, out
}

// wake sees to it that seats are divided anew though nobody comes or goes, since somebody waits.
func (d *dispatcher) wake() {
	if d.alarm != nil {
		return
	}
	d.alarm = time.AfterFunc(max(adjustPeriod-d.now().Sub(d.since), 0), func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.alarm = nil
		d.adjust(d.now())
		for _, l := range d.order {
			if l.waiting > 0 {
				d.wake()
				return
			}
		}
	})
}
