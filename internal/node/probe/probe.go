// Package probe runs the startup, liveness and readiness probes of all containers of a node.
//
// One goroutine waits for the next probe that is due, from a heap of times; a probe that runs has a goroutine for as long
// as it takes. A node whose pods have no probes costs nothing. [Manager.Sync] tells which containers run;
// [Manager.Started], [Manager.Ready] and [Manager.Failed] give results by container ID, and each change of a result is told by
// the pod's UID. Readiness and liveness begin when the startup probe has succeeded. A container that failed
// its liveness or startup probe is not probed any more: it is to be stopped.
package probe

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/lifecycle"
	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/spec"
)

// Kind of a probe, as events and metrics name it.
type Kind string

// The kinds of probes.
const (
	Startup   Kind = "Startup"
	Liveness  Kind = "Liveness"
	Readiness Kind = "Readiness"
)

// Config is what probes need.
type Config struct {
	Exec Exec
	// Changed is told when a result of a pod's containers changed. It must not block.
	Changed func(types.UID)
	// Unhealthy is told of every probe that failed. It must not block.
	Unhealthy func(pod *corev1.Pod, container string, k Kind, message string)
	// Count is told the outcome of every probe: "successful", "failed" or "unknown". May be nil.
	Count func(pod *corev1.Pod, container string, k Kind, result string)
	Now   func() time.Time
}

// Manager runs probes. Safe for concurrent use.
type Manager struct {
	cfg   Config
	began time.Time
	wake  chan struct{}

	mu   sync.Mutex
	due  timers
	pods map[types.UID]map[string]*target // by container name
	ids  map[string]*target               // by container ID
}

// target is a running container with probes.
type target struct {
	pod     *corev1.Pod
	c       *corev1.Container
	id, ip  string
	started time.Time
	held    bool // not probed yet
	gone    bool

	startup, liveness, readiness *prober
}

type prober struct {
	t      *target
	kind   Kind
	spec   *corev1.Probe
	ok     bool // the result that counts
	failed bool // liveness and startup: the container is to be stopped
	last   bool // result of the last run, for the streak
	streak int32
	when   time.Time
	index  int // in the heap; -1 when not in it
}

// New makes a manager.
func New(cfg Config) *Manager {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Manager{cfg: cfg, began: cfg.Now(), wake: make(chan struct{}, 1),
		pods: map[types.UID]map[string]*target{}, ids: map[string]*target{}}
}

// Sync tells which containers of a pod run, and at which address. starting says of a container, by ID, that it is not to be
// probed yet: its postStart hook still runs. terminating ends all but readiness probes.
func (m *Manager) Sync(pod *corev1.Pod, seen *cri.Pod, ip string, starting func(id string) bool, terminating bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	have := m.pods[pod.UID]
	keep := map[string]bool{}
	probed := func(c *corev1.Container) {
		if c.StartupProbe == nil && c.LivenessProbe == nil && c.ReadinessProbe == nil {
			return
		}
		st := seen.Newest(c.Name)
		if st == nil || !st.Running() {
			return
		}
		keep[c.Name] = true
		t := have[c.Name]
		if t != nil && t.id == st.Id {
			t.pod, t.ip = pod, ip
		} else {
			m.drop(t)
			t = m.add(pod, c, st, ip)
		}
		if t.held && !starting(t.id) {
			t.held = false
			m.start(t)
		}
		if terminating {
			m.unschedule(t.startup)
			m.unschedule(t.liveness)
		}
	}
	for i := range pod.Spec.InitContainers {
		if spec.Restartable(&pod.Spec.InitContainers[i]) {
			probed(&pod.Spec.InitContainers[i])
		}
	}
	for i := range pod.Spec.Containers {
		probed(&pod.Spec.Containers[i])
	}
	for name, t := range have {
		if !keep[name] {
			m.drop(t)
			delete(have, name)
		}
	}
}

// Forget a pod.
func (m *Manager) Forget(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.pods[uid] {
		m.drop(t)
	}
	delete(m.pods, uid)
}

func (m *Manager) add(pod *corev1.Pod, c *corev1.Container, st *cri.Container, ip string) *target {
	t := &target{pod: pod, c: c, id: st.Id, ip: ip, started: time.Unix(0, st.StartedAt), held: true}
	before := adopted(pod, t.id)
	if t.started.After(m.began) {
		before = nil
	}
	mk := func(k Kind, s *corev1.Probe, ok bool) *prober {
		if s == nil {
			return nil
		}
		return &prober{t: t, kind: k, spec: s, ok: ok, index: -1}
	}
	t.startup = mk(Startup, c.StartupProbe, before != nil && before.Started != nil && *before.Started)
	t.liveness = mk(Liveness, c.LivenessProbe, true)
	t.readiness = mk(Readiness, c.ReadinessProbe, before != nil && before.Ready)
	if m.pods[pod.UID] == nil {
		m.pods[pod.UID] = map[string]*target{}
	}
	m.pods[pod.UID][c.Name], m.ids[t.id] = t, t
	return t
}

// start the probes of a container.
func (m *Manager) start(t *target) {
	if t.startup != nil && !t.startup.ok {
		m.schedule(t.startup, m.first(t.startup))
	} else {
		m.begin(t)
	}
}

