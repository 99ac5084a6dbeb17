package pods

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/lifecycle"
	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/plan"
)

type stage int

const (
	syncing stage = iota
	terminating
	terminated
)

// pod is one pod of the node. mu guards all fields but those of the step, which only the pod's own step touches.
type pod struct {
	uid   types.UID
	since time.Time // when this kubelet first saw it

	mu       sync.Mutex
	obj      *corev1.Pod // with the resources that it was given
	wanted   *corev1.Pod // as the API has it
	gone     bool        // from the API, or from the static pods
	stage    stage
	active   bool // a step is in progress
	dirty    bool // something happened that no step has looked at
	late     bool // a refresh of the status is due
	cancel   context.CancelFunc
	timer    *time.Timer
	admitted bool
	failure  *failure
	seen     *cri.Pod
	status   *corev1.PodStatus
	waiting  map[string]corev1.ContainerStateWaiting
	messages map[string]string // termination messages, by container ID
	starting string            // the container whose postStart hook is to run, or runs

	// Of changes of its resources.
	allocated   *allocation
	judged      int64                // the generation whose resources were judged last
	pending     *corev1.PodCondition // why the API's resources are not given
	resizing    bool                 // given and not carried out yet
	resizeError string

	// observe is held while the runtime is read and the status made of it, so that an older reading never replaces a newer.
	observe sync.Mutex

	// Of the step.
	backoff  plan.Backoff
	retry    time.Duration
	hooked   map[string]bool // containers whose preStop hook was run, by ID
	grace    int64           // of the termination in progress
	over     bool            // nothing of it runs any more
	finalize bool            // the final status is on its way
	cleaned  bool
	counted  bool // in the measure of start times
}

// failure ends a pod that stays in the API.
type failure struct {
	reason, message string
	grace           *int64
	disrupted       bool // the pod did nothing wrong: the node ends it
}

func (p *pod) object() *corev1.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.obj
}

func (p *pod) withStatus() *corev1.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status == nil {
		return p.obj
	}
	out := *p.obj
	out.Status = *p.status
	return &out
}

func (p *pod) isStarting(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.starting == id
}

func (p *pod) setStarting(id string) {
	p.mu.Lock()
	p.starting = id
	p.mu.Unlock()
}

// update takes a newer version. A deletion, or a shorter grace period, interrupts the step in progress.
func (p *pod) update(obj *corev1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.obj
	p.take(obj)
	was, is := deletion(old), deletion(obj)
	if is != nil && (was == nil && p.stage == syncing || p.stage == terminating && *is < p.grace) {
		p.interrupt()
	}
}

// deletion is the grace period of a pod that is being deleted; nil when it is not.
func deletion(obj *corev1.Pod) *int64 {
	if obj.DeletionTimestamp == nil {
		return nil
	}
	if g := obj.DeletionGracePeriodSeconds; g != nil {
		return g
	}
	zero := int64(0)
	return &zero
}

func (p *pod) remove() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	p.interrupt()
}

// fail ends the pod as a whole. A step of its own that finds it failed goes on to end it; the step in progress of a pod that
// somebody else ends is interrupted.
func (p *pod) fail(reason, message string, grace *int64, disrupt bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failure != nil {
		return
	}
	p.failure = &failure{reason, message, grace, disrupt}
	if disrupt {
		p.interrupt()
	}
}

func (p *pod) interrupt() {
	if p.cancel != nil {
		p.cancel()
	}
}

// refreshDelay is how long a status waits for the step in progress to end, and to be told with its outcome.
const refreshDelay = 150 * time.Millisecond

// wake has the pod looked at: by a new goroutine, or by the one at work when it is through with its step.
func (m *Manager) wake(p *pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.ctx.Err() != nil {
		return
	}
	p.dirty = true
	if !p.active {
		p.active = true
		m.wg.Add(1)
		go m.work(p)
		return
	}
	if !p.late {
		p.late = true
		time.AfterFunc(refreshDelay, func() { m.refresh(p) })
	}
}

// refresh the status of a pod whose step takes long.
func (m *Manager) refresh(p *pod) {
	p.mu.Lock()
	p.late = false
	busy := p.active
	p.mu.Unlock()
	if !busy || m.ctx.Err() != nil {
		return
	}
	err := lifecycle.Guard(func() error {
		_, err := m.look(m.ctx, p)
		return err
	})
	if err != nil {
		m.log.Debug("status not refreshed", "pod", name(p.object()), "error", err)
	}
}

func (m *Manager) work(p *pod) {
	defer m.wg.Done()
	for {
		p.mu.Lock()
		if !p.dirty || m.ctx.Err() != nil {
			p.active, p.cancel = false, nil
			p.mu.Unlock()
			return
		}
		p.dirty = false
		if p.timer != nil {
			p.timer.Stop()
			p.timer = nil
		}
		ctx, cancel := context.WithCancel(m.ctx)
		p.cancel = cancel
		p.mu.Unlock()
		again := m.step(ctx, p)
		cancel()
		if again > 0 {
			p.mu.Lock()
			p.timer = time.AfterFunc(again, func() { m.wake(p) })
			p.mu.Unlock()
		}
	}
}

// step does what the pod needs now, and says after which time it wants to be looked at again; 0 is not before something happens.
func (m *Manager) step(ctx context.Context, p *pod) time.Duration {
	var again time.Duration
	err := lifecycle.Guard(func() (err error) {
		again, err = m.stageStep(ctx, p)
		return err
	})
	if err == nil {
		p.retry = 0
		return again
	}
	if ctx.Err() != nil {
		// Interrupted by a deletion, which marked the pod.
		return 0
	}
	p.retry = min(max(2*p.retry, firstRetry), maxRetry)
	m.log.Info("pod not in sync", "pod", name(p.object()), "error", err, "retryIn", p.retry)
	if again > 0 {
		return min(again, p.retry)
	}
	return p.retry
}

const (
	firstRetry = 500 * time.Millisecond
	maxRetry   = 10 * time.Second
)

func (m *Manager) stageStep(ctx context.Context, p *pod) (time.Duration, error) {
	p.mu.Lock()
	if p.stage == syncing && p.mustEnd() {
		p.stage = terminating
	}
	st := p.stage
	p.mu.Unlock()
	if st == syncing {
		again, done, err := m.sync(ctx, p)
		if !done {
			return again, err
		}
		p.mu.Lock()
		p.stage = terminating
		p.mu.Unlock()
		st = terminating
	}
	if st == terminating {
		if err := m.terminate(ctx, p); err != nil {
			return 0, err
		}
		p.mu.Lock()
		p.stage = terminated
		p.mu.Unlock()
	}
	return m.terminatedStep(ctx, p)
}

// mustEnd: the pod is being deleted, is gone, failed as a whole, or had ended before this kubelet started.
func (p *pod) mustEnd() bool {
	ph := p.obj.Status.Phase
	return p.obj.DeletionTimestamp != nil || p.gone || p.failure != nil || ph == corev1.PodSucceeded || ph == corev1.PodFailed
}

func name(obj *corev1.Pod) string { return obj.Namespace + "/" + obj.Name }
