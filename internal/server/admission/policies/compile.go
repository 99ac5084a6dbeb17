package policies

import (
	"fmt"

	"github.com/google/cel-go/cel"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/cel/environment"
)

// expression is one text in CEL and what it may give.
type expression struct {
	name, text string
	types      []*cel.Type
}

func (e *expression) GetName() string          { return e.name }
func (e *expression) GetExpression() string    { return e.text }
func (e *expression) ReturnTypes() []*cel.Type { return e.types }

var (
	boolean  = []*cel.Type{cel.BoolType}
	text     = []*cel.Type{cel.StringType}
	maybe    = []*cel.Type{cel.StringType, cel.NullType}
	whatever = []*cel.Type{cel.AnyType, cel.DynType}
)

// compiler of one policy, with its variables.
func compiler(variables []admissionregistrationv1.Variable, decl plugincel.OptionalVariableDeclarations) (*plugincel.CompositedCompiler, error) {
	c, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil {
		return nil, err
	}
	var all []plugincel.NamedExpressionAccessor
	for _, v := range variables {
		all = append(all, &expression{v.Name, v.Expression, whatever})
	}
	c.CompileAndStoreVariables(all, decl, environment.StoredExpressions)
	return c, nil
}

func conditions(c *plugincel.CompositedCompiler, list []admissionregistrationv1.MatchCondition, decl plugincel.OptionalVariableDeclarations,
	failure *admissionregistrationv1.FailurePolicyType, kind, name string) matchconditions.Matcher {
	if len(list) == 0 {
		return nil
	}
	all := make([]plugincel.ExpressionAccessor, len(list))
	for i := range list {
		m := matchconditions.MatchCondition(list[i])
		all[i] = &m
	}
	return matchconditions.NewMatcher(c.CompileCondition(all, decl, environment.StoredExpressions), failure, "policy", kind, name)
}

// validation is a compiled ValidatingAdmissionPolicy.
type validation struct {
	match    matchconditions.Matcher // nil: no conditions
	rules    plugincel.ConditionEvaluator
	messages plugincel.ConditionEvaluator
	message  []int // of each rule, which of the messages is its own; -1: none
	audit    plugincel.ConditionEvaluator
}

func compileValidation(p *admissionregistrationv1.ValidatingAdmissionPolicy) (*validation, error) {
	decl := plugincel.OptionalVariableDeclarations{HasParams: p.Spec.ParamKind != nil, HasAuthorizer: true}
	plain := plugincel.OptionalVariableDeclarations{HasParams: p.Spec.ParamKind != nil}
	c, err := compiler(p.Spec.Variables, decl)
	if err != nil {
		return nil, err
	}
	v := &validation{match: conditions(c, p.Spec.MatchConditions, decl, p.Spec.FailurePolicy, "validate", p.Name)}
	var rules, messages, audit []plugincel.ExpressionAccessor
	for _, r := range p.Spec.Validations {
		rules = append(rules, &expression{text: r.Expression, types: boolean})
		v.message = append(v.message, -1)
		if r.MessageExpression != "" {
			v.message[len(v.message)-1] = len(messages)
			messages = append(messages, &expression{text: r.MessageExpression, types: text})
		}
	}
	for _, a := range p.Spec.AuditAnnotations {
		audit = append(audit, &expression{a.Key, a.ValueExpression, maybe})
	}
	v.rules = c.CompileCondition(rules, decl, environment.StoredExpressions)
	v.messages = c.CompileCondition(messages, plain, environment.StoredExpressions)
	v.audit = c.CompileCondition(audit, decl, environment.StoredExpressions)
	return v, nil
}

// mutation is a compiled MutatingAdmissionPolicy.
type mutation struct {
	match    matchconditions.Matcher
	patchers []patch.Patcher
}

func compileMutation(p *admissionregistrationv1.MutatingAdmissionPolicy) (*mutation, error) {
	decl := plugincel.OptionalVariableDeclarations{HasParams: p.Spec.ParamKind != nil, HasAuthorizer: true}
	c, err := compiler(p.Spec.Variables, decl)
	if err != nil {
		return nil, err
	}
	m := &mutation{match: conditions(c, p.Spec.MatchConditions, decl, p.Spec.FailurePolicy, "admit", p.Name)}
	types := decl
	types.HasPatchTypes = true
	for i, step := range p.Spec.Mutations {
		switch {
		case step.ApplyConfiguration != nil:
			e := &patch.ApplyConfigurationCondition{Expression: step.ApplyConfiguration.Expression}
			m.patchers = append(m.patchers, patch.NewApplyConfigurationPatcher(c.CompileMutatingEvaluator(e, types, environment.StoredExpressions)))
		case step.JSONPatch != nil:
			e := &patch.JSONPatchCondition{Expression: step.JSONPatch.Expression}
			m.patchers = append(m.patchers, patch.NewJSONPatcher(c.CompileMutatingEvaluator(e, types, environment.StoredExpressions)))
		default:
			return nil, fmt.Errorf("mutation %d is empty", i)
		}
	}
	return m, nil
}
