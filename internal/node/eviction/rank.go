package eviction

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"

	"hyperkube/internal/node/nodestatus"
	"hyperkube/internal/node/static"
)

// systemCritical is the least priority of pods that the system itself needs.
const systemCritical = 2000000000

func critical(pod *corev1.Pod) bool {
	return static.IsStatic(pod) || pod.Spec.Priority != nil && *pod.Spec.Priority >= systemCritical
}

// candidate is a pod that may be ended, with what it uses and asked for of what is short.
type candidate struct {
	pod        *corev1.Pod
	use, asked int64
}

// order puts those to be ended first at the front.
func order(list []candidate) {
	slices.SortStableFunc(list, func(a, b candidate) int {
		over := func(c candidate) int {
			if c.use > c.asked {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(over(a), over(b)), cmp.Compare(priority(a.pod), priority(b.pod)), cmp.Compare(b.use-b.asked, a.use-a.asked))
	})
}

func priority(p *corev1.Pod) int32 {
	if p.Spec.Priority == nil {
		return 0
	}
	return *p.Spec.Priority
}

// evictOne ends the pod that is to go first. The next is chosen at the next look, if it is needed still.
func (m *Manager) evictOne(ctx context.Context, s nodestatus.Shortage, grace func(*corev1.Pod) int64) {
	var list []candidate
	for _, p := range m.cfg.Pods() {
		if critical(p) {
			continue
		}
		if c, ok := m.weigh(ctx, p, s.Resource); ok {
			list = append(list, c)
		}
	}
	if len(list) == 0 {
		m.log.Warn("the node runs short and there is no pod to end", "resource", s.Resource)
		return
	}
	order(list)
	c := list[0]
	m.log.Warn("ending a pod because the node runs short", "resource", s.Resource, "pod", c.pod.Namespace+"/"+c.pod.Name)
	m.ended.WithLabelValues(signals[s.Resource]).Inc()
	m.cfg.End(c.pod, message(s, c), grace(c.pod))
}

func (m *Manager) weigh(ctx context.Context, p *corev1.Pod, name corev1.ResourceName) (candidate, bool) {
	c := candidate{pod: p}
	asked := resourcehelper.PodRequests(p, resourcehelper.PodResourcesOptions{})[name]
	c.asked = asked.Value()
	if name == corev1.ResourceEphemeralStorage || name == nodestatus.Inodes {
		d, err := m.cfg.Disk(ctx, p)
		if err != nil {
			return c, false
		}
		c.use = d.total()
		return c, true
	}
	if m.cfg.Stats == nil {
		return c, false
	}
	st, err := m.cfg.Stats(p.UID)
	if err != nil {
		return c, false // it has just ended
	}
	if name == nodestatus.PIDs {
		c.use = int64(st.Processes)
	} else {
		c.use = int64(st.MemoryWorkingSet)
	}
	return c, true
}

// signals are upstream's names of what is measured.
var signals = map[corev1.ResourceName]string{
	corev1.ResourceMemory: "memory.available", corev1.ResourceEphemeralStorage: "nodefs.available", nodestatus.Inodes: "nodefs.inodesFree", nodestatus.PIDs: "pid.available",
}

// message says why a pod was ended.
func message(s nodestatus.Shortage, c candidate) string {
	var b strings.Builder
	fmt.Fprintf(&b, "The node was low on resource: %s. Threshold quantity: %s, available: %s. ", s.Resource, size(s.Threshold), size(s.Available))
	if c.use > c.asked && s.Resource != nodestatus.PIDs && s.Resource != nodestatus.Inodes {
		fmt.Fprintf(&b, "Pod was using %s, request is %s, has larger consumption of %s. ", size(c.use), size(c.asked), s.Resource)
	}
	return b.String()
}

func size(n int64) string {
	if n == 0 {
		return "0"
	}
	if n >= 1024 {
		n = n / 1024 * 1024 // whole kibibytes read better
	}
	return resource.NewQuantity(n, resource.BinarySI).String()
}
