package authn

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authnv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/pki"
	"hyperkube/internal/server/apitest"
	"hyperkube/internal/server/request"
)

// world is an authenticator with everything switched on.
type world struct {
	*Authenticator
	api       *apitest.API
	ca, front *pki.CA
	now       time.Time
}

const issuer = "https://kubernetes.default.svc.cluster.local"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Now().Truncate(time.Second)}
	var err error
	w.ca, err = pki.NewCA("ca", w.now)
	require.NoError(t, err)
	w.front, err = pki.NewCA("front", w.now)
	require.NoError(t, err)
	key, err := pki.NewCA("key", w.now)
	require.NoError(t, err)
	w.api = apitest.New(map[client.GVR][]client.Object{
		client.ServiceAccounts.GVR: {&corev1.ServiceAccount{ObjectMeta: om("ns", "sa", "sa-uid")}},
		client.Pods.GVR:            {&corev1.Pod{ObjectMeta: om("ns", "pod", "pod-uid"), Spec: corev1.PodSpec{ServiceAccountName: "sa", NodeName: "node"}}},
		client.Nodes.GVR:           {&corev1.Node{ObjectMeta: om("", "node", "node-uid")}},
	})
	tokenFile := filepath.Join(t.TempDir(), "tokens.csv")
	require.NoError(t, os.WriteFile(tokenFile, []byte("static,carl,7,\"a,b\"\n"), 0o600))
	w.Authenticator, err = New(Config{
		API: w.api, ClientCA: func() *x509.CertPool { return w.ca.Pool() },
		FrontProxy:      &FrontProxy{CA: func() *x509.CertPool { return w.front.Pool() }, AllowedNames: []string{"front-proxy-client"}},
		ServiceAccounts: &ServiceAccounts{Issuers: []string{issuer}, Keys: []crypto.PublicKey{key.Key.Public()}, Signer: key.Key, ExtendExpiration: true},
		TokenFile:       tokenFile, BootstrapTokens: true, Anonymous: true, Now: func() time.Time { return w.now },
	})
	require.NoError(t, err)
	return w
}

func om(ns, name, uid string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: ns, Name: name, UID: types.UID(uid)}
}

func (w *world) cert(t *testing.T, ca *pki.CA, r pki.Request) *http.Request {
	t.Helper()
	if r.Usages == nil {
		r.Usages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	c, err := ca.IssueTLS(r, w.now)
	require.NoError(t, err)
	req := httptest.NewRequest("GET", "/api", nil)
	req.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c.Leaf}}
	return req
}

