package spec

import (
	"fmt"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

const (
	maxHostname = 63 // RFC 1123 label
	maxFQDN     = 64 // what the kernel keeps as host name
)

// Hostname gives the name and the domain of a pod, and the host name that the kernel is told.
func Hostname(pod *corev1.Pod, clusterDomain string) (name, domain, kernel string, err error) {
	if o := pod.Spec.HostnameOverride; o != nil && *o != "" && !pod.Spec.HostNetwork {
		return *o, "", *o, nil
	}
	name = pod.Spec.Hostname
	if name == "" {
		name = strings.TrimRight(pod.Name[:min(len(pod.Name), maxHostname)], "-.")
	}
	if pod.Spec.Subdomain != "" {
		domain = fmt.Sprintf("%s.%s.svc.%s", pod.Spec.Subdomain, pod.Namespace, clusterDomain)
	}
	kernel = name
	if f := pod.Spec.SetHostnameAsFQDN; f != nil && *f && domain != "" {
		kernel = name + "." + domain
		if len(kernel) > maxFQDN {
			return "", "", "", fmt.Errorf("failed to construct FQDN from pod hostname and cluster domain, FQDN %s is too long (%d characters is the max, %d characters requested)",
				kernel, maxFQDN, len(kernel))
		}
	}
	return name, domain, kernel, nil
}

// Hosts is the content of /etc/hosts of a pod's containers: the managed one, or for pods in the
// host's network the host's own with the pod's aliases.
func Hosts(pod *corev1.Pod, ips []string, clusterDomain string, hostFile []byte) ([]byte, error) {
	var b strings.Builder
	if pod.Spec.HostNetwork {
		b.WriteString("# Kubernetes-managed hosts file (host network).\n")
		b.Write(hostFile)
	} else {
		name, domain, _, err := Hostname(pod, clusterDomain)
		if err != nil {
			return nil, err
		}
		b.WriteString("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
		b.WriteString("fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n")
		for _, ip := range ips {
			if domain != "" {
				fmt.Fprintf(&b, "%s\t%s.%s\t%s\n", ip, name, domain, name)
			} else {
				fmt.Fprintf(&b, "%s\t%s\n", ip, name)
			}
		}
	}
	if len(pod.Spec.HostAliases) > 0 {
		b.WriteString("\n# Entries added by HostAliases.\n")
		for _, a := range pod.Spec.HostAliases {
			b.WriteString(a.IP + "\t" + strings.Join(a.Hostnames, "\t") + "\n")
		}
	}
	return []byte(b.String()), nil
}

// ReadHosts reads the node's own /etc/hosts.
func ReadHosts() ([]byte, error) {
	data, err := os.ReadFile("/etc/hosts")
	if os.IsNotExist(err) {
		return nil, nil
	}
	return data, err
}
