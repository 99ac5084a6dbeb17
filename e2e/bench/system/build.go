package system

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// upstreamDir is where upstream's programs are built to; a second run finds them there.
func upstreamDir(root string) string { return filepath.Join(root, "build", "upstream") }

// module is one of the modules that pin upstream's programs.
type module struct {
	dir      string
	packages []string
	names    []string // of the programs, where that is not the package's last element
	ldflags  string
}

var modules = []module{
	{
		dir: "kubernetes",
		packages: []string{
			"k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kube-controller-manager", "k8s.io/kubernetes/cmd/kube-scheduler",
			"k8s.io/kubernetes/cmd/kube-proxy", "k8s.io/kubernetes/cmd/kubelet",
		},
		ldflags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2",
	},
	{
		dir: "node",
		packages: []string{
			"github.com/containerd/containerd/v2/cmd/containerd",
			"github.com/containernetworking/plugins/plugins/ipam/host-local", "github.com/containernetworking/plugins/plugins/main/bridge",
			"github.com/containernetworking/plugins/plugins/main/loopback", "github.com/containernetworking/plugins/plugins/meta/portmap",
		},
		ldflags: "-s -w",
	},
	{dir: "node", packages: []string{"go.etcd.io/etcd/server/v3"}, names: []string{"etcd"}, ldflags: "-s -w"},
}

func (m module) name(i int) string {
	if i < len(m.names) {
		return m.names[i]
	}
	return filepath.Base(m.packages[i])
}

// Build builds what the systems need and is not there yet. hyperkube itself is built by make.
func Build(ctx context.Context, root string, systems []string) error {
	if _, err := os.Stat(Binary(root)); err != nil {
		return fmt.Errorf("hyperkube is not built: %w", err)
	}
	if !slices.Contains(systems, "upstream") {
		return nil
	}
	for _, m := range modules {
		if err := m.build(ctx, root); err != nil {
			return err
		}
	}
	return nil
}

func (m module) build(ctx context.Context, root string) error {
	for i, p := range m.packages {
		out := filepath.Join(upstreamDir(root), m.name(i))
		if _, err := os.Stat(out); err == nil {
			continue
		}
		fmt.Fprintf(os.Stderr, "building upstream's %s\n", m.name(i))
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", m.ldflags, "-o", out, p)
		cmd.Dir = filepath.Join(root, "e2e", "bench", "upstream", m.dir)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, text)
		}
	}
	return nil
}
