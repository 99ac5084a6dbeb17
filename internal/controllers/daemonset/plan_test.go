package daemonset

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"hyperkube/internal/controllers/history"
)

var now = time.Unix(10000, 0)

func daemon(surge, unavailable string) *appsv1.DaemonSet {
	s, u := intstr.Parse(surge), intstr.Parse(unavailable)
	ds := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "ds", UID: "u"}}
	ds.Spec.UpdateStrategy = appsv1.DaemonSetUpdateStrategy{Type: appsv1.RollingUpdateDaemonSetStrategyType, RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxSurge: &s, MaxUnavailable: &u}}
	return ds
}

func nodes(names ...string) (out []*corev1.Node) {
	for _, n := range names {
		out = append(out, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n}})
	}
	return out
}

// pods reads "node:what…": o or n (old or new), then x for one that is not ready, d for one being deleted, f for failed.
func pods(texts ...string) (out []*corev1.Pod) {
	for i, text := range texts {
		node, what, _ := strings.Cut(text, ":")
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: text, CreationTimestamp: metav1.Unix(int64(i), 0), Labels: map[string]string{history.HashLabel: what[:1]}}}
		p.Spec.NodeName = node
		p.Status.Phase = corev1.PodRunning
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Unix(0, 0)}}
		for _, c := range what[1:] {
			switch c {
			case 'x':
				p.Status.Conditions = nil
			case 'd':
				at := metav1.NewTime(now)
				p.DeletionTimestamp = &at
			case 'f':
				p.Status.Phase = corev1.PodFailed
			}
		}
		out = append(out, p)
	}
	return out
}

