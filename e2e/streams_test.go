package e2e

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestStreams looks into containers with every kubectl and by every protocol that there is for it.
func TestStreams(t *testing.T) {
	h := newCluster(t)
	h.kubectl("run", "plain", "--image="+webImage, "--command", "--", "/webapp", "wait")
	h.kubectl("wait", "--for=condition=Ready", "pod/plain", "--timeout=30s")
	for name, k := range map[string]kubectl{
		"upstream, WebSocket": h.upstream(),
		"upstream, SPDY":      h.upstream().with("KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false", "KUBECTL_PORT_FORWARD_WEBSOCKETS=false"),
		"embedded, WebSocket": h.embedded(),
		"embedded, SPDY":      h.embedded().with("KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false", "KUBECTL_PORT_FORWARD_WEBSOCKETS=false"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Run("exec", func(t *testing.T) { testExec(t, k.on(t)) })
			t.Run("exec on a terminal", func(t *testing.T) { testExecTerminal(t, k.on(t)) })
			t.Run("attach", func(t *testing.T) { testAttach(t, k.on(t)) })
			t.Run("cp", func(t *testing.T) { testCopy(t, k.on(t)) })
			t.Run("port-forward", func(t *testing.T) { testPortForward(t, k.on(t)) })
		})
	}
	t.Run("logs", func(t *testing.T) { testLogs(t, h.on(t).upstream()) })
	t.Run("run", func(t *testing.T) { testRun(t, h.on(t).upstream()) })
	t.Run("debug", func(t *testing.T) { testDebug(t, h.on(t).upstream()) })
	t.Run("shutdown", func(t *testing.T) { testShutdown(t, h.on(t)) })
}

func testExec(t *testing.T, k kubectl) {
	out, errOut, code := k.do("a line\nexit 7\n", "exec", "-i", "plain", "--", "/webapp", "terminal")
	if code != 7 || out != "no terminal\ngot a line\n" || !strings.Contains(errOut, "exit code 7") {
		t.Errorf("exec -i: exit code %d, %q, %q", code, out, errOut)
	}
	if out := k.feed("a line", "exec", "-i", "plain", "--", "/webapp", "terminal"); out != "no terminal\ngot a line\nend of input\n" {
		t.Errorf("the end of the input: %q", out)
	}
	out, errOut, code = k.try("exec", "plain", "--", "/webapp", "nonsense")
	if code != 1 || out != "" || !strings.Contains(errOut, `what is ["nonsense"]?`) {
		t.Errorf("an error: exit code %d, %q, %q", code, out, errOut)
	}
	has(t, "no such program", k.fails("exec", "plain", "--", "/nonexistent"), "/nonexistent", "no such file or directory")
	has(t, "no such container", k.fails("exec", "plain", "-c", "other", "--", "/webapp", "wait"), "container other is not valid for pod plain")
	has(t, "no such pod", k.fails("exec", "nobody", "--", "/webapp", "wait"), `pods "nobody" not found`)
}

func testExecTerminal(t *testing.T, k kubectl) {
	p := k.terminal(33, 77, "exec", "-it", "plain", "--", "/webapp", "terminal")
	p.expect("terminal of 33 rows and 77 columns")
	p.resize(40, 100)
	p.expect("terminal of 40 rows and 100 columns")
	p.say("hello\n")
	p.expect("got hello")
	p.say("exit 9\n")
	if code := p.wait(); code != 9 {
		t.Errorf("exit code %d", code)
	}
	// Ctrl-C is for the program in the container.
	p = k.terminal(33, 77, "exec", "-it", "plain", "--", "/webapp", "count", "1000", "50ms")
	p.expect("3\r\n")
	p.say("\x03")
	if code := p.wait(); code != 0 {
		t.Errorf("after Ctrl-C: exit code %d: %s", code, p.rest())
	}
}

func testAttach(t *testing.T, k kubectl) {
	const pod = `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "terminal"}, "spec": {"restartPolicy": "Never", "containers": [
		{"name": "c", "image": "` + webImage + `", "command": ["/webapp", "terminal"], "stdin": true, "tty": true}]}}`
	k.feed(pod, "create", "-f", "-")
	defer k.run("delete", "pod", "terminal", "counter", "--ignore-not-found")
	k.run("run", "counter", "--image="+webImage, "--restart=Never", "--command", "--", "/webapp", "count", "100000", "20ms")
	k.run("wait", "--for=condition=Ready", "pod/terminal", "pod/counter", "--timeout=30s")
	p := k.terminal(33, 77, "attach", "-it", "terminal")
	p.expect("terminal of 33 rows and 77 columns")
	p.resize(34, 78)
	p.expect("terminal of 34 rows and 78 columns")
	p.say("hello\n")
	p.expect("got hello")
	p.say("exit 3\n")
	if code := p.wait(); code != 0 {
		t.Errorf("attach -it: exit code %d: %s", code, p.rest())
	}
	k.run("wait", "--for=jsonpath={.status.containerStatuses[0].state.terminated.exitCode}=3", "pod/terminal", "--timeout=20s")
	has(t, "attach after the end", k.fails("attach", "terminal"), "cannot attach a container in a completed pod; current phase is Failed")

	p = k.start("attach", "counter") // its output only
	p.expect("0\n")
	p.expect("1\n")
	k.run("delete", "pod", "counter", "--wait=false")
	if code := p.wait(); code != 0 {
		t.Errorf("attach: exit code %d: %s", code, p.rest())
	}
}

func testCopy(t *testing.T, k kubectl) {
	from, to := t.TempDir(), t.TempDir()
	files := map[string][]byte{"big": make([]byte, 8<<20), "sub/small": []byte("small\n"), "sub/empty": {}}
	if _, err := rand.Read(files["big"]); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		path := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	k.run("cp", from, "plain:/tmp/copy")
	k.run("cp", "plain:/tmp/copy", to)
	for name, data := range files {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes there and back of %d: %v", name, len(got), len(data), err)
		}
	}
	out, errOut, code := k.try("cp", "plain:/tmp/none", filepath.Join(to, "none"))
	if code != 1 || !strings.Contains(out+errOut, "no such file or directory") {
		t.Errorf("no such file: exit code %d, %q, %q", code, out, errOut)
	}
	k.run("exec", "plain", "--", "/webapp", "remove", "/tmp/copy")
}

func testPortForward(t *testing.T, k kubectl) {
	k.run("create", "deployment", "forward", "--image="+webImage)
	defer k.run("delete", "deployment", "forward")
	k.run("rollout", "status", "deployment/forward", "--timeout=30s")
	p := k.start("port-forward", "deployment/forward", "18080:8080")
	p.expect("Forwarding from 127.0.0.1:18080 -> 8080")
	for range 3 {
		k.h.fetches("http://127.0.0.1:18080/", "v1 forward-")
	}
	// A port on which nobody listens is an error of that connection, and of no other.
	q := k.start("port-forward", "deployment/forward", "18081:9")
	q.expect("Forwarding from 127.0.0.1:18081 -> 9")
	if got, err := k.h.fetch("http://127.0.0.1:18081/"); err == nil {
		t.Errorf("a closed port answered %q", got)
	}
	q.expect("onnection refused")
	p.signal(syscall.SIGINT)
	if code := p.wait(); code != 0 {
		t.Errorf("after Ctrl-C: exit code %d: %s", code, p.rest())
	}
	if got, err := k.h.fetch("http://127.0.0.1:18080/"); err == nil {
		t.Errorf("after Ctrl-C the port still answers %q", got)
	}
}
