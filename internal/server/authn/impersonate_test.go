package authn

import (
	"context"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"hyperkube/internal/server/request"
)

func TestImpersonation(t *testing.T) {
	allowed := map[string]bool{"users/ann": true, "groups/devs": true, "serviceaccounts/sa": true, "uids/7": true, "userextras/scope/a": true}
	az := authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		key := a.GetResource()
		if a.GetSubresource() != "" {
			key += "/" + a.GetSubresource()
		}
		if a.GetVerb() == "impersonate" && allowed[key+"/"+a.GetName()] {
			return authorizer.DecisionAllow, "", nil
		}
		return authorizer.DecisionNoOpinion, "", nil
	})
	act := (&Authenticator{metrics: newMetrics()}).Impersonation(az)
	for name, c := range map[string]struct {
		headers [][2]string
		want    *user.DefaultInfo
		says    string
	}{
		"nobody":          {nil, &user.DefaultInfo{Name: "me"}, ""},
		"user":            {[][2]string{{"Impersonate-User", "ann"}}, &user.DefaultInfo{Name: "ann", Groups: []string{"system:authenticated"}}, ""},
		"all":             {[][2]string{{"Impersonate-User", "ann"}, {"Impersonate-Group", "devs"}, {"Impersonate-Uid", "7"}, {"Impersonate-Extra-Scope", "a"}}, &user.DefaultInfo{Name: "ann", UID: "7", Groups: []string{"devs", "system:authenticated"}, Extra: map[string][]string{"scope": {"a"}}}, ""},
		"service account": {[][2]string{{"Impersonate-User", "system:serviceaccount:ns:sa"}}, &user.DefaultInfo{Name: "system:serviceaccount:ns:sa", Groups: []string{"system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"}}, ""},
		"forbidden user":  {[][2]string{{"Impersonate-User", "root"}}, nil, `pods is forbidden: User "me" cannot impersonate-on:user-info:list resource "pods" in API group "" at the cluster scope`},
		"forbidden group": {[][2]string{{"Impersonate-User", "ann"}, {"Impersonate-Group", "system:masters"}}, nil, `groups "system:masters" is forbidden`},
		"group of nobody": {[][2]string{{"Impersonate-Group", "devs"}}, nil, `requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"devs"}, Extra:map[string][]string(nil)} without impersonating a user name`},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			for _, h := range c.headers {
				r.Header.Add(h[0], h[1])
			}
			req := &request.Request{User: &user.DefaultInfo{Name: "me"}, Info: request.Info{IsResourceRequest: true, Verb: "list", APIVersion: "v1", Resource: "pods"}}
			err := act(r, req)
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				require.Equal(t, "me", req.User.GetName())
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, req.User)
			require.Empty(t, r.Header)
		})
	}
}

// TestConstrainedImpersonation: rights to act on behalf of others, each for one verb on one kind (KEP-5284).
func TestConstrainedImpersonation(t *testing.T) {
	for name, c := range map[string]struct {
		as     string
		group  string
		rights []string // verb resource/name
		mode   string
		groups []string
		says   string
	}{
		"nothing":           {as: "ann", says: `pods is forbidden: User "me" cannot impersonate-on:user-info:list resource "pods" in API group "" at the cluster scope`},
		"only the action":   {as: "ann", rights: []string{"impersonate-on:user-info:list pods/"}, says: `users.authentication.k8s.io "ann" is forbidden: User "me" cannot impersonate:user-info resource "users" in API group "authentication.k8s.io" at the cluster scope`},
		"user":              {as: "ann", rights: []string{"impersonate-on:user-info:list pods/", "impersonate:user-info users/ann"}, mode: "user-info", groups: []string{"system:authenticated"}},
		"other action":      {as: "ann", rights: []string{"impersonate-on:user-info:get pods/", "impersonate:user-info users/ann"}, says: "cannot impersonate-on:user-info:list"},
		"without the group": {as: "ann", group: "devs", rights: []string{"impersonate-on:user-info:list pods/", "impersonate:user-info users/ann"}, says: `groups.authentication.k8s.io "devs" is forbidden`},
		"with the group":    {as: "ann", group: "devs", rights: []string{"impersonate-on:user-info:list pods/", "impersonate:user-info users/ann", "impersonate:user-info groups/devs"}, mode: "user-info", groups: []string{"devs", "system:authenticated"}},
		"old right":         {as: "ann", rights: []string{"impersonate users/ann"}, groups: []string{"system:authenticated"}},
		"service account":   {as: "system:serviceaccount:ns:sa", rights: []string{"impersonate-on:serviceaccount:list pods/", "impersonate:serviceaccount serviceaccounts/sa"}, mode: "serviceaccount", groups: []string{"system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"}},
		"account as user":   {as: "system:serviceaccount:ns:sa", rights: []string{"impersonate-on:user-info:list pods/", "impersonate:user-info users/system:serviceaccount:ns:sa"}, says: "cannot impersonate-on:serviceaccount:list"},
		"any node":          {as: "system:node:n2", rights: []string{"impersonate-on:arbitrary-node:list pods/", "impersonate:arbitrary-node nodes/n2"}, mode: "arbitrary-node", groups: []string{"system:nodes", "system:authenticated"}},
		"its node":          {as: "system:node:n1", rights: []string{"impersonate-on:associated-node:list pods/", "impersonate:associated-node nodes/*"}, mode: "associated-node", groups: []string{"system:nodes", "system:authenticated"}},
		"not its node":      {as: "system:node:n2", rights: []string{"impersonate-on:associated-node:list pods/", "impersonate:associated-node nodes/*"}, says: "cannot impersonate-on:arbitrary-node:list"},
		"node with a group": {as: "system:node:n1", group: "system:masters", rights: []string{"impersonate-on:associated-node:list pods/", "impersonate:associated-node nodes/*", "impersonate-on:user-info:list pods/", "impersonate:user-info users/system:node:n1", "impersonate:user-info groups/system:masters"}, says: `cannot impersonate resource "users"`},
	} {
		az := authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
			if slices.Contains(c.rights, a.GetVerb()+" "+a.GetResource()+"/"+a.GetName()) {
				return authorizer.DecisionAllow, "", nil
			}
			return authorizer.DecisionNoOpinion, "", nil
		})
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Impersonate-User", c.as)
		if c.group != "" {
			r.Header.Set("Impersonate-Group", c.group)
		}
		me := &user.DefaultInfo{Name: "me"}
		if strings.Contains(name, "node") {
			me = &user.DefaultInfo{Name: "system:serviceaccount:kube-system:agent", Extra: map[string][]string{"authentication.kubernetes.io/node-name": {"n1"}}}
		}
		req := &request.Request{User: me, Info: request.Info{IsResourceRequest: true, Verb: "list", APIVersion: "v1", Resource: "pods"}}
		err := (&Authenticator{metrics: newMetrics()}).Impersonation(az)(r, req)
		if c.says != "" {
			require.ErrorContains(t, err, c.says, name)
			require.Equal(t, me, req.User, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.groups, req.User.GetGroups(), name)
		want := ""
		if c.mode != "" {
			want = "impersonate:" + c.mode
		}
		require.Equal(t, want, req.ImpersonationConstraint, name)
	}
}
