package scenario

import (
	"context"
	"time"

	"hyperkube/e2e/bench/load"
	"hyperkube/e2e/bench/system"
)

func start() Scenario {
	f := Figure{Name: "cold start to node Ready", Unit: "ms", Goal: 1000}
	return Scenario{
		Name:     "start",
		Sentence: "From the start of the first process with an empty data directory until the single node is Ready; upstream's certificates are made beforehand.",
		Figures:  []Figure{f},
		Limit:    2 * time.Minute,
		Run: func(ctx context.Context, r *Round) error {
			if err := r.System.Prepare(ctx, system.Options{Parts: system.Whole}); err != nil {
				return err
			}
			began := time.Now()
			if err := r.System.Start(ctx); err != nil {
				return err
			}
			r.Record(f.Name, milliseconds(time.Since(began)))
			return nil
		},
	}
}

func restart() Scenario {
	f := Figure{Name: "start again to node Ready", Unit: "ms", Goal: 1000}
	return Scenario{
		Name:     "restart",
		Sentence: "As start, with the data of a cluster that ran before and was stopped in good order.",
		Figures:  []Figure{f},
		Limit:    3 * time.Minute,
		Run: func(ctx context.Context, r *Round) error {
			if err := r.System.Prepare(ctx, system.Options{Parts: system.Whole}); err != nil {
				return err
			}
			if err := r.System.Start(ctx); err != nil {
				return err
			}
			if err := r.System.Stop(ctx); err != nil {
				return err
			}
			began := time.Now()
			if err := r.System.Start(ctx); err != nil {
				return err
			}
			r.Record(f.Name, milliseconds(time.Since(began)))
			return nil
		},
	}
}

func firstPod() Scenario {
	f := Figure{Name: "cold start to first pod Ready", Unit: "ms", Goal: 1500}
	return Scenario{
		Name:     "first-pod",
		Sentence: "From the start of the first process of a new cluster, on a node that has the image, until a pod that was made as soon as the node was Ready is Ready itself.",
		Figures:  []Figure{f},
		Limit:    3 * time.Minute,
		Run: func(ctx context.Context, r *Round) error {
			if err := withImage(ctx, r); err != nil {
				return err
			}
			if err := r.System.Stop(ctx); err != nil {
				return err
			}
			if err := r.System.Forget(ctx); err != nil {
				return err
			}
			if err := r.System.Prepare(ctx, system.Options{Parts: system.Whole}); err != nil {
				return err
			}
			began := time.Now()
			if err := r.System.Start(ctx); err != nil {
				return err
			}
			api, err := client(r)
			if err != nil {
				return err
			}
			if err := load.AwaitServiceAccount(ctx, api, "default"); err != nil {
				return err
			}
			if err := load.Run(ctx, api, load.Container("default", "first")); err != nil {
				return err
			}
			r.Record(f.Name, milliseconds(time.Since(began)))
			return nil
		},
	}
}

// withImage starts a whole cluster with the image of load.Container.
func withImage(ctx context.Context, r *Round) error {
	if err := r.System.Prepare(ctx, system.Options{Parts: system.Whole}); err != nil {
		return err
	}
	if err := r.System.Start(ctx); err != nil {
		return err
	}
	archive, err := load.Archive(r.Root, r.Box.Dir)
	if err != nil {
		return err
	}
	return r.System.Import(ctx, archive)
}

func client(r *Round) (*load.API, error) {
	cfg, err := r.System.Client()
	if err != nil {
		return nil, err
	}
	return load.NewAPI(cfg, load.JSON)
}
