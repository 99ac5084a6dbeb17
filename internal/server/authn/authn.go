// Package authn finds out who sends a request: by the headers of a front proxy, by a client certificate, or by a
// bearer token (static, of a service account, for bootstrapping, of an OpenID Connect issuer, or one that a webhook knows). Whoever
// shows nothing is system:anonymous; whoever shows something that does not hold is refused.
//
// [New] makes the [Authenticator], which is both the authenticator.Request of the pipeline and the
// authenticator.Token behind TokenReview. The first method that knows the caller wins; an error of one method counts only when no other
// knows him. Every user besides anonymous is put into the group system:authenticated. Checked credentials are
// taken off the request, so that nothing behind can pass them on.
//
// Signatures are verified once and remembered; whether the service account, pod, node or secret behind a token still
// lives is looked up for every request, in the server's cache and, if it is not there, in the store. So a token dies with its
// pod at once. Safe for concurrent use; nothing here blocks but those look-ups.
package authn

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/client"
	"hyperkube/internal/server/authn/external"
	"hyperkube/internal/tokens"
)

// Config says which methods are used.
type Config struct {
	// API reads service accounts, pods, nodes and secrets. It has all rights. Required for tokens.
	API client.Interface
	// ClientCA gives the authorities of client certificates; nil: client certificates are not looked at.
	ClientCA func() *x509.CertPool
	// FrontProxy, when set, trusts the headers of an authenticating proxy.
	FrontProxy *FrontProxy
	// ServiceAccounts, when set, accepts their tokens and issues them.
	ServiceAccounts *ServiceAccounts
	// TokenFile is a CSV file of static tokens: token,user,uid,"group1,group2"; empty: none.
	TokenFile string
	// BootstrapTokens accepts the tokens that are kept in secrets of kube-system.
	BootstrapTokens bool
	// Anonymous lets requests without credentials pass as system:anonymous. AnonymousSaid says that the user said so himself.
	Anonymous, AnonymousSaid bool
	// ConfigFile is an AuthenticationConfiguration of apiserver.config.k8s.io/v1, which is followed; empty: none.
	ConfigFile string
	// OIDC, when set, accepts the tokens of an OpenID Connect issuer.
	OIDC *OIDC
	// Webhook, when set, is asked about tokens that nobody else knows.
	Webhook *WebhookTokens
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// ServiceAccounts configures the tokens of service accounts.
type ServiceAccounts struct {
	// Issuers of accepted tokens; the first is that of new ones. Required.
	Issuers []string
	// Keys verify tokens. The public half of Signer belongs among them.
	Keys []crypto.PublicKey
	// Signer signs new tokens; nil refuses TokenRequests.
	Signer crypto.Signer
	// External, when set, has the keys in place of Keys and Signer.
	External *external.Signer
	// Audiences of the API server; empty: the issuers.
	Audiences []string
	// MaxExpiration bounds the life of new tokens; zero: no bound.
	MaxExpiration time.Duration
	// ExtendExpiration makes the tokens that pods mount by default live for a year, as clients of old did not reload them
	// (--service-account-extend-token-expiration).
	ExtendExpiration bool
	// JWKSURI is where the keys are published, if elsewhere than at this server.
	JWKSURI string
}

// Authenticator identifies callers.
type Authenticator struct {
	requests  []authenticator.Request
	bearers   []authenticator.Token
	audiences authenticator.Audiences
	cfg       Config
	dynamic   atomic.Pointer[structured]
	metrics   *metrics

	// Issuer issues tokens; nil without a signing key.
	Issuer *Issuer
	keys   *keyDocuments
}

// New makes an authenticator. It reads the token file and talks to nobody.
func New(c Config) (*Authenticator, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	a := &Authenticator{cfg: c, metrics: newMetrics()}
	s, err := loadStructured(&c, a.metrics.jwt)
	if err != nil {
		return nil, err
	}
	a.dynamic.Store(s)
	a.metrics.reloads.Using(s.digest)
	if c.FrontProxy != nil {
		a.requests = append(a.requests, c.FrontProxy.authenticator(c.Now))
	}
	if c.ClientCA != nil {
		a.requests = append(a.requests, newCertificates(c.ClientCA, c.Now, a.metrics.certificates))
	}
	if err := a.addTokens(&c); err != nil {
		return nil, err
	}
	if len(a.bearers) > 0 {
		a.requests = append(a.requests, authenticator.RequestFunc(a.bearer))
	}
	return a, nil
}

func (a *Authenticator) addTokens(c *Config) error {
	if c.TokenFile != "" {
		t, err := readTokenFile(c.TokenFile)
		if err != nil {
			return err
		}
		a.bearers = append(a.bearers, t)
	}
	if s := c.ServiceAccounts; s != nil {
		if len(s.Issuers) == 0 || s.Issuers[0] == "" {
			return errors.New("service account tokens need an issuer")
		}
		if len(s.Audiences) == 0 {
			s.Audiences = s.Issuers
		}
		a.audiences = s.Audiences
		v, err := s.verifier()
		if err != nil {
			return err
		}
		look := lookup{c.API, c.Now}
		accounts := &accountTokens{verifier: v, cache: newCache[*tokens.Claims](4096), audiences: s.Audiences, lookup: look, metrics: a.metrics.tokens}
		a.bearers = append(a.bearers, accounts)
		if s.External != nil {
			s.External.OnChange(accounts.cache.clear) // what an old key signed is not good for that any more
		}
		if a.keys, err = newKeyDocuments(s); err != nil {
			return err
		}
		if s.Signer != nil || s.External != nil {
			if a.Issuer, err = newIssuer(s, look); err != nil {
				return err
			}
		}
	}
	if c.BootstrapTokens {
		a.bearers = append(a.bearers, &bootstrapTokens{lookup{c.API, c.Now}})
	}
	if c.OIDC != nil || c.ConfigFile != "" {
		a.bearers = append(a.bearers, authenticator.TokenFunc(func(ctx context.Context, token string) (*authenticator.Response, bool, error) {
			return a.dynamic.Load().tokens(ctx, token)
		}))
	}
	if c.Webhook != nil {
		w, err := newWebhookTokens(c.Webhook, c.Now)
		if err != nil {
			return err
		}
		a.bearers = append(a.bearers, w)
	}
	return nil
}

// AuthenticateRequest says who sends a request. No user and no error mean that nobody may be anonymous here.
func (a *Authenticator) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	start := time.Now()
	resp, ok, err := a.authenticate(r)
	a.metrics.attempt(start, ok, err)
	return resp, ok, err
}

