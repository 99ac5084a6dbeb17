// Package cron reads the schedules of CronJobs: five fields (minute, hour, day of month, month, day of
// week) with lists, ranges, steps and English names, or one of @yearly, @annually, @monthly, @weekly,
// @daily, @midnight, @hourly and @every <duration>. See https://en.wikipedia.org/wiki/Cron.
package cron

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // where the machine has no time zones
)

// Schedule says when a job is due. Values are immutable.
type Schedule struct {
	minute, hour, day, month, weekday uint64 // one bit a value
	anyDay, anyWeekday                bool   // the field is a star
	every                             time.Duration
}

// horizon bounds the search for the next time: a schedule like 30 February never comes.
const horizon = 5

var macros = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

type span struct {
	min, max int
	names    map[string]int
}

var (
	minutes = span{max: 59}
	hours   = span{max: 23}
	days    = span{min: 1, max: 31}
	months  = span{min: 1, max: 12, names: map[string]int{
		"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12}}
	weekdays = span{max: 6, names: map[string]int{
		"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}}
)

// Parse reads a schedule.
func Parse(text string) (*Schedule, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, errors.New("empty spec string")
	}
	if d, ok := strings.CutPrefix(text, "@every "); ok {
		every, err := time.ParseDuration(strings.TrimSpace(d))
		if err != nil {
			return nil, fmt.Errorf("failed to parse duration %s: %w", text, err)
		}
		return &Schedule{every: max(every.Truncate(time.Second), time.Second)}, nil
	}
	if strings.HasPrefix(text, "@") {
		m, ok := macros[text]
		if !ok {
			return nil, fmt.Errorf("unrecognized descriptor: %s", text)
		}
		text = m
	}
	f := strings.Fields(text)
	if len(f) != 5 {
		return nil, fmt.Errorf("expected exactly 5 fields, found %d: [%s]", len(f), strings.Join(f, " "))
	}
	s := &Schedule{anyDay: star(f[2]), anyWeekday: star(f[4])}
	for i, target := range []*uint64{&s.minute, &s.hour, &s.day, &s.month, &s.weekday} {
		bits, err := []span{minutes, hours, days, months, weekdays}[i].parse(f[i])
		if err != nil {
			return nil, err
		}
		*target = bits
	}
	return s, nil
}

// star says whether a field takes any value: a star with a step does not.
func star(f string) bool {
	for _, part := range strings.Split(f, ",") {
		if part == "*" || part == "?" || part == "*/1" || part == "?/1" {
			return true
		}
	}
	return false
}

func (s span) parse(text string) (uint64, error) {
	var bits uint64
	for _, part := range strings.Split(text, ",") {
		b, err := s.parsePart(part)
		if err != nil {
			return 0, err
		}
		bits |= b
	}
	return bits, nil
}

// parsePart reads one of *, n, n-m, each with an optional /step.
func (s span) parsePart(part string) (uint64, error) {
	body, stepText, stepped := strings.Cut(part, "/")
	step := 1
	if stepped {
		n, err := strconv.Atoi(stepText)
		if err != nil || n < 1 {
			return 0, fmt.Errorf("step of range should be a positive number: %s", part)
		}
		step = n
	}
	lo, hi := s.min, s.max
	if body != "*" && body != "?" {
		from, to, ranged := strings.Cut(body, "-")
		var err error
		if lo, err = s.number(from); err != nil {
			return 0, err
		}
		switch {
		case ranged:
			if hi, err = s.number(to); err != nil {
				return 0, err
			}
		case !stepped:
			hi = lo
		}
	}
	if lo < s.min {
		return 0, fmt.Errorf("beginning of range (%d) below minimum (%d): %s", lo, s.min, part)
	}
	if hi > s.max {
		return 0, fmt.Errorf("end of range (%d) above maximum (%d): %s", hi, s.max, part)
	}
	if lo > hi {
		return 0, fmt.Errorf("beginning of range (%d) beyond end of range (%d): %s", lo, hi, part)
	}
	var bits uint64
	for v := lo; v <= hi; v += step {
		bits |= 1 << v
	}
	return bits, nil
}

func (s span) number(text string) (int, error) {
	if v, ok := s.names[strings.ToLower(text)]; ok {
		return v, nil
	}
	v, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("failed to parse int from %s: %w", text, err)
	}
	return v, nil
}

// Next is the first time after t, in t's location, at which the schedule is due; the zero time
// when there is none within five years.
func (s *Schedule) Next(t time.Time) time.Time {
	if s.every > 0 {
		return t.Add(s.every - time.Duration(t.Nanosecond()))
	}
	limit := t.Year() + horizon
	t = t.Truncate(time.Second).Add(time.Minute - time.Duration(t.Second())*time.Second)
	for t.Year() <= limit {
		y, m, d := t.Date()
		switch {
		case s.month&(1<<m) == 0:
			t = forward(t, time.Date(y, m+1, 1, 0, 0, 0, 0, t.Location()))
		case !s.onDay(t):
			t = forward(t, time.Date(y, m, d+1, 0, 0, 0, 0, t.Location()))
		case s.hour&(1<<t.Hour()) == 0:
			// Adding to the instant, not to the clock, walks through changes of the clock.
			t = t.Add(time.Hour - time.Duration(t.Minute())*time.Minute)
		case s.minute&(1<<t.Minute()) == 0:
			t = t.Add(time.Minute)
		default:
			return t
		}
	}
	return time.Time{}
}

// forward takes the later time: where midnight does not exist, Date may step back.
func forward(now, next time.Time) time.Time {
	if !next.After(now) {
		return now.Add(time.Hour)
	}
	return next
}

// onDay: with both day fields given, either suffices.
func (s *Schedule) onDay(t time.Time) bool {
	day, weekday := s.day&(1<<t.Day()) != 0, s.weekday&(1<<t.Weekday()) != 0
	if s.anyDay || s.anyWeekday {
		return day && weekday
	}
	return day || weekday
}