func bearer(token string) *http.Request {
	r := httptest.NewRequest("GET", "/api", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

func TestRequests(t *testing.T) {
	w := newWorld(t)
	other, err := pki.NewCA("other", w.now)
	require.NoError(t, err)
	proxied := func(ca *pki.CA, cn string) *http.Request {
		r := w.cert(t, ca, pki.Request{CommonName: cn})
		r.Header.Set("X-Remote-User", "fred")
		r.Header.Add("X-Remote-Group", "g1")
		r.Header.Add("X-Remote-Group", "g2")
		r.Header.Set("X-Remote-Extra-Some%2fkey", "v")
		return r
	}
	ws := httptest.NewRequest("GET", "/api", nil)
	ws.Header.Set("Upgrade", "websocket")
	ws.Header.Set("Sec-WebSocket-Protocol", wsBearerPrefix+base64.RawURLEncoding.EncodeToString([]byte("static"))+", v5.channel.k8s.io")
	for name, c := range map[string]struct {
		r      *http.Request
		user   string // empty: refused
		groups []string
	}{
		"nobody":                  {httptest.NewRequest("GET", "/", nil), "system:anonymous", []string{"system:unauthenticated"}},
		"certificate":             {w.cert(t, w.ca, pki.Request{CommonName: "ann", Organizations: []string{"devs"}}), "ann", []string{"devs", "system:authenticated"}},
		"foreign certificate":     {w.cert(t, other, pki.Request{CommonName: "ann"}), "", nil},
		"expired certificate":     {w.cert(t, w.ca, pki.Request{CommonName: "ann", Life: -time.Minute}), "", nil},
		"server certificate":      {w.cert(t, w.ca, pki.Request{CommonName: "ann", Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}), "", nil},
		"front proxy":             {proxied(w.front, "front-proxy-client"), "fred", []string{"g1", "g2", "system:authenticated"}},
		"unknown front proxy":     {proxied(w.front, "other"), "", nil},
		"client plays proxy":      {proxied(w.ca, "ann"), "ann", []string{"system:authenticated"}},
		"static token":            {bearer("static"), "carl", []string{"a", "b", "system:authenticated"}},
		"unknown token":           {bearer("nonsense"), "", nil},
		"token over WebSocket":    {ws, "carl", []string{"a", "b", "system:authenticated"}},
		"other kind of authority": {func() *http.Request { r := httptest.NewRequest("GET", "/", nil); r.SetBasicAuth("a", "b"); return r }(), "system:anonymous", []string{"system:unauthenticated"}},
	} {
		t.Run(name, func(t *testing.T) {
			resp, ok, err := w.AuthenticateRequest(c.r)
			if c.user == "" {
				require.Error(t, err)
				require.False(t, ok)
				return
			}
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, c.user, resp.User.GetName())
			require.Equal(t, c.groups, resp.User.GetGroups())
			require.NotContains(t, c.r.Header.Get("Authorization"), "Bearer")
		})
	}
	require.Equal(t, "v5.channel.k8s.io", ws.Header.Get("Sec-WebSocket-Protocol"))
	resp, _, err := w.AuthenticateRequest(proxied(w.front, "front-proxy-client"))
	require.NoError(t, err)
	require.Equal(t, map[string][]string{"some/key": {"v"}}, resp.User.GetExtra())
}

// token asks for one the way a kubelet does.
func (w *world) token(t *testing.T, spec authnv1.TokenRequestSpec) *authnv1.TokenRequest {
	t.Helper()
	o, err := w.Issuer.Create(t.Context(), &request.Request{Info: request.Info{Namespace: "ns", Name: "sa"}}, &authnv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
	require.NoError(t, err)
	return o.(*authnv1.TokenRequest)
}

func podRef() *authnv1.BoundObjectReference {
	return &authnv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "pod", UID: "pod-uid"}
}

func TestBoundToken(t *testing.T) {
	w := newWorld(t)
	tr := w.token(t, authnv1.TokenRequestSpec{BoundObjectRef: podRef(), ExpirationSeconds: ptr.To[int64](7200)})
	require.Equal(t, w.now.Add(2*time.Hour), tr.Status.ExpirationTimestamp.Time)
	resp, ok, err := w.AuthenticateToken(t.Context(), tr.Status.Token)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "system:serviceaccount:ns:sa", resp.User.GetName())
	require.Equal(t, "sa-uid", resp.User.GetUID())
	require.Equal(t, []string{"system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"}, resp.User.GetGroups())
	x := resp.User.GetExtra()
	require.Equal(t, []string{"pod"}, x["authentication.kubernetes.io/pod-name"])
	require.Equal(t, []string{"pod-uid"}, x["authentication.kubernetes.io/pod-uid"])
	require.Equal(t, []string{"node"}, x["authentication.kubernetes.io/node-name"])
	require.Equal(t, []string{"node-uid"}, x["authentication.kubernetes.io/node-uid"])
	require.Len(t, x["authentication.kubernetes.io/credential-id"], 1)
	require.True(t, strings.HasPrefix(x["authentication.kubernetes.io/credential-id"][0], "JTI="))
	w.now = w.now.Add(2 * time.Hour)
	_, ok, err = w.AuthenticateToken(t.Context(), tr.Status.Token)
	require.False(t, ok)
	require.ErrorContains(t, err, "service account token has expired")
}

