package e2e

import (
	"strings"
	"testing"
)

func testRun(t *testing.T, k kubectl) {
	k = k.in("run")
	p := k.terminal(33, 77, "run", "shell", "--rm", "-it", "--restart=Never", "--image="+webImage, "--command", "--", "/webapp", "terminal")
	p.expect("terminal of 33 rows and 77 columns")
	p.say("hello\n")
	p.expect("got hello")
	p.say("exit 5\n")
	p.expect(`pod "shell" deleted`)
	if code := p.wait(); code != 5 {
		t.Errorf("run --rm -it: exit code %d: %s", code, p.rest())
	}
	out, errOut, code := k.do("a line\n", "run", "pipe", "--rm", "-i", "--restart=Never", "--image="+webImage, "--command", "--", "/webapp", "terminal")
	if code != 0 || !strings.Contains(out, "got a line\nend of input\n") {
		t.Errorf("run --rm -i: exit code %d, %q, %q", code, out, errOut)
	}
	if out := k.run("get", "pods", "-o", "name"); out != "" {
		t.Errorf("run --rm left %q", out)
	}
}

// testDebug looks into a pod by a container that is added to it, by a copy of it, and into the node.
func testDebug(t *testing.T, k kubectl) {
	k = k.in("debug")
	k.run("run", "plain", "--image="+webImage)
	k.run("wait", "--for=condition=Ready", "pod/plain", "--timeout=30s")
	session := func(args ...string) {
		t.Helper()
		p := k.terminal(33, 77, append(append([]string{"debug"}, args...), "-it", "--image="+webImage2, "--", "/webapp", "terminal")...)
		p.expect("terminal of 33 rows and 77 columns")
		p.say("hello\n")
		p.expect("got hello")
		p.say("exit 0\n")
		if code := p.wait(); code != 0 {
			t.Errorf("debug %s: exit code %d: %s", strings.Join(args, " "), code, p.rest())
		}
	}
	session("plain", "--container=look", "--target=plain")
	k.run("wait", `--for=jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.reason}=Completed`, "pod/plain", "--timeout=20s")
	has(t, "log of the added container", k.run("logs", "plain", "-c", "look"), "got hello")
	k.says(words("describe pod plain"), "Ephemeral Containers:", "look:")
	session("plain", "--copy-to=copy")
	k.says(words("get pod copy -o jsonpath={.spec.containers[*].image}"), webImage+" "+webImage2)
	session("node/one")
}
