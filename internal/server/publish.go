package server

import (
	"context"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/object/codec"
)

const (
	// serverLease is how long an API server that vanished stays among the endpoints of default/kubernetes.
	serverLease = 15 * time.Second
	kubernetes  = "kubernetes"
)

// publish keeps default/kubernetes: the service, and as its endpoints every API server on this etcd. Each server holds
// a key under a lease; all of them watch the keys and write the same endpoints. What somebody deletes comes back at once.
func (s *Server) publish(ctx context.Context) error {
	if s.cfg.AdvertiseAddress == nil {
		return nil
	}
	select {
	case <-s.started:
	case <-ctx.Done():
		return nil
	}
	c := s.Direct(loopback())
	deleted := watchDeleted(ctx, c)
	if s.cfg.AdvertiseAddress.IsLoopback() {
		s.log.Warn("the advertised address is on the loopback: default/kubernetes gets no endpoints", "address", s.cfg.AdvertiseAddress.String())
		for retry(ctx, func() error { return s.kubernetesService(ctx, c) }) == nil {
			select {
			case <-ctx.Done():
			case <-deleted:
			}
		}
		return nil
	}
	prefix := path.Join("/", strings.Trim(s.storePrefix(), "/"), "masterleases") + "/"
	for ctx.Err() == nil {
		if err := s.hold(ctx, c, prefix, deleted); err != nil && ctx.Err() == nil {
			s.log.Warn("endpoints of the API servers could not be kept", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	return s.withdraw(c, prefix)
}

// watchDeleted tells when the service, its endpoints or their slice are deleted. Changes are not told: servers of different
// ports would undo each other's for ever.
func watchDeleted(ctx context.Context, c client.Interface) <-chan struct{} {
	deleted := make(chan struct{}, 1)
	note := func(gone bool) {
		if gone {
			select {
			case deleted <- struct{}{}:
			default:
			}
		}
	}
	f := client.NewInformers(c)
	ours := client.Select{Fields: "metadata.name=" + kubernetes + ",metadata.namespace=" + metav1.NamespaceDefault}
	client.InformerWith(f, client.Services, ours).OnChange(func(_, new *corev1.Service) { note(new == nil) })
	client.InformerWith(f, client.Endpoints, ours).OnChange(func(_, new *corev1.Endpoints) { note(new == nil) })
	client.InformerWith(f, client.EndpointSlices, ours).OnChange(func(_, new *discoveryv1.EndpointSlice) { note(new == nil) })
	f.Start(ctx)
	return deleted
}

func (s *Server) storePrefix() string {
	if s.cfg.Prefix == "" {
		return "/registry"
	}
	return s.cfg.Prefix
}

// hold registers this server and reconciles the service and its endpoints with every change until its lease is lost.
func (s *Server) hold(ctx context.Context, c client.Interface, prefix string, deleted <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lease, err := s.cfg.Etcd.Grant(ctx, int64(serverLease/time.Second))
	if err != nil {
		return err
	}
	value, err := codec.EncodeProto(&corev1.Endpoints{Subsets: []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: s.cfg.AdvertiseAddress.String()}}}}},
		corev1.SchemeGroupVersion.WithKind("Endpoints"))
	if err != nil {
		return err
	}
	put, err := s.cfg.Etcd.Put(ctx, prefix+s.cfg.AdvertiseAddress.String(), string(value), clientv3.WithLease(lease.ID))
	if err != nil {
		return err
	}
	// Renewed by a ticker of its own: the client's KeepAlive looks at its leases several times a second.
	renew := time.NewTicker(serverLease / 3)
	defer renew.Stop()
	events := s.cfg.Etcd.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(put.Header.Revision+1))
	for {
		if err := s.kubernetesService(ctx, c); err != nil {
			return err
		}
		if err := s.reconcileEndpoints(ctx, c, prefix); err != nil {
			return err
		}
		changed := false
		for !changed {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-deleted:
				changed = true
			case <-renew.C:
				if _, err := s.cfg.Etcd.KeepAliveOnce(ctx, lease.ID); err != nil {
					return fmt.Errorf("renewing the lease of this server: %w", err)
				}
			case w, ok := <-events:
				if !ok || w.Err() != nil {
					return fmt.Errorf("watch of the API servers: %w", w.Err())
				}
				changed = true
			}
		}
	}
}

// withdraw takes this server out of the endpoints at a shutdown.
func (s *Server) withdraw(c client.Interface, prefix string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if _, err := s.cfg.Etcd.Delete(ctx, prefix+s.cfg.AdvertiseAddress.String()); err != nil {
		return fmt.Errorf("withdraw from default/kubernetes: %w", err)
	}
	return s.reconcileEndpoints(ctx, c, prefix)
}

func (s *Server) securePort() int32 {
	if a, ok := s.Addr().(*net.TCPAddr); ok {
		return int32(a.Port)
	}
	return int32(s.cfg.Port)
}

