// Package pods runs the pods of a node: it brings each from its spec to running containers, keeps it there, and ends it.
//
// A pod goes through three stages and never back: syncing (containers are started and restarted as its plan says),
// terminating (containers are stopped within the grace period), terminated (volumes, cgroup and, once the pod is to be
// deleted, the API object and everything in the runtime are removed).
//
// Each pod's work is serial. A goroutine exists only while there is something to do: whatever concerns a pod (its
// spec, an event of the runtime, the result of a probe, a changed config map, a timer) marks it with [Manager.Wake], and
// the mark is looked at when the step in progress has ended. A deletion interrupts the step. While a step takes long (a pull, a
// hook) the pod's status is still kept up to date.
package pods

import (
	"context"
	"log/slog"
	"sort"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/objects"
	"hyperkube/internal/node/plan"
	"hyperkube/internal/node/probe"
	"hyperkube/internal/node/spec"
	"hyperkube/internal/node/status"
	"hyperkube/internal/node/volume"
)

// Images gets images onto the node.
type Images interface {
	// EnsureImage makes the image present as the pull policy says, and gives the reference to run it by. An error is
	// a *Waiting where the reason of the container's waiting state is known. It writes the events of the pull.
	EnsureImage(ctx context.Context, pod *corev1.Pod, container, image string, policy corev1.PullPolicy, handler string) (string, error)
}

// Waiting is an error that says why a container does not run: the reason and message of its waiting state.
type Waiting struct{ Reason, Message string }

func (w *Waiting) Error() string { return w.Reason + ": " + w.Message }

// Cgroups keeps the pods' cgroups.
type Cgroups interface {
	// Ensure makes the pod's cgroup with its limits and gives the parent for the runtime.
	Ensure(pod *corev1.Pod) (parent string, err error)
	// Remove the pod's cgroup and everything in it. One that is not there is no error.
	Remove(uid types.UID) error
	// Pods lists those that have a cgroup.
	Pods() ([]types.UID, error)
}

// Users gives pods user IDs of their own.
type Users interface {
	Get(uid types.UID) (*rt.UserNamespace, error)
	Release(uid types.UID)
}

// Events records what happens to pods.
type Events interface {
	Event(pod *corev1.Pod, container, eventType, reason, message string)
}

// Config is what the manager works with.
type Config struct {
	CRI     *cri.Client
	Client  client.Interface // nil without an API server
	Volumes *volume.Manager
	Objects *objects.Cache
	Images  Images
	Cgroups Cgroups
	Users   Users
	Events  Events
	Writer  *status.Writer
	Node    *spec.Node
	HostIPs func() []string
	// Services are those whose variables pods see; they have been listed once when ServicesReady returns nil.
	Services      func() []*corev1.Service
	ServicesReady func(ctx context.Context) error
	// StatusTarget is the API object that a pod's status belongs to: the mirror of a static pod, or the pod. nil when there is none (yet).
	StatusTarget func(pod *corev1.Pod) *corev1.Pod
	// Admit judges a pod that is new on this node, given those that are there.
	Admit func(pod *corev1.Pod, others []*corev1.Pod) *Refusal
	// Fit judges a change of resources; nil grants all.
	Fit Fit
	// NetworkReady says why sandboxes cannot have a network yet; nil when they can.
	NetworkReady func() error

	LogDir           string // of pods: /var/log/pods
	ContainerLogsDir string // links to the logs by container ID; empty makes none
	MaxRestartDelay  time.Duration
	Now              func() time.Time
}

// Refusal is why a pod cannot run on this node: reason and message of its failed status.
type Refusal struct{ Reason, Message string }

// Manager of all pods. Safe for concurrent use.
type Manager struct {
	cfg      Config
	log      *slog.Logger
	probes   *probe.Manager
	measures measures
	slots    chan struct{} // bounds how many containers are made at a time

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	pods    map[types.UID]*pod
	runtime string // its name, for container IDs
}

// startsAtATime is how many sandboxes or containers are being made at once. More does not make them come sooner, but each of
// them later.
const startsAtATime = 8

// New makes a manager.
func New(cfg Config) *Manager {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m := &Manager{cfg: cfg, log: slog.Default().With("component", "kubelet"),
		measures: newMeasures(), slots: make(chan struct{}, startsAtATime), pods: map[types.UID]*pod{}}
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.probes = probe.New(probe.Config{
		Exec:    m.Exec,
		Changed: m.Wake,
		Unhealthy: func(p *corev1.Pod, container string, _ probe.Kind, message string) {
			cfg.Events.Event(p, container, corev1.EventTypeWarning, "Unhealthy", message)
		},
		Count: m.measures.probed,
		Now:   cfg.Now,
	})
	return m
}