func describe(p plan) string {
	var out []string
	for _, n := range p.create {
		out = append(out, "+"+n)
	}
	for _, x := range p.remove {
		out = append(out, "-"+x.Name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func always(string) bool { return true }

func TestManage(t *testing.T) {
	for name, c := range map[string]struct {
		ds   *appsv1.DaemonSet
		pods []*corev1.Pod
		want string
	}{
		"everywhere":          {daemon("0", "1"), nil, "+a +b +c"},
		"nothing to do":       {daemon("0", "1"), pods("a:n", "b:n", "c:o"), ""},
		"the oldest stays":    {daemon("0", "1"), pods("a:n", "a:n", "b:n", "c:n"), "-a:n"},
		"failed":              {daemon("0", "1"), pods("a:nf", "b:n", "c:n"), "-a:nf"},
		"still going":         {daemon("0", "1"), pods("a:nd", "b:n", "c:n"), ""},
		"a lost node":         {daemon("0", "1"), pods("a:n", "b:n", "c:n", "lost:n"), ""},
		"two while it surges": {daemon("1", "0"), pods("a:o", "a:nx", "b:n", "c:n"), ""},
		"the new one works":   {daemon("1", "0"), pods("a:o", "a:n", "b:n", "c:n"), "-a:o"},
	} {
		s := survey(c.ds, nodes("a", "b", "c"), c.pods, "n", now)
		require.Equal(t, c.want, describe(s.manage(always)), name)
	}
	s := survey(daemon("0", "1"), nodes("a"), pods("a:nf"), "n", now)
	require.Empty(t, s.manage(func(string) bool { return false }).remove, "not before its time")
}

func TestUpdate(t *testing.T) {
	for name, c := range map[string]struct {
		ds   *appsv1.DaemonSet
		pods []*corev1.Pod
		want string
	}{
		"one at a time":              {daemon("0", "1"), pods("a:o", "b:o", "c:o"), "-a:o"},
		"wait for the new one":       {daemon("0", "1"), pods("a:nx", "b:o", "c:o"), ""},
		"wait for the one that goes": {daemon("0", "1"), pods("a:od", "b:o", "c:o"), ""},
		"what does not work goes":    {daemon("0", "1"), pods("a:n", "b:ox", "c:ox"), "-b:ox -c:ox"},
		"a share is rounded up":      {daemon("0", "34%"), pods("a:o", "b:o", "c:o"), "-a:o -b:o"},
		"done":                       {daemon("0", "1"), pods("a:n", "b:n", "c:n"), ""},
		"surge":                      {daemon("1", "0"), pods("a:o", "b:o", "c:o"), "+a"},
		"surge is used up":           {daemon("1", "0"), pods("a:o", "a:nx", "b:o", "c:o"), ""},
		"surge where it is broken":   {daemon("1", "0"), pods("a:o", "b:ox", "c:ox"), "+b +c"},
		"surge goes on":              {daemon("1", "0"), pods("a:o", "a:n", "b:o", "c:o"), "+b -a:o"},
	} {
		s := survey(c.ds, nodes("a", "b", "c"), c.pods, "n", now)
		require.Equal(t, c.want, describe(s.update()), name)
	}
}

func TestFit(t *testing.T) {
	ds := daemon("0", "1")
	ds.Spec.Template.Spec.NodeSelector = map[string]string{"disk": "fast"}
	ds.Spec.Template.Spec.Tolerations = []corev1.Toleration{{Key: "ours", Operator: corev1.TolerationOpExists}}
	taint := func(key string, e corev1.TaintEffect) corev1.Taint { return corev1.Taint{Key: key, Effect: e} }
	for name, c := range map[string]struct {
		label  string
		taints []corev1.Taint
		want   verdict
	}{
		"fits":           {"fast", nil, verdict{true, true}},
		"another label":  {"slow", nil, verdict{}},
		"no new pods":    {"fast", []corev1.Taint{taint("x", corev1.TaintEffectNoSchedule)}, verdict{false, true}},
		"no pods":        {"fast", []corev1.Taint{taint("x", corev1.TaintEffectNoExecute)}, verdict{}},
		"preferably not": {"fast", []corev1.Taint{taint("x", corev1.TaintEffectPreferNoSchedule)}, verdict{true, true}},
		"tolerated":      {"fast", []corev1.Taint{taint("ours", corev1.TaintEffectNoExecute)}, verdict{true, true}},
		"not ready":      {"fast", []corev1.Taint{taint(corev1.TaintNodeNotReady, corev1.TaintEffectNoExecute)}, verdict{true, true}},
		"cordoned":       {"fast", []corev1.Taint{taint(corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule)}, verdict{true, true}},
		"no network":     {"fast", []corev1.Taint{taint(corev1.TaintNodeNetworkUnavailable, corev1.TaintEffectNoSchedule)}, verdict{false, true}},
	} {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"disk": c.label}}, Spec: corev1.NodeSpec{Taints: c.taints}}
		require.Equal(t, c.want, newFit(ds).on(n), name)
	}
}

func TestStatus(t *testing.T) {
	ds := daemon("0", "1")
	ds.Spec.MinReadySeconds = 5
	p := pods("a:n", "b:o", "c:nx")
	p[0].Status.Conditions[0].LastTransitionTime = metav1.NewTime(now.Add(-2 * time.Second))
	s, soonest := survey(ds, nodes("a", "b", "c", "d"), p, "n", now).status()
	require.Equal(t, "desired 4 current 3 ready 2 available 1 updated 2 unavailable 3", fmt.Sprintf("desired %d current %d ready %d available %d updated %d unavailable %d",
		s.DesiredNumberScheduled, s.CurrentNumberScheduled, s.NumberReady, s.NumberAvailable, s.UpdatedNumberScheduled, s.NumberUnavailable))
	require.Equal(t, 3*time.Second, soonest)
}

func TestPodFor(t *testing.T) {
	p := podFor(daemon("0", "1"), "n1", "h")
	require.Equal(t, "n1", nodeOf(p))
	require.Equal(t, "h", p.Labels[history.HashLabel])
	require.Len(t, p.Spec.Tolerations, 6)
	require.Len(t, tolerations(&p.Spec), 6, "not twice")
}
