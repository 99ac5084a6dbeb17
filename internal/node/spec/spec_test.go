package spec

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func pod() *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"}}
}

func TestHostname(t *testing.T) {
	yes := true
	for _, tc := range []struct {
		change               func(*corev1.Pod)
		name, domain, kernel string
	}{
		{func(p *corev1.Pod) {}, "p", "", "p"},
		{func(p *corev1.Pod) { p.Name = strings.Repeat("a", 62) + "-bcd" }, strings.Repeat("a", 62), "", strings.Repeat("a", 62)},
		{func(p *corev1.Pod) { p.Spec.Hostname, p.Spec.Subdomain = "h", "sub" }, "h", "sub.ns.svc.c.l", "h"},
		{func(p *corev1.Pod) { p.Spec.Subdomain, p.Spec.SetHostnameAsFQDN = "sub", &yes }, "p", "sub.ns.svc.c.l", "p.sub.ns.svc.c.l"},
	} {
		p := pod()
		tc.change(p)
		n, d, k, err := Hostname(p, "c.l")
		if err != nil || n != tc.name || d != tc.domain || k != tc.kernel {
			t.Errorf("%q %q %q %v, want %q %q %q", n, d, k, err, tc.name, tc.domain, tc.kernel)
		}
	}
	p := pod()
	p.Spec.Subdomain, p.Spec.SetHostnameAsFQDN = strings.Repeat("s", 60), &yes
	if _, _, _, err := Hostname(p, "c.l"); err == nil {
		t.Error("a host name that is too long was accepted")
	}
}

func TestHosts(t *testing.T) {
	p := pod()
	p.Spec.HostAliases = []corev1.HostAlias{{IP: "123.45.67.89", Hostnames: []string{"foo", "bar"}}}
	got, err := Hosts(p, []string{"10.0.0.5"}, "c.l", nil)
	if err != nil || !strings.HasPrefix(string(got), "# Kubernetes-managed hosts file.\n") ||
		!strings.Contains(string(got), "\n10.0.0.5\tp\n") || !strings.Contains(string(got), "\n123.45.67.89\tfoo\tbar\n") {
		t.Errorf("%s, %v", got, err)
	}
	p.Spec.HostNetwork = true
	got, _ = Hosts(p, nil, "c.l", []byte("1.2.3.4 own\n"))
	if strings.Contains(string(got), "# Kubernetes-managed hosts file.") || !strings.Contains(string(got), "1.2.3.4 own\n") {
		t.Errorf("host network: %s", got)
	}
}

func TestDNS(t *testing.T) {
	two := "2"
	n := &Node{ClusterDNS: []string{"10.96.0.10"}, ClusterDomain: "c.l",
		Resolv: ParseResolv("# x\nnameserver 1.1.1.1\nsearch old\nsearch corp. lan\noptions edns0 ndots:1\n")}
	cluster := &rt.DNSConfig{Servers: []string{"10.96.0.10"}, Searches: []string{"ns.svc.c.l", "svc.c.l", "c.l", "corp", "lan"}, Options: []string{"ndots:5"}}
	host := &rt.DNSConfig{Servers: []string{"1.1.1.1"}, Searches: []string{"corp", "lan"}, Options: []string{"edns0", "ndots:1"}}
	for _, tc := range []struct {
		name   string
		change func(*corev1.Pod)
		want   *rt.DNSConfig
	}{
		{"ClusterFirst", func(p *corev1.Pod) {}, cluster},
		{"ClusterFirst on the host's network", func(p *corev1.Pod) { p.Spec.HostNetwork = true }, host},
		{"ClusterFirstWithHostNet", func(p *corev1.Pod) { p.Spec.HostNetwork, p.Spec.DNSPolicy = true, corev1.DNSClusterFirstWithHostNet }, cluster},
		{"Default", func(p *corev1.Pod) { p.Spec.DNSPolicy = corev1.DNSDefault }, host},
		{"None", func(p *corev1.Pod) {
			p.Spec.DNSPolicy = corev1.DNSNone
			p.Spec.DNSConfig = &corev1.PodDNSConfig{Nameservers: []string{"9.9.9.9"}, Searches: []string{"a"}, Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &two}, {Name: "debug"}}}
		}, &rt.DNSConfig{Servers: []string{"9.9.9.9"}, Searches: []string{"a"}, Options: []string{"ndots:2", "debug"}}},
		{"merged", func(p *corev1.Pod) {
			p.Spec.DNSConfig = &corev1.PodDNSConfig{Nameservers: []string{"9.9.9.9", "10.96.0.10"}, Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &two}}}
		}, &rt.DNSConfig{Servers: []string{"10.96.0.10", "9.9.9.9"}, Searches: cluster.Searches, Options: []string{"ndots:2"}}},
	} {
		p := pod()
		tc.change(p)
		got, warn := DNS(p, n)
		if !reflect.DeepEqual(got.Servers, tc.want.Servers) || !reflect.DeepEqual(got.Searches, tc.want.Searches) || !reflect.DeepEqual(got.Options, tc.want.Options) || len(warn) != 0 {
			t.Errorf("%s: %v %v", tc.name, got, warn)
		}
	}
	p := pod()
	p.Spec.DNSConfig = &corev1.PodDNSConfig{Nameservers: []string{"1.0.0.1", "1.0.0.2", "1.0.0.3"}}
	if got, warn := DNS(p, n); len(got.Servers) != 3 || len(warn) != 1 {
		t.Errorf("too many servers: %v %v", got.Servers, warn)
	}
}

