package apiserver

import "hyperkube/internal/flags"

// foreign are upstream's flags that have nothing to do here, and those that ask for what this server cannot do.
var foreign = flags.Foreign{{
	Why: "privileged pods are a matter of pod security admission", Bools: []string{"allow-privileged"},
}, {
	Why:   "every stable feature is on, and none can be switched off",
	Texts: []string{"emulated-version", "min-compatibility-version"}, Bools: []string{"emulation-forward-compatible", "runtime-config-emulation-forward-compatible"},
}, {
	Why:   "all metrics are shown, with all labels",
	Texts: []string{"show-hidden-metrics-for-version", "disabled-metrics", "allow-metric-labels", "allow-metric-labels-manifest"},
}, {
	Why:   "every kind is served from one cache that follows the datastore",
	Bools: []string{"watch-cache"}, Texts: []string{"watch-cache-sizes"}, Numbers: []string{"delete-collection-workers"},
}, {
	Why:     "the datastore is watched, not polled",
	Spans:   []string{"etcd-count-metric-poll-period", "etcd-db-metric-poll-interval", "etcd-healthcheck-timeout", "etcd-readycheck-timeout", "storage-initialization-timeout"},
	Numbers: []string{"lease-reuse-duration-seconds"},
}, {
	Why:   "certificates and keys are always checked, service accounts always looked up",
	Bools: []string{"service-account-lookup", "contention-profiling", "enable-garbage-collector"},
}, {
	Why:   "other API servers are reached at the endpoints of their services",
	Bools: []string{"enable-aggregator-routing"},
}, {
	Why:   "connections are multiplexed without a bound of the user's, and kubelets have their own",
	Spans: []string{"kubelet-timeout"}, Numbers: []string{"http2-max-streams-per-connection", "max-connection-bytes-per-sec"},
}, {
	Why: "it is told where the server is by --advertise-address", Texts: []string{"external-hostname"},
}, {
	Why: "candidates elect themselves", Spans: []string{"coordinated-leadership-lease-duration", "coordinated-leadership-renew-deadline", "coordinated-leadership-retry-period"},
}, {
	Why: "--enable-admission-plugins and --disable-admission-plugins say which run", Refuse: true, Texts: []string{"admission-control"},
}, {
	Why: "logs of the machine are served by the kubelet", Bools: []string{"enable-logs-handler"},
}, {
	Why: "connections are dialled directly", Refuse: true, Texts: []string{"egress-selector-config-file"},
}, {
	Why: "one datastore holds all kinds", Refuse: true, Texts: []string{"etcd-servers-overrides"},
}, {
	Why: "the server speaks to programs, not to browsers", Refuse: true, Texts: []string{"cors-allowed-origins", "strict-transport-security-directives"},
}, {
	Why: "one certificate is served, for all names", Refuse: true, Texts: []string{"tls-sni-cert-key"},
}, {
	Why: "profiles are served on the secure port only", Refuse: true, Texts: []string{"debug-socket-path"},
}, {
	Why: "two processes must not share the port", Refuse: true, Bools: []string{"permit-port-sharing", "permit-address-sharing"},
}, {
	Why: "HTTP/2 is always served", Refuse: true, Bools: []string{"disable-http2-serving"},
}, {
	Why: "default/kubernetes has a cluster IP only", Refuse: true, Numbers: []string{"kubernetes-service-node-port"},
}, {
	Why: "every API server serves every version", Refuse: true, Texts: []string{"peer-ca-file", "peer-advertise-ip", "peer-advertise-port"},
}}
