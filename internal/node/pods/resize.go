package pods

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/spec"
)

// A pod's resources can change while it runs (KEP-1287). What the pod was given is its allocation; the pod that this package works
// with always has the allocation in its spec. A change that the API has is first decided (allocated, or why not yet, or
// never) and then carried out, on the running containers or by starting them anew.

// allocation is what the containers of a pod were given, by name.
type allocation struct {
	Pod        *corev1.ResourceRequirements           `json:"pod,omitempty"`
	Containers map[string]corev1.ResourceRequirements `json:"containers"`
}

func allocationOf(obj *corev1.Pod) *allocation {
	a := &allocation{Pod: obj.Spec.Resources, Containers: map[string]corev1.ResourceRequirements{}}
	for _, list := range [][]corev1.Container{obj.Spec.InitContainers, obj.Spec.Containers} {
		for i := range list {
			a.Containers[list[i].Name] = list[i].Resources
		}
	}
	return a
}

// apply gives the pod with the allocation in its spec.
func (a *allocation) apply(obj *corev1.Pod) *corev1.Pod {
	if apiequality.Semantic.DeepEqual(a, allocationOf(obj)) {
		return obj
	}
	out := obj.DeepCopy()
	out.Spec.Resources = a.Pod
	for _, list := range [][]corev1.Container{out.Spec.InitContainers, out.Spec.Containers} {
		for i := range list {
			if r, ok := a.Containers[list[i].Name]; ok {
				list[i].Resources = r
			}
		}
	}
	return out
}

// take a newer version of the pod, with the resources that it has and, while it asks for others, the generation that was judged last.
// p.mu is held.
func (p *pod) take(obj *corev1.Pod) {
	p.wanted = obj
	was := p.obj
	p.obj = p.allocated.apply(obj)
	if p.obj != obj && was != nil && p.undecided() {
		p.obj.Generation = was.Generation
	}
}

// undecided says whether the newest resources that the API asks for have not been judged. p.mu is held.
func (p *pod) undecided() bool { return p.judged != p.wanted.Generation }

// Fit says why a pod cannot have its resources: never on this node, or not while others have theirs. Both are empty when it can.
type Fit func(pod *corev1.Pod, others []*corev1.Pod) (never, notNow string)

