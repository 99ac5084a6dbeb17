package apply

import (
	"bufio"
	_ "embed"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// A plan says how the fields of a Go type are owned: what is walked into, what is owned whole, and by what the items of a list are
// known. It is made once for each type, from the type itself and from the table of what the type does not say.
type plan struct {
	shape  shape
	fields []planField // of a record, sorted by name
	elem   *plan       // of a mapping and of lists
	keys   []planKey   // of items, sorted by name
	zero   reflect.Value
}

type shape uint8

const (
	leaf     shape = iota // owned whole
	record                // a struct, each field of its own
	mapping               // a map, each entry of its own
	items                 // a list of records that keys tell apart
	set                   // a list of scalars, each of its own
	envelope              // a record that is always there and that nobody owns: an object's metadata
)

type planField struct {
	name      string
	element   string // as in FieldsV1, in quotes: "f:spec"
	index     []int
	omitEmpty bool
	omitZero  bool
	plan      *plan
}

// planKey is a field by which items are told apart, with what it is when it is left out, if that is anything.
type planKey struct {
	field       planField
	fallback    string
	hasFallback bool
}

// exceptionsText has a line for each place of a Go type where fields are owned otherwise than the type suggests: structs and maps field by field, lists
// whole. "pkg.Type.field atomic" is owned whole, "set" a list of scalars that are owned one by one, and "map=name,protocol:TCP" a list of
// structs told apart by those keys. "field[]" and "field{}" are what is in a list or a map.
//
//go:embed exceptions.txt
var exceptionsText string

var exceptions = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(exceptionsText)); lines.Scan(); {
		if place, how, ok := strings.Cut(lines.Text(), " "); ok {
			out[place] = how
		}
	}
	return out
})

// untracked are fields of an object that nobody owns, and those of its metadata.
var (
	untracked         = []string{"apiVersion", "kind"}
	untrackedMetadata = []string{"name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion"}
)

// planner makes the plans of a type and of those within.
type planner struct {
	table map[string]string
	made  map[reflect.Type]*plan
}

// newPlan makes the plan of a kind's Go type.
func newPlan(t reflect.Type) (*plan, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%s is no struct", t)
	}
	p := planner{exceptions(), map[reflect.Type]*plan{}}
	made, err := p.record(t)
	if err != nil {
		return nil, err
	}
	out := &plan{shape: record, fields: without(made.fields, untracked), zero: reflect.New(t).Elem()}
	for i := range out.fields {
		if f := &out.fields[i]; f.name == "metadata" {
			f.plan = &plan{shape: envelope, fields: without(f.plan.fields, untrackedMetadata)}
		}
	}
	return out, nil
}

func without(fields []planField, names []string) []planField {
	return slices.DeleteFunc(slices.Clone(fields), func(f planField) bool { return slices.Contains(names, f.name) })
}

func (p *planner) of(t reflect.Type, place string) (*plan, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	how := p.table[place]
	switch {
	case how == "atomic" || opaque(t):
		return &plan{shape: leaf}, nil
	case t.Kind() == reflect.Struct:
		return p.record(t)
	case t.Kind() == reflect.Map:
		elem, err := p.of(t.Elem(), place+"{}")
		return &plan{shape: mapping, elem: elem}, err
	case t.Kind() == reflect.Slice && how == "set":
		return &plan{shape: set, elem: &plan{shape: leaf}}, nil
	case t.Kind() == reflect.Slice && strings.HasPrefix(how, "map="):
		return p.items(t, place, strings.Split(how[len("map="):], ","))
	case how != "":
		return nil, fmt.Errorf("%s: a %s cannot be %q", place, t, how)
	}
	return &plan{shape: leaf}, nil
}

func (p *planner) items(t reflect.Type, place string, keys []string) (*plan, error) {
	elem, err := p.of(t.Elem(), place+"[]")
	if err != nil {
		return nil, err
	}
	out := &plan{shape: items, elem: elem}
	fields, err := p.fields(t.Elem(), nil) // the items themselves may be owned whole
	if err != nil {
		return nil, err
	}
	slices.Sort(keys)
	for _, key := range keys {
		name, fallback, has := strings.Cut(key, ":")
		i := slices.IndexFunc(fields, func(f planField) bool { return f.name == name })
		if i < 0 {
			return nil, fmt.Errorf("%s: items have no %q", place, name)
		}
		out.keys = append(out.keys, planKey{fields[i], fallback, has})
	}
	return out, nil
}

func (p *planner) record(t reflect.Type) (*plan, error) {
	if have := p.made[t]; have != nil {
		return have, nil
	}
	out := &plan{shape: record}
	p.made[t] = out
	var err error
	if out.fields, err = p.fields(t, nil); err != nil {
		return nil, err
	}
	slices.SortFunc(out.fields, func(a, b planField) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

func (p *planner) fields(t reflect.Type, index []int) ([]planField, error) {
	var out []planField
	owner := t.PkgPath() + "." + t.Name()
	for i := range t.NumField() {
		f := t.Field(i)
		tag := jsonTag(f)
		at := append(slices.Clone(index), i)
		switch {
		case tag.skip:
			continue
		case tag.inline && f.Type.Kind() != reflect.Struct:
			return nil, fmt.Errorf("%s.%s is inline and no struct", owner, f.Name)
		case tag.inline:
			inner, err := p.fields(f.Type, at)
			if err != nil {
				return nil, err
			}
			out = append(out, inner...)
			continue
		}
		inner, err := p.of(f.Type, owner+"."+tag.name)
		if err != nil {
			return nil, err
		}
		out = append(out, planField{tag.name, `"f:` + tag.name + `"`, at, tag.omitEmpty, tag.omitZero, inner})
	}
	return out, nil
}

type fieldTag struct {
	name                              string
	skip, inline, omitEmpty, omitZero bool
}

// jsonTag is what a field is called in JSON, and when it is left out.
func jsonTag(f reflect.StructField) fieldTag {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	all := strings.Split(options, ",")
	out := fieldTag{name: name, omitEmpty: slices.Contains(all, "omitempty"), omitZero: slices.Contains(all, "omitzero")}
	out.skip = name == "-" || !f.IsExported()
	out.inline = slices.Contains(all, "inline") || f.Anonymous && name == ""
	if name == "" {
		out.name = f.Name
	}
	return out
}

// opaque types are written as one value, whatever they are made of.
func opaque(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(marshaler)
}

var marshaler = reflect.TypeFor[interface{ MarshalJSON() ([]byte, error) }]()
