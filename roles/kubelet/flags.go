package kubelet

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"hyperkube/internal/command"
	"hyperkube/internal/config"
	"hyperkube/internal/flags"
	"hyperkube/internal/logging"
	"hyperkube/internal/version"
)

const (
	apiGroup = "API server"
	nodes    = "Node"
	podGroup = "Pods"
	serving  = "Serving"
	files    = "Files"
)

// setting is a flag that sets something of the configuration when it is given.
type setting struct {
	flag  cli.Flag
	apply func(c *cli.Context, name string, cfg *Config) error
}

func str(group, name, usage string, to func(*Config) *string) setting {
	return setting{&cli.StringFlag{Category: group, Name: name, Usage: usage}, func(c *cli.Context, n string, cfg *Config) error {
		*to(cfg) = c.String(n)
		return nil
	}}
}

func list(group, name, usage string, apply func(cfg *Config, v []string) error) setting {
	return setting{&cli.StringSliceFlag{Category: group, Name: name, Usage: usage}, func(c *cli.Context, n string, cfg *Config) error {
		var all []string
		for _, v := range c.StringSlice(n) {
			for _, one := range strings.Split(v, ",") {
				if one = strings.TrimSpace(one); one != "" {
					all = append(all, one)
				}
			}
		}
		return apply(cfg, all)
	}}
}

func yes(group, name, usage string, to func(*Config) **bool) setting {
	return setting{&cli.BoolFlag{Category: group, Name: name, Usage: usage}, func(c *cli.Context, n string, cfg *Config) error {
		v := c.Bool(n)
		*to(cfg) = &v
		return nil
	}}
}

func number(group, name, usage string, apply func(cfg *Config, v int)) setting {
	return setting{&cli.IntFlag{Category: group, Name: name, Usage: usage}, func(c *cli.Context, n string, cfg *Config) error {
		apply(cfg, c.Int(n))
		return nil
	}}
}

func span(group, name, usage string, to func(*Config) *metav1.Duration) setting {
	return setting{&cli.DurationFlag{Category: group, Name: name, Usage: usage}, func(c *cli.Context, n string, cfg *Config) error {
		to(cfg).Duration = c.Duration(n)
		return nil
	}}
}

func pairs(group, name, usage string, to func(*Config) *map[string]string) setting {
	return list(group, name, usage, func(cfg *Config, v []string) error {
		m, err := parsePairs(name, v)
		*to(cfg) = m
		return err
	})
}

// signals is a list of resources of the node with a value each.
func signals(name, sign, usage string, to func(*Config) *map[string]string) setting {
	return list(nodes, name, usage, func(c *Config, v []string) error {
		m := map[string]string{}
		for _, s := range v {
			signal, value, ok := strings.Cut(s, sign)
			if !ok {
				return fmt.Errorf("--%s: %q is not of the form signal%svalue", name, s, sign)
			}
			m[signal] = value
		}
		*to(c) = m
		return nil
	})
}

// settings are all flags but --config and those of the log.
func settings() []setting {
	return slices.Concat(identity(), running(), api(), further())
}

