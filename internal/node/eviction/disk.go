package eviction

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
)

// Disk is what a pod has on the node's disk, in bytes.
type Disk struct {
	// Containers have their writable layer and their logs.
	Containers map[string]int64
	// Volumes are the emptyDirs, those in memory too.
	Volumes map[string]int64
	// InMemory are the volumes that take no disk.
	InMemory map[string]bool
}

func (d *Disk) total() (n int64) {
	for _, v := range d.Containers {
		n += v
	}
	for name, v := range d.Volumes {
		if !d.InMemory[name] {
			n += v
		}
	}
	return n
}

// overLimits ends the pods that exceed their limits of local storage, and says whether there were any.
func (m *Manager) overLimits(ctx context.Context) (any bool) {
	for _, p := range m.cfg.Pods() {
		if !limited(p) {
			continue
		}
		d, err := m.cfg.Disk(ctx, p)
		if err != nil {
			m.log.Debug("disk use of a pod not measured", "pod", p.Namespace+"/"+p.Name, "error", err)
			continue
		}
		if text := exceeded(p, d); text != "" {
			m.log.Info("ending a pod over its storage limit", "pod", p.Namespace+"/"+p.Name, "why", text)
			m.ended.WithLabelValues("localstorage").Inc()
			m.cfg.End(p, text, grace)
			any = true
		}
	}
	return any
}

// limited says whether a pod has any limit of local storage. Only such pods are measured.
func limited(p *corev1.Pod) bool {
	for i := range p.Spec.Volumes {
		if e := p.Spec.Volumes[i].EmptyDir; e != nil && e.SizeLimit != nil && e.SizeLimit.Sign() > 0 {
			return true
		}
	}
	_, ok := resourcehelper.PodLimits(p, resourcehelper.PodResourcesOptions{})[corev1.ResourceEphemeralStorage]
	return ok
}

// exceeded says which limit a pod exceeds; "" when none.
func exceeded(p *corev1.Pod, d *Disk) string {
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		if e := v.EmptyDir; e != nil && e.SizeLimit != nil && e.SizeLimit.Sign() > 0 && d.Volumes[v.Name] > e.SizeLimit.Value() {
			return fmt.Sprintf("Usage of EmptyDir volume %q exceeds the limit %q. ", v.Name, e.SizeLimit.String())
		}
	}
	if l, ok := resourcehelper.PodLimits(p, resourcehelper.PodResourcesOptions{})[corev1.ResourceEphemeralStorage]; ok && d.total() > l.Value() {
		return fmt.Sprintf("Pod ephemeral local storage usage exceeds the total limit of containers %s. ", l.String())
	}
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		if l, ok := c.Resources.Limits[corev1.ResourceEphemeralStorage]; ok && d.Containers[c.Name] > l.Value() {
			return fmt.Sprintf("Container %s exceeded its local ephemeral storage limit %q. ", c.Name, l.String())
		}
	}
	return ""
}

// Usage is the disk space that a tree takes, in bytes. A file with several names is counted once, and other file systems not at all.
func Usage(root string) (int64, error) {
	var top unix.Stat_t
	if err := unix.Lstat(root, &top); err != nil {
		return 0, err
	}
	seen := map[uint64]bool{}
	var n int64
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed meanwhile
			}
			return err
		}
		var st unix.Stat_t
		switch err := unix.Lstat(path, &st); {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case st.Dev != top.Dev:
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case st.Nlink > 1 && !d.IsDir():
			if seen[st.Ino] {
				return nil
			}
			seen[st.Ino] = true
		}
		if path != root { // an empty volume uses nothing
			n += st.Blocks * 512
		}
		return nil
	})
	return n, err
}
