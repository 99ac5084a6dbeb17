// Package overlay joins the pod subnets of all nodes into one network, as flannel does, and
// so that flannel itself on other nodes takes part.
//
// Each node's subnet is its Node object's spec.podCIDR, which the node IPAM controller sets. How to reach the node is said
// in annotations of the Node, in flannel's own format (https://github.com/flannel-io/flannel): backend-type,
// backend-data, public-ip and kube-subnet-manager below flannel.alpha.coreos.com/. [Overlay] writes those of its own node
// and turns those of the others into kernel routes: with the vxlan backend one route, one permanent neighbour and
// one forwarding entry for each node; with host-gw one route.
//
// Every change of a Node is acted on at once and costs only that node's entries. What somebody removes from the kernel is
// put back when the kernel tells of it; packet filter rules, of whose removal the kernel tells nobody, are looked at whenever
// an interface or route changed and every [RulesCheck].
package overlay
