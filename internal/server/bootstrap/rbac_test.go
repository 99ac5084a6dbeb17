package bootstrap

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestDefaultsGolden shows every right that a cluster starts with, one line each, so that a change is seen in review.
func TestDefaultsGolden(t *testing.T) {
	d, err := fromYAML()
	require.NoError(t, err)
	var lines []string
	rules := func(who string, rules []rbacv1.PolicyRule) {
		for _, r := range rules {
			lines = append(lines, fmt.Sprintf("%s may %s %s%s%s%s", who, strings.Join(r.Verbs, ","), strings.Join(r.Resources, ","),
				strings.Join(r.NonResourceURLs, ","), optional(" named ", r.ResourceNames), optional(" in ", quoted(r.APIGroups))))
		}
	}
	for _, r := range d.ClusterRoles {
		rules("clusterrole "+r.Name, r.Rules)
	}
	for _, r := range d.Roles {
		rules("role "+r.Namespace+"/"+r.Name, r.Rules)
	}
	for _, b := range d.ClusterRoleBindings {
		lines = append(lines, fmt.Sprintf("clusterrolebinding %s gives %s to %s", b.Name, b.RoleRef.Name, subjects(b.Subjects)))
	}
	for _, b := range d.RoleBindings {
		lines = append(lines, fmt.Sprintf("rolebinding %s/%s gives %s to %s", b.Namespace, b.Name, b.RoleRef.Name, subjects(b.Subjects)))
	}
	sort.Strings(lines)
	got := strings.Join(lines, "\n") + "\n"
	golden(t, "testdata/rbac.golden", []byte(got))
}

// golden compares with a file, or writes it when asked to.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	if !bytes.Equal(want, got) {
		require.Equal(t, string(want), string(got), "%s differs: run go test ./internal/server/bootstrap -update when the change is meant", file)
	}
}

func optional(prefix string, list []string) string {
	if len(list) == 0 {
		return ""
	}
	return prefix + strings.Join(list, ",")
}

func quoted(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = fmt.Sprintf("%q", s)
	}
	return out
}

func subjects(list []rbacv1.Subject) string {
	var out []string
	for _, s := range list {
		out = append(out, strings.TrimSuffix(s.Kind+" "+s.Namespace+"/"+s.Name, "/"))
	}
	return strings.Join(out, ", ")
}

// TestDefaultsAreConsistent checks that no name is given twice and that every binding has its role.
func TestDefaultsAreConsistent(t *testing.T) {
	d, err := fromYAML()
	require.NoError(t, err)
	seen := map[string]bool{}
	add := func(key string) {
		require.False(t, seen[key], "twice: %s", key)
		seen[key] = true
	}
	for _, r := range d.ClusterRoles {
		add("ClusterRole/" + r.Name)
		require.NotEmpty(t, r.Rules, r.Name)
		require.Equal(t, bootstrapValue, r.Labels[bootstrapLabel])
	}
	for _, r := range d.Roles {
		add("Role" + r.Namespace + "/" + r.Name)
	}
	for _, b := range d.ClusterRoleBindings {
		require.True(t, seen["ClusterRole/"+b.RoleRef.Name], b.Name)
		add("CRB/" + b.Name)
	}
	for _, b := range d.RoleBindings {
		require.True(t, seen["Role"+b.Namespace+"/"+b.RoleRef.Name], b.Name)
		add("RB" + b.Namespace + "/" + b.Name)
	}
}

func TestMerge(t *testing.T) {
	get := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}}
	list := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}
	all := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"*"}}
	for name, c := range map[string]struct {
		have, want []rbacv1.PolicyRule
		annotation string
		changed    bool
	}{
		"same":            {[]rbacv1.PolicyRule{get}, []rbacv1.PolicyRule{get}, "true", false},
		"lacks one":       {[]rbacv1.PolicyRule{get}, []rbacv1.PolicyRule{get, list}, "true", true},
		"has more":        {[]rbacv1.PolicyRule{all}, []rbacv1.PolicyRule{get, list}, "true", false},
		"lacks, kept off": {[]rbacv1.PolicyRule{get}, []rbacv1.PolicyRule{get, list}, "false", false},
		"no annotation":   {nil, []rbacv1.PolicyRule{get}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			have, want := &rbacv1.ClusterRole{Rules: c.have}, &rbacv1.ClusterRole{Rules: c.want}
			if c.annotation != "" {
				have.Annotations = map[string]string{rbacv1.AutoUpdateAnnotationKey: c.annotation}
			}
			require.Equal(t, c.changed, mergeClusterRole(have, want))
			if c.changed {
				require.False(t, mergeClusterRole(have, want), "a second time finds nothing to do")
			}
		})
	}
}

func BenchmarkDefaults(b *testing.B) {
	for b.Loop() {
		if _, err := Defaults(); err != nil {
			b.Fatal(err)
		}
	}
}
