package certs

import (
	"crypto/x509"
	"errors"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"hyperkube/internal/pki"
)

func kubeconfigFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "server", Usage: "`URL` of the API server; the local cluster's by default"},
		&cli.StringFlag{Name: "user", Aliases: []string{"client-name"}, Usage: "`NAME` of the user: a certificate is issued for it"},
		&cli.StringSliceFlag{Name: "group", Aliases: []string{"org"}, Usage: "`GROUPS` of that user"},
		&cli.DurationFlag{Name: "validity-period", Value: pki.LeafLife, Usage: "`TIME` for which that certificate is valid"},
		&cli.StringFlag{Name: "cert", Usage: "`NAME` of a certificate from `certs list` to use in place of a new one"},
		&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "`FILE` to write, mode 0600, in place of printing"},
	}
}

func kubeconfig(c *cli.Context) error {
	l, dir, err := places(c)
	if err != nil {
		return err
	}
	url, err := server(c, l)
	if err != nil {
		return err
	}
	ca, err := pki.LoadCA(pair(dir, "ca").CertFile, pair(dir, "ca").KeyFile)
	if err != nil {
		return err
	}
	creds, err := credentials(c, dir, ca)
	if err != nil {
		return err
	}
	if out := c.String("out"); out != "" {
		return pki.WriteKubeconfig(out, url, ca.PEM, creds)
	}
	text, err := pki.EncodeKubeconfig(url, ca.PEM, creds)
	if err != nil {
		return err
	}
	_, err = c.App.Writer.Write(text)
	return err
}

// credentials are a certificate of the directory or one that is issued now.
func credentials(c *cli.Context, dir string, ca *pki.CA) (pki.Credentials, error) {
	user, name := c.String("user"), c.String("cert")
	switch {
	case (user == "") == (name == ""):
		return pki.Credentials{}, errors.New("certs kubeconfig: either --user or --cert is needed")
	case name != "" && c.IsSet("group"):
		return pki.Credentials{}, errors.New("certs kubeconfig: --group goes with --user")
	case name != "":
		cert, key, err := pair(dir, name).Read()
		return pki.Credentials{User: name, CertPEM: cert, KeyPEM: key}, err
	case c.Duration("validity-period") <= 0:
		return pki.Credentials{}, errors.New("certs kubeconfig: --validity-period must be more than nothing")
	}
	cert, key, err := ca.Issue(pki.Request{
		CommonName: user, Organizations: c.StringSlice("group"), Life: c.Duration("validity-period"),
		Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, time.Now())
	return pki.Credentials{User: user, CertPEM: cert, KeyPEM: key}, err
}

func pair(dir, name string) pki.Pair {
	base := filepath.Join(dir, filepath.FromSlash(name))
	return pki.Pair{CertFile: base + ".crt", KeyFile: base + ".key"}
}
