package object

import (
	"fmt"
	"math"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"

	"hyperkube/internal/object/goform"
)

func priorityLevelConfigurationKind() *Kind {
	type level = flowcontrolv1.PriorityLevelConfiguration
	return &Kind{
		Versions: []Version{version[level, flowcontrolv1.PriorityLevelConfigurationList](
			flowcontrolv1.SchemeGroupVersion, "PriorityLevelConfiguration")},
		Resource:      "prioritylevelconfigurations",
		Singular:      "prioritylevelconfiguration",
		Scope:         Cluster,
		StoragePrefix: "prioritylevelconfigurations",
		Strategy: rules[*level]{
			Default: defaultPriorityLevel,
			PrepareCreate: func(p *level) {
				p.Status = flowcontrolv1.PriorityLevelConfigurationStatus{}
				firstGeneration(p)
			},
			PrepareUpdate: func(p, old *level) {
				p.Status = *old.Status.DeepCopy()
				nextGeneration(p, old, p.Spec, old.Spec)
			},
			Validate: validatePriorityLevel,
		}.full(Cluster, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*level]{
			PrepareUpdate: func(p, old *level) {
				p.Spec = *old.Spec.DeepCopy()
				metav1.ResetObjectMetaForStatus(p, old)
			},
		})},
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Type", "string", doc(flowcontrolv1.PriorityLevelConfigurationSpec{}.SwaggerDoc())["type"]),
			column("NominalConcurrencyShares", "string", doc(flowcontrolv1.LimitedPriorityLevelConfiguration{}.SwaggerDoc())["nominalConcurrencyShares"]),
			column("Queues", "string", doc(flowcontrolv1.QueuingConfiguration{}.SwaggerDoc())["queues"]),
			column("HandSize", "string", doc(flowcontrolv1.QueuingConfiguration{}.SwaggerDoc())["handSize"]),
			column("QueueLengthLimit", "string", doc(flowcontrolv1.QueuingConfiguration{}.SwaggerDoc())["queueLengthLimit"]),
			ageColumn(),
		},
		Cells: cells(func(p *level, now time.Time) []any {
			var shares, queues, hand, length any = none, none, none, none
			if l := p.Spec.Limited; l != nil {
				shares = int64(deref(l.NominalConcurrencyShares, 0))
				if q := l.LimitResponse.Queuing; q != nil {
					queues, hand, length = int64(q.Queues), int64(q.HandSize), int64(q.QueueLengthLimit)
				}
			}
			return []any{p.Name, string(p.Spec.Type), shares, queues, hand, length, age(p, now)}
		}),
	}
}

func defaultPriorityLevel(p *flowcontrolv1.PriorityLevelConfiguration) {
	if p.Spec.Type == flowcontrolv1.PriorityLevelEnablementExempt {
		setDefaultPtr(&p.Spec.Exempt, flowcontrolv1.ExemptPriorityLevelConfiguration{})
	}
	if e := p.Spec.Exempt; e != nil {
		setDefaultPtr(&e.NominalConcurrencyShares, 0)
		setDefaultPtr(&e.LendablePercent, 0)
	}
	l := p.Spec.Limited
	if l == nil {
		return
	}
	setDefaultPtr(&l.NominalConcurrencyShares, 30)
	setDefaultPtr(&l.LendablePercent, 0)
	if q := l.LimitResponse.Queuing; q != nil {
		setDefault(&q.Queues, 64)
		setDefault(&q.HandSize, 8)
		setDefault(&q.QueueLengthLimit, 50)
	}
}

