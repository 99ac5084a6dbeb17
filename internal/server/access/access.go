// Package access plugs into an API server who may do what: authentication, impersonation, authorization, admission, the
// reviews that ask for each of them, the issue of service-account tokens, and the objects that every cluster starts with.
//
// [Wire] is meant for server.Config.Wire. It starts nothing itself: informers and bootstrap run in the background of the
// server, and readiness checks tell when they are done.
package access

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/server"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/admission/plugins"
	"hyperkube/internal/server/admission/policies"
	"hyperkube/internal/server/admission/webhooks"
	"hyperkube/internal/server/authn"
	"hyperkube/internal/server/authz"
	"hyperkube/internal/server/bootstrap"
	"hyperkube/internal/server/request"
	"hyperkube/internal/server/webhook"
)

// Config gathers the parts' own configurations. Clients and informers in them are filled in by Wire.
type Config struct {
	Authn     authn.Config
	Authz     authz.Config
	Admission plugins.Config
	Bootstrap bootstrap.Config
}

// Wire returns the function that fills in the parts.
func Wire(cfg Config) func(client.Interface, *server.Parts) error {
	return func(c client.Interface, p *server.Parts) error {
		informers := client.NewInformers(c)
		first := bootstrap.New(c, cfg.Bootstrap)
		cfg.Authn.API = c
		who, err := authn.New(cfg.Authn)
		if err != nil {
			return fmt.Errorf("authentication: %w", err)
		}
		cfg.Authz.API, cfg.Authz.Informers = c, informers
		if cfg.Authz.Bootstrapped == nil && !cfg.Bootstrap.SkipRBAC {
			known := make(chan struct{})
			cfg.Authz.Bootstrapped = known
			p.Background = append(p.Background, rolesKnown(informers, first.Done(), known))
		}
		may, err := authz.New(cfg.Authz)
		if err != nil {
			return fmt.Errorf("authorization: %w", err)
		}
		cfg.Admission.API, cfg.Admission.Informers, cfg.Admission.Authorizer, cfg.Admission.Table = c, informers, may, p.Table
		if sa := cfg.Authn.ServiceAccounts; sa != nil && cfg.Admission.Audiences == nil {
			cfg.Admission.Audiences = sa.Audiences
		}
		own := []admission.Plugin{requester{}}
		if may.RBAC != nil {
			own = append(own, authz.NewEscalation(may))
		}
		rules := policies.Config{API: c, Informers: informers, Table: p.Table, Authorizer: may, Metrics: policies.NewMetrics()}
		hooks := webhooks.Config{API: c, Informers: informers, Authorizer: may, Caller: webhook.New(c), Metrics: webhooks.NewMetrics()}
		if p.Metrics != nil {
			p.Metrics.MustRegister(append(rules.Metrics.Collectors(), hooks.Metrics.Collectors()...)...)
		}
		own = append(own, policies.NewMutating(rules), webhooks.NewMutating(hooks), policies.NewValidating(rules), webhooks.NewValidating(hooks))
		cfg.Admission.Extra = append(own, cfg.Admission.Extra...)
		if p.Admission, err = plugins.Default(cfg.Admission); err != nil {
			return err
		}
		p.Followed = followed(informers)
		if p.Limited, err = cfg.Admission.Settings.LimitedResources(); err != nil {
			return fmt.Errorf("admission plugin ResourceQuota: %w", err)
		}
		p.NoQuota = slices.Contains(cfg.Admission.Disable, "ResourceQuota")
		p.Authenticator, p.Authorizer, p.Impersonate = who, may, who.Impersonation(may)
		reviews(p, who, may)
		if p.Handlers == nil {
			p.Handlers = map[string]http.Handler{}
		}
		maps.Copy(p.Handlers, who.Handlers())
		synced := make(chan struct{})
		if p.Metrics != nil {
			p.Metrics.MustRegister(append(who.Collectors(), may.Collectors()...)...)
		}
		if cfg.Authn.ServiceAccounts != nil {
			p.Background = append(p.Background, authn.NewTracking(c, informers, first.Done()).Run)
		}
		p.Background = append(p.Background, first.Run, who.Run, may.Run, func(ctx context.Context) error {
			informers.Start(ctx)
			if informers.WaitForSync(ctx) == nil {
				close(synced)
			}
			<-ctx.Done()
			return nil
		})
		p.Checks = append(p.Checks,
			server.Check{Name: "poststarthook/rbac/bootstrap-roles", Func: first.Ready},
			server.Check{Name: "authorizer", Func: may.Ready},
			server.Check{Name: "informer-sync", Func: func(context.Context) error {
				select {
				case <-synced:
					return nil
				default:
					return errors.New("informers have not read everything yet")
				}
			}})
		return nil
	}
}

type create = func(context.Context, *request.Request, object.Object, metav1.CreateOptions) (object.Object, error)

// reviews adds the handlers of the kinds that are answered, not stored.
func reviews(p *server.Parts, who *authn.Authenticator, may *authz.Authorizer) {
	if p.Subresources == nil {
		p.Subresources = map[schema.GroupResource]map[string]server.SubresourceHandler{}
	}
	add := func(group, resource, sub string, empty func() object.Object, f create) {
		gr := schema.GroupResource{Group: group, Resource: resource}
		if p.Subresources[gr] == nil {
			p.Subresources[gr] = map[string]server.SubresourceHandler{}
		}
		p.Subresources[gr][sub] = server.SubresourceHandler{New: empty, Create: f}
	}
	add(authnv1.GroupName, "tokenreviews", "", func() object.Object { return &authnv1.TokenReview{} }, who.TokenReview)
	add(authnv1.GroupName, "selfsubjectreviews", "", func() object.Object { return &authnv1.SelfSubjectReview{} }, authn.SelfSubjectReview)
	if who.Issuer != nil {
		add("", "serviceaccounts", "token", func() object.Object { return &authnv1.TokenRequest{} }, who.Issuer.Create)
	}
	r := authz.NewReviews(may)
	add(authzv1.GroupName, "subjectaccessreviews", "", func() object.Object { return &authzv1.SubjectAccessReview{} }, r.SubjectAccessReview)
	add(authzv1.GroupName, "localsubjectaccessreviews", "", func() object.Object { return &authzv1.LocalSubjectAccessReview{} }, r.LocalSubjectAccessReview)
	add(authzv1.GroupName, "selfsubjectaccessreviews", "", func() object.Object { return &authzv1.SelfSubjectAccessReview{} }, r.SelfSubjectAccessReview)
	add(authzv1.GroupName, "selfsubjectrulesreviews", "", func() object.Object { return &authzv1.SelfSubjectRulesReview{} }, r.SelfSubjectRulesReview)
}
