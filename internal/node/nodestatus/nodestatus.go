// Package nodestatus is the node in the API: it registers the Node object, keeps its status true and renews its lease.
//
// The node becomes Ready as soon as the runtime and its network are: while they are not, the runtime is asked again and again
// at short, growing intervals; afterwards only when the event stream breaks and at every renewal of the lease.
// The status is written when it changes, and every five minutes otherwise; the lease every quarter of its duration.
package nodestatus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/node/cri"
)

// Config of a node.
type Config struct {
	Client      client.Interface // nil: nothing is registered, but readiness is still followed
	CRI         *cri.Client
	Name        string
	Hostname    string
	IPs         []string
	Labels      map[string]string
	Taints      []corev1.Taint
	ProviderID  string
	Register    bool
	Port        int32
	Version     string
	Machine     *Machine
	Capacity    corev1.ResourceList
	Allocatable corev1.ResourceList
	Pressure    func() (Pressure, error)
	MaxImages   int // in the status; negative is all
	// LeaseDuration is in seconds; the lease is renewed every quarter of it.
	LeaseDuration int32
	ReportEvery   time.Duration
	// Event tells of changes of readiness.
	Event func(reason, message string)
	Now   func() time.Time
}

// Manager of the node's object. Safe for concurrent use.
type Manager struct {
	cfg   Config
	log   *slog.Logger
	kick  chan struct{}
	ready chan struct{}
	once  sync.Once

	mu         sync.Mutex
	runtimeErr error // why the runtime is not ready
	networkErr error
	handlers   []corev1.NodeRuntimeHandler
	features   *corev1.NodeFeatures
	runtime    string
	onReady    func()

	seen *corev1.Node // the newest that the server told; nil when nothing new was
	lost bool         // the server told that it was deleted

	node     *corev1.Node // as last written or read; only the run loop uses it
	reported time.Time
}

var errNotChecked = errors.New("container runtime status check may not have completed yet")

// New makes a manager.
func New(cfg Config) *Manager {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.ReportEvery == 0 {
		cfg.ReportEvery = 5 * time.Minute
	}
	if cfg.LeaseDuration == 0 {
		cfg.LeaseDuration = 40
	}
	return &Manager{cfg: cfg, log: slog.Default().With("component", "kubelet"), kick: make(chan struct{}, 1),
		ready: make(chan struct{}), runtimeErr: errNotChecked, networkErr: errNotChecked}
}

// Ready is closed when the API knows the node as Ready; without an API, when the runtime and the network are.
func (m *Manager) Ready() <-chan struct{} { return m.ready }

// OnNetwork has f called whenever the network becomes ready.
func (m *Manager) OnNetwork(f func()) {
	m.mu.Lock()
	m.onReady = f
	m.mu.Unlock()
}

// Kick has the node looked at now: the runtime came or went, an image was pulled.
func (m *Manager) Kick() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// Seen tells the server's version of the node, nil when it was deleted: what others changed of the status is set right, and
// a node that was deleted registers again.
func (m *Manager) Seen(n *corev1.Node) {
	m.mu.Lock()
	healthy := m.runtimeErr == nil && m.networkErr == nil
	m.seen, m.lost = n, n == nil
	m.mu.Unlock()
	if n == nil || isReady(n) != healthy {
		m.Kick()
	}
}

// takeSeen takes over what the server told.
func (m *Manager) takeSeen() {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.lost:
		m.node = nil
	case m.seen != nil && m.node != nil && newer(m.seen, m.node):
		m.node = m.seen
	}
	m.seen, m.lost = nil, false
}

// newer compares two versions of the node by resourceVersion, which is comparable (KEP-5504).
func newer(a, b *corev1.Node) bool {
	if a.UID != b.UID {
		return true
	}
	if len(a.ResourceVersion) != len(b.ResourceVersion) {
		return len(a.ResourceVersion) > len(b.ResourceVersion)
	}
	return a.ResourceVersion > b.ResourceVersion
}

// NetworkReady says why pods cannot have a network; nil when they can.
func (m *Manager) NetworkReady() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.runtimeErr != nil {
		return m.runtimeErr
	}
	return m.networkErr
}

// Bounds of the interval at which a runtime that is not ready is asked.
const (
	recheckMin = 20 * time.Millisecond
	recheckMax = time.Second
)

// Run until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	if m.cfg.Client != nil {
		wg.Add(1)
		go func() { defer wg.Done(); m.renew(ctx) }()
	}
	beat := time.Duration(m.cfg.LeaseDuration) * time.Second / 4
	recheck := recheckMin
	for ctx.Err() == nil {
		m.checkRuntime(ctx)
		err := m.report(ctx)
		wait := beat
		if err != nil && ctx.Err() == nil {
			m.log.Info("node status not written", "error", err, "retryIn", recheck)
		}
		if err != nil || m.NetworkReady() != nil {
			wait = recheck
			recheck = min(recheck*3/2, recheckMax)
		} else {
			recheck = recheckMin
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-m.kick:
		case <-t.C:
		}
		t.Stop()
	}
	wg.Wait()
	return nil
}

