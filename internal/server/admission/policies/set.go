package policies

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/server/admission/match"
)

// bound is a policy, compiled at its first use, with the bindings that make it effective.
type bound[P, C any] struct {
	policy   P
	bindings []binding
	compiled func() (C, error)
	where    func() (*match.Constraints, error)
}

// binding is what of a binding both kinds have in common.
type binding struct {
	name    string
	params  *admissionregistrationv1.ParamRef
	actions []admissionregistrationv1.ValidationAction
	where   func() (*match.Constraints, error)
}

// set keeps the effective policies of one kind, in the order of their names.
type set[P client.Object, B client.Object, C any] struct {
	policies *client.Informer[P]
	bindings *client.Informer[B]
	compile  func(P) (C, error)
	limits   func(P) *admissionregistrationv1.MatchResources
	read     func(B) (policy string, b binding)

	now atomic.Pointer[[]*bound[P, C]]
	mu  sync.Mutex
	old map[string]*bound[P, C] // by name: what was compiled stays while the policy does not change
}

func newSet[P client.Object, B client.Object, C any](policies *client.Informer[P], bindings *client.Informer[B], compile func(P) (C, error),
	limits func(P) *admissionregistrationv1.MatchResources, read func(B) (string, binding)) *set[P, B, C] {
	s := &set[P, B, C]{policies: policies, bindings: bindings, compile: compile, limits: limits, read: read, old: map[string]*bound[P, C]{}}
	s.now.Store(&[]*bound[P, C]{})
	policies.OnChange(func(_, _ P) { s.rebuild() })
	bindings.OnChange(func(_, _ B) { s.rebuild() })
	return s
}

func (s *set[P, B, C]) rebuild() {
	s.mu.Lock()
	defer s.mu.Unlock()
	byPolicy := map[string][]binding{}
	for _, b := range s.bindings.List() {
		policy, got := s.read(b)
		byPolicy[policy] = append(byPolicy[policy], got)
	}
	kept := map[string]*bound[P, C]{}
	var all []*bound[P, C]
	for _, p := range s.policies.List() {
		list := byPolicy[p.GetName()]
		if len(list) == 0 {
			continue
		}
		slices.SortFunc(list, func(a, b binding) int { return cmp.Compare(a.name, b.name) })
		b := &bound[P, C]{policy: p, bindings: list}
		if was := s.old[p.GetName()]; was != nil && was.policy.GetUID() == p.GetUID() && was.policy.GetGeneration() == p.GetGeneration() {
			b.compiled, b.where = was.compiled, was.where
		} else {
			b.compiled = sync.OnceValues(func() (C, error) { return s.compile(p) })
			b.where = sync.OnceValues(func() (*match.Constraints, error) { return match.New(s.limits(p)) })
		}
		kept[p.GetName()] = b
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b *bound[P, C]) int { return cmp.Compare(a.policy.GetName(), b.policy.GetName()) })
	s.old = kept
	s.now.Store(&all)
}

func (s *set[P, B, C]) effective() []*bound[P, C] { return *s.now.Load() }
