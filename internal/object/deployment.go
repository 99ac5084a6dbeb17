package object

import (
	"fmt"
	"maps"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/goform"
	"hyperkube/internal/object/podspec"
)

func deploymentKind() *Kind {
	d := doc(appsv1.DeploymentStatus{}.SwaggerDoc())
	return &Kind{
		Versions:      []Version{version[appsv1.Deployment, appsv1.DeploymentList](appsv1.SchemeGroupVersion, "Deployment")},
		Resource:      "deployments",
		Singular:      "deployment",
		ShortNames:    []string{"deploy"},
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "deployments",
		Strategy: rules[*appsv1.Deployment]{
			Default: defaultDeployment,
			PrepareCreate: func(d *appsv1.Deployment) {
				d.Status = appsv1.DeploymentStatus{}
				firstGeneration(d)
			},
			PrepareUpdate: func(d, old *appsv1.Deployment) {
				d.Status = *old.Status.DeepCopy()
				// The revision that a rollback goes to is kept in annotations, so these count as well.
				nextGeneration(d, old, d.Spec, old.Spec)
				if d.Generation == old.Generation && !maps.Equal(d.Annotations, old.Annotations) {
					d.Generation++
				}
			},
			Validate: validateDeployment,
			ValidateUpdate: func(d, old *appsv1.Deployment) field.ErrorList {
				return immutable(d.Spec.Selector, old.Spec.Selector, specPath.Child("selector"))
			},
			Warnings: func(d, old *appsv1.Deployment) []string {
				return append(podNameWarnings(d, old), templateWarnings(d, old, &d.Spec.Template, specPath.Child("template"))...)
			},
		}.full(Namespaced, nameIsSubdomain),
		Subresources: []Subresource{
			scaleSubresource(),
			writes("status", rules[*appsv1.Deployment]{
				PrepareUpdate: func(d, old *appsv1.Deployment) {
					d.Spec = *old.Spec.DeepCopy()
					d.Labels = old.Labels
				},
				ValidateUpdate: validateDeploymentStatus,
			}),
		},
		Columns: append([]metav1.TableColumnDefinition{
			nameColumn(),
			column("Ready", "string", "Number of the pod with ready state"),
			column("Up-to-date", "string", d["updatedReplicas"]),
			column("Available", "string", d["availableReplicas"]),
			ageColumn(),
		}, workloadColumns(doc(appsv1.DeploymentSpec{}.SwaggerDoc())["selector"])...),
		Cells: cells(func(d *appsv1.Deployment, now time.Time) []any {
			return append([]any{
				d.Name, fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, deref(d.Spec.Replicas, 1)),
				int64(d.Status.UpdatedReplicas), int64(d.Status.AvailableReplicas), age(d, now),
			}, templateText(&d.Spec.Template, d.Spec.Selector)...)
		}),
	}
}

func defaultDeployment(d *appsv1.Deployment) {
	podspec.DefaultTemplate(&d.Spec.Template.Spec)
	setDefaultPtr(&d.Spec.Replicas, 1)
	setDefaultPtr(&d.Spec.RevisionHistoryLimit, 10)
	setDefaultPtr(&d.Spec.ProgressDeadlineSeconds, 600)
	s := &d.Spec.Strategy
	setDefault(&s.Type, appsv1.RollingUpdateDeploymentStrategyType)
	if s.Type == appsv1.RollingUpdateDeploymentStrategyType {
		setDefaultPtr(&s.RollingUpdate, appsv1.RollingUpdateDeployment{})
		setDefaultPtr(&s.RollingUpdate.MaxUnavailable, intstr.FromString("25%"))
		setDefaultPtr(&s.RollingUpdate.MaxSurge, intstr.FromString("25%"))
	}
}

func validateDeployment(d *appsv1.Deployment) field.ErrorList {
	s := &d.Spec
	errs := nonNegative(num(specPath.Child("replicas"), s.Replicas),
		number{specPath.Child("minReadySeconds"), int64(s.MinReadySeconds)},
		num(specPath.Child("revisionHistoryLimit"), s.RevisionHistoryLimit),
		num(specPath.Child("progressDeadlineSeconds"), s.ProgressDeadlineSeconds))
	errs = append(errs, validateSelector(s.Selector, &s.Template, "deployment")...)
	errs = append(errs, validateRunningTemplate(&s.Template, "ReplicaSet")...)
	errs = append(errs, validateDeploymentStrategy(&s.Strategy, specPath.Child("strategy"))...)
	if p := s.ProgressDeadlineSeconds; p != nil && *p <= s.MinReadySeconds {
		errs = append(errs, field.Invalid(specPath.Child("progressDeadlineSeconds"), *p, "must be greater than minReadySeconds"))
	}
	return errs
}

func validateDeploymentStrategy(s *appsv1.DeploymentStrategy, at *field.Path) field.ErrorList {
	p := at.Child("rollingUpdate")
	switch s.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if s.RollingUpdate != nil {
			return field.ErrorList{field.Forbidden(p, "may not be specified when strategy `type` is 'Recreate'")}
		}
		return nil
	case appsv1.RollingUpdateDeploymentStrategyType:
	default:
		return field.ErrorList{field.NotSupported(at, goform.Of(s), []appsv1.DeploymentStrategyType{
			appsv1.RecreateDeploymentStrategyType, appsv1.RollingUpdateDeploymentStrategyType})}
	}
	r := s.RollingUpdate
	if r == nil {
		return field.ErrorList{field.Required(p, "this should be defaulted and never be nil")}
	}
	errs := intOrPercent(r.MaxUnavailable, p.Child("maxUnavailable"))
	errs = append(errs, intOrPercent(r.MaxSurge, p.Child("maxSurge"))...)
	if isZero(r.MaxUnavailable) && isZero(r.MaxSurge) {
		errs = append(errs, field.Invalid(p.Child("maxUnavailable"), r.MaxUnavailable, "may not be 0 when `maxSurge` is 0"))
	}
	return append(errs, atMost100Percent(r.MaxUnavailable, p.Child("maxUnavailable"))...)
}

func validateDeploymentStatus(d, old *appsv1.Deployment) field.ErrorList {
	s := &d.Status
	errs := nonNegative(number{statusPath.Child("observedGeneration"), s.ObservedGeneration},
		number{statusPath.Child("unavailableReplicas"), int64(s.UnavailableReplicas)})
	errs = append(errs, nonNegative(num(statusPath.Child("terminatingReplicas"), s.TerminatingReplicas))...)
	errs = append(errs, counts(s.Replicas, count{"updatedReplicas", s.UpdatedReplicas},
		count{"readyReplicas", s.ReadyReplicas}, count{"availableReplicas", s.AvailableReplicas})...)
	if s.AvailableReplicas > s.ReadyReplicas {
		errs = append(errs, field.Invalid(statusPath.Child("availableReplicas"), s.AvailableReplicas, "cannot be greater than readyReplicas"))
	}
	if c := s.CollisionCount; c != nil {
		errs = append(errs, nonNegative(number{statusPath.Child("collisionCount"), int64(*c)})...)
	}
	if deref(s.CollisionCount, 0) < deref(old.Status.CollisionCount, 0) {
		errs = append(errs, field.Invalid(statusPath.Child("collisionCount"), deref(s.CollisionCount, 0), "cannot be decremented"))
	}
	return errs
}
