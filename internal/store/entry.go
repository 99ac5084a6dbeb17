package store

import (
	"bytes"
	"reflect"
	"strconv"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
)

// Entry is one version of one object. It is never changed and shared by every reader.
type Entry struct {
	// Revision of etcd that wrote this version; of a deletion, the revision that removed the object.
	Revision int64

	coll    *Collection
	key     string               // in etcd
	index   string               // value of the kind's indexed field
	stored  atomic.Pointer[byte] // see [Entry.value]
	decoded atomic.Pointer[decoded]
	odd     *odd  // nil for most
	size    int32 // bytes of the stored value, before encryption
	marks   atomic.Uint32
	enc     encodings
}

// odd is what few entries have.
type odd struct {
	by    string // what the value is encrypted with
	lease int64
	err   error
}

func newOdd(by string, lease int64, err error) *odd {
	if by == "" && lease == 0 && err == nil {
		return nil
	}
	return &odd{by, lease, err}
}

func (e *Entry) by() string {
	if e.odd == nil {
		return ""
	}
	return e.odd.by
}

func (e *Entry) lease() int64 {
	if e.odd == nil {
		return 0
	}
	return e.odd.lease
}

// The marks of entries.
const (
	// unavailable says that err may go away by itself.
	unavailable = 1 << iota
	// written says that this process wrote the version and nobody has asked for an encoding of it yet.
	written
	// aged says that the value is stored in another version of its kind than values are today.
	aged
	// exact says that the stored value is just what the object is encoded as today.
	exact
	// settled says that the value has been moved to a block.
	settled
	// superseded says that another version, or none, has taken the place of this one.
	superseded
)

func (e *Entry) unavailable() bool { return e.marks.Load()&unavailable != 0 }

// Key names the object.
func (e *Entry) Key() object.Key { return e.coll.keyOf(e.key) }

// Err says why the stored value could not be decoded.
func (e *Entry) Err() error {
	if e.odd == nil {
		return nil
	}
	return e.odd.err
}

// JSON is the object in version v as JSON: apiVersion and kind first, no newline at the end. Encoded at most once
// while it is kept. The bytes are shared.
func (e *Entry) JSON(v *object.Version) ([]byte, error) {
	return e.Encoded(Format{v.GroupVersion, "json"}, func() ([]byte, error) {
		obj, err := e.convert(v, e.passing)
		if err != nil {
			return nil, err
		}
		data, err := codec.EncodeJSON(obj, v.GroupVersion.WithKind(v.Kind))
		return trimNewline(data), err
	})
}

// JSONMembers is JSON of a built-in object without what precedes the first member after apiVersion and kind: lists of built-in kinds
// leave these two out of their items. Write '{' and then these bytes.
func JSONMembers(data []byte, v *object.Version) []byte { return data[typeMetaLen(v):] }

// typeMetaLen is the length of {"kind":"Pod","apiVersion":"v1", in front of a built-in object.
func typeMetaLen(v *object.Version) int {
	return len(`{"kind":"","apiVersion":"",`) + len(v.Kind) + len(v.GroupVersion.String())
}

// Proto is the object in version v in the protobuf envelope ("k8s\x00"…). The error of a kind that has no
// protobuf form is protobuf.IsNotMarshalable.
func (e *Entry) Proto(v *object.Version) ([]byte, error) {
	if stored := e.value(); stored != nil && e.marks.Load()&(written|exact) == written|exact && v == e.coll.kind.Hub() {
		// Its writer's answer costs less to make than to keep.
		if data, ok := withVersion(stored, formatRevision(e.Revision)); ok {
			e.marks.And(^uint32(written))
			return data, nil
		}
	}
	return e.Encoded(Format{v.GroupVersion, "protobuf"}, func() ([]byte, error) { return e.proto(v) })
}

