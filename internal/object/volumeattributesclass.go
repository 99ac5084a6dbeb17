package object

import (
	"maps"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func volumeAttributesClassKind() *Kind {
	return &Kind{
		Versions: []Version{version[storagev1.VolumeAttributesClass, storagev1.VolumeAttributesClassList](
			storagev1.SchemeGroupVersion, "VolumeAttributesClass")},
		Resource:      "volumeattributesclasses",
		Singular:      "volumeattributesclass",
		ShortNames:    []string{"vac"},
		Scope:         Cluster,
		StoragePrefix: "volumeattributesclasses",
		Strategy: rules[*storagev1.VolumeAttributesClass]{
			Compare: func(v, old *storagev1.VolumeAttributesClass) field.ErrorList {
				var errs field.ErrorList
				if old != nil && v.DriverName != old.DriverName {
					errs = append(errs, field.Forbidden(field.NewPath("driverName"), "updates to driverName are forbidden."))
				}
				if old != nil && !maps.Equal(v.Parameters, old.Parameters) {
					errs = append(errs, field.Forbidden(field.NewPath("parameters"), "updates to parameters are forbidden."))
				}
				errs = append(errs, validateProvisioner(v.DriverName, field.NewPath("driverName"))...)
				if len(v.Parameters) == 0 {
					errs = append(errs, field.Required(field.NewPath("parameters"), "must contain at least one key/value pair"))
				}
				return append(errs, validateParameters(v.Parameters, field.NewPath("parameters"))...)
			},
		}.full(Cluster, nameIsSubdomain),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("DriverName", "string", doc(storagev1.VolumeAttributesClass{}.SwaggerDoc())["driverName"]),
			ageColumn(),
		},
		Cells: cells(func(v *storagev1.VolumeAttributesClass, now time.Time) []any {
			return []any{v.Name, v.DriverName, age(v, now)}
		}),
	}
}
