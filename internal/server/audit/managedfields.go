package audit

import (
	"bytes"
	"encoding/json"
)

// withoutManagedFields takes metadata.managedFields out of an object, out of the items of a list, and out of the objects of a table's
// rows. What is no such JSON stays as it is.
func withoutManagedFields(data []byte) []byte {
	if !bytes.Contains(data, []byte(`"managedFields"`)) {
		return data
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var doc map[string]any
	if dec.Decode(&doc) != nil {
		return data
	}
	strip(doc)
	each(doc["items"], strip)
	each(doc["rows"], func(row map[string]any) {
		if obj, ok := row["object"].(map[string]any); ok {
			strip(obj)
		}
	})
	out, err := json.Marshal(doc)
	if err != nil {
		return data
	}
	return out
}

func strip(obj map[string]any) {
	if meta, ok := obj["metadata"].(map[string]any); ok {
		delete(meta, "managedFields")
	}
}

func each(list any, f func(map[string]any)) {
	items, _ := list.([]any)
	for _, i := range items {
		if obj, ok := i.(map[string]any); ok {
			f(obj)
		}
	}
}
