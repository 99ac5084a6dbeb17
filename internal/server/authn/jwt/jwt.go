// Package jwt accepts the tokens of OpenID Connect issuers, as a JWTAuthenticator of apiserver.config.k8s.io says.
//
// [New] checks the configuration and compiles its expressions; [Issuer.Run] finds the issuer's keys, trying until the issuer answers. Until then,
// its tokens are refused. A token of another issuer is not this one's business. One of this issuer must be signed by one of its keys, in
// time, for one of the audiences, and pass the rules about claims; then the claims are mapped to a user, who must pass the rules
// about users. Safe for concurrent use.
package jwt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
)

// AllAlgorithms are the asymmetric ones of JOSE: a token that is signed with a secret that both sides know proves nothing.
var AllAlgorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512}

// Issuer accepts the tokens of one issuer.
type Issuer struct {
	cfg        apiserver.JWTAuthenticator
	mapper     authenticationcel.CELMapper
	algorithms []string
	client     *http.Client
	metrics    *Metrics
	now        func() time.Time
	verifier   atomic.Pointer[oidc.IDTokenVerifier]

	mu     sync.Mutex
	others map[string]*oidc.IDTokenVerifier // of the issuers of distributed claims
}

// New makes an issuer. disallowed are URLs of issuers that have their own way in. Errors name the fields below "jwt[…]".
func New(cfg apiserver.JWTAuthenticator, algorithms, disallowed []string, now func() time.Time, m *Metrics) (*Issuer, field.ErrorList) {
	mapper, errs := validation.CompileAndValidateJWTAuthenticator(authenticationcel.NewDefaultCompiler(), cfg, disallowed)
	if len(errs) > 0 {
		return nil, errs
	}
	if cfg.Issuer.EgressSelectorType != "" {
		return nil, field.ErrorList{field.Forbidden(field.NewPath("issuer", "egressSelectorType"), "connections are dialled directly")}
	}
	if len(algorithms) == 0 {
		algorithms = AllAlgorithms
	}
	for _, a := range algorithms {
		if !slices.Contains(AllAlgorithms, a) {
			return nil, field.ErrorList{field.NotSupported(field.NewPath("signingAlgorithms"), a, AllAlgorithms)}
		}
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if ca := cfg.Issuer.CertificateAuthority; ca != "" {
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		t.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(ca)) // it was validated
	}
	return &Issuer{cfg: cfg, mapper: mapper, algorithms: algorithms, now: now, metrics: m, client: &http.Client{Transport: t, Timeout: 30 * time.Second},
		others: map[string]*oidc.IDTokenVerifier{}}, nil
}

// URL of the issuer.
func (i *Issuer) URL() string { return i.cfg.Issuer.URL }

// Forget drops the metrics of an issuer that is not used any more.
func (i *Issuer) Forget() { i.metrics.forget(i.URL()) }

// Run finds where the issuer publishes its keys. It returns when they are found.
func (i *Issuer) Run(ctx context.Context) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		err := i.discover(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		slog.Default().Warn("an issuer of tokens cannot be reached", "component", "authn", "issuer", i.URL(), "err", err)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// document is what is read of an issuer's discovery document.
type document struct {
	Issuer  string `json:"issuer"`
	JWKSURI string `json:"jwks_uri"`
}

const maxDocument = 1 << 20

func (i *Issuer) discover(ctx context.Context) error {
	at := wellKnown(i.URL())
	if u := i.cfg.Issuer.DiscoveryURL; u != "" {
		at = u
	}
	v, err := i.discoverAt(ctx, i.URL(), at)
	if err == nil {
		i.verifier.Store(v)
	}
	return err
}

// AuthenticateToken implements authenticator.Token.
func (i *Issuer) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	if issuerOf(token) != i.URL() {
		return nil, false, nil
	}
	start := time.Now()
	resp, ok, err := i.verify(ctx, token)
	i.metrics.attempt(i.URL(), start, err)
	return resp, ok, err
}

func (i *Issuer) verify(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	v := i.verifier.Load()
	if v == nil {
		return nil, false, fmt.Errorf("oidc: authenticator for issuer %q is not initialized", i.URL())
	}
	id, err := v.Verify(ctx, token)
	if err != nil {
		return nil, false, fmt.Errorf("oidc: verify token: %w", err)
	}
	if !slices.ContainsFunc(i.cfg.Issuer.Audiences, func(a string) bool { return slices.Contains(id.Audience, a) }) {
		return nil, false, fmt.Errorf("oidc: verify token: oidc: expected audience in %q got %q", i.cfg.Issuer.Audiences, id.Audience)
	}
	var c claims
	if err := id.Claims(&c); err != nil {
		return nil, false, fmt.Errorf("oidc: parse claims: %w", err)
	}
	u, err := i.user(ctx, c)
	if err != nil {
		return nil, false, err
	}
	return &authenticator.Response{User: u}, true, nil
}

// issuerOf reads the issuer of a token that is not verified yet.
func issuerOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &c) != nil {
		return ""
	}
	return c.Issuer
}

var errNoClaim = errors.New("claim not present")
