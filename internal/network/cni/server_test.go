package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"hyperkube/internal/network/nettest"
)

func TestMain(m *testing.M) { os.Exit(nettest.Main(m)) }

// node is a server with a runtime beside it that calls the real plugin.
type node struct {
	t      *testing.T
	cfg    Config
	plugin string
	stop   func()
	server *Server
}

func startNode(t *testing.T) *node {
	t.Helper()
	nettest.Need(t)
	dir := t.TempDir()
	n := &node{t: t, plugin: filepath.Join(dir, "plugin")}
	build := exec.Command("go", "build", "-o", n.plugin, "./plugin")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	n.cfg = Config{
		Socket: filepath.Join(dir, "run", "cni.sock"), StateDir: filepath.Join(dir, "state"), ConfDir: filepath.Join(dir, "net.d"),
		BridgeName: "testbr0", NetworkName: "testnet",
		Network: func(ctx context.Context, previous Network) (Network, error) {
			if previous.MTU != 0 {
				<-ctx.Done()
				return Network{}, ctx.Err()
			}
			return Network{Subnets: []netip.Prefix{netip.MustParsePrefix("10.99.1.0/24")}, MTU: 1450}, nil
		},
	}
	n.start()
	t.Cleanup(func() {
		n.stop()
		require.NoError(t, Cleanup(context.Background(), n.cfg))
		_, err := netlink.LinkByName("testbr0")
		require.Error(t, err, "the bridge is left behind")
		rules, err := exec.Command("iptables-save").Output()
		require.NoError(t, err)
		require.NotContains(t, string(rules), "CNI-")
	})
	return n
}

func (n *node) start() {
	n.t.Helper()
	var err error
	n.server, err = New(n.cfg)
	require.NoError(n.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.server.Run(ctx) }()
	select {
	case <-n.server.Ready():
	case err := <-done:
		n.t.Fatalf("server ended: %v", err)
	}
	n.stop = func() {
		cancel()
		require.NoError(n.t, <-done)
	}
}

// call runs the plugin as a runtime would.
func (n *node) call(command, id, netns string, ports ...PortMapping) (result, error) {
	n.t.Helper()
	conf, err := json.Marshal(map[string]any{"cniVersion": "1.0.0", "name": "testnet", "type": "hyperkube-cni",
		"socket": n.cfg.Socket, "runtimeConfig": map[string]any{"portMappings": ports}})
	require.NoError(n.t, err)
	cmd := exec.Command(n.plugin)
	cmd.Stdin = bytes.NewReader(conf)
	cmd.Env = []string{"CNI_COMMAND=" + command, "CNI_CONTAINERID=" + id, "CNI_NETNS=" + netns, "CNI_IFNAME=eth0",
		"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=" + id}
	out, err := cmd.Output()
	if err != nil {
		return result{}, fmt.Errorf("%w: %s", err, out)
	}
	var r result
	if len(out) > 0 {
		require.NoError(n.t, json.Unmarshal(out, &r), string(out))
	}
	return r, nil
}

func (n *node) add(id string, ports ...PortMapping) (*nettest.NS, string) {
	n.t.Helper()
	ns := nettest.New(n.t)
	r, err := n.call("ADD", id, ns.Path, ports...)
	require.NoError(n.t, err)
	require.Len(n.t, r.IPs, 1)
	ip, _, _ := strings.Cut(r.IPs[0].Address, "/")
	return ns, ip
}

var quick = net.Dialer{Timeout: 2 * time.Second}

func TestPodsReachEachOtherAndTheNode(t *testing.T) {
	n := startNode(t)
	a, ipA := n.add("pod-a")
	b, ipB := n.add("pod-b")
	require.NotEqual(t, ipA, ipB)
	b.Listen(t, "tcp", ipB+":80", "b")
	b.Listen(t, "udp", ipB+":80", "b")

	for _, network := range []string{"tcp", "udp"} {
		got, err := a.Ask(quick, network, ipB+":80")
		require.NoError(t, err)
		require.Equal(t, "b "+ipA, got)
		got, err = (*nettest.NS)(nil).Ask(quick, network, ipB+":80")
		require.NoError(t, err)
		require.Equal(t, "b 10.99.1.1", got, "the node speaks to pods from the bridge's address")
	}
	_, err := n.call("CHECK", "pod-a", a.Path)
	require.NoError(t, err)
	conf, err := os.ReadFile(filepath.Join(n.cfg.ConfDir, "10-hyperkube.conflist"))
	require.NoError(t, err)
	require.Contains(t, string(conf), n.cfg.Socket)
}

