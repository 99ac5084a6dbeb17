// Package encode writes what the API server answers: objects, lists, tables, metadata alone, watch frames and statuses, in
// the form that was negotiated.
//
// Entries of the store bring their encodings along, made once and shared by all readers; a list is those
// encodings in a row between a head and a tail, and nothing of it is copied before it goes to the wire.
package encode

import (
	"bytes"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
	"hyperkube/internal/server/negotiate"
	"hyperkube/internal/server/registry"
)

// StatusKind is the kind of every error.
var StatusKind = schema.GroupVersionKind{Version: "v1", Kind: "Status"}

// Any writes an object that no version conversion concerns: statuses, options, discovery documents.
func Any(f negotiate.Form, obj runtime.Object, gvk schema.GroupVersionKind) ([]byte, error) {
	data, err := codec.Encode(obj, f.Media, gvk)
	if err != nil {
		return nil, err
	}
	return pretty(f, data)
}

// Result writes an object of a row in version v.
func Result(f negotiate.Form, v *object.Version, r registry.Result) ([]byte, error) {
	if r.Entry == nil || r.Fresh != nil {
		return fresh(f, v, r.Fresh)
	}
	switch f.Media {
	case negotiate.Protobuf:
		return r.Entry.Proto(v)
	case negotiate.JSON:
		data, err := r.Entry.JSON(v)
		if err != nil || f.Pretty {
			return indented(data, err)
		}
		return data, nil
	}
	data, err := r.Entry.JSON(v)
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(data)
}

// fresh writes an object that is no entry of the store.
func fresh(f negotiate.Form, v *object.Version, hub object.Object) ([]byte, error) {
	obj := hub
	if v.FromHub != nil {
		var err error
		if obj, err = v.FromHub(hub); err != nil {
			return nil, err
		}
	}
	return Any(f, obj, v.GroupVersion.WithKind(v.Kind))
}

func pretty(f negotiate.Form, data []byte) ([]byte, error) {
	if !f.Pretty || f.Media != negotiate.JSON {
		return data, nil
	}
	return indented(data, nil)
}

func indented(data []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		return nil, fmt.Errorf("indent the answer: %w", err)
	}
	return b.Bytes(), nil
}