func TestTokenDiesWithWhatItIsBoundTo(t *testing.T) {
	later := func(o metav1.ObjectMeta, w *world) metav1.ObjectMeta {
		o.DeletionTimestamp = &metav1.Time{Time: w.now.Add(-2 * deletionLeeway)}
		return o
	}
	for name, kill := range map[string]func(w *world){
		"account gone": func(w *world) { w.api.Drop(client.ServiceAccounts.GVR, "ns", "sa") },
		"account replaced": func(w *world) {
			w.api.Put(client.ServiceAccounts.GVR, &corev1.ServiceAccount{ObjectMeta: om("ns", "sa", "new")})
		},
		"pod gone":     func(w *world) { w.api.Drop(client.Pods.GVR, "ns", "pod") },
		"pod replaced": func(w *world) { w.api.Put(client.Pods.GVR, &corev1.Pod{ObjectMeta: om("ns", "pod", "new")}) },
		"pod long deleted": func(w *world) {
			w.api.Put(client.Pods.GVR, &corev1.Pod{ObjectMeta: later(om("ns", "pod", "pod-uid"), w)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			token := w.token(t, authnv1.TokenRequestSpec{BoundObjectRef: podRef()}).Status.Token
			_, ok, err := w.AuthenticateToken(t.Context(), token)
			require.NoError(t, err)
			require.True(t, ok)
			kill(w)
			_, ok, err = w.AuthenticateToken(t.Context(), token)
			require.False(t, ok)
			require.ErrorContains(t, err, "invalidated")
		})
	}
}

func TestTokenRequestIsJudged(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		account string
		spec    authnv1.TokenRequestSpec
		says    string
	}{
		"too short":     {"sa", authnv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](599)}, "may not specify a duration less than 10 minutes"},
		"too long":      {"sa", authnv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](1<<32 + 1)}, "may not specify a duration larger than 2^32 seconds"},
		"no account":    {"nobody", authnv1.TokenRequestSpec{}, `serviceaccounts "nobody" not found`},
		"no pod":        {"sa", authnv1.TokenRequestSpec{BoundObjectRef: &authnv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "q"}}, `pods "q" not found`},
		"other pod":     {"sa", authnv1.TokenRequestSpec{BoundObjectRef: &authnv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "pod", UID: "x"}}, "does not match the UID in record"},
		"strange owner": {"sa", authnv1.TokenRequestSpec{BoundObjectRef: &authnv1.BoundObjectReference{APIVersion: "v1", Kind: "Service", Name: "s"}}, "cannot bind token"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.Issuer.Create(t.Context(), &request.Request{Info: request.Info{Namespace: "ns", Name: c.account}}, &authnv1.TokenRequest{Spec: c.spec}, metav1.CreateOptions{})
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestExtendedToken(t *testing.T) {
	w := newWorld(t)
	tr := w.token(t, authnv1.TokenRequestSpec{BoundObjectRef: podRef(), ExpirationSeconds: ptr.To[int64](boundPodTokenLife)})
	require.Equal(t, w.now.Add(boundPodTokenLife*time.Second), tr.Status.ExpirationTimestamp.Time, "the kubelet must renew it in time")
	_, ok, err := w.AuthenticateToken(t.Context(), tr.Status.Token)
	require.NoError(t, err)
	require.True(t, ok)
	w.now = w.now.Add(24 * time.Hour)
	req := &request.Request{}
	_, ok, err = w.AuthenticateToken(request.With(t.Context(), req), tr.Status.Token)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, 1.0, count(t, w.metrics.tokens.valid))
	require.Equal(t, 1.0, count(t, w.metrics.tokens.stale))
	require.Contains(t, req.Annotations(), "authentication.k8s.io/stale-token")
}

