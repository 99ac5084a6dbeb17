package object

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/podspec"
)

func podTemplateKind() *Kind {
	return &Kind{
		Versions:       []Version{version[corev1.PodTemplate, corev1.PodTemplateList](corev1.SchemeGroupVersion, "PodTemplate")},
		Resource:       "podtemplates",
		Singular:       "podtemplate",
		Scope:          Namespaced,
		StoragePrefix:  "podtemplates",
		CreateOnUpdate: true,
		Strategy: rules[*corev1.PodTemplate]{
			Default:       func(t *corev1.PodTemplate) { podspec.DefaultTemplate(&t.Template.Spec) },
			PrepareCreate: func(t *corev1.PodTemplate) { firstGeneration(t) },
			PrepareUpdate: func(t, old *corev1.PodTemplate) { nextGeneration(t, old, t.Template, old.Template) },
			Validate: func(t *corev1.PodTemplate) field.ErrorList {
				return podspec.ValidateTemplate(&t.Template, field.NewPath("template"))
			},
			Warnings: func(t, old *corev1.PodTemplate) []string {
				return templateWarnings(t, old, &t.Template, field.NewPath("template"))
			},
		}.full(Namespaced, nameIsSubdomain),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Containers", "string", "Names of each container in the template."),
			column("Images", "string", "Images referenced by each container in the template."),
			column("Pod Labels", "string", "The labels for the pod template."),
		},
		Cells: cells(func(t *corev1.PodTemplate, _ time.Time) []any {
			names, images := namesAndImages(t.Template.Spec.Containers)
			return []any{t.Name, names, images, labelsText(t.Template.Labels)}
		}),
	}
}
