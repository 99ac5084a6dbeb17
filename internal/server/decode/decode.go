// Package decode reads what clients send: bodies and the options in a query. Its errors are the API's, in
// upstream's words, since clients and tests compare some of them.
package decode

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
)

// Expect is what a body should be.
type Expect struct {
	schema.GroupVersionKind
	// New makes an empty value.
	New func() runtime.Object
	// Custom has the schema of untyped objects; nil where there is a Go type.
	Custom *object.Custom
}

// ExpectVersion is one version of a row.
func ExpectVersion(v *object.Version) Expect {
	return Expect{GroupVersionKind: v.GroupVersion.WithKind(v.Kind), New: v.New, Custom: v.Custom}
}

// Body reads one object. Validation is the fieldValidation of the request: Strict refuses unknown and duplicate fields, Warn
// (and empty) tells warn of them, Ignore drops them silently.
func Body(data []byte, media string, want Expect, validation string, warn func(string)) (object.Object, error) {
	obj, problems, gvk, err := Object(data, media, want, Strict(validation))
	if err != nil {
		return nil, explain(err, data, gvk, want)
	}
	if validation == metav1.FieldValidationStrict && len(problems) > 0 {
		return nil, explain(runtime.NewStrictDecodingError(problems), data, want.GroupVersionKind, want)
	}
	Warn(problems, warn)
	return obj, nil
}

// Strict says whether unknown and duplicate fields are to be looked for.
func Strict(validation string) bool { return validation != metav1.FieldValidationIgnore }

// Object reads one object, tells the kind that it names, and with strict names its unknown and duplicate fields. An error is
// the decoder's, or of the API where the kind is another than expected.
func Object(data []byte, media string, want Expect, strict bool) (object.Object, []error, schema.GroupVersionKind, error) {
	found, gvk, err := read(data, media, want, strict)
	if err != nil && !runtime.IsStrictDecodingError(err) {
		return nil, nil, gvk, err
	}
	if gvk != want.GroupVersionKind {
		return nil, nil, gvk, mismatch(found, gvk, want)
	}
	obj, ok := found.(object.Object)
	if !ok {
		return nil, nil, gvk, apierrors.NewBadRequest(fmt.Sprintf("a %s cannot be sent here", gvk.Kind))
	}
	var problems []error
	if s, ok := runtime.AsStrictDecodingError(err); ok {
		problems = s.Errors()
	}
	unknown, err := want.prune(obj)
	if err != nil {
		return nil, nil, gvk, err
	}
	if strict {
		for _, f := range unknown {
			problems = append(problems, fmt.Errorf("unknown field %q", f))
		}
	}
	return obj, problems, gvk, nil
}

// Patched reads what a patch made of an object of that name, which is JSON. A custom resource must still be one of its kind.
func Patched(data []byte, want Expect, name string, strict bool) (object.Object, []error, error) {
	obj, problems, gvk, err := Object(data, codec.JSON, want, strict)
	if want.Custom == nil || gvk.Kind == "" || gvk == want.GroupVersionKind {
		return obj, problems, err
	}
	var errs field.ErrorList
	if gvk.Kind != want.Kind {
		errs = append(errs, field.Invalid(field.NewPath("kind"), gvk.Kind, "must be "+want.Kind))
	}
	if gvk.GroupVersion() != want.GroupVersion() {
		errs = append(errs, field.Invalid(field.NewPath("apiVersion"), gvk.GroupVersion().String(), "must be "+want.GroupVersion().String()))
	}
	return nil, nil, apierrors.NewInvalid(gvk.GroupKind(), name, errs)
}

// Prepare does with an object that came without a decoder what decoding would do: fields that its schema does not have
// go, and what is missing is filled in.
func (e Expect) Prepare(obj object.Object) error {
	_, err := e.prune(obj)
	return err
}

