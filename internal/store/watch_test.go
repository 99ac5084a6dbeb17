package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"

	"hyperkube/internal/object"
)

func TestWatchSeesAChangeOnce(t *testing.T) {
	s := newStore(t)
	c := configMaps(t, s)
	create(t, c, configMap("a", "before", "x"))
	w := startWatch(t, c, WatchOptions{})
	if got := take(t, w, 1); got[0].Type != watch.Added || got[0].Entry.Object().GetName() != "before" {
		t.Fatalf("got %v", describe(got))
	}
	e := create(t, c, configMap("a", "one", "x"))
	set(t, c, "a", "one", "y")
	d := remove(t, c, "a", "one")
	got := take(t, w, 3)
	for i, want := range []watch.EventType{watch.Added, watch.Modified, watch.Deleted} {
		if got[i].Type != want {
			t.Fatalf("event %d is %s, want %s", i, got[i].Type, want)
		}
	}
	if got[0].Entry.Object() != e.Object() {
		t.Error("the object that was created and the one that is watched are two")
	}
	last := got[2].Entry.Object().(*corev1.ConfigMap)
	if last.Data["value"] != "y" || last.ResourceVersion != formatRevision(d.Revision) || got[2].Revision != d.Revision {
		t.Errorf("deletion shows %v at %s, want y at %d", last.Data, last.ResourceVersion, d.Revision)
	}
	if set := got[1].Entry.Object().(*corev1.ConfigMap); set.ResourceVersion == last.ResourceVersion {
		t.Error("a deletion changed a shared object")
	}
}

func TestWatchSelectorsEnterAndLeave(t *testing.T) {
	s := newStore(t)
	c := configMaps(t, s)
	sel, err := labels.Parse("app=in")
	if err != nil {
		t.Fatal(err)
	}
	w := startWatch(t, c, WatchOptions{Label: sel, Namespace: "a"})
	create(t, c, configMap("b", "other", "in"))
	create(t, c, configMap("a", "one", "out"))
	set(t, c, "a", "one", "in")
	left := set(t, c, "a", "one", "out")
	set(t, c, "a", "one", "away")
	got := take(t, w, 2)
	if got[0].Type != watch.Added || got[1].Type != watch.Deleted {
		t.Fatalf("got %v", describe(got))
	}
	obj := got[1].Entry.Object().(*corev1.ConfigMap)
	if obj.Data["value"] != "in" || obj.ResourceVersion != formatRevision(left.Revision) {
		t.Errorf("leaving shows %q at %s, want the state that was selected at %d", obj.Data["value"], obj.ResourceVersion, left.Revision)
	}
	none(t, w)
	// The same again, from history.
	again := startWatch(t, c, WatchOptions{Label: sel, Namespace: "a", ResourceVersion: formatRevision(got[0].Revision - 1)})
	if back := take(t, again, 2); back[0] != got[0] || back[1] != got[1] {
		t.Error("a resumed watch did not get the very events that were sent")
	}
}

