// Package lab makes the cluster that a conformance run tests: two schedulable nodes, each in a network namespace with an
// address, a data directory, a run directory and a cgroup of its own, joined by a bridge in a hub namespace. The tests run in
// the hub: it reaches the API server and the ports of both nodes.
//
//	NAME-hub  10.83.0.254  bridge, registry, tests
//	NAME-1    10.83.0.1    `hyperkube up`
//	NAME-2    10.83.0.2    `hyperkube join`
//
// Everything has fixed names, so that the next run finds and removes what a killed one has left.
package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Lab is the cluster and the network that it lives in.
type Lab struct {
	// Binary is the hyperkube under test, Name the prefix of everything that the lab makes on this machine.
	Binary, Name string
	lock         net.Listener
	registry     *http.Server
}

const (
	nodes   = 2
	hubIP   = "10.83.0.254"
	timeout = 3 * time.Minute
)

func nodeIP(n int) string { return fmt.Sprintf("10.83.0.%d", n) }

// Hub is the namespace that the tests run in.
func (l *Lab) Hub() string           { return l.Name + "-hub" }
func (l *Lab) ns(n int) string       { return l.Name + "-" + strconv.Itoa(n) }
func (l *Lab) data(n int) string     { return filepath.Join("/var/tmp", l.Name, strconv.Itoa(n)) }
func (l *Lab) registryDir() string   { return filepath.Join("/var/tmp", l.Name, "certs.d") }
func (l *Lab) Kubeconfig() string    { return filepath.Join("/var/tmp", l.Name, "tests.kubeconfig") }
func (l *Lab) scratch() string       { return filepath.Join("/var/tmp", l.Name, "tmp") }
func (l *Lab) admin() string         { return filepath.Join(l.data(1), "admin.kubeconfig") }
func netns(name string) string       { return "--net=/run/netns/" + name }
func (l *Lab) exists(ns string) bool { _, err := os.Stat("/run/netns/" + ns); return err == nil }

// Lock keeps other runs away until the process ends: by the name of a socket, which ends with it and leaves no file.
func (l *Lab) Lock() error {
	socket, err := net.Listen("unix", "@"+l.Name)
	if err != nil {
		return fmt.Errorf("another conformance run has the cluster %s (HYPERKUBE_E2E_NAME gives another name): %w", l.Name, err)
	}
	l.lock = socket
	return nil
}

// Running tells whether a cluster that was kept answers.
func (l *Lab) Running(ctx context.Context) bool {
	if !l.exists(l.Hub()) {
		return false
	}
	_, err := l.kubectl(ctx, "get", "--raw", "/readyz")
	return err == nil
}

