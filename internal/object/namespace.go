package object

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func namespaceKind() *Kind {
	return &Kind{
		Versions:      []Version{version[corev1.Namespace, corev1.NamespaceList](corev1.SchemeGroupVersion, "Namespace")},
		Resource:      "namespaces",
		Singular:      "namespace",
		ShortNames:    []string{"ns"},
		Scope:         Cluster,
		StoragePrefix: "namespaces",
		Verbs:         []string{"create", "delete", "get", "list", "patch", "update", "watch"},
		Strategy: rules[*corev1.Namespace]{
			Default: func(n *corev1.Namespace) {
				if n.Status.Phase == "" {
					n.Status.Phase = corev1.NamespaceActive
				}
				if n.Name == "" || n.GenerateName != "" && len(validation.IsValidLabelValue(n.Name)) > 0 {
					return
				}
				if n.Labels == nil {
					n.Labels = map[string]string{}
				}
				n.Labels[corev1.LabelMetadataName] = n.Name
			},
			PrepareCreate: func(n *corev1.Namespace) {
				n.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
				if !slices.Contains(n.Spec.Finalizers, corev1.FinalizerKubernetes) {
					n.Spec.Finalizers = append(n.Spec.Finalizers, corev1.FinalizerKubernetes)
				}
			},
			PrepareUpdate: func(n, old *corev1.Namespace) {
				n.Spec.Finalizers = slices.Clone(old.Spec.Finalizers)
				n.Status = *old.Status.DeepCopy()
			},
			Validate: validateNamespaceFinalizers,
		}.full(Cluster, nameIsLabel),
		Subresources: []Subresource{
			// The server's handler writes the finalizers by this strategy.
			{Name: "finalize", Verbs: []string{"update"}, Strategy: rules[*corev1.Namespace]{
				ValidateUpdate: func(n, _ *corev1.Namespace) field.ErrorList {
					var errs field.ErrorList
					for i, f := range n.Spec.Finalizers {
						errs = append(errs, validateFinalizer(string(f), specPath.Child("finalizers").Index(i))...)
					}
					return errs
				},
			}.part()},
			writes("status", rules[*corev1.Namespace]{
				PrepareUpdate: func(n, old *corev1.Namespace) { n.Spec = *old.Spec.DeepCopy() },
				ValidateUpdate: func(n, _ *corev1.Namespace) field.ErrorList {
					terminating := n.Status.Phase == corev1.NamespaceTerminating
					switch at := statusPath.Child("Phase"); {
					case n.DeletionTimestamp == nil && n.Status.Phase != corev1.NamespaceActive:
						return field.ErrorList{field.Invalid(at, n.Status.Phase, "may only be 'Active' if `deletionTimestamp` is empty")}
					case n.DeletionTimestamp != nil && !terminating:
						return field.ErrorList{field.Invalid(at, n.Status.Phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")}
					}
					return nil
				},
			}),
		},
		FieldNames: []string{"status.phase"},
		Fields:     selectableFields(func(n *corev1.Namespace) fields.Set { return fields.Set{"status.phase": string(n.Status.Phase)} }),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Status", "string", "The status of the namespace"),
			ageColumn(),
		},
		Cells: cells(func(n *corev1.Namespace, now time.Time) []any {
			return []any{n.Name, string(n.Status.Phase), age(n, now)}
		}),
	}
}

func validateNamespaceFinalizers(n *corev1.Namespace) field.ErrorList {
	var errs field.ErrorList
	at := specPath.Child("finalizers") // clients know them without the index
	for _, f := range n.Spec.Finalizers {
		errs = append(errs, validateFinalizer(string(f), at)...)
	}
	return errs
}

func validateFinalizer(f string, at *field.Path) field.ErrorList {
	errs := check(at, f, nameIsQualified(f))
	if !standardFinalizer(f) {
		errs = append(errs, field.Invalid(at, f, "name is neither a standard finalizer name nor is it fully qualified"))
	}
	return errs
}
