// Package system starts the systems under test, each in a box: hyperkube as one process, and upstream's programs as one process
// each. A scenario sees only [System] and so puts both under the same load.
//
// Both listen with TLS on the box's own addresses, authenticate by client certificates, authorize by RBAC and make the same
// promises of durability: etcd with fsync. Certificates of upstream's programs are made before the clock starts, as an
// installer would; hyperkube makes its own while it starts.
package system

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/rest"

	"hyperkube/e2e/bench/machine"
)

// Part is a piece of a cluster that a scenario asks for. The API server and its datastore always run.
type Part string

// The parts.
const (
	Controllers Part = "controller-manager"
	Scheduler   Part = "scheduler"
	Node        Part = "node" // container runtime, pod network and kubelet
	Proxy       Part = "proxy"
)

// Whole is everything that a single-node cluster runs.
var Whole = []Part{Controllers, Scheduler, Node, Proxy}

// NodeName of the only real node.
const NodeName = "one"

// Options of a start.
type Options struct {
	Parts []Part
	// Mode of the service proxy: iptables or nftables.
	ProxyMode string
	// ClusterCIDR is where the nodes' ranges of pod addresses come from, 256 for each; 10.244.0.0/16.
	ClusterCIDR string
}

func (o Options) has(p Part) bool {
	for _, q := range o.Parts {
		if p == q {
			return true
		}
	}
	return false
}

func (o Options) clusterCIDR() string { return cmp.Or(o.ClusterCIDR, "10.244.0.0/16") }

// System is one system under test.
type System interface {
	// Prepare does what is not measured: files, certificates.
	Prepare(ctx context.Context, o Options) error
	// Start returns when the API answers /readyz and, with a node, that is Ready.
	Start(ctx context.Context) error
	// StartPart starts one more part beside a running API server, as a process of its own.
	StartPart(ctx context.Context, p Part) error
	// Stop ends the processes and leaves the data.
	Stop(ctx context.Context) error
	// Import loads an image archive into the node's runtime.
	Import(ctx context.Context, archive string) error
	// Forget removes the cluster's data but not the images of the node.
	Forget(ctx context.Context) error
	// Client is the administrator's, with JSON.
	Client() (*rest.Config, error)
	// API are words by which the processes that serve the API are known: the memory of API server and datastore.
	API() []string
	// Binaries are the files of the programs.
	Binaries() []string
}

// New makes a system by name in a box; data is where it keeps its data.
func New(name string, box *machine.Box, root, data string) (System, error) {
	switch name {
	case "hyperkube":
		return &hyperkube{box: box, root: root, data: data}, nil
	case "upstream":
		return &upstream{box: box, root: root, data: data}, nil
	}
	return nil, fmt.Errorf("there is no system %q: there are upstream and hyperkube", name)
}

// Names are the systems in the order of the table.
var Names = []string{"upstream", "hyperkube"}

// ErrNotOffered says that a system cannot do what a scenario asks for.
var ErrNotOffered = errors.New("does not offer this")

const startLimit = 90 * time.Second
