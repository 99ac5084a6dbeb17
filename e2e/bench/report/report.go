// Package report keeps what was measured: results.json is the record, one entry for each figure, and RESULTS.md is written from it.
// A run replaces the entries of the scenarios that it measured and leaves the others, each with the commit it was measured on.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Result is one figure with its samples, one for each round and system.
type Result struct {
	Scenario string               `json:"scenario"`
	Figure   string               `json:"figure"`
	Unit     string               `json:"unit"`
	Higher   bool                 `json:"higherIsBetter,omitempty"`
	Goal     float64              `json:"goal,omitempty"`
	Times    float64              `json:"goalTimesUpstream,omitempty"`
	Samples  map[string][]float64 `json:"samples"`
	Load     float64              `json:"loadAverage"`
	When     time.Time            `json:"when"`
	Commit   string               `json:"commit"`
}

// Load reads a record; there is none yet when the file does not exist.
func Load(file string) ([]Result, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Result
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return out, nil
}

// Save writes a record.
func Save(file string, all []Result) error {
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// Merge puts new results in the place of old ones of the same figure, system by system, in the order of known. Figures that
// are not known any more are dropped.
func Merge(known, before, now []Result) []Result {
	find := func(all []Result, k Result) *Result {
		i := slices.IndexFunc(all, func(r Result) bool { return r.Scenario == k.Scenario && r.Figure == k.Figure })
		if i < 0 {
			return nil
		}
		return &all[i]
	}
	var out []Result
	for _, k := range known {
		r := find(now, k)
		if r == nil || len(r.Samples) == 0 {
			r = find(before, k)
		}
		if r != nil && len(r.Samples) > 0 {
			r.Unit, r.Higher, r.Goal, r.Times = k.Unit, k.Higher, k.Goal, k.Times
			out = append(out, *r)
		}
	}
	return out
}

// Table is a Markdown table of results.
func Table(all []Result) string {
	var b strings.Builder
	b.WriteString("| scenario | figure | upstream | hyperkube | times better | goal | |\n|---|---|---|---|---|---|---|\n")
	for _, r := range all {
		up, hk := Sum(r.Samples["upstream"]), Sum(r.Samples["hyperkube"])
		fmt.Fprintf(&b, "| %s | %s, %s | %s | %s | %s | %s | %s |\n", r.Scenario, r.Figure, r.Unit, up, hk, r.ratio(), r.goal(), r.met())
	}
	return b.String()
}

// Times says how many times better hyperkube is, 0 when that is not known.
func (r Result) times(up, hk float64) float64 {
	if r.Higher {
		up, hk = hk, up
	}
	if hk == 0 {
		return 0
	}
	return up / hk
}

// ratio is that of the medians, and the least and the greatest of single rounds.
func (r Result) ratio() string {
	up, hk := r.Samples["upstream"], r.Samples["hyperkube"]
	if len(up) == 0 || len(hk) == 0 {
		return ""
	}
	var each []float64
	for i := range min(len(up), len(hk)) {
		each = append(each, r.times(up[i], hk[i]))
	}
	text := number(r.times(median(up), median(hk))) + " ×"
	if len(each) > 1 {
		text += fmt.Sprintf(" (%s–%s)", number(slices.Min(each)), number(slices.Max(each)))
	}
	return text
}

func (r Result) goal() string {
	switch {
	case r.Goal != 0 && r.Higher:
		return "≥ " + number(r.Goal)
	case r.Goal != 0:
		return "≤ " + number(r.Goal)
	case r.Times != 0:
		return "≥ " + number(r.Times) + " ×"
	}
	return ""
}

func (r Result) met() string {
	up, hk := r.Samples["upstream"], r.Samples["hyperkube"]
	var ok bool
	switch {
	case len(hk) == 0:
		return ""
	case r.Goal != 0 && r.Higher:
		ok = median(hk) >= r.Goal
	case r.Goal != 0:
		ok = median(hk) <= r.Goal
	case r.Times != 0 && len(up) > 0:
		ok = r.times(median(up), median(hk)) >= r.Times
	default:
		return ""
	}
	if ok {
		return "met"
	}
	return "missed"
}
