package policystatus

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiservercel "k8s.io/apiserver/pkg/cel"
)

// fruit has a server that knows apples and pears, and berries without a schema.
type fruit struct{}

func (fruit) Kind(r schema.GroupVersionResource) (schema.GroupVersionKind, error) {
	kind := map[string]string{"apples": "Apple", "pears": "Pear", "berries": "Berry"}[r.Resource]
	if r.Group != "fruit" || kind == "" {
		return schema.GroupVersionKind{}, nil
	}
	return r.GroupVersion().WithKind(kind), nil
}

func (fruit) Type(k schema.GroupVersionKind) (*apiservercel.DeclType, error) {
	fields := map[string]*apiservercel.DeclField{}
	add := func(name string, t *apiservercel.DeclType) {
		fields[name] = apiservercel.NewDeclField(name, t, true, nil, nil)
	}
	add("size", apiservercel.IntType)
	switch k.Kind {
	case "Apple":
		add("color", apiservercel.StringType)
	case "Pear":
		add("soft", apiservercel.BoolType)
	case "Limits":
		add("most", apiservercel.IntType)
	default:
		return nil, nil
	}
	return apiservercel.NewObjectType("fruit."+k.Kind, fields), nil
}

func forFruit(resources ...string) *policy {
	p := &policy{}
	p.Name = "p"
	r := admissionregistrationv1.NamedRuleWithOperations{}
	r.APIGroups, r.APIVersions, r.Resources = []string{"fruit"}, []string{"v1"}, resources
	p.Spec.MatchConstraints = &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{r}}
	return p
}

func TestCheck(t *testing.T) {
	undefined := func(kind, field, text string, at int) string {
		return fmt.Sprintf("fruit/v1, Kind=%s: ERROR: <input>:1:%d: undefined field '%s'\n | %s\n | %s^\n", kind, at, field, text, "........................................"[:at-1])
	}
	for name, c := range map[string]struct {
		p          *policy
		expression string
		message    string
		want       []string // place, warning, …
	}{
		"fits":             {forFruit("apples"), "object.size > 1 && oldObject.color == ''", "", nil},
		"field of nobody":  {forFruit("apples"), "object.weight > 1", "", []string{"spec.validations[0].expression", undefined("Apple", "weight", "object.weight > 1", 7)}},
		"of one of two":    {forFruit("pears", "apples"), "object.soft", "", []string{"spec.validations[0].expression", undefined("Apple", "soft", "object.soft", 7)}},
		"of none of two":   {forFruit("pears", "apples"), "object.old", "", []string{"spec.validations[0].expression", undefined("Apple", "old", "object.old", 7) + "\n" + undefined("Pear", "old", "object.old", 7)}},
		"message":          {forFruit("pears"), "object.soft", "object.color", []string{"spec.validations[0].messageExpression", undefined("Pear", "color", "object.color", 7)}},
		"request":          {forFruit("pears"), "request.nonsense == ''", "", []string{"spec.validations[0].expression", undefined("Pear", "nonsense", "request.nonsense == ''", 8)}},
		"namespace":        {forFruit("pears"), "namespaceObject.metadata.name == ''", "", nil},
		"authorizer":       {forFruit("pears"), "authorizer.group('').resource('pods').check('get').allowed()", "", nil},
		"no schema":        {forFruit("berries"), "object.nonsense", "", nil},
		"unknown resource": {forFruit("plums"), "object.nonsense", "", nil},
		"subresource":      {forFruit("apples/status"), "object.nonsense", "", nil},
		"wildcard":         {forFruit("*"), "object.nonsense", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			c.p.Spec.Validations = []admissionregistrationv1.Validation{{Expression: c.expression, MessageExpression: c.message}}
			got, err := check(c.p, fruit{})
			require.NoError(t, err)
			var flat []string
			for _, w := range got {
				flat = append(flat, w.FieldRef, w.Warning)
			}
			require.Equal(t, c.want, flat)
		})
	}
}

// TestCheckVariables follows the types of variables and parameters.
func TestCheckVariables(t *testing.T) {
	p := forFruit("apples")
	p.Spec.ParamKind = &admissionregistrationv1.ParamKind{APIVersion: "fruit/v1", Kind: "Limits"}
	p.Spec.Variables = []admissionregistrationv1.Variable{
		{Name: "big", Expression: "object.size > params.most"},
		{Name: "unknown", Expression: "object.nonsense"},
	}
	p.Spec.Validations = []admissionregistrationv1.Validation{
		{Expression: "!variables.big"},
		{Expression: "variables.big.size > 1"},
		{Expression: "variables.unknown.whatever"},
		{Expression: "params.least > 1"},
		{Expression: "variables.missing"},
	}
	got, err := check(p, fruit{})
	require.NoError(t, err)
	var at []string
	for _, w := range got {
		at = append(at, w.FieldRef)
	}
	require.Equal(t, []string{"spec.validations[1].expression", "spec.validations[3].expression", "spec.validations[4].expression"}, at)
}

// TestMostKinds looks at no more than ten kinds.
func TestMostKinds(t *testing.T) {
	p := forFruit("apples")
	for i := range 12 {
		r := &p.Spec.MatchConstraints.ResourceRules[0]
		r.APIVersions = append(r.APIVersions, fmt.Sprintf("v1beta%d", i+1))
	}
	all, err := objectTypes(p, fruit{})
	require.NoError(t, err)
	require.Len(t, all, 10)
	require.Equal(t, "v1", all[0].gvk.Version)
}
