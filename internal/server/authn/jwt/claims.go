package jwt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	celtypes "github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apiserver/pkg/apis/apiserver"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/apiserver/pkg/authentication/user"
)

// claims of a token that was verified.
type claims map[string]json.RawMessage

func (c claims) get(name string, into any) error {
	v, ok := c[name]
	if !ok {
		return errNoClaim
	}
	return json.Unmarshal(v, into)
}

// text is a claim that must be a string.
func (c claims) text(what, name string) (string, error) {
	var s string
	if err := c.get(name, &s); err != nil {
		return "", fmt.Errorf("oidc: parse %s claim %q: %w", what, name, err)
	}
	return s, nil
}

// list is a claim that may be a string or a list of strings, and missing.
func (c claims) list(name string) ([]string, error) {
	v, ok := c[name]
	if !ok {
		return nil, nil
	}
	var one string
	if json.Unmarshal(v, &one) == nil {
		if one == "" {
			return nil, nil
		}
		return []string{one}, nil
	}
	var many []string
	if err := json.Unmarshal(v, &many); err != nil {
		return nil, fmt.Errorf("oidc: parse groups claim %q: %w", name, err)
	}
	return many, nil
}

// value shows the claims to expressions: whole numbers are ints there.
func (c claims) value() (traits.Mapper, error) {
	data, err := json.Marshal(map[string]json.RawMessage(c))
	if err != nil {
		return nil, err
	}
	return mapper(data)
}

func mapper(data []byte) (traits.Mapper, error) {
	var m map[string]any
	if err := utiljson.Unmarshal(data, &m); err != nil {
		return nil, err
	}
	v, ok := celtypes.DefaultTypeAdapter.NativeToValue(m).(traits.Mapper)
	if !ok {
		return nil, errors.New("oidc: claims are no map")
	}
	return v, nil
}

// user maps the claims to a user and holds both to the rules.
func (i *Issuer) user(ctx context.Context, c claims) (user.Info, error) {
	v, err := c.value()
	if err != nil {
		return nil, fmt.Errorf("oidc: parse claims: %w", err)
	}
	if err := i.checkClaims(ctx, c, v); err != nil {
		return nil, err
	}
	u := &user.DefaultInfo{}
	if u.Name, err = i.username(ctx, c, v); err != nil {
		return nil, err
	}
	if u.Groups, err = i.groups(ctx, c, v); err != nil {
		return nil, err
	}
	if u.UID, err = i.uid(ctx, c, v); err != nil {
		return nil, err
	}
	if u.Extra, err = i.extra(ctx, c, v); err != nil {
		return nil, err
	}
	return u, i.checkUser(ctx, u)
}

func (i *Issuer) checkClaims(ctx context.Context, c claims, v traits.Mapper) error {
	for _, r := range i.cfg.ClaimValidationRules {
		if r.Claim == "" {
			continue
		}
		got, err := c.text("required", r.Claim)
		if err != nil {
			return fmt.Errorf("oidc: required claim %s not present in ID token: %w", r.Claim, err)
		}
		if got != r.RequiredValue {
			return fmt.Errorf("oidc: required claim %s value does not match. Got = %s, want = %s", r.Claim, got, r.RequiredValue)
		}
	}
	if i.mapper.ClaimValidationRules == nil {
		return nil
	}
	results, err := i.mapper.ClaimValidationRules.EvalClaimMappings(ctx, v)
	if err != nil {
		return fmt.Errorf("oidc: error evaluating claim validation expression: %w", err)
	}
	return allTrue(results, "claim validation")
}

func (i *Issuer) checkUser(ctx context.Context, u *user.DefaultInfo) error {
	if i.mapper.UserValidationRules == nil {
		return nil
	}
	data, err := json.Marshal(map[string]any{"username": u.Name, "uid": u.UID, "groups": u.Groups, "extra": u.Extra})
	if err != nil {
		return err
	}
	v, err := mapper(data)
	if err != nil {
		return err
	}
	results, err := i.mapper.UserValidationRules.EvalUser(ctx, v)
	if err != nil {
		return fmt.Errorf("oidc: error evaluating user info validation rule: %w", err)
	}
	return allTrue(results, "user validation")
}

func allTrue(results []authenticationcel.EvaluationResult, what string) error {
	for _, r := range results {
		if r.EvalResult == celtypes.True {
			continue
		}
		message := ""
		switch e := r.ExpressionAccessor.(type) {
		case *authenticationcel.ClaimValidationCondition:
			message = e.Message
		case *authenticationcel.UserValidationCondition:
			message = e.Message
		}
		return fmt.Errorf("oidc: %s expression '%s' failed: %s", what, r.ExpressionAccessor.GetExpression(), message)
	}
	return nil
}

