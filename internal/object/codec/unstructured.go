package codec

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// DecodeUnstructured reads JSON or YAML into an untyped object; def fills in a missing apiVersion and kind.
// Integers stay integers. With strict, duplicate fields come as a strict decoding error beside
// the object; unknown fields are the business of whoever knows the schema.
func DecodeUnstructured(data []byte, mediaType string, def *schema.GroupVersionKind, strict bool) (*unstructured.Unstructured, error) {
	var strictErrs []error
	said := data
	switch mediaType {
	case JSON:
	case YAML:
		if strict {
			if _, err := yaml.YAMLToJSONStrict(data); err != nil {
				strictErrs = append(strictErrs, err)
			}
		}
		j, err := yaml.YAMLToJSON(data)
		if err != nil {
			return nil, err
		}
		data = j
	default:
		return nil, fmt.Errorf("no decoder for media type %q", mediaType)
	}

	content := map[string]any{}
	if strict {
		more, err := kjson.UnmarshalStrict(data, &content)
		if err != nil {
			return nil, err
		}
		strictErrs = append(strictErrs, more...)
	} else if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &content); err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{Object: content}
	if err := completeKind(u, def, said); err != nil {
		return nil, err
	}
	if len(strictErrs) > 0 {
		return u, runtime.NewStrictDecodingError(strictErrs)
	}
	return u, nil
}

func completeKind(u *unstructured.Unstructured, def *schema.GroupVersionKind, data []byte) error {
	for _, key := range []string{"apiVersion", "kind"} {
		if v, found := u.Object[key]; found {
			if _, ok := v.(string); !ok {
				return fmt.Errorf("couldn't get version/kind; json parse error: %s is not a string", key)
			}
		}
	}
	if u.Object == nil {
		u.Object = map[string]any{}
	}
	if def != nil {
		if u.GetKind() == "" {
			u.SetKind(def.Kind)
		}
		if u.GetAPIVersion() == "" {
			u.SetAPIVersion(def.GroupVersion().String())
		}
	}
	if u.GetKind() == "" {
		return runtime.NewMissingKindErr(string(data))
	}
	if u.GetAPIVersion() == "" {
		return runtime.NewMissingVersionErr(string(data))
	}
	return nil
}

// UnstructuredOf gives the untyped form of a typed object: what a JSON round trip would give.
func UnstructuredOf(obj runtime.Object) (*unstructured.Unstructured, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, fmt.Errorf("untyped form of %T: %w", obj, err)
	}
	return &unstructured.Unstructured{Object: m}, nil
}

// ToTyped fills a typed object from an untyped one. Unknown fields are dropped.
func ToTyped(u *unstructured.Unstructured, into runtime.Object) error {
	data, err := json.Marshal(u.Object)
	if err != nil {
		return fmt.Errorf("typed form of %s: %w", u.GetKind(), err)
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, into); err != nil {
		return fmt.Errorf("typed form of %s: %w", u.GetKind(), err)
	}
	return nil
}
