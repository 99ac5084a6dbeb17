package volume

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hyperkube/internal/node/downward"
)

// content makes a volume whose files come from objects of the API.
func (m *Manager) content(ctx context.Context, pod *corev1.Pod, st *podVolumes, v *corev1.Volume, dir string, inMemory bool) error {
	c := collector{m: m, ctx: ctx, pod: pod, st: st, files: map[string]file{}}
	if err := c.volume(v); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if inMemory {
		if err := mountTmpfs(dir, 0); err != nil {
			return err
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return err
	}
	group := fsGroup(pod)
	changed, err := writeAtomically(dir, c.files, func(newDir string) error {
		if group == nil {
			return nil
		}
		return giveToGroup(newDir, *group, true)
	})
	if err != nil || group == nil || !changed {
		return err
	}
	return giveLinksToGroup(dir, *group)
}

// giveLinksToGroup sets the group of the volume's directory itself, and its mode.
func giveLinksToGroup(dir string, gid int64) error {
	if err := os.Chown(dir, -1, int(gid)); err != nil {
		return err
	}
	return os.Chmod(dir, 0o777|fs.ModeSetgid)
}

type collector struct {
	m     *Manager
	ctx   context.Context
	pod   *corev1.Pod
	st    *podVolumes
	files map[string]file
}

func (c *collector) volume(v *corev1.Volume) error {
	switch {
	case v.ConfigMap != nil:
		s := v.ConfigMap
		return c.configMap(s.Name, s.Items, s.Optional, mode(s.DefaultMode), nil)
	case v.Secret != nil:
		s := v.Secret
		return c.secret(s.SecretName, s.Items, s.Optional, mode(s.DefaultMode), nil)
	case v.DownwardAPI != nil:
		return c.downward(v.DownwardAPI.Items, mode(v.DownwardAPI.DefaultMode), nil)
	}
	def, user := mode(v.Projected.DefaultMode), v.Projected.DefaultUser
	for i := range v.Projected.Sources {
		if err := c.projection(&v.Projected.Sources[i], fmt.Sprintf("%s/%d", v.Name, i), def, user); err != nil {
			return err
		}
	}
	return nil
}

// projection adds what one source gives; id tells the pod's sources apart.
func (c *collector) projection(s *corev1.VolumeProjection, id string, def fs.FileMode, user *int64) error {
	switch {
	case s.ConfigMap != nil:
		return c.configMap(s.ConfigMap.Name, s.ConfigMap.Items, s.ConfigMap.Optional, def, user)
	case s.Secret != nil:
		return c.secret(s.Secret.Name, s.Secret.Items, s.Secret.Optional, def, user)
	case s.DownwardAPI != nil:
		return c.downward(s.DownwardAPI.Items, def, user)
	case s.ServiceAccountToken != nil:
		return c.token(s.ServiceAccountToken, def, user)
	case s.ClusterTrustBundle != nil:
		return c.bundle(s.ClusterTrustBundle, def, user)
	case s.PodCertificate != nil:
		return c.certificate(s.PodCertificate, id, def, user)
	}
	return nil
}

func (c *collector) bundle(s *corev1.ClusterTrustBundleProjection, def fs.FileMode, user *int64) error {
	if c.m.cfg.Bundles == nil {
		return fmt.Errorf("cluster trust bundles need an API server")
	}
	data, err := c.m.cfg.Bundles.PEM(c.ctx, c.pod.UID, s)
	if err != nil {
		return err
	}
	c.files[s.Path] = c.private(data, def, owner(s.User, user))
	return nil
}

func (c *collector) certificate(s *corev1.PodCertificateProjection, id string, def fs.FileMode, user *int64) error {
	if c.m.cfg.Certificates == nil {
		return fmt.Errorf("pod certificates need an API server")
	}
	key, chain, err := c.m.cfg.Certificates.PEM(c.ctx, c.pod, id, s)
	if err != nil {
		return err
	}
	for path, data := range map[string][]byte{s.CredentialBundlePath: append(slices.Clip(key), chain...), s.KeyPath: key, s.CertificateChainPath: chain} {
		if path != "" {
			c.files[path] = c.private(data, def, owner(s.User, user))
		}
	}
	return nil
}

func owner(own, all *int64) *int64 {
	if own != nil {
		return own
	}
	return all
}

func mode(m *int32) fs.FileMode {
	if m == nil {
		return 0o644
	}
	return fs.FileMode(*m)
}

func (c *collector) configMap(name string, items []corev1.KeyToPath, optional *bool, def fs.FileMode, user *int64) error {
	cm, err := c.m.cfg.Objects.ConfigMap(c.pod.Namespace, name)
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return nil
	}
	if err != nil {
		return err
	}
	data := make(map[string][]byte, len(cm.Data)+len(cm.BinaryData))
	for k, v := range cm.Data {
		data[k] = []byte(v)
	}
	for k, v := range cm.BinaryData {
		data[k] = v
	}
	return c.keys(data, items, optional, def, user, "configmap")
}

