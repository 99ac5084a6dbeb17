package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/server/request"
)

func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(path, []byte("apiVersion: audit.k8s.io/v1\nkind: Policy\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDecide(t *testing.T) {
	p, err := readPolicy(write(t, `
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: None, users: [quiet]}
- {level: None, nonResourceURLs: ["/healthz*", /version]}
- {level: Metadata, resources: [{group: "", resources: [secrets, "pods/*"]}], omitStages: [Panic]}
- {level: Request, resources: [{group: "*", resources: ["*/scale"]}], omitManagedFields: false}
- {level: RequestResponse, resources: [{group: apps, resources: [deployments], resourceNames: [web]}]}
- {level: Request, verbs: [delete], namespaces: [prod], userGroups: [ops]}
- {level: Metadata, namespaces: [""], resources: [{group: ""}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	ops := &user.DefaultInfo{Name: "ann", Groups: []string{"ops"}}
	res := func(verb, group, resource, sub, ns, name string) request.Info {
		return request.Info{IsResourceRequest: true, Verb: verb, APIGroup: group, Resource: resource, Subresource: sub, Namespace: ns, Name: name}
	}
	for name, c := range map[string]struct {
		info  request.Info
		user  user.Info
		level auditv1.Level
		rule  string
	}{
		"user":            {res("get", "", "secrets", "", "a", "b"), &user.DefaultInfo{Name: "quiet"}, "None", ""},
		"nobody":          {res("get", "", "secrets", "", "a", "b"), nil, "Metadata", "panic"},
		"path prefix":     {request.Info{Verb: "get", Path: "/healthz/etcd"}, ops, "None", ""},
		"exact path":      {request.Info{Verb: "get", Path: "/version/x"}, ops, "None", ""},
		"all subs":        {res("get", "", "pods", "log", "a", "b"), ops, "Metadata", "panic"},
		"but not itself":  {res("get", "", "pods", "", "a", "b"), ops, "None", ""},
		"any scale":       {res("get", "apps", "statefulsets", "scale", "a", "b"), ops, "Request", "managed"},
		"by name":         {res("get", "apps", "deployments", "", "a", "web"), ops, "RequestResponse", ""},
		"by other name":   {res("get", "apps", "deployments", "", "a", "db"), ops, "None", ""},
		"groups":          {res("delete", "apps", "deployments", "", "prod", "db"), ops, "Request", ""},
		"other groups":    {res("delete", "apps", "deployments", "", "prod", "db"), &user.DefaultInfo{Name: "bob"}, "None", ""},
		"cluster scope":   {res("list", "", "nodes", "", "", ""), ops, "Metadata", ""},
		"not a namespace": {res("list", "", "configmaps", "", "x", ""), ops, "None", ""},
	} {
		req := &request.Request{Info: c.info, User: c.user}
		d := p.decide(req)
		if d.level != c.level {
			t.Errorf("%s: level %s, want %s", name, d.level, c.level)
		}
		if d.level == auditv1.LevelNone {
			continue
		}
		if d.omitManagedFields == (c.rule == "managed") {
			t.Errorf("%s: omits managed fields: %v", name, d.omitManagedFields)
		}
		if want := map[bool]int{false: 1, true: 2}[c.rule == "panic"]; len(d.omit) != want {
			t.Errorf("%s: omits %v", name, d.omit)
		}
	}
}

func TestPolicyErrorsNameFileAndField(t *testing.T) {
	for text, want := range map[string]string{
		"rules: []":   "rules: Required",
		"rules: [{}]": "rules[0].level: Required",
		"rule: []":    `unknown field "rule"`,
		"omitStages: [X]\nrules: [{level: None}]":                        "omitStages[0]: Unsupported value",
		"rules: [{level: Everything}]":                                   "rules[0].level: Unsupported value",
		"rules: [{level: None, omitStages: [X]}]":                        "rules[0].omitStages[0]",
		"rules: [{level: None, nonResourceURLs: [x]}]":                   "rules[0].nonResourceURLs[0]",
		"rules: [{level: None, nonResourceURLs: ['/a*b']}]":              "wildcards",
		"rules: [{level: None, nonResourceURLs: [/a], namespaces: [b]}]": "rules[0].nonResourceURLs",
		"rules: [{level: None, resources: [{resourceNames: [a]}]}]":      "rules[0].resources[0].resourceNames",
		"rules: [{level: None, resources: [{resources: ['*/*']}]}]":      "rules[0].resources[0].resources[0]",
		"rules: [{level: None, resources: [{group: a/b}]}]":              "rules[0].resources[0].group",
	} {
		path := write(t, text)
		_, err := New(Config{PolicyFile: path})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestWithoutManagedFields(t *testing.T) {
	for in, want := range map[string]string{
		`{"metadata":{"name":"a","managedFields":[{}]},"n":12345678901234567890}`: `{"metadata":{"name":"a"},"n":12345678901234567890}`,
		`{"items":[{"metadata":{"managedFields":[]}}],"metadata":{}}`:             `{"items":[{"metadata":{}}],"metadata":{}}`,
		`{"rows":[{"object":{"metadata":{"managedFields":[]}}}]}`:                 `{"rows":[{"object":{"metadata":{}}}]}`,
		`[{"op":"remove","path":"/metadata/managedFields"}]`:                      `[{"op":"remove","path":"/metadata/managedFields"}]`,
		`"managedFields`: `"managedFields`,
	} {
		if got := string(withoutManagedFields([]byte(in))); got != want {
			t.Errorf("%s became %s", in, got)
		}
	}
}
