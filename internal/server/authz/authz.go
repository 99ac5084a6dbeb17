// Package authz decides whether a user may do what he asks for. [New] makes one [Authorizer] of the modes that are
// switched on, in their order: the first that allows wins, and what nobody allows is refused.
//
// Before any mode, members of system:masters may do everything, and the health paths are open to all. The
// modes are Node (kubelets: what the pods of their own node need), RBAC (roles and bindings), Webhook (who is asked by HTTPS, and may be
// for some requests only), ABAC (rules in a file), AlwaysAllow and AlwaysDeny. Modes that come from a configuration file may change while the server runs.
//
// RBAC and Node read from local copies that follow the API. Until these are complete, and the default roles have been
// created, a decision waits; after that it takes microseconds, allocates next to nothing and asks nobody but webhooks, whose answers are remembered.
// Safe for concurrent use.
package authz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"hyperkube/internal/client"
)

// The modes, as --authorization-mode names them.
const (
	ModeNode        = "Node"
	ModeRBAC        = "RBAC"
	ModeWebhook     = string(apiserver.TypeWebhook)
	ModeABAC        = "ABAC"
	ModeAlwaysAllow = "AlwaysAllow"
	ModeAlwaysDeny  = "AlwaysDeny"
)

// Decider decides on one request; the part of authorizer.Authorizer that callers need.
type Decider = authorizer.UnconditionalAuthorizer

// Config says who decides.
type Config struct {
	// Modes in order; empty: Node, RBAC.
	Modes []string
	// Webhook is asked in mode Webhook.
	Webhook *apiserver.WebhookConfiguration
	// PolicyFile has the rules of mode ABAC.
	PolicyFile string
	// ConfigFile is an AuthorizationConfiguration of apiserver.config.k8s.io/v1 in place of Modes and Webhook. It is followed.
	ConfigFile string
	// Informers over a client with all rights. Needed by Node and RBAC.
	Informers *client.Informers
	// API is that client.
	API client.Interface
	// AlwaysAllowPaths are open to everybody; a path may end in "*". nil: /healthz, /livez, /readyz.
	AlwaysAllowPaths []string
	// Bootstrapped, when set, is closed when the default roles exist: decisions of RBAC wait for it.
	Bootstrapped <-chan struct{}
	// StartTimeout bounds that wait; zero: 10 s.
	StartTimeout time.Duration
}

// Authorizer decides by all modes.
type Authorizer struct {
	cfg     Config
	paths   []string
	chain   atomic.Pointer[chain]
	metrics *metrics
	// RBAC is nil when that mode is off.
	RBAC *RBAC
	// Node is nil when that mode is off.
	Node *Node
}

var _ authorizer.Authorizer = (*Authorizer)(nil)

// New makes the authorizer. The informers are the caller's to start.
func New(c Config) (*Authorizer, error) {
	if c.AlwaysAllowPaths == nil {
		c.AlwaysAllowPaths = []string{"/healthz", "/livez", "/readyz"}
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = 10 * time.Second
	}
	list, digest, err := c.authorizers()
	if err != nil {
		return nil, err
	}
	a := &Authorizer{cfg: c, paths: c.AlwaysAllowPaths, metrics: newMetrics()}
	for _, one := range list {
		if (one.Type == ModeNode || one.Type == ModeRBAC) && (c.Informers == nil || c.API == nil) {
			return nil, fmt.Errorf("authorization mode %s needs informers", one.Type)
		}
		switch {
		case one.Type == ModeNode && a.Node == nil:
			a.Node = newNode(&c)
		case one.Type == ModeRBAC && a.RBAC == nil:
			a.RBAC = newRBAC(&c)
		}
	}
	first, err := a.newChain(list, digest)
	if err != nil {
		return nil, err
	}
	a.chain.Store(first)
	a.metrics.reloads.Using(digest)
	return a, nil
}

func decide(d authorizer.Decision, reason string) Decider {
	return authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
		return d, reason, nil
	})
}

// Authorize decides on one request.
func (a *Authorizer) Authorize(ctx context.Context, at authorizer.Attributes) (authorizer.Decision, string, error) {
	u := at.GetUser()
	if u == nil {
		return authorizer.DecisionDeny, "", errors.New("no user on the request")
	}
	if slices.Contains(u.GetGroups(), user.SystemPrivilegedGroup) {
		return authorizer.DecisionAllow, "", nil
	}
	if !at.IsResourceRequest() && a.open(at.GetPath()) {
		return authorizer.DecisionAllow, "", nil
	}
	return a.chain.Load().Authorize(ctx, at)
}

func (a *Authorizer) open(path string) bool {
	for _, p := range a.paths {
		if matchPath(p, path) {
			return true
		}
	}
	return false
}

// ConditionsAwareAuthorize is Authorize: no mode here makes conditional decisions.
func (a *Authorizer) ConditionsAwareAuthorize(ctx context.Context, at authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(a.Authorize(ctx, at))
}

// EvaluateConditions refuses: see ConditionsAwareAuthorize.
func (a *Authorizer) EvaluateConditions(context.Context, authorizer.ConditionsAwareDecision, authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", authorizer.ErrorConditionEvaluationNotSupported
}

// Ready is a readiness check: nil when decisions no longer wait.
func (a *Authorizer) Ready(context.Context) error {
	if a.RBAC != nil && !a.RBAC.gate.passed() {
		return errors.New("roles and bindings are not read yet")
	}
	return nil
}
