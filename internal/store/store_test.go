package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
)

func second[T any](_ T, err error) error { return err }

func containsText(err error, text string) bool {
	return err != nil && strings.Contains(err.Error(), text)
}

func TestWrites(t *testing.T) {
	s := newStore(t)
	c := configMaps(t, s)
	ctx := testContext(t)
	key := object.Key{Namespace: "a", Name: "x"}
	e := create(t, c, configMap("a", "x", "1"))
	if e.Object().GetResourceVersion() != formatRevision(e.Revision) {
		t.Errorf("resourceVersion %s, revision %d", e.Object().GetResourceVersion(), e.Revision)
	}
	if _, err := c.Create(ctx, key, configMap("a", "x", "1"), 0); !apierrors.IsAlreadyExists(err) {
		t.Errorf("create again: %v", err)
	}
	if same := set(t, c, "a", "x", "1"); same.Revision != e.Revision {
		t.Errorf("an update without a change was written at %d", same.Revision)
	}
	stale := func(*Entry) (object.Object, error) {
		cm := configMap("a", "x", "2")
		cm.ResourceVersion = formatRevision(e.Revision - 1)
		return cm, nil
	}
	if _, err := c.Update(ctx, key, stale); !apierrors.IsConflict(err) {
		t.Errorf("stale update: %v", err)
	}
	refused := errors.New("refused")
	if _, err := c.Delete(ctx, key, func(*Entry) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("refused delete: %v", err)
	}
	remove(t, c, "a", "x")
	for what, err := range map[string]error{
		"delete": second(c.Delete(ctx, key, nil)),
		"get":    second(c.Get(ctx, key, "")),
	} {
		if !apierrors.IsNotFound(err) {
			t.Errorf("%s of nothing: %v", what, err)
		}
	}
	for _, bad := range []object.Key{{Namespace: "a", Name: ""}, {Namespace: "a", Name: "x/y"}, {Namespace: "", Name: "x"}, {Namespace: "a", Name: ".."}} {
		if _, err := c.Create(ctx, bad, configMap(bad.Namespace, bad.Name, ""), 0); !apierrors.IsBadRequest(err) {
			t.Errorf("create of %v: %v", bad, err)
		}
	}
}

func TestUpdateLosesNoIncrement(t *testing.T) {
	s := newStore(t)
	other := newStore(t, func(c *Config) { c.Prefix = s.cfg.Prefix })
	create(t, configMaps(t, s), configMap("a", "n", "0"))
	var wg sync.WaitGroup
	const each = 40
	for i, st := range []*Store{s, other, s, other} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range each {
				_, err := configMaps(t, st).Update(context.Background(), object.Key{Namespace: "a", Name: "n"}, func(cur *Entry) (object.Object, error) {
					cm := cur.Object().DeepCopyObject().(*corev1.ConfigMap)
					n, err := strconv.Atoi(cm.Data["value"])
					cm.Data["value"] = strconv.Itoa(n + 1)
					return cm, err
				})
				if err != nil {
					t.Errorf("writer %d: %v", i, err)
				}
			}
		}()
	}
	wg.Wait()
	e, err := configMaps(t, other).Get(testContext(t), object.Key{Namespace: "a", Name: "n"}, "")
	if err != nil || e.Object().(*corev1.ConfigMap).Data["value"] != strconv.Itoa(4*each) {
		t.Errorf("got %v, %v", e, err)
	}
}

// Two API servers on one etcd: what one acknowledged the other reads at once.
func TestReadsAreFresh(t *testing.T) {
	s := newStore(t)
	other := newStore(t, func(c *Config) { c.Prefix = s.cfg.Prefix })
	for i := range 100 {
		name := "x" + strconv.Itoa(i)
		e := create(t, configMaps(t, s), configMap("a", name, "1"))
		if _, err := configMaps(t, other).Get(testContext(t), object.Key{Namespace: "a", Name: name}, ""); err != nil {
			t.Fatalf("get %s: %v", name, err)
		}
		p, err := configMaps(t, other).List(testContext(t), ListOptions{Namespace: "a"})
		if err != nil || len(p.Entries) != i+1 || p.Revision < e.Revision {
			t.Fatalf("list %d: %v, %v", i, p, err)
		}
	}
}

