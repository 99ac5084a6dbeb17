package store

import (
	"reflect"
	"sync/atomic"
	"unsafe"
	"weak"

	"hyperkube/internal/object"
)

// decoded is the object of an entry in memory. An object takes several times the memory of its stored value, in many small pieces, and most
// objects are not looked at for hours. So only those in use are held: a clock bounds the bytes of their stored values. Of those
// given up a weak pointer stays, so that everybody who asks gets the same object as long as somebody else, an informer say, holds it.
type decoded struct {
	obj   object.Object // nil when only weak knows it
	weak  weak.Pointer[byte]
	entry *Entry
	used  atomic.Bool
}

// weight is that of the stored value and of what is the same for the smallest object.
func (d *decoded) weight() int64 { return int64(d.entry.size) + 256 }

func (d *decoded) spared() bool { return d.used.Swap(false) }

func (d *decoded) release() {
	e := d.entry
	e.settle()
	e.enc.mu.Lock()
	defer e.enc.mu.Unlock()
	if e.decoded.Load() != d {
		return
	}
	e.decoded.Store(e.coll.weakly(d.obj))
}

// weakly knows an object without holding it; nil when it is of another type than all of its kind.
func (c *Collection) weakly(obj object.Object) *decoded {
	v := reflect.ValueOf(obj)
	if v.Type() != c.goType {
		return nil
	}
	return &decoded{weak: weak.Make((*byte)(v.UnsafePointer()))}
}

// still gives the object when anybody holds it.
func (d *decoded) still(c *Collection) object.Object {
	if d == nil || d.obj != nil {
		return d.held()
	}
	p := d.weak.Value()
	if p == nil {
		return nil
	}
	// It was made from a pointer of this type.
	return reflect.NewAt(c.goType.Elem(), unsafe.Pointer(p)).Interface().(object.Object)
}

// held gives the object when it is held here.
func (d *decoded) held() object.Object {
	if d == nil {
		return nil
	}
	return d.obj
}

// use is held, and a reason to hold it on.
func (d *decoded) use() object.Object {
	if d != nil && d.obj != nil && !d.used.Load() {
		d.used.Store(true)
	}
	return d.held()
}

// hold keeps an object that an entry was just made with: for ever, if the entry has no stored value to make another from.
func (e *Entry) hold(obj object.Object) {
	d := &decoded{obj: obj, entry: e}
	e.decoded.Store(d)
	if e.value() != nil {
		e.coll.store.objects.add(d)
	}
}

// Object is of the hub version, says its kind and has its resourceVersion set. It must not be changed. It is nil when the stored value
// could not be decoded; reads of such an entry fail, see [Entry.Err].
func (e *Entry) Object() object.Object {
	if obj := e.decoded.Load().use(); obj != nil {
		return obj
	}
	obj, err := e.object()
	if err != nil && e.Err() == nil {
		e.coll.undecodable(e.key, err)
	}
	return obj
}

// object is what Object gives, or the reason why there is none.
func (e *Entry) object() (object.Object, error) {
	if obj := e.decoded.Load().use(); obj != nil {
		return obj, nil
	}
	if e.value() == nil {
		return nil, e.Err()
	}
	obj, added, err := e.revive()
	if added != nil {
		e.coll.store.objects.add(added)
	}
	return obj, err
}

// revive finds the object again or decodes it, and holds it.
func (e *Entry) revive() (object.Object, *decoded, error) {
	e.enc.mu.Lock()
	defer e.enc.mu.Unlock()
	d := e.decoded.Load()
	if obj := d.use(); obj != nil {
		return obj, nil, nil
	}
	obj := d.still(e.coll)
	if obj == nil {
		var err error
		if obj, err = e.decode(); err != nil {
			return nil, nil, err
		}
	}
	d = &decoded{obj: obj, entry: e}
	e.decoded.Store(d)
	return obj, d, nil
}

// decode makes the object from the stored value.
func (e *Entry) decode() (object.Object, error) {
	obj, err := e.coll.store.cfg.Codec.DecodeStorage(e.coll.kind, e.value())
	if err != nil {
		return nil, errUndecodable(e.key, err)
	}
	obj.SetResourceVersion(formatRevision(e.Revision))
	return obj, nil
}

// passing is the object for a moment: who encodes it or looks at a field does not make others be given up for it.
func (e *Entry) passing() (object.Object, error) {
	if obj := e.decoded.Load().still(e.coll); obj != nil {
		return obj, nil
	}
	if e.value() == nil {
		return nil, e.Err()
	}
	return e.decode()
}
