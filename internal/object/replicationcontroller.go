package object

import (
	"maps"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/podspec"
)

func replicationControllerKind() *Kind {
	spec, status := doc(corev1.ReplicationControllerSpec{}.SwaggerDoc()), doc(corev1.ReplicationControllerStatus{}.SwaggerDoc())
	return &Kind{
		Versions: []Version{version[corev1.ReplicationController, corev1.ReplicationControllerList](
			corev1.SchemeGroupVersion, "ReplicationController")},
		Resource:      "replicationcontrollers",
		Singular:      "replicationcontroller",
		ShortNames:    []string{"rc"},
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "controllers",
		Strategy: rules[*corev1.ReplicationController]{
			Default: defaultReplicationController,
			PrepareCreate: func(r *corev1.ReplicationController) {
				r.Status = corev1.ReplicationControllerStatus{}
				firstGeneration(r)
			},
			PrepareUpdate: func(r, old *corev1.ReplicationController) {
				r.Status = *old.Status.DeepCopy()
				nextGeneration(r, old, r.Spec, old.Spec)
			},
			Validate: validateReplicationController,
			Warnings: func(r, old *corev1.ReplicationController) []string {
				if old != nil || r.Spec.Template == nil {
					return nil
				}
				return append(podNameWarnings(r, old), templateWarnings(r, old, r.Spec.Template, specPath.Child("template"))...)
			},
		}.full(Namespaced, nameIsLong),
		Subresources: []Subresource{
			scaleSubresource(),
			writes("status", rules[*corev1.ReplicationController]{
				PrepareUpdate: func(r, old *corev1.ReplicationController) {
					r.Spec = *old.Spec.DeepCopy()
					defaultReplicationController(r) // labels come from the template
				},
				ValidateUpdate: func(r, _ *corev1.ReplicationController) field.ErrorList {
					s := &r.Status
					return append(nonNegative(number{statusPath.Child("observedGeneration"), s.ObservedGeneration}),
						replicaCounts(s.Replicas, s.FullyLabeledReplicas, s.ReadyReplicas, s.AvailableReplicas)...)
				},
			}),
		},
		FieldNames: []string{"status.replicas"},
		Fields: selectableFields(func(r *corev1.ReplicationController) fields.Set {
			return replicasField(r.Status.Replicas)
		}),
		Columns: append([]metav1.TableColumnDefinition{
			nameColumn(),
			column("Desired", "integer", spec["replicas"]),
			column("Current", "integer", status["replicas"]),
			column("Ready", "integer", status["readyReplicas"]),
			ageColumn(),
		}, workloadColumns(spec["selector"])...),
		Cells: cells(func(r *corev1.ReplicationController, now time.Time) []any {
			names, images := "", ""
			if r.Spec.Template != nil {
				names, images = namesAndImages(r.Spec.Template.Spec.Containers)
			}
			return []any{
				r.Name, int64(deref(r.Spec.Replicas, 1)), int64(r.Status.Replicas), int64(r.Status.ReadyReplicas), age(r, now),
				names, images, labelsText(r.Spec.Selector),
			}
		}),
	}
}

func replicasField(n int32) fields.Set {
	return fields.Set{"status.replicas": strconv.Itoa(int(n))}
}

func defaultReplicationController(r *corev1.ReplicationController) {
	setDefaultPtr(&r.Spec.Replicas, 1)
	t := r.Spec.Template
	if t == nil {
		return
	}
	podspec.DefaultTemplate(&t.Spec)
	if len(t.Labels) == 0 {
		return
	}
	if len(r.Spec.Selector) == 0 {
		r.Spec.Selector = maps.Clone(t.Labels)
	}
	if len(r.Labels) == 0 {
		r.Labels = maps.Clone(t.Labels)
	}
}

func validateReplicationController(r *corev1.ReplicationController) field.ErrorList {
	errs := nonNegative(num(specPath.Child("replicas"), r.Spec.Replicas),
		number{specPath.Child("minReadySeconds"), int64(r.Spec.MinReadySeconds)})
	if len(r.Spec.Selector) == 0 {
		errs = append(errs, field.Required(specPath.Child("selector"), ""))
	}
	if r.Spec.Template == nil {
		return append(errs, field.Required(specPath.Child("template"), ""))
	}
	if len(r.Spec.Selector) > 0 && !labels.SelectorFromSet(r.Spec.Selector).Matches(labels.Set(r.Spec.Template.Labels)) {
		errs = append(errs, field.Invalid(specPath.Child("template", "metadata", "labels"), r.Spec.Template.Labels,
			"`selector` does not match template `labels`"))
	}
	return append(errs, validateRunningTemplate(r.Spec.Template, "ReplicationController")...)
}
