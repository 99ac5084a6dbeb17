package object

import (
	"sort"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Table is the set of rows that an API server serves: the built-in kinds, and those
// that custom resource definitions add and remove while it runs. Safe for concurrent use.
type Table struct {
	mu         sync.RWMutex
	byResource map[schema.GroupResource]*Kind
	byKind     map[schema.GroupKind]*Kind
	generation int64
}

// NewTable makes a table of the given rows.
func NewTable(kinds ...*Kind) *Table {
	t := &Table{byResource: map[schema.GroupResource]*Kind{}, byKind: map[schema.GroupKind]*Kind{}}
	for _, k := range kinds {
		t.Add(k)
	}
	return t
}

// Add puts a row in, in place of one with the same group and resource. A kind with versions in
// several groups (Event) is found under each of them.
func (t *Table) Add(k *Kind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, v := range k.Versions {
		t.byResource[schema.GroupResource{Group: v.Group, Resource: k.Resource}] = k
		t.byKind[schema.GroupKind{Group: v.Group, Kind: v.Kind}] = k
	}
	t.generation++
}

// Remove takes a row out.
func (t *Table) Remove(k *Kind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, v := range k.Versions {
		gr := schema.GroupResource{Group: v.Group, Resource: k.Resource}
		if t.byResource[gr] == k {
			delete(t.byResource, gr)
		}
		gk := schema.GroupKind{Group: v.Group, Kind: v.Kind}
		if t.byKind[gk] == k {
			delete(t.byKind, gk)
		}
	}
	t.generation++
}

// Generation grows with every change of the table: what is derived from the rows
// (discovery, OpenAPI) is made anew when it differs.
func (t *Table) Generation() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.generation
}

// Resource finds the row and the version that serve a resource; nil when there is none.
func (t *Table) Resource(gvr schema.GroupVersionResource) (*Kind, *Version) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	k := t.byResource[gvr.GroupResource()]
	return k, k.served(gvr.GroupVersion())
}

// Kind finds the row and the version of a kind; nil when there is none.
func (t *Table) Kind(gvk schema.GroupVersionKind) (*Kind, *Version) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	k := t.byKind[gvk.GroupKind()]
	return k, k.served(gvk.GroupVersion())
}

// All lists every row once, in the order of group and resource.
func (t *Table) All() []*Kind {
	t.mu.RLock()
	seen := make(map[*Kind]bool, len(t.byResource))
	all := make([]*Kind, 0, len(t.byResource))
	for _, k := range t.byResource {
		if !seen[k] {
			seen[k] = true
			all = append(all, k)
		}
	}
	t.mu.RUnlock()
	sort.Slice(all, func(i, j int) bool {
		a, b := all[i].GroupResource(), all[j].GroupResource()
		if a.Group != b.Group {
			return a.Group < b.Group
		}
		return a.Resource < b.Resource
	})
	return all
}

// IsBuiltin says whether a group and version holds kinds with Go types. Custom resources may live beside them only in
// groups of their own.
func IsBuiltin(gv schema.GroupVersion) bool { return Scheme().IsVersionRegistered(gv) }

// served finds a version that clients may ask for.
func (k *Kind) served(gv schema.GroupVersion) *Version {
	if k == nil {
		return nil
	}
	for i := range k.Versions {
		if v := &k.Versions[i]; v.GroupVersion == gv && v.Served() {
			return v
		}
	}
	return nil
}
