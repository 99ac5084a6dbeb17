package cron

import (
	"testing"
	"time"
)

func TestNext(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	utc := func(s string) time.Time {
		v, err := time.ParseInLocation("2006-01-02 15:04:05", s, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	local := func(s string) time.Time {
		v, err := time.ParseInLocation("2006-01-02 15:04:05", s, berlin)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tc := range []struct {
		schedule   string
		from, want time.Time
	}{
		{"* * * * *", utc("2026-01-01 10:00:00"), utc("2026-01-01 10:01:00")},
		{"* * * * *", utc("2026-01-01 10:00:59"), utc("2026-01-01 10:01:00")},
		{"*/15 * * * *", utc("2026-01-01 10:46:01"), utc("2026-01-01 11:00:00")},
		{"5/20 * * * *", utc("2026-01-01 10:00:00"), utc("2026-01-01 10:05:00")},
		{"0 9-17/4 * * mon-fri", utc("2026-01-02 17:30:00"), utc("2026-01-05 09:00:00")},
		{"0 0 13 * 5", utc("2026-01-01 00:00:00"), utc("2026-01-02 00:00:00")},
		{"0 0 */10 * 5", utc("2026-01-03 00:00:00"), utc("2026-01-09 00:00:00")}, // a star with a step is a restriction as any other
		{"0 0 13 * *", utc("2026-01-14 00:00:00"), utc("2026-02-13 00:00:00")},
		{"0 0 29 2 *", utc("2026-01-01 00:00:00"), utc("2028-02-29 00:00:00")},
		{"0 0 30 2 *", utc("2026-01-01 00:00:00"), time.Time{}},
		{"@monthly", utc("2026-12-02 00:00:00"), utc("2027-01-01 00:00:00")},
		{"@every 90s", utc("2026-01-01 10:00:00"), utc("2026-01-01 10:01:30")},
		// 02:30 does not exist on 2026-03-29 in Berlin.
		{"30 2 * * *", local("2026-03-28 03:00:00"), local("2026-03-30 02:30:00")},
		{"0 3 * * *", local("2026-03-28 04:00:00"), local("2026-03-29 03:00:00")},
	} {
		s, err := Parse(tc.schedule)
		if err != nil {
			t.Errorf("%q: %v", tc.schedule, err)
			continue
		}
		if got := s.Next(tc.from); !got.Equal(tc.want) {
			t.Errorf("%q after %s: %s, want %s", tc.schedule, tc.from, got, tc.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, bad := range []string{"", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7",
		"5-1 * * * *", "*/0 * * * *", "a * * * *", "@never", "@every soon", "1-2-3 * * * *"} {
		if s, err := Parse(bad); err == nil {
			t.Errorf("%q: no error, %+v", bad, s)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("*/5 1,2 * jan-mar ?")
	f.Add("@every 1h")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := Parse(text); err == nil {
			from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			if next := s.Next(from); !next.IsZero() && !next.After(from) {
				t.Errorf("%q: next %s", text, next)
			}
		}
	})
}
