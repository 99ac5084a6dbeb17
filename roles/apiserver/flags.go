package apiserver

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/utils/ptr"

	"hyperkube/internal/command"
	"hyperkube/internal/flags"
	"hyperkube/internal/logging"
	"hyperkube/internal/pki"
	"hyperkube/internal/server/admission/plugins"
	"hyperkube/internal/version"
)

func text(category, name, value, usage string) cli.Flag {
	return &cli.StringFlag{Category: category, Name: name, Value: value, Usage: usage}
}

func list(category, name string, value []string, usage string) cli.Flag {
	f := &cli.StringSliceFlag{Category: category, Name: name, Usage: usage}
	if len(value) > 0 {
		f.Value = cli.NewStringSlice(value...)
	}
	return f
}

func yes(category, name string, value bool, usage string) cli.Flag {
	return &cli.BoolFlag{Category: category, Name: name, Value: value, Usage: usage}
}

func number(category, name string, value int, usage string) cli.Flag {
	return &cli.IntFlag{Category: category, Name: name, Value: value, Usage: usage}
}

func seconds(category, name string, value int64, usage string) cli.Flag {
	return &cli.Int64Flag{Category: category, Name: name, Value: value, Usage: usage}
}

func span(category, name string, value time.Duration, usage string) cli.Flag {
	return &cli.DurationFlag{Category: category, Name: name, Value: value, Usage: usage}
}

const (
	data    = "Datastore"
	serving = "Serving"
	who     = "Authentication"
	may     = "Authorization and admission"
	nets    = "Services"
	nodes   = "Kubelets"
	limits  = "Limits"
)