func identity() []setting {
	return []setting{
		str(apiGroup, "kubeconfig", "`FILE` that says how to reach the API server; without, only static pods are run", func(c *Config) *string { return &c.Kubeconfig }),
		str(apiGroup, "bootstrap-kubeconfig", "`FILE` with the token to get the first client certificate with", func(c *Config) *string { return &c.BootstrapKubeconfig }),
		yes(apiGroup, "rotate-certificates", "renew the client certificate when it is about to expire", func(c *Config) **bool { return new(*bool) }),
		str(nodes, "hostname-override", "`NAME` of the node in place of the host's", func(c *Config) *string { return &c.HostnameOverride }),
		list(nodes, "node-ip", "`IP` of the node, one of each family at most", func(c *Config, v []string) error { c.NodeIPs = v; return nil }),
		pairs(nodes, "node-labels", "`LABELS` of the node when it registers, key=value,…", func(c *Config) *map[string]string { return &c.Labels }),
		list(nodes, "register-with-taints", "`TAINTS` of the node when it registers, key=value:effect,…", func(c *Config, v []string) (err error) {
			c.Settings.RegisterWithTaints, err = parseTaints(v)
			return err
		}),
		yes(nodes, "register-node", "make the Node object", func(c *Config) **bool { return &c.Settings.RegisterNode }),
		str(nodes, "provider-id", "`ID` of the machine at its cloud", func(c *Config) *string { return &c.Settings.ProviderID }),
		number(nodes, "max-pods", "`NUMBER` of pods that the node takes", func(c *Config, v int) { c.Settings.MaxPods = int32(v) }),
		pairs(nodes, "system-reserved", "`RESOURCES` that the system keeps, cpu=…,memory=…", func(c *Config) *map[string]string { return &c.Settings.SystemReserved }),
		pairs(nodes, "kube-reserved", "`RESOURCES` that Kubernetes keeps, cpu=…,memory=…", func(c *Config) *map[string]string { return &c.Settings.KubeReserved }),
		signals("eviction-hard", "<", "`THRESHOLDS` below which pods are ended, memory.available<100Mi,nodefs.available<10%,…", func(c *Config) *map[string]string { return &c.Settings.EvictionHard }),
		signals("eviction-soft", "<", "`THRESHOLDS` below which pods are ended after a while", func(c *Config) *map[string]string { return &c.Settings.EvictionSoft }),
		signals("eviction-soft-grace-period", "=", "`TIMES` that soft thresholds must have been passed for, memory.available=1m30s,…", func(c *Config) *map[string]string { return &c.Settings.EvictionSoftGracePeriod }),
		number(nodes, "eviction-max-pod-grace-period", "`SECONDS` that pods ended by a soft threshold get at most", func(c *Config, v int) { c.Settings.EvictionMaxPodGracePeriod = int32(v) }),
		span(nodes, "eviction-pressure-transition-period", "`TIME` for which a pressure is told after it was last seen", func(c *Config) *metav1.Duration { return &c.Settings.EvictionPressureTransitionPeriod }),
		yes(nodes, "fail-swap-on", "refuse to run on a machine that swaps", func(c *Config) **bool { return &c.Settings.FailSwapOn }),
		yes(nodes, "fail-cgroupv1", "refuse to run on a machine with cgroup v1", func(c *Config) **bool { return &c.Settings.FailCgroupV1 }),
	}
}