func (e Expect) prune(obj object.Object) ([]string, error) {
	if e.Custom == nil {
		return nil, nil
	}
	unknown, err := e.Custom.Prune(obj)
	if err != nil {
		return nil, err
	}
	e.Custom.Default(obj)
	return unknown, nil
}

// Warn tells of unknown and duplicate fields, each on its own also where the YAML decoder lists several in one error.
func Warn(problems []error, warn func(string)) {
	for _, p := range problems {
		_, list, found := strings.Cut(p.Error(), "yaml: unmarshal errors:\n")
		if !found {
			warn(p.Error())
			continue
		}
		for _, line := range strings.Split(list, "\n") {
			warn(strings.TrimSpace(line))
		}
	}
}

func read(data []byte, media string, want Expect, strict bool) (runtime.Object, schema.GroupVersionKind, error) {
	if want.Custom != nil {
		u, err := codec.DecodeUnstructured(data, media, nil, strict)
		if u == nil {
			gvk, err := identify(data, media, err)
			return nil, gvk, err
		}
		if _, bad := schema.ParseGroupVersion(u.GetAPIVersion()); bad != nil {
			return nil, schema.GroupVersionKind{}, bad
		}
		return u, u.GroupVersionKind(), err
	}
	return codec.Decode(data, media, &want.GroupVersionKind, nil, strict)
}

// identify finds what a custom resource that could not be read says of its kind, which clients are told before anything else that is wrong.
func identify(data []byte, media string, err error) (schema.GroupVersionKind, error) {
	if media == codec.YAML {
		j, bad := yaml.YAMLToJSON(data)
		if bad != nil {
			return schema.GroupVersionKind{}, err
		}
		data = j
	}
	gvk, bad := kjson.DefaultMetaFactory.Interpret(data)
	if bad != nil {
		return schema.GroupVersionKind{}, bad
	}
	return *gvk, err
}

// explain turns the error of a decoder into a 400.
func explain(err error, data []byte, found schema.GroupVersionKind, want Expect) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return err
	}
	if want.Custom != nil && found.Kind != "" && runtime.IsMissingVersion(err) {
		return mismatch(nil, found, want)
	}
	if found.Kind == "" || runtime.IsMissingKind(err) || runtime.IsMissingVersion(err) {
		return apierrors.NewBadRequest(fmt.Sprintf("the object provided is unrecognized (must be of type %s): %v (%s)", want.Kind, err, summary(data)))
	}
	return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %v", found.Kind, found.Version, want.Kind, err))
}

func mismatch(obj runtime.Object, found schema.GroupVersionKind, want Expect) error {
	if u, ok := obj.(*unstructured.Unstructured); ok && found.GroupVersion() == want.GroupVersion() {
		return apierrors.NewInvalid(found.GroupKind(), u.GetName(), field.ErrorList{field.Invalid(field.NewPath("kind"), found.Kind, "must be "+want.Kind)})
	}
	if found.Kind == want.Kind || want.Custom != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("the API version in the data (%s) does not match the expected API version (%s)",
			found.GroupVersion(), want.GroupVersion()))
	}
	return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: converting (%s) to (%s): unknown conversion",
		found.Kind, found.Version, want.Kind, found.Version+"."+found.Kind, internalName(want.GroupVersionKind)))
}

// internalName is what upstream calls the type that a kind is converted to.
func internalName(k schema.GroupVersionKind) string {
	if k.Group == "" {
		return "core." + k.Kind
	}
	first, _, _ := strings.Cut(k.Group, ".")
	return first + "." + k.Kind
}

// summary is the beginning of a body that nobody could read: as it is when it looks like JSON, else in hexadecimal.
func summary(data []byte) string {
	const longest = 30
	more := ""
	if len(data) > longest {
		data, more = data[:longest], " ..."
	}
	switch {
	case len(data) == 0:
		return "<empty>"
	case data[0] == '{':
		return string(data) + more
	}
	return hex.EncodeToString(data) + more
}
