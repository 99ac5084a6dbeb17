package object

import (
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func resourceClaimTemplateKind() *Kind {
	type template = resourcev1.ResourceClaimTemplate
	return &Kind{
		Versions: []Version{version[template, resourcev1.ResourceClaimTemplateList](
			resourcev1.SchemeGroupVersion, "ResourceClaimTemplate")},
		Resource:      "resourceclaimtemplates",
		Singular:      "resourceclaimtemplate",
		Scope:         Namespaced,
		StoragePrefix: "resourceclaimtemplates",
		Strategy: rules[*template]{
			Default:       func(t *template) { defaultClaim(&t.Spec.Spec) },
			PrepareCreate: func(t *template) { withoutDerived(&t.Spec.Spec, nil) },
			PrepareUpdate: func(t, old *template) { withoutDerived(&t.Spec.Spec, &old.Spec.Spec) },
			Compare: func(t, old *template) field.ErrorList {
				bad, declared := validateClaimSpec(&t.Spec.Spec, specPath.Child("spec"))
				errs := append(validateTemplateMeta(&t.Spec.ObjectMeta, specPath.Child("metadata")), bad...)
				if old != nil {
					errs = append(errs, immutableWhole(t.Spec, old.Spec, specPath)...)
				}
				return append(errs, declared...)
			},
		}.full(Namespaced, nameIsSubdomain),
		Columns: []metav1.TableColumnDefinition{nameColumn(), ageColumn()},
		Cells: cells(func(t *template, now time.Time) []any {
			return []any{t.Name, age(t, now)}
		}),
	}
}

// validateTemplateMeta lets the metadata of objects to be made have labels and annotations, nothing else.
func validateTemplateMeta(m *metav1.ObjectMeta, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for name, set := range inOrder(named("name", m.Name != ""), named("generateName", m.GenerateName != ""), named("namespace", m.Namespace != ""),
		named("selfLink", m.SelfLink != ""), named("uid", m.UID != ""), named("resourceVersion", m.ResourceVersion != ""),
		named("generation", m.Generation != 0), named("creationTimestamp", !m.CreationTimestamp.IsZero()),
		named("deletionTimestamp", m.DeletionTimestamp != nil), named("deletionGracePeriodSeconds", m.DeletionGracePeriodSeconds != nil),
		named("ownerReferences", len(m.OwnerReferences) > 0), named("finalizers", len(m.Finalizers) > 0), named("managedFields", len(m.ManagedFields) > 0)) {
		if set {
			errs = append(errs, field.Forbidden(at.Child(name), "cannot be set"))
		}
	}
	errs = append(errs, metavalidation.ValidateLabels(m.Labels, at.Child("labels"))...)
	return append(errs, apivalidation.ValidateAnnotations(m.Annotations, at.Child("annotations"))...)
}
