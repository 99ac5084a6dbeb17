package object

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func configMapKind() *Kind {
	return &Kind{
		Versions:      []Version{version[corev1.ConfigMap, corev1.ConfigMapList](corev1.SchemeGroupVersion, "ConfigMap")},
		Resource:      "configmaps",
		Singular:      "configmap",
		ShortNames:    []string{"cm"},
		Scope:         Namespaced,
		StoragePrefix: "configmaps",
		Strategy: rules[*corev1.ConfigMap]{
			ValidateCreate: validateConfigMap,
			ValidateUpdate: func(c, old *corev1.ConfigMap) field.ErrorList {
				if !deref(old.Immutable, false) {
					return validateConfigMap(c)
				}
				var errs field.ErrorList
				if !deref(c.Immutable, false) {
					errs = append(errs, field.Forbidden(field.NewPath("immutable"), immutableData))
				}
				if !apiequality.Semantic.DeepEqual(c.Data, old.Data) {
					errs = append(errs, field.Forbidden(field.NewPath("data"), immutableData))
				}
				if !apiequality.Semantic.DeepEqual(c.BinaryData, old.BinaryData) {
					errs = append(errs, field.Forbidden(field.NewPath("binaryData"), immutableData))
				}
				return append(errs, validateConfigMap(c)...)
			},
		}.full(Namespaced, nameIsSubdomain),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Data", "string", doc(corev1.ConfigMap{}.SwaggerDoc())["data"]),
			ageColumn(),
		},
		Cells: cells(func(c *corev1.ConfigMap, now time.Time) []any {
			return []any{c.Name, int64(len(c.Data) + len(c.BinaryData)), age(c, now)}
		}),
	}
}

const immutableData = "field is immutable when `immutable` is set"

func validateConfigMap(c *corev1.ConfigMap) field.ErrorList {
	var errs field.ErrorList
	size := 0
	for _, key := range slices.Sorted(maps.Keys(c.Data)) {
		errs = append(errs, check(field.NewPath("data").Key(key), key, validation.IsConfigMapKey(key))...)
		if _, twice := c.BinaryData[key]; twice {
			errs = append(errs, field.Invalid(field.NewPath("data").Key(key), key, "duplicate of key present in binaryData"))
		}
		size += len(c.Data[key])
	}
	for _, key := range slices.Sorted(maps.Keys(c.BinaryData)) {
		errs = append(errs, check(field.NewPath("binaryData").Key(key), key, validation.IsConfigMapKey(key))...)
		size += len(c.BinaryData[key])
	}
	if size > corev1.MaxSecretSize {
		errs = append(errs, field.TooLong(field.NewPath(""), "", corev1.MaxSecretSize))
	}
	return errs
}