func ownFlags() []cli.Flag {
	own := []cli.Flag{
		list(data, "etcd-servers", nil, "`URLS` of an external etcd, http or https; without, one is embedded below --data-dir"),
		text(data, "etcd-certfile", "", "client certificate `FILE` for etcd"),
		text(data, "etcd-keyfile", "", "key `FILE` of that certificate"),
		text(data, "etcd-cafile", "", "`FILE` of the CA that signed etcd's certificates"),
		text(data, "etcd-prefix", "/registry", "`PATH` that all keys begin with"),
		text(data, "data-dir", "", "`DIR` of the embedded etcd"),
		span(data, "etcd-compaction-interval", 5*time.Minute, "`TIME` that history is kept before it is compacted; 0 never compacts"),
		text(data, "storage-backend", "etcd3", "only etcd3"),
		text(data, "storage-media-type", "application/vnd.kubernetes.protobuf", "only application/vnd.kubernetes.protobuf; custom resources are JSON"),
		text(data, "encryption-provider-config", "", "`FILE` with the EncryptionConfiguration (apiserver.config.k8s.io/v1) that says what is stored encrypted, and how"),
		yes(data, "encryption-provider-config-automatic-reload", false, "take the file's new content when it changes"),
		span(data, "event-ttl", time.Hour, "`TIME` that events are kept"),

		text(serving, "bind-address", "0.0.0.0", "`IP` to listen on"),
		number(serving, "secure-port", 6443, "`PORT` to listen on"),
		text(serving, "advertise-address", "", "`IP` at which the other members of the cluster reach this server"),
		text(serving, "tls-cert-file", "", "serving certificate `FILE`; a self-signed one is made in --cert-dir when there is none"),
		text(serving, "tls-private-key-file", "", "key `FILE` of that certificate"),
		text(serving, "cert-dir", "/var/run/kubernetes", "`DIR` for a self-signed certificate"),
		list(serving, "runtime-config", nil, "`GROUP/VERSION=BOOL`s: switches served versions on or off; api/all, api/ga, api/beta and api/alpha name many"),
		list(serving, "feature-gates", nil, "`NAME=BOOL`s; accepted for upstream's sake: every stable feature is on, and none can be switched off"),
		text(serving, "tracing-config-file", "", "`FILE` with the TracingConfiguration (apiserver.config.k8s.io/v1) that says where spans of requests are sent; without, none are made"),
		yes(serving, "profiling", true, "serve /debug/pprof to those who are authorized"),
		span(serving, "livez-grace-period", 0, "`TIME` from the start in which /livez passes over parts of it that are not done"),
		span(serving, "shutdown-delay-duration", 0, "`TIME` to go on serving, not ready, before draining"),
		span(serving, "shutdown-watch-termination-grace-period", 0, "`TIME` over which watches are ended while draining, so that their clients do not all turn elsewhere at once; 0 ends all at once"),
		yes(serving, "shutdown-send-retry-after", false, "go on listening while draining, and tell clients to come back (429, Retry-After)"),

		text(who, "client-ca-file", "", "`FILE` of the CAs whose client certificates are accepted"),
		text(who, "token-auth-file", "", "`FILE` of static tokens"),
		yes(who, "anonymous-auth", true, "let requests without credentials pass as system:anonymous"),
		yes(who, "enable-bootstrap-token-auth", false, "accept the bootstrap tokens of kube-system"),
		list(who, "service-account-issuer", nil, "`URL` of the issuer of service-account tokens; the first issues new ones"),
		list(who, "service-account-key-file", nil, "`FILE` of keys that verify service-account tokens"),
		text(who, "service-account-signing-key-file", "", "key `FILE` that signs service-account tokens"),
		text(who, "service-account-signing-endpoint", "", "unix `SOCKET` of a program that keeps the keys of service-account tokens, in place of key files"),
		text(who, "service-account-jwks-uri", "", "`URL` at which those keys are published"),
		span(who, "service-account-max-token-expiration", 0, "longest life of a token; 0 for no bound"),
		yes(who, "service-account-extend-token-expiration", true, "let tokens that pods mount by default live for a year, for clients that never reload them"),
		list(who, "api-audiences", nil, "audiences of the API; the issuers by default"),
		text(who, "proxy-client-cert-file", "", "client certificate `FILE` of this server as a front proxy, shown to the API servers of APIServices"),
		text(who, "proxy-client-key-file", "", "its key `FILE`"),
		yes(who, "aggregator-reject-forwarding-redirect", true, "pass no redirects of those servers on"),
		text(who, "requestheader-client-ca-file", "", "`FILE` of the CA of trusted front proxies"),
		list(who, "requestheader-allowed-names", nil, "common names of those proxies"),
		list(who, "requestheader-username-headers", []string{"X-Remote-User"}, "headers with the user's name"),
		list(who, "requestheader-uid-headers", []string{"X-Remote-Uid"}, "headers with the user's UID"),
		list(who, "requestheader-group-headers", []string{"X-Remote-Group"}, "headers with the user's groups"),
		list(who, "requestheader-extra-headers-prefix", []string{"X-Remote-Extra-"}, "prefixes of headers with more about the user"),

		list(may, "enable-admission-plugins", nil, "`NAMES` of plugins to run besides the default ones, which are "+strings.Join(plugins.DefaultNames(), ", ")+
			"; there are, in their order, "+strings.Join(plugins.AllNames(), ", ")),
		list(may, "disable-admission-plugins", nil, "`NAMES` of default plugins not to run"),
		text(may, "admission-control-config-file", "", "`FILE` with the AdmissionConfiguration (apiserver.config.k8s.io/v1) of the plugins"),

		seconds(may, "default-not-ready-toleration-seconds", 300, "`SECONDS` that pods stay on a node that is not ready, where they say nothing"),
		seconds(may, "default-unreachable-toleration-seconds", 300, "`SECONDS` that pods stay on a node that is unreachable, where they say nothing"),

		list(nets, "service-cluster-ip-range", []string{"10.96.0.0/12"}, "`CIDRS` of cluster IPs: one, or one of each family"),
		text(nets, "endpoint-reconciler-type", "lease", "how default/kubernetes gets its endpoints: lease, or none to leave them alone"),
		text(nets, "service-node-port-range", "30000-32767", "`RANGE` of node ports"),

		text(nodes, "kubelet-client-certificate", "", "client certificate `FILE` for kubelets"),
		text(nodes, "kubelet-client-key", "", "key `FILE` of that certificate"),
		text(nodes, "kubelet-certificate-authority", "", "`FILE` of the CA that signed kubelets' certificates; without, they are not checked"),
		list(nodes, "kubelet-preferred-address-types", []string{"InternalIP", "InternalDNS", "Hostname", "ExternalDNS", "ExternalIP"}, "kinds of node addresses to try, in order"),

		yes(limits, "enable-priority-and-fairness", true, "share the server out by FlowSchemas and PriorityLevelConfigurations; else reading and writing requests are bounded apart"),
		number(limits, "max-requests-inflight", 400, "how many reading requests are served at once; with fairness, the sum of both is what it shares out"),
		number(limits, "max-mutating-requests-inflight", 200, "how many writing requests are served at once"),
		span(limits, "min-request-timeout", 30*time.Minute, "least `TIME` that a watch without a timeout of its own stays open"),
		span(limits, "request-timeout", time.Minute, "longest time of a request that is not a stream"),
		&cli.Float64Flag{Category: limits, Name: "goaway-chance", Usage: "`SHARE` of HTTP/2 requests after which the client connects anew, to spread clients over servers: up to 0.02"},
	}
	return slices.Concat(own, tokenFlags(), modeFlags(), auditFlags(), flags.TLSFlags(serving), foreign.Flags(), logging.Flags())
}

