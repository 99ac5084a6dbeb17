// Package image gets container images onto the node and takes unused ones away.
//
// [Manager.EnsureImage] blocks until the image is present as the container's pull policy says, or says why it is not
// with a [Waiting] whose reason and message are upstream's: InvalidImageName, ErrImageNeverPull, ImageInspectError, ErrImagePull,
// ImagePullBackOff, RegistryUnavailable, SignatureValidationFailed. A failed pull is not tried again for the same pod before its back-off is over
// (10 s, doubling to 5 minutes); calls meanwhile return ImagePullBackOff at once and cost nothing.
//
// At most one pull of an image runs at a time: who asks for the same image waits for it and then looks again. How
// many images are pulled side by side is bounded by Config.
//
// [Collector] removes images that no container uses, oldest use first, when the disk fills up.
package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/flowcontrol"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Config of a Manager. Images has no default.
type Config struct {
	Images rt.ImageServiceClient
	// Secrets gives the pod's image pull secrets; those that it cannot get are left out and named in the error.
	Secrets func(ctx context.Context, pod *corev1.Pod) ([]*corev1.Secret, error)
	// Events takes what happens to pulls; nil drops it.
	Events Events
	// Waiting makes the error for a container that has to wait; *[Waiting] by default.
	Waiting func(reason, message string) error
	// ConfigFiles are docker configurations (config.json) whose credentials hold for all pods. They are read at
	// each pull; missing ones are skipped.
	ConfigFiles []string
	// Parallel bounds how many images are pulled side by side; 0 is no bound, 1 is upstream's serializeImagePulls.
	Parallel int
	// Backoff and MaxBackoff after failed pulls, 10 s and 300 s by default.
	Backoff, MaxBackoff time.Duration
	Log                 *slog.Logger
}

// Events records what happens to pulls. container names whom of the pod it is about.
type Events interface {
	Event(pod *corev1.Pod, container, eventType, reason, message string)
}

// Waiting is an error that says why a container does not run: the reason and message of its waiting state.
type Waiting struct{ Reason, Message string }

func (w *Waiting) Error() string { return w.Reason + ": " + w.Message }

// Manager pulls images. It is safe for concurrent use.
type Manager struct {
	cfg     Config
	slots   chan struct{} // nil: no bound
	backoff *flowcontrol.Backoff

	mu      sync.Mutex
	pulling map[string]chan struct{} // by image; closed when the pull is over
	last    map[string]string        // why the last pull failed, by the key of its back-off
}

// New makes a Manager.
func New(c Config) *Manager {
	if c.Backoff == 0 {
		c.Backoff = 10 * time.Second
	}
	if c.MaxBackoff == 0 {
		c.MaxBackoff = 300 * time.Second
	}
	if c.Waiting == nil {
		c.Waiting = func(reason, message string) error { return &Waiting{reason, message} }
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Log = c.Log.With("component", "images")
	m := &Manager{cfg: c, backoff: flowcontrol.NewBackOff(c.Backoff, c.MaxBackoff), pulling: map[string]chan struct{}{}, last: map[string]string{}}
	if c.Parallel > 0 {
		m.slots = make(chan struct{}, c.Parallel)
	}
	return m
}

// request is one call of EnsureImage.
type request struct {
	pod       *corev1.Pod
	container string
	image     string // as the pod says
	spec      *rt.ImageSpec
	key       string // of the back-off
}

// EnsureImage makes an image present and gives the reference to run it by. container names who the events are about, handler
// is the runtime handler of the pod (its RuntimeClass's, or empty).
func (m *Manager) EnsureImage(ctx context.Context, pod *corev1.Pod, container, image string, policy corev1.PullPolicy, handler string) (string, error) {
	name, err := WithTag(image)
	if err != nil {
		return "", m.fail(&request{pod: pod, container: container, image: image}, "InspectFailed", "InvalidImageName",
			fmt.Sprintf("Failed to apply default image tag %q: %v", image, err))
	}
	r := &request{pod: pod, container: container, image: image, key: string(pod.UID) + "_" + image,
		spec: &rt.ImageSpec{Image: name, UserSpecifiedImage: image, Annotations: pod.Annotations, RuntimeHandler: handler}}
	for {
		ref, done, err := m.present(ctx, r, policy)
		if done || err != nil {
			return ref, err
		}
		if m.backoff.IsInBackOffSinceUpdate(r.key, m.backoff.Clock.Now()) {
			return "", m.inBackoff(r)
		}
		release, first, err := m.acquire(ctx, name)
		if err != nil {
			return "", err
		}
		if !first && policy != corev1.PullAlways {
			continue // Somebody else's pull is over: look again.
		}
		if !first {
			if release, _, err = m.acquireAlone(ctx, name); err != nil {
				return "", err
			}
		}
		ref, err = m.pull(ctx, r)
		release()
		return ref, err
	}
}

// WithTag adds the tag latest to an image's name where it has neither tag nor digest. The rest is left as the user
// wrote it, since runtimes also know images by their identity ("sha256:…").
func WithTag(image string) (string, error) {
	named, err := parse(image)
	if err != nil {
		return "", err
	}
	if reference.IsNameOnly(named) {
		return image + ":latest", nil
	}
	return image, nil
}

// FullName completes an image's name as registries know it: docker.io and library where the registry or the path are left
// out, and the tag latest.
func FullName(image string) (string, error) {
	named, err := parse(image)
	if err != nil {
		return "", err
	}
	return reference.TagNameOnly(named).String(), nil
}

func parse(image string) (reference.Named, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return nil, fmt.Errorf("couldn't parse image name %q: %w", image, err)
	}
	return named, nil
}