func TestDeleteFreesEverythingAndMayBeRepeated(t *testing.T) {
	n := startNode(t)
	ns, ip := n.add("pod-a", PortMapping{HostPort: 8080, ContainerPort: 80, Protocol: "TCP"})
	for range 2 {
		_, err := n.call("DEL", "pod-a", ns.Path)
		require.NoError(t, err)
	}
	_, err := n.call("CHECK", "pod-a", ns.Path)
	require.ErrorContains(t, err, "no such attachment")
	_, err = netlink.LinkByName(hostVethName("pod-a", "eth0"))
	require.Error(t, err)
	files, err := os.ReadDir(n.cfg.StateDir)
	require.NoError(t, err)
	require.Empty(t, files)
	_, second := n.add("pod-b")
	require.NotEqual(t, ip, second, "an address just freed is not the next to be given")
}

func TestHostPorts(t *testing.T) {
	n := startNode(t)
	ports := []PortMapping{
		{HostPort: 54323, ContainerPort: 80, Protocol: "TCP", HostIP: "127.0.0.1"},
		{HostPort: 54324, ContainerPort: 80, Protocol: "UDP"},
		{HostPort: 54325, ContainerPort: 80, Protocol: "tcp"},
	}
	a, ipA := n.add("pod-a", ports...)
	a.Listen(t, "tcp", ipA+":80", "a")
	a.Listen(t, "udp", ipA+":80", "a")
	b, ipB := n.add("pod-b", PortMapping{HostPort: 54323, ContainerPort: 80, Protocol: "TCP", HostIP: "10.99.1.1"})
	b.Listen(t, "tcp", ipB+":80", "b")

	var node *nettest.NS
	ask := func(from *nettest.NS, network, to, want string) {
		t.Helper()
		got, err := from.Ask(quick, network, to)
		require.NoError(t, err)
		name, _, _ := strings.Cut(got, " ")
		require.Equal(t, want, name)
	}
	check := func() {
		t.Helper()
		ask(node, "tcp", "127.0.0.1:54323", "a")
		ask(node, "tcp", "10.99.1.1:54323", "b")
		ask(node, "udp", "127.0.0.1:54324", "a")
		ask(node, "tcp", "127.0.0.1:54325", "a")
		ask(b, "tcp", "10.99.1.1:54325", "a")
		ask(a, "tcp", "10.99.1.1:54325", "a") // a pod reaches itself
	}
	check()
	other := net.Dialer{Timeout: quick.Timeout, LocalAddr: &net.TCPAddr{IP: net.ParseIP("10.99.1.1")}}
	got, err := node.Ask(other, "tcp", "127.0.0.1:54323")
	require.NoError(t, err)
	require.Equal(t, "a 10.99.1.1", got)

	n.stop()
	n.start() // a new process keeps the rules, and does not double them
	check()
	rules, err := exec.Command("iptables-save", "-t", "nat").Output()
	require.NoError(t, err)
	require.Equal(t, 4, strings.Count(string(rules), "-A CNI-HOSTPORT-DNAT "), string(rules))
	require.Equal(t, 1, strings.Count(string(rules), "-A PREROUTING "), string(rules))

	require.NoError(t, exec.Command("iptables", "-t", "nat", "-F").Run()) // somebody flushes the rules
	_, err = n.call("DEL", "pod-b", b.Path)
	require.NoError(t, err)
	ask(node, "tcp", "127.0.0.1:54325", "a")
	_, err = node.Ask(quick, "tcp", "10.99.1.1:54323")
	require.Error(t, err, "pod-b's port still answers")
}

