package fairness

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"

	"hyperkube/internal/client"
)

// autoUpdate is on default objects that follow this server's version; users switch it off to keep their own.
const autoUpdate = flowcontrolv1.AutoUpdateAnnotationKey

// Who manages the fields of the default objects, and of the status of schemas.
const (
	producer = "api-priority-and-fairness-config-producer-v1"
	consumer = "api-priority-and-fairness-config-consumer-v1"
)

// defaultShares of a level that does not say.
const defaultShares = 30

// defaults are upstream's objects, those that must be first.
func defaults() ([]*flowcontrolv1.FlowSchema, []*flowcontrolv1.PriorityLevelConfiguration) {
	return slices.Concat(bootstrap.MandatoryFlowSchemas, bootstrap.SuggestedFlowSchemas),
		slices.Concat(bootstrap.MandatoryPriorityLevelConfigurations, bootstrap.SuggestedPriorityLevelConfigurations)
}

func mandatory(name string) bool {
	return name == flowcontrolv1.FlowSchemaNameExempt || name == flowcontrolv1.FlowSchemaNameCatchAll
}

// reconcile makes and updates the default objects, takes the configuration over and tells which schemas name no level.
func (f *Fairness) reconcile(ctx context.Context) error {
	s, l := defaults()
	haveLevels, errLevels := ensure(ctx, f.cfg.API, levels, l, f.levels.List(), func(a *flowcontrolv1.PriorityLevelConfiguration) any { return a.Spec },
		func(a, from *flowcontrolv1.PriorityLevelConfiguration) { a.Spec = from.Spec })
	haveSchemas, errSchemas := ensure(ctx, f.cfg.API, schemas, s, f.schemas.List(), func(a *flowcontrolv1.FlowSchema) any { return a.Spec },
		func(a, from *flowcontrolv1.FlowSchema) { a.Spec = from.Spec })
	f.configure(haveSchemas, haveLevels)
	err := errors.Join(errLevels, errSchemas)
	if err == nil {
		f.begin()
	}
	told := map[types.UID]string{}
	for _, s := range haveSchemas {
		told[s.UID] = f.told[s.UID]
	}
	f.told = told // without those that are gone
	for _, s := range haveSchemas {
		dangling := !slices.ContainsFunc(haveLevels, func(l *flowcontrolv1.PriorityLevelConfiguration) bool {
			return l.Name == s.Spec.PriorityLevelConfiguration.Name
		})
		err = errors.Join(err, f.tell(ctx, s, dangling))
	}
	return err
}

// ensure makes the objects that are missing, many at once, and gives those there are the specification of this version unless a user keeps
// another. It returns all that are there then.
func ensure[T interface {
	client.Object
	DeepCopy() T
}](ctx context.Context, c client.Interface, r client.Resource[T], want, have []T, spec func(T) any, set func(T, T)) ([]T, error) {
	now, there, errs := make([]T, len(want)), make([]bool, len(want)), make([]error, len(want))
	rest := slices.Clone(have)
	var all errgroup.Group
	all.SetLimit(8)
	for n, w := range want {
		i := slices.IndexFunc(rest, func(h T) bool { return h.GetName() == w.GetName() })
		if i >= 0 {
			now[n], there[n] = rest[i], true
			rest = slices.Delete(rest, i, i+1)
		}
		all.Go(func() error {
			if i < 0 {
				now[n], errs[n] = provide(ctx, c, r, w)
				there[n] = errs[n] == nil
			} else if outdated(w, now[n], spec) {
				next := now[n].DeepCopy()
				set(next, w)
				_, err := r.UpdateAs(ctx, c, next, producer)
				errs[n] = changed(err)
			}
			return nil
		})
	}
	_ = all.Wait() // which tells of no error
	for n := range want {
		if there[n] {
			rest = append(rest, now[n])
		}
	}
	return rest, errors.Join(errs...)
}

