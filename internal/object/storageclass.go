package object

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/podspec"
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
			Warnings: oldTopologies,
			ValidateUpdate: func(s, old *storagev1.StorageClass) field.ErrorList {
				errs := unchanged(s.Parameters, old.Parameters, field.NewPath("parameters"))
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
	errs = append(errs, validateProvisioner(s.Provisioner, field.NewPath("provisioner"))...)
	errs = append(errs, validateParameters(s.Parameters, field.NewPath("parameters"))...)
	if p := s.ReclaimPolicy; p != nil && *p != "" {
		errs = append(errs, oneOf(field.NewPath("reclaimPolicy"), *p, corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRetain)...)
	}
	if m := s.VolumeBindingMode; m == nil {
		errs = append(errs, field.Required(field.NewPath("volumeBindingMode"), ""))
	} else {
		errs = append(errs, oneOf(field.NewPath("volumeBindingMode"), *m, storagev1.VolumeBindingImmediate, storagev1.VolumeBindingWaitForFirstConsumer)...)
	}
	return append(errs, validateTopologies(s.AllowedTopologies, field.NewPath("allowedTopologies"))...)
}

// validateProvisioner judges the name of who makes volumes, in lower case, as errors tell it.
func validateProvisioner(name string, at *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	lower := strings.ToLower(name)
	return check(at, lower, nameIsQualified(lower))
}

// validateTopologies wants terms that differ, and in each the keys and the values of a key to differ. A term that says nothing
// says nothing new.
func validateTopologies(terms []corev1.TopologySelectorTerm, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	said := []map[string]sets.Set[string]{{}}
	for i, t := range terms {
		p := at.Index(i).Child("matchLabelExpressions")
		term := map[string]sets.Set[string]{}
		for k, r := range t.MatchLabelExpressions {
			q, values := p.Index(k), sets.New[string]()
			if len(r.Values) == 0 {
				errs = append(errs, field.Required(q.Child("values"), ""))
			}
			for n, v := range r.Values {
				if values.Has(v) {
					errs = append(errs, field.Duplicate(q.Child("values").Index(n), v))
				}
				values.Insert(v)
			}
			errs = append(errs, check(q.Child("key"), r.Key, nameIsQualified(r.Key))...)
			if _, again := term[r.Key]; again {
				errs = append(errs, field.Duplicate(q.Child("key"), r.Key))
			}
			term[r.Key] = values
		}
		if slices.ContainsFunc(said, func(o map[string]sets.Set[string]) bool { return apiequality.Semantic.DeepEqual(o, term) }) {
			errs = append(errs, field.Duplicate(p, ""))
		}
		said = append(said, term)
	}
	return errs
}

// oldTopologies warns of labels that others have taken the place of.
func oldTopologies(s, _ *storagev1.StorageClass) []string {
	var warnings []string
	for i, t := range s.AllowedTopologies {
		for k, r := range t.MatchLabelExpressions {
			at := field.NewPath("allowedTopologies").Index(i).Child("matchLabelExpressions").Index(k).Child("key")
			if w := podspec.LabelWarning(r.Key, at); w != "" {
				warnings = append(warnings, w)
			}
		}
	}
	return warnings
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
