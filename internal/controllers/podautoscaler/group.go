package podautoscaler

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/controllers/podset"
)

// sample is what one pod used in a window.
type sample struct {
	milli  int64
	at     time.Time
	window time.Duration
}

// group sorts a target's pods: those whose use counts, those that are not ready yet, and those of which nothing is known. Pods that end
// or have failed are left out. The use of CPU of a pod that starts says nothing of its load.
func group(pods []*corev1.Pod, got map[string]sample, cpu bool, o Options, now time.Time) (use samples, unready, missing []string) {
	use = samples{}
	for _, p := range pods {
		if p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodFailed {
			continue
		}
		s, ok := got[p.Name]
		switch {
		case p.Status.Phase == corev1.PodPending:
			unready = append(unready, p.Name)
		case !ok:
			missing = append(missing, p.Name)
		case cpu && starting(p, s, o, now):
			unready = append(unready, p.Name)
		default:
			use[p.Name] = s.milli
		}
	}
	return use, unready, missing
}

func starting(p *corev1.Pod, s sample, o Options, now time.Time) bool {
	c := podset.Condition(p, corev1.PodReady)
	if c == nil || p.Status.StartTime == nil {
		return true
	}
	ready := c.Status == corev1.ConditionTrue
	if p.Status.StartTime.Add(o.CPUInitialization).After(now) {
		return !ready || s.at.Before(c.LastTransitionTime.Add(s.window))
	}
	return !ready && p.Status.StartTime.Add(o.InitialReadiness).After(c.LastTransitionTime.Time)
}

// requests is what a pod, or one container of it, requests of a resource, in thousandths.
func requests(p *corev1.Pod, container string, r corev1.ResourceName) (int64, error) {
	var sum int64
	found := false
	list := append([]corev1.Container{}, p.Spec.Containers...)
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			list = append(list, c)
		}
	}
	if p.Spec.Resources != nil && container == "" {
		if q, ok := p.Spec.Resources.Requests[r]; ok {
			return q.MilliValue(), nil
		}
	}
	for _, c := range list {
		if container != "" && c.Name != container {
			continue
		}
		found = true
		q, ok := c.Resources.Requests[r]
		if !ok {
			return 0, fmt.Errorf("missing request for %s in container %s of Pod %s", r, c.Name, p.Name)
		}
		sum += q.MilliValue()
	}
	if !found {
		return 0, fmt.Errorf("container %s not present in Pod %s", container, p.Name)
	}
	return sum, nil
}
