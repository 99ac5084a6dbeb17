package authz

import (
	"testing"

	"github.com/stretchr/testify/require"
	authzv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/object"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/request"
)

func TestEscalation(t *testing.T) {
	e := NewEscalation(start(t, rbacAPI(), ModeRBAC))
	ann, owner, root := &user.DefaultInfo{Name: "ann"}, &user.DefaultInfo{Name: "system:serviceaccount:other:sa"}, &user.DefaultInfo{Name: "r", Groups: []string{"system:masters"}}
	role := func(r ...rbacv1.PolicyRule) *rbacv1.Role { return &rbacv1.Role{ObjectMeta: meta("ns", "r"), Rules: r} }
	bind := func(kind, name string) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{ObjectMeta: meta("ns", "b"), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}, Subjects: []rbacv1.Subject{{Kind: "User", Name: "x"}}}
	}
	for name, c := range map[string]struct {
		who      user.Info
		resource string
		obj, old object.Object
		says     string
	}{
		"what he has":        {ann, "roles", role(rule("", "pods", "get")), nil, ""},
		"more than he has":   {ann, "roles", role(rule("", "pods", "get"), rule("", "secrets", "get")), nil, `is attempting to grant RBAC permissions not currently held:` + "\n" + `{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}`},
		"no change of rules": {ann, "roles", role(rule("", "secrets", "get")), role(rule("", "secrets", "get")), ""},
		"everything here":    {owner, "roles", role(rule("*", "*", "*")), nil, ""},
		"masters":            {root, "roles", role(rule("*", "*", "*")), nil, ""},
		"binds what he has":  {ann, "rolebindings", bind("ClusterRole", "reader"), nil, "cannot"},
		"binds more":         {ann, "rolebindings", bind("ClusterRole", "all"), nil, "not currently held"},
		"binds nothing":      {ann, "rolebindings", bind("Role", "none"), nil, "not found"},
		"owner binds":        {owner, "rolebindings", bind("ClusterRole", "all"), nil, ""},
		"aggregation": {ann, "clusterroles", &rbacv1.ClusterRole{ObjectMeta: meta("", "a"), AggregationRule: &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{}}}}, nil,
			"must have cluster-admin privileges"},
	} {
		t.Run(name, func(t *testing.T) {
			op := admission.Create
			if c.old != nil {
				op = admission.Update
			}
			ns := c.obj.GetNamespace()
			err := e.Validate(t.Context(), &admission.Attributes{Operation: op, GVR: rbacv1.SchemeGroupVersion.WithResource(c.resource), Namespace: ns,
				Name: c.obj.GetName(), Object: c.obj, OldObject: c.old, User: c.who})
			switch {
			case c.says == "cannot": // reader holds paths too, which a binding in a namespace cannot give
				require.NoError(t, err)
			case c.says == "":
				require.NoError(t, err)
			default:
				require.ErrorContains(t, err, c.says)
			}
		})
	}
}

func TestReviews(t *testing.T) {
	r := NewReviews(start(t, rbacAPI(), ModeNode, ModeRBAC))
	list := &authzv1.ResourceAttributes{Namespace: "ns", Verb: "list", Resource: "pods"}
	sar := func(s authzv1.SubjectAccessReviewSpec) (*authzv1.SubjectAccessReview, error) {
		o, err := r.SubjectAccessReview(t.Context(), &request.Request{}, &authzv1.SubjectAccessReview{Spec: s}, metav1.CreateOptions{})
		if err != nil {
			return nil, err
		}
		return o.(*authzv1.SubjectAccessReview), nil
	}
	got, err := sar(authzv1.SubjectAccessReviewSpec{User: "ann", ResourceAttributes: list})
	require.NoError(t, err)
	require.True(t, got.Status.Allowed)
	got, err = sar(authzv1.SubjectAccessReviewSpec{User: "eve", ResourceAttributes: list})
	require.NoError(t, err)
	require.False(t, got.Status.Allowed)
	got, err = sar(authzv1.SubjectAccessReviewSpec{Groups: []string{"devs"}, NonResourceAttributes: &authzv1.NonResourceAttributes{Path: "/metrics", Verb: "get"}})
	require.NoError(t, err)
	require.True(t, got.Status.Allowed)
	for _, bad := range []authzv1.SubjectAccessReviewSpec{{User: "ann"}, {ResourceAttributes: list}, {User: "a", ResourceAttributes: list, NonResourceAttributes: &authzv1.NonResourceAttributes{}}} {
		_, err := sar(bad)
		require.Error(t, err)
	}
	_, err = r.LocalSubjectAccessReview(t.Context(), &request.Request{Info: request.Info{Namespace: "other"}},
		&authzv1.LocalSubjectAccessReview{Spec: authzv1.SubjectAccessReviewSpec{User: "ann", ResourceAttributes: list}}, metav1.CreateOptions{})
	require.ErrorContains(t, err, "must match metadata.namespace")
	o, err := r.SelfSubjectRulesReview(t.Context(), &request.Request{User: &user.DefaultInfo{Name: "bob"}},
		&authzv1.SelfSubjectRulesReview{Spec: authzv1.SelfSubjectRulesReviewSpec{Namespace: "ns"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Equal(t, []authzv1.ResourceRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"one"}}},
		o.(*authzv1.SelfSubjectRulesReview).Status.ResourceRules)
}
