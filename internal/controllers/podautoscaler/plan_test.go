package podautoscaler

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestDemand(t *testing.T) {
	const asked = 1000
	for name, c := range map[string]struct {
		use              samples
		unready, missing []string
		current, want    int32
	}{
		"on target":                           {use: samples{"a": 500, "b": 500}, current: 2, want: 2},
		"within tolerance":                    {use: samples{"a": 540, "b": 540}, current: 2, want: 2},
		"above":                               {use: samples{"a": 1000, "b": 1000}, current: 2, want: 4},
		"below":                               {use: samples{"a": 100, "b": 100, "c": 100, "d": 100}, current: 4, want: 1},
		"above, others start":                 {use: samples{"a": 1000, "b": 1000}, unready: []string{"c", "d"}, current: 4, want: 4},
		"far above, one starts":               {use: samples{"a": 1500, "b": 1500}, unready: []string{"c"}, current: 3, want: 6},
		"below, others start":                 {use: samples{"a": 250, "b": 250}, unready: []string{"c"}, current: 3, want: 1},
		"below, one is unknown":               {use: samples{"a": 100, "b": 100, "c": 100}, missing: []string{"d"}, current: 4, want: 3},
		"a little below, one is unknown":      {use: samples{"a": 400}, missing: []string{"b"}, current: 2, want: 2},
		"above, one is unknown":               {use: samples{"a": 1000, "b": 1000, "c": 1000}, missing: []string{"d"}, current: 4, want: 6},
		"a little above, many are unknown":    {use: samples{"a": 600}, missing: []string{"b", "c"}, current: 3, want: 3},
		"unknown would turn the change round": {use: samples{"a": 700, "b": 700}, missing: []string{"c", "d"}, current: 4, want: 4},
	} {
		d := demand{use: c.use, unready: c.unready, missing: c.missing,
			target: func(string) int64 { return asked / 2 }, full: func(string) int64 { return asked }}
		require.Equal(t, c.want, d.replicas(c.current, tolerance{0.1, 0.1}), name)
	}
}

func TestTotals(t *testing.T) {
	tol := tolerance{0.1, 0.1}
	require.Equal(t, int32(6), forTotal(2000, 1000, 3, 3, tol))
	require.Equal(t, int32(3), forTotal(1050, 1000, 3, 3, tol))
	require.Equal(t, int32(2), forTotal(1500, 1000, 0, 0, tol), "from none")
	require.Equal(t, int32(5), forAverage(4500, 1000, 3, 3, tol))
	require.Equal(t, int32(3), forAverage(3100, 1000, 3, 3, tol))
	require.Equal(t, int32(0), forAverage(0, 1000, 3, 3, tol))
	b := &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{Tolerance: ptr.To(resource.MustParse("0.5"))}}
	require.Equal(t, tolerance{0.1, 0.5}, toleranceOf(b, 0.1))
}

