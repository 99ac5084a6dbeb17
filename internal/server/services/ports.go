package services

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// usesNodePorts says whether a service gets a node port for each port that names none.
func usesNodePorts(s *corev1.Service) bool {
	switch s.Spec.Type {
	case corev1.ServiceTypeNodePort:
		return true
	case corev1.ServiceTypeLoadBalancer:
		return s.Spec.AllocateLoadBalancerNodePorts == nil || *s.Spec.AllocateLoadBalancerNodePorts
	}
	return false
}

func mayHaveNodePorts(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer
}

func needsHealthPort(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

// nodePorts takes or chooses the node ports of a service. A service that changed to a type without them loses
// those that it had.
func (a *Allocator) nodePorts(s, was *corev1.Service, t *taking) field.ErrorList {
	if !mayHaveNodePorts(s) {
		dropOldPorts(s, was)
		return nil
	}
	if was != nil {
		keepPorts(s, was)
	}
	type use struct {
		protocol corev1.Protocol
		port     int32
	}
	used := map[use]bool{}
	byPort := map[int32]int32{} // two protocols of one port share a node port
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		path := spec.Child("ports").Index(i).Child("nodePort")
		if p.NodePort == 0 && usesNodePorts(s) {
			if shared := byPort[p.Port]; shared != 0 && !used[use{p.Protocol, shared}] {
				p.NodePort = shared
			}
		}
		switch {
		case p.NodePort != 0 && slices.Contains(t.ports, int(p.NodePort)) && byPort[p.Port] != p.NodePort:
			return field.ErrorList{field.Invalid(path, p.NodePort, errPortHeld.Error())} // by another port of the service
		case p.NodePort != 0:
			if err := a.takePort(int(p.NodePort), t); err != nil {
				return field.ErrorList{field.Invalid(path, p.NodePort, err.Error())}
			}
		case usesNodePorts(s):
			n, ok := a.choosePort()
			a.ported(t, dynamic, ok)
			if !ok {
				return field.ErrorList{field.InternalError(path, errors.New("failed to allocate a nodePort: range is full"))}
			}
			a.taken[n] = t.key
			t.ports = append(t.ports, n)
			p.NodePort = int32(n)
		}
		if p.NodePort != 0 {
			used[use{p.Protocol, p.NodePort}] = true
			byPort[p.Port] = p.NodePort
		}
	}
	return a.healthPort(s, was, t)
}

func (a *Allocator) healthPort(s, was *corev1.Service, t *taking) field.ErrorList {
	if !needsHealthPort(s) {
		if was != nil && s.Spec.HealthCheckNodePort == was.Spec.HealthCheckNodePort {
			s.Spec.HealthCheckNodePort = 0
		}
		return nil
	}
	path := spec.Child("healthCheckNodePort")
	if s.Spec.HealthCheckNodePort != 0 {
		err := a.takePort(int(s.Spec.HealthCheckNodePort), t)
		if slices.Contains(nodePortsOf(s), s.Spec.HealthCheckNodePort) {
			err = errPortHeld
		}
		if err != nil {
			t.err = apierrors.NewInternalError(fmt.Errorf("failed to allocate requested HealthCheck NodePort %d: %w", s.Spec.HealthCheckNodePort, err))
		}
		return nil
	}
	n, ok := a.choosePort()
	a.ported(t, dynamic, ok)
	if !ok {
		return field.ErrorList{field.InternalError(path, errors.New("failed to allocate a nodePort: range is full"))}
	}
	a.taken[n] = t.key
	t.ports = append(t.ports, n)
	s.Spec.HealthCheckNodePort = int32(n)
	return nil
}

// nodePortsOf are those of a service's ports.
func nodePortsOf(s *corev1.Service) []int32 {
	var out []int32
	for _, p := range s.Spec.Ports {
		out = append(out, p.NodePort)
	}
	return out
}

// dropOldPorts clears node ports that were allocated for the type that the service had before; one
// that the caller sets anew is left for validation to refuse.
func dropOldPorts(s, was *corev1.Service) {
	if was == nil || !mayHaveNodePorts(was) {
		return
	}
	had := map[int32]bool{}
	for _, p := range was.Spec.Ports {
		had[p.NodePort] = true
	}
	for i := range s.Spec.Ports {
		if had[s.Spec.Ports[i].NodePort] {
			s.Spec.Ports[i].NodePort = 0
		}
	}
	if s.Spec.HealthCheckNodePort == was.Spec.HealthCheckNodePort {
		s.Spec.HealthCheckNodePort = 0
	}
}

// keepPorts lets an update that leaves node ports out keep those that the service has for the
// same port and protocol.
func keepPorts(s, was *corev1.Service) {
	type use struct {
		protocol corev1.Protocol
		port     int32
	}
	had := map[use]int32{}
	for _, p := range was.Spec.Ports {
		had[use{p.Protocol, p.Port}] = p.NodePort
	}
	taken := map[int32]bool{}
	for _, p := range s.Spec.Ports {
		taken[p.NodePort] = true
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if n := had[use{p.Protocol, p.Port}]; p.NodePort == 0 && usesNodePorts(s) && !taken[n] {
			p.NodePort = n
		}
	}
	if s.Spec.HealthCheckNodePort == 0 && needsHealthPort(s) {
		s.Spec.HealthCheckNodePort = was.Spec.HealthCheckNodePort
	}
}

var errPortHeld = errors.New("provided port is already allocated")

func (a *Allocator) takePort(n int, t *taking) error {
	holder, held := a.taken[n]
	switch {
	case held && holder == t.key:
		return nil
	case held:
		a.ported(t, static, false)
		return errPortHeld
	case !a.ports.Contains(n) && t.dry:
		return nil // a dry run is only told of ports that others have
	case !a.ports.Contains(n):
		a.ported(t, static, false)
		return fmt.Errorf("provided port is not in the valid range. The range of valid ports is %s", a.ports.String())
	}
	a.ported(t, static, true)
	a.taken[n] = t.key
	t.ports = append(t.ports, n)
	return nil
}

// choosePort finds a free port, starting at a random one: first in the upper part (KEP-3668).
func (a *Allocator) choosePort() (int, bool) {
	edge := 0
	if a.ports.Size > 16 {
		edge = min(max(16, a.ports.Size/32), 128)
	}
	for _, part := range [][2]int{{edge, a.ports.Size}, {0, edge}} {
		n := part[1] - part[0]
		if n == 0 {
			continue
		}
		first := rand.IntN(n)
		for i := range n {
			port := a.ports.Base + part[0] + (first+i)%n
			if _, held := a.taken[port]; !held {
				return port, true
			}
		}
	}
	return 0, false
}
