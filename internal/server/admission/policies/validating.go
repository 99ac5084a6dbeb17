package policies

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/cel-go/common/types"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/admission/match"
)

type (
	vap        = admissionregistrationv1.ValidatingAdmissionPolicy
	vapBinding = admissionregistrationv1.ValidatingAdmissionPolicyBinding
)

var (
	validatingPolicies = client.Resource[*vap]{GVR: admissionregistrationv1.SchemeGroupVersion.WithResource("validatingadmissionpolicies")}
	validatingBindings = client.Resource[*vapBinding]{GVR: admissionregistrationv1.SchemeGroupVersion.WithResource("validatingadmissionpolicybindings")}
)

// Config is what policies are evaluated with.
type Config struct {
	API        client.Interface
	Informers  *client.Informers
	Table      *object.Table
	Authorizer authorizer.UnconditionalAuthorizer
	Metrics    *Metrics
}

// Validating is the admission plugin ValidatingAdmissionPolicy.
type Validating struct {
	cfg Config
	set *set[*vap, *vapBinding, *validation]
}

// NewValidating makes the plugin.
func NewValidating(c Config) *Validating {
	return &Validating{c, newSet(client.InformerFor(c.Informers, validatingPolicies), client.InformerFor(c.Informers, validatingBindings), compileValidation,
		func(p *vap) *admissionregistrationv1.MatchResources { return p.Spec.MatchConstraints },
		func(b *vapBinding) (string, binding) {
			return b.Spec.PolicyName, binding{name: b.Name, params: b.Spec.ParamRef, actions: b.Spec.ValidationActions,
				where: func() (*match.Constraints, error) { return match.New(b.Spec.MatchResources) }}
		})}
}

// Name implements admission.Plugin.
func (*Validating) Name() string { return "ValidatingAdmissionPolicy" }

// verdict is what one policy says against a write.
type verdict struct {
	message string
	reason  metav1.StatusReason
	failure error // not nil: it could not be evaluated
}

// Validate implements admission.Validator.
func (p *Validating) Validate(ctx context.Context, a *admission.Attributes) error {
	all := p.set.effective()
	if len(all) == 0 || match.Exempt(a) {
		return nil
	}
	for _, b := range all {
		where, err := b.where()
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("policy %s: %w", b.policy.Name, err))
		}
		v, ok, err := where.Matches(ctx, p.cfg.API, a, false)
		if err != nil {
			return apierrors.NewInternalError(err)
		}
		if !ok {
			continue
		}
		if err := p.judge(ctx, a, b, v); err != nil {
			return err
		}
	}
	return nil
}

func (p *Validating) judge(ctx context.Context, a *admission.Attributes, b *bound[*vap, *validation], v *object.Version) error {
	in, err := match.NewInput(ctx, p.cfg.API, p.cfg.Authorizer, a, v)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	for _, bind := range b.bindings {
		narrow, err := bind.where()
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("policy binding %s: %w", bind.name, err))
		}
		if _, ok, err := narrow.Matches(ctx, p.cfg.API, a, true); err != nil {
			return apierrors.NewInternalError(err)
		} else if !ok {
			continue
		}
		if err := p.enforce(ctx, a, b, &bind, in); err != nil {
			return err
		}
	}
	return nil
}

// enforce does what a binding wants done about what the policy says.
func (p *Validating) enforce(ctx context.Context, a *admission.Attributes, b *bound[*vap, *validation], bind *binding, in *match.Input) error {
	began := time.Now()
	said := p.evaluate(ctx, a, b, bind, in)
	took := time.Since(began)
	if len(said) == 0 {
		p.cfg.Metrics.checked(b.policy.Name, bind.name, "allow", nil, took)
	}
	for _, v := range said {
		for _, action := range bind.actions {
			p.cfg.Metrics.checked(b.policy.Name, bind.name, strings.ToLower(string(action)), v.failure, took)
		}
		if err := act(a, b.policy.Name, bind, v); err != nil {
			return err
		}
	}
	return nil
}

// evaluate gives what a policy says against the write under one binding.
func (p *Validating) evaluate(ctx context.Context, a *admission.Attributes, b *bound[*vap, *validation], bind *binding, in *match.Input) []verdict {
	fail := func(err error) []verdict {
		if f := b.policy.Spec.FailurePolicy; f != nil && *f == admissionregistrationv1.Ignore {
			return nil
		}
		return []verdict{{err.Error(), metav1.StatusReasonInvalid, err}}
	}
	compiled, err := b.compiled()
	if err != nil {
		return fail(fmt.Errorf("failed to configure policy: %w", err))
	}
	list, err := params(ctx, p.cfg.API, p.cfg.Table, a, b.policy.Spec.ParamKind, bind.params)
	if err != nil {
		return fail(fmt.Errorf("failed to configure binding: %w", err))
	}
	var out []verdict
	for _, param := range list {
		ok, err := in.Passes(ctx, compiled.match, param)
		if err != nil {
			out = append(out, fail(err)...)
			continue
		}
		if !ok {
			continue
		}
		found, err := compiled.run(ctx, a, b.policy, in, param)
		if err != nil {
			out = append(out, fail(err)...)
		}
		out = append(out, found...)
	}
	return out
}

