// Package discovery tells clients what an API server serves: the documents under /api and /apis, one by one as of old
// and aggregated (apidiscovery.k8s.io/v2), derived from the rows of the object table and from what is served elsewhere.
//
// The documents of one generation of the table are made once, when somebody asks; a document that has
// been made is never changed. Reading is safe from any goroutine.
package discovery

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"

	"hyperkube/internal/object"
)

// Foreign is a group version served by somebody else.
type Foreign struct {
	schema.GroupVersion
	// Priorities as in an APIService: higher groups come first, and higher versions within a group.
	GroupPriority, VersionPriority int32
	Resources                      []metav1.APIResource
	// Stale says that the resources could not be read lately.
	Stale bool
}

// Group is one API group as it is served.
type Group struct {
	Name     string
	priority int32
	Versions []Version // the preferred one first
}

// Version is one version of a group and its resources: subresources follow their parents.
type Version struct {
	schema.GroupVersion
	Resources []metav1.APIResource
	Stale     bool
	// Own is false for versions served elsewhere.
	Own bool
	// Custom says that its resources are custom ones.
	Custom   bool
	priority int32
}

// Documents makes and keeps the documents.
type Documents struct {
	table   *object.Table
	foreign func() []Foreign

	mu         sync.Mutex
	generation int64
	own        []Group
	made       bool
}

// New makes documents of a table. foreign may be nil.
func New(t *object.Table, foreign func() []Foreign) *Documents {
	return &Documents{table: t, foreign: foreign}
}

