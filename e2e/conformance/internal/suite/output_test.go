package suite

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"hyperkube/e2e/conformance/internal/specs"
)

// heard writes down what follow tells.
type heard struct{ events []string }

func (h *heard) started(s specs.Spec) { h.events = append(h.events, "start "+s.Name) }
func (h *heard) line(string)          {}
func (h *heard) ended(s specs.Spec, state State, took time.Duration) {
	h.events = append(h.events, fmt.Sprintf("%s %s %s", state, s.Name, took))
}
func (h *heard) setup(text string) { h.events = append(h.events, "setup "+text) }

const printed = `[SynchronizedBeforeSuite] 
k8s.io/kubernetes@v1.37.2/test/e2e/e2e.go:69
[SynchronizedBeforeSuite] PASSED [0.013 seconds]
------------------------------
[sig-x] Things should work [Conformance] [sig-x, Conformance]
k8s.io/kubernetes@v1.37.2/test/e2e/x.go:1
  STEP: [sig-x] Things should work [Conformance] is only mentioned @ 11/25/26 19:40:56.1
• [2.077 seconds]
------------------------------
[sig-x] Things should work for others [Conformance] [sig-x, Conformance]
k8s.io/kubernetes@v1.37.2/test/e2e/x.go:2

• [FAILED] [300.500 seconds]
[sig-x] Things [It] should work for others [Conformance] [sig-x, Conformance]
k8s.io/kubernetes@v1.37.2/test/e2e/x.go:2

  [FAILED] no such thing
  In [It] at: k8s.io/kubernetes@v1.37.2/test/e2e/x.go:9 @ 11/25/26 19:41:56.1
------------------------------
[sig-x] Things might not apply [Conformance] [sig-x, Conformance]
k8s.io/kubernetes@v1.37.2/test/e2e/x.go:3
S [SKIPPED] [0.010 seconds]
------------------------------
[SynchronizedAfterSuite] [FAILED] [0.001 seconds]
`

func TestFollowsTheOutputOfASuite(t *testing.T) {
	asked := []specs.Spec{
		{Name: "[sig-x] Things should work"}, {Name: "[sig-x] Things should work for others [Conformance]"}, {Name: "[sig-x] Things might not apply [Conformance]"},
	}
	var h heard
	if err := follow(strings.NewReader(printed), asked, &h); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"start [sig-x] Things should work", "passed [sig-x] Things should work 2.077s",
		"start [sig-x] Things should work for others [Conformance]", "failed [sig-x] Things should work for others [Conformance] 5m0.5s",
		"start [sig-x] Things might not apply [Conformance]", "skipped [sig-x] Things might not apply [Conformance] 10ms",
		"setup [SynchronizedAfterSuite] FAILED",
	}
	if !reflect.DeepEqual(h.events, want) {
		t.Errorf("heard\n%s\nwant\n%s", strings.Join(h.events, "\n"), strings.Join(want, "\n"))
	}
}

func TestFindsTheCauseOfAFailure(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"message and value": {
			"  STEP: doing @ 1\n  [FAILED] the pod did not start: Timed out after 300.001s.\n  Expected Pod to be in <v1.PodPhase>: \"Running\"\n\n  In [It] at: x.go:9 @ 11/25/26 19:41:56.1\n  more",
			"the pod did not start: Timed out after 300.001s.\nExpected Pod to be in <v1.PodPhase>: \"Running\"",
		},
		"time in the line": {"  [FAILED] no @ 11/25/26 19:41:56.123\n  In [It]", "no"},
		"nothing":          {"  STEP: all is well", ""},
	} {
		if got := cause(strings.Split(c.text, "\n")); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
