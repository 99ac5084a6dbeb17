package kubelet

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"hyperkube/internal/client"
	"hyperkube/internal/flags"
	"hyperkube/internal/lifecycle"
	"hyperkube/internal/node"
	"hyperkube/internal/node/bootstrap"
	"hyperkube/internal/node/cgroup"
	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/image"
	"hyperkube/internal/node/nodestatus"
	"hyperkube/internal/node/server"
	"hyperkube/internal/object"
	"hyperkube/internal/pki"
)

// Kubelet is the role at work. Make it with [New], then Run it once.
type Kubelet struct {
	cfg   Config
	node  *node.Kubelet
	parts []lifecycle.Part
	close []func()

	requests *client.RequestStats // nil: the client was given
}

// New puts a kubelet together. Where the node has no certificate yet it asks for one and waits until it is issued,
// or ctx ends.
func New(ctx context.Context, cfg Config) (*Kubelet, error) {
	k := &Kubelet{cfg: cfg}
	if err := supported(&cfg.Settings); err != nil {
		return nil, err
	}
	if *cfg.Settings.FailCgroupV1 {
		if h, err := cgroup.Detect(); err != nil {
			return nil, err
		} else if !h.V2 {
			return nil, errors.New("this machine has cgroup v1, which failCgroupV1 refuses")
		}
	}
	if score := cfg.Settings.OOMScoreAdj; score != nil {
		if err := os.WriteFile("/proc/self/oom_score_adj", fmt.Appendf(nil, "%d", *score), 0o644); err != nil {
			slog.Default().Warn("the score for when memory runs out was not set", "component", "kubelet", "score", *score, "error", err)
		}
	}
	if err := k.names(); err != nil {
		return nil, err
	}
	if err := k.connect(ctx); err != nil {
		return nil, err
	}
	if k.cfg.CRI == nil {
		c, err := cri.Dial(cfg.Settings.ContainerRuntimeEndpoint, cfg.Settings.ImageServiceEndpoint)
		if err != nil {
			return nil, err
		}
		k.cfg.CRI = c
		k.close = append(k.close, c.Close)
	}
	nc, err := k.nodeConfig()
	if err != nil {
		return nil, err
	}
	k.node, err = node.New(nc)
	return k, err
}

// Ready is closed when the node is Ready.
func (k *Kubelet) Ready() <-chan struct{} { return k.node.Ready() }

// Node is the kubelet itself.
func (k *Kubelet) Node() *node.Kubelet { return k.node }

// Run until ctx ends.
func (k *Kubelet) Run(ctx context.Context) error {
	var g lifecycle.Group
	for _, p := range k.parts {
		g.Start(p)
	}
	err := k.node.Run(ctx)
	g.Stop()
	for _, f := range k.close {
		f()
	}
	return err
}

// names finds out what the node is called and where it is.
func (k *Kubelet) names() error {
	name := k.cfg.HostnameOverride
	if name == "" {
		var err error
		if name, err = os.Hostname(); err != nil {
			return err
		}
	}
	k.cfg.HostnameOverride = strings.ToLower(strings.TrimSpace(name))
	if len(k.cfg.NodeIPs) == 0 {
		ip, err := utilnet.ChooseHostInterface()
		if err != nil {
			return fmt.Errorf("no address of this node is known, say it with --node-ip: %w", err)
		}
		k.cfg.NodeIPs = []string{ip.String()}
	}
	return nil
}

// connect makes the client, with a certificate of its own when there is none yet.
func (k *Kubelet) connect(ctx context.Context) error {
	if k.cfg.Client != nil || k.cfg.Kubeconfig == "" {
		return nil
	}
	id := &bootstrap.Client{Kubeconfig: k.cfg.Kubeconfig, BootstrapKubeconfig: k.cfg.BootstrapKubeconfig, CertDir: k.cfg.CertDir, NodeName: k.cfg.HostnameOverride}
	rc, err := id.Ensure(ctx)
	if err != nil {
		return err
	}
	named := client.Named(rc, "kubelet")
	k.requests = &client.RequestStats{}
	k.requests.Count(named)
	if k.cfg.Client, err = client.NewREST(named); err != nil {
		return err
	}
	id.Renewed = func() { client.Reconnect(k.cfg.Client) }
	if k.cfg.Settings.RotateCertificates || k.cfg.BootstrapKubeconfig != "" {
		k.part("client certificate", func(ctx context.Context) error { return id.Rotate(ctx, rest.CopyConfig(rc)) })
	}
	return nil
}

