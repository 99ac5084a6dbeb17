// Package aggregation fills ClusterRoles that have an aggregationRule with the rules of the roles that it selects.
//
// Watches: ClusterRoles. Writes: the rules of aggregated ClusterRoles.
package aggregation

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
)

// Name is upstream's name of the controller.
const Name = "clusterrole-aggregation-controller"

type controller struct {
	client  client.Interface
	roles   *client.Informer[*rbacv1.ClusterRole]
	queue   *client.Queue[string]
	workers int
}

// aggregated is the index of the roles that collect others' rules.
const aggregated = "aggregation/aggregated"

// New registers the controller.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{
		client:  d.Client("clusterrole-aggregation-controller"),
		roles:   client.InformerFor(d.Informers, client.ClusterRoles),
		queue:   client.NewQueue[string](Name),
		workers: workers,
	}
	c.roles.AddIndex(aggregated, func(r *rbacv1.ClusterRole) []string {
		if r.AggregationRule != nil {
			return []string{""}
		}
		return nil
	})
	// Any role may be selected by any other.
	c.roles.OnChange(func(_, _ *rbacv1.ClusterRole) {
		for _, r := range c.roles.ByIndex(aggregated, "") {
			c.queue.Add(r.Name)
		}
	})
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func (c *controller) reconcile(ctx context.Context, name string) error {
	role, ok := c.roles.Get("", name)
	if !ok || role.AggregationRule == nil {
		return nil
	}
	rules, err := collect(role, c.roles.List())
	if err != nil {
		return err
	}
	if apiequality.Semantic.DeepEqual(rules, role.Rules) {
		return nil
	}
	next := role.DeepCopy()
	next.Rules = rules
	_, err = client.ClusterRoles.Update(ctx, c.client, next)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// collect unites the rules of the roles selected, each rule once, in the order of the selectors and of the roles' names.
func collect(role *rbacv1.ClusterRole, all []*rbacv1.ClusterRole) ([]rbacv1.PolicyRule, error) {
	all = slices.SortedFunc(slices.Values(all), func(a, b *rbacv1.ClusterRole) int { return cmp.Compare(a.Name, b.Name) })
	var rules []rbacv1.PolicyRule
	for i := range role.AggregationRule.ClusterRoleSelectors {
		sel, err := metav1.LabelSelectorAsSelector(&role.AggregationRule.ClusterRoleSelectors[i])
		if err != nil {
			return nil, fmt.Errorf("cluster role %s: selector %d: %w", role.Name, i, err)
		}
		for _, r := range all {
			if r.Name == role.Name || !sel.Matches(labels.Set(r.Labels)) {
				continue
			}
			for _, rule := range r.Rules {
				if !slices.ContainsFunc(rules, func(x rbacv1.PolicyRule) bool { return apiequality.Semantic.DeepEqual(x, rule) }) {
					rules = append(rules, rule)
				}
			}
		}
	}
	return rules, nil
}
