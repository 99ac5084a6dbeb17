package overlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/network/apply"
	"hyperkube/internal/network/nettest"
)

func TestMain(m *testing.M) { os.Exit(nettest.Main(m)) }

func TestNetConf(t *testing.T) {
	n, err := ParseNetConf([]byte(`{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan", "DirectRouting": true}}`))
	require.NoError(t, err)
	require.Equal(t, NetConf{netip.MustParsePrefix("10.244.0.0/16"), Backend{"vxlan", 1, 8472, 0, true}}, n)
	for text, want := range map[string]string{
		`{}`: "Network is needed", `{"Network":"x"}`: "Network", `{"Network":"10.0.0.0/8","Backend":{"Type":"udp"}}`: `"udp"`,
		`{"Network":"fd00::/64"}`: "not an IPv4", `{"Network":"10.0.0.0/8","EnableIPv6":true}`: "IPv6", `[`: "net-conf.json",
		`{"Network":"10.0.0.0/8","Backend":{"VNI":16777216}}`: "VNI", `{"Network":"10.0.0.0/8","Backend":{"Port":70000}}`: "Port",
	} {
		_, err := ParseNetConf([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
}

func TestAnnotationsAreFlannels(t *testing.T) {
	p := peer{subnet: netip.MustParsePrefix("10.244.3.0/24"), publicIP: netip.MustParseAddr("192.0.2.3"), backend: "vxlan", vni: 1, mac: [6]byte{2, 0, 0, 0, 0, 3}}
	a, err := annotations(DefaultPrefix, p)
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"flannel.alpha.coreos.com/backend-data":        `{"VNI":1,"VtepMAC":"02:00:00:00:00:03"}`,
		"flannel.alpha.coreos.com/backend-type":        "vxlan",
		"flannel.alpha.coreos.com/public-ip":           "192.0.2.3",
		"flannel.alpha.coreos.com/kube-subnet-manager": "true",
	}, a)
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Annotations: a}, Spec: corev1.NodeSpec{PodCIDR: "10.244.3.0/24"}}
	got, ok, err := peerOf(n, DefaultPrefix)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, p, got)

	n.Annotations["flannel.alpha.coreos.com/backend-data"] = `{"VtepMAC":"nonsense"}`
	_, ok, err = peerOf(n, DefaultPrefix)
	require.Error(t, err)
	require.False(t, ok)
	n.Annotations["flannel.alpha.coreos.com/backend-type"] = "host-gw"
	n.Annotations["flannel.alpha.coreos.com/backend-data"] = `null`
	_, ok, err = peerOf(n, DefaultPrefix)
	require.NoError(t, err)
	require.True(t, ok)
	_, ok, err = peerOf(&corev1.Node{}, DefaultPrefix)
	require.NoError(t, err)
	require.False(t, ok)
}

// twoNodes joins two namespaces by a cable; each has a pod address on its loopback interface.
func twoNodes(t *testing.T) (nodes [2]*nettest.NS) {
	t.Helper()
	nodes = [2]*nettest.NS{nettest.New(t), nettest.New(t)}
	file, err := os.Open(nodes[1].Path)
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, nodes[0].Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "eth0"
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(file.Fd())})
	}))
	for i, ns := range nodes {
		require.NoError(t, ns.Do(func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			addr, err := netlink.ParseAddr(fmt.Sprintf("192.0.2.%d/24", i+1))
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(link, addr); err != nil {
				return err
			}
			if err := netlink.LinkSetUp(link); err != nil {
				return err
			}
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			pod, err := netlink.ParseAddr(fmt.Sprintf("10.244.%d.5/32", i+1))
			if err != nil {
				return err
			}
			return netlink.AddrAdd(lo, pod)
		}))
	}
	return nodes
}

func start(t *testing.T, ns *nettest.NS, i int, b Backend) *kernel {
	t.Helper()
	var k *kernel
	require.NoError(t, ns.Do(func() error {
		up, err := findUplink(nil, nil, netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i+1)))
		if err != nil {
			return err
		}
		k, err = newKernel(NetConf{netip.MustParsePrefix("10.244.0.0/16"), b}, up, "flannel.1", netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", i+1)), up.address)
		return err
	}))
	return k
}

func backend(kind string, direct bool) Backend {
	n := NetConf{Backend: Backend{Type: kind, DirectRouting: direct}}
	n.complete()
	return n.Backend
}

var dialer = net.Dialer{Timeout: 2 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP("10.244.1.5")}}

