// Package dns is the cluster's name server: it answers for Services and pods from local, indexed copies of the API's
// objects, and passes other names on to the node's own resolvers.
//
// Names and records are those of the Kubernetes DNS-Based Service Discovery specification 1.1.0
// (https://github.com/kubernetes/dns/blob/master/docs/specification.md). A name that exists without records of the type asked
// for gives an empty answer, one that does not exist NXDOMAIN, both with the zone's SOA record. Answers live for [TTL]. A query costs a few map
// look-ups, however large the cluster.
//
// Each node runs a [Server] on the address of its pod bridge, and announces on its Node where that answers ([Announce]). The
// controller internal/controllers/clusterdns makes the Service kube-system/kube-dns of all of them.
package dns
