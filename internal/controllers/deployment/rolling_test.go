package deployment

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

func deploy(replicas int32, surge, unavailable string) *appsv1.Deployment {
	s, u := intstr.Parse(surge), intstr.Parse(unavailable)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "d", Generation: 1},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Strategy: appsv1.DeploymentStrategy{
				Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &s, MaxUnavailable: &u},
			},
		},
	}
}

// sized makes a replica set that wants some pods, of which so many are available; max is its max-replicas annotation.
func sized(name string, wants, available int32, max int) *appsv1.ReplicaSet {
	rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.Unix(int64(len(name)), 0)}}
	rs.Spec.Replicas = &wants
	rs.Status = appsv1.ReplicaSetStatus{Replicas: wants, AvailableReplicas: available}
	if max > 0 {
		rs.Annotations = map[string]string{MaxReplicasAnnotation: fmt.Sprint(max), DesiredReplicasAnnotation: "1"}
	}
	return rs
}

func TestFenceposts(t *testing.T) {
	for _, c := range []struct {
		replicas       int32
		surge, missing string
		wantS, wantU   int32
	}{
		{10, "25%", "25%", 3, 2},
		{1, "25%", "25%", 1, 0},
		{10, "0", "0%", 0, 1},
		{3, "0", "10%", 0, 1},
		{2, "1", "5", 1, 2},
		{0, "25%", "25%", 0, 0},
	} {
		s, u := fenceposts(deploy(c.replicas, c.surge, c.missing))
		require.Equal(t, [2]int32{c.wantS, c.wantU}, [2]int32{s, u}, "%+v", c)
	}
}

func TestRollUp(t *testing.T) {
	for name, c := range map[string]struct {
		d    *appsv1.Deployment
		new  *appsv1.ReplicaSet
		old  []*appsv1.ReplicaSet
		want int32
	}{
		"first":            {deploy(4, "25%", "25%"), nil, nil, 4},
		"room for surge":   {deploy(4, "25%", "25%"), nil, []*appsv1.ReplicaSet{sized("o", 4, 4, 0)}, 1},
		"no room":          {deploy(4, "25%", "25%"), sized("n", 1, 0, 0), []*appsv1.ReplicaSet{sized("o", 4, 4, 0)}, 1},
		"old ones went":    {deploy(4, "25%", "25%"), sized("n", 1, 0, 0), []*appsv1.ReplicaSet{sized("o", 2, 2, 0)}, 3},
		"not beyond":       {deploy(4, "100%", "25%"), sized("n", 3, 0, 0), []*appsv1.ReplicaSet{sized("o", 1, 1, 0)}, 4},
		"too many go down": {deploy(2, "25%", "25%"), sized("n", 5, 5, 0), nil, 2},
	} {
		require.Equal(t, c.want, rollUp(c.d, c.new, c.old), name)
	}
}

func TestRollDown(t *testing.T) {
	for name, c := range map[string]struct {
		d    *appsv1.Deployment
		new  *appsv1.ReplicaSet
		old  []*appsv1.ReplicaSet
		want string
	}{
		"as many as may be missing":      {deploy(10, "2", "2"), sized("n", 2, 0, 0), []*appsv1.ReplicaSet{sized("o", 10, 10, 0)}, "o=8"},
		"new ones must work first":       {deploy(10, "2", "0"), sized("n", 2, 0, 0), []*appsv1.ReplicaSet{sized("o", 10, 10, 0)}, ""},
		"new ones work":                  {deploy(10, "2", "0"), sized("n", 2, 2, 0), []*appsv1.ReplicaSet{sized("o", 10, 10, 0)}, "o=8"},
		"broken old ones go at once":     {deploy(10, "2", "0"), sized("n", 0, 0, 0), []*appsv1.ReplicaSet{sized("o", 12, 8, 0)}, "o=10"},
		"oldest first":                   {deploy(4, "0", "2"), sized("n", 0, 0, 0), []*appsv1.ReplicaSet{sized("o", 2, 2, 0), sized("oo", 2, 2, 0)}, "o=0"},
		"never below the least working":  {deploy(10, "0", "3"), sized("n", 0, 0, 0), []*appsv1.ReplicaSet{sized("o", 10, 7, 0)}, "o=7"},
		"nothing old":                    {deploy(3, "1", "1"), sized("n", 3, 3, 0), []*appsv1.ReplicaSet{sized("o", 0, 0, 0)}, ""},
		"broken new ones hold back more": {deploy(4, "1", "1"), sized("n", 2, 0, 0), []*appsv1.ReplicaSet{sized("o", 3, 3, 0)}, ""},
	} {
		require.Equal(t, c.want, text(rollDown(c.d, c.new, c.old)), name)
	}
}

func text(plan []scaling) string {
	var out []string
	for _, s := range plan {
		out = append(out, fmt.Sprintf("%s=%d", s.set.Name, s.to))
	}
	return strings.Join(out, " ")
}

