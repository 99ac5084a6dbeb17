package scenario

import (
	"context"
	"fmt"
	"os"
	"time"

	"k8s.io/client-go/rest"

	"hyperkube/e2e/bench/load"
)

// ReadersVerb is the first argument by which the measuring program becomes the readers of a watch scenario.
const ReadersVerb = "@readers"

func fanOut() Scenario {
	const streams, makers, pods = 500, 8, 400
	f := Figure{Name: "watch events to 500 streams", Unit: "/s", Higher: true, Times: 10}
	bytes := Figure{Name: "watch events to 500 streams, bytes", Unit: "MB/s", Higher: true}
	cost := Figure{Name: "a watch event to one stream, CPU of the servers", Unit: "µs"}
	return Scenario{
		Name: "watch",
		Sentence: fmt.Sprintf("%d JSON watches of a namespace, each with its own TLS connection and read without decoding, while %d clients in another process make %d pods: events and bytes received, "+
			"from the first pod's creation until every stream has all.", streams, makers, pods),
		Figures: []Figure{f, bytes, cost}, Limit: 4 * time.Minute,
		Run: onAPI(func(ctx context.Context, r *Round, cfg *rest.Config) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			readers, err := load.StartReaders(r.Box.Client(ctx, self, ReadersVerb), cfg,
				load.Reading{Path: load.Pods.Path(namespace, "") + "?watch=1", Streams: streams, Events: pods})
			if err != nil {
				return err
			}
			defer readers.Close()
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
			received, err := readers.Wait()
			if err != nil {
				return err
			}
			took := time.Since(began).Seconds()
			each, err := since(streams * pods)
			if err != nil {
				return err
			}
			r.Record(cost.Name, each)
			r.Record(f.Name, streams*pods/took)
			r.Record(bytes.Name, megabytes(received)/took)
			return nil
		}),
	}
}
