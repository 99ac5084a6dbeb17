package access_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	authnv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	externaljwt "k8s.io/externaljwt/apis/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/server/authn"
	"hyperkube/internal/server/authn/external"
	"hyperkube/internal/server/servertest"
)

// vault keeps the keys of tokens.
type vault struct {
	externaljwt.UnimplementedExternalJWTSignerServer
	mu   sync.Mutex
	kid  string
	keys map[string]*ecdsa.PrivateKey
	life int64
	hide bool
}

func (v *vault) rotate(t *testing.T, kid string, forget bool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	v.mu.Lock()
	defer v.mu.Unlock()
	if forget || v.keys == nil {
		v.keys = map[string]*ecdsa.PrivateKey{}
	}
	v.kid, v.keys[kid] = kid, key
}

func (v *vault) Metadata(context.Context, *externaljwt.MetadataRequest) (*externaljwt.MetadataResponse, error) {
	return &externaljwt.MetadataResponse{MaxTokenExpirationSeconds: v.life}, nil
}

func (v *vault) FetchKeys(context.Context, *externaljwt.FetchKeysRequest) (*externaljwt.FetchKeysResponse, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	res := &externaljwt.FetchKeysResponse{RefreshHintSeconds: 1}
	for id, k := range v.keys {
		der, err := x509.MarshalPKIXPublicKey(k.Public())
		if err != nil {
			return nil, err
		}
		res.Keys = append(res.Keys, &externaljwt.Key{KeyId: id, Key: der, ExcludeFromOidcDiscovery: v.hide})
	}
	return res, nil
}

func (v *vault) Sign(_ context.Context, r *externaljwt.SignJWTRequest) (*externaljwt.SignJWTResponse, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	head, err := json.Marshal(map[string]string{"alg": "ES256", "kid": v.kid, "typ": "JWT"})
	if err != nil {
		return nil, err
	}
	header := base64.RawURLEncoding.EncodeToString(head)
	sum := sha256.Sum256([]byte(header + "." + r.Claims))
	a, b, err := ecdsa.Sign(rand.Reader, v.keys[v.kid], sum[:])
	if err != nil {
		return nil, err
	}
	sig := make([]byte, 64)
	for i, n := range []*big.Int{a, b} {
		n.FillBytes(sig[32*i : 32*i+32])
	}
	return &externaljwt.SignJWTResponse{Header: header, Signature: base64.RawURLEncoding.EncodeToString(sig)}, nil
}

// serve listens on a socket, which must have a short path.
func (v *vault) serve(t *testing.T) string {
	dir, err := os.MkdirTemp("", "sign")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	s := grpc.NewServer()
	externaljwt.RegisterExternalJWTSignerServer(s, v)
	go func() { _ = s.Serve(l) }() // until Stop
	t.Cleanup(s.Stop)
	return path
}

func TestExternalSigner(t *testing.T) {
	ctx := t.Context()
	v := &vault{life: 1800}
	v.rotate(t, "one", false)
	signer, err := external.New(ctx, v.serve(t), []string{issuer})
	require.NoError(t, err)
	api := serve(t, authn.Config{Anonymous: true, ServiceAccounts: &authn.ServiceAccounts{Issuers: []string{issuer}, External: signer}})
	_, err = client.ServiceAccounts.Create(ctx, api.Admin(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "sa", Namespace: "default"}})
	require.NoError(t, err)
	issue := func() string {
		t.Helper()
		hour := int64(3600)
		obj, err := api.Admin().Create(ctx, client.ServiceAccounts.GVR, &authnv1.TokenRequest{ObjectMeta: metav1.ObjectMeta{Name: "sa", Namespace: "default"},
			Spec: authnv1.TokenRequestSpec{ExpirationSeconds: &hour}}, metav1.CreateOptions{}, "token")
		require.NoError(t, err)
		r, ok := obj.(*authnv1.TokenRequest)
		require.True(t, ok)
		require.EqualValues(t, 1800, *r.Spec.ExpirationSeconds, "no longer than the signer allows")
		return r.Status.Token
	}
	first := issue()
	u, err := whoami(t, api, first)
	require.NoError(t, err)
	require.Equal(t, "system:serviceaccount:default:sa", u.Username)

	v.rotate(t, "two", false)
	second := issue() // the server learns of the key by that
	for _, token := range []string{first, second} {
		_, err = whoami(t, api, token)
		require.NoError(t, err)
	}
	require.Contains(t, published(t, api), `"kid":"two"`)

	v.rotate(t, "three", true) // and no other
	require.Eventually(t, func() bool { _, err := whoami(t, api, first); return err != nil }, 30*time.Second, 10*time.Millisecond, "a key that is gone is good for nothing")
	_, err = whoami(t, api, issue())
	require.NoError(t, err)

	v.mu.Lock()
	v.hide = true
	v.mu.Unlock()
	v.rotate(t, "four", true)
	_, err = api.Admin().Create(ctx, client.ServiceAccounts.GVR, &authnv1.TokenRequest{ObjectMeta: metav1.ObjectMeta{Name: "sa", Namespace: "default"}}, metav1.CreateOptions{}, "token")
	require.ErrorContains(t, err, "not among the published keys")
}

// published is the key set that the server shows.
func published(t *testing.T, api *servertest.API) string {
	t.Helper()
	k, err := kubernetes.NewForConfig(api.REST)
	require.NoError(t, err)
	data, err := k.RESTClient().Get().AbsPath("/openid/v1/jwks").DoRaw(t.Context())
	require.NoError(t, err)
	return string(data)
}

func TestBadExternalSigner(t *testing.T) {
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := external.New(short, "/no/such", nil)
	require.ErrorContains(t, err, "--service-account-signing-endpoint: /no/such")
	v := &vault{life: 5}
	v.rotate(t, "one", false)
	_, err = external.New(t.Context(), v.serve(t), nil)
	require.ErrorContains(t, err, "max_token_expiration_seconds")
	v = &vault{life: 1800}
	v.rotate(t, "one", false)
	signer, err := external.New(t.Context(), v.serve(t), []string{issuer})
	require.NoError(t, err)
	_, err = authn.New(authn.Config{ServiceAccounts: &authn.ServiceAccounts{Issuers: []string{issuer}, External: signer, MaxExpiration: time.Hour}})
	require.ErrorContains(t, err, "--service-account-max-token-expiration")
}
