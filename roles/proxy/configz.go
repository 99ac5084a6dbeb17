package proxy

import (
	"net/netip"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kube-proxy/config/v1alpha1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/network/proxy"
)

// configz is the configuration as it acts: what the file says with the flags over it.
func configz(file *v1alpha1.KubeProxyConfiguration, p *proxy.Config) map[string]any {
	span := func(d time.Duration) metav1.Duration { return metav1.Duration{Duration: d} }
	spanOf := func(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
	k := file.DeepCopy()
	k.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "KubeProxyConfiguration"}
	k.Mode, k.HostnameOverride = "iptables", p.NodeName
	k.HealthzBindAddress, k.MetricsBindAddress, k.BindAddressHardFail, k.EnableProfiling = p.HealthzAddress, p.MetricsAddress, p.BindHardFail, p.Profiling
	k.DetectLocalMode = v1alpha1.LocalMode(p.DetectLocalMode)
	k.DetectLocal = v1alpha1.DetectLocalConfiguration{BridgeInterface: p.BridgeInterface, InterfaceNamePrefix: p.InterfaceNamePrefix}
	k.ClusterCIDR, k.NodePortAddresses = join(p.ClusterCIDRs), p.NodePortAddresses
	k.IPTables = v1alpha1.KubeProxyIPTablesConfiguration{
		MasqueradeAll: p.MasqueradeAll, LocalhostNodePorts: ptr.To(!p.NoLocalhostNodePorts), SyncPeriod: span(p.SyncPeriod), MinSyncPeriod: span(p.MinSyncPeriod),
	}
	if p.MasqueradeBit != nil {
		k.IPTables.MasqueradeBit = ptr.To(int32(*p.MasqueradeBit))
	}
	c := p.Conntrack
	k.Conntrack = v1alpha1.KubeProxyConntrackConfiguration{
		MaxPerCore: ptr.To(int32(c.MaxPerCore)), Min: ptr.To(int32(c.Min)), TCPBeLiberal: c.TCPBeLiberal,
		TCPEstablishedTimeout: spanOf(c.TCPEstablishedTimeout), TCPCloseWaitTimeout: spanOf(c.TCPCloseWaitTimeout),
		UDPTimeout: span(c.UDPTimeout), UDPStreamTimeout: span(c.UDPStreamTimeout),
	}
	return map[string]any{"kubeproxy.config.k8s.io": k}
}

func join(ranges []netip.Prefix) string {
	var all []string
	for _, r := range ranges {
		all = append(all, r.String())
	}
	return strings.Join(all, ",")
}
