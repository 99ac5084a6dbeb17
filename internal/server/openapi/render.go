package openapi

import (
	"encoding/base64"
	"encoding/json"
	"hash/fnv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

type m = map[string]any

func kindOf(k schema.GroupVersionKind) m {
	return m{"group": k.Group, "version": k.Version, "kind": k.Kind}
}

var codeTexts = map[string]string{"200": "OK", "201": "Created", "202": "Accepted"}

// byPath groups operations.
func byPath(all []operation) map[string][]*operation {
	out := map[string][]*operation{}
	for i := range all {
		out[all[i].path] = append(out[all[i].path], &all[i])
	}
	return out
}

// describe is what both versions say of an operation in the same words.
func (o *operation) describe() m {
	out := m{"tags": []string{o.tag}, "description": o.description, "operationId": o.id}
	if o.action != "" {
		out["x-kubernetes-action"] = o.action
		out[kindExtension] = kindOf(o.gvk)
	}
	return out
}

// paths3 renders operations as paths of an OpenAPI v3 document.
func paths3(all []operation) m {
	paths := m{}
	for path, ops := range byPath(all) {
		item := m{}
		common, rest := shared(ops)
		if len(common) > 0 {
			item["parameters"] = parameters3(common)
		}
		for i, o := range ops {
			item[o.method] = o.render3(rest[i])
		}
		paths[path] = item
	}
	return paths
}

func parameters3(all []parameter) []m {
	out := make([]m, 0, len(all))
	for _, p := range all {
		one := m{"name": p.name, "in": p.in(), "description": p.description, "schema": m{"type": p.kind, "uniqueItems": true}}
		if p.path {
			one["required"] = true
		}
		out = append(out, one)
	}
	return out
}

func (p *parameter) in() string {
	if p.path {
		return "path"
	}
	return "query"
}

func (o *operation) render3(own []parameter) m {
	out := o.describe()
	if len(own) > 0 {
		out["parameters"] = parameters3(own)
	}
	if o.body != "" {
		body := m{"content": content3(o.consumes, o.body)}
		if !o.optionalBody {
			body["required"] = true
		}
		out["requestBody"] = body
	}
	responses := m{"401": m{"description": "Unauthorized"}}
	for _, code := range o.codes {
		responses[code] = m{"description": codeTexts[code], "content": content3(o.produces, o.answer)}
	}
	out["responses"] = responses
	return out
}

func content3(types []string, model string) m {
	c := m{}
	for _, t := range types {
		c[t] = m{"schema": schemaOf("#/components/schemas/", model)}
	}
	return c
}

func schemaOf(place, model string) m {
	if model == "" {
		return m{"type": "string"}
	}
	return m{"$ref": place + model}
}

// renderer2 renders operations for an OpenAPI v2 document, which keeps what many of them share in one place.
type renderer2 struct {
	paths, parameters m
	known             map[parameter]any // as they are written in operations
}

func (r *renderer2) add(all []operation) {
	for path, ops := range byPath(all) {
		item := m{}
		common, rest := shared(ops)
		if len(common) > 0 {
			item["parameters"] = r.list(common, nil)
		}
		for i, o := range ops {
			item[o.method] = r.render(o, rest[i])
		}
		r.paths[path] = item
	}
}

func (r *renderer2) render(o *operation, own []parameter) m {
	out := o.describe()
	out["produces"], out["schemes"] = o.produces, []string{"https"}
	if o.consumes != nil {
		out["consumes"] = o.consumes
	}
	if ps := r.list(own, o.body2()); len(ps) > 0 {
		out["parameters"] = ps
	}
	responses := m{"401": m{"description": "Unauthorized"}}
	for _, code := range o.codes {
		responses[code] = m{"description": codeTexts[code], "schema": schemaOf("#/definitions/", o.answer)}
	}
	out["responses"] = responses
	return out
}

func (r *renderer2) list(ps []parameter, body *spec.Parameter) []any {
	var out []any
	if body != nil {
		out = append(out, r.share(body, strings.HasPrefix(body.Schema.Ref.String(), "#/definitions/io.k8s.apimachinery")))
	}
	for i := range ps {
		p := &ps[i]
		one, ok := r.known[*p]
		if !ok {
			// Names tell the kind, and kubectl looks for the other two in the operations themselves.
			one = r.share(p.spec2(), p.name != "name" && p.name != "fieldValidation" && p.name != "dryRun")
			r.known[*p] = one
		}
		out = append(out, one)
	}
	return out
}

// body2 is the body as a parameter; nil when there is none.
func (o *operation) body2() *spec.Parameter {
	if o.body == "" {
		return nil
	}
	return &spec.Parameter{ParamProps: spec.ParamProps{Name: "body", In: "body", Required: !o.optionalBody, Schema: spec.RefSchema("#/definitions/" + o.body)}}
}

func (p *parameter) spec2() *spec.Parameter {
	return &spec.Parameter{
		CommonValidations: spec.CommonValidations{UniqueItems: true}, SimpleSchema: spec.SimpleSchema{Type: p.kind},
		ParamProps: spec.ParamProps{Name: p.name, In: p.in(), Description: p.description, Required: p.path},
	}
}

// share puts a parameter among those of the document, under its name and a hash of it, and gives the reference to it.
func (r *renderer2) share(p *spec.Parameter, shared bool) any {
	data, err := json.Marshal(p)
	if err != nil || !shared {
		return p // what cannot be written fails with the whole document
	}
	h := fnv.New64()
	_, _ = h.Write(data) // never fails
	key := p.Name + "-" + base64.URLEncoding.EncodeToString(h.Sum(nil)[:6])
	r.parameters[key] = json.RawMessage(data)
	return m{"$ref": "#/parameters/" + key}
}
