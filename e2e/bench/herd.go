package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"hyperkube/e2e/bench/load/herd"
)

const herdVerb = "herd"

// tend keeps a herd of hollow nodes on any cluster until it is interrupted, and tells how it goes.
func tend(ctx context.Context, args []string) error {
	var o herd.Options
	var kubeconfig string
	var every time.Duration
	f := flag.NewFlagSet(herdVerb, flag.ContinueOnError)
	f.StringVar(&kubeconfig, "kubeconfig", "", "file that names the cluster and its administrator")
	f.IntVar(&o.Nodes, "nodes", 1000, fmt.Sprintf("hollow nodes, at most %d", herd.MaxNodes))
	f.StringVar(&o.Prefix, "prefix", "hollow", "what the nodes' names begin with")
	f.IntVar(&o.Connections, "connections", 4, "connections to the API server")
	f.IntVar(&o.Hands, "hands", 100, "requests at once for heartbeats, and as many for pods")
	f.DurationVar(&o.Renew, "renew-interval", 10*time.Second, "time between renewals of a node's lease")
	f.DurationVar(&o.Report, "report-interval", 5*time.Minute, "time between reports of a node's conditions")
	f.BoolVar(&o.WatchEach, "watch-each", false, "have each node watch its own pods, as kubelets do, instead of all together")
	f.BoolVar(&o.AsNodes, "as-nodes", false, "make requests under each node's own identity")
	f.BoolVar(&o.Keep, "keep", false, "leave the nodes when this ends")
	f.DurationVar(&every, "tell", 10*time.Second, "time between lines that tell how it goes")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if every <= 0 {
		return fmt.Errorf("-tell: %s is not more than nothing", every)
	}
	if kubeconfig == "" {
		return fmt.Errorf("-kubeconfig is needed")
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	h, err := herd.New(cfg, o)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	return tell(h, o.Nodes, every, ended)
}

// tell prints a line for each interval until the herd has ended.
func tell(h *herd.Herd, nodes int, every time.Duration, ended <-chan error) error {
	began := time.Now()
	tick := time.NewTicker(every)
	defer tick.Stop()
	registered := h.Registered()
	var last herd.Counts
	for {
		select {
		case <-registered:
			fmt.Printf("%d nodes registered after %.1f s\n", nodes, time.Since(began).Seconds())
			registered = nil
		case <-tick.C:
			c := h.Counts()
			fmt.Printf("%4.0f s: leases renewed %.0f/s, conditions reported %.1f/s, pods made Ready %d, removed %d, heartbeats late by at most %.0f ms, requests failed %d\n",
				time.Since(began).Seconds(), float64(c.Renewed-last.Renewed)/every.Seconds(), float64(c.Reported-last.Reported)/every.Seconds(),
				c.Started, c.Removed, float64(c.Late.Milliseconds()), c.Failed())
			if c.Failed() > last.Failed() {
				fmt.Fprintln(os.Stderr, "failed so far:", c.Told())
			}
			last = c
		case err := <-ended:
			if c := h.Counts(); c.Failed() > last.Failed() {
				fmt.Fprintln(os.Stderr, "failed in all:", c.Told())
			}
			return err
		}
	}
}
