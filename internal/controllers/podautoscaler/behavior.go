package podautoscaler

import (
	"math"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

const withinRange = "DesiredWithinRange"

// history is what an autoscaler wanted and did in the last time.
type history struct {
	wanted []mark // recommendations before stabilisation
	done   []mark // changes of the size
}

type mark struct {
	at time.Time
	n  int32
}

func (h *history) changed(by int32, now time.Time) { h.done = append(h.done, mark{now, by}) }

// keepFor is the longest window and the longest period that the API allows.
const keepFor = time.Hour

func (h *history) forget(now time.Time) {
	old := func(m mark) bool { return now.Sub(m.at) > keepFor }
	h.wanted, h.done = slices.DeleteFunc(h.wanted, old), slices.DeleteFunc(h.done, old)
}

// size is a decision, and what the conditions AbleToScale and ScalingLimited say of it.
type size struct {
	replicas      int32
	able, limited text
}

type text struct{ reason, message string }

// limit turns what the metrics ask for into the next size: no more than what was wanted all the time in the window, no faster than the
// policies allow, and within the bounds.
func limit(h *autoscalingv2.HorizontalPodAutoscaler, past *history, current, wanted int32, down time.Duration, now time.Time) size {
	up, dn := rules(h.Spec.Behavior, down)
	past.forget(now)
	past.wanted = append(past.wanted, mark{now, wanted})
	var out size
	stable := stabilise(past.wanted, current, seconds(up.StabilizationWindowSeconds), seconds(dn.StabilizationWindowSeconds), now)
	switch {
	case stable == wanted:
		out.able = text{"ReadyForNewScale", "recommended size matches current size"}
	case stable < wanted:
		out.able = text{"ScaleUpStabilized", "recent recommendations were lower than current one, applying the lowest recent recommendation"}
	default:
		out.able = text{"ScaleDownStabilized", "recent recommendations were higher than current one, applying the highest recent recommendation"}
	}
	out.replicas, out.limited = bound(h, past, current, stable, up, dn, now)
	return out
}

// stabilise moves no further than to what was asked for all the time in the windows.
func stabilise(wanted []mark, current int32, up, down time.Duration, now time.Time) int32 {
	last := wanted[len(wanted)-1].n
	low, high := last, last
	for _, m := range wanted {
		if age := now.Sub(m.at); age <= up {
			low = min(low, m.n)
		}
		if age := now.Sub(m.at); age <= down {
			high = max(high, m.n)
		}
	}
	return min(max(current, low), high)
}

func bound(h *autoscalingv2.HorizontalPodAutoscaler, past *history, current, want int32, up, down autoscalingv2.HPAScalingRules, now time.Time) (int32, text) {
	least, most := minReplicas(&h.Spec), h.Spec.MaxReplicas
	switch {
	case want > current:
		fast := max(rate(up, past, current, now, true), current)
		if want > min(fast, most) {
			if fast < most {
				return fast, text{"ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate"}
			}
			return most, text{"TooManyReplicas", "the desired replica count is more than the maximum replica count"}
		}
	case want < current:
		fast := min(rate(down, past, current, now, false), current)
		if want < max(fast, least) {
			if fast > least {
				return fast, text{"ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate"}
			}
			return least, text{"TooFewReplicas", "the desired replica count is less than the minimum replica count"}
		}
	}
	return want, text{withinRange, "the desired count is within the acceptable range"}
}

// rate is the size up or down to which policies allow to go now.
func rate(r autoscalingv2.HPAScalingRules, past *history, current int32, now time.Time, up bool) int32 {
	if *r.SelectPolicy == autoscalingv2.DisabledPolicySelect {
		return current
	}
	var out []int32
	for _, p := range r.Policies {
		start := current // as it was at the start of the policy's period
		for _, m := range past.done {
			if now.Sub(m.at) < time.Duration(p.PeriodSeconds)*time.Second {
				start -= m.n
			}
		}
		change, sign := float64(p.Value), 1.0
		if p.Type == autoscalingv2.PercentScalingPolicy {
			change = float64(start) * float64(p.Value) / 100
		}
		if !up {
			sign = -1
		}
		n := float64(start) + sign*change
		if up {
			n = math.Ceil(n)
		} else {
			n = math.Floor(n)
		}
		out = append(out, int32(min(max(n, 0), math.MaxInt32)))
	}
	if len(out) == 0 {
		return current
	}
	if up == (*r.SelectPolicy == autoscalingv2.MaxChangePolicySelect) {
		return slices.Max(out)
	}
	return slices.Min(out)
}

func seconds(n *int32) time.Duration { return time.Duration(*n) * time.Second }

// rules fills in what an autoscaler does not say: up at once, by four pods or to the double in fifteen seconds; down at any rate,
// after a window.
func rules(b *autoscalingv2.HorizontalPodAutoscalerBehavior, window time.Duration) (up, down autoscalingv2.HPAScalingRules) {
	largest, none, slow := autoscalingv2.MaxChangePolicySelect, int32(0), int32(window/time.Second)
	up = autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: &none, SelectPolicy: &largest, Policies: []autoscalingv2.HPAScalingPolicy{
		{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15}, {Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}}}
	down = autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: &slow, SelectPolicy: &largest, Policies: []autoscalingv2.HPAScalingPolicy{
		{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}}}
	if b != nil {
		overlay(&up, b.ScaleUp)
		overlay(&down, b.ScaleDown)
	}
	return up, down
}

func overlay(r *autoscalingv2.HPAScalingRules, by *autoscalingv2.HPAScalingRules) {
	if by == nil {
		return
	}
	if by.StabilizationWindowSeconds != nil {
		r.StabilizationWindowSeconds = by.StabilizationWindowSeconds
	}
	if by.SelectPolicy != nil {
		r.SelectPolicy = by.SelectPolicy
	}
	if by.Policies != nil {
		r.Policies = by.Policies
	}
	r.Tolerance = by.Tolerance
}
