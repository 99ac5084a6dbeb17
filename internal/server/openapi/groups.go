package openapi

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
)

// group is what one document of version 3 describes: what is served in one group and version, or an operation outside of any.
type group struct {
	gv   schema.GroupVersion
	path string         // of its document: "apis/apps/v1"
	rows []*object.Kind // in the order of their resources
	root *operation     // nil for a group and version
	// tag changes when the document would. It is made of what the document is made of, not of the document, which need not be
	// there.
	tag string
}

// builtin says whether it is a part of every server.
func (g *group) builtin() bool { return g.root != nil || object.IsBuiltin(g.gv) }

func (g *group) operations() []operation {
	if g.root != nil {
		return []operation{*g.root}
	}
	return operations(g.rows, g.gv)
}

// current gives the groups as the table has them now, in order. Those whose rows have not changed are what they were.
func (o *OpenAPI) current() []*group {
	o.mu.Lock()
	defer o.mu.Unlock()
	g := o.table.Generation()
	if o.groups != nil && g == o.generation {
		return o.groups
	}
	before := map[string]*group{}
	for _, old := range o.groups {
		before[old.path] = old
	}
	var all []*group
	for _, now := range groupsOf(o.table.All()) {
		if old := before[now.path]; old != nil && slices.Equal(old.rows, now.rows) {
			now = old
		} else {
			now.tag = o.tag(now)
		}
		all = append(all, now)
	}
	o.groups, o.generation = all, g
	return all
}

func groupsOf(rows []*object.Kind) []*group {
	by := map[schema.GroupVersion]*group{}
	var all []*group
	for path, op := range roots(rows) {
		all = append(all, &group{path: path, root: &op})
	}
	for _, k := range rows {
		for i := range k.Versions {
			v := &k.Versions[i]
			if !v.Served() {
				continue
			}
			g := by[v.GroupVersion]
			if g == nil {
				g = &group{gv: v.GroupVersion, path: strings.TrimPrefix(root(v.GroupVersion), "/")}
				by[v.GroupVersion] = g
				all = append(all, g)
			}
			g.rows = append(g.rows, k)
		}
	}
	slices.SortFunc(all, func(a, b *group) int { return cmp.Compare(a.path, b.path) })
	return all
}

// packedSum stands for the schemas of all built-in kinds.
var packedSum = sync.OnceValue(func() [32]byte { return sha256.Sum256(schemasFile) })

// tag sums up what the document of a group is made of.
func (o *OpenAPI) tag(g *group) string {
	h := sha256.New()
	fmt.Fprintf(h, "%v %x %s\n", o.info(), packedSum(), g.path)
	for _, k := range g.rows {
		for i := range k.Versions {
			if v := &k.Versions[i]; v.GroupVersion == g.gv {
				describeRow(h, k, v)
			}
		}
	}
	return strings.ToUpper(hex.EncodeToString(h.Sum(nil)))
}

// versions are the groups and versions of rows, in order.
func versions(rows []*object.Kind) []schema.GroupVersion {
	seen := map[schema.GroupVersion]bool{}
	for _, k := range rows {
		for i := range k.Versions {
			if v := &k.Versions[i]; v.Served() {
				seen[v.GroupVersion] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b schema.GroupVersion) int { return cmp.Compare(root(a), root(b)) })
}

// describeRow writes all of a row that its part of a document depends on.
func describeRow(w io.Writer, k *object.Kind, v *object.Version) {
	verbs := slices.DeleteFunc(slices.Clone(object.AllVerbs), func(verb string) bool { return !k.Serves(verb) })
	fmt.Fprintf(w, "%s %s %s %v %q\n", k.Resource, v.Kind, v.ListKind(), k.Scope, verbs)
	for i := range k.Subresources {
		s := &k.Subresources[i]
		if k.SubresourceIn(v, s.Name) != nil {
			fmt.Fprintf(w, " %s %s %q\n", s.Name, s.GroupVersionKind, s.Verbs)
		}
	}
	if v.Custom != nil {
		fmt.Fprintf(w, " %q %s\n", v.Custom.FieldNames, v.Custom.Fingerprint())
	}
}

// sum is the tag of several groups together.
func sum(all []*group) string {
	h := sha256.New()
	for _, g := range all {
		fmt.Fprintf(h, "%s %s\n", g.path, g.tag)
	}
	return strings.ToUpper(hex.EncodeToString(h.Sum(nil)))
}
