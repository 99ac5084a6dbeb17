package scheduler_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	v1 "k8s.io/kube-scheduler/config/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/scheduler"
	"hyperkube/internal/server/servertest"
)

const patience = 20 * time.Second

// cluster is an API server, a scheduler on it, and nodes that only pretend.
type cluster struct {
	t      testing.TB
	ctx    context.Context
	c      client.Interface
	pods   *client.Informer[*corev1.Pod]
	events *client.Informer[*corev1.Event]
}

func start(t testing.TB, change func(*scheduler.Config)) *cluster {
	t.Helper()
	api := servertest.Start(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	k := &cluster{t: t, ctx: ctx, c: api.Admin()}
	f := client.NewInformers(k.c)
	k.pods, k.events = client.InformerFor(f, client.Pods), client.InformerFor(f, client.Events)
	f.Start(ctx)
	require.NoError(t, f.WaitForSync(ctx))
	var cfg scheduler.Config
	if change != nil {
		change(&cfg)
	}
	s, err := scheduler.New(api.Direct(&user.DefaultInfo{Name: "system:kube-scheduler", Groups: []string{user.AllAuthenticated}}), cfg)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	select {
	case <-s.Ready():
	case <-time.After(patience):
		t.Fatal("the scheduler does not get ready")
	}
	return k
}

func (k *cluster) node(name, cpu string, edits ...func(*corev1.Node)) {
	k.t.Helper()
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}},
		Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("110")}},
	}
	n.Status.Capacity = n.Status.Allocatable
	for _, e := range edits {
		e(n)
	}
	_, err := client.Nodes.Create(k.ctx, k.c, n)
	require.NoError(k.t, err)
}

func newPod(name, cpu string, edits ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: ptr.To(int64(0)),
			Containers: []corev1.Container{{Name: "c", Image: "i", Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}}}},
		},
	}
	for _, e := range edits {
		e(p)
	}
	return p
}

func (k *cluster) pod(name, cpu string, edits ...func(*corev1.Pod)) *corev1.Pod {
	k.t.Helper()
	p, err := client.Pods.Create(k.ctx, k.c, newPod(name, cpu, edits...))
	require.NoError(k.t, err)
	return p
}

// await waits until a pod is as wanted.
func (k *cluster) await(name, what string, is func(*corev1.Pod) bool) *corev1.Pod {
	k.t.Helper()
	found := make(chan *corev1.Pod, 1)
	k.pods.OnChange(func(_, p *corev1.Pod) {
		if p != nil && p.Name == name && is(p) {
			select {
			case found <- p:
			default:
			}
		}
	})
	select {
	case p := <-found:
		return p
	case <-time.After(patience):
		p, _ := k.pods.Get("default", name)
		k.t.Fatalf("pod %s is not %s: %+v", name, what, p)
		return nil
	}
}

func (k *cluster) awaitEvent(pod, reason, message string) {
	k.t.Helper()
	found := make(chan struct{})
	var once sync.Once
	var last atomic.Value
	k.events.OnChange(func(_, e *corev1.Event) {
		if e == nil || e.InvolvedObject.Name != pod || e.Reason != reason {
			return
		}
		last.Store(e.Message)
		if e.Message == message {
			once.Do(func() { close(found) })
		}
	})
	select {
	case <-found:
	case <-time.After(patience):
		k.t.Fatalf("no event %s of %s says %q; last: %v", reason, pod, message, last.Load())
	}
}

func on(node string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool { return p.Spec.NodeName == node }
}

func pending(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return true
		}
	}
	return false
}

func TestSchedules(t *testing.T) {
	k := start(t, nil)
	k.pod("early", "1")
	k.awaitEvent("early", "FailedScheduling", "no nodes available to schedule pods")
	k.node("n1", "2")
	k.await("early", "on n1", on("n1"))
	k.awaitEvent("early", "Scheduled", "Successfully assigned default/early to n1")
}

