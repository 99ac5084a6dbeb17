package object

import (
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/goform"
)

// NameRule judges a name, or with prefix the beginning of one to be generated, and gives
// what is wrong with it.
type NameRule func(name string, prefix bool) []string

// The rules for names of built-in kinds.
var (
	nameIsSubdomain NameRule = apivalidation.NameIsDNSSubdomain
	nameIsLabel     NameRule = apivalidation.NameIsDNSLabel
	nameIs1035Label NameRule = apivalidation.NameIsDNS1035Label
	nameIsSegment   NameRule = path.ValidatePathSegmentName
)

var metadataPath = field.NewPath("metadata")

// ValidateMeta judges the metadata of a new object: its name by the kind's rule (a name has to be there, or
// a generateName), whether it has a namespace as its scope wants, labels, annotations, owner
// references, finalizers and managed fields.
func ValidateMeta(obj metav1.Object, scope Scope, name NameRule) field.ErrorList {
	return apivalidation.ValidateObjectMetaAccessor(obj, scope == Namespaced, apivalidation.ValidateNameFunc(name), metadataPath)
}

// ValidateMetaUpdate judges changed metadata against the old: identity, creation and deletion times are immutable,
// and an object that is being deleted takes no new finalizers. A resourceVersion must be there.
func ValidateMetaUpdate(obj, old metav1.Object) field.ErrorList {
	return apivalidation.ValidateObjectMetaAccessorUpdate(obj, old, metadataPath)
}

// full makes the strategy of a main resource: r.Validate and r.Compare judge what metadata does not, on create and on update,
// r.ValidateCreate new objects and r.ValidateUpdate what may not change.
func (r rules[T]) full(scope Scope, name NameRule) Strategy {
	validate, compare, create, update, nameOf := r.Validate, r.Compare, r.ValidateCreate, r.ValidateUpdate, r.Name
	r.keepGeneration()
	rule := func(obj T) NameRule {
		if nameOf != nil {
			return nameOf(obj)
		}
		return name
	}
	judge := func(obj, old T) field.ErrorList {
		var errs field.ErrorList
		if validate != nil {
			errs = validate(obj)
		}
		if compare != nil {
			errs = append(errs, compare(obj, old)...)
		}
		return errs
	}
	r.Validate = func(obj T) field.ErrorList {
		errs := append(ValidateMeta(obj, scope, rule(obj)), standardFinalizers(obj)...)
		var none T
		errs = append(errs, judge(obj, none)...)
		if create != nil {
			errs = append(errs, create(obj)...)
		}
		return errs
	}
	r.ValidateUpdate = func(obj, old T) field.ErrorList {
		errs := validateGenerateName(obj, rule(obj))
		if nameOf != nil && judgesGenerateName(obj) { // what the name has to agree with may have changed
			errs = append(errs, check(metadataPath.Child("name"), obj.GetName(), rule(obj)(obj.GetName(), false))...)
		}
		errs = append(errs, metaUpdate(obj, old)...)
		errs = append(errs, updatedFinalizers(obj)...)
		errs = append(errs, judge(obj, old)...)
		if update != nil {
			errs = append(errs, update(obj, old)...)
		}
		return errs
	}
	return r.strategy()
}

// part makes the strategy of a subresource that writes a part of its parent.
func (r rules[T]) part() Strategy {
	update := r.ValidateUpdate
	r.keepGeneration()
	r.ValidateUpdate = func(obj, old T) field.ErrorList {
		errs := ValidateMetaUpdate(obj, old)
		if update != nil {
			errs = append(errs, update(obj, old)...)
		}
		return errs
	}
	return r.strategy()
}

// keepGeneration makes every update begin with the old generation, whatever the client sent.
func (r *rules[T]) keepGeneration() {
	prepare := r.PrepareUpdate
	r.PrepareUpdate = func(obj, old T) {
		obj.SetGeneration(old.GetGeneration())
		if prepare != nil {
			prepare(obj, old)
		}
	}
}

// immutable is an error when a field differs from its old value.
func immutable(value, old any, at *field.Path) field.ErrorList {
	return apivalidation.ValidateImmutableField(value, old, at)
}

// unchanged is immutable where the rule is declared on the type, whose errors do not quote the value.
func unchanged(value, old any, at *field.Path) field.ErrorList {
	if apiequality.Semantic.DeepEqual(value, old) {
		return nil
	}
	return field.ErrorList{field.Invalid(at, nil, "field is immutable")}
}

// immutableWhole is immutable for a structure, which the error quotes whole.
func immutableWhole(value, old any, at *field.Path) field.ErrorList {
	if apiequality.Semantic.DeepEqual(value, old) {
		return nil
	}
	return field.ErrorList{field.Invalid(at, goform.Of(value), apivalidation.FieldImmutableErrorMsg)}
}

// firstGeneration begins the count of an object's desired states.
func firstGeneration(obj metav1.Object) { obj.SetGeneration(1) }

// nextGeneration counts a new desired state when the two values differ.
func nextGeneration(obj, old metav1.Object, value, oldValue any) {
	obj.SetGeneration(old.GetGeneration())
	if !apiequality.Semantic.DeepEqual(value, oldValue) {
		obj.SetGeneration(old.GetGeneration() + 1)
	}
}

// nameIsLong is nameIsSubdomain where the rule is declared on the type: it tells lengths in bytes and leaves beginnings of names alone.
func nameIsLong(name string, prefix bool) []string {
	if prefix {
		return nil
	}
	return content.IsDNS1123Subdomain(name)
}

// nameIsQualified judges a name with an optional domain prefix: "example.com/thing".
func nameIsQualified(name string) []string { return validation.IsQualifiedName(name) }
