package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"hyperkube/e2e/bench/load"
	"hyperkube/e2e/bench/load/herd"
)

const (
	herdNodes = 1000
	herdPods  = 1000
	// lateness of a heartbeat after which a lease, which is renewed when a quarter of its time is over, would have ended.
	lateness = 30 * time.Second
	// herdCIDR has a range for each node: 4,096 of them.
	herdCIDR = "172.16.0.0/12"
)

func herds() []Scenario {
	return []Scenario{
		herdOf("herd", "", herd.Options{Nodes: herdNodes, Keep: true}),
		herdOf("herd-watches", ", each under its own identity and with a watch of its own pods", herd.Options{Nodes: herdNodes, Keep: true, WatchEach: true, AsNodes: true}),
	}
}

// herdOf measures a control plane with hollow nodes that are left alone, and then get pods and lose them.
func herdOf(name, how string, o herd.Options) Scenario {
	of := fmt.Sprintf("%d hollow nodes, ", o.Nodes)
	if how != "" {
		of = fmt.Sprintf("%d hollow nodes that watch, ", o.Nodes)
	}
	cpu := Figure{Name: of + "CPU of the control plane", Unit: "% of a core"}
	pss := Figure{Name: of + "memory of the control plane (PSS)", Unit: "MB"}
	written := Figure{Name: of + "handed to the disk", Unit: "kB/s"}
	out := Figure{Name: of + "rollout of a Deployment", Unit: "pods/s", Higher: true}
	outCost := Figure{Name: of + "a pod of the rollout, CPU of the control plane", Unit: "µs"}
	away := Figure{Name: of + "deletion of a Deployment", Unit: "pods/s", Higher: true}
	awayCost := Figure{Name: of + "a pod of the deletion, CPU of the control plane", Unit: "µs"}
	return Scenario{
		Name: name,
		Sentence: fmt.Sprintf("Datastore, API server, controllers and scheduler with %d nodes that exist only in the API%s: CPU time, proportional memory and bytes given to the disk over a minute "+
			"that begins half a minute after the last node was registered, and in which each renews its lease every 10 s and reports its conditions every 5 min; then a Deployment of %d replicas, "+
			"whose pods the nodes call Ready at once, from its creation until all are Ready, and from its deletion until the last pod is gone.", o.Nodes, how, herdPods),
		Figures: []Figure{cpu, pss, written, out, outCost, away, awayCost}, Limit: 8 * time.Minute, OwnDisk: true,
		Run: func(ctx context.Context, r *Round) error {
			return withHerd(ctx, r, o, func(ctx context.Context, cfg *rest.Config) error {
				if err := pass(ctx, settled); err != nil {
					return err
				}
				u, err := minute(ctx, r)
				if err != nil {
					return err
				}
				r.Record(cpu.Name, u.cpu)
				r.Record(pss.Name, megabytes(u.memory.PSS))
				r.Record(written.Name, u.written)
				api, err := load.NewAPI(cfg, load.Protobuf)
				if err != nil {
					return err
				}
				if err := load.AwaitServiceAccount(ctx, api, "default"); err != nil {
					return err
				}
				if err := r.recordPods(out, outCost, func() error { return rollOut(ctx, api) }); err != nil {
					return err
				}
				return r.recordPods(away, awayCost, func() error { return rollAway(ctx, api) })
			})
		},
	}
}

// withHerd starts a control plane and a herd and calls run when all nodes are registered. A heartbeat that failed, or came so late
// that the node could have been taken for dead, fails the round: it would not have measured what it says.
func withHerd(ctx context.Context, r *Round, o herd.Options, run func(context.Context, *rest.Config) error) error {
	options := controlPlane
	options.ClusterCIDR = herdCIDR
	if err := r.System.Prepare(ctx, options); err != nil {
		return err
	}
	if err := r.System.Start(ctx); err != nil {
		return err
	}
	cfg, err := r.System.Client()
	if err != nil {
		return err
	}
	h, err := herd.New(cfg, o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	select {
	case <-h.Registered():
		err = run(ctx, cfg)
	case err = <-ended:
		cancel()
		return errors.Join(err, errors.New("the herd ended before all nodes were registered"))
	}
	cancel()
	err = errors.Join(err, <-ended)
	c := h.Counts()
	if c.Failed() > 0 {
		err = errors.Join(err, fmt.Errorf("requests of the hollow nodes failed: %s", c.Told()))
	}
	if c.Late > lateness {
		err = errors.Join(err, fmt.Errorf("a heartbeat was late by %s", c.Late))
	}
	return err
}

// recordPods runs what all pods of the Deployment go through, and records how many did in a second and what each has cost.
func (r *Round) recordPods(rate, cost Figure, load func() error) error {
	at := time.Now()
	if err := r.recordCosts(costs{system: cost}, herdPods, load); err != nil {
		return err
	}
	r.Record(rate.Name, herdPods/time.Since(at).Seconds())
	return nil
}

const herdDeployment = "herd"

// rollOut makes the Deployment and returns when its status counts all pods as Ready.
func rollOut(ctx context.Context, api *load.API) error {
	replicas := int32(herdPods)
	labels := map[string]string{"app": herdDeployment}
	pod := load.HollowPod("", 0)
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: herdDeployment},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: pod.Annotations}, Spec: pod.Spec},
		},
	}
	if err := api.Create(ctx, load.Deployments, d.Namespace, d); err != nil {
		return err
	}
	o := metav1.ListOptions{FieldSelector: "metadata.name=" + d.Name}
	return load.Await(ctx, api, load.Deployments, d.Namespace, o, func(d *appsv1.Deployment) bool { return d.Status.ReadyReplicas == replicas })
}

// rollAway deletes the Deployment, as kubectl does, and returns when no pod is left.
func rollAway(ctx context.Context, api *load.API) error {
	var pods corev1.PodList
	o := metav1.ListOptions{LabelSelector: "app=" + herdDeployment}
	if err := api.List(ctx, load.Pods, "default", o, &pods); err != nil {
		return err
	}
	o.ResourceVersion = pods.ResourceVersion
	gone, err := api.Watch(ctx, load.Pods, "default", o)
	if err != nil {
		return err
	}
	defer gone.Stop()
	how := metav1.DeletePropagationBackground
	if err := api.DeleteWith(ctx, load.Deployments, "default", herdDeployment, metav1.DeleteOptions{PropagationPolicy: &how}); err != nil {
		return err
	}
	return load.Ends(ctx, gone, len(pods.Items))
}
