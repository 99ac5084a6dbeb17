package herd

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"hyperkube/e2e/bench/load"
)

// pods follows the pods of all nodes and does for each what its kubelet would.
type pods struct {
	herd      *Herd
	queue     workqueue.TypedRateLimitingInterface[podKey]
	addresses addresses

	mu    sync.Mutex
	known map[podKey]*corev1.Pod
}

// podKey has the node in it: with a watch for each, one node may hear of the end of a pod after another has heard of the next
// pod of the same name.
type podKey struct {
	node            *node
	namespace, name string
}

func newPods(h *Herd) *pods {
	limit := workqueue.NewTypedItemExponentialFailureRateLimiter[podKey](50*time.Millisecond, 10*time.Second)
	return &pods{herd: h, queue: workqueue.NewTypedRateLimitingQueue(limit), known: map[podKey]*corev1.Pod{}}
}

func (p *pods) run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, a := range p.herd.hands() {
		wg.Go(func() {
			for p.next(ctx, a) {
			}
		})
	}
	if p.herd.options.WatchEach {
		for i, n := range p.herd.nodes {
			wg.Go(func() { p.follow(p.herd.as(ctx, n), p.herd.clients[i%len(p.herd.clients)], "spec.nodeName="+n.name) })
		}
	} else {
		wg.Go(func() { p.follow(ctx, p.herd.clients[0], "spec.nodeName!=") })
	}
	<-ctx.Done()
	p.queue.ShutDown()
	wg.Wait()
}

// follow watches the pods of a field selector until ctx ends.
func (p *pods) follow(ctx context.Context, a *load.API, fields string) {
	_, c := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				o.FieldSelector = fields
				l := new(corev1.PodList)
				return l, a.List(ctx, load.Pods, "", o, l)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				o.FieldSelector = fields
				return a.Watch(ctx, load.Pods, "", o)
			},
		},
		ObjectType: &corev1.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { p.changed(o) },
			UpdateFunc: func(_, o any) { p.changed(o) },
			DeleteFunc: func(o any) { p.gone(o) },
		},
	})
	c.RunWithContext(ctx)
}

// keyOf a pod of the herd.
func (p *pods) keyOf(o any) (*corev1.Pod, podKey, bool) {
	if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = last.Obj
	}
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return nil, podKey{}, false
	}
	n := p.herd.byName[pod.Spec.NodeName]
	return pod, podKey{n, pod.Namespace, pod.Name}, n != nil
}

func (p *pods) changed(o any) {
	pod, key, ok := p.keyOf(o)
	if !ok {
		return
	}
	p.addresses.keep(key.node.number, pod.UID, pod.Status.PodIP)
	p.mu.Lock()
	if old := p.known[key]; old != nil && old.UID != pod.UID {
		p.addresses.free(key.node.number, old.UID)
	}
	p.known[key] = pod
	p.mu.Unlock()
	if pod.DeletionTimestamp != nil || owed(pod) {
		p.queue.Add(key)
	}
}

func (p *pods) gone(o any) {
	pod, key, ok := p.keyOf(o)
	if !ok {
		return
	}
	p.mu.Lock()
	delete(p.known, key)
	p.mu.Unlock()
	p.addresses.free(key.node.number, pod.UID)
}

// next does what is owed to one pod. It is false when the queue has ended.
func (p *pods) next(ctx context.Context, a *load.API) bool {
	key, down := p.queue.Get()
	if down {
		return false
	}
	defer p.queue.Done(key)
	p.mu.Lock()
	pod := p.known[key]
	p.mu.Unlock()
	if pod == nil || ctx.Err() != nil {
		p.queue.Forget(key)
		return true
	}
	ctx, cancel := context.WithTimeout(p.herd.as(ctx, key.node), request)
	defer cancel()
	what, do := "making a pod Ready", p.start
	if pod.DeletionTimestamp != nil {
		what, do = "removing a pod", p.remove
	}
	err := do(ctx, a, key.node, pod)
	// A pod that is gone, or another by now, is told by the watch.
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		p.queue.Forget(key)
		return true
	}
	p.herd.counts.fail(ctx, what, err)
	p.queue.AddRateLimited(key)
	return true
}

func (p *pods) start(ctx context.Context, a *load.API, n *node, pod *corev1.Pod) error {
	if !owed(pod) {
		return nil
	}
	ip, err := p.addresses.of(n.number, pod.UID)
	if err != nil {
		return err
	}
	body := running(pod, address(n.number), ip, time.Now())
	if err := a.Patch(ctx, load.Pods, pod.Namespace, pod.Name, "status", types.StrategicMergePatchType, body); err != nil {
		return err
	}
	p.herd.counts.started.Add(1)
	return nil
}

func (p *pods) remove(ctx context.Context, a *load.API, _ *node, pod *corev1.Pod) error {
	now := int64(0)
	err := a.DeleteWith(ctx, load.Pods, pod.Namespace, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &pod.UID}})
	if err == nil {
		p.herd.counts.removed.Add(1)
	}
	return err
}
