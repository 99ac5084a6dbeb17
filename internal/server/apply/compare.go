package apply

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"sync"
)

// A comparison of two objects finds the fields that the second has and the first has not, or has otherwise, and those that only the first
// has. What it cannot tell (lists with an item twice, names that JSON would escape) it leaves to the general way.
type comparison struct {
	changed, removed fieldWriter
	unable           bool
}

// compare compares two objects of the plan's type but for the fields skip, of which "metadata.labels" is the only one further in; changed and removed are FieldsV1, empty when there are none.
func (p *plan) compare(before, after reflect.Value, skip []string) (changed, removed string, ok bool) {
	c := comparisons.Get().(*comparison)
	defer comparisons.Put(c)
	c.unable = false
	c.changed.reset()
	c.removed.reset()
	c.record(p, before, after, skip)
	if slices.Contains(skip, "metadata.labels") && (bytes.Contains(c.changed.buf, labels) || bytes.Contains(c.removed.buf, labels)) {
		c.unable = true // seldom: whoever writes a status leaves labels alone
	}
	return c.changed.String(), c.removed.String(), !c.unable
}

var labels = []byte(`"f:labels"`)

var comparisons = sync.Pool{New: func() any { return &comparison{} }}

// visit compares what is at the path; in l and r a nil is no value, and lp and rp say whether there is anything at all.
func (c *comparison) visit(p *plan, l, r reflect.Value, lp, rp bool) {
	l, r = solid(l), solid(r)
	switch {
	case !lp:
		c.unable = !c.changed.all(p, r) || c.unable
		return
	case !rp:
		c.unable = !c.removed.all(p, l) || c.unable
		return
	}
	switch p.shape {
	case record:
		if p.vacant(l) && p.vacant(r) {
			c.leaf(l, r)
			return
		}
		c.record(p, l, r, nil)
	case envelope:
		c.record(p, l, r, nil)
	case mapping:
		if length(l) == 0 && length(r) == 0 {
			c.leaf(l, r)
			return
		}
		c.mapping(p, l, r)
	case items, set:
		if length(l) == 0 && length(r) == 0 {
			c.leaf(l, r)
			return
		}
		c.list(p, l, r)
	default:
		c.leaf(l, r)
	}
}

func (c *comparison) leaf(l, r reflect.Value) {
	if !same(l, r) {
		c.changed.mark()
	}
}

func (c *comparison) record(p *plan, l, r reflect.Value, skip []string) {
	for i := range p.fields {
		f := &p.fields[i]
		if slices.Contains(skip, f.name) {
			continue
		}
		lv, lp := f.of(l)
		rv, rp := f.of(r)
		if lp || rp {
			c.within(f.element, f.plan, lv, rv, lp, rp)
		}
	}
}

func (c *comparison) within(element string, p *plan, l, r reflect.Value, lp, rp bool) {
	c.changed.push(element)
	c.removed.push(element)
	c.visit(p, l, r, lp, rp)
	c.changed.pop()
	c.removed.pop()
}

func (c *comparison) mapping(p *plan, l, r reflect.Value) {
	names, ok := keysOf(l, r)
	c.unable = c.unable || !ok
	for _, name := range names {
		lv, lp := entry(l, name)
		rv, rp := entry(r, name)
		c.within(`"f:`+name+`"`, p.elem, lv, rv, lp, rp)
	}
}

// keysOf lists the keys of maps in order; not ok when JSON would escape one.
func keysOf(maps ...reflect.Value) (names []string, ok bool) {
	n := 0
	for _, m := range maps {
		n += length(m)
	}
	names = make([]string, 0, n)
	ok = true
	for _, m := range maps {
		if !m.IsValid() {
			continue
		}
		for it := m.MapRange(); it.Next(); {
			name := it.Key().String()
			names = append(names, name)
			ok = ok && plain(name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), ok
}

func entry(m reflect.Value, name string) (reflect.Value, bool) {
	if !m.IsValid() {
		return reflect.Value{}, false
	}
	v := m.MapIndex(reflect.ValueOf(name).Convert(m.Type().Key()))
	return v, v.IsValid()
}

func (c *comparison) list(p *plan, l, r reflect.Value) {
	ls, lok := p.index(l)
	rs, rok := p.index(r)
	if !lok || !rok {
		c.unable = true
		return
	}
	for len(ls) > 0 || len(rs) > 0 {
		order := 0
		switch {
		case len(ls) == 0:
			order = 1
		case len(rs) == 0:
			order = -1
		default:
			order = ls[0].order(&rs[0])
		}
		switch {
		case order < 0:
			c.within(ls[0].element, p.elem, ls[0].value, reflect.Value{}, true, false)
			ls = ls[1:]
		case order > 0:
			c.within(rs[0].element, p.elem, reflect.Value{}, rs[0].value, false, true)
			rs = rs[1:]
		default:
			c.within(ls[0].element, p.elem, ls[0].value, rs[0].value, true, true)
			ls, rs = ls[1:], rs[1:]
		}
	}
}

// of gives the field of a record, and whether it is there.
func (f *planField) of(v reflect.Value) (reflect.Value, bool) {
	if !v.IsValid() {
		return reflect.Value{}, false
	}
	if len(f.index) == 1 {
		v = v.Field(f.index[0])
	} else {
		v = v.FieldByIndex(f.index)
	}
	return v, !(f.omitEmpty && omittable(v) || f.omitZero && isZero(v))
}

// vacant records have no field at all.
func (p *plan) vacant(v reflect.Value) bool {
	if !v.IsValid() {
		return true
	}
	for i := range p.fields {
		if _, there := p.fields[i].of(v); there {
			return false
		}
	}
	return true
}

// omittable is what omitempty leaves out.
func omittable(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.String, reflect.Array:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

func isZero(v reflect.Value) bool {
	if v.CanAddr() && v.Kind() != reflect.Pointer {
		if z, ok := v.Addr().Interface().(interface{ IsZero() bool }); ok {
			return z.IsZero()
		}
	}
	return v.IsZero()
}

// solid follows pointers; nil of any kind is no value.
func solid(v reflect.Value) reflect.Value {
	for v.IsValid() {
		switch v.Kind() {
		case reflect.Pointer:
			v = v.Elem()
			continue
		case reflect.Slice, reflect.Map, reflect.Interface:
			if v.IsNil() {
				return reflect.Value{}
			}
		}
		return v
	}
	return v
}

func length(v reflect.Value) int {
	if !v.IsValid() {
		return 0
	}
	return v.Len()
}

// same says whether two values are written alike.
func same(l, r reflect.Value) bool {
	if !l.IsValid() || !r.IsValid() {
		return l.IsValid() == r.IsValid()
	}
	switch l.Kind() {
	case reflect.String:
		return l.String() == r.String()
	case reflect.Bool:
		return l.Bool() == r.Bool()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return l.Int() == r.Int()
	}
	if reflect.DeepEqual(l.Interface(), r.Interface()) {
		return true
	}
	a, errA := json.Marshal(l.Interface())
	b, errB := json.Marshal(r.Interface())
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// plain strings are written in JSON as they are, however deep in quotes.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}
