// Package specs knows the specs of upstream's conformance suite and the area of the API that each belongs to.
package specs

import (
	"bufio"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Spec is one test, under the name that e2e.test knows it by.
type Spec struct{ Name, Area string }

// Serial tells whether nothing else may run beside the spec.
func (s Spec) Serial() bool { return strings.Contains(s.Name, "[Serial]") }

// Slow tells whether upstream itself expects the spec to take long.
func (s Spec) Slow() bool { return strings.Contains(s.Name, "[Slow]") }

// Parse reads a list of specs: a line for each, below the heading "# area" that it belongs to. Areas and specs keep their order.
func Parse(text string) ([]Spec, error) {
	var out []Spec
	area := ""
	seen := map[string]bool{}
	for in := bufio.NewScanner(strings.NewReader(text)); in.Scan(); {
		line := strings.TrimSpace(in.Text())
		if name, ok := strings.CutPrefix(line, "# "); ok {
			area = name
			continue
		}
		if line == "" {
			continue
		}
		if area == "" || seen[line] {
			return nil, fmt.Errorf("list of specs: %q has no area, or is there twice", line)
		}
		seen[line] = true
		out = append(out, Spec{line, area})
	}
	return out, nil
}

// Areas are the areas of specs, in their order.
func Areas(all []Spec) []string {
	var out []string
	for _, s := range all {
		if !slices.Contains(out, s.Area) {
			out = append(out, s.Area)
		}
	}
	return out
}

// Select gives the specs whose name or area matches focus and not skip; an empty expression is left out.
func Select(all []Spec, focus, skip string) ([]Spec, error) {
	matcher := func(flag, expr string) (*regexp.Regexp, error) {
		if expr == "" {
			return nil, nil
		}
		re, err := regexp.Compile(expr)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		return re, nil
	}
	with, err := matcher("FOCUS", focus)
	if err != nil {
		return nil, err
	}
	without, err := matcher("SKIP", skip)
	if err != nil {
		return nil, err
	}
	matches := func(re *regexp.Regexp, s Spec) bool { return re.MatchString(s.Name) || re.MatchString(s.Area) }
	var out []Spec
	for _, s := range all {
		if (with == nil || matches(with, s)) && (without == nil || !matches(without, s)) {
			out = append(out, s)
		}
	}
	return out, nil
}

// Pick gives the specs of a list of names, one a line; lines with # are comments. A name that is not known is an error.
func Pick(all []Spec, list string) ([]Spec, error) {
	byName := map[string]Spec{}
	for _, s := range all {
		byName[s.Name] = s
	}
	var out []Spec
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s, ok := byName[line]
		if !ok {
			return nil, fmt.Errorf("there is no conformance spec %q", line)
		}
		out = append(out, s)
	}
	return out, nil
}
