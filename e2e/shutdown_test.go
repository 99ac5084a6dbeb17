package e2e

import (
	"testing"
	"time"
)

// testShutdown stops the cluster while streams of every kind are open, and some were cut off without a word: none of
// them may keep it.
func testShutdown(t *testing.T, h *host) {
	k := h.upstream()
	spdy := k.with("KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false", "KUBECTL_PORT_FORWARD_WEBSOCKETS=false")
	k.run("create", "deployment", "web", "--image="+webImage)
	k.run("rollout", "status", "deployment/web", "--timeout=30s")
	for i, k := range []kubectl{k, spdy} {
		port := []string{"18080", "18081"}[i]
		p := k.start("port-forward", "deployment/web", port+":8080")
		p.expect("Forwarding from 127.0.0.1:" + port)
		h.fetches("http://127.0.0.1:"+port+"/", "v1 web-")
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-p.done
	}
	var open []*process
	for i, k := range []kubectl{k, spdy} {
		port := []string{"18082", "18083"}[i]
		p := k.start("port-forward", "deployment/web", port+":8080")
		p.expect("Forwarding from 127.0.0.1:" + port)
		h.fetches("http://127.0.0.1:"+port+"/", "v1 web-")
		q := k.start("exec", "-i", "plain", "--", "/webapp", "terminal")
		q.expect("no terminal")
		open = append(open, p, q)
	}
	follow := k.start("logs", "-f", "deployment/web")
	follow.expect("serving v1")
	watch := k.start("get", "pods", "--watch")
	watch.expect("plain")
	open = append(open, follow, watch)

	began := time.Now()
	h.run("down", "--data-dir", h.data)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the cluster took %v to stop", took)
	} else {
		t.Logf("the cluster took %v to stop", took)
	}
	for _, p := range open {
		p.wait()
	}
}
