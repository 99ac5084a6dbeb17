package services

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/server/apitest"
)

func serviceRange(name string, ready metav1.ConditionStatus, cidrs ...string) *networkingv1.ServiceCIDR {
	return &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: cidrs},
		Status: networkingv1.ServiceCIDRStatus{Conditions: []metav1.Condition{{Type: networkingv1.ServiceCIDRConditionReady, Status: ready}}},
	}
}

func mustNet(t *testing.T, text string) []*net.IPNet {
	t.Helper()
	_, n, err := net.ParseCIDR(text)
	if err != nil {
		t.Fatal(err)
	}
	return []*net.IPNet{n}
}

// eventually waits for what a watch brings about.
func eventually(t *testing.T, api *apitest.API, r client.GVR, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	w, err := api.Watch(ctx, r, "", metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for !ok() {
		if _, open := <-w.ResultChan(); !open {
			t.Fatal("what was waited for did not come")
		}
	}
}

func addressOf(t *testing.T, api *apitest.API, ip string) *networkingv1.IPAddress {
	t.Helper()
	o, err := client.IPAddresses.Get(context.Background(), api, "", ip)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestAddressesHaveObjects(t *testing.T) {
	api := apitest.New(nil)
	a := run(t, api, mustNet(t, "10.0.0.0/24"))
	s := service("web", nil)
	if err := write(a, s, nil); err != nil {
		t.Fatal(err)
	}
	o := addressOf(t, api, s.Spec.ClusterIP)
	if o.Labels[networkingv1.LabelManagedBy] != "ipallocator.k8s.io" || o.Labels[networkingv1.LabelIPAddressFamily] != "IPv4" ||
		*o.Spec.ParentRef != (networkingv1.ParentReference{Resource: "services", Namespace: "n", Name: "web"}) {
		t.Fatalf("%v %v", o.Labels, o.Spec.ParentRef)
	}
	headless := s.DeepCopy()
	headless.Spec.Type, headless.Spec.ExternalName = corev1.ServiceTypeExternalName, "example.test"
	if err := write(a, headless, s); err != nil {
		t.Fatal(err)
	}
	if _, err := client.IPAddresses.Get(context.Background(), api, "", s.Spec.ClusterIP); !apierrors.IsNotFound(err) {
		t.Fatalf("a service that has no address any more keeps its object: %v", err)
	}
}

// An address that somebody else has in the datastore is not given, even if the cache does not know of it.
func TestObjectsDecide(t *testing.T) {
	api := apitest.New(nil)
	a := run(t, api, mustNet(t, "10.0.0.0/29"))
	for i := 1; i <= 5; i++ { // of six
		ip := at(netip.MustParsePrefix("10.0.0.0/29"), i)
		if _, err := client.IPAddresses.Create(context.Background(), api, addressObject(ip, object.Key{Namespace: "n", Name: "other"})); err != nil {
			t.Fatal(err)
		}
	}
	s := service("web", nil)
	if err := write(a, s, nil); err != nil || s.Spec.ClusterIP != "10.0.0.6" {
		t.Fatal(s.Spec.ClusterIP, err)
	}
	asks := service("asks", func(s *corev1.ServiceSpec) { s.ClusterIP, s.ClusterIPs = "10.0.0.1", []string{"10.0.0.1"} })
	if err := write(a, asks, nil); err == nil || !strings.Contains(err.Error(), "provided IP is already allocated") {
		t.Fatal(err)
	}
	if err := write(a, service("full", nil), nil); err == nil || !strings.Contains(err.Error(), "range is full") {
		t.Fatal(err)
	}
	if addressOf(t, api, "10.0.0.1").Spec.ParentRef.Name != "other" {
		t.Fatal("a refused write took what it asked for")
	}
}

func TestFurtherRanges(t *testing.T) {
	api := apitest.New(nil)
	api.Put(client.ServiceCIDRs.GVR, serviceRange("kubernetes", metav1.ConditionTrue, "10.0.0.0/30")) // two addresses
	api.Put(client.ServiceCIDRs.GVR, serviceRange("waits", metav1.ConditionFalse, "10.9.0.0/24"))
	a := run(t, api, mustNet(t, "10.0.0.0/30"))
	for _, n := range []string{"a", "b"} {
		if err := write(a, service(n, nil), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := write(a, service("c", nil), nil); err == nil {
		t.Fatal("an address of a range that is not ready was given")
	}
	seen := make(chan struct{})
	a.cidrs.OnChange(func(_, new *networkingv1.ServiceCIDR) { // comes after the allocator's own
		if new.Name == "more" {
			close(seen)
		}
	})
	api.Put(client.ServiceCIDRs.GVR, serviceRange("more", metav1.ConditionTrue, "10.1.0.0/24", "fd00::/112"))
	<-seen
	c := service("c", nil)
	if err := write(a, c, nil); err != nil || !strings.HasPrefix(c.Spec.ClusterIP, "10.1.0.") {
		t.Fatal(c.Spec.ClusterIP, err)
	}
}

// What a crash or another allocator left behind: services without objects, objects without services, and wrong ones.
func TestRepair(t *testing.T) {
	api := apitest.New(nil)
	held := service("held", func(s *corev1.ServiceSpec) { s.ClusterIP, s.ClusterIPs = "10.0.0.5", []string{"10.0.0.5"} })
	wrong := service("wrong", func(s *corev1.ServiceSpec) { s.ClusterIP, s.ClusterIPs = "10.0.0.6", []string{"10.0.0.6"} })
	outside := service("outside", func(s *corev1.ServiceSpec) { s.ClusterIP, s.ClusterIPs = "192.168.0.1", []string{"192.168.0.1"} })
	for _, s := range []*corev1.Service{held, wrong, outside} {
		api.Put(client.Services.GVR, s)
	}
	old := metav1.NewTime(time.Now().Add(-2 * young))
	put := func(ip, of string, created metav1.Time) {
		o := addressObject(netip.MustParseAddr(ip), object.Key{Namespace: "n", Name: of})
		o.CreationTimestamp = created
		api.Put(client.IPAddresses.GVR, o)
	}
	put("10.0.0.6", "gone", old)
	put("10.0.0.7", "gone", old)
	put("10.0.0.8", "onItsWay", metav1.Now())
	foreign := &networkingv1.IPAddress{ObjectMeta: metav1.ObjectMeta{Name: "10.0.0.9", CreationTimestamp: old},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Group: "example.test", Resource: "gateways", Name: "g"}}}
	api.Put(client.IPAddresses.GVR, foreign)
	run(t, api, mustNet(t, "10.0.0.0/24"))

	get := func(ip string) *networkingv1.IPAddress {
		o, err := client.IPAddresses.Get(context.Background(), api, "", ip)
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		if err != nil {
			return nil
		}
		return o
	}
	eventually(t, api, client.IPAddresses.GVR, func() bool {
		five, six := get("10.0.0.5"), get("10.0.0.6")
		return five != nil && five.Spec.ParentRef.Name == "held" && six != nil && six.Spec.ParentRef.Name == "wrong" && get("10.0.0.7") == nil
	})
	if get("10.0.0.8") == nil || get("10.0.0.9") == nil {
		t.Fatal("an object was removed whose service may still come, or that is none of the allocator's")
	}
	want := map[string]bool{"ClusterIPNotAllocated": true, "ClusterIPOutOfRange": true, "IPAddressNotAllocated": true, "IPAddressWrongReference": true}
	eventually(t, api, client.Events.GVR, func() bool {
		l, _, err := client.Events.List(context.Background(), api, "", metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range l {
			delete(want, e.Reason)
		}
		return len(want) == 0
	})
}
