package jwt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
)

// source is where a distributed claim is to be had (OpenID Connect Core 1.0, section 5.6.2).
type source struct {
	Endpoint    string `json:"endpoint"`
	AccessToken string `json:"access_token"`
}

// resolve puts a claim that lies elsewhere among those of the token. The other place answers with a token of its own, which says who issued
// it; it is trusted since the token that led there, which is verified, names the place.
func (i *Issuer) resolve(ctx context.Context, c claims, name string) error {
	if _, here := c[name]; here {
		return nil
	}
	var names map[string]string
	if err := c.get("_claim_names", &names); errors.Is(err, errNoClaim) || err == nil && names[name] == "" {
		return nil
	} else if err != nil {
		return fmt.Errorf("oidc: error unmarshaling distributed claim names: %w", err)
	}
	var sources map[string]source
	if err := c.get("_claim_sources", &sources); err != nil {
		return fmt.Errorf("oidc: error unmarshaling distributed claim sources: %w", err)
	}
	s, ok := sources[names[name]]
	if !ok || s.Endpoint == "" {
		return fmt.Errorf("oidc: claim %q names the source %q, which the token does not have", name, names[name])
	}
	more, err := i.fetch(ctx, s)
	if err != nil {
		return fmt.Errorf("oidc: distributed claim %q: %w", name, err)
	}
	value, ok := more[name]
	if !ok {
		return fmt.Errorf("oidc: the source of distributed claim %q does not have it", name)
	}
	c[name] = value
	return nil
}

// fetch reads the claims that a source has.
func (i *Issuer) fetch(ctx context.Context, s source) (claims, error) {
	if !strings.HasPrefix(s.Endpoint, "https://") {
		return nil, errors.New("its endpoint is not https")
	}
	token, err := i.read(ctx, s.Endpoint, s.AccessToken)
	if err != nil {
		return nil, err
	}
	text := string(bytes.TrimSpace(token))
	v, err := i.verifierOf(ctx, issuerOf(text))
	if err != nil {
		return nil, err
	}
	id, err := v.Verify(ctx, text)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(i.cfg.Issuer.Audiences, func(a string) bool { return slices.Contains(id.Audience, a) }) {
		return nil, fmt.Errorf("expected audience in %q got %q", i.cfg.Issuer.Audiences, id.Audience)
	}
	var c claims
	return c, id.Claims(&c)
}

// maxIssuers bounds the issuers of distributed claims whose keys are kept.
const maxIssuers = 64

// verifierOf is the verifier of an issuer of distributed claims.
func (i *Issuer) verifierOf(ctx context.Context, url string) (*oidc.IDTokenVerifier, error) {
	if url == i.URL() {
		return i.verifier.Load(), nil
	}
	if !strings.HasPrefix(url, "https://") {
		return nil, fmt.Errorf("the issuer %q is no https URL", url)
	}
	i.mu.Lock()
	known := i.others[url]
	i.mu.Unlock()
	if known != nil {
		return known, nil
	}
	made, err := i.discoverAt(ctx, url, wellKnown(url))
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.others) >= maxIssuers {
		clear(i.others)
	}
	i.others[url] = made
	return made, nil
}

func wellKnown(url string) string {
	return strings.TrimSuffix(url, "/") + "/.well-known/openid-configuration"
}

// read gets a document.
func (i *Issuer) read(ctx context.Context, url, bearer string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := i.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxDocument))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", url, res.Status)
	}
	return data, err
}

// discoverAt makes the verifier of an issuer whose discovery document lies at a URL.
func (i *Issuer) discoverAt(ctx context.Context, issuer, at string) (*oidc.IDTokenVerifier, error) {
	data, err := i.read(ctx, at, "")
	if err != nil {
		return nil, err
	}
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	if doc.Issuer != issuer {
		return nil, fmt.Errorf("%s: oidc: issuer did not match the issuer returned by provider, expected %q got %q", at, issuer, doc.Issuer)
	}
	if doc.JWKSURI == "" {
		return nil, fmt.Errorf("%s names no jwks_uri", at)
	}
	// Keys are fetched anew when a token has an unknown one, long after this request.
	client := *i.client
	client.Transport = &watched{i.client.Transport, i.metrics, issuer, doc.JWKSURI}
	keys := oidc.NewRemoteKeySet(oidc.ClientContext(context.WithoutCancel(ctx), &client), doc.JWKSURI)
	return oidc.NewVerifier(issuer, keys, &oidc.Config{SkipClientIDCheck: true, SupportedSigningAlgs: i.algorithms, Now: i.now}), nil
}
