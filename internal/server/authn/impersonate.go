package authn

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

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
// (https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/).
//
// Constrained rights are asked for first (KEP-5284): whether the caller may do on behalf of others what the request is about, and whether he may
// be whom he wants to be for that. Whoever lacks them needs the old right, which allows everything that the other may do.
func (a *Authenticator) Impersonation(az authz.Decider) func(r *http.Request, req *request.Request) error {
	return func(r *http.Request, req *request.Request) error {
		start := time.Now()
		want, err := impersonated(r.Header)
		if err != nil || want == nil {
			return err
		}
		i := &impersonation{ctx: r.Context(), az: az, req: req, want: want, metrics: a.metrics.who}
		mode, err := i.allowed()
		a.metrics.who.attempt(start, mode, err)
		if err != nil {
			return err
		}
		if mode != legacy {
			req.ImpersonationConstraint = "impersonate:" + mode
		}
		i.complete(mode)
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
	}
	if extra := extras(h, []string{authnv1.ImpersonateUserExtraHeaderPrefix}); len(extra) > 0 {
		u.Extra = extra
	}
	if u.Name != "" {
		return u, nil
	}
	if len(u.Groups) > 0 || u.UID != "" || len(u.Extra) > 0 {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("requested %#v without impersonating a user name", u))
	}
	return nil, nil
}

// The modes: what kind of identity is wanted. legacy is the right of old.
const (
	userInfoMode       = "user-info"
	serviceAccountMode = "serviceaccount"
	arbitraryNodeMode  = "arbitrary-node"
	associatedNodeMode = "associated-node"
	legacy             = "legacy"
)

const nodePrefix = "system:node:"

// impersonation is one request to be somebody else.
type impersonation struct {
	ctx     context.Context
	az      authz.Decider
	req     *request.Request
	want    *user.DefaultInfo
	metrics *impersonationMetrics
}

// allowed gives the mode of the right that allows it. Where there is none, the error is that of the constrained right, which is the one to ask for.
func (i *impersonation) allowed() (string, error) {
	var first error
	for _, mode := range i.modes() {
		err := i.try(mode)
		if err == nil {
			return mode, nil
		}
		if first == nil {
			first = err
		}
	}
	err := i.ask(legacy, identity(i.want, legacy))
	if err == nil {
		return legacy, nil
	}
	if first == nil {
		first = err
	}
	return "", first
}

// modes are the constrained ones that fit. Node and service account have groups of their own, and take no other part of an identity; the masters
// are bound by nothing, so that no constraint could hold.
func (i *impersonation) modes() []string {
	plain := len(i.want.Groups) == 0 && i.want.UID == "" && len(i.want.Extra) == 0
	node, isNode := strings.CutPrefix(i.want.Name, nodePrefix)
	_, _, err := serviceaccount.SplitUsername(i.want.Name)
	switch {
	case isNode && !plain, err == nil && !plain, slices.Contains(i.want.Groups, user.SystemPrivilegedGroup):
		return nil
	case isNode && slices.Equal(i.req.User.GetExtra()[serviceaccount.NodeNameKey], []string{node}) && strings.HasPrefix(i.req.User.GetName(), serviceaccount.ServiceAccountUsernamePrefix):
		return []string{associatedNodeMode, arbitraryNodeMode}
	case isNode:
		return []string{arbitraryNodeMode}
	case err == nil:
		return []string{serviceAccountMode}
	}
	return []string{userInfoMode}
}

// try asks for both halves of a constrained right.
func (i *impersonation) try(mode string) error {
	action := onBehalf{request.Attributes{Request: i.req}, "impersonate-on:" + mode + ":" + i.req.Verb}
	if err := i.ask(mode, []authorizer.Attributes{action}); err != nil {
		return err
	}
	return i.ask(mode, identity(i.want, mode))
}

// onBehalf is the request with another verb.
type onBehalf struct {
	request.Attributes
	verb string
}

func (o onBehalf) GetVerb() string { return o.verb }

// ask asks the authorizer for each of the rights.
func (i *impersonation) ask(mode string, rights []authorizer.Attributes) error {
	for _, a := range rights {
		if r, ok := a.(authorizer.AttributesRecord); ok {
			r.User = i.req.User
			a = r
		}
		start := time.Now()
		decision, reason, err := i.az.Authorize(i.ctx, a)
		switch {
		case decision == authorizer.DecisionAllow:
			err = nil
		case err != nil:
			err = apierrors.NewInternalError(err)
		default:
			err = forbidden(a, reason)
		}
		i.metrics.question(start, mode, err)
		if err != nil {
			return err
		}
	}
	return nil
}

func forbidden(a authorizer.Attributes, reason string) error {
	err := authz.Forbidden(a, reason)
	if !a.IsResourceRequest() {
		err.ErrStatus.Message = "forbidden: " + authz.Message(a)
	}
	return err
}

// identity are the rights to the parts of an identity, each a resource by that name.
func identity(want *user.DefaultInfo, mode string) []authorizer.Attributes {
	var all []authorizer.Attributes
	verb := "impersonate:" + mode
	add := func(group, resource, sub, namespace, name string) {
		version := "v1"
		all = append(all, authorizer.AttributesRecord{Verb: verb, APIGroup: group, APIVersion: version, Resource: resource, Subresource: sub,
			Namespace: namespace, Name: name, ResourceRequest: true})
	}
	group := authnv1.GroupName
	if mode == legacy {
		verb, group = "impersonate", corev1.GroupName
	}
	ns, name, err := serviceaccount.SplitUsername(want.Name)
	switch {
	case mode == associatedNodeMode:
		add(group, "nodes", "", "", "*") // its own node, whichever that is
	case mode == arbitraryNodeMode:
		add(group, "nodes", "", "", strings.TrimPrefix(want.Name, nodePrefix))
	case err == nil && mode != userInfoMode:
		add(group, "serviceaccounts", "", ns, name)
	default:
		add(group, "users", "", "", want.Name)
	}
	for _, g := range want.Groups {
		add(group, "groups", "", "", g)
	}
	for key, values := range want.Extra {
		for _, v := range values {
			add(authnv1.GroupName, "userextras", key, "", v)
		}
	}
	if want.UID != "" {
		add(authnv1.GroupName, "uids", "", "", want.UID)
	}
	return all
}

// complete adds the groups that the identity would have, had it authenticated itself.
func (i *impersonation) complete(mode string) {
	u := i.want
	if ns, _, err := serviceaccount.SplitUsername(u.Name); err == nil && len(u.Groups) == 0 {
		u.Groups = serviceaccount.MakeGroupNames(ns)
	}
	if mode == associatedNodeMode || mode == arbitraryNodeMode {
		u.Groups = []string{user.NodesGroup}
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
