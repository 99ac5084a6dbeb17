package object

import (
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func controllerRevisionKind() *Kind {
	d := doc(appsv1.ControllerRevision{}.SwaggerDoc())
	return &Kind{
		Versions: []Version{version[appsv1.ControllerRevision, appsv1.ControllerRevisionList](
			appsv1.SchemeGroupVersion, "ControllerRevision")},
		Resource:      "controllerrevisions",
		Singular:      "controllerrevision",
		Scope:         Namespaced,
		StoragePrefix: "controllerrevisions",
		Strategy: rules[*appsv1.ControllerRevision]{
			Validate: func(c *appsv1.ControllerRevision) field.ErrorList {
				return nonNegative(number{field.NewPath("revision"), c.Revision})
			},
			ValidateCreate: func(c *appsv1.ControllerRevision) field.ErrorList { // later it may not change
				if len(c.Data.Raw) == 0 && c.Data.Object == nil {
					return field.ErrorList{field.Required(field.NewPath("data"), "data is mandatory")}
				}
				return nil
			},
			ValidateUpdate: func(c, old *appsv1.ControllerRevision) field.ErrorList {
				if apiequality.Semantic.DeepEqual(c.Data, old.Data) {
					return nil
				}
				return field.ErrorList{field.Invalid(field.NewPath("data"), c.Data, "field is immutable")}
			},
		}.full(Namespaced, nameIsSubdomain),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Controller", "string", "Controller of the object"),
			column("Revision", "string", d["revision"]),
			ageColumn(),
		},
		Cells: cells(func(c *appsv1.ControllerRevision, now time.Time) []any {
			controller := none
			if ref := metav1.GetControllerOf(c); ref != nil {
				group, _, grouped := strings.Cut(ref.APIVersion, "/")
				controller = strings.ToLower(ref.Kind)
				if grouped {
					controller += "." + group
				}
				controller += "/" + ref.Name
			}
			return []any{c.Name, controller, c.Revision, age(c, now)}
		}),
	}
}
