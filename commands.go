package main

import (
	"github.com/urfave/cli/v2"

	"hyperkube/roles/apiserver"
	"hyperkube/roles/certs"
	"hyperkube/roles/cni"
	"hyperkube/roles/containerd"
	"hyperkube/roles/controllermanager"
	"hyperkube/roles/dns"
	"hyperkube/roles/down"
	"hyperkube/roles/etcd"
	"hyperkube/roles/flannel"
	"hyperkube/roles/images"
	"hyperkube/roles/kubectl"
	"hyperkube/roles/kubelet"
	"hyperkube/roles/proxy"
	"hyperkube/roles/scheduler"
	"hyperkube/roles/status"
	"hyperkube/roles/token"
	"hyperkube/roles/up"
)

// commands is the switchboard: everything that this binary can be.
func commands() []*cli.Command {
	return []*cli.Command{
		apiserver.Command(),
		controllermanager.Command(),
		scheduler.Command(),
		etcd.Command(),
		kubelet.Command(),
		proxy.Command(),
		containerd.Command(),
		flannel.Command(),
		cni.Command(),
		dns.Command(),
		kubectl.Command(),
		kubectl.VersionCommand(),
		up.Command(),
		up.JoinCommand(),
		down.Command(),
		down.ResetCommand(),
		status.Command(),
		token.Command(),
		certs.Command(),
		images.Command(),
	}
}
