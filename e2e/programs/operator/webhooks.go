package main

import (
	"context"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const (
	tierField = "spec.tier"
	tierLabel = group + "/tier"
)

// tierOf is the index of sites by their tier.
func tierOf(o client.Object) []string { return []string{o.(*Site).Spec.Tier} }

func addWebhooks(mgr ctrl.Manager) error {
	h := &hooks{reader: mgr.GetClient()}
	return ctrl.NewWebhookManagedBy(mgr, &Site{}).WithDefaulter(h).WithValidator(h).Complete()
}

// hooks fill in and check sites.
type hooks struct{ reader client.Reader }

func (h *hooks) Default(_ context.Context, s *Site) error {
	if s.Spec.Replicas == nil {
		s.Spec.Replicas = new(int32(1))
	}
	if s.Spec.Tier == "" {
		s.Spec.Tier = "silver"
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	s.Labels[tierLabel] = s.Spec.Tier
	return nil
}

func (h *hooks) ValidateCreate(ctx context.Context, s *Site) (admission.Warnings, error) {
	return h.check(ctx, s)
}

func (h *hooks) ValidateUpdate(ctx context.Context, _, s *Site) (admission.Warnings, error) {
	return h.check(ctx, s)
}

func (h *hooks) ValidateDelete(_ context.Context, s *Site) (admission.Warnings, error) {
	if s.Annotations[group+"/keep"] != "" {
		return nil, fmt.Errorf("site %s is to be kept", s.Name)
	}
	return nil, nil
}

// check allows one site of gold in a namespace.
func (h *hooks) check(ctx context.Context, s *Site) (admission.Warnings, error) {
	if s.Spec.Tier == "bronze" {
		return admission.Warnings{"tier bronze will be dropped"}, nil
	}
	if s.Spec.Tier != "gold" {
		return nil, nil
	}
	var gold SiteList
	if err := h.reader.List(ctx, &gold, client.InNamespace(s.Namespace), client.MatchingFields{tierField: "gold"}); err != nil {
		return nil, err
	}
	for _, other := range gold.Items {
		if other.Name != s.Name {
			return nil, fmt.Errorf("site %s has the gold already", other.Name)
		}
	}
	return nil, nil
}