// run evaluates every rule with one parameter object.
func (c *validation) run(ctx context.Context, a *admission.Attributes, p *vap, in *match.Input, param runtime.Object) ([]verdict, error) {
	results, left, err := c.rules.ForInput(ctx, in.Attributes, in.Request, in.Bindings(param), in.Namespace, celconfig.RuntimeCELCostBudget)
	if err != nil {
		return nil, err
	}
	messages, left, err := c.messages.ForInput(ctx, in.Attributes, in.Request, in.Bindings(param), in.Namespace, left)
	if err != nil {
		messages = nil // without its own message a rule has the usual one
	}
	var out []verdict
	var failed []error
	for i, r := range results {
		rule := &p.Spec.Validations[i]
		switch {
		case r.Error != nil:
			failed = append(failed, fmt.Errorf("expression '%v' resulted in error: %w", rule.Expression, r.Error))
		case r.EvalResult != types.True:
			said := verdict{message: ruleMessage(rule), reason: metav1.StatusReasonInvalid}
			if n := c.message[i]; n >= 0 && n < len(messages) && messages[n].Error == nil {
				if own, ok := messages[n].EvalResult.Value().(string); ok && usable(own) {
					said.message = strings.TrimSpace(own)
				}
			}
			if rule.Reason != nil {
				said.reason = *rule.Reason
			}
			out = append(out, said)
		}
	}
	c.annotate(ctx, a, p, in, param, left)
	return out, errors.Join(failed...)
}

// usable says whether an evaluated message can be shown: short and on one line.
func usable(s string) bool {
	s = strings.TrimSpace(s)
	return s != "" && len(s) <= celconfig.MaxEvaluatedMessageExpressionSizeBytes && !strings.Contains(s, "\n")
}

func ruleMessage(r *admissionregistrationv1.Validation) string {
	if m := strings.TrimSpace(r.Message); m != "" {
		return m
	}
	return "failed expression: " + strings.TrimSpace(r.Expression)
}

// annotate adds the audit annotations of a policy.
func (c *validation) annotate(ctx context.Context, a *admission.Attributes, p *vap, in *match.Input, param runtime.Object, budget int64) {
	if len(p.Spec.AuditAnnotations) == 0 {
		return
	}
	results, _, err := c.audit.ForInput(ctx, in.Attributes, in.Request, in.Bindings(param), in.Namespace, budget)
	if err != nil {
		return
	}
	for i, r := range results {
		if r.Error != nil || r.EvalResult == nil {
			continue
		}
		if s, ok := r.EvalResult.Value().(string); ok && s != "" {
			a.Annotate(p.Name+"/"+p.Spec.AuditAnnotations[i].Key, s)
		}
	}
}

// act does what a binding wants done with a verdict: refuse, warn, or note it down.
func act(a *admission.Attributes, policy string, b *binding, v verdict) error {
	if slices.Contains(b.actions, admissionregistrationv1.Audit) {
		if data, err := json.Marshal([]map[string]any{{"message": v.message, "policy": policy, "binding": b.name, "validationActions": b.actions}}); err == nil {
			a.Annotate("validation.policy.admission.k8s.io/validation_failure", string(data))
		}
	}
	if slices.Contains(b.actions, admissionregistrationv1.Warn) {
		a.Warn(fmt.Sprintf("Validation failed for ValidatingAdmissionPolicy '%s' with binding '%s': %s", policy, b.name, v.message))
	}
	if !slices.Contains(b.actions, admissionregistrationv1.Deny) {
		return nil
	}
	err := admission.Forbidden(a, fmt.Sprintf("ValidatingAdmissionPolicy '%s' with binding '%s' denied request: %s", policy, b.name, v.message))
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		status.ErrStatus.Reason = v.reason
		status.ErrStatus.Code = codeOf(v.reason)
		if status.ErrStatus.Details != nil {
			status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{Message: v.message})
		}
	}
	return err
}

func codeOf(r metav1.StatusReason) int32 {
	switch r {
	case metav1.StatusReasonUnauthorized:
		return http.StatusUnauthorized
	case metav1.StatusReasonForbidden:
		return http.StatusForbidden
	case metav1.StatusReasonRequestEntityTooLarge:
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusUnprocessableEntity
}
