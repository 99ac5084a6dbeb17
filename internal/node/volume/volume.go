// Package volume puts the volumes of pods on disk and takes them away again.
//
// [Manager.Setup] makes or refreshes every volume that a pod's containers mount; it is idempotent, so
// the kubelet calls it at each sync, and the content of config maps, secrets, downward API and tokens
// follows. Content is swapped atomically: a reader sees all old or all new files. [Manager.Mounts]
// turns a container's volumeMounts into CRI mounts. [Manager.Teardown] unmounts and removes all of a pod.
// Calls for one pod must not overlap (the pod's worker serialises them); those for different pods may.
//
// Layout below the root directory, as upstream's:
//
//	pods/<uid>/volumes/kubernetes.io~<plugin>/<volume>     the volume
//	pods/<uid>/volume-subpaths/<volume>/<container>/<n>    bind mounts of subPaths
//	pods/<uid>/containers/<container>/<attempt>            termination messages
//	pods/<uid>/etc-hosts                                   the managed /etc/hosts
package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/node/downward"
	"hyperkube/internal/node/env"
)

// Token is a service account token and the times of its life.
type Token struct {
	Value   string
	Issued  time.Time
	Expires time.Time
}

// Tokens issues service account tokens bound to a pod.
type Tokens interface {
	Token(ctx context.Context, pod *corev1.Pod, audience string, seconds int64) (Token, error)
}

// Claims mounts persistent volume claims, generic ephemeral volumes and CSI volumes.
type Claims interface {
	// Mount makes the volume available and gives its path on the host and whether it may only be read.
	Mount(ctx context.Context, pod *corev1.Pod, v *corev1.Volume, dir string) (path string, err error)
	// Unmount undoes every Mount of the pod.
	Unmount(ctx context.Context, uid types.UID) error
}

// Bundles gives the certificates that the cluster trusts, for the projections of pods that it is released from in the end.
type Bundles interface {
	PEM(ctx context.Context, pod types.UID, p *corev1.ClusterTrustBundleProjection) ([]byte, error)
	Release(pod types.UID)
}

// Certificates gives pods certificates of their own.
type Certificates interface {
	PEM(ctx context.Context, pod *corev1.Pod, id string, p *corev1.PodCertificateProjection) (key, chain []byte, err error)
	// Next is when one of the pod's should be looked at again; zero is never.
	Next(pod types.UID) time.Time
	Release(pod types.UID)
}

// Config is what volumes are made from.
type Config struct {
	RootDir string
	Objects env.Objects
	Tokens  Tokens
	// Bundles and Certificates are nil without an API server.
	Bundles      Bundles
	Certificates Certificates
	// Claims is optional: without it pods with claims wait with FailedMount.
	Claims Claims
	Facts  func(pod *corev1.Pod) downward.Facts
	Now    func() time.Time
}

// Manager of all volumes of a node.
type Manager struct {
	cfg Config

	mu   sync.Mutex
	pods map[types.UID]*podVolumes
}

// podVolumes is what is known of a pod's volumes besides the disk.
type podVolumes struct {
	paths  map[string]string // by volume
	owned  map[string]bool   // emptyDirs whose ownership was set
	tokens map[tokenKey]keptToken
}

// keptToken is a token and, when it could not be replaced, when to try again.
type keptToken struct {
	Token
	retry time.Time
}

// due is when to replace it.
func (t keptToken) due() time.Time {
	if at := rotateAt(t.Token); at.After(t.retry) {
		return at
	}
	return t.retry
}

type tokenKey struct {
	audience string
	seconds  int64
}

// New makes a manager.
func New(cfg Config) *Manager {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Manager{cfg: cfg, pods: map[types.UID]*podVolumes{}}
}

// PodDir is the directory of a pod.
func (m *Manager) PodDir(uid types.UID) string {
	return filepath.Join(m.cfg.RootDir, "pods", string(uid))
}

func (m *Manager) state(uid types.UID) *podVolumes {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.pods[uid]
	if p == nil {
		p = &podVolumes{paths: map[string]string{}, owned: map[string]bool{}, tokens: map[tokenKey]keptToken{}}
		m.pods[uid] = p
	}
	return p
}

// Setup makes or refreshes the pod's volumes. The first volume that cannot be made is the error; its text is that
// of the FailedMount event.
func (m *Manager) Setup(ctx context.Context, pod *corev1.Pod) error {
	st := m.state(pod.UID)
	for _, d := range []string{"volumes", "plugins", "containers"} {
		if err := os.MkdirAll(filepath.Join(m.PodDir(pod.UID), d), 0o750); err != nil {
			return err
		}
	}
	used := mounted(&pod.Spec)
	var errs []error
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if !used[v.Name] || v.Image != nil {
			continue
		}
		path, err := m.setup(ctx, pod, st, v)
		if err != nil {
			errs = append(errs, fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", v.Name, err))
			continue
		}
		m.mu.Lock()
		st.paths[v.Name] = path
		m.mu.Unlock()
	}
	return errors.Join(errs...)
}

