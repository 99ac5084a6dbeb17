package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// parts are the roles of one machine that is a whole cluster.
type parts struct {
	*host
	schedulers, managers                                      [2]*process
	etcd, api, containerd, flanneld, cni, dns, kubelet, proxy *process
}

// TestRoles is a cluster put together from its roles as an administrator does it: certificates and kubeconfigs by command, each role a
// process started under upstream's name with upstream's flags. Each is killed in turn; the others go on, and it resumes.
func TestRoles(t *testing.T) {
	h := newHost(t)
	h.credentials()
	p := &parts{host: h}
	p.control()
	p.node()
	h.importImage("--address", h.path("run/containerd/containerd.sock"))
	h.kubectl("create", "deployment", "web", "--image="+webImage, "--replicas=2")
	h.kubectl("rollout", "status", "deployment/web", "--timeout=50s")
	h.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080", "--type=NodePort")
	p.answers("web")

	t.Run("ports", func(t *testing.T) { p.ports(t) })
	t.Run("leaders", func(t *testing.T) { p.leaders(t) })
	t.Run("node roles", func(t *testing.T) { p.nodeRoles(t) })
	t.Run("control plane", func(t *testing.T) { p.controlPlane(t) })
}

// credentials makes certificates, a kubeconfig for each user, and one with a bootstrap token for the kubelet.
func (h *host) credentials() {
	h.t.Helper()
	pki, url := h.path("pki"), "https://"+h.ip+":6443"
	if out := h.run("certs", "init", "--cert-dir", pki, "--node-ip", h.ip, "--service-cluster-ip-range", "10.96.0.0/16"); !strings.Contains(out, "apiserver-etcd-client") {
		h.t.Fatalf("certs init printed %q", out)
	}
	h.run("certs", "kubeconfig", "--cert-dir", pki, "--server", url, "--user", "boss", "--group", "system:masters", "--out", h.path("admin.kubeconfig"))
	for _, name := range []string{"controller-manager", "scheduler", "proxy", "flannel", "dns"} {
		h.run("certs", "kubeconfig", "--cert-dir", pki, "--server", url, "--cert", name, "--out", h.path(name+".conf"))
	}
	boot := func(args ...string) {
		h.kubectl(append([]string{"config", "--kubeconfig=" + h.path("bootstrap.conf")}, args...)...)
	}
	boot("set-cluster", "one", "--server="+url, "--certificate-authority="+h.path("pki/ca.crt"), "--embed-certs")
	boot("set-credentials", "new", "--token=abcdef.0123456789abcdef")
	boot("set-context", "boot", "--cluster=one", "--user=new")
	boot("use-context", "boot")
}

// control starts the control plane, two of each that elects a leader.
func (p *parts) control() {
	p.t.Helper()
	p.etcd = p.role("etcd", p.etcdTLS()...)
	p.etcd.expect("the member serves")
	p.api = p.role("kube-apiserver", p.apiserver(p.overTLS()...)...)
	p.api.expect("API server is ready")
	for i := range 2 {
		p.managers[i] = p.role("kube-controller-manager", p.controllerManager(10257+10*i)...)
		p.schedulers[i] = p.role("kube-scheduler", p.scheduler(10259+10*i)...)
		if i == 0 {
			p.managers[0].expect("msg=leading")
			p.schedulers[0].expect("msg=leading")
		}
	}
	p.kubectl("create", "secret", "generic", "bootstrap-token-abcdef", "-n", "kube-system", "--type=bootstrap.kubernetes.io/token",
		"--from-literal=token-id=abcdef", "--from-literal=token-secret=0123456789abcdef", "--from-literal=usage-bootstrap-authentication=true")
}

// node starts the roles of a node, whose kubelet gets its certificate by a token.
func (p *parts) node() {
	p.t.Helper()
	p.containerd = p.role("containerd", p.host.containerd()...)
	p.flanneld = p.role("flanneld", p.host.flanneld()...)
	p.cni = p.role("cni", p.host.cni()...)
	p.containerd.expect("container runtime ready")
	p.kubelet = p.role("kubelet", p.kubeletByItself()...)
	p.proxy = p.role("kube-proxy", p.kubeProxy()...)
	p.dns = p.role("dns", p.host.dns()...)
	p.flanneld.expect("node is in the overlay")
	p.cni.expect("pod network is up")
	p.dns.expect("cluster DNS answers")
	p.proxy.expect("service rules are written")
	p.kubectl("wait", "--for=condition=Ready", "node/n1", "--timeout=40s")
}

// answers fails the test unless a service is reached from the machine and, by its name, from a pod.
func (p *parts) answers(service string) {
	p.t.Helper()
	cluster := p.kubectl("get", "service", service, "-o", "jsonpath={.spec.clusterIP}")
	node := p.kubectl("get", "service", service, "-o", "jsonpath={.spec.ports[0].nodePort}")
	p.kubectl("wait", "--for=condition=Ready", "pod", "-l", "app=web", "--timeout=30s")
	p.reaches("http://"+cluster+"/", "http://"+p.ip+":"+node+"/")
	pod := strings.Fields(p.kubectl("get", "pods", "-l", "app=web", "-o", "name"))[0]
	if got := p.kubectl("exec", pod, "--", "/webapp", "get", "http://"+service+".default.svc.cluster.local/"); !strings.HasPrefix(got, "v1 web-") {
		p.t.Errorf("%s by name, from a pod: %q", service, got)
	}
}

