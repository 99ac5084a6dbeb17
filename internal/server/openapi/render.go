package openapi

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

type m = map[string]any

const (
	mediaJSON  = "application/json"
	mediaYAML  = "application/yaml"
	mediaProto = "application/vnd.kubernetes.protobuf"
)

var patchTypes = []string{
	"application/apply-patch+yaml", "application/json-patch+json",
	"application/merge-patch+json", "application/strategic-merge-patch+json",
}

func (o *operation) patchTypes() []string {
	if o.custom {
		return patchTypes[:3]
	}
	return patchTypes
}

func (o *operation) answerTypes() []string {
	t := []string{mediaJSON, mediaProto, mediaYAML}
	if o.custom {
		return []string{mediaJSON, mediaYAML}
	}
	if o.table {
		t = append(t, mediaJSON+";stream=watch", mediaProto+";stream=watch")
	}
	return t
}

func tag(gv schema.GroupVersion) string {
	if gv.Group == "" {
		return "core_" + gv.Version
	}
	first, _, _ := strings.Cut(gv.Group, ".")
	return first + "_" + gv.Version
}

func kindOf(k schema.GroupVersionKind) m {
	return m{"group": k.Group, "version": k.Version, "kind": k.Kind}
}

// codes are the successful answers of an operation.
func (o *operation) codes() map[string]string {
	switch {
	case o.method == "post":
		return map[string]string{"200": "OK", "201": "Created", "202": "Accepted"}
	case o.method == "put" || o.method == "patch":
		return map[string]string{"200": "OK", "201": "Created"}
	case o.action == "delete":
		return map[string]string{"200": "OK", "202": "Accepted"}
	}
	return map[string]string{"200": "OK"}
}

// paths3 renders operations as paths of an OpenAPI v3 document.
func paths3(gv schema.GroupVersion, all []operation) m {
	paths := m{}
	for i := range all {
		o := &all[i]
		item, _ := paths[o.path].(m)
		if item == nil {
			item = m{"parameters": pathParameters3(o.inPath)}
			paths[o.path] = item
		}
		item[o.method] = o.render3(gv)
	}
	return paths
}

func pathParameters3(names []string) []m {
	out := []m{}
	for _, n := range names {
		out = append(out, m{"name": n, "in": "path", "required": true, "description": pathDescriptions[n], "schema": m{"type": "string", "uniqueItems": true}})
	}
	return append(out, query3(pretty))
}

func query3(p parameter) m {
	return m{"name": p.name, "in": "query", "description": p.description, "schema": m{"type": p.kind, "uniqueItems": true}}
}

func (o *operation) render3(gv schema.GroupVersion) m {
	out := m{
		"tags": []string{tag(gv)}, "description": o.description, "operationId": o.id,
		"x-kubernetes-action": o.action, "x-kubernetes-group-version-kind": kindOf(o.gvk),
	}
	if len(o.query) > 0 {
		ps := []m{}
		for _, p := range o.query {
			ps = append(ps, query3(p))
		}
		out["parameters"] = ps
	}
	if o.body != "" {
		types := []string{"*/*"}
		if o.method == "patch" {
			types = o.patchTypes()
		}
		out["requestBody"] = m{"content": content3(types, o.body), "required": o.method != "delete"}
	}
	responses := m{"401": m{"description": "Unauthorized"}}
	for code, text := range o.codes() {
		responses[code] = m{"description": text, "content": content3(o.answerTypes(), o.answer)}
	}
	out["responses"] = responses
	return out
}

func content3(types []string, model string) m {
	c := m{}
	for _, t := range types {
		c[t] = m{"schema": m{"$ref": "#/components/schemas/" + model}}
	}
	return c
}

// paths2 renders operations as paths of an OpenAPI v2 document.
func paths2(gv schema.GroupVersion, all []operation, into m) {
	for i := range all {
		o := &all[i]
		item, _ := into[o.path].(m)
		if item == nil {
			ps := []m{}
			for _, n := range o.inPath {
				ps = append(ps, m{"name": n, "in": "path", "required": true, "description": pathDescriptions[n], "type": "string", "uniqueItems": true})
			}
			item = m{"parameters": append(ps, query2(pretty))}
			into[o.path] = item
		}
		item[o.method] = o.render2(gv)
	}
}

func query2(p parameter) m {
	return m{"name": p.name, "in": "query", "description": p.description, "type": p.kind, "uniqueItems": true}
}

func (o *operation) render2(gv schema.GroupVersion) m {
	ps := []m{}
	if o.body != "" {
		ps = append(ps, m{"name": "body", "in": "body", "required": o.method != "delete", "schema": m{"$ref": "#/definitions/" + o.body}})
	}
	for _, p := range o.query {
		ps = append(ps, query2(p))
	}
	consumes := []string{"*/*"}
	if o.method == "patch" {
		consumes = o.patchTypes()
	}
	responses := m{"401": m{"description": "Unauthorized"}}
	for code, text := range o.codes() {
		responses[code] = m{"description": text, "schema": m{"$ref": "#/definitions/" + o.answer}}
	}
	return m{
		"tags": []string{tag(gv)}, "description": o.description, "operationId": o.id,
		"consumes": consumes, "produces": o.answerTypes(), "schemes": []string{"https"},
		"parameters": ps, "responses": responses,
		"x-kubernetes-action": o.action, "x-kubernetes-group-version-kind": kindOf(o.gvk),
	}
}