func (k *Kubelet) part(name string, run func(context.Context) error) {
	k.parts = append(k.parts, lifecycle.Part{Name: name, Run: run})
}

func (k *Kubelet) nodeConfig() (node.Config, error) {
	cfg, s := &k.cfg, &k.cfg.Settings
	system, err := resources(s.SystemReserved)
	if err != nil {
		return node.Config{}, fmt.Errorf("systemReserved: %w", err)
	}
	kube, err := resources(s.KubeReserved)
	if err != nil {
		return node.Config{}, fmt.Errorf("kubeReserved: %w", err)
	}
	evict, err := evictionHard(s)
	if err != nil {
		return node.Config{}, err
	}
	soft, err := softEviction(s)
	if err != nil {
		return node.Config{}, err
	}
	logSize, err := resource.ParseQuantity(s.ContainerLogMaxSize)
	if err != nil {
		return node.Config{}, fmt.Errorf("containerLogMaxSize: %w", err)
	}
	nc := node.Config{
		Client: cfg.Client, Requests: k.requests, CRI: cfg.CRI, Claims: cfg.Claims, NodeName: cfg.HostnameOverride, NodeIPs: cfg.NodeIPs, Labels: cfg.Labels,
		Taints: s.RegisterWithTaints, ProviderID: s.ProviderID, NoRegister: !*s.RegisterNode,
		RootDir: cfg.RootDir, PodLogsDir: s.PodLogsDir, ContainerLogsDir: cfg.ContainerLogsDir, PodManifestPath: s.StaticPodPath, DefaultPod: defaultPod,
		CgroupRoot: s.CgroupRoot, NoPodCgroups: !*s.CgroupsPerQOS, NoEnforceAllocatable: !contains(s.EnforceNodeAllocatable, "pods"), PodPIDs: *s.PodPidsLimit,
		ClusterDNS: s.ClusterDNS, ClusterDomain: s.ClusterDomain, ResolvConf: *s.ResolverConfig,
		MaxPods: maxPods(s), SystemReserved: system, KubeReserved: kube, EvictionHard: evict, EvictionSoft: soft, EvictionHysteresis: s.EvictionPressureTransitionPeriod.Duration,
		NoCPUQuota: !*s.CPUCFSQuota, CPUQuotaPeriod: s.CPUCFSQuotaPeriod.Duration, SeccompDefault: s.SeccompDefault != nil && *s.SeccompDefault,
		UnsafeSysctls: s.AllowedUnsafeSysctls, FailSwapOn: *s.FailSwapOn,
		LogMaxSize: logSize.Value(), LogMaxFiles: int(*s.ContainerLogMaxFiles), LogCheck: s.ContainerLogMonitorInterval.Duration,
		LeaseSeconds: s.NodeLeaseDurationSeconds, StatusEvery: s.NodeStatusReportFrequency.Duration, MaxImages: int(*s.NodeStatusMaxImages),
		Version: cfg.Version, ConfigForPeople: s, ImageGC: imageGC(s), ParallelPulls: parallel(s),
	}
	if p := s.CrashLoopBackOff.MaxContainerRestartPeriod; p != nil {
		nc.MaxRestartDelay = p.Duration
	}
	if *s.HealthzPort > 0 {
		nc.HealthzAddress = net.JoinHostPort(s.HealthzBindAddress, strconv.Itoa(int(*s.HealthzPort)))
	}
	if s.ReadOnlyPort > 0 {
		nc.ReadOnlyAddress = net.JoinHostPort(s.Address, strconv.Itoa(int(s.ReadOnlyPort)))
	}
	if *s.EnableServer {
		if nc.Server, err = k.server(); err != nil {
			return nc, err
		}
	}
	return nc, nil
}

func evictionHard(s *kubeletv1beta1.KubeletConfiguration) (*nodestatus.Thresholds, error) {
	if s.EvictionHard == nil {
		t := nodestatus.DefaultThresholds()
		return &t, nil
	}
	t, err := thresholds("evictionHard", s.EvictionHard)
	return &t, err
}

func imageGC(s *kubeletv1beta1.KubeletConfiguration) *image.CollectorConfig {
	return &image.CollectorConfig{High: int(*s.ImageGCHighThresholdPercent), Low: int(*s.ImageGCLowThresholdPercent),
		MinAge: s.ImageMinimumGCAge.Duration, MaxAge: s.ImageMaximumGCAge.Duration}
}

