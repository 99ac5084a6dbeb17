package authz

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/apis/apiserver"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"

	"hyperkube/internal/config"
)

// chain is one state of the modes in their order. It is never changed.
type chain struct {
	members []member
	digest  [32]byte
}

// member decides by one mode.
type member struct {
	kind string
	Decider
	allowed, denied prometheus.Counter
}

// Authorize takes the word of the first that has an opinion.
func (c *chain) Authorize(ctx context.Context, at authorizer.Attributes) (authorizer.Decision, string, error) {
	var reasons []string
	var errs []error
	for i := range c.members {
		m := &c.members[i]
		d, reason, err := m.Decider.Authorize(ctx, at)
		if err != nil {
			errs = append(errs, err)
		}
		if reason != "" && d != authorizer.DecisionAllow {
			reasons = append(reasons, reason)
		}
		switch d {
		case authorizer.DecisionAllow:
			m.allowed.Inc()
			return d, reason, err
		case authorizer.DecisionDeny:
			m.denied.Inc()
			return d, reason, err
		}
	}
	return authorizer.DecisionNoOpinion, strings.Join(reasons, "\n"), utilerrors.NewAggregate(errs)
}

func (c *chain) has(kind string) bool {
	for _, m := range c.members {
		if m.kind == kind {
			return true
		}
	}
	return false
}

// newChain makes the members. RBAC and Node are those that run already.
func (a *Authorizer) newChain(list []apiserver.AuthorizerConfiguration, digest [32]byte) (*chain, error) {
	c := &chain{digest: digest}
	for _, one := range list {
		d, err := a.decider(&one)
		if err != nil {
			return nil, err
		}
		c.members = append(c.members, member{kind: string(one.Type), Decider: d,
			allowed: a.metrics.decisions.WithLabelValues("allowed", one.Name, string(one.Type)),
			denied:  a.metrics.decisions.WithLabelValues("denied", one.Name, string(one.Type))})
	}
	return c, nil
}

func (a *Authorizer) decider(c *apiserver.AuthorizerConfiguration) (Decider, error) {
	switch string(c.Type) {
	case ModeNode:
		if a.Node == nil {
			return nil, fmt.Errorf("authorizer %s: the Node authorizer can be added by a restart only", c.Name)
		}
		return a.Node, nil
	case ModeRBAC:
		if a.RBAC == nil {
			return nil, fmt.Errorf("authorizer %s: the RBAC authorizer can be added by a restart only", c.Name)
		}
		return a.RBAC, nil
	case ModeAlwaysAllow:
		return decide(authorizer.DecisionAllow, ""), nil
	case ModeAlwaysDeny:
		return decide(authorizer.DecisionNoOpinion, "Everything is forbidden."), nil
	case ModeABAC:
		return readRules(a.cfg.PolicyFile)
	case ModeWebhook:
		return newWebhook(c.Name, c.Webhook, a.metrics)
	}
	return nil, fmt.Errorf("unknown authorization mode %q: known are %s", c.Type, strings.Join(sets.List(modes), ", "))
}

// modes of flags; a configuration file cannot say where the rules of ABAC are.
var (
	modes     = sets.New(ModeNode, ModeRBAC, ModeWebhook, ModeABAC, ModeAlwaysAllow, ModeAlwaysDeny)
	fileModes = modes.Difference(sets.New(ModeABAC))
)

// UsesRBAC says whether the mode RBAC is among the modes.
func (c *Config) UsesRBAC() (bool, error) {
	list, _, err := c.authorizers()
	for _, one := range list {
		if one.Type == ModeRBAC {
			return true, err
		}
	}
	return false, err
}

