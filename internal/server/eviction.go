package server

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"hyperkube/internal/object"
	"hyperkube/internal/server/decode"
	"hyperkube/internal/server/registry"
	"hyperkube/internal/server/request"
	"hyperkube/internal/store"
)

// maxDisrupted bounds the evicted pods that a budget remembers until its controller has seen them go.
const maxDisrupted = 2000

// evictPod deletes a pod if the disruption budgets that cover it allow one more disruption.
func (s *Server) evictPod(ctx context.Context, req *request.Request, body object.Object, o metav1.CreateOptions) (object.Object, error) {
	ev, ok := body.(*policyv1.Eviction)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not an Eviction object: %T", body))
	}
	if ev.Name != req.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Eviction object")
	}
	pods, err := s.row("", "v1", "pods")
	if err != nil {
		return nil, err
	}
	opts, err := evictionOptions(ev, o)
	if err != nil {
		return nil, err
	}
	key := object.Key{Namespace: req.Namespace, Name: req.Name}
	e, err := s.registry.Get(ctx, pods.Kind, key, "")
	if err != nil {
		return nil, err
	}
	pod, ok := e.Object().(*corev1.Pod)
	if !ok {
		return nil, fmt.Errorf("unexpected object: %T", e.Object())
	}
	if err := preconditionsHold(pods, pod, opts.Preconditions); err != nil {
		return nil, err
	}
	if countsForBudget(pod) {
		guard, err := s.spendBudget(ctx, pod, registry.IsDryRun(opts.DryRun))
		if err != nil {
			return nil, err
		}
		if guard {
			// Without budget for unready pods the pod must still be the one that was judged.
			opts.Preconditions = withVersion(opts.Preconditions, pod)
		}
	}
	if pod.DeletionTimestamp == nil && !registry.IsDryRun(opts.DryRun) {
		if err := s.tellDisrupted(ctx, pods, key, opts); err != nil {
			return nil, err
		}
	}
	_, err = s.registry.Delete(ctx, req, pods, key, opts)
	return nil, err
}

func evictionOptions(ev *policyv1.Eviction, o metav1.CreateOptions) (*metav1.DeleteOptions, error) {
	opts := &metav1.DeleteOptions{}
	if ev.DeleteOptions != nil {
		opts = ev.DeleteOptions.DeepCopy()
	}
	if len(opts.DryRun) == 0 {
		opts.DryRun = o.DryRun
	}
	return opts, decode.CheckDelete(opts)
}

func preconditionsHold(t registry.Target, pod *corev1.Pod, p *metav1.Preconditions) error {
	if p == nil {
		return nil
	}
	if p.UID != nil && *p.UID != pod.UID {
		return apierrors.NewConflict(t.Kind.GroupResource(), pod.Name, fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s)", *p.UID, pod.UID))
	}
	if p.ResourceVersion != nil && *p.ResourceVersion != pod.ResourceVersion {
		return apierrors.NewConflict(t.Kind.GroupResource(), pod.Name, fmt.Errorf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s)", *p.ResourceVersion, pod.ResourceVersion))
	}
	return nil
}

func withVersion(p *metav1.Preconditions, pod *corev1.Pod) *metav1.Preconditions {
	out := &metav1.Preconditions{}
	if p != nil {
		*out = *p
	}
	rv, uid := pod.ResourceVersion, pod.UID
	out.ResourceVersion, out.UID = &rv, &uid
	return out
}

// countsForBudget is false for pods that are no loss to anyone.
func countsForBudget(p *corev1.Pod) bool {
	switch p.Status.Phase {
	case corev1.PodSucceeded, corev1.PodFailed, corev1.PodPending:
		return false
	}
	return p.DeletionTimestamp == nil
}

// spendBudget takes one disruption from the budget that covers the pod. guard says that none had to be taken because
// the pod is unready.
func (s *Server) spendBudget(ctx context.Context, pod *corev1.Pod, dryRun bool) (guard bool, err error) {
	t, err := s.row("policy", "v1", "poddisruptionbudgets")
	if err != nil {
		return false, err
	}
	page, err := s.registry.Collection(t.Kind).List(ctx, store.ListOptions{Namespace: pod.Namespace})
	if err != nil {
		return false, err
	}
	var covering []*policyv1.PodDisruptionBudget
	for _, e := range page.Entries {
		b, ok := e.Object().(*policyv1.PodDisruptionBudget)
		if ok && covers(b, pod) {
			covering = append(covering, b)
		}
	}
	switch len(covering) {
	case 0:
		return false, nil
	case 1:
	default:
		return false, apierrors.NewInternalError(fmt.Errorf("this pod has more than one PodDisruptionBudget, which the eviction subresource does not support"))
	}
	b := covering[0]
	if !podReady(pod) && unreadyMayGo(b) {
		return true, nil
	}
	return false, s.disrupt(ctx, t, b, pod, dryRun)
}

