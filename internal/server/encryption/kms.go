package encryption

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apiserver/pkg/apis/apiserver"
	kmsv2 "k8s.io/kms/apis/v2"

	"hyperkube/internal/store"
)

const (
	// maxSmall bounds key IDs and ciphertexts of a plugin, maxAnnotations its annotations, in bytes.
	maxSmall       = 1 << 10
	maxAnnotations = 32 << 10
	// trustFor is how long a seed is used after the plugin was last well.
	trustFor = 3 * time.Minute
	// knownSeeds bounds the decrypted seeds that are kept.
	knownSeeds = 1000
)

// kms encrypts with a seed of its own, which a plugin keeps encrypted (envelope encryption, version 2 of the protocol). The plugin is called
// when the seed is made and when a foreign one is met for the first time, not for each value.
type kms struct {
	name    string
	timeout time.Duration
	poll    time.Duration
	set     *Set
	conn    *grpc.ClientConn
	client  kmsv2.KeyManagementServiceClient

	renew sync.Mutex
	state atomic.Pointer[seedState]
	sick  atomic.Pointer[error] // why the plugin was not well when last asked
	calls singleflight.Group
	mu    sync.Mutex
	seeds map[[sha256.Size]byte]box
}

// seedState is the seed in use.
type seedState struct {
	box   box
	shell envelope // without data
	by    string
	until time.Time
}

func newKMS(c *apiserver.KMSConfiguration, s *Set) (*kms, error) {
	path := socket(c.Endpoint)
	conn, err := grpc.NewClient("passthrough:///"+c.Name, grpc.WithTransportCredentials(insecure.NewCredentials()), // a socket of this machine
		grpc.WithAuthority("localhost"), grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}))
	if err != nil {
		return nil, fmt.Errorf("KMS provider %s: %w", c.Name, err)
	}
	return &kms{name: c.Name, timeout: c.Timeout.Duration, poll: s.cfg.Poll, set: s, conn: conn,
		client: kmsv2.NewKeyManagementServiceClient(conn), seeds: map[[sha256.Size]byte]box{}}, nil
}

func (k *kms) prefix() string { return "k8s:enc:kms:v2:" + k.name + ":" }

// by names a key of the plugin's. Many values have the same, and share it.
func (k *kms) by(keyID string, kind sourceKind) string {
	return unique.Make(fmt.Sprintf("kms:%s:%d:%s", k.name, kind, keyID)).Value()
}

func (k *kms) current() string {
	if st := k.state.Load(); st != nil {
		return st.by
	}
	return "kms:" + k.name
}

func (k *kms) seal(at string, plain []byte) ([]byte, string, error) {
	st := k.state.Load()
	if st == nil || time.Now().After(st.until) {
		return nil, "", fmt.Errorf("KMS provider %s is not well: %w: %w", k.name, k.Healthy(), store.ErrUnavailable)
	}
	k.set.metrics.key(k.name, "to_storage", st.shell.keyID)
	e := st.shell
	var err error
	if e.data, err = st.box.seal(plain, at); err != nil {
		return nil, "", err
	}
	return e.marshal(), st.by, nil
}

func (k *kms) open(ctx context.Context, at string, data []byte) ([]byte, string, error) {
	e, err := unmarshalEnvelope(data)
	if err != nil {
		return nil, "", err
	}
	b, err := k.box(ctx, e)
	if err != nil {
		return nil, "", fmt.Errorf("KMS provider %s: %w", k.name, err)
	}
	plain, err := b.open(e.data, at)
	if err != nil {
		return nil, "", err
	}
	k.set.metrics.key(k.name, "from_storage", e.keyID)
	return plain, k.by(e.keyID, e.kind), nil
}

// box finds the seed of an envelope: a known one, or by asking the plugin.
func (k *kms) box(ctx context.Context, e *envelope) (box, error) {
	shell := *e
	shell.data = nil
	id := sha256.Sum256(shell.marshal())
	if b := k.known(id); b != nil {
		return b, nil
	}
	made, err, _ := k.calls.Do(string(id[:]), func() (any, error) {
		var res *kmsv2.DecryptResponse
		err := k.call(ctx, "Decrypt", func(ctx context.Context) (err error) {
			res, err = k.client.Decrypt(ctx, &kmsv2.DecryptRequest{Ciphertext: e.source, Uid: uuid.NewString(), KeyId: e.keyID, Annotations: e.annotations})
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("decrypting a key: %w: %w", err, store.ErrUnavailable)
		}
		b, err := boxOf(e.kind, res.Plaintext)
		if err == nil {
			k.remember(id, b)
		}
		return b, err
	})
	if err != nil {
		return nil, err
	}
	return made.(box), nil
}

func (k *kms) known(id [sha256.Size]byte) box {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.seeds[id]
}

func (k *kms) remember(id [sha256.Size]byte, b box) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.seeds) >= knownSeeds {
		clear(k.seeds)
	}
	k.seeds[id] = b
	k.set.metrics.seeds.WithLabelValues(k.name).Set(float64(len(k.seeds)))
}

