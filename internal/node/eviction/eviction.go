// Package eviction ends pods that use more local storage than they may, and pods of a node that runs out of memory, disk or
// process numbers before the kernel ends what it likes.
//
// [Manager.Run] looks at the node every few seconds. Limits of single pods come first (emptyDir sizeLimit, ephemeral-storage);
// then, where a resource of the node is below its threshold, one pod at a time is ended: those that use more
// than they asked for first, then the least important, then the greediest. Unused images go before any pod when it is the disk.
// Critical pods (static ones, and those of the system's priorities) are never ended.
//
// [Manager.Pressure] is what the node's conditions say; a pressure is told for five minutes after it was last seen, lest the node
// swing between two states. [Manager.Refuse] keeps pods away from a node under pressure.
package eviction

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"

	"hyperkube/internal/node/cgroup"
	"hyperkube/internal/node/nodestatus"
)

// Reason of evicted pods and of their events.
const Reason = "Evicted"

// Config of a Manager.
type Config struct {
	RootDir    string
	Thresholds nodestatus.Thresholds
	Soft       Soft
	// Pods are those that run, or are about to.
	Pods func() []*corev1.Pod
	// Memory and processes of a pod. cgroup.ErrNotFound is for one that has just ended.
	Stats func(types.UID) (*cgroup.Stats, error)
	// Disk is what a pod has on the node's disk.
	Disk func(ctx context.Context, pod *corev1.Pod) (*Disk, error)
	// End a pod for a reason, within a grace period in seconds.
	End func(pod *corev1.Pod, message string, grace int64)
	// Reclaim removes what nobody uses from the disk.
	Reclaim func(ctx context.Context) error
	// Changed is told when a pressure came or went.
	Changed func()

	Every      time.Duration // 10 s
	Transition time.Duration // 5 min
	Now        func() time.Time
	Read       func(rootDir string) (nodestatus.Signals, error) // nodestatus.ReadSignals
}

// Soft are thresholds that end pods only when they have been passed for a time, by resource.
type Soft struct {
	nodestatus.Thresholds
	After map[corev1.ResourceName]time.Duration
	// MaxGrace bounds the pods' own grace periods, in seconds.
	MaxGrace int64
}

// grace is what an evicted pod gets to end by itself, in seconds.
const grace = 1

// Manager ends pods. Safe for concurrent use.
type Manager struct {
	cfg Config
	log *slog.Logger

	mu   sync.Mutex
	last map[corev1.NodeConditionType]time.Time // when each pressure was last seen
	soft map[corev1.ResourceName]time.Time      // since when soft thresholds are passed

	ended *prometheus.CounterVec
}

// Ended counts the pods that were ended, by the signal that asked for it.
func (m *Manager) Ended() prometheus.Collector { return m.ended }

// New makes a manager.
func New(cfg Config) *Manager {
	if cfg.Every == 0 {
		cfg.Every = 10 * time.Second
	}
	if cfg.Transition == 0 {
		cfg.Transition = 5 * time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Read == nil {
		cfg.Read = nodestatus.ReadSignals
	}
	return &Manager{cfg: cfg, log: slog.Default().With("component", "kubelet"), last: map[corev1.NodeConditionType]time.Time{},
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kubelet_evictions", Help: "Cumulative number of pod evictions by eviction signal"}, []string{"eviction_signal"})}
}

// Run until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	t := time.NewTicker(m.cfg.Every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := m.Check(ctx); err != nil && ctx.Err() == nil {
			m.log.Warn("shortage of resources not looked for", "error", err)
		}
	}
}

// Check looks once.
func (m *Manager) Check(ctx context.Context) error {
	if m.overLimits(ctx) {
		return nil
	}
	s, err := m.observe()
	if err != nil {
		return err
	}
	short := s.Below(m.cfg.Thresholds)
	if len(short) == 0 {
		m.checkSoft(ctx, s)
		return nil
	}
	if short[0].Condition == corev1.NodeDiskPressure && m.cfg.Reclaim != nil {
		if err := m.cfg.Reclaim(ctx); err != nil {
			m.log.Warn("disk space not reclaimed", "error", err)
		}
		if s, err = m.observe(); err != nil {
			return err
		}
		if short = s.Below(m.cfg.Thresholds); len(short) == 0 {
			return nil
		}
	}
	m.evictOne(ctx, short[0], func(*corev1.Pod) int64 { return grace })
	return nil
}

