package cronjob

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"hyperkube/internal/object/cron"
)

// manyMissed is from how many missed times on something is said about it.
const manyMissed = 100

// due is what a schedule says at a moment.
type due struct {
	last   time.Time // the latest time that is due and was not started; zero for none
	missed int       // how many are due
	next   time.Time // zero for never
}

// at looks for times after the last one that was started, or after the CronJob was made; startingDeadlineSeconds leaves out what is
// too old to be started.
func at(c *batchv1.CronJob, s *cron.Schedule, now time.Time) due {
	from := c.CreationTimestamp.Time
	if t := c.Status.LastScheduleTime; t != nil {
		from = t.Time
	}
	if d := c.Spec.StartingDeadlineSeconds; d != nil {
		if limit := now.Add(-time.Duration(*d) * time.Second); limit.After(from) {
			from = limit
		}
	}
	var out due
	t := s.Next(from.In(now.Location()))
	for ; !t.IsZero() && !t.After(now); t = s.Next(t) {
		out.last = t
		out.missed++
	}
	out.next = t
	return out
}

// zone is now in the time zone of a CronJob, or else in that of this process.
func zone(c *batchv1.CronJob, now time.Time) (time.Time, error) {
	if c.Spec.TimeZone == nil {
		return now.Local(), nil
	}
	loc, err := time.LoadLocation(*c.Spec.TimeZone)
	if err != nil {
		return now, err
	}
	return now.In(loc), nil
}
