// Package policystatus checks the expressions of ValidatingAdmissionPolicies against the schemas of the kinds that they are for, and writes
// what does not fit into their status (KEP-3488): a field that no object of the kind has is a mistake that otherwise only shows when
// the policy judges something.
//
// Watches: ValidatingAdmissionPolicies. Writes: their status. Schemas are read from the API server's OpenAPI documents once for each
// generation of a policy. What is found changes nothing about how the policy works.
//
// Not checked are rules with wildcards, kinds beyond the tenth in the order of group, version and resource, and parameters of a kind that
// has no schema (https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#type-checking).
package policystatus

import (
	"context"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
)

// Name is upstream's name of the controller.
const Name = "validatingadmissionpolicy-status-controller"

type policy = admissionregistrationv1.ValidatingAdmissionPolicy

var policies = client.Resource[*policy]{GVR: admissionregistrationv1.SchemeGroupVersion.WithResource("validatingadmissionpolicies")}

type controller struct {
	workers int
	client  client.Interface
	all     *client.Informer[*policy]
	queue   *client.Queue[string]
}

// New registers the controller.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{workers: workers, client: d.Client(Name), all: client.InformerFor(d.Informers, policies), queue: client.NewQueue[string](Name)}
	c.all.OnChange(func(_, new *policy) {
		if new != nil && !checked(new) {
			c.queue.Add(new.Name)
		}
	})
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

// checked says whether the status is of the policy as it is now.
func checked(p *policy) bool {
	return p.Status.TypeChecking != nil && p.Status.ObservedGeneration == p.Generation
}

func (c *controller) reconcile(ctx context.Context, name string) error {
	p, ok := c.all.Get("", name)
	if !ok || checked(p) {
		return nil
	}
	warnings, err := check(p, newSchemas(ctx, c.client))
	if err != nil {
		return err
	}
	next := p.DeepCopy()
	next.Status.ObservedGeneration = p.Generation
	next.Status.TypeChecking = &admissionregistrationv1.TypeChecking{ExpressionWarnings: warnings}
	_, err = policies.UpdateStatus(ctx, c.client, next)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // it has changed, which the informer tells of
	}
	return err
}
