package report

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	all := []Result{
		{Scenario: "a", Figure: "faster", Unit: "ms", Goal: 10, Samples: map[string][]float64{"upstream": {20, 40, 30}, "hyperkube": {10, 8, 12}}},
		{Scenario: "b", Figure: "more", Unit: "/s", Higher: true, Times: 5, Samples: map[string][]float64{"upstream": {100}, "hyperkube": {400}}},
		{Scenario: "c", Figure: "alone", Unit: "MB", Samples: map[string][]float64{"hyperkube": {0}}},
	}
	got := strings.Split(strings.TrimSpace(Table(all)), "\n")[2:]
	want := []string{
		"| a | faster, ms | 30 (20–40) | 10 (8–12) | 3 × (2–5) | ≤ 10 | met |",
		"| b | more, /s | 100 | 400 | 4 × | ≥ 5 × | missed |",
		"| c | alone, MB |  | 0 |  |  |  |",
	}
	for i, w := range want {
		if got[i] != w {
			t.Errorf("row %d is\n%s, want\n%s", i, got[i], w)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1: "1", 1.5: "1.5", 0.12345: "0.123", 1234.5: "1234", 99.96: "100", 0.0004: "0.0004", -2.25: "-2.25"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %s, want %s", v, got, want)
		}
	}
}

func TestMerge(t *testing.T) {
	one := func(s string, v float64) Result {
		return Result{Scenario: s, Figure: "f", Samples: map[string][]float64{"hyperkube": {v}}}
	}
	known := []Result{{Scenario: "a", Figure: "f", Unit: "ms"}, {Scenario: "b", Figure: "f"}, {Scenario: "c", Figure: "f"}}
	got := Merge(known, []Result{one("b", 1), one("a", 1), one("gone", 1)}, []Result{one("b", 2), {Scenario: "a", Figure: "f"}})
	if len(got) != 2 || got[0].Scenario != "a" || got[0].Unit != "ms" || got[1].Samples["hyperkube"][0] != 2 {
		t.Errorf("merged to %+v", got)
	}
}
