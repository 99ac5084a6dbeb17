package status

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"hyperkube/internal/client"
)

// Writer sends statuses to the API. Safe for concurrent use.
type Writer struct {
	c     client.Interface
	ctx   context.Context
	slots chan struct{} // bounds the writes in flight

	mu   sync.Mutex
	pods map[types.UID]*pending
}

type pending struct {
	pod    *corev1.Pod // names it, with the status that the server is known to have
	want   *corev1.PodStatus
	active bool
	done   []func()
}

const (
	writesInFlight = 16
	writeTimeout   = 30 * time.Second
	retryFirst     = 100 * time.Millisecond
	retryMax       = 10 * time.Second
)

// NewWriter makes a writer that works until ctx ends. A nil client makes it do nothing.
func NewWriter(ctx context.Context, c client.Interface) *Writer {
	return &Writer{c: c, ctx: ctx, slots: make(chan struct{}, writesInFlight), pods: map[types.UID]*pending{}}
}

// Set tells the status that the pod should have. It returns at once.
// Each function of done is called when the server has this status or a later one, or the pod is gone.
func (w *Writer) Set(pod *corev1.Pod, s *corev1.PodStatus, done ...func()) {
	if w.c == nil {
		for _, f := range done {
			f()
		}
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.pods[pod.UID]
	if p == nil {
		p = &pending{pod: pod}
		w.pods[pod.UID] = p
	}
	p.want = s
	p.done = append(p.done, done...)
	if !p.active {
		p.active = true
		go w.run(p)
	}
}

// Seen tells the server's version of a pod: the next write is a difference to it, however old the version is that Set is given. What
// others make of a status that the kubelet owns, such as a pod that is not ready because its node was not, is set right.
func (w *Writer) Seen(pod *corev1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.pods[pod.UID]
	if p == nil {
		w.pods[pod.UID] = &pending{pod: pod}
		return
	}
	p.pod = pod
	if p.want != nil && !p.active && differs(&pod.Status, p.want) {
		p.active = true
		go w.run(p)
	}
}

// Forget a pod that is gone.
func (w *Writer) Forget(uid types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.pods[uid]; p != nil {
		p.want = nil
		delete(w.pods, uid)
	}
}

func (w *Writer) run(p *pending) {
	delay := retryFirst
	for {
		w.mu.Lock()
		pod, want, done := p.pod, p.want, p.done
		p.done = nil
		if want == nil || w.ctx.Err() != nil || !differs(&pod.Status, want) {
			p.active = false
			w.mu.Unlock()
			call(done)
			return
		}
		w.mu.Unlock()
		got, err := w.write(pod, want)
		w.mu.Lock()
		switch {
		case err == nil:
			delay = retryFirst
			if newer(got, p.pod) {
				p.pod = got
			}
			// What the server made of it is what it has: a field that it does not keep must not be sent for ever.
			if p.want == want {
				p.active = false
				w.mu.Unlock()
				call(done)
				return
			}
			w.mu.Unlock()
			call(done)
		case apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsInvalid(err) && got == nil:
			// Gone, or another pod of the same name, or refused for good.
			if !apierrors.IsNotFound(err) {
				slog.Default().Warn("pod status was refused", "component", "kubelet", "pod", pod.Namespace+"/"+pod.Name, "error", err)
			}
			p.active = false
			w.mu.Unlock()
			call(done)
			return
		default:
			p.done = append(done, p.done...)
			w.mu.Unlock()
			slog.Default().Debug("pod status not written, trying again", "component", "kubelet", "pod", pod.Namespace+"/"+pod.Name, "error", err)
			client.Wait(w.ctx, w.c, delay)
			delay = min(2*delay, retryMax)
		}
	}
}

func call(fs []func()) {
	for _, f := range fs {
		f()
	}
}

// newer compares two versions of one object by their resourceVersion, which is comparable since KEP-5504.
func newer(a, b *corev1.Pod) bool {
	if len(a.ResourceVersion) != len(b.ResourceVersion) {
		return len(a.ResourceVersion) > len(b.ResourceVersion)
	}
	return a.ResourceVersion >= b.ResourceVersion
}

// differs compares what the kubelet owns.
func differs(server, want *corev1.PodStatus) bool {
	return !apiequality.Semantic.DeepEqual(owned(server, want), owned(want, want))
}

// passing are conditions of the kubelet alone that come and go: absence is a value of theirs.
func passing(t corev1.PodConditionType) bool {
	return t == corev1.PodResizePending || t == corev1.PodResizeInProgress
}

// owned is a status without the conditions of others, and with times of the precision that the API keeps.
func owned(s, want *corev1.PodStatus) *corev1.PodStatus {
	out := s.DeepCopy()
	out.Conditions = nil
	for _, w := range want.Conditions {
		if c := condition(s, w.Type); c != nil {
			out.Conditions = append(out.Conditions, *c)
		}
	}
	for _, c := range s.Conditions {
		if passing(c.Type) && condition(want, c.Type) == nil {
			out.Conditions = append(out.Conditions, c)
		}
	}
	data, err := json.Marshal(out)
	if err != nil {
		return out
	}
	var rounded corev1.PodStatus
	if err := json.Unmarshal(data, &rounded); err != nil {
		return out
	}
	// Owned by others.
	rounded.NominatedNodeName, rounded.ResourceClaimStatuses, rounded.ExtendedResourceClaimStatus = "", nil, nil
	return &rounded
}

func (w *Writer) write(pod *corev1.Pod, want *corev1.PodStatus) (*corev1.Pod, error) {
	w.slots <- struct{}{}
	defer func() { <-w.slots }()
	ctx, cancel := context.WithTimeout(w.ctx, writeTimeout)
	defer cancel()
	data, err := patch(pod, want)
	if err != nil {
		return nil, err
	}
	obj, err := w.c.Patch(ctx, client.Pods.GVR, pod.Namespace, pod.Name, types.StrategicMergePatchType, data, metav1.PatchOptions{}, "status")
	if err != nil {
		return nil, err
	}
	got, ok := obj.(*corev1.Pod)
	if !ok {
		return nil, fmt.Errorf("the server answered a patch of a pod with a %T", obj)
	}
	return got, nil
}

// patch makes a strategic merge patch, so that conditions of others stay, bound to the pod's UID.
func patch(pod *corev1.Pod, want *corev1.PodStatus) ([]byte, error) {
	merged := want.DeepCopy()
	for _, c := range pod.Status.Conditions {
		if condition(merged, c.Type) == nil && !passing(c.Type) {
			merged.Conditions = append(merged.Conditions, c)
		}
	}
	merged.NominatedNodeName = pod.Status.NominatedNodeName
	merged.ResourceClaimStatuses = pod.Status.ResourceClaimStatuses
	merged.ExtendedResourceClaimStatus = pod.Status.ExtendedResourceClaimStatus
	before, err := json.Marshal(corev1.Pod{Status: pod.Status})
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: pod.UID}, Status: *merged})
	if err != nil {
		return nil, err
	}
	return strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Pod{})
}
