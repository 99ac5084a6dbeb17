// Package controllermanager is the role that runs the cluster's controllers.
//
// It turns flags into a [Config]; [New] checks it and reads its files; [Role.Run] elects a leader, fills the shared
// caches and runs the controllers of internal/controllers. Each acts under a service account of its own, or, by flag,
// under the manager's identity. Health and metrics are served on port 10257.
package controllermanager

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	certv1 "k8s.io/api/certificates/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/command"
	"hyperkube/internal/controllers/cronjob"
	"hyperkube/internal/controllers/daemonset"
	"hyperkube/internal/controllers/deployment"
	"hyperkube/internal/controllers/endpoints"
	"hyperkube/internal/controllers/endpointslice"
	"hyperkube/internal/controllers/ephemeralvolume"
	"hyperkube/internal/controllers/gc"
	"hyperkube/internal/controllers/job"
	"hyperkube/internal/controllers/legacytokens"
	"hyperkube/internal/controllers/namespace"
	"hyperkube/internal/controllers/nodelifecycle"
	"hyperkube/internal/controllers/podautoscaler"
	"hyperkube/internal/controllers/policystatus"
	"hyperkube/internal/controllers/replicaset"
	"hyperkube/internal/controllers/replication"
	"hyperkube/internal/controllers/satoken"
	"hyperkube/internal/controllers/slicemirroring"
	"hyperkube/internal/controllers/statefulset"
	"hyperkube/internal/controllers/ttlafterfinished"
	"hyperkube/internal/flags"
	"hyperkube/internal/logging"
	"hyperkube/internal/secureport"
	"hyperkube/internal/version"
)

// Command is the role's entry on the command line.
func Command() *cli.Command {
	return flags.Version(&cli.Command{
		Name:     "controller-manager",
		Aliases:  []string{"kube-controller-manager", "controllermanager"},
		Category: "Master",
		Usage:    "run the controllers that bring the cluster to what its objects say",
		Flags:    append(ownFlags(), logging.Flags()...),
		Action:   command.Run(fromFlags, New),
	}, version.Line, version.Raw)
}

// FromArgs reads the role's flags from a list, for whoever runs the role in a process of its own. How to reach the API server
// is left to the caller.
func FromArgs(args []string) (Config, error) {
	return command.FromArgs("controller-manager", ownFlags, args, fromFlags)
}

