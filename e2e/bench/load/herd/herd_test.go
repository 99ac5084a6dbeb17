package herd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"hyperkube/e2e/bench/load"
)

func TestDueSpreadsBeats(t *testing.T) {
	const nodes, interval = 7, 10 * time.Second
	last := map[int]time.Duration{}
	for k := range 5 * nodes {
		at := due(k, nodes, interval)
		if k > 0 {
			if step := at - due(k-1, nodes, interval); step < interval/nodes || step > interval/nodes+1 {
				t.Errorf("beat %d comes %s after the one before, want %s", k, step, interval/nodes)
			}
		}
		if before, ok := last[k%nodes]; ok && at-before != interval {
			t.Errorf("beat %d comes %s after the same node's last, want %s", k, at-before, interval)
		}
		last[k%nodes] = at
	}
	if got := due(5000*8640, 5000, interval); got != 24*time.Hour {
		t.Errorf("a day of beats ends after %s", got)
	}
}

func TestOptions(t *testing.T) {
	o := Options{Nodes: 3}
	if err := o.setDefaults(); err != nil {
		t.Fatal(err)
	}
	if o.Renew != 10*time.Second || o.Report != 5*time.Minute || o.Prefix != "hollow" || o.Hands == 0 || o.Connections == 0 {
		t.Errorf("defaults are %+v", o)
	}
	for _, bad := range []Options{{}, {Nodes: MaxNodes + 1}, {Nodes: 1, Hands: -1}, {Nodes: 1, Renew: -1}} {
		if err := bad.setDefaults(); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

func TestNode(t *testing.T) {
	now := time.Unix(1000, 0)
	n := hollow(name("h", 300), 300, now)
	if n.Name != "h-00300" || n.Labels[load.HostLabel] != n.Name || n.Labels[Label] == "" {
		t.Errorf("the node is called %s with the labels %v", n.Name, n.Labels)
	}
	if got := n.Status.Addresses[0].Address; got != "198.18.1.45" {
		t.Errorf("its address is %s", got)
	}
	l := lease(n, now)
	if *l.Spec.LeaseDurationSeconds != 40 || *l.Spec.HolderIdentity != n.Name || !l.Spec.RenewTime.Time.Equal(now) || l.Namespace != "kube-node-lease" {
		t.Errorf("its lease is %+v", l)
	}
}

// A report is applied as the server does.
func TestReportBringsNodeBack(t *testing.T) {
	since, now := time.Unix(1000, 0), time.Unix(1300, 0)
	n := hollow("h", 0, since)
	for i := range n.Status.Conditions {
		n.Status.Conditions[i].Status = corev1.ConditionUnknown
	}
	n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: "Other", Status: corev1.ConditionTrue})
	got := patched(t, n, report(now, since))
	states := map[corev1.NodeConditionType]corev1.NodeCondition{}
	for _, c := range got.Status.Conditions {
		states[c.Type] = c
	}
	if len(states) != 5 || states["Other"].Status != corev1.ConditionTrue {
		t.Errorf("conditions are %v", states)
	}
	for _, k := range []corev1.NodeConditionType{corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure} {
		c := states[k]
		if want := k == corev1.NodeReady; (c.Status == corev1.ConditionTrue) != want || c.Status == corev1.ConditionUnknown {
			t.Errorf("%s is %s", k, c.Status)
		}
		if !c.LastHeartbeatTime.Time.Equal(now) || !c.LastTransitionTime.Time.Equal(since) {
			t.Errorf("%s was told at %s and has been since %s", k, c.LastHeartbeatTime, c.LastTransitionTime)
		}
	}
	if len(got.Status.Images) != images || len(got.Status.Addresses) != 2 {
		t.Error("the report took something of the status away")
	}
}

func TestRunningPod(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "u", Generation: 3},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "first", Image: "i:1"}, {Name: "beside", Image: "i:2", RestartPolicy: &always}},
			Containers:     []corev1.Container{{Name: "a", Image: "i:3"}, {Name: "b", Image: "i:4"}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}},
	}
	if !owed(p) {
		t.Error("a pending pod is owed nothing")
	}
	host, ip := address(0), netip.MustParseAddr("100.64.0.1")
	got := patched(t, p, running(p, host, ip, time.Unix(1000, 0)))
	s := got.Status
	if s.Phase != corev1.PodRunning || s.PodIP != "100.64.0.1" || s.PodIPs[0].IP != s.PodIP || s.HostIP != "198.18.0.1" || s.StartTime == nil || s.ObservedGeneration != 3 {
		t.Errorf("the status is %+v", s)
	}
	for _, k := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		if !has(got, k) {
			t.Errorf("%s is not true", k)
		}
	}
	if len(s.ContainerStatuses) != 2 || s.ContainerStatuses[1].State.Running == nil || !s.ContainerStatuses[1].Ready || s.ContainerStatuses[1].Image != "i:4" {
		t.Errorf("containers are %+v", s.ContainerStatuses)
	}
	if s.InitContainerStatuses[0].State.Terminated == nil || s.InitContainerStatuses[1].State.Running == nil {
		t.Errorf("init containers are %+v", s.InitContainerStatuses)
	}
	if owed(got) {
		t.Error("a pod that is Ready is owed something")
	}
	p.Spec.HostNetwork = true
	if got := patched(t, p, running(p, host, ip, time.Now())); got.Status.PodIP != "198.18.0.1" {
		t.Errorf("a pod on the host's network has the address %s", got.Status.PodIP)
	}
}

