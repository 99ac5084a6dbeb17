package up

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"hyperkube/internal/cluster"
	"hyperkube/internal/config"
)

// parseUp reads the command line of `up` in a data directory where an earlier start left before, if it has a name.
func parseUp(t *testing.T, dir string, args ...string) (Config, error) {
	t.Helper()
	var cfg Config
	err := config.ParseArgs("up", upFlags, append([]string{"--data-dir", dir}, args...), func(c *cli.Context, _ []string) (err error) {
		cfg, err = fromFlags(c)
		return err
	})
	return cfg, err
}

func parseJoin(t *testing.T, dir string, args ...string) (Config, error) {
	t.Helper()
	var cfg Config
	err := config.ParseArgs("join", joinFlags, append([]string{"--data-dir", dir}, args...), func(c *cli.Context, others []string) (err error) {
		cfg, err = joinFromFlags(c, others)
		return err
	})
	return cfg, err
}

// earlier leaves what a start leaves.
func earlier(t *testing.T, n cluster.Node) string {
	t.Helper()
	l, err := cluster.NewLayout(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SaveNode(n); err != nil {
		t.Fatal(err)
	}
	return l.Data
}

func TestAStartRemembersTheOneBefore(t *testing.T) {
	dir := earlier(t, cluster.Node{
		Name: "m", IP: "192.0.2.7", Master: true, Server: "https://192.0.2.7:7443", PodCIDR: "10.1.0.0/16", ServiceCIDR: "10.2.0.0/16",
		ClusterDomain: "example.test", NodePorts: "31000-31999", APIPort: 7443, APINames: []string{"api.example.test"}, Bridge: "br7", Overlay: "host-gw",
	})
	got, err := parseUp(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.NodeName != "m" || got.NodeIP.String() != "192.0.2.7" || got.PodCIDR.String() != "10.1.0.0/16" || got.ServiceCIDR.String() != "10.2.0.0/16" ||
		got.ClusterDomain != "example.test" || got.NodePorts.String() != "31000-31999" || got.APIPort != 7443 || !slices.Equal(got.APINames, []string{"api.example.test"}) ||
		got.Bridge != "br7" || got.OverlayBackend != "host-gw" || got.Join != nil {
		t.Errorf("%+v", got)
	}
	if got, err = parseUp(t, dir, "--overlay-backend", "vxlan", "--bridge=other"); err != nil || got.OverlayBackend != "vxlan" || got.Bridge != "other" {
		t.Errorf("%v: %+v; what is given counts", err, got)
	}
	if _, err := parseJoin(t, dir, "https://x:6443"); err == nil || !strings.Contains(err.Error(), "is the master") {
		t.Errorf("joining with a master: %v", err)
	}
}

func TestAJoinedNodeStartsAgain(t *testing.T) {
	dir := earlier(t, cluster.Node{
		Name: "n", Server: "https://192.0.2.7:6443", PodCIDR: "10.1.0.0/16", ServiceCIDR: "10.2.0.0/16", ClusterDNS: "10.2.0.10",
		ClusterDomain: "example.test", Bridge: "cni0", Overlay: "vxlan",
	})
	for name, parse := range map[string]func() (Config, error){
		"up":              func() (Config, error) { return parseUp(t, dir) },
		"join":            func() (Config, error) { return parseJoin(t, dir) },
		"join URL":        func() (Config, error) { return parseJoin(t, dir, "https://192.0.2.7:6443/") },
		"join with flags": func() (Config, error) { return parseJoin(t, dir, "--node-name", "n", "--v=4") },
	} {
		got, err := parse()
		if err != nil || got.Join == nil || got.Join.Server != "https://192.0.2.7:6443" || got.NodeName != "n" || got.DNSIP.String() != "10.2.0.10" {
			t.Errorf("%s: %v: %+v", name, err, got)
		}
	}
	for args, want := range map[string]string{
		"https://elsewhere:6443": "is a node of the cluster at https://192.0.2.7:6443",
		"--node-name=other":      `is that of node "n"`,
	} {
		if _, err := parseJoin(t, dir, args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("join %s: %v, want %q", args, err, want)
		}
	}
}

func TestJoinFlags(t *testing.T) {
	const token = "abcdef.0123456789abcdef"
	pin := "sha256:" + strings.Repeat("0a", 32)
	t.Setenv("HYPERKUBE_TOKEN", token)
	got, err := parseJoin(t, t.TempDir(), "https://m:6443", "--ca-cert-hash", pin, "--node-labels", "a=b,c=d", "--kubelet-arg", "max-pods=7")
	if err != nil || got.Join.Token.String() != token || got.Join.Server != "https://m:6443" || !slices.Equal(got.Join.Pins, []string{pin}) {
		t.Errorf("%v: %+v", err, got.Join)
	}
	if want := []string{"--node-labels=a=b,c=d", "--max-pods=7"}; !slices.Equal(got.Args["kubelet"], want) {
		t.Errorf("the kubelet is given %q, want %q", got.Args["kubelet"], want)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no URL":        {nil, "which cluster?"},
		"two URLs":      {[]string{"https://a", "https://b"}, `unexpected argument "https://b"`},
		"no hash":       {[]string{"https://a", "--ca-cert-hash", "nonsense"}, "--ca-cert-hash: the hash of a CA has the form sha256:HEX with 64 digits"},
		"short hash":    {[]string{"https://a", "--ca-cert-hash", "sha256:00"}, "--ca-cert-hash: the hash of a CA has the form"},
		"bad token":     {[]string{"https://a", "--token", "secret"}, "has the form"},
		"no token file": {[]string{"https://a", "--token-file", "/nonexistent"}, "no such file"},
	} {
		_, err := parseJoin(t, t.TempDir(), c.args...)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestFurtherFlagsAreChecked(t *testing.T) {
	for args, want := range map[string]string{
		"--kubelet-arg=frobnicate=1":                                        "--kubelet-arg: flag provided but not defined: -frobnicate",
		"--kube-controller-manager-arg=node-monitor-grace-period=soon":      "--kube-controller-manager-arg: ",
		"--kube-apiserver-arg=--no-such":                                    "--kube-apiserver-arg: ",
		"--kube-scheduler-arg=x":                                            "--kube-scheduler-arg: ",
		"--kube-proxy-arg=proxy-mode=telepathy":                             "--kube-proxy-arg: ",
		"--kube-apiserver-arg=max-requests-inflight=7":                      "",
		"--kubelet-arg=--node-labels=a=b,c=d":                               "",
		"--kube-controller-manager-arg=controllers=-cluster-dns-controller": "",
	} {
		cfg, err := parseUp(t, t.TempDir(), "--node-name=n", "--node-ip=192.0.2.1", args)
		if err == nil {
			err = cfg.complete()
		}
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

func TestTheTokenLeavesTheCommandLine(t *testing.T) {
	for in, want := range map[string]string{
		"join https://m --token a --detach":         "join https://m --detach",
		"join --token=a https://m":                  "join https://m",
		"join -token a --token-file f --data-dir d": "join --data-dir d",
		"join https://m --tokens":                   "join https://m --tokens",
		"join --token":                              "join",
	} {
		if got := strings.Join(withoutSecrets(strings.Fields(in)), " "); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}