// Start makes the cluster and loads the images of an archive on each node, which find others in the registry.
func (l *Lab) Start(ctx context.Context, archive string, registry http.Handler) error {
	if err := l.network(ctx); err != nil {
		return err
	}
	if err := errors.Join(l.mirrors(), l.Serve(registry)); err != nil {
		return err
	}
	if err := l.up(ctx, 1, "up"); err != nil {
		return err
	}
	// The tests leave files where they may put temporary ones: that goes with the cluster.
	if err := errors.Join(l.kubeconfig(), os.MkdirAll(l.scratch(), 0o700)); err != nil {
		return err
	}
	// It prints the command that lets a machine join: all but the address of this one.
	command, err := l.In(ctx, l.ns(1), l.Binary, "token", "create", "--kubeconfig", l.admin())
	if err != nil {
		return err
	}
	_, admission, _ := strings.Cut(command, "--token")
	join := append([]string{"join", "https://" + nodeIP(1) + ":6443", "--token"}, strings.Fields(admission)...)
	for n := 2; n <= nodes; n++ {
		if err := l.up(ctx, n, join...); err != nil {
			return err
		}
	}
	for n := 1; n <= nodes; n++ {
		if _, err := l.In(ctx, l.ns(n), l.Binary, "images", "import", "--data-dir", l.data(n), archive); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) up(ctx context.Context, n int, command ...string) error {
	args := append(slices.Clone(command), "--detach", "--data-dir", l.data(n), "--node-name", "node-"+strconv.Itoa(n), "--node-ip", nodeIP(n),
		"--registry-dir", l.registryDir())
	_, err := l.In(ctx, l.ns(n), l.Binary, args...)
	return err
}

// kubeconfig is the administrator's, as seen from the hub.
func (l *Lab) kubeconfig() error {
	text, err := os.ReadFile(l.admin())
	if err != nil {
		return err
	}
	return os.WriteFile(l.Kubeconfig(), bytes.ReplaceAll(text, []byte("https://127.0.0.1:"), []byte("https://"+nodeIP(1)+":")), 0o600)
}

// network makes the namespaces, and the bridge between them.
func (l *Lab) network(ctx context.Context) error {
	hub := l.Hub()
	steps := [][]string{
		{"netns", "add", hub},
		{"-n", hub, "link", "set", "lo", "up"},
		{"-n", hub, "link", "add", "br0", "type", "bridge"},
		{"-n", hub, "link", "set", "br0", "up"},
		{"-n", hub, "addr", "add", hubIP + "/24", "dev", "br0"},
	}
	for n := 1; n <= nodes; n++ {
		ns, port := l.ns(n), "v"+strconv.Itoa(n)
		steps = append(steps, [][]string{
			{"netns", "add", ns},
			{"-n", ns, "link", "set", "lo", "up"},
			{"-n", ns, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", hub},
			{"-n", hub, "link", "set", port, "master", "br0", "up"},
			{"-n", ns, "addr", "add", nodeIP(n) + "/24", "dev", "eth0"},
			{"-n", ns, "link", "set", "eth0", "up"},
			{"-n", ns, "route", "add", "default", "via", hubIP},
		}...)
	}
	for _, s := range steps {
		if _, err := run(exec.CommandContext(ctx, "ip", s...)); err != nil {
			return err
		}
	}
	// What goes to addresses outside of the lab is refused at once rather than lost: there is no Internet here.
	if _, err := l.In(ctx, hub, "ip", "route", "add", "unreachable", "default"); err != nil {
		return err
	}
	_, err := l.In(ctx, hub, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	return err
}

// mirrors tells the nodes that the hub's registry has everything, in the form of containerd's hosts.toml.
func (l *Lab) mirrors() error {
	dir := filepath.Join(l.registryDir(), "_default")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text := fmt.Sprintf("server = 'http://%[1]s:5000'\n\n[host.'http://%[1]s:5000']\ncapabilities = ['pull', 'resolve']\n", hubIP)
	return os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(text), 0o644)
}

// Serve serves a registry to the nodes until [Lab.Close].
func (l *Lab) Serve(h http.Handler) error {
	listener, err := l.listen(hubIP + ":5000")
	if err != nil {
		return err
	}
	l.registry = &http.Server{Handler: h}
	go l.registry.Serve(listener)
	return nil
}

// listen opens a socket in the hub's namespace. The thread that has been there ends with its goroutine.
func (l *Lab) listen(address string) (net.Listener, error) {
	type answer struct {
		listener net.Listener
		err      error
	}
	out := make(chan answer)
	go func() {
		runtime.LockOSThread()
		f, err := os.Open("/run/netns/" + l.Hub())
		if err != nil {
			out <- answer{err: err}
			return
		}
		defer f.Close()
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			out <- answer{err: fmt.Errorf("entering %s: %w", l.Hub(), err)}
			return
		}
		listener, err := net.Listen("tcp", address)
		out <- answer{listener, err}
	}()
	a := <-out
	return a.listener, a.err
}

// Close ends what of the lab lives in this process; the cluster runs on.
func (l *Lab) Close() {
	if l.registry != nil {
		l.registry.Close()
	}
	if l.lock != nil {
		l.lock.Close()
	}
}

// Clean removes the cluster and all that belongs to it, from this run or another.
func (l *Lab) Clean() error {
	var errs []error
	for n := nodes; n >= 1; n-- {
		if _, err := os.Stat(filepath.Join(l.data(n), "node.json")); err == nil && l.exists(l.ns(n)) {
			// Not with the context of the run: this is what is done when it ends.
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			_, err := l.In(ctx, l.ns(n), l.Binary, "reset", "--data-dir", l.data(n))
			cancel()
			errs = append(errs, err)
		}
		if l.exists(l.ns(n)) {
			_, err := run(exec.Command("ip", "netns", "del", l.ns(n)))
			errs = append(errs, err)
		}
	}
	if l.exists(l.Hub()) {
		_, err := run(exec.Command("ip", "netns", "del", l.Hub()))
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cleaning up: %w", err)
	}
	return os.RemoveAll(filepath.Join("/var/tmp", l.Name))
}

// In runs a command in a namespace and gives what it prints.
func (l *Lab) In(ctx context.Context, ns, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return run(exec.CommandContext(ctx, "nsenter", append([]string{netns(ns), name}, args...)...))
}

func (l *Lab) kubectl(ctx context.Context, args ...string) (string, error) {
	return l.In(ctx, l.Hub(), l.Binary, append([]string{"kubectl", "--kubeconfig", l.Kubeconfig()}, args...)...)
}

// Tester is a command that runs where the tests run, and dies with this process.
func (l *Lab) Tester(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{netns(l.Hub()), name}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+l.Kubeconfig(), "TMPDIR="+l.scratch())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Keep copies the logs of the nodes to a directory.
func (l *Lab) Keep(dir string) error {
	var errs []error
	for n := 1; n <= nodes; n++ {
		data, err := os.ReadFile(filepath.Join(l.data(n), "hyperkube.log"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		errs = append(errs, err, os.WriteFile(filepath.Join(dir, fmt.Sprintf("node-%d.log", n)), data, 0o600))
	}
	return errors.Join(errs...)
}

func run(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}
