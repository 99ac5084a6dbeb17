// Package external signs and verifies service-account tokens with keys that a program beside the server keeps: the protocol
// ExternalJWTSigner of k8s.io/externaljwt, over a unix socket (KEP-740).
//
// [New] asks for what the program can do and for its public keys; it must answer. [Signer.Run] fetches the keys again as often as the
// program says, and a token with an unknown key has them fetched at once. While the program is away, the keys known last stay good,
// and no token can be issued. Safe for concurrent use.
package external

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	externaljwt "k8s.io/externaljwt/apis/v1"

	"hyperkube/internal/tokens"
)

const (
	callTimeout = 10 * time.Second
	// minLife is the least longest life of tokens that a program may have.
	minLife = 10 * time.Minute
	maxID   = 1024
)

// algorithms that tokens may be signed with.
var algorithms = []string{"RS256", "ES256", "ES384", "ES512"}

// Signer signs and verifies by a program.
type Signer struct {
	conn    *grpc.ClientConn
	client  externaljwt.ExternalJWTSignerClient
	issuers []string
	// MaxLife is the longest life of tokens.
	MaxLife  time.Duration
	keys     atomic.Pointer[keySet]
	fetches  singleflight.Group
	onChange func()
}

// keySet is what the program said last.
type keySet struct {
	all      []tokens.Key
	verifier *tokens.Verifier
	again    time.Duration
}

// New asks the program that listens on a unix socket.
func New(ctx context.Context, socket string, issuers []string) (*Signer, error) {
	conn, err := grpc.NewClient("passthrough:///signer", grpc.WithTransportCredentials(insecure.NewCredentials()), // a socket of this machine
		grpc.WithAuthority("localhost"), grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}))
	if err != nil {
		return nil, err
	}
	s := &Signer{conn: conn, client: externaljwt.NewExternalJWTSignerClient(conn), issuers: issuers}
	if err := s.open(ctx); err != nil {
		_ = conn.Close() // nothing waits on it
		return nil, fmt.Errorf("--service-account-signing-endpoint: %s: %w", socket, err)
	}
	return s, nil
}

func (s *Signer) open(ctx context.Context) error {
	inner, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	meta, err := s.client.Metadata(inner, &externaljwt.MetadataRequest{})
	if err != nil {
		return err
	}
	if s.MaxLife = time.Duration(meta.MaxTokenExpirationSeconds) * time.Second; s.MaxLife < minLife {
		return fmt.Errorf("max_token_expiration_seconds is %d, below %.0f", meta.MaxTokenExpirationSeconds, minLife.Seconds())
	}
	return s.fetch(ctx)
}

// OnChange sets what is called when keys have changed. Before Run.
func (s *Signer) OnChange(f func()) { s.onChange = f }

// Keys are the public keys, and whether each is told to the world.
func (s *Signer) Keys() []tokens.Key { return s.keys.Load().all }

// Run fetches the keys again and again until ctx ends, as the protocol wants it.
func (s *Signer) Run(ctx context.Context) error {
	defer s.conn.Close()
	for {
		t := time.NewTimer(s.keys.Load().again)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
		if err := s.refresh(ctx); err != nil && ctx.Err() == nil {
			slog.Default().Warn("the keys of the external signer cannot be fetched", "component", "authn", "err", err)
		}
	}
}

func (s *Signer) refresh(ctx context.Context) error {
	_, err, _ := s.fetches.Do("", func() (any, error) { return nil, s.fetch(context.WithoutCancel(ctx)) })
	return err
}

func (s *Signer) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	res, err := s.client.FetchKeys(ctx, &externaljwt.FetchKeysRequest{})
	if err != nil {
		return fmt.Errorf("fetching keys: %w", err)
	}
	next, err := s.read(res)
	if err != nil {
		return fmt.Errorf("fetching keys: %w", err)
	}
	old := s.keys.Swap(next)
	if old != nil && s.onChange != nil && !same(old.all, next.all) {
		s.onChange()
	}
	return nil
}

func (s *Signer) read(res *externaljwt.FetchKeysResponse) (*keySet, error) {
	if res.RefreshHintSeconds <= 0 {
		return nil, fmt.Errorf("refresh_hint_seconds is %d", res.RefreshHintSeconds)
	}
	if len(res.Keys) == 0 {
		return nil, errors.New("there are none")
	}
	k := &keySet{again: time.Duration(res.RefreshHintSeconds) * time.Second}
	for _, one := range res.Keys {
		if one.KeyId == "" || len(one.KeyId) > maxID {
			return nil, errors.New("the ID of a key is empty or too long")
		}
		pub, err := x509.ParsePKIXPublicKey(one.Key)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", one.KeyId, err)
		}
		k.all = append(k.all, tokens.Key{ID: one.KeyId, Public: pub, Hidden: one.ExcludeFromOidcDiscovery})
	}
	var err error
	k.verifier, err = tokens.NewKeyVerifier(s.issuers, k.all)
	return k, err
}

func same(a, b []tokens.Key) bool {
	return slices.EqualFunc(a, b, func(x, y tokens.Key) bool {
		p, ok := x.Public.(interface{ Equal(crypto.PublicKey) bool })
		return ok && x.ID == y.ID && x.Hidden == y.Hidden && p.Equal(y.Public)
	})
}

// Verify judges a token as tokens.Verifier does.
func (s *Signer) Verify(ctx context.Context, token string, now time.Time) (*tokens.Claims, error) {
	k := s.keys.Load()
	if k.verifier.Ours(token) && !k.verifier.KnowsKey(token) {
		if err := s.refresh(ctx); err != nil {
			return nil, err
		}
		k = s.keys.Load()
	}
	return k.verifier.Verify(token, now)
}

// Sign gives the compact form of a token.
func (s *Signer) Sign(ctx context.Context, c *tokens.Claims) (string, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	payload := base64.RawURLEncoding.EncodeToString(data)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	res, err := s.client.Sign(ctx, &externaljwt.SignJWTRequest{Claims: payload})
	if err != nil {
		return "", fmt.Errorf("the external signer cannot sign: %w", err)
	}
	if err := s.check(ctx, res.Header); err != nil {
		return "", fmt.Errorf("the external signer gave a bad header: %w", err)
	}
	if _, err := base64.RawURLEncoding.DecodeString(res.Signature); err != nil || res.Signature == "" {
		return "", errors.New("the external signer gave a signature that is not base64url")
	}
	return res.Header + "." + payload + "." + res.Signature, nil
}

// check judges a token's header: others must be able to verify it.
func (s *Signer) check(ctx context.Context, header string) error {
	data, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		return err
	}
	var h map[string]string
	if err := json.Unmarshal(data, &h); err != nil {
		return err
	}
	switch {
	case len(h) != 3 || h["typ"] != "JWT":
		return errors.New("it must have alg, kid and typ, which is JWT")
	case !slices.Contains(algorithms, h["alg"]):
		return fmt.Errorf("alg %.16q is not among %v", h["alg"], algorithms)
	case h["kid"] == "" || len(h["kid"]) > maxID:
		return errors.New("kid is empty or too long")
	}
	public := func() bool {
		return slices.ContainsFunc(s.Keys(), func(k tokens.Key) bool { return k.ID == h["kid"] && !k.Hidden })
	}
	if public() {
		return nil
	}
	if err := s.refresh(ctx); err != nil {
		return err
	}
	if !public() {
		return fmt.Errorf("kid %.64q is not among the published keys", h["kid"])
	}
	return nil
}
