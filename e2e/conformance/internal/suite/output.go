package suite

import (
	"bufio"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"hyperkube/e2e/conformance/internal/specs"
)

// listener hears what happens in a process of e2e.test.
type listener interface {
	started(s specs.Spec)
	// line is called for every line that a spec, or the suite before the first of them, prints.
	line(text string)
	ended(s specs.Spec, state State, took time.Duration)
	// setup is called when the suite could not start, or could not end as it should.
	setup(text string)
}

// verdict is the line by which Ginkgo ends a spec: "• [1.234 seconds]", "• [FAILED] [1.234 seconds]", "S [SKIPPED] [0.010 seconds]",
// or, with the suite's name in place of the bullet, what comes before and after all specs.
var verdict = regexp.MustCompile(`^(•|S|P|\[[A-Za-z]+\])(?: \[([A-Z!]+)\])? \[([0-9.]+) seconds\]$`)

const delimiter = "------------------------------"

// follow reads the verbose output of e2e.test for the specs that it was asked to run, and tells what happens.
func follow(r io.Reader, asked []specs.Spec, tell listener) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var current *specs.Spec
	heading := false
	for {
		text, err := in.ReadString('\n')
		if text = strings.TrimRight(text, "\n"); text != "" {
			if m := verdict.FindStringSubmatch(text); m != nil {
				conclude(m, current, tell)
			} else if s := headed(text, asked); heading && s != nil && (current == nil || current.Name != s.Name) {
				current = s
				tell.started(*s)
			}
			heading = text == delimiter
			tell.line(text)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func conclude(m []string, current *specs.Spec, tell listener) {
	if strings.HasPrefix(m[1], "[") {
		if m[2] != "" {
			tell.setup(m[1] + " " + m[2])
		}
		return
	}
	if current == nil {
		return
	}
	seconds, err := strconv.ParseFloat(m[3], 64)
	if err != nil {
		return // the expression above allows "1.2.3", Ginkgo does not write it
	}
	state := Failed
	switch {
	case m[1] == "S":
		state = Skipped
	case m[2] == "":
		state = Passed
	}
	tell.ended(*current, state, time.Duration(seconds*float64(time.Second)))
}

// headed is the spec that a line is the heading of. Labels may follow the name, and some names are the beginning of others.
func headed(text string, asked []specs.Spec) *specs.Spec {
	var found *specs.Spec
	for i, s := range asked {
		if strings.HasPrefix(text, s.Name) && (found == nil || len(s.Name) > len(found.Name)) {
			found = &asked[i]
		}
	}
	return found
}

// cause is why a spec failed, from what it printed: the message of the first failure, in a few lines.
func cause(lines []string) string {
	const most = 6
	begin := -1
	for i, l := range lines {
		if t := strings.TrimSpace(l); strings.HasPrefix(t, "[FAILED]") || strings.HasPrefix(t, "[PANICKED]") || strings.HasPrefix(t, "[INTERRUPTED]") {
			begin = i
			break
		}
	}
	if begin < 0 {
		return ""
	}
	var out []string
	for _, l := range lines[begin:] {
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "In [") || l == delimiter || strings.HasPrefix(l, "STEP:") || len(out) == most {
			break
		}
		l = failedAt.ReplaceAllString(strings.TrimSpace(strings.TrimPrefix(l, "[FAILED]")), "")
		if l != "" {
			out = append(out, shorten(l))
		}
	}
	return strings.Join(out, "\n")
}

// failedAt is the time of a failure, which says nothing of it.
var failedAt = regexp.MustCompile(` @ \d\d/\d\d/\d\d \d\d:\d\d:\d\d(\.\d+)?$`)

func shorten(l string) string {
	const most = 300
	if len(l) > most {
		return strings.ToValidUTF8(l[:most], "") + "…"
	}
	return l
}