// decide judges a change of resources.
func (m *Manager) decide(p *pod) error {
	p.mu.Lock()
	wanted := p.wanted
	same := apiequality.Semantic.DeepEqual(allocationOf(wanted), p.allocated)
	if same {
		p.judged, p.pending = wanted.Generation, nil
		p.take(wanted)
	}
	p.mu.Unlock()
	if same || m.cfg.Fit == nil {
		return nil
	}
	never, notNow := m.cfg.Fit(wanted, m.active(p.uid))
	var pending *corev1.PodCondition
	switch {
	case never != "":
		pending = &corev1.PodCondition{Type: corev1.PodResizePending, Status: corev1.ConditionTrue, Reason: corev1.PodReasonInfeasible, Message: never}
	case notNow != "":
		pending = &corev1.PodCondition{Type: corev1.PodResizePending, Status: corev1.ConditionTrue, Reason: corev1.PodReasonDeferred, Message: notNow}
	default:
		if err := m.saveAllocation(p, allocationOf(wanted)); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	told := p.pending != nil && pending != nil && p.pending.Reason == pending.Reason && !p.undecided()
	p.pending, p.judged = pending, wanted.Generation
	if pending == nil {
		p.allocated, p.resizing = allocationOf(wanted), true
		m.event(wanted, "", corev1.EventTypeNormal, "ResizeStarted", "Pod resize started")
	} else if !told {
		m.event(wanted, "", corev1.EventTypeWarning, "Resize"+pending.Reason, pending.Message)
	}
	if p.wanted == wanted {
		p.take(wanted)
	}
	return nil
}

// resize brings the running containers and the pod's cgroup to the allocation. Containers that are to be started anew for it are
// left to the plan. Limits sink in the containers before they do in the pod, and rise in the pod first.
func (m *Manager) resize(ctx context.Context, p *pod, obj *corev1.Pod, seen *cri.Pod) error {
	type change struct {
		id         string
		have, want *rt.LinuxContainerResources
		restart    bool
	}
	var all []change
	spec.AllContainers(&obj.Spec, func(c *corev1.Container) {
		st := seen.Newest(c.Name)
		if st == nil || !st.Running() {
			return
		}
		have, want := st.GetResources().GetLinux(), spec.Resources(obj, c, m.cfg.Node)
		if cpu, memory := spec.Has(have, want); !cpu || !memory {
			all = append(all, change{st.Id, have, want, spec.Needs(c, !cpu, !memory)})
		}
	})
	p.mu.Lock()
	resizing := p.resizing
	p.mu.Unlock()
	if !resizing {
		return nil
	}
	update := func(id string, r *rt.LinuxContainerResources) error {
		_, err := m.cfg.CRI.Runtime.UpdateContainerResources(ctx, &rt.UpdateContainerResourcesRequest{ContainerId: id, Linux: r})
		return err
	}
	err := func() error {
		for _, c := range all {
			if err := update(c.id, spec.Least(c.have, c.want)); err != nil {
				return err
			}
		}
		if m.cfg.Cgroups != nil {
			if _, err := m.cfg.Cgroups.Ensure(obj); err != nil {
				return err
			}
		}
		for _, c := range all {
			if c.restart {
				continue
			}
			if err := update(c.id, unbounded(c.want)); err != nil {
				return err
			}
		}
		return nil
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resizeError = ""
	if err != nil {
		p.resizeError = err.Error()
		return fmt.Errorf("resize: %w", err)
	}
	return nil
}

// unbounded writes no limit as the runtime's update wants it.
func unbounded(r *rt.LinuxContainerResources) *rt.LinuxContainerResources { return spec.Least(r, r) }

// resized ends a resize when every running container has what it should.
func (m *Manager) resized(p *pod, obj *corev1.Pod, seen *cri.Pod) (over bool) {
	done := true
	spec.AllContainers(&obj.Spec, func(c *corev1.Container) {
		if st := seen.Newest(c.Name); st != nil && st.Running() {
			cpu, memory := spec.Has(st.GetResources().GetLinux(), spec.Resources(obj, c, m.cfg.Node))
			done = done && cpu && memory
		}
	})
	p.mu.Lock()
	over = done && p.resizing && p.resizeError == ""
	if over {
		p.resizing = false
	}
	p.mu.Unlock()
	if over {
		m.event(obj, "", corev1.EventTypeNormal, "ResizeCompleted", "Pod resize completed")
		m.wakeDeferred()
	}
	return over
}

// restarts says whether a running container is to start anew to get its resources.
func (m *Manager) restarts(obj *corev1.Pod) func(c *corev1.Container, st *cri.Container) bool {
	return func(c *corev1.Container, st *cri.Container) bool {
		cpu, memory := spec.Has(st.GetResources().GetLinux(), spec.Resources(obj, c, m.cfg.Node))
		return spec.Needs(c, !cpu, !memory)
	}
}

// resizeConditions are what the status says of a resize. p.mu is held.
func (p *pod) resizeConditions() (out []corev1.PodCondition) {
	if p.pending != nil {
		c := *p.pending
		c.ObservedGeneration = p.judged
		out = append(out, c)
	}
	if p.resizing {
		c := corev1.PodCondition{Type: corev1.PodResizeInProgress, Status: corev1.ConditionTrue, ObservedGeneration: p.judged}
		if p.resizeError != "" {
			c.Reason, c.Message = corev1.PodReasonError, p.resizeError
		}
		out = append(out, c)
	}
	return out
}

// wakeDeferred has the pods looked at that wait for resources which may be free now.
func (m *Manager) wakeDeferred() {
	for _, p := range m.all() {
		p.mu.Lock()
		waits := p.pending != nil && p.pending.Reason == corev1.PodReasonDeferred
		p.mu.Unlock()
		if waits {
			m.wake(p)
		}
	}
}

func (m *Manager) allocationFile(p *pod) string {
	return filepath.Join(m.cfg.Volumes.PodDir(p.uid), "resources.json")
}

// saveAllocation keeps it for the next kubelet. A pod that was never resized has no file.
func (m *Manager) saveAllocation(p *pod, a *allocation) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	path := m.allocationFile(p)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// loadAllocation is what an earlier kubelet gave the pod; nil when it was never resized.
func (m *Manager) loadAllocation(p *pod) *allocation {
	data, err := os.ReadFile(m.allocationFile(p))
	if err == nil {
		a := &allocation{}
		if err = json.Unmarshal(data, a); err == nil {
			return a
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		m.log.Warn("resources of a pod not read; it is taken to have what it asks for", "pod", name(p.wanted), "error", err)
	}
	return nil
}
