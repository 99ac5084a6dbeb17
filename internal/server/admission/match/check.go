package match

import (
	"context"
	"fmt"

	"github.com/google/cel-go/cel"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/cel/environment"

	"hyperkube/internal/object"
)

// expression is a text in CEL and what it has to give.
type expression struct {
	text  string
	types []*cel.Type
}

func (e *expression) GetExpression() string    { return e.text }
func (e *expression) ReturnTypes() []*cel.Type { return e.types }

// Hook refuses webhook configurations whose match conditions do not compile. An update that leaves the conditions alone is not judged.
func Hook(_ context.Context, obj, old object.Object, _ bool) (commit, rollback func(), err error) {
	lists, was := conditionsOf(obj), conditionsOf(old)
	if apiequality.Semantic.DeepEqual(lists, was) {
		return nil, nil, nil
	}
	var errs field.ErrorList
	for i, list := range lists {
		for j, c := range list {
			at := field.NewPath("webhooks").Index(i).Child("matchConditions").Index(j).Child("expression")
			errs = append(errs, compiles(c.Expression, at)...)
		}
	}
	if len(errs) == 0 {
		return nil, nil, nil
	}
	gk := admissionregistrationv1.SchemeGroupVersion.WithKind(fmt.Sprintf("%T", obj)[len("*v1."):]).GroupKind()
	return nil, nil, apierrors.NewInvalid(gk, obj.GetName(), errs)
}

func compiles(text string, at *field.Path) field.ErrorList {
	env := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
	r := plugincel.NewCompiler(env).CompileCELExpression(&expression{text, []*cel.Type{cel.BoolType}}, plugincel.OptionalVariableDeclarations{HasAuthorizer: true}, environment.NewExpressions)
	if r.Error != nil {
		return field.ErrorList{field.Invalid(at, text, r.Error.Detail)}
	}
	return nil
}

// conditionsOf are the match conditions of each webhook of a configuration.
func conditionsOf(obj object.Object) [][]admissionregistrationv1.MatchCondition {
	var out [][]admissionregistrationv1.MatchCondition
	switch c := obj.(type) {
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		for i := range c.Webhooks {
			out = append(out, c.Webhooks[i].MatchConditions)
		}
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		for i := range c.Webhooks {
			out = append(out, c.Webhooks[i].MatchConditions)
		}
	}
	return out
}