func (a *Authenticator) authenticate(r *http.Request) (*authenticator.Response, bool, error) {
	var errs []error
	for _, m := range a.requests {
		resp, ok, err := m.AuthenticateRequest(r)
		if ok {
			return authenticated(resp), true, nil
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, false, utilerrors.NewAggregate(errs)
	}
	if !a.mayBeAnonymous(r.URL.Path) {
		return nil, false, nil
	}
	auds, _ := authenticator.AudiencesFrom(r.Context())
	return &authenticator.Response{Audiences: auds, User: anonymousUser}, true, nil
}

var anonymousUser = &user.DefaultInfo{Name: user.Anonymous, Groups: []string{user.AllUnauthenticated}}

// AuthenticateToken says whose token it is. The audiences wanted come from the context; without any, those of the API server count.
func (a *Authenticator) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	if _, ok := authenticator.AudiencesFrom(ctx); !ok && len(a.audiences) > 0 {
		ctx = authenticator.WithAudiences(ctx, a.audiences)
	}
	var errs []error
	for _, m := range a.bearers {
		resp, ok, err := m.AuthenticateToken(ctx, token)
		if ok {
			if resp, err = a.restrict(ctx, resp); err == nil {
				return authenticated(resp), true, nil
			}
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return nil, false, utilerrors.NewAggregate(errs)
}

// restrict gives tokens that name no audience those of the API server.
func (a *Authenticator) restrict(ctx context.Context, resp *authenticator.Response) (*authenticator.Response, error) {
	want, ok := authenticator.AudiencesFrom(ctx)
	if !ok || len(resp.Audiences) > 0 {
		return resp, nil
	}
	auds := a.audiences.Intersect(want)
	if len(auds) == 0 {
		return nil, errors.New("the token is not for the audiences asked for")
	}
	return &authenticator.Response{User: resp.User, Audiences: auds}, nil
}

// authenticated adds the group of all who are known.
func authenticated(resp *authenticator.Response) *authenticator.Response {
	u := resp.User
	if u.GetName() == user.Anonymous || slices.Contains(u.GetGroups(), user.AllAuthenticated) || slices.Contains(u.GetGroups(), user.AllUnauthenticated) {
		return resp
	}
	groups := make([]string, 0, len(u.GetGroups())+1)
	groups = append(append(groups, u.GetGroups()...), user.AllAuthenticated)
	return &authenticator.Response{Audiences: resp.Audiences,
		User: &user.DefaultInfo{Name: u.GetName(), UID: u.GetUID(), Groups: groups, Extra: u.GetExtra()}}
}
