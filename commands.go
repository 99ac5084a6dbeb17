package main

import (
	"github.com/urfave/cli/v2"

	"hyperkube/roles/apiserver"
	"hyperkube/roles/controllermanager"
	"hyperkube/roles/down"
	"hyperkube/roles/images"
	"hyperkube/roles/kubectl"
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
		up.Command(),
		down.Command(),
		down.ResetCommand(),
		kubectl.Command(),
		kubectl.VersionCommand(),
		images.Command(),
		status.Command(),
		token.Command(),
	}
}
