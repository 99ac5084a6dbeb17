// Package decode reads what clients send: bodies and the options in a query. Its errors are the API's, in
// upstream's words, since clients and tests compare some of them.
package decode

import (
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
)

// Expect is what a body should be.
type Expect struct {
	schema.GroupVersionKind
	// New makes an empty value.
	New func() runtime.Object
	// Prune drops and names unknown fields of untyped objects; may be nil.
	Prune func(object.Object) []string
}

// ExpectVersion is one version of a row.
func ExpectVersion(v *object.Version) Expect {
	return Expect{GroupVersionKind: v.GroupVersion.WithKind(v.Kind), New: v.New, Prune: v.Prune}
}

// Body reads one object. Validation is the fieldValidation of the request: Strict refuses unknown and duplicate fields, Warn
// (and empty) tells warn of them, Ignore drops them silently.
func Body(data []byte, media string, want Expect, validation string, warn func(string)) (object.Object, error) {
	strict := validation != metav1.FieldValidationIgnore
	found, gvk, err := read(data, media, want, strict)
	if err != nil && !runtime.IsStrictDecodingError(err) {
		return nil, explain(err, gvk, want)
	}
	if gvk != want.GroupVersionKind {
		return nil, mismatch(gvk, want)
	}
	obj, ok := found.(object.Object)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("a %s cannot be sent here", gvk.Kind))
	}
	var problems []error
	if s, ok := runtime.AsStrictDecodingError(err); ok {
		problems = s.Errors()
	}
	if want.Prune != nil {
		for _, f := range want.Prune(obj) {
			problems = append(problems, fmt.Errorf("unknown field %q", f))
		}
	}
	return obj, judge(problems, validation, want, warn)
}

func read(data []byte, media string, want Expect, strict bool) (runtime.Object, schema.GroupVersionKind, error) {
	if _, untyped := want.New().(*unstructured.Unstructured); untyped {
		u, err := codec.DecodeUnstructured(data, media, &want.GroupVersionKind, strict)
		if u == nil {
			return nil, want.GroupVersionKind, err
		}
		return u, u.GroupVersionKind(), err
	}
	return codec.Decode(data, media, &want.GroupVersionKind, nil, strict)
}

// judge does what the fieldValidation of the request says with unknown and duplicate fields.
func judge(problems []error, validation string, want Expect, warn func(string)) error {
	if len(problems) == 0 || validation == metav1.FieldValidationIgnore {
		return nil
	}
	if validation == metav1.FieldValidationStrict {
		return explain(runtime.NewStrictDecodingError(problems), want.GroupVersionKind, want)
	}
	for _, p := range problems {
		warn(p.Error())
	}
	return nil
}

// explain turns the error of a decoder into a 400.
func explain(err error, found schema.GroupVersionKind, want Expect) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return err
	}
	if runtime.IsNotRegisteredError(err) || runtime.IsMissingKind(err) || runtime.IsMissingVersion(err) {
		return apierrors.NewBadRequest(fmt.Sprintf("the object provided is unrecognized (must be of type %s): %v", want.Kind, err))
	}
	if found.Empty() {
		found = want.GroupVersionKind
	}
	return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %v", found.Kind, found.Version, want.Kind, err))
}

func mismatch(found schema.GroupVersionKind, want Expect) error {
	if found.Kind == want.Kind {
		return apierrors.NewBadRequest(fmt.Sprintf("the API version in the data (%s) does not match the expected API version (%s)",
			found.GroupVersion(), want.GroupVersion()))
	}
	return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: converting (%s) to (%s): unknown conversion",
		found.Kind, found.Version, want.Kind, found, want.GroupVersionKind))
}