// Run keeps the pods going until ctx ends. Containers go on running then.
func (m *Manager) Run(ctx context.Context) error {
	v, err := m.cfg.CRI.Runtime.Version(ctx, &rt.VersionRequest{})
	if err == nil {
		m.setRuntime(v.RuntimeName)
	}
	go m.probes.Run(m.ctx)
	m.cfg.CRI.Watch(ctx, m.Wake, m.reconnected)
	m.stop()
	m.wg.Wait()
	return nil
}

func (m *Manager) setRuntime(name string) {
	m.mu.Lock()
	m.runtime = name
	m.mu.Unlock()
}

func (m *Manager) runtimeName() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.runtime
}

// reconnected looks at every pod: events may have been missed.
func (m *Manager) reconnected() {
	if m.runtimeName() == "" {
		ctx, cancel := context.WithTimeout(m.ctx, 5*time.Second)
		v, err := m.cfg.CRI.Runtime.Version(ctx, &rt.VersionRequest{})
		cancel()
		if err == nil {
			m.setRuntime(v.RuntimeName)
		}
	}
	for _, p := range m.all() {
		m.wake(p)
	}
}

// Update tells of a new pod or a new version of one, with a deletionTimestamp when it is to be ended.
func (m *Manager) Update(obj *corev1.Pod) {
	m.mu.Lock()
	p := m.pods[obj.UID]
	if p == nil {
		p = newPod(obj)
		p.backoff.Max = m.cfg.MaxRestartDelay
		if a := m.loadAllocation(p); a != nil {
			// A resize that was under way goes on; one that was through ends at once.
			p.allocated, p.obj, p.resizing = a, a.apply(obj), true
		}
		m.pods[obj.UID] = p
	}
	m.mu.Unlock()
	m.cfg.Objects.Hold(obj)
	p.update(obj)
	m.wake(p)
}

// Remove tells that a pod is gone from where it came from. What is left of it is ended quickly.
func (m *Manager) Remove(uid types.UID) {
	m.mu.Lock()
	p := m.pods[uid]
	m.mu.Unlock()
	if p == nil {
		return
	}
	p.remove()
	m.wake(p)
}

// End terminates a pod that stays in the API: an eviction. grace is in seconds; nil is the pod's own.
func (m *Manager) End(uid types.UID, reason, message string, grace *int64) {
	m.mu.Lock()
	p := m.pods[uid]
	m.mu.Unlock()
	if p == nil {
		return
	}
	p.fail(reason, message, grace, true)
	m.wake(p)
}

// Wake has a pod looked at.
func (m *Manager) Wake(uid types.UID) {
	m.mu.Lock()
	p := m.pods[uid]
	m.mu.Unlock()
	if p != nil {
		m.wake(p)
	}
}

// WakeAll has every pod looked at.
func (m *Manager) WakeAll() {
	for _, p := range m.all() {
		m.wake(p)
	}
}

func (m *Manager) all() []*pod {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]*pod, 0, len(m.pods))
	for _, p := range m.pods {
		out = append(out, p)
	}
	return out
}

// Pods lists the pods of the node with their present status, by namespace and name.
func (m *Manager) Pods() []*corev1.Pod {
	var out []*corev1.Pod
	for _, p := range m.all() {
		out = append(out, p.withStatus())
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if a.Namespace != b.Namespace {
			return a.Namespace < b.Namespace
		}
		return a.Name < b.Name
	})
	return out
}

// Find a pod by name, with its present status. uid may be empty.
func (m *Manager) Find(namespace, name string, uid types.UID) (*corev1.Pod, bool) {
	for _, p := range m.all() {
		obj := p.object()
		if obj.Namespace == namespace && obj.Name == name && (uid == "" || uid == obj.UID) {
			return p.withStatus(), true
		}
	}
	return nil, false
}

// Seen is what the runtime had of a pod when it was last looked at; nil for an unknown one.
func (m *Manager) Seen(uid types.UID) *cri.Pod {
	m.mu.Lock()
	p := m.pods[uid]
	m.mu.Unlock()
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// Active are the pods that run here or are about to, with their present status.
func (m *Manager) Active() []*corev1.Pod {
	var out []*corev1.Pod
	for _, p := range m.all() {
		p.mu.Lock()
		on := p.stage == syncing && p.admitted && !p.mustEnd()
		p.mu.Unlock()
		if on {
			out = append(out, p.withStatus())
		}
	}
	return out
}

// active are the pods that take up resources of the node: those that have not ended.
func (m *Manager) active(except types.UID) []*corev1.Pod {
	var out []*corev1.Pod
	for _, p := range m.all() {
		p.mu.Lock()
		if p.obj.UID != except && p.stage != terminated && p.admitted {
			out = append(out, p.obj)
		}
		p.mu.Unlock()
	}
	return out
}

func newPod(obj *corev1.Pod) *pod {
	return &pod{
		obj: obj, wanted: obj, allocated: allocationOf(obj), judged: obj.Generation, uid: obj.UID, since: time.Now(),
		waiting: map[string]corev1.ContainerStateWaiting{}, hooked: map[string]bool{}, messages: map[string]string{},
		backoff: plan.Backoff{},
	}
}
