package authn

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"

	"hyperkube/internal/server/request"
	"hyperkube/internal/tokens"
)

// accountTokens accepts the tokens of service accounts.
type accountTokens struct {
	verifier  verifier
	cache     *cache[*tokens.Claims]
	audiences authenticator.Audiences
	lookup    lookup
	tracked   lastUses // of tokens of the old kind
	metrics   *tokenMetrics
}

var errInvalidated = errors.New("service account token has been invalidated")

// verifier judges signature, issuer and times.
type verifier interface {
	Verify(ctx context.Context, token string, now time.Time) (*tokens.Claims, error)
}

// ownKeys verifies with keys that the server has.
type ownKeys struct{ *tokens.Verifier }

func (o ownKeys) Verify(_ context.Context, token string, now time.Time) (*tokens.Claims, error) {
	return o.Verifier.Verify(token, now)
}

func (s *ServiceAccounts) verifier() (verifier, error) {
	if s.External != nil {
		return s.External, nil
	}
	v, err := tokens.NewVerifier(s.Issuers, s.Keys)
	return ownKeys{v}, err
}

func (s *accountTokens) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	c, err := s.claims(ctx, token)
	if errors.Is(err, tokens.ErrNotOurs) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	auds, err := s.forAudiences(ctx, c)
	if err != nil {
		return nil, false, err
	}
	var info *serviceaccount.ServiceAccountInfo
	if c.Legacy() {
		info, err = s.legacy(ctx, c, token)
	} else {
		info, err = s.bound(ctx, c)
	}
	if err != nil {
		return nil, false, err
	}
	return &authenticator.Response{User: info.UserInfo(), Audiences: auds}, true, nil
}

// claims verifies a token, or remembers that it did.
func (s *accountTokens) claims(ctx context.Context, token string) (*tokens.Claims, error) {
	key, now := sha256.Sum256([]byte(token)), s.lookup.now()
	if c, ok := s.cache.get(key); ok {
		return c, c.CheckTimes(now)
	}
	c, err := s.verifier.Verify(ctx, token, now)
	if err == nil {
		s.cache.add(key, c)
	}
	return c, err
}

func (s *accountTokens) forAudiences(ctx context.Context, c *tokens.Claims) (authenticator.Audiences, error) {
	want, ok := authenticator.AudiencesFrom(ctx)
	if !ok {
		want = s.audiences
	}
	has := authenticator.Audiences(c.Audience)
	if len(has) == 0 {
		has = s.audiences // tokens of the old kind are for the API server
	}
	both := has.Intersect(want)
	if len(both) == 0 {
		return nil, fmt.Errorf("token audiences %q is invalid for the target audiences %q", has, want)
	}
	return both, nil
}

// bound checks that everything that a token is bound to is still there.
func (s *accountTokens) bound(ctx context.Context, c *tokens.Claims) (*serviceaccount.ServiceAccountInfo, error) {
	k := c.Kubernetes
	if _, err := gone(s.lookup.serviceAccount(ctx, k.Namespace, k.ServiceAccount.Name, k.ServiceAccount.UID)); err != nil {
		return nil, err
	}
	if c.Subject != serviceaccount.MakeUsername(k.Namespace, k.ServiceAccount.Name) {
		return nil, errors.New("the subject of the token is not its service account")
	}
	info := &serviceaccount.ServiceAccountInfo{Namespace: k.Namespace, Name: k.ServiceAccount.Name, UID: k.ServiceAccount.UID}
	if c.ID != "" {
		info.CredentialID = "JTI=" + c.ID
	}
	if k.Secret != nil {
		if _, err := gone(s.lookup.secret(ctx, k.Namespace, k.Secret.Name, k.Secret.UID)); err != nil {
			return nil, err
		}
	}
	if k.Node != nil {
		info.NodeName, info.NodeUID = k.Node.Name, k.Node.UID
	}
	switch {
	case k.Pod != nil:
		if _, err := gone(s.lookup.pod(ctx, k.Namespace, k.Pod.Name, k.Pod.UID)); err != nil {
			return nil, err
		}
		info.PodName, info.PodUID = k.Pod.Name, k.Pod.UID
	case k.Node != nil:
		if _, err := gone(s.lookup.node(ctx, k.Node.Name, k.Node.UID)); err != nil {
			return nil, err
		}
	}
	if k.WarnAfter == nil {
		return info, nil // only tokens whose life was extended can be stale, and only they are counted
	}
	if !s.lookup.now().After(k.WarnAfter.Time) {
		s.metrics.valid.Inc()
		return info, nil
	}
	s.metrics.stale.Inc()
	annotate(ctx, "stale-token", fmt.Sprintf("subject: %s, seconds after warning threshold: %.0f",
		c.Subject, s.lookup.now().Sub(k.WarnAfter.Time).Seconds()))
	return info, nil
}

// annotate adds to what the audit log tells of the request that is being authenticated.
func annotate(ctx context.Context, key, value string) {
	if r := request.From(ctx); r != nil {
		r.Annotate("authentication.k8s.io/"+key, value)
	}
}

// gone turns "not there" into the error of a token that has lost what it was bound to.
func gone[T any](o T, ok bool, err error) (T, error) {
	if err == nil && !ok {
		err = errInvalidated
	}
	return o, err
}
