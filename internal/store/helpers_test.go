package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"hyperkube/internal/etcd"
	"hyperkube/internal/object"
)

var shared struct {
	member *etcd.Member
	table  *object.Table
	next   int
}

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if shared.member, err = etcd.Start(ctx, etcd.Config{Dir: dir}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.member.Close()
	shared.table = object.Builtin()
	return m.Run()
}

// newStore gives a store on a prefix of its own in the shared etcd.
func newStore(t testing.TB, edit ...func(*Config)) *Store {
	t.Helper()
	shared.next++
	cfg := Config{Client: shared.member.Client(), Prefix: "/test" + strconv.Itoa(shared.next), CompactionInterval: -1}
	for _, e := range edit {
		e(&cfg)
	}
	s := New(cfg)
	t.Cleanup(s.Close)
	return s
}

func kindOf(t testing.TB, group, resource string) *object.Kind {
	t.Helper()
	k, _ := shared.table.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource})
	if k == nil {
		t.Fatalf("no kind %s.%s", resource, group)
	}
	return k
}

func configMaps(t testing.TB, s *Store) *Collection { return s.Collection(kindOf(t, "", "configmaps")) }
func pods(t testing.TB, s *Store) *Collection       { return s.Collection(kindOf(t, "", "pods")) }

func configMap(ns, name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: map[string]string{"app": value}},
		Data:       map[string]string{"value": value},
	}
}

func pod(name, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func create(t testing.TB, c *Collection, obj object.Object) *Entry {
	t.Helper()
	e, err := c.Create(testContext(t), object.KeyOf(obj), obj, 0)
	if err != nil {
		t.Fatalf("create %s: %v", object.KeyOf(obj), err)
	}
	return e
}

// set stores a config map's value.
func set(t testing.TB, c *Collection, ns, name, value string) *Entry {
	t.Helper()
	e, err := c.Update(testContext(t), object.Key{Namespace: ns, Name: name}, func(cur *Entry) (object.Object, error) {
		cm := configMap(ns, name, value)
		if cur != nil {
			cm.UID = cur.Object().GetUID()
		}
		return cm, nil
	})
	if err != nil {
		t.Fatalf("update %s/%s: %v", ns, name, err)
	}
	return e
}

func remove(t testing.TB, c *Collection, ns, name string) *Entry {
	t.Helper()
	e, err := c.Delete(testContext(t), object.Key{Namespace: ns, Name: name}, nil)
	if err != nil {
		t.Fatalf("delete %s/%s: %v", ns, name, err)
	}
	return e
}

func startWatch(t testing.TB, c *Collection, o WatchOptions) *Watcher {
	t.Helper()
	w, err := c.Watch(testContext(t), o)
	if err != nil {
		t.Fatalf("watch: %v", err)
	}
	t.Cleanup(w.Stop)
	return w
}

// take reads n events.
func take(t testing.TB, w *Watcher, n int) []*Event {
	t.Helper()
	var all []*Event
	for len(all) < n {
		evs, err := w.Next(testContext(t))
		if err != nil {
			t.Fatalf("after %d of %d events: %v", len(all), n, err)
		}
		all = append(all, evs...)
	}
	if len(all) > n {
		t.Fatalf("got %d events, want %d: %s", len(all), n, describe(all))
	}
	return all
}

func describe(evs []*Event) (out []string) {
	for _, e := range evs {
		out = append(out, fmt.Sprintf("%s %s", e.Type, e.Entry.Object().GetName()))
	}
	return out
}

// none says that a watcher has nothing to give: everything written so far was applied and nothing selected.
func none(t testing.TB, w *Watcher) {
	t.Helper()
	if _, err := w.c.store.CurrentRevision(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if evs, err := w.poll(); len(evs) > 0 || err != nil {
		t.Fatalf("unexpected %v %v", describe(evs), err)
	}
}

// The guarantees of a watch, each with the error that says it was broken.
var (
	errUnordered = errors.New("broke Ordered: an event has an older revision than the one before")
	errUnique    = errors.New("broke Unique: two events have one revision")
	errGap       = errors.New("broke Reliable: an event is missing")
	errInvented  = errors.New("broke Reliable: an event was never written")
)

// validate holds the events that a watcher saw against the revisions that were written.
func validate(evs []*Event, written []int64) error {
	want := map[int64]bool{}
	for _, r := range written {
		want[r] = true
	}
	var last int64
	for _, e := range evs {
		if e.Type == watch.Bookmark {
			continue
		}
		switch {
		case e.Revision < last:
			return fmt.Errorf("%w: %d after %d", errUnordered, e.Revision, last)
		case e.Revision == last:
			return fmt.Errorf("%w: %d", errUnique, last)
		case !want[e.Revision]:
			return fmt.Errorf("%w: %d", errInvented, e.Revision)
		}
		delete(want, e.Revision)
		last = e.Revision
	}
	for r := range want {
		return fmt.Errorf("%w: %d", errGap, r)
	}
	return nil
}

func compactTo(t testing.TB, rev int64) {
	t.Helper()
	if _, err := shared.member.Client().Compact(testContext(t), rev, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

func leaseID(id int64) clientv3.LeaseID { return clientv3.LeaseID(id) }

func deployment(ns, name string) object.Object {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
}
