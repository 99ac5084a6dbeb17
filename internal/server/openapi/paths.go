package openapi

import (
	"slices"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
)

// The models that requests and answers share.
const (
	metaModels  = "io.k8s.apimachinery.pkg.apis.meta.v1."
	statusModel = metaModels + "Status"
	deleteModel = metaModels + "DeleteOptions"
	patchModel  = metaModels + "Patch"
	listModel   = metaModels + "APIResourceList"
	watchModel  = metaModels + "WatchEvent"
)

// operation is one method of one path.
type operation struct {
	path, method string
	action       string // x-kubernetes-action; empty for discovery
	id           string
	description  string
	tag          string
	gvk          schema.GroupVersionKind
	body, answer string // models; an answer without one is a string
	optionalBody bool
	codes        []string // of success
	consumes     []string // media types of a body
	produces     []string
	parameters   []parameter
}

// ModelOf is the name of the schema of a Go type; empty when it has none.
func ModelOf(v any) string {
	if n, ok := v.(interface{ OpenAPIModelName() string }); ok {
		return n.OpenAPIModelName()
	}
	return ""
}

// operations lists what the rows serve in one group and version, and its discovery where it is built in.
func operations(rows []*object.Kind, gv schema.GroupVersion) []operation {
	var all []operation
	if object.IsBuiltin(gv) {
		all = append(all, resourcesOperation(gv))
	}
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

// groupWords is the name of a group in ids of operations: its words, capitalised; the project's own domain says nothing.
func groupWords(group string) string {
	if group == "" {
		return "Core"
	}
	var b strings.Builder
	for _, word := range strings.FieldsFunc(strings.TrimSuffix(group, ".k8s.io"), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		b.WriteString(title(word))
	}
	return b.String()
}

func groupTag(group string) string {
	words := groupWords(group)
	return strings.ToLower(words[:1]) + words[1:]
}

func tag(gv schema.GroupVersion) string { return groupTag(gv.Group) + "_" + gv.Version }

func title(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// builder lists the operations of one resource in one version.
type builder struct {
	k           *object.Kind
	v           *object.Version
	gvk         schema.GroupVersionKind
	model, list string
	out         []operation
}

func ofKind(k *object.Kind, v *object.Version) []operation {
	b := &builder{k: k, v: v, gvk: v.WithKind(v.Kind)}
	if v.Custom != nil {
		b.model, b.list = CustomModel(b.gvk), CustomModel(v.GroupVersion.WithKind(v.ListKind()))
	} else {
		b.model = ModelOf(v.New())
		if v.NewList != nil {
			b.list = ModelOf(v.NewList())
		}
	}
	b.everywhere()
	base := b.base("")
	b.collection(base)
	b.watches()
	item := base + "/{name}"
	b.item(target{path: item, model: b.model, gvk: b.gvk}, k.Verbs)
	for i := range k.Subresources {
		if s := &k.Subresources[i]; k.SubresourceIn(v, s.Name) != nil {
			b.subresource(item+"/"+s.Name, s)
		}
	}
	return b.out
}

// base is the path of the collection below a prefix of the version's root: "", "/watch".
func (b *builder) base(prefix string) string {
	if b.k.Scope == object.Namespaced {
		return root(b.v.GroupVersion) + prefix + "/namespaces/{namespace}/" + b.k.Resource
	}
	return root(b.v.GroupVersion) + prefix + "/" + b.k.Resource
}

// target is what an operation is about: an object or a subresource of it.
type target struct {
	path, suffix, model string
	of                  string // "status of "
	gvk                 schema.GroupVersionKind
}

// add completes an operation with what all of the kind have in common and the parameters of its path.
func (b *builder) add(o operation, gvk schema.GroupVersionKind, query ...parameter) {
	o.gvk, o.tag = gvk, tag(b.v.GroupVersion)
	if o.consumes == nil && o.action != "connect" {
		o.consumes = b.bodies()
	}
	if o.produces == nil {
		o.produces = b.answers()
	}
	if o.codes == nil {
		o.codes = []string{"200"}
	}
	if strings.Contains(o.path, "/{namespace}/") {
		o.parameters = append(o.parameters, namespaceInPath)
	}
	if strings.Contains(o.path, "/{name}") {
		o.parameters = append(o.parameters, nameInPath(gvk.Kind))
	}
	if strings.Contains(o.path, "/{path}") {
		o.parameters = append(o.parameters, restInPath)
	}
	if o.action != "connect" {
		o.parameters = append(o.parameters, pretty)
	}
	o.parameters = append(o.parameters, query...)
	b.out = append(b.out, o)
}

// id is an operation's id: verb, group and version, what it is about.
func (b *builder) id(verb, about string) string {
	return verb + groupWords(b.gvk.Group) + title(b.gvk.Version) + title(about)
}

// scoped is an id about objects of the namespace, where they are in one.
func (b *builder) scoped(verb, suffix string) string {
	return b.id(verb, b.within()+b.gvk.Kind+suffix)
}

func (b *builder) within() string {
	if b.k.Scope == object.Namespaced {
		return "Namespaced"
	}
	return ""
}

// article puts one before a name, unless that is a plural.
func article(kind string) string {
	if strings.HasSuffix(kind, "s") && !strings.HasSuffix(kind, "ss") {
		return kind
	}
	if strings.ContainsAny(kind[:1], "AEIOUaeiou") {
		return "an " + kind
	}
	return "a " + kind
}

func (b *builder) verbs(all []string) func(string) bool {
	return func(verb string) bool { return len(all) == 0 || slices.Contains(all, verb) }
}
