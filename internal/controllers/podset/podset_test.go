package podset

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var now = time.Unix(1_000_000, 0)

func pod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(now.Add(-time.Hour))}}
	p.Spec.NodeName = "n"
	p.Status.Phase = corev1.PodRunning
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-time.Hour))}}
	for _, f := range change {
		f(p)
	}
	return p
}

func TestRankForDeletion(t *testing.T) {
	readyFor := func(d time.Duration) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Status.Conditions[0].LastTransitionTime = metav1.NewTime(now.Add(-d)) }
	}
	pods := []*corev1.Pod{
		pod("old"),
		pod("restarted", func(p *corev1.Pod) { p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: 3}} }),
		pod("dear", func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.PodDeletionCost: "10"} }),
		pod("cheap", func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.PodDeletionCost: "-10"} }),
		pod("fresh", readyFor(time.Second)),
		pod("crowded", func(p *corev1.Pod) { p.Spec.NodeName = "crowd" }),
		pod("not-ready", func(p *corev1.Pod) { p.Status.Conditions = nil }),
		pod("unknown", func(p *corev1.Pod) { p.Status.Phase = corev1.PodUnknown }),
		pod("pending", func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }),
		pod("unbound", func(p *corev1.Pod) { p.Spec.NodeName = "" }),
	}
	related := append([]*corev1.Pod{}, pods...)
	for range 20 {
		related = append(related, pod("other", func(p *corev1.Pod) { p.Spec.NodeName = "crowd" }))
	}
	RankForDeletion(pods, related, now)
	var names []string
	for _, p := range pods {
		names = append(names, p.Name)
	}
	require.Equal(t, "unbound pending unknown not-ready cheap crowded fresh restarted old dear", strings.Join(names, " "))
}

func TestAvailable(t *testing.T) {
	p := pod("p", func(p *corev1.Pod) {
		p.Status.Conditions[0].LastTransitionTime = metav1.NewTime(now.Add(-5 * time.Second))
	})
	require.True(t, IsAvailable(p, 0, now))
	require.True(t, IsAvailable(p, 5, now))
	require.False(t, IsAvailable(p, 6, now))
	left, ok := UntilAvailable(p, 8, now)
	require.True(t, ok)
	require.Equal(t, 3*time.Second, left)
	_, ok = UntilAvailable(pod("q", func(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }), 0, now)
	require.False(t, ok)
}

func TestExpectations(t *testing.T) {
	e := NewExpectations[string]()
	met := func(at time.Time) bool { ok, _ := e.Met("a", at); return ok }
	require.True(t, met(now))
	e.ExpectCreates("a", 2, now)
	e.ExpectDeletes("a", now, "x")
	require.False(t, met(now))
	e.Created("a")
	e.Deleted("a", "x")
	e.Deleted("a", "somebody else")
	require.False(t, met(now))
	e.Created("a")
	require.True(t, met(now))
	e.Created("a") // an echo that nobody waits for
	e.ExpectCreates("a", 1, now)
	require.False(t, met(now), "an early echo does not count for a later creation")
	require.True(t, met(now.Add(ExpectationTimeout)), "nothing is waited for for ever")
}

func TestCreatingAndDeleting(t *testing.T) {
	e := NewExpectations[string]()
	done, err := e.Creating("a", 10, func(i int) error {
		if i == 2 {
			return errors.New("no")
		}
		return nil
	})
	require.ErrorContains(t, err, "no")
	require.Equal(t, 2, done)
	_, waits := e.open["a"]
	require.True(t, waits)
	require.Equal(t, 2, e.open["a"].creates, "only what was made is waited for")
	_, err = e.Creating("b", 1, func(int) error { return fmt.Errorf("%w: ns", ErrNamespaceEnding) })
	require.NoError(t, err)
	met, _ := e.Met("b", now)
	require.True(t, met)
	gone := apierrors.NewNotFound(corev1.Resource("pods"), "gone")
	done, err = e.Deleting("c", []*corev1.Pod{pod("gone"), pod("here", func(p *corev1.Pod) { p.UID = "here" })}, func(p *corev1.Pod) error {
		if p.Name == "gone" {
			return gone
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 2, done)
	require.Len(t, e.open["c"].deletes, 1)
}

func TestSlowStart(t *testing.T) {
	for _, c := range []struct{ n, failFrom, done, tried int }{
		{0, 0, 0, 0}, {1, 9, 1, 1}, {10, 99, 10, 10}, {10, 0, 0, 1}, {100, 5, 5, 7}, {1000, 9999, 1000, 1000},
	} {
		var tried counter
		done, err := SlowStart(c.n, func(i int) error {
			tried.add()
			if i >= c.failFrom {
				return errors.New("no")
			}
			return nil
		})
		require.Equal(t, c.done, done, "%+v", c)
		require.Equal(t, c.tried, tried.get(), "%+v", c)
		require.Equal(t, done < c.n, err != nil)
	}
}

func TestNamePrefix(t *testing.T) {
	require.Equal(t, "web-", namePrefix("web"))
}

func TestWatcher(t *testing.T) {
	var said []string
	say := func(what string) func(string, *metav1.OwnerReference) {
		return func(_ string, r *metav1.OwnerReference) { said = append(said, what+" "+r.Name) }
	}
	w := Watcher{
		Kind: "Set", Enqueue: say("look"), Created: say("created"),
		Deleted: func(_ string, r *metav1.OwnerReference, _ types.UID) { said = append(said, "deleted "+r.Name) },
		Orphan:  func(p *corev1.Pod) { said = append(said, "orphan "+p.Name) },
	}
	owned := func(by string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			yes := true
			p.OwnerReferences = []metav1.OwnerReference{{Kind: "Set", Name: by, UID: types.UID(by), Controller: &yes}}
		}
	}
	doomed := func(p *corev1.Pod) { t := metav1.NewTime(now); p.DeletionTimestamp = &t }
	for name, c := range map[string]struct {
		old, new *corev1.Pod
		want     string
	}{
		"new":                 {nil, pod("p", owned("a")), "created a, look a"},
		"new orphan":          {nil, pod("p"), "orphan p"},
		"seen when doomed":    {nil, pod("p", owned("a"), doomed), "deleted a, look a"},
		"gone":                {pod("p", owned("a")), nil, "deleted a, look a"},
		"doomed":              {pod("p", owned("a")), pod("p", owned("a"), doomed), "deleted a, look a"},
		"adopted":             {pod("p"), pod("p", owned("a")), "look a"},
		"released":            {pod("p", owned("a")), pod("p"), "look a, orphan p"},
		"handed over":         {pod("p", owned("a")), pod("p", owned("b")), "look a, look b"},
		"relabelled":          {pod("p"), pod("p", func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }), "orphan p"},
		"nothing":             {pod("p", owned("a")), pod("p", owned("a"), func(p *corev1.Pod) { p.Status.HostIP = "192.0.2.1" }), ""},
		"not ready":           {pod("p", owned("a")), pod("p", owned("a"), func(p *corev1.Pod) { p.Status.Conditions = nil }), "look a"},
		"another of the name": {pod("p", owned("a")), pod("p", owned("a"), func(p *corev1.Pod) { p.UID = "2" }), "deleted a, look a, created a, look a"},
	} {
		said = nil
		w.change(c.old, c.new)
		require.Equal(t, c.want, strings.Join(said, ", "), name)
	}
}

type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add()     { c.mu.Lock(); c.n++; c.mu.Unlock() }
func (c *counter) get() int { c.mu.Lock(); defer c.mu.Unlock(); return c.n }
