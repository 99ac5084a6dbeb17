package flags

import (
	"crypto/tls"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
	cliflag "k8s.io/component-base/cli/flag"
)

// TLS is how a server speaks TLS. The zero value is Go's choice of suites, from version 1.2 on.
type TLS struct {
	MinVersion uint16
	Suites     []uint16
	Curves     []tls.CurveID
}

// TLSFlags are --tls-min-version, --tls-cipher-suites and --tls-curve-preferences.
func TLSFlags(category string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Category: category, Name: "tls-min-version", Usage: "least `VERSION` of TLS: " + strings.Join(cliflag.TLSPossibleVersions(), ", ")},
		&cli.StringSliceFlag{Category: category, Name: "tls-cipher-suites", Usage: "`SUITES` that are used up to TLS 1.2; Go's by default"},
		&cli.IntSliceFlag{Category: category, Name: "tls-curve-preferences", Usage: "`NUMBERS` (Go's crypto/tls.CurveID) of key exchanges; Go's by default"},
	}
}

// TLSFrom reads what those flags say.
func TLSFrom(c *cli.Context) (TLS, error) {
	t, err := ParseTLS(c.String("tls-min-version"), c.StringSlice("tls-cipher-suites"))
	for _, n := range c.IntSlice("tls-curve-preferences") {
		t.Curves = append(t.Curves, tls.CurveID(n))
	}
	return t, err
}

// ParseTLS reads upstream's names of a version (VersionTLS13) and of suites (TLS_ECDHE_…).
func ParseTLS(version string, suites []string) (TLS, error) {
	var t TLS
	var err error
	if t.MinVersion, err = cliflag.TLSVersion(version); err != nil {
		return t, fmt.Errorf("least version of TLS: %w", err)
	}
	if t.MinVersion < tls.VersionTLS12 {
		return t, fmt.Errorf("least version of TLS: %s is not safe: it starts from VersionTLS12", version)
	}
	if len(suites) == 0 {
		return t, nil
	}
	if t.Suites, err = cliflag.TLSCipherSuites(suites); err != nil {
		return t, fmt.Errorf("TLS cipher suites: %w", err)
	}
	return t, nil
}

// Apply makes a server's configuration speak so.
func (t TLS) Apply(c *tls.Config) {
	if t.MinVersion != 0 {
		c.MinVersion = t.MinVersion
	}
	if t.Suites != nil {
		c.CipherSuites = t.Suites
	}
	if t.Curves != nil {
		c.CurvePreferences = t.Curves
	}
}
