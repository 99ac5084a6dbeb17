// Package cluster knows where a node of a cluster keeps its things on this machine, and who runs it.
//
//	DATA/                          --data-dir, /var/lib/hyperkube
//	├── admin.kubeconfig           the administrator's, 0600
//	├── node.json                  how this node was started; reset reads what to remove from it
//	├── lock                       held by the running process, its process id inside
//	├── hyperkube.log              the log of a detached process
//	├── kubelet.kubeconfig         how a node that joined reaches its cluster, with its own certificate in pki/
//	├── kubelet-config.yaml        what the cluster told that node about kubelets
//	├── net-conf.json              and about the overlay
//	├── pki/                       certificates and keys
//	├── etcd/                      the datastore of a master
//	├── containerd/                images and snapshots
//	├── kubelet/                   volumes and pod directories
//	├── logs/pods/                 what containers wrote
//	├── logs/containers/           links to it, by pod and container, for log collectors
//	├── manifests/                 static pods: one manifest a file
//	└── cni/                       pod addresses
//	RUN/                           --run-dir, /run/hyperkube, gone after a reboot
//	├── lock                       as the one in DATA: neither directory serves two nodes
//	├── containerd/                state of the container runtime, its socket
//	└── cni/                       socket and configuration of the pod network
//
// Everything that a node writes is below these two, so that removing it, and the kernel objects named in
// node.json, leaves nothing behind. Both directories are the node's alone: [Layout.Create] refuses one that holds other
// things, and [Layout.Remove] deletes only the names above.
package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The default places.
const (
	DefaultDataDir = "/var/lib/hyperkube"
	DefaultRunDir  = "/run/hyperkube"
)

// Layout is where one node keeps its things.
type Layout struct{ Data, Run string }

// NewLayout makes paths absolute and free of links, as the kernel shows them in its list of mounts. Without a run directory it is
// the one that the node was started with, or else one of its own for each data directory.
func NewLayout(data, run string) (Layout, error) {
	if data == "" {
		data = DefaultDataDir
	}
	data, err := resolve(data)
	if err != nil {
		return Layout{}, fmt.Errorf("data directory: %w", err)
	}
	l := Layout{Data: data, Run: run}
	if l.Run == "" {
		l.Run = DefaultRunDir + l.suffix()
		if n, err := l.LoadNode(); err == nil && n.Run != "" {
			l.Run = n.Run
		}
	}
	if l.Run, err = resolve(l.Run); err != nil {
		return Layout{}, fmt.Errorf("run directory: %w", err)
	}
	if l.Data == l.Run || l.Data == "/" || l.Run == "/" {
		return Layout{}, fmt.Errorf("data directory %s and run directory %s must be two directories of the node's own", l.Data, l.Run)
	}
	return l, nil
}

// resolve makes a path absolute and follows the links in the part of it that exists.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) || path == "/" {
		if err != nil {
			return path, nil // whoever uses the path reports it better
		}
		return real, nil
	}
	parent, err := resolve(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), err
}

// suffix tells several nodes of one machine apart; empty for the default data directory.
func (l Layout) suffix() string {
	if l.Data == DefaultDataDir {
		return ""
	}
	sum := sha256.Sum256([]byte(l.Data))
	return "-" + hex.EncodeToString(sum[:4])
}

// The parts of the layout.
func (l Layout) PKI() string             { return filepath.Join(l.Data, "pki") }
func (l Layout) Etcd() string            { return filepath.Join(l.Data, "etcd") }
func (l Layout) Containerd() string      { return filepath.Join(l.Data, "containerd") }
func (l Layout) ContainerdState() string { return filepath.Join(l.Run, "containerd") }
func (l Layout) ContainerdSocket() string {
	return filepath.Join(l.Run, "containerd", "containerd.sock")
}
func (l Layout) Kubelet() string         { return filepath.Join(l.Data, "kubelet") }
func (l Layout) CNIState() string        { return filepath.Join(l.Data, "cni") }
func (l Layout) CNIConf() string         { return filepath.Join(l.Run, "cni", "net.d") }
func (l Layout) CNISocket() string       { return filepath.Join(l.Run, "cni", "cni.sock") }
func (l Layout) AdminKubeconfig() string { return filepath.Join(l.Data, "admin.kubeconfig") }
func (l Layout) NodeKubeconfig() string  { return filepath.Join(l.Data, "kubelet.kubeconfig") }
func (l Layout) KubeletConfig() string   { return filepath.Join(l.Data, "kubelet-config.yaml") }
func (l Layout) NetConf() string         { return filepath.Join(l.Data, "net-conf.json") }
func (l Layout) Log() string             { return filepath.Join(l.Data, "hyperkube.log") }
func (l Layout) PodLogs() string         { return filepath.Join(l.Data, "logs", "pods") }
func (l Layout) ContainerLogs() string   { return filepath.Join(l.Data, "logs", "containers") }
func (l Layout) StaticPods() string      { return filepath.Join(l.Data, "manifests") }
func (l Layout) node() string            { return filepath.Join(l.Data, "node.json") }
func (l Layout) locks() [2]string {
	return [2]string{filepath.Join(l.Data, "lock"), filepath.Join(l.Run, "lock")}
}

// CgroupParent is the cgroup below which all pods of the node run.
func (l Layout) CgroupParent() string { return "/hyperkube" + l.suffix() }

// Create makes both directories, which only root can list. One that is somebody else's is [ErrForeign].
func (l Layout) Create() error {
	if err := l.checkOwn(); err != nil {
		return err
	}
	for _, d := range []string{l.Data, l.Run} {
		// Others may pass through but not look: pods with a user namespace of their own reach their volumes.
		if err := os.MkdirAll(d, 0o711); err != nil {
			return fmt.Errorf("making the directories of the node: %w", err)
		}
	}
	probe, err := os.CreateTemp(l.Data, probePrefix+"*")
	if err != nil {
		return fmt.Errorf("the data directory cannot be written: %w", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

const probePrefix = ".write-test-"

// Discard removes the directories of a node that was never started, if there is nothing in them.
func (l Layout) Discard() {
	if _, err := l.LoadNode(); err == nil {
		return
	}
	locks := l.locks()
	for _, p := range []string{locks[0], locks[1], l.Run, l.Log(), l.Data} {
		_ = os.Remove(p) // what is not empty stays
	}
}
