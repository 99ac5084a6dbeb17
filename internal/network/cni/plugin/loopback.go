package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"hyperkube/internal/network/cni/wire"
)

// isLoopback tells whether the program was called as the plugin "loopback", which container runtimes start for each pod beside the one
// that gives it its network. It is laid out under that name where a machine has none.
func isLoopback() bool { return filepath.Base(os.Args[0]) == "loopback" }

// loopback brings the pod's loopback interface up. It needs no node process.
func loopback() (any, *wire.Error) {
	var conf struct {
		CNIVersion string          `json:"cniVersion"`
		PrevResult json.RawMessage `json:"prevResult"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&conf); err != nil {
		return nil, &wire.Error{CNIVersion: wire.Newest, Code: wire.CodeDecode, Msg: "cannot decode the network configuration", Details: err.Error()}
	}
	netns := os.Getenv("CNI_NETNS")
	switch os.Getenv("CNI_COMMAND") {
	case "ADD":
		if err := up(netns, "lo"); err != nil {
			return nil, &wire.Error{CNIVersion: conf.CNIVersion, Code: wire.CodeInternal, Msg: "cannot bring the loopback interface up", Details: err.Error()}
		}
		if len(conf.PrevResult) > 0 {
			return conf.PrevResult, nil
		}
		return map[string]any{
			"cniVersion": conf.CNIVersion,
			"interfaces": []any{map[string]string{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": netns}},
		}, nil
	}
	return nil, nil // the interface goes with its namespace
}

// up sets an interface of a network namespace up. The thread stays in the namespace: the program ends.
func up(netns, name string) error {
	runtime.LockOSThread()
	ns, err := syscall.Open(netns, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer syscall.Close(ns)
	if _, _, e := syscall.RawSyscall(sysSetns, uintptr(ns), syscall.CLONE_NEWNET, 0); e != 0 {
		return os.NewSyscallError("setns", e)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer syscall.Close(fd)
	var req struct { // ifreq of netdevice(7)
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(req.name[:], name)
	for _, call := range []uintptr{syscall.SIOCGIFFLAGS, syscall.SIOCSIFFLAGS} {
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), call, uintptr(unsafe.Pointer(&req))); e != 0 {
			return os.NewSyscallError("ioctl", e)
		}
		req.flags |= syscall.IFF_UP
	}
	return nil
}
