// Package cni gives pods their network: an interface on the node's pod bridge, an address from the node's subnet, a
// default route, and host ports.
//
// The container runtime starts the tiny plugin executable (directory plugin) for each pod; it passes the call over a
// unix socket to the [Server] in the node process, which does the work over netlink. The protocol is
// package wire; the commands and errors are those of the CNI specification 1.1
// (https://www.cni.dev/docs/spec/).
//
// State on disk, all below Config.StateDir, is one JSON file per attachment, <container>-<interface>.json. It is written
// before anything is made in the kernel and removed after everything is gone, so a process that dies in
// between leaves a file that the next start or DEL acts on. At the start attachments whose network namespace is gone are released.
// Calls for one container run one after another; calls for different containers run side by side.
//
// The network configuration is written to the runtime's directory only once the node's subnet is known
// and the bridge stands, so a runtime never starts a pod that could not get an address.
package cni