// checkRuntime asks the runtime for its conditions.
func (m *Manager) checkRuntime(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	resp, err := m.cfg.CRI.Runtime.Status(ctx, &rt.StatusRequest{})
	var version *rt.VersionResponse
	m.mu.Lock()
	known := m.runtime != ""
	m.mu.Unlock()
	if err == nil && !known {
		version, err = m.cfg.CRI.Runtime.Version(ctx, &rt.VersionRequest{})
	}
	m.mu.Lock()
	before := m.networkErr
	if err != nil {
		m.runtimeErr = fmt.Errorf("container runtime is down: %w", err)
	} else {
		m.runtimeErr, m.networkErr = conditions(resp.GetStatus())
		m.handlers, m.features = handlers(resp)
	}
	if version != nil {
		m.runtime = version.RuntimeName + "://" + version.RuntimeVersion
	}
	var f func()
	if before != nil && m.networkErr == nil && m.runtimeErr == nil {
		f = m.onReady
	}
	m.mu.Unlock()
	if f != nil {
		f()
	}
}

func conditions(s *rt.RuntimeStatus) (runtime, network error) {
	runtime, network = errors.New("container runtime not ready"), errors.New("container runtime network not ready")
	for _, c := range s.GetConditions() {
		var err error
		if !c.Status {
			err = fmt.Errorf("%s=false reason:%s message:%s", c.Type, c.Reason, c.Message)
		}
		switch c.Type {
		case "RuntimeReady":
			runtime = wrap("container runtime not ready: ", err)
		case "NetworkReady":
			network = wrap("container runtime network not ready: ", err)
		}
	}
	return runtime, network
}

func wrap(prefix string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s%w", prefix, err)
}

func handlers(r *rt.StatusResponse) ([]corev1.NodeRuntimeHandler, *corev1.NodeFeatures) {
	var out []corev1.NodeRuntimeHandler
	for _, h := range r.RuntimeHandlers {
		n := corev1.NodeRuntimeHandler{Name: h.Name}
		if f := h.Features; f != nil {
			n.Features = &corev1.NodeRuntimeHandlerFeatures{RecursiveReadOnlyMounts: &f.RecursiveReadOnlyMounts, UserNamespaces: &f.UserNamespaces}
		}
		out = append(out, n)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	if r.Features == nil {
		return out, nil
	}
	return out, &corev1.NodeFeatures{SupplementalGroupsPolicy: &r.Features.SupplementalGroupsPolicy}
}

// report registers the node, or writes what changed of it.
func (m *Manager) report(ctx context.Context) error {
	if m.cfg.Client == nil {
		if m.NetworkReady() == nil {
			m.once.Do(func() { close(m.ready) })
		}
		return nil
	}
	m.takeSeen()
	if m.node == nil {
		if err := m.register(ctx); err != nil {
			return err
		}
	}
	old := m.node
	next := old.DeepCopy()
	if err := m.fill(ctx, next); err != nil {
		return err
	}
	now := m.cfg.Now()
	if changed(old, next) || now.Sub(m.reported) >= m.cfg.ReportEvery {
		got, err := m.write(ctx, old, next)
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			m.node = nil // deleted, or replaced: register anew
		}
		if err != nil {
			return err
		}
		m.node, m.reported = got, now
		m.tellReady(old, got)
	}
	if isReady(m.node) {
		m.once.Do(func() { close(m.ready) })
	}
	return nil
}

func (m *Manager) tellReady(old, now *corev1.Node) {
	if a, b := isReady(old), isReady(now); a != b && m.cfg.Event != nil {
		reason := "NodeNotReady"
		if b {
			reason = "NodeReady"
		}
		m.cfg.Event(reason, fmt.Sprintf("Node %s status is now: %s", m.cfg.Name, reason))
	}
}

func isReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// changed compares two nodes but for the times of heartbeats.
func changed(a, b *corev1.Node) bool {
	still := func(n *corev1.Node) *corev1.NodeStatus {
		s := n.Status.DeepCopy()
		for i := range s.Conditions {
			s.Conditions[i].LastHeartbeatTime = metav1.Time{}
		}
		return s
	}
	return !apiequality.Semantic.DeepEqual(still(a), still(b))
}

func (m *Manager) write(ctx context.Context, old, next *corev1.Node) (*corev1.Node, error) {
	before, err := json.Marshal(corev1.Node{Status: old.Status})
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(corev1.Node{ObjectMeta: metav1.ObjectMeta{UID: old.UID}, Status: next.Status})
	if err != nil {
		return nil, err
	}
	data, err := strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Node{})
	if err != nil {
		return nil, err
	}
	if data, err = replaceAddresses(data, next.Status.Addresses); err != nil {
		return nil, err
	}
	obj, err := m.cfg.Client.Patch(ctx, client.Nodes.GVR, "", m.cfg.Name, types.StrategicMergePatchType, data, metav1.PatchOptions{}, "status")
	if err != nil {
		return nil, err
	}
	got, ok := obj.(*corev1.Node)
	if !ok {
		return nil, fmt.Errorf("the server answered a patch of a node with a %T", obj)
	}
	return got, nil
}

// replaceAddresses makes the patch replace the whole list: its merge key is the type, of which there may be several.
func replaceAddresses(patch []byte, addresses []corev1.NodeAddress) ([]byte, error) {
	if !strings.Contains(string(patch), `"addresses"`) {
		return patch, nil
	}
	var p map[string]any
	if err := json.Unmarshal(patch, &p); err != nil {
		return nil, err
	}
	st, ok := p["status"].(map[string]any)
	if !ok {
		return patch, nil
	}
	list := []any{}
	for _, a := range addresses {
		list = append(list, map[string]any{"type": a.Type, "address": a.Address})
	}
	st["addresses"] = append(list, map[string]any{"$patch": "replace"})
	delete(st, "$setElementOrder/addresses")
	return json.Marshal(p)
}
