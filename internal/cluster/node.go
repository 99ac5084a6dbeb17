package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Node is how a node was started: what later starts and commands must know to find it, to go on with it and to undo it.
type Node struct {
	// Format of the data directory; see [format].
	Format        int    `json:"format,omitempty"`
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
	// CNIConfDir and CNIBinDir are where that runtime looks for networks and plugins.
	CNIConfDir string `json:"cniConfDir,omitempty"`
	CNIBinDir  string `json:"cniBinDir,omitempty"`
	// RegistryDir is where settings of image registries are looked for.
	RegistryDir string `json:"registryDir,omitempty"`
	// Run is the run directory.
	Run string `json:"run,omitempty"`
	// Kernel are the machine's settings as they were before the node changed them.
	Kernel *Kernel `json:"kernel,omitempty"`
}

// format is raised when an older program could not use a data directory that this one wrote.
const format = 1

// ErrNewer says that a newer program wrote the data directory.
var ErrNewer = errors.New("the data directory was written by a newer hyperkube")

// ErrNoNode says that no node was ever started with this layout.
var ErrNoNode = errors.New("no cluster was started with this data directory")

// ErrDamaged says that node.json is there but cannot be understood. Removing it is safe: what it said is taken from the flags then.
var ErrDamaged = errors.New("how the node was started cannot be read (remove the file to take the flags alone)")

// SaveNode writes how the node was started. Format, Run and Kernel are filled in here.
func (l Layout) SaveNode(n Node) error {
	n.Format, n.Run = format, l.Run
	old, _ := l.LoadNode() // what cannot be read knows nothing
	n.Kernel = old.Kernel.orCurrent()
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
		return Node{}, fmt.Errorf("%w: %s: %w", ErrDamaged, l.node(), err)
	}
	if n.Format > format {
		return Node{}, fmt.Errorf("%w: %s has format %d, this program knows up to %d", ErrNewer, l.node(), n.Format, format)
	}
	return n, nil
}
