package env

import (
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Services gives the variables that tell a pod of services: of its own namespace when it wants them
// (enableServiceLinks), and always of default/kubernetes. Headless services have none.
func Services(pod *corev1.Pod, services []*corev1.Service) map[string]string {
	links := pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks
	vars := map[string]string{}
	for _, s := range services {
		if s.Namespace == corev1.NamespaceDefault && s.Name == "kubernetes" && (pod.Namespace != s.Namespace || !links) {
			add(vars, s)
		}
	}
	if links {
		for _, s := range services {
			if s.Namespace == pod.Namespace {
				add(vars, s)
			}
		}
	}
	return vars
}

func add(vars map[string]string, s *corev1.Service) {
	ip := s.Spec.ClusterIP
	if ip == "" || ip == corev1.ClusterIPNone || len(s.Spec.Ports) == 0 {
		return
	}
	name := variableName(s.Name)
	first := s.Spec.Ports[0]
	vars[name+"_SERVICE_HOST"] = ip
	vars[name+"_SERVICE_PORT"] = strconv.Itoa(int(first.Port))
	vars[name+"_PORT"] = url(first, ip)
	for _, p := range s.Spec.Ports {
		port := strconv.Itoa(int(p.Port))
		if p.Name != "" {
			vars[name+"_SERVICE_PORT_"+variableName(p.Name)] = port
		}
		link := name + "_PORT_" + port + "_" + strings.ToUpper(protocol(p))
		vars[link] = url(p, ip)
		vars[link+"_PROTO"] = protocol(p)
		vars[link+"_PORT"] = port
		vars[link+"_ADDR"] = ip
	}
}

func variableName(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "-", "_")) }

func protocol(p corev1.ServicePort) string {
	if p.Protocol == "" {
		return "tcp"
	}
	return strings.ToLower(string(p.Protocol))
}

func url(p corev1.ServicePort, ip string) string {
	return protocol(p) + "://" + net.JoinHostPort(ip, strconv.Itoa(int(p.Port)))
}
