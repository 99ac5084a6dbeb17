package system

import (
	"fmt"
	"os"
	"path/filepath"

	"hyperkube/e2e/bench/machine"
)

func (u *upstream) etcdFlags() []string {
	return []string{
		"--data-dir", u.path("etcd"), "--log-level", "warn",
		"--listen-client-urls", "https://127.0.0.1:2379", "--advertise-client-urls", "https://127.0.0.1:2379",
		"--cert-file", u.files.EtcdServer.CertFile, "--key-file", u.files.EtcdServer.KeyFile,
		"--trusted-ca-file", u.path("pki/etcd/ca.crt"), "--client-cert-auth",
		"--quota-backend-bytes", "8589934592",
	}
}

func (u *upstream) apiFlags() []string {
	ca := u.path("pki/ca.crt")
	return []string{
		"--etcd-servers", "https://127.0.0.1:2379", "--etcd-cafile", u.path("pki/etcd/ca.crt"),
		"--etcd-certfile", u.files.APIServerEtcdClient.CertFile, "--etcd-keyfile", u.files.APIServerEtcdClient.KeyFile,
		"--secure-port", "6443", "--advertise-address", u.box.IP,
		"--tls-cert-file", u.files.APIServer.CertFile, "--tls-private-key-file", u.files.APIServer.KeyFile, "--client-ca-file", ca,
		"--kubelet-client-certificate", u.files.APIServerKubeletClient.CertFile, "--kubelet-client-key", u.files.APIServerKubeletClient.KeyFile,
		"--kubelet-certificate-authority", ca,
		"--service-account-issuer", "https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file", u.files.ServiceAccountPub, "--service-account-signing-key-file", u.files.ServiceAccountKey,
		"--service-cluster-ip-range", "10.96.0.0/12", "--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction",
		"--requestheader-client-ca-file", u.path("pki/front-proxy-ca.crt"), "--requestheader-allowed-names", "front-proxy-client",
		"--requestheader-extra-headers-prefix", "X-Remote-Extra-", "--requestheader-group-headers", "X-Remote-Group", "--requestheader-username-headers", "X-Remote-User",
		"--proxy-client-cert-file", u.files.FrontProxyClient.CertFile, "--proxy-client-key-file", u.files.FrontProxyClient.KeyFile,
	}
}

func (u *upstream) controllerFlags() []string {
	kubeconfig := u.path("controller-manager.kubeconfig")
	return []string{
		"--kubeconfig", kubeconfig, "--authentication-kubeconfig", kubeconfig, "--authorization-kubeconfig", kubeconfig,
		"--bind-address", "127.0.0.1", "--use-service-account-credentials",
		"--allocate-node-cidrs", "--cluster-cidr", u.options.clusterCIDR(), "--service-cluster-ip-range", "10.96.0.0/12",
		"--cluster-signing-cert-file", u.path("pki/ca.crt"), "--cluster-signing-key-file", u.path("pki/ca.key"),
		"--root-ca-file", u.path("pki/ca.crt"), "--service-account-private-key-file", u.files.ServiceAccountKey,
		"--kube-api-qps", "5000", "--kube-api-burst", "5000",
	}
}

// configs writes the files of those programs that take no flags. The limits of clients are lifted, as hyperkube has none.
func (u *upstream) configs() error {
	mode := u.options.ProxyMode
	if mode == "" {
		mode = "iptables"
	}
	files := map[string]string{
		"scheduler.yaml": fmt.Sprintf(`apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: %q, qps: 5000, burst: 5000}
leaderElection: {leaderElect: true}
`, u.path("scheduler.kubeconfig")),
		"proxy.yaml": fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: %s
hostnameOverride: %s
clusterCIDR: %s
clientConnection: {kubeconfig: %q}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, mode, NodeName, u.options.clusterCIDR(), u.path("proxy.kubeconfig")),
		"kubelet.yaml": fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: "unix://%s"
cgroupDriver: cgroupfs
cgroupRoot: /%s
failCgroupV1: false
failSwapOn: false
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %q}}
authorization: {mode: Webhook}
tlsCertFile: %q
tlsPrivateKeyFile: %q
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
podLogsDir: %q
evictionHard: {memory.available: 100Mi, nodefs.available: 1%%, imagefs.available: 1%%}
`, u.socket(), u.box.PodGroup(), u.path("pki/ca.crt"), u.files.KubeletServer.CertFile, u.files.KubeletServer.KeyFile, u.path("logs")),
		"net.d/10-bridge.conflist": `{"cniVersion": "1.0.0", "name": "bench", "plugins": [
 {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
 {"type": "portmap", "capabilities": {"portMappings": true}}]}
`,
		"containerd.toml": u.containerdConfig(),
	}
	for name, text := range files {
		file := u.path(name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return machine.CreateGroupEverywhere(u.box.PodGroup())
}

// containerdConfig keeps all that containerd makes, the namespaces of pods too, where the box is removed with it.
func (u *upstream) containerdConfig() string {
	state := filepath.Join(runDir(u.box), "containerd")
	return fmt.Sprintf(`version = 3
root = %q
state = %q
[grpc]
address = %q
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = %q
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = [%q]
conf_dir = %q
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
runtime_path = %q
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = %q
Root = %q
SystemdCgroup = false
`, u.path("containerd"), state, u.socket(), pauseImage, upstreamDir(u.root), u.path("net.d"),
		helper(u.root, "containerd-shim-runc-v2"), helper(u.root, "runc"), filepath.Join(state, "runc"))
}