// reaches fails the test unless URLs are answered.
func (p *parts) reaches(urls ...string) {
	p.t.Helper()
	for _, u := range urls {
		if got := p.await(u); !strings.HasPrefix(got, "v1 web-") {
			p.t.Errorf("%s: %q", u, got)
		}
	}
}

// ports asks each role's port for its health, which everyone may read, and for what only some may.
func (p *parts) ports(t *testing.T) {
	at := func(url string, args ...string) (string, error) {
		return p.try(append([]string{"kubectl", "--server=" + url, "--insecure-skip-tls-verify"}, args...)...)
	}
	nobody := "--kubeconfig=" + p.write("nobody.conf", "apiVersion: v1\nkind: Config\n")
	for name, c := range map[string]struct{ url, metric, configz string }{
		"controller manager": {"https://127.0.0.1:10257", "running_managed_controllers", ""},
		"scheduler":          {"https://127.0.0.1:10259", "scheduler_schedule_attempts_total", "KubeSchedulerConfiguration"},
		"kubelet":            {"https://" + p.ip + ":10250", "kubelet_running_pods", "clusterDomain"},
	} {
		for _, path := range []string{"/healthz"} {
			if got, err := at(c.url, "get", "--raw", path); err != nil || got != "ok" {
				t.Errorf("%s: %s: %q, %v", name, path, got, err)
			}
		}
		if got, err := at(c.url, "get", "--raw", "/metrics"); err != nil || !strings.Contains(got, c.metric) {
			t.Errorf("%s: metrics without %s, %v: %.200s", name, c.metric, err, got)
		}
		if got, err := at(c.url, nobody, "get", "--raw", "/metrics"); err == nil {
			t.Errorf("%s: nobody reads metrics: %.100s", name, got)
		}
		if c.configz != "" {
			if got, err := at(c.url, "get", "--raw", "/configz"); err != nil || !strings.Contains(got, c.configz) {
				t.Errorf("%s: configz without %s, %v: %.300s", name, c.configz, err, got)
			}
		}
	}
	for url, want := range map[string]string{
		"http://127.0.0.1:10248/healthz": "ok", "http://127.0.0.1:10256/healthz": "lastUpdated", "http://127.0.0.1:10256/livez": "lastUpdated",
		"http://127.0.0.1:10249/healthz": "ok", "http://127.0.0.1:10249/proxyMode": "iptables", "http://127.0.0.1:10249/metrics": "kubeproxy_sync_proxy_rules_duration_seconds",
		"http://127.0.0.1:10249/configz": "KubeProxyConfiguration", "http://127.0.0.1:8181/readyz": "ok", "http://127.0.0.1:2381/health": "true",
	} {
		if got, err := p.fetch(url); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %.200q, %v, want %q", url, got, err, want)
		}
	}
	for _, role := range []string{"kube-apiserver", "kube-scheduler", "kube-controller-manager", "kubelet", "kube-proxy"} {
		if got := p.run(role, "--version"); got != "Kubernetes v1.37.2\n" {
			t.Errorf("%s --version: %q", role, got)
		}
	}
}

// leaders kills those that lead; the others take over.
func (p *parts) leaders(t *testing.T) {
	if strings.Contains(p.schedulers[1].said()+p.managers[1].said(), "msg=leading") {
		t.Fatal("two lead at once")
	}
	p.schedulers[0].end()
	p.managers[0].end()
	p.schedulers[1].expect("msg=leading")
	p.managers[1].expect("msg=leading")
	p.kubectl("scale", "deployment/web", "--replicas=3")
	p.kubectl("rollout", "status", "deployment/web", "--timeout=40s")
	p.managers[0] = p.role("kube-controller-manager", p.controllerManager(10257)...)
	p.schedulers[0] = p.role("kube-scheduler", p.scheduler(10259)...)
}

// containers are those that run, with how often they were started.
func (p *parts) containers() string {
	p.t.Helper()
	return p.kubectl("get", "pods", "-l", "app=web", "-o", `jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{"\n"}{end}`)
}

func (p *parts) nodeRoles(t *testing.T) {
	before := p.containers()
	// Without all of them what is there answers on.
	for _, r := range []*process{p.kubelet, p.containerd, p.cni, p.flanneld, p.proxy} {
		r.end()
	}
	cluster := p.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	p.reaches("http://" + cluster + "/")
	p.kubectl("expose", "deployment", "web", "--name=later", "--port=80", "--target-port=8080", "--type=NodePort")
	p.dns.end()
	p.dns = p.role("dns", p.host.dns()...)
	p.dns.expect("cluster DNS answers")

	p.proxy = p.role("kube-proxy", p.kubeProxy()...)
	p.proxy.expect("service rules are written")
	later := p.kubectl("get", "service", "later", "-o", "jsonpath={.spec.clusterIP}")
	p.reaches("http://" + later + "/")

	// The runtime comes after the kubelet, which waits for it.
	p.flanneld = p.role("flanneld", p.host.flanneld()...)
	p.cni = p.role("cni", p.host.cni()...)
	p.kubelet = p.role("kubelet", p.kubeletByItself()...)
	p.containerd = p.role("containerd", p.host.containerd()...)
	p.containerd.expect("container runtime ready")
	p.answers("later")
	if after := p.containers(); after != before {
		t.Errorf("containers were\n%sand are\n%s", before, after)
	}
	p.kubectl("scale", "deployment/web", "--replicas=4")
	p.kubectl("rollout", "status", "deployment/web", "--timeout=40s")
}