func ownFlags() []cli.Flag {
	var out []cli.Flag
	group := func(category string, fs ...cli.Flag) {
		for _, f := range fs {
			setCategory(f, category)
			out = append(out, f)
		}
	}
	str := func(name, value, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Value: value, Usage: usage}
	}
	dur := func(name string, value time.Duration, usage string) cli.Flag {
		return &cli.DurationFlag{Name: name, Value: value, Usage: usage}
	}
	num := func(name string, value int, usage string) cli.Flag {
		return &cli.IntFlag{Name: name, Value: value, Usage: usage}
	}
	on := func(name string, value bool, usage string) cli.Flag {
		return &cli.BoolFlag{Name: name, Value: value, Usage: usage}
	}
	group("API server",
		str("kubeconfig", "", "`FILE` that tells how to reach the API server and under which identity"),
		str("master", "", "`URL` of the API server, in place of the kubeconfig's"),
		on("use-service-account-credentials", false, "let each controller call under a service account of its own"),
	)
	group("Controllers",
		&cli.StringSliceFlag{Name: "controllers", Value: cli.NewStringSlice("*"), Usage: "controllers to run: '*' for all that are on by default, 'foo' for one more, '-foo' for one less"},
		num("concurrent-deployment-syncs", 5, "Deployments worked on at a time"),
		num("concurrent-replicaset-syncs", 5, "ReplicaSets worked on at a time"),
		num("concurrent-rc-syncs", 5, "ReplicationControllers worked on at a time"),
		num("concurrent-daemonset-syncs", 2, "DaemonSets worked on at a time"),
		num("concurrent-statefulset-syncs", 5, "StatefulSets worked on at a time"),
		num("concurrent-job-syncs", 5, "Jobs worked on at a time"),
		num("concurrent-cron-job-syncs", 5, "CronJobs worked on at a time"),
		num("concurrent-ttl-after-finished-syncs", 5, "ended Jobs deleted at a time"),
		num("concurrent-endpoint-syncs", 5, "Endpoints worked on at a time"),
		num("concurrent-service-endpoint-syncs", 5, "services whose EndpointSlices are worked on at a time"),
		num("mirroring-concurrent-service-endpoint-syncs", 5, "Endpoints mirrored at a time"),
		num("concurrent-ephemeralvolume-syncs", 5, "pods whose ephemeral volumes get their claims at a time"),
		num("concurrent-gc-syncs", 20, "objects that the garbage collector works on at a time"),
		num("concurrent-namespace-syncs", 10, "namespaces emptied at a time"),
		num("concurrent-serviceaccount-token-syncs", 5, "token secrets filled at a time"),
		num("concurrent-validating-admission-policy-status-syncs", 5, "ValidatingAdmissionPolicies checked at a time"),
		num("max-endpoints-per-slice", 100, "endpoints in one EndpointSlice"),
		num("terminated-pod-gc-threshold", 12500, "ended pods that may stay; 0 or less for all"),
		on("enable-garbage-collector", true, "run the garbage collector"),
	)
	usual := podautoscaler.Defaults()
	group("Autoscaling",
		num("concurrent-horizontal-pod-autoscaler-syncs", 5, "HorizontalPodAutoscalers worked on at a time"),
		dur("horizontal-pod-autoscaler-sync-period", usual.Period, "`TIME` between two looks at an autoscaler"),
		dur("horizontal-pod-autoscaler-downscale-stabilization", usual.DownStabilization, "`TIME` for which a target must have been too large before it shrinks"),
		dur("horizontal-pod-autoscaler-cpu-initialization-period", usual.CPUInitialization, "`TIME` after a pod's start in which its CPU counts only while it is ready"),
		dur("horizontal-pod-autoscaler-initial-readiness-delay", usual.InitialReadiness, "`TIME` after a pod's start in which it counts as not ready yet"),
		&cli.Float64Flag{Name: "horizontal-pod-autoscaler-tolerance", Value: usual.Tolerance, Usage: "share by which usage may differ from the target without a change"},
	)
	group("Nodes",
		on("allocate-node-cidrs", false, "give each node its range of pod addresses"),
		str("cidr-allocator-type", "RangeAllocator", "who gives nodes their ranges: only RangeAllocator"),
		str("cluster-cidr", "", "`RANGE` of pod addresses, or one of each family, separated by a comma"),
		str("cluster-dns", "", "`ADDRESS` of the service kube-system/kube-dns, as which the name servers of nodes are published"),
		str("service-cluster-ip-range", "", "`RANGE` of service addresses; no node gets a part of it"),
		num("node-cidr-mask-size", 0, "mask of a node's range in a cluster of one family"),
		num("node-cidr-mask-size-ipv4", 0, "mask of a node's IPv4 range (24)"),
		num("node-cidr-mask-size-ipv6", 0, "mask of a node's IPv6 range (64)"),
		dur("node-monitor-grace-period", 50*time.Second, "`TIME` without a sign of life after which a node's state is unknown"),
		dur("node-startup-grace-period", time.Minute, "the same `TIME` for a node that is starting"),
		&cli.Float64Flag{Name: "node-eviction-rate", Value: 0.1, Usage: "nodes a second, in each zone, whose pods are evicted"},
		&cli.Float64Flag{Name: "secondary-node-eviction-rate", Value: 0.01, Usage: "the same in an unhealthy zone"},
		&cli.Float64Flag{Name: "unhealthy-zone-threshold", Value: 0.55, Usage: "share of nodes not ready from which a zone is unhealthy"},
		num("large-cluster-size-threshold", 50, "nodes up to which an unhealthy zone is left alone"),
	)
	group("Certificates and tokens",
		str("cluster-signing-cert-file", "", "`FILE` of the authority that issues certificates for signing requests"),
		str("cluster-signing-key-file", "", "`FILE` of its key"),
		dur("cluster-signing-duration", 365*24*time.Hour, "`TIME` for which they are valid"),
		on("kubelet-serving-auto-approve", false, "approve serving certificates of kubelets that hold only their node's addresses"),
		str("root-ca-file", "", "`FILE` of the authority that is published in every namespace"),
		str("service-account-private-key-file", "", "`FILE` of the key that signs tokens in secrets"),
		dur("legacy-service-account-token-clean-up-period", legacytokens.DefaultPeriod, "idle `TIME` after which a token that was made for an account unasked becomes invalid, and after which again it is deleted"),
	)
	for _, flag := range slices.Sorted(maps.Keys(signerFlags())) {
		signer := signerFlags()[flag]
		group("Certificates and tokens",
			str("cluster-signing-"+flag+"-cert-file", "", "`FILE` of the authority for "+signer),
			str("cluster-signing-"+flag+"-key-file", "", "`FILE` of its key"),
		)
	}
	group("Leader election",
		on("leader-elect", true, "work only while elected among several managers"),
		dur("leader-elect-lease-duration", 15*time.Second, "`TIME` after which a silent leader is replaced"),
		dur("leader-elect-renew-deadline", 10*time.Second, "`TIME` in which the leader must renew"),
		dur("leader-elect-retry-period", 2*time.Second, "`TIME` between tries"),
		str("leader-elect-resource-lock", "leases", "kind of the lock; only leases"),
		str("leader-elect-resource-name", "kube-controller-manager", "`NAME` of the lock"),
		str("leader-elect-resource-namespace", "kube-system", "`NAMESPACE` of the lock"),
	)
	return slices.Concat(out, secureport.Flags(10257), foreign().Flags())
}

