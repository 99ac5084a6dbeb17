package access_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
	authnv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"

	"hyperkube/internal/server"
	"hyperkube/internal/server/access"
	"hyperkube/internal/server/authn"
	"hyperkube/internal/server/authz"
	"hyperkube/internal/server/bootstrap"
	"hyperkube/internal/server/servertest"
)

// provider is an OpenID Connect issuer.
type provider struct {
	*httptest.Server
	mu     sync.Mutex
	kid    string
	key    *ecdsa.PrivateKey
	groups string
}

// elsewhere sets what a distributed claim leads to.
func (p *provider) elsewhere(token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.groups = token
}

func newProvider(t *testing.T) *provider {
	p := &provider{}
	p.rotate(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer": %q, "jwks_uri": %q}`, p.URL, p.URL+"/keys")
	})
	mux.HandleFunc("/groups", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer open" {
			http.Error(w, "who?", http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(p.groups))
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: p.kid, Algorithm: "ES256", Use: "sig"}}})
	})
	p.Server = httptest.NewTLSServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) rotate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key, p.kid = key, rand.Text()
}

func (p *provider) ca() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}))
}

// token signs claims; iss, aud and exp are filled in.
func (p *provider) token(t *testing.T, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"iss": p.URL, "aud": "me", "exp": time.Now().Add(time.Hour).Unix()}
	for k, v := range claims {
		all[k] = v
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: crypto.Signer(p.key), KeyID: p.kid}}, nil)
	require.NoError(t, err)
	data, err := json.Marshal(all)
	require.NoError(t, err)
	o, err := s.Sign(data)
	require.NoError(t, err)
	out, err := o.CompactSerialize()
	require.NoError(t, err)
	return out
}

// serve starts a server that everybody known may use.
func serve(t *testing.T, cfg authn.Config) *servertest.API {
	t.Helper()
	return servertest.Start(t, func(c *server.Config) {
		c.Wire = access.Wire(access.Config{Authn: cfg, Authz: authz.Config{Modes: []string{"AlwaysAllow"}}, Bootstrap: bootstrap.Config{SkipRBAC: true}})
	})
}

// whoami is who the server takes the bearer of a token for.
func whoami(t *testing.T, api *servertest.API, token string) (*authnv1.UserInfo, error) {
	t.Helper()
	cfg := rest.CopyConfig(api.REST)
	cfg.BearerToken = token
	k, err := kubernetes.NewForConfig(cfg)
	require.NoError(t, err)
	s, err := k.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authnv1.SelfSubjectReview{}, metav1.CreateOptions{})
	return &s.Status.UserInfo, err
}

// eventually asks until the issuer's keys are known.
func eventually(t *testing.T, api *servertest.API, token string) *authnv1.UserInfo {
	t.Helper()
	var u *authnv1.UserInfo
	require.Eventually(t, func() (ok bool) {
		var err error
		u, err = whoami(t, api, token)
		return err == nil
	}, 30*time.Second, 10*time.Millisecond)
	return u
}

func refused(t *testing.T, api *servertest.API, token, why string) {
	t.Helper()
	_, err := whoami(t, api, token)
	require.True(t, apierrors.IsUnauthorized(err), "%s: %v", why, err)
}

// scrape reads the server's metrics.
func scrape(t *testing.T, api *servertest.API) string {
	t.Helper()
	k, err := kubernetes.NewForConfig(api.REST)
	require.NoError(t, err)
	data, err := k.RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	require.NoError(t, err)
	return string(data)
}

