package podautoscaler

import (
	"math"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
)

// tolerance is the share by which usage may be above and below the target without a change.
type tolerance struct{ up, down float64 }

func toleranceOf(b *autoscalingv2.HorizontalPodAutoscalerBehavior, usual float64) tolerance {
	t := tolerance{usual, usual}
	if b == nil {
		return t
	}
	if b.ScaleUp != nil && b.ScaleUp.Tolerance != nil {
		t.up = b.ScaleUp.Tolerance.AsApproximateFloat64()
	}
	if b.ScaleDown != nil && b.ScaleDown.Tolerance != nil {
		t.down = b.ScaleDown.Tolerance.AsApproximateFloat64()
	}
	return t
}

func (t tolerance) within(ratio float64) bool { return ratio <= 1+t.up && ratio >= 1-t.down }

// samples are what pods use, by their names, in thousandths.
type samples map[string]int64

func (s samples) sum() (n int64) {
	for _, v := range s {
		n += v
	}
	return n
}

// demand is what a metric of pods asks for.
type demand struct {
	use     samples // of pods that count
	unready []string
	missing []string
	// target is what each pod should use: its own share of what it requests, or the same for all.
	target func(pod string) int64
	// full is what a pod without a sample is taken to use when there may be too many pods.
	full func(pod string) int64
}

func (d *demand) ratio(use samples) float64 {
	var want int64
	for pod := range use {
		want += d.target(pod)
	}
	if want == 0 {
		return 0
	}
	return float64(use.sum()) / float64(want)
}

// replicas turns usage into a size. Pods that are not ready, or of which nothing is known, are taken to use what makes the change smaller;
// a change that they turn round is not made.
func (d *demand) replicas(current int32, t tolerance) int32 {
	ratio := d.ratio(d.use)
	rebalance := len(d.unready) > 0 && ratio > 1
	if !rebalance && len(d.missing) == 0 {
		if t.within(ratio) {
			return current
		}
		return ceil(ratio * float64(len(d.use)))
	}
	all := samples{}
	for pod, v := range d.use {
		all[pod] = v
	}
	for _, pod := range d.missing {
		switch {
		case ratio < 1:
			all[pod] = d.full(pod)
		case ratio > 1:
			all[pod] = 0
		}
	}
	if rebalance {
		for _, pod := range d.unready {
			all[pod] = 0
		}
	}
	next := d.ratio(all)
	if t.within(next) || (ratio < 1 && next > 1) || (ratio > 1 && next < 1) {
		return current
	}
	n := ceil(next * float64(len(all)))
	if (next < 1 && n > current) || (next > 1 && n < current) {
		return current
	}
	return n
}

func ceil(v float64) int32 { return int32(min(math.Ceil(v), math.MaxInt32)) }

// forTotal is the size for one value that should be at the target with ready pods as they are now.
func forTotal(value, target int64, current, ready int32, t tolerance) int32 {
	if target == 0 {
		return current
	}
	ratio := float64(value) / float64(target)
	if current == 0 { // from none: as many as the value asks for
		return ceil(ratio)
	}
	if t.within(ratio) {
		return current
	}
	return ceil(ratio * float64(ready))
}

// forAverage is the size at which each pod has its share of a value.
func forAverage(value, target int64, current, running int32, t tolerance) int32 {
	if target == 0 {
		return current
	}
	if running > 0 && t.within(float64(value)/(float64(target)*float64(running))) {
		return current
	}
	return ceil(float64(value) / float64(target))
}

func quantity(milli int64) *resource.Quantity {
	if milli%1000 == 0 {
		return resource.NewQuantity(milli/1000, resource.DecimalSI)
	}
	return resource.NewMilliQuantity(milli, resource.DecimalSI)
}