func TestLimit(t *testing.T) {
	hpa := func(least, most int32, b *autoscalingv2.HorizontalPodAutoscalerBehavior) *autoscalingv2.HorizontalPodAutoscaler {
		return &autoscalingv2.HorizontalPodAutoscaler{Spec: autoscalingv2.HorizontalPodAutoscalerSpec{MinReplicas: &least, MaxReplicas: most, Behavior: b}}
	}
	ago := func(d time.Duration, n int32) mark { return mark{now.Add(-d), n} }
	slow := &autoscalingv2.HorizontalPodAutoscalerBehavior{
		ScaleUp: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: ptr.To(int32(60))},
		ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: ptr.To(int32(0)), SelectPolicy: ptr.To(autoscalingv2.MinChangePolicySelect),
			Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 2, PeriodSeconds: 60}, {Type: autoscalingv2.PercentScalingPolicy, Value: 50, PeriodSeconds: 60}}},
	}
	never := &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{
		StabilizationWindowSeconds: ptr.To(int32(0)), SelectPolicy: ptr.To(autoscalingv2.DisabledPolicySelect)}}
	for name, c := range map[string]struct {
		hpa             *autoscalingv2.HorizontalPodAutoscaler
		past            history
		current, wanted int32
		want            int32
		able, limited   string
	}{
		"as wanted":           {hpa(1, 10, nil), history{}, 2, 4, 4, "ReadyForNewScale", withinRange},
		"no more than most":   {hpa(1, 5, nil), history{}, 4, 8, 5, "ReadyForNewScale", "TooManyReplicas"},
		"by four at once":     {hpa(1, 99, nil), history{}, 2, 50, 6, "ReadyForNewScale", "ScaleUpLimit"},
		"to the double":       {hpa(1, 99, nil), history{}, 10, 50, 20, "ReadyForNewScale", "ScaleUpLimit"},
		"not again so soon":   {hpa(1, 99, nil), history{done: []mark{ago(5*time.Second, 10)}}, 20, 50, 20, "ReadyForNewScale", "ScaleUpLimit"},
		"again later":         {hpa(1, 99, nil), history{done: []mark{ago(20*time.Second, 10)}}, 20, 50, 40, "ReadyForNewScale", "ScaleUpLimit"},
		"down after a while":  {hpa(1, 10, nil), history{wanted: []mark{ago(4*time.Minute, 7)}}, 8, 2, 7, "ScaleDownStabilized", withinRange},
		"down at last":        {hpa(1, 10, nil), history{wanted: []mark{ago(6*time.Minute, 7)}}, 8, 2, 2, "ReadyForNewScale", withinRange},
		"no less than least":  {hpa(3, 10, nil), history{}, 8, 1, 3, "ReadyForNewScale", "TooFewReplicas"},
		"up after a while":    {hpa(1, 10, slow), history{wanted: []mark{ago(30*time.Second, 3)}}, 2, 8, 3, "ScaleUpStabilized", withinRange},
		"down by the smaller": {hpa(1, 20, slow), history{}, 10, 1, 8, "ReadyForNewScale", "ScaleDownLimit"},
		"down, but not again": {hpa(1, 20, slow), history{done: []mark{ago(30*time.Second, -2)}}, 8, 1, 8, "ReadyForNewScale", "ScaleDownLimit"},
		"never down":          {hpa(1, 20, never), history{}, 8, 1, 8, "ReadyForNewScale", "ScaleDownLimit"},
	} {
		got := limit(c.hpa, &c.past, c.current, c.wanted, 5*time.Minute, now)
		require.Equal(t, c.want, got.replicas, name)
		require.Equal(t, []string{c.able, c.limited}, []string{got.able.reason, got.limited.reason}, name)
	}
}

func TestGroup(t *testing.T) {
	pod := func(name string, age, sinceReady time.Duration, ready corev1.ConditionStatus, change ...func(*corev1.Pod)) *corev1.Pod {
		start := metav1.NewTime(now.Add(-age))
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &start,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.NewTime(now.Add(-sinceReady))}}}}
		for _, f := range change {
			f(p)
		}
		return p
	}
	pods := []*corev1.Pod{
		pod("old", time.Hour, time.Hour, corev1.ConditionTrue),
		pod("ill", time.Hour, time.Minute, corev1.ConditionFalse),
		pod("never", time.Hour, time.Hour-time.Second, corev1.ConditionFalse),
		pod("new", time.Minute, 10*time.Second, corev1.ConditionTrue),
		pod("unknown", time.Hour, time.Hour, corev1.ConditionTrue),
		pod("pending", 0, 0, corev1.ConditionFalse, func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }),
		pod("failed", 0, 0, corev1.ConditionFalse, func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }),
		pod("going", 0, 0, corev1.ConditionFalse, func(p *corev1.Pod) { at := metav1.NewTime(now); p.DeletionTimestamp = &at }),
	}
	got := map[string]sample{}
	for _, n := range []string{"old", "ill", "never", "new", "pending", "failed", "going"} {
		got[n] = sample{100, now, 30 * time.Second}
	}
	use, unready, missing := group(pods, got, true, Defaults(), now)
	require.Equal(t, samples{"old": 100, "ill": 100}, use)
	require.Equal(t, []string{"never", "new", "pending"}, unready)
	require.Equal(t, []string{"unknown"}, missing)
	use, _, _ = group(pods, got, false, Defaults(), now)
	require.Len(t, use, 4, "memory of pods that start counts")
}

func TestUsage(t *testing.T) {
	u := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": "p"}, "timestamp": "2026-03-01T12:00:00Z", "window": "30s",
		"containers": []any{
			map[string]any{"name": "a", "usage": map[string]any{"cpu": "250m", "memory": "1Ki"}},
			map[string]any{"name": "b", "usage": map[string]any{"cpu": "1500000n"}},
		},
	}}
	s, ok, err := usageOf(u, corev1.ResourceCPU, "")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, sample{252, now, 30 * time.Second}, s)
	_, ok, err = usageOf(u, corev1.ResourceMemory, "")
	require.NoError(t, err)
	require.False(t, ok, "one container does not tell")
	s, ok, err = usageOf(u, corev1.ResourceMemory, "a")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, int64(1024000), s.milli)
}