// adopted is what the API says of a container that ran before this kubelet did.
func adopted(pod *corev1.Pod, id string) *corev1.ContainerStatus {
	for _, l := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range l {
			if n := len(l[i].ContainerID) - len(id); n > 0 && l[i].ContainerID[n:] == id {
				return &l[i]
			}
		}
	}
	return nil
}

// begin liveness and readiness, when startup is through.
func (m *Manager) begin(t *target) {
	for _, p := range []*prober{t.liveness, t.readiness} {
		if p != nil {
			m.schedule(p, m.first(p))
		}
	}
}

// first is when a probe runs for the first time: after its initial delay. Probes of containers that were adopted are
// spread over a period, so that a kubelet that starts does not run all at once.
func (m *Manager) first(p *prober) time.Time {
	at := p.t.started.Add(time.Duration(p.spec.InitialDelaySeconds) * time.Second)
	now := m.cfg.Now()
	if at.After(now) {
		return at
	}
	if p.t.started.Before(m.began) {
		return now.Add(rand.N(period(p.spec)))
	}
	return now
}

func period(s *corev1.Probe) time.Duration {
	return time.Duration(max(s.PeriodSeconds, 1)) * time.Second
}

func (m *Manager) drop(t *target) {
	if t == nil {
		return
	}
	t.gone = true
	delete(m.ids, t.id)
	m.unschedule(t.startup)
	m.unschedule(t.liveness)
	m.unschedule(t.readiness)
}

// Started says whether a container's startup probe succeeded; true for one without.
func (m *Manager) Started(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.ids[id]
	return t == nil || t.startup == nil || t.startup.ok
}

// Ready says whether a container's readiness probe succeeds; true for one without.
func (m *Manager) Ready(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.ids[id]
	return t == nil || t.readiness == nil || t.readiness.ok
}

// Failed says which probe demands that the container be stopped: "startup probe", "liveness probe" or "".
func (m *Manager) Failed(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.ids[id]
	switch {
	case t == nil:
	case t.startup != nil && t.startup.failed:
		return "startup probe"
	case t.liveness != nil && t.liveness.failed:
		return "liveness probe"
	}
	return ""
}

// Run runs probes until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		m.mu.Lock()
		now := m.cfg.Now()
		for len(m.due) > 0 && !m.due[0].when.After(now) {
			p := heap.Pop(&m.due).(*prober)
			go m.run(ctx, p)
		}
		wait := time.Hour
		if len(m.due) > 0 {
			wait = m.due[0].when.Sub(now)
		}
		m.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-timer.C:
		}
	}
}

func (m *Manager) run(ctx context.Context, p *prober) {
	m.mu.Lock()
	t := p.t
	pod, ip := t.pod, t.ip
	m.mu.Unlock()
	began := m.cfg.Now()
	var ok bool
	var text string
	err := lifecycle.Guard(func() (err error) {
		ok, text, err = check(ctx, p.spec, t.c, t.id, ip, m.cfg.Exec)
		return err
	})
	if ctx.Err() != nil {
		return
	}
	m.mu.Lock()
	gone := t.gone
	m.mu.Unlock()
	if gone {
		return
	}
	m.report(pod, p, ok, text, err)
	m.mu.Lock()
	changed := err == nil && p.count(ok)
	if changed && p.kind == Startup && p.ok {
		m.begin(t)
	} else if !p.failed && !t.gone {
		m.schedule(p, began.Add(period(p.spec)))
	}
	m.mu.Unlock()
	if changed {
		m.cfg.Changed(pod.UID)
	}
}

func (m *Manager) report(pod *corev1.Pod, p *prober, ok bool, text string, err error) {
	result := "successful"
	switch {
	case err != nil:
		result = "unknown"
		m.cfg.Unhealthy(pod, p.t.c.Name, p.kind, string(p.kind)+" probe errored and resulted in unknown state: "+err.Error())
	case !ok:
		result = "failed"
		m.cfg.Unhealthy(pod, p.t.c.Name, p.kind, string(p.kind)+" probe failed: "+text)
	}
	if m.cfg.Count != nil {
		m.cfg.Count(pod, p.t.c.Name, p.kind, result)
	}
}

// count one run, and say whether the result changed.
func (p *prober) count(ok bool) bool {
	if ok != p.last || p.streak == 0 {
		p.last, p.streak = ok, 0
	}
	p.streak++
	need := p.spec.SuccessThreshold
	if !ok {
		need = p.spec.FailureThreshold
		if need == 0 {
			need = 3
		}
	}
	if p.streak < need {
		return false
	}
	if !ok && p.kind != Readiness {
		changed := !p.failed
		p.failed = true
		return changed
	}
	changed := p.ok != ok
	p.ok = ok
	return changed
}

func (m *Manager) schedule(p *prober, at time.Time) {
	m.unschedule(p)
	p.when = at
	heap.Push(&m.due, p)
	if p.index == 0 {
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
}

func (m *Manager) unschedule(p *prober) {
	if p != nil && p.index >= 0 {
		heap.Remove(&m.due, p.index)
	}
}
