package authz

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

func ruleFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestAttributes(t *testing.T) {
	const head = `{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":`
	a, err := New(Config{Modes: []string{ModeABAC}, PolicyFile: ruleFile(t, "# who may do what\n\n"+
		head+`{"user":"ann","namespace":"*","resource":"*","apiGroup":"*"}}`+"\n"+
		head+`{"user":"bob","namespace":"x","resource":"pods","readonly":true}}`+"\n"+
		head+`{"group":"ops","nonResourcePath":"/debug/*"}}`+"\n"+
		head+`{"user":"*","group":"devs","nonResourcePath":"/version"}}`)})
	require.NoError(t, err)
	path := func(who, verb, p string, groups ...string) authorizer.AttributesRecord {
		return authorizer.AttributesRecord{User: &user.DefaultInfo{Name: who, Groups: groups}, Verb: verb, Path: p}
	}
	for name, c := range map[string]struct {
		ask   authorizer.AttributesRecord
		allow bool
	}{
		"everything":        {get("ann", "y", "apps", "deployments", "", "d", "delete"), true},
		"but no paths":      {path("ann", "get", "/version"), false},
		"to read":           {get("bob", "x", "", "pods", "", "p", "get"), true},
		"not to write":      {get("bob", "x", "", "pods", "", "p", "update"), false},
		"another namespace": {get("bob", "y", "", "pods", "", "p", "get"), false},
		"another kind":      {get("bob", "x", "", "secrets", "", "p", "get"), false},
		"another group":     {get("bob", "x", "apps", "pods", "", "p", "get"), false},
		"below a path":      {path("eve", "get", "/debug/pprof", "ops"), true},
		"without the group": {path("eve", "get", "/debug/pprof"), false},
		"exact path":        {path("eve", "get", "/version", "devs"), true},
		"longer path":       {path("eve", "get", "/version/x", "devs"), false},
	} {
		d, _, err := a.Authorize(t.Context(), c.ask)
		require.NoError(t, err)
		require.Equal(t, c.allow, d == authorizer.DecisionAllow, name)
	}
	for text, want := range map[string]string{
		"{":                     "line 1",
		"\n" + head + `{}}`:     "line 2: spec.user",
		`{"kind":"X"}`:          `kind "X"`,
		head + `{"users":"a"}}`: "users",
	} {
		path := ruleFile(t, text)
		_, err := New(Config{Modes: []string{ModeABAC}, PolicyFile: path})
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, path)
	}
	_, err = New(Config{Modes: []string{ModeABAC}})
	require.ErrorContains(t, err, "--authorization-policy-file")
}
