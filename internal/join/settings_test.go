package join

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/server/servertest"
)

func settings() *Settings {
	return &Settings{
		PodCIDR: netip.MustParsePrefix("10.1.0.0/16"), ServiceCIDR: netip.MustParsePrefix("10.2.0.0/16"), Domain: "example.test",
		DNS: netip.MustParseAddr("10.2.0.10"), Overlay: "host-gw", Endpoint: "192.0.2.1:6443", Version: "v1.37.2",
	}
}

func TestSettingsAreLearntAsPublished(t *testing.T) {
	c := servertest.Start(t, nil).Admin()
	if _, err := Learn(t.Context(), c); err == nil {
		t.Error("settings before there are any")
	}
	want := settings()
	if err := want.Publish(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	got, err := Learn(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if got.Settings != *want {
		t.Errorf("learnt %+v, published %+v", got.Settings, *want)
	}
	if !strings.Contains(string(got.Kubelet), "serverTLSBootstrap: true") || !strings.Contains(string(got.NetConf), `"Network": "10.1.0.0/16"`) {
		t.Errorf("kubelets are told %s, the overlay %s", got.Kubelet, got.NetConf)
	}
}

func TestPublishKeepsWhatOthersWrote(t *testing.T) {
	c := servertest.Start(t, nil).Admin()
	s := settings()
	if err := s.Publish(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	change := func(name, key string, f func(string) string) {
		t.Helper()
		if _, err := client.ConfigMaps.Modify(t.Context(), c, metav1.NamespaceSystem, name, func(m *corev1.ConfigMap) bool {
			m.Data[key] = f(m.Data[key])
			return true
		}); err != nil {
			t.Fatal(err)
		}
	}
	change("kubelet-config", "kubelet", func(s string) string {
		return strings.Replace(s, "serverTLSBootstrap: true", "serverTLSBootstrap: false", 1) + "maxPods: 30\n"
	})
	change("kube-flannel-cfg", "net-conf.json", func(string) string { return `{"Network": "10.9.0.0/16", "Backend": {"Type": "vxlan", "VNI": 7}}` })
	if err := s.Publish(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	got, err := Learn(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"maxPods: 30", "serverTLSBootstrap: false", "clusterDomain: example.test"} {
		if !strings.Contains(string(got.Kubelet), want) {
			t.Errorf("kubelets are told\n%swithout %s", got.Kubelet, want)
		}
	}
	for _, want := range []string{`"VNI": 7`, `"Network": "10.1.0.0/16"`, `"Type": "host-gw"`} {
		if !strings.Contains(string(got.NetConf), want) {
			t.Errorf("the overlay is told\n%s\nwithout %s", got.NetConf, want)
		}
	}
	before, err := client.ConfigMaps.Get(t.Context(), c, metav1.NamespaceSystem, "kubelet-config")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Publish(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if after, err := client.ConfigMaps.Get(t.Context(), c, metav1.NamespaceSystem, "kubelet-config"); err != nil || after.ResourceVersion != before.ResourceVersion {
		t.Errorf("%v; written although nothing had changed", err)
	}
}

func TestLearnRefusesNonsense(t *testing.T) {
	c := servertest.Start(t, nil).Admin()
	if err := settings().Publish(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct{ name, key, text, want string }{
		{"kubelet-config", "kubelet", "clusterDNS: [192.0.2.9]", "clusterDNS"},
		{"kubelet-config", "kubelet", ":\n:", "kubelet-config"},
		{"kubelet-config", "kubelet", "", "has no kubelet"},
		{"kubeadm-config", "ClusterConfiguration", "networking: {podSubnet: here}", "podSubnet"},
	} {
		if _, err := client.ConfigMaps.Modify(t.Context(), c, metav1.NamespaceSystem, m.name, func(o *corev1.ConfigMap) bool {
			o.Data[m.key] = m.text
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := Learn(t.Context(), c); err == nil || !strings.Contains(err.Error(), m.want) {
			t.Errorf("%s of %q: %v, want %q", m.name, m.text, err, m.want)
		}
	}
}