func TestRetriesWhenSomethingHelps(t *testing.T) {
	k := start(t, nil)
	k.node("n1", "1")
	k.pod("first", "1")
	k.await("first", "on n1", on("n1"))
	k.pod("second", "1")
	p := k.await("second", "pending", pending)
	require.Equal(t, "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
		p.Status.Conditions[0].Message)
	require.NoError(t, client.Pods.Delete(k.ctx, k.c, "default", "first"))
	// The fake node has no kubelet: the pod is gone at once with a grace period of 0.
	k.await("second", "on n1", on("n1"))
	k.pod("picky", "0", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd"} })
	k.await("picky", "pending", pending)
	_, err := client.Nodes.Modify(k.ctx, k.c, "", "n1", func(n *corev1.Node) bool { n.Labels["disk"] = "ssd"; return true })
	require.NoError(t, err)
	k.await("picky", "on n1", on("n1"))
}

func TestGates(t *testing.T) {
	k := start(t, nil)
	k.node("n1", "1")
	k.pod("gated", "0", func(p *corev1.Pod) { p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/wait"}} })
	k.pod("other", "0")
	k.await("other", "on n1", on("n1"))
	p, _ := k.pods.Get("default", "gated")
	require.NotNil(t, p)
	require.Empty(t, p.Spec.NodeName)
	_, err := client.Pods.Modify(k.ctx, k.c, "default", "gated", func(p *corev1.Pod) bool { p.Spec.SchedulingGates = nil; return true })
	require.NoError(t, err)
	k.await("gated", "on n1", on("n1"))
}

func TestPreempts(t *testing.T) {
	k := start(t, nil)
	k.node("n1", "1")
	k.node("n2", "1")
	vip := func(v int32) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.Priority = &v } }
	k.pod("low", "1", vip(1))
	low := k.await("low", "on a node", func(p *corev1.Pod) bool { return p.Spec.NodeName != "" })
	k.pod("mid", "1", vip(5))
	k.await("mid", "on a node", func(p *corev1.Pod) bool { return p.Spec.NodeName != "" })
	var disrupted atomic.Bool
	k.pods.OnChange(func(_, p *corev1.Pod) {
		if p == nil || p.Name != "low" {
			return
		}
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.DisruptionTarget && c.Reason == corev1.PodReasonPreemptionByScheduler {
				disrupted.Store(true)
			}
		}
	})
	boss := k.pod("boss", "1", vip(10))
	k.await("boss", "where low was", on(low.Spec.NodeName))
	require.True(t, disrupted.Load(), "the victim was not told why")
	k.awaitEvent("low", "Preempted", fmt.Sprintf("Preempted by pod %s on node %s", boss.UID, low.Spec.NodeName))
	p, ok := k.pods.Get("default", "mid")
	require.True(t, ok && p.DeletionTimestamp == nil, "more was preempted than needed")
}

func TestOtherSchedulersPods(t *testing.T) {
	k := start(t, func(c *scheduler.Config) {
		c.KubeSchedulerConfiguration.Profiles = []v1.KubeSchedulerProfile{{}, {SchedulerName: ptr.To("second")}}
	})
	k.node("n1", "1")
	k.pod("foreign", "0", func(p *corev1.Pod) { p.Spec.SchedulerName = "somebody-else" })
	k.pod("mine", "0", func(p *corev1.Pod) { p.Spec.SchedulerName = "second" })
	k.await("mine", "on n1", on("n1"))
	p, _ := k.pods.Get("default", "foreign")
	require.Empty(t, p.Spec.NodeName)
}

func TestNothingIsOvercommitted(t *testing.T) {
	k := start(t, nil)
	for i := range 10 {
		k.node(fmt.Sprint("n", i), "1")
	}
	const pods = 120 // 100 fit
	for i := range pods {
		k.pod(fmt.Sprint("p", i), "100m")
	}
	done := make(chan struct{})
	var once sync.Once
	var mu sync.Mutex
	state := map[string]string{}
	k.pods.OnChange(func(_, p *corev1.Pod) {
		if p == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case p.Spec.NodeName != "":
			state[p.Name] = p.Spec.NodeName
		case pending(p):
			state[p.Name] = ""
		}
		if len(state) == pods {
			once.Do(func() { close(done) })
		}
	})
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("only %d of %d pods were decided", len(state), pods)
	}
	mu.Lock()
	defer mu.Unlock()
	on := map[string]int{}
	for _, node := range state {
		on[node]++
	}
	require.Equal(t, 20, on[""])
	delete(on, "")
	for node, n := range on {
		require.Equal(t, 10, n, node)
	}
}

// BenchmarkCluster schedules 5,000 pods on 5,000 nodes over the direct door of a real API server.
func BenchmarkCluster(b *testing.B) {
	const size = 5000
	for range b.N {
		b.StopTimer()
		k := start(b, nil)
		for i := range size {
			k.node(fmt.Sprint("n", i), "4", func(n *corev1.Node) { n.Labels[corev1.LabelTopologyZone] = fmt.Sprint("z", i%10) })
		}
		var bound atomic.Int64
		done := make(chan struct{})
		k.pods.OnChange(func(old, p *corev1.Pod) {
			if p != nil && p.Spec.NodeName != "" && (old == nil || old.Spec.NodeName == "") && bound.Add(1) == size {
				close(done)
			}
		})
		b.StartTimer()
		var wg sync.WaitGroup
		var next atomic.Int64
		for range 32 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := next.Add(1); i <= size; i = next.Add(1) {
					if _, err := client.Pods.Create(k.ctx, k.c, newPod(fmt.Sprint("p", i), "100m")); err != nil {
						b.Error(err)
						return
					}
				}
			}()
		}
		wg.Wait()
		b.ReportMetric(size/b.Elapsed().Seconds()*float64(b.N), "creates/s")
		<-done
		b.ReportMetric(size*float64(b.N)/b.Elapsed().Seconds(), "pods/s")
	}
}
