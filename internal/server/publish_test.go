package server_test

import (
	"context"
	"net"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"hyperkube/internal/client"
	"hyperkube/internal/server"
	"hyperkube/internal/server/servertest"
)

func TestKubernetesServiceIsPublished(t *testing.T) {
	api := servertest.Start(t, func(c *server.Config) { c.AdvertiseAddress = net.ParseIP("192.0.2.7") })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := api.Admin()
	w, err := c.Watch(ctx, client.EndpointSlices.GVR, "default", metav1.ListOptions{FieldSelector: "metadata.name=kubernetes"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		if e.Type == watch.Deleted {
			t.Fatalf("%+v", e)
		}
		if published(t, e) {
			break
		}
	}
	svc, err := client.Services.Get(ctx, c, "default", "kubernetes")
	if err != nil || svc.Spec.ClusterIP != "10.96.0.1" {
		t.Fatal(svc, err)
	}
	if got := svc.Spec.Ports[0].TargetPort.IntValue(); got != api.Addr().(*net.TCPAddr).Port {
		t.Errorf("target port %d", got)
	}
	ep, err := client.Endpoints.Get(ctx, c, "default", "kubernetes")
	if err != nil || len(ep.Subsets) != 1 || ep.Subsets[0].Addresses[0] != (corev1.EndpointAddress{IP: "192.0.2.7"}) {
		t.Fatal(ep, err)
	}

	if err := c.Delete(ctx, client.EndpointSlices.GVR, "default", "kubernetes", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for e := range w.ResultChan() {
		if e.Type == watch.Added && published(t, e) {
			break
		}
	}
	services, err := c.Watch(ctx, client.Services.GVR, "default", metav1.ListOptions{FieldSelector: "metadata.name=kubernetes", ResourceVersion: svc.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer services.Stop()
	if err := c.Delete(ctx, client.Services.GVR, "default", "kubernetes", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for e := range services.ResultChan() {
		if again, ok := e.Object.(*corev1.Service); ok && e.Type == watch.Added && again.Spec.ClusterIP == "10.96.0.1" {
			return
		}
	}
	t.Fatal("a deleted service does not come back")
}

func published(t *testing.T, e watch.Event) bool {
	t.Helper()
	s, ok := e.Object.(*discoveryv1.EndpointSlice)
	if !ok {
		t.Fatalf("%+v", e)
	}
	return len(s.Endpoints) == 1 && s.Endpoints[0].Addresses[0] == "192.0.2.7"
}