func (c *collector) secret(name string, items []corev1.KeyToPath, optional *bool, def fs.FileMode, user *int64) error {
	s, err := c.m.cfg.Objects.Secret(c.pod.Namespace, name)
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return nil
	}
	if err != nil {
		return err
	}
	return c.keys(s.Data, items, optional, def, user, "secret")
}

func (c *collector) keys(data map[string][]byte, items []corev1.KeyToPath, optional *bool, def fs.FileMode, user *int64, kind string) error {
	if len(items) == 0 {
		for k, v := range data {
			c.files[k] = file{v, def, user}
		}
		return nil
	}
	for _, it := range items {
		v, ok := data[it.Key]
		if !ok {
			if optional != nil && *optional {
				continue
			}
			return fmt.Errorf("%s references non-existent %s key: %s", kind, map[string]string{"configmap": "config", "secret": "secret"}[kind], it.Key)
		}
		c.files[it.Path] = file{v, itemMode(it.Mode, def), user}
	}
	return nil
}

func itemMode(m *int32, def fs.FileMode) fs.FileMode {
	if m == nil {
		return def
	}
	return fs.FileMode(*m)
}

func (c *collector) downward(items []corev1.DownwardAPIVolumeFile, def fs.FileMode, user *int64) error {
	facts := c.m.cfg.Facts(c.pod)
	for i := range items {
		it := &items[i]
		var value string
		var err error
		switch {
		case it.FieldRef != nil:
			value, err = downward.Field(c.pod, it.FieldRef.FieldPath, facts)
		case it.ResourceFieldRef != nil:
			value, err = downward.Resource(c.pod, it.ResourceFieldRef, nil, facts)
		}
		if err != nil {
			return err
		}
		c.files[it.Path] = file{[]byte(value), itemMode(it.Mode, def), user}
	}
	return nil
}

// private is a file of credentials. It is readable for its group, for the one user that all containers run as, or, where neither is
// known, as the volume's mode says.
func (c *collector) private(data []byte, def fs.FileMode, user *int64) file {
	f := file{data, def, user}
	if only := onlyUser(c.pod); f.uid == nil && only != nil {
		f.uid = only
	}
	if f.uid != nil || fsGroup(c.pod) != nil {
		f.mode = 0o600
	}
	return f
}

// token puts a service account token in.
func (c *collector) token(s *corev1.ServiceAccountTokenProjection, def fs.FileMode, user *int64) error {
	seconds := int64(3600)
	if s.ExpirationSeconds != nil {
		seconds = *s.ExpirationSeconds
	}
	t, err := c.freshToken(tokenKey{s.Audience, seconds})
	if err != nil {
		return err
	}
	c.files[s.Path] = c.private([]byte(t.Value), def, user)
	return nil
}

func (c *collector) freshToken(k tokenKey) (Token, error) {
	if c.m.cfg.Tokens == nil {
		return Token{}, fmt.Errorf("service account tokens need an API server")
	}
	c.m.mu.Lock()
	t, ok := c.st.tokens[k]
	c.m.mu.Unlock()
	now := c.m.cfg.Now()
	if ok && now.Before(t.due()) {
		return t.Token, nil
	}
	fresh, err := c.m.cfg.Tokens.Token(c.ctx, c.pod, k.audience, k.seconds)
	if err != nil {
		if ok && now.Before(t.Expires) {
			t.retry = now.Add(tokenRetry) // still good
			c.m.mu.Lock()
			c.st.tokens[k] = t
			c.m.mu.Unlock()
			return t.Token, nil
		}
		return Token{}, fmt.Errorf("failed to fetch token: %w", err)
	}
	c.m.mu.Lock()
	c.st.tokens[k] = keptToken{Token: fresh}
	c.m.mu.Unlock()
	return fresh, nil
}

// tokenRetry is how long a token that could not be replaced goes on being used, and the least time between two tokens, whatever
// the clocks of this node and of the server say.
const tokenRetry = time.Minute

// rotateAt is when 80 % of the token's life are over, or 24 hours.
func rotateAt(t Token) time.Time {
	life := max(t.Expires.Sub(t.Issued), tokenRetry*10/8)
	at := t.Issued.Add(life * 8 / 10)
	if day := t.Issued.Add(24 * time.Hour); day.Before(at) {
		return day
	}
	return at
}

// onlyUser is the user that every container of the pod runs as by its spec; nil when they differ or do not say.
func onlyUser(pod *corev1.Pod) *int64 {
	var podUser, only *int64
	if pod.Spec.SecurityContext != nil {
		podUser = pod.Spec.SecurityContext.RunAsUser
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			u := podUser
			if sc := list[i].SecurityContext; sc != nil && sc.RunAsUser != nil {
				u = sc.RunAsUser
			}
			if u == nil || only != nil && *only != *u {
				return nil
			}
			only = u
		}
	}
	return only
}
