package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// fragment is what some groups contribute to the one document of version 2: the members of its paths, and by name its
// definitions and the parameters that many operations share.
type fragment struct {
	paths                   []byte
	definitions, parameters map[string]json.RawMessage
}

// v2 puts the document of all groups together. The part of the built-in kinds and that of each group of custom resources are
// rendered apart, so that what has not changed need not be rendered again.
func (o *OpenAPI) v2(all []*group) ([]byte, error) {
	var builtin []*group
	parts := [][]*group{nil}
	for _, g := range all {
		if g.builtin() {
			builtin = append(builtin, g)
		} else {
			parts = append(parts, []*group{g})
		}
	}
	parts[0] = builtin
	var paths [][]byte
	definitions, parameters := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	for i, part := range parts {
		name := "v2 of the built-in kinds"
		if i > 0 {
			name = "v2/" + part[0].path
		}
		f, err := o.fragment(name, part)
		if err != nil {
			return nil, err
		}
		if len(f.paths) > 0 {
			paths = append(paths, f.paths)
		}
		maps.Copy(definitions, f.definitions)
		maps.Copy(parameters, f.parameters)
	}
	head, err := json.Marshal(m{
		"swagger": "2.0", "info": o.info(),
		"securityDefinitions": o.security(), "security": []m{{"BearerToken": []string{}}}, "parameters": parameters,
	})
	if err != nil {
		return nil, err
	}
	return join(head, paths, definitions), nil
}

// join adds paths and definitions to an object.
func join(head []byte, paths [][]byte, definitions map[string]json.RawMessage) []byte {
	var out bytes.Buffer
	out.Write(head[:len(head)-1])
	out.WriteString(`,"paths":{`)
	out.Write(bytes.Join(paths, []byte{','}))
	out.WriteString(`},"definitions":{`)
	for i, name := range slices.Sorted(maps.Keys(definitions)) {
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, "%q:", name)
		out.Write(definitions[name])
	}
	out.WriteString(`}}`)
	return out.Bytes()
}

func (o *OpenAPI) fragment(name string, groups []*group) (*fragment, error) {
	v, err := o.shelf.get(name, sum(groups), func() (any, int, error) { return render2(groups) })
	if err != nil {
		return nil, err
	}
	f, ok := v.(*fragment)
	if !ok {
		return nil, fmt.Errorf("%s is a %T", name, v)
	}
	return f, nil
}

func render2(groups []*group) (*fragment, int, error) {
	r := &renderer2{paths: m{}, parameters: m{}, known: map[parameter]any{}}
	f := &fragment{definitions: map[string]json.RawMessage{}, parameters: map[string]json.RawMessage{}}
	for _, g := range groups {
		ops := g.operations()
		r.add(ops)
		definitions, err := g.schemas(true, modelsOf(ops))
		if err != nil {
			return nil, 0, err
		}
		maps.Copy(f.definitions, definitions)
	}
	data, err := json.Marshal(r.paths)
	if err != nil {
		return nil, 0, err
	}
	f.paths = data[1 : len(data)-1]
	size := len(f.paths)
	for name, d := range f.definitions {
		if !strings.HasPrefix(name, "io.k8s.") { // those of the built-in kinds are there anyway
			size += len(d)
		}
	}
	for name, p := range r.parameters {
		if f.parameters[name], err = json.Marshal(p); err != nil {
			return nil, 0, err
		}
	}
	return f, size, nil
}
