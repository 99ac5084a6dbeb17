package object

import (
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func deviceClassKind() *Kind {
	return &Kind{
		Versions:      []Version{version[resourcev1.DeviceClass, resourcev1.DeviceClassList](resourcev1.SchemeGroupVersion, "DeviceClass")},
		Resource:      "deviceclasses",
		Singular:      "deviceclass",
		Scope:         Cluster,
		StoragePrefix: "deviceclasses",
		Strategy: rules[*resourcev1.DeviceClass]{
			PrepareCreate: func(d *resourcev1.DeviceClass) { firstGeneration(d) },
			PrepareUpdate: func(d, old *resourcev1.DeviceClass) { nextGeneration(d, old, d.Spec, old.Spec) },
			Validate: func(d *resourcev1.DeviceClass) field.ErrorList {
				errs := validateDeviceSelectors(d.Spec.Selectors, specPath.Child("selectors"))
				at := specPath.Child("config")
				if n := len(d.Spec.Config); n > maxConfigs {
					errs = append(errs, field.TooMany(at, n, maxConfigs))
				}
				for i := range d.Spec.Config {
					errs = append(errs, validateDeviceConfig(&d.Spec.Config[i].DeviceConfiguration, at.Index(i))...)
				}
				if n := d.Spec.ExtendedResourceName; n != nil {
					errs = append(errs, check(specPath.Child("extendedResourceName"), *n, nameIsQualified(*n))...)
				}
				return errs
			},
		}.full(Cluster, nameIsSubdomain),
		Columns: []metav1.TableColumnDefinition{nameColumn(), ageColumn()},
		Cells: cells(func(d *resourcev1.DeviceClass, now time.Time) []any {
			return []any{d.Name, age(d, now)}
		}),
	}
}
