// Package node is the kubelet: it runs the pods that the API assigns to this node, and those of a directory, on a container
// runtime, and keeps the Node object true.
//
// [New] reads the machine and makes the parts, [Kubelet.Run] starts them and returns when its context ends; containers
// go on running then, and the next kubelet takes them over. [Kubelet.Ready] is closed when the node is Ready.
//
// The parts, each a package below: cri (the runtime), pods (what each pod needs next, done), plan (decided), spec (a
// pod's spec in the runtime's terms), status (a pod's status), volume, objects (config maps and secrets), env, downward,
// probe, hook, logs, eviction, static (pods of a directory), nodestatus (the Node object and its lease), stats, server (the HTTPS API),
// userns (user IDs), trust (certificates of pods), bootstrap (certificates of the node).
package node

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
	"hyperkube/internal/lifecycle"
	"hyperkube/internal/node/cgroup"
	"hyperkube/internal/node/downward"
	"hyperkube/internal/node/eviction"
	"hyperkube/internal/node/image"
	"hyperkube/internal/node/logs"
	"hyperkube/internal/node/nodestatus"
	"hyperkube/internal/node/objects"
	"hyperkube/internal/node/pods"
	"hyperkube/internal/node/spec"
	"hyperkube/internal/node/static"
	"hyperkube/internal/node/status"
	"hyperkube/internal/node/trust"
	"hyperkube/internal/node/userns"
	"hyperkube/internal/node/volume"
)

// Kubelet runs the pods of a node.
type Kubelet struct {
	cfg  Config
	log  *slog.Logger
	ctx  context.Context
	stop context.CancelFunc

	informers *client.Informers
	assigned  *client.Informer[*corev1.Pod]
	services  *client.Informer[*corev1.Service]
	self      *client.Informer[*corev1.Node]

	node   *spec.Node
	groups *cgroup.Manager // nil without cgroups of pods
	pods   *pods.Manager
	status *nodestatus.Manager
	// collector removes unused images; nil when nobody does.
	collector *image.Collector
	eviction  *eviction.Manager
	static    *static.Manager
	events    record.EventRecorder
	writer    *status.Writer
	ran       atomic.Bool
}

// New makes a kubelet. Nothing runs before Run.
func New(cfg Config) (*Kubelet, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	machine, capacity, allocatable, err := cfg.machine()
	if err != nil {
		return nil, err
	}
	k := &Kubelet{cfg: cfg, log: slog.Default().With("component", "kubelet"), node: cfg.node(machine, allocatable)}
	if !cfg.NoPodCgroups {
		if k.groups, err = cfg.cgroups(capacity); err != nil {
			return nil, err
		}
	}
	k.ctx, k.stop = context.WithCancel(context.Background())
	k.writer = status.NewWriter(k.ctx, cfg.Client)
	if cfg.Client != nil {
		k.informers = client.NewInformers(cfg.Client)
		k.assigned = client.InformerWith(k.informers, client.Pods, client.Select{Fields: "spec.nodeName=" + cfg.NodeName})
		k.services = client.InformerFor(k.informers, client.Services)
		k.self = client.InformerWith(k.informers, client.Nodes, client.Select{Fields: "metadata.name=" + cfg.NodeName})
		k.events = client.NewRecorder(k.ctx, cfg.Client, "kubelet", cfg.NodeName)
	}
	k.status = nodestatus.New(nodestatus.Config{
		Client: cfg.Client, CRI: cfg.CRI, Name: cfg.NodeName, Hostname: cfg.Hostname, IPs: cfg.NodeIPs, Labels: cfg.Labels, Taints: cfg.Taints,
		ProviderID: cfg.ProviderID, Register: !cfg.NoRegister, Port: k.port(), Version: cfg.Version, Machine: machine, Capacity: capacity,
		Allocatable: allocatable, Pressure: func() (nodestatus.Pressure, error) { return k.eviction.Pressure() }, MaxImages: cfg.MaxImages, LeaseDuration: cfg.LeaseSeconds,
		ReportEvery: cfg.StatusEvery, Event: k.nodeEvent,
	})
	users, err := userns.New(filepath.Join(cfg.RootDir, "pods"), int(cfg.MaxPods)+usersToSpare)
	if err != nil {
		return nil, err
	}
	if err := k.makeCollector(); err != nil {
		return nil, err
	}
	k.makePods(users)
	k.static = static.New(static.Config{Path: cfg.PodManifestPath, NodeName: cfg.NodeName, Client: cfg.Client, Default: cfg.DefaultPod,
		Update: k.pods.Update, Remove: k.pods.Remove, MirrorChanged: k.pods.Wake})
	k.status.OnNetwork(k.pods.WakeAll)
	return k, nil
}

func (k *Kubelet) port() int32 {
	if k.cfg.Server == nil {
		return 0
	}
	return k.cfg.Server.Port
}

// usersToSpare are ranges of user IDs for pods that are ending while others begin.
const usersToSpare = 64