func (i *Issuer) username(ctx context.Context, c claims, v traits.Mapper) (string, error) {
	if i.mapper.Username != nil {
		r, err := i.mapper.Username.EvalClaimMapping(ctx, v)
		if err != nil {
			return "", fmt.Errorf("oidc: error evaluating username claim expression: %w", err)
		}
		name, ok := r.EvalResult.Value().(string)
		if !ok || name == "" {
			return "", errors.New("oidc: username claim expression must return a non-empty string")
		}
		return name, nil
	}
	m := i.cfg.ClaimMappings.Username
	name, err := c.text("username", m.Claim)
	if err != nil {
		return "", err
	}
	if m.Claim == "email" {
		verified := true
		if err := c.get("email_verified", &verified); err != nil && !errors.Is(err, errNoClaim) {
			return "", fmt.Errorf("oidc: parse 'email_verified' claim: %w", err)
		}
		if !verified {
			return "", fmt.Errorf("oidc: email not verified")
		}
	}
	if name == "" {
		return "", fmt.Errorf("oidc: username claim %q is empty", m.Claim)
	}
	return prefixed(m, name), nil
}

func prefixed(m apiserver.PrefixedClaimOrExpression, s string) string {
	if m.Prefix == nil {
		return s
	}
	return *m.Prefix + s
}

func (i *Issuer) groups(ctx context.Context, c claims, v traits.Mapper) ([]string, error) {
	if i.mapper.Groups != nil {
		r, err := i.mapper.Groups.EvalClaimMapping(ctx, v)
		if err != nil {
			return nil, fmt.Errorf("oidc: error evaluating group claim expression: %w", err)
		}
		groups, err := texts(r.EvalResult)
		if err != nil {
			return nil, fmt.Errorf("oidc: error evaluating group claim expression: %w", err)
		}
		return groups, nil
	}
	m := i.cfg.ClaimMappings.Groups
	if m.Claim == "" {
		return nil, nil
	}
	if err := i.resolve(ctx, c, m.Claim); err != nil {
		return nil, err
	}
	groups, err := c.list(m.Claim)
	for n, g := range groups {
		groups[n] = prefixed(m, g)
	}
	return groups, err
}

func (i *Issuer) uid(ctx context.Context, c claims, v traits.Mapper) (string, error) {
	if i.mapper.UID != nil {
		r, err := i.mapper.UID.EvalClaimMapping(ctx, v)
		if err != nil {
			return "", fmt.Errorf("oidc: error evaluating uid claim expression: %w", err)
		}
		uid, ok := r.EvalResult.Value().(string)
		if !ok {
			return "", errors.New("oidc: uid claim expression must return a string")
		}
		return uid, nil
	}
	if m := i.cfg.ClaimMappings.UID; m.Claim != "" {
		return c.text("uid", m.Claim)
	}
	return "", nil
}

func (i *Issuer) extra(ctx context.Context, c claims, v traits.Mapper) (map[string][]string, error) {
	extra := map[string][]string{}
	if jti, err := c.text("credential", "jti"); err == nil && jti != "" {
		extra[user.CredentialIDKey] = []string{"JTI=" + jti}
	}
	if i.mapper.Extra == nil {
		return extra, nil
	}
	results, err := i.mapper.Extra.EvalClaimMappings(ctx, v)
	if err != nil {
		return nil, fmt.Errorf("oidc: error evaluating extra claim expression: %w", err)
	}
	for _, r := range results {
		e, ok := r.ExpressionAccessor.(*authenticationcel.ExtraMappingExpression)
		if !ok {
			return nil, fmt.Errorf("oidc: unexpected kind of expression: %T", r.ExpressionAccessor)
		}
		values, err := texts(r.EvalResult)
		if err != nil {
			return nil, fmt.Errorf("oidc: error evaluating extra claim expression: %s: %w", e.Expression, err)
		}
		values = slices.DeleteFunc(values, func(s string) bool { return s == "" })
		if len(values) > 0 {
			extra[e.Key] = values
		}
	}
	return extra, nil
}

// texts reads a string or a list of strings; "", [] and null are none.
func texts(v ref.Val) ([]string, error) {
	switch x := v.(type) {
	case celtypes.Null:
		return nil, nil
	case celtypes.String:
		if x == "" {
			return nil, nil
		}
		return []string{string(x)}, nil
	case traits.Lister:
		var out []string
		for it := x.Iterator(); it.HasNext() == celtypes.True; {
			s, ok := it.Next().Value().(string)
			if !ok {
				return nil, errors.New("expression must return a string or a list of strings")
			}
			out = append(out, s)
		}
		return out, nil
	}
	return nil, fmt.Errorf("expression must return a string or a list of strings, not %s", v.Type().TypeName())
}
