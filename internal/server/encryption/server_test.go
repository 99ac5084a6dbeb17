package encryption_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kmsv2 "k8s.io/kms/apis/v2"

	"hyperkube/internal/client"
	"hyperkube/internal/etcd"
	"hyperkube/internal/object"
	"hyperkube/internal/server"
	"hyperkube/internal/server/encryption"
	"hyperkube/internal/server/servertest"
)

const (
	key1   = "{name: key1, secret: MDEyMzQ1Njc4OWFiY2RlZg==}"
	key2   = "{name: key2, secret: ZmVkY2JhOTg3NjU0MzIxMA==}"
	header = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
)

// vault is a datastore, and an encryption configuration beside it.
type vault struct {
	t      *testing.T
	client *clientv3.Client
	file   string
	reload bool
}

func newVault(t *testing.T) *vault {
	m, err := etcd.Start(context.Background(), etcd.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return &vault{t: t, client: m.Client(), file: filepath.Join(t.TempDir(), "encryption.yaml")}
}

func (v *vault) write(text string) {
	next := v.file + ".next"
	require.NoError(v.t, os.WriteFile(next, []byte(header+text), 0o600))
	require.NoError(v.t, os.Rename(next, v.file))
}

// start runs a server with the configuration that lies there.
func (v *vault) start() (*servertest.API, func()) {
	s, err := encryption.New(v.t.Context(), encryption.Config{File: v.file, Reload: v.reload, Poll: 10 * time.Millisecond})
	require.NoError(v.t, err)
	return servertest.StartStoppable(v.t, func(c *server.Config) { c.Etcd, c.Encryption = v.client, s })
}

func (v *vault) raw(key string) string {
	res, err := v.client.Get(v.t.Context(), "/registry/"+key)
	require.NoError(v.t, err)
	require.Len(v.t, res.Kvs, 1, key)
	return string(res.Kvs[0].Value)
}

func secret(name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}, Data: map[string][]byte{"k": []byte("very-secret")}}
}

func read(t *testing.T, api *servertest.API, name string) *corev1.Secret {
	t.Helper()
	s, err := client.Secrets.Get(t.Context(), api.Admin(), "default", name)
	require.NoError(t, err)
	require.Equal(t, "very-secret", string(s.Data["k"]))
	return s
}

