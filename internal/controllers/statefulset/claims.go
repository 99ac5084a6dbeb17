package statefulset

import (
	"context"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
)

var podKind = corev1.SchemeGroupVersion.WithKind("Pod")

// claimsFor are the claims of a pod as they are made.
func claimsFor(set *appsv1.StatefulSet, pod string) []*corev1.PersistentVolumeClaim {
	out := make([]*corev1.PersistentVolumeClaim, len(set.Spec.VolumeClaimTemplates))
	for i := range set.Spec.VolumeClaimTemplates {
		t := &set.Spec.VolumeClaimTemplates[i]
		l := maps.Clone(t.Labels)
		if l == nil {
			l = map[string]string{}
		}
		if set.Spec.Selector != nil {
			maps.Copy(l, set.Spec.Selector.MatchLabels)
		}
		c := &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: set.Namespace, Name: claimName(t.Name, pod), Labels: l, Annotations: maps.Clone(t.Annotations),
				Finalizers: slices.Clone(t.Finalizers), OwnerReferences: slices.Clone(t.OwnerReferences),
			},
			Spec: *t.Spec.DeepCopy(),
		}
		c.OwnerReferences = owners(set, nil, c)
		out[i] = c
	}
	return out
}

// ensureClaims makes the claims of a pod that are missing. A claim that is going away has to be gone first.
func (c *controller) ensureClaims(ctx context.Context, set *appsv1.StatefulSet, pod string, uid string) error {
	for _, want := range claimsFor(set, pod) {
		have, ok := c.claims.Get(want.Namespace, want.Name)
		if ok {
			if have.DeletionTimestamp != nil {
				return fmt.Errorf("pvc %s is being deleted", want.Name)
			}
			if strange(have, pod, uid) {
				return fmt.Errorf("pvc %s belongs to an earlier pod and will be deleted", want.Name)
			}
			continue
		}
		_, err := client.PersistentVolumeClaims.Create(ctx, c.client, want)
		switch {
		case apierrors.IsAlreadyExists(err):
		case err != nil:
			c.events.Eventf(set, corev1.EventTypeWarning, "FailedCreate", "create Claim %s for Pod %s in StatefulSet %s failed error: %s", want.Name, pod, set.Name, err)
			return fmt.Errorf("claim %s: %w", want.Name, err)
		default:
			c.events.Eventf(set, corev1.EventTypeNormal, "SuccessfulCreate", "create Claim %s Pod %s in StatefulSet %s success", want.Name, pod, set.Name)
		}
	}
	return nil
}

// strange says whether a claim is owned by another pod of the name, with which it will be collected as garbage.
func strange(c *corev1.PersistentVolumeClaim, pod, uid string) bool {
	return slices.ContainsFunc(c.OwnerReferences, func(r metav1.OwnerReference) bool {
		return r.Kind == podKind.Kind && r.Name == pod && string(r.UID) != uid
	})
}

// settleClaims gives the claims of a pod the owners that the set's retention policy asks for. A pod that is to be removed by scaling
// takes its claims along, if the policy says so.
func (c *controller) settleClaims(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod, surplus bool) error {
	for i := range set.Spec.VolumeClaimTemplates {
		have, ok := c.claims.Get(set.Namespace, claimName(set.Spec.VolumeClaimTemplates[i].Name, pod.Name))
		if !ok || have.DeletionTimestamp != nil {
			continue
		}
		var with *corev1.Pod
		if surplus {
			with = pod
		}
		want := owners(set, with, have)
		if apiequality.Semantic.DeepEqual(want, have.OwnerReferences) {
			continue
		}
		next := have.DeepCopy()
		next.OwnerReferences = want
		if _, err := client.PersistentVolumeClaims.Update(ctx, c.client, next); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("owners of claim %s: %w", have.Name, err)
		}
	}
	return nil
}

// owners of a claim. going is its pod, if that is being removed by scaling. Owners that are neither the set nor one of its
// pods stay, and a claim that somebody else controls is left alone.
func owners(set *appsv1.StatefulSet, going *corev1.Pod, claim *corev1.PersistentVolumeClaim) []metav1.OwnerReference {
	p := set.Spec.PersistentVolumeClaimRetentionPolicy
	if p == nil {
		return claim.OwnerReferences
	}
	ours := func(r metav1.OwnerReference) bool {
		if r.Kind == podKind.Kind && r.APIVersion == "v1" {
			_, ok := ordinalOf(set, r.Name)
			return ok
		}
		return r.UID == set.UID
	}
	kept := slices.DeleteFunc(slices.Clone(claim.OwnerReferences), ours)
	if slices.ContainsFunc(kept, func(r metav1.OwnerReference) bool { return r.Controller != nil && *r.Controller }) {
		return claim.OwnerReferences
	}
	const del = appsv1.DeletePersistentVolumeClaimRetentionPolicyType
	switch {
	case going != nil && p.WhenScaled == del:
		kept = append(kept, *metav1.NewControllerRef(going, podKind))
	case p.WhenDeleted == del:
		kept = append(kept, *metav1.NewControllerRef(set, kind))
	}
	return kept
}
