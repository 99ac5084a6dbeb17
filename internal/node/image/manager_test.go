package image

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
	clock "k8s.io/utils/clock/testing"
)

// store is a CRI image service and container list in memory: the borders of this package, with all that they can answer.
type store struct {
	rt.ImageServiceClient
	rt.RuntimeServiceClient

	mu         sync.Mutex
	images     map[string]*rt.Image
	containers []*rt.Container
	pulls      []string // "image as user"
	fail       map[string]error
	password   map[string]string // images that need this login
	hold       chan struct{}     // when set, pulls wait for it
	removed    []string
}

func (s *store) ImageStatus(_ context.Context, r *rt.ImageStatusRequest, _ ...grpc.CallOption) (*rt.ImageStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fail["status "+r.Image.Image]; err != nil {
		return nil, err
	}
	for _, img := range s.images {
		if img.Id == r.Image.Image {
			return &rt.ImageStatusResponse{Image: img}, nil
		}
	}
	return &rt.ImageStatusResponse{Image: s.images[r.Image.Image]}, nil
}

func (s *store) PullImage(ctx context.Context, r *rt.PullImageRequest, _ ...grpc.CallOption) (*rt.PullImageResponse, error) {
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulls = append(s.pulls, r.Image.Image+" as "+r.Auth.GetUsername())
	if err := s.fail[r.Image.Image]; err != nil {
		return nil, err
	}
	if want := s.password[r.Image.Image]; want != "" && r.Auth.GetPassword() != want {
		return nil, status.Error(codes.Unknown, "401 Unauthorized")
	}
	s.images[r.Image.Image] = &rt.Image{Id: "sha256:" + r.Image.Image, Size: 7}
	return &rt.PullImageResponse{ImageRef: "sha256:" + r.Image.Image}, nil
}

func (s *store) ListImages(context.Context, *rt.ListImagesRequest, ...grpc.CallOption) (*rt.ListImagesResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &rt.ListImagesResponse{}
	for _, i := range s.images {
		r.Images = append(r.Images, i)
	}
	return r, nil
}

func (s *store) ListContainers(context.Context, *rt.ListContainersRequest, ...grpc.CallOption) (*rt.ListContainersResponse, error) {
	return &rt.ListContainersResponse{Containers: s.containers}, nil
}

func (s *store) RemoveImage(_ context.Context, r *rt.RemoveImageRequest, _ ...grpc.CallOption) (*rt.RemoveImageResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed = append(s.removed, r.Image.Image)
	for name, i := range s.images {
		if i.Id == r.Image.Image {
			delete(s.images, name)
		}
	}
	return &rt.RemoveImageResponse{}, nil
}

func (s *store) ImageFsInfo(context.Context, *rt.ImageFsInfoRequest, ...grpc.CallOption) (*rt.ImageFsInfoResponse, error) {
	return &rt.ImageFsInfoResponse{ImageFilesystems: []*rt.FilesystemUsage{{FsId: &rt.FilesystemIdentifier{Mountpoint: "/images"}}}}, nil
}

type events struct {
	mu   sync.Mutex
	list []string
}

func (e *events) Event(_ *corev1.Pod, _, _, reason, message string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, reason+": "+message)
}

var testPod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p", UID: "u"}}

func reasonOf(err error) string {
	var w *Waiting
	if errors.As(err, &w) {
		return w.Reason
	}
	return fmt.Sprint(err)
}