// present ends a call for which nothing has to be pulled.
func (m *Manager) present(ctx context.Context, r *request, policy corev1.PullPolicy) (ref string, done bool, err error) {
	if policy == corev1.PullAlways {
		return "", false, nil
	}
	st, err := m.cfg.Images.ImageStatus(ctx, &rt.ImageStatusRequest{Image: r.spec})
	if err != nil {
		return "", true, m.fail(r, "InspectFailed", "ImageInspectError", fmt.Sprintf("Failed to inspect image %q: %v", r.image, err))
	}
	if st.Image != nil {
		m.event(r, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine", r.image))
		return st.Image.Id, true, nil
	}
	if policy == corev1.PullNever {
		return "", true, m.fail(r, "ErrImageNeverPull", "ErrImageNeverPull", fmt.Sprintf("Container image %q is not present with pull policy of Never", r.image))
	}
	return "", false, nil
}

// acquire makes the caller the one who pulls the image, once a slot is free; or, when another one pulls it, waits for that
// and gives first=false.
func (m *Manager) acquire(ctx context.Context, name string) (release func(), first bool, err error) {
	m.mu.Lock()
	if running, ok := m.pulling[name]; ok {
		m.mu.Unlock()
		select {
		case <-running:
			return nil, false, nil
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
	done := make(chan struct{})
	m.pulling[name] = done
	m.mu.Unlock()
	over := func() {
		m.mu.Lock()
		delete(m.pulling, name)
		m.mu.Unlock()
		close(done)
	}
	if m.slots == nil {
		return over, true, nil
	}
	select {
	case m.slots <- struct{}{}:
		return func() { <-m.slots; over() }, true, nil
	case <-ctx.Done():
		over()
		return nil, false, context.Cause(ctx)
	}
}

// acquireAlone waits until the caller is the one who pulls.
func (m *Manager) acquireAlone(ctx context.Context, name string) (func(), bool, error) {
	for {
		release, first, err := m.acquire(ctx, name)
		if first || err != nil {
			return release, first, err
		}
	}
}

func (m *Manager) pull(ctx context.Context, r *request) (string, error) {
	from := time.Now()
	m.event(r, corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", r.image))
	ref, err := m.tryCredentials(ctx, r)
	if err != nil {
		if ctx.Err() != nil {
			return "", err // The pod ended: not the registry's fault.
		}
		return "", m.failedPull(r, err)
	}
	m.backoff.DeleteEntry(r.key)
	m.mu.Lock()
	delete(m.last, r.key)
	m.mu.Unlock()
	took := time.Since(from).Truncate(time.Millisecond)
	m.event(r, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.",
		r.image, took, took, m.size(ctx, ref)))
	return ref, nil
}

// size of an image for the event; 0 when the runtime does not tell.
func (m *Manager) size(ctx context.Context, ref string) uint64 {
	st, err := m.cfg.Images.ImageStatus(ctx, &rt.ImageStatusRequest{Image: &rt.ImageSpec{Image: ref}})
	if err != nil || st.Image == nil {
		return 0
	}
	return st.Image.Size
}

// tryCredentials pulls with each of the fitting credentials until one does, or without any when there are none.
func (m *Manager) tryCredentials(ctx context.Context, r *request) (string, error) {
	full, err := FullName(r.spec.Image)
	if err != nil {
		return "", err
	}
	creds := m.keyring(ctx, r).Lookup(full)
	if len(creds) == 0 {
		creds = []*rt.AuthConfig{nil}
	}
	var errs []error
	for _, auth := range creds {
		resp, err := m.cfg.Images.PullImage(ctx, &rt.PullImageRequest{Image: r.spec, Auth: auth, SandboxConfig: sandbox(r.pod)})
		if err == nil {
			return resp.ImageRef, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 1 {
		return "", errs[0]
	}
	return "", errors.Join(errs...)
}

// sandbox tells the runtime whom the image is for.
func sandbox(pod *corev1.Pod) *rt.PodSandboxConfig {
	return &rt.PodSandboxConfig{
		Metadata:    &rt.PodSandboxMetadata{Name: pod.Name, Namespace: pod.Namespace, Uid: string(pod.UID)},
		Annotations: pod.Annotations, Labels: pod.Labels,
	}
}

func (m *Manager) failedPull(r *request, cause error) error {
	reason, message := explain(r.image, cause)
	m.backoff.Next(r.key, m.backoff.Clock.Now())
	m.backoff.GC()
	m.mu.Lock()
	m.last[r.key] = reason + ": " + message
	for k := range m.last { // Back-offs end by age: what is kept for them ends with them.
		if m.backoff.Get(k) == 0 {
			delete(m.last, k)
		}
	}
	m.mu.Unlock()
	m.cfg.Log.Warn("image pull failed", "pod", r.pod.Namespace+"/"+r.pod.Name, "image", r.image, "error", cause)
	m.event(r, corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %s", r.image, message))
	m.event(r, corev1.EventTypeWarning, "Failed", "Error: "+reason)
	return m.cfg.Waiting(reason, message)
}

// explain gives the waiting reason for a failed pull: the CRI has errors of its own for two of them.
func explain(image string, cause error) (reason, message string) {
	text := cause.Error()
	if s, ok := status.FromError(cause); ok {
		switch {
		case strings.Contains(s.Message(), "RegistryUnavailable"):
			return "RegistryUnavailable", fmt.Sprintf("image pull failed for %s because the registry is unavailable: %s", image, text)
		case strings.Contains(s.Message(), "SignatureValidationFailed"):
			return "SignatureValidationFailed", fmt.Sprintf("image pull failed for %s because the signature validation failed: %s", image, text)
		}
	}
	return "ErrImagePull", text
}

func (m *Manager) inBackoff(r *request) error {
	m.mu.Lock()
	why := m.last[r.key]
	m.mu.Unlock()
	message := fmt.Sprintf("Back-off pulling image %q", r.image)
	if why != "" {
		message += ": " + why
	}
	m.event(r, corev1.EventTypeNormal, "BackOff", message)
	m.event(r, corev1.EventTypeWarning, "Failed", "Error: ImagePullBackOff")
	return m.cfg.Waiting("ImagePullBackOff", message)
}

// fail writes the event and makes the error.
func (m *Manager) fail(r *request, event, reason, message string) error {
	m.event(r, corev1.EventTypeWarning, event, message)
	m.event(r, corev1.EventTypeWarning, "Failed", "Error: "+reason)
	return m.cfg.Waiting(reason, message)
}

func (m *Manager) event(r *request, kind, reason, message string) {
	if m.cfg.Events != nil {
		m.cfg.Events.Event(r.pod, r.container, kind, reason, message)
	}
}
