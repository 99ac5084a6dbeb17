package kubelet

import (
	"strconv"

	"github.com/urfave/cli/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/flags"
)

// further are flags that few need, and those whose only values here are what they have already: others are refused with
// the configuration file's.
func further() []setting {
	int32Of := func(group, name, usage string, to func(*Config) **int32) setting {
		return number(group, name, usage, func(cfg *Config, v int) { n := int32(v); *to(cfg) = &n })
	}
	only := func(name, what string, to func(*Config) *string) setting {
		return str(podGroup, name, "`POLICY` of the "+what+": only none", to)
	}
	return []setting{
		span(serving, "authentication-token-webhook-cache-ttl", "`TIME` that reviews of tokens are kept", func(c *Config) *metav1.Duration { return &c.Settings.Authentication.Webhook.CacheTTL }),
		span(serving, "authorization-webhook-cache-authorized-ttl", "`TIME` that rights are kept", func(c *Config) *metav1.Duration { return &c.Settings.Authorization.Webhook.CacheAuthorizedTTL }),
		span(serving, "authorization-webhook-cache-unauthorized-ttl", "`TIME` that refused rights are kept", func(c *Config) *metav1.Duration { return &c.Settings.Authorization.Webhook.CacheUnauthorizedTTL }),
		yes(serving, "enable-server", "serve the kubelet's API", func(c *Config) **bool { return &c.Settings.EnableServer }),
		yes(serving, "enable-debugging-handlers", "serve logs, exec, attach and port-forward", func(c *Config) **bool { return &c.Settings.EnableDebuggingHandlers }),
		str(serving, "tls-min-version", "least `VERSION` of TLS, VersionTLS12 or VersionTLS13", func(c *Config) *string { return &c.Settings.TLSMinVersion }),
		list(serving, "tls-cipher-suites", "`SUITES` that are used up to TLS 1.2", func(c *Config, v []string) error { c.Settings.TLSCipherSuites = v; return nil }),
		int32Of(files, "container-log-max-files", "`NUMBER` of logs kept for each container", func(c *Config) **int32 { return &c.Settings.ContainerLogMaxFiles }),
		int32Of(podGroup, "image-gc-high-threshold", "`PERCENT` of the disk from which unused images are removed", func(c *Config) **int32 { return &c.Settings.ImageGCHighThresholdPercent }),
		int32Of(podGroup, "image-gc-low-threshold", "`PERCENT` of the disk down to which they are removed", func(c *Config) **int32 { return &c.Settings.ImageGCLowThresholdPercent }),
		span(podGroup, "minimum-image-ttl-duration", "`TIME` that an unused image is kept at least", func(c *Config) *metav1.Duration { return &c.Settings.ImageMinimumGCAge }),
		int32Of(nodes, "node-status-max-images", "`NUMBER` of images in the node's status; -1 for all", func(c *Config) **int32 { return &c.Settings.NodeStatusMaxImages }),
		number(nodes, "pods-per-core", "`NUMBER` of pods for each processor; 0 for no such bound", func(c *Config, v int) { c.Settings.PodsPerCore = int32(v) }),
		{&cli.DurationFlag{Category: podGroup, Name: "cpu-cfs-quota-period", Usage: "`TIME` over which CPU limits hold"}, func(c *cli.Context, n string, cfg *Config) error {
			cfg.Settings.CPUCFSQuotaPeriod = &metav1.Duration{Duration: c.Duration(n)}
			return nil
		}},
		list(nodes, "enforce-node-allocatable", "`LEVELS` at which what pods may use is enforced: pods, or none", func(c *Config, v []string) error {
			c.Settings.EnforceNodeAllocatable = v
			return nil
		}),
		{&cli.StringFlag{Category: nodes, Name: "cloud-provider", Usage: "external: the node waits, tainted, for a cloud's manager to initialize it"}, func(c *cli.Context, n string, cfg *Config) error {
			return cfg.cloud(c.String(n))
		}},
		{&cli.IntFlag{Category: nodes, Name: "oom-score-adj", Usage: "`SCORE` of the process when the kernel runs out of memory; left alone if not given"}, func(c *cli.Context, n string, cfg *Config) error {
			v := int32(c.Int(n))
			cfg.Settings.OOMScoreAdj = &v
			return nil
		}},
		only("cpu-manager-policy", "CPU manager", func(c *Config) *string { return &c.Settings.CPUManagerPolicy }),
		only("memory-manager-policy", "memory manager", func(c *Config) *string { return &c.Settings.MemoryManagerPolicy }),
		only("topology-manager-policy", "topology manager", func(c *Config) *string { return &c.Settings.TopologyManagerPolicy }),
		pairs(nodes, "feature-gates", "`NAME=BOOL`s; accepted for upstream's sake: they have no effect", func(c *Config) *map[string]string { return &c.gates }),
	}
}

