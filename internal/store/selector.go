package store

import (
	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"hyperkube/internal/object"
)

// selector is what a list or a watch asks for, taken apart for the indexes.
type selector struct {
	namespace, name string
	index           string // wanted value of the indexed field
	indexed         bool
	label           labels.Selector // nil: everything
	field           fields.Selector // nil: everything, or only what the fields above say
	// converted are entries in the version that field looks at; others are converted one by one.
	converted map[*Entry]object.Object
}

// indexField is the field by whose value entries and watchers of a kind are found quickly.
func indexField(k *object.Kind) string {
	if k.StoragePrefix == "pods" {
		return "spec.nodeName"
	}
	return ""
}

func indexValue(obj object.Object) string {
	if p, ok := obj.(*corev1.Pod); ok {
		return p.Spec.NodeName
	}
	return ""
}

func newSelector(k *object.Kind, namespace, name string, label labels.Selector, field fields.Selector) selector {
	s := selector{namespace: namespace, name: name}
	if label != nil && !label.Empty() {
		s.label = label
	}
	if field == nil || field.Empty() {
		return s
	}
	simple := true
	for _, r := range field.Requirements() {
		v, exact := field.RequiresExactMatch(r.Field)
		exact = exact && (v != "" || r.Field == indexField(k)) // nothing has an empty name, and here that stands for all
		switch {
		case exact && r.Field == "metadata.name" && (s.name == "" || s.name == v):
			s.name = v
		case exact && r.Field == "metadata.namespace" && k.Scope == object.Namespaced && (s.namespace == "" || s.namespace == v):
			s.namespace = v
		case exact && r.Field == indexField(k):
			s.index, s.indexed = v, true
		default:
			simple = false
		}
	}
	if !simple {
		s.field = field
	}
	return s
}

// all says that the selector takes a whole namespace or collection.
func (s *selector) all() bool {
	return s.name == "" && !s.indexed && s.label == nil && s.field == nil
}

// id is the same for selectors that select the same.
func (s *selector) id() string {
	id := s.namespace + "\x00" + s.name + "\x00"
	if s.indexed {
		id += "=" + s.index
	}
	id += "\x00"
	if s.label != nil {
		id += s.label.String()
	}
	id += "\x00"
	if s.field != nil {
		id += s.field.String()
	}
	return id
}

func (s *selector) matches(e *Entry) bool {
	return s.nearly(e) && (s.field == nil || s.field.Matches(selected{e, s.converted}))
}

// convert has those entries converted together of which the field selector will want to see another version.
func (s *selector) convert(each func(visit func(*Entry) bool)) error {
	v := object.SelectedVersion(s.field)
	if v == nil || v.FromHubAll == nil {
		return nil
	}
	var entries []*Entry
	each(func(e *Entry) bool {
		if s.nearly(e) {
			entries = append(entries, e)
		}
		return true
	})
	objs, err := InAll(v, entries)
	if err != nil {
		return err
	}
	s.converted = make(map[*Entry]object.Object, len(objs))
	for i, e := range entries {
		s.converted[e] = objs[i]
	}
	return nil
}

// nearly says whether an entry is selected but for the field selector.
func (s *selector) nearly(e *Entry) bool {
	if e == nil || e.Err() != nil {
		return false
	}
	if s.indexed && e.index != s.index {
		return false
	}
	if s.name != "" || s.namespace != "" {
		k := e.Key()
		if s.name != "" && k.Name != s.name || s.namespace != "" && k.Namespace != s.namespace {
			return false
		}
	}
	return s.label == nil || s.label.Matches(e.labels())
}

// selected is an entry as field selectors see it.
type selected struct {
	*Entry
	converted map[*Entry]object.Object
}

var _ object.Selected = selected{}

func (s selected) In(v *object.Version) (object.Object, error) {
	if obj, ok := s.converted[s.Entry]; ok {
		return obj, nil
	}
	return s.Entry.In(v)
}

func (s selected) Has(name string) bool {
	_, ok := s.value(name)
	return ok
}

func (s selected) Get(name string) string {
	v, _ := s.value(name)
	return v
}

func (s selected) value(name string) (string, bool) {
	k := s.coll.kind
	switch name {
	case "metadata.name":
		return s.Entry.Key().Name, true
	case "metadata.namespace":
		return s.Entry.Key().Namespace, true
	case indexField(k):
		return s.index, true
	}
	if k.Fields == nil {
		return "", false
	}
	return s.Entry.field(name)
}

// field is the value of a selectable field. All of an entry's are kept once one was asked for, as building them needs the object.
func (e *Entry) field(name string) (string, bool) {
	data, ok := e.enc.get(fieldsFormat)
	if !ok {
		obj, err := e.passing()
		if err != nil || obj == nil {
			return "", false
		}
		all := e.coll.kind.Fields(obj)
		size := 0
		for k, v := range all {
			size += protowire.SizeBytes(len(k)) + protowire.SizeBytes(len(v))
		}
		made := make([]byte, 0, size)
		for k, v := range all {
			made = protowire.AppendString(protowire.AppendString(made, k), v)
		}
		data = e.coll.store.enc.put(&e.enc, fieldsFormat, made)
	}
	for len(data) > 0 {
		k, n := protowire.ConsumeBytes(data)
		v, m := protowire.ConsumeBytes(data[n:])
		if string(k) == name {
			return bytesAsString(v), true
		}
		data = data[n+m:]
	}
	return "", false
}

// fieldsFormat is that of the selectable fields: name and value in turn, each with its length in front.
var fieldsFormat = Format{As: "fields"}