// fromFlags makes a Config of what the command line says.
func fromFlags(c *cli.Context) (Config, error) {
	if err := foreign.Check(c); err != nil {
		return Config{}, err
	}
	cfg := Config{
		EtcdServers:  c.StringSlice("etcd-servers"),
		EtcdCertFile: c.String("etcd-certfile"), EtcdKeyFile: c.String("etcd-keyfile"), EtcdCA: c.String("etcd-cafile"),
		EtcdPrefix: c.String("etcd-prefix"), DataDir: c.String("data-dir"), EventTTL: c.Duration("event-ttl"),
		EncryptionFile: c.String("encryption-provider-config"), EncryptionReload: c.Bool("encryption-provider-config-automatic-reload"),
		BindAddress: c.String("bind-address"), Port: c.Int("secure-port"),
		TLSCertFile: c.String("tls-cert-file"), TLSKeyFile: c.String("tls-private-key-file"), CertDir: c.String("cert-dir"),
		TracingFile: c.String("tracing-config-file"), Profiling: c.Bool("profiling"), ShutdownDelay: c.Duration("shutdown-delay-duration"), LivezGrace: c.Duration("livez-grace-period"),
		WatchGrace: c.Duration("shutdown-watch-termination-grace-period"), ShutdownRetryAfter: c.Bool("shutdown-send-retry-after"),
		ClientCAFile: c.String("client-ca-file"), TokenFile: c.String("token-auth-file"),
		NoAnonymous: !c.Bool("anonymous-auth"), BootstrapTokens: c.Bool("enable-bootstrap-token-auth"),
		ServiceAccountIssuers: c.StringSlice("service-account-issuer"), ServiceAccountKeyFiles: c.StringSlice("service-account-key-file"),
		ServiceAccountSigningKey: c.String("service-account-signing-key-file"), ServiceAccountJWKSURI: c.String("service-account-jwks-uri"),
		ServiceAccountMaxLife: c.Duration("service-account-max-token-expiration"), ServiceAccountNoExtension: !c.Bool("service-account-extend-token-expiration"),
		APIAudiences:    c.StringSlice("api-audiences"),
		ProxyClient:     pki.Pair{CertFile: c.String("proxy-client-cert-file"), KeyFile: c.String("proxy-client-key-file")},
		FollowRedirects: !c.Bool("aggregator-reject-forwarding-redirect"),
		FrontProxyCA:    c.String("requestheader-client-ca-file"), FrontProxyNames: c.StringSlice("requestheader-allowed-names"),
		UsernameHeaders: c.StringSlice("requestheader-username-headers"), UIDHeaders: c.StringSlice("requestheader-uid-headers"),
		GroupHeaders: c.StringSlice("requestheader-group-headers"), ExtraHeaderPrefixes: c.StringSlice("requestheader-extra-headers-prefix"),
		EnableAdmission: c.StringSlice("enable-admission-plugins"), DisableAdmission: c.StringSlice("disable-admission-plugins"),
		AdmissionFile:     c.String("admission-control-config-file"),
		KubeletClientCert: c.String("kubelet-client-certificate"), KubeletClientKey: c.String("kubelet-client-key"),
		KubeletCA: c.String("kubelet-certificate-authority"), KubeletAddressTypes: c.StringSlice("kubelet-preferred-address-types"),
		NoFairness: !c.Bool("enable-priority-and-fairness"), MaxInFlight: c.Int("max-requests-inflight"), MaxMutatingInFlight: c.Int("max-mutating-requests-inflight"),
		RequestTimeout: c.Duration("request-timeout"), MinRequestTimeout: c.Duration("min-request-timeout"),
		RuntimeConfig: c.StringSlice("runtime-config"), GoawayChance: c.Float64("goaway-chance"),
		NotReadySeconds: ptr.To(c.Int64("default-not-ready-toleration-seconds")), UnreachableSeconds: ptr.To(c.Int64("default-unreachable-toleration-seconds")),
		CompactionInterval: c.Duration("etcd-compaction-interval"),
	}
	if cfg.CompactionInterval == 0 {
		cfg.CompactionInterval = -1
	}
	if err := oneWay(c); err != nil {
		return cfg, err
	}
	if err := plugins.CheckNames(cfg.EnableAdmission, cfg.DisableAdmission); err != nil {
		return cfg, fmt.Errorf("--enable-admission-plugins, --disable-admission-plugins: %w", err)
	}
	var err error
	if cfg.Tokens, err = tokensFrom(c); err != nil {
		return cfg, err
	}
	if cfg.Modes, err = modesFrom(c); err != nil {
		return cfg, err
	}
	if cfg.Audit, err = auditFrom(c); err != nil {
		return cfg, err
	}
	if cfg.TLS, err = flags.TLSFrom(c); err != nil {
		return cfg, err
	}
	if cfg.EncryptionReload && cfg.EncryptionFile == "" {
		return cfg, errors.New("--encryption-provider-config-automatic-reload needs --encryption-provider-config")
	}
	for _, f := range []string{"livez-grace-period", "shutdown-delay-duration", "shutdown-watch-termination-grace-period"} {
		if d := c.Duration(f); d < 0 {
			return cfg, fmt.Errorf("--%s: %v is negative", f, d)
		}
	}
	if cfg.GoawayChance < 0 || cfg.GoawayChance > 0.02 {
		return cfg, fmt.Errorf("--goaway-chance: %v is not between 0 and 0.02", cfg.GoawayChance)
	}
	if err := checkGates(c.StringSlice("feature-gates")); err != nil {
		return cfg, err
	}
	if err := advertise(c, &cfg); err != nil {
		return cfg, err
	}
	for _, r := range c.StringSlice("service-cluster-ip-range") {
		for _, one := range strings.Split(r, ",") {
			_, n, err := net.ParseCIDR(strings.TrimSpace(one))
			if err != nil {
				return cfg, fmt.Errorf("--service-cluster-ip-range: %w", err)
			}
			cfg.ServiceCIDRs = append(cfg.ServiceCIDRs, n)
		}
	}
	r, err := utilnet.ParsePortRange(c.String("service-node-port-range"))
	if err != nil {
		return cfg, fmt.Errorf("--service-node-port-range: %w", err)
	}
	cfg.NodePortRange = *r
	cfg.ServiceAccountEndpoint = c.String("service-account-signing-endpoint")
	if cfg.ServiceAccountEndpoint != "" && (cfg.ServiceAccountSigningKey != "" || len(cfg.ServiceAccountKeyFiles) > 0) {
		return cfg, errors.New("--service-account-signing-endpoint excludes --service-account-signing-key-file and --service-account-key-file")
	}
	if cfg.ServiceAccountEndpoint != "" && len(cfg.ServiceAccountIssuers) == 0 {
		return cfg, errors.New("--service-account-signing-endpoint needs --service-account-issuer")
	}
	if cfg.ServiceAccountSigningKey != "" && len(cfg.ServiceAccountIssuers) == 0 {
		return cfg, errors.New("--service-account-signing-key-file needs --service-account-issuer")
	}
	return cfg, nil
}