func TestPolicies(t *testing.T) {
	const present, absent = "example.test/present:1", "example.test/absent:1"
	for name, c := range map[string]struct {
		image  string
		policy corev1.PullPolicy
		reason string
		pulls  int
		event  string
	}{
		"present":               {present, corev1.PullIfNotPresent, "<nil>", 0, `Pulled: Container image "example.test/present:1" already present on machine`},
		"absent":                {absent, corev1.PullIfNotPresent, "<nil>", 1, `Pulling: Pulling image "example.test/absent:1"`},
		"always, present":       {present, corev1.PullAlways, "<nil>", 1, "Image size: 7 bytes."},
		"never, present":        {present, corev1.PullNever, "<nil>", 0, "Pulled: "},
		"never, absent":         {absent, corev1.PullNever, "ErrImageNeverPull", 0, `ErrImageNeverPull: Container image "example.test/absent:1" is not present with pull policy of Never`},
		"bad name":              {"Not A Name", corev1.PullIfNotPresent, "InvalidImageName", 0, "InspectFailed: Failed to apply default image tag"},
		"cannot be inspected":   {"example.test/broken:1", corev1.PullIfNotPresent, "ImageInspectError", 0, "InspectFailed: Failed to inspect image"},
		"cannot be pulled":      {"example.test/missing:1", corev1.PullIfNotPresent, "ErrImagePull", 1, "Failed: Error: ErrImagePull"},
		"registry unavailable":  {"example.test/away:1", corev1.PullAlways, "RegistryUnavailable", 1, "Failed: Failed to pull image"},
		"docker's short names":  {"short", corev1.PullIfNotPresent, "<nil>", 1, `Pulling: Pulling image "short"`},
		"signature not trusted": {"example.test/forged:1", corev1.PullAlways, "SignatureValidationFailed", 1, "Failed: Error: SignatureValidationFailed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &store{images: map[string]*rt.Image{present: {Id: "sha256:1"}}, fail: map[string]error{
				"status example.test/broken:1": errors.New("disk"),
				"example.test/missing:1":       status.Error(codes.NotFound, "not there"),
				"example.test/away:1":          status.Error(codes.Unknown, "RegistryUnavailable"),
				"example.test/forged:1":        status.Error(codes.Unknown, "SignatureValidationFailed"),
			}}
			e := &events{}
			ref, err := New(Config{Images: s, Events: e}).EnsureImage(t.Context(), testPod, "c", c.image, c.policy, "")
			if got := reasonOf(err); got != c.reason {
				t.Errorf("got %s, want %s", got, c.reason)
			}
			if err == nil && ref == "" {
				t.Error("no reference")
			}
			if len(s.pulls) != c.pulls {
				t.Errorf("pulls %v, want %d", s.pulls, c.pulls)
			}
			if !strings.Contains(strings.Join(e.list, "\n"), c.event) {
				t.Errorf("events %q lack %q", e.list, c.event)
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	const img = "example.test/missing:1"
	s := &store{images: map[string]*rt.Image{}, fail: map[string]error{img: errors.New("not there")}}
	m := New(Config{Images: s})
	now := clock.NewFakeClock(time.Unix(1000, 0))
	m.backoff.Clock = now
	try := func() string {
		_, err := m.EnsureImage(t.Context(), testPod, "c", img, corev1.PullIfNotPresent, "")
		return reasonOf(err)
	}
	for _, step := range []struct {
		after time.Duration
		want  string
	}{{0, "ErrImagePull"}, {time.Second, "ImagePullBackOff"}, {10 * time.Second, "ErrImagePull"}, {11 * time.Second, "ImagePullBackOff"}, {10 * time.Second, "ErrImagePull"}} {
		now.Step(step.after)
		if got := try(); got != step.want {
			t.Fatalf("after %v: %s, want %s", step.after, got, step.want)
		}
	}
	now.Step(time.Second)
	_, err := m.EnsureImage(t.Context(), testPod, "c", img, corev1.PullIfNotPresent, "")
	if want := `Back-off pulling image "example.test/missing:1": ErrImagePull: not there`; !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	other := testPod.DeepCopy()
	other.UID = "other"
	if _, err := m.EnsureImage(t.Context(), other, "c", img, corev1.PullIfNotPresent, ""); reasonOf(err) != "ErrImagePull" {
		t.Errorf("another pod waits too: %v", err)
	}
	// The image comes to be there: the back-off does not hide it.
	s.images[img] = &rt.Image{Id: "sha256:1"}
	if got := try(); got != "<nil>" {
		t.Errorf("with the image present: %s", got)
	}
}

func TestCredentials(t *testing.T) {
	const img = "registry.example.com/team/a:1"
	s := &store{images: map[string]*rt.Image{}, password: map[string]string{img: "right"}}
	pod := testPod.DeepCopy()
	pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "s"}, {Name: "missing"}}
	e := &events{}
	m := New(Config{Images: s, Events: e, Secrets: func(context.Context, *corev1.Pod) ([]*corev1.Secret, error) {
		return []*corev1.Secret{secret(corev1.SecretTypeDockerConfigJson, corev1.DockerConfigJsonKey,
			`{"auths": {"registry.example.com/team": {"username": "a", "password": "wrong"}, "registry.example.com": {"username": "b", "password": "right"}}}`)}, errors.New("secret missing: not found")
	}})
	if _, err := m.EnsureImage(t.Context(), pod, "c", img, corev1.PullAlways, ""); err != nil {
		t.Fatal(err)
	}
	if want := []string{img + " as a", img + " as b"}; fmt.Sprint(s.pulls) != fmt.Sprint(want) {
		t.Errorf("pulls %v, want %v", s.pulls, want)
	}
	if !strings.Contains(strings.Join(e.list, "\n"), "FailedToRetrieveImagePullSecret") {
		t.Errorf("events %q do not tell of the missing secret", e.list)
	}
}

