package deployment

import (
	appsv1 "k8s.io/api/apps/v1"
	intstrutil "k8s.io/apimachinery/pkg/util/intstr"
)

// scaling is one change of size to make.
type scaling struct {
	set *appsv1.ReplicaSet
	to  int32
}

func active(sets []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	var out []*appsv1.ReplicaSet
	for _, rs := range sets {
		if rs != nil && *rs.Spec.Replicas > 0 {
			out = append(out, rs)
		}
	}
	return out
}

func wanted(sets ...*appsv1.ReplicaSet) (n int32) {
	for _, rs := range sets {
		if rs != nil {
			n += *rs.Spec.Replicas
		}
	}
	return n
}

func available(sets ...*appsv1.ReplicaSet) (n int32) {
	for _, rs := range sets {
		if rs != nil {
			n += rs.Status.AvailableReplicas
		}
	}
	return n
}

// fenceposts are how many pods there may be above spec.replicas, and how many may be missing. A share in per cent
// is rounded up for the surge and down for the unavailable; when both come out as 0, one may be missing, or
// nothing could ever move.
func fenceposts(d *appsv1.Deployment) (surge, unavailable int32) {
	if d.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType || d.Spec.Strategy.RollingUpdate == nil || *d.Spec.Replicas == 0 {
		return 0, 0
	}
	ru, n := d.Spec.Strategy.RollingUpdate, int(*d.Spec.Replicas)
	surge, unavailable = share(ru.MaxSurge, n, true), share(ru.MaxUnavailable, n, false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, min(unavailable, int32(n))
}

func share(v *intstrutil.IntOrString, of int, up bool) int32 {
	if v == nil {
		return 0
	}
	n, err := intstrutil.GetScaledValueFromIntOrPercent(v, of, up)
	if err != nil || n < 0 { // validation refuses both
		return 0
	}
	return int32(n)
}

// rollUp is the size that the new replica set may have now.
func rollUp(d *appsv1.Deployment, new *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) int32 {
	want := *d.Spec.Replicas
	have := int32(0)
	if new != nil {
		have = *new.Spec.Replicas
	}
	if have >= want {
		return want
	}
	if d.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType {
		return want
	}
	surge, _ := fenceposts(d)
	room := want + surge - wanted(old...) - have
	if room <= 0 {
		return have
	}
	return have + min(room, want-have)
}

// rollDown are the old replica sets that may shrink now: first by their pods that do not work anyway, then by as many
// as are available beyond the least number that must be. Oldest first.
func rollDown(d *appsv1.Deployment, new *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) []scaling {
	if wanted(old...) == 0 {
		return nil
	}
	_, unavailable := fenceposts(d)
	least := *d.Spec.Replicas - unavailable
	newMissing := *new.Spec.Replicas - new.Status.AvailableReplicas
	room := wanted(old...) + *new.Spec.Replicas - least - newMissing
	if room <= 0 {
		return nil
	}
	size := make([]int32, len(old))
	for i, rs := range old {
		size[i] = *rs.Spec.Replicas
		unhealthy := max(size[i]-rs.Status.AvailableReplicas, 0)
		n := min(unhealthy, room)
		size[i] -= n
		room -= n
	}
	spare := available(old...) + new.Status.AvailableReplicas - least
	for i := range old {
		n := max(min(spare, size[i]), 0)
		size[i] -= n
		spare -= n
	}
	var plan []scaling
	for i, rs := range old {
		if size[i] != *rs.Spec.Replicas {
			plan = append(plan, scaling{rs, size[i]})
		}
	}
	return plan
}
