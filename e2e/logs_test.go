package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

func testLogs(t *testing.T, k kubectl) {
	k = k.in("logs")
	k.run("run", "counter", "--image="+webImage, "--restart=Never", "--labels=app=counter", "--command", "--", "/webapp", "count", "15", "100ms")
	k.run("wait", "--for=condition=Ready", "pod/counter", "--timeout=30s")
	p := k.start("logs", "-f", "counter") // while it runs, until it ends
	p.expect("1\n2\n3\n")
	p.expect("15\n")
	if code := p.wait(); code != 0 || p.rest() != "" {
		t.Errorf("logs -f: exit code %d, %q", code, p.rest())
	}
	k.run("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/counter", "--timeout=20s")
	all := k.run("logs", "counter")
	if lines := strings.Split(strings.TrimSpace(all), "\n"); len(lines) != 15 || lines[0] != "1" || lines[14] != "15" {
		t.Errorf("logs: %q", all)
	}
	if got := k.run("logs", "counter", "--tail=2"); got != "14\n15\n" {
		t.Errorf("logs --tail=2: %q", got)
	}
	if got := k.run("logs", "counter", "--limit-bytes=3"); got != "1\n2" {
		t.Errorf("logs --limit-bytes=3: %q", got)
	}
	if stamp, text, _ := strings.Cut(k.run("logs", "counter", "--timestamps", "--tail=1"), " "); text != "15\n" {
		t.Errorf("logs --timestamps: %q %q", stamp, text)
	} else if at, err := time.Parse(time.RFC3339Nano, stamp); err != nil || time.Since(at) > time.Minute {
		t.Errorf("logs --timestamps: %q: %v", stamp, err)
	}
	if got := k.run("logs", "-l", "app=counter", "--prefix", "--tail=1"); got != "[pod/counter/counter] 15\n" {
		t.Errorf("logs -l --prefix: %q", got)
	}
	has(t, "logs --previous", k.fails("logs", "counter", "--previous"), `previous terminated container "counter" in pod "counter" not found`)
	has(t, "logs of no container", k.fails("logs", "counter", "-c", "other"), "container other is not valid for pod counter")

	// A client that leaves does not keep the container's log from being followed by the next.
	k.run("run", "server", "--image="+webImage, "--labels=app=server")
	k.run("wait", "--for=condition=Ready", "pod/server", "--timeout=30s")
	p = k.start("logs", "-f", "server")
	p.expect("serving v1")
	p.signal(syscall.SIGINT)
	p.wait()
	p = k.start("logs", "-f", "server")
	p.expect("serving v1")
	k.run("delete", "pod", "server", "--wait=false")
	p.expect("ending v1") // what it says while it ends is still to be seen
	if code := p.wait(); code != 0 {
		t.Errorf("logs -f of a deleted pod: exit code %d, %q", code, p.rest())
	}
}
