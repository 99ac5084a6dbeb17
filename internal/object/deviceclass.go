package object

import (
	"strings"
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
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
				if n := len(d.Spec.Config); n > resourcev1.DeviceConfigMaxSize {
					errs = append(errs, field.TooMany(at, n, resourcev1.DeviceConfigMaxSize))
				}
				for i := range d.Spec.Config {
					errs = append(errs, validateDeviceConfig(&d.Spec.Config[i].DeviceConfiguration, at.Index(i))...)
				}
				if n := d.Spec.ExtendedResourceName; n != nil {
					errs = append(errs, validateExtendedName(*n, specPath.Child("extendedResourceName"))...)
				}
				return errs
			},
		}.full(Cluster, nameIsDeviceClass),
		Columns: []metav1.TableColumnDefinition{nameColumn(), ageColumn()},
		Cells: cells(func(d *resourcev1.DeviceClass, now time.Time) []any {
			return []any{d.Name, age(d, now)}
		}),
	}
}

// nameIsDeviceClass judges whole names alone.
func nameIsDeviceClass(name string, prefix bool) []string {
	if prefix {
		return nil
	}
	return content.IsDNS1123Subdomain(name)
}

// validateExtendedName wants the name of a resource that pods may ask for: with a domain that is not Kubernetes' own.
func validateExtendedName(name string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if domain, _, ok := strings.Cut(name, "/"); !ok {
		errs = append(errs, field.Invalid(at, name, "a name must be a domain-prefixed path, such as 'example.com/my-prop'"))
	} else if domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io") {
		errs = append(errs, field.Invalid(at, name, "must not be in the domain kubernetes.io"))
	}
	why := nameIsQualified(name)
	if name == "" {
		why = why[len(why)-1:] // that it is empty has been said
	}
	return append(errs, check(at, name, why)...)
}
