package suite

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"hyperkube/e2e/conformance/internal/specs"
)

// pretend is a shell that behaves like e2e.test: it runs the specs that it is asked for by their names.
const pretend = `
echo ------------------------------
for a; do
	case $a in --ginkgo.focus=*) ;; *) continue ;; esac
	name=${a#--ginkgo.focus=}; name=${name%\$}
	printf '%s\n%s\n' ------------------------------ "$name [label]"
	case $name in
	hang*) trap 'printf "%s\n" "• [INTERRUPTED] [1.000 seconds]" "  [INTERRUPTED] by the user" ------------------------------; exit 1' INT; sleep 60 & wait ;;
	stubborn*) trap '' INT; exec sleep 60 ;;
	die*) exit 7 ;;
	fail*) printf '%s\n' '• [FAILED] [0.100 seconds]' "$name" '  [FAILED] because' '  In [It] at' ;;
	*) printf '%s\n' '• [0.100 seconds]' ;;
	esac
	echo ------------------------------
done`

func play1(t *testing.T, ctx context.Context, limit time.Duration, names ...string) map[string]Result {
	t.Helper()
	var all []specs.Spec
	for _, n := range names {
		all = append(all, specs.Spec{Name: n, Area: "a"})
	}
	out := map[string]Result{}
	for _, r := range Run(ctx, Config{
		Command: func(args ...string) *exec.Cmd {
			cmd := exec.Command("bash", append([]string{"-c", pretend, "e2e.test"}, args...)...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			return cmd
		},
		Logs: t.TempDir(), Procs: 2, Limit: limit, Grace: 200 * time.Millisecond, Report: func(Result, Progress) {},
	}, all) {
		if _, twice := out[r.Spec.Name]; twice {
			t.Errorf("%s has two results", r.Spec.Name)
		}
		out[r.Spec.Name] = r
	}
	if len(out) != len(names) {
		t.Errorf("%d results for %d specs", len(out), len(names))
	}
	return out
}

func TestGivesEverySpecOneResult(t *testing.T) {
	var names []string
	want := map[string]State{}
	for i := range 12 {
		for kind, state := range map[string]State{"pass": Passed, "fail": Failed, "die": Failed, "hang": TimedOut} {
			if kind == "hang" && i > 1 || kind == "die" && i > 3 {
				continue
			}
			name := fmt.Sprintf("%s %d", kind, i)
			names, want[name] = append(names, name), state
		}
	}
	got := play1(t, t.Context(), 500*time.Millisecond, names...)
	for name, state := range want {
		if got[name].State != state {
			t.Errorf("%s: %s (%s), want %s", name, got[name].State, got[name].Cause, state)
		}
	}
	if c := got["fail 0"].Cause; c != "because" {
		t.Errorf("cause of the failure: %q", c)
	}
	if c := got["hang 0"].Cause; !strings.Contains(c, "did not end within 500ms") {
		t.Errorf("cause of the hanging spec: %q", c)
	}
}

func TestEndsAProcessThatDoesNotStop(t *testing.T) {
	got := play1(t, t.Context(), 200*time.Millisecond, "stubborn", "pass")
	if got["stubborn"].State != TimedOut || got["pass"].State != Passed {
		t.Errorf("%+v", got)
	}
}

func TestEndsWhenTheRunTakesTooLong(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errors.New("enough"))
	defer cancel()
	got := play1(t, ctx, time.Minute, "hang 1", "hang 2", "hang 3", "hang 4", "hang 5")
	notRun := 0
	for _, r := range got {
		switch r.State {
		case NotRun:
			notRun++
		case TimedOut:
		default:
			t.Errorf("%s: %s", r.Spec.Name, r.State)
		}
		if !strings.Contains(r.Cause, "enough") {
			t.Errorf("%s: cause %q", r.Spec.Name, r.Cause)
		}
	}
	if notRun == 0 {
		t.Error("every spec ran")
	}
}

func TestDealsFullHandsUntilTheEnd(t *testing.T) {
	var left []specs.Spec
	for i := range 40 {
		left = append(left, specs.Spec{Name: fmt.Sprint(i), Area: fmt.Sprint("area ", i/3)})
	}
	var taken []specs.Spec
	var sizes []int
	next := 0
	for len(left) > 0 {
		taken, left = deal(left, 4)
		sizes = append(sizes, len(taken))
		for _, s := range taken {
			if s.Name != fmt.Sprint(next) {
				t.Fatalf("spec %s came in the place of %d", s.Name, next)
			}
			next++
		}
	}
	if taken, left = deal(nil, 4); len(taken)+len(left) != 0 {
		t.Error("a spec came out of nothing")
	}
	if next != 40 || sizes[0] != 4 || sizes[len(sizes)-1] != 1 || len(sizes) > 24 {
		t.Errorf("%d specs in hands of %v", next, sizes)
	}
}
