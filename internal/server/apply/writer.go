package apply

import "reflect"

// fieldWriter writes FieldsV1 from a walk in the order of its elements. A path is written once something at it or below is marked.
type fieldWriter struct {
	buf  []byte
	path []string // elements in quotes, from the outermost
	open int      // how many of them are written and not yet closed
}

func (w *fieldWriter) reset() { w.buf, w.path, w.open = append(w.buf[:0], '{'), w.path[:0], 0 }

func (w *fieldWriter) push(element string) { w.path = append(w.path, element) }

func (w *fieldWriter) pop() {
	w.path = w.path[:len(w.path)-1]
	if w.open > len(w.path) {
		w.buf = append(w.buf, '}')
		w.open--
	}
}

// mark notes that the path is owned.
func (w *fieldWriter) mark() {
	for ; w.open < len(w.path); w.open++ {
		w.begin(w.path[w.open])
	}
}

func (w *fieldWriter) begin(element string) {
	if w.buf[len(w.buf)-1] != '{' {
		w.buf = append(w.buf, ',')
	}
	w.buf = append(w.buf, element...)
	w.buf = append(w.buf, `:{`...)
}

func (w *fieldWriter) end() { w.buf = append(w.buf, '}') }

// all notes that the path is owned with everything that v has. It fails where that cannot be told so simply.
func (w *fieldWriter) all(p *plan, v reflect.Value) bool {
	w.mark()
	return w.inside(p, v)
}

// inside writes what is in v, and that v itself is owned where anything is.
func (w *fieldWriter) inside(p *plan, v reflect.Value) bool {
	if !v.IsValid() {
		return true
	}
	switch p.shape {
	case record:
		return w.record(p, v)
	case mapping:
		names, ok := keysOf(v)
		w.self(len(names))
		for i := 0; i < len(names) && ok; i++ {
			w.buf = append(append(append(w.buf, `,"f:`...), names[i]...), `":{`...)
			if p.elem.shape != leaf {
				elem, _ := entry(v, names[i])
				ok = w.inside(p.elem, solid(elem))
			}
			w.end()
		}
		return ok
	case items, set:
		list, ok := p.index(v)
		w.self(len(list))
		for i := 0; i < len(list) && ok; i++ {
			w.begin(list[i].element)
			ok = w.inside(p.elem, list[i].value)
			w.end()
		}
		return ok
	}
	return true
}

func (w *fieldWriter) record(p *plan, v reflect.Value) bool {
	some := 0
	for i := range p.fields {
		f := &p.fields[i]
		inner, there := f.of(v)
		if !there {
			continue
		}
		if some++; some == 1 {
			w.self(1)
		}
		w.begin(f.element)
		if f.plan.shape != leaf && !w.inside(f.plan, solid(inner)) {
			return false
		}
		w.end()
	}
	return true
}

func (w *fieldWriter) self(n int) {
	if n > 0 {
		w.buf = append(w.buf, `".":{}`...)
	}
}

// String is what was marked; empty when nothing was.
func (w *fieldWriter) String() string {
	if len(w.buf) <= 1 {
		return ""
	}
	w.buf = append(w.buf, '}')
	return string(w.buf)
}
