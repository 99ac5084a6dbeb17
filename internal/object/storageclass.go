package object

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func storageClassKind() *Kind {
	d := doc(storagev1.StorageClass{}.SwaggerDoc())
	return &Kind{
		Versions:      []Version{version[storagev1.StorageClass, storagev1.StorageClassList](storagev1.SchemeGroupVersion, "StorageClass")},
		Resource:      "storageclasses",
		Singular:      "storageclass",
		ShortNames:    []string{"sc"},
		Scope:         Cluster,
		StoragePrefix: "storageclasses",
		Strategy: rules[*storagev1.StorageClass]{
			Default: func(s *storagev1.StorageClass) {
				setDefaultPtr(&s.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete)
				setDefaultPtr(&s.VolumeBindingMode, storagev1.VolumeBindingImmediate)
			},
			Validate: validateStorageClass,
			ValidateUpdate: func(s, old *storagev1.StorageClass) field.ErrorList {
				errs := immutable(s.Parameters, old.Parameters, field.NewPath("parameters"))
				errs = append(errs, unchanged(s.Provisioner, old.Provisioner, field.NewPath("provisioner"))...)
				errs = append(errs, unchanged(s.ReclaimPolicy, old.ReclaimPolicy, field.NewPath("reclaimPolicy"))...)
				return append(errs, unchanged(s.VolumeBindingMode, old.VolumeBindingMode, field.NewPath("volumeBindingMode"))...)
			},
		}.full(Cluster, nameIsSubdomain),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Provisioner", "string", d["provisioner"]),
			column("ReclaimPolicy", "string", d["reclaimPolicy"]),
			column("VolumeBindingMode", "string", d["volumeBindingMode"]),
			column("AllowVolumeExpansion", "string", d["allowVolumeExpansion"]),
			ageColumn(),
		},
		Cells: cells(func(s *storagev1.StorageClass, now time.Time) []any {
			name := s.Name
			if s.Annotations[isDefaultClass] == "true" || s.Annotations[betaIsDefaultClass] == "true" {
				name += " (default)"
			}
			return []any{name, s.Provisioner, string(deref(s.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete)),
				string(deref(s.VolumeBindingMode, "<unset>")), deref(s.AllowVolumeExpansion, false), age(s, now)}
		}),
	}
}

const (
	isDefaultClass     = "storageclass.kubernetes.io/is-default-class"
	betaIsDefaultClass = "storageclass.beta.kubernetes.io/is-default-class"
)

func validateStorageClass(s *storagev1.StorageClass) field.ErrorList {
	var errs field.ErrorList
	if s.Provisioner == "" {
		errs = append(errs, field.Required(field.NewPath("provisioner"), ""))
	} else {
		errs = append(errs, check(field.NewPath("provisioner"), s.Provisioner, nameIsQualified(strings.ToLower(s.Provisioner)))...)
	}
	errs = append(errs, validateParameters(s.Parameters, field.NewPath("parameters"))...)
	if p := s.ReclaimPolicy; p != nil {
		errs = append(errs, oneOf(field.NewPath("reclaimPolicy"), *p, corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRetain)...)
	}
	errs = append(errs, requiredOneOf(field.NewPath("volumeBindingMode"), deref(s.VolumeBindingMode, ""),
		storagev1.VolumeBindingImmediate, storagev1.VolumeBindingWaitForFirstConsumer)...)
	for i, t := range s.AllowedTopologies {
		if slices.ContainsFunc(s.AllowedTopologies[:i], func(o corev1.TopologySelectorTerm) bool { return apiequality.Semantic.DeepEqual(o, t) }) {
			errs = append(errs, field.Duplicate(field.NewPath("allowedTopologies").Index(i).Child("matchLabelExpressions"), ""))
		}
		for k, r := range t.MatchLabelExpressions {
			at := field.NewPath("allowedTopologies").Index(i).Child("matchLabelExpressions").Index(k)
			errs = append(errs, check(at.Child("key"), r.Key, nameIsQualified(r.Key))...)
			if len(r.Values) == 0 {
				errs = append(errs, field.Required(at.Child("values"), ""))
			}
		}
	}
	return errs
}

// validateParameters bounds what is handed to a driver: 512 entries, 256 KiB.
func validateParameters(p map[string]string, at *field.Path) field.ErrorList {
	const most, size = 512, 256 * 1024
	var errs field.ErrorList
	if len(p) > most {
		errs = append(errs, field.TooLong(at, "Provisioner Parameters exceeded max allowed", most))
	}
	total := 0
	for key, value := range p {
		if key == "" {
			errs = append(errs, field.Invalid(at, key, "field can not be empty."))
		}
		total += len(key) + len(value)
	}
	if total > size {
		errs = append(errs, field.TooLong(at, "", size))
	}
	return errs
}
