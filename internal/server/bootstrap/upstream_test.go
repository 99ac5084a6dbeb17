package bootstrap

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/component-helpers/auth/rbac/validation"
)

// upstream is what an API server of upstream's starts a cluster with (v1.37.2), read from a live one; aggregated roles left out.
type upstream struct {
	ClusterRoles        map[string][]rbacv1.PolicyRule
	ClusterRoleBindings map[string]binding
	Roles               map[string][]rbacv1.PolicyRule
	RoleBindings        map[string]binding
}

type binding struct {
	RoleRef  rbacv1.RoleRef
	Subjects []rbacv1.Subject
}

// TestDefaultsCoverUpstream has all that upstream grants granted here to the same roles and subjects. What is granted beyond that, to roles that
// both have, is in a file, so that a change is seen in review.
func TestDefaultsCoverUpstream(t *testing.T) {
	data, err := os.ReadFile("testdata/upstream.json")
	require.NoError(t, err)
	var up upstream
	require.NoError(t, json.Unmarshal(data, &up))
	require.Greater(t, len(up.ClusterRoles), 50)
	ours, err := fromYAML()
	require.NoError(t, err)
	have := upstream{map[string][]rbacv1.PolicyRule{}, map[string]binding{}, map[string][]rbacv1.PolicyRule{}, map[string]binding{}}
	for _, r := range ours.ClusterRoles {
		have.ClusterRoles[r.Name] = r.Rules
	}
	for _, r := range ours.Roles {
		have.Roles[r.Namespace+"/"+r.Name] = r.Rules
	}
	for _, b := range ours.ClusterRoleBindings {
		have.ClusterRoleBindings[b.Name] = binding{b.RoleRef, b.Subjects}
	}
	for _, b := range ours.RoleBindings {
		have.RoleBindings[b.Namespace+"/"+b.Name] = binding{b.RoleRef, b.Subjects}
	}
	beyond := append(compareRules(t, have.ClusterRoles, up.ClusterRoles), compareRules(t, have.Roles, up.Roles)...)
	compareBindings(t, have.ClusterRoleBindings, up.ClusterRoleBindings)
	compareBindings(t, have.RoleBindings, up.RoleBindings)
	sort.Strings(beyond)
	golden(t, "testdata/beyond-upstream.golden", []byte(strings.Join(beyond, "\n")+"\n"))
}

func compareRules(t *testing.T, ours, theirs map[string][]rbacv1.PolicyRule) (beyond []string) {
	for name, rules := range theirs {
		have, ok := ours[name]
		if !ok {
			t.Errorf("no role %s", name)
			continue
		}
		if ok, missing := validation.Covers(have, rules); !ok {
			t.Errorf("%s lacks %v", name, missing)
		}
		_, more := validation.Covers(rules, have)
		for _, r := range more {
			beyond = append(beyond, fmt.Sprintf("%s may %s %s%s%s%s", name, strings.Join(r.Verbs, ","), strings.Join(r.Resources, ","),
				strings.Join(r.NonResourceURLs, ","), optional(" named ", r.ResourceNames), optional(" in ", quoted(r.APIGroups))))
		}
	}
	return beyond
}

func compareBindings(t *testing.T, ours, theirs map[string]binding) {
	for name, want := range theirs {
		if have, ok := ours[name]; !ok {
			t.Errorf("no binding %s", name)
		} else {
			require.Equal(t, want, have, name)
		}
	}
}
