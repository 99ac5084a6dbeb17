// Package taints is what controllers share about the taints of nodes: matching them with tolerations, and
// working out which to add and remove. It is pure.
package taints

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
)

// quiet takes what the API's matching function would log about malformed numbers; validation refuses those.
func quiet() klog.Logger { return klog.Logger{} }

// Tolerates says whether any of the tolerations fits the taint.
func Tolerates(tolerations []corev1.Toleration, t *corev1.Taint) bool {
	return slices.ContainsFunc(tolerations, func(x corev1.Toleration) bool { return x.ToleratesTaint(quiet(), t, true) })
}

// Untolerated finds the first taint of one of the effects that no toleration fits.
func Untolerated(ts []corev1.Taint, tolerations []corev1.Toleration, effects ...corev1.TaintEffect) (corev1.Taint, bool) {
	for i := range ts {
		if slices.Contains(effects, ts[i].Effect) && !Tolerates(tolerations, &ts[i]) {
			return ts[i], true
		}
	}
	return corev1.Taint{}, false
}

// NoExecute are those of the taints that evict.
func NoExecute(ts []corev1.Taint) []corev1.Taint {
	var out []corev1.Taint
	for _, t := range ts {
		if t.Effect == corev1.TaintEffectNoExecute {
			out = append(out, t)
		}
	}
	return out
}

// Stay says how long a pod may stay on a node with these evicting taints. forever is true when it need not go at all;
// a stay of 0 means at once.
func Stay(evicting []corev1.Taint, tolerations []corev1.Toleration) (stay time.Duration, forever bool) {
	shortest := time.Duration(-1)
	for i := range evicting {
		fits := false
		for j := range tolerations {
			if !tolerations[j].ToleratesTaint(quiet(), &evicting[i], true) {
				continue
			}
			fits = true
			if s := tolerations[j].TolerationSeconds; s != nil {
				d := max(time.Duration(*s)*time.Second, 0)
				if shortest < 0 || d < shortest {
					shortest = d
				}
			}
		}
		if !fits {
			return 0, false
		}
	}
	if shortest < 0 {
		return 0, true
	}
	return shortest, false
}

// Has says whether a taint of this key and effect is there.
func Has(ts []corev1.Taint, key string, effect corev1.TaintEffect) bool {
	return slices.ContainsFunc(ts, func(t corev1.Taint) bool { return t.Key == key && t.Effect == effect })
}

// Change gives the taints that a node should have: those that it has, without those of which managed says yes, and
// with the wanted ones. Wanted ones that are there stay as they are. changed is false when nothing differs.
func Change(have, wanted []corev1.Taint, managed func(*corev1.Taint) bool, now time.Time) (out []corev1.Taint, changed bool) {
	for i := range have {
		t := have[i]
		if managed(&t) && !Has(wanted, t.Key, t.Effect) {
			changed = true
			continue
		}
		out = append(out, t)
	}
	for _, w := range wanted {
		if Has(have, w.Key, w.Effect) {
			continue
		}
		added := metav1.NewTime(now)
		w.TimeAdded = &added
		out = append(out, w)
		changed = true
	}
	return out, changed
}
