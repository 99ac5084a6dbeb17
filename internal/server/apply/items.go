package apply

import (
	"cmp"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// listItem is an item of a list whose items are owned one by one.
type listItem struct {
	element string // as in FieldsV1, in quotes
	value   reflect.Value
	keys    []keyValue
}

// keyValue is one of the values by which an item is known: a text, or a number.
type keyValue struct {
	name   string
	text   string
	number int64
	isText bool
}

func (a *listItem) order(b *listItem) int { return slices.CompareFunc(a.keys, b.keys, keyValue.order) }

func (a keyValue) order(b keyValue) int {
	if c := strings.Compare(a.name, b.name); c != 0 {
		return c
	}
	if c := cmp.Compare(a.number, b.number); c != 0 {
		return c
	}
	return strings.Compare(a.text, b.text)
}

// write appends the value as JSON within a JSON string.
func (a keyValue) write(to []byte) []byte {
	if !a.isText {
		return strconv.AppendInt(to, a.number, 10)
	}
	to = append(to, `\"`...)
	to = append(to, a.text...)
	return append(to, `\"`...)
}

// index lists the items in the order of FieldsV1. It fails where they cannot be told apart, or not so simply.
func (p *plan) index(list reflect.Value) ([]listItem, bool) {
	out := make([]listItem, 0, length(list))
	for i := range length(list) {
		it, ok := p.item(solid(list.Index(i)))
		if !ok {
			return nil, false
		}
		out = append(out, it)
	}
	slices.SortFunc(out, func(a, b listItem) int { return a.order(&b) })
	for i := 1; i < len(out); i++ {
		if out[i].order(&out[i-1]) == 0 {
			return nil, false
		}
	}
	return out, true
}

func (p *plan) item(v reflect.Value) (listItem, bool) {
	if !v.IsValid() {
		return listItem{}, false
	}
	it := listItem{value: v}
	element := make([]byte, 0, 64)
	if p.shape == set {
		k, ok := keyOf("", v)
		it.keys = []keyValue{k}
		it.element = string(append(k.write(append(element, `"v:`...)), '"'))
		return it, ok
	}
	element = append(element, `"k:{`...)
	it.keys = make([]keyValue, 0, len(p.keys))
	for i := range p.keys {
		key := &p.keys[i]
		at, there := key.field.of(v)
		if !there {
			if !key.hasFallback {
				continue
			}
			at = reflect.ValueOf(key.fallback)
		}
		k, ok := keyOf(key.field.name, solid(at))
		if !ok {
			return it, false
		}
		if len(it.keys) > 0 {
			element = append(element, ',')
		}
		element = append(append(append(element, `\"`...), k.name...), `\":`...)
		element = k.write(element)
		it.keys = append(it.keys, k)
	}
	it.element = string(append(element, `}"`...))
	return it, len(it.keys) > 0
}

func keyOf(name string, v reflect.Value) (keyValue, bool) {
	if !v.IsValid() {
		return keyValue{}, false
	}
	switch v.Kind() {
	case reflect.String:
		return keyValue{name: name, text: v.String(), isText: true}, plain(v.String())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return keyValue{name: name, number: v.Int()}, true
	}
	return keyValue{}, false
}