// mounted are the volumes that some container uses.
func mounted(s *corev1.PodSpec) map[string]bool {
	used := map[string]bool{}
	add := func(ms []corev1.VolumeMount, ds []corev1.VolumeDevice, vars []corev1.EnvVar) {
		for _, m := range ms {
			used[m.Name] = true
		}
		for _, d := range ds {
			used[d.Name] = true
		}
		for _, e := range vars {
			if e.ValueFrom != nil && e.ValueFrom.FileKeyRef != nil {
				used[e.ValueFrom.FileKeyRef.VolumeName] = true
			}
		}
	}
	for _, c := range s.InitContainers {
		add(c.VolumeMounts, c.VolumeDevices, c.Env)
	}
	for _, c := range s.Containers {
		add(c.VolumeMounts, c.VolumeDevices, c.Env)
	}
	for _, c := range s.EphemeralContainers {
		add(c.VolumeMounts, c.VolumeDevices, c.Env)
	}
	return used
}

func (m *Manager) setup(ctx context.Context, pod *corev1.Pod, st *podVolumes, v *corev1.Volume) (string, error) {
	dir := func(plugin string) string {
		return filepath.Join(m.PodDir(pod.UID), "volumes", "kubernetes.io~"+plugin, v.Name)
	}
	switch {
	case v.EmptyDir != nil:
		d := dir("empty-dir")
		return d, m.emptyDir(pod, st, v, d)
	case v.HostPath != nil:
		return v.HostPath.Path, checkHostPath(v.HostPath)
	case v.ConfigMap != nil:
		d := dir("configmap")
		return d, m.content(ctx, pod, st, v, d, false)
	case v.Secret != nil:
		d := dir("secret")
		return d, m.content(ctx, pod, st, v, d, true)
	case v.DownwardAPI != nil:
		d := dir("downward-api")
		return d, m.content(ctx, pod, st, v, d, true)
	case v.Projected != nil:
		d := dir("projected")
		return d, m.content(ctx, pod, st, v, d, true)
	case m.cfg.Claims != nil && (v.PersistentVolumeClaim != nil || v.Ephemeral != nil || v.CSI != nil || v.NFS != nil):
		return m.cfg.Claims.Mount(ctx, pod, v, filepath.Join(m.PodDir(pod.UID), "volumes"))
	case v.PersistentVolumeClaim != nil:
		return "", fmt.Errorf("persistent volume claim %q: this node has no storage for claims", v.PersistentVolumeClaim.ClaimName)
	}
	return "", errors.New("no volume plugin matched")
}

// Path is where a volume of the pod is on the host, after Setup.
func (m *Manager) Path(uid types.UID, volume string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.pods[uid]
	if p == nil {
		return "", false
	}
	path, ok := p.paths[volume]
	return path, ok
}

// NextRefresh is when Setup should be called again although nothing changed: a token is due to be
// replaced. Zero means never.
func (m *Manager) NextRefresh(uid types.UID) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	var next time.Time
	if p := m.pods[uid]; p != nil {
		for _, t := range p.tokens {
			if at := t.due(); next.IsZero() || at.Before(next) {
				next = at
			}
		}
	}
	if m.cfg.Certificates != nil {
		if at := m.cfg.Certificates.Next(uid); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// Teardown unmounts everything of a pod and removes its directory. It may be called for pods that were
// never set up by this process, and again after an error.
func (m *Manager) Teardown(ctx context.Context, uid types.UID) error {
	if m.cfg.Claims != nil {
		if err := m.cfg.Claims.Unmount(ctx, uid); err != nil {
			return err
		}
	}
	dir := m.PodDir(uid)
	if err := unmountBelow(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if m.cfg.Bundles != nil {
		m.cfg.Bundles.Release(uid)
	}
	if m.cfg.Certificates != nil {
		m.cfg.Certificates.Release(uid)
	}
	m.mu.Lock()
	delete(m.pods, uid)
	m.mu.Unlock()
	return nil
}

// Pods lists the pods that have a directory.
func (m *Manager) Pods() ([]types.UID, error) {
	entries, err := os.ReadDir(filepath.Join(m.cfg.RootDir, "pods"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var uids []types.UID
	for _, e := range entries {
		uids = append(uids, types.UID(e.Name()))
	}
	return uids, nil
}
