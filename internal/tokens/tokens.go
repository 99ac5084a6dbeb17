// Package tokens makes and reads the tokens of a cluster: the JSON web tokens of service accounts, bound ones
// ([Claims], KEP-1205) and those of the old kind that live in secrets, and bootstrap tokens.
//
// A [Signer] signs with one key; a [Verifier] accepts tokens of several issuers and keys, so that keys can be
// rotated. Both are pure: they judge signature, issuer and times, and know nothing of whether the service account or
// the pod that a token names still lives. That is for who asks (internal/server/authn). Nothing here
// keeps or logs a token. Safe for concurrent use.
package tokens

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// LegacyIssuer is the issuer of tokens that live in secrets and never expire.
const LegacyIssuer = "kubernetes/serviceaccount"

// Claims are what the token of a service account says.
type Claims struct {
	Issuer    string           `json:"iss,omitempty"`
	Subject   string           `json:"sub,omitempty"`
	Audience  jwt.ClaimStrings `json:"aud,omitempty"`
	Expiry    *jwt.NumericDate `json:"exp,omitempty"`
	NotBefore *jwt.NumericDate `json:"nbf,omitempty"`
	IssuedAt  *jwt.NumericDate `json:"iat,omitempty"`
	ID        string           `json:"jti,omitempty"`

	Kubernetes *Private `json:"kubernetes.io,omitempty"`

	// Those of the old kind.
	LegacyNamespace  string `json:"kubernetes.io/serviceaccount/namespace,omitempty"`
	LegacySecret     string `json:"kubernetes.io/serviceaccount/secret.name,omitempty"`
	LegacyAccount    string `json:"kubernetes.io/serviceaccount/service-account.name,omitempty"`
	LegacyAccountUID string `json:"kubernetes.io/serviceaccount/service-account.uid,omitempty"`
}

// Private is the claim "kubernetes.io" of a bound token.
type Private struct {
	Namespace      string           `json:"namespace,omitempty"`
	ServiceAccount Ref              `json:"serviceaccount,omitempty"`
	Pod            *Ref             `json:"pod,omitempty"`
	Secret         *Ref             `json:"secret,omitempty"`
	Node           *Ref             `json:"node,omitempty"`
	WarnAfter      *jwt.NumericDate `json:"warnafter,omitempty"`
}

// Ref names an object that a token belongs to.
type Ref struct {
	Name string `json:"name,omitempty"`
	UID  string `json:"uid,omitempty"`
}

// Legacy says whether the token is one of the old kind.
func (c *Claims) Legacy() bool { return c.Issuer == LegacyIssuer }

// The methods of jwt.Claims.
func (c *Claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.Expiry, nil }
func (c *Claims) GetIssuedAt() (*jwt.NumericDate, error)       { return c.IssuedAt, nil }
func (c *Claims) GetNotBefore() (*jwt.NumericDate, error)      { return c.NotBefore, nil }
func (c *Claims) GetIssuer() (string, error)                   { return c.Issuer, nil }
func (c *Claims) GetSubject() (string, error)                  { return c.Subject, nil }
func (c *Claims) GetAudience() (jwt.ClaimStrings, error)       { return c.Audience, nil }

// Time makes a claim of a time, in whole seconds.
func Time(t time.Time) *jwt.NumericDate { return jwt.NewNumericDate(t) }

// Signer signs tokens with one private key.
type Signer struct {
	key    crypto.Signer
	method jwt.SigningMethod
	keyID  string
}

// NewSigner takes an RSA, ECDSA (P-256, P-384, P-521) or Ed25519 key.
func NewSigner(key crypto.Signer) (*Signer, error) {
	m, err := method(key.Public())
	if err != nil {
		return nil, err
	}
	id, err := KeyID(key.Public())
	if err != nil {
		return nil, err
	}
	return &Signer{key: key, method: m, keyID: id}, nil
}

// Public is the key that verifies what the signer signs.
func (s *Signer) Public() crypto.PublicKey { return s.key.Public() }

// Sign gives the compact form of a token.
func (s *Signer) Sign(c *Claims) (string, error) {
	t := jwt.NewWithClaims(s.method, c)
	delete(t.Header, "typ")
	t.Header["kid"] = s.keyID
	out, err := t.SignedString(s.key)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return out, nil
}

// SignLegacy makes the token that a secret of type kubernetes.io/service-account-token holds.
func (s *Signer) SignLegacy(namespace, account, accountUID, secret string) (string, error) {
	return s.Sign(&Claims{
		Issuer: LegacyIssuer, Subject: "system:serviceaccount:" + namespace + ":" + account,
		LegacyNamespace: namespace, LegacyAccount: account, LegacyAccountUID: accountUID, LegacySecret: secret,
	})
}

// Errors of Verify besides those of a token that is malformed or signed by no known key.
var (
	// ErrNotOurs tells that a token is no JWT of any of the issuers: another authenticator may know it.
	ErrNotOurs = errors.New("not a token of this issuer")
	// ErrExpired tells that a token's time is over.
	ErrExpired = errors.New("service account token has expired")
	// ErrNotYet tells that a token's time has not come.
	ErrNotYet = errors.New("service account token is not valid yet")
)

