package main

import (
	"github.com/urfave/cli/v2"

	"hyperkube/roles/kubectl"
)

// commands is the switchboard: everything that this binary can be.
func commands() []*cli.Command {
	return []*cli.Command{
		kubectl.Command(),
		kubectl.VersionCommand(),
	}
}
