package encode

import (
	"encoding/binary"
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
	"hyperkube/internal/server/negotiate"
	"hyperkube/internal/store"
)

// Frames writes the events of one watch in its form. JSON frames are lines; protobuf frames have their length in
// front, in four bytes.
type Frames struct {
	Form    negotiate.Form
	Kind    *object.Kind
	Version *object.Version
	Table   TableOptions
	// OneByOne says that each frame must be written by itself, as messages of a WebSocket are.
	OneByOne bool
}

// ContentType of the stream.
func (f *Frames) ContentType() string {
	if f.Form.Media == negotiate.JSON {
		return negotiate.JSON
	}
	return f.Form.Media + ";stream=watch"
}

// Prepare has the objects of events converted together where the version makes that worth while. Their frames can be made without.
func (f *Frames) Prepare(events []*store.Event) error {
	if f.Form.As == "PartialObjectMetadata" {
		return nil
	}
	return store.Convert(f.Version, events)
}

// Event is the frame of one event. Plain frames are shared by all watchers of the same form.
func (f *Frames) Event(e *store.Event) ([]byte, error) {
	switch {
	case f.Form.As != "":
		data, err := f.transformed(e)
		if err != nil {
			return nil, err
		}
		return f.frame(string(e.Type), data)
	case f.Form.Media == negotiate.Protobuf:
		return e.Encoded(store.Format{GroupVersion: f.Version.GroupVersion, As: "protobuf-frame"}, func() ([]byte, error) {
			data, err := e.Entry.Proto(f.Version)
			if err != nil {
				return nil, err
			}
			return protoFrame(string(e.Type), data)
		})
	}
	return e.JSON(f.Version)
}

// Error is the frame that ends a watch.
func (f *Frames) Error(s *metav1.Status) ([]byte, error) {
	plain := negotiate.Form{Media: f.Form.Media}
	data, err := Any(plain, s, StatusKind)
	if err != nil {
		return nil, err
	}
	return f.frame(string(watch.Error), data)
}

func (f *Frames) transformed(e *store.Event) ([]byte, error) {
	obj := e.Entry.Object()
	if obj == nil {
		return nil, e.Entry.Err()
	}
	as := f.Form
	as.Pretty = false
	if as.As == "Table" && e.Type == watch.Bookmark {
		t := &metav1.Table{ListMeta: metav1.ListMeta{ResourceVersion: obj.GetResourceVersion()},
			Rows: []metav1.TableRow{{Cells: []any{}, Object: runtime.RawExtension{Object: Partial(obj, "v1")}}}}
		return Any(as, t, as.Target())
	}
	table := f.Table
	if f.Version.FromHubAll != nil && as.As == "Table" {
		in, err := e.Entry.In(f.Version)
		if err != nil {
			return nil, err
		}
		table.Converted = []object.Object{in}
	}
	data, err := Transformed(as, f.Kind, f.Version, obj, table)
	f.Table.NoHeaders = true
	return data, err
}

func (f *Frames) frame(kind string, data []byte) ([]byte, error) {
	if f.Form.Media == negotiate.Protobuf {
		return protoFrame(kind, data)
	}
	out, err := json.Marshal(&metav1.WatchEvent{Type: kind, Object: runtime.RawExtension{Raw: data}})
	return append(out, '\n'), err
}

func protoFrame(kind string, data []byte) ([]byte, error) {
	ev, err := (&metav1.WatchEvent{Type: kind, Object: runtime.RawExtension{Raw: data}}).Marshal()
	if err != nil {
		return nil, err
	}
	out := make([]byte, 4, 4+len(ev))
	binary.BigEndian.PutUint32(out, uint32(len(ev)))
	return append(out, ev...), nil
}

// KindOf names the kind of any object of the scheme, for bodies that say none.
func KindOf(obj runtime.Object) schema.GroupVersionKind {
	if gvk := obj.GetObjectKind().GroupVersionKind(); !gvk.Empty() {
		return gvk
	}
	gvk, err := codec.KindOf(obj)
	if err != nil {
		return schema.GroupVersionKind{}
	}
	return gvk
}
