package gc

import (
	"context"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
)

// The resources whose changes change what the server serves.
var (
	definitions = client.GVR{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	services    = client.GVR{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
)

// settle is how long after such a change discovery is read: changes come in groups, and
// discovery follows a moment after the object.
const settle = 200 * time.Millisecond

// discover reads what the server serves, follows what is new and drops what has gone.
func (c *controller) discover(ctx context.Context, _ struct{}) error {
	all, err := c.client.Resources(ctx)
	if err != nil && len(all) == 0 {
		return err
	}
	wanted := map[client.GVR]resource{}
	kinds := map[schema.GroupKind]resource{}
	names := map[client.GVR]schema.GroupKind{}
	for _, a := range all {
		r := resource{client.GVR{Group: a.Group, Version: a.Version, Resource: a.Name}, a.Namespaced}
		gk := schema.GroupKind{Group: a.Group, Kind: a.Kind}
		if !strings.Contains(a.Name, "/") {
			kinds[gk] = r
		}
		if collectable(a) {
			wanted[r.gvr] = r
			names[r.gvr] = gk
		}
	}
	// With some groups unknown, those known before stay.
	c.update(wanted, kinds, names, err == nil)
	return err
}

func collectable(a metav1.APIResource) bool {
	if a.Name == "events" && (a.Group == "" || a.Group == "events.k8s.io") {
		return false
	}
	for _, verb := range []string{"list", "watch", "delete"} {
		if !slices.Contains(a.Verbs, verb) {
			return false
		}
	}
	return true
}

func (c *controller) update(wanted map[client.GVR]resource, kinds map[schema.GroupKind]resource, names map[client.GVR]schema.GroupKind, complete bool) {
	builtin := map[schema.GroupResource]bool{}
	for _, k := range object.Builtin().All() {
		builtin[k.GroupResource()] = true
	}
	c.mu.Lock()
	var added []client.GVR
	gone := map[client.GVR]*monitor{}
	if complete {
		for r, m := range c.monitors {
			if _, ok := wanted[r]; !ok {
				gone[r] = m
				delete(c.monitors, r)
			}
		}
		c.resources = kinds
	} else {
		for gk, r := range kinds {
			c.resources[gk] = r
		}
	}
	for r := range wanted {
		if c.monitors[r] == nil {
			c.monitors[r] = &monitor{gk: names[r], inf: c.informers.Any(r), shared: builtin[r.GroupResource()]}
			added = append(added, r)
		}
	}
	c.mu.Unlock()
	for r, m := range gone {
		c.log.Info("resource gone", "resource", r.String())
		if !m.shared {
			m.inf.Stop()
		}
		c.apply(c.graph.dropResource(r))
	}
	for _, r := range added {
		c.follow(r)
	}
}

// follow feeds a resource to the graph. It must not be called with the lock held: what is in the cache is told at once.
func (c *controller) follow(r client.GVR) {
	c.mu.RLock()
	m := c.monitors[r]
	c.mu.RUnlock()
	if m == nil {
		return
	}
	m.inf.OnChange(func(old, new client.Object) { c.observe(r, m.gk, old, new) })
	if r == definitions || r == services {
		m.inf.OnChange(func(old, new client.Object) { c.discovery.AddAfter(struct{}{}, settle) })
	}
}

// cached gives an object of a kind as its cache shows it.
func (c *controller) cached(gvr client.GVR, namespace, name string) (client.Object, bool) {
	c.mu.RLock()
	m := c.monitors[gvr]
	c.mu.RUnlock()
	if m == nil {
		return nil, false
	}
	return m.inf.Get(namespace, name)
}

func (c *controller) resource(gk schema.GroupKind) (resource, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r, ok := c.resources[gk]
	return r, ok
}
