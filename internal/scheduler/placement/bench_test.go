package placement

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// bench places b.N pods on 5,000 nodes, starting afresh every 5,000 pods.
func bench(b *testing.B, edit func(p *corev1.Pod, i int)) {
	const size = 5000
	prof := DefaultProfile()
	var s *State
	pods := make([]*Pod, 0, size)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%size == 0 {
			b.StopTimer()
			s = NewState(1)
			for j := range size {
				s.SetNode(node(fmt.Sprint("n", j), zone(fmt.Sprint("z", j%10))))
			}
			pods = pods[:0]
			for j := range size {
				p := pod(fmt.Sprint("p", j), requests("100m", "200Mi"), label("app", "x"))
				edit(p, j)
				pods = append(pods, NewPod(p))
			}
			b.StartTimer()
		}
		p := pods[i%size]
		r, err := s.Place(prof, p)
		if err != nil {
			b.Fatal(i, err)
		}
		s.AddPod(p, r.Node)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pods/s")
}

func BenchmarkBasic(b *testing.B) { bench(b, func(*corev1.Pod, int) {}) }

func BenchmarkZoneSpread(b *testing.B) {
	bench(b, func(p *corev1.Pod, _ int) {
		p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.DoNotSchedule,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}},
		}}
	})
}

func BenchmarkAntiAffinity(b *testing.B) {
	bench(b, func(p *corev1.Pod, _ int) {
		p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term("app", "x", corev1.LabelHostname)}}}
	})
}

func BenchmarkAffinity(b *testing.B) {
	bench(b, func(p *corev1.Pod, i int) {
		p.Labels["app"] = fmt.Sprint("x", i%10)
		p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term("app", p.Labels["app"], corev1.LabelTopologyZone)}}}
	})
}

func BenchmarkNewPod(b *testing.B) {
	p := pod("p", requests("100m", "200Mi"), label("app", "x"))
	for range b.N {
		NewPod(p)
	}
}