func (k *kms) call(ctx context.Context, method string, f func(context.Context) error) error {
	// One caller's haste must not spoil the answer of another who waits for the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.timeout)
	defer cancel()
	start := time.Now()
	err := f(ctx)
	k.set.metrics.call(k.name, method, start, err)
	return err
}

// refresh asks the plugin how it is, and makes a new seed when it has a new key.
func (k *kms) refresh(ctx context.Context) error {
	k.renew.Lock()
	defer k.renew.Unlock()
	err := k.refreshed(ctx)
	if err != nil {
		k.sick.Store(&err)
		return err
	}
	k.sick.Store(nil)
	return nil
}

func (k *kms) refreshed(ctx context.Context) error {
	asked := time.Now()
	var s *kmsv2.StatusResponse
	err := k.call(ctx, "Status", func(ctx context.Context) (err error) {
		s, err = k.client.Status(ctx, &kmsv2.StatusRequest{})
		return err
	})
	switch {
	case err != nil:
		return err
	case s.Healthz != "ok":
		return fmt.Errorf("the plugin is not well: %.200q", s.Healthz)
	case s.Version != "v2" && s.Version != "v2beta1":
		return fmt.Errorf("the plugin speaks version %.20q of the protocol, not v2", s.Version)
	}
	if err := checkKeyID(s.KeyId); err != nil {
		return err
	}
	if st := k.state.Load(); st != nil && st.shell.keyID == s.KeyId {
		k.state.Store(&seedState{st.box, st.shell, st.by, asked.Add(trustFor)})
		return nil
	}
	return k.newSeed(ctx, asked)
}

func (k *kms) newSeed(ctx context.Context, asked time.Time) error {
	seed := make([]byte, seedSize)
	if _, err := rand.Read(seed); err != nil {
		return err
	}
	var res *kmsv2.EncryptResponse
	err := k.call(ctx, "Encrypt", func(ctx context.Context) (err error) {
		res, err = k.client.Encrypt(ctx, &kmsv2.EncryptRequest{Plaintext: seed, Uid: uuid.NewString()})
		return err
	})
	if err == nil {
		err = checkEncrypted(res)
	}
	if err != nil {
		return fmt.Errorf("encrypting a new seed: %w", err)
	}
	shell := envelope{keyID: res.KeyId, source: res.Ciphertext, annotations: res.Annotations, kind: sourceSeed}
	k.remember(sha256.Sum256(shell.marshal()), seeded(seed))
	k.state.Store(&seedState{seeded(seed), shell, k.by(res.KeyId, sourceSeed), asked.Add(trustFor)})
	k.set.log.Info("a KMS plugin has a new key", "provider", k.name)
	return nil
}

func checkKeyID(id string) error {
	if id == "" || len(id) >= maxSmall {
		return errors.New("the plugin's key ID is empty or too long")
	}
	return nil
}

func checkEncrypted(r *kmsv2.EncryptResponse) error {
	if len(r.Ciphertext) == 0 || len(r.Ciphertext) >= maxSmall {
		return errors.New("the plugin's ciphertext is empty or too long")
	}
	size := 0
	for name, v := range r.Annotations {
		size += len(name) + len(v)
		if errs := validation.IsDNS1123Subdomain(name); len(errs) > 0 || !strings.Contains(name, ".") {
			return fmt.Errorf("the plugin's annotation %.64q is not a fully qualified domain name", name)
		}
	}
	if size > maxAnnotations {
		return errors.New("the plugin's annotations are too large")
	}
	return checkKeyID(r.KeyId)
}

// Healthy says whether the plugin was well when it was last asked.
func (k *kms) Healthy() error {
	if err := k.sick.Load(); err != nil {
		return *err
	}
	if k.state.Load() == nil {
		return errors.New("the plugin has not answered yet")
	}
	return nil
}

// run asks the plugin again and again, as the protocol wants it: it has no other way to tell of a new key.
func (k *kms) run(ctx context.Context) {
	sick := time.Second
	for {
		wait := k.poll
		if k.Healthy() != nil {
			wait = min(sick, k.poll)
			sick = min(2*sick, 10*time.Second)
		} else {
			sick = time.Second
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		if err := k.refresh(ctx); err != nil && ctx.Err() == nil {
			k.set.log.Warn("a KMS plugin is not well", "provider", k.name, "err", err)
		}
	}
}