// checkSoft looks at the soft thresholds, when no hard one is passed.
func (m *Manager) checkSoft(ctx context.Context, s nodestatus.Signals) {
	now := m.cfg.Now()
	passed := map[corev1.ResourceName]time.Time{}
	var due *nodestatus.Shortage
	for _, short := range s.Below(m.cfg.Soft.Thresholds) {
		since, was := m.soft[short.Resource]
		if !was {
			since = now
		}
		passed[short.Resource] = since
		if due == nil && now.Sub(since) >= m.cfg.Soft.After[short.Resource] {
			due = &short
		}
	}
	m.soft = passed
	if due != nil {
		m.evictOne(ctx, *due, func(p *corev1.Pod) int64 {
			own := int64(corev1.DefaultTerminationGracePeriodSeconds)
			if g := p.Spec.TerminationGracePeriodSeconds; g != nil {
				own = *g
			}
			return max(min(own, m.cfg.Soft.MaxGrace), grace)
		})
	}
}

// observe reads the node, and tells when a pressure came or went.
func (m *Manager) observe() (nodestatus.Signals, error) {
	s, err := m.cfg.Read(m.cfg.RootDir)
	if err != nil {
		return s, err
	}
	now := m.cfg.Now()
	m.mu.Lock()
	before := m.pressure(now)
	m.note(s, now)
	changed := before != m.pressure(now)
	m.mu.Unlock()
	if changed && m.cfg.Changed != nil {
		m.cfg.Changed()
	}
	return s, nil
}

// Pressure is what the node runs short of, or did a short while ago.
func (m *Manager) Pressure() (nodestatus.Pressure, error) {
	s, err := m.cfg.Read(m.cfg.RootDir)
	if err != nil {
		return nodestatus.Pressure{}, err
	}
	now := m.cfg.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note(s, now)
	return m.pressure(now), nil
}

// note what is short now, by either kind of threshold. m.mu is held.
func (m *Manager) note(s nodestatus.Signals, now time.Time) {
	for _, b := range append(s.Below(m.cfg.Thresholds), s.Below(m.cfg.Soft.Thresholds)...) {
		m.last[b.Condition] = now
	}
}

func (m *Manager) pressure(now time.Time) nodestatus.Pressure {
	under := func(t corev1.NodeConditionType) bool {
		at, ok := m.last[t]
		return ok && now.Sub(at) < m.cfg.Transition
	}
	return nodestatus.Pressure{Memory: under(corev1.NodeMemoryPressure), Disk: under(corev1.NodeDiskPressure), PID: under(corev1.NodePIDPressure)}
}

// Refuse says why a node under pressure does not take a pod; "" when it does. Pods that asked for something are taken while
// only memory is short, and critical ones always.
func (m *Manager) Refuse(pod *corev1.Pod) string {
	m.mu.Lock()
	p := m.pressure(m.cfg.Now())
	m.mu.Unlock()
	var all []corev1.NodeConditionType
	for _, c := range []struct {
		on bool
		t  corev1.NodeConditionType
	}{{p.Memory, corev1.NodeMemoryPressure}, {p.Disk, corev1.NodeDiskPressure}, {p.PID, corev1.NodePIDPressure}} {
		if c.on {
			all = append(all, c.t)
		}
	}
	if len(all) == 0 || critical(pod) {
		return ""
	}
	if len(all) == 1 && p.Memory && (cgroup.QoS(pod) != corev1.PodQOSBestEffort || tolerates(pod, corev1.TaintNodeMemoryPressure)) {
		return ""
	}
	return fmt.Sprintf("The node had condition: %v. ", all)
}

func tolerates(pod *corev1.Pod, taint string) bool {
	return corev1helpers.TolerationsTolerateTaint(klog.Background(), pod.Spec.Tolerations, &corev1.Taint{Key: taint, Effect: corev1.TaintEffectNoSchedule}, false)
}
