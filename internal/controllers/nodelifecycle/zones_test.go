package nodelifecycle

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func node(name, zone string, ready corev1.ConditionStatus) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: zone}}}
	if ready != "" {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
	}
	return n
}

func TestZones(t *testing.T) {
	o := Options{}
	o.setDefaults()
	z := newZones(o)
	now := time.Unix(1000, 0)
	a := node("a", "z", corev1.ConditionTrue)
	z.change(nil, a)
	down := node("a", "z", corev1.ConditionUnknown)
	changed, back := z.change(a, down)
	require.True(t, changed)
	require.False(t, back)
	require.True(t, z.allDead(), "the only node is lost: more likely the master is")
	z.change(nil, node("b", "y", corev1.ConditionTrue))
	require.False(t, z.allDead())
	// Ten seconds for each node, the first at once.
	zone := zoneOf(a)
	require.Zero(t, z.ration(zone, now))
	require.Equal(t, 10*time.Second, z.ration(zone, now))
	require.Equal(t, 10*time.Second, z.ration(zone, now), "asking costs nothing")
	require.Zero(t, z.ration(zone, now.Add(10*time.Second)))
	_, back = z.change(down, a)
	require.False(t, back, "not all were dead")
	// A small zone of which most nodes are lost is left alone.
	for i := range 3 {
		z.change(nil, node(fmt.Sprint(i), "z", corev1.ConditionUnknown))
	}
	require.Negative(t, z.ration(zone, now.Add(time.Hour)))
	require.Negative(t, z.ration("nowhere", now))
}

func TestRate(t *testing.T) {
	o := Options{}
	o.setDefaults()
	for _, c := range []struct {
		ready, not int
		want       float64
	}{{5, 0, 0.1}, {5, 5, 0.1}, {0, 5, 0.1}, {1, 2, 0.1}, {1, 3, 0}, {40, 60, 0.01}, {0, 0, 0.1}} {
		require.InDelta(t, c.want, float64(o.rate(c.ready, c.not)), 1e-9, "%+v", c)
	}
}

func TestAnEvictionIsNotTakenBack(t *testing.T) {
	n := node("a", "z", corev1.ConditionUnknown)
	keys := func(ts []corev1.Taint) (out []corev1.TaintEffect) {
		for _, x := range ts {
			require.Equal(t, corev1.TaintNodeUnreachable, x.Key)
			out = append(out, x.Effect)
		}
		return out
	}
	both := []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute}
	require.Equal(t, both[:1], keys(wanted(n, false, false)))
	require.Equal(t, both, keys(wanted(n, true, false)))
	n.Spec.Taints = wanted(n, true, false)
	require.Equal(t, both, keys(wanted(n, false, false)), "no ration for one that has it")
	require.Equal(t, both[:1], keys(wanted(n, false, true)), "more likely the master is cut off")
	n.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoExecute}}
	require.Equal(t, both, keys(wanted(n, false, false)), "one reason takes the other's place")
	n.Status.Conditions[0].Status = corev1.ConditionTrue
	require.Empty(t, wanted(n, false, false))
}

func TestConditionTaints(t *testing.T) {
	n := node("a", "z", corev1.ConditionFalse)
	n.Spec.Unschedulable = true
	n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue}, corev1.NodeCondition{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse})
	var keys []string
	for _, x := range conditionTaints(n) {
		require.True(t, managed(&x))
		keys = append(keys, x.Key)
	}
	require.Equal(t, []string{corev1.TaintNodeNotReady, corev1.TaintNodeDiskPressure, corev1.TaintNodeUnschedulable}, keys)
	require.True(t, silence(n, metav1.Now()))
	require.False(t, silence(n, metav1.Now()), "once")
	e, ok := evictingTaint(n)
	require.True(t, ok)
	require.Equal(t, corev1.TaintNodeUnreachable, e.Key)
	fresh := node("b", "z", "")
	fresh.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}}
	require.Len(t, conditionTaints(fresh), 1, "a node that has not reported keeps the taint of its admission")
}
