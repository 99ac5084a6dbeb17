package pods

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/node/cri"
)

// Orphans ends and removes whatever this node has of pods that it does not know: containers, volumes, cgroups and logs that an
// earlier kubelet left. It must be called only when every source of pods has told all of its pods.
func (m *Manager) Orphans(ctx context.Context) error {
	var errs []error
	seen, err := m.cfg.CRI.Pods(ctx)
	if err != nil {
		return err
	}
	for uid, s := range seen {
		if m.known(uid) {
			continue
		}
		m.log.Info("removing a pod that this node should not have", "pod", s.Namespace+"/"+s.Name, "uid", uid)
		errs = append(errs, m.endOrphan(ctx, uid, s))
	}
	dirs, err := m.cfg.Volumes.Pods()
	errs = append(errs, err)
	for _, uid := range dirs {
		if !m.known(uid) {
			errs = append(errs, m.cfg.Volumes.Teardown(ctx, uid))
			m.cfg.Users.Release(uid)
		}
	}
	if m.cfg.Cgroups != nil {
		groups, err := m.cfg.Cgroups.Pods()
		errs = append(errs, err)
		for _, uid := range groups {
			if !m.known(uid) {
				errs = append(errs, m.cfg.Cgroups.Remove(uid))
			}
		}
	}
	return errors.Join(append(errs, m.orphanLogs())...)
}

func (m *Manager) known(uid types.UID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pods[uid] != nil
}

// endOrphan stops a pod of which only the runtime knows, with the hooks and the grace period that its containers
// were made with.
func (m *Manager) endOrphan(ctx context.Context, uid types.UID, seen *cri.Pod) error {
	obj := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: seen.Namespace, Name: seen.Name, UID: uid}}
	grace := int64(corev1.DefaultTerminationGracePeriodSeconds)
	for _, c := range seen.Containers {
		if g, ok := c.TerminationGrace(); ok {
			grace = g
			break
		}
	}
	if err := m.stopAll(ctx, newPod(obj), obj, seen, grace, "orphan"); err != nil {
		return fmt.Errorf("orphaned pod %s/%s: %w", seen.Namespace, seen.Name, err)
	}
	return m.removeAll(ctx, seen)
}

// orphanLogs removes the log directories of pods that are gone.
func (m *Manager) orphanLogs() error {
	entries, err := os.ReadDir(m.cfg.LogDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		i := strings.LastIndexByte(e.Name(), '_')
		if i < 0 || m.known(types.UID(e.Name()[i+1:])) {
			continue
		}
		errs = append(errs, os.RemoveAll(filepath.Join(m.cfg.LogDir, e.Name())))
	}
	return errors.Join(errs...)
}
