package stats

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/node/cgroup"
	"hyperkube/internal/node/cri"
)

// Cgroups gives the use of pods' cgroups. An error that is cgroup.ErrNotFound means that the pod or container has just ended.
type Cgroups interface {
	PodStats(uid types.UID) (*cgroup.Stats, error)
	ContainerStats(uid types.UID, id string) (*cgroup.Stats, error)
}

// Source of figures. Safe for concurrent use.
type Source struct {
	CRI      *cri.Client
	Cgroups  Cgroups // nil: no figures of pods
	NodeName string
	RootDir  string
	Memory   int64 // of the machine, bytes
	Pods     func() []*corev1.Pod
	Seen     func(types.UID) *cri.Pod

	mu    sync.Mutex
	rates map[string]sample
}

// sample of a CPU counter, for the rate until the next one.
type sample struct {
	at    time.Time
	ns    uint64
	cores uint64 // the last rate, in nanocores
}

// podUse is what one pod uses.
type podUse struct {
	pod        *corev1.Pod
	sandbox    string
	all        *cgroup.Stats
	containers []containerUse
	network    *rt.NetworkUsage
}

type containerUse struct {
	c     *cri.Container
	use   *cgroup.Stats
	layer *rt.FilesystemUsage
}

// collect reads the cgroups of every pod that runs. full adds the network and the writable layers, which the runtime is asked for.
func (s *Source) collect(ctx context.Context, full bool) []podUse {
	if s.Cgroups == nil {
		return nil
	}
	var out []podUse
	for _, p := range s.Pods() {
		seen := s.Seen(p.UID)
		sb := seen.ReadySandbox()
		if sb == nil {
			continue
		}
		all, err := s.Cgroups.PodStats(p.UID)
		if err != nil {
			continue // it has just ended
		}
		u := podUse{pod: p, sandbox: sb.Id, all: all}
		for _, c := range seen.Running() {
			if use, err := s.Cgroups.ContainerStats(p.UID, c.Id); err == nil {
				u.containers = append(u.containers, containerUse{c: c, use: use})
			}
		}
		out = append(out, u)
	}
	if full {
		s.addRuntime(ctx, out)
	}
	s.forget()
	return out
}

// addRuntime adds what only the runtime knows. One that cannot tell leaves it out.
func (s *Source) addRuntime(ctx context.Context, pods []podUse) {
	layers := map[string]*rt.FilesystemUsage{}
	if resp, err := s.CRI.Runtime.ListContainerStats(ctx, &rt.ListContainerStatsRequest{}); err == nil {
		for _, c := range resp.Stats {
			layers[c.GetAttributes().GetId()] = c.WritableLayer
		}
	}
	for i := range pods {
		p := &pods[i]
		for j := range p.containers {
			p.containers[j].layer = layers[p.containers[j].c.Id]
		}
		if p.pod.Spec.HostNetwork {
			continue // its traffic is the node's
		}
		if resp, err := s.CRI.Runtime.PodSandboxStats(ctx, &rt.PodSandboxStatsRequest{PodSandboxId: p.sandbox}); err == nil {
			p.network = resp.GetStats().GetLinux().GetNetwork()
		}
	}
}

// Bounds of the time over which a rate is measured.
const (
	rateMin = time.Second
	rateMax = 5 * time.Minute
)

// nanocores is the rate of a CPU counter since it was last asked for; nil the first time.
func (s *Source) nanocores(key string, at time.Time, ns uint64) *uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rates == nil {
		s.rates = map[string]sample{}
	}
	last, ok := s.rates[key]
	d := at.Sub(last.at)
	switch {
	case !ok || d > rateMax || ns < last.ns:
		s.rates[key] = sample{at: at, ns: ns}
		return nil
	case d < rateMin && last.cores > 0:
		cores := last.cores
		return &cores
	case d < rateMin:
		return nil
	}
	cores := uint64(float64(ns-last.ns) / d.Seconds())
	s.rates[key] = sample{at, ns, cores}
	return &cores
}

// forget the samples of what was not asked for in a long time.
func (s *Source) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, v := range s.rates {
		if time.Since(v.at) > 2*rateMax {
			delete(s.rates, k)
		}
	}
}
