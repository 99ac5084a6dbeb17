package policies

import (
	"context"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	"k8s.io/apiserver/pkg/cel/environment"

	"hyperkube/internal/object"
)

// Hook refuses policies with expressions that do not compile. An update that leaves the spec alone is not judged: what was stored
// earlier may have been made for another version of the language.
func Hook(_ context.Context, obj, old object.Object, _ bool) (commit, rollback func(), err error) {
	var errs field.ErrorList
	kind := ""
	switch p := obj.(type) {
	case *vap:
		if was, ok := old.(*vap); ok && apiequality.Semantic.DeepEqual(was.Spec, p.Spec) {
			return nil, nil, nil
		}
		kind = "ValidatingAdmissionPolicy"
		errs, err = checkValidation(&p.Spec)
	case *mutatingPolicy:
		if was, ok := old.(*mutatingPolicy); ok && apiequality.Semantic.DeepEqual(was.Spec, p.Spec) {
			return nil, nil, nil
		}
		kind = "MutatingAdmissionPolicy"
		errs, err = checkMutation(&p.Spec)
	}
	if err != nil {
		return nil, nil, apierrors.NewInternalError(err)
	}
	if len(errs) > 0 {
		return nil, nil, apierrors.NewInvalid(admissionregistrationv1.SchemeGroupVersion.WithKind(kind).GroupKind(), obj.GetName(), errs)
	}
	return nil, nil, nil
}

var specPath = field.NewPath("spec")

// checker compiles the expressions of one policy, and collects what is wrong with them.
type checker struct {
	*plugincel.CompositedCompiler
	errs field.ErrorList
}

// newChecker begins with the match conditions, which do not know the variables, and goes on with these.
func newChecker(conditions []admissionregistrationv1.MatchCondition, variables []admissionregistrationv1.Variable, decl plugincel.OptionalVariableDeclarations) (*checker, error) {
	compiler, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil {
		return nil, err
	}
	c := &checker{CompositedCompiler: compiler}
	for i, m := range conditions {
		c.check(&expression{text: m.Expression, types: boolean}, decl, specPath.Child("matchConditions").Index(i).Child("expression"))
	}
	for i, v := range variables {
		r := c.CompileAndStoreVariable(&expression{v.Name, v.Expression, whatever}, decl, environment.NewExpressions)
		c.note(r, v.Expression, specPath.Child("variables").Index(i).Child("expression"))
	}
	return c, nil
}

func (c *checker) check(e plugincel.ExpressionAccessor, decl plugincel.OptionalVariableDeclarations, at *field.Path) {
	c.note(c.CompileCELExpression(e, decl, environment.NewExpressions), e.GetExpression(), at)
}

func (c *checker) note(r plugincel.CompilationResult, text string, at *field.Path) {
	if r.Error != nil {
		c.errs = append(c.errs, field.Invalid(at, text, r.Error.Detail))
	}
}

func checkValidation(s *admissionregistrationv1.ValidatingAdmissionPolicySpec) (field.ErrorList, error) {
	plain := plugincel.OptionalVariableDeclarations{HasParams: s.ParamKind != nil}
	decl := plain
	decl.HasAuthorizer = true
	c, err := newChecker(s.MatchConditions, s.Variables, decl)
	if err != nil {
		return nil, err
	}
	for i, v := range s.Validations {
		at := specPath.Child("validations").Index(i)
		c.check(&expression{text: v.Expression, types: boolean}, decl, at.Child("expression"))
		if v.MessageExpression != "" {
			c.check(&expression{text: v.MessageExpression, types: text}, plain, at.Child("messageExpression"))
		}
	}
	for i, a := range s.AuditAnnotations {
		c.check(&expression{text: a.ValueExpression, types: maybe}, decl, specPath.Child("auditAnnotations").Index(i).Child("valueExpression"))
	}
	return c.errs, nil
}

func checkMutation(s *admissionregistrationv1.MutatingAdmissionPolicySpec) (field.ErrorList, error) {
	decl := plugincel.OptionalVariableDeclarations{HasParams: s.ParamKind != nil, HasAuthorizer: true}
	c, err := newChecker(s.MatchConditions, s.Variables, decl)
	if err != nil {
		return nil, err
	}
	decl.HasPatchTypes = true
	for i, m := range s.Mutations {
		at := specPath.Child("mutations").Index(i)
		if m.ApplyConfiguration != nil {
			c.check(&patch.ApplyConfigurationCondition{Expression: m.ApplyConfiguration.Expression}, decl, at.Child("applyConfiguration", "expression"))
		}
		if m.JSONPatch != nil {
			c.check(&patch.JSONPatchCondition{Expression: m.JSONPatch.Expression}, decl, at.Child("jsonPatch", "expression"))
		}
	}
	return c.errs, nil
}
