package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"hyperkube/e2e/bench/report"
	"hyperkube/e2e/bench/scenario"
)

// publish prints the table and writes it as JSON beside the binaries.
func publish(o options, scenarios []scenario.Scenario, results []report.Result) error {
	fmt.Print("\n", report.Table(results), "\n")
	for _, s := range scenarios {
		fmt.Printf("%s: %s\n", s.Name, s.Sentence)
	}
	file := filepath.Join(o.root, "build", "bench", "results.json")
	if err := report.Save(file, results); err != nil {
		return err
	}
	fmt.Println("\nall samples:", file)
	return nil
}

// save replaces the committed record's entries of what was measured, when that is asked for. It is called after each scenario, so that
// a run that is broken off has not been for nothing.
func save(o options, results []report.Result) error {
	if !o.save {
		return nil
	}
	dir := filepath.Join(o.root, "e2e", "bench")
	record := filepath.Join(dir, "results.json")
	before, err := report.Load(record)
	if err != nil {
		return err
	}
	all := report.Merge(known(), before, results)
	if err := report.Save(record, all); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "RESULTS.md"), []byte(page(all)), 0o644)
}

// known are the figures of all scenarios, without samples.
func known() []report.Result {
	var out []report.Result
	for _, s := range scenario.All() {
		for _, f := range s.Figures {
			out = append(out, report.Result{Scenario: s.Name, Figure: f.Name, Unit: f.Unit, Higher: f.Higher, Goal: f.Goal, Times: f.Times})
		}
	}
	return out
}

// page is RESULTS.md.
func page(all []report.Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Measured\n\nWritten by `make bench SAVE=1`, by nothing else: %d cores, %s/%s, %s. Median over rounds, with the least and the greatest; \"times better\" is that of\nthe medians, with the least and the greatest of single rounds. Absolute figures are the machine's, ratios hold. Upstream is v1.37.2 with etcd 3.7.3.\n\n",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, kernel())
	b.WriteString(report.Table(all))
	b.WriteString("\n## What was measured\n\n| scenario | what | commit | when | load average before a round, at most |\n|---|---|---|---|---|\n")
	for _, s := range scenario.All() {
		for _, r := range all {
			if r.Scenario == s.Name {
				fmt.Fprintf(&b, "| %s | %s | %.12s | %s | %.1f |\n", s.Name, s.Sentence, r.Commit, r.When.Format("2006-01-02 15:04"), r.Load)
				break
			}
		}
	}
	return b.String()
}

func kernel() string {
	data, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown kernel"
	}
	return "Linux " + strings.TrimSpace(string(data))
}

// commit is that of the tree which was measured.
func commit(root string) string {
	out, err := exec.Command("git", "-C", root, "rev-parse", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
