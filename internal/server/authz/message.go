package authz

import (
	"errors"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Forbidden is the refusal of a request, in upstream's words:
//
//	pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "y": <reason>
func Forbidden(a authorizer.Attributes, reason string) *apierrors.StatusError {
	text := Message(a)
	if reason != "" {
		text += ": " + reason
	}
	return apierrors.NewForbidden(schema.GroupResource{Group: a.GetAPIGroup(), Resource: a.GetResource()}, a.GetName(), errors.New(text))
}

// Message says what the user cannot do.
func Message(a authorizer.Attributes) string {
	name := ""
	if u := a.GetUser(); u != nil {
		name = u.GetName()
	}
	var b strings.Builder
	b.WriteString("User " + strconv.Quote(name) + " cannot " + a.GetVerb())
	if !a.IsResourceRequest() {
		b.WriteString(" path " + strconv.Quote(a.GetPath()))
		return b.String()
	}
	resource := a.GetResource()
	if sub := a.GetSubresource(); sub != "" {
		resource += "/" + sub
	}
	b.WriteString(" resource " + strconv.Quote(resource) + " in API group " + strconv.Quote(a.GetAPIGroup()))
	if ns := a.GetNamespace(); ns != "" {
		b.WriteString(" in the namespace " + strconv.Quote(ns))
	} else {
		b.WriteString(" at the cluster scope")
	}
	return b.String()
}
