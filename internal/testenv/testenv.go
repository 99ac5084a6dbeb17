// Package testenv is what tests need of the machine: whether they run as root, addresses
// and ports of their own, and a place that is gone afterwards.
package testenv

import (
	"net"
	"os"
	"testing"
)

// NeedRoot ends a test that cannot do its work without root: it fails under CI=true, where
// everything must have run, and skips on a developer's machine.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this test needs root: it makes mounts, network namespaces or containers")
	}
	t.Skip("this test needs root: it makes mounts, network namespaces or containers")
}

// FreePort gives a TCP port of the loopback address that nobody listened on a moment ago.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
