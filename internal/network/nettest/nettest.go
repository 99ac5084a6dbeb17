// Package nettest gives tests network namespaces: one for the whole test process, so that the node's side of a
// test touches nothing of the machine, and further ones for pods and other nodes.
//
// Everything is gone when the process ends, however it ends: the namespaces are held by its own mount namespace
// and by its threads only.
package nettest

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hyperkube/internal/testenv"
)

const inside = "HYPERKUBE_TEST_IN_NETNS"

// Main runs a package's tests in a network and mount namespace of their own. Call it from TestMain. Without
// root the tests run where they are, and those that call [Need] skip or fail.
func Main(m *testing.M) int {
	if os.Geteuid() != 0 {
		return m.Run()
	}
	if os.Getenv(inside) == "" {
		return again()
	}
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "nettest:", err)
		return 1
	}
	return m.Run()
}

func again() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	runtime.LockOSThread() // the death signal is tied to the thread
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	if err := cmd.Run(); err != nil {
		if code := cmd.ProcessState.ExitCode(); code > 0 {
			return code
		}
		fmt.Fprintln(os.Stderr, "nettest:", err)
		return 1
	}
	return 0
}

func prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	return loopbackUp()
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// Need ends a test that cannot have a namespace of its own, as testenv.NeedRoot does.
func Need(t testing.TB) {
	t.Helper()
	testenv.NeedRoot(t)
	if os.Getenv(inside) == "" {
		t.Fatal("TestMain must call nettest.Main")
	}
}

// NS is a further network namespace, with its loopback interface up.
type NS struct {
	// Path can be opened as a namespace and given to a CNI plugin.
	Path string
}

// New makes a namespace that lasts as long as the test.
func New(t testing.TB) *NS {
	t.Helper()
	Need(t)
	ns := &NS{Path: filepath.Join(t.TempDir(), "netns")}
	if err := os.WriteFile(ns.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			if err := unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), ns.Path, "", unix.MS_BIND, ""); err != nil {
				return err
			}
			return loopbackUp()
		}()
	}()
	if err := <-done; err != nil {
		t.Fatalf("network namespace: %v", err)
	}
	t.Cleanup(ns.Remove)
	return ns
}

// Remove unmounts the namespace, as a runtime does when a pod ends.
func (n *NS) Remove() { _ = unix.Unmount(n.Path, unix.MNT_DETACH) } // already gone is fine

// Do runs f on a thread that is in the namespace. Sockets that f opens stay in it.
func (n *NS) Do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- func() error {
			fd, err := unix.Open(n.Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return err
			}
			return f()
		}()
	}()
	return <-done
}

// Listen serves on an address in the namespace until the test ends. Each TCP connection and each UDP packet is answered with name and the
// address of the asker as the server sees it: "name 10.0.0.1".
func (n *NS) Listen(t testing.TB, network, address, name string) {
	t.Helper()
	err := n.Do(func() error {
		if network == "tcp" {
			return serveTCP(t, address, name)
		}
		return serveUDP(t, address, name)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func serveTCP(t testing.TB, address, name string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(c, "%s %s", name, host(c.RemoteAddr())) // the asker checks what it got
			c.Close()
		}
	}()
	return nil
}

func serveUDP(t testing.TB, address, name string) error {
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			_, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(fmt.Appendf(nil, "%s %s", name, host(from)), from)
		}
	}()
	return nil
}

func host(a net.Addr) string {
	h, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return h
}

// Ask connects to an address and returns what [NS.Listen] there answers. A nil namespace is the test process's own.
func (n *NS) Ask(d net.Dialer, network, address string) (string, error) {
	var answer string
	ask := func() error {
		c, err := d.Dial(network, address)
		if err != nil {
			return err
		}
		defer c.Close()
		if d.Timeout > 0 {
			if err := c.SetDeadline(time.Now().Add(d.Timeout)); err != nil {
				return err
			}
		}
		if network == "udp" {
			if _, err := c.Write([]byte("?")); err != nil {
				return err
			}
			buf := make([]byte, 1500)
			k, err := c.Read(buf)
			answer = string(buf[:k])
			return err
		}
		b, err := io.ReadAll(c)
		answer = string(b)
		return err
	}
	var err error
	if n == nil {
		err = ask()
	} else {
		err = n.Do(ask)
	}
	return answer, err
}

// Plug connects the namespace to the test process's own by a pair of interfaces: the namespace gets the address on eth0 and sends
// everything to the gateway, which the process's end answers for.
func (n *NS) Plug(t testing.TB, device, address, gateway string) {
	t.Helper()
	if err := n.plug(device, net.ParseIP(address), net.ParseIP(gateway)); err != nil {
		t.Fatalf("plug %s: %v", device, err)
	}
	t.Cleanup(func() {
		if l, err := netlink.LinkByName(device); err == nil {
			_ = netlink.LinkDel(l) // the namespace takes it along anyway
		}
	})
}

func (n *NS) plug(device string, address, gateway net.IP) error {
	file, err := os.Open(n.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = device
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(file.Fd())}); err != nil {
		return err
	}
	if err := configure(device, gateway, &netlink.Route{Dst: host32(address), Scope: netlink.SCOPE_LINK}); err != nil {
		return err
	}
	return n.Do(func() error {
		return configure("eth0", address, &netlink.Route{Gw: gateway, Flags: int(netlink.FLAG_ONLINK)})
	})
}

func configure(device string, address net.IP, route *netlink.Route) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: host32(address)}); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	route.LinkIndex = link.Attrs().Index
	return netlink.RouteAdd(route)
}

func host32(ip net.IP) *net.IPNet { return &net.IPNet{IP: ip.To4(), Mask: net.CIDRMask(32, 32)} }
