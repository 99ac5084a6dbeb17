package openapi

import (
	"strings"

	"hyperkube/internal/object"
)

const (
	mediaJSON  = "application/json"
	mediaYAML  = "application/yaml"
	mediaProto = "application/vnd.kubernetes.protobuf"
	streamed   = ";stream=watch"
)

var (
	anyMedia   = []string{"*/*"}
	wireMedia  = []string{mediaJSON, mediaYAML, mediaProto}
	listMedia  = append(wireMedia[:3:3], mediaJSON+streamed, mediaProto+streamed)
	plainMedia = []string{mediaJSON, mediaYAML}
	patchMedia = []string{
		"application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml",
	}
	customPatchMedia = []string{patchMedia[0], patchMedia[1], patchMedia[3]}
)

// custom resources have no protobuf form and no strategic merge patches.
func (b *builder) custom() bool { return b.v.Custom != nil }

func (b *builder) bodies() []string {
	if b.custom() {
		return plainMedia
	}
	return anyMedia
}

func (b *builder) answers() []string {
	if b.custom() {
		return plainMedia
	}
	return wireMedia
}

func (b *builder) lists() []string {
	if b.custom() {
		return plainMedia
	}
	return listMedia
}

func (b *builder) patches() []string {
	if b.custom() {
		return customPatchMedia
	}
	return patchMedia
}

// reads are the parameters of a get: those of custom resources tell of one that built-in kinds have, too.
func (b *builder) reads() []parameter {
	if b.custom() {
		return getParameters
	}
	return nil
}

func (b *builder) listText() string {
	if b.custom() || !b.k.Serves("watch") {
		return "list objects of kind " + b.gvk.Kind
	}
	return "list or watch objects of kind " + b.gvk.Kind
}

// everywhere is the list over all namespaces.
func (b *builder) everywhere() {
	if b.k.Scope == object.Namespaced && b.k.Serves("list") {
		b.add(operation{path: root(b.v.GroupVersion) + "/" + b.k.Resource, method: "get", action: "list",
			id: b.id("list", b.gvk.Kind+"ForAllNamespaces"), description: b.listText(), answer: b.list, produces: b.lists()}, b.gvk, listParameters...)
	}
}

func (b *builder) collection(path string) {
	if b.k.Serves("list") {
		b.add(operation{path: path, method: "get", action: "list", id: b.scoped("list", ""), description: b.listText(),
			answer: b.list, produces: b.lists()}, b.gvk, listParameters...)
	}
	if b.k.Serves("create") {
		b.add(operation{path: path, method: "post", action: "post", id: b.scoped("create", ""), description: "create " + article(b.gvk.Kind),
			body: b.model, answer: b.model, codes: []string{"200", "201", "202"}}, b.gvk, createParameters...)
	}
	if b.k.Serves("deletecollection") {
		o := operation{path: path, method: "delete", action: "deletecollection", id: b.id("delete", "Collection"+b.within()+b.gvk.Kind),
			description: "delete collection of " + b.gvk.Kind, body: deleteModel, optionalBody: true, answer: statusModel}
		query := collectionParameters
		if b.custom() {
			o.body, query = "", listParameters
		}
		b.add(o, b.gvk, query...)
	}
}

// watches are the paths that only watch, which clients of old use.
func (b *builder) watches() {
	if b.custom() || !b.k.Serves("watch") {
		return
	}
	base := b.base("/watch")
	const instead = "deprecated: use the 'watch' parameter with a list operation instead"
	list := func(path, id string) {
		b.add(operation{path: path, method: "get", action: "watchlist", id: id, answer: watchModel, produces: listMedia,
			description: "watch individual changes to a list of " + b.gvk.Kind + ". " + instead + "."}, b.gvk, listParameters...)
	}
	if b.k.Scope == object.Namespaced {
		list(root(b.v.GroupVersion)+"/watch/"+b.k.Resource, b.id("watch", b.gvk.Kind+"ListForAllNamespaces"))
	}
	list(base, b.scoped("watch", "List"))
	if b.k.Serves("get") {
		b.add(operation{path: base + "/{name}", method: "get", action: "watch", id: b.scoped("watch", ""), answer: watchModel, produces: listMedia,
			description: "watch changes to an object of kind " + b.gvk.Kind + ". " + instead + ", filtered to a single item with the 'fieldSelector' parameter."},
			b.gvk, listParameters...)
	}
}