func TestProportional(t *testing.T) {
	for name, c := range map[string]struct {
		d    *appsv1.Deployment
		new  *appsv1.ReplicaSet
		old  []*appsv1.ReplicaSet
		want string
	}{
		// https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#proportional-scaling
		"the documentation's": {deploy(15, "3", "2"), sized("nn", 5, 0, 13), []*appsv1.ReplicaSet{sized("o", 8, 8, 13)}, "o=11 nn=7"},
		"down":                {deploy(5, "3", "2"), sized("nn", 5, 0, 13), []*appsv1.ReplicaSet{sized("o", 8, 8, 13)}, "o=5 nn=3"},
		"to nothing":          {deploy(0, "3", "2"), sized("nn", 5, 0, 13), []*appsv1.ReplicaSet{sized("o", 8, 8, 13)}, "o=0 nn=0"},
		"the rest to the newer of two of one size": {deploy(4, "0", "1"), sized("nn", 1, 0, 2), []*appsv1.ReplicaSet{sized("o", 1, 1, 2)}, "nn=2 o=2"},
		"one in use takes all":                     {deploy(7, "1", "1"), sized("nn", 3, 3, 4), []*appsv1.ReplicaSet{sized("o", 0, 0, 4)}, "nn=7"},
		"none in use: the newest":                  {deploy(7, "1", "1"), nil, []*appsv1.ReplicaSet{sized("o", 0, 0, 4), sized("oo", 0, 0, 4)}, "oo=7"},
	} {
		require.Equal(t, c.want, text(resizing(c.d, c.new, c.old)), name)
	}
	d := deploy(3, "1", "1")
	done := sized("nn", 3, 3, 4)
	done.Annotations[DesiredReplicasAnnotation] = "3"
	require.Equal(t, "o=0", text(resizing(d, done, []*appsv1.ReplicaSet{sized("o", 2, 2, 4)})), "a complete new set ends the old ones")
}

func TestRevisions(t *testing.T) {
	d := deploy(3, "1", "1")
	d.Annotations = map[string]string{"team": "a", RevisionAnnotation: "7", corev1.LastAppliedConfigAnnotation: "{}"}
	rs := sized("n", 1, 1, 0)
	require.True(t, annotate(rs, d, 2))
	require.Equal(t, map[string]string{"team": "a", RevisionAnnotation: "2"}, rs.Annotations)
	require.False(t, annotate(rs, d, 2), "nothing new")
	require.False(t, annotate(rs, d, 1), "never back")
	require.True(t, annotate(rs, d, 5))
	require.True(t, annotate(rs, d, 9))
	require.Equal(t, "2,5", rs.Annotations[RevisionHistoryAnnotation])
	require.Equal(t, int64(10), nextRevision([]*appsv1.ReplicaSet{sized("x", 0, 0, 0), rs}))
	long := strings.Repeat("1234,", 400) + "1"
	require.LessOrEqual(t, len(addHistory(long, "77")), longestHistory)
	require.True(t, strings.HasSuffix(addHistory(long, "77"), ",77"))

	a, b := corev1.PodTemplateSpec{}, corev1.PodTemplateSpec{}
	a.Labels, b.Labels = map[string]string{"app": "x"}, map[string]string{"app": "x", appsv1.DefaultDeploymentUniqueLabelKey: "h"}
	require.True(t, sameTemplate(&a, &b))
	b.Spec.Hostname = "other"
	require.False(t, sameTemplate(&a, &b))
	h1, err := templateHash(&a, nil)
	require.NoError(t, err)
	h2, _ := templateHash(&a, ptr.To(int32(1)))
	h3, _ := templateHash(a.DeepCopy(), nil)
	require.Equal(t, h1, h3)
	require.NotEqual(t, h1, h2)
	require.Regexp(t, "^[bcdfghjklmnpqrstvwxz2456789]+$", h1)
}

func TestProgress(t *testing.T) {
	now := time.Unix(1000, 0)
	d := deploy(2, "1", "0")
	d.Spec.ProgressDeadlineSeconds = ptr.To(int32(10))
	new := sized("n", 2, 1, 3)
	reason := func(r *rollout) string {
		s := summary(r.d, r.new, r.old)
		setCondition(&s, minimum(r.d, &s), r.now)
		old := r.d.Status
		r.judge(&old, &s)
		r.d.Status = s
		c := condition(&s, appsv1.DeploymentProgressing)
		require.NotNil(t, c)
		return string(c.Status) + " " + c.Reason
	}
	r := &rollout{d: d, cached: d, new: new, now: now}
	require.Equal(t, "True ReplicaSetUpdated", reason(r))
	require.Equal(t, corev1.ConditionFalse, condition(&d.Status, appsv1.DeploymentAvailable).Status)
	r.now = now.Add(9 * time.Second)
	require.Equal(t, "True ReplicaSetUpdated", reason(r), "in time")
	r.now = now.Add(11 * time.Second)
	require.Equal(t, "False ProgressDeadlineExceeded", reason(r))
	new.Status.AvailableReplicas = 2
	require.Equal(t, "True NewReplicaSetAvailable", reason(r))
	require.Equal(t, corev1.ConditionTrue, condition(&d.Status, appsv1.DeploymentAvailable).Status)
	new.Status.AvailableReplicas = 1
	r.now = now.Add(time.Hour)
	require.Equal(t, "True NewReplicaSetAvailable", reason(r), "a complete roll-out does not time out")
	new.Status.Conditions = []appsv1.ReplicaSetCondition{{Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate"}}
	moveFailure(&d.Status, new, nil, r.now)
	require.Equal(t, "FailedCreate", condition(&d.Status, appsv1.DeploymentReplicaFailure).Reason)
}
