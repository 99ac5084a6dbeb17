package controllermanager

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	authnv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
)

const userAgent = "kube-controller-manager"

func newUUID() string { return uuid.NewString() }

// identities makes one client for each identity.
type identities struct {
	as      func(user.Info) client.Interface
	rest    *rest.Config
	each    bool // over REST, a service account for each
	manager client.Interface
	// requests of all of them, over REST.
	requests client.RequestStats

	mu   sync.Mutex
	made map[string]client.Interface
}

func newIdentities(c *Config) (*identities, error) {
	i := &identities{as: c.As, rest: c.REST, each: c.UseServiceAccountCredentials, made: map[string]client.Interface{}}
	if i.as != nil {
		i.manager = i.as(&user.DefaultInfo{Name: user.KubeControllerManager, Groups: []string{user.AllAuthenticated}})
		return i, nil
	}
	cfg := rest.CopyConfig(i.rest)
	cfg.UserAgent = userAgent
	i.requests.Count(cfg)
	var err error
	if i.manager, err = client.NewREST(cfg); err != nil {
		return nil, fmt.Errorf("client of the API server: %w", err)
	}
	return i, nil
}

// client acts as the service account kube-system/name, or as the manager itself for "".
func (i *identities) client(name string) client.Interface {
	if name == "" {
		return i.manager
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if c := i.made[name]; c != nil {
		return c
	}
	c := i.make(name)
	i.made[name] = c
	return c
}

func (i *identities) make(name string) client.Interface {
	if i.as != nil {
		return i.as(&user.DefaultInfo{
			Name:   "system:serviceaccount:" + metav1.NamespaceSystem + ":" + name,
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + metav1.NamespaceSystem, user.AllAuthenticated},
		})
	}
	if !i.each {
		return i.manager
	}
	cfg := rest.AnonymousClientConfig(i.rest)
	cfg.UserAgent = userAgent + "/" + name
	tokens := &accountTokens{client: i.manager, name: name}
	cfg.Wrap(func(base http.RoundTripper) http.RoundTripper { return &accountTransport{base, tokens} })
	i.requests.Count(cfg)
	c, err := client.NewREST(cfg)
	if err != nil {
		// The same configuration made the manager's own client.
		return failing{i.manager, fmt.Errorf("client of %s: %w", name, err)}
	}
	return c
}

// failing refuses what it is asked to write.
type failing struct {
	client.Interface
	err error
}

func (f failing) Create(context.Context, client.GVR, client.Object, metav1.CreateOptions, ...string) (client.Object, error) {
	return nil, f.err
}

func (f failing) Update(context.Context, client.GVR, client.Object, metav1.UpdateOptions, ...string) (client.Object, error) {
	return nil, f.err
}

func (f failing) Delete(context.Context, client.GVR, string, string, metav1.DeleteOptions) error {
	return f.err
}

// accountTransport adds a service account's token to requests.
type accountTransport struct {
	base   http.RoundTripper
	tokens *accountTokens
}

func (t *accountTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := t.tokens.get(r.Context())
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := t.base.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		t.tokens.drop(token)
	}
	return resp, err
}

// accountTokens keeps a fresh token of a service account of kube-system, which it makes where it is missing. A token is
// asked for when four fifths of the last one's life are over; an old one is used on while that fails.
type accountTokens struct {
	client client.Interface
	name   string

	mu      sync.Mutex
	token   string
	renew   time.Time
	expires time.Time
}

const tokenLife = time.Hour

func (a *accountTokens) get(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if a.token != "" && now.Before(a.renew) {
		return a.token, nil
	}
	got, err := a.request(ctx)
	if err != nil {
		if a.token != "" && now.Before(a.expires) {
			return a.token, nil
		}
		return "", fmt.Errorf("token of service account %s/%s: %w", metav1.NamespaceSystem, a.name, err)
	}
	a.token, a.expires = got.Status.Token, got.Status.ExpirationTimestamp.Time
	a.renew = now.Add(a.expires.Sub(now) * 4 / 5)
	return a.token, nil
}

func (a *accountTokens) drop(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token == token {
		a.token = ""
	}
}

func (a *accountTokens) request(ctx context.Context) (*authnv1.TokenRequest, error) {
	ask := func() (client.Object, error) {
		return a.client.Create(ctx, client.ServiceAccounts.GVR, &authnv1.TokenRequest{
			ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: a.name},
			Spec:       authnv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(tokenLife / time.Second))},
		}, metav1.CreateOptions{}, "token")
	}
	got, err := ask()
	if apierrors.IsNotFound(err) {
		_, err = client.ServiceAccounts.Create(ctx, a.client, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: a.name}})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, err
		}
		got, err = ask()
	}
	if err != nil {
		return nil, err
	}
	t, ok := got.(*authnv1.TokenRequest)
	if !ok {
		return nil, fmt.Errorf("the server answered with a %T in place of a TokenRequest", got)
	}
	return t, nil
}