// item lists the operations of a path that names one object, or one subresource of it. No verbs mean all.
func (b *builder) item(t target, verbs []string) {
	has, kind := b.verbs(verbs), b.gvk.Kind
	if has("get") {
		b.add(operation{path: t.path, method: "get", action: "get", id: b.scoped("read", t.suffix), description: "read " + t.of + "the specified " + kind,
			answer: t.model}, t.gvk, b.reads()...)
	}
	if has("update") {
		b.add(operation{path: t.path, method: "put", action: "put", id: b.scoped("replace", t.suffix), description: "replace " + t.of + "the specified " + kind,
			body: t.model, answer: t.model, codes: []string{"200", "201"}}, t.gvk, updateParameters...)
	}
	if has("patch") {
		o := operation{path: t.path, method: "patch", action: "patch", id: b.scoped("patch", t.suffix), description: "partially update " + t.of + "the specified " + kind,
			body: patchModel, answer: t.model, consumes: b.patches(), codes: []string{"200", "201"}}
		if b.custom() {
			o.codes = o.codes[:1]
		}
		b.add(o, t.gvk, patchParameters...)
	}
	if has("delete") && t.suffix == "" {
		answer := statusModel
		if b.k.ReturnsDeleted() {
			answer = b.model
		}
		b.add(operation{path: t.path, method: "delete", action: "delete", id: b.scoped("delete", ""), description: "delete " + article(kind),
			body: deleteModel, optionalBody: true, answer: answer, codes: []string{"200", "202"}}, t.gvk, deleteParameters...)
	}
}

func (b *builder) subresource(path string, s *object.Subresource) {
	t := target{path: path, suffix: title(s.Name), of: s.Name + " of ", model: b.model, gvk: b.gvk}
	switch {
	case s.Connects():
		b.connect(t, s)
		return
	case s.Name == "log":
		b.add(operation{path: path, method: "get", action: "get", id: b.scoped("read", t.suffix), description: "read log of the specified " + b.gvk.Kind,
			produces: append([]string{"text/plain"}, wireMedia...)}, b.gvk, logParameters...)
		return
	case s.GroupVersionKind.Kind != "":
		obj, err := object.Scheme().New(s.GroupVersionKind)
		if err != nil {
			return
		}
		// Operations on the size of custom resources bear the kind of the resource, in upstream's documents too.
		if t.model = ModelOf(obj); !b.custom() {
			t.gvk = s.GroupVersionKind
		}
	}
	has := b.verbs(s.Verbs)
	if has("create") {
		b.add(operation{path: path, method: "post", action: "post", id: b.scoped("create", t.suffix), description: "create " + t.of + article(b.gvk.Kind),
			body: t.model, answer: t.model, codes: []string{"200", "201", "202"}}, t.gvk, createParameters...)
	}
	b.item(t, s.Verbs)
}

// connect lists the methods of a connection: all of HTTP's where requests are passed on, with the rest of a path and without.
func (b *builder) connect(t target, s *object.Subresource) {
	methods, paths := []string{"get", "post"}, []string{""}
	if s.Name == "proxy" {
		methods, paths = []string{"get", "put", "post", "delete", "options", "head", "patch"}, []string{"", "/{path}"}
	}
	for _, rest := range paths {
		suffix := t.suffix
		if rest != "" {
			suffix += "WithPath"
		}
		for _, m := range methods {
			b.add(operation{path: t.path + rest, method: m, action: "connect", id: b.id("connect", title(m)+b.within()+b.gvk.Kind+suffix),
				description: "connect " + strings.ToUpper(m) + " requests to " + t.of + b.gvk.Kind, consumes: anyMedia, produces: anyMedia},
				s.GroupVersionKind, connectParameters(s.GroupVersionKind)...)
		}
	}
}
