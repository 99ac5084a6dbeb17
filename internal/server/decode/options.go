package decode

import (
	"fmt"
	"net/url"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	internalvalidation "k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
)

// Create reads CreateOptions from a query.
func Create(q url.Values) (*metav1.CreateOptions, error) {
	o := &metav1.CreateOptions{}
	if len(q) > 0 {
		if err := metav1.Convert_url_Values_To_v1_CreateOptions(&q, o, nil); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	return o, CheckCreate(o)
}

// CheckCreate judges CreateOptions.
func CheckCreate(o *metav1.CreateOptions) error {
	o.TypeMeta = typeMeta("CreateOptions")
	return invalid("CreateOptions", metavalidation.ValidateCreateOptions(o))
}

// Update reads UpdateOptions from a query.
func Update(q url.Values) (*metav1.UpdateOptions, error) {
	o := &metav1.UpdateOptions{}
	if len(q) > 0 {
		if err := metav1.Convert_url_Values_To_v1_UpdateOptions(&q, o, nil); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	return o, CheckUpdate(o)
}

// CheckUpdate judges UpdateOptions.
func CheckUpdate(o *metav1.UpdateOptions) error {
	o.TypeMeta = typeMeta("UpdateOptions")
	return invalid("UpdateOptions", metavalidation.ValidateUpdateOptions(o))
}

// Patch reads PatchOptions from a query.
func Patch(q url.Values, t types.PatchType) (*metav1.PatchOptions, error) {
	o := &metav1.PatchOptions{}
	if len(q) > 0 {
		if err := metav1.Convert_url_Values_To_v1_PatchOptions(&q, o, nil); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	return o, CheckPatch(o, t)
}

// CheckPatch judges PatchOptions.
func CheckPatch(o *metav1.PatchOptions, t types.PatchType) error {
	o.TypeMeta = typeMeta("PatchOptions")
	return invalid("PatchOptions", metavalidation.ValidatePatchOptions(o, t))
}

// Get reads GetOptions from a query.
func Get(q url.Values) (*metav1.GetOptions, error) {
	o := &metav1.GetOptions{}
	if len(q) > 0 {
		if err := metav1.Convert_url_Values_To_v1_GetOptions(&q, o, nil); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	return o, nil
}

// Delete reads DeleteOptions from a body or, when that is empty, from a query.
func Delete(body []byte, media string, q url.Values) (*metav1.DeleteOptions, error) {
	o := &metav1.DeleteOptions{}
	switch {
	case len(body) > 0:
		got, err := deleteOptions(body, media)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		o = got
	case len(q) > 0:
		if err := metav1.Convert_url_Values_To_v1_DeleteOptions(&q, o, nil); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	return o, CheckDelete(o)
}

// deleteOptions reads a body. Every group has DeleteOptions, which are all the same.
func deleteOptions(body []byte, media string) (*metav1.DeleteOptions, error) {
	def := schema.GroupVersionKind{Version: "v1", Kind: "DeleteOptions"}
	obj, gvk, err := codec.Decode(body, media, &def, nil, false)
	switch {
	case err == nil:
	case runtime.IsNotRegisteredError(err) && gvk.Kind == def.Kind && media != codec.Protobuf:
		o := &metav1.DeleteOptions{}
		return o, yaml.Unmarshal(body, o)
	case runtime.IsNotRegisteredError(err):
		def.Group = metav1.GroupName // which clients know as the group of those that name none
		_, _, err = codec.Decode(body, media, &def, nil, false)
		return nil, err
	default:
		return nil, err
	}
	o, ok := obj.(*metav1.DeleteOptions)
	if !ok {
		return nil, runtime.NewNotRegisteredErrForKind("pkg/runtime/scheme.go:111", gvk)
	}
	return o, nil
}

// CheckDelete judges DeleteOptions.
func CheckDelete(o *metav1.DeleteOptions) error {
	o.TypeMeta = typeMeta("DeleteOptions")
	return invalid("DeleteOptions", metavalidation.ValidateDeleteOptions(o))
}

// List reads ListOptions from a query.
func List(q url.Values) (*metav1.ListOptions, error) {
	o := &metav1.ListOptions{}
	if len(q) == 0 {
		return o, nil
	}
	if err := metav1.Convert_url_Values_To_v1_ListOptions(&q, o, nil); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return o, nil
}

// CheckList judges ListOptions; watch is what the request is, whatever the options say.
func CheckList(o *metav1.ListOptions, watch bool) error {
	in := &internalversion.ListOptions{
		Watch: watch, ResourceVersion: o.ResourceVersion, ResourceVersionMatch: o.ResourceVersionMatch,
		AllowWatchBookmarks: o.AllowWatchBookmarks, SendInitialEvents: o.SendInitialEvents,
		Limit: o.Limit, Continue: o.Continue, TimeoutSeconds: o.TimeoutSeconds,
	}
	internalversion.SetListOptionsDefaults(in, true)
	errs := internalvalidation.ValidateListOptions(in, true)
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "ListOptions"}, "", errs)
}

// Selectors parses the label and field selectors of a list. Field selectors may only use the fields that the
// row names. Empty selectors are nil.
func Selectors(k *object.Kind, v *object.Version, label, fieldText string) (labels.Selector, fields.Selector, error) {
	var l labels.Selector
	var f fields.Selector
	var err error
	if label != "" {
		if l, err = labels.Parse(label); err != nil {
			return nil, nil, apierrors.NewBadRequest(err.Error())
		}
	}
	if fieldText != "" {
		if f, err = fields.ParseSelector(fieldText); err != nil {
			return nil, nil, apierrors.NewBadRequest(err.Error())
		}
		for _, r := range f.Requirements() {
			if err := knownField(k, v, r.Field); err != nil {
				return nil, nil, err
			}
		}
		f = object.SelectorIn(v, f)
	}
	return l, f, nil
}

// knownField refuses what a selector may not name, in the words of the version.
func knownField(k *object.Kind, v *object.Version, name string) error {
	known := k.FieldNamesIn(v)
	switch {
	case name == "metadata.namespace" && !hasNamespaceField(k, v): // though other cluster-wide kinds do
	case name == "metadata.name" || name == "metadata.namespace" || slices.Contains(known, name):
		return nil
	case v.Custom == nil && len(known) == 0:
		return apierrors.NewBadRequest(fmt.Sprintf("%q is not a known field selector: only \"metadata.name\", \"metadata.namespace\"", name))
	}
	switch gr := k.GroupResource(); {
	case gr.Group == batchv1.GroupName && gr.Resource == "jobs":
		return apierrors.NewBadRequest(fmt.Sprintf("field label %q not supported for Job", name))
	case gr.Group == resourcev1.GroupName:
		return apierrors.NewBadRequest(fmt.Sprintf("field label not supported for %s: %s", v.GroupVersion.WithKind(v.Kind), name))
	}
	return apierrors.NewBadRequest("field label not supported: " + name)
}

// hasNamespaceField says whether objects of a kind may be selected by metadata.namespace. Those that have selectable fields of their own and no
// namespace may not, but for custom ones.
func hasNamespaceField(k *object.Kind, v *object.Version) bool {
	return v.Group != certificatesv1.GroupName && (k.Scope == object.Namespaced || v.Custom != nil || len(k.FieldNamesIn(v)) == 0)
}

func typeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{Kind: kind, APIVersion: metav1.SchemeGroupVersion.String()}
}

func invalid(kind string, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: kind}, "", errs)
}
