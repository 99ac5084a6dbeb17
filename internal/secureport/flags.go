package secureport

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"hyperkube/internal/client"
	"hyperkube/internal/flags"
)

const category = "Serving"

// Flags are those of the port, upstream's names and defaults.
func Flags(port int) []cli.Flag {
	str := func(name, value, usage string) cli.Flag {
		return &cli.StringFlag{Category: category, Name: name, Value: value, Usage: usage}
	}
	out := []cli.Flag{
		str("bind-address", "0.0.0.0", "`ADDRESS` to serve health and metrics on"),
		&cli.IntFlag{Category: category, Name: "secure-port", Value: port, Usage: "`PORT` for them; 0 serves nothing"},
		str("tls-cert-file", "", "`FILE` of the serving certificate; one is made in memory without"),
		str("tls-private-key-file", "", "`FILE` of its key"),
		str("client-ca-file", "", "`FILE` of the authorities of client certificates; taken from the cluster without"),
		str("authentication-kubeconfig", "", "`FILE` that tells where to have tokens reviewed; --kubeconfig by default"),
		str("authorization-kubeconfig", "", "`FILE` that tells where to ask for rights; --kubeconfig by default"),
		&cli.StringSliceFlag{Category: category, Name: "authorization-always-allow-paths", Value: cli.NewStringSlice("/healthz", "/readyz", "/livez"), Usage: "paths that need no right"},
		&cli.BoolFlag{Category: category, Name: "profiling", Value: true, Usage: "serve /debug/pprof"},
	}
	return append(append(out, flags.TLSFlags(category)...), foreign.Flags()...)
}

// foreign are upstream's other flags of such a port.
var foreign = flags.Foreign{{
	Why: "a certificate that is made here is kept in memory", Texts: []string{"cert-dir"},
}, {
	Why:   "nobody is believed at this port whom a front proxy names",
	Texts: []string{"requestheader-client-ca-file", "requestheader-allowed-names", "requestheader-username-headers", "requestheader-group-headers", "requestheader-uid-headers", "requestheader-extra-headers-prefix"},
}, {
	Why:   "answers are kept for ten seconds, and a failing API server is asked again",
	Spans: []string{"authentication-token-webhook-cache-ttl", "authorization-webhook-cache-authorized-ttl", "authorization-webhook-cache-unauthorized-ttl"},
	Bools: []string{"authentication-skip-lookup", "authentication-tolerate-lookup-failure"},
}, {
	Why: "connections are cheap enough", Numbers: []string{"http2-max-streams-per-connection"},
}, {
	Why: "two processes must not share the port", Refuse: true, Bools: []string{"permit-port-sharing", "permit-address-sharing"},
}, {
	Why: "certificates by name of the server are not served here", Refuse: true, Texts: []string{"tls-sni-cert-key"},
}, {
	Why: "locks are always traced", Bools: []string{"contention-profiling"},
}}

// FromFlags reads them. Port 0 becomes -1: serve nothing.
func FromFlags(c *cli.Context) (Config, error) {
	cfg := Config{
		BindAddress: c.String("bind-address"), Port: c.Int("secure-port"),
		CertFile: c.String("tls-cert-file"), KeyFile: c.String("tls-private-key-file"), ClientCAFile: c.String("client-ca-file"),
		Profiling: c.Bool("profiling"),
	}
	for _, s := range c.StringSlice("authorization-always-allow-paths") {
		cfg.AlwaysAllowPaths = append(cfg.AlwaysAllowPaths, strings.Split(s, ",")...)
	}
	if cfg.Port < 0 || cfg.Port > 65535 {
		return cfg, fmt.Errorf("--secure-port: %s is not a port", strconv.Itoa(cfg.Port))
	}
	if cfg.Port == 0 {
		cfg.Port = -1
	}
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return cfg, errors.New("--tls-cert-file and --tls-private-key-file go together")
	}
	var err error
	if cfg.TLS, err = flags.TLSFrom(c); err != nil {
		return cfg, err
	}
	if cfg.Authn, err = asker(c.String("authentication-kubeconfig")); err != nil {
		return cfg, fmt.Errorf("--authentication-kubeconfig: %w", err)
	}
	if cfg.Authz, err = asker(c.String("authorization-kubeconfig")); err != nil {
		return cfg, fmt.Errorf("--authorization-kubeconfig: %w", err)
	}
	return cfg, foreign.Check(c)
}

func asker(kubeconfig string) (client.Interface, error) {
	if kubeconfig == "" {
		return nil, nil
	}
	r, err := client.FromKubeconfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	return client.NewREST(r)
}