func setCategory(f cli.Flag, category string) {
	switch f := f.(type) {
	case *cli.StringFlag:
		f.Category = category
	case *cli.StringSliceFlag:
		f.Category = category
	case *cli.IntFlag:
		f.Category = category
	case *cli.BoolFlag:
		f.Category = category
	case *cli.DurationFlag:
		f.Category = category
	case *cli.Float64Flag:
		f.Category = category
	}
}

func signerFlags() map[string]string {
	return map[string]string{
		"kubelet-serving":       certv1.KubeletServingSignerName,
		"kubelet-client":        certv1.KubeAPIServerClientKubeletSignerName,
		"kube-apiserver-client": certv1.KubeAPIServerClientSignerName,
		"legacy-unknown":        "kubernetes.io/legacy-unknown",
	}
}

func fromFlags(c *cli.Context) (Config, error) {
	cfg := Config{
		UseServiceAccountCredentials: c.Bool("use-service-account-credentials"),
		Controllers:                  splitAll(c.StringSlice("controllers")),
		Workers: map[string]int{
			deployment.Name: c.Int("concurrent-deployment-syncs"), replicaset.Name: c.Int("concurrent-replicaset-syncs"),
			replication.Name: c.Int("concurrent-rc-syncs"), daemonset.Name: c.Int("concurrent-daemonset-syncs"),
			podautoscaler.Name: c.Int("concurrent-horizontal-pod-autoscaler-syncs"),
			statefulset.Name:   c.Int("concurrent-statefulset-syncs"), job.Name: c.Int("concurrent-job-syncs"), cronjob.Name: c.Int("concurrent-cron-job-syncs"),
			ttlafterfinished.Name: c.Int("concurrent-ttl-after-finished-syncs"),
			endpoints.Name:        c.Int("concurrent-endpoint-syncs"), endpointslice.Name: c.Int("concurrent-service-endpoint-syncs"),
			slicemirroring.Name: c.Int("mirroring-concurrent-service-endpoint-syncs"), gc.Name: c.Int("concurrent-gc-syncs"),
			ephemeralvolume.Name: c.Int("concurrent-ephemeralvolume-syncs"),
			policystatus.Name:    c.Int("concurrent-validating-admission-policy-status-syncs"),
			namespace.Name:       c.Int("concurrent-namespace-syncs"), satoken.Name: c.Int("concurrent-serviceaccount-token-syncs"),
		},
		LeaderElection: LeaderElection{
			Enabled: c.Bool("leader-elect"), Namespace: c.String("leader-elect-resource-namespace"), Name: c.String("leader-elect-resource-name"),
			LeaseDuration: c.Duration("leader-elect-lease-duration"), RenewDeadline: c.Duration("leader-elect-renew-deadline"), RetryPeriod: c.Duration("leader-elect-retry-period"),
		},
		AllocateNodeCIDRs: c.Bool("allocate-node-cidrs"),
		NodeMaskV4:        c.Int("node-cidr-mask-size-ipv4"),
		NodeMaskV6:        c.Int("node-cidr-mask-size-ipv6"),
		NodeLifecycle: nodelifecycle.Options{
			MonitorGracePeriod: c.Duration("node-monitor-grace-period"), StartupGracePeriod: c.Duration("node-startup-grace-period"),
			EvictionRate: c.Float64("node-eviction-rate"), SecondaryRate: c.Float64("secondary-node-eviction-rate"),
			LargeCluster: c.Int("large-cluster-size-threshold"), UnhealthyThreshold: c.Float64("unhealthy-zone-threshold"),
		},
		Autoscaler: podautoscaler.Options{
			Period: c.Duration("horizontal-pod-autoscaler-sync-period"), DownStabilization: c.Duration("horizontal-pod-autoscaler-downscale-stabilization"),
			Tolerance: c.Float64("horizontal-pod-autoscaler-tolerance"), CPUInitialization: c.Duration("horizontal-pod-autoscaler-cpu-initialization-period"),
			InitialReadiness: c.Duration("horizontal-pod-autoscaler-initial-readiness-delay"),
		},
		TerminatedPods:            c.Int("terminated-pod-gc-threshold"),
		MaxEndpointsPerSlice:      c.Int("max-endpoints-per-slice"),
		Signing:                   map[string]Authority{"": {c.String("cluster-signing-cert-file"), c.String("cluster-signing-key-file")}},
		SigningDuration:           c.Duration("cluster-signing-duration"),
		KubeletServingAutoApprove: c.Bool("kubelet-serving-auto-approve"),
		RootCAFile:                c.String("root-ca-file"),
		ServiceAccountKeyFile:     c.String("service-account-private-key-file"),
		LegacyTokenPeriod:         c.Duration("legacy-service-account-token-clean-up-period"),
	}
	if cfg.TerminatedPods <= 0 {
		cfg.TerminatedPods = -1
	}
	for flag, signer := range signerFlags() {
		cfg.Signing[signer] = Authority{c.String("cluster-signing-" + flag + "-cert-file"), c.String("cluster-signing-" + flag + "-key-file")}
	}
	return cfg, complete(c, &cfg)
}