func TestListPages(t *testing.T) {
	s := newStore(t)
	c := configMaps(t, s)
	ctx := testContext(t)
	for i := range 25 {
		create(t, c, configMap("a", fmt.Sprintf("m%02d", i), "x"))
	}
	create(t, c, configMap("aa", "elsewhere", "x"))
	first, err := c.List(ctx, ListOptions{Namespace: "a", Limit: 10})
	if err != nil || len(first.Entries) != 10 || first.Continue == "" || first.Remaining == nil || *first.Remaining != 15 {
		t.Fatalf("first page: %+v, %v", first, err)
	}
	// Changes between pages do not show.
	remove(t, c, "a", "m12")
	set(t, c, "a", "m13", "changed")
	create(t, c, configMap("a", "m10x", "x"))
	next, err := c.List(ctx, ListOptions{Namespace: "a", Limit: 10, Continue: first.Continue})
	if err != nil || len(next.Entries) != 10 || next.Revision != first.Revision || *next.Remaining != 5 {
		t.Fatalf("second page: %+v, %v", next, err)
	}
	for i, e := range next.Entries {
		if e.Object().GetName() != fmt.Sprintf("m%02d", 10+i) || e.Object().GetLabels()["app"] != "x" {
			t.Errorf("entry %d of the second page is %s", i, e.Object().GetName())
		}
	}
	// The same from etcd, when the cache's window is gone.
	c.mu.Lock()
	c.cut(len(c.window.changes))
	c.past = nil
	c.mu.Unlock()
	last, err := c.List(ctx, ListOptions{Namespace: "a", Limit: 10, Continue: next.Continue})
	if err != nil || len(last.Entries) != 5 || last.Continue != "" || last.Remaining != nil || last.Revision != first.Revision {
		t.Fatalf("last page: %+v, %v", last, err)
	}
	middle, err := c.List(ctx, ListOptions{Namespace: "a", Limit: 10, Continue: first.Continue})
	if err != nil || len(middle.Entries) != 10 || middle.Entries[2] == nil || middle.Entries[2].Object().GetName() != "m12" || *middle.Remaining != 5 || middle.Continue != next.Continue {
		t.Fatalf("second page from etcd: %+v, %v", middle, err)
	}
	checkExpiredToken(t, c, first)
}

// checkExpiredToken compacts history: the token then fails with one that goes on at the newest state.
func checkExpiredToken(t *testing.T, c *Collection, first *Page) {
	t.Helper()
	ctx := testContext(t)
	compactTo(t, set(t, c, "a", "m24", "late").Revision)
	_, err := c.List(ctx, ListOptions{Namespace: "a", Limit: 10, Continue: first.Continue})
	var status apierrors.APIStatus
	if !apierrors.IsResourceExpired(err) || !errors.As(err, &status) || status.Status().ListMeta.Continue == "" {
		t.Fatalf("page of compacted history: %v", err)
	}
	p, err := c.List(ctx, ListOptions{Namespace: "a", Limit: 10, Continue: status.Status().ListMeta.Continue})
	if err != nil || len(p.Entries) != 10 || p.Revision <= first.Revision || p.Entries[0].Object().GetName() != "m10" || p.Continue == "" {
		t.Fatalf("inconsistent page: %+v, %v", p, err)
	}
	_, err = c.List(ctx, ListOptions{ResourceVersion: formatRevision(first.Revision), Match: metav1.ResourceVersionMatchExact})
	if !apierrors.IsResourceExpired(err) {
		t.Errorf("exact list of compacted history: %v", err)
	}
}

