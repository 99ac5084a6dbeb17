// Package certs makes, shows and renews the certificates of a cluster, and writes kubeconfigs with them: for clusters whose
// roles are started one by one, and for whoever must look after one. `up` needs none of it: it keeps its own certificates
// in order.
package certs

import (
	"errors"

	"github.com/urfave/cli/v2"

	"hyperkube/internal/cluster"
	"hyperkube/internal/command"
)

// Command is `certs`.
func Command() *cli.Command {
	return &cli.Command{
		Name: "certs", Category: "Everyday",
		Usage: "make, show and renew certificates, and write kubeconfigs",
		Subcommands: []*cli.Command{
			{
				Name: "init", Usage: "make the authorities, keys and certificates of a cluster, as far as they are missing",
				Flags: append(where(), initFlags()...), Action: command.NoArguments(initialize),
			},
			{
				Name: "list", Aliases: []string{"check-expiration"}, Usage: "show all certificates and when they end",
				Flags: where(), Action: command.NoArguments(list),
			},
			{
				Name: "renew", Usage: "issue certificates anew, with new keys", ArgsUsage: "NAME…|all",
				Flags: where(), Action: renew,
			},
			{
				Name: "kubeconfig", Usage: "print a kubeconfig with a client certificate",
				Flags: append(where(), kubeconfigFlags()...), Action: command.NoArguments(kubeconfig),
			},
		},
	}
}

func where() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "data-dir", Value: cluster.DefaultDataDir, Usage: "`DIR` of the local cluster"},
		&cli.StringFlag{Name: "cert-dir", Usage: "`DIR` of the certificates; pki in the data directory by default"},
	}
}

// places are the layout of the local cluster and the directory of the certificates.
func places(c *cli.Context) (cluster.Layout, string, error) {
	l, err := cluster.NewLayout(c.String("data-dir"), "")
	if err != nil {
		return l, "", err
	}
	if d := c.String("cert-dir"); d != "" {
		return l, d, nil
	}
	return l, l.PKI(), nil
}

// server is the URL of the API server: the flag's, or that of the local cluster.
func server(c *cli.Context, l cluster.Layout) (string, error) {
	if s := c.String("server"); s != "" {
		return s, nil
	}
	n, err := l.LoadNode()
	if errors.Is(err, cluster.ErrNoNode) {
		return "", errors.New("--server is needed: the URL of the API server")
	}
	return n.Server, err
}