func TestPodsOfTwoNodesReachEachOther(t *testing.T) {
	for _, b := range []Backend{backend("vxlan", false), backend("host-gw", false), backend("vxlan", true)} {
		t.Run(fmt.Sprintf("%s direct=%v", b.Type, b.DirectRouting), func(t *testing.T) {
			nodes := twoNodes(t)
			k := [2]*kernel{start(t, nodes[0], 0, b), start(t, nodes[1], 1, b)}
			for i, ns := range nodes {
				require.NoError(t, k[i].usable(k[1-i].self))
				require.NoError(t, ns.Do(func() error { return k[i].set("other", k[1-i].self) }))
			}
			nodes[1].Listen(t, "tcp", "10.244.2.5:80", "pod")
			got, err := nodes[0].Ask(dialer, "tcp", "10.244.2.5:80")
			require.NoError(t, err)
			require.Equal(t, "pod 10.244.1.5", got)

			// The first node's things are taken away and put back by a sync, under the same hardware address.
			mac := k[0].self.mac
			require.NoError(t, nodes[0].Do(func() error {
				if b.Type == BackendVXLAN {
					link, err := netlink.LinkByName("flannel.1")
					if err != nil {
						return err
					}
					if err := netlink.LinkSetDown(link); err != nil { // takes the routes along
						return err
					}
					stale := k[1].self
					stale.subnet = netip.MustParsePrefix("10.244.9.0/24")
					stale.mac[5]++
					if err := k[0].sync(); err != nil {
						return err
					}
					if err := k[0].add(stale); err != nil {
						return err
					}
				} else if err := netlink.RouteDel(k[0].route(k[1].self)); err != nil {
					return err
				}
				return k[0].sync()
			}))
			require.Equal(t, mac, k[0].self.mac)
			_, err = nodes[0].Ask(dialer, "tcp", "10.244.2.5:80")
			require.NoError(t, err)

			require.NoError(t, nodes[0].Do(func() error { return k[0].remove("other") }))
			require.NoError(t, nodes[0].Do(func() error {
				routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
				for _, r := range routes {
					if r.Dst != nil && strings.HasPrefix(r.Dst.String(), "10.244.") {
						err = errors.Join(err, fmt.Errorf("left behind: %v", r))
					}
				}
				return err
			}))
		})
	}
}

func TestRemovalsOfWhatIsNeededAreSeen(t *testing.T) {
	nodes := twoNodes(t)
	b := backend("vxlan", false)
	k := [2]*kernel{start(t, nodes[0], 0, b), start(t, nodes[1], 1, b)}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var events *kernelEvents
	require.NoError(t, nodes[0].Do(func() (err error) {
		if err = k[0].set("other", k[1].self); err != nil {
			return err
		}
		events, err = watchKernel(ctx)
		return err
	}))
	seen := func() bool {
		t.Helper()
		select {
		case <-events.lost:
			return events.concern(k[0])
		case <-time.After(5 * time.Second):
			t.Fatal("the kernel told nothing")
			return false
		}
	}
	for name, take := range map[string]func() error{
		"route":      func() error { return netlink.RouteDel(vxlanRoute(k[0].dev, k[1].self)) },
		"neighbour":  func() error { return netlink.NeighDel(vxlanNeigh(k[0].dev, k[1].self)) },
		"forwarding": func() error { return netlink.NeighDel(vxlanForward(k[0].dev, k[1].self)) },
	} {
		require.NoError(t, nodes[0].Do(take), name)
		require.True(t, seen(), name)
		require.NoError(t, nodes[0].Do(k[0].sync), name)
	}
	require.NoError(t, nodes[0].Do(func() error { return k[0].remove("other") }))
	require.False(t, seen(), "its own removal")
}

func TestRulesAreMadeOnceAndHealed(t *testing.T) {
	nettest.Need(t)
	ctx := context.Background()
	tools, err := apply.Detect(ctx, apply.IPv4)
	require.NoError(t, err)
	r := &ruleKeeper{tools: tools, cluster: netip.MustParsePrefix("10.244.0.0/16"), subnet: netip.MustParsePrefix("10.244.1.0/24"), masq: true, forward: true}
	require.NoError(t, r.ensure(ctx))
	first := rules(t)
	require.Contains(t, first, `-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG`)
	var b strings.Builder
	require.NoError(t, r.ensureTable(ctx, &b, "nat", chainMasq, masqRules(r.cluster, r.subnet, tools.RandomFully), masqJumps))
	require.Empty(t, b.String(), "what is there is not recognised")
	require.NoError(t, exec.Command("iptables", "-t", "nat", "-F").Run())
	require.NoError(t, exec.Command("iptables", "-D", "FLANNEL-FWD", "1").Run())
	require.NoError(t, r.ensure(ctx))
	require.Equal(t, first, rules(t))
	require.NoError(t, Cleanup(ctx, Config{}))
	require.NotContains(t, rules(t), "FLANNEL")
}

func rules(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("iptables-save").Output()
	require.NoError(t, err)
	var lines []string
	for _, l := range strings.Split(string(out), "\n") {
		if strings.HasPrefix(l, "-A ") {
			lines = append(lines, l)
		}
	}
	return strings.Join(lines, "\n")
}
