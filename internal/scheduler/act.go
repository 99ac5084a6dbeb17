package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
	"hyperkube/internal/scheduler/placement"
)

// bind tells the API where an assumed pod goes.
func (s *Scheduler) bind(ctx context.Context, it *item, node string, start time.Time) {
	pod := it.pod
	binding := &corev1.Binding{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Binding"},
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}
	err := patiently(ctx, func() error {
		_, err := s.c.Create(ctx, client.Pods.GVR, binding, metav1.CreateOptions{}, "binding")
		return err
	})
	if err != nil {
		s.unbind(ctx, it, err, start)
		return
	}
	s.metrics.bound(it, start)
	s.log.Debug("pod bound", "pod", pod.Namespace+"/"+pod.Name, "node", node)
	s.do(func() {
		// The event holds up no further binding.
		select {
		case s.telling <- struct{}{}:
			s.record(ctx, pod, it.profile.Name, node)
			<-s.telling
		case <-ctx.Done():
		}
	})
}

// unbind takes an assumption back after its binding failed.
func (s *Scheduler) unbind(ctx context.Context, it *item, err error, start time.Time) {
	now := time.Now()
	s.mu.Lock()
	if s.assumed[it.pod.UID] == it {
		delete(s.assumed, it.pod.UID)
		gone := s.state.Pod(it.pod.UID)
		node := it.ready.Node()
		s.state.RemovePod(it.pod.UID)
		if gone != nil {
			s.podLeft(gone, node, now)
		}
	}
	again := s.queue.all[it.pod.UID] == it && !apierrors.IsNotFound(err)
	if again {
		s.queue.attempted(it, now)
		it.failed, it.refused = true, 0
		s.queue.put(it, backoff, now, "ScheduleAttemptFailure")
	} else if s.queue.all[it.pod.UID] == it {
		s.queue.remove(it.pod.UID)
	}
	s.mu.Unlock()
	s.rouse()
	if ctx.Err() != nil || !again {
		return
	}
	s.metrics.attempt("error", it.profile.Name, start)
	s.log.Warn("pod could not be bound", "pod", it.pod.Namespace+"/"+it.pod.Name, "err", err)
	s.tell(ctx, it, it.pod, reasonSchedulerError, "binding rejected: "+err.Error(), "")
}

// record writes the event that a pod has its node. It goes the direct way: the shared recorder drops events when thousands of
// pods are bound at once.
func (s *Scheduler) record(ctx context.Context, pod *corev1.Pod, scheduler, node string) {
	now := metav1.Now()
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: fmt.Sprintf("%s.%x", pod.Name, now.UnixNano())},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
		},
		Type:           corev1.EventTypeNormal,
		Reason:         "Scheduled",
		Message:        fmt.Sprintf("Successfully assigned %s/%s to %s", pod.Namespace, pod.Name, node),
		Source:         corev1.EventSource{Component: scheduler},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
		ReportingController: scheduler,
	}
	err := patiently(ctx, func() error {
		_, err := client.Events.Create(ctx, s.c, event)
		return err
	})
	if err != nil && ctx.Err() == nil {
		s.log.Debug("event not written", "pod", pod.Namespace+"/"+pod.Name, "err", err)
	}
}

// tell writes the event and the condition of a pod that got no node.
func (s *Scheduler) tell(ctx context.Context, it *item, pod *corev1.Pod, reason, message, nominated string) {
	s.recorders[it.profile.Name].Event(pod, corev1.EventTypeWarning, "FailedScheduling", message)
	if cond := scheduledCondition(pod); cond != nil && cond.Status == corev1.ConditionFalse && cond.Reason == reason &&
		cond.Message == message && pod.Status.NominatedNodeName == nominated {
		return
	}
	err := s.patchStatus(ctx, pod, corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: reason, Message: message, ObservedGeneration: pod.Generation,
	}, &nominated)
	if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
		s.log.Warn("condition of pod not written", "pod", pod.Namespace+"/"+pod.Name, "err", err)
	}
}

func scheduledCondition(pod *corev1.Pod) *corev1.PodCondition {
	return conditionOf(pod, corev1.PodScheduled)
}

func conditionOf(pod *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == t {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

// patchStatus sets one condition, and the nominated node when it is given. It fails when the pod is another by now.
func (s *Scheduler) patchStatus(ctx context.Context, pod *corev1.Pod, cond corev1.PodCondition, nominated *string) error {
	cond.LastTransitionTime = metav1.Now()
	if old := conditionOf(pod, cond.Type); old != nil && old.Status == cond.Status {
		cond.LastTransitionTime = old.LastTransitionTime
	}
	status := map[string]any{"conditions": []corev1.PodCondition{cond}}
	if nominated != nil && *nominated != pod.Status.NominatedNodeName {
		status["nominatedNodeName"] = *nominated
	}
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	if err != nil {
		return err
	}
	return patiently(ctx, func() error {
		_, err := s.c.Patch(ctx, client.Pods.GVR, pod.Namespace, pod.Name, types.StrategicMergePatchType, data, metav1.PatchOptions{}, "status")
		return err
	})
}

// patiently calls again, less and less often, while the server says that it has too much to do.
func patiently(ctx context.Context, call func() error) error {
	const most = time.Second
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, most) {
		err := call()
		if !apierrors.IsTooManyRequests(err) {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

// preempt tells the victims why they go, and deletes them.
func (s *Scheduler) preempt(ctx context.Context, it *item, pod *corev1.Pod, p *placement.Preemption) {
	for _, v := range p.Victims {
		if v.DeletionTimestamp != nil {
			continue
		}
		err := s.patchStatus(ctx, v, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: corev1.PodReasonPreemptionByScheduler,
			Message:            fmt.Sprintf("%s: preempting to accommodate a higher priority pod", it.profile.Name),
			ObservedGeneration: v.Generation,
		}, nil)
		if err == nil {
			err = patiently(ctx, func() error {
				return s.c.Delete(ctx, client.Pods.GVR, v.Namespace, v.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(v.UID))})
			})
		}
		if err != nil {
			if !apierrors.IsNotFound(err) && ctx.Err() == nil {
				s.log.Warn("victim not deleted", "pod", v.Namespace+"/"+v.Name, "for", pod.Namespace+"/"+pod.Name, "err", err)
				s.again(it)
			}
			continue
		}
		s.log.Info("pod preempted", "pod", v.Namespace+"/"+v.Name, "node", p.Node, "for", pod.Namespace+"/"+pod.Name)
		s.recorders[it.profile.Name].Eventf(v, corev1.EventTypeNormal, "Preempted", "Preempted by pod %s on node %s", pod.UID, p.Node)
	}
}

// again has a pod tried once more although nothing has changed.
func (s *Scheduler) again(it *item) {
	s.mu.Lock()
	if s.queue.all[it.pod.UID] == it && it.where == waiting {
		it.failed = true
		s.queue.retry(it, time.Now(), "PreemptionFailed")
	}
	s.mu.Unlock()
	s.rouse()
}
