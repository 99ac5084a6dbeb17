package discovery

import (
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"strings"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupList is the document of /apis.
func (d *Documents) GroupList() *metav1.APIGroupList {
	l := &metav1.APIGroupList{Groups: []metav1.APIGroup{}}
	for _, g := range d.Groups() {
		if g.Name != "" {
			l.Groups = append(l.Groups, groupOf(g))
		}
	}
	return l
}

// APIGroup is the document of /apis/<group>.
func (d *Documents) APIGroup(name string) (*metav1.APIGroup, bool) {
	g, ok := d.Group(name)
	if !ok || name == "" {
		return nil, false
	}
	out := groupOf(g)
	return &out, true
}

func groupOf(g Group) metav1.APIGroup {
	out := metav1.APIGroup{Name: g.Name}
	for _, v := range g.Versions {
		out.Versions = append(out.Versions, metav1.GroupVersionForDiscovery{GroupVersion: v.GroupVersion.String(), Version: v.Version})
	}
	out.PreferredVersion = out.Versions[0]
	return out
}

// ResourceList is the document of /api/v1 and /apis/<group>/<version>.
func (d *Documents) ResourceList(gv schema.GroupVersion) (*metav1.APIResourceList, bool) {
	v, ok := d.Version(gv)
	if !ok {
		return nil, false
	}
	rs := v.Resources
	if rs == nil {
		rs = []metav1.APIResource{}
	}
	return &metav1.APIResourceList{GroupVersion: gv.String(), APIResources: rs}, true
}

// Preferred are the resources of each group in its preferred version, without subresources.
func (d *Documents) Preferred() []metav1.APIResource {
	var out []metav1.APIResource
	for _, g := range d.Groups() {
		seen := map[string]bool{}
		for _, v := range g.Versions {
			for _, r := range v.Resources {
				if seen[r.Name] || strings.Contains(r.Name, "/") {
					continue
				}
				seen[r.Name] = true
				r.Group, r.Version = v.Group, v.Version
				out = append(out, r)
			}
		}
	}
	return out
}

// Aggregated is the apidiscovery.k8s.io/v2 document of /api (legacy) or /apis, and its ETag with quotes.
func (d *Documents) Aggregated(legacy bool) (*apidiscoveryv2.APIGroupDiscoveryList, string, error) {
	list := &apidiscoveryv2.APIGroupDiscoveryList{Items: []apidiscoveryv2.APIGroupDiscovery{}}
	for _, g := range d.Groups() {
		if (g.Name == "") == legacy {
			list.Items = append(list.Items, discoveryOf(g))
		}
	}
	data, err := json.Marshal(list)
	if err != nil {
		return nil, "", fmt.Errorf("aggregated discovery: %w", err)
	}
	return list, fmt.Sprintf("\"%X\"", sha512.Sum512(data)), nil
}

func discoveryOf(g Group) apidiscoveryv2.APIGroupDiscovery {
	out := apidiscoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: g.Name}}
	for _, v := range g.Versions {
		dv := apidiscoveryv2.APIVersionDiscovery{Version: v.Version, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent}
		if v.Stale {
			dv.Freshness = apidiscoveryv2.DiscoveryFreshnessStale
		}
		dv.Resources = nest(v)
		out.Versions = append(out.Versions, dv)
	}
	return out
}

// nest puts subresources below their resources.
func nest(v Version) []apidiscoveryv2.APIResourceDiscovery {
	var out []apidiscoveryv2.APIResourceDiscovery
	index := map[string]int{}
	for _, r := range v.Resources {
		name, sub, isSub := strings.Cut(r.Name, "/")
		i, ok := index[name]
		if !ok {
			i = len(out)
			index[name] = i
			out = append(out, apidiscoveryv2.APIResourceDiscovery{Resource: name, Scope: scope(r.Namespaced), Verbs: []string{}})
		}
		kind := &metav1.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind}
		if isSub {
			out[i].Subresources = append(out[i].Subresources,
				apidiscoveryv2.APISubresourceDiscovery{Subresource: sub, ResponseKind: kind, Verbs: r.Verbs})
			continue
		}
		o := &out[i]
		o.ResponseKind, o.SingularResource, o.Verbs, o.ShortNames, o.Categories = kind, r.SingularName, r.Verbs, r.ShortNames, r.Categories
	}
	return out
}

func scope(namespaced bool) apidiscoveryv2.ResourceScope {
	if namespaced {
		return apidiscoveryv2.ScopeNamespace
	}
	return apidiscoveryv2.ScopeCluster
}
