package policystatus

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
)

// mostKinds that one policy is checked against.
const mostKinds = 10

// kinds tells about kinds what a check has to know.
type kinds interface {
	// Kind of a resource; none, without an error, where the server has no such resource.
	Kind(r schema.GroupVersionResource) (schema.GroupVersionKind, error)
	// Type of the objects of a kind; nil, without an error, where there is no schema.
	Type(k schema.GroupVersionKind) (*apiservercel.DeclType, error)
}

// check gives a warning for each expression of the policy that does not fit one of its kinds.
func check(p *policy, known kinds) ([]admissionregistrationv1.ExpressionWarning, error) {
	objects, err := objectTypes(p, known)
	if err != nil || len(objects) == 0 {
		return nil, err
	}
	var params *apiservercel.DeclType
	if k := p.Spec.ParamKind; k != nil {
		gv, err := schema.ParseGroupVersion(k.APIVersion)
		if err != nil {
			return nil, nil // validation does not let it in
		}
		if params, err = known.Type(gv.WithKind(k.Kind)); err != nil {
			return nil, err
		}
	}
	found := map[string][]string{} // by the place of the expression
	for _, o := range objects {
		c, err := newChecker(p, o.decl, params)
		if err != nil {
			return nil, fmt.Errorf("types of %s: %w", o.gvk, err)
		}
		for _, e := range expressions(p) {
			if wrong := c.wrong(e.text); wrong != "" {
				found[e.at] = append(found[e.at], fmt.Sprintf("%s: %s\n", o.gvk, wrong))
			}
		}
	}
	var out []admissionregistrationv1.ExpressionWarning
	for _, e := range expressions(p) {
		if w := found[e.at]; len(w) > 0 {
			out = append(out, admissionregistrationv1.ExpressionWarning{FieldRef: e.at, Warning: strings.Join(w, "\n")})
		}
	}
	return out, nil
}

// expression is a text and its place in the policy.
type expression struct{ at, text string }

func expressions(p *policy) []expression {
	var out []expression
	at := field.NewPath("spec", "validations")
	for i, v := range p.Spec.Validations {
		out = append(out, expression{at.Index(i).Child("expression").String(), v.Expression})
		if v.MessageExpression != "" {
			out = append(out, expression{at.Index(i).Child("messageExpression").String(), v.MessageExpression})
		}
	}
	return out
}

// objectType is a kind that the policy is for.
type objectType struct {
	gvk  schema.GroupVersionKind
	decl *apiservercel.DeclType
}

// objectTypes are the kinds that the policy's rules name, of those that have a schema the first ten.
func objectTypes(p *policy, known kinds) ([]objectType, error) {
	if p.Spec.MatchConstraints == nil {
		return nil, nil
	}
	var all []schema.GroupVersionKind
	for _, r := range p.Spec.MatchConstraints.ResourceRules {
		for _, gvr := range named(&r.Rule) {
			k, err := known.Kind(gvr)
			if err != nil {
				return nil, err
			}
			if !k.Empty() && !slices.Contains(all, k) {
				all = append(all, k)
			}
		}
	}
	slices.SortFunc(all, func(a, b schema.GroupVersionKind) int { return strings.Compare(order(a), order(b)) })
	var out []objectType
	for _, k := range all[:min(len(all), mostKinds)] {
		decl, err := known.Type(k)
		if err != nil {
			return nil, err
		}
		if decl != nil {
			out = append(out, objectType{k, decl})
		}
	}
	return out, nil
}

func order(k schema.GroupVersionKind) string { return k.Group + "\x00" + k.Version + "\x00" + k.Kind }

