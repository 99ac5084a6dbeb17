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
	const streams, makers, pods = 500, 2, 400 // with more makers upstream ends the watches, which fall behind
	f := Figure{Name: "watch events to 500 streams", Unit: "/s", Higher: true, Times: 10}
	bytes := Figure{Name: "watch events to 500 streams, bytes", Unit: "MB/s", Higher: true}
	cost := costOf("a watch event to one stream")
	return Scenario{
		Name: "watch",
		Sentence: fmt.Sprintf("%d JSON watches of a namespace, each with its own TLS connection and read without decoding, while %d clients in another process make %d pods: events and bytes received, "+
			"from the first pod's creation until every stream has all.", streams, makers, pods),
		Figures: []Figure{f, bytes, cost.system, cost.load}, Limit: 4 * time.Minute,
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
			var received int64
			var took float64
			err = r.recordCosts(cost, streams*pods, func() error {
				made, err := fill(ctx, cfg, load.Protobuf, makers, pods)
				if err != nil {
					return err
				}
				rest := time.Now()
				received, err = readers.Wait()
				took = (made.Wall + time.Since(rest)).Seconds()
				return err
			})
			if err != nil {
				return err
			}
			r.Record(f.Name, streams*pods/took)
			r.Record(bytes.Name, megabytes(received)/took)
			return nil
		}),
	}
}
