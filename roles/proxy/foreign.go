package proxy

import "hyperkube/internal/flags"

// foreign are upstream's flags that have nothing to do here, and those that ask for what this proxy cannot do.
var foreign = flags.Foreign{{
	Why: "there is no ipvs mode", Texts: []string{"ipvs-exclude-cidrs", "ipvs-scheduler"}, Bools: []string{"ipvs-strict-arp"},
	Spans: []string{"ipvs-min-sync-period", "ipvs-sync-period", "ipvs-tcp-timeout", "ipvs-tcpfin-timeout", "ipvs-udp-timeout"},
}, {
	Why: "objects are watched", Spans: []string{"config-sync-period"},
}, {
	Why: "the server shares out its own time", Numbers: []string{"kube-api-qps", "kube-api-burst"},
}, {
	Why: "objects travel as protobuf", Texts: []string{"kube-api-content-type"},
}, {
	Why: "every stable feature is on, and none can be switched off", Texts: []string{"feature-gates"},
}, {
	Why: "all metrics are shown", Texts: []string{"show-hidden-metrics-for-version"},
}, {
	Why: "the configuration's defaults are those of its API", Refuse: true, Texts: []string{"write-config-to"},
}, {
	Why: "all of the work needs full rights", Refuse: true, Bools: []string{"init-only"},
}}
