package up

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"hyperkube/internal/lifecycle"
	"hyperkube/internal/network/apply"
	"hyperkube/internal/portuse"
	"hyperkube/roles/kubectl"
)

// Run runs a master with a node, or a node that joins a cluster elsewhere, until ctx ends. ready is called once, when the node
// is Ready or the start has failed, with what there is to tell.
func Run(ctx context.Context, cfg Config, ready func(summary string, failure error)) error {
	began := time.Now()
	told := false
	err := cfg.holding(func() error {
		var g lifecycle.Group
		offline, err := cfg.start(ctx, &g)
		if err != nil {
			g.Stop()
			return err
		}
		slog.Default().Info("the node runs", "component", "up", "node", cfg.NodeName, "ready", !offline, "took", time.Since(began).Round(time.Millisecond))
		told = true
		ready(cfg.summary(offline), nil)
		return g.Wait(ctx)
	})
	err = portuse.Explain(err)
	if !told {
		ready("", err)
		if errors.Is(err, lifecycle.ErrAgain) { // Whoever waits was told that the start failed.
			err = errors.New(err.Error())
		}
	}
	return err
}

// holding completes the configuration and calls f as the one process that runs this node. When f leaves no node behind, its
// directories go.
func (c *Config) holding(f func() error) error {
	if err := c.complete(); err != nil {
		return err
	}
	if err := c.tools(); err != nil {
		return err
	}
	if err := c.Layout.Create(); err != nil {
		return err
	}
	release, err := c.Layout.Lock()
	if err != nil {
		return err
	}
	defer release()
	if err = f(); err != nil {
		c.Layout.Discard()
	}
	return err
}

// tools refuses a machine that lacks what services and the pods' network cannot be without: better no node than one that is
// Ready and answers nothing.
func (c *Config) tools() error {
	if c.Disabled["proxy"] && c.Disabled["flannel"] {
		return nil
	}
	if err := apply.Missing(); err != nil {
		return fmt.Errorf("%w; without, only --disable proxy,flannel works", err)
	}
	return nil
}

// start returns when the node is Ready, or, offline, when all runs and waits for the API server.
func (c *Config) start(ctx context.Context, g *lifecycle.Group) (offline bool, err error) {
	if c.Join != nil {
		return c.startMember(ctx, g)
	}
	return false, c.startMaster(ctx, g)
}

func (c *Config) startMaster(ctx context.Context, g *lifecycle.Group) error {
	if err := c.save(); err != nil {
		return err
	}
	var engines chan engine
	if !c.Disabled["kubelet"] {
		engines = startEngine(ctx, *c)
	}
	m, err := newMaster(ctx, *c)
	if err != nil {
		return err
	}
	if err := m.start(ctx, g); err != nil {
		return err
	}
	if engines == nil {
		return nil
	}
	w := &worker{cfg: *c, engine: engines, api: m.api.Direct(as("system:node:"+c.NodeName, "system:nodes")), kubeletArgs: m.kubeletArgs()}
	return w.start(ctx, g)
}

// startMember runs the node of a cluster elsewhere.
func (c *Config) startMember(ctx context.Context, g *lifecycle.Group) (offline bool, err error) {
	m, err := c.admit(ctx)
	if err != nil {
		return false, err
	}
	// From here on the machine is a node, whatever happens, and reset must find it.
	if err := c.save(); err != nil {
		return false, err
	}
	var engines chan engine
	if !c.Disabled["kubelet"] {
		engines = startEngine(ctx, *c)
	}
	if offline, err = c.learn(ctx, m.api); err != nil {
		return false, err
	}
	if err := c.save(); err != nil {
		return false, err
	}
	g.Start(lifecycle.Part{Name: "client certificate", Run: func(ctx context.Context) error { return m.id.Rotate(ctx, m.rest) }})
	w := &worker{cfg: *c, engine: engines, api: m.api, kubeletArgs: c.memberKubeletArgs(), offline: offline}
	return offline, w.start(ctx, g)
}

// summary is what is printed when the node is Ready, or runs and is not.
func (c *Config) summary(offline bool) string {
	if offline {
		return fmt.Sprintf("Node %s runs, and will be Ready when its cluster answers; %s cannot be reached now.\n", c.NodeName, c.Join.Server)
	}
	if c.Join != nil {
		return fmt.Sprintf("Node %s is Ready, in the cluster at %s.\n", c.NodeName, c.Join.Server)
	}
	return fmt.Sprintf(`The cluster runs; node %s is Ready.
  %s get cs,nodes
  kubeconfig: %s
`, c.NodeName, c.kubectl(), c.Layout.AdminKubeconfig())
}

// kubectl is the command line of the cluster, as it works where up was called: by the file's path, when the name alone would not
// find it, and with the kubeconfig, when another would be taken without.
func (c *Config) kubectl() string {
	line := "hyperkube kubectl"
	if self, err := os.Executable(); err == nil && !isCalled(self, "hyperkube") {
		line = self + " kubectl"
	}
	if kubectl.Kubeconfig() != c.Layout.AdminKubeconfig() {
		line += " --kubeconfig " + c.Layout.AdminKubeconfig()
	}
	return line
}

// isCalled says whether a name alone starts a program.
func isCalled(program, name string) bool {
	found, err := exec.LookPath(name)
	if err != nil {
		return false
	}
	a, errA := os.Stat(program)
	b, errB := os.Stat(found)
	return errA == nil && errB == nil && os.SameFile(a, b)
}
