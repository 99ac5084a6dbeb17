package volume

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
)

// emptyDir makes a directory that everybody may write to, in memory when asked for.
func (m *Manager) emptyDir(pod *corev1.Pod, st *podVolumes, v *corev1.Volume, dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	switch medium := v.EmptyDir.Medium; {
	case medium == corev1.StorageMediumMemory:
		if err := mountTmpfs(dir, m.memorySize(pod, v.EmptyDir)); err != nil {
			return err
		}
	case strings.HasPrefix(string(medium), string(corev1.StorageMediumHugePages)):
		if err := mountHugepages(dir, pod, medium); err != nil {
			return err
		}
	case medium != corev1.StorageMediumDefault:
		return fmt.Errorf("unknown storage medium %q", medium)
	}
	if st.owned[v.Name] {
		return nil
	}
	if err := initialOwnership(pod, dir); err != nil {
		return err
	}
	st.owned[v.Name] = true
	return nil
}

// initialOwnership of an emptyDir. Once the directory has been given away it is left alone, also after a
// restart of the kubelet: its content belongs to the pod.
func initialOwnership(pod *corev1.Pod, dir string) error {
	ready := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".ready")
	tmpfs, err := isMountPoint(dir)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(ready); err == nil && !tmpfs {
		return nil
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		return err
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return err
	}
	if g := fsGroup(pod); g != nil {
		if err := giveToGroup(dir, *g, false); err != nil {
			return err
		}
	}
	return os.WriteFile(ready, nil, 0o600)
}

// memorySize is the least of the volume's limit, the memory that the pod may use, and what the node has to give.
func (m *Manager) memorySize(pod *corev1.Pod, e *corev1.EmptyDirVolumeSource) int64 {
	f := m.cfg.Facts(pod)
	size := f.Allocatable.Memory().Value()
	limits := resourcehelper.PodLimits(pod, resourcehelper.PodResourcesOptions{})
	all := true
	for _, c := range pod.Spec.Containers {
		if c.Resources.Limits.Memory().IsZero() {
			all = false
		}
	}
	if l := limits.Memory().Value(); all && l > 0 && (size == 0 || l < size) {
		size = l
	}
	if e.SizeLimit != nil && e.SizeLimit.Sign() > 0 && (size == 0 || e.SizeLimit.Value() < size) {
		size = e.SizeLimit.Value()
	}
	return size
}

func mountHugepages(dir string, pod *corev1.Pod, medium corev1.StorageMedium) error {
	if there, err := isMountPoint(dir); err != nil || there {
		return err
	}
	size, err := hugepageSize(pod, medium)
	if err != nil {
		return err
	}
	if err := unix.Mount("nodev", dir, "hugetlbfs", 0, fmt.Sprintf("pagesize=%d", size)); err != nil {
		return fmt.Errorf("mount hugetlbfs at %s: %w", dir, err)
	}
	return nil
}

// hugepageSize is in the medium (HugePages-2Mi), or the only one that the pod requests.
func hugepageSize(pod *corev1.Pod, medium corev1.StorageMedium) (int64, error) {
	if s, ok := strings.CutPrefix(string(medium), string(corev1.StorageMediumHugePagesPrefix)); ok {
		q, err := resource.ParseQuantity(s)
		return q.Value(), err
	}
	sizes := map[int64]bool{}
	for _, c := range append(append([]corev1.Container{}, pod.Spec.Containers...), pod.Spec.InitContainers...) {
		for name := range c.Resources.Requests {
			if s, ok := strings.CutPrefix(string(name), corev1.ResourceHugePagesPrefix); ok {
				q, err := resource.ParseQuantity(s)
				if err != nil {
					return 0, err
				}
				sizes[q.Value()] = true
			}
		}
	}
	if len(sizes) != 1 {
		return 0, fmt.Errorf("medium %q needs a pod that requests exactly one size of huge pages, this one requests %d", medium, len(sizes))
	}
	for s := range sizes {
		return s, nil
	}
	return 0, nil
}

func fsGroup(pod *corev1.Pod) *int64 {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.FSGroup
}

// giveToGroup makes a tree belong to a group that may read it, and write it unless readOnly; new files in its directories
// belong to the group too.
func giveToGroup(root string, gid int64, readOnly bool) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := os.Lchown(path, -1, int(gid)); err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chmod(path, groupMode(info.Mode(), readOnly))
	})
}

func groupMode(mode fs.FileMode, readOnly bool) fs.FileMode {
	add := fs.FileMode(0o660)
	if readOnly {
		add = 0o440
	}
	if mode.IsDir() {
		add |= 0o110 | fs.ModeSetgid
	}
	return mode&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) | add
}