// kubernetesService makes the service at the first address of the service range.
func (s *Server) kubernetesService(ctx context.Context, c client.Interface) error {
	ip, err := firstAddress(s.cfg.ServiceCIDRs)
	if err != nil {
		return err
	}
	cur, err := client.Services.Get(ctx, c, metav1.NamespaceDefault, kubernetes)
	ports := []corev1.ServicePort{{Name: "https", Port: 443, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(s.securePort())}}
	if err == nil {
		if len(cur.Spec.Ports) == 1 && cur.Spec.Ports[0].TargetPort == ports[0].TargetPort && cur.Spec.Ports[0].Port == 443 {
			return nil
		}
		_, err = client.Services.Modify(ctx, c, metav1.NamespaceDefault, kubernetes, func(svc *corev1.Service) bool {
			svc.Spec.Ports = ports
			return true
		})
		return err
	}
	if !apierrors.IsNotFound(err) {
		return err
	}
	_, err = client.Services.Create(ctx, c, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: kubernetes, Namespace: metav1.NamespaceDefault,
			Labels: map[string]string{"provider": "kubernetes", "component": "apiserver"}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: ip, Ports: ports, SessionAffinity: corev1.ServiceAffinityNone,
			IPFamilyPolicy: ptr.To(corev1.IPFamilyPolicySingleStack),
		},
	})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		s.log.Warn("the service default/kubernetes could not be made", "err", err)
	}
	return err
}

func firstAddress(cidrs []*net.IPNet) (string, error) {
	if len(cidrs) == 0 {
		return "", fmt.Errorf("no service range")
	}
	ip := slices.Clone(cidrs[0].IP.Mask(cidrs[0].Mask))
	for i := len(ip) - 1; i >= 0; i-- {
		if ip[i]++; ip[i] != 0 {
			break
		}
	}
	return ip.String(), nil
}

func (s *Server) reconcileEndpoints(ctx context.Context, c client.Interface, prefix string) error {
	got, err := s.cfg.Etcd.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	var ips []string
	for _, kv := range got.Kvs {
		if ip := path.Base(string(kv.Key)); net.ParseIP(ip) != nil {
			ips = append(ips, ip)
		}
	}
	slices.Sort(ips)
	if err := s.writeEndpoints(ctx, c, ips); err != nil {
		return err
	}
	return s.writeSlice(ctx, c, ips)
}

func (s *Server) writeEndpoints(ctx context.Context, c client.Interface, ips []string) error {
	var subsets []corev1.EndpointSubset
	if len(ips) > 0 {
		set := corev1.EndpointSubset{Ports: []corev1.EndpointPort{{Name: "https", Port: s.securePort(), Protocol: corev1.ProtocolTCP}}}
		for _, ip := range ips {
			set.Addresses = append(set.Addresses, corev1.EndpointAddress{IP: ip})
		}
		subsets = append(subsets, set)
	}
	want := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: kubernetes, Namespace: metav1.NamespaceDefault,
		Labels: map[string]string{discoveryv1.LabelSkipMirror: "true"}}, Subsets: subsets}
	_, err := client.Endpoints.Modify(ctx, c, want.Namespace, want.Name, func(e *corev1.Endpoints) bool {
		if apiequality.Semantic.DeepEqual(e.Subsets, subsets) && e.Labels[discoveryv1.LabelSkipMirror] == "true" {
			return false
		}
		e.Subsets = subsets
		if e.Labels == nil {
			e.Labels = map[string]string{}
		}
		e.Labels[discoveryv1.LabelSkipMirror] = "true"
		return true
	})
	if apierrors.IsNotFound(err) {
		_, err = client.Endpoints.Create(ctx, c, want)
	}
	return err
}

func (s *Server) writeSlice(ctx context.Context, c client.Interface, ips []string) error {
	family := discoveryv1.AddressTypeIPv4
	if s.cfg.AdvertiseAddress.To4() == nil {
		family = discoveryv1.AddressTypeIPv6
	}
	var endpoints []discoveryv1.Endpoint
	for _, ip := range ips {
		endpoints = append(endpoints, discoveryv1.Endpoint{Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}})
	}
	ports := []discoveryv1.EndpointPort{{Name: ptr.To("https"), Port: ptr.To(s.securePort()), Protocol: ptr.To(corev1.ProtocolTCP)}}
	want := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: kubernetes, Namespace: metav1.NamespaceDefault,
			Labels: map[string]string{discoveryv1.LabelServiceName: kubernetes}},
		AddressType: family, Endpoints: endpoints, Ports: ports,
	}
	_, err := client.EndpointSlices.Modify(ctx, c, want.Namespace, want.Name, func(e *discoveryv1.EndpointSlice) bool {
		if apiequality.Semantic.DeepEqual(e.Endpoints, endpoints) && apiequality.Semantic.DeepEqual(e.Ports, ports) {
			return false
		}
		e.Endpoints, e.Ports = endpoints, ports
		return true
	})
	if apierrors.IsNotFound(err) {
		_, err = client.EndpointSlices.Create(ctx, c, want)
	}
	return err
}
