package overlay

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/network/nettest"
	"hyperkube/internal/server/servertest"
)

// TestOverlayFollowsTheAPI runs the whole overlay of one node against a real API server; the other node is an object.
func TestOverlayFollowsTheAPI(t *testing.T) {
	other := nettest.New(t)
	other.Plug(t, "uplink", "192.0.2.9", "192.0.2.1")
	c := servertest.Start(t, nil).Admin()
	ctx, cancel := context.WithCancel(context.Background())
	_, err := client.Nodes.Create(ctx, c, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "here"}})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "subnet.env")
	cfg := Config{NodeName: "here", NetConf: DefaultNetConf(netip.MustParsePrefix("10.244.0.0/16")), PublicIP: netip.MustParseAddr("192.0.2.1"),
		SubnetFile: file, Device: "test.1"}
	o, err := New(c, cfg)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	defer func() {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, Cleanup(context.Background(), cfg))
		_, err := netlink.LinkByName("test.1")
		require.Error(t, err)
		require.NoFileExists(t, file)
	}()

	_, err = client.Nodes.Modify(ctx, c, "", "here", func(n *corev1.Node) bool {
		n.Spec.PodCIDR, n.Spec.PodCIDRs = "10.244.1.0/24", []string{"10.244.1.0/24"}
		return true
	})
	require.NoError(t, err)
	lease, err := o.Lease(ctx, Lease{})
	require.NoError(t, err)
	require.Equal(t, Lease{netip.MustParsePrefix("10.244.1.0/24"), 1450}, lease)
	select {
	case <-o.Ready():
	case err := <-done:
		t.Fatalf("overlay ended: %v", err)
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n", string(text))
	n, err := client.Nodes.Get(ctx, c, "", "here")
	require.NoError(t, err)
	p, ok, err := peerOf(n, DefaultPrefix)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, netip.MustParseAddr("192.0.2.1"), p.publicIP)
	require.True(t, networkUp(n))

	route := func() bool {
		routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
		require.NoError(t, err)
		for _, r := range routes {
			if r.Dst != nil && r.Dst.String() == "10.244.2.0/24" {
				return true
			}
		}
		return false
	}
	eventually := func(what string, f func() bool) {
		t.Helper()
		require.Eventually(t, f, 10*time.Second, time.Millisecond, what)
	}
	a, err := annotations(DefaultPrefix, peer{publicIP: netip.MustParseAddr("192.0.2.9"), backend: "vxlan", vni: 1, mac: [6]byte{2, 0, 0, 0, 0, 9}})
	require.NoError(t, err)
	_, err = client.Nodes.Create(ctx, c, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "there", Annotations: a},
		Spec: corev1.NodeSpec{PodCIDR: "10.244.2.0/24", PodCIDRs: []string{"10.244.2.0/24"}}})
	require.NoError(t, err)
	eventually("the new node has a route", route)
	link, err := netlink.LinkByName("test.1")
	require.NoError(t, err)
	require.NoError(t, netlink.LinkDel(link))
	eventually("the interface and the route come back", route)
	eventually("the new hardware address is announced", func() bool {
		link, err := netlink.LinkByName("test.1")
		n, errN := client.Nodes.Get(ctx, c, "", "here")
		return err == nil && errN == nil && n.Annotations[DefaultPrefix+annBackendData] == fmt.Sprintf(`{"VNI":1,"VtepMAC":"%s"}`, link.Attrs().HardwareAddr)
	})
	require.NoError(t, client.Nodes.Delete(ctx, c, "", "there"))
	eventually("the route goes with the node", func() bool { return !route() })
}
