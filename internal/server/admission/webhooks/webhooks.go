// Package webhooks asks the webhooks of MutatingWebhookConfigurations and ValidatingWebhookConfigurations about writes.
//
// Mutating webhooks are called one after the other, in the order of their configurations' names, each seeing what those before it
// changed; one that asks for it is called once more when later ones changed the object. Validating webhooks are called at
// the same time. A webhook that cannot be called counts as its failurePolicy says. Dry runs reach only webhooks that promise to have no
// side effects. Configurations are followed by informers: a change is effective when the write of it has been answered, and on other
// servers of the cluster a moment later.
package webhooks

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/environment"

	"hyperkube/internal/client"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/admission/match"
	"hyperkube/internal/server/webhook"
)

// Config is what the plugins work with.
type Config struct {
	API        client.Interface
	Informers  *client.Informers
	Authorizer authorizer.UnconditionalAuthorizer
	Caller     *webhook.Caller
	Metrics    *Metrics
}

// hook is one webhook of either kind.
type hook struct {
	name        string
	owner       string // the configuration's name
	kind        string // mutating or validating
	target      webhook.Target
	timeout     time.Duration
	ignore      bool // failurePolicy
	quiet       bool // no side effects in dry runs
	reinvoke    bool
	apiVersions []string
	where       func() (*match.Constraints, error)
	conditions  func() (matchconditions.Matcher, error)
}

// set keeps the webhooks of one kind of configuration.
type set struct {
	now atomic.Pointer[[]*hook]
}

// follow keeps the webhooks of a kind of configuration in a set. What of a configuration has not changed stays compiled.
func follow[T client.Object](inf *client.Informer[T], read func(T) []*hook) *set {
	s := &set{}
	s.now.Store(&[]*hook{})
	var mu sync.Mutex
	known := map[string][]*hook{}
	inf.OnChange(func(_, _ T) {
		mu.Lock()
		defer mu.Unlock()
		all := inf.List()
		slices.SortFunc(all, func(a, b T) int { return cmp.Compare(a.GetName(), b.GetName()) })
		kept := map[string][]*hook{}
		var flat []*hook
		for _, c := range all {
			id := c.GetName() + "/" + string(c.GetUID()) + "/" + c.GetResourceVersion()
			if kept[id] = known[id]; kept[id] == nil {
				kept[id] = read(c)
			}
			flat = append(flat, kept[id]...)
		}
		known = kept
		s.now.Store(&flat)
	})
	return s
}

func (s *set) all() []*hook { return *s.now.Load() }

// common is what both kinds of webhooks say.
type common struct {
	name, kind   string
	owner        string
	client       admissionregistrationv1.WebhookClientConfig
	rules        []admissionregistrationv1.RuleWithOperations
	match        *admissionregistrationv1.MatchPolicyType
	resources    admissionregistrationv1.MatchResources
	conditions   []admissionregistrationv1.MatchCondition
	failure      *admissionregistrationv1.FailurePolicyType
	effects      *admissionregistrationv1.SideEffectClass
	timeout      *int32
	apiVersions  []string
	reinvocation *admissionregistrationv1.ReinvocationPolicyType
}

func (c common) hook() *hook {
	c.resources.MatchPolicy = c.match
	for _, r := range c.rules {
		c.resources.ResourceRules = append(c.resources.ResourceRules, admissionregistrationv1.NamedRuleWithOperations{RuleWithOperations: r})
	}
	h := &hook{
		name: c.name, owner: c.owner, kind: c.kind, target: target(c.client), timeout: 10 * time.Second, apiVersions: c.apiVersions,
		ignore:   c.failure != nil && *c.failure == admissionregistrationv1.Ignore,
		quiet:    c.effects != nil && (*c.effects == admissionregistrationv1.SideEffectClassNone || *c.effects == admissionregistrationv1.SideEffectClassNoneOnDryRun),
		reinvoke: c.reinvocation != nil && *c.reinvocation == admissionregistrationv1.IfNeededReinvocationPolicy,
	}
	if c.timeout != nil {
		h.timeout = time.Duration(*c.timeout) * time.Second
	}
	h.where = sync.OnceValues(func() (*match.Constraints, error) { return match.New(&c.resources) })
	h.conditions = sync.OnceValues(func() (matchconditions.Matcher, error) { return compile(c) })
	return h
}

func target(c admissionregistrationv1.WebhookClientConfig) webhook.Target {
	t := webhook.Target{CABundle: c.CABundle, Port: 443}
	if c.URL != nil {
		t.URL = *c.URL
	}
	if s := c.Service; s != nil {
		t.Namespace, t.Name = s.Namespace, s.Name
		if s.Port != nil {
			t.Port = *s.Port
		}
		if s.Path != nil {
			t.Path = *s.Path
		}
	}
	return t
}

// compile makes the match conditions of a webhook; nil when it has none.
func compile(c common) (matchconditions.Matcher, error) {
	if len(c.conditions) == 0 {
		return nil, nil
	}
	all := make([]plugincel.ExpressionAccessor, len(c.conditions))
	for i := range c.conditions {
		m := matchconditions.MatchCondition(c.conditions[i])
		all[i] = &m
	}
	env := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
	eval := plugincel.NewConditionCompiler(env).CompileCondition(all, plugincel.OptionalVariableDeclarations{HasAuthorizer: true}, environment.StoredExpressions)
	return matchconditions.NewMatcher(eval, c.failure, "webhook", c.kind, c.name), nil
}

// wants says whether a webhook is to be asked, and shows the write as it wants to see it.
func (h *hook) wants(ctx context.Context, cfg *Config, a *admission.Attributes) (*match.Input, error) {
	where, err := h.where()
	if err != nil {
		return nil, err
	}
	v, ok, err := where.Matches(ctx, cfg.API, a, false)
	if err != nil || !ok {
		return nil, err
	}
	in, err := match.NewInput(ctx, cfg.API, cfg.Authorizer, a, v)
	if err != nil {
		return nil, err
	}
	m, err := h.conditions()
	if err != nil {
		return nil, err
	}
	if ok, err := in.Passes(ctx, m, nil); err != nil {
		return nil, admission.Forbidden(a, err.Error())
	} else if !ok {
		return nil, nil
	}
	return in, nil
}

// failed is what becomes of a webhook that could not be asked.
func (h *hook) failed(a *admission.Attributes, at place, err error) error {
	if h.ignore {
		a.Annotate("failed-open."+h.kind+".webhook.admission.k8s.io/"+at.String(), h.name)
		slog.Default().Warn("a webhook could not be called and is left out", "component", "apiserver", "webhook", h.name, "error", err)
		return nil
	}
	return fmt.Errorf("failed calling webhook %q: %w", h.name, err)
}