func covers(b *policyv1.PodDisruptionBudget, pod *corev1.Pod) bool {
	sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
	return err == nil && sel.Matches(labels.Set(pod.Labels))
}

// unreadyMayGo: under AlwaysAllow always, else while the application as a whole is healthy.
func unreadyMayGo(b *policyv1.PodDisruptionBudget) bool {
	if p := b.Spec.UnhealthyPodEvictionPolicy; p != nil && *p == policyv1.AlwaysAllow {
		return true
	}
	return b.Status.CurrentHealthy >= b.Status.DesiredHealthy && b.Status.DesiredHealthy > 0
}

func podReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// disrupt writes the disruption into the budget's status, in one transaction with the check that there is one left.
func (s *Server) disrupt(ctx context.Context, t registry.Target, b *policyv1.PodDisruptionBudget, pod *corev1.Pod, dryRun bool) error {
	change := func(cur *store.Entry) (object.Object, error) {
		old, ok := cur.Object().(*policyv1.PodDisruptionBudget)
		if !ok {
			return nil, fmt.Errorf("unexpected object: %T", cur.Object())
		}
		if err := mayDisrupt(old); err != nil {
			return nil, err
		}
		out := old.DeepCopy()
		out.Status.DisruptionsAllowed--
		if out.Status.DisruptedPods == nil {
			out.Status.DisruptedPods = map[string]metav1.Time{}
		}
		out.Status.DisruptedPods[pod.Name] = metav1.NewTime(time.Now())
		setDisruptionAllowed(out)
		return out, nil
	}
	_, err := s.registry.Write(ctx, t, object.Key{Namespace: b.Namespace, Name: b.Name}, change, registry.UpdateOptions{DryRun: dryRun})
	return err
}

func mayDisrupt(b *policyv1.PodDisruptionBudget) error {
	switch {
	case b.Status.ObservedGeneration < b.Generation:
		return tooManyDisruptions(10, fmt.Sprintf("The disruption budget %s is still being processed by the server.", b.Name))
	case b.Status.DisruptionsAllowed < 0:
		return apierrors.NewForbidden(policyv1.Resource("poddisruptionbudget"), b.Name, fmt.Errorf("pdb disruptions allowed is negative"))
	case len(b.Status.DisruptedPods) > maxDisrupted:
		return apierrors.NewForbidden(policyv1.Resource("poddisruptionbudget"), b.Name, fmt.Errorf("DisruptedPods map too big - too many evictions not confirmed by PDB controller"))
	case b.Status.DisruptionsAllowed == 0:
		return tooManyDisruptions(0, fmt.Sprintf("The disruption budget %s needs %d healthy pods and has %d currently",
			b.Name, b.Status.DesiredHealthy, b.Status.CurrentHealthy))
	}
	return nil
}

// tooManyDisruptions is the 429 whose cause tells clients that it was a budget that refused.
func tooManyDisruptions(retryAfter int, cause string) error {
	err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", retryAfter)
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: policyv1.DisruptionBudgetCause, Message: cause})
	return err
}

func setDisruptionAllowed(b *policyv1.PodDisruptionBudget) {
	status, reason := metav1.ConditionTrue, policyv1.SufficientPodsReason
	if b.Status.DisruptionsAllowed <= 0 {
		status, reason = metav1.ConditionFalse, policyv1.InsufficientPodsReason
	}
	for i := range b.Status.Conditions {
		c := &b.Status.Conditions[i]
		if c.Type != policyv1.DisruptionAllowedCondition {
			continue
		}
		if c.Status != status {
			c.Status, c.LastTransitionTime = status, metav1.Now()
		}
		c.Reason, c.ObservedGeneration = reason, b.Status.ObservedGeneration
		return
	}
	b.Status.Conditions = append(b.Status.Conditions, metav1.Condition{Type: policyv1.DisruptionAllowedCondition, Status: status,
		Reason: reason, ObservedGeneration: b.Status.ObservedGeneration, LastTransitionTime: metav1.Now()})
}
