package probe

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/node/cri"
)

func execProbe(initial, period, success, failure int32) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}},
		InitialDelaySeconds: initial, PeriodSeconds: period, SuccessThreshold: success, FailureThreshold: failure, TimeoutSeconds: 1}
}

// TestLife follows one container through its probes, on a clock that runs as fast as the probes are due.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, unhealthy, runs := false, 0, 0
		m := New(Config{
			Exec: func(context.Context, string, []string, time.Duration) ([]byte, int32, error) {
				runs++
				if good {
					return nil, 0, nil
				}
				return []byte("no"), 1, nil
			},
			Changed:   func(types.UID) {},
			Unhealthy: func(*corev1.Pod, string, Kind, string) { unhealthy++ },
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go m.Run(ctx)
		time.Sleep(time.Second)
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "c", StartupProbe: execProbe(0, 2, 1, 10), ReadinessProbe: execProbe(15, 5, 2, 1), LivenessProbe: execProbe(0, 10, 1, 3)}}}}
		seen := &cri.Pod{Containers: []*cri.Container{{Name: "c", ContainerStatus: &rt.ContainerStatus{Id: "id1", State: rt.ContainerState_CONTAINER_RUNNING, StartedAt: time.Now().UnixNano()}}}}
		m.Sync(pod, seen, "10.0.0.1", func(string) bool { return true }, false)
		if m.Ready("id1") {
			t.Error("ready before it is probed")
		}
		m.Sync(pod, seen, "10.0.0.1", func(string) bool { return false }, false)
		state := func(at time.Duration, started, ready bool, failed string) {
			t.Helper()
			synctest.Wait()
			if s, r, f := m.Started("id1"), m.Ready("id1"), m.Failed("id1"); s != started || r != ready || f != failed {
				t.Fatalf("after %v: started %v ready %v failed %q, want %v %v %q", at, s, r, f, started, ready, failed)
			}
		}
		at := time.Duration(0)
		sleepTo := func(s float64) {
			d := time.Duration(s * float64(time.Second))
			time.Sleep(d - at)
			at = d
		}
		sleepTo(3)
		state(at, false, false, "")
		good = true
		sleepTo(4.1) // startup succeeds at 4
		state(at, true, false, "")
		sleepTo(15.1) // readiness: first success of two at 15
		state(at, true, false, "")
		sleepTo(20.1)
		state(at, true, true, "")
		good = false
		sleepTo(25.1) // one failure is enough
		state(at, true, false, "")
		sleepTo(43) // liveness at 4, 14, 24, 34, 44: three failures from 24 on
		state(at, true, false, "")
		sleepTo(44.1)
		state(at, true, false, "liveness probe")
		n := runs
		seen = &cri.Pod{}
		m.Sync(pod, seen, "", func(string) bool { return false }, false)
		sleepTo(100)
		if runs != n {
			t.Errorf("%d probes of a container that is gone", runs-n)
		}
		if unhealthy == 0 {
			t.Error("no failure was told")
		}
	})
}

func TestHandlers(t *testing.T) {
	var header http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		switch r.URL.Path {
		case "/bad":
			w.WriteHeader(500)
		case "/away":
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		case "/slow":
			<-r.Context().Done()
		}
	}))
	defer srv.Close()
	addr := srv.Listener.Addr().(*net.TCPAddr)
	host := addr.IP.String()
	c := &corev1.Container{Name: "c", Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: int32(addr.Port)}}}
	get := func(path string) *corev1.Probe {
		return &corev1.Probe{TimeoutSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("web")}}}
	}
	for path, want := range map[string]bool{"/ok?x=1": true, "/bad": false, "/away": true, "/slow": false} {
		ok, text, err := check(t.Context(), get(path), c, "", host, nil)
		if err != nil || ok != want {
			t.Errorf("%s: %v %q %v", path, ok, text, err)
		}
		if path == "/bad" && text != "HTTP probe failed with statuscode: 500" {
			t.Error(text)
		}
	}
	if !strings.HasPrefix(header.Get("User-Agent"), "kube-probe/") {
		t.Errorf("agent %q", header.Get("User-Agent"))
	}
	tcp := func(p intstr.IntOrString) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: p}}}
	}
	if ok, _, err := check(t.Context(), tcp(intstr.FromString("web")), c, "", host, nil); !ok || err != nil {
		t.Error("tcp:", ok, err)
	}
	if _, _, err := check(t.Context(), tcp(intstr.FromString("none")), c, "", host, nil); err == nil {
		t.Error("an unknown port name was accepted")
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g, h := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(g, h)
	h.SetServingStatus("bad", healthpb.HealthCheckResponse_NOT_SERVING)
	go func() { _ = g.Serve(l) }()
	defer g.Stop()
	for service, want := range map[string]bool{"": true, "bad": false, "none": false} {
		ok, text, err := check(t.Context(), &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{
			Port: int32(l.Addr().(*net.TCPAddr).Port), Service: &service}}}, c, "", "127.0.0.1", nil)
		if err != nil || ok != want {
			t.Errorf("grpc %q: %v %q %v", service, ok, text, err)
		}
	}
}
