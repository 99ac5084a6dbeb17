package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"hyperkube/internal/cluster"
	"hyperkube/internal/pki"
)

// renew issues certificates anew. Running roles take up those that they serve or call with from their files; the
// administrator's kubeconfig of a local cluster, which holds a copy, is written again.
func renew(c *cli.Context) error {
	l, dir, err := places(c)
	if err != nil {
		return err
	}
	names := c.Args().Slice()
	switch {
	case len(names) == 0:
		return errors.New("certs renew: which? Give names from `certs list`, or all")
	case slices.Contains(names, "all") && len(names) > 1:
		return errors.New("certs renew: all goes without further names")
	case names[0] == "all":
		if names, err = renewable(dir); err != nil {
			return err
		}
	}
	for _, name := range names {
		i, err := pki.Renew(dir, name, time.Now())
		if err != nil {
			return err
		}
		fmt.Fprintf(c.App.Writer, "%s is valid until %s\n", name, i.Cert.NotAfter.UTC().Format(time.RFC3339))
	}
	if slices.Contains(names, "admin") && dir == l.PKI() {
		return rewriteAdmin(l)
	}
	return nil
}

// renewable are all certificates but the authorities.
func renewable(dir string) ([]string, error) {
	all, err := pki.List(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, i := range all {
		if !i.Cert.IsCA {
			names = append(names, i.Name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("certs renew: %s holds no certificate", dir)
	}
	return names, nil
}

func rewriteAdmin(l cluster.Layout) error {
	cfg, err := pki.LoadKubeconfig(l.AdminKubeconfig())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	cert, key, err := pair(l.PKI(), "admin").Read()
	if err != nil {
		return err
	}
	return pki.Kubeconfig(l.AdminKubeconfig(), cfg.Server, cfg.CA, cert, key, "admin")
}
