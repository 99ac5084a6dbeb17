package main

import (
	"github.com/urfave/cli/v2"

	"hyperkube/roles/apiserver"
	"hyperkube/roles/images"
	"hyperkube/roles/kubectl"
	"hyperkube/roles/status"
	"hyperkube/roles/token"
)

// commands is the switchboard: everything that this binary can be.
func commands() []*cli.Command {
	return []*cli.Command{
		apiserver.Command(),
		kubectl.Command(),
		kubectl.VersionCommand(),
		images.Command(),
		status.Command(),
		token.Command(),
	}
}
