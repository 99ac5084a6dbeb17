package deployment

import (
	"cmp"
	"math"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
)

// resizing shares out a change of spec.replicas. With one replica set in use it takes all; when the
// new one is complete the old ones go to nothing; in the middle of a rolling update every one in use
// grows or shrinks in proportion to its size, so that the mixture stays as it is.
func resizing(d *appsv1.Deployment, new *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) []scaling {
	if only := activeOrLatest(new, old); only != nil {
		return []scaling{{only, *d.Spec.Replicas}}
	}
	if saturated(d, new) {
		var plan []scaling
		for _, rs := range active(old) {
			plan = append(plan, scaling{rs, 0})
		}
		return plan
	}
	if d.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType {
		return nil
	}
	sets := active(append(slices.Clone(old), new))
	return proportional(d, sets)
}

func activeOrLatest(new *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) *appsv1.ReplicaSet {
	used := active(append(slices.Clone(old), new))
	switch {
	case len(used) == 1:
		return used[0]
	case len(used) > 1:
		return nil
	case new != nil:
		return new
	case len(old) > 0:
		return old[len(old)-1]
	}
	return nil
}

func saturated(d *appsv1.Deployment, new *appsv1.ReplicaSet) bool {
	if new == nil {
		return false
	}
	desired, ok := annotated(new, DesiredReplicasAnnotation)
	want := *d.Spec.Replicas
	return ok && desired == want && *new.Spec.Replicas == want && new.Status.AvailableReplicas == want
}

// proportional shares the pods to add (or remove) among the sets; what rounding leaves over goes to the
// largest. Of two of one size the newer grows and the older shrinks.
func proportional(d *appsv1.Deployment, sets []*appsv1.ReplicaSet) []scaling {
	surge, _ := fenceposts(d)
	allowed := int32(0)
	if *d.Spec.Replicas > 0 {
		allowed = *d.Spec.Replicas + surge
	}
	add := allowed - wanted(sets...)
	slices.SortStableFunc(sets, func(a, b *appsv1.ReplicaSet) int {
		if c := cmp.Compare(*b.Spec.Replicas, *a.Spec.Replicas); c != 0 {
			return c
		}
		if add > 0 {
			return byAge(b, a)
		}
		return byAge(a, b)
	})
	plan := make([]scaling, len(sets))
	added := int32(0)
	for i, rs := range sets {
		n := portion(d, rs, add, added)
		plan[i] = scaling{rs, *rs.Spec.Replicas + n}
		added += n
	}
	if len(plan) > 0 {
		plan[0].to = max(plan[0].to+add-added, 0)
	}
	return plan
}

// portion is what one set gets of add, of which added is given away already.
func portion(d *appsv1.Deployment, rs *appsv1.ReplicaSet, add, added int32) int32 {
	left := add - added
	if add == 0 || left == 0 {
		return 0
	}
	n := fraction(d, rs)
	if add > 0 {
		return max(min(n, left), 0)
	}
	return min(max(n, left), 0)
}

// fraction is by how much a set would change if it kept its share of the whole.
func fraction(d *appsv1.Deployment, rs *appsv1.ReplicaSet) int32 {
	have := *rs.Spec.Replicas
	if *d.Spec.Replicas == 0 {
		return -have
	}
	surge, _ := fenceposts(d)
	before, ok := annotated(rs, MaxReplicasAnnotation)
	if !ok || before == 0 {
		before = d.Status.Replicas
	}
	if before == 0 {
		return 0
	}
	next := float64(have) * float64(*d.Spec.Replicas+surge) / float64(before)
	return int32(math.Round(next)) - have
}
