// Package programs tries hyperkube by programs that were written for Kubernetes: kubectl of two minor versions, Helm, what
// client-go offers, an operator on controller-runtime, and upstream's own scheduler and controller manager. Each is as its authors
// released it; only the cluster is this project's.
package programs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// inside tells a process of the tests that it is in the machine that was made for it.
const inside = "HYPERKUBE_PROGRAMS_INSIDE"

// TestMain lets the tests run in a network namespace of their own, so that client-go reaches the cluster in it as any
// program reaches a cluster on its machine.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	code, err := runInside()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// name is the prefix of all that the tests make. It is always the same, so that a test removes what a killed one left.
func name() string {
	if n := os.Getenv("HYPERKUBE_E2E_NAME"); n != "" {
		return "hk-programs-" + n
	}
	return "hk-programs"
}

const address = "10.79.1.1"

func runInside() (code int, err error) {
	bin, err := filepath.Abs("../../build/hyperkube")
	if err != nil {
		return 1, err
	}
	c := cluster{bin: bin, data: filepath.Join("/tmp", name())}
	if err := clean(c); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, clean(c)) }()
	ns := name()
	for _, args := range [][]string{
		{"netns", "add", ns},
		{"-n", ns, "link", "set", "lo", "up"},
		{"-n", ns, "link", "add", "eth0", "type", "veth", "peer", "name", "peer0"},
		{"-n", ns, "link", "set", "peer0", "up"},
		{"-n", ns, "addr", "add", address + "/24", "dev", "eth0"},
		{"-n", ns, "link", "set", "eth0", "up"},
		{"-n", ns, "route", "add", "default", "via", "10.79.1.254"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return 1, fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return runTests(ns)
}

// runTests runs this program again, in the namespace. It ends with the one that started it.
func runTests(ns string) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	runtime.LockOSThread() // the kernel ends the child with the thread that started it
	cmd := exec.Command("nsenter", append([]string{"--net=/run/netns/" + ns, self}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), inside+"=true")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	signal.Ignore(os.Interrupt) // the child has it too; this process still has to clean up
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// clean removes the cluster, the processes beside it and the namespace. What is not there needs no removing.
func clean(c cluster) error {
	ns := name()
	if _, err := os.Stat("/run/netns/" + ns); err != nil {
		return os.RemoveAll(c.data)
	}
	var errs []error
	errs = append(errs, endAll(c.data))
	if _, err := os.Stat(filepath.Join(c.data, "node.json")); err == nil {
		out, err := exec.Command("nsenter", "--net=/run/netns/"+ns, c.bin, "reset", "--data-dir", c.data).CombinedOutput()
		if err != nil {
			errs = append(errs, fmt.Errorf("reset: %w: %s", err, out))
		}
	}
	if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
		errs = append(errs, fmt.Errorf("ip netns del %s: %w: %s", ns, err, out))
	}
	return errors.Join(append(errs, os.RemoveAll(c.data))...)
}

// endAll ends the programs that were left running beside the cluster: each has its process number in a file.
func endAll(data string) error {
	files, err := filepath.Glob(filepath.Join(data, "*.pid"))
	for _, f := range files {
		text, readErr := os.ReadFile(f)
		if readErr != nil {
			err = errors.Join(err, readErr)
			continue
		}
		var pid int
		var program string
		if _, scanErr := fmt.Sscan(string(text), &pid, &program); scanErr != nil {
			continue // killed while it wrote; nothing was started then
		}
		if exe, linkErr := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); linkErr == nil && exe == program {
			err = errors.Join(err, syscall.Kill(pid, syscall.SIGKILL))
		}
	}
	return err
}
