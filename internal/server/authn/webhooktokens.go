package authn

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
	authnv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/server/webhook"
)

// WebhookTokens asks a webhook whose a token is.
type WebhookTokens struct {
	// ConfigFile is a kubeconfig that names the webhook.
	ConfigFile string
	// Version of the TokenReviews: v1beta1 or v1, which have the same fields.
	Version string
	// TTL of answers.
	TTL time.Duration
}

type webhookTokens struct {
	remote  *webhook.Remote
	version string
	ttl     time.Duration
	now     func() time.Time
	cache   *cache[reviewed]
	calls   singleflight.Group
}

// reviewed is an answer of the webhook.
type reviewed struct {
	status authnv1.TokenReviewStatus
	until  time.Time
}

func newWebhookTokens(c *WebhookTokens, now func() time.Time) (*webhookTokens, error) {
	if c.Version != "v1" && c.Version != "v1beta1" {
		return nil, fmt.Errorf("--authentication-token-webhook-version: %q is not known; there are v1, v1beta1", c.Version)
	}
	if c.TTL < 0 {
		return nil, errors.New("--authentication-token-webhook-cache-ttl: must not be below 0")
	}
	r, err := webhook.FromKubeconfig(c.ConfigFile, webhook.Backoff{})
	if err != nil {
		return nil, fmt.Errorf("--authentication-token-webhook-config-file: %w", err)
	}
	return &webhookTokens{remote: r, version: c.Version, ttl: c.TTL, now: now, cache: newCache[reviewed](4096)}, nil
}

// AuthenticateToken implements authenticator.Token.
func (w *webhookTokens) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	want, _ := authenticator.AudiencesFrom(ctx)
	s, err := w.review(ctx, token, want)
	if err != nil {
		return nil, false, err
	}
	if !s.Authenticated {
		if s.Error != "" {
			return nil, false, errors.New(s.Error)
		}
		return nil, false, nil
	}
	resp := &authenticator.Response{Audiences: s.Audiences, User: userFrom(&s.User)}
	// A webhook that knows nothing of audiences vouches for those of the API server, which the caller adds.
	if len(want) > 0 && len(s.Audiences) > 0 {
		resp.Audiences = authenticator.Audiences(s.Audiences).Intersect(want)
		if len(resp.Audiences) == 0 {
			return nil, false, nil
		}
	}
	return resp, true, nil
}

func userFrom(u *authnv1.UserInfo) user.Info {
	out := &user.DefaultInfo{Name: u.Username, UID: u.UID, Groups: u.Groups}
	if len(u.Extra) > 0 {
		out.Extra = make(map[string][]string, len(u.Extra))
		for k, v := range u.Extra {
			out.Extra[k] = v
		}
	}
	return out
}

func (w *webhookTokens) review(ctx context.Context, token string, want authenticator.Audiences) (*authnv1.TokenReviewStatus, error) {
	sorted := slices.Sorted(slices.Values(want))
	key := sha256.Sum256([]byte(token + "\x00" + strings.Join(sorted, "\x00")))
	if r, ok := w.cache.get(key); ok && w.now().Before(r.until) {
		return &r.status, nil
	}
	got := w.calls.DoChan(string(key[:]), func() (any, error) {
		s, err := w.ask(context.WithoutCancel(ctx), token, want) // others wait for the same answer
		if err == nil && w.ttl > 0 {
			w.cache.add(key, reviewed{*s, w.now().Add(w.ttl)})
		}
		return s, err
	})
	select {
	case r := <-got:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*authnv1.TokenReviewStatus), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("the authentication webhook does not answer: %w", ctx.Err())
	}
}

func (w *webhookTokens) ask(ctx context.Context, token string, want authenticator.Audiences) (*authnv1.TokenReviewStatus, error) {
	gv := authnv1.GroupName + "/" + w.version
	body, err := json.Marshal(&authnv1.TokenReview{TypeMeta: metav1.TypeMeta{APIVersion: gv, Kind: "TokenReview"}, Spec: authnv1.TokenReviewSpec{Token: token, Audiences: want}})
	if err != nil {
		return nil, err
	}
	data, err := w.remote.Post(ctx, body)
	if err != nil {
		return nil, fmt.Errorf("the authentication webhook could not be asked: %w", err)
	}
	var out authnv1.TokenReview
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("the authentication webhook's answer cannot be read: %w", err)
	}
	if out.APIVersion != gv || out.Kind != "TokenReview" {
		return nil, fmt.Errorf("the authentication webhook answered with %s, %s, not %s, TokenReview", out.APIVersion, out.Kind, gv)
	}
	return &out.Status, nil
}
