// Command plugin is the CNI plugin that the container runtime starts for each pod. It only hands the
// call to the running node process over the unix socket that its network configuration names, and prints the answer. So it starts in a
// millisecond, keeps no state, and uses raw sockets rather than package net, which would double its size.
//
// While the node process is away every command but VERSION fails with CNI's "try again later" (code 11). That
// includes DEL: only the node process can free the pod's address and host ports, so a DEL that reported success would leak
// them. The runtime keeps the sandbox and asks again; pods whose DEL never comes are found
// by the node process at its next start, when their network namespaces are gone.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"syscall"

	"hyperkube/internal/network/cni/wire"
)

// timeout bounds each read and write on the socket, in seconds.
const timeout = 60

func main() {
	if os.Getenv("CNI_COMMAND") == "VERSION" {
		answer(map[string]any{"cniVersion": wire.Newest, "supportedVersions": wire.Versions()})
		return
	}
	if isLoopback() {
		result, e := loopback()
		if e != nil {
			answer(e)
			os.Exit(1)
		}
		if result != nil {
			answer(result)
		}
		return
	}
	result, e := call()
	if e != nil {
		answer(e)
		os.Exit(1)
	}
	os.Stdout.Write(result) //nolint:errcheck // nobody is left to tell
}

func answer(v any) {
	if err := json.NewEncoder(os.Stdout).Encode(v); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func call() (json.RawMessage, *wire.Error) {
	var conf struct {
		CNIVersion string `json:"cniVersion"`
		Socket     string `json:"socket"`
	}
	fail := func(code int, msg string, err error) (json.RawMessage, *wire.Error) {
		if conf.CNIVersion == "" {
			conf.CNIVersion = wire.Newest
		}
		e := &wire.Error{CNIVersion: conf.CNIVersion, Code: code, Msg: msg}
		if err != nil {
			e.Details = err.Error()
		}
		return nil, e
	}
	stdin, err := io.ReadAll(os.Stdin)
	if err != nil {
		return fail(wire.CodeIO, "cannot read the network configuration", err)
	}
	if err := json.Unmarshal(stdin, &conf); err != nil {
		return fail(wire.CodeDecode, "cannot decode the network configuration", err)
	}
	if conf.Socket == "" {
		return fail(wire.CodeInvalidConfig, "the network configuration has no socket", nil)
	}
	req := wire.Request{
		Command:     os.Getenv("CNI_COMMAND"),
		ContainerID: os.Getenv("CNI_CONTAINERID"),
		NetNS:       os.Getenv("CNI_NETNS"),
		IfName:      os.Getenv("CNI_IFNAME"),
		Args:        os.Getenv("CNI_ARGS"),
		Config:      stdin,
	}
	if req.Command == "" {
		return fail(wire.CodeInvalidEnvironment, "CNI_COMMAND is not set", nil)
	}
	reply, err := exchange(conf.Socket, req)
	if err != nil {
		return fail(wire.CodeTryAgainLater, "the node process does not answer on "+conf.Socket, err)
	}
	var resp wire.Response
	if err := json.Unmarshal(reply, &resp); err != nil {
		return fail(wire.CodeTryAgainLater, "the node process broke off its answer", err)
	}
	if resp.Error != nil {
		return nil, resp.Error
	}
	return resp.Result, nil
}

func exchange(socket string, req wire.Request) ([]byte, error) {
	data, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer syscall.Close(fd)
	limit := syscall.Timeval{Sec: timeout}
	for _, opt := range []int{syscall.SO_RCVTIMEO, syscall.SO_SNDTIMEO} {
		if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, opt, &limit); err != nil {
			return nil, os.NewSyscallError("setsockopt", err)
		}
	}
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: socket}); err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	for len(data) > 0 {
		n, err := syscall.Write(fd, data)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("write", err)
		}
		data = data[n:]
	}
	if err := syscall.Shutdown(fd, syscall.SHUT_WR); err != nil {
		return nil, os.NewSyscallError("shutdown", err)
	}
	return readAll(fd)
}

func readAll(fd int) ([]byte, error) {
	var out []byte
	buf := make([]byte, 8192)
	for {
		n, err := syscall.Read(fd, buf)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("read", err)
		}
		if n == 0 {
			return out, nil
		}
		out = append(out, buf[:n]...)
	}
}