func validatePriorityLevel(p *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList {
	s := &p.Spec
	var errs field.ErrorList
	bad := requiredOneOf(specPath.Child("type"), s.Type, flowcontrolv1.PriorityLevelEnablementExempt, flowcontrolv1.PriorityLevelEnablementLimited)
	if s.Type != "" {
		errs = append(errs, bad...)
	}
	if s.Limited != nil && s.Type != flowcontrolv1.PriorityLevelEnablementLimited {
		errs = append(errs, field.Forbidden(specPath.Child("limited"), ""))
	}
	if s.Exempt != nil && s.Type == flowcontrolv1.PriorityLevelEnablementLimited {
		errs = append(errs, field.Forbidden(specPath.Child("exempt"), ""))
	}
	if s.Type == "" {
		errs = append(errs, bad...)
	}
	exempt := p.Name == flowcontrolv1.PriorityLevelConfigurationNameExempt
	if exempt != (s.Type == flowcontrolv1.PriorityLevelEnablementExempt) {
		errs = append(errs, field.Invalid(specPath.Child("type"), s.Type, "must be 'Exempt' if and only if `name` is 'exempt'"))
	}
	errs = append(errs, mandatoryLevel(p)...)
	if s.Type != flowcontrolv1.PriorityLevelEnablementLimited {
		return errs
	}
	if s.Limited == nil {
		return append(errs, field.Required(specPath.Child("limited"), ""))
	}
	return append(errs, validateLimited(s.Limited, specPath.Child("limited"))...)
}

// mandatoryLevel holds the levels that every server has to what they are. Of exempt the shares are the user's.
func mandatoryLevel(p *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList {
	fixed, text := flowcontrolv1.PriorityLevelConfigurationSpec{}, "spec of '%s' must equal the fixed value"
	switch have := *p.Spec.DeepCopy(); p.Name {
	case flowcontrolv1.PriorityLevelConfigurationNameExempt:
		fixed, text = bootstrap.MandatoryPriorityLevelConfigurationExempt.Spec, "spec of '%s' except the 'spec.exempt' field must equal the fixed value"
		have.Exempt = fixed.Exempt
		if apiequality.Semantic.DeepEqual(have, fixed) {
			return nil
		}
	case flowcontrolv1.PriorityLevelConfigurationNameCatchAll:
		fixed = bootstrap.MandatoryPriorityLevelConfigurationCatchAll.Spec
		if apiequality.Semantic.DeepEqual(have, fixed) {
			return nil
		}
	default:
		return nil
	}
	return field.ErrorList{field.Invalid(specPath, goform.Of(p.Spec), fmt.Sprintf(text, p.Name))}
}

// mostEntropy is how many bits of a flow's hash there are to deal a hand from.
const mostEntropy = 60

// entropy is the number of bits that it takes to deal a hand of queues in any order.
func entropy(deck, hand int32) int {
	bits := 0.0
	for i := range min(hand, deck) {
		bits += math.Log2(float64(deck - i))
	}
	return int(math.Ceil(bits))
}

func validateLimited(l *flowcontrolv1.LimitedPriorityLevelConfiguration, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if n := deref(l.NominalConcurrencyShares, 0); n < 0 {
		errs = append(errs, field.Invalid(at.Child("nominalConcurrencyShares"), n, "must be a non-negative integer"))
	}
	if n := deref(l.LendablePercent, 0); n < 0 || n > 100 {
		errs = append(errs, field.Invalid(at.Child("lendablePercent"), n, "must be between 0 and 100, inclusive"))
	}
	if n := l.BorrowingLimitPercent; n != nil && *n < 0 {
		errs = append(errs, field.Invalid(at.Child("borrowingLimitPercent"), *n, "if specified, must be a non-negative integer"))
	}
	p, r := at.Child("limitResponse"), &l.LimitResponse
	bad := requiredOneOf(p.Child("type"), r.Type, flowcontrolv1.LimitResponseTypeQueue, flowcontrolv1.LimitResponseTypeReject)
	if r.Type != "" {
		errs = append(errs, bad...)
	}
	if r.Queuing != nil && r.Type != flowcontrolv1.LimitResponseTypeQueue {
		errs = append(errs, field.Forbidden(p.Child("queuing"), ""))
	}
	if r.Type == "" {
		errs = append(errs, bad...)
	}
	if r.Type != flowcontrolv1.LimitResponseTypeQueue {
		return errs
	}
	if r.Queuing == nil {
		return append(errs, field.Required(p.Child("queuing"), ""))
	}
	return append(errs, validateQueuing(r.Queuing, p.Child("queuing"))...)
}

func validateQueuing(q *flowcontrolv1.QueuingConfiguration, at *field.Path) field.ErrorList {
	const maxQueues = 10 * 1000 * 1000
	var errs field.ErrorList
	for name, n := range inOrder(named("queues", q.Queues), named("handSize", q.HandSize), named("queueLengthLimit", q.QueueLengthLimit)) {
		if n <= 0 {
			errs = append(errs, field.Invalid(at.Child(name), n, "must be positive"))
		}
	}
	if q.Queues > maxQueues {
		errs = append(errs, field.Invalid(at.Child("queues"), q.Queues, fmt.Sprintf("must not be greater than %d", maxQueues)))
	}
	if q.HandSize > q.Queues {
		errs = append(errs, field.Invalid(at.Child("handSize"), q.HandSize,
			fmt.Sprintf("should not be greater than queues (%d)", q.Queues)))
	}
	if bits := entropy(q.Queues, q.HandSize); bits > mostEntropy {
		errs = append(errs, field.Invalid(at.Child("handSize"), q.HandSize,
			fmt.Sprintf("required entropy bits of deckSize %d and handSize %d should not be greater than %d", q.Queues, q.HandSize, mostEntropy)))
	}
	return errs
}
