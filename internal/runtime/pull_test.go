package runtime

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/node/image"
	"hyperkube/internal/testenv"
	"hyperkube/internal/testenv/images"
)

func TestPullsFromRegistries(t *testing.T) {
	testenv.NeedRoot(t)
	store := images.NewRegistry()
	img := ownImage(t)
	for _, repo := range []string{"open/own", "team/own"} {
		store.Push(t, repo, img)
	}
	s := httptest.NewServer(store)
	t.Cleanup(s.Close)
	host := strings.TrimPrefix(s.URL, "http://")
	dir := shortDir(t)
	// Another name leads to the same registry by its hosts.toml.
	mirror := filepath.Join(dir, "certs.d", "mirror.test")
	if err := os.MkdirAll(mirror, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mirror, "hosts.toml"), fmt.Appendf(nil, "[host.'http://%s']\n", host), 0o644); err != nil {
		t.Fatal(err)
	}
	startDaemon(t, dir)
	rs, is, closer := dial(t, testConfig(dir).Socket)
	defer closer.Close()
	right := &corev1.Secret{Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{
		corev1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths": {%q: {"username": "u", "password": "p"}}}`, host)}}
	m := image.New(image.Config{Images: is, Secrets: func(_ context.Context, p *corev1.Pod) ([]*corev1.Secret, error) {
		return []*corev1.Secret{right}, nil
	}})
	pod := func(uid string, secrets ...corev1.LocalObjectReference) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: uid, UID: "uid"}, Spec: corev1.PodSpec{ImagePullSecrets: secrets}}
	}
	secret := corev1.LocalObjectReference{Name: "s"}
	for _, c := range []struct {
		pod    *corev1.Pod
		image  string
		reason string
	}{
		{pod("a"), host + "/open/own:1", ""},
		{pod("b"), host + "/team/own:1", "ErrImagePull"},
		{pod("c"), host + "/open/own:none", "ErrImagePull"},
		{pod("d"), "mirror.test/open/own:1", ""},
	} {
		ref, err := m.EnsureImage(t.Context(), c.pod, "c", c.image, corev1.PullAlways, "")
		var w *image.Waiting
		errors.As(err, &w)
		if (c.reason == "") != (err == nil) || w != nil && w.Reason != c.reason {
			t.Errorf("%s: %q, %v; want reason %q", c.image, ref, err, c.reason)
		}
	}
	// The login is there: the back-off is that of a pod, and this is another one.
	p := pod("e", secret)
	p.UID = "other"
	ref, err := m.EnsureImage(t.Context(), p, "c", host+"/team/own:1", corev1.PullAlways, "")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := m.EnsureImage(t.Context(), p, "c", ref, corev1.PullNever, ""); err != nil || again != ref {
		t.Errorf("by its identity %s: %s, %v", ref, again, err)
	}
	c, err := image.NewCollector(image.CollectorConfig{Runtime: rs, Images: is})
	if err != nil {
		t.Fatal(err)
	}
	freed, err := c.RemoveUnused(t.Context())
	if err != nil || freed == 0 {
		t.Errorf("removed %d bytes, %v", freed, err)
	}
	if _, err := m.EnsureImage(t.Context(), p, "c", DefaultPauseImage, corev1.PullNever, ""); err != nil {
		t.Errorf("the pinned image was removed: %v", err)
	}
	if _, err := m.EnsureImage(t.Context(), p, "c", host+"/open/own:1", corev1.PullNever, ""); err == nil {
		t.Error("an unused image is still there")
	}
}
