package object

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/podspec"
)

func replicaSetKind() *Kind {
	spec, status := doc(appsv1.ReplicaSetSpec{}.SwaggerDoc()), doc(appsv1.ReplicaSetStatus{}.SwaggerDoc())
	return &Kind{
		Versions:      []Version{version[appsv1.ReplicaSet, appsv1.ReplicaSetList](appsv1.SchemeGroupVersion, "ReplicaSet")},
		Resource:      "replicasets",
		Singular:      "replicaset",
		ShortNames:    []string{"rs"},
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "replicasets",
		Strategy: rules[*appsv1.ReplicaSet]{
			Default: func(r *appsv1.ReplicaSet) {
				podspec.DefaultTemplate(&r.Spec.Template.Spec)
				setDefaultPtr(&r.Spec.Replicas, 1)
			},
			PrepareCreate: func(r *appsv1.ReplicaSet) {
				r.Status = appsv1.ReplicaSetStatus{}
				firstGeneration(r)
			},
			PrepareUpdate: func(r, old *appsv1.ReplicaSet) {
				r.Status = *old.Status.DeepCopy()
				nextGeneration(r, old, r.Spec, old.Spec)
			},
			Validate: func(r *appsv1.ReplicaSet) field.ErrorList {
				errs := nonNegative(num(specPath.Child("replicas"), r.Spec.Replicas),
					number{specPath.Child("minReadySeconds"), int64(r.Spec.MinReadySeconds)})
				errs = append(errs, validateSelector(r.Spec.Selector, &r.Spec.Template, "deployment")...)
				return append(errs, validateRunningTemplate(&r.Spec.Template, "ReplicaSet")...)
			},
			ValidateUpdate: func(r, old *appsv1.ReplicaSet) field.ErrorList {
				return immutable(r.Spec.Selector, old.Spec.Selector, specPath.Child("selector"))
			},
			Warnings: func(r, old *appsv1.ReplicaSet) []string {
				return append(podNameWarnings(r, old), templateWarnings(r, old, &r.Spec.Template, specPath.Child("template"))...)
			},
		}.full(Namespaced, nameIsSubdomain),
		Subresources: []Subresource{
			scaleSubresource(),
			writes("status", rules[*appsv1.ReplicaSet]{
				PrepareUpdate: func(r, old *appsv1.ReplicaSet) { r.Spec = *old.Spec.DeepCopy() },
				ValidateUpdate: func(r, _ *appsv1.ReplicaSet) field.ErrorList {
					s := &r.Status
					return append(nonNegative(number{statusPath.Child("observedGeneration"), s.ObservedGeneration},
						num(statusPath.Child("terminatingReplicas"), s.TerminatingReplicas)),
						replicaCounts(s.Replicas, s.FullyLabeledReplicas, s.ReadyReplicas, s.AvailableReplicas)...)
				},
			}),
		},
		Columns: append([]metav1.TableColumnDefinition{
			nameColumn(),
			column("Desired", "integer", spec["replicas"]),
			column("Current", "integer", status["replicas"]),
			column("Ready", "integer", status["readyReplicas"]),
			ageColumn(),
		}, workloadColumns(spec["selector"])...),
		Cells: cells(func(r *appsv1.ReplicaSet, now time.Time) []any {
			return append([]any{
				r.Name, int64(deref(r.Spec.Replicas, 1)), int64(r.Status.Replicas), int64(r.Status.ReadyReplicas), age(r, now),
			}, templateText(&r.Spec.Template, r.Spec.Selector)...)
		}),
	}
}
