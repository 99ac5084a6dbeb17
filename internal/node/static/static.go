// Package static runs the pods of a directory on the node, and shows each in the API as a mirror pod.
//
// The directory is read at the start and whenever the kernel tells of a change in it (inotify). A file that cannot
// be read leaves the pod that it named before as it is. Mirror pods are only an image: whoever deletes or changes
// one sees it come back, and the static pod itself does not notice.
package static

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
)

// Config of static pods.
type Config struct {
	Path     string // a directory or a file; empty has none
	NodeName string
	Client   client.Interface // nil makes no mirrors
	Default  func(*corev1.Pod)
	Update   func(*corev1.Pod)
	Remove   func(types.UID)
	// MirrorChanged is told when the mirror of a static pod came or went.
	MirrorChanged func(types.UID)
}

// Manager of static pods. Safe for concurrent use.
type Manager struct {
	cfg  Config
	log  *slog.Logger
	todo *client.Queue[object.Key] // mirrors to look at

	mu      sync.Mutex
	files   map[string]*corev1.Pod     // by file
	pods    map[object.Key]*corev1.Pod // static, by the name in the API
	mirrors map[object.Key]*corev1.Pod
}

// New makes a manager and reads the directory once, telling its pods.
func New(cfg Config) *Manager {
	return &Manager{cfg: cfg, log: slog.Default().With("component", "kubelet"),
		todo:  client.NewQueueWithBackoff[object.Key]("mirrors", 200*time.Millisecond, 30*time.Second),
		files: map[string]*corev1.Pod{}, pods: map[object.Key]*corev1.Pod{}, mirrors: map[object.Key]*corev1.Pod{}}
}

// Load reads the directory and tells what changed since the last time.
func (m *Manager) Load() {
	if m.cfg.Path == "" {
		return
	}
	found, errs := readDir(m.cfg.Path, m.cfg.NodeName, m.cfg.Default)
	for _, err := range errs {
		m.log.Warn("static pod not read", "error", err)
	}
	m.mu.Lock()
	var added, removed []*corev1.Pod
	for f, p := range found {
		old := m.files[f]
		if old != nil && old.UID == p.UID {
			continue
		}
		if old != nil {
			removed = append(removed, old)
		}
		added = append(added, p)
		m.files[f] = p
	}
	for f, old := range m.files {
		if _, err := os.Stat(f); found[f] == nil && errors.Is(err, fs.ErrNotExist) {
			removed = append(removed, old)
			delete(m.files, f)
		}
	}
	for _, p := range removed {
		delete(m.pods, object.KeyOf(p))
	}
	for _, p := range added {
		m.pods[object.KeyOf(p)] = p
	}
	m.mu.Unlock()
	for _, p := range removed {
		m.log.Info("static pod removed", "pod", p.Namespace+"/"+p.Name)
		m.cfg.Remove(p.UID)
		m.todo.Add(object.KeyOf(p))
	}
	for _, p := range added {
		m.log.Info("static pod added", "pod", p.Namespace+"/"+p.Name)
		m.cfg.Update(p)
		m.todo.Add(object.KeyOf(p))
	}
}

// Run follows the directory and keeps the mirrors until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	if m.cfg.Client != nil {
		wg.Add(1)
		go func() { defer wg.Done(); client.RunWorkers(ctx, m.todo, 2, m.mirror) }()
	}
	defer wg.Wait()
	if m.cfg.Path == "" {
		<-ctx.Done()
		return nil
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer w.Close()
	dir := m.cfg.Path
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		dir = filepath.Dir(dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := w.Add(dir); err != nil {
		return err
	}
	m.Load()
	return m.follow(ctx, w)
}

// settle is how long a burst of changes is collected: an editor writes a file in several steps.
const settle = 50 * time.Millisecond

func (m *Manager) follow(ctx context.Context, w *fsnotify.Watcher) error {
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-w.Events:
			if !ok {
				return errors.New("watch of the static pods ended")
			}
			if due == nil {
				due = time.After(settle)
			}
		case err := <-w.Errors:
			m.log.Warn("watch of the static pods", "error", err)
			due = time.After(settle)
		case <-due:
			due = nil
			m.Load()
		}
	}
}

// Mirror tells of a mirror pod of the API; gone when it was deleted.
func (m *Manager) Mirror(p *corev1.Pod, gone bool) {
	k := object.KeyOf(p)
	m.mu.Lock()
	if gone {
		delete(m.mirrors, k)
	} else {
		m.mirrors[k] = p
	}
	owner := m.pods[k]
	m.mu.Unlock()
	m.todo.Add(k)
	if owner != nil && m.cfg.MirrorChanged != nil {
		m.cfg.MirrorChanged(owner.UID)
	}
}

// Target is the mirror of a static pod; nil while there is none.
func (m *Manager) Target(p *corev1.Pod) *corev1.Pod {
	m.mu.Lock()
	defer m.mu.Unlock()
	mirror := m.mirrors[object.KeyOf(p)]
	if mirror == nil || mirror.Annotations[annotationMirror] != p.Annotations[annotationHash] || mirror.DeletionTimestamp != nil {
		return nil
	}
	return mirror
}

// mirror brings one mirror pod in line with its static pod.
func (m *Manager) mirror(ctx context.Context, k object.Key) error {
	m.mu.Lock()
	pod, mirror := m.pods[k], m.mirrors[k]
	m.mu.Unlock()
	if mirror != nil && (pod == nil || mirror.DeletionTimestamp != nil || mirror.Annotations[annotationMirror] != pod.Annotations[annotationHash]) {
		zero, uid := int64(0), mirror.UID
		err := m.cfg.Client.Delete(ctx, client.Pods.GVR, k.Namespace, k.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &uid}})
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil
		}
		return err // its end comes back through Mirror, and then it is made anew
	}
	if pod == nil || mirror != nil {
		return nil
	}
	return m.create(ctx, pod)
}

func (m *Manager) create(ctx context.Context, pod *corev1.Pod) error {
	node, err := client.Nodes.Get(ctx, m.cfg.Client, "", m.cfg.NodeName)
	if err != nil {
		return err
	}
	yes := true
	mirror := pod.DeepCopy()
	mirror.UID, mirror.Generation, mirror.Status = "", 0, corev1.PodStatus{}
	mirror.Annotations[annotationMirror] = pod.Annotations[annotationHash]
	mirror.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID, Controller: &yes}}
	_, err = client.Pods.Create(ctx, m.cfg.Client, mirror)
	if apierrors.IsAlreadyExists(err) {
		return nil // it will be told, or is of somebody else
	}
	return err
}
