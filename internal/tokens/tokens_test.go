package tokens

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
)

const issuer = "https://kubernetes.default.svc.cluster.local"

func keys(t testing.TB) map[string]crypto.Signer {
	ec := func(c elliptic.Curve) crypto.Signer {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		require.NoError(t, err)
		return k
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return map[string]crypto.Signer{"ES256": ec(elliptic.P256()), "ES384": ec(elliptic.P384()), "RS256": r, "EdDSA": ed}
}

func claims(now time.Time) *Claims {
	return &Claims{Issuer: issuer, Subject: "system:serviceaccount:ns:sa", Audience: []string{issuer}, ID: "id",
		Expiry: Time(now.Add(time.Hour)), IssuedAt: Time(now), NotBefore: Time(now),
		Kubernetes: &Private{Namespace: "ns", ServiceAccount: Ref{"sa", "uid"}, Pod: &Ref{"p", "pu"}, Node: &Ref{"n", "nu"}}}
}

func TestRoundTrip(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	for alg, k := range keys(t) {
		t.Run(alg, func(t *testing.T) {
			s, err := NewSigner(k)
			require.NoError(t, err)
			token, err := s.Sign(claims(now))
			require.NoError(t, err)
			v, err := NewVerifier([]string{issuer}, []crypto.PublicKey{k.Public()})
			require.NoError(t, err)
			got, err := v.Verify(token, now)
			require.NoError(t, err)
			require.Equal(t, claims(now), got)

			var header map[string]string
			raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(raw, &header))
			require.Equal(t, alg, header["alg"])
			require.Len(t, header, 2, "alg and kid alone")

			// Another library verifies it with the published key.
			named, err := Named([]crypto.PublicKey{k.Public()})
			require.NoError(t, err)
			set, err := KeySet(named)
			require.NoError(t, err)
			var parsed jose.JSONWebKeySet
			require.NoError(t, json.Unmarshal(set, &parsed))
			jws, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
			require.NoError(t, err)
			_, err = jws.Verify(parsed.Key(header["kid"])[0])
			require.NoError(t, err)
		})
	}
}

func TestVerifyRefuses(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	all := keys(t)
	mine, other := all["ES256"], all["ES384"]
	v, err := NewVerifier([]string{issuer}, []crypto.PublicKey{mine.Public()})
	require.NoError(t, err)
	sign := func(k crypto.Signer, change func(*Claims)) string {
		s, err := NewSigner(k)
		require.NoError(t, err)
		c := claims(now)
		change(c)
		token, err := s.Sign(c)
		require.NoError(t, err)
		return token
	}
	good := sign(mine, func(*Claims) {})
	part := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + part[1] + "."
	for name, c := range map[string]struct {
		token string
		is    error
		says  string
	}{
		"expired":         {sign(mine, func(c *Claims) { c.Expiry = Time(now) }), ErrExpired, ""},
		"not yet":         {sign(mine, func(c *Claims) { c.NotBefore = Time(now.Add(time.Minute)) }), ErrNotYet, ""},
		"foreign issuer":  {sign(mine, func(c *Claims) { c.Issuer = "https://elsewhere" }), ErrNotOurs, ""},
		"no JWT":          {"abcdef.0123456789abcdef", ErrNotOurs, ""},
		"empty":           {"", ErrNotOurs, ""},
		"foreign key":     {sign(other, func(*Claims) {}), nil, "invalid service account token"},
		"alg none":        {none, nil, "invalid service account token"},
		"changed":         {part[0] + "." + strings.Replace(part[1], part[1][10:12], "AA", 1) + "." + part[2], nil, ""},
		"no private part": {sign(mine, func(c *Claims) { c.Kubernetes = nil }), nil, "lacks the claims"},
		"no expiry":       {sign(mine, func(c *Claims) { c.Expiry = nil }), nil, "lacks the claims"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := v.Verify(c.token, now)
			require.Error(t, err)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			require.ErrorContains(t, err, c.says)
		})
	}
}

func FuzzVerify(f *testing.F) {
	now := time.Now()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(f, err)
	s, err := NewSigner(k)
	require.NoError(f, err)
	token, err := s.Sign(claims(now))
	require.NoError(f, err)
	v, err := NewVerifier([]string{issuer}, []crypto.PublicKey{k.Public()})
	require.NoError(f, err)
	f.Add(token)
	f.Add("a.b.c")
	f.Add("..")
	f.Fuzz(func(t *testing.T, in string) {
		c, err := v.Verify(in, now)
		if err == nil && !strings.HasPrefix(in, token[:strings.LastIndexByte(token, '.')]) {
			t.Fatalf("accepted a token that nobody signed: %+v", c)
		}
	})
}

func FuzzParseBootstrap(f *testing.F) {
	f.Add("abcdef.0123456789abcdef")
	f.Add(".")
	f.Fuzz(func(t *testing.T, in string) {
		if b, err := ParseBootstrap(in); err == nil && b.String() != in {
			t.Fatalf("%q was read as %q", in, b)
		}
	})
}

func TestBootstrap(t *testing.T) {
	b, err := NewBootstrap()
	require.NoError(t, err)
	again, err := ParseBootstrap(b.String())
	require.NoError(t, err)
	require.Equal(t, b, again)
	for _, bad := range []string{"", "abcdef", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcde", "abcdef-0123456789abcdef", "abcdef.0123456789abcdef."} {
		_, err := ParseBootstrap(bad)
		require.Error(t, err, bad)
	}
}