func TestAtTheStartAttachmentsOfPodsThatAreGoneAreReleased(t *testing.T) {
	n := startNode(t)
	gone, _ := n.add("pod-gone", PortMapping{HostPort: 9000, ContainerPort: 80, Protocol: "tcp"})
	_, ipKept := n.add("pod-kept")
	n.stop()
	gone.Remove()
	require.NoError(t, os.WriteFile(filepath.Join(n.cfg.StateDir, "torn-eth0.json"), []byte(`{"conta`), 0o600))
	n.start()
	require.Len(t, n.server.records.all(), 1)
	require.Equal(t, ipKept, n.server.records.all()[0].Addresses[0].Addr().String())
	rules, err := exec.Command("iptables-save", "-t", "nat").Output()
	require.NoError(t, err)
	require.NotContains(t, string(rules), "9000")
}

func TestARemovedBridgeComesBackWithItsPods(t *testing.T) {
	n := startNode(t)
	a, ipA := n.add("pod-a")
	_, ipB := n.add("pod-b")
	a.Listen(t, "tcp", ipA+":80", "a")
	link, err := netlink.LinkByName("testbr0")
	require.NoError(t, err)
	updates := make(chan netlink.LinkUpdate, 100)
	done := make(chan struct{})
	defer close(done)
	require.NoError(t, netlink.LinkSubscribe(updates, done))
	require.NoError(t, netlink.LinkDel(link))
	plugged := map[string]bool{}
	deadline := time.After(10 * time.Second)
	for len(plugged) < 2 {
		select {
		case u := <-updates:
			if m := u.Attrs().MasterIndex; m != 0 && m != link.Attrs().Index && strings.HasPrefix(u.Attrs().Name, "veth") {
				plugged[u.Attrs().Name] = true
			}
		case <-deadline:
			t.Fatal("the pods were not plugged in again")
		}
	}
	got, err := (*nettest.NS)(nil).Ask(quick, "tcp", ipA+":80")
	require.NoError(t, err)
	require.Equal(t, "a 10.99.1.1", got)
	_ = ipB
}

func TestErrors(t *testing.T) {
	n := startNode(t)
	_, err := n.call("ADD", "pod-x", "/nowhere")
	require.ErrorContains(t, err, `"code":3`)
	_, err = n.call("NONSENSE", "pod-x", "/nowhere")
	require.ErrorContains(t, err, `"code":4`)
	ns := nettest.New(t)
	_, err = n.call("ADD", "../escape", ns.Path)
	require.ErrorContains(t, err, `"code":4`)
	_, err = n.call("ADD", "pod-x", ns.Path, PortMapping{HostPort: 70000, ContainerPort: 1, Protocol: "tcp"})
	require.ErrorContains(t, err, `"code":7`)
	require.Empty(t, n.server.records.all())
	n.stop()
	for _, c := range []string{"ADD", "DEL"} {
		_, err = n.call(c, "pod-x", ns.Path)
		require.ErrorContains(t, err, `"code":11`)
	}
	n.start()
}

func TestAddIsQuick(t *testing.T) {
	n := startNode(t)
	var total time.Duration
	const pods = 20
	for i := range pods {
		ns := nettest.New(t)
		began := time.Now()
		_, err := n.call("ADD", fmt.Sprintf("pod-%d", i), ns.Path)
		require.NoError(t, err)
		total += time.Since(began)
	}
	t.Logf("ADD, plugin process included: %v each", total/pods)
}

func TestAddressesRunOut(t *testing.T) {
	r, err := openRecords(t.TempDir(), nil)
	require.NoError(t, err)
	subnet := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/29")}
	for i := range 5 { // 8 less network, gateway and broadcast
		require.NoError(t, r.allocate(&Attachment{ContainerID: fmt.Sprint(i), IfName: "eth0"}, subnet))
	}
	require.ErrorIs(t, r.allocate(&Attachment{ContainerID: "x", IfName: "eth0"}, subnet), ErrNoAddress)
	require.NoError(t, r.release("3-eth0"))
	a := &Attachment{ContainerID: "x", IfName: "eth0"}
	require.NoError(t, r.allocate(a, subnet))
	require.Equal(t, "10.0.0.5/29", a.Addresses[0].String())
	again, err := openRecords(r.dir, nil)
	require.NoError(t, err)
	require.Equal(t, r.holder, again.holder)
}