func TestListAtRevisions(t *testing.T) {
	s := newStore(t)
	c := configMaps(t, s)
	ctx := testContext(t)
	one := create(t, c, configMap("a", "x", "1"))
	two := set(t, c, "a", "x", "2")
	exact := func(rev int64) string {
		p, err := c.List(ctx, ListOptions{ResourceVersion: formatRevision(rev), Match: metav1.ResourceVersionMatchExact})
		if err != nil || len(p.Entries) != 1 || p.Revision != rev {
			t.Fatalf("exact list at %d: %+v, %v", rev, p, err)
		}
		return p.Entries[0].Object().GetLabels()["app"]
	}
	if got := exact(one.Revision) + exact(two.Revision); got != "12" {
		t.Errorf("got %s", got)
	}
	p, err := c.List(ctx, ListOptions{ResourceVersion: formatRevision(one.Revision)})
	if err != nil || p.Revision < two.Revision {
		t.Errorf("not older than: %+v, %v", p, err)
	}
	_, err = c.Get(ctx, object.Key{Namespace: "a", Name: "x"}, formatRevision(two.Revision+1000))
	if !apierrors.IsTimeout(err) || !apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) {
		t.Errorf("get of the future: %v", err)
	}
	for _, o := range []ListOptions{{ResourceVersion: "abc"}, {Continue: "%%"}, {Continue: "e30"}, {Continue: first(c), ResourceVersion: "5"}} {
		if _, err := c.List(ctx, o); !apierrors.IsBadRequest(err) {
			t.Errorf("list %+v: %v", o, err)
		}
	}
}

func first(c *Collection) string { return encodeContinue(5, c.prefix+"a/x\x00", c.prefix) }

func TestContinueTokensCannotEscape(t *testing.T) {
	for _, start := range []string{"../secrets/a", "a/../../x", "./x"} {
		if _, at, err := decodeContinue(encodeContinue(7, start, ""), "/registry/pods/"); err == nil {
			t.Errorf("%q leads to %q", start, at)
		}
	}
	rev, at, err := decodeContinue(encodeContinue(7, "/registry/pods/a/x\x00", "/registry/pods/"), "/registry/pods/")
	if err != nil || rev != 7 || at != "/registry/pods/a/x\x00" {
		t.Errorf("got %d %q %v", rev, at, err)
	}
}

func TestRestartKeepsRevisions(t *testing.T) {
	s := newStore(t)
	e := create(t, configMaps(t, s), configMap("a", "x", "1"))
	crd := create(t, s.Collection(kindOf(t, "apps", "deployments")), deployment("a", "d"))
	s.Close()
	again := newStore(t, func(c *Config) { c.Prefix = s.cfg.Prefix })
	if err := again.Warm(testContext(t), kindOf(t, "", "configmaps"), kindOf(t, "apps", "deployments")); err != nil {
		t.Fatal(err)
	}
	got, err := configMaps(t, again).Get(testContext(t), object.Key{Namespace: "a", Name: "x"}, "0")
	if err != nil || got.Revision != e.Revision || got.Object().GetObjectKind().GroupVersionKind().Kind != "ConfigMap" {
		t.Errorf("got %+v, %v", got, err)
	}
	if d, err := again.Collection(kindOf(t, "apps", "deployments")).Get(testContext(t), object.Key{Namespace: "a", Name: "d"}, ""); err != nil || d.Revision != crd.Revision {
		t.Errorf("got %+v, %v", d, err)
	}
	if _, err := configMaps(t, s).Get(testContext(t), object.Key{Namespace: "a", Name: "x"}, ""); err == nil {
		t.Error("a closed store answers")
	}
}