func parallel(s *kubeletv1beta1.KubeletConfiguration) int {
	switch {
	case *s.SerializeImagePulls:
		return 1
	case s.MaxParallelImagePulls != nil:
		return int(*s.MaxParallelImagePulls)
	}
	return 0
}

// maxPods is bounded by the number of processors where that is asked for.
func maxPods(s *kubeletv1beta1.KubeletConfiguration) int64 {
	if s.PodsPerCore > 0 {
		return min(int64(s.MaxPods), int64(s.PodsPerCore)*int64(runtime.NumCPU()))
	}
	return int64(s.MaxPods)
}

func contains(list []string, v string) bool {
	for _, s := range list {
		if s == v {
			return true
		}
	}
	return false
}

// defaultPod fills in a static pod as the API server would.
func defaultPod(p *corev1.Pod) {
	if kind, _ := object.Builtin().Kind(corev1.SchemeGroupVersion.WithKind("Pod")); kind != nil && kind.Default != nil {
		kind.Default(p)
	}
}

// server is the kubelet's API: its certificate and who may use it.
func (k *Kubelet) server() (*server.Config, error) {
	s := &k.cfg.Settings
	t, err := k.tls()
	if err != nil {
		return nil, err
	}
	auth, err := k.auth()
	if err != nil {
		return nil, err
	}
	return &server.Config{Address: s.Address, Port: s.Port, TLS: t, Auth: auth,
		NoDebugging: !*s.EnableDebuggingHandlers, SystemLogs: *s.EnableSystemLogHandler}, nil
}

func (k *Kubelet) tls() (server.TLS, error) {
	s := &k.cfg.Settings
	var out server.TLS
	ips, err := parseIPs(k.cfg.NodeIPs)
	if err != nil {
		return out, err
	}
	t, err := flags.ParseTLS(s.TLSMinVersion, s.TLSCipherSuites)
	if err != nil {
		return out, err
	}
	out.MinVersion, out.CipherSuites = t.MinVersion, t.Suites
	switch {
	case s.TLSCertFile != "":
		r, err := pki.NewReloader(pki.Pair{CertFile: s.TLSCertFile, KeyFile: s.TLSPrivateKeyFile}, "")
		if err != nil {
			return out, err
		}
		k.part("serving certificate", r.Run)
		out.Certificate = r.GetCertificate
	case s.ServerTLSBootstrap:
		if k.cfg.Client == nil {
			return out, errors.New("a serving certificate from the cluster needs an API server")
		}
		c := &bootstrap.Serving{API: k.cfg.Client, CertDir: k.cfg.CertDir, NodeName: k.cfg.HostnameOverride, DNSNames: []string{k.cfg.HostnameOverride}, IPs: ips}
		k.part("serving certificate", c.Run)
		out.Certificate = c.Certificate
	default:
		c, err := bootstrap.SelfSigned(k.cfg.CertDir, k.cfg.HostnameOverride, ips)
		if err != nil {
			return out, err
		}
		out.Certificate = server.Fixed(c)
	}
	return out, nil
}

func (k *Kubelet) auth() (*server.Auth, error) {
	s := &k.cfg.Settings
	a := &server.Auth{
		NodeName: k.cfg.HostnameOverride, Client: k.cfg.Client, Tokens: *s.Authentication.Webhook.Enabled && k.cfg.Client != nil,
		Anonymous: *s.Authentication.Anonymous.Enabled, TokenTTL: s.Authentication.Webhook.CacheTTL.Duration,
		AllowTTL: s.Authorization.Webhook.CacheAuthorizedTTL.Duration, DenyTTL: s.Authorization.Webhook.CacheUnauthorizedTTL.Duration,
	}
	if f := s.Authentication.X509.ClientCAFile; f != "" {
		r, err := pki.NewReloader(pki.Pair{}, filepath.Clean(f))
		if err != nil {
			return nil, err
		}
		k.part("client authorities", r.Run)
		a.ClientCAs = func() (*x509.CertPool, error) { return r.Pool(), nil }
	}
	switch s.Authorization.Mode {
	case kubeletv1beta1.KubeletAuthorizationModeAlwaysAllow:
		a.AllowAll = true
	case kubeletv1beta1.KubeletAuthorizationModeWebhook:
		if k.cfg.Client == nil {
			slog.Default().Warn("without an API server nobody can be authorized to use the kubelet's API", "component", "kubelet")
		}
	default:
		return nil, fmt.Errorf("authorization mode %q is unknown, there are Webhook and AlwaysAllow", s.Authorization.Mode)
	}
	return a, nil
}
