package openapi

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
)

// The models that requests and answers share.
const (
	statusModel = "io.k8s.apimachinery.pkg.apis.meta.v1.Status"
	deleteModel = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
	patchModel  = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"
	listModel   = "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList"
	watchModel  = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent"
)

// operation is one method of one path.
type operation struct {
	path, method string
	action       string // x-kubernetes-action
	id           string
	description  string
	gvk          schema.GroupVersionKind
	body, answer string // models; empty for none
	query        []parameter
	inPath       []string
	table        bool // may be answered as a stream
	custom       bool // has no protobuf form and no strategic merge patches
}

// modelOf is the name of the schema of a Go type; empty when it has none.
func modelOf(v any) string {
	if n, ok := v.(interface{ OpenAPIModelName() string }); ok {
		return n.OpenAPIModelName()
	}
	return ""
}

// operations lists what the rows serve in one group and version.
func operations(rows []*object.Kind, gv schema.GroupVersion) []operation {
	var all []operation
	for _, k := range rows {
		for i := range k.Versions {
			if v := &k.Versions[i]; v.GroupVersion == gv && v.Served() {
				all = append(all, ofKind(k, v)...)
			}
		}
	}
	return all
}

func root(gv schema.GroupVersion) string {
	if gv.Group == "" {
		return "/api/" + gv.Version
	}
	return "/apis/" + gv.Group + "/" + gv.Version
}

// ofKind lists the operations of one resource in one version.
func ofKind(k *object.Kind, v *object.Version) []operation {
	b := &builder{k: k, v: v, gvk: v.WithKind(v.Kind)}
	if v.Custom != nil {
		b.model, b.list = CustomModel(b.gvk), CustomModel(v.GroupVersion.WithKind(v.ListKind()))
	} else {
		b.model = modelOf(v.New())
		if v.NewList != nil {
			b.list = modelOf(v.NewList())
		}
	}
	base := root(v.GroupVersion) + "/" + k.Resource
	if k.Scope == object.Namespaced {
		b.inPath = []string{"namespace"}
		base = root(v.GroupVersion) + "/namespaces/{namespace}/" + k.Resource
		if k.Serves("list") {
			b.add(root(v.GroupVersion)+"/"+k.Resource, "get", "list", b.id("list")+"ForAllNamespaces", "list or watch objects of kind "+v.Kind, "", b.list, nil, listParameters)
		}
	}
	b.collection(base)
	b.inPath = append(slices.Clone(b.inPath), "name")
	b.item(base+"/{name}", "", b.model, k.Verbs)
	for i := range k.Subresources {
		if s := &k.Subresources[i]; k.SubresourceIn(v, s.Name) != nil {
			b.subresource(base+"/{name}/"+s.Name, s)
		}
	}
	return b.out
}

type builder struct {
	k           *object.Kind
	v           *object.Version
	gvk         schema.GroupVersionKind
	model, list string
	inPath      []string
	out         []operation
}

func (b *builder) add(path, method, action, id, description, body, answer string, inPath []string, query []parameter) {
	b.out = append(b.out, operation{
		path: path, method: method, action: action, id: id, description: description,
		gvk: b.gvk, body: body, answer: answer, inPath: inPath, query: query, table: action == "list", custom: b.v.Custom != nil,
	})
}

// id is the beginning of an operation's id: verb, group and version, scope and kind.
func (b *builder) id(verb string) string {
	group := "Core"
	if b.gvk.Group != "" {
		first, _, _ := strings.Cut(b.gvk.Group, ".")
		group = title(first)
		if b.v.Custom != nil {
			// Groups of custom resources are told apart by the whole of their name.
			parts := strings.FieldsFunc(b.gvk.Group, func(r rune) bool { return r == '.' || r == '-' })
			group = ""
			for i := len(parts) - 1; i >= 0; i-- {
				group += title(parts[i])
			}
		}
	}
	return verb + group + title(b.gvk.Version) + b.gvk.Kind
}

func (b *builder) scoped(verb string) string {
	if b.k.Scope != object.Namespaced {
		return b.id(verb)
	}
	return strings.TrimSuffix(b.id(verb), b.gvk.Kind) + "Namespaced" + b.gvk.Kind
}

func title(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func (b *builder) collection(path string) {
	kind := b.gvk.Kind
	if b.k.Serves("list") {
		b.add(path, "get", "list", b.scoped("list"), "list or watch objects of kind "+kind, "", b.list, b.inPath, listParameters)
	}
	if b.k.Serves("create") {
		b.add(path, "post", "post", b.scoped("create"), fmt.Sprintf("create %s", kind), b.model, b.model, b.inPath, writeParameters)
	}
	if b.k.Serves("deletecollection") {
		id := strings.Replace(b.scoped("delete"), "delete", "deleteCollection", 1)
		id = strings.Replace(id, "deleteCollection", "delete", 1)
		id = strings.Replace(id, kind, "Collection"+kind, 1)
		b.add(path, "delete", "deletecollection", id, "delete collection of "+kind, deleteModel, statusModel, b.inPath, slices.Concat(deleteParameters, listParameters))
	}
}

// item lists the operations of a path that names one object, or one subresource of it. No verbs mean all.
func (b *builder) item(path, suffix, model string, verbs []string) {
	has := func(verb string) bool { return len(verbs) == 0 || slices.Contains(verbs, verb) }
	kind, of := b.gvk.Kind, ""
	if suffix != "" {
		of = strings.ToLower(suffix) + " of "
	}
	if has("get") {
		b.add(path, "get", "get", b.scoped("read")+suffix, "read "+of+"the specified "+kind, "", model, b.inPath, nil)
	}
	if has("update") {
		b.add(path, "put", "put", b.scoped("replace")+suffix, "replace "+of+"the specified "+kind, model, model, b.inPath, writeParameters)
	}
	if has("patch") {
		b.add(path, "patch", "patch", b.scoped("patch")+suffix, "partially update "+of+"the specified "+kind, patchModel, model, b.inPath, patchParameters)
	}
	if has("delete") && suffix == "" {
		b.add(path, "delete", "delete", b.scoped("delete"), "delete "+aOrAn(kind), deleteModel, statusModel, b.inPath, deleteParameters)
	}
}

func aOrAn(kind string) string {
	if strings.ContainsAny(kind[:1], "AEIOU") {
		return "an " + kind
	}
	return "a " + kind
}

func (b *builder) subresource(path string, s *object.Subresource) {
	model := b.model
	sub := *b
	sub.out = nil
	if !s.GroupVersionKind.Empty() && s.GroupVersionKind.Kind != "" {
		obj, err := object.Scheme().New(s.GroupVersionKind)
		if err != nil {
			return // streams (exec, log, proxy) have no body of a kind that could be described
		}
		model = modelOf(obj)
	}
	if model == "" {
		return
	}
	suffix := title(s.Name)
	if slices.Contains(s.Verbs, "create") {
		sub.add(path, "post", "post", sub.scoped("create")+suffix, "create "+s.Name+" of "+aOrAn(b.gvk.Kind), model, model, b.inPath, writeParameters)
	}
	var rest []string
	for _, v := range s.Verbs {
		if v == "get" || v == "update" || v == "patch" {
			rest = append(rest, v)
		}
	}
	if len(rest) > 0 {
		sub.item(path, suffix, model, rest)
	}
	for i := range sub.out {
		if s.GroupVersionKind.Kind != "" {
			sub.out[i].gvk = s.GroupVersionKind
		}
	}
	b.out = append(b.out, sub.out...)
}
