package certs

import (
	"cmp"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	"k8s.io/apimachinery/pkg/util/duration"

	"hyperkube/internal/pki"
)

func list(c *cli.Context) error {
	_, dir, err := places(c)
	if err != nil {
		return err
	}
	return table(c, dir)
}

func table(c *cli.Context, dir string) error {
	all, err := pki.List(dir)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "CERTIFICATE\tSUBJECT\tEXPIRES\tRESIDUAL TIME\tAUTHORITY")
	for _, i := range all {
		authority := cmp.Or(i.Authority, "<unknown>")
		if i.Cert.IsCA && i.Authority == i.Name {
			authority = "<self>"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", i.Name, i.Cert.Subject, i.Cert.NotAfter.UTC().Format("Jan 02, 2006 15:04 MST"), residual(i.Cert.NotAfter), authority)
	}
	return w.Flush()
}

func residual(end time.Time) string {
	if left := time.Until(end); left > 0 {
		return duration.ShortHumanDuration(left)
	}
	return "<expired>"
}
