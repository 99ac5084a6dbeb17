package gc

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
)

// obj makes a config map whose UID is its name; owners with a "!" block their owner's deletion.
func obj(name string, owners ...string) *corev1.ConfigMap {
	o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name)}}
	for _, r := range owners {
		r, block := strings.CutSuffix(r, "!")
		o.OwnerReferences = append(o.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: r, UID: types.UID(r), BlockOwnerDeletion: &block})
	}
	return o
}

func ending(o *corev1.ConfigMap, finalizer string) *corev1.ConfigMap {
	at := metav1.NewTime(time.Unix(1, 0))
	o.DeletionTimestamp, o.Finalizers = &at, []string{finalizer}
	return o
}

func put(g *graph, o *corev1.ConfigMap) effects {
	return g.put(ident{schema.GroupKind{Kind: "ConfigMap"}, o.Namespace, o.Name, o.UID}, client.ConfigMaps.GVR, o)
}

func uids(in []types.UID) string {
	var out []string
	for _, u := range in {
		out = append(out, string(u))
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

func TestGraph(t *testing.T) {
	g := newGraph()
	require.Empty(t, put(g, obj("lonely")).check)
	require.Empty(t, g.nodes, "an object that nothing hangs on costs nothing")

	require.Equal(t, "a", uids(put(g, obj("a", "owner!")).check), "its owner has to be looked for")
	put(g, obj("b", "owner", "other"))
	v, ok := g.look("owner")
	require.True(t, ok)
	require.True(t, v.virtual)
	require.Empty(t, put(g, obj("owner")).check, "the owner turns up")
	v, _ = g.look("owner")
	require.False(t, v.virtual)
	require.Len(t, v.dependents, 2)

	e := put(g, ending(obj("owner"), metav1.FinalizerDeleteDependents))
	require.Equal(t, "a b owner", uids(e.check))
	v, _ = g.look("owner")
	require.True(t, v.foreground)
	blocking := 0
	for _, d := range v.dependents {
		if d.blocking {
			blocking++
		}
	}
	require.Equal(t, 1, blocking)
	require.Contains(t, uids(put(g, obj("a", "owner")).check), "owner", "no longer blocked")
	require.Equal(t, "owner", uids(g.drop("a").check), "the owner waited for it")
	require.Equal(t, "b", uids(g.drop("owner").check))
	put(g, obj("b", "other"))
	_, ok = g.look("owner")
	require.False(t, ok, "the last reference is gone")
	g.drop("b")
	require.Empty(t, g.nodes)
	require.Empty(t, g.owned[client.ConfigMaps.GVR])
}

func TestGraphOrphans(t *testing.T) {
	g := newGraph()
	put(g, obj("a", "owner"))
	e := put(g, ending(obj("owner"), metav1.FinalizerOrphanDependents))
	require.Equal(t, "owner", uids(e.orphan))
	require.Empty(t, put(g, ending(obj("owner"), metav1.FinalizerOrphanDependents)).orphan, "once")
}

func TestGraphNamespaces(t *testing.T) {
	g := newGraph()
	put(g, obj("a", "owner"))
	put(g, obj("owner"))
	stranger := obj("c", "owner")
	stranger.Namespace = "elsewhere"
	e := put(g, stranger)
	require.Equal(t, "c", uids(e.check))
	require.Len(t, e.mismatched, 1)
}

func TestGraphDropsResources(t *testing.T) {
	g := newGraph()
	a := obj("a", "owner")
	g.put(ident{schema.GroupKind{Kind: "Secret"}, a.Namespace, a.Name, a.UID}, client.Secrets.GVR, a)
	put(g, obj("owner", "top"))
	require.Equal(t, "a", uids(g.dropResource(client.ConfigMaps.GVR).check))
	require.Empty(t, g.owned[client.ConfigMaps.GVR])
}

func TestAbsent(t *testing.T) {
	a := newAbsent(2)
	for _, u := range []types.UID{"1", "2", "2", "3"} {
		a.add(u)
	}
	require.False(t, a.has("1"))
	require.True(t, a.has("2"))
	require.True(t, a.has("3"))
}

func TestCollectable(t *testing.T) {
	all := metav1.Verbs{"list", "watch", "delete", "get"}
	require.True(t, collectable(metav1.APIResource{Name: "pods", Verbs: all}))
	require.False(t, collectable(metav1.APIResource{Name: "events", Verbs: all}))
	require.False(t, collectable(metav1.APIResource{Name: "events", Group: "events.k8s.io", Verbs: all}))
	require.True(t, collectable(metav1.APIResource{Name: "events", Group: "example.com", Verbs: all}))
	require.False(t, collectable(metav1.APIResource{Name: "bindings", Verbs: metav1.Verbs{"create"}}))
}
