package controllermanager_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers/servicecidr"
)

// TestServiceRanges takes addresses from a further range and gives it up: ranges that services need stay, unless another covers them.
func TestServiceRanges(t *testing.T) {
	c := start(t, nil)
	ns := c.namespace(t, "ranges")
	ready := func(r *networkingv1.ServiceCIDR) error {
		if !slices.Contains(r.Finalizers, servicecidr.Finalizer) || !meta.IsStatusConditionTrue(r.Status.Conditions, "Ready") {
			return errors.New("not ready or not protected")
		}
		return nil
	}
	add := func(name, cidr string) {
		t.Helper()
		_, err := client.ServiceCIDRs.Create(c.ctx, c.admin, &networkingv1.ServiceCIDR{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{cidr}}})
		require.NoError(t, err)
		awaitOne(t, c, client.ServiceCIDRs, "", name, ready)
	}
	service := func(name, ip string) error {
		_, err := client.Services.Create(c.ctx, c.admin, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
			Spec: corev1.ServiceSpec{ClusterIP: ip, Ports: []corev1.ServicePort{{Port: 80}}}})
		return err
	}
	awaitOne(t, c, client.ServiceCIDRs, "", "kubernetes", ready)
	require.ErrorContains(t, service("early", "10.0.0.9"), "does not match the current range")
	add("small", "10.0.0.0/24")
	// The server's allocator and this test learn of the range apart; whoever asks too early is refused and may ask again.
	for began := time.Now(); ; {
		err := service("held", "10.0.0.9")
		if err == nil {
			break
		}
		require.ErrorContains(t, err, "does not match the current range")
		require.Less(t, time.Since(began), patience)
	}
	awaitOne(t, c, client.IPAddresses, "", "10.0.0.9", func(a *networkingv1.IPAddress) error {
		require.Equal(t, "held", a.Spec.ParentRef.Name)
		return nil
	})
	add("wide", "10.0.0.0/16")

	require.NoError(t, client.ServiceCIDRs.Delete(c.ctx, c.admin, "", "small"))
	gone(t, c, client.ServiceCIDRs, "", "small")

	require.NoError(t, client.ServiceCIDRs.Delete(c.ctx, c.admin, "", "wide"))
	awaitOne(t, c, client.ServiceCIDRs, "", "wide", func(r *networkingv1.ServiceCIDR) error {
		if is := meta.FindStatusCondition(r.Status.Conditions, "Ready"); is.Status != metav1.ConditionFalse || is.Reason != networkingv1.ServiceCIDRReasonTerminating {
			return errors.New("still ready")
		}
		return nil
	})
	require.ErrorContains(t, service("late", "10.0.0.10"), "does not match the current range")

	require.NoError(t, client.Services.Delete(c.ctx, c.admin, ns, "held"))
	gone(t, c, client.IPAddresses, "", "10.0.0.9")
	gone(t, c, client.ServiceCIDRs, "", "wide")

	// The default range comes back: it is the flag's.
	require.NoError(t, client.ServiceCIDRs.Delete(c.ctx, c.admin, "", "kubernetes"))
	first := awaitOne(t, c, client.ServiceCIDRs, "", "kubernetes", func(r *networkingv1.ServiceCIDR) error {
		if r.DeletionTimestamp == nil {
			return errors.New("not being deleted")
		}
		return nil
	})
	awaitOne(t, c, client.ServiceCIDRs, "", "kubernetes", func(r *networkingv1.ServiceCIDR) error {
		if r.UID == first.UID {
			return errors.New("not made anew")
		}
		return ready(r)
	})
}
