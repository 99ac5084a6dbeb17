package server

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	quotaconfig "k8s.io/apiserver/pkg/admission/plugin/resourcequota/apis/resourcequota/v1"

	"hyperkube/internal/object/quota"
)

// limited refuses what the configuration of ResourceQuota keeps for namespaces whose quotas allow for it
// (https://kubernetes.io/docs/concepts/policy/resource-quotas/#limit-priority-class-consumption-by-default). inScope are the
// quotas that the object falls under.
func (d *demand) limited(rules []quotaconfig.LimitedResource, inScope []*corev1.ResourceQuota) error {
	for i := range rules {
		r := &rules[i]
		if r.APIGroup != d.gr.Group || r.Resource != d.gr.Resource {
			continue
		}
		if missing := d.uncovered(r, inScope); len(missing) > 0 {
			return fmt.Errorf("insufficient quota to consume: %v", strings.Join(missing, ","))
		}
		if missing := d.unscoped(r, inScope); len(missing) > 0 {
			return fmt.Errorf("insufficient quota to match these scopes: %v", missing)
		}
	}
	return nil
}

// uncovered names the limited resources that the write takes more of and that no quota bounds.
func (d *demand) uncovered(r *quotaconfig.LimitedResource, inScope []*corev1.ResourceQuota) []string {
	use := quota.Usage(d.gr, d.obj, d.now)
	if d.old != nil {
		use = quota.Subtract(use, quota.Only(quota.Usage(d.gr, d.old, d.now), use))
	}
	var missing []string
	for _, name := range quota.Names(use) {
		amount := use[name]
		if amount.Sign() <= 0 || !slices.ContainsFunc(r.MatchContains, func(part string) bool { return strings.Contains(string(name), part) }) {
			continue
		}
		if !slices.ContainsFunc(inScope, func(q *corev1.ResourceQuota) bool { _, bounds := q.Spec.Hard[name]; return bounds }) {
			missing = append(missing, string(name))
		}
	}
	return missing
}

// unscoped are the limited scopes that the object newly falls under and that no quota has.
func (d *demand) unscoped(r *quotaconfig.LimitedResource, inScope []*corev1.ResourceQuota) []corev1.ScopedResourceSelectorRequirement {
	var missing []corev1.ScopedResourceSelectorRequirement
	for _, scope := range r.MatchScopes {
		if !quota.Matches(scope, d.obj) || d.old != nil && quota.Matches(scope, d.old) {
			continue
		}
		if !slices.ContainsFunc(inScope, func(q *corev1.ResourceQuota) bool { return quota.Covers(q, scope, d.obj) }) {
			missing = append(missing, scope)
		}
	}
	return missing
}