func TestKeysRotate(t *testing.T) {
	v := newVault(t)
	v.write("- {resources: [secrets], providers: [{identity: {}}]}\n")
	api, stop := v.start()
	_, err := client.Secrets.Create(t.Context(), api.Admin(), secret("old"))
	require.NoError(t, err)
	require.Contains(t, v.raw("secrets/default/old"), "very-secret")
	stop()

	v.write("- {resources: ['*.'], providers: [{aesgcm: {keys: [" + key1 + "]}}, {identity: {}}]}\n")
	api, stop = v.start()
	before := read(t, api, "old")
	// An update that changes nothing encrypts it.
	after, err := client.Secrets.Update(t.Context(), api.Admin(), before)
	require.NoError(t, err)
	require.NotEqual(t, before.ResourceVersion, after.ResourceVersion)
	require.True(t, bytes.HasPrefix([]byte(v.raw("secrets/default/old")), []byte("k8s:enc:aesgcm:v1:key1:")))
	require.NotContains(t, v.raw("secrets/default/old"), "very-secret")
	// One that changes nothing of what is encrypted already writes nothing.
	again, err := client.Secrets.Update(t.Context(), api.Admin(), after)
	require.NoError(t, err)
	require.Equal(t, after.ResourceVersion, again.ResourceVersion)
	_, err = client.ConfigMaps.Create(t.Context(), api.Admin(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c", Namespace: "default"}})
	require.NoError(t, err)
	require.Contains(t, v.raw("configmaps/default/c"), "k8s:enc:aesgcm:v1:key1:")
	stop()

	v.write("- {resources: ['*.'], providers: [{aesgcm: {keys: [" + key2 + ", " + key1 + "]}}, {identity: {}}]}\n")
	api, stop = v.start()
	_, err = client.Secrets.Update(t.Context(), api.Admin(), read(t, api, "old"))
	require.NoError(t, err)
	require.Contains(t, v.raw("secrets/default/old"), "k8s:enc:aesgcm:v1:key2:")
	list, _, err := client.Secrets.List(t.Context(), api.Admin(), "default", metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, list, 1)
	stop()
}

func TestReload(t *testing.T) {
	v := newVault(t)
	v.reload = true
	v.write("- {resources: [secrets], providers: [{aesgcm: {keys: [" + key1 + "]}}]}\n")
	api, stop := v.start()
	_, err := client.Secrets.Create(t.Context(), api.Admin(), secret("a"))
	require.NoError(t, err)

	v.write("- {resources: [secrets], providers: [{aesgcm: {keys: [{name: broken}]}}]}\n")
	v.write("- {resources: [secrets], providers: [{aesgcm: {keys: [" + key2 + ", " + key1 + "]}}]}\n")
	require.Eventually(t, func() bool {
		_, err := client.Secrets.Update(t.Context(), api.Admin(), read(t, api, "a"))
		require.NoError(t, err)
		return bytes.HasPrefix([]byte(v.raw("secrets/default/a")), []byte("k8s:enc:aesgcm:v1:key2:"))
	}, 30*time.Second, 10*time.Millisecond)

	stop()

	// A value whose key is not known is an error of its own, and is read when the key comes.
	v.write("- {resources: [secrets], providers: [{aesgcm: {keys: [" + key1 + "]}}]}\n")
	api, _ = v.start()
	_, err = client.Secrets.Create(t.Context(), api.Admin(), secret("b"))
	require.NoError(t, err)
	read(t, api, "b")
	_, err = client.Secrets.Get(t.Context(), api.Admin(), "default", "a")
	require.ErrorContains(t, err, "no key of k8s:enc:aesgcm:v1:")
	v.write("- {resources: [secrets], providers: [{aesgcm: {keys: [" + key1 + ", " + key2 + "]}}]}\n")
	require.Eventually(t, func() bool {
		s, err := client.Secrets.Get(t.Context(), api.Admin(), "default", "a")
		return err == nil && string(s.Data["k"]) == "very-secret"
	}, 30*time.Second, 10*time.Millisecond)
}

// plugin is a KMS that "encrypts" by turning the bytes around. Keys have numbers.
type plugin struct {
	kmsv2.UnimplementedKeyManagementServiceServer
	mu       sync.Mutex
	key      string
	sick     error
	encrypts int
	decrypts int
}

func (p *plugin) set(key string, sick error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key, p.sick = key, sick
}

func (p *plugin) counts() (int, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.encrypts, p.decrypts
}

func turned(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		out[len(b)-1-i] = c ^ 0x55
	}
	return out
}

func (p *plugin) Status(context.Context, *kmsv2.StatusRequest) (*kmsv2.StatusResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &kmsv2.StatusResponse{Version: "v2", Healthz: "ok", KeyId: p.key}, p.sick
}

func (p *plugin) Encrypt(_ context.Context, r *kmsv2.EncryptRequest) (*kmsv2.EncryptResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.encrypts++
	return &kmsv2.EncryptResponse{Ciphertext: turned(r.Plaintext), KeyId: p.key, Annotations: map[string][]byte{"key.example.test": []byte(p.key)}}, p.sick
}

func (p *plugin) Decrypt(_ context.Context, r *kmsv2.DecryptRequest) (*kmsv2.DecryptResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decrypts++
	if p.sick == nil && string(r.Annotations["key.example.test"]) != r.KeyId {
		return nil, errors.New("the annotations are lost")
	}
	return &kmsv2.DecryptResponse{Plaintext: turned(r.Ciphertext)}, p.sick
}

func (p *plugin) serve(t *testing.T, path string) {
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	s := grpc.NewServer()
	kmsv2.RegisterKeyManagementServiceServer(s, p)
	go func() { _ = s.Serve(l) }() // until Stop
	t.Cleanup(s.Stop)
}

func TestKMS(t *testing.T) {
	v := newVault(t)
	dir, err := os.MkdirTemp("", "kms") // a socket's path must be short
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &plugin{key: "1"}
	p.serve(t, filepath.Join(dir, "s"))
	v.write("- resources: [secrets]\n  providers:\n  - kms: {apiVersion: v2, name: vault, endpoint: 'unix://" + dir + "/s', timeout: 2s}\n")
	api, stop := v.start()
	for _, name := range []string{"a", "b", "c"} {
		_, err := client.Secrets.Create(t.Context(), api.Admin(), secret(name))
		require.NoError(t, err)
	}
	require.Contains(t, v.raw("secrets/default/a"), "k8s:enc:kms:v2:vault:")
	require.NotContains(t, v.raw("secrets/default/a"), "very-secret")
	encrypts, decrypts := p.counts()
	require.Equal(t, []int{1, 0}, []int{encrypts, decrypts}, "the plugin is not called for each value")

	p.set("2", nil)
	require.Eventually(t, func() bool { n, _ := p.counts(); return n == 2 }, 30*time.Second, time.Millisecond, "a new key gets a new seed")
	before := v.raw("secrets/default/b")
	require.Eventually(t, func() bool { // the seed is in use a moment after the plugin has given it
		_, err = client.Secrets.Update(t.Context(), api.Admin(), read(t, api, "b"))
		require.NoError(t, err)
		return before != v.raw("secrets/default/b")
	}, 30*time.Second, time.Millisecond, "what the old key encrypted is stale")
	stop()

	// A plugin that does not answer keeps its values from being read, and nothing more.
	p.set("2", errors.New("asleep"))
	s, err := encryption.New(t.Context(), encryption.Config{File: v.file, Poll: 10 * time.Millisecond})
	require.NoError(t, err)
	require.Error(t, s.Healthy(t.Context()))
	asleep, err := server.New(server.Config{Etcd: v.client, Encryption: s, Table: object.Builtin()})
	require.NoError(t, err)
	defer asleep.Close()
	api = &servertest.API{Server: asleep}
	_, _, err = client.ConfigMaps.List(t.Context(), api.Admin(), "default", metav1.ListOptions{})
	require.NoError(t, err)
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = client.Secrets.Get(short, api.Admin(), "default", "a")
	require.Error(t, err)
	_, err = client.Secrets.Create(short, api.Admin(), secret("d"))
	require.Error(t, err)
	p.set("2", nil)
	require.Equal(t, "a", read(t, api, "a").Name)
	require.Equal(t, "b", read(t, api, "b").Name)
	_, err = client.Secrets.Create(t.Context(), api.Admin(), secret("d"))
	require.ErrorContains(t, err, "asleep", "it was not asked again yet")
	ctx, end := context.WithCancel(t.Context())
	defer end()
	go func() { _ = s.Run(ctx) }() // until end
	require.Eventually(t, func() bool { return s.Healthy(t.Context()) == nil }, 30*time.Second, time.Millisecond)
	_, err = client.Secrets.Create(t.Context(), api.Admin(), secret("d"))
	require.NoError(t, err)
}

// TestUpstreamValues reads what kube-apiserver v1.37.2 wrote with the configuration below, at the keys where it wrote it.
func TestUpstreamValues(t *testing.T) {
	v := newVault(t)
	dir, err := os.MkdirTemp("", "kms")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &plugin{key: "k"}
	p.serve(t, filepath.Join(dir, "s"))
	const key32 = "{keys: [{name: key1, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}"
	v.write("- {resources: [secrets], providers: [{aesgcm: {keys: [" + key1 + "]}}]}\n" +
		"- {resources: [configmaps], providers: [{aescbc: " + key32 + "}]}\n" +
		"- {resources: [limitranges], providers: [{secretbox: " + key32 + "}]}\n" +
		"- {resources: [resourcequotas], providers: [{kms: {apiVersion: v2, name: vault, endpoint: 'unix://" + dir + "/s'}}]}\n")
	data, err := os.ReadFile("testdata/upstream.txt")
	require.NoError(t, err)
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		key, value, _ := strings.Cut(line, " ")
		raw, err := base64.StdEncoding.DecodeString(value)
		require.NoError(t, err)
		_, err = v.client.Put(t.Context(), key, string(raw))
		require.NoError(t, err)
	}
	api, _ := v.start()
	ctx, all := t.Context(), api.Admin()
	s, err := client.Secrets.Get(ctx, all, "default", "s-up")
	require.NoError(t, err)
	require.Equal(t, "v-up", string(s.Data["k"]))
	c, err := client.ConfigMaps.Get(ctx, all, "default", "c-up")
	require.NoError(t, err)
	require.Equal(t, "v-up", c.Data["k"])
	for _, gvr := range []string{"limitranges/l-up", "resourcequotas/q-up"} {
		resource, name, _ := strings.Cut(gvr, "/")
		_, err := all.Get(ctx, corev1.SchemeGroupVersion.WithResource(resource), "default", name, metav1.GetOptions{})
		require.NoError(t, err)
	}
}
