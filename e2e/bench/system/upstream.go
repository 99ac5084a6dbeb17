package system

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"hyperkube/e2e/bench/machine"
	"hyperkube/internal/pki"
)

// upstream is upstream's programs, one process each, with the flags of a common installation.
type upstream struct {
	box        *machine.Box
	root, data string
	options    Options
	files      *pki.Files
	processes  []*exec.Cmd // in the order of their start
}

func (u *upstream) program(name string) string { return filepath.Join(upstreamDir(u.root), name) }
func (u *upstream) path(name string) string    { return filepath.Join(u.data, name) }
func (u *upstream) admin() string              { return u.path("admin.kubeconfig") }
func (u *upstream) socket() string {
	return filepath.Join(runDir(u.box), "containerd", "containerd.sock")
}

// Prepare makes certificates, kubeconfigs and configuration files, and once the pause image of the runtime.
func (u *upstream) Prepare(ctx context.Context, o Options) error {
	u.options = o
	if err := os.MkdirAll(u.data, 0o711); err != nil {
		return err
	}
	var err error
	u.files, err = pki.Ensure(u.path("pki"), pki.Options{
		ServiceIP: net.IPv4(10, 96, 0, 1), NodeName: NodeName, NodeIPs: []net.IP{net.ParseIP(u.box.IP)},
	})
	if err != nil {
		return err
	}
	for name, pair := range map[string]pki.Pair{
		"admin": u.files.Admin, "controller-manager": u.files.ControllerManager, "scheduler": u.files.Scheduler,
		"kubelet": u.files.KubeletClient, "proxy": u.files.Proxy,
	} {
		cert, key, err := pair.Read()
		if err != nil {
			return err
		}
		if err := pki.Kubeconfig(u.path(name+".kubeconfig"), "https://127.0.0.1:6443", u.files.CA.PEM, cert, key, name); err != nil {
			return err
		}
	}
	if err := u.configs(); err != nil {
		return err
	}
	if o.has(Node) {
		return u.pauseImage(ctx)
	}
	return nil
}

// Start starts the datastore, the API server and the runtime at once, and the others when the API answers.
func (u *upstream) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := u.spawn("etcd", u.etcdFlags()...); err != nil {
		return err
	}
	if err := u.spawn("kube-apiserver", u.apiFlags()...); err != nil {
		return err
	}
	if u.options.has(Node) {
		if err := u.startContainerd(); err != nil {
			return err
		}
	}
	cfg, err := u.Client()
	if err != nil {
		return err
	}
	if err := awaitReady(ctx, cfg); err != nil {
		return err
	}
	for _, p := range u.options.Parts {
		if err := u.StartPart(ctx, p); err != nil {
			return err
		}
	}
	if u.options.has(Node) {
		return awaitNode(ctx, cfg)
	}
	return nil
}

// StartPart starts what of the programs makes up a part, besides the runtime, which is there already.
func (u *upstream) StartPart(_ context.Context, p Part) error {
	switch p {
	case Controllers:
		return u.spawn("kube-controller-manager", u.controllerFlags()...)
	case Scheduler:
		return u.spawn("kube-scheduler", "--config", u.path("scheduler.yaml"), "--bind-address", "127.0.0.1")
	case Node:
		return u.spawn("kubelet", "--config", u.path("kubelet.yaml"), "--kubeconfig", u.path("kubelet.kubeconfig"), "--root-dir", u.path("kubelet"),
			"--hostname-override", NodeName, "--node-ip", u.box.IP, "--cert-dir", u.path("kubelet-certs"))
	case Proxy:
		return u.spawn("kube-proxy", "--config", u.path("proxy.yaml"))
	}
	return fmt.Errorf("upstream has no part %q", p)
}

// spawn starts a program whose output goes to a log of its own. It runs until Stop, or until the box is removed.
func (u *upstream) spawn(name string, args ...string) error {
	log, err := os.OpenFile(u.path(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := u.box.Command(context.Background(), false, append([]string{u.program(name)}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	u.processes = append(u.processes, cmd)
	return nil
}

// Stop ends the programs in the reverse order of their start, and the containers with the runtime.
func (u *upstream) Stop(context.Context) error {
	for i := len(u.processes) - 1; i >= 0; i-- {
		if err := u.processes[i].Process.Signal(os.Interrupt); err != nil {
			return fmt.Errorf("stopping %s: %w", u.processes[i].Path, err)
		}
		// It was asked to end; how it says so is its own.
		_ = u.processes[i].Wait()
	}
	u.processes = nil
	return machine.EndGroup(u.box.PodGroup())
}

// Import loads an archive with hyperkube's command, which speaks to any containerd.
func (u *upstream) Import(ctx context.Context, archive string) error {
	h := &hyperkube{box: u.box, root: u.root, data: u.data}
	return h.Import(ctx, archive)
}

// Forget removes the datastore and the kubelet's state.
func (u *upstream) Forget(context.Context) error {
	if err := machine.UnmountBelow(u.path("kubelet")); err != nil {
		return err
	}
	for _, dir := range []string{"etcd", "kubelet"} {
		if err := os.RemoveAll(u.path(dir)); err != nil {
			return err
		}
	}
	return nil
}

func (u *upstream) Client() (*rest.Config, error) {
	return clientcmd.BuildConfigFromFlags("", u.admin())
}

func (u *upstream) API() []string { return []string{"kube-apiserver", "upstream/etcd"} }

func (u *upstream) Binaries() []string {
	var all []string
	for _, name := range []string{
		"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "containerd", "bridge", "host-local", "loopback", "portmap",
	} {
		all = append(all, u.program(name))
	}
	for _, name := range []string{"runc", "containerd-shim-runc-v2"} {
		all = append(all, helper(u.root, name))
	}
	return all
}

// helper is a program that both systems run: hyperkube has it inside.
func helper(root, name string) string { return filepath.Join(root, "build", "helpers", name) }
