package authn

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	authnv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/object"
	"hyperkube/internal/server/request"
	"hyperkube/internal/tokens"
)

// errNoSuchToken is told of a token that nothing here knows.
var errNoSuchToken = errors.New("invalid bearer token")

// TokenReview answers the review of a token: authentication.k8s.io tokenreviews, create.
func (a *Authenticator) TokenReview(ctx context.Context, _ *request.Request, body object.Object, _ metav1.CreateOptions) (object.Object, error) {
	in, ok := body.(*authnv1.TokenReview)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a TokenReview: %T", body))
	}
	if in.Spec.Token == "" {
		return nil, apierrors.NewBadRequest("token is required for TokenReview in authentication")
	}
	out := in.DeepCopy()
	out.Status = authnv1.TokenReviewStatus{}
	want := authenticator.Audiences(in.Spec.Audiences)
	if len(want) == 0 {
		want = a.audiences
	}
	if len(want) > 0 {
		ctx = authenticator.WithAudiences(ctx, want)
	}
	resp, known, err := a.AuthenticateToken(ctx, in.Spec.Token)
	if err == nil && !known {
		err = errNoSuchToken
	}
	if err != nil {
		out.Status.Error = err.Error()
	}
	if !known {
		return out, nil
	}
	out.Status.Authenticated = true
	out.Status.User = userInfo(resp.User)
	out.Status.Audiences = resp.Audiences
	return out, nil
}

// SelfSubjectReview tells the caller who he is: authentication.k8s.io selfsubjectreviews, create.
func SelfSubjectReview(_ context.Context, req *request.Request, body object.Object, _ metav1.CreateOptions) (object.Object, error) {
	in, ok := body.(*authnv1.SelfSubjectReview)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a SelfSubjectReview: %T", body))
	}
	if req.User == nil {
		return nil, apierrors.NewBadRequest("no user present on request")
	}
	out := in.DeepCopy()
	out.CreationTimestamp = metav1.Now()
	out.Status.UserInfo = userInfo(req.User)
	return out, nil
}

func userInfo(u user.Info) authnv1.UserInfo {
	info := authnv1.UserInfo{Username: u.GetName(), UID: u.GetUID(), Groups: u.GetGroups()}
	if extra := u.GetExtra(); len(extra) > 0 {
		info.Extra = make(map[string]authnv1.ExtraValue, len(extra))
		for k, v := range extra {
			info.Extra[k] = v
		}
	}
	return info
}

// keyDocuments are what others need to verify the tokens of service accounts themselves (OpenID Connect Discovery 1.0).
type keyDocuments struct{ provider, keys func() ([]byte, error) }

func newKeyDocuments(s *ServiceAccounts) (*keyDocuments, error) {
	uri := s.JWKSURI
	if uri == "" {
		uri = s.Issuers[0] + "/openid/v1/jwks"
	}
	if s.External != nil {
		return &keyDocuments{
			func() ([]byte, error) { return tokens.ProviderConfig(s.Issuers[0], uri, s.External.Keys()) },
			func() ([]byte, error) { return tokens.KeySet(s.External.Keys()) },
		}, nil
	}
	named, err := tokens.Named(s.Keys)
	if err != nil {
		return nil, err
	}
	provider, err := tokens.ProviderConfig(s.Issuers[0], uri, named)
	if err != nil {
		return nil, err
	}
	keys, err := tokens.KeySet(named)
	if err != nil {
		return nil, err
	}
	same := func(data []byte) func() ([]byte, error) { return func() ([]byte, error) { return data, nil } }
	return &keyDocuments{same(provider), same(keys)}, nil
}

// Handlers serve the discovery documents by path. Nil without service account tokens.
func (a *Authenticator) Handlers() map[string]http.Handler {
	if a.keys == nil {
		return nil
	}
	return map[string]http.Handler{
		"/.well-known/openid-configuration": document("application/json", a.keys.provider),
		"/openid/v1/jwks":                   document("application/jwk-set+json", a.keys.keys),
	}
}

func document(contentType string, make func() ([]byte, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		data, err := make()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "public, max-age=3600")
		_, _ = w.Write(data) // the client is gone when this fails, and nobody is left to tell
	})
}
