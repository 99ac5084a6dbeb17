package e2e

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
)

// load is a client that asks all the time, each time over a new connection.
type load struct {
	*process
	stop func()
}

// load starts a client on the machine, and returns when it has its first answer.
func (h *host) load(url string) *load {
	h.t.Helper()
	p := start(h.t, h.in(h.webapp(), "load", url))
	p.expect("asking\n")
	return &load{p, func() { p.signal(syscall.SIGTERM) }}
}

// podLoad starts a client in a pod of its own.
func podLoad(k kubectl, name, url string) *load {
	k.h.t.Helper()
	k.run("run", name, "--image="+webImage, "--restart=Never", "--command", "--", "/webapp", "load", url)
	k.run("wait", "--for=condition=Ready", "pod/"+name, "--timeout=30s")
	p := k.start("logs", "-f", name)
	p.expect("asking\n")
	return &load{p, func() { k.run("delete", "pod", name, "--wait=false") }}
}

// result is what the client saw.
type result struct {
	Answers  map[string]int
	Failures []string
}

// finish ends the client and gives what it saw.
func (l *load) finish() result {
	l.t.Helper()
	l.stop()
	if code := l.wait(); code != 0 {
		l.t.Fatalf("%s: exit code %d: %s", l.name, code, l.rest())
	}
	var r result
	if err := json.Unmarshal([]byte(l.rest()), &r); err != nil {
		l.t.Fatalf("%s: %v: %q", l.name, err, l.rest())
	}
	return r
}

// allAnswered fails the test unless every client was answered every time, and by each of the versions.
func allAnswered(t *testing.T, loads map[string]*load, versions ...string) {
	t.Helper()
	for name, l := range loads {
		r := l.finish()
		if len(r.Failures) > 0 {
			t.Errorf("%s: %d of %v requests failed: %s", name, len(r.Failures), r.Answers, strings.Join(r.Failures[:min(5, len(r.Failures))], "; "))
		}
		for _, v := range versions {
			if r.Answers[v] == 0 {
				t.Errorf("%s: no answer of %s among %v", name, v, r.Answers)
			}
		}
		t.Logf("%s: %v", name, r.Answers)
	}
}
