package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/server/servertest"
	"hyperkube/internal/testenv"
)

// TestProxyFollowsTheAPI runs the whole proxy against a real API server and real pods' namespaces.
func TestProxyFollowsTheAPI(t *testing.T) {
	w := newWorld(t)
	c := servertest.Start(t, nil).Admin()
	ctx := context.Background()
	ensureNamespace(t, c, "default")
	_, err := client.Nodes.Create(ctx, c, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "here"}})
	require.NoError(t, err)
	healthz, metrics := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	p, err := New(c, Config{NodeName: "here", ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
		HealthzAddress: healthz, MetricsAddress: metrics, Families: []int{4}})
	require.NoError(t, err)
	runCtx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- p.Run(runCtx) }()
	defer func() {
		cancel()
		require.NoError(t, <-done)
	}()
	select {
	case <-p.Ready():
	case err := <-done:
		t.Fatalf("proxy ended: %v", err)
	}

	healthPort := int32(testenv.FreePort(t)%2768 + 30000)
	spec := service(nil, nil).service.Spec
	spec.Type, spec.ExternalTrafficPolicy = corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyLocal
	spec.HealthCheckNodePort = healthPort
	svc, err := client.Services.Create(ctx, c, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: spec})
	require.NoError(t, err)
	slice := service([]int{0}, nil).slices[0]
	slice.ObjectMeta = metav1.ObjectMeta{Namespace: "default", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}}
	made := time.Now()
	slice, err = client.EndpointSlices.Create(ctx, c, slice)
	require.NoError(t, err)
	eventually := func(what string, f func() bool) {
		t.Helper()
		require.Eventually(t, f, 10*time.Second, time.Millisecond, what)
	}
	answers := func(to string) bool {
		got, err := w.pods[1].Ask(net.Dialer{Timeout: 50 * time.Millisecond}, "tcp", to)
		return err == nil && strings.HasPrefix(got, "pod0 ")
	}
	eventually("the service answers", func() bool { return answers(svc.Spec.ClusterIP + ":80") })
	t.Logf("reachable %v after its endpoint was created", time.Since(made))
	eventually("its node port answers", func() bool { return answers(fmt.Sprintf("%s:%d", nodeIP, svc.Spec.Ports[0].NodePort)) })

	get := func(url string) (int, string) {
		r, err := http.Get(url)
		if err != nil {
			return 0, ""
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(b)
	}
	healthURL := fmt.Sprintf("http://127.0.0.1:%d/", healthPort)
	eventually("the health check node port", func() bool {
		code, body := get(healthURL)
		return code == 200 && strings.Contains(body, `"localEndpoints":1`)
	})
	code, _ := get("http://" + healthz + "/healthz")
	require.Equal(t, 200, code)
	_, body := get("http://" + metrics + "/metrics")
	require.Contains(t, body, "kubeproxy_sync_proxy_rules_duration_seconds_count")

	require.NoError(t, exec.Command("iptables", "-t", "nat", "-F").Run())
	eventually("flushed rules come back", func() bool { return answers(svc.Spec.ClusterIP + ":80") })

	next := slice.DeepCopy()
	next.Endpoints[0].Conditions.Ready = ptr.To(false)
	_, err = client.EndpointSlices.Update(ctx, c, next)
	require.NoError(t, err)
	eventually("without endpoints it is refused", func() bool {
		_, _, err := w.ask(w.pods[1], "tcp", svc.Spec.ClusterIP+":80")
		return err != nil && strings.Contains(err.Error(), "refused")
	})
	eventually("the load balancer is told", func() bool { code, _ := get(healthURL); return code == 503 })
	_, err = client.Nodes.Modify(ctx, c, "", "here", func(n *corev1.Node) bool {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: taintAutoscaler, Effect: corev1.TaintEffectNoSchedule})
		return true
	})
	require.NoError(t, err)
	eventually("a node on its way out", func() bool { code, _ := get("http://" + healthz + "/healthz"); return code == 503 })
	code, _ = get("http://" + healthz + "/livez")
	require.Equal(t, 200, code)
	require.NoError(t, client.Services.Delete(ctx, c, "default", "web"))
	eventually("nothing is left", func() bool { return !strings.Contains(strings.Join(rules(t), "\n"), "default/web") })
}

func ensureNamespace(t *testing.T, c client.Interface, name string) {
	t.Helper()
	if _, err := client.Namespaces.Get(context.Background(), c, "", name); err == nil {
		return
	}
	_, err := client.Namespaces.Create(context.Background(), c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	require.NoError(t, err)
}