func running() []setting {
	return []setting{
		str(podGroup, "container-runtime-endpoint", "`URL` of the container runtime's socket", func(c *Config) *string { return &c.Settings.ContainerRuntimeEndpoint }),
		str(podGroup, "image-service-endpoint", "`URL` of the image service's socket, the runtime's by default", func(c *Config) *string { return &c.Settings.ImageServiceEndpoint }),
		str(podGroup, "pod-manifest-path", "`DIR` of static pods", func(c *Config) *string { return &c.Settings.StaticPodPath }),
		list(podGroup, "cluster-dns", "`IPS` of the cluster's DNS", func(c *Config, v []string) error { c.Settings.ClusterDNS = v; return nil }),
		str(podGroup, "cluster-domain", "`DOMAIN` of the cluster", func(c *Config) *string { return &c.Settings.ClusterDomain }),
		setting{&cli.StringFlag{Category: podGroup, Name: "resolv-conf", Usage: "`FILE` that pods get resolvers from which do not use the cluster's DNS"}, func(c *cli.Context, n string, cfg *Config) error {
			v := c.String(n)
			cfg.Settings.ResolverConfig = &v
			return nil
		}},
		str(podGroup, "cgroup-root", "`CGROUP` below which those of pods are", func(c *Config) *string { return &c.Settings.CgroupRoot }),
		str(podGroup, "cgroup-driver", "`DRIVER` of cgroups: cgroupfs", func(c *Config) *string { return &c.Settings.CgroupDriver }),
		yes(podGroup, "cgroups-per-qos", "keep a cgroup for each pod and class of service", func(c *Config) **bool { return &c.Settings.CgroupsPerQOS }),
		yes(podGroup, "cpu-cfs-quota", "enforce CPU limits", func(c *Config) **bool { return &c.Settings.CPUCFSQuota }),
		yes(podGroup, "serialize-image-pulls", "pull one image at a time", func(c *Config) **bool { return &c.Settings.SerializeImagePulls }),
		list(podGroup, "allowed-unsafe-sysctls", "`SYSCTLS` that pods may set besides the safe ones", func(c *Config, v []string) error { c.Settings.AllowedUnsafeSysctls = v; return nil }),
		yes(podGroup, "seccomp-default", "use the runtime's seccomp profile for containers that name none", func(c *Config) **bool { return &c.Settings.SeccompDefault }),
		setting{&cli.Int64Flag{Category: podGroup, Name: "pod-max-pids", Usage: "`NUMBER` of processes of each pod"}, func(c *cli.Context, n string, cfg *Config) error {
			v := c.Int64(n)
			cfg.Settings.PodPidsLimit = &v
			return nil
		}},
		str(files, "root-dir", "`DIR` of volumes and the like", func(c *Config) *string { return &c.RootDir }),
		str(files, "cert-dir", "`DIR` of certificates", func(c *Config) *string { return &c.CertDir }),
		str(files, "pod-logs-dir", "`DIR` of the logs of containers", func(c *Config) *string { return &c.Settings.PodLogsDir }),
		str(files, "container-log-max-size", "`SIZE` at which a log is rotated", func(c *Config) *string { return &c.Settings.ContainerLogMaxSize }),
	}
}

func api() []setting {
	return []setting{
		str(serving, "address", "`IP` to serve on", func(c *Config) *string { return &c.Settings.Address }),
		number(serving, "port", "`PORT` of the kubelet's API", func(c *Config, v int) { c.Settings.Port = int32(v) }),
		number(serving, "read-only-port", "`PORT` of the API without authentication; 0 for none", func(c *Config, v int) { c.Settings.ReadOnlyPort = int32(v) }),
		number(serving, "healthz-port", "`PORT` of the local health check; 0 for none", func(c *Config, v int) { n := int32(v); c.Settings.HealthzPort = &n }),
		str(serving, "healthz-bind-address", "`IP` of the local health check", func(c *Config) *string { return &c.Settings.HealthzBindAddress }),
		str(serving, "client-ca-file", "`FILE` of the CAs whose client certificates are accepted", func(c *Config) *string { return &c.Settings.Authentication.X509.ClientCAFile }),
		str(serving, "tls-cert-file", "serving certificate `FILE`", func(c *Config) *string { return &c.Settings.TLSCertFile }),
		str(serving, "tls-private-key-file", "key `FILE` of that certificate", func(c *Config) *string { return &c.Settings.TLSPrivateKeyFile }),
		yes(serving, "rotate-server-certificates", "get the serving certificate from the cluster", func(c *Config) **bool { return new(*bool) }),
		yes(serving, "anonymous-auth", "let requests without credentials pass as system:anonymous", func(c *Config) **bool { return &c.Settings.Authentication.Anonymous.Enabled }),
		yes(serving, "authentication-token-webhook", "accept tokens that the API server knows", func(c *Config) **bool { return &c.Settings.Authentication.Webhook.Enabled }),
		setting{&cli.StringFlag{Category: serving, Name: "authorization-mode", Usage: "`MODE`: Webhook or AlwaysAllow"}, func(c *cli.Context, n string, cfg *Config) error {
			cfg.Settings.Authorization.Mode = kubeletv1beta1.KubeletAuthorizationMode(c.String(n))
			return nil
		}},
		span(nodes, "node-status-update-frequency", "how often the node's status is computed; it is written when it changes", func(c *Config) *metav1.Duration { return &c.Settings.NodeStatusUpdateFrequency }),
	}
}

