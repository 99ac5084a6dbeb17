package dns

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
)

// EndpointsAnnotation is where a Node says at which addresses and ports its name server answers pods, separated by commas.
// The controller internal/controllers/clusterdns makes endpoints of the cluster's DNS service of it.
const EndpointsAnnotation = "dns.hyperkube/endpoints"

// Announce keeps the annotation of a node true until ctx ends. A node without a name server announces no addresses.
func Announce(ctx context.Context, c client.Interface, node string, at []netip.AddrPort) error {
	var list []string
	for _, a := range at {
		list = append(list, a.String())
	}
	slices.Sort(list)
	want := strings.Join(list, ",")
	f := client.NewInformers(c)
	self := client.InformerWith(f, client.Nodes, client.Select{Fields: "metadata.name=" + node})
	queue := client.NewQueueWithBackoff[string]("dns", 100*time.Millisecond, 10*time.Second)
	self.OnChange(func(_, now *corev1.Node) {
		if now != nil && now.Annotations[EndpointsAnnotation] != want {
			queue.Add(now.Name)
		}
	})
	f.Start(ctx)
	client.RunWorkers(ctx, queue, 1, func(ctx context.Context, node string) error {
		if n, ok := self.Get("", node); !ok || n.Annotations[EndpointsAnnotation] == want {
			return nil
		}
		return annotate(ctx, c, node, want)
	})
	return nil
}

func annotate(ctx context.Context, c client.Interface, node, value string) error {
	set := map[string]any{EndpointsAnnotation: value}
	if value == "" {
		set[EndpointsAnnotation] = nil
	}
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": set}})
	if err != nil {
		return err
	}
	// By way of the status subresource, which is all of a node that its network parts may write.
	_, err = c.Patch(ctx, client.Nodes.GVR, "", node, types.StrategicMergePatchType, data, metav1.PatchOptions{}, "status")
	return err
}

// Announced reads the annotation of a node. Entries that are no addresses are left out.
func Announced(n *corev1.Node) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range strings.Split(n.Annotations[EndpointsAnnotation], ",") {
		if a, err := netip.ParseAddrPort(strings.TrimSpace(s)); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// reachable are the server's addresses at which others can reach it.
func (c *Config) reachable() []netip.AddrPort {
	var out []netip.AddrPort
	for _, ip := range c.BindAddresses {
		if !ip.IsLoopback() {
			out = append(out, netip.AddrPortFrom(ip, c.Port))
		}
	}
	return out
}
