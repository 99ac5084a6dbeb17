package services

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
)

const (
	// managedBy is the value of [networkingv1.LabelManagedBy] of the objects that are the allocator's.
	managedBy = "ipallocator.k8s.io"
	// undoTime bounds how long the way back of a failed write takes, whose own time may be over.
	undoTime = 10 * time.Second
)

// addressObject says that a service has an address.
func addressObject(ip netip.Addr, service object.Key) *networkingv1.IPAddress {
	return &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: ip.String(), Labels: map[string]string{
			networkingv1.LabelIPAddressFamily: string(familyOf(netip.PrefixFrom(ip, ip.BitLen()))),
			networkingv1.LabelManagedBy:       managedBy,
		}},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{
			Resource: "services", Namespace: service.Namespace, Name: service.Name,
		}},
	}
}

// holder is the service that an IPAddress is for; false: it is for something else.
func holder(o *networkingv1.IPAddress) (object.Key, bool) {
	ref := o.Spec.ParentRef
	if ref == nil || ref.Group != "" || ref.Resource != "services" {
		return object.Key{}, false
	}
	return object.Key{Namespace: ref.Namespace, Name: ref.Name}, true
}

// name makes the object that gives an address to the service of a write, unless that is only tried out.
func (a *Allocator) name(ctx context.Context, ip netip.Addr, t *taking) error {
	if t.dry {
		a.mu.Lock()
		defer a.mu.Unlock()
		if _, ok := a.named[ip]; ok {
			return apierrors.NewAlreadyExists(client.IPAddresses.GVR.GroupResource(), ip.String())
		}
		return nil
	}
	_, err := client.IPAddresses.Create(ctx, a.c, addressObject(ip, t.key))
	if err == nil {
		t.made = append(t.made, ip)
	}
	return err
}

// unname removes the object that gives an address to a service, if it still does. What cannot be removed now the repair removes.
func (a *Allocator) unname(ctx context.Context, ip netip.Addr, service object.Key) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	cur, err := client.IPAddresses.Get(ctx, a.c, "", ip.String())
	if err == nil {
		if of, ok := holder(cur); !ok || of != service {
			return
		}
		err = a.remove(ctx, cur)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		slog.Default().Warn("the address of a service is not free yet", "component", "apiserver", "address", ip.String(),
			"namespace", service.Namespace, "service", service.Name, "error", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.named, ip)
}

// remove deletes exactly this object, not one of the same name that came after it.
func (a *Allocator) remove(ctx context.Context, o *networkingv1.IPAddress) error {
	return a.c.Delete(ctx, client.IPAddresses.GVR, "", o.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &o.UID}})
}
