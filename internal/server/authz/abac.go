package authz

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// attributeRule is one line of a policy file (kind Policy of abac.authorization.kubernetes.io/v1beta1): who may do what. "*" is everything;
// what is not set matches only what is empty.
type attributeRule struct {
	User            string `json:"user,omitempty"`
	Group           string `json:"group,omitempty"`
	Readonly        bool   `json:"readonly,omitempty"`
	APIGroup        string `json:"apiGroup,omitempty"`
	Resource        string `json:"resource,omitempty"`
	Namespace       string `json:"namespace,omitempty"`
	NonResourcePath string `json:"nonResourcePath,omitempty"`
}

const (
	abacVersion = "abac.authorization.kubernetes.io/v1beta1"
	abacKind    = "Policy"
)

// attributeRules are a whole file.
type attributeRules []attributeRule

// readRules reads a file of JSON, one object a line; lines that are empty or begin with # are skipped.
func readRules(path string) (attributeRules, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--authorization-policy-file: %w", err)
	}
	var all attributeRules
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		r, err := parseRule(line)
		if err != nil {
			return nil, fmt.Errorf("--authorization-policy-file: %s: line %d: %w", path, n, err)
		}
		all = append(all, r)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("--authorization-policy-file: %s: %w", path, err)
	}
	return all, nil
}

func parseRule(line []byte) (attributeRule, error) {
	var doc struct {
		APIVersion string        `json:"apiVersion"`
		Kind       string        `json:"kind"`
		Spec       attributeRule `json:"spec"`
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return doc.Spec, err
	}
	if doc.APIVersion != abacVersion || doc.Kind != abacKind {
		return doc.Spec, fmt.Errorf("it is of apiVersion %q, kind %q; wanted apiVersion %q, kind %q", doc.APIVersion, doc.Kind, abacVersion, abacKind)
	}
	if doc.Spec.User == "" && doc.Spec.Group == "" {
		return doc.Spec, fmt.Errorf("spec.user or spec.group is needed")
	}
	return doc.Spec, nil
}

// Authorize implements Decider.
func (l attributeRules) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	if slices.ContainsFunc(l, func(r attributeRule) bool { return r.allows(a) }) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "No policy matched.", nil
}

func (r *attributeRule) allows(a authorizer.Attributes) bool {
	if !r.concerns(a.GetUser()) || r.Readonly && !a.IsReadOnly() {
		return false
	}
	if a.IsResourceRequest() {
		return covers(r.Namespace, a.GetNamespace()) && covers(r.Resource, a.GetResource()) && covers(r.APIGroup, a.GetAPIGroup())
	}
	prefix, wild := strings.CutSuffix(r.NonResourcePath, "*")
	return r.NonResourcePath == a.GetPath() || wild && strings.HasPrefix(a.GetPath(), prefix)
}

func (r *attributeRule) concerns(u user.Info) bool {
	if r.User != "" && r.User != "*" && r.User != u.GetName() {
		return false
	}
	return r.Group == "" || r.Group == "*" || slices.Contains(u.GetGroups(), r.Group)
}

func covers(rule, v string) bool { return rule == "*" || rule == v }