// complete reads the flags that can be wrong.
func complete(c *cli.Context, cfg *Config) error {
	if err := foreign().Check(c); err != nil {
		return err
	}
	if lock := c.String("leader-elect-resource-lock"); lock != "leases" {
		return fmt.Errorf("--leader-elect-resource-lock: %q is not known; only leases", lock)
	}
	if kind := c.String("cidr-allocator-type"); kind != "RangeAllocator" {
		return fmt.Errorf("--cidr-allocator-type: %q is not known; only RangeAllocator", kind)
	}
	if !c.Bool("enable-garbage-collector") {
		cfg.Controllers = append(cfg.Controllers, "-"+gc.Name)
	}
	var err error
	if cfg.ClusterCIDRs, err = prefixes("cluster-cidr", c.String("cluster-cidr")); err != nil {
		return err
	}
	if cfg.ServiceCIDRs, err = prefixes("service-cluster-ip-range", c.String("service-cluster-ip-range")); err != nil {
		return err
	}
	if a := c.String("cluster-dns"); a != "" {
		if cfg.ClusterDNS, err = netip.ParseAddr(a); err != nil {
			return fmt.Errorf("--cluster-dns: %w", err)
		}
	}
	if n := c.Int("node-cidr-mask-size"); n != 0 {
		switch {
		case len(cfg.ClusterCIDRs) > 1:
			return fmt.Errorf("--node-cidr-mask-size is for clusters of one family; there are --node-cidr-mask-size-ipv4 and -ipv6")
		case len(cfg.ClusterCIDRs) == 1 && cfg.ClusterCIDRs[0].Addr().Is6():
			cfg.NodeMaskV6 = n
		default:
			cfg.NodeMaskV4 = n
		}
	}
	if cfg.Serving, err = secureport.FromFlags(c); err != nil {
		return err
	}
	cfg.REST, err = client.Find(c.String("kubeconfig"), c.String("master"))
	if errors.Is(err, client.ErrNoServer) {
		return nil // the caller may know
	}
	return err
}

func splitAll(in []string) []string {
	var out []string
	for _, s := range in {
		for _, part := range strings.Split(s, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}

func prefixes(flag, value string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range splitAll([]string{value}) {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		out = append(out, p)
	}
	return out, nil
}