// oneWay refuses other values of flags for which there is only one way here.
func oneWay(c *cli.Context) error {
	for flag, only := range map[string]string{"storage-backend": "etcd3", "storage-media-type": "application/vnd.kubernetes.protobuf"} {
		if got := c.String(flag); got != only && got != "" {
			return fmt.Errorf("--%s: %q is not supported; only %s", flag, got, only)
		}
	}
	return nil
}

// advertise finds the address at which the other members of the cluster reach this server: the one that is said, or the one that is
// served on, or else that of the interface of the default route.
func advertise(c *cli.Context, cfg *Config) error {
	bind := net.ParseIP(cfg.BindAddress)
	if bind == nil {
		return fmt.Errorf("--bind-address: %q is not an IP address", cfg.BindAddress)
	}
	a := c.String("advertise-address")
	if a != "" {
		if cfg.AdvertiseAddress = net.ParseIP(a); cfg.AdvertiseAddress == nil {
			return fmt.Errorf("--advertise-address: %q is not an IP address", a)
		}
	}
	switch kind := c.String("endpoint-reconciler-type"); kind {
	case "none":
		cfg.AdvertiseAddress = nil
		return nil
	case "lease", "master-count", "":
	default:
		return fmt.Errorf("--endpoint-reconciler-type: %q is not known; there are lease and none", kind)
	}
	if a != "" && !cfg.AdvertiseAddress.IsUnspecified() {
		return nil
	}
	ip, err := utilnet.ResolveBindAddress(bind)
	if err != nil {
		slog.Default().Warn("no address to advertise: default/kubernetes gets no endpoints; give --advertise-address", "component", "apiserver", "error", err)
		cfg.AdvertiseAddress = nil
		return nil
	}
	cfg.AdvertiseAddress = ip
	return nil
}

// FromArgs reads the role's flags from a list, for whoever runs it together with others.
func FromArgs(args []string) (Config, error) {
	return command.FromArgs("apiserver", ownFlags, args, fromFlags)
}

// Command is `apiserver`.
func Command() *cli.Command {
	return flags.Version(&cli.Command{
		Name: "apiserver", Aliases: []string{"kube-apiserver"}, Category: "Master",
		Usage: "serve the Kubernetes API over etcd",
		Flags: ownFlags(),
		Action: command.Logged(func(c *cli.Context) error {
			cfg, err := fromFlags(c)
			if err != nil {
				return err
			}
			a, err := New(c.Context, cfg)
			if err != nil {
				return err
			}
			return a.Run(c.Context)
		}),
	}, version.Line, version.Raw)
}