func TestEncodings(t *testing.T) {
	s := newStore(t)
	c := configMaps(t, s)
	e := create(t, c, configMap("a", "x", "<1>"))
	v := c.kind.Hub()
	data, err := e.JSON(v)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := e.JSON(v)
	if &data[0] != &again[0] {
		t.Error("encoded twice")
	}
	members := JSONMembers(data, v)
	var cm corev1.ConfigMap
	if json.Unmarshal(append([]byte("{"), members...), &cm) != nil || cm.Kind != "" || cm.Name != "x" || cm.Data["value"] != "<1>" {
		t.Errorf("members %s", members)
	}
	proto, err := e.Proto(v)
	if err != nil {
		t.Fatal(err)
	}
	back, _, err := codec.Decode(proto, codec.Protobuf, nil, nil, false)
	if err != nil || back.(*corev1.ConfigMap).ResourceVersion != formatRevision(e.Revision) {
		t.Errorf("protobuf: %v, %v", back, err)
	}
	if s.answers.bytes != int64(len(data)) || s.enc.bytes != int64(len(proto)) {
		t.Errorf("%d bytes of answers to writers and %d others, want %d and %d", s.answers.bytes, s.enc.bytes, len(data), len(proto))
	}
	var gone int64
	for range 3 { // The first pass spares what was used, the next does not.
		gone += s.enc.sweep() + s.answers.sweep()
	}
	if gone != int64(len(data)+len(proto)) {
		t.Errorf("%d bytes are said to be given up, want %d", gone, len(data)+len(proto))
	}
	for _, format := range []string{"json", "protobuf"} {
		if _, ok := e.enc.get(Format{v.GroupVersion, format}); ok {
			t.Errorf("an unused encoding stays: %s", format)
		}
	}
	if s.enc.bytes != 0 || s.answers.bytes != 0 {
		t.Errorf("%d and %d bytes of encodings are left", s.enc.bytes, s.answers.bytes)
	}
}

func TestEncodingsAreBounded(t *testing.T) {
	c := newEncodingCache(1000)
	owners := make([]encodings, 50)
	hot := Format{As: "hot"}
	c.put(&owners[0], hot, make([]byte, 100))
	for i := range owners {
		c.put(&owners[i], Format{As: "x"}, make([]byte, 100))
		owners[0].get(hot)
		if c.bytes > 1000 {
			t.Fatalf("%d bytes kept", c.bytes)
		}
	}
	if _, ok := owners[0].get(hot); !ok {
		t.Error("what is used all the time was dropped")
	}
	if _, ok := owners[10].get(Format{As: "x"}); ok {
		t.Error("what is not used was kept")
	}
}

func TestLeases(t *testing.T) {
	s := newStore(t)
	events := s.Collection(kindOf(t, "", "events"))
	for i := range 5 {
		ev := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "e" + strconv.Itoa(i)}}
		if _, err := events.Create(testContext(t), object.KeyOf(ev), ev, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	p, err := events.List(testContext(t), ListOptions{Label: labels.Everything()})
	if err != nil || len(p.Entries) != 5 {
		t.Fatalf("%+v, %v", p, err)
	}
	lease := p.Entries[0].lease()
	for _, e := range p.Entries {
		if e.lease() == 0 || e.lease() != lease {
			t.Errorf("lease %d, want the shared %d", e.lease(), lease)
		}
	}
	e, err := events.Update(testContext(t), p.Entries[0].Key(), func(cur *Entry) (object.Object, error) {
		ev := cur.Object().DeepCopyObject().(*corev1.Event)
		ev.Count++
		return ev, nil
	})
	if err != nil || e.lease() != lease {
		t.Errorf("an update took the lease away: %+v, %v", e, err)
	}
	w := startWatch(t, events, WatchOptions{ResourceVersion: formatRevision(e.Revision)})
	if _, err := s.client.Revoke(testContext(t), leaseID(lease)); err != nil {
		t.Fatal(err)
	}
	take(t, w, 5)
}

func TestWritableWritesNothing(t *testing.T) {
	s := newStore(t)
	before, err := s.CurrentRevision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Writable(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after, err := s.CurrentRevision(t.Context()); err != nil || after != before {
		t.Errorf("asking moved the revision from %d to %d, %v", before, after, err)
	}
	if r, err := s.client.Get(t.Context(), s.cfg.Prefix+"health"); err != nil || r.Count != 0 {
		t.Errorf("asking wrote %v, %v", r, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Writable(ended); err == nil {
		t.Error("no answer was taken for a good one")
	}
}
