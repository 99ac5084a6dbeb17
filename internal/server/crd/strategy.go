package crd

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object"
)

// strategyOf makes the strategy of a row's objects, which are of the hub version.
func strategyOf(k *object.Kind, s *versionSchema, status bool) object.Strategy {
	return object.Strategy{
		Default: s.applyDefaults,
		PrepareCreate: func(obj object.Object) {
			if status {
				drop(obj, "status")
			}
			obj.SetGeneration(1)
		},
		PrepareUpdate: func(obj, old object.Object) {
			if status {
				keep(obj, old, "status")
			}
			obj.SetGeneration(old.GetGeneration())
			if specChanged(obj, old, status) {
				obj.SetGeneration(old.GetGeneration() + 1)
			}
		},
		Validate: func(obj object.Object) field.ErrorList {
			return append(object.ValidateMeta(obj, k.Scope, apivalidation.NameIsDNSSubdomain), s.validate(obj, nil)...)
		},
		ValidateUpdate: func(obj, old object.Object) field.ErrorList {
			// Clients see what is wrong with metadata once from the rules for all objects, once from those for changes and once from those of
			// the kind.
			errs := object.ValidateMeta(obj, k.Scope, apivalidation.NameIsDNSSubdomain)
			changes := object.ValidateMetaUpdate(obj, old)
			return slices.Concat(errs, changes, changes, s.validate(obj, old))
		},
		Warnings: finalizerWarnings,
	}
}

// finalizerWarnings advises against new finalizers whose names another writer may choose as well.
func finalizerWarnings(obj, old object.Object) []string {
	var out []string
	for _, f := range obj.GetFinalizers() {
		if old != nil && slices.Contains(old.GetFinalizers(), f) || strings.Contains(f, "/") || slices.Contains(standardFinalizers, f) {
			continue
		}
		path := ""
		if strings.Contains(f, ".") {
			path = "including a path (/) "
		}
		out = append(out, fmt.Sprintf("metadata.finalizers: %q: prefer a domain-qualified finalizer name %sto avoid accidental conflicts with other finalizer writers", f, path))
	}
	slices.Sort(out)
	return out
}

var standardFinalizers = []string{metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents, string(corev1.FinalizerKubernetes)}

// subresources of a row.
func subresources(s *versionSchema, names map[string]bool) []object.Subresource {
	verbs := []string{"get", "patch", "update"}
	var all []object.Subresource
	if names["scale"] {
		all = append(all, object.Subresource{Name: "scale", Verbs: verbs,
			GroupVersionKind: schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"}})
	}
	if names["status"] {
		all = append(all, object.Subresource{Name: "status", Verbs: verbs, Strategy: object.Strategy{
			PrepareUpdate: onlyStatus,
			ValidateUpdate: func(obj, old object.Object) field.ErrorList {
				return append(object.ValidateMetaUpdate(obj, old), s.validate(obj, old)...)
			},
		}})
	}
	return all
}

// onlyStatus takes the status and who manages it from obj, and everything else from old.
func onlyStatus(obj, old object.Object) {
	u, ok := obj.(*unstructured.Unstructured)
	was, ok2 := old.(*unstructured.Unstructured)
	if !ok || !ok2 {
		return
	}
	status, found := u.Object["status"]
	managed := u.GetManagedFields()
	u.Object = was.DeepCopy().Object
	delete(u.Object, "status")
	if found {
		u.Object["status"] = status
	}
	u.SetManagedFields(managed)
}

func drop(obj object.Object, name string) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		delete(u.Object, name)
	}
}

// keep takes one field from old.
func keep(obj, old object.Object, name string) {
	u, ok := obj.(*unstructured.Unstructured)
	was, ok2 := old.(*unstructured.Unstructured)
	if !ok || !ok2 {
		return
	}
	delete(u.Object, name)
	if v, found := was.Object[name]; found {
		u.Object[name] = v
	}
}

// specChanged says whether anything but metadata, and status where that is a part of its own, differs.
func specChanged(obj, old object.Object, status bool) bool {
	u, ok := obj.(*unstructured.Unstructured)
	was, ok2 := old.(*unstructured.Unstructured)
	if !ok || !ok2 {
		return true
	}
	a, b := maps.Clone(u.Object), maps.Clone(was.Object)
	for _, m := range []map[string]any{a, b} {
		delete(m, "metadata")
		if status {
			delete(m, "status")
		}
	}
	return !reflect.DeepEqual(a, b)
}
