// Package report tells people and machines how a conformance run went: a table by area and the causes of failures on the
// terminal, the same as a committed document, and JUnit.
package report

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"hyperkube/e2e/conformance/internal/specs"
	"hyperkube/e2e/conformance/internal/suite"
)

// row is an area's line of the table.
type row struct {
	area                            string
	passed, failed, skipped, notRun int
	took                            time.Duration
}

func (r *row) add(res suite.Result) {
	switch res.State {
	case suite.Passed:
		r.passed++
	case suite.Skipped:
		r.skipped++
	case suite.NotRun:
		r.notRun++
	default:
		r.failed++
	}
	r.took += res.Took
}

// rows are the lines of the areas, in the order of all, and their sum.
func rows(results []suite.Result, all []specs.Spec) ([]row, row) {
	sum := row{area: "total"}
	byArea := map[string]*row{}
	for _, res := range results {
		r := byArea[res.Spec.Area]
		if r == nil {
			r = &row{area: res.Spec.Area}
			byArea[res.Spec.Area] = r
		}
		r.add(res)
		sum.add(res)
	}
	var out []row
	for _, a := range specs.Areas(all) {
		if r := byArea[a]; r != nil {
			out = append(out, *r)
		}
	}
	return out, sum
}

// failures are the results that are neither passed nor skipped, by area and name.
func failures(results []suite.Result) []suite.Result {
	var out []suite.Result
	for _, r := range results {
		if r.State != suite.Passed && r.State != suite.Skipped {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b suite.Result) int {
		return cmp.Or(cmp.Compare(a.Spec.Area, b.Spec.Area), cmp.Compare(a.Spec.Name, b.Spec.Name))
	})
	return out
}

// Print writes the table and the failures for a terminal. It tells whether everything passed.
func Print(w io.Writer, results []suite.Result, all []specs.Spec, took time.Duration) bool {
	lines, sum := rows(results, all)
	failed := failures(results)
	for _, r := range failed {
		fmt.Fprintf(w, "\n%s: %s (%s)\n", strings.ToUpper(string(r.State)), r.Spec.Name, round(r.Took))
		for line := range strings.Lines(r.Cause) {
			fmt.Fprintf(w, "    %s\n", strings.TrimSpace(line))
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nAREA\tPASSED\tFAILED\tSKIPPED\tNOT RUN\tTIME OF SPECS")
	for _, r := range append(lines, sum) {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%s\n", r.area, r.passed, r.failed, r.skipped, r.notRun, round(r.took))
	}
	t.Flush()
	fmt.Fprintf(w, "\n%d of %d specs passed in %s\n", sum.passed, len(results), round(took))
	return len(failed) == 0
}

// Run is what the document says of the run besides its results.
type Run struct {
	Commit, Kubernetes, Machine string
	Date                        time.Time
	Procs                       int
	Took                        time.Duration
}

// Markdown writes the committed document.
func Markdown(path string, run Run, results []suite.Result, all []specs.Spec) error {
	var b strings.Builder
	lines, sum := rows(results, all)
	fmt.Fprintf(&b, `# Results of the conformance suite

Written by %[1]smake conformance%[1]s after a full run; do not edit.

Upstream's suite of Kubernetes %[2]s, unmodified, on commit %[1]s%[3]s%[1]s, %[4]s: **%[5]d of %[6]d specs passed**, in %[7]s with %[8]d processes
on two nodes of one machine (%[9]s).

| area | passed | failed | skipped | not run | time of specs |
|---|---|---|---|---|---|
`, "`", run.Kubernetes, run.Commit, run.Date.UTC().Format("2006-01-02 15:04 MST"), sum.passed, len(results), round(run.Took), run.Procs, run.Machine)
	for _, r := range lines {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %s |\n", r.area, r.passed, r.failed, r.skipped, r.notRun, round(r.took))
	}
	fmt.Fprintf(&b, "| **total** | **%d** | **%d** | **%d** | **%d** | **%s** |\n", sum.passed, sum.failed, sum.skipped, sum.notRun, round(sum.took))
	area := ""
	if failed := failures(results); len(failed) > 0 {
		b.WriteString("\n## What did not pass\n")
		for _, r := range failed {
			if r.Spec.Area != area {
				area = r.Spec.Area
				fmt.Fprintf(&b, "\n### %s\n\n", area)
			}
			fmt.Fprintf(&b, "- %s (%s, %s)\n", escape(r.Spec.Name), r.State, round(r.Took))
			if c := strings.TrimSpace(r.Cause); c != "" {
				fmt.Fprintf(&b, "\n  ```\n  %s\n  ```\n", strings.ReplaceAll(strings.ReplaceAll(c, "```", "'''"), "\n", "\n  "))
			}
		}
	}
	return replace(path, []byte(b.String()))
}

// escape keeps Markdown from reading a name as anything else.
func escape(name string) string {
	return strings.NewReplacer("*", `\*`, "<", `\<`, "_", `\_`).Replace(name)
}

func round(d time.Duration) time.Duration {
	if d > time.Minute {
		return d.Round(time.Second)
	}
	return d.Round(100 * time.Millisecond)
}

// replace writes a file whole or not at all.
func replace(path string, data []byte) error {
	if err := os.WriteFile(path+".tmp", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

type (
	junitSuite struct {
		XMLName  xml.Name    `xml:"testsuite"`
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitMessage `xml:"failure"`
		Skipped *junitMessage `xml:"skipped"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes the results in the form that most tools of continuous integration read.
func JUnit(path string, results []suite.Result, took time.Duration) error {
	seconds := func(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
	out := junitSuite{Name: "Kubernetes conformance", Tests: len(results), Time: seconds(took)}
	for _, r := range results {
		c := junitCase{Name: r.Spec.Name, Class: r.Spec.Area, Time: seconds(r.Took)}
		switch r.State {
		case suite.Passed:
		case suite.Skipped, suite.NotRun:
			out.Skipped++
			c.Skipped = &junitMessage{Message: string(r.State), Text: r.Cause}
		default:
			out.Failures++
			first, _, _ := strings.Cut(r.Cause, "\n")
			c.Failure = &junitMessage{Message: first, Text: r.Cause}
		}
		out.Cases = append(out.Cases, c)
	}
	data, err := xml.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	return replace(path, append([]byte(xml.Header), append(data, '\n')...))
}