func TestOIDCByFlags(t *testing.T) {
	p := newProvider(t)
	api := serve(t, authn.Config{Anonymous: true, OIDC: &authn.OIDC{Algorithms: []string{"ES256"}, JWTAuthenticator: apiserver.JWTAuthenticator{
		Issuer:               apiserver.Issuer{URL: p.URL, CertificateAuthority: p.ca(), Audiences: []string{"me"}},
		ClaimValidationRules: []apiserver.ClaimValidationRule{{Claim: "tenant", RequiredValue: "a"}},
		ClaimMappings: apiserver.ClaimMappings{
			Username: apiserver.PrefixedClaimOrExpression{Claim: "email", Prefix: ptr.To("oidc:")},
			Groups:   apiserver.PrefixedClaimOrExpression{Claim: "groups", Prefix: ptr.To("g:")},
		},
	}}})
	good := map[string]any{"email": "ann@example.test", "email_verified": true, "tenant": "a", "groups": []string{"x", "y"}, "jti": "7"}
	u := eventually(t, api, p.token(t, good))
	require.Equal(t, "oidc:ann@example.test", u.Username)
	require.Equal(t, []string{"g:x", "g:y", "system:authenticated"}, u.Groups)
	require.Equal(t, authnv1.ExtraValue{"JTI=7"}, u.Extra["authentication.kubernetes.io/credential-id"])
	for why, change := range map[string]map[string]any{
		"not verified": {"email_verified": false}, "other tenant": {"tenant": "b"}, "no tenant": {"tenant": nil}, "other audience": {"aud": "you"},
		"expired": {"exp": time.Now().Add(-time.Minute).Unix()}, "no name": {"email": ""}, "other issuer": {"iss": "https://example.test"}, "strange groups": {"groups": 7},
	} {
		c := map[string]any{}
		for k, v := range good {
			c[k] = v
		}
		for k, v := range change {
			c[k] = v
		}
		refused(t, api, p.token(t, c), why)
	}
	forged := strings.Split(p.token(t, good), ".")
	refused(t, api, forged[0]+"."+forged[1]+"."+strings.Repeat("A", len(forged[2])), "forged")
	p.rotate(t)
	_, err := whoami(t, api, p.token(t, good))
	require.NoError(t, err, "a new key is fetched")
	told := scrape(t, api)
	for _, metric := range []string{"apiserver_authentication_jwt_authenticator_jwks_fetch_last_key_set_info{", "apiserver_authentication_jwt_authenticator_jwks_fetch_last_timestamp_seconds{",
		"apiserver_authentication_jwt_authenticator_latency_seconds_count{"} {
		require.Contains(t, told, metric)
	}

	// Groups that lie elsewhere are fetched with the token that the claims give for it.
	elsewhere := map[string]any{"_claim_names": map[string]string{"groups": "s"}, "_claim_sources": map[string]any{"s": map[string]string{"endpoint": p.URL + "/groups", "access_token": "open"}}}
	for k, v := range good {
		if k != "groups" {
			elsewhere[k] = v
		}
	}
	p.elsewhere(p.token(t, map[string]any{"groups": []string{"z"}}))
	u, err = whoami(t, api, p.token(t, elsewhere))
	require.NoError(t, err)
	require.Equal(t, []string{"g:z", "system:authenticated"}, u.Groups)
	p.elsewhere(p.token(t, map[string]any{"groups": []string{"z"}, "aud": "you"}))
	refused(t, api, p.token(t, elsewhere), "groups for another audience")
	p.elsewhere("nonsense")
	refused(t, api, p.token(t, elsewhere), "no groups")
}

const configuration = `
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous:
  enabled: true
  conditions:
  - path: /livez
jwt:
- issuer:
    url: %s
    audiences: [me, us]
    audienceMatchPolicy: MatchAny
    certificateAuthority: |
      %s
  claimValidationRules:
  - expression: 'claims.level >= 3'
    message: too low
  claimMappings:
    username: {expression: '"%s" + claims.sub'}
    groups: {expression: 'claims.roles'}
    uid: {claim: id}
    extra:
    - {key: example.test/tenant, valueExpression: 'has(claims.tenant) ? claims.tenant : ""'}
  userValidationRules:
  - expression: '!user.username.startsWith("system:")'
    message: reserved
`

func TestAuthenticationConfiguration(t *testing.T) {
	p := newProvider(t)
	path := filepath.Join(t.TempDir(), "authn.yaml")
	write := func(prefix string) {
		text := fmt.Sprintf(configuration, p.URL, strings.ReplaceAll(strings.TrimSpace(p.ca()), "\n", "\n      "), prefix)
		require.NoError(t, os.WriteFile(path+".next", []byte(text), 0o600))
		require.NoError(t, os.Rename(path+".next", path))
	}
	write("a:")
	api := serve(t, authn.Config{ConfigFile: path, Anonymous: true})
	good := map[string]any{"sub": "ann", "roles": []string{"dev"}, "id": "42", "level": 3, "tenant": "t", "aud": []string{"other", "us"}}
	u := eventually(t, api, p.token(t, good))
	require.Equal(t, "a:ann", u.Username)
	require.Equal(t, "42", u.UID)
	require.Equal(t, []string{"dev", "system:authenticated"}, u.Groups)
	require.Equal(t, authnv1.ExtraValue{"t"}, u.Extra["example.test/tenant"])
	good["level"] = 2
	refused(t, api, p.token(t, good), "too low")
	good["level"] = 3

	anonymous := func(path string) int {
		cfg := rest.AnonymousClientConfig(api.REST)
		k, err := kubernetes.NewForConfig(cfg)
		require.NoError(t, err)
		code := 0
		k.RESTClient().Get().AbsPath(path).Do(t.Context()).StatusCode(&code)
		return code
	}
	require.Equal(t, 200, anonymous("/livez"))
	require.Equal(t, 401, anonymous("/readyz"))
	require.Equal(t, 401, anonymous("/api/v1/pods"))

	require.NoError(t, os.WriteFile(path, []byte("kind: Nonsense"), 0o600))
	write("system:")
	require.Eventually(t, func() bool { _, err := whoami(t, api, p.token(t, good)); return apierrors.IsUnauthorized(err) }, 30*time.Second, 10*time.Millisecond,
		"the new configuration maps to names that its own rule forbids")
	write("b:")
	require.Eventually(t, func() bool {
		u, err := whoami(t, api, p.token(t, good))
		return err == nil && u.Username == "b:ann"
	}, 30*time.Second, 10*time.Millisecond)
}

