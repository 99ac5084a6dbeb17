package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/node/env"
)

// Mounts gives the CRI mounts of a container's volumeMounts, and makes the bind mounts of its subPaths. vars is the container's
// environment, for subPathExpr; images are the references of image volumes, by volume.
func (m *Manager) Mounts(pod *corev1.Pod, c *corev1.Container, vars map[string]string, images map[string]*rt.ImageSpec) ([]*rt.Mount, error) {
	var out []*rt.Mount
	for i := range c.VolumeMounts {
		vm := &c.VolumeMounts[i]
		mount, err := m.mount(pod, c.Name, i, vm, vars, images)
		if err != nil {
			return nil, err
		}
		out = append(out, mount)
	}
	return out, nil
}

func (m *Manager) mount(pod *corev1.Pod, container string, i int, vm *corev1.VolumeMount, vars map[string]string, images map[string]*rt.ImageSpec) (*rt.Mount, error) {
	target := vm.MountPath
	if !filepath.IsAbs(target) {
		target = filepath.Join("/", target)
	}
	subPath, err := subPathOf(vm, vars)
	if err != nil {
		return nil, err
	}
	if img := images[vm.Name]; img != nil {
		return &rt.Mount{ContainerPath: target, Image: img, ImageSubPath: subPath, Readonly: true}, nil
	}
	host, ok := m.Path(pod.UID, vm.Name)
	if !ok {
		return nil, fmt.Errorf("cannot find volume %q to mount into container %q", vm.Name, container)
	}
	if subPath != "" {
		if host, err = m.bindSubPath(pod.UID, vm.Name, host, subPath, container, i); err != nil {
			return nil, err
		}
	}
	mount := &rt.Mount{
		ContainerPath: target, HostPath: host,
		Readonly:    vm.ReadOnly || alwaysReadOnly(pod, vm.Name),
		Propagation: propagation(vm.MountPropagation),
	}
	mount.RecursiveReadOnly = recursive(vm)
	return mount, nil
}

func subPathOf(vm *corev1.VolumeMount, vars map[string]string) (string, error) {
	if vm.SubPathExpr == "" {
		return checkSubPath(vm.SubPath)
	}
	var missing string
	p := env.Expand(vm.SubPathExpr, func(name string) (string, bool) {
		v, ok := vars[name]
		if !ok || v == "" {
			missing = name
		}
		return v, ok
	})
	if missing != "" {
		return "", fmt.Errorf("missing value for %q", missing)
	}
	return checkSubPath(p)
}

func checkSubPath(p string) (string, error) {
	if p == "" {
		return "", nil
	}
	if filepath.IsAbs(p) {
		return "", fmt.Errorf("error SubPath `%s` must not be an absolute path", p)
	}
	for _, part := range strings.Split(p, "/") {
		if part == ".." {
			return "", fmt.Errorf("unable to provision SubPath `%s`: must not contain '..'", p)
		}
	}
	return p, nil
}

// alwaysReadOnly volumes are those whose content the kubelet writes.
func alwaysReadOnly(pod *corev1.Pod, volume string) bool {
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; v.Name == volume {
			return v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil ||
				v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ReadOnly
		}
	}
	return false
}

func propagation(p *corev1.MountPropagationMode) rt.MountPropagation {
	switch {
	case p == nil:
		return rt.MountPropagation_PROPAGATION_PRIVATE
	case *p == corev1.MountPropagationHostToContainer:
		return rt.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
	case *p == corev1.MountPropagationBidirectional:
		return rt.MountPropagation_PROPAGATION_BIDIRECTIONAL
	}
	return rt.MountPropagation_PROPAGATION_PRIVATE
}

// recursive read-only is asked for as Enabled, or as IfPossible, which runc can do on every kernel since 5.12.
func recursive(vm *corev1.VolumeMount) bool {
	return vm.ReadOnly && vm.RecursiveReadOnly != nil && *vm.RecursiveReadOnly != corev1.RecursiveReadOnlyDisabled
}

// ReadFile reads a file of one of the pod's volumes, refusing every way out of it.
func (m *Manager) ReadFile(pod *corev1.Pod, volume, path string) ([]byte, error) {
	host, ok := m.Path(pod.UID, volume)
	if !ok {
		return nil, fmt.Errorf("cannot find volume %q", volume)
	}
	root, err := os.OpenRoot(host)
	if err != nil {
		return nil, err
	}
	data, err := root.ReadFile(path)
	return data, errors.Join(err, root.Close())
}

// TerminationMessage makes the file that is mounted over a container's terminationMessagePath, writable for
// every user that the container may run as.
func (m *Manager) TerminationMessage(pod *corev1.Pod, container string, attempt int) (string, error) {
	dir := filepath.Join(m.PodDir(pod.UID), "containers", container)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	path := filepath.Join(dir, fmt.Sprintf("%08x", attempt))
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		return "", err
	}
	return path, os.Chmod(path, 0o666)
}
