package scenario

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/e2e/bench/load"
)

func pods() Scenario {
	const single, together = 10, 20
	p50 := Figure{Name: "pod create to Ready, one at a time, p50", Unit: "ms", Goal: 200}
	rate := Figure{Name: "pods made 20 at a time", Unit: "/s", Higher: true, Goal: 11}
	return Scenario{
		Name:     "pods",
		Sentence: fmt.Sprintf("On a whole node with the image present: %d pods of one container, one after another; then %d more at once, from the first creation until all are Ready.", single, together),
		Figures:  []Figure{p50, rate}, Limit: 4 * time.Minute,
		Run: func(ctx context.Context, r *Round) error {
			if err := withImage(ctx, r); err != nil {
				return err
			}
			api, err := client(r)
			if err != nil {
				return err
			}
			if err := load.AwaitServiceAccount(ctx, api, "default"); err != nil {
				return err
			}
			var each []time.Duration
			for n := range single {
				at := time.Now()
				if err := load.Run(ctx, api, load.Container("default", fmt.Sprintf("one-%d", n))); err != nil {
					return err
				}
				each = append(each, time.Since(at))
			}
			r.Record(p50.Name, milliseconds(load.Quantile(each, 0.5)))
			at := time.Now()
			if err := many(ctx, api, "together", together); err != nil {
				return err
			}
			r.Record(rate.Name, together/time.Since(at).Seconds())
			return nil
		},
	}
}

// many makes pods at once and returns when all are Ready.
func many(ctx context.Context, api *load.API, name string, count int) error {
	var all []*load.API
	for range 8 {
		all = append(all, api)
	}
	_, err := load.Parallel(ctx, all, count, func(ctx context.Context, a *load.API, n int) error {
		p := load.Container("default", fmt.Sprintf("%s-%d", name, n))
		p.Labels["wave"] = name
		return a.Create(ctx, load.Pods, p.Namespace, p)
	})
	if err != nil {
		return err
	}
	ready := map[string]bool{}
	return load.Await(ctx, api, load.Pods, "default", metav1.ListOptions{LabelSelector: "wave=" + name}, func(p *corev1.Pod) bool {
		if load.PodReady(p) {
			ready[p.Name] = true
		}
		return len(ready) == count
	})
}

func loadedNode() Scenario {
	const count = 55
	pss := Figure{Name: "node with 55 pods, memory of all programs (PSS)", Unit: "MB"}
	cpu := Figure{Name: "node with 55 pods, CPU", Unit: "% of a core"}
	return Scenario{
		Name: "node",
		Sentence: fmt.Sprintf("A whole single-node cluster with %d pods of one container that does nothing: proportional memory of all its processes, shims included and containers not, and "+
			"CPU time over a minute that begins half a minute after the last pod was Ready.", count),
		Figures: []Figure{pss, cpu}, Limit: 6 * time.Minute,
		Run: func(ctx context.Context, r *Round) error {
			if err := withImage(ctx, r); err != nil {
				return err
			}
			api, err := client(r)
			if err != nil {
				return err
			}
			if err := load.AwaitServiceAccount(ctx, api, "default"); err != nil {
				return err
			}
			if err := many(ctx, api, "idle", count); err != nil {
				return err
			}
			return overMinute(ctx, r, settled, pss.Name, cpu.Name)
		},
	}
}

func idleControl() Scenario {
	pss := Figure{Name: "idle control plane, memory (PSS)", Unit: "MB"}
	cpu := Figure{Name: "idle control plane, CPU", Unit: "% of a core"}
	return Scenario{
		Name:     "idle-control",
		Sentence: "Datastore, API server, controllers and scheduler without any node: proportional memory and CPU time over a minute that begins half a minute after the start.",
		Figures:  []Figure{pss, cpu}, Limit: 4 * time.Minute,
		Run: func(ctx context.Context, r *Round) error {
			if err := r.System.Prepare(ctx, controlPlane); err != nil {
				return err
			}
			if err := r.System.Start(ctx); err != nil {
				return err
			}
			return overMinute(ctx, r, settled, pss.Name, cpu.Name)
		},
	}
}

// overMinute records memory and CPU of a system left alone.
func overMinute(ctx context.Context, r *Round, after time.Duration, pss, cpu string) error {
	if err := pass(ctx, after); err != nil {
		return err
	}
	at := time.Now()
	before, err := r.Box.CPU()
	if err != nil {
		return err
	}
	if err := pass(ctx, measured); err != nil {
		return err
	}
	used, err := r.Box.CPU()
	if err != nil {
		return err
	}
	m, err := r.Box.Memory()
	if err != nil {
		return err
	}
	r.Record(pss, megabytes(m.PSS))
	r.Record(cpu, 100*(used-before).Seconds()/time.Since(at).Seconds())
	return nil
}
