package clusterdns

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/network/dns"
	"hyperkube/internal/server/servertest"
)

type fixture struct {
	*testing.T
	c client.Interface
}

func start(t *testing.T) *fixture {
	c := servertest.Start(t, nil).Admin()
	f := client.NewInformers(c)
	ctl := New(controllers.Deps{Client: func(string) client.Interface { return c }, Informers: f}, netip.MustParseAddr("10.96.0.10"))
	ctx, cancel := context.WithCancel(context.Background())
	f.Start(ctx)
	require.NoError(t, f.WaitForSync(ctx))
	done := make(chan error, 1)
	go func() { done <- ctl.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	return &fixture{t, c}
}

func (f *fixture) eventually(what string, ok func() bool) {
	f.Helper()
	require.Eventually(f, ok, 10*time.Second, 5*time.Millisecond, what)
}

func (f *fixture) node(name, cidr, endpoints string) {
	f.Helper()
	_, err := client.Nodes.Create(f.Context(), f.c, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{dns.EndpointsAnnotation: endpoints}},
		Spec:       corev1.NodeSpec{PodCIDR: cidr, PodCIDRs: []string{cidr}},
	})
	require.NoError(f, err)
}

func (f *fixture) ready(name string, status corev1.ConditionStatus) {
	f.Helper()
	_, err := client.Nodes.Modify(f.Context(), f.c, "", name, func(n *corev1.Node) bool {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}}
		return true
	}, "status")
	require.NoError(f, err)
}

func (f *fixture) slice(node string) *discoveryv1.EndpointSlice {
	s, err := client.EndpointSlices.Get(f.Context(), f.c, metav1.NamespaceSystem, "kube-dns-"+node)
	if err != nil {
		return nil
	}
	return s
}

func TestPublish(t *testing.T) {
	f := start(t)
	f.eventually("the service", func() bool {
		s, err := client.Services.Get(t.Context(), f.c, metav1.NamespaceSystem, ServiceName)
		return err == nil && s.Spec.ClusterIP == "10.96.0.10" && *s.Spec.TrafficDistribution == "PreferSameNode"
	})
	f.node("a", "10.244.0.0/24", "10.244.0.1:53")
	f.node("b", "10.244.1.0/24", "10.244.1.1:5353,[fd00::1]:53,rubbish")
	f.node("silent", "10.244.2.0/24", "")
	f.eventually("both slices", func() bool { return f.slice("a") != nil && f.slice("b") != nil })
	b := f.slice("b")
	require.Len(t, b.Endpoints, 1)
	require.Equal(t, []string{"10.244.1.1"}, b.Endpoints[0].Addresses)
	require.EqualValues(t, 5353, *b.Ports[0].Port)
	require.Equal(t, "b", b.Endpoints[0].Hints.ForNodes[0].Name)
	require.Equal(t, "b", b.OwnerReferences[0].Name)

	f.ready("b", corev1.ConditionUnknown)
	f.eventually("not ready while its node is lost", func() bool { return !*f.slice("b").Endpoints[0].Conditions.Ready })
	f.ready("b", corev1.ConditionFalse)
	f.eventually("ready while its node says that it is not", func() bool { return *f.slice("b").Endpoints[0].Conditions.Ready })
	require.Nil(t, f.slice("silent"))

	require.NoError(t, client.EndpointSlices.Delete(t.Context(), f.c, metav1.NamespaceSystem, "kube-dns-a"))
	f.eventually("made again after somebody deleted it", func() bool { return f.slice("a") != nil })
	_, err := client.Nodes.Modify(t.Context(), f.c, "", "a", func(n *corev1.Node) bool { n.Annotations = nil; return true })
	require.NoError(t, err)
	f.eventually("gone with the announcement", func() bool { return f.slice("a") == nil })
}

func TestANodeCannotAnnounceOthersAddresses(t *testing.T) {
	f := start(t)
	f.node("thief", "10.244.3.0/24", "10.244.0.1:53,10.244.3.1:53")
	f.eventually("a slice", func() bool { return f.slice("thief") != nil })
	require.Len(t, f.slice("thief").Endpoints, 1)
	require.Equal(t, []string{"10.244.3.1"}, f.slice("thief").Endpoints[0].Addresses)
}

func TestSomebodyElsesDNS(t *testing.T) {
	f := start(t)
	f.node("a", "10.244.0.0/24", "10.244.0.1:53")
	f.eventually("a slice", func() bool { return f.slice("a") != nil })
	_, err := client.Services.Modify(t.Context(), f.c, metav1.NamespaceSystem, ServiceName, func(s *corev1.Service) bool {
		s.Spec.Selector = map[string]string{"k8s-app": "kube-dns"}
		return true
	})
	require.NoError(t, err)
	f.eventually("no slices beside those of the selector", func() bool { return f.slice("a") == nil })
}
