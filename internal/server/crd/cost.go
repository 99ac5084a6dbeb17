package crd

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// What rules may cost by estimate, in units of CEL's: a single one over all places of an object where it applies, and those of a schema
// together.
const (
	ruleBudget   = 10000000
	schemaBudget = 100000000
)

// When a schema costs too much, so many of the costliest expressions are named, of those that use up a hundredth of the budget.
const (
	mostBlamed  = 4
	leastBlamed = schemaBudget / 100
)

const cheaper = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"

// bill is what the rules of one schema cost.
type bill struct {
	env   *environment.EnvSet
	load  cel.EnvLoader
	total uint64
	lines []billed
}

type billed struct {
	at   *field.Path
	cost uint64
}

// judgeRules compiles the rules of a schema and says which of them cost too much, by themselves or together.
func judgeRules(props *apiextensions.JSONSchemaProps, s *structuralschema.Structural, at *field.Path) field.ErrorList {
	b := &bill{env: environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()), load: cel.NewExpressionsEnvLoader()}
	once := uint64(1)
	errs := b.node(props, s, at, place{root: true, times: &once})
	if b.total <= schemaBudget {
		return errs
	}
	// Among those that cost the same, the first in the schema.
	slices.SortStableFunc(b.lines, func(x, y billed) int {
		switch {
		case x.cost > y.cost:
			return -1
		case x.cost < y.cost:
			return 1
		}
		return 0
	})
	for _, line := range b.lines[:min(mostBlamed, len(b.lines))] {
		if line.cost < leastBlamed {
			break
		}
		errs = append(errs, field.Forbidden(line.at, "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"))
	}
	return append(errs, field.Forbidden(at, fmt.Sprintf("x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of %s %s",
		factor(b.total, schemaBudget), cheaper)))
}

// charge writes an expression on the bill.
func (b *bill) charge(at *field.Path, cost uint64) {
	b.lines = append(b.lines, billed{at, cost})
	if b.total > math.MaxUint64-cost {
		b.total = math.MaxUint64
		return
	}
	b.total += cost
}

// place is where in a schema a node is.
type place struct {
	root bool
	// times is how often an object can have the value at most; nil: nothing bounds that.
	times *uint64
	// loose is the list whose items cannot be told from one another after a change, where the node is within one.
	loose *field.Path
}

// node judges the rules of a node and of those within.
func (b *bill) node(props *apiextensions.JSONSchemaProps, s *structuralschema.Structural, at *field.Path, where place) field.ErrorList {
	var errs field.ErrorList
	if len(props.XValidations) > 0 {
		errs = append(errs, b.rules(props.XValidations, s, at.Child("x-kubernetes-validations"), where)...)
	}
	for _, name := range slices.Sorted(maps.Keys(props.Properties)) {
		p, inner := props.Properties[name], s.Properties[name]
		errs = append(errs, b.node(&p, &inner, at.Child("properties").Key(name), place{times: where.times, loose: where.loose})...)
	}
	if props.Items != nil && props.Items.Schema != nil && s.Items != nil {
		within := where.loose
		if within == nil && (props.XListType == nil || *props.XListType != "map") {
			within = at
		}
		errs = append(errs, b.node(props.Items.Schema, s.Items, at.Child("items"), place{times: multiply(where.times, props.MaxItems), loose: within})...)
	}
	if a := props.AdditionalProperties; a != nil && a.Schema != nil && s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil {
		errs = append(errs, b.node(a.Schema, s.AdditionalProperties.Structural, at.Child("additionalProperties"), place{times: multiply(where.times, props.MaxProperties), loose: where.loose})...)
	}
	return errs
}

func (b *bill) rules(list apiextensions.ValidationRules, s *structuralschema.Structural, at *field.Path, where place) field.ErrorList {
	var errs field.ErrorList
	declared := model.SchemaDeclType(s, where.root || s.XEmbeddedResource)
	if declared == nil {
		return append(errs, field.InternalError(at, errors.New("internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations")))
	}
	results, err := cel.Compile(s, declared, celconfig.PerCallLimit, b.env, b.load)
	if err != nil {
		return append(errs, field.InternalError(at, fmt.Errorf("failed to construct type information for rules: %w", err)))
	}
	for i, r := range results {
		errs = append(errs, b.rule(list[i], r, s, at.Index(i), where)...)
	}
	return errs
}

func (b *bill) rule(rule apiextensions.ValidationRule, r cel.CompilationResult, s *structuralschema.Structural, at *field.Path, where place) field.ErrorList {
	var errs field.ErrorList
	cost := product(r.MaxCost, calls(r, where.times))
	if cost > ruleBudget {
		errs = append(errs, field.Forbidden(at.Child("rule"), "estimated rule cost exceeds budget by factor of "+factor(cost, ruleBudget)+" "+cheaper))
	}
	if cost > 0 {
		b.charge(at.Child("rule"), cost)
	}
	if r.Error != nil {
		errs = append(errs, field.Invalid(at.Child("rule"), rule, r.Error.Detail))
	}
	// A message is made for one value, not for all.
	if blank := strings.TrimSpace(rule.MessageExpression) == ""; blank {
		return append(errs, judgeUse(&rule, r, at, where.loose)...)
	}
	if r.MessageExpressionError != nil {
		errs = append(errs, field.Invalid(at.Child("messageExpression"), rule, r.MessageExpressionError.Detail))
	} else if most := r.MessageExpressionMaxCost; most > 0 {
		if most > ruleBudget {
			errs = append(errs, field.Forbidden(at.Child("messageExpression"), "estimated messageExpression cost exceeds budget by factor of "+factor(most, ruleBudget)+" "+cheaper))
		}
		b.charge(at.Child("messageExpression"), most)
	}
	return append(errs, judgeUse(&rule, r, at, where.loose)...)
}

// judgeUse looks at whether a rule can be evaluated by the old value where it stands.
func judgeUse(rule *apiextensions.ValidationRule, r cel.CompilationResult, at, loose *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case r.UsesOldSelf && loose != nil:
		errs = append(errs, field.Invalid(at.Child("rule"), rule.Rule, fmt.Sprintf("oldSelf cannot be used on the uncorrelatable portion of the schema within %v", loose)))
	case !r.UsesOldSelf && rule.OptionalOldSelf != nil:
		errs = append(errs, field.Invalid(at.Child("optionalOldSelf"), *rule.OptionalOldSelf, "may not be set if oldSelf is not used in rule"))
	}
	return errs
}

// calls is how often a rule may be evaluated for one object.
func calls(r cel.CompilationResult, times *uint64) uint64 {
	if times != nil {
		return *times
	}
	return r.MaxCardinality
}

func multiply(times *uint64, most *int64) *uint64 {
	if times == nil || most == nil || *most < 0 {
		return nil
	}
	n := product(*times, uint64(*most))
	return &n
}

// product is bounded by the largest number.
func product(a, b uint64) uint64 {
	if b != 0 && a > math.MaxUint64/b {
		return math.MaxUint64
	}
	return a * b
}

func factor(cost, budget uint64) string {
	f := float64(cost) / float64(budget)
	switch {
	case f > 100:
		return "more than 100x"
	case f < 1.5:
		return fmt.Sprintf("%fx", f) // or a little too much would look like none
	}
	return fmt.Sprintf("%.1fx", f)
}

var reasons = []string{string(apiextensionsv1.FieldValueDuplicate), string(apiextensionsv1.FieldValueForbidden), string(apiextensionsv1.FieldValueInvalid), string(apiextensionsv1.FieldValueRequired)}