// Groups is everything served now, in the order of priority; the legacy group, named "", is first.
func (d *Documents) Groups() []Group {
	var foreign []Foreign
	if d.foreign != nil {
		foreign = d.foreign()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if g := d.table.Generation(); !d.made || g != d.generation {
		d.own, d.generation, d.made = fromTable(d.table), g, true
	}
	if len(foreign) == 0 {
		return d.own
	}
	return merge(d.own, foreign)
}

// Group finds one group.
func (d *Documents) Group(name string) (Group, bool) {
	for _, g := range d.Groups() {
		if g.Name == name {
			return g, true
		}
	}
	return Group{}, false
}

// Version finds one group version.
func (d *Documents) Version(gv schema.GroupVersion) (Version, bool) {
	g, _ := d.Group(gv.Group)
	for _, v := range g.Versions {
		if v.Version == gv.Version {
			return v, true
		}
	}
	return Version{}, false
}

func fromTable(t *object.Table) []Group {
	byGV := map[schema.GroupVersion]*Version{}
	for _, k := range t.All() {
		for i := range k.Versions {
			v := &k.Versions[i]
			if !v.Served() {
				continue
			}
			doc := byGV[v.GroupVersion]
			if doc == nil {
				doc = &Version{GroupVersion: v.GroupVersion, Own: true, Custom: v.Custom != nil}
				byGV[v.GroupVersion] = doc
			}
			doc.Resources = append(doc.Resources, resources(k, v)...)
		}
	}
	groups := map[string]*Group{}
	for gv, doc := range byGV {
		g := groups[gv.Group]
		if g == nil {
			g = &Group{Name: gv.Group, priority: groupPriority(gv.Group)}
			groups[gv.Group] = g
		}
		sort.SliceStable(doc.Resources, func(i, j int) bool { return main(doc.Resources[i].Name) < main(doc.Resources[j].Name) })
		g.Versions = append(g.Versions, *doc)
	}
	out := make([]Group, 0, len(groups))
	for _, g := range groups {
		out = append(out, *g)
	}
	order(out)
	return out
}

// main is the resource that a name is of, or of a subresource of.
func main(name string) string {
	name, _, _ = strings.Cut(name, "/")
	return name
}

func merge(own []Group, foreign []Foreign) []Group {
	out := slices.Clone(own)
	for _, f := range foreign {
		v := Version{GroupVersion: f.GroupVersion, Resources: f.Resources, Stale: f.Stale, priority: f.VersionPriority}
		i := slices.IndexFunc(out, func(g Group) bool { return g.Name == f.Group })
		if i < 0 {
			out = append(out, Group{Name: f.Group, priority: f.GroupPriority, Versions: []Version{v}})
			continue
		}
		g := out[i]
		if slices.ContainsFunc(g.Versions, func(o Version) bool { return o.Version == v.Version }) {
			continue
		}
		g.Versions = append(slices.Clone(g.Versions), v)
		g.priority = max(g.priority, f.GroupPriority)
		out[i] = g
	}
	order(out)
	return out
}

func order(groups []Group) {
	for i := range groups {
		vs := groups[i].Versions
		sort.SliceStable(vs, func(a, b int) bool {
			if vs[a].priority != vs[b].priority {
				return vs[a].priority > vs[b].priority
			}
			return version.CompareKubeAwareVersionStrings(vs[a].Version, vs[b].Version) > 0
		})
	}
	sort.SliceStable(groups, func(a, b int) bool {
		if groups[a].priority != groups[b].priority {
			return groups[a].priority > groups[b].priority
		}
		return groups[a].Name < groups[b].Name
	})
}

// Priority is the priority of what this server serves itself, as its APIService tells: that of the group, and that of the version
// within it. Custom resources come after all built-in groups.
func Priority(gv schema.GroupVersion) (group, version int32) {
	p, ok := builtinGroups[gv.Group]
	switch {
	case !ok:
		return 1000, 100
	case gv.Group == "":
		return p, 1
	case gv == schema.GroupVersion{Group: "autoscaling", Version: "v2"}:
		return p, 30
	case gv.Group == "flowcontrol.apiserver.k8s.io":
		return p, 21
	}
	return p, 15
}

// builtinGroups have upstream's priorities. The group of APIServices has none there, but comes second.
var builtinGroups = map[string]int32{
	"": 18000, "apiregistration.k8s.io": 17900, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700, "authorization.k8s.io": 17600,
	"autoscaling": 17500, "batch": 17400, "certificates.k8s.io": 17300, "networking.k8s.io": 17200, "policy": 17100, "rbac.authorization.k8s.io": 17000,
	"storage.k8s.io": 16800, "admissionregistration.k8s.io": 16700, "apiextensions.k8s.io": 16700, "scheduling.k8s.io": 16600,
	"coordination.k8s.io": 16500, "node.k8s.io": 16300, "discovery.k8s.io": 16200, "resource.k8s.io": 16150, "flowcontrol.apiserver.k8s.io": 16100,
	"internal.apiserver.k8s.io": 16000, "storagemigration.k8s.io": 15800,
}

func groupPriority(group string) int32 {
	p, _ := Priority(schema.GroupVersion{Group: group})
	return p
}

func resources(k *object.Kind, v *object.Version) []metav1.APIResource {
	verbs := k.Verbs
	if verbs == nil {
		verbs = object.AllVerbs
	}
	main := metav1.APIResource{
		Name: k.Resource, SingularName: k.Singular, Namespaced: k.Scope == object.Namespaced, Kind: v.Kind,
		Verbs: ordered(verbs, v), ShortNames: k.ShortNames, Categories: k.Categories,
	}
	if !k.Virtual {
		hub := k.Hub()
		main.StorageVersionHash = object.StorageVersionHash(hub.GroupVersion.WithKind(hub.Kind))
	}
	out := []metav1.APIResource{main}
	subs := slices.Clone(k.Subresources)
	slices.SortFunc(subs, func(a, b object.Subresource) int {
		if v.Custom != nil {
			a, b = b, a // status comes before scale
		}
		return strings.Compare(a.Name, b.Name)
	})
	for i := range subs {
		s := &subs[i]
		if k.SubresourceIn(v, s.Name) == nil {
			continue
		}
		r := metav1.APIResource{Name: k.Resource + "/" + s.Name, Namespaced: main.Namespaced, Kind: v.Kind, Verbs: sorted(s.Verbs)}
		if gvk := s.GroupVersionKind; !gvk.Empty() {
			r.Kind = gvk.Kind
			if gvk.GroupVersion() != v.GroupVersion {
				r.Group, r.Version = gvk.Group, gvk.Version
			}
		}
		out = append(out, r)
	}
	return out
}

// ordered are the verbs of a resource in the order in which clients see them.
func ordered(verbs []string, v *object.Version) metav1.Verbs {
	if v.Custom == nil {
		return sorted(verbs)
	}
	rank := func(verb string) int { return slices.Index(customVerbs, verb) }
	return slices.SortedStableFunc(slices.Values(verbs), func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
}

var customVerbs = []string{"delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"}

func sorted(verbs []string) metav1.Verbs {
	out := append([]string{}, verbs...)
	sort.Strings(out)
	return out
}
