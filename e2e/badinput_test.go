package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// refuses runs commands that must fail, each with an error that says why.
func (h *host) refuses(t *testing.T, table map[string]refusal) {
	t.Helper()
	for name, c := range table {
		out, err := h.try(c.args...)
		if err == nil || strings.Contains(out, "panic") {
			t.Errorf("%s: %v: %q, want an error", name, err, out)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: %q, want an error with %q", name, out, w)
			}
		}
	}
}

type refusal struct {
	args []string
	want []string
}

// TestBadCommandLines: what nobody can mean is refused before anything is changed.
func TestBadCommandLines(t *testing.T) {
	h := newHost(t)
	theirs := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(theirs, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty := filepath.Join(t.TempDir(), "none")
	h.refuses(t, map[string]refusal{
		"unknown role":              {[]string{"kube-frobnicator"}, []string{"kube-frobnicator", "known are:"}},
		"unknown part of a command": {[]string{"images", "paint"}, []string{"unknown command", "paint", "known are: import"}},
		"unknown flag":              {[]string{"up", "--no-such-flag"}, []string{"no-such-flag"}},
		"unknown flag of a role":    {[]string{"kube-scheduler", "--no-such-flag"}, []string{"no-such-flag"}},
		"unexpected argument":       {[]string{"up", "quickly"}, []string{"quickly"}},
		"bad address":               {[]string{"up", "--node-ip", "here"}, []string{"node-ip", "is not an IP address"}},
		"bad range":                 {[]string{"up", "--service-cluster-ip-range", "10.0.0.0"}, []string{"service-cluster-ip-range", "invalid CIDR"}},
		"bad port":                  {[]string{"up", "--secure-port", "https"}, []string{"secure-port", "https"}},
		"bad name":                  {[]string{"up", "--node-name", "My Node", "--data-dir", empty}, []string{"My Node", "--node-name"}},
		"unknown part":              {[]string{"up", "--disable", "gui", "--data-dir", empty}, []string{"gui", "scheduler"}},
		"status without a cluster":  {[]string{"status", "--data-dir", empty}, []string{"no cluster was started", empty}},
		"no such image":             {[]string{"images", "import", "--data-dir", empty, "/nonexistent.tar"}, []string{"/nonexistent.tar", "no such file"}},
		"no data store":             {[]string{"apiserver"}, []string{"--etcd-servers"}},
		"unwritable data directory": {[]string{"up", "--data-dir", "/proc/hyperkube"}, []string{"/proc/hyperkube"}},
		"a file as data directory":  {[]string{"up", "--data-dir", file("file", "")}, []string{"file", "not a directory"}},
		"somebody's data directory": {[]string{"up", "--data-dir", theirs}, []string{theirs, "holds other things", "file"}},
		"somebody's run directory":  {[]string{"up", "--data-dir", empty, "--run-dir", theirs}, []string{theirs, "holds other things"}},
		"reset of somebody's":       {[]string{"reset", "--data-dir", theirs}, []string{theirs, "is not one of hyperkube"}},
		"the root":                  {[]string{"reset", "--data-dir", "/"}, []string{"of the node's own"}},
		"scheduler's file, type":    {[]string{"kube-scheduler", "--config", file("s", "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nparallelism: many\n")}, []string{"parallelism", "int32"}},
		"scheduler's file, field":   {[]string{"kube-scheduler", "--config", file("s2", "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nparalelism: 3\n")}, []string{"paralelism"}},
		"kubelet's file, type":      {[]string{"kubelet", "--config", file("k", "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: lots\n")}, []string{"maxPods"}},
		"proxy's file, kind":        {[]string{"kube-proxy", "--config", file("p", "apiVersion: v1\nkind: Pod\n")}, []string{"Pod"}},
		"etcd's file, field":        {[]string{"etcd", "--config-file", file("e", "nmae: x\n")}, []string{"nmae"}},
		"no such config file":       {[]string{"kubelet", "--config", "/nonexistent.yaml"}, []string{"/nonexistent.yaml"}},
		"broken kubeconfig":         {[]string{"kube-scheduler", "--kubeconfig", file("kc", "clusters: 5\n")}, []string{"kc"}},
		"no such kubeconfig":        {[]string{"kube-controller-manager", "--kubeconfig", "/nonexistent.conf"}, []string{"/nonexistent.conf"}},
		"join without token":        {[]string{"join", "https://127.0.0.1:1", "--data-dir", empty}, []string{"token"}},
		"join with a bad token":     {[]string{"join", "https://127.0.0.1:1", "--data-dir", empty, "--token", "abc"}, []string{"token"}},
	})
	if _, err := os.Stat(empty); err == nil {
		t.Error("a refused command left a data directory")
	}
	for _, n := range []string{"file", "s", "k"} {
		if _, err := os.Stat(filepath.Join(theirs, n)); err != nil {
			t.Error("a refused command removed what is not its own:", err)
		}
	}
}
