package crd

import (
	"encoding/json"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// reviewVersion is the first of the versions that a webhook takes which is known here; they are the same on the wire but for
// what an answer must repeat.
func reviewVersion(wanted []string) string {
	i := slices.IndexFunc(wanted, func(v string) bool { return v == "v1" || v == "v1beta1" })
	if i < 0 {
		return ""
	}
	return wanted[i]
}

func reviewKind(version string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: apiextensionsv1.GroupName, Version: version, Kind: "ConversionReview"}
}

// answer reads the review that a webhook gave back. In v1beta1 it need not say what it is nor which request it answers.
func answer(data []byte, version string, id types.UID) ([]runtime.RawExtension, error) {
	var review apiextensionsv1.ConversionReview
	if err := json.Unmarshal(data, &review); err != nil {
		return nil, fail(callFailure, "failed: its answer is no ConversionReview: %w", err)
	}
	want, got := reviewKind(version), review.GroupVersionKind()
	if got != want && (version == "v1" || !got.Empty()) {
		return nil, fail(malformedFailure, "failed: expected webhook response of %v, got %v", want, got)
	}
	r := review.Response
	switch {
	case r == nil:
		return nil, fail(malformedFailure, "failed: no response provided")
	case version == "v1" && r.UID != id:
		return nil, fail(malformedFailure, "failed: expected response.uid=%q, got %q", id, r.UID)
	case r.Result.Status != metav1.StatusSuccess && r.Result.Message != "":
		return nil, fail(malformedFailure, "failed: %s", r.Result.Message)
	case r.Result.Status != metav1.StatusSuccess:
		return nil, fail(malformedFailure, "failed: response.result.status was '%s', not 'Success'", r.Result.Status)
	}
	return r.ConvertedObjects, nil
}

// accepted takes the object at an index of an answer for in, when it is that in another version. Of metadata only labels and annotations
// may change; other changes are undone without a word, as the API says.
func accepted(data []byte, in *unstructured.Unstructured, index int, to schema.GroupVersion) (*unstructured.Unstructured, error) {
	bad := func(format string, args ...any) (*unstructured.Unstructured, error) {
		return nil, fail(invalidFailure, format, args...)
	}
	out := &unstructured.Unstructured{}
	if err := out.UnmarshalJSON(data); err != nil {
		return bad("returned invalid object at index %d: %w", index, err)
	}
	switch {
	case out.GetAPIVersion() != to.String():
		return bad("returned invalid object at index %d: invalid groupVersion (expected %s, received %s)", index, to, out.GetAPIVersion())
	case out.GetKind() != in.GetKind():
		return bad("returned invalid object at index %d: invalid kind (expected %s, received %s)", index, in.GetKind(), out.GetKind())
	case out.GetName() != in.GetName():
		return bad("returned invalid object: must have the same name: %s != %s", in.GetName(), out.GetName())
	case out.GetNamespace() != in.GetNamespace():
		return bad("returned invalid object: must have the same namespace: %s != %s", in.GetNamespace(), out.GetNamespace())
	case out.GetUID() != in.GetUID():
		return bad("returned invalid object: must have the same UID: %s != %s", in.GetUID(), out.GetUID())
	}
	if err := restore(out, in); err != nil {
		return bad("returned invalid metadata: %w", err)
	}
	return out, nil
}

// restore gives out the metadata of in, but its own labels and annotations.
func restore(out, in *unstructured.Unstructured) error {
	labels, err := texts(out, "labels")
	if err != nil {
		return err
	}
	annotations, err := texts(out, "annotations")
	if err != nil {
		return err
	}
	at := field.NewPath("metadata")
	errs := metav1validation.ValidateLabels(labels, at.Child("labels"))
	if errs = append(errs, apivalidation.ValidateAnnotations(annotations, at.Child("annotations"))...); len(errs) > 0 {
		return errs.ToAggregate()
	}
	meta, ok := in.Object["metadata"].(map[string]any)
	if !ok {
		return nil
	}
	out.Object["metadata"] = runtime.DeepCopyJSON(meta)
	if !apiequality.Semantic.DeepEqual(labels, in.GetLabels()) {
		out.SetLabels(labels)
	}
	if !apiequality.Semantic.DeepEqual(annotations, in.GetAnnotations()) {
		out.SetAnnotations(annotations)
	}
	return nil
}

// texts are the labels or annotations that an object says it has.
func texts(u *unstructured.Unstructured, name string) (map[string]string, error) {
	v, found, err := unstructured.NestedFieldNoCopy(u.Object, "metadata", name)
	if err != nil || !found || v == nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fail(invalidFailure, "metadata.%s must be a map, but is %T in converted object", name, v)
	}
	out := make(map[string]string, len(m))
	for key, value := range m {
		if out[key], ok = value.(string); !ok {
			return nil, fail(invalidFailure, "metadata.%s[%s] must be a string, but is %T in converted object", name, key, value)
		}
	}
	return out, nil
}