// proto takes the stored value where that is what the object would be encoded as.
func (e *Entry) proto(v *object.Version) ([]byte, error) {
	var spliced []byte
	if e.value() != nil && v == e.coll.kind.Hub() {
		spliced, _ = withVersion(e.value(), formatRevision(e.Revision))
		if spliced != nil && e.marks.Load()&exact != 0 {
			return spliced, nil
		}
	}
	obj, err := e.in(v, e.passing)
	if err != nil {
		return nil, err
	}
	data, err := codec.EncodeProto(obj, v.GroupVersion.WithKind(v.Kind))
	if err == nil && spliced != nil && bytes.Equal(data, spliced) {
		e.marks.Or(exact)
	}
	return data, err
}

// In gives the object in version v. It is shared when v is the hub.
func (e *Entry) In(v *object.Version) (object.Object, error) { return e.in(v, e.object) }

func (e *Entry) in(v *object.Version, hub func() (object.Object, error)) (object.Object, error) {
	if v.FromHubAll == nil {
		return e.convert(v, hub)
	}
	// Reading what is kept costs less than asking again.
	data, err := e.JSON(v)
	if err != nil {
		return nil, err
	}
	return decodeKept(v, data)
}

func (e *Entry) convert(v *object.Version, hub func() (object.Object, error)) (object.Object, error) {
	obj, err := hub()
	if err != nil || v.FromHub == nil {
		return obj, err
	}
	return v.FromHub(obj)
}

// Format names an encoding of an object: a version and a word that says the rest.
type Format struct {
	schema.GroupVersion
	As string
}

// Encoded gives the bytes that make made for this format, calling it only when they are not kept.
// Several callers at once may each call make; all get the same bytes.
func (e *Entry) Encoded(f Format, make func() ([]byte, error)) ([]byte, error) {
	if data, ok := e.enc.get(f); ok {
		return data, nil
	}
	data, err := make()
	if err != nil {
		return nil, err
	}
	// The first encoding of what was just written is its writer's answer. Most are never asked for again, and thousands of
	// them would stay for a minute.
	cache := e.coll.store.enc
	if e.marks.And(^uint32(written))&written != 0 {
		cache = e.coll.store.answers
	}
	return cache.put(&e.enc, f, data), nil
}

func trimNewline(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		return b[:n-1]
	}
	return b
}

// at is the same object at another revision: a deletion carries the last state with the
// revision that removed it. What the object points to is shared.
func (e *Entry) at(rev int64) *Entry {
	d := &Entry{Revision: rev, coll: e.coll, key: e.key, index: e.index, odd: e.odd, size: e.size}
	d.stored.Store(e.stored.Load())
	d.marks.Store(e.marks.Load()&(exact|settled) | superseded)
	if obj := e.decoded.Load().still(e.coll); obj != nil {
		d.hold(withResourceVersion(obj, formatRevision(rev)))
	}
	return d
}

// withResourceVersion is a shallow copy with another resourceVersion.
func withResourceVersion(obj object.Object, rv string) object.Object {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return unstructuredWithVersion(u, rv)
	}
	v := reflect.ValueOf(obj)
	shallow := reflect.New(v.Elem().Type())
	shallow.Elem().Set(v.Elem())
	out := shallow.Interface().(object.Object)
	out.SetResourceVersion(rv)
	return out
}

func unstructuredWithVersion(u *unstructured.Unstructured, rv string) object.Object {
	content := make(map[string]any, len(u.Object))
	for k, v := range u.Object {
		content[k] = v
	}
	old, _ := u.Object["metadata"].(map[string]any)
	meta := make(map[string]any, len(old)+1)
	for k, v := range old {
		meta[k] = v
	}
	if rv == "" {
		delete(meta, "resourceVersion")
	} else {
		meta["resourceVersion"] = rv
	}
	content["metadata"] = meta
	return &unstructured.Unstructured{Object: content}
}

func formatRevision(rev int64) string { return strconv.FormatInt(rev, 10) }

// emptyObject is what a bookmark carries: the kind and a resourceVersion.
func emptyObject(k *object.Kind, rev int64, annotations map[string]string) object.Object {
	obj := k.Hub().New().(object.Object) // every stored kind has metadata
	obj.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind())
	obj.SetResourceVersion(formatRevision(rev))
	if annotations != nil {
		obj.SetAnnotations(annotations)
	}
	return obj
}
