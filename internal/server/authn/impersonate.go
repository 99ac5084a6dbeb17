package authn

import (
	"context"
	"net/http"
	"slices"
	"strings"

	authnv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"hyperkube/internal/server/authz"
	"hyperkube/internal/server/request"
)

// Impersonation acts on the Impersonate-* headers of a request: it asks the authorizer whether the caller may take each
// part of the identity, and then makes it that of the request
// (https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation).
func Impersonation(az authz.Decider) func(r *http.Request, req *request.Request) error {
	return func(r *http.Request, req *request.Request) error {
		want, err := impersonated(r.Header)
		if err != nil || want == nil {
			return err
		}
		if err := mayImpersonate(r.Context(), az, req.User, want); err != nil {
			return err
		}
		complete(want)
		req.Impersonator, req.User = req.User, want
		for key := range r.Header {
			if strings.HasPrefix(key, "Impersonate-") {
				delete(r.Header, key)
			}
		}
		return nil
	}
}

// impersonated reads the headers; nil when there are none.
func impersonated(h http.Header) (*user.DefaultInfo, error) {
	u := &user.DefaultInfo{
		Name:   h.Get(authnv1.ImpersonateUserHeader),
		Groups: slices.Clone(h.Values(authnv1.ImpersonateGroupHeader)),
		UID:    h.Get(authnv1.ImpersonateUIDHeader),
		Extra:  extras(h, []string{authnv1.ImpersonateUserExtraHeaderPrefix}),
	}
	if u.Name != "" {
		return u, nil
	}
	if len(u.Groups) > 0 || u.UID != "" || len(u.Extra) > 0 {
		return nil, apierrors.NewBadRequest("impersonating groups, a uid or extra fields requires impersonating a user")
	}
	return nil, nil
}

func mayImpersonate(ctx context.Context, az authz.Decider, who user.Info, want *user.DefaultInfo) error {
	for _, a := range impersonationChecks(want) {
		a.User, a.Verb, a.ResourceRequest = who, "impersonate", true
		decision, reason, err := az.Authorize(ctx, a)
		if decision != authorizer.DecisionAllow {
			if err != nil {
				return apierrors.NewInternalError(err)
			}
			return authz.Forbidden(a, reason)
		}
	}
	return nil
}

// impersonationChecks are the resources that stand for the parts of an identity.
func impersonationChecks(want *user.DefaultInfo) []authorizer.AttributesRecord {
	core := func(resource, namespace, name string) authorizer.AttributesRecord {
		return authorizer.AttributesRecord{APIVersion: corev1.SchemeGroupVersion.Version, Resource: resource, Namespace: namespace, Name: name}
	}
	authn := func(resource, sub, name string) authorizer.AttributesRecord {
		return authorizer.AttributesRecord{APIGroup: authnv1.GroupName, APIVersion: "v1", Resource: resource, Subresource: sub, Name: name}
	}
	var all []authorizer.AttributesRecord
	if ns, name, err := serviceaccount.SplitUsername(want.Name); err == nil {
		all = append(all, core("serviceaccounts", ns, name))
	} else {
		all = append(all, core("users", "", want.Name))
	}
	for _, g := range want.Groups {
		all = append(all, core("groups", "", g))
	}
	for key, values := range want.Extra {
		for _, v := range values {
			all = append(all, authn("userextras", key, v))
		}
	}
	if want.UID != "" {
		all = append(all, authn("uids", "", want.UID))
	}
	return all
}

// complete adds the groups that the identity would have, had it authenticated itself.
func complete(u *user.DefaultInfo) {
	if ns, _, err := serviceaccount.SplitUsername(u.Name); err == nil && len(u.Groups) == 0 {
		u.Groups = serviceaccount.MakeGroupNames(ns)
	}
	add := user.AllAuthenticated
	if u.Name == user.Anonymous {
		add = user.AllUnauthenticated
	} else if slices.Contains(u.Groups, user.AllUnauthenticated) {
		return
	}
	if !slices.Contains(u.Groups, add) {
		u.Groups = append(u.Groups, add)
	}
}
