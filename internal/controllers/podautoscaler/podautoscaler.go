// Package podautoscaler sets the size of workloads by what their pods use (autoscaling/v2 HorizontalPodAutoscaler).
//
// Watches: HorizontalPodAutoscalers, Pods. Reads: the scale subresource of targets, and the APIs metrics.k8s.io,
// custom.metrics.k8s.io and external.metrics.k8s.io, which other servers serve. Writes: scale subresources,
// HorizontalPodAutoscaler status, events "SuccessfulRescale", "FailedRescale", "FailedGetScale", "FailedComputeMetricsReplicas" and the
// reasons of the condition ScalingActive.
//
// Metrics tell of no change, so every autoscaler is looked at once in a period. How many pods a metric asks for (calc.go, group.go) and
// how far and fast the size may change (behavior.go) are pure functions. Recommendations and changes of the last time are kept in
// memory, as long as the windows of stabilisation and rates need them.
package podautoscaler

import (
	"context"
	"fmt"
	"sync"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/ownwrites"
	"hyperkube/internal/object"
)

// Name is upstream's name of the controller.
const Name = "horizontal-pod-autoscaler-controller"

var autoscalers = client.Resource[*autoscalingv2.HorizontalPodAutoscaler]{GVR: autoscalingv2.SchemeGroupVersion.WithResource("horizontalpodautoscalers")}

// Options are upstream's flags --horizontal-pod-autoscaler-….
type Options struct {
	Period            time.Duration // between two looks
	DownStabilization time.Duration // where the autoscaler does not say
	Tolerance         float64       // share by which usage may differ from the target without a change
	CPUInitialization time.Duration // after its start, a pod's CPU counts only while it is ready
	InitialReadiness  time.Duration // a pod that becomes not ready so early has never been
}

// Defaults are upstream's.
func Defaults() Options {
	return Options{Period: 15 * time.Second, DownStabilization: 5 * time.Minute, Tolerance: 0.1, CPUInitialization: 5 * time.Minute, InitialReadiness: 30 * time.Second}
}

type controller struct {
	workers int
	opts    Options
	client  client.Interface
	events  record.EventRecorder
	all     *client.Informer[*autoscalingv2.HorizontalPodAutoscaler]
	pods    *client.Informer[*corev1.Pod]
	queue   *client.Queue[object.Key]
	written ownwrites.Set[*autoscalingv2.HorizontalPodAutoscaler]
	kinds   kinds

	mu      sync.Mutex
	history map[object.Key]*history
}

// New registers the controller. workers is how many autoscalers are worked on at a time.
func New(d controllers.Deps, workers int, o Options) controllers.Controller {
	c := &controller{
		workers: workers,
		opts:    o,
		client:  d.Client("horizontal-pod-autoscaler"),
		events:  d.Recorder("horizontal-pod-autoscaler"),
		all:     client.InformerFor(d.Informers, autoscalers),
		pods:    client.InformerFor(d.Informers, client.Pods),
		queue:   client.NewQueue[object.Key](Name),
		history: map[object.Key]*history{},
	}
	c.all.OnChange(func(old, new *autoscalingv2.HorizontalPodAutoscaler) {
		switch {
		case new == nil:
			c.queue.Add(object.KeyOf(old))
		case old == nil || old.Generation != new.Generation || old.UID != new.UID:
			c.queue.Add(object.KeyOf(new))
		}
	})
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func (c *controller) reconcile(ctx context.Context, key object.Key) error {
	cached, ok := c.all.Get(key.Namespace, key.Name)
	if !ok {
		c.mu.Lock()
		delete(c.history, key)
		c.mu.Unlock()
		c.written.Forget(key)
		return nil
	}
	cached = c.written.Newest(cached)
	if cached.DeletionTimestamp != nil {
		return nil
	}
	c.queue.AddAfter(key, c.opts.Period)
	p := &pass{c: c, hpa: cached.DeepCopy(), past: c.pastOf(key), now: time.Now()}
	failed := p.run(ctx)
	if err := c.write(ctx, cached, p.hpa); err != nil {
		return err
	}
	if failed != nil {
		controllers.Logger(Name).Info("not scaled", "key", key.String(), "error", failed)
	}
	return nil
}

func (c *controller) pastOf(key object.Key) *history {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.history[key]
	if h == nil {
		h = &history{}
		c.history[key] = h
	}
	return h
}

func (c *controller) write(ctx context.Context, old, next *autoscalingv2.HorizontalPodAutoscaler) error {
	if apiequality.Semantic.DeepEqual(old.Status, next.Status) {
		return nil
	}
	got, err := autoscalers.UpdateStatus(ctx, c.client, next)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // a newer version is on its way here, and the next look will come
	}
	if err != nil {
		return err
	}
	c.written.Wrote(got)
	return nil
}

