// Package encryption keeps values in the datastore encrypted, as an EncryptionConfiguration (apiserver.config.k8s.io/v1) says.
//
// # On disk
//
// An encrypted value begins with the name of what it was made with; the rest is that provider's. The forms are upstream's, so that
// data can move in and out:
//
//	k8s:enc:aesgcm:v1:<key>:      nonce (12 bytes), ciphertext with tag; authenticated with the key of etcd
//	k8s:enc:aescbc:v1:<key>:      IV (16 bytes), ciphertext, padded by PKCS #7
//	k8s:enc:secretbox:v1:<key>:   nonce (24 bytes), box
//	k8s:enc:kms:v2:<provider>:    EncryptedObject (protobuf), whose data is authenticated with the key of etcd
//
// # Which provider
//
// The first list of resources that names a kind decides over it. Its first provider, with its first key, writes; all of them read. A value
// that was not written by the first is stale: the store writes it anew with the next update, also one that changes nothing.
//
// A [Set] is safe for concurrent use. Secrets are never logged, nor part of errors.
package encryption

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/store"
)

// Config of a set.
type Config struct {
	// File with the EncryptionConfiguration.
	File string
	// Reload follows the file; a broken new version is logged and the old one kept.
	Reload bool
	// Poll is how often KMS plugins are asked for their state: a minute when zero. Plugins that are not well are asked more often.
	Poll time.Duration
}

// Set encrypts and decrypts by the newest configuration.
type Set struct {
	cfg      Config
	now      atomic.Pointer[rules]
	metrics  *metrics
	log      *slog.Logger
	onChange func()
}

var _ store.Transformer = (*Set)(nil)

// New reads the configuration. KMS plugins are asked once; one that does not answer is no error, as it may come.
func New(ctx context.Context, c Config) (*Set, error) {
	if c.Poll == 0 {
		c.Poll = time.Minute
	}
	s := &Set{cfg: c, metrics: newMetrics(), log: slog.Default().With("component", "encryption")}
	r, err := s.load()
	if err != nil {
		return nil, err
	}
	for _, k := range r.plugins {
		if err := k.refresh(ctx); err != nil {
			s.log.Warn("a KMS plugin is not well", "provider", k.name, "err", err)
		}
	}
	s.now.Store(r)
	s.metrics.reloads.Using(r.digest)
	return s, nil
}

// OnChange sets what is called when a new configuration has been taken. Before Run.
func (s *Set) OnChange(f func()) { s.onChange = f }

// provider is one way to encrypt.
type provider interface {
	// prefix that values begin with; empty for values as they are.
	prefix() string
	// seal gives what comes behind the prefix. by names the key that was used.
	seal(key string, plain []byte) (data []byte, by string, err error)
	// open takes what comes behind the prefix.
	open(ctx context.Context, key string, data []byte) (plain []byte, by string, err error)
	// current names the key that seal uses now.
	current() string
}

// rules are one configuration.
type rules struct {
	lists   []list
	plugins []*kms
	byKind  sync.Map // schema.GroupResource → []provider
	digest  [32]byte
	stop    context.CancelFunc
}

type list struct {
	resources []string
	providers []provider
}

// of gives the providers of a resource; none when it is stored as it is.
func (r *rules) of(gr schema.GroupResource) []provider {
	if known, ok := r.byKind.Load(gr); ok {
		return known.([]provider)
	}
	var found []provider
	for _, l := range r.lists {
		if l.covers(gr) {
			found = l.providers
			break
		}
	}
	r.byKind.Store(gr, found)
	return found
}

func (l *list) covers(gr schema.GroupResource) bool {
	for _, name := range l.resources {
		switch {
		case name == "*.*", name == gr.String(), name == "*."+gr.Group:
			return true
		}
	}
	return false
}

// Seal implements store.Transformer.
func (s *Set) Seal(_ context.Context, gr schema.GroupResource, key string, plain []byte) ([]byte, string, error) {
	all := s.now.Load().of(gr)
	if len(all) == 0 {
		return plain, "", nil
	}
	p := all[0]
	start := time.Now()
	data, by, err := p.seal(key, plain)
	s.metrics.observe("to_storage", gr, p.prefix(), start, err)
	if err != nil {
		return nil, "", fmt.Errorf("encrypting: %w", err)
	}
	if p.prefix() == "" {
		return data, by, nil
	}
	return append([]byte(p.prefix()), data...), by, nil
}

// encrypted is what every encrypted value begins with.
var encrypted = []byte("k8s:enc:")

// Open implements store.Transformer.
func (s *Set) Open(ctx context.Context, gr schema.GroupResource, key string, stored []byte) ([]byte, string, error) {
	all := s.now.Load().of(gr)
	if len(all) == 0 {
		if bytes.HasPrefix(stored, encrypted) {
			return nil, "", fmt.Errorf("it is encrypted with %s, and the encryption configuration does not name %s", name(stored), gr)
		}
		return stored, "", nil
	}
	var errs []error
	for _, p := range all {
		rest, ok := bytes.CutPrefix(stored, []byte(p.prefix()))
		if !ok || p.prefix() == "" && bytes.HasPrefix(stored, encrypted) {
			continue
		}
		start := time.Now()
		plain, by, err := p.open(ctx, key, rest)
		s.metrics.observe("from_storage", gr, p.prefix(), start, err)
		if err == nil {
			return plain, by, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		if !bytes.HasPrefix(stored, encrypted) {
			return nil, "", errors.New("it is not encrypted, and the encryption configuration has no identity provider that would read it: no matching prefix found")
		}
		return nil, "", fmt.Errorf("no provider of the encryption configuration reads %s: no matching prefix found", name(stored))
	}
	return nil, "", errors.Join(errs...)
}

// name is the part of an encrypted value that says what it was made with: k8s:enc:aesgcm:v1:key1.
func name(stored []byte) string {
	head := stored[:min(len(stored), 128)]
	parts := strings.SplitN(string(head), ":", 6)
	if len(parts) < 6 {
		return "something unknown"
	}
	return strings.Join(parts[:5], ":")
}

// Current implements store.Transformer.
func (s *Set) Current(gr schema.GroupResource) string {
	if all := s.now.Load().of(gr); len(all) > 0 {
		return all[0].current()
	}
	return ""
}

// identity leaves values as they are.
type identity struct{}

func (identity) prefix() string  { return "" }
func (identity) current() string { return "identity" }

func (identity) seal(_ string, plain []byte) ([]byte, string, error) { return plain, "identity", nil }

func (identity) open(_ context.Context, _ string, data []byte) ([]byte, string, error) {
	return data, "identity", nil
}
