// Package status tells how the node of this machine and its cluster are.
package status

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/cluster"
	"hyperkube/internal/object"
)

// patience bounds the questions to the cluster.
const patience = 5 * time.Second

// Command is `status`.
func Command() *cli.Command {
	return &cli.Command{
		Name: "status", Category: "Everyday",
		Usage: "say whether this machine's node runs and how its cluster is; fails when something is wrong",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "data-dir", Value: cluster.DefaultDataDir, Usage: "`DIR` of the node"},
			&cli.StringFlag{Name: "run-dir", Usage: "`DIR` of its sockets, when up was given one"},
		},
		Action: func(c *cli.Context) error {
			l, err := cluster.NewLayout(c.String("data-dir"), c.String("run-dir"))
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context, patience)
			defer cancel()
			return show(ctx, c.App.Writer, l)
		},
	}
}

func show(ctx context.Context, w io.Writer, l cluster.Layout) error {
	n, err := l.LoadNode()
	if err != nil {
		return err
	}
	pid, err := l.Running()
	if err != nil {
		return err
	}
	if pid == 0 {
		return fmt.Errorf("node %s is not running (data directory %s)", n.Name, l.Data)
	}
	fmt.Fprintf(w, "node %s runs as process %d, data in %s, API server %s\n", n.Name, pid, l.Data, n.Server)
	if !n.Master {
		return own(ctx, w, l, n.Name)
	}
	cfg, err := client.FromKubeconfig(l.AdminKubeconfig())
	if err != nil {
		return err
	}
	api, err := client.NewREST(cfg)
	if err != nil {
		return err
	}
	bad, err := components(ctx, w, api)
	if err != nil {
		return err
	}
	more, err := nodes(ctx, w, api)
	if err != nil {
		return err
	}
	if bad += more; bad > 0 {
		return fmt.Errorf("%d of them not well", bad)
	}
	return nil
}

// own asks the cluster for the one node that a machine without an administrator's credentials may see.
func own(ctx context.Context, w io.Writer, l cluster.Layout, name string) error {
	cfg, err := client.FromKubeconfig(l.NodeKubeconfig())
	if err != nil {
		return err
	}
	api, err := client.NewREST(cfg)
	if err != nil {
		return err
	}
	n, err := client.Nodes.Get(ctx, api, "", name)
	if err != nil {
		return err
	}
	state, message := readiness(n)
	fmt.Fprintf(w, "node   %s   %s   %s\n", name, state, message)
	if state != "Ready" {
		return fmt.Errorf("node %s is not well", name)
	}
	return nil
}

// readiness of a node, and what it says about it.
func readiness(n *corev1.Node) (state, message string) {
	state = "NotReady"
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			message = c.Message
			if c.Status == corev1.ConditionTrue {
				state = "Ready"
			}
		}
	}
	return state, message
}

func components(ctx context.Context, w io.Writer, api client.Interface) (bad int, err error) {
	all, err := api.List(ctx, corev1.SchemeGroupVersion.WithResource("componentstatuses"), "", metav1.ListOptions{})
	if err != nil {
		return 0, err
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, o := range all.Items {
		cs, ok := o.(*corev1.ComponentStatus)
		if !ok {
			continue
		}
		state, message := "Unknown", ""
		for _, c := range cs.Conditions {
			if c.Type == corev1.ComponentHealthy {
				state, message = "Unhealthy", cmp.Or(c.Message, c.Error)
				if c.Status == corev1.ConditionTrue {
					state = "Healthy"
				}
			}
		}
		if state != "Healthy" {
			bad++
		}
		fmt.Fprintf(t, "component\t%s\t%s\t%s\n", cs.Name, state, message)
	}
	return bad, t.Flush()
}

func nodes(ctx context.Context, w io.Writer, api client.Interface) (bad int, err error) {
	all, _, err := client.Nodes.List(ctx, api, "", metav1.ListOptions{})
	if err != nil {
		return 0, err
	}
	slices.SortFunc(all, func(a, b *corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, n := range all {
		state, message := readiness(n)
		if state != "Ready" {
			bad++
		}
		fmt.Fprintf(t, "node\t%s\t%s\t%s\n", object.KeyOf(n), state, message)
	}
	return bad, t.Flush()
}
