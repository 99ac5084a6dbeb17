package etcd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/pkg/v3/flags"
	"go.etcd.io/etcd/server/v3/embed"
	"sigs.k8s.io/yaml"
)

// Option is one flag of etcd's own command line.
type Option struct {
	Name, Usage, Default string
	Bool                 bool
}

// Flags that etcd's main defines beside those of its configuration.
const (
	configFile   = "config-file"
	clusterState = "initial-cluster-state"
)

// Options lists etcd's flags as etcd documents them.
func Options() []Option {
	_, fs := newStandalone()
	var out []Option
	fs.VisitAll(func(f *flag.Flag) {
		b, ok := f.Value.(interface{ IsBoolFlag() bool })
		out = append(out, Option{Name: f.Name, Usage: f.Usage, Default: f.DefValue, Bool: ok && b.IsBoolFlag()})
	})
	return out
}

func newStandalone() (*embed.Config, *flag.FlagSet) {
	c := embed.NewConfig()
	fs := flag.NewFlagSet("etcd", flag.ContinueOnError)
	c.AddFlags(fs)
	fs.String(configFile, "", "Path to the server configuration file. Note that if a configuration file is provided, other command line flags and environment variables will be ignored.")
	fs.Var(flags.NewSelectiveStringValue(embed.ClusterStateFlagNew, embed.ClusterStateFlagExisting), clusterState,
		"Initial cluster state ('new' when bootstrapping a new cluster or 'existing' when adding new members to an existing cluster). After successful initialization (bootstrapping or adding), flag is ignored on restarts.")
	return c, fs
}

// StartStandalone starts a member as etcd's own command line would, from values of the flags in [Options]. With a config-file the
// other values are ignored, as etcd does; keys of the file that etcd does not know are an error.
func StartStandalone(ctx context.Context, values map[string]string, log *slog.Logger) (*Member, error) {
	c, fs := newStandalone()
	for name, v := range values {
		if err := fs.Set(name, v); err != nil {
			return nil, fmt.Errorf("etcd: --%s=%q: %w", name, v, err)
		}
	}
	var err error
	if path := values[configFile]; path != "" {
		c, err = fromFile(path)
	} else {
		err = fromFlags(c, fs, values)
	}
	if err != nil {
		return nil, err
	}
	c.LogLevel, c.LogOutputs = "debug", []string{embed.StdErrLogOutput} // slog decides.
	if c.Dir == "" {
		c.Dir = c.Name + ".etcd"
	}
	if err := prepareDir(c.Dir, c.WalDir); err != nil {
		return nil, err
	}
	lone := c.ClusterState == embed.ClusterStateFlagNew && c.InitialCluster != "" && !strings.Contains(c.InitialCluster, ",")
	return start(ctx, c, newFailure(logOf(log)), lone)
}

// fromFlags takes over the values that etcd's configuration does not take by itself.
func fromFlags(c *embed.Config, fs *flag.FlagSet, values map[string]string) error {
	c.ListenPeerUrls = flags.UniqueURLsFromFlag(fs, "listen-peer-urls")
	c.AdvertisePeerUrls = flags.UniqueURLsFromFlag(fs, "initial-advertise-peer-urls")
	c.ListenClientUrls = flags.UniqueURLsFromFlag(fs, "listen-client-urls")
	c.ListenClientHttpUrls = flags.UniqueURLsFromFlag(fs, "listen-client-http-urls")
	c.AdvertiseClientUrls = flags.UniqueURLsFromFlag(fs, "advertise-client-urls")
	c.ListenMetricsUrls = flags.UniqueURLsFromFlag(fs, "listen-metrics-urls")
	c.DiscoveryCfg.Endpoints = flags.UniqueStringsFromFlag(fs, "discovery-endpoints")
	c.CORS = flags.UniqueURLsMapFromFlag(fs, "cors")
	c.HostWhitelist = flags.UniqueStringsMapFromFlag(fs, "host-whitelist")
	c.ClientTLSInfo.AllowedHostnames = flags.StringsFromFlag(fs, "client-cert-allowed-hostname")
	c.PeerTLSInfo.AllowedCNs = flags.StringsFromFlag(fs, "peer-cert-allowed-cn")
	c.PeerTLSInfo.AllowedHostnames = flags.StringsFromFlag(fs, "peer-cert-allowed-hostname")
	c.CipherSuites = flags.StringsFromFlag(fs, "cipher-suites")
	c.MaxConcurrentStreams = flags.Uint32FromFlag(fs, "max-concurrent-streams")
	c.ClusterState = fs.Lookup(clusterState).Value.String()
	set := func(name string) bool { _, ok := values[name]; return ok }
	if set("listen-client-urls") && !set("advertise-client-urls") {
		return errors.New("etcd: --advertise-client-urls is required when --listen-client-urls is set explicitly")
	}
	switch {
	case set("initial-cluster"):
	case c.DNSCluster != "" || c.DNSClusterServiceName != "" || len(c.DiscoveryCfg.Endpoints) > 0:
		c.InitialCluster = ""
	default:
		c.InitialCluster = c.InitialClusterFromName(c.Name)
	}
	for name := range values {
		c.FlagsExplicitlySet[name] = true
	}
	return nil
}

// urlKeys are those whose mistakes etcd answers by ending the process.
var urlKeys = []string{"listen-peer-urls", "listen-client-urls", "listen-client-http-urls", "initial-advertise-peer-urls",
	"advertise-client-urls", "listen-metrics-urls"}

// fromFile reads etcd's YAML configuration.
func fromFile(path string) (*embed.Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("etcd configuration: %w", err)
	}
	var m map[string]any
	if err := yaml.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("etcd configuration %s: %w", path, err)
	}
	known := fileKeys()
	for k, v := range m {
		if !slices.Contains(known, k) {
			return nil, fmt.Errorf("etcd configuration %s: unknown field %q", path, k)
		}
		if text, ok := v.(string); ok && text != "" && slices.Contains(urlKeys, k) {
			if _, err := types.NewURLs(strings.Split(text, ",")); err != nil {
				return nil, fmt.Errorf("etcd configuration %s: %s: %w", path, k, err)
			}
		}
	}
	c, err := embed.ConfigFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("etcd configuration %s: %w", path, err)
	}
	return c, nil
}

// fileKeys are the keys of etcd's configuration file: those of its configuration's fields, and those that it
// translates.
func fileKeys() []string {
	keys := append([]string{"cors", "host-whitelist", "client-transport-security", "peer-transport-security", "feature-gates"}, urlKeys...)
	t := reflect.TypeFor[embed.Config]()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			keys = append(keys, name)
		}
	}
	return keys
}
