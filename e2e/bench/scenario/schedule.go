package scenario

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"hyperkube/e2e/bench/load"
	"hyperkube/e2e/bench/system"
)

const hollowNodes = 5000

// schedule measures how fast waiting pods of one kind get their nodes.
func schedule(name, what string, pods int, times float64, shape func(*corev1.Pod)) Scenario {
	f := Figure{Name: "schedule pods, " + what, Unit: "/s", Higher: true, Times: times}
	return Scenario{
		Name: "schedule-" + name,
		Sentence: fmt.Sprintf("%d waiting pods (%s) on %d nodes that exist only in the API, in ten zones: pods bound per second, from the first to the last that a watch sees "+
			"after API server and scheduler were started on them.", pods, what, hollowNodes),
		Figures: []Figure{f}, Limit: 5 * time.Minute,
		Run: onAPI(func(ctx context.Context, r *Round, cfg *rest.Config) error {
			all, err := load.Clients(cfg, load.Protobuf, clients)
			if err != nil {
				return err
			}
			_, err = load.Parallel(ctx, all, hollowNodes+pods, func(ctx context.Context, a *load.API, n int) error {
				if n < hollowNodes {
					return a.Create(ctx, load.Nodes, "", load.HollowNode(n))
				}
				p := load.HollowPod(namespace, n-hollowNodes)
				shape(p)
				return a.Create(ctx, load.Pods, namespace, p)
			})
			if err != nil {
				return err
			}
			if err := r.System.Stop(ctx); err != nil {
				return err
			}
			rate := make(chan float64, 1)
			failed := make(chan error, 1)
			go func() {
				v, err := bindings(ctx, cfg, pods)
				if err != nil {
					failed <- err
					return
				}
				rate <- v
			}()
			if err := r.System.Prepare(ctx, system.Options{Parts: []system.Part{system.Scheduler}}); err != nil {
				return err
			}
			if err := r.System.Start(ctx); err != nil {
				return err
			}
			select {
			case v := <-rate:
				r.Record(f.Name, v)
				return nil
			case err := <-failed:
				return err
			}
		}),
	}
}

// bindings follows the pods that have a node, from the moment that the API server can be reached, and gives their rate. A server may end a
// watch that is read too slowly: the next begins with all pods that have a node by then.
func bindings(ctx context.Context, cfg *rest.Config, pods int) (float64, error) {
	var first time.Time
	for {
		s, err := load.OpenStreamWhenUp(ctx, cfg, load.Pods.Path(namespace, "")+"?watch=1&resourceVersion=0&fieldSelector=spec.nodeName%21%3D")
		if err != nil {
			return 0, err
		}
		seen := 0
		for ; seen < pods; seen++ {
			if _, _, err := s.Events(); err != nil {
				break
			}
			if first.IsZero() {
				first = time.Now()
			}
		}
		s.Close()
		if seen == pods {
			return float64(pods-1) / time.Since(first).Seconds(), nil
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("after %d of %d pods: %w", seen, pods, ctx.Err())
		}
	}
}

func schedules() []Scenario {
	self := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "bench"}}
	return []Scenario{
		schedule("basic", "resource requests only", 5000, 10, func(*corev1.Pod) {}),
		schedule("spread", "spread over zones", 2000, 15, func(p *corev1.Pod) {
			p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
				MaxSkew: 5, TopologyKey: load.ZoneLabel, WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: self,
			}}
		}),
		schedule("anti-affinity", "required anti-affinity by host", 2000, 15, func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: load.HostLabel, LabelSelector: self}},
			}}
		}),
		schedule("affinity", "required affinity by zone", 2000, 15, func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: load.ZoneLabel, LabelSelector: self}},
			}}
		}),
	}
}