func TestTokenReview(t *testing.T) {
	w := newWorld(t)
	foreign := w.token(t, authnv1.TokenRequestSpec{Audiences: []string{"vault"}}).Status.Token
	own := w.token(t, authnv1.TokenRequestSpec{}).Status.Token
	review := func(s authnv1.TokenReviewSpec) authnv1.TokenReviewStatus {
		o, err := w.TokenReview(t.Context(), nil, &authnv1.TokenReview{Spec: s}, metav1.CreateOptions{})
		require.NoError(t, err)
		return o.(*authnv1.TokenReview).Status
	}
	s := review(authnv1.TokenReviewSpec{Token: own})
	require.True(t, s.Authenticated)
	require.Equal(t, []string{issuer}, s.Audiences)
	s = review(authnv1.TokenReviewSpec{Token: foreign})
	require.False(t, s.Authenticated)
	require.Contains(t, s.Error, "is invalid for the target audiences")
	s = review(authnv1.TokenReviewSpec{Token: foreign, Audiences: []string{"vault", "x"}})
	require.True(t, s.Authenticated)
	require.Equal(t, []string{"vault"}, s.Audiences)
	s = review(authnv1.TokenReviewSpec{Token: "static", Audiences: []string{"vault"}})
	require.False(t, s.Authenticated, "a static token is for the API server alone")
	s = review(authnv1.TokenReviewSpec{Token: "static"})
	require.True(t, s.Authenticated)
}

func TestBootstrapToken(t *testing.T) {
	w := newWorld(t)
	put := func(change func(map[string][]byte, *corev1.Secret)) {
		s := &corev1.Secret{ObjectMeta: om("kube-system", "bootstrap-token-abcdef", "u"), Type: "bootstrap.kubernetes.io/token", Data: map[string][]byte{
			"token-id": []byte("abcdef"), "token-secret": []byte("0123456789abcdef"), "usage-bootstrap-authentication": []byte("true"),
			"expiration": []byte(w.now.Add(time.Hour).Format(time.RFC3339)), "auth-extra-groups": []byte("system:bootstrappers:workers")}}
		change(s.Data, s)
		w.api.Put(client.Secrets.GVR, s)
	}
	for name, c := range map[string]struct {
		change func(map[string][]byte, *corev1.Secret)
		ok     bool
	}{
		"good":         {func(map[string][]byte, *corev1.Secret) {}, true},
		"for ever":     {func(d map[string][]byte, _ *corev1.Secret) { delete(d, "expiration") }, true},
		"expired":      {func(d map[string][]byte, _ *corev1.Secret) { d["expiration"] = []byte(w.now.Format(time.RFC3339)) }, false},
		"bad time":     {func(d map[string][]byte, _ *corev1.Secret) { d["expiration"] = []byte("soon") }, false},
		"other use":    {func(d map[string][]byte, _ *corev1.Secret) { delete(d, "usage-bootstrap-authentication") }, false},
		"other secret": {func(d map[string][]byte, _ *corev1.Secret) { d["token-secret"] = []byte("x123456789abcdef") }, false},
		"other type":   {func(_ map[string][]byte, s *corev1.Secret) { s.Type = "Opaque" }, false},
		"bad group":    {func(d map[string][]byte, _ *corev1.Secret) { d["auth-extra-groups"] = []byte("system:masters") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			put(c.change)
			resp, ok, err := w.AuthenticateToken(t.Context(), "abcdef.0123456789abcdef")
			require.Equal(t, c.ok, ok, err)
			if !ok {
				return
			}
			require.Equal(t, "system:bootstrap:abcdef", resp.User.GetName())
			require.Equal(t, []string{"system:bootstrappers", "system:bootstrappers:workers", "system:authenticated"}, resp.User.GetGroups())
		})
	}
}

func FuzzTokenFile(f *testing.F) {
	f.Add("a,b,c\n")
	f.Add("a,b,c,\"d,e\"\n")
	f.Add("\"")
	f.Fuzz(func(t *testing.T, in string) {
		s, err := parseTokens(strings.NewReader(in))
		if err != nil {
			return
		}
		for _, u := range s {
			if u.Name == "" {
				t.Fatalf("a token of nobody in %q", in)
			}
		}
	})
}

func FuzzProtocols(f *testing.F) {
	f.Add(wsBearerPrefix + "AAAA, v5")
	f.Fuzz(func(t *testing.T, in string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Upgrade", "websocket")
		r.Header["Sec-Websocket-Protocol"] = []string{in}
		token, clean, err := fromProtocols(r)
		if err == nil && token != "" {
			clean()
			if strings.Contains(r.Header.Get("Sec-Websocket-Protocol"), wsBearerPrefix) {
				t.Fatalf("the token stays in the request: %q", in)
			}
		}
	})
}
