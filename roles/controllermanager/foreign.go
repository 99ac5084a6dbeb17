package controllermanager

import "hyperkube/internal/flags"

// foreign are upstream's flags that have nothing to do here.
func foreign() flags.Foreign {
	return flags.Foreign{{
		Why:     "the server shares out its own time",
		Numbers: []string{"kube-api-qps", "kube-api-burst"},
	}, {
		Why: "objects travel as protobuf", Texts: []string{"kube-api-content-type"},
	}, {
		Why:   "every stable feature is on, and none can be switched off",
		Texts: []string{"feature-gates", "emulated-version", "min-compatibility-version"},
	}, {
		Why:   "all metrics are shown, with all labels",
		Texts: []string{"show-hidden-metrics-for-version", "disabled-metrics", "allow-metric-labels", "allow-metric-labels-manifest"},
	}, {
		Why: "controllers follow what changes, and nothing is looked at by the clock",
		Spans: []string{
			"node-monitor-period", "namespace-sync-period", "min-resync-period", "controller-start-interval", "controller-shutdown-timeout",
			"endpoint-updates-batch-period", "endpointslice-updates-batch-period", "mirroring-endpointslice-updates-batch-period",
		},
	}, {
		Why:     "the controller is not part of this manager",
		Numbers: elsewhereNumbers(),
		Spans:   elsewhereSpans(),
		Bools:   []string{"disable-attach-detach-reconcile-sync", "disable-force-detach-on-timeout", "enable-dynamic-provisioning", "enable-hostpath-provisioner"},
		Texts:   []string{"flex-volume-plugin-dir", "external-cloud-volume-plugin", "pv-recycler-pod-template-filepath-hostpath", "pv-recycler-pod-template-filepath-nfs"},
	}, {
		Why:   "clouds are run by managers of their own",
		Texts: []string{"cluster-name", "cloud-provider", "cloud-config"}, Bools: []string{"configure-cloud-routes"},
		Spans: []string{"route-reconciliation-period"},
	}, {
		Why:     "mirrored endpoints have no bound of their own",
		Numbers: []string{"mirroring-max-endpoints-per-subset"},
	}, {
		Why: "there is nothing to migrate from", Refuse: true, Bools: []string{"enable-leader-migration"}, Texts: []string{"leader-migration-config"},
	}, {
		Why: "HTTP/2 is always served", Refuse: true, Bools: []string{"disable-http2-serving"},
	}}
}

func elsewhereNumbers() []string {
	return []string{
		"concurrent-resource-quota-syncs",
		"concurrent-resourceclaim-syncs", "concurrent-disruption-syncs", "concurrent-device-taint-eviction-syncs",
		"pv-recycler-increment-timeout-nfs", "pv-recycler-minimum-timeout-hostpath", "pv-recycler-minimum-timeout-nfs", "pv-recycler-timeout-increment-hostpath",
	}
}

func elsewhereSpans() []string {
	return []string{
		"attach-detach-reconcile-sync-period", "pvclaimbinder-sync-period", "resource-quota-sync-period",
	}
}