// featureGates moves what --feature-gates said to where the configuration file says it.
func (c *Config) featureGates() error {
	for name, v := range c.gates {
		on, err := strconv.ParseBool(v)
		if err != nil {
			return err
		}
		if c.Settings.FeatureGates == nil {
			c.Settings.FeatureGates = map[string]bool{}
		}
		c.Settings.FeatureGates[name] = on
	}
	return nil
}

// foreign are upstream's flags that have nothing to do here, and those that ask for what this kubelet cannot do.
var foreign = flags.Foreign{{
	Why: "objects are watched, and nothing is looked at by the clock",
	Spans: []string{
		"file-check-frequency", "http-check-frequency", "sync-frequency", "housekeeping-interval", "cpu-manager-reconcile-period",
		"volume-stats-agg-period",
	},
	Bools: []string{"kernel-memcg-notification"},
}, {
	Why:     "the server shares out its own time",
	Numbers: []string{"kube-api-qps", "kube-api-burst", "event-qps", "event-burst", "registry-qps", "registry-burst"}, Texts: []string{"kube-api-content-type"},
}, {
	Why:   "streams last as long as both ends want",
	Spans: []string{"streaming-connection-idle-timeout", "runtime-request-timeout"},
}, {
	Why: "processes stay in the cgroups in which they were started", Texts: []string{"kubelet-cgroups", "runtime-cgroups", "system-cgroups", "kube-reserved-cgroup", "system-reserved-cgroup"},
}, {
	Why: "the proxy and the pod network make the rules that they need", Bools: []string{"make-iptables-util-chains"}, Texts: []string{"hairpin-mode"},
}, {
	Why:     "ended containers are removed with their pods",
	Numbers: []string{"maximum-dead-containers", "maximum-dead-containers-per-container"}, Spans: []string{"minimum-container-ttl-duration"},
}, {
	Why:   "it is always so",
	Bools: []string{"contention-profiling", "enable-controller-attach-detach", "local-storage-capacity-isolation", "experimental-allocatable-ignore-eviction"},
}, {
	Why: "limits of the process are those of its service", Numbers: []string{"max-open-files"},
}, {
	Why: "another kubelet on the same files is noticed by its port", Texts: []string{"lock-file"}, Bools: []string{"exit-on-lock-contention"},
}, {
	Why: "kernel parameters are checked, not set", Bools: []string{"protect-kernel-defaults"},
}, {
	Why: "there is no such manager here", Texts: []string{"cpu-manager-policy-options", "topology-manager-policy-options", "topology-manager-scope"},
}, {
	Why: "volume plugins of this kind are not run", Texts: []string{"volume-plugin-dir", "experimental-mounter-path"},
}, {
	Why: "credentials of registries come from pull secrets only", Refuse: true, Texts: []string{"image-credential-provider-bin-dir", "image-credential-provider-config"},
}, {
	Why: "static pods come from files only", Refuse: true, Texts: []string{"manifest-url", "manifest-url-header"},
}, {
	Why: "pods have their addresses from the pod network", Refuse: true, Texts: []string{"pod-cidr"},
}, {
	Why: "processors and memory are not given out one by one", Refuse: true, Texts: []string{"reserved-cpus", "reserved-memory", "qos-reserved"},
}, {
	Why: "pods are ended one at a time until enough is free", Refuse: true, Texts: []string{"eviction-minimum-reclaim"},
}, {
	Why: "the kubelet runs until it is stopped", Refuse: true, Bools: []string{"runonce"},
}}
