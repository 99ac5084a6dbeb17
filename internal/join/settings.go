package join

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"hyperkube/internal/client"
)

// Settings are what all nodes of a cluster have in common. The master publishes them, and every other node learns them, in
// config maps of kube-system that are named and written as upstream's tools do it: kubeadm-config (kubeadm's
// ClusterConfiguration: networks and domain), kubelet-config (the KubeletConfiguration of all nodes) and kube-flannel-cfg (flannel's
// net-conf.json). What else an administrator writes into the last two is for all nodes too.
type Settings struct {
	PodCIDR, ServiceCIDR netip.Prefix
	Domain               string
	DNS                  netip.Addr
	// Overlay is vxlan or host-gw.
	Overlay string
	// Endpoint of the control plane, as host:port.
	Endpoint string
	Version  string
}

// Learned are a cluster's settings as a node finds them.
type Learned struct {
	Settings
	// Kubelet is the KubeletConfiguration, NetConf flannel's net-conf.json, whole.
	Kubelet, NetConf []byte
}

// The config maps and their keys.
const (
	clusterMap, clusterKey = "kubeadm-config", "ClusterConfiguration"
	kubeletMap, kubeletKey = "kubelet-config", "kubelet"
	overlayMap, overlayKey = "kube-flannel-cfg", "net-conf.json"
)

// document is one of the config maps: always are the master's own fields, at first those that it only starts with.
type document struct {
	name, key       string
	always, atFirst map[string]any
	encode          func(any) ([]byte, error)
}

func (s *Settings) documents() []document {
	indented := func(v any) ([]byte, error) { return json.MarshalIndent(v, "", "  ") }
	return []document{
		{clusterMap, clusterKey, map[string]any{
			"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "ClusterConfiguration",
			"clusterName": "kubernetes", "kubernetesVersion": s.Version, "controlPlaneEndpoint": s.Endpoint,
			"networking": map[string]any{"podSubnet": s.PodCIDR.String(), "serviceSubnet": s.ServiceCIDR.String(), "dnsDomain": s.Domain},
		}, nil, yaml.Marshal},
		{kubeletMap, kubeletKey, map[string]any{
			"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
			"clusterDNS": []any{s.DNS.String()}, "clusterDomain": s.Domain,
		}, map[string]any{"rotateCertificates": true, "serverTLSBootstrap": true, "failSwapOn": false}, yaml.Marshal},
		{overlayMap, overlayKey, map[string]any{
			"Network": s.PodCIDR.String(), "Backend": map[string]any{"Type": s.Overlay},
		}, nil, indented},
	}
}

// Publish writes the settings where they are not written yet.
func (s *Settings) Publish(ctx context.Context, c client.Interface) error {
	for _, d := range s.documents() {
		if err := d.publish(ctx, c); err != nil {
			return fmt.Errorf("publishing %s: %w", d.name, err)
		}
	}
	return nil
}

func (d *document) publish(ctx context.Context, c client.Interface) error {
	first := map[string]any{}
	merge(first, d.atFirst)
	merge(first, d.always)
	text, err := d.encode(first)
	if err != nil {
		return err
	}
	_, err = client.ConfigMaps.Create(ctx, c, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: d.name}, Data: map[string]string{d.key: string(text)},
	})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	var bad error
	_, err = client.ConfigMaps.Modify(ctx, c, metav1.NamespaceSystem, d.name, func(m *corev1.ConfigMap) bool {
		var now, was map[string]any
		if bad = errors.Join(yaml.Unmarshal([]byte(m.Data[d.key]), &now), yaml.Unmarshal([]byte(m.Data[d.key]), &was)); bad != nil {
			return false
		}
		if now == nil {
			now = map[string]any{}
			merge(now, d.atFirst)
		}
		merge(now, d.always)
		if equality.Semantic.DeepEqual(now, was) {
			return false
		}
		if text, bad = d.encode(now); bad != nil {
			return false
		}
		if m.Data == nil {
			m.Data = map[string]string{}
		}
		m.Data[d.key] = string(text)
		return true
	})
	return errors.Join(err, bad)
}

// merge puts what from says into to, maps field by field.
func merge(to, from map[string]any) {
	for k, v := range from {
		inner, ok := v.(map[string]any)
		have, both := to[k].(map[string]any)
		switch {
		case ok && both:
			merge(have, inner)
		case ok:
			have = map[string]any{}
			merge(have, inner)
			to[k] = have
		default:
			to[k] = v
		}
	}
}

// Learn reads a cluster's settings.
func Learn(ctx context.Context, c client.Interface) (*Learned, error) {
	var l Learned
	text, err := read(ctx, c, clusterMap, clusterKey)
	if err != nil {
		return nil, err
	}
	var cluster struct {
		Version    string `json:"kubernetesVersion"`
		Endpoint   string `json:"controlPlaneEndpoint"`
		Networking struct{ PodSubnet, ServiceSubnet, DNSDomain string }
	}
	if err := yaml.Unmarshal(text, &cluster); err != nil {
		return nil, fmt.Errorf("%s: %w", clusterMap, err)
	}
	l.Version, l.Endpoint, l.Domain = cluster.Version, cluster.Endpoint, cluster.Networking.DNSDomain
	if l.PodCIDR, err = netip.ParsePrefix(cluster.Networking.PodSubnet); err != nil {
		return nil, fmt.Errorf("%s: podSubnet: %w", clusterMap, err)
	}
	if l.ServiceCIDR, err = netip.ParsePrefix(cluster.Networking.ServiceSubnet); err != nil {
		return nil, fmt.Errorf("%s: serviceSubnet: %w", clusterMap, err)
	}
	if l.Kubelet, err = read(ctx, c, kubeletMap, kubeletKey); err != nil {
		return nil, err
	}
	if l.NetConf, err = read(ctx, c, overlayMap, overlayKey); err != nil {
		return nil, err
	}
	return &l, l.complete()
}

// complete takes what is in the parts that are handed on whole.
func (l *Learned) complete() error {
	var kubelet struct{ ClusterDNS []string }
	if err := yaml.Unmarshal(l.Kubelet, &kubelet); err != nil {
		return fmt.Errorf("%s: %w", kubeletMap, err)
	}
	at := slices.IndexFunc(kubelet.ClusterDNS, func(s string) bool {
		ip, err := netip.ParseAddr(s)
		return err == nil && l.ServiceCIDR.Contains(ip)
	})
	if at < 0 {
		return fmt.Errorf("%s: clusterDNS names no address of the service range %v", kubeletMap, l.ServiceCIDR)
	}
	l.DNS = netip.MustParseAddr(kubelet.ClusterDNS[at])
	var overlay struct{ Backend struct{ Type string } }
	if err := yaml.Unmarshal(l.NetConf, &overlay); err != nil {
		return fmt.Errorf("%s: %w", overlayMap, err)
	}
	l.Overlay = overlay.Backend.Type
	return nil
}

func read(ctx context.Context, c client.Interface, name, key string) ([]byte, error) {
	m, err := client.ConfigMaps.Get(ctx, c, metav1.NamespaceSystem, name)
	if err != nil {
		return nil, fmt.Errorf("the cluster's settings: %w", err)
	}
	if m.Data[key] == "" {
		return nil, fmt.Errorf("the cluster's settings: config map %s has no %s", name, key)
	}
	return []byte(m.Data[key]), nil
}
