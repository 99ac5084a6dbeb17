package object

import (
	"fmt"
	"time"

	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/podspec"
)

func runtimeClassKind() *Kind {
	return &Kind{
		Versions:      []Version{version[nodev1.RuntimeClass, nodev1.RuntimeClassList](nodev1.SchemeGroupVersion, "RuntimeClass")},
		Resource:      "runtimeclasses",
		Singular:      "runtimeclass",
		Scope:         Cluster,
		StoragePrefix: "runtimeclasses",
		Strategy: rules[*nodev1.RuntimeClass]{
			Validate: validateRuntimeClass,
			ValidateUpdate: func(r, old *nodev1.RuntimeClass) field.ErrorList {
				return immutable(r.Handler, old.Handler, field.NewPath("handler"))
			},
		}.full(Cluster, nameIsSubdomain),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Handler", "string", ""),
			ageColumn(),
		},
		Cells: cells(func(r *nodev1.RuntimeClass, now time.Time) []any {
			return []any{r.Name, r.Handler, age(r, now)}
		}),
	}
}

func validateRuntimeClass(r *nodev1.RuntimeClass) field.ErrorList {
	var errs field.ErrorList
	if r.Handler == "" {
		errs = append(errs, field.Required(field.NewPath("handler"), ""))
	} else {
		errs = append(errs, check(field.NewPath("handler"), r.Handler, validation.IsDNS1123Label(r.Handler))...)
	}
	if r.Overhead != nil {
		for name, q := range r.Overhead.PodFixed {
			at := field.NewPath("overhead", "podFixed").Key(string(name))
			errs = append(errs, podspec.ValidateResourceName(name, at)...)
			errs = append(errs, podspec.ValidateQuantity(name, q, at)...)
		}
	}
	if s := r.Scheduling; s != nil {
		at := field.NewPath("scheduling")
		errs = append(errs, metavalidation.ValidateLabels(s.NodeSelector, at.Child("nodeSelector"))...)
		errs = append(errs, podspec.ValidateTolerations(s.Tolerations, at.Child("tolerations"))...)
		for i := range s.Tolerations {
			for k := range i {
				if s.Tolerations[i].MatchToleration(&s.Tolerations[k]) {
					errs = append(errs, field.Duplicate(at.Child("tolerations").Index(i), fmt.Sprintf("%v", s.Tolerations[i])))
					break
				}
			}
		}
	}
	return errs
}
