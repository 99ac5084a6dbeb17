package codec

import (
	"bytes"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
)

var protoPrefix = []byte("k8s\x00")

// EncodeStorage writes an object of the hub version as upstream keeps it in etcd: the protobuf envelope for
// built-in kinds; JSON for custom resources, CustomResourceDefinitions and APIServices.
// The resourceVersion in the object is written as it is: clear it first.
func EncodeStorage(k *object.Kind, obj object.Object) ([]byte, error) {
	gvk := k.GroupVersionKind()
	if storesJSON(gvk.Group, obj) {
		return EncodeJSON(obj, gvk)
	}
	data, err := EncodeProto(obj, gvk)
	if err != nil {
		return nil, fmt.Errorf("encode %s %s for storage: %w", gvk.Kind, object.KeyOf(obj), err)
	}
	return data, nil
}

// DecodeStorage reads a value of etcd, protobuf or JSON whatever the kind, and brings it to the hub version.
// The result says its kind and is defaulted. A value of another kind or of a version that the row does not know is an error.
func DecodeStorage(k *object.Kind, data []byte) (object.Object, error) {
	obj, err := decodeStored(k, data)
	if err != nil {
		return nil, fmt.Errorf("decode stored %s: %w", k.GroupResource(), err)
	}
	if obj, err = toHub(k, obj); err != nil {
		return nil, fmt.Errorf("decode stored %s: %w", k.GroupResource(), err)
	}
	if k.Default != nil {
		// Fields that are newer than the object get their defaults, and what protobuf cannot carry is restored.
		k.Default(obj)
	}
	return obj, nil
}

// StoredEarlier says whether a value of etcd, one that DecodeStorage takes, is of another version than EncodeStorage gives. For kinds that have
// only one it does not look.
func StoredEarlier(k *object.Kind, data []byte) bool {
	if len(k.Versions) < 2 && len(k.Older) == 0 {
		return false
	}
	version, err := storedVersion(data)
	return err == nil && version != k.GroupVersionKind().GroupVersion().String()
}

func storedVersion(data []byte) (string, error) {
	if bytes.HasPrefix(data, protoPrefix) {
		var env runtime.Unknown
		err := env.Unmarshal(data[len(protoPrefix):])
		return env.APIVersion, err
	}
	if version, _, ok := scanMeta(data); ok {
		return version, nil
	}
	var t metav1.TypeMeta
	err := json.Unmarshal(data, &t)
	return t.APIVersion, err
}

func toHub(k *object.Kind, obj object.Object) (object.Object, error) {
	gvk := obj.GetObjectKind().GroupVersionKind()
	if gvk == k.GroupVersionKind() {
		return obj, nil
	}
	for i := range k.Versions {
		v := &k.Versions[i]
		if v.GroupVersion == gvk.GroupVersion() && v.Kind == gvk.Kind && v.ToHub != nil {
			return v.ToHub(obj)
		}
	}
	return nil, fmt.Errorf("value is a %s", gvk)
}

func decodeStored(k *object.Kind, data []byte) (object.Object, error) {
	hub := k.GroupVersionKind()
	var obj runtime.Object
	var err error
	if len(k.Older) > 0 {
		if old, found, err := decodeOlder(k, data); found || err != nil {
			return old, err
		}
	}
	switch {
	case bytes.HasPrefix(data, protoPrefix):
		obj, _, err = Decode(data, Protobuf, &hub, nil, false)
	case isUnstructured(k):
		obj, err = decodeCustom(k, data)
	default:
		obj, _, err = Decode(data, JSON, &hub, nil, false)
	}
	if err != nil {
		return nil, err
	}
	o, ok := obj.(object.Object)
	if !ok {
		return nil, fmt.Errorf("a %T is no object with metadata", obj)
	}
	return o, nil
}

// decodeOlder reads a value of a version that is stored by upstream only; false: it is of none.
func decodeOlder(k *object.Kind, data []byte) (object.Object, bool, error) {
	hub := k.GroupVersionKind()
	if !bytes.HasPrefix(data, protoPrefix) {
		var t metav1.TypeMeta
		if json.Unmarshal(data, &t) != nil {
			return nil, false, nil // the decoder says what is wrong
		}
		read, ok := k.Older[t.GroupVersionKind().Version]
		if !ok {
			return nil, false, nil
		}
		if read != nil {
			obj, err := read(data)
			return obj, true, err
		}
		u, err := DecodeUnstructured(data, JSON, nil, false)
		if err != nil {
			return nil, true, err
		}
		u.SetGroupVersionKind(hub)
		if data, err = u.MarshalJSON(); err != nil {
			return nil, true, err
		}
		return as(k, JSON, data)
	}
	var env runtime.Unknown
	if err := env.Unmarshal(data[len(protoPrefix):]); err != nil {
		return nil, true, err
	}
	gv, err := schema.ParseGroupVersion(env.APIVersion)
	if err != nil {
		return nil, false, nil
	}
	if read, ok := k.Older[gv.Version]; !ok || read != nil {
		return nil, false, nil
	}
	env.APIVersion = hub.GroupVersion().String()
	raw, err := env.Marshal()
	if err != nil {
		return nil, true, err
	}
	return as(k, Protobuf, append(bytes.Clone(protoPrefix), raw...))
}

func as(k *object.Kind, media string, data []byte) (object.Object, bool, error) {
	hub := k.GroupVersionKind()
	obj, _, err := Decode(data, media, &hub, nil, false)
	if err != nil {
		return nil, true, err
	}
	o, ok := obj.(object.Object)
	if !ok {
		return nil, true, fmt.Errorf("a %T is no object with metadata", obj)
	}
	return o, true, nil
}

// decodeCustom reads a custom resource, which may be of any version that ever was the hub, and drops what its schema does not have.
func decodeCustom(k *object.Kind, data []byte) (runtime.Object, error) {
	hub := k.GroupVersionKind()
	u, err := DecodeUnstructured(data, JSON, &hub, false)
	if err != nil {
		return nil, err
	}
	for i := range k.Versions {
		if v := &k.Versions[i]; v.Custom != nil && v.GroupVersion.WithKind(v.Kind) == u.GroupVersionKind() {
			if _, err := v.Custom.Prune(u); err != nil {
				return nil, err
			}
			v.Custom.Default(u)
		}
	}
	return u, nil
}

func isUnstructured(k *object.Kind) bool {
	_, ok := k.Hub().New().(*unstructured.Unstructured)
	return ok
}

func storesJSON(group string, obj object.Object) bool {
	if _, ok := obj.(runtime.Unstructured); ok {
		return true
	}
	return group == apiextensions || group == apiregistration
}

const (
	apiextensions   = "apiextensions.k8s.io"
	apiregistration = "apiregistration.k8s.io"
)

// KindOf is the kind that the scheme has for a typed object.
func KindOf(obj runtime.Object) (schema.GroupVersionKind, error) {
	if u, ok := obj.(runtime.Unstructured); ok {
		return u.GetObjectKind().GroupVersionKind(), nil
	}
	kinds, _, err := object.Scheme().ObjectKinds(obj)
	if err != nil {
		return schema.GroupVersionKind{}, err
	}
	return kinds[0], nil
}
