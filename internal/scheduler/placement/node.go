package placement

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// Node is one node and the sums of what is on it.
type Node struct {
	Name   string
	Object *corev1.Node // nil when pods are known on a node that is not
	index  int          // in State.nodes; -1 while Object is nil
	spec   uint64       // differs for every version of what decisions read from the node object

	allocatable Resources
	maxPods     int64
	images      map[string]int64 // size by name

	pods      []*Pod
	nominated []*Pod
	used      Resources
	scoring   Resources // as used, with defaults for containers that request nothing
	ports     []hostPort
	domains   []int32 // by topology key: the domain that the node is in, or -1
}

func (n *Node) setObject(obj *corev1.Node) {
	n.Object = obj
	n.allocatable = resourcesOf(obj.Status.Allocatable)
	n.maxPods = 0
	if q, ok := obj.Status.Allocatable[corev1.ResourcePods]; ok {
		n.maxPods = q.Value()
	}
	n.images = nil
	for i := range obj.Status.Images {
		for _, name := range obj.Status.Images[i].Names {
			if n.images == nil {
				n.images = map[string]int64{}
			}
			n.images[name] = obj.Status.Images[i].SizeBytes
		}
	}
}

// NodeChange says what of a node object changed that may matter to a decision.
type NodeChange struct {
	Allocatable, Labels, Taints, Images bool
}

// Any says that something changed.
func (c NodeChange) Any() bool { return c.Allocatable || c.Labels || c.Taints || c.Images }

// CompareNodes tells what differs between two versions of a node.
func CompareNodes(old, new *corev1.Node) NodeChange {
	return NodeChange{
		Allocatable: !equality.Semantic.DeepEqual(old.Status.Allocatable, new.Status.Allocatable),
		Labels:      !maps.Equal(old.Labels, new.Labels),
		Taints:      old.Spec.Unschedulable != new.Spec.Unschedulable || !equality.Semantic.DeepEqual(old.Spec.Taints, new.Spec.Taints),
		Images:      !slices.EqualFunc(old.Status.Images, new.Status.Images, sameImage),
	}
}

func sameImage(a, b corev1.ContainerImage) bool {
	return a.SizeBytes == b.SizeBytes && slices.Equal(a.Names, b.Names)
}

// attach adds a pod to the sums.
func (n *Node) attach(p *Pod) {
	p.node, p.slot = n, len(n.pods)
	n.pods = append(n.pods, p)
	n.used.add(&p.requests, 1)
	n.scoring.add(&p.scoring, 1)
	n.ports = append(n.ports, p.ports...)
}

func (n *Node) detach(p *Pod) {
	last := len(n.pods) - 1
	n.pods[p.slot] = n.pods[last]
	n.pods[p.slot].slot = p.slot
	n.pods[last] = nil
	n.pods = n.pods[:last]
	p.node = nil
	n.used.add(&p.requests, -1)
	n.scoring.add(&p.scoring, -1)
	for _, port := range p.ports {
		if i := slices.Index(n.ports, port); i >= 0 {
			n.ports = slices.Delete(n.ports, i, i+1)
		}
	}
}

// Pods on the node, in no order. The slice must not be changed or kept.
func (n *Node) Pods() []*Pod { return n.pods }
