package server

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/client"
)

// Auth says who may use the kubelet's API.
type Auth struct {
	NodeName                    string
	Client                      client.Interface               // for reviews
	ClientCAs                   func() (*x509.CertPool, error) // nil accepts no certificates
	Tokens                      bool                           // accept bearer tokens, by TokenReview
	Anonymous                   bool                           // requests without either are system:anonymous
	AllowAll                    bool                           // no authorization
	TokenTTL, AllowTTL, DenyTTL time.Duration                  // 2 min, 5 min, 30 s
	Now                         func() time.Time

	once  sync.Once
	users *ttlCache[*user.DefaultInfo]
	right *ttlCache[decision]
}

type decision struct {
	allowed bool
	reason  string
}

var errNobody = errors.New("Unauthorized")

func (a *Auth) init() {
	a.once.Do(func() {
		if a.Now == nil {
			a.Now = time.Now
		}
		for _, d := range []struct {
			to  *time.Duration
			def time.Duration
		}{{&a.TokenTTL, 2 * time.Minute}, {&a.AllowTTL, 5 * time.Minute}, {&a.DenyTTL, 30 * time.Second}} {
			if *d.to == 0 {
				*d.to = d.def
			}
		}
		a.users, a.right = newCache[*user.DefaultInfo](), newCache[decision]()
	})
}

// guard wraps a handler with authentication and authorization.
func (s *server) guard(h http.Handler) http.Handler {
	a := s.Auth
	if a == nil {
		return h
	}
	a.init()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, err := a.authenticate(r)
		if err != nil {
			if !errors.Is(err, errNobody) {
				s.log.Info("request not authenticated", "error", err)
			}
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		ok, reason, err := a.authorize(r.Context(), u, r)
		if err != nil {
			s.log.Warn("request not authorized", "user", u.Name, "error", err)
			http.Error(w, fmt.Sprintf("Authorization error (user=%s, verb=%s)", u.Name, verb(r.Method)), http.StatusInternalServerError)
			return
		}
		if !ok {
			http.Error(w, fmt.Sprintf("Forbidden (user=%s, verb=%s, resource=nodes, subresource(s)=%v, reason=%s)", u.Name, verb(r.Method), subresources(r.URL.Path), reason), http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func (a *Auth) authenticate(r *http.Request) (*user.DefaultInfo, error) {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && a.ClientCAs != nil {
		return a.certificate(r.TLS.PeerCertificates)
	}
	if t, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && a.Tokens {
		return a.token(r.Context(), strings.TrimSpace(t))
	}
	if a.Anonymous && r.Header.Get("Authorization") == "" {
		return &user.DefaultInfo{Name: user.Anonymous, Groups: []string{user.AllUnauthenticated}}, nil
	}
	return nil, errNobody
}

func (a *Auth) certificate(chain []*x509.Certificate) (*user.DefaultInfo, error) {
	roots, err := a.ClientCAs()
	if err != nil {
		return nil, err
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: a.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(opts); err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	if chain[0].Subject.CommonName == "" {
		return nil, errors.New("client certificate without a common name")
	}
	return &user.DefaultInfo{Name: chain[0].Subject.CommonName, Groups: append(chain[0].Subject.Organization, user.AllAuthenticated)}, nil
}

func (a *Auth) token(ctx context.Context, token string) (*user.DefaultInfo, error) {
	key := fmt.Sprintf("%x", sha256.Sum256([]byte(token)))
	if u, ok := a.users.get(key, a.Now()); ok {
		return u, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	obj, err := a.Client.Create(ctx, authenticationv1.SchemeGroupVersion.WithResource("tokenreviews"),
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	got, ok := obj.(*authenticationv1.TokenReview)
	if !ok {
		return nil, fmt.Errorf("the server answered a token review with a %T", obj)
	}
	if !got.Status.Authenticated {
		return nil, errNobody
	}
	u := &user.DefaultInfo{Name: got.Status.User.Username, UID: got.Status.User.UID, Groups: got.Status.User.Groups, Extra: map[string][]string{}}
	for k, v := range got.Status.User.Extra {
		u.Extra[k] = v
	}
	a.users.put(key, u, a.Now().Add(a.TokenTTL), a.Now())
	return u, nil
}

func verb(method string) string {
	switch method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	}
	return "get"
}

// subresources of nodes that permit a path, any of them: the finest first (KEP-2862), and proxy, which permits all.
func subresources(path string) []string {
	under := func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") }
	switch {
	case under("/stats"):
		return []string{"stats"}
	case under("/metrics"):
		return []string{"metrics"}
	case under("/logs"):
		return []string{"log"}
	case under("/checkpoint"):
		return []string{"checkpoint"}
	case under("/pods"), under("/runningpods"):
		return []string{"pods", "proxy"}
	case under("/healthz"):
		return []string{"healthz", "proxy"}
	case under("/configz"):
		return []string{"configz", "proxy"}
	}
	return []string{"proxy"}
}

func (a *Auth) authorize(ctx context.Context, u *user.DefaultInfo, r *http.Request) (bool, string, error) {
	if a.AllowAll {
		return true, "", nil
	}
	if a.Client == nil {
		return false, "this node has no API server to ask", nil
	}
	var reason string
	for _, sub := range subresources(r.URL.Path) {
		d, err := a.review(ctx, u, verb(r.Method), sub)
		if err != nil {
			return false, "", err
		}
		if d.allowed {
			return true, "", nil
		}
		reason = d.reason
	}
	return false, reason, nil
}

func (a *Auth) review(ctx context.Context, u *user.DefaultInfo, verb, sub string) (decision, error) {
	key := fmt.Sprintf("%q %q %q %q %q %q", u.Name, u.UID, u.Groups, u.Extra, verb, sub)
	if d, ok := a.right.get(key, a.Now()); ok {
		return d, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	sar := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: u.Name, UID: u.UID, Groups: u.Groups, Extra: map[string]authorizationv1.ExtraValue{},
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Version: "v1", Resource: "nodes", Subresource: sub, Name: a.NodeName},
	}}
	for k, v := range u.Extra {
		sar.Spec.Extra[k] = v
	}
	obj, err := a.Client.Create(ctx, authorizationv1.SchemeGroupVersion.WithResource("subjectaccessreviews"), sar, metav1.CreateOptions{})
	if err != nil {
		return decision{}, err
	}
	got, ok := obj.(*authorizationv1.SubjectAccessReview)
	if !ok {
		return decision{}, fmt.Errorf("the server answered an access review with a %T", obj)
	}
	d := decision{got.Status.Allowed && !got.Status.Denied, got.Status.Reason}
	ttl := a.DenyTTL
	if d.allowed {
		ttl = a.AllowTTL
	}
	a.right.put(key, d, a.Now().Add(ttl), a.Now())
	return d, nil
}

// ttlCache keeps answers for a time, and not too many.
type ttlCache[V any] struct {
	mu sync.Mutex
	m  map[string]cached[V]
}

type cached[V any] struct {
	v     V
	until time.Time
}

const maxCached = 4096

func newCache[V any]() *ttlCache[V] { return &ttlCache[V]{m: map[string]cached[V]{}} }

func (c *ttlCache[V]) get(key string, now time.Time) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.m[key]
	return e.v, ok && now.Before(e.until)
}

func (c *ttlCache[V]) put(key string, v V, until, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.m) >= maxCached {
		for k, e := range c.m {
			if len(c.m) >= maxCached/2 || !now.Before(e.until) {
				delete(c.m, k)
			}
		}
	}
	c.m[key] = cached[V]{v, until}
}