// named are the resources of a rule without wildcards. Subresources have no schemas of their own here.
func named(r *admissionregistrationv1.Rule) []schema.GroupVersionResource {
	isWild := func(s string) bool { return strings.Contains(s, "*") }
	if slices.ContainsFunc(r.APIGroups, isWild) || slices.ContainsFunc(r.APIVersions, isWild) || slices.ContainsFunc(r.Resources, isWild) {
		return nil
	}
	var out []schema.GroupVersionResource
	for _, g := range r.APIGroups {
		for _, v := range r.APIVersions {
			for _, res := range r.Resources {
				if !strings.Contains(res, "/") {
					out = append(out, schema.GroupVersionResource{Group: g, Version: v, Resource: res})
				}
			}
		}
	}
	return out
}

// checker compiles the expressions of one policy for one kind.
type checker struct{ *plugincel.CompositedCompiler }

// newChecker declares what expressions see, the policy's variables among it.
func newChecker(p *policy, object, params *apiservercel.DeclType) (*checker, error) {
	request, namespace := plugincel.BuildRequestType(), plugincel.BuildNamespaceType()
	decls := []*apiservercel.DeclType{request, namespace}
	variable := func(name string, t *apiservercel.DeclType) cel.EnvOption {
		if t == nil {
			return cel.Variable(name, cel.DynType)
		}
		if !slices.Contains(decls, t) {
			decls = append(decls, t)
		}
		return cel.Variable(name, t.CelType())
	}
	vars := []cel.EnvOption{
		variable(plugincel.ObjectVarName, object), variable(plugincel.OldObjectVarName, object),
		variable(plugincel.RequestVarName, request), variable(plugincel.NamespaceVarName, namespace),
		cel.Variable(plugincel.AuthorizerVarName, library.AuthorizerType), cel.Variable(plugincel.RequestResourceAuthorizerVarName, library.ResourceCheckType),
	}
	if p.Spec.ParamKind != nil {
		vars = append(vars, variable(plugincel.ParamsVarName, params))
	}
	env, err := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()).Extend(environment.VersionedOptions{
		IntroducedVersion: version.MajorMinor(1, 0), EnvOptions: vars, DeclTypes: decls}, environment.StrictCostOpt)
	if err != nil {
		return nil, err
	}
	composed, err := plugincel.NewCompositedCompilerForTypeChecking(env)
	if err != nil {
		return nil, err
	}
	c := &checker{composed}
	composed.Compiler = c
	for _, v := range p.Spec.Variables {
		composed.CompileAndStoreVariable(namedText{v.Name, v.Expression}, plugincel.OptionalVariableDeclarations{}, environment.StoredExpressions)
	}
	return c, nil
}

// CompileCELExpression implements plugincel.Compiler. What does not compile has a type that is not known.
func (c *checker) CompileCELExpression(e plugincel.ExpressionAccessor, _ plugincel.OptionalVariableDeclarations, _ environment.Type) plugincel.CompilationResult {
	r := plugincel.CompilationResult{ExpressionAccessor: e, OutputType: cel.DynType}
	env, err := c.Env(environment.StoredExpressions)
	if err != nil {
		r.Error = &apiservercel.Error{Type: apiservercel.ErrorTypeInternal, Detail: err.Error()}
		return r
	}
	ast, issues := env.Compile(e.GetExpression())
	if issues != nil {
		r.Error = &apiservercel.Error{Type: apiservercel.ErrorTypeInvalid, Detail: issues.String()}
		return r
	}
	r.OutputType = ast.OutputType()
	return r
}

// wrong says what about an expression does not fit; empty: nothing.
func (c *checker) wrong(text string) string {
	if r := c.CompileCELExpression(namedText{text: text}, plugincel.OptionalVariableDeclarations{}, environment.StoredExpressions); r.Error != nil {
		return r.Error.Detail
	}
	return ""
}

// namedText is an expression as the compiler takes it. What it may give is validation's to judge.
type namedText struct{ name, text string }

func (n namedText) GetName() string        { return n.name }
func (n namedText) GetExpression() string  { return n.text }
func (namedText) ReturnTypes() []*cel.Type { return []*cel.Type{cel.AnyType} }
