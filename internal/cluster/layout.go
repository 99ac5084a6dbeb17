// Package cluster knows where a node of a cluster keeps its things on this machine, and who runs it.
//
//	DATA/                          --data-dir, /var/lib/hyperkube
//	├── admin.kubeconfig           the administrator's, 0600
//	├── node.json                  how this node was started; reset reads what to remove from it
//	├── hyperkube.log              the log of a detached process
//	├── kubelet.kubeconfig         how a node that joined reaches its cluster, with its own certificate in pki/
//	├── kubelet-config.yaml        what the cluster told that node about kubelets
//	├── net-conf.json              and about the overlay
//	├── pki/                       certificates and keys
//	├── etcd/                      the datastore of a master
//	├── containerd/                images and snapshots
//	├── kubelet/                   volumes and pod directories
//	├── logs/pods/                 what containers wrote
//	└── cni/                       pod addresses
//	RUN/                           --run-dir, /run/hyperkube, gone after a reboot
//	├── lock                       held by the running process, its process id inside
//	├── containerd/                state of the container runtime, its socket
//	└── cni/                       socket and configuration of the pod network
//
// Everything that a node writes is below these two, so that removing both, and the kernel objects named in
// node.json, leaves nothing behind.
package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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

// NewLayout makes paths absolute and gives a node with a data directory of its own a run directory of its own.
func NewLayout(data, run string) (Layout, error) {
	if data == "" {
		data = DefaultDataDir
	}
	data, err := filepath.Abs(data)
	if err != nil {
		return Layout{}, fmt.Errorf("data directory: %w", err)
	}
	l := Layout{Data: data, Run: run}
	if l.Run == "" {
		l.Run = DefaultRunDir + l.suffix()
	}
	if l.Run, err = filepath.Abs(l.Run); err != nil {
		return Layout{}, fmt.Errorf("run directory: %w", err)
	}
	return l, nil
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
func (l Layout) node() string            { return filepath.Join(l.Data, "node.json") }
func (l Layout) lock() string            { return filepath.Join(l.Run, "lock") }

// CgroupParent is the cgroup below which all pods of the node run.
func (l Layout) CgroupParent() string { return "/hyperkube" + l.suffix() }

// Create makes both directories, which only root can list.
func (l Layout) Create() error {
	for _, d := range []string{l.Data, l.Run} {
		// Others may pass through but not look: pods with a user namespace of their own reach their volumes.
		if err := os.MkdirAll(d, 0o711); err != nil {
			return fmt.Errorf("making the directories of the node: %w", err)
		}
	}
	probe, err := os.CreateTemp(l.Data, ".write-test-*")
	if err != nil {
		return fmt.Errorf("the data directory cannot be written: %w", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// Discard removes the directories of a node that was never started, if there is nothing in them.
func (l Layout) Discard() {
	if _, err := l.LoadNode(); err == nil {
		return
	}
	for _, p := range []string{l.lock(), l.Run, l.Log(), l.Data} {
		_ = os.Remove(p) // what is not empty stays
	}
}

// Node is how a node was started: what later starts and commands must know to find it, to go on with it and to undo it.
type Node struct {
	Name          string `json:"name"`
	IP            string `json:"ip,omitempty"` // only when it was given
	Master        bool   `json:"master"`
	Server        string `json:"server"` // URL of the API server
	PodCIDR       string `json:"podCIDR,omitempty"`
	ServiceCIDR   string `json:"serviceCIDR,omitempty"`
	ClusterDNS    string `json:"clusterDNS,omitempty"`
	ClusterDomain string `json:"clusterDomain,omitempty"`
	NodePorts     string `json:"nodePorts,omitempty"`
	APIPort       int    `json:"apiPort,omitempty"`
	// APINames are further names of a master's API server.
	APINames []string `json:"apiNames,omitempty"`
	Bridge   string   `json:"bridge"`
	Overlay  string   `json:"overlay"`
	// RuntimeEndpoint is the socket of a container runtime that is not ours; reset leaves it alone.
	RuntimeEndpoint string `json:"runtimeEndpoint,omitempty"`
}

// ErrNoNode says that no node was ever started with this layout.
var ErrNoNode = errors.New("no cluster was started with this data directory")

// SaveNode writes how the node was started.
func (l Layout) SaveNode(n Node) error {
	data, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	tmp := l.node() + ".tmp"
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("saving how the node was started: %w", err)
	}
	return os.Rename(tmp, l.node())
}

// LoadNode reads how the node was started: [ErrNoNode] when it never was.
func (l Layout) LoadNode() (Node, error) {
	var n Node
	data, err := os.ReadFile(l.node())
	if errors.Is(err, fs.ErrNotExist) {
		return n, fmt.Errorf("%w: %s", ErrNoNode, l.Data)
	}
	if err != nil {
		return n, err
	}
	if err := json.Unmarshal(data, &n); err != nil {
		return n, fmt.Errorf("%s: %w", l.node(), err)
	}
	return n, nil
}