func TestResources(t *testing.T) {
	q := resource.MustParse
	n := &Node{CPUQuota: true, MemoryCapacity: 1000 << 20, HugepageSizes: []string{"2MB"}}
	p := pod()
	p.Status.QOSClass = corev1.PodQOSBurstable
	c := &corev1.Container{Resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{"cpu": q("100m"), "memory": q("100Mi")},
		Limits:   corev1.ResourceList{"cpu": q("250m"), "memory": q("200Mi"), "hugepages-2Mi": q("4Mi")}}}
	r := Resources(p, c, n)
	if r.CpuShares != 102 || r.CpuQuota != 25000 || r.CpuPeriod != 100000 || r.MemoryLimitInBytes != 200<<20 || r.OomScoreAdj != 900 || r.HugepageLimits[0].Limit != 4<<20 {
		t.Errorf("%v", r)
	}
	for _, tc := range []struct{ milli, shares, quota int64 }{{0, 2, 0}, {1, 2, 1000}, {2, 2, 1000}, {1000, 1024, 100000}, {10000000, 262144, 1000000000}} {
		if s, u := Shares(tc.milli), Quota(tc.milli, 100000); s != tc.shares || u != tc.quota {
			t.Errorf("%dm: shares %d quota %d", tc.milli, s, u)
		}
	}
	p.Status.QOSClass = corev1.PodQOSGuaranteed
	if s := OOMScore(p, c, 1); s != -997 {
		t.Error(s)
	}
	for b, want := range map[int64]string{2 << 20: "2MB", 1 << 30: "1GB", 64 << 10: "64KB"} {
		if got := PageSize(b); got != want {
			t.Errorf("PageSize(%d) = %s", b, got)
		}
	}
}

func TestCheckNonRoot(t *testing.T) {
	yes, root, user := true, int64(0), int64(5)
	c := &corev1.Container{SecurityContext: &corev1.SecurityContext{RunAsNonRoot: &yes}}
	for _, tc := range []struct {
		run, image *int64
		name       string
		ok         bool
	}{{nil, &user, "", true}, {nil, &root, "", false}, {nil, nil, "", false}, {nil, nil, "web", false}, {&user, &root, "", true}, {&root, &user, "", false}} {
		c.SecurityContext.RunAsUser = tc.run
		if err := CheckNonRoot(pod(), c, tc.image, tc.name); (err == nil) != tc.ok {
			t.Errorf("%v: %v", tc, err)
		}
	}
	c.SecurityContext.RunAsUser = nil
	if err := CheckNonRoot(pod(), c, &root, ""); !errors.Is(err, ErrNonRoot) {
		t.Error(err)
	}
}

func TestForbiddenSysctls(t *testing.T) {
	for name, bad := range map[string]bool{"kernel.shm_rmid_forced": false, "kernel/shm_rmid_forced": false, "kernel.msgmax": true, "net.core.somaxconn": false} {
		p := pod()
		p.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: name, Value: "1"}}}
		if _, got := Forbidden(p, []string{"net.core.*"}); got != bad {
			t.Errorf("%s: %v", name, got)
		}
	}
}
