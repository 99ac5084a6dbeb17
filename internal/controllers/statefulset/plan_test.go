package statefulset

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func set(n int32, change ...func(*appsv1.StatefulSet)) *appsv1.StatefulSet {
	s := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "db", UID: "set"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &n, ServiceName: "svc", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}},
			UpdateStrategy: appsv1.StatefulSetUpdateStrategy{Type: appsv1.RollingUpdateStatefulSetStrategyType, RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{}},
		},
	}
	for _, f := range change {
		f(s)
	}
	return s
}

func parallel(s *appsv1.StatefulSet) { s.Spec.PodManagementPolicy = appsv1.ParallelPodManagement }

// look makes a state of pods written as "ordinal:what", where what is made of the words ok, old, ill, dead, done and going.
func look(t *testing.T, s *appsv1.StatefulSet, pods string) *state {
	t.Helper()
	st := &state{set: s, now: now,
		current: &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: "db-old"}},
		update:  &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: "db-new"}},
	}
	var all []*corev1.Pod
	for _, text := range strings.Fields(pods) {
		number, what, _ := strings.Cut(text, ":")
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "db-" + number, UID: types.UID(number), Labels: map[string]string{appsv1.StatefulSetRevisionLabel: "db-new"}}}
		p.Status.Phase = corev1.PodRunning
		ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-time.Minute))}
		for _, w := range strings.Split(what, "+") {
			switch w {
			case "ok":
			case "old":
				p.Labels[appsv1.StatefulSetRevisionLabel] = "db-old"
			case "ill":
				ready.Status = corev1.ConditionFalse
			case "fresh":
				ready.LastTransitionTime = metav1.NewTime(now)
			case "dead":
				p.Status.Phase = corev1.PodFailed
			case "done":
				p.Status.Phase = corev1.PodSucceeded
			case "going":
				at := metav1.NewTime(now)
				p.DeletionTimestamp = &at
			default:
				t.Fatalf("unknown word %q", w)
			}
		}
		p.Status.Conditions = []corev1.PodCondition{ready}
		all = append(all, p)
	}
	st.sort(all)
	return st
}

func (p plan) String() string {
	var out []string
	for _, i := range p.create {
		out = append(out, fmt.Sprint("+", i))
	}
	for _, x := range p.replace {
		out = append(out, "~"+x.Name)
	}
	for _, x := range p.remove {
		out = append(out, "-"+x.Name)
	}
	return strings.Join(out, " ")
}

func TestPlan(t *testing.T) {
	partition := func(n int32) func(*appsv1.StatefulSet) {
		return func(s *appsv1.StatefulSet) { s.Spec.UpdateStrategy.RollingUpdate.Partition = &n }
	}
	unavailable := func(v intstr.IntOrString) func(*appsv1.StatefulSet) {
		return func(s *appsv1.StatefulSet) { s.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable = &v }
	}
	onDelete := func(s *appsv1.StatefulSet) {
		s.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType}
	}
	from := func(n int32) func(*appsv1.StatefulSet) {
		return func(s *appsv1.StatefulSet) { s.Spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: n} }
	}
	slow := func(s *appsv1.StatefulSet) { s.Spec.MinReadySeconds = 30 }
	for name, c := range map[string]struct {
		set  *appsv1.StatefulSet
		pods string
		want string
	}{
		"new":                          {set(3), "", "+0"},
		"new, at once":                 {set(3, parallel), "", "+0 +1 +2"},
		"the next":                     {set(3), "0:ok", "+1"},
		"waits for the one before":     {set(3), "0:ill", ""},
		"does not wait":                {set(3, parallel), "0:ill", "+1 +2"},
		"waits for seconds of ready":   {set(3, slow), "0:fresh", ""},
		"a gap":                        {set(3), "0:ok 2:ok", "+1"},
		"failed":                       {set(3), "0:ok 1:dead 2:ok", "~db-1"},
		"succeeded":                    {set(3, parallel), "0:ok 1:dead 2:done", "~db-1 ~db-2"},
		"being deleted":                {set(3), "0:going 1:dead", ""},
		"failed and being deleted":     {set(2), "0:dead+going 1:ok", ""},
		"complete":                     {set(3), "0:ok 1:ok 2:ok", ""},
		"scale down":                   {set(1), "0:ok 1:ok 2:ok", "-db-2"},
		"scale down, one is going":     {set(1), "0:ok 1:ok 2:going", ""},
		"scale down, first is ill":     {set(1), "0:ill 1:ok 2:ok", ""},
		"scale down, another is ill":   {set(1), "0:ok 1:ill 2:ok", "-db-2"},
		"scale down, two are ill":      {set(1), "0:ok 1:ill 2:ill", ""},
		"scale down at once":           {set(1, parallel), "0:ill 1:ok 2:ill 3:going", "-db-2 -db-1"},
		"scale to none":                {set(0), "0:ill", "-db-0"},
		"other numbers":                {set(2, from(3)), "0:ok 3:ok 4:ok", "-db-0"},
		"other numbers, new":           {set(2, from(3)), "3:ok", "+1"},
		"update the last first":        {set(3), "0:old 1:old 2:old", "-db-2"},
		"update the next":              {set(3), "0:old 1:old 2:ok", "-db-1"},
		"update waits":                 {set(3, parallel), "0:old 1:old 2:ill", ""},
		"update only on deletion":      {set(3, onDelete), "0:old 1:old 2:old", ""},
		"update down to the partition": {set(3, partition(2)), "0:old 1:old 2:ok", ""},
		"partition":                    {set(3, partition(1)), "0:old 1:old 2:ok", "-db-1"},
		"partition counts from start":  {set(3, partition(1), from(5)), "5:old 6:old 7:ok", "-db-6"},
		"update two":                   {set(4, parallel, unavailable(intstr.FromInt32(2))), "0:old 1:old 2:old 3:old", "-db-3 -db-2"},
		"update two, one is ill":       {set(4, parallel, unavailable(intstr.FromInt32(2))), "0:old 1:old 2:old 3:ill", "-db-2"},
		"update half":                  {set(4, parallel, unavailable(intstr.FromString("50%"))), "0:old 1:old 2:old 3:ok", "-db-2 -db-1"},
		"update what is broken":        {set(3, parallel), "0:old 1:old+ill 2:ok", "-db-1"},
	} {
		require.Equal(t, c.want, look(t, c.set, c.pods).plan().String(), name)
	}
	s := look(t, set(3, partition(1)), "")
	require.Equal(t, "db-old", s.revisionFor(0).Name)
	require.Equal(t, "db-new", s.revisionFor(1).Name)
}

