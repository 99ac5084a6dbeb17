package node

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
	kubetypes "k8s.io/kubelet/pkg/types"

	"hyperkube/internal/node/eviction"
	"hyperkube/internal/node/spec"
	"hyperkube/internal/node/volume"
)

// makeEviction makes what ends pods when they, or the node, use too much.
func (k *Kubelet) makeEviction(vols *volume.Manager) {
	cfg := eviction.Config{
		RootDir: k.cfg.RootDir, Thresholds: *k.cfg.EvictionHard, Soft: k.cfg.EvictionSoft, Transition: k.cfg.EvictionHysteresis, Pods: func() []*corev1.Pod { return k.pods.Active() },
		Disk: func(ctx context.Context, p *corev1.Pod) (*eviction.Disk, error) { return k.disk(ctx, vols, p) },
		End: func(p *corev1.Pod, message string, grace int64) {
			podEvents{k}.Event(p, "", corev1.EventTypeWarning, eviction.Reason, message)
			k.pods.End(p.UID, eviction.Reason, message, &grace)
		},
		Reclaim: func(ctx context.Context) error {
			if k.collector == nil {
				return nil
			}
			_, err := k.collector.RemoveUnused(ctx)
			return err
		},
		Changed: func() { k.status.Kick() },
	}
	if k.groups != nil {
		cfg.Stats = k.groups.PodStats
	}
	k.eviction = eviction.New(cfg)
}

// disk measures what a pod has on the node's disk.
func (k *Kubelet) disk(ctx context.Context, vols *volume.Manager, p *corev1.Pod) (*eviction.Disk, error) {
	d := &eviction.Disk{Containers: map[string]int64{}, Volumes: map[string]int64{}, InMemory: map[string]bool{}}
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		path, ok := vols.Path(p.UID, v.Name)
		if v.EmptyDir == nil || !ok {
			continue
		}
		n, err := eviction.Usage(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		d.Volumes[v.Name], d.InMemory[v.Name] = n, v.EmptyDir.Medium != corev1.StorageMediumDefault
	}
	resp, err := k.cfg.CRI.Runtime.ListContainerStats(ctx, &rt.ListContainerStatsRequest{
		Filter: &rt.ContainerStatsFilter{LabelSelector: map[string]string{kubetypes.KubernetesPodUIDLabel: string(p.UID)}},
	})
	if err != nil {
		return nil, err
	}
	for _, c := range resp.Stats {
		d.Containers[c.GetAttributes().GetMetadata().GetName()] += int64(c.GetWritableLayer().GetUsedBytes().GetValue())
	}
	logs := spec.LogDir(k.cfg.PodLogsDir, p)
	spec.AllContainers(&p.Spec, func(c *corev1.Container) {
		if n, usageErr := eviction.Usage(filepath.Join(logs, c.Name)); usageErr == nil {
			d.Containers[c.Name] += n
		}
	})
	return d, nil
}
