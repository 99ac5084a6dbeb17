package node

import (
	"context"
	"errors"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/node/image"
	"hyperkube/internal/node/objects"
	"hyperkube/internal/node/pods"
)

// images gets the images of pods from registries.
func (k *Kubelet) images(objs *objects.Cache) pods.Images {
	if k.cfg.Images != nil {
		return k.cfg.Images
	}
	return image.New(image.Config{
		Images: k.cfg.CRI.Images, Events: podEvents{k}, Parallel: k.cfg.ParallelPulls,
		ConfigFiles: []string{filepath.Join(k.cfg.RootDir, "config.json")},
		Waiting:     func(reason, message string) error { return &pods.Waiting{Reason: reason, Message: message} },
		Secrets: func(_ context.Context, p *corev1.Pod) ([]*corev1.Secret, error) {
			var out []*corev1.Secret
			var errs []error
			for _, r := range p.Spec.ImagePullSecrets {
				s, err := objs.Secret(p.Namespace, r.Name)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				out = append(out, s)
			}
			return out, errors.Join(errs...)
		},
	})
}

// makeCollector makes what removes unused images when the disk fills up.
func (k *Kubelet) makeCollector() (err error) {
	if k.cfg.ImageGC == nil {
		return nil
	}
	cfg := *k.cfg.ImageGC
	cfg.Runtime, cfg.Images, cfg.NodeEvent = k.cfg.CRI.Runtime, k.cfg.CRI.Images, k.nodeEventOf
	k.collector, err = image.NewCollector(cfg)
	return err
}