// Verifier accepts tokens of some issuers, signed by some keys.
type Verifier struct {
	issuers map[string]bool
	byID    map[string]crypto.PublicKey
	all     jwt.VerificationKeySet
	parser  *jwt.Parser
}

// Key is a public key under the name that tokens know it by.
type Key struct {
	ID     string
	Public crypto.PublicKey
	// Hidden keys verify, but are not told to others.
	Hidden bool
}

// Named gives keys the names that follow from them.
func Named(keys []crypto.PublicKey) ([]Key, error) {
	out := make([]Key, len(keys))
	for i, k := range keys {
		id, err := KeyID(k)
		if err != nil {
			return nil, err
		}
		out[i] = Key{ID: id, Public: k}
	}
	return out, nil
}

// NewVerifier accepts tokens of any of the issuers, and those of the old kind.
func NewVerifier(issuers []string, keys []crypto.PublicKey) (*Verifier, error) {
	named, err := Named(keys)
	if err != nil {
		return nil, err
	}
	return NewKeyVerifier(issuers, named)
}

// NewKeyVerifier is NewVerifier for keys with names of their own.
func NewKeyVerifier(issuers []string, keys []Key) (*Verifier, error) {
	v := &Verifier{issuers: map[string]bool{LegacyIssuer: true}, byID: map[string]crypto.PublicKey{}}
	for _, i := range issuers {
		v.issuers[i] = true
	}
	methods := map[string]bool{}
	for _, k := range keys {
		m, err := method(k.Public)
		if err != nil {
			return nil, err
		}
		methods[m.Alg()] = true
		v.byID[k.ID] = k.Public
		v.all.Keys = append(v.all.Keys, k.Public)
	}
	names := make([]string, 0, len(methods))
	for m := range methods {
		names = append(names, m)
	}
	// Times are judged by Verify itself, with errors of its own.
	v.parser = jwt.NewParser(jwt.WithValidMethods(names), jwt.WithoutClaimsValidation())
	return v, nil
}

// Ours says whether a token names one of the issuers. It is not verified.
func (v *Verifier) Ours(token string) bool {
	var peek Claims
	_, _, err := v.parser.ParseUnverified(token, &peek)
	return err == nil && v.issuers[peek.Issuer]
}

// KnowsKey says whether the key that a token names is known.
func (v *Verifier) KnowsKey(token string) bool {
	t, _, err := v.parser.ParseUnverified(token, &Claims{})
	if err != nil {
		return false
	}
	id, _ := t.Header["kid"].(string)
	return v.byID[id] != nil
}

// Verify judges a token's form, issuer, signature and times. ErrNotOurs comes before the signature is looked at.
func (v *Verifier) Verify(token string, now time.Time) (*Claims, error) {
	var peek Claims
	if _, _, err := v.parser.ParseUnverified(token, &peek); err != nil || !v.issuers[peek.Issuer] {
		return nil, ErrNotOurs
	}
	c := &Claims{}
	if _, err := v.parser.ParseWithClaims(token, c, v.keyOf); err != nil {
		return nil, fmt.Errorf("invalid service account token: %w", err)
	}
	if err := c.CheckTimes(now); err != nil {
		return nil, err
	}
	if !c.Legacy() && (c.Kubernetes == nil || c.Expiry == nil) {
		return nil, errors.New("the token lacks the claims of a service account token")
	}
	return c, nil
}

// CheckTimes says whether the token is valid at a time. Clocks may differ by ten seconds before the token's beginning.
func (c *Claims) CheckTimes(now time.Time) error {
	if c.Expiry != nil && !now.Before(c.Expiry.Time) {
		return ErrExpired
	}
	if c.NotBefore != nil && now.Add(10*time.Second).Before(c.NotBefore.Time) {
		return ErrNotYet
	}
	return nil
}

func (v *Verifier) keyOf(t *jwt.Token) (any, error) {
	if id, ok := t.Header["kid"].(string); ok {
		if k := v.byID[id]; k != nil {
			return k, nil
		}
	}
	return v.all, nil
}

// KeyID is the "kid" of a key: the SHA-256 of its DER form, base64url without padding, as in upstream's tokens and key sets.
func KeyID(pub crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("encoding a public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

func method(pub crypto.PublicKey) (jwt.SigningMethod, error) {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return jwt.SigningMethodRS256, nil
	case ed25519.PublicKey:
		return jwt.SigningMethodEdDSA, nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return jwt.SigningMethodES256, nil
		case elliptic.P384():
			return jwt.SigningMethodES384, nil
		case elliptic.P521():
			return jwt.SigningMethodES512, nil
		}
		return nil, fmt.Errorf("unsupported curve %s for tokens", k.Curve.Params().Name)
	}
	return nil, fmt.Errorf("unsupported kind of key for tokens: %T", pub)
}
