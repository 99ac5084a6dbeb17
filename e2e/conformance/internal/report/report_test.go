package report

import (
	"bytes"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hyperkube/e2e/conformance/internal/specs"
	"hyperkube/e2e/conformance/internal/suite"
)

var (
	all = []specs.Spec{{Name: "b works", Area: "B"}, {Name: "a <works>", Area: "A"}, {Name: "a *waits*", Area: "A"}, {Name: "b later", Area: "B"}}
	ran = []suite.Result{
		{Spec: all[0], State: suite.Passed, Took: time.Second},
		{Spec: all[1], State: suite.Failed, Took: 2 * time.Second, Cause: "because\nof ```this```"},
		{Spec: all[2], State: suite.TimedOut, Took: 3 * time.Minute, Cause: "no end"},
		{Spec: all[3], State: suite.NotRun},
	}
)

func TestTableAndFailures(t *testing.T) {
	var out bytes.Buffer
	if Print(&out, ran, all, time.Hour) {
		t.Error("a run with failures passed")
	}
	for _, want := range []string{"FAILED: a <works> (2s)", "    because", "TIMED OUT: a *waits* (3m0s)", "1 of 4 specs passed in 1h0m0s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if b, a := strings.Index(out.String(), "\nB "), strings.Index(out.String(), "\nA "); b < 0 || a < b {
		t.Errorf("areas are not in the order of the list:\n%s", out.String())
	}
	if !Print(&out, ran[:1], all, time.Hour) {
		t.Error("a run without failures did not pass")
	}
}

func TestDocument(t *testing.T) {
	path := filepath.Join(t.TempDir(), "RESULTS.md")
	run := Run{Commit: "abc", Kubernetes: "v1", Machine: "m", Date: time.Unix(0, 0), Procs: 4, Took: time.Hour}
	if err := Markdown(path, run, ran, all); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"on commit `abc`, 1970-01-01 00:00 UTC: **1 of 4 specs passed**", "| B | 1 | 0 | 0 | 1 | 1s |", "| A | 0 | 2 | 0 | 0 | 3m2s |",
		`- a \*waits\* (timed out, 3m0s)`, "  because\n  of '''this'''",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestJUnit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "junit.xml")
	if err := JUnit(path, ran, time.Hour); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got junitSuite
	if err := xml.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if got.Tests != 4 || got.Failures != 2 || got.Skipped != 1 || len(got.Cases) != 4 || got.Cases[1].Failure.Message != "because" {
		t.Errorf("%+v", got)
	}
}