func (p *parts) controlPlane(t *testing.T) {
	before := p.containers()
	cluster := p.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	p.etcd.end()
	p.reaches("http://" + cluster + "/")
	p.etcd = p.role("etcd", p.etcdTLS()...)
	p.etcd.expect("the member serves")
	p.kubectl("create", "configmap", "kept", "--from-literal=a=b")

	p.api.end()
	p.reaches("http://" + cluster + "/")
	p.api = p.role("kube-apiserver", p.apiserver(p.overTLS()...)...)
	p.api.expect("API server is ready")
	if got := p.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}"); got != "b" {
		t.Errorf("a write was lost: %q", got)
	}
	p.kubectl("wait", "--for=condition=Ready", "node/n1", "--timeout=40s")
	if after := p.containers(); after != before {
		t.Errorf("containers were\n%sand are\n%s", before, after)
	}
	p.kubectl("scale", "deployment/web", "--replicas=5")
	p.kubectl("rollout", "status", "deployment/web", "--timeout=40s")
	p.kubectl("expose", "deployment", "web", "--name=last", "--port=80", "--target-port=8080", "--type=NodePort")
	p.answers("last")
}

// TestPlainEtcd is the datastore on the loopback without certificates, and a server that is given nothing but it.
func TestPlainEtcd(t *testing.T) {
	h := newHost(t)
	etcd := h.role("etcd", "--data-dir", h.path("etcd"), "--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
		"--listen-peer-urls", "http://127.0.0.1:2380")
	etcd.expect("the member serves")
	h.run("certs", "init", "--cert-dir", h.path("pki"), "--node-ip", h.ip)
	h.run("certs", "kubeconfig", "--cert-dir", h.path("pki"), "--server", "https://127.0.0.1:6443", "--cert", "admin", "--out", h.path("admin.kubeconfig"))
	api := h.role("kube-apiserver", h.apiserver("--etcd-servers=http://127.0.0.1:2379")...)
	api.expect("API server is ready")
	if got := h.kubectl("get", "namespaces", "-o", "name"); !strings.Contains(got, "namespace/kube-system") {
		t.Errorf("namespaces: %q", got)
	}
	renewed := h.run("certs", "renew", "--cert-dir", h.path("pki"), "apiserver")
	if !strings.Contains(renewed, "apiserver is valid until") {
		t.Errorf("renew printed %q", renewed)
	}
	h.kubectl("get", "--raw", "/readyz")
	h.refusedFlags(t)
}

// refusedFlags is what a role says of flags and files that it cannot act on.
func (h *host) refusedFlags(t *testing.T) {
	file := func(kind, text string) string {
		return h.write(fmt.Sprintf("bad-%d.yaml", len(text)), "%s\n%s\n", kind, text)
	}
	const kubelet = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration"
	h.refuses(t, map[string]refusal{
		"unknown flag":         {[]string{"kube-scheduler", "--no-such-flag"}, []string{"unknown flag: --no-such-flag"}},
		"encryption":           {[]string{"kube-apiserver", "--encryption-provider-config=/x"}, []string{"--encryption-provider-config: open /x"}},
		"port in use":          {append([]string{"kube-apiserver"}, h.apiserver("--etcd-servers=http://127.0.0.1:2379")...), []string{"6443", "address already in use"}},
		"wrong type":           {[]string{"kubelet", "--config=" + file(kubelet, "maxPods: many")}, []string{"maxPods", "bad-"}},
		"unknown field":        {[]string{"kubelet", "--config=" + file(kubelet, "maxPodz: 1")}, []string{"maxPodz", "bad-"}},
		"another kind":         {[]string{"kube-proxy", "--config=" + file(kubelet, "")}, []string{"KubeletConfiguration", "KubeProxyConfiguration"}},
		"cgroup driver":        {[]string{"kubelet", "--cgroup-driver=systemd"}, []string{"cgroupDriver", "systemd"}},
		"no kubeconfig":        {[]string{"kube-scheduler", "--kubeconfig=/nonexistent"}, []string{"/nonexistent"}},
		"no server":            {[]string{"kube-controller-manager"}, []string{"--kubeconfig"}},
		"certificate, no key":  {[]string{"kube-scheduler", "--tls-cert-file=/x"}, []string{"--tls-private-key-file"}},
		"authority is missing": {[]string{"kube-apiserver", "--etcd-servers=https://127.0.0.1:1", "--etcd-cafile=/nonexistent"}, []string{"/nonexistent"}},
	})
}