// pass is one look at an autoscaler.
type pass struct {
	c    *controller
	hpa  *autoscalingv2.HorizontalPodAutoscaler // a copy, whose status is brought up to date
	past *history
	now  time.Time

	resource client.GVR
	scale    *autoscalingv1.Scale
	selector labels.Selector
}

func (p *pass) run(ctx context.Context) error {
	p.hpa.Status.ObservedGeneration = &p.hpa.Generation
	if err := p.target(ctx); err != nil {
		p.warn("FailedGetScale", "%v", err)
		p.set(autoscalingv2.AbleToScale, corev1.ConditionFalse, "FailedGetScale", "the HPA controller was unable to get the target's current scale: %v", err)
		return err
	}
	p.set(autoscalingv2.AbleToScale, corev1.ConditionTrue, "SucceededGetScale", "the HPA controller was able to get the target's current scale")
	current := p.scale.Spec.Replicas
	p.hpa.Status.CurrentReplicas = p.scale.Status.Replicas
	desired, reason, err := p.desire(ctx, current)
	if err != nil {
		p.hpa.Status.DesiredReplicas = current
		return err
	}
	if desired != current {
		if err := p.rescale(ctx, current, desired, reason); err != nil {
			p.hpa.Status.DesiredReplicas = current
			return err
		}
	}
	p.hpa.Status.DesiredReplicas = desired
	return nil
}

// desire decides on the size.
func (p *pass) desire(ctx context.Context, current int32) (desired int32, reason string, err error) {
	spec := &p.hpa.Spec
	least := minReplicas(spec)
	switch {
	case current == 0 && least != 0:
		p.set(autoscalingv2.ScalingActive, corev1.ConditionFalse, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
		return 0, "", nil
	case current > spec.MaxReplicas:
		return spec.MaxReplicas, "Current number of replicas above Spec.MaxReplicas", nil
	case current < least:
		return least, "Current number of replicas below Spec.MinReplicas", nil
	}
	wanted, metric, err := p.measure(ctx, current)
	if err != nil {
		p.warn("FailedComputeMetricsReplicas", "%v", err)
		return current, "", err
	}
	reason = "All metrics below target"
	if wanted > current {
		reason = metric + " above target"
	}
	size := limit(p.hpa, p.past, current, wanted, p.c.opts.DownStabilization, p.now)
	p.set(autoscalingv2.AbleToScale, corev1.ConditionTrue, size.able.reason, "%s", size.able.message)
	limited := corev1.ConditionTrue
	if size.limited.reason == withinRange {
		limited = corev1.ConditionFalse
	}
	p.set(autoscalingv2.ScalingLimited, limited, size.limited.reason, "%s", size.limited.message)
	return size.replicas, reason, nil
}

func (p *pass) rescale(ctx context.Context, current, desired int32, reason string) error {
	next := p.scale.DeepCopy()
	next.Spec.Replicas = desired
	if _, err := p.c.client.Update(ctx, p.resource, next, metav1.UpdateOptions{}, "scale"); err != nil {
		p.warn("FailedRescale", "New size: %d; reason: %s; error: %v", desired, reason, err)
		p.set(autoscalingv2.AbleToScale, corev1.ConditionFalse, "FailedUpdateScale", "the HPA controller was unable to update the target scale: %v", err)
		return fmt.Errorf("scaling: %w", err)
	}
	p.c.events.Eventf(p.hpa, corev1.EventTypeNormal, "SuccessfulRescale", "New size: %d; reason: %s", desired, reason)
	p.set(autoscalingv2.AbleToScale, corev1.ConditionTrue, "SucceededRescale", "the HPA controller was able to update the target scale to %d", desired)
	at := metav1.NewTime(p.now)
	p.hpa.Status.LastScaleTime = &at
	p.past.changed(desired-current, p.now)
	return nil
}

func minReplicas(s *autoscalingv2.HorizontalPodAutoscalerSpec) int32 {
	if s.MinReplicas == nil {
		return 1
	}
	return *s.MinReplicas
}

func (p *pass) warn(reason, format string, args ...any) {
	p.c.events.Eventf(p.hpa, corev1.EventTypeWarning, reason, format, args...)
}

// set puts a condition into the status. The time moves only when the condition's status does.
func (p *pass) set(t autoscalingv2.HorizontalPodAutoscalerConditionType, status corev1.ConditionStatus, reason, format string, args ...any) {
	next := autoscalingv2.HorizontalPodAutoscalerCondition{
		Type: t, Status: status, Reason: reason, Message: fmt.Sprintf(format, args...), LastTransitionTime: metav1.NewTime(p.now),
	}
	for i := range p.hpa.Status.Conditions {
		c := &p.hpa.Status.Conditions[i]
		if c.Type != t {
			continue
		}
		if c.Status == status {
			next.LastTransitionTime = c.LastTransitionTime
		}
		*c = next
		return
	}
	p.hpa.Status.Conditions = append(p.hpa.Status.Conditions, next)
}
