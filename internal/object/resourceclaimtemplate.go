package object

import (
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
			Default:  func(t *template) { defaultClaim(&t.Spec.Spec) },
			Validate: func(t *template) field.ErrorList { return validateClaimSpec(&t.Spec.Spec, specPath.Child("spec")) },
			ValidateUpdate: func(t, old *template) field.ErrorList {
				return immutable(t.Spec, old.Spec, specPath)
			},
		}.full(Namespaced, nameIsSubdomain),
		Columns: []metav1.TableColumnDefinition{nameColumn(), ageColumn()},
		Cells: cells(func(t *template, now time.Time) []any {
			return []any{t.Name, age(t, now)}
		}),
	}
}
