package object

import (
	"time"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/goform"
)

func podDisruptionBudgetKind() *Kind {
	return &Kind{
		Versions: []Version{version[policyv1.PodDisruptionBudget, policyv1.PodDisruptionBudgetList](
			policyv1.SchemeGroupVersion, "PodDisruptionBudget")},
		Resource:      "poddisruptionbudgets",
		Singular:      "poddisruptionbudget",
		ShortNames:    []string{"pdb"},
		Scope:         Namespaced,
		StoragePrefix: "poddisruptionbudgets",
		Strategy: rules[*policyv1.PodDisruptionBudget]{
			PrepareCreate: func(b *policyv1.PodDisruptionBudget) {
				b.Status = policyv1.PodDisruptionBudgetStatus{}
				firstGeneration(b)
			},
			PrepareUpdate: func(b, old *policyv1.PodDisruptionBudget) {
				b.Status = *old.Status.DeepCopy()
				nextGeneration(b, old, b.Spec, old.Spec)
			},
			Validate: validateBudget,
		}.full(Namespaced, nameIsSegment),
		Subresources: []Subresource{writes("status", rules[*policyv1.PodDisruptionBudget]{
			PrepareUpdate: func(b, old *policyv1.PodDisruptionBudget) { b.Spec = *old.Spec.DeepCopy() },
			ValidateUpdate: func(b, _ *policyv1.PodDisruptionBudget) field.ErrorList {
				s := &b.Status
				errs := nonNegative(number{statusPath.Child("disruptionsAllowed"), int64(s.DisruptionsAllowed)},
					number{statusPath.Child("currentHealthy"), int64(s.CurrentHealthy)},
					number{statusPath.Child("desiredHealthy"), int64(s.DesiredHealthy)},
					number{statusPath.Child("expectedPods"), int64(s.ExpectedPods)})
				return append(errs, metavalidation.ValidateConditions(s.Conditions, statusPath.Child("conditions"))...)
			},
		})},
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Min Available", "string", "The minimum number of pods that must be available."),
			column("Max Unavailable", "string", "The maximum number of pods that may be unavailable."),
			column("Allowed Disruptions", "integer", "Calculated number of pods that may be disrupted at this time."),
			ageColumn(),
		},
		Cells: cells(func(b *policyv1.PodDisruptionBudget, now time.Time) []any {
			least, most := "N/A", "N/A"
			if b.Spec.MinAvailable != nil {
				least = b.Spec.MinAvailable.String()
			}
			if b.Spec.MaxUnavailable != nil {
				most = b.Spec.MaxUnavailable.String()
			}
			return []any{b.Name, least, most, int64(b.Status.DisruptionsAllowed), age(b, now)}
		}),
	}
}

func validateBudget(b *policyv1.PodDisruptionBudget) field.ErrorList {
	s := &b.Spec
	var errs field.ErrorList
	if s.MinAvailable != nil && s.MaxUnavailable != nil {
		errs = append(errs, field.Invalid(specPath, goform.Of(s), "minAvailable and maxUnavailable cannot be both set"))
	}
	errs = append(errs, intOrPercent(s.MinAvailable, specPath.Child("minAvailable"))...)
	errs = append(errs, atMost100Percent(s.MinAvailable, specPath.Child("minAvailable"))...)
	errs = append(errs, intOrPercent(s.MaxUnavailable, specPath.Child("maxUnavailable"))...)
	errs = append(errs, atMost100Percent(s.MaxUnavailable, specPath.Child("maxUnavailable"))...)
	errs = append(errs, metavalidation.ValidateLabelSelector(s.Selector, metavalidation.LabelSelectorValidationOptions{}, specPath.Child("selector"))...)
	if p := s.UnhealthyPodEvictionPolicy; p != nil {
		errs = append(errs, oneOf(specPath.Child("unhealthyPodEvictionPolicy"), *p, policyv1.AlwaysAllow, policyv1.IfHealthyBudget)...)
	}
	return errs
}
