package static

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

const manifest = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\nspec:\n  containers:\n  - {name: c, image: img}\n"

func TestParse(t *testing.T) {
	p, err := Parse([]byte(manifest), "/f", "Node1", nil)
	if err != nil || p.Name != "web-node1" || p.Namespace != "default" || p.UID == "" || p.Spec.NodeName != "Node1" || !IsStatic(p) || IsMirror(p) {
		t.Errorf("%+v, %v", p, err)
	}
	q, _ := Parse([]byte(manifest+"\n"), "/f", "Node1", nil)
	if q.UID == p.UID {
		t.Error("other content, same UID")
	}
	for _, bad := range []string{"", "kind: Pod", manifest + "  odd: 1\n", "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n",
		manifest + "  volumes:\n  - {name: v, secret: {secretName: s}}\n"} {
		if _, err := Parse([]byte(bad), "/f", "n", nil); err == nil {
			t.Errorf("accepted: %q", bad)
		}
	}
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	type change struct {
		add bool
		uid types.UID
	}
	changes := make(chan change, 8)
	m := New(Config{Path: dir, NodeName: "n",
		Update: func(p *corev1.Pod) { changes <- change{true, p.UID} }, Remove: func(u types.UID) { changes <- change{false, u} }})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	next := func(add bool) types.UID {
		t.Helper()
		select {
		case c := <-changes:
			if c.add != add {
				t.Fatalf("%+v, want add=%v", c, add)
			}
			return c.uid
		case <-ctx.Done():
			t.Fatal("nothing was told")
		}
		return ""
	}
	path := filepath.Join(dir, "web.yaml")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(manifest)
	first := next(true)
	write(manifest + "  hostNetwork: true\n")
	if next(false) != first || next(true) == first {
		t.Error("a changed file is not another pod")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next(false)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