func TestOnePullForMany(t *testing.T) {
	const img = "example.test/a:1"
	s := &store{images: map[string]*rt.Image{}, hold: make(chan struct{})}
	m := New(Config{Images: s, Parallel: 1})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := m.EnsureImage(t.Context(), testPod, "c", img, corev1.PullIfNotPresent, ""); err != nil {
				t.Error(err)
			}
		})
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.EnsureImage(cancelled, testPod, "c", "example.test/b:1", corev1.PullIfNotPresent, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("a pod that ended waits on: %v", err)
	}
	close(s.hold)
	wg.Wait()
	if len(s.pulls) != 1 {
		t.Errorf("pulls: %v", s.pulls)
	}
}

func TestCollector(t *testing.T) {
	now := time.Unix(10000, 0)
	s := &store{images: map[string]*rt.Image{
		"old": {Id: "old", Size: 100}, "used": {Id: "used", Size: 100}, "newer": {Id: "newer", Size: 100},
		"pinned": {Id: "pinned", Size: 100, Pinned: true},
	}}
	s.containers = []*rt.Container{{ImageRef: "used"}, {Image: &rt.ImageSpec{Image: "x"}, ImageId: "newer"}}
	c, err := NewCollector(CollectorConfig{Runtime: s, Images: s})
	if err != nil {
		t.Fatal(err)
	}
	available := uint64(500)
	c.now, c.disk = func() time.Time { return now }, func(string) (uint64, uint64, error) { return 1000, available, nil }
	collect := func(want string) {
		t.Helper()
		s.removed = nil
		err := c.Collect(t.Context())
		if got := fmt.Sprint(s.removed, err != nil); got != want {
			t.Errorf("removed %s, want %s (%v)", got, want, err)
		}
	}
	collect("[] false")
	available = 140
	collect("[] true") // All images are too young.
	now = now.Add(3 * time.Minute)
	s.containers = s.containers[:1]
	collect("[old] false") // 60 bytes are wanted, the longest unused goes first.
	s.images["fresh"] = &rt.Image{Id: "fresh", Size: 100}
	available = 50
	collect("[newer] true")
	if freed, err := c.RemoveUnused(t.Context()); err != nil || freed != 100 || s.removed[len(s.removed)-1] != "fresh" {
		t.Errorf("under pressure: %d, %v, %v", freed, s.removed, err)
	}
	if _, err := NewCollector(CollectorConfig{High: 50, Low: 60}); err == nil {
		t.Error("low above high is accepted")
	}
}