// authorizers are the modes in their order, from the file or the fields.
func (c *Config) authorizers() ([]apiserver.AuthorizerConfiguration, [32]byte, error) {
	if c.ConfigFile != "" {
		return readConfiguration(c.ConfigFile)
	}
	names := c.Modes
	if len(names) == 0 {
		names = []string{ModeNode, ModeRBAC}
	}
	var list []apiserver.AuthorizerConfiguration
	seen := map[string]bool{}
	for _, n := range names {
		if seen[n] {
			return nil, [32]byte{}, fmt.Errorf("--authorization-mode: %s is given twice", n)
		}
		seen[n] = true
		one := apiserver.AuthorizerConfiguration{Type: apiserver.AuthorizerType(n), Name: strings.ToLower(n)}
		if n == ModeWebhook {
			if c.Webhook == nil {
				return nil, [32]byte{}, fmt.Errorf("--authorization-mode: Webhook needs --authorization-webhook-config-file")
			}
			one.Name, one.Webhook = "default", c.Webhook
		}
		if n == ModeABAC && c.PolicyFile == "" {
			return nil, [32]byte{}, fmt.Errorf("--authorization-mode: ABAC needs --authorization-policy-file")
		}
		if !modes.Has(n) {
			return nil, [32]byte{}, fmt.Errorf("--authorization-mode: unknown authorization mode %q: known are %s", n, strings.Join(sets.List(modes), ", "))
		}
		list = append(list, one)
	}
	if c.Webhook != nil && !seen[ModeWebhook] {
		return nil, [32]byte{}, fmt.Errorf("--authorization-webhook-config-file needs the mode Webhook in --authorization-mode")
	}
	if c.PolicyFile != "" && !seen[ModeABAC] {
		return nil, [32]byte{}, fmt.Errorf("--authorization-policy-file needs the mode ABAC in --authorization-mode")
	}
	return list, [32]byte{}, nil
}

func readConfiguration(path string) ([]apiserver.AuthorizerConfiguration, [32]byte, error) {
	fail := func(err error) ([]apiserver.AuthorizerConfiguration, [32]byte, error) {
		return nil, [32]byte{}, fmt.Errorf("--authorization-config: %w", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fail(err)
	}
	var doc apiserverv1.AuthorizationConfiguration
	if err := config.LoadKind(path, apiserverv1.SchemeGroupVersion.WithKind("AuthorizationConfiguration"), &doc, "v1beta1"); err != nil {
		return fail(err)
	}
	for i := range doc.Authorizers {
		if w := doc.Authorizers[i].Webhook; w != nil {
			apiserverv1.SetDefaults_WebhookConfiguration(w)
		}
	}
	var in apiserver.AuthorizationConfiguration
	if err := apiserverv1.Convert_v1_AuthorizationConfiguration_To_apiserver_AuthorizationConfiguration(&doc, &in, nil); err != nil {
		return fail(err)
	}
	errs := validation.ValidateAuthorizationConfiguration(authorizationcel.NewDefaultCompiler(), nil, &in, fileModes, sets.New(ModeWebhook))
	if len(errs) > 0 {
		return fail(fmt.Errorf("configuration file %s: %w", path, errs.ToAggregate()))
	}
	return in.Authorizers, sha256.Sum256(data), nil
}

// Run follows the configuration file until ctx ends.
func (a *Authorizer) Run(ctx context.Context) error {
	if a.cfg.ConfigFile == "" {
		<-ctx.Done()
		return nil
	}
	return config.Follow(ctx, a.cfg.ConfigFile, a.chain.Load().digest, a.reload)
}

// reload takes the file's new content, unless something about it is wrong.
func (a *Authorizer) reload() {
	log := slog.Default().With("component", "authz", "file", a.cfg.ConfigFile)
	list, digest, err := a.cfg.authorizers()
	var next *chain
	if err == nil {
		next, err = a.newChain(list, digest)
	}
	a.metrics.reloads.Tried(digest, err)
	if err != nil {
		log.Error("the new authorization configuration is not taken; the old one stays", "err", err)
		return
	}
	a.chain.Store(next)
	log.Info("a new authorization configuration is in use")
}
