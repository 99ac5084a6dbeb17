package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// kubectl is a command line for the cluster of a machine.
type kubectl struct {
	h       *host
	program []string
	env     []string
	ns      string
}

// upstream is Kubernetes' own kubectl, unmodified.
func (h *host) upstream() kubectl {
	h.t.Helper()
	program := filepath.Join(filepath.Dir(h.bin), "upstream", "kubectl")
	if _, err := os.Stat(program); err != nil {
		h.t.Fatal("build/upstream/kubectl is missing: run scripts/build-upstream kubectl first")
	}
	return kubectl{h: h, program: []string{program}}
}

// embedded is the kubectl in the binary.
func (h *host) embedded() kubectl { return kubectl{h: h, program: []string{h.bin, "kubectl"}} }

// with is the same command line with more in its environment.
func (k kubectl) with(env ...string) kubectl {
	k.env = append(k.env[:len(k.env):len(k.env)], env...)
	return k
}

// on is the same command line for a part of the test.
func (k kubectl) on(t *testing.T) kubectl {
	k.h = k.h.on(t)
	return k
}

// in makes a namespace and gives the command line for it. The namespace goes with the test's part.
func (k kubectl) in(ns string) kubectl {
	k.h.t.Helper()
	k.run("create", "namespace", ns)
	k.h.t.Cleanup(func() { _, _, _ = k.try("delete", "namespace", ns, "--wait=false") })
	// The account of its pods is made by a controller.
	k.run("wait", "--for=create", "serviceaccount/default", "-n", ns, "--timeout=20s")
	k.ns = ns
	return k
}

func (k kubectl) cmd(args ...string) *exec.Cmd {
	if k.ns != "" {
		args = append([]string{"--namespace=" + k.ns}, args...)
	}
	c := k.h.in(k.program[0], append(k.program[1:len(k.program):len(k.program)], args...)...)
	c.Env = append(c.Env, k.env...)
	return c
}

// do runs a command with an input.
func (k kubectl) do(input string, args ...string) (stdout, stderr string, code int) {
	k.h.t.Helper()
	c := k.cmd(args...)
	var out, errOut bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(input), &out, &errOut
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		k.h.t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errOut.String(), c.ProcessState.ExitCode()
}

func (k kubectl) try(args ...string) (stdout, stderr string, code int) {
	k.h.t.Helper()
	return k.do("", args...)
}

// run gives what a command prints, and fails the test when it fails.
func (k kubectl) run(args ...string) string {
	k.h.t.Helper()
	return k.feed("", args...)
}

// feed is run with an input.
func (k kubectl) feed(input string, args ...string) string {
	k.h.t.Helper()
	out, errOut, code := k.do(input, args...)
	if code != 0 {
		k.h.t.Fatalf("kubectl %s: exit code %d: %s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// says fails the part of the test unless a command succeeds and prints each of the texts.
func (k kubectl) says(args []string, want ...string) {
	k.h.t.Helper()
	out, errOut, code := k.try(args...)
	if code != 0 {
		k.h.t.Errorf("kubectl %s: exit code %d: %s%s", strings.Join(args, " "), code, out, errOut)
	}
	has(k.h.t, "kubectl "+strings.Join(args, " "), out, want...)
}

// fails gives what a command that must fail says.
func (k kubectl) fails(args ...string) string {
	k.h.t.Helper()
	out, errOut, code := k.try(args...)
	if code == 0 {
		k.h.t.Errorf("kubectl %s: succeeded: %s", strings.Join(args, " "), out)
	}
	return errOut
}

// start runs a command beside the test.
func (k kubectl) start(args ...string) *process {
	k.h.t.Helper()
	return start(k.h.t, k.cmd(args...))
}

// terminal runs a command beside the test that has a terminal.
func (k kubectl) terminal(rows, columns uint16, args ...string) *process {
	k.h.t.Helper()
	return startTerminal(k.h.t, k.cmd(args...), rows, columns)
}

// has fails the test unless a text has all of the others. How wide a gap is means nothing.
func has(t *testing.T, what, got string, want ...string) {
	t.Helper()
	narrow := gaps.ReplaceAllString(got, " ")
	for _, w := range want {
		if !strings.Contains(narrow, gaps.ReplaceAllString(w, " ")) {
			t.Errorf("%s: no %q in\n%.3000s", what, w, got)
		}
	}
}

var gaps = regexp.MustCompile(` +`)

// words makes arguments of a text without quotes.
func words(s string) []string { return strings.Fields(s) }