func TestBadAuthenticationConfiguration(t *testing.T) {
	const head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"
	const jwt = head + "jwt:\n- issuer: {url: 'https://x', audiences: [a]}\n"
	for text, want := range map[string]string{
		"kind: X":         `kind "X"`,
		head + "jwts: []": `unknown field "jwts"`,
		head + "jwt:\n- issuer: {url: 'http://x', audiences: [a]}\n  claimMappings: {username: {claim: sub, prefix: ''}}": "jwt[0].issuer.url",
		jwt: "jwt[0].claimMappings.username",
		jwt + "  claimMappings: {username: {expression: 'claims.'}}":                                                           "jwt[0].claimMappings.username.expression",
		jwt + "  claimMappings: {username: {claim: sub}}":                                                                      "jwt[0].claimMappings.username.prefix",
		head + "anonymous: {enabled: false, conditions: [{path: /x}]}":                                                         "anonymous.conditions",
		jwt + "  claimMappings: {username: {expression: 'claims.sub'}}\n  userValidationRules: [{expression: 'user.nothing'}]": "jwt[0].userValidationRules[0].expression",
	} {
		path := filepath.Join(t.TempDir(), "authn.yaml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := authn.New(authn.Config{ConfigFile: path})
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, path)
	}
	path := filepath.Join(t.TempDir(), "authn.yaml")
	require.NoError(t, os.WriteFile(path, []byte(head+"anonymous: {enabled: false}"), 0o600))
	_, err := authn.New(authn.Config{ConfigFile: path, AnonymousSaid: true})
	require.ErrorContains(t, err, "--anonymous-auth flag cannot be set")
	_, err = authn.New(authn.Config{Webhook: &authn.WebhookTokens{ConfigFile: "/no/such", Version: "v1"}})
	require.ErrorContains(t, err, "--authentication-token-webhook-config-file: /no/such")
}

// kubeconfig names a webhook.
func kubeconfig(t *testing.T, srv *httptest.Server) string {
	c := clientcmdapi.NewConfig()
	c.Clusters["x"] = &clientcmdapi.Cluster{Server: srv.URL, CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})}
	c.Contexts["x"] = &clientcmdapi.Context{Cluster: "x"}
	c.CurrentContext = "x"
	path := filepath.Join(t.TempDir(), "webhook.kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(*c, path))
	return path
}

func TestTokenWebhook(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]int{}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in authnv1.TokenReview
		if json.NewDecoder(r.Body).Decode(&in) != nil || in.APIVersion != "authentication.k8s.io/v1" {
			http.Error(w, "what?", http.StatusBadRequest)
			return
		}
		mu.Lock()
		asked[in.Spec.Token]++
		mu.Unlock()
		switch in.Spec.Token {
		case "good":
			in.Status = authnv1.TokenReviewStatus{Authenticated: true, User: authnv1.UserInfo{Username: "ann", UID: "7", Groups: []string{"g"}, Extra: map[string]authnv1.ExtraValue{"k": {"v"}}}}
		case "elsewhere":
			in.Status = authnv1.TokenReviewStatus{Authenticated: true, Audiences: []string{"elsewhere"}, User: authnv1.UserInfo{Username: "ann"}}
		case "broken":
			http.Error(w, "no", http.StatusTeapot)
			return
		}
		_ = json.NewEncoder(w).Encode(&in)
	}))
	defer srv.Close()
	api := serve(t, authn.Config{Webhook: &authn.WebhookTokens{ConfigFile: kubeconfig(t, srv), Version: "v1", TTL: time.Hour}})
	for range 3 {
		u, err := whoami(t, api, "good")
		require.NoError(t, err)
		require.Equal(t, "ann", u.Username)
		require.Equal(t, []string{"g", "system:authenticated"}, u.Groups)
		require.Equal(t, authnv1.ExtraValue{"v"}, u.Extra["k"])
		refused(t, api, "bad", "unknown")
		refused(t, api, "broken", "an error")
	}
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, map[string]int{"good": 1, "bad": 1, "broken": 3}, asked, "answers are remembered, errors are not")
}
