package down

import (
	"context"
	"errors"
	"fmt"
	"strings"

	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/cluster"
	"hyperkube/internal/network/cni"
	"hyperkube/internal/node/cri"
	"hyperkube/internal/runtime"
)

// foreignPods ends and removes the node's pods in a container runtime that is not ours. The runtime gives their network back by the plugin, which
// asks the node process; that has ended, so its part is done here meanwhile.
func foreignPods(ctx context.Context, l cluster.Layout, n cluster.Node) error {
	c, err := cri.Dial(n.RuntimeEndpoint, "")
	if err != nil {
		return fmt.Errorf("container runtime: %w", err)
	}
	defer c.Close()
	all, err := c.Runtime.ListPodSandbox(ctx, &rt.ListPodSandboxRequest{})
	if err != nil {
		return fmt.Errorf("pods in the container runtime %s: %w", n.RuntimeEndpoint, err)
	}
	var ours []*rt.PodSandbox
	for _, s := range all.Items {
		mine, err := below(ctx, c, s.Id, l.CgroupParent())
		if err != nil {
			return err
		}
		if mine {
			ours = append(ours, s)
		}
	}
	if len(ours) == 0 {
		return nil
	}
	network, err := cni.New(pods(l, n))
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- network.Run(serving) }()
	select {
	case <-network.Listening():
	case err := <-ended:
		stop()
		return err
	}
	var errs []error
	for _, s := range ours {
		errs = append(errs, remove(ctx, c, s))
	}
	stop()
	return errors.Join(append(errs, <-ended)...)
}

// below tells whether a pod runs in a cgroup below parent, as the runtime was told.
func below(ctx context.Context, c *cri.Client, id, parent string) (bool, error) {
	st, err := c.Runtime.PodSandboxStatus(ctx, &rt.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
	if err != nil {
		return false, fmt.Errorf("pod sandbox %s: %w", id, err)
	}
	for _, info := range st.Info {
		if strings.Contains(info, `"`+parent+`/`) {
			return true, nil
		}
	}
	return false, nil
}

func remove(ctx context.Context, c *cri.Client, s *rt.PodSandbox) error {
	_, err := c.Runtime.StopPodSandbox(ctx, &rt.StopPodSandboxRequest{PodSandboxId: s.Id})
	if err == nil {
		_, err = c.Runtime.RemovePodSandbox(ctx, &rt.RemovePodSandboxRequest{PodSandboxId: s.Id})
	}
	if err != nil {
		return fmt.Errorf("removing pod %s/%s: %w", s.Metadata.GetNamespace(), s.Metadata.GetName(), err)
	}
	return nil
}

// pods is the pod network of the node, without an overlay.
func pods(l cluster.Layout, n cluster.Node) cni.Config {
	c := cni.Config{
		Socket: l.CNISocket(), StateDir: l.CNIState(), ConfDir: l.CNIConf(), BridgeName: n.Bridge,
		Network: func(ctx context.Context, _ cni.Network) (cni.Network, error) {
			<-ctx.Done()
			return cni.Network{}, ctx.Err()
		},
	}
	if n.CNIConfDir != "" {
		c.ConfDir = n.CNIConfDir
	}
	return c
}

// plugin removes what was laid out for the runtime.
func plugin(n cluster.Node) error {
	if n.CNIBinDir == "" {
		return nil
	}
	return runtime.RemoveCNI(n.CNIBinDir, cni.DefaultPluginName)
}