// provide makes a default object, unless another server has.
func provide[T interface {
	client.Object
	DeepCopy() T
}](ctx context.Context, c client.Interface, r client.Resource[T], want T) (T, error) {
	next := want.DeepCopy()
	next.SetAnnotations(map[string]string{autoUpdate: "true"})
	made, err := r.CreateAs(ctx, c, next, producer)
	if apierrors.IsAlreadyExists(err) {
		return r.Get(ctx, c, "", want.GetName())
	}
	return made, err
}

// outdated says whether an object follows this server's version and is of another.
func outdated[T client.Object](want, have T, spec func(T) any) bool {
	follows := have.GetAnnotations()[autoUpdate] == "true" || mandatory(want.GetName())
	if !follows || apiequality.Semantic.DeepEqual(spec(have), spec(want)) {
		return false
	}
	// What users may say of the mandatory objects is their shares alone, which validation sees to.
	return !mandatory(want.GetName()) || have.GetAnnotations()[autoUpdate] != "false"
}

// changed forgives that an object is not as it was when it was read: the informer tells how it is now.
func changed(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// tell writes whether the level of a schema is missing.
func (f *Fairness) tell(ctx context.Context, s *flowcontrolv1.FlowSchema, dangling bool) error {
	cond := flowcontrolv1.FlowSchemaCondition{Type: flowcontrolv1.FlowSchemaConditionDangling, Status: flowcontrolv1.ConditionFalse, Reason: "Found",
		Message: "This FlowSchema references the PriorityLevelConfiguration object named \"" + s.Spec.PriorityLevelConfiguration.Name + "\" and it exists"}
	if dangling {
		cond.Status, cond.Reason = flowcontrolv1.ConditionTrue, "NotFound"
		cond.Message = "This FlowSchema references the PriorityLevelConfiguration object named \"" + s.Spec.PriorityLevelConfiguration.Name + "\" but there is no such object"
	}
	cond.LastTransitionTime = metav1.NewTime(f.cfg.Now().Truncate(time.Second))
	next := s.DeepCopy()
	i := slices.IndexFunc(next.Status.Conditions, func(c flowcontrolv1.FlowSchemaCondition) bool { return c.Type == cond.Type })
	switch {
	case i < 0:
		next.Status.Conditions = append(next.Status.Conditions, cond)
	case next.Status.Conditions[i].Status == cond.Status && next.Status.Conditions[i].Message == cond.Message:
		return nil
	default:
		next.Status.Conditions[i] = cond
	}
	// What was written is only known from the informer in a moment; until then, the same would be written again.
	if f.told[s.UID] == s.ResourceVersion {
		return nil
	}
	// Not applied, which would have every server read the schemas of all kinds as it starts.
	_, err := schemas.UpdateAs(ctx, f.cfg.API, next, consumer, "status")
	if err == nil {
		f.told[s.UID] = s.ResourceVersion
	}
	return changed(err)
}

// configure takes schemas and levels over. Requests that are served or wait stay where they are.
func (f *Fairness) configure(s []*flowcontrolv1.FlowSchema, l []*flowcontrolv1.PriorityLevelConfiguration) {
	byName := map[string]*flowcontrolv1.PriorityLevelConfiguration{}
	for _, p := range bootstrap.MandatoryPriorityLevelConfigurations {
		byName[p.Name] = p // in case they were deleted
	}
	for _, p := range l {
		byName[p.Name] = p
	}
	held := f.dispatch.configure(byName)
	have := map[string]*flowcontrolv1.FlowSchema{}
	for _, m := range slices.Concat(bootstrap.MandatoryFlowSchemas, s) {
		have[m.Name] = m
	}
	var rules []*rule
	for _, s := range have {
		level := held[s.Spec.PriorityLevelConfiguration.Name]
		if level == nil {
			continue
		}
		r := &rule{name: s.Name, uid: s.UID, levelUID: byName[level.name].UID, precedence: s.Spec.MatchingPrecedence, level: level, rules: s.Spec.Rules}
		if s.Spec.DistinguisherMethod != nil {
			r.by = s.Spec.DistinguisherMethod.Type
		}
		rules = append(rules, r)
	}
	// The exempt schema is first and the one for all last, whatever they say.
	slices.SortFunc(rules, func(a, b *rule) int {
		return cmp.Or(cmp.Compare(place(a.name), place(b.name)), cmp.Compare(a.precedence, b.precedence), strings.Compare(a.name, b.name))
	})
	f.mu.Lock()
	f.rules = rules
	f.mu.Unlock()
}

func place(name string) int {
	switch name {
	case flowcontrolv1.FlowSchemaNameExempt:
		return 0
	case flowcontrolv1.FlowSchemaNameCatchAll:
		return 2
	}
	return 1
}

// configure divides the seats by the levels' shares.
func (d *dispatcher) configure(all map[string]*flowcontrolv1.PriorityLevelConfiguration) map[string]*level {
	d.mu.Lock()
	defer d.mu.Unlock()
	sum := int64(0)
	for _, p := range all {
		sum += int64(shares(p))
	}
	for name, l := range d.levels {
		if all[name] == nil {
			// Nothing new comes in; who waits is served before it is forgotten.
			l.nominal, l.reserved, l.leaving = 0, 0, true // it has its seats until then
			if l.running+l.waiting == 0 {
				delete(d.levels, name)
			}
		}
	}
	for name, p := range all {
		l, isNew := d.levels[name], false
		if l == nil {
			l, isNew = newLevel(name, d.now()), true
			d.levels[name] = l
		}
		l.leaving = false
		l.exempt = p.Spec.Type == flowcontrolv1.PriorityLevelEnablementExempt
		if sum > 0 {
			l.nominal = int((int64(d.total)*int64(shares(p)) + sum - 1) / sum)
		}
		l.limit(p, d.total)
		l.setWidest()
		if isNew {
			l.current = l.nominal
		}
		l.current = min(max(l.current, l.reserved), l.most)
	}
	d.order = slices.SortedFunc(maps.Values(d.levels), func(a, b *level) int { return strings.Compare(a.name, b.name) })
	for _, l := range d.order {
		d.tick(l)
		d.serve(l)
		l.changed(d.now())
	}
	current := maps.Clone(d.levels)
	maps.DeleteFunc(current, func(name string, _ *level) bool { return all[name] == nil })
	return current
}

// limit sets what a level keeps, may borrow and lets wait.
func (l *level) limit(p *flowcontrolv1.PriorityLevelConfiguration, total int) {
	lendable, queuing := int32(0), (*flowcontrolv1.QueuingConfiguration)(nil)
	l.most = total
	if lim := p.Spec.Limited; lim != nil {
		l.most = l.nominal + total
		lendable = value(lim.LendablePercent, 0)
		if lim.BorrowingLimitPercent != nil {
			l.most = l.nominal + int(*lim.BorrowingLimitPercent)*l.nominal/100
		}
		if lim.LimitResponse.Type == flowcontrolv1.LimitResponseTypeQueue {
			queuing = lim.LimitResponse.Queuing
		}
	}
	if e := p.Spec.Exempt; e != nil {
		lendable = value(e.LendablePercent, 0)
	}
	l.reserved = l.nominal - (l.nominal*int(lendable)+50)/100
	if queuing == nil {
		if l.waiting == 0 {
			l.queues, l.busy = nil, 0
		}
		l.length = 0
		return
	}
	l.length, l.hand = int(queuing.QueueLengthLimit), int(queuing.HandSize)
	// Queues become fewer only when nobody is in them: tickets know theirs by number.
	if n := int(queuing.Queues); n > len(l.queues) || l.running+l.waiting == 0 {
		l.queues = append(make([]queue, 0, n), l.queues[:min(n, len(l.queues))]...)
		l.queues = l.queues[:n]
	}
}

func shares(p *flowcontrolv1.PriorityLevelConfiguration) int32 {
	if p.Spec.Limited != nil {
		return value(p.Spec.Limited.NominalConcurrencyShares, defaultShares)
	}
	if p.Spec.Exempt != nil {
		return value(p.Spec.Exempt.NominalConcurrencyShares, 0)
	}
	return 0
}

func value(p *int32, otherwise int32) int32 {
	if p == nil {
		return otherwise
	}
	return *p
}
