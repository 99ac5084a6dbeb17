package object

import (
	"maps"
	"slices"
	"time"

	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/goform"
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
			Compare: validateRuntimeClass,
			Warnings: func(r, _ *nodev1.RuntimeClass) []string {
				if r.Scheduling == nil {
					return nil
				}
				var out []string
				for _, key := range slices.Sorted(maps.Keys(r.Scheduling.NodeSelector)) {
					if w := podspec.LabelWarning(key, field.NewPath("scheduling", "nodeSelector")); w != "" {
						out = append(out, w)
					}
				}
				return out
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

// validateRuntimeClass judges new and changed classes; old is nil for a new one.
func validateRuntimeClass(r, old *nodev1.RuntimeClass) field.ErrorList {
	var errs field.ErrorList
	at := field.NewPath("handler")
	switch {
	case old == nil && r.Handler != "":
		errs = append(errs, check(at, r.Handler, content.IsDNS1123Label(r.Handler))...)
	case old != nil:
		if r.Handler != "" { // of a change, clients know the length in characters
			errs = append(errs, check(at, r.Handler, validation.IsDNS1123Label(r.Handler))...)
		}
		errs = append(errs, unchanged(r.Handler, old.Handler, at)...)
	}
	if r.Handler == "" {
		errs = append(errs, field.Required(at, ""))
	}
	if r.Overhead != nil {
		errs = append(errs, podspec.ValidateOverhead(r.Overhead.PodFixed, field.NewPath("overhead"))...)
	}
	if s := r.Scheduling; s != nil {
		at := field.NewPath("scheduling")
		errs = append(errs, metavalidation.ValidateLabels(s.NodeSelector, at.Child("nodeSelector"))...)
		errs = append(errs, podspec.ValidateTolerations(s.Tolerations, at.Child("tolerations"))...)
		for i := range s.Tolerations {
			for k := range i {
				if s.Tolerations[i].MatchToleration(&s.Tolerations[k]) {
					errs = append(errs, field.Duplicate(at.Child("tolerations").Index(i), goform.Of(s.Tolerations[i])))
					break
				}
			}
		}
	}
	return errs
}
