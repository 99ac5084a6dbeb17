package secureport

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/client"
)

// guard lets requests through as the API server decides: who asks is told by a client certificate or by a token that the
// API server reviews, and whether that may be is a SubjectAccessReview. Answers are kept for ten seconds.
type guard struct {
	authn       client.Interface // reviews tokens
	authz       client.Interface // reviews rights
	open        []string         // paths that need no right, with all below them
	authorities func(context.Context) *x509.CertPool
	log         *slog.Logger

	mu    sync.Mutex
	users map[[32]byte]kept[*user.DefaultInfo]
	may   map[string]kept[bool]
}

type kept[T any] struct {
	value T
	until time.Time
}

const keepFor = 10 * time.Second

var errUnknown = errors.New("not authenticated")

func (g *guard) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.isOpen(r.URL.Path) {
			h.ServeHTTP(w, r)
			return
		}
		u, err := g.who(r)
		if err != nil {
			g.log.Debug("request refused", "path", r.URL.Path, "error", err)
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		ok, err := g.allowed(r, u)
		switch {
		case err != nil:
			g.log.Warn("asking for rights failed", "error", err)
			http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		case !ok:
			http.Error(w, fmt.Sprintf("forbidden: User %q cannot %s path %q", u.Name, verb(r), r.URL.Path), http.StatusForbidden)
		default:
			h.ServeHTTP(w, r)
		}
	})
}

func (g *guard) isOpen(path string) bool {
	return slices.ContainsFunc(g.open, func(p string) bool {
		p = strings.TrimSuffix(p, "/*")
		return path == p || strings.HasPrefix(path, p+"/")
	})
}

func verb(r *http.Request) string { return strings.ToLower(r.Method) }

func (g *guard) who(r *http.Request) (*user.DefaultInfo, error) {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return g.certificate(r.Context(), r.TLS.PeerCertificates)
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return g.token(r.Context(), strings.TrimSpace(token))
	}
	return nil, errUnknown
}

func (g *guard) certificate(ctx context.Context, chain []*x509.Certificate) (*user.DefaultInfo, error) {
	roots := g.authorities(ctx)
	if roots == nil {
		return nil, fmt.Errorf("%w: no authority of client certificates is known", errUnknown)
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	return &user.DefaultInfo{
		Name:   chain[0].Subject.CommonName,
		Groups: append(slices.Clone(chain[0].Subject.Organization), user.AllAuthenticated),
	}, nil
}

func (g *guard) token(ctx context.Context, token string) (*user.DefaultInfo, error) {
	key := sha256.Sum256([]byte(token))
	g.mu.Lock()
	k, ok := g.users[key]
	g.mu.Unlock()
	if ok && time.Now().Before(k.until) {
		if k.value == nil {
			return nil, errUnknown
		}
		return k.value, nil
	}
	got, err := tokenReviews.Create(ctx, g.authn, &authnv1.TokenReview{Spec: authnv1.TokenReviewSpec{Token: token}})
	if err != nil {
		return nil, fmt.Errorf("token review: %w", err)
	}
	var u *user.DefaultInfo
	if got.Status.Authenticated {
		u = &user.DefaultInfo{Name: got.Status.User.Username, UID: got.Status.User.UID, Groups: got.Status.User.Groups, Extra: map[string][]string{}}
		for k, v := range got.Status.User.Extra {
			u.Extra[k] = v
		}
	}
	g.mu.Lock()
	g.users = keep(g.users, key, u)
	g.mu.Unlock()
	if u == nil {
		return nil, errUnknown
	}
	return u, nil
}

var (
	tokenReviews  = client.Resource[*authnv1.TokenReview]{GVR: authnv1.SchemeGroupVersion.WithResource("tokenreviews")}
	accessReviews = client.Resource[*authzv1.SubjectAccessReview]{GVR: authzv1.SchemeGroupVersion.WithResource("subjectaccessreviews")}
)

func (g *guard) allowed(r *http.Request, u *user.DefaultInfo) (bool, error) {
	if slices.Contains(u.Groups, user.SystemPrivilegedGroup) {
		return true, nil
	}
	key := strings.Join(append([]string{verb(r), r.URL.Path, u.Name, u.UID}, u.Groups...), "\x00")
	g.mu.Lock()
	k, ok := g.may[key]
	g.mu.Unlock()
	if ok && time.Now().Before(k.until) {
		return k.value, nil
	}
	extra := map[string]authzv1.ExtraValue{}
	for name, v := range u.Extra {
		extra[name] = v
	}
	got, err := accessReviews.Create(r.Context(), g.authz, &authzv1.SubjectAccessReview{Spec: authzv1.SubjectAccessReviewSpec{
		User: u.Name, UID: u.UID, Groups: u.Groups, Extra: extra,
		NonResourceAttributes: &authzv1.NonResourceAttributes{Path: r.URL.Path, Verb: verb(r)},
	}})
	if err != nil {
		return false, fmt.Errorf("subject access review: %w", err)
	}
	g.mu.Lock()
	g.may = keep(g.may, key, got.Status.Allowed)
	g.mu.Unlock()
	return got.Status.Allowed, nil
}

// keep puts a value into a bounded map; a full one is emptied.
func keep[K comparable, V any](m map[K]kept[V], k K, v V) map[K]kept[V] {
	if m == nil || len(m) >= 1000 {
		m = map[K]kept[V]{}
	}
	m[k] = kept[V]{v, time.Now().Add(keepFor)}
	return m
}

// published reads the authorities of client certificates from where the API server publishes them for its
// extensions, at most once in ten seconds.
func published(c client.Interface) func(context.Context) *x509.CertPool {
	var mu sync.Mutex
	var last kept[*x509.CertPool]
	return func(ctx context.Context) *x509.CertPool {
		mu.Lock()
		defer mu.Unlock()
		if time.Now().Before(last.until) {
			return last.value
		}
		cm, err := client.ConfigMaps.Get(ctx, c, metav1.NamespaceSystem, "extension-apiserver-authentication")
		if err != nil {
			return last.value
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(cm.Data["client-ca-file"])) {
			pool = nil
		}
		last = kept[*x509.CertPool]{pool, time.Now().Add(keepFor)}
		return pool
	}
}
