package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"hyperkube/e2e/bench/load"
)

func fanOut() Scenario {
	const streams, makers, pods = 500, 8, 400
	f := Figure{Name: "watch events to 500 streams", Unit: "/s", Higher: true, Times: 10}
	bytes := Figure{Name: "watch events to 500 streams, bytes", Unit: "MB/s", Higher: true}
	cost := Figure{Name: "a watch event to one stream, CPU of the servers", Unit: "µs"}
	return Scenario{
		Name: "watch",
		Sentence: fmt.Sprintf("%d JSON watches of a namespace, each with its own TLS connection and read without decoding, while %d clients make %d pods: events and bytes received, "+
			"from the first pod's creation until every stream has all.", streams, makers, pods),
		Figures: []Figure{f, bytes, cost}, Limit: 4 * time.Minute,
		Run: onAPI(func(ctx context.Context, r *Round, cfg *rest.Config) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			var received atomic.Int64
			var wg sync.WaitGroup
			errs := make(chan error, streams)
			for range streams {
				s, err := load.OpenStream(ctx, cfg, load.Pods.Path(namespace, "")+"?watch=1")
				if err != nil {
					return err
				}
				wg.Go(func() {
					defer s.Close()
					for seen := 0; seen < pods; {
						n, b, err := s.Events()
						if err != nil {
							errs <- fmt.Errorf("a stream ended after %d events: %w", seen, err)
							return
						}
						seen += n
						received.Add(int64(b))
					}
				})
			}
			all, err := load.Clients(cfg, load.Protobuf, makers)
			if err != nil {
				return err
			}
			since, err := r.spent()
			if err != nil {
				return err
			}
			began := time.Now()
			_, err = load.Parallel(ctx, all, pods, func(ctx context.Context, a *load.API, n int) error {
				return a.Create(ctx, load.Pods, namespace, load.HollowPod(namespace, n))
			})
			if err != nil {
				return err
			}
			wg.Wait()
			took := time.Since(began).Seconds()
			close(errs)
			for e := range errs {
				err = errors.Join(err, e)
			}
			if err != nil {
				return err
			}
			each, err := since(streams * pods)
			if err != nil {
				return err
			}
			r.Record(cost.Name, each)
			r.Record(f.Name, streams*pods/took)
			r.Record(bytes.Name, megabytes(received.Load())/took)
			return nil
		}),
	}
}
