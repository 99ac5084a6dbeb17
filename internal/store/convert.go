package store

import (
	"fmt"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
)

// JSONAll is the JSON of many entries in version v, in order. Where v has a conversion for many objects, those of which no
// encoding is kept are converted together.
func JSONAll(v *object.Version, entries []*Entry) ([][]byte, error) {
	out := make([][]byte, len(entries))
	if v.FromHubAll == nil {
		for i, e := range entries {
			data, err := e.JSON(v)
			if err != nil {
				return nil, err
			}
			out[i] = data
		}
		return out, nil
	}
	f := Format{v.GroupVersion, "json"}
	var missing []int
	var hubs []object.Object
	for i, e := range entries {
		if data, ok := e.enc.get(f); ok {
			out[i] = data
			continue
		}
		hub, err := e.passing()
		if err != nil {
			return nil, err
		}
		missing, hubs = append(missing, i), append(hubs, hub)
	}
	if len(missing) == 0 {
		return out, nil
	}
	made, err := v.FromHubAll(hubs)
	if err != nil {
		return nil, err
	}
	for j, i := range missing {
		data, err := codec.EncodeJSON(made[j], v.GroupVersion.WithKind(v.Kind))
		if err != nil {
			return nil, err
		}
		e := entries[i]
		out[i] = e.coll.store.enc.put(&e.enc, f, trimNewline(data))
	}
	return out, nil
}

// InAll is what [Entry.In] gives, for many entries at once.
func InAll(v *object.Version, entries []*Entry) ([]object.Object, error) {
	out := make([]object.Object, len(entries))
	if v.FromHubAll == nil {
		for i, e := range entries {
			obj, err := e.In(v)
			if err != nil {
				return nil, err
			}
			out[i] = obj
		}
		return out, nil
	}
	all, err := JSONAll(v, entries)
	if err != nil {
		return nil, err
	}
	for i, data := range all {
		if out[i], err = decodeKept(v, data); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// EventObjects are the objects of events in version v, in order.
func EventObjects(v *object.Version, events []*Event) ([]object.Object, error) {
	return InAll(v, entriesOf(events))
}

// Convert has the objects of events converted together where version v has a conversion for many, so that encoding them asks nobody.
func Convert(v *object.Version, events []*Event) error {
	if v.FromHubAll == nil || len(events) < 2 {
		return nil
	}
	_, err := JSONAll(v, entriesOf(events))
	return err
}

func entriesOf(events []*Event) []*Entry {
	entries := make([]*Entry, len(events))
	for i, e := range events {
		entries[i] = e.Entry
	}
	return entries
}

func decodeKept(v *object.Version, data []byte) (object.Object, error) {
	u, err := codec.DecodeUnstructured(data, codec.JSON, nil, false)
	if err != nil {
		return nil, fmt.Errorf("read a converted %s again: %w", v.Kind, err)
	}
	return u, nil
}
