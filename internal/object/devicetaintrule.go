package object

import (
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/podspec"
)

func deviceTaintRuleKind() *Kind {
	type rule = resourcev1.DeviceTaintRule
	taint := doc(resourcev1.DeviceTaint{}.SwaggerDoc())
	return &Kind{
		Versions: []Version{version[rule, resourcev1.DeviceTaintRuleList](
			resourcev1.SchemeGroupVersion, "DeviceTaintRule")},
		Resource:      "devicetaintrules",
		Singular:      "devicetaintrule",
		Scope:         Cluster,
		StoragePrefix: "devicetaintrules",
		Older:         map[string]func([]byte) (Object, error){"v1beta2": nil},
		Strategy: rules[*rule]{
			PrepareCreate: func(r *rule) {
				r.Status = resourcev1.DeviceTaintRuleStatus{}
				firstGeneration(r)
				stampTaint(&r.Spec.Taint)
			},
			PrepareUpdate: func(r, old *rule) {
				r.Status = *old.Status.DeepCopy()
				stampTaint(&r.Spec.Taint)
				nextGeneration(r, old, r.Spec, old.Spec)
			},
			Validate: validateDeviceTaintRule,
		}.full(Cluster, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*rule]{
			PrepareUpdate: func(r, old *rule) {
				metav1.ResetObjectMetaForStatus(r, old)
				r.Spec = *old.Spec.DeepCopy()
			},
			ValidateUpdate: func(r, _ *rule) field.ErrorList {
				return metavalidation.ValidateConditions(r.Status.Conditions, statusPath.Child("conditions"))
			},
		})},
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Key", "string", taint["key"]),
			column("Value", "string", taint["value"]),
			column("Effect", "string", taint["effect"]),
			column("TimeAdded", "string", taint["timeAdded"]),
			ageColumn(),
		},
		Cells: cells(func(r *rule, now time.Time) []any {
			t, added := &r.Spec.Taint, "<unset>"
			if t.TimeAdded != nil {
				added = since(*t.TimeAdded, now)
			}
			return []any{r.Name, t.Key, t.Value, string(t.Effect), added, age(r, now)}
		}),
	}
}

func validateDeviceTaintRule(r *resourcev1.DeviceTaintRule) field.ErrorList {
	errs := validateDeviceTaint(&r.Spec.Taint, specPath.Child("taint"))
	s, at := r.Spec.DeviceSelector, specPath.Child("deviceSelector")
	if s == nil {
		return errs
	}
	if s.Driver != nil {
		errs = append(errs, podspec.ValidateDriverName(*s.Driver, at.Child("driver"))...)
	}
	if s.Pool != nil {
		errs = append(errs, validatePoolName(*s.Pool, at.Child("pool"))...)
	}
	if s.Device != nil {
		errs = append(errs, check(at.Child("device"), *s.Device, nameIsLabel(*s.Device, false))...)
	}
	return errs
}