func TestReadinessGates(t *testing.T) {
	p := &corev1.Pod{Spec: corev1.PodSpec{ReadinessGates: []corev1.PodReadinessGate{{ConditionType: "gate"}}}}
	got := patched(t, p, running(p, address(0), address(1), time.Now()))
	if load.PodReady(got) || !has(got, corev1.ContainersReady) {
		t.Errorf("behind a closed gate the conditions are %+v", got.Status.Conditions)
	}
	if owed(got) {
		t.Error("the pod is told again and again that it waits")
	}
	got.Status.Conditions = append(got.Status.Conditions, corev1.PodCondition{Type: "gate", Status: corev1.ConditionTrue})
	if !owed(got) {
		t.Error("nobody calls the pod Ready when its gate opens")
	}
	if !load.PodReady(patched(t, got, running(got, address(0), address(1), time.Now()))) {
		t.Error("the pod is not Ready behind an open gate")
	}
}

func TestAddresses(t *testing.T) {
	var a addresses
	a.keep(1, "old", "100.64.1.2")
	a.keep(1, "foreign", "10.0.0.1")
	a.keep(1, "elsewhere", "100.64.2.3")
	a.keep(1, "none", "")
	for _, want := range []struct{ pod, ip string }{
		{"one", "100.64.1.1"}, {"two", "100.64.1.3"}, {"one", "100.64.1.1"}, {"old", "100.64.1.2"},
	} {
		ip, err := a.of(1, types.UID(want.pod))
		if err != nil || ip.String() != want.ip {
			t.Errorf("%s has %s (%v), want %s", want.pod, ip, err, want.ip)
		}
	}
	a.free(1, "one")
	if ip, _ := a.of(1, "three"); ip.String() != "100.64.1.1" {
		t.Errorf("an address that was given back is not used again: %s", ip)
	}
	if ip, _ := a.of(MaxNodes-1, "last"); ip.String() != "100.127.255.1" {
		t.Errorf("the last node's first address is %s", ip)
	}
	for i := range perNode - 2 {
		if _, err := a.of(5, types.UID(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.of(5, "too many"); err == nil {
		t.Error("a node gives more addresses than it has")
	}
}

func TestFailuresAreCountedByReason(t *testing.T) {
	var c counts
	ctx, cancel := context.WithCancel(t.Context())
	c.fail(ctx, "renewing", apierrors.NewTooManyRequests("slow down", 1))
	c.fail(ctx, "renewing", fmt.Errorf("sending: %w", errors.New("connection refused")))
	c.fail(ctx, "renewing", errors.New("connection refused"))
	cancel()
	c.fail(ctx, "renewing", errors.New("told to end"))
	got := c.read()
	if want := "2 × renewing: connection refused; 1 × renewing: TooManyRequests"; got.Failed() != 3 || got.Told() != want {
		t.Errorf("%d failures are told as %q, want %q", got.Failed(), got.Told(), want)
	}
}

type sent func(*http.Request)

func (s sent) RoundTrip(r *http.Request) (*http.Response, error) {
	s(r)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

func TestRequestsOfNodes(t *testing.T) {
	h, n := &Herd{options: Options{AsNodes: true}}, &node{name: "h-1"}
	for _, c := range []struct {
		ctx  context.Context
		user string
	}{{h.as(t.Context(), n), "system:node:h-1"}, {t.Context(), ""}, {(&Herd{}).as(t.Context(), n), ""}} {
		r, err := http.NewRequestWithContext(c.ctx, http.MethodGet, "http://127.0.0.1/", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = impersonator{sent(func(r *http.Request) {
			if got := r.Header.Get("Impersonate-User"); got != c.user {
				t.Errorf("the request is sent as %q, want %q", got, c.user)
			}
		})}.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Header) > 0 {
			t.Error("the caller's request was changed")
		}
	}
}

// patched applies a strategic merge patch of a status as the server does.
func patched[T any](t *testing.T, o *T, patch []byte) *T {
	t.Helper()
	old, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	data, err := strategicpatch.StrategicMergePatch(old, patch, *o)
	if err != nil {
		t.Fatal(err)
	}
	out := new(T)
	if err := json.Unmarshal(data, out); err != nil {
		t.Fatal(err)
	}
	return out
}