func TestStatus(t *testing.T) {
	s, soonest := look(t, set(3, func(s *appsv1.StatefulSet) { s.Spec.MinReadySeconds = 30 }), "0:old 1:ill 2:fresh 3:going").status()
	require.Equal(t, []int32{4, 3, 2, 1, 2}, []int32{s.Replicas, s.ReadyReplicas, s.AvailableReplicas, s.CurrentReplicas, s.UpdatedReplicas})
	require.Equal(t, []string{"db-old", "db-new"}, []string{s.CurrentRevision, s.UpdateRevision})
	require.Equal(t, 30*time.Second, soonest)
	s, _ = look(t, set(2), "0:ok 1:ok").status()
	require.Equal(t, []string{"db-new", "db-new"}, []string{s.CurrentRevision, s.UpdateRevision}, "the update is over")
	require.Equal(t, int32(2), s.CurrentReplicas)
}

func TestIdentity(t *testing.T) {
	s := set(1)
	for name, want := range map[string]int{"db-0": 0, "db-17": 17, "db-01": -1, "db": -1, "db-x": -1, "db--1": -1, "db-2-3": -1, "other-1": -1, "db-99999999999": -1} {
		n, ok := ordinalOf(s, name)
		require.Equal(t, want >= 0, ok, name)
		require.Equal(t, max(want, 0), n, name)
	}
	require.Equal(t, map[string]string{appsv1.PodIndexLabel: "4"}, mistaken(s, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "db-4", Labels: map[string]string{appsv1.StatefulSetPodNameLabel: "db-4"}}}))
	s.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}}}
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "db-4"}, Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "data"}, {Name: "tmp"}}}}
	v := withClaims(s, p)
	require.Len(t, v, 2)
	require.Equal(t, "data-db-4", v[0].PersistentVolumeClaim.ClaimName)
	require.Equal(t, "tmp", v[1].Name)
}

func TestOwnersOfClaims(t *testing.T) {
	const keep, del = appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType
	going := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "db-1", UID: "pod"}}
	stranger := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "x"}
	master := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "m", UID: "m", Controller: ptr.To(true)}
	for name, c := range map[string]struct {
		deleted, scaled appsv1.PersistentVolumeClaimRetentionPolicyType
		going           *corev1.Pod
		have            []metav1.OwnerReference
		want            string
	}{
		"kept":                    {keep, keep, nil, nil, ""},
		"goes with the set":       {del, keep, nil, nil, "set"},
		"scaling keeps it":        {del, keep, going, nil, "set"},
		"scaling takes it":        {keep, del, going, nil, "pod"},
		"scaling up takes it not": {keep, del, nil, []metav1.OwnerReference{*metav1.NewControllerRef(going, podKind)}, ""},
		"others stay":             {del, del, nil, []metav1.OwnerReference{stranger}, "x set"},
		"policy was changed":      {keep, keep, nil, []metav1.OwnerReference{*metav1.NewControllerRef(set(1), kind)}, ""},
		"another's":               {del, del, nil, []metav1.OwnerReference{master}, "m"},
	} {
		s := set(1)
		s.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenDeleted: c.deleted, WhenScaled: c.scaled}
		var got []string
		for _, r := range owners(s, c.going, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{OwnerReferences: c.have}}) {
			got = append(got, string(r.UID))
		}
		require.Equal(t, c.want, strings.Join(got, " "), name)
	}
}
