package e2e

import "fmt"

// The command lines are those that kubeadm and kind generate for upstream's programs, as far as they name no place that only
// their machines have.

func (h *host) etcdTLS() []string {
	pki := h.path("pki/etcd/")
	client, peer := "https://"+h.ip+":2379", "https://"+h.ip+":2380"
	return []string{
		"--name=n1", "--data-dir=" + h.path("etcd"), "--snapshot-count=10000", "--feature-gates=InitialCorruptCheck=true", "--watch-progress-notify-interval=5s",
		"--listen-client-urls=https://127.0.0.1:2379," + client, "--advertise-client-urls=" + client, "--listen-metrics-urls=http://127.0.0.1:2381",
		"--cert-file=" + pki + "/server.crt", "--key-file=" + pki + "/server.key", "--client-cert-auth=true", "--trusted-ca-file=" + pki + "/ca.crt",
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=n1=" + peer,
		"--peer-cert-file=" + pki + "/peer.crt", "--peer-key-file=" + pki + "/peer.key", "--peer-client-cert-auth=true", "--peer-trusted-ca-file=" + pki + "/ca.crt",
	}
}

func (h *host) apiserver(etcd ...string) []string {
	pki := h.path("pki/")
	return append([]string{
		"--advertise-address=" + h.ip, "--secure-port=6443", "--allow-privileged=true", "--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction", "--enable-bootstrap-token-auth=true", "--runtime-config=",
		"--client-ca-file=" + pki + "/ca.crt", "--tls-cert-file=" + pki + "/apiserver.crt", "--tls-private-key-file=" + pki + "/apiserver.key",
		"--kubelet-client-certificate=" + pki + "/apiserver-kubelet-client.crt", "--kubelet-client-key=" + pki + "/apiserver-kubelet-client.key",
		"--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
		"--proxy-client-cert-file=" + pki + "/front-proxy-client.crt", "--proxy-client-key-file=" + pki + "/front-proxy-client.key",
		"--requestheader-allowed-names=front-proxy-client", "--requestheader-client-ca-file=" + pki + "/front-proxy-ca.crt",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group", "--requestheader-username-headers=X-Remote-User",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local", "--service-account-key-file=" + pki + "/sa.pub",
		"--service-account-signing-key-file=" + pki + "/sa.key", "--service-cluster-ip-range=10.96.0.0/16",
	}, etcd...)
}

func (h *host) overTLS() []string {
	pki := h.path("pki/")
	return []string{
		"--etcd-servers=https://127.0.0.1:2379", "--etcd-cafile=" + pki + "/etcd/ca.crt",
		"--etcd-certfile=" + pki + "/apiserver-etcd-client.crt", "--etcd-keyfile=" + pki + "/apiserver-etcd-client.key",
	}
}

// elected are flags of a quick change of leaders.
var elected = []string{"--leader-elect=true", "--leader-elect-lease-duration=4s", "--leader-elect-renew-deadline=3s", "--leader-elect-retry-period=500ms"}

func (h *host) controllerManager(port int) []string {
	pki, who := h.path("pki/"), h.path("controller-manager.conf")
	return append([]string{
		"--kubeconfig=" + who, "--authentication-kubeconfig=" + who, "--authorization-kubeconfig=" + who, "--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port), "--use-service-account-credentials=true", "--controllers=*,bootstrapsigner,tokencleaner",
		"--allocate-node-cidrs=true", "--cluster-cidr=10.244.0.0/16", "--service-cluster-ip-range=10.96.0.0/16", "--cluster-name=kind",
		"--client-ca-file=" + pki + "/ca.crt", "--requestheader-client-ca-file=" + pki + "/front-proxy-ca.crt", "--root-ca-file=" + pki + "/ca.crt",
		"--cluster-signing-cert-file=" + pki + "/ca.crt", "--cluster-signing-key-file=" + pki + "/ca.key",
		"--service-account-private-key-file=" + pki + "/sa.key", "--enable-hostpath-provisioner=true", "--cluster-dns=10.96.0.10",
	}, elected...)
}

func (h *host) scheduler(port int) []string {
	who := h.path("scheduler.conf")
	config := h.write("scheduler.yaml", `apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection:
  kubeconfig: %s
profiles:
- schedulerName: default-scheduler
`, who)
	return append([]string{
		"--config=" + config, "--authentication-kubeconfig=" + who, "--authorization-kubeconfig=" + who,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port),
	}, elected...)
}

