package spec

import (
	"fmt"
	"net"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Limits of resolv.conf that every libc can live with (KEP-2595).
const (
	maxNameservers  = 3
	maxSearches     = 32
	maxSearchLength = 2048
)

// Resolv is a resolv.conf.
type Resolv struct{ Nameservers, Searches, Options []string }

// ParseResolv reads a resolv.conf. The last search line counts; domain is ignored as upstream does it.
func ParseResolv(text string) Resolv {
	var r Resolv
	for _, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) < 2 || f[0][0] == '#' || f[0][0] == ';' {
			continue
		}
		switch f[0] {
		case "nameserver":
			r.Nameservers = append(r.Nameservers, f[1])
		case "search":
			r.Searches = nil
			for _, s := range f[1:] {
				if s != "." {
					s = strings.TrimSuffix(s, ".")
				}
				r.Searches = append(r.Searches, s)
			}
		case "options":
			r.Options = append(r.Options, f[1:]...)
		}
	}
	return r
}

// DNS is what a pod's resolv.conf says. warnings are texts for events (reason DNSConfigForming, or MissingClusterDNS).
func DNS(pod *corev1.Pod, n *Node) (cfg *rt.DNSConfig, warnings []Warning) {
	policy := pod.Spec.DNSPolicy
	if policy == "" {
		policy = corev1.DNSClusterFirst
	}
	if policy == corev1.DNSClusterFirst && pod.Spec.HostNetwork {
		policy = corev1.DNSDefault
	}
	if policy == corev1.DNSClusterFirstWithHostNet {
		policy = corev1.DNSClusterFirst
	}
	if policy == corev1.DNSClusterFirst && len(n.ClusterDNS) == 0 {
		warnings = append(warnings, Warning{"MissingClusterDNS", fmt.Sprintf("pod: %q. kubelet does not have ClusterDNS IP configured and cannot create Pod using %q policy. Falling back to %q policy.",
			pod.Namespace+"/"+pod.Name, pod.Spec.DNSPolicy, corev1.DNSDefault)})
		policy = corev1.DNSDefault
	}
	cfg = &rt.DNSConfig{}
	switch policy {
	case corev1.DNSClusterFirst:
		cfg.Servers = append(cfg.Servers, n.ClusterDNS...)
		d := n.ClusterDomain
		cfg.Searches = unique([]string{pod.Namespace + ".svc." + d, "svc." + d, d}, n.Resolv.Searches)
		cfg.Options = []string{"ndots:5"}
	case corev1.DNSDefault:
		cfg.Servers = append(cfg.Servers, n.Resolv.Nameservers...)
		cfg.Searches = append(cfg.Searches, n.Resolv.Searches...)
		cfg.Options = append(cfg.Options, n.Resolv.Options...)
	}
	if c := pod.Spec.DNSConfig; c != nil {
		cfg.Servers = unique(cfg.Servers, c.Nameservers)
		cfg.Searches = unique(cfg.Searches, c.Searches)
		cfg.Options = mergeOptions(cfg.Options, c.Options)
	}
	return cfg, append(warnings, limit(cfg)...)
}

// Warning is an event about a pod.
type Warning struct{ Reason, Message string }

func limit(cfg *rt.DNSConfig) (warnings []Warning) {
	if len(cfg.Servers) > maxNameservers {
		cfg.Servers = cfg.Servers[:maxNameservers]
		warnings = append(warnings, Warning{"DNSConfigForming", "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: " + strings.Join(cfg.Servers, " ")})
	}
	kept, length := 0, 0
	for kept < len(cfg.Searches) && kept < maxSearches && length+len(cfg.Searches[kept])+1 <= maxSearchLength+1 {
		length += len(cfg.Searches[kept]) + 1
		kept++
	}
	if kept < len(cfg.Searches) {
		cfg.Searches = cfg.Searches[:kept]
		warnings = append(warnings, Warning{"DNSConfigForming", "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: " + strings.Join(cfg.Searches, " ")})
	}
	return warnings
}

func unique(lists ...[]string) []string {
	seen := map[string]bool{}
	var out []string
	for _, l := range lists {
		for _, s := range l {
			if !seen[s] {
				seen[s] = true
				out = append(out, s)
			}
		}
	}
	return out
}

// mergeOptions adds the pod's options; one of the same name takes the place of the earlier.
func mergeOptions(base []string, add []corev1.PodDNSConfigOption) []string {
	out := append([]string{}, base...)
	for _, o := range add {
		text := o.Name
		if o.Value != nil {
			text += ":" + *o.Value
		}
		replaced := false
		for i, b := range out {
			if name, _, _ := strings.Cut(b, ":"); name == o.Name {
				out[i], replaced = text, true
			}
		}
		if !replaced {
			out = append(out, text)
		}
	}
	return out
}

// ValidDNS says whether every cluster DNS address is one.
func ValidDNS(addrs []string) error {
	for _, a := range addrs {
		if net.ParseIP(a) == nil {
			return fmt.Errorf("cluster DNS %q is not an IP address", a)
		}
	}
	return nil
}