func (k *Kubelet) makePods(users *userns.Allocator) {
	cfg := &k.cfg
	objs := objects.New(cfg.Client, k.informers, func(uid types.UID) { k.pods.Wake(uid) })
	vc := volume.Config{RootDir: cfg.RootDir, Objects: objs, Tokens: k.tokens(), Claims: cfg.Claims, Facts: k.facts}
	if cfg.Client != nil {
		wake := func(uid types.UID) { k.pods.Wake(uid) }
		vc.Bundles = trust.NewBundles(k.informers, wake)
		vc.Certificates = trust.NewCertificates(trust.CertificatesConfig{Client: cfg.Client, Informers: k.informers, NodeName: cfg.NodeName, Changed: wake})
	}
	vols := volume.New(vc)
	pc := pods.Config{
		CRI: cfg.CRI, Client: cfg.Client, Volumes: vols, Objects: objs, Images: k.images(objs), Users: users, Events: podEvents{k},
		Writer: k.writer, Node: k.node, HostIPs: func() []string { return cfg.NodeIPs }, StatusTarget: k.target, Admit: k.admit, Fit: k.fit,
		NetworkReady: k.status.NetworkReady, LogDir: cfg.PodLogsDir, ContainerLogsDir: cfg.ContainerLogsDir, MaxRestartDelay: cfg.MaxRestartDelay,
	}
	if k.groups != nil {
		pc.Cgroups = k.groups
	}
	if cfg.Client != nil {
		pc.Services, pc.ServicesReady = k.services.List, k.services.WaitForSync
	}
	k.pods = pods.New(pc)
	k.makeEviction(vols)
}

// facts of a pod for the downward API.
func (k *Kubelet) facts(p *corev1.Pod) downward.Facts {
	return downward.Facts{PodIPs: status.PodIPs(p, k.pods.Seen(p.UID), k.cfg.NodeIPs), HostIPs: k.cfg.NodeIPs, Allocatable: k.node.Allocatable}
}

// target is the object that a pod's status is written to.
func (k *Kubelet) target(p *corev1.Pod) *corev1.Pod {
	if !static.IsStatic(p) {
		return p
	}
	return k.static.Target(p)
}

// Ready is closed when the node is Ready in the API; without one, when it can run pods.
func (k *Kubelet) Ready() <-chan struct{} { return k.status.Ready() }

// Pods is the manager of the node's pods.
func (k *Kubelet) Pods() *pods.Manager { return k.pods }

// Run until ctx ends. It can be called once: its second call fails for good.
func (k *Kubelet) Run(ctx context.Context) error {
	if k.ran.Swap(true) {
		return lifecycle.Fatal(errors.New("a kubelet can run once"))
	}
	defer k.stop()
	serve, err := k.servers()
	if err != nil {
		return lifecycle.Fatal(err)
	}
	// Everything must listen before the first pod is told, and the static pods must be known before leftovers are removed.
	if k.cfg.Client != nil {
		k.assigned.OnChange(k.changed)
		k.self.OnChange(func(_, now *corev1.Node) { k.status.Seen(now) })
		k.informers.Start(k.ctx)
	}
	k.static.Load()
	var g lifecycle.Group
	part := func(name string, run func(context.Context) error) {
		g.Start(lifecycle.Part{Name: "kubelet " + name, Run: run})
	}
	part("pods", k.pods.Run)
	part("node status", k.status.Run)
	part("static pods", k.static.Run)
	part("leftovers", k.tidy)
	part("logs", k.rotateLogs)
	if k.collector != nil {
		part("images", k.collector.Run)
	}
	part("eviction", k.eviction.Run)
	for _, f := range serve {
		part("server", f)
	}
	return g.Wait(ctx)
}

// changed takes a change of a pod of the API.
func (k *Kubelet) changed(old, now *corev1.Pod) {
	switch {
	case now == nil && static.IsMirror(old):
		k.static.Mirror(old, true)
		k.writer.Forget(old.UID)
	case now == nil:
		k.pods.Remove(old.UID)
	case static.IsMirror(now):
		if old != nil && old.UID != now.UID {
			k.writer.Forget(old.UID)
		}
		k.writer.Seen(now)
		k.static.Mirror(now, false)
	default:
		if old != nil && old.UID != now.UID {
			k.pods.Remove(old.UID)
		}
		k.writer.Seen(now)
		if old == nil || needsSync(old, now) {
			k.pods.Update(now)
		}
	}
}

// tidy removes what earlier kubelets left of pods that are gone, once all pods are known and the runtime answers.
func (k *Kubelet) tidy(ctx context.Context) error {
	if k.assigned != nil && k.assigned.WaitForSync(ctx) != nil {
		return untilDone(ctx)
	}
	delay := 100 * time.Millisecond
	for ctx.Err() == nil {
		err := k.pods.Orphans(ctx)
		if err == nil {
			return untilDone(ctx)
		}
		k.log.Info("leftovers of earlier pods not removed", "error", err, "retryIn", delay)
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
		delay = min(2*delay, time.Minute)
	}
	return nil
}

// untilDone waits for the end of a part that has done its work.
func untilDone(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// rotateLogs looks at the sizes of the logs of running containers.
func (k *Kubelet) rotateLogs(ctx context.Context) error {
	r := logs.Rotation{MaxSize: k.cfg.LogMaxSize, MaxFiles: k.cfg.LogMaxFiles, Reopen: k.pods.ReopenLog, Now: time.Now}
	t := time.NewTicker(k.cfg.LogCheck)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		for id, path := range k.pods.RunningLogs() {
			if err := r.Check(ctx, id, path); err != nil && ctx.Err() == nil {
				k.log.Warn("log not rotated", "container", id, "error", err)
			}
		}
	}
}