func (h *host) containerd() []string {
	return []string{"--root", h.path("containerd"), "--state", h.path("run/containerd")}
}

func (h *host) flanneld() []string {
	conf := h.write("net-conf.json", `{"Network": "10.244.0.0/16", "EnableNFTables": false, "Backend": {"Type": "vxlan"}}`)
	return []string{
		"--ip-masq", "--kube-subnet-mgr", "--kubeconfig-file=" + h.path("flannel.conf"), "--node-name=n1", "--iface=eth0",
		"--net-config-path=" + conf, "--subnet-file=" + h.path("run/flannel/subnet.env"),
	}
}

func (h *host) cni() []string {
	return []string{"--socket", h.path("run/cni.sock"), "--state-dir", h.path("cni"), "--conf-dir", h.path("run/containerd/cni"), "--subnet-file", h.path("run/flannel/subnet.env")}
}

func (h *host) dns() []string {
	return []string{"--kubeconfig", h.path("dns.conf"), "--bind-address", "10.244.0.1", "--cluster-dns", "10.96.0.10", "--hostname-override", "n1", "--healthz-bind-address", "127.0.0.1:8181"}
}

func (h *host) kubeletByItself() []string {
	config := h.write("kubelet.yaml", kubeletConfig, h.path("pki/ca.crt"), h.cgroup(), h.path("manifests"), h.path("pods"))
	return []string{
		"--bootstrap-kubeconfig=" + h.path("bootstrap.conf"), "--kubeconfig=" + h.path("kubelet.conf"), "--config=" + config,
		"--container-runtime-endpoint=unix://" + h.path("run/containerd/containerd.sock"), "--node-ip=" + h.ip, "--node-labels=",
		"--provider-id=kind://docker/kind/n1", "--runtime-cgroups=/system.slice/containerd.service", "--hostname-override=n1", "--root-dir=" + h.path("kubelet"),
	}
}

func (h *host) kubeProxy() []string {
	return []string{"--config=" + h.write("proxy.yaml", proxyConfig, h.path("proxy.conf")), "--hostname-override=n1"}
}

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {cacheTTL: 0s, enabled: true}
  x509: {clientCAFile: %s}
authorization:
  mode: Webhook
  webhook: {cacheAuthorizedTTL: 0s, cacheUnauthorizedTTL: 0s}
cgroupDriver: cgroupfs
cgroupRoot: %s
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: ""
cpuManagerReconcilePeriod: 0s
crashLoopBackOff: {}
evictionHard: {imagefs.available: 0%%, nodefs.available: 0%%, nodefs.inodesFree: 0%%}
evictionPressureTransitionPeriod: 0s
failSwapOn: false
fileCheckFrequency: 0s
healthzBindAddress: 127.0.0.1
healthzPort: 10248
httpCheckFrequency: 0s
imageGCHighThresholdPercent: 100
imageMaximumGCAge: 0s
imageMinimumGCAge: 0s
logging: {flushFrequency: 0, options: {json: {infoBufferSize: "0"}, text: {infoBufferSize: "0"}}, verbosity: 0}
memorySwap: {}
nodeStatusReportFrequency: 0s
nodeStatusUpdateFrequency: 0s
rotateCertificates: true
runtimeRequestTimeout: 0s
shutdownGracePeriod: 0s
shutdownGracePeriodCriticalPods: 0s
staticPodPath: %s
streamingConnectionIdleTimeout: 0s
syncFrequency: 0s
volumeStatsAggPeriod: 0s
podLogsDir: %s
`

const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection: {acceptContentTypes: "", burst: 0, contentType: "", kubeconfig: %s, qps: 0}
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack: {maxPerCore: 0, min: null, tcpBeLiberal: false, tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 0s, udpStreamTimeout: 0s, udpTimeout: 0s}
detectLocal: {bridgeInterface: "", interfaceNamePrefix: ""}
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables: {localhostNodePorts: null, masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
ipvs: {excludeCIDRs: null, minSyncPeriod: 0s, scheduler: "", strictARP: false, syncPeriod: 0s, tcpFinTimeout: 0s, tcpTimeout: 0s, udpTimeout: 0s}
logging: {flushFrequency: 0, options: {json: {infoBufferSize: "0"}, text: {infoBufferSize: "0"}}, verbosity: 0}
metricsBindAddress: ""
mode: iptables
nftables: {masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel: {enableDSR: false, forwardHealthCheckVip: false, networkName: "", rootHnsEndpointName: "", sourceVip: ""}
`
