// Package codec turns objects into bytes and back: JSON, YAML and protobuf for the wire, and the form
// in which etcd holds them.
//
// Decoding gives the Go type that the data names (apiVersion and kind; what is missing comes from a
// default), lenient or strict. Strict decoding still gives the object, together with a
// strict decoding error (runtime.IsStrictDecodingError) that lists unknown and duplicate fields in
// upstream's words. Field names are case-sensitive.
//
// Encoding always writes apiVersion and kind, and never changes the object: shared objects of a
// cache may be encoded by many at once. Every function is safe for concurrent use.
package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	jsonserializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"sigs.k8s.io/yaml"

	"hyperkube/internal/object"
)

// The media types of the wire.
const (
	JSON     = "application/json"
	YAML     = "application/yaml"
	Protobuf = "application/vnd.kubernetes.protobuf"
)

type serializers struct {
	json, jsonStrict, yaml, yamlStrict runtime.Serializer
	proto                              *protobuf.Serializer
}

var shared = sync.OnceValue(func() *serializers {
	s := object.Scheme()
	mk := func(yaml, strict bool) runtime.Serializer {
		return jsonserializer.NewSerializerWithOptions(quickMeta{}, s, s,
			jsonserializer.SerializerOptions{Yaml: yaml, Strict: strict})
	}
	return &serializers{
		json: mk(false, false), jsonStrict: mk(false, true),
		yaml: mk(true, false), yamlStrict: mk(true, true),
		proto: protobuf.NewSerializer(s, s),
	}
})

// Decode reads one object of a built-in kind in the given media type (without parameters). def fills in
// the apiVersion and kind that the data leaves out; into, when not nil and of the kind that the data
// names, is filled and returned. The kind found is returned even beside most errors.
//
// With strict, an object and a strict decoding error may come together; protobuf has no strict form.
// Other errors are runtime.IsMissingKind, IsMissingVersion, IsNotRegisteredError and
// syntax errors, all of them the fault of the data.
func Decode(data []byte, mediaType string, def *schema.GroupVersionKind, into runtime.Object, strict bool) (runtime.Object, schema.GroupVersionKind, error) {
	d, err := decoder(mediaType, strict)
	if err != nil {
		return nil, schema.GroupVersionKind{}, err
	}
	if mediaType == JSON && def != nil && into == nil {
		if obj, ok := decodeQuick(data, *def); ok {
			return obj, *def, nil
		}
	}
	obj, gvk, err := d.Decode(data, def, into)
	if err != nil && mediaType == JSON && !runtime.IsStrictDecodingError(err) {
		err = explain(data, err)
	}
	if gvk == nil {
		gvk = &schema.GroupVersionKind{}
	}
	if obj != nil {
		// Data that left its kind out shall not give an object without one.
		obj.GetObjectKind().SetGroupVersionKind(*gvk)
	}
	return obj, *gvk, err
}

func decoder(mediaType string, strict bool) (runtime.Decoder, error) {
	s := shared()
	switch {
	case mediaType == JSON && strict:
		return s.jsonStrict, nil
	case mediaType == JSON:
		return s.json, nil
	case mediaType == YAML && strict:
		return s.yamlStrict, nil
	case mediaType == YAML:
		return s.yaml, nil
	case mediaType == Protobuf:
		return s.proto, nil
	}
	return nil, fmt.Errorf("no decoder for media type %q", mediaType)
}

// Encode writes an object in a media type; see [EncodeJSON] and [EncodeProto].
func Encode(obj runtime.Object, mediaType string, gvk schema.GroupVersionKind) ([]byte, error) {
	switch mediaType {
	case JSON:
		return EncodeJSON(obj, gvk)
	case YAML:
		return EncodeYAML(obj, gvk)
	case Protobuf:
		return EncodeProto(obj, gvk)
	}
	return nil, fmt.Errorf("no encoder for media type %q", mediaType)
}

// EncodeJSON writes one line of JSON, with a newline at its end, under the given kind.
func EncodeJSON(obj runtime.Object, gvk schema.GroupVersionKind) ([]byte, error) {
	b := buffers.Get().(*bytes.Buffer)
	defer free(b)
	if err := marshalQuick(b, WithKind(obj, gvk)); err != nil {
		return nil, fmt.Errorf("encode %s as JSON: %w", gvk.Kind, err)
	}
	b.WriteByte('\n')
	return bytes.Clone(b.Bytes()), nil
}

// buffers are where objects are encoded before it is known how long that will be: what is kept is a copy that fits.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// free takes a buffer back, unless an unusual object has made it large.
func free(b *bytes.Buffer) {
	const largest = 64 << 10
	if b.Cap() <= largest {
		b.Reset()
		buffers.Put(b)
	}
}

// EncodeYAML writes YAML under the given kind.
func EncodeYAML(obj runtime.Object, gvk schema.GroupVersionKind) ([]byte, error) {
	j, err := json.Marshal(WithKind(obj, gvk))
	if err != nil {
		return nil, fmt.Errorf("encode %s as JSON: %w", gvk.Kind, err)
	}
	y, err := yaml.JSONToYAML(j)
	if err != nil {
		return nil, fmt.Errorf("encode %s as YAML: %w", gvk.Kind, err)
	}
	return y, nil
}

// EncodeProto writes the protobuf envelope (the prefix "k8s\x00" and a runtime.Unknown with apiVersion,
// kind and the raw message). The error of an object without a protobuf form (custom resources) is
// protobuf.IsNotMarshalable.
func EncodeProto(obj runtime.Object, gvk schema.GroupVersionKind) ([]byte, error) {
	memory := runtime.AllocatorPool.Get().(*runtime.Allocator)
	defer runtime.AllocatorPool.Put(memory)
	var b bytes.Buffer // gets everything at once, and so fits
	if err := shared().proto.EncodeWithAllocator(envelope{obj, gvk}.object(), &b, memory); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// envelope carries an object into the protobuf serializer under another kind.
type envelope struct {
	obj runtime.Object
	gvk schema.GroupVersionKind
}

func (e envelope) object() runtime.Object {
	if e.obj.GetObjectKind().GroupVersionKind() == e.gvk {
		return e.obj
	}
	return WithKind(e.obj, e.gvk)
}

// WithKind is the object itself when it says that it is of this kind already, else a shallow copy that
// says so. The copy shares all maps, slices and pointers with the original.
func WithKind(obj runtime.Object, gvk schema.GroupVersionKind) runtime.Object {
	if obj.GetObjectKind().GroupVersionKind() == gvk {
		return obj
	}
	if u, ok := obj.(runtime.Unstructured); ok {
		return unstructuredWithKind(u, gvk)
	}
	v := reflect.ValueOf(obj)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return obj
	}
	shallow := reflect.New(v.Elem().Type())
	shallow.Elem().Set(v.Elem())
	out, ok := shallow.Interface().(runtime.Object)
	if !ok {
		return obj
	}
	out.GetObjectKind().SetGroupVersionKind(gvk)
	return out
}

func unstructuredWithKind(u runtime.Unstructured, gvk schema.GroupVersionKind) runtime.Object {
	content := u.UnstructuredContent()
	m := make(map[string]any, len(content)+2)
	for k, v := range content {
		m[k] = v
	}
	m["apiVersion"], m["kind"] = gvk.GroupVersion().String(), gvk.Kind
	out := u.NewEmptyInstance()
	out.SetUnstructuredContent(m)
	return out
}
