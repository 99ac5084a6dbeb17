package system

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"hyperkube/e2e/bench/machine"
)

// hyperkube is the built binary, started as its users start it.
type hyperkube struct {
	box        *machine.Box
	root, data string
	options    Options
}

// Binary is the built program below the root of the repository.
func Binary(root string) string { return filepath.Join(root, "build", "hyperkube") }

func (h *hyperkube) Prepare(_ context.Context, o Options) error {
	h.options = o
	if o.ProxyMode != "" && o.ProxyMode != "iptables" {
		return fmt.Errorf("hyperkube %w: proxy mode %s", ErrNotOffered, o.ProxyMode)
	}
	return nil
}

func (h *hyperkube) flags() []string {
	flags := []string{"--data-dir", h.data, "--run-dir", runDir(h.box), "--node-name", NodeName, "--node-ip", h.box.IP, "--cluster-cidr", h.options.clusterCIDR()}
	var off []string
	for part, roles := range map[Part][]string{
		Controllers: {"controller-manager"}, Scheduler: {"scheduler"}, Proxy: {"proxy"}, Node: {"kubelet", "flannel", "dns"},
	} {
		if !h.options.has(part) {
			off = append(off, roles...)
		}
	}
	if len(off) > 0 {
		flags = append(flags, "--disable", strings.Join(off, ","))
	}
	return flags
}

func (h *hyperkube) run(ctx context.Context, args ...string) error {
	out, err := h.box.Command(ctx, false, append([]string{Binary(h.root)}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("hyperkube %s: %w: %s", args[0], err, out)
	}
	return nil
}

func (h *hyperkube) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	return h.run(ctx, append([]string{"up", "--detach"}, h.flags()...)...)
}

func (h *hyperkube) StartPart(_ context.Context, p Part) error {
	args := map[Part][]string{
		Proxy:     {"proxy", "--kubeconfig", h.kubeconfig(), "--hostname-override", NodeName, "--cluster-cidr", h.options.clusterCIDR()},
		Scheduler: {"scheduler", "--kubeconfig", h.kubeconfig()},
	}[p]
	if args == nil {
		return fmt.Errorf("hyperkube %w: %s as a process of its own", ErrNotOffered, p)
	}
	log, err := os.OpenFile(filepath.Join(h.data, string(p)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := h.box.Command(context.Background(), false, append([]string{Binary(h.root)}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	return cmd.Start()
}

func (h *hyperkube) kubeconfig() string { return filepath.Join(h.data, "admin.kubeconfig") }

func (h *hyperkube) Stop(ctx context.Context) error {
	return h.run(ctx, "down", "--data-dir", h.data, "--run-dir", runDir(h.box), "--pods")
}

func (h *hyperkube) Import(ctx context.Context, archive string) error {
	return h.run(ctx, "images", "import", "--data-dir", h.data, "--run-dir", runDir(h.box), archive)
}

func (h *hyperkube) Forget(context.Context) error {
	if err := machine.UnmountBelow(h.data); err != nil {
		return err
	}
	all, err := os.ReadDir(h.data)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Name() == "containerd" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(h.data, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (h *hyperkube) Client() (*rest.Config, error) {
	return clientcmd.BuildConfigFromFlags("", h.kubeconfig())
}

func (h *hyperkube) API() []string { return []string{"hyperkube"} }

func (h *hyperkube) Binaries() []string { return []string{Binary(h.root)} }

// runDir is where a system keeps its sockets.
func runDir(box *machine.Box) string { return filepath.Join(box.Dir, "run") }

// DataDir is where a system keeps its data: on the box's own disk or in its directory.
func DataDir(box *machine.Box, ownDisk bool) string {
	if ownDisk {
		return filepath.Join(box.Dir, "disk", "data")
	}
	return filepath.Join(box.Dir, "data")
}

// Reset gives the command that undoes the hyperkube of a box, when one was started there.
func Reset(root string, box *machine.Box) func() []string {
	return func() []string {
		for _, ownDisk := range []bool{true, false} {
			data := DataDir(box, ownDisk)
			if _, err := os.Stat(filepath.Join(data, "node.json")); err == nil {
				return []string{Binary(root), "reset", "--data-dir", data, "--run-dir", runDir(box)}
			}
		}
		return nil
	}
}

// Logs are the files in which the systems of a box tell what they do.
func Logs(box *machine.Box) []string {
	var all []string
	for _, ownDisk := range []bool{true, false} {
		// The pattern is well formed.
		found, _ := filepath.Glob(filepath.Join(DataDir(box, ownDisk), "*.log"))
		all = append(all, found...)
	}
	return all
}
