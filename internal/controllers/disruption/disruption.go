// Package disruption says for each PodDisruptionBudget how many of its pods may be evicted now (KEP-85, policy/v1).
//
// Watches: PodDisruptionBudgets, Pods, ReplicationControllers, ReplicaSets, Deployments, StatefulSets. Writes: status of
// PodDisruptionBudgets. Events: NoPods, CalculateExpectedPodCountFailed.
package disruption

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/object"
)

// Name is upstream's name of the controller.
const Name = "disruption-controller"

// forgotten is how long an eviction that was granted counts although its pod is not being deleted.
const forgotten = 2 * time.Minute

var (
	budgets      = client.Resource[*policyv1.PodDisruptionBudget]{GVR: policyv1.SchemeGroupVersion.WithResource("poddisruptionbudgets")}
	statefulSets = client.Resource[*appsv1.StatefulSet]{GVR: appsv1.SchemeGroupVersion.WithResource("statefulsets")}
)

type controller struct {
	client   client.Interface
	budgets  *client.Informer[*policyv1.PodDisruptionBudget]
	pods     *client.Informer[*corev1.Pod]
	scales   *scales
	queue    *client.Queue[object.Key]
	recorder record.EventRecorder
	workers  int
	log      *slog.Logger
}

// New registers the controller.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{
		client: d.Client("disruption-controller"), budgets: client.InformerFor(d.Informers, budgets), pods: client.InformerFor(d.Informers, client.Pods),
		queue: client.NewQueue[object.Key](Name), recorder: d.Recorder("controllermanager"), workers: workers, log: controllers.Logger(Name),
	}
	c.scales = newScales(d, c.client, c.ownerChanged)
	c.budgets.OnChange(func(_, new *policyv1.PodDisruptionBudget) {
		if new != nil {
			c.queue.Add(object.KeyOf(new))
		}
	})
	c.pods.OnChange(func(old, new *corev1.Pod) {
		if old != nil {
			c.podChanged(old)
		}
		if new != nil && (old == nil || !maps.Equal(old.Labels, new.Labels) || object.PodReady(old) != object.PodReady(new) || old.DeletionTimestamp.IsZero() != new.DeletionTimestamp.IsZero()) {
			c.podChanged(new)
		}
	})
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

// podChanged looks at the budgets that a pod falls under.
func (c *controller) podChanged(p *corev1.Pod) {
	for _, b := range c.budgets.InNamespace(p.Namespace) {
		if sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector); err == nil && sel.Matches(labels.Set(p.Labels)) {
			c.queue.Add(object.KeyOf(b))
		}
	}
}

// ownerChanged looks at the budgets of a namespace in which the wanted size of a workload changed.
func (c *controller) ownerChanged(namespace string) {
	for _, b := range c.budgets.InNamespace(namespace) {
		c.queue.Add(object.KeyOf(b))
	}
}

func (c *controller) reconcile(ctx context.Context, key object.Key) error {
	b, ok := c.budgets.Get(key.Namespace, key.Name)
	if !ok {
		return nil
	}
	status, wake, err := c.status(ctx, b, time.Now())
	if err != nil {
		c.log.Info("budget cannot be kept", "budget", key.String(), "error", err)
		// Nothing is known: nothing may be evicted.
		status = *b.Status.DeepCopy()
		status.DisruptionsAllowed, status.ObservedGeneration = 0, b.Generation
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse,
			ObservedGeneration: b.Generation, Reason: policyv1.SyncFailedReason, Message: err.Error()})
	}
	if wake > 0 {
		c.queue.AddAfter(key, wake)
	}
	if apiequality.Semantic.DeepEqual(status, b.Status) {
		return err
	}
	next := b.DeepCopy()
	next.Status = status
	_, uerr := budgets.UpdateStatus(ctx, c.client, next)
	switch {
	case apierrors.IsNotFound(uerr):
		return nil
	case uerr != nil:
		return uerr // a conflict too: the count begins anew
	}
	return err
}

// status works out what a budget allows, and when it has to be looked at again without any change.
func (c *controller) status(ctx context.Context, b *policyv1.PodDisruptionBudget, now time.Time) (policyv1.PodDisruptionBudgetStatus, time.Duration, error) {
	out := *b.Status.DeepCopy()
	sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
	if err != nil {
		return out, 0, err
	}
	var pods []*corev1.Pod
	for _, p := range c.pods.InNamespace(b.Namespace) {
		if sel.Matches(labels.Set(p.Labels)) {
			pods = append(pods, p)
		}
	}
	if len(pods) == 0 {
		c.recorder.Event(b, corev1.EventTypeNormal, "NoPods", "No matching pods found")
	}
	expected, desired, err := c.want(ctx, b, pods)
	if err != nil {
		c.recorder.Eventf(b, corev1.EventTypeWarning, "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: %v", err)
		return out, 0, fmt.Errorf("failed to calculate the number of expected pods: %w", err)
	}
	disrupted, wake := pending(b.Status.DisruptedPods, pods, now)
	out.CurrentHealthy = 0
	for _, p := range pods {
		if _, going := disrupted[p.Name]; p.DeletionTimestamp == nil && !going && object.PodReady(p) {
			out.CurrentHealthy++
		}
	}
	out.DesiredHealthy, out.ExpectedPods, out.DisruptedPods, out.ObservedGeneration = desired, expected, disrupted, b.Generation
	out.DisruptionsAllowed = max(0, out.CurrentHealthy-desired)
	if expected <= 0 {
		out.DisruptionsAllowed = 0
	}
	cond := metav1.Condition{Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: policyv1.InsufficientPodsReason, ObservedGeneration: b.Generation}
	if out.DisruptionsAllowed > 0 {
		cond.Status, cond.Reason = metav1.ConditionTrue, policyv1.SufficientPodsReason
	}
	meta.SetStatusCondition(&out.Conditions, cond)
	return out, wake, nil
}

// pending are the granted evictions whose pods are still to be deleted, and when the first of them is given up.
func pending(granted map[string]metav1.Time, pods []*corev1.Pod, now time.Time) (map[string]metav1.Time, time.Duration) {
	var out map[string]metav1.Time
	var wake time.Duration
	for _, p := range pods {
		at, ok := granted[p.Name]
		if !ok || p.DeletionTimestamp != nil {
			continue
		}
		left := at.Add(forgotten).Sub(now)
		if left <= 0 {
			continue
		}
		if out == nil {
			out = map[string]metav1.Time{}
		}
		out[p.Name] = at
		if wake == 0 || left < wake {
			wake = left
		}
	}
	return out, wake
}
