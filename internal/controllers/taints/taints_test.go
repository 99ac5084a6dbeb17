package taints

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

func TestStay(t *testing.T) {
	a := corev1.Taint{Key: "a", Effect: corev1.TaintEffectNoExecute}
	b := corev1.Taint{Key: "b", Effect: corev1.TaintEffectNoExecute}
	tolerate := func(key string, seconds ...int64) corev1.Toleration {
		t := corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}
		if len(seconds) > 0 {
			t.TolerationSeconds = ptr.To(seconds[0])
		}
		return t
	}
	for name, c := range map[string]struct {
		taints      []corev1.Taint
		tolerations []corev1.Toleration
		stay        time.Duration
		forever     bool
	}{
		"no taints":            {nil, nil, 0, true},
		"not tolerated":        {[]corev1.Taint{a}, nil, 0, false},
		"for ever":             {[]corev1.Taint{a}, []corev1.Toleration{tolerate("a")}, 0, true},
		"for a while":          {[]corev1.Taint{a}, []corev1.Toleration{tolerate("a", 5)}, 5 * time.Second, false},
		"the shortest":         {[]corev1.Taint{a, b}, []corev1.Toleration{tolerate("a", 5), tolerate("b", 3)}, 3 * time.Second, false},
		"one of two":           {[]corev1.Taint{a, b}, []corev1.Toleration{tolerate("a", 5)}, 0, false},
		"for ever and a while": {[]corev1.Taint{a, b}, []corev1.Toleration{tolerate("a"), tolerate("b", 3)}, 3 * time.Second, false},
		"less than nothing":    {[]corev1.Taint{a}, []corev1.Toleration{tolerate("a", -1)}, 0, false},
		"everything":           {[]corev1.Taint{a, b}, []corev1.Toleration{{Operator: corev1.TolerationOpExists}}, 0, true},
	} {
		stay, forever := Stay(c.taints, c.tolerations)
		require.Equal(t, c.stay, stay, name)
		require.Equal(t, c.forever, forever, name)
	}
}

func TestChange(t *testing.T) {
	now := time.Unix(100, 0)
	mine := func(x *corev1.Taint) bool { return x.Key == "mine" || x.Key == "also" }
	have := []corev1.Taint{{Key: "theirs", Effect: corev1.TaintEffectNoSchedule}, {Key: "mine", Value: "kept", Effect: corev1.TaintEffectNoSchedule}}
	out, changed := Change(have, []corev1.Taint{{Key: "mine", Effect: corev1.TaintEffectNoSchedule}}, mine, now)
	require.False(t, changed)
	require.Equal(t, have, out)
	out, changed = Change(have, []corev1.Taint{{Key: "also", Effect: corev1.TaintEffectNoExecute}}, mine, now)
	require.True(t, changed)
	require.Len(t, out, 2)
	require.Equal(t, "theirs", out[0].Key)
	require.Equal(t, now, out[1].TimeAdded.Time)
}