// FromArgs reads the role's flags from a list, for whoever runs it together with others.
func FromArgs(args []string) (Config, error) {
	var all []setting
	read := func() []cli.Flag {
		all = settings()
		return flagsOf(all)
	}
	return command.FromArgs("kubelet", read, args, func(c *cli.Context) (Config, error) { return fromFlags(c, all) })
}

func flagsOf(all []setting) []cli.Flag {
	own := []cli.Flag{
		&cli.StringFlag{Category: files, Name: "config", Usage: "`FILE` of kind KubeletConfiguration, kubelet.config.k8s.io/v1beta1; flags go over it"},
		&cli.StringFlag{Category: files, Name: "config-dir", Usage: "`DIR` of files (*.conf) of the same kind that go over --config, in the order of their names"},
	}
	for _, s := range all {
		own = append(own, s.flag)
	}
	return slices.Concat(own, foreign.Flags())
}

// Command is `kubelet`.
func Command() *cli.Command {
	all := settings()
	return flags.Version(&cli.Command{
		Name: "kubelet", Category: "Node", Usage: "run the pods of this node on a container runtime",
		Flags: slices.Concat(flagsOf(all), logging.Flags()),
		Action: command.NoArguments(func(c *cli.Context) error {
			cfg, err := fromFlags(c, all)
			if err == nil {
				err = logging.Configure(c, cfg.Settings.Logging.Format, int(cfg.Settings.Logging.Verbosity))
			}
			if err != nil {
				return err
			}
			cfg.warn()
			k, err := New(c.Context, cfg)
			if err != nil {
				return err
			}
			return k.Run(c.Context)
		}),
	}, version.Line, version.Raw)
}

func fromFlags(c *cli.Context, all []setting) (Config, error) {
	cfg := Defaults()
	if err := foreign.Check(c); err != nil {
		return cfg, err
	}
	if f, dir := c.String("config"), c.String("config-dir"); f != "" || dir != "" {
		s, err := loadFiles(f, dir)
		if err != nil {
			return cfg, err
		}
		cfg.Settings, cfg.file = *s, true
	}
	for _, s := range all {
		name := s.flag.Names()[0]
		if !c.IsSet(name) {
			continue
		}
		if err := s.apply(c, name, &cfg); err != nil {
			return cfg, err
		}
	}
	if err := cfg.featureGates(); err != nil {
		return cfg, fmt.Errorf("--feature-gates: %w", err)
	}
	if c.IsSet("rotate-certificates") {
		cfg.Settings.RotateCertificates = c.Bool("rotate-certificates")
	}
	if c.IsSet("rotate-server-certificates") {
		cfg.Settings.ServerTLSBootstrap = c.Bool("rotate-server-certificates")
	}
	if c.IsSet("root-dir") && !c.IsSet("cert-dir") {
		cfg.CertDir = cfg.RootDir + "/pki"
	}
	return cfg, nil
}

// loadFiles reads a configuration file and those of a directory that go over it: what a later one says replaces what an earlier
// one said of the same. Unknown fields are errors.
func loadFiles(path, dir string) (*kubeletv1beta1.KubeletConfiguration, error) {
	var s kubeletv1beta1.KubeletConfiguration
	gvk := schema.GroupVersionKind{Group: "kubelet.config.k8s.io", Version: "v1beta1", Kind: "KubeletConfiguration"}
	var all []string
	if path != "" {
		all = append(all, path)
	}
	if dir != "" {
		entries, err := os.ReadDir(dir) // sorted by name
		if err != nil {
			return nil, fmt.Errorf("--config-dir: %w", err)
		}
		for _, e := range entries {
			if filepath.Ext(e.Name()) == ".conf" {
				all = append(all, filepath.Join(dir, e.Name()))
			}
		}
	}
	for _, f := range all {
		if err := config.LoadKind(f, gvk, &s); err != nil {
			return nil, err
		}
	}
	setDefaults(&s)
	return &s, nil
}