func TestWatchByNode(t *testing.T) {
	s := newStore(t)
	c := pods(t, s)
	on := func(node string) *Watcher {
		return startWatch(t, c, WatchOptions{Field: fields.OneTermEqualSelector("spec.nodeName", node)})
	}
	a, b := on("a"), on("b")
	create(t, c, pod("p", ""))
	move := func(node string) {
		_, err := c.Update(testContext(t), object.Key{Namespace: "default", Name: "p"}, func(cur *Entry) (object.Object, error) {
			p := cur.Object().DeepCopyObject().(*corev1.Pod)
			p.Spec.NodeName = node
			return p, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	move("a")
	move("b")
	if got := take(t, a, 2); got[0].Type != watch.Added || got[1].Type != watch.Deleted {
		t.Errorf("node a saw %v", describe(got))
	}
	if got := take(t, b, 1); got[0].Type != watch.Added {
		t.Errorf("node b saw %v", describe(got))
	}
	p, err := c.List(testContext(t), ListOptions{Field: fields.OneTermEqualSelector("spec.nodeName", "b")})
	if err != nil || len(p.Entries) != 1 {
		t.Errorf("list by node: %v, %v", p, err)
	}
	p, err = c.List(testContext(t), ListOptions{Field: fields.OneTermEqualSelector("spec.nodeName", "a")})
	if err != nil || len(p.Entries) != 0 {
		t.Errorf("list by the node that was left: %v, %v", p, err)
	}
}

func TestWatchGuaranteesUnderConcurrency(t *testing.T) {
	s := newStore(t)
	c := configMaps(t, s)
	from, err := s.CurrentRevision(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var written []int64
	note := func(e *Entry) {
		mu.Lock()
		written = append(written, e.Revision)
		mu.Unlock()
	}
	const writers, each = 8, 60
	live := startWatch(t, c, WatchOptions{ResourceVersion: formatRevision(from)})
	var wg sync.WaitGroup
	for i := range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			name := "w" + strconv.Itoa(i%3)
			for j := range each {
				key := object.Key{Namespace: "a", Name: name}
				if j%7 == 6 {
					if e, err := c.Delete(context.Background(), key, nil); err == nil {
						note(e)
					} else if !apierrors.IsNotFound(err) {
						t.Errorf("delete: %v", err)
					}
					continue
				}
				e, err := c.Update(context.Background(), key, func(*Entry) (object.Object, error) {
					return configMap("a", name, fmt.Sprint(i, "-", j)), nil
				})
				if err != nil {
					t.Errorf("update: %v", err)
					return
				}
				note(e)
			}
		}()
	}
	wg.Wait()
	if err := validate(take(t, live, len(written)), written); err != nil {
		t.Error(err)
	}
	// Resumable: from any revision exactly the later events.
	for range 20 {
		at := written[rand.Intn(len(written))]
		var rest []int64
		for _, r := range written {
			if r > at {
				rest = append(rest, r)
			}
		}
		w := startWatch(t, c, WatchOptions{ResourceVersion: formatRevision(at)})
		if err := validate(take(t, w, len(rest)), rest); err != nil {
			t.Errorf("resumed from %d: %v", at, err)
		}
		w.Stop()
	}
}

func TestWatchTooOld(t *testing.T) {
	s := newStore(t, func(c *Config) { c.WindowEvents = 8 })
	c := configMaps(t, s)
	first := create(t, c, configMap("a", "x", "0"))
	slow := startWatch(t, c, WatchOptions{ResourceVersion: formatRevision(first.Revision)})
	fast := startWatch(t, c, WatchOptions{ResourceVersion: formatRevision(first.Revision)})
	for i := range 30 {
		set(t, c, "a", "x", strconv.Itoa(i+1))
		take(t, fast, 1)
	}
	_, err := c.Watch(testContext(t), WatchOptions{ResourceVersion: formatRevision(first.Revision)})
	if !apierrors.IsResourceExpired(err) {
		t.Errorf("a watch from before the window: %v", err)
	}
	if _, err := slow.Next(testContext(t)); !apierrors.IsResourceExpired(err) {
		t.Errorf("a watcher that fell behind: %v", err)
	}
	if _, err := c.Watch(testContext(t), WatchOptions{ResourceVersion: "x"}); err == nil || !strings.HasPrefix(err.Error(), `resourceVersion: Invalid value: "x"`) {
		t.Errorf("a watch from nonsense: %v", err)
	}
}

func TestWatchInitialEventsAndBookmarks(t *testing.T) {
	s := newStore(t, func(c *Config) { c.BookmarkInterval = 20 * time.Millisecond })
	c := configMaps(t, s)
	create(t, c, configMap("a", "1", "x"))
	create(t, c, configMap("a", "2", "x"))
	yes := true
	w := startWatch(t, c, WatchOptions{SendInitialEvents: &yes, Bookmarks: true})
	got := take(t, w, 3)
	end := got[2]
	if end.Type != watch.Bookmark || end.Entry.Object().GetAnnotations()[metav1.InitialEventsAnnotationKey] != "true" {
		t.Fatalf("the state ends with %s %v", end.Type, end.Entry.Object().GetAnnotations())
	}
	// Writes to other kinds move an idle watch on.
	other := create(t, pods(t, s), pod("p", ""))
	if _, err := s.CurrentRevision(testContext(t)); err != nil {
		t.Fatal(err)
	}
	mark := take(t, w, 1)[0]
	if mark.Type != watch.Bookmark || mark.Revision < other.Revision {
		t.Errorf("bookmark at %d, want at least %d", mark.Revision, other.Revision)
	}
	frame, err := mark.JSON(c.kind.Hub())
	if err != nil {
		t.Fatal(err)
	}
	var ev struct {
		Type   string
		Object metav1.PartialObjectMetadata
	}
	if err := json.Unmarshal(frame, &ev); err != nil || ev.Object.Kind != "ConfigMap" || ev.Object.ResourceVersion != formatRevision(mark.Revision) {
		t.Errorf("bookmark frame %s: %v", frame, err)
	}
}

func TestWatchSurvivesAnUndecodableValue(t *testing.T) {
	s := newStore(t)
	c := configMaps(t, s)
	good := create(t, c, configMap("a", "good", "x"))
	w := startWatch(t, c, WatchOptions{ResourceVersion: formatRevision(good.Revision)})
	key := c.prefix + "a/bad"
	if _, err := s.client.Put(testContext(t), key, "\x01nonsense"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Next(testContext(t)); !apierrors.IsInternalError(err) {
		t.Errorf("watch over a bad value: %v", err)
	}
	for what, err := range map[string]error{
		"get":    second(c.Get(testContext(t), object.Key{Namespace: "a", Name: "bad"}, "")),
		"list":   second(c.List(testContext(t), ListOptions{})),
		"delete": second(c.Delete(testContext(t), object.Key{Namespace: "a", Name: "bad"}, nil)),
	} {
		if !apierrors.IsInternalError(err) || !containsText(err, key) {
			t.Errorf("%s of a bad value: %v", what, err)
		}
	}
	if _, err := c.Get(testContext(t), object.Key{Namespace: "a", Name: "good"}, ""); err != nil {
		t.Errorf("a good neighbour: %v", err)
	}
}

func TestLostHistoryEndsWatchersAndListsAnew(t *testing.T) {
	s := newStore(t)
	c := configMaps(t, s)
	create(t, c, configMap("a", "kept", "x"))
	create(t, c, configMap("a", "gone", "x"))
	e, err := c.Get(testContext(t), object.Key{Namespace: "a", Name: "kept"}, "")
	if err != nil {
		t.Fatal(err)
	}
	w := startWatch(t, c, WatchOptions{ResourceVersion: formatRevision(s.Revision())})
	// What the feed does when etcd says that its place in history is compacted.
	if _, err := s.client.Delete(testContext(t), c.prefix+"a/gone"); err != nil {
		t.Fatal(err)
	}
	c.reload()
	if err := untilError(w); !apierrors.IsResourceExpired(err) {
		t.Errorf("a watch across lost history: %v", err)
	}
	p, err := c.List(testContext(t), ListOptions{})
	if err != nil || len(p.Entries) != 1 {
		t.Fatalf("list after: %v, %v", p, err)
	}
	if p.Entries[0] != e {
		t.Error("an unchanged object was made anew")
	}
}

func TestFeedResumesAndReportsCompaction(t *testing.T) {
	s := newStore(t)
	c := configMaps(t, s)
	e := create(t, c, configMap("a", "x", "1"))
	last := set(t, c, "a", "x", "2")
	compactTo(t, last.Revision)
	err := s.feed.watch(testContext(t), e.Revision)
	if err == nil || !containsText(err, "compacted") {
		t.Errorf("a feed from compacted history: %v", err)
	}
}

func TestConsistentReadAfterAWriteElsewhere(t *testing.T) {
	s := newStore(t)
	c := configMaps(t, s)
	create(t, c, configMap("a", "x", "1"))
	resp, err := s.client.Put(testContext(t), "/elsewhere", "1")
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.List(testContext(t), ListOptions{})
	if err != nil || p.Revision < resp.Header.Revision {
		t.Errorf("list at %v, %v; want at least %d", p, err, resp.Header.Revision)
	}
}

func TestStopUnblocksNext(t *testing.T) {
	s := newStore(t)
	w := startWatch(t, configMaps(t, s), WatchOptions{})
	done := make(chan error, 1)
	go func() {
		_, err := w.Next(context.Background())
		done <- err
	}()
	w.Stop()
	w.Stop()
	if err := <-done; !errors.Is(err, errStopped) {
		t.Errorf("got %v", err)
	}
	if n := len(w.c.topics.byID); n != 0 {
		t.Errorf("%d topics left without watchers", n)
	}
}

func TestCompactorLeavesHistoryOfOneInterval(t *testing.T) {
	s := newStore(t)
	c := configMaps(t, s)
	k := newCompactor(s.client, time.Hour, s.metrics, s.log)
	if _, err := s.client.Delete(testContext(t), compactKey); err != nil {
		t.Fatal(err)
	}
	old := create(t, c, configMap("a", "x", "0"))
	step := func() {
		if err := k.step(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	step()
	mid := set(t, c, "a", "x", "1")
	step()
	recent := set(t, c, "a", "x", "2")
	other := newCompactor(s.client, time.Hour, s.metrics, s.log)
	if err := other.step(testContext(t)); err != nil || other.version != k.version {
		t.Fatalf("a second compactor: %v, version %d, want %d", err, other.version, k.version)
	}
	if _, err := s.client.Get(testContext(t), "/x", withRev(old.Revision)); err == nil {
		t.Error("history from before the last interval is still there")
	}
	if other.compacted.Load() == 0 || other.compacted.Load() > k.compacted.Load() {
		t.Errorf("the second compactor believes that history begins at %d, it begins at %d", other.compacted.Load(), k.compacted.Load())
	}
	// The token of a list whose kind did not change since ends with its revision.
	s.compact.compacted.Store(recent.Revision)
	_, err := c.List(testContext(t), ListOptions{Limit: 1, Continue: encodeContinue(mid.Revision, c.prefix+"a/x\x00", c.prefix)})
	if !apierrors.IsResourceExpired(err) {
		t.Errorf("a page of compacted history: %v", err)
	}
	for _, rev := range []int64{mid.Revision, recent.Revision} {
		if _, err := s.client.Get(testContext(t), "/x", withRev(rev)); err != nil {
			t.Errorf("history of the last interval is gone: %v", err)
		}
	}
}

func withRev(rev int64) clientv3.OpOption { return clientv3.WithRev(rev) }

func untilError(w *Watcher) error {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		_, err := w.Next(ctx)
		cancel()
		if err != nil {
			return err
		}
	}
}
